//! Gradients of solves: the exact ones, which differ only in what the solve retains and what the sweep backward computes again, and the
//! continuous adjoint.

mod budget;
mod checkpoints;
pub(crate) mod record;
mod recording;
mod store;
mod sweep;

use std::fmt;

use ndarray::{ArrayView2, ArrayView3, s};

use crate::adjoint;
use crate::control::{AllReduce, NoReduction};
use crate::error::{Error, Result, finite, finite_gradient};
use crate::field::VectorField;
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
pub use crate::solve::{GradientStats, RetentionStats};
use crate::solve::{Options, Problem, Recorder, Solution, working_states};
use crate::stepper::Discard;
use budget::{Footprint, Recomputed, RetentionPlan};
use recording::{Recording, Retention, permanent_bytes};
use sweep::{sweep, working_bytes};

/// How a gradient is computed: what the solve retains for it, and what is computed again. All but `Adjoint` give the same bits.
#[derive(Debug, Clone, PartialEq)]
pub enum GradientMethod {
    /// Whatever is fastest within a memory budget: it retains tapes, stage states or the state x_n of each step, or fewer checkpoints
    /// from which steps are taken again. The default.
    Auto {
        /// Bytes for the solve and its gradients together; default [`DEFAULT_BUDGET`].
        budget: usize,
    },
    /// The symplectic adjoint method (Matsubara, Miyatake and Yaguchi 2021): the x_n are retained, the stages of a step are computed
    /// again, and one evaluation is taped at a time.
    Symplectic,
    /// Backpropagation through the solver: the tapes of all evaluations are retained.
    Backprop,
    /// Only x_0 is retained; the gradient runs the whole solve again and tapes all of it.
    Baseline,
    /// The adaptive checkpoint adjoint (Zhuang et al. 2020): the x_n are retained, and the tapes of a step are computed again together.
    Aca,
    /// The continuous adjoint (Chen et al. 2018): (x, λ, ∂L/∂θ) is integrated backward with these options. Its gradient is not that of
    /// the numbers computed, but that of the exact solution up to the tolerances.
    Adjoint(Box<Options>),
}

/// The budget of the default [`GradientMethod`]: 512 MiB.
pub const DEFAULT_BUDGET: usize = 512 << 20;

impl Default for GradientMethod {
    fn default() -> Self {
        GradientMethod::Auto { budget: DEFAULT_BUDGET }
    }
}

/// A recorded solve, from [`vjp`]: the solution, and what its gradients need. It has a copy of the parameters as they were.
pub struct Vjp<T> {
    /// The solution at the output times, bitwise that of [`odeint`](crate::odeint).
    pub solution: Solution<T>,
    problem: Problem<T>,
    kept: Retained<T>,
}

impl<T: Real> fmt::Debug for Vjp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vjp").field("solution", &self.solution).finish_non_exhaustive()
    }
}

enum Retained<T> {
    Discrete(Box<Recording<T>>),
    Continuous(Box<Options>),
}

/// The gradient of a loss with respect to everything that a solve starts from.
#[derive(Debug)]
pub struct Gradient<T> {
    y0: Buffer<T>,
    batch: usize,
    parameters: Buffer<T>,
    arguments: Buffer<T>,
    /// ∂L/∂t of each output time; `None` if a custom field does not return its derivative with respect to time, or
    /// [`Options::time_gradients`] is off.
    pub times: Option<Vec<f64>>,
    /// The evaluations, vector–Jacobian products and peak memory of this gradient.
    pub stats: GradientStats,
}

impl<T: Real> Gradient<T> {
    /// ∂L/∂y0, `[batch, state]`.
    pub fn y0(&self) -> ArrayView2<'_, T> {
        let shape = (self.batch, self.y0.len() / self.batch);
        ArrayView2::from_shape(shape, &self.y0).expect("as long as its shape says")
    }

    /// ∂L/∂θ, flat, in the order of the field's parameters.
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// The part of it that belongs to the first features, parameters and arguments.
    pub(crate) fn leading(self, state: usize, parameters: usize, arguments: usize) -> Result<Self> {
        let ledger = Ledger::new();
        let columns = |all: ArrayView2<'_, T>, columns: usize| {
            let mut own = Buffer::zeroed(&ledger, Purpose::Gradient, self.batch * columns)?;
            own.iter_mut().zip(all.slice(s![.., ..columns])).for_each(|(to, &from)| *to = from);
            Ok(own)
        };
        let (y0, own_arguments) = (columns(self.y0(), state)?, columns(self.arguments(), arguments)?);
        let parameters = Buffer::copied(&ledger, Purpose::Gradient, &self.parameters[..parameters])?;
        Ok(Self { y0, parameters, arguments: own_arguments, ..self })
    }

    /// ∂L/∂arguments, `[batch, arguments]`; without columns if the field has no arguments.
    pub fn arguments(&self) -> ArrayView2<'_, T> {
        let shape = (self.batch, self.arguments.len() / self.batch);
        ArrayView2::from_shape(shape, &self.arguments).expect("as long as its shape says")
    }
}

/// Solves as [`odeint`](crate::odeint) does, and retains what the gradient method needs for [`Vjp::pullback`].
///
/// # Errors
/// Those of `odeint`; `Budget` if the budget is too small, however little is retained.
pub fn vjp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
    method: &GradientMethod,
) -> Result<Vjp<T>> {
    vjp_shared(field, y0, times, options, method, Box::new(NoReduction))
}

/// Does what [`vjp`] does, for a part of a batch whose parts take the same steps.
pub(crate) fn vjp_shared<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
    method: &GradientMethod,
    all_reduce: Box<dyn AllReduce>,
) -> Result<Vjp<T>> {
    let mut problem = Problem::new(field, y0, times, options, true)?;
    problem.all_reduce = all_reduce;
    if let GradientMethod::Adjoint(backward) = method {
        backward.check()?;
        backward.check_features(problem.state)?;
        backward.method.check_runge_kutta("the continuous adjoint")?;
        let (solution, failure) = problem.solve(&mut Discard)?;
        return failure.map_or(Ok(()), Err).map(|()| Vjp {
            solution,
            problem,
            kept: Retained::Continuous(backward.clone()),
        });
    }
    Vjp::record(problem, method, |problem, recorder| {
        let (solution, failure) = problem.solve(recorder)?;
        failure.map_or(Ok(solution), Err)
    })
}

/// The sizes that a budget is checked against: the bytes that the solve and the sweep take.
fn footprint<T: Real>(problem: &Problem<T>) -> Footprint {
    let Problem { dynamics, options, times, start, ledger, batch, state, .. } = problem;
    let number = size_of::<T>();
    let (stages, bytes) = (options.method.stages(), start.len() * number);
    let solution = (batch * state * number).saturating_mul(times.len());
    let cotangents = bytes.saturating_mul(times.len());
    let sweep = |recomputed| working_bytes(recomputed, stages, bytes, dynamics.parameters() * number);
    Footprint {
        state: bytes,
        tape: dynamics.tape_len() * number,
        stages,
        permanent: [solution, permanent_bytes(times.len(), bytes)]
            .into_iter()
            .fold(ledger.live().total(), usize::saturating_add),
        forward: bytes.saturating_mul(working_states(stages)),
        backward: Recomputed::ALL.map(|recomputed| sweep(recomputed).saturating_add(cotangents)),
    }
}

impl<T: Real> Vjp<T> {
    /// Runs a solve, and retains what an exact gradient needs.
    pub(crate) fn record(
        mut problem: Problem<T>,
        method: &GradientMethod,
        solve: impl FnOnce(&mut Problem<T>, &mut dyn Recorder<T>) -> Result<Solution<T>>,
    ) -> Result<Self> {
        let retention = match method {
            GradientMethod::Auto { budget } => Retention::Budget(*budget),
            GradientMethod::Backprop => Retention::Fixed(RetentionPlan::TAPES),
            GradientMethod::Baseline => Retention::Fixed(RetentionPlan::REPLAY),
            GradientMethod::Aca => Retention::Fixed(RetentionPlan::STEP_TAPES),
            // The continuous adjoint never comes here: its solves record nothing but their end.
            GradientMethod::Symplectic | GradientMethod::Adjoint(_) => Retention::Fixed(RetentionPlan::STATES),
        };
        let mut recording = Box::new(Recording::new(&retention, &problem, footprint(&problem))?);
        let solution = solve(&mut problem, &mut *recording)?;
        Ok(Self { solution, problem, kept: Retained::Discrete(recording) })
    }

    /// The accepted steps as (t_n, h_n), with negative h if times descend. The continuous adjoint records no steps.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let recording = match &self.kept {
            Retained::Discrete(recording) => Some(recording),
            Retained::Continuous(_) => None,
        };
        recording
            .into_iter()
            .flat_map(|recording| (0..recording.record.count()).map(move |step| recording.record.step(step)))
    }

    /// The gradient of a loss L of the solution, from its cotangent ∂L/∂y `[times, batch, state]`. You may call it any number of times.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangent; `NonFiniteResult` if the gradient overflows, or the transpose of a custom field is not
    /// finite; `OutOfMemory`; for the continuous adjoint also the errors of a solve.
    pub fn pullback(&mut self, cotangent: ArrayView3<'_, T>) -> Result<Gradient<T>> {
        let expected = self.solution.y().shape().to_vec();
        if cotangent.shape() != expected {
            return Err(Error::shape("cotangent", format!("{expected:?}"), format!("{:?}", cotangent.shape())));
        }
        self.pullback_from(&mut |rows| {
            rows.iter_mut().zip(cotangent).for_each(|(to, &from)| *to = from);
            Ok(())
        })
    }

    /// Does what [`pullback`](Self::pullback) does; `read` writes all numbers of the cotangent, row-major.
    pub(crate) fn pullback_from(&mut self, read: &mut dyn FnMut(&mut [T]) -> Result<()>) -> Result<Gradient<T>> {
        let Self { solution, problem, kept } = self;
        let ledger = problem.ledger.clone();
        let panels = problem.dynamics.layout().panels;
        let (len, outputs) = (problem.start.len(), problem.times.len());
        let slice = problem.batch * problem.state;
        let mut w = Buffer::recycled(&ledger, Purpose::Cotangent, outputs * len)?;
        let mut rows = Buffer::recycled(&ledger, Purpose::Cotangent, slice)?;
        // All rows are read at once to the end, and packed from there: an output's panels never reach the rows of later outputs.
        let first = outputs * (len - slice);
        read(&mut w[first..])?;
        for output in 0..outputs {
            rows.copy_from_slice(&w[first + output * slice..][..slice]);
            finite("cotangent", &rows).map_err(|error| error.with_offset(output * slice))?;
            let rows = ArrayView2::from_shape((problem.batch, problem.state), &rows).expect("one slice");
            panels.pack(rows, &mut w[output * len..][..len], Padding::Zero);
        }
        drop(rows);
        let before = problem.dynamics.counts();
        let found = match kept {
            Retained::Discrete(recording) => sweep(recording, problem, &w)?,
            Retained::Continuous(options) => adjoint::sweep(problem, solution, options, &w)?,
        };
        let mut y0 = Buffer::recycled(&ledger, Purpose::Gradient, slice)?;
        panels.unpack(&found.lambda, &mut y0);
        let arguments_at = found.parameters.len() - panels.lanes * problem.arguments;
        let mut arguments = Buffer::recycled(&ledger, Purpose::Gradient, problem.batch * problem.arguments)?;
        panels.unpack(&found.parameters[arguments_at..], &mut arguments);
        let parameters = match problem.arguments {
            0 => found.parameters,
            _ => Buffer::copied(&ledger, Purpose::Gradient, &found.parameters[..arguments_at])?,
        };
        // The continuous adjoint's gradient of the times takes f alone.
        let known = matches!(kept, Retained::Continuous(_)) || problem.dynamics.has_time_derivative();
        let times = (known && problem.options.time_gradients).then_some(found.times);
        finite_gradient("gradient.y0", &y0)?;
        finite_gradient("gradient.parameters", &parameters)?;
        finite_gradient("gradient.arguments", &arguments)?;
        finite_gradient("gradient.times", times.as_deref().unwrap_or_default())?;
        let after = problem.dynamics.counts();
        Ok(Gradient {
            y0,
            batch: problem.batch,
            parameters,
            arguments,
            times,
            stats: GradientStats {
                evaluations: after.evaluations - before.evaluations,
                vjps: after.vjps - before.vjps,
                backward_steps: found.backward_steps,
                retention: match kept {
                    Retained::Discrete(recording) => recording.stats(),
                    Retained::Continuous(_) => RetentionStats::default(),
                },
                peak: ledger.peak(),
            },
        })
    }
}
