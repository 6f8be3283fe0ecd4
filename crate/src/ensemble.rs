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
//! | `integrator` | trajectories that are taken on from call to call |
//! | `part`, `tree` | what leaves hand out put together: side by side, and in sums |
//!
//! # The gradient of parameters
//!
//! A *leaf* is a run of trajectories that are solved side by side; its length depends on the field and the number type alone. Its
//! trajectories go backward together from their last steps to their first, those with the most steps in front, and ∂L/∂θ of the leaf
//! is summed with compensation on the way. Leaves are added up in a binary tree. So the gradient does not depend on who works on which
//! leaf, nor on what is retained: threads take leaves as they come, and a part of a batch that begins at a leaf hands out the sums
//! of the largest subtrees that it has.
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
mod integrator;
mod lists;
mod part;
mod single;
mod track;
mod tree;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::ArrayView2;

use crate::error::{Error, Result, finite, finite_gradient};
use crate::field::{Lanes, TrajectoryInputs, VectorField, check_batch};
use crate::gradient::GradientMethod;
use crate::kernel::real::{Real, vector_len};
use crate::memory::{Buffer, Bytes, Ledger, List, Purpose};
use crate::solve::{GradientStats, Options, RetentionStats, Stats, check_times};
use crate::tableau::Tableau;
use crate::threads;
use backward::Backward;
pub use changes::{Changes, Direction, Event, Jump};
use changes::{Maps, Rules};
use forward::Forward;
pub use integrator::{Advance, Integrator};
pub use lists::Lists;
use part::{LeafGradient, Part};
pub use track::Occurrence;
use track::Tracks;
use tree::{Sums, Tree, total};

/// What a solve hands out beside the states at the output times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// The times and states of all steps.
    pub steps: bool,
    /// The solution between the steps.
    pub dense: bool,
    /// Whether trajectories go on where another has failed.
    pub mask: bool,
    /// The trajectories are those from this number on of a larger batch, a multiple of the field's leaf. Then errors count as the whole
    /// does, and of what a gradient sums over trajectories, `parameters` and derivatives by lists of numbers that are for all, it has
    /// a sum for each of the largest aligned subtrees of leaves, one behind the other.
    pub part: Option<usize>,
}

/// The steps of a trajectory.
#[derive(Debug)]
pub struct Path<T> {
    /// t_0 … t_N; where a jump or an event changes the state, its time stands twice.
    pub t: List<f64>,
    /// The states then, one behind the other.
    pub y: List<T>,
    /// Between each time and the next the solution as a polynomial in θ = (t − t_n) / h: the coefficients of θ¹, θ², …, each a state;
    /// the constant one is `y`.
    pub polynomials: List<T>,
}

impl<T> Path<T> {
    fn new(ledger: &Ledger) -> Self {
        let output = Purpose::Output;
        Self { t: List::new(ledger, output), y: List::new(ledger, output), polynomials: List::new(ledger, output) }
    }
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
    pub events: List<Occurrence>,
    /// The states there before the event has changed them.
    pub event_states: List<T>,
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

/// A checked problem, which all threads read.
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
    /// Lanes of the blocks that there are, from one on; numbers in the tape of the widest.
    widths: Vec<usize>,
    tape: usize,
    leaf: usize,
    rules: Rules<T>,
    extras: Extras,
    /// Trajectories that have come to their ends.
    done: AtomicUsize,
    ledger: Ledger,
}

/// What a thread computes with: the field, the jumps and the events.
struct Tools<T> {
    /// By width.
    lanes: Vec<Box<dyn Lanes<T>>>,
    maps: Maps<T>,
}

impl<T: Real> Problem<T> {
    /// The problem, and the tools of each thread.
    #[allow(clippy::too_many_arguments)]
    fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &Lists,
        options: &Options,
        changes: &Changes,
        extras: Extras,
        reverse: bool,
    ) -> Result<(Self, Vec<Tools<T>>)> {
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
        let leaf = field.leaf();
        if let Some(first) = extras.part.filter(|first| first % leaf != 0) {
            return Err(Error::option("part", format!("a multiple of {leaf} trajectories"), first));
        }
        let tableau = options.method.check_runge_kutta("trajectories with steps of their own, jumps or events")?;
        let ledger = Ledger::new();
        let inputs = field.inputs(batch, &ledger)?;
        let parameters = field.parameters();
        let widths = widths::<T>(leaf.min(batch));
        let arguments = field.argument_size();
        let rules = Rules::new(changes, times, (batch, state, arguments), parameters.len())?;
        let most = if field.is_parallel() && !cfg!(target_arch = "wasm32") { options.threads } else { 1 };
        let tools = |_| {
            let lanes = widths.iter().map(|&width| field.lanes(parameters, width, reverse, &ledger));
            let lanes = lanes.collect::<Result<_>>()?;
            Ok(Tools { lanes, maps: Maps::new(changes, &widths, parameters, reverse, &ledger)? })
        };
        let tools: Vec<Tools<T>> = (0..most.min(batch.div_ceil(leaf))).map(tools).collect::<Result<_>>()?;
        let mut rows = Buffer::zeroed(&ledger, Purpose::Workspace, batch * state)?;
        rows.iter_mut().zip(y0).for_each(|(to, &from)| *to = from);
        let problem = Self {
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
            tape: tools[0].lanes.last().map_or(0, |lanes| lanes.tape_len()),
            widths,
            leaf,
            rules,
            extras,
            done: AtomicUsize::new(0),
            ledger,
        };
        Ok((problem, tools))
    }

    /// The trajectories of each leaf.
    fn leaves(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (batch, leaf) = (self.batch, self.leaf);
        (0..batch).step_by(leaf).map(move |first| first..(first + leaf).min(batch))
    }

    /// Whether a trajectory goes forward in time, 1, or backward, −1.
    fn direction(&self, trajectory: usize) -> f64 {
        let times = self.times.of(trajectory);
        (times[times.len() - 1] - times[0]).signum()
    }

    /// Lanes of the widest block.
    fn width(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
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
    let (problem, mut tools) = Problem::new(field, y0, times, options, changes, extras, false)?;
    Ok(solve(&problem, &mut tools, None)?.0)
}

/// An ensemble, solved, with what its gradients need.
pub struct Trajectories<T> {
    /// The solution.
    pub solution: Solution<T>,
    problem: Problem<T>,
    tools: Vec<Tools<T>>,
    /// What is kept of each leaf; nothing where leaves are solved again.
    tracks: Option<Vec<Tracks<T>>>,
    /// Whether the uses of a step are taped together.
    step_tapes: bool,
    budget: Option<usize>,
    /// Bytes that it takes to solve the largest leaf again.
    again: usize,
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
    let (problem, mut tools) = Problem::new(field, y0, times, options, changes, extras, true)?;
    let (solution, Kept { tracks, again }) = solve(&problem, &mut tools, Some(Keep { all: keeps, budget }))?;
    Ok(Trajectories { solution, problem, tools, tracks, step_tapes, budget, again })
}

/// What is to be kept of leaves.
#[derive(Clone, Copy)]
struct Keep {
    /// All, as far as the budget goes.
    all: bool,
    budget: Option<usize>,
}

/// What was kept.
struct Kept<T> {
    /// Of all leaves, if of any.
    tracks: Option<Vec<Tracks<T>>>,
    /// Bytes that it takes to solve the largest leaf again.
    again: usize,
}

/// A leaf that is solved.
struct Leaf<T> {
    index: usize,
    trajectories: Range<usize>,
    outcome: Option<Result<Part<T>>>,
}

fn solve<T: Real>(problem: &Problem<T>, tools: &mut [Tools<T>], keep: Option<Keep>) -> Result<(Solution<T>, Kept<T>)> {
    let ledger = problem.ledger.clone();
    let (batch, extras) = (problem.batch, problem.extras);
    let mut solution = Solution {
        y: Buffer::zeroed(&ledger, Purpose::Output, problem.outputs())?,
        stats: vec![Stats::default(); batch],
        reached: vec![0; batch],
        failures: vec![],
        events: List::new(&ledger, Purpose::Output),
        event_states: List::new(&ledger, Purpose::Output),
        paths: vec![],
        peak: Bytes::default(),
    };
    if extras.steps || extras.dense {
        solution.paths.resize_with(batch, || Path::new(&ledger));
    }
    let mut leaves: Vec<Leaf<T>> =
        problem.leaves().enumerate().map(|(index, trajectories)| Leaf { index, trajectories, outcome: None }).collect();
    let budget = keep.and_then(|keep| keep.budget);
    let transposing = Backward::bytes(problem, tools.len());
    let exceeds = |more: usize| budget.is_some_and(|given| ledger.live().total() + transposing + more > given);
    let mut none = vec![];
    none.resize_with(leaves.len(), || None);
    let kept = Mutex::new((keep.is_some_and(|keep| keep.all).then_some(none), 0));
    let placed = Mutex::new(&mut solution);
    // Leaves behind one that has failed need not be solved.
    let last = AtomicUsize::new(usize::MAX);
    let mut workers = tools.iter_mut().map(|tools| Ok((Forward::new(problem)?, tools))).collect::<Result<Vec<_>>>()?;
    let count = workers.len();
    let work = |(forward, tools): &mut (Forward<T>, &mut Tools<T>), leaf: &mut Leaf<T>| {
        if leaf.index > last.load(Ordering::Relaxed) {
            return;
        }
        let wanted = {
            let mut kept = kept.lock().expect(UNHARMED);
            let (tracks, largest) = &mut *kept;
            if *largest > 0 && exceeds(*largest * count) {
                // What goes beyond a budget is computed again, leaf by leaf.
                *tracks = None;
            }
            tracks.is_some()
        };
        let mut run = || {
            let mut part = Part::new(problem, leaf.trajectories.clone())?;
            let tracks = wanted.then(|| Tracks::new(problem, leaf.trajectories.len())).transpose()?;
            let tracks = forward.run(problem, tools, leaf.trajectories.clone(), Some(&mut part), tracks)?;
            if let (false, Some((trajectory, error))) = (extras.mask, part.failures.first()) {
                let first = extras.part.unwrap_or(0);
                let several = batch > 1 || extras.part.is_some();
                let error = error.clone();
                return Err(if several { error.of_trajectory(first + trajectory) } else { error });
            }
            if let Some(tracks) = tracks {
                let mut kept = kept.lock().expect(UNHARMED);
                let (all, largest) = &mut *kept;
                *largest = (*largest).max(tracks.bytes());
                if exceeds(0) {
                    *all = None;
                } else if let Some(all) = all {
                    all[leaf.index] = Some(tracks);
                }
            }
            part.place(problem, &mut placed.lock().expect(UNHARMED));
            Ok(part)
        };
        let outcome = run();
        if outcome.is_err() {
            last.fetch_min(leaf.index, Ordering::Relaxed);
        }
        leaf.outcome = Some(outcome);
    };
    // The first leaf tells how much each takes, before there are several.
    let first = if budget.is_some() { 1 } else { 0 };
    threads::each(&mut workers[..1], &mut leaves[..first], work);
    threads::each(&mut workers, &mut leaves[first..], work);
    let with = ledger.live().total();
    drop(workers);
    let (tracks, largest) = kept.into_inner().expect(UNHARMED);
    let again = largest + (with - ledger.live().total()) / count;
    for leaf in leaves {
        leaf.outcome.expect("solved, or behind one that has failed")?.append(&mut solution)?;
    }
    solution.peak = ledger.peak();
    let tracks = tracks.map(|all| all.into_iter().map(|tracks| tracks.expect("kept of all")).collect());
    if let (None, Some(given)) = (&tracks, budget) {
        // A leaf at a time, with what solves and what transposes it.
        let least = ledger.live().total() + Backward::bytes(problem, 1) + again;
        if least > given {
            return Err(Error::Budget { given, least });
        }
    }
    Ok((solution, Kept { tracks, again }))
}

/// Why a lock can be had.
const UNHARMED: &str = "no thread fails while it holds the lock";

impl<T: Real> Trajectories<T> {
    /// The gradient for cotangents of all that a loss depends on. It may be asked for again and again. Of a part of a batch it has sums as
    /// [`Extras::part`] tells.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangents, `Option` for one of a trajectory that failed; `Grazing` for an event whose time is
    /// not differentiable; `NonFiniteResult` where the gradient overflows; `OutOfMemory`.
    pub fn pullback(&mut self, cotangents: Cotangents<'_, T>) -> Result<Gradient<T>> {
        let (mut gradient, subtrees) = self.subtrees(cotangents)?;
        let problem = &self.problem;
        let sums = if problem.extras.part.is_some() { subtrees } else { total(subtrees).into_iter().collect() };
        let len = problem.parameters;
        gradient.parameters = Buffer::zeroed(&problem.ledger, Purpose::Gradient, len * sums.len())?;
        for (index, sums) in sums.iter().enumerate() {
            gradient.parameters[index * len..(index + 1) * len].copy_from_slice(&sums.parameters);
        }
        let mut first = 0;
        for list in gradient.shared_lists(problem) {
            let own = first..first + list.len();
            first = own.end;
            *list = sums.iter().flat_map(|sums| &sums.shared[own.clone()]).copied().collect();
        }
        finite_results(gradient)
    }

    /// The gradient without what is summed over trajectories, and that for each of the largest aligned subtrees of leaves.
    fn subtrees(&mut self, cotangents: Cotangents<'_, T>) -> Result<(Gradient<T>, Vec<Sums<T>>)> {
        self.check(cotangents)?;
        let Self { solution, problem, tools, tracks, step_tapes, budget, again } = self;
        let (solution, problem, tracks, step_tapes) = (&*solution, &*problem, tracks.as_deref(), *step_tapes);
        let ledger = &problem.ledger;
        let mut most = tools.len();
        if let (None, Some(given)) = (tracks, *budget) {
            // Where leaves are solved again, no more of them at a time than there is room for.
            let each = Backward::bytes(problem, 1) + *again;
            most = (given.saturating_sub(ledger.live().total()) / each.max(1)).clamp(1, most);
        }
        let rows = |len: usize| Buffer::zeroed(ledger, Purpose::Gradient, problem.batch * len);
        let jumps = &problem.rules.jumps;
        let mut gradient = Gradient {
            y0: rows(problem.state)?,
            parameters: rows(0)?,
            arguments: rows(problem.arguments)?,
            times: problem.options.time_gradients.then(|| vec![0.0; problem.times.len()]),
            jump_times: jumps.iter().map(|jump| vec![0.0; jump.times.len()]).collect(),
            amounts: jumps.iter().map(|jump| vec![0.0; jump.amounts.len()]).collect(),
            stats: GradientStats::default(),
        };
        let worker =
            |tools| Ok(Transposer { backward: Backward::new(problem, cotangents, step_tapes)?, again: None, tools });
        let mut workers = tools[..most].iter_mut().map(worker).collect::<Result<Vec<_>>>()?;
        let mut leaves: Vec<_> = problem.leaves().enumerate().map(|(index, leaf)| (index, leaf, Ok(0))).collect();
        let failed: Vec<usize> = solution.failures.iter().map(|failure| failure.0).collect();
        let tree = Tree::new();
        let placed = Mutex::new(&mut gradient);
        threads::each(&mut workers, &mut leaves, |worker, (index, leaf, states)| {
            let first_event = solution.events.partition_point(|event| event.trajectory < leaf.start);
            let kept = tracks.map(|tracks| &tracks[*index]);
            let pulled = worker.transpose(problem, leaf.clone(), kept, first_event, &failed);
            *states = pulled.map(|(own, parameters, states)| {
                let sums = own.place(problem, parameters, &mut placed.lock().expect(UNHARMED));
                tree.add(problem.extras.part.unwrap_or(0) / problem.leaf + *index, sums);
                states
            });
        });
        let mut retention = RetentionStats { step_tapes, ..RetentionStats::default() };
        for (_, _, states) in leaves {
            retention.states += states?;
        }
        let mut uses = backward::Uses::default();
        workers.iter().for_each(|worker| uses.add(worker.backward.uses()));
        drop(workers);
        gradient.stats = GradientStats { evaluations: uses.evaluations, vjps: uses.vjps, retention, ..gradient.stats };
        if !uses.knows_time {
            // A custom field may not tell its derivative by time.
            gradient.times = None;
            gradient.jump_times.iter_mut().for_each(|times| times.fill(f64::NAN));
            if uses.crossed {
                let expected = "one whose vjp tells the derivative by time, which gradients through events need";
                return Err(Error::option("field", expected, "one that does not"));
            }
        }
        gradient.stats.peak = ledger.peak();
        Ok((gradient, tree.subtrees()))
    }

    /// Refuses cotangents that are not of this solution.
    fn check(&self, cotangents: Cotangents<'_, T>) -> Result<()> {
        let Self { solution, problem, .. } = self;
        let lengths = [
            ("cotangent", cotangents.y.len(), solution.y.len(), false),
            ("events.times", cotangents.event_times.len(), solution.events.len(), true),
            ("events.states", cotangents.event_states.len(), solution.event_states.len(), true),
        ];
        for (argument, given, expected, optional) in lengths {
            if given != expected && !(optional && given == 0) {
                return Err(Error::shape(argument, expected, given));
            }
        }
        finite("cotangent", cotangents.y.iter().copied())?;
        finite("events.times", cotangents.event_times.iter().copied())?;
        finite("events.states", cotangents.event_states.iter().copied())?;
        let state = problem.state;
        for &(trajectory, _) in &solution.failures {
            let mut places = (0..problem.times.of(trajectory).len()).map(|output| problem.place(trajectory, output));
            let first = solution.events.partition_point(|event| event.trajectory < trajectory);
            let count = solution.events[first..].iter().take_while(|event| event.trajectory == trajectory).count();
            let times = cotangents.event_times.get(first..first + count).unwrap_or_default();
            let states = cotangents.event_states.get(first * state..(first + count) * state).unwrap_or_default();
            let moved = [
                ("cotangent", places.any(|place| cotangents.y[place..place + state].iter().any(|w| *w != T::zero()))),
                ("events.times", times.iter().any(|&w| w != 0.0)),
                ("events.states", states.iter().any(|w| *w != T::zero())),
            ];
            if let Some((argument, _)) = moved.into_iter().find(|(_, moved)| *moved) {
                let number = problem.extras.part.unwrap_or(0) + trajectory;
                let given = format!("another number for trajectory {number}");
                return Err(Error::option(argument, "zero for a trajectory that failed", given));
            }
        }
        Ok(())
    }
}

/// What transposes leaves in one thread.
struct Transposer<'a, T> {
    backward: Backward<'a, T>,
    /// Solves leaves again of which nothing was kept.
    again: Option<Forward<T>>,
    tools: &'a mut Tools<T>,
}

impl<T: Real> Transposer<'_, T> {
    /// A leaf's gradient, ∂L/∂θ, and the states that it took.
    fn transpose(
        &mut self,
        problem: &Problem<T>,
        leaf: Range<usize>,
        kept: Option<&Tracks<T>>,
        first_event: usize,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>, usize)> {
        let Self { backward, again, tools } = self;
        let own;
        let tracks = match kept {
            Some(tracks) => tracks,
            None => {
                let forward = match again {
                    Some(forward) => forward,
                    None => again.insert(Forward::new(problem)?),
                };
                let tracks = Tracks::new(problem, leaf.len())?;
                own = forward.run(problem, tools, leaf.clone(), None, Some(tracks))?;
                own.as_ref().expect("as asked for")
            }
        };
        let (gradient, parameters) = backward.run(problem, tools, leaf, tracks, first_event, failed)?;
        Ok((gradient, parameters, tracks.states.count()))
    }
}

/// Refuses a gradient that has overflowed.
fn finite_results<T: Real>(gradient: Gradient<T>) -> Result<Gradient<T>> {
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
