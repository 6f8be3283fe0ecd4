//! The solve of all leaves, on several threads, and what is retained of each within a budget.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::backward::Backward;
use super::forward::Forward;
use super::leaf_results::LeafSolution;
use super::problem::{Evaluators, Problem};
use super::record::LeafRecord;
use super::{Path, Solution};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, List, Purpose};
use crate::solve::Stats;
use crate::threads;

/// What a solve retains of its leaves.
#[derive(Clone, Copy)]
pub(super) struct Retention {
    /// Every leaf that the budget allows.
    pub all: bool,
    pub budget: Option<usize>,
}

/// What was retained.
pub(super) struct Retained<T> {
    /// The records of all leaves, or of none.
    pub record: Option<Vec<LeafRecord<T>>>,
    /// Bytes that it takes to solve the largest leaf again.
    pub resolve_bytes: usize,
}

/// A leaf, and the outcome of its solve.
struct Leaf<T> {
    index: usize,
    trajectories: Range<usize>,
    outcome: Option<Result<LeafSolution<T>>>,
}

/// Solves all leaves.
pub(super) fn solve<T: Real>(
    problem: &Problem<T>,
    evaluators: &mut [Evaluators<T>],
    keep: Option<Retention>,
) -> Result<(Solution<T>, Retained<T>)> {
    let ledger = problem.ledger.clone();
    let (batch, extras) = (problem.batch, problem.extras);
    let mut solution = Solution {
        y: Buffer::zeroed(&ledger, Purpose::Output, problem.outputs())?,
        stats: vec![Stats::default(); batch],
        reached: vec![0; batch],
        failures: vec![],
        events: List::new(&ledger, Purpose::Output),
        event_states: List::new(&ledger, Purpose::Output),
        paths: vec![],
        peak: Bytes::default(),
    };
    if extras.steps || extras.dense {
        solution.paths.resize_with(batch, || Path::new(&ledger));
    }
    let mut leaves: Vec<Leaf<T>> =
        problem.leaves().enumerate().map(|(index, trajectories)| Leaf { index, trajectories, outcome: None }).collect();
    let budget = keep.and_then(|keep| keep.budget);
    let transposing = Backward::bytes(problem, evaluators.len());
    let exceeds = |more: usize| budget.is_some_and(|given| ledger.live().total() + transposing + more > given);
    let mut none = vec![];
    none.resize_with(leaves.len(), || None);
    let kept = Mutex::new((keep.is_some_and(|keep| keep.all).then_some(none), 0));
    let placed = Mutex::new(&mut solution);
    // Leaves after a failed one need not be solved.
    let last = AtomicUsize::new(usize::MAX);
    let mut workers =
        evaluators.iter_mut().map(|evaluators| Ok((Forward::new(problem)?, evaluators))).collect::<Result<Vec<_>>>()?;
    let count = workers.len();
    let work = |(forward, evaluators): &mut (Forward<T>, &mut Evaluators<T>), leaf: &mut Leaf<T>| {
        if leaf.index > last.load(Ordering::Relaxed) {
            return;
        }
        let wanted = {
            let mut kept = kept.lock().expect(NOT_POISONED);
            let (record, largest) = &mut *kept;
            if *largest > 0 && exceeds(*largest * count) {
                // Over budget: leaves are solved again, one by one.
                *record = None;
            }
            record.is_some()
        };
        let mut run = || {
            let mut results = LeafSolution::new(problem, leaf.trajectories.clone())?;
            let record = wanted.then(|| LeafRecord::new(problem, leaf.trajectories.len())).transpose()?;
            let record = forward.run(problem, evaluators, leaf.trajectories.clone(), Some(&mut results), record)?;
            if let (false, Some((trajectory, error))) = (extras.mask, results.failures.first()) {
                return Err(problem.of_trajectory(*trajectory, error.clone()));
            }
            let bytes = match &record {
                Some(record) => record.bytes(),
                // It will be written when the leaf is solved again.
                None if budget.is_some() => LeafRecord::bytes_of(problem, results.counts(problem))?,
                None => 0,
            };
            let mut guard = kept.lock().expect(NOT_POISONED);
            let (all, largest) = &mut *guard;
            *largest = (*largest).max(bytes + results.bytes());
            if exceeds(0) {
                *all = None;
            } else if let (Some(all), Some(record)) = (all, record) {
                all[leaf.index] = Some(record);
            }
            drop(guard);
            results.write_to(problem, &mut placed.lock().expect(NOT_POISONED))?;
            Ok(results)
        };
        let outcome = run();
        if outcome.is_err() {
            last.fetch_min(leaf.index, Ordering::Relaxed);
        }
        leaf.outcome = Some(outcome);
    };
    // The first leaf shows how much memory each takes, before several are solved at once.
    let first = if budget.is_some() { 1 } else { 0 };
    threads::each(&mut workers[..1], &mut leaves[..first], work);
    threads::each(&mut workers, &mut leaves[first..], work);
    let with = ledger.live().total();
    drop(workers);
    let (record, largest) = kept.into_inner().expect(NOT_POISONED);
    let resolve_bytes = largest + (with - ledger.live().total()) / count;
    for leaf in leaves {
        leaf.outcome.expect("solved, or behind one that has failed")?.append(&mut solution)?;
    }
    solution.peak = ledger.peak();
    let record = record.map(|all| all.into_iter().map(|record| record.expect("kept of all")).collect());
    if let (None, Some(given)) = (&record, budget) {
        // One leaf at a time, with its solve and its reverse pass.
        let least = ledger.live().total() + Backward::bytes(problem, 1) + resolve_bytes;
        if least > given {
            return Err(Error::Budget { given, least });
        }
    }
    Ok((solution, Retained { record, resolve_bytes }))
}

/// Why a lock is never poisoned.
pub(super) const NOT_POISONED: &str = "no thread fails while it holds the lock";
