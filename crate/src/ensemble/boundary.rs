//! Going back over what happens between steps: outputs, jumps, events.

use std::ops::Range;

use super::backward::{Backward, Reverse, add_lane};
use super::block::{lane, set_lane};
use super::clock::{End, Step};
use super::problem::{Problem, Tools};
use super::record::{ActionKind, LeafRecord};
use super::single::Zero;
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::stepper::Span;

/// What ended a cut step.
#[derive(Default)]
struct Root {
    /// Whose zero it is.
    event: Option<usize>,
    /// Whether anything but where the step was cut depends on its time.
    counts: bool,
}

impl<T: Real> Backward<'_, T> {
    /// Goes back over all that happens at the time that a trajectory has reached: outputs, jumps, events. `x` is the state behind all.
    pub(super) fn reverse_boundary(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        record: &LeafRecord<T>,
        slot: usize,
        x: &[T],
        last: bool,
    ) -> Result<()> {
        let rows = self.rows;
        let Reverse { trajectory, own, mut cursor, .. } = self.trajectories[slot];
        let now = record.last_step(&cursor).map_or(problem.times.of(trajectory)[0], |step| step.to);
        let changes = record.changes(&cursor);
        let ended = last
            && problem.rules.events.iter().any(|rule| rule.terminal.is_some())
            && record.ended(&cursor, |event| problem.rules.events[event].terminal);
        // The sum of the cotangents of the outputs here, from the last one on.
        let mut outputs = vec![T::zero(); if changes { rows } else { 0 }];
        while let Some(output) = self.trajectories[slot].outputs.checked_sub(1)
            && record.places[own][output] == 2 * cursor.steps
        {
            let place = problem.place(trajectory, output);
            self.add(slot, &self.cotangents.y[place..place + rows]);
            outputs.iter_mut().zip(&self.cotangents.y[place..]).for_each(|(sum, &w)| *sum = *sum + w);
            self.trajectories[slot].outputs = output;
            let times = problem.times.of(trajectory);
            // What a trajectory has after its end is its last state, whatever the times.
            let repeats = !ended
                && output > 0
                && record.places[own][output - 1] == 2 * cursor.steps
                && times[output - 1] == times[output]
                && times[output] == now;
            if repeats && problem.options.time_gradients {
                // A step of no length: y_k = y_{k−1} + (t_k − t_{k−1}) f.
                self.set_single_inputs(problem, tools, trajectory);
                let mut k = vec![T::zero(); rows];
                self.single.slope(&mut *tools.lanes[0], now, x, &mut k)?;
                let start = problem.times.start(trajectory);
                let inner = |w: &[T]| w.iter().zip(&k).map(|(w, k)| w.wide() * k.wide()).sum::<f64>();
                if problem.options.interpolates(problem.times.of(trajectory)) && !changes {
                    // A place on the extension of the first step.
                    let rate = inner(&self.cotangents.y[place..place + rows]);
                    self.trajectories[slot].time -= rate;
                    self.gradient.times.add(start + output, rate);
                    continue;
                }
                // Where steps land, what comes after begins at the last of the times; what follows a jump, at the jump.
                let (rate, begins) = match changes {
                    true => (inner(&outputs), 0.0),
                    false => (inner(&self.lambda_of(slot)), std::mem::take(&mut self.trajectories[slot].time)),
                };
                self.gradient.times.add(start + output, rate + begins);
                self.gradient.times.add(start + output - 1, -rate);
            }
        }
        let before = match cursor.steps {
            0 => 0..0,
            steps => record.within(own, self.trajectories[slot].outputs, steps - 1),
        };
        let hands = !before.is_empty() && (changes || last);
        if changes || hands {
            self.set_single_inputs(problem, tools, trajectory);
        }
        let mut x = x.to_vec();
        let mut root = Root::default();
        self.trajectories[slot].jump = None;
        let jumped = record.last_step(&cursor).is_some_and(|step| matches!(step.end, End::Jump));
        while let Some(action) = record.pop_action(&mut cursor) {
            if jumped && self.times && matches!(action.kind, ActionKind::Jump { .. }) {
                self.part_jumps(tools, slot, now, &x)?;
            }
            x.copy_from_slice(record.states.get(action.state));
            self.reverse_change(problem, tools, slot, (action.kind, now), &x, &mut root)?;
        }
        self.trajectories[slot].cursor = cursor;
        if hands && let Some(step) = record.last_step(&cursor) {
            self.pullback_last_slope(problem, tools, slot, step, before, now, &x)?;
        }
        if let Root { event: Some(event), counts } = root {
            self.reverse_event(problem, tools, record, slot, (event, counts), &x)?;
        }
        Ok(())
    }

    /// Between two jumps at one time lies a step of no length, from `x` on: what the time of the later one adds is its own.
    fn part_jumps(&mut self, tools: &mut Tools<T>, slot: usize, t: f64, x: &[T]) -> Result<()> {
        let Some((jump, occurrence)) = self.trajectories[slot].jump else { return Ok(()) };
        let mut k = vec![T::zero(); self.rows];
        self.single.slope(&mut *tools.lanes[0], t, x, &mut k)?;
        let rate = self.lambda_of(slot).iter().zip(&k).map(|(w, k)| w.wide() * k.wide()).sum::<f64>();
        let time = std::mem::replace(&mut self.trajectories[slot].time, -rate);
        self.gradient.jump_times[jump].add(occurrence, time + rate);
        Ok(())
    }

    /// The transpose of a jump or of an event's change of the state, from `x` on.
    fn reverse_change(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        (kind, t): (ActionKind, f64),
        x: &[T],
        root: &mut Root,
    ) -> Result<()> {
        let own = problem.arguments;
        let mut cotangent = self.lambda_of(slot);
        let (map, amounts) = match kind {
            ActionKind::Jump { jump, occurrence } => {
                self.trajectories[slot].jump = Some((jump, occurrence));
                let given = &problem.rules.jumps[jump];
                let range = occurrence * given.numbers..(occurrence + 1) * given.numbers;
                (Some(&mut tools.maps.jumps[jump]), Some((jump, range.clone(), given.amounts[range].to_vec())))
            }
            ActionKind::Event { event, root: is_root } => {
                self.trajectories[slot].events -= 1;
                root.counts |= self.counts(problem, event, self.trajectories[slot].events);
                if is_root {
                    root.event = Some(event);
                }
                (tools.maps.events[event].set.as_mut(), None)
            }
        };
        if let Some(map) = map {
            let given = amounts.as_ref().map(|amounts| &amounts.2[..]);
            let mut arguments = vec![T::zero(); own + given.map_or(0, <[T]>::len)];
            let time =
                self.single.pullback_map(&mut **map, t, x, given, &mut cotangent, &mut self.step, &mut arguments)?;
            if let Some((jump, range, _)) = amounts {
                for (index, argument) in range.zip(&arguments[own..]) {
                    self.gradient.amounts[jump].add(index, argument.wide());
                }
            }
            self.add_arguments(slot, &arguments[..own]);
            self.trajectories[slot].time += time;
            set_lane(&mut self.lambda, self.width, slot, &cotangent);
            set_lane(&mut self.carry, self.width, slot, &vec![T::zero(); self.rows]);
        }
        if let ActionKind::Event { .. } = kind {
            let event = self.trajectories[slot].events;
            if let Some(state) = self.cotangents.event_states.chunks_exact(self.rows).nth(event) {
                self.add(slot, state);
            }
            if let Some(time) = self.cotangents.event_times.get(event) {
                self.trajectories[slot].time += time;
            }
        }
        Ok(())
    }

    /// Whether an event's time counts: whether it changes the state or the loss depends on it.
    fn counts(&self, problem: &Problem<T>, event: usize, occurrence: usize) -> bool {
        let rule = &problem.rules.events[event];
        let states = self.cotangents.event_states.chunks_exact(self.rows).nth(occurrence);
        rule.sets
            || rule.terminal.is_some()
            || self.cotangents.event_times.get(occurrence).is_some_and(|&time| time != 0.0)
            || states.is_some_and(|state| state.iter().any(|&w| w != T::zero()))
    }

    /// The last slope f(x) of the step before, as outputs within it need it, where that is no stage of another step.
    #[allow(clippy::too_many_arguments)]
    fn pullback_last_slope(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        step: Step,
        outputs: Range<usize>,
        t: f64,
        x: &[T],
    ) -> Result<()> {
        let (rows, stages) = (self.rows, problem.scheme.stages);
        self.inside.clear();
        self.add_outputs_within(problem, slot, step, outputs, true);
        let mut cotangent = vec![T::zero(); rows];
        for inside in &self.inside {
            let w = &self.cotangents.y[inside.place..inside.place + rows];
            add_lane(&mut cotangent, 1, 0, inside.weights[stages], w);
        }
        let mut arguments = vec![T::zero(); problem.arguments];
        let lanes = &mut *tools.lanes[0];
        let slopes = self.single.pullback_field(lanes, t, x, &cotangent, &mut self.step, &mut arguments)?;
        self.add_arguments(slot, &arguments);
        self.add(slot, &slopes.x);
        self.trajectories[slot].time += slopes.t;
        let mut k = vec![T::zero(); rows];
        self.single.slope(&mut *tools.lanes[0], t, x, &mut k)?;
        set_lane(&mut self.next_slope, self.width, slot, &k);
        Ok(())
    }

    /// What the time of an event, the zero of its function at the end `x` of the step before, adds: λ += μ g_x, and so on.
    fn reverse_event(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        record: &LeafRecord<T>,
        slot: usize,
        (event, counts): (usize, bool),
        x: &[T],
    ) -> Result<()> {
        self.uses.crossed |= counts;
        let reverse = &self.trajectories[slot];
        let (mut cursor, tau, trajectory) = (reverse.cursor, reverse.time, reverse.trajectory);
        let within = record.within(reverse.own, reverse.outputs, cursor.steps - 1);
        let (step, state) = record.pop_step(&mut cursor);
        let end = step.to;
        let (parameters, own) = (problem.parameters, problem.arguments);
        let mut unused = (vec![T::zero(); parameters], vec![T::zero(); own]);
        let lambda = self.lambda_of(slot);
        let mut k = vec![T::zero(); self.rows];
        lane(&self.next_slope, self.width, slot, &mut k);
        let times = &problem.times.of(trajectory)[within.clone()];
        let w: Vec<T> = within
            .flat_map(|output| {
                let place = problem.place(trajectory, output);
                &self.cotangents.y[place..place + self.rows]
            })
            .copied()
            .collect();
        let Tools { maps, lanes } = &mut *tools;
        let (when, lanes) = (&mut *maps.events[event].when[0], &mut *lanes[0]);
        let x_n = record.states.get(state);
        let from = (Span { step: 0, t: step.t, h: step.h, end }, x_n);
        let whole = (from.0, x_n, problem.duration(trajectory));
        let Zero { g, slope, crosses } = self.single.zero(lanes, when, whole, x, (&mut unused.0, &mut unused.1))?;
        // The derivative with respect to h of ⟨λ, x_{n+1}⟩, and of what the outputs within the step add.
        let along_w = self.single.rate(lanes, from, &lambda, (times, &w), &k)?;
        if !crosses && !counts {
            // Nothing depends on when it was but where the step was cut.
            return Ok(());
        }
        if !crosses {
            let trajectory = problem.extras.part.unwrap_or(0) + trajectory;
            return Err(Error::Grazing { event, trajectory, t: end, slope });
        }
        let mu = -(tau + along_w) / slope;
        let mut arguments = vec![T::zero(); own];
        let when = &mut *tools.maps.events[event].when[0];
        let added = self.single.slopes(when, end, x, mu, &mut self.step, &mut arguments)?;
        self.add_arguments(slot, &arguments);
        self.add(slot, &added.x);
        self.trajectories[slot].time = tau + mu * g.t;
        Ok(())
    }
}
