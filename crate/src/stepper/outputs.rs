//! Outputs between steps: the extension y(t_n + θh) = x_n + h Σ b_i(θ) k_i, forward and transposed.

use std::ops::Range;

use super::{RecordGradient, Scheme, Span};
use crate::error::Result;
use crate::kernel::combine::{combine, combine_terms};
use crate::kernel::real::Real;
use crate::memory::{Purpose, refill};

/// The outputs that lie within a step, with the weights of the extension at each.
#[derive(Debug, Default)]
pub(crate) struct StepOutputs {
    /// Their indices among all outputs.
    pub outputs: Range<usize>,
    h: f64,
    thetas: Vec<f64>,
    /// A row of s + 1 for each output: b_i(θ), and b_i′(θ).
    weights: Vec<f64>,
    slopes: Vec<f64>,
    row: usize,
    /// While the gradient is taken, for each output: ⟨w, Σ b_i′(θ) k_i⟩, and ⟨w, f(x_{n+1})⟩.
    rates: Vec<f64>,
    next_products: Vec<f64>,
}

impl StepOutputs {
    /// Sets the step and its outputs at `times[outputs]`; reuses what it has allocated.
    pub fn set(&mut self, scheme: &Scheme, span: Span, times: &[f64], outputs: Range<usize>) -> Result<()> {
        const FOR: Purpose = Purpose::Workspace;
        self.row = scheme.stages + 1;
        self.h = span.h;
        refill(FOR, &mut self.thetas, outputs.len(), 0.0)?;
        for (theta, t) in self.thetas.iter_mut().zip(&times[outputs.clone()]) {
            *theta = (t - span.t) / span.h;
        }
        refill(FOR, &mut self.weights, outputs.len() * self.row, 0.0)?;
        refill(FOR, &mut self.slopes, outputs.len() * self.row, 0.0)?;
        let rows = self.weights.chunks_exact_mut(self.row).zip(self.slopes.chunks_exact_mut(self.row));
        for (theta, (weights, slopes)) in self.thetas.iter().zip(rows) {
            scheme.extension_weights(*theta, weights, slopes);
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

    /// `out` = Σ b_i′(θ) k_i, how y moves with the time of the `index`-th of these outputs.
    pub fn rate<T: Real>(&self, index: usize, slopes: &[T], out: &mut [T]) {
        let rates = &self.slopes[index * self.row..(index + 1) * self.row];
        combine_terms(out, rates.iter().copied().zip(slopes.chunks_exact(out.len())));
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

    /// ⟨ℓ, f(x_{n+1})⟩ for the part ℓ of their cotangents that goes to the next step's first slope.
    pub fn next_step_product(&self) -> f64 {
        self.h * self.extension_product()
    }

    /// Σ b_{s+1}(θ) ⟨w, f(x_{n+1})⟩.
    fn extension_product(&self) -> f64 {
        let products = self.next_products.iter().enumerate();
        products.map(|(index, product)| self.weights[index * self.row + self.row - 1] * product).sum()
    }

    /// Adds the gradients of the output times, and of the record through θ; complete once the next step is transposed.
    pub fn pullback_times(&self, record: &mut RecordGradient, times: &mut [f64]) {
        for ((output, rate), theta) in self.outputs.clone().zip(&self.rates).zip(&self.thetas) {
            times[output] += rate;
            record.t -= rate;
            record.h -= theta * rate;
        }
        record.h += self.extension_product();
    }
}
