//! The innermost loops: numbers, registers, matrix products, elementary functions, and the instructions of programs. All SIMD is
//! here, and all `unsafe` code except that of memory, threads and the addon.

pub(crate) mod combine;
pub(crate) mod elementary;
pub(crate) mod functions;
pub(crate) mod instructions;
pub(crate) mod lanes;
pub(crate) mod math;
pub(crate) mod panels;
pub(crate) mod prefetch;
pub mod probe;
pub(crate) mod product;
pub mod real;
pub(crate) mod simd;
