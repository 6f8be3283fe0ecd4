//! Registers of x86: 256 bits where the target has AVX2, else the 128 of SSE2, which every x86-64 has.
//!
//! These are the compiler's own register types: an array of numbers may end up in memory. The intrinsics are unsafe to call
//! where the instructions may be missing; each module below is compiled only where the whole crate may use them.

#[cfg(not(target_feature = "avx512f"))]
use super::Several;
#[cfg(target_feature = "avx512f")]
use super::array::Array;
use super::{Lanes, Vector};
use std::arch::x86_64::*;

/// A register type by its intrinsics.
macro_rules! register {
    (
        $(#[$doc:meta])* $name:ident($raw:ty): $len:literal of $number:ty,
        $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $div:ident $sqrt:ident $least:ident $most:ident
        $and:ident $and_not:ident $or:ident $xor:ident $any:ident $fused:ident,
        $less:ident $equal:ident $select:ident $bit:ident $exp2:ident $exponent:ident $fraction:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name($raw);

        impl Vector<$number> for $name {
            const LEN: usize = $len;
            const FUSED: bool = cfg!(target_feature = "fma");
            #[inline(always)]
            fn splat(number: $number) -> Self {
                Self(unsafe { $splat(number) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn neg(self) -> Self {
                Self(unsafe { $xor(self.0, $splat(-0.0)) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(unsafe { $and_not($splat(-0.0), self.0) })
            }
            #[inline(always)]
            fn with_sign(self, of: Self) -> Self {
                Self(unsafe { $or(self.abs().0, $and($splat(-0.0), of.0)) })
            }
            #[inline(always)]
            fn at_most(self, limit: Self) -> Self {
                // The second where either is NaN or both are zeros.
                Self(unsafe { $least(limit.0, self.0) })
            }
            #[inline(always)]
            fn at_least(self, limit: Self) -> Self {
                Self(unsafe { $most(limit.0, self.0) })
            }
            #[inline(always)]
            fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
                Self(unsafe { $select($less(self.0, other.0), then.0, otherwise.0) })
            }
            #[inline(always)]
            fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
                Self(unsafe { $select($equal(self.0, other.0), then.0, otherwise.0) })
            }
            #[inline(always)]
            fn any_less(self, other: Self) -> bool {
                unsafe { $any($less(self.0, other.0)) != 0 }
            }
            #[inline(always)]
            fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
                Self(unsafe { $select($bit::<BIT>(self.0), then.0, otherwise.0) })
            }
            #[inline(always)]
            fn exp2_rounded(self) -> Self {
                Self(unsafe { $exp2(self.0) })
            }
            #[inline(always)]
            fn exponent(self) -> Self {
                Self(unsafe { $exponent(self.abs().0) })
            }
            #[inline(always)]
            fn significand(self) -> Self {
                Self(unsafe { $or($and(self.0, $splat(<$number>::from_bits($fraction))), $splat(1.0)) })
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                #[cfg(target_feature = "fma")]
                return Self(unsafe { $fused(self.0, factor.0, addend.0) });
                #[cfg(not(target_feature = "fma"))]
                return Self(unsafe { $add($mul(self.0, factor.0), addend.0) });
            }
        }
    };
}

/// 2^52: the bits of an integer n below it are the fraction of 2^52 + n.
const TWO_52: f64 = 4_503_599_627_370_496.0;

#[cfg(not(target_feature = "avx2"))]
mod sse {
    use super::*;

    register! {
        F32x4(__m128): 4 of f32,
        _mm_set1_ps _mm_loadu_ps _mm_storeu_ps _mm_add_ps _mm_sub_ps _mm_mul_ps _mm_div_ps _mm_sqrt_ps _mm_min_ps _mm_max_ps
        _mm_and_ps _mm_andnot_ps _mm_or_ps _mm_xor_ps _mm_movemask_ps _mm_fmadd_ps,
        _mm_cmplt_ps _mm_cmpeq_ps select_ps bit_ps exp2_ps exponent_ps 0x007F_FFFF
    }
    register! {
        F64x2(__m128d): 2 of f64,
        _mm_set1_pd _mm_loadu_pd _mm_storeu_pd _mm_add_pd _mm_sub_pd _mm_mul_pd _mm_div_pd _mm_sqrt_pd _mm_min_pd _mm_max_pd
        _mm_and_pd _mm_andnot_pd _mm_or_pd _mm_xor_pd _mm_movemask_pd _mm_fmadd_pd,
        _mm_cmplt_pd _mm_cmpeq_pd select_pd bit_pd exp2_pd exponent_pd 0x000F_FFFF_FFFF_FFFF
    }

    impl Lanes for f32 {
        type Vector = F32x4;
        type Strip = Several<F32x4, 4>;
        #[inline(always)]
        fn transpose(rows: &mut [F32x4]) {
            // SAFETY: the target has the instructions.
            unsafe {
                let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
                let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
                rows[0] = F32x4(_mm_movelh_ps(ab_low, cd_low));
                rows[1] = F32x4(_mm_movehl_ps(cd_low, ab_low));
                rows[2] = F32x4(_mm_movelh_ps(ab_high, cd_high));
                rows[3] = F32x4(_mm_movehl_ps(cd_high, ab_high));
            }
        }
    }
    impl Lanes for f64 {
        type Vector = F64x2;
        type Strip = Several<F64x2, 4>;
        #[inline(always)]
        fn transpose(rows: &mut [F64x2]) {
            // SAFETY: the target has the instructions.
            unsafe {
                let (a, b) = (rows[0].0, rows[1].0);
                rows[0] = F64x2(_mm_unpacklo_pd(a, b));
                rows[1] = F64x2(_mm_unpackhi_pd(a, b));
            }
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn select_ps(mask: __m128, then: __m128, otherwise: __m128) -> __m128 {
        #[cfg(target_feature = "sse4.1")]
        return unsafe { _mm_blendv_ps(otherwise, then, mask) };
        #[cfg(not(target_feature = "sse4.1"))]
        return _mm_or_ps(_mm_and_ps(mask, then), _mm_andnot_ps(mask, otherwise));
    }
    #[inline]
    #[target_feature(enable = "sse2")]
    fn select_pd(mask: __m128d, then: __m128d, otherwise: __m128d) -> __m128d {
        #[cfg(target_feature = "sse4.1")]
        return unsafe { _mm_blendv_pd(otherwise, then, mask) };
        #[cfg(not(target_feature = "sse4.1"))]
        return _mm_or_pd(_mm_and_pd(mask, then), _mm_andnot_pd(mask, otherwise));
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
}

#[cfg(target_feature = "avx2")]
mod avx {
    use super::*;

    register! {
        F32x8(__m256): 8 of f32,
        _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
        _mm256_sqrt_ps _mm256_min_ps _mm256_max_ps
        _mm256_and_ps _mm256_andnot_ps _mm256_or_ps _mm256_xor_ps _mm256_movemask_ps _mm256_fmadd_ps,
        less_ps equal_ps select_ps bit_ps exp2_ps exponent_ps 0x007F_FFFF
    }
    register! {
        F64x4(__m256d): 4 of f64,
        _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
        _mm256_sqrt_pd _mm256_min_pd _mm256_max_pd
        _mm256_and_pd _mm256_andnot_pd _mm256_or_pd _mm256_xor_pd _mm256_movemask_pd _mm256_fmadd_pd,
        less_pd equal_pd select_pd bit_pd exp2_pd exponent_pd 0x000F_FFFF_FFFF_FFFF
    }

    impl Lanes for f32 {
        type Vector = F32x8;
        #[cfg(not(target_feature = "avx512f"))]
        type Strip = Several<F32x8, 2>;
        // The compiler makes registers of 512 bits of a loop over single numbers, which are faster yet.
        #[cfg(target_feature = "avx512f")]
        type Strip = Array<Self, 1>;
        #[inline(always)]
        fn transpose(rows: &mut [F32x8]) {
            // SAFETY: the target has the instructions.
            unsafe {
                // Pairs of rows, then fours, within each half; then the halves.
                let pair = |i: usize| {
                    let (a, b) = (rows[i].0, rows[i + 1].0);
                    (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
                };
                let four = |i: usize| {
                    let ((ab_low, ab_high), (cd_low, cd_high)) = (pair(i), pair(i + 2));
                    [
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                    ]
                };
                let (upper, lower) = (four(0), four(4));
                for i in 0..4 {
                    rows[i] = F32x8(_mm256_permute2f128_ps::<0x20>(upper[i], lower[i]));
                    rows[i + 4] = F32x8(_mm256_permute2f128_ps::<0x31>(upper[i], lower[i]));
                }
            }
        }
    }
    impl Lanes for f64 {
        type Vector = F64x4;
        #[cfg(not(target_feature = "avx512f"))]
        type Strip = Several<F64x4, 2>;
        // The compiler makes registers of 512 bits of a loop over single numbers, which are faster yet.
        #[cfg(target_feature = "avx512f")]
        type Strip = Array<Self, 1>;
        #[inline(always)]
        fn transpose(rows: &mut [F64x4]) {
            // SAFETY: the target has the instructions.
            unsafe {
                let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
                let (ab_even, ab_odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
                let (cd_even, cd_odd) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
                rows[0] = F64x4(_mm256_permute2f128_pd::<0x20>(ab_even, cd_even));
                rows[1] = F64x4(_mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd));
                rows[2] = F64x4(_mm256_permute2f128_pd::<0x31>(ab_even, cd_even));
                rows[3] = F64x4(_mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd));
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
}
