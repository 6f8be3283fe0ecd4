//! What a solve and a gradient know of a method: how to take one step, and the step's transpose.
//!
//! One forward step exists once, `Stepper::attempt`. Solving, computing a step again, running a solve again and passing from
//! one checkpoint to the next are that function with different sinks, which decide what is kept of a step's stages.

mod leapfrog;
mod outputs;
mod runge_kutta;
mod scheme;

use crate::error::{Error, Result};
use crate::field::Dynamics;
use crate::kernel::real::Real;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::tableau::{METHODS, Tableau};

pub(crate) use outputs::StepOutputs;
pub(crate) use scheme::{Scheme, Weights};

/// A method of integration, as [`Options`](crate::Options) take one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// An explicit Runge–Kutta method: one of [`METHODS`](crate::tableau::METHODS), or a tableau of your own.
    RungeKutta(&'static Tableau),
    /// The leapfrog method (Störmer–Verlet) for q′ = f(v, t), v′ = g(q, t): the first half of the state's features are positions q, the
    /// second half velocities v. It takes fixed steps (kick, drift, kick) that end on the output times. It is symplectic, and of order 2
    /// if f does not depend on q, nor g on v.
    Leapfrog,
}

impl From<&'static Tableau> for Method {
    fn from(tableau: &'static Tableau) -> Self {
        Method::RungeKutta(tableau)
    }
}

impl Method {
    /// The method with this name, if there is one: with fixed steps euler, midpoint, heun, ralston, heun3, rk4, rk38 or leapfrog, adaptive
    /// fehlberg2, adaptive_heun, bosh3, dopri5, tsit5 or dopri8.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|method| method.name() == name)
    }

    /// All methods that have a name.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        METHODS.into_iter().map(Method::RungeKutta).chain([Method::Leapfrog])
    }

    /// The name of the method; "custom" for one from [`Tableau::own`].
    pub fn name(&self) -> &'static str {
        self.tableau().map_or(leapfrog::NAME, |tableau| tableau.name)
    }

    /// The tableau of a Runge–Kutta method.
    pub(crate) fn tableau(&self) -> Option<&'static Tableau> {
        match *self {
            Method::RungeKutta(tableau) => Some(tableau),
            Method::Leapfrog => None,
        }
    }

    /// Whether the method estimates its error, and so can adapt its steps.
    pub fn adaptive(&self) -> bool {
        self.tableau().is_some_and(Tableau::adaptive)
    }

    /// Whether its extension between steps is nearly as good as the steps, so that outputs are interpolated by default.
    pub(crate) fn interpolates(&self) -> bool {
        self.tableau()
            .is_some_and(|tableau| tableau.adaptive() && tableau.fsal() && tableau.extension_order + 1 >= tableau.order)
    }

    /// Refuses what only Runge–Kutta methods can be used for.
    pub(crate) fn check_runge_kutta(&self, what: &str) -> Result<&'static Tableau> {
        let expected = || format!("a Runge–Kutta method for {what}");
        self.tableau().ok_or_else(|| Error::option("method", expected(), self.name()))
    }

    pub(crate) fn stepper<T: Real>(&self) -> &'static dyn Stepper<T> {
        match *self {
            Method::RungeKutta(tableau) => tableau,
            Method::Leapfrog => &leapfrog::Leapfrog,
        }
    }
}

/// When and how far a step goes. `end` is t_{n+1} as recorded, which t + h may miss by rounding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The index n of the step.
    pub step: usize,
    pub t: f64,
    pub h: f64,
    pub end: f64,
}

/// A use of the vector field: stage `index` of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    pub step: usize,
    pub index: usize,
    pub t: f64,
}

/// Decides what is kept of the stages of a step.
pub(crate) trait Sink<T> {
    /// The field is about to be evaluated at a stage's state X_i: where its tape goes, if it is to be kept. A stage comes again
    /// when its step was rejected and is tried anew.
    fn stage(&mut self, stage: Stage, x: &[T]) -> Result<Option<&mut [T]>>;
}

/// Keeps nothing.
pub(crate) struct Discard;

impl<T> Sink<T> for Discard {
    fn stage(&mut self, _stage: Stage, _x: &[T]) -> Result<Option<&mut [T]>> {
        Ok(None)
    }
}

/// How far an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The states of the stages, and their slopes as far as others depend on them or a sink keeps their tapes.
    Stages,
    /// x_{n+1} − x_n as well.
    Increment,
}

/// Where a step works.
pub(crate) struct Work<T> {
    /// k_1 … k_s, and f(x_{n+1}) behind them where a solve needs it. The transpose keeps its g_i here.
    pub slopes: Buffer<T>,
    /// One state: a stage's state, an increment, an error. The transpose keeps a cotangent here.
    pub state: Buffer<T>,
    /// Whether k_1 is known.
    pub first_known: bool,
}

impl<T: Real> Work<T> {
    /// For so many slopes of `len` numbers.
    pub fn new(ledger: &Ledger, slopes: usize, len: usize) -> Result<Self> {
        Ok(Self {
            slopes: Buffer::used(ledger, Purpose::Stages, slopes * len)?,
            state: Buffer::used(ledger, Purpose::Workspace, len)?,
            first_known: false,
        })
    }

    /// States that it takes.
    pub const fn states(slopes: usize) -> usize {
        slopes + 1
    }

    pub fn slope(&self, index: usize) -> &[T] {
        let len = self.state.len();
        &self.slopes[index * len..(index + 1) * len]
    }

    pub fn slope_mut(&mut self, index: usize) -> &mut [T] {
        let len = self.state.len();
        &mut self.slopes[index * len..(index + 1) * len]
    }
}

/// Takes the steps of a method.
///
/// A step has s stages on which x_{n+1} depends: what a gradient keeps are their states X_i, and transposes their uses of the
/// field. The slope f(x_{n+1}) is stage 1 of the next step.
pub(crate) trait Stepper<T: Real> {
    fn order(&self) -> u32;

    /// The number of stages s.
    fn stages(&self) -> usize;

    /// Whether the estimate of the error takes f(x_{n+1}), which is then the next step's first slope.
    fn estimates_with_next(&self) -> bool;

    /// Takes the step from `x` as far as the goal says, and leaves x_{n+1} − x_n in `work.state`.
    fn attempt(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        span: Span,
        x: &[T],
        goal: Goal,
        work: &mut Work<T>,
        sink: &mut dyn Sink<T>,
    ) -> Result<()>;

    /// Leaves the estimate of the error of x_{n+1} in `work.state`.
    fn error(&self, span: Span, work: &mut Work<T>);

    /// The weights b_i(θ) of the extension y(t_n + θh) = x_n + h Σ b_i(θ) k_i, and their derivatives, into slices with an entry
    /// for each stage and a last one for f(x_{n+1}).
    fn extension_weights(&self, theta: f64, weights: &mut [f64], rates: &mut [f64]);

    /// The transpose of a step, from λ_{n+1}: leaves λ_n − λ_{n+1} in `work.state`. `stage(i)` is X_i and, if kept, its tape.
    fn transpose<'k>(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        step: Transpose<'_, T>,
        stage: &dyn Fn(usize) -> KeptStage<'k, T>,
        work: &mut Work<T>,
        sums: Sums<'_, T>,
    ) -> Result<RecordGradient>;
}

/// The state of a stage and, if kept, its tape.
pub(crate) type KeptStage<'a, T> = (&'a [T], Option<&'a [T]>);

/// One step, ready to be transposed.
pub(crate) struct Transpose<'a, T> {
    pub span: Span,
    /// λ_{n+1}.
    pub lambda: &'a [T],
    /// ∂L/∂y of all outputs, one state behind the other.
    pub w: &'a [T],
    /// Outputs within this step; the next step has been transposed.
    pub own: &'a mut StepOutputs,
    /// Outputs within the step before, whose extension ends in this step's first slope.
    pub before: &'a mut StepOutputs,
    /// Whether the record's gradient and those of the times are wanted.
    pub times: bool,
}

/// Where the transpose adds its results.
pub(crate) struct Sums<'a, T> {
    pub parameters: &'a mut [T],
    pub times: &'a mut [f64],
    /// Products ⟨w, k_i⟩ of one use.
    pub products: &'a mut Vec<f64>,
}

/// The derivatives of the loss with respect to a step's record (t_n, h_n).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordGradient {
    pub t: f64,
    pub h: f64,
}
