//! Ensembles and integrators of either number type, for a binding.

use serde_json::Value;

use super::numbers::{Erased, Numbers, Source, copied};
use super::results::AnyGradient;
use crate::bindings::constants::{EVENT_NUMBERS, TRAJECTORY_NUMBERS};
use crate::ensemble::{
    Advance, Changes, Cotangents, Direction, Event, Extras, Gradient, Integrator, Jump, JvpVjp, Lists, Occurrence,
    Solution, Vjp,
};
use crate::error::{Error, Result};
use crate::gradient::GradientStats;
use crate::memory::Bytes;
use crate::program::Program;
use crate::solve::Stats;

/// The changes and extras of a solve: what it takes besides its field, states, times and options.
pub struct EnsemblePlan {
    /// The times of each trajectory, or of all.
    pub times: Lists,
    pub changes: Changes,
    pub extras: Extras,
}

impl EnsemblePlan {
    /// Reads a plan:
    ///
    /// ```json
    /// { "counts": [3, 2] or null, "steps": false, "dense": false, "mask": false, "maxEvents": 10000, "part": 0 or null,
    ///   "norm": program or null,
    ///   "jumps": [{ "counts": [1, 0] or null, "times": 1, "amounts": 2, "names": ["dose", "rate"], "set": program }],
    ///   "events": [{ "when": program, "direction": "both", "terminal": 1 or null, "set": program or null }] }
    /// ```
    ///
    /// `times` and `amounts` say how many numbers of `numbers` are a jump's times and amounts; their names are not looked at.
    pub fn read(text: &str, times: &[f64], numbers: &[f64]) -> Result<Self> {
        let plan: Value = serde_json::from_str(text).map_err(|error| refused("JSON", error.to_string()))?;
        known(&plan, &["counts", "steps", "dense", "mask", "maxEvents", "part", "norm", "jumps", "events"])?;
        let mut rest = numbers;
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or_else(|| refused("as many numbers", count))?;
            rest = left;
            Ok::<_, Error>(taken)
        };
        let jumps = list(&plan["jumps"])?.iter().map(|jump| {
            known(jump, &["counts", "times", "amounts", "names", "set"])?;
            let times = take(count(&jump["times"])?)?;
            Ok(Jump {
                times: lists(&jump["counts"], times)?,
                amounts: take(count(&jump["amounts"])?)?.to_vec(),
                set: program(&jump["set"])?,
            })
        });
        let jumps = jumps.collect::<Result<_>>()?;
        let events = list(&plan["events"])?.iter().map(|event| {
            known(event, &["when", "direction", "terminal", "set"])?;
            Ok(Event {
                when: program(&event["when"])?,
                direction: match event["direction"].as_str() {
                    Some("rising") => Direction::Rising,
                    Some("falling") => Direction::Falling,
                    Some("both") => Direction::Both,
                    _ => return Err(refused("both, rising or falling", &event["direction"])),
                },
                terminal: if event["terminal"].is_null() { None } else { Some(count(&event["terminal"])?) },
                set: if event["set"].is_null() { None } else { Some(program(&event["set"])?) },
            })
        });
        let events = events.collect::<Result<_>>()?;
        let flag = |name: &str| plan[name].as_bool().ok_or_else(|| refused("true or false", &plan[name]));
        let norm = if plan["norm"].is_null() { None } else { Some(program(&plan["norm"])?) };
        let part = if plan["part"].is_null() { None } else { Some(count(&plan["part"])?) };
        Ok(Self {
            times: lists(&plan["counts"], times)?,
            changes: Changes { jumps, events, max_events: count(&plan["maxEvents"])?, norm },
            extras: Extras { steps: flag("steps")?, dense: flag("dense")?, mask: flag("mask")?, part },
        })
    }
}

impl EnsemblePlan {
    /// The times, the jumps and the events, of a plan that has no extras.
    pub fn without_extras(self) -> Result<(Lists, Changes)> {
        if self.extras != Extras::default() {
            return Err(refused("no extras, for derivatives along directions", "some"));
        }
        Ok((self.times, self.changes))
    }
}

fn refused(expected: &str, given: impl std::fmt::Display) -> Error {
    Error::option("plan", expected, given)
}

/// Refuses what is no object, or has other names in it.
fn known(value: &Value, names: &[&str]) -> Result<()> {
    let object = value.as_object().ok_or_else(|| refused("an object", value))?;
    match object.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(refused(&names.join(", "), name)),
        None => Ok(()),
    }
}

fn list(value: &Value) -> Result<&[Value]> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| refused("a list", value))
}

fn count(value: &Value) -> Result<usize> {
    value.as_u64().map(|count| count as usize).ok_or_else(|| refused("a count", value))
}

fn program(value: &Value) -> Result<Program> {
    Program::from_json(&value.to_string())
}

fn lists(counts: &Value, numbers: &[f64]) -> Result<Lists> {
    if counts.is_null() {
        return Ok(Lists::shared(numbers));
    }
    let counts = list(counts)?.iter().map(count).collect::<Result<Vec<_>>>()?;
    if counts.iter().sum::<usize>() != numbers.len() {
        return Err(refused("counts of all numbers", numbers.len()));
    }
    let mut rest = numbers;
    Ok(Lists::per_trajectory(counts.into_iter().map(|count| {
        let (own, left) = rest.split_at(count);
        rest = left;
        own
    })))
}

/// A solved ensemble, and what its gradients need if that was kept.
pub trait AnyEnsemble {
    fn y(&self) -> Numbers<'_>;
    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, outputs reached.
    fn trajectories(&self) -> &[f64];
    /// For each event: trajectory, event, time.
    fn events(&self) -> &[f64];
    fn event_states(&self) -> Numbers<'_>;
    /// The trajectories that failed, and why.
    fn failures(&self) -> Vec<(usize, Error)>;
    /// The times, states and polynomials of a trajectory's steps.
    fn path(&self, trajectory: usize) -> Option<(&[f64], Numbers<'_>, Numbers<'_>)>;
    /// The relative tolerance, and whether it was raised.
    fn tolerance(&self) -> (f64, bool);
    fn peak(&self) -> &Bytes;
    fn pullback(
        &mut self,
        cotangent: &dyn Source,
        event_times: &dyn Source,
        event_states: &dyn Source,
    ) -> Result<Box<dyn AnyGradient>>;
}

/// What a binding keeps of an ensemble.
pub struct Ensemble<T> {
    solved: SolvedEnsemble<T>,
    trajectories: Vec<f64>,
    events: Vec<f64>,
    /// The number of the first trajectory, of a part.
    first: usize,
}

enum SolvedEnsemble<T> {
    Solution(Box<Solution<T>>),
    Vjp(Box<Vjp<T>>),
    JvpVjp(Box<JvpVjp<T>>),
}

impl<T: Erased> Ensemble<T> {
    pub fn from_solution(solution: Solution<T>, part: Option<usize>) -> Self {
        Self::of(SolvedEnsemble::Solution(Box::new(solution)), part)
    }

    pub fn from_vjp(trajectories: Vjp<T>, part: Option<usize>) -> Self {
        Self::of(SolvedEnsemble::Vjp(Box::new(trajectories)), part)
    }

    pub fn from_jvp_vjp(trajectories: JvpVjp<T>) -> Self {
        Self::of(SolvedEnsemble::JvpVjp(Box::new(trajectories)), None)
    }

    fn of(solved: SolvedEnsemble<T>, part: Option<usize>) -> Self {
        let mut own = Self { solved, trajectories: vec![], events: vec![], first: part.unwrap_or(0) };
        let solution = own.solution();
        let reached = solution.reached.iter().map(|&reached| reached as f64);
        let trajectories =
            solution.stats.iter().zip(reached).flat_map(|(stats, reached)| row(stats, reached)).collect();
        let events = solution.events.iter().flat_map(event).collect();
        (own.trajectories, own.events) = (trajectories, events);
        own
    }

    fn solution(&self) -> &Solution<T> {
        match &self.solved {
            SolvedEnsemble::Solution(solution) => solution,
            SolvedEnsemble::Vjp(trajectories) => &trajectories.solution,
            SolvedEnsemble::JvpVjp(trajectories) => &trajectories.solution,
        }
    }
}

impl<T: Erased> AnyEnsemble for Ensemble<T> {
    fn y(&self) -> Numbers<'_> {
        T::numbers(&self.solution().y)
    }

    fn trajectories(&self) -> &[f64] {
        &self.trajectories
    }

    fn events(&self) -> &[f64] {
        &self.events
    }

    fn event_states(&self) -> Numbers<'_> {
        T::numbers(&self.solution().event_states)
    }

    fn failures(&self) -> Vec<(usize, Error)> {
        let named =
            |(trajectory, error): &(usize, Error)| (*trajectory, error.clone().of_trajectory(self.first + trajectory));
        self.solution().failures.iter().map(named).collect()
    }

    fn path(&self, trajectory: usize) -> Option<(&[f64], Numbers<'_>, Numbers<'_>)> {
        let path = self.solution().paths.get(trajectory)?;
        Some((&path.t, T::numbers(&path.y), T::numbers(&path.polynomials)))
    }

    fn tolerance(&self) -> (f64, bool) {
        self.solution().stats.first().map_or((0.0, false), |stats| (stats.rtol, stats.rtol_clamped))
    }

    fn peak(&self) -> &Bytes {
        &self.solution().peak
    }

    fn pullback(
        &mut self,
        cotangent: &dyn Source,
        event_times: &dyn Source,
        event_states: &dyn Source,
    ) -> Result<Box<dyn AnyGradient>> {
        let (y, states) = (copied::<T>(cotangent)?, copied::<T>(event_states)?);
        let times = copied::<f64>(event_times)?;
        let gradient = match &mut self.solved {
            SolvedEnsemble::Vjp(trajectories) => {
                trajectories.pullback(Cotangents { y: &y, event_times: &times, event_states: &states })?
            }
            SolvedEnsemble::JvpVjp(trajectories) => trajectories.pullback(&y)?,
            SolvedEnsemble::Solution(_) => {
                return Err(Error::option("solve", "one that was kept for its gradient", "another"));
            }
        };
        let changes =
            gradient.jump_times.iter().zip(&gradient.amounts).flat_map(|(times, amounts)| times.iter().chain(amounts));
        Ok(Box::new(EnsembleGradient { changes: changes.copied().collect(), gradient }))
    }
}

/// The numbers of a trajectory, in the order of [`AnyEnsemble::trajectories`].
fn row(stats: &Stats, last: f64) -> [f64; TRAJECTORY_NUMBERS] {
    let [accepted, rejected, evaluations] =
        [stats.accepted, stats.rejected, stats.evaluations].map(|count| count as f64);
    [accepted, rejected, evaluations, stats.first_step, stats.last_step, last]
}

/// The numbers of an event, in the order of [`AnyEnsemble::events`].
fn event(event: &Occurrence) -> [f64; EVENT_NUMBERS] {
    [event.trajectory as f64, event.event as f64, event.t]
}

/// Trajectories that are advanced call by call.
pub trait AnyIntegrator {
    /// To a time, or by one step of each trajectory towards it.
    fn advance(&mut self, to: f64, step: bool) -> Result<()>;
    /// The present time of each trajectory.
    fn t(&self) -> &[f64];
    fn y(&self) -> Numbers<'_>;
    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, 1 where an event has ended it.
    fn trajectories(&self) -> &[f64];
    /// For each event of the last call: trajectory, event, time.
    fn events(&self) -> &[f64];
    fn event_states(&self) -> Numbers<'_>;
    fn set_y(&mut self, y: &dyn Source) -> Result<()>;
    fn set_arguments(&mut self, arguments: &dyn Source) -> Result<()>;
    fn save(&self) -> Vec<f64>;
    fn restore(&mut self, saved: &dyn Source) -> Result<()>;
    fn copy(&self) -> Box<dyn AnyIntegrator>;
}

/// What a binding keeps of an integrator.
pub struct Integration<T> {
    integrator: Integrator<T>,
    t: Vec<f64>,
    y: Vec<T>,
    trajectories: Vec<f64>,
    events: Vec<f64>,
}

impl<T: Erased> Integration<T> {
    pub fn new(integrator: Integrator<T>) -> Self {
        let mut own = Self { integrator, t: vec![], y: vec![], trajectories: vec![], events: vec![] };
        own.read();
        own
    }

    /// Copies the present state of the integrator.
    fn read(&mut self) {
        let Self { integrator, t, y, trajectories, events } = self;
        (*t, *y) = (integrator.t(), integrator.y());
        let ended = integrator.ended().into_iter().map(|ended| f64::from(u8::from(ended)));
        *trajectories = integrator.stats().iter().zip(ended).flat_map(|(stats, ended)| row(stats, ended)).collect();
        *events = integrator.events().iter().flat_map(event).collect();
    }
}

impl<T: Erased> AnyIntegrator for Integration<T> {
    fn advance(&mut self, to: f64, step: bool) -> Result<()> {
        self.integrator.advance(to, if step { Advance::Step } else { Advance::ToTime })?;
        self.read();
        Ok(())
    }

    fn t(&self) -> &[f64] {
        &self.t
    }

    fn y(&self) -> Numbers<'_> {
        T::numbers(&self.y)
    }

    fn trajectories(&self) -> &[f64] {
        &self.trajectories
    }

    fn events(&self) -> &[f64] {
        &self.events
    }

    fn event_states(&self) -> Numbers<'_> {
        T::numbers(self.integrator.event_states())
    }

    fn set_y(&mut self, y: &dyn Source) -> Result<()> {
        self.integrator.set_y(&copied::<T>(y)?)?;
        self.read();
        Ok(())
    }

    fn set_arguments(&mut self, arguments: &dyn Source) -> Result<()> {
        self.integrator.set_arguments(&copied::<T>(arguments)?)
    }

    fn save(&self) -> Vec<f64> {
        self.integrator.save()
    }

    fn restore(&mut self, saved: &dyn Source) -> Result<()> {
        self.integrator.restore(&copied::<f64>(saved)?)?;
        self.read();
        Ok(())
    }

    fn copy(&self) -> Box<dyn AnyIntegrator> {
        Box::new(Self::new(self.integrator.clone()))
    }
}

/// The gradient of an ensemble.
struct EnsembleGradient<T> {
    gradient: Gradient<T>,
    changes: Vec<f64>,
}

impl<T: Erased> AnyGradient for EnsembleGradient<T> {
    fn y0(&self) -> Numbers<'_> {
        T::numbers(&self.gradient.y0)
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(&self.gradient.parameters)
    }

    fn arguments(&self) -> Numbers<'_> {
        T::numbers(&self.gradient.arguments)
    }

    fn times(&self) -> Option<&[f64]> {
        self.gradient.times.as_deref()
    }

    fn stats(&self) -> &GradientStats {
        &self.gradient.stats
    }

    fn changes(&self) -> &[f64] {
        &self.changes
    }
}
