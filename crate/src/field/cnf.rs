//! Continuous normalizing flows (Chen et al. 2018; Grathwohl et al., FFJORD, 2019): the state is [x, log p], and
//! d log p/dt = −tr(∂f/∂x).
//!
//! The trace is Σ ⟨v, (∂f/∂x) v⟩ over directions v: all unit vectors, exactly, or one of noise with unit covariance, by which
//! it is right on average (Hutchinson). Beside log p the state may carry the integrals of ‖f‖² and of Σ ‖(∂f/∂x) v‖², which
//! keep flows easy to solve (Finlay et al. 2020).

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Dots, Dynamics, Pull, Uses, VectorField};
use crate::error::{Error, Result, finite};
use crate::kernel::combine::dot;
use crate::kernel::panels::{Panels, Spare};
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::network::Mlp;
use crate::network::dual::{At, Bar, Dual};
use ndarray::ArrayView2;

/// The directions by which the trace is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trace {
    /// By as many directions as there are features.
    Exact,
    /// By one direction of noise for each sample (Hutchinson 1989), right on average.
    Hutchinson(Noise),
}

/// The distribution of the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// ±1.
    Rademacher,
    /// Standard normal numbers.
    Gaussian,
}

/// A flow with the parameters of its network.
#[derive(Debug)]
pub struct Cnf<T> {
    network: Mlp<T>,
    trace: Trace,
    /// Whether the state carries the integrals of ‖f‖² and of Σ ‖(∂f/∂x) v‖².
    kinetic: bool,
    jacobian: bool,
    /// Of the noise, which each sample of a batch has for itself; the first sample's index among all.
    pub seed: u64,
    /// The index in the whole batch of this part's first sample.
    pub first_sample: usize,
    /// Noise of the caller's, `[batch, features]`, in place of the seed's.
    noise: Option<Buffer<T>>,
}

impl<T: Real> Cnf<T> {
    /// # Errors
    /// `Option` where the network does not have as many outputs as inputs.
    pub fn new(network: Mlp<T>, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Self> {
        let widths = &network.architecture().widths;
        let (inputs, outputs) = (widths[0], widths[widths.len() - 1]);
        if inputs != outputs {
            let expected = format!("a network with as many outputs as inputs, {inputs}");
            return Err(Error::option("network", expected, outputs));
        }
        Ok(Self { network, trace, kinetic, jacobian, seed, first_sample: 0, noise: None })
    }

    fn features(&self) -> usize {
        self.network.architecture().widths[0]
    }

    /// Noise of the caller's, `[batch, features]`, for every solve that follows; none for the seed's.
    ///
    /// # Errors
    /// `Option` where the trace is exact; `Shape` where it is not whole samples; `NonFiniteInput`.
    pub fn set_noise(&mut self, noise: Option<&[T]>) -> Result<()> {
        let Some(noise) = noise else {
            self.noise = None;
            return Ok(());
        };
        if self.trace == Trace::Exact {
            return Err(Error::option("noise", "nothing where the trace is exact", "an array"));
        }
        if noise.is_empty() || !noise.len().is_multiple_of(self.features()) {
            let expected = format!("[batch, {}] numbers", self.features());
            return Err(Error::shape("noise", expected, noise.len()));
        }
        finite("noise", noise.iter().copied())?;
        self.noise = Some(Buffer::copied(&Ledger::new(), Purpose::Network, noise)?);
        Ok(())
    }

    /// The noise of a batch, `[batch, features]`.
    fn noise(&self, batch: usize, kind: Noise, ledger: &Ledger) -> Result<Buffer<T>> {
        let features = self.features();
        if let Some(noise) = &self.noise {
            return match noise.len() == batch * features {
                true => Buffer::copied(ledger, Purpose::Workspace, noise),
                false => Err(Error::shape("noise", format!("[{batch}, {features}] numbers"), noise.len())),
            };
        }
        let mut noise = Buffer::zeroed(ledger, Purpose::Workspace, batch * features)?;
        for (sample, row) in noise.chunks_exact_mut(features).enumerate() {
            // A stream for each sample: the parts of a batch on several cores draw what the whole would.
            let stream = (self.first_sample + sample) as u64;
            let mut random = Pcg64Mcg::seed_from_u64(self.seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for number in row {
                *number = T::of(match kind {
                    Noise::Rademacher => f64::from(u8::from(random.random::<bool>())).mul_add(2.0, -1.0),
                    Noise::Gaussian => gaussian(&mut random),
                });
            }
        }
        Ok(noise)
    }
}

/// A standard normal number (Box and Muller).
pub(crate) fn gaussian(random: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(2.0 * std::f64::consts::PI * angle)
}

impl<T: Real> VectorField<T> for Cnf<T> {
    fn state_size(&self) -> usize {
        self.features() + 1 + usize::from(self.kinetic) + usize::from(self.jacobian)
    }

    fn parameters(&self) -> &[T] {
        self.network.parameters()
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        self.network.parameters_mut()
    }

    fn prepare(&self, parameters: &[T], batch: usize, _reverse: bool, ledger: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        self.network.check_parameters(parameters)?;
        let features = self.features();
        let layout = Layout::batch::<T>(batch, self.state_size());
        let panels = layout.panels;
        let blocks = panels.blocks(Dual::<T>::block_lanes(self.network.architecture()));
        let lanes = blocks.map(|block| block.len()).max().unwrap_or(0);
        let (directions, v) = match self.trace {
            Trace::Exact => (features, Directions::unit_vectors(features, &panels, lanes, ledger)?),
            Trace::Hutchinson(kind) => {
                let noise = self.noise(batch, kind, ledger)?;
                let mut packed = Buffer::zeroed(ledger, Purpose::Workspace, panels.lanes * features)?;
                let rows = ArrayView2::from_shape((batch, features), &noise).expect("a row for each sample");
                panels.pack(rows, &mut packed, Spare::Repeat);
                (1, Directions::Batch(packed))
            }
        };
        let dual = Dual::new(self.network.architecture(), parameters, panels, lanes, directions, ledger)?;
        let scratch = |numbers: usize| Buffer::zeroed(ledger, Purpose::Workspace, lanes * numbers);
        let mut dynamics = CnfDynamics {
            kinetic: self.kinetic.then_some(features + 1),
            jacobian: self.jacobian.then_some(features + 1 + usize::from(self.kinetic)),
            features,
            directions,
            v,
            parameters: parameters.len(),
            x: scratch(features)?,
            dx: scratch(features)?,
            value_bar: scratch(features)?,
            tangent_bar: scratch(features * directions)?,
            slope: scratch(layout.arrays[0])?,
            tape: scratch(0)?,
            uses: Uses::default(),
            dual,
            layout,
        };
        dynamics.tape = Buffer::zeroed(ledger, Purpose::Tape, lanes * dynamics.tape_width())?;
        Ok(Box::new(dynamics))
    }
}

/// The directions of the trace.
enum Directions<T> {
    /// Those of a whole block, and of a last one that is not: the same for all samples.
    Blocks([Buffer<T>; 2]),
    /// One for each sample.
    Batch(Buffer<T>),
}

impl<T: Real> Directions<T> {
    /// For each feature its unit vector.
    fn unit_vectors(features: usize, panels: &Panels, lanes: usize, ledger: &Ledger) -> Result<Self> {
        let of_block = |block: Range<usize>| {
            let mut v = Buffer::zeroed(ledger, Purpose::Workspace, features * features * block.len())?;
            for (direction, array) in v.chunks_exact_mut((features * block.len()).max(1)).enumerate() {
                for panel in panels.within(block.clone()) {
                    let row = panel.range(features, block.start).start + direction * panel.width;
                    array[row..row + panel.width].fill(T::one());
                }
            }
            Ok(v)
        };
        Ok(Self::Blocks([of_block(0..lanes)?, of_block(panels.lanes / lanes * lanes..panels.lanes)?]))
    }

    /// A block's, one behind the other.
    fn of(&self, block: &Range<usize>, features: usize) -> &[T] {
        match self {
            Self::Blocks([whole, last]) if whole.len() != features * features * block.len() => last,
            Self::Blocks([whole, _]) => whole,
            Self::Batch(v) => &v[block.start * features..block.end * features],
        }
    }
}

struct CnfDynamics<T> {
    layout: Layout,
    dual: Dual<T>,
    /// Which features of the state they are.
    kinetic: Option<usize>,
    jacobian: Option<usize>,
    features: usize,
    directions: usize,
    v: Directions<T>,
    parameters: usize,
    /// Of a block: x and its cotangent without the rest of the state, the cotangents of the network's outputs, the slope.
    x: Buffer<T>,
    dx: Buffer<T>,
    value_bar: Buffer<T>,
    tangent_bar: Buffer<T>,
    slope: Buffer<T>,
    tape: Buffer<T>,
    uses: Uses,
}

/// What is kept of a block: of the value, of the tangents, and the outputs of both.
struct Parts<'a, T> {
    values: &'a [T],
    tangents: &'a [T],
    y: &'a [T],
    jv: &'a [T],
}

impl<T: Real> CnfDynamics<T> {
    fn tape_width(&self) -> usize {
        let (values, tangents) = self.dual.widths();
        values + tangents + self.features * (1 + self.directions)
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let panels = self.layout.panels;
        panels.blocks(self.x.len() / self.features)
    }

    /// Copies x out of the states of a block.
    fn gather(&mut self, block: &Range<usize>, state: &[T]) {
        let (rows, features) = (self.layout.arrays[0], self.features);
        for panel in self.layout.panels.within(block.clone()) {
            let from = panel.range(rows, block.start).start;
            let to = panel.range(features, block.start);
            self.x[to.clone()].copy_from_slice(&state[from..from + to.len()]);
        }
    }

    /// Runs a block, with x gathered, into a tape, else this field's own.
    fn run(&mut self, block: &Range<usize>, tape: Option<&mut [T]>) {
        let lanes = block.len();
        let Self { dual, x, v, features, directions, .. } = self;
        let (values, tangents) = dual.widths();
        let tape = tape.unwrap_or(&mut self.tape);
        let (values, rest) = tape.split_at_mut(values * lanes);
        let (tangents, rest) = rest.split_at_mut(tangents * lanes);
        let (y, rest) = rest.split_at_mut(*features * lanes);
        let jv = &mut rest[..*features * *directions * lanes];
        dual.value(block.clone(), &x[..*features * lanes], values, y);
        dual.tangents(block.clone(), v.of(block, *features), values, tangents, jv);
    }

    fn parts<'a>(&self, tape: &'a [T], lanes: usize) -> Parts<'a, T> {
        let (values, tangents) = self.dual.widths();
        let (values, rest) = tape.split_at(values * lanes);
        let (tangents, rest) = rest.split_at(tangents * lanes);
        let (y, rest) = rest.split_at(self.features * lanes);
        Parts { values, tangents, y, jv: &rest[..self.features * self.directions * lanes] }
    }

    /// The slope of a block's states, from the outputs of the network.
    fn write_slope(&self, block: &Range<usize>, parts: &Parts<'_, T>, k: &mut [T]) {
        let (rows, features) = (self.layout.arrays[0], self.features);
        let v = self.v.of(block, features);
        for panel in self.layout.panels.within(block.clone()) {
            let own = panel.range(features, block.start);
            let slope = &mut k[panel.range(rows, block.start)];
            let (moved, rest) = slope.split_at_mut(own.len());
            moved.copy_from_slice(&parts.y[own.clone()]);
            rest.fill(T::zero());
            let row = |feature: usize| (feature - features) * panel.width..(feature - features + 1) * panel.width;
            for direction in 0..self.directions {
                let array = direction * features * block.len();
                let (v, jv) = (&v[array..][own.clone()], &parts.jv[array..][own.clone()]);
                let trace = &mut rest[row(features)];
                for (v, jv) in v.chunks_exact(panel.width).zip(jv.chunks_exact(panel.width)) {
                    trace.iter_mut().zip(v.iter().zip(jv)).for_each(|(trace, (&v, &jv))| *trace = *trace - v * jv);
                }
                if let Some(feature) = self.jacobian {
                    add_squares(&mut rest[row(feature)], jv);
                }
            }
            if let Some(feature) = self.kinetic {
                add_squares(&mut rest[row(feature)], &parts.y[own]);
            }
        }
    }

    /// The cotangents of the network's outputs, from those of a block's slopes.
    fn write_bars(&mut self, block: &Range<usize>, tape: &[T], cotangent: &[T]) {
        let (rows, features, directions) = (self.layout.arrays[0], self.features, self.directions);
        let parts = self.parts(tape, block.len());
        let v = self.v.of(block, features);
        let two = T::of(2.0);
        for panel in self.layout.panels.within(block.clone()) {
            let own = panel.range(features, block.start);
            let width = panel.width;
            let cotangent = &cotangent[panel.range(rows, block.start)];
            let row = |feature: usize| &cotangent[feature * width..(feature + 1) * width];
            let of = |feature: Option<usize>| feature.map(row);
            let (kinetic, jacobian, trace) = (of(self.kinetic), of(self.jacobian), row(features));
            let bar = &mut self.value_bar[own.clone()];
            bar.copy_from_slice(&cotangent[..own.len()]);
            if let Some(kinetic) = kinetic {
                for (i, (bar, &y)) in bar.iter_mut().zip(&parts.y[own.clone()]).enumerate() {
                    *bar = *bar + two * kinetic[i % width] * y;
                }
            }
            for direction in 0..directions {
                let array = direction * features * block.len();
                let (v, jv) = (&v[array..][own.clone()], &parts.jv[array..][own.clone()]);
                let bar = &mut self.tangent_bar[array..][own.clone()];
                for (bar, v) in bar.chunks_exact_mut(width).zip(v.chunks_exact(width)) {
                    bar.iter_mut().zip(v.iter().zip(trace)).for_each(|(bar, (&v, &trace))| *bar = -v * trace);
                }
                if let Some(jacobian) = jacobian {
                    for (bar, jv) in bar.chunks_exact_mut(width).zip(jv.chunks_exact(width)) {
                        let pairs = jv.iter().zip(jacobian);
                        bar.iter_mut().zip(pairs).for_each(|(bar, (&jv, &l))| *bar = *bar + two * l * jv);
                    }
                }
            }
        }
    }
}

/// Adds the squares of the rows of a panel, lane by lane.
fn add_squares<T: Real>(sums: &mut [T], rows: &[T]) {
    for row in rows.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, &number)| *sum = *sum + number * number);
    }
}

impl<T: Real> Dynamics<T> for CnfDynamics<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters
    }

    fn tape_len(&self) -> usize {
        self.tape_width() * self.layout.panels.lanes
    }

    fn uses(&self) -> Uses {
        self.uses
    }

    fn evaluate(&mut self, t: f64, x: &[T], mut tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.uses.evaluations += 1;
        self.dual.set_time(t);
        let (rows, width) = (self.layout.arrays[0], self.tape_width());
        for block in self.blocks() {
            let of = |features: usize| block.start * features..block.end * features;
            self.gather(&block, &x[of(rows)]);
            match tape.as_deref_mut().map(|tape| &mut tape[of(width)]) {
                Some(tape) => {
                    self.run(&block, Some(tape));
                    self.write_slope(&block, &self.parts(tape, block.len()), &mut k[of(rows)]);
                }
                None => {
                    self.run(&block, None);
                    self.write_slope(&block, &self.parts(&self.tape, block.len()), &mut k[of(rows)]);
                }
            }
        }
        Ok(())
    }

    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        self.uses.evaluations += usize::from(tape.is_none());
        self.uses.vjps += 1;
        self.dual.set_time(t);
        let (rows, width, features) = (self.layout.arrays[0], self.tape_width(), self.features);
        let all = rows * self.layout.panels.lanes;
        let mut dots = Dots::default();
        for block in self.blocks() {
            let lanes = block.len();
            let of = |features: usize| block.start * features..block.end * features;
            self.gather(&block, &x[of(rows)]);
            if tape.is_none() {
                self.run(&block, None);
            }
            // Taken out for the time being, so that it can be read while the rest is written.
            let own = self.tape.take();
            let tape = tape.map_or(&own[..], |tape| &tape[of(width)]);
            let cotangent = &pull.cotangent[of(rows)];
            if pull.times {
                let mut slope = self.slope.take();
                self.write_slope(&block, &self.parts(tape, lanes), &mut slope);
                let slope_of = &slope[..rows * lanes];
                dots.slope += dot(cotangent, slope_of);
                for (probe, product) in pull.probes.chunks_exact(all).zip(pull.products.iter_mut()) {
                    *product += dot(slope_of, &probe[of(rows)]);
                }
                self.slope = slope;
            }
            self.write_bars(&block, tape, cotangent);
            let Parts { values, tangents, .. } = self.parts(tape, lanes);
            let Self { dual, x, dx, v, value_bar, tangent_bar, directions, .. } = self;
            let numbers = features * lanes;
            let at = At { x: &x[..numbers], v: v.of(&block, features), values, tangents };
            let bar = Bar {
                value: Some(&value_bar[..numbers]),
                tangents: &tangent_bar[..*directions * numbers],
                dx: &mut dx[..numbers],
                dv: None,
            };
            dots.time += dual.reverse(block.clone(), at, bar, pull.parameters);
            for panel in self.layout.panels.within(block.clone()) {
                let from = panel.range(features, block.start);
                let target = &mut pull.x[of(rows)][panel.range(rows, block.start)];
                let (moved, rest) = target.split_at_mut(from.len());
                moved.copy_from_slice(&self.dx[from]);
                rest.fill(T::zero());
            }
            self.tape = own;
        }
        Ok(dots)
    }
}
