//! An array of numbers: the registers of targets that have no file here, and the reference for tests of the others.

use super::{Register, Vector};
use crate::kernel::real::Real;
use std::array::from_fn;

/// An array that the compiler may keep in a register; FUSED where products and sums are to be rounded once.
#[derive(Clone, Copy)]
pub struct Array<T, const N: usize, const FUSED: bool>([T; N]);

/// What other targets than those beside this file use.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
mod target {
    use super::Array;
    use crate::kernel::simd::Registers;

    // Without the instruction, `mul_add` would be a call into the C library.
    const FUSED: bool = false;

    impl Registers for f32 {
        type Register128 = Array<f32, 4, FUSED>;
        type One128 = Array<f32, 1, FUSED>;
    }
    impl Registers for f64 {
        type Register128 = Array<f64, 2, FUSED>;
        type One128 = Array<f64, 1, FUSED>;
    }
}

impl<T: Real, const N: usize, const FUSED: bool> Register<T> for Array<T, N, FUSED> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        for i in 0..N {
            for j in 0..i {
                let upper = rows[j].0[i];
                rows[j].0[i] = rows[i].0[j];
                rows[i].0[j] = upper;
            }
        }
    }
}

impl<T: Real, const N: usize, const FUSED: bool> Vector<T> for Array<T, N, FUSED> {
    const LEN: usize = N;
    const FUSED: bool = FUSED;
    #[inline(always)]
    fn splat(number: T) -> Self {
        Self([number; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        Self(unsafe { from.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] / other.0[i]))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(T::sqrt))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Self(self.0.map(T::neg))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(T::abs))
    }
    #[inline(always)]
    fn with_sign(self, of: Self) -> Self {
        Self(from_fn(|i| self.0[i].copysign(of.0[i])))
    }
    #[inline(always)]
    fn at_most(self, limit: Self) -> Self {
        limit.select_less(self, limit, self)
    }
    #[inline(always)]
    fn at_least(self, limit: Self) -> Self {
        self.select_less(limit, limit, self)
    }
    #[inline(always)]
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| if self.0[i] < other.0[i] { then.0[i] } else { otherwise.0[i] }))
    }
    #[inline(always)]
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| if self.0[i] == other.0[i] { then.0[i] } else { otherwise.0[i] }))
    }
    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        self.0.into_iter().zip(other.0).fold(false, |any, (left, right)| any | (left < right))
    }
    #[inline(always)]
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| if self.0[i].bit(BIT) { then.0[i] } else { otherwise.0[i] }))
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Self(self.0.map(T::exp2_rounded))
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        Self(self.0.map(T::exponent))
    }
    #[inline(always)]
    fn significand(self) -> Self {
        Self(self.0.map(T::significand))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(from_fn(|i| match FUSED {
            true => self.0[i].mul_add(factor.0[i], addend.0[i]),
            false => self.0[i] * factor.0[i] + addend.0[i],
        }))
    }
}
