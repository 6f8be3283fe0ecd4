//! Integrals that the continuous adjoint computes along with its steps.

use super::block::{Block, load_lane};
use super::problem::Problem;
use crate::error::Result;
use crate::field::{LanePullback, Lanes};
use crate::kernel::combine::accumulate;
use crate::kernel::lanes::copy_lane;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Purpose};
use crate::stepper::Weights;

/// The integral of −(∂f/∂θ)ᵀ λ over the accepted steps of a leaf, and that by the arguments of each trajectory.
pub(super) struct Quadrature<T> {
    /// (x, λ) of a stage with the time, a cotangent of its slope, the result of a pullback.
    state: Buffer<T>,
    cotangent: Buffer<T>,
    pulled: Buffer<T>,
    /// ∂L/∂θ with its carry, and of the steps of one round.
    pub sums: [Buffer<T>; 2],
    step: Buffer<T>,
    /// `[trajectories, arguments]` with its carry, and of the lanes of one round.
    pub argument_sums: [Buffer<T>; 2],
    argument_step: Buffer<T>,
    compensated: bool,
    /// Uses of the field's transpose, each with one evaluation.
    pub uses: usize,
}

impl<T: Real> Quadrature<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (ledger, width) = (&problem.ledger, problem.width());
        let rows = |rows: usize| Buffer::zeroed(ledger, Purpose::Workspace, rows * width);
        let sums = |len: usize| Buffer::zeroed(ledger, Purpose::Gradient, len);
        let (parameters, arguments) = (problem.parameters, problem.arguments);
        Ok(Self {
            state: rows(problem.state + 1)?,
            cotangent: rows(problem.state)?,
            pulled: rows(problem.state + 1)?,
            sums: [sums(parameters)?, sums(parameters)?],
            step: sums(parameters)?,
            argument_sums: [sums(problem.batch * arguments)?, sums(problem.batch * arguments)?],
            argument_step: rows(arguments)?,
            compensated: problem.options.summation.of_gradient(),
            uses: 0,
        })
    }

    /// Adds the contributions of accepted steps; `trajectories` are those in the lanes.
    pub fn add(
        &mut self,
        problem: &Problem<T>,
        block: &mut Block<T>,
        lanes: &mut dyn Lanes<T>,
        accepted: &[bool],
        trajectories: impl Iterator<Item = usize>,
    ) -> Result<()> {
        let Some(first) = accepted.iter().position(|&accepted| accepted) else { return Ok(()) };
        let (len, width, rows) = (block.len(), block.width, block.rows);
        let Block { x, slopes, spans, combiner, active, .. } = block;
        let scheme = &problem.scheme;
        // The adjoint has a Runge–Kutta method, with the same weights for all features.
        let b = scheme.parts[0].b[..scheme.stages].iter().enumerate();
        for (stage, &b) in b.filter(|(_, b)| **b != 0.0) {
            let weights = |part: &Weights| part.a[stage].iter().copied();
            combiner.combine(&mut self.state[..len], Some(&x[..len]), &spans.h[..width], (scheme, weights), slopes);
            spans.stage_times(width, scheme.c[stage], &mut self.state[len..len + width]);
            for (slot, &accepted) in accepted.iter().enumerate() {
                let weight = T::of(-spans.h[slot] * b);
                for row in 0..rows / 2 {
                    let at = row * width + slot;
                    self.cotangent[at] = if accepted { weight * self.state[len / 2 + at] } else { T::zero() };
                }
                // A lane that adds nothing copies one that does: its own state need not be finite.
                if !accepted {
                    copy_lane(&mut self.state, rows + 1, width, first, slot);
                    spans.times[slot] = spans.times[first];
                }
            }
            self.cotangent[len / 2..len].fill(T::zero());
            let pullback = LanePullback {
                cotangent: &self.cotangent[..len],
                x: &mut self.pulled[..len + width],
                parameters: &mut self.step,
                arguments: &mut self.argument_step[..problem.arguments * width],
            };
            lanes.pullback(*active, &spans.times, &self.state[..len + width], None, pullback)?;
            self.uses += accepted.iter().filter(|&&accepted| accepted).count();
        }
        let [sums, carry] = &mut self.sums;
        accumulate(self.compensated, sums, carry, &self.step);
        self.step.fill(T::zero());
        let own = problem.arguments;
        let mut row = vec![T::zero(); own];
        for (slot, trajectory) in trajectories.enumerate().filter(|(slot, _)| accepted[*slot]) {
            load_lane(&self.argument_step, width, slot, &mut row);
            let [sums, carry] = &mut self.argument_sums;
            let range = trajectory * own..(trajectory + 1) * own;
            accumulate(self.compensated, &mut sums[range.clone()], &mut carry[range], &row);
        }
        self.argument_step.fill(T::zero());
        Ok(())
    }
}
