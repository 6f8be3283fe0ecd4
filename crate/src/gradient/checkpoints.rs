//! A few checkpoints for many steps. The steps between them are taken again: checkpoints are placed so that these are few.
//!
//! A checkpoint is x_n with the carry of its compensated sum, so that the steps from there come out bitwise as before. x_0
//! is always there besides, with no carry.

use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose, reserve_in};

/// The checkpoints at one time, in states; a carry counts as one.
pub(super) struct Checkpoints<T> {
    /// The checkpoints by ascending step; while steps are being added, also by descending level.
    stack: Vec<Checkpoint<T>>,
    /// The checkpoints that a later one of a higher level makes superfluous.
    dispensable: Vec<Checkpoint<T>>,
    /// States allocated, and free for use.
    allocated: usize,
    free: Vec<Buffer<T>>,
    len: usize,
    ledger: Ledger,
}

struct Checkpoint<T> {
    step: usize,
    level: usize,
    x: Buffer<T>,
    /// None where the next step to be transposed is this one, so that no step is taken from here.
    carry: Option<Buffer<T>>,
}

impl<T: Real> Checkpoints<T> {
    pub fn new(ledger: &Ledger, len: usize) -> Self {
        Self { stack: Vec::new(), dispensable: Vec::new(), allocated: 0, free: Vec::new(), len, ledger: ledger.clone() }
    }

    pub fn bytes(&self) -> usize {
        self.allocated * self.len * size_of::<T>()
    }

    fn unit(&mut self, numbers: &[T]) -> Result<Buffer<T>> {
        let mut unit = match self.free.pop() {
            Some(unit) => unit,
            None => {
                // Room for as many entries as there will be units, in whichever list they come to be.
                let units = self.allocated + 1;
                reserve_in(Purpose::Checkpoints, &mut self.stack, units)?;
                reserve_in(Purpose::Checkpoints, &mut self.dispensable, units)?;
                reserve_in(Purpose::Checkpoints, &mut self.free, units)?;
                let unit = Buffer::recycled(&self.ledger, Purpose::Checkpoints, self.len)?;
                self.allocated = units;
                unit
            }
        };
        unit.copy_from_slice(numbers);
        Ok(unit)
    }

    fn put(&mut self, step: usize, level: usize, x: &[T], carry: Option<&[T]>) -> Result<()> {
        let x = self.unit(x)?;
        let carry = carry.map(|carry| self.unit(carry)).transpose()?;
        self.stack.push(Checkpoint { step, level, x, carry });
        Ok(())
    }

    fn release(&mut self, checkpoint: Checkpoint<T>) {
        self.free.push(checkpoint.x);
        self.free.extend(checkpoint.carry);
    }

    /// Places a checkpoint at the latest step while the number of steps is not known, so that no step is taken again more
    /// often than necessary (Wang, Moin and Iaccarino, SIAM J. Sci. Comput. 31(4), 2009, algorithm 1). `room`: whether memory
    /// for one more may be allocated.
    pub fn place_online(&mut self, step: usize, x: &[T], carry: &[T], room: bool) -> Result<()> {
        let mut level = 0;
        if !room && self.free.len() < 2 {
            let given_up = match self.dispensable.pop() {
                Some(checkpoint) => checkpoint,
                None => match self.stack.pop() {
                    Some(last) => {
                        level = last.level + 1;
                        last
                    }
                    None => return Ok(()),
                },
            };
            self.release(given_up);
        }
        while let Some(last) = self.stack.pop_if(|last| last.level < level) {
            self.dispensable.push(last);
        }
        self.put(step, level, x, Some(carry))
    }

    /// Frees the memory of one state; false if there is none.
    pub fn shrink(&mut self) -> bool {
        if self.free.is_empty() {
            match self.dispensable.pop().or_else(|| self.stack.pop()) {
                Some(checkpoint) => self.release(checkpoint),
                None => return false,
            }
        }
        self.allocated -= usize::from(self.free.pop().is_some());
        true
    }

    /// Places a checkpoint on the way to step `end`, if this is where one belongs. `next` is where the next one does: `None`
    /// is nowhere.
    pub fn place(&mut self, step: usize, next: Option<Placement>, x: &[T], carry: &[T]) -> Result<bool> {
        match next {
            Some(place) if place.step == step => {
                self.put(step, 0, x, place.carried.then_some(carry))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// States that may still be stored out of `units`.
    pub fn remaining(&self, units: usize) -> usize {
        units.saturating_sub(self.allocated - self.free.len())
    }

    /// Prepares for a sweep: sorts the checkpoints, and drops those from which no step can be taken.
    pub fn prepare_sweep(&mut self) {
        self.stack.append(&mut self.dispensable);
        self.stack.sort_unstable_by_key(|checkpoint| checkpoint.step);
        for index in (0..self.stack.len()).rev() {
            if self.stack[index].carry.is_none() {
                let checkpoint = self.stack.remove(index);
                self.release(checkpoint);
            }
        }
    }

    /// Copies the last checkpoint up to `step`, else x_0, and returns its step. Later ones are given up, and one at `step`
    /// itself too: sweeps come from the end and do not need it again.
    pub fn nearest(&mut self, step: usize, start: &[T], x: &mut [T], carry: &mut [T]) -> usize {
        while let Some(later) = self.stack.pop_if(|last| last.step > step) {
            self.release(later);
        }
        let Some(last) = self.stack.last() else {
            x.copy_from_slice(start);
            carry.fill(T::zero());
            return 0;
        };
        x.copy_from_slice(&last.x);
        if let Some(kept) = &last.carry {
            carry.copy_from_slice(kept);
        }
        let found = last.step;
        if let Some(used) = self.stack.pop_if(|last| last.step == step) {
            self.release(used);
        }
        found
    }
}

/// Where a checkpoint belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    pub step: usize,
    /// With its carry, to take steps from.
    pub carried: bool,
}

/// The next place for a checkpoint when the steps `from .. end` are to be transposed, x at `from` is known and x at `known`
/// (`end`, or the step before, whose state is available when it is reached) needs no place. There is memory for `remaining` states.
pub(super) fn next_placement(from: usize, known: usize, end: usize, remaining: usize) -> Option<Placement> {
    let between = known.saturating_sub(from + 1);
    if between == 0 || remaining == 0 {
        return None;
    }
    if between <= remaining {
        return Some(Placement { step: from + 1, carried: false });
    }
    if remaining == 1 {
        return Some(Placement { step: known - 1, carried: false });
    }
    let step = from + split(end - from, remaining / 2 + 1);
    (step < known).then_some(Placement { step, carried: true })
}

/// How far the next of `checkpoints` (the one at the beginning included, at least 2) goes into `steps` (at least 2) so that the
/// fewest steps are taken again (Griewank and Walther, ACM TOMS 26(1), 2000).
fn split(steps: usize, checkpoints: usize) -> usize {
    let s = checkpoints.min(steps);
    // β(s, r) = C(s + r, s): the steps that s checkpoints can do with each taken r times at most.
    let beta = |s: usize, r: usize| (1..=r).fold(1_usize, |product, i| product.saturating_mul(s + i) / i);
    let repetitions = (1..).find(|&r| beta(s, r) >= steps).unwrap_or(1);
    let (before, r) = (repetitions - 1, repetitions);
    let two_less = s.checked_sub(2).map_or(0, |s| beta(s, before));
    let three_less = s.checked_sub(3).map_or(0, |s| beta(s, r));
    let step = if steps <= beta(s, before) + two_less {
        before.checked_sub(1).map_or(1, |r| beta(s, r))
    } else if steps >= beta(s, r) - three_less {
        beta(s, before)
    } else {
        steps - beta(s - 1, before) - two_less
    };
    step.clamp(1, steps - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of steps taken again when `steps` are transposed with these checkpoints, the first included.
    fn cost(steps: usize, checkpoints: usize, split: &dyn Fn(usize, usize) -> usize) -> usize {
        if checkpoints == 1 || steps < 2 {
            return steps * steps.saturating_sub(1) / 2;
        }
        let first = split(steps, checkpoints);
        first + cost(steps - first, checkpoints - 1, split) + cost(first, checkpoints, split)
    }

    #[test]
    fn no_other_places_are_better() {
        // best[c][l], by trying all.
        let mut best = vec![(0..=40_usize).map(|l| l * l.saturating_sub(1) / 2).collect::<Vec<_>>()];
        for c in 1..8 {
            let mut row = vec![0, 0];
            for l in 2..=40 {
                row.push((1..l).map(|m| m + best[c - 1][l - m] + row[m]).min().unwrap());
            }
            best.push(row);
        }
        for (c, row) in best.iter().enumerate().skip(1) {
            for (l, &least) in row.iter().enumerate() {
                assert_eq!(cost(l, c + 1, &split), least, "{l} steps, {} checkpoints", c + 1);
            }
        }
    }

    /// Following an unknown number of steps and sweeping back: every state is right, and no step is taken more often than
    /// the bound of the algorithm.
    #[test]
    fn sweeps_find_every_state() {
        for (units, steps) in [(0, 9), (1, 9), (2, 30), (3, 30), (6, 100), (9, 100), (20, 1000), (60, 40)] {
            let ledger = Ledger::new();
            let mut checkpoints = Checkpoints::<f64>::new(&ledger, 1);
            for step in 1..steps {
                let room = checkpoints.bytes() / 8 + 2 <= units;
                checkpoints.place_online(step, &[step as f64], &[-(step as f64)], room).unwrap();
                assert!(checkpoints.bytes() <= 8 * units);
            }
            for sweep in 0..2 {
                checkpoints.prepare_sweep();
                let mut taken = vec![0; steps];
                for step in (0..steps).rev() {
                    let (mut x, mut carry) = ([0.0], [0.0]);
                    let mut at = checkpoints.nearest(step, &[0.0], &mut x, &mut carry);
                    assert_eq!(x[0], at as f64);
                    while at < step {
                        assert_eq!(carry[0], -(at as f64), "steps are taken from carried states only");
                        let mut next = next_placement(at, step, step + 1, checkpoints.remaining(units));
                        while at < step {
                            taken[at] += 1;
                            at += 1;
                            (x[0], carry[0]) = (at as f64, -(at as f64));
                            if checkpoints.place(at, next, &x, &carry).unwrap() {
                                next = next_placement(at, step, step + 1, checkpoints.remaining(units));
                            }
                        }
                        assert!(checkpoints.bytes() <= 8 * units);
                    }
                }
                let slots = units / 2 + 1;
                let beta = |r: usize| (1..=r).fold(1.0, |product, i| product * (slots + i) as f64 / i as f64);
                let bound = (0..).find(|&r| beta(r) >= steps as f64).unwrap() + usize::from(sweep == 0);
                assert!(taken.iter().all(|&n| n <= bound), "{units} units, {steps} steps: {taken:?} > {bound}");
            }
        }
    }
}
