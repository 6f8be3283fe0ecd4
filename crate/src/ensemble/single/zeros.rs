//! Where in a step the function of an event is zero.

use super::super::changes::EventMaps;
use super::{Single, Slopes, inner};
use crate::error::{Error, Result};
use crate::field::Lanes;
use crate::kernel::combine::combine;
use crate::kernel::real::Real;
use crate::stepper::{Scheme, Span};

/// The zero of an event's function g at the end of a step.
pub struct Zero<T> {
    /// The derivatives of g there.
    pub g: Slopes<T>,
    /// The derivative of g(t_{n+1}, x_{n+1}) by the step's length.
    pub slope: f64,
    /// Whether g crosses its zero; else it only touches it, and the time of the event has no derivative.
    pub crosses: bool,
}

/// A function that crosses zero slower than this fraction of √ε of the terms of its rate only touches it.
const GRAZING: f64 = 0.01;

/// How close the zero of an extension is wanted, in parts of the step, in how many tries, and over which part its rate is measured.
const GUESS: f64 = 1e-12;
const GUESSES: usize = 30;
const SLOPE: f64 = 1e-4;

/// How much of a zero is rounding, in units of it.
const ROUNDING: f64 = 16.0;

impl<T: Real> Single<T> {
    /// Where g is zero on the continuous extension of a step, whose slopes k_1 … k_s, f(x_{n+1}) are `slopes`, and its rate there, positive
    /// on the near side: a step that ends there ends close to the zero of its own. It takes no evaluation of the field.
    pub fn guess(
        &mut self,
        scheme: &Scheme,
        when: &mut dyn Lanes<T>,
        (span, near, far, rest): (Span, i8, f64, f64),
        slopes: &[T],
    ) -> Result<Option<(f64, f64)>> {
        let (side, state) = (f64::from(near), self.state);
        let terms = slopes.len() / state;
        let (mut weights, mut rates) = (vec![0.0; terms], vec![0.0; terms]);
        let start = self.x.to_vec();
        let mut x = start.clone();
        let mut value = |theta: f64| {
            scheme.extension_weights(theta, &mut weights, &mut rates);
            let weighted = weights.iter().map(|weight| span.h * weight).zip(slopes.chunks_exact(state));
            combine(&mut x, &start, weighted);
            Ok::<_, Error>(side * self.value(when, span.t + theta * span.h, &x)?)
        };
        let (mut a, mut b) = ((0.0, value(0.0)?), (1.0, side * far));
        let mut theta = 1.0;
        while a.1 <= rest && theta > GUESS {
            // There g has not left its last zero yet.
            theta /= 2.0;
            let g = value(theta)?;
            if g > rest {
                a = (theta, g);
            } else if g < 0.0 {
                b = (theta, g);
            }
        }
        let mut moved = 0;
        for _ in 0..GUESSES {
            if a.1 <= 0.0 || b.1 >= 0.0 || b.0 - a.0 < GUESS {
                break;
            }
            // The Illinois rule.
            let theta = a.0 + (b.0 - a.0) * (a.1 / (a.1 - b.1));
            let g = value(theta)?;
            if g > 0.0 {
                a = (theta, g);
                b.1 = if moved < 0 { b.1 / 2.0 } else { b.1 };
                moved = -1;
            } else {
                b = (theta, g);
                a.1 = if moved > 0 { a.1 / 2.0 } else { a.1 };
                moved = 1;
            }
        }
        let theta = if moved < 0 { a.0 } else { b.0 };
        let (below, above) = ((theta - SLOPE).max(0.0), (theta + SLOPE).min(1.0));
        let rate = (value(above)? - value(below)?) / ((above - below) * span.h);
        Ok((moved != 0 && rate * span.h < 0.0).then_some((span.t + theta * span.h, rate)))
    }

    /// The step from t_n that ends on the first zero of g: `near` is the side of g at t_n, and `far` is g at the end of `span`, on another
    /// or zero. If g has just been zero, the one that is wanted lies behind where it leaves that by more than `rest`. Where the zero may be guessed, and the rate of g there, it takes fewer tries. Leaves that step in `next`; nothing
    /// comes back where g is not a number on the way.
    pub fn cut(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, near, far, rest): (Span, i8, f64, f64),
        guess: Option<(f64, f64)>,
        compensated: bool,
    ) -> Result<Option<Span>> {
        let side = f64::from(near);
        // The end of a step of a grid is rounded, so its length is not what lies between.
        let at = |end: f64| if end == span.end { span } else { Span { h: end - span.t, end, ..span } };
        // Ends on the near side, and on the far side or the zero itself, with g there, positive on the near side; and what the secant
        // takes it for, which is less where the other end has moved twice in a row (the Illinois rule).
        let x = self.x.to_vec();
        let (mut a, mut ga) = (span.t, side * self.value(when, span.t, &x)?);
        let (mut b, mut gb) = (span.end, side * far);
        let (mut weight_a, mut weight_b) = (1.0, 1.0);
        let mut moved = 0;
        let mut reached = f64::NAN;
        let mut part = b - a;
        while rest > 0.0 && ga <= rest {
            // There g has not left its last zero yet.
            part /= 2.0;
            if part.abs() <= 2.0 * least_cut::<T>(at(b)) {
                break;
            }
            reached = span.t + part;
            self.step(lanes, at(reached), compensated)?;
            let next = self.next.to_vec();
            let g = side * self.value(when, reached, &next)?;
            if g.is_nan() {
                return Ok(None);
            }
            if g > rest {
                (a, ga) = (reached, g);
            } else if g < 0.0 {
                (b, gb) = (reached, g);
            }
        }
        // Whether g rests on zero before b.
        let mut rests = None;
        // The last two tries.
        let (mut last, mut before) = (None, None);
        for tries in 0.. {
            let least = least_cut::<T>(at(b));
            if (b - a).abs() <= 2.0 * least {
                break;
            }
            if gb == 0.0 && rests.is_none() {
                // What is zero only there changes there.
                if reached != b {
                    self.step(lanes, at(b), compensated)?;
                    reached = b;
                }
                let next = self.next.to_vec();
                if self.rate_of_change(lanes, when, b, &next)?.0 != 0.0 {
                    break;
                }
                rests = Some(b);
            }
            let middle = a + (b - a) / 2.0;
            let secant = a + (b - a) * (weight_a * ga / (weight_a * ga - weight_b * gb));
            // From tries that come closer, whatever side they are on.
            let open = match (last, before, guess) {
                (None, _, Some((end, _))) => end,
                (Some((end, g)), None, Some((_, rate))) => end - g / rate,
                (Some((end, g)), Some((other, h)), _) if f64::abs(g) < f64::abs(h) / 4.0 => {
                    end - g * (end - other) / (g - h)
                }
                _ => f64::NAN,
            };
            let inside = (open - a) * span.h > 0.0 && (b - open) * span.h > 0.0;
            let mut end = match tries < 40 {
                // First just before b; what is zero there too has no slope that leads to where that begins.
                _ if gb == 0.0 => {
                    if rests == Some(b) {
                        b
                    } else {
                        middle
                    }
                }
                true if inside => open,
                true if ga > 0.0 && secant.is_finite() => secant,
                _ => middle,
            };
            // At least so far from either end that the zero is soon enclosed.
            if (end - a).abs() < least {
                end = a + least * span.h.signum();
            } else if (b - end).abs() < least {
                end = b - least * span.h.signum();
            }
            self.step(lanes, at(end), compensated)?;
            reached = end;
            let next = self.next.to_vec();
            let g = side * self.value(when, end, &next)?;
            if g.is_nan() {
                return Ok(None);
            }
            (last, before) = (Some((end, g)), last);
            if g > 0.0 {
                (a, ga, weight_a) = (end, g, 1.0);
                weight_b = if moved < 0 { weight_b / 2.0 } else { 1.0 };
                moved = -1;
            } else {
                (b, gb, weight_b) = (end, g, 1.0);
                weight_a = if moved > 0 { weight_a / 2.0 } else { 1.0 };
                moved = 1;
            }
        }
        // On the far side, so that a crossing is one, and a step always goes on.
        if reached != b {
            self.step(lanes, at(b), compensated)?;
        }
        Ok(Some(at(b)))
    }

    /// How the zero of an event's function g at the end `x` of a step depends on what the step starts from. What g adds to the derivatives
    /// of parameters and arguments is added to these. `duration` is that of all times: a step may end an ulp from its beginning.
    pub fn zero(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, x_n, duration): (Span, &[T], f64),
        x: &[T],
        (parameters, arguments): (&mut [T], &mut [T]),
    ) -> Result<Zero<T>> {
        let g = self.slopes(when, span.end, x, 1.0, parameters, arguments)?;
        let slope = g.t + self.rate(lanes, (span, x_n), &g.x, (&[], &[]), &[])?;
        let moved = x.iter().zip(x_n).map(|(x, x_n)| (x.wide() - x_n.wide()) / span.h);
        let size = g.t.abs() + g.x.iter().zip(moved).map(|(g, rate)| (g.wide() * rate).abs()).sum::<f64>();
        let scale: f64 = g.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        let epsilon = T::epsilon().wide();
        let interval = span.h.abs().max(1e-3 * duration);
        let crosses = slope.abs() > GRAZING * epsilon.sqrt() * size && slope.abs() * interval > epsilon * scale;
        Ok(Zero { g, slope, crosses })
    }

    /// dg/dt along the trajectory at (t, x), and the derivatives of g that it is made of.
    fn rate_of_change(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
    ) -> Result<(f64, Slopes<T>)> {
        let mut k = vec![T::zero(); self.state];
        self.slope(lanes, t, x, &mut k)?;
        let (mut parameters, mut arguments) = (vec![T::zero(); self.parameters], vec![T::zero(); self.own]);
        let slopes = self.slopes(when, t, x, 1.0, &mut parameters, &mut arguments)?;
        Ok((slopes.t + inner(&slopes.x, &k), slopes))
    }

    /// Whether g, which is that number at the end x of a step, has its zero there up to rounding, of the states or of a time that is known
    /// to `least`; and its rate along the trajectory.
    pub fn at_zero(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (t, least): (f64, f64),
        [before, x]: [&[T]; 2],
        g: f64,
    ) -> Result<(bool, f64)> {
        let (rate, slopes) = self.rate_of_change(lanes, when, t, x)?;
        Ok((g.abs() <= least * rate.abs() + slopes.rounding(t, x) + slopes.rounding(t, before), rate))
    }

    /// The side on which g is at x. Where g is zero, its rate along the trajectory, which `direction` tells forward or backward in time,
    /// says to which side it goes. So it is up to rounding for the zero of an event that has just been found: there g was the first number
    /// of `found`, coming from the side that follows. Also how far g may move before it counts, where it stands on such a zero.
    pub fn side(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        event: &mut EventMaps<T>,
        (t, direction): (f64, f64),
        x: &[T],
        found: Option<(f64, i8)>,
    ) -> Result<(i8, f64)> {
        let when = &mut *event.when[0];
        let g = self.value(when, t, x)?;
        if g != 0.0 && found.is_none() {
            return Ok((sign(g), 0.0));
        }
        let (rate, slopes) = self.rate_of_change(lanes, when, t, x)?;
        let rate = rate * direction;
        let Some((at_zero, near)) = found else { return Ok((sign(rate), 0.0)) };
        // If the event has not moved g, it still lies on its zero, and counts for nothing until it has left that.
        let width = (2.0 * at_zero.abs() + slopes.rounding(t, x)).max(f64::MIN_POSITIVE);
        if g.abs() > width {
            return Ok((sign(g), 0.0));
        }
        // One that rests on the zero is still where it came from.
        Ok((if rate == 0.0 { near } else { sign(rate) }, width))
    }
}

impl<T: Real> Slopes<T> {
    /// How much of g is rounding.
    fn rounding(&self, t: f64, x: &[T]) -> f64 {
        let size: f64 = self.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        ROUNDING * T::epsilon().wide() * (size + (self.t * t).abs())
    }
}

/// Ends of a cut step that are closer to each other are one.
pub fn least_cut<T: Real>(span: Span) -> f64 {
    T::epsilon().wide() * span.h.abs() + 2.0 * (span.end.abs().next_up() - span.end.abs())
}

/// −1, 0 or 1.
pub fn sign(number: f64) -> i8 {
    i8::from(number > 0.0) - i8::from(number < 0.0)
}
