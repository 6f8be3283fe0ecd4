//! Bytes by purpose, counted for a solve and its gradients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What memory of a solve is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The parameters of the field, and the copies packed for the kernels.
    Network,
    /// The gradient of the parameters, its carry, and the sum over one step.
    Gradient,
    /// Step states x_n (and, where tapes are kept, their stage states) retained over the solve.
    Checkpoints,
    /// Records of a solve: (t_n, h_n) of every step, 16 bytes each, and the step of every output.
    Records,
    /// Stage states, slopes and their cotangents within one step.
    Stages,
    /// Tapes: intermediate values of the field, retained for its transpose.
    Tape,
    /// The solution at the output times.
    Output,
    /// ∂L/∂y at the output times.
    Cotangent,
    /// The running state and cotangent with their carries, and scratch of the kernels.
    Workspace,
}

impl Purpose {
    /// Every purpose, in the order of the fields of [`Bytes`].
    pub const ALL: [Purpose; 9] = [
        Purpose::Network,
        Purpose::Gradient,
        Purpose::Checkpoints,
        Purpose::Records,
        Purpose::Stages,
        Purpose::Tape,
        Purpose::Output,
        Purpose::Cotangent,
        Purpose::Workspace,
    ];

    /// The name of the purpose in JavaScript, such as "checkpoints".
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Network => "network",
            Purpose::Gradient => "gradient",
            Purpose::Checkpoints => "checkpoints",
            Purpose::Records => "records",
            Purpose::Stages => "stages",
            Purpose::Tape => "tape",
            Purpose::Output => "output",
            Purpose::Cotangent => "cotangent",
            Purpose::Workspace => "workspace",
        }
    }
}

/// Bytes by [`Purpose`], as statistics report peak memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes([usize; Purpose::ALL.len()]);

impl Bytes {
    /// The bytes used for one purpose.
    pub fn of(&self, purpose: Purpose) -> usize {
        self.0[purpose as usize]
    }

    /// The bytes used for all purposes together.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// Live and peak bytes of one solve and its gradients, by purpose. Clones share the same counts.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: [AtomicUsize; Purpose::ALL.len()],
    peak: [AtomicUsize; Purpose::ALL.len()],
    live_total: AtomicUsize,
    peak_total: AtomicUsize,
}

impl Ledger {
    /// A ledger without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in buffers that are alive.
    pub fn live(&self) -> Bytes {
        Bytes(std::array::from_fn(|purpose| self.0.live[purpose].load(Relaxed)))
    }

    /// Bytes by purpose at the moment when their total was greatest, so that they add up to it.
    pub fn peak(&self) -> Bytes {
        Bytes(std::array::from_fn(|purpose| self.0.peak[purpose].load(Relaxed)))
    }

    /// Counts bytes that live elsewhere and as long as the solve, such as the field's own parameters.
    pub(crate) fn add(&self, purpose: Purpose, bytes: usize) {
        self.0.live[purpose as usize].fetch_add(bytes, Relaxed);
        let total = self.0.live_total.fetch_add(bytes, Relaxed) + bytes;
        if total > self.0.peak_total.fetch_max(total, Relaxed) {
            for (peak, live) in self.0.peak.iter().zip(&self.0.live) {
                peak.store(live.load(Relaxed), Relaxed);
            }
        }
    }

    pub(super) fn remove(&self, purpose: Purpose, bytes: usize) {
        self.0.live[purpose as usize].fetch_sub(bytes, Relaxed);
        self.0.live_total.fetch_sub(bytes, Relaxed);
    }
}
