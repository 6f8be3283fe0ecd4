//! Where each value of a program lies, and which instruction computes it: decided once for a program and a batch.
//!
//! Values of a block live in a register file `[rows][lanes]`, whose rows are used again when a value is no longer needed. A slice is a
//! view, the parts of a concatenation are computed where they belong, inputs are read and outputs written in place. Uniform values
//! have a file of their own, `[rows]`, computed once for a time. One trajectory alone is a block of one lane, so that what works row
//! by row fills registers with rows.
//!
//! What depends on a sum over trajectories comes in a later *phase*: first all blocks, then the sums, then what follows from them.

mod emit;
mod lower;
mod row_allocator;
mod uniform;

use std::sync::Arc;

use super::graph::{Graph, Id, Op, Place};
use crate::kernel::instructions::{Base, Code};
use crate::kernel::panels::Panels;
use crate::kernel::product::MatrixView;
use crate::kernel::real::{Real, vector_len};
use emit::{Emitted, EmittedPhase, Emitter};
use uniform::UniformPlan;

/// Where a result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// f.
    Value,
    /// f as well, for inner products with it; it is not returned.
    Products,
    StateCotangent,
    /// Added, not set.
    ArgumentCotangents,
    /// Added to the gradient.
    Parameters(Place),
    Time,
    /// The values that stay the same for a whole solve, from this row on.
    Invariant(usize),
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

/// Values that are loaded, not computed: those on a tape, and those that stay the same for a whole solve, with their first rows.
struct StoredValues<'a> {
    tape: &'a [(Id, usize)],
    invariant: Vec<(Id, usize)>,
}

impl StoredValues<'_> {
    /// With those that other values or results need.
    fn new<'a>(graph: &Graph, tape: &'a [(Id, usize)], requests: &[Request]) -> StoredValues<'a> {
        let invariant = graph.invariant();
        let roots = requests.iter().flat_map(|request| request.outputs.iter().map(|output| output.1));
        let roots: Vec<Id> = roots.chain(tape.iter().map(|entry| entry.0)).collect();
        let live = graph.live(roots.iter().copied());
        let mut wanted = vec![false; graph.nodes.len()];
        roots.into_iter().for_each(|root| wanted[root] = true);
        for (id, node) in graph.nodes.iter().enumerate().filter(|&(id, _)| live[id] && !invariant[id]) {
            node.op.each_operand(|operand| wanted[operand] |= operand < id);
        }
        let mut rows = 0;
        let invariant = (0..graph.nodes.len()).filter(|&id| invariant[id] && wanted[id] && live[id]).map(|id| {
            rows += graph.rows(id);
            (id, rows - graph.rows(id))
        });
        StoredValues { tape, invariant: invariant.collect() }
    }

    /// The request that computes what stays the same for a whole solve.
    fn request(&self) -> Request {
        let outputs = self.invariant.iter().map(|&(id, row)| (Target::Invariant(row), id)).collect();
        Request { outputs, ..Request::default() }
    }

    fn rows(&self, graph: &Graph) -> usize {
        self.invariant.iter().map(|&(id, _)| graph.rows(id)).sum()
    }

    /// The stored values that a request loads, with their locations.
    fn loads<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (Id, Location)> + 'a {
        let makes = request.outputs.iter().any(|output| matches!(output.0, Target::Invariant(_)));
        let tape = self.tape.iter().filter(|_| request.taped).map(|&(id, row)| (id, (Base::Tape, row)));
        let invariant = self.invariant.iter().filter(move |_| !makes).map(|&(id, row)| (id, (Base::Invariant, row)));
        tape.chain(invariant)
    }

    /// The values that a request stores, with their locations.
    fn stores<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (Id, Location)> + 'a {
        let outputs = request.outputs.iter().filter_map(|&(target, id)| match target {
            Target::Value => Some((id, (Base::Value, 0))),
            Target::StateCotangent => Some((id, (Base::StateCotangent, 0))),
            Target::Invariant(row) => Some((id, (Base::Invariant, row))),
            _ => None,
        });
        outputs.chain(self.tape.iter().filter(|_| request.keeps).map(|&(id, row)| (id, (Base::Tape, row))))
    }

    /// Whether each node is loaded.
    fn loaded_nodes(&self, graph: &Graph, request: &Request) -> Vec<bool> {
        let mut loaded = vec![false; graph.nodes.len()];
        self.loads(request).for_each(|(id, _)| loaded[id] = true);
        loaded
    }
}

/// A program for one batch.
#[derive(Debug)]
pub struct Plan<T: Real> {
    pub panels: Panels,
    /// Lanes of a *leaf*: its sums are formed by themselves and added to those of other leaves in a tree, so that the bits of a
    /// gradient do not depend on which thread works on which leaf.
    leaf: usize,
    /// Numbers in the gradient of the parameters, none where it is not asked for.
    pub gradient: usize,
    pub uniform: Uniform<T>,
    pub packs: Vec<PackPlan>,
    pub tasks: Vec<Task<T>>,
    /// Rows of the register file.
    pub file_rows: usize,
    /// Numbers in the sums over lanes.
    pub sums: usize,
    /// Numbers of scratch for the kernels.
    pub scratch: usize,
    /// Rows of what stays the same for a whole solve; the last task computes them.
    pub invariant_rows: usize,
    /// Whether matrices are packed by columns, for blocks of one lane.
    pub by_columns: bool,
}

impl<T: Real> Plan<T> {
    /// The leaves, by their panels.
    pub fn leaves(&self) -> usize {
        self.panels.lanes.div_ceil(self.leaf)
    }

    /// Whether there is but one.
    pub fn is_leaf(&self) -> bool {
        self.panels.lanes <= self.leaf
    }

    /// Panels of a leaf.
    pub fn leaf_panels(&self) -> usize {
        self.leaf / self.panels.full()
    }
}

/// The values that are computed once for each time.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPlan {
    pub source: PackSource,
    pub rows: usize,
    pub depth: usize,
    pub transposed: bool,
    /// When a matrix is packed again.
    pub when: When,
}

impl PackPlan {
    /// Where its entries lie in an array that has the matrix in that place.
    pub fn view<'a, T>(&self, numbers: &'a [T], place: Place) -> MatrixView<'a, T> {
        // `rows` and `depth` are those of the packed matrix.
        let columns = if self.transposed { self.rows } else { self.depth };
        let stride = if place.rows == 1 { columns } else { place.stride };
        let (row_step, step) = if self.transposed { (1, stride) } else { (stride, 1) };
        MatrixView { numbers, first: place.offset, row_step, step }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PackSource {
    Parameters(Place),
    /// Constants, which are compared by their bits.
    Constants(Arc<[u64]>),
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
    /// The instructions for a full block, and for the last, narrower one.
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

/// Without matrices: rows of cache lines that a block should have, to stay in the cache; the most cache lines in a row; blocks of a leaf.
const CACHE_ROWS: usize = 1024;
const SCALAR_PANELS: usize = 16;
const SCALAR_BLOCKS: usize = 2;
/// With matrices: the least cache lines in a row of a block, and in a row of a leaf.
const DENSE_PANELS: usize = 4;
const DENSE_LEAF: usize = 8;
/// Rows of a register file that stays in the cache in wider blocks too.
const FEW_ROWS: usize = 256;
/// More numbers than the cache of a core holds along with a gradient of as many.
const LARGE: usize = 1 << 18;

impl<T: Real> Plan<T> {
    /// The plan of some requests of one graph, for a number of samples: in blocks of the fastest width, or all in one block.
    pub fn new(graph: &Graph, tape: &[(Id, usize)], requests: &[Request], samples: usize, one_block: bool) -> Self {
        let stored = StoredValues::new(graph, tape, requests);
        let requests: Vec<Request> = requests.iter().cloned().chain([stored.request()]).collect();
        let request_liveness: Vec<Liveness> =
            requests.iter().map(|request| Liveness::new(graph, &stored, request)).collect();
        let alone = samples == 1;
        // A matrix that is taken at several points meets as many columns.
        let by_columns = alone && graph.nodes.iter().all(|node| node.op.points() == 1);
        let mut uniform = UniformPlan::new(graph, &request_liveness, by_columns);
        let register = if alone { 1 } else { vector_len::<T>() };
        // A first round for the rows that the file needs, which do not depend on the width of a block.
        let mut round = |width: usize| -> (Vec<Emitted<T>>, usize, usize) {
            let emitted: Vec<Emitted<T>> = request_liveness
                .iter()
                .zip(&requests)
                .map(|(liveness, request)| Emitter::emit(graph, &stored, liveness, request, &mut uniform, width))
                .collect();
            let most = |number: fn(&Emitted<T>) -> usize| emitted.iter().map(number).max().unwrap_or(0);
            let (rows, sums) = (most(|e| e.file_rows), most(|e| e.sums));
            (emitted, rows, sums)
        };
        let (first, file_rows, sums) = round(register);
        let single = first.iter().any(|emitted| emitted.phases.iter().skip(1).any(|phase| !phase.block.is_empty()));
        let matrices = graph.nodes.iter().filter_map(|node| match node.op {
            Op::Dense { w, .. } => Some(graph.rows(w)),
            _ => None,
        });
        let largest = matrices.max();
        let panels_in_cache = (CACHE_ROWS / file_rows.max(1)).clamp(1, SCALAR_PANELS);
        let width = match (single, largest) {
            _ if alone => 1,
            _ if one_block => samples.next_multiple_of(T::LANES),
            (true, _) => samples.next_multiple_of(T::LANES),
            (_, Some(matrix)) => dense_panels(matrix, file_rows) * T::LANES,
            _ => panels_in_cache * T::LANES,
        };
        let panels = Panels::wide::<T>(samples, width);
        let places = requests.iter().flat_map(|request| &request.outputs).filter_map(|output| match output.0 {
            Target::Parameters(place) => Some(place.end()),
            _ => None,
        });
        let gradient = places.max().unwrap_or(0);
        // WebAssembly has one thread, and pools split a batch themselves. Each leaf has its own gradient, so it is longer if there are
        // more parameters.
        let one_leaf = single || one_block || cfg!(target_arch = "wasm32");
        let growth = (gradient.div_ceil(LARGE)).next_power_of_two();
        let blocks = match largest {
            None => SCALAR_BLOCKS * growth,
            Some(_) => (DENSE_LEAF * T::LANES * growth).div_ceil(width),
        };
        let leaf = if one_leaf { samples.next_multiple_of(width) } else { width * blocks };
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
                let phases = emitted.phases.into_iter().map(|phase| {
                    let EmittedPhase { block, reductions, uniform, outputs } = phase;
                    let rest = rests.next().map(|phase| phase.block).unwrap_or_default();
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
        let invariant_rows = stored.rows(graph);
        Self { panels, leaf, gradient, uniform, packs, tasks, file_rows, sums, scratch, invariant_rows, by_columns }
    }
}

/// Cache lines in a row of a block, given the largest matrix and the rows of the register file. Each block reads the matrices, and reads
/// and writes their gradient: the wider it is, the better its products hide that. In WebAssembly they take so long that they always do.
fn dense_panels(matrix: usize, file_rows: usize) -> usize {
    match matrix {
        _ if cfg!(target_arch = "wasm32") => DENSE_PANELS,
        _ if matrix > LARGE => 4 * DENSE_PANELS,
        _ if matrix > LARGE / 4 || file_rows <= FEW_ROWS => 2 * DENSE_PANELS,
        _ => DENSE_PANELS,
    }
}

/// Which nodes a request needs, and when their values are known.
struct Liveness {
    live: Vec<bool>,
    /// The phase in which a value is known.
    phase: Vec<usize>,
}

impl Liveness {
    fn new(graph: &Graph, stored: &StoredValues<'_>, request: &Request) -> Self {
        let mut live = vec![false; graph.nodes.len()];
        request.outputs.iter().for_each(|output| live[output.1] = true);
        stored.tape.iter().for_each(|&(id, _)| live[id] |= request.keeps);
        let loaded = stored.loaded_nodes(graph, request);
        for id in (0..graph.nodes.len()).rev() {
            if live[id] && !loaded[id] {
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

/// Where a value of a block lies: a base, and a row of it.
type Location = (Base, usize);
