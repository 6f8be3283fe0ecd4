//! The lengths of adaptive steps, of a batch that takes them together or of one trajectory.

use super::options::Options;
use crate::control::{Controller, ErrorHistory, Guess};

/// The shortest step that is proposed, in units in the last place of its time: with fewer, the stages of a step share times.
const LEAST_STEP: f64 = 10.0;

/// The shortest step that is proposed from a time.
pub(crate) fn resolvable(t: f64) -> f64 {
    LEAST_STEP * (t.abs().next_up() - t.abs())
}

/// How long the next step is to be, and what is remembered for the one after it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// The length of the next step that is tried, unsigned; zero where the first is not chosen yet.
    pub proposal: f64,
    /// The errors of the last steps, and what they were before the last was accepted.
    pub errors: ErrorHistory,
    earlier: ErrorHistory,
}

/// A first step that is tried to learn how long one may be (Hairer, Nørsett and Wanner I, II.4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstStep {
    pub guess: Guess,
    /// The first step is no longer than this.
    limit: f64,
    /// With its sign.
    pub h: f64,
    pub end: f64,
}

impl FirstStep {
    /// From t in that direction, with `interval` left to the last time.
    pub fn new(options: &Options, mut guess: Guess, t: f64, direction: f64, interval: f64) -> Self {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let limit = if torchdiffeq { f64::INFINITY } else { interval };
        guess.h = guess.h.min(limit);
        let h = direction * guess.h;
        let end = t + h;
        let end = if (end - t).abs() > interval && !torchdiffeq { t + direction * interval } else { end };
        Self { guess, limit, h, end }
    }

    /// The length of the first step, from what the one that was tried proposes.
    pub fn length(&self, proposed: f64) -> f64 {
        // A field that is not finite nearby: the error control finds how near.
        if proposed.is_finite() && proposed > 0.0 { proposed.min(self.limit) } else { self.guess.h }
    }
}

/// A step that is to be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposed {
    pub h: f64,
    pub end: f64,
    /// Whether its length was cut to end on a time.
    pub lands: bool,
    /// The shortest step from where it begins.
    pub least: f64,
}

/// What becomes of a step that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Rejected,
    /// Rejected, and none can be shorter.
    Ended,
}

impl Pace {
    pub fn from(proposal: f64) -> Self {
        Self { proposal, ..Self::default() }
    }

    /// The next step from t, in that direction, no further than to the target.
    pub fn propose(&mut self, options: &Options, t: f64, direction: f64, target: f64) -> Proposed {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let least = if torchdiffeq { options.min_step.max(resolvable(t)) } else { resolvable(t) };
        self.proposal = self.proposal.max(least).min(options.max_step);
        let slack = if torchdiffeq { 1.0 } else { 1.0 + 1e-10 };
        let passes = t + direction * self.proposal * slack;
        let lands = (passes - target) * direction > 0.0 || passes == target;
        // The step is what the times say it is: far from zero, t + h misses h by much, and always to the same side.
        let end = if lands { target } else { t + direction * self.proposal };
        Proposed { h: end - t, end, lands, least }
    }

    /// What follows from the error of a step; `factor` is by how much the next one may be longer, given whether this one is accepted and
    /// the errors before it.
    pub fn judge(
        &mut self,
        options: &Options,
        Proposed { h, lands, least, .. }: Proposed,
        error: f64,
        factor: impl FnOnce(bool, ErrorHistory) -> f64,
    ) -> Verdict {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let within = error <= 1.0;
        let wanted = h.abs() * factor(within, self.errors);
        let shortest = torchdiffeq && h.abs() <= options.min_step && !error.is_nan();
        if within || shortest {
            // A step cut to land says little about the size that the tolerance allows.
            let uncut = if torchdiffeq { 0.0 } else { self.proposal };
            self.proposal = if lands { wanted.max(uncut) } else { wanted };
            self.earlier = self.errors;
            self.errors.push(error);
            return Verdict::Accepted;
        }
        let ended = self.proposal <= least || h.abs() <= least || wanted < options.min_step;
        self.proposal = wanted;
        if ended { Verdict::Ended } else { Verdict::Rejected }
    }

    /// Goes back over a step that was accepted, for one of another length.
    pub fn back(&mut self, proposal: f64) {
        (self.proposal, self.errors) = (proposal, self.earlier);
    }
}
