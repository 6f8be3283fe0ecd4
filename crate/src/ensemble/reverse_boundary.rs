//! The transpose of a boundary between two steps: of outputs, jumps and events.

use std::ops::Range;

use super::backward::{Backward, ReverseTrajectory, add_lane};
use super::block::{load_lane, store_lane};
use super::problem::{Evaluators, Problem};
use super::record::{ChangeKind, LeafRecord};
use super::single::EventRoot;
use super::solver_state::{Step, StepEnd};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::stepper::Span;

/// The root on which a step ended.
#[derive(Default)]
struct Root {
    /// The event whose root it is.
    event: Option<usize>,
    /// Whether anything but the end of the step depends on the event's time.
    has_effect: bool,
}

impl<T: Real> Backward<'_, T> {
    /// Transposes all that happens at the present time of a trajectory: outputs, jumps, events. `x` is the state after all of it.
    pub(super) fn reverse_boundary(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        record: &LeafRecord<T>,
        slot: usize,
        x: &[T],
        last: bool,
    ) -> Result<()> {
        let rows = self.rows;
        let ReverseTrajectory { trajectory, leaf_index: own, mut cursor, .. } = self.trajectories[slot];
        let now = record.last_step(&cursor).map_or(problem.times.of(trajectory)[0], |step| step.to);
        let changes = record.has_changes(&cursor);
        let ended = last
            && problem.rules.events.iter().any(|rule| rule.terminal.is_some())
            && record.is_terminated(&cursor, |event| problem.rules.events[event].terminal);
        // The sum of the cotangents of the outputs here, from the last one on.
        let mut outputs = vec![T::zero(); if changes { rows } else { 0 }];
        while let Some(output) = self.trajectories[slot].outputs.checked_sub(1)
            && record.places[own][output] == 2 * cursor.steps
        {
            let place = problem.output_offset(trajectory, output);
            self.add(slot, &self.cotangents.y[place..place + rows]);
            outputs.iter_mut().zip(&self.cotangents.y[place..]).for_each(|(sum, &w)| *sum = *sum + w);
            self.trajectories[slot].outputs = output;
            let times = problem.times.of(trajectory);
            // Outputs after the end of a trajectory repeat its last state, whatever their times.
            let repeats = !ended
                && output > 0
                && record.places[own][output - 1] == 2 * cursor.steps
                && times[output - 1] == times[output]
                && times[output] == now;
            if repeats && problem.options.time_gradients {
                // A step of no length: y_k = y_{k−1} + (t_k − t_{k−1}) f.
                self.set_single_inputs(problem, evaluators, trajectory);
                let mut k = vec![T::zero(); rows];
                self.single.slope(&mut *evaluators.lanes[0], now, x, &mut k)?;
                let start = problem.times.start(trajectory);
                let inner = |w: &[T]| w.iter().zip(&k).map(|(w, k)| w.wide() * k.wide()).sum::<f64>();
                if problem.options.interpolates(problem.times.of(trajectory)) && !changes {
                    // A point on the extension of the first step.
                    let rate = inner(&self.cotangents.y[place..place + rows]);
                    self.trajectories[slot].time_cotangent -= rate;
                    self.gradient.times.add(start + output, rate);
                    continue;
                }
                // Where steps land, the next begins at the last of the repeated times; after a jump, at the jump.
                let (rate, begins) = match changes {
                    true => (inner(&outputs), 0.0),
                    false => {
                        (inner(&self.lambda_of(slot)), std::mem::take(&mut self.trajectories[slot].time_cotangent))
                    }
                };
                self.gradient.times.add(start + output, rate + begins);
                self.gradient.times.add(start + output - 1, -rate);
            }
        }
        let before = match cursor.steps {
            0 => 0..0,
            steps => record.outputs_within(own, self.trajectories[slot].outputs, steps - 1),
        };
        let needs_last_slope = !before.is_empty() && (changes || last);
        if changes || needs_last_slope {
            self.set_single_inputs(problem, evaluators, trajectory);
        }
        let mut x = x.to_vec();
        let mut root = Root::default();
        self.trajectories[slot].jump = None;
        let jumped = record.last_step(&cursor).is_some_and(|step| matches!(step.end, StepEnd::Jump));
        while let Some(change) = record.pop_change(&mut cursor) {
            if jumped && self.times && matches!(change.kind, ChangeKind::Jump { .. }) {
                self.separate_jumps(evaluators, slot, now, &x)?;
            }
            x.copy_from_slice(record.states.get(change.state));
            self.reverse_change(problem, evaluators, slot, (change.kind, now), &x, &mut root)?;
        }
        self.trajectories[slot].cursor = cursor;
        if needs_last_slope && let Some(step) = record.last_step(&cursor) {
            self.pullback_last_slope(problem, evaluators, slot, step, before, now, &x)?;
        }
        if let Root { event: Some(event), has_effect } = root {
            self.reverse_event(problem, evaluators, record, slot, (event, has_effect), &x)?;
        }
        Ok(())
    }

    /// Separates two jumps at one time by a step of no length from `x` on, so that the time of the later one has its own derivative.
    fn separate_jumps(&mut self, evaluators: &mut Evaluators<T>, slot: usize, t: f64, x: &[T]) -> Result<()> {
        let Some((jump, occurrence)) = self.trajectories[slot].jump else { return Ok(()) };
        let mut k = vec![T::zero(); self.rows];
        self.single.slope(&mut *evaluators.lanes[0], t, x, &mut k)?;
        let rate = self.lambda_of(slot).iter().zip(&k).map(|(w, k)| w.wide() * k.wide()).sum::<f64>();
        let time = std::mem::replace(&mut self.trajectories[slot].time_cotangent, -rate);
        self.gradient.jump_times[jump].add(occurrence, time + rate);
        Ok(())
    }

    /// The transpose of a jump or of an event's change of the state, from `x` on.
    fn reverse_change(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        (kind, t): (ChangeKind, f64),
        x: &[T],
        root: &mut Root,
    ) -> Result<()> {
        let own = problem.arguments;
        let mut cotangent = self.lambda_of(slot);
        let (map, amounts) = match kind {
            ChangeKind::Jump { jump, occurrence } => {
                self.trajectories[slot].jump = Some((jump, occurrence));
                let given = &problem.rules.jumps[jump];
                let range = occurrence * given.numbers..(occurrence + 1) * given.numbers;
                (
                    Some(&mut evaluators.functions.jumps[jump]),
                    Some((jump, range.clone(), given.amounts[range].to_vec())),
                )
            }
            ChangeKind::Event { event, root: is_root } => {
                self.trajectories[slot].events -= 1;
                root.has_effect |= self.event_has_effect(problem, event, self.trajectories[slot].events);
                if is_root {
                    root.event = Some(event);
                }
                (evaluators.functions.events[event].set.as_mut(), None)
            }
        };
        if let Some(map) = map {
            let given = amounts.as_ref().map(|amounts| &amounts.2[..]);
            let mut arguments = vec![T::zero(); own + given.map_or(0, <[T]>::len)];
            let time = self.single.pullback_map(
                &mut **map,
                t,
                x,
                given,
                &mut cotangent,
                &mut self.step_gradient,
                &mut arguments,
            )?;
            if let Some((jump, range, _)) = amounts {
                for (index, argument) in range.zip(&arguments[own..]) {
                    self.gradient.amounts[jump].add(index, argument.wide());
                }
            }
            self.add_arguments(slot, &arguments[..own]);
            self.trajectories[slot].time_cotangent += time;
            store_lane(&mut self.lambda, self.width, slot, &cotangent);
            store_lane(&mut self.carry, self.width, slot, &vec![T::zero(); self.rows]);
        }
        if let ChangeKind::Event { .. } = kind {
            let event = self.trajectories[slot].events;
            if let Some(state) = self.cotangents.event_states.chunks_exact(self.rows).nth(event) {
                self.add(slot, state);
            }
            if let Some(time) = self.cotangents.event_times.get(event) {
                self.trajectories[slot].time_cotangent += time;
            }
        }
        Ok(())
    }

    /// Whether an event's time has an effect: whether it changes the state, or the loss depends on it.
    fn event_has_effect(&self, problem: &Problem<T>, event: usize, occurrence: usize) -> bool {
        let rule = &problem.rules.events[event];
        let states = self.cotangents.event_states.chunks_exact(self.rows).nth(occurrence);
        rule.changes_state
            || rule.terminal.is_some()
            || self.cotangents.event_times.get(occurrence).is_some_and(|&time| time != 0.0)
            || states.is_some_and(|state| state.iter().any(|&w| w != T::zero()))
    }

    /// The transpose of f(x), the last slope of the previous step, for outputs within it, where it is no stage of another step.
    #[allow(clippy::too_many_arguments)]
    fn pullback_last_slope(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        step: Step,
        outputs: Range<usize>,
        t: f64,
        x: &[T],
    ) -> Result<()> {
        let (rows, stages) = (self.rows, problem.scheme.stages);
        self.outputs_within.clear();
        self.add_outputs_within(problem, slot, step, outputs, true);
        let mut cotangent = vec![T::zero(); rows];
        for output in &self.outputs_within {
            let w = &self.cotangents.y[output.place..output.place + rows];
            add_lane(&mut cotangent, 1, 0, output.weights[stages], w);
        }
        let mut arguments = vec![T::zero(); problem.arguments];
        let lanes = &mut *evaluators.lanes[0];
        let slopes = self.single.pullback_field(lanes, t, x, &cotangent, &mut self.step_gradient, &mut arguments)?;
        self.add_arguments(slot, &arguments);
        self.add(slot, &slopes.x);
        self.trajectories[slot].time_cotangent += slopes.t;
        let mut k = vec![T::zero(); rows];
        self.single.slope(&mut *evaluators.lanes[0], t, x, &mut k)?;
        store_lane(&mut self.next_slope, self.width, slot, &k);
        Ok(())
    }

    /// The transpose of an event's time, the root of its function at the end `x` of the previous step: λ += μ g_x, and so on.
    fn reverse_event(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        record: &LeafRecord<T>,
        slot: usize,
        (event, has_effect): (usize, bool),
        x: &[T],
    ) -> Result<()> {
        self.counts.through_event |= has_effect;
        let reverse = &self.trajectories[slot];
        let (mut cursor, tau, trajectory) = (reverse.cursor, reverse.time_cotangent, reverse.trajectory);
        let within = record.outputs_within(reverse.leaf_index, reverse.outputs, cursor.steps - 1);
        let (step, state) = record.pop_step(&mut cursor);
        let end = step.to;
        let (parameters, own) = (problem.parameters, problem.arguments);
        let mut unused = (vec![T::zero(); parameters], vec![T::zero(); own]);
        let lambda = self.lambda_of(slot);
        let mut k = vec![T::zero(); self.rows];
        load_lane(&self.next_slope, self.width, slot, &mut k);
        let times = &problem.times.of(trajectory)[within.clone()];
        let w: Vec<T> = within
            .flat_map(|output| {
                let place = problem.output_offset(trajectory, output);
                &self.cotangents.y[place..place + self.rows]
            })
            .copied()
            .collect();
        let Evaluators { functions, lanes } = &mut *evaluators;
        let (when, lanes) = (&mut *functions.events[event].when[0], &mut *lanes[0]);
        let x_n = record.states.get(state);
        let from = (Span { step: 0, t: step.t, h: step.h, end }, x_n);
        let whole = (from.0, x_n, problem.duration(trajectory));
        let EventRoot { g, slope, crosses } =
            self.single.root_derivatives(lanes, when, whole, x, (&mut unused.0, &mut unused.1))?;
        // The derivative with respect to h of ⟨λ, x_{n+1}⟩, and of what the outputs within the step add.
        let along_w = self.single.step_size_derivative(lanes, from, &lambda, (times, &w), &k)?;
        if !crosses && !has_effect {
            // Nothing but the end of the step depends on its time.
            return Ok(());
        }
        if !crosses {
            let trajectory = problem.extras.part.unwrap_or(0) + trajectory;
            return Err(Error::Grazing { event, trajectory, t: end, slope });
        }
        let mu = -(tau + along_w) / slope;
        let mut arguments = vec![T::zero(); own];
        let when = &mut *evaluators.functions.events[event].when[0];
        let added = self.single.event_gradient(when, end, x, mu, &mut self.step_gradient, &mut arguments)?;
        self.add_arguments(slot, &arguments);
        self.add(slot, &added.x);
        self.trajectories[slot].time_cotangent = tau + mu * g.t;
        Ok(())
    }
}
