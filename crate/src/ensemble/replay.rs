//! A solve that is taken again, step by step and event by event, with derivatives beside the state.
//!
//! Where times move, so do steps: along a direction, t_n moves at a rate τ and h at a rate σ h. Of a step that ends on an output or a jump, σ
//! follows from the rate of that time. Of one that ends on an event it follows from g(t_{n+1}, x_{n+1}) = 0: with the derivatives ẋ of
//! x_{n+1} for a step of constant length, (g_t + ⟨g_x, ∂x_{n+1}/∂h⟩) σ h = −(g_t τ + ⟨g_x, ẋ⟩ + ⟨g_θ, θ̇⟩ + ⟨g_a, ȧ⟩).

use std::sync::Arc;

use super::block::{Block, lane};
use super::clock::{Clock, End, Plan, Step};
use super::course::{Course, EventTime, MovingTimes, Replay};
use super::problem::{Problem, Tools};
use super::record::{ActionKind, LeafRecord};
use super::single::{Single, Zero};
use crate::error::{Error, Result};
use crate::field::Directions;
use crate::field::program::TangentVectorField;
use crate::kernel::real::Real;
use crate::memory::{List, Purpose};
use crate::solve::{Options, interval_steps};
use crate::stepper::Span;

impl<T: Real> Course<T> {
    /// Of a trajectory that was tracked as the `own`-th of its leaf.
    pub fn new(
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        single: &mut Single<T>,
        record: &LeafRecord<T>,
        (trajectory, own): (usize, usize),
        directions: &Directions<'_, T>,
    ) -> Result<Self> {
        let mut steps = List::new(&problem.ledger, Purpose::Records);
        steps.extend(record.steps(own).into_iter())?;
        let (mut events, mut zeros) = (vec![], vec![]);
        let mut cursor = record.cursor(own);
        if !problem.rules.events.is_empty() {
            single.set_inputs(problem.inputs.of(trajectory), tools);
            loop {
                // The step ends in the state before the first of all that happens there, which comes last.
                let (mut found, mut end) = (None, None);
                while let Some(action) = record.pop_action(&mut cursor) {
                    end = Some(action.state);
                    let ActionKind::Event { event, root } = action.kind else { continue };
                    events.push((cursor.steps, event));
                    found = if root { Some(event) } else { found };
                }
                if let (Some(event), Some(end)) = (found, end) {
                    let (step, state) = record.pop_step(&mut { cursor });
                    let (from, x) = ((step, record.states.get(state)), record.states.get(end));
                    let place = (trajectory, cursor.steps, event);
                    zeros.extend(EventTime::new(problem, tools, single, from, x, place, directions)?);
                }
                if cursor.steps == 0 {
                    break;
                }
                record.pop_step(&mut cursor);
            }
        }
        events.reverse();
        zeros.reverse();
        Ok(Self { steps, events, zeros })
    }
}

impl<T: Real> EventTime<T> {
    /// Nothing, where the function only touches its zero and nothing depends on when.
    fn new(
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        single: &mut Single<T>,
        (step, x_n): (Step, &[T]),
        x: &[T],
        (trajectory, steps, event): (usize, usize, usize),
        directions: &Directions<'_, T>,
    ) -> Result<Option<Self>> {
        let (mut parameters, mut arguments) = (vec![T::zero(); problem.parameters], vec![T::zero(); problem.arguments]);
        let span = Span { step: 0, t: step.t, h: step.h, end: step.to };
        let Tools { maps, lanes } = tools;
        let (when, lanes) = (&mut *maps.events[event].when[0], &mut *lanes[0]);
        let from = (span, x_n, problem.duration(trajectory));
        let Zero { g, slope, crosses } = single.zero(lanes, when, from, x, (&mut parameters, &mut arguments))?;
        if !crosses {
            let rule = &problem.rules.events[event];
            if rule.sets || rule.terminal.is_some() {
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
    /// Of a part of the directions, from the `first` on.
    pub fn new(
        courses: Arc<[Course<T>]>,
        problem: &Problem<T>,
        moving: &TangentVectorField<T>,
        directions: &Directions<'_, T>,
        first: usize,
    ) -> Self {
        let clocks = moving.time_rows().iter().enumerate().filter_map(|(direction, row)| {
            let outputs = directions.of(directions.times, direction).map(<[f64]>::to_vec);
            row.map(|row| MovingTimes { direction, of_all: first + direction, row, outputs })
        });
        let clocks = clocks.collect();
        Self { courses, features: problem.state, clocks, options: problem.options.clone() }
    }

    /// Sets τ and σ for the next step of a lane.
    pub fn set(
        &self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        single: &mut Single<T>,
        (block, slot): (&mut Block<T>, usize),
        (clock, plan): (&mut Clock, &Plan),
    ) -> Result<()> {
        let width = block.width;
        let mut set = |row: usize, number: f64| {
            block.x[row * width + slot] = T::of(number);
            block.carry[row * width + slot] = T::zero();
        };
        for (moving, tau) in self.clocks.iter().zip(&clock.tau) {
            set(moving.row, *tau);
            set(moving.row + 1, 0.0);
        }
        clock.next_tau.clone_from(&clock.tau);
        match plan.end {
            End::Free => {}
            End::Jump => clock.next_tau.fill(0.0),
            End::Event => self.event(problem, tools, single, (block, slot), (clock, plan))?,
            End::Output(_) | End::Grid { .. } => {
                for (moving, next) in self.clocks.iter().zip(&mut clock.next_tau) {
                    *next = moving.end(problem, &self.options, clock.trajectory, plan.end)?;
                }
            }
        }
        for (index, moving) in self.clocks.iter().enumerate() {
            let sigma = (clock.next_tau[index] - clock.tau[index]) / plan.span.h;
            block.x[(moving.row + 1) * width + slot] = T::of(sigma);
        }
        Ok(())
    }

    /// How the end of a step that ends on an event moves, from a step of constant length.
    fn event(
        &self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        single: &mut Single<T>,
        (block, slot): (&Block<T>, usize),
        (clock, plan): (&mut Clock, &Plan),
    ) -> Result<()> {
        let Some(zero) = self.courses[clock.trajectory].zero_after(clock.stats.accepted + 1) else { return Ok(()) };
        let (width, span) = (block.width, plan.span);
        single.set_inputs(problem.inputs.of(clock.trajectory), tools);
        lane(&block.x, width, slot, &mut single.x);
        lane(&block.carry, width, slot, &mut single.carry);
        let lanes = &mut *tools.lanes[0];
        let x = single.x.to_vec();
        let mut k = vec![T::zero(); x.len()];
        single.slope(lanes, span.t, &x, &mut k)?;
        single.work.slopes[..k.len()].copy_from_slice(&k);
        single.step(lanes, span, problem.options.summation.of_state())?;
        for (index, moving) in self.clocks.iter().enumerate() {
            let rates = &single.next[(1 + moving.direction) * self.features..][..self.features];
            let of_state: f64 = zero.x.iter().zip(rates).map(|(g, rate)| g.wide() * rate.wide()).sum();
            let constant = zero.t * clock.tau[index] + of_state + zero.inputs[moving.of_all];
            clock.next_tau[index] -= constant / zero.slope;
        }
        Ok(())
    }
}

impl MovingTimes {
    /// The rate of the end of a step on an output, or on one of the equal steps between two.
    fn end<T: Real>(&self, problem: &Problem<T>, options: &Options, trajectory: usize, end: End) -> Result<f64> {
        let start = problem.times.start(trajectory);
        Ok(match end {
            End::Output(output) => self.of(start + output),
            End::Grid { from, step } => {
                let times = problem.times.of(trajectory);
                let to = if options.interpolates(times) { times.len() - 1 } else { from + 1 };
                let fraction = step as f64 / interval_steps(options, times[from], times[to])? as f64;
                self.of(start + from) * (1.0 - fraction) + self.of(start + to) * fraction
            }
            _ => 0.0,
        })
    }
}
