//! Files of named arrays.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::{JsResult, JsSource, thrown};
use crate::bindings::handles::{Dtype, copied};
use crate::memory::{Buffer, Ledger, Purpose};
use crate::tensors::{Tensor, Tensors};

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
        let shape: Vec<usize> = shape.into_iter().map(|side| side as usize).collect();
        let numbers = JsSource(numbers);
        let added = match Dtype::named(dtype).map_err(thrown)? {
            Dtype::Float32 => copied::<f32>(&numbers).and_then(|numbers| self.0.add(name, &shape, &numbers)),
            Dtype::Float64 => copied::<f64>(&numbers).and_then(|numbers| self.0.add(name, &shape, &numbers)),
        };
        added.map_err(thrown)
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
