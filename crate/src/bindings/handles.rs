//! Fields, recorded solves, gradients and optimizers of either number type, as a binding hands them out.
//!
//! Arrays come in as a [`Source`], which copies them once memory for the copy has been had, and are read where they lie, as
//! [`Numbers`].

use ndarray::ArrayView2;

use super::constants::{NOISES, STRUCTURES, TRACES};
use super::ensembles::{AnyEnsemble, AnyIntegrator, Ensemble, Integration, Plan};
use super::options::{self, Entries};
use crate::control::AllReduce;
use crate::ensemble::{self, Integrator};
use crate::error::{Error, Result};
use crate::field::custom::{Custom, RowField};
use crate::field::program::ProgramField;
use crate::field::{self, Directions, FieldVjp, VectorField};
use crate::gradient::{Gradient, GradientStats, Trajectory, vjp_shared};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, Purpose};
use crate::model::cnf::{Cnf, Noise, Trace};
use crate::model::hamiltonian::{Energy, Hamiltonian, Structure};
use crate::model::{Activation, Architecture, Mlp, Time};
use crate::optimizer::{Optimizer, Rule};
use crate::program::Program;
use crate::sensitivity::{self, Jvp, TangentTrajectory};
use crate::solve::{Solution, Stats, odeint_shared};

/// A number type by its name in the public API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Float64,
}

impl Dtype {
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Dtype::Float32),
            "float64" => Ok(Dtype::Float64),
            _ => Err(Error::option("dtype", "float32 or float64", name)),
        }
    }
}

/// An array of the caller's.
pub trait Source {
    fn len(&self) -> usize;
    /// Copies the numbers from `start` on; the array is of that number type.
    fn copy_f32(&self, start: usize, to: &mut [f32]);
    fn copy_f64(&self, start: usize, to: &mut [f64]);
}

/// Numbers of either type.
pub enum Numbers<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Numbers<'_> {
    pub fn pointer(&self) -> usize {
        match self {
            Numbers::Single(numbers) => numbers.as_ptr() as usize,
            Numbers::Double(numbers) => numbers.as_ptr() as usize,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Numbers::Single(numbers) => numbers.len(),
            Numbers::Double(numbers) => numbers.len(),
        }
    }
}

/// Numbers that may be changed.
pub enum NumbersMut<'a> {
    Single(&'a mut [f32]),
    Double(&'a mut [f64]),
}

/// A number type that handles erase.
pub trait Erased: Real {
    fn copy(source: &dyn Source, start: usize, to: &mut [Self]);
    fn numbers(numbers: &[Self]) -> Numbers<'_>;
    fn numbers_mut(numbers: &mut [Self]) -> NumbersMut<'_>;
    /// The numbers, if they are of this type.
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [Self]>;
}

impl Erased for f32 {
    fn copy(source: &dyn Source, start: usize, to: &mut [f32]) {
        source.copy_f32(start, to);
    }
    fn numbers(numbers: &[f32]) -> Numbers<'_> {
        Numbers::Single(numbers)
    }
    fn numbers_mut(numbers: &mut [f32]) -> NumbersMut<'_> {
        NumbersMut::Single(numbers)
    }
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [f32]> {
        if let NumbersMut::Single(numbers) = numbers { Some(numbers) } else { None }
    }
}

impl Erased for f64 {
    fn copy(source: &dyn Source, start: usize, to: &mut [f64]) {
        source.copy_f64(start, to);
    }
    fn numbers(numbers: &[f64]) -> Numbers<'_> {
        Numbers::Double(numbers)
    }
    fn numbers_mut(numbers: &mut [f64]) -> NumbersMut<'_> {
        NumbersMut::Double(numbers)
    }
    fn own(numbers: NumbersMut<'_>) -> Option<&mut [f64]> {
        if let NumbersMut::Double(numbers) = numbers { Some(numbers) } else { None }
    }
}

/// A copy of an array, in memory that was asked for with care.
pub fn copied<T: Erased>(source: &dyn Source) -> Result<Buffer<T>> {
    let mut numbers = Buffer::zeroed(&Ledger::new(), Purpose::Workspace, source.len())?;
    T::copy(source, 0, &mut numbers);
    Ok(numbers)
}

fn rows<T: Real>(numbers: &[T], batch: usize) -> Result<ArrayView2<'_, T>> {
    let state = numbers.len().checked_div(batch).unwrap_or(0);
    ArrayView2::from_shape((batch, state), numbers)
        .map_err(|_| Error::shape("y", format!("a multiple of the batch, {batch}"), numbers.len()))
}

/// An array that stays until it is dropped.
pub trait AnyBuffer {
    fn numbers(&self) -> Numbers<'_>;
}

impl<T: Erased> AnyBuffer for Buffer<T> {
    fn numbers(&self) -> Numbers<'_> {
        T::numbers(self)
    }
}

/// A solve's initial states and times.
pub struct Start<'a> {
    pub y0: &'a dyn Source,
    pub batch: usize,
    /// float64, whatever the number type.
    pub times: &'a dyn Source,
    /// Of a field with arguments, those of each trajectory.
    pub arguments: Option<&'a dyn Source>,
}

/// Where a field is evaluated.
pub struct Point<'a> {
    pub t: f64,
    pub y: &'a dyn Source,
    pub batch: usize,
    /// Other parameters than the field's own.
    pub parameters: Option<&'a dyn Source>,
    /// Of a field with arguments, those of each sample.
    pub arguments: Option<&'a dyn Source>,
}

/// Directions along which a solve's inputs move.
pub struct Along<'a> {
    pub directions: usize,
    pub y0: Option<&'a dyn Source>,
    pub parameters: Option<&'a dyn Source>,
    pub arguments: Option<&'a dyn Source>,
    /// float64, whatever the number type.
    pub times: Option<&'a dyn Source>,
}

/// A vector field with its parameters.
pub trait AnyField {
    fn state_size(&self) -> usize;
    fn parameters(&self) -> Numbers<'_>;
    fn parameters_mut(&mut self) -> NumbersMut<'_>;

    /// Features of f(t, y).
    fn output_size(&self) -> usize;
    /// Numbers that each trajectory has beside its state.
    fn argument_size(&self) -> usize;
    /// Trajectories of a leaf of an ensemble.
    fn leaf(&self) -> usize;

    /// f(t, y).
    fn evaluate(&self, at: Point<'_>) -> Result<Box<dyn AnyBuffer>>;

    /// The transpose of f at (t, y), for w.
    fn vjp(&self, at: Point<'_>, w: &dyn Source) -> Result<Box<dyn AnyFieldVjp>>;

    /// The solution, and the error if the solve failed on the way.
    fn odeint(
        &self,
        start: Start<'_>,
        options: Entries,
        shared: Box<dyn AllReduce>,
    ) -> Result<(Box<dyn AnySolution>, Option<Error>)>;

    /// A solve that keeps what its gradient method needs.
    fn record(&self, start: Start<'_>, options: Entries, shared: Box<dyn AllReduce>) -> Result<Box<dyn AnyTrajectory>>;

    /// Trajectories of their own, as a plan with its numbers says; kept for their gradients where `keep` is set.
    fn ensemble(
        &self,
        start: Start<'_>,
        plan: (&str, &dyn Source),
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>>;

    /// Trajectories of their own with their derivatives along directions, in place of a state [x, ẋ_1, …]; of a plan the times count. Kept
    /// for second derivatives, of one direction, where `keep` is set.
    fn ensemble_along(
        &self,
        start: Start<'_>,
        plan: &str,
        along: Along<'_>,
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>>;

    /// Trajectories that are taken on from call to call; of `start.times` the first is when.
    fn integrator(&self, start: Start<'_>, plan: &str, options: Entries) -> Result<Box<dyn AnyIntegrator>>;

    /// The solution with its derivatives along directions.
    fn jvp(&self, start: Start<'_>, along: Along<'_>, options: Entries) -> Result<Box<dyn AnyJvp>>;

    /// A solve with its derivative along one direction that keeps what second derivatives need.
    fn record_tangent(
        &self,
        start: Start<'_>,
        along: Along<'_>,
        options: Entries,
    ) -> Result<Box<dyn AnyTangentTrajectory>>;

    fn optimizer(&self, rule: Rule, learning_rate: f64, weight_decay: f64) -> Result<Box<dyn AnyOptimizer>>;

    /// A flow with a copy of this network.
    fn cnf(&self, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Box<dyn AnyField>>;

    /// A system with a copy of this network as its energy.
    fn hamiltonian(&self, energy: Energy, structure: Structure, spacing: f64) -> Result<Box<dyn AnyField>>;

    /// Has a flow draw its noise by a seed, for samples from `first_sample` on.
    fn seed_noise(&mut self, seed: u64, first_sample: usize) -> Result<()>;

    /// Gives a flow noise of the caller's, `[batch, features]`.
    fn set_noise(&mut self, noise: &dyn Source) -> Result<()>;

    /// H of each sample.
    fn energy(
        &self,
        t: f64,
        y: &dyn Source,
        batch: usize,
        parameters: Option<&dyn Source>,
    ) -> Result<Box<dyn AnyBuffer>>;

    /// The field of a program's value and directional derivative, its parameters [θ, 0].
    fn tangent(&self) -> Result<Box<dyn AnyField>>;
}

/// The kinds of vector field; each is behind one box.
#[allow(clippy::large_enum_variant)]
enum Kind<T: Real, F> {
    Mlp(Mlp<T>),
    Cnf(Cnf<T>),
    Hamiltonian(Hamiltonian<T>),
    Program(ProgramField<T>),
    Custom(Custom<T, F>),
}

/// The architecture of a network, by names.
pub fn architecture(widths: Vec<usize>, activation: &str, time: &str, bias: bool) -> Result<Architecture> {
    let activations = || Activation::ALL.map(Activation::name).join(", ");
    let times = || Time::ALL.map(Time::name).join(", ");
    let architecture = Architecture {
        widths,
        activation: Activation::named(activation)
            .ok_or_else(|| Error::option("activation", activations(), activation))?,
        time: Time::named(time).ok_or_else(|| Error::option("time", times(), time))?,
        bias,
    };
    architecture.check()?;
    Ok(architecture)
}

/// A network by its architecture.
pub fn mlp<F: RowField<f32> + RowField<f64> + 'static>(
    dtype: Dtype,
    architecture: Architecture,
    seed: u64,
) -> Result<Box<dyn AnyField>> {
    Ok(match dtype {
        Dtype::Float32 => Box::new(Kind::<f32, F>::Mlp(Mlp::new(architecture, seed)?)),
        Dtype::Float64 => Box::new(Kind::<f64, F>::Mlp(Mlp::new(architecture, seed)?)),
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
        Dtype::Float32 => Box::new(Kind::<f32, F>::Program(ProgramField::new(program, &copied(parameters)?)?)),
        Dtype::Float64 => Box::new(Kind::<f64, F>::Program(ProgramField::new(program, &copied(parameters)?)?)),
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
        Dtype::Float32 => Box::new(Kind::<f32, F>::Custom(Custom::new(state_size, &copied(parameters)?, field)?)),
        Dtype::Float64 => Box::new(Kind::<f64, F>::Custom(Custom::new(state_size, &copied(parameters)?, field)?)),
    })
}

impl<T: Erased, F: RowField<T> + 'static> Kind<T, F> {
    fn field(&self) -> &dyn VectorField<T> {
        match self {
            Kind::Mlp(field) => field,
            Kind::Cnf(field) => field,
            Kind::Hamiltonian(field) => field,
            Kind::Program(field) => field,
            Kind::Custom(field) => field,
        }
    }

    fn field_mut(&mut self) -> &mut dyn VectorField<T> {
        match self {
            Kind::Mlp(field) => field,
            Kind::Cnf(field) => field,
            Kind::Hamiltonian(field) => field,
            Kind::Program(field) => field,
            Kind::Custom(field) => field,
        }
    }

    /// A copy of a network.
    fn network(&self, argument: &'static str) -> Result<Mlp<T>> {
        match self {
            Kind::Mlp(mlp) => mlp.duplicate(),
            _ => Err(Error::option(argument, "a network, from mlp", "another field")),
        }
    }

    fn flow(&mut self) -> Result<&mut Cnf<T>> {
        match self {
            Kind::Cnf(cnf) => Ok(cnf),
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
            (Kind::Program(field), Some(arguments)) => {
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

impl<T: Erased, F: RowField<T> + 'static> AnyField for Kind<T, F> {
    fn state_size(&self) -> usize {
        self.field().state_size()
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(self.field().parameters())
    }

    fn parameters_mut(&mut self) -> NumbersMut<'_> {
        T::numbers_mut(self.field_mut().parameters_mut())
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
        let Plan { times, changes, extras } = Plan::read(plan, &times, &numbers)?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let part = extras.part;
            Ok(match keep {
                true => {
                    let solved = ensemble::vjp(field, y0, &times, &options, &changes, extras, &gradient)?;
                    Box::new(Ensemble::kept(solved, part)) as Box<dyn AnyEnsemble>
                }
                false => {
                    let solved = ensemble::odeint(field, y0, &times, &options, &changes, extras)?;
                    Box::new(Ensemble::alone(solved, part))
                }
            })
        })
    }

    fn ensemble_along(
        &self,
        start: Start<'_>,
        plan: &str,
        along: Along<'_>,
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let times = Plan::read(plan, &times, &[])?.alone()?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            with_directions(&along, |directions| {
                Ok(match keep {
                    true => {
                        let solved = ensemble::vjp_along(field, y0, &times, &options, directions, &gradient)?;
                        Box::new(Ensemble::along(solved)) as Box<dyn AnyEnsemble>
                    }
                    false => {
                        let solved = ensemble::odeint_along(field, y0, &times, &options, directions)?;
                        Box::new(Ensemble::alone(solved, None))
                    }
                })
            })
        })
    }

    fn integrator(&self, start: Start<'_>, plan: &str, options: Entries) -> Result<Box<dyn AnyIntegrator>> {
        let (options, _) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let Plan { changes, .. } = Plan::read(plan, &times, &[])?;
        let t = times.first().copied().ok_or_else(|| Error::shape("t", "a time", "none"))?;
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let integrator = Integrator::new(field, y0, t, &options, &changes)?;
            Ok(Box::new(Integration::new(integrator)) as Box<dyn AnyIntegrator>)
        })
    }

    fn jvp(&self, start: Start<'_>, along: Along<'_>, options: Entries) -> Result<Box<dyn AnyJvp>> {
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
        along: Along<'_>,
        options: Entries,
    ) -> Result<Box<dyn AnyTangentTrajectory>> {
        let (options, gradient) = options::read::<T>(options)?;
        let (y0, times) = (copied::<T>(start.y0)?, copied::<f64>(start.times)?);
        let y0 = rows(&y0, start.batch)?;
        self.with(start.arguments, start.batch, |field| {
            let recorded = with_directions(&along, |direction| {
                TangentTrajectory::record_along(field, y0, &times, direction, &options, &gradient)
            })?;
            Ok(Box::new(recorded) as Box<dyn AnyTangentTrajectory>)
        })
    }

    fn optimizer(&self, rule: Rule, learning_rate: f64, weight_decay: f64) -> Result<Box<dyn AnyOptimizer>> {
        let parameters = self.field().parameters().len();
        Ok(Box::new(Optimizer::<T>::new(rule, learning_rate, weight_decay, parameters)?))
    }

    fn cnf(&self, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Box<dyn AnyField>> {
        let network = self.network("network")?;
        Ok(Box::new(Kind::<T, F>::Cnf(Cnf::new(network, trace, kinetic, jacobian, seed)?)))
    }

    fn hamiltonian(&self, energy: Energy, structure: Structure, spacing: f64) -> Result<Box<dyn AnyField>> {
        let network = self.network("energy")?;
        Ok(Box::new(Kind::<T, F>::Hamiltonian(Hamiltonian::new(network, energy, structure, spacing)?)))
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
        let Kind::Program(field) = self else {
            return Err(Error::option("field", "a field that is a program", "another field"));
        };
        let (parameters, ledger) = (field.parameters(), Ledger::new());
        let mut both = Buffer::zeroed(&ledger, Purpose::Network, 2 * parameters.len())?;
        both[..parameters.len()].copy_from_slice(parameters);
        Ok(Box::new(Kind::<T, F>::Program(ProgramField::new(field.program().tangent(), &both)?)))
    }

    fn energy(
        &self,
        t: f64,
        y: &dyn Source,
        batch: usize,
        parameters: Option<&dyn Source>,
    ) -> Result<Box<dyn AnyBuffer>> {
        let Kind::Hamiltonian(system) = self else {
            return Err(Error::option("field", "a system with an energy, from hamiltonian", "another field"));
        };
        let y = copied::<T>(y)?;
        self.at(parameters, |parameters| {
            Ok(Box::new(system.energy(parameters, t, rows(&y, batch)?)?) as Box<dyn AnyBuffer>)
        })
    }
}

/// Copies directions, and runs with them.
fn with_directions<T: Erased, R>(along: &Along<'_>, body: impl FnOnce(&Directions<'_, T>) -> Result<R>) -> Result<R> {
    let numbers = |given: Option<&dyn Source>| given.map(copied::<T>).transpose();
    let (y0, parameters, arguments) = (numbers(along.y0)?, numbers(along.parameters)?, numbers(along.arguments)?);
    let times = along.times.map(copied::<f64>).transpose()?;
    body(&Directions {
        count: along.directions,
        y0: y0.as_deref(),
        parameters: parameters.as_deref(),
        arguments: arguments.as_deref(),
        times: times.as_deref(),
    })
}

/// A solution with its derivatives along directions.
pub trait AnyJvp {
    fn solution(&self) -> &dyn AnySolution;
    /// `[directions, times, batch, state]`.
    fn tangents(&self) -> Numbers<'_>;
    fn peak(&self) -> &Bytes;
}

impl<T: Erased> AnyJvp for Jvp<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn tangents(&self) -> Numbers<'_> {
        T::numbers(self.flat())
    }

    fn peak(&self) -> &Bytes {
        &self.peak
    }
}

/// A solve with its derivative along a direction, of which losses have second derivatives.
pub trait AnyTangentTrajectory {
    fn solution(&self) -> &dyn AnySolution;
    /// `[times, batch, state]`.
    fn tangent(&self) -> Numbers<'_>;
    /// The product of a loss's second derivatives with the direction.
    fn pullback(&mut self, cotangent: &dyn Source, curvature: &dyn Source) -> Result<Box<dyn AnyGradient>>;
}

impl<T: Erased> AnyTangentTrajectory for TangentTrajectory<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn tangent(&self) -> Numbers<'_> {
        T::numbers(TangentTrajectory::tangent(self).to_slice().expect("row-major"))
    }

    fn pullback(&mut self, cotangent: &dyn Source, curvature: &dyn Source) -> Result<Box<dyn AnyGradient>> {
        let expected = self.solution.flat().len();
        for (argument, given) in [("cotangent", cotangent), ("curvature", curvature)] {
            if given.len() != expected {
                return Err(Error::shape(argument, expected, given.len()));
            }
        }
        let gradient = self.pullback_from(&mut |output, cotangents, curvatures| {
            T::copy(cotangent, output * cotangents.len(), cotangents);
            T::copy(curvature, output * curvatures.len(), curvatures);
        })?;
        Ok(Box::new(gradient))
    }
}

/// What a field's transpose gives.
pub trait AnyFieldVjp {
    fn y(&self) -> Numbers<'_>;
    fn parameters(&self) -> Numbers<'_>;
    fn arguments(&self) -> Numbers<'_>;
    fn t(&self) -> Option<f64>;
}

impl<T: Erased> AnyFieldVjp for FieldVjp<T> {
    fn y(&self) -> Numbers<'_> {
        T::numbers(&self.y)
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(&self.parameters)
    }

    fn arguments(&self) -> Numbers<'_> {
        T::numbers(&self.arguments)
    }

    fn t(&self) -> Option<f64> {
        self.t
    }
}

/// A solution at the output times.
pub trait AnySolution {
    fn y(&self) -> Numbers<'_>;
    /// How many of the times were reached.
    fn reached(&self) -> usize;
    /// Of a solve that failed, the last good state.
    fn last_state(&self) -> Option<Numbers<'_>>;
    fn stats(&self) -> (&Stats, &Bytes);
}

impl<T: Erased> AnySolution for Solution<T> {
    fn y(&self) -> Numbers<'_> {
        T::numbers(self.flat())
    }

    fn reached(&self) -> usize {
        Solution::y(self).shape()[0]
    }

    fn last_state(&self) -> Option<Numbers<'_>> {
        Solution::last_state(self).and_then(|state| state.to_slice()).map(T::numbers)
    }

    fn stats(&self) -> (&Stats, &Bytes) {
        (&self.stats, &self.peak)
    }
}

/// A solve with what its gradients need.
pub trait AnyTrajectory {
    fn solution(&self) -> &dyn AnySolution;
    /// The gradient for ∂L/∂y, `[times, batch, state]`.
    fn pullback(&mut self, cotangent: &dyn Source) -> Result<Box<dyn AnyGradient>>;
}

impl<T: Erased> AnyTrajectory for Trajectory<T> {
    fn solution(&self) -> &dyn AnySolution {
        &self.solution
    }

    fn pullback(&mut self, cotangent: &dyn Source) -> Result<Box<dyn AnyGradient>> {
        let expected = self.solution.flat().len();
        if cotangent.len() != expected {
            return Err(Error::shape("cotangent", expected, cotangent.len()));
        }
        let gradient = self.pullback_from(&mut |output, rows| {
            T::copy(cotangent, output * rows.len(), rows);
            Ok(())
        })?;
        Ok(Box::new(gradient))
    }
}

/// A gradient.
pub trait AnyGradient {
    fn y0(&self) -> Numbers<'_>;
    fn parameters(&self) -> Numbers<'_>;
    fn arguments(&self) -> Numbers<'_>;
    fn times(&self) -> Option<&[f64]>;
    fn stats(&self) -> &GradientStats;
    /// Of each jump ∂L/∂(its times), and behind them ∂L/∂(its amounts).
    fn changes(&self) -> &[f64] {
        &[]
    }
}

impl<T: Erased> AnyGradient for Gradient<T> {
    fn y0(&self) -> Numbers<'_> {
        T::numbers(Gradient::y0(self).to_slice().expect("row-major"))
    }

    fn parameters(&self) -> Numbers<'_> {
        T::numbers(Gradient::parameters(self))
    }

    fn arguments(&self) -> Numbers<'_> {
        T::numbers(Gradient::arguments(self).to_slice().expect("row-major"))
    }

    fn times(&self) -> Option<&[f64]> {
        self.times.as_deref()
    }

    fn stats(&self) -> &GradientStats {
        &self.stats
    }
}

/// An optimizer of a field's parameters.
pub trait AnyOptimizer {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()>;
    fn learning_rate(&self) -> f64;
    fn set_learning_rate(&mut self, rate: f64);
    fn steps(&self) -> u64;
    fn set_steps(&mut self, steps: u64);
    fn state(&self) -> Numbers<'_>;
}

impl<T: Erased> AnyOptimizer for Optimizer<T> {
    fn step(&mut self, field: &mut dyn AnyField, gradient: &dyn Source) -> Result<()> {
        let gradient = copied(gradient)?;
        let parameters = T::own(field.parameters_mut())
            .ok_or_else(|| Error::option("field", format!("one of {}, as the optimizer", T::DTYPE), "another"))?;
        Optimizer::step(self, parameters, &gradient)
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.learning_rate = rate;
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn state(&self) -> Numbers<'_> {
        T::numbers(Optimizer::state(self))
    }
}

/// The matrix of a system with an energy: by its name, or where it has none as given.
pub fn structure(name: &str, matrix: &dyn Source) -> Result<Structure> {
    match STRUCTURES.into_iter().find(|(known, _)| *known == name) {
        Some((_, structure)) => Ok(structure),
        None => Ok(Structure::Matrix(copied::<f64>(matrix)?.to_vec())),
    }
}

/// An energy of the whole state, or where `points` is positive a density on a grid.
pub fn energy(points: usize) -> Energy {
    if points > 0 { Energy::Density { points } } else { Energy::Whole }
}

/// How noise is drawn, by name.
pub fn trace(trace: &str, noise: &str) -> Trace {
    let named = NOISES.into_iter().find(|(name, _)| *name == noise);
    let noise = named.map_or(Noise::Rademacher, |(_, noise)| noise);
    if trace == TRACES[0] { Trace::Exact } else { Trace::Hutchinson(noise) }
}
