//! Memory on both sides: typed arrays of JavaScript's, and pointers to results, which travel as numbers.

use std::rc::Rc;
use std::{mem, ptr, thread};

use napi::bindgen_prelude::{ArrayBuffer, JsValue, Result, Unknown};
use napi::{Env, Error, Status, ValueType, sys};
use napi_derive::napi;

use crate::bindings::handles::{Numbers, Source};

/// A typed array. It is looked up at each use, since what a custom field does may take its memory away.
pub struct JsSource<'a>(pub &'a Unknown<'a>);

/// Where a typed array lies, and how many elements of which kind it has.
struct RawArray {
    data: *mut u8,
    len: usize,
    kind: sys::napi_typedarray_type,
}

impl RawArray {
    fn of(array: &Unknown<'_>) -> Self {
        let array = array.value();
        let (mut data, mut len, mut kind) = (ptr::null_mut(), 0, -1);
        // SAFETY: the value is of this scope; what is not asked for may be null.
        let status = unsafe {
            let (nothing, nowhere) = (ptr::null_mut(), ptr::null_mut());
            sys::napi_get_typedarray_info(array.env, array.value, &mut kind, &mut len, &mut data, nothing, nowhere)
        };
        assert!(status == sys::Status::napi_ok, "expected a typed array");
        Self { data: data.cast(), len, kind }
    }

    fn bytes(&self) -> usize {
        self.len
            * match self.kind {
                sys::TypedarrayType::uint8_array => 1,
                sys::TypedarrayType::float32_array => 4,
                sys::TypedarrayType::float64_array => 8,
                kind => panic!("a typed array of kind {kind}"),
            }
    }

    fn copy<T: Copy>(&self, kind: sys::napi_typedarray_type, start: usize, to: &mut [T]) {
        assert!(self.kind == kind && start + to.len() <= self.len, "a typed array has changed during a call");
        if !to.is_empty() {
            // SAFETY: the array has as many elements of this type from there on, and JavaScript does not run meanwhile.
            unsafe { ptr::copy_nonoverlapping(self.data.cast::<T>().add(start), to.as_mut_ptr(), to.len()) }
        }
    }
}

impl Source for JsSource<'_> {
    fn len(&self) -> usize {
        RawArray::of(self.0).len
    }

    fn copy_f32(&self, start: usize, to: &mut [f32]) {
        RawArray::of(self.0).copy(sys::TypedarrayType::float32_array, start, to);
    }

    fn copy_f64(&self, start: usize, to: &mut [f64]) {
        RawArray::of(self.0).copy(sys::TypedarrayType::float64_array, start, to);
    }
}

impl JsSource<'_> {
    /// Copies the bytes of a Uint8Array.
    pub fn copy_bytes(&self, to: &mut [u8]) {
        RawArray::of(self.0).copy(sys::TypedarrayType::uint8_array, 0, to);
    }
}

/// An array that may be left out.
pub fn optional<'a>(source: &'a JsSource<'a>) -> Option<&'a dyn Source> {
    let given = source.0.get_type().is_ok_and(|kind| kind != ValueType::Undefined);
    given.then_some(source as &dyn Source)
}

/// A pointer on its way through JavaScript.
pub fn address(numbers: &Numbers<'_>) -> f64 {
    numbers.pointer() as f64
}

/// Fills a typed array from where a result lies, which is to hold as many numbers.
#[napi(catch_unwind)]
pub fn read(pointer: f64, target: Unknown<'_>) {
    let place = RawArray::of(&target);
    if place.len > 0 {
        // SAFETY: the facade asks for what lies there, and has not freed it.
        unsafe { ptr::copy_nonoverlapping(pointer as usize as *const u8, place.data, place.bytes()) }
    }
}

/// Fills a Float64Array.
///
/// # Panics
/// If it has another length.
pub fn fill(target: &Unknown<'_>, numbers: &[f64]) {
    let place = RawArray::of(target);
    assert!(place.kind == sys::TypedarrayType::float64_array && place.len == numbers.len(), "as many numbers");
    // SAFETY: it has as many elements of this type, and JavaScript does not run meanwhile.
    unsafe { ptr::copy_nonoverlapping(numbers.as_ptr(), place.data.cast(), numbers.len()) }
}

/// Copies a typed array to where as many numbers are expected.
#[napi(catch_unwind)]
pub fn write(pointer: f64, numbers: Unknown<'_>) {
    let place = RawArray::of(&numbers);
    if place.len > 0 {
        // SAFETY: as above; the array may be a view of the same numbers.
        unsafe { ptr::copy(place.data, pointer as usize as *mut u8, place.bytes()) }
    }
}

/// A live view of numbers, which `owner` keeps where they are for as long as JavaScript has the view.
pub fn view<T: 'static>(env: Env, numbers: &Numbers<'_>, owner: T) -> Result<ArrayBuffer<'static>> {
    let data = numbers.pointer() as *mut u8;
    let bytes = match numbers {
        Numbers::Single(numbers) => size_of_val(*numbers),
        Numbers::Double(numbers) => size_of_val(*numbers),
    };
    let here = thread::current().id();
    let release = move |_, owner| {
        // Owners are of this thread; a runtime that finalizes in another one leaks them.
        if thread::current().id() == here { drop(owner) } else { mem::forget(owner) }
    };
    // SAFETY: the owner lives until the view is finalized; JavaScript and calls from it take turns.
    let view = unsafe { ArrayBuffer::from_external(&env, data, bytes, owner, release) }?;
    // A copy, where the runtime has no views of memory that is not its own.
    if view.as_ptr() != data.cast_const() {
        return Err(Error::new(Status::GenericFailure, NO_VIEWS));
    }
    Ok(view)
}

const NO_VIEWS: &str = "this runtime has no views of an addon's memory";

/// Throws where the runtime has no views of an addon's memory, which parameters are.
#[napi(catch_unwind)]
pub fn ensure_views(env: Env) -> Result<()> {
    let numbers: Rc<[f64]> = Rc::new([0.0]);
    view(env, &Numbers::Double(&numbers), Rc::clone(&numbers)).map(|_| ())
}

/// Runs in a new handle scope, so that the values of many calls from one solve do not add up. No value of the scope may
/// be in the result.
pub fn in_scope<R: 'static>(env: Env, body: impl FnOnce() -> Result<R>) -> Result<R> {
    let (env, mut scope) = (env.raw(), ptr::null_mut());
    // SAFETY: opened and closed in pairs, whatever the body gives.
    unsafe { sys::napi_open_handle_scope(env, &mut scope) };
    let result = body();
    // SAFETY: as above.
    unsafe { sys::napi_close_handle_scope(env, scope) };
    result
}
