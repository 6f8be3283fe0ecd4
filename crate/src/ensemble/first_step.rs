//! The sizes of first steps, for each trajectory.

use super::block::{Block, width_index};
use super::forward::{Forward, Sinks};
use super::problem::{Evaluators, Problem};
use crate::control::{first_step_from, first_step_guess};
use crate::error::{Error, Result};
use crate::kernel::lanes::{Scaled, finite_lanes};
use crate::kernel::real::Real;
use crate::solve::FirstStepTrial;
use crate::stepper::Weights;

impl<T: Real> Forward<T> {
    /// Evaluates f at the first times, and chooses the sizes of the first steps.
    pub(super) fn first_steps(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        if self.block.active == 0 {
            return Ok(());
        }
        if self.solvers.iter().all(|solver| solver.step_size.proposal > 0.0) {
            return Ok(());
        }
        for solver in self.solvers.iter_mut().filter(|solver| !solver.first_slope_known) {
            solver.stats.evaluations += 1;
            solver.first_slope_known = true;
        }
        for (slot, solver) in self.solvers.iter().enumerate() {
            self.block.spans.t[slot] = solver.t;
        }
        let index = width_index(problem, self.block.width);
        self.block.first_slopes(&mut *evaluators.lanes[index])?;
        let len = self.block.len();
        let width = self.block.width;
        finite_lanes(&self.block.slopes[..len], &mut self.finite[..width]);
        for slot in (0..self.block.active).rev().filter(|&slot| !self.finite[slot]).collect::<Vec<_>>() {
            let failure = Error::NonFinite(self.solvers[slot].progress(0.0));
            self.remove(problem, slot, Some(failure), sinks)?;
        }
        self.compact(problem, evaluators);
        let active = self.block.active;
        if let Some(first) = problem.options.first_step {
            self.solvers
                .iter_mut()
                .filter(|solver| solver.step_size.proposal == 0.0)
                .for_each(|solver| solver.step_size.proposal = first);
        } else if active > 0 {
            self.choose_first_steps(problem, evaluators)?;
        }
        Ok(())
    }

    /// The first step of Hairer, Nørsett and Wanner I, II.4, for each trajectory.
    fn choose_first_steps(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) -> Result<()> {
        let Self { block, sums, solvers, tolerances, .. } = self;
        let (width, len, active, rows) = (block.width, block.len(), block.active, block.rows as f64);
        let index = width_index(problem, width);
        let norms = |numbers: &[T], less: Option<&[T]>, x: &[T], sums: &mut [f64]| {
            Scaled { numbers, less, x, y: x, tolerances }.sums(&mut sums[..width]);
            sums.iter_mut().take(width).for_each(|sum| *sum = (*sum / rows).sqrt());
        };
        norms(&block.x[..len], None, &block.x[..len], sums);
        let states: Vec<f64> = sums[..active].to_vec();
        norms(&block.slopes[..len], None, &block.x[..len], sums);
        let slopes: Vec<f64> = sums[..active].to_vec();
        let mut all = Vec::with_capacity(active);
        for (slot, solver) in solvers.iter_mut().enumerate() {
            let times = problem.times.of(solver.trajectory);
            let last = times[times.len() - 1];
            let (direction, interval) = ((last - times[0]).signum(), (last - solver.t).abs());
            let guess = first_step_guess(states[slot], slopes[slot]);
            let tried = FirstStepTrial::new(&problem.options, guess, solver.t, direction, interval);
            (block.spans.h[slot], block.spans.t[slot]) = (tried.h, tried.end);
            all.push(tried);
            solver.stats.evaluations += usize::from(solver.step_size.proposal == 0.0);
        }
        let Block { x, slopes: k, state, spans, combiner, .. } = &mut *block;
        let (first, rest) = k.split_at_mut(len);
        let weights = |_: &Weights| std::iter::once(1.0);
        combiner.combine(&mut state[..len], Some(&x[..len]), &spans.h[..width], (&problem.scheme, weights), first);
        spans.stage_times(width, 0.0, &mut state[len..len + width]);
        evaluators.lanes[index].evaluate(active, &spans.times, &state[..len + width], None, &mut rest[..len])?;
        norms(&rest[..len], Some(first), &x[..len], sums);
        for ((solver, tried), difference) in solvers.iter_mut().zip(all).zip(sums) {
            let h = first_step_from(*difference, tried.guess, problem.scheme.order());
            if solver.step_size.proposal == 0.0 {
                solver.step_size.proposal = tried.length(h);
            }
        }
        Ok(())
    }
}
