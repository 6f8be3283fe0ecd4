//! What calls return: handles of memory that stays here until freed, read through pointers.

use js_sys::Float64Array;
use wasm_bindgen::prelude::*;

use super::{JsResult, JsSource, thrown};
use crate::bindings::handles::{
    AnyBuffer, AnyEnsemble, AnyFieldVjp, AnyGradient, AnyIntegrator, AnyJvp, AnyJvpVjp, AnySolution, AnyTrajectory,
};
use crate::bindings::records;
use crate::error::Error;

/// An array that stays in WASM memory until freed.
#[wasm_bindgen(js_name = Numbers)]
pub struct NumbersHandle(pub(super) Box<dyn AnyBuffer>);

#[wasm_bindgen(js_class = Numbers)]
impl NumbersHandle {
    #[wasm_bindgen(getter)]
    pub fn pointer(&self) -> usize {
        self.0.numbers().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.0.numbers().len()
    }
}

/// The result of a field's pullback.
#[wasm_bindgen(js_name = FieldVjp)]
pub struct FieldVjpHandle(pub(super) Box<dyn AnyFieldVjp>);

#[wasm_bindgen(js_class = FieldVjp)]
impl FieldVjpHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.y().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        self.0.parameters().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn arguments(&self) -> usize {
        self.0.arguments().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn t(&self) -> Option<f64> {
        self.0.t()
    }
}

/// A solution, and why it ends early if it does.
#[wasm_bindgen(js_name = Solution)]
pub struct SolutionHandle {
    pub(super) solution: Box<dyn AnySolution>,
    pub(super) error: Option<Error>,
}

#[wasm_bindgen(js_class = Solution)]
impl SolutionHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.solution.y().pointer()
    }

    /// How many of the times were reached.
    #[wasm_bindgen(getter)]
    pub fn reached(&self) -> usize {
        self.solution.reached()
    }

    /// A pointer to the last good state of a solve that failed; zero if there is none.
    #[wasm_bindgen(getter, js_name = lastState)]
    pub fn last_state(&self) -> usize {
        self.solution.last_state().map_or(0, |state| state.pointer())
    }

    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::stats(self.solution.stats()));
    }

    #[wasm_bindgen(getter)]
    pub fn error(&self) -> JsValue {
        self.error.clone().map_or(JsValue::UNDEFINED, thrown)
    }
}

/// A solve with what its gradients need.
#[wasm_bindgen(js_name = Vjp)]
pub struct VjpHandle(pub(super) Box<dyn AnyTrajectory>);

#[wasm_bindgen(js_class = Vjp)]
impl VjpHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.solution().y().pointer()
    }

    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::stats(self.0.solution().stats()));
    }

    /// The gradient for ∂L/∂y, `[times, batch, state]`.
    pub fn pullback(&mut self, cotangent: &JsValue) -> JsResult<GradientHandle> {
        self.0.pullback(&JsSource(cotangent)).map(GradientHandle).map_err(thrown)
    }
}

/// An ensemble: trajectories that each take their own steps.
#[wasm_bindgen(js_name = Ensemble)]
pub struct EnsembleHandle(pub(super) Box<dyn AnyEnsemble>);

#[wasm_bindgen(js_class = Ensemble)]
impl EnsembleHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.y().pointer()
    }

    #[wasm_bindgen(getter, js_name = yLength)]
    pub fn y_length(&self) -> usize {
        self.0.y().len()
    }

    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, outputs reached.
    #[wasm_bindgen(getter)]
    pub fn trajectories(&self) -> usize {
        self.0.trajectories().as_ptr() as usize
    }

    /// For each event: trajectory, event, time.
    #[wasm_bindgen(getter)]
    pub fn events(&self) -> usize {
        self.0.events().as_ptr() as usize
    }

    #[wasm_bindgen(getter, js_name = eventsLength)]
    pub fn events_length(&self) -> usize {
        self.0.events().len()
    }

    #[wasm_bindgen(getter, js_name = eventStates)]
    pub fn event_states(&self) -> usize {
        self.0.event_states().pointer()
    }

    /// The trajectories that failed and why, as JSON: V8 before 12 crashes where an object of each is returned in a loop.
    #[wasm_bindgen(getter)]
    pub fn failures(&self) -> String {
        records::failures(self.0.failures())
    }

    /// Where the times, the states and the polynomials of a trajectory's steps are, and how many numbers each; empty if they were not asked
    /// for.
    pub fn path(&self, trajectory: usize) -> Vec<f64> {
        records::path(self.0.path(trajectory))
    }

    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::ensemble_stats(&*self.0));
    }

    /// The gradient for ∂L/∂y and, if not empty, ∂L/∂(event times), a Float64Array, and ∂L/∂(event states).
    pub fn pullback(&mut self, cotangent: &JsValue, times: &JsValue, states: &JsValue) -> JsResult<GradientHandle> {
        let pulled = self.0.pullback(&JsSource(cotangent), &JsSource(times), &JsSource(states));
        pulled.map(GradientHandle).map_err(thrown)
    }
}

/// Trajectories that are advanced call by call.
#[wasm_bindgen(js_name = Integrator)]
pub struct IntegratorHandle(pub(super) Box<dyn AnyIntegrator>);

#[wasm_bindgen(js_class = Integrator)]
impl IntegratorHandle {
    /// To a time, or by one step of each trajectory towards it.
    pub fn advance(&mut self, to: f64, step: bool) -> JsResult<()> {
        self.0.advance(to, step).map_err(thrown)
    }

    /// The present time of each trajectory.
    #[wasm_bindgen(getter)]
    pub fn t(&self) -> usize {
        self.0.t().as_ptr() as usize
    }

    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.y().pointer()
    }

    /// For each trajectory: steps accepted and rejected, evaluations, the first and the last step, 1 where an event has ended it.
    #[wasm_bindgen(getter)]
    pub fn trajectories(&self) -> usize {
        self.0.trajectories().as_ptr() as usize
    }

    /// For each event of the last call: trajectory, event, time.
    #[wasm_bindgen(getter)]
    pub fn events(&self) -> usize {
        self.0.events().as_ptr() as usize
    }

    #[wasm_bindgen(getter, js_name = eventsLength)]
    pub fn events_length(&self) -> usize {
        self.0.events().len()
    }

    #[wasm_bindgen(getter, js_name = eventStates)]
    pub fn event_states(&self) -> usize {
        self.0.event_states().pointer()
    }

    #[wasm_bindgen(js_name = setY)]
    pub fn set_y(&mut self, y: &JsValue) -> JsResult<()> {
        self.0.set_y(&JsSource(y)).map_err(thrown)
    }

    #[wasm_bindgen(js_name = setArguments)]
    pub fn set_arguments(&mut self, arguments: &JsValue) -> JsResult<()> {
        self.0.set_arguments(&JsSource(arguments)).map_err(thrown)
    }

    pub fn save(&self) -> Vec<f64> {
        self.0.save()
    }

    pub fn restore(&mut self, saved: &JsValue) -> JsResult<()> {
        self.0.restore(&JsSource(saved)).map_err(thrown)
    }

    pub fn copy(&self) -> IntegratorHandle {
        IntegratorHandle(self.0.copy())
    }
}

/// A gradient.
#[wasm_bindgen(js_name = Gradient)]
pub struct GradientHandle(pub(super) Box<dyn AnyGradient>);

#[wasm_bindgen(js_class = Gradient)]
impl GradientHandle {
    #[wasm_bindgen(getter)]
    pub fn y0(&self) -> usize {
        self.0.y0().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        self.0.parameters().pointer()
    }

    #[wasm_bindgen(getter)]
    pub fn arguments(&self) -> usize {
        self.0.arguments().pointer()
    }

    /// ∂L/∂(times and amounts) of jumps.
    #[wasm_bindgen(getter)]
    pub fn changes(&self) -> usize {
        self.0.changes().as_ptr() as usize
    }

    /// A pointer to the gradient of the times, zero where it is not known.
    #[wasm_bindgen(getter)]
    pub fn times(&self) -> usize {
        self.0.times().map_or(0, |times| times.as_ptr() as usize)
    }

    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::gradient_stats(self.0.stats()));
    }
}

/// A solution with its tangents along directions.
#[wasm_bindgen(js_name = Jvp)]
pub struct JvpHandle(pub(super) Box<dyn AnyJvp>);

#[wasm_bindgen(js_class = Jvp)]
impl JvpHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.solution().y().pointer()
    }

    /// `[directions, times, batch, state]`.
    #[wasm_bindgen(getter)]
    pub fn tangents(&self) -> usize {
        self.0.tangents().pointer()
    }

    /// The statistics of the solve, with the peak memory of the solve and its derivatives.
    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::stats((self.0.solution().stats().0, self.0.peak())));
    }
}

/// A solve with its derivative along a direction.
#[wasm_bindgen(js_name = JvpVjp)]
pub struct JvpVjpHandle(pub(super) Box<dyn AnyJvpVjp>);

#[wasm_bindgen(js_class = JvpVjp)]
impl JvpVjpHandle {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        self.0.solution().y().pointer()
    }

    /// `[times, batch, state]`.
    #[wasm_bindgen(getter)]
    pub fn tangent(&self) -> usize {
        self.0.tangent().pointer()
    }

    pub fn stats(&self, numbers: &Float64Array) {
        numbers.copy_from(&records::stats(self.0.solution().stats()));
    }

    /// The product of a loss's second derivatives with the direction, from ∂L/∂y and (∂²L/∂y²) ẏ, `[times, batch, state]`.
    pub fn pullback(&mut self, cotangent: &JsValue, curvature: &JsValue) -> JsResult<GradientHandle> {
        self.0.pullback(&JsSource(cotangent), &JsSource(curvature)).map(GradientHandle).map_err(thrown)
    }
}
