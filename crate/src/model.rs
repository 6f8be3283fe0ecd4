//! Models that are programs: each file builds one. Their parameters are those of a network.

mod architecture;
pub mod cnf;
pub mod hamiltonian;
mod mlp;

pub use architecture::{Activation, Architecture, Entry, Time};
pub use mlp::Mlp;
