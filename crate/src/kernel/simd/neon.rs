//! 128 bits of NEON, which every 64-bit Arm has, with fused multiply–add.

use super::{Register, Registers, Vector};
use std::arch::aarch64::*;

impl Registers for f32 {
    type Register128 = F32x4<false>;
    type One128 = F32x4<true>;
}
impl Registers for f64 {
    type Register128 = F64x2<false>;
    type One128 = F64x2<true>;
}

/// A register type by its intrinsics.
macro_rules! register {
    (
        $name:ident($raw:ty): $len:literal of $number:ty,
        $splat:ident $load:ident $store:ident $store_one:ident $add:ident $sub:ident $mul:ident $div:ident $sqrt:ident $neg:ident $abs:ident
        $less:ident $equal:ident $select:ident $any:ident $bit:ident $sign:ident $exp2:ident $exponent:ident $significand:ident $fused:ident
    ) => {
        /// A register; of ONE, the first number is loaded into all and stored.
        #[derive(Clone, Copy)]
        pub struct $name<const ONE: bool>($raw);

        impl<const ONE: bool> Vector<$number> for $name<ONE> {
            const LEN: usize = if ONE { 1 } else { $len };
            const FUSED: bool = true;
            #[inline(always)]
            fn splat(number: $number) -> Self {
                Self(unsafe { $splat(number) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                Self(unsafe { if ONE { $splat(*from) } else { $load(from) } })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                unsafe { if ONE { $store_one::<0>(to, self.0) } else { $store(to, self.0) } }
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
                Self(unsafe { $neg(self.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(unsafe { $abs(self.0) })
            }
            #[inline(always)]
            fn with_sign(self, of: Self) -> Self {
                Self(unsafe { $sign(self.0, of.0) })
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
                Self(unsafe { $select($less(self.0, other.0), then.0, otherwise.0) })
            }
            #[inline(always)]
            fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
                Self(unsafe { $select($equal(self.0, other.0), then.0, otherwise.0) })
            }
            #[inline(always)]
            fn any_less(self, other: Self) -> bool {
                unsafe { $any($less(self.0, other.0)) }
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
                Self(unsafe { $exponent(self.0) })
            }
            #[inline(always)]
            fn significand(self) -> Self {
                Self(unsafe { $significand(self.0) })
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(unsafe { $fused(addend.0, self.0, factor.0) })
            }
        }
    };
}

register! {
    F32x4(float32x4_t): 4 of f32,
    vdupq_n_f32 vld1q_f32 vst1q_f32 vst1q_lane_f32 vaddq_f32 vsubq_f32 vmulq_f32 vdivq_f32 vsqrtq_f32 vnegq_f32 vabsq_f32
    vcltq_f32 vceqq_f32 vbslq_f32 any_32 bit_32 sign_32 exp2_32 exponent_32 significand_32 vfmaq_f32
}
register! {
    F64x2(float64x2_t): 2 of f64,
    vdupq_n_f64 vld1q_f64 vst1q_f64 vst1q_lane_f64 vaddq_f64 vsubq_f64 vmulq_f64 vdivq_f64 vsqrtq_f64 vnegq_f64 vabsq_f64
    vcltq_f64 vceqq_f64 vbslq_f64 any_64 bit_64 sign_64 exp2_64 exponent_64 significand_64 vfmaq_f64
}

impl Register<f32> for F32x4<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
            let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
            let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
            let [ab_even, ab_odd, cd_even, cd_odd] = [
                vreinterpretq_f64_f32(ab_even),
                vreinterpretq_f64_f32(ab_odd),
                vreinterpretq_f64_f32(cd_even),
                vreinterpretq_f64_f32(cd_odd),
            ];
            rows[0] = Self(vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even)));
            rows[1] = Self(vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd)));
            rows[2] = Self(vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even)));
            rows[3] = Self(vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd)));
        }
    }
}
impl Register<f64> for F64x2<false> {
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        // SAFETY: the target has the instructions.
        unsafe {
            let (a, b) = (rows[0].0, rows[1].0);
            rows[0] = Self(vtrn1q_f64(a, b));
            rows[1] = Self(vtrn2q_f64(a, b));
        }
    }
}

#[inline(always)]
unsafe fn any_32(mask: uint32x4_t) -> bool {
    unsafe { vmaxvq_u32(mask) != 0 }
}
#[inline(always)]
unsafe fn any_64(mask: uint64x2_t) -> bool {
    unsafe { vmaxvq_u32(vreinterpretq_u32_u64(mask)) != 0 }
}
#[inline(always)]
unsafe fn bit_32<const BIT: u32>(of: float32x4_t) -> uint32x4_t {
    unsafe { vtstq_u32(vreinterpretq_u32_f32(of), vdupq_n_u32(1 << BIT)) }
}
#[inline(always)]
unsafe fn bit_64<const BIT: u32>(of: float64x2_t) -> uint64x2_t {
    unsafe { vtstq_u64(vreinterpretq_u64_f64(of), vdupq_n_u64(1 << BIT)) }
}
#[inline(always)]
unsafe fn sign_32(number: float32x4_t, of: float32x4_t) -> float32x4_t {
    unsafe { vbslq_f32(vdupq_n_u32(1 << 31), of, number) }
}
#[inline(always)]
unsafe fn sign_64(number: float64x2_t, of: float64x2_t) -> float64x2_t {
    unsafe { vbslq_f64(vdupq_n_u64(1 << 63), of, number) }
}
#[inline(always)]
unsafe fn exp2_32(n: float32x4_t) -> float32x4_t {
    unsafe {
        let one = vreinterpretq_u32_f32(vdupq_n_f32(1.0));
        vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(n)), one))
    }
}
#[inline(always)]
unsafe fn exp2_64(n: float64x2_t) -> float64x2_t {
    unsafe {
        let one = vreinterpretq_u64_f64(vdupq_n_f64(1.0));
        vreinterpretq_f64_u64(vaddq_u64(vshlq_n_u64::<52>(vreinterpretq_u64_f64(n)), one))
    }
}
#[inline(always)]
unsafe fn exponent_32(of: float32x4_t) -> float32x4_t {
    unsafe {
        let biased = vshrq_n_u32::<23>(vreinterpretq_u32_f32(vabsq_f32(of)));
        vsubq_f32(vcvtq_f32_u32(biased), vdupq_n_f32(127.0))
    }
}
#[inline(always)]
unsafe fn exponent_64(of: float64x2_t) -> float64x2_t {
    unsafe {
        let biased = vshrq_n_u64::<52>(vreinterpretq_u64_f64(vabsq_f64(of)));
        vsubq_f64(vcvtq_f64_u64(biased), vdupq_n_f64(1023.0))
    }
}
#[inline(always)]
unsafe fn significand_32(of: float32x4_t) -> float32x4_t {
    unsafe {
        let fraction = vandq_u32(vreinterpretq_u32_f32(of), vdupq_n_u32(0x007F_FFFF));
        vreinterpretq_f32_u32(vorrq_u32(fraction, vreinterpretq_u32_f32(vdupq_n_f32(1.0))))
    }
}
#[inline(always)]
unsafe fn significand_64(of: float64x2_t) -> float64x2_t {
    unsafe {
        let fraction = vandq_u64(vreinterpretq_u64_f64(of), vdupq_n_u64(0x000F_FFFF_FFFF_FFFF));
        vreinterpretq_f64_u64(vorrq_u64(fraction, vreinterpretq_u64_f64(vdupq_n_f64(1.0))))
    }
}
