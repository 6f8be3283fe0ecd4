//! Loops over states: combinations, compensated sums, inner products. Each is one pass over memory.

use super::real::Real;

/// Numbers that a pass keeps in the first-level cache while it adds up terms.
const STRIP: usize = 256;

/// `out = start + Σ c_j k_j`; terms with c_j = 0 are left out.
pub fn combine<'a, T: Real>(out: &mut [T], start: &[T], terms: impl Iterator<Item = (f64, &'a [T])> + Clone) {
    for (strip, out) in out.chunks_mut(STRIP).enumerate() {
        let range = strip * STRIP..strip * STRIP + out.len();
        out.copy_from_slice(&start[range.clone()]);
        add_terms(out, range, terms.clone());
    }
}

/// `out = Σ c_j k_j`.
pub fn combine_terms<'a, T: Real>(out: &mut [T], terms: impl Iterator<Item = (f64, &'a [T])> + Clone) {
    for (strip, out) in out.chunks_mut(STRIP).enumerate() {
        let range = strip * STRIP..strip * STRIP + out.len();
        out.fill(T::zero());
        add_terms(out, range, terms.clone());
    }
}

#[inline(always)]
fn add_terms<'a, T: Real>(out: &mut [T], range: std::ops::Range<usize>, terms: impl Iterator<Item = (f64, &'a [T])>) {
    for (coefficient, term) in terms {
        if coefficient != 0.0 {
            let coefficient = T::of(coefficient);
            for (out, &term) in out.iter_mut().zip(&term[range.clone()]) {
                *out = *out + coefficient * term;
            }
        }
    }
}

/// Whether sums that run over many steps carry their rounding error along (Kahan, CACM 8(1), 1965).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summation {
    Compensated,
    Plain,
}

/// `sum += increment`, where `carry` is what earlier additions rounded away.
///
/// The carry is zero throughout under plain summation, so that one loop serves both.
pub fn accumulate<T: Real>(summation: Summation, sum: &mut [T], carry: &mut [T], increment: &[T]) {
    for ((sum, carry), &increment) in sum.iter_mut().zip(carry).zip(increment) {
        let corrected = increment - *carry;
        let next = *sum + corrected;
        *carry = match summation {
            Summation::Compensated => (next - *sum) - corrected,
            Summation::Plain => T::zero(),
        };
        *sum = next;
    }
}

/// The inner product, in 16 interleaved partial sums.
pub fn dot<T: Real>(left: &[T], right: &[T]) -> f64 {
    let mut sums = [T::zero(); 16];
    let (left, right) = (left.chunks_exact(16), right.chunks_exact(16));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(l, r)| l.wide() * r.wide()).sum();
    for (left, right) in left.zip(right) {
        for (sum, (&l, &r)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum = *sum + l * r;
        }
    }
    sums.iter().map(|sum| sum.wide()).sum::<f64>() + rest
}

/// The sum, in 16 interleaved partial sums.
pub fn total<T: Real>(numbers: &[T]) -> T {
    let mut sums = [T::zero(); 16];
    for strip in numbers.chunks(16) {
        for (sum, &number) in sums.iter_mut().zip(strip) {
            *sum = *sum + number;
        }
    }
    sums.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensated_sums_keep_what_plain_ones_lose() {
        let mut results = Vec::new();
        for summation in [Summation::Compensated, Summation::Plain] {
            let (mut sum, mut carry) = ([1.0_f32], [0.0_f32]);
            for _ in 0..1_000_000 {
                accumulate(summation, &mut sum, &mut carry, &[1e-8]);
            }
            results.push(sum[0]);
        }
        assert!((results[0] - 1.01).abs() < 1e-6);
        assert_eq!(results[1], 1.0);
    }
}
