//! What every vector field can do, whatever its kind and its number type.

use super::ensembles::{AnyEnsemble, AnyIntegrator};
use super::numbers::{AnyBuffer, Numbers, NumbersMut, Source};
use super::results::{AnyFieldVjp, AnySolution, AnyTrajectory};
use super::tangents::{AnyJvp, AnyJvpVjp, TangentSources};
use crate::bindings::options::Entries;
use crate::control::AllReduce;
use crate::error::{Error, Result};
use crate::model::cnf::Trace;
use crate::model::hamiltonian::{Energy, Structure};

/// A solve's initial states and times.
pub struct Start<'a> {
    pub y0: &'a dyn Source,
    pub batch: usize,
    /// float64, whatever the number type.
    pub times: &'a dyn Source,
    /// The arguments of each trajectory, if the field has any.
    pub arguments: Option<&'a dyn Source>,
}

/// Where a field is evaluated.
pub struct Point<'a> {
    pub t: f64,
    pub y: &'a dyn Source,
    pub batch: usize,
    /// Other parameters than the field's own.
    pub parameters: Option<&'a dyn Source>,
    /// The arguments of each sample, if the field has any.
    pub arguments: Option<&'a dyn Source>,
}

/// A vector field with its parameters.
pub trait AnyField {
    fn state_size(&self) -> usize;
    fn parameters(&self) -> Numbers<'_>;
    fn parameters_mut(&mut self) -> NumbersMut<'_>;

    /// Features of f(t, y).
    fn output_size(&self) -> usize;
    /// Arguments of each trajectory.
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

    /// An ensemble, as a plan with its numbers says; kept for their gradients where `keep` is set.
    fn ensemble(
        &self,
        start: Start<'_>,
        plan: (&str, &dyn Source),
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>>;

    /// An ensemble with its tangents along directions, in place of a state [x, ẋ_1, …]; a plan has no
    /// extras. Kept for second derivatives, of one direction, where `keep` is set.
    fn ensemble_jvp(
        &self,
        start: Start<'_>,
        plan: (&str, &dyn Source),
        along: TangentSources<'_>,
        options: Entries,
        keep: bool,
    ) -> Result<Box<dyn AnyEnsemble>>;

    /// Trajectories that are taken on from call to call; of `start.times` the first is when.
    fn integrator(&self, start: Start<'_>, plan: &str, options: Entries) -> Result<Box<dyn AnyIntegrator>>;

    /// The solution with its tangents along directions.
    fn jvp(&self, start: Start<'_>, along: TangentSources<'_>, options: Entries) -> Result<Box<dyn AnyJvp>>;

    /// A solve with its derivative along one direction that keeps what second derivatives need.
    fn record_tangent(
        &self,
        start: Start<'_>,
        along: TangentSources<'_>,
        options: Entries,
    ) -> Result<Box<dyn AnyJvpVjp>>;

    /// A flow with a copy of this network.
    fn cnf(&self, trace: Trace, kinetic: bool, jacobian: bool, seed: u64) -> Result<Box<dyn AnyField>>;

    /// A system with a copy of this network as its energy.
    fn hamiltonian(&self, energy: Energy, structure: Structure, spacing: f64) -> Result<Box<dyn AnyField>>;

    /// Has a flow draw its noise by a seed, for samples from `first_sample` on.
    fn seed_noise(&mut self, seed: u64, first_sample: usize) -> Result<()>;

    /// Sets the noise of a flow that the caller drew, `[batch, features]`.
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
