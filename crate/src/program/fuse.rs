//! Several operations in one: multiply–adds, and inner products over trajectories.
//!
//! This decides rounding. So it is done once for a graph, and what is derived from the graph afterwards keeps the operations as
//! they are.

use super::graph::{Binary, Graph, Id, Op};

/// The graph with only what `roots` depend on, fused from node `frozen` on; and where each old node has gone.
pub fn fuse(graph: &Graph, roots: &[Id], frozen: usize) -> (Graph, Vec<Option<Id>>) {
    let live = graph.live(roots.iter().copied());
    let mut uses = vec![0_usize; graph.nodes.len()];
    roots.iter().for_each(|&root| uses[root] += 1);
    for (node, _) in graph.nodes.iter().zip(&live).filter(|(_, live)| **live) {
        node.op.each_operand(|operand| uses[operand] += 1);
    }
    let timed = graph.time_dependent();
    let mut fused = graph.clone();
    for (id, node) in fused.nodes.iter_mut().enumerate().skip(frozen) {
        if live[id]
            && let Some(op) = fused_op(graph, id, &uses, &timed, frozen)
        {
            node.op = op;
        }
    }
    let live = fused.live(roots.iter().copied());
    let mut out = Graph::default();
    let mut to = vec![None; graph.nodes.len()];
    for (id, node) in fused.nodes.iter().enumerate().filter(|&(id, _)| live[id]) {
        let op = node.op.with_operands(|operand| to[operand].expect("operands come first"));
        to[id] = Some(out.push(op, node.rows));
    }
    (out, to)
}

fn fused_op(graph: &Graph, id: Id, uses: &[usize], timed: &[bool], frozen: usize) -> Option<Op> {
    let rows = graph.rows(id);
    // A product that nothing else needs.
    let product = |operand: Id| match graph.nodes[operand].op {
        Op::Binary(Binary::Mul, a, b) if operand >= frozen && uses[operand] == 1 && graph.rows(operand) == rows => {
            Some((a, b))
        }
        _ => None,
    };
    match graph.nodes[id].op {
        Op::Binary(Binary::Add, left, right) => [(left, right), (right, left)]
            .into_iter()
            .find_map(|(product, shift)| shifted(graph, product, shift, uses, frozen).filter(|_| !timed[shift]))
            .or_else(|| {
                of_trajectories_first(graph, left, right)
                    .into_iter()
                    .find_map(|(factor, c)| product(factor).map(|(a, b)| Op::MultiplyAdd { negated: false, a, b, c }))
            }),
        Op::Binary(Binary::Sub, c, factor) => product(factor).map(|(a, b)| Op::MultiplyAdd { negated: true, a, b, c }),
        Op::SumLanes(factor) => product(factor)
            .filter(|&(a, b)| [a, b].into_iter().all(|id| !graph.uniform(id) && graph.rows(id) == rows))
            .map(|(a, b)| Op::DotLanes(a, b)),
        _ => None,
    }
}

/// The two ways to take one of two operands as the product: first one that each trajectory has for itself, since a uniform product
/// is computed only once.
fn of_trajectories_first(graph: &Graph, left: Id, right: Id) -> [(Id, Id); 2] {
    if graph.uniform(left) { [(right, left), (left, right)] } else { [(left, right), (right, left)] }
}

/// A dense layer to which a uniform vector is added, the same at every point. A vector that depends on the time is not fused:
/// trajectories at different times have different vectors, and must be rounded in the same way.
fn shifted(graph: &Graph, product: Id, shift: Id, uses: &[usize], frozen: usize) -> Option<Op> {
    let Op::Dense { w, x, shift: None, points } = graph.nodes[product].op else { return None };
    let shift = match graph.nodes[shift].op {
        Op::Spread { a, outer: 1, inner } if inner == points && points > 1 => a,
        _ => shift,
    };
    let fits = product >= frozen && uses[product] == 1 && graph.uniform(shift) && !graph.uniform(x);
    (fits && graph.rows(shift) * points == graph.rows(product)).then_some(Op::Dense {
        w,
        x,
        shift: Some(shift),
        points,
    })
}
