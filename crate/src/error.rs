//! What can go wrong. Each error has the data that a program needs, and its message says what to do.

use std::fmt;

use ndarray::ArrayView2;
use num_traits::Float;

/// Where a solve stood when it failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Time of the last accepted state.
    pub t: f64,
    /// The size of the step that was tried from there, negative if times descend.
    pub h: f64,
    /// Accepted steps so far.
    pub steps: usize,
    /// Evaluations of the vector field so far.
    pub evaluations: usize,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { t, h, steps, evaluations } = self;
        let s = |count: usize| if count == 1 { "" } else { "s" };
        write!(f, "at t = {}, step {}, after {steps} accepted step{} and ", plain(*t), plain(*h), s(*steps))?;
        write!(f, "{evaluations} evaluation{}", s(*evaluations))
    }
}

/// The error of every fallible function of this crate. Invalid input fails before any work starts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An array has the wrong length or shape.
    #[error("{argument}: expected {expected}, given {given}")]
    Shape {
        /// The argument that was refused.
        argument: &'static str,
        /// What was expected, in words.
        expected: String,
        /// What was given, in words.
        given: String,
    },

    /// An option is out of range.
    #[error("{argument}: expected {expected}, given {given}")]
    Option {
        /// The option that was refused.
        argument: &'static str,
        /// What was expected, in words.
        expected: String,
        /// What was given, in words.
        given: String,
    },

    /// An input is not finite.
    #[error("{argument}: every number must be finite, given {given} at index {index}")]
    NonFiniteInput {
        /// The argument that was refused.
        argument: &'static str,
        /// The first number that is not finite.
        given: f64,
        /// Its index in the flat array.
        index: usize,
    },

    /// The vector field or the state became infinite or NaN during a solve.
    #[error(
        "the vector field or the state is not finite {0}; check the field there, start from smaller parameters, or \
         scale the data"
    )]
    NonFinite(Progress),

    /// The function of an event became NaN during a solve.
    #[error(
        "events[{event}].when is not a number {progress}; write a function that is defined on both sides of the event, or \
         bound the step by max_step"
    )]
    EventNonFinite {
        /// The index of the event in the list of events.
        event: usize,
        /// Where the solve stood.
        progress: Progress,
    },

    /// A result overflows, or is NaN.
    #[error("{result}: not finite, {given} at index {index}; {remedy}")]
    NonFiniteResult {
        /// The result that would not be finite.
        result: &'static str,
        /// The first number of the result that is not finite.
        given: f64,
        /// Its index in the flat array.
        index: usize,
        /// What you can do about it.
        remedy: &'static str,
    },

    /// A step would have to be shorter than is allowed, or than the floating-point time can resolve.
    #[error("{}", underflow(.progress, *.minimum))]
    StepUnderflow {
        /// Where the solve stood.
        progress: Progress,
        /// The shortest step allowed, [`Options::min_step`](crate::Options::min_step); 0 if there was no bound.
        minimum: f64,
    },

    /// A solve tried more steps than [`Options::max_steps`](crate::Options::max_steps).
    #[error(
        "max_steps was reached {0}; raise max_steps, loosen rtol and atol, or, if the steps stay small on a smooth \
         solution, the problem is stiff and an explicit method the wrong tool"
    )]
    MaxSteps(Progress),

    /// A trajectory had more events than the limit.
    #[error(
        "max_events was reached, {limit} events of one trajectory, {progress}; raise max_events, or, if the events follow \
         each other faster and faster, end the trajectory or change what the event does"
    )]
    MaxEvents {
        /// The limit, `max_events` of the changes of an ensemble.
        limit: usize,
        /// Where the solve stood.
        progress: Progress,
    },

    /// Events follow each other faster than the time can resolve.
    #[error(
        "events follow each other faster than the time can resolve, after {events} events of one trajectory, {progress}; \
         end the trajectory with a terminal event, or change what the event does"
    )]
    Chattering {
        /// How many events the trajectory had so far.
        events: usize,
        /// Where the solve stood.
        progress: Progress,
    },

    /// The time of an event is not differentiable: its function touches zero without crossing it.
    #[error(
        "event {event} of trajectory {trajectory} at t = {t:?}: its function has no slope there, {slope:e}, so the time \
         of the event has no derivative"
    )]
    Grazing {
        /// The index of the event in the list of events.
        event: usize,
        /// The index of the trajectory in the batch.
        trajectory: usize,
        /// The time of the event.
        t: f64,
        /// The rate of the event's function along the trajectory.
        slope: f64,
    },

    /// One of several trajectories of an ensemble failed.
    #[error("trajectory {trajectory}: {error}")]
    Trajectory {
        /// The index of the trajectory in the batch.
        trajectory: usize,
        /// The error of the trajectory.
        error: Box<Error>,
    },

    /// Memory ran out.
    #[error("could not allocate {bytes} bytes for {purpose}; use a smaller batch or fewer steps, or gradient \"auto\"")]
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
        /// The purpose of the memory, such as "tape".
        purpose: &'static str,
    },

    /// A memory budget is too small for the problem.
    #[error("memory_budget: expected at least {least} bytes for this problem, given {given}")]
    Budget {
        /// The budget, in bytes.
        given: usize,
        /// The least that would be enough, in bytes.
        least: usize,
    },

    /// A file is damaged, or of another kind than expected. The text says what is wrong and where.
    #[error("{0}")]
    File(String),

    /// A function of yours failed: a custom vector field, or a watcher of a solve. JavaScript throws the function's own error instead.
    #[error("a function that was called during the solve failed")]
    Callback,

    /// An error of your own, to return from a `RowField` or a `Watcher`.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The stable name of the kind of error, such as `"MAX_STEPS"`, the same in Rust and JavaScript.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Shape { .. } => "SHAPE",
            Error::Option { .. } | Error::Budget { .. } => "OPTION",
            Error::NonFiniteInput { .. } | Error::NonFiniteResult { .. } => "NON_FINITE",
            Error::NonFinite(_) | Error::EventNonFinite { .. } => "NON_FINITE",
            Error::StepUnderflow { .. } => "STEP_UNDERFLOW",
            Error::MaxSteps(_) => "MAX_STEPS",
            Error::MaxEvents { .. } | Error::Chattering { .. } => "MAX_EVENTS",
            Error::Grazing { .. } => "EVENT_GRAZING",
            Error::Trajectory { error, .. } => error.code(),
            Error::OutOfMemory { .. } => "OUT_OF_MEMORY",
            Error::File(_) => "FILE",
            Error::Callback | Error::Other(_) => "CALLBACK",
        }
    }

    /// Where the solve stood, for an error on the way; `None` for other errors.
    pub fn progress(&self) -> Option<Progress> {
        match self {
            Error::NonFinite(progress) | Error::StepUnderflow { progress, .. } | Error::MaxSteps(progress) => {
                Some(*progress)
            }
            Error::MaxEvents { progress, .. }
            | Error::Chattering { progress, .. }
            | Error::EventNonFinite { progress, .. } => Some(*progress),
            Error::Trajectory { error, .. } => error.progress(),
            _ => None,
        }
    }

    /// This error as that of one of several trajectories.
    pub(crate) fn of_trajectory(self, trajectory: usize) -> Self {
        Error::Trajectory { trajectory, error: Box::new(self) }
    }

    /// This error for an input that is checked piece by piece, in a piece that begins at index `start`.
    pub(crate) fn with_offset(self, start: usize) -> Self {
        match self {
            Error::NonFiniteInput { argument, given, index } => {
                Error::NonFiniteInput { argument, given, index: start + index }
            }
            other => other,
        }
    }

    pub(crate) fn shape(argument: &'static str, expected: impl fmt::Display, given: impl fmt::Display) -> Self {
        Error::Shape { argument, expected: expected.to_string(), given: given.to_string() }
    }

    pub(crate) fn option(argument: &'static str, expected: impl fmt::Display, given: impl fmt::Display) -> Self {
        Error::Option { argument, expected: expected.to_string(), given: given.to_string() }
    }
}

/// A number as people write it.
fn plain(number: f64) -> String {
    let mut text = format!("{number:?}");
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    text
}

fn underflow(progress: &Progress, minimum: f64) -> String {
    if progress.h.abs() < minimum {
        let remedy = "lower min_step, or loosen rtol and atol";
        return format!("a step shorter than min_step, {minimum:e}, would be needed {progress}; {remedy}");
    }
    format!(
        "the step size fell below what the time can resolve {progress}; the solution may blow up there or the problem \
         be stiff: loosen rtol and atol, rescale the field, or end earlier"
    )
}

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses numbers that are not finite, naming the first.
pub(crate) fn finite<T: Float>(argument: &'static str, numbers: &[T]) -> Result<()> {
    match first_not_finite(numbers) {
        Some(index) => Err(Error::NonFiniteInput { argument, given: wide(numbers[index]), index }),
        None => Ok(()),
    }
}

/// Does what [`finite`] does, for rows that need not be contiguous.
pub(crate) fn finite_rows<T: Float>(argument: &'static str, rows: ArrayView2<'_, T>) -> Result<()> {
    if let Some(numbers) = rows.as_slice() {
        return finite(argument, numbers);
    }
    match rows.iter().enumerate().find(|(_, number)| !number.is_finite()) {
        Some((index, &number)) => Err(Error::NonFiniteInput { argument, given: wide(number), index }),
        None => Ok(()),
    }
}

/// The first number that is not finite. It checks a chunk at a time, as nearly always all are.
fn first_not_finite<T: Float>(numbers: &[T]) -> Option<usize> {
    const CHUNK: usize = 64;
    let bad = |numbers: &[T]| !numbers.iter().fold(true, |all, number| all & number.is_finite());
    let chunk = numbers.chunks(CHUNK).position(bad)?;
    numbers[chunk * CHUNK..].iter().position(|number| !number.is_finite()).map(|index| chunk * CHUNK + index)
}

/// Whether float64 would have a greater range.
fn single<T>() -> bool {
    size_of::<T>() < size_of::<f64>()
}

/// Refuses a part of a gradient that is not finite, naming the first such number.
pub(crate) fn finite_gradient<T: Float>(result: &'static str, numbers: &[T]) -> Result<()> {
    match first_not_finite(numbers) {
        Some(index) => {
            let remedy = match (numbers[index].is_nan(), single::<T>()) {
                (true, true) => {
                    "there is no derivative, as of a root at 0, or it overflows on the way: start elsewhere, scale the loss, or use float64"
                }
                (true, false) => {
                    "there is no derivative, as of a root at 0, or it overflows on the way: start elsewhere, or scale the loss"
                }
                (false, true) => "it overflows: scale the loss, or use float64",
                (false, false) => "it overflows: scale the loss",
            };
            Err(Error::NonFiniteResult { result, given: wide(numbers[index]), index, remedy })
        }
        None => Ok(()),
    }
}

/// Refuses derivatives along directions that are not finite.
pub(crate) fn finite_tangents<T: Float>(tangents: &[T]) -> Result<()> {
    match first_not_finite(tangents) {
        Some(index) => {
            let remedy = match tangents[index].is_nan() {
                true => {
                    "there is no derivative, as of a root at 0, or it overflows on the way: start elsewhere, or scale it"
                }
                false if single::<T>() => "it overflows: scale the direction, shorten the times, or use float64",
                false => "it overflows: scale the direction, or shorten the times",
            };
            Err(Error::NonFiniteResult { result: "tangents", given: wide(tangents[index]), index, remedy })
        }
        None => Ok(()),
    }
}

fn wide<T: Float>(number: T) -> f64 {
    number.to_f64().unwrap_or(f64::NAN)
}
