//! Runs a plan over the blocks of a batch.

mod arrays;
mod leaves;

use std::cell::RefCell;
use std::sync::Arc;

use super::graph::Place;
use super::plan::{Destination, PackPlan, PackSource, Phase, Plan, Target, When};
use crate::error::Result;
use crate::kernel::combine::dot;
use crate::kernel::instructions::{Base, Bases, Code};
use crate::kernel::panels::Panel;
use crate::kernel::product::{PackOrder, Packed};
use crate::kernel::real::{Real, vector_len};
use crate::memory::{Buffer, Ledger, Purpose};
use crate::threads;
pub use arrays::{ArrayRows, Arrays};
use arrays::{part, part_mut};
use leaves::{LeafRun, Partial, Sum, run_leaves, total};

/// Inner products that come with a transpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct InnerProducts {
    /// (∂f/∂t)ᵀ ℓ.
    pub time: f64,
    /// ⟨ℓ, f⟩.
    pub slope: f64,
}

/// Matrices as executors read them, packed once for all that have the same parameters: those of an ensemble, with blocks of several
/// widths on each thread.
pub struct SharedPacks<T>(RefCell<Vec<SharedPack<T>>>);

struct SharedPack<T> {
    plan: PackPlan,
    order: PackOrder,
    packed: Arc<Packed<T>>,
}

impl<T> Default for SharedPacks<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Real> SharedPacks<T> {
    /// A matrix in an order; one that changes with the time or the state is not shared, and filled later.
    fn get(&self, pack: &PackPlan, order: PackOrder, parameters: &[T], ledger: &Ledger) -> Result<Arc<Packed<T>>> {
        let mut made = self.0.borrow_mut();
        if let Some(shared) = made.iter().find(|shared| shared.plan == *pack && shared.order == order) {
            return Ok(Arc::clone(&shared.packed));
        }
        let mut packed = Packed::new(ledger, order, pack.rows, pack.depth)?;
        match pack.source {
            PackSource::Parameters(place) => packed.fill(pack.view(parameters, place)),
            PackSource::Constants(ref numbers) => {
                let numbers: Vec<T> = numbers.iter().map(|&bits| T::of(f64::from_bits(bits))).collect();
                packed.fill(pack.view(&numbers, Place::vector(0, numbers.len())));
            }
            PackSource::Uniform(_) => return Ok(Arc::new(packed)),
        }
        let packed = Arc::new(packed);
        made.push(SharedPack { plan: pack.clone(), order, packed: Arc::clone(&packed) });
        Ok(packed)
    }
}

/// A plan with the numbers that it works on.
pub struct Executor<T: Real> {
    plan: Arc<Plan<T>>,
    workspace: Workspace<T>,
}

/// The numbers that a plan works on.
struct Workspace<T: Real> {
    uniform: Buffer<T>,
    packs: Vec<Arc<Packed<T>>>,
    /// The workspace of each thread.
    workers: Vec<Worker<T>>,
    /// How many leaves a thread takes at a time, called a run.
    run_leaves: usize,
    /// The sums of the first run of leaves; at the end, those of all leaves.
    sums: Buffer<T>,
    /// The sums of the other runs.
    partial: Vec<Partial<T>>,
    /// Values of a trajectory that stay the same for a whole solve.
    invariant: Buffer<T>,
    /// The time of the uniform values.
    t: f64,
}

struct Scratch<T> {
    file: Buffer<T>,
    scratch: Buffer<T>,
}

/// The workspace of a thread, with memory for sums of leaves that wait for their neighbours.
struct Worker<T> {
    scratch: Scratch<T>,
    waiting: Vec<Partial<T>>,
}

/// What the blocks of a phase share.
struct Blocks<'a, T: Real> {
    plan: &'a Plan<T>,
    phase: &'a Phase<T>,
    /// The row of f in the register file, where inner products with it are wanted.
    products: Option<usize>,
    rows: ArrayRows,
    uniform: &'a [T],
    packs: &'a [Arc<Packed<T>>],
    invariant: &'a [T],
}

impl<T: Real> Blocks<'_, T> {
    /// Runs one, given arrays that begin at some lane.
    fn run(
        &self,
        panel: Panel,
        begin: usize,
        worker: &mut Scratch<T>,
        arrays: &mut Arrays<'_, T>,
        sums: &mut [T],
        slope: &mut f64,
    ) {
        let (plan, phase, rows) = (self.plan, self.phase, self.rows);
        let code = if panel.width == plan.panels.full() { &phase.full } else { &phase.rest };
        let Scratch { file, scratch } = worker;
        let lanes = panel.first..panel.first + panel.width;
        let mut bases = arrays.bases(rows, panel.first - begin, panel.width);
        bases.read(Base::Uniform, self.uniform);
        bases.read(Base::Invariant, part(self.invariant, plan.invariant_rows, &lanes));
        bases.write(Base::File, file);
        bases.write(Base::Sums, sums);
        code.run(&bases, self.packs, scratch, panel.samples);
        let Some(row) = self.products else { return };
        let numbers = panel.width * rows.value;
        let value = &file[row * panel.width..][..numbers];
        let own = (panel.first - begin) * rows.value;
        *slope += dot(&arrays.cotangent[own..own + numbers], value);
        let from = panel.first * rows.value;
        let probes = arrays.probes.chunks_exact(plan.panels.lanes * rows.value);
        for (probe, product) in probes.zip(arrays.products.iter_mut()) {
            *product += dot(&probe[from..from + numbers], value);
        }
    }

    /// Runs all blocks, leaf by leaf, on threads that each take `run_leaves` leaves at a time.
    #[inline(never)]
    fn run_leaves(
        &self,
        workers: &mut [Worker<T>],
        run_leaves: usize,
        (sums, partial): (&mut [T], &mut [Partial<T>]),
        arrays: &mut Arrays<'_, T>,
        dots: &mut InnerProducts,
    ) {
        let Self { plan, rows, .. } = self;
        let panels = plan.panels;
        let mut rest = arrays.reborrow();
        let inner = std::mem::take(&mut rest.products);
        let own = Sum { sums, gradient: std::mem::take(&mut rest.gradient), ..Sum::none(inner.len()) };
        let others = partial.iter_mut().map(|partial| partial.sum(inner.len()));
        let mut sums = std::iter::once(own).chain(others);
        let per_run = run_leaves * plan.leaf_panels();
        let mut runs: Vec<LeafRun<'_, T>> = (0..panels.count())
            .step_by(per_run)
            .map(|first| {
                let range = first..(first + per_run).min(panels.count());
                let lanes = (range.len() * panels.full()).min(panels.lanes - first * panels.full());
                let sum = sums.next().unwrap_or_else(|| Sum::none(inner.len()));
                LeafRun { panels: range, arrays: rest.split(*rows, lanes), sum }
            })
            .collect();
        threads::each(workers, &mut runs, |worker, run| run.add_leaves(self, worker));
        let total = total(&mut runs);
        dots.slope += total.slope;
        inner.iter_mut().zip(&total.products).for_each(|(sum, product)| *sum += product);
    }
}

impl<T: Real> Executor<T> {
    /// Prepares a run at these parameters, on at most `threads` threads; `shared` are matrices packed from the same parameters.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(
        plan: Arc<Plan<T>>,
        parameters: &[T],
        shared: &SharedPacks<T>,
        threads: usize,
        ledger: &Ledger,
    ) -> Result<Self> {
        let mut uniform = Buffer::zeroed(ledger, Purpose::Network, plan.uniform.rows)?;
        for &(row, number) in &plan.uniform.constants {
            uniform[row] = T::of(number);
        }
        for &(first, place) in &plan.uniform.parameters {
            for (row, index) in place.indices().enumerate() {
                uniform[first + row] = parameters[index];
            }
        }
        let order = PackOrder::of::<T>(plan.by_columns);
        let packs = plan.packs.iter().map(|pack| shared.get(pack, order, parameters, ledger)).collect::<Result<_>>()?;
        let width = plan.panels.full().min(plan.panels.lanes);
        let work = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let scratch = |len: usize| Buffer::recycled(ledger, Purpose::Workspace, len);
        let (leaves, threads) = (plan.leaves(), threads.clamp(1, plan.leaves()));
        let run_leaves = run_leaves(leaves, threads);
        let partial = |_: usize| Partial::new(&plan, ledger);
        let sums = plan.gradient > 0 || plan.sums > 0;
        let worker = |_| {
            let scratch = Scratch { file: scratch(plan.file_rows * width)?, scratch: scratch(plan.scratch)? };
            let waiting = if sums { run_leaves.ilog2() as usize } else { 0 };
            Ok(Worker { scratch, waiting: (0..waiting).map(partial).collect::<Result<_>>()? })
        };
        let mut workspace = Workspace {
            uniform,
            packs,
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
            run_leaves,
            sums: work(plan.sums)?,
            partial: (1..if sums { leaves.div_ceil(run_leaves) } else { 1 }).map(partial).collect::<Result<_>>()?,
            invariant: work(plan.invariant_rows * plan.panels.lanes)?,
            t: f64::NAN,
        };
        workspace.run_uniform(&plan.uniform.fixed);
        workspace.pack(&plan, When::Once);
        Ok(Self { plan, workspace })
    }

    /// Sets the arguments and data of the trajectories, and computes what stays the same for a whole solve.
    pub fn set_inputs(&mut self, rows: ArrayRows, arguments: &[T], data: &[T]) {
        let Self { plan, workspace } = self;
        if plan.invariant_rows == 0 {
            return;
        }
        let task = plan.tasks.last().expect("the task of what is kept");
        for panel in plan.panels.all() {
            let phase = &task.phases[0];
            let code = if panel.width == plan.panels.full() { &phase.full } else { &phase.rest };
            let mut arrays = Arrays { arguments, data, ..Arrays::default() };
            let lanes = panel.first..panel.first + panel.width;
            let Scratch { file, scratch } = &mut workspace.workers[0].scratch;
            let mut bases = arrays.bases(rows, panel.first, panel.width);
            bases.read(Base::Uniform, &workspace.uniform);
            bases.write(Base::File, file);
            bases.write(Base::Invariant, part_mut(&mut workspace.invariant, plan.invariant_rows, &lanes));
            code.run(&bases, &workspace.packs, scratch, panel.samples);
        }
    }

    /// Runs a task at a time.
    ///
    /// # Panics
    /// If an array that the task needs is shorter than its rows ask for.
    pub fn run(&mut self, task: usize, t: f64, rows: ArrayRows, mut arrays: Arrays<'_, T>) -> InnerProducts {
        let Self { plan, workspace } = self;
        workspace.set_time(plan, t);
        let task = &plan.tasks[task];
        if task.phases.len() > 1 {
            workspace.sums.fill(T::zero());
        }
        let mut dots = InnerProducts::default();
        for (index, phase) in task.phases.iter().enumerate() {
            if index > 0 {
                workspace.reduce(phase, arrays.gradient, &mut dots);
                workspace.run_uniform(&phase.uniform);
                workspace.pack(plan, When::After(index));
            }
            for output in &phase.outputs {
                let row = |row: usize| workspace.uniform[output.row + row];
                add_result(output.target, row, arrays.gradient, &mut dots);
            }
            if !phase.full.is_empty() || !phase.rest.is_empty() {
                let products = if index == 0 { task.products } else { None };
                workspace.run_blocks(plan, phase, products, rows, &mut arrays, &mut dots);
            }
        }
        dots
    }
}

impl<T: Real> Workspace<T> {
    /// Computes the uniform values at a time.
    fn set_time(&mut self, plan: &Plan<T>, t: f64) {
        if self.t.to_bits() == t.to_bits() || (plan.uniform.time.is_none() && !self.t.is_nan()) {
            return;
        }
        self.t = t;
        if let Some(row) = plan.uniform.time {
            self.uniform[row] = T::of(t);
        }
        self.run_uniform(&plan.uniform.timed);
        self.pack(plan, When::WithTime);
    }

    /// Packs again the matrices that are known only now.
    #[inline(never)]
    fn pack(&mut self, plan: &Plan<T>, now: When) {
        for (pack, plan) in self.packs.iter_mut().zip(&plan.packs) {
            if let PackSource::Uniform(first) = plan.source
                && plan.when == now
            {
                let pack = Arc::get_mut(pack).expect("what changes belongs to one executor");
                pack.fill(plan.view(&self.uniform, Place::vector(first, plan.rows * plan.depth)));
            }
        }
    }

    fn run_uniform(&mut self, code: &Code<T>) {
        if code.is_empty() {
            return;
        }
        let mut bases = Bases::none();
        bases.write(Base::Uniform, &mut self.uniform);
        code.run(&bases, &self.packs, &mut self.workers[0].scratch.scratch, 0);
    }

    /// Runs all blocks of a phase.
    fn run_blocks(
        &mut self,
        plan: &Plan<T>,
        phase: &Phase<T>,
        products: Option<usize>,
        rows: ArrayRows,
        arrays: &mut Arrays<'_, T>,
        dots: &mut InnerProducts,
    ) {
        let Self { uniform, packs, workers, run_leaves, sums, partial, invariant, .. } = self;
        let blocks = Blocks { plan, phase, products, rows, uniform, packs, invariant };
        if cfg!(target_arch = "wasm32") || plan.is_leaf() {
            for panel in plan.panels.all() {
                blocks.run(panel, 0, &mut workers[0].scratch, arrays, sums, &mut dots.slope);
            }
        } else {
            blocks.run_leaves(workers, *run_leaves, (sums, partial), arrays, dots);
        }
    }

    /// Adds up the lanes of sums, and puts them where they are wanted.
    #[inline(never)]
    fn reduce(&mut self, phase: &Phase<T>, gradient: &mut [T], dots: &mut InnerProducts) {
        let register = vector_len::<T>();
        let Self { sums, uniform, .. } = self;
        for reduction in &phase.reductions {
            let sum = |row: usize| match reduction.plain {
                true => sums[reduction.at + row],
                false => {
                    let lanes = &sums[reduction.at + row * register..][..register];
                    lanes.iter().fold(T::zero(), |sum, &lane| sum + lane)
                }
            };
            match reduction.to {
                Destination::Uniform(first) => {
                    let rows = uniform[first..first + reduction.rows].iter_mut();
                    rows.enumerate().for_each(|(row, number)| *number = sum(row));
                }
                Destination::Result(target) => add_result(target, sum, gradient, dots),
            }
        }
    }
}

/// Adds rows to a result.
fn add_result<T: Real>(target: Target, row: impl Fn(usize) -> T, gradient: &mut [T], dots: &mut InnerProducts) {
    match target {
        Target::Parameters(place) => {
            for (at, index) in place.indices().enumerate() {
                gradient[index] = gradient[index] + row(at);
            }
        }
        Target::Time => dots.time += row(0).wide(),
        _ => {}
    }
}
