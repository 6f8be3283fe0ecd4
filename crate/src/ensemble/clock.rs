//! When a trajectory takes its next step, and where that ends.

use super::changes::Due;
use super::track::Step;
use crate::control::{Controller, ErrorHistory};
use crate::error::{Error, Progress, Result};
use crate::solve::{Options, Stats, interval_steps, resolvable};
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
    /// The length of the next step that is tried, unsigned.
    pub proposal: f64,
    /// The next output, and the next jump.
    pub output: usize,
    pub due: Vec<Due>,
    pub jump: usize,
    pub stats: Stats,
    /// Whether f(t, x) is known.
    pub first_known: bool,
    grid: Grid,
    /// The errors of the last steps, and what they were before the last was accepted.
    errors: ErrorHistory,
    earlier: ErrorHistory,
    /// Of each event the side on which its function is: −1, 1, or 0 where it is not known.
    pub signs: Vec<i8>,
    /// How often each has happened.
    pub counts: Vec<usize>,
    /// Of a function that rests on its zero how far it may move before it counts.
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
    /// Whether its length was cut to end on a time.
    pub lands: bool,
    least: f64,
    /// The end of the equal step that it is a part of.
    grid: Option<f64>,
}

/// What becomes of a trajectory whose step was tried.
pub(super) enum Verdict {
    Accepted,
    Rejected,
    Failed(Error),
}

/// How much shorter a step is tried again where something is not a number.
const SHORTER: f64 = 0.25;

impl Clock {
    pub fn new(trajectory: usize, times: &[f64], due: Vec<Due>, events: usize, stats: Stats) -> Self {
        Self {
            trajectory,
            t: times[0],
            proposal: 0.0,
            output: 0,
            due,
            jump: 0,
            stats,
            first_known: false,
            grid: Grid::default(),
            errors: ErrorHistory::default(),
            earlier: ErrorHistory::default(),
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
        (self.first_known, self.sides_known) = (false, false);
        self.rest.fill(0.0);
    }

    /// Takes the sides on which the events' functions are, for those that are not at rest on their zeros.
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
            self.proposal,
            flag(self.first_known),
            flag(self.sides_known),
            flag(self.ended),
            event,
            t,
        ]);
        numbers.extend(self.errors.numbers());
        numbers.extend([self.grid.steps as f64, self.grid.step as f64]);
        for (event, residual) in self.residuals.iter().enumerate() {
            numbers.extend([f64::from(self.signs[event]), self.counts[event] as f64, self.rest[event], *residual]);
        }
    }

    /// Takes the same; nothing where there are too few.
    pub fn restore(&mut self, numbers: &mut impl Iterator<Item = f64>) -> Option<()> {
        self.t = numbers.next()?;
        self.proposal = numbers.next()?;
        self.first_known = numbers.next()? != 0.0;
        self.sides_known = numbers.next()? != 0.0;
        self.ended = numbers.next()? != 0.0;
        let (event, t) = (numbers.next()?, numbers.next()?);
        self.recent = (event >= 0.0).then_some((event as usize, t));
        self.errors = ErrorHistory::of([numbers.next()?, numbers.next()?]);
        self.grid = Grid { from: 0, steps: numbers.next()? as usize, step: numbers.next()? as usize };
        for (event, residual) in self.residuals.iter_mut().enumerate() {
            self.signs[event] = numbers.next()? as i8;
            self.counts[event] = numbers.next()? as usize;
            self.rest[event] = numbers.next()?;
            *residual = numbers.next()?;
        }
        let steps = self.grid.step <= self.grid.steps;
        let signs = self.signs.iter().all(|sign| (-1..=1).contains(sign));
        let known = self.recent.is_none_or(|(event, _)| event < self.residuals.len());
        let finite = self.residuals.iter().chain(&self.rest).all(|number| number.is_finite());
        (steps && signs && known && finite && self.proposal.is_finite() && self.proposal >= 0.0).then_some(())
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
            return Ok(Plan { span: Span { step, t, h, end: to }, end, lands: false, least: 0.0, grid: None });
        }
        if options.adaptive() { self.adaptive(options, times) } else { self.fixed(options, times) }
    }

    fn adaptive(&mut self, options: &Options, times: &[f64]) -> Result<Plan> {
        let Options { min_step, max_step, .. } = *options;
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let last = times[times.len() - 1];
        let direction = (last - times[0]).signum();
        let t = self.t;
        let least = if torchdiffeq { min_step.max(resolvable(t)) } else { resolvable(t) };
        self.proposal = self.proposal.max(least).min(max_step);
        let (mut target, mut end) = match options.interpolates(times) {
            true => (last, End::Output(times.len() - 1)),
            false => (times[self.output], End::Output(self.output)),
        };
        if let Some(due) = self.due.get(self.jump)
            && (due.t - target) * direction <= 0.0
        {
            (target, end) = (due.t, End::Jump);
        }
        let slack = if torchdiffeq { 1.0 } else { 1.0 + 1e-10 };
        let passes = if torchdiffeq { t + direction * self.proposal } else { t + direction * self.proposal * slack };
        let lands = (passes - target) * direction > 0.0 || passes == target;
        let to = if lands { target } else { t + direction * self.proposal };
        let span = Span { step: self.stats.accepted, t, h: to - t, end: to };
        if self.stats.accepted + self.stats.rejected == options.max_steps {
            return Err(Error::MaxSteps(self.progress(span.h)));
        }
        if span.h == 0.0 {
            return Err(Error::StepUnderflow { progress: self.progress(direction * self.proposal), minimum: 0.0 });
        }
        Ok(Plan { span, end: if lands { end } else { End::Free }, lands, least, grid: None })
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
        let h = (end - start) / steps as f64;
        let time = |step: usize| if step == steps { end } else { start + step as f64 * h };
        let (to, direction) = (time(step + 1), h.signum());
        let mut plan = Plan {
            span: Span { step: self.stats.accepted, t: self.t, h, end: to },
            end: End::Grid { from, step: step + 1 },
            lands: step + 1 == steps,
            least: 0.0,
            grid: Some(to),
        };
        if self.t != time(step) {
            // What is left of a step that was cut.
            plan.span.h = to - self.t;
        }
        if let Some(due) = self.due.get(self.jump)
            && (due.t - to) * direction <= 0.0
        {
            if due.t != to {
                plan.span.h = due.t - self.t;
                plan.span.end = due.t;
                plan.lands = false;
            }
            plan.end = End::Jump;
        }
        Ok(plan)
    }

    /// What follows from the error of an adaptive step.
    pub fn judge(
        &mut self,
        options: &Options,
        plan: &Plan,
        error: f64,
        factor: impl FnOnce(bool, ErrorHistory) -> f64,
    ) -> Verdict {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let h = plan.span.h;
        let within = error <= 1.0;
        let wanted = h.abs() * factor(within, self.errors);
        let shortest = torchdiffeq && h.abs() <= options.min_step && !error.is_nan();
        if within || shortest {
            // A step cut to land says little about the size that the tolerance allows.
            let uncut = if torchdiffeq { 0.0 } else { self.proposal };
            self.proposal = if plan.lands { wanted.max(uncut) } else { wanted };
            self.earlier = self.errors;
            self.errors.push(error);
            return Verdict::Accepted;
        }
        self.stats.rejected += 1;
        let ended = self.proposal <= plan.least || h.abs() <= plan.least || wanted < options.min_step;
        self.proposal = wanted;
        if !ended {
            return Verdict::Rejected;
        }
        let progress = self.progress(h.signum() * self.proposal);
        let underflow = Error::StepUnderflow { progress, minimum: options.min_step };
        Verdict::Failed(if error.is_nan() { Error::NonFinite(progress) } else { underflow })
    }

    /// Goes back over an adaptive step that was accepted, as something is not a number at its end; whether a shorter one may be tried.
    pub fn shorten(&mut self, options: &Options, plan: &Plan) -> bool {
        if !options.adaptive() {
            return false;
        }
        self.stats.rejected += 1;
        self.errors = self.earlier;
        self.proposal = SHORTER * plan.span.h.abs();
        self.proposal > plan.least.max(options.min_step)
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
