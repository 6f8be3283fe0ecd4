//! Forward mode: trajectories with their tangents along directions.
//!
//! A solve without tangents comes first, and records its steps. A replay then takes [x, ẋ_1, ẋ_2, …] of each trajectory through these,
//! and through its jumps and events ([`replay`](super::replay)). So the tangents are those of the numbers computed, whatever chose the
//! steps; step sizes have tangents only where the times at which steps end have some.

use std::fmt;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, s};

use super::changes::{ChangeFunctions, EventFunctions, Rules};
use super::leaves::{Retained, Retention, solve};
use super::problem::{Evaluators, Problem};
use super::single::SingleTrajectory;
use super::trajectory_record::{Replay, TrajectoryRecord};
use super::{Changes, Cotangents, Extras, Gradient, Lists, Solution, Vjp};
use crate::error::{Error, Result, finite_tangents};
use crate::field::program::{ProgramField, TangentScope, tangent_map};
use crate::field::{Directions, LaneSetup, Lanes, VectorField};
use crate::gradient::GradientMethod;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, List, Purpose};
use crate::program::Program;
use crate::program::tangents::TIME_TANGENT_ROWS;
use crate::solve::{Options, Output, Steps};

/// Solves an ensemble as [`odeint`](super::odeint) does, and differentiates it along directions in y0, parameters, arguments and output
/// times.
///
/// In place of each state, the solution has the n (1 + directions) numbers [y, ẏ_1, ẏ_2, …]. For each event, it has these followed by the
/// derivatives of the event's time, ṫ_1, ṫ_2, …; they are NaN if the event changes nothing and its function only touches zero. y and
/// the statistics are bitwise those of `odeint`: steps are chosen by the state alone. Directions in times have as many numbers as all lists
/// of times together.
///
/// # Errors
/// Those of `odeint`; `Shape` and `NonFiniteInput` for the directions; `Option` for a custom field, which has no derivatives along
/// directions, and for extras other than a [part](Extras::part); `Grazing` if the result depends on the time of an event that has no
/// derivative; `NonFiniteResult` if a derivative overflows.
pub fn jvp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
    directions: &Directions<'_, T>,
) -> Result<Solution<T>> {
    if (Extras { part: extras.part, ..Extras::default() }) != extras {
        return Err(Error::option("extras", "a part at most, for derivatives along directions", "others"));
    }
    let RecordedSolve { problem, solution, records } =
        RecordedSolve::new(field, y0, times, options, changes, extras, directions)?;
    let (n, total) = (problem.state, directions.count);
    let (features, of_event) = (n * (1 + total), n * (1 + total) + total);
    let events = solution.events.len();
    let room =
        |rows: usize, features: usize| Buffer::zeroed(&problem.ledger, Purpose::Output, rows.saturating_mul(features));
    let mut y = room(solution.y.len() / n, features)?;
    let mut states = room(events, of_event)?;
    copy_rows((&mut y, features, 0), (&solution.y, n, 0), n);
    copy_rows((&mut states, of_event, 0), (&solution.event_states, n, 0), n);
    let chunk_len = Directions::<T>::chunk_len(n);
    for first in (0..total).step_by(chunk_len) {
        let count = chunk_len.min(total - first);
        let directions = directions.chunk(first, count);
        let (augmented, mut evaluators) =
            tangent_problem((field, y0), &problem, changes, (&directions, first), &records, false)?;
        let derivatives = solve(&augmented, &mut evaluators, None)?.0;
        let width = augmented.state;
        copy_rows((&mut y, features, n * (1 + first)), (&derivatives.y, width, n), n * count);
        copy_rows((&mut states, of_event, n * (1 + first)), (&derivatives.event_states, width, n), n * count);
        // The tangents of the state are followed by τ and σ of each direction.
        for direction in (0..count).take_while(|_| events > 0) {
            let from = (&*derivatives.event_states, width, n * (1 + count) + TIME_TANGENT_ROWS * direction);
            copy_rows((&mut states, of_event, features + first + direction), from, 1);
        }
    }
    finite_tangents(&y)?;
    finite_tangents(&states)?;
    let known = records.iter().flat_map(TrajectoryRecord::has_time_derivatives);
    for (row, _) in states.chunks_exact_mut(of_event).zip(known).filter(|(_, known)| !known) {
        row[features..].fill(T::nan());
    }
    let mut event_states = List::new(&problem.ledger, Purpose::Output);
    event_states.extend(states.iter().copied())?;
    let peak = problem.ledger.peak();
    Ok(Solution { y, event_states, peak, ..solution })
}

/// Copies `count` columns between two matrices, each given with its number of columns and the first column to copy.
fn copy_rows<T: Copy>((to, width, first): (&mut [T], usize, usize), from: (&[T], usize, usize), count: usize) {
    let (from, from_width, from_first) = from;
    for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(from_width)) {
        to[first..][..count].copy_from_slice(&from[from_first..][..count]);
    }
}

/// A recorded ensemble with its derivatives along one direction, from [`vjp_of_jvp`], for products with second derivatives of losses.
pub struct JvpVjp<T> {
    /// The solution with its derivatives along the direction, bitwise that of [`jvp`].
    pub solution: Solution<T>,
    recorded: Vjp<T>,
    state: usize,
    parameters: usize,
    arguments: usize,
}

impl<T: Real> fmt::Debug for JvpVjp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JvpVjp").field("solution", &self.solution).finish_non_exhaustive()
    }
}

/// Solves an ensemble as [`jvp`] does, along one direction in y0, parameters and arguments, and retains what the gradient method needs
/// for [`JvpVjp::pullback`].
///
/// # Errors
/// Those of [`jvp`] and [`vjp`](super::vjp); `Option` for several directions, directions in times, events (whose times move), and the
/// continuous adjoint.
pub fn vjp_of_jvp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    direction: &Directions<'_, T>,
    method: &GradientMethod,
) -> Result<JvpVjp<T>> {
    if direction.count != 1 {
        return Err(Error::option("direction", "one direction", direction.count));
    }
    if let GradientMethod::Adjoint(_) = method {
        return Err(Error::option("gradient", "an exact gradient", "adjoint"));
    }
    if direction.times.is_some() {
        return Err(Error::option("direction.times", "none for second derivatives", "rates of times"));
    }
    if !changes.events.is_empty() {
        return Err(Error::option("events", "none for second derivatives", changes.events.len()));
    }
    let options = Options { time_gradients: false, ..options.clone() };
    let RecordedSolve { problem, solution, records } =
        RecordedSolve::new(field, y0, times, &options, changes, Extras::default(), direction)?;
    let (augmented, evaluators) = tangent_problem((field, y0), &problem, changes, (direction, 0), &records, true)?;
    let (parameters, arguments, n) = (problem.parameters, problem.arguments, problem.state);
    let recorded = Vjp::record(augmented, evaluators, method)?;
    let mut y = Buffer::copied(&problem.ledger, Purpose::Output, &recorded.solution.y)?;
    for (to, from) in y.chunks_exact_mut(2 * n).zip(solution.y.chunks_exact(n)) {
        to[..n].copy_from_slice(from);
        finite_tangents(&to[n..])?;
    }
    let solution = Solution { y, peak: problem.ledger.peak(), ..solution };
    Ok(JvpVjp { solution, recorded, state: n, parameters, arguments })
}

impl<T: Real> JvpVjp<T> {
    /// The product of a loss's second derivatives in y0, parameters and arguments with the direction, from rows
    /// [(∂²L/∂y²) ẏ, ∂L/∂y], laid out as those of the solution.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangents; `NonFiniteResult` if the product overflows; `OutOfMemory`.
    pub fn pullback(&mut self, cotangents: &[T]) -> Result<Gradient<T>> {
        let Self { recorded, state, parameters, arguments, .. } = self;
        let product = recorded.pullback(Cotangents { y: cotangents, event_times: &[], event_states: &[] })?;
        // Tangents follow what they belong to, in each row.
        let ledger = recorded.ledger();
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

/// A solve without tangents, with its record.
struct RecordedSolve<T> {
    problem: Problem<T>,
    solution: Solution<T>,
    /// One for each trajectory.
    records: Arc<[TrajectoryRecord<T>]>,
}

impl<T: Real> RecordedSolve<T> {
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &Lists,
        options: &Options,
        changes: &Changes,
        extras: Extras,
        directions: &Directions<'_, T>,
    ) -> Result<Self> {
        options.method.check_runge_kutta("derivatives in forward mode")?;
        // The derivatives of events' times take the transposes of their functions and of the steps before.
        let reverse = !changes.events.is_empty();
        let (problem, mut evaluators) =
            Problem::new(&Ledger::new(), field, y0, times, options, changes, extras, reverse)?;
        let sizes = [problem.batch, problem.state, problem.parameters, problem.arguments, times.len()];
        let lists = if times.count().is_some() { 1 } else { problem.batch };
        directions.check(sizes, lists.saturating_mul(times.len()))?;
        let keep = Retention { all: true, budget: None };
        let (solution, Retained { record, .. }) = solve(&problem, &mut evaluators, Some(keep))?;
        let mut single = SingleTrajectory::new(&problem)?;
        let mut records = Vec::with_capacity(problem.batch);
        for (record, leaf) in record.expect("all are kept").into_iter().zip(problem.leaves()) {
            for (own, trajectory) in leaf.enumerate() {
                let place = (trajectory, own);
                records.push(TrajectoryRecord::new(
                    &problem,
                    &mut evaluators[0],
                    &mut single,
                    &record,
                    place,
                    directions,
                )?);
            }
        }
        Ok(Self { problem, solution, records: records.into() })
    }
}

/// The problem of [x, ẋ_1, ẋ_2, …], along a chunk of the directions, from `first` on.
fn tangent_problem<T: Real>(
    (field, y0): (&dyn VectorField<T>, ArrayView2<'_, T>),
    problem: &Problem<T>,
    changes: &Changes,
    (directions, first): (&Directions<'_, T>, usize),
    records: &Arc<[TrajectoryRecord<T>]>,
    reverse: bool,
) -> Result<(Problem<T>, Vec<Evaluators<T>>)> {
    let Problem { batch, state, leaf, extras, ref ledger, ref inputs, ref options, ref rules, .. } = *problem;
    let Some(program) = field.program_field() else {
        return Err(Error::option("field", "a field that is a program", "another field"));
    };
    let events = !changes.events.is_empty();
    let scope = TangentScope { maps: events || !changes.jumps.is_empty(), times: events };
    let field = program.tangent_vector_field(directions, inputs, leaf, scope, ledger)?;
    let mut start = Array2::zeros((batch, field.state_size()));
    start.slice_mut(s![.., ..state]).assign(&y0);
    for index in 0..directions.count {
        if let Some(given) = directions.of(directions.y0, index) {
            let given = ArrayView2::from_shape((batch, state), given).expect("checked");
            start.slice_mut(s![.., (1 + index) * state..(2 + index) * state]).assign(&given);
        }
    }
    // Steps are replayed, not chosen; outputs are interpolated or landed on as before.
    let output = if options.interpolates(&[0.0, 1.0]) { Output::Interpolate } else { Output::Land };
    let steps = Steps::AtMost(f64::INFINITY);
    let options = Options { steps, output: Some(output), tolerances: Default::default(), ..options.clone() };
    let none = Changes::default();
    let (mut augmented, mut evaluators) =
        Problem::new(ledger, &field, start.view(), &problem.times, &options, &none, extras, reverse)?;
    let setup = LaneSetup::new(field.parameters(), ledger);
    for evaluator in &mut evaluators {
        let lanes = |map: &Program, amounts: usize| -> Result<Box<dyn Lanes<T>>> {
            let map = tangent_map(map, directions, batch, amounts, scope);
            ProgramField::new(map, setup.parameters)?.timed_lanes(&setup, 1, reverse)
        };
        let jumps = changes.jumps.iter().zip(&rules.jumps).map(|(jump, given)| lanes(&jump.set, given.numbers));
        let events = changes.events.iter().map(|event| {
            let set = event.set.as_ref().map(|set| lanes(set, 0)).transpose()?;
            Ok(EventFunctions { when: vec![], set })
        });
        evaluator.functions = ChangeFunctions {
            jumps: jumps.collect::<Result<_>>()?,
            events: events.collect::<Result<_>>()?,
            norm: vec![],
        };
    }
    augmented.rules = Rules { custom_norm: false, ..rules.clone() };
    augmented.replay = Some(Replay::new(Arc::clone(records), problem, &field, directions, first));
    Ok((augmented, evaluators))
}
