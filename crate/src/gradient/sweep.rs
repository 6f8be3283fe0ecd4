//! The exact gradients: one reverse sweep over the recorded steps.
//!
//! All exact methods are the recurrence of `step.rs`; they differ only in what the solve retains and what the sweep computes
//! again. Computing again runs the same kernels in the same order, so their gradients are bitwise equal.

use std::ops::Range;

use super::retention::{Retention, Tracks, Use};
use super::swept::Swept;
use crate::error::Result;
use crate::field::{Dynamics, Pull};
use crate::kernel::real::Real;
use crate::kernel::vector::{Summation, accumulate, combine_terms};
use crate::memory::{Buffer, Ledger, Purpose, filled, refill};
use crate::solve::{Options, Problem};
use crate::step::{Inside, RecordGradient, Scratch, Span, Sums, Transpose, stage_state};

/// From ∂L/∂y of all outputs, packed one behind the other.
pub(super) fn sweep<T: Real>(tracks: &Tracks<T>, problem: &mut Problem<T>, w: &[T]) -> Result<Swept<T>> {
    let replayed = match tracks.retention {
        Retention::Start => Some(tracks.replay(problem)?),
        _ => None,
    };
    let Problem { dynamics, options, times, ledger, .. } = problem;
    let dynamics = &mut **dynamics;
    let (method, len, steps) = (tracks.method, tracks.len, tracks.records.count());
    let stages = method.gradient_stages();
    let last = times.len() - 1;
    let output = |index: usize| &w[index * len..(index + 1) * len];

    let mut totals = Totals::new(ledger, options.summation, len, dynamics.parameters())?;
    let mut scratch = Buffer::<T>::zeroed(ledger, Purpose::Workspace, len)?;
    let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
    let mut recomputed = Recomputed::new(ledger, tracks)?;
    let mut time_gradient = filled(Purpose::Records, times.len(), 0.0)?;
    let mut products = Vec::new();
    let mut outputs = Outputs { interpolated: options.interpolates(), places: &tracks.places, rest: last };
    let mut chain = TimeChain::new(options, &tracks.places);

    totals.add_state(output(last));
    // The outputs within a step, and within the one before it.
    let (mut own, mut before) = (Inside::default(), Inside::default());
    before.set(method, tracks.span(steps - 1, times[last]), times, outputs.within(Some(steps - 1)))?;
    if !before.outputs.is_empty() {
        // The extension of the last step ends in f(x_N), which no further step uses.
        combine_terms(&mut scratch, before.terms(stages, w, len));
        refill(Purpose::Workspace, &mut products, before.outputs.len(), 0.0)?;
        let pull = Pull {
            cotangent: &scratch,
            x: &mut slopes[..len],
            parameters: &mut totals.step,
            probes: &w[before.outputs.start * len..before.outputs.end * len],
            products: &mut products,
            times: true,
        };
        let dots = dynamics.pull(times[last], &tracks.end, None, pull)?;
        before.add_products(stages, &products);
        time_gradient[last] += dots.time;
        totals.add_state(&slopes[..len]);
        totals.add_step();
    }
    for step in (0..steps).rev() {
        let span = tracks.span(step, times[last]);
        std::mem::swap(&mut own, &mut before);
        before.set(
            method,
            tracks.span(step.saturating_sub(1), times[last]),
            times,
            outputs.within(step.checked_sub(1)),
        )?;

        let uses: Option<&[Use<T>]> = match tracks.retention {
            Retention::Tapes => Some(tracks.uses()),
            Retention::Start => replayed.as_deref(),
            Retention::States { .. } => None,
        };
        if uses.is_none() {
            recomputed.run(tracks, dynamics, step, span, &mut slopes)?;
        }
        let stage = |i: usize| match uses.map(|uses| &uses[step * stages + i]) {
            Some(used) => (&*used.x, Some(&*used.tape)),
            None => recomputed.stage(i),
        };
        let transpose = Transpose { tableau: method, span, w, own: &mut own, before: &mut before };
        let sums = Sums { parameters: &mut totals.step, times: &mut time_gradient };
        let work = Scratch { g: &mut slopes, cotangent: &mut scratch, products: &mut products };
        let record = transpose.run(dynamics, stage, &totals.lambda, sums, work)?;
        chain.add(step, record, &mut time_gradient);
        totals.add_state(&scratch);
        totals.add_step();
        if let Some(landed) = outputs.landed(step) {
            totals.add_state(output(landed));
            chain.land(landed);
        }
    }
    totals.add_state(output(0));
    Ok(Swept { lambda: totals.lambda, parameters: totals.parameters, times: time_gradient, backward_steps: 0 })
}

/// The running sums λ and ∂L/∂θ, with what their additions have rounded away, and ∂L/∂θ of one step.
///
/// A step's uses are summed plainly and added with compensation once: as good as once a use, and far cheaper.
struct Totals<T> {
    summation: Summation,
    lambda: Buffer<T>,
    lambda_carry: Buffer<T>,
    parameters: Buffer<T>,
    parameters_carry: Buffer<T>,
    step: Buffer<T>,
}

impl<T: Real> Totals<T> {
    fn new(ledger: &Ledger, summation: Summation, len: usize, parameters: usize) -> Result<Self> {
        Ok(Self {
            summation,
            lambda: Buffer::zeroed(ledger, Purpose::Workspace, len)?,
            lambda_carry: Buffer::zeroed(ledger, Purpose::Workspace, len)?,
            parameters: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
            parameters_carry: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
            step: Buffer::zeroed(ledger, Purpose::Gradient, parameters)?,
        })
    }

    fn add_state(&mut self, increment: &[T]) {
        accumulate(self.summation, &mut self.lambda, &mut self.lambda_carry, increment);
    }

    /// Adds the step's ∂L/∂θ, and begins the next.
    fn add_step(&mut self) {
        accumulate(self.summation, &mut self.parameters, &mut self.parameters_carry, &self.step);
        self.step.fill(T::zero());
    }
}

/// The stage states of one step, computed again from x_n, and their tapes where those are wanted together.
struct Recomputed<T> {
    taped: bool,
    len: usize,
    states: Buffer<T>,
    tape_len: usize,
    tapes: Buffer<T>,
}

impl<T: Real> Recomputed<T> {
    fn new(ledger: &Ledger, tracks: &Tracks<T>) -> Result<Self> {
        let stages = tracks.method.gradient_stages();
        let (states, taped) = match tracks.retention {
            Retention::States { tapes } => (stages, tapes),
            _ => (0, false),
        };
        let tapes = if taped { stages * tracks.tape_len } else { 0 };
        Ok(Self {
            taped,
            len: tracks.len,
            states: Buffer::zeroed(ledger, Purpose::Stages, states * tracks.len)?,
            tape_len: tracks.tape_len,
            tapes: Buffer::zeroed(ledger, Purpose::Tape, tapes)?,
        })
    }

    /// Runs a step again.
    fn run(
        &mut self,
        tracks: &Tracks<T>,
        dynamics: &mut dyn Dynamics<T>,
        step: usize,
        span: Span,
        slopes: &mut [T],
    ) -> Result<()> {
        let (method, len) = (tracks.method, self.len);
        let stages = method.gradient_stages();
        for (i, state) in self.states.chunks_exact_mut(len).enumerate() {
            stage_state(method, i, span.h, tracks.states.get(step), slopes, state);
            // The last slope serves no other stage; only its tape might be wanted.
            if self.taped || i + 1 < stages {
                let tape = self.taped.then(|| &mut self.tapes[i * self.tape_len..(i + 1) * self.tape_len]);
                dynamics.evaluate(span.stage_time(method, i), state, tape, &mut slopes[i * len..(i + 1) * len])?;
            }
        }
        Ok(())
    }

    /// X_i, and its tape if there is one.
    fn stage(&self, i: usize) -> (&[T], Option<&[T]>) {
        let tape = self.taped.then(|| &self.tapes[i * self.tape_len..(i + 1) * self.tape_len]);
        (&self.states[i * self.len..(i + 1) * self.len], tape)
    }
}

/// The outputs, passed from the last to the first.
struct Outputs<'a> {
    interpolated: bool,
    places: &'a [usize],
    /// Those from here on have been passed.
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

    /// The output that a step begins at, if it was landed on; the first is none.
    fn landed(&mut self, step: usize) -> Option<usize> {
        let landed = !self.interpolated && self.rest > 1 && self.places[self.rest - 1] == step;
        self.rest -= usize::from(landed);
        landed.then_some(self.rest)
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
    fn new(options: &Options, places: &'a [usize]) -> Self {
        let interpolates = options.interpolates();
        let to = places.len() - 1;
        Self { adaptive: options.adaptive(), from: if interpolates { 0 } else { to - 1 }, to, interpolates, places }
    }

    /// The steps that come now end on that output.
    fn land(&mut self, output: usize) {
        debug_assert!(!self.interpolates && output > 0);
        (self.from, self.to) = (output - 1, output);
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
