//! The solve of all leaves, on several threads, and what is kept of each within a budget.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::backward::Backward;
use super::forward::Forward;
use super::part::Part;
use super::problem::{Problem, Tools};
use super::record::LeafRecord;
use super::{Path, Solution};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, List, Purpose};
use crate::solve::Stats;
use crate::threads;

/// What is to be kept of leaves.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// All, as far as the budget goes.
    pub all: bool,
    pub budget: Option<usize>,
}

/// What was kept.
pub(super) struct Kept<T> {
    /// Of all leaves, if of any.
    pub record: Option<Vec<LeafRecord<T>>>,
    /// Bytes that it takes to solve the largest leaf again.
    pub again: usize,
}

/// A leaf that is solved.
struct Leaf<T> {
    index: usize,
    trajectories: Range<usize>,
    outcome: Option<Result<Part<T>>>,
}

/// Solves all leaves.
pub(super) fn solve<T: Real>(
    problem: &Problem<T>,
    tools: &mut [Tools<T>],
    keep: Option<Keep>,
) -> Result<(Solution<T>, Kept<T>)> {
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
    let transposing = Backward::bytes(problem, tools.len());
    let exceeds = |more: usize| budget.is_some_and(|given| ledger.live().total() + transposing + more > given);
    let mut none = vec![];
    none.resize_with(leaves.len(), || None);
    let kept = Mutex::new((keep.is_some_and(|keep| keep.all).then_some(none), 0));
    let placed = Mutex::new(&mut solution);
    // Leaves behind one that has failed need not be solved.
    let last = AtomicUsize::new(usize::MAX);
    let mut workers = tools.iter_mut().map(|tools| Ok((Forward::new(problem)?, tools))).collect::<Result<Vec<_>>>()?;
    let count = workers.len();
    let work = |(forward, tools): &mut (Forward<T>, &mut Tools<T>), leaf: &mut Leaf<T>| {
        if leaf.index > last.load(Ordering::Relaxed) {
            return;
        }
        let wanted = {
            let mut kept = kept.lock().expect(UNHARMED);
            let (record, largest) = &mut *kept;
            if *largest > 0 && exceeds(*largest * count) {
                // What goes beyond a budget is computed again, leaf by leaf.
                *record = None;
            }
            record.is_some()
        };
        let mut run = || {
            let mut part = Part::new(problem, leaf.trajectories.clone())?;
            let record = wanted.then(|| LeafRecord::new(problem, leaf.trajectories.len())).transpose()?;
            let record = forward.run(problem, tools, leaf.trajectories.clone(), Some(&mut part), record)?;
            if let (false, Some((trajectory, error))) = (extras.mask, part.failures.first()) {
                return Err(problem.of_trajectory(*trajectory, error.clone()));
            }
            let bytes = match &record {
                Some(record) => record.bytes(),
                // They are written when the leaf is solved again.
                None if budget.is_some() => LeafRecord::bytes_of(problem, part.counts(problem))?,
                None => 0,
            };
            let mut guard = kept.lock().expect(UNHARMED);
            let (all, largest) = &mut *guard;
            *largest = (*largest).max(bytes + part.bytes());
            if exceeds(0) {
                *all = None;
            } else if let (Some(all), Some(record)) = (all, record) {
                all[leaf.index] = Some(record);
            }
            drop(guard);
            part.place(problem, &mut placed.lock().expect(UNHARMED))?;
            Ok(part)
        };
        let outcome = run();
        if outcome.is_err() {
            last.fetch_min(leaf.index, Ordering::Relaxed);
        }
        leaf.outcome = Some(outcome);
    };
    // The first leaf tells how much each takes, before there are several.
    let first = if budget.is_some() { 1 } else { 0 };
    threads::each(&mut workers[..1], &mut leaves[..first], work);
    threads::each(&mut workers, &mut leaves[first..], work);
    let with = ledger.live().total();
    drop(workers);
    let (record, largest) = kept.into_inner().expect(UNHARMED);
    let again = largest + (with - ledger.live().total()) / count;
    for leaf in leaves {
        leaf.outcome.expect("solved, or behind one that has failed")?.append(&mut solution)?;
    }
    solution.peak = ledger.peak();
    let record = record.map(|all| all.into_iter().map(|record| record.expect("kept of all")).collect());
    if let (None, Some(given)) = (&record, budget) {
        // A leaf at a time, with what solves and what transposes it.
        let least = ledger.live().total() + Backward::bytes(problem, 1) + again;
        if least > given {
            return Err(Error::Budget { given, least });
        }
    }
    Ok((solution, Kept { record, again }))
}

/// Why a lock is never poisoned.
pub(super) const UNHARMED: &str = "no thread fails while it holds the lock";
