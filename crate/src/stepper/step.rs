//! One step forward, of any method.
//!
//! ```text
//! X_i = x_n + h Σ_{j<i} a_ij k_j       k_i = f(X_i, t_n + c_i h)       x_{n+1} = x_n + h Σ b_i k_i
//! ```
//!
//! A batch takes one step together, or each trajectory takes a step of its own. The stages are the same; the [`StepEvaluator`] knows how
//! long the steps are.

use super::{Scheme, Sink, Stage, Weights};
use crate::error::Result;
use crate::kernel::real::Real;

/// Evaluates the stages of a step: a vector field, with the times and the lengths of the steps to take.
pub(crate) trait StepEvaluator<T: Real> {
    /// The index of the step, for the sink.
    fn step(&self) -> usize;

    /// `out = x + h Σ w_j k_j`, without an x the sum alone, with the weights of each part of the features.
    fn combine<'s, W: Iterator<Item = f64>>(
        &mut self,
        out: &mut [T],
        x: Option<&[T]>,
        weights: (&'s Scheme, impl Fn(&'s Weights) -> W),
        slopes: &[T],
    );

    /// Sets the times t_n + c h, where they follow the state.
    fn set_times(&mut self, c: f64, times: &mut [T]);

    /// `k = f(x, t_n + c h)`, and its tape where one is given.
    fn slope(&mut self, c: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()>;
}

/// How far a step is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepExtent {
    /// The states of the stages, and those slopes on which other stages depend or whose tapes a sink keeps.
    Stages,
    /// All slopes.
    Slopes,
    /// All slopes, and x_{n+1} − x_n.
    Increment,
}

/// The arrays that a step is computed in.
pub(crate) struct Scratch<'a, T> {
    /// k_1 … k_s, each of `len` numbers. Numbers after them are left alone.
    pub slopes: &'a mut [T],
    pub len: usize,
    /// Whether k_1 is known.
    pub first_slope_known: bool,
    /// A stage's state, followed by its times if x is followed by its own; in the end the increment.
    pub state: &'a mut [T],
}

/// Takes a step from x, as far as `extent` says.
pub(crate) fn attempt<T: Real>(
    scheme: &Scheme,
    evaluator: &mut impl StepEvaluator<T>,
    x: &[T],
    extent: StepExtent,
    scratch: Scratch<'_, T>,
    sink: &mut dyn Sink<T>,
) -> Result<()> {
    let Scratch { slopes, len, first_slope_known, state } = scratch;
    let stages = scheme.stages;
    for index in usize::from(first_slope_known)..stages {
        let (before, slope) = slopes.split_at_mut(index * len);
        // The first stage's state is x_n.
        let x = match index {
            0 => x,
            _ => {
                let weights = |part: &Weights| part.a[index].iter().copied();
                evaluator.combine(&mut state[..len], Some(&x[..len]), (scheme, weights), before);
                evaluator.set_times(scheme.c[index], &mut state[len..]);
                &*state
            }
        };
        let tape = sink.stage(Stage { step: evaluator.step(), index }, x)?;
        // The last slope serves no other stage.
        if extent != StepExtent::Stages || index + 1 < stages || tape.is_some() {
            evaluator.slope(scheme.c[index], x, tape, &mut slope[..len])?;
        }
    }
    if extent == StepExtent::Increment {
        let weights = |part: &Weights| part.b[..stages].iter().copied();
        evaluator.combine(&mut state[..len], None, (scheme, weights), slopes);
    }
    Ok(())
}
