//! Programs: a vector field as a graph of operations, which the crate differentiates, plans and runs.
//!
//! | module          | what it does                                                                             |
//! |-----------------|------------------------------------------------------------------------------------------|
//! | `graph`         | values and operations; equal ones are shared, constants folded, shapes checked           |
//! | `build`         | expressions with operators, for Rust                                                     |
//! | `json`          | the form in which programs travel                                                        |
//! | `differentiate` | reverse and forward mode, from graph to graph                                            |
//! | `tangents`      | a field of a state with its tangents along directions                                    |
//! | `time_in_state` | a field with the time as the last row of its state                                       |
//! | `fuse`          | multiply–adds and other operations in one                                                |
//! | `derive`        | what a solve and its gradient need of a field: values, transposes, what a tape holds     |
//! | `plan`          | where each value lies, and which kernel computes it, for one batch                       |
//! | `execute`       | runs a plan over the blocks of a batch                                                   |
//!
//! The graph of a field is differentiated as a whole, so derivatives are graphs too, and can be differentiated again. Rounding is
//! decided when operations are fused, before a tape is cut out of the graph: a solve gives bitwise the same numbers whether or
//! not a tape is kept, and so does a gradient.

mod build;
pub(crate) mod derive;
pub(crate) mod differentiate;
pub(crate) mod execute;
pub(crate) mod fuse;
pub(crate) mod graph;
pub(crate) mod json;
pub(crate) mod plan;
pub(crate) mod tangents;
mod time_in_state;

pub use build::{Builder, Value, concat};
use graph::{Graph, Id};

/// A vector field as a graph of operations: a function of state, time, parameters and arguments that the crate differentiates. Make one
/// with a [`Builder`], or read it by [`from_json`](Self::from_json).
#[derive(Debug, Clone)]
pub struct Program {
    /// The graph as it was written, and its result.
    source: (Graph, Id),
    /// The same graph with operations fused.
    pub(crate) graph: Graph,
    pub(crate) value: Id,
    pub(crate) sizes: Sizes,
}

/// The sizes of the inputs that a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Features of the state.
    pub state: usize,
    /// How many parameters there are.
    pub parameters: usize,
    /// Arguments of each trajectory.
    pub arguments: usize,
    /// Numbers of each trajectory that are held constant in every derivative.
    pub data: usize,
}

impl Program {
    /// The program of a graph that has been checked.
    pub(crate) fn of(source: Graph, value: Id, sizes: Sizes) -> Self {
        let (graph, fused) = derive::forward(&source, value);
        Self { source: (source, value), graph, value: fused, sizes }
    }

    /// How many features the state has.
    pub fn state(&self) -> usize {
        self.sizes.state
    }

    /// How many parameters the program has.
    pub fn parameters(&self) -> usize {
        self.sizes.parameters
    }

    /// How many arguments each trajectory has.
    pub fn arguments(&self) -> usize {
        self.sizes.arguments
    }

    /// How many rows the program returns for each trajectory: as many as the state has features, if it is a vector field.
    pub fn outputs(&self) -> usize {
        self.graph.rows(self.value)
    }
}
