//! The sizes of adaptive steps, of a batch that takes them together or of one trajectory.

use super::options::Options;
use crate::control::{Controller, ErrorHistory, FirstStepGuess};

/// The shortest step that is proposed, in units in the last place of its time: in a shorter one, stages would share times.
const MIN_STEP_ULPS: f64 = 10.0;

/// The shortest step that is proposed from time t.
pub(crate) fn smallest_step(t: f64) -> f64 {
    MIN_STEP_ULPS * (t.abs().next_up() - t.abs())
}

/// The size of the next adaptive step, and the errors from which the controller chooses it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StepSize {
    /// The size of the next step to try, unsigned; zero while the first is not chosen yet.
    pub proposal: f64,
    /// The errors of the last accepted steps, and those before the last was accepted.
    pub errors: ErrorHistory,
    earlier: ErrorHistory,
}

/// The Euler step from which the size of the first step is chosen (Hairer, Nørsett and Wanner I, II.4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstStepTrial {
    pub guess: FirstStepGuess,
    /// The first step is no longer than this.
    limit: f64,
    /// With its sign.
    pub h: f64,
    pub end: f64,
}

impl FirstStepTrial {
    /// From t in that direction, with `interval` left to the last time.
    pub fn new(options: &Options, mut guess: FirstStepGuess, t: f64, direction: f64, interval: f64) -> Self {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let limit = if torchdiffeq { f64::INFINITY } else { interval };
        guess.h = guess.h.min(limit);
        let h = direction * guess.h;
        let end = t + h;
        let end = if (end - t).abs() > interval && !torchdiffeq { t + direction * interval } else { end };
        Self { guess, limit, h, end }
    }

    /// The size of the first step, from what the trial proposes.
    pub fn length(&self, proposed: f64) -> f64 {
        // A field that is not finite nearby: the error control finds how near.
        if proposed.is_finite() && proposed > 0.0 { proposed.min(self.limit) } else { self.guess.h }
    }
}

/// A step to be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProposedStep {
    pub h: f64,
    pub end: f64,
    /// Whether it was shortened to end on a time.
    pub lands: bool,
    /// The shortest step that its time resolves.
    pub h_min: f64,
}

/// The result of the error test of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorTest {
    Accepted,
    Rejected,
    /// Rejected, and none can be shorter.
    Underflow,
}

impl StepSize {
    pub fn from(proposal: f64) -> Self {
        Self { proposal, ..Self::default() }
    }

    /// The next step from t, in that direction, no further than to the target.
    pub fn propose(&mut self, options: &Options, t: f64, direction: f64, target: f64) -> ProposedStep {
        let torchdiffeq = options.controller == Controller::Torchdiffeq;
        let h_min = if torchdiffeq { options.min_step.max(smallest_step(t)) } else { smallest_step(t) };
        self.proposal = self.proposal.max(h_min).min(options.max_step);
        let slack = if torchdiffeq { 1.0 } else { 1.0 + 1e-10 };
        let passes = t + direction * self.proposal * slack;
        let lands = (passes - target) * direction > 0.0 || passes == target;
        // The step is what the times say it is: far from zero, t + h misses h by much, and always to the same side.
        let end = if lands { target } else { t + direction * self.proposal };
        ProposedStep { h: end - t, end, lands, h_min }
    }

    /// Accepts or rejects a step by its error, and chooses the size of the next. `factor` is the ratio of the two sizes, given whether
    /// the step is accepted and the errors before it.
    pub fn test_error(
        &mut self,
        options: &Options,
        ProposedStep { h, lands, h_min, .. }: ProposedStep,
        error: f64,
        factor: impl FnOnce(bool, ErrorHistory) -> f64,
    ) -> ErrorTest {
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
            return ErrorTest::Accepted;
        }
        let underflows = self.proposal <= h_min || h.abs() <= h_min || wanted < options.min_step;
        self.proposal = wanted;
        if underflows { ErrorTest::Underflow } else { ErrorTest::Rejected }
    }

    /// Reverts the acceptance of the last step, to try one of another size.
    pub fn revert(&mut self, proposal: f64) {
        (self.proposal, self.errors) = (proposal, self.earlier);
    }
}
