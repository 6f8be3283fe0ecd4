//! One step of a method, and the step's transpose.
//!
//! One forward step exists once, `step::attempt`. Solving a batch together or trajectories by themselves, recomputing a step,
//! running a solve again and passing from one checkpoint to the next are that function with different sinks, which decide what is
//! kept of a step's stages.

mod leapfrog;
mod outputs;
mod scheme;
mod step;
mod transpose;

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::field::Dynamics;
use crate::kernel::combine::{combine, combine_terms};
use crate::kernel::panels::Panels;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::{Buffer, Ledger, Purpose};
use crate::tableau::Tableau;
use crate::tableau::methods::METHODS;

pub(crate) use outputs::StepOutputs;
pub(crate) use scheme::{Scheme, Weights};
pub(crate) use step::{Scratch, StepEvaluator, StepExtent, attempt};
pub(crate) use transpose::{GradientSums, RecordGradient, Transpose};

/// A method of integration, as [`Options`](crate::Options) take one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// An explicit Runge–Kutta method: one of [`METHODS`](crate::tableau::methods::METHODS), or a tableau of your own.
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

/// Parses the name of a method, as [`Method::named`] does. For another name, the error lists all of them.
impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = || Self::all().map(|method| method.name()).collect::<Vec<_>>().join(", ");
        Self::named(name).ok_or_else(|| Error::option("method", all(), name))
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

    /// The name of the method; "custom" for one from [`Tableau::custom`].
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

    /// Whether the method estimates its error, so that it can adapt its steps.
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

    /// The number of stages s on which x_{n+1} depends.
    pub(crate) fn stages(&self) -> usize {
        self.tableau().map_or(leapfrog::STAGES, Tableau::gradient_stages)
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

impl Span {
    /// t_n + c h.
    pub fn at(&self, c: f64) -> f64 {
        if c == 1.0 { self.end } else { self.t + c * self.h }
    }
}

/// A use of the vector field: stage `index` of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    pub step: usize,
    pub index: usize,
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

/// The workspace of a step.
pub(crate) struct Workspace<T> {
    /// k_1 … k_s, followed by f(x_{n+1}) if a solve needs it. The transpose keeps its g_i here.
    pub slopes: Buffer<T>,
    /// One state: a stage's state, an increment, an error. The transpose keeps a cotangent here.
    pub state: Buffer<T>,
    /// Whether k_1 is known.
    pub first_slope_known: bool,
}

impl<T: Real> Workspace<T> {
    /// A workspace for `slopes` slopes of `len` numbers.
    pub fn new(ledger: &Ledger, slopes: usize, len: usize) -> Result<Self> {
        Ok(Self {
            slopes: Buffer::recycled(ledger, Purpose::Stages, slopes * len)?,
            state: Buffer::recycled(ledger, Purpose::Workspace, len)?,
            first_slope_known: false,
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

/// What is kept of a stage.
pub(crate) struct KeptStage<'a, T> {
    pub x: &'a [T],
    pub tape: Option<&'a [T]>,
    /// The tape of the stage before, which is transposed next.
    pub next_tape: Option<&'a [T]>,
}

/// Takes the steps of a method with a batch that takes them together.
///
/// A step has s stages on which x_{n+1} depends: what a gradient keeps are their states X_i, and transposes their uses of the
/// field. The slope f(x_{n+1}) is stage 1 of the next step.
pub(crate) struct Stepper {
    pub scheme: Scheme,
    panels: Panels,
}

impl Stepper {
    /// A stepper for states with this layout.
    pub fn new(method: Method, layout: &Layout) -> Self {
        Self { scheme: Scheme::new(method, layout.arrays[0]), panels: layout.panels }
    }

    /// The number of stages s.
    pub fn stages(&self) -> usize {
        self.scheme.stages
    }

    /// Takes the step from `x` as far as `extent` says, and leaves x_{n+1} − x_n in `work.state`.
    pub fn attempt<T: Real>(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        span: Span,
        x: &[T],
        extent: StepExtent,
        work: &mut Workspace<T>,
        sink: &mut dyn Sink<T>,
    ) -> Result<()> {
        let scratch = Scratch {
            slopes: &mut work.slopes,
            len: x.len(),
            first_slope_known: work.first_slope_known,
            state: &mut work.state,
        };
        attempt(&self.scheme, &mut BatchEvaluator { panels: self.panels, dynamics, span }, x, extent, scratch, sink)
    }

    /// Leaves the estimate of the error of x_{n+1} in `work.state`.
    pub fn error<T: Real>(&self, span: Span, work: &mut Workspace<T>) {
        let slopes = work.slopes.chunks_exact(work.state.len());
        combine_terms(&mut work.state, self.scheme.error().map(|weight| span.h * weight).zip(slopes));
    }
}

/// Evaluates the stages of a step that a batch takes together.
struct BatchEvaluator<'a, T> {
    panels: Panels,
    dynamics: &'a mut dyn Dynamics<T>,
    span: Span,
}

impl<T: Real> StepEvaluator<T> for BatchEvaluator<'_, T> {
    fn step(&self) -> usize {
        self.span.step
    }

    fn combine<'s, W: Iterator<Item = f64>>(
        &mut self,
        out: &mut [T],
        x: Option<&[T]>,
        (scheme, weights): (&'s Scheme, impl Fn(&'s Weights) -> W),
        slopes: &[T],
    ) {
        let len = out.len();
        scheme.for_each_range(self.panels, len, |place, part| {
            let slopes = slopes.chunks_exact(len).map(|slope| &slope[place.clone()]);
            let terms = weights(part).map(|weight| self.span.h * weight).zip(slopes);
            let out = &mut out[place.clone()];
            match x {
                Some(x) => combine(out, &x[place.clone()], terms),
                None => combine_terms(out, terms),
            }
        });
    }

    fn set_times(&mut self, _c: f64, _times: &mut [T]) {}

    fn slope(&mut self, c: f64, x: &[T], tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.dynamics.evaluate(self.span.at(c), x, tape, k)
    }
}
