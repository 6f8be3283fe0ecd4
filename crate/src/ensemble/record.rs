//! What is kept of a leaf's solve for its gradient: the state before each step, jump and event.

use super::clock::{End, Plan, Step};
use super::problem::Problem;
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, CHUNK_BYTES, Chunks, List, Purpose};

/// A change of a state between steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Action {
    /// The number of steps before it.
    pub steps: usize,
    pub kind: ActionKind,
    /// Where the state before it lies.
    pub state: usize,
    /// The change before it of the same trajectory.
    previous: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionKind {
    Jump {
        jump: usize,
        occurrence: usize,
    },
    /// `root` where the time is that of this event's zero, not only that of another.
    Event {
        event: usize,
        root: bool,
    },
}

const NONE: usize = usize::MAX;

/// A trajectory's steps and changes, from the last to the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub steps: usize,
    step: usize,
    action: usize,
}

/// The steps and changes of a leaf's trajectories.
pub(super) struct LeafRecord<T> {
    /// States before steps and changes.
    pub states: Chunks<T>,
    /// t, h, t_{n+1}, what that follows in two numbers, where the state lies, the step before.
    steps: Chunks<f64>,
    actions: List<Action>,
    /// The last of each trajectory, as one counts from the first of the leaf.
    cursors: Vec<Cursor>,
    /// Where each output lies: twice the number of steps before it, one more within a step; of one trajectory behind the other.
    pub places: Vec<List<usize>>,
    /// x_N of each trajectory.
    pub ends: Buffer<T>,
    state: usize,
}

impl<T: Real> LeafRecord<T> {
    const NUMBERS: usize = 7;

    pub fn new(problem: &Problem<T>, trajectories: usize) -> Result<Self> {
        let ledger = &problem.ledger;
        let cursor = Cursor { steps: 0, step: NONE, action: NONE };
        Ok(Self {
            states: Chunks::new(ledger, Purpose::Checkpoints, problem.state, None, CHUNK_BYTES),
            steps: Chunks::new(ledger, Purpose::Records, Self::NUMBERS, None, CHUNK_BYTES),
            actions: List::new(ledger, Purpose::Records),
            cursors: vec![cursor; trajectories],
            places: (0..trajectories).map(|_| List::new(ledger, Purpose::Records)).collect(),
            ends: Buffer::zeroed(ledger, Purpose::Checkpoints, trajectories * problem.state)?,
            state: problem.state,
        })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let lists = self.actions.bytes() + self.places.iter().map(List::bytes).sum::<usize>();
        self.states.bytes() + self.steps.bytes() + size_of_val(&*self.ends) + lists
    }

    /// Bytes that those of a leaf take whose trajectories have so many steps, changes and outputs each.
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
        Ok(states + empty.steps.bytes_of(steps) + List::<Action>::bytes_of(changes) + places)
    }

    /// Keeps a lane's state.
    #[inline(never)]
    fn keep(&mut self, x: &[T], width: usize, lane: usize) -> Result<usize> {
        let index = self.states.count();
        let to = self.states.slot(index)?;
        for (row, to) in to.iter_mut().enumerate() {
            *to = x[row * width + lane];
        }
        Ok(index)
    }

    /// A step from a lane's state.
    pub fn step(&mut self, trajectory: usize, plan: &Plan, x: &[T], width: usize, lane: usize) -> Result<()> {
        let state = self.keep(x, width, lane)?;
        let index = self.steps.count();
        let (kind, number) = match plan.end {
            End::Free => (0, 0),
            End::Output(output) => (1, output),
            End::Jump => (2, 0),
            End::Event => (3, 0),
            End::Grid { from, step } => (4 + step, from),
        };
        let cursor = &mut self.cursors[trajectory];
        let numbers = [kind, number, state, cursor.step].map(|number| number as f64);
        let [kind, number, state, previous] = numbers;
        self.steps.push(&[plan.span.t, plan.span.h, plan.span.end, kind, number, state, previous])?;
        (cursor.step, cursor.steps) = (index, cursor.steps + 1);
        Ok(())
    }

    /// A change of a state, which is given as it was before.
    pub fn action(&mut self, trajectory: usize, kind: ActionKind, x: &[T]) -> Result<()> {
        let state = self.keep(x, 1, 0)?;
        let cursor = &mut self.cursors[trajectory];
        self.actions.push(Action { steps: cursor.steps, kind, state, previous: cursor.action })?;
        cursor.action = self.actions.len() - 1;
        Ok(())
    }

    pub fn end(&mut self, trajectory: usize, x: &[T], width: usize, lane: usize) {
        let to = &mut self.ends[trajectory * self.state..(trajectory + 1) * self.state];
        for (row, to) in to.iter_mut().enumerate() {
            *to = x[row * width + lane];
        }
    }

    pub fn cursor(&self, trajectory: usize) -> Cursor {
        self.cursors[trajectory]
    }

    /// The last step, and where the state before it lies; the cursor ends before it then.
    #[inline(never)]
    pub fn pop_step(&self, cursor: &mut Cursor) -> (Step, usize) {
        let &[t, h, to, kind, number, state, previous] = self.steps.get(cursor.step) else {
            unreachable!("seven numbers")
        };
        let [kind, number, state] = [kind, number, state].map(|number| number as usize);
        let end = match kind {
            0 => End::Free,
            1 => End::Output(number),
            2 => End::Jump,
            3 => End::Event,
            step => End::Grid { from: number, step: step - 4 },
        };
        cursor.step = previous as usize;
        cursor.steps -= 1;
        (Step { t, h, to, end }, state)
    }

    /// Whether a jump or an event comes after all steps.
    pub fn changes(&self, cursor: &Cursor) -> bool {
        self.actions.get(cursor.action).is_some_and(|action| action.steps == cursor.steps)
    }

    /// Whether one of the events at a trajectory's end has ended it, by the number of times after which each does.
    pub fn ended(&self, cursor: &Cursor, terminal: impl Fn(usize) -> Option<usize>) -> bool {
        let actions =
            || std::iter::successors(self.actions.get(cursor.action), |action| self.actions.get(action.previous));
        let acted = |kind: ActionKind| if let ActionKind::Event { event, .. } = kind { Some(event) } else { None };
        actions().take_while(|action| action.steps == cursor.steps).filter_map(|action| acted(action.kind)).any(
            |event| {
                let times = actions().filter(|action| acted(action.kind) == Some(event)).count();
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

    /// The outputs within a step, of which `end` is behind the last.
    pub fn within(&self, trajectory: usize, end: usize, step: usize) -> std::ops::Range<usize> {
        let places = &self.places[trajectory];
        let mut first = end;
        while first > 0 && places[first - 1] == 2 * step + 1 {
            first -= 1;
        }
        first..end
    }

    /// Events of one trajectory.
    pub fn events_of(&self, trajectory: usize) -> usize {
        let mut action = self.cursors[trajectory].action;
        let mut events = 0;
        while let Some(found) = self.actions.get(action) {
            events += usize::from(matches!(found.kind, ActionKind::Event { .. }));
            action = found.previous;
        }
        events
    }

    /// The last step, if there is one.
    pub fn last_step(&self, cursor: &Cursor) -> Option<Step> {
        (cursor.steps > 0).then(|| self.pop_step(&mut { *cursor }).0)
    }

    /// The last change, if it comes after all steps; the cursor ends before it then.
    pub fn pop_action(&self, cursor: &mut Cursor) -> Option<Action> {
        let action = *self.actions.get(cursor.action)?;
        if action.steps < cursor.steps {
            return None;
        }
        cursor.action = action.previous;
        Some(action)
    }
}
