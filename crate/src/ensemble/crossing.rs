//! One trajectory by itself: its field, its jumps and events, and where in a step an event's function is zero.

use super::Problem;
use super::changes::{EventMap, Maps};
use crate::error::Result;
use crate::field::{Dots, Dynamics, LanePull, Lanes, Pull, Uses};
use crate::kernel::combine::{advance, combine, combine_terms, dot};
use crate::kernel::panels::Panels;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Purpose};
use crate::stepper::{Discard, Goal, Span, Stepper, Work};
use crate::tableau::Tableau;

/// One trajectory: what it works in.
pub(super) struct Solo<T> {
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
pub(super) struct SoloField<'a, T> {
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

impl<T: Real> Dynamics<T> for SoloField<'_, T> {
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
        Ok(Dots { time: self.dxt[len].wide(), slope: dot(pull.cotangent, &self.slope) })
    }
}

fn fill<T: Real>(xt: &mut [T], x: &[T], t: f64) {
    xt[..x.len()].copy_from_slice(x);
    xt[x.len()] = T::of(t);
}

/// The stages of one step.
pub(super) struct Stages<T> {
    span: Span,
    x: Vec<Vec<T>>,
    k: Vec<Vec<T>>,
}

/// An output within a step: its cotangent, and the weights of the extension there with their derivatives.
pub(super) struct SoloOutput<'a, T> {
    pub w: &'a [T],
    pub theta: f64,
    /// h b_i(θ).
    pub weights: &'a [f64],
    /// b_i′(θ).
    pub rates: &'a [f64],
}

/// A derivative, and how large its terms are together.
pub(super) struct Rate {
    pub value: f64,
    pub size: f64,
}

fn stage_time(tableau: &Tableau, span: Span, stage: usize) -> f64 {
    if tableau.c[stage] == 1.0 { span.end } else { span.t + tableau.c[stage] * span.h }
}

fn inner<T: Real>(left: &[T], right: &[T]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left.wide() * right.wide()).sum()
}

/// The derivatives of a function at one place.
pub(super) struct Slopes<T> {
    pub x: Vec<T>,
    pub t: f64,
}

impl<T: Real> Solo<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (ledger, state) = (&problem.ledger, problem.state);
        let numbers = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let amounts = problem.maps.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let stages = problem.tableau.gradient_stages();
        Ok(Self {
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
            layout: Layout::of::<T>(Panels::wide::<T>(1, 1), state),
            parameters: problem.parameters,
            evaluations: 0,
            vjps: 0,
        })
    }

    /// Bytes that it takes.
    pub fn bytes(problem: &Problem<T>) -> usize {
        let amounts = problem.maps.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let states = 6 + Work::<T>::states(problem.tableau.gradient_stages() + 1);
        (states * problem.state + 2 + problem.arguments + amounts) * size_of::<T>()
    }

    /// Readies field, jumps and events for the trajectory with these arguments and data.
    pub fn settle(&mut self, arguments: &[T], data: &[T], lanes: &mut dyn Lanes<T>, maps: &mut Maps<T>) {
        self.arguments[..self.own].copy_from_slice(arguments);
        lanes.settle(arguments, data);
        for event in &mut maps.events {
            event.when[0].settle(arguments, &[]);
            if let Some(set) = &mut event.set {
                set.settle(arguments, &[]);
            }
        }
    }

    /// The field as the stepper knows it, and what it works in.
    pub fn parts<'a>(&'a mut self, lanes: &'a mut dyn Lanes<T>) -> (SoloField<'a, T>, &'a mut Work<T>, States<'a, T>) {
        let Self { xt, dxt, layout, parameters, own, evaluations, vjps, work, x, carry, next, next_carry, .. } = self;
        let field = SoloField {
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
        (field, work, States { x, carry, next, next_carry })
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
    pub fn step(
        &mut self,
        tableau: &'static Tableau,
        lanes: &mut dyn Lanes<T>,
        span: Span,
        compensated: bool,
    ) -> Result<()> {
        let (mut field, work, states) = self.parts(lanes);
        work.first_known = true;
        let stepper: &dyn Stepper<T> = tableau;
        stepper.attempt(&mut field, span, states.x, Goal::Increment, work, &mut Discard)?;
        let States { x, carry, next, next_carry } = states;
        advance(compensated, (x, carry), &work.state, (next, next_carry));
        Ok(())
    }

    /// The step from t_n that ends on a zero of g: `near` is the side of g at t_n, and `far` is g at the end of `span`, on another. Leaves
    /// that step in `next`.
    pub fn cut(
        &mut self,
        tableau: &'static Tableau,
        lanes: &mut dyn Lanes<T>,
        when: &mut dyn Lanes<T>,
        (span, near, far): (Span, i8, f64),
        compensated: bool,
    ) -> Result<Span> {
        let least = least_cut::<T>(span);
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
        let step = least * span.h.signum();
        for tries in 0.. {
            if gb == 0.0 || (b - a).abs() <= 2.0 * least {
                break;
            }
            let middle = a + (b - a) / 2.0;
            let secant = a + (b - a) * (weight_a * ga / (weight_a * ga - weight_b * gb));
            let mut end = if ga > 0.0 && secant.is_finite() && tries < 40 { secant } else { middle };
            // At least so far from either end that the zero is soon enclosed.
            if (end - a).abs() < least {
                end = a + step;
            } else if (b - end).abs() < least {
                end = b - step;
            }
            self.step(tableau, lanes, at(end), compensated)?;
            reached = end;
            let next = self.next.to_vec();
            let g = side * self.value(when, end, &next)?;
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
        let end = b;
        if reached != end {
            self.step(tableau, lanes, at(end), compensated)?;
        }
        Ok(at(end))
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

    /// The stages of a step.
    pub fn stages(&mut self, tableau: &Tableau, lanes: &mut dyn Lanes<T>, span: Span, x: &[T]) -> Result<Stages<T>> {
        let mut stages = Stages { span, x: vec![], k: vec![] };
        for i in 0..tableau.gradient_stages() {
            let mut state = x.to_vec();
            let terms = tableau.a[i].iter().map(|a| span.h * a).zip(stages.k.iter().map(|k: &Vec<T>| &k[..]));
            combine(&mut state, x, terms);
            let mut k = vec![T::zero(); x.len()];
            self.slope(lanes, stage_time(tableau, span, i), &state, &mut k)?;
            stages.x.push(state);
            stages.k.push(k);
        }
        Ok(stages)
    }

    /// The derivative by the step's length of ⟨λ, x_{n+1}⟩ and of outputs within the step; `next` is f(x_{n+1}).
    pub fn rate(
        &mut self,
        tableau: &Tableau,
        lanes: &mut dyn Lanes<T>,
        stages: &Stages<T>,
        lambda: &[T],
        outputs: &[SoloOutput<'_, T>],
        next: &[T],
    ) -> Result<Rate> {
        let (h, last) = (stages.span.h, stages.k.len());
        let mut g: Vec<Vec<T>> = vec![vec![T::zero(); self.state]; last];
        let mut rate = Rate { value: 0.0, size: 0.0 };
        let mut add = |part: f64| {
            rate.value += part;
            rate.size += part.abs();
        };
        let (mut parameters, mut arguments) = (vec![T::zero(); self.parameters], vec![T::zero(); self.own]);
        for i in (0..last).rev() {
            let mut cotangent = vec![T::zero(); self.state];
            let later = (i + 1..last).map(|j| (h * tableau.a[j][i], &g[j][..]));
            let own = outputs.iter().map(|output| (output.weights[i], output.w));
            combine_terms(&mut cotangent, std::iter::once((h * tableau.b[i], lambda)).chain(later).chain(own));
            add(inner(&cotangent, &stages.k[i]) / h);
            let t = stage_time(tableau, stages.span, i);
            let pulled = self.pull_field(lanes, t, &stages.x[i], &cotangent, &mut parameters, &mut arguments)?;
            add(tableau.c[i] * pulled.t);
            g[i] = pulled.x;
        }
        for output in outputs {
            let slopes = stages.k.iter().map(|k| &k[..]).chain(std::iter::once(next));
            let moves: f64 = slopes.zip(output.rates).map(|(k, rate)| rate * inner(output.w, k)).sum();
            add(output.weights[last] / h * inner(output.w, next));
            add(-output.theta * moves);
        }
        Ok(rate)
    }

    /// The side on which g is at x. Where g is zero, its rate along the trajectory tells to which side it goes; so it is up to rounding
    /// for the zero of an event that has just been found: there g was the first number, coming from the side that follows. Also how far g
    /// may move before it counts, for a trajectory that rests on the zero.
    pub fn side(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        event: &mut EventMap<T>,
        t: f64,
        x: &[T],
        found: Option<(f64, i8)>,
    ) -> Result<(i8, f64)> {
        let when = &mut *event.when[0];
        let g = self.value(when, t, x)?;
        if g != 0.0 && found.is_none() {
            return Ok((sign(g), 0.0));
        }
        let mut k = vec![T::zero(); self.state];
        self.slope(lanes, t, x, &mut k)?;
        let (mut parameters, mut arguments) = (vec![T::zero(); self.parameters], vec![T::zero(); self.own]);
        let slopes = self.slopes(when, t, x, 1.0, &mut parameters, &mut arguments)?;
        let rate = slopes.t + inner(&slopes.x, &k);
        let Some((at_zero, near)) = found else { return Ok((sign(rate), 0.0)) };
        let size: f64 = slopes.x.iter().zip(x).map(|(g, x)| (g.wide() * x.wide()).abs()).sum();
        // If the event has not moved g, it still lies on its zero.
        let rounding = ROUNDING * T::epsilon().wide() * (size + (slopes.t * t).abs());
        let width = 2.0 * at_zero.abs() + rounding;
        if g.abs() > width {
            return Ok((sign(g), 0.0));
        }
        // One that rests on the zero is still where it came from, until it leaves.
        Ok(if rate == 0.0 { (near, width) } else { (sign(rate), 0.0) })
    }
}

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
