//! todo
mod adjoint;
pub mod control;
pub mod error;
pub mod field;
pub mod gradient;
mod kernel;
pub mod memory;
pub mod network;
pub mod optimizer;
pub mod solve;
mod step;
pub mod tableau;
pub mod tensors;
#[cfg(target_arch = "wasm32")]
mod wasm;
pub use error::{Error, Result};
pub use gradient::{Gradient, Method, Trajectory, vjp};
pub use kernel::real::Real;
pub use kernel::vector::Summation;
pub use network::{Activation, Architecture, Mlp, Time};
pub use solve::{Options, Output, Solution, Steps, odeint, odeint_partial};
pub use tableau::Tableau;
