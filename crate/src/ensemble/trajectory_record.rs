//! The record of a solve that is replayed with tangents: its steps, its events, and the tangents of times.

use std::sync::Arc;

use super::solver_state::{SolverState, Step};
use crate::kernel::real::Real;
use crate::memory::List;
use crate::solve::Options;

/// The steps and events of a trajectory.
pub(super) struct TrajectoryRecord<T> {
    pub steps: List<Step>,
    /// For each event the number of steps before it, and its index.
    pub events: Vec<(usize, usize)>,
    /// In the order of the steps.
    pub event_times: Vec<EventTimeDerivatives<T>>,
}

/// The derivatives of an event's time.
pub(super) struct EventTimeDerivatives<T> {
    /// The number of steps before it.
    pub steps: usize,
    /// g_t, g_x, and the derivative of g with respect to the step size.
    pub t: f64,
    pub x: Vec<T>,
    pub slope: f64,
    /// ⟨g_θ, θ̇⟩ + ⟨g_a, ȧ⟩ of each direction.
    pub inputs: Vec<f64>,
}

/// A replay: the records of all trajectories, and the tangents of times.
pub(super) struct Replay<T> {
    /// One for each trajectory.
    pub records: Arc<[TrajectoryRecord<T>]>,
    /// Features of the state alone.
    pub features: usize,
    /// One for each direction along which times have tangents.
    pub time_tangents: Vec<TimeTangents>,
    /// The options of the solve without tangents.
    pub options: Options,
}

/// The tangents of times along a direction.
pub(super) struct TimeTangents {
    /// Its index in the chunk, and among all directions.
    pub direction: usize,
    pub global_index: usize,
    /// The first of the two rows of τ and σ in the state.
    pub row: usize,
    /// The tangents of all output times; `None` if they are zero.
    pub outputs: Option<Vec<f64>>,
}

impl<T: Real> TrajectoryRecord<T> {
    /// The events after `steps` steps.
    pub fn events_after(&self, steps: usize) -> impl Iterator<Item = usize> {
        let first = self.events.partition_point(|event| event.0 < steps);
        self.events[first..].iter().take_while(move |event| event.0 == steps).map(|event| event.1)
    }

    /// Whether the time of each event has a derivative.
    pub fn has_time_derivatives(&self) -> impl Iterator<Item = bool> {
        self.events.iter().map(|event| self.event_time_after(event.0).is_some())
    }

    /// The derivatives of the time of the event after `steps` steps.
    pub fn event_time_after(&self, steps: usize) -> Option<&EventTimeDerivatives<T>> {
        let at = self.event_times.partition_point(|time| time.steps < steps);
        self.event_times.get(at).filter(|time| time.steps == steps)
    }
}

impl<T: Real> Replay<T> {
    /// Whether any times have tangents.
    pub fn has_time_tangents(&self) -> bool {
        !self.time_tangents.is_empty()
    }

    /// The tangents of a trajectory's first time.
    pub fn initial_time_tangents(&self, first: usize) -> Vec<f64> {
        self.time_tangents.iter().map(|tangents| tangents.at_output(first)).collect()
    }

    /// Sets τ, and σ to zero, in a state between steps.
    pub fn set_time_tangents(&self, solver: &SolverState, x: &mut [T]) {
        for (tangents, tau) in self.time_tangents.iter().zip(&solver.tau) {
            (x[tangents.row], x[tangents.row + 1]) = (T::of(*tau), T::zero());
        }
    }

    /// The tangent of an output time along the `index`-th of the directions that have some.
    pub fn time_tangent(&self, index: usize, output: usize) -> f64 {
        self.time_tangents[index].at_output(output)
    }

    /// ẏ += by · y′ for each direction with time tangents, where `by` is the tangent of the time of y that ẏ does not have yet.
    pub fn add_rate(&self, by: impl Fn(usize) -> f64, rate: &[T], y: &mut [T]) {
        for (index, tangents) in self.time_tangents.iter().enumerate() {
            let by = by(index);
            if by != 0.0 {
                let own = &mut y[(1 + tangents.direction) * self.features..][..self.features];
                own.iter_mut().zip(rate).for_each(|(y, rate)| *y = *y + T::of(by) * *rate);
            }
        }
    }
}

impl TimeTangents {
    /// The tangent of an output time, counted over all lists.
    pub fn at_output(&self, output: usize) -> f64 {
        self.outputs.as_ref().map_or(0.0, |rates| rates[output])
    }
}
