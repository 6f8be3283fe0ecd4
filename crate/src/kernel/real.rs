//! The numbers of a solve: f32 or f64.

use std::fmt::{Debug, Display};

use num_traits::Float;

use super::simd::{Lanes, Vector};

/// A floating-point type that the crate computes in.
///
/// Times, step sizes and error norms are f64 whatever the type.
pub trait Real: Float + Default + Debug + Display + Send + Sync + std::iter::Sum + 'static + Lanes {
    /// Samples in a full panel: one row of a panel is one cache line of 64 bytes.
    const LANES: usize = 64 / size_of::<Self>();
    /// The name of the type in the public API.
    const DTYPE: &'static str;

    fn of(number: f64) -> Self;
    fn wide(self) -> f64;

    /// 1.5·2^p for p bits of fraction: adding it rounds a number to an integer in the low bits.
    const ROUND: Self;
    const LOG2_E: Self;
    /// ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    const LN_2: (Self, Self);
    /// Below, e^x is taken to be zero.
    const EXP_FLOOR: Self;
    /// tanh as x·p(x²) / q(x²), lowest power first, and the |x| beyond which it is ±1; where that is as good as the
    /// exponential and cheaper.
    const TANH: Option<Rational<Self>>;
    /// Terms of the series of e^r − 1 for |r| ≤ ½ ln 2, and of atanh s for s ≤ 1/3.
    const EXP_TERMS: usize;
    const ATANH_TERMS: usize;

    /// 2^n from n + [`ROUND`](Self::ROUND).
    fn exp2_rounded(n: Self) -> Self;
    fn erfc(self) -> Self;
    fn sin_cos(self) -> (Self, Self);
}

/// Coefficients of a ratio of polynomials.
pub struct Rational<T: 'static> {
    pub numerator: &'static [T],
    pub denominator: &'static [T],
    pub limit: T,
}

impl Real for f32 {
    const DTYPE: &'static str = "float32";
    const ROUND: f32 = 12_582_912.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    const EXP_FLOOR: f32 = -87.0;
    /// The approximation of degree 13 over 6 that Eigen uses.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const TANH: Option<Rational<f32>> = Some(Rational {
        numerator: &[
            4.893_524_558_917_86e-3,
            6.372_619_288_754_36e-4,
            1.485_722_357_179_79e-5,
            5.122_297_090_371_14e-8,
            -8.604_671_522_137_35e-11,
            2.000_187_904_824_77e-13,
            -2.760_768_477_423_55e-16,
        ],
        denominator: &[
            4.893_525_185_543_85e-3,
            2.268_434_632_439_00e-3,
            1.185_347_056_866_54e-4,
            1.198_258_394_667_02e-6,
        ],
        limit: 7.905_311_107_635_498,
    });
    const EXP_TERMS: usize = 7;
    const ATANH_TERMS: usize = 8;

    fn of(number: f64) -> f32 {
        number as f32
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp2_rounded(n: f32) -> f32 {
        f32::from_bits((n.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
    }
    fn erfc(self) -> f32 {
        libm::erfcf(self)
    }
    fn sin_cos(self) -> (f32, f32) {
        libm::sincosf(self)
    }
}

impl Real for f64 {
    const DTYPE: &'static str = "float64";
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    const EXP_FLOOR: f64 = -708.0;
    const TANH: Option<Rational<f64>> = None;
    const EXP_TERMS: usize = 13;
    const ATANH_TERMS: usize = 17;

    fn of(number: f64) -> f64 {
        number
    }
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp2_rounded(n: f64) -> f64 {
        f64::from_bits((n.to_bits() << 52).wrapping_add(1.0_f64.to_bits()))
    }
    fn erfc(self) -> f64 {
        libm::erfc(self)
    }
    fn sin_cos(self) -> (f64, f64) {
        libm::sincos(self)
    }
}

/// Numbers in one vector register of T.
pub(crate) const fn vector_len<T: Real>() -> usize {
    <T::Vector as Vector<T>>::LEN
}
