//! One vector register, as the target has it: width and fused multiply–add are constants of the target, so that the
//! kernels above are written once.

use std::array::from_fn;

/// A vector register of `LEN` numbers.
pub trait Vector<T>: Copy {
    const LEN: usize;
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
    fn abs(self) -> Self;
    /// Its own magnitude with the sign of another.
    fn with_sign(self, of: Self) -> Self;
    /// The lesser of it and a limit; NaN stays.
    fn at_most(self, limit: Self) -> Self;
    /// The greater of it and a limit; NaN stays.
    fn at_least(self, limit: Self) -> Self;
    /// Lane by lane `then` where it is less than `other`, else `otherwise`.
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Lane by lane `then` where bit `BIT` of its representation is set, else `otherwise`.
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self;
    /// 2^n from n + 1.5·2^p, p being the bits of the fraction.
    fn exp2_rounded(self) -> Self;
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

impl<T, V: Vector<T>, const N: usize> Vector<T> for Several<V, N> {
    const LEN: usize = N * V::LEN;
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
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        Self(from_fn(|i| self.0[i].select_bit::<BIT>(then.0[i], otherwise.0[i])))
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        Self(self.0.map(V::exp2_rounded))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod target {
    use super::{Lanes, Several, Vector};
    use std::arch::wasm32::*;

    #[derive(Clone, Copy)]
    pub struct F32x4(v128);
    #[derive(Clone, Copy)]
    pub struct F64x2(v128);

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

    impl Lanes for f32 {
        type Vector = F32x4;
        type Strip = Several<F32x4, 4>;
        #[inline(always)]
        fn transpose(rows: &mut [F32x4]) {
            let [a, b, c, d] = [rows[0].0, rows[1].0, rows[2].0, rows[3].0];
            let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
            let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
            rows[0] = F32x4(i64x2_shuffle::<0, 2>(ab_low, cd_low));
            rows[1] = F32x4(i64x2_shuffle::<1, 3>(ab_low, cd_low));
            rows[2] = F32x4(i64x2_shuffle::<0, 2>(ab_high, cd_high));
            rows[3] = F32x4(i64x2_shuffle::<1, 3>(ab_high, cd_high));
        }
    }
    impl Lanes for f64 {
        type Vector = F64x2;
        type Strip = Several<F64x2, 4>;
        #[inline(always)]
        fn transpose(rows: &mut [F64x2]) {
            let (a, b) = (rows[0].0, rows[1].0);
            rows[0] = F64x2(i64x2_shuffle::<0, 2>(a, b));
            rows[1] = F64x2(i64x2_shuffle::<1, 3>(a, b));
        }
    }

    impl Vector<f32> for F32x4 {
        const LEN: usize = 4;
        #[inline(always)]
        fn splat(number: f32) -> Self {
            Self(f32x4_splat(number))
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { v128_load(from.cast()) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { v128_store(to.cast(), self.0) }
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
        fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
            let mask = i32x4_shr(i32x4_shl(self.0, 31 - BIT), 31);
            Self(select(then.0, otherwise.0, mask))
        }
        #[inline(always)]
        fn exp2_rounded(self) -> Self {
            Self(i32x4_add(i32x4_shl(self.0, 23), f32x4_splat(1.0)))
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            #[cfg(target_feature = "relaxed-simd")]
            return Self(f32x4_relaxed_madd(self.0, factor.0, addend.0));
            #[cfg(not(target_feature = "relaxed-simd"))]
            return Self(f32x4_add(f32x4_mul(self.0, factor.0), addend.0));
        }
    }

    impl Vector<f64> for F64x2 {
        const LEN: usize = 2;
        #[inline(always)]
        fn splat(number: f64) -> Self {
            Self(f64x2_splat(number))
        }
        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            Self(unsafe { v128_load(from.cast()) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { v128_store(to.cast(), self.0) }
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
        fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
            let mask = i64x2_shr(i64x2_shl(self.0, 63 - BIT), 63);
            Self(select(then.0, otherwise.0, mask))
        }
        #[inline(always)]
        fn exp2_rounded(self) -> Self {
            Self(i64x2_add(i64x2_shl(self.0, 52), f64x2_splat(1.0)))
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            #[cfg(target_feature = "relaxed-simd")]
            return Self(f64x2_relaxed_madd(self.0, factor.0, addend.0));
            #[cfg(not(target_feature = "relaxed-simd"))]
            return Self(f64x2_add(f64x2_mul(self.0, factor.0), addend.0));
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod target {
    use super::{Lanes, Vector};
    use crate::kernel::real::Real;
    use std::array::from_fn;

    /// Bytes in a vector register.
    const WIDTH: usize = if cfg!(target_feature = "avx") { 32 } else { 16 };

    /// An array that the compiler keeps in a register.
    #[derive(Clone, Copy)]
    pub struct Array<T, const N: usize>([T; N]);

    impl Lanes for f32 {
        type Vector = Array<f32, { WIDTH / 4 }>;
        // The compiler vectorises such loops itself, and better than functions of arrays.
        type Strip = Array<Self, 1>;
        #[inline(always)]
        fn transpose(rows: &mut [Self::Vector]) {
            transpose(rows);
        }
    }
    impl Lanes for f64 {
        type Vector = Array<f64, { WIDTH / 8 }>;
        // The compiler vectorises such loops itself, and better than functions of arrays.
        type Strip = Array<Self, 1>;
        #[inline(always)]
        fn transpose(rows: &mut [Self::Vector]) {
            transpose(rows);
        }
    }

    impl<T: Real, const N: usize> Vector<T> for Array<T, N> {
        const LEN: usize = N;
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
        fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
            Self(from_fn(|i| if self.0[i].bit(BIT) { then.0[i] } else { otherwise.0[i] }))
        }
        #[inline(always)]
        fn exp2_rounded(self) -> Self {
            Self(self.0.map(T::exp2_rounded))
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            // Without the instruction, `mul_add` would be a call into the C library.
            let fused = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
            Self(from_fn(|i| match fused {
                true => self.0[i].mul_add(factor.0[i], addend.0[i]),
                false => self.0[i] * factor.0[i] + addend.0[i],
            }))
        }
    }

    #[inline(always)]
    fn transpose<T: Real, const N: usize>(rows: &mut [Array<T, N>]) {
        for i in 0..N {
            for j in 0..i {
                let upper = rows[j].0[i];
                rows[j].0[i] = rows[i].0[j];
                rows[i].0[j] = upper;
            }
        }
    }
}
