//! Reverse and forward mode, from graph to graph. Both are closed: what they append can be differentiated again.
//!
//! What an untaken branch of a choice computes may be infinite or not a number, and so may its derivative. It never reaches a
//! gradient: a node that only counts where a condition holds is *guarded* by it, and where its cotangent leaves the guarded
//! nodes, it is selected by the condition, not multiplied by zero. Only what can be infinite without its operands being so, and what
//! depends on that, has to be guarded.

mod forward;
mod guard;
mod inner;
mod reverse;
mod rules;
mod scatter;

use super::graph::{Graph, Id, Op};
pub use forward::forward;
pub use inner::{gradient, without_variables};
pub use reverse::{input_cotangent, reverse};
use scatter::scatter_add;

/// Whether a node's rows are computed one by one.
pub fn elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(..) | Op::Binary(..) | Op::MultiplyAdd { .. } | Op::Select(..))
}

pub fn zeros(graph: &mut Graph, rows: usize) -> Id {
    let zero = graph.constant(0.0);
    graph.spread(zero, 1, rows)
}
