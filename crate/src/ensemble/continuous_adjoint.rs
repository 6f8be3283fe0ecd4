//! The continuous adjoint of trajectories with their own steps: from each output time back to the one before, each trajectory
//! integrates
//!
//! ```text
//! dx/dt = f,   dλ/dt = −(∂f/∂x)ᵀ λ
//! ```
//!
//! by steps of its own. The error of ∂L/∂θ is left out of the norm that chooses them (the seminorm of Kidger, Chen and Lyons, ICML
//! 2021): it is one sum for all trajectories, and no other unknown depends on it. So it need not be integrated with them: each step
//! that is accepted adds −h Σ b_i (∂f/∂θ)ᵀ λ_i, and a step that is rejected adds nothing.

use std::ops::Range;

use ndarray::Array2;

use super::backward::PassCounts;
use super::block::load_lane;
use super::changes::Changes;
use super::forward::Forward;
use super::leaf_results::{LeafGradient, LeafSolution};
use super::problem::{Evaluators, Problem};
use super::quadrature::Quadrature;
use super::{Cotangents, Extras, Lists, Solution};
use crate::error::Result;
use crate::field::{Dynamics, FieldOptions, LanePullback, LaneSetup, Lanes, TrajectoryInputs, VectorField};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::solve::{Options, Output};

/// The continuous adjoint of a thread, for one leaf after the other.
pub(super) struct ContinuousAdjoint<T> {
    /// The problem of (x, λ), for as many trajectories as a leaf has.
    problem: Problem<T>,
    evaluators: Evaluators<T>,
    integrator: Forward<T>,
    evaluations: usize,
    vjps: usize,
    steps: usize,
}

impl<T: Real> ContinuousAdjoint<T> {
    /// The continuous adjoint of the leaves of a problem, with the options of the integration backward.
    pub fn new(field: &dyn VectorField<T>, forward: &Problem<T>, options: &Options) -> Result<Self> {
        let augmented = Augmented { field, data: forward.data };
        let mut options = Options { output: Some(Output::Land), threads: 1, ..options.clone() };
        // λ has the tolerances of x.
        for each in [&mut options.tolerances.relative, &mut options.tolerances.absolute] {
            each.extend_from_within(..);
        }
        let leaf = forward.leaf.min(forward.batch);
        let start = Array2::zeros((leaf, 2 * forward.state));
        let (changes, extras) = (Changes::default(), Extras::default());
        let ledger = &forward.ledger;
        let (problem, mut evaluators) =
            Problem::new(ledger, &augmented, start.view(), &Lists::shared(&[0.0]), &options, &changes, extras, true)?;
        let (evaluators, integrator) = (evaluators.pop().expect("of one thread"), Forward::new(&problem)?);
        Ok(Self { problem, evaluators, integrator, evaluations: 0, vjps: 0, steps: 0 })
    }

    /// The counts since the last call, and the steps taken.
    pub fn take_counts(&mut self) -> (PassCounts, usize) {
        let [evaluations, vjps, steps] = [&mut self.evaluations, &mut self.vjps, &mut self.steps].map(std::mem::take);
        (PassCounts { evaluations, vjps, ..PassCounts::default() }, steps)
    }

    /// Integrates a leaf backward: its gradient, and ∂L/∂θ. Trajectories that failed are left out.
    pub fn run(
        &mut self,
        forward: &Problem<T>,
        solution: &Solution<T>,
        cotangents: Cotangents<'_, T>,
        leaf: Range<usize>,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>)> {
        let Self { problem, evaluators, integrator, evaluations, vjps, steps } = self;
        let (n, ledger) = (forward.state, &forward.ledger);
        let mut gradient = LeafGradient::new(forward, leaf.clone())?;
        problem.y0.fill(T::zero());
        for (own, trajectory) in leaf.clone().enumerate() {
            let (arguments, data) = forward.inputs.of(trajectory);
            problem.inputs.arguments[own * arguments.len()..][..arguments.len()].copy_from_slice(arguments);
            problem.inputs.data[own * data.len()..][..data.len()].copy_from_slice(data);
        }
        integrator.quadrature = Some(Quadrature::new(problem)?);
        // For each trajectory the number of outputs that are left.
        let outputs = |trajectory: usize| match failed.binary_search(&trajectory) {
            Ok(_) => 0,
            Err(_) => forward.times.of(trajectory).len(),
        };
        let mut left: Vec<usize> = leaf.clone().map(outputs).collect();
        while left.iter().any(|&left| left > 0) {
            for (own, trajectory) in leaf.clone().enumerate().filter(|(own, _)| left[*own] > 0) {
                let place = forward.output_offset(trajectory, left[own] - 1);
                let (x, lambda) = problem.y0[own * 2 * n..][..2 * n].split_at_mut(n);
                x.copy_from_slice(&solution.y[place..place + n]);
                let w = &cotangents.y[place..place + n];
                lambda.iter_mut().zip(w).for_each(|(lambda, &w)| *lambda = *lambda + w);
            }
            let interval = |(left, trajectory): (&usize, usize)| {
                let times = forward.times.of(trajectory);
                [times[left.saturating_sub(1)], times[left.saturating_sub(2)]]
            };
            let intervals: Vec<[f64; 2]> = left.iter().zip(leaf.clone()).map(interval).collect();
            problem.times = Lists::per_trajectory(intervals.iter().map(|interval| &interval[..]));
            if forward.options.time_gradients {
                // ⟨w_j, f(t_j, y_j)⟩, and −⟨λ_0 − w_0, f(t_0, y_0)⟩ at the start.
                let mut slope = vec![T::zero(); 2 * n];
                integrator.slopes_at_start(problem, evaluators, 0..leaf.len())?;
                for (own, trajectory) in leaf.clone().enumerate().filter(|(own, _)| left[*own] > 0) {
                    let output = left[own] - 1;
                    let place = forward.output_offset(trajectory, output);
                    let (w, lambda) = (&cotangents.y[place..place + n], &problem.y0[own * 2 * n + n..][..n]);
                    load_lane(&integrator.block.slopes, integrator.block.width, own, &mut slope);
                    let product = |w: &[T]| w.iter().zip(&slope).map(|(w, slope)| w.wide() * slope.wide()).sum::<f64>();
                    let rate = if output == 0 { product(w) - product(lambda) } else { product(w) };
                    gradient.times.add(forward.times.start(trajectory) + output, rate);
                    *evaluations += 1;
                }
            }
            let mut results = LeafSolution::new(problem, 0..leaf.len())?;
            integrator.run(problem, evaluators, 0..leaf.len(), Some(&mut results), None)?;
            if let Some((own, error)) = results.failures.first() {
                return Err(forward.of_trajectory(leaf.start + own, error.clone()));
            }
            for (own, left) in left.iter_mut().enumerate() {
                let end = results.output(&problem.times, own, 1);
                problem.y0[own * 2 * n..][..2 * n].copy_from_slice(end);
                *left = left.saturating_sub(1);
                let stats = &results.stats[own];
                *steps += stats.accepted;
                *evaluations += stats.evaluations;
                *vjps += stats.evaluations;
            }
        }
        let Some(Quadrature { sums: [sums, _], argument_sums: [arguments, _], uses, .. }) =
            integrator.quadrature.take()
        else {
            unreachable!("given above")
        };
        *evaluations += uses;
        *vjps += uses;
        for (own, trajectory) in leaf.enumerate() {
            let row = gradient.row(trajectory, n);
            gradient.y0[row].copy_from_slice(&problem.y0[own * 2 * n + n..][..n]);
        }
        let own = gradient.arguments.len();
        gradient.arguments.copy_from_slice(&arguments[..own]);
        Ok((gradient, Buffer::copied(ledger, Purpose::Gradient, &sums)?))
    }
}

/// The system of x and λ.
struct Augmented<'a, T> {
    field: &'a dyn VectorField<T>,
    /// Numbers of each trajectory that are held constant in every derivative.
    data: usize,
}

impl<T: Real> VectorField<T> for Augmented<'_, T> {
    fn state_size(&self) -> usize {
        2 * self.field.state_size()
    }

    fn argument_size(&self) -> usize {
        self.field.argument_size()
    }

    fn parameters(&self) -> &[T] {
        self.field.parameters()
    }

    fn prepare(&self, _: &[T], _: usize, _: FieldOptions<'_, T>, _: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        unimplemented!("each trajectory takes its own steps")
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, _reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        let (inner, ledger) = (self.field.lanes(setup, width, true)?, setup.ledger);
        let (n, work) = (self.field.state_size(), Purpose::Workspace);
        Ok(Box::new(AugmentedLanes {
            x: Buffer::zeroed(ledger, work, (n + 1) * width)?,
            pulled: Buffer::zeroed(ledger, work, (n + 1) * width)?,
            tape: Buffer::zeroed(ledger, Purpose::Tape, inner.tape_len())?,
            parameters: Buffer::zeroed(ledger, work, inner.parameters())?,
            arguments: Buffer::zeroed(ledger, work, self.argument_size() * width)?,
            inner,
        }))
    }

    fn leaf(&self) -> usize {
        self.field.leaf()
    }

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        let rows = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, batch * len);
        Ok(TrajectoryInputs { batch, arguments: rows(self.argument_size())?, data: rows(self.data)? })
    }
}

/// The system of x and λ for trajectories side by side: `[x, λ]`, followed by the time.
struct AugmentedLanes<T> {
    inner: Box<dyn Lanes<T>>,
    /// x with the time as its last row, and the result of a pullback.
    x: Buffer<T>,
    pulled: Buffer<T>,
    tape: Buffer<T>,
    /// Gradients of parameters and arguments, which only accepted steps contribute to: not used here.
    parameters: Buffer<T>,
    arguments: Buffer<T>,
}

impl<T: Real> AugmentedLanes<T> {
    /// Numbers in x without its time.
    fn len(&self) -> usize {
        self.x.len() - self.inner.width()
    }

    fn take_x(&mut self, state: &[T]) {
        let len = self.len();
        self.x[..len].copy_from_slice(&state[..len]);
        self.x[len..].copy_from_slice(&state[2 * len..]);
    }
}

impl<T: Real> Lanes<T> for AugmentedLanes<T> {
    fn width(&self) -> usize {
        self.inner.width()
    }

    fn parameters(&self) -> usize {
        self.inner.parameters()
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn set_inputs(&mut self, arguments: &[T], data: &[T]) {
        self.inner.set_inputs(arguments, data);
    }

    fn evaluate(&mut self, active: usize, t: &[f64], x: &[T], _tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.take_x(x);
        let len = self.len();
        let Self { inner, x: own, pulled, tape, parameters, arguments } = self;
        let (slope, lambda_slope) = k[..2 * len].split_at_mut(len);
        inner.evaluate(active, t, own, Some(&mut *tape), slope)?;
        let kept = (!tape.is_empty()).then_some(&**tape);
        inner.pullback(
            active,
            t,
            own,
            kept,
            LanePullback { cotangent: &x[len..2 * len], x: pulled, parameters, arguments },
        )?;
        lambda_slope.iter_mut().zip(&**pulled).for_each(|(slope, &pulled)| *slope = -pulled);
        Ok(())
    }

    /// The pullback of a cotangent of dx/dt alone: that of f.
    fn pullback(
        &mut self,
        active: usize,
        t: &[f64],
        x: &[T],
        _tape: Option<&[T]>,
        pullback: LanePullback<'_, T>,
    ) -> Result<bool> {
        self.take_x(x);
        let len = self.len();
        debug_assert!(pullback.cotangent[len..2 * len].iter().all(|w| *w == T::zero()), "second derivatives");
        let Self { inner, x: own, pulled, .. } = self;
        let LanePullback { cotangent, x, parameters, arguments } = pullback;
        let known = inner.pullback(
            active,
            t,
            own,
            None,
            LanePullback { cotangent: &cotangent[..len], x: pulled, parameters, arguments },
        )?;
        x[..len].copy_from_slice(&pulled[..len]);
        x[len..2 * len].fill(T::zero());
        x[2 * len..].copy_from_slice(&pulled[len..]);
        Ok(known)
    }
}
