//! The instructions of a request for blocks of one width.

use std::collections::HashMap;

use super::super::differentiate::elementwise;
use super::super::graph::{Graph, Id, Input, Op};
use super::lower::{OperandSource, lower};
use super::row_allocator::RowAllocator;
use super::uniform::UniformPlan;
use super::{Destination, Liveness, Location, Reduction, Request, StoredValues, Target, UniformOutput};
use crate::kernel::instructions::{Address, Base, Instruction, Operand};
use crate::kernel::real::{Real, vector_len};

/// Where the storage of a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Storage {
    Own,
    /// From this row of another value on.
    Within(Id, usize),
    Fixed(Location),
}

/// A phase, for blocks of one width.
#[derive(Default)]
pub(super) struct EmittedPhase<T: Real> {
    pub block: Vec<Instruction<T>>,
    pub reductions: Vec<Reduction>,
    pub uniform: Vec<Instruction<T>>,
    pub outputs: Vec<UniformOutput>,
}

pub(super) struct Emitted<T: Real> {
    pub phases: Vec<EmittedPhase<T>>,
    pub products: Option<usize>,
    pub file_rows: usize,
    pub sums: usize,
}

pub(super) struct Emitter<'e, 'a, T: Real> {
    graph: &'a Graph,
    width: usize,
    uniform: &'e mut UniformPlan<'a, T>,
    storage: Vec<Storage>,
    /// The row of the file of values that are there.
    rows: HashMap<Id, usize>,
    file: RowAllocator,
    /// Rows for one instruction only.
    temporary: Vec<(usize, usize)>,
    /// How often each value is used by another, or is a result.
    uses: Vec<usize>,
    phase: usize,
}

impl<'e, 'a, T: Real> Emitter<'e, 'a, T> {
    pub fn emit(
        graph: &'a Graph,
        stored: &StoredValues<'_>,
        liveness: &Liveness,
        request: &Request,
        uniform: &'e mut UniformPlan<'a, T>,
        width: usize,
    ) -> Emitted<T> {
        let storage = storages(graph, stored, liveness, request);
        let mut uses = vec![0; graph.nodes.len()];
        graph.nodes.iter().for_each(|node| node.op.each_operand(|operand| uses[operand] += 1));
        request.outputs.iter().for_each(|output| uses[output.1] += 1);
        let mut emitter = Emitter {
            graph,
            width,
            uniform,
            storage,
            rows: HashMap::new(),
            file: RowAllocator::default(),
            temporary: vec![],
            uses,
            phase: 0,
        };
        emitter.emit_phases(stored, liveness, request)
    }

    #[inline(never)]
    fn emit_phases(&mut self, stored: &StoredValues<'_>, liveness: &Liveness, request: &Request) -> Emitted<T> {
        let graph = self.graph;
        let nodes = graph.nodes.len();
        // Sums over lanes are formed in the phase before the one in which they are known.
        let executed = |id: Id| liveness.phase[id] - usize::from(graph.nodes[id].op.reduces());
        let loaded = stored.loaded_nodes(graph, request);
        let lane_side = |id: Id| !graph.uniform(id) || graph.nodes[id].op.reduces();
        let mut order: Vec<Id> = (0..nodes)
            .filter(|&id| liveness.live[id] && !loaded[id] && lane_side(id))
            .filter(|&id| !matches!(graph.nodes[id].op, Op::Load(..)))
            .collect();
        order.sort_unstable_by_key(|&id| (executed(id), id));
        let last = self.values_by_last_use(&order, request, stored);
        let phases = (0..nodes).filter(|&id| liveness.live[id]).map(|id| liveness.phase[id]).max().unwrap_or(0) + 1;
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
                        taken = self.reuse_operand(id, last.get(&position));
                        let to = self.at(id);
                        lower(graph, id, to, graph.rows(id), self.width, self, &mut block);
                    }
                }
                self.end_instruction();
                for &dead in last.get(&position).into_iter().flatten() {
                    if let Some(row) = self.rows.remove(&dead)
                        && taken != Some(dead)
                    {
                        self.file.free(row, graph.rows(dead));
                    }
                }
                position += 1;
            }
            if phase == 0 {
                self.copy_results(stored, request, &mut block);
                products = self.products(request, &mut block);
            }
            // Uniform values that follow from the sums of earlier phases.
            let (mut uniform, mut outputs) = (Vec::new(), Vec::new());
            for id in (0..nodes).filter(|&id| graph.uniform(id) && liveness.live[id] && liveness.phase[id] == phase) {
                if phase > 0 && !graph.nodes[id].op.reduces() {
                    self.uniform.place(id);
                    uniform.extend(self.uniform.compute(id, phase));
                }
            }
            for &(target, id) in &request.outputs {
                let summed = matches!(target, Target::Parameters(_) | Target::Time);
                if summed && liveness.phase[id] == phase && self.direct(id, request).is_none() {
                    outputs.push(UniformOutput { row: self.uniform.place(id), target });
                }
            }
            let now = &mut emitted[phase];
            (now.block, now.uniform, now.outputs) = (block, uniform, outputs);
            if let Some(next) = emitted.get_mut(phase + 1) {
                next.reductions = reductions;
            }
        }
        Emitted { phases: emitted, products, file_rows: self.file.len, sums }
    }

    /// After which place in the order the storage of a value is no longer needed.
    #[inline(never)]
    fn values_by_last_use(
        &self,
        order: &[Id],
        request: &Request,
        stored: &StoredValues<'_>,
    ) -> HashMap<usize, Vec<Id>> {
        let mut last: HashMap<Id, usize> = HashMap::new();
        for (position, &id) in order.iter().enumerate() {
            last.insert(self.root(id), position);
            self.graph.nodes[id].op.each_operand(|operand| {
                if !self.graph.uniform(operand) {
                    last.insert(self.root(operand), position);
                }
            });
        }
        // Values that are copied at the end stay until then.
        let results = request.outputs.iter().map(|output| output.1);
        for id in results.chain(stored.stores(request).map(|entry| entry.0)) {
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

    #[inline(never)]
    fn location(&mut self, id: Id) -> Location {
        match self.storage[id] {
            Storage::Fixed(location) => location,
            Storage::Within(other, row) => {
                let (base, first) = self.location(other);
                (base, first + row)
            }
            Storage::Own => {
                let rows = self.graph.rows(id);
                let file = &mut self.file;
                (Base::File, *self.rows.entry(id).or_insert_with(|| file.allocate(rows)))
            }
        }
    }

    /// Lets a value that is computed row by row take the place of an operand that nothing needs any more; which, if there is one.
    #[inline(never)]
    fn reuse_operand(&mut self, id: Id, last_used: Option<&Vec<Id>>) -> Option<Id> {
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
                && last_used.is_some_and(|last_used| last_used.contains(operand))
        };
        let operand = operands.iter().copied().find(fits)?;
        let row = *self.rows.get(&operand)?;
        self.rows.insert(id, row);
        Some(operand)
    }

    fn at(&mut self, id: Id) -> Address {
        let (base, row) = self.location(id);
        Address { base, offset: row * self.width }
    }

    /// The result that a sum over lanes is, if it is nothing else.
    fn direct(&self, id: Id, request: &Request) -> Option<Target> {
        if !self.graph.nodes[id].op.reduces() || self.uses[id] != 1 {
            return None;
        }
        let mut results = request.outputs.iter().filter(|output| output.1 == id).map(|output| output.0);
        results.find(|target| matches!(target, Target::Parameters(_) | Target::Time))
    }

    #[inline(never)]
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
                        // A vector takes one row, for any matrix.
                        let stride = if place.rows == 1 { shape(0)[1] } else { place.stride };
                        (Address { base: Base::Gradient, offset: place.offset }, shape(stride))
                    }
                    other => {
                        let at = *sums;
                        *sums += rows;
                        let to = match other {
                            Some(target) => Destination::Result(target),
                            None => Destination::Uniform(self.uniform.place(id)),
                        };
                        reductions.push(Reduction { at, rows, plain: true, to });
                        (Address { base: Base::Sums, offset: at }, shape(graph.rows(b) / points))
                    }
                };
                let (a, b) = (self.lanes(a, block), self.lanes(b, block));
                block.push(Instruction::outer_lanes(to, a, b, shape, points * width));
            }
            Op::SumLanes(a) | Op::DotLanes(a, _) => {
                let b = if let Op::DotLanes(_, b) = graph.nodes[id].op { Some(self.lanes(b, block)) } else { None };
                let a = self.lanes(a, block);
                let direct = self.direct(id, request);
                // The sum over one lane is that lane.
                if let (1, Some(Target::Parameters(place))) = (width, direct)
                    && place.rows == 1
                {
                    let to = Address { base: Base::Gradient, offset: place.offset };
                    block.push(Instruction::accumulate(to, a, b, rows, 1));
                    return;
                }
                let at = *sums;
                *sums += if width == 1 { rows } else { rows * vector_len::<T>() };
                let to = match direct {
                    Some(target) => Destination::Result(target),
                    None => Destination::Uniform(self.uniform.place(id)),
                };
                reductions.push(Reduction { at, rows, plain: width == 1, to });
                let sums = Address { base: Base::Sums, offset: at };
                block.push(match width {
                    1 => Instruction::accumulate(sums, a, b, rows, 1),
                    _ => Instruction::sum_lanes(sums, a, b, rows, width),
                });
            }
            _ => unreachable!("not a sum over lanes"),
        }
    }

    /// Copies of results that do not lie where they are wanted.
    #[inline(never)]
    fn copy_results(&mut self, stored: &StoredValues<'_>, request: &Request, block: &mut Vec<Instruction<T>>) {
        for (id, (base, row)) in stored.stores(request) {
            let to = Address { base, offset: row * self.width };
            let rows = self.graph.rows(id);
            let from = self.operand(id, rows);
            if from.uniform || from.at != to {
                block.push(Instruction::copy(to, from, rows, self.width));
            }
        }
        for &(target, id) in &request.outputs {
            if target == Target::ArgumentCotangents {
                let from = self.lanes(id, block);
                let to = Address { base: Base::ArgumentCotangents, offset: 0 };
                block.push(Instruction::accumulate(to, from, None, self.graph.rows(id), self.width));
                self.end_instruction();
            }
        }
    }

    /// The row of the file where f lies for products with it: copied there if it is an input, on a tape or uniform.
    #[inline(never)]
    fn products(&mut self, request: &Request, block: &mut Vec<Instruction<T>>) -> Option<usize> {
        let id = request.outputs.iter().find(|output| output.0 == Target::Products)?.1;
        let rows = self.graph.rows(id);
        let from = self.operand(id, rows);
        if from.at.base == Base::File {
            return Some(from.at.offset / self.width);
        }
        let row = self.file.allocate(rows);
        let to = Address { base: Base::File, offset: row * self.width };
        block.push(Instruction::copy(to, from, rows, self.width));
        Some(row)
    }

    #[inline(never)]
    fn end_instruction(&mut self) {
        for (row, rows) in self.temporary.drain(..) {
            self.file.free(row, rows);
        }
    }
}

impl<T: Real> OperandSource<T> for Emitter<'_, '_, T> {
    #[inline(never)]
    fn operand(&mut self, id: Id, rows: usize) -> Operand {
        let own = self.graph.rows(id);
        match self.graph.uniform(id) {
            true if self.width == 1 => Operand::of_one_lane(self.uniform.at(id), own, rows),
            false if self.width == 1 => Operand::of_one_lane(self.at(id), own, rows),
            true => Operand { at: self.uniform.at(id), uniform: true, broadcast: own == 1 },
            false => Operand { at: self.at(id), uniform: false, broadcast: own == 1 && rows > 1 },
        }
    }

    fn lanes(&mut self, id: Id, out: &mut Vec<Instruction<T>>) -> Address {
        if !self.graph.uniform(id) {
            return self.at(id);
        }
        if self.width == 1 {
            return self.uniform.at(id);
        }
        let rows = self.graph.rows(id);
        let row = self.file.allocate(rows);
        self.temporary.push((row, rows));
        let to = Address { base: Base::File, offset: row * self.width };
        let from = self.operand(id, rows);
        out.push(Instruction::copy(to, from, rows, self.width));
        to
    }

    fn uniform(&mut self, id: Id) -> Address {
        self.uniform.at(id)
    }

    fn by_columns(&self) -> bool {
        self.uniform.by_columns
    }

    fn pack(&mut self, w: Id, inner: usize, transposed: bool) -> usize {
        self.uniform.pack(w, inner, transposed, self.phase)
    }
}

/// Where each value is stored: results where they are wanted, parts within what they are joined to, slices within their sources.
pub(super) fn storages(
    graph: &Graph,
    stored: &StoredValues<'_>,
    liveness: &Liveness,
    request: &Request,
) -> Vec<Storage> {
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
    for (id, location) in stored.loads(request) {
        storage[id] = Storage::Fixed(location);
        placed[id] = true;
    }
    for (id, location) in stored.stores(request) {
        if !placed[id] && !graph.uniform(id) {
            storage[id] = Storage::Fixed(location);
            placed[id] = true;
        }
    }
    let loaded = stored.loaded_nodes(graph, request);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let Op::Concat(parts) = &node.op else { continue };
        if !liveness.live[id] || graph.uniform(id) || loaded[id] {
            continue;
        }
        let mut at = 0;
        for &part in parts {
            let same_phase = liveness.phase[part] == liveness.phase[id];
            if !placed[part] && !graph.uniform(part) && same_phase {
                storage[part] = Storage::Within(id, at);
                placed[part] = true;
            }
            at += graph.rows(part);
        }
    }
    storage
}
