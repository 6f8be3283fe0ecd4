//! Reverse and forward mode, from graph to graph. Both are closed: what they append can be differentiated again.
//!
//! What an untaken branch of a choice computes may be infinite or not a number, and so may its derivative. It never reaches a
//! gradient: a node that only counts where a condition holds is *guarded* by it, and where its cotangent leaves the guarded
//! nodes, it is selected by the condition, not multiplied by zero. Only what can be infinite without its operands being so, and what
//! depends on that, has to be guarded.

use std::collections::HashMap;

use super::graph::{Binary, Compare, Condition, Graph, Id, Op, Unary};

/// A condition and whether it has to hold or to fail.
type Clause = (Condition, bool);

/// An operand of a node.
struct Edge {
    operand: Id,
    /// The condition under which alone the node depends on it.
    clause: Option<Clause>,
    /// The row of the node at which it begins, of parts that are joined.
    at: usize,
}

/// The most clauses that guard a node one by one; more are joined to one.
const CLAUSES: usize = 8;

/// Appends the cotangents of leaves, from nodes with their cotangents. For each leaf that is `wanted`, they are the parts whose sum
/// is the leaf's cotangent.
pub fn reverse(graph: &mut Graph, seeds: &[(Id, Id)], wanted: &dyn Fn(&Op) -> bool) -> HashMap<Id, Vec<Id>> {
    let end = seeds.iter().map(|seed| seed.0 + 1).max().unwrap_or(0);
    let mut active = vec![false; end];
    for id in 0..end {
        active[id] = wanted(&graph.nodes[id].op) || edges(graph, id).iter().any(|edge| active[edge.operand]);
    }
    let guards = guards(graph, seeds, &active);
    // For each node, parts of its cotangent, with the row at which they begin.
    let mut parts: Vec<Vec<(usize, Id)>> = vec![Vec::new(); end];
    for &(id, cotangent) in seeds {
        // A uniform result stands for one in each trajectory.
        let summed = graph.uniform(id) && !graph.uniform(cotangent);
        let cotangent = if summed { graph.sum_lanes(cotangent) } else { cotangent };
        parts[id].push((0, cotangent));
    }
    let mut leaves = HashMap::new();
    for id in (0..end).rev() {
        if !active[id] || parts[id].is_empty() {
            continue;
        }
        let own = std::mem::take(&mut parts[id]);
        if wanted(&graph.nodes[id].op) {
            let rows = graph.rows(id);
            let (whole, pieces): (Vec<_>, Vec<_>) = own.into_iter().partition(|&(_, part)| graph.rows(part) == rows);
            let mut all: Vec<Id> = whole.into_iter().map(|(_, part)| part).collect();
            if !pieces.is_empty() {
                all.push(gather(graph, rows, &pieces));
            }
            leaves.insert(id, all);
            continue;
        }
        let cotangent = gather(graph, graph.rows(id), &own);
        let mut node = Node { graph, id, cotangent, active: &active, guards: &guards, parts: &mut parts };
        node.pull();
    }
    leaves
}

/// The operands by which a node is differentiable.
fn edges(graph: &Graph, id: Id) -> Vec<Edge> {
    let edge = |operand| Edge { operand, clause: None, at: 0 };
    let when =
        |operand, compare, a, b, holds| Edge { clause: Some((Condition { compare, a, b }, holds)), ..edge(operand) };
    match graph.nodes[id].op {
        Op::Unary(Unary::Sign, _) => vec![],
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

/// Whether a node's rows are computed one by one.
pub fn elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(..) | Op::Binary(..) | Op::MultiplyAdd { .. } | Op::Select(..))
}

fn condition_rows(graph: &Graph, condition: &Condition) -> usize {
    graph.rows(condition.a).max(graph.rows(condition.b))
}

/// Which nodes may be infinite or no number, or have such a derivative, where all inputs are finite.
fn fragile(graph: &Graph, end: usize) -> Vec<bool> {
    use Unary::{Acos, Asin, Cosh, Exp, Expm1, Log, Log1p, Sinh, Sqrt, Tan};
    let mut fragile = vec![false; end];
    for id in 0..end {
        let op = &graph.nodes[id].op;
        fragile[id] = match *op {
            Op::Unary(function, _) => {
                matches!(function, Acos | Asin | Cosh | Exp | Expm1 | Log | Log1p | Sinh | Sqrt | Tan)
            }
            Op::Binary(Binary::Div, _, b) => graph.constant_of(b).is_none_or(|b| b == 0.0),
            Op::Binary(Binary::Pow | Binary::Atan2, ..) => true,
            _ => false,
        };
        op.each_operand(|operand| fragile[id] |= fragile[operand]);
    }
    fragile
}

/// 1 where all clauses hold, else 0.
fn indicator(graph: &mut Graph, clauses: &[Clause]) -> Id {
    let zero = graph.constant(0.0);
    let one = graph.constant(1.0);
    clauses.iter().fold(one, |value, &(condition, holds)| {
        let (then, otherwise) = if holds { (value, zero) } else { (zero, value) };
        graph.select(condition, then, otherwise)
    })
}

/// The clause that a value is positive.
fn positive(graph: &mut Graph, value: Id) -> Clause {
    (Condition { compare: Compare::Less, a: graph.constant(0.0), b: value }, true)
}

/// A clause of one row: whether it holds in any.
fn in_any_row(graph: &mut Graph, clause: Clause) -> Clause {
    if condition_rows(graph, &clause.0) == 1 {
        return clause;
    }
    let rows = indicator(graph, &[clause]);
    let count = graph.sum_rows(rows);
    positive(graph, count)
}

/// What a clause of a node is for its operand; and whether what the node hands on to a row of the operand all comes from where the
/// clause holds or all from where it does not.
fn through(graph: &mut Graph, id: Id, edge: &Edge, clause: Clause) -> (Clause, bool) {
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
            let padded = gather(graph, rows, &[(start, rows_of_slice)]);
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
fn guards(graph: &mut Graph, seeds: &[(Id, Id)], active: &[bool]) -> Vec<Vec<Clause>> {
    let fragile = fragile(graph, active.len());
    // What guards may cost: a few times the rows that there are, however many slices a long value has.
    let mut rows_left: usize = 4 * (0..active.len()).map(|id| graph.rows(id)).sum::<usize>();
    let mut guards: Vec<Vec<Clause>> = vec![vec![]; active.len()];
    // For each node, the clauses of each way on which it counts.
    let mut ways: Vec<Vec<Vec<Clause>>> = vec![vec![]; active.len()];
    seeds.iter().for_each(|&(id, _)| ways[id].push(vec![]));
    for id in (0..active.len()).rev().filter(|&id| active[id]) {
        let all = std::mem::take(&mut ways[id]);
        if all.is_empty() {
            continue;
        }
        guards[id] = on_any_way(graph, &all);
        for edge in edges(graph, id) {
            let leaf = matches!(
                graph.nodes[edge.operand].op,
                Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..)
            );
            if !active[edge.operand] || !fragile[edge.operand] || leaf {
                continue;
            }
            let mut way: Vec<Clause> = Vec::new();
            for &clause in guards[id].iter().chain(&edge.clause) {
                let longer = matches!(graph.nodes[id].op, Op::Slice(..) | Op::Sum { .. });
                if longer && condition_rows(graph, &clause.0) > 1 {
                    let rows = graph.rows(edge.operand);
                    if rows > rows_left {
                        continue;
                    }
                    rows_left -= rows;
                }
                let (clause, _) = through(graph, id, &edge, clause);
                if !way.contains(&clause) {
                    way.push(clause);
                }
            }
            let ways = &mut ways[edge.operand];
            if way.is_empty() {
                *ways = vec![way];
            } else if !ways.iter().any(|other| other.is_empty() || *other == way) {
                ways.push(way);
            }
        }
    }
    guards
}

/// The clauses that hold on any of some ways.
fn on_any_way(graph: &mut Graph, ways: &[Vec<Clause>]) -> Vec<Clause> {
    let mut common = ways[0].clone();
    common.retain(|clause| ways.iter().all(|way| way.contains(clause)));
    if ways.iter().all(|way| way.len() > common.len()) {
        let mut count: Option<Id> = None;
        for way in ways {
            let rest: Vec<Clause> = way.iter().filter(|clause| !common.contains(clause)).copied().collect();
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

/// A node whose cotangent is known.
struct Node<'a> {
    graph: &'a mut Graph,
    id: Id,
    cotangent: Id,
    active: &'a [bool],
    guards: &'a [Vec<Clause>],
    parts: &'a mut Vec<Vec<(usize, Id)>>,
}

impl Node<'_> {
    /// The clauses by which what goes to an operand has to be selected.
    fn clauses(&mut self, edge: &Edge) -> Vec<Clause> {
        let mut all = self.guards[self.id].clone();
        all.extend(edge.clause);
        all.retain(|&clause| {
            let (moved, exact) = through(self.graph, self.id, edge, clause);
            !exact || !self.guards[edge.operand].contains(&moved)
        });
        all
    }

    /// A value where the clauses hold, else zero.
    fn selected(&mut self, mut value: Id, clauses: &[Clause]) -> Id {
        for &(condition, holds) in clauses {
            debug_assert!([1, self.graph.rows(value)].contains(&condition_rows(self.graph, &condition)));
            let zero = self.graph.constant(0.0);
            let (then, otherwise) = if holds { (value, zero) } else { (zero, value) };
            value = self.graph.select(condition, then, otherwise);
        }
        value
    }

    /// The same for values that have other rows.
    fn in_any_row(&mut self, clauses: &[Clause]) -> Vec<Clause> {
        clauses.iter().map(|&clause| in_any_row(self.graph, clause)).collect()
    }

    /// Hands a part of the cotangent to an operand.
    fn give(&mut self, operand: Id, part: impl FnOnce(&mut Graph, Id) -> Id) {
        self.give_by(&Edge { operand, clause: None, at: 0 }, part);
    }

    fn give_by(&mut self, edge: &Edge, part: impl FnOnce(&mut Graph, Id) -> Id) {
        let operand = edge.operand;
        if !self.active[operand] {
            return;
        }
        let clauses = self.clauses(edge);
        let part = if elementwise(&self.graph.nodes[self.id].op) {
            let part = part(self.graph, self.cotangent);
            self.selected(part, &clauses)
        } else {
            let cotangent = self.selected(self.cotangent, &clauses);
            part(self.graph, cotangent)
        };
        let part = self.fit(operand, part);
        self.parts[operand].push((0, part));
    }

    /// A part in the shape of the operand that it is for.
    fn fit(&mut self, operand: Id, mut part: Id) -> Id {
        let (rows, has) = (self.graph.rows(operand), self.graph.rows(part));
        if rows == 1 && has > 1 {
            part = self.graph.sum_rows(part);
        } else if has < rows {
            part = self.graph.spread(part, 1, rows);
        }
        let summed = !self.graph.uniform(self.id) || self.graph.nodes[self.id].op.reduces();
        if self.graph.uniform(operand) && summed {
            part = self.graph.sum_lanes(part);
        }
        part
    }

    /// Hands the cotangent on to the operands.
    fn pull(&mut self) {
        let id = self.id;
        let node = self.graph.nodes[id].clone();
        match node.op {
            Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..) => {}
            Op::Unary(Unary::Sign, _) => {}
            Op::Unary(function, a) => self.give(a, |g, c| scaled(g, function, a, id, c)),
            Op::Binary(function, a, b) => self.pull_binary(function, a, b),
            Op::MultiplyAdd { negated, a, b, c } => {
                self.give(c, |_, cotangent| cotangent);
                for (one, other) in [(a, b), (b, a)] {
                    self.give(one, |g, c| {
                        let product = g.mul(c, other);
                        if negated { g.neg(product) } else { product }
                    });
                }
            }
            Op::Select(condition, then, otherwise) => {
                for (operand, holds) in [(then, true), (otherwise, false)] {
                    self.give_by(&Edge { operand, clause: Some((condition, holds)), at: 0 }, |_, c| c);
                }
            }
            Op::Slice(a, start) => {
                if self.active[a] {
                    let clauses = self.clauses(&Edge { operand: a, clause: None, at: 0 });
                    let cotangent = self.selected(self.cotangent, &clauses);
                    self.parts[a].push((start, cotangent));
                }
            }
            Op::Concat(parts) => {
                let mut at = 0;
                for part in parts {
                    let rows = self.graph.rows(part);
                    let edge = Edge { operand: part, clause: None, at };
                    self.give_by(&edge, |g, c| g.slice(c, at, rows));
                    at += rows;
                }
            }
            Op::Spread { a, outer, inner } => self.give(a, |g, c| g.sum(c, outer, inner)),
            Op::Sum { a, outer, inner } => self.give(a, |g, c| g.spread(c, outer, inner)),
            Op::Dense { w, x, shift, points } => {
                if let Some(shift) = shift {
                    self.give(shift, |g, c| g.sum(c, 1, points));
                }
                self.give_matrix(w, x, |c, x| (c, x), points);
                self.give_vector(x, w, |g, c| g.dense_transposed(w, c, points));
            }
            Op::DenseTransposed { w, x, points } => {
                self.give_matrix(w, x, |c, x| (x, c), points);
                self.give_vector(x, w, |g, c| g.dense(w, c, points));
            }
            Op::MatVec { m, v, points } => {
                self.give_bilinear(m, v, |g, c, v| g.outer(c, v, points));
                self.give_bilinear(v, m, |g, c, m| g.mat_vec_transposed(m, c, points));
            }
            Op::MatVecTransposed { m, v, points } => {
                self.give_bilinear(m, v, |g, c, v| g.outer(v, c, points));
                self.give_bilinear(v, m, |g, c, m| g.mat_vec(m, c, points));
            }
            Op::Outer { a, b, points } => {
                self.give_bilinear(a, b, |g, c, b| g.mat_vec(c, b, points));
                self.give_bilinear(b, a, |g, c, a| g.mat_vec_transposed(c, a, points));
            }
            Op::SumLanes(a) => self.give(a, |_, c| c),
            Op::DotLanes(a, b) => {
                self.give(a, |g, c| g.mul(c, b));
                self.give(b, |g, c| g.mul(c, a));
            }
            Op::OuterLanes { a, b, points } => {
                self.give(a, |g, c| g.dense(c, b, points));
                self.give(b, |g, c| g.dense_transposed(c, a, points));
            }
        }
    }

    fn pull_binary(&mut self, function: Binary, a: Id, b: Id) {
        let id = self.id;
        match function {
            Binary::Add => {
                self.give(a, |_, c| c);
                self.give(b, |_, c| c);
            }
            Binary::Sub => {
                self.give(a, |_, c| c);
                self.give(b, |g, c| g.neg(c));
            }
            Binary::Mul => {
                self.give(a, |g, c| g.mul(c, b));
                self.give(b, |g, c| g.mul(c, a));
            }
            Binary::Div => {
                self.give(a, |g, c| g.div(c, b));
                self.give(b, |g, c| {
                    let quotient = g.div(c, b);
                    let product = g.mul(quotient, id);
                    g.neg(product)
                });
            }
            Binary::Pow => {
                self.give(a, |g, c| {
                    let slope = power_slope(g, a, b);
                    g.mul(c, slope)
                });
                self.give(b, |g, c| {
                    let slope = exponent_slope(g, a, id);
                    g.mul(c, slope)
                });
            }
            Binary::Atan2 => {
                self.give(a, |g, c| {
                    let rate = angle_rate(g, a, b, b);
                    g.mul(c, rate)
                });
                self.give(b, |g, c| {
                    let rate = angle_rate(g, a, b, a);
                    let product = g.mul(c, rate);
                    g.neg(product)
                });
            }
            Binary::Min | Binary::Max => {
                for edge in edges(self.graph, id) {
                    self.give_by(&edge, |_, c| c);
                }
            }
        }
    }

    /// The cotangent of the matrix of a dense layer: Σ a bᵀ over trajectories, of the cotangent and the other operand.
    fn give_matrix(&mut self, w: Id, x: Id, order: impl Fn(Id, Id) -> (Id, Id), points: usize) {
        if !self.active[w] {
            return;
        }
        let clauses = self.clauses(&Edge { operand: w, clause: None, at: 0 });
        let cotangent = self.selected(self.cotangent, &clauses);
        let clauses = self.in_any_row(&clauses);
        let x = self.selected(x, &clauses);
        let (a, b) = order(cotangent, x);
        let part = match self.graph.uniform(self.id) {
            true => self.graph.outer(a, b, points),
            false => self.graph.outer_lanes(a, b, points),
        };
        self.parts[w].push((0, part));
    }

    /// What goes to the vector of a dense layer. A matrix that was computed may be infinite where nobody uses the product.
    fn give_vector(&mut self, x: Id, w: Id, product: impl FnOnce(&mut Graph, Id) -> Id) {
        if !self.active[x] {
            return;
        }
        let clauses = self.clauses(&Edge { operand: x, clause: None, at: 0 });
        let cotangent = self.selected(self.cotangent, &clauses);
        let mut part = product(self.graph, cotangent);
        if !matches!(self.graph.nodes[w].op, Op::Parameter(_) | Op::Constants(_)) {
            let clauses = self.in_any_row(&clauses);
            part = self.selected(part, &clauses);
        }
        let part = self.fit(x, part);
        self.parts[x].push((0, part));
    }

    /// What goes to an operand of a product: a function of the cotangent and the other operand.
    fn give_bilinear(&mut self, operand: Id, other: Id, part: impl FnOnce(&mut Graph, Id, Id) -> Id) {
        if !self.active[operand] {
            return;
        }
        let clauses = self.clauses(&Edge { operand, clause: None, at: 0 });
        let cotangent = self.selected(self.cotangent, &clauses);
        let clauses = self.in_any_row(&clauses);
        let other = self.selected(other, &clauses);
        let part = part(self.graph, cotangent, other);
        let part = self.fit(operand, part);
        self.parts[operand].push((0, part));
    }
}

/// f′(a)·c, where y = f(a): by the value where that is cheaper than by the argument.
fn scaled(g: &mut Graph, function: Unary, a: Id, y: Id, c: Id) -> Id {
    let one = g.constant(1.0);
    match function {
        Unary::Neg => g.neg(c),
        Unary::Abs => {
            let sign = g.unary(Unary::Sign, a);
            g.mul(c, sign)
        }
        Unary::Sign => g.constant(0.0),
        Unary::Exp => g.mul(c, y),
        Unary::Expm1 => {
            let slope = g.add(y, one);
            g.mul(c, slope)
        }
        Unary::Log => g.div(c, a),
        Unary::Log1p => {
            let shifted = g.add(a, one);
            g.div(c, shifted)
        }
        Unary::Sqrt => {
            let twice = g.add(y, y);
            g.div(c, twice)
        }
        Unary::Sin => {
            let slope = g.unary(Unary::Cos, a);
            g.mul(c, slope)
        }
        Unary::Cos => {
            let slope = g.unary(Unary::Sin, a);
            let product = g.mul(c, slope);
            g.neg(product)
        }
        Unary::Tan => {
            let square = g.mul(y, y);
            let slope = g.add(square, one);
            g.mul(c, slope)
        }
        Unary::Asin | Unary::Acos => {
            let square = g.mul(a, a);
            let rest = g.sub(one, square);
            let root = g.unary(Unary::Sqrt, rest);
            let quotient = g.div(c, root);
            if function == Unary::Asin { quotient } else { g.neg(quotient) }
        }
        Unary::Atan => {
            let square = g.mul(a, a);
            let denominator = g.add(square, one);
            g.div(c, denominator)
        }
        Unary::Sinh => {
            let slope = g.unary(Unary::Cosh, a);
            g.mul(c, slope)
        }
        Unary::Cosh => {
            let slope = g.unary(Unary::Sinh, a);
            g.mul(c, slope)
        }
        Unary::Tanh => {
            let square = g.mul(y, y);
            let slope = g.sub(one, square);
            g.mul(c, slope)
        }
        Unary::Sigmoid => {
            let rest = g.sub(one, y);
            let slope = g.mul(y, rest);
            g.mul(c, slope)
        }
        // 1 − e^−y, which a tape has without the argument.
        Unary::Softplus => {
            let minus = g.neg(y);
            let slope = g.unary(Unary::Expm1, minus);
            let product = g.mul(c, slope);
            g.neg(product)
        }
        Unary::Relu => {
            let zero = g.constant(0.0);
            g.select(Condition { compare: Compare::Less, a: zero, b: y }, c, zero)
        }
        Unary::Elu => {
            let (zero, shifted) = (g.constant(0.0), g.add(y, one));
            let falling = g.mul(c, shifted);
            g.select(Condition { compare: Compare::Less, a: zero, b: y }, c, falling)
        }
        Unary::NormalCdf => {
            let density = normal_density(g, a);
            g.mul(c, density)
        }
    }
}

/// φ(a) = e^(−a²/2) / √(2π).
fn normal_density(g: &mut Graph, a: Id) -> Id {
    let (square, half) = (g.mul(a, a), g.constant(-0.5));
    let exponent = g.mul(square, half);
    let bell = g.unary(Unary::Exp, exponent);
    let scale = g.constant(0.398_942_280_401_432_7);
    g.mul(bell, scale)
}

/// p·x^(p−1). Zero where x and p both are, for x^0 is 1 everywhere, and where that is a derivative of x, x², … at 0.
fn power_slope(g: &mut Graph, x: Id, p: Id) -> Id {
    let one = g.constant(1.0);
    let less = g.sub(p, one);
    let power = g.binary(Binary::Pow, x, less);
    let slope = g.mul(p, power);
    if g.constant_of(p).is_some_and(|p| p != 0.0) {
        return slope;
    }
    let (zero, size, power) = (g.constant(0.0), g.unary(Unary::Abs, x), g.unary(Unary::Abs, p));
    let both = g.add(size, power);
    g.select(Condition { compare: Compare::LessEqual, a: both, b: zero }, zero, slope)
}

/// ∂x^p/∂p = x^p ln x, y being the power. Zero where x is not positive: that is the limit at zero for p > 0, and below there is no
/// derivative.
fn exponent_slope(g: &mut Graph, x: Id, y: Id) -> Id {
    let (zero, log) = (g.constant(0.0), g.unary(Unary::Log, x));
    let slope = g.mul(y, log);
    g.select(Condition { compare: Compare::Less, a: zero, b: x }, slope, zero)
}

/// numerator / (x² + y²).
fn angle_rate(g: &mut Graph, y: Id, x: Id, numerator: Id) -> Id {
    let (left, right) = (g.mul(x, x), g.mul(y, y));
    let square = g.add(left, right);
    g.div(numerator, square)
}

/// The sum of parts, each for some of so many rows.
pub fn gather(graph: &mut Graph, rows: usize, parts: &[(usize, Id)]) -> Id {
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| part.0);
    let cuts = cuts(graph, parts);
    let cut = |row: usize| cuts.partition_point(|&cut| cut < row);
    let covered: usize = parts.iter().map(|&(start, part)| cut(start + graph.rows(part)) - cut(start)).sum();
    let pieces = match covered > 8 * parts.len() + 64 {
        true => merged(graph, &sorted),
        false => overlapping(graph, &sorted, summed),
    };
    let mut all = Vec::new();
    let mut row = 0;
    for (start, piece) in pieces {
        if start > row {
            all.push(zeros(graph, start - row));
        }
        row = start + graph.rows(piece);
        all.push(piece);
    }
    if row < rows {
        all.push(zeros(graph, rows - row));
    }
    graph.concat(all)
}

/// Where parts begin and end, in order.
fn cuts(graph: &Graph, parts: &[(usize, Id)]) -> Vec<usize> {
    let mut cuts: Vec<usize> = parts.iter().flat_map(|&(start, part)| [start, start + graph.rows(part)]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Calls `sum` for the parts that overlap each other, directly or by others; they are sorted.
fn overlapping(
    graph: &mut Graph,
    parts: &[(usize, Id)],
    sum: impl Fn(&mut Graph, &[(usize, Id)]) -> Id,
) -> Vec<(usize, Id)> {
    let mut sums = Vec::new();
    let mut first = 0;
    while first < parts.len() {
        let mut end = parts[first].0 + graph.rows(parts[first].1);
        let mut last = first + 1;
        while last < parts.len() && parts[last].0 < end {
            end = end.max(parts[last].0 + graph.rows(parts[last].1));
            last += 1;
        }
        let all = &parts[first..last];
        sums.push((all[0].0, if all.len() == 1 { all[0].1 } else { sum(graph, all) }));
        first = last;
    }
    sums
}

/// The sum of parts that overlap each other: between two cuts, that of what covers them.
fn summed(graph: &mut Graph, parts: &[(usize, Id)]) -> Id {
    let cuts = cuts(graph, parts);
    let cut = |row: usize| cuts.partition_point(|&cut| cut < row);
    let mut sums: Vec<Option<Id>> = vec![None; cuts.len() - 1];
    for &(start, part) in parts {
        for index in cut(start)..cut(start + graph.rows(part)) {
            let piece = graph.slice(part, cuts[index] - start, cuts[index + 1] - cuts[index]);
            sums[index] = Some(sums[index].map_or(piece, |sum| graph.add(sum, piece)));
        }
    }
    graph.concat(sums.into_iter().map(|sum| sum.expect("parts that overlap leave no gap")).collect())
}

/// Sums of sorted parts that do not overlap any more: half and half, so that many long ones take few operations and few rows.
fn merged(graph: &mut Graph, parts: &[(usize, Id)]) -> Vec<(usize, Id)> {
    if parts.len() < 2 {
        return parts.to_vec();
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    let mut both = merged(graph, left);
    both.extend(merged(graph, right));
    both.sort_by_key(|part| part.0);
    overlapping(graph, &both, summed)
}

fn zeros(graph: &mut Graph, rows: usize) -> Id {
    let zero = graph.constant(0.0);
    graph.spread(zero, 1, rows)
}

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
    let zero = zeros;
    // The sum of what two operands contribute, in the node's rows.
    let sum = |g: &mut Graph, left: Option<Id>, right: Option<Id>| match (left, right) {
        (Some(left), Some(right)) => Some(g.add(left, right)),
        (left, right) => left.or(right),
    };
    let full = |g: &mut Graph, dot: Id| if g.rows(dot) < rows { g.spread(dot, 1, rows) } else { dot };
    match node.op {
        Op::Constant(_) | Op::Constants(_) => None,
        Op::Time | Op::Parameter(_) | Op::Load(..) => seeds(g, id),
        Op::Unary(Unary::Sign, _) => None,
        Op::Unary(function, a) => dots[a].map(|dot| scaled(g, function, a, id, dot)),
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
                    let left = left.unwrap_or_else(|| zero(g, 1));
                    let right = right.unwrap_or_else(|| zero(g, 1));
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
            let left = dots[a].map(|dot| g.mul(dot, b));
            let right = dots[b].map(|dot| g.mul(dot, a));
            let product = sum(g, left, right);
            let product = if negated { product.map(|product| g.neg(product)) } else { product };
            let total = sum(g, dots[c], product)?;
            Some(full(g, total))
        }
        Op::Select(condition, then, otherwise) => {
            if dots[then].is_none() && dots[otherwise].is_none() {
                return None;
            }
            let then = dots[then].unwrap_or_else(|| zero(g, 1));
            let otherwise = dots[otherwise].unwrap_or_else(|| zero(g, 1));
            let chosen = g.select(condition, then, otherwise);
            Some(full(g, chosen))
        }
        Op::Slice(a, start) => dots[a].map(|dot| g.slice(dot, start, rows)),
        Op::Concat(parts) => parts.iter().any(|&part| dots[part].is_some()).then(|| {
            let parts = parts.iter().map(|&part| dots[part].unwrap_or_else(|| zero(g, g.rows(part)))).collect();
            g.concat(parts)
        }),
        Op::Spread { a, outer, inner } => dots[a].map(|dot| g.spread(dot, outer, inner)),
        Op::Sum { a, outer, inner } => dots[a].map(|dot| g.sum(dot, outer, inner)),
        Op::Dense { w, x, shift, points } => {
            // Of one trajectory's own time, where the matrix depends on that.
            let left = dots[w].map(|dot| g.mat_vec(dot, x, points));
            let right = dots[x].map(|dot| g.dense(w, dot, points));
            let product = sum(g, left, right);
            let shift = shift.and_then(|shift| dots[shift]).map(|dot| g.spread(dot, 1, points));
            sum(g, product, shift)
        }
        Op::DenseTransposed { w, x, points } => {
            let left = dots[w].map(|dot| g.mat_vec_transposed(dot, x, points));
            let right = dots[x].map(|dot| g.dense_transposed(w, dot, points));
            sum(g, left, right)
        }
        Op::MatVec { m, v, points } => {
            let left = dots[m].map(|dot| g.mat_vec(dot, v, points));
            let right = dots[v].map(|dot| g.mat_vec(m, dot, points));
            sum(g, left, right)
        }
        Op::MatVecTransposed { m, v, points } => {
            let left = dots[m].map(|dot| g.mat_vec_transposed(dot, v, points));
            let right = dots[v].map(|dot| g.mat_vec_transposed(m, dot, points));
            sum(g, left, right)
        }
        Op::Outer { a, b, points } => {
            let left = dots[a].map(|dot| g.outer(dot, b, points));
            let right = dots[b].map(|dot| g.outer(a, dot, points));
            sum(g, left, right)
        }
        Op::SumLanes(a) => dots[a].map(|dot| g.sum_lanes(dot)),
        Op::DotLanes(a, b) => {
            let left = dots[a].map(|dot| g.mul(dot, b));
            let right = dots[b].map(|dot| g.mul(a, dot));
            sum(g, left, right).map(|total| g.sum_lanes(total))
        }
        Op::OuterLanes { a, b, points } => {
            let left = dots[a].map(|dot| g.outer_lanes(dot, b, points));
            let right = dots[b].map(|dot| g.outer_lanes(a, dot, points));
            sum(g, left, right)
        }
    }
}
