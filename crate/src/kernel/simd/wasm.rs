//! 128 bits of WebAssembly.

use super::{Register, Registers, Vector};
use std::arch::wasm32::*;

const TWO_52: f64 = 4_503_599_627_370_496.0;

/// Four numbers; of ONE, the first is loaded into all and stored.
#[derive(Clone, Copy)]
pub struct F32x4<const ONE: bool>(v128);
/// Two numbers; of ONE, the first is loaded into both and stored.
#[derive(Clone, Copy)]
pub struct F64x2<const ONE: bool>(v128);

/// Lane by lane by a mask whose lanes are all ones or all zeros.
///
/// Limits are set by it too: the compiler makes of `pmin` and `pmax` relaxed ones, which swallow NaN.
#[inline(always)]
fn select(then: v128, otherwise: v128, mask: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return i8x16_relaxed_laneselect(then, otherwise, mask);
    #[cfg(not(target_feature = "relaxed-simd"))]
    return v128_bitselect(then, otherwise, mask);
}

impl Registers for f32 {
    type Register128 = F32x4<false>;
    type One128 = F32x4<true>;
}
impl Registers for f64 {
    type Register128 = F64x2<false>;
    type One128 = F64x2<true>;
}

impl Register<f32> for F32x4<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
        let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        rows[0] = Self(i64x2_shuffle::<0, 2>(ab_low, cd_low));
        rows[1] = Self(i64x2_shuffle::<1, 3>(ab_low, cd_low));
        rows[2] = Self(i64x2_shuffle::<0, 2>(ab_high, cd_high));
        rows[3] = Self(i64x2_shuffle::<1, 3>(ab_high, cd_high));
    }
}
impl Register<f64> for F64x2<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        let (a, b) = (rows[0].0, rows[1].0);
        rows[0] = Self(i64x2_shuffle::<0, 2>(a, b));
        rows[1] = Self(i64x2_shuffle::<1, 3>(a, b));
    }
}

impl<const ONE: bool> Vector<f32> for F32x4<ONE> {
    const LEN: usize = if ONE { 1 } else { 4 };
    // Relaxed: as the engine likes.
    const FUSED: bool = false;
    #[inline(always)]
    fn splat(number: f32) -> Self {
        Self(f32x4_splat(number))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { if ONE { v128_load32_splat(from.cast()) } else { v128_load(from.cast()) } })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { if ONE { v128_store32_lane::<0>(self.0, to.cast()) } else { v128_store(to.cast(), self.0) } }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(f32x4_sqrt(self.0))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Self(f32x4_neg(self.0))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(f32x4_abs(self.0))
    }
    #[inline(always)]
    fn with_sign(self, of: Self) -> Self {
        Self(v128_bitselect(of.0, self.0, f32x4_splat(-0.0)))
    }
    #[inline(always)]
    fn at_most(self, limit: Self) -> Self {
        Self(select(limit.0, self.0, f32x4_lt(limit.0, self.0)))
    }
    #[inline(always)]
    fn at_least(self, limit: Self) -> Self {
        Self(select(limit.0, self.0, f32x4_lt(self.0, limit.0)))
    }
    #[inline(always)]
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(select(then.0, otherwise.0, f32x4_lt(self.0, other.0)))
    }
    #[inline(always)]
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(select(then.0, otherwise.0, f32x4_eq(self.0, other.0)))
    }
    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        v128_any_true(f32x4_lt(self.0, other.0))
    }
    #[inline(always)]
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        let mask = i32x4_shr(i32x4_shl(self.0, 31 - BIT), 31);
        Self(select(then.0, otherwise.0, mask))
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Self(i32x4_add(i32x4_shl(self.0, 23), f32x4_splat(1.0)))
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        Self(f32x4_sub(f32x4_convert_u32x4(u32x4_shr(f32x4_abs(self.0), 23)), f32x4_splat(127.0)))
    }
    #[inline(always)]
    fn significand(self) -> Self {
        Self(v128_or(v128_and(self.0, u32x4_splat(0x007F_FFFF)), f32x4_splat(1.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        #[cfg(target_feature = "relaxed-simd")]
        return Self(f32x4_relaxed_madd(self.0, factor.0, addend.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return Self(f32x4_add(f32x4_mul(self.0, factor.0), addend.0));
    }
}

impl<const ONE: bool> Vector<f64> for F64x2<ONE> {
    const LEN: usize = if ONE { 1 } else { 2 };
    // Relaxed: as the engine likes.
    const FUSED: bool = false;
    #[inline(always)]
    fn splat(number: f64) -> Self {
        Self(f64x2_splat(number))
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        Self(unsafe { if ONE { v128_load64_splat(from.cast()) } else { v128_load(from.cast()) } })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe { if ONE { v128_store64_lane::<0>(self.0, to.cast()) } else { v128_store(to.cast(), self.0) } }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f64x2_add(self.0, other.0))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(f64x2_sub(self.0, other.0))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(f64x2_mul(self.0, other.0))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(f64x2_div(self.0, other.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(f64x2_sqrt(self.0))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Self(f64x2_neg(self.0))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(f64x2_abs(self.0))
    }
    #[inline(always)]
    fn with_sign(self, of: Self) -> Self {
        Self(v128_bitselect(of.0, self.0, f64x2_splat(-0.0)))
    }
    #[inline(always)]
    fn at_most(self, limit: Self) -> Self {
        Self(select(limit.0, self.0, f64x2_lt(limit.0, self.0)))
    }
    #[inline(always)]
    fn at_least(self, limit: Self) -> Self {
        Self(select(limit.0, self.0, f64x2_lt(self.0, limit.0)))
    }
    #[inline(always)]
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(select(then.0, otherwise.0, f64x2_lt(self.0, other.0)))
    }
    #[inline(always)]
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(select(then.0, otherwise.0, f64x2_eq(self.0, other.0)))
    }
    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        v128_any_true(f64x2_lt(self.0, other.0))
    }
    #[inline(always)]
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        let mask = i64x2_shr(i64x2_shl(self.0, 63 - BIT), 63);
        Self(select(then.0, otherwise.0, mask))
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Self(i64x2_add(i64x2_shl(self.0, 52), f64x2_splat(1.0)))
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        // The bits of an integer below 2^52 are the fraction of 2^52 plus that integer.
        let biased = v128_or(u64x2_shr(f64x2_abs(self.0), 52), f64x2_splat(TWO_52));
        Self(f64x2_sub(biased, f64x2_splat(TWO_52 + 1023.0)))
    }
    #[inline(always)]
    fn significand(self) -> Self {
        Self(v128_or(v128_and(self.0, u64x2_splat(0x000F_FFFF_FFFF_FFFF)), f64x2_splat(1.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        #[cfg(target_feature = "relaxed-simd")]
        return Self(f64x2_relaxed_madd(self.0, factor.0, addend.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return Self(f64x2_add(f64x2_mul(self.0, factor.0), addend.0));
    }
}
