//! 128 bits: SSE2, without fused multiply–add.

use super::{Register, TWO_52, Vector, register};
use std::arch::x86_64::*;

register! {
    F32x4(__m128): 4 of f32, false,
    _mm_set1_ps _mm_loadu_ps _mm_storeu_ps _mm_store_ss _mm_add_ps _mm_sub_ps _mm_mul_ps _mm_div_ps _mm_sqrt_ps _mm_min_ps _mm_max_ps
    _mm_and_ps _mm_andnot_ps _mm_or_ps _mm_xor_ps _mm_movemask_ps mul_add_ps,
    _mm_cmplt_ps _mm_cmpeq_ps select_ps bit_ps exp2_ps exponent_ps 0x007F_FFFF
}
register! {
    F64x2(__m128d): 2 of f64, false,
    _mm_set1_pd _mm_loadu_pd _mm_storeu_pd _mm_store_sd _mm_add_pd _mm_sub_pd _mm_mul_pd _mm_div_pd _mm_sqrt_pd _mm_min_pd _mm_max_pd
    _mm_and_pd _mm_andnot_pd _mm_or_pd _mm_xor_pd _mm_movemask_pd mul_add_pd,
    _mm_cmplt_pd _mm_cmpeq_pd select_pd bit_pd exp2_pd exponent_pd 0x000F_FFFF_FFFF_FFFF
}

impl Register<f32> for F32x4<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
            let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            rows[0] = Self(_mm_movelh_ps(ab_low, cd_low));
            rows[1] = Self(_mm_movehl_ps(cd_low, ab_low));
            rows[2] = Self(_mm_movelh_ps(ab_high, cd_high));
            rows[3] = Self(_mm_movehl_ps(cd_high, ab_high));
        }
    }
}
impl Register<f64> for F64x2<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            let (a, b) = (rows[0].0, rows[1].0);
            rows[0] = Self(_mm_unpacklo_pd(a, b));
            rows[1] = Self(_mm_unpackhi_pd(a, b));
        }
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn select_ps(mask: __m128, then: __m128, otherwise: __m128) -> __m128 {
    _mm_or_ps(_mm_and_ps(mask, then), _mm_andnot_ps(mask, otherwise))
}
#[inline]
#[target_feature(enable = "sse2")]
fn select_pd(mask: __m128d, then: __m128d, otherwise: __m128d) -> __m128d {
    _mm_or_pd(_mm_and_pd(mask, then), _mm_andnot_pd(mask, otherwise))
}
#[inline]
#[target_feature(enable = "sse2")]
fn bit_ps<const BIT: u32>(of: __m128) -> __m128 {
    let sign = _mm_sll_epi32(_mm_castps_si128(of), _mm_cvtsi32_si128(31 - BIT as i32));
    _mm_castsi128_ps(_mm_srai_epi32::<31>(sign))
}
#[inline]
#[target_feature(enable = "sse2")]
fn bit_pd<const BIT: u32>(of: __m128d) -> __m128d {
    // There is no arithmetic shift of 64 bits: the upper half of each number has the bit, and both halves get it.
    let sign = _mm_sll_epi64(_mm_castpd_si128(of), _mm_cvtsi32_si128(63 - BIT as i32));
    _mm_castsi128_pd(_mm_shuffle_epi32::<0b11_11_01_01>(_mm_srai_epi32::<31>(sign)))
}
#[inline]
#[target_feature(enable = "sse2")]
fn exp2_ps(n: __m128) -> __m128 {
    let one = _mm_castps_si128(_mm_set1_ps(1.0));
    _mm_castsi128_ps(_mm_add_epi32(_mm_slli_epi32::<23>(_mm_castps_si128(n)), one))
}
#[inline]
#[target_feature(enable = "sse2")]
fn exp2_pd(n: __m128d) -> __m128d {
    let one = _mm_castpd_si128(_mm_set1_pd(1.0));
    _mm_castsi128_pd(_mm_add_epi64(_mm_slli_epi64::<52>(_mm_castpd_si128(n)), one))
}
#[inline]
#[target_feature(enable = "sse2")]
fn exponent_ps(of: __m128) -> __m128 {
    _mm_sub_ps(_mm_cvtepi32_ps(_mm_srli_epi32::<23>(_mm_castps_si128(of))), _mm_set1_ps(127.0))
}
#[inline]
#[target_feature(enable = "sse2")]
fn exponent_pd(of: __m128d) -> __m128d {
    let biased = _mm_castsi128_pd(_mm_srli_epi64::<52>(_mm_castpd_si128(of)));
    _mm_sub_pd(_mm_or_pd(biased, _mm_set1_pd(TWO_52)), _mm_set1_pd(TWO_52 + 1023.0))
}

#[inline]
#[target_feature(enable = "sse2")]
fn mul_add_ps(a: __m128, b: __m128, c: __m128) -> __m128 {
    _mm_add_ps(_mm_mul_ps(a, b), c)
}
#[inline]
#[target_feature(enable = "sse2")]
fn mul_add_pd(a: __m128d, b: __m128d, c: __m128d) -> __m128d {
    _mm_add_pd(_mm_mul_pd(a, b), c)
}
