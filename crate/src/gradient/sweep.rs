//! The exact gradients: one reverse sweep over the recorded steps.
//!
//! All exact methods are the recurrence of `step.rs`; they differ only in what the solve retains and what the sweep computes
//! again. Computing again runs the same kernels in the same order, so their gradients are bitwise equal.

use std::ops::Range;

use super::checkpoints::{Checkpoints, next_place};
use super::plan::{Plan, Recomputed, States};
use super::retention::Tracks;
use super::swept::Swept;
use crate::error::Result;
use crate::field::{Dynamics, Pull};
use crate::kernel::real::Real;
use crate::kernel::vector::{accumulate, combine_terms, dot};
use crate::memory::{Buffer, Ledger, Purpose, filled, refill};
use crate::solve::{Options, Problem};
use crate::step::{Inside, RecordGradient, Scratch, Span, Sums, Transpose, increment, stage_state};
use crate::tableau::Tableau;

/// From ∂L/∂y of all outputs, packed one behind the other.
pub(super) fn sweep<T: Real>(tracks: &mut Tracks<T>, problem: &mut Problem<T>, w: &[T]) -> Result<Swept<T>> {
    let replayed = if tracks.plan.replay { Some(tracks.replay(problem)?) } else { None };
    let Problem { dynamics, options, times, ledger, start, .. } = problem;
    let dynamics = &mut **dynamics;
    let Tracks { plan, method, tape_len, len, records, places, kept, checkpoints, end, .. } = tracks;
    let (plan, method, len, records, steps) = (*plan, *method, *len, &*records, records.count());
    let kept = replayed.as_ref().unwrap_or(kept);
    let stages = method.gradient_stages();
    let last = times.len() - 1;
    let (interpolates, wants_times) = (options.interpolates(times), options.time_gradients);
    let span = |step: usize| records.span(step, times[last]);

    let mut totals = Totals::new(ledger, options.summation.of_gradient(), len, dynamics.parameters())?;
    let mut scratch = Buffer::<T>::zeroed(ledger, Purpose::Workspace, len)?;
    let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
    let recomputed = plan.recomputed();
    let mut step_again = StepAgain::new(ledger, recomputed, stages, len, if plan.step_tapes { *tape_len } else { 0 })?;
    let mut way = Way::new(ledger, plan, recomputed, checkpoints, start)?;
    let mut time_gradient = filled(Purpose::Records, times.len(), 0.0)?;
    let mut products = Vec::new();
    let mut outputs = Outputs { interpolated: interpolates, places, rest: times.len() };
    let mut chain = TimeChain::new(options, interpolates, places);
    let landed = outputs.landed(steps);
    chain.land(&landed);
    let slope = repeated(dynamics, wants_times, times, &landed, end, &mut slopes[..len])?;
    totals.land(landed, w, slope, &mut time_gradient);
    // The outputs within a step, and within the one before it.
    let (mut own, mut before) = (Inside::default(), Inside::default());
    if steps > 0 {
        before.set(method, span(steps - 1), times, outputs.within(Some(steps - 1)))?;
    }
    if !before.outputs.is_empty() {
        // The extension of the last step ends in f(x_N), which no further step uses.
        combine_terms(&mut scratch, before.terms(stages, w, len));
        let probes = if wants_times { before.outputs.clone() } else { 0..0 };
        refill(Purpose::Workspace, &mut products, probes.len(), 0.0)?;
        let pull = Pull {
            cotangent: &scratch,
            x: &mut slopes[..len],
            parameters: &mut totals.step,
            probes: &w[probes.start * len..probes.end * len],
            products: &mut products,
            times: wants_times,
        };
        let dots = dynamics.pull(times[last], end, None, pull)?;
        if wants_times {
            before.add_products(stages, &products);
            time_gradient[last] += dots.time;
        }
        totals.add_state(&slopes[..len]);
        totals.add_step();
    }
    for step in (0..steps).rev() {
        std::mem::swap(&mut own, &mut before);
        before.set(method, span(step.saturating_sub(1)), times, outputs.within(step.checked_sub(1)))?;

        if !kept.has_stages(step) {
            let x = match plan.states {
                States::All => kept.state(step),
                States::Some(_) => way.state(step, |step, x, carry| {
                    take_step(method, span(step), dynamics, &mut slopes, &mut scratch, x)?;
                    accumulate(options.summation.of_state(), x, carry, &scratch);
                    Ok(())
                })?,
            };
            step_again.run(method, dynamics, span(step), x, &mut slopes)?;
        }
        let stage = |i: usize| match kept.has_stages(step) {
            true => kept.stage(step, i),
            false => step_again.stage(i),
        };
        let (own, before) = (&mut own, &mut before);
        let transpose = Transpose { tableau: method, span: span(step), w, own, before, times: wants_times };
        let sums = Sums { parameters: &mut totals.step, times: &mut time_gradient };
        let work = Scratch { g: &mut slopes, cotangent: &mut scratch, products: &mut products };
        let record = transpose.run(dynamics, stage, &totals.lambda, sums, work)?;
        if wants_times {
            chain.add(step, record, &mut time_gradient);
        }
        totals.add_state(&scratch);
        totals.add_step();
        let landed = outputs.landed(step);
        if !landed.is_empty() {
            chain.land(&landed);
            let slope = repeated(dynamics, wants_times, times, &landed, stage(0).0, &mut slopes[..len])?;
            totals.land(landed, w, slope, &mut time_gradient);
        }
    }
    Ok(Swept { lambda: totals.lambda, parameters: totals.parameters, times: time_gradient, backward_steps: 0 })
}

/// The running sums λ and ∂L/∂θ, with what their additions have rounded away, and ∂L/∂θ of one step.
///
/// A step's uses are summed plainly and added with compensation once: as good as once a use, and far cheaper.
struct Totals<T> {
    compensated: bool,
    lambda: Buffer<T>,
    lambda_carry: Buffer<T>,
    parameters: Buffer<T>,
    parameters_carry: Buffer<T>,
    step: Buffer<T>,
}

impl<T: Real> Totals<T> {
    fn new(ledger: &Ledger, compensated: bool, len: usize, parameters: usize) -> Result<Self> {
        Ok(Self {
            compensated,
            lambda: Buffer::zeroed(ledger, Purpose::Workspace, len)?,
            lambda_carry: Buffer::zeroed(ledger, Purpose::Workspace, len)?,
            parameters: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
            parameters_carry: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
            step: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
        })
    }

    fn add_state(&mut self, increment: &[T]) {
        accumulate(self.compensated, &mut self.lambda, &mut self.lambda_carry, increment);
    }

    /// Adds ∂L/∂y of the outputs landed on at one time. Between a time and its repetition lies a step of no length, whose
    /// derivative with respect to its length is f, the `slope`.
    fn land(&mut self, landed: Range<usize>, w: &[T], slope: Option<&[T]>, times: &mut [f64]) {
        let len = self.lambda.len();
        for output in landed.clone().rev() {
            self.add_state(&w[output * len..(output + 1) * len]);
            if let Some(slope) = slope.filter(|_| output > landed.start) {
                let rate = dot(&self.lambda, slope);
                times[output] += rate;
                times[output - 1] -= rate;
            }
        }
    }

    /// Adds the step's ∂L/∂θ, and begins the next.
    fn add_step(&mut self) {
        accumulate(self.compensated, &mut self.parameters, &mut self.parameters_carry, &self.step);
        self.step.fill(T::zero());
    }
}

/// f where outputs were landed on, if a time is repeated there and its gradient wanted.
fn repeated<'a, T: Real>(
    dynamics: &mut dyn Dynamics<T>,
    wants_times: bool,
    times: &[f64],
    landed: &Range<usize>,
    x: &[T],
    slope: &'a mut [T],
) -> Result<Option<&'a [T]>> {
    if !wants_times || landed.len() < 2 {
        return Ok(None);
    }
    dynamics.evaluate(times[landed.start], x, None, slope)?;
    Ok(Some(slope))
}

/// `scratch` = x_{n+1} − x_n, computed again.
fn take_step<T: Real>(
    method: &'static Tableau,
    span: Span,
    dynamics: &mut dyn Dynamics<T>,
    slopes: &mut [T],
    scratch: &mut [T],
    x: &[T],
) -> Result<()> {
    for (stage, t) in (0..method.gradient_stages()).map(|stage| (stage, span.stage_time(method, stage))) {
        stage_state(method, stage, span.h, x, slopes, scratch);
        dynamics.evaluate(t, scratch, None, &mut slopes[stage * x.len()..(stage + 1) * x.len()])?;
    }
    increment(method, span.h, slopes, scratch);
    Ok(())
}

/// The x_n of a solve that has kept a few, from the last to the first.
struct Way<'a, T> {
    checkpoints: &'a mut Checkpoints<T>,
    /// States that they may take at a time.
    units: usize,
    start: &'a [T],
    x: Buffer<T>,
    carry: Buffer<T>,
}

impl<'a, T: Real> Way<'a, T> {
    fn new(
        ledger: &Ledger,
        plan: Plan,
        recomputed: Recomputed,
        checkpoints: &'a mut Checkpoints<T>,
        start: &'a [T],
    ) -> Result<Self> {
        checkpoints.settle();
        let units = if let States::Some(units) = plan.states { units } else { 0 };
        let state = || {
            let len = if recomputed == Recomputed::Steps { start.len() } else { 0 };
            Buffer::zeroed(ledger, Purpose::Workspace, len)
        };
        Ok(Self { checkpoints, units, start, x: state()?, carry: state()? })
    }

    /// x at a step, from the nearest checkpoint before it; `take` takes a step.
    fn state(&mut self, step: usize, mut take: impl FnMut(usize, &mut [T], &mut [T]) -> Result<()>) -> Result<&[T]> {
        let Self { checkpoints, units, start, x, carry } = self;
        let mut at = checkpoints.nearest(step, start, x, carry);
        let mut next = next_place(at, step, step + 1, checkpoints.spare(*units));
        while at < step {
            take(at, x, carry)?;
            at += 1;
            if checkpoints.place(at, next, x, carry)? {
                next = next_place(at, step, step + 1, checkpoints.spare(*units));
            }
        }
        Ok(x)
    }
}

/// The stage states of one step, computed again from x_n, and their tapes where those are wanted together.
struct StepAgain<T> {
    len: usize,
    states: Buffer<T>,
    tape_len: usize,
    tapes: Buffer<T>,
}

impl<T: Real> StepAgain<T> {
    fn new(ledger: &Ledger, recomputed: Recomputed, stages: usize, len: usize, tape_len: usize) -> Result<Self> {
        let stages = if recomputed == Recomputed::Nothing { 0 } else { stages };
        Ok(Self {
            len,
            states: Buffer::zeroed(ledger, Purpose::Stages, stages * len)?,
            tape_len,
            tapes: Buffer::zeroed(ledger, Purpose::Tape, stages * tape_len)?,
        })
    }

    /// Runs a step again.
    fn run(
        &mut self,
        method: &'static Tableau,
        dynamics: &mut dyn Dynamics<T>,
        span: Span,
        x: &[T],
        slopes: &mut [T],
    ) -> Result<()> {
        let (len, tape_len, stages) = (self.len, self.tape_len, method.gradient_stages());
        for (i, state) in self.states.chunks_exact_mut(len).enumerate() {
            stage_state(method, i, span.h, x, slopes, state);
            // The last slope serves no other stage; only its tape might be wanted.
            if tape_len > 0 || i + 1 < stages {
                let tape = (tape_len > 0).then(|| &mut self.tapes[i * tape_len..(i + 1) * tape_len]);
                dynamics.evaluate(span.stage_time(method, i), state, tape, &mut slopes[i * len..(i + 1) * len])?;
            }
        }
        Ok(())
    }

    /// X_i, and its tape if there is one.
    fn stage(&self, i: usize) -> (&[T], Option<&[T]>) {
        let tape = (self.tape_len > 0).then(|| &self.tapes[i * self.tape_len..(i + 1) * self.tape_len]);
        (&self.states[i * self.len..(i + 1) * self.len], tape)
    }
}

/// The outputs, passed from the last to the first.
struct Outputs<'a> {
    interpolated: bool,
    places: &'a [usize],
    /// The outputs from here on have been passed.
    rest: usize,
}

impl Outputs<'_> {
    /// The outputs within a step, none where they are landed on.
    fn within(&mut self, step: Option<usize>) -> Range<usize> {
        if !self.interpolated {
            return 0..0;
        }
        let end = self.rest;
        while self.rest > 1 && Some(self.places[self.rest - 1]) == step {
            self.rest -= 1;
        }
        self.rest..end
    }

    /// The outputs landed on before a step, the first one and its repetitions included; where outputs are interpolated, only
    /// the first and the last.
    fn landed(&mut self, step: usize) -> Range<usize> {
        let end = self.rest;
        if self.interpolated {
            let lands = self.rest == self.places.len() || (step == 0 && self.rest == 1);
            self.rest -= usize::from(lands);
        } else {
            while self.rest > 0 && self.places[self.rest - 1] == step {
                self.rest -= 1;
            }
        }
        self.rest..end
    }
}

/// The chain rule from a step's record to the times: how (t_n, h_n) follow from the times landed on around it.
struct TimeChain<'a> {
    adaptive: bool,
    /// The outputs landed on before and after the steps that come now.
    from: usize,
    to: usize,
    interpolates: bool,
    places: &'a [usize],
}

impl<'a> TimeChain<'a> {
    fn new(options: &Options, interpolates: bool, places: &'a [usize]) -> Self {
        Self { adaptive: options.adaptive(), from: 0, to: places.len() - 1, interpolates, places }
    }

    /// The steps that come now end on the first of these outputs, and begin at the one before it.
    fn land(&mut self, landed: &Range<usize>) {
        if !self.interpolates {
            (self.from, self.to) = (landed.start.saturating_sub(1), landed.start);
        }
    }

    fn add(&self, step: usize, record: RecordGradient, times: &mut [f64]) {
        let (first, end) = (self.places[self.from], self.places[self.to]);
        if self.adaptive {
            // t_n is the last time landed on, and constants; only the step that lands depends on where.
            times[self.from] += record.t;
            if step + 1 == end {
                times[self.to] += record.h;
                times[self.from] -= record.h;
            }
        } else {
            // t_n = from + q h and h = (to − from) / m.
            let steps = (end - first) as f64;
            let fraction = (step - first) as f64 / steps;
            times[self.from] += record.t * (1.0 - fraction) - record.h / steps;
            times[self.to] += record.t * fraction + record.h / steps;
        }
    }
}
