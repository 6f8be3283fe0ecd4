//! Software prefetch: memory that the next blocks read or write is brought into the cache while products keep the arithmetic units busy.
//!
//! Tapes outgrow the caches: each number is written once, and read once long after. The hardware prefetcher follows one array, but not
//! from one block or tape to the next, nor during products, when memory would otherwise be idle.

use std::cell::Cell;

const LINE: usize = 64;

/// Multiply–adds of registers for each cache line below which a prefetch costs more than it saves.
const MIN_WORK: usize = 32;

/// More bytes than this would evict the data of the block in work.
const MAX_BYTES: usize = 1 << 18;

/// Memory to be prefetched, and at what rate.
pub struct Prefetcher {
    next: Cell<*const u8>,
    left: Cell<usize>,
    /// Bytes for each multiply–add of registers, in units of 2^-8.
    rate: usize,
}

impl Prefetcher {
    /// Prefetches nothing.
    pub fn none() -> Self {
        Self::over(std::ptr::slice_from_raw_parts(std::ptr::null::<u8>(), 0), 0)
    }

    /// Spreads the prefetch of these numbers, which are not accessed here, over this number of multiply–adds.
    pub fn over<T>(numbers: *const [T], work: usize) -> Self {
        let bytes = numbers.len() * size_of::<T>();
        let left = if bytes * MIN_WORK > work * LINE || bytes > MAX_BYTES { 0 } else { bytes };
        Self { next: Cell::new(numbers.cast()), left: Cell::new(left), rate: (bytes << 8) / work.max(1) }
    }

    /// For a loop with these numbers of rounds, and of multiply–adds per round: the first address to prefetch, and the stride in bytes from one round to the
    /// next. With nothing left to prefetch, every round gets the address `near`, which is in the cache anyway.
    #[inline(always)]
    pub fn take<T>(&self, rounds: usize, work: usize, near: *const T) -> (*const u8, usize) {
        if cfg!(not(target_arch = "x86_64")) || self.left.get() == 0 {
            return (near.cast(), 0);
        }
        let (next, step) = (self.next.get(), (work * self.rate) >> 8);
        self.next.set(next.wrapping_add(rounds * step));
        self.left.set(self.left.get().saturating_sub(rounds * step));
        (next, step)
    }
}
