//! What a solve retains for its exact gradients.

use super::checkpoints::{Checkpoints, Place, next_place};
use super::plan::{NEVER, Plan, RECORD, Recomputed, Sizes, States};
use super::swept::RetentionStats;
use crate::error::{Error, Result};
use crate::field::Dynamics;
use crate::kernel::real::Real;
use crate::kernel::vector::accumulate;
use crate::memory::{Buffer, CHUNK_BYTES, Chunks, Ledger, Purpose};
use crate::solve::{Problem, Recorder};
use crate::step::{Span, increment, stage_state};
use crate::tableau::Tableau;

/// What a gradient retains.
pub(super) enum Retention {
    Fixed(Plan),
    /// As much as makes it fastest within so many bytes.
    Budget(usize),
}

/// The states at which a field was used, and the tapes of those uses.
pub(super) struct Kept<T> {
    stages: usize,
    /// The plan's: the first step with stage states, and with tapes.
    stages_from: usize,
    tapes_from: usize,
    /// x_n of every step.
    states: Chunks<T>,
    /// X_2 … X_s of each step from `first_extra` on, and the tapes of all stages from `first_tape` on.
    extras: Chunks<T>,
    tapes: Chunks<T>,
    first_extra: usize,
    first_tape: usize,
}

impl<T: Real> Kept<T> {
    /// For so many steps, if that is known.
    fn new(ledger: &Ledger, stages: usize, len: usize, tape_len: usize, plan: Plan, steps: Option<usize>) -> Self {
        let chunks = |purpose, item, uses: usize, from: usize| {
            let expected = steps.map(|steps| steps.saturating_sub(from) * uses);
            Chunks::new(ledger, purpose, item, expected, if steps.is_some() { CHUNK_BYTES } else { SMALL_CHUNK })
        };
        Self {
            stages,
            stages_from: plan.stages_from,
            tapes_from: plan.tapes_from,
            states: chunks(Purpose::Checkpoints, len, 1, 0),
            extras: chunks(Purpose::Checkpoints, len, stages - 1, plan.stages_from),
            tapes: chunks(Purpose::Tape, tape_len, stages, plan.tapes_from),
            first_extra: plan.stages_from,
            first_tape: plan.tapes_from,
        }
    }

    fn bytes(&self) -> usize {
        self.states.bytes() + self.extras.bytes() + self.tapes.bytes()
    }

    /// Where in `extras` the state of a stage but the first is, if that is kept.
    fn extra(&self, step: usize, stage: usize) -> Option<usize> {
        (step >= self.stages_from && stage > 0).then(|| (step - self.first_extra) * (self.stages - 1) + stage - 1)
    }

    fn tape(&self, step: usize, stage: usize) -> Option<usize> {
        (step >= self.tapes_from).then(|| (step - self.first_tape) * self.stages + stage)
    }

    /// Bytes to be allocated before a use can be kept.
    fn lacks(&self, step: usize, stage: usize) -> usize {
        let extra = self.extra(step, stage).map_or(0, |index| self.extras.lacks(index));
        extra + self.tape(step, stage).map_or(0, |index| self.tapes.lacks(index))
    }

    /// Evaluates, keeping what is to be kept.
    fn evaluate(
        &mut self,
        dynamics: &mut dyn Dynamics<T>,
        (step, stage): (usize, usize),
        t: f64,
        x: &[T],
        k: &mut [T],
    ) -> Result<()> {
        if let Some(index) = self.extra(step, stage) {
            self.extras.slot(index)?.copy_from_slice(x);
        }
        let tape = self.tape(step, stage).map(|index| self.tapes.slot(index)).transpose()?;
        dynamics.evaluate(t, x, tape, k)
    }

    /// Whether the stage states of a step are kept.
    pub fn has_stages(&self, step: usize) -> bool {
        step >= self.stages_from
    }

    /// X_i and its tape, where those are kept.
    pub fn stage(&self, step: usize, stage: usize) -> (&[T], Option<&[T]>) {
        let x = self.extra(step, stage).map_or_else(|| self.states.get(step), |index| self.extras.get(index));
        (x, self.tape(step, stage).map(|index| self.tapes.get(index)))
    }

    /// x_n, where it is kept.
    pub fn state(&self, step: usize) -> &[T] {
        self.states.get(step)
    }

    /// Keeps less of the steps before `step`, and of that one only if there is nothing else; false where nothing is left to
    /// give up but the x_n.
    fn shrink(&mut self, step: usize) -> bool {
        let next = |from: usize| if from < step { from + 1 } else { NEVER };
        if self.tapes_from != NEVER {
            self.tape_from(next(self.tapes_from));
        } else if self.stages_from != NEVER {
            self.stage_from(next(self.stages_from));
        } else {
            return false;
        }
        true
    }

    /// Gives up the tapes of the steps before `step`.
    fn tape_from(&mut self, step: usize) {
        self.tapes_from = step;
        match step {
            NEVER => self.tapes.clear(),
            _ => self.tapes.give_up((step - self.first_tape) * self.stages),
        }
    }

    /// Gives up the stage states of the steps before `step`.
    fn stage_from(&mut self, step: usize) {
        self.stages_from = step;
        match step {
            NEVER => self.extras.clear(),
            _ => self.extras.give_up((step - self.first_extra) * (self.stages - 1)),
        }
    }
}

/// The record of a solve.
pub(super) struct Tracks<T> {
    pub plan: Plan,
    pub method: &'static Tableau,
    pub tape_len: usize,
    /// Numbers in a state.
    pub len: usize,
    pub records: Records,
    /// For each output the number of steps before it, or the step that it lies in.
    pub places: Buffer<usize>,
    pub kept: Kept<T>,
    pub checkpoints: Checkpoints<T>,
    /// x_N.
    pub end: Buffer<T>,
    budget: Option<Budget>,
    /// Steps accepted, and how many there will be, if that is known.
    steps: usize,
    expected: Option<usize>,
    /// Where the next checkpoint belongs, if that is known.
    next: Option<Place>,
    /// Whether the first slope of the step that is tried has been asked for, and of the one after.
    have_first: bool,
    have_next: bool,
    ledger: Ledger,
}

/// (t_n, h_n) of the accepted steps.
pub(super) struct Records(Chunks<f64>);

impl Records {
    /// How many steps there are.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    pub fn step(&self, step: usize) -> (f64, f64) {
        (self.0.get(step)[0], self.0.get(step)[1])
    }

    pub fn span(&self, step: usize, last_time: f64) -> Span {
        let (t, h) = self.step(step);
        let end = if step + 1 < self.count() { self.step(step + 1).0 } else { last_time };
        Span { t, h, end }
    }
}

/// A bound on the bytes of a solve and its gradients together.
struct Budget {
    bytes: usize,
    sizes: Sizes,
    /// Nothing is retained any more: the steps are counted, to tell what would do.
    exceeded: bool,
    /// There was less memory than the budget: what was planned cannot be.
    short: bool,
}

/// Chunks where the number of steps is not known: so small that a small budget is not wasted.
const SMALL_CHUNK: usize = 64 * RECORD;

impl<T: Real> Recorder<T> for Tracks<T> {
    fn expect(&mut self, steps: usize) -> Result<()> {
        if let Some(Budget { bytes, sizes, .. }) = &self.budget {
            let plan = sizes.plan(*bytes, steps, steps.saturating_mul(RECORD), Plan::TAPES);
            self.plan = plan.map_err(|least| Error::Budget { given: *bytes, least })?;
        }
        self.expected = Some(steps);
        self.records = Records(Chunks::new(&self.ledger, Purpose::Records, 2, Some(steps), CHUNK_BYTES));
        let stages = self.method.gradient_stages();
        self.kept = Kept::new(&self.ledger, stages, self.len, self.tape_len, self.plan, Some(steps));
        if let States::Some(units) = self.plan.states {
            self.next = next_place(0, steps, steps, units);
        }
        Ok(())
    }

    fn evaluate(&mut self, dynamics: &mut dyn Dynamics<T>, slope: usize, t: f64, x: &[T], k: &mut [T]) -> Result<()> {
        let stages = self.method.gradient_stages();
        // f(x_{n+1}), asked for after the step was accepted, is already the next step's first.
        let accepted = slope == stages && !self.have_first;
        let step = if accepted { self.steps } else { self.steps + slope / stages };
        let stage = slope % stages;
        self.have_first |= step == self.steps && stage == 0;
        self.have_next |= step > self.steps;
        if self.expected.is_some_and(|steps| step >= steps) || !self.make_room(step, stage) {
            return dynamics.evaluate(t, x, None, k);
        }
        loop {
            match self.kept.evaluate(dynamics, (step, stage), t, x, k) {
                Err(Error::OutOfMemory { .. }) if self.economise() => {}
                done => return done,
            }
        }
    }

    fn accept(&mut self, span: Span, x: &[T], carry: &[T]) -> Result<()> {
        let step = self.steps;
        self.steps += 1;
        (self.have_first, self.have_next) = (self.have_next, false);
        let record = self.records.0.lacks(step);
        while !self.fits(record) {
            if !self.shrink(step) {
                self.exceed();
                break;
            }
        }
        if self.exceeded() {
            return Ok(());
        }
        self.records.0.push(&[span.t, span.h])?;
        if self.plan.states == States::All {
            let state = self.kept.states.lacks(step);
            while !self.fits(state) && self.plan.states == States::All {
                self.shrink(step);
            }
            if self.plan.states == States::All {
                return self.kept.states.push(x);
            }
        }
        let States::Some(units) = self.plan.states else { unreachable!("not all") };
        if let Some(steps) = self.planned() {
            if self.checkpoints.place(step, self.next, x, carry)? {
                self.next = next_place(step, steps, steps, self.checkpoints.spare(units));
            }
        } else if step > 0 {
            let room = self.fits(2 * size_of_val(x));
            self.checkpoints.follow(step, x, carry, room)?;
        }
        Ok(())
    }

    fn output(&mut self, output: usize, inside: bool) {
        self.places[output] = self.steps - usize::from(inside);
    }

    fn end(&mut self, x: &[T]) -> Result<()> {
        self.end.copy_from_slice(x);
        let Some(Budget { bytes, sizes, exceeded, short }) = self.budget else { return Ok(()) };
        if exceeded {
            let records = self.steps.next_multiple_of(SMALL_CHUNK / RECORD) * RECORD;
            let least = sizes.least(NEVER, records);
            // A budget that memory has cut short is nothing that the caller has given.
            return Err(match short {
                true => Error::OutOfMemory { bytes: least, purpose: Purpose::Checkpoints.name() },
                false => Error::Budget { given: bytes, least },
            });
        }
        if self.planned().is_none() {
            self.settle(bytes, sizes);
        }
        Ok(())
    }
}

impl<T: Real> Tracks<T> {
    pub fn new(retention: &Retention, problem: &Problem<T>) -> Result<Self> {
        let Problem { dynamics, options, times, start, ledger, batch, state, .. } = problem;
        let (method, len, tape_len) = (options.method, start.len(), dynamics.tape_len());
        let places = Buffer::zeroed(ledger, Purpose::Records, times.len())?;
        let end = Buffer::zeroed(ledger, Purpose::Checkpoints, len)?;
        let plan = match retention {
            Retention::Fixed(plan) => *plan,
            Retention::Budget(_) => Plan::TAPES,
        };
        let number = size_of::<T>();
        let sizes = Sizes {
            state: len * number,
            tape: tape_len * number,
            parameters: dynamics.parameters() * number,
            stages: method.gradient_stages(),
            outputs: times.len(),
            permanent: ledger.live().total().saturating_add((batch * state * number).saturating_mul(times.len())),
        };
        let budget = match retention {
            Retention::Fixed(_) => None,
            Retention::Budget(bytes) => Some(Budget { bytes: *bytes, sizes, exceeded: false, short: false }),
        };
        Ok(Self {
            plan,
            method,
            tape_len,
            len,
            records: Records(Chunks::new(ledger, Purpose::Records, 2, None, SMALL_CHUNK)),
            places,
            kept: Kept::new(ledger, method.gradient_stages(), len, tape_len, plan, None),
            checkpoints: Checkpoints::new(ledger, len),
            end,
            budget,
            steps: 0,
            expected: None,
            next: None,
            have_first: false,
            have_next: false,
            ledger: ledger.clone(),
        })
    }

    pub fn stats(&self) -> RetentionStats {
        let (taped, staged) = (self.plan.tapes_from.min(self.steps), self.plan.stages_from.min(self.steps));
        let (states, checkpoints) = match self.plan.states {
            States::All => (staged, 0),
            States::Some(units) => (0, units),
        };
        RetentionStats {
            tapes: self.steps - taped,
            stages: taped.saturating_sub(staged),
            states,
            checkpoints,
            step_tapes: self.plan.step_tapes && states > 0,
        }
    }

    fn exceeded(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.exceeded)
    }

    /// From here on steps are only counted.
    fn exceed(&mut self) {
        if let Some(budget) = &mut self.budget {
            budget.exceeded = true;
        }
        self.records.0.clear();
    }

    /// The number of steps, where it was known and what to retain of them planned.
    fn planned(&self) -> Option<usize> {
        self.expected.filter(|_| !self.budget.as_ref().is_some_and(|budget| budget.short))
    }

    /// Whether so many more bytes may be retained.
    fn fits(&self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        self.planned().is_some()
            || budget.sizes.left(budget.bytes, self.plan.recomputed()).is_some_and(|left| {
                let retained = self.records.0.bytes() + self.kept.bytes() + self.checkpoints.bytes();
                retained + bytes <= left
            })
    }

    /// Sees to it that a use may be kept, as far as it is to be; false where nothing is retained any more.
    fn make_room(&mut self, step: usize, stage: usize) -> bool {
        while !self.exceeded() && !self.fits(self.kept.lacks(step, stage)) && self.kept.lacks(step, stage) > 0 {
            self.shrink(self.steps);
        }
        !self.exceeded()
    }

    /// Retains less; false where there is nothing left but records.
    fn shrink(&mut self, step: usize) -> bool {
        if self.kept.shrink(step) {
            (self.plan.stages_from, self.plan.tapes_from) = (self.kept.stages_from, self.kept.tapes_from);
            return true;
        }
        if self.plan.states == States::All {
            self.plan.states = States::Some(0);
            self.kept.states.clear();
            return true;
        }
        self.checkpoints.shrink()
    }

    /// There is less memory than the budget: makes do with a little less than what there was. False where that is no help.
    fn economise(&mut self) -> bool {
        let Some(budget) = &mut self.budget else { return false };
        let live = self.ledger.live().total();
        budget.short = true;
        budget.bytes = budget.bytes.min(live - live / 16);
        self.shrink(self.steps)
    }

    /// Once the number of steps is known: perhaps less should be kept, so that steps can be taped as a whole.
    fn settle(&mut self, budget: usize, sizes: Sizes) {
        if let States::Some(_) = self.plan.states {
            let left = sizes.left(budget, Recomputed::Steps).unwrap_or(0);
            self.plan.states = States::Some(left.saturating_sub(self.records.0.bytes()) / sizes.state);
            return;
        }
        let Ok(plan) = sizes.plan(budget, self.steps, self.records.0.bytes(), self.plan) else { return };
        if !plan.step_tapes {
            return;
        }
        if self.kept.tapes_from < plan.tapes_from {
            self.kept.tape_from(plan.tapes_from);
        }
        if self.kept.stages_from < plan.stages_from {
            self.kept.stage_from(plan.stages_from);
        }
        (self.plan.stages_from, self.plan.tapes_from) = (self.kept.stages_from, self.kept.tapes_from);
        self.plan.step_tapes = self.fits(sizes.step_tapes());
    }

    /// Runs the recorded steps again from x_0, taping all of their uses.
    pub fn replay(&self, problem: &mut Problem<T>) -> Result<Kept<T>> {
        let Problem { dynamics, options, times, ledger, start, .. } = problem;
        let (method, len) = (self.method, self.len);
        let stages = method.gradient_stages();
        let mut kept = Kept::new(ledger, stages, len, self.tape_len, Plan::TAPES, Some(self.steps));
        let mut x = Buffer::copied(ledger, Purpose::Workspace, start)?;
        let mut carry = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut scratch = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
        for step in 0..self.steps {
            kept.states.push(&x)?;
            let span = self.records.span(step, times[times.len() - 1]);
            for stage in 0..stages {
                stage_state(method, stage, span.h, &x, &slopes, &mut scratch);
                let k = &mut slopes[stage * len..(stage + 1) * len];
                kept.evaluate(&mut **dynamics, (step, stage), span.stage_time(method, stage), &scratch, k)?;
            }
            increment(method, span.h, &slopes, &mut scratch);
            accumulate(options.summation.of_state(), &mut x, &mut carry, &scratch);
        }
        Ok(kept)
    }
}
