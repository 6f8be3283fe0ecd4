//! What a sweep backward over a solve arrives at.

use crate::memory::{Buffer, Bytes};

/// What a gradient took, the solve not included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientStats {
    /// Uses of the vector field forward.
    pub evaluations: usize,
    /// Uses of its transpose.
    pub vjps: usize,
    /// Steps of the backward integration (the continuous adjoint only).
    pub backward_steps: usize,
    /// Peak memory of solve and gradients together.
    pub peak: Bytes,
}

/// λ_0, ∂L/∂θ and ∂L/∂times.
pub(crate) struct Swept<T> {
    pub lambda: Buffer<T>,
    pub parameters: Buffer<T>,
    pub times: Vec<f64>,
    /// Steps of a backward integration.
    pub backward_steps: usize,
}
