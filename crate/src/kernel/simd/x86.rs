//! Registers of x86: the 128 bits of SSE2, which every x86-64 has, the 256 of AVX2 and the 512 of AVX-512.
//!
//! The intrinsics are inlined only into code that may use their instructions: all that lies between them and a function with the
//! target's features is always inlined, and holds no closure and no iterator that is given registers.

mod bits128;
mod bits256;
mod bits512;

use super::{Register, Registers, Vector};

impl Registers for f32 {
    type Register128 = bits128::F32x4<false>;
    type One128 = bits128::F32x4<true>;
    type Register256 = bits256::F32x8<false>;
    type One256 = bits256::F32x8<true>;
    type Register512 = bits512::F32x16<false>;
}
impl Registers for f64 {
    type Register128 = bits128::F64x2<false>;
    type One128 = bits128::F64x2<true>;
    type Register256 = bits256::F64x4<false>;
    type One256 = bits256::F64x4<true>;
    type Register512 = bits512::F64x8<false>;
}

/// A register type by its intrinsics.
macro_rules! register {
    (
        $name:ident($raw:ty): $len:literal of $number:ty, $fused:literal,
        $splat:ident $load:ident $store:ident $store_one:ident $add:ident $sub:ident $mul:ident $div:ident $sqrt:ident $least:ident $most:ident
        $and:ident $and_not:ident $or:ident $xor:ident $any:ident $mul_add:ident,
        $less:ident $equal:ident $select:ident $bit:ident $exp2:ident $exponent:ident $fraction:literal
    ) => {
        /// A register; of ONE, the first number is loaded into all and stored.
        #[derive(Clone, Copy)]
        pub struct $name<const ONE: bool>($raw);

        impl<const ONE: bool> Vector<$number> for $name<ONE> {
            const LEN: usize = if ONE { 1 } else { $len };
            const FUSED: bool = $fused;
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
                unsafe { if ONE { $store_one(to, self.0) } else { $store(to, self.0) } }
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
                Self(unsafe { $mul_add(self.0, factor.0, addend.0) })
            }
        }
    };
}

use register;

/// 2^52: the bits of an integer n below it are the fraction of 2^52 + n.
const TWO_52: f64 = 4_503_599_627_370_496.0;
