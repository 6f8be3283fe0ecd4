//! The steps of a trajectory, and the solution between them.

use crate::kernel::real::Real;
use crate::memory::{Ledger, List, Purpose};

/// The steps of one trajectory, and the solution between them, from [`Solution::paths`](super::Solution::paths).
#[derive(Debug)]
pub struct Path<T> {
    /// The times t_0 … t_N at which steps begin and end. Where a jump or an event changes the state, its time appears twice.
    pub t: List<f64>,
    /// The states at these times, `[N + 1, state]`, row-major.
    pub y: List<T>,
    /// Between each time and the next, the solution is a polynomial in θ = (t − t_n) / h, whose constant coefficient is the state in `y`. These
    /// are the coefficients of θ¹, θ², …: `[N, degree, state]`, row-major, intervals of length zero included. Empty without
    /// [`Extras::dense`](super::Extras::dense).
    pub polynomials: List<T>,
}

impl<T> Path<T> {
    pub(super) fn new(ledger: &Ledger) -> Self {
        let output = Purpose::Output;
        Self { t: List::new(ledger, output), y: List::new(ledger, output), polynomials: List::new(ledger, output) }
    }
}

impl<T: Real> Path<T> {
    /// The state at a time within the solve; at the time of a jump or an event, the state after it. `None` for a time before the first or
    /// after the last step, or without the polynomials, for which you set [`Extras::dense`](super::Extras::dense).
    pub fn at(&self, t: f64) -> Option<Vec<T>> {
        let steps = self.t.len() - 1;
        let state = self.y.len() / self.t.len();
        let (first, last) = (self.t[0], self.t[steps]);
        let direction = if last < first { -1.0 } else { 1.0 };
        let passed = |time: f64| (t - time) * direction >= 0.0;
        if t == last {
            return Some(self.y[steps * state..].to_vec());
        }
        if !passed(first) || passed(last) || self.polynomials.is_empty() {
            return None;
        }
        // The last step that begins then or before.
        let step = self.t.partition_point(|&time| passed(time)) - 1;
        let theta = T::of((t - self.t[step]) / (self.t[step + 1] - self.t[step]));
        let degree = self.polynomials.len() / state / steps;
        let coefficients = &self.polynomials[step * degree * state..][..degree * state];
        let value = |row: usize| {
            let powers = coefficients.chunks_exact(state).rev();
            let sum = powers.fold(T::zero(), |sum, coefficient| sum * theta + coefficient[row]);
            self.y[step * state + row] + sum * theta
        };
        Some((0..state).map(value).collect())
    }
}
