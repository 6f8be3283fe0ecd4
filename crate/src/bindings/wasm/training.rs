//! Optimizers.

use wasm_bindgen::prelude::*;

use super::field::Field;
use super::{JsResult, JsSource, thrown};
use crate::bindings::handles::AnyOptimizer;
use crate::optimizer::Rule;

/// An optimizer of a field's parameters.
#[wasm_bindgen(js_name = Optimizer)]
pub struct JsOptimizer(Box<dyn AnyOptimizer>);

#[wasm_bindgen(js_class = Optimizer)]
impl JsOptimizer {
    pub fn adam(field: &Field, rate: f64, decay: f64, beta1: f64, beta2: f64, epsilon: f64) -> JsResult<JsOptimizer> {
        Self::new(field, Rule::Adam { beta1, beta2, epsilon }, rate, decay)
    }

    pub fn sgd(field: &Field, rate: f64, decay: f64, momentum: f64) -> JsResult<JsOptimizer> {
        Self::new(field, Rule::Sgd { momentum }, rate, decay)
    }

    fn new(field: &Field, rule: Rule, rate: f64, decay: f64) -> JsResult<JsOptimizer> {
        field.field.optimizer(rule, rate, decay).map(Self).map_err(thrown)
    }

    pub fn step(&mut self, field: &mut Field, gradient: &JsValue) -> JsResult<()> {
        self.0.step(&mut *field.field, &JsSource(gradient)).map_err(thrown)
    }

    #[wasm_bindgen(getter, js_name = learningRate)]
    pub fn learning_rate(&self) -> f64 {
        self.0.learning_rate()
    }

    #[wasm_bindgen(setter, js_name = learningRate)]
    pub fn set_learning_rate(&mut self, rate: f64) {
        self.0.set_learning_rate(rate);
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
