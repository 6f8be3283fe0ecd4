//! An ensemble that was solved, and its gradients.

use std::ops::Range;
use std::sync::Mutex;

use ndarray::ArrayView2;

use super::backward::{Backward, Uses};
use super::changes::Changes;
use super::forward::Forward;
use super::leaves::{Keep, Kept, UNHARMED, solve};
use super::part::LeafGradient;
use super::problem::{Problem, Tools};
use super::track::Tracks;
use super::tree::{Sums, Tree, total};
use super::{Cotangents, Extras, Gradient, Lists, Solution};
use crate::error::{Error, Result, finite, finite_gradient};
use crate::field::VectorField;
use crate::gradient::GradientMethod;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Purpose};
use crate::solve::{GradientStats, Options, RetentionStats};
use crate::threads;

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
        let mut uses = Uses::default();
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
