//! The kernels of instructions.

use super::super::functions::{Binary, Unary};
use super::super::math;
use super::super::product::add_outer;
use super::super::real::{Real, vector_len};
use super::super::simd::{Lanes, Several, Vector};
use super::{Context, Instruction};

/// A kernel of an instruction.
pub type Kernel<T> = unsafe fn(&Instruction<T>, &Context<T>);

/// The kernel of a function of one number.
pub fn of_unary<T: Real>(function: Unary) -> Kernel<T> {
    use Unary as F;
    match function {
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
    }
}

/// The kernel of a function of two numbers, of which one may be uniform.
pub fn of_binary<T: Real>(function: Binary, a: bool, b: bool) -> Kernel<T> {
    use Binary as F;
    match function {
        F::Add => binary_form::<T, Add>(a, b),
        F::Sub => binary_form::<T, Sub>(a, b),
        F::Mul => binary_form::<T, Mul>(a, b),
        F::Div => binary_form::<T, Div>(a, b),
        F::Min => binary_form::<T, Min>(a, b),
        F::Max => binary_form::<T, Max>(a, b),
        F::Pow => costly2::<T, Pow>,
        F::Atan2 => costly2::<T, Atan2>,
    }
}

/// Registers that loops take at a time, so that their operations hide each other's latency.
type Four<T> = Several<<T as Lanes>::Vector, 4>;

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

pub unsafe fn copy<T: Real, const UNIFORM: bool>(i: &Instruction<T>, c: &Context<T>) {
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

pub fn ternary_form<T: Real, const NEGATED: bool>(a: bool, b: bool, c: bool) -> Kernel<T> {
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

pub unsafe fn select<T: Real, const OR_EQUAL: bool>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn spread<T: Real, const UNIFORM: bool>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn sum<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn dense<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn mat_vec<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn mat_vec_transposed<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn outer<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn sum_lanes<T: Real, const PRODUCT: bool>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn outer_lanes<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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

pub unsafe fn accumulate<T: Real>(i: &Instruction<T>, c: &Context<T>) {
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
