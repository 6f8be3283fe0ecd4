//! Files of named arrays.

use napi::bindgen_prelude::{
    Either, Env, Float32ArraySlice, Float64ArraySlice, Result, Uint8ArraySlice, Uint32ArraySlice, Undefined, Unknown,
};
use napi_derive::napi;

use super::handle::Handle;
use super::memory::JsSource;
use super::{dtype, or_undefined, thrown};
use crate::bindings::handles::{Dtype, Source, copied};
use crate::error;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::tensors::{Tensor, Tensors};

/// Named arrays, to and from the safetensors format.
#[napi]
pub struct TensorFile(Handle<Tensors>);

/// What a call gives, or throws.
fn given<R>(env: Env, result: Result<error::Result<R>>) -> Result<R> {
    result?.map_err(|error| thrown(env, error))
}

#[napi]
impl TensorFile {
    #[napi(constructor, catch_unwind)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Handle::new(Tensors::default()))
    }

    #[napi(catch_unwind)]
    pub fn add(
        &self,
        env: Env,
        name: String,
        dtype: String,
        shape: Uint32ArraySlice<'_>,
        numbers: Unknown<'_>,
    ) -> Result<()> {
        let shape: Vec<usize> = shape.iter().map(|&side| side as usize).collect();
        let (dtype, numbers) = (self::dtype(env, &dtype)?, JsSource(&numbers));
        let added = self.0.change(|file| match dtype {
            Dtype::Float32 => copied::<f32>(&numbers).and_then(|numbers| file.add(&name, &shape, &numbers)),
            Dtype::Float64 => copied::<f64>(&numbers).and_then(|numbers| file.add(&name, &shape, &numbers)),
        });
        given(env, added)
    }

    #[napi(catch_unwind)]
    pub fn describe(&self, key: String, text: String) -> Result<()> {
        self.0.change(|file| file.metadata.insert(key, text)).map(|_| ())
    }

    #[napi(catch_unwind)]
    pub fn serialize(&self, env: Env) -> Result<Uint8ArraySlice<'static>> {
        let bytes = given(env, self.0.read(Tensors::serialize))?;
        Uint8ArraySlice::copy_from(&env, bytes)
    }

    #[napi(catch_unwind)]
    pub fn parse(env: Env, bytes: Unknown<'_>) -> Result<Self> {
        let source = JsSource(&bytes);
        let parsed = Buffer::<u8>::zeroed(&Ledger::new(), Purpose::Workspace, source.len()).and_then(|mut copy| {
            source.copy_bytes(&mut copy);
            Tensors::parse(&copy)
        });
        given(env, Ok(parsed)).map(|file| Self(Handle::new(file)))
    }

    /// The names of the arrays, which the functions below take.
    #[napi(catch_unwind)]
    pub fn names(&self) -> Result<Vec<String>> {
        self.0.read(|file| file.names().cloned().collect())
    }

    #[napi(catch_unwind)]
    pub fn dtype(&self, env: Env, name: String) -> Result<String> {
        given(env, self.0.read(|file| file.get(&name).map(Tensor::dtype)))
    }

    #[napi(catch_unwind)]
    pub fn shape(&self, env: Env, name: String) -> Result<Vec<u32>> {
        let sides = |tensor: &Tensor| tensor.shape.iter().map(|&side| side as u32).collect();
        given(env, self.0.read(|file| file.get(&name).map(sides)))
    }

    #[napi(catch_unwind)]
    pub fn single(&self, env: Env, name: String) -> Result<Float32ArraySlice<'static>> {
        let numbers: Vec<f32> = given(env, self.0.read(|file| file.get(&name).and_then(Tensor::numbers)))?;
        Float32ArraySlice::copy_from(&env, numbers)
    }

    #[napi(catch_unwind)]
    pub fn double(&self, env: Env, name: String) -> Result<Float64ArraySlice<'static>> {
        let numbers: Vec<f64> = given(env, self.0.read(|file| file.get(&name).and_then(Tensor::numbers)))?;
        Float64ArraySlice::copy_from(&env, numbers)
    }

    #[napi(catch_unwind)]
    pub fn keys(&self) -> Result<Vec<String>> {
        self.0.read(|file| file.metadata.keys().cloned().collect())
    }

    #[napi(catch_unwind)]
    pub fn metadata(&self, key: String) -> Result<Either<String, Undefined>> {
        self.0.read(|file| or_undefined(file.metadata.get(&key).cloned()))
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}
