//! What other languages call. Handles erase the number type; each binding is thin over them.

mod constants;
#[cfg(target_arch = "wasm32")]
mod handles;
mod options;
#[cfg(target_arch = "wasm32")]
mod wasm;
