//! Exact, memory-light gradients of differential equations, by the symplectic adjoint method (Matsubara, Miyatake
//! and Yaguchi, NeurIPS 2021, arXiv:2102.09750; IEEE TNNLS 35(8), 2024). Write the model; you never write a derivative.
//!
//! # The method in a page
//!
//! A model dx/dt = f(x, t, θ), such as a neural ODE, is solved by an explicit Runge–Kutta method,
//!
//! ```text
//! X_i = x_n + h Σ_{j<i} a_ij k_j,     k_i = f(X_i, t_n + c_i h),     x_{n+1} = x_n + h Σ b_i k_i,
//! ```
//!
//! which evaluates f N·s times. Backpropagation keeps the intermediate values of all those evaluations (their *tapes*). But the
//! transpose of a step needs little: from λ_{n+1} = ∂L/∂x_{n+1}, for i = s … 1,
//!
//! ```text
//! ℓ_i = h (b_i λ_{n+1} + Σ_{j>i} a_ji g_j)                  the cotangent of the slope k_i
//! g_i = (∂f/∂x)(X_i)ᵀ ℓ_i,    ∂L/∂θ += (∂f/∂θ)(X_i)ᵀ ℓ_i    one vector–Jacobian product: one use of f
//! λ_n = λ_{n+1} + Σ g_i
//! ```
//!
//! This is a step of the adjoint system by the method's *symplectic partner*. It conserves λᵀδ for every variation δ of the
//! solution, and so its gradient is that of backpropagation, up to rounding. The method keeps the states x_n going
//! forward, and going backward the stage states of one step and what one use needs: memory in proportion to the number of
//! uses *plus* the size of f, not times.
//!
//! How much else to keep is a dial that changes no bit of the gradient ([`GradientMethod`]): all tapes (backpropagation), the tapes of
//! one step (ACA), only x_0 and then all tapes (baseline); or, by default, whatever is fastest within a budget of bytes, down to
//! a few checkpoints from which steps are taken again. The continuous adjoint, which integrates λ backward as an equation of its
//! own, is there for comparison.
//!
//! # Where it is
//!
//! | module | |
//! |---|---|
//! | `bindings` | what other languages call: handles with the number type erased, and on top of them WebAssembly and an addon for Node |
//! | [`sensitivity`] | derivatives in forward mode, along with the solution; second derivatives |
//! | [`ensemble`] | trajectories that each take their own steps, jumps and events |
//! | [`gradient`] | the one reverse sweep; what is kept for it: store, record, budget, checkpoints |
//! | `adjoint` | the continuous adjoint |
//! | [`solve`] | the one forward loop, fixed and adaptive |
//! | `stepper` | one step forward and its transpose: the equations above, outputs between steps included |
//! | `control` | error norm, first step, accept or reject |
//! | [`optimizer`] | Adam and gradient descent |
//! | [`tensors`] | files of named arrays |
//! | [`model`] | programs that the crate builds: networks, [flows](model::cnf), [systems with an energy](model::hamiltonian) |
//! | [`field`] | vector fields: [programs](field::program) and [callbacks](field::custom) |
//! | [`program`] | a field as a graph of operations: differentiated, planned for a batch, run in blocks |
//! | `layout` | how the numbers of a state lie in memory |
//! | `kernel` | registers, matrix products, elementary functions, the instructions of programs: all SIMD, and all `unsafe` code except that of memory, threads and the addon |
//! | [`memory`] | the ledger of bytes by purpose; whole cache lines, used again; a reserve for small allocations |
//! | [`progress`] | reports how far a solve has come |
//! | `threads` | independent items on several cores |
//! | [`tableau`] | Runge–Kutta methods as data that the compiler checks, with their continuous extensions |
//! | [`error`] | what can go wrong |
//!
//! Imports point down this list, which a test enforces. Notation is the literature's: a, b, c, h, t, x, k, λ.
//!
//! The TypeScript package has more, built on this crate: training loops with schedules and minibatches, losses, L-BFGS, estimation by
//! least squares, model files, equations as text, layers, the objective and sampling of flows, pools, clusters and sweeps, and the
//! command line.
//!
//! # Examples
//!
//! A model of your own, built with operators and differentiated by the crate:
//!
//! ```
//! use symplectic_adjoint::field::program::ProgramField;
//! use symplectic_adjoint::ndarray::{Array3, array};
//! use symplectic_adjoint::program::{Builder, concat};
//! use symplectic_adjoint::{GradientMethod, Method, Options, vjp};
//!
//! # fn main() -> symplectic_adjoint::Result<()> {
//! // hare' = hare (birth − hunt lynx), lynx' = lynx (feed hare − death)
//! let mut model = Builder::new(2);
//! let [hare, lynx] = [model.state(0..1), model.state(1..2)];
//! let [birth, hunt, feed, death] = [(); 4].map(|()| model.parameter(1));
//! let slope = concat(&[&hare * (birth - hunt * &lynx), &lynx * (feed * &hare - death)]);
//! let field = ProgramField::new(model.finish(&slope)?, &[0.5, 0.25, 0.25, 0.8])?;
//!
//! // One trajectory, from t = 0 to 10, by Dormand and Prince's method.
//! let options = Options::new("dopri5".parse::<Method>()?);
//! let mut trajectory = vjp(&field, array![[3.0, 0.4]].view(), &[0.0, 10.0], &options, &GradientMethod::Symplectic)?;
//!
//! // L = the hares at the end.
//! let mut cotangent = Array3::zeros((2, 1, 2));
//! cotangent[[1, 0, 0]] = 1.0;
//! let gradient = trajectory.pullback(cotangent.view())?;
//!
//! println!("∂L/∂θ = {:?}, {} bytes at the peak", gradient.parameters(), gradient.stats.peak.total());
//! # assert_eq!(gradient.parameters().len(), 4);
//! # Ok(())
//! # }
//! ```
//!
//! A neural ODE:
//!
//! ```
//! use symplectic_adjoint::ndarray::array;
//! use symplectic_adjoint::{Activation, Architecture, GradientMethod, Method, Mlp, Options, Time, vjp};
//!
//! # fn main() -> symplectic_adjoint::Result<()> {
//! let architecture =
//!     Architecture { widths: vec![2, 32, 2], activation: Activation::Tanh, time: Time::None, bias: true };
//! let field = Mlp::<f32>::new(architecture, 0)?;
//!
//! // Two trajectories.
//! let y0 = array![[1.0, 0.0], [0.0, 1.0]];
//! let options = Options::new("dopri5".parse::<Method>()?);
//! let mut trajectory = vjp(&field, y0.view(), &[0.0, 1.0], &options, &GradientMethod::default())?;
//!
//! // L = Σ y² / 2 over both times, so ∂L/∂y = y.
//! let y = trajectory.solution.y().to_owned();
//! let gradient = trajectory.pullback(y.view())?;
//! assert_eq!(gradient.y0().shape(), [2, 2]);
//! assert_eq!(gradient.parameters().len(), field.parameters().len());
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod adjoint;
#[cfg(any(target_arch = "wasm32", feature = "node", test))]
mod bindings;
mod control;
pub mod ensemble;
pub mod error;
pub mod field;
pub mod gradient;
mod kernel;
mod layout;
pub mod memory;
pub mod model;
pub mod optimizer;
pub mod program;
pub mod progress;
pub mod sensitivity;
pub mod solve;
mod stepper;
pub mod tableau;
pub mod tensors;
mod threads;

/// The arrays of the public API.
pub use ndarray;

pub use control::{Controller, Tolerances};
pub use error::{Error, Result};
pub use field::VectorField;
pub use gradient::{Gradient, GradientMethod, Vjp, vjp};
pub use kernel::probe::kernel_peak;
pub use kernel::real::Real;
pub use kernel::simd::dispatch::bits as register_bits;
pub use model::{Activation, Architecture, Mlp, Time};
pub use sensitivity::{jvp, sensitivities};
pub use solve::{Options, Output, Solution, Stats, Steps, Summation, odeint, odeint_partial};
pub use stepper::Method;
pub use tableau::Tableau;
