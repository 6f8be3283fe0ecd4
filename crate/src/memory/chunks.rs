//! Numbers that grow from step to step.

use std::collections::VecDeque;

use super::{Buffer, Ledger, Plain, Purpose, fallible};
use crate::error::{Error, Result};

/// A growing sequence of items of equal length, in chunks: it never moves what it holds, nor holds twice what it needs, and
/// can give up its beginning.
#[derive(Debug)]
pub struct Chunks<T> {
    item: usize,
    per_chunk: usize,
    /// The number of items that there will be, if that is known.
    expected: usize,
    len: usize,
    /// Chunks dropped at the beginning.
    dropped: usize,
    chunks: VecDeque<Buffer<T>>,
    /// The first item that there is no room for yet.
    room: usize,
    /// The chunk that was written last, and its first item: divisions take as long as small steps do.
    written: (usize, usize),
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
            room: 0,
            written: (0, 0),
            bytes: 0,
            purpose,
            ledger: ledger.clone(),
        }
    }

    /// The bytes that are allocated for this number of items.
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
    pub fn missing_bytes(&self, index: usize) -> usize {
        if index < self.room {
            return 0;
        }
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
        while index >= self.room {
            self.grow()?;
        }
        self.len = self.len.max(index + 1);
        if index.wrapping_sub(self.written.1) >= self.per_chunk {
            let chunk = index / self.per_chunk;
            self.written = (chunk, chunk * self.per_chunk);
        }
        let (chunk, first) = self.written;
        let start = (index - first) * self.item;
        Ok(&mut self.chunks[chunk - self.dropped][start..start + self.item])
    }

    #[cold]
    fn grow(&mut self) -> Result<()> {
        let items = self.items_of(self.dropped + self.chunks.len());
        let chunk = Buffer::recycled(&self.ledger, self.purpose, self.item * items)?;
        fallible(|| self.chunks.try_reserve(1))
            .map_err(|_| Error::OutOfMemory { bytes: size_of::<Buffer<T>>(), purpose: self.purpose.name() })?;
        self.bytes += size_of_val(&*chunk);
        self.chunks.push_back(chunk);
        self.room += self.per_chunk;
        Ok(())
    }

    /// Item `index`.
    pub fn get(&self, index: usize) -> &[T] {
        let start = index % self.per_chunk * self.item;
        &self.chunks[index / self.per_chunk - self.dropped][start..start + self.item]
    }

    /// Drops the items before `index`, and frees each chunk whose items are all dropped.
    pub fn drop_before(&mut self, index: usize) {
        while self.dropped < index / self.per_chunk {
            let Some(chunk) = self.chunks.pop_front() else { return };
            self.bytes -= size_of_val(&*chunk);
            self.dropped += 1;
        }
    }

    /// Drops all items, and frees their memory.
    pub fn clear(&mut self) {
        self.chunks.clear();
        (self.len, self.dropped, self.bytes, self.room, self.written) = (0, 0, 0, 0, (0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_what_was_pushed() {
        let ledger = Ledger::new();
        let mut chunks = Chunks::<f64>::new(&ledger, Purpose::Records, 2, None, CHUNK_BYTES);
        for n in 0..3000 {
            assert_eq!(chunks.missing_bytes(n), if n % 1024 == 0 { CHUNK_BYTES } else { 0 });
            chunks.push(&[n as f64, -(n as f64)]).unwrap();
        }
        assert_eq!(chunks.get(2999), [2999.0, -2999.0]);
        assert_eq!(ledger.live().total(), 3 * CHUNK_BYTES);
        chunks.drop_before(2047);
        assert_eq!((chunks.bytes(), chunks.get(1024)), (2 * CHUNK_BYTES, &[1024.0, -1024.0][..]));
        chunks.drop_before(2048);
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
