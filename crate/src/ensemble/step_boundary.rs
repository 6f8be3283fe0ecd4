//! The boundary between two steps: events and jumps change the state, and outputs are written.

use super::block::{load_lane, store_lane};
use super::changes::{JumpInputs, ScheduledJump};
use super::events::{LocatedEvents, Occurrence};
use super::forward::{Forward, Sinks};
use super::problem::{Evaluators, Problem};
use super::record::ChangeKind;
use super::solver_state::SolverState;
use crate::error::{Error, Result};
use crate::kernel::real::Real;

impl<T: Real> Forward<T> {
    /// Sets the signs of the events' functions at the first time.
    pub(super) fn set_initial_signs(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
    ) -> Result<()> {
        if problem.rules.events.is_empty() || problem.replay.is_some() || self.solvers[slot].signs_known {
            return Ok(());
        }
        let Self { block, single, solvers, row, .. } = self;
        let solver = &mut solvers[slot];
        solver.signs_known = true;
        load_lane(&block.x, block.width, slot, row);
        single.set_inputs(problem.inputs.of(solver.trajectory), evaluators);
        let Evaluators { functions, lanes } = evaluators;
        let (now, evaluations) = ((solver.t, problem.direction(solver.trajectory)), single.evaluations);
        for (index, event) in functions.events.iter_mut().enumerate() {
            let root = solver.last_root(index);
            (solver.event_signs[index], solver.thresholds[index]) =
                single.event_sign(&mut *lanes[0], event, now, row, root)?;
        }
        solver.stats.evaluations += single.evaluations - evaluations;
        Ok(())
    }

    /// Applies events and jumps at the boundary between steps, and writes outputs there. Whether the trajectory is done.
    #[inline(never)]
    pub(super) fn step_boundary(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        located: Option<&LocatedEvents>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<bool> {
        let solver = &self.solvers[slot];
        let own = solver.trajectory - sinks.first;
        let triggered: Vec<usize> = match &problem.replay {
            Some(replay) => replay.records[solver.trajectory].events_after(solver.stats.accepted).collect(),
            None => located.map_or_else(Vec::new, |located| located.triggered.clone()),
        };
        let jumps_now = solver.jumps.get(solver.next_jump).is_some_and(|jump| jump.t == solver.t);
        let has_changes = jumps_now || !triggered.is_empty();
        if has_changes && self.apply_changes(problem, evaluators, slot, (&triggered, located), sinks)? {
            self.set_changed_state(problem, evaluators, slot, located, sinks)?;
        }
        let Self { block, solvers, .. } = self;
        if let Some(results) = sinks.results.as_deref_mut()
            && let Some(path) = results.paths.get_mut(own)
            && path.t.is_empty()
        {
            path.t.push(solvers[slot].t)?;
            path.y.extend((0..block.rows).map(|r| block.x[r * block.width + slot]))?;
        }
        self.write_outputs(problem, evaluators, slot, has_changes, sinks)?;
        let solver = &self.solvers[slot];
        Ok(solver.is_done(problem.times.of(solver.trajectory)))
    }

    /// Applies events and jumps to the state, in `row`; whether one has changed it.
    fn apply_changes(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        (triggered, located): (&[usize], Option<&LocatedEvents>),
        sinks: &mut Sinks<'_, T>,
    ) -> Result<bool> {
        let Self { block, single, solvers, event_logs, row, .. } = self;
        let solver = &mut solvers[slot];
        let own = solver.trajectory - sinks.first;
        single.set_inputs(problem.inputs.of(solver.trajectory), evaluators);
        let (rules, Evaluators { functions, .. }) = (&problem.rules, evaluators);
        let mut changed = false;
        load_lane(&block.x, block.width, slot, row);
        // Each change has the time tangents of the boundary: a map leaves none in their rows.
        let set_time_tangents = |solver: &SolverState, row: &mut [T]| {
            if let Some(replay) = &problem.replay {
                replay.set_time_tangents(solver, row);
            }
        };
        if let Some(LocatedEvents { root, signs_after, residuals, .. }) = located {
            solver.event_signs.copy_from_slice(signs_after);
            solver.last_event = Some((*root, solver.t));
            for (residual, value) in solver.residuals.iter_mut().zip(residuals) {
                *residual = value.unwrap_or(0.0);
            }
        }
        for &event in triggered {
            set_time_tangents(solver, row);
            solver.event_counts[event] += 1;
            if solver.event_counts.iter().sum::<usize>() > rules.max_events {
                return Err(Error::MaxEvents { limit: rules.max_events, progress: solver.progress(0.0) });
            }
            if sinks.results.is_some() {
                event_logs[own].events.push(Occurrence { trajectory: solver.trajectory, event, t: solver.t })?;
                event_logs[own].states.extend(row.iter().copied())?;
            }
            if let Some(record) = &mut sinks.record {
                let root = located.is_some_and(|located| located.root == event);
                record.push_change(own, ChangeKind::Event { event, root }, row)?;
            }
            if let Some(set) = &mut functions.events[event].set {
                let before = row.clone();
                single.apply_map(&mut **set, solver.t, &before, None, row)?;
                changed = true;
            }
            solver.terminated |= rules.events[event].terminal.is_some_and(|count| solver.event_counts[event] >= count);
        }
        while let Some(&ScheduledJump { t, jump, occurrence }) =
            solver.jumps.get(solver.next_jump).filter(|_| !solver.terminated)
            && t == solver.t
        {
            set_time_tangents(solver, row);
            if let Some(record) = &mut sinks.record {
                record.push_change(own, ChangeKind::Jump { jump, occurrence }, row)?;
            }
            let JumpInputs { amounts, numbers, .. } = &rules.jumps[jump];
            let amounts = &amounts[occurrence * numbers..(occurrence + 1) * numbers];
            let before = row.clone();
            single.apply_map(&mut *functions.jumps[jump], t, &before, Some(amounts), row)?;
            changed = true;
            solver.next_jump += 1;
        }
        Ok(changed)
    }

    /// Replaces the state of a lane by the changed one in `row`.
    fn set_changed_state(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        located: Option<&LocatedEvents>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, single, solvers, row, .. } = self;
        let solver = &mut solvers[slot];
        let (width, rows) = (block.width, block.rows);
        if problem.replay.is_none() && row.iter().any(|x| !x.is_finite()) {
            return Err(Error::NonFinite(solver.progress(0.0)));
        }
        store_lane(&mut block.x, width, slot, row);
        store_lane(&mut block.carry, width, slot, &vec![T::zero(); rows]);
        solver.first_slope_known = false;
        if let Some(results) = sinks.results.as_deref_mut()
            && let Some(path) = results.paths.get_mut(solver.trajectory - sinks.first)
            && !path.t.is_empty()
        {
            let coefficients = if problem.extras.dense { problem.scheme.extension_degree() * rows } else { 0 };
            path.t.push(solver.t)?;
            path.y.extend(row.iter().copied())?;
            path.polynomials.extend(std::iter::repeat_n(T::zero(), coefficients))?;
        }
        if solver.stats.accepted > 0 && !solver.terminated && problem.replay.is_none() {
            let (Evaluators { functions, lanes }, evaluations) = (evaluators, single.evaluations);
            for (index, (event, sign)) in functions.events.iter_mut().zip(&mut solver.event_signs).enumerate() {
                // After an event the sign is the new one, even if the root was a few roundings ago.
                let threshold = solver.thresholds[index];
                let resting = (threshold > 0.0).then_some((threshold / 2.0, *sign));
                let root = located.and_then(|located| located.root_of(index)).or(resting);
                let now = (solver.t, problem.direction(solver.trajectory));
                (*sign, solver.thresholds[index]) = single.event_sign(&mut *lanes[0], event, now, row, root)?;
            }
            solver.stats.evaluations += single.evaluations - evaluations;
        }
        Ok(())
    }

    /// Writes the outputs at the present time, and all that are left where the trajectory has ended. `has_changes`: whether changes act there.
    fn write_outputs(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        slot: usize,
        has_changes: bool,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, single, solvers, row, .. } = self;
        let solver = &mut solvers[slot];
        let own = solver.trajectory - sinks.first;
        let times = problem.times.of(solver.trajectory);
        load_lane(&block.x, block.width, slot, row);
        let first = solver.next_output;
        while solver.next_output < times.len() && (times[solver.next_output] == solver.t || solver.terminated) {
            let repeats = solver.next_output > first
                && times[solver.next_output - 1] == times[solver.next_output]
                && !solver.terminated;
            if let Some(replay) = problem.replay.as_ref().filter(|replay| repeats && replay.has_time_tangents()) {
                // Between a time and its repetition lies a step of no length.
                let mut k = vec![T::zero(); block.rows];
                single.set_inputs(problem.inputs.of(solver.trajectory), evaluators);
                single.slope(&mut *evaluators.lanes[0], solver.t, row, &mut k)?;
                let output = problem.times.start(solver.trajectory) + solver.next_output;
                replay.add_rate(
                    |index| replay.time_tangent(index, output) - replay.time_tangent(index, output - 1),
                    &k,
                    row,
                );
                if !has_changes && !problem.options.interpolates(times) {
                    for (index, tau) in solver.tau.iter_mut().enumerate() {
                        *tau = replay.time_tangent(index, output);
                    }
                    store_lane(&mut block.x, block.width, slot, row);
                }
            }
            sinks.write(problem, solver.trajectory, solver.next_output, row);
            if let Some(record) = &mut sinks.record {
                let steps = record.cursor(own).steps;
                record.places[own].push(2 * steps)?;
            }
            solver.next_output += 1;
        }
        Ok(())
    }
}
