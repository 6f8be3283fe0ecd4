//! From a node to instructions.

use super::super::graph::{Compare, Graph, Id, Op};
use crate::kernel::instructions::{Address, Contraction, Instruction, Operand};
use crate::kernel::real::Real;

/// Where the operands of an instruction come from.
pub(super) trait OperandSource<T: Real> {
    /// An operand of something that works row by row.
    fn operand(&mut self, id: Id, rows: usize) -> Operand;
    /// An operand as rows of all lanes, computed for this instruction if it is uniform.
    fn lanes(&mut self, id: Id, out: &mut Vec<Instruction<T>>) -> Address;
    /// A uniform operand.
    fn uniform(&mut self, id: Id) -> Address;
    /// Whether matrices are packed for blocks of one lane.
    fn by_columns(&self) -> bool;
    /// A packed matrix.
    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize;
}

/// The instructions of a node that is no leaf, no view and no sum over lanes.
pub(super) fn lower<T: Real>(
    graph: &Graph,
    id: Id,
    to: Address,
    rows: usize,
    len: usize,
    source: &mut dyn OperandSource<T>,
    out: &mut Vec<Instruction<T>>,
) {
    let moved = |rows: usize| Address { base: to.base, offset: to.offset + rows * len };
    match graph.nodes[id].op {
        Op::Unary(function, a) => {
            let a = source.operand(a, rows);
            out.push(Instruction::unary(function, to, a, rows, len));
        }
        Op::Binary(function, a, b) => {
            let (a, b) = (source.operand(a, rows), source.operand(b, rows));
            out.push(Instruction::binary(function, to, a, b, rows, len));
        }
        Op::MultiplyAdd { negated, a, b, c } => {
            let operands = [a, b, c].map(|operand| source.operand(operand, rows));
            out.push(Instruction::multiply_add(negated, to, operands, rows, len));
        }
        Op::Select(condition, then, otherwise) => {
            let operands = [condition.a, condition.b, then, otherwise].map(|operand| source.operand(operand, rows));
            out.push(Instruction::select(condition.compare == Compare::LessEqual, to, operands, rows, len));
        }
        Op::Concat(ref parts) => {
            let mut at = 0;
            for &part in parts {
                let rows = graph.rows(part);
                let from = source.operand(part, rows);
                // A part that was computed in place is there.
                if from.at != moved(at) || from.uniform {
                    out.push(Instruction::copy(moved(at), from, rows, len));
                }
                at += rows;
            }
        }
        Op::Spread { a, outer, inner } => {
            let from = source.operand(a, graph.rows(a));
            out.push(Instruction::spread(to, from, (outer, inner), graph.rows(a), len));
        }
        Op::Sum { a, outer, inner } => {
            let at = source.lanes(a, out);
            let from = Operand { at, uniform: false, broadcast: false };
            out.push(Instruction::sum(to, from, (outer, inner), rows, len));
        }
        Op::Dense { w, x, shift, points } => {
            let depth = graph.rows(x) / points;
            let pack = (source.pack(w, depth, false), rows / points, depth);
            let x = source.lanes(x, out);
            let shift = shift.map(|shift| source.uniform(shift));
            out.push(Instruction::dense(pack, source.by_columns(), to, x, shift, points * len));
        }
        Op::DenseTransposed { w, x, points } => {
            let depth = graph.rows(x) / points;
            let pack = (source.pack(w, depth, true), rows / points, depth);
            let x = source.lanes(x, out);
            out.push(Instruction::dense(pack, source.by_columns(), to, x, None, points * len));
        }
        Op::MatVec { m, v, points } => {
            let shape = [rows / points, graph.rows(v) / points, points];
            let (m, v) = (source.lanes(m, out), source.lanes(v, out));
            out.push(Instruction::contract(Contraction::MatVec, to, m, v, shape, len));
        }
        Op::MatVecTransposed { m, v, points } => {
            let shape = [graph.rows(v) / points, rows / points, points];
            let (m, v) = (source.lanes(m, out), source.lanes(v, out));
            out.push(Instruction::contract(Contraction::MatVecTransposed, to, m, v, shape, len));
        }
        Op::Outer { a, b, points } => {
            let shape = [graph.rows(a) / points, graph.rows(b) / points, points];
            let (a, b) = (source.lanes(a, out), source.lanes(b, out));
            out.push(Instruction::contract(Contraction::Outer, to, a, b, shape, len));
        }
        Op::Constant(_)
        | Op::Constants(_)
        | Op::Time
        | Op::Parameter(_)
        | Op::Load(..)
        | Op::Variable(_)
        | Op::Slice(..)
        | Op::SumLanes(_)
        | Op::DotLanes(..)
        | Op::OuterLanes { .. } => {
            unreachable!("neither leaves nor variables nor views nor sums over lanes are computed row by row")
        }
    }
}
