//! Event location: the roots of events' functions in the steps that a block has just tried.

use super::block::{Block, load_lane, store_lane};
use super::changes::EventFunctions;
use super::event_samples::EventSamples;
use super::events::LocatedEvents;
use super::forward::Forward;
use super::problem::{Evaluators, Problem};
use super::single::{SingleTrajectory, sign, time_resolution};
use super::solver_state::{SolverState, StepEnd, TrialStep};
use crate::error::{Error, Result};
use crate::field::Lanes;
use crate::kernel::real::Real;
use crate::stepper::Span;

/// An event whose function has another sign at the end of a step, the one tried or a shorter one.
struct SignChange {
    event: usize,
    span: Span,
    end_value: f64,
}

impl<T: Real> Forward<T> {
    /// Locates events in the accepted steps, and shortens those steps to end on them.
    #[inline(never)]
    pub(super) fn locate_events(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        index: usize,
        next_slope_known: bool,
        failures: &mut Vec<(usize, Error)>,
    ) -> Result<Vec<LocatedEvents>> {
        let Self { block, single, solvers, trials, accepted, event_values, .. } = self;
        let (width, active, rows, stages) = (block.width, block.active, block.rows, problem.scheme.stages);
        let Problem { rules, scheme, options, inputs, .. } = problem;
        let len = rows * width;
        {
            let Block { next, spans, .. } = &mut *block;
            spans.stage_times(width, 1.0, &mut next[len..len + width]);
            for (event, values) in evaluators.functions.events.iter_mut().zip(event_values.chunks_exact_mut(width)) {
                event.when[index].evaluate(active, &spans.times, &next[..len + width], None, values)?;
            }
        }
        // A known extension shows functions that cross zero and come back within a step.
        let samples = next_slope_known
            .then(|| EventSamples::new(block, scheme, &mut evaluators.functions.events, index))
            .transpose()?;
        let mut located = Vec::new();
        let (mut failed, mut chattering) = (vec![], vec![]);
        // A step may end beyond an event, where the event's function is not defined.
        let mut shorten = |event: usize, slot: usize, solver: &mut SolverState, trial: &TrialStep| {
            if !solver.shorten(options, trial) {
                failed.push((slot, Error::EventNonFinite { event, progress: solver.progress(trial.span.h) }));
            }
        };
        let mut slots: Vec<usize> = (0..active).rev().filter(|&slot| accepted[slot]).collect();
        let mut touched: Vec<(usize, usize)> = vec![];
        while let Some(slot) = slots.pop() {
            let solver = &mut solvers[slot];
            let end_values: Vec<f64> =
                (0..rules.events.len()).map(|event| event_values[event * width + slot].wide()).collect();
            let trial = trials[slot].as_mut().expect("planned");
            if let Some(event) = end_values.iter().position(|g| g.is_nan()) {
                accepted[slot] = false;
                shorten(event, slot, solver, trial);
                continue;
            }
            let crosses = |event: usize, before: i8, after: i8| rules.events[event].direction.matches(before, after);
            let has_left_root =
                |event: usize| solver.thresholds[event] == 0.0 || end_values[event].abs() > solver.thresholds[event];
            let mut sign_changes: Vec<SignChange> = (0..end_values.len())
                .filter(|&event| {
                    has_left_root(event) && crosses(event, solver.event_signs[event], sign(end_values[event]))
                })
                .map(|event| SignChange { event, span: trial.span, end_value: end_values[event] })
                .collect();
            let interior: Vec<(usize, f64)> = (0..end_values.len())
                .filter(|&event| {
                    solver.event_signs[event] != 0 && sign_changes.iter().all(|change| change.event != event)
                })
                .filter_map(|event| {
                    let (start_sign, threshold) = (solver.event_signs[event], solver.thresholds[event]);
                    Some((
                        event,
                        samples.as_ref()?.interior_crossing(event, slot, start_sign, end_values[event], threshold)?,
                    ))
                })
                .collect();
            if sign_changes.is_empty() && interior.is_empty() {
                solver.update_signs(&end_values);
                continue;
            }
            single.set_inputs(inputs.of(solver.trajectory), evaluators);
            let Evaluators { functions, lanes } = &mut *evaluators;
            load_lane(&block.x, width, slot, &mut single.x);
            load_lane(&block.carry, width, slot, &mut single.carry);
            load_lane(&block.slopes, width, slot, &mut single.work.slopes[..rows]);
            let mut extension = vec![T::zero(); if next_slope_known { (stages + 1) * rows } else { 0 }];
            for (stage, slope) in extension.chunks_exact_mut(rows).enumerate() {
                load_lane(&block.slopes[stage * len..][..len], width, slot, slope);
            }
            let evaluations = single.evaluations;
            let compensated = options.summation.of_state();
            // The first point where a function has crossed in the direction that does not count: the step ends there, so that the next
            // one sees it cross back.
            let mut turning_point: Option<Span> = None;
            for (event, theta) in interior {
                let start_sign = solver.event_signs[event];
                let end = trial.span.t + theta * trial.span.h;
                let span = Span { h: end - trial.span.t, end, ..trial.span };
                single.step(&mut *lanes[0], span, compensated)?;
                let next = single.next.to_vec();
                let g = single.event_value(&mut *functions.events[event].when[0], end, &next)?;
                if sign(g) != -start_sign || g.abs() <= solver.thresholds[event] {
                    continue;
                }
                if crosses(event, start_sign, -start_sign) {
                    sign_changes.push(SignChange { event, span, end_value: g });
                } else if turning_point.is_none_or(|known| span.h.abs() < known.h.abs()) {
                    turning_point = Some(span);
                }
            }
            if sign_changes.is_empty() && turning_point.is_none() {
                solver.stats.evaluations += single.evaluations - evaluations;
                solver.update_signs(&end_values);
                continue;
            }
            let mut first: Option<(usize, Span)> = None;
            let mut ends = vec![];
            let (mut undefined, mut touching) = (None, None);
            for &SignChange { event, span, end_value } in &sign_changes {
                let start_sign = solver.event_signs[event];
                let changes_state = functions.events[event].set.is_some();
                let when = &mut *functions.events[event].when[0];
                let given = (span, start_sign, end_value, solver.thresholds[event]);
                let whole = next_slope_known && span.end == trial.span.end;
                let guess = if whole { single.root_on_extension(scheme, when, given, &extension)? } else { None };
                let Some(span) = single.step_to_root(&mut *lanes[0], when, given, guess, compensated)? else {
                    undefined = Some(event);
                    break;
                };
                // A function that touches zero may cross it twice by rounding.
                if repeats::<T>(solver, trial.span, span)
                    && !changes_state
                    && !touched.contains(&(slot, event))
                    && single.touches(&mut *lanes[0], when, (given.0, span), end_value)?
                {
                    touching = Some(event);
                    break;
                }
                ends.push((event, span.end));
                let earlier = first.is_none_or(|(_, known)| (span.end - known.end) * span.h.signum() < 0.0);
                if earlier {
                    first = Some((event, span));
                }
            }
            if let Some(event) = undefined {
                accepted[slot] = false;
                solver.stats.evaluations += single.evaluations - evaluations;
                shorten(event, slot, solver, trial);
                continue;
            }
            if let Some(event) = touching {
                // The rest of the step begins with the sign that it has then.
                solver.event_signs[event] = -solver.event_signs[event];
                solver.stats.evaluations += single.evaluations - evaluations;
                touched.push((slot, event));
                slots.push(slot);
                continue;
            }
            let span = first.map_or_else(|| turning_point.expect("a root or a turning point"), |(_, span)| span);
            if let Some(turning_point) =
                turning_point.filter(|turning_point| first.is_none() || turning_point.h.abs() < span.h.abs())
            {
                single.step(&mut *lanes[0], turning_point, compensated)?;
                let next = single.next.to_vec();
                let value =
                    |event: &mut EventFunctions<T>| single.event_value(&mut *event.when[0], turning_point.end, &next);
                let values = functions.events.iter_mut().map(value).collect::<Result<Vec<f64>>>()?;
                solver.update_signs(&values);
                replace_step(block, slot, single, &mut *lanes[0], turning_point)?;
                (trial.span, trial.end) = (turning_point, StepEnd::Free);
                solver.stats.evaluations += single.evaluations - evaluations;
                continue;
            }
            let (root, span) = first.expect("no turning point comes before it");
            if sign_changes.len() > 1 {
                single.step(&mut *lanes[0], span, compensated)?;
            }
            let resolution = time_resolution::<T>(trial.span);
            if repeats::<T>(solver, trial.span, span) && solver.last_event.is_some_and(|(event, _)| event == root) {
                let (limit, progress) = (solver.event_counts.iter().sum(), solver.progress(span.h));
                chattering.push((slot, Error::Chattering { events: limit, progress }));
                accepted[slot] = false;
                solver.stats.evaluations += single.evaluations - evaluations;
                continue;
            }
            located.push(triggered_at(
                problem,
                evaluators,
                single,
                solver,
                (slot, root, span.end),
                (&sign_changes, &ends, resolution),
            )?);
            if span.end != trial.span.end {
                replace_step(block, slot, single, &mut *evaluators.lanes[0], span)?;
                trial.span = span;
            }
            trial.end = StepEnd::Event;
            solver.stats.evaluations += single.evaluations - evaluations;
        }
        failures.extend(failed);
        failures.extend(chattering);
        Ok(located)
    }
}

/// Whether `span` starts at an event and ends no later than the time resolves.
fn repeats<T: Real>(solver: &SolverState, trial: Span, span: Span) -> bool {
    let is_short = (span.end - span.t).abs() <= 4.0 * time_resolution::<T>(trial);
    is_short && solver.last_event.is_some_and(|(_, t)| t == span.t)
}

/// The events that occur at the end of a step on a root: all whose functions have changed their signs there, or have roots of their own
/// there up to rounding.
fn triggered_at<T: Real>(
    problem: &Problem<T>,
    evaluators: &mut Evaluators<T>,
    single: &mut SingleTrajectory<T>,
    solver: &SolverState,
    (slot, root, end): (usize, usize, f64),
    (sign_changes, ends, resolution): (&[SignChange], &[(usize, f64)], f64),
) -> Result<LocatedEvents> {
    let Evaluators { functions, lanes } = evaluators;
    let crosses = |event: usize, before: i8, after: i8| problem.rules.events[event].direction.matches(before, after);
    let [before, next] = [single.x.to_vec(), single.next.to_vec()];
    let signs_before = solver.event_signs.clone();
    let direction = problem.direction(solver.trajectory);
    let (mut triggered, mut signs_after, mut residuals) = (vec![], vec![], vec![]);
    for (event, &start_sign) in signs_before.iter().enumerate() {
        let when = &mut *functions.events[event].when[0];
        let value = single.event_value(when, end, &next)?;
        let g = sign(value);
        let close = ends.iter().any(|&(changed, other)| changed == event && (other - end).abs() <= 4.0 * resolution);
        let sign_change = sign_changes.iter().find(|change| change.event == event);
        let triggers = event == root || close || (sign_change.is_some() && crosses(event, start_sign, g));
        if triggers {
            triggered.push(event);
        }
        // An event whose direction does not count may have a root here all the same.
        let (mut at_root, mut sign_after) = (triggers, g);
        if !triggers && start_sign != 0 && !crosses(event, start_sign, -start_sign) {
            let (is_root, rate) =
                single.is_root(&mut *lanes[0], when, (end, 4.0 * resolution), [&before, &next], value)?;
            at_root = is_root;
            if is_root && rate != 0.0 {
                sign_after = sign(rate * direction);
            }
        }
        residuals.push(at_root.then_some(value));
        signs_after.push(match triggers {
            // A function that has not changed its sign yet is at its root up to rounding. At zero the sign is the one it changes to, if that is
            // known; otherwise the next step decides, which may find the sign before.
            true if g == start_sign => -g,
            true if g == 0 && sign_change.is_some_and(|change| sign(change.end_value) == -start_sign) => -start_sign,
            true => g,
            false if sign_after == 0 => start_sign,
            false => sign_after,
        });
    }
    Ok(LocatedEvents { slot, root, triggered, signs_before, signs_after, residuals })
}

/// Replaces the step of a lane by the shorter one that its trajectory took on its own.
fn replace_step<T: Real>(
    block: &mut Block<T>,
    slot: usize,
    single: &mut SingleTrajectory<T>,
    lanes: &mut dyn Lanes<T>,
    span: Span,
) -> Result<()> {
    let (len, width, stages) = (block.len(), block.width, single.stages());
    store_lane(&mut block.next, width, slot, &single.next);
    store_lane(&mut block.next_carry, width, slot, &single.next_carry);
    for stage in 0..stages {
        store_lane(&mut block.slopes[stage * len..(stage + 1) * len], width, slot, single.work.slope(stage));
    }
    // For outputs within the step.
    let next = single.next.to_vec();
    let mut k = vec![T::zero(); block.rows];
    single.slope(lanes, span.end, &next, &mut k)?;
    store_lane(&mut block.slopes[stages * len..][..len], width, slot, &k);
    let spans = &mut block.spans;
    (spans.h[slot], spans.end[slot]) = (span.h, span.end);
    block.next[len + slot] = T::of(span.end);
    Ok(())
}
