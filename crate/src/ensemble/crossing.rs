//! Where events lie in the steps that a block has just tried.

use super::block::{Block, lane, set_lane};
use super::changes::Direction;
use super::clock::{Clock, End, Plan};
use super::forward::Forward;
use super::problem::{Problem, Tools};
use super::single::{least_cut, sign};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::stepper::Span;

/// Events at the end of a step.
pub(super) struct Crossed {
    pub slot: usize,
    /// Whose zero the end is.
    pub root: usize,
    pub acting: Vec<usize>,
    /// The side of each event's function before it, and behind it: 0 where that stands on its zero.
    pub nears: Vec<i8>,
    pub sides: Vec<i8>,
    /// What the functions are there, of those that have their zeros there.
    pub zeros: Vec<Option<f64>>,
}

impl Crossed {
    /// Of an event whose function has its zero there: what that is, and the side before.
    pub fn found(&self, event: usize) -> Option<(f64, i8)> {
        self.zeros[event].map(|value| (value, self.nears[event]))
    }
}

impl<T: Real> Forward<T> {
    /// Where events lie in the steps that are accepted: cuts those steps.
    #[inline(never)]
    pub(super) fn crossings(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        index: usize,
        next_known: bool,
        failures: &mut Vec<(usize, Error)>,
    ) -> Result<Vec<Crossed>> {
        let Self { block, single, clocks, plans, accepted, values, .. } = self;
        let (width, active, rows, stages) = (block.width, block.active, block.rows, problem.tableau.gradient_stages());
        let Problem { rules, tableau, options, inputs, .. } = problem;
        let len = rows * width;
        {
            let Block { next, spans, .. } = &mut *block;
            spans.stage_times(width, 1.0, &mut next[len..len + width]);
            for (event, values) in tools.maps.events.iter_mut().zip(values.chunks_exact_mut(width)) {
                event.when[index].evaluate(active, &spans.times, &next[..len + width], None, values)?;
            }
        }
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
            let crosses = |event: usize, near: i8, far: i8| {
                near != 0
                    && far != near
                    && match rules.events[event].direction {
                        Direction::Both => true,
                        Direction::Rising => near < 0,
                        Direction::Falling => near > 0,
                    }
            };
            let leaves = |event: usize| clock.rest[event] == 0.0 || far[event].abs() > clock.rest[event];
            let hits: Vec<usize> = (0..far.len())
                .filter(|&event| leaves(event) && crosses(event, clock.signs[event], sign(far[event])))
                .collect();
            if hits.is_empty() {
                for (event, &g) in far.iter().enumerate() {
                    if g != 0.0 && g.abs() > clock.rest[event] {
                        (clock.signs[event], clock.rest[event]) = (sign(g), 0.0);
                    }
                }
                continue;
            }
            single.settle(inputs.of(clock.trajectory), tools);
            let Tools { maps, lanes } = &mut *tools;
            lane(&block.x, width, slot, &mut single.x);
            lane(&block.carry, width, slot, &mut single.carry);
            lane(&block.slopes, width, slot, &mut single.work.slopes[..rows]);
            let mut extension = vec![T::zero(); if next_known { (stages + 1) * rows } else { 0 }];
            for (stage, slope) in extension.chunks_exact_mut(rows).enumerate() {
                lane(&block.slopes[stage * len..][..len], width, slot, slope);
            }
            let evaluations = single.evaluations;
            let compensated = options.summation.of_state();
            let mut first: Option<(usize, Span)> = None;
            let mut ends = vec![];
            let mut undefined = None;
            for &event in &hits {
                let near = clock.signs[event];
                let when = &mut *maps.events[event].when[0];
                let given = (plan.span, near, far[event]);
                let guess = if next_known { single.guess(tableau, when, given, &extension)? } else { None };
                let Some(span) = single.cut(tableau, &mut *lanes[0], when, given, guess, compensated)? else {
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
            let (root, span) = first.expect("at least one");
            if hits.len() > 1 {
                single.step(tableau, &mut *lanes[0], span, compensated)?;
            }
            // Whoever is on its far side there, or has its own zero there up to rounding, acts too.
            let least = least_cut::<T>(plan.span);
            if (span.end - span.t).abs() <= 4.0 * least && clock.recent == Some((root, span.t)) {
                let (limit, progress) = (clock.counts.iter().sum(), clock.progress(span.h));
                chattering.push((slot, Error::Chattering { events: limit, progress }));
                accepted[slot] = false;
                continue;
            }
            let [before, next] = [single.x.to_vec(), single.next.to_vec()];
            let nears = clock.signs.clone();
            let mut acting = Vec::new();
            let mut sides = Vec::new();
            let mut zeros = Vec::new();
            for (event, &near) in nears.iter().enumerate() {
                let value = single.value(&mut *maps.events[event].when[0], span.end, &next)?;
                let g = sign(value);
                let close = ends.iter().any(|&(hit, end)| hit == event && (end - span.end).abs() <= 4.0 * least);
                let acts = event == root || close || (hits.contains(&event) && crosses(event, near, g));
                if acts {
                    acting.push(event);
                }
                // One whose direction does not count this way through its zero stands on it all the same.
                let mut at_zero = acts;
                let mut behind = g;
                if !acts && near != 0 && !crosses(event, near, -near) {
                    let (when, now) = (&mut *maps.events[event].when[0], (span.end, 4.0 * least));
                    let (stands, rate) = single.at_zero(&mut *lanes[0], when, now, [&before, &next], value)?;
                    at_zero = stands;
                    if stands && rate != 0.0 {
                        behind = sign(rate * span.h);
                    }
                }
                zeros.push(at_zero.then_some(value));
                sides.push(match acts {
                    // Behind a zero the next step tells the side, which may be the one before. What is still in front of its zero lies
                    // there up to rounding.
                    true if g == near => -g,
                    true => g,
                    false if behind == 0 => near,
                    false => behind,
                });
            }
            if span.end != plan.span.end {
                set_lane(&mut block.next, width, slot, &single.next);
                set_lane(&mut block.next_carry, width, slot, &single.next_carry);
                for stage in 0..stages {
                    let slopes = &mut block.slopes[stage * len..(stage + 1) * len];
                    set_lane(slopes, width, slot, single.work.slope(stage));
                }
                // For outputs within the step.
                let mut k = vec![T::zero(); rows];
                single.slope(&mut *lanes[0], span.end, &next, &mut k)?;
                set_lane(&mut block.slopes[stages * len..][..len], width, slot, &k);
                plan.span = span;
                let spans = &mut block.spans;
                (spans.h[slot], spans.end[slot]) = (span.h, span.end);
                block.next[len + slot] = T::of(span.end);
            }
            plan.end = End::Event;
            clock.stats.evaluations += single.evaluations - evaluations;
            crossed.push(Crossed { slot, root, acting, nears, sides, zeros });
        }
        failures.extend(failed);
        failures.extend(chattering);
        Ok(crossed)
    }
}
