//! Forward mode: trajectories with their derivatives along directions.
//!
//! A solve without derivatives comes first and tells its steps. Then [x, ẋ_1, ẋ_2, …] of each trajectory is taken through these. So the
//! derivatives are those of the numbers computed, whatever chose the steps, and those do not move.

use ndarray::{Array2, ArrayView2, s};

use super::leaves::{Keep, Kept, solve};
use super::problem::{Problem, Tools};
use super::{Changes, Cotangents, Extras, Gradient, Lists, Solution, Trajectories};
use crate::error::{Error, Result, finite_tangents};
use crate::field::{Directions, VectorField};
use crate::gradient::GradientMethod;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, List, Purpose};
use crate::solve::{Options, Output, Steps};

/// Solves an ensemble as [`odeint`](super::odeint) does, and follows its derivatives along directions in y0, parameters and arguments: in
/// place of a state, the solution has [y, ẏ_1, ẏ_2, …] of n (1 + directions) numbers. Its y and statistics are bitwise those of
/// `odeint`; the sizes of steps stay as they are.
///
/// # Errors
/// As `odeint`; `Shape` and `NonFiniteInput` for the directions; `Option` where times move, and for a field that is no program;
/// `NonFiniteResult` where a derivative overflows.
pub fn odeint_along<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    directions: &Directions<'_, T>,
) -> Result<Solution<T>> {
    let Traced { problem, solution, steps } = Traced::new(field, y0, times, options, directions)?;
    let n = problem.state;
    let features = n * (1 + directions.count);
    let rows = solution.y.len() / n;
    let mut y = Buffer::zeroed(&problem.ledger, Purpose::Output, rows.saturating_mul(features))?;
    for (to, from) in y.chunks_exact_mut(features).zip(solution.y.chunks_exact(n)) {
        to[..n].copy_from_slice(from);
    }
    let at_once = Directions::<T>::at_once(n);
    let mut steps = Some(steps);
    for first in (0..directions.count).step_by(at_once) {
        let count = at_once.min(directions.count - first);
        let (mut moving, mut tools) = moving(field, y0, &problem, &directions.part(first, count), false)?;
        moving.again = steps.take();
        let moved = solve(&moving, &mut tools, None)?.0;
        steps = moving.again.take();
        for (to, from) in y.chunks_exact_mut(features).zip(moved.y.chunks_exact(n * (1 + count))) {
            to[n * (1 + first)..][..n * count].copy_from_slice(&from[n..]);
            finite_tangents(&from[n..])?;
        }
    }
    let peak = problem.ledger.peak();
    Ok(Solution { y, peak, ..solution })
}

/// An ensemble with its derivatives along one direction, solved, with what products with second derivatives need.
pub struct TrajectoriesAlong<T> {
    /// That of [`odeint_along`], bitwise.
    pub solution: Solution<T>,
    both: Trajectories<T>,
    state: usize,
    parameters: usize,
    arguments: usize,
}

/// Solves as [`odeint_along`] does along one direction, and retains what the gradient method needs.
///
/// # Errors
/// As [`odeint_along`] and [`vjp`](super::vjp); `Option` for several directions and for the continuous adjoint.
pub fn vjp_along<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    direction: &Directions<'_, T>,
    method: &GradientMethod,
) -> Result<TrajectoriesAlong<T>> {
    if direction.count != 1 {
        return Err(Error::option("direction", "one direction", direction.count));
    }
    if let GradientMethod::Adjoint(_) = method {
        return Err(Error::option("gradient", "an exact gradient", "adjoint"));
    }
    let options = Options { time_gradients: false, ..options.clone() };
    let Traced { problem, solution, steps } = Traced::new(field, y0, times, &options, direction)?;
    let (mut moving, tools) = moving(field, y0, &problem, direction, true)?;
    moving.again = Some(steps);
    let (parameters, arguments, n) = (problem.parameters, problem.arguments, problem.state);
    let both = Trajectories::record(moving, tools, method)?;
    let mut y = Buffer::copied(&problem.ledger, Purpose::Output, &both.solution.y)?;
    for (to, from) in y.chunks_exact_mut(2 * n).zip(solution.y.chunks_exact(n)) {
        to[..n].copy_from_slice(from);
        finite_tangents(&to[n..])?;
    }
    let solution = Solution { y, peak: problem.ledger.peak(), ..solution };
    Ok(TrajectoriesAlong { solution, both, state: n, parameters, arguments })
}

impl<T: Real> TrajectoriesAlong<T> {
    /// The product of a loss's second derivatives in y0, parameters and arguments with the direction, from rows
    /// [(∂²L/∂y²) ẏ, ∂L/∂y], laid out as those of the solution.
    ///
    /// # Errors
    /// As [`Trajectories::pullback`].
    pub fn pullback(&mut self, cotangents: &[T]) -> Result<Gradient<T>> {
        let Self { both, state, parameters, arguments, .. } = self;
        let product = both.pullback(Cotangents { y: cotangents, event_times: &[], event_states: &[] })?;
        // What belongs to the rates comes behind, in each row.
        let ledger = both.ledger();
        let batch = product.y0.len() / (2 * *state);
        let leading = |rows: &[T], wanted: usize| {
            let mut own = Buffer::zeroed(&ledger, Purpose::Gradient, batch * wanted)?;
            for (to, from) in own.chunks_exact_mut(wanted.max(1)).zip(rows.chunks_exact((rows.len() / batch).max(1))) {
                to.copy_from_slice(&from[..wanted]);
            }
            Ok(own)
        };
        let (y0, own_arguments) = (leading(&product.y0, *state)?, leading(&product.arguments, *arguments)?);
        let own_parameters = Buffer::copied(&ledger, Purpose::Gradient, &product.parameters[..*parameters])?;
        Ok(Gradient { y0, parameters: own_parameters, arguments: own_arguments, ..product })
    }
}

/// A solve without derivatives.
struct Traced<T> {
    problem: Problem<T>,
    solution: Solution<T>,
    /// Of each trajectory.
    steps: Vec<List<super::track::Step>>,
}

impl<T: Real> Traced<T> {
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &Lists,
        options: &Options,
        directions: &Directions<'_, T>,
    ) -> Result<Self> {
        let (problem, mut tools) =
            Problem::new(&Ledger::new(), field, y0, times, options, &Changes::default(), Extras::default(), false)?;
        directions.check([problem.batch, problem.state, problem.parameters, problem.arguments, times.len()])?;
        if directions.times.is_some() {
            let expected = "none where trajectories take their own steps";
            return Err(Error::option("tangents.times", expected, "rates of times"));
        }
        let keep = Keep { all: true, budget: None };
        let (solution, Kept { tracks, .. }) = solve(&problem, &mut tools, Some(keep))?;
        let mut steps = Vec::with_capacity(problem.batch);
        for (tracks, leaf) in tracks.expect("all are kept").into_iter().zip(problem.leaves()) {
            for own in 0..leaf.len() {
                let mut list = List::new(&problem.ledger, Purpose::Records);
                list.extend(tracks.steps(own).into_iter())?;
                steps.push(list);
            }
        }
        Ok(Self { problem, solution, steps })
    }
}

/// The problem of [x, ẋ_1, ẋ_2, …], whose steps are still to be given.
fn moving<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    problem: &Problem<T>,
    directions: &Directions<'_, T>,
    reverse: bool,
) -> Result<(Problem<T>, Vec<Tools<T>>)> {
    let Problem { batch, state, leaf, ref ledger, ref inputs, ref options, .. } = *problem;
    let Some(program) = field.program_field() else {
        return Err(Error::option("field", "a field that is a program", "another field"));
    };
    let moving = program.along(directions, inputs, leaf, ledger)?;
    let mut start = Array2::zeros((batch, moving.state_size()));
    start.slice_mut(s![.., ..state]).assign(&y0);
    for index in 0..directions.count {
        if let Some(given) = directions.of(directions.y0, index) {
            let given = ArrayView2::from_shape((batch, state), given).expect("checked");
            start.slice_mut(s![.., (1 + index) * state..(2 + index) * state]).assign(&given);
        }
    }
    // Nothing chooses steps any longer; outputs lie where they did.
    let output = if options.interpolates(&[0.0, 1.0]) { Output::Interpolate } else { Output::Land };
    let steps = Steps::AtMost(f64::INFINITY);
    let options = Options { steps, output: Some(output), tolerances: Default::default(), ..options.clone() };
    let (changes, extras) = (Changes::default(), Extras::default());
    Problem::new(ledger, &moving, start.view(), &problem.times, &options, &changes, extras, reverse)
}
