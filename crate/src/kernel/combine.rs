//! Loops over states: combinations, compensated sums, inner products. Each is one pass over memory.

use super::real::{Real, vector_len};
use super::simd::{Several, Vector};

/// Numbers that a pass keeps in the first-level cache while it adds up terms.
const STRIP: usize = 256;

/// `out = start + Σ c_j k_j`; terms with c_j = 0 are left out.
pub fn combine<'a, T: Real>(out: &mut [T], start: &[T], terms: impl Iterator<Item = (f64, &'a [T])> + Clone) {
    for (strip, out) in out.chunks_mut(STRIP).enumerate() {
        let range = strip * STRIP..strip * STRIP + out.len();
        let mut terms = terms.clone().filter(|term| term.0 != 0.0);
        match terms.next() {
            Some((coefficient, term)) => {
                let coefficient = T::of(coefficient);
                for ((out, &start), &term) in out.iter_mut().zip(&start[range.clone()]).zip(&term[range.clone()]) {
                    *out = start + coefficient * term;
                }
            }
            None => out.copy_from_slice(&start[range.clone()]),
        }
        add_terms(out, range, terms);
    }
}

/// `out = Σ c_j k_j`.
pub fn combine_terms<'a, T: Real>(out: &mut [T], terms: impl Iterator<Item = (f64, &'a [T])> + Clone) {
    for (strip, out) in out.chunks_mut(STRIP).enumerate() {
        let range = strip * STRIP..strip * STRIP + out.len();
        let mut terms = terms.clone().filter(|term| term.0 != 0.0);
        match terms.next() {
            Some((coefficient, term)) => {
                let coefficient = T::of(coefficient);
                for (out, &term) in out.iter_mut().zip(&term[range.clone()]) {
                    *out = coefficient * term;
                }
            }
            None => out.fill(T::zero()),
        }
        add_terms(out, range, terms);
    }
}

#[inline(always)]
fn add_terms<'a, T: Real>(out: &mut [T], range: std::ops::Range<usize>, terms: impl Iterator<Item = (f64, &'a [T])>) {
    for (coefficient, term) in terms {
        let coefficient = T::of(coefficient);
        for (out, &term) in out.iter_mut().zip(&term[range.clone()]) {
            *out = *out + coefficient * term;
        }
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
