//! Z = W·H, by tiles over strips of lanes, and for one trajectory alone by columns.

use super::{PackOrder, Packed, load_part, max_tile_rows, store_part, tile};
use crate::kernel::prefetch::Prefetcher;
use crate::kernel::real::Real;
use crate::kernel::simd::{Simd, Vector, dispatch, len_of};

/// `z[row] = start[row] + Σ_k w[row, k] h[k]` for a block: `h` is `[depth][width]`, `z` is `[rows][width]`; `start` is `[rows]`, or null.
/// A deep `h` that several tiles read is copied to `scratch` a strip at a time, so that they read it in order.
///
/// # Safety
/// `h` has depth·width readable numbers, `z` rows·width writable ones, `start` what it says, `scratch` [`strip_scratch`] of them.
#[inline(always)]
pub unsafe fn multiply<S: Simd, T: Real>(
    packed: &Packed<T>,
    start: *const T,
    width: usize,
    h: *const T,
    z: *mut T,
    scratch: *mut T,
    prefetcher: &Prefetcher,
) {
    let len = len_of::<S, T>();
    if let PackOrder::Columns(register) = packed.order {
        assert!(register == len && width == 1, "packed for one lane");
        // SAFETY: as above.
        return unsafe { multiply_columns::<S, T>(packed, start, h, z) };
    }
    assert!(packed.order == PackOrder::Groups(max_tile_rows(S::BITS, 1)), "packed for other registers");
    let block = Operands { packed, start, width, h, z, scratch, prefetcher };
    unsafe {
        // Few rows leave registers for more lanes, and need them: few sums would wait for one another.
        let lane = block.strips::<S, 1, 4>(block.strips::<S, 1, 8>(0));
        let lane = match S::BITS {
            128 => block.strips::<S, 4, 1>(block.strips::<S, 2, 2>(lane)),
            _ => block.strips::<S, 2, 1>(block.strips::<S, 1, 2>(lane)),
        };
        if lane < width {
            block.last_lanes::<S>(lane);
        }
    }
}

/// The operands of a product.
struct Operands<'a, T> {
    packed: &'a Packed<T>,
    start: *const T,
    width: usize,
    h: *const T,
    z: *mut T,
    scratch: *mut T,
    prefetcher: &'a Prefetcher,
}

/// Lanes of the right operand, its rows `stride` apart, and where in the block they begin.
#[derive(Clone, Copy)]
struct RightOperand<T> {
    h: *const T,
    stride: usize,
    lane: usize,
    lanes: usize,
}

impl<T: Real> Operands<'_, T> {
    /// As many strips of V registers as there are from a lane on, if tiles can be that wide; returns the first lane not done.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn strips<S: Simd, const N: usize, const V: usize>(&self, mut lane: usize) -> usize {
        let most = const { max_tile_rows(S::BITS, V) };
        while most > 0 && self.packed.group <= most && lane + V * len_of::<S, T>() <= self.width {
            unsafe { self.strip::<S, N, V>(lane) };
            lane += V * len_of::<S, T>();
        }
        lane
    }

    /// V registers of every row, from a lane on: tiles of N groups, and of one.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn strip<S: Simd, const N: usize, const V: usize>(&self, lane: usize) {
        let (len, &Packed { rows, depth, group, .. }) = (len_of::<S, T>(), self.packed);
        let strip = V * len;
        let (mut h, mut stride) = (unsafe { self.h.add(lane) }, self.width);
        unsafe {
            if depth > DEEP_PRODUCT && self.width > strip && rows > group {
                for k in 0..depth {
                    for v in 0..V {
                        let register = S::Vector::<T>::load(h.add(k * self.width + v * len));
                        register.store(self.scratch.add(k * strip + v * len));
                    }
                }
                (h, stride) = (self.scratch, strip);
            }
            self.rows_of::<S, N, V>(h, stride, lane, V * len);
        }
    }

    /// The lanes from one on, fewer than a register, as a register that is filled up.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn last_lanes<S: Simd>(&self, lane: usize) {
        let (len, depth, count) = (len_of::<S, T>(), self.packed.depth, self.width - lane);
        unsafe {
            for k in 0..depth {
                let target = self.scratch.add(k * len);
                S::Vector::<T>::splat(T::zero()).store(target);
                std::ptr::copy_nonoverlapping(self.h.add(k * self.width + lane), target, count);
            }
            self.rows_of::<S, 1, 1>(self.scratch, len, lane, count);
        }
    }

    /// Computes all rows of some lanes, from a first lane on, given those of the right operand.
    ///
    /// # Safety
    /// As [`multiply`]; rows of `h` are `stride` apart and V registers long.
    #[inline(always)]
    unsafe fn rows_of<S: Simd, const N: usize, const V: usize>(
        &self,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
        let &Packed { rows, group, .. } = self.packed;
        let most = const { max_tile_rows(S::BITS, V) };
        let right = RightOperand { h, stride, lane, lanes };
        let mut row = 0;
        unsafe {
            while row < rows {
                row = match group.min(rows - row) {
                    1 => self.groups::<S, N, 1, V>(row, right),
                    2 => self.groups::<S, N, 2, V>(row, right),
                    3 if most > 2 => self.groups::<S, N, 3, V>(row, right),
                    4 if most > 3 => self.groups::<S, N, 4, V>(row, right),
                    5 if most > 4 => self.groups::<S, N, 5, V>(row, right),
                    6 if most > 5 => self.groups::<S, N, 6, V>(row, right),
                    7 if most > 6 => self.groups::<S, N, 7, V>(row, right),
                    8 if most > 7 => self.groups::<S, N, 8, V>(row, right),
                    9 if most > 8 => self.groups::<S, N, 9, V>(row, right),
                    10 if most > 9 => self.groups::<S, N, 10, V>(row, right),
                    11 if most > 10 => self.groups::<S, N, 11, V>(row, right),
                    12 if most > 11 => self.groups::<S, N, 12, V>(row, right),
                    13 if most > 12 => self.groups::<S, N, 13, V>(row, right),
                    14 if most > 13 => self.groups::<S, N, 14, V>(row, right),
                    _ => unreachable!("a group has no more rows"),
                }
            }
        }
    }
    /// A tile of N groups of G rows from one on, or of one where there are not as many; returns the first row not done.
    ///
    /// # Safety
    /// As [`rows_of`](Self::rows_of).
    #[inline(always)]
    unsafe fn groups<S: Simd, const N: usize, const G: usize, const V: usize>(
        &self,
        row: usize,
        right: RightOperand<T>,
    ) -> usize {
        let left = (self.packed.rows - row) / G;
        unsafe {
            match N {
                _ if left >= N => self.tile_at::<S, N, G, V>(row, right),
                4 if left >= 2 => self.tile_at::<S, 2, G, V>(row, right),
                _ => self.tile_at::<S, 1, G, V>(row, right),
            }
        }
    }

    /// A tile of N groups of G rows from `first` on; returns the first row after it.
    ///
    /// # Safety
    /// As [`rows_of`](Self::rows_of).
    #[inline(always)]
    unsafe fn tile_at<S: Simd, const N: usize, const G: usize, const V: usize>(
        &self,
        first: usize,
        RightOperand { h, stride, lane, lanes }: RightOperand<T>,
    ) -> usize {
        let (len, depth) = (len_of::<S, T>(), self.packed.depth);
        let mut sums = [[[S::Vector::<T>::splat(T::zero()); V]; G]; N];
        unsafe {
            if !self.start.is_null() {
                for (r, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                    *sums = [S::Vector::<T>::splat(*self.start.add(first + r)); V];
                }
            }
            let mut rows = [self.packed.numbers.as_ptr().add(first * depth); G];
            for (g, row) in rows.iter_mut().enumerate() {
                *row = row.add(g);
            }
            tile::<S, T, N, G, V>(&mut sums, depth, (rows, G * depth, G), (h, stride), self.prefetcher);
            for (r, row) in sums.as_flattened().iter().enumerate() {
                let z = self.z.add((first + r) * self.width + lane);
                if lanes < V * len {
                    store_part(&row[..1], lanes, z);
                } else {
                    for (v, sum) in row.iter().enumerate() {
                        sum.store(z.add(v * len));
                    }
                }
            }
        }
        first + N * G
    }
}

/// Columns of a deeper product lie too far apart to be read in place: they would share sets of the cache.
const DEEP_PRODUCT: usize = 160;

/// Numbers of scratch for [`multiply`] of that depth, on a block of that width.
pub fn strip_scratch<T: Real>(depth: usize, width: usize) -> usize {
    let register = dispatch::bits() / 8 / size_of::<T>();
    match depth > DEEP_PRODUCT {
        true => depth * 4 * register,
        false if width.is_multiple_of(register) => 0,
        false => depth * register,
    }
}

/// [`multiply`] for one lane, the registers going over the rows.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn multiply_columns<S: Simd, T: Real>(packed: &Packed<T>, start: *const T, h: *const T, z: *mut T) {
    let (len, rows) = (len_of::<S, T>(), packed.rows);
    let mut row = 0;
    unsafe {
        while row + 8 * len <= rows {
            columns_tile::<S, T, 8>(packed, row, start, h, z);
            row += 8 * len;
        }
        if row + 4 * len <= rows {
            columns_tile::<S, T, 4>(packed, row, start, h, z);
            row += 4 * len;
        }
        if row + 2 * len <= rows {
            columns_tile::<S, T, 2>(packed, row, start, h, z);
            row += 2 * len;
        }
        while row < rows {
            columns_tile::<S, T, 1>(packed, row, start, h, z);
            row += len;
        }
    }
}

/// V registers of rows; the last one may have fewer than it holds.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn columns_tile<S: Simd, T: Real, const V: usize>(
    packed: &Packed<T>,
    row: usize,
    start: *const T,
    h: *const T,
    z: *mut T,
) {
    let len = len_of::<S, T>();
    let stride = packed.rows.next_multiple_of(len);
    let count = (packed.rows - row).min(V * len);
    let mut sums = [S::Vector::<T>::splat(T::zero()); V];
    unsafe {
        if !start.is_null() {
            let from = start.add(row);
            if count < len {
                sums[0] = load_part(from, count);
            } else {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::Vector::<T>::load(from.add(v * len));
                }
            }
        }
        let columns = packed.numbers.as_ptr().add(row);
        for k in 0..packed.depth {
            let factor = S::Vector::<T>::splat(*h.add(k));
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = S::Vector::<T>::load(columns.add(k * stride + v * len)).mul_add(factor, *sum);
            }
        }
        if count < V * len {
            store_part(&sums, count, z.add(row));
        } else {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(z.add(row + v * len));
            }
        }
    }
}
