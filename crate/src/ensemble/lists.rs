//! Lists of numbers, one for all trajectories or one for each.

use std::ops::Range;

/// Lists of numbers, such as output times: one list that all trajectories share, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    numbers: Vec<f64>,
    /// The end of each list; `None` where all trajectories share one list.
    ends: Option<Vec<usize>>,
}

impl Lists {
    /// One list for all trajectories.
    pub fn shared(numbers: &[f64]) -> Self {
        Self { numbers: numbers.to_vec(), ends: None }
    }

    /// A list for each trajectory.
    pub fn per_trajectory<'a>(lists: impl IntoIterator<Item = &'a [f64]>) -> Self {
        let (mut numbers, mut ends) = (Vec::new(), Vec::new());
        for list in lists {
            numbers.extend_from_slice(list);
            ends.push(numbers.len());
        }
        Self { numbers, ends: Some(ends) }
    }

    /// The number of lists; `None` if all trajectories share one.
    pub fn count(&self) -> Option<usize> {
        self.ends.as_ref().map(Vec::len)
    }

    /// How many numbers all lists have together.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether all lists are empty.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The index of a trajectory's first number among the numbers of all lists; 0 if all trajectories share one list.
    ///
    /// # Panics
    /// If each trajectory has its own list, and there are fewer than `trajectory`.
    pub fn start(&self, trajectory: usize) -> usize {
        match &self.ends {
            Some(ends) if trajectory > 0 => ends[trajectory - 1],
            _ => 0,
        }
    }

    /// The list of a trajectory: its own, or the one that all share.
    ///
    /// # Panics
    /// If each trajectory has its own list, and this one has none.
    pub fn of(&self, trajectory: usize) -> &[f64] {
        match &self.ends {
            Some(ends) => &self.numbers[self.start(trajectory)..ends[trajectory]],
            None => &self.numbers,
        }
    }

    /// Where the numbers of consecutive trajectories lie among the numbers of all lists: everywhere, if they share one list.
    pub(super) fn range(&self, trajectories: &Range<usize>) -> Range<usize> {
        match &self.ends {
            Some(_) => self.start(trajectories.start)..self.start(trajectories.end),
            None => 0..self.numbers.len(),
        }
    }

    /// All lists, in the order of the trajectories; one list if they share it.
    pub fn each(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.count().unwrap_or(1)).map(|index| self.of(index))
    }
}

/// The order of items by ascending keys. Items with equal keys stay in their order.
pub(super) fn order(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}
