//! A checked problem, and the functions that threads evaluate.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;

use ndarray::ArrayView2;

use super::changes::{ChangeFunctions, Changes, Rules};
use super::trajectory_record::Replay;
use super::{Extras, Lists};
use crate::error::{Error, Result};
use crate::field::{LaneSetup, Lanes, TrajectoryInputs, VectorField, check_batch};
use crate::kernel::lanes::finite_lanes;
use crate::kernel::real::{Real, vector_len};
use crate::memory::{Buffer, Ledger, Purpose};
use crate::solve::{Options, check_times};
use crate::stepper::Scheme;

/// A checked problem, which all threads read.
pub(super) struct Problem<T> {
    pub scheme: Scheme,
    pub options: Options,
    pub times: Lists,
    pub batch: usize,
    /// Features of the state.
    pub state: usize,
    pub y0: Buffer<T>,
    pub inputs: TrajectoryInputs<T>,
    pub arguments: usize,
    pub data: usize,
    pub parameters: usize,
    /// The widths of blocks, in lanes, from 1 on; the length of a tape of the widest.
    pub widths: Vec<usize>,
    pub tape: usize,
    pub leaf: usize,
    pub rules: Rules<T>,
    pub extras: Extras,
    /// In forward mode, the solve that is replayed with tangents.
    pub replay: Option<Replay<T>>,
    /// How many trajectories are done.
    pub done: AtomicUsize,
    pub ledger: Ledger,
}

/// What a thread evaluates: the field, and the functions of jumps and events.
pub(super) struct Evaluators<T> {
    /// One for each block width, narrowest first.
    pub lanes: Vec<Box<dyn Lanes<T>>>,
    pub functions: ChangeFunctions<T>,
}

impl<T: Real> Problem<T> {
    /// Checks a problem; its memory is counted in the ledger. Also the evaluators of each thread.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        ledger: &Ledger,
        field: &dyn VectorField<T>,
        y0: ArrayView2<'_, T>,
        times: &Lists,
        options: &Options,
        changes: &Changes,
        extras: Extras,
        reverse: bool,
    ) -> Result<(Self, Vec<Evaluators<T>>)> {
        options.check()?;
        check_batch("y0", field, y0)?;
        let (batch, state) = y0.dim();
        options.check_features(state)?;
        if field.output_size() != state {
            let expected = format!("a vector field, with as many outputs as the state has features, {state}");
            return Err(Error::option("field", expected, format!("{} outputs", field.output_size())));
        }
        if times.count().is_some_and(|count| count != batch) {
            let given = format!("{} lists", times.count().unwrap_or(0));
            return Err(Error::shape("times", format!("a list for each of {batch} trajectories"), given));
        }
        times.each().try_for_each(check_times)?;
        let leaf = field.leaf();
        let inputs = field.inputs(batch, ledger)?;
        let parameters = field.parameters();
        let widths = widths::<T>(leaf.min(batch));
        let arguments = field.argument_size();
        let rules = Rules::new(changes, times, (batch, state, arguments), parameters.len())?;
        let most = if field.is_parallel() && !cfg!(target_arch = "wasm32") { options.threads } else { 1 };
        let setup = LaneSetup::new(parameters, ledger);
        let evaluators = |_| {
            let lanes = widths.iter().map(|&width| field.lanes(&setup, width, reverse));
            let lanes = lanes.collect::<Result<_>>()?;
            Ok(Evaluators { lanes, functions: ChangeFunctions::new(changes, &setup, &widths, reverse)? })
        };
        let evaluators: Vec<Evaluators<T>> =
            (0..most.min(batch.div_ceil(leaf))).map(evaluators).collect::<Result<_>>()?;
        let mut rows = Buffer::zeroed(ledger, Purpose::Workspace, batch * state)?;
        rows.iter_mut().zip(y0).for_each(|(to, &from)| *to = from);
        let problem = Self {
            scheme: Scheme::new(options.method, state),
            options: options.clone(),
            times: times.clone(),
            batch,
            state,
            y0: rows,
            arguments,
            data: inputs.data.len() / batch,
            inputs,
            parameters: parameters.len(),
            tape: evaluators[0].lanes.last().map_or(0, |lanes| lanes.tape_len()),
            widths,
            leaf,
            rules,
            extras,
            replay: None,
            done: AtomicUsize::new(0),
            ledger: ledger.clone(),
        };
        Ok((problem, evaluators))
    }

    /// The trajectories of each leaf.
    pub fn leaves(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (batch, leaf) = (self.batch, self.leaf);
        (0..batch).step_by(leaf).map(move |first| first..(first + leaf).min(batch))
    }

    /// Whether it may have a gradient: sums over trajectories are of whole leaves.
    pub fn check_part(&self) -> Result<()> {
        match self.extras.part.filter(|first| first % self.leaf != 0) {
            Some(first) => Err(Error::option("part", format!("a multiple of {} trajectories", self.leaf), first)),
            None => Ok(()),
        }
    }

    /// An error of a trajectory, with its index if there are several.
    pub fn of_trajectory(&self, trajectory: usize, error: Error) -> Error {
        match (self.batch, self.extras.part) {
            (1, None) => error,
            (_, part) => error.of_trajectory(part.unwrap_or(0) + trajectory),
        }
    }

    /// Which lanes are finite. Tangents need not be: `jvp` checks them in the end.
    pub fn finite(&self, numbers: &[T], finite: &mut [bool]) {
        match self.replay {
            None => finite_lanes(numbers, finite),
            Some(_) => finite.fill(true),
        }
    }

    /// The length of a trajectory's time interval.
    pub fn duration(&self, trajectory: usize) -> f64 {
        let times = self.times.of(trajectory);
        (times[times.len() - 1] - times[0]).abs()
    }

    /// Whether a trajectory goes forward in time, 1, or backward, −1.
    pub fn direction(&self, trajectory: usize) -> f64 {
        let times = self.times.of(trajectory);
        (times[times.len() - 1] - times[0]).signum()
    }

    /// Lanes of the widest block.
    pub fn width(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }

    /// The offset of the state at a trajectory's output.
    pub fn output_offset(&self, trajectory: usize, output: usize) -> usize {
        match self.times.count() {
            None => (output * self.batch + trajectory) * self.state,
            Some(_) => (self.times.start(trajectory) + output) * self.state,
        }
    }

    /// Numbers in all outputs.
    pub fn outputs(&self) -> usize {
        let lists = if self.times.count().is_none() { self.batch } else { 1 };
        self.times.len().saturating_mul(lists).saturating_mul(self.state)
    }
}

/// The widths of blocks for `most` trajectories: one lane, a register, and doubled from there.
fn widths<T: Real>(most: usize) -> Vec<usize> {
    let mut widths = vec![1];
    if most > 1 {
        let doubled = std::iter::successors(Some(vector_len::<T>()), |width| (*width < most).then_some(2 * width));
        widths.extend(doubled);
    }
    widths.dedup();
    widths
}
