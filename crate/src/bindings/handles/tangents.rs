//! Solutions with their tangents along directions.

use super::numbers::{Erased, Numbers, Source, copied};
use super::results::{AnyGradient, AnySolution};
use crate::error::{Error, Result};
use crate::field::Directions;
use crate::memory::Bytes;
use crate::sensitivity::{Jvp, JvpVjp};

/// Tangents of the inputs of a solve, along directions.
pub struct TangentSources<'a> {
    pub directions: usize,
    pub y0: Option<&'a dyn Source>,
    pub parameters: Option<&'a dyn Source>,
    pub arguments: Option<&'a dyn Source>,
    /// float64, whatever the number type.
    pub times: Option<&'a dyn Source>,
}

/// Copies directions, and runs with them.
pub(super) fn with_directions<T: Erased, R>(
    along: &TangentSources<'_>,
    body: impl FnOnce(&Directions<'_, T>) -> Result<R>,
) -> Result<R> {
    let numbers = |given: Option<&dyn Source>| given.map(copied::<T>).transpose();
    let (y0, parameters, arguments) = (numbers(along.y0)?, numbers(along.parameters)?, numbers(along.arguments)?);
    let times = along.times.map(copied::<f64>).transpose()?;
    body(&Directions {
        count: along.directions,
        y0: y0.as_deref(),
        parameters: parameters.as_deref(),
        arguments: arguments.as_deref(),
        times: times.as_deref(),
    })
}

/// A solution with its tangents along directions.
pub trait AnyJvp {
    fn solution(&self) -> &dyn AnySolution;
    /// `[directions, times, batch, state]`.
    fn tangents(&self) -> Numbers<'_>;
    fn peak(&self) -> &Bytes;
}

impl<T: Erased> AnyJvp for Jvp<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn tangents(&self) -> Numbers<'_> {
        T::numbers(self.flat())
    }

    fn peak(&self) -> &Bytes {
        &self.peak
    }
}

/// A solve with its derivative along a direction, of which losses have second derivatives.
pub trait AnyJvpVjp {
    fn solution(&self) -> &dyn AnySolution;
    /// `[times, batch, state]`.
    fn tangent(&self) -> Numbers<'_>;
    /// The product of a loss's second derivatives with the direction.
    fn pullback(&mut self, cotangent: &dyn Source, curvature: &dyn Source) -> Result<Box<dyn AnyGradient>>;
}

impl<T: Erased> AnyJvpVjp for JvpVjp<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn tangent(&self) -> Numbers<'_> {
        T::numbers(JvpVjp::tangent(self).to_slice().expect("row-major"))
    }

    fn pullback(&mut self, cotangent: &dyn Source, curvature: &dyn Source) -> Result<Box<dyn AnyGradient>> {
        let expected = self.solution.flat().len();
        for (argument, given) in [("cotangent", cotangent), ("curvature", curvature)] {
            if given.len() != expected {
                return Err(Error::shape(argument, expected, given.len()));
            }
        }
        let gradient = self.pullback_from(&mut |output, cotangents, curvatures| {
            T::copy(cotangent, output * cotangents.len(), cotangents);
            T::copy(curvature, output * curvatures.len(), curvatures);
        })?;
        Ok(Box::new(gradient))
    }
}
