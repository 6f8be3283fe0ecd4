//! Continuous normalizing flows (Chen et al. 2018; Grathwohl et al., FFJORD, 2019): the state is [x, log p], and
//! d log p/dt = −tr(∂f/∂x).
//!
//! The trace is Σ ⟨v, (∂f/∂x) v⟩ over directions v: all unit vectors, exactly, or one of noise with unit covariance, by which
//! it is right on average (Hutchinson). Besides log p, the state may carry the integrals of ‖f‖² and of Σ ‖(∂f/∂x) v‖², which
//! keep flows easy to solve (Finlay et al. 2020).

use ndarray::ArrayView2;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::architecture::Architecture;
use super::mlp::Mlp;
use crate::error::{Error, Result, finite};
use crate::field::program::{BatchInputs, ProgramField};
use crate::field::{Dynamics, FieldOptions, LaneSetup, Lanes, TrajectoryInputs, VectorField};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::differentiate::forward;
use crate::program::graph::{Graph, Id, Input, Op};
use crate::program::{Program, Sizes};

/// How the trace of the Jacobian is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trace {
    /// The exact trace, from one directional derivative for each feature.
    Exact,
    /// An unbiased estimate from one random direction for each trajectory (Hutchinson 1989), the same throughout a solve.
    Hutchinson(Noise),
}

/// The distribution of random directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// ±1, each with probability ½.
    Rademacher,
    /// Standard normal numbers.
    Gaussian,
}

/// A continuous normalizing flow: the vector field of [x, log p] along dx/dt = f(x, t). Its parameters are those of its network f.
#[derive(Debug)]
pub struct Cnf<T: Real> {
    field: ProgramField<T>,
    features: usize,
    trace: Trace,
    /// The seed of the noise of [`Trace::Hutchinson`]. Each trajectory of a batch has its own noise, which depends on the seed and its index.
    pub seed: u64,
    /// The index of the first trajectory, on which its noise depends: 0, unless the batch is a part of a larger one.
    pub first_sample: usize,
    /// Noise that the caller drew, `[batch, features]`, in place of that from the seed.
    noise: Option<Buffer<T>>,
}

/// The most features of an exact trace: its directions have as many numbers as there are of features, squared.
const MAX_EXACT: usize = 1024;

impl<T: Real> Cnf<T> {
    /// A flow dx/dt = f(x, t) with a network as f. If `kinetic` is set, the state is followed by the integral of ‖f‖²; if `jacobian` is set,
    /// by the integral of Σ ‖(∂f/∂x) v‖². Both are for regularization.
    ///
    /// # Errors
    /// `Option` if the network has not as many outputs as inputs.
    pub fn new(network: Mlp<T>, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Self> {
        let widths = &network.architecture().widths;
        let (features, outputs) = (widths[0], widths[widths.len() - 1]);
        if features != outputs {
            let expected = format!("a network with as many outputs as inputs, {features}");
            return Err(Error::option("network", expected, outputs));
        }
        if trace == Trace::Exact && features > MAX_EXACT {
            let expected = format!(
                "{MAX_EXACT} features at most for an exact trace, which takes a direction each; take hutchinson"
            );
            return Err(Error::option("network", expected, features));
        }
        let program = program(network.architecture(), trace == Trace::Exact, kinetic, jacobian);
        let field = ProgramField::new(program, network.parameters())?;
        Ok(Self { field, features, trace, seed, first_sample: 0, noise: None })
    }

    /// Sets the noise of all following solves, `[batch, features]`, row-major; `None` draws it from the seed again.
    ///
    /// # Errors
    /// `Option` if the trace is exact; `Shape` if the length is not a multiple of the features; `NonFiniteInput` for the noise.
    pub fn set_noise(&mut self, noise: Option<&[T]>) -> Result<()> {
        let Some(noise) = noise else {
            self.noise = None;
            return Ok(());
        };
        if self.trace == Trace::Exact {
            return Err(Error::option("noise", "nothing where the trace is exact", "an array"));
        }
        if noise.is_empty() || !noise.len().is_multiple_of(self.features) {
            let expected = format!("[batch, {}] numbers", self.features);
            return Err(Error::shape("noise", expected, noise.len()));
        }
        finite("noise", noise)?;
        self.noise = Some(Buffer::copied(&Ledger::new(), Purpose::Network, noise)?);
        Ok(())
    }

    /// The noise of a batch, `[batch, features]`.
    fn noise(&self, batch: usize, kind: Noise, ledger: &Ledger) -> Result<Buffer<T>> {
        let features = self.features;
        if let Some(noise) = &self.noise {
            return match noise.len() == batch * features {
                true => Buffer::copied(ledger, Purpose::Workspace, noise),
                false => Err(Error::shape("noise", format!("[{batch}, {features}] numbers"), noise.len())),
            };
        }
        let mut noise = Buffer::zeroed(ledger, Purpose::Workspace, batch * features)?;
        for (sample, row) in noise.chunks_exact_mut(features).enumerate() {
            // A stream for each sample: the parts of a batch on several cores draw what the whole would.
            let stream = self.first_sample.wrapping_add(sample) as u64;
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

    /// All parameters, those of the network, flat, for you to change. Solves that were recorded before keep the parameters that they had.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        self.field.parameters_mut()
    }
}

/// A standard normal number (Box and Muller).
pub(crate) fn gaussian(random: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(2.0 * std::f64::consts::PI * angle)
}

/// The program of a flow.
fn program(architecture: &Architecture, exact: bool, kinetic: bool, jacobian: bool) -> Program {
    let features = architecture.widths[0];
    let mut graph = Graph::default();
    let x = graph.load(Input::State, 0, features);
    let f = architecture.network(&mut graph, x, 1);
    let directions: Vec<Id> = match exact {
        true => (0..features).map(|feature| unit_vector(&mut graph, features, feature)).collect(),
        false => vec![graph.load(Input::Data, 0, features)],
    };
    let (mut trace, mut squares): (Option<Id>, Option<Id>) = (None, None);
    for (index, &direction) in directions.iter().enumerate() {
        let seeds =
            |graph: &mut Graph, id: Id| matches!(graph.nodes[id].op, Op::Load(Input::State, _)).then_some(direction);
        let along = forward(&mut graph, &[f], &seeds)[0].unwrap_or_else(|| graph.constants(&vec![0.0; features]));
        let part = match exact {
            true => graph.slice(along, index, 1),
            false => dot(&mut graph, along, direction),
        };
        trace = Some(trace.map_or(part, |sum| graph.add(sum, part)));
        if jacobian {
            let square = dot(&mut graph, along, along);
            squares = Some(squares.map_or(square, |sum| graph.add(sum, square)));
        }
    }
    let trace = trace.expect("at least one feature");
    let mut rates = vec![f, graph.neg(trace)];
    if kinetic {
        rates.push(dot(&mut graph, f, f));
    }
    rates.extend(squares);
    let value = graph.concat(rates);
    let sizes = Sizes {
        state: graph.rows(value),
        parameters: architecture.parameters(),
        arguments: 0,
        data: if exact { 0 } else { features },
    };
    Program::of(graph, value, sizes)
}

fn unit_vector(graph: &mut Graph, features: usize, feature: usize) -> Id {
    let mut numbers = vec![0.0; features];
    numbers[feature] = 1.0;
    graph.constants(&numbers)
}

fn dot(graph: &mut Graph, a: Id, b: Id) -> Id {
    let products = graph.mul(a, b);
    graph.sum_rows(products)
}

impl<T: Real> VectorField<T> for Cnf<T> {
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
        let Trace::Hutchinson(kind) = self.trace else {
            return self.field.prepare(parameters, batch, options, ledger);
        };
        let noise = self.noise(batch, kind, ledger)?;
        let rows = ArrayView2::from_shape((batch, self.features), &noise).expect("a row for each sample");
        self.field.dynamics(parameters, batch, options, BatchInputs { data: Some(rows), ..BatchInputs::NONE }, ledger)
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

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        match self.trace {
            Trace::Hutchinson(kind) => Ok(TrajectoryInputs {
                data: self.noise(batch, kind, ledger)?,
                ..TrajectoryInputs::none(batch, ledger)?
            }),
            _ => TrajectoryInputs::none(batch, ledger),
        }
    }
}
