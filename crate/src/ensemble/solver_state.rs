//! The state of the solver of one trajectory, except for x: its time, its next step, its outputs, jumps and events.

use super::changes::ScheduledJump;
use crate::control::ErrorHistory;
use crate::error::{Error, Progress, Result};
use crate::solve::{ErrorTest, Interval, Options, ProposedStep, Stats, StepSize, interval_steps};
use crate::stepper::Span;

/// What determines the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepEnd {
    /// The step size.
    Free,
    /// An output time.
    Output(usize),
    /// The `step`-th of the equal steps between the output times from `from` on, or between the first and the last.
    Grid { from: usize, step: usize },
    /// The time of the trajectory's next jump.
    Jump,
    /// The root of an event's function.
    Event,
}

/// The time and the next step of one trajectory, and the signs of its events' functions.
#[derive(Debug, Clone)]
pub(super) struct SolverState {
    pub trajectory: usize,
    pub t: f64,
    /// The size of the next adaptive step.
    pub step_size: StepSize,
    /// The next output; the jumps, and the next of them.
    pub next_output: usize,
    pub jumps: Vec<ScheduledJump>,
    pub next_jump: usize,
    pub stats: Stats,
    /// Whether f(t, x) is known.
    pub first_slope_known: bool,
    grid: EqualSteps,
    /// The sign of each event's function: −1, 1, or 0 while it is not known.
    pub event_signs: Vec<i8>,
    /// How often each event has occurred.
    pub event_counts: Vec<usize>,
    /// The value that |g| of each event has to exceed before a sign change counts: above 0 at a root, until g leaves it.
    pub thresholds: Vec<f64>,
    /// The last event and its time, and the values of all functions there.
    pub last_event: Option<(usize, f64)>,
    pub residuals: Vec<f64>,
    /// Whether a terminal event has ended the trajectory.
    pub terminated: bool,
    /// Whether the signs of the events' functions are known.
    pub signs_known: bool,
    /// With time tangents: those of t, and of the end of the next step.
    pub tau: Vec<f64>,
    pub next_tau: Vec<f64>,
}

/// Equal steps between two times.
#[derive(Debug, Clone, Copy, Default)]
struct EqualSteps {
    from: usize,
    steps: usize,
    step: usize,
}

/// A step to be tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrialStep {
    pub span: Span,
    pub end: StepEnd,
    /// The proposal of an adaptive step.
    proposed: Option<ProposedStep>,
    /// The end of the equal step that it is a part of.
    grid: Option<f64>,
}

/// The factor by which a step is shortened where something is not a number.
const RETRY_FACTOR: f64 = 0.25;

/// An accepted step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub t: f64,
    pub h: f64,
    /// t_{n+1}, which t + h may miss by rounding.
    pub to: f64,
    pub end: StepEnd,
}

impl SolverState {
    pub fn new(trajectory: usize, times: &[f64], jumps: Vec<ScheduledJump>, events: usize, stats: Stats) -> Self {
        Self {
            trajectory,
            t: times[0],
            step_size: StepSize::default(),
            next_output: 0,
            jumps,
            next_jump: 0,
            stats,
            first_slope_known: false,
            grid: EqualSteps::default(),
            event_signs: vec![0; events],
            event_counts: vec![0; events],
            thresholds: vec![0.0; events],
            last_event: None,
            residuals: vec![0.0; events],
            terminated: false,
            signs_known: false,
            tau: vec![],
            next_tau: vec![],
        }
    }

    /// Continues on an interval, which is new or the one before.
    pub fn resume(&mut self, times: &[f64], is_new: bool, initial_stats: Stats) {
        self.stats = initial_stats;
        // The first of the times was written before, unless the trajectory is at it.
        self.next_output = usize::from(self.t != times[0]);
        if is_new {
            self.grid = EqualSteps::default();
        }
    }

    /// Invalidates what is known of f and of the events' functions.
    pub fn invalidate(&mut self) {
        (self.first_slope_known, self.signs_known) = (false, false);
        self.thresholds.fill(0.0);
    }

    /// Updates the signs of the events' functions, except those that have not left their roots.
    pub fn update_signs(&mut self, values: &[f64]) {
        for (event, &g) in values.iter().enumerate() {
            if g != 0.0 && g.abs() > self.thresholds[event] {
                (self.event_signs[event], self.thresholds[event]) = (if g < 0.0 { -1 } else { 1 }, 0.0);
            }
        }
    }

    /// If an event was located at the present time: the value of an event's function there, and its sign.
    pub fn last_root(&self, event: usize) -> Option<(f64, i8)> {
        let here = self.last_event.is_some_and(|(_, t)| t == self.t);
        here.then(|| (self.residuals[event], self.event_signs[event]))
    }

    /// Saves what is carried from call to call, as numbers.
    pub fn save(&self, numbers: &mut Vec<f64>) {
        let flag = |flag: bool| f64::from(u8::from(flag));
        let (event, t) = self.last_event.map_or((-1.0, 0.0), |(event, t)| (event as f64, t));
        numbers.extend([
            self.t,
            self.step_size.proposal,
            flag(self.first_slope_known),
            flag(self.signs_known),
            flag(self.terminated),
            event,
            t,
        ]);
        numbers.extend(self.step_size.errors.numbers());
        numbers.extend([self.grid.steps as f64, self.grid.step as f64]);
        for (event, residual) in self.residuals.iter().enumerate() {
            numbers.extend([
                f64::from(self.event_signs[event]),
                self.event_counts[event] as f64,
                self.thresholds[event],
                *residual,
            ]);
        }
    }

    /// Restores what [`save`](Self::save) wrote; `None` where it cannot be that.
    pub fn restore(&mut self, numbers: &mut impl Iterator<Item = f64>) -> Option<()> {
        self.t = numbers.next()?;
        self.step_size.proposal = numbers.next()?;
        self.first_slope_known = numbers.next()? != 0.0;
        self.signs_known = numbers.next()? != 0.0;
        self.terminated = numbers.next()? != 0.0;
        let (event, t) = (numbers.next()?, numbers.next()?);
        self.last_event = if event >= 0.0 { Some((as_count(event)?, t)) } else { None };
        self.step_size.errors = ErrorHistory::of([numbers.next()?, numbers.next()?]);
        self.grid = EqualSteps { from: 0, steps: as_count(numbers.next()?)?, step: as_count(numbers.next()?)? };
        for (event, residual) in self.residuals.iter_mut().enumerate() {
            self.event_signs[event] = numbers.next()? as i8;
            self.event_counts[event] = as_count(numbers.next()?)?;
            self.thresholds[event] = numbers.next()?;
            *residual = numbers.next()?;
        }
        let steps = self.grid.step <= self.grid.steps;
        let signs = self.event_signs.iter().all(|sign| (-1..=1).contains(sign));
        let known = self.last_event.is_none_or(|(event, _)| event < self.residuals.len());
        let finite = self.residuals.iter().chain(&self.thresholds).all(|number| number.is_finite());
        (steps && signs && known && finite && self.step_size.proposal.is_finite() && self.step_size.proposal >= 0.0)
            .then_some(())
    }

    /// Whether the steps fit between two times.
    pub fn is_valid_between(&self, options: &Options, [from, to]: [f64; 2]) -> bool {
        let EqualSteps { steps, .. } = self.grid;
        options.adaptive() || steps == 0 || interval_steps(options, from, to).is_ok_and(|expected| expected == steps)
    }

    pub fn progress(&self, h: f64) -> Progress {
        Progress { t: self.t, h, steps: self.stats.accepted, evaluations: self.stats.evaluations }
    }

    /// Checks that times resolve all equal steps, before the first is taken.
    pub fn check(options: &Options, times: &[f64]) -> Result<()> {
        if options.adaptive() && times.first() != times.last() {
            return Ok(());
        }
        match options.interpolates(times) {
            true => interval_steps(options, times[0], times[times.len() - 1]).map(|_| ()),
            false => times.windows(2).try_for_each(|pair| interval_steps(options, pair[0], pair[1]).map(|_| ())),
        }
    }

    /// The next step to try, or the next recorded one in a replay. There must be one.
    pub fn next_step(&mut self, options: &Options, times: &[f64], recorded: Option<&[Step]>) -> Result<TrialStep> {
        if let Some(steps) = recorded {
            let (step, Step { t, h, to, end }) = (self.stats.accepted, steps[self.stats.accepted]);
            return Ok(TrialStep { span: Span { step, t, h, end: to }, end, proposed: None, grid: None });
        }
        if options.adaptive() { self.adaptive(options, times) } else { self.fixed(options, times) }
    }

    fn adaptive(&mut self, options: &Options, times: &[f64]) -> Result<TrialStep> {
        let last = times[times.len() - 1];
        let direction = (last - times[0]).signum();
        let (mut target, mut end) = match options.interpolates(times) {
            true => (last, StepEnd::Output(times.len() - 1)),
            false => (times[self.next_output], StepEnd::Output(self.next_output)),
        };
        if let Some(jump) = self.jumps.get(self.next_jump)
            && (jump.t - target) * direction <= 0.0
        {
            (target, end) = (jump.t, StepEnd::Jump);
        }
        let proposed = self.step_size.propose(options, self.t, direction, target);
        let span = Span { step: self.stats.accepted, t: self.t, h: proposed.h, end: proposed.end };
        if self.stats.accepted + self.stats.rejected == options.max_steps {
            return Err(Error::MaxSteps(self.progress(span.h)));
        }
        if span.h == 0.0 {
            return Err(Error::StepUnderflow {
                progress: self.progress(direction * self.step_size.proposal),
                minimum: 0.0,
            });
        }
        let end = if proposed.lands { end } else { StepEnd::Free };
        Ok(TrialStep { span, end, proposed: Some(proposed), grid: None })
    }

    fn fixed(&mut self, options: &Options, times: &[f64]) -> Result<TrialStep> {
        let interpolates = options.interpolates(times);
        let grid = &mut self.grid;
        if grid.step == grid.steps {
            // The next interval that is not empty.
            let mut from = if interpolates { 0 } else { self.next_output - 1 };
            let ends = |from: usize| {
                if interpolates { (times[0], times[times.len() - 1]) } else { (times[from], times[from + 1]) }
            };
            while ends(from).0 == ends(from).1 {
                from += 1;
            }
            let (start, end) = ends(from);
            *grid = EqualSteps { from, steps: interval_steps(options, start, end)?, step: 0 };
        }
        let EqualSteps { from, steps, step } = *grid;
        let (start, end) =
            if interpolates { (times[0], times[times.len() - 1]) } else { (times[from], times[from + 1]) };
        let interval = Interval { from: start, to: end, steps };
        let (h, to) = (interval.h(), interval.time(step + 1));
        let mut trial = TrialStep {
            span: Span { step: self.stats.accepted, t: self.t, h, end: to },
            end: StepEnd::Grid { from, step: step + 1 },
            proposed: None,
            grid: Some(to),
        };
        if self.t != interval.time(step) {
            // The rest of a step that a change cut.
            trial.span.h = to - self.t;
        }
        if let Some(jump) = self.jumps.get(self.next_jump)
            && (jump.t - to) * h.signum() <= 0.0
        {
            if jump.t != to {
                trial.span.h = jump.t - self.t;
                trial.span.end = jump.t;
            }
            trial.end = StepEnd::Jump;
        }
        Ok(trial)
    }

    /// The error test of an adaptive step: whether it is accepted, or an error where it cannot be shorter.
    pub fn test_error(
        &mut self,
        options: &Options,
        trial: &TrialStep,
        error: f64,
        factor: impl FnOnce(bool, ErrorHistory) -> f64,
    ) -> Result<bool> {
        let proposed = trial.proposed.expect("an adaptive step");
        let verdict = self.step_size.test_error(options, proposed, error, factor);
        self.stats.rejected += usize::from(verdict != ErrorTest::Accepted);
        if verdict == ErrorTest::Underflow {
            let progress = self.progress(proposed.h.signum() * self.step_size.proposal);
            let underflow = Error::StepUnderflow { progress, minimum: options.min_step };
            return Err(if error.is_nan() { Error::NonFinite(progress) } else { underflow });
        }
        Ok(verdict == ErrorTest::Accepted)
    }

    /// Rejects an accepted adaptive step, as something is not a number at its end; whether a shorter one may be tried.
    pub fn shorten(&mut self, options: &Options, trial: &TrialStep) -> bool {
        let Some(ProposedStep { h_min, .. }) = trial.proposed else { return false };
        self.stats.rejected += 1;
        self.step_size.revert(RETRY_FACTOR * trial.span.h.abs());
        self.step_size.proposal > h_min.max(options.min_step)
    }

    /// Accepts a step.
    pub fn accept(&mut self, trial: &TrialStep) {
        if self.stats.accepted == 0 {
            self.stats.first_step = trial.span.h;
        }
        self.stats.last_step = trial.span.h;
        self.stats.accepted += 1;
        self.t = trial.span.end;
        self.tau.clone_from(&self.next_tau);
        if trial.grid == Some(trial.span.end) {
            self.grid.step += 1;
        }
    }

    /// Whether all outputs are written.
    pub fn is_done(&self, times: &[f64]) -> bool {
        self.next_output == times.len()
    }
}

/// A saved number as a count, if it is one.
pub(super) fn as_count(number: f64) -> Option<usize> {
    const MAX_COUNT: f64 = (1_u64 << 53) as f64;
    ((0.0..=MAX_COUNT).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}
