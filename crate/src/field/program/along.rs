//! Fields of states with their derivatives along directions (forward mode).

use std::sync::Arc;

use ndarray::ArrayView2;

use super::super::lanes::{LaneSetup, Lanes, TrajectoryInputs};
use super::super::{Demand, Directions, Dynamics, VectorField};
use super::{ProgramField, Rows, check_parameters, kept};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::Program;
use crate::program::tangents::{DirectionKind, Motion, TangentProgram};

/// How many fields with derivatives a field keeps: those of some hundred directions, which are followed in parts.
const KEPT: usize = 16;

/// A field of the state with its derivatives along directions of these kinds.
#[derive(Debug)]
pub(super) struct Moving<T: Real> {
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
    pub(super) fn tangent_dynamics(
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
