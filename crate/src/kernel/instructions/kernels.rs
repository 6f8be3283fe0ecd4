//! The kernels of instructions, written once for registers of any width.

use std::marker::PhantomData;

use super::super::functions::{Binary, Unary};
use super::super::math;
use super::super::product::{add_outer, multiply};
use super::super::real::Real;
use super::super::simd::{Bits128, MAX_LEN, RegisterBlock, Simd, Vector, len_of};
#[cfg(target_arch = "x86_64")]
use super::super::simd::{Bits256, Bits512, dispatch};
use super::{Context, Instruction};

/// A kernel of an instruction.
pub type Kernel<T> = unsafe fn(&Instruction<T>, &Context<T>);

/// What a kernel does, with registers of any width.
pub trait KernelBody<T: Real> {
    /// # Safety
    /// Every place lies within its base, as [`Code::run`](super::Code::run) has checked, and what is written may be.
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>);
}

/// The kernel of a task, for the registers in use.
pub fn kernel<T: Real, K: KernelBody<T>>() -> Kernel<T> {
    #[cfg(target_arch = "x86_64")]
    match dispatch::bits() {
        512 => return with_512::<T, K>,
        256 => return with_256::<T, K>,
        _ => {}
    }
    with_128::<T, K>
}

unsafe fn with_128<T: Real, K: KernelBody<T>>(i: &Instruction<T>, c: &Context<T>) {
    unsafe { K::run::<Bits128>(i, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_256<T: Real, K: KernelBody<T>>(i: &Instruction<T>, c: &Context<T>) {
    unsafe { K::run::<Bits256>(i, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn with_512<T: Real, K: KernelBody<T>>(i: &Instruction<T>, c: &Context<T>) {
    unsafe { K::run::<Bits512>(i, c) }
}

/// The kernel of a function of one number.
pub fn of_unary<T: Real>(function: Unary) -> Kernel<T> {
    use Unary as F;
    match function {
        F::Neg => kernel::<T, Map<Neg, 1, 0>>(),
        F::Abs => kernel::<T, Map<Abs, 1, 0>>(),
        F::Sign => kernel::<T, Map<Sign, 1, 0>>(),
        F::Relu => kernel::<T, Map<Relu, 1, 0>>(),
        F::Elu => kernel::<T, Transcendental<Elu>>(),
        F::Tanh => kernel::<T, Transcendental<Tanh>>(),
        F::Sigmoid => kernel::<T, Transcendental<Sigmoid>>(),
        F::Softplus => kernel::<T, Transcendental<Softplus>>(),
        F::NormalCdf => kernel::<T, Transcendental<NormalCdf>>(),
        F::Sqrt => kernel::<T, Map<Sqrt, 1, 0>>(),
        F::Exp => kernel::<T, Transcendental<Exp>>(),
        F::Expm1 => kernel::<T, Transcendental<Expm1>>(),
        F::Log => kernel::<T, Transcendental<Log>>(),
        F::Log1p => kernel::<T, Transcendental<Log1p>>(),
        F::Sin => kernel::<T, Transcendental<Sin>>(),
        F::Cos => kernel::<T, Transcendental<Cos>>(),
        F::Tan => kernel::<T, Transcendental<Tan>>(),
        F::Asin => kernel::<T, Transcendental<Asin>>(),
        F::Acos => kernel::<T, Transcendental<Acos>>(),
        F::Atan => kernel::<T, Transcendental<Atan>>(),
        F::Sinh => kernel::<T, Transcendental<Sinh>>(),
        F::Cosh => kernel::<T, Transcendental<Cosh>>(),
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
        F::Pow => kernel::<T, Transcendental2<Pow>>(),
        F::Atan2 => kernel::<T, Transcendental2<Atan2>>(),
    }
}

fn binary_form<T: Real, F: Function<2>>(a: bool, b: bool) -> Kernel<T> {
    match (a, b) {
        (false, false) => kernel::<T, Map<F, 2, 0b00>>(),
        (true, false) => kernel::<T, Map<F, 2, 0b01>>(),
        (false, true) => kernel::<T, Map<F, 2, 0b10>>(),
        (true, true) => unreachable!("what is made of uniform values alone is uniform"),
    }
}

/// The kernel of a·b + c, or c − a·b.
pub fn of_multiply_add<T: Real, const NEGATED: bool>(uniform: [bool; 3]) -> Kernel<T> {
    match uniform {
        [false, false, false] => kernel::<T, Map<MultiplyAdd<NEGATED>, 3, 0b000>>(),
        [true, false, false] => kernel::<T, Map<MultiplyAdd<NEGATED>, 3, 0b001>>(),
        [false, false, true] => kernel::<T, Map<MultiplyAdd<NEGATED>, 3, 0b100>>(),
        [true, false, true] => kernel::<T, Map<MultiplyAdd<NEGATED>, 3, 0b101>>(),
        [true, true, false] => kernel::<T, Map<MultiplyAdd<NEGATED>, 3, 0b011>>(),
        _ => unreachable!("the first factor is uniform if one is, and not all are"),
    }
}

/// The kernel of a copy.
pub fn of_copy<T: Real>(uniform: bool) -> Kernel<T> {
    if uniform { kernel::<T, Map<Same, 1, 1>>() } else { kernel::<T, Map<Same, 1, 0>>() }
}

/// A function of N numbers.
pub trait Function<const N: usize> {
    fn call<T: Real, V: Vector<T>>(x: [V; N]) -> V;
}

macro_rules! functions {
    ($arity:literal: $($name:ident($($x:ident),+) = $body:expr;)+) => {
        $(
            pub struct $name;
            impl Function<$arity> for $name {
                #[inline(always)]
                fn call<T: Real, V: Vector<T>>([$($x),+]: [V; $arity]) -> V {
                    $body
                }
            }
        )+
    };
}

functions! { 1:
    Same(a) = a;
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

functions! { 2:
    Add(a, b) = a.add(b);
    Sub(a, b) = a.sub(b);
    Mul(a, b) = a.mul(b);
    Div(a, b) = a.div(b);
    // NaN where either is NaN.
    Min(a, b) = b.select_equal(b, a.at_most(b), b);
    Max(a, b) = b.select_equal(b, a.at_least(b), b);
    Pow(a, b) = math::pow(a, b);
    Atan2(a, b) = math::atan2(a, b);
}

/// a·b + c, or c − a·b.
pub struct MultiplyAdd<const NEGATED: bool>;

impl<const NEGATED: bool> Function<3> for MultiplyAdd<NEGATED> {
    #[inline(always)]
    fn call<T: Real, V: Vector<T>>([a, b, c]: [V; 3]) -> V {
        if NEGATED { a.neg().mul_add(b, c) } else { a.mul_add(b, c) }
    }
}

/// `then` where a < b, or a ≤ b.
pub struct Choose<const OR_EQUAL: bool>;

impl<const OR_EQUAL: bool> Function<4> for Choose<OR_EQUAL> {
    #[inline(always)]
    fn call<T: Real, V: Vector<T>>([a, b, then, otherwise]: [V; 4]) -> V {
        let chosen = a.select_less(b, then, otherwise);
        if OR_EQUAL { a.select_equal(b, then, chosen) } else { chosen }
    }
}

/// The body of a loop, for a vector of any length.
trait Body<T: Real> {
    unsafe fn at<V: Vector<T>>(&self, at: usize);
}

/// Four registers that a loop works on together, so that their operations hide each other's latency.
type Strip<S, T> = RegisterBlock<<S as Simd>::Vector<T>, 4>;

/// Runs a body for each strip of four registers, each register left, and each number left.
#[inline(always)]
unsafe fn strips<S: Simd, T: Real>(len: usize, body: impl Body<T>) {
    let register = len_of::<S, T>();
    let mut at = 0;
    unsafe {
        while at + 4 * register <= len {
            body.at::<Strip<S, T>>(at);
            at += 4 * register;
        }
        while at + register <= len {
            body.at::<S::Vector<T>>(at);
            at += register;
        }
        while at < len {
            body.at::<S::One<T>>(at);
            at += 1;
        }
    }
}

/// F of operands, some of which are one number for all.
struct Apply<F, T, const N: usize> {
    function: PhantomData<F>,
    from: [*const T; N],
    uniform: [bool; N],
    to: *mut T,
}

impl<T: Real, F: Function<N>, const N: usize> Body<T> for Apply<F, T, N> {
    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&self, at: usize) {
        unsafe {
            let mut x = [V::splat(T::zero()); N];
            for (k, x) in x.iter_mut().enumerate() {
                *x = if self.uniform[k] { V::splat(*self.from[k]) } else { V::load(self.from[k].add(at)) };
            }
            F::call(x).store(self.to.add(at));
        }
    }
}

#[inline(always)]
unsafe fn apply<S: Simd, T: Real, F: Function<N>, const N: usize>(
    len: usize,
    from: [*const T; N],
    uniform: [bool; N],
    to: *mut T,
) {
    unsafe { strips::<S, T>(len, Apply { function: PhantomData::<F>, from, uniform, to }) }
}

/// F row by row; bit k of UNIFORM says whether operand k is one number a row.
pub struct Map<F, const N: usize, const UNIFORM: u8>(PhantomData<F>);

impl<T: Real, F: Function<N>, const N: usize, const UNIFORM: u8> KernelBody<T> for Map<F, N, UNIFORM> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let mut uniform = [false; N];
        for (k, uniform) in uniform.iter_mut().enumerate() {
            *uniform = UNIFORM >> k & 1 == 1;
        }
        unsafe { rows::<S, T, F, N>(i, c, uniform) }
    }
}

/// `then` where a < b, or a ≤ b, else `otherwise`, row by row.
pub struct Select<const OR_EQUAL: bool>;

impl<T: Real, const OR_EQUAL: bool> KernelBody<T> for Select<OR_EQUAL> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        unsafe { rows::<S, T, Choose<OR_EQUAL>, 4>(i, c, i.uniform) }
    }
}

#[inline(always)]
unsafe fn rows<S: Simd, T: Real, F: Function<N>, const N: usize>(
    i: &Instruction<T>,
    c: &Context<T>,
    uniform: [bool; N],
) {
    let mut from = [std::ptr::null(); N];
    for (k, from) in from.iter_mut().enumerate() {
        *from = c.at(i.from[k]).cast_const();
    }
    let mut to = c.at(i.to);
    for _ in 0..i.rows {
        unsafe {
            apply::<S, T, F, N>(i.len, from, uniform, to);
            for (k, from) in from.iter_mut().enumerate() {
                *from = from.add(i.row[k]);
            }
            to = to.add(i.len);
        }
    }
}

/// Functions that cost much more than a load: numbers that do not fill a register are padded and computed in a full one.
pub struct Transcendental<F>(PhantomData<F>);

impl<T: Real, F: Function<1>> KernelBody<T> for Transcendental<F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let (from, to) = (c.at(i.from[0]).cast_const(), c.at(i.to));
        let (register, step) = (len_of::<S, T>(), <Strip<S, T> as Vector<T>>::LEN);
        let mut at = i.len / step * step;
        let mut rest = [T::zero(); 4 * MAX_LEN];
        let (rest_from, rest_to) = (rest.as_ptr(), rest.as_mut_ptr());
        unsafe {
            if STRIPS_ONLY {
                let left = i.len - at;
                std::ptr::copy_nonoverlapping(from.add(at), rest_to, left);
                let passes = [(from, to, at), (rest_from, rest_to, if left > 0 { step } else { 0 })];
                for (source, target, len) in passes {
                    for at in (0..len).step_by(step) {
                        F::call([Strip::<S, T>::load(source.add(at))]).store(target.add(at));
                    }
                }
                std::ptr::copy_nonoverlapping(rest_from, to.add(at), left);
                return;
            }
            for at in (0..at).step_by(step) {
                F::call([Strip::<S, T>::load(from.add(at))]).store(to.add(at));
            }
            while at < i.len {
                let count = register.min(i.len - at);
                let (mut source, mut target) = (from.add(at), to.add(at));
                if count < register {
                    std::ptr::copy_nonoverlapping(source, rest_to, count);
                    (source, target) = (rest_from, rest_to);
                }
                F::call([S::Vector::<T>::load(source)]).store(target);
                if count < register {
                    std::ptr::copy_nonoverlapping(rest_from, to.add(at), count);
                }
                at += register;
            }
        }
    }
}

/// Whether such functions are always computed in strips of four registers, so that their code exists once and the download stays small.
const STRIPS_ONLY: bool = cfg!(target_arch = "wasm32");

/// As [`Transcendental`], of two numbers.
pub struct Transcendental2<F>(PhantomData<F>);

impl<T: Real, F: Function<2>> KernelBody<T> for Transcendental2<F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
        let step = <Strip<S, T> as Vector<T>>::LEN;
        let [lane_a, lane_b] = [usize::from(!i.uniform[0]), usize::from(!i.uniform[1])];
        for row in 0..i.rows {
            for at in (0..i.len).step_by(step) {
                // The one number of a uniform operand serves all.
                unsafe {
                    let count = step.min(i.len - at);
                    let [mut left, mut right] = [[T::one(); 4 * MAX_LEN]; 2];
                    for lane in 0..count {
                        left[lane] = *a.add(row * i.row[0] + (at + lane) * lane_a);
                        right[lane] = *b.add(row * i.row[1] + (at + lane) * lane_b);
                    }
                    let x = [Strip::<S, T>::load(left.as_ptr()), Strip::<S, T>::load(right.as_ptr())];
                    F::call(x).store(left.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(left.as_ptr(), to.add(row * i.len + at), count);
                }
            }
        }
    }
}

/// `[n]` to `[outer][n][inner]`.
pub struct Spread<const UNIFORM: bool>;

impl<T: Real, const UNIFORM: bool> KernelBody<T> for Spread<UNIFORM> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let (a, mut to) = (c.at(i.from[0]), c.at(i.to));
        let [outer, inner, ..] = i.shape;
        // All copies at once where they are of one number.
        let one = UNIFORM || i.len == 1;
        let (copies, len) = if one { (1, inner * i.len) } else { (inner, i.len) };
        for _ in 0..outer {
            for row in 0..i.rows {
                for _ in 0..copies {
                    unsafe {
                        apply::<S, T, Same, 1>(len, [a.add(row * i.row[0]).cast_const()], [one], to);
                        to = to.add(len);
                    }
                }
            }
        }
    }
}

/// Σ of terms at equal or unequal distances, or of their products with others.
struct Terms<A, B> {
    terms: usize,
    a: A,
    b: B,
}

/// Σ a, beginning with the first.
struct SumOf<A, T>(Terms<A, ()>, *mut T);

impl<T: Real, A: Fn(usize) -> *const T> Body<T> for SumOf<A, T> {
    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&self, at: usize) {
        let Terms { terms, a, .. } = &self.0;
        unsafe {
            let mut sum = V::load(a(0).add(at));
            for n in 1..*terms {
                sum = sum.add(V::load(a(n).add(at)));
            }
            sum.store(self.1.add(at));
        }
    }
}

/// A long sum is the sum of this many partial sums, each of every 16th term: no addition waits for the one before, and registers of all
/// widths add in the same order.
const PARTIAL_SUMS: usize = 16;
/// A sum of this many terms or more is long.
const LONG_SUM: usize = 2 * PARTIAL_SUMS;

/// A long Σ a, of terms at this stride.
#[inline(always)]
unsafe fn long_sum<T: Real, V: Vector<T>>(from: *const T, (terms, apart): (usize, usize), to: *mut T) {
    unsafe {
        let term = |n: usize| V::load(from.add(n * apart));
        let mut parts: [V; PARTIAL_SUMS] = std::array::from_fn(term);
        for first in (PARTIAL_SUMS..terms).step_by(PARTIAL_SUMS) {
            for (part, n) in parts.iter_mut().zip(first..terms) {
                *part = part.add(term(n));
            }
        }
        total(parts).store(to);
    }
}

/// Adds up the partial sums.
#[inline(always)]
fn total<T, V: Vector<T>>(mut parts: [V; PARTIAL_SUMS]) -> V {
    let mut count = PARTIAL_SUMS;
    while count > 1 {
        count /= 2;
        for part in 0..count {
            parts[part] = parts[part].add(parts[part + count]);
        }
    }
    parts[0]
}

/// The same sum as [`long_sum`], of numbers that lie side by side.
#[inline(always)]
unsafe fn sum_of_row<S: Simd, T: Real>(from: *const T, terms: usize, to: *mut T) {
    let register = len_of::<S, T>();
    let used = PARTIAL_SUMS / register;
    let mut sums = [S::Vector::<T>::splat(T::zero()); PARTIAL_SUMS];
    let mut parts = [T::zero(); PARTIAL_SUMS];
    let mut at = PARTIAL_SUMS;
    unsafe {
        for (index, sum) in sums[..used].iter_mut().enumerate() {
            *sum = S::Vector::<T>::load(from.add(index * register));
        }
        while at + PARTIAL_SUMS <= terms {
            for (index, sum) in sums[..used].iter_mut().enumerate() {
                *sum = sum.add(S::Vector::<T>::load(from.add(at + index * register)));
            }
            at += PARTIAL_SUMS;
        }
        for (index, sum) in sums[..used].iter().enumerate() {
            sum.store(parts.as_mut_ptr().add(index * register));
        }
        for n in at..terms {
            parts[n - at] = parts[n - at] + *from.add(n);
        }
        total(parts.map(S::One::<T>::splat)).store(to);
    }
}

/// Σ a·b.
struct DotOf<A, B, T>(Terms<A, B>, *mut T);

impl<T: Real, A: Fn(usize) -> *const T, B: Fn(usize) -> *const T> Body<T> for DotOf<A, B, T> {
    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&self, at: usize) {
        let Terms { terms, a, b } = &self.0;
        unsafe {
            let mut sum = V::splat(T::zero());
            for n in 0..*terms {
                sum = V::load(a(n).add(at)).mul_add(V::load(b(n).add(at)), sum);
            }
            sum.store(self.1.add(at));
        }
    }
}

/// `[outer][n][inner]` to `[n]`.
pub struct Sum;

impl<T: Real> KernelBody<T> for Sum {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let (from, to) = (c.at(i.from[0]).cast_const(), c.at(i.to));
        let ([outer, inner, ..], rows, len) = (i.shape, i.rows, i.len);
        let (terms, register) = (outer * inner, len_of::<S, T>());
        // Terms that are all as far apart.
        let apart = match (outer == 1 || rows == 1, inner == 1) {
            (true, _) => Some(len),
            (_, true) => Some(rows * len),
            _ => None,
        };
        for row in 0..rows {
            unsafe {
                let to = to.add(row * len);
                match apart.filter(|_| terms >= LONG_SUM) {
                    Some(1) => sum_of_row::<S, T>(from.add(row * inner), terms, to),
                    Some(apart) => {
                        let from = from.add(row * inner * len);
                        let whole = len / register * register;
                        for at in (0..whole).step_by(register) {
                            long_sum::<T, S::Vector<T>>(from.add(at), (terms, apart), to.add(at));
                        }
                        for at in whole..len {
                            long_sum::<T, S::One<T>>(from.add(at), (terms, apart), to.add(at));
                        }
                    }
                    None => {
                        let a = |n: usize| from.add(((n / inner * rows + row) * inner + n % inner) * len);
                        strips::<S, T>(len, SumOf(Terms { terms, a, b: () }, to));
                    }
                }
            }
        }
    }
}

/// A packed matrix times a block.
pub struct Dense;

impl<T: Real> KernelBody<T> for Dense {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let [pack, shifted, ..] = i.shape;
        let start = if shifted == 1 { c.at(i.from[1]).cast_const() } else { std::ptr::null() };
        unsafe { multiply::<S, T>(&c.packs[pack], start, i.len, c.at(i.from[0]), c.at(i.to), c.scratch, c.prefetcher) }
    }
}

/// A matrix per trajectory times vectors.
pub struct MatVec;

impl<T: Real> KernelBody<T> for MatVec {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let ([rows, columns, points, _], len) = (i.shape, i.len);
        let (m, v, to) = (c.at(i.from[0]).cast_const(), c.at(i.from[1]).cast_const(), c.at(i.to));
        for row in 0..rows {
            for point in 0..points {
                unsafe {
                    let a = |k: usize| m.add((row * columns + k) * len);
                    let b = |k: usize| v.add((k * points + point) * len);
                    strips::<S, T>(len, DotOf(Terms { terms: columns, a, b }, to.add((row * points + point) * len)));
                }
            }
        }
    }
}

/// Its transpose times vectors.
pub struct MatVecTransposed;

impl<T: Real> KernelBody<T> for MatVecTransposed {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let ([rows, columns, points, _], len) = (i.shape, i.len);
        let (m, v, to) = (c.at(i.from[0]).cast_const(), c.at(i.from[1]).cast_const(), c.at(i.to));
        for column in 0..columns {
            for point in 0..points {
                unsafe {
                    let a = |k: usize| m.add((k * columns + column) * len);
                    let b = |k: usize| v.add((k * points + point) * len);
                    strips::<S, T>(len, DotOf(Terms { terms: rows, a, b }, to.add((column * points + point) * len)));
                }
            }
        }
    }
}

/// Σ over points of outer products, per trajectory.
pub struct Outer;

impl<T: Real> KernelBody<T> for Outer {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let ([rows, columns, points, _], len) = (i.shape, i.len);
        let (left, right, to) = (c.at(i.from[0]).cast_const(), c.at(i.from[1]).cast_const(), c.at(i.to));
        for row in 0..rows {
            for column in 0..columns {
                unsafe {
                    let a = |point: usize| left.add((row * points + point) * len);
                    let b = |point: usize| right.add((column * points + point) * len);
                    strips::<S, T>(len, DotOf(Terms { terms: points, a, b }, to.add((row * columns + column) * len)));
                }
            }
        }
    }
}

/// Adds the sums of a's rows, or of a·b's, over the lanes that are samples to registers.
pub struct SumLanes<const PRODUCT: bool>;

impl<T: Real, const PRODUCT: bool> KernelBody<T> for SumLanes<PRODUCT> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let register = len_of::<S, T>();
        let (a, b, to) = (c.at(i.from[0]), c.at(i.from[1]), c.at(i.to));
        let whole = c.samples / register * register;
        for row in 0..i.rows {
            // There are no more samples than lanes.
            unsafe {
                let (a, b, to) = (a.add(row * i.row[0]), b.add(row * i.row[1]), to.add(row * register));
                let mut sum = S::Vector::<T>::load(to);
                let mut at = 0;
                if whole >= 4 * register {
                    // Four sums, so that one addition does not wait for the other.
                    let mut four = Strip::<S, T>::splat(T::zero());
                    while at + 4 * register <= whole {
                        let a = Strip::<S, T>::load(a.add(at));
                        four = if PRODUCT { a.mul_add(Strip::<S, T>::load(b.add(at)), four) } else { four.add(a) };
                        at += 4 * register;
                    }
                    for part in four.registers() {
                        sum = sum.add(part);
                    }
                }
                while at < whole {
                    let a = S::Vector::<T>::load(a.add(at));
                    sum = if PRODUCT { a.mul_add(S::Vector::<T>::load(b.add(at)), sum) } else { sum.add(a) };
                    at += register;
                }
                sum.store(to);
                // Padding lanes stay out, whatever they hold.
                for lane in whole..c.samples {
                    let term = if PRODUCT { *a.add(lane) * *b.add(lane) } else { *a.add(lane) };
                    let sum = to.add(lane - whole);
                    *sum = *sum + term;
                }
            }
        }
    }
}

/// Adds Σ a bᵀ over lanes to a matrix.
pub struct OuterLanes;

impl<T: Real> KernelBody<T> for OuterLanes {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let ([rows, columns, stride, _], len) = (i.shape, i.len);
        // The scratch is used by one instruction at a time.
        unsafe {
            let a = std::slice::from_raw_parts(c.at(i.from[0]), rows * len);
            let b = std::slice::from_raw_parts(c.at(i.from[1]), columns * len);
            let to = std::slice::from_raw_parts_mut(c.at(i.to), (rows - 1) * stride + columns);
            let scratch = std::slice::from_raw_parts_mut(c.scratch, c.scratch_len);
            add_outer::<S, T>(len, (rows, a), (columns, b), to, stride, scratch, c.prefetcher);
        }
    }
}

/// Adds a, or a·b, number by number.
pub struct Accumulate<const PRODUCT: bool>;

impl<T: Real, const PRODUCT: bool> KernelBody<T> for Accumulate<PRODUCT> {
    #[inline(always)]
    unsafe fn run<S: Simd>(i: &Instruction<T>, c: &Context<T>) {
        let (a, b, to) = (c.at(i.from[0]).cast_const(), c.at(i.from[1]).cast_const(), c.at(i.to));
        unsafe {
            match PRODUCT {
                true => apply::<S, T, MultiplyAdd<false>, 3>(i.len, [a, b, to], [false; 3], to),
                false => apply::<S, T, Add, 2>(i.len, [to, a], [false; 2], to),
            }
        }
    }
}
