//! 256 bits: AVX2 with fused multiply–add.

use super::{Register, TWO_52, Vector, register};
use std::arch::x86_64::*;

register! {
    F32x8(__m256): 8 of f32, true,
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps store_one_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    _mm256_sqrt_ps _mm256_min_ps _mm256_max_ps
    _mm256_and_ps _mm256_andnot_ps _mm256_or_ps _mm256_xor_ps _mm256_movemask_ps _mm256_fmadd_ps,
    less_ps equal_ps select_ps bit_ps exp2_ps exponent_ps 0x007F_FFFF
}
register! {
    F64x4(__m256d): 4 of f64, true,
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd store_one_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
    _mm256_sqrt_pd _mm256_min_pd _mm256_max_pd
    _mm256_and_pd _mm256_andnot_pd _mm256_or_pd _mm256_xor_pd _mm256_movemask_pd _mm256_fmadd_pd,
    less_pd equal_pd select_pd bit_pd exp2_pd exponent_pd 0x000F_FFFF_FFFF_FFFF
}

impl Register<f32> for F32x8<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            // Pairs of rows, then fours, within each half; then the halves.
            for first in [0, 4] {
                let [a, b, c, d] = [rows[first].0, rows[first + 1].0, rows[first + 2].0, rows[first + 3].0];
                let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                rows[first] = Self(_mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low));
                rows[first + 1] = Self(_mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low));
                rows[first + 2] = Self(_mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high));
                rows[first + 3] = Self(_mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high));
            }
            for i in 0..4 {
                let (upper, lower) = (rows[i].0, rows[i + 4].0);
                rows[i] = Self(_mm256_permute2f128_ps::<0x20>(upper, lower));
                rows[i + 4] = Self(_mm256_permute2f128_ps::<0x31>(upper, lower));
            }
        }
    }
}
impl Register<f64> for F64x4<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
            let (ab_even, ab_odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            let (cd_even, cd_odd) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
            rows[0] = Self(_mm256_permute2f128_pd::<0x20>(ab_even, cd_even));
            rows[1] = Self(_mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd));
            rows[2] = Self(_mm256_permute2f128_pd::<0x31>(ab_even, cd_even));
            rows[3] = Self(_mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn less_ps(left: __m256, right: __m256) -> __m256 {
    _mm256_cmp_ps::<_CMP_LT_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx2")]
fn less_pd(left: __m256d, right: __m256d) -> __m256d {
    _mm256_cmp_pd::<_CMP_LT_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx2")]
fn equal_ps(left: __m256, right: __m256) -> __m256 {
    _mm256_cmp_ps::<_CMP_EQ_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx2")]
fn equal_pd(left: __m256d, right: __m256d) -> __m256d {
    _mm256_cmp_pd::<_CMP_EQ_OQ>(left, right)
}
/// By the signs of a mask.
#[inline]
#[target_feature(enable = "avx2")]
fn select_ps(mask: __m256, then: __m256, otherwise: __m256) -> __m256 {
    _mm256_blendv_ps(otherwise, then, mask)
}
/// By the signs of a mask.
#[inline]
#[target_feature(enable = "avx2")]
fn select_pd(mask: __m256d, then: __m256d, otherwise: __m256d) -> __m256d {
    _mm256_blendv_pd(otherwise, then, mask)
}
/// A mask with the bit as sign.
#[inline]
#[target_feature(enable = "avx2")]
fn bit_ps<const BIT: u32>(of: __m256) -> __m256 {
    _mm256_castsi256_ps(_mm256_sll_epi32(_mm256_castps_si256(of), _mm_cvtsi32_si128(31 - BIT as i32)))
}
/// A mask with the bit as sign.
#[inline]
#[target_feature(enable = "avx2")]
fn bit_pd<const BIT: u32>(of: __m256d) -> __m256d {
    _mm256_castsi256_pd(_mm256_sll_epi64(_mm256_castpd_si256(of), _mm_cvtsi32_si128(63 - BIT as i32)))
}
#[inline]
#[target_feature(enable = "avx2")]
fn exp2_ps(n: __m256) -> __m256 {
    let one = _mm256_castps_si256(_mm256_set1_ps(1.0));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32::<23>(_mm256_castps_si256(n)), one))
}
#[inline]
#[target_feature(enable = "avx2")]
fn exp2_pd(n: __m256d) -> __m256d {
    let one = _mm256_castpd_si256(_mm256_set1_pd(1.0));
    _mm256_castsi256_pd(_mm256_add_epi64(_mm256_slli_epi64::<52>(_mm256_castpd_si256(n)), one))
}
#[inline]
#[target_feature(enable = "avx2")]
fn exponent_ps(of: __m256) -> __m256 {
    let biased = _mm256_srli_epi32::<23>(_mm256_castps_si256(of));
    _mm256_sub_ps(_mm256_cvtepi32_ps(biased), _mm256_set1_ps(127.0))
}
#[inline]
#[target_feature(enable = "avx2")]
fn exponent_pd(of: __m256d) -> __m256d {
    let biased = _mm256_castsi256_pd(_mm256_srli_epi64::<52>(_mm256_castpd_si256(of)));
    _mm256_sub_pd(_mm256_or_pd(biased, _mm256_set1_pd(TWO_52)), _mm256_set1_pd(TWO_52 + 1023.0))
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_one_ps(to: *mut f32, from: __m256) {
    unsafe { _mm_store_ss(to, _mm256_castps256_ps128(from)) }
}
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_one_pd(to: *mut f64, from: __m256d) {
    unsafe { _mm_store_sd(to, _mm256_castpd256_pd128(from)) }
}
