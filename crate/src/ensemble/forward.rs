//! The solve of a leaf: rounds in which every trajectory that has not reached its end tries a step.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::block::{Block, load_lane, min_width, store_lane, width_index};
use super::events::{EventLog, LocatedEvents};
use super::leaf_results::LeafSolution;
use super::problem::{Evaluators, Problem};
use super::quadrature::Quadrature;
use super::record::LeafRecord;
use super::single::SingleTrajectory;
use super::solver_state::{SolverState, StepEnd, TrialStep};
use super::trajectory_state::{Advance, TrajectoryState};
use crate::control::StepControl;
use crate::error::{Error, Result};
use crate::kernel::combine::advance;
use crate::kernel::lanes::{Scaled, select_lanes};
use crate::kernel::real::Real;
use crate::memory::{List, Purpose};
use crate::progress;
use crate::solve::{Stats, step_control, tolerances_of};
use crate::stepper::{Span, Weights};

/// The forward solver of a thread, for one leaf after the other.
pub(super) struct Forward<T> {
    pub(super) block: Block<T>,
    pub(super) single: SingleTrajectory<T>,
    control: StepControl,
    /// Relative and absolute, of each feature.
    pub(super) tolerances: Vec<(f64, f64)>,
    pub(super) initial_stats: Stats,
    pub(super) solvers: Vec<SolverState>,
    pub(super) trials: Vec<Option<TrialStep>>,
    pub(super) sums: Vec<f64>,
    errors: Vec<f64>,
    /// Errors over their tolerances, with the times as a last row, and their norms, where a program computes those.
    ratios: Vec<T>,
    norms: Vec<T>,
    pub(super) finite: Vec<bool>,
    pub(super) accepted: Vec<bool>,
    /// g of each event at x_{n+1}, a row for each.
    pub(super) event_values: Vec<T>,
    pub(super) row: Vec<T>,
    /// Rounds so far.
    rounds: usize,
    /// The events of each trajectory of the leaf.
    pub(super) event_logs: Vec<EventLog<T>>,
    /// The integrals of the continuous adjoint, to which accepted steps of (x, λ) add.
    pub(super) quadrature: Option<Quadrature<T>>,
}

/// Where the results of a leaf go.
pub(super) struct Sinks<'a, T> {
    pub results: Option<&'a mut LeafSolution<T>>,
    pub record: Option<LeafRecord<T>>,
    /// The states of trajectories that later calls continue.
    trajectories: Option<&'a mut [TrajectoryState<T>]>,
    pub first: usize,
}

impl<T: Real> Forward<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (control, initial_stats) = step_control::<T>(&problem.options);
        let each = tolerances_of::<T>(&problem.options);
        let tolerances = (0..problem.state).map(|feature| each.of(&control, feature)).collect();
        let block = Block::new(problem)?;
        let (width, custom_norm) = (block.width, problem.rules.custom_norm);
        Ok(Self {
            single: SingleTrajectory::new(problem)?,
            control,
            tolerances,
            initial_stats,
            solvers: vec![],
            trials: vec![None; width],
            sums: vec![0.0; width],
            errors: vec![0.0; width],
            ratios: vec![T::zero(); if custom_norm { width * (problem.state + 1) } else { 0 }],
            norms: vec![T::zero(); width],
            finite: vec![true; width],
            accepted: vec![false; width],
            event_values: vec![T::zero(); width * problem.rules.events.len()],
            row: vec![T::zero(); problem.state],
            rounds: 0,
            event_logs: vec![],
            quadrature: None,
            block,
        })
    }

    /// Solves a leaf.
    pub fn run(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        leaf: Range<usize>,
        results: Option<&mut LeafSolution<T>>,
        record: Option<LeafRecord<T>>,
    ) -> Result<Option<LeafRecord<T>>> {
        let mut sinks = Sinks { results, record, trajectories: None, first: leaf.start };
        self.load(problem, leaf.clone())?;
        self.begin(problem, evaluators, &mut sinks)?;
        while self.block.active > 0 {
            self.try_steps(problem, evaluators, &mut sinks)?;
            if sinks.results.is_some() && problem.replay.is_none() {
                self.report(problem)?;
            }
        }
        self.flush_events(&mut sinks)?;
        Ok(sinks.record)
    }

    /// Continues trajectories to the last of their times, or by one step each.
    pub fn advance(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        trajectories: &mut [TrajectoryState<T>],
        results: &mut LeafSolution<T>,
        how: Advance,
    ) -> Result<()> {
        let first = trajectories.first().map_or(0, |trajectory| trajectory.solver.trajectory);
        self.load(problem, first..first + trajectories.len())?;
        let (block, initial_stats) = (&mut self.block, self.initial_stats);
        for (slot, TrajectoryState { solver, x, carry, slope, is_new_interval, .. }) in trajectories.iter().enumerate()
        {
            store_lane(&mut block.x, block.width, slot, x);
            store_lane(&mut block.carry, block.width, slot, carry);
            store_lane(&mut block.slopes, block.width, slot, slope);
            self.solvers[slot] = solver.clone();
            self.solvers[slot].resume(problem.times.of(solver.trajectory), *is_new_interval, initial_stats);
        }
        for slot in trajectories.len()..block.width {
            block.move_lane(0, slot);
        }
        let mut sinks = Sinks { results: Some(results), record: None, trajectories: Some(trajectories), first };
        self.begin(problem, evaluators, &mut sinks)?;
        while self.block.active > 0 {
            self.try_steps(problem, evaluators, &mut sinks)?;
            self.report(problem)?;
            if how == Advance::Step {
                for slot in (0..self.solvers.len()).rev() {
                    if self.solvers[slot].stats.accepted > 0 {
                        self.remove(problem, slot, None, &mut sinks)?;
                    }
                }
                self.compact(problem, evaluators);
            }
        }
        self.flush_events(&mut sinks)
    }

    /// Reports the progress of all trajectories.
    fn report(&mut self, problem: &Problem<T>) -> Result<()> {
        self.rounds += 1;
        let solvers = &self.solvers;
        progress::report(self.rounds, || {
            let part = |solver: &SolverState| {
                let times = problem.times.of(solver.trajectory);
                progress::fraction(solver.t, times[0], times[times.len() - 1])
            };
            let under_way: f64 = solvers.iter().map(part).sum();
            (problem.done.load(Ordering::Relaxed) as f64 + under_way) / problem.batch as f64
        })
    }

    fn flush_events(&mut self, sinks: &mut Sinks<'_, T>) -> Result<()> {
        if let Some(results) = sinks.results.as_deref_mut() {
            for EventLog { events, states } in self.event_logs.drain(..) {
                results.events.extend(events.iter().copied())?;
                results.event_states.extend(states.iter().copied())?;
            }
        }
        Ok(())
    }

    /// Loads a leaf: the states at the first times.
    fn load(&mut self, problem: &Problem<T>, leaf: Range<usize>) -> Result<()> {
        let (ledger, purpose) = (&problem.ledger, Purpose::Output);
        let none = |_| EventLog { events: List::new(ledger, purpose), states: List::new(ledger, purpose) };
        self.event_logs = leaf.clone().map(none).collect();
        let block = &mut self.block;
        block.width = min_width(problem, leaf.len());
        block.active = leaf.len();
        self.solvers.clear();
        let (width, rows) = (block.width, block.rows);
        block.carry[..rows * width].fill(T::zero());
        for (slot, trajectory) in leaf.enumerate() {
            let times = problem.times.of(trajectory);
            SolverState::check(&problem.options, times)?;
            let jumps = problem.rules.scheduled_jumps(trajectory, times);
            let mut solver = SolverState::new(trajectory, times, jumps, problem.rules.events.len(), self.initial_stats);
            if let Some(replay) = &problem.replay {
                solver.tau = replay.initial_time_tangents(problem.times.start(trajectory));
            }
            self.solvers.push(solver);
            store_lane(&mut block.x, width, slot, &problem.y0[trajectory * rows..(trajectory + 1) * rows]);
            let (arguments, data) = problem.inputs.of(trajectory);
            store_lane(&mut block.arguments, width, slot, arguments);
            store_lane(&mut block.data, width, slot, data);
        }
        for slot in self.solvers.len()..width {
            block.move_lane(0, slot);
        }
        Ok(())
    }

    /// Evaluates f at the first times into the first slopes of the lanes, in the order of the leaf's trajectories.
    pub fn slopes_at_start(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        leaf: Range<usize>,
    ) -> Result<()> {
        self.load(problem, leaf)?;
        self.set_inputs(problem, evaluators);
        for (t, solver) in self.block.spans.t.iter_mut().zip(&self.solvers) {
            *t = solver.t;
        }
        self.block.first_slopes(&mut *evaluators.lanes[width_index(problem, self.block.width)])
    }

    /// Begins a solve: jumps and outputs at the first times, and the sizes of the first steps.
    fn begin(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>, sinks: &mut Sinks<'_, T>) -> Result<()> {
        for slot in (0..self.solvers.len()).rev() {
            match self.step_boundary(problem, evaluators, slot, None, sinks) {
                Ok(true) => self.remove(problem, slot, None, sinks)?,
                Ok(false) => self.set_initial_signs(problem, evaluators, slot)?,
                Err(error @ Error::NonFinite(_)) => self.remove(problem, slot, Some(error), sinks)?,
                Err(error) => return Err(error),
            }
        }
        self.narrow(problem);
        self.set_inputs(problem, evaluators);
        if problem.options.adaptive() {
            self.first_steps(problem, evaluators, sinks)?;
        }
        Ok(())
    }

    /// Sets the spans of the block to the steps to be tried.
    fn set_spans(&mut self) {
        for (slot, trial) in self.trials.iter().take(self.block.active).enumerate() {
            let span = trial.expect("planned above").span;
            let spans = &mut self.block.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (span.t, span.h, span.end);
        }
    }

    /// Sets the tangents of times and step sizes in a replay that has some.
    fn set_step_tangents(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) -> Result<()> {
        let Some(replay) = problem.replay.as_ref().filter(|replay| replay.has_time_tangents()) else { return Ok(()) };
        let Self { block, single, solvers, trials, .. } = self;
        for (slot, (solver, trial)) in solvers.iter_mut().zip(&*trials).enumerate() {
            let trial = trial.as_ref().expect("planned");
            replay.set_step_tangents(problem, evaluators, single, (&mut *block, slot), (&mut *solver, trial))?;
            // Its size has another tangent than that of the step before.
            solver.first_slope_known = false;
        }
        Ok(())
    }

    /// Every trajectory tries a step.
    fn try_steps(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let (scheme, stages) = (&problem.scheme, problem.scheme.stages);
        // The step that each tries.
        for slot in (0..self.solvers.len()).rev() {
            let solver = &mut self.solvers[slot];
            let recorded = problem.replay.as_ref().map(|replay| &replay.records[solver.trajectory].steps[..]);
            match solver.next_step(&problem.options, problem.times.of(solver.trajectory), recorded) {
                Ok(trial) => self.trials[slot] = Some(trial),
                Err(error) => self.remove(problem, slot, Some(error), sinks)?,
            }
        }
        if self.compact(problem, evaluators) {
            return Ok(());
        }
        self.set_spans();
        self.set_step_tangents(problem, evaluators)?;
        let mut index = width_index(problem, self.block.width);
        if self.solvers.iter().any(|solver| !solver.first_slope_known) {
            self.block.first_slopes(&mut *evaluators.lanes[index])?;
            let (len, width) = (self.block.len(), self.block.width);
            problem.finite(&self.block.slopes[..len], &mut self.finite[..width]);
            let mut failed = false;
            for slot in (0..self.solvers.len()).rev() {
                let solver = &mut self.solvers[slot];
                if !solver.first_slope_known {
                    solver.stats.evaluations += 1;
                    solver.first_slope_known = true;
                    if !self.finite[slot] {
                        let failure = Error::NonFinite(solver.progress(self.block.spans.h[slot]));
                        self.remove(problem, slot, Some(failure), sinks)?;
                        failed = true;
                    }
                }
            }
            if failed {
                if self.compact(problem, evaluators) {
                    return Ok(());
                }
                self.set_spans();
                index = width_index(problem, self.block.width);
            }
        }
        let Self { block, solvers, trials, .. } = self;
        let lanes = &mut *evaluators.lanes[index];
        block.attempt(scheme, lanes)?;
        let (len, width, active) = (block.len(), block.width, block.active);
        solvers.iter_mut().for_each(|solver| solver.stats.evaluations += stages - 1);
        let Block { x, carry, next, next_carry, state, .. } = &mut *block;
        let compensated = problem.options.summation.of_state();
        advance(compensated, (&x[..len], &carry[..len]), &state[..len], (&mut next[..len], &mut next_carry[..len]));
        problem.finite(&next[..len], &mut self.finite[..width]);
        let mut next_slope_known = false;
        let adaptive = problem.options.adaptive();
        if scheme.estimates_with_next && adaptive {
            block.next_slopes(lanes)?;
            solvers.iter_mut().for_each(|solver| solver.stats.evaluations += 1);
            next_slope_known = true;
        }
        let mut failures = Vec::new();
        self.accepted[..width].fill(false);
        if adaptive {
            block.error(scheme);
            let Block { x, next, state, spans, rows, .. } = &mut *block;
            let tolerances = &self.tolerances;
            let scaled = Scaled { numbers: &state[..len], less: None, x: &x[..len], y: &next[..len], tolerances };
            match evaluators.functions.norm.get_mut(index) {
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
            for (slot, solver) in solvers.iter_mut().enumerate() {
                let trial = trials[slot].expect("planned above");
                let error = match self.finite[slot] {
                    true => self.errors[slot],
                    false => f64::NAN,
                };
                let control = &self.control;
                let verdict = solver.test_error(&problem.options, &trial, error, |within, before| {
                    control.factor(error, within, scheme.order(), before)
                });
                match verdict {
                    Ok(accepted) => self.accepted[slot] = accepted,
                    Err(error) => failures.push((slot, error)),
                }
            }
        } else {
            for (slot, solver) in solvers.iter().enumerate() {
                match self.finite[slot] {
                    true => self.accepted[slot] = true,
                    false => {
                        let h = trials[slot].map_or(0.0, |trial| trial.span.h);
                        failures.push((slot, Error::NonFinite(solver.progress(h))));
                    }
                }
            }
        }
        // Whether f(x_{n+1}) is known.
        let mut end_slopes_known = vec![next_slope_known; active];
        let mut located = vec![];
        let locates = !problem.rules.events.is_empty() && problem.replay.is_none();
        if locates && self.accepted[..active].contains(&true) {
            if adaptive && !next_slope_known {
                // The extension, which shows events within the steps, needs it; the next step needs it too.
                end_slopes_known = self.accepted[..active].to_vec();
                self.slopes_at_ends(evaluators, index, &end_slopes_known)?;
            }
            located = self.locate_events(problem, evaluators, index, adaptive, &mut failures)?;
        }
        if !next_slope_known {
            let dense = problem.extras.dense;
            let needs = |slot: usize| {
                let (trial, solver) = (self.trials[slot].expect("planned above"), &self.solvers[slot]);
                let times = problem.times.of(solver.trajectory);
                let interpolates = problem.options.interpolates(times)
                    && !outputs_within(times, solver.next_output, trial.span).is_empty();
                self.accepted[slot] && (dense || interpolates)
            };
            let needed: Vec<bool> = (0..active).map(needs).collect();
            if !end_slopes_known.contains(&true) && needed.contains(&true) {
                end_slopes_known.clone_from(&needed);
                self.slopes_at_ends(evaluators, index, &end_slopes_known)?;
            }
            if end_slopes_known.contains(&true) {
                problem.finite(&self.block.slopes[stages * len..][..len], &mut self.finite[..width]);
            }
            for slot in 0..active {
                if !end_slopes_known[slot] || self.finite[slot] {
                    continue;
                }
                end_slopes_known[slot] = false;
                if needed[slot] {
                    self.accepted[slot] = false;
                    let (span, solver) = (self.trials[slot].expect("planned above").span, &self.solvers[slot]);
                    let progress = crate::error::Progress { t: span.end, ..solver.progress(span.h) };
                    failures.push((slot, Error::NonFinite(progress)));
                }
            }
        }
        if let Some(quadrature) = &mut self.quadrature {
            let trajectories = self.solvers.iter().map(|solver| solver.trajectory);
            let (accepted, lanes) = (&self.accepted[..width], &mut *evaluators.lanes[index]);
            quadrature.add(problem, &mut self.block, lanes, accepted, trajectories)?;
        }
        self.accept_steps(problem, sinks, &end_slopes_known)?;
        // Changes and outputs at the ends of the steps; trajectories that are done.
        for slot in (0..active).rev() {
            if let Some((_, error)) = failures.iter().find(|failure| failure.0 == slot) {
                let error = error.clone();
                self.remove(problem, slot, Some(error), sinks)?;
                continue;
            }
            if !self.accepted[slot] {
                continue;
            }
            let triggered = located.iter().find(|crossing: &&LocatedEvents| crossing.slot == slot);
            match self.step_boundary(problem, evaluators, slot, triggered, sinks) {
                Ok(false) => {}
                Ok(true) => self.remove(problem, slot, None, sinks)?,
                Err(error @ (Error::MaxEvents { .. } | Error::NonFinite(_))) => {
                    self.remove(problem, slot, Some(error), sinks)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.compact(problem, evaluators);
        Ok(())
    }

    /// Evaluates f at the ends of the steps that the block has tried; it counts for the `wanted` trajectories.
    fn slopes_at_ends(&mut self, evaluators: &mut Evaluators<T>, index: usize, wanted: &[bool]) -> Result<()> {
        self.block.next_slopes(&mut *evaluators.lanes[index])?;
        for (solver, _) in self.solvers.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted) {
            solver.stats.evaluations += 1;
        }
        Ok(())
    }

    /// Compacts the block if lanes are free, and returns whether no trajectory is left.
    pub(super) fn compact(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) -> bool {
        if self.block.active == self.solvers.len() {
            return self.block.active == 0;
        }
        self.block.active = self.solvers.len();
        if self.block.active == 0 {
            return true;
        }
        self.narrow(problem);
        self.set_inputs(problem, evaluators);
        false
    }

    /// Accepts steps: records them, and writes the outputs within. `end_slopes_known` says for which f(x_{n+1}) is known.
    fn accept_steps(
        &mut self,
        problem: &Problem<T>,
        sinks: &mut Sinks<'_, T>,
        end_slopes_known: &[bool],
    ) -> Result<()> {
        let Self { block, solvers, trials, accepted, row, .. } = self;
        let (width, len, active, rows) = (block.width, block.len(), block.active, block.rows);
        let scheme = &problem.scheme;
        let stages = scheme.stages;
        let (mut weights, mut rates) = (vec![0.0; stages + 1], vec![0.0; stages + 1]);
        let mut moved = vec![T::zero(); rows];
        // The weights of all slopes, for each power of θ and part of the features.
        let degree = if problem.extras.dense { scheme.extension_degree() } else { 0 };
        let powers = (0..degree).flat_map(|power| scheme.parts.iter().map(move |part| (power, part)));
        let polynomials: Vec<(&Weights, Vec<f64>)> = powers
            .map(|(power, part)| {
                (part, (0..=stages).map(|stage| scheme.extension_polynomial(part, stage)[power]).collect())
            })
            .collect();
        for slot in (0..active).filter(|&slot| accepted[slot]) {
            let solver = &mut solvers[slot];
            let trial = trials[slot].expect("planned");
            let times = problem.times.of(solver.trajectory);
            let own = solver.trajectory - sinks.first;
            if let Some(record) = &mut sinks.record {
                record.push_step(own, &trial, &block.x, width, slot)?;
            }
            if let Some(results) = sinks.results.as_deref_mut()
                && let Some(path) = results.paths.get_mut(own)
            {
                for (part, weights) in &polynomials {
                    path.polynomials.extend(part.rows.clone().map(|r| {
                        let slopes = weights
                            .iter()
                            .enumerate()
                            .map(|(stage, weight)| weight * block.slopes[stage * len + r * width + slot].wide());
                        T::of(trial.span.h * slopes.sum::<f64>())
                    }))?;
                }
                path.t.push(trial.span.end)?;
                path.y.extend((0..rows).map(|r| block.next[r * width + slot]))?;
            }
            if problem.options.interpolates(times) {
                let outputs = outputs_within(times, solver.next_output, trial.span);
                let jumps_at_end = solver.jumps.get(solver.next_jump).is_some_and(|jump| jump.t == trial.span.end);
                let changes = jumps_at_end || trial.end == StepEnd::Event;
                for output in outputs {
                    let theta = (times[output] - trial.span.t) / trial.span.h;
                    scheme.extension_weights(theta, &mut weights, &mut rates);
                    if times[output] == trial.span.end {
                        if changes {
                            break;
                        }
                        load_lane(&block.next, width, slot, row);
                    } else {
                        load_lane(&block.x, width, slot, row);
                        for (stage, weight) in weights.iter().enumerate() {
                            let weight = trial.span.h * weight;
                            if weight != 0.0 {
                                let weight = T::of(weight);
                                for (r, y) in row.iter_mut().enumerate() {
                                    *y = *y + weight * block.slopes[stage * len + r * width + slot];
                                }
                            }
                        }
                    }
                    if let Some(replay) = problem.replay.as_ref().filter(|replay| replay.has_time_tangents()) {
                        let slope = |(stage, rate): (usize, &f64), r: usize| {
                            rate * block.slopes[stage * len + r * width + slot].wide()
                        };
                        for (r, moved) in moved.iter_mut().enumerate() {
                            *moved = T::of(rates.iter().enumerate().map(|term| slope(term, r)).sum());
                        }
                        let (start, SolverState { tau, next_tau, .. }) =
                            (problem.times.start(solver.trajectory), &*solver);
                        let by = |index: usize| {
                            replay.time_tangent(index, start + output)
                                - tau[index]
                                - theta * (next_tau[index] - tau[index])
                        };
                        replay.add_rate(by, &moved, row);
                    }
                    sinks.write(problem, solver.trajectory, output, row);
                    if let Some(record) = &mut sinks.record {
                        let steps = record.cursor(own).steps;
                        record.places[own].push(2 * (steps - 1) + 1)?;
                    }
                    solver.next_output += 1;
                }
            }
            solver.accept(&trial);
            solver.first_slope_known = end_slopes_known[slot] && !matches!(trial.end, StepEnd::Event);
        }
        let next_slope_known = end_slopes_known.contains(&true);
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

    /// Removes a trajectory from its lane, which the last one takes.
    #[inline(never)]
    pub(super) fn remove(
        &mut self,
        problem: &Problem<T>,
        slot: usize,
        failure: Option<Error>,
        sinks: &mut Sinks<'_, T>,
    ) -> Result<()> {
        let Self { block, solvers, trials, accepted, row, .. } = self;
        let solver = solvers.swap_remove(slot);
        let trajectory = solver.trajectory;
        let width = block.width;
        let own = trajectory - sinks.first;
        if let Some(results) = sinks.results.as_deref_mut() {
            problem.done.fetch_add(1, Ordering::Relaxed);
            results.stats[own] = solver.stats;
            results.reached[own] = solver.next_output;
        }
        if let Some(record) = &mut sinks.record {
            record.finish(own, &block.x, width, slot);
        }
        if let Some(states) = sinks.trajectories.as_deref_mut().filter(|_| failure.is_none()) {
            let state = &mut states[own];
            load_lane(&block.x, width, slot, &mut state.x);
            load_lane(&block.carry, width, slot, &mut state.carry);
            load_lane(&block.slopes, width, slot, &mut state.slope);
            state.solver = solver.clone();
            state.add_stats();
        }
        if let Some(error) = failure {
            row.fill(T::nan());
            for output in solver.next_output..problem.times.of(trajectory).len() {
                sinks.write(problem, trajectory, output, row);
            }
            if let Some(results) = sinks.results.as_deref_mut() {
                let at = results.failures.partition_point(|failure| failure.0 < trajectory);
                results.failures.insert(at, (trajectory, error));
            }
        }
        let last = solvers.len();
        if slot != last {
            trials[slot] = trials[last];
            accepted[slot] = accepted[last];
            self.finite[slot] = self.finite[last];
            block.move_lane(last, slot);
        }
        Ok(())
    }

    /// Narrows the block where fewer trajectories are left than a narrower one holds.
    #[inline(never)]
    fn narrow(&mut self, problem: &Problem<T>) {
        let block = &mut self.block;
        block.active = self.solvers.len();
        let width = min_width(problem, block.active.max(1));
        if width >= block.width {
            return;
        }
        block.narrow(width);
    }

    /// Sets the arguments and data of the lanes.
    #[inline(never)]
    fn set_inputs(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) {
        if self.block.active == 0 {
            return;
        }
        let width = self.block.width;
        let index = width_index(problem, width);
        let (arguments, data) = (problem.arguments * width, problem.data * width);
        evaluators.lanes[index].set_inputs(&self.block.arguments[..arguments], &self.block.data[..data]);
        for event in &mut evaluators.functions.events {
            if let Some(when) = event.when.get_mut(index) {
                when.set_inputs(&self.block.arguments[..arguments], &[]);
            }
        }
        if let Some(norm) = evaluators.functions.norm.get_mut(index) {
            norm.set_inputs(&self.block.arguments[..arguments], &[]);
        }
    }
}

impl<T: Real> Sinks<'_, T> {
    pub fn write(&mut self, problem: &Problem<T>, trajectory: usize, output: usize, y: &[T]) {
        if let Some(results) = self.results.as_deref_mut() {
            results.write(&problem.times, trajectory, output, y);
        }
    }
}

/// The outputs in (t_n, t_{n+1}] that are not the last.
pub(super) fn outputs_within(times: &[f64], output: usize, span: Span) -> Range<usize> {
    let reached = |&&t: &&f64| (t - span.end) * span.h.signum() <= 0.0;
    let end = times.len() - 1;
    if output >= end {
        return output..output;
    }
    output..output + times[output..end].iter().take_while(reached).count()
}
