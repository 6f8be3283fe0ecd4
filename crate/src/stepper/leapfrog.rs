//! The leapfrog method, that of Störmer and Verlet: kick, drift, kick.
//!
//! The first half of a state's features are positions q, the second velocities (or momenta) v. For q′ = f(v, t) and v′ = g(q, t),
//!
//! ```text
//! v_{n+1/2} = v_n + h/2 g(q_n, t_n)      q_{n+1} = q_n + h f(v_{n+1/2}, t_n + h/2)      v_{n+1} = v_{n+1/2} + h/2 g(q_{n+1}, t_{n+1})
//! ```
//!
//! which is a partitioned Runge–Kutta method: the halves have tableaus of their own, with common times. Hence the transpose is that
//! of a Runge–Kutta method with the tableau of each half in its place. It is symplectic, symmetric and of second order where f does not
//! depend on q nor g on v (Hairer, Lubich and Wanner, Geometric Numerical Integration, I.1.4 and II.2.1), and of first order otherwise.

use std::ops::Range;

use super::{Goal, KeptStage, RecordGradient, Sink, Span, Stage, Stepper, Sums, Transpose, Weights, Work};
use crate::error::Result;
use crate::field::{Dynamics, Pull};
use crate::kernel::combine::{combine, combine_terms};
use crate::kernel::real::Real;
use crate::layout::Layout;

/// The method's name in the public API.
pub(super) const NAME: &str = "leapfrog";

/// Kick, drift, kick.
pub(crate) struct Leapfrog;

pub(super) const STAGES: usize = 3;
/// The times of the stages.
pub(super) const C: [f64; STAGES] = [0.0, 0.5, 1.0];

/// Positions and velocities of a state of so many features.
pub(super) fn parts(features: usize) -> [Weights; 2] {
    let middle = features / 2;
    [
        Weights { rows: 0..middle, a: &[&[], &[0.0], &[0.0, 1.0]], b: &[0.0, 1.0, 0.0] },
        Weights { rows: middle..features, a: &[&[], &[0.5], &[0.5, 0.0]], b: &[0.5, 0.0, 0.5] },
    ]
}

/// Where positions and velocities lie in a state: by turns, a panel after the other.
fn halves<'l>(layout: &'l Layout, parts: &'l [Weights; 2]) -> impl Iterator<Item = (Range<usize>, &'l Weights)> {
    let features = layout.arrays[0];
    layout.panels.all().flat_map(move |panel| {
        let start = panel.range(features).start;
        parts.iter().map(move |part| {
            let Range { start: first, end } = part.rows;
            (start + first * panel.width..start + end * panel.width, part)
        })
    })
}

fn stage_time(span: Span, stage: usize) -> f64 {
    if C[stage] == 1.0 { span.end } else { span.t + C[stage] * span.h }
}

impl<T: Real> Stepper<T> for Leapfrog {
    fn order(&self) -> u32 {
        2
    }

    fn stages(&self) -> usize {
        STAGES
    }

    fn estimates_with_next(&self) -> bool {
        false
    }

    fn attempt(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        span: Span,
        x: &[T],
        goal: Goal,
        work: &mut Work<T>,
        sink: &mut dyn Sink<T>,
    ) -> Result<()> {
        let (len, layout) = (x.len(), dynamics.layout().clone());
        let parts = parts(layout.arrays[0]);
        for index in usize::from(work.first_known)..STAGES {
            let (before, slope) = work.slopes.split_at_mut(index * len);
            let stage = Stage { step: span.step, index, t: stage_time(span, index) };
            // The first stage's state is x_n.
            let state = match index {
                0 => x,
                _ => {
                    for (own, half) in halves(&layout, &parts) {
                        let weights = half.a[index].iter().map(|a| span.h * a);
                        let terms = weights.zip(before.chunks_exact(len).map(|slope| &slope[own.clone()]));
                        combine(&mut work.state[own.clone()], &x[own.clone()], terms);
                    }
                    &*work.state
                }
            };
            let tape = sink.stage(stage, state)?;
            // The last slope serves no other stage.
            if goal == Goal::Increment || index + 1 < STAGES || tape.is_some() {
                dynamics.evaluate(stage.t, state, tape, &mut slope[..len])?;
            }
        }
        if goal == Goal::Increment {
            for (own, half) in halves(&layout, &parts) {
                let weights = half.b.iter().map(|b| span.h * b);
                let terms = weights.zip(work.slopes.chunks_exact(len).map(|slope| &slope[own.clone()]));
                combine_terms(&mut work.state[own.clone()], terms);
            }
        }
        Ok(())
    }

    fn error(&self, _span: Span, _work: &mut Work<T>) {
        unreachable!("its steps are fixed")
    }

    fn extension_weights(&self, _theta: f64, _weights: &mut [f64], _rates: &mut [f64]) {
        unreachable!("its steps end on the output times")
    }

    fn transpose<'k>(
        &self,
        dynamics: &mut dyn Dynamics<T>,
        step: Transpose<'_, T>,
        stage: &dyn Fn(usize) -> KeptStage<'k, T>,
        work: &mut Work<T>,
        sums: Sums<'_, T>,
    ) -> Result<RecordGradient> {
        let Transpose { span, lambda, times, .. } = step;
        let (len, layout, h) = (lambda.len(), dynamics.layout().clone(), span.h);
        let parts = parts(layout.arrays[0]);
        let (g, cotangent) = (&mut work.slopes[..STAGES * len], &mut *work.state);
        let mut record = RecordGradient::default();
        for i in (0..STAGES).rev() {
            let (earlier, later) = g.split_at_mut((i + 1) * len);
            // ℓ_i = h (b_i λ + Σ_{j>i} a_ji g_j), with the weights of each half.
            for (own, half) in halves(&layout, &parts) {
                let first = std::iter::once((h * half.b[i], &lambda[own.clone()]));
                let later = later.chunks_exact(len).map(|g| &g[own.clone()]);
                let terms = (i + 1..STAGES).map(|j| h * half.a[j][i]).zip(later);
                combine_terms(&mut cotangent[own.clone()], first.chain(terms));
            }
            let (x, tape) = stage(i);
            let pull = Pull {
                cotangent,
                x: &mut earlier[i * len..],
                parameters: &mut *sums.parameters,
                probes: &[],
                products: &mut [],
                times,
            };
            let dots = dynamics.pull(stage_time(span, i), x, tape, pull)?;
            if times {
                record.t += dots.time;
                record.h += C[i] * dots.time + dots.slope / h;
            }
        }
        combine_terms(cotangent, g.chunks_exact(len).map(|g| (1.0, g)));
        Ok(record)
    }
}
