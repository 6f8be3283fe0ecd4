//! Multilayer perceptrons: where their parameters lie, how they are initialised, and their graphs.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::graph::{Binary, Graph, Id, Place, Unary};

/// An activation function, which a network applies to each feature z of every layer but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// tanh z
    Tanh,
    /// log(1 + e^z)
    Softplus,
    /// z / (1 + e^−z)
    Silu,
    /// max(z, 0)
    Relu,
    /// 1 / (1 + e^−z)
    Sigmoid,
    /// z Φ(z), with the exact normal distribution function Φ.
    Gelu,
    /// sin z
    Sin,
    /// z for z > 0, e^z − 1 else.
    Elu,
    /// z
    Identity,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 9] = [
        Activation::Tanh,
        Activation::Softplus,
        Activation::Silu,
        Activation::Relu,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::Sin,
        Activation::Elu,
        Activation::Identity,
    ];

    /// The name of the activation in JavaScript, such as "tanh".
    pub fn name(self) -> &'static str {
        match self {
            Activation::Tanh => "tanh",
            Activation::Softplus => "softplus",
            Activation::Silu => "silu",
            Activation::Relu => "relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Gelu => "gelu",
            Activation::Sin => "sin",
            Activation::Elu => "elu",
            Activation::Identity => "identity",
        }
    }

    /// The activation with this name in JavaScript, such as "tanh", if there is one.
    pub fn named(name: &str) -> Option<Activation> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    fn apply(self, graph: &mut Graph, z: Id) -> Id {
        let factor = match self {
            Activation::Tanh => return graph.unary(Unary::Tanh, z),
            Activation::Softplus => return graph.unary(Unary::Softplus, z),
            Activation::Relu => return graph.unary(Unary::Relu, z),
            Activation::Sigmoid => return graph.unary(Unary::Sigmoid, z),
            Activation::Sin => return graph.unary(Unary::Sin, z),
            Activation::Elu => return graph.unary(Unary::Elu, z),
            Activation::Identity => return z,
            Activation::Silu => Unary::Sigmoid,
            Activation::Gelu => Unary::NormalCdf,
        };
        let factor = graph.unary(factor, z);
        graph.mul(z, factor)
    }
}

/// How the time enters the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The time does not enter the network.
    None,
    /// The time is one more input of every layer, the first.
    Concat,
    /// A layer is (W x + b) · sigmoid(gateWeight·t + gateBias) + hyperBias·t (FFJORD, Grathwohl et al. 2019).
    ConcatSquash,
}

impl Time {
    /// Every way in which the time can enter.
    pub const ALL: [Time; 3] = [Time::None, Time::Concat, Time::ConcatSquash];

    /// The name of the variant in JavaScript, such as "concat".
    pub fn name(self) -> &'static str {
        match self {
            Time::None => "none",
            Time::Concat => "concat",
            Time::ConcatSquash => "concatsquash",
        }
    }

    /// The variant with this name in JavaScript, such as "concat", if there is one.
    pub fn named(name: &str) -> Option<Time> {
        Self::ALL.into_iter().find(|time| time.name() == name)
    }
}

/// The architecture of a multilayer perceptron: everything except the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// How many features the input, each hidden layer and the output have: at least two positive numbers.
    pub widths: Vec<usize>,
    /// The activation of every layer but the last, which has none.
    pub activation: Activation,
    /// How the time enters the network.
    pub time: Time,
    /// Whether layers have biases.
    pub bias: bool,
}

/// An array of a layer's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of the array: weight, bias, gateWeight, gateBias or hyperBias.
    pub name: &'static str,
    /// The index of the array's first number in the flat parameters.
    pub offset: usize,
    /// The shape of the array, row-major: `[outputs, inputs]` for a weight, with the time as one more input under [`Time::Concat`];
    /// `[outputs]` for the others.
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

impl Layer {
    /// W x + b, with the time where it enters.
    fn apply(&self, graph: &mut Graph, x: Id, points: usize) -> Id {
        let Layer { inputs, outputs, weight, columns, bias, gate } = *self;
        let vector = |graph: &mut Graph, offset| graph.parameter(Place::vector(offset, outputs));
        let first = columns - inputs;
        let place = match first {
            0 => Place::vector(weight, outputs * inputs),
            _ => Place { offset: weight + first, rows: outputs, columns: inputs, stride: columns },
        };
        let w = graph.parameter(place);
        let mut shift = bias.map(|offset| vector(graph, offset));
        if first == 1 {
            let column = graph.parameter(Place { offset: weight, rows: outputs, columns: 1, stride: columns });
            let t = graph.time();
            let moved = graph.mul(column, t);
            shift = Some(shift.map_or(moved, |bias| graph.add(bias, moved)));
        }
        let mut z = graph.dense(w, x, points);
        if let Some(shift) = shift {
            let shift = graph.spread(shift, 1, points);
            z = graph.add(z, shift);
        }
        let Some([gate_weight, gate_bias, hyper_bias]) = gate else { return z };
        let t = graph.time();
        let [gate_weight, gate_bias, hyper_bias] =
            [gate_weight, gate_bias, hyper_bias].map(|offset| vector(graph, offset));
        let (turned, drift) = (graph.mul(gate_weight, t), graph.mul(hyper_bias, t));
        let into_gate = graph.binary(Binary::Add, turned, gate_bias);
        let gate = graph.unary(Unary::Sigmoid, into_gate);
        let (gate, drift) = (graph.spread(gate, 1, points), graph.spread(drift, 1, points));
        let gated = graph.mul(z, gate);
        graph.add(gated, drift)
    }
}

impl Architecture {
    /// Refuses what is not a network.
    pub(crate) fn check(&self) -> Result<()> {
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

    /// The network at each of some points: x is `[inputs][points]`.
    pub(crate) fn network(&self, graph: &mut Graph, mut x: Id, points: usize) -> Id {
        let layers = self.layers();
        let last = layers.len() - 1;
        for (index, layer) in layers.into_iter().enumerate() {
            let z = layer.apply(graph, x, points);
            x = if index < last { self.activation.apply(graph, z) } else { z };
        }
        x
    }

    /// How many parameters the network has.
    pub fn parameters(&self) -> usize {
        self.entries().iter().flatten().map(|entry| entry.shape.iter().product::<usize>()).sum()
    }

    /// The arrays of each layer, in the order in which the flat parameters hold them.
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
    pub(crate) fn initial<T: Real>(&self, seed: u64) -> Result<Buffer<T>> {
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
