//! What calls return: memory that stays here until freed, read through pointers.

use napi::bindgen_prelude::{Either, Env, Object, Result, Undefined, Unknown};
use napi_derive::napi;

use super::handle::Handle;
use super::memory::{JsSource, address, fill};
use super::{object, or_undefined, thrown};
use crate::bindings::handles::{
    AnyBuffer, AnyEnsemble, AnyFieldVjp, AnyGradient, AnyIntegrator, AnyJvp, AnyJvpVjp, AnySolution, AnyTrajectory,
};
use crate::bindings::records;
use crate::error::Error;

/// An array.
#[napi(js_name = "Numbers")]
pub struct NumbersHandle(Handle<Box<dyn AnyBuffer>>);

impl NumbersHandle {
    pub fn new(numbers: Box<dyn AnyBuffer>) -> Self {
        Self(Handle::new(numbers))
    }
}

#[napi]
impl NumbersHandle {
    #[napi(getter, catch_unwind)]
    pub fn pointer(&self) -> Result<f64> {
        self.0.read(|buffer| address(&buffer.numbers()))
    }

    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> Result<u32> {
        self.0.read(|buffer| buffer.numbers().len() as u32)
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// The result of a field's pullback.
#[napi(js_name = "FieldVjp")]
pub struct FieldVjpHandle(Handle<Box<dyn AnyFieldVjp>>);

impl FieldVjpHandle {
    pub fn new(pulled: Box<dyn AnyFieldVjp>) -> Self {
        Self(Handle::new(pulled))
    }
}

#[napi]
impl FieldVjpHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|pulled| address(&pulled.y()))
    }

    #[napi(getter, catch_unwind)]
    pub fn parameters(&self) -> Result<f64> {
        self.0.read(|pulled| address(&pulled.parameters()))
    }

    #[napi(getter, catch_unwind)]
    pub fn arguments(&self) -> Result<f64> {
        self.0.read(|pulled| address(&pulled.arguments()))
    }

    #[napi(getter, catch_unwind)]
    pub fn t(&self) -> Result<Either<f64, Undefined>> {
        self.0.read(|pulled| or_undefined(pulled.t()))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// A solution, and why it ends early if it does.
#[napi(js_name = "Solution")]
pub struct SolutionHandle(Handle<(Box<dyn AnySolution>, Option<Error>)>);

impl SolutionHandle {
    pub fn new(solved: (Box<dyn AnySolution>, Option<Error>)) -> Self {
        Self(Handle::new(solved))
    }
}

#[napi]
impl SolutionHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|(solution, _)| address(&solution.y()))
    }

    /// How many of the times were reached.
    #[napi(getter, catch_unwind)]
    pub fn reached(&self) -> Result<u32> {
        self.0.read(|(solution, _)| solution.reached() as u32)
    }

    /// A pointer to the last good state of a solve that failed; zero if there is none.
    #[napi(getter, catch_unwind)]
    pub fn last_state(&self) -> Result<f64> {
        self.0.read(|(solution, _)| solution.last_state().map_or(0.0, |state| address(&state)))
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|(solution, _)| fill(&numbers, &records::stats(solution.stats())))
    }

    #[napi(getter, catch_unwind)]
    pub fn error(&self, env: Env) -> Result<Either<Object<'static>, Undefined>> {
        let error = self.0.read(|(_, error)| error.as_ref().map(|error| object(env, records::error(error))))?;
        error.transpose().map(or_undefined)
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// A solve with what its gradients need.
#[napi(js_name = "Vjp")]
pub struct VjpHandle(Handle<Box<dyn AnyTrajectory>>);

impl VjpHandle {
    pub fn new(recorded: Box<dyn AnyTrajectory>) -> Self {
        Self(Handle::new(recorded))
    }
}

#[napi]
impl VjpHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|recorded| address(&recorded.solution().y()))
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|recorded| fill(&numbers, &records::stats(recorded.solution().stats())))
    }

    /// The gradient for ∂L/∂y, `[times, batch, state]`.
    #[napi(catch_unwind)]
    pub fn pullback(&self, env: Env, cotangent: Unknown<'_>) -> Result<GradientHandle> {
        let pulled = self.0.change(|recorded| recorded.pullback(&JsSource(&cotangent)))?;
        pulled.map(GradientHandle::new).map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// An ensemble: trajectories that each take their own steps.
#[napi(js_name = "Ensemble")]
pub struct EnsembleHandle(Handle<Box<dyn AnyEnsemble>>);

impl EnsembleHandle {
    pub fn new(ensemble: Box<dyn AnyEnsemble>) -> Self {
        Self(Handle::new(ensemble))
    }
}

#[napi]
impl EnsembleHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|ensemble| address(&ensemble.y()))
    }

    #[napi(getter, catch_unwind)]
    pub fn y_length(&self) -> Result<f64> {
        self.0.read(|ensemble| ensemble.y().len() as f64)
    }

    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, outputs reached.
    #[napi(getter, catch_unwind)]
    pub fn trajectories(&self) -> Result<f64> {
        self.0.read(|ensemble| ensemble.trajectories().as_ptr() as usize as f64)
    }

    /// For each event: trajectory, event, time.
    #[napi(getter, catch_unwind)]
    pub fn events(&self) -> Result<f64> {
        self.0.read(|ensemble| ensemble.events().as_ptr() as usize as f64)
    }

    #[napi(getter, catch_unwind)]
    pub fn events_length(&self) -> Result<f64> {
        self.0.read(|ensemble| ensemble.events().len() as f64)
    }

    #[napi(getter, catch_unwind)]
    pub fn event_states(&self) -> Result<f64> {
        self.0.read(|ensemble| address(&ensemble.event_states()))
    }

    /// The trajectories that failed and why, as JSON.
    #[napi(getter, catch_unwind)]
    pub fn failures(&self) -> Result<String> {
        self.0.read(|ensemble| records::failures(ensemble.failures()))
    }

    /// Where the times, the states and the polynomials of a trajectory's steps are, and how many numbers each; empty if they were not asked
    /// for.
    #[napi(catch_unwind)]
    pub fn path(&self, trajectory: u32) -> Result<Vec<f64>> {
        self.0.read(|ensemble| records::path(ensemble.path(trajectory as usize)))
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|ensemble| fill(&numbers, &records::ensemble_stats(&**ensemble)))
    }

    /// The gradient for ∂L/∂y and, if not empty, ∂L/∂(event times), a Float64Array, and ∂L/∂(event states).
    #[napi(catch_unwind)]
    pub fn pullback(
        &self,
        env: Env,
        cotangent: Unknown<'_>,
        times: Unknown<'_>,
        states: Unknown<'_>,
    ) -> Result<GradientHandle> {
        let (cotangent, times, states) = (JsSource(&cotangent), JsSource(&times), JsSource(&states));
        let pulled = self.0.change(|ensemble| ensemble.pullback(&cotangent, &times, &states))?;
        pulled.map(GradientHandle::new).map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// Trajectories that are advanced call by call.
#[napi(js_name = "Integrator")]
pub struct IntegratorHandle(Handle<Box<dyn AnyIntegrator>>);

impl IntegratorHandle {
    pub fn new(integrator: Box<dyn AnyIntegrator>) -> Self {
        Self(Handle::new(integrator))
    }
}

#[napi]
impl IntegratorHandle {
    /// To a time, or by one step of each trajectory towards it.
    #[napi(catch_unwind)]
    pub fn advance(&self, env: Env, to: f64, step: bool) -> Result<()> {
        self.0.change(|integrator| integrator.advance(to, step))?.map_err(|error| thrown(env, error))
    }

    /// The present time of each trajectory.
    #[napi(getter, catch_unwind)]
    pub fn t(&self) -> Result<f64> {
        self.0.read(|integrator| integrator.t().as_ptr() as usize as f64)
    }

    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|integrator| address(&integrator.y()))
    }

    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, 1 where an event has ended it.
    #[napi(getter, catch_unwind)]
    pub fn trajectories(&self) -> Result<f64> {
        self.0.read(|integrator| integrator.trajectories().as_ptr() as usize as f64)
    }

    /// For each event of the last call: trajectory, event, time.
    #[napi(getter, catch_unwind)]
    pub fn events(&self) -> Result<f64> {
        self.0.read(|integrator| integrator.events().as_ptr() as usize as f64)
    }

    #[napi(getter, catch_unwind)]
    pub fn events_length(&self) -> Result<f64> {
        self.0.read(|integrator| integrator.events().len() as f64)
    }

    #[napi(getter, catch_unwind)]
    pub fn event_states(&self) -> Result<f64> {
        self.0.read(|integrator| address(&integrator.event_states()))
    }

    #[napi(catch_unwind)]
    pub fn set_y(&self, env: Env, y: Unknown<'_>) -> Result<()> {
        let y = JsSource(&y);
        self.0.change(|integrator| integrator.set_y(&y))?.map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn set_arguments(&self, env: Env, arguments: Unknown<'_>) -> Result<()> {
        let arguments = JsSource(&arguments);
        self.0.change(|integrator| integrator.set_arguments(&arguments))?.map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn save(&self) -> Result<Vec<f64>> {
        self.0.read(|integrator| integrator.save())
    }

    #[napi(catch_unwind)]
    pub fn restore(&self, env: Env, saved: Unknown<'_>) -> Result<()> {
        let saved = JsSource(&saved);
        self.0.change(|integrator| integrator.restore(&saved))?.map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn copy(&self) -> Result<IntegratorHandle> {
        self.0.read(|integrator| integrator.copy()).map(Self::new)
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// A gradient.
#[napi(js_name = "Gradient")]
pub struct GradientHandle(Handle<Box<dyn AnyGradient>>);

impl GradientHandle {
    fn new(gradient: Box<dyn AnyGradient>) -> Self {
        Self(Handle::new(gradient))
    }
}

#[napi]
impl GradientHandle {
    #[napi(getter, catch_unwind, js_name = "y0")]
    pub fn y0(&self) -> Result<f64> {
        self.0.read(|gradient| address(&gradient.y0()))
    }

    #[napi(getter, catch_unwind)]
    pub fn parameters(&self) -> Result<f64> {
        self.0.read(|gradient| address(&gradient.parameters()))
    }

    #[napi(getter, catch_unwind)]
    pub fn arguments(&self) -> Result<f64> {
        self.0.read(|gradient| address(&gradient.arguments()))
    }

    /// ∂L/∂(times and amounts) of jumps.
    #[napi(getter, catch_unwind)]
    pub fn changes(&self) -> Result<f64> {
        self.0.read(|gradient| gradient.changes().as_ptr() as usize as f64)
    }

    /// A pointer to the gradient of the times, zero where it is not known.
    #[napi(getter, catch_unwind)]
    pub fn times(&self) -> Result<f64> {
        self.0.read(|gradient| gradient.times().map_or(0.0, |times| times.as_ptr() as usize as f64))
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|gradient| fill(&numbers, &records::gradient_stats(gradient.stats())))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// A solution with its tangents along directions.
#[napi(js_name = "Jvp")]
pub struct JvpHandle(Handle<Box<dyn AnyJvp>>);

impl JvpHandle {
    pub fn new(moved: Box<dyn AnyJvp>) -> Self {
        Self(Handle::new(moved))
    }
}

#[napi]
impl JvpHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|moved| address(&moved.solution().y()))
    }

    /// `[directions, times, batch, state]`.
    #[napi(getter, catch_unwind)]
    pub fn tangents(&self) -> Result<f64> {
        self.0.read(|moved| address(&moved.tangents()))
    }

    /// The statistics of the solve, with the peak memory of the solve and its derivatives.
    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|moved| fill(&numbers, &records::stats((moved.solution().stats().0, moved.peak()))))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// A solve with its derivative along a direction.
#[napi(js_name = "JvpVjp")]
pub struct JvpVjpHandle(Handle<Box<dyn AnyJvpVjp>>);

impl JvpVjpHandle {
    pub fn new(recorded: Box<dyn AnyJvpVjp>) -> Self {
        Self(Handle::new(recorded))
    }
}

#[napi]
impl JvpVjpHandle {
    #[napi(getter, catch_unwind)]
    pub fn y(&self) -> Result<f64> {
        self.0.read(|recorded| address(&recorded.solution().y()))
    }

    /// `[times, batch, state]`.
    #[napi(getter, catch_unwind)]
    pub fn tangent(&self) -> Result<f64> {
        self.0.read(|recorded| address(&recorded.tangent()))
    }

    #[napi(catch_unwind)]
    pub fn stats(&self, numbers: Unknown<'_>) -> Result<()> {
        self.0.read(|recorded| fill(&numbers, &records::stats(recorded.solution().stats())))
    }

    /// The product of a loss's second derivatives with the direction, from ∂L/∂y and (∂²L/∂y²) ẏ, `[times, batch, state]`.
    #[napi(catch_unwind)]
    pub fn pullback(&self, env: Env, cotangent: Unknown<'_>, curvature: Unknown<'_>) -> Result<GradientHandle> {
        let (cotangent, curvature) = (JsSource(&cotangent), JsSource(&curvature));
        let pulled = self.0.change(|recorded| recorded.pullback(&cotangent, &curvature))?;
        pulled.map(GradientHandle::new).map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}
