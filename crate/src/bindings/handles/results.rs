//! What calls return: values and transposes of fields, solutions, recorded solves and their gradients.

use super::numbers::{Erased, Numbers, Source};
use crate::error::{Error, Result};
use crate::field::FieldVjp;
use crate::gradient::{Gradient, GradientStats, Vjp};
use crate::memory::Bytes;
use crate::solve::{Solution, Stats};

/// The result of a field's pullback.
pub trait AnyFieldVjp {
    fn y(&self) -> Numbers<'_>;
    fn parameters(&self) -> Numbers<'_>;
    fn arguments(&self) -> Numbers<'_>;
    fn t(&self) -> Option<f64>;
}

impl<T: Erased> AnyFieldVjp for FieldVjp<T> {
    fn y(&self) -> Numbers<'_> {
        T::numbers(&self.y)
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(&self.parameters)
    }

    fn arguments(&self) -> Numbers<'_> {
        T::numbers(&self.arguments)
    }

    fn t(&self) -> Option<f64> {
        self.t
    }
}

/// A solution at the output times.
pub trait AnySolution {
    fn y(&self) -> Numbers<'_>;
    /// How many of the times were reached.
    fn reached(&self) -> usize;
    /// The last good state of a solve that failed.
    fn last_state(&self) -> Option<Numbers<'_>>;
    fn stats(&self) -> (&Stats, &Bytes);
}

impl<T: Erased> AnySolution for Solution<T> {
    fn y(&self) -> Numbers<'_> {
        T::numbers(self.flat())
    }

    fn reached(&self) -> usize {
        Solution::y(self).shape()[0]
    }

    fn last_state(&self) -> Option<Numbers<'_>> {
        Solution::last_state(self).and_then(|state| state.to_slice()).map(T::numbers)
    }

    fn stats(&self) -> (&Stats, &Bytes) {
        (&self.stats, &self.peak)
    }
}

/// A solve with what its gradients need.
pub trait AnyTrajectory {
    fn solution(&self) -> &dyn AnySolution;
    /// The gradient for ∂L/∂y, `[times, batch, state]`.
    fn pullback(&mut self, cotangent: &dyn Source) -> Result<Box<dyn AnyGradient>>;
}

impl<T: Erased> AnyTrajectory for Vjp<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn pullback(&mut self, cotangent: &dyn Source) -> Result<Box<dyn AnyGradient>> {
        let expected = self.solution.flat().len();
        if cotangent.len() != expected {
            return Err(Error::shape("cotangent", expected, cotangent.len()));
        }
        let gradient = self.pullback_from(&mut |rows| {
            T::copy(cotangent, 0, rows);
            Ok(())
        })?;
        Ok(Box::new(gradient))
    }
}

/// A gradient.
pub trait AnyGradient {
    fn y0(&self) -> Numbers<'_>;
    fn parameters(&self) -> Numbers<'_>;
    fn arguments(&self) -> Numbers<'_>;
    fn times(&self) -> Option<&[f64]>;
    fn stats(&self) -> &GradientStats;
    /// For each jump, ∂L/∂t of its times followed by ∂L/∂a of its amounts.
    fn changes(&self) -> &[f64] {
        &[]
    }
}

impl<T: Erased> AnyGradient for Gradient<T> {
    fn y0(&self) -> Numbers<'_> {
        T::numbers(Gradient::y0(self).to_slice().expect("row-major"))
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(Gradient::parameters(self))
    }

    fn arguments(&self) -> Numbers<'_> {
        T::numbers(Gradient::arguments(self).to_slice().expect("row-major"))
    }

    fn times(&self) -> Option<&[f64]> {
        self.times.as_deref()
    }

    fn stats(&self) -> &GradientStats {
        &self.stats
    }
}
