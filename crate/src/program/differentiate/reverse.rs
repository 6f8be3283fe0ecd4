//! Reverse mode.

use super::super::graph::{Binary, Graph, Id, Input, Op, Unary};
use super::guard::{Clause, Edge, condition_rows, edges, guards, in_any_row, propagate_clause};
use super::rules::{angle_rate, exponent_slope, power_slope, scaled};
use super::{elementwise, scatter_add};

/// Appends the cotangents of leaves, from nodes with their cotangents. For each leaf that is `wanted`, they are the parts whose sum
/// is the leaf's cotangent. Leaves come in their order.
pub fn reverse(graph: &mut Graph, seeds: &[(Id, Id)], wanted: &dyn Fn(&Op) -> bool) -> Vec<(Id, Vec<Id>)> {
    let end = seeds.iter().map(|seed| seed.0 + 1).max().unwrap_or(0);
    let mut active = vec![false; end];
    for id in 0..end {
        active[id] = wanted(&graph.nodes[id].op) || edges(graph, id).iter().any(|edge| active[edge.operand]);
    }
    let guards = guards(graph, seeds, &active);
    // For each node, parts of its cotangent, with the row at which they begin.
    let mut parts: Vec<Vec<(usize, Id)>> = vec![Vec::new(); end];
    for &(id, cotangent) in seeds {
        // A uniform result is one in each trajectory.
        let summed = graph.uniform(id) && !graph.uniform(cotangent);
        let cotangent = if summed { graph.sum_lanes(cotangent) } else { cotangent };
        parts[id].push((0, cotangent));
    }
    let mut leaves = Vec::new();
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
                all.push(scatter_add(graph, rows, &pieces));
            }
            leaves.push((id, all));
            continue;
        }
        let cotangent = scatter_add(graph, graph.rows(id), &own);
        let mut node = NodePullback { graph, id, cotangent, active: &active, guards: &guards, parts: &mut parts };
        node.pullback();
    }
    leaves.reverse();
    leaves
}

/// The cotangent of an input with `rows` rows, from those of the rows that are loaded.
pub fn input_cotangent(graph: &mut Graph, leaves: &[(Id, Vec<Id>)], input: Input, rows: usize) -> Id {
    let mut pieces = Vec::new();
    for (leaf, parts) in leaves {
        if let Op::Load(from, row) = graph.nodes[*leaf].op
            && from == input
        {
            pieces.extend(parts.iter().map(|&part| (row, part)));
        }
    }
    scatter_add(graph, rows, &pieces)
}

/// A node whose cotangent is known.
struct NodePullback<'a> {
    graph: &'a mut Graph,
    id: Id,
    cotangent: Id,
    active: &'a [bool],
    guards: &'a [Vec<Clause>],
    parts: &'a mut Vec<Vec<(usize, Id)>>,
}

impl NodePullback<'_> {
    /// The clauses by which what goes to an operand has to be selected.
    fn clauses(&mut self, edge: &Edge) -> Vec<Clause> {
        let mut all = self.guards[self.id].clone();
        all.extend(edge.clause);
        all.retain(|&clause| {
            let (moved, exact) = propagate_clause(self.graph, self.id, edge, clause);
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

    /// Clauses of one row for values with other rows: each holds if the given one holds in any row.
    fn in_any_row(&mut self, clauses: &[Clause]) -> Vec<Clause> {
        clauses.iter().map(|&clause| in_any_row(self.graph, clause)).collect()
    }

    /// Adds a part of the cotangent to that of an operand.
    fn add_cotangent(&mut self, operand: Id, part: impl FnOnce(&mut Graph, Id) -> Id) {
        self.add_cotangent_by(&Edge { operand, clause: None, at: 0 }, part);
    }

    fn add_cotangent_by(&mut self, edge: &Edge, part: impl FnOnce(&mut Graph, Id) -> Id) {
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
        let part = self.unbroadcast(operand, part);
        self.parts[operand].push((0, part));
    }

    /// A part in the shape of its operand: summed where the operand was broadcast.
    fn unbroadcast(&mut self, operand: Id, mut part: Id) -> Id {
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

    /// Adds to the cotangents of the operands.
    fn pullback(&mut self) {
        let id = self.id;
        let node = self.graph.nodes[id].clone();
        match node.op {
            Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..) => {}
            Op::Unary(Unary::Sign, _) => {}
            Op::Unary(function, a) => self.add_cotangent(a, |g, c| scaled(g, function, a, id, c)),
            Op::Variable(a) => self.add_cotangent(a, |_, c| c),
            Op::Binary(function, a, b) => self.pullback_binary(function, a, b),
            Op::MultiplyAdd { negated, a, b, c } => {
                self.add_cotangent(c, |_, cotangent| cotangent);
                for (one, other) in [(a, b), (b, a)] {
                    self.add_cotangent(one, |g, c| {
                        let product = g.mul(c, other);
                        if negated { g.neg(product) } else { product }
                    });
                }
            }
            Op::Select(condition, then, otherwise) => {
                for (operand, holds) in [(then, true), (otherwise, false)] {
                    self.add_cotangent_by(&Edge { operand, clause: Some((condition, holds)), at: 0 }, |_, c| c);
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
                    self.add_cotangent_by(&edge, |g, c| g.slice(c, at, rows));
                    at += rows;
                }
            }
            Op::Spread { a, outer, inner } => self.add_cotangent(a, |g, c| g.sum(c, outer, inner)),
            Op::Sum { a, outer, inner } => self.add_cotangent(a, |g, c| g.spread(c, outer, inner)),
            Op::Dense { w, x, shift, points } => {
                if let Some(shift) = shift {
                    self.add_cotangent(shift, |g, c| g.sum(c, 1, points));
                }
                self.add_matrix_cotangent(w, x, |c, x| (c, x), points);
                self.add_vector_cotangent(x, w, |g, c| g.dense_transposed(w, c, points));
            }
            Op::DenseTransposed { w, x, points } => {
                self.add_matrix_cotangent(w, x, |c, x| (x, c), points);
                self.add_vector_cotangent(x, w, |g, c| g.dense(w, c, points));
            }
            Op::MatVec { m, v, points } => {
                self.add_bilinear_cotangent(m, v, |g, c, v| g.outer(c, v, points));
                self.add_bilinear_cotangent(v, m, |g, c, m| g.mat_vec_transposed(m, c, points));
            }
            Op::MatVecTransposed { m, v, points } => {
                self.add_bilinear_cotangent(m, v, |g, c, v| g.outer(v, c, points));
                self.add_bilinear_cotangent(v, m, |g, c, m| g.mat_vec(m, c, points));
            }
            Op::Outer { a, b, points } => {
                self.add_bilinear_cotangent(a, b, |g, c, b| g.mat_vec(c, b, points));
                self.add_bilinear_cotangent(b, a, |g, c, a| g.mat_vec_transposed(c, a, points));
            }
            Op::SumLanes(a) => self.add_cotangent(a, |_, c| c),
            Op::DotLanes(a, b) => {
                self.add_cotangent(a, |g, c| g.mul(c, b));
                self.add_cotangent(b, |g, c| g.mul(c, a));
            }
            Op::OuterLanes { a, b, points } => {
                self.add_cotangent(a, |g, c| g.dense(c, b, points));
                self.add_cotangent(b, |g, c| g.dense_transposed(c, a, points));
            }
        }
    }

    fn pullback_binary(&mut self, function: Binary, a: Id, b: Id) {
        let id = self.id;
        match function {
            Binary::Add => {
                self.add_cotangent(a, |_, c| c);
                self.add_cotangent(b, |_, c| c);
            }
            Binary::Sub => {
                self.add_cotangent(a, |_, c| c);
                self.add_cotangent(b, |g, c| g.neg(c));
            }
            Binary::Mul => {
                self.add_cotangent(a, |g, c| g.mul(c, b));
                self.add_cotangent(b, |g, c| g.mul(c, a));
            }
            Binary::Div => {
                self.add_cotangent(a, |g, c| g.div(c, b));
                self.add_cotangent(b, |g, c| {
                    let quotient = g.div(c, b);
                    let product = g.mul(quotient, id);
                    g.neg(product)
                });
            }
            Binary::Pow => {
                self.add_cotangent(a, |g, c| {
                    let slope = power_slope(g, a, b);
                    g.mul(c, slope)
                });
                self.add_cotangent(b, |g, c| {
                    let slope = exponent_slope(g, a, id);
                    g.mul(c, slope)
                });
            }
            Binary::Atan2 => {
                self.add_cotangent(a, |g, c| {
                    let rate = angle_rate(g, a, b, b);
                    g.mul(c, rate)
                });
                self.add_cotangent(b, |g, c| {
                    let rate = angle_rate(g, a, b, a);
                    let product = g.mul(c, rate);
                    g.neg(product)
                });
            }
            Binary::Min | Binary::Max => {
                for edge in edges(self.graph, id) {
                    self.add_cotangent_by(&edge, |_, c| c);
                }
            }
        }
    }

    /// The cotangent of the matrix of a dense layer: Σ a bᵀ over trajectories, of the cotangent and the other operand.
    fn add_matrix_cotangent(&mut self, w: Id, x: Id, order: impl Fn(Id, Id) -> (Id, Id), points: usize) {
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

    /// The cotangent of the vector of a dense layer. A computed matrix may be infinite where the product is not used.
    fn add_vector_cotangent(&mut self, x: Id, w: Id, product: impl FnOnce(&mut Graph, Id) -> Id) {
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
        let part = self.unbroadcast(x, part);
        self.parts[x].push((0, part));
    }

    /// The cotangent of an operand of a product: a function of the cotangent and the other operand.
    fn add_bilinear_cotangent(&mut self, operand: Id, other: Id, part: impl FnOnce(&mut Graph, Id, Id) -> Id) {
        if !self.active[operand] {
            return;
        }
        let clauses = self.clauses(&Edge { operand, clause: None, at: 0 });
        let cotangent = self.selected(self.cotangent, &clauses);
        let clauses = self.in_any_row(&clauses);
        let other = self.selected(other, &clauses);
        let part = part(self.graph, cotangent, other);
        let part = self.unbroadcast(operand, part);
        self.parts[operand].push((0, part));
    }
}
