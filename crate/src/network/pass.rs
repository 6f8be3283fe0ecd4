//! Forward, tape and reverse of a network, a block of panels at a time.
//!
//! The tape of a block keeps, layer by layer, `[u][a][d]` with the layer's outputs as features: u = W x + b before a
//! concatsquash gate; a = σ(z) for hidden layers; d = σ′(z) where it cannot be had from a. The first layer's input is not
//! kept: the caller has it.

use std::ops::Range;

use super::{Activation, Architecture, Layer, Time};
use crate::program::execute::Dots;
use crate::error::Result;
use crate::kernel::combine::{dot, row_sum};
use crate::kernel::panels::Panels;
use crate::kernel::product::{Packed, add_outer, outer_scratch};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// Panels that go through the network together: enough that a product over their lanes hides the loads and stores of
/// the gradient, few enough that their activations stay in the cache.
const BLOCK_PANELS: usize = 4;

/// A network's parameters, packed, with the scratch for one block.
pub struct Pass<T> {
    activation: Activation,
    time: Time,
    /// The time of the passes that follow.
    t: f64,
    panels: Panels,
    layers: Vec<PackedLayer<T>>,
    /// Features of the tape in all.
    tape_width: usize,
    /// The tape of one block.
    tape: Buffer<T>,
    /// Cotangents of a layer's output and of its input, and the value of a block.
    cotangents: [Buffer<T>; 2],
    /// A block's features with the batch as rows, for the outer product.
    transposed: Buffer<T>,
}

pub(super) struct PackedLayer<T> {
    pub place: Layer,
    pub forward: Packed<T>,
    /// Wᵀ, where the reverse pass is wanted.
    pub backward: Option<Packed<T>>,
    pub vectors: LayerVectors<T>,
    /// Features of the tape before this layer's.
    tape_start: usize,
    /// Of this layer's part of the tape, where a begins and where d does.
    values: usize,
    derivatives: usize,
}

/// A layer's vectors, one number an output each, one behind the other.
pub(super) struct LayerVectors<T> {
    outputs: usize,
    numbers: Buffer<T>,
}

/// Which of a layer's vectors. The first five are parameters, the others follow from them and the time.
#[derive(Clone, Copy)]
pub(super) enum LayerVector {
    Bias,
    TimeWeight,
    GateWeight,
    GateBias,
    HyperBias,
    /// What W x starts from.
    Shift,
    /// The concatsquash gate, and what is added behind it.
    Gate,
    Drift,
    /// Over a block: Σ dz, and Σ dz·u.
    Sum,
    ProductSum,
}

/// Numbers in the vectors of a layer, for each output.
pub const VECTORS: usize = 10;

impl<T: Real> LayerVectors<T> {
    pub fn get(&self, which: LayerVector) -> &[T] {
        let start = which as usize * self.outputs;
        &self.numbers[start..start + self.outputs]
    }

    fn get_mut(&mut self, which: LayerVector) -> &mut [T] {
        let start = which as usize * self.outputs;
        &mut self.numbers[start..start + self.outputs]
    }
}

impl<T: Real> PackedLayer<T> {
    pub fn new(
        place: Layer,
        parameters: &[T],
        last: bool,
        architecture: &Architecture,
        tape_start: usize,
        reverse: bool,
        ledger: &Ledger,
    ) -> Result<Self> {
        let Layer { inputs, outputs, weight, columns, .. } = place;
        let first = columns - inputs;
        let entry = |row: usize, k: usize| parameters[weight + row * columns + first + k];
        let forward = Packed::new(ledger, outputs, inputs, entry)?;
        let backward = if reverse { Some(Packed::new(ledger, inputs, outputs, |row, k| entry(k, row))?) } else { None };
        let numbers = Buffer::zeroed(ledger, Purpose::Network, VECTORS * outputs)?;
        let mut vectors = LayerVectors { outputs, numbers };
        let gate = [LayerVector::GateWeight, LayerVector::GateBias, LayerVector::HyperBias]
            .into_iter()
            .zip(place.gate.into_iter().flatten());
        for (which, offset) in place.bias.map(|offset| (LayerVector::Bias, offset)).into_iter().chain(gate) {
            vectors.get_mut(which).copy_from_slice(&parameters[offset..offset + outputs]);
        }
        if first == 1 {
            for (row, time) in vectors.get_mut(LayerVector::TimeWeight).iter_mut().enumerate() {
                *time = parameters[weight + row * columns];
            }
        }
        let values = if architecture.time == Time::ConcatSquash { outputs } else { 0 };
        let derivatives = values + if last { 0 } else { outputs };
        Ok(Self { place, forward, backward, vectors, tape_start, values, derivatives })
    }

    /// Features of this layer's part of the tape.
    fn tape_width(&self, last: bool, activation: Activation) -> usize {
        self.derivatives + if !last && activation.keeps_derivative() { self.place.outputs } else { 0 }
    }

    pub fn set_time(&mut self, t: f64) {
        for row in 0..self.place.outputs {
            let at = |vectors: &LayerVectors<T>, which| vectors.get(which)[row].wide();
            let shift = at(&self.vectors, LayerVector::Bias) + at(&self.vectors, LayerVector::TimeWeight) * t;
            self.vectors.get_mut(LayerVector::Shift)[row] = T::of(shift);
            if self.place.gate.is_some() {
                let into_gate =
                    at(&self.vectors, LayerVector::GateWeight) * t + at(&self.vectors, LayerVector::GateBias);
                let gate = 1.0 / (1.0 + libm::exp(-into_gate));
                let drift = at(&self.vectors, LayerVector::HyperBias) * t;
                self.vectors.get_mut(LayerVector::Gate)[row] = T::of(gate);
                self.vectors.get_mut(LayerVector::Drift)[row] = T::of(drift);
            }
        }
    }

    /// Behind the gate: z = u · gate + drift, for one panel.
    pub fn squash(&self, width: usize, u: &[T], z: &mut [T]) {
        let (gates, drifts) = (self.vectors.get(LayerVector::Gate), self.vectors.get(LayerVector::Drift));
        for (row, (u, z)) in u.chunks_exact(width).zip(z.chunks_exact_mut(width)).enumerate() {
            for (&u, z) in u.iter().zip(z) {
                *z = u * gates[row] + drifts[row];
            }
        }
    }

    /// Sums Σ dz and, with a gate, Σ dz·u over the lanes of a block; there dz becomes the cotangent of u.
    pub fn sum_block(&mut self, panels: &Panels, block: Range<usize>, dz: &mut [T], u: Option<&[T]>) {
        let outputs = self.place.outputs;
        let (first, rest) = self.vectors.numbers.split_at_mut(LayerVector::Sum as usize * outputs);
        let gates = &first[LayerVector::Gate as usize * outputs..][..outputs];
        let (sums, product_sums) = rest.split_at_mut(outputs);
        sums.fill(T::zero());
        product_sums.fill(T::zero());
        for panel in panels.within(block.clone()) {
            let range = panel.range(outputs, block.start);
            for (sum, row) in sums.iter_mut().zip(dz[range.clone()].chunks_exact(panel.width)) {
                *sum = *sum + row_sum(row);
            }
            let Some(u) = u else { continue };
            let rows = dz[range.clone()].chunks_exact_mut(panel.width).zip(u[range].chunks_exact(panel.width));
            for ((sum, &gate), (dz, u)) in product_sums.iter_mut().zip(gates).zip(rows) {
                *sum = *sum + T::of(dot(dz, u));
                dz.iter_mut().for_each(|dz| *dz = *dz * gate);
            }
        }
    }

    /// Adds to Σ dz·u what a direction contributes: Σ dw·ẇ; there dw becomes the cotangent of ẇ.
    pub fn sum_products(&mut self, panels: &Panels, block: Range<usize>, dw: &mut [T], w: &[T]) {
        let outputs = self.place.outputs;
        for panel in panels.within(block.clone()) {
            let range = panel.range(outputs, block.start);
            let rows = dw[range.clone()].chunks_exact_mut(panel.width).zip(w[range].chunks_exact(panel.width));
            for (row, (dw, w)) in rows.enumerate() {
                let product = T::of(dot(dw, w));
                let sum = &mut self.vectors.get_mut(LayerVector::ProductSum)[row];
                *sum = *sum + product;
                let gate = self.vectors.get(LayerVector::Gate)[row];
                dw.iter_mut().for_each(|dw| *dw = *dw * gate);
            }
        }
    }

    /// From the sums over a block: adds the gradients of the bias, of the time's column and of the gate, and returns the
    /// cotangent of the time.
    pub fn pull_vectors(&self, t: f64, gradient: &mut [T]) -> f64 {
        let Layer { columns, inputs, weight, .. } = self.place;
        let mut add = |index: usize, part: f64| gradient[index] = gradient[index] + T::of(part);
        let mut time = 0.0;
        for row in 0..self.place.outputs {
            let at = |which| self.vectors.get(which)[row].wide();
            let (sum, mut bias) = (at(LayerVector::Sum), at(LayerVector::Sum));
            if columns > inputs {
                add(weight + row * columns, sum * t);
                time += sum * at(LayerVector::TimeWeight);
            }
            if let Some([gate_weight, gate_bias, hyper_bias]) = self.place.gate {
                let gate = at(LayerVector::Gate);
                let into_gate = at(LayerVector::ProductSum) * gate * (1.0 - gate);
                add(gate_weight + row, into_gate * t);
                add(gate_bias + row, into_gate);
                add(hyper_bias + row, sum * t);
                time += into_gate * at(LayerVector::GateWeight) + sum * at(LayerVector::HyperBias);
                bias *= gate;
            }
            if let Some(offset) = self.place.bias {
                add(offset + row, bias);
            }
        }
        time
    }

    /// The part of ⟨ℓ, f⟩ that the sums over a block hold: all of it behind a gate, else what does not pass W.
    fn slope_of_vectors(&self) -> f64 {
        let at = |which, row: usize| self.vectors.get(which)[row].wide();
        let gated = self.place.gate.is_some();
        (0..self.place.outputs)
            .map(|row| match gated {
                true => {
                    at(LayerVector::Gate, row) * at(LayerVector::ProductSum, row)
                        + at(LayerVector::Drift, row) * at(LayerVector::Sum, row)
                }
                false => at(LayerVector::Shift, row) * at(LayerVector::Sum, row),
            })
            .sum()
    }
}

impl<T: Real> Pass<T> {
    pub fn new(
        architecture: &Architecture,
        parameters: &[T],
        panels: Panels,
        reverse: bool,
        ledger: &Ledger,
    ) -> Result<Self> {
        let places = architecture.layers();
        let last = places.len() - 1;
        let mut layers = Vec::with_capacity(places.len());
        let mut tape_width = 0;
        for (index, place) in places.into_iter().enumerate() {
            let layer = PackedLayer::new(place, parameters, index == last, architecture, tape_width, reverse, ledger)?;
            tape_width += layer.tape_width(index == last, architecture.activation);
            layers.push(layer);
        }
        let lanes = block_lanes::<T>(&panels);
        let widest = architecture.widths.iter().copied().max().unwrap_or(0);
        let scratch = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, if reverse { len } else { 0 });
        Ok(Self {
            activation: architecture.activation,
            time: architecture.time,
            // No time is equal to it: the first one is set.
            t: f64::NAN,
            panels,
            layers,
            tape_width,
            tape: Buffer::zeroed(ledger, Purpose::Tape, lanes * tape_width)?,
            cotangents: [scratch(lanes * widest)?, scratch(lanes * widest)?],
            transposed: scratch(outer_scratch::<T>(lanes))?,
        })
    }

    /// Numbers of tape for each lane.
    pub fn tape_width(&self) -> usize {
        self.tape_width
    }

    /// Ranges of lanes that go through the network together.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        self.panels.blocks(BLOCK_PANELS * T::LANES)
    }

    /// The time of the passes that follow.
    pub fn set_time(&mut self, t: f64) {
        if self.t == t || (self.time == Time::None && !self.t.is_nan()) {
            return;
        }
        self.t = t;
        for layer in &mut self.layers {
            layer.set_time(t);
        }
    }

    /// Runs a block forward from its input `x`. `value` is where the output goes; without one the pass is for its tape, and
    /// the last product is left out where that does not need it. `tape` is where to keep the tape, else this pass's own,
    /// where a pass for its value leaves out what only the transpose needs.
    pub fn forward(&mut self, block: Range<usize>, x: &[T], tape: Option<&mut [T]>, mut value: Option<&mut [T]>) {
        let taped = tape.is_some() || value.is_none();
        let lanes = block.len();
        let (activation, squash) = (self.activation, self.time == Time::ConcatSquash);
        let tape = match tape {
            Some(tape) => tape,
            None => &mut self.tape[..lanes * self.tape_width],
        };
        let last = self.layers.len() - 1;
        let mut input = 0..0;
        for (index, layer) in self.layers.iter().enumerate() {
            if index == last && value.is_none() && !squash {
                break;
            }
            let outputs = layer.place.outputs;
            let (before, own) = tape.split_at_mut(layer.tape_start * lanes);
            let h = if index == 0 { x } else { &before[input.clone()] };
            let (u, own) = own.split_at_mut(layer.values * lanes);
            let hidden = if index == last { 0 } else { outputs * lanes };
            let (a, d) = own.split_at_mut(hidden);
            let z = if index == last { value.as_deref_mut().unwrap_or(&mut []) } else { a };
            for panel in self.panels.within(block.clone()) {
                let h = &h[panel.range(layer.place.inputs, block.start)];
                let range = panel.range(outputs, block.start);
                let product = if squash { &mut u[range.clone()] } else { &mut z[range.clone()] };
                layer.forward.times(Some(layer.vectors.get(LayerVector::Shift)), panel.width, h, product);
                if z.is_empty() {
                    continue;
                }
                let z = &mut z[range.clone()];
                if squash {
                    layer.squash(panel.width, &u[range.clone()], z);
                }
                if index < last {
                    if activation.keeps_derivative() && taped {
                        activation.apply_keeping(z, &mut d[range]);
                    } else {
                        activation.apply(z);
                    }
                }
            }
            let start = (layer.tape_start + layer.values) * lanes;
            input = start..start + outputs * lanes;
        }
    }

    /// The output of a block whose tape is kept, or stands in this pass's own.
    pub fn value(&mut self, block: Range<usize>, x: &[T], tape: Option<&[T]>) -> &[T] {
        let lanes = block.len();
        let tape = tape.unwrap_or(&self.tape);
        let last = self.layers.len() - 1;
        let layer = &self.layers[last];
        let (inputs, outputs) = (layer.place.inputs, layer.place.outputs);
        let h = input(&self.layers, last, lanes, x, tape);
        let value = &mut self.cotangents[0][..lanes * outputs];
        for panel in self.panels.within(block.clone()) {
            let range = panel.range(outputs, block.start);
            if self.time == Time::ConcatSquash {
                let u = &tape[layer.tape_start * lanes..][range.clone()];
                layer.squash(panel.width, u, &mut value[range]);
            } else {
                let h = &h[panel.range(inputs, block.start)];
                layer.forward.times(Some(layer.vectors.get(LayerVector::Shift)), panel.width, h, &mut value[range]);
            }
        }
        value
    }

    /// The transpose of a block at its tape: `dx` becomes (∂f/∂x)ᵀ ℓ, (∂f/∂θ)ᵀ ℓ is added to `gradient`.
    pub fn reverse(
        &mut self,
        block: Range<usize>,
        x: &[T],
        kept: Option<&[T]>,
        cotangent: &[T],
        dx: &mut [T],
        gradient: &mut [T],
    ) -> Dots {
        let lanes = block.len();
        let tape = kept.unwrap_or(&self.tape);
        let [first, second] = &mut self.cotangents;
        let (mut dz, mut dh) = (&mut first[..], &mut second[..]);
        dz[..cotangent.len()].copy_from_slice(cotangent);
        let mut dots = Dots::default();
        let last = self.layers.len() - 1;
        for index in (0..=last).rev() {
            let h = input(&self.layers, index, lanes, x, tape);
            let layer = &mut self.layers[index];
            let Layer { inputs, outputs, columns, weight, .. } = layer.place;
            let own = &tape[layer.tape_start * lanes..];
            let cotangent = &mut dz[..outputs * lanes];
            if index < last {
                let start = if self.activation.keeps_derivative() { layer.derivatives } else { layer.values };
                self.activation.pull(&own[start * lanes..(start + outputs) * lanes], cotangent);
            }
            let u = (self.time == Time::ConcatSquash).then(|| &own[..outputs * lanes]);
            layer.sum_block(&self.panels, block.clone(), cotangent, u);
            dots.time += layer.pull_vectors(self.t, gradient);
            add_outer(
                &self.panels,
                block.clone(),
                (outputs, cotangent),
                (inputs, h),
                &mut gradient[weight + columns - inputs..],
                columns,
                &mut self.transposed,
            );
            let target = if index == 0 { &mut *dx } else { &mut dh[..inputs * lanes] };
            if let Some(backward) = &layer.backward {
                for panel in self.panels.within(block.clone()) {
                    let dz = &cotangent[panel.range(outputs, block.start)];
                    backward.times(None, panel.width, dz, &mut target[panel.range(inputs, block.start)]);
                }
            }
            if index == last {
                dots.slope += layer.slope_of_vectors();
                if self.time != Time::ConcatSquash {
                    dots.slope += dot(target, h);
                }
            }
            std::mem::swap(&mut dz, &mut dh);
        }
        dots
    }
}

/// What went into a layer.
fn input<'a, T: Real>(layers: &[PackedLayer<T>], index: usize, lanes: usize, x: &'a [T], tape: &'a [T]) -> &'a [T] {
    match index.checked_sub(1).map(|before| &layers[before]) {
        None => x,
        Some(before) => &tape[(before.tape_start + before.values) * lanes..][..before.place.outputs * lanes],
    }
}

/// Lanes of the largest block.
fn block_lanes<T: Real>(panels: &Panels) -> usize {
    panels.lanes.min(BLOCK_PANELS * T::LANES)
}
