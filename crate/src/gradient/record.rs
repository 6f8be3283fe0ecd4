//! The record of a solve: (t_n, h_n) of its steps, and where its outputs lie.

use super::budget::{RECORD, SMALL_CHUNK};
use crate::error::Result;
use crate::memory::{Buffer, CHUNK_BYTES, Chunks, Ledger, Purpose};
use crate::stepper::Span;

/// The accepted steps and the outputs.
pub(crate) struct Record {
    steps: Chunks<f64>,
    /// For each output, the number of steps before it, or the step in which it lies.
    pub places: Buffer<usize>,
}

impl Record {
    /// Numbers of a step: t_n and h_n.
    const NUMBERS: usize = RECORD / size_of::<f64>();

    pub fn new(ledger: &Ledger, outputs: usize) -> Result<Self> {
        let steps = Chunks::new(ledger, Purpose::Records, Self::NUMBERS, None, SMALL_CHUNK);
        Ok(Self { steps, places: Buffer::zeroed(ledger, Purpose::Records, outputs)? })
    }

    /// Makes room for exactly this number of steps. Call it before the first.
    pub fn expect(&mut self, ledger: &Ledger, steps: usize) {
        self.steps = Chunks::new(ledger, Purpose::Records, Self::NUMBERS, Some(steps), CHUNK_BYTES);
    }

    pub fn push(&mut self, span: Span) -> Result<()> {
        self.steps.push(&[span.t, span.h])
    }

    pub fn clear(&mut self) {
        self.steps.clear();
    }

    /// Bytes of the steps.
    pub fn bytes(&self) -> usize {
        self.steps.bytes()
    }

    /// Bytes to be allocated before one more step can be recorded.
    pub fn missing_bytes(&self) -> usize {
        self.steps.missing_bytes(self.steps.count())
    }

    /// How many steps there are.
    pub fn count(&self) -> usize {
        self.steps.count()
    }

    /// (t_n, h_n).
    pub fn step(&self, step: usize) -> (f64, f64) {
        let [t, h] = *self.steps.get(step) else { unreachable!("two numbers a step") };
        (t, h)
    }

    pub fn span(&self, step: usize, last_time: f64) -> Span {
        let (t, h) = self.step(step);
        let end = if step + 1 < self.count() { self.step(step + 1).0 } else { last_time };
        Span { step, t, h, end }
    }
}
