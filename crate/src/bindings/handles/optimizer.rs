//! Optimizers of a field's parameters.

use super::field::AnyField;
use super::numbers::{Erased, Numbers, Source, copied};
use crate::error::{Error, Result};
use crate::optimizer::Optimizer;

/// An optimizer of a field's parameters.
pub trait AnyOptimizer {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()>;
    fn learning_rate(&self) -> f64;
    fn set_learning_rate(&mut self, rate: f64);
    fn steps(&self) -> u64;
    fn set_steps(&mut self, steps: u64);
    fn state(&self) -> Numbers<'_>;
}

impl<T: Erased> AnyOptimizer for Optimizer<T> {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()> {
        let gradient = copied(gradient)?;
        let parameters = T::own(field.parameters_mut())
            .ok_or_else(|| Error::option("field", format!("one of {}, as the optimizer", T::DTYPE), "another"))?;
        Optimizer::step(self, parameters, &gradient)
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.learning_rate = rate;
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn state(&self) -> Numbers<'_> {
        T::numbers(Optimizer::state(self))
    }
}
