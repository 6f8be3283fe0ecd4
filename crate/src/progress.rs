//! How far a solve has come, for a progress bar or to stop it.

use std::cell::{Cell, RefCell};

use crate::error::Result;

/// A function that a solve calls with its progress, the fraction of its time interval that it has solved, from 0 to 1. If the function
/// returns an error, the solve ends with that error.
pub type Watcher = Box<dyn FnMut(f64) -> Result<()>>;

/// Steps, or rounds of steps, between two calls.
const REPORT_INTERVAL: usize = 16;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    /// How often it was set.
    static TIMES_SET: Cell<usize> = const { Cell::new(0) };
}

/// Sets the watcher that solves and integrators on this thread call every few steps; `None` removes it. Returns the one that was set
/// before.
pub fn watch(watcher: Option<Watcher>) -> Option<Watcher> {
    TIMES_SET.set(TIMES_SET.get().wrapping_add(1));
    WATCHER.replace(watcher)
}

/// A watcher that is being called. Dropping this puts it back, unless the call has set or removed a watcher.
struct ActiveWatcher {
    watcher: Option<Watcher>,
    times_set: usize,
}

impl Drop for ActiveWatcher {
    fn drop(&mut self) {
        if TIMES_SET.get() == self.times_set {
            WATCHER.set(self.watcher.take());
        }
    }
}

/// Calls the watcher, if it is due at the `step`-th step.
pub(crate) fn report(step: usize, fraction: impl FnOnce() -> f64) -> Result<()> {
    if !step.is_multiple_of(REPORT_INTERVAL) {
        return Ok(());
    }
    // Taken out, so that it may itself watch solves.
    let mut active = ActiveWatcher { watcher: WATCHER.take(), times_set: TIMES_SET.get() };
    match &mut active.watcher {
        Some(watcher) => watcher(fraction()),
        None => Ok(()),
    }
}

/// How far t is on the way.
pub(crate) fn fraction(t: f64, from: f64, to: f64) -> f64 {
    if from == to { 1.0 } else { (t - from) / (to - from) }
}
