//! Forward sensitivities: derivatives of a solution with respect to the inputs of its solve, and second derivatives of losses.
//!
//! The state and its derivatives along directions, [x, ẋ_1, ẋ_2, …], follow one system of equations, which is a program too. It
//! takes the steps of the solve itself, however those were chosen, and so gives the derivative of the numbers computed: the
//! transpose of what a [gradient](crate::gradient) gives, up to rounding. Where times move, so do the steps between them. A step
//! h (1 + σε) that begins at t + τε has X_i′ = ẋ + h Σ a_ij (k̇_j + σ k_j), hence the terms with τ and σ in the slopes of ẋ.
//!
//! A recorded solve of [x, ẋ] has a gradient like any other: for the cotangents of ẋ that a loss of x has, it is the product of the
//! loss's second derivatives with the direction (reverse over forward).

mod replay;

use std::fmt;

use ndarray::{
    Array, Array2, Array3, Array4, ArrayView, ArrayView2, ArrayView3, ArrayView4, Axis, CowArray, Dimension, s,
};

use crate::error::{Error, Result, finite, finite_tangents};
use crate::field::{Directions, FieldOptions, VectorField};
use crate::gradient::record::Record;
use crate::gradient::{Gradient, GradientMethod, Vjp};
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, Purpose, filled, reserve_in};
use crate::solve::{Options, Problem, Recorder, Solution};
use crate::stepper::{Discard, Sink, Span, Stage};
use replay::{TimeTangents, replay};

/// Directions along which a solve is differentiated: tangents of its inputs. `None` is a tangent of zero.
#[derive(Debug, Clone, Copy)]
pub struct Tangents<'a, T> {
    /// How many directions there are.
    pub directions: usize,
    /// Tangents ẏ0 of the initial states, `[directions, batch, state]`.
    pub y0: Option<ArrayView3<'a, T>>,
    /// Tangents θ̇ of the parameters, `[directions, parameters]`.
    pub parameters: Option<ArrayView2<'a, T>>,
    /// Tangents ȧ of the arguments, `[directions, batch, arguments]`.
    pub arguments: Option<ArrayView3<'a, T>>,
    /// Tangents of the output times, `[directions, times]`.
    pub times: Option<ArrayView2<'a, f64>>,
}

impl<T: Real> Tangents<'_, T> {
    /// `directions` directions, all of whose tangents are zero.
    pub fn new(directions: usize) -> Self {
        Self { directions, y0: None, parameters: None, arguments: None, times: None }
    }

    /// Checks the shapes, and runs with the same as flat arrays.
    fn with<R>(
        &self,
        batch: usize,
        outputs: usize,
        field: &dyn VectorField<T>,
        body: impl FnOnce(&Directions<'_, T>) -> Result<R>,
    ) -> Result<R> {
        fn flat<'a, N: Clone, D: Dimension>(
            argument: &'static str,
            given: Option<ArrayView<'a, N, D>>,
            expected: &[usize],
        ) -> Result<Option<CowArray<'a, N, D>>> {
            match given {
                Some(given) if given.shape() != expected => {
                    Err(Error::shape(argument, format!("{expected:?}"), format!("{:?}", given.shape())))
                }
                given => Ok(given.map(|given| match given.is_standard_layout() {
                    true => CowArray::from(given),
                    false => CowArray::from(
                        Array::from_shape_vec(given.raw_dim(), given.iter().cloned().collect())
                            .expect("as many numbers"),
                    ),
                })),
            }
        }
        let count = self.directions;
        let y0 = flat("tangents.y0", self.y0, &[count, batch, field.state_size()])?;
        let parameters = flat("tangents.parameters", self.parameters, &[count, field.parameters().len()])?;
        let arguments = flat("tangents.arguments", self.arguments, &[count, batch, field.argument_size()])?;
        let times = flat("tangents.times", self.times, &[count, outputs])?;
        body(&Directions {
            count,
            y0: y0.as_ref().and_then(|all| all.as_slice()),
            parameters: parameters.as_ref().and_then(|all| all.as_slice()),
            arguments: arguments.as_ref().and_then(|all| all.as_slice()),
            times: times.as_ref().and_then(|all| all.as_slice()),
        })
    }
}

/// A solution and its derivatives along directions, from [`jvp`].
#[derive(Debug)]
pub struct Jvp<T> {
    /// The solution at the output times, bitwise that of [`odeint`](crate::odeint).
    pub solution: Solution<T>,
    /// Peak memory of the solve and its derivatives together, in bytes by purpose.
    pub peak: Bytes,
    tangents: Buffer<T>,
    shape: [usize; 4],
}

impl<T: Real> Jvp<T> {
    /// ẏ, the derivatives of the solution along each direction, `[directions, times, batch, state]`.
    pub fn tangents(&self) -> ArrayView4<'_, T> {
        ArrayView4::from_shape(self.shape, &self.tangents).expect("as long as its shape says")
    }

    /// [`tangents`](Self::tangents), flat.
    #[cfg(any(target_arch = "wasm32", feature = "node"))]
    pub(crate) fn flat(&self) -> &[T] {
        &self.tangents
    }
}

/// Solves as [`odeint`](crate::odeint) does, and differentiates the solution along directions in y0, parameters, arguments and times.
///
/// ```
/// use symplectic_adjoint::field::program::ProgramField;
/// use symplectic_adjoint::ndarray::array;
/// use symplectic_adjoint::program::Builder;
/// use symplectic_adjoint::sensitivity::Tangents;
/// use symplectic_adjoint::{Method, Options, jvp};
///
/// # fn main() -> symplectic_adjoint::Result<()> {
/// // x' = −k x, whose solution e^(−kt) has the derivative −t e^(−kt) with respect to k.
/// let mut model = Builder::new(1);
/// let slope = -model.parameter(1) * model.state(0..1);
/// let field = ProgramField::new(model.finish(&slope)?, &[0.5])?;
/// let options = Options { rtol: 1e-10, atol: 1e-10, ..Options::new(Method::named("dopri5").expect("a known method")) };
/// let along = array![[1.0]];
/// let tangents = Tangents { parameters: Some(along.view()), ..Tangents::new(1) };
/// let derivatives = jvp(&field, array![[1.0]].view(), &[0.0, 2.0], &tangents, &options)?;
/// assert!((derivatives.tangents()[[0, 1, 0, 0]] + 2.0 * f64::exp(-1.0)).abs() < 1e-7);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of `odeint`; `Shape` and `NonFiniteInput` for the directions; `Option` for a custom field, which has no derivatives along
/// directions; `NonFiniteResult` if a derivative overflows.
pub fn jvp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    tangents: &Tangents<'_, T>,
    options: &Options,
) -> Result<Jvp<T>> {
    tangents.with(y0.nrows(), times.len(), field, |directions| jvp_along(field, y0, times, directions, options))
}

/// Does what [`jvp`] does, along flat directions whose lengths it checks.
pub(crate) fn jvp_along<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    directions: &Directions<'_, T>,
    options: &Options,
) -> Result<Jvp<T>> {
    let (solution, problem, record) = solve_recorded(field, y0, times, directions, options)?;
    let (batch, state) = (problem.batch, problem.state);
    let slice = times.len() * batch * state;
    let mut tangents = Buffer::zeroed(&problem.ledger, Purpose::Output, slice.saturating_mul(directions.count))?;
    let chunk_len = Directions::<T>::chunk_len(state);
    for first in (0..directions.count).step_by(chunk_len) {
        let some = directions.chunk(first, chunk_len.min(directions.count - first));
        let mut augmented = TangentProblem::new(field, y0, &problem, &some, false)?;
        let all = replay(&mut augmented.problem, &record, &mut augmented.time_tangents, &mut Discard)?;
        for (index, to) in tangents[first * slice..].chunks_exact_mut(slice).take(some.count).enumerate() {
            copy_columns(all.flat(), augmented.problem.state, (1 + index) * state, to, state);
        }
    }
    finite_tangents(&tangents)?;
    let shape = [directions.count, times.len(), batch, state];
    Ok(Jvp { solution, peak: problem.ledger.peak(), tangents, shape })
}

/// The derivatives of a solution with respect to the initial states, parameters and arguments, from [`sensitivities`]. Those of a
/// trajectory are with respect to its own initial state and arguments.
#[derive(Debug)]
pub struct Sensitivities<T> {
    /// The solution at the output times, bitwise that of [`odeint`](crate::odeint).
    pub solution: Solution<T>,
    /// ∂y/∂y0, `[times, batch, state, state]`; the last axis is that of y0.
    pub y0: Array4<T>,
    /// ∂y/∂θ, `[times, batch, state, parameters]`.
    pub parameters: Array4<T>,
    /// ∂y/∂a, the derivatives with respect to the arguments, `[times, batch, state, arguments]`.
    pub arguments: Array4<T>,
}

/// Solves as [`odeint`](crate::odeint) does, and differentiates the solution with respect to all initial states, parameters and
/// arguments, by [`jvp`] along each.
///
/// # Errors
/// Those of [`odeint`](crate::odeint); `Option` for a custom field, which has no derivatives along directions; `NonFiniteResult` if a
/// derivative overflows.
pub fn sensitivities<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
) -> Result<Sensitivities<T>> {
    let (batch, state) = (y0.nrows(), field.state_size());
    let (parameters, arguments) = (field.parameters().len(), field.argument_size());
    let directions = state + parameters + arguments;
    let zeros = |columns: usize| filled(Purpose::Workspace, directions.saturating_mul(columns), T::zero());
    let shaped = "as many numbers as the shape has";
    let mut starts = Array3::from_shape_vec((directions, batch, state), zeros(batch * state)?).expect(shaped);
    let mut own = Array2::from_shape_vec((directions, parameters), zeros(parameters)?).expect(shaped);
    let mut rates = Array3::from_shape_vec((directions, batch, arguments), zeros(batch * arguments)?).expect(shaped);
    for feature in 0..state {
        starts.slice_mut(s![feature, .., feature]).fill(T::one());
    }
    for index in 0..parameters {
        own[[state + index, index]] = T::one();
    }
    for index in 0..arguments {
        rates.slice_mut(s![state + parameters + index, .., index]).fill(T::one());
    }
    let tangents = Tangents {
        y0: Some(starts.view()),
        parameters: Some(own.view()),
        arguments: Some(rates.view()),
        ..Tangents::new(directions)
    };
    let derivatives = jvp(field, y0, times, &tangents, options)?;
    // The direction last.
    let part = |range: std::ops::Range<usize>| -> Result<Array4<T>> {
        let all = derivatives.tangents();
        let part = all.slice(s![range, .., .., ..]).permuted_axes([1, 2, 3, 0]);
        let mut numbers = Vec::new();
        reserve_in(Purpose::Output, &mut numbers, part.len())?;
        numbers.extend(part.iter().copied());
        Ok(Array4::from_shape_vec(part.raw_dim(), numbers).expect(shaped))
    };
    let (y0, parameters, arguments) =
        (part(0..state)?, part(state..state + parameters)?, part(state + parameters..directions)?);
    Ok(Sensitivities { solution: derivatives.solution, y0, parameters, arguments })
}

/// Copies `wanted` columns, from `first` on, of rows of `columns` numbers.
fn copy_columns<T: Copy>(from: &[T], columns: usize, first: usize, to: &mut [T], wanted: usize) {
    for (from, to) in from.chunks_exact(columns).zip(to.chunks_exact_mut(wanted)) {
        to.copy_from_slice(&from[first..first + wanted]);
    }
}

/// Reads the rows of an output: of ∂L/∂y, and of (∂²L/∂y²) ẏ.
type ReadRows<'a, T> = dyn FnMut(usize, &mut [T], &mut [T]) + 'a;

/// A recorded solve with its derivative along one direction, for products with second derivatives of losses.
pub struct JvpVjp<T> {
    /// The solution at the output times, bitwise that of [`odeint`](crate::odeint).
    pub solution: Solution<T>,
    tangent: Buffer<T>,
    recorded: Vjp<T>,
    parameters: usize,
    arguments: usize,
}

impl<T: Real> fmt::Debug for JvpVjp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JvpVjp").field("solution", &self.solution).finish_non_exhaustive()
    }
}

impl<T: Real> JvpVjp<T> {
    /// Solves as [`odeint`](crate::odeint) does, differentiates along one direction in y0, parameters and arguments, and retains what the
    /// gradient method needs for [`pullback`](Self::pullback).
    ///
    /// # Errors
    /// Those of [`jvp`] and [`vjp`](crate::vjp); `Option` for several directions, a direction in times, and the continuous adjoint.
    pub fn record(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &[f64],
        direction: &Tangents<'_, T>,
        options: &Options,
        method: &GradientMethod,
    ) -> Result<Self> {
        direction.with(y0.nrows(), times.len(), field, |direction| {
            Self::record_along(field, y0, times, direction, options, method)
        })
    }

    /// Does what [`record`](Self::record) does, along a flat direction whose lengths it checks.
    pub(crate) fn record_along(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &[f64],
        direction: &Directions<'_, T>,
        options: &Options,
        method: &GradientMethod,
    ) -> Result<Self> {
        if direction.count != 1 || direction.times.is_some() {
            let expected = "one direction, in y0, parameters and arguments";
            return Err(Error::option("direction", expected, format!("{} directions or times", direction.count)));
        }
        if let GradientMethod::Adjoint(_) = method {
            return Err(Error::option("gradient", "an exact gradient", "adjoint"));
        }
        let options = Options { time_gradients: false, ..options.clone() };
        let (solution, problem, record) = solve_recorded(field, y0, times, direction, &options)?;
        let mut augmented = TangentProblem::new(field, y0, &problem, direction, true)?;
        let recorded = Vjp::record(augmented.problem, method, |problem, recorder| {
            replay(problem, &record, &mut augmented.time_tangents, recorder)
        })?;
        let mut tangent = Buffer::zeroed(&problem.ledger, Purpose::Output, solution.flat().len())?;
        copy_columns(recorded.solution.flat(), 2 * problem.state, problem.state, &mut tangent, problem.state);
        finite_tangents(&tangent)?;
        let (parameters, arguments) = (field.parameters().len(), problem.arguments);
        Ok(Self { solution, tangent, recorded, parameters, arguments })
    }

    /// ẏ, the derivative of the solution along the direction, `[times, batch, state]`.
    pub fn tangent(&self) -> ArrayView3<'_, T> {
        ArrayView3::from_shape(self.solution.y().raw_dim(), &self.tangent).expect("shaped as the solution")
    }

    /// The product of a loss's second derivatives in y0, parameters and arguments with the direction, from the loss's
    /// `cotangent` ∂L/∂y and its `curvature` (∂²L/∂y²) ẏ, both `[times, batch, state]`.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for cotangent and curvature; `NonFiniteResult` if the product overflows; `OutOfMemory`.
    pub fn pullback(&mut self, cotangent: ArrayView3<'_, T>, curvature: ArrayView3<'_, T>) -> Result<Gradient<T>> {
        let expected = self.solution.y().shape().to_vec();
        for (argument, given) in [("cotangent", &cotangent), ("curvature", &curvature)] {
            if given.shape() != expected {
                return Err(Error::shape(argument, format!("{expected:?}"), format!("{:?}", given.shape())));
            }
        }
        let read = |all: &ArrayView3<'_, T>, output: usize, rows: &mut [T]| {
            rows.iter_mut().zip(all.index_axis(Axis(0), output)).for_each(|(to, &from)| *to = from);
        };
        self.pullback_from(&mut |output, cotangents, curvatures| {
            read(&cotangent, output, cotangents);
            read(&curvature, output, curvatures);
        })
    }

    /// Does what [`pullback`](Self::pullback) does; `read` writes the rows `[batch, state]` of one output at a time.
    pub(crate) fn pullback_from(&mut self, read: &mut ReadRows<'_, T>) -> Result<Gradient<T>> {
        let [outputs, batch, state] = self.solution.shape();
        let ledger = Ledger::new();
        let rows = || Buffer::zeroed(&ledger, Purpose::Cotangent, batch * state);
        let (mut cotangents, mut curvatures) = (rows()?, rows()?);
        debug_assert!(outputs > 0, "the first time at least");
        let recorded = self.recorded.pullback_from(&mut |rows| {
            for (output, rows) in rows.chunks_exact_mut(2 * batch * state).enumerate() {
                read(output, &mut cotangents, &mut curvatures);
                let place = |error: Error| error.with_offset(output * batch * state);
                finite("cotangent", &cotangents).map_err(place)?;
                finite("curvature", &curvatures).map_err(place)?;
                let pairs = cotangents.chunks_exact(state).zip(curvatures.chunks_exact(state));
                for (row, (cotangent, curvature)) in rows.chunks_exact_mut(2 * state).zip(pairs) {
                    row[..state].copy_from_slice(curvature);
                    row[state..].copy_from_slice(cotangent);
                }
            }
            Ok(())
        })?;
        recorded.leading(state, self.parameters, self.arguments)
    }
}

/// Checks the directions, and solves, recording the steps.
fn solve_recorded<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    directions: &Directions<'_, T>,
    options: &Options,
) -> Result<(Solution<T>, Problem<T>, Record)> {
    options.method.check_runge_kutta("derivatives in forward mode")?;
    let mut problem = Problem::new(field, y0, times, options, false)?;
    let (parameters, outputs) = (field.parameters().len(), problem.times.len());
    let sizes = [problem.batch, problem.state, parameters, problem.arguments, outputs];
    directions.check(sizes, problem.batch.saturating_mul(outputs))?;
    let mut steps = StepRecorder { record: Record::new(&problem.ledger, times.len())?, ledger: problem.ledger.clone() };
    let (solution, failure) = problem.solve(&mut steps)?;
    failure.map_or(Ok((solution, problem, steps.record)), Err)
}

/// Records the steps of a solve, and nothing else of it.
struct StepRecorder {
    record: Record,
    ledger: Ledger,
}

impl<T> Sink<T> for StepRecorder {
    fn stage(&mut self, _stage: Stage, _x: &[T]) -> Result<Option<&mut [T]>> {
        Ok(None)
    }
}

impl<T: Real> Recorder<T> for StepRecorder {
    fn expect(&mut self, steps: usize) -> Result<()> {
        self.record.expect(&self.ledger, steps);
        Ok(())
    }

    fn accept(&mut self, span: Span, _x: &[T], _carry: &[T]) -> Result<()> {
        self.record.push(span)
    }

    fn output(&mut self, output: usize, within: bool) {
        self.record.places[output] = self.record.count() - usize::from(within);
    }
}

/// The problem of the state with its tangents along directions, for [`replay`].
struct TangentProblem<T> {
    problem: Problem<T>,
    time_tangents: TimeTangents,
}

impl<T: Real> TangentProblem<T> {
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        problem: &Problem<T>,
        directions: &Directions<'_, T>,
        reverse: bool,
    ) -> Result<Self> {
        let Problem { batch, state: features, ref ledger, .. } = *problem;
        let field_options = FieldOptions { reverse, directions: Some(directions), threads: problem.options.threads };
        let dynamics = field.prepare(field.parameters(), batch, field_options, ledger)?;
        let layout = dynamics.layout().clone();
        let state = layout.arrays.iter().sum();
        let mut rows = Buffer::zeroed(ledger, Purpose::Workspace, batch * state)?;
        for (sample, (row, y0)) in rows.chunks_exact_mut(state).zip(y0.rows()).enumerate() {
            row.iter_mut().zip(y0).for_each(|(to, &from)| *to = from);
            for index in 0..directions.count {
                if let Some(given) = directions.of(directions.y0, index) {
                    row[(1 + index) * features..][..features].copy_from_slice(&given[sample * features..][..features]);
                }
            }
        }
        let rows = ArrayView2::from_shape((batch, state), &rows).expect("a row for each trajectory");
        let mut start = Buffer::zeroed(ledger, Purpose::Checkpoints, layout.size())?;
        layout.panels.pack(rows, &mut start, Padding::Repeat);
        let time_tangents = TimeTangents::new(features, directions);
        Ok(Self { problem: problem.of_tangents(dynamics, state, start), time_tangents })
    }
}
