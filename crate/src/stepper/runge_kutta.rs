//! Explicit Runge–Kutta methods: one step and its transpose, side by side.
//!
//! ```text
//! forward     X_i = x_n + h Σ_{j<i} a_ij k_j       k_i = f(X_i, t_n + c_i h)       x_{n+1} = x_n + h Σ b_i k_i
//!
//! transpose   ℓ_i = h (b_i λ_{n+1} + Σ_{j>i} a_ji g_j)        the cotangent of k_i, for i = s … 1
//!             g_i = (∂f/∂x)(X_i)ᵀ ℓ_i,   ∂L/∂θ += (∂f/∂θ)(X_i)ᵀ ℓ_i
//!             λ_n = λ_{n+1} + Σ g_i
//! ```
//!
//! With ℓ_i = h b_i Λ_i the transpose is a step of the adjoint system by the symplectic partner of the method (Matsubara,
//! Miyatake and Yaguchi 2021, eq. 7; b_i ã_ij + b̃_j a_ji = b_i b̃_j), without its special case where b_i = 0: nothing is
//! divided by b_i. λᵀδ is the same before and after for every variation δ, hence the exactness of the gradient.
//!
//! Outputs between steps, y(t_n + θh) = x_n + h Σ b_i(θ) k_i with cotangent w, enter the same recurrence: λ_n += w and
//! ℓ_i += h b_i(θ) w. The extension's last slope is f(x_{n+1}), the next step's k_1, so its part goes to ℓ_1 there.

use super::{Goal, KeptStage, RecordGradient, Sink, Span, Stage, Stepper, Sums, Transpose, Work};
use crate::error::Result;
use crate::field::{Dynamics, Pull};
use crate::kernel::combine::{combine, combine_terms};
use crate::kernel::real::Real;
use crate::memory::{Purpose, refill};
use crate::tableau::Tableau;

impl<T: Real> Stepper<T> for Tableau {
    fn order(&self) -> u32 {
        self.order
    }

    fn stages(&self) -> usize {
        self.gradient_stages()
    }

    fn estimates_with_next(&self) -> bool {
        self.adaptive() && self.fsal()
    }

    fn attempt(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        span: Span,
        x: &[T],
        goal: Goal,
        work: &mut Work<T>,
        sink: &mut dyn Sink<T>,
    ) -> Result<()> {
        let (len, stages) = (x.len(), self.gradient_stages());
        for index in usize::from(work.first_known)..stages {
            let (before, slope) = work.slopes.split_at_mut(index * len);
            let stage = Stage { step: span.step, index, t: self.stage_time(span, index) };
            // The first stage's state is x_n.
            let state = match index {
                0 => x,
                _ => {
                    let terms = self.a[index].iter().map(|a| span.h * a).zip(before.chunks_exact(len));
                    combine(&mut work.state, x, terms);
                    &*work.state
                }
            };
            let tape = sink.stage(stage, state)?;
            // The last slope serves no other stage.
            if goal == Goal::Increment || index + 1 < stages || tape.is_some() {
                dynamics.evaluate(stage.t, state, tape, &mut slope[..len])?;
            }
        }
        if goal == Goal::Increment {
            let terms = self.b[..stages].iter().map(|b| span.h * b).zip(work.slopes.chunks_exact(len));
            combine_terms(&mut work.state, terms);
        }
        Ok(())
    }

    fn error(&self, span: Span, work: &mut Work<T>) {
        let len = work.state.len();
        let weights = self.b.iter().zip(self.b_hat).map(|(b, b_hat)| span.h * (b - b_hat));
        combine_terms(&mut work.state, weights.zip(work.slopes.chunks_exact(len)));
    }

    fn extension_weights(&self, theta: f64, weights: &mut [f64], rates: &mut [f64]) {
        self.extension_weights(theta, weights, rates);
    }

    fn transpose<'k>(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        step: Transpose<'_, T>,
        stage: &dyn Fn(usize) -> KeptStage<'k, T>,
        work: &mut Work<T>,
        sums: Sums<'_, T>,
    ) -> Result<RecordGradient> {
        let Transpose { span, lambda, w, own, before, times } = step;
        let (len, stages, h) = (lambda.len(), self.gradient_stages(), span.h);
        let (g, cotangent) = (&mut work.slopes[..stages * len], &mut *work.state);
        let mut record = RecordGradient::default();
        let mut slope_products = 0.0;
        for i in (0..stages).rev() {
            let first = i == 0;
            let (earlier, later) = g.split_at_mut((i + 1) * len);
            let later = (i + 1..stages).map(|j| h * self.a[j][i]).zip(later.chunks_exact(len));
            let handed = first.then(|| before.terms(stages, w, len)).into_iter().flatten();
            let terms = std::iter::once((h * self.b[i], lambda)).chain(later);
            combine_terms(cotangent, terms.chain(own.terms(i, w, len)).chain(handed));

            // The outputs of the step before stand right in front of this one's.
            let probes = match (times, first) {
                (false, _) => 0..0,
                (true, false) => own.outputs.clone(),
                (true, true) => before.outputs.start..own.outputs.end,
            };
            refill(Purpose::Workspace, sums.products, probes.len(), 0.0)?;
            let (x, tape) = stage(i);
            let pull = Pull {
                cotangent,
                x: &mut earlier[i * len..],
                parameters: &mut *sums.parameters,
                probes: &w[probes.start * len..probes.end * len],
                products: &mut *sums.products,
                times,
            };
            let dots = dynamics.pull(self.stage_time(span, i), x, tape, pull)?;
            if !times {
                continue;
            }
            record.t += dots.time;
            record.h += self.c[i] * dots.time;
            slope_products += dots.slope;
            let (handed, inside) = sums.products.split_at(probes.len() - own.outputs.len());
            own.add_products(i, inside);
            if first {
                before.add_products(stages, handed);
                // ℓ_1 without what the step before handed over: that does not depend on this step's h.
                slope_products -= before.handed_product();
            }
        }
        if times {
            record.h += slope_products / h;
            own.pull_times(&mut record, sums.times);
        }
        let gradients =
            g.chunks_exact(len).chain(own.outputs.clone().map(|output| &w[output * len..(output + 1) * len]));
        combine_terms(cotangent, gradients.map(|term| (1.0, term)));
        Ok(record)
    }
}

impl Tableau {
    fn stage_time(&self, span: Span, stage: usize) -> f64 {
        if self.c[stage] == 1.0 { span.end } else { span.t + self.c[stage] * span.h }
    }
}
