//! Memory of solves and gradients, counted by purpose.
//!
//! Workspaces are allocated once and sized by formulas. Where memory runs out, the call returns [`Error::OutOfMemory`]; nothing
//! aborts.

mod chunks;
mod ledger;
mod lines;
pub(crate) mod reserve;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{Error, Result};
pub(crate) use chunks::{CHUNK_BYTES, Chunks};
pub(crate) use ledger::Ledger;
pub use ledger::{Bytes, Purpose};
use lines::Lines;
pub(crate) use lines::Plain;
pub use lines::release;
use reserve::fallible;

/// Bytes in all living buffers of all ledgers of this process.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many bytes all solutions, recorded solves, fields and optimizers of this process hold now.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// An array of numbers that a call returns. It dereferences to a slice. Its bytes count in [`live_bytes`] until it is dropped.
pub struct Buffer<T> {
    lines: Lines,
    len: usize,
    purpose: Purpose,
    ledger: Ledger,
    numbers: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// `len` zeros.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn zeroed(ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        Self::of(Lines::zeroed, ledger, purpose, len)
    }

    /// `len` numbers, zeros or what recycled memory holds: for arrays that are written before they are read. Tests find NaN there.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn recycled(ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        Self::of(Lines::recycled, ledger, purpose, len)
    }

    #[inline(never)]
    fn of(lines: fn(usize) -> Option<Lines>, ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        let bytes = len.saturating_mul(size_of::<T>());
        let lines = lines(bytes).ok_or(Error::OutOfMemory { bytes, purpose: purpose.name() })?;
        ledger.add(purpose, bytes);
        LIVE.fetch_add(bytes, Relaxed);
        Ok(Self { lines, len, purpose, ledger: ledger.clone(), numbers: PhantomData })
    }

    /// A copy.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn copied(ledger: &Ledger, purpose: Purpose, numbers: &[T]) -> Result<Self> {
        let mut buffer = Self::recycled(ledger, purpose, numbers.len())?;
        buffer.copy_from_slice(numbers);
        Ok(buffer)
    }
}

impl<T: fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: a buffer holds only plain numbers, and at least `len` of them.
        fmt::Debug::fmt(unsafe { self.lines.any::<T>(self.len) }, f)
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.lines.numbers(self.len)
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.lines.numbers_mut(self.len)
    }
}

impl<T> Drop for Buffer<T> {
    #[inline(never)]
    fn drop(&mut self) {
        let bytes = self.len * size_of::<T>();
        self.ledger.remove(self.purpose, bytes);
        LIVE.fetch_sub(bytes, Relaxed);
    }
}

/// A plain vector whose length the caller chose, so that it may be more than there is.
pub(crate) fn filled<T: Clone>(purpose: Purpose, len: usize, value: T) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    refill(purpose, &mut numbers, len, value)?;
    Ok(numbers)
}

/// Does what [`filled`] does, reusing the memory of a vector.
pub(crate) fn refill<T: Clone>(purpose: Purpose, numbers: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<T>());
    numbers.clear();
    fallible(|| numbers.try_reserve(len)).map_err(|_| Error::OutOfMemory { bytes, purpose: purpose.name() })?;
    numbers.resize(len, value);
    Ok(())
}

/// Makes room for this number of items in all, to be pushed later.
pub(crate) fn reserve_in<T>(purpose: Purpose, items: &mut Vec<T>, len: usize) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<T>());
    fallible(|| items.try_reserve(len.saturating_sub(items.len())))
        .map_err(|_| Error::OutOfMemory { bytes, purpose: purpose.name() })
}

/// A list that a call returns. It dereferences to a slice. Its bytes count in [`live_bytes`] until it is dropped.
pub struct List<T> {
    items: Vec<T>,
    bytes: usize,
    purpose: Purpose,
    ledger: Ledger,
}

impl<T> List<T> {
    /// An empty list.
    pub(crate) fn new(ledger: &Ledger, purpose: Purpose) -> Self {
        Self { items: Vec::new(), bytes: 0, purpose, ledger: ledger.clone() }
    }

    /// Bytes that it has allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of a list to which this number of items were appended, one after another.
    pub(crate) fn bytes_of(items: usize) -> usize {
        if items == 0 { 0 } else { items.next_power_of_two().max(4) * size_of::<T>() }
    }

    /// Appends an item.
    #[inline(never)]
    pub(crate) fn push(&mut self, item: T) -> Result<()> {
        self.reserve(1)?;
        self.items.push(item);
        Ok(())
    }

    /// Appends items.
    pub(crate) fn extend(&mut self, items: impl ExactSizeIterator<Item = T>) -> Result<()> {
        self.reserve(items.len())?;
        self.items.extend(items);
        Ok(())
    }

    #[inline(never)]
    fn reserve(&mut self, more: usize) -> Result<()> {
        if self.items.capacity() - self.items.len() >= more {
            return Ok(());
        }
        let Self { items, purpose, .. } = self;
        let bytes = (items.len() + more).saturating_mul(size_of::<T>());
        fallible(|| items.try_reserve(more).or_else(|_| items.try_reserve_exact(more)))
            .map_err(|_| Error::OutOfMemory { bytes, purpose: purpose.name() })?;
        let now = self.items.capacity() * size_of::<T>();
        self.ledger.add(self.purpose, now - self.bytes);
        LIVE.fetch_add(now - self.bytes, Relaxed);
        self.bytes = now;
        Ok(())
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        self.ledger.remove(self.purpose, self.bytes);
        LIVE.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_adds_up_and_outlives_its_buffers() {
        let ledger = Ledger::new();
        let tape = Buffer::<f64>::zeroed(&ledger, Purpose::Tape, 100).unwrap();
        let stages = Buffer::<f32>::zeroed(&ledger, Purpose::Stages, 50).unwrap();
        drop(tape);
        let more = Buffer::<f32>::zeroed(&ledger, Purpose::Stages, 10).unwrap();
        assert_eq!(ledger.live().total(), 240);
        drop((stages, more));
        assert_eq!(ledger.live().total(), 0);
        assert_eq!(ledger.peak().total(), 1000);
        assert_eq!((ledger.peak().of(Purpose::Tape), ledger.peak().of(Purpose::Stages)), (800, 200));
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        let error = Buffer::<f64>::zeroed(&Ledger::new(), Purpose::Tape, usize::MAX / 16).unwrap_err();
        assert_eq!(error.code(), "OUT_OF_MEMORY");
    }
}
