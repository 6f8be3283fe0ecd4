//! Activations with their derivatives, over slices.

use super::math::{SIN_LIMIT, expm1_negative, normal, sigmoid, sin_cos, softplus, tanh};
use super::real::Real;
use super::simd::Vector;

/// What follows every layer but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// tanh z
    Tanh,
    /// log(1 + e^z)
    Softplus,
    /// z / (1 + e^−z)
    Silu,
    /// max(z, 0)
    Relu,
    /// 1 / (1 + e^−z)
    Sigmoid,
    /// x Φ(x), exact by erf.
    Gelu,
    /// sin z
    Sin,
    /// With α = 1.
    Elu,
    /// z
    Identity,
}

use Activation::*;

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 9] = [Tanh, Softplus, Silu, Relu, Sigmoid, Gelu, Sin, Elu, Identity];

    /// Its name in the public API.
    pub fn name(self) -> &'static str {
        match self {
            Tanh => "tanh",
            Softplus => "softplus",
            Silu => "silu",
            Relu => "relu",
            Sigmoid => "sigmoid",
            Gelu => "gelu",
            Sin => "sin",
            Elu => "elu",
            Identity => "identity",
        }
    }

    /// The activation of that name.
    pub fn named(name: &str) -> Option<Activation> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    /// Whether the derivative cannot be had from the activation's value, so that a tape keeps it as well.
    pub(crate) fn keeps_derivative(self) -> bool {
        matches!(self, Silu | Gelu | Sin)
    }

    /// z becomes σ(z).
    pub(crate) fn apply<T: Real>(self, z: &mut [T]) {
        let zero = T::Strip::splat(T::zero());
        match self {
            Tanh => map(z, tanh),
            Softplus => map(z, softplus),
            Silu => map(z, |z| z.mul(sigmoid(z))),
            Relu => map(z, |z| z.at_least(zero)),
            Sigmoid => map(z, sigmoid),
            Gelu => map(z, |z| z.mul(normal(z).0)),
            Sin if far(z) => z.iter_mut().for_each(|z| *z = sin_cos_anywhere(*z).0),
            Sin => map(z, |z| sin_cos(z).0),
            Elu => map(z, |z| zero.select_less(z, z, expm1_negative(z))),
            Identity => {}
        }
    }

    /// z becomes σ(z), bitwise as [`apply`](Self::apply) has it, and `derivative` σ′(z); only for those that keep it.
    pub(crate) fn apply_keeping<T: Real>(self, z: &mut [T], derivative: &mut [T]) {
        let one = T::Strip::splat(T::one());
        match self {
            Silu => map_keeping(z, derivative, |z| {
                let s = sigmoid(z);
                (z.mul(s), s.mul(z.mul_add(one.sub(s), one)))
            }),
            Gelu => map_keeping(z, derivative, |z| {
                let (distribution, density) = normal(z);
                (z.mul(distribution), z.mul_add(density, distribution))
            }),
            Sin if far(z) => z.iter_mut().zip(derivative).for_each(|(z, d)| (*z, *d) = sin_cos_anywhere(*z)),
            Sin => map_keeping(z, derivative, sin_cos),
            _ => unreachable!("{} is differentiated by its value", self.name()),
        }
    }

    /// z becomes σ(z), `first` σ′(z) and `second` σ″(z).
    pub(crate) fn apply_twice<T: Real>(self, z: &mut [T], first: &mut [T], second: &mut [T]) {
        let [zero, one, two] = [0.0, 1.0, 2.0].map(|number| T::Strip::splat(T::of(number)));
        match self {
            Tanh => map_twice(z, first, second, |z| {
                let a = tanh(z);
                let slope = one.sub(a.mul(a));
                (a, slope, zero.sub(two.mul(a).mul(slope)))
            }),
            Softplus => map_twice(z, first, second, |z| {
                let s = sigmoid(z);
                (softplus(z), s, s.mul(one.sub(s)))
            }),
            Silu => map_twice(z, first, second, |z| {
                let s = sigmoid(z);
                let rest = one.sub(s);
                (z.mul(s), s.mul(z.mul_add(rest, one)), s.mul(rest).mul(z.mul_add(rest.sub(s), two)))
            }),
            Relu => map_twice(z, first, second, |z| (z.at_least(zero), zero.select_less(z, one, zero), zero)),
            Sigmoid => map_twice(z, first, second, |z| {
                let s = sigmoid(z);
                let slope = s.mul(one.sub(s));
                (s, slope, slope.mul(one.sub(two.mul(s))))
            }),
            Gelu => map_twice(z, first, second, |z| {
                let (distribution, density) = normal(z);
                (z.mul(distribution), z.mul_add(density, distribution), density.mul(two.sub(z.mul(z))))
            }),
            Sin if far(z) => {
                for ((z, first), second) in z.iter_mut().zip(first).zip(second) {
                    (*z, *first) = sin_cos_anywhere(*z);
                    *second = -*z;
                }
            }
            Sin => map_twice(z, first, second, |z| {
                let (sin, cos) = sin_cos(z);
                (sin, cos, zero.sub(sin))
            }),
            Elu => map_twice(z, first, second, |z| {
                let e = expm1_negative(z);
                let slope = e.add(one);
                let of = |positive: T::Strip, negative: T::Strip| zero.select_less(z, positive, negative);
                (of(z, e), of(one, slope), of(zero, slope))
            }),
            Identity => {
                first.fill(T::one());
                second.fill(T::zero());
            }
        }
    }

    /// Multiplies a cotangent by σ′, given what the tape kept: σ(z), or σ′(z) where that is kept.
    pub(crate) fn pull<T: Real>(self, kept: &[T], cotangent: &mut [T]) {
        let (zero, one) = (T::Strip::splat(T::zero()), T::Strip::splat(T::one()));
        match self {
            Tanh => scale(kept, cotangent, |a| one.sub(a.mul(a))),
            Softplus => scale(kept, cotangent, |a| zero.sub(expm1_negative(zero.sub(a)))),
            Relu => scale(kept, cotangent, |a| zero.select_less(a, one, zero)),
            Sigmoid => scale(kept, cotangent, |a| a.mul(one.sub(a))),
            Elu => scale(kept, cotangent, |a| zero.select_less(a, one, a.add(one))),
            Silu | Gelu | Sin => scale(kept, cotangent, |derivative| derivative),
            Identity => {}
        }
    }
}

/// Whether an argument is too far from zero for the kernel's sine.
fn far<T: Real>(z: &[T]) -> bool {
    let limit = T::of(SIN_LIMIT);
    // Without a way out of the loop, it is vectorised.
    z.iter().fold(false, |far, z| far | (z.abs() > limit))
}

/// (sin z, cos z), bitwise the kernel's where that serves: a number does not depend on its neighbours.
fn sin_cos_anywhere<T: Real>(z: T) -> (T, T) {
    if z.abs() > T::of(SIN_LIMIT) {
        return Real::sin_cos(z);
    }
    let (mut value, mut derivative) = ([z], [z]);
    map_keeping(&mut value, &mut derivative, sin_cos);
    (value[0], derivative[0])
}

/// The most numbers in a strip: 16 f32.
const STRIP: usize = 16;

/// Numbers in a strip of T.
const fn strip_len<T: Real>() -> usize {
    <T::Strip as Vector<T>>::LEN
}

/// The numbers behind the last whole strip, with zeros behind them.
#[inline(always)]
fn padded<T: Real>(rest: &[T]) -> [T; STRIP] {
    let mut strip = [T::zero(); STRIP];
    strip[..rest.len()].copy_from_slice(rest);
    strip
}

/// Where there is a strip, the last one overlaps the one before it: its numbers are read before any is written, and where both
/// write they write the same.
#[inline(always)]
fn map<T: Real>(numbers: &mut [T], f: impl Fn(T::Strip) -> T::Strip) {
    let (len, strip) = (numbers.len(), strip_len::<T>());
    if len < strip {
        let mut strip = padded(numbers);
        // SAFETY: as many numbers as the longest strip.
        unsafe { f(T::Strip::load(strip.as_ptr())).store(strip.as_mut_ptr()) }
        numbers.copy_from_slice(&strip[..len]);
        return;
    }
    let start = numbers.as_mut_ptr();
    // SAFETY: strips that end within the numbers.
    unsafe {
        let last = T::Strip::load(start.add(len - strip));
        for i in (0..len / strip * strip).step_by(strip) {
            f(T::Strip::load(start.add(i))).store(start.add(i));
        }
        if !len.is_multiple_of(strip) {
            f(last).store(start.add(len - strip));
        }
    }
}

#[inline(always)]
fn map_keeping<T: Real>(numbers: &mut [T], derivatives: &mut [T], f: impl Fn(T::Strip) -> (T::Strip, T::Strip)) {
    assert!(numbers.len() == derivatives.len());
    let (len, strip) = (numbers.len(), strip_len::<T>());
    if len < strip {
        let (mut values, mut slopes) = (padded(numbers), [T::zero(); STRIP]);
        // SAFETY: as many numbers as the longest strip.
        unsafe {
            let (value, slope) = f(T::Strip::load(values.as_ptr()));
            value.store(values.as_mut_ptr());
            slope.store(slopes.as_mut_ptr());
        }
        numbers.copy_from_slice(&values[..len]);
        derivatives.copy_from_slice(&slopes[..len]);
        return;
    }
    let (start, derivatives) = (numbers.as_mut_ptr(), derivatives.as_mut_ptr());
    // SAFETY: strips that end within the numbers, as in `map`.
    unsafe {
        let store = |at: usize, (value, derivative): (T::Strip, T::Strip)| {
            value.store(start.add(at));
            derivative.store(derivatives.add(at));
        };
        let last = T::Strip::load(start.add(len - strip));
        for i in (0..len / strip * strip).step_by(strip) {
            store(i, f(T::Strip::load(start.add(i))));
        }
        if !len.is_multiple_of(strip) {
            store(len - strip, f(last));
        }
    }
}

#[inline(always)]
fn map_twice<T: Real>(
    z: &mut [T],
    first: &mut [T],
    second: &mut [T],
    f: impl Fn(T::Strip) -> (T::Strip, T::Strip, T::Strip),
) {
    assert!(first.len() == z.len() && second.len() == z.len());
    let strips = strip_len::<T>();
    let all = z.chunks_mut(strips).zip(first.chunks_mut(strips)).zip(second.chunks_mut(strips));
    for ((z, first), second) in all {
        // SAFETY: as many numbers as a strip has, or padded to that.
        unsafe {
            if z.len() == strips {
                let (value, slope, bend) = f(T::Strip::load(z.as_ptr()));
                value.store(z.as_mut_ptr());
                slope.store(first.as_mut_ptr());
                bend.store(second.as_mut_ptr());
            } else {
                let (mut values, mut slopes, mut bends) = (padded(z), [T::zero(); STRIP], [T::zero(); STRIP]);
                let (value, slope, bend) = f(T::Strip::load(values.as_ptr()));
                value.store(values.as_mut_ptr());
                slope.store(slopes.as_mut_ptr());
                bend.store(bends.as_mut_ptr());
                z.copy_from_slice(&values[..z.len()]);
                first.copy_from_slice(&slopes[..z.len()]);
                second.copy_from_slice(&bends[..z.len()]);
            }
        }
    }
}

#[inline(always)]
fn scale<T: Real>(kept: &[T], cotangent: &mut [T], derivative: impl Fn(T::Strip) -> T::Strip) {
    assert!(kept.len() == cotangent.len());
    let whole = kept.len() / strip_len::<T>() * strip_len::<T>();
    let ((kept, kept_rest), (strips, rest)) = (kept.split_at(whole), cotangent.split_at_mut(whole));
    for i in (0..whole).step_by(strip_len::<T>()) {
        // SAFETY: `whole` is a multiple of a strip.
        unsafe {
            let at = strips.as_mut_ptr().add(i);
            T::Strip::load(at).mul(derivative(T::Strip::load(kept.as_ptr().add(i)))).store(at);
        }
    }
    if !rest.is_empty() {
        let mut strip = padded(rest);
        // SAFETY: as many numbers as the longest strip.
        unsafe {
            let factor = derivative(T::Strip::load(padded(kept_rest).as_ptr()));
            T::Strip::load(strip.as_ptr()).mul(factor).store(strip.as_mut_ptr());
        }
        rest.copy_from_slice(&strip[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_match_differences() {
        for activation in Activation::ALL {
            for i in -40..40 {
                let z = f64::from(i) * 0.21 + 0.013;
                let at = |z: f64| {
                    let mut value = [z];
                    activation.apply(&mut value);
                    value[0]
                };
                let step = 1e-6;
                let difference = (at(z + step) - at(z - step)) / (2.0 * step);
                let (mut value, mut kept, mut cotangent) = ([z], [0.0], [1.0]);
                if activation.keeps_derivative() {
                    activation.apply_keeping(&mut value, &mut kept);
                    assert_eq!(value[0], at(z));
                } else {
                    kept = [at(z)];
                }
                activation.pull(&kept, &mut cotangent);
                assert!((cotangent[0] - difference).abs() < 1e-8, "{} at {z}", activation.name());

                let twice = |z: f64| {
                    let (mut value, mut first, mut second) = ([z], [0.0], [0.0]);
                    activation.apply_twice(&mut value, &mut first, &mut second);
                    [value[0], first[0], second[0]]
                };
                let [again, first, second] = twice(z);
                let bend = (twice(z + step)[1] - twice(z - step)[1]) / (2.0 * step);
                assert!((again - at(z)).abs() < 1e-15 && (first - cotangent[0]).abs() < 1e-14);
                assert!((second - bend).abs() < 1e-8, "{} at {z}", activation.name());
            }
        }
    }

    #[test]
    fn nan_goes_through_and_touches_no_neighbour() {
        for activation in Activation::ALL {
            for len in [1, 16, 37] {
                for at in 0..len {
                    let mut z = vec![0.5_f32; len];
                    z[at] = f32::NAN;
                    activation.apply(&mut z);
                    assert!(z.iter().enumerate().all(|(i, z)| z.is_nan() == (i == at)), "{}", activation.name());
                }
            }
        }
    }
}
