//! The choice of steps: error norm, first step, accept or reject. Pure functions, testable without an equation.

use crate::error::Result;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Purpose, filled, refill};

/// The sums that solvers of parts of one batch form together, so that they agree on its steps. A norm is made of one sum a
/// panel, added up in the order of the panels, so that it is bitwise the same however many share the batch.
pub trait AllReduce: Send {
    /// How many trajectories the whole batch has; `own` is the number of this part.
    fn samples(&self, own: usize) -> usize;

    /// Adds the sums of all panels, of which these are this part's.
    ///
    /// # Errors
    /// If another part has failed.
    fn sum(&mut self, sums: &[f64]) -> Result<f64>;
}

/// A batch solved as a whole.
pub struct NoReduction;

impl AllReduce for NoReduction {
    fn samples(&self, own: usize) -> usize {
        own
    }

    fn sum(&mut self, sums: &[f64]) -> Result<f64> {
        Ok(sums.iter().sum())
    }
}

/// How the size of a step follows from the error of the step before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Controller {
    /// The step size grows and shrinks freely between the bounds. A step that was shortened to land on a time does not shorten the next
    /// one, and the first step is no longer than the interval. The default.
    Standard,
    /// The rules of torchdiffeq: after an accepted step, the next is never shorter; a step that was shortened to land on a time limits the
    /// next one; and the first step may be longer than the interval.
    Torchdiffeq,
    /// As `Standard`, but from the errors e of the last three accepted steps (Söderlind, ACM TOMS 29(1), 2003): the next step is
    /// e_n^−(p + i + d) e_{n−1}^(p + 2d) e_{n−2}^−d times the one before, all exponents divided by the order of the method.
    Pid {
        /// The proportional coefficient, of the change of the error.
        p: f64,
        /// The integral coefficient, of the error itself.
        i: f64,
        /// The derivative coefficient, of the change of that change.
        d: f64,
    },
}

impl Controller {
    /// The PI controller of Hairer and Wanner's DOPRI5 (Solving ODEs I, II.4, and II, IV.2; Gustafsson 1991): e_n^−0.85 e_{n−1}^0.2.
    pub const PI: Controller = Controller::Pid { p: 0.2, i: 0.65, d: 0.0 };
    /// H312PID (Söderlind 2003): smooth sequences of steps.
    pub const PID: Controller = Controller::Pid { p: -2.0 / 9.0, i: 4.0 / 18.0, d: 1.0 / 18.0 };
}

/// The errors of the last two accepted steps, the last one first; 1 before there are any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorHistory([f64; 2]);

impl Default for ErrorHistory {
    fn default() -> Self {
        Self([1.0; 2])
    }
}

impl ErrorHistory {
    /// The errors of the last steps, the latest first.
    pub fn of(errors: [f64; 2]) -> Self {
        Self(errors)
    }

    /// The errors of the last two accepted steps, the last one first.
    pub fn numbers(&self) -> [f64; 2] {
        self.0
    }

    /// A step with this error was accepted.
    pub fn push(&mut self, error: f64) {
        // One without an error says nothing about the next.
        let error = if error > 0.0 && error.is_finite() { error } else { 1.0 };
        self.0 = [error, self.0[0]];
    }
}

/// Tolerances and bounds of the step size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepControl {
    pub controller: Controller,
    pub rtol: f64,
    pub atol: f64,
    /// The next step is this fraction of the one that would just be accepted.
    pub safety: f64,
    pub min_factor: f64,
    pub max_factor: f64,
}

impl StepControl {
    /// The factor from a step to the next, given the error norm of the first, those of the steps before, and the method's order.
    pub fn factor(&self, error: f64, accepted: bool, order: u32, before: ErrorHistory) -> f64 {
        let floor = match self.controller {
            Controller::Torchdiffeq if accepted => 1.0,
            _ => self.min_factor,
        };
        if error == 0.0 {
            return self.max_factor;
        }
        // An error that is NaN shrinks the step by the smallest factor.
        let order = f64::from(order);
        let wanted = match self.controller {
            Controller::Pid { p, i, d } if accepted => {
                let ErrorHistory([last, earlier]) = before;
                let power =
                    |error: f64, exponent: f64| if exponent == 0.0 { 1.0 } else { error.powf(exponent / order) };
                self.safety * power(error, -(p + i + d)) * power(last, p + 2.0 * d) * power(earlier, -d)
            }
            _ => self.safety * error.powf(-1.0 / order),
        };
        if wanted.is_nan() { self.min_factor } else { wanted.max(floor).min(self.max_factor) }
    }
}

/// Tolerances for each feature of the state. If a list is empty, which is the default, [`Options::rtol`](crate::Options::rtol) or
/// [`Options::atol`](crate::Options::atol) applies to all features.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tolerances {
    /// Relative tolerances, one for each feature of the state; empty by default.
    pub relative: Vec<f64>,
    /// Absolute tolerances in units of each feature, one for each feature of the state; empty by default.
    pub absolute: Vec<f64>,
}

impl Tolerances {
    /// Relative and absolute tolerance of a feature; a state of several arrays, such as one with its derivatives, has them over and over.
    #[inline(always)]
    pub(crate) fn of(&self, control: &StepControl, feature: usize) -> (f64, f64) {
        let of = |each: &[f64], all: f64| if each.is_empty() { all } else { each[feature % each.len()] };
        (of(&self.relative, control.rtol), of(&self.absolute, control.atol))
    }
}

/// The norms of a solve: its tolerances, the layout of its states, and sums over all parts of its batch.
pub struct Norms<'a> {
    pub control: StepControl,
    tolerances: Tolerances,
    pub layout: &'a Layout,
    all_reduce: &'a mut dyn AllReduce,
    /// One for each panel.
    sums: Vec<f64>,
}

impl<'a> Norms<'a> {
    pub fn new(
        control: StepControl,
        tolerances: &Tolerances,
        layout: &'a Layout,
        all_reduce: &'a mut dyn AllReduce,
    ) -> Result<Self> {
        let sums = filled(Purpose::Workspace, 0, 0.0)?;
        Ok(Self { control, tolerances: tolerances.clone(), layout, all_reduce, sums })
    }

    /// RMS of e / (atol + rtol·max(|x|, |x′|)) over the batch; not a number unless `valid` in all parts.
    pub fn error<T: Real>(&mut self, valid: bool, error: &[T], x: &[T], next: &[T]) -> Result<f64> {
        self.norm(|i, (rtol, atol)| match valid {
            true => ratio(error[i].wide(), atol + rtol * x[i].abs().max(next[i].abs()).wide()),
            false => f64::NAN,
        })
    }

    /// Hairer, Nørsett and Wanner I, II.4: the first guess of the first step, from x_0 and f(t_0, x_0).
    pub fn first_guess<T: Real>(&mut self, x: &[T], slope: &[T]) -> Result<FirstStepGuess> {
        let scale = |i: usize, (rtol, atol)| atol + rtol * x[i].abs().wide();
        let state = self.norm(|i, of| ratio(x[i].wide(), scale(i, of)))?;
        let slope = self.norm(|i, of| ratio(slope[i].wide(), scale(i, of)))?;
        Ok(first_step_guess(state, slope))
    }

    /// The first step, from f at the end of an Euler step by the guess.
    pub fn first_step<T: Real>(
        &mut self,
        x: &[T],
        slopes: [&[T]; 2],
        guess: FirstStepGuess,
        order: u32,
    ) -> Result<f64> {
        let scale = |i: usize, (rtol, atol)| atol + rtol * x[i].abs().wide();
        let difference = self.norm(|i, of| ratio(slopes[1][i].wide() - slopes[0][i].wide(), scale(i, of)))?;
        Ok(first_step_from(difference, guess, order))
    }

    /// Root mean square over the entries of a state that are samples.
    fn norm(&mut self, entry: impl Fn(usize, (f64, f64)) -> f64) -> Result<f64> {
        let (control, tolerances) = (&self.control, &self.tolerances);
        let square = |(feature, row): (usize, std::ops::Range<usize>)| {
            let tolerance = tolerances.of(control, feature);
            row.map(|i| {
                let entry = entry(i, tolerance);
                entry * entry
            })
            .sum::<f64>()
        };
        let layout = self.layout;
        refill(Purpose::Workspace, &mut self.sums, 0, 0.0)?;
        self.sums.extend(layout.panel_rows().map(|rows| rows.enumerate().map(&square).sum::<f64>()));
        let weight = layout.counted(self.all_reduce.samples(layout.panels.samples));
        Ok((self.all_reduce.sum(&self.sums)? / weight as f64).sqrt())
    }
}

/// The first guess of the first step, unsigned, and the norm of the first slope.
#[derive(Debug, Clone, Copy)]
pub struct FirstStepGuess {
    pub h: f64,
    pub slope: f64,
}

/// The first guess, from the norms of x_0 and f(t_0, x_0).
pub fn first_step_guess(state: f64, slope: f64) -> FirstStepGuess {
    let far = state < 1e-5 || slope < 1e-5 || slope.is_infinite();
    FirstStepGuess { h: if far { 1e-6 } else { 0.01 * state / slope }, slope }
}

/// The first step, from the norm of the difference between f at the end of an Euler step by the guess and f at its beginning.
pub fn first_step_from(difference: f64, guess: FirstStepGuess, order: u32) -> f64 {
    let curvature = difference / guess.h;
    let steepest = guess.slope.max(curvature);
    let h = if steepest <= 1e-15 { (guess.h * 1e-3).max(1e-6) } else { (0.01 / steepest).powf(1.0 / f64::from(order)) };
    h.min(100.0 * guess.h)
}

/// Zero stays zero in every scale, even that of a zero tolerance.
fn ratio(number: f64, scale: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: StepControl = StepControl {
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
                let factor = CONTROL.factor(error, accepted, 5, ErrorHistory::default());
                assert!((0.2..=10.0).contains(&factor), "{error}: {factor}");
            }
        }
        assert_eq!(CONTROL.factor(f64::NAN, false, 5, ErrorHistory::default()), 0.2);
        let torchdiffeq = StepControl { controller: Controller::Torchdiffeq, ..CONTROL };
        assert_eq!(torchdiffeq.factor(0.99, true, 5, ErrorHistory::default()), 1.0);
    }

    #[test]
    fn a_controller_with_memory_has_its_published_exponents() {
        let mut errors = ErrorHistory::default();
        errors.push(0.25);
        errors.push(0.5);
        let with = |controller| StepControl { controller, safety: 1.0, ..CONTROL };
        // Hairer and Wanner's dopri5: err^0.17 and facold^0.04.
        let expected = 0.8_f64.powf(-0.17) * 0.5_f64.powf(0.04);
        assert!((with(Controller::PI).factor(0.8, true, 5, errors) - expected).abs() < 1e-15);
        // H312PID: (e_n e_{n−1}² e_{n−2})^(−1/18k).
        let expected = (0.8 * 0.5_f64.powi(2) * 0.25).powf(-1.0 / 18.0 / 5.0);
        assert!((with(Controller::PID).factor(0.8, true, 5, errors) - expected).abs() < 1e-15);
        // After a rejected step the error alone counts.
        assert_eq!(with(Controller::PID).factor(2.0, false, 5, errors), CONTROL.factor(2.0, false, 5, errors) / 0.9);
    }

    #[test]
    fn norms_leave_padding_lanes_out() {
        let layout = Layout::batch::<f64>(3, 2);
        let mut error = vec![f64::NAN; layout.size()];
        for row in layout.panel_rows().flatten() {
            error[row].fill(2e-3);
        }
        let zero = vec![0.0; layout.size()];
        let mut whole = NoReduction;
        let mut norms = Norms::new(CONTROL, &Tolerances::default(), &layout, &mut whole).unwrap();
        assert!((norms.error(true, &error, &zero, &zero).unwrap() - 2.0).abs() < 1e-12);
    }
}
