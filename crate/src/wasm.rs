//! What JavaScript calls: thin, typed by name, without numerics. The TypeScript facade validates before it calls.
//!
//! Inputs come as handles of typed arrays and are copied into memory that is asked for with care; results stay here and
//! are read through pointers, so that no JavaScript allocation fails in the middle of a Rust call.

mod models;
mod results;
mod training;

use js_sys::{Array, Float32Array, Float64Array, Object, Reflect};
use ndarray::{ArrayView2, ArrayViewMut2};
use wasm_bindgen::prelude::*;

use crate::control::{Alone, Controller, Group};
use crate::error::{Error, Result};
use crate::field::custom::{Custom, RowField};
use crate::field::{self, FieldVjp};
use crate::gradient::{GradientStats, Method, Trajectory, vjp_shared};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, Purpose, live_bytes, reserve};
use crate::network::{Activation, Architecture, Mlp, Time};
use crate::solve::{Options, Output, Solution, Stats, Steps, Summation, odeint_shared};
use crate::stepper;
use crate::tableau::METHODS;
use models::Model;
use results::{FieldPull, Numbers, Recorded, Solved};

type JsResult<T> = std::result::Result<T, JsValue>;

/// A number type with its typed array.
trait JsReal: Real {
    /// Copies a typed array of just that many numbers.
    fn copy(array: &JsValue, start: usize, to: &mut [Self]);
    fn length(array: &JsValue) -> usize;
}

impl JsReal for f32 {
    fn copy(array: &JsValue, start: usize, to: &mut [f32]) {
        array.unchecked_ref::<Float32Array>().subarray(start as u32, (start + to.len()) as u32).copy_to(to);
    }
    fn length(array: &JsValue) -> usize {
        array.unchecked_ref::<Float32Array>().length() as usize
    }
}

impl JsReal for f64 {
    fn copy(array: &JsValue, start: usize, to: &mut [f64]) {
        array.unchecked_ref::<Float64Array>().subarray(start as u32, (start + to.len()) as u32).copy_to(to);
    }
    fn length(array: &JsValue) -> usize {
        array.unchecked_ref::<Float64Array>().length() as usize
    }
}

fn read<T: JsReal>(array: &JsValue) -> Result<Buffer<T>> {
    let mut numbers = Buffer::zeroed(&Ledger::new(), Purpose::Workspace, T::length(array))?;
    T::copy(array, 0, &mut numbers);
    Ok(numbers)
}

fn rows<T: Real>(numbers: &[T], batch: usize) -> Result<ArrayView2<'_, T>> {
    let state = numbers.len().checked_div(batch).unwrap_or(0);
    ArrayView2::from_shape((batch, state), numbers)
        .map_err(|_| Error::shape("y", format!("a multiple of the batch, {batch}"), numbers.len()))
}

fn set(object: &Object, key: &str, value: impl Into<JsValue>) {
    // A plain object takes any property.
    let _ = Reflect::set(object, &key.into(), &value.into());
}

/// The error as a plain object: `{ code, message, argument?, t?, h?, steps?, evaluations?, bytes? }`.
fn thrown(error: Error) -> JsValue {
    let object = Object::new();
    set(&object, "code", error.code());
    set(&object, "message", error.to_string());
    match &error {
        Error::Shape { argument, expected, given } | Error::Option { argument, expected, given } => {
            set(&object, "argument", *argument);
            set(&object, "expected", &**expected);
            set(&object, "given", &**given);
        }
        Error::NonFiniteInput { argument, .. } => set(&object, "argument", *argument),
        Error::NonFiniteResult { result, .. } => set(&object, "argument", *result),
        Error::OutOfMemory { bytes, .. } => set(&object, "bytes", *bytes as f64),
        Error::Budget { given, least } => {
            set(&object, "argument", "memoryBudget");
            set(&object, "expected", format!("at least {least} bytes"));
            set(&object, "given", given.to_string());
            set(&object, "bytes", *least as f64);
        }
        _ => {}
    }
    if let Some(progress) = error.progress() {
        set(&object, "t", progress.t);
        set(&object, "h", progress.h);
        set(&object, "steps", progress.steps as f64);
        set(&object, "evaluations", progress.evaluations as f64);
    }
    object.into()
}

fn bytes_object(bytes: &Bytes) -> Object {
    let object = Object::new();
    set(&object, "total", bytes.total() as f64);
    for purpose in Purpose::ALL {
        set(&object, purpose.name(), bytes.of(purpose) as f64);
    }
    object
}

fn stats_object(stats: &Stats, peak: &Bytes) -> JsValue {
    let object = Object::new();
    set(&object, "accepted", stats.accepted as f64);
    set(&object, "rejected", stats.rejected as f64);
    set(&object, "evaluations", stats.evaluations as f64);
    set(&object, "firstStep", stats.first_step);
    set(&object, "lastStep", stats.last_step);
    set(&object, "rtol", stats.rtol);
    set(&object, "rtolClamped", stats.rtol_clamped);
    set(&object, "peakBytes", bytes_object(peak));
    object.into()
}

fn gradient_stats_object(stats: &GradientStats) -> JsValue {
    let object = Object::new();
    set(&object, "evaluations", stats.evaluations as f64);
    set(&object, "vjps", stats.vjps as f64);
    set(&object, "backwardSteps", stats.backward_steps as f64);
    let retention = Object::new();
    set(&retention, "tapes", stats.retention.tapes as f64);
    set(&retention, "stages", stats.retention.stages as f64);
    set(&retention, "states", stats.retention.states as f64);
    set(&retention, "checkpoints", stats.retention.checkpoints as f64);
    set(&retention, "stepTapes", stats.retention.step_tapes);
    set(&object, "retention", retention);
    set(&object, "peakBytes", bytes_object(&stats.peak));
    object.into()
}

/// One of both number types.
enum Either<S, D> {
    Single(S),
    Double(D),
}

/// The same expression for either number type.
macro_rules! either {
    ($value:expr, $inner:pat => $body:expr) => {
        match $value {
            Either::Single($inner) => $body,
            Either::Double($inner) => $body,
        }
    };
}

/// The same fallible expression for either number type, wrapped again, its error thrown.
macro_rules! try_either {
    ($value:expr, $inner:pat => $body:expr) => {
        match $value {
            Either::Single($inner) => $body.map(Either::Single),
            Either::Double($inner) => $body.map(Either::Double),
        }
        .map_err(thrown)
    };
}

use {either, try_either};

fn per_type<S, D>(
    dtype: &str,
    single: impl FnOnce() -> Result<S>,
    double: impl FnOnce() -> Result<D>,
) -> Result<Either<S, D>> {
    Ok(match dtype {
        "float32" => Either::Single(single()?),
        "float64" => Either::Double(double()?),
        _ => {
            return Err(Error::Option {
                argument: "dtype",
                expected: "float32 or float64".into(),
                given: dtype.into(),
            });
        }
    })
}

/// Bytes in all buffers of all solves and fields that are alive.
#[wasm_bindgen(js_name = liveBytes)]
pub fn live() -> f64 {
    live_bytes() as f64
}

/// Sees to it that the allocations of one call which nobody checks have their reserve; false where memory has run out.
#[wasm_bindgen(js_name = ensureReserve)]
pub fn ensure_reserve() -> bool {
    reserve::ensure()
}

/// Whether so many bytes could be had now, the reserve left alone: asked before texts and lists cross, whose memory nobody checks.
#[wasm_bindgen(js_name = hasRoom)]
pub fn has_room(bytes: usize) -> bool {
    reserve::fallible(|| Vec::<u8>::new().try_reserve_exact(bytes)).is_ok()
}

/// Floating-point operations that the micro-kernel has done on operands in the first-level cache; the caller takes the time.
#[wasm_bindgen(js_name = kernelPeak)]
pub fn kernel_peak(dtype: &str, repeats: usize) -> JsResult<f64> {
    let done = per_type(dtype, || crate::kernel_peak::<f32>(repeats), || crate::kernel_peak::<f64>(repeats));
    Ok(either!(done.map_err(thrown)?, flops => flops))
}

/// Options of a solve, set one by one by the names of the public API.
#[wasm_bindgen]
pub struct SolveOptions(Options);

#[wasm_bindgen]
impl SolveOptions {
    #[wasm_bindgen(constructor)]
    pub fn new(method: &str) -> JsResult<SolveOptions> {
        let names = METHODS.map(|method| method.name).join(", ");
        let refused = || thrown(Error::Option { argument: "method", expected: names, given: method.into() });
        let method = stepper::Method::named(method).ok_or_else(refused)?;
        Ok(Self(Options::new(method)))
    }

    /// Whether the name is one of a number.
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        let options = &mut self.0;
        match name {
            "rtol" => options.rtol = value,
            "atol" => options.atol = value,
            "firstStep" => options.first_step = Some(value),
            "minStep" => options.min_step = value,
            "maxStep" => options.max_step = value,
            "maxSteps" => options.max_steps = value as usize,
            "safety" => options.safety = value,
            "minFactor" => options.min_factor = value,
            "maxFactor" => options.max_factor = value,
            "steps" => options.steps = Steps::PerInterval(value as usize),
            "stepSize" => options.steps = Steps::AtMost(value),
            _ => return false,
        }
        true
    }

    /// Whether the name is one of a switch.
    pub fn switch(&mut self, name: &str, value: bool) -> bool {
        let options = &mut self.0;
        match name {
            "timeGradients" => options.time_gradients = value,
            _ => return false,
        }
        true
    }

    /// Whether the name is one of a choice, and the choice one that it has.
    pub fn choose(&mut self, name: &str, choice: &str) -> bool {
        let options = &mut self.0;
        match (name, choice) {
            ("output", "land") => options.output = Some(Output::Land),
            ("output", "interpolate") => options.output = Some(Output::Interpolate),
            ("controller", "standard") => options.controller = Controller::Standard,
            ("controller", "torchdiffeq") => options.controller = Controller::Torchdiffeq,
            ("norm", "full") => options.seminorm = false,
            ("norm", "seminorm") => options.seminorm = true,
            ("summation", "compensated") => options.summation = Summation::Compensated,
            ("summation", "gradient") => options.summation = Summation::Gradient,
            ("summation", "plain") => options.summation = Summation::Plain,
            _ => return false,
        }
        true
    }
}

#[wasm_bindgen]
extern "C" {
    /// A vector field in JavaScript; y, w, dy, dparameters and parameters are pointers to row-major arrays.
    pub type Callbacks;

    /// False if the user's function failed.
    #[wasm_bindgen(method)]
    fn evaluate(this: &Callbacks, t: f64, y: usize, batch: usize, parameters: usize, dy: usize) -> bool;

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
    ) -> JsValue;
}

#[wasm_bindgen]
extern "C" {
    /// Those with whom the steps of a batch are shared.
    pub type Others;

    /// Samples of the whole batch.
    #[wasm_bindgen(method, getter)]
    fn samples(this: &Others) -> usize;

    /// The sum over all panels, of which these many are at the pointer; undefined if another part has failed.
    #[wasm_bindgen(method)]
    fn total(this: &Others, sums: usize, panels: usize) -> Option<f64>;
}

impl Group for Others {
    fn samples(&self, _own: usize) -> usize {
        self.samples()
    }

    fn total(&mut self, sums: &[f64]) -> Result<f64> {
        Others::total(self, sums.as_ptr() as usize, sums.len()).ok_or(Error::Callback)
    }
}

fn boxed(group: Option<Others>) -> Box<dyn Group> {
    match group {
        Some(others) => Box::new(others),
        None => Box::new(Alone),
    }
}

impl<T: Real> RowField<T> for Callbacks {
    fn evaluate(&self, t: f64, y: ArrayView2<'_, T>, parameters: &[T], mut dy: ArrayViewMut2<'_, T>) -> Result<()> {
        let (y_at, dy_at) = (y.as_ptr() as usize, dy.as_mut_ptr() as usize);
        match self.evaluate(t, y_at, y.nrows(), parameters.as_ptr() as usize, dy_at) {
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
        let time = self.vjp(t, y_at, w_at, y.nrows(), parameters.as_ptr() as usize, dy_at, dparameters);
        if time.is_null() { Err(Error::Callback) } else { Ok(time.as_f64()) }
    }
}

/// A vector field with its parameters.
#[wasm_bindgen]
pub struct Field {
    field: Either<Model<f32>, Model<f64>>,
    layers: Array,
}

#[wasm_bindgen]
impl Field {
    pub fn mlp(dtype: &str, widths: Vec<u32>, activation: &str, time: &str, bias: bool, seed: f64) -> JsResult<Field> {
        let named = |argument, names: String, given: &str| {
            thrown(Error::Option { argument, expected: names, given: given.into() })
        };
        let activations = Activation::ALL.map(Activation::name).join(", ");
        let architecture = Architecture {
            widths: widths.into_iter().map(|width| width as usize).collect(),
            activation: Activation::named(activation).ok_or_else(|| named("activation", activations, activation))?,
            time: Time::named(time).ok_or_else(|| named("time", Time::ALL.map(Time::name).join(", "), time))?,
            bias,
        };
        architecture.check().map_err(thrown)?;
        let layers = architecture.entries().into_iter().map(|entries| {
            let layer = Object::new();
            for entry in entries {
                let place = Object::new();
                set(&place, "offset", entry.offset as f64);
                set(&place, "shape", entry.shape.iter().map(|&side| JsValue::from(side as f64)).collect::<Array>());
                set(&layer, entry.name, place);
            }
            JsValue::from(layer)
        });
        let layers = layers.collect();
        let other = architecture.clone();
        let field = per_type(
            dtype,
            || Mlp::new(architecture, seed as u64).map(Model::Mlp),
            || Mlp::new(other, seed as u64).map(Model::Mlp),
        );
        Ok(Field { field: field.map_err(thrown)?, layers })
    }

    pub fn custom(dtype: &str, state_size: usize, parameters: &JsValue, callbacks: Callbacks) -> JsResult<Field> {
        fn make<T: JsReal>(state_size: usize, parameters: &JsValue, callbacks: Callbacks) -> Result<Model<T>> {
            Custom::new(state_size, &read(parameters)?, callbacks).map(Model::Custom)
        }
        let again = callbacks.clone().unchecked_into();
        let field = per_type(dtype, || make(state_size, parameters, callbacks), || make(state_size, parameters, again));
        Ok(Field { field: field.map_err(thrown)?, layers: Array::new() })
    }

    /// `[{ weight: { offset, shape }, … }]`, empty for a custom field.
    #[wasm_bindgen(getter)]
    pub fn layers(&self) -> Array {
        self.layers.clone()
    }

    #[wasm_bindgen(getter, js_name = parametersPointer)]
    pub fn parameters_pointer(&self) -> usize {
        either!(&self.field, field => field.parameters().as_ptr() as usize)
    }

    #[wasm_bindgen(getter, js_name = parametersLength)]
    pub fn parameters_length(&self) -> usize {
        either!(&self.field, field => field.parameters().len())
    }

    /// f(t, y) at the given parameters, else the field's own.
    pub fn evaluate(&self, t: f64, y: &JsValue, batch: usize, parameters: &JsValue) -> JsResult<Numbers> {
        fn run<T: JsReal>(
            field: &Model<T>,
            t: f64,
            y: &JsValue,
            batch: usize,
            parameters: &JsValue,
        ) -> Result<Buffer<T>> {
            let given = Given::new(field, parameters)?;
            field::evaluate(&**field, given.parameters(field), t, rows(&read::<T>(y)?, batch)?)
        }
        try_either!(&self.field, field => run(field, t, y, batch, parameters)).map(Numbers)
    }

    /// The transpose of f at (t, y).
    pub fn vjp(&self, t: f64, y: &JsValue, w: &JsValue, batch: usize, parameters: &JsValue) -> JsResult<FieldPull> {
        fn run<T: JsReal>(
            field: &Model<T>,
            t: f64,
            [y, w]: [&JsValue; 2],
            batch: usize,
            parameters: &JsValue,
        ) -> Result<FieldVjp<T>> {
            let given = Given::new(field, parameters)?;
            let (y, w) = (read::<T>(y)?, read::<T>(w)?);
            field::vjp(&**field, given.parameters(field), t, rows(&y, batch)?, rows(&w, batch)?)
        }
        try_either!(&self.field, field => run(field, t, [y, w], batch, parameters)).map(FieldPull)
    }

    /// The solution at the times (a Float64Array), and the error if the solve failed on the way.
    /// `group` is with whom the steps of a batch are shared, if anybody.
    pub fn odeint(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        options: &SolveOptions,
        group: Option<Others>,
    ) -> JsResult<Solved> {
        fn run<T: JsReal>(
            field: &Model<T>,
            y0: &JsValue,
            batch: usize,
            times: &JsValue,
            options: &Options,
            group: Box<dyn Group>,
        ) -> Result<(Solution<T>, Option<Error>)> {
            odeint_shared(&**field, rows(&read(y0)?, batch)?, &read::<f64>(times)?, options, group)
        }
        let group = boxed(group);
        let mut failure = None;
        let solution = try_either!(&self.field, field => {
            run(field, y0, batch, times, &options.0, group).map(|(solution, error)| {
                failure = error;
                solution
            })
        })?;
        Ok(Solved { solution, error: failure })
    }

    /// A solve that retains what the gradient method needs; `budget` bounds the bytes of `auto`, `backward` are the options of the continuous adjoint.
    pub fn record(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        options: &SolveOptions,
        gradient: &str,
        budget: f64,
        backward: &SolveOptions,
        group: Option<Others>,
    ) -> JsResult<Recorded> {
        fn run<T: JsReal>(
            field: &Model<T>,
            y0: &JsValue,
            batch: usize,
            times: &JsValue,
            options: &Options,
            method: &Method,
            group: Box<dyn Group>,
        ) -> Result<Trajectory<T>> {
            vjp_shared(&**field, rows(&read(y0)?, batch)?, &read::<f64>(times)?, options, method, group)
        }
        let group = boxed(group);
        let method = match gradient {
            "auto" => Method::Auto { budget: budget as usize },
            "symplectic" => Method::Symplectic,
            "backprop" => Method::Backprop,
            "baseline" => Method::Baseline,
            "aca" => Method::Aca,
            "adjoint" => Method::Adjoint(Box::new(backward.0.clone())),
            _ => {
                let expected = "auto, symplectic, backprop, baseline, aca, adjoint".into();
                return Err(thrown(Error::Option { argument: "gradient", expected, given: gradient.into() }));
            }
        };
        try_either!(&self.field, field => run(field, y0, batch, times, &options.0, &method, group)).map(Recorded)
    }
}

/// Parameters given with a call, if any.
struct Given<T>(Option<Buffer<T>>);

impl<T: JsReal> Given<T> {
    fn new(field: &Model<T>, parameters: &JsValue) -> Result<Self> {
        if parameters.is_undefined() {
            return Ok(Self(None));
        }
        let given = T::length(parameters);
        if given != field.parameters().len() {
            return Err(Error::Shape {
                argument: "parameters",
                expected: field.parameters().len().to_string(),
                given: given.to_string(),
            });
        }
        Ok(Self(Some(read(parameters)?)))
    }

    fn parameters<'a>(&'a self, field: &'a Model<T>) -> &'a [T] {
        self.0.as_deref().unwrap_or(field.parameters())
    }
}
