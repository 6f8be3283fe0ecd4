//! Where a trajectory stands between the calls that take it on.

use super::clock::Clock;
use crate::kernel::real::Real;
use crate::solve::Stats;

/// Where a trajectory stands between calls.
#[derive(Debug, Clone)]
pub(super) struct Standing<T> {
    pub clock: Clock,
    pub x: Vec<T>,
    pub carry: Vec<T>,
    /// f there, where the clock says that it is known.
    pub slope: Vec<T>,
    /// Where it came from and where it is to go to, and whether it has just been told so.
    pub interval: [f64; 2],
    pub is_new: bool,
    /// Of all calls.
    pub total: Stats,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// To the time.
    Whole,
    /// One step towards it.
    Step,
}

impl<T: Real> Standing<T> {
    /// The interval to a time: that which it is on, if it was told so before.
    pub fn interval_to(&self, to: f64) -> [f64; 2] {
        if self.interval[1] == to { self.interval } else { [self.clock.t, to] }
    }

    /// Turns to a time. Where that lies behind, events are on the other side of what has just been found.
    pub fn turn(&mut self, to: f64) {
        let interval = self.interval_to(to);
        let turns = (interval[1] - interval[0]) * (self.interval[1] - self.interval[0]) < 0.0;
        self.clock.sides_known &= !turns;
        self.is_new = interval != self.interval;
        self.interval = interval;
    }

    pub fn is_finite(&self) -> bool {
        let numbers = self.x.iter().chain(&self.carry).chain(&self.slope);
        let ends = self.interval.iter().all(|end| end.is_finite());
        ends && self.clock.t.is_finite() && numbers.into_iter().all(|number| number.is_finite())
    }

    /// Adds what a call has taken.
    pub fn count(&mut self) {
        let (total, own) = (&mut self.total, &self.clock.stats);
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
