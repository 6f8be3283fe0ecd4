//! The exact gradients: one reverse sweep over the recorded steps, and what is retained for it.
//!
//! All exact methods are the recurrence of `step.rs`; they differ only in what the solve retains and what the sweep computes
//! again. Computing again runs the same kernels in the same order, so their gradients are bitwise equal.

use super::swept::{GradientStats, Swept};
use crate::error::{Error, Result};
use crate::field::{Dynamics, Pull};
use crate::kernel::real::Real;
use crate::kernel::vector::{accumulate, combine_terms};
use crate::memory::{Buffer, Chunks, Ledger, Purpose};
use crate::solve::{Options, Problem, Recorder};
use crate::step::{Inside, RecordGradient, Scratch, Span, Sums, Transpose, increment, stage_state};
use crate::tableau::Tableau;

/// What is retained of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// The state and the tape of every stage.
    Tapes,
    /// x_n; whether its stages are then taped together or one at a time.
    States { tapes: bool },
    /// Nothing but x_0.
    Start,
}

/// One use of the field: the state it was evaluated at, and the tape.
struct Use<T> {
    x: Buffer<T>,
    tape: Buffer<T>,
}

/// The tapes of the step that is tried, slope by slope, and those of all accepted steps.
struct Tapes<T> {
    tried: Vec<Option<Use<T>>>,
    kept: Vec<Use<T>>,
}

impl<T> Default for Tapes<T> {
    fn default() -> Self {
        Self { tried: Vec::new(), kept: Vec::new() }
    }
}

/// The record of a solve.
pub(super) struct Tracks<T> {
    retention: Retention,
    method: &'static Tableau,
    tape_len: usize,
    len: usize,
    /// (t_n, h_n).
    records: Chunks<f64>,
    /// For each output the number of steps before it, or the step that it lies in.
    places: Buffer<usize>,
    states: Chunks<T>,
    tapes: Tapes<T>,
    /// x_N.
    end: Buffer<T>,
    ledger: Ledger,
}

impl<T: Real> Recorder<T> for Tracks<T> {
    fn expect(&mut self, steps: usize) {
        self.records = Chunks::new(&self.ledger, Purpose::Records, 2, Some(steps));
        self.states = Chunks::new(&self.ledger, Purpose::Checkpoints, self.len, Some(steps));
    }

    fn evaluate(&mut self, dynamics: &mut dyn Dynamics<T>, slope: usize, t: f64, x: &[T], k: &mut [T]) -> Result<()> {
        match self.retention {
            Retention::Tapes => self.tapes.evaluate(dynamics, self.method, slope, t, x, k, &self.ledger),
            _ => dynamics.evaluate(t, x, None, k),
        }
    }

    fn accept(&mut self, span: Span, x: &[T]) -> Result<()> {
        self.records.push(&[span.t, span.h])?;
        match self.retention {
            Retention::Tapes => self.tapes.accept(self.method),
            Retention::States { .. } => self.states.push(x),
            Retention::Start => Ok(()),
        }
    }

    fn output(&mut self, output: usize, inside: bool) {
        self.places[output] = self.records.count() - usize::from(inside);
    }

    fn end(&mut self, x: &[T]) -> Result<()> {
        self.end.copy_from_slice(x);
        Ok(())
    }
}

impl<T: Real> Tapes<T> {
    #[expect(clippy::too_many_arguments)]
    fn evaluate(
        &mut self,
        dynamics: &mut dyn Dynamics<T>,
        method: &Tableau,
        slope: usize,
        t: f64,
        x: &[T],
        k: &mut [T],
        ledger: &Ledger,
    ) -> Result<()> {
        let next = method.gradient_stages();
        self.tried.resize_with(next + 1, || None);
        // f(x_{n+1}), asked for after the step was accepted, is already the next step's first.
        let slot = if slope == next && self.tried[0].is_none() { 0 } else { slope };
        if self.tried[slot].is_none() {
            self.tried[slot] = Some(Use {
                x: Buffer::zeroed(ledger, Purpose::Checkpoints, x.len())?,
                tape: Buffer::zeroed(ledger, Purpose::Tape, dynamics.tape_len())?,
            });
        }
        let Some(used) = &mut self.tried[slot] else { unreachable!("just filled") };
        used.x.copy_from_slice(x);
        dynamics.evaluate(t, x, Some(&mut used.tape), k)
    }

    fn accept(&mut self, method: &Tableau) -> Result<()> {
        let stages = method.gradient_stages();
        let bytes = stages * size_of::<Use<T>>();
        self.kept.try_reserve(stages).map_err(|_| Error::OutOfMemory { bytes, purpose: Purpose::Tape.name() })?;
        self.kept.extend(self.tried[..stages].iter_mut().filter_map(Option::take));
        // First same as last.
        self.tried[0] = self.tried[stages].take();
        Ok(())
    }
}

impl<T: Real> Tracks<T> {
    pub fn new(retention: Retention, problem: &Problem<T>) -> Result<Self> {
        let Problem { dynamics, options, times, start, ledger, .. } = problem;
        let len = start.len();
        Ok(Self {
            retention,
            method: options.method,
            tape_len: dynamics.tape_len(),
            len,
            records: Chunks::new(ledger, Purpose::Records, 2, None),
            places: Buffer::zeroed(ledger, Purpose::Records, times.len())?,
            states: Chunks::new(ledger, Purpose::Checkpoints, len, None),
            tapes: Tapes::default(),
            end: Buffer::zeroed(ledger, Purpose::Checkpoints, len)?,
            ledger: ledger.clone(),
        })
    }

    /// (t_n, h_n) of every accepted step.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (0..self.records.count()).map(|step| (self.records.get(step)[0], self.records.get(step)[1]))
    }

    fn span(&self, step: usize, last_time: f64) -> Span {
        let (t, h) = (self.records.get(step)[0], self.records.get(step)[1]);
        let end = if step + 1 < self.records.count() { self.records.get(step + 1)[0] } else { last_time };
        Span { t, h, end }
    }

    /// The reverse sweep, from ∂L/∂y of all outputs, packed one behind the other.
    pub fn sweep(&mut self, problem: &mut Problem<T>, w: &[T]) -> Result<Swept<T>> {
        let replayed = match self.retention {
            Retention::Start => Some(self.replay(problem)?),
            _ => None,
        };
        let Problem { dynamics, options, times, ledger, .. } = problem;
        let dynamics = &mut **dynamics;
        let (method, len, steps) = (self.method, self.len, self.records.count());
        let stages = method.gradient_stages();
        let last_time = times[times.len() - 1];
        let mut stats = GradientStats::default();
        if replayed.is_some() {
            stats.evaluations += steps * stages;
        }

        let gradient = || Buffer::zeroed(ledger, Purpose::Gradient, dynamics.parameters());
        let (mut parameters, mut parameters_carry, mut step_sum) = (gradient()?, gradient()?, gradient()?);
        let state = || Buffer::<T>::zeroed(ledger, Purpose::Workspace, len);
        let (mut lambda, mut lambda_carry, mut scratch) = (state()?, state()?, state()?);
        let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
        let recomputed = match self.retention {
            Retention::States { tapes } => (stages, if tapes { stages } else { 0 }),
            _ => (0, 0),
        };
        let mut stage_states = Buffer::zeroed(ledger, Purpose::Stages, recomputed.0 * len)?;
        let mut stage_tapes = Buffer::zeroed(ledger, Purpose::Tape, recomputed.1 * self.tape_len)?;

        let mut time_gradient = vec![0.0; times.len()];
        let mut products = Vec::new();
        let mut chain = TimeChain::new(options, &self.places);
        // Outputs not yet passed, going backward; those within a step, and within the step before it.
        let mut rest = times.len();
        let (mut own, mut before) = (Inside::default(), Inside::default());
        let output = |index: usize| &w[index * len..(index + 1) * len];

        accumulate(options.summation, &mut lambda, &mut lambda_carry, output(rest - 1));
        rest -= 1;
        let interpolates = options.interpolates();
        let within = |step: Option<usize>, rest: &mut usize| {
            let end = if interpolates { *rest } else { 0 };
            while interpolates && *rest > 1 && Some(self.places[*rest - 1]) == step {
                *rest -= 1;
            }
            (*rest).min(end)..end
        };
        before.set(method, self.span(steps - 1, last_time), times, within(Some(steps - 1), &mut rest));
        if !before.outputs.is_empty() {
            // The extension of the last step ends in f(x_N), which no further step uses.
            combine_terms(&mut scratch, before.terms(stages, w, len));
            products.resize(before.outputs.len(), 0.0);
            let probes = &w[before.outputs.start * len..before.outputs.end * len];
            let pull = Pull {
                cotangent: &scratch,
                x: &mut slopes[..len],
                parameters: &mut step_sum,
                probes,
                products: &mut products,
            };
            let dots = dynamics.pull(last_time, &self.end, None, pull)?;
            stats.evaluations += 1;
            stats.vjps += 1;
            before.add_products(stages, &products);
            time_gradient[times.len() - 1] += dots.time;
            accumulate(options.summation, &mut lambda, &mut lambda_carry, &slopes[..len]);
            accumulate(options.summation, &mut parameters, &mut parameters_carry, &step_sum);
        }
        for step in (0..steps).rev() {
            let span = self.span(step, last_time);
            std::mem::swap(&mut own, &mut before);
            let outputs = within(step.checked_sub(1), &mut rest);
            before.set(method, self.span(step.saturating_sub(1), last_time), times, outputs);
            let tapes = match self.retention {
                Retention::Tapes => Some(&self.tapes.kept),
                Retention::Start => replayed.as_ref(),
                Retention::States { tapes } => {
                    let x = self.states.get(step);
                    let tape_len = self.tape_len;
                    // The last slope is not needed to know the last stage.
                    let taped = if tapes { stages } else { stages - 1 };
                    for stage in 0..stages {
                        let target = &mut stage_states[stage * len..(stage + 1) * len];
                        stage_state(method, stage, span.h, x, &slopes, target);
                        if stage < taped {
                            let tape = tapes.then(|| &mut stage_tapes[stage * tape_len..(stage + 1) * tape_len]);
                            let k = &mut slopes[stage * len..(stage + 1) * len];
                            dynamics.evaluate(span.stage_time(method, stage), target, tape, k)?;
                        }
                    }
                    stats.evaluations += stages + taped - if tapes { stages } else { 0 };
                    None
                }
            };
            let stage = |i: usize| match tapes {
                Some(uses) => (&*uses[step * stages + i].x, Some(&*uses[step * stages + i].tape)),
                None => {
                    let tape = &stage_tapes[(i * self.tape_len).min(stage_tapes.len())..];
                    let tape = (recomputed.1 > 0).then(|| &tape[..self.tape_len]);
                    (&stage_states[i * len..(i + 1) * len], tape)
                }
            };
            step_sum.fill(T::zero());
            let sums = Sums { parameters: &mut step_sum, times: &mut time_gradient };
            let work = Scratch { g: &mut slopes, cotangent: &mut scratch, products: &mut products };
            let transpose = Transpose { tableau: method, span, w, own: &mut own, before: &mut before };
            let record = transpose.run(dynamics, stage, &lambda, sums, work)?;
            stats.vjps += stages;
            chain.add(step, record, &mut time_gradient);
            accumulate(options.summation, &mut lambda, &mut lambda_carry, &scratch);
            accumulate(options.summation, &mut parameters, &mut parameters_carry, &step_sum);
            while !interpolates && rest > 1 && self.places[rest - 1] == step {
                rest -= 1;
                accumulate(options.summation, &mut lambda, &mut lambda_carry, output(rest));
                chain.land(rest);
            }
        }
        accumulate(options.summation, &mut lambda, &mut lambda_carry, output(0));
        Ok(Swept { lambda, parameters, times: time_gradient, stats })
    }

    /// Runs the recorded steps again from x_0, taping all of them.
    fn replay(&self, problem: &mut Problem<T>) -> Result<Vec<Use<T>>> {
        let Problem { dynamics, options, times, ledger, start, .. } = problem;
        let (method, len) = (self.method, self.len);
        let stages = method.gradient_stages();
        let mut tapes = Tapes::default();
        let mut x = Buffer::copied(ledger, Purpose::Workspace, start)?;
        let mut carry = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut scratch = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
        for step in 0..self.records.count() {
            let span = self.span(step, times[times.len() - 1]);
            for stage in 0..stages {
                stage_state(method, stage, span.h, &x, &slopes, &mut scratch);
                let k = &mut slopes[stage * len..(stage + 1) * len];
                let t = span.stage_time(method, stage);
                tapes.evaluate(&mut **dynamics, method, stage, t, &scratch, k, ledger)?;
            }
            tapes.accept(method)?;
            increment(method, span.h, &slopes, &mut scratch);
            accumulate(options.summation, &mut x, &mut carry, &scratch);
        }
        Ok(tapes.kept)
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
