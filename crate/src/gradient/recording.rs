//! The recording of a solve: as much of its steps as the gradient's plan or a memory budget asks for.

use super::budget::{Footprint, NEVER, RECORD, Recomputed, RetentionPlan, SMALL_CHUNK, States};
use super::checkpoints::{Checkpoints, Placement, next_placement};
use super::record::Record;
use super::store::Store;
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::solve::{Problem, Recorder, RetentionStats};
use crate::stepper::{Sink, Span, Stage};

/// The bytes of a recording that retains nothing of its steps: the places of the outputs, and x_N.
pub(super) fn permanent_bytes(outputs: usize, state: usize) -> usize {
    state.saturating_add(size_of::<usize>().saturating_mul(outputs))
}

/// What a solve retains for its gradients.
pub(super) enum Retention {
    Fixed(RetentionPlan),
    /// What makes the gradient fastest within this number of bytes.
    Budget(usize),
}

/// A solve, recorded.
pub(super) struct Recording<T> {
    pub plan: RetentionPlan,
    /// Stages of a step.
    stages: usize,
    pub tape_len: usize,
    /// Numbers in a state.
    pub len: usize,
    pub record: Record,
    pub store: Store<T>,
    pub checkpoints: Checkpoints<T>,
    /// x_N.
    pub end: Buffer<T>,
    budget: Option<Budget>,
    /// Steps accepted, and how many there will be, if that is known.
    steps: usize,
    expected: Option<usize>,
    /// The next placement of a checkpoint, if that is known.
    next_placement: Option<Placement>,
    ledger: Ledger,
}

/// A bound on the bytes of a solve and its gradients together.
struct Budget {
    bytes: usize,
    footprint: Footprint,
    /// Nothing is retained any more: steps are only counted, to report the least budget that would do.
    exceeded: bool,
    /// There was less memory than the budget, so the plan does not hold.
    short: bool,
}

impl<T: Real> Sink<T> for Recording<T> {
    fn stage(&mut self, stage: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        let Stage { step, index, .. } = stage;
        if self.expected.is_some_and(|steps| step >= steps) || !self.make_room(step, index) {
            return Ok(None);
        }
        loop {
            match self.store.reserve(step, index) {
                Err(Error::OutOfMemory { .. }) if self.shrink_budget() => {}
                done => break done?,
            }
        }
        self.store.keep(step, index, x)
    }
}

impl<T: Real> Recorder<T> for Recording<T> {
    fn expect(&mut self, steps: usize) -> Result<()> {
        if let Some(Budget { bytes, footprint, .. }) = &self.budget {
            let plan = footprint.plan(*bytes, steps, steps.saturating_mul(RECORD), RetentionPlan::TAPES);
            self.plan = plan.map_err(|least| Error::Budget { given: *bytes, least })?;
        }
        self.expected = Some(steps);
        self.record.expect(&self.ledger, steps);
        self.store = Store::new(&self.ledger, self.stages, self.len, self.tape_len, self.plan, Some(steps));
        if let States::Some(units) = self.plan.states {
            self.next_placement = next_placement(0, steps, steps, units);
        }
        Ok(())
    }

    fn accept(&mut self, span: Span, x: &[T], carry: &[T]) -> Result<()> {
        let step = self.steps;
        self.steps += 1;
        let record = self.record.missing_bytes();
        while !self.fits(record) {
            if !self.shrink(step) {
                self.exceed();
                break;
            }
        }
        if self.exceeded() {
            return Ok(());
        }
        self.record.push(span)?;
        if self.plan.states == States::All {
            let state = self.store.states.missing_bytes(step);
            while !self.fits(state) && self.plan.states == States::All {
                self.shrink(step);
            }
            if self.plan.states == States::All {
                return self.store.states.push(x);
            }
        }
        let States::Some(units) = self.plan.states else { unreachable!("not all") };
        if let Some(steps) = self.planned() {
            if self.checkpoints.place(step, self.next_placement, x, carry)? {
                self.next_placement = next_placement(step, steps, steps, self.checkpoints.remaining(units));
            }
        } else if step > 0 {
            let room = self.fits(2 * size_of_val(x));
            self.checkpoints.place_online(step, x, carry, room)?;
        }
        Ok(())
    }

    fn output(&mut self, output: usize, within: bool) {
        self.record.places[output] = self.steps - usize::from(within);
    }

    fn end(&mut self, x: &[T]) -> Result<()> {
        self.end.copy_from_slice(x);
        let Some(Budget { bytes, footprint, exceeded, short }) = self.budget else { return Ok(()) };
        if exceeded {
            let records = self.steps.next_multiple_of(SMALL_CHUNK / RECORD) * RECORD;
            let least = footprint.least(NEVER, records);
            // A budget that memory has cut short is nothing that the caller has given.
            return Err(match short {
                true => Error::OutOfMemory { bytes: least, purpose: Purpose::Checkpoints.name() },
                false => Error::Budget { given: bytes, least },
            });
        }
        if self.planned().is_none() {
            self.refine_plan(bytes, footprint);
        }
        Ok(())
    }
}

impl<T: Real> Recording<T> {
    /// `footprint` has the sizes that a budget is checked against.
    pub fn new(retention: &Retention, problem: &Problem<T>, footprint: Footprint) -> Result<Self> {
        let Problem { dynamics, times, start, ledger, .. } = problem;
        let (stages, len, tape_len) = (footprint.stages, start.len(), dynamics.tape_len());
        let record = Record::new(ledger, times.len())?;
        let end = Buffer::zeroed(ledger, Purpose::Checkpoints, len)?;
        let (plan, budget) = match retention {
            Retention::Fixed(plan) => (*plan, None),
            Retention::Budget(bytes) => {
                (RetentionPlan::TAPES, Some(Budget { bytes: *bytes, footprint, exceeded: false, short: false }))
            }
        };
        Ok(Self {
            plan,
            stages,
            tape_len,
            len,
            record,
            store: Store::new(ledger, stages, len, tape_len, plan, None),
            checkpoints: Checkpoints::new(ledger, len),
            end,
            budget,
            steps: 0,
            expected: None,
            next_placement: None,
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

    /// From here on, steps are only counted.
    fn exceed(&mut self) {
        if let Some(budget) = &mut self.budget {
            budget.exceeded = true;
        }
        self.record.clear();
    }

    /// The number of steps, where it was known and what to retain of them planned.
    fn planned(&self) -> Option<usize> {
        self.expected.filter(|_| !self.budget.as_ref().is_some_and(|budget| budget.short))
    }

    /// Whether this number of bytes may be retained in addition.
    fn fits(&self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        self.planned().is_some()
            || budget.footprint.left(budget.bytes, self.plan.recomputed()).is_some_and(|left| {
                let retained = self.record.bytes() + self.store.bytes() + self.checkpoints.bytes();
                retained + bytes <= left
            })
    }

    /// Makes room for what is kept of a stage; false if nothing is retained any more.
    fn make_room(&mut self, step: usize, stage: usize) -> bool {
        while !self.exceeded()
            && !self.fits(self.store.missing_bytes(step, stage))
            && self.store.missing_bytes(step, stage) > 0
        {
            self.shrink(self.steps);
        }
        !self.exceeded()
    }

    /// Retains less; false if only records are left.
    fn shrink(&mut self, step: usize) -> bool {
        if self.store.shrink(step) {
            (self.plan.stages_from, self.plan.tapes_from) = (self.store.stages_from, self.store.tapes_from);
            return true;
        }
        if self.plan.states == States::All {
            self.plan.states = States::Some(0);
            self.store.states.clear();
            return true;
        }
        self.checkpoints.shrink()
    }

    /// Lowers the budget if there is less memory than it allows; false if that does not help.
    fn shrink_budget(&mut self) -> bool {
        let Some(budget) = &mut self.budget else { return false };
        let live = self.ledger.live().total();
        budget.short = true;
        budget.bytes = budget.bytes.min(live - live / 16);
        self.shrink(self.steps)
    }

    /// Revises the plan once the number of steps is known: it may retain less, so that steps can be taped as a whole.
    fn refine_plan(&mut self, budget: usize, footprint: Footprint) {
        if let States::Some(_) = self.plan.states {
            let left = footprint.left(budget, Recomputed::Steps).unwrap_or(0);
            self.plan.states = States::Some(left.saturating_sub(self.record.bytes()) / footprint.state);
            return;
        }
        let Ok(plan) = footprint.plan(budget, self.steps, self.record.bytes(), self.plan) else { return };
        if !plan.step_tapes {
            return;
        }
        if self.store.tapes_from < plan.tapes_from {
            self.store.drop_tapes_before(plan.tapes_from);
        }
        if self.store.stages_from < plan.stages_from {
            self.store.drop_stages_before(plan.stages_from);
        }
        (self.plan.stages_from, self.plan.tapes_from) = (self.store.stages_from, self.store.tapes_from);
        self.plan.step_tapes = self.fits(footprint.step_tapes());
    }
}
