//! Sums over the leaves of a batch, in one binary tree that does not depend on threads.
//!
//! A thread takes runs of 2^k leaves that begin at a multiple of 2^k, so that the sum of a run is a subtree. Within a run the sums that
//! wait for their neighbours are at most one a level. So there are a few sums for each thread, not one for each leaf.

use std::ops::Range;

use super::{Arrays, Blocks, Plan, Worker};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// How many leaves a thread takes at a time: a power of two, with some runs for each thread, so that none waits long for another, or
/// all for one.
pub fn run_leaves(leaves: usize, threads: usize) -> usize {
    const RUNS: usize = 16;
    let runs = if threads == 1 { 1 } else { RUNS * threads };
    leaves.div_ceil(runs).next_power_of_two()
}

/// Memory for sums: those over lanes, and those that go right into the gradient of the parameters. Zero where it is not in use.
pub struct Partial<T> {
    sums: Buffer<T>,
    gradient: Buffer<T>,
}

impl<T: Real> Partial<T> {
    pub fn new(plan: &Plan<T>, ledger: &Ledger) -> Result<Self> {
        let sums = Buffer::zeroed(ledger, Purpose::Workspace, plan.sums)?;
        Ok(Self { sums, gradient: Buffer::zeroed(ledger, Purpose::Gradient, plan.gradient)? })
    }

    /// A sum in this memory, with `products` inner products.
    pub fn sum(&mut self, products: usize) -> Sum<'_, T> {
        Sum { sums: &mut self.sums, gradient: &mut self.gradient, ..Sum::none(products) }
    }
}

/// The results that are summed over trajectories.
pub struct Sum<'a, T> {
    pub sums: &'a mut [T],
    pub gradient: &'a mut [T],
    /// ⟨ℓ, f⟩.
    pub slope: f64,
    /// The inner products with the probes.
    pub products: Vec<f64>,
}

impl<T: Real> Sum<'_, T> {
    /// One of inner products alone.
    pub fn none(products: usize) -> Self {
        Self { sums: &mut [], gradient: &mut [], slope: 0.0, products: vec![0.0; products] }
    }

    /// Adds that of the leaves behind, which is zero then.
    fn add(&mut self, other: &mut Self) {
        for (sum, other) in [(&mut *self.sums, &mut *other.sums), (&mut *self.gradient, &mut *other.gradient)] {
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum = *sum + std::mem::replace(other, T::zero()));
        }
        self.slope += std::mem::take(&mut other.slope);
        for (sum, other) in self.products.iter_mut().zip(&mut other.products) {
            *sum += std::mem::take(other);
        }
    }
}

/// A run of leaves.
pub struct LeafRun<'a, T> {
    pub panels: Range<usize>,
    /// From its first lane on.
    pub arrays: Arrays<'a, T>,
    pub sum: Sum<'a, T>,
}

impl<T: Real> LeafRun<'_, T> {
    /// Computes the leaves, and adds up what they give.
    pub fn add_leaves(&mut self, blocks: &Blocks<'_, T>, worker: &mut Worker<T>) {
        let Self { panels, arrays, sum } = self;
        let all = blocks.plan.panels;
        let (begin, end) = (panels.start * all.full(), panels.end);
        let products = sum.products.len();
        let own = Sum { sums: sum.sums, gradient: sum.gradient, ..Sum::none(products) };
        let waiting = worker.waiting.iter_mut().map(|partial| partial.sum(products));
        // The first leaf takes the last of them, the run's own.
        let mut free: Vec<Sum<'_, T>> = waiting.chain(std::iter::once(own)).collect();
        // The sums that wait for their neighbours, the first leaves' first, with how many leaves each has.
        let mut sums: Vec<(usize, Sum<'_, T>)> = Vec::with_capacity(free.len());
        for first in panels.clone().step_by(blocks.plan.leaf_panels()) {
            let mut sum = free.pop().unwrap_or_else(|| Sum::none(products));
            let mut arrays = arrays.reborrow();
            (arrays.gradient, arrays.products) = (&mut *sum.gradient, &mut sum.products);
            for panel in all.range(first..(first + blocks.plan.leaf_panels()).min(end)) {
                blocks.run(panel, begin, &mut worker.scratch, &mut arrays, sum.sums, &mut sum.slope);
            }
            sums.push((1, sum));
            while let [.., (left, _), (right, _)] = sums[..]
                && left == right
            {
                join(&mut sums, &mut free);
            }
        }
        while sums.len() > 1 {
            join(&mut sums, &mut free);
        }
        let (_, Sum { slope, products, .. }) = sums.pop().expect("a leaf at least");
        (sum.slope, sum.products) = (slope, products);
    }
}

/// Adds the last sum to the one before it.
fn join<'a, T: Real>(sums: &mut Vec<(usize, Sum<'a, T>)>, free: &mut Vec<Sum<'a, T>>) {
    let (count, mut right) = sums.pop().expect("two sums");
    let (leaves, left) = sums.last_mut().expect("two sums");
    left.add(&mut right);
    *leaves += count;
    free.push(right);
}

/// The sum of all runs, in the first one's place.
pub fn total<'r, 'a, T: Real>(runs: &'r mut [LeafRun<'a, T>]) -> &'r Sum<'a, T> {
    let mut gap = 1;
    while gap < runs.len() {
        for pair in runs.chunks_mut(2 * gap).filter(|pair| pair.len() > gap) {
            let (left, right) = pair.split_at_mut(gap);
            left[0].sum.add(&mut right[0].sum);
        }
        gap *= 2;
    }
    &runs[0].sum
}
