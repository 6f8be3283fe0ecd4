//! Ensembles: trajectories that each have their own steps, output times, jumps and events.
//!
//! Where trajectories are solved *together* ([`odeint`](crate::odeint)), all take the same steps. Here each takes its own. They lie side
//! by side in the lanes of a block, and every operation acts on each lane by itself, so that trajectory i is bitwise what a solve
//! of it alone gives, whatever its neighbours are. A trajectory that is done leaves its lane, and the rest are compacted.
//!
//! | file | |
//! |---|---|
//! | `lists` | lists of numbers, one for all trajectories or one for each |
//! | `changes` | jumps and events, which change a trajectory's state between steps |
//! | `solver_state` | the time of a trajectory, its next step, and the signs of its events |
//! | `block` | lanes side by side: states, slopes, one attempt for all |
//! | `forward`, `first_step`, `step_boundary` | the solve of a leaf: rounds of steps, the first steps, changes and outputs between steps |
//! | `event_location`, `event_samples`, `events` | the roots of events' functions in the steps of a block |
//! | `single` | a single trajectory: root finding, maps, pullbacks |
//! | `path` | the steps of a trajectory, and the solution between them |
//! | `record` | the record of a leaf's solve: states, steps, jumps and events |
//! | `backward`, `reverse_boundary` | the reverse pass over a leaf: its steps, and the boundaries between them |
//! | `problem` | a checked problem, and the functions that threads evaluate |
//! | `leaves`, `vjp` | the solve of all leaves, and its gradients |
//! | `continuous_adjoint`, `quadrature` | the continuous adjoint, and its integrals |
//! | `forward_mode`, `trajectory_record`, `replay` | derivatives along directions: recorded steps and events are replayed with tangents |
//! | `integrator`, `trajectory_state` | trajectories that are advanced call by call |
//! | `leaf_results`, `reduction` | the results of leaves, and their sums |
//!
//! # The gradient of parameters
//!
//! A *leaf* is a run of trajectories that are solved side by side; its length depends on the field and the number type alone. Its
//! trajectories go backward together from their last steps to their first, those with the most steps in front, and ∂L/∂θ of the leaf
//! is summed with compensation on the way. Leaves are added up in a binary tree. So the gradient does not depend on which thread works on which
//! leaf, nor on what is retained: threads take leaves as they come, and a part of a batch that begins at a leaf returns the sums
//! of the largest subtrees that it has.
//!
//! # Events
//!
//! An event is a root of a function g(t, x, θ) along the trajectory. The step in which g changes sign is taken again, with a size such that
//! it ends on the root. With Φ_h the step, h follows from g(t_n + h, Φ_h(x_n)) = 0. Going backward, let τ be the cotangent of the event's
//! time, w that of the state before the event changes it, d = ∂Φ/∂h. Then
//!
//! ```text
//! μ = −(τ + ⟨w, d⟩) / (g_t + ⟨g_x, d⟩)
//! ```
//!
//! and the step is transposed with w + μ g_x, while θ̄ += μ g_θ and t̄_n += τ + μ g_t. That is exact for the numbers computed.

mod backward;
mod block;
mod changes;
mod continuous_adjoint;
mod event_location;
mod event_samples;
mod events;
mod first_step;
mod forward;
mod forward_mode;
mod integrator;
mod leaf_results;
mod leaves;
mod lists;
mod path;
mod problem;
mod quadrature;
mod record;
mod reduction;
mod replay;
mod reverse_boundary;
mod single;
mod solver_state;
mod step_boundary;
mod trajectory_record;
mod trajectory_state;
mod vjp;

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::field::VectorField;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Bytes, Ledger, List};
use crate::solve::{GradientStats, Options, Stats};
pub use changes::{Changes, Direction, Event, Jump};
pub use events::Occurrence;
pub use forward_mode::{JvpVjp, jvp, vjp_of_jvp};
pub use integrator::Integrator;
use leaves::solve;
pub use lists::Lists;
pub use path::Path;
use problem::Problem;
pub use trajectory_state::Advance;
pub use vjp::{Vjp, vjp};

/// What a solve returns besides the states at the output times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Whether to return the times and states of all steps, as [`Solution::paths`]. By default not.
    pub steps: bool,
    /// Whether to return the solution between the steps too, as polynomials in [`Solution::paths`]. By default not.
    pub dense: bool,
    /// Whether the other trajectories continue if one fails: the failure is then in [`Solution::failures`], and what the trajectory did not
    /// reach is NaN. By default the solve ends with the error.
    pub mask: bool,
    /// If these trajectories are a part of a larger batch, the index of the first in that batch; for gradients, a multiple of
    /// [`VectorField::leaf`]. Errors then name trajectories by their index in the whole batch. A gradient returns `parameters`, and
    /// derivatives with respect to lists that all trajectories share, not as one sum but as one sum after another, one for each of the
    /// largest aligned subtrees of leaves. `None` by default.
    pub part: Option<usize>,
}

/// The solution of an ensemble.
#[derive(Debug)]
pub struct Solution<T> {
    /// The states at the output times: `[times, batch, state]` if all trajectories share their times; otherwise `[times, state]` of one
    /// trajectory after another. NaN at times that a failed trajectory did not reach.
    pub y: Buffer<T>,
    /// The steps and evaluations of each trajectory.
    pub stats: Vec<Stats>,
    /// How many of its output times each trajectory reached: all, unless it failed.
    pub reached: Vec<usize>,
    /// The index and the error of each trajectory that failed; empty without [`Extras::mask`].
    pub failures: Vec<(usize, Error)>,
    /// The events that occurred: those of one trajectory after another, each in the order in which they occurred.
    pub events: List<Occurrence>,
    /// The state at each event, before the event changes it: `[events, state]`. From [`jvp`], each row is the state, its derivatives along
    /// the directions, and last the derivatives of the event's time, one for each direction.
    pub event_states: List<T>,
    /// The steps of each trajectory; empty unless [`Extras::steps`] or [`Extras::dense`] is set.
    pub paths: Vec<Path<T>>,
    /// Peak memory of the solve, in bytes by purpose.
    pub peak: Bytes,
}

/// The derivatives of a loss L with respect to all outputs of a solve, from which [`Vjp::pullback`] computes a gradient.
#[derive(Debug, Clone, Copy)]
pub struct Cotangents<'a, T> {
    /// ∂L/∂y, laid out as [`Solution::y`].
    pub y: &'a [T],
    /// ∂L/∂t of each event, in the order of [`Solution::events`]; empty if the loss does not depend on the times of events.
    pub event_times: &'a [f64],
    /// ∂L/∂x of the state at each event, `[events, state]`, in the order of [`Solution::events`]; empty if the loss does not depend on
    /// these states.
    pub event_states: &'a [T],
}

/// The gradient of a loss with respect to all that an ensemble starts from.
#[derive(Debug)]
pub struct Gradient<T> {
    /// ∂L/∂y0, `[batch, state]`, row-major.
    pub y0: Buffer<T>,
    /// ∂L/∂θ, flat, in the order of the field's parameters. For a [part](Extras::part) of a batch, several sums one after another.
    pub parameters: Buffer<T>,
    /// ∂L/∂arguments, `[batch, arguments]`, row-major; empty if the field has no arguments.
    pub arguments: Buffer<T>,
    /// ∂L/∂t of the output times, in the order of the lists of times. `None` if [`Options::time_gradients`] is off, or a custom field does not
    /// return its derivative with respect to time.
    pub times: Option<Vec<f64>>,
    /// For each jump, ∂L/∂t of its times, in the order of [`Jump::times`]; NaN if a custom field does not return its derivative with
    /// respect to time.
    pub jump_times: Vec<Vec<f64>>,
    /// For each jump, ∂L/∂a of its amounts, in the order of [`Jump::amounts`].
    pub amounts: Vec<Vec<f64>>,
    /// The evaluations, vector–Jacobian products and peak memory of this gradient.
    pub stats: GradientStats,
}

/// Solves dy/dt = f(t, y) from `y0` `[batch, state]`, each trajectory with its own steps, at the given output times.
///
/// Options, jumps, events and extras apply to each trajectory by itself, so trajectory i is bitwise what a solve of it alone gives.
///
/// ```
/// # use symplectic_adjoint::ensemble::{self, Changes, Direction, Event, Extras, Lists};
/// # use symplectic_adjoint::field::program::ProgramField;
/// # use symplectic_adjoint::ndarray::array;
/// # use symplectic_adjoint::program::{Builder, concat};
/// # use symplectic_adjoint::{Method, Options};
/// # fn main() -> symplectic_adjoint::Result<()> {
/// // Balls that fall and bounce: height' = velocity, velocity' = −9.81.
/// let mut model = Builder::new(2);
/// let velocity = model.state(1..2);
/// let slope = concat(&[velocity, model.constant(-9.81)]);
/// let field = ProgramField::<f64>::new(model.finish(&slope)?, &[])?;
/// // Where the height is zero, the velocity is turned round.
/// let model = Builder::new(2);
/// let height = model.state(0..1);
/// let when = model.finish(&height)?;
/// let model = Builder::new(2);
/// let after = concat(&[model.state(0..1), model.state(1..2) * -0.8]);
/// let set = Some(model.finish(&after)?);
/// let bounce = Event { when, direction: Direction::Falling, terminal: None, set };
/// let changes = Changes { events: vec![bounce], ..Changes::default() };
///
/// let options = Options::new(Method::named("dopri5").expect("a known method"));
/// let extras = Extras { dense: true, ..Extras::default() };
/// let starts = array![[1.0, 0.0], [2.0, 0.0]];
/// let solution = ensemble::odeint(&field, starts.view(), &Lists::shared(&[0.0, 1.0]), &options, &changes, extras)?;
/// let first = &solution.events[0];
/// assert!((first.t - f64::sqrt(2.0 / 9.81)).abs() < 1e-12);
/// let height = solution.paths[0].at(0.2).expect("a time on the way")[0];
/// assert!((height - (1.0 - 9.81 * 0.02)).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Shape`, `Option` and `NonFiniteInput` for invalid input, jumps and events, before any work starts. If trajectories fail on the way
/// (`NonFinite`, `StepUnderflow`, `MaxSteps`, `MaxEvents` …), the error of the first by index, unless `extras.mask` is set.
/// `OutOfMemory`.
pub fn odeint<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &Lists,
    options: &Options,
    changes: &Changes,
    extras: Extras,
) -> Result<Solution<T>> {
    let (problem, mut evaluators) = Problem::new(&Ledger::new(), field, y0, times, options, changes, extras, false)?;
    Ok(solve(&problem, &mut evaluators, None)?.0)
}
