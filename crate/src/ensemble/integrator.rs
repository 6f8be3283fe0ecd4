//! A solve that is taken on step by step.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayView2;

use super::clock::{Clock, whole};
use super::forward::Forward;
use super::part::Part;
use super::problem::{Problem, Tools};
use super::standing::{Advance, Standing};
use super::{Changes, Extras, Lists, Occurrence};
use crate::error::{Error, Result, finite};
use crate::field::VectorField;
use crate::kernel::real::Real;
use crate::memory::{Bytes, Ledger};
use crate::solve::{Options, Output, Stats};
use crate::threads;

/// Trajectories that each take their own steps, advanced from time to time: bitwise as a solve takes them that lands on the same times.
///
/// What a solve carries from one step to the next is carried from one call to the next: the size of the step, the errors before, f at
/// the state, the rounding error of the state. Copies go their own intervals.
pub struct Integrator<T> {
    shared: Arc<Mutex<Shared<T>>>,
    standing: Vec<Standing<T>>,
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
        f.debug_struct("Integrator").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// What copies of an integrator share.
struct Shared<T> {
    problem: Problem<T>,
    tools: Vec<Tools<T>>,
}

/// A run of trajectories on its way.
struct Run<T> {
    first: usize,
    standing: Vec<Standing<T>>,
    outcome: Option<Result<Part<T>>>,
}

impl<T: Real> Integrator<T> {
    /// Trajectories that stand at `y0` `[batch, state]` at time `t`.
    ///
    /// # Errors
    /// As [`odeint`](super::odeint); `Option` for jumps, as the state may be changed between calls.
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
        let (problem, tools) =
            Problem::new(&Ledger::new(), field, y0, &times, &options, changes, Extras::default(), false)?;
        let (batch, state, leaf, events) = (problem.batch, problem.state, problem.leaf, problem.rules.events.len());
        let forward = Forward::new(&problem)?;
        let standing = (0..batch).map(|trajectory| Standing {
            clock: Clock::new(trajectory, &[t], vec![], events, forward.blank),
            x: problem.y0[trajectory * state..(trajectory + 1) * state].to_vec(),
            carry: vec![T::zero(); state],
            slope: vec![T::zero(); state],
            interval: [t, t],
            is_new: true,
            total: forward.blank,
        });
        Ok(Self {
            standing: standing.collect(),
            arguments: problem.inputs.arguments.to_vec(),
            events: vec![],
            event_states: vec![],
            batch,
            state,
            leaf,
            ledger: problem.ledger.clone(),
            shared: Arc::new(Mutex::new(Shared { problem, tools })),
        })
    }

    /// Takes steps towards a time, each trajectory its own. Where one fails, all stay where they were. The limit
    /// [`Options::max_steps`](crate::Options::max_steps) is for each call.
    ///
    /// # Errors
    /// As [`odeint`](super::odeint), of several trajectories that fail the first by index.
    pub fn advance(&mut self, to: f64, how: Advance) -> Result<()> {
        finite("to", &[to])?;
        let Self { batch, state, leaf, .. } = *self;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { problem, tools } = &mut *shared;
        let intervals: Vec<[f64; 2]> = self.standing.iter().map(|standing| standing.interval_to(to)).collect();
        problem.times = Lists::own(intervals.iter().map(|interval| &interval[..]));
        problem.inputs.arguments.copy_from_slice(&self.arguments);
        let mut runs: Vec<Run<T>> = (0..batch)
            .step_by(leaf)
            .map(|first| {
                let mut standing = self.standing[first..(first + leaf).min(batch)].to_vec();
                standing.iter_mut().for_each(|standing| standing.turn(to));
                Run { first, standing, outcome: None }
            })
            .collect();
        let problem = &*problem;
        let worker = |tools| Ok((Forward::new(problem)?, tools));
        let mut workers = tools.iter_mut().map(worker).collect::<Result<Vec<_>>>()?;
        threads::each(&mut workers, &mut runs, |(forward, tools), run| {
            let mut advance = || {
                let mut part = Part::new(problem, run.first..run.first + run.standing.len())?;
                forward.advance(problem, tools, &mut run.standing, &mut part, how)?;
                Ok(part)
            };
            run.outcome = Some(advance());
        });
        drop(workers);
        let (mut standing, mut events, mut event_states) = (vec![], vec![], vec![]);
        for run in runs {
            let part = run.outcome.expect("each was tried")?;
            if let Some((trajectory, error)) = part.failures.first() {
                let error = error.clone();
                return Err(if batch > 1 { error.of_trajectory(*trajectory) } else { error });
            }
            standing.extend(run.standing);
            events.extend_from_slice(&part.events);
            event_states.extend_from_slice(&part.event_states);
        }
        debug_assert_eq!(event_states.len(), events.len() * state);
        (self.standing, self.events, self.event_states) = (standing, events, event_states);
        Ok(())
    }

    /// When each trajectory stands where it does.
    pub fn t(&self) -> Vec<f64> {
        self.standing.iter().map(|standing| standing.clock.t).collect()
    }

    /// The states, `[batch, state]`.
    pub fn y(&self) -> Vec<T> {
        self.standing.iter().flat_map(|standing| standing.x.iter().copied()).collect()
    }

    /// The events of the last call, trajectory by trajectory.
    pub fn events(&self) -> &[Occurrence] {
        &self.events
    }

    /// The states there, before the events have changed them.
    pub fn event_states(&self) -> &[T] {
        &self.event_states
    }

    /// Of each trajectory whether an event has ended it.
    pub fn ended(&self) -> Vec<bool> {
        self.standing.iter().map(|standing| standing.clock.ended).collect()
    }

    /// How each trajectory has gone so far.
    pub fn stats(&self) -> Vec<Stats> {
        self.standing.iter().map(|standing| standing.total).collect()
    }

    /// Peak memory.
    pub fn peak(&self) -> Bytes {
        self.ledger.peak()
    }

    /// Moves the trajectories to other states, `[batch, state]`; sizes of steps stay.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput`.
    pub fn set_y(&mut self, y: &[T]) -> Result<()> {
        check_rows("y", y, self.batch, self.state)?;
        for (standing, y) in self.standing.iter_mut().zip(y.chunks_exact(self.state)) {
            standing.x.copy_from_slice(y);
            standing.carry.fill(T::zero());
            standing.clock.forget();
            // One that an event has ended begins anew.
            if std::mem::take(&mut standing.clock.ended) {
                standing.clock.counts.fill(0);
            }
        }
        Ok(())
    }

    /// Gives the trajectories other arguments, `[batch, arguments]`.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput`.
    pub fn set_arguments(&mut self, arguments: &[T]) -> Result<()> {
        check_rows("arguments", arguments, self.batch, self.arguments.len() / self.batch)?;
        self.arguments.copy_from_slice(arguments);
        for standing in &mut self.standing {
            standing.clock.forget();
        }
        Ok(())
    }

    /// All that it carries from call to call as numbers, for [`restore`](Self::restore).
    pub fn save(&self) -> Vec<f64> {
        let mut numbers = vec![];
        for standing in &self.standing {
            standing.clock.save(&mut numbers);
            let Standing { x, carry, slope, interval, total, .. } = standing;
            numbers.extend(interval);
            numbers.extend([x, carry, slope].into_iter().flatten().map(|number| number.wide()));
            let counts = [total.accepted, total.rejected, total.evaluations].map(|count| count as f64);
            numbers.extend(counts);
            numbers.extend([total.first_step, total.last_step]);
        }
        numbers.extend(self.arguments.iter().map(|number| number.wide()));
        numbers
    }

    /// Goes on where an integrator of the same field and options was saved.
    ///
    /// # Errors
    /// `Option` for numbers that were saved by another.
    pub fn restore(&mut self, saved: &[f64]) -> Result<()> {
        let refused = || {
            let expected = "what save gave for the same field, batch and options";
            Error::option("saved", expected, format!("{} other numbers", saved.len()))
        };
        let mut rest = saved.iter().copied();
        let mut standing = self.standing.clone();
        for Standing { clock, x, carry, slope, interval, total, .. } in &mut standing {
            clock.restore(&mut rest).ok_or_else(refused)?;
            for end in interval {
                *end = rest.next().ok_or_else(refused)?;
            }
            for number in x.iter_mut().chain(carry).chain(slope) {
                *number = T::of(rest.next().ok_or_else(refused)?);
            }
            let mut next = || rest.next().ok_or_else(refused);
            for count in [&mut total.accepted, &mut total.rejected, &mut total.evaluations] {
                *count = whole(next()?).ok_or_else(refused)?;
            }
            (total.first_step, total.last_step) = (next()?, next()?);
        }
        let arguments: Vec<T> = rest.by_ref().take(self.arguments.len()).map(T::of).collect();
        let finite = standing.iter().all(Standing::is_finite) && arguments.iter().all(|number| number.is_finite());
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |standing: &Standing<T>| standing.clock.fits(&shared.problem.options, standing.interval);
        if arguments.len() != self.arguments.len() || rest.next().is_some() || !finite || !standing.iter().all(fits) {
            return Err(refused());
        }
        drop(shared);
        (self.standing, self.arguments) = (standing, arguments);
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
            standing: self.standing.clone(),
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
