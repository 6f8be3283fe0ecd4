//! One Runge–Kutta step and its transpose, side by side.
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

use std::ops::Range;

use crate::error::Result;
use crate::field::{Dynamics, Pull};
use crate::kernel::real::Real;
use crate::kernel::vector::{combine, combine_terms};
use crate::memory::{Purpose, refill};
use crate::tableau::Tableau;

/// When and how far a step goes. `end` is t_{n+1} as recorded, which t + h may miss by rounding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub t: f64,
    pub h: f64,
    pub end: f64,
}

impl Span {
    pub fn stage_time(&self, tableau: &Tableau, stage: usize) -> f64 {
        if tableau.c[stage] == 1.0 { self.end } else { self.t + tableau.c[stage] * self.h }
    }
}

/// `out = X_i`, from the slopes before.
pub(crate) fn stage_state<T: Real>(tableau: &Tableau, stage: usize, h: f64, x: &[T], slopes: &[T], out: &mut [T]) {
    let rows = slopes.chunks_exact(x.len());
    combine(out, x, tableau.a[stage].iter().map(|a| h * a).zip(rows));
}

/// `out = x_{n+1} − x_n`.
pub(crate) fn increment<T: Real>(tableau: &Tableau, h: f64, slopes: &[T], out: &mut [T]) {
    let rows = slopes.chunks_exact(out.len());
    combine_terms(out, tableau.b[..tableau.gradient_stages()].iter().map(|b| h * b).zip(rows));
}

/// `out` = the estimate of the error of x_{n+1}.
pub(crate) fn error_estimate<T: Real>(tableau: &Tableau, h: f64, slopes: &[T], out: &mut [T]) {
    let rows = slopes.chunks_exact(out.len());
    combine_terms(out, tableau.b.iter().zip(tableau.b_hat).map(|(b, b_hat)| h * (b - b_hat)).zip(rows));
}

/// The outputs that lie within a step, with the weights of the extension at each.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// Their indices among all outputs.
    pub outputs: Range<usize>,
    h: f64,
    thetas: Vec<f64>,
    /// A row of `gradient_stages` + 1 for each output: b_i(θ), and b_i′(θ).
    weights: Vec<f64>,
    slopes: Vec<f64>,
    row: usize,
    /// While the gradient is taken, for each output: ⟨w, Σ b_i′(θ) k_i⟩, and ⟨w, f(x_{n+1})⟩.
    rates: Vec<f64>,
    next_products: Vec<f64>,
}

impl Inside {
    /// Sets the step and its outputs at `times[outputs]`; reuses what it has allocated.
    pub fn set(&mut self, tableau: &Tableau, span: Span, times: &[f64], outputs: Range<usize>) -> Result<()> {
        const FOR: Purpose = Purpose::Workspace;
        self.row = tableau.gradient_stages() + 1;
        self.h = span.h;
        refill(FOR, &mut self.thetas, outputs.len(), 0.0)?;
        for (theta, t) in self.thetas.iter_mut().zip(&times[outputs.clone()]) {
            *theta = (t - span.t) / span.h;
        }
        refill(FOR, &mut self.weights, outputs.len() * self.row, 0.0)?;
        refill(FOR, &mut self.slopes, outputs.len() * self.row, 0.0)?;
        let rows = self.weights.chunks_exact_mut(self.row).zip(self.slopes.chunks_exact_mut(self.row));
        for (theta, (weights, slopes)) in self.thetas.iter().zip(rows) {
            tableau.extension_weights(*theta, weights, slopes);
        }
        refill(FOR, &mut self.rates, outputs.len(), 0.0)?;
        refill(FOR, &mut self.next_products, outputs.len(), 0.0)?;
        self.outputs = outputs;
        Ok(())
    }

    /// `out` = y at the `index`-th of these outputs.
    pub fn state<T: Real>(&self, index: usize, x: &[T], slopes: &[T], out: &mut [T]) {
        let weights = &self.weights[index * self.row..(index + 1) * self.row];
        combine(out, x, weights.iter().map(|b| self.h * b).zip(slopes.chunks_exact(x.len())));
    }

    /// h b_i(θ) w for each output: what they add to the cotangent of slope i, the last being f(x_{n+1}).
    pub fn terms<'a, T>(
        &'a self,
        slope: usize,
        w: &'a [T],
        len: usize,
    ) -> impl Iterator<Item = (f64, &'a [T])> + Clone {
        let cotangents = self.outputs.clone().map(move |output| &w[output * len..(output + 1) * len]);
        cotangents.enumerate().map(move |(index, w)| (self.h * self.weights[index * self.row + slope], w))
    }

    /// Takes ⟨w, k_i⟩ for each output.
    pub fn add_products(&mut self, slope: usize, products: &[f64]) {
        for (index, product) in products.iter().enumerate() {
            self.rates[index] += self.slopes[index * self.row + slope] * product;
        }
        if slope + 1 == self.row {
            self.next_products.copy_from_slice(products);
        }
    }

    /// Σ b_{s+1}(θ) ⟨w, f(x_{n+1})⟩.
    fn next_slope_product(&self) -> f64 {
        let products = self.next_products.iter().enumerate();
        products.map(|(index, product)| self.weights[index * self.row + self.row - 1] * product).sum()
    }

    /// Adds the gradients of the output times, and of the record through θ; complete once the next step is transposed.
    fn pull_times(&self, record: &mut RecordGradient, times: &mut [f64]) {
        for ((output, rate), theta) in self.outputs.clone().zip(&self.rates).zip(&self.thetas) {
            times[output] += rate;
            record.t -= rate;
            record.h -= theta * rate;
        }
        record.h += self.next_slope_product();
    }
}

/// The derivatives of the loss with respect to a step's record (t_n, h_n).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordGradient {
    pub t: f64,
    pub h: f64,
}

/// One step, ready to be transposed.
pub(crate) struct Transpose<'a, T> {
    pub tableau: &'static Tableau,
    pub span: Span,
    /// ∂L/∂y of all outputs, one state behind the other.
    pub w: &'a [T],
    /// Outputs within this step; the next step has been transposed.
    pub own: &'a mut Inside,
    /// Outputs within the step before, whose extension ends in this step's first slope.
    pub before: &'a mut Inside,
    /// Whether the record's gradient and those of the times are wanted.
    pub times: bool,
}

/// Where the transpose adds its results.
pub(crate) struct Sums<'a, T> {
    pub parameters: &'a mut [T],
    pub times: &'a mut [f64],
}

/// Where the transpose works: `g` has a state for each stage, `cotangent` is one.
pub(crate) struct Scratch<'a, T> {
    pub g: &'a mut [T],
    pub cotangent: &'a mut [T],
    pub products: &'a mut Vec<f64>,
}

impl<T: Real> Transpose<'_, T> {
    /// From `lambda` = λ_{n+1}: leaves λ_n − λ_{n+1} in `scratch.cotangent`. `stage(i)` is X_i and, if kept, its tape.
    pub fn run<'s>(
        self,
        dynamics: &mut dyn Dynamics<T>,
        stage: impl Fn(usize) -> (&'s [T], Option<&'s [T]>),
        lambda: &[T],
        sums: Sums<'_, T>,
        scratch: Scratch<'_, T>,
    ) -> Result<RecordGradient> {
        let Transpose { tableau, span, w, own, before, times } = self;
        let Scratch { g, cotangent, products } = scratch;
        let (len, stages, h) = (lambda.len(), tableau.gradient_stages(), span.h);
        let mut record = RecordGradient::default();
        let mut slope_products = 0.0;
        for i in (0..stages).rev() {
            let first = i == 0;
            let (earlier, later) = g.split_at_mut((i + 1) * len);
            let later = (i + 1..stages).map(|j| h * tableau.a[j][i]).zip(later.chunks_exact(len));
            let handed = first.then(|| before.terms(stages, w, len)).into_iter().flatten();
            let terms = std::iter::once((h * tableau.b[i], lambda)).chain(later);
            combine_terms(cotangent, terms.chain(own.terms(i, w, len)).chain(handed));

            // The outputs of the step before stand right in front of this one's.
            let probes = match (times, first) {
                (false, _) => 0..0,
                (true, false) => own.outputs.clone(),
                (true, true) => before.outputs.start..own.outputs.end,
            };
            refill(Purpose::Workspace, products, probes.len(), 0.0)?;
            let (x, tape) = stage(i);
            let pull = Pull {
                cotangent,
                x: &mut earlier[i * len..],
                parameters: &mut *sums.parameters,
                probes: &w[probes.start * len..probes.end * len],
                products: &mut *products,
                times,
            };
            let dots = dynamics.pull(span.stage_time(tableau, i), x, tape, pull)?;
            if !times {
                continue;
            }
            record.t += dots.time;
            record.h += tableau.c[i] * dots.time;
            slope_products += dots.slope;
            let (handed, inside) = products.split_at(probes.len() - own.outputs.len());
            own.add_products(i, inside);
            if first {
                before.add_products(stages, handed);
                // ℓ_1 without what the step before handed over: that does not depend on this step's h.
                slope_products -= before.h * before.next_slope_product();
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
