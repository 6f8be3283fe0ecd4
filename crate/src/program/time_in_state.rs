//! The time as the last row of the state, for trajectories at different times.

use super::graph::{Graph, Id, Input, Op};
use super::{Program, Sizes};

impl Program {
    /// The same function of the state (x, t), with bitwise the same values.
    pub(crate) fn with_time_in_state(&self) -> Program {
        let Sizes { state, .. } = self.sizes;
        let source = with_time_in_state((&self.source.0, self.source.1), state);
        let (graph, value) = with_time_in_state((&self.graph, self.value), state);
        Program { source, graph, value, sizes: Sizes { state: state + 1, ..self.sizes } }
    }
}

fn with_time_in_state((graph, value): (&Graph, Id), row: usize) -> (Graph, Id) {
    let mut timed = Graph::default();
    let mut to: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let id = match node.op.with_operands(|id| to[id]) {
            Op::Time => timed.load(Input::State, row, 1),
            // A matrix that follows from the time is each trajectory's own.
            Op::Dense { w, x, shift: None, points } if !timed.uniform(w) => {
                timed.push(Op::MatVec { m: w, v: x, points }, node.rows)
            }
            Op::DenseTransposed { w, x, points } if !timed.uniform(w) => {
                timed.push(Op::MatVecTransposed { m: w, v: x, points }, node.rows)
            }
            op => timed.push(op, node.rows),
        };
        to.push(id);
    }
    (timed, to[value])
}
