//! The leapfrog method, that of Störmer and Verlet: kick, drift, kick.
//!
//! The first half of a state's features are positions q, the second velocities (or momenta) v. For q′ = f(v, t) and v′ = g(q, t),
//!
//! ```text
//! v_{n+1/2} = v_n + h/2 g(q_n, t_n)      q_{n+1} = q_n + h f(v_{n+1/2}, t_n + h/2)      v_{n+1} = v_{n+1/2} + h/2 g(q_{n+1}, t_{n+1})
//! ```
//!
//! which is a partitioned Runge–Kutta method: the halves have different tableaus, with common times. Hence the transpose is that
//! of a Runge–Kutta method with the tableau of each half in its place. It is symplectic, symmetric and of second order where f does not
//! depend on q nor g on v (Hairer, Lubich and Wanner, Geometric Numerical Integration, I.1.4 and II.2.1), and of first order otherwise.

use super::Weights;

/// The method's name in the public API.
pub(super) const NAME: &str = "leapfrog";

pub(super) const STAGES: usize = 3;
/// The times of the stages.
pub(super) const C: [f64; STAGES] = [0.0, 0.5, 1.0];

/// The weights of positions and velocities, for a state of `features` features.
pub(super) fn parts(features: usize) -> [Weights; 2] {
    let middle = features / 2;
    [
        Weights { rows: 0..middle, a: &[&[], &[0.0], &[0.0, 1.0]], b: &[0.0, 1.0, 0.0] },
        Weights { rows: middle..features, a: &[&[], &[0.5], &[0.5, 0.0]], b: &[0.5, 0.0, 0.5] },
    ]
}
