//! The lengths of first steps, for each trajectory.

use super::block::{Block, lanes_index};
use super::forward::{Forward, Sinks};
use super::problem::{Problem, Tools};
use crate::control::{first_step_from, first_step_guess};
use crate::error::{Error, Result};
use crate::kernel::lanes::{Scaled, finite_lanes};
use crate::kernel::real::Real;
use crate::solve::FirstStepTrial;
use crate::stepper::Weights;

impl<T: Real> Forward<T> {
    /// f at the first times, and the lengths of the first steps.
    pub(super) fn first_steps(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        if self.block.active == 0 {
            return Ok(());
        }
        if self.clocks.iter().all(|clock| clock.step_size.proposal > 0.0) {
            return Ok(());
        }
        for clock in self.clocks.iter_mut().filter(|clock| !clock.first_slope_known) {
            clock.stats.evaluations += 1;
            clock.first_slope_known = true;
        }
        for (slot, clock) in self.clocks.iter().enumerate() {
            self.block.spans.t[slot] = clock.t;
        }
        let index = lanes_index(problem, self.block.width);
        self.block.first_slopes(&mut *tools.lanes[index])?;
        let len = self.block.len();
        let width = self.block.width;
        finite_lanes(&self.block.slopes[..len], &mut self.finite[..width]);
        for slot in (0..self.block.active).rev().filter(|&slot| !self.finite[slot]).collect::<Vec<_>>() {
            let failure = Error::NonFinite(self.clocks[slot].progress(0.0));
            self.remove(problem, slot, Some(failure), sinks)?;
        }
        self.refit(problem, tools);
        let active = self.block.active;
        if let Some(first) = problem.options.first_step {
            self.clocks
                .iter_mut()
                .filter(|clock| clock.step_size.proposal == 0.0)
                .for_each(|clock| clock.step_size.proposal = first);
        } else if active > 0 {
            self.choose_first_steps(problem, tools)?;
        }
        Ok(())
    }

    /// Hairer, Nørsett and Wanner I, II.4, for each trajectory.
    fn choose_first_steps(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) -> Result<()> {
        let Self { block, sums, clocks, tolerances, .. } = self;
        let (width, len, active, rows) = (block.width, block.len(), block.active, block.rows as f64);
        let index = lanes_index(problem, width);
        let norms = |numbers: &[T], less: Option<&[T]>, x: &[T], sums: &mut [f64]| {
            Scaled { numbers, less, x, y: x, tolerances }.sums(&mut sums[..width]);
            sums.iter_mut().take(width).for_each(|sum| *sum = (*sum / rows).sqrt());
        };
        norms(&block.x[..len], None, &block.x[..len], sums);
        let states: Vec<f64> = sums[..active].to_vec();
        norms(&block.slopes[..len], None, &block.x[..len], sums);
        let slopes: Vec<f64> = sums[..active].to_vec();
        let mut all = Vec::with_capacity(active);
        for (slot, clock) in clocks.iter_mut().enumerate() {
            let times = problem.times.of(clock.trajectory);
            let last = times[times.len() - 1];
            let (direction, interval) = ((last - times[0]).signum(), (last - clock.t).abs());
            let guess = first_step_guess(states[slot], slopes[slot]);
            let tried = FirstStepTrial::new(&problem.options, guess, clock.t, direction, interval);
            (block.spans.h[slot], block.spans.t[slot]) = (tried.h, tried.end);
            all.push(tried);
            clock.stats.evaluations += usize::from(clock.step_size.proposal == 0.0);
        }
        let Block { x, slopes: k, state, spans, mixer, .. } = &mut *block;
        let (first, rest) = k.split_at_mut(len);
        let weights = |_: &Weights| std::iter::once(1.0);
        mixer.mix(&mut state[..len], Some(&x[..len]), &spans.h[..width], (&problem.scheme, weights), first);
        spans.stage_times(width, 0.0, &mut state[len..len + width]);
        tools.lanes[index].evaluate(active, &spans.times, &state[..len + width], None, &mut rest[..len])?;
        norms(&rest[..len], Some(first), &x[..len], sums);
        for ((clock, tried), difference) in clocks.iter_mut().zip(all).zip(sums) {
            let h = first_step_from(*difference, tried.guess, problem.scheme.order());
            if clock.step_size.proposal == 0.0 {
                clock.step_size.proposal = tried.length(h);
            }
        }
        Ok(())
    }
}
