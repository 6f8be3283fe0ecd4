//! The transpose of a step that a batch takes together.
//!
//! ```text
//! ℓ_i = h (b_i λ_{n+1} + Σ_{j>i} a_ji g_j)        the cotangent of k_i, for i = s … 1
//! g_i = (∂f/∂x)(X_i)ᵀ ℓ_i,   ∂L/∂θ += (∂f/∂θ)(X_i)ᵀ ℓ_i
//! λ_n = λ_{n+1} + Σ g_i
//! ```
//!
//! With ℓ_i = h b_i Λ_i the transpose is a step of the adjoint system by the symplectic partner of the method (Matsubara,
//! Miyatake and Yaguchi 2021, eq. 7; b_i ã_ij + b̃_j a_ji = b_i b̃_j), without its special case where b_i = 0: nothing is
//! divided by b_i. λᵀδ is the same before and after for every variation δ, hence the exactness of the gradient.
//!
//! Outputs between steps, y(t_n + θh) = x_n + h Σ b_i(θ) k_i with cotangent w, enter the same recurrence: λ_n += w and
//! ℓ_i += h b_i(θ) w. The extension's last slope is f(x_{n+1}), the next step's k_1, so its part goes to ℓ_1 there.

use super::{KeptStage, Span, StepOutputs, Stepper, Workspace};
use crate::error::Result;
use crate::field::{Dynamics, Pullback};
use crate::kernel::combine::combine_terms;
use crate::kernel::real::Real;
use crate::memory::{Purpose, refill};

/// One step, ready to be transposed.
pub(crate) struct Transpose<'a, T> {
    pub span: Span,
    /// λ_{n+1}.
    pub lambda: &'a [T],
    /// ∂L/∂y of all outputs, one state after another.
    pub w: &'a [T],
    /// Outputs within this step; the next step has been transposed.
    pub own: &'a mut StepOutputs,
    /// Outputs within the previous step, whose extension ends in this step's first slope.
    pub previous: &'a mut StepOutputs,
    /// Whether the record's gradient and those of the times are wanted.
    pub times: bool,
}

/// Where the transpose adds its results.
pub(crate) struct GradientSums<'a, T> {
    pub parameters: &'a mut [T],
    pub times: &'a mut [f64],
    /// Products ⟨w, k_i⟩ of one use.
    pub products: &'a mut Vec<f64>,
}

/// The derivatives of the loss with respect to a step's record (t_n, h_n).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordGradient {
    pub t: f64,
    pub h: f64,
}

impl Stepper {
    /// The transpose of a step, from λ_{n+1}: leaves λ_n − λ_{n+1} in `work.state`. `stage(i)` is X_i and, if kept, its tape.
    pub fn transpose<'k, T: Real>(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        step: Transpose<'_, T>,
        stage: &dyn Fn(usize) -> KeptStage<'k, T>,
        work: &mut Workspace<T>,
        sums: GradientSums<'_, T>,
    ) -> Result<RecordGradient> {
        let Transpose { span, lambda, w, own, previous, times } = step;
        let (len, stages, h, c) = (lambda.len(), self.scheme.stages, span.h, self.scheme.c);
        let (g, cotangent) = (&mut work.slopes[..stages * len], &mut *work.state);
        let mut record = RecordGradient::default();
        let mut slope_products = 0.0;
        for i in (0..stages).rev() {
            let first = i == 0;
            let (earlier, later) = g.split_at_mut((i + 1) * len);
            self.scheme.for_each_range(self.panels, len, |place, part| {
                let later = (i + 1..stages).map(|j| h * part.a[j][i]).zip(later.chunks_exact(len));
                let from_previous = first.then(|| previous.terms(stages, w, len)).into_iter().flatten();
                let terms = std::iter::once((h * part.b[i], lambda)).chain(later);
                let terms = terms.chain(own.terms(i, w, len)).chain(from_previous);
                let own = terms.map(|(weight, term)| (weight, &term[place.clone()]));
                combine_terms(&mut cotangent[place.clone()], own);
            });

            // The outputs of the previous step come right before this one's.
            let probes = match (times, first) {
                (false, _) => 0..0,
                (true, false) => own.outputs.clone(),
                (true, true) => previous.outputs.start..own.outputs.end,
            };
            refill(Purpose::Workspace, sums.products, probes.len(), 0.0)?;
            let KeptStage { x, tape, next_tape } = stage(i);
            let pullback = Pullback {
                cotangent,
                x: &mut earlier[i * len..],
                parameters: &mut *sums.parameters,
                probes: &w[probes.start * len..probes.end * len],
                products: &mut *sums.products,
                times,
                next_tape,
            };
            let dots = dynamics.pullback(span.at(c[i]), x, tape, pullback)?;
            if !times {
                continue;
            }
            record.t += dots.time;
            record.h += c[i] * dots.time;
            slope_products += dots.slope;
            let (from_previous, inside) = sums.products.split_at(probes.len() - own.outputs.len());
            own.add_products(i, inside);
            if first {
                previous.add_products(stages, from_previous);
                // ℓ_1 without the part from the previous step's outputs: that does not depend on this step's h.
                slope_products -= previous.next_step_product();
            }
        }
        if times {
            record.h += slope_products / h;
            own.pullback_times(&mut record, sums.times);
        }
        let gradients =
            g.chunks_exact(len).chain(own.outputs.clone().map(|output| &w[output * len..(output + 1) * len]));
        combine_terms(cotangent, gradients.map(|term| (1.0, term)));
        Ok(record)
    }
}
