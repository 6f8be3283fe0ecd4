//! The ledger: every buffer of a solve, counted by purpose, and the buffers it counts.
//!
//! Workspaces are allocated once and sized by formulas; allocation fails with [`Error::OutOfMemory`] and never aborts.

mod lines;
pub(crate) mod reserve;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::{Error, Result};
use lines::Lines;
pub use lines::{Plain, release};
use reserve::fallible;

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The parameters, and the copies packed for the kernels.
    Network,
    /// The gradient of the parameters, its carry, and the sum over one step.
    Gradient,
    /// Step states x_n (and, where tapes are kept, their stage states) retained over the solve.
    Checkpoints,
    /// (t_n, h_n) of every step, 16 bytes each, and the step of every output.
    Records,
    /// Stage states, slopes and their cotangents within one step.
    Stages,
    /// Activations retained for the reverse of the network.
    Tape,
    /// The solution at the output times.
    Output,
    /// ∂L/∂y at the output times.
    Cotangent,
    /// The running state and cotangent with their carries, and scratch of the kernels.
    Workspace,
}

impl Purpose {
    /// Every purpose, in the order of the fields of [`Bytes`].
    pub const ALL: [Purpose; 9] = [
        Purpose::Network,
        Purpose::Gradient,
        Purpose::Checkpoints,
        Purpose::Records,
        Purpose::Stages,
        Purpose::Tape,
        Purpose::Output,
        Purpose::Cotangent,
        Purpose::Workspace,
    ];

    /// Its name in the public API.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Network => "network",
            Purpose::Gradient => "gradient",
            Purpose::Checkpoints => "checkpoints",
            Purpose::Records => "records",
            Purpose::Stages => "stages",
            Purpose::Tape => "tape",
            Purpose::Output => "output",
            Purpose::Cotangent => "cotangent",
            Purpose::Workspace => "workspace",
        }
    }
}

/// Bytes by purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes([usize; Purpose::ALL.len()]);

impl Bytes {
    /// Bytes for one purpose.
    pub fn of(&self, purpose: Purpose) -> usize {
        self.0[purpose as usize]
    }

    /// Bytes for all purposes.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// Bytes in all living buffers of all ledgers of this process.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Bytes in all living buffers: what a leak would raise.
pub fn live_bytes() -> usize {
    LIVE.load(Relaxed)
}

/// Live and peak bytes of one solve and its gradients, by purpose. Clones share the same counts.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: [AtomicUsize; Purpose::ALL.len()],
    peak: [AtomicUsize; Purpose::ALL.len()],
    live_total: AtomicUsize,
    peak_total: AtomicUsize,
}

impl Ledger {
    /// A ledger without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in buffers that are alive.
    pub fn live(&self) -> Bytes {
        Bytes(std::array::from_fn(|purpose| self.0.live[purpose].load(Relaxed)))
    }

    /// Bytes by purpose at the moment when their total was greatest, so that they add up to it.
    pub fn peak(&self) -> Bytes {
        Bytes(std::array::from_fn(|purpose| self.0.peak[purpose].load(Relaxed)))
    }

    /// Counts bytes that live elsewhere and as long as the solve, such as the field's own parameters.
    pub(crate) fn note(&self, purpose: Purpose, bytes: usize) {
        self.0.live[purpose as usize].fetch_add(bytes, Relaxed);
        let total = self.0.live_total.fetch_add(bytes, Relaxed) + bytes;
        if total > self.0.peak_total.fetch_max(total, Relaxed) {
            for (peak, live) in self.0.peak.iter().zip(&self.0.live) {
                peak.store(live.load(Relaxed), Relaxed);
            }
        }
    }

    fn forget(&self, purpose: Purpose, bytes: usize) {
        self.0.live[purpose as usize].fetch_sub(bytes, Relaxed);
        self.0.live_total.fetch_sub(bytes, Relaxed);
    }
}

/// A fixed number of numbers, zero at first, counted in a ledger until dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    lines: Lines,
    len: usize,
    purpose: Purpose,
    ledger: Ledger,
    numbers: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// So many zeros.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn zeroed(ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        Self::of(Lines::zeroed, ledger, purpose, len)
    }

    /// So many zeros, or what a buffer before had: for what is written before it is read.
    fn used(ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        Self::of(Lines::used, ledger, purpose, len)
    }

    #[inline(never)]
    fn of(lines: fn(usize) -> Option<Lines>, ledger: &Ledger, purpose: Purpose, len: usize) -> Result<Self> {
        let bytes = len.saturating_mul(size_of::<T>());
        let lines = lines(bytes).ok_or(Error::OutOfMemory { bytes, purpose: purpose.name() })?;
        ledger.note(purpose, bytes);
        LIVE.fetch_add(bytes, Relaxed);
        Ok(Self { lines, len, purpose, ledger: ledger.clone(), numbers: PhantomData })
    }

    /// A copy.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn copied(ledger: &Ledger, purpose: Purpose, numbers: &[T]) -> Result<Self> {
        let mut buffer = Self::zeroed(ledger, purpose, numbers.len())?;
        buffer.copy_from_slice(numbers);
        Ok(buffer)
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
        self.ledger.forget(self.purpose, bytes);
        LIVE.fetch_sub(bytes, Relaxed);
    }
}

/// A plain vector whose length the caller chose, so that it may be more than there is.
pub(crate) fn filled<T: Clone>(purpose: Purpose, len: usize, value: T) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    refill(purpose, &mut numbers, len, value)?;
    Ok(numbers)
}

/// As [`filled`], using again what a vector has allocated.
pub(crate) fn refill<T: Clone>(purpose: Purpose, numbers: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<T>());
    numbers.clear();
    fallible(|| numbers.try_reserve(len)).map_err(|_| Error::OutOfMemory { bytes, purpose: purpose.name() })?;
    numbers.resize(len, value);
    Ok(())
}

/// Makes room for so many items in all, for what is pushed later.
pub(crate) fn reserve_in<T>(purpose: Purpose, items: &mut Vec<T>, len: usize) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<T>());
    fallible(|| items.try_reserve(len.saturating_sub(items.len())))
        .map_err(|_| Error::OutOfMemory { bytes, purpose: purpose.name() })
}

/// A growing list, counted in a ledger by what it has allocated until it is dropped: for what is too short for [`Chunks`].
#[derive(Debug)]
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

    /// Bytes of a list to which so many items were appended, one after the other.
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
        self.ledger.note(self.purpose, now - self.bytes);
        LIVE.fetch_add(now - self.bytes, Relaxed);
        self.bytes = now;
        Ok(())
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
        self.ledger.forget(self.purpose, self.bytes);
        LIVE.fetch_sub(self.bytes, Relaxed);
    }
}

/// A growing sequence of items of equal length, in chunks: it never moves what it holds, nor holds twice what it needs, and
/// can give up its beginning.
#[derive(Debug)]
pub struct Chunks<T> {
    item: usize,
    per_chunk: usize,
    /// The number of items that there will be, if that is known.
    expected: usize,
    len: usize,
    /// Chunks given up at the beginning.
    dropped: usize,
    chunks: VecDeque<Buffer<T>>,
    bytes: usize,
    purpose: Purpose,
    ledger: Ledger,
}

/// The size that a chunk aims at.
pub const CHUNK_BYTES: usize = 16 * 1024;

impl<T: Plain> Chunks<T> {
    /// Items of `item` numbers each, as many in a chunk as fit `chunk_bytes`, at least one; the last chunk is no larger than
    /// the number of items that is `expected` asks for.
    pub fn new(ledger: &Ledger, purpose: Purpose, item: usize, expected: Option<usize>, chunk_bytes: usize) -> Self {
        Self {
            item,
            per_chunk: (chunk_bytes / (item * size_of::<T>()).max(1)).max(1),
            expected: expected.unwrap_or(usize::MAX),
            len: 0,
            dropped: 0,
            chunks: VecDeque::new(),
            bytes: 0,
            purpose,
            ledger: ledger.clone(),
        }
    }

    /// Bytes allocated for so many items.
    pub fn bytes_of(&self, items: usize) -> usize {
        (0..items.div_ceil(self.per_chunk)).map(|chunk| self.items_of(chunk) * self.item * size_of::<T>()).sum()
    }

    /// Items, those given up included.
    pub fn count(&self) -> usize {
        self.len
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes still to be allocated before there is room for item `index`.
    pub fn lacks(&self, index: usize) -> usize {
        let chunks = self.dropped + self.chunks.len()..index / self.per_chunk + 1;
        chunks.map(|chunk| self.items_of(chunk) * self.item * size_of::<T>()).sum()
    }

    fn items_of(&self, chunk: usize) -> usize {
        let begins = chunk * self.per_chunk;
        if self.expected > begins { self.per_chunk.min(self.expected - begins) } else { self.per_chunk }
    }

    /// Appends a copy.
    pub fn push(&mut self, item: &[T]) -> Result<()> {
        self.slot(self.len)?.copy_from_slice(item);
        Ok(())
    }

    /// Item `index`, to be written if it is new; there is room for all up to it from then on.
    pub fn slot(&mut self, index: usize) -> Result<&mut [T]> {
        while index / self.per_chunk >= self.dropped + self.chunks.len() {
            let items = self.items_of(self.dropped + self.chunks.len());
            let chunk = Buffer::used(&self.ledger, self.purpose, self.item * items)?;
            fallible(|| self.chunks.try_reserve(1))
                .map_err(|_| Error::OutOfMemory { bytes: size_of::<Buffer<T>>(), purpose: self.purpose.name() })?;
            self.bytes += size_of_val(&*chunk);
            self.chunks.push_back(chunk);
        }
        self.len = self.len.max(index + 1);
        let start = index % self.per_chunk * self.item;
        Ok(&mut self.chunks[index / self.per_chunk - self.dropped][start..start + self.item])
    }

    /// Item `index`.
    pub fn get(&self, index: usize) -> &[T] {
        let start = index % self.per_chunk * self.item;
        &self.chunks[index / self.per_chunk - self.dropped][start..start + self.item]
    }

    /// Gives up the items before `index`; their memory as soon as a whole chunk is given up.
    pub fn give_up(&mut self, index: usize) {
        while self.dropped < index / self.per_chunk {
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.bytes -= size_of_val(&*chunk);
            self.dropped += 1;
        }
    }

    /// Gives up all items and their memory.
    pub fn clear(&mut self) {
        self.chunks.clear();
        (self.len, self.dropped, self.bytes) = (0, 0, 0);
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

    #[test]
    fn chunks_keep_what_was_pushed() {
        let ledger = Ledger::new();
        let mut chunks = Chunks::<f64>::new(&ledger, Purpose::Records, 2, None, CHUNK_BYTES);
        for n in 0..3000 {
            assert_eq!(chunks.lacks(n), if n % 1024 == 0 { CHUNK_BYTES } else { 0 });
            chunks.push(&[n as f64, -(n as f64)]).unwrap();
        }
        assert_eq!(chunks.get(2999), [2999.0, -2999.0]);
        assert_eq!(ledger.live().total(), 3 * CHUNK_BYTES);
        chunks.give_up(2047);
        assert_eq!((chunks.bytes(), chunks.get(1024)), (2 * CHUNK_BYTES, &[1024.0, -1024.0][..]));
        chunks.give_up(2048);
        chunks.push(&[1.0, 2.0]).unwrap();
        assert_eq!((ledger.live().total(), chunks.get(3000)), (CHUNK_BYTES, &[1.0, 2.0][..]));
    }

    #[test]
    fn chunks_are_no_larger_than_expected() {
        let ledger = Ledger::new();
        let mut chunks = Chunks::<f64>::new(&ledger, Purpose::Records, 2, Some(1500), CHUNK_BYTES);
        for _ in 0..1500 {
            chunks.push(&[0.0; 2]).unwrap();
        }
        assert_eq!(ledger.live().total(), 1500 * 16);
    }
}
