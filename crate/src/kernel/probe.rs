//! How fast the micro-kernel is when nothing holds it up: the measure of everything built on it.

use std::hint::black_box;

use super::product::Packed;
use super::real::Real;
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};

/// Runs the tile of a full panel on operands in the first-level cache, and returns the floating-point operations done.
///
/// # Errors
/// `OutOfMemory`.
pub fn kernel_peak<T: Real>(repeats: usize) -> Result<f64> {
    let (rows, depth) = (4, 256);
    let ledger = Ledger::new();
    let packed = Packed::new(&ledger, rows, depth, |_, _| T::one())?;
    let h = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, depth * T::LANES)?;
    let mut z = Buffer::<T>::zeroed(&ledger, Purpose::Workspace, rows * T::LANES)?;
    for _ in 0..repeats {
        packed.times(None, T::LANES, black_box(&h), black_box(&mut z));
    }
    Ok(2.0 * (rows * depth * T::LANES) as f64 * repeats as f64)
}
