//! What Rust calls of JavaScript's: custom vector fields, and the sums of parts of a batch.

use std::cell::{Cell, RefCell};

use napi::bindgen_prelude::{Either3, FnArgs, Function, FunctionRef, JsObjectValue, Null, Object, Undefined};
use napi::{Env, Result};
use ndarray::{ArrayView2, ArrayViewMut2};
use send_wrapper::SendWrapper;

use super::memory::in_scope;
use crate::control::{AllReduce, NoReduction};
use crate::error;
use crate::error::Error;
use crate::field::custom::RowField;
use crate::kernel::real::Real;
use crate::progress::{self, Watcher};

thread_local! {
    /// What JavaScript has thrown past the facade, on its way through the solver.
    static THROWN: RefCell<Option<napi::Error>> = const { RefCell::new(None) };
}

/// What JavaScript has thrown past the facade, which guards its callbacks: that the stack is used up, say.
pub fn take_thrown() -> Option<napi::Error> {
    THROWN.take()
}

fn keep_thrown(error: napi::Error) -> Error {
    THROWN.set(Some(error));
    Error::Callback
}

/// t, y, batch, parameters, dy, the first trajectory.
type Evaluate = FnArgs<(f64, f64, u32, f64, f64, u32)>;
/// t, y, w, batch, parameters, dy, dparameters, the first trajectory.
type Vjp = FnArgs<(f64, f64, f64, u32, f64, f64, f64, u32)>;
/// The cotangent of t, undefined where it is not known, null if the user's function failed.
type Time = Either3<f64, Null, Undefined>;

/// A vector field in JavaScript; y, w, dy, dparameters and parameters are pointers to row-major arrays.
pub struct Callbacks {
    env: Env,
    evaluate: FunctionRef<Evaluate, bool>,
    vjp: FunctionRef<Vjp, Time>,
    /// The trajectory of the first row.
    first: Cell<u32>,
}

impl Callbacks {
    pub fn new(env: Env, object: &Object<'_>) -> Result<Self> {
        let evaluate: Function<'_, Evaluate, bool> = object.get_named_property("evaluate")?;
        let vjp: Function<'_, Vjp, Time> = object.get_named_property("vjp")?;
        Ok(Self { env, evaluate: evaluate.create_ref()?, vjp: vjp.create_ref()?, first: Cell::new(0) })
    }
}

/// It belongs to the thread that made it, and is never moved to another.
pub type JsField = SendWrapper<Callbacks>;

fn address<T>(pointer: *const T) -> f64 {
    pointer as usize as f64
}

impl<T: Real> RowField<T> for JsField {
    fn first_trajectory(&self, trajectory: usize) {
        self.first.set(trajectory as u32);
    }

    fn evaluate(
        &self,
        t: f64,
        y: ArrayView2<'_, T>,
        parameters: &[T],
        mut dy: ArrayViewMut2<'_, T>,
    ) -> error::Result<()> {
        let (y_at, dy_at) = (address(y.as_ptr()), address(dy.as_mut_ptr()));
        let args = (t, y_at, y.nrows() as u32, address(parameters.as_ptr()), dy_at, self.first.get());
        let done = in_scope(self.env, || self.evaluate.borrow_back(&self.env)?.call(args.into()));
        if done.map_err(keep_thrown)? { Ok(()) } else { Err(Error::Callback) }
    }

    fn vjp(
        &self,
        t: f64,
        y: ArrayView2<'_, T>,
        w: ArrayView2<'_, T>,
        parameters: &[T],
        mut dy: ArrayViewMut2<'_, T>,
        dparameters: &mut [T],
    ) -> error::Result<Option<f64>> {
        let (y_at, w_at, dy_at) = (address(y.as_ptr()), address(w.as_ptr()), address(dy.as_mut_ptr()));
        let (parameters, dparameters) = (address(parameters.as_ptr()), address(dparameters.as_mut_ptr()));
        let args = (t, y_at, w_at, y.nrows() as u32, parameters, dy_at, dparameters, self.first.get());
        let time = in_scope(self.env, || self.vjp.borrow_back(&self.env)?.call(args.into()));
        match time.map_err(keep_thrown)? {
            Either3::A(time) => Ok(Some(time)),
            Either3::B(Null) => Err(Error::Callback),
            Either3::C(()) => Ok(None),
        }
    }
}

/// Sets the function that solves call with their progress, from 0 to 1; undefined removes it. A solve ends if it returns false.
pub fn watch(env: Env, callback: Option<Function<'_, f64, bool>>) -> Result<()> {
    let callback = callback.map(|callback| callback.create_ref()).transpose()?;
    progress::watch(callback.map(|callback| {
        Box::new(move |fraction: f64| {
            let goes_on = in_scope(env, || callback.borrow_back(&env)?.call(fraction));
            if goes_on.map_err(keep_thrown)? { Ok(()) } else { Err(Error::Callback) }
        }) as Watcher
    }));
    Ok(())
}

/// The sums that the parts of a batch form together, in JavaScript.
struct JsAllReduce {
    env: Env,
    samples: usize,
    /// The sum over all panels, of which this many are at the pointer; undefined if another part has failed.
    sum: FunctionRef<FnArgs<(f64, u32)>, Option<f64>>,
}

impl AllReduce for SendWrapper<JsAllReduce> {
    fn samples(&self, _own: usize) -> usize {
        self.samples
    }

    fn sum(&mut self, sums: &[f64]) -> error::Result<f64> {
        let args = (address(sums.as_ptr()), sums.len() as u32);
        let sum = in_scope(self.env, || self.sum.borrow_back(&self.env)?.call(args.into()));
        sum.map_err(keep_thrown)?.ok_or(Error::Callback)
    }
}

/// The sums over the parts of a batch that share steps, if there are several.
pub fn shared(env: Env, all_reduce: Option<Object<'_>>) -> Result<Box<dyn AllReduce>> {
    let Some(all_reduce) = all_reduce else { return Ok(Box::new(NoReduction)) };
    let sum: Function<'_, FnArgs<(f64, u32)>, Option<f64>> = all_reduce.get_named_property("sum")?;
    let samples: u32 = all_reduce.get_named_property("samples")?;
    let sum = sum.bind(all_reduce)?.create_ref()?;
    Ok(Box::new(SendWrapper::new(JsAllReduce { env, samples: samples as usize, sum })))
}
