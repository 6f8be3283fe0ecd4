//! How fast the micro-kernel is when nothing holds it up: the measure of everything built on it.

use std::hint::black_box;

use super::product::Packed;
use super::real::{Real, vector_len};
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};

/// Runs the widest tile on operands in the first-level cache, and returns the floating-point operations done.
///
/// # Errors
/// `OutOfMemory`.
pub fn kernel_peak<T: Real>(repeats: usize) -> Result<f64> {
    let (rows, depth) = (4, 256);
    let ledger = Ledger::new();
    let packed = Packed::new(&ledger, rows, depth, |_, _| T::one())?;
    let width = 4 * vector_len::<T>();
    let h = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, depth * width)?;
    let mut z = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, rows * width)?;
    for _ in 0..repeats {
        let (h, z) = (black_box(&h).as_ptr(), black_box(&mut z).as_mut_ptr());
        // SAFETY: the arrays are depth and rows of that width; a block one strip wide takes no scratch.
        unsafe { packed.times(std::ptr::null(), width, h, z, z) };
    }
    Ok(2.0 * (rows * depth * width) as f64 * repeats as f64)
}
