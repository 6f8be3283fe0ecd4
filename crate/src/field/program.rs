//! Vector fields that are programs: models of your own, differentiated by the crate.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ndarray::ArrayView2;

use super::lanes::{LanePull, LaneSetup, Lanes, TrajectoryInputs};
use super::{Demand, Directions, Dots, Dynamics, Pull, Uses, VectorField};
use crate::error::{Error, Result, finite, finite_rows};
use crate::kernel::panels::Spare;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::derive::{Derived, derive};
use crate::program::execute::{ArrayRows, Arrays, Executor, SharedPacks};
use crate::program::graph::Op;
use crate::program::plan::{Plan, Request, Target};
use crate::program::tangents::{DirectionKind, Motion, TangentProgram};
use crate::program::{Program, Sizes};

/// A vector field from a [`Program`] and its parameters, which the crate differentiates.
///
/// If the program has arguments, solve with the field that [`with_arguments`](Self::with_arguments) returns for a batch.
/// `examples/own_field.rs` is a complete program.
///
/// It keeps the plans of its solves, for those that follow. Threads can share it; for one solve on several threads, set
/// [`Options::threads`](crate::Options::threads).
#[derive(Debug)]
pub struct ProgramField<T: Real> {
    program: Program,
    parameters: Buffer<T>,
    derived: OnceLock<Derived>,
    /// The plans made last, the latest first.
    plans: Mutex<Vec<(PlanKind, Arc<Plan<T>>)>>,
    /// The same for trajectories with times of their own.
    timed: OnceLock<Box<ProgramField<T>>>,
    /// The fields with derivatives along directions that were made last, the latest first.
    tangents: Mutex<Vec<Arc<Moving<T>>>>,
}

/// How many fields with derivatives a field keeps: those of some hundred directions, which are followed in parts.
const KEPT: usize = 16;

/// Cache lines a row of the trajectories that are solved side by side, with matrices and without.
const DENSE_LEAF: usize = 4;
const LEAF: usize = 16;

/// Whether a plan is for gradients, and whether it has one block.
type PlanKind = (bool, bool);

/// How many plans it keeps: those of an ensemble, whose trajectories come to their ends one after the other.
const PLANS: usize = 16;

/// A field of the state with its derivatives along directions of these kinds.
#[derive(Debug)]
struct Moving<T: Real> {
    kinds: Vec<DirectionKind>,
    tangents: TangentProgram,
    field: ProgramField<T>,
}

/// The same with the numbers of a batch.
struct Moved<T: Real> {
    moving: Arc<Moving<T>>,
    /// [θ, θ̇ of each direction].
    parameters: Buffer<T>,
    /// `[batch, …]`, a row [a, ȧ of each direction].
    arguments: Buffer<T>,
}

impl<T: Real> ProgramField<T> {
    /// A field with these initial parameters, flat, in the order in which the program takes them.
    ///
    /// # Errors
    /// `Shape` for another number of parameters than the program's, `NonFiniteInput`, `OutOfMemory`.
    pub fn new(program: Program, parameters: &[T]) -> Result<Self> {
        check_parameters(&program, parameters)?;
        let parameters = Buffer::copied(&Ledger::new(), Purpose::Network, parameters)?;
        Ok(Self::of(program, parameters))
    }

    fn of(program: Program, parameters: Buffer<T>) -> Self {
        let (plans, tangents) = (Mutex::default(), Mutex::default());
        Self { program, parameters, derived: OnceLock::new(), plans, timed: OnceLock::new(), tangents }
    }

    /// The program that it computes.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The vector field for a batch whose trajectories have these arguments `[batch, arguments]`.
    ///
    /// # Errors
    /// `Shape` for other columns than the program's arguments, `NonFiniteInput`.
    pub fn with_arguments<'a>(&'a self, arguments: ArrayView2<'a, T>) -> Result<WithArguments<'a, T>> {
        if arguments.ncols() != self.program.arguments() {
            let expected = format!("[batch, {}]", self.program.arguments());
            return Err(Error::shape("arguments", expected, format!("{:?}", arguments.shape())));
        }
        finite_rows("arguments", arguments)?;
        Ok(WithArguments { field: self, arguments })
    }

    fn plan(&self, batch: usize, reverse: bool, one_block: bool) -> Arc<Plan<T>> {
        let mut made = kept(&self.plans);
        let kind = (reverse, one_block);
        if let Some(place) = made.iter().position(|(other, plan)| *other == kind && plan.panels.samples == batch) {
            made[..=place].rotate_right(1);
        } else {
            made.truncate(PLANS - 1);
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
        demand: Demand<'_, T>,
        rows: Rows<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        match demand.directions {
            Some(directions) => self.tangent_dynamics(parameters, batch, directions, demand, rows, ledger),
            None => Ok(Box::new(self.ready(parameters, batch, demand, rows, None, ledger)?)),
        }
    }

    /// Ready for a batch in blocks, or as lanes in one block, which share what is packed.
    fn ready(
        &self,
        parameters: &[T],
        batch: usize,
        Demand { reverse, threads, .. }: Demand<'_, T>,
        rows: Rows<'_, T>,
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
            let mut packed = Buffer::used(ledger, Purpose::Workspace, plan.panels.lanes * columns)?;
            plan.panels.pack(rows, &mut packed, Spare::Repeat);
            Ok(packed)
        };
        let (own_arguments, own_data) = (packed(rows.arguments, arguments)?, packed(rows.data, data)?);
        let tape = if reverse { self.derived().tape_rows } else { 0 };
        let rows = ArrayRows { state, arguments, data, value: self.program.outputs(), tape };
        let mut executor = Executor::new(plan, parameters, lanes.unwrap_or(&SharedPacks::default()), threads, ledger)?;
        executor.settle(rows, &own_arguments, &own_data);
        Ok(ProgramDynamics {
            rows,
            parameters: parameters.len(),
            executor,
            arguments: own_arguments,
            data: own_data,
            layout,
            uses: Uses::default(),
        })
    }

    /// Ready for so many trajectories with times of their own.
    pub(crate) fn timed_lanes(
        &self,
        setup: &LaneSetup<'_, T>,
        width: usize,
        reverse: bool,
    ) -> Result<Box<dyn Lanes<T>>> {
        let &LaneSetup { parameters, ref packs, ledger } = setup;
        check_parameters(&self.program, parameters)?;
        let timed = self.timed.get_or_init(|| {
            let none = Buffer::zeroed(&Ledger::new(), Purpose::Network, 0).expect("no memory is asked for");
            Box::new(Self::of(self.program.timed(), none))
        });
        let data = Buffer::<T>::zeroed(ledger, Purpose::Workspace, width * self.program.sizes.data)?;
        let data = ArrayView2::from_shape((width, self.program.sizes.data), &data).expect("a row for each lane");
        let rows = Rows { data: (self.program.sizes.data > 0).then_some(data), ..Rows::NONE };
        let ready = timed.ready(parameters, width, Demand::new(reverse), rows, Some(packs), ledger)?;
        // Their arrays are `[rows][width]`, which several blocks would read as something else.
        let panels = ready.layout.panels;
        assert!(panels.lanes == width && panels.count() == 1, "one block of {width} lanes");
        Ok(Box::new(ready))
    }

    /// Trajectories of an ensemble that are solved side by side.
    pub(crate) fn leaf(&self) -> usize {
        let dense = self.program.graph.nodes.iter().any(|node| matches!(node.op, Op::Dense { .. }));
        T::LANES * if dense { DENSE_LEAF } else { LEAF }
    }

    /// The program of the state with its derivatives along directions.
    fn moving(&self, directions: &Directions<'_, T>, batch: usize, beside: Beside) -> Result<Arc<Moving<T>>> {
        let kinds = kinds(&self.program, directions, batch, 0, beside);
        let mut made = kept(&self.tangents);
        if let Some(place) = made.iter().position(|moving| moving.kinds == kinds) {
            made[..=place].rotate_right(1);
            return Ok(Arc::clone(&made[0]));
        }
        let tangents = self.program.tangents(&kinds, 0);
        let field = Self::of(tangents.program.clone(), Buffer::zeroed(&Ledger::new(), Purpose::Network, 0)?);
        made.truncate(KEPT - 1);
        made.insert(0, Arc::new(Moving { kinds, tangents, field }));
        Ok(Arc::clone(&made[0]))
    }

    /// Ready for a batch of states with their derivatives along directions.
    fn tangent_dynamics(
        &self,
        parameters: &[T],
        batch: usize,
        directions: &Directions<'_, T>,
        demand: Demand<'_, T>,
        rows: Rows<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        let moving = self.moving(directions, batch, Beside::default())?;
        let Moved { moving, parameters, arguments } =
            self.moved(moving, parameters, batch, directions, rows.arguments, ledger)?;
        let columns = moving.tangents.program.sizes.arguments;
        let own = ArrayView2::from_shape((batch, columns), &arguments).expect("a row for each trajectory");
        let rows = Rows { arguments: (columns > 0).then_some(own), ..rows };
        moving.field.dynamics(&parameters, batch, Demand { directions: None, ..demand }, rows, ledger)
    }

    /// The program of a batch of states with their derivatives along directions, and its numbers.
    fn moved(
        &self,
        moving: Arc<Moving<T>>,
        parameters: &[T],
        batch: usize,
        directions: &Directions<'_, T>,
        given_arguments: Option<ArrayView2<'_, T>>,
        ledger: &Ledger,
    ) -> Result<Moved<T>> {
        check_parameters(&self.program, parameters)?;
        let TangentProgram { program, parameters: own_parameters, arguments: own_arguments, .. } = &moving.tangents;
        let arguments = program.sizes.arguments;
        let mut all = Buffer::zeroed(ledger, Purpose::Workspace, program.sizes.parameters)?;
        all[..parameters.len()].copy_from_slice(parameters);
        let mut own = Buffer::zeroed(ledger, Purpose::Workspace, batch * arguments)?;
        let columns = self.program.arguments();
        let mut put = |start: usize, given: &mut dyn Iterator<Item = T>| {
            for row in own.chunks_exact_mut(arguments.max(1)) {
                row[start..start + columns].iter_mut().for_each(|to| *to = given.next().unwrap_or(*to));
            }
        };
        if let Some(given) = given_arguments {
            put(0, &mut given.iter().copied());
        }
        for index in 0..directions.count {
            if let (Some(start), Some(given)) = (own_parameters[index], directions.of(directions.parameters, index)) {
                all[start..start + given.len()].copy_from_slice(given);
            }
            if let (Some(start), Some(given)) = (own_arguments[index], directions.of(directions.arguments, index)) {
                put(start, &mut given.iter().copied());
            }
        }
        Ok(Moved { moving, parameters: all, arguments: own })
    }

    /// The field of states with their derivatives along directions, for trajectories that have these inputs, in leaves of so many.
    pub(crate) fn along(
        &self,
        directions: &Directions<'_, T>,
        inputs: &TrajectoryInputs<T>,
        leaf: usize,
        beside: Beside,
        ledger: &Ledger,
    ) -> Result<MovingField<T>> {
        let batch = inputs.batch;
        let columns = self.program.arguments();
        let given = ArrayView2::from_shape((batch, columns), &inputs.arguments).expect("a row for each trajectory");
        let moving = self.moving(directions, batch, beside)?;
        let moved = self.moved(moving, &self.parameters, batch, directions, (columns > 0).then_some(given), ledger)?;
        Ok(MovingField { moved, data: Buffer::copied(ledger, Purpose::Workspace, &inputs.data)?, leaf })
    }
}

/// A field of states [x, ẋ_1, ẋ_2, …] for trajectories that take their own steps.
pub(crate) struct MovingField<T: Real> {
    moved: Moved<T>,
    data: Buffer<T>,
    leaf: usize,
}

impl<T: Real> MovingField<T> {
    /// Where τ and σ of each direction lie in the state, if its times move.
    pub fn clocks(&self) -> &[Option<usize>] {
        &self.moved.moving.tangents.clocks
    }
}

impl<T: Real> VectorField<T> for MovingField<T> {
    fn state_size(&self) -> usize {
        self.moved.moving.field.state_size()
    }

    fn argument_size(&self) -> usize {
        self.moved.moving.field.argument_size()
    }

    fn parameters(&self) -> &[T] {
        &self.moved.parameters
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.moved.parameters
    }

    fn prepare(&self, _: &[T], _: usize, _: Demand<'_, T>, _: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        unimplemented!("its trajectories take their own steps")
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.moved.moving.field.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn leaf(&self) -> usize {
        self.leaf
    }

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        let copy = |numbers: &[T]| Buffer::copied(ledger, Purpose::Workspace, numbers);
        Ok(TrajectoryInputs { batch, arguments: copy(&self.moved.arguments)?, data: copy(&self.data)? })
    }
}

/// What else is differentiated along the same directions as a field.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside {
    /// Jumps and events, whose programs read the same parameters and arguments.
    pub maps: bool,
    /// Times that follow from the state, along every direction.
    pub clocks: bool,
}

/// The program of a jump or an event's change of the state, for a state with its derivatives along directions, as [`ProgramField::along`]
/// has them.
pub(crate) fn map_along<T: Real>(
    map: &Program,
    directions: &Directions<'_, T>,
    batch: usize,
    amounts: usize,
    beside: Beside,
) -> Program {
    let map = map.parted(map.arguments() - amounts);
    map.tangents(&kinds(&map, directions, batch, amounts, beside), amounts).program
}

/// What moves along each of the directions. The last arguments, the `amounts` of a jump, do not.
fn kinds<T: Real>(
    program: &Program,
    directions: &Directions<'_, T>,
    batch: usize,
    amounts: usize,
    beside: Beside,
) -> Vec<DirectionKind> {
    let own = program.arguments() - amounts;
    let kind = |index| DirectionKind {
        times: beside.clocks || directions.moves_times(index),
        places: [directions.parameters, directions.arguments].map(|given| beside.maps && given.is_some()),
        ..kind(program, directions, index, (batch, own))
    };
    (0..directions.count).map(kind).collect()
}

/// What moves along one of the directions, of trajectories that have so many arguments.
fn kind<T: Real>(
    program: &Program,
    directions: &Directions<'_, T>,
    index: usize,
    (batch, columns): (usize, usize),
) -> DirectionKind {
    let motion = |numbers: &mut dyn Iterator<Item = T>, single: bool| {
        let (mut still, mut unit) = (true, single);
        numbers.for_each(|number| {
            still &= number == T::zero();
            unit &= number == T::one();
        });
        match (still, unit) {
            (true, _) => Motion::Still,
            (_, true) => Motion::Unit,
            _ => Motion::Given,
        }
    };
    let parameters = program.places().into_iter().map(|place| match directions.of(directions.parameters, index) {
        Some(given) => motion(&mut place.indices().map(|at| given[at]), place.len() == 1),
        None => Motion::Still,
    });
    let arguments =
        program.argument_rows().into_iter().map(|(row, rows)| match directions.of(directions.arguments, index) {
            Some(given) if row < columns => {
                let samples = (0..batch).map(|sample| &given[sample * columns + row..][..rows]);
                motion(&mut samples.flatten().copied(), rows == 1)
            }
            _ => Motion::Still,
        });
    let (parameters, arguments) = (parameters.collect(), arguments.collect());
    DirectionKind { parameters, arguments, times: false, places: [false; 2] }
}

/// What the trajectories of a batch have beside their states, a row each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub arguments: Option<ArrayView2<'a, T>>,
    pub data: Option<ArrayView2<'a, T>>,
}

impl<T> Rows<'_, T> {
    pub const NONE: Self = Self { arguments: None, data: None };
}

/// What a field keeps. A panic leaves whole plans, or none.
fn kept<K>(plans: &Mutex<K>) -> MutexGuard<'_, K> {
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

    fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        demand: Demand<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        if self.program.arguments() > 0 {
            let expected = format!("[{batch}, {}], by with_arguments", self.program.arguments());
            return Err(Error::shape("arguments", expected, "none"));
        }
        self.dynamics(parameters, batch, demand, Rows::NONE, ledger)
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

    /// # Panics
    /// Always: the field itself has them to be changed.
    fn parameters_mut(&mut self) -> &mut [T] {
        unimplemented!("change the parameters of the field that this one borrows")
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        demand: Demand<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        if self.arguments.nrows() != batch {
            let expected = format!("[{batch}, {}], a row for each trajectory", self.argument_size());
            return Err(Error::shape("arguments", expected, format!("{:?}", self.arguments.shape())));
        }
        let rows = Rows { arguments: Some(self.arguments), ..Rows::NONE };
        self.field.dynamics(parameters, batch, demand, rows, ledger)
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

struct ProgramDynamics<T: Real> {
    layout: Layout,
    executor: Executor<T>,
    arguments: Buffer<T>,
    data: Buffer<T>,
    rows: ArrayRows,
    parameters: usize,
    uses: Uses,
}

// What the plan of a gradient can run, in the order of its requests.
const VALUE: usize = 0;
const VALUE_KEEPING: usize = 1;
const TRANSPOSE: usize = 2;
const TRANSPOSE_TAPED: usize = 3;
/// What is added for a transpose that gives the gradients of times too.
const WITH_TIMES: usize = 2;

impl<T: Real> Dynamics<T> for ProgramDynamics<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters + self.arguments.len()
    }

    fn arguments(&self) -> usize {
        self.rows.arguments
    }

    fn tape_len(&self) -> usize {
        self.rows.tape * self.layout.panels.lanes
    }

    fn uses(&self) -> Uses {
        self.uses
    }

    fn evaluate(&mut self, t: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.uses.evaluations += 1;
        let task = if tape.is_some() { VALUE_KEEPING } else { VALUE };
        let keep = tape.unwrap_or_default();
        let arrays =
            Arrays { state: x, arguments: &self.arguments, data: &self.data, keep, value: k, ..Arrays::default() };
        self.executor.run(task, t, self.rows, arrays);
        Ok(())
    }

    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        self.uses.evaluations += usize::from(tape.is_none());
        self.uses.vjps += 1;
        let task = if tape.is_some() { TRANSPOSE_TAPED } else { TRANSPOSE };
        let task = task + if pull.times { WITH_TIMES } else { 0 };
        let (gradient, argument_cotangents) = pull.parameters.split_at_mut(self.parameters);
        let arrays = Arrays {
            state: x,
            arguments: &self.arguments,
            data: &self.data,
            cotangent: pull.cotangent,
            tape: tape.unwrap_or_default(),
            next_tape: pull.next_tape.unwrap_or_default(),
            state_cotangent: pull.x,
            argument_cotangents,
            gradient,
            probes: pull.probes,
            products: pull.products,
            ..Arrays::default()
        };
        Ok(self.executor.run(task, t, self.rows, arrays))
    }
}

impl<T: Real> Lanes<T> for ProgramDynamics<T> {
    fn width(&self) -> usize {
        self.layout.panels.lanes
    }

    fn parameters(&self) -> usize {
        self.parameters
    }

    fn tape_len(&self) -> usize {
        Dynamics::tape_len(self)
    }

    fn settle(&mut self, arguments: &[T], data: &[T]) {
        self.arguments.copy_from_slice(arguments);
        self.data.copy_from_slice(data);
        self.executor.settle(self.rows, &self.arguments, &self.data);
    }

    fn evaluate(&mut self, _active: usize, _t: &[f64], x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        Dynamics::evaluate(self, 0.0, x, tape, k)
    }

    fn pull(&mut self, _active: usize, _t: &[f64], x: &[T], tape: Option<&[T]>, pull: LanePull<'_, T>) -> Result<bool> {
        let task = if tape.is_some() { TRANSPOSE_TAPED } else { TRANSPOSE };
        let arrays = Arrays {
            state: x,
            arguments: &self.arguments,
            data: &self.data,
            cotangent: pull.cotangent,
            tape: tape.unwrap_or_default(),
            state_cotangent: pull.x,
            argument_cotangents: pull.arguments,
            gradient: pull.parameters,
            ..Arrays::default()
        };
        self.executor.run(task, 0.0, self.rows, arrays);
        Ok(true)
    }
}
