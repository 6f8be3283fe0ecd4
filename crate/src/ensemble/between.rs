//! What happens to a trajectory between its steps: events, jumps, outputs.

use super::block::{lane, set_lane};
use super::changes::{Due, JumpInputs};
use super::clock::Clock;
use super::events::{Crossed, Occurrence};
use super::forward::{Forward, Sinks};
use super::problem::{Problem, Tools};
use super::record::ActionKind;
use crate::error::{Error, Result};
use crate::kernel::real::Real;

impl<T: Real> Forward<T> {
    /// On which sides the events' functions are at the beginning.
    pub(super) fn first_sides(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, slot: usize) -> Result<()> {
        if problem.rules.events.is_empty() || problem.again.is_some() || self.clocks[slot].sides_known {
            return Ok(());
        }
        let Self { block, single, clocks, row, .. } = self;
        let clock = &mut clocks[slot];
        clock.sides_known = true;
        lane(&block.x, block.width, slot, row);
        single.set_inputs(problem.inputs.of(clock.trajectory), tools);
        let Tools { maps, lanes } = tools;
        let (now, evaluations) = ((clock.t, problem.direction(clock.trajectory)), single.evaluations);
        for (index, event) in maps.events.iter_mut().enumerate() {
            let found = clock.found(index);
            (clock.signs[index], clock.rest[index]) = single.side(&mut *lanes[0], event, now, row, found)?;
        }
        clock.stats.evaluations += single.evaluations - evaluations;
        Ok(())
    }

    /// What happens at a time between steps: events, jumps, then outputs. Whether the trajectory has come to its end.
    #[inline(never)]
    pub(super) fn boundary(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        crossed: Option<&Crossed>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<bool> {
        let clock = &self.clocks[slot];
        let own = clock.trajectory - sinks.first;
        let acting: Vec<usize> = match &problem.again {
            Some(replay) => replay.courses[clock.trajectory].events_after(clock.stats.accepted).collect(),
            None => crossed.map_or_else(Vec::new, |crossed| crossed.acting.clone()),
        };
        let due = clock.due.get(clock.jump).is_some_and(|due| due.t == clock.t);
        let acts = due || !acting.is_empty();
        if acts && self.act(problem, tools, slot, (&acting, crossed), sinks)? {
            self.set_changed(problem, tools, slot, crossed, sinks)?;
        }
        let Self { block, clocks, .. } = self;
        if let Some(part) = sinks.part.as_deref_mut()
            && let Some(path) = part.paths.get_mut(own)
            && path.t.is_empty()
        {
            path.t.push(clocks[slot].t)?;
            path.y.extend((0..block.rows).map(|r| block.x[r * block.width + slot]))?;
        }
        self.outputs_here(problem, tools, slot, acts, sinks)?;
        let clock = &self.clocks[slot];
        Ok(clock.done(problem.times.of(clock.trajectory)))
    }

    /// Events and jumps act, on the state in `row`; whether one has changed it.
    fn act(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        (acting, crossed): (&[usize], Option<&Crossed>),
        sinks: &mut Sinks<'_, T>,
    ) -> Result<bool> {
        let Self { block, single, clocks, happened, row, .. } = self;
        let clock = &mut clocks[slot];
        let own = clock.trajectory - sinks.first;
        single.set_inputs(problem.inputs.of(clock.trajectory), tools);
        let (rules, Tools { maps, .. }) = (&problem.rules, tools);
        let mut changed = false;
        lane(&block.x, block.width, slot, row);
        // Each happens at a time that moves as that of the boundary does: a map leaves none in the rows of the clocks.
        let stand = |clock: &Clock, row: &mut [T]| {
            if let Some(replay) = &problem.again {
                replay.stand(clock, row);
            }
        };
        if let Some(Crossed { root, sides, zeros, .. }) = crossed {
            clock.signs.copy_from_slice(sides);
            clock.recent = Some((*root, clock.t));
            for (residual, zero) in clock.residuals.iter_mut().zip(zeros) {
                *residual = zero.unwrap_or(0.0);
            }
        }
        for &event in acting {
            stand(clock, row);
            clock.counts[event] += 1;
            if clock.counts.iter().sum::<usize>() > rules.max_events {
                return Err(Error::MaxEvents { limit: rules.max_events, progress: clock.progress(0.0) });
            }
            if sinks.part.is_some() {
                happened[own].events.push(Occurrence { trajectory: clock.trajectory, event, t: clock.t })?;
                happened[own].states.extend(row.iter().copied())?;
            }
            if let Some(record) = &mut sinks.record {
                let root = crossed.is_some_and(|crossed| crossed.root == event);
                record.action(own, ActionKind::Event { event, root }, row)?;
            }
            if let Some(set) = &mut maps.events[event].set {
                let before = row.clone();
                single.map(&mut **set, clock.t, &before, None, row)?;
                changed = true;
            }
            clock.ended |= rules.events[event].terminal.is_some_and(|count| clock.counts[event] >= count);
        }
        while let Some(&Due { t, jump, occurrence }) = clock.due.get(clock.jump).filter(|_| !clock.ended)
            && t == clock.t
        {
            stand(clock, row);
            if let Some(record) = &mut sinks.record {
                record.action(own, ActionKind::Jump { jump, occurrence }, row)?;
            }
            let JumpInputs { amounts, numbers, .. } = &rules.jumps[jump];
            let amounts = &amounts[occurrence * numbers..(occurrence + 1) * numbers];
            let before = row.clone();
            single.map(&mut *maps.jumps[jump], t, &before, Some(amounts), row)?;
            changed = true;
            clock.jump += 1;
        }
        Ok(changed)
    }

    /// Takes over the state in `row`.
    fn set_changed(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        crossed: Option<&Crossed>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, single, clocks, row, .. } = self;
        let clock = &mut clocks[slot];
        let (width, rows) = (block.width, block.rows);
        if problem.again.is_none() && row.iter().any(|x| !x.is_finite()) {
            return Err(Error::NonFinite(clock.progress(0.0)));
        }
        set_lane(&mut block.x, width, slot, row);
        set_lane(&mut block.carry, width, slot, &vec![T::zero(); rows]);
        clock.first_slope_known = false;
        if let Some(part) = sinks.part.as_deref_mut()
            && let Some(path) = part.paths.get_mut(clock.trajectory - sinks.first)
            && !path.t.is_empty()
        {
            let coefficients = if problem.extras.dense { problem.scheme.extension_degree() * rows } else { 0 };
            path.t.push(clock.t)?;
            path.y.extend(row.iter().copied())?;
            path.polynomials.extend(std::iter::repeat_n(T::zero(), coefficients))?;
        }
        if clock.stats.accepted > 0 && !clock.ended && problem.again.is_none() {
            let (Tools { maps, lanes }, evaluations) = (tools, single.evaluations);
            for (index, (event, side)) in maps.events.iter_mut().zip(&mut clock.signs).enumerate() {
                // Behind a crossing that has happened the side is the other one, also if that was a few roundings ago.
                let rest = clock.rest[index];
                let stands = (rest > 0.0).then_some((rest / 2.0, *side));
                let found = crossed.and_then(|crossed| crossed.found(index)).or(stands);
                let now = (clock.t, problem.direction(clock.trajectory));
                (*side, clock.rest[index]) = single.side(&mut *lanes[0], event, now, row, found)?;
            }
            clock.stats.evaluations += single.evaluations - evaluations;
        }
        Ok(())
    }

    /// The outputs at a time, and all that are left where the trajectory has ended. `acts` tells whether events or jumps act there.
    fn outputs_here(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        slot: usize,
        acts: bool,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, single, clocks, row, .. } = self;
        let clock = &mut clocks[slot];
        let own = clock.trajectory - sinks.first;
        let times = problem.times.of(clock.trajectory);
        lane(&block.x, block.width, slot, row);
        let first = clock.output;
        while clock.output < times.len() && (times[clock.output] == clock.t || clock.ended) {
            let repeats = clock.output > first && times[clock.output - 1] == times[clock.output] && !clock.ended;
            if let Some(replay) = problem.again.as_ref().filter(|replay| repeats && replay.moves()) {
                // Between a time and its repetition lies a step of no length.
                let mut k = vec![T::zero(); block.rows];
                single.set_inputs(problem.inputs.of(clock.trajectory), tools);
                single.slope(&mut *tools.lanes[0], clock.t, row, &mut k)?;
                let output = problem.times.start(clock.trajectory) + clock.output;
                replay.add(|index| replay.rate(index, output) - replay.rate(index, output - 1), &k, row);
                if !acts && !problem.options.interpolates(times) {
                    for (index, tau) in clock.tau.iter_mut().enumerate() {
                        *tau = replay.rate(index, output);
                    }
                    set_lane(&mut block.x, block.width, slot, row);
                }
            }
            sinks.write(problem, clock.trajectory, clock.output, row);
            if let Some(record) = &mut sinks.record {
                let steps = record.cursor(own).steps;
                record.places[own].push(2 * steps)?;
            }
            clock.output += 1;
        }
        Ok(())
    }
}
