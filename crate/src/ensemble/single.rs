//! A single trajectory: its field, its jumps and events, and the steps that end on [roots](root_finding) of events' functions.

mod root_finding;

use super::problem::{Evaluators, Problem};
use crate::error::Result;
use crate::field::{Dynamics, EvaluationCounts, InnerProducts, LanePullback, Lanes, Pullback};
use crate::kernel::combine::advance;
use crate::kernel::panels::Panels;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Purpose};
use crate::stepper::{
    Discard, GradientSums, KeptStage, Sink, Span, Stage, StepExtent, StepOutputs, Stepper, Transpose, Workspace,
};

pub(super) use root_finding::{EventRoot, sign, time_resolution};

/// The workspace of a single trajectory.
pub(super) struct SingleTrajectory<T> {
    stepper: Stepper,
    /// (x, t), and a cotangent of it.
    xt: Buffer<T>,
    dxt: Buffer<T>,
    pub x: Buffer<T>,
    pub carry: Buffer<T>,
    pub next: Buffer<T>,
    pub next_carry: Buffer<T>,
    pub work: Workspace<T>,
    /// Arguments of a map.
    arguments: Buffer<T>,
    argument_count: usize,
    state: usize,
    layout: Layout,
    parameters: usize,
    pub evaluations: usize,
    pub vjps: usize,
}

/// The state before and after a step, with their carries.
pub(super) struct StepStates<'a, T> {
    pub x: &'a mut [T],
    pub carry: &'a mut [T],
    pub next: &'a mut [T],
    pub next_carry: &'a mut [T],
}

/// A trajectory's field as [`Dynamics`] for the stepper.
pub(super) struct SingleDynamics<'a, T> {
    lanes: &'a mut dyn Lanes<T>,
    xt: &'a mut [T],
    dxt: &'a mut [T],
    slope: Vec<T>,
    layout: &'a Layout,
    parameters: usize,
    arguments: usize,
    evaluations: &'a mut usize,
    vjps: &'a mut usize,
}

impl<T: Real> Dynamics<T> for SingleDynamics<'_, T> {
    fn layout(&self) -> &Layout {
        self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters + self.arguments
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn counts(&self) -> EvaluationCounts {
        EvaluationCounts { evaluations: *self.evaluations, vjps: *self.vjps }
    }

    fn evaluate(&mut self, t: f64, x: &[T], _tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        *self.evaluations += 1;
        fill(self.xt, x, t);
        self.lanes.evaluate(1, &[t], self.xt, None, k)
    }

    fn pullback(&mut self, t: f64, x: &[T], _tape: Option<&[T]>, pullback: Pullback<'_, T>) -> Result<InnerProducts> {
        *self.vjps += 1;
        fill(self.xt, x, t);
        let (parameters, arguments) = pullback.parameters.split_at_mut(self.parameters);
        let own = LanePullback { cotangent: pullback.cotangent, x: self.dxt, parameters, arguments };
        self.lanes.pullback(1, &[t], self.xt, None, own)?;
        let len = x.len();
        pullback.x.copy_from_slice(&self.dxt[..len]);
        if !pullback.times {
            return Ok(InnerProducts::default());
        }
        self.slope.resize(len, T::zero());
        self.lanes.evaluate(1, &[t], self.xt, None, &mut self.slope)?;
        for (probe, product) in pullback.probes.chunks_exact(len).zip(pullback.products) {
            *product += inner(probe, &self.slope);
        }
        Ok(InnerProducts { time: self.dxt[len].wide(), slope: inner(pullback.cotangent, &self.slope) })
    }
}

fn fill<T: Real>(xt: &mut [T], x: &[T], t: f64) {
    xt[..x.len()].copy_from_slice(x);
    xt[x.len()] = T::of(t);
}

/// Keeps the states of the stages of a step.
struct StageStates<T>(Vec<Vec<T>>);

impl<T: Real> Sink<T> for StageStates<T> {
    fn stage(&mut self, _stage: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        self.0.push(x.to_vec());
        Ok(None)
    }
}

fn inner<T: Real>(left: &[T], right: &[T]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left.wide() * right.wide()).sum()
}

/// The gradient of a function of (x, t).
pub(super) struct FunctionGradient<T> {
    pub x: Vec<T>,
    pub t: f64,
}

impl<T: Real> SingleTrajectory<T> {
    pub fn new(problem: &Problem<T>) -> Result<Self> {
        let (ledger, state) = (&problem.ledger, problem.state);
        let numbers = |len: usize| Buffer::zeroed(ledger, Purpose::Workspace, len);
        let amounts = problem.rules.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let stages = problem.scheme.stages;
        let layout = Layout::of::<T>(Panels::wide::<T>(1, 1), state);
        Ok(Self {
            stepper: Stepper::new(problem.options.method, &layout),
            xt: numbers(state + 1)?,
            dxt: numbers(state + 1)?,
            x: numbers(state)?,
            carry: numbers(state)?,
            next: numbers(state)?,
            next_carry: numbers(state)?,
            work: Workspace::new(ledger, stages + 1, state)?,
            arguments: numbers(problem.arguments + amounts)?,
            argument_count: problem.arguments,
            state,
            layout,
            parameters: problem.parameters,
            evaluations: 0,
            vjps: 0,
        })
    }

    /// Bytes that it takes.
    pub fn bytes(problem: &Problem<T>) -> usize {
        let amounts = problem.rules.jumps.iter().map(|jump| jump.numbers).max().unwrap_or(0);
        let states = 6 + Workspace::<T>::states(problem.scheme.stages + 1);
        (states * problem.state + 2 + problem.arguments + amounts) * size_of::<T>()
    }

    /// The stages of a step.
    pub fn stages(&self) -> usize {
        self.stepper.stages()
    }

    /// Sets the arguments and data of the trajectory, for the field, jumps and events.
    pub fn set_inputs(&mut self, (arguments, data): (&[T], &[T]), evaluators: &mut Evaluators<T>) {
        self.arguments[..self.argument_count].copy_from_slice(arguments);
        evaluators.lanes[0].set_inputs(arguments, data);
        for event in &mut evaluators.functions.events {
            if let Some(when) = event.when.first_mut() {
                when.set_inputs(arguments, &[]);
            }
            if let Some(set) = &mut event.set {
                set.set_inputs(arguments, &[]);
            }
        }
    }

    /// The stepper, the field, the workspace and the states of a step.
    pub fn parts<'a>(
        &'a mut self,
        lanes: &'a mut dyn Lanes<T>,
    ) -> (&'a Stepper, SingleDynamics<'a, T>, &'a mut Workspace<T>, StepStates<'a, T>) {
        let Self {
            stepper,
            xt,
            dxt,
            layout,
            parameters,
            argument_count,
            evaluations,
            vjps,
            work,
            x,
            carry,
            next,
            next_carry,
            ..
        } = self;
        let field = SingleDynamics {
            lanes,
            xt,
            dxt,
            slope: vec![],
            layout,
            parameters: *parameters,
            arguments: *argument_count,
            evaluations,
            vjps,
        };
        (stepper, field, work, StepStates { x, carry, next, next_carry })
    }

    /// f(t, x).
    pub fn slope(&mut self, lanes: &mut dyn Lanes<T>, t: f64, x: &[T], k: &mut [T]) -> Result<()> {
        self.evaluations += 1;
        fill(&mut self.xt, x, t);
        lanes.evaluate(1, &[t], &self.xt, None, k)
    }

    /// g(t, x).
    pub fn event_value(&mut self, when: &mut dyn Lanes<T>, t: f64, x: &[T]) -> Result<f64> {
        fill(&mut self.xt, x, t);
        let mut value = [T::zero()];
        when.evaluate(1, &[t], &self.xt, None, &mut value)?;
        Ok(value[0].wide())
    }

    /// The gradient of g, times a weight; those of parameters and arguments are added.
    pub fn event_gradient(
        &mut self,
        when: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        weight: f64,
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<FunctionGradient<T>> {
        fill(&mut self.xt, x, t);
        let pullback = LanePullback { cotangent: &[T::of(weight)], x: &mut self.dxt, parameters, arguments };
        when.pullback(1, &[t], &self.xt, None, pullback)?;
        Ok(FunctionGradient { x: self.dxt[..self.state].to_vec(), t: self.dxt[self.state].wide() })
    }

    /// The state after an event or, with its amounts, a jump.
    pub fn apply_map(
        &mut self,
        set: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        amounts: Option<&[T]>,
        to: &mut [T],
    ) -> Result<()> {
        if let Some(amounts) = amounts {
            let arguments = self.with_amounts(amounts);
            set.set_inputs(&self.arguments[..arguments], &[]);
        }
        fill(&mut self.xt, x, t);
        set.evaluate(1, &[t], &self.xt, None, to)
    }

    fn with_amounts(&mut self, amounts: &[T]) -> usize {
        let arguments = self.argument_count + amounts.len();
        self.arguments[self.argument_count..arguments].copy_from_slice(amounts);
        arguments
    }

    /// The pullback of such a map, from the cotangent of the state after it; returns the derivative with respect to time. `arguments` has
    /// room for the amounts, after the trajectory's own arguments.
    #[allow(clippy::too_many_arguments)]
    pub fn pullback_map(
        &mut self,
        set: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        amounts: Option<&[T]>,
        cotangent: &mut [T],
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<f64> {
        if let Some(amounts) = amounts {
            let arguments = self.with_amounts(amounts);
            set.set_inputs(&self.arguments[..arguments], &[]);
        }
        fill(&mut self.xt, x, t);
        let pullback = LanePullback { cotangent, x: &mut self.dxt, parameters, arguments };
        set.pullback(1, &[t], &self.xt, None, pullback)?;
        cotangent.copy_from_slice(&self.dxt[..self.state]);
        Ok(self.dxt[self.state].wide())
    }

    /// Takes the step from `x`, with the first slope known: x_{n+1} with its carry into `next`.
    pub fn step(&mut self, lanes: &mut dyn Lanes<T>, span: Span, compensated: bool) -> Result<()> {
        let (stepper, mut field, work, states) = self.parts(lanes);
        work.first_slope_known = true;
        stepper.attempt(&mut field, span, states.x, StepExtent::Increment, work, &mut Discard)?;
        let StepStates { x, carry, next, next_carry } = states;
        advance(compensated, (x, carry), &work.state, (next, next_carry));
        Ok(())
    }

    /// The pullback of f at (t, x); the gradients of parameters and arguments are added.
    pub fn pullback_field(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        t: f64,
        x: &[T],
        cotangent: &[T],
        parameters: &mut [T],
        arguments: &mut [T],
    ) -> Result<FunctionGradient<T>> {
        self.vjps += 1;
        fill(&mut self.xt, x, t);
        lanes.pullback(1, &[t], &self.xt, None, LanePullback { cotangent, x: &mut self.dxt, parameters, arguments })?;
        Ok(FunctionGradient { x: self.dxt[..self.state].to_vec(), t: self.dxt[self.state].wide() })
    }

    /// The derivative with respect to the step size of ⟨λ, x_{n+1}⟩, and of outputs at times within the step with their cotangents w;
    /// `next` is f(x_{n+1}).
    pub fn step_size_derivative(
        &mut self,
        lanes: &mut dyn Lanes<T>,
        (span, x): (Span, &[T]),
        lambda: &[T],
        (times, w): (&[f64], &[T]),
        next: &[T],
    ) -> Result<f64> {
        let mut unused = (vec![T::zero(); self.parameters + self.argument_count], vec![0.0; times.len()]);
        let (stepper, mut field, work, _) = self.parts(lanes);
        let mut stages = StageStates(vec![]);
        work.first_slope_known = false;
        stepper.attempt(&mut field, span, x, StepExtent::Stages, work, &mut stages)?;
        let (mut own, mut previous) = (StepOutputs::default(), StepOutputs::default());
        own.set(&stepper.scheme, span, times, 0..times.len())?;
        let last: Vec<f64> = w.chunks_exact(x.len()).map(|w| inner(w, next)).collect();
        own.add_products(stepper.stages(), &last);
        let (own, previous) = (&mut own, &mut previous);
        let step = Transpose { span, lambda, w, own, previous, times: true };
        let sums = GradientSums { parameters: &mut unused.0, times: &mut unused.1, products: &mut vec![] };
        let stage = |index: usize| KeptStage { x: &stages.0[index][..], tape: None, next_tape: None };
        let record = stepper.transpose(&mut field, step, &stage, work, sums)?;
        Ok(record.h)
    }
}
