//! Elementary functions without branches, written once for a register or several.
//!
//! They take any argument, except those whose names or comments say otherwise (networks need exponentials of what is not
//! positive, and get them for less). Outside of its domain a function is NaN, and NaN goes through. Error bounds are in the
//! tests below. None of them relies on [`Vector::mul_add`] rounding once, or twice.

#![allow(dead_code, reason = "some are for programs alone, which are to come")]

use super::elementary::{Elementary, Rational};
use super::real::Real;
use super::simd::{MAX_LEN, Vector};

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
    let mut value = V::splat(coefficients[coefficients.len() - 1]);
    for &coefficient in coefficients[..coefficients.len() - 1].iter().rev() {
        value = value.mul_add(x, V::splat(coefficient));
    }
    value
}

/// (n + [`Elementary::ROUND`], e^r − 1) with x + rest = n ln 2 + r, |r| ≤ ½ ln 2.
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
    (shifted, r.mul(r).mul_add(series, r))
}

/// e^x for x ≤ 0.
#[inline(always)]
pub fn exp_negative<T: Real, V: Vector<T>>(x: V) -> V {
    let floor = V::splat(T::EXP_FLOOR);
    let (n, fraction) = exp_parts(x.at_least(floor), None);
    let scale = n.exp2_rounded();
    x.select_less(floor, V::splat(T::zero()), scale.mul_add(fraction, scale))
}

/// e^x − 1 for x ≤ 0.
#[inline(always)]
pub fn expm1_negative<T: Real, V: Vector<T>>(x: V) -> V {
    let (n, fraction) = exp_parts(x.at_least(V::splat(T::EXP_FLOOR)), None);
    let scale = n.exp2_rounded();
    scale.mul_add(fraction, scale.sub(V::splat(T::one())))
}

/// e^(x + rest), the rest being small.
#[inline(always)]
fn exp_sum<T: Real, V: Vector<T>>(x: V, rest: Option<V>) -> V {
    let (least, most) = T::EXP_RANGE;
    let (shifted, fraction) = exp_parts(x.at_most(V::splat(most)).at_least(V::splat(least)), rest);
    // 2^n in two factors, as it may be too great or too small for one while e^x is neither.
    let round = V::splat(T::ROUND);
    let n = shifted.sub(round);
    let half = n.mul_add(constant(0.5), round);
    let other = n.sub(half.sub(round)).add(round);
    let scale = half.exp2_rounded();
    scale.mul_add(fraction, scale).mul(other.exp2_rounded())
}

/// e^x.
#[inline(always)]
pub fn exp<T: Real, V: Vector<T>>(x: V) -> V {
    exp_sum(x, None)
}

/// (e^x − 1) / 2, which does not overflow where sinh does not; x is not below −80.
#[inline(always)]
fn half_expm1<T: Real, V: Vector<T>>(x: V) -> V {
    let (shifted, fraction) = exp_parts(x.at_most(V::splat(T::SINH_LIMIT)), None);
    let quarter = shifted.sub(constant(2.0)).exp2_rounded();
    let result = quarter.mul_add(fraction, quarter.sub(constant(0.25)));
    result.add(result)
}

/// x where |x| < ε/4, else the other: for odd functions with f′(0) = 1, which there are x itself, signs of zeros and subnormal
/// numbers included.
#[inline(always)]
fn unless_tiny<T: Real, V: Vector<T>>(x: V, otherwise: V) -> V {
    x.abs().select_less(constant(0.25 * T::epsilon().wide()), x, otherwise)
}

/// e^x − 1.
#[inline(always)]
pub fn expm1<T: Real, V: Vector<T>>(x: V) -> V {
    // Below −50, e^x is negligible compared to 1.
    let half = half_expm1(x.at_least(constant(-50.0)));
    unless_tiny(x, half.add(half))
}

#[inline(always)]
pub fn sinh<T: Real, V: Vector<T>>(x: V) -> V {
    // With E = e^|x| − 1, (E + E / (E + 1)) / 2; the greatest number stands in for ∞ / ∞.
    let half = half_expm1(x.abs());
    let small = half.at_most(V::splat(T::max_value())).div(half.add(half).add(constant(1.0)));
    unless_tiny(x, half.add(small).with_sign(x))
}

#[inline(always)]
pub fn cosh<T: Real, V: Vector<T>>(x: V) -> V {
    let (shifted, fraction) = exp_parts(x.abs().at_most(V::splat(T::SINH_LIMIT)), None);
    let scale = shifted.sub(constant(2.0)).exp2_rounded();
    let quarter = scale.mul_add(fraction, scale);
    let half = quarter.add(quarter);
    half.add(constant::<T, V>(0.25).div(half))
}

/// (k, m − 1) with x = 2^k m and √½ < m ≤ √2, for 0 < x < ∞.
#[inline(always)]
fn log_parts<T: Real, V: Vector<T>>(x: V) -> (V, V) {
    let one = V::splat(T::one());
    // Subnormal numbers are made normal first.
    let least = V::splat(T::min_positive_value());
    let raised = x.mul(V::splat(T::epsilon().recip()));
    let shift = constant(-T::FRACTION_BITS);
    let exponent = x.select_less(least, shift, V::splat(T::zero()));
    let x = x.select_less(least, raised, x);
    let (exponent, significand) = (exponent.add(x.exponent()), x.significand());
    let root = constant::<T, V>(std::f64::consts::SQRT_2);
    let halved = significand.mul(constant(0.5));
    (
        root.select_less(significand, exponent.add(one), exponent),
        root.select_less(significand, halved, significand).sub(one),
    )
}

/// ln(2^k (1 + f)) + rest, with the parts of [`log_parts`] and a rest that is small compared to it.
#[inline(always)]
fn log_sum<T: Real, V: Vector<T>>((k, f): (V, V), rest: V) -> V {
    let s = f.div(f.add(constant(2.0)));
    let square = s.mul(s);
    let half_square = f.mul(f).mul(constant(0.5));
    let tail = s.mul(square.mul_add(polynomial(T::LOG, square), half_square));
    let low = k.mul_add(V::splat(T::LN_2.1), tail).add(rest);
    k.mul_add(V::splat(T::LN_2.0), f.sub(half_square.sub(low)))
}

/// Where x is not a positive finite number: the logarithm of u.
#[inline(always)]
fn log_edges<T: Real, V: Vector<T>>(u: V, log: V) -> V {
    let (zero, infinity) = (V::splat(T::zero()), V::splat(T::infinity()));
    let pole = u.select_equal(zero, infinity.neg(), V::splat(T::nan()));
    // NaN is not less than infinity either, and stays itself.
    let positive = u.select_less(infinity, log, u);
    zero.select_less(u, positive, pole)
}

/// ln x.
#[inline(always)]
pub fn log<T: Real, V: Vector<T>>(x: V) -> V {
    log_edges(x, log_sum(log_parts(x), V::splat(T::zero())))
}

/// ln(1 + x).
#[inline(always)]
pub fn log1p<T: Real, V: Vector<T>>(x: V) -> V {
    let one = V::splat(T::one());
    let (u, lost) = two_sum(one, x);
    log_edges(u, log_sum(log_parts(u), lost.div(u))).with_sign(x)
}

/// a + b, and what rounding took from it (Knuth).
#[inline(always)]
fn two_sum<T: Real, V: Vector<T>>(a: V, b: V) -> (V, V) {
    let sum = a.add(b);
    let rounded = sum.sub(a);
    (sum, a.sub(sum.sub(rounded)).add(b.sub(rounded)))
}

/// a + b, and what rounding took from it, for |a| ≥ |b| or a = 0 (Dekker 1971).
#[inline(always)]
fn quick_two_sum<T: Real, V: Vector<T>>(a: V, b: V) -> (V, V) {
    let sum = a.add(b);
    (sum, b.sub(sum.sub(a)))
}

/// a·b, and what rounding took from it (Dekker 1971).
#[inline(always)]
fn two_product<T: Real, V: Vector<T>>(a: V, b: V) -> (V, V) {
    let product = a.mul(b);
    if V::FUSED {
        return (product, a.mul_add(b, product.neg()));
    }
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    let rest = a_high.mul(b_high).sub(product).add(a_high.mul(b_low)).add(a_low.mul(b_high));
    (product, rest.add(a_low.mul(b_low)))
}

/// A number in two halves (Dekker 1971).
#[inline(always)]
fn split<T: Real, V: Vector<T>>(number: V) -> (V, V) {
    let scaled = number.mul(V::splat(T::SPLIT));
    let high = scaled.sub(scaled.sub(number));
    (high, number.sub(high))
}

/// ln x for 0 < x < ∞ in two parts, half as precise again as one number.
#[inline(always)]
fn log_double<T: Real, V: Vector<T>>(x: V) -> (V, V) {
    let (k, f) = log_parts(x);
    // With s = f / (2 + f), ln(1 + f) = 2 s (1 + s²/3 + s⁴/5 + …): s, s², 1/3 + s²/5 + … and their product in two parts.
    let (below, below_low) = quick_two_sum(constant(2.0), f);
    let inverse = V::splat(T::one()).div(below);
    let s = f.mul(inverse);
    let (product, product_low) = two_product(s, below);
    let s_low = f.sub(product).sub(product_low).sub(s.mul(below_low)).mul(inverse);
    let (z, z_low) = two_product(s, s);
    let z_low = z_low.add(s.add(s).mul(s_low));
    let mut series = constant::<T, V>(1.0 / (2 * T::LOG_TERMS + 1) as f64);
    for term in (2..T::LOG_TERMS).rev() {
        series = series.mul_add(z, constant(1.0 / (2 * term + 1) as f64));
    }
    let (third, third_low) = quick_two_sum(V::splat(T::THIRD.0), series.mul(z));
    let third_low = third_low.add(V::splat(T::THIRD.1));
    let (u, u_low) = two_product(z, third);
    let u_low = u_low.add(z.mul(third_low)).add(z_low.mul(third));
    let (v, v_low) = two_product(s, u);
    let v_low = v_low.add(s.mul(u_low)).add(s_low.mul(u));
    let (high, low) = quick_two_sum(k.mul(V::splat(T::LN_2.0)), s.add(s));
    let (high, rest) = quick_two_sum(high, v.add(v));
    let halves = v_low.add(s_low);
    let low = low.add(rest).add(halves.add(halves));
    quick_two_sum(high, k.mul(V::splat(T::LN_2.1)).add(low))
}

/// x^y, as in IEEE 754, except that pow(1, NaN) is NaN: 1 for y = 0, even if x is NaN; for negative x defined only for integer y.
#[inline(always)]
pub fn pow<T: Real, V: Vector<T>>(x: V, y: V) -> V {
    let (zero, one, infinity) = (V::splat(T::zero()), V::splat(T::one()), V::splat(T::infinity()));
    let (size, power) = (x.abs(), y.abs());
    // Beyond 2^64, every power but those of 1 is 0 or ∞; and splitting y would overflow.
    let limit = constant(18_446_744_073_709_551_616.0);
    let limited = power.at_most(limit).with_sign(y);
    let (log, log_low) = log_double(size);
    let (product, rest) = two_product(limited, log);
    let rest = limited.mul_add(log_low, rest);
    // Where the power over- or underflows, the rest may be great.
    let rest = V::splat(-T::EXP_RANGE.0).select_less(product.abs(), zero, rest);
    let result = exp_sum(product, Some(rest));
    // Below 2^p, p bits being those of the fraction, adding 2^p rounds to an integer in the low bits. Up to 2^(p + 1) every number
    // is an integer in its own low bits, and beyond an even one.
    let whole = V::splat(T::epsilon().recip());
    let shifted = power.add(whole);
    let rounded = shifted.sub(whole);
    let digits = power.select_less(whole, shifted, power.select_less(whole.add(whole), power, whole));
    let of_negative = power.select_less(whole, rounded.select_equal(power, result, V::splat(T::nan())), result);
    let negative = x.select_less(zero, of_negative, result);
    // The results for 0 and ∞ replace what was computed.
    let (of_zero, of_infinity) = (y.select_less(zero, infinity, zero), y.select_less(zero, zero, infinity));
    let edges = size.select_equal(infinity, of_infinity, size.select_equal(zero, of_zero, negative));
    let if_odd = digits.select_bit::<0>(edges.with_sign(x), edges);
    let signed = power.select_less(whole, rounded.select_equal(power, if_odd, edges), if_odd);
    let either = size.add(power);
    let numbers = either.select_equal(either, signed, either);
    y.select_equal(zero, one, numbers)
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
        // At the limit the quotient is 1, and beyond it grows with x: it ends exactly at ±1, where the slope is 0.
        let square = x.mul(x).at_most(V::splat(limit * limit));
        let quotient = x.mul(polynomial(numerator, square)).div(polynomial(denominator, square));
        let one = T::one();
        return quotient.at_most(V::splat(one)).at_least(V::splat(-one));
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
    let (n, fraction) = exp_parts(square.mul(constant(-0.5)), Some(rest.mul(constant(-0.5))));
    let scale = n.exp2_rounded();
    let exponential = limit.select_less(magnitude, zero, scale.mul_add(fraction, scale));
    let inverse = one.div(size.add(centre));
    let tail = exponential.mul(inverse).mul(polynomial(T::NORMAL_TAIL, size.sub(centre).mul(inverse)));
    let distribution = z.select_less(zero, tail, one.sub(tail));
    (distribution, exponential.mul(constant(0.398_942_280_401_432_7)))
}

/// Beyond, the reduction of an argument by multiples of π/2 is no longer exact.
pub const SIN_LIMIT: f64 = 8192.0;

/// sin x and cos x for |x| ≤ [`SIN_LIMIT`]. The sine of −0 is +0.
#[inline(always)]
pub fn sin_cos<T: Real, V: Vector<T>>(x: V) -> (V, V) {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let shifted = x.mul_add(constant(std::f64::consts::FRAC_2_PI), V::splat(T::ROUND));
    let n = shifted.sub(V::splat(T::ROUND));
    let mut r = x;
    for &part in T::FRAC_PI_2 {
        r = n.mul_add(V::splat(-part), r);
    }
    let square = r.mul(r);
    let sine = r.mul(square).mul_add(polynomial(T::SIN, square), r);
    let tail = square.mul(square).mul(polynomial(T::COS, square));
    let cosine = one.sub(square.mul(constant(0.5))).add(tail);
    // n mod 4 is the quadrant.
    let (sin, cos) = (shifted.select_bit::<0>(cosine, sine), shifted.select_bit::<0>(zero.sub(sine), cosine));
    (shifted.select_bit::<1>(zero.sub(sin), sin), shifted.select_bit::<1>(zero.sub(cos), cos))
}

/// tan x for |x| ≤ [`SIN_LIMIT`].
#[inline(always)]
pub fn tan<T: Real, V: Vector<T>>(x: V) -> V {
    let (sin, cos) = sin_cos(x);
    unless_tiny(x, sin.div(cos))
}

/// sin x and cos x, beyond [`SIN_LIMIT`] number by number. Its branch keeps the compiler from vectorising loops over strips of one
/// number; there, look at all numbers first.
#[inline(always)]
pub fn sin_cos_anywhere<T: Real, V: Vector<T>>(x: V) -> (V, V) {
    let near = sin_cos(x);
    if constant::<T, V>(SIN_LIMIT).any_less(x.abs()) { sin_cos_far(x, near) } else { near }
}

/// tan x, beyond [`SIN_LIMIT`] number by number.
#[inline(always)]
pub fn tan_anywhere<T: Real, V: Vector<T>>(x: V) -> V {
    let (sin, cos) = sin_cos_anywhere(x);
    unless_tiny(x, sin.div(cos))
}

/// `near` with what lies beyond [`SIN_LIMIT`] by the library: a number does not depend on its neighbours.
#[cold]
#[inline(never)]
fn sin_cos_far<T: Real, V: Vector<T>>(x: V, (sin, cos): (V, V)) -> (V, V) {
    const { assert!(V::LEN <= 4 * MAX_LEN) };
    let [mut numbers, mut sines, mut cosines] = [[T::zero(); 4 * MAX_LEN]; 3];
    // SAFETY: at least as many numbers as V has.
    unsafe {
        x.store(numbers.as_mut_ptr());
        sin.store(sines.as_mut_ptr());
        cos.store(cosines.as_mut_ptr());
    }
    for ((&x, sine), cosine) in numbers[..V::LEN].iter().zip(&mut sines).zip(&mut cosines) {
        if x.abs() > T::of(SIN_LIMIT) {
            (*sine, *cosine) = Elementary::sin_cos(x);
        }
    }
    // SAFETY: as above.
    unsafe { (V::load(sines.as_ptr()), V::load(cosines.as_ptr())) }
}

/// p(z) / q(z).
#[inline(always)]
fn ratio<T: Real, V: Vector<T>>(Rational { numerator, denominator, .. }: &Rational<T>, z: V) -> V {
    let numerator = polynomial(numerator, z);
    if denominator.len() == 1 { numerator } else { numerator.div(polynomial(denominator, z)) }
}

/// atan x for 0 ≤ x ≤ 1.
#[inline(always)]
fn atan_unit<T: Real, V: Vector<T>>(x: V) -> V {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let limit = V::splat(T::ATAN.limit);
    // atan x = π/4 + atan((x − 1) / (x + 1)).
    let reduced = limit.select_less(x, x.sub(one).div(x.add(one)), x);
    let square = reduced.mul(reduced);
    let low = limit.select_less(x, V::splat(T::FRAC_PI_2_REST).mul(constant(0.5)), zero);
    let tail = reduced.mul(square).mul_add(ratio(&T::ATAN, square), low);
    limit.select_less(x, constant(std::f64::consts::FRAC_PI_4), zero).add(reduced.add(tail))
}

/// π/2 − x.
#[inline(always)]
fn complement<T: Real, V: Vector<T>>(x: V) -> V {
    constant::<T, V>(std::f64::consts::FRAC_PI_2).sub(x.sub(V::splat(T::FRAC_PI_2_REST)))
}

/// π − x.
#[inline(always)]
fn supplement<T: Real, V: Vector<T>>(x: V) -> V {
    let rest = V::splat(T::FRAC_PI_2_REST);
    constant::<T, V>(std::f64::consts::PI).sub(x.sub(rest.add(rest)))
}

#[inline(always)]
pub fn atan<T: Real, V: Vector<T>>(x: V) -> V {
    let (one, size) = (V::splat(T::one()), x.abs());
    let angle = atan_unit(one.select_less(size, one.div(size), size));
    one.select_less(size, complement(angle), angle).with_sign(x)
}

/// The angle of the point (x, y), between −π and π; the signs of zeros count, as in the C library.
#[inline(always)]
pub fn atan2<T: Real, V: Vector<T>>(y: V, x: V) -> V {
    let (zero, one) = (V::splat(T::zero()), V::splat(T::one()));
    let (height, width) = (y.abs(), x.abs());
    let (least, most) = (width.select_less(height, width, height), width.select_less(height, height, width));
    // 0 / 0 is 0 and ∞ / ∞ is 1 here.
    let slope = most.select_equal(zero, zero, least.select_equal(V::splat(T::infinity()), one, least.div(most)));
    let angle = atan_unit(slope);
    let flat = one.with_sign(x).select_less(zero, supplement(angle), angle);
    let angle = width.select_less(height, complement(angle.with_sign(x)), flat).with_sign(y);
    let either = height.add(width);
    either.select_equal(either, angle, either)
}

/// asin |x| for |x| < ½, and beyond asin √((1 − |x|) / 2) = acos(|x|) / 2.
#[inline(always)]
fn asin_small<T: Real, V: Vector<T>>(x: V) -> V {
    let (size, half) = (x.abs(), constant::<T, V>(0.5));
    let square = size.select_less(half, size.mul(size), V::splat(T::one()).sub(size).mul(half));
    let s = size.select_less(half, size, square.sqrt());
    s.mul(square).mul_add(ratio(&T::ASIN, square), s)
}

#[inline(always)]
pub fn asin<T: Real, V: Vector<T>>(x: V) -> V {
    let angle = asin_small(x);
    x.abs().select_less(constant(0.5), angle, complement(angle.add(angle))).with_sign(x)
}

#[inline(always)]
pub fn acos<T: Real, V: Vector<T>>(x: V) -> V {
    let angle = asin_small(x);
    let twice = angle.add(angle);
    let steep = x.select_less(V::splat(T::zero()), supplement(twice), twice);
    x.abs().select_less(constant(0.5), complement(angle.with_sign(x)), steep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simd::{RegisterBlock, Registers};
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

    type Strip<T> = RegisterBlock<<T as Registers>::Register128, 4>;

    fn at<T: Real>(f: impl Fn(Strip<T>) -> Strip<T>, x: T) -> T {
        at_both(|x, _| f(x), x, x)
    }

    fn at_both<T: Real>(f: impl Fn(Strip<T>, Strip<T>) -> Strip<T>, x: T, y: T) -> T {
        let (mut x, y) = ([x; 32], [y; 32]);
        // SAFETY: a strip is at most 32 numbers.
        unsafe { f(Vector::load(x.as_ptr()), Vector::load(y.as_ptr())).store(x.as_mut_ptr()) };
        x[0]
    }

    fn ulp<T: Real>(of: f64, least: f64) -> f64 {
        2.0_f64.powf(of.abs().max(least).max(T::min_positive_value().wide()).log2().floor()) * T::epsilon().wide()
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
                if x.is_infinite() || T::of(expected).is_infinite() {
                    assert!(x.is_infinite() || at(&f, x) == T::of(expected), "at {x}");
                    continue;
                }
                worst = worst.max((at(&f, x).wide() - expected).abs() / ulp::<T>(expected, least));
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
    fn errors_of_any_argument_are_a_few_ulp() {
        let both = &[1.0, -1.0];
        for most in [745.0, 104.0, 1.0] {
            within!(exp, libm::exp, both, most, 0.0, 1.2, 2.0);
            within!(expm1, libm::expm1, both, most, 0.0, 2.0, 3.0);
            within!(sinh, libm::sinh, both, most, 0.0, 2.5, 4.0);
            within!(cosh, libm::cosh, both, most, 0.0, 1.6, 3.0);
        }
        // The smallest are subnormal in f32, and in f64.
        for most in [1e300, 1e38, 1e4, 8.0, 1.5, 1e-30, 1e-38, 1e-290, 1e-308] {
            within!(log, libm::log, &[1.0], most, 0.0, 1.0, 2.0);
            within!(log1p, libm::log1p, &[1.0], most, 0.0, 1.0, 2.0);
        }
        within!(log1p, libm::log1p, &[-1.0], 0.999_999, 0.0, 1.0, 2.0);
        within!(tan, libm::tan, both, SIN_LIMIT, 0.0, 4.0, 4.0);
        within!(tan_anywhere, libm::tan, both, 1e30, 0.0, 4.0, 4.0);
        within!(|x| sin_cos_anywhere(x).0, libm::sin, both, 1e30, 0.0, 4.0, 4.0);
        for most in [1e7, 1.0] {
            within!(atan, libm::atan, both, most, 0.0, 2.2, 3.0);
        }
        within!(asin, libm::asin, both, 1.0, 0.0, 2.5, 3.0);
        within!(acos, libm::acos, both, 1.0, 0.0, 1.5, 2.0);
    }

    #[test]
    fn errors_are_a_few_ulp_close_to_one() {
        let exact = [libm::log, libm::asin, libm::acos];
        for (f, exact) in [log, asin, acos].into_iter().zip(exact) {
            let error = worst_ulp_near_one::<f32>(f, exact);
            assert!(error < 1.2, "{error}");
        }
        for (f, exact) in [log, asin, acos].into_iter().zip(exact) {
            let error = worst_ulp_near_one::<f64>(f, exact);
            assert!(error < 2.0, "{error}");
        }
    }

    /// As [`worst_ulp`], over the numbers next below 1.
    fn worst_ulp_near_one<T: Real>(f: impl Fn(Strip<T>) -> Strip<T>, exact: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0.0_f64;
        for i in 1..100_000 {
            let x = T::of(1.0 - f64::from(i) * 0.5 * T::epsilon().wide());
            let expected = exact(x.wide());
            worst = worst.max((at(&f, x).wide() - expected).abs() / ulp::<T>(expected, 0.0));
        }
        worst
    }

    /// Greatest error in units of the last place over pairs of arguments made of two numbers between −1 and 1.
    fn worst_ulp_of_pairs<T: Real>(
        f: impl Fn(Strip<T>, Strip<T>) -> Strip<T>,
        exact: impl Fn(f64, f64) -> f64,
        pair: impl Fn(f64, f64) -> (f64, f64),
    ) -> f64 {
        let mut state = 1_u64;
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / f64::from(1 << 26) / f64::from(1 << 26) - 1.0
        };
        let mut worst = 0.0_f64;
        for _ in 0..200_000 {
            let (x, y) = pair(number(), number());
            let (x, y) = (T::of(x), T::of(y));
            let expected = exact(x.wide(), y.wide());
            let result = at_both(&f, x, y);
            if T::of(expected).is_infinite() {
                assert!(result == T::of(expected), "at {x}, {y}");
            } else {
                worst = worst.max((result.wide() - expected).abs() / ulp::<T>(expected, 0.0));
            }
        }
        worst
    }

    #[test]
    fn errors_of_two_arguments_are_a_few_ulp() {
        let check = |name: &str, [single, double]: [f64; 2], bounds: [f64; 2]| {
            println!("{name}: {single} {double}");
            assert!(single < bounds[0] && double < bounds[1], "{name}: {single} {double}");
        };
        // Powers of all sizes, down to zero and up to infinity, of bases of all sizes and close to 1.
        for (spread, most) in [(80.0, 110.0), (1e-2, 110.0), (1e-4, 90.0), (700.0, 760.0), (1.0, 760.0), (1e-9, 700.0)]
        {
            let pair = |a: f64, b: f64| (libm::exp(a * spread), b * most / (a * spread));
            let errors =
                [worst_ulp_of_pairs::<f32>(pow, libm::pow, pair), worst_ulp_of_pairs::<f64>(pow, libm::pow, pair)];
            check("pow", errors, [1.2, 2.0]);
        }
        let pair = |a: f64, b: f64| (10.0 * a, (12.0 * b).round());
        let errors = [worst_ulp_of_pairs::<f32>(pow, libm::pow, pair), worst_ulp_of_pairs::<f64>(pow, libm::pow, pair)];
        check("pow of whole exponents", errors, [1.2, 2.0]);
        for spread in [1.0, 40.0] {
            let pair = |a: f64, b: f64| (a, b * libm::exp(spread * a));
            let errors = [
                worst_ulp_of_pairs::<f32>(atan2, libm::atan2, pair),
                worst_ulp_of_pairs::<f64>(atan2, libm::atan2, pair),
            ];
            check("atan2", errors, [2.5, 3.0]);
        }
    }

    #[test]
    fn limits_and_nan() {
        assert_eq!(at(tanh, f64::INFINITY), 1.0);
        for x in [9.1_f32, 10.0, 1e10, 1e30, f32::INFINITY] {
            assert_eq!((at(tanh, x), at(tanh, -x)), (1.0, -1.0));
        }
        assert!((0..100_000).all(|k| at(tanh, k as f32 * 1e-4) <= 1.0));
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

    fn edges<T: Real>() {
        let [inf, nan] = [f64::INFINITY, f64::NAN];
        let [most, least, tiny] = [T::max_value(), T::min_positive_value(), T::min_positive_value() * T::epsilon()];
        let check = |name: &str, f: &dyn Fn(Strip<T>) -> Strip<T>, cases: &[(f64, f64)]| {
            for &(x, expected) in cases.iter().chain(&[(nan, nan)]) {
                let result = at(f, T::of(x));
                let same = result == T::of(expected) && result.is_sign_negative() == expected.is_sign_negative();
                assert!(same || result.is_nan() && expected.is_nan(), "{name}({x}) is {result}, not {expected}");
            }
        };
        let greatest = most.wide();
        check("exp", &exp, &[(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (greatest, inf), (-greatest, 0.0)]);
        let least_log = tiny.wide().ln();
        assert_eq!(at(exp, T::of(least_log)), tiny, "subnormal results");
        assert_eq!(at(exp, T::of(least_log - 0.8)), T::zero());
        let odd = [(0.0, 0.0), (-0.0, -0.0), (tiny.wide(), tiny.wide())];
        check("expm1", &expm1, &[&odd[..], &[(inf, inf), (-inf, -1.0), (-greatest, -1.0)]].concat());
        check("sinh", &sinh, &[&odd[..], &[(inf, inf), (-inf, -inf), (greatest, inf), (-greatest, -inf)]].concat());
        check("cosh", &cosh, &[(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, inf), (greatest, inf)]);
        let logs = [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-inf, nan), (-1.0, nan), (-tiny.wide(), nan)];
        check("log", &log, &logs);
        for x in [most, least, tiny, T::of(3.0) * tiny] {
            let error = (at(log, x).wide() - x.wide().ln()).abs();
            assert!(error <= ulp::<T>(x.wide().ln(), 0.0), "log of {x}");
        }
        check("log1p", &log1p, &[&odd[..], &[(-1.0, -inf), (inf, inf), (-inf, nan), (-1.5, nan)]].concat());
        check("tan", &tan_anywhere, &[&odd[..], &[(inf, nan), (-inf, nan)]].concat());
        let [right, half] = [T::of(std::f64::consts::FRAC_PI_2).wide(), T::of(std::f64::consts::FRAC_PI_4).wide()];
        let straight = T::of(std::f64::consts::PI).wide();
        check("atan", &atan, &[&odd[..], &[(1.0, half), (inf, right), (-inf, -right), (greatest, right)]].concat());
        let outside = [(1.0 + T::epsilon().wide(), nan), (-2.0, nan), (inf, nan), (-inf, nan)];
        check("asin", &asin, &[&odd[..], &[(1.0, right), (-1.0, -right)], &outside].concat());
        check("acos", &acos, &[&[(1.0, 0.0), (-1.0, straight), (0.0, right), (-0.0, right)], &outside[..]].concat());

        let check = |name: &str, f: &dyn Fn(Strip<T>, Strip<T>) -> Strip<T>, cases: &[(f64, f64, f64)]| {
            for &(x, y, expected) in cases {
                let result = at_both(f, T::of(x), T::of(y));
                let same = result == T::of(expected) && result.is_sign_negative() == expected.is_sign_negative();
                assert!(same || result.is_nan() && expected.is_nan(), "{name}({x}, {y}) is {result}, not {expected}");
            }
        };
        // The last odd number, and the one beyond which all are whole.
        let (last_odd, whole) = (2.0 / T::epsilon().wide() - 1.0, 1.0 / T::epsilon().wide());
        let mut numbers =
            vec![0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 1e30, whole, whole - 0.5, whole - 1.0, whole + 1.0, last_odd];
        numbers.extend([last_odd + 1.0, greatest, least.wide(), tiny.wide(), inf]);
        numbers.extend(numbers.clone().iter().map(|number| -number));
        numbers.push(nan);
        for &x in &numbers {
            for &y in &numbers {
                let (x, y) = (T::of(x).wide(), T::of(y).wide());
                let expected = if x == 1.0 && y.is_nan() { nan } else { libm::pow(x, y) };
                let rounded = T::of(expected);
                let result = at_both(pow, T::of(x), T::of(y));
                let near =
                    (result.wide() - rounded.wide()).abs() <= T::epsilon().wide() * rounded.wide().abs() + tiny.wide();
                let same = (result == rounded || near) && result.is_sign_negative() == expected.is_sign_negative();
                assert!(same || result.is_nan() && expected.is_nan(), "{x}^{y} is {result}, not {expected}");
            }
        }
        check("atan2", &atan2, &[(0.0, 0.0, 0.0), (-0.0, 0.0, -0.0), (0.0, -0.0, straight), (-0.0, -0.0, -straight)]);
        check("atan2", &atan2, &[(1.0, 0.0, right), (-1.0, -0.0, -right), (0.0, -1.0, straight), (-0.0, 1.0, -0.0)]);
        check("atan2", &atan2, &[(inf, inf, half), (-inf, inf, -half), (inf, 1.0, right), (1.0, inf, 0.0)]);
        check("atan2", &atan2, &[(inf, -inf, T::of(2.356_194_490_192_345).wide()), (-1.0, -inf, -straight)]);
        check("atan2", &atan2, &[(nan, 1.0, nan), (1.0, nan, nan), (nan, inf, nan), (0.0, nan, nan)]);
        check(
            "atan2",
            &atan2,
            &[(greatest, greatest, half), (tiny.wide(), tiny.wide(), half), (tiny.wide(), inf, 0.0)],
        );
    }

    #[test]
    fn zeros_infinities_and_domains() {
        edges::<f32>();
        edges::<f64>();
    }
}
