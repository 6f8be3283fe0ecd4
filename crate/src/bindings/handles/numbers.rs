//! Arrays of either number type. They come in as a [`Source`], which copies them into memory that was asked for with care, and are
//! read where they lie, as [`Numbers`].

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// A number type by its name in the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Float64,
}

impl Dtype {
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Dtype::Float32),
            "float64" => Ok(Dtype::Float64),
            _ => Err(Error::option("dtype", "float32 or float64", name)),
        }
    }
}

/// An array that belongs to the caller.
pub trait Source {
    fn len(&self) -> usize;
    /// Copies the numbers from `start` on; the array is of that number type.
    fn copy_f32(&self, start: usize, to: &mut [f32]);
    fn copy_f64(&self, start: usize, to: &mut [f64]);
}

/// Numbers of either type.
pub enum Numbers<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Numbers<'_> {
    pub fn pointer(&self) -> usize {
        match self {
            Numbers::Single(numbers) => numbers.as_ptr() as usize,
            Numbers::Double(numbers) => numbers.as_ptr() as usize,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Numbers::Single(numbers) => numbers.len(),
            Numbers::Double(numbers) => numbers.len(),
        }
    }
}

/// Numbers that may be changed.
pub enum NumbersMut<'a> {
    Single(&'a mut [f32]),
    Double(&'a mut [f64]),
}

/// A number type that handles erase.
pub trait Erased: Real {
    fn copy(source: &dyn Source, start: usize, to: &mut [Self]);
    fn numbers(numbers: &[Self]) -> Numbers<'_>;
    fn numbers_mut(numbers: &mut [Self]) -> NumbersMut<'_>;
    /// The numbers, if they are of this type.
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [Self]>;
}

impl Erased for f32 {
    fn copy(source: &dyn Source, start: usize, to: &mut [f32]) {
        source.copy_f32(start, to);
    }
    fn numbers(numbers: &[f32]) -> Numbers<'_> {
        Numbers::Single(numbers)
    }
    fn numbers_mut(numbers: &mut [f32]) -> NumbersMut<'_> {
        NumbersMut::Single(numbers)
    }
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [f32]> {
        if let NumbersMut::Single(numbers) = numbers { Some(numbers) } else { None }
    }
}

impl Erased for f64 {
    fn copy(source: &dyn Source, start: usize, to: &mut [f64]) {
        source.copy_f64(start, to);
    }
    fn numbers(numbers: &[f64]) -> Numbers<'_> {
        Numbers::Double(numbers)
    }
    fn numbers_mut(numbers: &mut [f64]) -> NumbersMut<'_> {
        NumbersMut::Double(numbers)
    }
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [f64]> {
        if let NumbersMut::Double(numbers) = numbers { Some(numbers) } else { None }
    }
}

/// A copy of an array, in memory that was asked for with care.
pub fn copied<T: Erased>(source: &dyn Source) -> Result<Buffer<T>> {
    let mut numbers = Buffer::zeroed(&Ledger::new(), Purpose::Workspace, source.len())?;
    T::copy(source, 0, &mut numbers);
    Ok(numbers)
}

/// A batch of states, one after the other, as `[batch, features]`.
pub(super) fn rows<T: Real>(numbers: &[T], batch: usize) -> Result<ArrayView2<'_, T>> {
    let state = numbers.len().checked_div(batch).unwrap_or(0);
    ArrayView2::from_shape((batch, state), numbers)
        .map_err(|_| Error::shape("y", format!("a multiple of the batch, {batch}"), numbers.len()))
}

/// An array that stays until it is dropped.
pub trait AnyBuffer {
    fn numbers(&self) -> Numbers<'_>;
}

impl<T: Erased> AnyBuffer for Buffer<T> {
    fn numbers(&self) -> Numbers<'_> {
        T::numbers(self)
    }
}
