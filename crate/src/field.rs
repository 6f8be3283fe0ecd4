//! Vector fields f(t, y, θ): [programs](program), which the crate differentiates, and [callbacks](custom) with a transpose of your
//! own. The networks and systems of [`model`](super::model) are programs.
//!
//! A solve takes a snapshot of a field's parameters. So a gradient is that of the parameters at the time of the solve, whatever
//! happens to the field in between.

pub mod custom;
mod dynamics;
pub(crate) mod lanes;
pub mod program;

use ndarray::ArrayView2;

use num_traits::Float;

use crate::error::{Error, Result, finite, finite_gradient, finite_rows};
use crate::kernel::panels::Padding;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
pub(crate) use crate::program::execute::InnerProducts;
pub(crate) use dynamics::{Dynamics, EvaluationCounts, FieldOptions, Pullback};
use lanes::SequentialLanes;
pub(crate) use lanes::{LanePullback, LaneSetup, Lanes, TrajectoryInputs};

/// A vector field f(t, y, θ) with its parameters θ, as every solve takes one.
///
/// The crate implements it, you do not: for a field of your own, build a program ([`ProgramField`](program::ProgramField)) or write a
/// [`RowField`](custom::RowField). The methods that this page does not show prepare a field for a batch; their types cannot be
/// named outside the crate.
pub trait VectorField<T: Real> {
    /// How many features the state y of a trajectory has.
    fn state_size(&self) -> usize;
    /// How many features f(t, y) has: as many as the state, except for a network that is only a part of a vector field.
    fn output_size(&self) -> usize {
        self.state_size()
    }
    /// How many arguments each trajectory has: numbers besides its state, such as a dose. Gradients include their derivatives.
    fn argument_size(&self) -> usize {
        0
    }
    /// All parameters, flat, in an order that each kind of field documents. To change them, use its `parameters_mut`.
    fn parameters(&self) -> &[T];
    /// How many trajectories of an [`ensemble`](super::ensemble) form a leaf, which is solved together and whose gradients are summed
    /// first. A [part](super::ensemble::Extras::part) of a batch begins at a multiple of it.
    fn leaf(&self) -> usize {
        T::LANES
    }

    /// The field at these parameters for a batch.
    ///
    /// # Errors
    /// `Option` for directions of a field that is no program.
    #[doc(hidden)]
    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>>;

    /// The field at these parameters for `width` trajectories at different times, side by side.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare).
    #[doc(hidden)]
    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        Ok(Box::new(SequentialLanes::new(self, setup, width, reverse)?))
    }

    /// Whether lanes may be computed on other threads.
    #[doc(hidden)]
    fn is_parallel(&self) -> bool {
        false
    }

    /// The program that computes the field, without the arguments and data of a batch; `None` for a custom field.
    #[doc(hidden)]
    fn program_field(&self) -> Option<&program::ProgramField<T>> {
        None
    }

    /// The arguments and data of the trajectories of a batch.
    #[doc(hidden)]
    fn inputs(&self, batch: usize, ledger: &Ledger) -> Result<TrajectoryInputs<T>> {
        TrajectoryInputs::none(batch, ledger)
    }
}

/// More numbers than memory can hold.
const MAX_NUMBERS: usize = isize::MAX as usize / 64;

/// Directions along which a solve of an ensemble is differentiated: tangents of its inputs, flat and row-major. `None` is a tangent of zero.
#[derive(Debug, Clone, Copy)]
pub struct Directions<'a, T> {
    /// How many directions there are, at least one.
    pub count: usize,
    /// Tangents ẏ0 of the initial states, `[directions, batch, state]`.
    pub y0: Option<&'a [T]>,
    /// Tangents θ̇ of the parameters, `[directions, parameters]`.
    pub parameters: Option<&'a [T]>,
    /// Tangents ȧ of the arguments, `[directions, batch, arguments]`.
    pub arguments: Option<&'a [T]>,
    /// Tangents of the output times, `[directions, times]`, where `times` counts the numbers of all lists.
    pub times: Option<&'a [f64]>,
}

impl<T> Directions<'_, T> {
    /// The part of one direction, of an array for all directions.
    pub(crate) fn of<'a, N>(&self, all: Option<&'a [N]>, index: usize) -> Option<&'a [N]> {
        all.map(|all| {
            let len = all.len() / self.count;
            &all[index * len..(index + 1) * len]
        })
    }

    /// Checks that the directions fit a solve with these numbers of trajectories, features, parameters, arguments and times, whose
    /// solution has `states` states.
    pub(crate) fn check(&self, [batch, state, parameters, arguments, times]: [usize; 5], states: usize) -> Result<()>
    where
        T: Real,
    {
        fn numbers<N: Float>(argument: &'static str, given: Option<&[N]>, expected: usize) -> Result<()> {
            match given {
                Some(given) if given.len() != expected => Err(Error::shape(argument, expected, given.len())),
                Some(given) => finite(argument, given),
                None => Ok(()),
            }
        }
        let count = self.count;
        if count == 0 {
            return Err(Error::option("tangents", "at least one direction", 0));
        }
        // Solutions along more of them could not be addressed.
        if states.saturating_mul(state).checked_mul(count).is_none_or(|all| all > MAX_NUMBERS) {
            return Err(Error::option("tangents", "a number of directions that memory can hold", count));
        }
        let each = |numbers: usize| count.saturating_mul(numbers);
        numbers("tangents.y0", self.y0, each(batch * state))?;
        numbers("tangents.parameters", self.parameters, each(parameters))?;
        numbers("tangents.arguments", self.arguments, each(batch * arguments))?;
        numbers("tangents.times", self.times, each(times))
    }

    /// `count` of the directions, from `first` on.
    pub(crate) fn chunk(&self, first: usize, count: usize) -> Self {
        fn of<N>(all: Option<&[N]>, (first, count, total): (usize, usize, usize)) -> Option<&[N]> {
            all.map(|all| &all[all.len() / total * first..][..all.len() / total * count])
        }
        let place = (first, count, self.count);
        Self {
            count,
            y0: of(self.y0, place),
            parameters: of(self.parameters, place),
            arguments: of(self.arguments, place),
            times: of(self.times, place),
        }
    }

    /// How many directions are followed together: more take fewer passes, and a longer program.
    pub(crate) fn chunk_len(state: usize) -> usize {
        (256 / state).clamp(1, 64)
    }

    /// Whether a direction has a tangent of the times that is not zero.
    pub(crate) fn has_time_tangent(&self, index: usize) -> bool {
        self.of(self.times, index).is_some_and(|rates| rates.iter().any(|&rate| rate != 0.0))
    }
}

/// Evaluates f(t, y) for a batch `y` `[batch, state]`, at parameters that need not be the field's own. The result is `[batch, outputs]`,
/// row-major. It has infinities and NaN where the field overflows or is not defined; [`vjp`] returns an error instead.
///
/// # Errors
/// `Shape` and `NonFiniteInput` for `y` and `parameters`, `OutOfMemory`, and errors of a custom field.
pub fn evaluate<T: Real>(
    field: &dyn VectorField<T>,
    parameters: &[T],
    t: f64,
    y: ArrayView2<'_, T>,
) -> Result<Buffer<T>> {
    let mut prepared = Prepared::new(field, parameters, t, y, false)?;
    let Prepared { dynamics, x, ledger, .. } = &mut prepared;
    let lanes = dynamics.layout().panels.lanes;
    let mut slope = Buffer::zeroed(ledger, Purpose::Workspace, lanes * field.output_size())?;
    dynamics.evaluate(t, x, None, &mut slope)?;
    prepared.rows(&slope, field.output_size())
}

/// The vector–Jacobian product of a field at (t, y) with a cotangent w, from [`vjp`].
#[derive(Debug)]
pub struct FieldVjp<T> {
    /// (∂f/∂y)ᵀ w `[batch, state]`, row-major.
    pub y: Buffer<T>,
    /// (∂f/∂θ)ᵀ w, summed over the batch, in the order of the field's parameters.
    pub parameters: Buffer<T>,
    /// (∂f/∂arguments)ᵀ w `[batch, arguments]`, row-major.
    pub arguments: Buffer<T>,
    /// (∂f/∂t)ᵀ w, summed over the batch; `None` if a custom field does not return it.
    pub t: Option<f64>,
}

/// The vector–Jacobian product of a field at (t, y) with a cotangent `w` `[batch, outputs]` of f(t, y).
///
/// # Errors
/// `Shape` and `NonFiniteInput` for `y`, `parameters` and `w`; `NonFiniteResult` if the product is not finite; `OutOfMemory`, and errors of
/// a custom field.
pub fn vjp<T: Real>(
    field: &dyn VectorField<T>,
    parameters: &[T],
    t: f64,
    y: ArrayView2<'_, T>,
    w: ArrayView2<'_, T>,
) -> Result<FieldVjp<T>> {
    let expected = [y.nrows(), field.output_size()];
    if w.shape() != expected {
        return Err(Error::shape("w", format!("{expected:?}, as f(t, y)"), format!("{:?}", w.shape())));
    }
    finite_rows("w", w)?;
    let mut prepared = Prepared::new(field, parameters, t, y, true)?;
    let Prepared { dynamics, x, ledger, .. } = &mut prepared;
    let lanes = dynamics.layout().panels.lanes;
    let mut cotangent = Buffer::recycled(ledger, Purpose::Cotangent, lanes * field.output_size())?;
    dynamics.layout().panels.pack(w, &mut cotangent, Padding::Zero);
    let mut dx = Buffer::zeroed(ledger, Purpose::Workspace, x.len())?;
    let mut gradient = Buffer::zeroed(ledger, Purpose::Gradient, dynamics.parameters())?;
    let pullback = Pullback {
        cotangent: &cotangent,
        x: &mut dx,
        parameters: &mut gradient,
        probes: &[],
        products: &mut [],
        times: true,
        next_tape: None,
    };
    let dots = dynamics.pullback(t, x, None, pullback)?;
    let t = dynamics.has_time_derivative().then_some(dots.time);
    let y = prepared.rows(&dx, field.state_size())?;
    let arguments = prepared.rows(&gradient[parameters.len()..], field.argument_size())?;
    let gradient = Buffer::copied(&prepared.ledger, Purpose::Gradient, &gradient[..parameters.len()])?;
    finite_gradient("y", &y)?;
    finite_gradient("parameters", &gradient)?;
    finite_gradient("arguments", &arguments)?;
    finite_gradient("t", t.as_slice())?;
    Ok(FieldVjp { y, parameters: gradient, arguments, t })
}

/// A field and one packed batch.
struct Prepared<T> {
    dynamics: Box<dyn Dynamics<T>>,
    x: Buffer<T>,
    ledger: Ledger,
}

impl<T: Real> Prepared<T> {
    fn new(field: &dyn VectorField<T>, parameters: &[T], t: f64, y: ArrayView2<'_, T>, reverse: bool) -> Result<Self> {
        check_batch("y", field, y)?;
        finite("t", &[t])?;
        let ledger = Ledger::new();
        let dynamics = field.prepare(parameters, y.nrows(), FieldOptions::new(reverse), &ledger)?;
        let mut x = Buffer::recycled(&ledger, Purpose::Workspace, dynamics.layout().size())?;
        dynamics.layout().panels.pack(y, &mut x, Padding::Repeat);
        Ok(Self { dynamics, x, ledger })
    }

    fn rows(&self, numbers: &[T], features: usize) -> Result<Buffer<T>> {
        let panels = self.dynamics.layout().panels;
        let mut rows = Buffer::recycled(&self.ledger, Purpose::Output, panels.samples * features)?;
        panels.unpack(numbers, &mut rows);
        Ok(rows)
    }
}

/// Refuses what is not a batch of finite states of the field.
pub(crate) fn check_batch<T: Real>(
    argument: &'static str,
    field: &dyn VectorField<T>,
    y: ArrayView2<'_, T>,
) -> Result<()> {
    let (batch, state) = y.dim();
    if batch == 0 || state != field.state_size() {
        let expected = format!("[batch, {}] with batch at least 1", field.state_size());
        return Err(Error::shape(argument, expected, format!("[{batch}, {state}]")));
    }
    finite_rows(argument, y)
}
