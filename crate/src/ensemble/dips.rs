//! Where an event's function may cross zero and come back within a step.
//!
//! The ends of a step do not tell. So the function is looked at in some places on the continuous extension, and where a parabola
//! through three of them dips below zero. What is found there counts only if the step itself shows it.

use super::block::Block;
use super::changes::EventMaps;
use crate::error::Result;
use crate::kernel::real::Real;
use crate::stepper::{Scheme, Weights};

/// Where functions are looked at: at both ends of a step, and between.
const PLACES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A parabola is followed down to its lowest place where it comes closer to zero than this part of what it goes through: it need not be
/// the function.
const CLOSE: f64 = 0.25;

/// The functions of all events in all places but the last.
pub(super) struct Within<T> {
    values: Vec<T>,
    events: usize,
    width: usize,
}

impl<T: Real> Within<T> {
    /// Of the steps that a block has just tried, whose slopes are known with f(x_{n+1}).
    pub fn new(block: &mut Block<T>, scheme: &Scheme, events: &mut [EventMaps<T>], index: usize) -> Result<Self> {
        let (len, width, active) = (block.len(), block.width, block.active);
        let Block { x, state, slopes, spans, mixer, .. } = block;
        let mut values = vec![T::zero(); (PLACES.len() - 1) * events.len() * width];
        let (mut weights, mut rates) = (vec![0.0; scheme.stages + 1], vec![0.0; scheme.stages + 1]);
        let mut rows = values.chunks_exact_mut(width);
        for &place in &PLACES[..PLACES.len() - 1] {
            scheme.extension_weights(place, &mut weights, &mut rates);
            let of_part = |_: &Weights| weights.iter().copied();
            mixer.mix(&mut state[..len], Some(&x[..len]), &spans.h[..width], (scheme, of_part), slopes);
            spans.stage_times(width, place, &mut state[len..len + width]);
            for event in &mut *events {
                let row = rows.next().expect("a row for each event and place");
                event.when[index].evaluate(active, &spans.times, &state[..len + width], None, row)?;
            }
        }
        Ok(Self { values, events: events.len(), width })
    }

    /// A place of a lane's step, as a part of it, where an event's function seems to be on the other side than `near`, on which it begins,
    /// though it is not at the end, `far`; by more than `rest`. The first such place.
    pub fn dip(&self, event: usize, slot: usize, near: i8, far: f64, rest: f64) -> Option<f64> {
        let side = f64::from(near);
        let value = |place: usize| self.values[(place * self.events + event) * self.width + slot].wide();
        let last = PLACES.len() - 1;
        let g: [f64; PLACES.len()] = std::array::from_fn(|at| side * if at == last { far } else { value(at) });
        if g.iter().any(|g| g.is_nan()) {
            return None;
        }
        let below = (1..last).find(|&at| g[at] < -rest).map(|at| PLACES[at]);
        let lowest = (1..last).filter_map(|middle| lowest(middle, &g)).reduce(f64::min);
        below.into_iter().chain(lowest).reduce(f64::min)
    }
}

/// Where the parabola through three neighbours is lowest, if that is between them and close to zero or beyond.
fn lowest(middle: usize, g: &[f64]) -> Option<f64> {
    let [left, centre, right] = [g[middle - 1], g[middle], g[middle + 1]];
    let step = PLACES[middle + 1] - PLACES[middle];
    // g = centre + slope u + curvature u² with u from −1 to 1.
    let (slope, curvature) = ((right - left) / 2.0, (right + left) / 2.0 - centre);
    let at = -slope / (2.0 * curvature);
    let least = centre + slope * at / 2.0;
    let close = least < CLOSE * left.min(centre).min(right).max(0.0);
    (curvature > 0.0 && at.abs() < 1.0 && close).then_some(PLACES[middle] + at * step)
}
