//! Forward mode: vector fields of a state with its tangents along directions.

use std::sync::Arc;

use ndarray::ArrayView2;

use super::super::lanes::{LaneSetup, Lanes, TrajectoryInputs};
use super::super::{Directions, Dynamics, FieldOptions, VectorField};
use super::{BatchInputs, ProgramField, check_parameters, lock_cache};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::Program;
use crate::program::tangents::{DirectionSeeds, Seed, TangentProgram};

/// How many tangent fields a field caches: enough for hundreds of directions, which are followed in chunks.
const TANGENT_CACHE_LEN: usize = 16;

/// The field of the state with its tangents along directions that have these seeds.
#[derive(Debug)]
pub(super) struct TangentField<T: Real> {
    seeds: Vec<DirectionSeeds>,
    tangents: TangentProgram,
    field: ProgramField<T>,
}

/// A tangent field with the parameters and arguments of a batch.
struct BatchTangentField<T: Real> {
    tangent_field: Arc<TangentField<T>>,
    /// [θ, θ̇ of each direction].
    parameters: Buffer<T>,
    /// `[batch, …]`, a row [a, ȧ of each direction].
    arguments: Buffer<T>,
}

impl<T: Real> ProgramField<T> {
    /// The field of the state with its tangents along directions, cached by its seeds.
    fn tangent_field(
        &self,
        directions: &Directions<'_, T>,
        batch: usize,
        scope: TangentScope,
    ) -> Result<Arc<TangentField<T>>> {
        let seeds = seeds(&self.program, directions, batch, 0, scope);
        let mut made = lock_cache(&self.tangents);
        if let Some(place) = made.iter().position(|tangent_field| tangent_field.seeds == seeds) {
            made[..=place].rotate_right(1);
            return Ok(Arc::clone(&made[0]));
        }
        let tangents = self.program.tangents(&seeds, 0);
        let field = Self::of(tangents.program.clone(), Buffer::zeroed(&Ledger::new(), Purpose::Network, 0)?);
        made.truncate(TANGENT_CACHE_LEN - 1);
        made.insert(0, Arc::new(TangentField { seeds, tangents, field }));
        Ok(Arc::clone(&made[0]))
    }

    /// Ready for a batch of states with their derivatives along directions.
    pub(super) fn tangent_dynamics(
        &self,
        parameters: &[T],
        batch: usize,
        directions: &Directions<'_, T>,
        options: FieldOptions<'_, T>,
        rows: BatchInputs<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        let tangent_field = self.tangent_field(directions, batch, TangentScope::default())?;
        let BatchTangentField { tangent_field, parameters, arguments } =
            self.batch_tangent_field(tangent_field, parameters, batch, directions, rows.arguments, ledger)?;
        let columns = tangent_field.tangents.program.sizes.arguments;
        let own = ArrayView2::from_shape((batch, columns), &arguments).expect("a row for each trajectory");
        let rows = BatchInputs { arguments: (columns > 0).then_some(own), ..rows };
        tangent_field.field.dynamics(&parameters, batch, FieldOptions { directions: None, ..options }, rows, ledger)
    }

    /// The program of a batch of states with their derivatives along directions, and its numbers.
    fn batch_tangent_field(
        &self,
        tangent_field: Arc<TangentField<T>>,
        parameters: &[T],
        batch: usize,
        directions: &Directions<'_, T>,
        given_arguments: Option<ArrayView2<'_, T>>,
        ledger: &Ledger,
    ) -> Result<BatchTangentField<T>> {
        check_parameters(&self.program, parameters)?;
        let TangentProgram { program, parameters: own_parameters, arguments: own_arguments, .. } =
            &tangent_field.tangents;
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
        Ok(BatchTangentField { tangent_field, parameters: all, arguments: own })
    }

    /// The field of states with their derivatives along directions, for trajectories with these inputs, in leaves of `leaf` trajectories.
    pub(crate) fn tangent_vector_field(
        &self,
        directions: &Directions<'_, T>,
        inputs: &TrajectoryInputs<T>,
        leaf: usize,
        scope: TangentScope,
        ledger: &Ledger,
    ) -> Result<TangentVectorField<T>> {
        let batch = inputs.batch;
        let columns = self.program.arguments();
        let given = ArrayView2::from_shape((batch, columns), &inputs.arguments).expect("a row for each trajectory");
        let tangent_field = self.tangent_field(directions, batch, scope)?;
        let batch_field = self.batch_tangent_field(
            tangent_field,
            &self.parameters,
            batch,
            directions,
            (columns > 0).then_some(given),
            ledger,
        )?;
        Ok(TangentVectorField { batch_field, data: Buffer::copied(ledger, Purpose::Workspace, &inputs.data)?, leaf })
    }
}

/// A field of states [x, ẋ_1, ẋ_2, …] for trajectories that take their own steps.
pub(crate) struct TangentVectorField<T: Real> {
    batch_field: BatchTangentField<T>,
    data: Buffer<T>,
    leaf: usize,
}

impl<T: Real> TangentVectorField<T> {
    /// The rows of τ and σ in the state, for each direction whose times have tangents.
    pub fn time_rows(&self) -> &[Option<usize>] {
        &self.batch_field.tangent_field.tangents.time_rows
    }
}

impl<T: Real> VectorField<T> for TangentVectorField<T> {
    fn state_size(&self) -> usize {
        self.batch_field.tangent_field.field.state_size()
    }

    fn argument_size(&self) -> usize {
        self.batch_field.tangent_field.field.argument_size()
    }

    fn parameters(&self) -> &[T] {
        &self.batch_field.parameters
    }

    fn prepare(&self, _: &[T], _: usize, _: FieldOptions<'_, T>, _: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        unimplemented!("its trajectories take their own steps")
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.batch_field.tangent_field.field.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn leaf(&self) -> usize {
        self.leaf
    }

    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        let copy = |numbers: &[T]| Buffer::copied(ledger, Purpose::Workspace, numbers);
        Ok(TrajectoryInputs { batch, arguments: copy(&self.batch_field.arguments)?, data: copy(&self.data)? })
    }
}

/// The other functions that are differentiated along the same directions as the field.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TangentScope {
    /// Jumps and events, whose programs read the same parameters and arguments.
    pub maps: bool,
    /// Times that depend on the state, as those of events do, along every direction.
    pub times: bool,
}

/// The program of a jump or an event's change of the state, for the state with its tangents that [`ProgramField::tangent_vector_field`]
/// has.
pub(crate) fn tangent_map<T: Real>(
    map: &Program,
    directions: &Directions<'_, T>,
    batch: usize,
    amounts: usize,
    scope: TangentScope,
) -> Program {
    let map = map.split_arguments(map.arguments() - amounts);
    map.tangents(&seeds(&map, directions, batch, amounts, scope), amounts).program
}

/// The seeds of each direction. Those of the last arguments, the `amounts` of a jump, are zero.
fn seeds<T: Real>(
    program: &Program,
    directions: &Directions<'_, T>,
    batch: usize,
    amounts: usize,
    scope: TangentScope,
) -> Vec<DirectionSeeds> {
    let own = program.arguments() - amounts;
    let of_direction = |index| DirectionSeeds {
        times: scope.times || directions.has_time_tangent(index),
        reserved: [directions.parameters, directions.arguments].map(|given| scope.maps && given.is_some()),
        ..direction_seeds(program, directions, index, (batch, own))
    };
    (0..directions.count).map(of_direction).collect()
}

/// The seeds of one direction, for `batch` trajectories with `columns` arguments each.
fn direction_seeds<T: Real>(
    program: &Program,
    directions: &Directions<'_, T>,
    index: usize,
    (batch, columns): (usize, usize),
) -> DirectionSeeds {
    let seed = |numbers: &mut dyn Iterator<Item = T>, single: bool| {
        let (mut zero, mut one) = (true, single);
        numbers.for_each(|number| {
            zero &= number == T::zero();
            one &= number == T::one();
        });
        match (zero, one) {
            (true, _) => Seed::Zero,
            (_, true) => Seed::One,
            _ => Seed::Given,
        }
    };
    let parameters = program.places().into_iter().map(|place| match directions.of(directions.parameters, index) {
        Some(given) => seed(&mut place.indices().map(|at| given[at]), place.len() == 1),
        None => Seed::Zero,
    });
    let arguments =
        program.argument_rows().into_iter().map(|(row, rows)| match directions.of(directions.arguments, index) {
            Some(given) if row < columns => {
                let samples = (0..batch).map(|sample| &given[sample * columns + row..][..rows]);
                seed(&mut samples.flatten().copied(), rows == 1)
            }
            _ => Seed::Zero,
        });
    let (parameters, arguments) = (parameters.collect(), arguments.collect());
    DirectionSeeds { parameters, arguments, times: false, reserved: [false; 2] }
}
