//! A vector field prepared for one batch: a snapshot of its parameters, packed for the kernels, with all the scratch that evaluating
//! and transposing it takes.

use super::{Directions, Dots};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::layout::Layout;

/// What a field is prepared for.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a, T> {
    /// Whether it will be transposed.
    pub reverse: bool,
    /// Directions, whose shapes have been checked: then the state is [x, ẋ_1, ẋ_2, …], and behind these the clocks of the directions in
    /// which times move.
    pub directions: Option<&'a Directions<'a, T>>,
    /// On how many threads it may compute; no bit depends on it.
    pub threads: usize,
}

impl<T> Demand<'_, T> {
    /// Values, and their transpose if `reverse`, on one thread.
    pub fn new(reverse: bool) -> Self {
        Self { reverse, directions: None, threads: 1 }
    }
}

/// A vector field ready for one batch. States, slopes and cotangents are flat, as the layout has them.
pub trait Dynamics<T: Real>: Send {
    /// How its states lie in memory.
    fn layout(&self) -> &Layout;

    /// Numbers in the gradient that [`pull`](Self::pull) adds to: one for each parameter, and behind them those of the arguments,
    /// as the layout has them.
    fn parameters(&self) -> usize;

    /// Numbers that each trajectory has beside its state.
    fn arguments(&self) -> usize {
        0
    }

    /// Numbers in the tape of one use.
    fn tape_len(&self) -> usize;

    /// How often the field has been used so far.
    fn uses(&self) -> Uses;

    /// Whether (∂f/∂t)ᵀ ℓ is known; a field of the user's may turn out not to tell it.
    fn knows_time(&self) -> bool {
        true
    }

    /// Tells which trajectory is the first in what follows, where that is not the first of all.
    fn serve(&mut self, _trajectory: usize) {}

    /// `k = f(t, x)`. Where a tape is given, keeps in it what [`pull`](Self::pull) needs; k is bitwise the same.
    fn evaluate(&mut self, t: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()>;

    /// The transpose of f at (t, x), from a kept tape, or running f forward again, which gives bitwise the same.
    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots>;
}

/// The operands of one vector–Jacobian product.
pub struct Pull<'a, T> {
    /// ℓ, the cotangent of the slope.
    pub cotangent: &'a [T],
    /// Becomes (∂f/∂x)ᵀ ℓ.
    pub x: &'a mut [T],
    /// (∂f/∂θ)ᵀ ℓ is added, and behind it that of the arguments.
    pub parameters: &'a mut [T],
    /// Directions w whose products ⟨w, f⟩ are wanted, one behind the other.
    pub probes: &'a [T],
    /// ⟨w, f⟩ is added for each.
    pub products: &'a mut [f64],
    /// Whether ⟨ℓ, f⟩ and the products are wanted.
    pub times: bool,
    /// The tape of the transpose that comes next, where that is known: it is brought near.
    pub next_tape: Option<&'a [T]>,
}

/// Uses of a field: evaluations forward, and of the transpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    /// Evaluations of f.
    pub evaluations: usize,
    /// Evaluations of its transpose.
    pub vjps: usize,
}
