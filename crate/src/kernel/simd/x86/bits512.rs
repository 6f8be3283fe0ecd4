//! 512 bits: AVX-512, with the parts F, BW, DQ and VL that all machines with it have had since 2017.

use super::{Register, TWO_52, Vector, register};
use std::arch::x86_64::*;

register! {
    F32x16(__m512): 16 of f32, true,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps store_one_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
    _mm512_sqrt_ps _mm512_min_ps _mm512_max_ps
    _mm512_and_ps _mm512_andnot_ps _mm512_or_ps _mm512_xor_ps any_16 _mm512_fmadd_ps,
    less_ps equal_ps select_ps bit_ps exp2_ps exponent_ps 0x007F_FFFF
}
register! {
    F64x8(__m512d): 8 of f64, true,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd store_one_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd
    _mm512_sqrt_pd _mm512_min_pd _mm512_max_pd
    _mm512_and_pd _mm512_andnot_pd _mm512_or_pd _mm512_xor_pd any_8 _mm512_fmadd_pd,
    less_pd equal_pd select_pd bit_pd exp2_pd exponent_pd 0x000F_FFFF_FFFF_FFFF
}

impl Register<f32> for F32x16<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            // Fours of rows within each quarter of a register; then the quarters, as a 4 × 4 matrix of them.
            for first in [0, 4, 8, 12] {
                let [a, b, c, d] = [rows[first].0, rows[first + 1].0, rows[first + 2].0, rows[first + 3].0];
                let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                rows[first] = Self(_mm512_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low));
                rows[first + 1] = Self(_mm512_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low));
                rows[first + 2] = Self(_mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high));
                rows[first + 3] = Self(_mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high));
            }
            for i in 0..4 {
                let [a, b, c, d] = [rows[i].0, rows[i + 4].0, rows[i + 8].0, rows[i + 12].0];
                let (ab_even, ab_odd) =
                    (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
                let (cd_even, cd_odd) =
                    (_mm512_shuffle_f32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
                rows[i] = Self(_mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even));
                rows[i + 4] = Self(_mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd));
                rows[i + 8] = Self(_mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even));
                rows[i + 12] = Self(_mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd));
            }
        }
    }
}
impl Register<f64> for F64x8<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            // Pairs of rows within each quarter of a register; then the quarters, as a 4 × 4 matrix of them.
            for first in [0, 2, 4, 6] {
                let (a, b) = (rows[first].0, rows[first + 1].0);
                rows[first] = Self(_mm512_unpacklo_pd(a, b));
                rows[first + 1] = Self(_mm512_unpackhi_pd(a, b));
            }
            for i in 0..2 {
                let [a, b, c, d] = [rows[i].0, rows[i + 2].0, rows[i + 4].0, rows[i + 6].0];
                let (ab_even, ab_odd) =
                    (_mm512_shuffle_f64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b));
                let (cd_even, cd_odd) =
                    (_mm512_shuffle_f64x2::<0b10_00_10_00>(c, d), _mm512_shuffle_f64x2::<0b11_01_11_01>(c, d));
                rows[i] = Self(_mm512_shuffle_f64x2::<0b10_00_10_00>(ab_even, cd_even));
                rows[i + 2] = Self(_mm512_shuffle_f64x2::<0b10_00_10_00>(ab_odd, cd_odd));
                rows[i + 4] = Self(_mm512_shuffle_f64x2::<0b11_01_11_01>(ab_even, cd_even));
                rows[i + 6] = Self(_mm512_shuffle_f64x2::<0b11_01_11_01>(ab_odd, cd_odd));
            }
        }
    }
}

#[inline]
fn any_16(mask: __mmask16) -> u32 {
    u32::from(mask)
}
#[inline]
fn any_8(mask: __mmask8) -> u32 {
    u32::from(mask)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn less_ps(left: __m512, right: __m512) -> __mmask16 {
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn less_pd(left: __m512d, right: __m512d) -> __mmask8 {
    _mm512_cmp_pd_mask::<_CMP_LT_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn equal_ps(left: __m512, right: __m512) -> __mmask16 {
    _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn equal_pd(left: __m512d, right: __m512d) -> __mmask8 {
    _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(left, right)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn select_ps(mask: __mmask16, then: __m512, otherwise: __m512) -> __m512 {
    _mm512_mask_blend_ps(mask, otherwise, then)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn select_pd(mask: __mmask8, then: __m512d, otherwise: __m512d) -> __m512d {
    _mm512_mask_blend_pd(mask, otherwise, then)
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn bit_ps<const BIT: u32>(of: __m512) -> __mmask16 {
    _mm512_test_epi32_mask(_mm512_castps_si512(of), _mm512_set1_epi32(1 << BIT))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn bit_pd<const BIT: u32>(of: __m512d) -> __mmask8 {
    _mm512_test_epi64_mask(_mm512_castpd_si512(of), _mm512_set1_epi64(1 << BIT))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn exp2_ps(n: __m512) -> __m512 {
    let one = _mm512_castps_si512(_mm512_set1_ps(1.0));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32::<23>(_mm512_castps_si512(n)), one))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn exp2_pd(n: __m512d) -> __m512d {
    let one = _mm512_castpd_si512(_mm512_set1_pd(1.0));
    _mm512_castsi512_pd(_mm512_add_epi64(_mm512_slli_epi64::<52>(_mm512_castpd_si512(n)), one))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn exponent_ps(of: __m512) -> __m512 {
    let biased = _mm512_srli_epi32::<23>(_mm512_castps_si512(of));
    _mm512_sub_ps(_mm512_cvtepi32_ps(biased), _mm512_set1_ps(127.0))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn exponent_pd(of: __m512d) -> __m512d {
    let biased = _mm512_castsi512_pd(_mm512_srli_epi64::<52>(_mm512_castpd_si512(of)));
    _mm512_sub_pd(_mm512_or_pd(biased, _mm512_set1_pd(TWO_52)), _mm512_set1_pd(TWO_52 + 1023.0))
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn store_one_ps(to: *mut f32, from: __m512) {
    unsafe { _mm_store_ss(to, _mm512_castps512_ps128(from)) }
}
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn store_one_pd(to: *mut f64, from: __m512d) {
    unsafe { _mm_store_sd(to, _mm512_castpd512_pd128(from)) }
}
