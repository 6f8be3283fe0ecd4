//! Trajectories side by side in the lanes of a block: their states, and one attempt of a step for all of them.

use super::problem::Problem;
use crate::error::Result;
use crate::field::Lanes;
use crate::kernel::lanes::{combine_lanes, copy_lane, restride, scale};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::stepper::{Discard, Scheme, Scratch, StepEvaluator, StepExtent, Weights, attempt};

/// The steps of all lanes.
pub(super) struct Spans {
    pub t: Vec<f64>,
    pub h: Vec<f64>,
    pub end: Vec<f64>,
    /// The times of a stage.
    pub times: Vec<f64>,
}

impl Spans {
    pub fn new(width: usize) -> Self {
        let zeros = || vec![0.0; width];
        Self { t: zeros(), h: zeros(), end: zeros(), times: zeros() }
    }

    /// t_n + c h of each lane, also into the last row of a state.
    #[inline(never)]
    pub fn stage_times<T: Real>(&mut self, width: usize, c: f64, row: &mut [T]) {
        for (lane, row) in row.iter_mut().enumerate().take(width) {
            let time = if c == 1.0 { self.end[lane] } else { self.t[lane] + c * self.h[lane] };
            self.times[lane] = time;
            *row = T::of(time);
        }
    }
}

/// The workspace in which slopes are combined.
pub(super) struct Combiner<T> {
    coefficients: Buffer<T>,
    nonzero: Vec<usize>,
}

impl<T: Real> Combiner<T> {
    pub fn new(ledger: &Ledger, terms: usize, width: usize) -> Result<Self> {
        Ok(Self {
            coefficients: Buffer::zeroed(ledger, Purpose::Workspace, terms * width)?,
            nonzero: Vec::with_capacity(terms),
        })
    }

    /// `out = start + Σ h w_j k_j` for each lane, with the weights of each part of the features; terms of weight zero are left out.
    #[inline(never)]
    pub fn combine<'s, W: Iterator<Item = f64>>(
        &mut self,
        out: &mut [T],
        start: Option<&[T]>,
        h: &[f64],
        (scheme, weights): (&'s Scheme, impl Fn(&'s Weights) -> W),
        terms: &[T],
    ) {
        let (stride, width) = (out.len(), h.len());
        for part in &scheme.parts {
            let own = part.rows.start * width..part.rows.end * width;
            scale(&mut self.coefficients, h, weights(part), &mut self.nonzero);
            let start = start.map(|start| &start[own.clone()]);
            let terms = (&terms[own.start..], stride);
            combine_lanes(&mut out[own], start, width, &self.coefficients, terms, &self.nonzero);
        }
    }
}

/// The states of the lanes, and their slopes.
pub(super) struct Block<T> {
    pub width: usize,
    pub active: usize,
    /// Features of the state.
    pub rows: usize,
    stages: usize,
    /// Rows of arguments and data.
    input_rows: [usize; 2],
    /// x, with the time as a last row, and its carry.
    pub x: Buffer<T>,
    pub carry: Buffer<T>,
    pub next: Buffer<T>,
    pub next_carry: Buffer<T>,
    /// k_1 … k_s, followed by f(x_{n+1}).
    pub slopes: Buffer<T>,
    /// A stage's state, an increment, an error.
    pub state: Buffer<T>,
    pub arguments: Buffer<T>,
    pub data: Buffer<T>,
    pub spans: Spans,
    pub combiner: Combiner<T>,
}

impl<T: Real> Block<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let ledger = &problem.ledger;
        let width = problem.width();
        let (rows, stages) = (problem.state, problem.scheme.stages);
        let array = |purpose, rows: usize| Buffer::zeroed(ledger, purpose, rows * width);
        Ok(Self {
            width,
            active: 0,
            rows,
            stages,
            input_rows: [problem.arguments, problem.data],
            x: array(Purpose::Workspace, rows + 1)?,
            carry: array(Purpose::Workspace, rows)?,
            next: array(Purpose::Workspace, rows + 1)?,
            next_carry: array(Purpose::Workspace, rows)?,
            slopes: array(Purpose::Stages, rows * (stages + 1))?,
            state: array(Purpose::Workspace, rows + 1)?,
            arguments: array(Purpose::Workspace, problem.arguments)?,
            data: array(Purpose::Workspace, problem.data)?,
            spans: Spans::new(width),
            combiner: Combiner::new(ledger, stages + 1, width)?,
        })
    }

    /// The arrays that belong to a lane between steps, each with its rows.
    fn lane_arrays(&mut self) -> [(&mut Buffer<T>, usize); 5] {
        let Self { rows, x, carry, slopes, arguments, data, input_rows: [own, other], .. } = self;
        [(x, *rows), (carry, *rows), (slopes, *rows), (arguments, *own), (data, *other)]
    }

    /// Copies a lane onto another.
    pub fn move_lane(&mut self, from: usize, to: usize) {
        let width = self.width;
        for (array, rows) in self.lane_arrays() {
            copy_lane(array, rows, width, from, to);
        }
    }

    /// Compacts the active lanes to a narrower block; padding lanes copy the first.
    pub fn narrow(&mut self, width: usize) {
        let (old, active) = (self.width, self.active);
        for (array, rows) in self.lane_arrays() {
            restride(array, rows, (old, width), active);
        }
        self.width = width;
        (active..width).for_each(|slot| self.move_lane(0, slot));
    }

    /// Numbers in a state without its time.
    pub fn len(&self) -> usize {
        self.rows * self.width
    }

    /// Evaluates f at x, for all lanes, as the first slope.
    pub fn first_slopes(&mut self, lanes: &mut dyn Lanes<T>) -> Result<()> {
        let (len, width) = (self.len(), self.width);
        let Self { x, slopes, spans, .. } = self;
        spans.stage_times(width, 0.0, &mut x[len..len + width]);
        lanes.evaluate(self.active, &spans.times, &x[..len + width], None, &mut slopes[..len])
    }

    /// Evaluates f at x_{n+1}.
    pub fn next_slopes(&mut self, lanes: &mut dyn Lanes<T>) -> Result<()> {
        let (len, width, stages) = (self.len(), self.width, self.stages);
        let Self { next, slopes, spans, .. } = self;
        spans.stage_times(width, 1.0, &mut next[len..len + width]);
        lanes.evaluate(self.active, &spans.times, &next[..len + width], None, &mut slopes[stages * len..][..len])
    }

    /// Computes the stages after the first, and x_{n+1} − x_n into `state`.
    pub fn attempt(&mut self, scheme: &Scheme, lanes: &mut dyn Lanes<T>) -> Result<()> {
        let (len, width) = (self.len(), self.width);
        let Self { x, slopes, state, spans, combiner, active, .. } = self;
        let mut evaluator = LaneEvaluator { lanes, active: *active, width, spans, combiner };
        let scratch = Scratch { slopes, len, first_slope_known: true, state: &mut state[..len + width] };
        attempt(scheme, &mut evaluator, &x[..len], StepExtent::Increment, scratch, &mut Discard)
    }

    /// The estimate of the error into `state`.
    pub fn error(&mut self, scheme: &Scheme) {
        let (len, width) = (self.len(), self.width);
        let Self { slopes, state, spans, combiner, .. } = self;
        combiner.combine(&mut state[..len], None, &spans.h[..width], (scheme, |_| scheme.error()), slopes);
    }
}

/// Evaluates the stages of steps that trajectories take by themselves, side by side in lanes.
pub(super) struct LaneEvaluator<'a, T> {
    pub lanes: &'a mut dyn Lanes<T>,
    pub active: usize,
    pub width: usize,
    pub spans: &'a mut Spans,
    pub combiner: &'a mut Combiner<T>,
}

impl<T: Real> StepEvaluator<T> for LaneEvaluator<'_, T> {
    /// Each lane is at another step.
    fn step(&self) -> usize {
        0
    }

    fn combine<'s, W: Iterator<Item = f64>>(
        &mut self,
        out: &mut [T],
        x: Option<&[T]>,
        weights: (&'s Scheme, impl Fn(&'s Weights) -> W),
        slopes: &[T],
    ) {
        self.combiner.combine(out, x, &self.spans.h[..self.width], weights, slopes);
    }

    fn set_times(&mut self, c: f64, times: &mut [T]) {
        self.spans.stage_times(self.width, c, times);
    }

    fn slope(&mut self, _c: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.lanes.evaluate(self.active, &self.spans.times, x, tape, k)
    }
}

/// Copies a lane out of an array.
#[inline(never)]
pub(super) fn load_lane<T: Copy>(array: &[T], width: usize, lane: usize, to: &mut [T]) {
    for (row, to) in to.iter_mut().enumerate() {
        *to = array[row * width + lane];
    }
}

/// Copies numbers into a lane of an array.
#[inline(never)]
pub(super) fn store_lane<T: Copy>(array: &mut [T], width: usize, lane: usize, from: &[T]) {
    for (row, from) in from.iter().enumerate() {
        array[row * width + lane] = *from;
    }
}

/// The width of the narrowest block that holds these trajectories.
pub(super) fn min_width<T: Real>(problem: &Problem<T>, trajectories: usize) -> usize {
    let mut widths = problem.widths.iter().copied();
    widths.find(|&width| width >= trajectories).expect("the last is wide enough")
}

pub(super) fn width_index<T: Real>(problem: &Problem<T>, width: usize) -> usize {
    problem.widths.iter().position(|&known| known == width).expect("one of the widths")
}
