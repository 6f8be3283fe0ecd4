//! Memory that is read or written soon, brought near while products keep the arithmetic units busy.
//!
//! Tapes outgrow the caches: each number is written once, and read once long after. Processors follow one array by themselves, but not
//! from one block or tape to the next, and not while they multiply, when memory has nothing else to do.

use std::cell::Cell;

const LINE: usize = 64;

/// Multiply–adds of registers for each line below which it would cost more than it saves.
const LEAST_WORK: usize = 32;

/// More bytes would drive out of the cache what is worked on.
const MOST: usize = 1 << 18;

/// Memory that is still to come, and at what pace.
pub struct Ahead {
    next: Cell<*const u8>,
    left: Cell<usize>,
    /// Bytes for each multiply–add of registers, in units of 2^-8.
    pace: usize,
}

impl Ahead {
    /// Nothing.
    pub fn none() -> Self {
        Self::over(std::ptr::slice_from_raw_parts(std::ptr::null::<u8>(), 0), 0)
    }

    /// These numbers, which are not touched here, while so many multiply–adds are done.
    pub fn over<T>(numbers: *const [T], work: usize) -> Self {
        let bytes = numbers.len() * size_of::<T>();
        let left = if bytes * LEAST_WORK > work * LINE || bytes > MOST { 0 } else { bytes };
        Self { next: Cell::new(numbers.cast()), left: Cell::new(left), pace: (bytes << 8) / work.max(1) }
    }

    /// A loop of so many rounds of so many multiply–adds is about to run: the first address to be brought near, and how many bytes are
    /// between one round's and the next one's. Without any it is always the same one, which is near.
    #[inline(always)]
    pub fn take<T>(&self, rounds: usize, work: usize, near: *const T) -> (*const u8, usize) {
        if cfg!(not(target_arch = "x86_64")) || self.left.get() == 0 {
            return (near.cast(), 0);
        }
        let (next, step) = (self.next.get(), (work * self.pace) >> 8);
        self.next.set(next.wrapping_add(rounds * step));
        self.left.set(self.left.get().saturating_sub(rounds * step));
        (next, step)
    }
}
