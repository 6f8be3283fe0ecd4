//! What a solve retains for its exact gradients, and how the rest is computed again.

use crate::error::{Error, Result};
use crate::field::Dynamics;
use crate::kernel::real::Real;
use crate::kernel::vector::accumulate;
use crate::memory::{Buffer, Chunks, Ledger, Purpose};
use crate::solve::{Problem, Recorder};
use crate::step::{Span, increment, stage_state};
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
pub(super) struct Use<T> {
    pub x: Buffer<T>,
    pub tape: Buffer<T>,
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
    pub retention: Retention,
    pub method: &'static Tableau,
    pub tape_len: usize,
    /// Numbers in a state.
    pub len: usize,
    /// (t_n, h_n).
    pub records: Chunks<f64>,
    /// For each output the number of steps before it, or the step that it lies in.
    pub places: Buffer<usize>,
    /// x_n of each step, if those are what is retained.
    pub states: Chunks<T>,
    tapes: Tapes<T>,
    /// x_N.
    pub end: Buffer<T>,
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

    /// The uses of all steps, if those are what is retained.
    pub fn uses(&self) -> &[Use<T>] {
        &self.tapes.kept
    }

    /// (t_n, h_n) of every accepted step.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        (0..self.records.count()).map(|step| (self.records.get(step)[0], self.records.get(step)[1]))
    }

    pub fn span(&self, step: usize, last_time: f64) -> Span {
        let (t, h) = (self.records.get(step)[0], self.records.get(step)[1]);
        let end = if step + 1 < self.records.count() { self.records.get(step + 1)[0] } else { last_time };
        Span { t, h, end }
    }

    /// Runs the recorded steps again from x_0, taping all of their uses.
    pub fn replay(&self, problem: &mut Problem<T>) -> Result<Vec<Use<T>>> {
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
