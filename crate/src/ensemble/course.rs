//! What is known of a solve that is taken again with derivatives beside the state: its steps, its events, and how times move.

use std::sync::Arc;

use super::clock::{Clock, Step};
use crate::kernel::real::Real;
use crate::memory::List;
use crate::solve::Options;

/// The steps and events of a trajectory.
pub(super) struct Course<T> {
    pub steps: List<Step>,
    /// The number of steps before each event, and which it is.
    pub events: Vec<(usize, usize)>,
    /// By the number of steps before.
    pub zeros: Vec<EventTime<T>>,
}

/// On what the time of an event depends.
pub(super) struct EventTime<T> {
    /// The number of steps up to it.
    pub steps: usize,
    /// g_t, g_x, and the derivative of g by the step's length.
    pub t: f64,
    pub x: Vec<T>,
    pub slope: f64,
    /// ⟨g_θ, θ̇⟩ + ⟨g_a, ȧ⟩ of each direction.
    pub inputs: Vec<f64>,
}

/// What is taken again.
pub(super) struct Replay<T> {
    /// Of each trajectory.
    pub courses: Arc<[Course<T>]>,
    /// Features of the state alone.
    pub features: usize,
    /// The directions along which times move.
    pub clocks: Vec<MovingTimes>,
    /// Of the solve without derivatives.
    pub options: Options,
}

/// How times move along a direction.
pub(super) struct MovingTimes {
    /// Among those that are followed now, and among all.
    pub direction: usize,
    pub of_all: usize,
    /// Where τ and σ lie in the state.
    pub row: usize,
    /// The rates of all output times; none where they stand still.
    pub outputs: Option<Vec<f64>>,
}

impl<T: Real> Course<T> {
    /// The events after so many steps.
    pub fn events_after(&self, steps: usize) -> impl Iterator<Item = usize> {
        let first = self.events.partition_point(|event| event.0 < steps);
        self.events[first..].iter().take_while(move |event| event.0 == steps).map(|event| event.1)
    }

    /// Whether the time of each event has a derivative.
    pub fn times_are_known(&self) -> impl Iterator<Item = bool> {
        self.events.iter().map(|event| self.zero_after(event.0).is_some())
    }

    /// On what the time of the event after so many steps depends.
    pub fn zero_after(&self, steps: usize) -> Option<&EventTime<T>> {
        let at = self.zeros.partition_point(|zero| zero.steps < steps);
        self.zeros.get(at).filter(|zero| zero.steps == steps)
    }
}

impl<T: Real> Replay<T> {
    /// Whether times move.
    pub fn moves(&self) -> bool {
        !self.clocks.is_empty()
    }

    /// The rates of a trajectory's first time.
    pub fn first_rates(&self, first: usize) -> Vec<f64> {
        self.clocks.iter().map(|clock| clock.of(first)).collect()
    }

    /// Sets τ in a state between steps, and no σ.
    pub fn stand(&self, clock: &Clock, x: &mut [T]) {
        for (moving, tau) in self.clocks.iter().zip(&clock.tau) {
            (x[moving.row], x[moving.row + 1]) = (T::of(*tau), T::zero());
        }
    }

    /// How an output time moves along the `index`-th of the directions along which times do.
    pub fn rate(&self, index: usize, output: usize) -> f64 {
        self.clocks[index].of(output)
    }

    /// ẏ += by · y′ along each direction in which times move, for a state whose time moves by so much beside what it follows.
    pub fn add(&self, by: impl Fn(usize) -> f64, rate: &[T], y: &mut [T]) {
        for (index, moving) in self.clocks.iter().enumerate() {
            let by = by(index);
            if by != 0.0 {
                let own = &mut y[(1 + moving.direction) * self.features..][..self.features];
                own.iter_mut().zip(rate).for_each(|(y, rate)| *y = *y + T::of(by) * *rate);
            }
        }
    }
}

impl MovingTimes {
    /// The rate of an output time, as one counts over all lists.
    pub fn of(&self, output: usize) -> f64 {
        self.outputs.as_ref().map_or(0.0, |rates| rates[output])
    }
}
