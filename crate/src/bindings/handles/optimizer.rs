//! Optimizers of a field's parameters, or of an array that belongs to the caller.

use super::field::AnyField;
use super::numbers::{AnyBuffer, Dtype, Erased, Numbers, Source, copied};
use crate::error::{Error, Result};
use crate::optimizer::{Group, Optimizer, Rule};

/// An optimizer of numbers of either type.
pub trait AnyOptimizer {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()>;
    /// What a step makes of numbers that are kept elsewhere.
    fn step_from(&mut self, parameters: &dyn Source, gradient: &dyn Source) -> Result<Box<dyn AnyBuffer>>;
    fn set_groups(&mut self, groups: &dyn Source) -> Result<()>;
    fn steps(&self) -> u64;
    fn set_steps(&mut self, steps: u64);
    fn state(&self) -> Numbers<'_>;
}

/// An optimizer of as many numbers as the groups have.
pub fn optimizer(dtype: &str, rule: Rule, groups: &dyn Source) -> Result<Box<dyn AnyOptimizer>> {
    let groups = groups_of(groups)?;
    Ok(match Dtype::named(dtype)? {
        Dtype::Float32 => Box::new(Optimizer::<f32>::new(rule, groups)?),
        Dtype::Float64 => Box::new(Optimizer::<f64>::new(rule, groups)?),
    })
}

/// Groups as float64 numbers, three for each: how many parameters it has, the learning rate, the weight decay.
fn groups_of(groups: &dyn Source) -> Result<Vec<Group>> {
    let numbers = copied::<f64>(groups)?;
    let groups = numbers.as_chunks::<3>().0.iter();
    Ok(groups
        .map(|&[count, learning_rate, weight_decay]| Group { parameters: count as usize, learning_rate, weight_decay })
        .collect())
}

impl<T: Erased> AnyOptimizer for Optimizer<T> {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()> {
        let gradient = copied(gradient)?;
        let parameters = T::own(field.parameters_mut())
            .ok_or_else(|| Error::option("field", format!("one of {}, as the optimizer", T::DTYPE), "another"))?;
        Optimizer::step(self, parameters, &gradient)
    }

    fn step_from(&mut self, parameters: &dyn Source, gradient: &dyn Source) -> Result<Box<dyn AnyBuffer>> {
        let (mut parameters, gradient) = (copied(parameters)?, copied(gradient)?);
        Optimizer::step(self, &mut parameters, &gradient)?;
        Ok(Box::new(parameters))
    }

    fn set_groups(&mut self, groups: &dyn Source) -> Result<()> {
        self.groups = groups_of(groups)?;
        Ok(())
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
