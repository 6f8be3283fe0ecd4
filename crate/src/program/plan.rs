//! Where each value of a program lies, and which instruction computes it: decided once for a program and a batch.
//!
//! Values of a block live in a register file `[rows][lanes]`, whose rows are used again when a value is no longer needed. A slice is a
//! view, the parts of a concatenation are computed where they belong, inputs are read and outputs written in place. Uniform values
//! have a file of their own, `[rows][register]`, computed once for a time.
//!
//! What depends on a sum over trajectories comes in a later *phase*: first all blocks, then the sums, then what follows from them.

use std::collections::HashMap;
use std::rc::Rc;

use super::differentiate::elementwise;
use super::graph::{Binary, Compare, Graph, Id, Input, Op, Place, Unary};
use crate::kernel::instructions::{At, Base, Code, Contraction, Function, Function2, Instruction, Operand};
use crate::kernel::panels::Panels;
use crate::kernel::real::{Real, vector_len};

/// Where a result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// f.
    Value,
    /// f as well, for inner products with it; it is not handed out.
    Products,
    StateCotangent,
    /// Added, not set.
    ArgumentCotangents,
    /// Added to the gradient.
    Parameters(Place),
    Time,
    /// From this row on of what is kept for a whole solve.
    Steady(usize),
}

/// Something to run.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub outputs: Vec<(Target, Id)>,
    /// Whether the values on the tape are read from it.
    pub taped: bool,
    /// Whether they are written to it.
    pub keeps: bool,
}

/// Values that need not be computed: those on a tape, and those that are kept for a whole solve, with their first rows.
struct Kept<'a> {
    tape: &'a [(Id, usize)],
    steady: Vec<(Id, usize)>,
}

impl Kept<'_> {
    /// With those that other values or results need.
    fn new<'a>(graph: &Graph, tape: &'a [(Id, usize)], requests: &[Request]) -> Kept<'a> {
        let steady = graph.steady();
        let roots = requests.iter().flat_map(|request| request.outputs.iter().map(|output| output.1));
        let roots: Vec<Id> = roots.chain(tape.iter().map(|entry| entry.0)).collect();
        let live = graph.live(roots.iter().copied());
        let mut wanted = vec![false; graph.nodes.len()];
        roots.into_iter().for_each(|root| wanted[root] = true);
        for (id, node) in graph.nodes.iter().enumerate().filter(|&(id, _)| live[id] && !steady[id]) {
            node.op.each_operand(|operand| wanted[operand] |= operand < id);
        }
        let mut rows = 0;
        let steady = (0..graph.nodes.len()).filter(|&id| steady[id] && wanted[id] && live[id]).map(|id| {
            rows += graph.rows(id);
            (id, rows - graph.rows(id))
        });
        Kept { tape, steady: steady.collect() }
    }

    /// The request that computes what is kept for a whole solve.
    fn request(&self) -> Request {
        let outputs = self.steady.iter().map(|&(id, row)| (Target::Steady(row), id)).collect();
        Request { outputs, ..Request::default() }
    }

    fn rows(&self, graph: &Graph) -> usize {
        self.steady.iter().map(|&(id, _)| graph.rows(id)).sum()
    }

    /// What a request reads, with where it lies.
    fn homes<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (Id, Home)> + 'a {
        let makes = request.outputs.iter().any(|output| matches!(output.0, Target::Steady(_)));
        let tape = self.tape.iter().filter(|_| request.taped).map(|&(id, row)| (id, (Base::Tape, row)));
        let steady = self.steady.iter().filter(move |_| !makes).map(|&(id, row)| (id, (Base::Steady, row)));
        tape.chain(steady)
    }

    /// Whether each value is read.
    fn given(&self, graph: &Graph, request: &Request) -> Vec<bool> {
        let mut given = vec![false; graph.nodes.len()];
        self.homes(request).for_each(|(id, _)| given[id] = true);
        given
    }
}

/// A program for one batch.
#[derive(Debug)]
pub struct Plan<T: Real> {
    pub panels: Panels,
    pub uniform: Uniform<T>,
    pub packs: Vec<PackPlan>,
    pub tasks: Vec<Task<T>>,
    /// Rows of the register file.
    pub file_rows: usize,
    /// Numbers in the sums over lanes.
    pub sums: usize,
    /// Numbers of scratch for the kernels.
    pub scratch: usize,
    /// Rows of what is kept for a whole solve; the last task computes them.
    pub steady_rows: usize,
}

/// What is computed once for a time.
#[derive(Debug)]
pub struct Uniform<T: Real> {
    pub rows: usize,
    /// Rows that hold constants, and parts of the parameters from a row on.
    pub constants: Vec<(usize, f64)>,
    pub parameters: Vec<(usize, Place)>,
    pub time: Option<usize>,
    /// What depends on parameters only, and what depends on the time too.
    pub fixed: Code<T>,
    pub timed: Code<T>,
}

/// A matrix to be packed for products.
#[derive(Debug, Clone)]
pub struct PackPlan {
    pub source: PackSource,
    pub rows: usize,
    pub depth: usize,
    pub transposed: bool,
    /// When it is to be packed again.
    pub when: When,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackSource {
    Parameters(Place),
    /// By their bits.
    Constants(Rc<[u64]>),
    /// From this row of the uniform values on.
    Uniform(usize),
}

/// When a uniform value is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Once,
    WithTime,
    /// After the sums of this many phases.
    After(usize),
}

/// A request, planned.
#[derive(Debug)]
pub struct Task<T: Real> {
    pub phases: Vec<Phase<T>>,
    /// The row of the file where f lies, if it is there for products.
    pub products: Option<usize>,
}

/// All blocks, then sums over them, then what follows from those.
#[derive(Debug)]
pub struct Phase<T: Real> {
    /// For a full block and for the last, narrower one.
    pub full: Code<T>,
    pub rest: Code<T>,
    pub reductions: Vec<Reduction>,
    pub uniform: Code<T>,
    pub outputs: Vec<UniformOutput>,
}

/// Sums over lanes, `rows` of them.
#[derive(Debug, Clone, Copy)]
pub struct Reduction {
    /// Numbers from the beginning of the sums.
    pub at: usize,
    pub rows: usize,
    /// Whether they are plain numbers, not registers whose lanes are still to be added.
    pub plain: bool,
    pub to: Destination,
}

/// Where sums over lanes go.
#[derive(Debug, Clone, Copy)]
pub enum Destination {
    /// Uniform values, from this row on.
    Uniform(usize),
    /// Right into a result.
    Result(Target),
}

/// A uniform value that is a result.
#[derive(Debug, Clone, Copy)]
pub struct UniformOutput {
    pub row: usize,
    pub target: Target,
}

/// Rows of cache lines that a block should have, to stay in the cache, and the most cache lines in a row.
const CACHE_ROWS: usize = 1024;
const SCALAR_PANELS: usize = 16;
/// Cache lines in a row where there are matrices: enough that an outer product over them hides that it reads and writes the
/// gradient.
const DENSE_PANELS: usize = 4;

impl<T: Real> Plan<T> {
    /// The plan of some requests of one graph, for so many samples.
    pub fn new(graph: &Graph, tape: &[(Id, usize)], requests: &[Request], samples: usize) -> Self {
        let kept = Kept::new(graph, tape, requests);
        let requests: Vec<Request> = requests.iter().cloned().chain([kept.request()]).collect();
        let lives: Vec<Live> = requests.iter().map(|request| Live::new(graph, &kept, request)).collect();
        let mut uniform = UniformPlan::new(graph, &lives);
        let register = vector_len::<T>();
        // A first round for the rows that the file needs, which do not depend on the width of a block.
        let mut round = |width: usize| -> (Vec<Emitted<T>>, usize, usize) {
            let emitted: Vec<Emitted<T>> = lives
                .iter()
                .zip(&requests)
                .map(|(live, request)| Emitter::emit(graph, &kept, live, request, &mut uniform, width))
                .collect();
            let most = |number: fn(&Emitted<T>) -> usize| emitted.iter().map(number).max().unwrap_or(0);
            let (rows, sums) = (most(|e| e.file_rows), most(|e| e.sums));
            (emitted, rows, sums)
        };
        let (first, file_rows, sums) = round(register);
        let single = first.iter().any(|emitted| emitted.phases.iter().skip(1).any(|phase| !phase.0.is_empty()));
        let dense = graph.nodes.iter().any(|node| matches!(node.op, Op::Dense { .. }));
        let panels_in_cache = (CACHE_ROWS / file_rows.max(1)).clamp(1, SCALAR_PANELS);
        let width = match (single, dense) {
            (true, _) => samples.next_multiple_of(T::LANES),
            (_, true) => DENSE_PANELS * T::LANES,
            _ => panels_in_cache * T::LANES,
        };
        let panels = Panels::wide::<T>(samples, width);
        let (full_width, rest_width) = panels.widths();
        // The first width that there is, and the other if there are two.
        let widths = [full_width, rest_width].map(|width| (width > 0).then_some(width));
        let first = widths.into_iter().flatten().next().unwrap_or(register);
        let emitted = round(first).0;
        let second = match widths {
            [Some(_), Some(rest)] => round(rest).0,
            _ => vec![],
        };
        let mut second = second.into_iter();
        let tasks: Vec<Task<T>> = emitted
            .into_iter()
            .map(|emitted| {
                let mut rests = second.next().map(|second| second.phases).unwrap_or_default().into_iter();
                let phases = emitted.phases.into_iter().map(|(block, reductions, uniform, outputs)| {
                    let rest = rests.next().map(|phase| phase.0).unwrap_or_default();
                    let (full, rest) = if full_width > 0 { (block, rest) } else { (rest, block) };
                    let [full, rest, uniform] = [full, rest, uniform].map(Code::new);
                    Phase { full, rest, reductions, uniform, outputs }
                });
                Task { phases: phases.collect(), products: emitted.products }
            })
            .collect();
        let UniformPlan { rows, constants, parameters, time, fixed, timed, packs, .. } = uniform;
        let [fixed, timed] = [fixed, timed].map(Code::new);
        let codes =
            tasks.iter().flat_map(|task| &task.phases).flat_map(|phase| [&phase.full, &phase.rest, &phase.uniform]);
        let scratch = codes.chain([&fixed, &timed]).map(Code::scratch).max().unwrap_or(0);
        let uniform = Uniform { rows, constants, parameters, time, fixed, timed };
        let steady_rows = kept.rows(graph);
        Self { panels, uniform, packs, tasks, file_rows, sums, scratch, steady_rows }
    }
}

/// What a request computes.
struct Live {
    live: Vec<bool>,
    /// The phase in which a value is known.
    phase: Vec<usize>,
}

impl Live {
    fn new(graph: &Graph, kept: &Kept<'_>, request: &Request) -> Self {
        let mut live = vec![false; graph.nodes.len()];
        request.outputs.iter().for_each(|output| live[output.1] = true);
        kept.tape.iter().for_each(|&(id, _)| live[id] |= request.keeps);
        let given = kept.given(graph, request);
        for id in (0..graph.nodes.len()).rev() {
            if live[id] && !given[id] {
                graph.nodes[id].op.each_operand(|operand| live[operand] = true);
            }
        }
        let mut phase = vec![0; graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate().filter(|&(id, _)| live[id]) {
            let mut latest = 0;
            node.op.each_operand(|operand| latest = latest.max(phase[operand]));
            phase[id] = latest + usize::from(node.op.reduces());
        }
        Self { live, phase }
    }
}

/// Uniform values, for all requests together.
struct UniformPlan<'a, T: Real> {
    graph: &'a Graph,
    rows: usize,
    places: HashMap<Id, usize>,
    constants: Vec<(usize, f64)>,
    parameters: Vec<(usize, Place)>,
    time: Option<usize>,
    timed_nodes: Vec<bool>,
    fixed: Vec<Instruction<T>>,
    timed: Vec<Instruction<T>>,
    packs: Vec<PackPlan>,
    packed: HashMap<(PackSource, usize, bool), usize>,
}

impl<'a, T: Real> UniformPlan<'a, T> {
    fn new(graph: &'a Graph, lives: &[Live]) -> Self {
        let mut timed_nodes = vec![false; graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            timed_nodes[id] = node.op == Op::Time;
            node.op.each_operand(|operand| timed_nodes[id] |= timed_nodes[operand]);
        }
        let mut plan = Self {
            graph,
            rows: 0,
            places: HashMap::new(),
            constants: vec![],
            parameters: vec![],
            time: None,
            timed_nodes,
            fixed: vec![],
            timed: vec![],
            packs: vec![],
            packed: HashMap::new(),
        };
        let stored = Self::stored(graph, lives);
        // What has to be there before the first phase, in order.
        for (id, stored) in stored.into_iter().enumerate() {
            let early = lives.iter().any(|live| live.live[id] && live.phase[id] == 0);
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
    fn stored(graph: &Graph, lives: &[Live]) -> Vec<bool> {
        let mut stored: Vec<bool> =
            graph.nodes.iter().map(|node| !matches!(node.op, Op::Parameter(_) | Op::Constants(_))).collect();
        for (id, node) in graph.nodes.iter().enumerate() {
            if lives.iter().any(|live| live.live[id]) {
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
    fn place(&mut self, id: Id) -> usize {
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

    fn at(&mut self, id: Id) -> At {
        At { base: Base::Uniform, offset: self.place(id) * vector_len::<T>() }
    }

    /// The instructions of a uniform value, on one register.
    fn compute(&mut self, id: Id, phase: usize) -> Vec<Instruction<T>> {
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
            return vec![Instruction::contract(kind, to, w, x, shape, vector_len::<T>())];
        }
        let mut source = UniformSource { plan: self, phase };
        lower(graph, id, to, rows, vector_len::<T>(), &mut source, &mut instructions);
        instructions
    }

    /// The index of a packed matrix, or its transpose.
    fn pack(&mut self, w: Id, inner: usize, transposed: bool, phase: usize) -> usize {
        let source = match self.graph.nodes[w].op {
            Op::Parameter(place) => PackSource::Parameters(place),
            Op::Constants(ref numbers) => PackSource::Constants(Rc::clone(numbers)),
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

/// Where the operands of an instruction come from.
trait Source<T: Real> {
    /// An operand of something that works row by row.
    fn operand(&mut self, id: Id, rows: usize) -> Operand;
    /// An operand as rows of all lanes, computed for this instruction if it is uniform.
    fn lanes(&mut self, id: Id, out: &mut Vec<Instruction<T>>) -> At;
    /// A uniform operand.
    fn uniform(&mut self, id: Id) -> At;
    /// A packed matrix.
    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize;
}

struct UniformSource<'p, 'a, T: Real> {
    plan: &'p mut UniformPlan<'a, T>,
    phase: usize,
}

impl<T: Real> Source<T> for UniformSource<'_, '_, T> {
    fn operand(&mut self, id: Id, rows: usize) -> Operand {
        let broadcast = rows > 1 && self.plan.graph.rows(id) == 1;
        Operand { at: self.plan.at(id), uniform: false, broadcast }
    }
    fn lanes(&mut self, id: Id, _out: &mut Vec<Instruction<T>>) -> At {
        self.plan.at(id)
    }
    fn uniform(&mut self, id: Id) -> At {
        self.plan.at(id)
    }
    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize {
        self.plan.pack(w, inner, transposed, self.phase)
    }
}

/// The instructions of a node that is no leaf, no view and no sum over lanes.
fn lower<T: Real>(
    graph: &Graph,
    id: Id,
    to: At,
    rows: usize,
    len: usize,
    source: &mut dyn Source<T>,
    out: &mut Vec<Instruction<T>>,
) {
    let moved = |rows: usize| At { base: to.base, offset: to.offset + rows * len };
    match graph.nodes[id].op {
        Op::Unary(function, a) => {
            let a = source.operand(a, rows);
            out.push(Instruction::unary(unary(function), to, a, rows, len));
        }
        Op::Binary(function, a, b) => {
            let (a, b) = (source.operand(a, rows), source.operand(b, rows));
            out.push(Instruction::binary(binary(function), to, a, b, rows, len));
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
                    out.push(Instruction::unary(Function::Copy, moved(at), from, rows, len));
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
            out.push(Instruction::dense(pack, to, x, shift, points * len));
        }
        Op::DenseTransposed { w, x, points } => {
            let depth = graph.rows(x) / points;
            let pack = (source.pack(w, depth, true), rows / points, depth);
            let x = source.lanes(x, out);
            out.push(Instruction::dense(pack, to, x, None, points * len));
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
        | Op::Slice(..)
        | Op::SumLanes(_)
        | Op::DotLanes(..)
        | Op::OuterLanes { .. } => unreachable!("neither leaves nor views nor sums over lanes are computed row by row"),
    }
}

fn unary(function: Unary) -> Function {
    match function {
        Unary::Neg => Function::Neg,
        Unary::Abs => Function::Abs,
        Unary::Sign => Function::Sign,
        Unary::Exp => Function::Exp,
        Unary::Expm1 => Function::Expm1,
        Unary::Log => Function::Log,
        Unary::Log1p => Function::Log1p,
        Unary::Sqrt => Function::Sqrt,
        Unary::Sin => Function::Sin,
        Unary::Cos => Function::Cos,
        Unary::Tan => Function::Tan,
        Unary::Asin => Function::Asin,
        Unary::Acos => Function::Acos,
        Unary::Atan => Function::Atan,
        Unary::Sinh => Function::Sinh,
        Unary::Cosh => Function::Cosh,
        Unary::Tanh => Function::Tanh,
        Unary::Sigmoid => Function::Sigmoid,
        Unary::Softplus => Function::Softplus,
        Unary::Relu => Function::Relu,
        Unary::Elu => Function::Elu,
        Unary::NormalCdf => Function::NormalCdf,
    }
}

fn binary(function: Binary) -> Function2 {
    match function {
        Binary::Add => Function2::Add,
        Binary::Sub => Function2::Sub,
        Binary::Mul => Function2::Mul,
        Binary::Div => Function2::Div,
        Binary::Pow => Function2::Pow,
        Binary::Atan2 => Function2::Atan2,
        Binary::Min => Function2::Min,
        Binary::Max => Function2::Max,
    }
}

/// Rows of the file, given out and taken back.
#[derive(Default)]
struct Rows {
    /// Free ranges, in order: where they begin and end.
    free: Vec<(usize, usize)>,
    most: usize,
}

impl Rows {
    fn take(&mut self, rows: usize) -> usize {
        if let Some(index) = self.free.iter().position(|&(from, to)| to - from >= rows) {
            let (from, to) = self.free[index];
            if to - from == rows {
                self.free.remove(index);
            } else {
                self.free[index].0 += rows;
            }
            return from;
        }
        // The last free range may reach the end of the file.
        let from = match self.free.last() {
            Some(&(from, to)) if to == self.most => {
                self.free.pop();
                from
            }
            _ => self.most,
        };
        self.most = from + rows;
        from
    }

    fn give(&mut self, from: usize, rows: usize) {
        let index = self.free.partition_point(|range| range.0 < from);
        self.free.insert(index, (from, from + rows));
        if index + 1 < self.free.len() && self.free[index].1 == self.free[index + 1].0 {
            self.free[index].1 = self.free.remove(index + 1).1;
        }
        if index > 0 && self.free[index - 1].1 == self.free[index].0 {
            self.free[index - 1].1 = self.free.remove(index).1;
        }
    }
}

/// Where a value of a block lies: a base, and a row of it.
type Home = (Base, usize);

/// Where the storage of a value is.
#[derive(Debug, Clone, Copy)]
enum Storage {
    Own,
    /// From this row of another value on.
    Within(Id, usize),
    Fixed(Home),
}

type EmittedPhase<T> = (Vec<Instruction<T>>, Vec<Reduction>, Vec<Instruction<T>>, Vec<UniformOutput>);

struct Emitted<T: Real> {
    phases: Vec<EmittedPhase<T>>,
    products: Option<usize>,
    file_rows: usize,
    sums: usize,
}

struct Emitter<'e, 'a, T: Real> {
    graph: &'a Graph,
    width: usize,
    uniform: &'e mut UniformPlan<'a, T>,
    storage: Vec<Storage>,
    /// The row of the file of values that are there.
    rows: HashMap<Id, usize>,
    file: Rows,
    /// Rows for one instruction only.
    temporary: Vec<(usize, usize)>,
    /// How often each value is used by another, or is a result.
    uses: Vec<usize>,
    phase: usize,
}

impl<'e, 'a, T: Real> Emitter<'e, 'a, T> {
    fn emit(
        graph: &'a Graph,
        kept: &Kept<'_>,
        live: &Live,
        request: &Request,
        uniform: &'e mut UniformPlan<'a, T>,
        width: usize,
    ) -> Emitted<T> {
        let storage = storages(graph, kept, live, request);
        let mut uses = vec![0; graph.nodes.len()];
        graph.nodes.iter().for_each(|node| node.op.each_operand(|operand| uses[operand] += 1));
        request.outputs.iter().for_each(|output| uses[output.1] += 1);
        let mut emitter = Emitter {
            graph,
            width,
            uniform,
            storage,
            rows: HashMap::new(),
            file: Rows::default(),
            temporary: vec![],
            uses,
            phase: 0,
        };
        emitter.all(kept, live, request)
    }

    fn all(&mut self, kept: &Kept<'_>, live: &Live, request: &Request) -> Emitted<T> {
        let graph = self.graph;
        let nodes = graph.nodes.len();
        // Sums over lanes are formed in the phase before the one in which they are known.
        let executed = |id: Id| live.phase[id] - usize::from(graph.nodes[id].op.reduces());
        let given = kept.given(graph, request);
        let tape = kept.tape;
        let lane_side = |id: Id| !graph.uniform(id) || graph.nodes[id].op.reduces();
        let mut order: Vec<Id> = (0..nodes)
            .filter(|&id| live.live[id] && !given[id] && lane_side(id))
            .filter(|&id| !matches!(graph.nodes[id].op, Op::Load(..)))
            .collect();
        order.sort_by_key(|&id| (executed(id), id));
        let last = self.last_uses(&order, request, tape);
        let phases = (0..nodes).filter(|&id| live.live[id]).map(|id| live.phase[id]).max().unwrap_or(0) + 1;
        let mut emitted: Vec<EmittedPhase<T>> = (0..phases).map(|_| Default::default()).collect();
        let mut sums = 0;
        let mut position = 0;
        let mut products = None;
        for phase in 0..phases {
            self.phase = phase;
            let (mut block, mut reductions) = (Vec::new(), Vec::new());
            while position < order.len() && executed(order[position]) == phase {
                let id = order[position];
                let mut taken = None;
                match graph.nodes[id].op {
                    Op::Slice(..) => {}
                    _ if graph.nodes[id].op.reduces() => {
                        self.reduce(id, request, &mut sums, &mut block, &mut reductions);
                    }
                    _ => {
                        taken = self.take_over(id, last.get(&position));
                        let to = self.at(id);
                        lower(graph, id, to, graph.rows(id), self.width, self, &mut block);
                    }
                }
                self.end_instruction();
                for &dead in last.get(&position).into_iter().flatten() {
                    if let Some(row) = self.rows.remove(&dead)
                        && taken != Some(dead)
                    {
                        self.file.give(row, graph.rows(dead));
                    }
                }
                position += 1;
            }
            if phase == 0 {
                self.last_copies(tape, request, &mut block);
                products = self.products(request, &mut block);
            }
            // What is uniform and follows from the sums of the phases before.
            let mut instructions = Vec::new();
            let mut outputs = Vec::new();
            for id in (0..nodes).filter(|&id| graph.uniform(id) && live.live[id] && live.phase[id] == phase) {
                if phase > 0 && !graph.nodes[id].op.reduces() {
                    self.uniform.place(id);
                    instructions.extend(self.uniform.compute(id, phase));
                }
            }
            for &(target, id) in &request.outputs {
                let summed = matches!(target, Target::Parameters(_) | Target::Time);
                if summed && live.phase[id] == phase && self.direct(id, request).is_none() {
                    outputs.push(UniformOutput { row: self.uniform.place(id), target });
                }
            }
            emitted[phase].0 = block;
            emitted[phase].2 = instructions;
            emitted[phase].3 = outputs;
            if phase + 1 < phases {
                emitted[phase + 1].1 = reductions;
            }
        }
        Emitted { phases: emitted, products, file_rows: self.file.most, sums }
    }

    /// After which place in the order the storage of a value is no longer needed.
    fn last_uses(&self, order: &[Id], request: &Request, tape: &[(Id, usize)]) -> HashMap<usize, Vec<Id>> {
        let mut last: HashMap<Id, usize> = HashMap::new();
        for (position, &id) in order.iter().enumerate() {
            last.insert(self.root(id), position);
            self.graph.nodes[id].op.each_operand(|operand| {
                if !self.graph.uniform(operand) {
                    last.insert(self.root(operand), position);
                }
            });
        }
        // What is copied at the end stays to the end.
        let ends = request.outputs.iter().map(|output| output.1);
        for id in ends.chain(tape.iter().filter(|_| request.keeps).map(|entry| entry.0)) {
            if !self.graph.uniform(id) {
                last.remove(&self.root(id));
            }
        }
        let mut by_position: HashMap<usize, Vec<Id>> = HashMap::new();
        for (id, position) in last {
            by_position.entry(position).or_default().push(id);
        }
        by_position.values_mut().for_each(|ids| ids.sort_unstable());
        by_position
    }

    /// The value whose storage holds another's.
    fn root(&self, id: Id) -> Id {
        match self.storage[id] {
            Storage::Within(other, _) => self.root(other),
            _ => id,
        }
    }

    fn home(&mut self, id: Id) -> Home {
        match self.storage[id] {
            Storage::Fixed(home) => home,
            Storage::Within(other, row) => {
                let (base, first) = self.home(other);
                (base, first + row)
            }
            Storage::Own => {
                let rows = self.graph.rows(id);
                let file = &mut self.file;
                (Base::File, *self.rows.entry(id).or_insert_with(|| file.take(rows)))
            }
        }
    }

    /// Lets a value that is computed row by row take the place of an operand that nothing needs any more; which, if there is one.
    fn take_over(&mut self, id: Id, dying: Option<&Vec<Id>>) -> Option<Id> {
        let op = &self.graph.nodes[id].op;
        if !elementwise(op) || !matches!(self.storage[id], Storage::Own) || self.rows.contains_key(&id) {
            return None;
        }
        let (rows, operands) = (self.graph.rows(id), op.operands());
        let fits = |operand: &Id| {
            // A row of it that serves all rows would be overwritten by the first.
            let alone = operands.iter().all(|other| other == operand || self.root(*other) != *operand);
            alone
                && matches!(self.storage[*operand], Storage::Own)
                && self.graph.rows(*operand) == rows
                && dying.is_some_and(|dying| dying.contains(operand))
        };
        let operand = operands.iter().copied().find(fits)?;
        let row = *self.rows.get(&operand)?;
        self.rows.insert(id, row);
        Some(operand)
    }

    fn at(&mut self, id: Id) -> At {
        let (base, row) = self.home(id);
        At { base, offset: row * self.width }
    }

    /// The result that a sum over lanes is, if it is nothing else.
    fn direct(&self, id: Id, request: &Request) -> Option<Target> {
        if !self.graph.nodes[id].op.reduces() || self.uses[id] != 1 {
            return None;
        }
        let mut results = request.outputs.iter().filter(|output| output.1 == id).map(|output| output.0);
        results.find(|target| matches!(target, Target::Parameters(_) | Target::Time))
    }

    fn reduce(
        &mut self,
        id: Id,
        request: &Request,
        sums: &mut usize,
        block: &mut Vec<Instruction<T>>,
        reductions: &mut Vec<Reduction>,
    ) {
        let (graph, width) = (self.graph, self.width);
        let rows = graph.rows(id);
        match graph.nodes[id].op {
            Op::OuterLanes { a, b, points } => {
                let shape = |stride| [graph.rows(a) / points, graph.rows(b) / points, stride];
                let (to, shape) = match self.direct(id, request) {
                    Some(Target::Parameters(place)) => {
                        // A vector place is one row, whatever the matrix is.
                        let stride = if place.rows == 1 { shape(0)[1] } else { place.stride };
                        (At { base: Base::Gradient, offset: place.offset }, shape(stride))
                    }
                    other => {
                        let at = *sums;
                        *sums += rows;
                        let to = match other {
                            Some(target) => Destination::Result(target),
                            None => Destination::Uniform(self.uniform.place(id)),
                        };
                        reductions.push(Reduction { at, rows, plain: true, to });
                        (At { base: Base::Sums, offset: at }, shape(graph.rows(b) / points))
                    }
                };
                let (a, b) = (self.lanes(a, block), self.lanes(b, block));
                block.push(Instruction::outer_lanes(to, a, b, shape, points * width));
            }
            Op::SumLanes(a) | Op::DotLanes(a, _) => {
                let at = *sums;
                *sums += rows * vector_len::<T>();
                let to = match self.direct(id, request) {
                    Some(target) => Destination::Result(target),
                    None => Destination::Uniform(self.uniform.place(id)),
                };
                reductions.push(Reduction { at, rows, plain: false, to });
                let b = if let Op::DotLanes(_, b) = graph.nodes[id].op { Some(self.lanes(b, block)) } else { None };
                let a = self.lanes(a, block);
                block.push(Instruction::sum_lanes(At { base: Base::Sums, offset: at }, a, b, rows, width));
            }
            _ => unreachable!("not a sum over lanes"),
        }
    }

    /// Copies of results that do not lie where they are wanted.
    fn last_copies(&mut self, tape: &[(Id, usize)], request: &Request, block: &mut Vec<Instruction<T>>) {
        let kept = tape.iter().filter(|_| request.keeps).map(|&(id, row)| ((Base::Tape, row), id));
        let outputs = request.outputs.iter().filter_map(|&(target, id)| match target {
            Target::Value => Some(((Base::Value, 0), id)),
            Target::StateCotangent => Some(((Base::StateCotangent, 0), id)),
            Target::Steady(row) => Some(((Base::Steady, row), id)),
            _ => None,
        });
        for ((base, row), id) in kept.chain(outputs).collect::<Vec<_>>() {
            let to = At { base, offset: row * self.width };
            let rows = self.graph.rows(id);
            let from = self.operand(id, rows);
            if from.uniform || from.at != to {
                block.push(Instruction::unary(Function::Copy, to, from, rows, self.width));
            }
        }
        for &(target, id) in &request.outputs {
            if target == Target::ArgumentCotangents {
                let from = self.lanes(id, block);
                let to = At { base: Base::ArgumentCotangents, offset: 0 };
                block.push(Instruction::accumulate(to, from, self.graph.rows(id), self.width));
                self.end_instruction();
            }
        }
    }

    /// The row of the file where f lies for products with it: copied there if it is an input, on a tape or uniform.
    fn products(&mut self, request: &Request, block: &mut Vec<Instruction<T>>) -> Option<usize> {
        let id = request.outputs.iter().find(|output| output.0 == Target::Products)?.1;
        let rows = self.graph.rows(id);
        let from = self.operand(id, rows);
        if from.at.base == Base::File {
            return Some(from.at.offset / self.width);
        }
        let row = self.file.take(rows);
        let to = At { base: Base::File, offset: row * self.width };
        block.push(Instruction::unary(Function::Copy, to, from, rows, self.width));
        Some(row)
    }

    fn end_instruction(&mut self) {
        for (row, rows) in self.temporary.drain(..) {
            self.file.give(row, rows);
        }
    }
}

impl<T: Real> Source<T> for Emitter<'_, '_, T> {
    fn operand(&mut self, id: Id, rows: usize) -> Operand {
        let own = self.graph.rows(id);
        match self.graph.uniform(id) {
            true => Operand { at: self.uniform.at(id), uniform: true, broadcast: own == 1 },
            false => Operand { at: self.at(id), uniform: false, broadcast: own == 1 && rows > 1 },
        }
    }

    fn lanes(&mut self, id: Id, out: &mut Vec<Instruction<T>>) -> At {
        if !self.graph.uniform(id) {
            return self.at(id);
        }
        let rows = self.graph.rows(id);
        let row = self.file.take(rows);
        self.temporary.push((row, rows));
        let to = At { base: Base::File, offset: row * self.width };
        let from = self.operand(id, rows);
        out.push(Instruction::unary(Function::Copy, to, from, rows, self.width));
        to
    }

    fn uniform(&mut self, id: Id) -> At {
        self.uniform.at(id)
    }

    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize {
        self.uniform.pack(w, inner, transposed, self.phase)
    }
}

/// Where each value is stored: results where they are wanted, parts within what they are joined to, slices within their sources.
fn storages(graph: &Graph, kept: &Kept<'_>, live: &Live, request: &Request) -> Vec<Storage> {
    let mut storage = vec![Storage::Own; graph.nodes.len()];
    let mut placed = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        match node.op {
            Op::Load(input, row) => {
                let base = match input {
                    Input::State => Base::State,
                    Input::Argument => Base::Arguments,
                    Input::Data => Base::Data,
                    Input::Cotangent => Base::Cotangent,
                };
                storage[id] = Storage::Fixed((base, row));
                placed[id] = true;
            }
            Op::Slice(a, start) => {
                storage[id] = Storage::Within(a, start);
                placed[id] = true;
            }
            _ => {}
        }
    }
    for (id, home) in kept.homes(request) {
        storage[id] = Storage::Fixed(home);
        placed[id] = true;
    }
    let outputs = request.outputs.iter().filter_map(|&(target, id)| match target {
        Target::Value => Some(((Base::Value, 0), id)),
        Target::StateCotangent => Some(((Base::StateCotangent, 0), id)),
        Target::Steady(row) => Some(((Base::Steady, row), id)),
        _ => None,
    });
    let tape = kept.tape.iter().filter(|_| request.keeps).map(|&(id, row)| ((Base::Tape, row), id));
    for (home, id) in outputs.chain(tape) {
        if !placed[id] && !graph.uniform(id) {
            storage[id] = Storage::Fixed(home);
            placed[id] = true;
        }
    }
    let given = kept.given(graph, request);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let Op::Concat(parts) = &node.op else { continue };
        if !live.live[id] || graph.uniform(id) || given[id] {
            continue;
        }
        let mut at = 0;
        for &part in parts {
            let same_phase = live.phase[part] == live.phase[id];
            if !placed[part] && !graph.uniform(part) && same_phase {
                storage[part] = Storage::Within(id, at);
                placed[part] = true;
            }
            at += graph.rows(part);
        }
    }
    storage
}
