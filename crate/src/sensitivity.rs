//! Forward sensitivities: how a solution moves along with what its solve starts from, and second derivatives of losses.
//!
//! The state and its derivatives along directions, [x, ẋ_1, ẋ_2, …], follow one system of equations, which is a program too. It is
//! taken through the steps of the solve itself, however those were chosen, and so gives the derivative of the numbers computed: the
//! transpose of what a [gradient](crate::gradient) gives, up to rounding. Where times move, so do the steps between them. A step
//! h (1 + σε) that begins at t + τε has X_i′ = ẋ + h Σ a_ij (k̇_j + σ k_j), hence the terms with τ and σ in the slopes of ẋ.
//!
//! A recorded solve of [x, ẋ] has a gradient like any other: for the cotangents of ẋ that a loss of x has, it is the product of the
//! loss's second derivatives with the direction (reverse over forward).

mod retrace;

use ndarray::{ArrayView2, ArrayView3, ArrayView4, ArrayViewMut2, Axis, s};

use crate::error::{Error, Result, finite};
use crate::field::{Tangents, VectorField};
use crate::gradient::record::Record;
use crate::gradient::{Gradient, GradientMethod, Trajectory};
use crate::kernel::panels::Spare;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, Purpose};
use crate::solve::{Options, Problem, Recorder, Solution};
use crate::stepper::{Discard, Sink, Span, Stage};
use retrace::{Clocks, retrace};

/// A solution and its derivatives along directions.
#[derive(Debug)]
pub struct Jvp<T> {
    /// That of [`odeint`](crate::odeint), bitwise.
    pub solution: Solution<T>,
    /// Peak memory.
    pub peak: Bytes,
    tangents: Buffer<T>,
    shape: [usize; 4],
}

impl<T: Real> Jvp<T> {
    /// ẏ along each direction, `[directions, times, batch, state]`.
    pub fn tangents(&self) -> ArrayView4<'_, T> {
        ArrayView4::from_shape(self.shape, &self.tangents).expect("as long as its shape says")
    }
}

/// Solves as [`odeint`](crate::odeint) does, and differentiates the solution along directions in y0, parameters, arguments and times.
///
/// ```
/// use symplectic_adjoint::field::Tangents;
/// use symplectic_adjoint::field::program::ProgramField;
/// use symplectic_adjoint::ndarray::array;
/// use symplectic_adjoint::program::Builder;
/// use symplectic_adjoint::{Method, Options, jvp};
///
/// # fn main() -> symplectic_adjoint::Result<()> {
/// // x' = −k x, whose solution e^(−kt) moves by −t e^(−kt) with k.
/// let mut model = Builder::new(1);
/// let slope = -model.parameter(1) * model.state(0..1);
/// let field = ProgramField::new(model.finish(&slope)?, &[0.5])?;
/// let options = Options { rtol: 1e-10, ..Options::new(Method::named("dopri5").expect("a known method")) };
/// let along = array![[1.0]];
/// let tangents = Tangents { parameters: Some(along.view()), ..Tangents::new(1) };
/// let moved = jvp(&field, array![[1.0]].view(), &[0.0, 2.0], &tangents, &options)?;
/// assert!((moved.tangents()[[0, 1, 0, 0]] + 2.0 * f64::exp(-1.0)).abs() < 1e-8);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As `odeint`; `Shape` and `NonFiniteInput` for the directions; `Option` for a field that is no program; `NonFiniteResult` where a
/// derivative overflows.
pub fn jvp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    tangents: &Tangents<'_, T>,
    options: &Options,
) -> Result<Jvp<T>> {
    let (solution, problem, record) = traced(field, y0, times, tangents, options)?;
    let ledger = problem.ledger.clone();
    let (batch, state) = y0.dim();
    let shape = [tangents.directions, times.len(), batch, state];
    let numbers = shape.iter().fold(1_usize, |numbers, &side| numbers.saturating_mul(side));
    let mut moved = Buffer::zeroed(&ledger, Purpose::Output, numbers)?;
    let slice = times.len() * batch * state;
    let at_once = at_once(state);
    for first in (0..tangents.directions).step_by(at_once) {
        let some = part(tangents, first..(first + at_once).min(tangents.directions));
        let mut follower = Follower::new(field, y0, &problem, &some, false)?;
        let all = follower.follow(&record, &mut Discard)?;
        for (index, to) in moved[first * slice..].chunks_exact_mut(slice.max(1)).take(some.directions).enumerate() {
            let from = all.y();
            let from = from.slice(s![.., .., (1 + index) * state..(2 + index) * state]);
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        }
    }
    finite_tangents(&moved)?;
    Ok(Jvp { solution, peak: ledger.peak(), tangents: moved, shape })
}

/// Directions that are followed together: the more, the fewer passes, and the longer the program.
fn at_once(state: usize) -> usize {
    (256 / state).clamp(1, 32)
}

/// Some of the directions.
fn part<'a, T>(tangents: &Tangents<'a, T>, some: std::ops::Range<usize>) -> Tangents<'a, T> {
    let Tangents { y0, parameters, arguments, times, .. } = *tangents;
    Tangents {
        directions: some.len(),
        y0: y0.map(|all| all.slice_move(s![some.clone(), .., ..])),
        parameters: parameters.map(|all| all.slice_move(s![some.clone(), ..])),
        arguments: arguments.map(|all| all.slice_move(s![some.clone(), .., ..])),
        times: times.map(|all| all.slice_move(s![some, ..])),
    }
}

fn finite_tangents<T: Real>(tangents: &[T]) -> Result<()> {
    match tangents.iter().position(|number| !number.is_finite()) {
        Some(index) => {
            let remedy = "it overflows: scale the direction, shorten the times, or use float64";
            Err(Error::NonFiniteResult { result: "tangents", given: tangents[index].wide(), index, remedy })
        }
        None => Ok(()),
    }
}

/// A recorded solve with its derivative along one direction, of which losses have second derivatives.
pub struct TangentTrajectory<T> {
    /// That of [`odeint`](crate::odeint), bitwise.
    pub solution: Solution<T>,
    tangent: Buffer<T>,
    both: Trajectory<T>,
    parameters: usize,
    arguments: usize,
}

impl<T: Real> TangentTrajectory<T> {
    /// Solves as [`odeint`](crate::odeint) does, along a direction in y0, parameters and arguments, and retains what the gradient
    /// method needs.
    ///
    /// # Errors
    /// As [`jvp`] and [`vjp`](crate::vjp); `Option` for several directions, one in which times move, and the continuous adjoint.
    pub fn record(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &[f64],
        direction: &Tangents<'_, T>,
        options: &Options,
        method: &GradientMethod,
    ) -> Result<Self> {
        if direction.directions != 1 || direction.times.is_some() {
            let expected = "one direction, in y0, parameters and arguments";
            return Err(Error::option("direction", expected, format!("{} directions or times", direction.directions)));
        }
        if let GradientMethod::Adjoint(_) = method {
            return Err(Error::option("gradient", "an exact gradient", "adjoint"));
        }
        let options = Options { time_gradients: false, ..options.clone() };
        let (solution, problem, record) = traced(field, y0, times, direction, &options)?;
        let mut follower = Follower::new(field, y0, &problem, direction, true)?;
        let both = Trajectory::record(follower.problem, method, |problem, recorder| {
            retrace(problem, &record, &mut follower.clocks, recorder)
        })?;
        let state = problem.state;
        let mut tangent = Buffer::zeroed(&problem.ledger, Purpose::Output, times.len() * problem.batch * state)?;
        let y = both.solution.y();
        tangent.iter_mut().zip(y.slice(s![.., .., state..2 * state])).for_each(|(to, &from)| *to = from);
        finite_tangents(&tangent)?;
        let (parameters, arguments) = (field.parameters().len(), problem.arguments);
        Ok(Self { solution, tangent, both, parameters, arguments })
    }

    /// ẏ `[times, batch, state]`.
    pub fn tangent(&self) -> ArrayView3<'_, T> {
        ArrayView3::from_shape(self.solution.y().raw_dim(), &self.tangent).expect("shaped as the solution")
    }

    /// The product of a loss's second derivatives in y0, parameters and arguments with the direction, from the loss's
    /// `cotangent` ∂L/∂y and its `curvature` (∂²L/∂y²) ẏ, both `[times, batch, state]`.
    ///
    /// # Errors
    /// As [`Trajectory::pullback`].
    pub fn pullback(&mut self, cotangent: ArrayView3<'_, T>, curvature: ArrayView3<'_, T>) -> Result<Gradient<T>> {
        let expected = self.solution.y().shape().to_vec();
        for (argument, given) in [("cotangent", &cotangent), ("curvature", &curvature)] {
            if given.shape() != expected {
                return Err(Error::shape(argument, format!("{expected:?}"), format!("{:?}", given.shape())));
            }
            finite(argument, given.iter().copied())?;
        }
        let state = expected[2];
        let both = self.both.pullback_from(&mut |output, rows| {
            let pairs = cotangent.index_axis(Axis(0), output);
            let curved = curvature.index_axis(Axis(0), output);
            for (sample, row) in rows.chunks_exact_mut(2 * state).enumerate() {
                row[..state].iter_mut().zip(curved.row(sample)).for_each(|(to, &from)| *to = from);
                row[state..].iter_mut().zip(pairs.row(sample)).for_each(|(to, &from)| *to = from);
            }
            Ok(())
        })?;
        both.leading(state, self.parameters, self.arguments)
    }
}

/// Checks the directions, and solves, keeping the steps.
fn traced<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    tangents: &Tangents<'_, T>,
    options: &Options,
) -> Result<(Solution<T>, Problem<T>, Record)> {
    let mut problem = Problem::new(field, y0, times, options, false)?;
    check(tangents, &problem, field.parameters().len())?;
    let mut steps = Steps { record: Record::new(&problem.ledger, times.len())?, ledger: problem.ledger.clone() };
    let (solution, failure) = problem.solve(&mut steps)?;
    failure.map_or(Ok((solution, problem, steps.record)), Err)
}

fn check<T: Real>(tangents: &Tangents<'_, T>, problem: &Problem<T>, parameters: usize) -> Result<()> {
    let Tangents { directions, y0, parameters: own, arguments, times } = *tangents;
    if directions == 0 {
        return Err(Error::option("tangents", "at least one direction", 0));
    }
    let same = |argument, expected: &[usize], given: &[usize]| match given == expected {
        true => Ok(()),
        false => Err(Error::shape(argument, format!("{expected:?}"), format!("{given:?}"))),
    };
    if let Some(y0) = y0 {
        same("tangents.y0", &[directions, problem.batch, problem.state], y0.shape())?;
        finite("tangents.y0", y0.iter().copied())?;
    }
    if let Some(own) = own {
        same("tangents.parameters", &[directions, parameters], own.shape())?;
        finite("tangents.parameters", own.iter().copied())?;
    }
    if let Some(arguments) = arguments {
        same("tangents.arguments", &[directions, problem.batch, problem.arguments], arguments.shape())?;
        finite("tangents.arguments", arguments.iter().copied())?;
    }
    if let Some(times) = times {
        same("tangents.times", &[directions, problem.times.len()], times.shape())?;
        finite("tangents.times", times.iter().copied())?;
    }
    Ok(())
}

/// Records the steps of a solve, and nothing else of it.
struct Steps {
    record: Record,
    ledger: Ledger,
}

impl<T> Sink<T> for Steps {
    fn stage(&mut self, _stage: Stage, _x: &[T]) -> Result<Option<&mut [T]>> {
        Ok(None)
    }
}

impl<T: Real> Recorder<T> for Steps {
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

/// The state with its derivatives along directions, ready to be taken through recorded steps.
struct Follower<T> {
    problem: Problem<T>,
    clocks: Clocks,
}

impl<T: Real> Follower<T> {
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        problem: &Problem<T>,
        tangents: &Tangents<'_, T>,
        reverse: bool,
    ) -> Result<Self> {
        let Problem { batch, state: features, ref ledger, .. } = *problem;
        let along = field.prepare_tangents(field.parameters(), batch, tangents, reverse, ledger)?;
        let (state, layout) = (along.state, along.dynamics.layout().clone());
        let mut rows = Buffer::zeroed(ledger, Purpose::Workspace, batch * state)?;
        let mut all = ArrayViewMut2::from_shape((batch, state), &mut rows).expect("a row for each trajectory");
        all.slice_mut(s![.., ..features]).assign(&y0);
        for index in 0..tangents.directions {
            if let Some(given) = tangents.y0 {
                let to = s![.., (1 + index) * features..(2 + index) * features];
                all.slice_mut(to).assign(&given.index_axis(Axis(0), index));
            }
        }
        let mut start = Buffer::zeroed(ledger, Purpose::Checkpoints, layout.size())?;
        layout.panels.pack(all.view(), &mut start, Spare::Repeat);
        let clocks = Clocks::new(features, &along.clocks, tangents.times);
        Ok(Self { problem: problem.of_tangents(along, start), clocks })
    }

    fn follow(&mut self, record: &Record, recorder: &mut dyn Recorder<T>) -> Result<Solution<T>> {
        retrace(&mut self.problem, record, &mut self.clocks, recorder)
    }
}
