//! Optimizers, and files.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::models::Model;
use super::{Either, Field, JsReal, JsResult, either, read, thrown, try_either};
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::optimizer::{Optimizer, Rule};
use crate::tensors::{Tensor, Tensors};

/// An optimizer of a field's parameters.
#[wasm_bindgen(js_name = Optimizer)]
pub struct JsOptimizer(Either<Optimizer<f32>, Optimizer<f64>>);

#[wasm_bindgen(js_class = Optimizer)]
impl JsOptimizer {
    pub fn adam(field: &Field, rate: f64, decay: f64, beta1: f64, beta2: f64, epsilon: f64) -> JsResult<JsOptimizer> {
        Self::new(field, Rule::Adam { beta1, beta2, epsilon }, rate, decay)
    }

    pub fn sgd(field: &Field, rate: f64, decay: f64, momentum: f64) -> JsResult<JsOptimizer> {
        Self::new(field, Rule::Sgd { momentum }, rate, decay)
    }

    fn new(field: &Field, rule: Rule, rate: f64, decay: f64) -> JsResult<JsOptimizer> {
        let parameters = field.parameters_length();
        try_either!(&field.field, _ => Optimizer::new(rule, rate, decay, parameters)).map(Self)
    }

    pub fn step(&mut self, field: &mut Field, gradient: &JsValue) -> JsResult<()> {
        fn run<T: JsReal>(optimizer: &mut Optimizer<T>, field: &mut Model<T>, gradient: &JsValue) -> Result<()> {
            optimizer.step(field.parameters_mut(), &read(gradient)?)
        }
        let stepped = match (&mut self.0, &mut field.field) {
            (Either::Single(optimizer), Either::Single(field)) => run(optimizer, field, gradient),
            (Either::Double(optimizer), Either::Double(field)) => run(optimizer, field, gradient),
            _ => unreachable!("an optimizer is made for its field"),
        };
        stepped.map_err(thrown)
    }

    #[wasm_bindgen(getter, js_name = learningRate)]
    pub fn learning_rate(&self) -> f64 {
        either!(&self.0, optimizer => optimizer.learning_rate)
    }

    #[wasm_bindgen(setter, js_name = learningRate)]
    pub fn set_learning_rate(&mut self, rate: f64) {
        either!(&mut self.0, optimizer => optimizer.learning_rate = rate);
    }

    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> f64 {
        either!(&self.0, optimizer => optimizer.steps as f64)
    }

    #[wasm_bindgen(setter)]
    pub fn set_steps(&mut self, steps: f64) {
        either!(&mut self.0, optimizer => optimizer.steps = steps as u64);
    }

    #[wasm_bindgen(getter, js_name = statePointer)]
    pub fn state_pointer(&self) -> usize {
        either!(&self.0, optimizer => optimizer.state().as_ptr() as usize)
    }

    #[wasm_bindgen(getter, js_name = stateLength)]
    pub fn state_length(&self) -> usize {
        either!(&self.0, optimizer => optimizer.state().len())
    }
}

/// Named arrays, to and from the safetensors format.
#[wasm_bindgen]
#[derive(Default)]
pub struct TensorFile(Tensors);

#[wasm_bindgen]
impl TensorFile {
    #[wasm_bindgen(constructor)]
    pub fn new() -> TensorFile {
        Self::default()
    }

    pub fn add(&mut self, name: &str, dtype: &str, shape: Vec<u32>, numbers: &JsValue) -> JsResult<()> {
        fn run<T: JsReal>(file: &mut Tensors, name: &str, shape: &[usize], numbers: &JsValue) -> Result<()> {
            file.add(name, shape, &read::<T>(numbers)?)
        }
        let shape: Vec<usize> = shape.into_iter().map(|side| side as usize).collect();
        match dtype {
            "float32" => run::<f32>(&mut self.0, name, &shape, numbers),
            _ => run::<f64>(&mut self.0, name, &shape, numbers),
        }
        .map_err(thrown)
    }

    pub fn describe(&mut self, key: &str, text: &str) {
        self.0.metadata.insert(key.into(), text.into());
    }

    pub fn serialize(&self) -> JsResult<Vec<u8>> {
        self.0.serialize().map_err(thrown)
    }

    pub fn parse(bytes: &Uint8Array) -> JsResult<TensorFile> {
        let mut copy =
            Buffer::<u8>::zeroed(&Ledger::new(), Purpose::Workspace, bytes.length() as usize).map_err(thrown)?;
        bytes.copy_to(&mut copy);
        Tensors::parse(&copy).map(Self).map_err(thrown)
    }

    /// The names of the arrays, which the functions below take.
    pub fn names(&self) -> Vec<String> {
        self.0.names().cloned().collect()
    }

    pub fn dtype(&self, name: &str) -> JsResult<String> {
        self.0.get(name).map(Tensor::dtype).map_err(thrown)
    }

    pub fn shape(&self, name: &str) -> JsResult<Vec<u32>> {
        self.0.get(name).map(|tensor| tensor.shape.iter().map(|&side| side as u32).collect()).map_err(thrown)
    }

    pub fn single(&self, name: &str) -> JsResult<Vec<f32>> {
        self.0.get(name).and_then(Tensor::numbers).map_err(thrown)
    }

    pub fn double(&self, name: &str) -> JsResult<Vec<f64>> {
        self.0.get(name).and_then(Tensor::numbers).map_err(thrown)
    }

    pub fn keys(&self) -> Vec<String> {
        self.0.metadata.keys().cloned().collect()
    }

    pub fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata.get(key).cloned()
    }
}
