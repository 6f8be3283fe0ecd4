//! Values and operations: a list of nodes in which operands come before what uses them.
//!
//! A value has a number of rows for each trajectory. It is *uniform* if it is the same for all trajectories: parameters,
//! constants, the time, what is computed of them alone, and sums over trajectories.

use std::collections::HashMap;
use std::sync::Arc;

pub use crate::kernel::functions::{Binary, Unary};

/// The index of a node.
pub type Id = usize;

/// Comparisons; where a number is not a number, they do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    Less,
    LessEqual,
}

/// A condition: `compare(a, b)`, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    pub compare: Compare,
    pub a: Id,
    pub b: Id,
}

/// What a program reads for each trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    State,
    Argument,
    /// Numbers that are held constant in every derivative, such as noise.
    Data,
    /// The cotangent of the result.
    Cotangent,
}

/// A part of the flat parameters: `rows` of `columns` numbers, whose beginnings are `stride` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub offset: usize,
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
}

impl Place {
    pub fn vector(offset: usize, len: usize) -> Self {
        Self { offset, rows: 1, columns: len, stride: len }
    }

    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Behind the last of its numbers.
    pub fn end(self) -> usize {
        self.offset + self.rows.saturating_sub(1) * self.stride + self.columns
    }

    /// Where each number lies in the flat parameters.
    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |k| self.offset + row * self.stride + k))
    }
}

/// The operation of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// The bits of an f64.
    Constant(u64),
    /// Rows of constants, by their bits.
    Constants(Arc<[u64]>),
    Time,
    Parameter(Place),
    /// Rows of an input, from this one on.
    Load(Input, usize),
    Unary(Unary, Id),
    /// The operand itself, with respect to which a gradient is taken within the program: nothing is simplified past it. No finished
    /// program has one.
    Variable(Id),
    /// A function of two operands with as many rows as the result, or one.
    Binary(Binary, Id, Id),
    /// a·b + c, or c − a·b if the product is negated.
    MultiplyAdd {
        negated: bool,
        a: Id,
        b: Id,
        c: Id,
    },
    Select(Condition, Id, Id),
    /// From this row on.
    Slice(Id, usize),
    Concat(Vec<Id>),
    /// `[n]` to `[outer][n][inner]`.
    Spread {
        a: Id,
        outer: usize,
        inner: usize,
    },
    /// `[outer][n][inner]` to `[n]`.
    Sum {
        a: Id,
        outer: usize,
        inner: usize,
    },
    /// W x + shift, at each of some points: x is `[columns][points]`, the result `[rows][points]`. W is uniform.
    Dense {
        w: Id,
        x: Id,
        shift: Option<Id>,
        points: usize,
    },
    /// Wᵀ x.
    DenseTransposed {
        w: Id,
        x: Id,
        points: usize,
    },
    /// A matrix, row-major, times a vector at each of some points.
    MatVec {
        m: Id,
        v: Id,
        points: usize,
    },
    /// Its transpose times a vector at each of some points.
    MatVecTransposed {
        m: Id,
        v: Id,
        points: usize,
    },
    /// Σ a bᵀ over some points, row-major.
    Outer {
        a: Id,
        b: Id,
        points: usize,
    },
    /// Over all trajectories, row by row.
    SumLanes(Id),
    /// Σ a·b over all trajectories, row by row.
    DotLanes(Id, Id),
    /// Σ a bᵀ over all trajectories and points, row-major.
    OuterLanes {
        a: Id,
        b: Id,
        points: usize,
    },
}

impl Op {
    /// At how many points it works at once.
    pub fn points(&self) -> usize {
        match *self {
            Op::Dense { points, .. }
            | Op::DenseTransposed { points, .. }
            | Op::MatVec { points, .. }
            | Op::MatVecTransposed { points, .. }
            | Op::Outer { points, .. }
            | Op::OuterLanes { points, .. } => points,
            _ => 1,
        }
    }

    pub fn operands(&self) -> Vec<Id> {
        let mut all = Vec::new();
        self.each_operand(|id| all.push(id));
        all
    }

    pub fn each_operand(&self, mut f: impl FnMut(Id)) {
        match self {
            Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..) => {}
            Op::Unary(_, a)
            | Op::Variable(a)
            | Op::Slice(a, _)
            | Op::Spread { a, .. }
            | Op::Sum { a, .. }
            | Op::SumLanes(a) => f(*a),
            Op::Binary(_, a, b)
            | Op::MatVec { m: a, v: b, .. }
            | Op::MatVecTransposed { m: a, v: b, .. }
            | Op::Outer { a, b, .. }
            | Op::DotLanes(a, b)
            | Op::OuterLanes { a, b, .. }
            | Op::DenseTransposed { w: a, x: b, .. } => [*a, *b].into_iter().for_each(f),
            Op::MultiplyAdd { a, b, c, .. } => [*a, *b, *c].into_iter().for_each(f),
            Op::Select(Condition { a, b, .. }, then, otherwise) => {
                [*a, *b, *then, *otherwise].into_iter().for_each(f);
            }
            Op::Concat(parts) => parts.iter().copied().for_each(f),
            Op::Dense { w, x, shift, .. } => [*w, *x].into_iter().chain(*shift).for_each(f),
        }
    }

    /// The same operation with other operands.
    pub fn with_operands(&self, mut f: impl FnMut(Id) -> Id) -> Op {
        match self {
            Op::Constant(_) | Op::Constants(_) | Op::Time | Op::Parameter(_) | Op::Load(..) => self.clone(),
            Op::Unary(function, a) => Op::Unary(*function, f(*a)),
            Op::Variable(a) => Op::Variable(f(*a)),
            Op::Slice(a, start) => Op::Slice(f(*a), *start),
            Op::Spread { a, outer, inner } => Op::Spread { a: f(*a), outer: *outer, inner: *inner },
            Op::Sum { a, outer, inner } => Op::Sum { a: f(*a), outer: *outer, inner: *inner },
            Op::SumLanes(a) => Op::SumLanes(f(*a)),
            Op::Binary(function, a, b) => Op::Binary(*function, f(*a), f(*b)),
            Op::MatVec { m, v, points } => Op::MatVec { m: f(*m), v: f(*v), points: *points },
            Op::MatVecTransposed { m, v, points } => Op::MatVecTransposed { m: f(*m), v: f(*v), points: *points },
            Op::Outer { a, b, points } => Op::Outer { a: f(*a), b: f(*b), points: *points },
            Op::DotLanes(a, b) => Op::DotLanes(f(*a), f(*b)),
            Op::OuterLanes { a, b, points } => Op::OuterLanes { a: f(*a), b: f(*b), points: *points },
            Op::DenseTransposed { w, x, points } => Op::DenseTransposed { w: f(*w), x: f(*x), points: *points },
            Op::MultiplyAdd { negated, a, b, c } => Op::MultiplyAdd { negated: *negated, a: f(*a), b: f(*b), c: f(*c) },
            Op::Select(Condition { compare, a, b }, then, otherwise) => {
                let condition = Condition { compare: *compare, a: f(*a), b: f(*b) };
                Op::Select(condition, f(*then), f(*otherwise))
            }
            Op::Concat(parts) => Op::Concat(parts.iter().map(|&part| f(part)).collect()),
            Op::Dense { w, x, shift, points } => {
                Op::Dense { w: f(*w), x: f(*x), shift: shift.map(&mut f), points: *points }
            }
        }
    }

    /// Whether it sums over trajectories.
    pub fn reduces(&self) -> bool {
        matches!(self, Op::SumLanes(_) | Op::DotLanes(..) | Op::OuterLanes { .. })
    }

    /// Whether computing it again costs about as much as reading it from memory.
    pub fn cheap(&self) -> bool {
        match self {
            Op::Unary(function, _) => function.cheap(),
            Op::Binary(function, ..) => !matches!(function, Binary::Pow | Binary::Atan2 | Binary::Div),
            Op::MultiplyAdd { .. } | Op::Select(..) | Op::Slice(..) | Op::Concat(_) | Op::Spread { .. } => true,
            _ => false,
        }
    }
}

/// A node: what it is, and its shape.
#[derive(Debug, Clone)]
pub struct Node {
    pub op: Op,
    pub rows: usize,
    pub uniform: bool,
}

/// Nodes, operands first. Nodes that are equal are one.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// The key of a node: its operation and its rows. Loads and slices of different lengths differ only in their rows.
    seen: HashMap<(Op, usize), Id>,
}

impl Graph {
    pub fn rows(&self, id: Id) -> usize {
        self.nodes[id].rows
    }

    /// The same graph with `room` more arguments inserted before this row.
    pub fn insert_arguments(&self, before: usize, room: usize) -> Self {
        let mut moved = Self::default();
        for Node { op, rows, .. } in &self.nodes {
            let op = match *op {
                Op::Load(Input::Argument, row) if row >= before => Op::Load(Input::Argument, row + room),
                ref op => op.clone(),
            };
            // Nodes are different from each other, so each keeps its place.
            moved.push(op, *rows);
        }
        moved
    }

    /// The same graph for a value, with loads of arguments split so that none reaches across row `at`.
    pub fn split_argument_loads(&self, value: Id, at: usize) -> (Self, Id) {
        let mut split_argument_loads = Self::default();
        let mut places: Vec<Id> = Vec::with_capacity(self.nodes.len());
        for Node { op, rows, .. } in &self.nodes {
            let place = match *op {
                Op::Load(Input::Argument, row) if row < at && at < row + rows => {
                    let before = split_argument_loads.load(Input::Argument, row, at - row);
                    let behind = split_argument_loads.load(Input::Argument, at, row + rows - at);
                    // Not by `concat`, which would join them again.
                    split_argument_loads.push(Op::Concat(vec![before, behind]), *rows)
                }
                ref op => {
                    let moved = op.with_operands(|operand| places[operand]);
                    split_argument_loads.push(moved, *rows)
                }
            };
            places.push(place);
        }
        (split_argument_loads, places[value])
    }

    pub fn uniform(&self, id: Id) -> bool {
        self.nodes[id].uniform
    }

    fn op(&self, id: Id) -> &Op {
        &self.nodes[id].op
    }

    /// The node of an operation, without simplification.
    pub fn push(&mut self, op: Op, rows: usize) -> Id {
        let key = (op, rows);
        if let Some(&id) = self.seen.get(&key) {
            return id;
        }
        let op = &key.0;
        let mut uniform = !matches!(op, Op::Load(..));
        if !op.reduces() {
            op.each_operand(|operand| uniform &= self.nodes[operand].uniform);
        }
        let id = self.nodes.len();
        self.nodes.push(Node { op: op.clone(), rows, uniform });
        self.seen.insert(key, id);
        id
    }

    pub fn constant(&mut self, number: f64) -> Id {
        self.push(Op::Constant(number.to_bits()), 1)
    }

    /// Rows of constants.
    pub fn constants(&mut self, numbers: &[f64]) -> Id {
        match *numbers {
            [number] => self.constant(number),
            _ => self.push(Op::Constants(numbers.iter().map(|number| number.to_bits()).collect()), numbers.len()),
        }
    }

    /// The number, if it is a constant.
    pub fn constant_of(&self, id: Id) -> Option<f64> {
        match *self.op(id) {
            Op::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    fn is(&self, id: Id, number: f64) -> bool {
        self.constant_of(id) == Some(number)
    }

    pub fn time(&mut self) -> Id {
        self.push(Op::Time, 1)
    }

    pub fn parameter(&mut self, place: Place) -> Id {
        self.push(Op::Parameter(place), place.len())
    }

    pub fn load(&mut self, input: Input, row: usize, rows: usize) -> Id {
        self.push(Op::Load(input, row), rows)
    }

    pub fn unary(&mut self, function: Unary, a: Id) -> Id {
        if let Some(number) = self.constant_of(a)
            && function == Unary::Neg
        {
            return self.constant(-number);
        }
        match (function, self.op(a)) {
            (Unary::Neg, &Op::Unary(Unary::Neg, inner)) => inner,
            // −(a − b) = b − a up to the sign of a zero.
            (Unary::Neg, &Op::Binary(Binary::Sub, b, c)) => self.binary(Binary::Sub, c, b),
            (Unary::Abs | Unary::Cosh | Unary::Cos, &Op::Unary(Unary::Neg, inner)) => self.unary(function, inner),
            _ => self.push(Op::Unary(function, a), self.rows(a)),
        }
    }

    pub fn neg(&mut self, a: Id) -> Id {
        self.unary(Unary::Neg, a)
    }

    /// The number of rows of operands that are broadcast.
    fn broadcast(&self, operands: &[Id]) -> usize {
        let rows = operands.iter().map(|&id| self.rows(id)).max().unwrap_or(1);
        debug_assert!(operands.iter().all(|&id| self.rows(id) == rows || self.rows(id) == 1));
        rows
    }

    /// The source of a spread row, where the other operand has all rows and so broadcasts it.
    fn unspread(&self, id: Id, other: Id) -> Id {
        match *self.op(id) {
            Op::Spread { a, .. } if self.rows(a) == 1 && self.rows(other) == self.rows(id) => a,
            _ => id,
        }
    }

    pub fn binary(&mut self, function: Binary, a: Id, b: Id) -> Id {
        let a = self.unspread(a, b);
        let b = self.unspread(b, a);
        let rows = self.broadcast(&[a, b]);
        if let (Some(x), Some(y)) = (self.constant_of(a), self.constant_of(b)) {
            let folded = match function {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => x / y,
                _ => f64::NAN,
            };
            // Constants are finite: others could not travel.
            if folded.is_finite() {
                return self.constant(folded);
            }
        }
        let negated = |id: Id| match *self.op(id) {
            Op::Unary(Unary::Neg, inner) => Some(inner),
            _ => None,
        };
        match function {
            Binary::Add => {
                if let Some(inner) = negated(b) {
                    return self.binary(Binary::Sub, a, inner);
                }
                if let Some(inner) = negated(a) {
                    return self.binary(Binary::Sub, b, inner);
                }
                for (one, other) in [(a, b), (b, a)] {
                    if self.is(one, 0.0) && self.rows(other) == rows {
                        return other;
                    }
                }
            }
            Binary::Sub => {
                if let Some(inner) = negated(b) {
                    return self.binary(Binary::Add, a, inner);
                }
                if self.is(b, 0.0) && self.rows(a) == rows {
                    return a;
                }
                if self.is(a, 0.0) && self.rows(b) == rows {
                    return self.neg(b);
                }
            }
            Binary::Mul => {
                for (one, other) in [(a, b), (b, a)] {
                    if self.is(one, 1.0) && self.rows(other) == rows {
                        return other;
                    }
                    if self.is(one, -1.0) && self.rows(other) == rows {
                        return self.neg(other);
                    }
                }
                if let (Some(x), Some(y)) = (negated(a), negated(b)) {
                    return self.binary(Binary::Mul, x, y);
                }
            }
            Binary::Div => {
                if self.is(b, 1.0) && self.rows(a) == rows {
                    return a;
                }
                // Dividing by a power of two is exact either way, in both number types.
                if let Some(y) = self.constant_of(b)
                    && (y as f32).is_normal()
                    && (1.0 / y as f32).is_normal()
                    && y.to_bits() & ((1 << 52) - 1) == 0
                {
                    let inverse = self.constant(1.0 / y);
                    return self.binary(Binary::Mul, a, inverse);
                }
            }
            Binary::Pow => {
                if let Some(power) = self.constant_of(b)
                    && let Some(id) = self.power(a, power)
                {
                    return id;
                }
            }
            Binary::Atan2 | Binary::Min | Binary::Max => {}
        }
        // Commuted operands make one node.
        let (a, b) = match function {
            Binary::Add | Binary::Mul if b < a => (b, a),
            _ => (a, b),
        };
        self.push(Op::Binary(function, a, b), rows)
    }

    pub fn add(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Add, a, b)
    }

    pub fn sub(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Sub, a, b)
    }

    pub fn mul(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Mul, a, b)
    }

    pub fn div(&mut self, a: Id, b: Id) -> Id {
        self.binary(Binary::Div, a, b)
    }

    /// x to a constant power, where products and roots give it.
    fn power(&mut self, x: Id, power: f64) -> Option<Id> {
        Some(match power {
            0.0 => {
                let one = self.constant(1.0);
                self.spread(one, 1, self.rows(x))
            }
            1.0 => x,
            0.5 => self.unary(Unary::Sqrt, x),
            // Roots are far cheaper than powers. Not above 1: a product of roots has no derivative at 0, where the power has one.
            0.25 | 0.75 => {
                let root = self.unary(Unary::Sqrt, x);
                let fourth = self.unary(Unary::Sqrt, root);
                if power == 0.25 { fourth } else { self.mul(root, fourth) }
            }
            -0.5 => {
                let (one, root) = (self.constant(1.0), self.unary(Unary::Sqrt, x));
                self.div(one, root)
            }
            -1.0 => {
                let one = self.constant(1.0);
                self.div(one, x)
            }
            2.0 => self.mul(x, x),
            3.0 => {
                let square = self.mul(x, x);
                self.mul(square, x)
            }
            4.0 => {
                let square = self.mul(x, x);
                self.mul(square, square)
            }
            -2.0 => {
                let (one, square) = (self.constant(1.0), self.mul(x, x));
                self.div(one, square)
            }
            _ => return None,
        })
    }

    pub fn select(&mut self, condition: Condition, then: Id, otherwise: Id) -> Id {
        if then == otherwise && self.rows(then) >= self.broadcast(&[condition.a, condition.b]) {
            return then;
        }
        let rows = self.broadcast(&[condition.a, condition.b, then, otherwise]);
        self.push(Op::Select(condition, then, otherwise), rows)
    }

    pub fn slice(&mut self, mut a: Id, mut start: usize, rows: usize) -> Id {
        debug_assert!(rows > 0 && start + rows <= self.rows(a));
        // Down through slices of slices and parts of what is joined, however deep.
        loop {
            if start == 0 && rows == self.rows(a) {
                return a;
            }
            match *self.op(a) {
                Op::Slice(b, before) => (a, start) = (b, before + start),
                Op::Load(input, row) => return self.load(input, row + start, rows),
                Op::Parameter(Place { offset, rows: 1, .. }) => {
                    return self.parameter(Place::vector(offset + start, rows));
                }
                Op::Spread { a: b, .. } if self.rows(b) == 1 => return self.spread(b, 1, rows),
                Op::Concat(ref parts) => {
                    let (mut at, mut first) = (0, 0);
                    while at + self.rows(parts[first]) <= start {
                        at += self.rows(parts[first]);
                        first += 1;
                    }
                    if start + rows <= at + self.rows(parts[first]) {
                        (a, start) = (parts[first], start - at);
                        continue;
                    }
                    // The parts that it covers, if it cuts none.
                    let (mut end, mut last) = (at, first);
                    while end < start + rows {
                        end += self.rows(parts[last]);
                        last += 1;
                    }
                    if at == start && end == start + rows {
                        let covered = parts[first..last].to_vec();
                        return self.concat(covered);
                    }
                    return self.push(Op::Slice(a, start), rows);
                }
                _ => return self.push(Op::Slice(a, start), rows),
            }
        }
    }

    pub fn concat(&mut self, parts: Vec<Id>) -> Id {
        let mut flat: Vec<Id> = Vec::with_capacity(parts.len());
        for part in parts {
            match self.op(part) {
                Op::Concat(inner) => flat.extend(inner),
                _ => flat.push(part),
            }
        }
        // Neighbours that are slices of one value are one slice.
        let mut joined: Vec<Id> = Vec::with_capacity(flat.len());
        for part in flat {
            if let Some(&before) = joined.last()
                && let Some((source, start)) = self.adjacent_slices(before, part)
            {
                let rows = self.rows(before) + self.rows(part);
                joined.pop();
                let slice = self.slice_of(&source, start, rows);
                joined.push(slice);
            } else {
                joined.push(part);
            }
        }
        if let [only] = joined[..] {
            return only;
        }
        let rows = joined.iter().map(|&part| self.rows(part)).sum();
        self.push(Op::Concat(joined), rows)
    }

    /// What two values are neighbouring slices of, and where the first begins.
    fn adjacent_slices(&self, first: Id, second: Id) -> Option<(Op, usize)> {
        match (self.op(first), self.op(second)) {
            (Op::Load(input, row), Op::Load(other, next)) if input == other && row + self.rows(first) == *next => {
                Some((Op::Load(*input, 0), *row))
            }
            (Op::Slice(a, start), Op::Slice(b, next)) if a == b && start + self.rows(first) == *next => {
                Some((Op::Slice(*a, 0), *start))
            }
            _ => None,
        }
    }

    fn slice_of(&mut self, source: &Op, start: usize, rows: usize) -> Id {
        match *source {
            Op::Load(input, _) => self.load(input, start, rows),
            Op::Slice(a, _) => self.slice(a, start, rows),
            _ => unreachable!("only loads and slices follow each other"),
        }
    }

    pub fn spread(&mut self, a: Id, outer: usize, inner: usize) -> Id {
        if outer * inner == 1 {
            return a;
        }
        // One row is repeated the same way before and behind.
        let (outer, inner) = if self.rows(a) == 1 { (1, outer * inner) } else { (outer, inner) };
        let rows = self.rows(a) * outer * inner;
        self.push(Op::Spread { a, outer, inner }, rows)
    }

    pub fn sum(&mut self, a: Id, outer: usize, inner: usize) -> Id {
        if outer * inner == 1 {
            return a;
        }
        let rows = self.rows(a) / (outer * inner);
        let (outer, inner) = if rows == 1 { (1, outer * inner) } else { (outer, inner) };
        self.push(Op::Sum { a, outer, inner }, rows)
    }

    /// The sum of all rows.
    pub fn sum_rows(&mut self, a: Id) -> Id {
        self.sum(a, 1, self.rows(a))
    }

    pub fn dense(&mut self, w: Id, x: Id, points: usize) -> Id {
        let rows = self.rows(w) / (self.rows(x) / points) * points;
        self.push(Op::Dense { w, x, shift: None, points }, rows)
    }

    pub fn dense_transposed(&mut self, w: Id, x: Id, points: usize) -> Id {
        let rows = self.rows(w) / (self.rows(x) / points) * points;
        self.push(Op::DenseTransposed { w, x, points }, rows)
    }

    pub fn mat_vec(&mut self, m: Id, v: Id, points: usize) -> Id {
        if self.uniform(m) {
            return self.dense(m, v, points);
        }
        let rows = self.rows(m) / (self.rows(v) / points) * points;
        self.push(Op::MatVec { m, v, points }, rows)
    }

    pub fn mat_vec_transposed(&mut self, m: Id, v: Id, points: usize) -> Id {
        if self.uniform(m) {
            return self.dense_transposed(m, v, points);
        }
        let rows = self.rows(m) / (self.rows(v) / points) * points;
        self.push(Op::MatVecTransposed { m, v, points }, rows)
    }

    pub fn outer(&mut self, a: Id, b: Id, points: usize) -> Id {
        let rows = self.rows(a) / points * (self.rows(b) / points);
        self.push(Op::Outer { a, b, points }, rows)
    }

    pub fn sum_lanes(&mut self, a: Id) -> Id {
        self.push(Op::SumLanes(a), self.rows(a))
    }

    pub fn outer_lanes(&mut self, a: Id, b: Id, points: usize) -> Id {
        self.push(Op::OuterLanes { a, b, points }, self.rows(a) / points * (self.rows(b) / points))
    }

    /// Which nodes depend on the time.
    pub fn time_dependent(&self) -> Vec<bool> {
        let mut timed = vec![false; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            timed[id] = node.op == Op::Time;
            node.op.each_operand(|operand| timed[id] |= timed[operand]);
        }
        timed
    }

    /// Which nodes depend on arguments, data and parameters alone, so that they stay the same for a whole solve. Slices are
    /// left out, since they are views, and products with matrices, which may take far more room than what they are made of.
    pub fn invariant(&self) -> Vec<bool> {
        let (mut invariant, timed) = (vec![false; self.nodes.len()], self.time_dependent());
        let own = |id: Id| matches!(self.nodes[id].op, Op::Load(Input::Argument | Input::Data, _));
        for (id, node) in self.nodes.iter().enumerate() {
            let (mut whole, mut any) = (true, false);
            node.op.each_operand(|operand| {
                let (own, uniform) = (invariant[operand] || own(operand), self.nodes[operand].uniform);
                whole &= own || (uniform && !timed[operand]);
                any |= own;
            });
            let left_out = matches!(node.op, Op::Slice(..) | Op::Dense { .. } | Op::DenseTransposed { .. });
            invariant[id] = whole && any && !left_out && !node.op.reduces();
        }
        invariant
    }

    /// Which nodes the given ones depend on, themselves included.
    pub fn live(&self, roots: impl IntoIterator<Item = Id>) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        roots.into_iter().for_each(|root| live[root] = true);
        for id in (0..self.nodes.len()).rev() {
            if live[id] {
                self.nodes[id].op.each_operand(|operand| live[operand] = true);
            }
        }
        live
    }
}
