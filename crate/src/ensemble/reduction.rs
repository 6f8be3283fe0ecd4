//! Sums over leaves by a binary tree that does not depend on threads: two neighbours are added as soon as both are there.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::kernel::real::Real;
use crate::memory::Buffer;

/// The parts of a gradient that are summed over trajectories.
pub(super) struct LeafSums<T> {
    /// ∂L/∂θ.
    pub parameters: Buffer<T>,
    /// The derivatives with respect to lists of numbers that all trajectories share.
    pub shared: Vec<f64>,
}

impl<T: Real> LeafSums<T> {
    /// The sum with that of the leaves that follow.
    fn join(mut self, right: &Self) -> Self {
        let Self { parameters, shared } = &mut self;
        parameters.iter_mut().zip(&*right.parameters).for_each(|(left, right)| *left = *left + *right);
        shared.iter_mut().zip(&right.shared).for_each(|(left, right)| *left += right);
        self
    }
}

/// The sum over 2^level leaves, the index of the first of which is a multiple of that.
struct Node<T> {
    level: u32,
    sums: LeafSums<T>,
}

/// Sums that wait for their neighbours, by the indices of their first leaves.
pub(super) struct ReductionTree<T>(Mutex<BTreeMap<usize, Node<T>>>);

impl<T: Real> ReductionTree<T> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Adds the sums of a leaf.
    pub fn add(&self, leaf: usize, sums: LeafSums<T>) {
        let (mut first, mut node) = (leaf, Node { level: 0, sums });
        loop {
            let neighbour = first ^ (1 << node.level);
            let mut waiting = self.0.lock().expect("no thread fails while it holds the tree");
            if waiting.get(&neighbour).is_none_or(|other| other.level != node.level) {
                waiting.insert(first, node);
                return;
            }
            let other = waiting.remove(&neighbour).expect("just seen");
            drop(waiting);
            let (left, right) = if first < neighbour { (node, other) } else { (other, node) };
            first = first.min(neighbour);
            node = Node { level: left.level + 1, sums: left.sums.join(&right.sums) };
        }
    }

    /// The sums of the largest subtrees that are complete, in the order of their leaves.
    pub fn subtrees(self) -> Vec<LeafSums<T>> {
        let waiting = self.0.into_inner().expect("no thread has failed");
        waiting.into_values().map(|node| node.sums).collect()
    }
}

/// The sum over all leaves.
pub(super) fn total<T: Real>(subtrees: Vec<LeafSums<T>>) -> Option<LeafSums<T>> {
    subtrees.into_iter().rev().reduce(|right, left| left.join(&right))
}
