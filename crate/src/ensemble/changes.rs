//! Changes of a trajectory's state: jumps at known times, and events at the roots of a function.

use super::lists::{Lists, order};
use crate::error::{Error, Result, finite};
use crate::field::program::ProgramField;
use crate::field::{LaneSetup, Lanes};
use crate::kernel::real::Real;
use crate::program::Program;

/// A change of the state at times that are known before the solve, such as a dose.
#[derive(Debug, Clone)]
pub struct Jump {
    /// The times of the jump: one list for all trajectories or one for each, ascending or descending as the output times do. An output at
    /// such a time has the state after the jump, also at the first and the last time. A time after the last output has no effect; one
    /// before the first is an error.
    pub times: Lists,
    /// The program that computes the new state, from the state before, the time, the field's parameters, and as arguments those of the
    /// trajectory followed by the amounts.
    pub set: Program,
    /// The amounts of each time, such as the size of a dose: as many per time as the program `set` has arguments beyond the field's.
    /// `[times, amounts]`, in the order of the lists.
    pub amounts: Vec<f64>,
}

/// Which changes of sign of an event's function count as events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Crossings in both directions.
    #[default]
    Both,
    /// Only crossings from negative to positive.
    Rising,
    /// Only crossings from positive to negative.
    Falling,
}

impl Direction {
    /// Whether a function whose sign was −1 or 1, and is another or zero after, crosses in a direction that counts.
    pub(super) fn matches(self, before: i8, after: i8) -> bool {
        let matches = match self {
            Direction::Both => true,
            Direction::Rising => before < 0,
            Direction::Falling => before > 0,
        };
        before != 0 && after != before && matches
    }
}

/// An event: it occurs where a function of the trajectory crosses zero.
#[derive(Debug, Clone)]
pub struct Event {
    /// The program of the function, of the state, the time, the field's parameters and the trajectory's arguments. It returns one number. The
    /// event occurs where that crosses zero; a zero at the first time does not count. Methods with fixed steps evaluate it only at the
    /// ends of steps, the others also at a few points between them. A function that crosses zero and back within a step may be missed,
    /// unless [`Options::max_step`](crate::Options::max_step) is short enough.
    pub when: Program,
    /// Which changes of sign count. They are seen in the direction of the solve, also if times descend.
    pub direction: Direction,
    /// The trajectory ends the n-th time that this event occurs, counted from 1; never if `None`. Outputs after it repeat the state there,
    /// as changed by `set` if there is one.
    pub terminal: Option<usize>,
    /// The program that computes the new state, from the same inputs as `when`; `None` if the event does not change the state.
    pub set: Option<Program>,
}

/// The jumps and events of an ensemble, and the norm of its errors.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The jumps. Those at the same time act in this order.
    pub jumps: Vec<Jump>,
    /// The events. Those at the same time act in this order.
    pub events: Vec<Event>,
    /// The most events that one trajectory may have, default 10,000. Beyond, the solve fails with `MaxEvents`: a trajectory that
    /// chatters would never end.
    pub max_events: usize,
    /// The program that computes the norm of a step's error; a step is accepted if it is at most 1. It has the inputs of [`Event::when`],
    /// but in place of the state the error of each feature divided by its tolerance atol + rtol max(|x_n|, |x_{n+1}|). By default (`None`) the
    /// root mean square. The size of the first step does not depend on it.
    pub norm: Option<Program>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { jumps: vec![], events: vec![], max_events: 10_000, norm: None }
    }
}

/// A jump of a trajectory, at its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScheduledJump {
    pub t: f64,
    pub jump: usize,
    /// The index of the time among the jump's times.
    pub occurrence: usize,
}

/// The times and amounts of a jump, in the number type of the solve.
#[derive(Clone)]
pub(super) struct JumpInputs<T> {
    pub times: Lists,
    pub amounts: Vec<T>,
    /// How many amounts each time has.
    pub numbers: usize,
}

/// Which crossings of an event's function count, and what they do.
#[derive(Clone)]
pub(super) struct EventRule {
    pub direction: Direction,
    pub terminal: Option<usize>,
    /// Whether it changes the state.
    pub changes_state: bool,
}

/// All jumps and events, checked.
#[derive(Clone)]
pub(super) struct Rules<T> {
    pub jumps: Vec<JumpInputs<T>>,
    pub events: Vec<EventRule>,
    pub max_events: usize,
    /// Whether a program computes the norm of errors.
    pub custom_norm: bool,
}

/// The functions of all jumps and events, prepared for a thread.
pub(super) struct ChangeFunctions<T> {
    pub jumps: Vec<Box<dyn Lanes<T>>>,
    pub events: Vec<EventFunctions<T>>,
    /// One for each block width, narrowest first; empty if the norm is the root mean square.
    pub norm: Vec<Box<dyn Lanes<T>>>,
}

/// The functions of an event.
pub(super) struct EventFunctions<T> {
    /// One for each block width, narrowest first. That of width 1 can always be transposed, since rates decide signs.
    pub when: Vec<Box<dyn Lanes<T>>>,
    pub set: Option<Box<dyn Lanes<T>>>,
}

impl<T: Real> ChangeFunctions<T> {
    /// The functions of changes that have been checked.
    pub fn new(changes: &Changes, setup: &LaneSetup<'_, T>, widths: &[usize], reverse: bool) -> Result<Self> {
        let lanes = |program: &Program, width: usize, reverse: bool| {
            ProgramField::new(program.clone(), setup.parameters)?.timed_lanes(setup, width, reverse)
        };
        let event = |event: &Event| {
            let when = widths.iter().map(|&width| lanes(&event.when, width, reverse || width == 1));
            Ok(EventFunctions {
                when: when.collect::<Result<_>>()?,
                set: event.set.as_ref().map(|set| lanes(set, 1, reverse)).transpose()?,
            })
        };
        let norms = changes.norm.iter().flat_map(|norm| widths.iter().map(|&width| lanes(norm, width, false)));
        Ok(Self {
            jumps: changes.jumps.iter().map(|jump| lanes(&jump.set, 1, reverse)).collect::<Result<_>>()?,
            events: changes.events.iter().map(event).collect::<Result<_>>()?,
            norm: norms.collect::<Result<_>>()?,
        })
    }
}

impl<T: Real> Rules<T> {
    pub fn new(
        changes: &Changes,
        times: &Lists,
        (batch, state, arguments): (usize, usize, usize),
        parameters: usize,
    ) -> Result<Self> {
        let check = |name: &'static str, program: &Program, outputs: usize, arguments: std::ops::RangeFrom<usize>| {
            let sizes = program.sizes;
            if sizes.state != state || sizes.data > 0 {
                return Err(Error::shape(name, format!("a program of a state of {state}"), sizes.state));
            }
            if sizes.parameters != parameters {
                let expected = format!("a program of the field's {parameters} parameters");
                return Err(Error::shape(name, expected, sizes.parameters));
            }
            if !arguments.contains(&sizes.arguments) {
                let expected = format!("a program of the field's {} arguments", arguments.start);
                return Err(Error::shape(name, expected, sizes.arguments));
            }
            if program.outputs() != outputs {
                return Err(Error::shape(name, format!("{outputs} numbers"), program.outputs()));
            }
            Ok(())
        };
        let jump = |jump: &Jump| {
            check("jumps.set", &jump.set, state, arguments..)?;
            if jump.times.count().is_some_and(|count| count != batch) {
                let given = format!("{} lists", jump.times.count().unwrap_or(0));
                return Err(Error::shape("jumps.times", format!("a list for each of {batch} trajectories"), given));
            }
            for trajectory in 0..batch {
                check_jump_times(jump.times.of(trajectory), times.of(trajectory))?;
            }
            let numbers = jump.set.arguments() - arguments;
            let expected = jump.times.len() * numbers;
            if jump.amounts.len() != expected {
                return Err(Error::shape("jumps.amounts", expected, jump.amounts.len()));
            }
            finite("jumps.amounts", &jump.amounts)?;
            let amounts = jump.amounts.iter().map(|&amount| T::of(amount)).collect();
            Ok(JumpInputs { times: jump.times.clone(), amounts, numbers })
        };
        let event = |event: &Event| {
            check("events.when", &event.when, 1, arguments..)?;
            if let Some(set) = &event.set {
                check("events.set", set, state, arguments..)?;
            }
            for program in [&event.when].into_iter().chain(&event.set) {
                if program.arguments() != arguments {
                    let expected = format!("a program of the field's {arguments} arguments");
                    return Err(Error::shape("events", expected, program.arguments()));
                }
            }
            if event.terminal == Some(0) {
                return Err(Error::option("events.terminal", "a positive integer", 0));
            }
            Ok(EventRule { direction: event.direction, terminal: event.terminal, changes_state: event.set.is_some() })
        };
        if let Some(norm) = &changes.norm {
            check("norm", norm, 1, arguments..)?;
            if norm.arguments() != arguments {
                let expected = format!("a program of the field's {arguments} arguments");
                return Err(Error::shape("norm", expected, norm.arguments()));
            }
        }
        Ok(Self {
            jumps: changes.jumps.iter().map(jump).collect::<Result<_>>()?,
            events: changes.events.iter().map(event).collect::<Result<_>>()?,
            max_events: changes.max_events,
            custom_norm: changes.norm.is_some(),
        })
    }

    /// The jumps of a trajectory in the order in which they act, within its times.
    pub fn scheduled_jumps(&self, trajectory: usize, times: &[f64]) -> Vec<ScheduledJump> {
        let (first, last) = (times[0], times[times.len() - 1]);
        let direction = if last < first { -1.0 } else { 1.0 };
        let mut scheduled: Vec<ScheduledJump> = Vec::new();
        for (jump, map) in self.jumps.iter().enumerate() {
            let start = map.times.start(trajectory);
            let own = map.times.of(trajectory).iter().enumerate();
            let acts = |t: f64| (t - first) * direction >= 0.0 && (t - last) * direction <= 0.0;
            scheduled.extend(own.filter(|(_, t)| acts(**t)).map(|(index, &t)| ScheduledJump {
                t,
                jump,
                occurrence: start + index,
            }));
        }
        // Jumps at the same time stay in the order in which they were declared.
        let keys: Vec<f64> = scheduled.iter().map(|jump| jump.t * direction).collect();
        order(&keys).into_iter().map(|index| scheduled[index]).collect()
    }
}

fn check_jump_times(jumps: &[f64], times: &[f64]) -> Result<()> {
    finite("jumps.times", jumps)?;
    let (first, last) = (times[0], times[times.len() - 1]);
    // If a trajectory has an empty interval, only jumps at its time act.
    if first == last {
        return Ok(());
    }
    let direction = if last < first { -1.0 } else { 1.0 };
    if let Some(early) = jumps.iter().find(|&&t| (t - first) * direction < 0.0) {
        return Err(Error::option("jumps.times", format!("times from {first:?} on"), format!("{early:?}")));
    }
    match jumps.windows(2).find(|pair| (pair[1] - pair[0]) * direction < 0.0) {
        None => Ok(()),
        Some(pair) => {
            let given = format!("{:?} followed by {:?}", pair[0], pair[1]);
            Err(Error::option("jumps.times", "times in the order of the trajectory's", given))
        }
    }
}
