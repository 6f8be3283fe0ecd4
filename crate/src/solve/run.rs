//! The forward loop itself, on flat states of any layout.

use std::ops::Range;

use super::options::{Options, Steps};
use super::step_size::{ErrorTest, FirstStepTrial, StepSize};
use crate::control::{AllReduce, Norms, StepControl, Tolerances};
use crate::error::{Error, Progress, Result};
use crate::field::Dynamics;
use crate::kernel::combine::{advance, all_finite, combine};
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::progress;
use crate::stepper::{Discard, Sink, Span, Stage, StepExtent, StepOutputs, Stepper, Workspace};

/// The steps of a solve, and the evaluations that they took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Steps that were accepted.
    pub accepted: usize,
    /// Steps that were rejected, since their error was above the tolerances.
    pub rejected: usize,
    /// Evaluations of the vector field, each of the whole batch.
    pub evaluations: usize,
    /// The size of the first accepted step, negative where times descend.
    pub first_step: f64,
    /// The size of the last accepted step, negative where times descend.
    pub last_step: f64,
    /// The relative tolerance that was used: in float32 at least 2 ε, unless it is 0. If features have their own tolerances, the least of them.
    pub rtol: f64,
    /// Whether [`rtol`](Self::rtol) is greater than the relative tolerance of the options, which float32 cannot reach.
    pub rtol_clamped: bool,
}

/// Records a solve: its accepted steps and its outputs, besides the stages of its steps.
pub(crate) trait Recorder<T: Real>: Sink<T> {
    /// How many steps there will be, where that is known.
    fn expect(&mut self, _steps: usize) -> Result<()> {
        Ok(())
    }

    /// The step from `x` is accepted; `carry` is what the sums that led to x have rounded away.
    fn accept(&mut self, _span: Span, _x: &[T], _carry: &[T]) -> Result<()> {
        Ok(())
    }

    /// An output is the state after the accepted steps, or lies within the last of them.
    fn output(&mut self, _output: usize, _within: bool) {}

    /// The state at the last time.
    fn end(&mut self, _x: &[T]) -> Result<()> {
        Ok(())
    }
}

impl<T: Real> Recorder<T> for Discard {}

/// The state of a run.
struct ForwardLoop<'a, T: Real> {
    dynamics: &'a mut dyn Dynamics<T>,
    stepper: Stepper,
    options: &'a Options,
    times: &'a [f64],
    recorder: &'a mut dyn Recorder<T>,
    write: &'a mut dyn FnMut(usize, &[T]),
    norms: Norms<'a>,
    interpolates: bool,
    stats: Stats,
    x: Buffer<T>,
    carry: Buffer<T>,
    next: Buffer<T>,
    next_carry: Buffer<T>,
    /// With room for f(x_{n+1}).
    work: Workspace<T>,
    /// Whether f(x_{n+1}) is known.
    next_slope_known: bool,
    /// Evaluations of the field before this solve.
    evaluations_before: usize,
    /// The outputs of the step just taken.
    step_outputs: StepOutputs,
    /// The next output to be written.
    output: usize,
}

/// In float32, the least relative tolerance, in units of ε: below it, rounding alone fills the estimate of the error.
const MIN_RTOL_EPSILONS: f64 = 2.0;

/// How a solve ended.
pub(crate) struct SolveOutcome {
    pub stats: Stats,
    /// How many outputs were written.
    pub reached: usize,
    /// Why it ended early, if it did: the last good state is then written in the place of the next output.
    pub failure: Option<Error>,
}

/// The solve itself, on flat states of any layout.
#[expect(clippy::too_many_arguments)]
pub(crate) fn integrate<T: Real>(
    dynamics: &mut dyn Dynamics<T>,
    all_reduce: &mut dyn AllReduce,
    start: &[T],
    times: &[f64],
    options: &Options,
    ledger: &Ledger,
    recorder: &mut dyn Recorder<T>,
    write: &mut dyn FnMut(usize, &[T]),
) -> Result<SolveOutcome> {
    let (control, stats) = step_control::<T>(options);
    let len = start.len();
    let layout: Layout = dynamics.layout().clone();
    let stepper = Stepper::new(options.method, &layout);
    let stages = stepper.stages();
    let state = || Buffer::zeroed(ledger, Purpose::Workspace, len);
    let mut run = ForwardLoop {
        evaluations_before: dynamics.counts().evaluations,
        dynamics,
        stepper,
        options,
        times,
        recorder,
        write,
        norms: Norms::new(control, &tolerances_of::<T>(options), &layout, all_reduce)?,
        interpolates: options.interpolates(times),
        stats,
        x: Buffer::copied(ledger, Purpose::Workspace, start)?,
        carry: state()?,
        next: state()?,
        next_carry: state()?,
        work: Workspace::new(ledger, stages + 1, len)?,
        next_slope_known: false,
        step_outputs: StepOutputs::default(),
        output: 0,
    };
    // The number of steps is known if they are fixed, or if the time interval is empty.
    if !options.adaptive() || times.first() == times.last() {
        run.check_intervals()?;
    }
    run.land();
    let failure = if options.adaptive() { run.adaptive() } else { run.fixed() }.err();
    if failure.is_some() && run.output < times.len() {
        (run.write)(run.output, &run.x);
    }
    run.stats.evaluations = run.evaluations();
    Ok(SolveOutcome { stats: run.stats, reached: run.output, failure })
}

/// States that a solve works in: the running one and the next with their carries, and the stepper's.
pub(crate) fn working_states(stages: usize) -> usize {
    4 + Workspace::<f64>::states(stages + 1)
}

/// Equal steps from one time to another.
pub(crate) struct Interval {
    pub from: f64,
    pub to: f64,
    pub steps: usize,
}

impl Interval {
    pub fn new(options: &Options, from: f64, to: f64) -> Result<Self> {
        Ok(Self { from, to, steps: interval_steps(options, from, to)? })
    }

    /// The length of each step.
    pub fn h(&self) -> f64 {
        (self.to - self.from) / self.steps as f64
    }

    /// The time after this number of steps.
    pub fn time(&self, step: usize) -> f64 {
        if step == self.steps { self.to } else { self.from + step as f64 * self.h() }
    }
}

/// The step control of the options, and statistics that name its tolerance.
pub(crate) fn step_control<T: Real>(options: &Options) -> (StepControl, Stats) {
    let floor = if T::DTYPE == "float32" { MIN_RTOL_EPSILONS * T::epsilon().wide() } else { 0.0 };
    let rtol = if options.rtol == 0.0 { 0.0 } else { options.rtol.max(floor) };
    // If features have their own tolerances, the least that is used.
    let given = &options.tolerances.relative;
    let used = tolerances_of::<T>(options).relative;
    let least = used.iter().copied().reduce(f64::min).unwrap_or(rtol);
    let raised = if given.is_empty() { rtol != options.rtol } else { *given != used };
    let stats = Stats { rtol: least, rtol_clamped: options.adaptive() && raised, ..Stats::default() };
    let Options { controller, atol, safety, min_factor, max_factor, .. } = *options;
    (StepControl { controller, rtol, atol, safety, min_factor, max_factor }, stats)
}

/// The tolerances of each feature, raised to the least that means anything.
pub(crate) fn tolerances_of<T: Real>(options: &Options) -> Tolerances {
    let floor = if T::DTYPE == "float32" { MIN_RTOL_EPSILONS * T::epsilon().wide() } else { 0.0 };
    let Tolerances { relative, absolute } = &options.tolerances;
    let raised = relative.iter().map(|&rtol| if rtol == 0.0 { 0.0 } else { rtol.max(floor) });
    Tolerances { relative: raised.collect(), absolute: absolute.clone() }
}

/// How many equal steps the options ask for between two times.
pub(crate) fn interval_steps(options: &Options, from: f64, to: f64) -> Result<usize> {
    if from == to {
        return Ok(0);
    }
    // A hair of slack, so that an interval of ten steps by rounding is not eleven.
    let at_most = |h: f64| ((to - from).abs() / h * (1.0 - 1e-12)).ceil().max(1.0);
    let steps = match options.steps {
        Steps::Automatic => at_most(options.max_step),
        Steps::PerInterval(steps) => steps as f64,
        Steps::AtMost(h) => at_most(h),
    };
    let shortest = (to - from) / steps;
    if steps > f64::from(u32::MAX) || from + shortest == from || to - shortest == to {
        let given = format!("{steps:e} steps between {from:?} and {to:?}");
        let argument = match options.steps {
            Steps::Automatic => "max_step",
            Steps::PerInterval(_) => "steps",
            Steps::AtMost(_) => "step_size",
        };
        return Err(Error::option(argument, "steps that the times can resolve", given));
    }
    Ok(steps as usize)
}

impl<T: Real> ForwardLoop<'_, T> {
    /// How many intervals fixed steps divide evenly.
    fn intervals(&self) -> usize {
        if self.interpolates { 1 } else { self.times.len() - 1 }
    }

    fn interval(&self, index: usize) -> Result<Interval> {
        let last = self.times[self.times.len() - 1];
        let (from, to) =
            if self.interpolates { (self.times[0], last) } else { (self.times[index], self.times[index + 1]) };
        Interval::new(self.options, from, to)
    }

    /// Checks all intervals before the first step is taken.
    fn check_intervals(&mut self) -> Result<()> {
        let steps = (0..self.intervals()).map(|index| Ok(self.interval(index)?.steps)).sum::<Result<usize>>()?;
        self.recorder.expect(steps)
    }

    fn fixed(&mut self) -> Result<()> {
        for index in 0..self.intervals() {
            let interval = self.interval(index)?;
            for step in 0..interval.steps {
                let (t, end) = (interval.time(step), interval.time(step + 1));
                let span = Span { step: self.stats.accepted, t, h: interval.h(), end };
                self.first_slope(span)?;
                if !self.attempt(span)? {
                    return Err(Error::NonFinite(self.progress(span)));
                }
                self.accept(span, step + 1 == interval.steps)?;
            }
        }
        self.recorder.end(&self.x)
    }

    fn adaptive(&mut self) -> Result<()> {
        let order = self.stepper.scheme.order();
        let last = self.times[self.times.len() - 1];
        let direction = (last - self.times[0]).signum();
        let mut t = self.times[0];
        if t == last {
            return self.recorder.end(&self.x);
        }
        self.first_slope(Span { step: 0, t, h: 0.0, end: t })?;
        let first = match self.options.first_step {
            Some(first) => first,
            None => self.choose_first_step(t, direction, (last - t).abs())?,
        };
        let mut step_size = StepSize::from(first);
        while t != last {
            let target = if self.interpolates { last } else { self.times[self.output] };
            let proposed = step_size.propose(self.options, t, direction, target);
            let span = Span { step: self.stats.accepted, t, h: proposed.h, end: proposed.end };
            if self.stats.accepted + self.stats.rejected == self.options.max_steps {
                return Err(Error::MaxSteps(self.progress(span)));
            }
            if span.h == 0.0 {
                let progress = self.progress(Span { h: direction * step_size.proposal, ..span });
                return Err(Error::StepUnderflow { progress, minimum: 0.0 });
            }
            self.first_slope(span)?;
            // An infinite state would make its own error vanish.
            let finite = self.attempt(span)?;
            if self.stepper.scheme.estimates_with_next {
                self.next_slope(span)?;
            }
            self.stepper.error(span, &mut self.work);
            let error = self.norms.error(finite, &self.work.state, &self.x, &self.next)?;
            let control = &self.norms.control;
            let factor = |within, before| control.factor(error, within, order, before);
            match step_size.test_error(self.options, proposed, error, factor) {
                ErrorTest::Accepted => {
                    self.accept(span, proposed.lands)?;
                    t = span.end;
                }
                ErrorTest::Rejected => self.stats.rejected += 1,
                ErrorTest::Underflow => {
                    self.stats.rejected += 1;
                    let progress = self.progress(Span { h: direction * step_size.proposal, ..span });
                    let underflow = Error::StepUnderflow { progress, minimum: self.options.min_step };
                    return Err(if error.is_nan() { Error::NonFinite(progress) } else { underflow });
                }
            }
        }
        self.recorder.end(&self.x)
    }

    fn evaluations(&self) -> usize {
        self.dynamics.counts().evaluations - self.evaluations_before
    }

    fn progress(&self, span: Span) -> Progress {
        Progress { t: span.t, h: span.h, steps: self.stats.accepted, evaluations: self.evaluations() }
    }

    /// Evaluates f(t_n, x_n), unless it is known.
    fn first_slope(&mut self, span: Span) -> Result<()> {
        if self.work.first_slope_known {
            return Ok(());
        }
        let tape = self.recorder.stage(Stage { step: span.step, index: 0 }, &self.x)?;
        self.dynamics.evaluate(span.t, &self.x, tape, self.work.slope_mut(0))?;
        self.work.first_slope_known = true;
        self.check_slope(0, span)
    }

    /// Evaluates f(t_{n+1}, x_{n+1}), which becomes the next step's first slope.
    fn next_slope(&mut self, span: Span) -> Result<()> {
        let tape = self.recorder.stage(Stage { step: span.step + 1, index: 0 }, &self.next)?;
        self.dynamics.evaluate(span.end, &self.next, tape, self.work.slope_mut(self.stepper.stages()))?;
        self.next_slope_known = true;
        Ok(())
    }

    fn check_slope(&self, slope: usize, span: Span) -> Result<()> {
        match all_finite(self.work.slope(slope)) {
            true => Ok(()),
            false => Err(Error::NonFinite(self.progress(span))),
        }
    }

    #[inline(never)]
    fn choose_first_step(&mut self, t: f64, direction: f64, interval: f64) -> Result<f64> {
        let len = self.x.len();
        let guess = self.norms.first_guess(&self.x, self.work.slope(0))?;
        let tried = FirstStepTrial::new(self.options, guess, t, direction, interval);
        let Workspace { slopes, state, .. } = &mut self.work;
        let (first, rest) = slopes.split_at_mut(len);
        combine(state, &self.x, std::iter::once((tried.h, &*first)));
        self.dynamics.evaluate(tried.end, state, None, &mut rest[..len])?;
        let h = self.norms.first_step(&self.x, [first, &rest[..len]], tried.guess, self.stepper.scheme.order())?;
        Ok(tried.length(h))
    }

    /// Tries a step: x_{n+1} with its carry in `next`; whether it is finite.
    #[inline(never)]
    fn attempt(&mut self, span: Span) -> Result<bool> {
        self.next_slope_known = false;
        self.stepper.attempt(self.dynamics, span, &self.x, StepExtent::Increment, &mut self.work, self.recorder)?;
        let Self { x, carry, next, next_carry, work, .. } = self;
        Ok(advance(self.options.summation.of_state(), (x, carry), &work.state, (next, next_carry)))
    }

    /// Takes the step that was tried, and writes the outputs that it reaches.
    fn accept(&mut self, span: Span, lands: bool) -> Result<()> {
        if self.stats.accepted == 0 {
            self.stats.first_step = span.h;
        }
        self.stats.last_step = span.h;
        self.stats.accepted += 1;
        self.recorder.accept(span, &self.x, &self.carry)?;
        let interpolated = if self.interpolates { self.interpolate(span) } else { Ok(()) };
        self.work.first_slope_known = self.next_slope_known;
        if self.next_slope_known {
            let next = self.stepper.stages() * self.x.len();
            self.work.slopes.copy_within(next.., 0);
        }
        std::mem::swap(&mut self.x, &mut self.next);
        std::mem::swap(&mut self.carry, &mut self.next_carry);
        interpolated?;
        if lands {
            self.land();
        }
        let times = self.times;
        progress::report(self.stats.accepted, || progress::fraction(span.end, times[0], times[times.len() - 1]))
    }

    /// Writes the outputs within the step just taken.
    #[inline(never)]
    fn interpolate(&mut self, span: Span) -> Result<()> {
        let outputs = self.outputs_within(span);
        if outputs.is_empty() {
            return Ok(());
        }
        if !self.next_slope_known {
            self.next_slope(span)?;
            self.check_slope(self.stepper.stages(), Span { t: span.end, ..span })?;
        }
        self.step_outputs.set(&self.stepper.scheme, span, self.times, outputs.clone())?;
        for (index, output) in outputs.enumerate() {
            if self.times[output] == span.end {
                // The extension gives the same up to rounding; a time that is repeated must have the same state.
                (self.write)(output, &self.next);
            } else {
                self.step_outputs.state(index, &self.x, &self.work.slopes, &mut self.work.state);
                (self.write)(output, &self.work.state);
            }
            self.recorder.output(output, true);
            self.output += 1;
        }
        Ok(())
    }

    /// The outputs in (t_n, t_{n+1}] that are not the last.
    fn outputs_within(&self, span: Span) -> Range<usize> {
        let reached = |&&t: &&f64| (t - span.end) * span.h.signum() <= 0.0;
        let rest = &self.times[self.output..self.times.len() - 1];
        self.output..self.output + rest.iter().take_while(reached).count()
    }

    /// Writes the current state as the next output, and as those that repeat its time.
    fn land(&mut self) {
        let now = self.times[self.output];
        while self.output < self.times.len() && self.times[self.output] == now {
            (self.write)(self.output, &self.x);
            self.recorder.output(self.output, false);
            self.output += 1;
        }
    }
}
