//! Trajectories of their own, of either number type, as a binding hands them out.

use serde_json::Value;

use super::handles::{AnyGradient, Erased, Numbers, Source, copied};
use crate::ensemble::{Changes, Cotangents, Direction, Event, Extras, Gradient, Jump, Lists, Solution, Trajectories};
use crate::error::{Error, Result};
use crate::gradient::GradientStats;
use crate::memory::Bytes;
use crate::program::Program;

/// What a solve is asked for beside its field, states, times and options.
pub struct Plan {
    /// The times of each trajectory, or of all.
    pub times: Lists,
    pub changes: Changes,
    pub extras: Extras,
}

impl Plan {
    /// Reads a plan:
    ///
    /// ```json
    /// { "counts": [3, 2] or null, "steps": false, "dense": false, "mask": false, "maxEvents": 10000,
    ///   "jumps": [{ "counts": [1, 0] or null, "times": 1, "amounts": 2, "set": program }],
    ///   "events": [{ "when": program, "direction": "both", "terminal": 1 or null, "set": program or null }] }
    /// ```
    ///
    /// `times` and `amounts` say how many numbers of `numbers` are a jump's times and amounts.
    pub fn read(text: &str, times: &[f64], numbers: &[f64]) -> Result<Self> {
        let plan: Value = serde_json::from_str(text).map_err(|error| refused("JSON", error.to_string()))?;
        let mut rest = numbers;
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or_else(|| refused("as many numbers", count))?;
            rest = left;
            Ok::<_, Error>(taken)
        };
        let jumps = list(&plan["jumps"])?.iter().map(|jump| {
            let times = take(count(&jump["times"])?)?;
            Ok(Jump {
                times: lists(&jump["counts"], times)?,
                amounts: take(count(&jump["amounts"])?)?.to_vec(),
                set: program(&jump["set"])?,
            })
        });
        let jumps = jumps.collect::<Result<_>>()?;
        let events = list(&plan["events"])?.iter().map(|event| {
            Ok(Event {
                when: program(&event["when"])?,
                direction: match event["direction"].as_str() {
                    Some("rising") => Direction::Rising,
                    Some("falling") => Direction::Falling,
                    _ => Direction::Both,
                },
                terminal: if event["terminal"].is_null() { None } else { Some(count(&event["terminal"])?) },
                set: if event["set"].is_null() { None } else { Some(program(&event["set"])?) },
            })
        });
        let events = events.collect::<Result<_>>()?;
        let flag = |name: &str| plan[name].as_bool().unwrap_or(false);
        Ok(Self {
            times: lists(&plan["counts"], times)?,
            changes: Changes { jumps, events, max_events: count(&plan["maxEvents"])? },
            extras: Extras { steps: flag("steps"), dense: flag("dense"), mask: flag("mask") },
        })
    }
}

fn refused(expected: &str, given: impl std::fmt::Display) -> Error {
    Error::option("plan", expected, given)
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
    Ok(Lists::own(counts.into_iter().map(|count| {
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
    /// Trajectories that failed, and why.
    fn failures(&self) -> &[(usize, Error)];
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
    solved: Solved<T>,
    trajectories: Vec<f64>,
    events: Vec<f64>,
}

enum Solved<T> {
    Alone(Box<Solution<T>>),
    Kept(Box<Trajectories<T>>),
}

impl<T: Erased> Ensemble<T> {
    pub fn alone(solution: Solution<T>) -> Self {
        Self::of(Solved::Alone(Box::new(solution)))
    }

    pub fn kept(trajectories: Trajectories<T>) -> Self {
        Self::of(Solved::Kept(Box::new(trajectories)))
    }

    fn of(solved: Solved<T>) -> Self {
        let mut own = Self { solved, trajectories: vec![], events: vec![] };
        let solution = own.solution();
        let numbers = solution.stats.iter().zip(&solution.reached).flat_map(|(stats, &reached)| {
            let counts = [stats.accepted, stats.rejected, stats.evaluations].map(|count| count as f64);
            counts.into_iter().chain([stats.first_step, stats.last_step, reached as f64])
        });
        let trajectories = numbers.collect();
        let events = solution.events.iter().flat_map(|event| [event.trajectory as f64, event.event as f64, event.t]);
        let events = events.collect();
        (own.trajectories, own.events) = (trajectories, events);
        own
    }

    fn solution(&self) -> &Solution<T> {
        match &self.solved {
            Solved::Alone(solution) => solution,
            Solved::Kept(trajectories) => &trajectories.solution,
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

    fn failures(&self) -> &[(usize, Error)] {
        &self.solution().failures
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
        let Solved::Kept(trajectories) = &mut self.solved else {
            return Err(Error::option("solve", "one that was kept for its gradient", "another"));
        };
        let (y, states) = (copied::<T>(cotangent)?, copied::<T>(event_states)?);
        let times = copied::<f64>(event_times)?;
        let gradient = trajectories.pullback(Cotangents { y: &y, event_times: &times, event_states: &states })?;
        let changes =
            gradient.jump_times.iter().zip(&gradient.amounts).flat_map(|(times, amounts)| times.iter().chain(amounts));
        Ok(Box::new(Pulled { changes: changes.copied().collect(), gradient }))
    }
}

/// The gradient of an ensemble.
struct Pulled<T> {
    gradient: Gradient<T>,
    changes: Vec<f64>,
}

impl<T: Erased> AnyGradient for Pulled<T> {
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
