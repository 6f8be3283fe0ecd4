//! Elementary functions without branches, written once for a register or several.
//!
//! Only arguments that networks need: exponentials of what is not positive, logarithms between 1 and 2. Error bounds stand
//! in the tests below; NaN goes through.

use super::real::{Rational, Real};
use super::simd::Vector;

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

#[inline(always)]
fn constant<T: Real, V: Vector<T>>(number: f64) -> V {
    V::splat(T::of(number))
}

#[inline(always)]
fn polynomial<T: Real, V: Vector<T>>(coefficients: &[T], x: V) -> V {
    let highest = V::splat(coefficients[coefficients.len() - 1]);
    let rest = coefficients[..coefficients.len() - 1].iter().rev();
    rest.fold(highest, |value, &coefficient| value.mul_add(x, V::splat(coefficient)))
}

/// (2^n, e^r − 1) with x + rest = n ln 2 + r, |r| ≤ ½ ln 2; x is not below [`Real::EXP_FLOOR`].
#[inline(always)]
fn exp_parts<T: Real, V: Vector<T>>(x: V, rest: Option<V>) -> (V, V) {
    let shifted = x.mul_add(V::splat(T::LOG2_E), V::splat(T::ROUND));
    let n = shifted.sub(V::splat(T::ROUND));
    let mut r = n.mul_add(V::splat(-T::LN_2.0), x);
    if let Some(rest) = rest {
        r = r.add(rest);
    }
    r = n.mul_add(V::splat(-T::LN_2.1), r);
    let mut series = constant::<T, V>(INVERSE_FACTORIALS[T::EXP_TERMS]);
    for term in (2..T::EXP_TERMS).rev() {
        series = series.mul_add(r, constant(INVERSE_FACTORIALS[term]));
    }
    (shifted.exp2_rounded(), r.mul(r).mul_add(series, r))
}

/// e^x for x ≤ 0.
#[inline(always)]
pub fn exp_negative<T: Real, V: Vector<T>>(x: V) -> V {
    let floor = V::splat(T::EXP_FLOOR);
    let (scale, fraction) = exp_parts(x.at_least(floor), None);
    x.select_less(floor, V::splat(T::zero()), scale.mul_add(fraction, scale))
}

/// e^x − 1 for x ≤ 0.
#[inline(always)]
pub fn expm1_negative<T: Real, V: Vector<T>>(x: V) -> V {
    let (scale, fraction) = exp_parts(x.at_least(V::splat(T::EXP_FLOOR)), None);
    scale.mul_add(fraction, scale.sub(V::splat(T::one())))
}

/// ln(1 + u) for 0 ≤ u ≤ 1, by 2 atanh(u / (2 + u)).
#[inline(always)]
fn log1p_unit<T: Real, V: Vector<T>>(u: V) -> V {
    let s = u.div(u.add(constant(2.0)));
    let square = s.mul(s);
    let mut series = constant::<T, V>(1.0 / (2 * T::ATANH_TERMS + 1) as f64);
    for term in (1..T::ATANH_TERMS).rev() {
        series = series.mul_add(square, constant(1.0 / (2 * term + 1) as f64));
    }
    let twice = s.add(s);
    twice.mul_add(square.mul(series), twice)
}

#[inline(always)]
pub fn tanh<T: Real, V: Vector<T>>(x: V) -> V {
    if let Some(Rational { numerator, denominator, limit }) = T::TANH {
        let x = x.at_most(V::splat(limit)).at_least(V::splat(-limit));
        let square = x.mul(x);
        return x.mul(polynomial(numerator, square)).div(polynomial(denominator, square));
    }
    let e = expm1_negative(x.abs().mul(constant(-2.0)));
    e.div(e.add(constant(2.0))).with_sign(x)
}

#[inline(always)]
pub fn sigmoid<T: Real, V: Vector<T>>(x: V) -> V {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let e = exp_negative(zero.sub(x.abs()));
    x.select_less(zero, e, one).div(e.add(one))
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<T: Real, V: Vector<T>>(x: V) -> V {
    let zero = V::splat(T::zero());
    x.at_least(zero).add(log1p_unit(exp_negative(zero.sub(x.abs()))))
}

/// The standard normal distribution function Φ, and its density.
///
/// Φ(−|z|) is the density's exponential times what a rational substitution turns into a polynomial, as Shepherd and Laframboise
/// (Math. Comp. 36, 1981) do for erfc, so that the relative error stays small down to where it underflows.
#[inline(always)]
pub fn normal<T: Real, V: Vector<T>>(z: V) -> (V, V) {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let (centre, limit) = (V::splat(T::NORMAL_CENTRE), V::splat(T::NORMAL_LIMIT));
    let magnitude = z.abs();
    let size = magnitude.at_most(limit);
    // z² in two parts, since an absolute error of its size would be a relative one of the exponential.
    let scaled = size.mul(V::splat(T::SPLIT));
    let high = scaled.sub(scaled.sub(size));
    let square = high.mul(high);
    let rest = size.sub(high).mul(size.add(high));
    let (scale, fraction) = exp_parts(square.mul(constant(-0.5)), Some(rest.mul(constant(-0.5))));
    let exponential = limit.select_less(magnitude, zero, scale.mul_add(fraction, scale));
    let inverse = one.div(size.add(centre));
    let tail = exponential.mul(inverse).mul(polynomial(T::NORMAL_TAIL, size.sub(centre).mul(inverse)));
    let distribution = z.select_less(zero, tail, one.sub(tail));
    (distribution, exponential.mul(constant(0.398_942_280_401_432_7)))
}

/// Beyond, the reduction of an argument by multiples of π/2 is no longer exact.
pub const SIN_LIMIT: f64 = 8192.0;

/// sin x and cos x for |x| ≤ [`SIN_LIMIT`].
#[inline(always)]
pub fn sin_cos<T: Real, V: Vector<T>>(x: V) -> (V, V) {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let shifted = x.mul_add(constant(std::f64::consts::FRAC_2_PI), V::splat(T::ROUND));
    let n = shifted.sub(V::splat(T::ROUND));
    let r = T::FRAC_PI_2.iter().fold(x, |r, &part| n.mul_add(V::splat(-part), r));
    let square = r.mul(r);
    let sine = r.mul(square).mul_add(polynomial(T::SIN, square), r);
    let tail = square.mul(square).mul(polynomial(T::COS, square));
    let cosine = one.sub(square.mul(constant(0.5))).add(tail);
    // n mod 4 is the quadrant.
    let turn = |of: V| shifted.select_bit::<1>(zero.sub(of), of);
    let swap = |odd: V, even: V| shifted.select_bit::<0>(odd, even);
    (turn(swap(cosine, sine)), turn(swap(zero.sub(sine), cosine)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simd::Lanes;
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

    type Strip<T> = <T as Lanes>::Strip;

    fn at<T: Real>(f: impl Fn(Strip<T>) -> Strip<T>, x: T) -> T {
        let mut numbers = [x; 16];
        // SAFETY: a strip is at most 16 numbers.
        unsafe { f(Vector::load(numbers.as_ptr())).store(numbers.as_mut_ptr()) };
        numbers[0]
    }

    /// Greatest error in units of the last place over a sweep of signs and many magnitudes up to `most`; smaller results
    /// than `least` are measured against it.
    fn worst_ulp<T: Real>(
        f: impl Fn(Strip<T>) -> Strip<T>,
        exact: impl Fn(f64) -> f64,
        signs: &[f64],
        most: f64,
        least: f64,
    ) -> f64 {
        let mut worst = 0.0_f64;
        for i in 0..200_000 {
            let magnitude = most * 2.0_f64.powf(f64::from(i) / 200_000.0 * 26.0 - 26.0);
            for sign in signs {
                let x = T::of(sign * magnitude);
                let expected = exact(x.wide());
                let ulp = 2.0_f64.powf(expected.abs().max(least).max(T::min_positive_value().wide()).log2().floor())
                    * T::epsilon().wide();
                worst = worst.max((at(&f, x).wide() - expected).abs() / ulp);
            }
        }
        worst
    }

    /// (function, its exact value, signs, greatest magnitude, bounds in f32 and f64): the references are libm's in f64,
    /// themselves within 1 ulp, so that bounds in f64 are that much wider than what is measured.
    macro_rules! within {
        ($name:expr, $exact:expr, $signs:expr, $most:expr, $least:expr, $single:expr, $double:expr) => {
            let single = worst_ulp::<f32>($name, $exact, $signs, $most, $least);
            let double = worst_ulp::<f64>($name, $exact, $signs, $most, $least);
            println!("{}: {single} {double}", stringify!($name));
            assert!(single < $single && double < $double, "{}: {single} {double}", stringify!($name));
        };
    }

    #[test]
    fn errors_are_a_few_ulp() {
        let both = &[1.0, -1.0];
        let logistic = |x: f64| if x < 0.0 { libm::exp(x) / (1.0 + libm::exp(x)) } else { 1.0 / (1.0 + libm::exp(-x)) };
        within!(exp_negative, libm::exp, &[-1.0], 80.0, 0.0, 2.0, 3.0);
        within!(expm1_negative, libm::expm1, &[-1.0], 80.0, 0.0, 3.0, 3.0);
        within!(tanh, libm::tanh, both, 40.0, 0.0, 9.0, 9.0);
        within!(sigmoid, logistic, both, 80.0, 0.0, 4.0, 4.0);
        within!(softplus, |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs())), both, 80.0, 0.0, 4.0, 4.0);
        // An argument rounded by δ = ε|y| would spoil e^(−y²) by 2y²ε: what rounding took away is put back to first order.
        let bell = |z: f64| libm::exp(-0.5 * z * z) * (1.0 - 0.5 * z.mul_add(z, -(z * z)));
        let distribution = |z: f64| {
            let y = z * FRAC_1_SQRT_2;
            let lost = z.mul_add(FRAC_1_SQRT_2, -y) + z * -4.833_646_656_726_457e-17;
            0.5 * (libm::erfc(-y) + FRAC_2_SQRT_PI * bell(z) * lost)
        };
        within!(|z| normal(z).0, distribution, both, 12.5, 0.0, 8.0, 8.0);
        within!(|z| normal(z).1, |z: f64| 0.398_942_280_401_432_7 * bell(z), both, 12.5, 0.0, 4.0, 4.0);
        within!(|x| sin_cos(x).0, libm::sin, both, SIN_LIMIT, 0.0, 4.0, 4.0);
        within!(|x| sin_cos(x).1, libm::cos, both, SIN_LIMIT, 0.0, 4.0, 4.0);
    }

    #[test]
    fn limits_and_nan() {
        assert_eq!(at(tanh, f64::INFINITY), 1.0);
        // As the ratio has it at its limit.
        assert!((at(tanh, -1e30_f32) + 1.0).abs() <= 4.0 * f32::EPSILON);
        assert_eq!(at(sigmoid, f32::NEG_INFINITY), 0.0);
        assert_eq!(at(exp_negative, -1e30), 0.0);
        assert_eq!(at(|z| normal(z).1, 1e30), 0.0);
        assert_eq!(at(|z| normal(z).0, -1e30), 0.0);
        assert_eq!(at(softplus, 1e30_f32), 1e30);
        for f in [tanh, sigmoid, softplus, |z| normal(z).0, |x| sin_cos(x).0] {
            assert!(at::<f64>(f, f64::NAN).is_nan());
        }
        for f in [tanh, sigmoid, softplus, |z| normal(z).0, |x| sin_cos(x).0] {
            assert!(at::<f32>(f, f32::NAN).is_nan());
        }
    }
}
