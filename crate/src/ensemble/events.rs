//! Events of trajectories: those located at the end of a step, and those that occurred.

use crate::memory::List;

/// An event that occurred during a solve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occurrence {
    /// The index of the trajectory in the batch.
    pub trajectory: usize,
    /// The index of the event in [`Changes::events`](super::Changes::events).
    pub event: usize,
    /// The time at which it occurred.
    pub t: f64,
}

/// The events of a trajectory, and the states before the events change them, one after another.
pub(super) struct EventLog<T> {
    pub events: List<Occurrence>,
    pub states: List<T>,
}

/// The events located at the end of a step, which a root determines.
pub(super) struct LocatedEvents {
    pub slot: usize,
    /// The event whose root the end is, and all that occur there.
    pub root: usize,
    pub triggered: Vec<usize>,
    /// The sign of each event's function before and after: 0 where it is zero.
    pub signs_before: Vec<i8>,
    pub signs_after: Vec<i8>,
    /// The values of the functions there, of those that have a root there.
    pub residuals: Vec<Option<f64>>,
}

impl LocatedEvents {
    /// The value of an event's function, if it has a root there, and its sign before.
    pub fn root_of(&self, event: usize) -> Option<(f64, i8)> {
        self.residuals[event].map(|value| (value, self.signs_before[event]))
    }
}
