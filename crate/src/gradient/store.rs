//! What is kept of the steps of a solve: their states, their stage states, their tapes.

use super::budget::{NEVER, RetentionPlan, SMALL_CHUNK};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{CHUNK_BYTES, Chunks, Ledger, Purpose};
use crate::stepper::{KeptStage, Sink, Stage};

/// The states x_n, the states of stages, and tapes: of the last steps all, of earlier ones less.
pub(super) struct Store<T> {
    stages: usize,
    /// The plan's: the first step with stage states, and with tapes.
    pub stages_from: usize,
    pub tapes_from: usize,
    /// x_n of every step.
    pub states: Chunks<T>,
    /// X_2 … X_s of each step from `first_staged_step` on, and the tapes of all stages from `first_taped_step` on.
    stage_states: Chunks<T>,
    tapes: Chunks<T>,
    first_staged_step: usize,
    first_taped_step: usize,
}

impl<T: Real> Store<T> {
    /// A store for `steps` steps, if their number is known.
    pub fn new(
        ledger: &Ledger,
        stages: usize,
        len: usize,
        tape_len: usize,
        plan: RetentionPlan,
        steps: Option<usize>,
    ) -> Self {
        let chunks = |purpose, item, uses: usize, from: usize| {
            let expected = steps.map(|steps| steps.saturating_sub(from) * uses);
            Chunks::new(ledger, purpose, item, expected, if steps.is_some() { CHUNK_BYTES } else { SMALL_CHUNK })
        };
        Self {
            stages,
            stages_from: plan.stages_from,
            tapes_from: plan.tapes_from,
            states: chunks(Purpose::Checkpoints, len, 1, 0),
            stage_states: chunks(Purpose::Checkpoints, len, stages - 1, plan.stages_from),
            tapes: chunks(Purpose::Tape, tape_len, stages, plan.tapes_from),
            first_staged_step: plan.stages_from,
            first_taped_step: plan.tapes_from,
        }
    }

    pub fn bytes(&self) -> usize {
        self.states.bytes() + self.stage_states.bytes() + self.tapes.bytes()
    }

    /// The index in `stage_states` of the state of a stage other than the first, if that is kept.
    fn stage_state_index(&self, step: usize, stage: usize) -> Option<usize> {
        (step >= self.stages_from && stage > 0).then(|| (step - self.first_staged_step) * (self.stages - 1) + stage - 1)
    }

    fn tape_index(&self, step: usize, stage: usize) -> Option<usize> {
        (step >= self.tapes_from).then(|| (step - self.first_taped_step) * self.stages + stage)
    }

    /// Bytes to be allocated before a use can be kept.
    pub fn missing_bytes(&self, step: usize, stage: usize) -> usize {
        let stage_bytes = self.stage_state_index(step, stage).map_or(0, |index| self.stage_states.missing_bytes(index));
        stage_bytes + self.tape_index(step, stage).map_or(0, |index| self.tapes.missing_bytes(index))
    }

    /// Allocates what a stage takes, so that it can be kept.
    pub fn reserve(&mut self, step: usize, stage: usize) -> Result<()> {
        if let Some(index) = self.stage_state_index(step, stage) {
            self.stage_states.slot(index)?;
        }
        if let Some(index) = self.tape_index(step, stage) {
            self.tapes.slot(index)?;
        }
        Ok(())
    }

    /// Keeps a stage's state and returns the place of its tape, if these are kept.
    pub fn keep(&mut self, step: usize, stage: usize, x: &[T]) -> Result<Option<&mut [T]>> {
        if let Some(index) = self.stage_state_index(step, stage) {
            self.stage_states.slot(index)?.copy_from_slice(x);
        }
        self.tape_index(step, stage).map(|index| self.tapes.slot(index)).transpose()
    }

    /// Whether the stage states of a step are kept.
    pub fn has_stages(&self, step: usize) -> bool {
        step >= self.stages_from
    }

    /// X_i and its tape, where those are kept.
    pub fn stage(&self, step: usize, stage: usize) -> KeptStage<'_, T> {
        let x = self
            .stage_state_index(step, stage)
            .map_or_else(|| self.states.get(step), |index| self.stage_states.get(index));
        let before = match stage {
            0 => step.checked_sub(1).and_then(|before| self.tape_index(before, self.stages - 1)),
            _ => self.tape_index(step, stage - 1),
        };
        let [tape, next_tape] =
            [self.tape_index(step, stage), before].map(|index| index.map(|index| self.tapes.get(index)));
        KeptStage { x, tape, next_tape }
    }

    /// x_n, where it is kept.
    pub fn state(&self, step: usize) -> &[T] {
        self.states.get(step)
    }

    /// Keeps less of the steps before `step`, and less of `step` only if nothing else is left; false if only the x_n are left.
    pub fn shrink(&mut self, step: usize) -> bool {
        let next = |from: usize| if from < step { from + 1 } else { NEVER };
        if self.tapes_from != NEVER {
            self.drop_tapes_before(next(self.tapes_from));
        } else if self.stages_from != NEVER {
            self.drop_stages_before(next(self.stages_from));
        } else {
            return false;
        }
        true
    }

    /// Drops the tapes of the steps before `step`.
    pub fn drop_tapes_before(&mut self, step: usize) {
        self.tapes_from = step;
        match step {
            NEVER => self.tapes.clear(),
            _ => self.tapes.drop_before((step - self.first_taped_step) * self.stages),
        }
    }

    /// Drops the stage states of the steps before `step`.
    pub fn drop_stages_before(&mut self, step: usize) {
        self.stages_from = step;
        match step {
            NEVER => self.stage_states.clear(),
            _ => self.stage_states.drop_before((step - self.first_staged_step) * (self.stages - 1)),
        }
    }
}

impl<T: Real> Sink<T> for Store<T> {
    fn stage(&mut self, stage: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        self.keep(stage.step, stage.index, x)
    }
}
