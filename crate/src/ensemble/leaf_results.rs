//! The results of a leaf, and how they are written into those of the whole ensemble.

use std::ops::Range;

use super::events::Occurrence;
use super::problem::Problem;
use super::reduction::LeafSums;
use super::{Gradient, Lists, Path, Solution};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, List, Purpose};
use crate::solve::Stats;

/// The solution of a leaf.
pub(super) struct LeafSolution<T> {
    trajectories: Range<usize>,
    state: usize,
    /// The fields of [`Solution`], for the leaf's trajectories.
    y: Buffer<T>,
    pub stats: Vec<Stats>,
    pub reached: Vec<usize>,
    pub paths: Vec<Path<T>>,
    pub failures: Vec<(usize, Error)>,
    pub events: List<Occurrence>,
    pub event_states: List<T>,
}

impl<T: Real> LeafSolution<T> {
    pub fn new(problem: &Problem<T>, trajectories: Range<usize>) -> Result<Self> {
        let (count, state) = (trajectories.len(), problem.state);
        let outputs = match problem.times.count() {
            None => problem.times.len().saturating_mul(count),
            Some(_) => problem.times.range(&trajectories).len(),
        };
        let mut paths = vec![];
        if problem.extras.steps || problem.extras.dense {
            paths.resize_with(count, || Path::new(&problem.ledger));
        }
        Ok(Self {
            trajectories,
            state,
            y: Buffer::zeroed(&problem.ledger, Purpose::Output, outputs.saturating_mul(state))?,
            stats: vec![Stats::default(); count],
            reached: vec![0; count],
            paths,
            failures: vec![],
            events: List::new(&problem.ledger, Purpose::Output),
            event_states: List::new(&problem.ledger, Purpose::Output),
        })
    }

    /// The range of a trajectory's output.
    fn output_range(&self, times: &Lists, trajectory: usize, output: usize) -> Range<usize> {
        let Range { start, end } = self.trajectories;
        let row = match times.count() {
            None => output * (end - start) + trajectory - start,
            Some(_) => times.start(trajectory) - times.start(start) + output,
        };
        row * self.state..(row + 1) * self.state
    }

    /// Writes an output of a trajectory.
    pub fn write(&mut self, times: &Lists, trajectory: usize, output: usize, y: &[T]) {
        let range = self.output_range(times, trajectory, output);
        self.y[range].copy_from_slice(y);
    }

    /// An output of a trajectory.
    pub fn output(&self, times: &Lists, trajectory: usize, output: usize) -> &[T] {
        &self.y[self.output_range(times, trajectory, output)]
    }

    /// For each trajectory its steps, its changes (an upper bound) and its outputs.
    pub fn counts(&self, problem: &Problem<T>) -> impl ExactSizeIterator<Item = [usize; 3]> {
        let events = |trajectory: usize| self.events.iter().filter(|event| event.trajectory == trajectory).count();
        self.trajectories.clone().zip(&self.stats).map(move |(trajectory, stats)| {
            let times = problem.times.of(trajectory);
            let jumps = problem.rules.scheduled_jumps(trajectory, times).len();
            [stats.accepted, events(trajectory) + jumps, times.len()]
        })
    }

    /// Bytes of its outputs.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.y)
    }

    /// Moves outputs, steps and statistics into the solution; [`append`](Self::append) adds the rest.
    pub fn write_to(&mut self, problem: &Problem<T>, solution: &mut Solution<T>) -> Result<()> {
        let Range { start, end } = self.trajectories;
        let y = std::mem::replace(&mut self.y, Buffer::zeroed(&problem.ledger, Purpose::Output, 0)?);
        let row = match problem.times.count() {
            None => (end - start) * self.state,
            Some(_) => y.len(),
        };
        for (output, from) in y.chunks_exact(row.max(1)).enumerate() {
            let to = problem.output_offset(start, output);
            solution.y[to..to + row].copy_from_slice(from);
        }
        solution.stats[start..end].copy_from_slice(&self.stats);
        solution.reached[start..end].copy_from_slice(&self.reached);
        for (path, own) in solution.paths.get_mut(start..end).unwrap_or_default().iter_mut().zip(&mut self.paths) {
            std::mem::swap(path, own);
        }
        Ok(())
    }

    /// Appends failures and events, in the order of the leaves.
    pub fn append(mut self, solution: &mut Solution<T>) -> Result<()> {
        solution.failures.append(&mut self.failures);
        solution.events.extend(self.events.iter().copied())?;
        solution.event_states.extend(self.event_states.iter().copied())
    }
}

/// The gradient of a leaf.
pub(super) struct LeafGradient<T> {
    trajectories: Range<usize>,
    /// The fields of [`Gradient`], for the leaf's trajectories.
    pub y0: Buffer<T>,
    pub arguments: Buffer<T>,
    pub times: ListGradient,
    pub jump_times: Vec<ListGradient>,
    pub amounts: Vec<ListGradient>,
}

/// The derivatives with respect to the numbers of a list, or of the lists of a leaf's trajectories.
pub(super) struct ListGradient {
    /// Their range among those of all trajectories.
    range: Range<usize>,
    shared: bool,
    numbers: Vec<f64>,
}

impl ListGradient {
    fn zero(lists: &Lists, trajectories: &Range<usize>, per_number: usize) -> Self {
        let Range { start, end } = lists.range(trajectories);
        let range = start * per_number..end * per_number;
        Self { numbers: vec![0.0; range.len()], range, shared: lists.count().is_none() }
    }

    /// Adds to the derivative with respect to a number, by its index among those of all trajectories.
    pub fn add(&mut self, index: usize, value: f64) {
        self.numbers[index - self.range.start] += value;
    }

    /// Writes them into those of all trajectories, or appends them to those that are summed.
    fn write_to(self, all: &mut [f64], shared: &mut Vec<f64>) {
        match self.shared {
            true => shared.extend(self.numbers),
            false => all[self.range].copy_from_slice(&self.numbers),
        }
    }
}

impl<T: Real> LeafGradient<T> {
    pub fn new(problem: &Problem<T>, trajectories: Range<usize>) -> Result<Self> {
        let count = trajectories.len();
        let rows = |len: usize| Buffer::zeroed(&problem.ledger, Purpose::Gradient, count * len);
        let jumps = &problem.rules.jumps;
        Ok(Self {
            y0: rows(problem.state)?,
            arguments: rows(problem.arguments)?,
            times: ListGradient::zero(&problem.times, &trajectories, 1),
            jump_times: jumps.iter().map(|jump| ListGradient::zero(&jump.times, &trajectories, 1)).collect(),
            amounts: jumps.iter().map(|jump| ListGradient::zero(&jump.times, &trajectories, jump.numbers)).collect(),
            trajectories,
        })
    }

    /// The row of a trajectory.
    pub fn row(&self, trajectory: usize, len: usize) -> Range<usize> {
        let own = trajectory - self.trajectories.start;
        own * len..(own + 1) * len
    }

    /// Writes the derivatives of single trajectories into the gradient, and returns those that are summed over all.
    pub fn write_to(self, problem: &Problem<T>, parameters: Buffer<T>, gradient: &mut Gradient<T>) -> LeafSums<T> {
        let Range { start, end } = self.trajectories;
        let (state, arguments) = (problem.state, problem.arguments);
        gradient.y0[start * state..end * state].copy_from_slice(&self.y0);
        gradient.arguments[start * arguments..end * arguments].copy_from_slice(&self.arguments);
        let mut shared = vec![];
        if let Some(times) = &mut gradient.times {
            self.times.write_to(times, &mut shared);
        }
        for (own, times) in self.jump_times.into_iter().zip(&mut gradient.jump_times) {
            own.write_to(times, &mut shared);
        }
        for (own, amounts) in self.amounts.into_iter().zip(&mut gradient.amounts) {
            own.write_to(amounts, &mut shared);
        }
        LeafSums { parameters, shared }
    }
}

impl<T: Real> Gradient<T> {
    /// The lists that all trajectories share, in the order of their derivatives in the sums.
    pub(super) fn shared_lists<'a>(&'a mut self, problem: &'a Problem<T>) -> impl Iterator<Item = &'a mut Vec<f64>> {
        let Self { times, jump_times, amounts, .. } = self;
        let jumps = &problem.rules.jumps;
        let is_shared = |lists: &Lists| lists.count().is_none();
        let of_jumps = move |lists: &'a mut Vec<Vec<f64>>| {
            lists.iter_mut().zip(jumps).filter(move |(_, jump)| is_shared(&jump.times)).map(|(list, _)| list)
        };
        let times = times.as_mut().filter(move |_| is_shared(&problem.times));
        times.into_iter().chain(of_jumps(jump_times)).chain(of_jumps(amounts))
    }
}
