//! Who is told how far a solve has come.

use std::cell::RefCell;

use crate::error::Result;

/// Told the part of a solve's times that lies behind it, from 0 to 1; an error of its own ends the solve.
pub type Watcher = Box<dyn FnMut(f64) -> Result<()>>;

/// So many steps, or rounds of steps, pass between two calls.
const EVERY: usize = 16;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// Has solves of this thread tell `watcher` how far they have come, now and then; whoever was told before is given back.
pub fn watch(watcher: Option<Watcher>) -> Option<Watcher> {
    WATCHER.replace(watcher)
}

/// Tells it, if the `step`-th step is one of those after which somebody is told.
pub(crate) fn report(step: usize, fraction: impl FnOnce() -> f64) -> Result<()> {
    if !step.is_multiple_of(EVERY) {
        return Ok(());
    }
    // Taken out, so that it may itself watch solves.
    let Some(mut watcher) = WATCHER.take() else { return Ok(()) };
    let told = watcher(fraction());
    WATCHER.set(Some(watcher));
    told
}

/// How far t is on the way.
pub(crate) fn fraction(t: f64, from: f64, to: f64) -> f64 {
    if from == to { 1.0 } else { (t - from) / (to - from) }
}
