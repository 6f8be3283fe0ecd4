//! The statistics of a gradient, and its derivatives in panels.

use crate::memory::{Buffer, Bytes};

/// The work and the memory of computing a gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientStats {
    /// Evaluations of the vector field for the gradient, without those of the solve before it.
    pub evaluations: usize,
    /// Vector–Jacobian products of the vector field for the gradient.
    pub vjps: usize,
    /// Steps of the integration backward, for the continuous adjoint; 0 for exact gradients.
    pub backward_steps: usize,
    /// How much the solve retained for its gradients.
    pub retention: RetentionStats,
    /// Peak memory of the solve and its gradients together, by purpose.
    pub peak: Bytes,
}

/// How many steps of a solve were retained for gradients, and how much of each. A step counts once, where most of it is retained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionStats {
    /// Steps with the tapes of all their stages.
    pub tapes: usize,
    /// Steps with their stage states, but no tapes.
    pub stages: usize,
    /// Steps of which only the state x_n at their beginning is retained.
    pub states: usize,
    /// How many checkpoints there is room for, from which steps are taken again, if there is no room for the state of each step; else 0.
    pub checkpoints: usize,
    /// Whether all stages of a step are taped together when the gradient takes it again, not one after the other.
    pub step_tapes: bool,
}

/// λ_0, ∂L/∂θ and ∂L/∂times, as they lie in panels.
pub(crate) struct PanelGradient<T> {
    pub lambda: Buffer<T>,
    pub parameters: Buffer<T>,
    pub times: Vec<f64>,
    /// Steps of a backward integration.
    pub backward_steps: usize,
}
