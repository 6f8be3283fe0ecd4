//! How fast the matrix product is when nothing holds it up: the measure of everything built on it.

use std::hint::black_box;

use super::prefetch::Prefetcher;
use super::product::{MatrixView, PackOrder, Packed, multiply};
use super::real::{Real, vector_len};
use super::simd::Simd;
use super::simd::dispatch::{WithSimd, dispatch};
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};

/// Runs the kernel of the matrix product `repeats` times on operands in the first-level cache, and returns the number of floating-point
/// operations. Divided by the time of the call, that is the peak performance of this machine on one thread.
///
/// # Errors
/// `OutOfMemory`.
pub fn kernel_peak<T: Real>(repeats: usize) -> Result<f64> {
    // As many rows as tiles of any width divide.
    let (rows, depth) = (12, 64);
    let ledger = Ledger::new();
    let mut packed = Packed::new(&ledger, PackOrder::of::<T>(false), rows, depth)?;
    packed.fill(MatrixView { numbers: &vec![T::one(); rows * depth], first: 0, row_step: depth, step: 1 });
    let width = 4 * vector_len::<T>();
    let h = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, depth * width)?;
    let mut z = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, rows * width)?;
    dispatch(Probe { packed: &packed, width, h: &h, z: &mut z, repeats });
    Ok(2.0 * (rows * depth * width) as f64 * repeats as f64)
}

struct Probe<'a, T> {
    packed: &'a Packed<T>,
    width: usize,
    h: &'a [T],
    z: &'a mut [T],
    repeats: usize,
}

impl<T: Real> WithSimd for Probe<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { packed, width, h, z, repeats } = self;
        let none = Prefetcher::none();
        for _ in 0..repeats {
            let (h, z) = (black_box(h).as_ptr(), black_box(&mut *z).as_mut_ptr());
            // SAFETY: the arrays are depth and rows of that width; whole registers of no great depth take no scratch.
            unsafe { multiply::<S, T>(packed, std::ptr::null(), width, h, z, z, &none) };
        }
    }
}
