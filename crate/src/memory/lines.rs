//! Memory in whole cache lines, so that no register is loaded from two of them; natively, what is given back is kept for what is
//! asked for next, as fresh pages cost more than the sums that are written to them.

#[cfg(not(target_arch = "wasm32"))]
use std::sync::Mutex;

use super::reserve::fallible;

/// A type of which zero bytes are the number zero, and any bytes some number.
///
/// # Safety
/// It has no padding, no invalid values and no greater alignment than a line.
pub unsafe trait Plain: Copy {}
// SAFETY: numbers are.
unsafe impl Plain for u8 {}
unsafe impl Plain for usize {}
unsafe impl Plain for f32 {}
unsafe impl Plain for f64 {}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Numbers that fill lines from the beginning.
#[derive(Debug)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// Zeros; none where memory has run out.
    pub fn zeroed(bytes: usize) -> Option<Self> {
        Self::new(bytes, true)
    }

    /// Zeros, or what recycled memory holds; none where memory has run out.
    pub fn recycled(bytes: usize) -> Option<Self> {
        Self::new(bytes, false)
    }

    fn new(bytes: usize, clear: bool) -> Option<Self> {
        let count = bytes.div_ceil(size_of::<Line>());
        let mut lines = spare(count).unwrap_or_default();
        let ready = if clear { 0 } else { lines.len().min(count) };
        lines.truncate(ready);
        // In debug builds NaN, so that reading it shows.
        let filling = if clear || cfg!(not(debug_assertions)) { 0 } else { u8::MAX };
        fallible(|| lines.try_reserve_exact(count - ready)).ok()?;
        // SAFETY: there is room for them, and any bytes are lines. (`resize` would write them one by one.)
        unsafe {
            lines.as_mut_ptr().add(ready).write_bytes(filling, count - ready);
            lines.set_len(count);
        }
        Some(Self(lines))
    }

    /// The first numbers.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn numbers<T: Plain>(&self, len: usize) -> &[T] {
        assert!(len * size_of::<T>() <= size_of_val(&*self.0));
        // SAFETY: the lines are aligned, long enough by the assertion, and any bytes are numbers.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) }
    }

    /// Does what [`numbers`](Self::numbers) does, for a type that is not known to be plain.
    ///
    /// # Safety
    /// The type must be as [`Plain`] requires.
    pub unsafe fn any<T>(&self, len: usize) -> &[T] {
        assert!(len * size_of::<T>() <= size_of_val(&*self.0));
        // SAFETY: as above, by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) }
    }

    /// The first numbers, mutable; it panics if there are fewer.
    pub fn numbers_mut<T: Plain>(&mut self, len: usize) -> &mut [T] {
        assert!(len * size_of::<T>() <= size_of_val(&*self.0));
        // SAFETY: as above, and they are borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

#[cfg(target_arch = "wasm32")]
fn spare(_lines: usize) -> Option<Vec<Line>> {
    None
}

/// Lines that were freed, to be recycled.
#[cfg(not(target_arch = "wasm32"))]
static SPARE: Mutex<SpareLines> = Mutex::new(SpareLines::NONE);

#[cfg(not(target_arch = "wasm32"))]
struct SpareLines {
    bytes: usize,
    /// Small ones, by the number of their lines: allocators are slow to give aligned memory, and small buffers are many.
    small: [Vec<Vec<Line>>; SMALL_SIZES],
    /// Large ones, the latest last.
    large: Vec<Vec<Line>>,
}

/// Fewer lines than these, up to 2 KiB, have a list for each number of them.
#[cfg(not(target_arch = "wasm32"))]
const SMALL_SIZES: usize = 33;

#[cfg(not(target_arch = "wasm32"))]
impl SpareLines {
    const NONE: Self = Self { bytes: 0, small: [const { Vec::new() }; SMALL_SIZES], large: Vec::new() };
}

/// How many bytes are kept.
#[cfg(not(target_arch = "wasm32"))]
const MAX_SPARE_BYTES: usize = 256 << 20;

/// Spare memory for at least `lines` lines and not much more, if there is any.
#[cfg(not(target_arch = "wasm32"))]
fn spare(lines: usize) -> Option<Vec<Line>> {
    let mut spare = SPARE.lock().ok()?;
    let found = match spare.small.get_mut(lines) {
        Some(small) => small.pop()?,
        None => {
            let fits = |vector: &Vec<Line>| vector.capacity() >= lines && vector.capacity() <= lines + lines / 4;
            let index = spare.large.iter().rposition(fits)?;
            spare.large.swap_remove(index)
        }
    };
    spare.bytes -= found.capacity() * size_of::<Line>();
    Some(found)
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Lines {
    fn drop(&mut self) {
        let lines = self.0.capacity();
        let bytes = lines * size_of::<Line>();
        if lines == 0 {
            return;
        }
        let Ok(mut spare) = SPARE.lock() else { return };
        if spare.bytes + bytes <= MAX_SPARE_BYTES {
            spare.bytes += bytes;
            let kept = std::mem::take(&mut self.0);
            match spare.small.get_mut(lines) {
                Some(small) => small.push(kept),
                None => spare.large.push(kept),
            }
        }
    }
}

/// Returns to the system the freed memory that the crate keeps for reuse, at most 256 MiB. In WebAssembly, where nothing is kept, it does
/// nothing.
pub fn release() {
    #[cfg(not(target_arch = "wasm32"))]
    if let Ok(mut spare) = SPARE.lock() {
        *spare = SpareLines::NONE;
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_zero_when_they_are_used_again() {
        for _ in 0..3 {
            let mut lines = Lines::zeroed(100_000).unwrap();
            assert!(lines.numbers::<f32>(25_000).iter().all(|&x| x == 0.0));
            assert_eq!(lines.numbers::<f32>(1).as_ptr() as usize % 64, 0);
            lines.numbers_mut::<f32>(25_000).fill(1.0);
        }
        release();
    }

    #[test]
    #[should_panic]
    fn no_more_numbers_than_there_are() {
        Lines::zeroed(64).unwrap().numbers::<f64>(9);
    }
}
