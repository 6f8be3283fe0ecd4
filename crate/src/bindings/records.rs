//! What a binding returns: errors and the layers of networks as plain objects, statistics as numbers.

use serde_json::{Value, json};

use super::handles::{AnyEnsemble, Numbers};
use crate::error::Error;
use crate::gradient::GradientStats;
use crate::memory::{Bytes, Purpose};
use crate::model::Architecture;
use crate::solve::Stats;

/// Names and values.
pub type Record = Vec<(&'static str, Datum)>;

/// The value of a property.
#[derive(Debug, PartialEq)]
pub enum Datum {
    Number(f64),
    Text(String),
    List(Vec<f64>),
    Record(Record),
}

impl From<f64> for Datum {
    fn from(number: f64) -> Self {
        Datum::Number(number)
    }
}

impl From<usize> for Datum {
    fn from(number: usize) -> Self {
        Datum::Number(number as f64)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Datum::Text(text.into())
    }
}

impl From<Record> for Datum {
    fn from(record: Record) -> Self {
        Datum::Record(record)
    }
}

/// Options whose names are written in another way in JavaScript.
const OPTIONS: [&str; 12] = [
    "first_step",
    "min_step",
    "max_step",
    "step_size",
    "max_events",
    "state_size",
    "memory_budget",
    "learning_rate",
    "weight_decay",
    "min_factor",
    "max_factor",
    "b_hat",
];

/// A text with the names that options have in JavaScript.
fn in_javascript(text: &str) -> String {
    OPTIONS.iter().fold(text.to_string(), |text, option| {
        let (first, second) = option.split_once('_').expect("names of two words");
        text.replace(option, &format!("{first}{}{}", second[..1].to_uppercase(), &second[1..]))
    })
}

/// `{ code, message, argument?, expected?, given?, t?, h?, steps?, evaluations?, bytes? }`.
pub fn error(error: &Error) -> Record {
    let message = match error {
        Error::File(text) => text.clone(),
        _ => in_javascript(&error.to_string()),
    };
    let mut record: Record = vec![("code", error.code().into()), ("message", Datum::Text(message))];
    match error {
        Error::Shape { argument, expected, given } | Error::Option { argument, expected, given } => {
            record.push(("argument", Datum::Text(in_javascript(argument))));
            record.push(("expected", Datum::Text(in_javascript(expected))));
            record.push(("given", (&**given).into()));
        }
        Error::NonFiniteInput { argument, .. } => record.push(("argument", Datum::Text(in_javascript(argument)))),
        Error::NonFiniteResult { result, .. } => record.push(("argument", (*result).into())),
        Error::OutOfMemory { bytes, .. } => record.push(("bytes", (*bytes).into())),
        Error::Trajectory { trajectory, .. } | Error::Grazing { trajectory, .. } => {
            record.push(("trajectory", (*trajectory).into()));
        }
        Error::Budget { given, least } => {
            record.push(("argument", "memoryBudget".into()));
            record.push(("expected", Datum::Text(format!("at least {least} bytes"))));
            record.push(("given", Datum::Text(given.to_string())));
            record.push(("bytes", (*least).into()));
        }
        _ => {}
    }
    if let Some(progress) = error.progress() {
        record.push(("t", progress.t.into()));
        record.push(("h", progress.h.into()));
        record.push(("steps", progress.steps.into()));
        record.push(("evaluations", progress.evaluations.into()));
    }
    record
}

/// `[{ trajectory, failure }, …]` as JSON, where a failure is what [`error`] gives.
pub fn failures(all: Vec<(usize, Error)>) -> String {
    let json =
        all.iter().map(|(trajectory, failure)| json!({ "trajectory": trajectory, "failure": json_of(error(failure)) }));
    Value::Array(json.collect()).to_string()
}

fn json_of(record: Record) -> Value {
    let value = |datum| match datum {
        Datum::Number(number) => json!(number),
        Datum::Text(text) => json!(text),
        Datum::List(numbers) => json!(numbers),
        Datum::Record(record) => json_of(record),
    };
    Value::Object(record.into_iter().map(|(name, datum)| (name.to_string(), value(datum))).collect())
}

/// The statistics of a solve, in the order of [`SOLVE_STATS`](super::constants::SOLVE_STATS): as one array, since each property of an object costs a call
/// into JavaScript.
pub fn stats((stats, peak): (&Stats, &Bytes)) -> Vec<f64> {
    let counts = [stats.accepted, stats.rejected, stats.evaluations].map(|count| count as f64);
    let steps = [stats.first_step, stats.last_step, stats.rtol, f64::from(u8::from(stats.rtol_clamped))];
    counts.into_iter().chain(steps).chain(bytes(peak)).collect()
}

/// The statistics of an ensemble, summed over its trajectories, in the same order.
pub fn ensemble_stats(ensemble: &dyn AnyEnsemble) -> Vec<f64> {
    let all = ensemble.trajectories();
    let sum = |column: usize| all.chunks_exact(6).map(|numbers| numbers[column]).sum::<f64>();
    let first = |column: usize| all.get(column).copied().unwrap_or(0.0);
    let (rtol, clamped) = ensemble.tolerance();
    let steps = [sum(0), sum(1), sum(2), first(3), first(4), rtol, f64::from(u8::from(clamped))];
    steps.into_iter().chain(bytes(ensemble.peak())).collect()
}

/// Where the parts of a path lie, and how many numbers each has.
pub fn path(path: Option<(&[f64], Numbers<'_>, Numbers<'_>)>) -> Vec<f64> {
    path.map_or(vec![], |(t, y, polynomials)| {
        let parts = [Numbers::Double(t), y, polynomials];
        parts.iter().flat_map(|numbers| [numbers.pointer() as f64, numbers.len() as f64]).collect()
    })
}

/// The statistics of a gradient, in the order of [`GRADIENT_STATS`](super::constants::GRADIENT_STATS).
pub fn gradient_stats(stats: &GradientStats) -> Vec<f64> {
    let kept = &stats.retention;
    let counts = [stats.evaluations, stats.vjps, stats.backward_steps];
    let retained = [kept.tapes, kept.stages, kept.states, kept.checkpoints, usize::from(kept.step_tapes)];
    counts.into_iter().chain(retained).map(|count| count as f64).chain(bytes(&stats.peak)).collect()
}

fn bytes(bytes: &Bytes) -> impl Iterator<Item = f64> {
    std::iter::once(bytes.total()).chain(Purpose::ALL.map(|purpose| bytes.of(purpose))).map(|bytes| bytes as f64)
}

/// For each layer of a network `{ weight: { offset, shape }, … }`.
pub fn layers(architecture: &Architecture) -> Vec<Record> {
    let layer = |entries: Vec<crate::model::Entry>| {
        let place = |entry: crate::model::Entry| -> (&'static str, Datum) {
            let shape = Datum::List(entry.shape.iter().map(|&side| side as f64).collect());
            let place: Record = vec![("offset", entry.offset.into()), ("shape", shape)];
            (entry.name, place.into())
        };
        entries.into_iter().map(place).collect()
    };
    architecture.entries().into_iter().map(layer).collect()
}
