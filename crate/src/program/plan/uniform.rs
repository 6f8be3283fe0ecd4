//! Uniform values: where they lie, what computes them, and which matrices are packed.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::graph::{Graph, Id, Op, Place};
use super::lower::{OperandSource, lower};
use super::{Liveness, PackPlan, PackSource, When};
use crate::kernel::instructions::{Address, Base, Contraction, Instruction, Operand};
use crate::kernel::real::Real;

/// Uniform values, for all requests together.
pub(super) struct UniformPlan<'a, T: Real> {
    graph: &'a Graph,
    /// Whether matrices are packed by columns.
    pub by_columns: bool,
    pub rows: usize,
    places: HashMap<Id, usize>,
    pub constants: Vec<(usize, f64)>,
    pub parameters: Vec<(usize, Place)>,
    pub time: Option<usize>,
    timed_nodes: Vec<bool>,
    pub fixed: Vec<Instruction<T>>,
    pub timed: Vec<Instruction<T>>,
    pub packs: Vec<PackPlan>,
    packed: HashMap<(PackSource, usize, bool), usize>,
}

impl<'a, T: Real> UniformPlan<'a, T> {
    pub fn new(graph: &'a Graph, request_liveness: &[Liveness], by_columns: bool) -> Self {
        let mut plan = Self {
            graph,
            by_columns,
            rows: 0,
            places: HashMap::new(),
            constants: vec![],
            parameters: vec![],
            time: None,
            timed_nodes: graph.time_dependent(),
            fixed: vec![],
            timed: vec![],
            packs: vec![],
            packed: HashMap::new(),
        };
        let stored = Self::stored(graph, request_liveness);
        // The values that the first phase needs, in order.
        for (id, stored) in stored.into_iter().enumerate() {
            let early = request_liveness.iter().any(|liveness| liveness.live[id] && liveness.phase[id] == 0);
            if graph.uniform(id) && early && stored {
                plan.place(id);
                let instructions = plan.compute(id, 0);
                let list = if plan.timed_nodes[id] { &mut plan.timed } else { &mut plan.fixed };
                list.extend(instructions);
            }
        }
        plan
    }

    /// Which values are needed as numbers; matrices of parameters are packed from where they are.
    fn stored(graph: &Graph, request_liveness: &[Liveness]) -> Vec<bool> {
        let mut stored: Vec<bool> =
            graph.nodes.iter().map(|node| !matches!(node.op, Op::Parameter(_) | Op::Constants(_))).collect();
        for (id, node) in graph.nodes.iter().enumerate() {
            if request_liveness.iter().any(|liveness| liveness.live[id]) {
                let packed = matches!(node.op, Op::Dense { .. } | Op::DenseTransposed { .. });
                let mut index = 0;
                node.op.each_operand(|operand| {
                    stored[operand] |= index > 0 || !packed;
                    index += 1;
                });
            }
        }
        stored
    }

    /// The row where a value lies.
    pub fn place(&mut self, id: Id) -> usize {
        if let Some(&row) = self.places.get(&id) {
            return row;
        }
        if let Op::Slice(a, start) = self.graph.nodes[id].op {
            return self.place(a) + start;
        }
        let row = self.rows;
        self.rows += self.graph.rows(id);
        self.places.insert(id, row);
        match self.graph.nodes[id].op {
            Op::Constant(bits) => self.constants.push((row, f64::from_bits(bits))),
            Op::Constants(ref all) => {
                let numbers = all.iter().enumerate().map(|(k, &bits)| (row + k, f64::from_bits(bits)));
                self.constants.extend(numbers);
            }
            Op::Parameter(place) => self.parameters.push((row, place)),
            Op::Time => self.time = Some(row),
            _ => {}
        }
        row
    }

    pub fn at(&mut self, id: Id) -> Address {
        Address { base: Base::Uniform, offset: self.place(id) }
    }

    /// The instructions of a uniform value.
    pub fn compute(&mut self, id: Id, phase: usize) -> Vec<Instruction<T>> {
        let graph = self.graph;
        if matches!(
            graph.nodes[id].op,
            Op::Constant(_) | Op::Constants(_) | Op::Parameter(_) | Op::Time | Op::Slice(..)
        ) {
            return vec![];
        }
        let to = self.at(id);
        let mut instructions = Vec::new();
        let rows = graph.rows(id);
        // Matrices that are computed are packed only after all that is uniform.
        if let Op::Dense { w, x, points, .. } | Op::DenseTransposed { w, x, points } = graph.nodes[id].op
            && !matches!(graph.nodes[w].op, Op::Parameter(_) | Op::Constants(_))
        {
            let (kind, shape) = match graph.nodes[id].op {
                Op::Dense { .. } => (Contraction::MatVec, [rows / points, graph.rows(x) / points, points]),
                _ => (Contraction::MatVecTransposed, [graph.rows(x) / points, rows / points, points]),
            };
            let (w, x) = (self.at(w), self.at(x));
            return vec![Instruction::contract(kind, to, w, x, shape, 1)];
        }
        let mut source = UniformSource { plan: self, phase };
        lower(graph, id, to, rows, 1, &mut source, &mut instructions);
        instructions
    }

    /// The index of a packed matrix, or its transpose.
    pub fn pack(&mut self, w: Id, inner: usize, transposed: bool, phase: usize) -> usize {
        let source = match self.graph.nodes[w].op {
            Op::Parameter(place) => PackSource::Parameters(place),
            Op::Constants(ref numbers) => PackSource::Constants(Arc::clone(numbers)),
            _ => PackSource::Uniform(self.place(w)),
        };
        let (timed, len) = (self.timed_nodes[w], self.graph.rows(w));
        let packs = &mut self.packs;
        *self.packed.entry((source.clone(), inner, transposed)).or_insert_with(|| {
            let when = match (phase, timed) {
                (0, false) => When::Once,
                (0, true) => When::WithTime,
                (after, _) => When::After(after),
            };
            packs.push(PackPlan { source, rows: len / inner, depth: inner, transposed, when });
            packs.len() - 1
        })
    }
}

pub(super) struct UniformSource<'p, 'a, T: Real> {
    plan: &'p mut UniformPlan<'a, T>,
    phase: usize,
}

impl<T: Real> OperandSource<T> for UniformSource<'_, '_, T> {
    fn operand(&mut self, id: Id, rows: usize) -> Operand {
        Operand::of_one_lane(self.plan.at(id), self.plan.graph.rows(id), rows)
    }
    fn lanes(&mut self, id: Id, _out: &mut Vec<Instruction<T>>) -> Address {
        self.plan.at(id)
    }
    fn uniform(&mut self, id: Id) -> Address {
        self.plan.at(id)
    }
    fn by_columns(&self) -> bool {
        self.plan.by_columns
    }
    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize {
        self.plan.pack(w, inner, transposed, self.phase)
    }
}
