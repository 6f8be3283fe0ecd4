//! The kinds of vector field: how each is made, and how a call reaches it.

use ndarray::ArrayView2;

use super::ensembles::{AnyEnsemble, AnyIntegrator, Ensemble, EnsemblePlan, Integration};
use super::field::{AnyField, Point, Start};
use super::numbers::{AnyBuffer, Dtype, Erased, Numbers, NumbersMut, Source, copied, rows};
use super::results::{AnyFieldVjp, AnySolution, AnyTrajectory};
use super::tangents::{AnyJvp, AnyJvpVjp, TangentSources, with_directions};
use crate::bindings::options::{self, Entries};
use crate::control::AllReduce;
use crate::ensemble::{self, Integrator};
use crate::error::{Error, Result};
use crate::field::custom::{Custom, RowField};
use crate::field::program::ProgramField;
use crate::field::{self, VectorField};
use crate::gradient::vjp_shared;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::model::cnf::{Cnf, Trace};
use crate::model::hamiltonian::{Energy, Hamiltonian, Structure};
use crate::model::{Architecture, Mlp};
use crate::program::Program;
use crate::sensitivity::{self, JvpVjp};
use crate::solve::odeint_shared;

/// The kinds of vector field; each is behind one box.
#[allow(clippy::large_enum_variant)]
enum FieldKind<T: Real, F> {
    Mlp(Mlp<T>),
    Cnf(Cnf<T>),
    Hamiltonian(Hamiltonian<T>),
    Program(ProgramField<T>),
    Custom(Custom<T, F>),
}

/// A network by its architecture.
pub fn mlp<F: RowField<f32> + RowField<f64> + 'static>(
    dtype: Dtype,
    architecture: Architecture,
    seed: u64,
) -> Result<Box<dyn AnyField>> {
    Ok(match dtype {
        Dtype::Float32 => Box::new(FieldKind::<f32, F>::Mlp(Mlp::new(architecture, seed)?)),
        Dtype::Float64 => Box::new(FieldKind::<f64, F>::Mlp(Mlp::new(architecture, seed)?)),
    })
}

/// A field that a program describes.
pub fn program<F: RowField<f32> + RowField<f64> + 'static>(
    dtype: Dtype,
    text: &str,
    parameters: &dyn Source,
) -> Result<Box<dyn AnyField>> {
    let program = Program::from_json(text)?;
    Ok(match dtype {
        Dtype::Float32 => Box::new(FieldKind::<f32, F>::Program(ProgramField::new(program, &copied(parameters)?)?)),
        Dtype::Float64 => Box::new(FieldKind::<f64, F>::Program(ProgramField::new(program, &copied(parameters)?)?)),
    })
}

/// A field behind callbacks.
pub fn custom<F: RowField<f32> + RowField<f64> + 'static>(
    dtype: Dtype,
    state_size: usize,
    parameters: &dyn Source,
    field: F,
) -> Result<Box<dyn AnyField>> {
    Ok(match dtype {
        Dtype::Float32 => Box::new(FieldKind::<f32, F>::Custom(Custom::new(state_size, &copied(parameters)?, field)?)),
        Dtype::Float64 => Box::new(FieldKind::<f64, F>::Custom(Custom::new(state_size, &copied(parameters)?, field)?)),
    })
}

impl<T: Erased, F: RowField<T> + 'static> FieldKind<T, F> {
    fn field(&self) -> &dyn VectorField<T> {
        match self {
            FieldKind::Mlp(field) => field,
            FieldKind::Cnf(field) => field,
            FieldKind::Hamiltonian(field) => field,
            FieldKind::Program(field) => field,
            FieldKind::Custom(field) => field,
        }
    }

    fn own_parameters_mut(&mut self) -> &mut [T] {
        match self {
            FieldKind::Mlp(field) => field.parameters_mut(),
            FieldKind::Cnf(field) => field.parameters_mut(),
            FieldKind::Hamiltonian(field) => field.parameters_mut(),
            FieldKind::Program(field) => field.parameters_mut(),
            FieldKind::Custom(field) => field.parameters_mut(),
        }
    }

    /// A copy of a network.
    fn network(&self, argument: &'static str) -> Result<Mlp<T>> {
        match self {
            FieldKind::Mlp(mlp) => mlp.duplicate(),
            _ => Err(Error::option(argument, "a network, from mlp", "another field")),
        }
    }

    fn flow(&mut self) -> Result<&mut Cnf<T>> {
        match self {
            FieldKind::Cnf(cnf) => Ok(cnf),
            _ => Err(Error::option("field", "a flow, from cnf", "another field")),
        }
    }

    /// Runs with the field for a batch with these arguments.
    fn with<R>(
        &self,
        arguments: Option<&dyn Source>,
        batch: usize,
        body: impl FnOnce(&dyn VectorField<T>) -> Result<R>,
    ) -> Result<R> {
        match (self, arguments) {
            (FieldKind::Program(field), Some(arguments)) => {
                let arguments = copied::<T>(arguments)?;
                let expected = batch * field.argument_size();
                let rows = ArrayView2::from_shape((batch, field.argument_size()), &arguments);
                let rows = rows.map_err(|_| Error::shape("arguments", expected, arguments.len()))?;
                body(&field.with_arguments(rows)?)
            }
            (_, Some(arguments)) if arguments.len() > 0 => {
                Err(Error::shape("arguments", "none: the field has no arguments", arguments.len()))
            }
            _ => body(self.field()),
        }
    }

    /// Runs at the parameters given with a call, else at the field's own.
    fn at<R>(&self, parameters: Option<&dyn Source>, body: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
        let own = self.field().parameters();
        let Some(given) = parameters else { return body(own) };
        if given.len() != own.len() {
            return Err(Error::shape("parameters", own.len(), given.len()));
        }
        body(&copied::<T>(given)?)
    }
}

impl<T: Erased, F: RowField<T> + 'static> AnyField for FieldKind<T, F> {
    fn state_size(&self) -> usize {
        self.field().state_size()
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(self.field().parameters())
    }

    fn parameters_mut(&mut self) -> NumbersMut<'_> {
        T::numbers_mut(self.own_parameters_mut())
    }

    fn output_size(&self) -> usize {
        self.field().output_size()
    }

    fn argument_size(&self) -> usize {
        self.field().argument_size()
    }

    fn leaf(&self) -> usize {
        self.field().leaf()
    }

    fn evaluate(&self, at: Point<'_>) -> Result<Box<dyn AnyBuffer>> {
        let y = copied::<T>(at.y)?;
        self.with(at.arguments, at.batch, |field| {
            self.at(at.parameters, |parameters| {
                let slope = field::evaluate(field, parameters, at.t, rows(&y, at.batch)?)?;
                Ok(Box::new(slope) as Box<dyn AnyBuffer>)
            })
        })
    }

    fn vjp(&self, at: Point<'_>, w: &dyn Source) -> Result<Box<dyn AnyFieldVjp>> {
        let (y, w) = (copied::<T>(at.y)?, copied::<T>(w)?);
        self.with(at.arguments, at.batch, |field| {
            self.at(at.parameters, |parameters| {
                let pulled = field::vjp(field, parameters, at.t, rows(&y, at.batch)?, rows(&w, at.batch)?)?;
                Ok(Box::new(pulled) as Box<dyn AnyFieldVjp>)
            })
        })
    }

    fn odeint(
        &self,
        start: Start<'_>,
        options: Entries,
        shared: Box<dyn AllReduce>,
    ) -> Result<(Box<dyn AnySolution>, Option<Error>)> {
        let (options, _) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        self.with(start.arguments, start.batch, |field| {
            let (solution, failure) = odeint_shared(field, rows(&y0, start.batch)?, &times, &options, shared)?;
            Ok((Box::new(solution) as Box<dyn AnySolution>, failure))
        })
    }

    fn record(&self, start: Start<'_>, options: Entries, shared: Box<dyn AllReduce>) -> Result<Box<dyn AnyTrajectory>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        self.with(start.arguments, start.batch, |field| {
            let recorded = vjp_shared(field, rows(&y0, start.batch)?, &times, &options, &gradient, shared)?;
            Ok(Box::new(recorded) as Box<dyn AnyTrajectory>)
        })
    }

    fn ensemble(
        &self,
        start: Start<'_>,
        (plan, numbers): (&str, &dyn Source),
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times, numbers) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?, copied::<f64>(numbers)?);
        let EnsemblePlan { times, changes, extras } = EnsemblePlan::read(plan, &times, &numbers)?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let part = extras.part;
            Ok(match keep {
                true => {
                    let solved = ensemble::vjp(field, y0, &times, &options, &changes, extras, &gradient)?;
                    Box::new(Ensemble::from_vjp(solved, part)) as Box<dyn AnyEnsemble>
                }
                false => {
                    let solved = ensemble::odeint(field, y0, &times, &options, &changes, extras)?;
                    Box::new(Ensemble::from_solution(solved, part))
                }
            })
        })
    }

    fn ensemble_jvp(
        &self,
        start: Start<'_>,
        (plan, numbers): (&str, &dyn Source),
        along: TangentSources<'_>,
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let numbers = copied::<f64>(numbers)?;
        let plan = EnsemblePlan::read(plan, &times, &numbers)?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            with_directions(&along, |directions| {
                Ok(match keep {
                    true => {
                        let (times, changes) = plan.without_extras()?;
                        let solved =
                            ensemble::vjp_of_jvp(field, y0, &times, &options, &changes, directions, &gradient)?;
                        Box::new(Ensemble::from_jvp_vjp(solved)) as Box<dyn AnyEnsemble>
                    }
                    false => {
                        let EnsemblePlan { times, changes, extras } = plan;
                        let part = extras.part;
                        let solved = ensemble::jvp(field, y0, &times, &options, &changes, extras, directions)?;
                        Box::new(Ensemble::from_solution(solved, part))
                    }
                })
            })
        })
    }

    fn integrator(&self, start: Start<'_>, plan: &str, options: Entries) -> Result<Box<dyn AnyIntegrator>> {
        let (options, _) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let EnsemblePlan { changes, .. } = EnsemblePlan::read(plan, &times, &[])?;
        let t = times.first().copied().ok_or_else(|| Error::shape("t", "a time", "none"))?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let integrator = Integrator::new(field, y0, t, &options, &changes)?;
            Ok(Box::new(Integration::new(integrator)) as Box<dyn AnyIntegrator>)
        })
    }

    fn jvp(&self, start: Start<'_>, along: TangentSources<'_>, options: Entries) -> Result<Box<dyn AnyJvp>> {
        let (options, _) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let moved =
                with_directions(&along, |directions| sensitivity::jvp_along(field, y0, &times, directions, &options))?;
            Ok(Box::new(moved) as Box<dyn AnyJvp>)
        })
    }

    fn record_tangent(
        &self,
        start: Start<'_>,
        along: TangentSources<'_>,
        options: Entries,
    ) -> Result<Box<dyn AnyJvpVjp>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let recorded = with_directions(&along, |direction| {
                JvpVjp::record_along(field, y0, &times, direction, &options, &gradient)
            })?;
            Ok(Box::new(recorded) as Box<dyn AnyJvpVjp>)
        })
    }

    fn cnf(&self, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Box<dyn AnyField>> {
        let network = self.network("network")?;
        Ok(Box::new(FieldKind::<T, F>::Cnf(Cnf::new(network, trace, kinetic, jacobian, seed)?)))
    }

    fn hamiltonian(&self, energy: Energy, structure: Structure, spacing: f64) -> Result<Box<dyn AnyField>> {
        let network = self.network("energy")?;
        Ok(Box::new(FieldKind::<T, F>::Hamiltonian(Hamiltonian::new(network, energy, structure, spacing)?)))
    }

    fn seed_noise(&mut self, seed: u64, first_sample: usize) -> Result<()> {
        let flow = self.flow()?;
        (flow.seed, flow.first_sample) = (seed, first_sample);
        flow.set_noise(None)
    }

    fn set_noise(&mut self, noise: &dyn Source) -> Result<()> {
        self.flow()?.set_noise(Some(&copied::<T>(noise)?))
    }

    fn tangent(&self) -> Result<Box<dyn AnyField>> {
        let FieldKind::Program(field) = self else {
            return Err(Error::option("field", "a field that is a program", "another field"));
        };
        let (parameters, ledger) = (field.parameters(), Ledger::new());
        let mut both = Buffer::zeroed(&ledger, Purpose::Network, 2 * parameters.len())?;
        both[..parameters.len()].copy_from_slice(parameters);
        Ok(Box::new(FieldKind::<T, F>::Program(ProgramField::new(field.program().tangent(), &both)?)))
    }

    fn energy(
        &self,
        t: f64,
        y: &dyn Source,
        batch: usize,
        parameters: Option<&dyn Source>,
    ) -> Result<Box<dyn AnyBuffer>> {
        let FieldKind::Hamiltonian(system) = self else {
            return Err(Error::option("field", "a system with an energy, from hamiltonian", "another field"));
        };
        let y = copied::<T>(y)?;
        self.at(parameters, |parameters| {
            Ok(Box::new(system.energy(parameters, t, rows(&y, batch)?)?) as Box<dyn AnyBuffer>)
        })
    }
}
