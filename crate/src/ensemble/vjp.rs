//! A recorded ensemble, and its gradients.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use ndarray::ArrayView2;

use super::backward::{Backward, PassCounts};
use super::changes::Changes;
use super::continuous_adjoint::ContinuousAdjoint;
use super::forward::Forward;
use super::leaf_results::LeafGradient;
use super::leaves::{NOT_POISONED, Retained, Retention, solve};
use super::problem::{Evaluators, Problem};
use super::record::LeafRecord;
use super::reduction::{LeafSums, ReductionTree, total};
use super::{Cotangents, Extras, Gradient, Lists, Solution};
use crate::error::{Error, Result, finite, finite_gradient};
use crate::field::VectorField;
use crate::gradient::GradientMethod;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::solve::{GradientStats, Options};
use crate::threads;

/// A recorded ensemble, from [`vjp`]: its solution, and what its gradients need. It has a copy of the parameters as they were.
pub struct Vjp<T> {
    /// The solution, bitwise that of [`odeint`](super::odeint).
    pub solution: Solution<T>,
    problem: Problem<T>,
    mode: Mode<T>,
}

impl<T: Real> fmt::Debug for Vjp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vjp").field("solution", &self.solution).finish_non_exhaustive()
    }
}

/// How gradients are computed.
enum Mode<T> {
    /// The transpose of the steps that were taken.
    Discrete(Discrete<T>),
    /// The continuous adjoint: an integration backward, on each thread.
    Continuous(Vec<ContinuousAdjoint<T>>),
}

/// What the transpose of a solve needs.
struct Discrete<T> {
    evaluators: Vec<Evaluators<T>>,
    /// The record of each leaf; `None` where leaves are solved again.
    record: Option<Vec<LeafRecord<T>>>,
    /// Whether the stages of a step are taped together.
    step_tapes: bool,
    budget: Option<usize>,
    /// Bytes that it takes to solve the largest leaf again.
    resolve_bytes: usize,
}

/// Solves an ensemble as [`odeint`](super::odeint) does, and retains what the gradient method needs for [`Vjp::pullback`].
///
/// # Errors
/// Those of [`odeint`](super::odeint); `Option` for the continuous adjoint with jumps or events; `Budget` if the budget is too small.
pub fn vjp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
    method: &GradientMethod,
) -> Result<Vjp<T>> {
    if let GradientMethod::Adjoint(backward) = method {
        return continuous(field, y0, times, options, changes, extras, backward);
    }
    let (problem, evaluators) = Problem::new(&Ledger::new(), field, y0, times, options, changes, extras, true)?;
    Vjp::record(problem, evaluators, method)
}

/// Does what [`vjp`] does, for the continuous adjoint with these options.
fn continuous<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
    backward: &Options,
) -> Result<Vjp<T>> {
    backward.check()?;
    backward.check_features(field.state_size())?;
    backward.method.check_runge_kutta("the continuous adjoint")?;
    if !changes.jumps.is_empty() || !changes.events.is_empty() {
        let expected = "an exact gradient where jumps or events change a trajectory";
        return Err(Error::option("gradient", expected, "adjoint"));
    }
    let (problem, mut evaluators) = Problem::new(&Ledger::new(), field, y0, times, options, changes, extras, false)?;
    problem.check_part()?;
    let solution = solve(&problem, &mut evaluators, None)?.0;
    let workers =
        evaluators.iter().map(|_| ContinuousAdjoint::new(field, &problem, backward)).collect::<Result<_>>()?;
    Ok(Vjp { solution, problem, mode: Mode::Continuous(workers) })
}

impl<T: Real> Vjp<T> {
    /// The ledger that counts its memory.
    pub(super) fn ledger(&self) -> Ledger {
        self.problem.ledger.clone()
    }

    /// Solves a problem, and retains what an exact gradient needs.
    pub(super) fn record(
        problem: Problem<T>,
        mut evaluators: Vec<Evaluators<T>>,
        method: &GradientMethod,
    ) -> Result<Self> {
        problem.check_part()?;
        let (keeps, step_tapes, budget) = match method {
            GradientMethod::Aca | GradientMethod::Backprop => (true, true, None),
            GradientMethod::Baseline => (false, true, None),
            GradientMethod::Auto { budget } => (true, true, Some(*budget)),
            _ => (true, false, None),
        };
        let (solution, Retained { record, resolve_bytes }) =
            solve(&problem, &mut evaluators, Some(Retention { all: keeps, budget }))?;
        Ok(Self {
            solution,
            problem,
            mode: Mode::Discrete(Discrete { evaluators, record, step_tapes, budget, resolve_bytes }),
        })
    }

    /// The gradient of a loss, from its derivatives with respect to the outputs. You may call it any number of times. For a part of a batch,
    /// [`Extras::part`] says which sums it returns.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangents; `Option` for a cotangent of a failed trajectory; `Grazing` for an event whose time is
    /// not differentiable; `NonFiniteResult` where the gradient overflows; `OutOfMemory`.
    pub fn pullback(&mut self, cotangents: Cotangents<'_, T>) -> Result<Gradient<T>> {
        let (mut gradient, subtrees, has_time_derivative) = self.subtrees(cotangents)?;
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
        if !has_time_derivative {
            // A custom field may not return its derivative with respect to time. Its place among the sums counted until here.
            gradient.times = None;
            gradient.jump_times.iter_mut().for_each(|times| times.fill(f64::NAN));
        }
        finite_results(gradient)
    }

    /// The gradient without what is summed over trajectories, and that for each of the largest aligned subtrees of leaves; and whether
    /// derivatives with respect to times are known.
    fn subtrees(&mut self, cotangents: Cotangents<'_, T>) -> Result<(Gradient<T>, Vec<LeafSums<T>>, bool)> {
        self.check(cotangents)?;
        let Self { solution, problem, mode } = self;
        let (solution, problem) = (&*solution, &*problem);
        let ledger = &problem.ledger;
        let mut workers = match mode {
            Mode::Discrete(discrete) => discrete.workers(problem, cotangents)?,
            Mode::Continuous(each) => {
                each.iter_mut().map(|continuous| Worker::Continuous(continuous, cotangents)).collect()
            }
        };
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
        let mut leaves: Vec<_> = problem.leaves().enumerate().map(|(index, leaf)| (index, leaf, Ok(0))).collect();
        let failed: Vec<usize> = solution.failures.iter().map(|failure| failure.0).collect();
        let tree = ReductionTree::new();
        let placed = Mutex::new(&mut gradient);
        threads::each(&mut workers, &mut leaves, |worker, (index, leaf, states)| {
            let pulled = worker.run(problem, solution, *index, leaf.clone(), &failed);
            *states = pulled.map(|(own, parameters, states)| {
                let sums = own.write_to(problem, parameters, &mut placed.lock().expect(NOT_POISONED));
                tree.add(problem.extras.part.unwrap_or(0) / problem.leaf + *index, sums);
                states
            });
        });
        let mut states_kept = 0;
        for (_, _, states) in leaves {
            states_kept += states?;
        }
        let mut counts = PassCounts::default();
        for worker in &mut workers {
            let (worker_counts, backward_steps) = worker.counts();
            counts.add(worker_counts);
            gradient.stats.backward_steps += backward_steps;
        }
        drop(workers);
        let GradientStats { evaluations, vjps, retention, .. } = &mut gradient.stats;
        (*evaluations, *vjps, retention.states) = (counts.evaluations, counts.vjps, states_kept);
        retention.step_tapes = matches!(mode, Mode::Discrete(Discrete { step_tapes: true, .. }));
        if !counts.has_time_derivative && counts.through_event {
            let expected =
                "one whose vjp tells the derivative with respect to time, which gradients through events need";
            return Err(Error::option("field", expected, "one that does not"));
        }
        gradient.stats.peak = ledger.peak();
        Ok((gradient, tree.subtrees(), counts.has_time_derivative))
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
        finite("cotangent", cotangents.y)?;
        finite("events.times", cotangents.event_times)?;
        finite("events.states", cotangents.event_states)?;
        let state = problem.state;
        for &(trajectory, _) in &solution.failures {
            let mut places =
                (0..problem.times.of(trajectory).len()).map(|output| problem.output_offset(trajectory, output));
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

impl<T: Real> Discrete<T> {
    /// The workers of the reverse pass. If leaves are solved again, there are no more than the memory allows.
    fn workers<'a>(&'a mut self, problem: &'a Problem<T>, cotangents: Cotangents<'a, T>) -> Result<Vec<Worker<'a, T>>> {
        let Self { evaluators, record, step_tapes, budget, resolve_bytes } = self;
        let mut most = evaluators.len();
        if let (None, Some(given)) = (&record, *budget) {
            let each = Backward::bytes(problem, 1) + *resolve_bytes;
            most = (given.saturating_sub(problem.ledger.live().total()) / each.max(1)).clamp(1, most);
        }
        let worker = |evaluators| {
            let backward = Backward::new(problem, cotangents, *step_tapes)?;
            Ok(Worker::Discrete(Box::new(Transposer {
                backward,
                record: record.as_deref(),
                forward: None,
                evaluators,
            })))
        };
        evaluators[..most].iter_mut().map(worker).collect()
    }
}

/// What computes the gradients of leaves on one thread.
enum Worker<'a, T> {
    Discrete(Box<Transposer<'a, T>>),
    Continuous(&'a mut ContinuousAdjoint<T>, Cotangents<'a, T>),
}

impl<T: Real> Worker<'_, T> {
    /// A leaf's gradient, ∂L/∂θ, and the number of states kept of it.
    fn run(
        &mut self,
        problem: &Problem<T>,
        solution: &Solution<T>,
        index: usize,
        leaf: Range<usize>,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>, usize)> {
        match self {
            Worker::Discrete(transposer) => transposer.run(problem, solution, index, leaf, failed),
            Worker::Continuous(continuous, cotangents) => {
                let (gradient, parameters) = continuous.run(problem, solution, *cotangents, leaf, failed)?;
                Ok((gradient, parameters, 0))
            }
        }
    }

    /// The counts of this worker in this gradient, and the steps that it took backward.
    fn counts(&mut self) -> (PassCounts, usize) {
        match self {
            Worker::Discrete(transposer) => (transposer.backward.counts(), 0),
            Worker::Continuous(continuous, _) => continuous.take_counts(),
        }
    }
}

/// Transposes leaves on one thread.
struct Transposer<'a, T> {
    backward: Backward<'a, T>,
    /// The record of each leaf; if there is none, the solver of leaves.
    record: Option<&'a [LeafRecord<T>]>,
    forward: Option<Forward<T>>,
    evaluators: &'a mut Evaluators<T>,
}

impl<T: Real> Transposer<'_, T> {
    fn run(
        &mut self,
        problem: &Problem<T>,
        solution: &Solution<T>,
        index: usize,
        leaf: Range<usize>,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>, usize)> {
        let Self { backward, record, forward, evaluators } = self;
        let first_event = solution.events.partition_point(|event| event.trajectory < leaf.start);
        let own;
        let record = match record {
            Some(record) => &record[index],
            None => {
                let forward = match forward {
                    Some(forward) => forward,
                    None => forward.insert(Forward::new(problem)?),
                };
                let record = LeafRecord::new(problem, leaf.len())?;
                own = forward.run(problem, evaluators, leaf.clone(), None, Some(record))?;
                backward.count_recomputed(solution.stats[leaf.clone()].iter().map(|stats| stats.evaluations).sum());
                own.as_ref().expect("as asked for")
            }
        };
        let (gradient, parameters) = backward.run(problem, evaluators, leaf, record, first_event, failed)?;
        Ok((gradient, parameters, record.states.count()))
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
