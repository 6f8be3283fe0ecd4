//! How much a solve retains of its steps, and what a memory budget allows.
//!
//! By uses of the network (forward 1, transpose from a tape 2) a step of s stages costs 3s where its tapes are retained, 4s
//! where its stage states are, 5s − 1 where only x_n is, and 4s where its tapes are then recomputed together.

/// What a solve retains of its steps: less of the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RetentionPlan {
    pub states: States,
    /// The first step whose stage states are retained, and the first whose tapes are as well.
    pub stages_from: usize,
    pub tapes_from: usize,
    /// Whether a step of which only x_n is retained is taped as a whole.
    pub step_tapes: bool,
    /// Whether nothing is retained and the whole solve taped before it is transposed.
    pub replay: bool,
}

/// The x_n that are retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum States {
    All,
    /// So many states at a time, a carry counting as one; the others are recomputed from the nearest before.
    Some(usize),
}

/// An index beyond every step: nothing is retained.
pub(super) const NEVER: usize = usize::MAX;

impl Recomputed {
    pub const ALL: [Recomputed; 3] = [Recomputed::Nothing, Recomputed::Stages, Recomputed::Steps];
}

impl RetentionPlan {
    pub const TAPES: RetentionPlan =
        RetentionPlan { states: States::All, stages_from: 0, tapes_from: 0, step_tapes: false, replay: false };
    pub const STATES: RetentionPlan = RetentionPlan { stages_from: NEVER, tapes_from: NEVER, ..RetentionPlan::TAPES };
    pub const STEP_TAPES: RetentionPlan = RetentionPlan { step_tapes: true, ..RetentionPlan::STATES };
    pub const REPLAY: RetentionPlan = RetentionPlan { states: States::Some(0), replay: true, ..RetentionPlan::STATES };

    /// What a sweep has to recompute.
    pub fn recomputed(&self) -> Recomputed {
        match self.states {
            _ if self.tapes_from == 0 || self.replay => Recomputed::Nothing,
            States::All => Recomputed::Stages,
            States::Some(_) => Recomputed::Steps,
        }
    }
}

/// The most that a sweep recomputes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recomputed {
    Nothing,
    /// The stages of a step from x_n.
    Stages,
    /// The steps from a checkpoint as well.
    Steps,
}

/// The sizes that memory follows from, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    /// The bytes of a state, and of the tape of one evaluation.
    pub state: usize,
    pub tape: usize,
    /// Stages of a step.
    pub stages: usize,
    /// What lives as long as the solve and its gradients: the packed network, x_0, x_N, the solution.
    pub permanent: usize,
    /// The workspace of the solve, and that of the sweep for each [`Recomputed`].
    pub forward: usize,
    pub backward: [usize; 3],
}

/// Bytes of a step's record.
pub(super) const RECORD: usize = 16;

/// Chunks where the number of steps is not known: so small that a small budget is not wasted.
pub(super) const SMALL_CHUNK: usize = 64 * RECORD;

impl Footprint {
    /// The bytes that are needed even if nothing is retained.
    fn needed(&self, recomputed: Recomputed) -> usize {
        self.permanent.saturating_add(self.forward.max(self.backward[recomputed as usize]))
    }

    /// The bytes that a budget leaves for retaining, records included; `None` if it is too small in any case.
    pub fn left(&self, budget: usize, recomputed: Recomputed) -> Option<usize> {
        budget.checked_sub(self.needed(recomputed))
    }

    /// The bytes of a step's tapes while they are recomputed together.
    pub fn step_tapes(&self) -> usize {
        self.stages.saturating_mul(self.tape)
    }

    /// The least budget that is enough for `steps` steps and their records.
    pub fn least(&self, steps: usize, records: usize) -> usize {
        let needed = |recomputed, step: usize| self.needed(recomputed).saturating_add(steps.saturating_mul(step));
        let taped = needed(Recomputed::Nothing, self.stages.saturating_mul(self.state.saturating_add(self.tape)));
        // For a step or two, their states take less than the way to them.
        let least = taped.min(needed(Recomputed::Stages, self.state)).min(needed(Recomputed::Steps, 0));
        least.saturating_add(records)
    }

    /// The cheapest plan that fits, for `steps` steps, and retains at most what `limit` does; `Err` is the least budget that is enough.
    pub fn plan(
        &self,
        budget: usize,
        steps: usize,
        records: usize,
        limit: RetentionPlan,
    ) -> Result<RetentionPlan, usize> {
        let rest = |recomputed, bytes: usize| self.left(budget, recomputed)?.checked_sub(records.saturating_add(bytes));
        let states = steps.saturating_mul(self.state);
        let (stage_states, tapes) = ((self.stages - 1) * self.state, self.step_tapes());
        let all = states.saturating_add(steps.saturating_mul(stage_states.saturating_add(tapes)));
        if limit.tapes_from == 0 && rest(Recomputed::Nothing, all).is_some() {
            return Ok(RetentionPlan::TAPES);
        }
        if let Some(rest) = rest(Recomputed::Stages, states) {
            // With bytes enough for one of each, the states of a step cost less for what they save than its tapes.
            let staged = how_many_fit(rest, stage_states).min(steps - limit.stages_from.min(steps));
            let taped = if staged == steps { how_many_fit(rest - staged * stage_states, tapes) } else { 0 };
            let taped = taped.min(steps - limit.tapes_from.min(steps));
            let single =
                RetentionPlan { stages_from: steps - staged, tapes_from: steps - taped, ..RetentionPlan::STATES };
            let together = rest.checked_sub(self.step_tapes()).map(|rest| {
                let taped =
                    how_many_fit(rest, stage_states.saturating_add(tapes)).min(steps - limit.tapes_from.min(steps));
                RetentionPlan { stages_from: steps - taped, tapes_from: steps - taped, ..RetentionPlan::STEP_TAPES }
            });
            let cheaper = together.filter(|plan| self.uses(plan, steps) < self.uses(&single, steps));
            return Ok(cheaper.unwrap_or(single));
        }
        let units = rest(Recomputed::Steps, 0).ok_or(self.least(steps, records))? / self.state;
        Ok(RetentionPlan { states: States::Some(units), ..RetentionPlan::STATES })
    }

    /// Uses of the network that a plan with all x_n takes.
    fn uses(&self, plan: &RetentionPlan, steps: usize) -> u64 {
        let [all, taped, staged, stages] =
            [steps, plan.tapes_from, plan.stages_from, self.stages].map(|count| count as u64);
        let bare = if plan.step_tapes { 4 * stages } else { 5 * stages - 1 };
        (all - taped) * 3 * stages + (taped - staged) * 4 * stages + staged * bare
    }
}

/// How often an item fits; one that needs nothing always does.
fn how_many_fit(bytes: usize, item: usize) -> usize {
    bytes.checked_div(item).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTPRINT: Footprint =
        Footprint { state: 100, tape: 1000, stages: 4, permanent: 777, forward: 1000, backward: [1050, 1450, 1650] };

    #[test]
    fn more_memory_never_costs_more() {
        let (steps, records) = (20, 20 * RECORD);
        let least = FOOTPRINT.least(steps, records);
        assert_eq!(FOOTPRINT.plan(least - 1, steps, records, RetentionPlan::TAPES), Err(least));
        let mut before = u64::MAX;
        let mut seen = Vec::new();
        for budget in least..least + 120_000 {
            let plan = FOOTPRINT.plan(budget, steps, records, RetentionPlan::TAPES).unwrap();
            let kind = (plan.states == States::All, plan.step_tapes, plan.tapes_from.min(1), plan.stages_from.min(1));
            if seen.last() != Some(&kind) {
                seen.push(kind);
            }
            if plan.states == States::All {
                let uses = FOOTPRINT.uses(&RetentionPlan { stages_from: plan.stages_from.min(steps), ..plan }, steps);
                assert!(uses <= before, "{budget}: {plan:?}");
                before = uses;
            }
        }
        assert_eq!(before, 3 * 4 * steps as u64);
        assert!(seen.len() > 3, "{seen:?}");
    }
}
