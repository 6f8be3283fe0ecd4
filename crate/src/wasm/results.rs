//! What calls return: handles of memory that stays here until freed, read through pointers.

use wasm_bindgen::prelude::*;

use super::{Either, JsReal, JsResult, either, gradient_stats_object, stats_object, thrown, try_either};
use crate::error::{Error, Result};
use crate::field::FieldVjp;
use crate::gradient::{Gradient, Trajectory};
use crate::memory::Buffer;
use crate::solve::Solution;

/// An array that stays in WASM memory until freed.
#[wasm_bindgen]
pub struct Numbers(pub(super) Either<Buffer<f32>, Buffer<f64>>);

#[wasm_bindgen]
impl Numbers {
    #[wasm_bindgen(getter)]
    pub fn pointer(&self) -> usize {
        either!(&self.0, numbers => numbers.as_ptr() as usize)
    }

    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        either!(&self.0, numbers => numbers.len())
    }
}

/// What a field's transpose gives.
#[wasm_bindgen]
pub struct FieldPull(pub(super) Either<FieldVjp<f32>, FieldVjp<f64>>);

#[wasm_bindgen]
impl FieldPull {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        either!(&self.0, pull => pull.y.as_ptr() as usize)
    }

    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        either!(&self.0, pull => pull.parameters.as_ptr() as usize)
    }

    #[wasm_bindgen(getter)]
    pub fn t(&self) -> Option<f64> {
        either!(&self.0, pull => pull.t)
    }
}

/// A solution, and why it ends early if it does.
#[wasm_bindgen]
pub struct Solved {
    pub(super) solution: Either<Solution<f32>, Solution<f64>>,
    pub(super) error: Option<Error>,
}

#[wasm_bindgen]
impl Solved {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        either!(&self.solution, solution => solution.y().as_ptr() as usize)
    }

    /// How many of the times were reached.
    #[wasm_bindgen(getter)]
    pub fn reached(&self) -> usize {
        either!(&self.solution, solution => solution.y().shape()[0])
    }

    /// A pointer to the last good state of a solve that failed, zero where there is none.
    #[wasm_bindgen(getter, js_name = lastState)]
    pub fn last_state(&self) -> usize {
        either!(&self.solution, solution => solution.last_state().map_or(0, |state| state.as_ptr() as usize))
    }

    #[wasm_bindgen(getter)]
    pub fn stats(&self) -> JsValue {
        either!(&self.solution, solution => stats_object(&solution.stats, &solution.peak))
    }

    #[wasm_bindgen(getter)]
    pub fn error(&self) -> JsValue {
        self.error.clone().map_or(JsValue::UNDEFINED, thrown)
    }
}

/// A solve with what its gradients need.
#[wasm_bindgen]
pub struct Recorded(pub(super) Either<Trajectory<f32>, Trajectory<f64>>);

#[wasm_bindgen]
impl Recorded {
    #[wasm_bindgen(getter)]
    pub fn y(&self) -> usize {
        either!(&self.0, trajectory => trajectory.solution.y().as_ptr() as usize)
    }

    #[wasm_bindgen(getter)]
    pub fn stats(&self) -> JsValue {
        either!(&self.0, trajectory => stats_object(&trajectory.solution.stats, &trajectory.solution.peak))
    }

    /// The gradient for ∂L/∂y, `[times, batch, state]`.
    pub fn pullback(&mut self, cotangent: &JsValue) -> JsResult<Pulled> {
        fn run<T: JsReal>(trajectory: &mut Trajectory<T>, cotangent: &JsValue) -> Result<Gradient<T>> {
            let expected = trajectory.solution.y().len();
            if T::length(cotangent) != expected {
                let given = T::length(cotangent).to_string();
                return Err(Error::Shape { argument: "cotangent", expected: expected.to_string(), given });
            }
            trajectory.pullback_from(&mut |output, rows| {
                T::copy(cotangent, output * rows.len(), rows);
                Ok(())
            })
        }
        try_either!(&mut self.0, trajectory => run(trajectory, cotangent)).map(Pulled)
    }
}

/// A gradient.
#[wasm_bindgen]
pub struct Pulled(pub(super) Either<Gradient<f32>, Gradient<f64>>);

#[wasm_bindgen]
impl Pulled {
    #[wasm_bindgen(getter)]
    pub fn y0(&self) -> usize {
        either!(&self.0, gradient => gradient.y0().as_ptr() as usize)
    }

    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        either!(&self.0, gradient => gradient.parameters().as_ptr() as usize)
    }

    /// A pointer to the gradient of the times, zero where it is not known.
    #[wasm_bindgen(getter)]
    pub fn times(&self) -> usize {
        either!(&self.0, gradient => gradient.times.as_ref().map_or(0, |times| times.as_ptr() as usize))
    }

    #[wasm_bindgen(getter)]
    pub fn stats(&self) -> JsValue {
        either!(&self.0, gradient => gradient_stats_object(&gradient.stats))
    }
}
