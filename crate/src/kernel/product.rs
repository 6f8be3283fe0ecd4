//! Matrix products on blocks: Z = W·H, and with Wᵀ packed too dH = Wᵀ·dZ, and dW += dZ·Hᵀ.
//!
//! All three are one register tile: R rows of the left operand, broadcast, times V vector registers of the right one. R·V
//! accumulators and V + 1 operands fill the registers that there are and leave the multiply units busy. For one trajectory alone,
//! whose block is one lane wide, the registers go over the rows of W instead. Either way an output adds its products in the same
//! order, so that its bits are the same.

mod multiply;
mod outer;

use super::prefetch::Prefetcher;
use super::real::Real;
use super::simd::{MAX_LEN, Simd, Vector, dispatch, len_of, prefetch};
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};
pub use multiply::{multiply, strip_scratch};
pub use outer::{add_outer, outer_scratch};

/// In which order a packed matrix lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackOrder {
    /// Groups of about as many rows, that many at most, each `[depth][rows of the group]`; the last one has the rows that are left.
    Groups(usize),
    /// `[depth][rows]`, the rows filled up with zeros to a multiple of that number.
    Columns(usize),
}

impl PackOrder {
    /// For blocks of one lane, or of more.
    pub fn of<T: Real>(one_lane: bool) -> Self {
        let bits = dispatch::bits();
        match one_lane {
            true => PackOrder::Columns(bits / 8 / size_of::<T>()),
            false => PackOrder::Groups(max_tile_rows(bits, 1)),
        }
    }
}

/// The most rows that a tile takes of a group, with this number of registers for each: as many sums as leave registers for the operands. With
/// one or two registers it is the most rows of a group.
const fn max_tile_rows(bits: usize, registers: usize) -> usize {
    match (bits, registers) {
        (512, 1 | 2) => 14,
        (512, 4) => 6,
        (512, 8) => 2,
        (256, 1 | 2) => 6,
        (256, 4) => 2,
        // There are 32 of them, where x86 has 16 of that width and WebAssembly is compiled for as many.
        (128, 1 | 2 | 4) if cfg!(target_arch = "aarch64") => 4,
        (128, 1 | 2 | 4) => 2,
        _ => 0,
    }
}

/// A matrix `[rows, depth]` in the order in which a tile reads it.
pub struct Packed<T> {
    rows: usize,
    depth: usize,
    order: PackOrder,
    /// Rows of a group, so that all are about as large: a tile of a few rows takes half the time of one of many.
    group: usize,
    numbers: Buffer<T>,
}

/// Where a matrix lies in an array: entry (row, k) is `numbers[first + row · row_step + k · step]`.
pub struct MatrixView<'a, T> {
    pub numbers: &'a [T],
    pub first: usize,
    pub row_step: usize,
    pub step: usize,
}

impl<T: Real> Packed<T> {
    /// All zeros.
    pub fn new(ledger: &Ledger, order: PackOrder, rows: usize, depth: usize) -> Result<Self> {
        let (group, len) = match order {
            PackOrder::Groups(most) => (rows.div_ceil(rows.div_ceil(most).max(1)).max(1), rows * depth),
            PackOrder::Columns(register) => (rows.max(1), rows.next_multiple_of(register) * depth),
        };
        Ok(Self { rows, depth, order, group, numbers: Buffer::zeroed(ledger, Purpose::Network, len)? })
    }

    /// Rows and depth.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.depth)
    }

    /// Sets all entries, in an order in which what is read is in one piece.
    pub fn fill(&mut self, view: MatrixView<'_, T>) {
        let MatrixView { numbers, first, row_step, step } = view;
        let Self { rows, depth, order, group, .. } = *self;
        for begin in (0..rows).step_by(group) {
            let size = group.min(rows - begin);
            // Numbers from one k to the next.
            let pitch = if let PackOrder::Columns(register) = order { rows.next_multiple_of(register) } else { size };
            let packed = &mut self.numbers[begin * depth..][..pitch * depth];
            let first = first + begin * row_step;
            if row_step == 1 {
                for (k, column) in packed.chunks_exact_mut(pitch).enumerate() {
                    column[..size].copy_from_slice(&numbers[first + k * step..][..size]);
                }
                continue;
            }
            for row in 0..size {
                let source = numbers[first + row * row_step..].iter().step_by(step);
                packed.chunks_exact_mut(pitch).zip(source).for_each(|(column, &number)| column[row] = number);
            }
        }
    }
}

/// Accumulators of a tile: N groups of G rows, V registers each. Loops over groups and over rows are short enough to be unrolled, where one over
/// all rows may not be, and would keep the sums in memory.
type Accumulators<S, T, const N: usize, const G: usize, const V: usize> = [[[<S as Simd>::Vector<T>; V]; G]; N];

/// `sums[n][g][v] += Σ_k rows[g][n·group + k·step] · columns[k·pitch][v]`.
///
/// # Safety
/// `rows` have readable numbers there for all n, g and k, `columns` V registers at each of depth multiples of the pitch.
#[inline(always)]
unsafe fn tile<S: Simd, T: Real, const N: usize, const G: usize, const V: usize>(
    sums: &mut Accumulators<S, T, N, G, V>,
    depth: usize,
    (rows, group, step): ([*const T; G], usize, usize),
    (columns, pitch): (*const T, usize),
    prefetcher: &Prefetcher,
) {
    let len = len_of::<S, T>();
    let (mut next, stride) = prefetcher.take(depth, N * G * V, columns);
    // What stays in registers while the loop goes on: sums behind a reference would be stored each time.
    let mut all = *sums;
    for k in 0..depth {
        prefetch(next);
        next = next.wrapping_add(stride);
        unsafe {
            let mut column = [S::Vector::<T>::load(columns.add(k * pitch)); V];
            for (v, column) in column.iter_mut().enumerate().skip(1) {
                *column = S::Vector::<T>::load(columns.add(k * pitch + v * len));
            }
            for (n, sums) in all.iter_mut().enumerate() {
                for (row, sums) in rows.iter().zip(sums) {
                    let factor = S::Vector::<T>::splat(*row.add(n * group + k * step));
                    for v in 0..V {
                        sums[v] = factor.mul_add(column[v], sums[v]);
                    }
                }
            }
        }
    }
    *sums = all;
}

/// Stores the first numbers of registers.
///
/// # Safety
/// `to` points to `count` writable numbers.
#[inline(always)]
unsafe fn store_part<T: Real, V: Vector<T>>(registers: &[V], count: usize, to: *mut T) {
    let mut line = [T::zero(); 4 * MAX_LEN];
    unsafe {
        for (v, register) in registers.iter().enumerate() {
            register.store(line.as_mut_ptr().add(v * V::LEN));
        }
        std::ptr::copy_nonoverlapping(line.as_ptr(), to, count);
    }
}

/// A register whose first numbers are those, and whose others are zero.
///
/// # Safety
/// `from` points to `count` readable numbers.
#[inline(always)]
unsafe fn load_part<T: Real, V: Vector<T>>(from: *const T, count: usize) -> V {
    let mut line = [T::zero(); MAX_LEN];
    unsafe {
        std::ptr::copy_nonoverlapping(from, line.as_mut_ptr(), count);
        V::load(line.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simd::dispatch::WithSimd;
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

    /// Products of one shape, with the registers of a machine.
    struct Check {
        rows: usize,
        depth: usize,
        width: usize,
        seed: u64,
    }

    impl WithSimd for Check {
        type Output = ();
        fn run<S: Simd>(self) {
            let Check { rows, depth, width, seed } = self;
            check::<S, f32>(rows, depth, width, seed);
            check::<S, f64>(rows, depth, width, seed);
        }
    }

    fn check<S: Simd, T: Real>(rows: usize, depth: usize, width: usize, seed: u64) {
        let (ledger, none) = (Ledger::new(), Prefetcher::none());
        let w: Vec<T> = numbers(rows * depth, seed);
        let start: Vec<T> = numbers(rows, seed + 1);
        let h: Vec<T> = numbers(depth * width, seed + 2);
        let dz: Vec<T> = numbers(rows * width, seed + 3);
        let order = PackOrder::of::<T>(width == 1);
        let mut packed = Packed::new(&ledger, order, rows, depth).unwrap();
        packed.fill(MatrixView { numbers: &w, first: 0, row_step: depth, step: 1 });
        let tolerance = (depth.max(width) as f64) * T::epsilon().wide();
        let close = |left: T, right: f64| (left.wide() - right).abs() <= tolerance;

        let mut z = vec![T::nan(); rows * width];
        let mut scratch = vec![T::nan(); strip_scratch::<T>(depth, width)];
        // SAFETY: the arrays are as long as it says.
        unsafe {
            multiply::<S, T>(&packed, start.as_ptr(), width, h.as_ptr(), z.as_mut_ptr(), scratch.as_mut_ptr(), &none)
        };
        for (row, lane) in (0..rows).flat_map(|row| (0..width).map(move |lane| (row, lane))) {
            let naive: f64 = (0..depth).map(|k| w[row * depth + k].wide() * h[k * width + lane].wide()).sum();
            assert!(close(z[row * width + lane], naive + start[row].wide()));
        }

        let stride = depth + 1;
        let mut gradient = vec![T::one(); rows * stride];
        let mut scratch = vec![T::nan(); outer_scratch::<T>(width)];
        add_outer::<S, T>(width, (rows, &dz), (depth, &h), &mut gradient, stride, &mut scratch, &none);
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
        fn products_match_naive_ones(rows in 1..40_usize, deep in 1..50_usize, width in 1..140_usize, seed: u32) {
            // Some of them deeper than what is read in place.
            let depth = if deep > 40 { deep * 8 } else { deep };
            for width in [width, 1] {
                dispatch::dispatch(Check { rows, depth, width, seed: seed.into() });
            }
        }
    }
}
