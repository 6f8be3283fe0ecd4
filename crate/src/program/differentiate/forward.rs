//! Forward mode.

use super::super::graph::{Binary, Compare, Condition, Graph, Id, Op, Unary};
use super::rules::{angle_rate, exponent_slope, power_slope, scaled};
use super::zeros;

/// Appends the tangents of nodes along tangents of leaves; none where it is zero.
pub fn forward(graph: &mut Graph, outputs: &[Id], seeds: &dyn Fn(&mut Graph, Id) -> Option<Id>) -> Vec<Option<Id>> {
    let end = outputs.iter().map(|output| output + 1).max().unwrap_or(0);
    let live = graph.live(outputs.iter().copied());
    let mut dots: Vec<Option<Id>> = vec![None; end];
    for id in (0..end).filter(|&id| live[id]) {
        dots[id] = tangent(graph, id, &dots, seeds);
    }
    outputs.iter().map(|&output| dots[output]).collect()
}

fn tangent(g: &mut Graph, id: Id, dots: &[Option<Id>], seeds: &dyn Fn(&mut Graph, Id) -> Option<Id>) -> Option<Id> {
    let node = g.nodes[id].clone();
    let rows = node.rows;
    let full = |g: &mut Graph, dot: Id| if g.rows(dot) < rows { g.spread(dot, 1, rows) } else { dot };
    match node.op {
        Op::Constant(_) | Op::Constants(_) => None,
        Op::Time | Op::Parameter(_) | Op::Load(..) => seeds(g, id),
        Op::Unary(Unary::Sign, _) => None,
        Op::Unary(function, a) => dots[a].map(|dot| scaled(g, function, a, id, dot)),
        Op::Variable(a) => dots[a],
        Op::Binary(function, a, b) => {
            let (left, right) = (dots[a], dots[b]);
            let (left, right) = match function {
                Binary::Add => (left, right),
                Binary::Sub => (left, right.map(|dot| g.neg(dot))),
                Binary::Mul => (left.map(|dot| g.mul(dot, b)), right.map(|dot| g.mul(dot, a))),
                Binary::Div => (
                    left.map(|dot| g.div(dot, b)),
                    right.map(|dot| {
                        let product = g.mul(dot, id);
                        let quotient = g.div(product, b);
                        g.neg(quotient)
                    }),
                ),
                Binary::Pow => (
                    left.map(|dot| {
                        let slope = power_slope(g, a, b);
                        g.mul(dot, slope)
                    }),
                    right.map(|dot| {
                        let slope = exponent_slope(g, a, id);
                        g.mul(dot, slope)
                    }),
                ),
                Binary::Atan2 => (
                    left.map(|dot| {
                        let rate = angle_rate(g, a, b, b);
                        g.mul(dot, rate)
                    }),
                    right.map(|dot| {
                        let rate = angle_rate(g, a, b, a);
                        let product = g.mul(dot, rate);
                        g.neg(product)
                    }),
                ),
                Binary::Min | Binary::Max => {
                    if left.is_none() && right.is_none() {
                        return None;
                    }
                    let left = left.unwrap_or_else(|| zeros(g, 1));
                    let right = right.unwrap_or_else(|| zeros(g, 1));
                    let (x, y) = if function == Binary::Min { (a, b) } else { (b, a) };
                    let first = Condition { compare: Compare::LessEqual, a: x, b: y };
                    let chosen = g.select(first, left, right);
                    return Some(full(g, chosen));
                }
            };
            let total = sum(g, left, right)?;
            Some(full(g, total))
        }
        Op::MultiplyAdd { negated, a, b, c } => {
            let product = bilinear(g, dots, a, b, Graph::mul);
            let product = if negated { product.map(|product| g.neg(product)) } else { product };
            let total = sum(g, dots[c], product)?;
            Some(full(g, total))
        }
        Op::Select(condition, then, otherwise) => {
            if dots[then].is_none() && dots[otherwise].is_none() {
                return None;
            }
            let then = dots[then].unwrap_or_else(|| zeros(g, 1));
            let otherwise = dots[otherwise].unwrap_or_else(|| zeros(g, 1));
            let chosen = g.select(condition, then, otherwise);
            Some(full(g, chosen))
        }
        Op::Slice(a, start) => dots[a].map(|dot| g.slice(dot, start, rows)),
        Op::Concat(parts) => parts.iter().any(|&part| dots[part].is_some()).then(|| {
            let parts = parts.iter().map(|&part| dots[part].unwrap_or_else(|| zeros(g, g.rows(part)))).collect();
            g.concat(parts)
        }),
        Op::Spread { a, outer, inner } => dots[a].map(|dot| g.spread(dot, outer, inner)),
        Op::Sum { a, outer, inner } => dots[a].map(|dot| g.sum(dot, outer, inner)),
        Op::Dense { w, x, shift, points } => {
            // The matrix may depend on the time of a trajectory.
            let product = bilinear(g, dots, w, x, |g, w, x| g.mat_vec(w, x, points));
            let shift = shift.and_then(|shift| dots[shift]).map(|dot| g.spread(dot, 1, points));
            sum(g, product, shift)
        }
        Op::DenseTransposed { w: m, x: v, points } | Op::MatVecTransposed { m, v, points } => {
            bilinear(g, dots, m, v, |g, m, v| g.mat_vec_transposed(m, v, points))
        }
        Op::MatVec { m, v, points } => bilinear(g, dots, m, v, |g, m, v| g.mat_vec(m, v, points)),
        Op::Outer { a, b, points } => bilinear(g, dots, a, b, |g, a, b| g.outer(a, b, points)),
        Op::SumLanes(a) => dots[a].map(|dot| g.sum_lanes(dot)),
        Op::DotLanes(a, b) => bilinear(g, dots, a, b, Graph::mul).map(|total| g.sum_lanes(total)),
        Op::OuterLanes { a, b, points } => bilinear(g, dots, a, b, |g, a, b| g.outer_lanes(a, b, points)),
    }
}

/// The sum of what two operands contribute, either of which may be nothing.
fn sum(g: &mut Graph, left: Option<Id>, right: Option<Id>) -> Option<Id> {
    match (left, right) {
        (Some(left), Some(right)) => Some(g.add(left, right)),
        (left, right) => left.or(right),
    }
}

/// The tangent of a product: of the first factor's tangent with the second, and of the first with the second's.
fn bilinear(
    g: &mut Graph,
    dots: &[Option<Id>],
    a: Id,
    b: Id,
    product: impl Fn(&mut Graph, Id, Id) -> Id,
) -> Option<Id> {
    let left = dots[a].map(|dot| product(g, dot, b));
    let right = dots[b].map(|dot| product(g, a, dot));
    sum(g, left, right)
}
