//! What Node, Bun and Deno call, by the names and in the order of WebAssembly's binding, so that the TypeScript facade calls
//! either. The facade validates before it calls.
//!
//! Inputs are typed arrays, copied as they come. Results stay here until freed, and are read through pointers. Every entry
//! catches panics, which become JavaScript errors. Any number of threads may load the addon.

mod callbacks;
mod field;
mod handle;
mod memory;
mod results;
mod tensors;
mod training;

use napi::bindgen_prelude::{Either, Function, JsObjectValue, JsValue, Object, Result, Undefined, Unknown};
use napi::{Env, Status, ValueType};
use napi_derive::napi;

use super::handles::Dtype;
use super::options::{Entries, OptionValue};
use super::records::{self, Datum, Record};
use crate::error::Error;
use crate::kernel::simd::dispatch;

/// The names and values of a plain object.
fn entries(object: &Object<'_>) -> Result<Entries> {
    let entry = |name: String| {
        let value: Unknown<'_> = object.get_named_property(&name)?;
        let value = match value.get_type()? {
            ValueType::Number => OptionValue::Number(value.coerce_to_number()?.get_double()?),
            ValueType::String => OptionValue::Text(value.coerce_to_string()?.into_utf8()?.into_owned()?),
            ValueType::Boolean => OptionValue::Flag(value.coerce_to_bool()?),
            _ => OptionValue::Object(entries(&value.coerce_to_object()?)?),
        };
        Ok((name, value))
    };
    Object::keys(object)?.into_iter().map(entry).collect()
}

/// A record as a plain object.
fn object(env: Env, record: Record) -> Result<Object<'static>> {
    let mut object = Object::new(&env)?;
    for (name, datum) in record {
        match datum {
            Datum::Number(number) => object.set_named_property(name, number)?,
            Datum::Text(text) => object.set_named_property(name, text)?,
            Datum::List(numbers) => object.set_named_property(name, numbers)?,
            Datum::Record(record) => object.set_named_property(name, self::object(env, record)?)?,
        }
    }
    Ok(object)
}

/// Throws the error as a plain object; where JavaScript has thrown something on the way, that.
fn thrown(env: Env, error: Error) -> napi::Error {
    if let (Error::Callback, Some(error)) = (&error, callbacks::take_thrown()) {
        return error;
    }
    match object(env, records::error(&error)).and_then(|object| env.throw(object)) {
        Ok(()) => napi::Error::new(Status::PendingException, String::new()),
        Err(error) => error,
    }
}

/// Turns `None` into undefined, not null.
fn or_undefined<T>(value: Option<T>) -> Either<T, Undefined> {
    value.map_or(Either::B(()), Either::A)
}

fn dtype(env: Env, name: &str) -> Result<Dtype> {
    Dtype::named(name).map_err(|error| thrown(env, error))
}

/// The version of the crate, which is that of the package.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Names, defaults and widths, as a JSON object.
#[napi(catch_unwind)]
pub fn constants() -> String {
    super::constants::constants().to_string()
}

/// The width of the registers that are computed in.
#[napi(catch_unwind)]
pub fn register_bits() -> u32 {
    dispatch::bits() as u32
}

/// Sets the function that solves of this thread call with their progress, from 0 to 1; undefined removes it. If it returns false, it ends the
/// solve.
#[napi(catch_unwind)]
pub fn watch(env: Env, callback: Option<Function<'_, f64, bool>>) -> Result<()> {
    callbacks::watch(env, callback)
}

/// Bytes in all buffers of all solves and fields that are alive, in all threads.
#[napi(catch_unwind)]
pub fn live_bytes() -> f64 {
    crate::memory::live_bytes() as f64
}

/// Whether this number of bytes can be allocated now.
#[napi(catch_unwind)]
pub fn has_room(bytes: f64) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes as usize).is_ok()
}

/// Floating-point operations that the micro-kernel has done on operands in the first-level cache; the caller takes the time.
#[napi(catch_unwind)]
pub fn kernel_peak(env: Env, dtype: String, repeats: u32) -> Result<f64> {
    let done = match self::dtype(env, &dtype)? {
        Dtype::Float32 => crate::kernel_peak::<f32>(repeats as usize),
        Dtype::Float64 => crate::kernel_peak::<f64>(repeats as usize),
    };
    done.map_err(|error| thrown(env, error))
}
