//! What a gradient returns besides the gradient itself: statistics, and the derivatives in panels.

use crate::memory::{Buffer, Bytes};

/// What computing a gradient took, without the solve before it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientStats {
    /// Evaluations of the vector field.
    pub evaluations: usize,
    /// Vector–Jacobian products of the vector field.
    pub vjps: usize,
    /// Steps of the integration backward, of the continuous adjoint; else 0.
    pub backward_steps: usize,
    /// What the solve has retained for its gradients.
    pub retention: RetentionStats,
    /// Peak memory of the solve and its gradients together, by purpose.
    pub peak: Bytes,
}

/// What a solve has retained of its steps. Each step counts once, under the most that is retained of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionStats {
    /// Steps with the tapes of all their stages.
    pub tapes: usize,
    /// Steps with their stage states, but no tapes.
    pub stages: usize,
    /// Steps with the state x_n at their beginning alone.
    pub states: usize,
    /// Where there is no room for a state of each step: how many checkpoints there is room for, from which steps are taken again.
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
