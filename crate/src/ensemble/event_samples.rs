//! Pairs of sign changes of an event's function within a step, which the ends of the step do not show.
//!
//! The function is sampled at a few points of the continuous extension, and at the minimum of a parabola through three of them. A
//! sign change there counts only if the step itself confirms it.

use super::block::Block;
use super::changes::EventFunctions;
use crate::error::Result;
use crate::kernel::real::Real;
use crate::stepper::{Scheme, Weights};

/// The sample points θ: both ends of a step, and three between.
const THETAS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// The minimum of a parabola counts if it is below this fraction of the samples that the parabola goes through, as the function may
/// differ from it.
const CLOSE: f64 = 0.25;

/// The functions of all events at all sample points but the last.
pub(super) struct EventSamples<T> {
    values: Vec<T>,
    events: usize,
    width: usize,
}

impl<T: Real> EventSamples<T> {
    /// Samples the steps that a block has just tried, whose slopes are known, f(x_{n+1}) included.
    pub fn new(block: &mut Block<T>, scheme: &Scheme, events: &mut [EventFunctions<T>], index: usize) -> Result<Self> {
        let (len, width, active) = (block.len(), block.width, block.active);
        let Block { x, state, slopes, spans, combiner, .. } = block;
        let mut values = vec![T::zero(); (THETAS.len() - 1) * events.len() * width];
        let (mut weights, mut rates) = (vec![0.0; scheme.stages + 1], vec![0.0; scheme.stages + 1]);
        let mut rows = values.chunks_exact_mut(width);
        for &place in &THETAS[..THETAS.len() - 1] {
            scheme.extension_weights(place, &mut weights, &mut rates);
            let of_part = |_: &Weights| weights.iter().copied();
            combiner.combine(&mut state[..len], Some(&x[..len]), &spans.h[..width], (scheme, of_part), slopes);
            spans.stage_times(width, place, &mut state[len..len + width]);
            for event in &mut *events {
                let row = rows.next().expect("a row for each event and place");
                event.when[index].evaluate(active, &spans.times, &state[..len + width], None, row)?;
            }
        }
        Ok(Self { values, events: events.len(), width })
    }

    /// The first θ within a lane's step at which an event's function seems to have another sign than `start_sign`, by more than
    /// `threshold`, though its value at the end, `end_value`, has the same.
    pub fn interior_crossing(
        &self,
        event: usize,
        slot: usize,
        start_sign: i8,
        end_value: f64,
        threshold: f64,
    ) -> Option<f64> {
        let orientation = f64::from(start_sign);
        let value = |place: usize| self.values[(place * self.events + event) * self.width + slot].wide();
        let last = THETAS.len() - 1;
        let g: [f64; THETAS.len()] =
            std::array::from_fn(|at| orientation * if at == last { end_value } else { value(at) });
        if g.iter().any(|g| g.is_nan()) {
            return None;
        }
        let below = (1..last).find(|&at| g[at] < -threshold).map(|at| THETAS[at]);
        let lowest = (1..last).filter_map(|middle| parabola_minimum(middle, &g)).reduce(f64::min);
        below.into_iter().chain(lowest).reduce(f64::min)
    }
}

/// The θ of the minimum of the parabola through three neighbours, if it lies between them and close to zero or below.
fn parabola_minimum(middle: usize, g: &[f64]) -> Option<f64> {
    let [left, centre, right] = [g[middle - 1], g[middle], g[middle + 1]];
    let step = THETAS[middle + 1] - THETAS[middle];
    // g = centre + slope u + curvature u² with u from −1 to 1.
    let (slope, curvature) = ((right - left) / 2.0, (right + left) / 2.0 - centre);
    let at = -slope / (2.0 * curvature);
    let least = centre + slope * at / 2.0;
    let close = least < CLOSE * left.min(centre).min(right).max(0.0);
    (curvature > 0.0 && at.abs() < 1.0 && close).then_some(THETAS[middle] + at * step)
}
