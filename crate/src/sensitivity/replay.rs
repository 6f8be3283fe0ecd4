//! Replays the recorded steps of a solve for the state with its tangents along directions.

use std::ops::Range;

use crate::error::Result;
use crate::field::Directions;
use crate::gradient::record::Record;
use crate::kernel::combine::advance;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Purpose};
use crate::program::tangents::TIME_TANGENT_ROWS;
use crate::solve::{Options, Problem, Recorder, Solution, Stats};
use crate::stepper::{Span, Stage, StepExtent, StepOutputs, Stepper, Workspace};

/// The tangents of times and step sizes, for each direction that has any.
pub(super) struct TimeTangents {
    /// Features of the state alone.
    features: usize,
    directions: Vec<TimeTangent>,
}

/// The time tangent of a direction: τ and σ during a step, and the tangents of the output times.
struct TimeTangent {
    direction: usize,
    /// The first of its two rows in the state.
    row: usize,
    times: Vec<f64>,
    tau: f64,
    sigma: f64,
}

impl TimeTangents {
    pub fn new<T>(features: usize, directions: &Directions<'_, T>) -> Self {
        // Time tangents follow the state and its tangents, in the order of their directions.
        let first = features * (1 + directions.count);
        let moving = (0..directions.count).filter(|&direction| directions.has_time_tangent(direction));
        let tangents = moving.enumerate().map(|(index, direction)| TimeTangent {
            direction,
            row: first + TIME_TANGENT_ROWS * index,
            times: directions.of(directions.times, direction).unwrap_or_default().to_vec(),
            tau: 0.0,
            sigma: 0.0,
        });
        Self { features, directions: tangents.collect() }
    }

    fn is_empty(&self) -> bool {
        self.directions.is_empty()
    }

    /// Sets the time tangents for a step: t_n moves at rate τ, and h at rate σ h, as (t_n, h) follow from the times landed on before
    /// and after it.
    #[inline(never)]
    fn set<T: Real>(
        &mut self,
        interval: &OutputInterval<'_>,
        span: Span,
        layout: &Layout,
        x: &mut [T],
        carry: &mut [T],
    ) {
        for tangent in &mut self.directions {
            let (from, to) = (tangent.times[interval.from], tangent.times[interval.to]);
            let (first, end) = (interval.places[interval.from], interval.places[interval.to]);
            (tangent.tau, tangent.sigma) = if interval.adaptive {
                // t_n is the last time landed on, and constants; only the step that lands depends on where.
                (from, if span.step + 1 == end { (to - from) / span.h } else { 0.0 })
            } else {
                let steps = (end - first) as f64;
                let passed = (span.step - first) as f64 / steps;
                (from * (1.0 - passed) + to * passed, (to - from) / steps / span.h)
            };
            for (row, number) in [(tangent.row, tangent.tau), (tangent.row + 1, tangent.sigma)] {
                for range in rows(layout, row..row + 1) {
                    x[range.clone()].fill(T::of(number));
                    carry[range].fill(T::zero());
                }
            }
        }
    }

    /// ẋ += rate · x′ for each direction, where `x_rate` holds x′ in the rows of x.
    #[inline(never)]
    fn add<T: Real>(&self, layout: &Layout, x_rate: &[T], x: &mut [T], rate: impl Fn(&TimeTangent) -> f64) {
        for tangent in &self.directions {
            let by = T::of(rate(tangent));
            let own = (1 + tangent.direction) * self.features;
            for (from, to) in rows(layout, 0..self.features).zip(rows(layout, own..own + self.features)) {
                x[to].iter_mut().zip(&x_rate[from]).for_each(|(x, &rate)| *x = *x + by * rate);
            }
        }
    }
}

/// Where some rows of a state lie, panel by panel.
fn rows(layout: &Layout, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let features: usize = layout.arrays.iter().sum();
    layout.panels.all().map(move |panel| {
        let start = panel.range(features).start;
        start + rows.start * panel.width..start + rows.end * panel.width
    })
}

/// The outputs that steps landed on before, and land on next.
struct OutputInterval<'a> {
    adaptive: bool,
    places: &'a [usize],
    from: usize,
    to: usize,
}

/// Replays the steps, and reports to a recorder.
pub(super) fn replay<T: Real>(
    problem: &mut Problem<T>,
    record: &Record,
    time_tangents: &mut TimeTangents,
    recorder: &mut dyn Recorder<T>,
) -> Result<Solution<T>> {
    let numbers = problem.batch * problem.state * problem.times.len();
    let mut y = Buffer::zeroed(&problem.ledger, Purpose::Output, numbers)?;
    let Problem { dynamics, options, times, start, ledger, batch, state: features, .. } = problem;
    let (dynamics, options, times): (_, &Options, &[f64]) = (&mut **dynamics, options, times);
    let layout = dynamics.layout().clone();
    let evaluations_before = dynamics.counts().evaluations;
    let slice = *batch * *features;
    let mut write = |output: usize, x: &[T]| {
        layout.panels.unpack(x, &mut y[output * slice..(output + 1) * slice]);
    };
    let stepper = Stepper::new(options.method, &layout);
    let (stages, len, count, last) = (stepper.stages(), start.len(), record.count(), times.len() - 1);
    let (interpolates, compensated) = (options.interpolates(times), options.summation.of_state());
    let mut work = Workspace::new(ledger, stages + 1, len)?;
    let state = || Buffer::zeroed(ledger, Purpose::Workspace, len);
    let mut x = Buffer::copied(ledger, Purpose::Workspace, start)?;
    let (mut carry, mut next, mut next_carry, mut rate) = (state()?, state()?, state()?, state()?);
    let mut within = StepOutputs::default();
    let mut interval = OutputInterval { adaptive: options.adaptive(), places: &record.places, from: 0, to: last };
    let mut output = 0;
    recorder.expect(count)?;
    for step in 0..=count {
        // The outputs landed on; where outputs are interpolated, only the first and the last.
        let lands = |&output: &usize| match interpolates {
            true => (step == 0 && output == 0) || (step == count && output == last),
            false => record.places[output] == step,
        };
        let landed = output..output + (output..times.len()).take_while(lands).count();
        for index in landed.clone() {
            if index > landed.start && !time_tangents.is_empty() {
                // Between a time and its repetition lies a step of no length.
                dynamics.evaluate(times[index], &x, None, &mut rate)?;
                time_tangents.add(&layout, &rate, &mut x, |tangent| tangent.times[index] - tangent.times[index - 1]);
            }
            write(index, &x);
            recorder.output(index, false);
        }
        output = landed.end;
        if step == count {
            break;
        }
        if !interpolates {
            (interval.from, interval.to) = (output - 1, output);
        }
        let span = record.span(step, times[last]);
        if !time_tangents.is_empty() {
            time_tangents.set(&interval, span, &layout, &mut x, &mut carry);
            work.first_slope_known = false;
        }
        stepper.attempt(dynamics, span, &x, StepExtent::Increment, &mut work, recorder)?;
        advance(compensated, (&x, &carry), &work.state, (&mut next, &mut next_carry));
        recorder.accept(span, &x, &carry)?;
        work.first_slope_known = false;
        let inside = |&output: &usize| interpolates && output < last && record.places[output] == step;
        let inside = output..output + (output..times.len()).take_while(inside).count();
        if !inside.is_empty() {
            let tape = recorder.stage(Stage { step: step + 1, index: 0 }, &next)?;
            dynamics.evaluate(span.end, &next, tape, work.slope_mut(stages))?;
            within.set(&stepper.scheme, span, times, inside.clone())?;
            for (index, output) in inside.clone().enumerate() {
                within.state(index, &x, &work.slopes, &mut work.state);
                if !time_tangents.is_empty() {
                    within.rate(index, &work.slopes, &mut rate);
                    let theta = (times[output] - span.t) / span.h;
                    time_tangents.add(&layout, &rate, &mut work.state, |tangent| {
                        tangent.times[output] - tangent.tau - theta * tangent.sigma * span.h
                    });
                }
                write(output, &work.state);
                recorder.output(output, true);
            }
            output = inside.end;
            work.slopes.copy_within(stages * len.., 0);
            work.first_slope_known = true;
        }
        std::mem::swap(&mut x, &mut next);
        std::mem::swap(&mut carry, &mut next_carry);
    }
    recorder.end(&x)?;
    let stats =
        Stats { accepted: count, evaluations: dynamics.counts().evaluations - evaluations_before, ..Stats::default() };
    Ok(Solution::whole(y, [times.len(), *batch, *features], stats, ledger.peak()))
}
