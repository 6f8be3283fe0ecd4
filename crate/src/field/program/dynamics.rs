//! A program that is ready for a batch.

use super::super::lanes::{LanePullback, Lanes};
use super::super::{Dynamics, EvaluationCounts, InnerProducts, Pullback};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::Buffer;
use crate::program::execute::{ArrayRows, Arrays, Executor};

pub(super) struct ProgramDynamics<T: Real> {
    pub layout: Layout,
    pub executor: Executor<T>,
    pub arguments: Buffer<T>,
    pub data: Buffer<T>,
    pub rows: ArrayRows,
    pub parameters: usize,
    pub counts: EvaluationCounts,
}

// The requests of a gradient's plan, in their order.
const VALUE: usize = 0;
const VALUE_KEEPING: usize = 1;
const TRANSPOSE: usize = 2;
const TRANSPOSE_TAPED: usize = 3;
/// Added to a request if the transpose also returns the derivatives with respect to times.
const WITH_TIMES: usize = 2;

impl<T: Real> Dynamics<T> for ProgramDynamics<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters + self.arguments.len()
    }

    fn arguments(&self) -> usize {
        self.rows.arguments
    }

    fn tape_len(&self) -> usize {
        self.rows.tape * self.layout.panels.lanes
    }

    fn counts(&self) -> EvaluationCounts {
        self.counts
    }

    fn evaluate(&mut self, t: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.counts.evaluations += 1;
        let task = if tape.is_some() { VALUE_KEEPING } else { VALUE };
        let keep = tape.unwrap_or_default();
        let arrays =
            Arrays { state: x, arguments: &self.arguments, data: &self.data, keep, value: k, ..Arrays::default() };
        self.executor.run(task, t, self.rows, arrays);
        Ok(())
    }

    fn pullback(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pullback: Pullback<'_, T>) -> Result<InnerProducts> {
        self.counts.evaluations += usize::from(tape.is_none());
        self.counts.vjps += 1;
        let task = if tape.is_some() { TRANSPOSE_TAPED } else { TRANSPOSE };
        let task = task + if pullback.times { WITH_TIMES } else { 0 };
        let (gradient, argument_cotangents) = pullback.parameters.split_at_mut(self.parameters);
        let arrays = Arrays {
            state: x,
            arguments: &self.arguments,
            data: &self.data,
            cotangent: pullback.cotangent,
            tape: tape.unwrap_or_default(),
            next_tape: pullback.next_tape.unwrap_or_default(),
            state_cotangent: pullback.x,
            argument_cotangents,
            gradient,
            probes: pullback.probes,
            products: pullback.products,
            ..Arrays::default()
        };
        Ok(self.executor.run(task, t, self.rows, arrays))
    }
}

impl<T: Real> Lanes<T> for ProgramDynamics<T> {
    fn width(&self) -> usize {
        self.layout.panels.lanes
    }

    fn parameters(&self) -> usize {
        self.parameters
    }

    fn tape_len(&self) -> usize {
        Dynamics::tape_len(self)
    }

    fn set_inputs(&mut self, arguments: &[T], data: &[T]) {
        self.arguments.copy_from_slice(arguments);
        self.data.copy_from_slice(data);
        self.executor.set_inputs(self.rows, &self.arguments, &self.data);
    }

    fn evaluate(&mut self, _active: usize, _t: &[f64], x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        Dynamics::evaluate(self, 0.0, x, tape, k)
    }

    fn pullback(
        &mut self,
        _active: usize,
        _t: &[f64],
        x: &[T],
        tape: Option<&[T]>,
        pullback: LanePullback<'_, T>,
    ) -> Result<bool> {
        let task = if tape.is_some() { TRANSPOSE_TAPED } else { TRANSPOSE };
        let arrays = Arrays {
            state: x,
            arguments: &self.arguments,
            data: &self.data,
            cotangent: pullback.cotangent,
            tape: tape.unwrap_or_default(),
            state_cotangent: pullback.x,
            argument_cotangents: pullback.arguments,
            gradient: pullback.parameters,
            ..Arrays::default()
        };
        self.executor.run(task, 0.0, self.rows, arrays);
        Ok(true)
    }
}
