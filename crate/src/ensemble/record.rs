//! The record of a leaf's solve, for its gradient: its steps, jumps and events, and the state before each.

use super::problem::Problem;
use super::solver_state::{Step, StepEnd, TrialStep};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, CHUNK_BYTES, Chunks, List, Purpose};

/// A change of the state between steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateChange {
    /// The number of steps before it.
    pub steps: usize,
    pub kind: ChangeKind,
    /// The index of the state before it.
    pub state: usize,
    /// The index of the change before it of the same trajectory.
    previous: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Jump {
        jump: usize,
        occurrence: usize,
    },
    /// `root`: whether the step ends on the root of this event, not only on that of another.
    Event {
        event: usize,
        root: bool,
    },
}

const NONE: usize = usize::MAX;

/// A position in the record of a trajectory, which is read from the last step to the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub steps: usize,
    step: usize,
    change: usize,
}

/// The steps and changes of a leaf's trajectories.
pub(super) struct LeafRecord<T> {
    /// States before steps and changes.
    pub states: Chunks<T>,
    /// t, h, t_{n+1}, the kind of end and its number, the index of the state, that of the step before.
    steps: Chunks<f64>,
    changes: List<StateChange>,
    /// The last position of each trajectory of the leaf.
    cursors: Vec<Cursor>,
    /// The position of each output: twice the number of steps before it, plus one within a step.
    pub places: Vec<List<usize>>,
    /// x_N of each trajectory.
    pub end_states: Buffer<T>,
    state: usize,
}

impl<T: Real> LeafRecord<T> {
    const STEP_LEN: usize = 7;

    pub fn new(problem: &Problem<T>, trajectories: usize) -> Result<Self> {
        let ledger = &problem.ledger;
        let cursor = Cursor { steps: 0, step: NONE, change: NONE };
        Ok(Self {
            states: Chunks::new(ledger, Purpose::Checkpoints, problem.state, None, CHUNK_BYTES),
            steps: Chunks::new(ledger, Purpose::Records, Self::STEP_LEN, None, CHUNK_BYTES),
            changes: List::new(ledger, Purpose::Records),
            cursors: vec![cursor; trajectories],
            places: (0..trajectories).map(|_| List::new(ledger, Purpose::Records)).collect(),
            end_states: Buffer::zeroed(ledger, Purpose::Checkpoints, trajectories * problem.state)?,
            state: problem.state,
        })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let lists = self.changes.bytes() + self.places.iter().map(List::bytes).sum::<usize>();
        self.states.bytes() + self.steps.bytes() + size_of_val(&*self.end_states) + lists
    }

    /// The bytes of a leaf's record, from the numbers of steps, changes and outputs of its trajectories.
    pub fn bytes_of(problem: &Problem<T>, counts: impl ExactSizeIterator<Item = [usize; 3]>) -> Result<usize> {
        let trajectories = counts.len();
        let empty = Self::new(problem, 0)?;
        let (mut steps, mut changes, mut places) = (0, 0, 0);
        for [own_steps, own_changes, outputs] in counts {
            steps += own_steps;
            changes += own_changes;
            places += List::<usize>::bytes_of(outputs);
        }
        let states = empty.states.bytes_of(steps + changes) + trajectories * problem.state * size_of::<T>();
        Ok(states + empty.steps.bytes_of(steps) + List::<StateChange>::bytes_of(changes) + places)
    }

    /// Keeps the state of a lane; its index.
    #[inline(never)]
    fn push_state(&mut self, x: &[T], width: usize, lane: usize) -> Result<usize> {
        let index = self.states.count();
        let to = self.states.slot(index)?;
        for (row, to) in to.iter_mut().enumerate() {
            *to = x[row * width + lane];
        }
        Ok(index)
    }

    /// Records a step from the state of a lane.
    pub fn push_step(
        &mut self,
        trajectory: usize,
        trial: &TrialStep,
        x: &[T],
        width: usize,
        lane: usize,
    ) -> Result<()> {
        let state = self.push_state(x, width, lane)?;
        let index = self.steps.count();
        let (kind, number) = match trial.end {
            StepEnd::Free => (0, 0),
            StepEnd::Output(output) => (1, output),
            StepEnd::Jump => (2, 0),
            StepEnd::Event => (3, 0),
            StepEnd::Grid { from, step } => (4 + step, from),
        };
        let cursor = &mut self.cursors[trajectory];
        let numbers = [kind, number, state, cursor.step].map(|number| number as f64);
        let [kind, number, state, previous] = numbers;
        self.steps.push(&[trial.span.t, trial.span.h, trial.span.end, kind, number, state, previous])?;
        (cursor.step, cursor.steps) = (index, cursor.steps + 1);
        Ok(())
    }

    /// Records a change of the state, given the state before it.
    pub fn push_change(&mut self, trajectory: usize, kind: ChangeKind, x: &[T]) -> Result<()> {
        let state = self.push_state(x, 1, 0)?;
        let cursor = &mut self.cursors[trajectory];
        self.changes.push(StateChange { steps: cursor.steps, kind, state, previous: cursor.change })?;
        cursor.change = self.changes.len() - 1;
        Ok(())
    }

    pub fn finish(&mut self, trajectory: usize, x: &[T], width: usize, lane: usize) {
        let to = &mut self.end_states[trajectory * self.state..(trajectory + 1) * self.state];
        for (row, to) in to.iter_mut().enumerate() {
            *to = x[row * width + lane];
        }
    }

    pub fn cursor(&self, trajectory: usize) -> Cursor {
        self.cursors[trajectory]
    }

    /// The last step, and the index of the state before it; moves the cursor before it.
    #[inline(never)]
    pub fn pop_step(&self, cursor: &mut Cursor) -> (Step, usize) {
        let &[t, h, to, kind, number, state, previous] = self.steps.get(cursor.step) else {
            unreachable!("seven numbers")
        };
        let [kind, number, state] = [kind, number, state].map(|number| number as usize);
        let end = match kind {
            0 => StepEnd::Free,
            1 => StepEnd::Output(number),
            2 => StepEnd::Jump,
            3 => StepEnd::Event,
            step => StepEnd::Grid { from: number, step: step - 4 },
        };
        cursor.step = previous as usize;
        cursor.steps -= 1;
        (Step { t, h, to, end }, state)
    }

    /// Whether a change comes after all steps.
    pub fn has_changes(&self, cursor: &Cursor) -> bool {
        self.changes.get(cursor.change).is_some_and(|change| change.steps == cursor.steps)
    }

    /// Whether a terminal event at the end of a trajectory has ended it; `terminal` gives the count at which an event does.
    pub fn is_terminated(&self, cursor: &Cursor, terminal: impl Fn(usize) -> Option<usize>) -> bool {
        let changes =
            || std::iter::successors(self.changes.get(cursor.change), |change| self.changes.get(change.previous));
        let event_of = |kind: ChangeKind| if let ChangeKind::Event { event, .. } = kind { Some(event) } else { None };
        changes().take_while(|change| change.steps == cursor.steps).filter_map(|change| event_of(change.kind)).any(
            |event| {
                let times = changes().filter(|change| event_of(change.kind) == Some(event)).count();
                terminal(event).is_some_and(|count| times >= count)
            },
        )
    }

    /// The steps of a trajectory, from its first to its last.
    pub fn steps(&self, trajectory: usize) -> Vec<Step> {
        let mut cursor = self.cursor(trajectory);
        let mut steps: Vec<Step> = (0..cursor.steps).map(|_| self.pop_step(&mut cursor).0).collect();
        steps.reverse();
        steps
    }

    /// The outputs within a step, the last of which is before `end`.
    pub fn outputs_within(&self, trajectory: usize, end: usize, step: usize) -> std::ops::Range<usize> {
        let places = &self.places[trajectory];
        let mut first = end;
        while first > 0 && places[first - 1] == 2 * step + 1 {
            first -= 1;
        }
        first..end
    }

    /// How many events a trajectory has.
    pub fn events_of(&self, trajectory: usize) -> usize {
        let mut change = self.cursors[trajectory].change;
        let mut events = 0;
        while let Some(found) = self.changes.get(change) {
            events += usize::from(matches!(found.kind, ChangeKind::Event { .. }));
            change = found.previous;
        }
        events
    }

    /// The last step, if there is one.
    pub fn last_step(&self, cursor: &Cursor) -> Option<Step> {
        (cursor.steps > 0).then(|| self.pop_step(&mut { *cursor }).0)
    }

    /// The last change, if it comes after all steps; moves the cursor before it.
    pub fn pop_change(&self, cursor: &mut Cursor) -> Option<StateChange> {
        let change = *self.changes.get(cursor.change)?;
        if change.steps < cursor.steps {
            return None;
        }
        cursor.change = change.previous;
        Some(change)
    }
}
