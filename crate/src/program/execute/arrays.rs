//! The arrays that a program reads and writes, and parts of them.

use std::ops::Range;

use crate::kernel::instructions::{Base, Bases};
use crate::kernel::real::Real;

/// The arrays of one run, each with its rows; those that the task does not need are empty.
#[derive(Default)]
pub struct Arrays<'a, T> {
    pub state: &'a [T],
    pub arguments: &'a [T],
    pub data: &'a [T],
    pub cotangent: &'a [T],
    /// Read.
    pub tape: &'a [T],
    /// The tape of the next run, where that is known.
    pub next_tape: &'a [T],
    /// Written.
    pub keep: &'a mut [T],
    pub value: &'a mut [T],
    pub state_cotangent: &'a mut [T],
    pub argument_cotangents: &'a mut [T],
    pub gradient: &'a mut [T],
    /// Directions, each as long as f, and their inner products with it.
    pub probes: &'a [T],
    pub products: &'a mut [f64],
}

/// Rows of the arrays of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrayRows {
    pub state: usize,
    pub arguments: usize,
    pub data: usize,
    pub value: usize,
    pub tape: usize,
}

impl<'a, T: Real> Arrays<'a, T> {
    /// Borrows the same arrays again.
    pub fn reborrow(&mut self) -> Arrays<'_, T> {
        Arrays {
            keep: self.keep,
            value: self.value,
            state_cotangent: self.state_cotangent,
            argument_cotangents: self.argument_cotangents,
            gradient: self.gradient,
            products: self.products,
            ..*self
        }
    }

    /// Cuts off the first lanes; the gradient is left out, and probes stay whole.
    pub fn split(&mut self, rows: ArrayRows, lanes: usize) -> Arrays<'a, T> {
        Arrays {
            state: first(&mut self.state, rows.state * lanes),
            arguments: first(&mut self.arguments, rows.arguments * lanes),
            data: first(&mut self.data, rows.data * lanes),
            cotangent: first(&mut self.cotangent, rows.value * lanes),
            tape: first(&mut self.tape, rows.tape * lanes),
            next_tape: first(&mut self.next_tape, rows.tape * lanes),
            keep: first_mut(&mut self.keep, rows.tape * lanes),
            value: first_mut(&mut self.value, rows.value * lanes),
            state_cotangent: first_mut(&mut self.state_cotangent, rows.state * lanes),
            argument_cotangents: first_mut(&mut self.argument_cotangents, rows.arguments * lanes),
            gradient: &mut [],
            probes: self.probes,
            products: &mut [],
        }
    }

    /// The arrays of a block, from its first lane on.
    #[inline(always)]
    pub fn bases(&mut self, rows: ArrayRows, first: usize, width: usize) -> Bases<'_, T> {
        let lanes = first..first + width;
        let mut bases = Bases::none();
        bases.read(Base::State, part(self.state, rows.state, &lanes));
        bases.read(Base::Arguments, part(self.arguments, rows.arguments, &lanes));
        bases.read(Base::Data, part(self.data, rows.data, &lanes));
        bases.read(Base::Cotangent, part(self.cotangent, rows.value, &lanes));
        bases.write(Base::Value, part_mut(self.value, rows.value, &lanes));
        bases.write(Base::StateCotangent, part_mut(self.state_cotangent, rows.state, &lanes));
        bases.write(Base::ArgumentCotangents, part_mut(self.argument_cotangents, rows.arguments, &lanes));
        bases.write(Base::Gradient, self.gradient);
        let (begin, end) = (rows.tape * lanes.start, rows.tape * lanes.end);
        match self.keep.is_empty() {
            true => {
                bases.read(Base::Tape, part(self.tape, rows.tape, &lanes));
                let after = self.tape.get(end..).filter(|after| !after.is_empty());
                let next = after.unwrap_or(self.next_tape);
                bases.set_upcoming(&next[..next.len().min(end - begin)]);
            }
            false => {
                let to = self.keep.len().min(end + (end - begin));
                bases.set_upcoming(&self.keep[end..to]);
                bases.write(Base::Tape, part_mut(self.keep, rows.tape, &lanes));
            }
        }
        bases
    }
}

/// Cuts off the first numbers of an array, if there is one.
fn first<'a, T>(array: &mut &'a [T], numbers: usize) -> &'a [T] {
    let (first, rest) = if array.is_empty() { (*array, *array) } else { array.split_at(numbers) };
    *array = rest;
    first
}

fn first_mut<'a, T>(array: &mut &'a mut [T], numbers: usize) -> &'a mut [T] {
    let all = std::mem::take(array);
    let numbers = if all.is_empty() { 0 } else { numbers };
    let (first, rest) = all.split_at_mut(numbers);
    *array = rest;
    first
}

/// The lanes of a block of an array with `rows` rows, if there is one.
pub fn part<'a, T>(array: &'a [T], rows: usize, lanes: &Range<usize>) -> &'a [T] {
    if array.is_empty() { array } else { &array[rows * lanes.start..rows * lanes.end] }
}

pub fn part_mut<'a, T>(array: &'a mut [T], rows: usize, lanes: &Range<usize>) -> &'a mut [T] {
    if array.is_empty() { array } else { &mut array[rows * lanes.start..rows * lanes.end] }
}
