//! The state of a trajectory between calls of an integrator.

use super::solver_state::SolverState;
use crate::kernel::real::Real;
use crate::solve::Stats;

/// All that a call needs to continue a trajectory.
#[derive(Debug, Clone)]
pub(super) struct TrajectoryState<T> {
    pub solver: SolverState,
    pub x: Vec<T>,
    pub carry: Vec<T>,
    /// f at x, if the solver's first slope is known.
    pub slope: Vec<T>,
    /// The interval from the last time asked for to the next, and whether that is new.
    pub interval: [f64; 2],
    pub is_new_interval: bool,
    /// The statistics of all calls.
    pub total: Stats,
}

/// How far [`Integrator::advance`](super::Integrator::advance) goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// To the given time.
    ToTime,
    /// By one step of each trajectory towards the given time.
    Step,
}

impl<T: Real> TrajectoryState<T> {
    /// The interval to a time: the present one, if that ends there.
    pub fn interval_to(&self, to: f64) -> [f64; 2] {
        if self.interval[1] == to { self.interval } else { [self.solver.t, to] }
    }

    /// Sets the time to advance to. Where the direction turns, signs of events' functions have to be found again.
    pub fn retarget(&mut self, to: f64) {
        let interval = self.interval_to(to);
        let turns = (interval[1] - interval[0]) * (self.interval[1] - self.interval[0]) < 0.0;
        self.solver.signs_known &= !turns;
        self.is_new_interval = interval != self.interval;
        self.interval = interval;
    }

    pub fn is_finite(&self) -> bool {
        let numbers = self.x.iter().chain(&self.carry).chain(&self.slope);
        let ends = self.interval.iter().all(|end| end.is_finite());
        ends && self.solver.t.is_finite() && numbers.into_iter().all(|number| number.is_finite())
    }

    /// Adds the statistics of a call.
    pub fn add_stats(&mut self) {
        let (total, own) = (&mut self.total, &self.solver.stats);
        if own.accepted > 0 {
            if total.accepted == 0 {
                total.first_step = own.first_step;
            }
            total.last_step = own.last_step;
        }
        total.accepted += own.accepted;
        total.rejected += own.rejected;
        total.evaluations += own.evaluations;
    }
}
