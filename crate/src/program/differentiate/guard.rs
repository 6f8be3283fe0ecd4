//! Which nodes count only where a condition holds, so that what others of them compute has to be selected away.

use super::super::graph::{Binary, Compare, Condition, Graph, Id, Op, Unary};
use super::{elementwise, scatter_add};

/// A condition and whether it has to hold or to fail.
pub(super) type Clause = (Condition, bool);

/// An operand of a node.
pub(super) struct Edge {
    pub operand: Id,
    /// The condition under which alone the node depends on it.
    pub clause: Option<Clause>,
    /// The row of the node at which it begins, of parts that are joined.
    pub at: usize,
}

/// The most clauses that guard a node one by one; more are joined to one.
pub(super) const CLAUSES: usize = 8;

/// The operands by which a node is differentiable.
pub(super) fn edges(graph: &Graph, id: Id) -> Vec<Edge> {
    let edge = |operand| Edge { operand, clause: None, at: 0 };
    let when =
        |operand, compare, a, b, holds| Edge { clause: Some((Condition { compare, a, b }, holds)), ..edge(operand) };
    match graph.nodes[id].op {
        Op::Unary(Unary::Sign, _) => vec![],
        // Where its value is its operand.
        Op::Unary(Unary::Relu, a) => vec![when(a, Compare::LessEqual, id, a, true)],
        Op::Select(condition, then, otherwise) => vec![
            Edge { clause: Some((condition, true)), ..edge(then) },
            Edge { clause: Some((condition, false)), ..edge(otherwise) },
        ],
        Op::Binary(Binary::Max, a, b) => {
            vec![when(a, Compare::LessEqual, b, a, true), when(b, Compare::Less, a, b, true)]
        }
        Op::Binary(Binary::Min, a, b) => {
            vec![when(a, Compare::LessEqual, a, b, true), when(b, Compare::Less, b, a, true)]
        }
        Op::Concat(ref parts) => {
            let mut row = 0;
            let parts = parts.iter().map(|&part| {
                let at = row;
                row += graph.rows(part);
                Edge { at, ..edge(part) }
            });
            parts.collect()
        }
        ref op => op.operands().into_iter().map(edge).collect(),
    }
}

pub(super) fn condition_rows(graph: &Graph, condition: &Condition) -> usize {
    graph.rows(condition.a).max(graph.rows(condition.b))
}

/// Which nodes may be infinite or no number, or have such a derivative, where all inputs are finite.
pub(super) fn may_be_nonfinite(graph: &Graph, end: usize) -> Vec<bool> {
    use Unary::{Acos, Asin, Cosh, Exp, Expm1, Log, Log1p, Sinh, Sqrt, Tan};
    let mut may_be_nonfinite = vec![false; end];
    for id in 0..end {
        let op = &graph.nodes[id].op;
        may_be_nonfinite[id] = match *op {
            Op::Unary(function, _) => {
                matches!(function, Acos | Asin | Cosh | Exp | Expm1 | Log | Log1p | Sinh | Sqrt | Tan)
            }
            Op::Binary(Binary::Div, _, b) => graph.constant_of(b).is_none_or(|b| b == 0.0),
            Op::Binary(Binary::Pow | Binary::Atan2, ..) => true,
            _ => false,
        };
        op.each_operand(|operand| may_be_nonfinite[id] |= may_be_nonfinite[operand]);
    }
    may_be_nonfinite
}

/// 1 where all clauses hold, else 0.
pub(super) fn indicator(graph: &mut Graph, clauses: &[Clause]) -> Id {
    let zero = graph.constant(0.0);
    let one = graph.constant(1.0);
    clauses.iter().fold(one, |value, &(condition, holds)| {
        let (then, otherwise) = if holds { (value, zero) } else { (zero, value) };
        graph.select(condition, then, otherwise)
    })
}

/// The clause that a value is positive.
pub(super) fn positive(graph: &mut Graph, value: Id) -> Clause {
    (Condition { compare: Compare::Less, a: graph.constant(0.0), b: value }, true)
}

/// A clause of one row: whether it holds in any.
pub(super) fn in_any_row(graph: &mut Graph, clause: Clause) -> Clause {
    if condition_rows(graph, &clause.0) == 1 {
        return clause;
    }
    let rows = indicator(graph, &[clause]);
    let count = graph.sum_rows(rows);
    positive(graph, count)
}

/// A clause of a node as one of its operand; and whether it is exact: whether the cotangent of each row of the operand comes either only
/// from rows where the clause holds, or only from rows where it does not.
pub(super) fn propagate_clause(graph: &mut Graph, id: Id, edge: &Edge, clause: Clause) -> (Clause, bool) {
    let Edge { operand, at, .. } = *edge;
    let (condition, holds) = clause;
    let (all, rows) = (condition_rows(graph, &condition), graph.rows(operand));
    let both = |graph: &mut Graph, change: &dyn Fn(&mut Graph, Id) -> Id| {
        let [a, b] = [condition.a, condition.b].map(|id| if graph.rows(id) == 1 { id } else { change(graph, id) });
        (Condition { a, b, ..condition }, holds)
    };
    let (moved, exact) = match graph.nodes[id].op {
        _ if all == 1 => (clause, true),
        ref op if elementwise(op) && rows == all => (clause, true),
        Op::Concat(_) => (both(graph, &|graph, id| graph.slice(id, at, rows)), true),
        Op::Sum { outer, inner, .. } => (both(graph, &|graph, id| graph.spread(id, outer, inner)), true),
        Op::Slice(_, start) => {
            let rows_of_slice = indicator(graph, &[clause]);
            let padded = scatter_add(graph, rows, &[(start, rows_of_slice)]);
            (positive(graph, padded), true)
        }
        Op::Spread { outer, inner, .. } => {
            let copies = indicator(graph, &[clause]);
            let count = graph.sum(copies, outer, inner);
            (positive(graph, count), false)
        }
        _ => (in_any_row(graph, clause), false),
    };
    let uniform = graph.uniform(moved.0.a) && graph.uniform(moved.0.b);
    if uniform || !graph.uniform(operand) {
        return (moved, exact);
    }
    let lanes = indicator(graph, &[moved]);
    let count = graph.sum_lanes(lanes);
    (positive(graph, count), false)
}

/// For each node that a cotangent reaches, the clauses under which alone it counts.
pub(super) fn guards(graph: &mut Graph, seeds: &[(Id, Id)], active: &[bool]) -> Vec<Vec<Clause>> {
    let may_be_nonfinite = may_be_nonfinite(graph, active.len());
    // What guards may cost: a few times the rows that there are, however many slices a long value has.
    let mut rows_left: usize = 4 * (0..active.len()).map(|id| graph.rows(id)).sum::<usize>();
    let mut guards: Vec<Vec<Clause>> = vec![vec![]; active.len()];
    // For each node, the clauses of each path on which it counts.
    let mut paths: Vec<Vec<Vec<Clause>>> = vec![vec![]; active.len()];
    seeds.iter().for_each(|&(id, _)| paths[id].push(vec![]));
    for id in (0..active.len()).rev().filter(|&id| active[id]) {
        let all = std::mem::take(&mut paths[id]);
        if all.is_empty() {
            continue;
        }
        guards[id] = on_any_path(graph, &all);
        for edge in edges(graph, id) {
            let leaf = matches!(
                graph.nodes[edge.operand].op,
                Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..)
            );
            if !active[edge.operand] || !may_be_nonfinite[edge.operand] || leaf {
                continue;
            }
            let mut path: Vec<Clause> = Vec::new();
            for &clause in guards[id].iter().chain(&edge.clause) {
                let longer = matches!(graph.nodes[id].op, Op::Slice(..) | Op::Sum { .. });
                if longer && condition_rows(graph, &clause.0) > 1 {
                    let rows = graph.rows(edge.operand);
                    if rows > rows_left {
                        continue;
                    }
                    rows_left -= rows;
                }
                let (clause, _) = propagate_clause(graph, id, &edge, clause);
                if !path.contains(&clause) {
                    path.push(clause);
                }
            }
            let paths = &mut paths[edge.operand];
            if path.is_empty() {
                *paths = vec![path];
            } else if !paths.iter().any(|other| other.is_empty() || *other == path) {
                paths.push(path);
            }
        }
    }
    guards
}

/// The clauses that hold on every one of these paths, and one that holds if any of the rest does.
pub(super) fn on_any_path(graph: &mut Graph, paths: &[Vec<Clause>]) -> Vec<Clause> {
    let mut common = paths[0].clone();
    common.retain(|clause| paths.iter().all(|path| path.contains(clause)));
    if paths.iter().all(|path| path.len() > common.len()) {
        let mut count: Option<Id> = None;
        for path in paths {
            let rest: Vec<Clause> = path.iter().filter(|clause| !common.contains(clause)).copied().collect();
            let holds = indicator(graph, &rest);
            count = Some(count.map_or(holds, |count| graph.add(count, holds)));
        }
        common.extend(count.map(|count| positive(graph, count)));
    }
    if common.len() > CLAUSES {
        let all = indicator(graph, &common);
        common = vec![positive(graph, all)];
    }
    common
}
