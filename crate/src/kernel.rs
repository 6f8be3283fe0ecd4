//! The innermost loops: numbers, panels, matrix products on panels, activations. The only SIMD and the only `unsafe`.

pub(crate) mod activation;
pub(crate) mod combine;
pub(crate) mod instructions;
pub(crate) mod math;
pub(crate) mod panels;
pub mod probe;
pub(crate) mod product;
pub mod real;
pub(crate) mod simd;
