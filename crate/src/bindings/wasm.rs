//! What JavaScript calls: thin, typed by name, without numerics. The TypeScript facade validates before it calls.
//!
//! Inputs come as handles of typed arrays and are copied into memory that is asked for with care; results stay here and
//! are read through pointers, so that no JavaScript allocation fails in the middle of a Rust call.

mod field;
mod results;
mod tensors;
mod training;

use std::cell::Cell;

use js_sys::{Array, Float32Array, Float64Array, Function, Object, Reflect};
use ndarray::{ArrayView2, ArrayViewMut2};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;

use super::handles::{Dtype, Source};
use super::options::{Entries, OptionValue};
use super::records::{self, Datum, Record};
use crate::control::{AllReduce, NoReduction};
use crate::error::{Error, Result};
use crate::field::custom::RowField;
use crate::kernel::real::Real;
use crate::memory::{live_bytes, reserve};
use crate::progress::{self, Watcher};

type JsResult<T> = std::result::Result<T, JsValue>;

/// A typed array; which one, the dtype of the field says.
struct JsSource<'a>(&'a JsValue);

impl Source for JsSource<'_> {
    fn len(&self) -> usize {
        // Both kinds have their length in the same place.
        self.0.unchecked_ref::<Float64Array>().length() as usize
    }

    fn copy_f32(&self, start: usize, to: &mut [f32]) {
        let end = (start + to.len()) as u32;
        self.0.unchecked_ref::<Float32Array>().subarray(start as u32, end).copy_to(to);
    }

    fn copy_f64(&self, start: usize, to: &mut [f64]) {
        let end = (start + to.len()) as u32;
        self.0.unchecked_ref::<Float64Array>().subarray(start as u32, end).copy_to(to);
    }
}

/// An array that may be left out.
fn optional<'a>(source: &'a JsSource<'a>) -> Option<&'a dyn Source> {
    (!source.0.is_undefined()).then_some(source as &dyn Source)
}

/// The names and values of a plain object.
fn entries(object: &JsValue) -> Entries {
    let pairs = Object::entries(object.unchecked_ref::<Object>());
    let entry = |pair: JsValue| {
        let pair: Array = pair.unchecked_into();
        let value = pair.get(1);
        let value = match (value.as_f64(), value.as_string(), value.as_bool()) {
            (Some(number), ..) => OptionValue::Number(number),
            (_, Some(text), _) => OptionValue::Text(text),
            (.., Some(flag)) => OptionValue::Flag(flag),
            _ => OptionValue::Object(entries(&value)),
        };
        (pair.get(0).as_string().unwrap_or_default(), value)
    };
    pairs.iter().map(entry).collect()
}

/// A record as a plain object.
fn object(record: Record) -> Object {
    let object = Object::new();
    for (name, datum) in record {
        let value = match datum {
            Datum::Number(number) => number.into(),
            Datum::Text(text) => text.into(),
            Datum::List(numbers) => numbers.into_iter().map(JsValue::from).collect::<Array>().into(),
            Datum::Record(record) => self::object(record).into(),
        };
        // A plain object takes any property.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object
}

/// The error as a plain object.
fn thrown(error: Error) -> JsValue {
    object(records::error(&error)).into()
}

/// Names, defaults and widths, as a JSON object.
#[wasm_bindgen]
pub fn constants() -> String {
    super::constants::constants().to_string()
}

/// Bytes in all buffers of all solves and fields that are alive.
#[wasm_bindgen(js_name = liveBytes)]
pub fn live() -> f64 {
    live_bytes() as f64
}

/// Fills the reserve for the unchecked allocations of one call; false if memory has run out.
#[wasm_bindgen(js_name = ensureReserve)]
pub fn ensure_reserve() -> bool {
    reserve::ensure()
}

/// Whether this number of bytes can be allocated now without the reserve. It is asked before texts and lists cross, whose allocations
/// are not checked.
#[wasm_bindgen(js_name = hasRoom)]
pub fn has_room(bytes: usize) -> bool {
    reserve::fallible(|| Vec::<u8>::new().try_reserve_exact(bytes)).is_ok()
}

/// Floating-point operations that the micro-kernel has done on operands in the first-level cache; the caller takes the time.
#[wasm_bindgen(js_name = kernelPeak)]
pub fn kernel_peak(dtype: &str, repeats: usize) -> JsResult<f64> {
    let done = match Dtype::named(dtype).map_err(thrown)? {
        Dtype::Float32 => crate::kernel_peak::<f32>(repeats),
        Dtype::Float64 => crate::kernel_peak::<f64>(repeats),
    };
    done.map_err(thrown)
}

#[wasm_bindgen]
extern "C" {
    /// A vector field in JavaScript; y, w, dy, dparameters and parameters are pointers to row-major arrays.
    pub type Callbacks;

    /// False if the user's function failed; `first` is the trajectory of the first row.
    #[wasm_bindgen(method)]
    fn evaluate(this: &Callbacks, t: f64, y: usize, batch: usize, parameters: usize, dy: usize, first: usize) -> bool;

    /// The cotangent of t, undefined where it is not known, null if the user's function failed.
    #[wasm_bindgen(method)]
    #[allow(clippy::too_many_arguments)]
    fn vjp(
        this: &Callbacks,
        t: f64,
        y: usize,
        w: usize,
        batch: usize,
        parameters: usize,
        dy: usize,
        dparameters: usize,
        first: usize,
    ) -> JsValue;
}

thread_local! {
    /// The trajectory of the first row, for the call of a vector field in JavaScript that follows.
    static FIRST: Cell<usize> = const { Cell::new(0) };
}

/// Sets the function that solves call with their progress, from 0 to 1; undefined removes it. A solve ends if it returns false.
#[wasm_bindgen]
pub fn watch(callback: Option<Function>) {
    progress::watch(callback.map(|callback| {
        Box::new(move |fraction: f64| match callback.call1(&JsValue::NULL, &fraction.into()) {
            Ok(goes_on) if goes_on.is_truthy() => Ok(()),
            _ => Err(Error::Callback),
        }) as Watcher
    }));
}

#[wasm_bindgen]
extern "C" {
    /// The sums that the parts of a batch form together, in JavaScript.
    pub type JsAllReduce;

    /// Samples of the whole batch.
    #[wasm_bindgen(method, getter)]
    fn samples(this: &JsAllReduce) -> usize;

    /// The sum over all panels, of which this many are at the pointer; undefined if another part has failed.
    #[wasm_bindgen(method)]
    fn sum(this: &JsAllReduce, sums: usize, panels: usize) -> Option<f64>;
}

impl AllReduce for SendWrapper<JsAllReduce> {
    fn samples(&self, _own: usize) -> usize {
        (**self).samples()
    }

    fn sum(&mut self, sums: &[f64]) -> Result<f64> {
        JsAllReduce::sum(self, sums.as_ptr() as usize, sums.len()).ok_or(Error::Callback)
    }
}

/// The sums over the parts of a batch that share steps, if there are several.
fn shared(all_reduce: Option<JsAllReduce>) -> Box<dyn AllReduce> {
    match all_reduce {
        Some(all_reduce) => Box::new(SendWrapper::new(all_reduce)),
        None => Box::new(NoReduction),
    }
}

/// A vector field in JavaScript, of the thread that made it: it is never taken to another.
type JsField = SendWrapper<Callbacks>;

impl<T: Real> RowField<T> for JsField {
    fn first_trajectory(&self, trajectory: usize) {
        FIRST.set(trajectory);
    }

    fn evaluate(&self, t: f64, y: ArrayView2<'_, T>, parameters: &[T], mut dy: ArrayViewMut2<'_, T>) -> Result<()> {
        let (y_at, dy_at) = (y.as_ptr() as usize, dy.as_mut_ptr() as usize);
        match (**self).evaluate(t, y_at, y.nrows(), parameters.as_ptr() as usize, dy_at, FIRST.get()) {
            true => Ok(()),
            false => Err(Error::Callback),
        }
    }

    fn vjp(
        &self,
        t: f64,
        y: ArrayView2<'_, T>,
        w: ArrayView2<'_, T>,
        parameters: &[T],
        mut dy: ArrayViewMut2<'_, T>,
        dparameters: &mut [T],
    ) -> Result<Option<f64>> {
        let (y_at, w_at, dy_at) = (y.as_ptr() as usize, w.as_ptr() as usize, dy.as_mut_ptr() as usize);
        let dparameters = dparameters.as_mut_ptr() as usize;
        let parameters = parameters.as_ptr() as usize;
        let time = (**self).vjp(t, y_at, w_at, y.nrows(), parameters, dy_at, dparameters, FIRST.get());
        if time.is_null() { Err(Error::Callback) } else { Ok(time.as_f64()) }
    }
}
