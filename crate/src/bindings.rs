//! What other languages call. Handles erase the number type; each binding is thin over them.

mod constants;
#[cfg(any(target_arch = "wasm32", feature = "node"))]
mod handles;
#[cfg(all(feature = "node", not(target_arch = "wasm32")))]
mod node;
mod options;
#[cfg(any(target_arch = "wasm32", feature = "node"))]
mod records;
#[cfg(target_arch = "wasm32")]
mod wasm;
