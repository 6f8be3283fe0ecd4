//! Systems driven by an energy: f = G ∇H(x), where a network gives H, and the matrix G decides whether the system conserves or
//! dissipates it.

use ndarray::ArrayView2;

use super::architecture::Architecture;
use super::mlp::Mlp;
use crate::error::{Error, Result, finite};
use crate::field::program::ProgramField;
use crate::field::{self, Dynamics, FieldOptions, LaneSetup, Lanes, VectorField};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger};
use crate::program::differentiate::{input_cotangent, reverse};
use crate::program::graph::{Graph, Id, Input, Op};
use crate::program::{Program, Sizes};

/// The matrix G of dx/dt = G ∇H.
#[derive(Debug, Clone, PartialEq)]
pub enum Structure {
    /// [[0, I], [−I, 0]]: Hamilton's equations, of the state [q, p].
    Canonical,
    /// The periodic central difference (x_{i+1} − x_{i−1}) / 2Δ, as for the Korteweg–de Vries equation.
    Dx,
    /// The periodic second difference (x_{i+1} − 2x_i + x_{i−1}) / Δ², as for the Cahn–Hilliard equation.
    Laplacian,
    /// Any matrix `[state, state]`, row-major, such as J − R of a port-Hamiltonian system.
    Matrix(Vec<f64>),
}

/// What the network of a [`Hamiltonian`] computes the energy from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Energy {
    /// The whole state: H is the network's output.
    Whole,
    /// A field on a periodic grid: at every point, the network computes a density h from the state there and at its neighbours. H = Δ Σ h
    /// with the spacing Δ, and ∇H is the functional derivative, that of Σ h.
    Density {
        /// Points of the grid, and so features of the state.
        points: usize,
    },
}

/// The vector field f = G ∇H(x), whose energy H is a network. Its parameters are those of the network.
#[derive(Debug)]
pub struct Hamiltonian<T: Real> {
    field: ProgramField<T>,
    /// H itself, by the same parameters.
    energy: ProgramField<T>,
}

impl<T: Real> Hamiltonian<T> {
    /// A system whose energy is a network with one output. `spacing` is the distance Δ between points of the grid, which only
    /// [`Energy::Density`], [`Structure::Dx`] and [`Structure::Laplacian`] use.
    ///
    /// # Errors
    /// `Option` if network, energy and structure do not fit each other, or the spacing is not positive; `Shape` for a matrix of another
    /// size.
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
                if inputs % 2 == 0 || inputs > points || points > MAX_POINTS {
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
                if Some(matrix.len()) != state.checked_mul(state) {
                    let expected = format!("[{state}, {state}] numbers");
                    return Err(Error::shape("structure", expected, matrix.len()));
                }
                finite("structure", matrix)?;
            }
            _ => {}
        }
        let (architecture, parameters) = (network.architecture(), network.parameters());
        let make = |output| ProgramField::new(program(architecture, energy, &structure, spacing, output), parameters);
        Ok(Self { field: make(Output::Slope)?, energy: make(Output::Energy)? })
    }

    /// The energy H of each trajectory of a batch `[batch, state]`, at these parameters and this time.
    ///
    /// # Errors
    /// `Shape` and `NonFiniteInput` for `y` and `parameters`, `OutOfMemory`.
    pub fn energy(&self, parameters: &[T], t: f64, y: ArrayView2<'_, T>) -> Result<Buffer<T>> {
        field::evaluate(&self.energy, parameters, t, y)
    }

    /// All parameters, those of the network, flat, for you to change. Solves that were recorded before keep the parameters that they had.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        self.field.parameters_mut()
    }
}

/// More points than any batch has memory for.
const MAX_POINTS: usize = 1 << 24;

/// What a program of the energy computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Energy,
    /// G ∇H.
    Slope,
}

fn program(
    architecture: &Architecture,
    energy: Energy,
    structure: &Structure,
    spacing: f64,
    output: Output,
) -> Program {
    let inputs = architecture.widths[0];
    let (state, points) = match energy {
        Energy::Whole => (inputs, 1),
        Energy::Density { points } => (points, points),
    };
    let mut graph = Graph::default();
    let x = graph.load(Input::State, 0, state);
    let into = match energy {
        Energy::Whole => x,
        // Each point with its neighbours: `[inputs][points]`.
        Energy::Density { points } => {
            let rolled = (0..inputs).map(|j| roll(&mut graph, x, (j + points - inputs / 2) % points)).collect();
            graph.concat(rolled)
        }
    };
    let density = architecture.network(&mut graph, into, points);
    let value = match output {
        Output::Energy => {
            let sum = graph.sum_rows(density);
            match energy {
                Energy::Whole => sum,
                Energy::Density { .. } => {
                    let spacing = graph.constant(spacing);
                    graph.mul(sum, spacing)
                }
            }
        }
        Output::Slope => {
            let one = graph.constant(1.0);
            let ones = graph.spread(one, 1, points);
            let of_state = |op: &Op| matches!(op, Op::Load(Input::State, _));
            let leaves = reverse(&mut graph, &[(density, ones)], &of_state);
            let gradient = input_cotangent(&mut graph, &leaves, Input::State, state);
            structured(&mut graph, structure, spacing, gradient)
        }
    };
    let sizes = Sizes { state, parameters: architecture.parameters(), arguments: 0, data: 0 };
    Program::of(graph, value, sizes)
}

/// From this row on, around the end.
fn roll(graph: &mut Graph, x: Id, from: usize) -> Id {
    let rows = graph.rows(x);
    if from == 0 {
        return x;
    }
    let (end, start) = (graph.slice(x, from, rows - from), graph.slice(x, 0, from));
    graph.concat(vec![end, start])
}

/// G x.
fn structured(graph: &mut Graph, structure: &Structure, spacing: f64, x: Id) -> Id {
    let state = graph.rows(x);
    let neighbours = |graph: &mut Graph| (roll(graph, x, 1), roll(graph, x, state - 1));
    match structure {
        Structure::Canonical => {
            let (q, p) = (graph.slice(x, 0, state / 2), graph.slice(x, state / 2, state / 2));
            let turned = graph.neg(q);
            graph.concat(vec![p, turned])
        }
        Structure::Dx => {
            let (next, last) = neighbours(graph);
            let (difference, factor) = (graph.sub(next, last), graph.constant(0.5 / spacing));
            graph.mul(difference, factor)
        }
        Structure::Laplacian => {
            let (next, last) = neighbours(graph);
            let (right, left) = (graph.sub(next, x), graph.sub(x, last));
            let (difference, factor) = (graph.sub(right, left), graph.constant(1.0 / (spacing * spacing)));
            graph.mul(difference, factor)
        }
        Structure::Matrix(matrix) => {
            let w = graph.constants(matrix);
            graph.dense(w, x, 1)
        }
    }
}

impl<T: Real> VectorField<T> for Hamiltonian<T> {
    fn state_size(&self) -> usize {
        self.field.state_size()
    }

    fn parameters(&self) -> &[T] {
        self.field.parameters()
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        self.field.prepare(parameters, batch, options, ledger)
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.field.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn program_field(&self) -> Option<&ProgramField<T>> {
        Some(&self.field)
    }

    fn leaf(&self) -> usize {
        self.field.leaf()
    }
}
