//! The exact gradients: one reverse sweep over the recorded steps, and what is retained for it.
//!
//! All exact methods are the recurrence of [`step`](crate::step); they differ only in what the solve retains and what the
//! sweep computes again. Computing again runs the same kernels in the same order, so their gradients are bitwise equal.

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, s};

use crate::adjoint;
use crate::error::{Error, Result, finite};
use crate::field::Pull;
use crate::field::{Dynamics, VectorField};
use crate::kernel::panels::Spare;
use crate::kernel::real::Real;
use crate::kernel::vector::{accumulate, combine_terms};
use crate::memory::{Buffer, Bytes, Chunks, Ledger, Purpose};
use crate::solve::{Options, Problem, Recorder, Solution};
use crate::step::{Inside, Scratch, Span, Sums, Transpose, increment, stage_state};
use crate::tableau::Tableau;

/// How a gradient is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The symplectic adjoint method: the x_n are retained, a step's stages recomputed, one use taped at a time.
    Symplectic,
    /// The tapes of all uses are retained.
    Backprop,
    /// Only x_0 is retained; the sweep starts with the whole solve again, taping all of it.
    Baseline,
    /// Adaptive checkpoint adjoint (Zhuang et al. 2020): the x_n are retained, a step's tapes recomputed together.
    Aca,
    /// The continuous adjoint (Chen et al. 2018): (x, λ, ∂L/∂θ) is integrated backward with these options. Its gradient is
    /// not that of the numbers computed.
    Adjoint(Box<Options>),
}

/// A solve, with what its gradients need. It keeps the parameters of its time.
pub struct Trajectory<T> {
    pub solution: Solution<T>,
    problem: Problem<T>,
    kept: Kept<T>,
}

enum Kept<T> {
    Discrete(Box<Tracks<T>>),
    Continuous(Box<Options>),
}

/// The gradient of a loss with respect to everything that a solve starts from.
pub struct Gradient<T> {
    y0: Buffer<T>,
    batch: usize,
    parameters: Buffer<T>,
    /// ∂L/∂times; `None` where a field does not tell its derivative with respect to time.
    pub times: Option<Vec<f64>>,
    pub stats: GradientStats,
}

/// What a gradient took, the solve not included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientStats {
    /// Uses of the vector field forward.
    pub evaluations: usize,
    /// Uses of its transpose.
    pub vjps: usize,
    /// Steps of the backward integration (the continuous adjoint only).
    pub backward_steps: usize,
    /// Peak memory of solve and gradients together.
    pub peak: Bytes,
}

impl<T: Real> Gradient<T> {
    /// ∂L/∂y0 `[batch, state]`.
    pub fn y0(&self) -> ArrayView2<'_, T> {
        let shape = (self.batch, self.y0.len() / self.batch);
        ArrayView2::from_shape(shape, &self.y0).expect("as long as its shape says")
    }

    /// ∂L/∂θ, flat as the field's parameters.
    pub fn parameters(&self) -> &[T] {
        &self.parameters
    }
}

/// Solves as [`odeint`](crate::odeint) does, and retains what the gradient method needs.
///
/// # Errors
/// As `odeint`.
pub fn vjp<T: Real>(
    field: &dyn VectorField<T>,
    y0: ArrayView2<'_, T>,
    times: &[f64],
    options: &Options,
    method: &Method,
) -> Result<Trajectory<T>> {
    let mut problem = Problem::new(field, field.parameters(), y0, times, options, true)?;
    if let Method::Adjoint(backward) = method {
        backward.check()?;
        let (solution, failure) = problem.solve(&mut crate::solve::Forgetful)?;
        return failure.map_or(Ok(()), Err).map(|()| Trajectory {
            solution,
            problem,
            kept: Kept::Continuous(backward.clone()),
        });
    }
    let len = problem.start.len();
    let retention = match method {
        Method::Backprop => Retention::Tapes,
        Method::Baseline => Retention::Start,
        Method::Aca => Retention::States { tapes: true },
        _ => Retention::States { tapes: false },
    };
    let mut tracks = Box::new(Tracks {
        retention,
        method: options.method,
        tape_len: problem.dynamics.tape_len(),
        len,
        records: Chunks::new(&problem.ledger, Purpose::Records, 2, None),
        places: Buffer::zeroed(&problem.ledger, Purpose::Records, times.len())?,
        states: Chunks::new(&problem.ledger, Purpose::Checkpoints, len, None),
        tapes: Tapes::default(),
        end: Buffer::zeroed(&problem.ledger, Purpose::Checkpoints, len)?,
        ledger: problem.ledger.clone(),
    });
    let (solution, failure) = problem.solve(&mut *tracks)?;
    failure.map_or(Ok(()), Err).map(|()| Trajectory { solution, problem, kept: Kept::Discrete(tracks) })
}

impl<T: Real> Trajectory<T> {
    /// The accepted steps (t_n, h_n), h signed; none where only the continuous adjoint is wanted.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let tracks = match &self.kept {
            Kept::Discrete(tracks) => Some(tracks),
            Kept::Continuous(_) => None,
        };
        tracks.into_iter().flat_map(|tracks| {
            (0..tracks.records.count()).map(|step| (tracks.records.get(step)[0], tracks.records.get(step)[1]))
        })
    }

    /// The gradient for a cotangent ∂L/∂y `[times, batch, state]`. It may be asked for again and again.
    ///
    /// # Errors
    /// `Shape`, `NonFiniteInput` for the cotangent; `OutOfMemory`; for the continuous adjoint those of a solve.
    pub fn pullback(&mut self, cotangent: ArrayView3<'_, T>) -> Result<Gradient<T>> {
        let expected = self.solution.y().shape().to_vec();
        if cotangent.shape() != expected {
            return Err(Error::shape("cotangent", format!("{expected:?}"), format!("{:?}", cotangent.shape())));
        }
        let state = self.problem.state;
        self.pullback_from(&mut |output, rows| {
            let slice = cotangent.slice(s![output, .., ..]);
            rows.iter_mut().zip(slice).for_each(|(row, &number)| *row = number);
            debug_assert_eq!(slice.ncols(), state);
            Ok(())
        })
    }

    /// As [`pullback`](Self::pullback), asking for the rows `[batch, state]` of one output after the other.
    pub fn pullback_from(&mut self, read: &mut dyn FnMut(usize, &mut [T]) -> Result<()>) -> Result<Gradient<T>> {
        let Self { solution, problem, kept } = self;
        let ledger = problem.ledger.clone();
        let panels = problem.dynamics.layout().panels;
        let (len, outputs) = (problem.start.len(), problem.times.len());
        let slice = problem.batch * problem.state;
        let mut w = Buffer::zeroed(&ledger, Purpose::Cotangent, outputs * len)?;
        let mut rows = Buffer::zeroed(&ledger, Purpose::Cotangent, slice)?;
        for (output, w) in w.chunks_exact_mut(len).enumerate() {
            read(output, &mut rows)?;
            finite("cotangent", rows.iter().copied())?;
            let rows = ArrayView2::from_shape((problem.batch, problem.state), &rows).expect("one slice");
            panels.pack(rows, w, Spare::Zero);
        }
        drop(rows);
        let swept = match kept {
            Kept::Discrete(tracks) => tracks.sweep(problem, &w)?,
            Kept::Continuous(options) => adjoint::sweep(problem, solution, options, &w)?,
        };
        let mut y0 = Buffer::zeroed(&ledger, Purpose::Gradient, slice)?;
        let rows = ArrayViewMut2::from_shape((problem.batch, problem.state), &mut y0).expect("one slice");
        panels.unpack(&swept.lambda, rows);
        let known = swept.times.iter().all(|time| time.is_finite());
        Ok(Gradient {
            y0,
            batch: problem.batch,
            parameters: swept.parameters,
            times: known.then_some(swept.times),
            stats: GradientStats { peak: ledger.peak(), ..swept.stats },
        })
    }
}

/// What a backward sweep arrives at.
pub(crate) struct Swept<T> {
    pub lambda: Buffer<T>,
    pub parameters: Buffer<T>,
    pub times: Vec<f64>,
    pub stats: GradientStats,
}

/// What is retained of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retention {
    /// The state and the tape of every stage.
    Tapes,
    /// x_n; whether its stages are then taped together or one at a time.
    States { tapes: bool },
    /// Nothing but x_0.
    Start,
}

/// One use of the field: the state it was evaluated at, and the tape.
struct Use<T> {
    x: Buffer<T>,
    tape: Buffer<T>,
}

/// The tapes of the step that is tried, slope by slope, and those of all accepted steps.
struct Tapes<T> {
    tried: Vec<Option<Use<T>>>,
    kept: Vec<Use<T>>,
}

impl<T> Default for Tapes<T> {
    fn default() -> Self {
        Self { tried: Vec::new(), kept: Vec::new() }
    }
}

/// The record of a solve.
struct Tracks<T> {
    retention: Retention,
    method: &'static Tableau,
    tape_len: usize,
    len: usize,
    /// (t_n, h_n).
    records: Chunks<f64>,
    /// For each output the number of steps before it, or the step that it lies in.
    places: Buffer<usize>,
    states: Chunks<T>,
    tapes: Tapes<T>,
    /// x_N.
    end: Buffer<T>,
    ledger: Ledger,
}

impl<T: Real> Recorder<T> for Tracks<T> {
    fn expect(&mut self, steps: usize) {
        self.records = Chunks::new(&self.ledger, Purpose::Records, 2, Some(steps));
        self.states = Chunks::new(&self.ledger, Purpose::Checkpoints, self.len, Some(steps));
    }

    fn evaluate(&mut self, dynamics: &mut dyn Dynamics<T>, slope: usize, t: f64, x: &[T], k: &mut [T]) -> Result<()> {
        match self.retention {
            Retention::Tapes => self.tapes.evaluate(dynamics, self.method, slope, t, x, k, &self.ledger),
            _ => dynamics.evaluate(t, x, None, k),
        }
    }

    fn accept(&mut self, span: Span, x: &[T]) -> Result<()> {
        self.records.push(&[span.t, span.h])?;
        match self.retention {
            Retention::Tapes => self.tapes.accept(self.method),
            Retention::States { .. } => self.states.push(x),
            Retention::Start => Ok(()),
        }
    }

    fn output(&mut self, output: usize, inside: bool) {
        self.places[output] = self.records.count() - usize::from(inside);
    }

    fn end(&mut self, x: &[T]) -> Result<()> {
        self.end.copy_from_slice(x);
        Ok(())
    }
}

impl<T: Real> Tapes<T> {
    #[expect(clippy::too_many_arguments)]
    fn evaluate(
        &mut self,
        dynamics: &mut dyn Dynamics<T>,
        method: &Tableau,
        slope: usize,
        t: f64,
        x: &[T],
        k: &mut [T],
        ledger: &Ledger,
    ) -> Result<()> {
        let next = method.gradient_stages();
        self.tried.resize_with(next + 1, || None);
        // f(x_{n+1}), asked for after the step was accepted, is already the next step's first.
        let slot = if slope == next && self.tried[0].is_none() { 0 } else { slope };
        if self.tried[slot].is_none() {
            self.tried[slot] = Some(Use {
                x: Buffer::zeroed(ledger, Purpose::Checkpoints, x.len())?,
                tape: Buffer::zeroed(ledger, Purpose::Tape, dynamics.tape_len())?,
            });
        }
        let Some(used) = &mut self.tried[slot] else { unreachable!("just filled") };
        used.x.copy_from_slice(x);
        dynamics.evaluate(t, x, Some(&mut used.tape), k)
    }

    fn accept(&mut self, method: &Tableau) -> Result<()> {
        let stages = method.gradient_stages();
        let bytes = stages * size_of::<Use<T>>();
        self.kept.try_reserve(stages).map_err(|_| Error::OutOfMemory { bytes, purpose: Purpose::Tape.name() })?;
        self.kept.extend(self.tried[..stages].iter_mut().filter_map(Option::take));
        // First same as last.
        self.tried[0] = self.tried[stages].take();
        Ok(())
    }
}

impl<T: Real> Tracks<T> {
    fn span(&self, step: usize, last_time: f64) -> Span {
        let (t, h) = (self.records.get(step)[0], self.records.get(step)[1]);
        let end = if step + 1 < self.records.count() { self.records.get(step + 1)[0] } else { last_time };
        Span { t, h, end }
    }

    /// The reverse sweep, from ∂L/∂y of all outputs, packed one behind the other.
    fn sweep(&mut self, problem: &mut Problem<T>, w: &[T]) -> Result<Swept<T>> {
        let replayed = match self.retention {
            Retention::Start => Some(self.replay(problem)?),
            _ => None,
        };
        let Problem { dynamics, options, times, ledger, .. } = problem;
        let dynamics = &mut **dynamics;
        let (method, len, steps) = (self.method, self.len, self.records.count());
        let stages = method.gradient_stages();
        let last_time = times[times.len() - 1];
        let mut stats = GradientStats::default();
        if replayed.is_some() {
            stats.evaluations += steps * stages;
        }

        let gradient = || Buffer::zeroed(ledger, Purpose::Gradient, dynamics.parameters());
        let (mut parameters, mut parameters_carry, mut step_sum) = (gradient()?, gradient()?, gradient()?);
        let state = || Buffer::<T>::zeroed(ledger, Purpose::Workspace, len);
        let (mut lambda, mut lambda_carry, mut scratch) = (state()?, state()?, state()?);
        let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
        let recomputed = match self.retention {
            Retention::States { tapes } => (stages, if tapes { stages } else { 0 }),
            _ => (0, 0),
        };
        let mut stage_states = Buffer::zeroed(ledger, Purpose::Stages, recomputed.0 * len)?;
        let mut stage_tapes = Buffer::zeroed(ledger, Purpose::Tape, recomputed.1 * self.tape_len)?;

        let mut time_gradient = vec![0.0; times.len()];
        let mut products = Vec::new();
        let mut chain = TimeChain::new(options, &self.places);
        // Outputs not yet passed, going backward; those within a step, and within the step before it.
        let mut rest = times.len();
        let (mut own, mut before) = (Inside::default(), Inside::default());
        let output = |index: usize| &w[index * len..(index + 1) * len];

        accumulate(options.summation, &mut lambda, &mut lambda_carry, output(rest - 1));
        rest -= 1;
        let interpolates = options.interpolates();
        let within = |step: Option<usize>, rest: &mut usize| {
            let end = if interpolates { *rest } else { 0 };
            while interpolates && *rest > 1 && Some(self.places[*rest - 1]) == step {
                *rest -= 1;
            }
            (*rest).min(end)..end
        };
        before.set(method, self.span(steps - 1, last_time), times, within(Some(steps - 1), &mut rest));
        if !before.outputs.is_empty() {
            // The extension of the last step ends in f(x_N), which no further step uses.
            combine_terms(&mut scratch, before.terms(stages, w, len));
            products.resize(before.outputs.len(), 0.0);
            let probes = &w[before.outputs.start * len..before.outputs.end * len];
            let pull = Pull {
                cotangent: &scratch,
                x: &mut slopes[..len],
                parameters: &mut step_sum,
                probes,
                products: &mut products,
            };
            let dots = dynamics.pull(last_time, &self.end, None, pull)?;
            stats.evaluations += 1;
            stats.vjps += 1;
            before.add_products(stages, &products);
            time_gradient[times.len() - 1] += dots.time;
            accumulate(options.summation, &mut lambda, &mut lambda_carry, &slopes[..len]);
            accumulate(options.summation, &mut parameters, &mut parameters_carry, &step_sum);
        }
        for step in (0..steps).rev() {
            let span = self.span(step, last_time);
            std::mem::swap(&mut own, &mut before);
            let outputs = within(step.checked_sub(1), &mut rest);
            before.set(method, self.span(step.saturating_sub(1), last_time), times, outputs);
            let tapes = match self.retention {
                Retention::Tapes => Some(&self.tapes.kept),
                Retention::Start => replayed.as_ref(),
                Retention::States { tapes } => {
                    let x = self.states.get(step);
                    let tape_len = self.tape_len;
                    // The last slope is not needed to know the last stage.
                    let taped = if tapes { stages } else { stages - 1 };
                    for stage in 0..stages {
                        let target = &mut stage_states[stage * len..(stage + 1) * len];
                        stage_state(method, stage, span.h, x, &slopes, target);
                        if stage < taped {
                            let tape = tapes.then(|| &mut stage_tapes[stage * tape_len..(stage + 1) * tape_len]);
                            let k = &mut slopes[stage * len..(stage + 1) * len];
                            dynamics.evaluate(span.stage_time(method, stage), target, tape, k)?;
                        }
                    }
                    stats.evaluations += stages + taped - if tapes { stages } else { 0 };
                    None
                }
            };
            let stage = |i: usize| match tapes {
                Some(uses) => (&*uses[step * stages + i].x, Some(&*uses[step * stages + i].tape)),
                None => {
                    let tape = &stage_tapes[(i * self.tape_len).min(stage_tapes.len())..];
                    let tape = (recomputed.1 > 0).then(|| &tape[..self.tape_len]);
                    (&stage_states[i * len..(i + 1) * len], tape)
                }
            };
            step_sum.fill(T::zero());
            let sums = Sums { parameters: &mut step_sum, times: &mut time_gradient };
            let work = Scratch { g: &mut slopes, cotangent: &mut scratch, products: &mut products };
            let transpose = Transpose { tableau: method, span, w, own: &mut own, before: &mut before };
            let record = transpose.run(dynamics, stage, &lambda, sums, work)?;
            stats.vjps += stages;
            chain.add(step, record, &mut time_gradient);
            accumulate(options.summation, &mut lambda, &mut lambda_carry, &scratch);
            accumulate(options.summation, &mut parameters, &mut parameters_carry, &step_sum);
            while !interpolates && rest > 1 && self.places[rest - 1] == step {
                rest -= 1;
                accumulate(options.summation, &mut lambda, &mut lambda_carry, output(rest));
                chain.land(rest);
            }
        }
        accumulate(options.summation, &mut lambda, &mut lambda_carry, output(0));
        Ok(Swept { lambda, parameters, times: time_gradient, stats })
    }

    /// Runs the recorded steps again from x_0, taping all of them.
    fn replay(&self, problem: &mut Problem<T>) -> Result<Vec<Use<T>>> {
        let Problem { dynamics, options, times, ledger, start, .. } = problem;
        let (method, len) = (self.method, self.len);
        let stages = method.gradient_stages();
        let mut tapes = Tapes::default();
        let mut x = Buffer::copied(ledger, Purpose::Workspace, start)?;
        let mut carry = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut scratch = Buffer::zeroed(ledger, Purpose::Workspace, len)?;
        let mut slopes = Buffer::zeroed(ledger, Purpose::Stages, stages * len)?;
        for step in 0..self.records.count() {
            let span = self.span(step, times[times.len() - 1]);
            for stage in 0..stages {
                stage_state(method, stage, span.h, &x, &slopes, &mut scratch);
                let k = &mut slopes[stage * len..(stage + 1) * len];
                let t = span.stage_time(method, stage);
                tapes.evaluate(&mut **dynamics, method, stage, t, &scratch, k, ledger)?;
            }
            tapes.accept(method)?;
            increment(method, span.h, &slopes, &mut scratch);
            accumulate(options.summation, &mut x, &mut carry, &scratch);
        }
        Ok(tapes.kept)
    }
}

/// The chain rule from a step's record to the times: how (t_n, h_n) follow from the times landed on around it.
struct TimeChain<'a> {
    adaptive: bool,
    /// The outputs landed on before and after the steps that come now.
    from: usize,
    to: usize,
    interpolates: bool,
    places: &'a [usize],
}

impl<'a> TimeChain<'a> {
    fn new(options: &Options, places: &'a [usize]) -> Self {
        let interpolates = options.interpolates();
        let to = places.len() - 1;
        Self { adaptive: options.adaptive(), from: if interpolates { 0 } else { to - 1 }, to, interpolates, places }
    }

    /// The steps that come now end on that output.
    fn land(&mut self, output: usize) {
        debug_assert!(!self.interpolates && output > 0);
        (self.from, self.to) = (output - 1, output);
    }

    fn add(&self, step: usize, record: crate::step::RecordGradient, times: &mut [f64]) {
        let (first, end) = (self.places[self.from], self.places[self.to]);
        if self.adaptive {
            // t_n is the last time landed on, and constants; only the step that lands depends on where.
            times[self.from] += record.t;
            if step + 1 == end {
                times[self.to] += record.h;
                times[self.from] -= record.h;
            }
        } else {
            // t_n = from + q h and h = (to − from) / m.
            let steps = (end - first) as f64;
            let fraction = (step - first) as f64 / steps;
            times[self.from] += record.t * (1.0 - fraction) - record.h / steps;
            times[self.to] += record.t * fraction + record.h / steps;
        }
    }
}
