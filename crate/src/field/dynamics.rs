//! A vector field prepared for one batch: a snapshot of its parameters, packed for the kernels, with all the scratch that evaluating
//! and transposing it takes.

use super::{Directions, InnerProducts};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::layout::Layout;

/// How a field is prepared for a batch.
#[derive(Debug, Clone, Copy)]
pub struct FieldOptions<'a, T> {
    /// Whether it will be transposed.
    pub reverse: bool,
    /// Directions, whose shapes have been checked: then the state is [x, ẋ_1, ẋ_2, …], followed by the time tangents (τ, σ) of
    /// the directions along which times move.
    pub directions: Option<&'a Directions<'a, T>>,
    /// The number of threads it may use; no bit of a result depends on it.
    pub threads: usize,
}

impl<T> FieldOptions<'_, T> {
    /// Values, and their transpose if `reverse`, on one thread.
    pub fn new(reverse: bool) -> Self {
        Self { reverse, directions: None, threads: 1 }
    }
}

/// A vector field ready for one batch. States, slopes and cotangents are flat, as the layout has them.
pub trait Dynamics<T: Real>: Send {
    /// How its states lie in memory.
    fn layout(&self) -> &Layout;

    /// Numbers in the gradient that [`pullback`](Self::pullback) adds to: one for each parameter, followed by those of the arguments,
    /// as the layout has them.
    fn parameters(&self) -> usize;

    /// Arguments of each trajectory.
    fn arguments(&self) -> usize {
        0
    }

    /// Numbers in the tape of one use.
    fn tape_len(&self) -> usize;

    /// How often the field has been evaluated and transposed so far.
    fn counts(&self) -> EvaluationCounts;

    /// Whether (∂f/∂t)ᵀ ℓ is known; a custom field may turn out not to return it.
    fn has_time_derivative(&self) -> bool {
        true
    }

    /// Sets the index of the trajectory in the first row of the calls that follow; 0 by default.
    fn set_first_trajectory(&mut self, _trajectory: usize) {}

    /// `k = f(t, x)`. Where a tape is given, keeps in it what [`pullback`](Self::pullback) needs; k is bitwise the same.
    fn evaluate(&mut self, t: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()>;

    /// The transpose of f at (t, x), from a kept tape, or running f forward again, which gives bitwise the same.
    fn pullback(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pullback: Pullback<'_, T>) -> Result<InnerProducts>;
}

/// The operands of one vector–Jacobian product.
pub struct Pullback<'a, T> {
    /// ℓ, the cotangent of the slope.
    pub cotangent: &'a [T],
    /// Becomes (∂f/∂x)ᵀ ℓ.
    pub x: &'a mut [T],
    /// (∂f/∂θ)ᵀ ℓ is added, followed by that of the arguments.
    pub parameters: &'a mut [T],
    /// Directions w whose products ⟨w, f⟩ are wanted, one after another.
    pub probes: &'a [T],
    /// ⟨w, f⟩ is added for each.
    pub products: &'a mut [f64],
    /// Whether ⟨ℓ, f⟩ and the products are wanted.
    pub times: bool,
    /// The tape of the next pullback, if known, to be prefetched.
    pub next_tape: Option<&'a [T]>,
}

/// How often a field was evaluated and transposed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationCounts {
    /// Evaluations of f.
    pub evaluations: usize,
    /// Evaluations of its transpose.
    pub vjps: usize,
}
