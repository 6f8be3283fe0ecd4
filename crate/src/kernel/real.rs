//! The numbers of a solve: f32 or f64.

use std::fmt::{Debug, Display};

use num_traits::Float;

use super::elementary::Elementary;
use super::simd::{Registers, dispatch};
use crate::memory::Plain;

/// The number type of states, parameters and gradients: f32 or f64, and no other type can be one.
///
/// Times, step sizes and error norms are f64 whatever the type.
pub trait Real:
    Float + Default + Debug + Display + Send + Sync + std::iter::Sum + 'static + Registers + Elementary + Plain
{
    /// Trajectories that lie side by side in memory, in one cache line of 64 bytes: 16 in f32, 8 in f64.
    const LANES: usize = 64 / size_of::<Self>();
    /// The name of the type as the JavaScript package has it: "float32" or "float64".
    const DTYPE: &'static str;

    /// The nearest number of this type.
    fn of(number: f64) -> Self;
    /// The same number as an f64, without rounding.
    fn wide(self) -> f64;
}

impl Real for f32 {
    const DTYPE: &'static str = "float32";

    fn of(number: f64) -> f32 {
        number as f32
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const DTYPE: &'static str = "float64";

    fn of(number: f64) -> f64 {
        number
    }
    fn wide(self) -> f64 {
        self
    }
}

/// Numbers in one vector register of T.
#[inline(always)]
pub(crate) fn vector_len<T: Real>() -> usize {
    dispatch::bits() / 8 / size_of::<T>()
}
