//! An integrator: a solve that is advanced call by call.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayView2;

use super::forward::Forward;
use super::leaf_results::LeafSolution;
use super::problem::{Evaluators, Problem};
use super::solver_state::{SolverState, as_count};
use super::trajectory_state::{Advance, TrajectoryState};
use super::{Changes, Extras, Lists, Occurrence};
use crate::error::{Error, Result, finite};
use crate::field::VectorField;
use crate::kernel::real::Real;
use crate::memory::{Bytes, Ledger};
use crate::solve::{Options, Output, Stats};
use crate::threads;

/// Trajectories that each take their own steps, and that you advance call by call. The states are bitwise those of a solve that lands on
/// the same times.
///
/// It carries from one call to the next what a solve carries from one step to the next: the step size, the errors of the last steps, f at
/// the state, and the rounding error of the state. Clones are independent.
pub struct Integrator<T> {
    shared: Arc<Mutex<Shared<T>>>,
    trajectories: Vec<TrajectoryState<T>>,
    arguments: Vec<T>,
    events: Vec<Occurrence>,
    event_states: Vec<T>,
    batch: usize,
    state: usize,
    leaf: usize,
    ledger: Ledger,
}

impl<T: Real> fmt::Debug for Integrator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Integrator").field("trajectories", &self.trajectories).finish_non_exhaustive()
    }
}

/// What clones of an integrator share.
struct Shared<T> {
    problem: Problem<T>,
    evaluators: Vec<Evaluators<T>>,
}

/// A leaf that is advanced.
struct LeafRun<T> {
    first: usize,
    trajectories: Vec<TrajectoryState<T>>,
    outcome: Option<Result<LeafSolution<T>>>,
}

impl<T: Real> Integrator<T> {
    /// An integrator of trajectories that start from `y0` `[batch, state]` at time `t`.
    ///
    /// # Errors
    /// `Shape`, `Option` and `NonFiniteInput` for invalid input; `Option` for jumps: change the state between calls instead, by
    /// [`set_y`](Self::set_y). `OutOfMemory`.
    pub fn new(
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        t: f64,
        options: &Options,
        changes: &Changes,
    ) -> Result<Self> {
        finite("t", &[t])?;
        if !changes.jumps.is_empty() {
            let expected = "none: change the state between the steps";
            return Err(Error::option("jumps", expected, format!("{}", changes.jumps.len())));
        }
        if options.output == Some(Output::Interpolate) {
            return Err(Error::option("output", "land: steps end where they are asked to", "interpolate"));
        }
        let options = Options { output: Some(Output::Land), ..options.clone() };
        let times = Lists::shared(&[t]);
        let (problem, evaluators) =
            Problem::new(&Ledger::new(), field, y0, &times, &options, changes, Extras::default(), false)?;
        let (batch, state, leaf, events) = (problem.batch, problem.state, problem.leaf, problem.rules.events.len());
        let forward = Forward::new(&problem)?;
        let trajectories = (0..batch).map(|index| TrajectoryState {
            solver: SolverState::new(index, &[t], vec![], events, forward.initial_stats),
            x: problem.y0[index * state..(index + 1) * state].to_vec(),
            carry: vec![T::zero(); state],
            slope: vec![T::zero(); state],
            interval: [t, t],
            is_new_interval: true,
            total: forward.initial_stats,
        });
        Ok(Self {
            trajectories: trajectories.collect(),
            arguments: problem.inputs.arguments.to_vec(),
            events: vec![],
            event_states: vec![],
            batch,
            state,
            leaf,
            ledger: problem.ledger.clone(),
            shared: Arc::new(Mutex::new(Shared { problem, evaluators })),
        })
    }

    /// Advances each trajectory to the time `to`, or by one step towards it. If one fails, all stay where they were. The limit
    /// [`Options::max_steps`](crate::Options::max_steps) is for each call.
    ///
    /// # Errors
    /// `NonFiniteInput` for the time. If trajectories fail (`NonFinite`, `StepUnderflow`, `MaxSteps`, `MaxEvents` …), the error of the
    /// first by index. `OutOfMemory`.
    pub fn advance(&mut self, to: f64, how: Advance) -> Result<()> {
        finite("to", &[to])?;
        let Self { batch, state, leaf, .. } = *self;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { problem, evaluators } = &mut *shared;
        let intervals: Vec<[f64; 2]> = self.trajectories.iter().map(|trajectory| trajectory.interval_to(to)).collect();
        problem.times = Lists::per_trajectory(intervals.iter().map(|interval| &interval[..]));
        problem.inputs.arguments.copy_from_slice(&self.arguments);
        let mut runs: Vec<LeafRun<T>> = (0..batch)
            .step_by(leaf)
            .map(|first| {
                let mut trajectories = self.trajectories[first..(first + leaf).min(batch)].to_vec();
                trajectories.iter_mut().for_each(|trajectory| trajectory.retarget(to));
                LeafRun { first, trajectories, outcome: None }
            })
            .collect();
        let problem = &*problem;
        let worker = |evaluators| Ok((Forward::new(problem)?, evaluators));
        let mut workers = evaluators.iter_mut().map(worker).collect::<Result<Vec<_>>>()?;
        threads::each(&mut workers, &mut runs, |(forward, evaluators), run| {
            let mut advance = || {
                let mut results = LeafSolution::new(problem, run.first..run.first + run.trajectories.len())?;
                forward.advance(problem, evaluators, &mut run.trajectories, &mut results, how)?;
                Ok(results)
            };
            run.outcome = Some(advance());
        });
        drop(workers);
        let (mut trajectories, mut events, mut event_states) = (vec![], vec![], vec![]);
        for run in runs {
            let results = run.outcome.expect("each was tried")?;
            if let Some((trajectory, error)) = results.failures.first() {
                let error = error.clone();
                return Err(if batch > 1 { error.of_trajectory(*trajectory) } else { error });
            }
            trajectories.extend(run.trajectories);
            events.extend_from_slice(&results.events);
            event_states.extend_from_slice(&results.event_states);
        }
        debug_assert_eq!(event_states.len(), events.len() * state);
        (self.trajectories, self.events, self.event_states) = (trajectories, events, event_states);
        Ok(())
    }

    /// The current time of each trajectory.
    pub fn t(&self) -> Vec<f64> {
        self.trajectories.iter().map(|trajectory| trajectory.solver.t).collect()
    }

    /// The current states, `[batch, state]`, row-major.
    pub fn y(&self) -> Vec<T> {
        self.trajectories.iter().flat_map(|trajectory| trajectory.x.iter().copied()).collect()
    }

    /// The events that occurred in the last call of [`advance`](Self::advance): those of one trajectory after another.
    pub fn events(&self) -> &[Occurrence] {
        &self.events
    }

    /// The state at each of the [`events`](Self::events), before the event changes it: `[events, state]`.
    pub fn event_states(&self) -> &[T] {
        &self.event_states
    }

    /// For each trajectory, whether a terminal event has ended it.
    pub fn ended(&self) -> Vec<bool> {
        self.trajectories.iter().map(|trajectory| trajectory.solver.terminated).collect()
    }

    /// The steps and evaluations of each trajectory, over all calls so far.
    pub fn stats(&self) -> Vec<Stats> {
        self.trajectories.iter().map(|trajectory| trajectory.total).collect()
    }

    /// Peak memory of the integrator, in bytes by purpose.
    pub fn peak(&self) -> Bytes {
        self.ledger.peak()
    }

    /// Sets the current states, `[batch, state]`, row-major. Step sizes stay.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput`.
    pub fn set_y(&mut self, y: &[T]) -> Result<()> {
        check_rows("y", y, self.batch, self.state)?;
        for (trajectory, y) in self.trajectories.iter_mut().zip(y.chunks_exact(self.state)) {
            trajectory.x.copy_from_slice(y);
            trajectory.carry.fill(T::zero());
            trajectory.solver.invalidate();
            // A trajectory that an event has ended starts anew.
            if std::mem::take(&mut trajectory.solver.terminated) {
                trajectory.solver.event_counts.fill(0);
            }
        }
        Ok(())
    }

    /// Sets the arguments of all trajectories, `[batch, arguments]`, row-major.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the arguments.
    pub fn set_arguments(&mut self, arguments: &[T]) -> Result<()> {
        check_rows("arguments", arguments, self.batch, self.arguments.len() / self.batch)?;
        self.arguments.copy_from_slice(arguments);
        for trajectory in &mut self.trajectories {
            trajectory.solver.invalidate();
        }
        Ok(())
    }

    /// All that the integrator carries from call to call, as numbers for [`restore`](Self::restore).
    pub fn save(&self) -> Vec<f64> {
        let mut numbers = vec![];
        for trajectory in &self.trajectories {
            trajectory.solver.save(&mut numbers);
            let TrajectoryState { x, carry, slope, interval, total, .. } = trajectory;
            numbers.extend(interval);
            numbers.extend([x, carry, slope].into_iter().flatten().map(|number| number.wide()));
            let counts = [total.accepted, total.rejected, total.evaluations].map(|count| count as f64);
            numbers.extend(counts);
            numbers.extend([total.first_step, total.last_step]);
        }
        numbers.extend(self.arguments.iter().map(|number| number.wide()));
        numbers
    }

    /// Continues from where an integrator of the same field and options was saved by [`save`](Self::save).
    ///
    /// # Errors
    /// `Option` for numbers that a different integrator saved.
    pub fn restore(&mut self, saved: &[f64]) -> Result<()> {
        let refused = || {
            let expected = "what save gave for the same field, batch and options";
            Error::option("saved", expected, format!("{} other numbers", saved.len()))
        };
        let mut rest = saved.iter().copied();
        let mut trajectories = self.trajectories.clone();
        for TrajectoryState { solver, x, carry, slope, interval, total, .. } in &mut trajectories {
            solver.restore(&mut rest).ok_or_else(refused)?;
            for end in interval {
                *end = rest.next().ok_or_else(refused)?;
            }
            for number in x.iter_mut().chain(carry).chain(slope) {
                *number = T::of(rest.next().ok_or_else(refused)?);
            }
            let mut next = || rest.next().ok_or_else(refused);
            for count in [&mut total.accepted, &mut total.rejected, &mut total.evaluations] {
                *count = as_count(next()?).ok_or_else(refused)?;
            }
            (total.first_step, total.last_step) = (next()?, next()?);
        }
        let arguments: Vec<T> = rest.by_ref().take(self.arguments.len()).map(T::of).collect();
        let finite =
            trajectories.iter().all(TrajectoryState::is_finite) && arguments.iter().all(|number| number.is_finite());
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |trajectory: &TrajectoryState<T>| {
            trajectory.solver.is_valid_between(&shared.problem.options, trajectory.interval)
        };
        if arguments.len() != self.arguments.len() || rest.next().is_some() || !finite || !trajectories.iter().all(fits)
        {
            return Err(refused());
        }
        drop(shared);
        (self.trajectories, self.arguments) = (trajectories, arguments);
        (self.events, self.event_states) = (vec![], vec![]);
        Ok(())
    }
}

impl<T> Clone for Integrator<T>
where
    T: Clone,
{
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            trajectories: self.trajectories.clone(),
            arguments: self.arguments.clone(),
            events: self.events.clone(),
            event_states: self.event_states.clone(),
            batch: self.batch,
            state: self.state,
            leaf: self.leaf,
            ledger: self.ledger.clone(),
        }
    }
}

fn check_rows<T: Real>(name: &'static str, numbers: &[T], batch: usize, width: usize) -> Result<()> {
    if numbers.len() != batch * width {
        return Err(Error::shape(name, format!("[{batch}, {width}], {} numbers", batch * width), numbers.len()));
    }
    finite(name, numbers)
}
