//! Adam and gradient descent. They change flat parameters in place.

use std::ops::Range;

use crate::error::{Error, Result, finite};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// How an optimizer computes a step from a gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Adam (Kingma and Ba 2015), with decoupled weight decay (AdamW; Loshchilov and Hutter 2019).
    Adam {
        /// How much of the first moment a step keeps, from 0 to below 1; usually 0.9.
        beta1: f64,
        /// How much of the second moment a step keeps, from 0 to below 1; usually 0.999.
        beta2: f64,
        /// Added to the root of the second moment, zero or more; usually 1e-8.
        epsilon: f64,
    },
    /// Gradient descent with heavy-ball momentum: velocity = momentum · velocity + gradient, and parameters −= learning_rate ·
    /// velocity. Weight decay is decoupled here too.
    Sgd {
        /// How much of the velocity a step keeps, from 0 to below 1; 0 is plain gradient descent.
        momentum: f64,
    },
}

/// Consecutive parameters that share a learning rate and a weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// How many parameters the group has.
    pub parameters: usize,
    /// The learning rate of the next step, zero or more.
    pub learning_rate: f64,
    /// Each step first multiplies the parameters by 1 − learning_rate · weight_decay. Zero or more.
    pub weight_decay: f64,
}

/// An optimizer of flat parameters: a rule, the rates of groups, and the moments or velocities of earlier steps.
#[derive(Debug)]
pub struct Optimizer<T> {
    rule: Rule,
    /// The groups, which cover all parameters in their order. Between steps you may change rates, or group the same parameters differently.
    pub groups: Vec<Group>,
    /// How many steps have been taken. Adam uses it to correct the bias of its moments.
    pub steps: u64,
    /// Adam's first moments and then its second; the velocity of momentum.
    state: Buffer<T>,
    parameters: usize,
}

impl<T: Real> Optimizer<T> {
    /// An optimizer before its first step, for as many parameters as the groups have together.
    ///
    /// # Errors
    /// `Option` for rates out of range, `OutOfMemory`.
    pub fn new(rule: Rule, groups: Vec<Group>) -> Result<Self> {
        check_rates(&groups)?;
        let moments = match rule {
            Rule::Adam { beta1, beta2, epsilon } => {
                check_range("beta1", beta1, 1.0)?;
                check_range("beta2", beta2, 1.0)?;
                check_range("epsilon", epsilon, f64::INFINITY)?;
                2
            }
            Rule::Sgd { momentum } => {
                check_range("momentum", momentum, 1.0)?;
                usize::from(momentum > 0.0)
            }
        };
        let parameters = total(&groups);
        let state = Buffer::zeroed(&Ledger::new(), Purpose::Workspace, parameters.saturating_mul(moments))?;
        Ok(Self { rule, groups, steps: 0, state, parameters })
    }

    /// The rule by which the optimizer computes a step from a gradient.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What a checkpoint must store besides [`steps`](Self::steps): Adam's first moments followed by its second moments, or the velocity of
    /// gradient descent; empty for gradient descent without momentum.
    pub fn state(&self) -> &[T] {
        &self.state
    }

    /// The moments or the velocity, laid out as [`state`](Self::state), for you to restore from a checkpoint.
    pub fn state_mut(&mut self) -> &mut [T] {
        &mut self.state
    }

    /// Takes a step, which changes `parameters` in place, given the gradient of the loss with respect to them. If it fails, nothing has changed.
    ///
    /// # Errors
    /// `Option` for a rate out of range, `Shape` for groups, parameters or a gradient of another length, `NonFiniteInput` for the
    /// gradient; `NonFiniteResult` where the step would write a parameter or a moment that is not finite.
    pub fn step(&mut self, parameters: &mut [T], gradient: &[T]) -> Result<()> {
        check_rates(&self.groups)?;
        let grouped = total(&self.groups);
        for (argument, given) in [("groups", grouped), ("parameters", parameters.len()), ("gradient", gradient.len())] {
            if given != self.parameters {
                return Err(Error::shape(argument, self.parameters, given));
            }
        }
        finite("gradient", gradient)?;
        let steps = self.steps.saturating_add(1);
        // All groups are checked before the first is written.
        for write in [false, true] {
            let mut start = 0;
            for index in 0..self.groups.len() {
                let group = self.groups[index];
                let end = start + group.parameters;
                self.update(group, start..end, steps, parameters, gradient, write)?;
                start = end;
            }
        }
        self.steps = steps;
        Ok(())
    }

    /// The step of a group, which lies in `range`: written, or only checked.
    fn update(
        &mut self,
        group: Group,
        range: Range<usize>,
        steps: u64,
        parameters: &mut [T],
        gradient: &[T],
        write: bool,
    ) -> Result<()> {
        let start = range.start;
        let parameters = &mut parameters[range.clone()];
        let gradients = gradient[range.clone()].iter().copied();
        let decay = T::of(1.0 - group.learning_rate * group.weight_decay);
        match self.rule {
            Rule::Adam { beta1, beta2, epsilon } => {
                let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
                let size = T::of(group.learning_rate / correction(beta1));
                let root = T::of(1.0 / correction(beta2));
                let [rest1, rest2] = [1.0 - beta1, 1.0 - beta2].map(T::of);
                let [beta1, beta2, epsilon] = [beta1, beta2, epsilon].map(T::of);
                let rule = |((parameter, g), (m, v)): ((T, T), (T, T))| {
                    let m = beta1 * m + rest1 * g;
                    let v = beta2 * v + rest2 * g * g;
                    let scale = (v * root).sqrt() + epsilon;
                    // With epsilon 0, a gradient that has been 0, or whose square underflows, asks for no step.
                    let step = if scale == T::zero() { T::zero() } else { size * m / scale };
                    [parameter * decay - step, m, v]
                };
                let (first, second) = self.state.split_at_mut(self.parameters);
                let (first, second) = (&mut first[range.clone()], &mut second[range]);
                if !write {
                    let moments = first.iter().copied().zip(second.iter().copied());
                    return checked(start, parameters.iter().copied().zip(gradients).zip(moments).map(rule));
                }
                for ((parameter, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(first.iter_mut().zip(second)) {
                    [*parameter, *m, *v] = rule(((*parameter, g), (*m, *v)));
                }
            }
            Rule::Sgd { momentum } if momentum > 0.0 => {
                let (momentum, rate) = (T::of(momentum), T::of(group.learning_rate));
                let rule = |((parameter, g), velocity): ((T, T), T)| {
                    let velocity = momentum * velocity + g;
                    [parameter * decay - rate * velocity, velocity]
                };
                let velocities = &mut self.state[range];
                if !write {
                    let velocities = velocities.iter().copied();
                    return checked(start, parameters.iter().copied().zip(gradients).zip(velocities).map(rule));
                }
                for ((parameter, g), velocity) in parameters.iter_mut().zip(gradients).zip(velocities) {
                    [*parameter, *velocity] = rule(((*parameter, g), *velocity));
                }
            }
            Rule::Sgd { .. } => {
                let rate = T::of(group.learning_rate);
                let rule = |(parameter, g): (T, T)| [parameter * decay - rate * g];
                if !write {
                    return checked(start, parameters.iter().copied().zip(gradients).map(rule));
                }
                for (parameter, g) in parameters.iter_mut().zip(gradients) {
                    [*parameter] = rule((*parameter, g));
                }
            }
        }
        Ok(())
    }
}

/// How many parameters groups have together.
fn total(groups: &[Group]) -> usize {
    groups.iter().fold(0, |sum: usize, group| sum.saturating_add(group.parameters))
}

fn check_rates(groups: &[Group]) -> Result<()> {
    groups.iter().try_for_each(|group| {
        check_range("learning_rate", group.learning_rate, f64::INFINITY)?;
        check_range("weight_decay", group.weight_decay, f64::INFINITY)
    })
}

fn check_range(argument: &'static str, number: f64, end: f64) -> Result<()> {
    match number >= 0.0 && number < end {
        true => Ok(()),
        false => Err(Error::option(argument, format!("a number from 0 to below {end}"), number)),
    }
}

/// Refuses a step that would write a number that is not finite: each parameter's next, and its state's, from the parameter `start` on.
fn checked<T: Real, const N: usize>(start: usize, next: impl Iterator<Item = [T; N]> + Clone) -> Result<()> {
    // Without an early end, so that the loop vectorises.
    let finite = next.clone().fold(true, |all, next| next.iter().fold(all, |all, number| all & number.is_finite()));
    if finite {
        return Ok(());
    }
    let remedy = "nothing was changed; lower learning_rate or weight_decay, raise epsilon, or clip the gradient";
    let bad = next.enumerate().flat_map(|(index, next)| next.map(|number| (start + index, number)));
    bad.filter(|(_, number)| !number.is_finite()).try_for_each(|(index, number)| {
        Err(Error::NonFiniteResult { result: "optimizer.step", given: number.wide(), index, remedy })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_group(parameters: usize, learning_rate: f64, weight_decay: f64) -> Vec<Group> {
        vec![Group { parameters, learning_rate, weight_decay }]
    }

    #[test]
    fn both_find_the_minimum_of_a_bowl() {
        for rule in [Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, Rule::Sgd { momentum: 0.9 }] {
            let mut optimizer = Optimizer::<f64>::new(rule, one_group(2, 0.02, 0.0)).unwrap();
            let mut x = [3.0, -2.0];
            for _ in 0..2000 {
                let gradient = [x[0] - 1.0, 4.0 * x[1]];
                optimizer.step(&mut x, &gradient).unwrap();
            }
            assert!((x[0] - 1.0).abs() < 1e-3 && x[1].abs() < 1e-3, "{rule:?}: {x:?}");
        }
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate() {
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 0.0 };
        let mut optimizer = Optimizer::<f64>::new(rule, one_group(1, 0.1, 0.5)).unwrap();
        let mut x = [2.0];
        optimizer.step(&mut x, &[-7.0]).unwrap();
        assert!((x[0] - (2.0 * 0.95 + 0.1)).abs() < 1e-12);
    }

    #[test]
    fn a_step_that_would_write_what_is_not_finite_changes_nothing() {
        let adam = |epsilon| Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon };
        for (rule, rate, decay, gradient) in [
            // The second moment overflows, which would freeze the parameter.
            (adam(1e-8), 0.1, 0.0, [1.0, 3e38_f32]),
            (adam(1e-8), 1e-3, 1e308, [1.0, 1.0]),
            (adam(1e-8), 1e300, 0.0, [1.0, 1.0]),
            (Rule::Sgd { momentum: 0.0 }, 10.0, 0.0, [1.0, 3e38]),
            (Rule::Sgd { momentum: 0.9 }, 10.0, 0.0, [1.0, -3e38]),
        ] {
            let mut optimizer = Optimizer::<f32>::new(rule, one_group(2, rate, decay)).unwrap();
            let mut x = [1.0, 2.0];
            let before = optimizer.state().to_vec();
            assert_eq!(optimizer.step(&mut x, &gradient).unwrap_err().code(), "NON_FINITE", "{rule:?}");
            assert_eq!((x, optimizer.steps, optimizer.state()), ([1.0, 2.0], 0, &before[..]), "{rule:?}");
        }
    }

    #[test]
    fn without_epsilon_a_gradient_of_zero_is_no_step() {
        let mut optimizer =
            Optimizer::<f32>::new(Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 0.0 }, one_group(3, 0.1, 0.0))
                .unwrap();
        let mut x = [1.0, 2.0, 3.0];
        // Zero; one whose square underflows; one that is usual.
        optimizer.step(&mut x, &[0.0, 1e-30, 0.5]).unwrap();
        assert_eq!(x, [1.0, 2.0, 2.9]);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut optimizer = Optimizer::<f32>::new(Rule::Sgd { momentum: 0.5 }, one_group(2, 0.1, 0.0)).unwrap();
        let mut x = [1.0, 2.0];
        assert_eq!(optimizer.step(&mut x, &[1.0, f32::NAN]).unwrap_err().code(), "NON_FINITE");
        assert_eq!((x, optimizer.steps, optimizer.state()), ([1.0, 2.0], 0, &[0.0, 0.0][..]));
    }

    #[test]
    fn a_group_steps_as_it_would_alone() {
        let adam = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let groups = [(2, 0.1, 0.3), (0, 7.0, 0.0), (1, 0.0, 0.5), (3, 1e-3, 0.0)]
            .map(|(parameters, learning_rate, weight_decay)| Group { parameters, learning_rate, weight_decay });
        for rule in [adam, Rule::Sgd { momentum: 0.9 }, Rule::Sgd { momentum: 0.0 }] {
            let begin = [1.0_f32, -2.0, 3.0, 0.1, 0.2, -0.3];
            let mut together = begin;
            let mut optimizer = Optimizer::new(rule, groups.to_vec()).unwrap();
            let gradient = |step: usize| [0, 1, 2, 3, 4, 5].map(|i| ((7 * step + 3 * i) as f32).sin());
            (0..20).for_each(|step| optimizer.step(&mut together, &gradient(step)).unwrap());
            let mut start = 0;
            for group in groups {
                let range = start..start + group.parameters;
                let mut alone = begin[range.clone()].to_vec();
                let mut optimizer = Optimizer::new(rule, vec![group]).unwrap();
                (0..20).for_each(|step| optimizer.step(&mut alone, &gradient(step)[range.clone()]).unwrap());
                assert_eq!(together[range.clone()], alone, "{rule:?}, {group:?}");
                start = range.end;
            }
            assert_eq!(together[2], 3.0);
        }
    }

    #[test]
    fn a_group_that_fails_leaves_those_before_it_unchanged() {
        let mut groups = one_group(1, 0.1, 0.0);
        groups.extend(one_group(2, 10.0, 0.0));
        let mut optimizer = Optimizer::<f32>::new(Rule::Sgd { momentum: 0.9 }, groups).unwrap();
        let mut x = [1.0, 2.0, 3.0];
        let error = optimizer.step(&mut x, &[1.0, 1.0, 3e38]).unwrap_err();
        assert!(matches!(error, Error::NonFiniteResult { index: 2, .. }), "{error:?}");
        assert_eq!((x, optimizer.steps, optimizer.state()), ([1.0, 2.0, 3.0], 0, &[0.0; 3][..]));
    }
}
