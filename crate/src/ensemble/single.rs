//! One trajectory by itself: its field, its jumps and events, and where in a step an event's function is zero.

use super::changes::EventMaps;
use super::problem::{Problem, Tools};
use crate::error::{Error, Result};
use crate::field::{Dots, Dynamics, LanePull, Lanes, Pull, Uses};
use crate::kernel::combine::{advance, combine};
use crate::kernel::panels::Panels;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Purpose};
use crate::stepper::{
    Discard, Goal, KeptStage, Scheme, Sink, Span, Stage, StepOutputs, Stepper, Sums, Transpose, Work,
};

/// One trajectory: what it works in.
pub(super) struct Single<T> {
    stepper: Stepper,
    /// (x, t), and a cotangent of it.
    xt: Buffer<T>,
    dxt: Buffer<T>,
    pub x: Buffer<T>,
    pub carry: Buffer<T>,
    pub next: Buffer<T>,
    pub next_carry: Buffer<T>,
    pub work: Work<T>,
    /// Arguments of a map.
    arguments: Buffer<T>,
    own: usize,
    state: usize,
    layout: Layout,
    parameters: usize,
    pub evaluations: usize,
    pub vjps: usize,
}

/// The state before and after a step, with their carries.
pub(super) struct States<'a, T> {
    pub x: &'a mut [T],
    pub carry: &'a mut [T],
    pub next: &'a mut [T],
    pub next_carry: &'a mut [T],
}

/// A trajectory's field as the stepper knows it.
pub(super) struct SingleField<'a, T> {
    lanes: &'a mut dyn Lanes<T>,
    xt: &'a mut [T],
    dxt: &'a mut [T],
    slope: Vec<T>,
    layout: &'a Layout,
    parameters: usize,
    arguments: usize,
    evaluations: &'a mut usize,
    vjps: &'a mut usize,
}

impl<T: Real> Dynamics<T> for SingleField<'_, T> {
    fn layout(&self) -> &Layout {
        self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters + self.arguments
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn uses(&self) -> Uses {
        Uses { evaluations: *self.evaluations, vjps: *self.vjps }
    }

    fn evaluate(&mut self, t: f64, x: &[T], _tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        *self.evaluations += 1;
        fill(self.xt, x, t);
        self.lanes.evaluate(1, &[t], self.xt, None, k)
    }

    fn pull(&mut self, t: f64, x: &[T], _tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        *self.vjps += 1;
        fill(self.xt, x, t);
        let (parameters, arguments) = pull.parameters.split_at_mut(self.parameters);
        let own = LanePull { cotangent: pull.cotangent, x: self.dxt, parameters, arguments };
        self.lanes.pull(1, &[t], self.xt, None, own)?;
        let len = x.len();
        pull.x.copy_from_slice(&self.dxt[..len]);
        if !pull.times {
            return Ok(Dots::default());
        }
        self.slope.resize(len, T::zero());
        self.lanes.evaluate(1, &[t], self.xt, None, &mut self.slope)?;
        for (probe, product) in pull.probes.chunks_exact(len).zip(pull.products) {
            *product += inner(probe, &self.slope);
        }
        Ok(Dots { time: self.dxt[len].wide(), slope: inner(pull.cotangent, &self.slope) })
    }
}

fn fill<T: Real>(xt: &mut [T], x: &[T], t: f64) {
    xt[..x.len()].copy_from_slice(x);
    xt[x.len()] = T::of(t);
}

/// Keeps the states of the stages of a step.
struct StageStates<T>(Vec<Vec<T>>);

impl<T: Real> Sink<T> for StageStates<T> {
    fn stage(&mut self, _stage: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        self.0.push(x.to_vec());
        Ok(None)
    }
}

fn inner<T: Real>(left: &[T], right: &[T]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left.wide() * right.wide()).sum()
}

/// The derivatives of a function at one place.
pub(super) struct Slopes<T> {
    pub x: Vec<T>,
    pub t: f64,
}

/// The zero of an event's function g at the end of a step.
pub(super) struct Zero<T> {
    /// The derivatives of g there.
    pub g: Slopes<T>,
    /// The derivative of g(t_{n+1}, x_{n+1}) by the step's length.
    pub slope: f64,
    /// Whether g crosses its zero; else it only touches it, and the time of the event has no derivative.
    pub crosses: bool,
}

/// A function that crosses zero slower than this fraction of √ε of the terms of its rate only touches it.
const GRAZING: f64 = 0.01;

impl<T: Real> Single<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (ledger, state) = (&problem.ledger, problem.state);
        let numbers = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let amounts = problem.rules.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let stages = problem.scheme.stages;
        let layout = Layout::of::<T>(Panels::wide::<T>(1, 1), state);
        Ok(Self {
            stepper: Stepper::new(problem.options.method, &layout),
            xt: numbers(state + 1)?,
            dxt: numbers(state + 1)?,
            x: numbers(state)?,
            carry: numbers(state)?,
            next: numbers(state)?,
            next_carry: numbers(state)?,
            work: Work::new(ledger, stages + 1, state)?,
            arguments: numbers(problem.arguments + amounts)?,
            own: problem.arguments,
            state,
            layout,
            parameters: problem.parameters,
            evaluations: 0,
            vjps: 0,
        })
    }

    /// Bytes that it takes.
    pub fn bytes(problem: &Problem<T>) -> usize {
        let amounts = problem.rules.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let states = 6 + Work::<T>::states(problem.scheme.stages + 1);
        (states * problem.state + 2 + problem.arguments + amounts) * size_of::<T>()
    }

    /// The stages of a step.
    pub fn stages(&self) -> usize {
        self.stepper.stages()
    }

    /// Readies field, jumps and events for the trajectory with these arguments and data.
    pub fn settle(&mut self, (arguments, data): (&[T], &[T]), tools: &mut Tools<T>) {
        self.arguments[..self.own].copy_from_slice(arguments);
        tools.lanes[0].settle(arguments, data);
        for event in &mut tools.maps.events {
            if let Some(when) = event.when.first_mut() {
                when.settle(arguments, &[]);
            }
            if let Some(set) = &mut event.set {
                set.settle(arguments, &[]);
            }
        }
    }

    /// The stepper, the field as it knows it, and what they work in.
    pub fn parts<'a>(
        &'a mut self,
        lanes: &'a mut dyn Lanes<T>,
    ) -> (&'a Stepper, SingleField<'a, T>, &'a mut Work<T>, States<'a, T>) {
        let Self {
            stepper, xt, dxt, layout, parameters, own, evaluations, vjps, work, x, carry, next, next_carry, ..
        } = self;
        let field = SingleField {
            lanes,
            xt,
            dxt,
            slope: vec![],
            layout,
            parameters: *parameters,
            arguments: *own,
            evaluations,
            vjps,
        };
        (stepper, field, work, States { x, carry, next, next_carry })
    }

    /// f(t, x).
    pub fn slope(&mut self, lanes: &mut dyn Lanes<T>, t: f64, x: &[T], k: &mut [T]) -> Result<()> {
        self.evaluations += 1;
        fill(&mut self.xt, x, t);
        lanes.evaluate(1, &[t], &self.xt, None, k)
    }

    /// g(t, x).
    pub fn value(&mut self, when: &mut dyn Lanes<T>, t: f64, x: &[T]) -> Result<f64> {
        fill(&mut self.xt, x, t);
        let mut value = [T::zero()];
        when.evaluate(1, &[t], &self.xt, None, &mut value)?;
        Ok(value[0].wide())
    }

    /// The derivatives of g, times a weight; those of parameters and arguments are added.
    pub fn slopes(
        &mut self,
        when: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        weight: f64,
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<Slopes<T>> {
        fill(&mut self.xt, x, t);
        let pull = LanePull { cotangent: &[T::of(weight)], x: &mut self.dxt, parameters, arguments };
        when.pull(1, &[t], &self.xt, None, pull)?;
        Ok(Slopes { x: self.dxt[..self.state].to_vec(), t: self.dxt[self.state].wide() })
    }

    /// The state after an event or, with its amounts, a jump.
    pub fn map(&mut self, set: &mut dyn Lanes<T>, t: f64, x: &[T], amounts: Option<&[T]>, to: &mut [T]) -> Result<()> {
        if let Some(amounts) = amounts {
            let arguments = self.with_amounts(amounts);
            set.settle(&self.arguments[..arguments], &[]);
        }
        fill(&mut self.xt, x, t);
        set.evaluate(1, &[t], &self.xt, None, to)
    }

    fn with_amounts(&mut self, amounts: &[T]) -> usize {
        let arguments = self.own + amounts.len();
        self.arguments[self.own..arguments].copy_from_slice(amounts);
        arguments
    }

    /// The transpose of such a map, for the cotangent of the state after; the derivative with respect to time is told. `arguments` has
    /// room for the amounts behind the trajectory's own.
    #[allow(clippy::too_many_arguments)]
    pub fn pull_map(
        &mut self,
        set: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        amounts: Option<&[T]>,
        cotangent: &mut [T],
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<f64> {
        if let Some(amounts) = amounts {
            let arguments = self.with_amounts(amounts);
            set.settle(&self.arguments[..arguments], &[]);
        }
        fill(&mut self.xt, x, t);
        let pull = LanePull { cotangent, x: &mut self.dxt, parameters, arguments };
        set.pull(1, &[t], &self.xt, None, pull)?;
        cotangent.copy_from_slice(&self.dxt[..self.state]);
        Ok(self.dxt[self.state].wide())
    }

    /// Takes the step from `x`, with the first slope known: x_{n+1} with its carry into `next`.
    pub fn step(&mut self, lanes: &mut dyn Lanes<T>, span: Span, compensated: bool) -> Result<()> {
        let (stepper, mut field, work, states) = self.parts(lanes);
        work.first_known = true;
        stepper.attempt(&mut field, span, states.x, Goal::Increment, work, &mut Discard)?;
        let States { x, carry, next, next_carry } = states;
        advance(compensated, (x, carry), &work.state, (next, next_carry));
        Ok(())
    }

    /// Where g is zero on the continuous extension of a step, whose slopes k_1 … k_s, f(x_{n+1}) are `slopes`, and its rate there, positive
    /// on the near side: a step that ends there ends close to the zero of its own. It takes no evaluation of the field.
    pub fn guess(
        &mut self,
        scheme: &Scheme,
        when: &mut dyn Lanes<T>,
        (span, near, far): (Span, i8, f64),
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
    /// or zero. Where the zero may be guessed, and the rate of g there, it takes fewer tries. Leaves that step in `next`; nothing
    /// comes back where g is not a number on the way.
    pub fn cut(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, near, far): (Span, i8, f64),
        guess: Option<(f64, f64)>,
        compensated: bool,
    ) -> Result<Option<Span>> {
        let side = f64::from(near);
        let at = |end: f64| Span { h: end - span.t, end, ..span };
        // Ends on the near side, and on the far side or the zero itself, with g there, positive on the near side; and what the secant
        // takes it for, which is less where the other end has moved twice in a row (the Illinois rule).
        let x = self.x.to_vec();
        let (mut a, mut ga) = (span.t, side * self.value(when, span.t, &x)?);
        let (mut b, mut gb) = (span.end, side * far);
        let (mut weight_a, mut weight_b) = (1.0, 1.0);
        let mut moved = 0;
        let mut reached = f64::NAN;
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

    /// The transpose of f at (t, x); the parts of parameters and arguments are added.
    pub fn pull_field(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        cotangent: &[T],
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<Slopes<T>> {
        self.vjps += 1;
        fill(&mut self.xt, x, t);
        lanes.pull(1, &[t], &self.xt, None, LanePull { cotangent, x: &mut self.dxt, parameters, arguments })?;
        Ok(Slopes { x: self.dxt[..self.state].to_vec(), t: self.dxt[self.state].wide() })
    }

    /// The derivative with respect to the step's length of ⟨λ, x_{n+1}⟩, and of outputs at times within the step with their cotangents w; `next` is
    /// f(x_{n+1}).
    pub fn rate(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        (span, x): (Span, &[T]),
        lambda: &[T],
        (times, w): (&[f64], &[T]),
        next: &[T],
    ) -> Result<f64> {
        let mut unused = (vec![T::zero(); self.parameters + self.own], vec![0.0; times.len()]);
        let (stepper, mut field, work, _) = self.parts(lanes);
        let mut stages = StageStates(vec![]);
        work.first_known = false;
        stepper.attempt(&mut field, span, x, Goal::Stages, work, &mut stages)?;
        let (mut own, mut before) = (StepOutputs::default(), StepOutputs::default());
        own.set(&stepper.scheme, span, times, 0..times.len())?;
        let last: Vec<f64> = w.chunks_exact(x.len()).map(|w| inner(w, next)).collect();
        own.add_products(stepper.stages(), &last);
        let (own, before) = (&mut own, &mut before);
        let step = Transpose { span, lambda, w, own, before, times: true };
        let sums = Sums { parameters: &mut unused.0, times: &mut unused.1, products: &mut vec![] };
        let stage = |index: usize| KeptStage { x: &stages.0[index][..], tape: None, next_tape: None };
        let record = stepper.transpose(&mut field, step, &stage, work, sums)?;
        Ok(record.h)
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
    /// says to which side it goes; so it is up to rounding
    /// for the zero of an event that has just been found: there g was the first number, coming from the side that follows. Also how far g
    /// may move before it counts, for a trajectory that rests on the zero.
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
        // If the event has not moved g, it still lies on its zero.
        let width = 2.0 * at_zero.abs() + slopes.rounding(t, x);
        if g.abs() > width {
            return Ok((sign(g), 0.0));
        }
        // One that rests on the zero is still where it came from, until it leaves.
        Ok(if rate == 0.0 { (near, width) } else { (sign(rate), 0.0) })
    }
}

impl<T: Real> Slopes<T> {
    /// How much of g is rounding.
    fn rounding(&self, t: f64, x: &[T]) -> f64 {
        let size: f64 = self.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        ROUNDING * T::epsilon().wide() * (size + (self.t * t).abs())
    }
}

/// How close the zero of an extension is wanted, in parts of the step, in how many tries, and over which part its rate is measured.
const GUESS: f64 = 1e-12;
const GUESSES: usize = 30;
const SLOPE: f64 = 1e-4;

/// How much of a zero is rounding, in units of it.
const ROUNDING: f64 = 16.0;

/// Ends of a cut step that are closer to each other are one.
pub(super) fn least_cut<T: Real>(span: Span) -> f64 {
    T::epsilon().wide() * span.h.abs() + 2.0 * (span.end.abs().next_up() - span.end.abs())
}

/// −1, 0 or 1.
pub(super) fn sign(number: f64) -> i8 {
    i8::from(number > 0.0) - i8::from(number < 0.0)
}
