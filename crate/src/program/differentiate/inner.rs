//! Derivatives within a program: the slope of a system with an energy is made of the energy's gradient.
//!
//! A gradient is taken with respect to an [`Op::Variable`]. Simplification stops at variables, so that, for example, a row of joined
//! values is not replaced by the value that it came from. Once all gradients are computed, variables are replaced by their values.

use super::super::graph::{Graph, Id, Op};
use super::{reverse, scatter_add};

/// Appends the gradient of a value of one row with respect to a variable, by its rows.
pub fn gradient(graph: &mut Graph, value: Id, variable: Id) -> Id {
    let wanted = graph.nodes[variable].op.clone();
    let one = graph.constant(1.0);
    let leaves = reverse(graph, &[(value, one)], &|op| *op == wanted);
    let parts: Vec<(usize, Id)> = leaves.into_iter().flat_map(|(_, parts)| parts).map(|part| (0, part)).collect();
    scatter_add(graph, graph.rows(variable), &parts)
}

/// The same graph for a value, with each variable replaced by its value.
pub fn without_variables(graph: &Graph, value: Id) -> (Graph, Id) {
    if !graph.nodes.iter().any(|node| matches!(node.op, Op::Variable(_))) {
        return (graph.clone(), value);
    }
    let mut settled = Graph::default();
    let mut to: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let id = match node.op.with_operands(|id| to[id]) {
            Op::Variable(a) => a,
            Op::Unary(function, a) => settled.unary(function, a),
            Op::Binary(function, a, b) => settled.binary(function, a, b),
            Op::Slice(a, start) => settled.slice(a, start, node.rows),
            Op::Concat(parts) => settled.concat(parts),
            op => settled.push(op, node.rows),
        };
        debug_assert_eq!(settled.rows(id), node.rows);
        to.push(id);
    }
    (settled, to[value])
}
