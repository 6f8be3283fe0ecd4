//! The choice of steps: error norm, first step, accept or reject. Pure functions, testable without an equation.

use crate::error::Result;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Purpose, filled, refill};

/// The sums that solvers of parts of one batch form together, so that they agree on its steps. A norm is made of one sum a
/// panel, added up in the order of the panels, so that it is bitwise the same however many share the batch.
pub trait AllReduce {
    /// Samples of the whole batch; `own` are those of this part.
    fn samples(&self, own: usize) -> usize;

    /// Adds the sums of all panels, of which these are this part's.
    ///
    /// # Errors
    /// When another part has failed.
    fn sum(&mut self, sums: &[f64]) -> Result<f64>;
}

/// A batch solved as a whole.
pub struct Whole;

impl AllReduce for Whole {
    fn samples(&self, own: usize) -> usize {
        own
    }

    fn sum(&mut self, sums: &[f64]) -> Result<f64> {
        Ok(sums.iter().sum())
    }
}

/// How the size of a step follows from the error of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Grows and shrinks freely between the bounds; a step that was cut to land on a time does not cut the next one, and
    /// the first is no longer than the interval.
    Standard,
    /// torchdiffeq's: after an accepted step the next is never shorter, a step that was cut to land is what the next
    /// grows from, and the first may be longer than the interval.
    Torchdiffeq,
}

/// Tolerances and bounds of the step size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Control {
    pub controller: Controller,
    pub rtol: f64,
    pub atol: f64,
    /// The next step is this fraction of the one that would just be accepted.
    pub safety: f64,
    pub min_factor: f64,
    pub max_factor: f64,
}

impl Control {
    /// The factor from a step to the next, given the error norm of the first and the method's order.
    pub fn factor(&self, error: f64, accepted: bool, order: u32) -> f64 {
        let floor = match self.controller {
            Controller::Torchdiffeq if accepted => 1.0,
            _ => self.min_factor,
        };
        if error == 0.0 {
            return self.max_factor;
        }
        // An error that is not a number shrinks the step as far as one step may.
        let wanted = self.safety * error.powf(-1.0 / f64::from(order));
        if wanted.is_nan() { self.min_factor } else { wanted.max(floor).min(self.max_factor) }
    }
}

/// What measures a solve: tolerances, the layout of its states, and sums over all parts of its batch.
pub struct Norms<'a> {
    pub control: Control,
    pub layout: &'a Layout,
    all_reduce: &'a mut dyn AllReduce,
    /// One for each panel.
    sums: Vec<f64>,
}

impl<'a> Norms<'a> {
    pub fn new(control: Control, layout: &'a Layout, all_reduce: &'a mut dyn AllReduce) -> Result<Self> {
        let sums = filled(Purpose::Workspace, 0, 0.0)?;
        Ok(Self { control, layout, all_reduce, sums })
    }

    /// RMS of e / (atol + rtol·max(|x|, |x′|)) over the batch; not a number unless `valid` in all parts.
    pub fn error<T: Real>(&mut self, valid: bool, error: &[T], x: &[T], next: &[T]) -> Result<f64> {
        let Control { rtol, atol, .. } = self.control;
        self.norm(|i| match valid {
            true => ratio(error[i].wide(), atol + rtol * x[i].abs().max(next[i].abs()).wide()),
            false => f64::NAN,
        })
    }

    /// Hairer, Nørsett and Wanner I, II.4: the first guess of the first step, from x_0 and f(t_0, x_0).
    pub fn first_guess<T: Real>(&mut self, x: &[T], slope: &[T]) -> Result<Guess> {
        let Control { rtol, atol, .. } = self.control;
        let scale = |i: usize| atol + rtol * x[i].abs().wide();
        let state = self.norm(|i| ratio(x[i].wide(), scale(i)))?;
        let slope = self.norm(|i| ratio(slope[i].wide(), scale(i)))?;
        let far = state < 1e-5 || slope < 1e-5 || slope.is_infinite();
        let h = if far { 1e-6 } else { 0.01 * state / slope };
        Ok(Guess { h, slope })
    }

    /// The first step, from f at the end of an Euler step by the guess.
    pub fn first_step<T: Real>(&mut self, x: &[T], slopes: [&[T]; 2], guess: Guess, order: u32) -> Result<f64> {
        let Control { rtol, atol, .. } = self.control;
        let scale = |i: usize| atol + rtol * x[i].abs().wide();
        let curvature = self.norm(|i| ratio(slopes[1][i].wide() - slopes[0][i].wide(), scale(i)))? / guess.h;
        let steepest = guess.slope.max(curvature);
        let h =
            if steepest <= 1e-15 { (guess.h * 1e-3).max(1e-6) } else { (0.01 / steepest).powf(1.0 / f64::from(order)) };
        Ok(h.min(100.0 * guess.h))
    }

    /// Root mean square over the entries of a state that are samples.
    fn norm(&mut self, entry: impl Fn(usize) -> f64) -> Result<f64> {
        let square = |row: std::ops::Range<usize>| {
            row.map(|i| {
                let entry = entry(i);
                entry * entry
            })
            .sum::<f64>()
        };
        let layout = self.layout;
        refill(Purpose::Workspace, &mut self.sums, 0, 0.0)?;
        self.sums.extend(layout.panel_rows().map(|rows| rows.map(&square).sum::<f64>()));
        let weight = layout.counted(self.all_reduce.samples(layout.panels.samples));
        Ok((self.all_reduce.sum(&self.sums)? / weight as f64).sqrt())
    }
}

/// The first guess of the first step, unsigned, and the norm of the first slope.
#[derive(Debug, Clone, Copy)]
pub struct Guess {
    pub h: f64,
    pub slope: f64,
}

/// What is zero is zero in every scale, that of a zero tolerance included.
fn ratio(number: f64, scale: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: Control = Control {
        controller: Controller::Standard,
        rtol: 1e-3,
        atol: 1e-3,
        safety: 0.9,
        min_factor: 0.2,
        max_factor: 10.0,
    };

    #[test]
    fn factors_stay_in_bounds_whatever_the_error() {
        for error in [0.0, 1e-30, 0.5, 1.0, 7.0, 1e30, f64::INFINITY, f64::NAN] {
            for accepted in [true, false] {
                let factor = CONTROL.factor(error, accepted, 5);
                assert!((0.2..=10.0).contains(&factor), "{error}: {factor}");
            }
        }
        assert_eq!(CONTROL.factor(f64::NAN, false, 5), 0.2);
        let torchdiffeq = Control { controller: Controller::Torchdiffeq, ..CONTROL };
        assert_eq!(torchdiffeq.factor(0.99, true, 5), 1.0);
    }

    #[test]
    fn norms_leave_spare_lanes_out() {
        let layout = Layout::batch::<f64>(3, 2);
        let mut error = vec![f64::NAN; layout.size()];
        for row in layout.panel_rows().flatten() {
            error[row].fill(2e-3);
        }
        let zero = vec![0.0; layout.size()];
        let mut whole = Whole;
        let mut norms = Norms::new(CONTROL, &layout, &mut whole).unwrap();
        assert!((norms.error(true, &error, &zero, &zero).unwrap() - 2.0).abs() < 1e-12);
    }
}
