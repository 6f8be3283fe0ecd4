//! The multilayer perceptron: its architecture, where its parameters lie, how they are initialised.

pub(crate) mod dual;
pub(crate) mod pass;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result, finite};
pub use crate::kernel::activation::Activation;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};

/// How the time enters the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Not at all.
    None,
    /// Before the first column of every layer's input.
    Concat,
    /// A layer is (W x + b) · sigmoid(gateWeight·t + gateBias) + hyperBias·t (FFJORD, Grathwohl et al. 2019).
    ConcatSquash,
}

impl Time {
    /// Every kind.
    pub const ALL: [Time; 3] = [Time::None, Time::Concat, Time::ConcatSquash];

    /// Its name in the public API.
    pub fn name(self) -> &'static str {
        match self {
            Time::None => "none",
            Time::Concat => "concat",
            Time::ConcatSquash => "concatsquash",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Time> {
        Self::ALL.into_iter().find(|time| time.name() == name)
    }
}

/// What a network is, but for the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Features of the input, of every hidden layer, and of the output.
    pub widths: Vec<usize>,
    /// Follows every layer but the last.
    pub activation: Activation,
    /// How the time enters.
    pub time: Time,
    /// Whether layers have biases.
    pub bias: bool,
}

/// A parameter array of a layer: its name, where it begins in the flat parameters, its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// weight, bias, gateWeight, gateBias or hyperBias.
    pub name: &'static str,
    /// The index of its first number in the flat parameters.
    pub offset: usize,
    /// Its sides, row-major.
    pub shape: Vec<usize>,
}

/// Where a layer's arrays begin in the flat parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// Row-major `[outputs, columns]`; with `concat` the first column is the time's.
    pub weight: usize,
    pub columns: usize,
    pub bias: Option<usize>,
    /// gateWeight, gateBias, hyperBias.
    pub gate: Option<[usize; 3]>,
}

impl Architecture {
    /// Refuses what is not a network.
    pub fn check(&self) -> Result<()> {
        if self.widths.len() < 2 || self.widths.contains(&0) {
            let expected = "at least two positive integers, input first";
            return Err(Error::option("widths", expected, format!("{:?}", self.widths)));
        }
        let parameters = self
            .widths
            .windows(2)
            .try_fold(0_usize, |sum, pair| pair[1].checked_mul(pair[0].checked_add(5)?)?.checked_add(sum));
        match parameters {
            Some(parameters) if parameters < usize::MAX / 16 => Ok(()),
            _ => Err(Error::option("widths", "fewer parameters than memory can address", format!("{:?}", self.widths))),
        }
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        let mut end = 0;
        let mut take = |numbers: usize| {
            end += numbers;
            end - numbers
        };
        self.widths
            .windows(2)
            .map(|pair| {
                let (inputs, outputs) = (pair[0], pair[1]);
                let columns = inputs + usize::from(self.time == Time::Concat);
                Layer {
                    inputs,
                    outputs,
                    columns,
                    weight: take(outputs * columns),
                    bias: self.bias.then(|| take(outputs)),
                    gate: (self.time == Time::ConcatSquash).then(|| std::array::from_fn(|_| take(outputs))),
                }
            })
            .collect()
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.entries().iter().flatten().map(|entry| entry.shape.iter().product::<usize>()).sum()
    }

    /// The arrays of every layer, in the order of the flat parameters.
    pub fn entries(&self) -> Vec<Vec<Entry>> {
        self.layers()
            .iter()
            .map(|layer| {
                let vector = |name, offset| Entry { name, offset, shape: vec![layer.outputs] };
                let weight = Entry { name: "weight", offset: layer.weight, shape: vec![layer.outputs, layer.columns] };
                let bias = layer.bias.map(|offset| vector("bias", offset));
                let gate = layer.gate.map(|[weight, bias, hyper]| {
                    [vector("gateWeight", weight), vector("gateBias", bias), vector("hyperBias", hyper)]
                });
                [weight].into_iter().chain(bias).chain(gate.into_iter().flatten()).collect()
            })
            .collect()
    }

    /// Seeded initial parameters, uniform in ±limit: for weights √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010), or
    /// √(6 / fan_in) (He et al. 2015) before relu, elu, silu and gelu; 1 for gateWeight and hyperBias; 0 for biases.
    pub fn initial<T: Real>(&self, seed: u64) -> Result<Buffer<T>> {
        let mut parameters = Buffer::zeroed(&Ledger::new(), Purpose::Network, self.parameters())?;
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let layers = self.entries();
        let last = layers.len() - 1;
        for (index, entry) in layers.iter().enumerate().flat_map(|(i, layer)| layer.iter().map(move |e| (i, e))) {
            use Activation::{Elu, Gelu, Relu, Silu};
            let kaiming = index < last && matches!(self.activation, Relu | Elu | Silu | Gelu);
            let limit = match (entry.name, &entry.shape[..]) {
                ("weight", [_, fan_in]) if kaiming => (6.0 / *fan_in as f64).sqrt(),
                ("weight", [fan_out, fan_in]) => (6.0 / (fan_in + fan_out) as f64).sqrt(),
                ("gateWeight" | "hyperBias", _) => 1.0,
                _ => continue,
            };
            let len = entry.shape.iter().product::<usize>();
            for parameter in &mut parameters[entry.offset..entry.offset + len] {
                *parameter = T::of(random.random_range(-limit..limit));
            }
        }
        Ok(parameters)
    }
}

/// A network with its parameters.
#[derive(Debug)]
pub struct Mlp<T> {
    architecture: Architecture,
    parameters: Buffer<T>,
}

impl<T: Real> Mlp<T> {
    /// A network with [initial](Architecture::initial) parameters.
    pub fn new(architecture: Architecture, seed: u64) -> Result<Self> {
        architecture.check()?;
        let parameters = architecture.initial(seed)?;
        Ok(Self { architecture, parameters })
    }

    /// Another one just like it.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn duplicate(&self) -> Result<Self> {
        let parameters = Buffer::copied(&Ledger::new(), Purpose::Network, &self.parameters)?;
        Ok(Self { architecture: self.architecture.clone(), parameters })
    }

    /// What it is, but for the values of its parameters.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// All parameters, flat, as [`Architecture::entries`] lists them.
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }

    /// All parameters, flat, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    pub(crate) fn check_parameters(&self, parameters: &[T]) -> Result<()> {
        if parameters.len() != self.parameters.len() {
            return Err(Error::shape("parameters", self.parameters.len(), parameters.len()));
        }
        finite("parameters", parameters.iter().copied())
    }
}
