//! Vector fields behind two callbacks: f and its transpose, for what cannot be a program.

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::{Dynamics, EvaluationCounts, FieldOptions, InnerProducts, Pullback, TrajectoryInputs, VectorField};
use crate::error::{Error, Result, finite};
use crate::kernel::combine::dot;
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};

/// A vector field that you write, along with its vector–Jacobian product. Both work on a batch: y, w and dy are `[batch, state]`.
/// It is the whole batch, or a single trajectory if trajectories take their own steps. A field must be `Send` and `Sync`, because solves
/// may run on other threads. `examples/custom_field.rs` is a complete program.
pub trait RowField<T>: Send + Sync {
    /// Called before each of the functions below with the index of the trajectory in the first row. It is 0 unless trajectories take
    /// their own steps, when each call is for one of them.
    fn first_trajectory(&self, _trajectory: usize) {}

    /// Writes f(t, y, θ) to `dy`. Assign all of `dy`, which holds numbers of earlier calls.
    ///
    /// # Errors
    /// Any error of yours, such as [`Error::Other`]; the solve ends with it.
    fn evaluate(&self, t: f64, y: ArrayView2<'_, T>, parameters: &[T], dy: ArrayViewMut2<'_, T>) -> Result<()>;

    /// Writes (∂f/∂y)ᵀ w to `dy` and (∂f/∂θ)ᵀ w, summed over the batch, to `dparameters`. Assign all of `dy`, which holds numbers of earlier
    /// calls; `dparameters` is zero, so that you may add to it. Returns (∂f/∂t)ᵀ w, summed over the batch, or `None` if you do not
    /// compute it; then gradients have no derivatives with respect to times.
    ///
    /// # Errors
    /// Any error of yours, such as [`Error::Other`]; the gradient ends with it.
    fn vjp(
        &self,
        t: f64,
        y: ArrayView2<'_, T>,
        w: ArrayView2<'_, T>,
        parameters: &[T],
        dy: ArrayViewMut2<'_, T>,
        dparameters: &mut [T],
    ) -> Result<Option<f64>>;
}

/// A vector field from a [`RowField`] and its parameters.
pub struct Custom<T, F> {
    state_size: usize,
    parameters: Buffer<T>,
    field: Arc<F>,
}

impl<T: Real, F> fmt::Debug for Custom<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state_size, parameters, .. } = self;
        f.debug_struct("Custom").field("state_size", state_size).field("parameters", parameters).finish_non_exhaustive()
    }
}

impl<T: Real, F: RowField<T> + 'static> Custom<T, F> {
    /// A field for states of `state_size` features, with these initial parameters.
    ///
    /// # Errors
    /// `Option` for a state of no features, `NonFiniteInput` for the parameters, `OutOfMemory`.
    pub fn new(state_size: usize, parameters: &[T], field: F) -> Result<Self> {
        if state_size == 0 {
            return Err(Error::option("state_size", "a positive integer", 0));
        }
        finite("parameters", parameters)?;
        let parameters = Buffer::copied(&Ledger::new(), Purpose::Network, parameters)?;
        Ok(Self { state_size, parameters, field: Arc::new(field) })
    }

    /// All parameters, flat, for you to change. Solves that were recorded before keep the parameters that they had.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        &mut self.parameters
    }
}

impl<T: Real, F: RowField<T> + 'static> VectorField<T> for Custom<T, F> {
    fn state_size(&self) -> usize {
        self.state_size
    }

    fn parameters(&self) -> &[T] {
        &self.parameters
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        let FieldOptions { reverse, directions, .. } = options;
        if directions.is_some() {
            let expected = "a field that is a program, which has derivatives in forward mode";
            return Err(Error::option("field", expected, "another field"));
        }
        if parameters.len() != self.parameters.len() {
            return Err(Error::shape("parameters", self.parameters.len(), parameters.len()));
        }
        finite("parameters", parameters)?;
        let layout = Layout::batch::<T>(batch, self.state_size);
        let rows =
            |wanted: bool| Buffer::zeroed(ledger, Purpose::Workspace, if wanted { batch * self.state_size } else { 0 });
        let gradient = Buffer::zeroed(ledger, Purpose::Workspace, if reverse { parameters.len() } else { 0 })?;
        let slope = Buffer::zeroed(ledger, Purpose::Workspace, if reverse { layout.size() } else { 0 })?;
        Ok(Box::new(CustomDynamics {
            parameters: Buffer::copied(ledger, Purpose::Network, parameters)?,
            field: Arc::clone(&self.field),
            y: rows(true)?,
            w: rows(reverse)?,
            dy: rows(true)?,
            gradient,
            slope,
            layout,
            counts: EvaluationCounts::default(),
            has_time_derivative: true,
            first: 0,
        }))
    }

    /// The index of each trajectory, for [`RowField::first_trajectory`].
    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        Ok(TrajectoryInputs { data: indices(batch, ledger)?, ..TrajectoryInputs::none(batch, ledger)? })
    }
}

/// The index of each trajectory, as a number of the batch's type.
fn indices<T: Real>(batch: usize, ledger: &Ledger) -> Result<Buffer<T>> {
    let mut all = Buffer::zeroed(ledger, Purpose::Workspace, batch)?;
    for (trajectory, index) in all.iter_mut().enumerate() {
        *index = T::of(trajectory as f64);
    }
    Ok(all)
}

struct CustomDynamics<T, F> {
    field: Arc<F>,
    layout: Layout,
    parameters: Buffer<T>,
    y: Buffer<T>,
    w: Buffer<T>,
    dy: Buffer<T>,
    gradient: Buffer<T>,
    slope: Buffer<T>,
    counts: EvaluationCounts,
    has_time_derivative: bool,
    /// The trajectory of the first row.
    first: usize,
}

impl<T: Real, F: RowField<T>> Dynamics<T> for CustomDynamics<T, F> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters.len()
    }

    fn tape_len(&self) -> usize {
        0
    }

    fn counts(&self) -> EvaluationCounts {
        self.counts
    }

    fn has_time_derivative(&self) -> bool {
        self.has_time_derivative
    }

    fn set_first_trajectory(&mut self, trajectory: usize) {
        self.first = trajectory;
    }

    fn evaluate(&mut self, t: f64, x: &[T], _tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.counts.evaluations += 1;
        let Self { field, layout, parameters, y, dy, first, .. } = self;
        field.first_trajectory(*first);
        let shape = (layout.panels.samples, layout.arrays[0]);
        layout.panels.unpack(x, y);
        field.evaluate(t, rows(shape, y), parameters, rows_mut(shape, dy))?;
        layout.panels.pack(rows(shape, dy), k, Padding::Repeat);
        Ok(())
    }

    fn pullback(&mut self, t: f64, x: &[T], _tape: Option<&[T]>, pullback: Pullback<'_, T>) -> Result<InnerProducts> {
        let Self { field, layout, parameters, y, w, dy, gradient, slope, counts, has_time_derivative, first } = self;
        counts.vjps += 1;
        field.first_trajectory(*first);
        let shape = (layout.panels.samples, layout.arrays[0]);
        layout.panels.unpack(x, y);
        layout.panels.unpack(pullback.cotangent, w);
        gradient.fill(T::zero());
        let time = field.vjp(t, rows(shape, y), rows(shape, w), parameters, rows_mut(shape, dy), gradient)?;
        layout.panels.pack(rows(shape, dy), pullback.x, Padding::Zero);
        for (sum, &part) in pullback.parameters.iter_mut().zip(gradient.iter()) {
            *sum = *sum + part;
        }
        *has_time_derivative &= time.is_some();
        let Some(time) = time else {
            return Ok(InnerProducts::default());
        };
        if !pullback.times {
            return Ok(InnerProducts { time, slope: 0.0 });
        }
        // The gradient of the times needs f itself as well.
        counts.evaluations += 1;
        field.evaluate(t, rows(shape, y), parameters, rows_mut(shape, dy))?;
        layout.panels.pack(rows(shape, dy), slope, Padding::Repeat);
        for (probe, product) in pullback.probes.chunks_exact(x.len()).zip(pullback.products) {
            *product += dot(probe, slope);
        }
        Ok(InnerProducts { time, slope: dot(pullback.cotangent, slope) })
    }
}

fn rows<T: Real>(shape: (usize, usize), numbers: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape(shape, numbers).expect("a batch of states")
}

fn rows_mut<T: Real>(shape: (usize, usize), numbers: &mut [T]) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape(shape, numbers).expect("a batch of states")
}
