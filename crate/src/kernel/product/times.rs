//! Z = W·H, by tiles over strips of lanes, and for one trajectory alone by columns.

use super::{Order, Packed, group, load_part, store_part, tile};
use crate::kernel::real::Real;
use crate::kernel::simd::{Simd, Vector, dispatch, len_of};

/// `z[row] = start[row] + Σ_k w[row, k] h[k]` for a block: `h` is `[depth][width]`, `z` is `[rows][width]`; `start` is `[rows]`, or null.
/// A deep `h` is copied to `scratch` a strip at a time, so that the product reads it in order.
///
/// # Safety
/// `h` has depth·width readable numbers, `z` rows·width writable ones, `start` what it says, `scratch` [`strip_scratch`] of them.
#[inline(always)]
pub unsafe fn times<S: Simd, T: Real>(
    packed: &Packed<T>,
    start: *const T,
    width: usize,
    h: *const T,
    z: *mut T,
    scratch: *mut T,
) {
    let len = len_of::<S, T>();
    if let Order::Columns(register) = packed.order {
        assert!(register == len && width == 1, "packed for one lane");
        // SAFETY: as above.
        return unsafe { columns_times::<S, T>(packed, start, h, z) };
    }
    assert!(packed.order == Order::Groups(group(S::BITS)), "packed for other registers");
    let block = Operands { packed, start, width, h, z, scratch };
    unsafe {
        let lane = match S::BITS {
            512 => block.strips::<S, 12, 2, 1>(block.strips::<S, 12, 1, 2>(0)),
            256 => block.strips::<S, 6, 2, 1>(block.strips::<S, 6, 1, 2>(0)),
            _ if group(128) == 4 => {
                block.strips::<S, 4, 4, 1>(block.strips::<S, 4, 2, 2>(block.strips::<S, 4, 1, 4>(0)))
            }
            _ => block.strips::<S, 2, 4, 1>(block.strips::<S, 2, 2, 2>(block.strips::<S, 2, 1, 4>(0))),
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
}

impl<T: Real> Operands<'_, T> {
    /// As many strips of V registers as there are from a lane on; returns the first lane not done.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn strips<S: Simd, const G: usize, const N: usize, const V: usize>(&self, mut lane: usize) -> usize {
        while lane + V * len_of::<S, T>() <= self.width {
            unsafe { self.strip::<S, G, N, V>(lane) };
            lane += V * len_of::<S, T>();
        }
        lane
    }

    /// V registers of every row, from a lane on: tiles of N groups of G rows, of one group, and of the rows left.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn strip<S: Simd, const G: usize, const N: usize, const V: usize>(&self, lane: usize) {
        let (len, depth) = (len_of::<S, T>(), self.packed.depth);
        let strip = V * len;
        let (mut h, mut stride) = (unsafe { self.h.add(lane) }, self.width);
        unsafe {
            if depth > DEEP && self.width > strip {
                for k in 0..depth {
                    for v in 0..V {
                        let register = S::Vector::<T>::load(h.add(k * self.width + v * len));
                        register.store(self.scratch.add(k * strip + v * len));
                    }
                }
                (h, stride) = (self.scratch, strip);
            }
            self.rows_of::<S, G, N, V>(h, stride, lane, V * len);
        }
    }

    /// The lanes from one on, fewer than a register, as a register that is filled up.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn last_lanes<S: Simd>(&self, lane: usize) {
        let (len, depth, count) = (len_of::<S, T>(), self.packed.depth, self.width - lane);
        unsafe {
            for k in 0..depth {
                let target = self.scratch.add(k * len);
                S::Vector::<T>::splat(T::zero()).store(target);
                std::ptr::copy_nonoverlapping(self.h.add(k * self.width + lane), target, count);
            }
            match S::BITS {
                512 => self.rows_of::<S, 12, 1, 1>(self.scratch, len, lane, count),
                256 => self.rows_of::<S, 6, 1, 1>(self.scratch, len, lane, count),
                _ if group(128) == 4 => self.rows_of::<S, 4, 1, 1>(self.scratch, len, lane, count),
                _ => self.rows_of::<S, 2, 1, 1>(self.scratch, len, lane, count),
            }
        }
    }

    /// All rows of so many lanes from one on, given the right operand's: tiles of N groups of G rows, of one group, and of the rows
    /// left.
    ///
    /// # Safety
    /// As [`times`]; rows of `h` are `stride` apart and V registers long.
    #[inline(always)]
    unsafe fn rows_of<S: Simd, const G: usize, const N: usize, const V: usize>(
        &self,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
        let rows = self.packed.rows;
        let mut row = 0;
        unsafe {
            while row + N * G <= rows {
                self.tile_at::<S, N, G, V>(row, h, stride, lane, lanes);
                row += N * G;
            }
            if N > 2 && row + 2 * G <= rows {
                self.tile_at::<S, 2, G, V>(row, h, stride, lane, lanes);
                row += 2 * G;
            }
            if N > 1 && row + G <= rows {
                self.tile_at::<S, 1, G, V>(row, h, stride, lane, lanes);
                row += G;
            }
            match rows - row {
                0 => {}
                1 => self.tile_at::<S, 1, 1, V>(row, h, stride, lane, lanes),
                2 if G > 2 => self.tile_at::<S, 1, 2, V>(row, h, stride, lane, lanes),
                3 if G > 3 => self.tile_at::<S, 1, 3, V>(row, h, stride, lane, lanes),
                4 if G > 4 => self.tile_at::<S, 1, 4, V>(row, h, stride, lane, lanes),
                5 if G > 5 => self.tile_at::<S, 1, 5, V>(row, h, stride, lane, lanes),
                6 if G > 6 => self.tile_at::<S, 1, 6, V>(row, h, stride, lane, lanes),
                7 if G > 7 => self.tile_at::<S, 1, 7, V>(row, h, stride, lane, lanes),
                8 if G > 8 => self.tile_at::<S, 1, 8, V>(row, h, stride, lane, lanes),
                9 if G > 9 => self.tile_at::<S, 1, 9, V>(row, h, stride, lane, lanes),
                10 if G > 10 => self.tile_at::<S, 1, 10, V>(row, h, stride, lane, lanes),
                11 if G > 11 => self.tile_at::<S, 1, 11, V>(row, h, stride, lane, lanes),
                _ => unreachable!("fewer rows than a group has"),
            }
        }
    }

    /// One tile, of N groups of G rows from `first` on.
    ///
    /// # Safety
    /// As [`rows_of`](Self::rows_of).
    #[inline(always)]
    unsafe fn tile_at<S: Simd, const N: usize, const G: usize, const V: usize>(
        &self,
        first: usize,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
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
            tile::<S, T, N, G, V>(&mut sums, depth, (rows, G * depth, G), h, stride);
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
    }
}

/// Columns of a deeper product lie too far apart to be read in place: they would share sets of the cache.
const DEEP: usize = 160;

/// Numbers of scratch for [`times`] of that depth, on a block of that width.
pub fn strip_scratch<T: Real>(depth: usize, width: usize) -> usize {
    let register = dispatch::bits() / 8 / size_of::<T>();
    match depth > DEEP {
        true => depth * 4 * register,
        false if width.is_multiple_of(register) => 0,
        false => depth * register,
    }
}

/// [`times`] for one lane, the registers going over the rows.
///
/// # Safety
/// As [`times`].
#[inline(always)]
unsafe fn columns_times<S: Simd, T: Real>(packed: &Packed<T>, start: *const T, h: *const T, z: *mut T) {
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
/// As [`times`].
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
