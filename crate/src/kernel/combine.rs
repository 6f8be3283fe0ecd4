//! Loops over states: combinations, compensated sums, inner products. Each is one pass over memory.

use std::mem::MaybeUninit;

use super::real::Real;
use super::simd::dispatch::{WithSimd, dispatch};
use super::simd::{MAX_LEN, RegisterBlock, Simd, Vector, len_of};

/// Terms that one pass adds up in registers: as many as the last stage of a method of fifth order has.
const PASS: usize = 7;

/// `out = start + Σ c_j k_j`; terms with c_j = 0 are left out.
pub fn combine<'a, T: Real>(out: &mut [T], start: &[T], terms: impl Iterator<Item = (f64, &'a [T])>) {
    add_all(out, Some(start), terms);
}

/// `out = Σ c_j k_j`.
pub fn combine_terms<'a, T: Real>(out: &mut [T], terms: impl Iterator<Item = (f64, &'a [T])>) {
    add_all(out, None, terms);
}

/// A coefficient, and where what it is multiplied by begins.
type Term<T> = (T, *const T);

#[inline(always)]
fn add_all<'a, T: Real>(out: &mut [T], start: Option<&[T]>, terms: impl Iterator<Item = (f64, &'a [T])>) {
    let len = out.len();
    // What the terms of a pass are added to, if they are.
    let mut from = start.map(|start| start[..len].as_ptr());
    let mut group = [const { MaybeUninit::uninit() }; PASS];
    let mut full = 0;
    for (coefficient, term) in terms {
        if coefficient == 0.0 {
            continue;
        }
        if full == PASS {
            // SAFETY: all of them are written, and as long as `out`.
            unsafe { add_group(out, from, written(&group)) };
            (from, full) = (Some(out.as_ptr()), 0);
        }
        group[full].write((T::of(coefficient), term[..len].as_ptr()));
        full += 1;
    }
    match (full, from) {
        (0, None) => out.fill(T::zero()),
        (0, Some(from)) if from == out.as_ptr() => {}
        (0, Some(_)) => out.copy_from_slice(&start.expect("as no pass has been")[..len]),
        // SAFETY: exactly these are written, and they are as long as `out`.
        _ => unsafe { add_group(out, from, written(&group[..full])) },
    }
}

/// # Safety
/// They are written.
#[inline(always)]
unsafe fn written<T>(items: &[MaybeUninit<T>]) -> &[T] {
    // SAFETY: what is written is laid out as itself.
    unsafe { &*(std::ptr::from_ref(items) as *const [T]) }
}

/// Adds a group of terms, to what lies there if that is given.
///
/// # Safety
/// All are as long as `out`.
#[inline(never)]
unsafe fn add_group<T: Real>(out: &mut [T], from: Option<*const T>, group: &[Term<T>]) {
    match *group {
        [a] => dispatch(Pass { out, from, terms: [a] }),
        [a, b] => dispatch(Pass { out, from, terms: [a, b] }),
        [a, b, c] => dispatch(Pass { out, from, terms: [a, b, c] }),
        [a, b, c, d] => dispatch(Pass { out, from, terms: [a, b, c, d] }),
        [a, b, c, d, e] => dispatch(Pass { out, from, terms: [a, b, c, d, e] }),
        [a, b, c, d, e, f] => dispatch(Pass { out, from, terms: [a, b, c, d, e, f] }),
        [a, b, c, d, e, f, g] => dispatch(Pass { out, from, terms: [a, b, c, d, e, f, g] }),
        _ => unreachable!("a group has one term at least, and {PASS} at most"),
    }
}

/// A pass over arrays that are as long as what they are added up in.
struct Pass<'a, T, const N: usize> {
    out: &'a mut [T],
    from: Option<*const T>,
    terms: [Term<T>; N],
}

impl<T: Real, const N: usize> WithSimd for Pass<'_, T, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (len, register) = (self.out.len(), len_of::<S, T>());
        let to = self.out.as_mut_ptr();
        let whole = len / register * register;
        // SAFETY: all are `len` numbers long.
        unsafe {
            for at in (0..whole).step_by(register) {
                self.at::<S::Vector<T>>(to, at);
            }
            for at in whole..len {
                self.at::<S::One<T>>(to, at);
            }
        }
    }
}

impl<T: Real, const N: usize> Pass<'_, T, N> {
    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&self, to: *mut T, at: usize) {
        unsafe {
            let (coefficient, term) = self.terms[0];
            let mut sum = V::splat(coefficient).mul(V::load(term.add(at)));
            if let Some(from) = self.from {
                sum = V::load(from.add(at)).add(sum);
            }
            for (coefficient, term) in &self.terms[1..] {
                sum = sum.add(V::splat(*coefficient).mul(V::load(term.add(at))));
            }
            sum.store(to.add(at));
        }
    }
}

/// `sum += increment`, where `carry` is what earlier additions rounded away.
///
/// The carry is zero throughout under plain summation, so that one loop serves both.
pub fn accumulate<T: Real>(compensated: bool, sum: &mut [T], carry: &mut [T], increment: &[T]) {
    assert!(sum.len() == carry.len() && sum.len() == increment.len());
    dispatch(Accumulate { compensated, sum, carry, increment });
}

struct Accumulate<'a, T> {
    compensated: bool,
    sum: &'a mut [T],
    carry: &'a mut [T],
    increment: &'a [T],
}

impl<T: Real> WithSimd for Accumulate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let (len, register) = (self.sum.len(), len_of::<S, T>());
        let mut at = 0;
        // SAFETY: all are `len` numbers long.
        unsafe {
            while at + register <= len {
                self.at::<S::Vector<T>>(at);
                at += register;
            }
            while at < len {
                self.at::<S::One<T>>(at);
                at += 1;
            }
        }
    }
}

impl<T: Real> Accumulate<'_, T> {
    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&mut self, at: usize) {
        unsafe {
            let (sum, carry) = (self.sum.as_mut_ptr().add(at), self.carry.as_mut_ptr().add(at));
            let before = V::load(sum);
            let corrected = V::load(self.increment.as_ptr().add(at)).sub(V::load(carry));
            let after = before.add(corrected);
            let lost = if self.compensated { after.sub(before).sub(corrected) } else { V::splat(T::zero()) };
            lost.store(carry);
            after.store(sum);
        }
    }
}

/// Does what [`accumulate`] does, into another state and carry; returns whether the state is finite.
pub fn advance<T: Real>(
    compensated: bool,
    (sum, carry): (&[T], &[T]),
    increment: &[T],
    (next, next_carry): (&mut [T], &mut [T]),
) -> bool {
    let len = next.len();
    assert!(sum.len() == len && carry.len() == len && increment.len() == len && next_carry.len() == len);
    dispatch(Advance { compensated, sum, carry, increment, next, next_carry })
}

struct Advance<'a, T> {
    compensated: bool,
    sum: &'a [T],
    carry: &'a [T],
    increment: &'a [T],
    next: &'a mut [T],
    next_carry: &'a mut [T],
}

impl<T: Real> WithSimd for Advance<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let Self { compensated, sum, carry, increment, next, next_carry } = self;
        let (len, register) = (next.len(), len_of::<S, T>());
        let whole = len / register * register;
        // Zero times a number that is not finite is NaN.
        let zero = S::Vector::<T>::splat(T::zero());
        let mut witness = zero;
        for at in (0..whole).step_by(register) {
            // SAFETY: all are `len` numbers long.
            unsafe {
                let before = S::Vector::<T>::load(sum.as_ptr().add(at));
                let carried = S::Vector::<T>::load(carry.as_ptr().add(at));
                let corrected = S::Vector::<T>::load(increment.as_ptr().add(at)).sub(carried);
                let after = before.add(corrected);
                let lost = if compensated { after.sub(before).sub(corrected) } else { zero };
                lost.store(next_carry.as_mut_ptr().add(at));
                after.store(next.as_mut_ptr().add(at));
                witness = after.mul(zero).add(witness);
            }
        }
        next[whole..].copy_from_slice(&sum[whole..]);
        next_carry[whole..].copy_from_slice(&carry[whole..]);
        accumulate(compensated, &mut next[whole..], &mut next_carry[whole..], &increment[whole..]);
        let mut parts = [T::zero(); MAX_LEN];
        // SAFETY: as many numbers as the longest register has.
        unsafe { witness.store(parts.as_mut_ptr()) };
        parts[..register].iter().chain(&next[whole..]).all(|x| x.is_finite())
    }
}

/// Whether all numbers are finite.
pub fn all_finite<T: Real>(numbers: &[T]) -> bool {
    dispatch(AllFinite(numbers))
}

struct AllFinite<'a, T>(&'a [T]);

impl<T: Real> WithSimd for AllFinite<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let registers = self.0.chunks_exact(len_of::<S, T>());
        let rest = registers.remainder();
        let zero = S::Vector::<T>::splat(T::zero());
        let mut witness = zero;
        for register in registers {
            // SAFETY: as many numbers as a register has.
            witness = unsafe { S::Vector::<T>::load(register.as_ptr()) }.mul(zero).add(witness);
        }
        let mut parts = [T::zero(); MAX_LEN];
        // SAFETY: as many numbers as the longest register has.
        unsafe { witness.store(parts.as_mut_ptr()) };
        parts.iter().chain(rest).all(|x| x.is_finite())
    }
}

/// The inner product, in four registers of partial sums.
pub fn dot<T: Real>(left: &[T], right: &[T]) -> f64 {
    dispatch(Dot(left, right))
}

struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Real> WithSimd for Dot<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let len = 4 * len_of::<S, T>();
        let (left, right) = (self.0.chunks_exact(len), self.1.chunks_exact(len));
        let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(l, r)| l.wide() * r.wide()).sum();
        let mut sums = RegisterBlock::<S::Vector<T>, 4>::splat(T::zero());
        for (left, right) in left.zip(right) {
            // SAFETY: as many numbers as four registers have.
            sums = unsafe { RegisterBlock::load(left.as_ptr()).mul_add(RegisterBlock::load(right.as_ptr()), sums) };
        }
        if self.0.len() < len {
            return rest;
        }
        let mut parts = [T::zero(); 4 * MAX_LEN];
        // SAFETY: as many numbers as four registers have at most.
        unsafe { sums.store(parts.as_mut_ptr()) };
        parts[..len].iter().map(|part| part.wide()).sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensated_sums_keep_what_plain_ones_lose() {
        let mut results = Vec::new();
        for compensated in [true, false] {
            let (mut sum, mut carry) = ([1.0_f32], [0.0_f32]);
            for _ in 0..1_000_000 {
                accumulate(compensated, &mut sum, &mut carry, &[1e-8]);
            }
            results.push(sum[0]);
        }
        assert!((results[0] - 1.01).abs() < 1e-6);
        assert_eq!(results[1], 1.0);
    }
}
