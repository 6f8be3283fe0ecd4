//! One vector register, as the target has it: width and fused multiply–add are constants of the target, so that the
//! kernels above are written once.

use std::array::from_fn;

#[cfg(any(
    test,
    target_feature = "avx512f",
    not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))
))]
mod array;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

/// A vector register of `LEN` numbers.
pub trait Vector<T>: Copy {
    const LEN: usize;
    /// Whether [`mul_add`](Self::mul_add) is known to round once.
    const FUSED: bool;
    fn splat(number: T) -> Self;
    /// # Safety
    /// `from` points to `LEN` readable numbers.
    unsafe fn load(from: *const T) -> Self;
    /// # Safety
    /// `to` points to `LEN` writable numbers.
    unsafe fn store(self, to: *mut T);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    /// Its own magnitude with the sign of another.
    fn with_sign(self, of: Self) -> Self;
    /// The lesser of it and a limit; NaN stays.
    fn at_most(self, limit: Self) -> Self;
    /// The greater of it and a limit; NaN stays.
    fn at_least(self, limit: Self) -> Self;
    /// Lane by lane `then` where it is less than `other`, else `otherwise`.
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Lane by lane `then` where it equals `other`, else `otherwise`.
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Whether it is less than `other` in any lane.
    fn any_less(self, other: Self) -> bool;
    /// Lane by lane `then` where bit `BIT` of its representation is set, else `otherwise`.
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self;
    /// 2^n from n + 1.5·2^p, p being the bits of the fraction.
    fn exp2_rounded(self) -> Self;
    /// The e of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn exponent(self) -> Self;
    /// The m of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn significand(self) -> Self;
    /// self·factor + addend, rounded once where the target has the instruction.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

/// The vector register for a number type on this target.
pub trait Lanes: Sized {
    type Vector: Vector<Self>;
    /// What loops over single numbers work on at a time.
    type Strip: Vector<Self>;
    /// Transposes the square block at the front of `rows`.
    fn transpose(rows: &mut [Self::Vector]);
}

/// Registers side by side, worked on together so that their chains of operations hide each other's latency.
#[derive(Clone, Copy)]
pub struct Several<V, const N: usize>([V; N]);

impl<V: Copy, const N: usize> Several<V, N> {
    /// One by one.
    #[inline(always)]
    pub fn registers(self) -> [V; N] {
        self.0
    }
}

impl<T, V: Vector<T>, const N: usize> Vector<T> for Several<V, N> {
    const LEN: usize = N * V::LEN;
    const FUSED: bool = V::FUSED;
    #[inline(always)]
    fn splat(number: T) -> Self {
        Self([V::splat(number); N])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        Self(from_fn(|i| unsafe { V::load(from.add(i * V::LEN)) }))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        for (i, register) in self.0.into_iter().enumerate() {
            unsafe { register.store(to.add(i * V::LEN)) }
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].add(other.0[i])))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].sub(other.0[i])))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].mul(other.0[i])))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].div(other.0[i])))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(V::sqrt))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Self(self.0.map(V::neg))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(V::abs))
    }
    #[inline(always)]
    fn with_sign(self, of: Self) -> Self {
        Self(from_fn(|i| self.0[i].with_sign(of.0[i])))
    }
    #[inline(always)]
    fn at_most(self, limit: Self) -> Self {
        Self(from_fn(|i| self.0[i].at_most(limit.0[i])))
    }
    #[inline(always)]
    fn at_least(self, limit: Self) -> Self {
        Self(from_fn(|i| self.0[i].at_least(limit.0[i])))
    }
    #[inline(always)]
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| self.0[i].select_less(other.0[i], then.0[i], otherwise.0[i])))
    }
    #[inline(always)]
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| self.0[i].select_equal(other.0[i], then.0[i], otherwise.0[i])))
    }
    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        // Without a way out of the loop, it is unrolled.
        self.0.into_iter().zip(other.0).fold(false, |any, (left, right)| any | left.any_less(right))
    }
    #[inline(always)]
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| self.0[i].select_bit::<BIT>(then.0[i], otherwise.0[i])))
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Self(self.0.map(V::exp2_rounded))
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        Self(self.0.map(V::exponent))
    }
    #[inline(always)]
    fn significand(self) -> Self {
        Self(self.0.map(V::significand))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
    }
}

#[cfg(test)]
mod tests {
    use super::array::Array;
    use super::*;
    use crate::kernel::math;
    use crate::kernel::real::Real;

    const NUMBERS: [f64; 16] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.3,
        -2.7,
        1e-3,
        123.456,
        -1e5,
        3.0e38,
        2e-38,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        0.999_999,
        5.5,
    ];

    /// What an operation makes of every triple of numbers, in registers V: NaN in whichever form.
    fn results<T: Real, V: Vector<T>>(f: impl Fn(V, V, V) -> V) -> Vec<u64> {
        let len = V::LEN;
        let numbers: Vec<T> = (0..NUMBERS.len() + len).map(|i| T::of(NUMBERS[i % NUMBERS.len()])).collect();
        let mut all = Vec::new();
        for second in 0..NUMBERS.len() {
            for third in 0..NUMBERS.len() {
                for first in (0..NUMBERS.len()).step_by(len) {
                    let mut result = [T::zero(); 32];
                    // SAFETY: there are as many numbers more as a register has.
                    unsafe {
                        let [a, b, c] = [first, second, third].map(|at| V::load(numbers[at..].as_ptr()));
                        f(a, b, c).store(result.as_mut_ptr());
                    }
                    all.extend(result[..len].iter().map(|x| if x.is_nan() { T::nan() } else { *x }.wide().to_bits()));
                }
            }
        }
        all
    }

    fn check<T: Real, const N: usize>() {
        macro_rules! same {
            ($($f:expr),*) => {
                $(
                    let expected = results::<T, Array<T, N>>($f);
                    assert!(results::<T, T::Vector>($f) == expected, "{}", stringify!($f));
                )*
            };
        }
        assert_eq!(N, T::Vector::LEN);
        same!(
            |a, b, _| a.add(b),
            |a, b, _| a.sub(b),
            |a, b, _| a.mul(b),
            |a, b, _| a.div(b),
            |a, b, c| a.mul_add(b, c),
            |a, _, _| a.sqrt(),
            |a, _, _| a.neg(),
            |a, _, _| a.abs(),
            |a, b, _| a.with_sign(b),
            |a, b, _| a.at_most(b),
            |a, b, _| a.at_least(b),
            |a, b, c| a.select_less(b, c, a),
            |a, b, c| a.select_equal(b, c, a),
            |a, b, c| a.select_bit::<0>(b, c),
            |a, b, c| a.select_bit::<1>(b, c),
            |a, b, c| a.select_bit::<22>(b, c),
            |a, _, _| a.exponent(),
            |a, _, _| a.significand(),
            |a, _, _| a
                .at_least(Vector::splat(T::of(-50.0)))
                .at_most(Vector::splat(T::of(50.0)))
                .add(Vector::splat(T::ROUND))
                .exp2_rounded(),
            |a, b, _| Vector::splat(if a.any_less(b) { T::one() } else { T::zero() }),
            // The functions too, in any registers.
            |a, b, _| math::pow(a, b),
            |a, b, _| math::atan2(a, b),
            |a, _, _| math::exp(a),
            |a, _, _| math::log1p(a),
            |a, _, _| math::tan_anywhere(a),
            |a, _, _| math::asin(a)
        );
        let mut rows: Vec<T::Vector> = Vec::new();
        let numbers: Vec<T> = (0..N * N).map(|i| T::of(i as f64)).collect();
        for row in numbers.chunks(N) {
            // SAFETY: as many numbers as a register has.
            rows.push(unsafe { Vector::load(row.as_ptr()) });
        }
        T::transpose(&mut rows);
        for (i, row) in rows.iter().enumerate() {
            let mut column = vec![T::zero(); N];
            // SAFETY: as above.
            unsafe { row.store(column.as_mut_ptr()) };
            assert!((0..N).all(|j| column[j] == numbers[j * N + i]), "row {i} of the transpose");
        }
    }

    #[test]
    fn registers_do_what_arrays_do() {
        check::<f32, { <f32 as Lanes>::Vector::LEN }>();
        check::<f64, { <f64 as Lanes>::Vector::LEN }>();
    }
}
