//! Instructions: one kernel each, chosen when a program is planned, with where its operands lie.
//!
//! A value of a block is `[rows][lanes]`, so that what works row by row is one long loop. A uniform value is `[rows]`: one number for
//! all lanes. In a block of one lane both are the same.

mod kernels;

use std::marker::PhantomData;
use std::sync::Arc;

use super::functions::{Binary, Unary};
use super::prefetch::Prefetcher;
use super::product::{Packed, outer_scratch, strip_scratch};
use super::real::{Real, vector_len};
use kernels::*;

/// The arrays that operands lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Base {
    /// Values of a block that live within it.
    File,
    /// Uniform values, `[row]`.
    Uniform,
    /// Sums over lanes, `[row][register]`, and matrices of them.
    Sums,
    /// The gradient of the parameters, flat.
    Gradient,
    // What follows has a block's rows.
    State,
    Arguments,
    Data,
    Cotangent,
    /// Values of a trajectory that stay the same for a whole solve.
    Invariant,
    Tape,
    Value,
    StateCotangent,
    ArgumentCotangents,
}

/// The number of bases.
const BASES: usize = 13;

/// An address: a base, and an offset from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub base: Base,
    /// Numbers from its beginning.
    pub offset: usize,
}

/// How an operand is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    pub at: Address,
    /// Whether a row is one number for all lanes.
    pub uniform: bool,
    /// Whether one row serves all.
    pub broadcast: bool,
}

impl Operand {
    /// Reads rows of one lane each; an operand of one row is broadcast to all `rows` rows.
    pub fn of_one_lane(at: Address, operand_rows: usize, rows: usize) -> Self {
        let broadcast = operand_rows == 1 && rows > 1;
        Self { at, uniform: broadcast, broadcast }
    }
}

/// A kernel with its operands.
#[derive(Debug, Clone, Copy)]
pub struct Instruction<T: Real> {
    kernel: Kernel<T>,
    to: Address,
    from: [Address; 4],
    /// Numbers between rows of an operand, and whether it is uniform.
    row: [usize; 4],
    uniform: [bool; 4],
    rows: usize,
    /// Numbers in a row.
    len: usize,
    /// What else the kernel has to know.
    shape: [usize; 4],
    /// Numbers from where it writes, and from where each operand begins, to the last that it uses.
    spans: [usize; 5],
    /// The matrix that it needs: its index, rows and depth.
    pack: Option<(usize, usize, usize)>,
    /// Numbers of scratch that it needs.
    scratch: usize,
    /// Multiply–adds of registers, of a product.
    products: usize,
}

/// What a block's instructions work on.
struct Context<'a, T> {
    bases: &'a [*mut T; BASES],
    packs: &'a [Arc<Packed<T>>],
    scratch: *mut T,
    scratch_len: usize,
    samples: usize,
    prefetcher: &'a Prefetcher,
}

impl<T> Context<'_, T> {
    #[inline(always)]
    fn at(&self, at: Address) -> *mut T {
        // SAFETY: an instruction's places lie in its bases, as `Code::run` has checked.
        unsafe { self.bases[at.base as usize].add(at.offset) }
    }
}

/// The arrays of a block, by base.
#[derive(Debug)]
pub struct Bases<'a, T> {
    pointers: [*mut T; BASES],
    lengths: [usize; BASES],
    writable: [bool; BASES],
    /// What the next blocks read or write.
    upcoming: *const [T],
    borrowed: PhantomData<&'a mut T>,
}

impl<'a, T> Bases<'a, T> {
    /// Without any.
    pub fn none() -> Self {
        let pointer = std::ptr::NonNull::dangling().as_ptr();
        Self {
            pointers: [pointer; BASES],
            lengths: [0; BASES],
            writable: [false; BASES],
            upcoming: std::ptr::slice_from_raw_parts(pointer, 0),
            borrowed: PhantomData,
        }
    }

    /// Adds an array that is only read.
    #[inline(always)]
    pub fn read(&mut self, base: Base, numbers: &'a [T]) {
        self.pointers[base as usize] = numbers.as_ptr().cast_mut();
        self.lengths[base as usize] = numbers.len();
    }

    /// Adds an array that may be written.
    #[inline(always)]
    pub fn write(&mut self, base: Base, numbers: &'a mut [T]) {
        self.pointers[base as usize] = numbers.as_mut_ptr();
        self.lengths[base as usize] = numbers.len();
        self.writable[base as usize] = true;
    }

    /// Sets what the next blocks read or write, to be prefetched; it is not accessed.
    #[inline(always)]
    pub fn set_upcoming(&mut self, numbers: *const [T]) {
        self.upcoming = numbers;
    }
}

/// Instructions in order, with how much they need.
#[derive(Debug)]
pub struct Code<T: Real> {
    instructions: Vec<Instruction<T>>,
    /// The bases that are used: numbers up to the last, and whether it is written.
    needs: Vec<(Base, usize, bool)>,
    /// The packs, by index: rows and depth.
    packs: Vec<Option<(usize, usize)>>,
    scratch: usize,
    /// Multiply–adds of registers in its products.
    products: usize,
}

impl<T: Real> Code<T> {
    pub fn new(instructions: Vec<Instruction<T>>) -> Self {
        let mut code = Self { instructions, needs: Vec::new(), packs: Vec::new(), scratch: 0, products: 0 };
        for instruction in &code.instructions {
            let places = std::iter::once((&instruction.to, true)).chain(instruction.from.iter().map(|at| (at, false)));
            for ((place, writes), span) in places.zip(instruction.spans).filter(|(_, span)| *span > 0) {
                let end = place.offset + span;
                match code.needs.iter_mut().find(|need| need.0 == place.base) {
                    Some(need) => (need.1, need.2) = (need.1.max(end), need.2 || writes),
                    None => code.needs.push((place.base, end, writes)),
                }
            }
            if let Some((index, rows, depth)) = instruction.pack {
                code.packs.resize(code.packs.len().max(index + 1), None);
                code.packs[index] = Some((rows, depth));
            }
            code.scratch = code.scratch.max(instruction.scratch);
            code.products += instruction.products;
        }
        code
    }

    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// Numbers of scratch that it needs.
    pub fn scratch(&self) -> usize {
        self.scratch
    }

    /// Runs a block of which this number of lanes are samples.
    ///
    /// # Panics
    /// If an array or a pack is missing or too small.
    pub fn run(&self, arrays: &Bases<'_, T>, packs: &[Arc<Packed<T>>], scratch: &mut [T], samples: usize) {
        for &(base, numbers, writes) in &self.needs {
            let base = base as usize;
            assert!(numbers <= arrays.lengths[base] && (arrays.writable[base] || !writes), "an array is too short");
        }
        assert!(self.scratch <= scratch.len() && self.packs.len() <= packs.len(), "scratch and packs");
        let fits = |(need, pack): (&Option<_>, &Arc<Packed<T>>)| need.is_none_or(|need| need == pack.shape());
        assert!(self.packs.iter().zip(packs).all(fits), "a pack has another shape");
        let context = Context {
            bases: &arrays.pointers,
            packs,
            scratch: scratch.as_mut_ptr(),
            scratch_len: scratch.len(),
            samples,
            prefetcher: &Prefetcher::over(arrays.upcoming, self.products),
        };
        for instruction in &self.instructions {
            // SAFETY: every place lies within its base, and what is written may be.
            unsafe { (instruction.kernel)(instruction, &context) }
        }
    }
}

impl<T: Real> Instruction<T> {
    fn new(kernel: Kernel<T>, to: Address, operands: &[Operand], rows: usize, len: usize) -> Self {
        let unused = Address { base: Base::File, offset: 0 };
        let mut new = Self {
            kernel,
            to,
            from: [unused; 4],
            row: [0; 4],
            uniform: [false; 4],
            rows,
            len,
            shape: [0; 4],
            spans: [rows * len, 0, 0, 0, 0],
            pack: None,
            scratch: 0,
            products: 0,
        };
        for (index, operand) in operands.iter().enumerate() {
            new.from[index] = operand.at;
            new.uniform[index] = operand.uniform;
            new.row[index] = match (operand.broadcast, operand.uniform) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => len,
            };
            let last = if operand.uniform { 1 } else { len };
            new.spans[index + 1] = (rows - 1) * new.row[index] + last;
        }
        new
    }

    /// One loop in place of one a row, where all operands go on evenly.
    fn flat(mut self, operands: &[Operand]) -> Self {
        if operands.iter().all(|operand| operand.uniform == operand.broadcast || self.rows == 1) {
            self.len *= self.rows;
            self.rows = 1;
        }
        self
    }

    /// a as it is, in all lanes and rows.
    pub fn copy(to: Address, a: Operand, rows: usize, len: usize) -> Self {
        Self::new(of_copy(a.uniform), to, &[a], rows, len).flat(&[a])
    }

    /// f(a), row by row.
    pub fn unary(function: Unary, to: Address, a: Operand, rows: usize, len: usize) -> Self {
        let kernel = of_unary(function);
        Self::new(kernel, to, &[a], rows, len).flat(&[a])
    }

    /// f(a, b), row by row.
    pub fn binary(function: Binary, to: Address, a: Operand, b: Operand, rows: usize, len: usize) -> Self {
        let kernel = of_binary(function, a.uniform, b.uniform);
        Self::new(kernel, to, &[a, b], rows, len).flat(&[a, b])
    }

    /// a·b + c, or c − a·b.
    pub fn multiply_add(negated: bool, to: Address, mut operands: [Operand; 3], rows: usize, len: usize) -> Self {
        if operands[1].uniform {
            operands.swap(0, 1);
        }
        let uniform = operands.map(|operand| operand.uniform);
        let kernel = if negated { of_multiply_add::<T, true>(uniform) } else { of_multiply_add::<T, false>(uniform) };
        Self::new(kernel, to, &operands, rows, len).flat(&operands)
    }

    /// `then` where a < b, or a ≤ b, else `otherwise`.
    pub fn select(or_equal: bool, to: Address, operands: [Operand; 4], rows: usize, len: usize) -> Self {
        let kernel = if or_equal { kernel::<T, Select<true>>() } else { kernel::<T, Select<false>>() };
        Self::new(kernel, to, &operands, rows, len).flat(&operands)
    }

    /// `[n]` to `[outer][n][inner]`; `n` are the rows.
    pub fn spread(to: Address, a: Operand, (outer, inner): (usize, usize), rows: usize, len: usize) -> Self {
        let kernel = if a.uniform { kernel::<T, Spread<true>>() } else { kernel::<T, Spread<false>>() };
        let new = Self::new(kernel, to, &[a], rows, len);
        let spans = [outer * rows * inner * len, new.spans[1], 0, 0, 0];
        Self { shape: [outer, inner, 0, 0], spans, ..new }
    }

    /// `[outer][n][inner]` to `[n]`; `n` are the rows.
    pub fn sum(to: Address, a: Operand, (outer, inner): (usize, usize), rows: usize, len: usize) -> Self {
        let spans = [rows * len, outer * rows * inner * len, 0, 0, 0];
        Self { shape: [outer, inner, 0, 0], spans, ..Self::new(kernel::<T, Sum>(), to, &[a], rows, len) }
    }

    /// The packed matrix of an index, with its rows and depth, times a block `[depth][len]`; it may be packed for one lane.
    pub fn dense(
        (pack, rows, depth): (usize, usize, usize),
        by_columns: bool,
        to: Address,
        x: Address,
        shift: Option<Address>,
        len: usize,
    ) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let operands = [operand(x), operand(shift.unwrap_or(x))];
        let shifts = if shift.is_some() { rows } else { 0 };
        Self {
            shape: [pack, usize::from(shift.is_some()), 0, 0],
            spans: [rows * len, depth * len, shifts, 0, 0],
            pack: Some((pack, rows, depth)),
            scratch: if by_columns { 0 } else { strip_scratch::<T>(depth, len) },
            products: rows * depth * len / vector_len::<T>(),
            ..Self::new(kernel::<T, Dense>(), to, &operands, 1, len)
        }
    }

    /// Matrices `[rows][columns]` for each lane, with vectors at some points: a product, that of the transpose, or the sum of outer products
    /// that gives it.
    pub fn contract(kind: Contraction, to: Address, a: Address, b: Address, shape: [usize; 3], len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let kernel = match kind {
            Contraction::MatVec => kernel::<T, MatVec>(),
            Contraction::MatVecTransposed => kernel::<T, MatVecTransposed>(),
            Contraction::Outer => kernel::<T, Outer>(),
        };
        let [rows, columns, points] = shape;
        let (matrix, left, right) = (rows * columns, rows * points, columns * points);
        let [first, second, third] = match kind {
            Contraction::MatVec => [left, matrix, right],
            Contraction::MatVecTransposed => [right, matrix, left],
            Contraction::Outer => [matrix, left, right],
        };
        let spans = [first * len, second * len, third * len, 0, 0];
        Self { shape: [rows, columns, points, 0], spans, ..Self::new(kernel, to, &[operand(a), operand(b)], 1, len) }
    }

    /// Adds the sums of a's rows, or of a·b's, over the lanes that are samples to registers.
    pub fn sum_lanes(to: Address, a: Address, b: Option<Address>, rows: usize, len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let kernel = if b.is_some() { kernel::<T, SumLanes<true>>() } else { kernel::<T, SumLanes<false>>() };
        let new = Self::new(kernel, to, &[operand(a), operand(b.unwrap_or(a))], rows, len);
        Self { spans: [rows * vector_len::<T>(), rows * len, rows * len, 0, 0], ..new }
    }

    /// Adds Σ a bᵀ over lanes to a matrix `[rows, columns]` of that stride.
    pub fn outer_lanes(to: Address, a: Address, b: Address, [rows, columns, stride]: [usize; 3], len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let spans = [(rows - 1) * stride + columns, rows * len, columns * len, 0, 0];
        Self {
            shape: [rows, columns, stride, 0],
            spans,
            scratch: outer_scratch::<T>(len),
            products: rows * columns * len / vector_len::<T>(),
            ..Self::new(kernel::<T, OuterLanes>(), to, &[operand(a), operand(b)], 1, len)
        }
    }

    /// Adds a, or a·b, row by row.
    pub fn accumulate(to: Address, a: Address, b: Option<Address>, rows: usize, len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let kernel = if b.is_some() { kernel::<T, Accumulate<true>>() } else { kernel::<T, Accumulate<false>>() };
        Self::new(kernel, to, &[operand(a), operand(b.unwrap_or(a))], 1, rows * len)
    }
}

/// Products of a matrix per trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contraction {
    MatVec,
    MatVecTransposed,
    Outer,
}
