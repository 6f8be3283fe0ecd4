//! Elementary functions without branches, so that the compiler vectorises loops over them for every target.
//!
//! Only arguments that networks need: exponentials of what is not positive, logarithms between 1 and 2. Measured errors
//! stand in the tests below; NaN goes through.

use super::real::{Rational, Real};

/// 1/1!, 1/2!, …: coefficients of the series of e^r − 1.
const INVERSE_FACTORIALS: [f64; 14] = {
    let mut terms = [1.0; 14];
    let mut n = 1;
    while n < 14 {
        terms[n] = terms[n - 1] / (n as f64);
        n += 1;
    }
    terms
};

/// (2^n, e^r − 1) with x = n ln 2 + r, |r| ≤ ½ ln 2.
#[inline(always)]
fn exp_parts<T: Real>(x: T) -> (T, T) {
    // A comparison and not `max`, which would swallow NaN.
    let x = if x < T::EXP_FLOOR { T::EXP_FLOOR } else { x };
    let shifted = x * T::LOG2_E + T::ROUND;
    let n = shifted - T::ROUND;
    let r = (x - n * T::LN_2.0) - n * T::LN_2.1;
    let mut series = T::of(INVERSE_FACTORIALS[T::EXP_TERMS]);
    for term in (2..T::EXP_TERMS).rev() {
        series = series * r + T::of(INVERSE_FACTORIALS[term]);
    }
    (T::exp2_rounded(shifted), r * r * series + r)
}

/// e^x for x ≤ 0.
#[inline(always)]
pub fn exp_negative<T: Real>(x: T) -> T {
    let (scale, fraction) = exp_parts(x);
    if x < T::EXP_FLOOR { T::zero() } else { scale + scale * fraction }
}

/// e^x − 1 for x ≤ 0.
#[inline(always)]
pub fn expm1_negative<T: Real>(x: T) -> T {
    let (scale, fraction) = exp_parts(x);
    scale * fraction + (scale - T::one())
}

/// ln(1 + u) for 0 ≤ u ≤ 1, by 2 atanh(u / (2 + u)).
#[inline(always)]
fn log1p_unit<T: Real>(u: T) -> T {
    let s = u / (u + T::of(2.0));
    let square = s * s;
    let mut series = T::of(1.0 / (2 * T::ATANH_TERMS + 1) as f64);
    for term in (1..T::ATANH_TERMS).rev() {
        series = series * square + T::of(1.0 / (2 * term + 1) as f64);
    }
    let twice = s + s;
    twice + twice * (square * series)
}

#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    if let Some(Rational { numerator, denominator, limit }) = T::TANH {
        // Comparisons and not `min` and `max`, which would swallow NaN.
        let x = if x > limit { limit } else { x };
        let x = if x < -limit { -limit } else { x };
        let square = x * x;
        return x * polynomial(numerator, square) / polynomial(denominator, square);
    }
    let e = expm1_negative(-(x.abs() + x.abs()));
    (-e / (e + T::of(2.0))).copysign(x)
}

#[inline(always)]
fn polynomial<T: Real>(coefficients: &[T], x: T) -> T {
    coefficients.iter().rev().fold(T::zero(), |value, &coefficient| value * x + coefficient)
}

#[inline(always)]
pub fn sigmoid<T: Real>(x: T) -> T {
    let e = exp_negative(-x.abs());
    let upper = T::one() / (T::one() + e);
    if x < T::zero() { e * upper } else { upper }
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<T: Real>(x: T) -> T {
    let positive = if x > T::zero() { x } else { T::zero() };
    positive + log1p_unit(exp_negative(-x.abs()))
}

/// The standard normal distribution function.
#[inline(always)]
pub fn normal_cdf<T: Real>(x: T) -> T {
    T::of(0.5) * (-x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erfc()
}

/// The standard normal density.
#[inline(always)]
pub fn normal_pdf<T: Real>(x: T) -> T {
    T::of(0.398_942_280_401_432_7) * exp_negative(T::of(-0.5) * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greatest error in units of the last place over a sweep of both signs and many magnitudes.
    fn worst_ulp<T: Real>(f: impl Fn(T) -> T, exact: impl Fn(f64) -> f64, sign: &[f64]) -> f64 {
        let mut worst = 0.0_f64;
        for i in 0..200_000 {
            let magnitude = 2.0_f64.powf(f64::from(i) / 200_000.0 * 26.0 - 20.0);
            for sign in sign {
                let x = T::of(sign * magnitude);
                let expected = exact(x.wide());
                let ulp = expected.abs().max(T::min_positive_value().wide()) * T::epsilon().wide();
                worst = worst.max((f(x).wide() - expected).abs() / ulp);
            }
        }
        worst
    }

    /// Bounds hold relative to the spacing just above a power of two; the references are libm's in f64.
    #[test]
    fn errors_are_a_few_ulp() {
        let both = [1.0, -1.0];
        macro_rules! check {
            ($name:ident, $exact:expr, $sign:expr, $bound:expr) => {
                let single = worst_ulp::<f32>($name, $exact, $sign);
                let double = worst_ulp::<f64>($name, $exact, $sign);
                assert!(single < $bound && double < $bound + 1.0, "{}: {single} {double}", stringify!($name));
            };
        }
        check!(exp_negative, libm::exp, &[-1.0], 2.0);
        check!(expm1_negative, libm::expm1, &[-1.0], 2.5);
        check!(tanh, libm::tanh, &both, 6.0);
        check!(
            sigmoid,
            |x: f64| if x < 0.0 { libm::exp(x) / (1.0 + libm::exp(x)) } else { 1.0 / (1.0 + libm::exp(-x)) },
            &both,
            4.0
        );
        check!(softplus, |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs())), &both, 4.0);
    }

    #[test]
    fn limits_and_nan() {
        assert_eq!(tanh(f64::INFINITY), 1.0);
        assert_eq!(tanh(-1e30_f32), -1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_negative(-1e30), 0.0);
        assert_eq!(1e30 * normal_pdf(1e30), 0.0);
        assert_eq!(softplus(1e30_f32), 1e30);
        for f in [tanh::<f64>, sigmoid, softplus, normal_cdf] {
            assert!(f(f64::NAN).is_nan());
        }
    }
}
