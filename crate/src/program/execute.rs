//! Runs a plan over the blocks of a batch.

use std::ops::Range;
use std::sync::Arc;

use super::graph::Place;
use super::plan::{Destination, PackPlan, PackSource, Phase, Plan, Target, When};
use crate::error::Result;
use crate::kernel::combine::dot;
use crate::kernel::instructions::{Base, Bases, Code};
use crate::kernel::panels::Panel;
use crate::kernel::product::{Order, Packed};
use crate::kernel::real::{Real, vector_len};
use crate::memory::{Buffer, Ledger, Purpose};
use crate::threads;

/// Inner products that come with a transpose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dots {
    /// (∂f/∂t)ᵀ ℓ.
    pub time: f64,
    /// ⟨ℓ, f⟩.
    pub slope: f64,
}

/// A plan with the numbers that it works on.
pub struct Executor<T: Real> {
    plan: Arc<Plan<T>>,
    memory: Memory<T>,
}

/// What a plan works on.
struct Memory<T: Real> {
    uniform: Buffer<T>,
    packs: Vec<Packed<T>>,
    /// What each thread works in.
    workers: Vec<Scratch<T>>,
    /// The sums of the first leaf, and at the end of all.
    sums: Buffer<T>,
    /// Those of the other leaves.
    partial: Vec<Partial<T>>,
    /// What a trajectory has for a whole solve.
    steady: Buffer<T>,
    /// The time of the uniform values.
    t: f64,
}

struct Scratch<T> {
    file: Buffer<T>,
    scratch: Buffer<T>,
}

/// Sums of a leaf: those over lanes, and those that go right into the gradient of the parameters.
struct Partial<T> {
    sums: Buffer<T>,
    gradient: Buffer<T>,
}

/// A leaf in one run.
struct Leaf<'a, T> {
    panels: Range<usize>,
    /// From its first lane on.
    arrays: Arrays<'a, T>,
    sums: &'a mut [T],
    /// ⟨ℓ, f⟩.
    slope: f64,
}

/// What the blocks of a phase have in common.
struct Blocks<'a, T: Real> {
    plan: &'a Plan<T>,
    phase: &'a Phase<T>,
    /// The row of f in the register file, where inner products with it are wanted.
    products: Option<usize>,
    rows: ArrayRows,
    uniform: &'a [T],
    packs: &'a [Packed<T>],
    steady: &'a [T],
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
        bases.read(Base::Steady, part(self.steady, plan.steady_rows, &lanes));
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
}

/// The arrays of one run, each with its rows; those that the task does not need are empty.
#[derive(Default)]
pub struct Arrays<'a, T> {
    pub state: &'a [T],
    pub arguments: &'a [T],
    pub data: &'a [T],
    pub cotangent: &'a [T],
    /// Read.
    pub tape: &'a [T],
    /// Written.
    pub keep: &'a mut [T],
    pub value: &'a mut [T],
    pub state_cotangent: &'a mut [T],
    pub argument_cotangents: &'a mut [T],
    pub gradient: &'a mut [T],
    /// Directions, each as long as f, and their inner products with it.
    pub probes: &'a [T],
    pub products: &'a mut [f64],
}

impl<T: Real> Executor<T> {
    /// At these parameters, on so many threads at most.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(plan: Arc<Plan<T>>, parameters: &[T], threads: usize, ledger: &Ledger) -> Result<Self> {
        let mut uniform = Buffer::zeroed(ledger, Purpose::Network, plan.uniform.rows)?;
        for &(row, number) in &plan.uniform.constants {
            uniform[row] = T::of(number);
        }
        for &(first, place) in &plan.uniform.parameters {
            for (row, index) in place.indices().enumerate() {
                uniform[first + row] = parameters[index];
            }
        }
        let order = Order::of::<T>(plan.by_columns);
        let mut packs = Vec::with_capacity(plan.packs.len());
        for pack in &plan.packs {
            let PackPlan { ref source, rows, depth, transposed, .. } = *pack;
            let at = |place, row, k| entry(place, rows, depth, transposed, row, k);
            packs.push(match *source {
                PackSource::Parameters(place) => {
                    Packed::new(ledger, order, rows, depth, &|row, k| parameters[at(place, row, k)])?
                }
                PackSource::Constants(ref numbers) => {
                    let place = Place::vector(0, numbers.len());
                    let number = |row, k| T::of(f64::from_bits(numbers[at(place, row, k)]));
                    Packed::new(ledger, order, rows, depth, &number)?
                }
                PackSource::Uniform(_) => Packed::new(ledger, order, rows, depth, &|_, _| T::zero())?,
            });
        }
        let width = plan.panels.full().min(plan.panels.lanes);
        let work = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let scratch = |len: usize| Buffer::used(ledger, Purpose::Workspace, len);
        let worker = |_| Ok(Scratch { file: scratch(plan.file_rows * width)?, scratch: scratch(plan.scratch)? });
        let partial = |_| {
            let gradient = Buffer::zeroed(ledger, Purpose::Gradient, plan.gradient)?;
            Ok(Partial { sums: work(plan.sums)?, gradient })
        };
        let sums = plan.gradient > 0 || plan.sums > 0;
        let mut memory = Memory {
            uniform,
            packs,
            workers: (0..threads.clamp(1, plan.leaves())).map(worker).collect::<Result<_>>()?,
            sums: work(plan.sums)?,
            partial: (1..if sums { plan.leaves() } else { 1 }).map(partial).collect::<Result<_>>()?,
            steady: work(plan.steady_rows * plan.panels.lanes)?,
            t: f64::NAN,
        };
        memory.run_uniform(&plan.uniform.fixed);
        memory.pack(&plan, When::Once);
        Ok(Self { plan, memory })
    }

    /// Computes what trajectories with these arguments and data have for a whole solve.
    pub fn settle(&mut self, rows: ArrayRows, arguments: &[T], data: &[T]) {
        let Self { plan, memory } = self;
        if plan.steady_rows == 0 {
            return;
        }
        let task = plan.tasks.last().expect("the task of what is kept");
        for panel in plan.panels.all() {
            let phase = &task.phases[0];
            let code = if panel.width == plan.panels.full() { &phase.full } else { &phase.rest };
            let mut arrays = Arrays { arguments, data, ..Arrays::default() };
            let lanes = panel.first..panel.first + panel.width;
            let Scratch { file, scratch } = &mut memory.workers[0];
            let mut bases = arrays.bases(rows, panel.first, panel.width);
            bases.read(Base::Uniform, &memory.uniform);
            bases.write(Base::File, file);
            bases.write(Base::Steady, part_mut(&mut memory.steady, plan.steady_rows, &lanes));
            code.run(&bases, &memory.packs, scratch, panel.samples);
        }
    }

    /// Runs a task at a time.
    ///
    /// # Panics
    /// If an array that the task needs is shorter than its rows ask for.
    pub fn run(&mut self, task: usize, t: f64, rows: ArrayRows, mut arrays: Arrays<'_, T>) -> Dots {
        let Self { plan, memory } = self;
        memory.set_time(plan, t);
        let task = &plan.tasks[task];
        if task.phases.len() > 1 {
            memory.sums.fill(T::zero());
            memory.partial.iter_mut().for_each(|partial| partial.sums.fill(T::zero()));
        }
        let mut dots = Dots::default();
        for (index, phase) in task.phases.iter().enumerate() {
            if index > 0 {
                memory.reduce(phase, arrays.gradient, &mut dots);
                memory.run_uniform(&phase.uniform);
                memory.pack(plan, When::After(index));
            }
            for output in &phase.outputs {
                let row = |row: usize| memory.uniform[output.row + row];
                add_result(output.target, row, arrays.gradient, &mut dots);
            }
            if !phase.full.is_empty() || !phase.rest.is_empty() {
                let products = if index == 0 { task.products } else { None };
                memory.run_blocks(plan, phase, products, rows, &mut arrays, &mut dots);
            }
        }
        dots
    }
}

impl<T: Real> Memory<T> {
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
    fn pack(&mut self, plan: &Plan<T>, now: When) {
        for (pack, plan) in self.packs.iter_mut().zip(&plan.packs) {
            if let PackSource::Uniform(first) = plan.source
                && plan.when == now
            {
                let PackPlan { rows, depth, transposed, .. } = *plan;
                let place = Place::vector(first, rows * depth);
                let uniform = &self.uniform;
                pack.fill(&|row, k| uniform[entry(place, rows, depth, transposed, row, k)]);
            }
        }
    }

    fn run_uniform(&mut self, code: &Code<T>) {
        if code.is_empty() {
            return;
        }
        let mut bases = Bases::none();
        bases.write(Base::Uniform, &mut self.uniform);
        code.run(&bases, &self.packs, &mut self.workers[0].scratch, 0);
    }

    /// Runs all blocks of a phase, leaf by leaf.
    fn run_blocks(
        &mut self,
        plan: &Plan<T>,
        phase: &Phase<T>,
        products: Option<usize>,
        rows: ArrayRows,
        arrays: &mut Arrays<'_, T>,
        dots: &mut Dots,
    ) {
        let Self { uniform, packs, workers, sums, partial, steady, .. } = self;
        let (panels, per_leaf) = (plan.panels, plan.leaf_panels());
        let blocks = Blocks { plan, phase, products, rows, uniform, packs, steady };
        let all = panels.count();
        if cfg!(target_arch = "wasm32") || all <= per_leaf {
            for panel in panels.all() {
                blocks.run(panel, 0, &mut workers[0], arrays, sums, &mut dots.slope);
            }
            return;
        }
        let inner = arrays.products.len();
        let mut products = vec![0.0; all.div_ceil(per_leaf) * inner];
        let mut own_products = products.chunks_exact_mut(inner.max(1));
        let mut rest = arrays.reborrow();
        let mut own = Some((&mut **sums, std::mem::take(&mut rest.gradient)));
        let mut others = partial.iter_mut();
        let mut leaves = Vec::with_capacity(all.div_ceil(per_leaf));
        for first in (0..all).step_by(per_leaf) {
            let range = first..(first + per_leaf).min(all);
            let lanes = (range.len() * panels.full()).min(panels.lanes - first * panels.full());
            let mut arrays = rest.split(rows, lanes);
            let own = own.take().or_else(|| others.next().map(|other| (&mut *other.sums, &mut *other.gradient)));
            let (sums, gradient) = own.unwrap_or_default();
            arrays.gradient = gradient;
            arrays.products = own_products.next().unwrap_or_default();
            leaves.push(Leaf { panels: range, arrays, sums, slope: 0.0 });
        }
        threads::each(workers, &mut leaves, |worker, leaf| {
            let Leaf { panels: range, arrays, sums, slope } = leaf;
            let begin = range.start * panels.full();
            for panel in panels.range(range.clone()) {
                blocks.run(panel, begin, worker, arrays, sums, slope);
            }
        });
        // In a binary tree over the leaves, so that parts of a batch that begin at a leaf can form sums of their own.
        let mut gap = 1;
        while gap < leaves.len() {
            for pair in leaves.chunks_mut(2 * gap).filter(|pair| pair.len() > gap) {
                let (left, right) = pair.split_at_mut(gap);
                left[0].add(&mut right[0]);
            }
            gap *= 2;
        }
        dots.slope += leaves[0].slope;
        drop(leaves);
        arrays.products.iter_mut().zip(&products).for_each(|(sum, product)| *sum += product);
    }

    /// Adds up the lanes of sums, and puts them where they are wanted.
    fn reduce(&mut self, phase: &Phase<T>, gradient: &mut [T], dots: &mut Dots) {
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

impl<T: Real> Leaf<'_, T> {
    /// Adds the sums of another leaf, which are zero then.
    fn add(&mut self, other: &mut Self) {
        add_to(self.sums, other.sums);
        add_to(self.arrays.gradient, other.arrays.gradient);
        self.slope += other.slope;
        self.arrays.products.iter_mut().zip(&*other.arrays.products).for_each(|(sum, product)| *sum += product);
    }
}

/// Moves numbers to a sum.
fn add_to<T: Real>(sum: &mut [T], other: &mut [T]) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum = *sum + std::mem::replace(other, T::zero());
    }
}

/// Adds rows to a result.
fn add_result<T: Real>(target: Target, row: impl Fn(usize) -> T, gradient: &mut [T], dots: &mut Dots) {
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

/// Where an entry of a packed matrix, or of a transposed one, lies.
fn entry(place: Place, rows: usize, depth: usize, transposed: bool, row: usize, k: usize) -> usize {
    // `rows` and `depth` are those of the packed matrix.
    let (row, column, columns) = if transposed { (k, row, rows) } else { (row, k, depth) };
    match place.rows {
        1 => place.offset + row * columns + column,
        _ => place.offset + row * place.stride + column,
    }
}

/// Rows of the arrays of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrayRows {
    pub state: usize,
    pub arguments: usize,
    pub data: usize,
    pub value: usize,
    pub tape: usize,
}

impl<'a, T: Real> Arrays<'a, T> {
    /// The same arrays, for a while.
    fn reborrow(&mut self) -> Arrays<'_, T> {
        Arrays {
            keep: self.keep,
            value: self.value,
            state_cotangent: self.state_cotangent,
            argument_cotangents: self.argument_cotangents,
            gradient: self.gradient,
            products: self.products,
            ..*self
        }
    }

    /// Cuts off the first lanes; the gradient is left out, and probes stay whole.
    fn split(&mut self, rows: ArrayRows, lanes: usize) -> Arrays<'a, T> {
        Arrays {
            state: first(&mut self.state, rows.state * lanes),
            arguments: first(&mut self.arguments, rows.arguments * lanes),
            data: first(&mut self.data, rows.data * lanes),
            cotangent: first(&mut self.cotangent, rows.value * lanes),
            tape: first(&mut self.tape, rows.tape * lanes),
            keep: first_mut(&mut self.keep, rows.tape * lanes),
            value: first_mut(&mut self.value, rows.value * lanes),
            state_cotangent: first_mut(&mut self.state_cotangent, rows.state * lanes),
            argument_cotangents: first_mut(&mut self.argument_cotangents, rows.arguments * lanes),
            gradient: &mut [],
            probes: self.probes,
            products: &mut [],
        }
    }

    /// The arrays of a block, from its first lane on.
    #[inline(always)]
    fn bases(&mut self, rows: ArrayRows, first: usize, width: usize) -> Bases<'_, T> {
        let lanes = first..first + width;
        let mut bases = Bases::none();
        bases.read(Base::State, part(self.state, rows.state, &lanes));
        bases.read(Base::Arguments, part(self.arguments, rows.arguments, &lanes));
        bases.read(Base::Data, part(self.data, rows.data, &lanes));
        bases.read(Base::Cotangent, part(self.cotangent, rows.value, &lanes));
        bases.write(Base::Value, part_mut(self.value, rows.value, &lanes));
        bases.write(Base::StateCotangent, part_mut(self.state_cotangent, rows.state, &lanes));
        bases.write(Base::ArgumentCotangents, part_mut(self.argument_cotangents, rows.arguments, &lanes));
        bases.write(Base::Gradient, self.gradient);
        match self.keep.is_empty() {
            true => bases.read(Base::Tape, part(self.tape, rows.tape, &lanes)),
            false => bases.write(Base::Tape, part_mut(self.keep, rows.tape, &lanes)),
        }
        bases
    }
}

/// Cuts off the first numbers of an array, if there is one.
fn first<'a, T>(array: &mut &'a [T], numbers: usize) -> &'a [T] {
    let (first, rest) = if array.is_empty() { (*array, *array) } else { array.split_at(numbers) };
    *array = rest;
    first
}

fn first_mut<'a, T>(array: &mut &'a mut [T], numbers: usize) -> &'a mut [T] {
    let all = std::mem::take(array);
    let numbers = if all.is_empty() { 0 } else { numbers };
    let (first, rest) = all.split_at_mut(numbers);
    *array = rest;
    first
}

/// The lanes of a block of an array with so many rows, if there is one.
fn part<'a, T>(array: &'a [T], rows: usize, lanes: &Range<usize>) -> &'a [T] {
    if array.is_empty() { array } else { &array[rows * lanes.start..rows * lanes.end] }
}

fn part_mut<'a, T>(array: &'a mut [T], rows: usize, lanes: &Range<usize>) -> &'a mut [T] {
    if array.is_empty() { array } else { &mut array[rows * lanes.start..rows * lanes.end] }
}
