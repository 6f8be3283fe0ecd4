//! Instructions: one kernel each, chosen when a program is planned, with where its operands lie.
//!
//! A value of a block is `[rows][lanes]`, so that what works row by row is one long loop. A uniform value is `[rows][register]`: the
//! same number in all lanes of one register, read again for every register of a block.

use std::marker::PhantomData;

use super::math;
use super::product::{Packed, add_outer, outer_scratch, strip_scratch};
use super::real::{Real, vector_len};
use super::simd::{Several, Vector};

/// What operands lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Base {
    /// Values of a block that live within it.
    File,
    /// Uniform values, `[row][register]`.
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
    /// What a trajectory has for a whole solve.
    Steady,
    Tape,
    Value,
    StateCotangent,
    ArgumentCotangents,
}

/// How many there are.
const BASES: usize = 13;

/// A place in one of the bases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub base: Base,
    /// Numbers from its beginning.
    pub offset: usize,
}

/// How an operand is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    pub at: At,
    /// Whether a row is one register for all lanes.
    pub uniform: bool,
    /// Whether one row serves all.
    pub broadcast: bool,
}

/// A kernel with its operands.
#[derive(Debug, Clone, Copy)]
pub struct Instruction<T: Real> {
    kernel: unsafe fn(&Instruction<T>, &Context<T>),
    to: At,
    from: [At; 4],
    /// Numbers between rows of an operand, and between its registers.
    row: [usize; 4],
    lane: [usize; 4],
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
}

/// What a block's instructions work on.
struct Context<'a, T> {
    bases: [*mut T; BASES],
    packs: &'a [Packed<T>],
    scratch: *mut T,
    scratch_len: usize,
    samples: usize,
}

impl<T> Context<'_, T> {
    #[inline(always)]
    fn at(&self, at: At) -> *mut T {
        // SAFETY: an instruction's places lie in its bases, as `Code::run` has checked.
        unsafe { self.bases[at.base as usize].add(at.offset) }
    }
}

/// The arrays of a block, by base.
#[derive(Debug)]
pub struct Arrays<'a, T> {
    pointers: [*mut T; BASES],
    lengths: [usize; BASES],
    writable: [bool; BASES],
    borrowed: PhantomData<&'a mut T>,
}

impl<'a, T> Arrays<'a, T> {
    /// Without any.
    pub fn none() -> Self {
        let pointer = std::ptr::NonNull::dangling().as_ptr();
        Self { pointers: [pointer; BASES], lengths: [0; BASES], writable: [false; BASES], borrowed: PhantomData }
    }

    /// With an array that is only read.
    pub fn reading(mut self, base: Base, numbers: &'a [T]) -> Self {
        self.pointers[base as usize] = numbers.as_ptr().cast_mut();
        self.lengths[base as usize] = numbers.len();
        self
    }

    /// With an array that may be written.
    pub fn writing(mut self, base: Base, numbers: &'a mut [T]) -> Self {
        self.pointers[base as usize] = numbers.as_mut_ptr();
        self.lengths[base as usize] = numbers.len();
        self.writable[base as usize] = true;
        self
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
}

impl<T: Real> Code<T> {
    pub fn new(instructions: Vec<Instruction<T>>) -> Self {
        let mut code = Self { instructions, needs: Vec::new(), packs: Vec::new(), scratch: 0 };
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

    /// Runs a block of which so many lanes are samples.
    ///
    /// # Panics
    /// If an array or a pack is missing or too small.
    pub fn run(&self, arrays: Arrays<'_, T>, packs: &[Packed<T>], scratch: &mut [T], samples: usize) {
        for &(base, numbers, writes) in &self.needs {
            let base = base as usize;
            assert!(numbers <= arrays.lengths[base] && (arrays.writable[base] || !writes), "an array is too short");
        }
        assert!(self.scratch <= scratch.len() && self.packs.len() <= packs.len(), "scratch and packs");
        debug_assert!(self.packs.iter().zip(packs).all(|(need, pack)| need.is_none_or(|need| need == pack.shape())));
        let context = Context {
            bases: arrays.pointers,
            packs,
            scratch: scratch.as_mut_ptr(),
            scratch_len: scratch.len(),
            samples,
        };
        for instruction in &self.instructions {
            // SAFETY: every place lies within its base, and what is written may be.
            unsafe { (instruction.kernel)(instruction, &context) }
        }
    }
}

impl<T: Real> Instruction<T> {
    fn new(kernel: unsafe fn(&Self, &Context<T>), to: At, operands: &[Operand], rows: usize, len: usize) -> Self {
        let unused = At { base: Base::File, offset: 0 };
        let mut new = Self {
            kernel,
            to,
            from: [unused; 4],
            row: [0; 4],
            lane: [0; 4],
            rows,
            len,
            shape: [0; 4],
            spans: [rows * len, 0, 0, 0, 0],
            pack: None,
            scratch: 0,
        };
        for (index, operand) in operands.iter().enumerate() {
            new.from[index] = operand.at;
            new.lane[index] = usize::from(!operand.uniform);
            new.row[index] = match (operand.broadcast, operand.uniform) {
                (true, _) => 0,
                (false, true) => vector_len::<T>(),
                (false, false) => len,
            };
            let last = if operand.uniform { vector_len::<T>() } else { len };
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

    /// f(a), row by row.
    pub fn unary(function: Function, to: At, a: Operand, rows: usize, len: usize) -> Self {
        use Function as F;
        let kernel = match function {
            F::Copy if a.uniform => copy::<T, true>,
            F::Copy => copy::<T, false>,
            F::Neg => unary::<T, Neg>,
            F::Abs => unary::<T, Abs>,
            F::Sign => unary::<T, Sign>,
            F::Relu => unary::<T, Relu>,
            F::Elu => costly::<T, Elu>,
            F::Tanh => costly::<T, Tanh>,
            F::Sigmoid => costly::<T, Sigmoid>,
            F::Softplus => costly::<T, Softplus>,
            F::NormalCdf => costly::<T, NormalCdf>,
            F::Sqrt => unary::<T, Sqrt>,
            F::Exp => costly::<T, Exp>,
            F::Expm1 => costly::<T, Expm1>,
            F::Log => costly::<T, Log>,
            F::Log1p => costly::<T, Log1p>,
            F::Sin => costly::<T, Sin>,
            F::Cos => costly::<T, Cos>,
            F::Tan => costly::<T, Tan>,
            F::Asin => costly::<T, Asin>,
            F::Acos => costly::<T, Acos>,
            F::Atan => costly::<T, Atan>,
            F::Sinh => costly::<T, Sinh>,
            F::Cosh => costly::<T, Cosh>,
        };
        Self::new(kernel, to, &[a], rows, len).flat(&[a])
    }

    /// f(a, b), row by row.
    pub fn binary(function: Function2, to: At, a: Operand, b: Operand, rows: usize, len: usize) -> Self {
        use Function2 as F;
        let kernel = match function {
            F::Add => binary_form::<T, Add>(a.uniform, b.uniform),
            F::Sub => binary_form::<T, Sub>(a.uniform, b.uniform),
            F::Mul => binary_form::<T, Mul>(a.uniform, b.uniform),
            F::Div => binary_form::<T, Div>(a.uniform, b.uniform),
            F::Min => binary_form::<T, Min>(a.uniform, b.uniform),
            F::Max => binary_form::<T, Max>(a.uniform, b.uniform),
            F::Pow => costly2::<T, Pow>,
            F::Atan2 => costly2::<T, Atan2>,
        };
        Self::new(kernel, to, &[a, b], rows, len).flat(&[a, b])
    }

    /// a·b + c, or c − a·b.
    pub fn multiply_add(negated: bool, to: At, mut operands: [Operand; 3], rows: usize, len: usize) -> Self {
        if operands[1].uniform {
            operands.swap(0, 1);
        }
        let [a, b, c] = operands.map(|operand| operand.uniform);
        let kernel = if negated { ternary_form::<T, true>(a, b, c) } else { ternary_form::<T, false>(a, b, c) };
        Self::new(kernel, to, &operands, rows, len).flat(&operands)
    }

    /// `then` where a < b, or a ≤ b, else `otherwise`.
    pub fn select(or_equal: bool, to: At, operands: [Operand; 4], rows: usize, len: usize) -> Self {
        let kernel = if or_equal { select::<T, true> } else { select::<T, false> };
        Self::new(kernel, to, &operands, rows, len).flat(&operands)
    }

    /// `[n]` to `[outer][n][inner]`; `n` are the rows.
    pub fn spread(to: At, a: Operand, (outer, inner): (usize, usize), rows: usize, len: usize) -> Self {
        let kernel = if a.uniform { spread::<T, true> } else { spread::<T, false> };
        let new = Self::new(kernel, to, &[a], rows, len);
        let spans = [outer * rows * inner * len, new.spans[1], 0, 0, 0];
        Self { shape: [outer, inner, 0, 0], spans, ..new }
    }

    /// `[outer][n][inner]` to `[n]`; `n` are the rows.
    pub fn sum(to: At, a: Operand, (outer, inner): (usize, usize), rows: usize, len: usize) -> Self {
        let spans = [rows * len, outer * rows * inner * len, 0, 0, 0];
        Self { shape: [outer, inner, 0, 0], spans, ..Self::new(sum::<T>, to, &[a], rows, len) }
    }

    /// The packed matrix of an index, with its rows and depth, times a block `[depth][len]`.
    pub fn dense((pack, rows, depth): (usize, usize, usize), to: At, x: At, shift: Option<At>, len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let operands = [operand(x), operand(shift.unwrap_or(x))];
        let shifts = if shift.is_some() { rows * vector_len::<T>() } else { 0 };
        Self {
            shape: [pack, usize::from(shift.is_some()), 0, 0],
            spans: [rows * len, depth * len, shifts, 0, 0],
            pack: Some((pack, rows, depth)),
            scratch: strip_scratch::<T>(depth),
            ..Self::new(dense::<T>, to, &operands, 1, len)
        }
    }

    /// Of `[rows][columns]` for each lane, with vectors at some points: a product, that of the transpose, or the sum of outer products
    /// that gives it.
    pub fn contract(kind: Contraction, to: At, a: At, b: At, shape: [usize; 3], len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let kernel = match kind {
            Contraction::MatVec => mat_vec::<T>,
            Contraction::MatVecTransposed => mat_vec_transposed::<T>,
            Contraction::Outer => outer::<T>,
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
    pub fn sum_lanes(to: At, a: At, b: Option<At>, rows: usize, len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let kernel = if b.is_some() { sum_lanes::<T, true> } else { sum_lanes::<T, false> };
        let new = Self::new(kernel, to, &[operand(a), operand(b.unwrap_or(a))], rows, len);
        Self { spans: [rows * vector_len::<T>(), rows * len, rows * len, 0, 0], ..new }
    }

    /// Adds Σ a bᵀ over lanes to a matrix `[rows, columns]` of that stride.
    pub fn outer_lanes(to: At, a: At, b: At, [rows, columns, stride]: [usize; 3], len: usize) -> Self {
        let operand = |at| Operand { at, uniform: false, broadcast: false };
        let spans = [(rows - 1) * stride + columns, rows * len, columns * len, 0, 0];
        Self {
            shape: [rows, columns, stride, 0],
            spans,
            scratch: outer_scratch::<T>(len),
            ..Self::new(outer_lanes::<T>, to, &[operand(a), operand(b)], 1, len)
        }
    }

    /// Adds a row by row.
    pub fn accumulate(to: At, a: At, rows: usize, len: usize) -> Self {
        let operand = Operand { at: a, uniform: false, broadcast: false };
        Self::new(accumulate::<T>, to, &[operand], 1, rows * len)
    }
}

/// Functions of one number that instructions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Copy,
    Neg,
    Abs,
    Sign,
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Sigmoid,
    Softplus,
    Relu,
    Elu,
    NormalCdf,
}

/// Functions of two numbers that instructions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function2 {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Atan2,
    Min,
    Max,
}

/// Products of a matrix per trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contraction {
    MatVec,
    MatVecTransposed,
    Outer,
}

/// Registers that loops take at a time, so that their operations hide each other's latency.
type Four<T> = Several<<T as super::simd::Lanes>::Vector, 4>;

/// Calls `four` and then `one` for the first number of each strip of four registers and of each register left.
#[inline(always)]
fn strips<T: Real>(len: usize, mut four: impl FnMut(usize), mut one: impl FnMut(usize)) {
    let register = vector_len::<T>();
    let mut at = 0;
    while at + 4 * register <= len {
        four(at);
        at += 4 * register;
    }
    while at < len {
        one(at);
        at += register;
    }
}

trait F1 {
    fn call<T: Real, V: Vector<T>>(a: V) -> V;
}
trait F2 {
    fn call<T: Real, V: Vector<T>>(a: V, b: V) -> V;
}

macro_rules! functions {
    ($kind:ident: $($name:ident($($x:ident),+) = $body:expr;)+) => {
        $(
            struct $name;
            impl $kind for $name {
                #[inline(always)]
                fn call<T: Real, V: Vector<T>>($($x: V),+) -> V {
                    $body
                }
            }
        )+
    };
}

functions! { F1:
    Neg(a) = a.neg();
    Abs(a) = a.abs();
    Sign(a) = {
        let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
        let signed = a.select_less(zero, zero.sub(one), a.mul(zero));
        zero.select_less(a, one, signed)
    };
    Relu(a) = a.at_least(V::splat(T::zero()));
    Elu(a) = V::splat(T::zero()).select_less(a, a, math::expm1_negative(a));
    Tanh(a) = math::tanh(a);
    Sigmoid(a) = math::sigmoid(a);
    Softplus(a) = math::softplus(a);
    NormalCdf(a) = math::normal(a).0;
    Sqrt(a) = a.sqrt();
    Exp(a) = math::exp(a);
    Expm1(a) = math::expm1(a);
    Log(a) = math::log(a);
    Log1p(a) = math::log1p(a);
    Sin(a) = math::sin_cos_anywhere(a).0;
    Cos(a) = math::sin_cos_anywhere(a).1;
    Tan(a) = math::tan_anywhere(a);
    Asin(a) = math::asin(a);
    Acos(a) = math::acos(a);
    Atan(a) = math::atan(a);
    Sinh(a) = math::sinh(a);
    Cosh(a) = math::cosh(a);
}

functions! { F2:
    Add(a, b) = a.add(b);
    Sub(a, b) = a.sub(b);
    Mul(a, b) = a.mul(b);
    Div(a, b) = a.div(b);
    Min(a, b) = a.at_most(b);
    Max(a, b) = a.at_least(b);
    Pow(a, b) = math::pow(a, b);
    Atan2(a, b) = math::atan2(a, b);
}

unsafe fn unary<T: Real, F: F1>(i: &Instruction<T>, c: &Context<T>) {
    let (from, to) = (c.at(i.from[0]), c.at(i.to));
    // SAFETY: as `Code::run` has checked.
    unsafe {
        strips::<T>(
            i.len,
            |at| F::call(Four::<T>::load(from.add(at))).store(to.add(at)),
            |at| F::call(T::Vector::load(from.add(at))).store(to.add(at)),
        );
    }
}

/// Functions that cost much more than a load: always by four registers, so that they exist once.
unsafe fn costly<T: Real, F: F1>(i: &Instruction<T>, c: &Context<T>) {
    let (from, to) = (c.at(i.from[0]).cast_const(), c.at(i.to));
    let step = <Four<T> as Vector<T>>::LEN;
    const { assert!(<Four<T> as Vector<T>>::LEN <= MOST) };
    let whole = i.len / step * step;
    let left = i.len - whole;
    let mut rest = [T::zero(); MOST];
    let (rest_from, rest_to) = (rest.as_ptr(), rest.as_mut_ptr());
    // SAFETY: as `Code::run` has checked; what is left fits into four registers.
    unsafe {
        std::ptr::copy_nonoverlapping(from.add(whole), rest_to, left);
        let passes = [(from, to, whole), (rest_from, rest_to, if left > 0 { step } else { 0 })];
        for (source, target, len) in passes {
            for at in (0..len).step_by(step) {
                F::call(Four::<T>::load(source.add(at))).store(target.add(at));
            }
        }
        std::ptr::copy_nonoverlapping(rest_from, to.add(whole), left);
    }
}

/// As [`costly`], of two numbers.
unsafe fn costly2<T: Real, F: F2>(i: &Instruction<T>, c: &Context<T>) {
    let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    let step = <Four<T> as Vector<T>>::LEN;
    for row in 0..i.rows {
        for at in (0..i.len).step_by(step) {
            // SAFETY: as `Code::run` has checked; the first number of a uniform register serves all.
            unsafe {
                let count = step.min(i.len - at);
                let [mut left, mut right] = [[T::one(); MOST]; 2];
                for lane in 0..count {
                    left[lane] = *a.add(row * i.row[0] + (at + lane) * i.lane[0]);
                    right[lane] = *b.add(row * i.row[1] + (at + lane) * i.lane[1]);
                }
                F::call(Four::<T>::load(left.as_ptr()), Four::<T>::load(right.as_ptr())).store(left.as_mut_ptr());
                std::ptr::copy_nonoverlapping(left.as_ptr(), to.add(row * i.len + at), count);
            }
        }
    }
}

/// The most numbers that four registers hold on any target.
const MOST: usize = 32;

/// An operand's registers: its own, or the one that serves all lanes.
#[inline(always)]
unsafe fn load<T: Real, V: Vector<T>, const UNIFORM: bool>(from: *const T, at: usize) -> V {
    unsafe { if UNIFORM { V::splat(*from) } else { V::load(from.add(at)) } }
}

unsafe fn copy<T: Real, const UNIFORM: bool>(i: &Instruction<T>, c: &Context<T>) {
    let (a, to) = (c.at(i.from[0]), c.at(i.to));
    for row in 0..i.rows {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let (a, to) = (a.add(row * i.row[0]), to.add(row * i.len));
            strips::<T>(
                i.len,
                |at| load::<T, Four<T>, UNIFORM>(a, at).store(to.add(at)),
                |at| load::<T, T::Vector, UNIFORM>(a, at).store(to.add(at)),
            );
        }
    }
}

type Kernel<T> = unsafe fn(&Instruction<T>, &Context<T>);

fn binary_form<T: Real, F: F2>(a: bool, b: bool) -> Kernel<T> {
    match (a, b) {
        (false, false) => binary::<T, F, false, false>,
        (true, false) => binary::<T, F, true, false>,
        (false, true) => binary::<T, F, false, true>,
        (true, true) => unreachable!("what is made of uniform values alone is uniform"),
    }
}

unsafe fn binary<T: Real, F: F2, const A: bool, const B: bool>(i: &Instruction<T>, c: &Context<T>) {
    let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    for row in 0..i.rows {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let (a, b, to) = (a.add(row * i.row[0]), b.add(row * i.row[1]), to.add(row * i.len));
            strips::<T>(
                i.len,
                |at| F::call(load::<T, Four<T>, A>(a, at), load::<T, Four<T>, B>(b, at)).store(to.add(at)),
                |at| F::call(load::<T, T::Vector, A>(a, at), load::<T, T::Vector, B>(b, at)).store(to.add(at)),
            );
        }
    }
}

fn ternary_form<T: Real, const NEGATED: bool>(a: bool, b: bool, c: bool) -> Kernel<T> {
    match (a, b, c) {
        (false, false, false) => multiply_add::<T, NEGATED, false, false, false>,
        (true, false, false) => multiply_add::<T, NEGATED, true, false, false>,
        (false, false, true) => multiply_add::<T, NEGATED, false, false, true>,
        (true, false, true) => multiply_add::<T, NEGATED, true, false, true>,
        (true, true, false) => multiply_add::<T, NEGATED, true, true, false>,
        _ => unreachable!("the first factor is uniform if one is, and not all are"),
    }
}

#[inline(always)]
fn fused<T: Real, V: Vector<T>, const NEGATED: bool>(a: V, b: V, c: V) -> V {
    if NEGATED { a.neg().mul_add(b, c) } else { a.mul_add(b, c) }
}

unsafe fn multiply_add<T: Real, const NEGATED: bool, const A: bool, const B: bool, const C: bool>(
    i: &Instruction<T>,
    context: &Context<T>,
) {
    let [a, b, c, _] = i.from.map(|from| context.at(from));
    let to = context.at(i.to);
    for row in 0..i.rows {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let (a, b, c) = (a.add(row * i.row[0]), b.add(row * i.row[1]), c.add(row * i.row[2]));
            let to = to.add(row * i.len);
            strips::<T>(
                i.len,
                |at| {
                    let (a, b) = (load::<T, Four<T>, A>(a, at), load::<T, Four<T>, B>(b, at));
                    fused::<T, _, NEGATED>(a, b, load::<T, Four<T>, C>(c, at)).store(to.add(at));
                },
                |at| {
                    let (a, b) = (load::<T, T::Vector, A>(a, at), load::<T, T::Vector, B>(b, at));
                    fused::<T, _, NEGATED>(a, b, load::<T, T::Vector, C>(c, at)).store(to.add(at));
                },
            );
        }
    }
}

unsafe fn select<T: Real, const OR_EQUAL: bool>(i: &Instruction<T>, c: &Context<T>) {
    let from = i.from.map(|from| c.at(from).cast_const());
    let to = c.at(i.to);
    for row in 0..i.rows {
        for at in (0..i.len).step_by(vector_len::<T>()) {
            // SAFETY: as `Code::run` has checked; the register of a uniform operand serves all.
            unsafe {
                let [a, b, then, otherwise] =
                    std::array::from_fn(|k| T::Vector::load(from[k].add(row * i.row[k] + at * i.lane[k])));
                let mut chosen = a.select_less(b, then, otherwise);
                if OR_EQUAL {
                    chosen = a.select_equal(b, then, chosen);
                }
                chosen.store(to.add(row * i.len + at));
            }
        }
    }
}

unsafe fn spread<T: Real, const UNIFORM: bool>(i: &Instruction<T>, c: &Context<T>) {
    let (a, mut to) = (c.at(i.from[0]), c.at(i.to));
    let [outer, inner, ..] = i.shape;
    for _ in 0..outer {
        for row in 0..i.rows {
            for _ in 0..inner {
                // SAFETY: as `Code::run` has checked.
                unsafe {
                    let a = a.add(row * i.row[0]);
                    strips::<T>(
                        i.len,
                        |at| load::<T, Four<T>, UNIFORM>(a, at).store(to.add(at)),
                        |at| load::<T, T::Vector, UNIFORM>(a, at).store(to.add(at)),
                    );
                    to = to.add(i.len);
                }
            }
        }
    }
}

unsafe fn sum<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let (a, to) = (c.at(i.from[0]), c.at(i.to));
    let [outer, inner, ..] = i.shape;
    let terms = outer * inner;
    for row in 0..i.rows {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let to = to.add(row * i.len);
            let term = |n: usize| a.add(((n / inner * i.rows + row) * inner + n % inner) * i.len);
            strips::<T>(
                i.len,
                |at| {
                    let first = Four::<T>::load(term(0).add(at));
                    (1..terms).fold(first, |sum, n| sum.add(Four::<T>::load(term(n).add(at)))).store(to.add(at));
                },
                |at| {
                    let first = T::Vector::load(term(0).add(at));
                    (1..terms).fold(first, |sum, n| sum.add(T::Vector::load(term(n).add(at)))).store(to.add(at));
                },
            );
        }
    }
}

unsafe fn dense<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let [pack, shifted, ..] = i.shape;
    let start = if shifted == 1 { c.at(i.from[1]).cast_const() } else { std::ptr::null() };
    // SAFETY: as `Code::run` has checked.
    unsafe { c.packs[pack].times(start, i.len, c.at(i.from[0]), c.at(i.to), c.scratch) }
}

/// Σ_k a[first(k)]·b[second(k)] over rows, one register after the other.
#[inline(always)]
unsafe fn dot_rows<T: Real>(
    len: usize,
    terms: usize,
    a: impl Fn(usize) -> *const T,
    b: impl Fn(usize) -> *const T,
    to: *mut T,
) {
    unsafe {
        strips::<T>(
            len,
            |at| {
                let start = Four::<T>::splat(T::zero());
                let term = |sum, k| Four::<T>::load(a(k).add(at)).mul_add(Four::<T>::load(b(k).add(at)), sum);
                (0..terms).fold(start, term).store(to.add(at));
            },
            |at| {
                let start = T::Vector::splat(T::zero());
                let term = |sum, k| T::Vector::load(a(k).add(at)).mul_add(T::Vector::load(b(k).add(at)), sum);
                (0..terms).fold(start, term).store(to.add(at));
            },
        );
    }
}

unsafe fn mat_vec<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let ([rows, columns, points, _], len) = (i.shape, i.len);
    let (m, v, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    for (row, point) in (0..rows).flat_map(|row| (0..points).map(move |point| (row, point))) {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let m = |k: usize| m.add((row * columns + k) * len).cast_const();
            let v = |k: usize| v.add((k * points + point) * len).cast_const();
            dot_rows(len, columns, m, v, to.add((row * points + point) * len));
        }
    }
}

unsafe fn mat_vec_transposed<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let ([rows, columns, points, _], len) = (i.shape, i.len);
    let (m, v, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    for (column, point) in (0..columns).flat_map(|column| (0..points).map(move |point| (column, point))) {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let m = |k: usize| m.add((k * columns + column) * len).cast_const();
            let v = |k: usize| v.add((k * points + point) * len).cast_const();
            dot_rows(len, rows, m, v, to.add((column * points + point) * len));
        }
    }
}

unsafe fn outer<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let ([rows, columns, points, _], len) = (i.shape, i.len);
    let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        // SAFETY: as `Code::run` has checked.
        unsafe {
            let a = |point: usize| a.add((row * points + point) * len).cast_const();
            let b = |point: usize| b.add((column * points + point) * len).cast_const();
            dot_rows(len, points, a, b, to.add((row * columns + column) * len));
        }
    }
}

unsafe fn sum_lanes<T: Real, const PRODUCT: bool>(i: &Instruction<T>, c: &Context<T>) {
    let register = vector_len::<T>();
    let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
    let whole = c.samples / register * register;
    for row in 0..i.rows {
        // SAFETY: as `Code::run` has checked; there are no more samples than lanes.
        unsafe {
            let (a, b, to) = (a.add(row * i.row[0]), b.add(row * i.row[1]), to.add(row * register));
            let mut sum = T::Vector::load(to);
            let mut at = 0;
            if whole >= 4 * register {
                // Four sums, so that one addition does not wait for the other.
                let mut four = Four::<T>::splat(T::zero());
                while at + 4 * register <= whole {
                    let a = Four::<T>::load(a.add(at));
                    four = if PRODUCT { a.mul_add(Four::<T>::load(b.add(at)), four) } else { four.add(a) };
                    at += 4 * register;
                }
                sum = four.registers().into_iter().fold(sum, T::Vector::add);
            }
            while at < whole {
                let a = T::Vector::load(a.add(at));
                sum = if PRODUCT { a.mul_add(T::Vector::load(b.add(at)), sum) } else { sum.add(a) };
                at += register;
            }
            sum.store(to);
            // Spare lanes stay out, whatever they hold.
            for lane in whole..c.samples {
                let term = if PRODUCT { *a.add(lane) * *b.add(lane) } else { *a.add(lane) };
                let sum = to.add(lane - whole);
                *sum = *sum + term;
            }
        }
    }
}

unsafe fn outer_lanes<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let ([rows, columns, stride, _], len) = (i.shape, i.len);
    // SAFETY: as `Code::run` has checked; the scratch is used by one instruction at a time.
    unsafe {
        let a = std::slice::from_raw_parts(c.at(i.from[0]), rows * len);
        let b = std::slice::from_raw_parts(c.at(i.from[1]), columns * len);
        let to = std::slice::from_raw_parts_mut(c.at(i.to), (rows - 1) * stride + columns);
        let scratch = std::slice::from_raw_parts_mut(c.scratch, c.scratch_len);
        add_outer(len, (rows, a), (columns, b), to, stride, scratch);
    }
}

unsafe fn accumulate<T: Real>(i: &Instruction<T>, c: &Context<T>) {
    let (a, to) = (c.at(i.from[0]), c.at(i.to));
    // SAFETY: as `Code::run` has checked.
    unsafe {
        strips::<T>(
            i.len,
            |at| Four::<T>::load(to.add(at)).add(Four::<T>::load(a.add(at))).store(to.add(at)),
            |at| T::Vector::load(to.add(at)).add(T::Vector::load(a.add(at))).store(to.add(at)),
        );
    }
}
