//! Optimizers.

use napi::bindgen_prelude::{ArrayBuffer, Env, Result, Unknown};
use napi_derive::napi;

use super::field::Field;
use super::held::Held;
use super::memory::{JsSource, address, view};
use super::thrown;
use crate::bindings::handles::AnyOptimizer;
use crate::optimizer::Rule;

/// An optimizer of a field's parameters.
#[napi(js_name = "Optimizer")]
pub struct JsOptimizer(Held<Box<dyn AnyOptimizer>>);

impl JsOptimizer {
    fn new(env: Env, field: &Field, rule: Rule, rate: f64, decay: f64) -> Result<Self> {
        let optimizer = field.0.read(|field| field.optimizer(rule, rate, decay))?;
        optimizer.map(|optimizer| Self(Held::new(optimizer))).map_err(|error| thrown(env, error))
    }
}

#[napi]
impl JsOptimizer {
    #[napi(catch_unwind)]
    pub fn adam(
        env: Env,
        field: &Field,
        rate: f64,
        decay: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
    ) -> Result<JsOptimizer> {
        Self::new(env, field, Rule::Adam { beta1, beta2, epsilon }, rate, decay)
    }

    #[napi(catch_unwind)]
    pub fn sgd(env: Env, field: &Field, rate: f64, decay: f64, momentum: f64) -> Result<JsOptimizer> {
        Self::new(env, field, Rule::Sgd { momentum }, rate, decay)
    }

    #[napi(catch_unwind)]
    pub fn step(&self, env: Env, field: &Field, gradient: Unknown<'_>) -> Result<()> {
        let gradient = JsSource(&gradient);
        let stepped = self.0.change(|optimizer| field.0.change(|field| optimizer.step(&mut **field, &gradient)))??;
        stepped.map_err(|error| thrown(env, error))
    }

    #[napi(getter, catch_unwind)]
    pub fn learning_rate(&self) -> Result<f64> {
        self.0.read(|optimizer| optimizer.learning_rate())
    }

    #[napi(setter, catch_unwind)]
    pub fn set_learning_rate(&self, rate: f64) -> Result<()> {
        self.0.change(|optimizer| optimizer.set_learning_rate(rate))
    }

    #[napi(getter, catch_unwind)]
    pub fn steps(&self) -> Result<f64> {
        self.0.read(|optimizer| optimizer.steps() as f64)
    }

    #[napi(setter, catch_unwind)]
    pub fn set_steps(&self, steps: f64) -> Result<()> {
        self.0.change(|optimizer| optimizer.set_steps(steps as u64))
    }

    #[napi(getter, catch_unwind)]
    pub fn state_pointer(&self) -> Result<f64> {
        self.0.read(|optimizer| address(&optimizer.state()))
    }

    #[napi(getter, catch_unwind)]
    pub fn state_length(&self) -> Result<u32> {
        self.0.read(|optimizer| optimizer.state().len() as u32)
    }

    /// The memory of the state, as a field has that of its parameters.
    #[napi(catch_unwind)]
    pub fn memory(&self, env: Env) -> Result<ArrayBuffer<'static>> {
        let owner = self.0.share()?;
        self.0.read(|optimizer| view(env, &optimizer.state(), owner))?
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}
