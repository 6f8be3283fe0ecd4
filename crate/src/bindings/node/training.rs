//! Optimizers.

use napi::bindgen_prelude::{ArrayBuffer, Env, Result, Unknown};
use napi_derive::napi;

use super::field::Field;
use super::handle::Handle;
use super::memory::{JsSource, address, view};
use super::results::NumbersHandle;
use super::thrown;
use crate::bindings::handles::{AnyOptimizer, optimizer};
use crate::optimizer::Rule;

/// An optimizer of a field's parameters, or of an array.
#[napi(js_name = "Optimizer")]
pub struct JsOptimizer(Handle<Box<dyn AnyOptimizer>>);

impl JsOptimizer {
    fn new(env: Env, dtype: &str, groups: &Unknown<'_>, rule: Rule) -> Result<Self> {
        let made = optimizer(dtype, rule, &JsSource(groups));
        made.map(|optimizer| Self(Handle::new(optimizer))).map_err(|error| thrown(env, error))
    }
}

#[napi]
impl JsOptimizer {
    #[napi(catch_unwind)]
    pub fn adam(
        env: Env,
        dtype: String,
        groups: Unknown<'_>,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
    ) -> Result<JsOptimizer> {
        Self::new(env, &dtype, &groups, Rule::Adam { beta1, beta2, epsilon })
    }

    #[napi(catch_unwind)]
    pub fn sgd(env: Env, dtype: String, groups: Unknown<'_>, momentum: f64) -> Result<JsOptimizer> {
        Self::new(env, &dtype, &groups, Rule::Sgd { momentum })
    }

    #[napi(catch_unwind)]
    pub fn step(&self, env: Env, field: &Field, gradient: Unknown<'_>) -> Result<()> {
        let gradient = JsSource(&gradient);
        let stepped = self.0.change(|optimizer| field.0.change(|field| optimizer.step(&mut **field, &gradient)))??;
        stepped.map_err(|error| thrown(env, error))
    }

    /// What a step makes of an array.
    #[napi(catch_unwind)]
    pub fn step_from(&self, env: Env, parameters: Unknown<'_>, gradient: Unknown<'_>) -> Result<NumbersHandle> {
        let (parameters, gradient) = (JsSource(&parameters), JsSource(&gradient));
        let stepped = self.0.change(|optimizer| optimizer.step_from(&parameters, &gradient))?;
        stepped.map(NumbersHandle::new).map_err(|error| thrown(env, error))
    }

    #[napi(catch_unwind)]
    pub fn set_groups(&self, env: Env, groups: Unknown<'_>) -> Result<()> {
        let set = self.0.change(|optimizer| optimizer.set_groups(&JsSource(&groups)))?;
        set.map_err(|error| thrown(env, error))
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
