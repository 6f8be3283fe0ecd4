//! Forward mode on whole programs: the program of a value with its derivatives along directions.

use super::differentiate::{forward, zeros};
use super::graph::{Graph, Id, Input, Op, Place};
use super::{Program, Sizes};

/// The seed of a parameter or an argument: its tangent along a direction. A zero seed costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    Zero,
    /// The tangent is 1, which needs no multiplication.
    One,
    /// The tangent is an input of the program.
    Given,
}

/// The seeds of one direction; those of the state are always given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectionSeeds {
    /// The parameters that the program reads, in the order of [`Program::places`].
    pub parameters: Vec<Seed>,
    /// The arguments that the program reads, in the order of [`Program::argument_rows`].
    pub arguments: Vec<Seed>,
    /// Whether times have tangents.
    pub times: bool,
    /// Whether θ̇ and ȧ have places among the inputs even if they are not read, so that several programs agree on them.
    pub reserved: [bool; 2],
}

/// The field of a state with its tangents, and where its numbers lie.
#[derive(Debug)]
pub struct TangentProgram {
    /// Its state is [x, ẋ of each direction, and (τ, σ) of each along which times move]: dẋ/dt = (∂f/∂x) ẋ + (∂f/∂θ) θ̇ + (∂f/∂a) ȧ +
    /// (∂f/∂t) τ + σ f, dτ/dt = σ. So τ is the tangent of the time itself, and σ that of a step's size, relative to it.
    pub program: Program,
    /// Where θ̇ of a direction begins in its parameters, which begin with θ.
    pub parameters: Vec<Option<usize>>,
    /// Where ȧ of a direction begins in its arguments, which begin with a.
    pub arguments: Vec<Option<usize>>,
    /// The first of the two rows of (τ, σ) of each direction in its state.
    pub time_rows: Vec<Option<usize>>,
}

/// The rows of a time tangent in the state: τ and σ.
pub const TIME_TANGENT_ROWS: usize = 2;

impl Program {
    /// The program that computes f and its directional derivative ḟ = (∂f/∂x) ẋ + (∂f/∂a) ȧ + (∂f/∂θ) θ̇ + (∂f/∂t) ṫ, one behind the
    /// other. Its parameters are [θ, θ̇], its arguments [a, ẋ, ȧ, ṫ].
    ///
    /// The transpose of ḟ gives products with the Hessian: of a scalar f, (∂ḟ/∂(x, θ))ᵀ 1 is ∇²f · (ẋ, θ̇).
    pub fn tangent(&self) -> Program {
        let (source, value) = &self.source;
        let Sizes { state, parameters, arguments, data } = self.sizes;
        let mut graph = source.clone();
        let seeds = |graph: &mut Graph, id: Id| {
            let rows = graph.rows(id);
            Some(match graph.nodes[id].op {
                Op::Load(Input::State, row) => graph.load(Input::Argument, arguments + row, rows),
                Op::Load(Input::Argument, row) => graph.load(Input::Argument, arguments + state + row, rows),
                Op::Time => graph.load(Input::Argument, 2 * arguments + state, 1),
                Op::Parameter(place) => graph.parameter(Place { offset: place.offset + parameters, ..place }),
                _ => return None,
            })
        };
        let dot = forward(&mut graph, &[*value], &seeds)[0];
        let dot = dot.unwrap_or_else(|| zeros(&mut graph, self.outputs()));
        let both = graph.concat(vec![*value, dot]);
        let arguments = 2 * arguments + state + 1;
        Program::of(graph, both, Sizes { state, parameters: 2 * parameters, arguments, data })
    }

    /// The parameters that it reads, in the order of its operations.
    pub(crate) fn places(&self) -> Vec<Place> {
        let ops = self.source.0.nodes.iter().map(|node| &node.op);
        ops.filter_map(|op| if let Op::Parameter(place) = *op { Some(place) } else { None }).collect()
    }

    /// The arguments that it reads, likewise, each with its first row and its number of rows.
    pub(crate) fn argument_rows(&self) -> Vec<(usize, usize)> {
        let nodes = self.source.0.nodes.iter();
        nodes
            .filter_map(|node| if let Op::Load(Input::Argument, row) = node.op { Some((row, node.rows)) } else { None })
            .collect()
    }

    /// The same program, with loads of arguments split at a row: between the arguments of a trajectory and the amounts of a jump.
    pub(crate) fn split_arguments(&self, at: usize) -> Self {
        let (source, value) = &self.source;
        let (source, value) = source.split_argument_loads(*value, at);
        Self::of(source, value, self.sizes)
    }

    /// The field of the state with its tangents along these directions. The last arguments, the `amounts` of a jump, do not move, and
    /// remain the last.
    pub(crate) fn tangents(&self, directions: &[DirectionSeeds], amounts: usize) -> TangentProgram {
        let (source, value) = &self.source;
        let Sizes { state, parameters, arguments: all, data } = self.sizes;
        let arguments = all - amounts;
        let (places, argument_rows) = (self.places(), self.argument_rows());
        let mut next = Sizes { state: state * (1 + directions.len()), parameters, arguments, data };
        let take =
            |end: &mut usize, wanted: bool, numbers: usize| wanted.then(|| std::mem::replace(end, *end + numbers));
        let given = |seeds: &[Seed]| seeds.contains(&Seed::Given);
        let time_rows: Vec<_> =
            directions.iter().map(|along| take(&mut next.state, along.times, TIME_TANGENT_ROWS)).collect();
        let own_parameters: Vec<_> = directions
            .iter()
            .map(|along| take(&mut next.parameters, along.reserved[0] || given(&along.parameters), parameters))
            .collect();
        let own_arguments: Vec<_> = directions
            .iter()
            .map(|along| take(&mut next.arguments, along.reserved[1] || given(&along.arguments), arguments))
            .collect();
        let room = next.arguments - arguments;
        next.arguments += amounts;
        let mut graph = if amounts > 0 { source.insert_arguments(arguments, room) } else { source.clone() };
        let columns = self.columns(&mut graph, directions.len());
        let mut slopes = vec![*value];
        for (index, along) in directions.iter().enumerate() {
            let time_row = time_rows[index];
            let seeds = |graph: &mut Graph, id: Id| {
                let rows = graph.rows(id);
                let unit = |graph: &mut Graph| graph.constant(1.0);
                match graph.nodes[id].op {
                    Op::Load(Input::State, row) => {
                        columns.is_none().then(|| graph.load(Input::State, (1 + index) * state + row, rows))
                    }
                    // An amount.
                    Op::Load(Input::Argument, row) if row >= arguments => None,
                    Op::Load(Input::Argument, row) => {
                        let load =
                            argument_rows.iter().position(|&known| known == (row, rows)).expect("one of its own");
                        match along.arguments[load] {
                            Seed::Zero => None,
                            Seed::One => Some(unit(graph)),
                            Seed::Given => {
                                Some(graph.load(Input::Argument, own_arguments[index].expect("given") + row, rows))
                            }
                        }
                    }
                    Op::Parameter(place) => {
                        let known = places.iter().position(|&known| known == place).expect("one of its own");
                        let offset = place.offset + own_parameters[index].unwrap_or(0);
                        match along.parameters[known] {
                            Seed::Zero => None,
                            Seed::One => Some(unit(graph)),
                            Seed::Given => Some(graph.parameter(Place { offset, ..place })),
                        }
                    }
                    Op::Time => time_row.map(|row| graph.load(Input::State, row, 1)),
                    _ => None,
                }
            };
            let mut parts: Vec<Id> = forward(&mut graph, &[*value], &seeds)[0].into_iter().collect();
            for (feature, column) in columns.iter().flatten().enumerate() {
                if let Some(column) = *column {
                    let rate = graph.load(Input::State, (1 + index) * state + feature, 1);
                    parts.push(graph.mul(column, rate));
                }
            }
            if let Some(row) = time_row {
                let growth = graph.load(Input::State, row + 1, 1);
                parts.push(graph.mul(*value, growth));
            }
            let dot = parts.into_iter().reduce(|sum, part| graph.add(sum, part));
            slopes.push(dot.unwrap_or_else(|| zeros(&mut graph, state)));
        }
        for row in time_rows.iter().flatten() {
            slopes.push(graph.load(Input::State, row + 1, 1));
            slopes.push(graph.constant(0.0));
        }
        let both = graph.concat(slopes);
        let program = Program::of(graph, both, next);
        TangentProgram { program, parameters: own_parameters, arguments: own_arguments, time_rows }
    }

    /// The columns of ∂f/∂x, if for this number of directions it is cheaper to compute the matrix once and multiply by it.
    fn columns(&self, graph: &mut Graph, directions: usize) -> Option<Vec<Option<Id>>> {
        let (source, value) = &self.source;
        let state = self.sizes.state;
        let live = source.live([*value]);
        let cost: usize = source.nodes.iter().zip(live).filter(|(_, live)| *live).map(|(node, _)| node.rows).sum();
        if directions * cost <= state * cost + directions * state * state {
            return None;
        }
        let column = |feature: usize| {
            let seeds = |graph: &mut Graph, id: Id| match graph.nodes[id].op {
                Op::Load(Input::State, row) if (row..row + graph.rows(id)).contains(&feature) => {
                    let mut unit = vec![0.0; graph.rows(id)];
                    unit[feature - row] = 1.0;
                    Some(graph.constants(&unit))
                }
                _ => None,
            };
            forward(graph, &[*value], &seeds)[0]
        };
        Some((0..state).map(column).collect())
    }
}
