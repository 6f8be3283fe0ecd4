//! Sums over leaves, in one binary tree whoever works on which leaf: the sum of two neighbours is formed as soon as both are there.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::kernel::real::Real;
use crate::memory::Buffer;

/// What is summed over trajectories.
pub(super) struct Sums<T> {
    /// ∂L/∂θ.
    pub parameters: Buffer<T>,
    /// The derivatives with respect to lists of numbers that are for all trajectories.
    pub shared: Vec<f64>,
}

impl<T: Real> Sums<T> {
    /// The sum with that of the leaves behind.
    fn join(mut self, right: &Self) -> Self {
        let Self { parameters, shared } = &mut self;
        parameters.iter_mut().zip(&*right.parameters).for_each(|(left, right)| *left = *left + *right);
        shared.iter_mut().zip(&right.shared).for_each(|(left, right)| *left += right);
        self
    }
}

/// The sum over 2^level leaves, the first of which has a number that this divides.
struct Node<T> {
    level: u32,
    sums: Sums<T>,
}

/// Sums that wait for their neighbours, by the numbers of their first leaves.
pub(super) struct Tree<T>(Mutex<BTreeMap<usize, Node<T>>>);

impl<T: Real> Tree<T> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Takes the sums of a leaf.
    pub fn add(&self, leaf: usize, sums: Sums<T>) {
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
    pub fn subtrees(self) -> Vec<Sums<T>> {
        let waiting = self.0.into_inner().expect("no thread has failed");
        waiting.into_values().map(|node| node.sums).collect()
    }
}

/// The sum over all leaves.
pub(super) fn total<T: Real>(subtrees: Vec<Sums<T>>) -> Option<Sums<T>> {
    subtrees.into_iter().rev().reduce(|right, left| left.join(&right))
}
