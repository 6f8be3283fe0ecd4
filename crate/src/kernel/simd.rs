//! One vector register, as the target has it: width and fused multiply–add are constants of the target, so that the
//! kernels above are written once.

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
    /// self·factor + addend, rounded once where the target has the instruction.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Transposes the `LEN` × `LEN` block at the front of `rows`.
    fn transpose(rows: &mut [Self]);
}

/// The vector register for a number type on this target.
pub trait Lanes: Sized {
    type Vector: Vector<Self>;
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod target {
    use super::{Lanes, Vector};
    use std::arch::wasm32::*;

    #[derive(Clone, Copy)]
    pub struct F32x4(v128);
    #[derive(Clone, Copy)]
    pub struct F64x2(v128);

    impl Lanes for f32 {
        type Vector = F32x4;
    }
    impl Lanes for f64 {
        type Vector = F64x2;
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
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            #[cfg(target_feature = "relaxed-simd")]
            return Self(f32x4_relaxed_madd(self.0, factor.0, addend.0));
            #[cfg(not(target_feature = "relaxed-simd"))]
            return Self(f32x4_add(f32x4_mul(self.0, factor.0), addend.0));
        }
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
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            #[cfg(target_feature = "relaxed-simd")]
            return Self(f64x2_relaxed_madd(self.0, factor.0, addend.0));
            #[cfg(not(target_feature = "relaxed-simd"))]
            return Self(f64x2_add(f64x2_mul(self.0, factor.0), addend.0));
        }
        #[inline(always)]
        fn transpose(rows: &mut [Self]) {
            let (a, b) = (rows[0].0, rows[1].0);
            rows[0] = Self(i64x2_shuffle::<0, 2>(a, b));
            rows[1] = Self(i64x2_shuffle::<1, 3>(a, b));
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod target {
    use super::{Lanes, Vector};
    use num_traits::Float;

    /// Bytes in a vector register.
    const WIDTH: usize = if cfg!(target_feature = "avx") { 32 } else { 16 };

    /// An array that the compiler keeps in a register.
    #[derive(Clone, Copy)]
    pub struct Array<T, const N: usize>([T; N]);

    impl Lanes for f32 {
        type Vector = Array<f32, { WIDTH / 4 }>;
    }
    impl Lanes for f64 {
        type Vector = Array<f64, { WIDTH / 8 }>;
    }

    impl<T: Float, const N: usize> Vector<T> for Array<T, N> {
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
        fn add(mut self, other: Self) -> Self {
            for (left, right) in self.0.iter_mut().zip(other.0) {
                *left = *left + right;
            }
            self
        }
        #[inline(always)]
        fn mul_add(mut self, factor: Self, addend: Self) -> Self {
            for i in 0..N {
                // Without the instruction, `mul_add` would be a call into the C library.
                self.0[i] = if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    self.0[i].mul_add(factor.0[i], addend.0[i])
                } else {
                    self.0[i] * factor.0[i] + addend.0[i]
                };
            }
            self
        }
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
}
