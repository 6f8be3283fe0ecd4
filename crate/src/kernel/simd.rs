//! Vector registers: width and fused multiply–add are constants of a type, so that the kernels above are written once. Which
//! registers a machine has is found when the program runs.

#[cfg(any(
    test,
    not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        all(target_arch = "wasm32", target_feature = "simd128")
    ))
))]
mod array;
pub mod dispatch;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

/// A vector register of `LEN` numbers.
pub trait Vector<T>: Copy {
    const LEN: usize;
    /// Whether [`mul_add`](Self::mul_add) is known to round once.
    const FUSED: bool;
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
    fn sqrt(self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    /// Its own magnitude with the sign of another.
    fn with_sign(self, of: Self) -> Self;
    /// The lesser of it and a limit; NaN stays.
    fn at_most(self, limit: Self) -> Self;
    /// The greater of it and a limit; NaN stays.
    fn at_least(self, limit: Self) -> Self;
    /// Lane by lane `then` where it is less than `other`, else `otherwise`.
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Lane by lane `then` where it equals `other`, else `otherwise`.
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Whether it is less than `other` in any lane.
    fn any_less(self, other: Self) -> bool;
    /// Lane by lane `then` where bit `BIT` of its representation is set, else `otherwise`.
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self;
    /// 2^n from n + 1.5·2^p, p being the bits of the fraction.
    fn exp2_rounded(self) -> Self;
    /// The e of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn exponent(self) -> Self;
    /// The m of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn significand(self) -> Self;
    /// self·factor + addend, rounded once where the target has the instruction.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

/// A whole register.
pub trait Register<T>: Vector<T> {
    /// Transposes the square block at the front of `rows`.
    fn transpose(rows: &mut [Self]);
}

/// The registers of one width.
pub trait Simd: 'static {
    const BITS: usize;
    type Vector<T: Registers>: Register<T>;
    /// For the numbers that do not fill a register: one, computed by the same instructions.
    type One<T: Registers>: Vector<T>;
}

/// Numbers in a register.
pub const fn len_of<S: Simd, T: Registers>() -> usize {
    <S::Vector<T> as Vector<T>>::LEN
}

/// Prefetches a cache line into the cache of the core; any address will do.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it faults nowhere.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Registers of 128 bits, which every target has.
pub struct Bits128;
#[cfg(target_arch = "x86_64")]
pub struct Bits256;
#[cfg(target_arch = "x86_64")]
pub struct Bits512;

impl Simd for Bits128 {
    const BITS: usize = 128;
    type Vector<T: Registers> = T::Register128;
    type One<T: Registers> = T::One128;
}
#[cfg(target_arch = "x86_64")]
impl Simd for Bits256 {
    const BITS: usize = 256;
    type Vector<T: Registers> = T::Register256;
    type One<T: Registers> = T::One256;
}
#[cfg(target_arch = "x86_64")]
impl Simd for Bits512 {
    const BITS: usize = 512;
    type Vector<T: Registers> = T::Register512;
    // Every machine with registers of 512 bits has those too.
    type One<T: Registers> = T::One256;
}

/// The registers of a number type.
pub trait Registers: Sized {
    type Register128: Register<Self>;
    type One128: Vector<Self>;
    #[cfg(target_arch = "x86_64")]
    type Register256: Register<Self>;
    #[cfg(target_arch = "x86_64")]
    type One256: Vector<Self>;
    #[cfg(target_arch = "x86_64")]
    type Register512: Register<Self>;
}

/// The greatest number of lanes of a register on any target.
pub const MAX_LEN: usize = 16;

/// Registers side by side, worked on together so that their chains of operations hide each other's latency.
///
/// Its loops use indices: a closure is a separate function, which may not use the registers that its caller may.
#[derive(Clone, Copy)]
pub struct RegisterBlock<V, const N: usize>([V; N]);

impl<V: Copy, const N: usize> RegisterBlock<V, N> {
    /// One by one.
    #[inline(always)]
    pub fn registers(self) -> [V; N] {
        self.0
    }
}

impl<T, V: Vector<T>, const N: usize> Vector<T> for RegisterBlock<V, N> {
    const LEN: usize = N * V::LEN;
    const FUSED: bool = V::FUSED;
    #[inline(always)]
    fn splat(number: T) -> Self {
        Self([V::splat(number); N])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        unsafe {
            let mut all = [V::load(from); N];
            for (i, register) in all.iter_mut().enumerate().skip(1) {
                *register = V::load(from.add(i * V::LEN));
            }
            Self(all)
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        for (i, register) in self.0.iter().enumerate() {
            unsafe { register.store(to.add(i * V::LEN)) }
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.add(other.0[i]);
        }
        all
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.sub(other.0[i]);
        }
        all
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.mul(other.0[i]);
        }
        all
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.div(other.0[i]);
        }
        all
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.sqrt();
        }
        all
    }
    #[inline(always)]
    fn neg(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.neg();
        }
        all
    }
    #[inline(always)]
    fn abs(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.abs();
        }
        all
    }
    #[inline(always)]
    fn with_sign(self, of: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.with_sign(of.0[i]);
        }
        all
    }
    #[inline(always)]
    fn at_most(self, limit: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.at_most(limit.0[i]);
        }
        all
    }
    #[inline(always)]
    fn at_least(self, limit: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.at_least(limit.0[i]);
        }
        all
    }
    #[inline(always)]
    fn select_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.select_less(other.0[i], then.0[i], otherwise.0[i]);
        }
        all
    }
    #[inline(always)]
    fn select_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.select_equal(other.0[i], then.0[i], otherwise.0[i]);
        }
        all
    }
    #[inline(always)]
    fn any_less(self, other: Self) -> bool {
        // Without a way out of the loop, it is unrolled.
        let mut any = false;
        for i in 0..N {
            any |= self.0[i].any_less(other.0[i]);
        }
        any
    }
    #[inline(always)]
    fn select_bit<const BIT: u32>(self, then: Self, otherwise: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.select_bit::<BIT>(then.0[i], otherwise.0[i]);
        }
        all
    }
    #[inline(always)]
    fn exp2_rounded(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.exp2_rounded();
        }
        all
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.exponent();
        }
        all
    }
    #[inline(always)]
    fn significand(self) -> Self {
        let mut all = self;
        for register in &mut all.0 {
            *register = register.significand();
        }
        all
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        let mut all = self;
        for (i, register) in all.0.iter_mut().enumerate() {
            *register = register.mul_add(factor.0[i], addend.0[i]);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::array::Array;
    use super::*;
    use crate::kernel::math;
    use crate::kernel::real::Real;

    const NUMBERS: [f64; 16] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.3,
        -2.7,
        1e-3,
        123.456,
        -1e5,
        3.0e38,
        2e-38,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        0.999_999,
        5.5,
    ];

    /// What an operation makes of every triple of numbers, in registers V: NaN in whichever form.
    fn results<T: Real, V: Vector<T>>(f: impl Fn(V, V, V) -> V) -> Vec<u64> {
        let len = V::LEN;
        let numbers: Vec<T> = (0..NUMBERS.len() + len).map(|i| T::of(NUMBERS[i % NUMBERS.len()])).collect();
        let mut all = Vec::new();
        for second in 0..NUMBERS.len() {
            for third in 0..NUMBERS.len() {
                for first in (0..NUMBERS.len()).step_by(len) {
                    let mut result = [T::zero(); 64];
                    // SAFETY: there are as many numbers more as a register has.
                    unsafe {
                        let [a, b, c] = [first, second, third].map(|at| V::load(numbers[at..].as_ptr()));
                        f(a, b, c).store(result.as_mut_ptr());
                    }
                    all.extend(result[..len].iter().map(|x| if x.is_nan() { T::nan() } else { *x }.wide().to_bits()));
                }
            }
        }
        all
    }

    fn check<T: Real, V: Register<T>, const N: usize, const FUSED: bool>() {
        macro_rules! same {
            ($($f:expr),*) => {
                $(
                    let expected = results::<T, Array<T, N, FUSED>>($f);
                    assert!(results::<T, V>($f) == expected, "{}", stringify!($f));
                )*
            };
        }
        assert_eq!((N, FUSED), (V::LEN, V::FUSED));
        same!(
            |a, b, _| a.add(b),
            |a, b, _| a.sub(b),
            |a, b, _| a.mul(b),
            |a, b, _| a.div(b),
            |a, b, c| a.mul_add(b, c),
            |a, _, _| a.sqrt(),
            |a, _, _| a.neg(),
            |a, _, _| a.abs(),
            |a, b, _| a.with_sign(b),
            |a, b, _| a.at_most(b),
            |a, b, _| a.at_least(b),
            |a, b, c| a.select_less(b, c, a),
            |a, b, c| a.select_equal(b, c, a),
            |a, b, c| a.select_bit::<0>(b, c),
            |a, b, c| a.select_bit::<1>(b, c),
            |a, b, c| a.select_bit::<22>(b, c),
            |a, _, _| a.exponent(),
            |a, _, _| a.significand(),
            |a, _, _| a
                .at_least(Vector::splat(T::of(-50.0)))
                .at_most(Vector::splat(T::of(50.0)))
                .add(Vector::splat(T::ROUND))
                .exp2_rounded(),
            |a, b, _| Vector::splat(if a.any_less(b) { T::one() } else { T::zero() }),
            // The functions too, in any registers.
            |a, b, _| math::pow(a, b),
            |a, b, _| math::atan2(a, b),
            |a, _, _| math::exp(a),
            |a, _, _| math::log1p(a),
            |a, _, _| math::tan_anywhere(a),
            |a, _, _| math::asin(a)
        );
        let mut rows: Vec<V> = Vec::new();
        let numbers: Vec<T> = (0..N * N).map(|i| T::of(i as f64)).collect();
        for row in numbers.chunks(N) {
            // SAFETY: as many numbers as a register has.
            rows.push(unsafe { V::load(row.as_ptr()) });
        }
        V::transpose(&mut rows);
        for (i, row) in rows.iter().enumerate() {
            let mut column = vec![T::zero(); N];
            // SAFETY: as above.
            unsafe { row.store(column.as_mut_ptr()) };
            assert!((0..N).all(|j| column[j] == numbers[j * N + i]), "row {i} of the transpose");
        }
    }

    #[test]
    fn registers_do_what_arrays_do() {
        const FUSED: bool = cfg!(target_arch = "aarch64");
        check::<f32, <f32 as Registers>::Register128, 4, FUSED>();
        check::<f64, <f64 as Registers>::Register128, 2, FUSED>();
        #[cfg(target_arch = "x86_64")]
        for bits in dispatch::widths() {
            match bits {
                256 => {
                    check::<f32, <f32 as Registers>::Register256, 8, true>();
                    check::<f64, <f64 as Registers>::Register256, 4, true>();
                }
                512 => {
                    check::<f32, <f32 as Registers>::Register512, 16, true>();
                    check::<f64, <f64 as Registers>::Register512, 8, true>();
                }
                _ => {}
            }
        }
    }
}
