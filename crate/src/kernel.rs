//! The innermost loops: numbers, registers, matrix products, elementary functions, and the instructions of programs. The only SIMD, and but for the memory of buffers the only `unsafe`.

pub(crate) mod combine;
pub(crate) mod functions;
pub(crate) mod instructions;
pub(crate) mod lanes;
pub(crate) mod math;
pub(crate) mod panels;
pub mod probe;
pub(crate) mod product;
pub mod real;
pub(crate) mod simd;
