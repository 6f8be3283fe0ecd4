//! Trajectories of their own: each with its own steps, output times, jumps and events.
//!
//! Where trajectories are solved *together* ([`odeint`](crate::odeint)), all take the same steps. Here each takes its own. They lie side
//! by side in the lanes of a block, and every operation is done for each lane by itself, so that trajectory i is bitwise what a solve
//! of it alone gives, whoever its neighbours are. A lane that has come to its end is left out, and the rest is moved together.
//!
//! | file | |
//! |---|---|
//! | `lists` | lists of numbers, one for all trajectories or one for each |
//! | `changes` | what happens to a trajectory between steps: jumps and events |
//! | `clock` | when a trajectory takes its next step, and where that ends |
//! | `block` | lanes side by side: states, slopes, one attempt for all |
//! | `forward`, `first` | the solve of a leaf, and its first steps |
//! | `crossing` | where events lie in the steps of a block |
//! | `single` | one trajectory by itself: the step that ends on an event, maps, derivatives |
//! | `track` | what is kept of a solve: states, steps, jumps and events |
//! | `backward`, `boundary` | the transpose of a leaf: of its steps, and of what happens between them |
//!
//! # The gradient of parameters
//!
//! A *leaf* is a run of trajectories that are solved side by side; its length depends on the field and the number type alone. Its
//! trajectories go backward together from their last steps to their first, those with the most steps in front, and ∂L/∂θ of the leaf
//! is summed with compensation on the way. Leaves are added up in a binary tree. So the gradient does not depend on who works on which
//! leaf, nor on what is retained.
//!
//! # Events
//!
//! An event is a zero of a function g(t, x, θ) along the trajectory. The step in which g changes sign is taken again, so long that
//! it ends on the zero. With Φ_h the step, h follows from g(t_n + h, Φ_h(x_n)) = 0. Going backward, let τ be the cotangent of the event's time,
//! w that of the state before the event changes it, d = ∂Φ/∂h. Then
//!
//! ```text
//! μ = −(τ + ⟨w, d⟩) / (g_t + ⟨g_x, d⟩)
//! ```
//!
//! and the step is transposed with w + μ g_x, while θ̄ += μ g_θ and t̄_n += τ + μ g_t. That is exact for the numbers computed.

mod backward;
mod block;
mod boundary;
mod changes;
mod clock;
mod crossing;
mod first;
mod forward;
mod lists;
mod single;
mod track;

use ndarray::ArrayView2;

use crate::error::{Error, Result, finite, finite_gradient};
use crate::field::{Lanes, TrajectoryInputs, VectorField, check_batch};
use crate::gradient::GradientMethod;
use crate::kernel::real::{Real, vector_len};
use crate::memory::{Buffer, Bytes, Ledger, Purpose};
use crate::solve::{GradientStats, Options, RetentionStats, Stats, check_times};
use crate::stepper::Method;
use crate::tableau::Tableau;
use backward::Backward;
use changes::Maps;
pub use changes::{Changes, Direction, Event, Jump};
use forward::Forward;
pub use lists::Lists;
pub use track::Occurrence;
use track::Tracks;

/// What a solve hands out beside the states at the output times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// The times and states of all steps.
    pub steps: bool,
    /// The solution between the steps.
    pub dense: bool,
    /// Whether trajectories go on where another has failed.
    pub mask: bool,
}

/// The steps of a trajectory.
#[derive(Debug, Default)]
pub struct Path<T> {
    /// t_0 … t_N; where a jump or an event changes the state, its time stands twice.
    pub t: Vec<f64>,
    /// The states then, one behind the other.
    pub y: Vec<T>,
    /// Between each time and the next the solution as a polynomial in θ = (t − t_n) / h: the coefficients of θ¹, θ², …, each a state;
    /// the constant one is `y`.
    pub polynomials: Vec<T>,
}

/// The solution of an ensemble.
#[derive(Debug)]
pub struct Solution<T> {
    /// At the output times: `[times, batch, state]` where they are shared, else those of one trajectory behind the other's.
    pub y: Buffer<T>,
    /// How each trajectory went.
    pub stats: Vec<Stats>,
    /// How many of its output times each has reached: all, unless it failed.
    pub reached: Vec<usize>,
    /// Why trajectories failed, by index.
    pub failures: Vec<(usize, Error)>,
    /// The events, trajectory by trajectory in the order of their times.
    pub events: Vec<Occurrence>,
    /// The states there before the event has changed them.
    pub event_states: Vec<T>,
    /// The steps, where they were asked for.
    pub paths: Vec<Path<T>>,
    /// Peak memory of the solve.
    pub peak: Bytes,
}

/// Cotangents of all that a loss may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Cotangents<'a, T> {
    /// As `y`.
    pub y: &'a [T],
    /// ∂L/∂(time) of each event, or nothing.
    pub event_times: &'a [f64],
    /// ∂L/∂(state) of each event, or nothing.
    pub event_states: &'a [T],
}

/// The gradient of a loss with respect to all that an ensemble starts from.
#[derive(Debug)]
pub struct Gradient<T> {
    /// `[batch, state]`.
    pub y0: Buffer<T>,
    /// Flat as the field's parameters.
    pub parameters: Buffer<T>,
    /// `[batch, arguments]`.
    pub arguments: Buffer<T>,
    /// As the lists of times, where they are wanted and known.
    pub times: Option<Vec<f64>>,
    /// Of each jump, as its lists of times; NaN where a field does not tell its derivative with respect to time.
    pub jump_times: Vec<Vec<f64>>,
    /// Of each jump, as its amounts.
    pub amounts: Vec<Vec<f64>>,
    /// What it took.
    pub stats: GradientStats,
}

/// A checked problem.
struct Problem<T> {
    tableau: &'static Tableau,
    options: Options,
    times: Lists,
    batch: usize,
    /// Features of the state.
    state: usize,
    y0: Buffer<T>,
    inputs: TrajectoryInputs<T>,
    arguments: usize,
    data: usize,
    parameters: usize,
    /// By width; the first is one lane.
    lanes: Vec<Box<dyn Lanes<T>>>,
    leaf: usize,
    maps: Maps<T>,
    extras: Extras,
    ledger: Ledger,
}

impl<T: Real> Problem<T> {
    #[allow(clippy::too_many_arguments)]
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &Lists,
        options: &Options,
        changes: &Changes,
        extras: Extras,
        reverse: bool,
    ) -> Result<Self> {
        options.check()?;
        check_batch("y0", field, y0)?;
        let (batch, state) = y0.dim();
        options.check_features(state)?;
        if field.output_size() != state {
            let expected = format!("a vector field, with as many outputs as the state has features, {state}");
            return Err(Error::option("field", expected, format!("{} outputs", field.output_size())));
        }
        if times.count().is_some_and(|count| count != batch) {
            let given = format!("{} lists", times.count().unwrap_or(0));
            return Err(Error::shape("times", format!("a list for each of {batch} trajectories"), given));
        }
        times.each().try_for_each(check_times)?;
        let Method::RungeKutta(tableau) = options.method;
        let ledger = Ledger::new();
        let inputs = field.inputs(batch, &ledger)?;
        let leaf = field.leaf();
        let parameters = field.parameters();
        let widths = widths::<T>(leaf.min(batch));
        let lanes = |width: &usize| field.lanes(parameters, *width, reverse, &ledger);
        let lanes = widths.iter().map(lanes).collect::<Result<Vec<_>>>()?;
        let mut rows = Buffer::zeroed(&ledger, Purpose::Workspace, batch * state)?;
        rows.iter_mut().zip(y0).for_each(|(to, &from)| *to = from);
        let arguments = field.argument_size();
        let maps = Maps::new(changes, times, &widths, (batch, state, arguments), parameters, reverse, &ledger)?;
        Ok(Self {
            tableau,
            options: options.clone(),
            times: times.clone(),
            batch,
            state,
            y0: rows,
            arguments,
            data: inputs.data.len() / batch,
            inputs,
            parameters: parameters.len(),
            lanes,
            leaf,
            maps,
            extras,
            ledger,
        })
    }

    /// The trajectories of each leaf.
    fn leaves(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<T> {
        let (batch, leaf) = (self.batch, self.leaf);
        (0..batch).step_by(leaf).map(move |first| first..(first + leaf).min(batch))
    }

    /// Where the state at a trajectory's k-th output time begins.
    fn place(&self, trajectory: usize, output: usize) -> usize {
        match self.times.count() {
            None => (output * self.batch + trajectory) * self.state,
            Some(_) => (self.times.start(trajectory) + output) * self.state,
        }
    }

    /// Numbers in all outputs.
    fn outputs(&self) -> usize {
        let lists = if self.times.count().is_none() { self.batch } else { 1 };
        self.times.len().saturating_mul(lists).saturating_mul(self.state)
    }
}

/// The order of items by ascending keys; of equal ones the first stays first.
fn order(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}

/// The widths of blocks for so many trajectories: one lane, a register, and doubled from there.
fn widths<T: Real>(most: usize) -> Vec<usize> {
    let mut widths = vec![1];
    if most > 1 {
        let doubled = std::iter::successors(Some(vector_len::<T>()), |width| (*width < most).then_some(2 * width));
        widths.extend(doubled);
    }
    widths.dedup();
    widths
}

/// Solves an ensemble.
///
/// # Errors
/// As [`odeint`](crate::odeint); of trajectories that fail the first by index, unless `extras.mask` is set. `Option` and `Shape` for
/// jumps and events.
pub fn odeint<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
) -> Result<Solution<T>> {
    let mut problem = Problem::new(field, y0, times, options, changes, extras, false)?;
    solve(&mut problem, None)
}

/// An ensemble, solved, with what its gradients need.
pub struct Trajectories<T> {
    /// The solution.
    pub solution: Solution<T>,
    problem: Problem<T>,
    /// What is kept of each leaf; nothing where leaves are solved again.
    tracks: Option<Vec<Tracks<T>>>,
    /// Whether the uses of a step are taped together.
    step_tapes: bool,
}

/// Solves as [`odeint`] does, and retains what the gradient method needs.
///
/// # Errors
/// As `odeint`; `Option` for the continuous adjoint, `Budget` where a budget is too small.
pub fn vjp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
    method: &GradientMethod,
) -> Result<Trajectories<T>> {
    let (keeps, step_tapes, budget) = match method {
        GradientMethod::Symplectic => (true, false, None),
        GradientMethod::Aca | GradientMethod::Backprop => (true, true, None),
        GradientMethod::Baseline => (false, true, None),
        GradientMethod::Auto { budget } => (true, true, Some(*budget)),
        GradientMethod::Adjoint(_) => {
            let expected = "a gradient other than adjoint where trajectories have their own steps, jumps or events";
            return Err(Error::option("gradient", expected, "adjoint"));
        }
    };
    let mut problem = Problem::new(field, y0, times, options, changes, extras, true)?;
    let mut keep = Keep { leaves: keeps.then(Vec::new), budget };
    let solution = solve(&mut problem, Some(&mut keep))?;
    Ok(Trajectories { solution, problem, tracks: keep.leaves, step_tapes })
}

/// What is kept of leaves.
struct Keep<T> {
    leaves: Option<Vec<Tracks<T>>>,
    budget: Option<usize>,
}

fn solve<T: Real>(problem: &mut Problem<T>, mut keep: Option<&mut Keep<T>>) -> Result<Solution<T>> {
    let ledger = problem.ledger.clone();
    let (batch, extras) = (problem.batch, problem.extras);
    let mut solution = Solution {
        y: Buffer::zeroed(&ledger, Purpose::Output, problem.outputs())?,
        stats: vec![Stats::default(); batch],
        reached: vec![0; batch],
        failures: vec![],
        events: vec![],
        event_states: vec![],
        paths: vec![],
        peak: Bytes::default(),
    };
    if extras.steps || extras.dense {
        solution.paths.resize_with(batch, Path::default);
    }
    let mut forward = Forward::new(problem)?;
    let mut largest = 0;
    for leaf in problem.leaves() {
        if let Some(Keep { leaves, budget: Some(given) }) = keep.as_deref_mut()
            && largest > 0
            && ledger.live().total() + Backward::bytes(problem) + largest > *given
        {
            // What goes beyond a budget is computed again, leaf by leaf.
            *leaves = None;
        }
        let tracks = match &keep {
            Some(Keep { leaves: Some(_), .. }) => Some(Tracks::new(problem, leaf.len())?),
            _ => None,
        };
        let tracks = forward.run(problem, leaf, Some(&mut solution), tracks)?;
        if let (false, Some((trajectory, error))) = (extras.mask, solution.failures.first()) {
            let error = error.clone();
            return Err(if batch > 1 { error.of_trajectory(*trajectory) } else { error });
        }
        if let Some(Keep { leaves, budget }) = keep.as_deref_mut()
            && let Some(tracks) = tracks
        {
            largest = largest.max(tracks.bytes());
            let spent = ledger.live().total() + Backward::bytes(problem);
            if budget.is_some_and(|given| spent > given) {
                *leaves = None;
            } else if let Some(all) = leaves {
                all.push(tracks);
            }
        }
    }
    solution.peak = ledger.peak();
    if let Some(Keep { leaves: None, budget: Some(given) }) = keep.as_deref() {
        // A leaf at a time, with what solves and what transposes it.
        let least = ledger.live().total() + Backward::bytes(problem) + largest;
        if least > *given {
            return Err(Error::Budget { given: *given, least });
        }
    }
    Ok(solution)
}

impl<T: Real> Trajectories<T> {
    /// The gradient for cotangents of all that a loss depends on. It may be asked for again and again.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangents, `Option` for one of a trajectory that failed; `Grazing` for an event whose time is
    /// not differentiable; `NonFiniteResult` where the gradient overflows; `OutOfMemory`.
    pub fn pullback(&mut self, cotangents: Cotangents<'_, T>) -> Result<Gradient<T>> {
        let Self { solution, problem, tracks, step_tapes } = self;
        let state = problem.state;
        let lengths = [
            ("cotangent", cotangents.y.len(), solution.y.len(), false),
            ("eventTimes", cotangents.event_times.len(), solution.events.len(), true),
            ("eventStates", cotangents.event_states.len(), solution.event_states.len(), true),
        ];
        for (argument, given, expected, optional) in lengths {
            if given != expected && !(optional && given == 0) {
                return Err(Error::shape(argument, expected, given));
            }
        }
        finite("cotangent", cotangents.y.iter().copied())?;
        finite("eventTimes", cotangents.event_times.iter().copied())?;
        finite("eventStates", cotangents.event_states.iter().copied())?;
        for &(trajectory, _) in &solution.failures {
            for output in 0..problem.times.of(trajectory).len() {
                let place = problem.place(trajectory, output);
                if cotangents.y[place..place + state].iter().any(|w| *w != T::zero()) {
                    let expected = "zero for a trajectory that failed";
                    return Err(Error::option(
                        "cotangent",
                        expected,
                        format!("another number for trajectory {trajectory}"),
                    ));
                }
            }
        }
        let ledger = problem.ledger.clone();
        let mut backward = Backward::new(problem, cotangents, *step_tapes)?;
        let failed: Vec<usize> = solution.failures.iter().map(|failure| failure.0).collect();
        let mut first_event = 0;
        let mut forward = None;
        let mut retention = RetentionStats { step_tapes: *step_tapes, ..RetentionStats::default() };
        for (index, leaf) in problem.leaves().enumerate() {
            let mut again;
            let tracks = match tracks {
                Some(tracks) => &mut tracks[index],
                None => {
                    if forward.is_none() {
                        forward = Some(Forward::new(problem)?);
                    }
                    let tracks = Tracks::new(problem, leaf.len())?;
                    let forward = forward.as_mut().expect("just made");
                    again = forward.run(problem, leaf.clone(), None, Some(tracks))?.expect("as asked for");
                    &mut again
                }
            };
            retention.states += tracks.states.count();
            let events = tracks.events();
            backward.run(problem, leaf, tracks, first_event, &failed)?;
            first_event += events;
        }
        let mut gradient = backward.finish(problem)?;
        gradient.stats.retention = retention;
        gradient.stats.peak = ledger.peak();
        finite_gradient("gradient.y0", &gradient.y0)?;
        finite_gradient("gradient.parameters", &gradient.parameters)?;
        finite_gradient("gradient.arguments", &gradient.arguments)?;
        finite_gradient("gradient.times", gradient.times.as_deref().unwrap_or_default())?;
        for times in gradient.jump_times.iter().filter(|times| times.iter().any(|time| !time.is_nan())) {
            finite_gradient("gradient.jumps", times)?;
        }
        for amounts in &gradient.amounts {
            finite_gradient("gradient.jumps", amounts)?;
        }
        Ok(gradient)
    }
}
