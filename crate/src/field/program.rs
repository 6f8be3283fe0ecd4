//! Vector fields that are programs: models of your own, differentiated by the crate.

mod dynamics;
mod tangents;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ndarray::ArrayView2;

use super::lanes::{LaneSetup, Lanes, TrajectoryInputs};
use super::{Dynamics, EvaluationCounts, FieldOptions, VectorField};
use crate::error::{Error, Result, finite, finite_rows};
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::derive::{Derived, derive};
use crate::program::execute::{ArrayRows, Executor, SharedPacks};
use crate::program::graph::Op;
use crate::program::plan::{Plan, Request, Target};
use crate::program::{Program, Sizes};
use dynamics::ProgramDynamics;
use tangents::TangentField;
pub(crate) use tangents::{TangentScope, TangentVectorField, tangent_map};

/// A vector field from a [`Program`] and its parameters, which the crate differentiates.
///
/// If the program has arguments, solve with the field that [`with_arguments`](Self::with_arguments) returns for a batch.
/// `examples/own_field.rs` is a complete program.
///
/// The field reuses the plans of earlier solves. Threads can share it; for one solve on several threads, set
/// [`Options::threads`](crate::Options::threads).
#[derive(Debug)]
pub struct ProgramField<T: Real> {
    program: Program,
    parameters: Buffer<T>,
    derived: OnceLock<Derived>,
    /// The plans made last, the latest first.
    plans: Mutex<Vec<(PlanKind, Arc<Plan<T>>)>>,
    /// The plans for trajectories at different times.
    with_time_in_state: OnceLock<Box<ProgramField<T>>>,
    /// The fields with derivatives along directions that were made last, the latest first.
    tangents: Mutex<Vec<Arc<TangentField<T>>>>,
}

/// Cache lines a row of the trajectories that are solved side by side, with matrices and without.
const DENSE_LEAF: usize = 4;
const LEAF: usize = 16;

/// Whether a plan is for gradients, and whether it has one block.
type PlanKind = (bool, bool);

/// How many plans it keeps: those of an ensemble, whose trajectories come to their ends one after the other.
const PLAN_CACHE_LEN: usize = 16;

impl<T: Real> ProgramField<T> {
    /// A field with these initial parameters, flat, in the order in which the program takes them.
    ///
    /// # Errors
    /// `Shape` if the number of parameters is not the program's, `NonFiniteInput` for the parameters, `OutOfMemory`.
    pub fn new(program: Program, parameters: &[T]) -> Result<Self> {
        check_parameters(&program, parameters)?;
        let parameters = Buffer::copied(&Ledger::new(), Purpose::Network, parameters)?;
        Ok(Self::of(program, parameters))
    }

    fn of(program: Program, parameters: Buffer<T>) -> Self {
        let (plans, tangents) = (Mutex::default(), Mutex::default());
        Self { program, parameters, derived: OnceLock::new(), plans, with_time_in_state: OnceLock::new(), tangents }
    }

    /// The program that computes the field.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// All parameters, flat, in the order in which the program takes them, for you to change. Solves that were recorded before keep the
    /// parameters that they had.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    /// The vector field for a batch whose trajectories have these arguments `[batch, arguments]`.
    ///
    /// # Errors
    /// `Shape` if there is not one column for each argument of the program, `NonFiniteInput` for the arguments.
    pub fn with_arguments<'a>(&'a self, arguments: ArrayView2<'a, T>) -> Result<WithArguments<'a, T>> {
        if arguments.ncols() != self.program.arguments() {
            let expected = format!("[batch, {}]", self.program.arguments());
            return Err(Error::shape("arguments", expected, format!("{:?}", arguments.shape())));
        }
        finite_rows("arguments", arguments)?;
        Ok(WithArguments { field: self, arguments })
    }

    fn plan(&self, batch: usize, reverse: bool, one_block: bool) -> Arc<Plan<T>> {
        let mut made = lock_cache(&self.plans);
        let kind = (reverse, one_block);
        if let Some(place) = made.iter().position(|(other, plan)| *other == kind && plan.panels.samples == batch) {
            made[..=place].rotate_right(1);
        } else {
            made.truncate(PLAN_CACHE_LEN - 1);
            made.insert(0, (kind, Arc::new(self.make_plan(batch, reverse, one_block))));
        }
        Arc::clone(&made[0].1)
    }

    fn derived(&self) -> &Derived {
        let Program { graph, value, sizes, .. } = &self.program;
        self.derived.get_or_init(|| derive(graph, *value, sizes.state, sizes.arguments))
    }

    fn make_plan(&self, batch: usize, reverse: bool, one_block: bool) -> Plan<T> {
        let Program { graph, value, .. } = &self.program;
        if !reverse {
            let request = Request { outputs: vec![(Target::Value, *value)], ..Request::default() };
            return Plan::new(graph, &[], &[request], batch, one_block);
        }
        let Derived { graph, value, state, arguments, parameters, time, tape, .. } = self.derived();
        let forward = Request { outputs: vec![(Target::Value, *value)], ..Request::default() };
        let mut outputs = vec![(Target::StateCotangent, *state)];
        outputs.extend(arguments.map(|id| (Target::ArgumentCotangents, id)));
        outputs.extend(parameters.iter().map(|&(place, id)| (Target::Parameters(place), id)));
        let reverse = Request { outputs, ..Request::default() };
        let mut with_times = reverse.clone();
        with_times.outputs.push((Target::Products, *value));
        with_times.outputs.extend(time.map(|id| (Target::Time, id)));
        let requests = [
            forward.clone(),
            Request { keeps: true, ..forward },
            reverse.clone(),
            Request { taped: true, ..reverse },
            with_times.clone(),
            Request { taped: true, ..with_times },
        ];
        Plan::new(graph, tape, &requests, batch, one_block)
    }

    /// Ready for a batch with these arguments and data.
    pub(crate) fn dynamics(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        rows: BatchInputs<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        match options.directions {
            Some(directions) => self.tangent_dynamics(parameters, batch, directions, options, rows, ledger),
            None => Ok(Box::new(self.program_dynamics(parameters, batch, options, rows, None, ledger)?)),
        }
    }

    /// Ready for a batch in blocks, or as lanes in one block, which share what is packed.
    fn program_dynamics(
        &self,
        parameters: &[T],
        batch: usize,
        FieldOptions { reverse, threads, .. }: FieldOptions<'_, T>,
        rows: BatchInputs<'_, T>,
        lanes: Option<&SharedPacks<T>>,
        ledger: &Ledger,
    ) -> Result<ProgramDynamics<T>> {
        let Sizes { state, arguments, data, .. } = self.program.sizes;
        check_parameters(&self.program, parameters)?;
        if data > 0 && rows.data.is_none() {
            return Err(Error::shape("data", format!("[{batch}, {data}], which only a flow has"), "none"));
        }
        let plan = self.plan(batch, reverse, lanes.is_some());
        let layout = Layout::of::<T>(plan.panels, state);
        let packed = |rows: Option<ArrayView2<'_, T>>, columns: usize| {
            let Some(rows) = rows else {
                return Buffer::zeroed(ledger, Purpose::Workspace, plan.panels.lanes * columns);
            };
            let mut packed = Buffer::recycled(ledger, Purpose::Workspace, plan.panels.lanes * columns)?;
            plan.panels.pack(rows, &mut packed, Padding::Repeat);
            Ok(packed)
        };
        let (own_arguments, own_data) = (packed(rows.arguments, arguments)?, packed(rows.data, data)?);
        let tape = if reverse { self.derived().tape_rows } else { 0 };
        let rows = ArrayRows { state, arguments, data, value: self.program.outputs(), tape };
        let mut executor = Executor::new(plan, parameters, lanes.unwrap_or(&SharedPacks::default()), threads, ledger)?;
        executor.set_inputs(rows, &own_arguments, &own_data);
        Ok(ProgramDynamics {
            rows,
            parameters: parameters.len(),
            executor,
            arguments: own_arguments,
            data: own_data,
            layout,
            counts: EvaluationCounts::default(),
        })
    }

    /// Prepares the field for `width` trajectories at different times.
    pub(crate) fn timed_lanes(
        &self,
        setup: &LaneSetup<'_, T>,
        width: usize,
        reverse: bool,
    ) -> Result<Box<dyn Lanes<T>>> {
        let &LaneSetup { parameters, ref packs, ledger } = setup;
        check_parameters(&self.program, parameters)?;
        let timed = self.with_time_in_state.get_or_init(|| {
            let none = Buffer::zeroed(&Ledger::new(), Purpose::Network, 0).expect("no memory is asked for");
            Box::new(Self::of(self.program.with_time_in_state(), none))
        });
        let data = Buffer::<T>::zeroed(ledger, Purpose::Workspace, width * self.program.sizes.data)?;
        let data = ArrayView2::from_shape((width, self.program.sizes.data), &data).expect("a row for each lane");
        let rows = BatchInputs { data: (self.program.sizes.data > 0).then_some(data), ..BatchInputs::NONE };
        let dynamics =
            timed.program_dynamics(parameters, width, FieldOptions::new(reverse), rows, Some(packs), ledger)?;
        // Their arrays are `[rows][width]`, which several blocks would read as something else.
        let panels = dynamics.layout.panels;
        assert!(panels.lanes == width && panels.count() == 1, "one block of {width} lanes");
        Ok(Box::new(dynamics))
    }

    /// Trajectories of an ensemble that are solved side by side.
    pub(crate) fn leaf(&self) -> usize {
        let dense = self.program.graph.nodes.iter().any(|node| matches!(node.op, Op::Dense { .. }));
        T::LANES * if dense { DENSE_LEAF } else { LEAF }
    }
}

/// The arguments and data of a batch, a row for each trajectory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchInputs<'a, T> {
    pub arguments: Option<ArrayView2<'a, T>>,
    pub data: Option<ArrayView2<'a, T>>,
}

impl<T> BatchInputs<'_, T> {
    pub const NONE: Self = Self { arguments: None, data: None };
}

/// Locks a cache. A panic leaves whole entries, or none, so poisoning is ignored.
fn lock_cache<K>(plans: &Mutex<K>) -> MutexGuard<'_, K> {
    plans.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_parameters<T: Real>(program: &Program, parameters: &[T]) -> Result<()> {
    if parameters.len() != program.parameters() {
        return Err(Error::shape("parameters", program.parameters(), parameters.len()));
    }
    finite("parameters", parameters)
}

impl<T: Real> VectorField<T> for ProgramField<T> {
    fn state_size(&self) -> usize {
        self.program.state()
    }

    fn output_size(&self) -> usize {
        self.program.outputs()
    }

    fn argument_size(&self) -> usize {
        self.program.arguments()
    }

    fn parameters(&self) -> &[T] {
        &self.parameters
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        if self.program.arguments() > 0 {
            let expected = format!("[{batch}, {}], by with_arguments", self.program.arguments());
            return Err(Error::shape("arguments", expected, "none"));
        }
        self.dynamics(parameters, batch, options, BatchInputs::NONE, ledger)
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn program_field(&self) -> Option<&ProgramField<T>> {
        Some(self)
    }

    fn leaf(&self) -> usize {
        ProgramField::leaf(self)
    }

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        if self.program.arguments() > 0 {
            let expected = format!("[{batch}, {}], by with_arguments", self.program.arguments());
            return Err(Error::shape("arguments", expected, "none"));
        }
        TrajectoryInputs::none(batch, ledger)
    }
}

/// A [`ProgramField`] for one batch, with its arguments; from [`ProgramField::with_arguments`].
#[derive(Debug, Clone, Copy)]
pub struct WithArguments<'a, T: Real> {
    field: &'a ProgramField<T>,
    arguments: ArrayView2<'a, T>,
}

impl<T: Real> VectorField<T> for WithArguments<'_, T> {
    fn state_size(&self) -> usize {
        self.field.state_size()
    }

    fn output_size(&self) -> usize {
        self.field.output_size()
    }

    fn argument_size(&self) -> usize {
        self.field.argument_size()
    }

    fn parameters(&self) -> &[T] {
        &self.field.parameters
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        if self.arguments.nrows() != batch {
            let expected = format!("[{batch}, {}], a row for each trajectory", self.argument_size());
            return Err(Error::shape("arguments", expected, format!("{:?}", self.arguments.shape())));
        }
        let rows = BatchInputs { arguments: Some(self.arguments), ..BatchInputs::NONE };
        self.field.dynamics(parameters, batch, options, rows, ledger)
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.field.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn program_field(&self) -> Option<&ProgramField<T>> {
        Some(self.field)
    }

    fn leaf(&self) -> usize {
        self.field.leaf()
    }

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        if self.arguments.nrows() != batch {
            let expected = format!("[{batch}, {}], a row for each trajectory", self.argument_size());
            return Err(Error::shape("arguments", expected, format!("{:?}", self.arguments.shape())));
        }
        let mut arguments = Buffer::zeroed(ledger, Purpose::Workspace, self.arguments.len())?;
        arguments.iter_mut().zip(self.arguments).for_each(|(to, &from)| *to = from);
        Ok(TrajectoryInputs { arguments, ..TrajectoryInputs::none(batch, ledger)? })
    }
}
