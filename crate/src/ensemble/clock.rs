//! When a trajectory takes its next step, and where that ends.

use super::changes::Due;
use crate::control::ErrorHistory;
use crate::error::{Error, Progress, Result};
use crate::solve::{ErrorTest, Interval, Options, ProposedStep, Stats, StepSize, interval_steps};
use crate::stepper::Span;

/// What the end of a step follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The step's own length.
    Free,
    /// An output time.
    Output(usize),
    /// The `step`-th of the equal steps between the output times from `from` on, or between the first and the last.
    Grid { from: usize, step: usize },
    /// The time of the trajectory's next jump.
    Jump,
    /// A zero of an event's function.
    Event,
}

/// The time and the next step of one trajectory.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub trajectory: usize,
    pub t: f64,
    /// Of adaptive steps.
    pub step_size: StepSize,
    /// The next output, and the next jump.
    pub output: usize,
    pub due: Vec<Due>,
    pub jump: usize,
    pub stats: Stats,
    /// Whether f(t, x) is known.
    pub first_slope_known: bool,
    grid: Grid,
    /// Of each event the side on which its function is: −1, 1, or 0 where it is not known.
    pub signs: Vec<i8>,
    /// How often each has happened.
    pub counts: Vec<usize>,
    /// Of a function that stands on its zero how far it may move before it counts.
    pub rest: Vec<f64>,
    /// The last that has happened, and when; and what all functions were there.
    pub recent: Option<(usize, f64)>,
    pub residuals: Vec<f64>,
    /// Whether an event has ended the trajectory.
    pub ended: bool,
    /// Whether the sides of the events' functions have been looked at.
    pub sides_known: bool,
    /// Where times move along directions, the rates of t, and of the end of the next step.
    pub tau: Vec<f64>,
    pub next_tau: Vec<f64>,
}

/// Equal steps between two times.
#[derive(Debug, Clone, Copy, Default)]
struct Grid {
    from: usize,
    steps: usize,
    step: usize,
}

/// A step that is to be tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub span: Span,
    pub end: End,
    /// What an adaptive step was proposed as.
    proposed: Option<ProposedStep>,
    /// The end of the equal step that it is a part of.
    grid: Option<f64>,
}

/// How much shorter a step is tried again where something is not a number.
const SHORTER: f64 = 0.25;

/// A step that was taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub t: f64,
    pub h: f64,
    /// t_{n+1}, which t + h may miss by rounding.
    pub to: f64,
    pub end: End,
}

impl Clock {
    pub fn new(trajectory: usize, times: &[f64], due: Vec<Due>, events: usize, stats: Stats) -> Self {
        Self {
            trajectory,
            t: times[0],
            step_size: StepSize::default(),
            output: 0,
            due,
            jump: 0,
            stats,
            first_slope_known: false,
            grid: Grid::default(),
            signs: vec![0; events],
            counts: vec![0; events],
            rest: vec![0.0; events],
            recent: None,
            residuals: vec![0.0; events],
            ended: false,
            sides_known: false,
            tau: vec![],
            next_tau: vec![],
        }
    }

    /// Goes on from where it stands, on the way between two times.
    pub fn resume(&mut self, times: &[f64], is_new: bool, blank: Stats) {
        self.stats = blank;
        // The first of the times has been handed out, unless it stands there.
        self.output = usize::from(self.t != times[0]);
        if is_new {
            self.grid = Grid::default();
        }
    }

    /// Nothing that was known of f and of the events' functions holds any longer.
    pub fn forget(&mut self) {
        (self.first_slope_known, self.sides_known) = (false, false);
        self.rest.fill(0.0);
    }

    /// Takes the sides on which the events' functions are, for those that have left their zeros.
    pub fn take_sides(&mut self, values: &[f64]) {
        for (event, &g) in values.iter().enumerate() {
            if g != 0.0 && g.abs() > self.rest[event] {
                (self.signs[event], self.rest[event]) = (if g < 0.0 { -1 } else { 1 }, 0.0);
            }
        }
    }

    /// What the function of an event was where it stands, if that is where an event was found, and the side that is known.
    pub fn found(&self, event: usize) -> Option<(f64, i8)> {
        let here = self.recent.is_some_and(|(_, t)| t == self.t);
        here.then(|| (self.residuals[event], self.signs[event]))
    }

    /// What it carries from call to call as numbers.
    pub fn save(&self, numbers: &mut Vec<f64>) {
        let flag = |flag: bool| f64::from(u8::from(flag));
        let (event, t) = self.recent.map_or((-1.0, 0.0), |(event, t)| (event as f64, t));
        numbers.extend([
            self.t,
            self.step_size.proposal,
            flag(self.first_slope_known),
            flag(self.sides_known),
            flag(self.ended),
            event,
            t,
        ]);
        numbers.extend(self.step_size.errors.numbers());
        numbers.extend([self.grid.steps as f64, self.grid.step as f64]);
        for (event, residual) in self.residuals.iter().enumerate() {
            numbers.extend([f64::from(self.signs[event]), self.counts[event] as f64, self.rest[event], *residual]);
        }
    }

    /// Takes the same; nothing where there are too few.
    pub fn restore(&mut self, numbers: &mut impl Iterator<Item = f64>) -> Option<()> {
        self.t = numbers.next()?;
        self.step_size.proposal = numbers.next()?;
        self.first_slope_known = numbers.next()? != 0.0;
        self.sides_known = numbers.next()? != 0.0;
        self.ended = numbers.next()? != 0.0;
        let (event, t) = (numbers.next()?, numbers.next()?);
        self.recent = if event >= 0.0 { Some((whole(event)?, t)) } else { None };
        self.step_size.errors = ErrorHistory::of([numbers.next()?, numbers.next()?]);
        self.grid = Grid { from: 0, steps: whole(numbers.next()?)?, step: whole(numbers.next()?)? };
        for (event, residual) in self.residuals.iter_mut().enumerate() {
            self.signs[event] = numbers.next()? as i8;
            self.counts[event] = whole(numbers.next()?)?;
            self.rest[event] = numbers.next()?;
            *residual = numbers.next()?;
        }
        let steps = self.grid.step <= self.grid.steps;
        let signs = self.signs.iter().all(|sign| (-1..=1).contains(sign));
        let known = self.recent.is_none_or(|(event, _)| event < self.residuals.len());
        let finite = self.residuals.iter().chain(&self.rest).all(|number| number.is_finite());
        (steps && signs && known && finite && self.step_size.proposal.is_finite() && self.step_size.proposal >= 0.0)
            .then_some(())
    }

    /// Whether it may stand as it does on the way between two times.
    pub fn fits(&self, options: &Options, [from, to]: [f64; 2]) -> bool {
        let Grid { steps, .. } = self.grid;
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

    /// The next step, or the next of those that are taken again; not to be called where the last time has been reached.
    pub fn plan(&mut self, options: &Options, times: &[f64], again: Option<&[Step]>) -> Result<Plan> {
        if let Some(steps) = again {
            let (step, Step { t, h, to, end }) = (self.stats.accepted, steps[self.stats.accepted]);
            return Ok(Plan { span: Span { step, t, h, end: to }, end, proposed: None, grid: None });
        }
        if options.adaptive() { self.adaptive(options, times) } else { self.fixed(options, times) }
    }

    fn adaptive(&mut self, options: &Options, times: &[f64]) -> Result<Plan> {
        let last = times[times.len() - 1];
        let direction = (last - times[0]).signum();
        let (mut target, mut end) = match options.interpolates(times) {
            true => (last, End::Output(times.len() - 1)),
            false => (times[self.output], End::Output(self.output)),
        };
        if let Some(due) = self.due.get(self.jump)
            && (due.t - target) * direction <= 0.0
        {
            (target, end) = (due.t, End::Jump);
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
        let end = if proposed.lands { end } else { End::Free };
        Ok(Plan { span, end, proposed: Some(proposed), grid: None })
    }

    fn fixed(&mut self, options: &Options, times: &[f64]) -> Result<Plan> {
        let interpolates = options.interpolates(times);
        let grid = &mut self.grid;
        if grid.step == grid.steps {
            // The next interval that is one.
            let mut from = if interpolates { 0 } else { self.output - 1 };
            let ends = |from: usize| {
                if interpolates { (times[0], times[times.len() - 1]) } else { (times[from], times[from + 1]) }
            };
            while ends(from).0 == ends(from).1 {
                from += 1;
            }
            let (start, end) = ends(from);
            *grid = Grid { from, steps: interval_steps(options, start, end)?, step: 0 };
        }
        let Grid { from, steps, step } = *grid;
        let (start, end) =
            if interpolates { (times[0], times[times.len() - 1]) } else { (times[from], times[from + 1]) };
        let interval = Interval { from: start, to: end, steps };
        let (h, to) = (interval.h(), interval.time(step + 1));
        let mut plan = Plan {
            span: Span { step: self.stats.accepted, t: self.t, h, end: to },
            end: End::Grid { from, step: step + 1 },
            proposed: None,
            grid: Some(to),
        };
        if self.t != interval.time(step) {
            // What is left of a step that was cut.
            plan.span.h = to - self.t;
        }
        if let Some(due) = self.due.get(self.jump)
            && (due.t - to) * h.signum() <= 0.0
        {
            if due.t != to {
                plan.span.h = due.t - self.t;
                plan.span.end = due.t;
            }
            plan.end = End::Jump;
        }
        Ok(plan)
    }

    /// What follows from the error of an adaptive step: whether it is accepted, or an error where none can be shorter.
    pub fn test_error(
        &mut self,
        options: &Options,
        plan: &Plan,
        error: f64,
        factor: impl FnOnce(bool, ErrorHistory) -> f64,
    ) -> Result<bool> {
        let proposed = plan.proposed.expect("an adaptive step");
        let verdict = self.step_size.test_error(options, proposed, error, factor);
        self.stats.rejected += usize::from(verdict != ErrorTest::Accepted);
        if verdict == ErrorTest::Underflow {
            let progress = self.progress(proposed.h.signum() * self.step_size.proposal);
            let underflow = Error::StepUnderflow { progress, minimum: options.min_step };
            return Err(if error.is_nan() { Error::NonFinite(progress) } else { underflow });
        }
        Ok(verdict == ErrorTest::Accepted)
    }

    /// Goes back over an adaptive step that was accepted, as something is not a number at its end; whether a shorter one may be tried.
    pub fn shorten(&mut self, options: &Options, plan: &Plan) -> bool {
        let Some(ProposedStep { h_min, .. }) = plan.proposed else { return false };
        self.stats.rejected += 1;
        self.step_size.revert(SHORTER * plan.span.h.abs());
        self.step_size.proposal > h_min.max(options.min_step)
    }

    /// Takes a step.
    pub fn take(&mut self, plan: &Plan) {
        if self.stats.accepted == 0 {
            self.stats.first_step = plan.span.h;
        }
        self.stats.last_step = plan.span.h;
        self.stats.accepted += 1;
        self.t = plan.span.end;
        self.tau.clone_from(&self.next_tau);
        if plan.grid == Some(plan.span.end) {
            self.grid.step += 1;
        }
    }

    /// Whether there are further steps to take.
    pub fn done(&self, times: &[f64]) -> bool {
        self.output == times.len()
    }
}

/// A number that counts something, from those that were saved.
pub(super) fn whole(number: f64) -> Option<usize> {
    const MOST: f64 = (1_u64 << 53) as f64;
    ((0.0..=MOST).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}
