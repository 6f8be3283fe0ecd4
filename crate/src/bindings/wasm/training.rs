//! Optimizers.

use wasm_bindgen::prelude::*;

use super::field::Field;
use super::results::NumbersHandle;
use super::{JsResult, JsSource, thrown};
use crate::bindings::handles::{AnyOptimizer, optimizer};
use crate::optimizer::Rule;

/// An optimizer of a field's parameters, or of an array.
#[wasm_bindgen(js_name = Optimizer)]
pub struct JsOptimizer(Box<dyn AnyOptimizer>);

#[wasm_bindgen(js_class = Optimizer)]
impl JsOptimizer {
    pub fn adam(dtype: &str, groups: &JsValue, beta1: f64, beta2: f64, epsilon: f64) -> JsResult<JsOptimizer> {
        Self::new(dtype, groups, Rule::Adam { beta1, beta2, epsilon })
    }

    pub fn sgd(dtype: &str, groups: &JsValue, momentum: f64) -> JsResult<JsOptimizer> {
        Self::new(dtype, groups, Rule::Sgd { momentum })
    }

    fn new(dtype: &str, groups: &JsValue, rule: Rule) -> JsResult<JsOptimizer> {
        optimizer(dtype, rule, &JsSource(groups)).map(Self).map_err(thrown)
    }

    pub fn step(&mut self, field: &mut Field, gradient: &JsValue) -> JsResult<()> {
        self.0.step(&mut *field.field, &JsSource(gradient)).map_err(thrown)
    }

    /// What a step makes of an array.
    #[wasm_bindgen(js_name = stepFrom)]
    pub fn step_from(&mut self, parameters: &JsValue, gradient: &JsValue) -> JsResult<NumbersHandle> {
        self.0.step_from(&JsSource(parameters), &JsSource(gradient)).map(NumbersHandle).map_err(thrown)
    }

    #[wasm_bindgen(js_name = setGroups)]
    pub fn set_groups(&mut self, groups: &JsValue) -> JsResult<()> {
        self.0.set_groups(&JsSource(groups)).map_err(thrown)
    }

    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> f64 {
        self.0.steps() as f64
    }

    #[wasm_bindgen(setter)]
    pub fn set_steps(&mut self, steps: f64) {
        self.0.set_steps(steps as u64);
    }

    #[wasm_bindgen(getter, js_name = statePointer)]
    pub fn state_pointer(&self) -> usize {
        self.0.state().pointer()
    }

    #[wasm_bindgen(getter, js_name = stateLength)]
    pub fn state_length(&self) -> usize {
        self.0.state().len()
    }
}
