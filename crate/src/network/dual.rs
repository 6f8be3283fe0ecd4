//! The dual pass: a network's value together with its derivatives along some directions, and the reverse of both. All that
//! needs second derivatives rests on it.
//!
//! ```text
//! forward     z = W h + b,  a = σ(z);     ż = W ḣ,  ȧ = σ′(z) ż      for each direction
//! reverse     z̄ = σ′ ā + σ″ Σ ż ǡ,       ż̄ = σ′ ǡ
//!             h̄ = Wᵀ z̄,  ḣ̄ = Wᵀ ż̄,       W̄ += z̄ hᵀ + Σ ż̄ ḣᵀ
//! ```
//!
//! Directions are directions of x: time stands still along them. What is kept of a block, layer by layer, is `[u][a][σ′][σ″]`
//! for the value, u = W h + b standing before a concatsquash gate, and `[ẇ][ȧ]` with ẇ = W ḣ, each for all directions.

use std::ops::Range;

use super::Time;
use super::pass::{LayerVector, PackedLayer};
use super::{Activation, Architecture, Layer};
use crate::error::Result;
use crate::kernel::panels::Panels;
use crate::kernel::product::{add_outer, outer_scratch};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// A network's parameters, packed, for passes along so many directions.
pub struct Dual<T> {
    activation: Activation,
    squash: bool,
    time: Time,
    t: f64,
    panels: Panels,
    directions: usize,
    layers: Vec<DualLayer<T>>,
    values_width: usize,
    tangents_width: usize,
    /// Cotangents of a layer's output and of its input: of the value, and of all tangents.
    values: [Buffer<T>; 2],
    tangents: [Buffer<T>; 2],
    transposed: Buffer<T>,
}

struct DualLayer<T> {
    packed: PackedLayer<T>,
    /// Features before this layer's, of the value and for each direction.
    value_start: usize,
    tangent_start: usize,
    /// Features of u, and of what follows the activation.
    gated: usize,
    hidden: usize,
    /// Features of ẇ, for each direction.
    linear: usize,
}

impl<T: Real> Dual<T> {
    pub fn new(
        architecture: &Architecture,
        parameters: &[T],
        panels: Panels,
        lanes: usize,
        directions: usize,
        ledger: &Ledger,
    ) -> Result<Self> {
        let squash = architecture.time == Time::ConcatSquash;
        let places = architecture.layers();
        let last = places.len() - 1;
        let mut layers = Vec::with_capacity(places.len());
        let (mut value_start, mut tangent_start) = (0, 0);
        for (index, place) in places.into_iter().enumerate() {
            let hidden = if index == last { 0 } else { place.outputs };
            let gated = if squash { place.outputs } else { 0 };
            let linear = if squash || index < last { place.outputs } else { 0 };
            let packed = PackedLayer::new(place, parameters, index == last, architecture, 0, true, ledger)?;
            layers.push(DualLayer { packed, value_start, tangent_start, gated, hidden, linear });
            value_start += gated + 3 * hidden;
            tangent_start += linear + hidden;
        }
        let widest = architecture.widths.iter().copied().max().unwrap_or(0);
        let scratch = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let (value, tangent) = (lanes * widest, lanes * widest * directions);
        Ok(Self {
            activation: architecture.activation,
            squash,
            time: architecture.time,
            t: f64::NAN,
            panels,
            directions,
            layers,
            values_width: value_start,
            tangents_width: directions * tangent_start,
            values: [scratch(value)?, scratch(value)?],
            tangents: [scratch(tangent)?, scratch(tangent)?],
            transposed: scratch(outer_scratch::<T>(lanes))?,
        })
    }

    /// Lanes that go through a network together.
    pub fn block_lanes(_architecture: &Architecture) -> usize {
        4 * T::LANES
    }

    /// Numbers kept for each lane: of the value, and of the tangents.
    pub fn widths(&self) -> (usize, usize) {
        (self.values_width, self.tangents_width)
    }

    /// The panels that the blocks which follow are of.
    pub fn set_panels(&mut self, panels: Panels) {
        self.panels = panels;
    }

    /// The time of the passes that follow.
    pub fn set_time(&mut self, t: f64) {
        if self.t == t || (self.time == Time::None && !self.t.is_nan()) {
            return;
        }
        self.t = t;
        for layer in &mut self.layers {
            layer.packed.set_time(t);
        }
    }

    /// Runs a block forward from its input; what the other passes need goes to `kept`.
    pub fn value(&self, block: Range<usize>, x: &[T], kept: &mut [T], out: &mut [T]) {
        let lanes = block.len();
        let last = self.layers.len() - 1;
        let mut input = 0..0;
        for (index, layer) in self.layers.iter().enumerate() {
            let Layer { inputs, outputs, .. } = layer.packed.place;
            let (before, own) = kept.split_at_mut(layer.value_start * lanes);
            let h = if index == 0 { x } else { &before[input.clone()] };
            let (u, own) = own.split_at_mut(layer.gated * lanes);
            let (a, own) = own.split_at_mut(layer.hidden * lanes);
            let (first, own) = own.split_at_mut(layer.hidden * lanes);
            let second = &mut own[..layer.hidden * lanes];
            let z = if index == last { &mut *out } else { a };
            for panel in self.panels.within(block.clone()) {
                let h = &h[panel.range(inputs, block.start)];
                let range = panel.range(outputs, block.start);
                let product = if self.squash { &mut u[range.clone()] } else { &mut z[range.clone()] };
                layer.packed.forward.times(Some(layer.packed.vectors.get(LayerVector::Shift)), panel.width, h, product);
                if self.squash {
                    layer.packed.squash(panel.width, &u[range.clone()], &mut z[range.clone()]);
                }
                if index < last {
                    let (first, second) = (&mut first[range.clone()], &mut second[range.clone()]);
                    self.activation.apply_twice(&mut z[range], first, second);
                }
            }
            let start = (layer.value_start + layer.gated) * lanes;
            input = start..start + outputs * lanes;
        }
    }

    /// Runs directions `v` of the input, one behind the other, to those of the output.
    pub fn tangents(&self, block: Range<usize>, v: &[T], values: &[T], kept: &mut [T], out: &mut [T]) {
        let (lanes, directions) = (block.len(), self.directions);
        let last = self.layers.len() - 1;
        let mut input = 0..0;
        for (index, layer) in self.layers.iter().enumerate() {
            let Layer { inputs, outputs, .. } = layer.packed.place;
            let (before, own) = kept.split_at_mut(layer.tangent_start * directions * lanes);
            let h = if index == 0 { v } else { &before[input.clone()] };
            let (w, a) = own.split_at_mut(layer.linear * directions * lanes);
            let first = kept_slopes(layer, values, lanes);
            for direction in 0..directions {
                let array = |features: usize| direction * features * lanes..(direction + 1) * features * lanes;
                let h = &h[array(inputs)];
                let target = if layer.linear > 0 { &mut w[array(outputs)] } else { &mut out[array(outputs)] };
                for panel in self.panels.within(block.clone()) {
                    let range = panel.range(outputs, block.start);
                    let h = &h[panel.range(inputs, block.start)];
                    layer.packed.forward.times(None, panel.width, h, &mut target[range]);
                }
                if layer.linear == 0 {
                    continue;
                }
                let w = &w[array(outputs)];
                let passed = if index == last { &mut out[array(outputs)] } else { &mut a[array(outputs)] };
                rows(&self.panels, block.clone(), outputs, |row, range| {
                    let gate = layer.gate(row);
                    for i in range {
                        let slope = if index == last { T::one() } else { first[i] };
                        passed[i] = w[i] * gate * slope;
                    }
                });
            }
            let start = (layer.tangent_start + layer.linear) * directions * lanes;
            input = start..start + outputs * directions * lanes;
        }
    }

    /// (∂y/∂x)ᵀ ȳ alone, from the kept value.
    pub fn input_gradient(&mut self, block: Range<usize>, values: &[T], cotangent: &[T], dx: &mut [T]) {
        let lanes = block.len();
        let [first, second] = &mut self.values;
        let (mut dz, mut dh) = (&mut first[..], &mut second[..]);
        dz[..cotangent.len()].copy_from_slice(cotangent);
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let Layer { inputs, outputs, .. } = layer.packed.place;
            let dz_own = &mut dz[..outputs * lanes];
            let slopes = kept_slopes(layer, values, lanes);
            rows(&self.panels, block.clone(), outputs, |row, range| {
                let gate = layer.gate(row);
                for i in range {
                    let slope = if index == last { T::one() } else { slopes[i] };
                    dz_own[i] = dz_own[i] * slope * gate;
                }
            });
            let target = if index == 0 { &mut *dx } else { &mut dh[..inputs * lanes] };
            layer.pull_input(&self.panels, block.clone(), dz_own, target);
            std::mem::swap(&mut dz, &mut dh);
        }
    }

    /// The reverse of value and tangents at what was kept of them: from ȳ, if any, and the cotangents of all tangents. `dx`
    /// becomes the cotangent of x, `dv` those of the directions; the parameters' are added to `gradient`. Returns the
    /// cotangent of the time.
    pub fn reverse(&mut self, block: Range<usize>, at: At<'_, T>, bar: Bar<'_, T>, gradient: &mut [T]) -> f64 {
        let (lanes, directions, t) = (block.len(), self.directions, self.t);
        let At { x, v, values, tangents } = at;
        let Bar { value, tangents: tangent_cotangents, dx, mut dv } = bar;
        let panels = self.panels;
        let last = self.layers.len() - 1;
        let [first, second] = &mut self.values;
        let (mut dz, mut dh) = (&mut first[..], &mut second[..]);
        let [first, second] = &mut self.tangents;
        let (mut dw, mut dg) = (&mut first[..], &mut second[..]);
        let outputs = self.layers[last].packed.place.outputs * lanes;
        match value {
            Some(value) => dz[..outputs].copy_from_slice(value),
            None => dz[..outputs].fill(T::zero()),
        }
        dw[..directions * outputs].copy_from_slice(tangent_cotangents);
        let mut time = 0.0;
        for index in (0..=last).rev() {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let Layer { inputs, outputs, columns, weight, .. } = layer.packed.place;
            let own = &values[layer.value_start * lanes..];
            let own_tangents = &tangents[layer.tangent_start * directions * lanes..];
            let z_bar = &mut dz[..outputs * lanes];
            let w_bar = &mut dw[..directions * outputs * lanes];
            if index < last {
                let slopes = kept_slopes(layer, values, lanes);
                let bends = &slopes[layer.hidden * lanes..];
                rows(&panels, block.clone(), outputs, |row, range| {
                    let gate = layer.gate(row);
                    for i in range {
                        let mut bent = T::zero();
                        for direction in 0..directions {
                            let j = direction * outputs * lanes + i;
                            bent = bent + w_bar[j] * own_tangents[j];
                            w_bar[j] = w_bar[j] * slopes[i];
                        }
                        z_bar[i] = z_bar[i] * slopes[i] + bends[i] * gate * bent;
                    }
                });
            }
            let u = (layer.gated > 0).then(|| &own[..outputs * lanes]);
            layer.packed.sum_block(&panels, block.clone(), z_bar, u);
            if layer.gated > 0 {
                for direction in 0..directions {
                    let array = direction * outputs * lanes..(direction + 1) * outputs * lanes;
                    let (bar, w) = (&mut w_bar[array.clone()], &own_tangents[array]);
                    layer.packed.sum_products(&panels, block.clone(), bar, w);
                }
            }
            time += layer.packed.pull_vectors(t, gradient);
            // What went into the layer.
            let (h, hs) = match before.last() {
                None => (x, v),
                Some(before) => (
                    &values[(before.value_start + before.gated) * lanes..][..inputs * lanes],
                    &tangents[(before.tangent_start + before.linear) * directions * lanes..]
                        [..directions * inputs * lanes],
                ),
            };
            let to = weight + columns - inputs;
            let outer = |bar: &[T], h: &[T], gradient: &mut [T], scratch: &mut [T]| {
                let (bar, h) = ((outputs, bar), (inputs, h));
                add_outer(&panels, block.clone(), bar, h, &mut gradient[to..], columns, scratch);
            };
            outer(z_bar, h, gradient, &mut self.transposed);
            for direction in 0..directions {
                let array = |features: usize| direction * features * lanes..(direction + 1) * features * lanes;
                outer(&w_bar[array(outputs)], &hs[array(inputs)], gradient, &mut self.transposed);
            }
            let target = if index == 0 { &mut *dx } else { &mut dh[..inputs * lanes] };
            layer.pull_input(&panels, block.clone(), z_bar, target);
            let target = if index == 0 { dv.as_deref_mut() } else { Some(&mut dg[..directions * inputs * lanes]) };
            if let Some(target) = target {
                for direction in 0..directions {
                    let array = |features: usize| direction * features * lanes..(direction + 1) * features * lanes;
                    layer.pull_input(&panels, block.clone(), &w_bar[array(outputs)], &mut target[array(inputs)]);
                }
            }
            std::mem::swap(&mut dz, &mut dh);
            std::mem::swap(&mut dw, &mut dg);
        }
        time
    }
}

/// Where value and tangents are.
#[derive(Clone, Copy)]
pub struct At<'a, T> {
    pub x: &'a [T],
    pub v: &'a [T],
    /// What was kept of them.
    pub values: &'a [T],
    pub tangents: &'a [T],
}

/// The cotangents of the outputs, and where those of the inputs go.
pub struct Bar<'a, T> {
    pub value: Option<&'a [T]>,
    pub tangents: &'a [T],
    pub dx: &'a mut [T],
    pub dv: Option<&'a mut [T]>,
}

impl<T: Real> DualLayer<T> {
    fn gate(&self, row: usize) -> T {
        if self.gated > 0 { self.packed.vectors.get(LayerVector::Gate)[row] } else { T::one() }
    }

    fn pull_input(&self, panels: &Panels, block: Range<usize>, dz: &[T], dh: &mut [T]) {
        let Layer { inputs, outputs, .. } = self.packed.place;
        if let Some(backward) = &self.packed.backward {
            for panel in panels.within(block.clone()) {
                let dz = &dz[panel.range(outputs, block.start)];
                backward.times(None, panel.width, dz, &mut dh[panel.range(inputs, block.start)]);
            }
        }
    }
}

/// σ′ of a layer, and σ″ behind it.
fn kept_slopes<'a, T: Real>(layer: &DualLayer<T>, values: &'a [T], lanes: usize) -> &'a [T] {
    let start = (layer.value_start + layer.gated + layer.hidden) * lanes;
    &values[start..start + 2 * layer.hidden * lanes]
}

/// Every row of a block's panels: which feature, and where it is.
fn rows(panels: &Panels, block: Range<usize>, features: usize, mut body: impl FnMut(usize, Range<usize>)) {
    for panel in panels.within(block.clone()) {
        let start = panel.range(features, block.start).start;
        for row in 0..features {
            body(row, start + row * panel.width..start + (row + 1) * panel.width);
        }
    }
}
