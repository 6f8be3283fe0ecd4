//! Plain objects that a binding hands out: errors, statistics, the layers of networks.

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
    Flag(bool),
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

impl From<bool> for Datum {
    fn from(flag: bool) -> Self {
        Datum::Flag(flag)
    }
}

impl From<Record> for Datum {
    fn from(record: Record) -> Self {
        Datum::Record(record)
    }
}

/// `{ code, message, argument?, expected?, given?, t?, h?, steps?, evaluations?, bytes? }`.
pub fn error(error: &Error) -> Record {
    let mut record: Record = vec![("code", error.code().into()), ("message", Datum::Text(error.to_string()))];
    match error {
        Error::Shape { argument, expected, given } | Error::Option { argument, expected, given } => {
            record.push(("argument", (*argument).into()));
            record.push(("expected", (&**expected).into()));
            record.push(("given", (&**given).into()));
        }
        Error::NonFiniteInput { argument, .. } => record.push(("argument", (*argument).into())),
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

/// Of a solve.
pub fn stats((stats, peak): (&Stats, &Bytes)) -> Record {
    vec![
        ("accepted", stats.accepted.into()),
        ("rejected", stats.rejected.into()),
        ("evaluations", stats.evaluations.into()),
        ("firstStep", stats.first_step.into()),
        ("lastStep", stats.last_step.into()),
        ("rtol", stats.rtol.into()),
        ("rtolClamped", stats.rtol_clamped.into()),
        ("peakBytes", bytes(peak).into()),
    ]
}

/// Of an ensemble, the sums over its trajectories.
pub fn ensemble_stats(ensemble: &dyn AnyEnsemble) -> Record {
    let all = ensemble.trajectories();
    let sum = |column: usize| all.chunks_exact(6).map(|numbers| numbers[column]).sum::<f64>();
    let first = |column: usize| all.get(column).copied().unwrap_or(0.0);
    let (rtol, clamped) = ensemble.tolerance();
    vec![
        ("accepted", sum(0).into()),
        ("rejected", sum(1).into()),
        ("evaluations", sum(2).into()),
        ("firstStep", first(3).into()),
        ("lastStep", first(4).into()),
        ("rtol", rtol.into()),
        ("rtolClamped", clamped.into()),
        ("peakBytes", bytes(ensemble.peak()).into()),
    ]
}

/// Where the parts of a path lie, and how many numbers each has.
pub fn path(path: Option<(&[f64], Numbers<'_>, Numbers<'_>)>) -> Vec<f64> {
    path.map_or(vec![], |(t, y, polynomials)| {
        let parts = [Numbers::Double(t), y, polynomials];
        parts.iter().flat_map(|numbers| [numbers.pointer() as f64, numbers.len() as f64]).collect()
    })
}

/// Of a gradient.
pub fn gradient_stats(stats: &GradientStats) -> Record {
    let retention: Record = vec![
        ("tapes", stats.retention.tapes.into()),
        ("stages", stats.retention.stages.into()),
        ("states", stats.retention.states.into()),
        ("checkpoints", stats.retention.checkpoints.into()),
        ("stepTapes", stats.retention.step_tapes.into()),
    ];
    vec![
        ("evaluations", stats.evaluations.into()),
        ("vjps", stats.vjps.into()),
        ("backwardSteps", stats.backward_steps.into()),
        ("retention", retention.into()),
        ("peakBytes", bytes(&stats.peak).into()),
    ]
}

fn bytes(bytes: &Bytes) -> Record {
    let purposes = Purpose::ALL.into_iter().map(|purpose| (purpose.name(), bytes.of(purpose).into()));
    [("total", bytes.total().into())].into_iter().chain(purposes).collect()
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
