//! The replay of a solve with tangents, step by step and event by event.
//!
//! Where times have tangents, so have step sizes: along a direction, that of t_n is τ and that of h is σ h. For a step that ends on an
//! output or a jump, σ follows from the tangent of that time. For one that ends on an event it follows from g(t_{n+1}, x_{n+1}) = 0: with
//! the tangents ẋ of x_{n+1} for a step of constant size,
//!
//! ```text
//! (g_t + ⟨g_x, ∂x_{n+1}/∂h⟩) σ h = −(g_t τ + ⟨g_x, ẋ⟩ + ⟨g_θ, θ̇⟩ + ⟨g_a, ȧ⟩)
//! ```

use std::sync::Arc;

use super::block::{Block, load_lane};
use super::problem::{Evaluators, Problem};
use super::record::{ChangeKind, LeafRecord};
use super::single::{EventRoot, SingleTrajectory};
use super::solver_state::{SolverState, Step, StepEnd, TrialStep};
use super::trajectory_record::{EventTimeDerivatives, Replay, TimeTangents, TrajectoryRecord};
use crate::error::{Error, Result};
use crate::field::Directions;
use crate::field::program::TangentVectorField;
use crate::kernel::real::Real;
use crate::memory::{List, Purpose};
use crate::solve::{Options, interval_steps};
use crate::stepper::Span;

impl<T: Real> TrajectoryRecord<T> {
    /// The record of a trajectory, the `own`-th of its leaf.
    pub fn new(
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        single: &mut SingleTrajectory<T>,
        record: &LeafRecord<T>,
        (trajectory, own): (usize, usize),
        directions: &Directions<'_, T>,
    ) -> Result<Self> {
        let mut steps = List::new(&problem.ledger, Purpose::Records);
        steps.extend(record.steps(own).into_iter())?;
        let (mut events, mut event_times) = (vec![], vec![]);
        let mut cursor = record.cursor(own);
        if !problem.rules.events.is_empty() {
            single.set_inputs(problem.inputs.of(trajectory), evaluators);
            loop {
                // The step ends in the state before the first change there, which is read last.
                let (mut found, mut end) = (None, None);
                while let Some(change) = record.pop_change(&mut cursor) {
                    end = Some(change.state);
                    let ChangeKind::Event { event, root } = change.kind else { continue };
                    events.push((cursor.steps, event));
                    found = if root { Some(event) } else { found };
                }
                if let (Some(event), Some(end)) = (found, end) {
                    let (step, state) = record.pop_step(&mut { cursor });
                    let (from, x) = ((step, record.states.get(state)), record.states.get(end));
                    let place = (trajectory, cursor.steps, event);
                    event_times
                        .extend(EventTimeDerivatives::new(problem, evaluators, single, from, x, place, directions)?);
                }
                if cursor.steps == 0 {
                    break;
                }
                record.pop_step(&mut cursor);
            }
        }
        events.reverse();
        event_times.reverse();
        Ok(Self { steps, events, event_times })
    }
}

impl<T: Real> EventTimeDerivatives<T> {
    /// `None` where the function only grazes zero and nothing depends on the time.
    fn new(
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        single: &mut SingleTrajectory<T>,
        (step, x_n): (Step, &[T]),
        x: &[T],
        (trajectory, steps, event): (usize, usize, usize),
        directions: &Directions<'_, T>,
    ) -> Result<Option<Self>> {
        let (mut parameters, mut arguments) = (vec![T::zero(); problem.parameters], vec![T::zero(); problem.arguments]);
        let span = Span { step: 0, t: step.t, h: step.h, end: step.to };
        let Evaluators { functions, lanes } = evaluators;
        let (when, lanes) = (&mut *functions.events[event].when[0], &mut *lanes[0]);
        let from = (span, x_n, problem.duration(trajectory));
        let EventRoot { g, slope, crosses } =
            single.root_derivatives(lanes, when, from, x, (&mut parameters, &mut arguments))?;
        if !crosses {
            let rule = &problem.rules.events[event];
            if rule.changes_state || rule.terminal.is_some() {
                let trajectory = problem.extras.part.unwrap_or(0) + trajectory;
                return Err(Error::Grazing { event, trajectory, t: step.to, slope });
            }
            return Ok(None);
        }
        let own = trajectory * problem.arguments..(trajectory + 1) * problem.arguments;
        let inner = |g: &[T], along: &[T]| g.iter().zip(along).map(|(g, rate)| g.wide() * rate.wide()).sum::<f64>();
        let along = |index| {
            let of_parameters =
                directions.of(directions.parameters, index).map_or(0.0, |rates| inner(&parameters, rates));
            let of_arguments =
                directions.of(directions.arguments, index).map_or(0.0, |rates| inner(&arguments, &rates[own.clone()]));
            of_parameters + of_arguments
        };
        let inputs = (0..directions.count).map(along).collect();
        Ok(Some(Self { steps, t: g.t, x: g.x, slope, inputs }))
    }
}

impl<T: Real> Replay<T> {
    /// The replay of a chunk of the directions, from `first` on.
    pub fn new(
        records: Arc<[TrajectoryRecord<T>]>,
        problem: &Problem<T>,
        field: &TangentVectorField<T>,
        directions: &Directions<'_, T>,
        first: usize,
    ) -> Self {
        let time_tangents = field.time_rows().iter().enumerate().filter_map(|(direction, row)| {
            let outputs = directions.of(directions.times, direction).map(<[f64]>::to_vec);
            row.map(|row| TimeTangents { direction, global_index: first + direction, row, outputs })
        });
        let time_tangents = time_tangents.collect();
        Self { records, features: problem.state, time_tangents, options: problem.options.clone() }
    }

    /// Sets τ and σ for the next step of a lane.
    pub fn set_step_tangents(
        &self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        single: &mut SingleTrajectory<T>,
        (block, slot): (&mut Block<T>, usize),
        (solver, trial): (&mut SolverState, &TrialStep),
    ) -> Result<()> {
        let width = block.width;
        let mut set = |row: usize, number: f64| {
            block.x[row * width + slot] = T::of(number);
            block.carry[row * width + slot] = T::zero();
        };
        for (tangents, tau) in self.time_tangents.iter().zip(&solver.tau) {
            set(tangents.row, *tau);
            set(tangents.row + 1, 0.0);
        }
        solver.next_tau.clone_from(&solver.tau);
        match trial.end {
            StepEnd::Free => {}
            StepEnd::Jump => solver.next_tau.fill(0.0),
            StepEnd::Event => self.set_event_tangents(problem, evaluators, single, (block, slot), (solver, trial))?,
            StepEnd::Output(_) | StepEnd::Grid { .. } => {
                for (tangents, next) in self.time_tangents.iter().zip(&mut solver.next_tau) {
                    *next = tangents.end_tangent(problem, &self.options, solver.trajectory, trial.end)?;
                }
            }
        }
        for (index, tangents) in self.time_tangents.iter().enumerate() {
            let sigma = (solver.next_tau[index] - solver.tau[index]) / trial.span.h;
            block.x[(tangents.row + 1) * width + slot] = T::of(sigma);
        }
        Ok(())
    }

    /// Sets the tangents of the end of a step that ends on an event, from those of a step of constant size.
    fn set_event_tangents(
        &self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        single: &mut SingleTrajectory<T>,
        (block, slot): (&Block<T>, usize),
        (solver, trial): (&mut SolverState, &TrialStep),
    ) -> Result<()> {
        let Some(event_time) = self.records[solver.trajectory].event_time_after(solver.stats.accepted + 1) else {
            return Ok(());
        };
        let (width, span) = (block.width, trial.span);
        single.set_inputs(problem.inputs.of(solver.trajectory), evaluators);
        load_lane(&block.x, width, slot, &mut single.x);
        load_lane(&block.carry, width, slot, &mut single.carry);
        let lanes = &mut *evaluators.lanes[0];
        let x = single.x.to_vec();
        let mut k = vec![T::zero(); x.len()];
        single.slope(lanes, span.t, &x, &mut k)?;
        single.work.slopes[..k.len()].copy_from_slice(&k);
        single.step(lanes, span, problem.options.summation.of_state())?;
        for (index, tangents) in self.time_tangents.iter().enumerate() {
            let rates = &single.next[(1 + tangents.direction) * self.features..][..self.features];
            let of_state: f64 = event_time.x.iter().zip(rates).map(|(g, rate)| g.wide() * rate.wide()).sum();
            let constant = event_time.t * solver.tau[index] + of_state + event_time.inputs[tangents.global_index];
            solver.next_tau[index] -= constant / event_time.slope;
        }
        Ok(())
    }
}

impl TimeTangents {
    /// The tangent of the end of a step on an output, or on one of the equal steps between two.
    fn end_tangent<T: Real>(
        &self,
        problem: &Problem<T>,
        options: &Options,
        trajectory: usize,
        end: StepEnd,
    ) -> Result<f64> {
        let start = problem.times.start(trajectory);
        Ok(match end {
            StepEnd::Output(output) => self.at_output(start + output),
            StepEnd::Grid { from, step } => {
                let times = problem.times.of(trajectory);
                let to = if options.interpolates(times) { times.len() - 1 } else { from + 1 };
                let fraction = step as f64 / interval_steps(options, times[from], times[to])? as f64;
                self.at_output(start + from) * (1.0 - fraction) + self.at_output(start + to) * fraction
            }
            _ => 0.0,
        })
    }
}
