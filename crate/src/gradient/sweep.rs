//! The exact gradients: one reverse sweep over the recorded steps.
//!
//! All exact methods are the recurrence of `stepper/transpose.rs`; they differ only in what the solve retains and what the sweep computes
//! again. Computing again runs the same kernels in the same order, so their gradients are bitwise equal.

use std::ops::Range;

use super::budget::{Recomputed, RetentionPlan, States};
use super::checkpoints::{Checkpoints, next_placement};
use super::recording::Recording;
use super::store::Store;
use crate::error::Result;
use crate::field::{Dynamics, Pullback};
use crate::kernel::combine::{accumulate, combine_terms, dot};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose, filled, refill};
use crate::solve::{Options, PanelGradient, Problem};
use crate::stepper::{
    Discard, GradientSums, KeptStage, RecordGradient, Sink, Stage, StepExtent, StepOutputs, Stepper, Transpose,
    Workspace,
};

/// Bytes that a sweep works in, by what it recomputes, for states and parameters of these sizes in bytes.
pub(super) fn working_bytes(recomputed: Recomputed, stages: usize, state: usize, parameters: usize) -> usize {
    let again = match recomputed {
        Recomputed::Nothing => 0,
        Recomputed::Stages => StageStates::<f64>::states(stages),
        Recomputed::Steps => StageStates::<f64>::states(stages) + CheckpointedStates::<f64>::STATES,
    };
    let states = Totals::<f64>::STATES + Workspace::<f64>::states(stages) + again;
    let gradients = parameters.saturating_mul(Totals::<f64>::GRADIENTS);
    state.saturating_mul(states).saturating_add(gradients)
}

/// Computes the gradient from ∂L/∂y of all outputs, packed one after another.
pub(super) fn sweep<T: Real>(
    recording: &mut Recording<T>,
    problem: &mut Problem<T>,
    w: &[T],
) -> Result<PanelGradient<T>> {
    let replayed = if recording.plan.replay { Some(replay(recording, problem)?) } else { None };
    let Problem { dynamics, options, times, ledger, start, .. } = problem;
    let dynamics = &mut **dynamics;
    let Recording { plan, tape_len, len, record, store, checkpoints, end, .. } = recording;
    let (plan, len, record, steps) = (*plan, *len, &*record, record.count());
    let (store, places) = (replayed.as_ref().unwrap_or(store), &*record.places);
    let stepper = Stepper::new(options.method, dynamics.layout());
    let stages = stepper.stages();
    let last = times.len() - 1;
    let (interpolates, wants_times) = (options.interpolates(times), options.time_gradients);
    let span = |step: usize| record.span(step, times[last]);

    let mut totals = Totals::new(ledger, options.summation.of_gradient(), len, dynamics.parameters())?;
    let mut work = Workspace::new(ledger, stages, len)?;
    let recomputed = plan.recomputed();
    let mut stage_states =
        StageStates::new(ledger, recomputed, stages, len, if plan.step_tapes { *tape_len } else { 0 })?;
    let mut checkpointed = CheckpointedStates::new(ledger, plan, recomputed, checkpoints, start)?;
    let mut time_gradient = filled(Purpose::Records, times.len(), 0.0)?;
    let mut products = Vec::new();
    let mut outputs = OutputCursor { interpolated: interpolates, places, rest: times.len() };
    let mut chain = TimeChain::new(options, interpolates, places);
    let landed = outputs.landed(steps);
    chain.land(&landed);
    let slope = slope_at_repeated_time(dynamics, wants_times, times, &landed, end, work.slope_mut(0))?;
    totals.land(landed, w, slope, &mut time_gradient);
    // The outputs within a step, and within the one before it.
    let (mut own, mut previous) = (StepOutputs::default(), StepOutputs::default());
    if steps > 0 {
        previous.set(&stepper.scheme, span(steps - 1), times, outputs.within(Some(steps - 1)))?;
    }
    if !previous.outputs.is_empty() {
        // The extension of the last step ends in f(x_N), which no further step uses.
        combine_terms(&mut work.state, previous.terms(stages, w, len));
        let probes = if wants_times { previous.outputs.clone() } else { 0..0 };
        refill(Purpose::Workspace, &mut products, probes.len(), 0.0)?;
        let pullback = Pullback {
            cotangent: &work.state,
            x: &mut work.slopes[..len],
            parameters: &mut totals.step,
            probes: &w[probes.start * len..probes.end * len],
            products: &mut products,
            times: wants_times,
            next_tape: None,
        };
        let dots = dynamics.pullback(times[last], end, None, pullback)?;
        if wants_times {
            previous.add_products(stages, &products);
            time_gradient[last] += dots.time;
        }
        totals.add_state(work.slope(0));
        totals.add_step();
    }
    for step in (0..steps).rev() {
        std::mem::swap(&mut own, &mut previous);
        previous.set(&stepper.scheme, span(step.saturating_sub(1)), times, outputs.within(step.checked_sub(1)))?;

        if !store.has_stages(step) {
            let x = match plan.states {
                States::All => store.state(step),
                States::Some(_) => checkpointed.state(step, |step, x, carry| {
                    stepper.attempt(dynamics, span(step), x, StepExtent::Increment, &mut work, &mut Discard)?;
                    accumulate(options.summation.of_state(), x, carry, &work.state);
                    Ok(())
                })?,
            };
            stepper.attempt(dynamics, span(step), x, StepExtent::Stages, &mut work, &mut stage_states)?;
        }
        let stage = |index: usize| match store.has_stages(step) {
            true => store.stage(step, index),
            false => stage_states.get(index),
        };
        let (own, previous) = (&mut own, &mut previous);
        let transpose = Transpose { span: span(step), lambda: &totals.lambda, w, own, previous, times: wants_times };
        let sums = GradientSums { parameters: &mut totals.step, times: &mut time_gradient, products: &mut products };
        let record = stepper.transpose(dynamics, transpose, &stage, &mut work, sums)?;
        if wants_times {
            chain.add(step, record, &mut time_gradient);
        }
        totals.add_state(&work.state);
        totals.add_step();
        let landed = outputs.landed(step);
        if !landed.is_empty() {
            chain.land(&landed);
            let slope = slope_at_repeated_time(dynamics, wants_times, times, &landed, stage(0).x, work.slope_mut(0))?;
            totals.land(landed, w, slope, &mut time_gradient);
        }
    }
    Ok(PanelGradient { lambda: totals.lambda, parameters: totals.parameters, times: time_gradient, backward_steps: 0 })
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
    const STATES: usize = 2;
    const GRADIENTS: usize = 3;

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

/// The slope at the outputs landed on, if a time is repeated there and its gradient is wanted.
fn slope_at_repeated_time<'a, T: Real>(
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

/// Replays the recorded steps from x_0, and keeps everything.
fn replay<T: Real>(recording: &Recording<T>, problem: &mut Problem<T>) -> Result<Store<T>> {
    let Problem { dynamics, options, times, ledger, start, .. } = problem;
    let stepper = Stepper::new(options.method, dynamics.layout());
    let (stages, len, steps) = (stepper.stages(), recording.len, recording.record.count());
    let mut store = Store::new(ledger, stages, len, recording.tape_len, RetentionPlan::TAPES, Some(steps));
    let mut x = Buffer::copied(ledger, Purpose::Workspace, start)?;
    let mut carry = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
    let mut work = Workspace::new(ledger, stages, len)?;
    for step in 0..steps {
        store.states.push(&x)?;
        let span = recording.record.span(step, times[times.len() - 1]);
        stepper.attempt(&mut **dynamics, span, &x, StepExtent::Increment, &mut work, &mut store)?;
        accumulate(options.summation.of_state(), &mut x, &mut carry, &work.state);
    }
    Ok(store)
}

/// The states x_n of a solve that kept a few checkpoints, from the last to the first.
struct CheckpointedStates<'a, T> {
    checkpoints: &'a mut Checkpoints<T>,
    /// How many states the checkpoints may take at a time.
    units: usize,
    start: &'a [T],
    x: Buffer<T>,
    carry: Buffer<T>,
}

impl<'a, T: Real> CheckpointedStates<'a, T> {
    const STATES: usize = 2;

    fn new(
        ledger: &Ledger,
        plan: RetentionPlan,
        recomputed: Recomputed,
        checkpoints: &'a mut Checkpoints<T>,
        start: &'a [T],
    ) -> Result<Self> {
        checkpoints.prepare_sweep();
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
        let mut next = next_placement(at, step, step + 1, checkpoints.remaining(*units));
        while at < step {
            take(at, x, carry)?;
            at += 1;
            if checkpoints.place(at, next, x, carry)? {
                next = next_placement(at, step, step + 1, checkpoints.remaining(*units));
            }
        }
        Ok(x)
    }
}

/// The stage states of one step, computed again from x_n, and their tapes where those are wanted together.
struct StageStates<T> {
    len: usize,
    states: Buffer<T>,
    tape_len: usize,
    tapes: Buffer<T>,
}

impl<T: Real> StageStates<T> {
    const fn states(stages: usize) -> usize {
        stages
    }

    fn new(ledger: &Ledger, recomputed: Recomputed, stages: usize, len: usize, tape_len: usize) -> Result<Self> {
        let stages = if recomputed == Recomputed::Nothing { 0 } else { Self::states(stages) };
        Ok(Self {
            len,
            states: Buffer::recycled(ledger, Purpose::Stages, stages * len)?,
            tape_len,
            tapes: Buffer::recycled(ledger, Purpose::Tape, stages * tape_len)?,
        })
    }

    /// X_i, and its tape if there is one.
    fn get(&self, index: usize) -> KeptStage<'_, T> {
        let tape = |index: usize| &self.tapes[index * self.tape_len..(index + 1) * self.tape_len];
        let x = &self.states[index * self.len..(index + 1) * self.len];
        // Those of one step are near.
        KeptStage { x, tape: (self.tape_len > 0).then(|| tape(index)), next_tape: None }
    }
}

impl<T: Real> Sink<T> for StageStates<T> {
    fn stage(&mut self, stage: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        let (index, tape_len) = (stage.index, self.tape_len);
        self.states[index * self.len..(index + 1) * self.len].copy_from_slice(x);
        Ok((tape_len > 0).then(|| &mut self.tapes[index * tape_len..(index + 1) * tape_len]))
    }
}

/// The outputs, passed from the last to the first.
struct OutputCursor<'a> {
    interpolated: bool,
    places: &'a [usize],
    /// The outputs from here on have been passed.
    rest: usize,
}

impl OutputCursor<'_> {
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
