//! Root finding: the zero of an event's function within a step, the step that ends on it, and its derivatives.

use super::super::changes::EventFunctions;
use super::{FunctionGradient, SingleTrajectory, inner};
use crate::error::{Error, Result};
use crate::field::Lanes;
use crate::kernel::combine::combine;
use crate::kernel::real::Real;
use crate::stepper::{Scheme, Span};

/// The root of an event's function g at the end of a step.
pub struct EventRoot<T> {
    /// The gradient of g there.
    pub g: FunctionGradient<T>,
    /// The derivative of g(t_{n+1}, x_{n+1}) with respect to the step size.
    pub slope: f64,
    /// Whether g crosses zero; otherwise it only grazes it, and the time of the event has no derivative.
    pub crosses: bool,
}

/// A function that crosses zero slower than this fraction of √ε of the terms of its rate only grazes it.
const GRAZING: f64 = 0.01;

/// A function whose rate at its root is less than this fraction of its mean rate over the step only touches zero there; or less than this
/// many √ε of it, as rounding moves a double root by √ε.
const TOUCHING: f64 = 1e-3;
const TOUCHING_ROUNDING: f64 = 100.0;

/// The root on an extension: its tolerance as a fraction of the step, the most iterations, and the fraction over which its rate is measured.
const EXTENSION_TOLERANCE: f64 = 1e-12;
const EXTENSION_ITERATIONS: usize = 30;
const RATE_INTERVAL: f64 = 1e-4;

/// The rounding error of a root, in units of ε.
const ROUNDING: f64 = 16.0;

impl<T: Real> SingleTrajectory<T> {
    /// The time of the root of g on the continuous extension of a step, whose slopes k_1 … k_s, f(x_{n+1}) are `slopes`, and the rate of
    /// g there, as positive at the start. A step that ends there ends close to a root. It takes no evaluation of the field.
    pub fn root_on_extension(
        &mut self,
        scheme: &Scheme,
        when: &mut dyn Lanes<T>,
        (span, start_sign, end_value, threshold): (Span, i8, f64, f64),
        slopes: &[T],
    ) -> Result<Option<(f64, f64)>> {
        let (orientation, state) = (f64::from(start_sign), self.state);
        let terms = slopes.len() / state;
        let (mut weights, mut rates) = (vec![0.0; terms], vec![0.0; terms]);
        let start = self.x.to_vec();
        let mut x = start.clone();
        let mut value = |theta: f64| {
            scheme.extension_weights(theta, &mut weights, &mut rates);
            let weighted = weights.iter().map(|weight| span.h * weight).zip(slopes.chunks_exact(state));
            combine(&mut x, &start, weighted);
            Ok::<_, Error>(orientation * self.event_value(when, span.t + theta * span.h, &x)?)
        };
        let (mut a, mut b) = ((0.0, value(0.0)?), (1.0, orientation * end_value));
        let mut theta = 1.0;
        while a.1 <= threshold && theta > EXTENSION_TOLERANCE {
            // There g has not left its last root yet.
            theta /= 2.0;
            let g = value(theta)?;
            if g > threshold {
                a = (theta, g);
            } else if g < 0.0 {
                b = (theta, g);
            }
        }
        let mut last_moved = 0;
        for _ in 0..EXTENSION_ITERATIONS {
            if a.1 <= 0.0 || b.1 >= 0.0 || b.0 - a.0 < EXTENSION_TOLERANCE {
                break;
            }
            // The Illinois rule.
            let theta = a.0 + (b.0 - a.0) * (a.1 / (a.1 - b.1));
            let g = value(theta)?;
            if g > 0.0 {
                a = (theta, g);
                b.1 = if last_moved < 0 { b.1 / 2.0 } else { b.1 };
                last_moved = -1;
            } else {
                b = (theta, g);
                a.1 = if last_moved > 0 { a.1 / 2.0 } else { a.1 };
                last_moved = 1;
            }
        }
        let theta = if last_moved < 0 { a.0 } else { b.0 };
        let (below, above) = ((theta - RATE_INTERVAL).max(0.0), (theta + RATE_INTERVAL).min(1.0));
        let rate = (value(above)? - value(below)?) / ((above - below) * span.h);
        Ok((last_moved != 0 && rate * span.h < 0.0).then_some((span.t + theta * span.h, rate)))
    }

    /// The step from t_n that ends on the first root of g, by bracketing: `start_sign` is the sign of g at t_n, and `end_value` is g at the
    /// end of `span`, of another sign or zero. If t_n is a root itself, the search begins where |g| exceeds `threshold`. A `guess` of the
    /// root and the rate of g there saves iterations. Leaves the step in `next`; returns nothing where g is not a number on the way.
    pub fn step_to_root(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, start_sign, end_value, threshold): (Span, i8, f64, f64),
        guess: Option<(f64, f64)>,
        compensated: bool,
    ) -> Result<Option<Span>> {
        let orientation = f64::from(start_sign);
        // The end of a step of a grid is rounded, so its size is not the difference of its times.
        let at = |end: f64| if end == span.end { span } else { Span { h: end - span.t, end, ..span } };
        // The bracket [a, b], with g at its ends, taken as positive at a, and at b negative or zero; the weights by which the secant scales
        // them, smaller where the other end has moved twice in a row (the Illinois rule).
        let x = self.x.to_vec();
        let (mut a, mut ga) = (span.t, orientation * self.event_value(when, span.t, &x)?);
        let (mut b, mut gb) = (span.end, orientation * end_value);
        let (mut weight_a, mut weight_b) = (1.0, 1.0);
        let mut last_moved = 0;
        let mut reached = f64::NAN;
        let mut part = b - a;
        while threshold > 0.0 && ga <= threshold {
            // There g has not left its last root yet.
            part /= 2.0;
            if part.abs() <= 2.0 * time_resolution::<T>(at(b)) {
                break;
            }
            reached = span.t + part;
            self.step(lanes, at(reached), compensated)?;
            let next = self.next.to_vec();
            let g = orientation * self.event_value(when, reached, &next)?;
            if g.is_nan() {
                return Ok(None);
            }
            if g > threshold {
                (a, ga) = (reached, g);
            } else if g < 0.0 {
                (b, gb) = (reached, g);
            }
        }
        // The end b, if g is zero before it too.
        let mut zero_before = None;
        // The last two iterates.
        let (mut last, mut before) = (None, None);
        for iteration in 0.. {
            let resolution = time_resolution::<T>(at(b));
            if (b - a).abs() <= 2.0 * resolution {
                break;
            }
            if gb == 0.0 && zero_before.is_none() {
                // A root with a rate is isolated.
                if reached != b {
                    self.step(lanes, at(b), compensated)?;
                    reached = b;
                }
                let next = self.next.to_vec();
                if self.event_rate(lanes, when, b, &next)?.0 != 0.0 {
                    break;
                }
                zero_before = Some(b);
            }
            let middle = a + (b - a) / 2.0;
            let secant = a + (b - a) * (weight_a * ga / (weight_a * ga - weight_b * gb));
            // An open secant step, while iterates converge, whatever sides of the root they are on.
            let open = match (last, before, guess) {
                (None, _, Some((end, _))) => end,
                (Some((end, g)), None, Some((_, rate))) => end - g / rate,
                (Some((end, g)), Some((other, h)), _) if f64::abs(g) < f64::abs(h) / 4.0 => {
                    end - g * (end - other) / (g - h)
                }
                _ => f64::NAN,
            };
            let inside = (open - a) * span.h > 0.0 && (b - open) * span.h > 0.0;
            let mut end = match iteration < 40 {
                // First just before b; if g is zero there too, bisection finds where that begins.
                _ if gb == 0.0 => {
                    if zero_before == Some(b) {
                        b
                    } else {
                        middle
                    }
                }
                true if inside => open,
                true if ga > 0.0 && secant.is_finite() => secant,
                _ => middle,
            };
            // Far enough from both ends that the bracket soon closes.
            if (end - a).abs() < resolution {
                end = a + resolution * span.h.signum();
            } else if (b - end).abs() < resolution {
                end = b - resolution * span.h.signum();
            }
            self.step(lanes, at(end), compensated)?;
            reached = end;
            let next = self.next.to_vec();
            let g = orientation * self.event_value(when, end, &next)?;
            if g.is_nan() {
                return Ok(None);
            }
            (last, before) = (Some((end, g)), last);
            if g > 0.0 {
                (a, ga, weight_a) = (end, g, 1.0);
                weight_b = if last_moved < 0 { weight_b / 2.0 } else { 1.0 };
                last_moved = -1;
            } else {
                (b, gb, weight_b) = (end, g, 1.0);
                weight_a = if last_moved > 0 { weight_a / 2.0 } else { 1.0 };
                last_moved = 1;
            }
        }
        // At b, behind the sign change, so that steps always advance.
        if reached != b {
            self.step(lanes, at(b), compensated)?;
        }
        Ok(Some(at(b)))
    }

    /// The root of an event's function g at the end `x` of a step, with the derivatives of which its time is made. The derivatives of g with
    /// respect to parameters and arguments are added to these. `duration` is that of all times: a step may end an ulp from its beginning.
    pub fn root_derivatives(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, x_n, duration): (Span, &[T], f64),
        x: &[T],
        (parameters, arguments): (&mut [T], &mut [T]),
    ) -> Result<EventRoot<T>> {
        let g = self.event_gradient(when, span.end, x, 1.0, parameters, arguments)?;
        let slope = g.t + self.step_size_derivative(lanes, (span, x_n), &g.x, (&[], &[]), &[])?;
        let rates = x.iter().zip(x_n).map(|(x, x_n)| (x.wide() - x_n.wide()) / span.h);
        let size = g.t.abs() + g.x.iter().zip(rates).map(|(g, rate)| (g.wide() * rate).abs()).sum::<f64>();
        let scale: f64 = g.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        let epsilon = T::epsilon().wide();
        let interval = span.h.abs().max(1e-3 * duration);
        let crosses = slope.abs() > GRAZING * epsilon.sqrt() * size && slope.abs() * interval > epsilon * scale;
        Ok(EventRoot { g, slope, crosses })
    }

    /// dg/dt along the trajectory at (t, x), and the gradient of g that it is made of.
    fn event_rate(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
    ) -> Result<(f64, FunctionGradient<T>)> {
        let mut k = vec![T::zero(); self.state];
        self.slope(lanes, t, x, &mut k)?;
        let (mut parameters, mut arguments) = (vec![T::zero(); self.parameters], vec![T::zero(); self.argument_count]);
        let gradient = self.event_gradient(when, t, x, 1.0, &mut parameters, &mut arguments)?;
        Ok((gradient.t + inner(&gradient.x, &k), gradient))
    }

    /// Whether `g`, the value at the end `x` of a step, is zero up to rounding, of the states or of a time that is resolved to
    /// `resolution`; and its rate along the trajectory.
    pub fn is_root(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (t, resolution): (f64, f64),
        [before, x]: [&[T]; 2],
        g: f64,
    ) -> Result<(bool, f64)> {
        let (rate, gradient) = self.event_rate(lanes, when, t, x)?;
        Ok((g.abs() <= resolution * rate.abs() + gradient.rounding(t, x) + gradient.rounding(t, before), rate))
    }

    /// Whether g only touches zero at the root that was just found: it crosses it far slower than it changes over the whole step.
    pub fn touches(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (whole, root): (Span, Span),
        end_value: f64,
    ) -> Result<bool> {
        let x = self.next.to_vec();
        let (rate, _) = self.event_rate(lanes, when, root.end, &x)?;
        let fraction = f64::max(TOUCHING, TOUCHING_ROUNDING * T::epsilon().wide().sqrt());
        Ok((rate * whole.h).abs() <= fraction * end_value.abs())
    }

    /// The sign of g at x, and the threshold that |g| has to exceed before another sign counts. Where g is zero, its sign is that of its
    /// rate in the direction of the solve, 1 or −1. So it is at a root that was just located, up to rounding: `root` is the value of g
    /// there, and its sign before.
    pub fn event_sign(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        event: &mut EventFunctions<T>,
        (t, direction): (f64, f64),
        x: &[T],
        root: Option<(f64, i8)>,
    ) -> Result<(i8, f64)> {
        let when = &mut *event.when[0];
        let g = self.event_value(when, t, x)?;
        if g != 0.0 && root.is_none() {
            return Ok((sign(g), 0.0));
        }
        let (rate, gradient) = self.event_rate(lanes, when, t, x)?;
        let rate = rate * direction;
        let Some((residual, sign_before)) = root else { return Ok((sign(rate), 0.0)) };
        // If the event has not changed g, it is still at its root, and counts only once it has left that.
        let threshold = (2.0 * residual.abs() + gradient.rounding(t, x)).max(f64::MIN_POSITIVE);
        if g.abs() > threshold {
            return Ok((sign(g), 0.0));
        }
        // One that stays zero keeps its sign.
        Ok((if rate == 0.0 { sign_before } else { sign(rate) }, threshold))
    }
}

impl<T: Real> FunctionGradient<T> {
    /// The rounding error of g.
    fn rounding(&self, t: f64, x: &[T]) -> f64 {
        let size: f64 = self.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        ROUNDING * T::epsilon().wide() * (size + (self.t * t).abs())
    }
}

/// The resolution of times near the end of a step: closer roots are one.
pub fn time_resolution<T: Real>(span: Span) -> f64 {
    T::epsilon().wide() * span.h.abs() + 2.0 * (span.end.abs().next_up() - span.end.abs())
}

/// −1, 0 or 1.
pub fn sign(number: f64) -> i8 {
    i8::from(number > 0.0) - i8::from(number < 0.0)
}
