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
    /// What the solve has kept.
    pub retention: RetentionStats,
    /// Peak memory of solve and gradients together.
    pub peak: Bytes,
}

/// What the solve has retained: of how many steps the tapes, of how many more the stage states, of how many more x_n alone;
/// or of how many states at most, where it had to be fewer than there are steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionStats {
    /// Steps with all their tapes.
    pub tapes: usize,
    /// Steps with their stage states.
    pub stages: usize,
    /// Steps with x_n alone.
    pub states: usize,
    /// Room for states and carries in place of a state a step.
    pub checkpoints: usize,
    /// Whether a step of which only x_n is known is taped as a whole while it is transposed.
    pub step_tapes: bool,
}

/// λ_0, ∂L/∂θ and ∂L/∂times.
pub(crate) struct Swept<T> {
    pub lambda: Buffer<T>,
    pub parameters: Buffer<T>,
    pub times: Vec<f64>,
    /// Steps of a backward integration.
    pub backward_steps: usize,
}
