//! The parts of a field's program for a solve and its gradient: its value, its transpose, and the tape between them.

use super::differentiate::{input_cotangent, reverse};
use super::fuse::fuse;
use super::graph::{Graph, Id, Input, Op, Place};

/// A field's graph, ready to be run, and its derivative, ready to be planned.
#[derive(Debug)]
pub struct Derived {
    /// The value and its transpose in one.
    pub graph: Graph,
    pub value: Id,
    /// (∂f/∂x)ᵀ ℓ.
    pub state: Id,
    /// (∂f/∂arguments)ᵀ ℓ, if there are arguments.
    pub arguments: Option<Id>,
    /// Parts of (∂f/∂θ)ᵀ ℓ, with where they belong.
    pub parameters: Vec<(Place, Id)>,
    /// (∂f/∂t)ᵀ ℓ, if the time enters.
    pub time: Option<Id>,
    /// The nodes on a tape, with their first rows.
    pub tape: Vec<(Id, usize)>,
    pub tape_rows: usize,
}

/// A graph without its transpose: fused, so that all that is derived from it computes the same numbers.
pub fn forward(graph: &Graph, value: Id) -> (Graph, Id) {
    let (graph, to) = fuse(graph, &[value], 0);
    (graph, to[value].expect("the value is live"))
}

/// The transpose of what [`forward`] returns, for these rows of state and arguments.
pub fn derive(forward: &Graph, value: Id, state: usize, arguments: usize) -> Derived {
    let mut graph = forward.clone();
    let rows = graph.rows(value);
    let cotangent = graph.load(Input::Cotangent, 0, rows);
    let wanted = |op: &Op| matches!(op, Op::Time | Op::Parameter(_) | Op::Load(Input::State | Input::Argument, _));
    let leaves = reverse(&mut graph, &[(value, cotangent)], &wanted);
    let state = input_cotangent(&mut graph, &leaves, Input::State, state);
    let arguments = (arguments > 0).then(|| input_cotangent(&mut graph, &leaves, Input::Argument, arguments));
    let mut parameters = Vec::new();
    let mut time: Option<Id> = None;
    for (leaf, parts) in leaves {
        match graph.nodes[leaf].op {
            Op::Parameter(place) => parameters.extend(parts.into_iter().map(|part| (place, part))),
            Op::Time => {
                for part in parts {
                    time = Some(time.map_or(part, |sum| graph.add(sum, part)));
                }
            }
            _ => {}
        }
    }
    let roots: Vec<Id> =
        [value, state].into_iter().chain(arguments).chain(parameters.iter().map(|part| part.1)).chain(time).collect();
    let (graph, to) = fuse(&graph, &roots, forward.nodes.len());
    let moved = |id: Id| to[id].expect("roots are live");
    let (state, arguments, time) = (moved(state), arguments.map(moved), time.map(moved));
    let parameters: Vec<_> = parameters.into_iter().map(|(place, part)| (place, moved(part))).collect();
    let roots: Vec<Id> = std::iter::once(state).chain(arguments).chain(parameters.iter().map(|part| part.1)).collect();
    let (tape, tape_rows) = select_tape(&graph, &roots);
    Derived { value: moved(value), graph, state, arguments, parameters, time, tape, tape_rows }
}

/// The values to keep between value and transpose: those that the transpose needs, except those that are as cheap to recompute as
/// to read, and need no more rows to be recomputed from.
fn select_tape(graph: &Graph, roots: &[Id]) -> (Vec<(Id, usize)>, usize) {
    let live = graph.live(roots.iter().copied());
    let mut backward_only = vec![false; graph.nodes.len()];
    let mut needed = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate().filter(|&(id, _)| live[id]) {
        backward_only[id] = matches!(node.op, Op::Load(Input::Cotangent, _));
        node.op.each_operand(|operand| backward_only[id] |= backward_only[operand]);
        if backward_only[id] {
            node.op.each_operand(|operand| needed[operand] |= !backward_only[operand]);
        }
    }
    let invariant = graph.invariant();
    let free = |id: Id| graph.uniform(id) || invariant[id] || matches!(graph.nodes[id].op, Op::Load(..));
    let mut tape = Vec::new();
    let mut rows = 0;
    for id in (0..graph.nodes.len()).rev().filter(|&id| !free(id)) {
        if !needed[id] || backward_only[id] {
            continue;
        }
        let op = &graph.nodes[id].op;
        let operands = op.operands();
        let available = |id: Id| free(id) || needed[id];
        let extra: usize = operands.iter().filter(|&&operand| !available(operand)).map(|&o| graph.rows(o)).sum();
        // A function of what is on the tape anyway takes no room; one of inputs alone is worth its room.
        let of_tape = matches!(op, Op::Unary(..))
            && is_cheap_from(graph, operands[0], &available)
            && !is_cheap_from(graph, operands[0], &free);
        if (op.cheap() && extra <= graph.rows(id)) || of_tape {
            operands.into_iter().for_each(|operand| needed[operand] = true);
        } else {
            tape.push((id, rows));
            rows += graph.rows(id);
        }
    }
    (tape, rows)
}

/// Whether a value is available, or takes only cheap operations on values that are.
fn is_cheap_from(graph: &Graph, id: Id, available: &dyn Fn(Id) -> bool) -> bool {
    fn within(graph: &Graph, id: Id, available: &dyn Fn(Id) -> bool, depth: usize) -> bool {
        let op = &graph.nodes[id].op;
        available(id)
            || (depth > 0
                && op.cheap()
                && op.operands().into_iter().all(|operand| within(graph, operand, available, depth - 1)))
    }
    within(graph, id, available, 4)
}
