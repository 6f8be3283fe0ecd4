//! Where events lie in the steps that a block has just tried.

use super::block::{Block, lane, set_lane};
use super::changes::EventMaps;
use super::clock::{Clock, End, Plan};
use super::dips::Within;
use super::events::Crossed;
use super::forward::Forward;
use super::problem::{Problem, Tools};
use super::single::{Single, least_cut, sign};
use crate::error::{Error, Result};
use crate::field::Lanes;
use crate::kernel::real::Real;
use crate::stepper::Span;

/// An event whose function is on another side, `far`, at the end of a step, which is the one tried or a shorter one.
struct Hit {
    event: usize,
    span: Span,
    far: f64,
}

impl<T: Real> Forward<T> {
    /// Where events lie in the steps that are accepted: cuts those steps.
    #[inline(never)]
    pub(super) fn crossings(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        index: usize,
        next_slope_known: bool,
        failures: &mut Vec<(usize, Error)>,
    ) -> Result<Vec<Crossed>> {
        let Self { block, single, clocks, plans, accepted, values, .. } = self;
        let (width, active, rows, stages) = (block.width, block.active, block.rows, problem.scheme.stages);
        let Problem { rules, scheme, options, inputs, .. } = problem;
        let len = rows * width;
        {
            let Block { next, spans, .. } = &mut *block;
            spans.stage_times(width, 1.0, &mut next[len..len + width]);
            for (event, values) in tools.maps.events.iter_mut().zip(values.chunks_exact_mut(width)) {
                event.when[index].evaluate(active, &spans.times, &next[..len + width], None, values)?;
            }
        }
        // An extension that is known tells of functions that cross zero and come back.
        let within = next_slope_known.then(|| Within::new(block, scheme, &mut tools.maps.events, index)).transpose()?;
        let mut crossed = Vec::new();
        let (mut failed, mut chattering) = (vec![], vec![]);
        // A step may end where an event's function is not defined any more, behind the event.
        let mut shorten = |event: usize, slot: usize, clock: &mut Clock, plan: &Plan| {
            if !clock.shorten(options, plan) {
                failed.push((slot, Error::EventNonFinite { event, progress: clock.progress(plan.span.h) }));
            }
        };
        for slot in (0..active).filter(|&slot| accepted[slot]).collect::<Vec<_>>() {
            let clock = &mut clocks[slot];
            let far: Vec<f64> = (0..rules.events.len()).map(|event| values[event * width + slot].wide()).collect();
            let plan = plans[slot].as_mut().expect("planned");
            if let Some(event) = far.iter().position(|g| g.is_nan()) {
                accepted[slot] = false;
                shorten(event, slot, clock, plan);
                continue;
            }
            let crosses = |event: usize, near: i8, far: i8| rules.events[event].direction.counts(near, far);
            let leaves = |event: usize| clock.rest[event] == 0.0 || far[event].abs() > clock.rest[event];
            let mut hits: Vec<Hit> = (0..far.len())
                .filter(|&event| leaves(event) && crosses(event, clock.signs[event], sign(far[event])))
                .map(|event| Hit { event, span: plan.span, far: far[event] })
                .collect();
            let dips: Vec<(usize, f64)> = (0..far.len())
                .filter(|&event| clock.signs[event] != 0 && hits.iter().all(|hit| hit.event != event))
                .filter_map(|event| {
                    let (near, rest) = (clock.signs[event], clock.rest[event]);
                    Some((event, within.as_ref()?.dip(event, slot, near, far[event], rest)?))
                })
                .collect();
            if hits.is_empty() && dips.is_empty() {
                clock.take_sides(&far);
                continue;
            }
            single.set_inputs(inputs.of(clock.trajectory), tools);
            let Tools { maps, lanes } = &mut *tools;
            lane(&block.x, width, slot, &mut single.x);
            lane(&block.carry, width, slot, &mut single.carry);
            lane(&block.slopes, width, slot, &mut single.work.slopes[..rows]);
            let mut extension = vec![T::zero(); if next_slope_known { (stages + 1) * rows } else { 0 }];
            for (stage, slope) in extension.chunks_exact_mut(rows).enumerate() {
                lane(&block.slopes[stage * len..][..len], width, slot, slope);
            }
            let evaluations = single.evaluations;
            let compensated = options.summation.of_state();
            // The first place where a function turns that counts on its way back: there the step is to end.
            let mut turn: Option<Span> = None;
            for (event, theta) in dips {
                let near = clock.signs[event];
                let end = plan.span.t + theta * plan.span.h;
                let span = Span { h: end - plan.span.t, end, ..plan.span };
                single.step(&mut *lanes[0], span, compensated)?;
                let next = single.next.to_vec();
                let g = single.value(&mut *maps.events[event].when[0], end, &next)?;
                if sign(g) != -near || g.abs() <= clock.rest[event] {
                    continue;
                }
                if crosses(event, near, -near) {
                    hits.push(Hit { event, span, far: g });
                } else if turn.is_none_or(|known| span.h.abs() < known.h.abs()) {
                    turn = Some(span);
                }
            }
            if hits.is_empty() && turn.is_none() {
                clock.stats.evaluations += single.evaluations - evaluations;
                clock.take_sides(&far);
                continue;
            }
            let mut first: Option<(usize, Span)> = None;
            let mut ends = vec![];
            let mut undefined = None;
            for &Hit { event, span, far } in &hits {
                let near = clock.signs[event];
                let when = &mut *maps.events[event].when[0];
                let given = (span, near, far, clock.rest[event]);
                let whole = next_slope_known && span.end == plan.span.end;
                let guess = if whole { single.guess(scheme, when, given, &extension)? } else { None };
                let Some(span) = single.cut(&mut *lanes[0], when, given, guess, compensated)? else {
                    undefined = Some(event);
                    break;
                };
                ends.push((event, span.end));
                let earlier = first.is_none_or(|(_, known)| (span.end - known.end) * span.h.signum() < 0.0);
                if earlier {
                    first = Some((event, span));
                }
            }
            if let Some(event) = undefined {
                accepted[slot] = false;
                clock.stats.evaluations += single.evaluations - evaluations;
                shorten(event, slot, clock, plan);
                continue;
            }
            let span = first.map_or_else(|| turn.expect("one of both"), |(_, span)| span);
            if let Some(turn) = turn.filter(|turn| first.is_none() || turn.h.abs() < span.h.abs()) {
                single.step(&mut *lanes[0], turn, compensated)?;
                let next = single.next.to_vec();
                let value = |event: &mut EventMaps<T>| single.value(&mut *event.when[0], turn.end, &next);
                let values = maps.events.iter_mut().map(value).collect::<Result<Vec<f64>>>()?;
                clock.take_sides(&values);
                take_shorter(block, slot, single, &mut *lanes[0], turn)?;
                (plan.span, plan.end) = (turn, End::Free);
                clock.stats.evaluations += single.evaluations - evaluations;
                continue;
            }
            let (root, span) = first.expect("no turn comes before it");
            if hits.len() > 1 {
                single.step(&mut *lanes[0], span, compensated)?;
            }
            let least = least_cut::<T>(plan.span);
            if (span.end - span.t).abs() <= 4.0 * least && clock.recent == Some((root, span.t)) {
                let (limit, progress) = (clock.counts.iter().sum(), clock.progress(span.h));
                chattering.push((slot, Error::Chattering { events: limit, progress }));
                accepted[slot] = false;
                clock.stats.evaluations += single.evaluations - evaluations;
                continue;
            }
            crossed.push(acting_at(problem, tools, single, clock, (slot, root, span.end), (&hits, &ends, least))?);
            if span.end != plan.span.end {
                take_shorter(block, slot, single, &mut *tools.lanes[0], span)?;
                plan.span = span;
            }
            plan.end = End::Event;
            clock.stats.evaluations += single.evaluations - evaluations;
        }
        failures.extend(failed);
        failures.extend(chattering);
        Ok(crossed)
    }
}

/// Who acts at the end of the step that a trajectory has taken by itself, where an event has its zero: whoever is on its far side there, or
/// has its own zero there up to rounding.
fn acting_at<T: Real>(
    problem: &Problem<T>,
    tools: &mut Tools<T>,
    single: &mut Single<T>,
    clock: &Clock,
    (slot, root, end): (usize, usize, f64),
    (hits, ends, least): (&[Hit], &[(usize, f64)], f64),
) -> Result<Crossed> {
    let Tools { maps, lanes } = tools;
    let crosses = |event: usize, near: i8, far: i8| problem.rules.events[event].direction.counts(near, far);
    let [before, next] = [single.x.to_vec(), single.next.to_vec()];
    let nears = clock.signs.clone();
    let direction = problem.direction(clock.trajectory);
    let (mut acting, mut sides, mut zeros) = (vec![], vec![], vec![]);
    for (event, &near) in nears.iter().enumerate() {
        let when = &mut *maps.events[event].when[0];
        let value = single.value(when, end, &next)?;
        let g = sign(value);
        let close = ends.iter().any(|&(hit, other)| hit == event && (other - end).abs() <= 4.0 * least);
        let hit = hits.iter().find(|hit| hit.event == event);
        let acts = event == root || close || (hit.is_some() && crosses(event, near, g));
        if acts {
            acting.push(event);
        }
        // One whose direction does not count this way through its zero stands on it all the same.
        let (mut at_zero, mut behind) = (acts, g);
        if !acts && near != 0 && !crosses(event, near, -near) {
            let (stands, rate) = single.at_zero(&mut *lanes[0], when, (end, 4.0 * least), [&before, &next], value)?;
            at_zero = stands;
            if stands && rate != 0.0 {
                behind = sign(rate * direction);
            }
        }
        zeros.push(at_zero.then_some(value));
        sides.push(match acts {
            // What is still in front of its zero lies there up to rounding. On the zero itself the side is the one that it goes to, if that
            // has been seen; else the next step tells, which may find it on the one before.
            true if g == near => -g,
            true if g == 0 && hit.is_some_and(|hit| sign(hit.far) == -near) => -near,
            true => g,
            false if behind == 0 => near,
            false => behind,
        });
    }
    Ok(Crossed { slot, root, acting, nears, sides, zeros })
}

/// Puts the step that a trajectory has taken by itself in the place of the longer one of its lane.
fn take_shorter<T: Real>(
    block: &mut Block<T>,
    slot: usize,
    single: &mut Single<T>,
    lanes: &mut dyn Lanes<T>,
    span: Span,
) -> Result<()> {
    let (len, width, stages) = (block.len(), block.width, single.stages());
    set_lane(&mut block.next, width, slot, &single.next);
    set_lane(&mut block.next_carry, width, slot, &single.next_carry);
    for stage in 0..stages {
        set_lane(&mut block.slopes[stage * len..(stage + 1) * len], width, slot, single.work.slope(stage));
    }
    // For outputs within the step.
    let next = single.next.to_vec();
    let mut k = vec![T::zero(); block.rows];
    single.slope(lanes, span.end, &next, &mut k)?;
    set_lane(&mut block.slopes[stages * len..][..len], width, slot, &k);
    let spans = &mut block.spans;
    (spans.h[slot], spans.end[slot]) = (span.h, span.end);
    block.next[len + slot] = T::of(span.end);
    Ok(())
}
