//! Activations with their derivatives, over slices.

use super::math::{expm1_negative, normal_cdf, normal_pdf, sigmoid, softplus, tanh};
use super::real::Real;

/// What follows every layer but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Tanh,
    Softplus,
    Silu,
    Relu,
    Sigmoid,
    /// x Φ(x), exact by erf.
    Gelu,
    Sin,
    /// With α = 1.
    Elu,
    Identity,
}

use Activation::*;

impl Activation {
    pub const ALL: [Activation; 9] = [Tanh, Softplus, Silu, Relu, Sigmoid, Gelu, Sin, Elu, Identity];

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

    pub fn named(name: &str) -> Option<Activation> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    /// Whether the derivative cannot be had from the activation's value, so that a tape keeps it as well.
    pub(crate) fn keeps_derivative(self) -> bool {
        matches!(self, Silu | Gelu | Sin)
    }

    /// z becomes σ(z).
    pub(crate) fn apply<T: Real>(self, z: &mut [T]) {
        match self {
            Tanh => map(z, tanh),
            Softplus => map(z, softplus),
            Silu => map(z, |z| z * sigmoid(z)),
            Relu => map(z, |z| if z < T::zero() { T::zero() } else { z }),
            Sigmoid => map(z, sigmoid),
            Gelu => map(z, |z| z * normal_cdf(z)),
            Sin => map(z, |z| Real::sin_cos(z).0),
            Elu => map(z, |z| if z > T::zero() { z } else { expm1_negative(z) }),
            Identity => {}
        }
    }

    /// z becomes σ(z), bitwise as [`apply`](Self::apply) has it, and `derivative` σ′(z); only for those that keep it.
    pub(crate) fn apply_keeping<T: Real>(self, z: &mut [T], derivative: &mut [T]) {
        let one = T::one();
        match self {
            Silu => map_keeping(z, derivative, |z| {
                let s = sigmoid(z);
                (z * s, s * (one + z * (one - s)))
            }),
            Gelu => map_keeping(z, derivative, |z| {
                let cdf = normal_cdf(z);
                (z * cdf, cdf + z * normal_pdf(z))
            }),
            Sin => map_keeping(z, derivative, Real::sin_cos),
            _ => unreachable!("{} is differentiated by its value", self.name()),
        }
    }

    /// Multiplies a cotangent by σ′, given what the tape kept: σ(z), or σ′(z) where that is kept.
    pub(crate) fn pull<T: Real>(self, kept: &[T], cotangent: &mut [T]) {
        let one = T::one();
        match self {
            Tanh => scale(kept, cotangent, |a| one - a * a),
            Softplus => scale(kept, cotangent, |a| -expm1_negative(-a)),
            Relu => scale(kept, cotangent, |a| if a > T::zero() { one } else { T::zero() }),
            Sigmoid => scale(kept, cotangent, |a| a * (one - a)),
            Elu => scale(kept, cotangent, |a| if a > T::zero() { one } else { a + one }),
            Silu | Gelu | Sin => scale(kept, cotangent, |derivative| derivative),
            Identity => {}
        }
    }
}

#[inline(always)]
fn map<T: Real>(numbers: &mut [T], f: impl Fn(T) -> T) {
    for number in numbers {
        *number = f(*number);
    }
}

#[inline(always)]
fn map_keeping<T: Real>(numbers: &mut [T], derivatives: &mut [T], f: impl Fn(T) -> (T, T)) {
    for (number, derivative) in numbers.iter_mut().zip(derivatives) {
        (*number, *derivative) = f(*number);
    }
}

#[inline(always)]
fn scale<T: Real>(kept: &[T], cotangent: &mut [T], derivative: impl Fn(T) -> T) {
    for (cotangent, &kept) in cotangent.iter_mut().zip(kept) {
        *cotangent = *cotangent * derivative(kept);
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
            }
        }
    }
}
