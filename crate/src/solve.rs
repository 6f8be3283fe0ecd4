//! Solving: one solve over a batch that shares its times and steps.

mod gradient_results;
mod options;
mod run;
mod step_size;

use ndarray::{ArrayView2, ArrayView3};

use crate::control::{AllReduce, NoReduction};
use crate::error::{Error, Result, finite};
use crate::field::{Dynamics, FieldOptions, VectorField, check_batch};
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, Purpose, filled};
use crate::stepper::Discard;

pub(crate) use gradient_results::PanelGradient;
pub use gradient_results::{GradientStats, RetentionStats};
pub use options::{MAX_THREADS, Options, Output, Steps, Summation};
pub use run::Stats;
pub(crate) use run::{
    Interval, Recorder, SolveOutcome, integrate, interval_steps, step_control, tolerances_of, working_states,
};
pub(crate) use step_size::{ErrorTest, FirstStepTrial, ProposedStep, StepSize};

/// The solution of a batch at the output times, from [`odeint`].
#[derive(Debug)]
pub struct Solution<T> {
    y: Buffer<T>,
    shape: [usize; 3],
    /// The steps and evaluations of the solve.
    pub stats: Stats,
    /// Peak memory of the solve, in bytes by purpose.
    pub peak: Bytes,
}

impl<T: Real> Solution<T> {
    /// The solution of a solve that reached all times.
    pub(crate) fn whole(y: Buffer<T>, shape: [usize; 3], stats: Stats, peak: Bytes) -> Self {
        Self { y, shape, stats, peak }
    }

    /// The states at the output times, `[times, batch, state]`. If the solve failed on the way, only at the times that it reached.
    pub fn y(&self) -> ArrayView3<'_, T> {
        let [times, batch, state] = self.shape;
        ArrayView3::from_shape(self.shape, &self.y[..times * batch * state]).expect("as long as its shape says")
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// [`y`](Self::y), flat.
    pub(crate) fn flat(&self) -> &[T] {
        &self.y[..self.shape.iter().product()]
    }

    /// If the solve failed on the way, the last good state `[batch, state]`, at the time [`Progress::t`](crate::error::Progress) of its
    /// error.
    pub fn last_state(&self) -> Option<ArrayView2<'_, T>> {
        let [times, batch, state] = self.shape;
        let rest = &self.y[times * batch * state..];
        let last = rest.get(..batch * state)?;
        Some(ArrayView2::from_shape((batch, state), last).expect("one state"))
    }
}

/// Solves dy/dt = f(t, y) from `y0` `[batch, state]` at `times[0]`, for the states at all `times`, which ascend or descend and may repeat.
///
/// # Errors
/// `Shape`, `Option` and `NonFiniteInput` for invalid input, before any work starts; `NonFinite`, `StepUnderflow` and `MaxSteps` on the
/// way; `OutOfMemory`.
pub fn odeint<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
) -> Result<Solution<T>> {
    match odeint_partial(field, y0, times, options)? {
        (solution, None) => Ok(solution),
        (_, Some(error)) => Err(error),
    }
}

/// Solves as [`odeint`] does, but if the solve fails on the way, returns the states at the times that it reached, along with the error.
///
/// # Errors
/// `Shape`, `Option` and `NonFiniteInput` for invalid input, `OutOfMemory`; errors of your own functions.
pub fn odeint_partial<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
) -> Result<(Solution<T>, Option<Error>)> {
    odeint_shared(field, y0, times, options, Box::new(NoReduction))
}

/// Does what [`odeint_partial`] does, for a part of a batch whose parts take the same steps.
pub(crate) fn odeint_shared<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
    all_reduce: Box<dyn AllReduce>,
) -> Result<(Solution<T>, Option<Error>)> {
    let mut problem = Problem::new(field, y0, times, options, false)?;
    problem.all_reduce = all_reduce;
    problem.solve(&mut Discard)
}

/// A checked problem, with all that its solution needs, except what a gradient retains.
pub(crate) struct Problem<T> {
    pub dynamics: Box<dyn Dynamics<T>>,
    pub options: Options,
    pub times: Vec<f64>,
    pub batch: usize,
    pub state: usize,
    /// Arguments of each trajectory.
    pub arguments: usize,
    /// The initial state, in panels.
    pub start: Buffer<T>,
    pub ledger: Ledger,
    /// The sums that choose steps, over all parts of the batch.
    pub all_reduce: Box<dyn AllReduce>,
}

impl<T: Real> Problem<T> {
    pub fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &[f64],
        options: &Options,
        reverse: bool,
    ) -> Result<Self> {
        options.check()?;
        check_times(times)?;
        check_batch("y0", field, y0)?;
        options.check_features(field.state_size())?;
        if field.output_size() != field.state_size() {
            let expected =
                format!("a vector field, with as many outputs as the state has features, {}", field.state_size());
            return Err(Error::option("field", expected, format!("{} outputs", field.output_size())));
        }
        let (batch, state) = y0.dim();
        let parameters = field.parameters();
        let ledger = Ledger::new();
        ledger.add(Purpose::Network, size_of_val(parameters));
        let dynamics = field.prepare(
            parameters,
            batch,
            FieldOptions { threads: options.threads, ..FieldOptions::new(reverse) },
            &ledger,
        )?;
        let mut start = Buffer::recycled(&ledger, Purpose::Checkpoints, dynamics.layout().size())?;
        dynamics.layout().panels.pack(y0, &mut start, Padding::Repeat);
        let mut kept = filled(Purpose::Records, times.len(), 0.0)?;
        kept.copy_from_slice(times);
        Ok(Self {
            dynamics,
            options: options.clone(),
            times: kept,
            batch,
            state,
            arguments: field.argument_size(),
            start,
            ledger,
            all_reduce: Box::new(NoReduction),
        })
    }

    /// The problem of a state with its tangents, at the same times.
    pub fn of_tangents(&self, dynamics: Box<dyn Dynamics<T>>, state: usize, start: Buffer<T>) -> Self {
        Self {
            arguments: dynamics.arguments(),
            dynamics,
            options: self.options.clone(),
            times: self.times.clone(),
            batch: self.batch,
            state,
            start,
            ledger: self.ledger.clone(),
            all_reduce: Box::new(NoReduction),
        }
    }

    /// Runs the solve; `recorder` retains what a gradient will need.
    pub fn solve(&mut self, recorder: &mut dyn Recorder<T>) -> Result<(Solution<T>, Option<Error>)> {
        let slice = self.batch * self.state;
        let numbers = slice.saturating_mul(self.times.len());
        let mut y = Buffer::zeroed(&self.ledger, Purpose::Output, numbers)?;
        let panels = self.dynamics.layout().panels;
        let mut write = |output: usize, x: &[T]| {
            panels.unpack(x, &mut y[output * slice..(output + 1) * slice]);
        };
        let dynamics = &mut *self.dynamics;
        let all_reduce = &mut *self.all_reduce;
        let SolveOutcome { stats, reached, failure } = integrate(
            dynamics,
            all_reduce,
            &self.start,
            &self.times,
            &self.options,
            &self.ledger,
            recorder,
            &mut write,
        )?;
        if matches!(failure, Some(Error::Callback)) {
            return Err(Error::Callback);
        }
        let shape = [reached, self.batch, self.state];
        Ok((Solution { y, shape, stats, peak: self.ledger.peak() }, failure))
    }
}

pub(crate) fn check_times(times: &[f64]) -> Result<()> {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Err(Error::shape("times", "at least one time", 0));
    };
    finite("times", times)?;
    if !(last - first).is_finite() {
        let expected = "times whose difference is a number";
        return Err(Error::option("times", expected, format!("{first:e} to {last:e}")));
    }
    let mut moves = times.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]);
    let forward = moves.next().is_none_or(|(_, pair)| pair[1] > pair[0]);
    match moves.find(|(_, pair)| (pair[1] > pair[0]) != forward) {
        None => Ok(()),
        Some((index, _)) => Err(Error::Option {
            argument: "times",
            expected: "times in ascending or descending order (a time may be repeated)".into(),
            given: format!("{} followed by {} at index {index}", times[index], times[index + 1]),
        }),
    }
}
