//! The tests of the crate's public interface, a module for each subject: one program, which is compiled and linked once.
//! `cargo test --test main order::` runs those of one module.

mod ensembles;
mod golden;
mod gradients;
mod hostile_programs;
mod inner_gradients;
mod models;
mod modules;
mod numbers;
mod order;
mod precision;
mod program_cases;
mod programs;
mod random;
mod random_programs;
mod refusals;
mod sensitivities;
mod threads;
