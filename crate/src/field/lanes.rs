//! Vector fields of trajectories at different times, side by side in the lanes of a block.

use super::{Dynamics, FieldOptions, Pullback, VectorField};
use crate::error::Result;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::program::execute::SharedPacks;

/// The arguments and data of trajectories, a row for each.
pub struct TrajectoryInputs<T> {
    /// How many trajectories there are.
    pub batch: usize,
    /// `[batch, arguments]`.
    pub arguments: Buffer<T>,
    /// `[batch, data]`: numbers that are held constant in every derivative.
    pub data: Buffer<T>,
}

impl<T: Real> TrajectoryInputs<T> {
    /// Arguments and data of a trajectory.
    pub fn of(&self, trajectory: usize) -> (&[T], &[T]) {
        let row = |all: &'_ [T]| {
            let len = all.len() / self.batch;
            trajectory * len..(trajectory + 1) * len
        };
        (&self.arguments[row(&self.arguments)], &self.data[row(&self.data)])
    }

    /// Nothing.
    ///
    /// # Errors
    /// None: no memory is asked for.
    pub fn none(batch: usize, ledger: &Ledger) -> Result<Self> {
        let empty = || Buffer::zeroed(ledger, Purpose::Workspace, 0);
        Ok(Self { batch, arguments: empty()?, data: empty()? })
    }
}

/// What the lanes of a solve share, on all threads and for all widths.
pub struct LaneSetup<'a, T> {
    pub parameters: &'a [T],
    /// Matrices of these parameters, packed once.
    pub packs: SharedPacks<T>,
    pub ledger: &'a Ledger,
}

impl<'a, T: Real> LaneSetup<'a, T> {
    /// The setup of lanes with these parameters.
    pub fn new(parameters: &'a [T], ledger: &'a Ledger) -> Self {
        Self { parameters, packs: SharedPacks::default(), ledger }
    }
}

/// A vector field ready for trajectories that each have a time. Arrays are `[rows][width]`, a lane for each trajectory; the state x
/// has the time as its last row. Lanes after the active ones hold arbitrary numbers.
pub trait Lanes<T: Real>: Send {
    /// The number of lanes.
    fn width(&self) -> usize;

    /// Numbers in the gradient of the parameters.
    fn parameters(&self) -> usize;

    /// Numbers in the tape of one use.
    fn tape_len(&self) -> usize;

    /// Sets the arguments and data of the trajectories.
    fn set_inputs(&mut self, arguments: &[T], data: &[T]);

    /// `k = f(t, x)`, and its tape where one is given.
    fn evaluate(&mut self, active: usize, t: &[f64], x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()>;

    /// The transpose of f at (t, x), from a kept tape or running f forward again; whether (∂f/∂t)ᵀ ℓ is known. Lanes after the active
    /// ones have the state of a trajectory and no cotangent.
    fn pullback(
        &mut self,
        active: usize,
        t: &[f64],
        x: &[T],
        tape: Option<&[T]>,
        pullback: LanePullback<'_, T>,
    ) -> Result<bool>;
}

/// The operands of a vector–Jacobian product for each lane.
pub struct LanePullback<'a, T> {
    /// ℓ.
    pub cotangent: &'a [T],
    /// Becomes (∂f/∂x)ᵀ ℓ, and in its last row (∂f/∂t)ᵀ ℓ.
    pub x: &'a mut [T],
    /// Σ over the lanes of (∂f/∂θ)ᵀ ℓ is added.
    pub parameters: &'a mut [T],
    /// (∂f/∂arguments)ᵀ ℓ is added.
    pub arguments: &'a mut [T],
}

/// A field that evaluates its lanes one after the other.
pub(super) struct SequentialLanes<T> {
    dynamics: Box<dyn Dynamics<T>>,
    width: usize,
    state: usize,
    /// A batch of one: its state, its slope or cotangent, a product.
    x: Buffer<T>,
    k: Buffer<T>,
    dx: Buffer<T>,
    /// The trajectory in each lane; none where the field does not ask.
    trajectories: Vec<usize>,
}

impl<T: Real> SequentialLanes<T> {
    pub fn new<F: VectorField<T> + ?Sized>(
        field: &F,
        &LaneSetup { parameters, ledger, .. }: &LaneSetup<'_, T>,
        width: usize,
        reverse: bool,
    ) -> Result<Self> {
        let dynamics = field.prepare(parameters, 1, FieldOptions::new(reverse), ledger)?;
        let len = dynamics.layout().size();
        let state = || Buffer::zeroed(ledger, Purpose::Workspace, len);
        let (x, k, dx) = (state()?, state()?, state()?);
        Ok(Self { dynamics, width, state: field.state_size(), x, k, dx, trajectories: vec![] })
    }
}

/// A lane of an array to all lanes of another, or to its first.
fn take<T: Copy>(from: &[T], width: usize, lane: usize, to: &mut [T], rows: usize) {
    let lanes = to.len() / rows;
    for (row, to) in to.chunks_exact_mut(lanes).enumerate() {
        to.fill(from[row * width + lane]);
    }
}

impl<T: Real> Lanes<T> for SequentialLanes<T> {
    fn width(&self) -> usize {
        self.width
    }

    fn parameters(&self) -> usize {
        self.dynamics.parameters()
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn set_inputs(&mut self, _arguments: &[T], data: &[T]) {
        self.trajectories.clear();
        self.trajectories.extend(data.iter().map(|trajectory| trajectory.wide() as usize));
    }

    fn evaluate(&mut self, active: usize, t: &[f64], x: &[T], _tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        let Self { dynamics, width, state, x: own, k: slope, trajectories, .. } = self;
        let lanes = own.len() / *state;
        for (lane, &t) in t[..active].iter().enumerate() {
            dynamics.set_first_trajectory(trajectories.get(lane).copied().unwrap_or(0));
            take(x, *width, lane, own, *state);
            dynamics.evaluate(t, own, None, slope)?;
            for row in 0..*state {
                k[row * *width + lane] = slope[row * lanes];
            }
        }
        Ok(())
    }

    fn pullback(
        &mut self,
        active: usize,
        t: &[f64],
        x: &[T],
        _tape: Option<&[T]>,
        pullback: LanePullback<'_, T>,
    ) -> Result<bool> {
        let Self { dynamics, width, state, x: own, k: cotangent, dx, trajectories } = self;
        let (lanes, width, state) = (own.len() / *state, *width, *state);
        pullback.x.fill(T::zero());
        for (lane, &t) in t[..active].iter().enumerate() {
            dynamics.set_first_trajectory(trajectories.get(lane).copied().unwrap_or(0));
            take(x, width, lane, own, state);
            cotangent.fill(T::zero());
            for row in 0..state {
                cotangent[row * lanes] = pullback.cotangent[row * width + lane];
            }
            let dots = dynamics.pullback(
                t,
                own,
                None,
                Pullback {
                    cotangent,
                    x: dx,
                    parameters: &mut *pullback.parameters,
                    probes: &[],
                    products: &mut [],
                    times: false,
                    next_tape: None,
                },
            )?;
            for row in 0..state {
                pullback.x[row * width + lane] = dx[row * lanes];
            }
            pullback.x[state * width + lane] = T::of(dots.time);
        }
        Ok(dynamics.has_time_derivative())
    }
}
