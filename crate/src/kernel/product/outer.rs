//! dW += dZ·Hᵀ, summed over lanes.

use super::{load_part, max_tile_rows, store_part, tile};
use crate::kernel::prefetch::Prefetcher;
use crate::kernel::real::Real;
use crate::kernel::simd::{MAX_LEN, Register, Simd, Vector, dispatch, len_of, prefetch};

/// `gradient[row, column] += Σ_lane dz[row, lane] h[column, lane]` over a block of that width.
///
/// `dz` is `[rows][width]`, `h` is `[columns][width]`; `gradient` is row-major with that stride; `scratch` has room for
/// [`outer_scratch`] numbers.
#[inline(always)]
pub fn add_outer<S: Simd, T: Real>(
    lanes: usize,
    (rows, dz): (usize, &[T]),
    (columns, h): (usize, &[T]),
    gradient: &mut [T],
    stride: usize,
    scratch: &mut [T],
    prefetcher: &Prefetcher,
) {
    assert!(dz.len() == rows * lanes && h.len() == columns * lanes && scratch.len() >= outer_scratch::<T>(lanes));
    assert!(rows == 0 || columns == 0 || gradient.len() >= (rows - 1) * stride + columns);
    let len = len_of::<S, T>();
    if lanes == 1 {
        // SAFETY: the lengths are asserted above.
        return unsafe { add_one_lane::<S, T>(dz, h, gradient, stride) };
    }
    // Operations a lane: of inner products with their sums over a register, and of the tiles with the transposition.
    let (inner, tiled) = (2 * rows * columns / len, columns.div_ceil(len) * (rows + 6));
    if inner < tiled && lanes.is_multiple_of(len) {
        let (mut left, mut right) =
            (OuterOperand { rows, numbers: dz, step: stride }, OuterOperand { rows: columns, numbers: h, step: 1 });
        if columns > rows {
            std::mem::swap(&mut left, &mut right);
        }
        // SAFETY: the lengths are asserted above.
        return unsafe {
            match len {
                16 => add_inner::<S, T, 8>(lanes, left, right, gradient.as_mut_ptr()),
                _ => add_inner::<S, T, 4>(lanes, left, right, gradient.as_mut_ptr()),
            }
        };
    }
    let mut first = 0;
    while first < columns {
        let width = (columns - first).min(strip_registers(S::BITS) * len);
        let registers = width.div_ceil(len).next_power_of_two();
        let outer = OuterStrip { lanes, rows, dz, first, width, stride, prefetcher };
        // SAFETY: the lengths are asserted above, and the scratch holds as many registers for every lane.
        unsafe {
            transpose::<S, T>(lanes, registers, (columns, h), first, scratch);
            match (S::BITS, registers) {
                (512, 4) => outer.all::<S, 6, 4>(gradient, scratch),
                (512, 2) => outer.all::<S, 8, 2>(gradient, scratch),
                (256, 2) => outer.all::<S, 6, 2>(gradient, scratch),
                (128, 4) if max_tile_rows(128, 4) == 4 => outer.all::<S, 4, 4>(gradient, scratch),
                (128, 4) => outer.all::<S, 2, 4>(gradient, scratch),
                (128, 2) => outer.all::<S, 4, 2>(gradient, scratch),
                _ => outer.all::<S, 8, 1>(gradient, scratch),
            }
        }
        first += width;
    }
}

/// One side of an outer product: rows of lanes, and how far apart entries of the gradient are from row to row.
#[derive(Clone, Copy)]
struct OuterOperand<'a, T> {
    rows: usize,
    numbers: &'a [T],
    step: usize,
}

/// An outer product with few rows on one side, as inner products: R rows of the left side and two of the right at a time, each sum
/// in a register whose lanes are added up at the end.
///
/// # Safety
/// Both sides have rows of as many lanes, in whole registers; the gradient has the entries that their steps lead to.
#[inline(always)]
unsafe fn add_inner<S: Simd, T: Real, const R: usize>(
    lanes: usize,
    left: OuterOperand<'_, T>,
    right: OuterOperand<'_, T>,
    gradient: *mut T,
) {
    let len = len_of::<S, T>();
    for j in (0..right.rows).step_by(2) {
        for i in (0..left.rows).step_by(R) {
            // Rows beyond the last are the last again, whose sums are not used.
            let mut a = [left.numbers.as_ptr(); R];
            let mut b = [right.numbers.as_ptr(); 2];
            let mut sums = [[S::Vector::<T>::splat(T::zero()); R]; 2];
            let mut line = [T::zero(); 2 * MAX_LEN];
            unsafe {
                for (r, a) in a.iter_mut().enumerate() {
                    *a = a.add((i + r).min(left.rows - 1) * lanes);
                }
                for (c, b) in b.iter_mut().enumerate() {
                    *b = b.add((j + c).min(right.rows - 1) * lanes);
                }
                for at in (0..lanes).step_by(len) {
                    let (first, second) = (S::Vector::<T>::load(b[0].add(at)), S::Vector::<T>::load(b[1].add(at)));
                    for r in 0..R {
                        let factor = S::Vector::<T>::load(a[r].add(at));
                        sums[0][r] = factor.mul_add(first, sums[0][r]);
                        sums[1][r] = factor.mul_add(second, sums[1][r]);
                    }
                }
                for group in (0..2 * R).step_by(len) {
                    let mut square = [S::Vector::<T>::splat(T::zero()); MAX_LEN];
                    for (k, row) in square[..len].iter_mut().enumerate() {
                        *row = sums[(group + k) / R][(group + k) % R];
                    }
                    S::Vector::<T>::transpose(&mut square[..len]);
                    let mut total = square[0];
                    for row in &square[1..len] {
                        total = total.add(*row);
                    }
                    total.store(line.as_mut_ptr().add(group));
                }
                for c in 0..(right.rows - j).min(2) {
                    for r in 0..(left.rows - i).min(R) {
                        let entry = gradient.add((i + r) * left.step + (j + c) * right.step);
                        *entry = *entry + line[c * R + r];
                    }
                }
            }
        }
    }
}

/// Bytes of a gradient that stays in the cache of a core from one block to the next.
const CACHED_BYTES: usize = 1 << 18;

/// The most registers of columns that an outer product takes together.
const fn strip_registers(bits: usize) -> usize {
    if bits == 256 { 2 } else { 4 }
}

/// How many numbers of scratch [`add_outer`] needs for a block with this number of lanes.
pub fn outer_scratch<T: Real>(lanes: usize) -> usize {
    let bits = dispatch::bits();
    if lanes == 1 {
        return 0;
    }
    // Whole registers are transposed.
    lanes.next_multiple_of(bits / 8 / size_of::<T>()) * strip_registers(bits) * bits / 8 / size_of::<T>()
}

/// [`add_outer`] for one lane: `gradient[row, column] += dz[row] h[column]`, rounded as a sum over lanes is.
///
/// # Safety
/// As [`add_outer`] asserts.
#[inline(always)]
unsafe fn add_one_lane<S: Simd, T: Real>(dz: &[T], h: &[T], gradient: &mut [T], stride: usize) {
    let (columns, len) = (h.len(), len_of::<S, T>());
    let mut first = 0;
    unsafe {
        while first + 4 * len <= columns {
            add_one_lane_at::<T, S::Vector<T>, 4>(dz, h, gradient, stride, first);
            first += 4 * len;
        }
        while first + len <= columns {
            add_one_lane_at::<T, S::Vector<T>, 1>(dz, h, gradient, stride, first);
            first += len;
        }
        while first + 2 <= columns {
            add_one_lane_at::<T, S::One<T>, 2>(dz, h, gradient, stride, first);
            first += 2;
        }
        if first < columns {
            add_one_lane_at::<T, S::One<T>, 1>(dz, h, gradient, stride, first);
        }
    }
}

/// Adds all rows, for N vectors of columns from one on, which stay in registers.
///
/// # Safety
/// The conditions that [`add_outer`] asserts must hold, and these columns must exist.
#[inline(always)]
unsafe fn add_one_lane_at<T: Real, V: Vector<T>, const N: usize>(
    dz: &[T],
    h: &[T],
    gradient: &mut [T],
    stride: usize,
    first: usize,
) {
    let zero = V::splat(T::zero());
    let mut right = [zero; N];
    unsafe {
        for (n, right) in right.iter_mut().enumerate() {
            *right = V::load(h.as_ptr().add(first + n * V::LEN));
        }
        let mut to = gradient.as_mut_ptr().add(first);
        for &dz in dz {
            let left = V::splat(dz);
            for (n, right) in right.iter().enumerate() {
                let at = to.add(n * V::LEN);
                V::load(at).add(left.mul_add(*right, zero)).store(at);
            }
            to = to.wrapping_add(stride);
        }
    }
}

/// The outer product of all rows with one strip of columns.
struct OuterStrip<'a, T> {
    lanes: usize,
    rows: usize,
    dz: &'a [T],
    /// The strip's first column, and how many there are.
    first: usize,
    width: usize,
    stride: usize,
    prefetcher: &'a Prefetcher,
}

impl<T: Real> OuterStrip<'_, T> {
    /// Tiles of R rows, and of fewer for those left.
    ///
    /// # Safety
    /// As [`add_outer`] asserts; `transposed` holds V registers for every lane of the block.
    #[inline(always)]
    unsafe fn all<S: Simd, const R: usize, const V: usize>(&self, gradient: &mut [T], transposed: &[T]) {
        unsafe {
            let mut done = self.rows_of::<S, R, V>(0, gradient, transposed);
            if R > 4 {
                done = self.rows_of::<S, 4, V>(done, gradient, transposed);
            }
            if R > 2 {
                done = self.rows_of::<S, 2, V>(done, gradient, transposed);
            }
            self.rows_of::<S, 1, V>(done, gradient, transposed);
        }
    }

    /// Tiles of R rows from row `row` on, as many as there are whole; returns the first row not done.
    ///
    /// # Safety
    /// As [`all`](Self::all).
    #[inline(always)]
    unsafe fn rows_of<S: Simd, const R: usize, const V: usize>(
        &self,
        mut row: usize,
        gradient: &mut [T],
        transposed: &[T],
    ) -> usize {
        let len = len_of::<S, T>();
        // A large gradient is not in the cache: it comes while the sums are formed.
        let far = self.rows * self.stride * size_of::<T>() > CACHED_BYTES;
        while row + R <= self.rows {
            let mut sums = [[[S::Vector::<T>::splat(T::zero()); V]; R]; 1];
            unsafe {
                let mut rows = [self.dz.as_ptr().add(row * self.lanes); R];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = row.add(r * self.lanes);
                }
                if far {
                    for r in 0..R {
                        for v in 0..V {
                            prefetch(gradient.as_ptr().wrapping_add((row + r) * self.stride + self.first + v * len));
                        }
                    }
                }
                tile::<S, T, 1, R, V>(
                    &mut sums,
                    self.lanes,
                    (rows, 0, 1),
                    (transposed.as_ptr(), V * len),
                    self.prefetcher,
                );
            }
            for (r, sums) in sums[0].iter().enumerate() {
                let start = (row + r) * self.stride + self.first;
                let mut target = &mut gradient[start..start + self.width];
                for sum in sums {
                    let count = target.len().min(len);
                    let to = target.as_mut_ptr();
                    // SAFETY: there are as many numbers.
                    unsafe {
                        if count == len {
                            S::Vector::<T>::load(to).add(*sum).store(to);
                        } else {
                            store_part(&[load_part::<T, S::Vector<T>>(to, count).add(*sum)], count, to);
                        }
                    }
                    target = &mut target[count..];
                }
            }
            row += R;
        }
        row
    }
}

/// Features `first ..` of a block as `[lane][registers]`, zero where there are fewer features.
///
/// # Safety
/// `transposed` holds this number of registers for every lane of the block, padded to a multiple of a register.
#[inline(always)]
unsafe fn transpose<S: Simd, T: Real>(
    width: usize,
    registers: usize,
    (features, h): (usize, &[T]),
    first: usize,
    transposed: &mut [T],
) {
    let len = len_of::<S, T>();
    debug_assert!(transposed.len() >= width.next_multiple_of(len) * registers * len);
    for v in 0..registers {
        let present = features.saturating_sub(first + v * len).min(len);
        for lane in (0..width).step_by(len) {
            let count = (width - lane).min(len);
            let mut square = [S::Vector::<T>::splat(T::zero()); MAX_LEN];
            unsafe {
                let from = h.as_ptr().add((first + v * len) * width + lane);
                let to = transposed.as_mut_ptr().add((lane * registers + v) * len);
                // Loops of a length that the compiler knows, so that a square stays in registers.
                if present == len && count == len {
                    for (i, row) in square[..len].iter_mut().enumerate() {
                        *row = S::Vector::<T>::load(from.add(i * width));
                    }
                    S::Vector::<T>::transpose(&mut square[..len]);
                    for (i, row) in square[..len].iter().enumerate() {
                        row.store(to.add(i * registers * len));
                    }
                    continue;
                }
                for (i, row) in square[..len].iter_mut().enumerate() {
                    if i < present {
                        *row = load_part(from.add(i * width), count);
                    }
                }
                S::Vector::<T>::transpose(&mut square[..len]);
                for (i, row) in square[..len].iter().enumerate() {
                    if i < count {
                        row.store(to.add(i * registers * len));
                    }
                }
            }
        }
    }
}
