//! The solve of a leaf: rounds in which every trajectory that is not at its end tries a step.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::block::{Block, lane, lanes_index, set_lane, width_for};
use super::clock::{Clock, End, Plan};
use super::events::{Crossed, Happened};
use super::part::Part;
use super::problem::{Problem, Tools};
use super::quadrature::Quadrature;
use super::record::LeafRecord;
use super::single::Single;
use super::standing::{Advance, Standing};
use crate::control::StepControl;
use crate::error::{Error, Result};
use crate::kernel::combine::advance;
use crate::kernel::lanes::{Scaled, select_lanes};
use crate::kernel::real::Real;
use crate::memory::{List, Purpose};
use crate::progress;
use crate::solve::{Stats, step_control, tolerances_of};
use crate::stepper::{Span, Weights};

/// What solves leaves, one after the other.
pub(super) struct Forward<T> {
    pub(super) block: Block<T>,
    pub(super) single: Single<T>,
    control: StepControl,
    /// Of each feature.
    pub(super) tolerances: Vec<(f64, f64)>,
    pub(super) blank: Stats,
    pub(super) clocks: Vec<Clock>,
    pub(super) plans: Vec<Option<Plan>>,
    pub(super) sums: Vec<f64>,
    errors: Vec<f64>,
    /// Errors over their tolerances, with the times as a last row, and their norms, where those are a program's.
    ratios: Vec<T>,
    norms: Vec<T>,
    pub(super) finite: Vec<bool>,
    pub(super) accepted: Vec<bool>,
    /// g of each event at x_{n+1}, a row for each.
    pub(super) values: Vec<T>,
    pub(super) row: Vec<T>,
    /// Rounds so far.
    rounds: usize,
    /// Events of each trajectory of the leaf.
    pub(super) happened: Vec<Happened<T>>,
    /// Where the continuous adjoint integrates (x, λ): what accepted steps add to its integrals.
    pub(super) quadrature: Option<Quadrature<T>>,
}

/// Where the results of a leaf go.
pub(super) struct Sinks<'a, T> {
    pub part: Option<&'a mut Part<T>>,
    pub record: Option<LeafRecord<T>>,
    /// Where trajectories that are taken on later stand then.
    standing: Option<&'a mut [Standing<T>]>,
    pub first: usize,
}

impl<T: Real> Forward<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (control, blank) = step_control::<T>(&problem.options);
        let each = tolerances_of::<T>(&problem.options);
        let tolerances = (0..problem.state).map(|feature| each.of(&control, feature)).collect();
        let block = Block::new(problem)?;
        let (width, normed) = (block.width, problem.rules.normed);
        Ok(Self {
            single: Single::new(problem)?,
            control,
            tolerances,
            blank,
            clocks: vec![],
            plans: vec![None; width],
            sums: vec![0.0; width],
            errors: vec![0.0; width],
            ratios: vec![T::zero(); if normed { width * (problem.state + 1) } else { 0 }],
            norms: vec![T::zero(); width],
            finite: vec![true; width],
            accepted: vec![false; width],
            values: vec![T::zero(); width * problem.rules.events.len()],
            row: vec![T::zero(); problem.state],
            rounds: 0,
            happened: vec![],
            quadrature: None,
            block,
        })
    }

    /// Solves a leaf.
    pub fn run(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        leaf: Range<usize>,
        part: Option<&mut Part<T>>,
        record: Option<LeafRecord<T>>,
    ) -> Result<Option<LeafRecord<T>>> {
        let mut sinks = Sinks { part, record, standing: None, first: leaf.start };
        self.load(problem, leaf.clone())?;
        self.begin(problem, tools, &mut sinks)?;
        while self.block.active > 0 {
            self.round(problem, tools, &mut sinks)?;
            if sinks.part.is_some() && problem.again.is_none() {
                self.report(problem)?;
            }
        }
        self.hand_out_events(&mut sinks)?;
        Ok(sinks.record)
    }

    /// Takes trajectories on from where they stand, to the last of their times or by one step each.
    pub fn advance(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        standing: &mut [Standing<T>],
        part: &mut Part<T>,
        how: Advance,
    ) -> Result<()> {
        let first = standing.first().map_or(0, |standing| standing.clock.trajectory);
        self.load(problem, first..first + standing.len())?;
        let (block, blank) = (&mut self.block, self.blank);
        for (slot, Standing { clock, x, carry, slope, is_new, .. }) in standing.iter().enumerate() {
            set_lane(&mut block.x, block.width, slot, x);
            set_lane(&mut block.carry, block.width, slot, carry);
            set_lane(&mut block.slopes, block.width, slot, slope);
            self.clocks[slot] = clock.clone();
            self.clocks[slot].resume(problem.times.of(clock.trajectory), *is_new, blank);
        }
        for slot in standing.len()..block.width {
            block.move_lane(0, slot);
        }
        let mut sinks = Sinks { part: Some(part), record: None, standing: Some(standing), first };
        self.begin(problem, tools, &mut sinks)?;
        while self.block.active > 0 {
            self.round(problem, tools, &mut sinks)?;
            self.report(problem)?;
            if how == Advance::Step {
                for slot in (0..self.clocks.len()).rev() {
                    if self.clocks[slot].stats.accepted > 0 {
                        self.remove(problem, slot, None, &mut sinks)?;
                    }
                }
                self.refit(problem, tools);
            }
        }
        self.hand_out_events(&mut sinks)
    }

    /// Tells how far all trajectories have come.
    fn report(&mut self, problem: &Problem<T>) -> Result<()> {
        self.rounds += 1;
        let clocks = &self.clocks;
        progress::report(self.rounds, || {
            let part = |clock: &Clock| {
                let times = problem.times.of(clock.trajectory);
                progress::fraction(clock.t, times[0], times[times.len() - 1])
            };
            let under_way: f64 = clocks.iter().map(part).sum();
            (problem.done.load(Ordering::Relaxed) as f64 + under_way) / problem.batch as f64
        })
    }

    fn hand_out_events(&mut self, sinks: &mut Sinks<'_, T>) -> Result<()> {
        if let Some(part) = sinks.part.as_deref_mut() {
            for Happened { events, states } in self.happened.drain(..) {
                part.events.extend(events.iter().copied())?;
                part.event_states.extend(states.iter().copied())?;
            }
        }
        Ok(())
    }

    /// Loads a leaf: states at the first times.
    fn load(&mut self, problem: &Problem<T>, leaf: Range<usize>) -> Result<()> {
        let (ledger, purpose) = (&problem.ledger, Purpose::Output);
        let none = |_| Happened { events: List::new(ledger, purpose), states: List::new(ledger, purpose) };
        self.happened = leaf.clone().map(none).collect();
        let block = &mut self.block;
        block.width = width_for(problem, leaf.len());
        block.active = leaf.len();
        self.clocks.clear();
        let (width, rows) = (block.width, block.rows);
        block.carry[..rows * width].fill(T::zero());
        for (slot, trajectory) in leaf.enumerate() {
            let times = problem.times.of(trajectory);
            Clock::check(&problem.options, times)?;
            let due = problem.rules.due(trajectory, times);
            let mut clock = Clock::new(trajectory, times, due, problem.rules.events.len(), self.blank);
            if let Some(replay) = &problem.again {
                clock.tau = replay.first_rates(problem.times.start(trajectory));
            }
            self.clocks.push(clock);
            set_lane(&mut block.x, width, slot, &problem.y0[trajectory * rows..(trajectory + 1) * rows]);
            let (arguments, data) = problem.inputs.of(trajectory);
            set_lane(&mut block.arguments, width, slot, arguments);
            set_lane(&mut block.data, width, slot, data);
        }
        for slot in self.clocks.len()..width {
            block.move_lane(0, slot);
        }
        Ok(())
    }

    /// f at the first times into the first slopes of the lanes, a leaf's trajectories in their order.
    pub fn slopes_at_start(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, leaf: Range<usize>) -> Result<()> {
        self.load(problem, leaf)?;
        self.set_inputs(problem, tools);
        for (t, clock) in self.block.spans.t.iter_mut().zip(&self.clocks) {
            *t = clock.t;
        }
        self.block.first_slopes(&mut *tools.lanes[lanes_index(problem, self.block.width)])
    }

    /// What happens before the first steps: jumps, outputs; and how long those are.
    fn begin(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, sinks: &mut Sinks<'_, T>) -> Result<()> {
        for slot in (0..self.clocks.len()).rev() {
            match self.boundary(problem, tools, slot, None, sinks) {
                Ok(true) => self.remove(problem, slot, None, sinks)?,
                Ok(false) => self.first_sides(problem, tools, slot)?,
                Err(error @ Error::NonFinite(_)) => self.remove(problem, slot, Some(error), sinks)?,
                Err(error) => return Err(error),
            }
        }
        self.narrow(problem);
        self.set_inputs(problem, tools);
        if problem.options.adaptive() {
            self.first_steps(problem, tools, sinks)?;
        }
        Ok(())
    }

    /// The planned steps to the spans.
    fn set_spans(&mut self) {
        for (slot, plan) in self.plans.iter().take(self.block.active).enumerate() {
            let span = plan.expect("planned above").span;
            let spans = &mut self.block.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (span.t, span.h, span.end);
        }
    }

    /// Where times move along directions, so do the steps that are taken again.
    fn set_clocks(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) -> Result<()> {
        let Some(replay) = problem.again.as_ref().filter(|replay| replay.moves()) else { return Ok(()) };
        let Self { block, single, clocks, plans, .. } = self;
        for (slot, (clock, plan)) in clocks.iter_mut().zip(&*plans).enumerate() {
            let plan = plan.as_ref().expect("planned");
            replay.set(problem, tools, single, (&mut *block, slot), (&mut *clock, plan))?;
            // It is of another length than the step before.
            clock.first_slope_known = false;
        }
        Ok(())
    }

    /// Every trajectory tries a step.
    fn round(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, sinks: &mut Sinks<'_, T>) -> Result<()> {
        let (scheme, stages) = (&problem.scheme, problem.scheme.stages);
        // When each takes its step.
        for slot in (0..self.clocks.len()).rev() {
            let clock = &mut self.clocks[slot];
            let again = problem.again.as_ref().map(|replay| &replay.courses[clock.trajectory].steps[..]);
            match clock.plan(&problem.options, problem.times.of(clock.trajectory), again) {
                Ok(plan) => self.plans[slot] = Some(plan),
                Err(error) => self.remove(problem, slot, Some(error), sinks)?,
            }
        }
        if self.refit(problem, tools) {
            return Ok(());
        }
        self.set_spans();
        self.set_clocks(problem, tools)?;
        let mut index = lanes_index(problem, self.block.width);
        if self.clocks.iter().any(|clock| !clock.first_slope_known) {
            self.block.first_slopes(&mut *tools.lanes[index])?;
            let (len, width) = (self.block.len(), self.block.width);
            problem.finite(&self.block.slopes[..len], &mut self.finite[..width]);
            let mut failed = false;
            for slot in (0..self.clocks.len()).rev() {
                let clock = &mut self.clocks[slot];
                if !clock.first_slope_known {
                    clock.stats.evaluations += 1;
                    clock.first_slope_known = true;
                    if !self.finite[slot] {
                        let failure = Error::NonFinite(clock.progress(self.block.spans.h[slot]));
                        self.remove(problem, slot, Some(failure), sinks)?;
                        failed = true;
                    }
                }
            }
            if failed {
                if self.refit(problem, tools) {
                    return Ok(());
                }
                self.set_spans();
                index = lanes_index(problem, self.block.width);
            }
        }
        let Self { block, clocks, plans, .. } = self;
        let lanes = &mut *tools.lanes[index];
        block.attempt(scheme, lanes)?;
        let (len, width, active) = (block.len(), block.width, block.active);
        clocks.iter_mut().for_each(|clock| clock.stats.evaluations += stages - 1);
        let Block { x, carry, next, next_carry, state, .. } = &mut *block;
        let compensated = problem.options.summation.of_state();
        advance(compensated, (&x[..len], &carry[..len]), &state[..len], (&mut next[..len], &mut next_carry[..len]));
        problem.finite(&next[..len], &mut self.finite[..width]);
        let mut next_slope_known = false;
        let adaptive = problem.options.adaptive();
        if scheme.estimates_with_next && adaptive {
            block.next_slopes(lanes)?;
            clocks.iter_mut().for_each(|clock| clock.stats.evaluations += 1);
            next_slope_known = true;
        }
        let mut failures = Vec::new();
        self.accepted[..width].fill(false);
        if adaptive {
            block.error(scheme);
            let Block { x, next, state, spans, rows, .. } = &mut *block;
            let tolerances = &self.tolerances;
            let scaled = Scaled { numbers: &state[..len], less: None, x: &x[..len], y: &next[..len], tolerances };
            match tools.maps.norm.get_mut(index) {
                None => {
                    scaled.sums(&mut self.errors[..width]);
                    self.errors[..width].iter_mut().for_each(|sum| *sum = (*sum / *rows as f64).sqrt());
                }
                Some(norm) => {
                    let ratios = &mut self.ratios[..len + width];
                    scaled.ratios(width, &mut ratios[..len]);
                    spans.stage_times(width, 1.0, &mut ratios[len..]);
                    norm.evaluate(active, &spans.times, ratios, None, &mut self.norms[..width])?;
                    self.errors[..width]
                        .iter_mut()
                        .zip(&self.norms)
                        .for_each(|(error, norm)| *error = norm.wide().abs());
                }
            }
            for (slot, clock) in clocks.iter_mut().enumerate() {
                let plan = plans[slot].expect("planned above");
                let error = match self.finite[slot] {
                    true => self.errors[slot],
                    false => f64::NAN,
                };
                let control = &self.control;
                let verdict = clock.test_error(&problem.options, &plan, error, |within, before| {
                    control.factor(error, within, scheme.order(), before)
                });
                match verdict {
                    Ok(accepted) => self.accepted[slot] = accepted,
                    Err(error) => failures.push((slot, error)),
                }
            }
        } else {
            for (slot, clock) in clocks.iter().enumerate() {
                match self.finite[slot] {
                    true => self.accepted[slot] = true,
                    false => {
                        let h = plans[slot].map_or(0.0, |plan| plan.span.h);
                        failures.push((slot, Error::NonFinite(clock.progress(h))));
                    }
                }
            }
        }
        // Of whom f(x_{n+1}) is known.
        let mut known = vec![next_slope_known; active];
        let mut crossed = vec![];
        let looks = !problem.rules.events.is_empty() && problem.again.is_none();
        if looks && self.accepted[..active].contains(&true) {
            if adaptive && !next_slope_known {
                // The extension, which shows events within the steps, takes it; so does the next step.
                known = self.accepted[..active].to_vec();
                self.slopes_at_ends(tools, index, &known)?;
            }
            crossed = self.crossings(problem, tools, index, adaptive, &mut failures)?;
        }
        if !next_slope_known {
            let dense = problem.extras.dense;
            let needs = |slot: usize| {
                let (plan, clock) = (self.plans[slot].expect("planned above"), &self.clocks[slot]);
                let times = problem.times.of(clock.trajectory);
                let interpolates =
                    problem.options.interpolates(times) && !within(times, clock.output, plan.span).is_empty();
                self.accepted[slot] && (dense || interpolates)
            };
            let needed: Vec<bool> = (0..active).map(needs).collect();
            if !known.contains(&true) && needed.contains(&true) {
                known.clone_from(&needed);
                self.slopes_at_ends(tools, index, &known)?;
            }
            if known.contains(&true) {
                problem.finite(&self.block.slopes[stages * len..][..len], &mut self.finite[..width]);
            }
            for slot in 0..active {
                if !known[slot] || self.finite[slot] {
                    continue;
                }
                known[slot] = false;
                if needed[slot] {
                    self.accepted[slot] = false;
                    let (span, clock) = (self.plans[slot].expect("planned above").span, &self.clocks[slot]);
                    let progress = crate::error::Progress { t: span.end, ..clock.progress(span.h) };
                    failures.push((slot, Error::NonFinite(progress)));
                }
            }
        }
        if let Some(quadrature) = &mut self.quadrature {
            let trajectories = self.clocks.iter().map(|clock| clock.trajectory);
            let (accepted, lanes) = (&self.accepted[..width], &mut *tools.lanes[index]);
            quadrature.add(problem, &mut self.block, lanes, accepted, trajectories)?;
        }
        self.take(problem, sinks, &known)?;
        // What happens at the ends of the steps, and who is done.
        for slot in (0..active).rev() {
            if let Some((_, error)) = failures.iter().find(|failure| failure.0 == slot) {
                let error = error.clone();
                self.remove(problem, slot, Some(error), sinks)?;
                continue;
            }
            if !self.accepted[slot] {
                continue;
            }
            let acting = crossed.iter().find(|crossing: &&Crossed| crossing.slot == slot);
            match self.boundary(problem, tools, slot, acting, sinks) {
                Ok(false) => {}
                Ok(true) => self.remove(problem, slot, None, sinks)?,
                Err(error @ (Error::MaxEvents { .. } | Error::NonFinite(_))) => {
                    self.remove(problem, slot, Some(error), sinks)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.refit(problem, tools);
        Ok(())
    }

    /// f at the ends of the steps that the block has tried, for these trajectories.
    fn slopes_at_ends(&mut self, tools: &mut Tools<T>, index: usize, wanted: &[bool]) -> Result<()> {
        self.block.next_slopes(&mut *tools.lanes[index])?;
        for (clock, _) in self.clocks.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted) {
            clock.stats.evaluations += 1;
        }
        Ok(())
    }

    /// Narrows the block if it may be; whether nobody is left.
    pub(super) fn refit(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) -> bool {
        if self.block.active == self.clocks.len() {
            return self.block.active == 0;
        }
        self.block.active = self.clocks.len();
        if self.block.active == 0 {
            return true;
        }
        self.narrow(problem);
        self.set_inputs(problem, tools);
        false
    }

    /// Takes the accepted steps: records them, and writes the outputs within. `known` tells of whom f(x_{n+1}) is known.
    fn take(&mut self, problem: &Problem<T>, sinks: &mut Sinks<'_, T>, known: &[bool]) -> Result<()> {
        let Self { block, clocks, plans, accepted, row, .. } = self;
        let (width, len, active, rows) = (block.width, block.len(), block.active, block.rows);
        let scheme = &problem.scheme;
        let stages = scheme.stages;
        let (mut weights, mut rates) = (vec![0.0; stages + 1], vec![0.0; stages + 1]);
        let mut moved = vec![T::zero(); rows];
        // Of each power of θ and part of the features the weights of all slopes.
        let degree = if problem.extras.dense { scheme.extension_degree() } else { 0 };
        let powers = (0..degree).flat_map(|power| scheme.parts.iter().map(move |part| (power, part)));
        let polynomials: Vec<(&Weights, Vec<f64>)> = powers
            .map(|(power, part)| {
                (part, (0..=stages).map(|stage| scheme.extension_polynomial(part, stage)[power]).collect())
            })
            .collect();
        for slot in (0..active).filter(|&slot| accepted[slot]) {
            let clock = &mut clocks[slot];
            let plan = plans[slot].expect("planned");
            let times = problem.times.of(clock.trajectory);
            let own = clock.trajectory - sinks.first;
            if let Some(record) = &mut sinks.record {
                record.step(own, &plan, &block.x, width, slot)?;
            }
            if let Some(part) = sinks.part.as_deref_mut()
                && let Some(path) = part.paths.get_mut(own)
            {
                for (part, weights) in &polynomials {
                    path.polynomials.extend(part.rows.clone().map(|r| {
                        let slopes = weights
                            .iter()
                            .enumerate()
                            .map(|(stage, weight)| weight * block.slopes[stage * len + r * width + slot].wide());
                        T::of(plan.span.h * slopes.sum::<f64>())
                    }))?;
                }
                path.t.push(plan.span.end)?;
                path.y.extend((0..rows).map(|r| block.next[r * width + slot]))?;
            }
            if problem.options.interpolates(times) {
                let outputs = within(times, clock.output, plan.span);
                let due = clock.due.get(clock.jump).is_some_and(|due| due.t == plan.span.end);
                let changes = due || plan.end == End::Event;
                for output in outputs {
                    let theta = (times[output] - plan.span.t) / plan.span.h;
                    scheme.extension_weights(theta, &mut weights, &mut rates);
                    if times[output] == plan.span.end {
                        if changes {
                            break;
                        }
                        lane(&block.next, width, slot, row);
                    } else {
                        lane(&block.x, width, slot, row);
                        for (stage, weight) in weights.iter().enumerate() {
                            let weight = plan.span.h * weight;
                            if weight != 0.0 {
                                let weight = T::of(weight);
                                for (r, y) in row.iter_mut().enumerate() {
                                    *y = *y + weight * block.slopes[stage * len + r * width + slot];
                                }
                            }
                        }
                    }
                    if let Some(replay) = problem.again.as_ref().filter(|replay| replay.moves()) {
                        let slope = |(stage, rate): (usize, &f64), r: usize| {
                            rate * block.slopes[stage * len + r * width + slot].wide()
                        };
                        for (r, moved) in moved.iter_mut().enumerate() {
                            *moved = T::of(rates.iter().enumerate().map(|term| slope(term, r)).sum());
                        }
                        let (start, Clock { tau, next_tau, .. }) = (problem.times.start(clock.trajectory), &*clock);
                        let by = |index: usize| {
                            replay.rate(index, start + output) - tau[index] - theta * (next_tau[index] - tau[index])
                        };
                        replay.add(by, &moved, row);
                    }
                    sinks.write(problem, clock.trajectory, output, row);
                    if let Some(record) = &mut sinks.record {
                        let steps = record.cursor(own).steps;
                        record.places[own].push(2 * (steps - 1) + 1)?;
                    }
                    clock.output += 1;
                }
            }
            clock.take(&plan);
            clock.first_slope_known = known[slot] && !matches!(plan.end, End::Event);
        }
        let next_slope_known = known.contains(&true);
        let Block { x, carry, next, next_carry, slopes, .. } = &mut *block;
        if accepted[..active].iter().all(|&accepted| accepted) {
            std::mem::swap(x, next);
            std::mem::swap(carry, next_carry);
            if next_slope_known {
                slopes.copy_within(stages * len..(stages + 1) * len, 0);
            }
        } else {
            let chosen = &accepted[..width];
            select_lanes(chosen, &next[..len], &mut x[..len]);
            select_lanes(chosen, &next_carry[..len], &mut carry[..len]);
            if next_slope_known {
                let (first, rest) = slopes.split_at_mut(stages * len);
                select_lanes(chosen, &rest[..len], &mut first[..len]);
            }
        }
        Ok(())
    }

    /// A trajectory leaves its lane, which the last one takes.
    #[inline(never)]
    pub(super) fn remove(
        &mut self,
        problem: &Problem<T>,
        slot: usize,
        failure: Option<Error>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, clocks, plans, accepted, row, .. } = self;
        let clock = clocks.swap_remove(slot);
        let trajectory = clock.trajectory;
        let width = block.width;
        let own = trajectory - sinks.first;
        if let Some(part) = sinks.part.as_deref_mut() {
            problem.done.fetch_add(1, Ordering::Relaxed);
            part.stats[own] = clock.stats;
            part.reached[own] = clock.output;
        }
        if let Some(record) = &mut sinks.record {
            record.end(own, &block.x, width, slot);
        }
        if let Some(standing) = sinks.standing.as_deref_mut().filter(|_| failure.is_none()) {
            let standing = &mut standing[own];
            lane(&block.x, width, slot, &mut standing.x);
            lane(&block.carry, width, slot, &mut standing.carry);
            lane(&block.slopes, width, slot, &mut standing.slope);
            standing.clock = clock.clone();
            standing.count();
        }
        if let Some(error) = failure {
            row.fill(T::nan());
            for output in clock.output..problem.times.of(trajectory).len() {
                sinks.write(problem, trajectory, output, row);
            }
            if let Some(part) = sinks.part.as_deref_mut() {
                let at = part.failures.partition_point(|failure| failure.0 < trajectory);
                part.failures.insert(at, (trajectory, error));
            }
        }
        let last = clocks.len();
        if slot != last {
            plans[slot] = plans[last];
            accepted[slot] = accepted[last];
            self.finite[slot] = self.finite[last];
            block.move_lane(last, slot);
        }
        Ok(())
    }

    /// Moves lanes together where fewer are left than a narrower block has.
    #[inline(never)]
    fn narrow(&mut self, problem: &Problem<T>) {
        let block = &mut self.block;
        block.active = self.clocks.len();
        let width = width_for(problem, block.active.max(1));
        if width >= block.width {
            return;
        }
        block.narrow(width);
    }

    /// Tells the field what the lanes have beside their states.
    #[inline(never)]
    fn set_inputs(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) {
        if self.block.active == 0 {
            return;
        }
        let width = self.block.width;
        let index = lanes_index(problem, width);
        let (arguments, data) = (problem.arguments * width, problem.data * width);
        tools.lanes[index].set_inputs(&self.block.arguments[..arguments], &self.block.data[..data]);
        for event in &mut tools.maps.events {
            if let Some(when) = event.when.get_mut(index) {
                when.set_inputs(&self.block.arguments[..arguments], &[]);
            }
        }
        if let Some(norm) = tools.maps.norm.get_mut(index) {
            norm.set_inputs(&self.block.arguments[..arguments], &[]);
        }
    }
}

impl<T: Real> Sinks<'_, T> {
    pub fn write(&mut self, problem: &Problem<T>, trajectory: usize, output: usize, y: &[T]) {
        if let Some(part) = self.part.as_deref_mut() {
            part.write(&problem.times, trajectory, output, y);
        }
    }
}

/// The outputs in (t_n, t_{n+1}] that are not the last.
pub(super) fn within(times: &[f64], output: usize, span: Span) -> Range<usize> {
    let reached = |&&t: &&f64| (t - span.end) * span.h.signum() <= 0.0;
    let end = times.len() - 1;
    if output >= end {
        return output..output;
    }
    output..output + times[output..end].iter().take_while(reached).count()
}
