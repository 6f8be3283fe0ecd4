//! Matrix products on blocks: Z = W·H, and with Wᵀ packed too dH = Wᵀ·dZ, and dW += dZ·Hᵀ.
//!
//! All three are one register tile: R rows of the left operand, broadcast, times V vector registers of the right one.
//! R·V = 8 accumulators and V + R operands fill the 16 registers of x86 and leave the multiply units busy.

use super::real::{Real, vector_len};
use super::simd::Vector;
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};

/// A matrix `[rows, depth]` in the order in which the tile reads it: pairs of rows, `[rows / 2][depth][2]`, an odd last
/// row paired with zeros.
pub struct Packed<T> {
    rows: usize,
    depth: usize,
    pairs: Buffer<T>,
}

impl<T: Real> Packed<T> {
    /// Numbers in a packed matrix.
    pub fn len(rows: usize, depth: usize) -> usize {
        rows.next_multiple_of(2) * depth
    }

    pub fn new(ledger: &Ledger, rows: usize, depth: usize, entry: impl Fn(usize, usize) -> T) -> Result<Self> {
        let pairs = Buffer::zeroed(ledger, Purpose::Network, Self::len(rows, depth))?;
        let mut packed = Self { rows, depth, pairs };
        packed.fill(entry);
        Ok(packed)
    }

    /// Rows and depth.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.depth)
    }

    /// Sets all entries.
    pub fn fill(&mut self, entry: impl Fn(usize, usize) -> T) {
        let depth = self.depth;
        for row in 0..self.rows {
            for k in 0..depth {
                self.pairs[row / 2 * 2 * depth + k * 2 + row % 2] = entry(row, k);
            }
        }
    }

    /// `z[row] = start[row] + Σ_k w[row, k] h[k]` for a block: `h` is `[depth][width]`, `z` is `[rows][width]`, any number of registers
    /// wide; `start` is `[rows][register]`, or null. A deep `h` is copied to `scratch` a strip at a time, so that the product reads it
    /// in order.
    ///
    /// # Safety
    /// `h` has depth·width readable numbers, `z` rows·width writable ones, `start` what it says, `scratch` [`strip_scratch`] of
    /// them.
    pub unsafe fn times(&self, start: *const T, width: usize, h: *const T, z: *mut T, scratch: *mut T) {
        let len = vector_len::<T>();
        let mut lane = 0;
        unsafe {
            while lane + 4 * len <= width {
                self.strip::<2, 4>(start, width, h.add(lane), z.add(lane), scratch);
                lane += 4 * len;
            }
            if lane + 2 * len <= width {
                self.strip::<4, 2>(start, width, h.add(lane), z.add(lane), scratch);
                lane += 2 * len;
            }
            if lane < width {
                self.strip::<8, 1>(start, width, h.add(lane), z.add(lane), scratch);
            }
        }
    }

    /// V registers of every row.
    ///
    /// # Safety
    /// As [`times`](Self::times).
    #[inline(always)]
    unsafe fn strip<const R: usize, const V: usize>(
        &self,
        start: *const T,
        width: usize,
        mut h: *const T,
        z: *mut T,
        scratch: *mut T,
    ) {
        let strip = V * vector_len::<T>();
        let mut stride = width;
        unsafe {
            if self.depth > DEEP && width > strip {
                for k in 0..self.depth {
                    for v in 0..V {
                        let at = v * vector_len::<T>();
                        T::Vector::load(h.add(k * width + at)).store(scratch.add(k * strip + at));
                    }
                }
                (h, stride) = (scratch, strip);
            }
            let mut row = 0;
            while row + R <= self.rows {
                self.tile_at::<R, V>(row, start, stride, h, width, z);
                row += R;
            }
            if R > 4 && row + 4 <= self.rows {
                self.tile_at::<4, V>(row, start, stride, h, width, z);
                row += 4;
            }
            if R > 2 && row + 2 <= self.rows {
                self.tile_at::<2, V>(row, start, stride, h, width, z);
                row += 2;
            }
            if row < self.rows {
                self.tile_at::<1, V>(row, start, stride, h, width, z);
            }
        }
    }

    /// One tile, of rows from `first` on.
    ///
    /// # Safety
    /// As [`times`](Self::times); rows of `h` are `stride` apart, those of `z` `width`.
    #[inline(always)]
    unsafe fn tile_at<const R: usize, const V: usize>(
        &self,
        first: usize,
        start: *const T,
        stride: usize,
        h: *const T,
        width: usize,
        z: *mut T,
    ) {
        let len = vector_len::<T>();
        let mut sums = [[T::Vector::splat(T::zero()); V]; R];
        unsafe {
            if !start.is_null() {
                for (r, sums) in sums.iter_mut().enumerate() {
                    *sums = [T::Vector::load(start.add((first + r) * len)); V];
                }
            }
            let pairs = self.pairs.as_ptr();
            let rows = std::array::from_fn(|r| {
                let row = first + r;
                pairs.add(row / 2 * 2 * self.depth + row % 2)
            });
            tile::<T, R, V>(&mut sums, self.depth, rows, 2, h, stride);
            for (r, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    sum.store(z.add((first + r) * width + v * len));
                }
            }
        }
    }
}

/// Columns of a deeper product lie too far apart to be read in place: they would share sets of the cache.
const DEEP: usize = 160;

/// Numbers of scratch for [`Packed::times`] of that depth.
pub fn strip_scratch<T: Real>(depth: usize) -> usize {
    if depth > DEEP { depth * 4 * vector_len::<T>() } else { 0 }
}

/// `sums[r][v] += Σ_k rows[r][k·stride] · columns[k·pitch][v]`.
///
/// # Safety
/// Each of `rows` has (depth − 1)·stride + 1 readable numbers, `columns` V registers at each of depth multiples of the pitch.
#[inline(always)]
unsafe fn tile<T: Real, const R: usize, const V: usize>(
    sums: &mut [[T::Vector; V]; R],
    depth: usize,
    rows: [*const T; R],
    stride: usize,
    columns: *const T,
    pitch: usize,
) {
    for k in 0..depth {
        unsafe {
            let column: [T::Vector; V] =
                std::array::from_fn(|v| T::Vector::load(columns.add(k * pitch + v * vector_len::<T>())));
            for r in 0..R {
                let factor = T::Vector::splat(*rows[r].add(k * stride));
                for v in 0..V {
                    sums[r][v] = factor.mul_add(column[v], sums[r][v]);
                }
            }
        }
    }
}

/// `gradient[row, column] += Σ_lane dz[row, lane] h[column, lane]` over a block of that width.
///
/// `dz` is `[rows][width]`, `h` is `[columns][width]`; `gradient` is row-major with that stride; `scratch` has room for
/// [`outer_scratch`] numbers.
pub fn add_outer<T: Real>(
    lanes: usize,
    (rows, dz): (usize, &[T]),
    (columns, h): (usize, &[T]),
    gradient: &mut [T],
    stride: usize,
    scratch: &mut [T],
) {
    assert!(dz.len() == rows * lanes && h.len() == columns * lanes && scratch.len() >= outer_scratch::<T>(lanes));
    assert!(rows == 0 || columns == 0 || gradient.len() >= (rows - 1) * stride + columns);
    let mut first = 0;
    while first < columns {
        let width = (columns - first).min(T::LANES);
        let registers = width.div_ceil(vector_len::<T>()).next_power_of_two();
        let outer = Outer { lanes, rows, dz, first, width, stride };
        // SAFETY: the lengths are asserted above, and the scratch holds one register row for every lane.
        unsafe {
            match registers {
                1 => {
                    transpose::<T, 1>(lanes, (columns, h), first, scratch);
                    let done = outer.rows_of::<8, 1>(0, gradient, scratch);
                    let done = outer.rows_of::<4, 1>(done, gradient, scratch);
                    let done = outer.rows_of::<2, 1>(done, gradient, scratch);
                    outer.rows_of::<1, 1>(done, gradient, scratch);
                }
                2 => {
                    transpose::<T, 2>(lanes, (columns, h), first, scratch);
                    let done = outer.rows_of::<4, 2>(0, gradient, scratch);
                    let done = outer.rows_of::<2, 2>(done, gradient, scratch);
                    outer.rows_of::<1, 2>(done, gradient, scratch);
                }
                4 => {
                    transpose::<T, 4>(lanes, (columns, h), first, scratch);
                    let done = outer.rows_of::<2, 4>(0, gradient, scratch);
                    outer.rows_of::<1, 4>(done, gradient, scratch);
                }
                _ => unreachable!("a cache line is 1, 2 or 4 registers"),
            }
        }
        first += width;
    }
}

/// Numbers of scratch for [`add_outer`] on a block of so many lanes.
pub fn outer_scratch<T: Real>(lanes: usize) -> usize {
    lanes * T::LANES
}

/// The outer product of all rows with one strip of columns.
struct Outer<'a, T> {
    lanes: usize,
    rows: usize,
    dz: &'a [T],
    /// The strip's first column, and how many there are.
    first: usize,
    width: usize,
    stride: usize,
}

impl<T: Real> Outer<'_, T> {
    /// Tiles of R rows from row `first_row` on, as many as there are whole; returns the first row not done.
    ///
    /// # Safety
    /// As [`add_outer`] asserts; `transposed` holds V registers for every lane of the block.
    unsafe fn rows_of<const R: usize, const V: usize>(
        &self,
        mut first_row: usize,
        gradient: &mut [T],
        transposed: &[T],
    ) -> usize {
        let len = vector_len::<T>();
        let (dz, transposed) = (self.dz.as_ptr(), transposed.as_ptr());
        while first_row + R <= self.rows {
            let mut sums = [[T::Vector::splat(T::zero()); V]; R];
            unsafe {
                let rows = std::array::from_fn(|r| dz.add((first_row + r) * self.lanes));
                tile::<T, R, V>(&mut sums, self.lanes, rows, 1, transposed, V * len);
            }
            for (r, row) in sums.iter().enumerate() {
                let start = (first_row + r) * self.stride + self.first;
                let target = &mut gradient[start..start + self.width];
                if self.width == V * len {
                    for (v, sum) in row.iter().enumerate() {
                        unsafe {
                            let target = target.as_mut_ptr().add(v * len);
                            T::Vector::load(target).add(*sum).store(target);
                        }
                    }
                } else {
                    // One cache line, the widest tile there is.
                    let mut line = [T::zero(); 16];
                    for (v, sum) in row.iter().enumerate() {
                        unsafe { sum.store(line.as_mut_ptr().add(v * len)) }
                    }
                    for (target, sum) in target.iter_mut().zip(line) {
                        *target = *target + sum;
                    }
                }
            }
            first_row += R;
        }
        first_row
    }
}

/// Features `first ..` of a block as `[lane][V registers]`, zero where there are fewer features.
///
/// # Safety
/// `transposed` holds V registers for every lane of the block.
unsafe fn transpose<T: Real, const V: usize>(
    width: usize,
    (features, h): (usize, &[T]),
    first: usize,
    transposed: &mut [T],
) {
    let len = vector_len::<T>();
    debug_assert!(transposed.len() >= width * V * len);
    for v in 0..V {
        let present = features.saturating_sub(first + v * len).min(len);
        for lane in (0..width).step_by(len) {
            let mut square = [T::Vector::splat(T::zero()); MAX_REGISTER];
            for (i, row) in square[..len].iter_mut().enumerate() {
                if i < present {
                    *row = unsafe { T::Vector::load(h.as_ptr().add((first + v * len + i) * width + lane)) };
                }
            }
            T::transpose(&mut square[..len]);
            for (i, row) in square[..len].iter().enumerate() {
                unsafe { row.store(transposed.as_mut_ptr().add(((lane + i) * V + v) * len)) }
            }
        }
    }
}

/// The most numbers that a register holds on any target: 8 f32 with AVX.
const MAX_REGISTER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers<T: Real>(len: usize, seed: u64) -> Vec<T> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                T::of((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0)
            })
            .collect()
    }

    fn check<T: Real>(rows: usize, depth: usize, registers: usize, seed: u64) {
        let (ledger, len) = (Ledger::new(), vector_len::<T>());
        let width = registers * len;
        let w: Vec<T> = numbers(rows * depth, seed);
        let start: Vec<T> = numbers(rows, seed + 1).into_iter().flat_map(|number| vec![number; len]).collect();
        let h: Vec<T> = numbers(depth * width, seed + 2);
        let dz: Vec<T> = numbers(rows * width, seed + 3);
        let packed = Packed::new(&ledger, rows, depth, |row, k| w[row * depth + k]).unwrap();
        let tolerance = (depth.max(width) as f64) * T::epsilon().wide();
        let close = |left: T, right: f64| (left.wide() - right).abs() <= tolerance;

        let mut z = vec![T::nan(); rows * width];
        let mut scratch = vec![T::nan(); strip_scratch::<T>(depth)];
        // SAFETY: the arrays are as long as it says.
        unsafe { packed.times(start.as_ptr(), width, h.as_ptr(), z.as_mut_ptr(), scratch.as_mut_ptr()) };
        for (row, lane) in (0..rows).flat_map(|row| (0..width).map(move |lane| (row, lane))) {
            let naive: f64 = (0..depth).map(|k| w[row * depth + k].wide() * h[k * width + lane].wide()).sum();
            assert!(close(z[row * width + lane], naive + start[row * len].wide()));
        }

        let stride = depth + 1;
        let mut gradient = vec![T::one(); rows * stride];
        let mut scratch = vec![T::nan(); outer_scratch::<T>(width)];
        add_outer(width, (rows, &dz), (depth, &h), &mut gradient, stride, &mut scratch);
        for row in 0..rows {
            assert_eq!(gradient[row * stride + depth], T::one(), "beyond the columns nothing is written");
            for k in 0..depth {
                let sum: f64 = (0..width).map(|lane| dz[row * width + lane].wide() * h[k * width + lane].wide()).sum();
                assert!(close(gradient[row * stride + k], 1.0 + sum));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn products_match_naive_ones(rows in 1..40_usize, deep in 1..50_usize, registers in 1..18_usize, seed: u32) {
            // Some of them deeper than what is read in place.
            let depth = if deep > 40 { deep * 8 } else { deep };
            check::<f32>(rows, depth, registers, seed.into());
            check::<f64>(rows, depth, registers, seed.into());
        }
    }
}
