//! Loops over states: combinations, compensated sums, inner products. Each is one pass over memory.

use super::real::{Real, vector_len};
use super::simd::{Several, Vector};

/// Terms that one pass adds up in registers.
const PASS: usize = 4;

/// `out = start + Σ c_j k_j`; terms with c_j = 0 are left out.
pub fn combine<'a, T: Real>(out: &mut [T], start: &[T], terms: impl Iterator<Item = (f64, &'a [T])>) {
    add_all(out, Some(start), terms);
}

/// `out = Σ c_j k_j`.
pub fn combine_terms<'a, T: Real>(out: &mut [T], terms: impl Iterator<Item = (f64, &'a [T])>) {
    add_all(out, None, terms);
}

#[inline(always)]
fn add_all<'a, T: Real>(out: &mut [T], start: Option<&[T]>, terms: impl Iterator<Item = (f64, &'a [T])>) {
    let empty: &[T] = &[];
    let mut group = [(T::zero(), empty); PASS];
    let (mut full, mut begun) = (0, false);
    for (coefficient, term) in terms.filter(|term| term.0 != 0.0) {
        if full == PASS {
            add_group(out, start, begun, &group);
            (full, begun) = (0, true);
        }
        group[full] = (T::of(coefficient), term);
        full += 1;
    }
    match (full, begun, start) {
        (0, true, _) => {}
        (0, false, Some(start)) => out.copy_from_slice(start),
        (0, false, None) => out.fill(T::zero()),
        _ => add_group(out, start, begun, &group[..full]),
    }
}

/// Adds a group of terms to what was begun, else to the start, else to nothing.
fn add_group<T: Real>(out: &mut [T], start: Option<&[T]>, begun: bool, group: &[(T, &[T])]) {
    match *group {
        [a] => add_pass(out, start, begun, [a]),
        [a, b] => add_pass(out, start, begun, [a, b]),
        [a, b, c] => add_pass(out, start, begun, [a, b, c]),
        [a, b, c, d] => add_pass(out, start, begun, [a, b, c, d]),
        _ => unreachable!("a group has one term at least, and {PASS} at most"),
    }
}

fn add_pass<T: Real, const N: usize>(out: &mut [T], start: Option<&[T]>, begun: bool, terms: [(T, &[T]); N]) {
    let (len, register) = (out.len(), vector_len::<T>());
    let terms = terms.map(|(coefficient, term)| (coefficient, &term[..len]));
    let before = if begun { None } else { start.map(|start| &start[..len]) };
    let whole = len / register * register;
    let from = match before {
        Some(start) => start.as_ptr(),
        None => out.as_ptr(),
    };
    let adds = begun || start.is_some();
    let coefficients = terms.map(|(coefficient, _)| T::Vector::splat(coefficient));
    let to = out.as_mut_ptr();
    for at in (0..whole).step_by(register) {
        // SAFETY: all are `len` numbers long.
        unsafe {
            let product = |n: usize| coefficients[n].mul(T::Vector::load(terms[n].1.as_ptr().add(at)));
            let first = product(0);
            let first = if adds { T::Vector::load(from.add(at)).add(first) } else { first };
            (1..N).fold(first, |sum, n| sum.add(product(n))).store(to.add(at));
        }
    }
    for at in whole..len {
        let product = |n: usize| terms[n].0 * terms[n].1[at];
        let begin = before.map_or(out[at], |start| start[at]);
        let first = if adds { begin + product(0) } else { product(0) };
        out[at] = (1..N).fold(first, |sum, n| sum + product(n));
    }
}

/// `sum += increment`, where `carry` is what earlier additions rounded away.
///
/// The carry is zero throughout under plain summation, so that one loop serves both.
pub fn accumulate<T: Real>(compensated: bool, sum: &mut [T], carry: &mut [T], increment: &[T]) {
    for ((sum, carry), &increment) in sum.iter_mut().zip(carry).zip(increment) {
        let corrected = increment - *carry;
        let next = *sum + corrected;
        *carry = if compensated { (next - *sum) - corrected } else { T::zero() };
        *sum = next;
    }
}

/// As [`accumulate`], into another state and carry; whether the state is finite.
pub fn advance<T: Real>(
    compensated: bool,
    (sum, carry): (&[T], &[T]),
    increment: &[T],
    (next, next_carry): (&mut [T], &mut [T]),
) -> bool {
    let (len, register) = (next.len(), vector_len::<T>());
    assert!(sum.len() == len && carry.len() == len && increment.len() == len && next_carry.len() == len);
    let whole = len / register * register;
    // What is not finite makes zero times it not a number.
    let mut witness = T::Vector::splat(T::zero());
    for at in (0..whole).step_by(register) {
        // SAFETY: all are `len` numbers long.
        unsafe {
            let before = T::Vector::load(sum.as_ptr().add(at));
            let corrected = T::Vector::load(increment.as_ptr().add(at)).sub(T::Vector::load(carry.as_ptr().add(at)));
            let after = before.add(corrected);
            let lost = if compensated { after.sub(before).sub(corrected) } else { T::Vector::splat(T::zero()) };
            lost.store(next_carry.as_mut_ptr().add(at));
            after.store(next.as_mut_ptr().add(at));
            witness = after.mul(T::Vector::splat(T::zero())).add(witness);
        }
    }
    next[whole..].copy_from_slice(&sum[whole..]);
    next_carry[whole..].copy_from_slice(&carry[whole..]);
    accumulate(compensated, &mut next[whole..], &mut next_carry[whole..], &increment[whole..]);
    let mut parts = [T::zero(); MAX_REGISTER];
    // SAFETY: as many numbers as the longest register has.
    unsafe { witness.store(parts.as_mut_ptr()) };
    parts[..register].iter().chain(&next[whole..]).all(|x| x.is_finite())
}

/// Whether all numbers are finite.
pub fn all_finite<T: Real>(numbers: &[T]) -> bool {
    let registers = numbers.chunks_exact(vector_len::<T>());
    let rest = registers.remainder();
    let zero = T::Vector::splat(T::zero());
    // SAFETY: as many numbers as a register has.
    let witness =
        registers.fold(zero, |sum, register| unsafe { T::Vector::load(register.as_ptr()).mul(zero).add(sum) });
    let mut parts = [T::zero(); MAX_REGISTER];
    // SAFETY: as many numbers as the longest register has.
    unsafe { witness.store(parts.as_mut_ptr()) };
    parts.iter().chain(rest).all(|x| x.is_finite())
}

/// The most numbers that a register holds on any target.
const MAX_REGISTER: usize = 16;

/// The inner product, in four registers of partial sums.
pub fn dot<T: Real>(left: &[T], right: &[T]) -> f64 {
    let len = 4 * vector_len::<T>();
    let (left, right) = (left.chunks_exact(len), right.chunks_exact(len));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(l, r)| l.wide() * r.wide()).sum();
    let mut sums = Several::<T::Vector, 4>::splat(T::zero());
    for (left, right) in left.zip(right) {
        // SAFETY: as many numbers as four registers have.
        sums = unsafe { Several::load(left.as_ptr()).mul_add(Several::load(right.as_ptr()), sums) };
    }
    let mut parts = [T::zero(); 32];
    // SAFETY: a register is at most 8 numbers.
    unsafe { sums.store(parts.as_mut_ptr()) };
    parts[..len].iter().map(|part| part.wide()).sum::<f64>() + rest
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
