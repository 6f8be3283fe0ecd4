//! How to solve: the options, and what may be asked of them.

use crate::control::{Controller, Tolerances};
use crate::error::{Error, Result};
use crate::stepper::Method;
use crate::tableau::Tableau;

/// Which steps a solve takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Steps {
    /// For a method that estimates its error, adaptive steps that keep to the tolerances. For other methods, one step for each interval
    /// between output times, or equal steps no longer than [`Options::max_step`].
    Automatic,
    /// This many equal steps in each interval between times.
    PerInterval(usize),
    /// Equal steps no longer than this, in units of time: in each interval, or, where outputs are interpolated, from the first time to
    /// the last.
    AtMost(f64),
}

/// How the solution at the output times is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Steps are shortened to end on the output times.
    Land,
    /// Outputs come from the continuous extension of the step in which they lie. Steps are chosen without regard to the output times.
    Interpolate,
}

/// Which sums over the steps are compensated: they carry along what rounding has taken from them (Kahan, CACM 8(1), 1965), so that
/// errors do not grow with the number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summation {
    /// All sums are compensated: the state, λ and ∂L/∂θ.
    Compensated,
    /// Only the sums of the gradient are compensated, λ and ∂L/∂θ: the solve rounds as other solvers do.
    Gradient,
    /// No sum is compensated.
    Plain,
}

impl Summation {
    /// Whether the sum of the state is compensated.
    pub(crate) fn of_state(self) -> bool {
        self == Summation::Compensated
    }

    /// Whether those of λ and ∂L/∂θ are.
    pub(crate) fn of_gradient(self) -> bool {
        self != Summation::Plain
    }
}

/// The greatest value of [`Options::threads`].
pub const MAX_THREADS: usize = 1024;

/// How to solve. [`Options::new`] has the defaults; change what you need.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The method of integration, such as dopri5.
    pub method: Method,
    /// Which steps to take; default [`Steps::Automatic`].
    pub steps: Steps,
    /// How outputs are obtained. By default (`None`), adaptive bosh3, dopri5 and tsit5 interpolate, and so does a method of your own that
    /// is first same as last and whose extension is at most one order below it. All others land.
    pub output: Option<Output>,
    /// The relative tolerance of the error of a step, default 1e-6; in float32 at least 2 ε, unless it is 0.
    pub rtol: f64,
    /// The absolute tolerance of the error of a step, default 1e-8. It may be 0 if `rtol` is not.
    pub atol: f64,
    /// Tolerances for each feature of the state, in place of `rtol` and `atol`; none by default.
    pub tolerances: Tolerances,
    /// The size of the first step, unsigned; by default (`None`) chosen by the order of the method and the tolerances.
    pub first_step: Option<f64>,
    /// The shortest step that a rejected one is tried again with, unsigned; default 0. If it would have to be shorter, the solve fails
    /// with `StepUnderflow`; [`Controller::Torchdiffeq`] takes steps of this length instead, whatever their error.
    pub min_step: f64,
    /// The longest step, unsigned; default infinite. Of a method with fixed steps, [`Steps::Automatic`] takes equal ones no longer than this.
    pub max_step: f64,
    /// The most steps that an adaptive method tries, rejected ones included; default 100,000. Beyond, the solve fails with `MaxSteps`.
    /// Fixed steps are not bounded.
    pub max_steps: usize,
    /// The next step is this fraction of the step whose error would be just within the tolerances; default 0.9, at most 1.
    pub safety: f64,
    /// A step is at least this many times as long as the one before; default 0.2.
    pub min_factor: f64,
    /// A step is at most this many times as long as the one before; default 10.
    pub max_factor: f64,
    /// How the size of a step follows from errors; default [`Controller::Standard`].
    pub controller: Controller,
    /// Which sums over the steps are compensated; by default all.
    pub summation: Summation,
    /// Whether gradients include those with respect to the times; by default they do. Without them, fewer products are computed, and a
    /// custom field is evaluated less often.
    pub time_gradients: bool,
    /// For the options of [`GradientMethod::Adjoint`](crate::GradientMethod::Adjoint): whether the norm that chooses the steps leaves out
    /// the error of ∂L/∂θ, on which nothing else depends (Kidger, Chen and Lyons, ICML 2021). By default it does not.
    pub seminorm: bool,
    /// How many threads compute a program, natively, 1 to 1024; default 1. Blocks of the batch go to whichever thread is free, and sums over
    /// trajectories are formed so that no bit of a solution or a gradient depends on the number of threads.
    pub threads: usize,
}

impl Options {
    /// The defaults for a method: rtol 1e-6, atol 1e-8, at most 100,000 steps of any size. A method without an error estimate, such as rk4,
    /// takes one step from each output time to the next: set [`steps`](Self::steps) or [`max_step`](Self::max_step).
    pub fn new(method: impl Into<Method>) -> Self {
        Self {
            method: method.into(),
            steps: Steps::Automatic,
            output: None,
            rtol: 1e-6,
            atol: 1e-8,
            tolerances: Tolerances::default(),
            first_step: None,
            min_step: 0.0,
            max_step: f64::INFINITY,
            max_steps: 100_000,
            safety: 0.9,
            min_factor: 0.2,
            max_factor: 10.0,
            controller: Controller::Standard,
            summation: Summation::Compensated,
            time_gradients: true,
            seminorm: false,
            threads: 1,
        }
    }

    /// Whether steps adapt to the tolerances: with [`Steps::Automatic`], if the method estimates its error.
    pub fn adaptive(&self) -> bool {
        self.steps == Steps::Automatic && self.method.adaptive()
    }

    /// Whether outputs are interpolated. By default they are if the method adapts its steps and has an extension nearly as good as itself
    /// (bosh3, dopri5, tsit5). Steps counted per interval end on the times in any case, and if all times are the same, there is no step
    /// to interpolate in.
    pub(crate) fn interpolates(&self, times: &[f64]) -> bool {
        if times.first() == times.last() {
            return false;
        }
        match self.output {
            Some(output) => {
                output == Output::Interpolate && (self.adaptive() || matches!(self.steps, Steps::AtMost(_)))
            }
            None => self.adaptive() && self.method.interpolates(),
        }
    }

    /// Refuses tolerances of other features than a state's, and states that the method is not for.
    pub(crate) fn check_features(&self, state: usize) -> Result<()> {
        if self.method == Method::Leapfrog && !state.is_multiple_of(2) {
            let expected = "an even number of features for leapfrog, positions and as many velocities";
            return Err(Error::shape("y0", expected, state));
        }
        let Tolerances { relative, absolute } = &self.tolerances;
        for (argument, each) in [("rtol", relative), ("atol", absolute)] {
            if !each.is_empty() && each.len() != state {
                return Err(Error::shape(argument, format!("a number, or {state} of them"), each.len()));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(expected) = self.method.tableau().and_then(Tableau::contradiction) {
            return Err(Error::option("method", format!("a tableau with {expected}"), self.method.name()));
        }
        let positive = |argument, number: f64| match number > 0.0 {
            true => Ok(()),
            false => Err(Error::option(argument, "a positive number", number)),
        };
        let tolerance = |argument, number: f64| match (0.0..f64::INFINITY).contains(&number) {
            true => Ok(()),
            false => Err(Error::option(argument, "a finite number, zero or more", number)),
        };
        tolerance("rtol", self.rtol)?;
        tolerance("atol", self.atol)?;
        let Tolerances { relative, absolute } = &self.tolerances;
        relative.iter().try_for_each(|&number| tolerance("rtol", number))?;
        absolute.iter().try_for_each(|&number| tolerance("atol", number))?;
        let features = relative.len().max(absolute.len()).max(1);
        let of = |each: &[f64], all: f64, feature: usize| each.get(feature).copied().unwrap_or(all);
        if let Some(k) = (0..features).find(|&k| of(relative, self.rtol, k) == 0.0 && of(absolute, self.atol, k) == 0.0)
        {
            let given = if features > 1 { format!("0 for feature {k}") } else { "0".into() };
            return Err(Error::option("atol", "a positive number where rtol is zero", given));
        }
        if let Some(first) = self.first_step {
            positive("first_step", first)?;
            if first.is_infinite() {
                return Err(Error::option("first_step", "a finite number", first));
            }
        }
        tolerance("min_step", self.min_step)?;
        positive("max_step", self.max_step)?;
        if self.min_step > self.max_step {
            return Err(Error::option("min_step", format!("at most max_step, {}", self.max_step), self.min_step));
        }
        if self.method == Method::Leapfrog && self.output == Some(Output::Interpolate) {
            return Err(Error::option("output", "land, for leapfrog", "interpolate"));
        }
        if self.threads == 0 || self.threads > MAX_THREADS {
            return Err(Error::option("threads", format!("an integer from 1 to {MAX_THREADS}"), self.threads));
        }
        if self.max_steps == 0 {
            return Err(Error::option("max_steps", "a positive integer", 0));
        }
        let between = |argument, number: f64, low: f64, high: f64| match number > low && number < high {
            true => Ok(()),
            false => Err(Error::option(argument, format!("a number between {low} and {high}"), number)),
        };
        if !(self.safety > 0.0 && self.safety <= 1.0) {
            return Err(Error::option("safety", "a number above 0, and at most 1", self.safety));
        }
        if let Controller::Pid { p, i, d } = self.controller
            && ![p, i, d].iter().all(|number| number.is_finite())
        {
            let given = format!("p {p}, i {i}, d {d}");
            return Err(Error::option("controller", "finite coefficients", given));
        }
        between("min_factor", self.min_factor, 0.0, 1.0)?;
        between("max_factor", self.max_factor, 1.0, f64::INFINITY)?;
        match self.steps {
            Steps::PerInterval(0) => Err(Error::option("steps", "a positive integer", 0)),
            Steps::AtMost(h) => positive("step_size", h),
            _ => Ok(()),
        }
    }
}
