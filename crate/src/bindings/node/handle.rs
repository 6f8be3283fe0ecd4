//! Handles: values that JavaScript holds until it frees them, or their object is collected.

use std::cell::RefCell;
use std::rc::Rc;

use napi::{Error, Result};

/// A value behind a JavaScript object. Calls share it, so that freeing it in the middle of a call is safe.
pub struct Handle<T>(RefCell<Option<Rc<RefCell<T>>>>);

impl<T> Handle<T> {
    pub fn new(value: T) -> Self {
        Self(RefCell::new(Some(Rc::new(RefCell::new(value)))))
    }

    /// The value, shared.
    pub fn share(&self) -> Result<Rc<RefCell<T>>> {
        self.0.borrow().clone().ok_or_else(|| Error::from_reason("it has been freed"))
    }

    /// Runs with the value.
    pub fn read<R>(&self, body: impl FnOnce(&T) -> R) -> Result<R> {
        Ok(body(&*self.share()?.try_borrow().map_err(in_use)?))
    }

    /// Runs with the value, to change it.
    pub fn change<R>(&self, body: impl FnOnce(&mut T) -> R) -> Result<R> {
        Ok(body(&mut *self.share()?.try_borrow_mut().map_err(in_use)?))
    }

    pub fn free(&self) {
        self.0.take();
    }
}

fn in_use(error: impl std::error::Error) -> Error {
    Error::from_reason(format!("it is in use by a call under way: {error}"))
}
