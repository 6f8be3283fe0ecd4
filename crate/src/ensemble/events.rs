//! Events of trajectories: at the end of a step, and those that have happened.

use crate::memory::List;

/// An event that has happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occurrence {
    /// The trajectory.
    pub trajectory: usize,
    /// Which of the events.
    pub event: usize,
    /// When.
    pub t: f64,
}

/// Events of a trajectory, and the states before them, one behind the other.
pub(super) struct Happened<T> {
    pub events: List<Occurrence>,
    pub states: List<T>,
}

/// Events at the end of a step.
pub(super) struct Crossed {
    pub slot: usize,
    /// Whose zero the end is.
    pub root: usize,
    pub acting: Vec<usize>,
    /// The side of each event's function before it, and behind it: 0 where that stands on its zero.
    pub nears: Vec<i8>,
    pub sides: Vec<i8>,
    /// What the functions are there, of those that have their zeros there.
    pub zeros: Vec<Option<f64>>,
}

impl Crossed {
    /// Of an event whose function has its zero there: what that is, and the side before.
    pub fn found(&self, event: usize) -> Option<(f64, i8)> {
        self.zeros[event].map(|value| (value, self.nears[event]))
    }
}
