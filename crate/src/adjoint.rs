//! The continuous adjoint (Chen et al., NeurIPS 2018), the symplectic adjoint's rival: from each output time back to the
//! one before, (x, λ, ∂L/∂θ) is integrated as one system,
//!
//! ```text
//! dx/dt = f,   dλ/dt = −(∂f/∂x)ᵀ λ,   d(∂L/∂θ)/dt = −(∂f/∂θ)ᵀ λ,
//! ```
//!
//! with its own error control, an RMS norm over all of it, or over x and λ alone: no other unknown depends on ∂L/∂θ (the
//! seminorm of Kidger, Chen and Lyons, ICML 2021). It keeps almost nothing, and its gradient carries the error of that
//! integration.

use ndarray::s;

use crate::control::NoReduction;
use crate::error::Result;
use crate::field::{Dynamics, EvaluationCounts, InnerProducts, Pullback};
use crate::kernel::combine::dot;
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Purpose, filled};
use crate::solve::{Options, Output, PanelGradient, Problem, Solution, SolveOutcome, integrate};
use crate::stepper::Discard;

/// Integrates backward over all intervals, from ∂L/∂y of all outputs, packed one after another.
///
/// Gradients of the times are the textbook's: ⟨w_j, f(t_j, y_j)⟩, and −⟨λ_0 − w_0, f(t_0, y_0)⟩ at the start.
pub(crate) fn sweep<T: Real>(
    problem: &mut Problem<T>,
    solution: &Solution<T>,
    options: &Options,
    w: &[T],
) -> Result<PanelGradient<T>> {
    let Problem { dynamics, options: solve, times, ledger, .. } = problem;
    let wants_times = solve.time_gradients;
    let panels = dynamics.layout().panels;
    let len = dynamics.layout().size();
    let parameters = dynamics.parameters();
    let layout = Layout {
        panels,
        group: dynamics.layout().group,
        arrays: [&dynamics.layout().arrays[..], &dynamics.layout().arrays[..]].concat(),
        plain: parameters,
        plain_counts: !options.seminorm,
    };
    let tape = Buffer::zeroed(ledger, Purpose::Tape, dynamics.tape_len())?;
    let mut augmented = Augmented { field: &mut **dynamics, layout, tape, len };
    let mut state = Buffer::zeroed(ledger, Purpose::Workspace, augmented.layout.size())?;
    let mut slope = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
    let mut time_gradient = filled(Purpose::Records, times.len(), 0.0)?;
    let mut backward_steps = 0;
    let options = Options { output: Some(Output::Land), ..options.clone() };
    for output in (0..times.len()).rev() {
        let w = &w[output * len..(output + 1) * len];
        let (x, rest) = state.split_at_mut(len);
        panels.pack(solution.y().slice(s![output, .., ..]), x, Padding::Repeat);
        let lambda = &mut rest[..len];
        if wants_times {
            augmented.field.evaluate(times[output], x, None, &mut slope)?;
            time_gradient[output] = if output == 0 { -dot(lambda, &slope) } else { dot(w, &slope) };
        }
        lambda.iter_mut().zip(w).for_each(|(lambda, &w)| *lambda = *lambda + w);
        if output > 0 {
            let mut end = Buffer::zeroed(ledger, Purpose::Workspace, augmented.layout.size())?;
            let mut write = |index: usize, x: &[T]| {
                if index == 1 {
                    end.copy_from_slice(x);
                }
            };
            let back = [times[output], times[output - 1]];
            let SolveOutcome { stats, failure, .. } =
                integrate(&mut augmented, &mut NoReduction, &state, &back, &options, ledger, &mut Discard, &mut write)?;
            failure.map_or(Ok(()), Err)?;
            backward_steps += stats.accepted;
            state = end;
        }
    }
    let copy = |range: std::ops::Range<usize>| Buffer::copied(ledger, Purpose::Gradient, &state[range]);
    let lambda = copy(len..2 * len)?;
    Ok(PanelGradient { lambda, parameters: copy(2 * len..2 * len + parameters)?, times: time_gradient, backward_steps })
}

/// The system of x, λ and ∂L/∂θ.
struct Augmented<'a, T> {
    field: &'a mut dyn Dynamics<T>,
    layout: Layout,
    tape: Buffer<T>,
    len: usize,
}

impl<T: Real> Dynamics<T> for Augmented<'_, T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        0
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn counts(&self) -> EvaluationCounts {
        self.field.counts()
    }

    fn evaluate(&mut self, t: f64, state: &[T], _tape: Option<&mut [T]>, slope: &mut [T]) -> Result<()> {
        let (x, rest) = state.split_at(self.len);
        let (x_slope, rest_slope) = slope.split_at_mut(self.len);
        let (lambda_slope, parameter_slope) = rest_slope.split_at_mut(self.len);
        self.field.evaluate(t, x, Some(&mut self.tape), x_slope)?;
        parameter_slope.fill(T::zero());
        let pullback = Pullback {
            cotangent: &rest[..self.len],
            x: lambda_slope,
            parameters: parameter_slope,
            probes: &[],
            products: &mut [],
            times: false,
            next_tape: None,
        };
        self.field.pullback(t, x, Some(&self.tape), pullback)?;
        rest_slope.iter_mut().for_each(|slope| *slope = -*slope);
        Ok(())
    }

    fn pullback(&mut self, _t: f64, _x: &[T], _tape: Option<&[T]>, _pull: Pullback<'_, T>) -> Result<InnerProducts> {
        unreachable!("the adjoint system is not differentiated")
    }
}
