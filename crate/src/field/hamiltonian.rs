//! Systems driven by an energy: f = G ∇H(x), with H a network and G what tells conservative from dissipative.
//!
//! Its transpose needs no third pass: ⟨ℓ, G ∇H⟩ is the derivative of H along v = Gᵀℓ, so the cotangents of x and θ are the
//! gradient of that derivative, one dual pass and its reverse.

use std::ops::Range;

use super::{Dots, Dynamics, Pull, Uses, VectorField};
use crate::error::{Error, Result, finite};
use crate::kernel::combine::dot;
use crate::kernel::panels::Panels;
use crate::kernel::product::Packed;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::network::dual::{At, Bar, Dual};
use crate::network::{Architecture, Mlp};

/// The matrix G.
#[derive(Debug, Clone, PartialEq)]
pub enum Structure {
    /// [[0, I], [−I, 0]]: the state is [q, p].
    Canonical,
    /// The periodic central difference (x_{i+1} − x_{i−1}) / 2Δ, as for the KdV equation.
    Dx,
    /// The periodic second difference (x_{i+1} − 2x_i + x_{i−1}) / Δ², as for the Cahn–Hilliard equation.
    Laplacian,
    /// `[state, state]`, row-major: J − R of a port-Hamiltonian system, for one.
    Matrix(Vec<f64>),
}

/// What the network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Energy {
    /// The whole state: H is the network.
    Whole,
    /// At every point of a periodic grid of so many the state there and at its neighbours: H = Δ Σ h, and ∇H is the
    /// functional derivative, that of the sum by Δ.
    Density {
        /// Points of the grid.
        points: usize,
    },
}

/// A system with the parameters of its energy.
#[derive(Debug)]
pub struct Hamiltonian<T> {
    network: Mlp<T>,
    energy: Energy,
    structure: Structure,
    spacing: f64,
}

impl<T: Real> Hamiltonian<T> {
    /// # Errors
    /// `Option` where network, energy and structure do not fit each other.
    pub fn new(network: Mlp<T>, energy: Energy, structure: Structure, spacing: f64) -> Result<Self> {
        let widths = &network.architecture().widths;
        let (inputs, outputs) = (widths[0], widths[widths.len() - 1]);
        if outputs != 1 {
            return Err(Error::option("energy", "a network with one output", format!("{outputs} outputs")));
        }
        if !(spacing > 0.0 && spacing.is_finite()) {
            return Err(Error::option("spacing", "a finite positive number", spacing));
        }
        let state = match energy {
            Energy::Whole => inputs,
            Energy::Density { points } => {
                if inputs % 2 == 0 || inputs > points {
                    let expected = "an odd number of inputs, a point and its neighbours, no more than there are points";
                    return Err(Error::option("energy", expected, format!("{inputs} inputs, {points} points")));
                }
                points
            }
        };
        match &structure {
            Structure::Canonical if state % 2 != 0 => {
                return Err(Error::option("structure", "an even state for canonical, [q, p]", state));
            }
            Structure::Dx | Structure::Laplacian if state < 3 => {
                return Err(Error::option("structure", "a grid of three points or more for dx and laplacian", state));
            }
            Structure::Matrix(matrix) => {
                if matrix.len() != state * state {
                    let expected = format!("[{state}, {state}] numbers");
                    return Err(Error::shape("structure", expected, matrix.len()));
                }
                finite("structure", matrix.iter().copied())?;
            }
            _ => {}
        }
        Ok(Self { network, energy, structure, spacing })
    }

    /// H of each sample of a batch `[batch, state]`, row-major.
    ///
    /// # Errors
    /// As [`evaluate`](super::evaluate).
    pub fn energy(&self, parameters: &[T], t: f64, y: ndarray::ArrayView2<'_, T>) -> Result<Buffer<T>> {
        super::check_batch("y", self, y)?;
        let (batch, state) = y.dim();
        let ledger = Ledger::new();
        let mut energies = Buffer::zeroed(&ledger, Purpose::Output, batch)?;
        let inputs = self.network.architecture().widths[0];
        let Energy::Density { points } = self.energy else {
            let values = super::evaluate(&self.network, parameters, t, y)?;
            energies.copy_from_slice(&values);
            return Ok(energies);
        };
        let mut stencils = Buffer::zeroed(&ledger, Purpose::Workspace, batch * points * inputs)?;
        for (row, stencil) in stencils.chunks_exact_mut(inputs).enumerate() {
            for (j, number) in stencil.iter_mut().enumerate() {
                *number = y[[row / points, neighbour(row % points, j, inputs, state)]];
            }
        }
        let stencils = ndarray::ArrayView2::from_shape((batch * points, inputs), &stencils).expect("a row a point");
        let values = super::evaluate(&self.network, parameters, t, stencils)?;
        for (energy, values) in energies.iter_mut().zip(values.chunks_exact(points)) {
            *energy = T::of(values.iter().map(|value| value.wide()).sum::<f64>() * self.spacing);
        }
        Ok(energies)
    }
}

/// The point that the `j`-th input at a point stands for.
fn neighbour(point: usize, j: usize, inputs: usize, points: usize) -> usize {
    (point + points + j - inputs / 2) % points
}

impl<T: Real> VectorField<T> for Hamiltonian<T> {
    fn state_size(&self) -> usize {
        match self.energy {
            Energy::Whole => self.network.architecture().widths[0],
            Energy::Density { points } => points,
        }
    }

    fn parameters(&self) -> &[T] {
        self.network.parameters()
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        self.network.parameters_mut()
    }

    fn prepare(&self, parameters: &[T], batch: usize, _reverse: bool, ledger: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        self.network.check_parameters(parameters)?;
        let state = self.state_size();
        let layout = Layout::batch::<T>(batch, state);
        let architecture: &Architecture = self.network.architecture();
        let inputs = architecture.widths[0];
        let sites = match self.energy {
            Energy::Whole => Sites { points: 1, inputs, state },
            Energy::Density { points } => Sites { points, inputs, state },
        };
        let block = Dual::<T>::block_lanes(architecture);
        let lanes = sites.segments(&layout.panels).map(|segment| segment.panels.lanes.min(block)).max().unwrap_or(0);
        let dual = Dual::new(architecture, parameters, layout.panels, lanes, 1, ledger)?;
        let (values, tangents) = dual.widths();
        let scratch = |numbers: usize| Buffer::zeroed(ledger, Purpose::Workspace, numbers);
        Ok(Box::new(HamiltonianDynamics {
            parameters: parameters.len(),
            sites,
            block,
            structure: Operator::new(&self.structure, self.spacing, state, ledger)?,
            x: scratch(lanes * inputs)?,
            dx: scratch(lanes * inputs)?,
            v: scratch(lanes * inputs)?,
            dv: scratch(lanes * inputs)?,
            one: scratch(lanes)?,
            out: scratch(lanes)?,
            direction: scratch(layout.size())?,
            gradient: scratch(layout.size())?,
            values: Buffer::zeroed(ledger, Purpose::Tape, lanes * values)?,
            tangents: Buffer::zeroed(ledger, Purpose::Tape, lanes * tangents)?,
            uses: Uses::default(),
            dual,
            layout,
        }))
    }
}

/// Where the network is evaluated in a state.
#[derive(Debug, Clone, Copy)]
struct Sites {
    points: usize,
    inputs: usize,
    state: usize,
}

/// Panels of a batch that are equally wide, seen as panels of the network: one for each point.
struct Segment {
    panels: Panels,
    /// The first lane of the batch.
    first: usize,
    width: usize,
}

impl Sites {
    fn segments(&self, batch: &Panels) -> impl Iterator<Item = Segment> + use<> {
        let points = self.points;
        batch.widths().map(move |(first, width, panels)| Segment {
            panels: Panels::of_width(width, panels * points),
            first,
            width,
        })
    }

    /// The rows of a network panel, and the rows of the state that they stand for.
    fn rows(&self, segment: &Segment, panel: usize, j: usize) -> Range<usize> {
        let (batch_panel, point) = (panel / self.points, panel % self.points);
        let row = if self.points == 1 { j } else { neighbour(point, j, self.inputs, self.points) };
        let start = (segment.first + batch_panel * segment.width) * self.state + row * segment.width;
        start..start + segment.width
    }
}

/// G, ready to be applied.
enum Operator<T> {
    Canonical,
    Dx(f64),
    Laplacian(f64),
    Matrix([Packed<T>; 2]),
}

impl<T: Real> Operator<T> {
    fn new(structure: &Structure, spacing: f64, state: usize, ledger: &Ledger) -> Result<Self> {
        Ok(match structure {
            Structure::Canonical => Operator::Canonical,
            Structure::Dx => Operator::Dx(0.5 / spacing),
            Structure::Laplacian => Operator::Laplacian(1.0 / (spacing * spacing)),
            Structure::Matrix(matrix) => {
                let entry = |row: usize, column: usize| T::of(matrix[row * state + column]);
                let forward = Packed::new(ledger, state, state, entry)?;
                Operator::Matrix([forward, Packed::new(ledger, state, state, |row, column| entry(column, row))?])
            }
        })
    }

    /// `to = G from`, or Gᵀ, on all panels of a batch.
    fn apply(&self, layout: &Layout, transposed: bool, from: &[T], to: &mut [T]) {
        let state = layout.arrays[0];
        let sign = if transposed { -1.0 } else { 1.0 };
        for panel in layout.panels.all() {
            let range = panel.range(state, 0);
            let width = panel.width;
            let (from, to) = (&from[range.clone()], &mut to[range]);
            let row = |row: usize| &from[row % state * width..][..width];
            match self {
                Operator::Matrix(matrices) => matrices[usize::from(transposed)].times(None, width, from, to),
                Operator::Canonical => {
                    for (i, to) in to.chunks_exact_mut(width).enumerate() {
                        let factor = T::of(if i < state / 2 { sign } else { -sign });
                        to.iter_mut().zip(row(i + state / 2)).for_each(|(to, &from)| *to = factor * from);
                    }
                }
                Operator::Dx(factor) => {
                    let factor = T::of(sign * factor);
                    for (i, to) in to.chunks_exact_mut(width).enumerate() {
                        let neighbours = row(i + 1).iter().zip(row(i + state - 1));
                        to.iter_mut().zip(neighbours).for_each(|(to, (&next, &last))| *to = factor * (next - last));
                    }
                }
                Operator::Laplacian(factor) => {
                    let factor = T::of(*factor);
                    for (i, to) in to.chunks_exact_mut(width).enumerate() {
                        let neighbours = row(i + 1).iter().zip(row(i + state - 1));
                        for ((to, (&next, &last)), &own) in to.iter_mut().zip(neighbours).zip(row(i)) {
                            *to = factor * ((next - own) - (own - last));
                        }
                    }
                }
            }
        }
    }
}

struct HamiltonianDynamics<T> {
    layout: Layout,
    dual: Dual<T>,
    sites: Sites,
    /// Lanes of a block of the network.
    block: usize,
    structure: Operator<T>,
    parameters: usize,
    /// Of a block: the network's input, its cotangent, the direction and its cotangent, ones, the output.
    x: Buffer<T>,
    dx: Buffer<T>,
    v: Buffer<T>,
    dv: Buffer<T>,
    one: Buffer<T>,
    out: Buffer<T>,
    /// States: Gᵀℓ, and ∇H.
    direction: Buffer<T>,
    gradient: Buffer<T>,
    values: Buffer<T>,
    tangents: Buffer<T>,
    uses: Uses,
}

impl<T: Real> HamiltonianDynamics<T> {
    /// Copies the inputs of a block's panels out of a state.
    fn gather(sites: &Sites, segment: &Segment, block: &Range<usize>, state: &[T], to: &mut [T]) {
        let first = block.start / segment.width;
        for (row, to) in to[..block.len() * sites.inputs].chunks_exact_mut(segment.width).enumerate() {
            let (panel, j) = (first + row / sites.inputs, row % sites.inputs);
            to.copy_from_slice(&state[sites.rows(segment, panel, j)]);
        }
    }

    /// Adds what belongs to the inputs of a block's panels to a state.
    fn scatter(sites: &Sites, segment: &Segment, block: &Range<usize>, from: &[T], state: &mut [T]) {
        let first = block.start / segment.width;
        for (row, from) in from[..block.len() * sites.inputs].chunks_exact(segment.width).enumerate() {
            let (panel, j) = (first + row / sites.inputs, row % sites.inputs);
            let target = &mut state[sites.rows(segment, panel, j)];
            target.iter_mut().zip(from).for_each(|(target, &part)| *target = *target + part);
        }
    }

    /// The network's lanes before a segment's.
    fn lanes_before(&self, segment: &Segment) -> usize {
        segment.first * self.sites.points
    }
}

impl<T: Real> Dynamics<T> for HamiltonianDynamics<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters
    }

    fn tape_len(&self) -> usize {
        self.dual.widths().0 * self.layout.panels.lanes * self.sites.points
    }

    fn uses(&self) -> Uses {
        self.uses
    }

    fn evaluate(&mut self, t: f64, x: &[T], mut tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.uses.evaluations += 1;
        self.dual.set_time(t);
        self.one.fill(T::one());
        self.gradient.fill(T::zero());
        let width = self.dual.widths().0;
        for segment in self.sites.segments(&self.layout.panels) {
            let before = self.lanes_before(&segment);
            self.dual.set_panels(segment.panels);
            for block in segment.panels.blocks(self.block / segment.width * segment.width) {
                let lanes = block.len();
                let Self { dual, sites, x: input, dx, one, out, gradient, values, .. } = self;
                Self::gather(sites, &segment, &block, x, input);
                let values = match tape.as_deref_mut() {
                    Some(tape) => &mut tape[(before + block.start) * width..(before + block.end) * width],
                    None => &mut values[..lanes * width],
                };
                let numbers = lanes * sites.inputs;
                dual.value(block.clone(), &input[..numbers], values, &mut out[..lanes]);
                dual.input_gradient(block.clone(), values, &one[..lanes], &mut dx[..numbers]);
                Self::scatter(sites, &segment, &block, dx, gradient);
            }
        }
        self.structure.apply(&self.layout, false, &self.gradient, k);
        Ok(())
    }

    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        self.uses.evaluations += usize::from(tape.is_none());
        self.uses.vjps += 1;
        self.dual.set_time(t);
        self.one.fill(T::one());
        self.structure.apply(&self.layout, true, pull.cotangent, &mut self.direction);
        pull.x.fill(T::zero());
        let probed = !pull.products.is_empty();
        self.gradient.fill(T::zero());
        let width = self.dual.widths().0;
        let mut dots = Dots::default();
        for segment in self.sites.segments(&self.layout.panels) {
            let before = self.lanes_before(&segment);
            self.dual.set_panels(segment.panels);
            for block in segment.panels.blocks(self.block / segment.width * segment.width) {
                let lanes = block.len();
                let Self { dual, sites, x: input, dx, v, dv, one, out, direction, gradient, values, tangents, .. } =
                    self;
                let numbers = lanes * sites.inputs;
                Self::gather(sites, &segment, &block, x, input);
                Self::gather(sites, &segment, &block, direction, v);
                let (input, v) = (&input[..numbers], &v[..numbers]);
                let values = match tape {
                    Some(tape) => &tape[(before + block.start) * width..(before + block.end) * width],
                    None => {
                        dual.value(block.clone(), input, &mut values[..lanes * width], &mut out[..lanes]);
                        &values[..lanes * width]
                    }
                };
                dual.tangents(block.clone(), v, values, tangents, &mut out[..lanes]);
                dots.slope += dot(&out[..lanes], &one[..lanes]);
                let at = At { x: input, v, values, tangents };
                let bar = Bar {
                    value: None,
                    tangents: &one[..lanes],
                    dx: &mut dx[..numbers],
                    dv: probed.then_some(&mut dv[..numbers]),
                };
                dots.time += dual.reverse(block.clone(), at, bar, pull.parameters);
                Self::scatter(sites, &segment, &block, dx, pull.x);
                if probed {
                    Self::scatter(sites, &segment, &block, dv, gradient);
                }
            }
        }
        if probed {
            self.structure.apply(&self.layout, false, &self.gradient, &mut self.direction);
            for (probe, product) in pull.probes.chunks_exact(self.layout.size()).zip(pull.products.iter_mut()) {
                *product += dot(probe, &self.direction);
            }
        }
        Ok(dots)
    }
}
