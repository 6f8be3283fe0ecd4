//! The transpose of a leaf's solve: all its trajectories from their last steps to their first, side by side.

use std::ops::Range;

use super::Cotangents;
use super::block::{Combiner, LaneEvaluator, Spans, load_lane, min_width, store_lane, width_index};
use super::leaf_results::LeafGradient;
use super::lists::order;
use super::problem::{Evaluators, Problem};
use super::record::{Cursor, LeafRecord};
use super::single::SingleTrajectory;
use super::solver_state::{Step, StepEnd};
use crate::error::Result;
use crate::field::LanePullback;
use crate::kernel::combine::{accumulate, combine_terms};
use crate::kernel::lanes::{copy_lane, restride};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Purpose};
use crate::solve::interval_steps;
use crate::stepper::{Scratch, Sink, Stage, StepExtent, Weights, attempt};

/// The reverse pass of a thread, over one leaf after the other.
pub(super) struct Backward<'w, T> {
    pub(super) cotangents: Cotangents<'w, T>,
    pub(super) step_tapes: bool,
    /// Whether cotangents of times are wanted.
    pub(super) times: bool,
    pub(super) compensated: bool,
    pub(super) single: SingleTrajectory<T>,
    pub(super) width: usize,
    pub(super) rows: usize,
    /// λ, followed by g_1 … g_s of a step; the carry of λ.
    pub(super) lambda: Buffer<T>,
    pub(super) carry: Buffer<T>,
    /// X_1 … X_s with their times, their slopes, their tapes.
    pub(super) states: Buffer<T>,
    pub(super) slopes: Buffer<T>,
    pub(super) tapes: Buffer<T>,
    pub(super) cotangent: Buffer<T>,
    pub(super) pulled: Buffer<T>,
    /// f(x_{n+1}), the last slope of a step's extension.
    pub(super) next_slope: Buffer<T>,
    /// Arguments and data of the lanes; the gradient of the arguments with its carry, and that of one step.
    pub(super) arguments: Buffer<T>,
    pub(super) data: Buffer<T>,
    pub(super) argument_sums: [Buffer<T>; 2],
    pub(super) argument_step_gradient: Buffer<T>,
    /// ∂L/∂θ of the leaf with its carry, and that of one step.
    pub(super) sums: [Buffer<T>; 2],
    pub(super) step_gradient: Buffer<T>,
    pub(super) spans: Spans,
    pub(super) combiner: Combiner<T>,
    pub(super) trajectories: Vec<ReverseTrajectory>,
    pub(super) outputs_within: Vec<OutputWithin>,
    pub(super) counts: PassCounts,
    pub(super) gradient: LeafGradient<T>,
}

/// How often a reverse pass has evaluated and transposed the field, and what it found about derivatives in time.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassCounts {
    pub evaluations: usize,
    pub vjps: usize,
    /// Whether it returns its derivative with respect to time.
    pub has_time_derivative: bool,
    /// Whether a gradient passed through the time of an event.
    pub through_event: bool,
}

impl Default for PassCounts {
    fn default() -> Self {
        Self { evaluations: 0, vjps: 0, has_time_derivative: true, through_event: false }
    }
}

impl PassCounts {
    pub fn add(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.vjps += other.vjps;
        self.has_time_derivative &= other.has_time_derivative;
        self.through_event |= other.through_event;
    }
}

/// A trajectory whose steps are being transposed.
#[derive(Debug, Clone)]
pub(super) struct ReverseTrajectory {
    pub trajectory: usize,
    /// Its index in the leaf.
    pub leaf_index: usize,
    /// Its steps and changes that are left.
    pub cursor: Cursor,
    /// ∂L/∂t of the time at which it is.
    pub time_cotangent: f64,
    /// The outputs and events that are left.
    pub outputs: usize,
    pub events: usize,
    /// The jump whose time a step ends on.
    pub jump: Option<(usize, usize)>,
    pub step: Step,
    /// The derivatives with respect to t_n and h of the step.
    pub record_gradient: [f64; 2],
}

/// An output within a step of a lane, or within the previous step.
pub(super) struct OutputWithin {
    pub slot: usize,
    pub output: usize,
    /// The offset of its cotangent.
    pub place: usize,
    pub theta: f64,
    /// h b_i(θ) and b_i′(θ), the last of f(x_{n+1}).
    pub weights: Vec<f64>,
    pub rates: Vec<f64>,
    /// Whether it lies within the previous step.
    pub before: bool,
}

impl<'w, T: Real> Backward<'w, T> {
    pub fn new(problem: &Problem<T>, cotangents: Cotangents<'w, T>, step_tapes: bool) -> Result<Self> {
        let ledger = &problem.ledger;
        let (width, tape) = (problem.width(), problem.tape);
        let (rows, stages) = (problem.state, problem.scheme.stages);
        let array = |purpose, rows: usize| Buffer::zeroed(ledger, purpose, rows * width);
        let whole = |len: usize| Buffer::zeroed(ledger, Purpose::Gradient, len);
        let (parameters, arguments) = (problem.parameters, problem.arguments);
        let changes = !problem.rules.events.is_empty() || !problem.rules.jumps.is_empty();
        let work = Purpose::Workspace;
        Ok(Self {
            cotangents,
            step_tapes: step_tapes && tape > 0,
            times: problem.options.time_gradients || changes,
            compensated: problem.options.summation.of_gradient(),
            single: SingleTrajectory::new(problem)?,
            width,
            rows,
            lambda: array(Purpose::Stages, rows * (stages + 1))?,
            carry: array(work, rows)?,
            states: array(Purpose::Stages, (rows + 1) * stages)?,
            slopes: array(Purpose::Stages, rows * stages)?,
            tapes: Buffer::zeroed(ledger, Purpose::Tape, if step_tapes { tape * stages } else { 0 })?,
            cotangent: array(work, rows)?,
            pulled: array(work, rows + 1)?,
            next_slope: array(work, rows)?,
            arguments: array(work, arguments)?,
            data: array(work, problem.data)?,
            argument_sums: [array(Purpose::Gradient, arguments)?, array(Purpose::Gradient, arguments)?],
            argument_step_gradient: array(Purpose::Gradient, arguments)?,
            sums: [whole(parameters)?, whole(parameters)?],
            step_gradient: whole(parameters)?,
            spans: Spans::new(width),
            combiner: Combiner::new(ledger, stages + 1, width)?,
            trajectories: vec![],
            outputs_within: vec![],
            counts: PassCounts::default(),
            gradient: LeafGradient::new(problem, 0..0)?,
        })
    }

    /// The bytes of the passes on these threads, and of their results.
    pub fn bytes(problem: &Problem<T>, threads: usize) -> usize {
        let (width, tape) = (problem.width(), problem.tape);
        let (rows, stages) = (problem.state, problem.scheme.stages);
        let (parameters, arguments) = (problem.parameters, problem.arguments);
        let lanes = rows * (stages + 1) + (rows + 1) * stages + rows * stages + 3 * rows + rows + 1;
        let lanes = lanes + 4 * arguments + problem.data + stages + 1;
        let own = lanes * width + tape * stages + 3 * parameters + problem.leaf * (rows + arguments);
        let leaves = problem.batch.div_ceil(problem.leaf);
        let tree = parameters * (2 + leaves.next_power_of_two().ilog2() as usize);
        let results = problem.batch * (rows + arguments);
        (threads * own + tree + results) * size_of::<T>() + threads * SingleTrajectory::<T>::bytes(problem)
    }

    /// Transposes a leaf: its gradient, and ∂L/∂θ. Its events begin at `first_event`; trajectories that failed are left out.
    pub fn run(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        leaf: Range<usize>,
        record: &LeafRecord<T>,
        first_event: usize,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>)> {
        self.gradient = LeafGradient::new(problem, leaf.clone())?;
        self.begin(problem, evaluators, leaf, record, first_event, failed)?;
        loop {
            self.finish_trajectories(problem, evaluators);
            if self.trajectories.is_empty() {
                break;
            }
            self.transpose_steps(problem, evaluators, record)?;
        }
        self.flush_step_gradient();
        let sums = Buffer::copied(&problem.ledger, Purpose::Gradient, &self.sums[0])?;
        self.sums.iter_mut().for_each(|sums| sums.fill(T::zero()));
        Ok((std::mem::replace(&mut self.gradient, LeafGradient::new(problem, 0..0)?), sums))
    }

    /// Counts evaluations of a leaf that was solved again.
    pub fn count_recomputed(&mut self, evaluations: usize) {
        self.counts.evaluations += evaluations;
    }

    /// The counts of this pass so far.
    pub fn counts(&self) -> PassCounts {
        let mut counts = self.counts;
        counts.evaluations += self.single.evaluations;
        counts.vjps += self.single.vjps;
        counts
    }

    fn len(&self) -> usize {
        self.rows * self.width
    }

    /// Loads the trajectories into lanes, those with the most steps first.
    fn begin(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        leaf: Range<usize>,
        record: &LeafRecord<T>,
        first_event: usize,
        failed: &[usize],
    ) -> Result<()> {
        let mut events = first_event;
        self.trajectories.clear();
        for (own, trajectory) in leaf.enumerate() {
            events += record.events_of(own);
            if failed.binary_search(&trajectory).is_err() {
                self.trajectories.push(ReverseTrajectory {
                    trajectory,
                    leaf_index: own,
                    cursor: record.cursor(own),
                    time_cotangent: 0.0,
                    outputs: record.places[own].len(),
                    events,
                    jump: None,
                    step: Step { t: 0.0, h: 0.0, to: 0.0, end: StepEnd::Free },
                    record_gradient: [0.0; 2],
                });
            }
        }
        let keys: Vec<f64> = self.trajectories.iter().map(|reverse| -(reverse.cursor.steps as f64)).collect();
        self.trajectories = order(&keys).into_iter().map(|index| self.trajectories[index].clone()).collect();
        if self.trajectories.is_empty() {
            return Ok(());
        }
        self.width = min_width(problem, self.trajectories.len());
        let (width, len) = (self.width, self.len());
        self.lambda[..len].fill(T::zero());
        self.carry[..len].fill(T::zero());
        self.next_slope[..len].fill(T::zero());
        self.argument_sums.iter_mut().for_each(|sums| sums.fill(T::zero()));
        for (slot, reverse) in self.trajectories.iter().enumerate() {
            let (arguments, data) = problem.inputs.of(reverse.trajectory);
            store_lane(&mut self.arguments, width, slot, arguments);
            store_lane(&mut self.data, width, slot, data);
        }
        for slot in 0..self.trajectories.len() {
            let own = self.trajectories[slot].leaf_index;
            let end = record.end_states[own * self.rows..(own + 1) * self.rows].to_vec();
            self.reverse_boundary(problem, evaluators, record, slot, &end, true)?;
        }
        self.set_inputs(problem, evaluators);
        Ok(())
    }

    /// Sets the arguments and data of the lanes; padding lanes copy the first.
    #[inline(never)]
    fn set_inputs(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) {
        let width = self.width;
        for slot in self.trajectories.len()..width {
            copy_lane(&mut self.arguments, problem.arguments, width, 0, slot);
            copy_lane(&mut self.data, problem.data, width, 0, slot);
        }
        let (arguments, data) = (problem.arguments * width, problem.data * width);
        let index = width_index(problem, width);
        evaluators.lanes[index].set_inputs(&self.arguments[..arguments], &self.data[..data]);
    }

    /// Sets the arguments and data of a single trajectory.
    #[inline(never)]
    pub(super) fn set_single_inputs(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        trajectory: usize,
    ) {
        self.single.set_inputs(problem.inputs.of(trajectory), evaluators);
    }

    /// Adds the part of ∂L/∂θ from the last step, its jumps and its events to the sum.
    fn flush_step_gradient(&mut self) {
        let [sums, carry] = &mut self.sums;
        accumulate(self.compensated, sums, carry, &self.step_gradient);
        self.step_gradient.fill(T::zero());
    }

    /// Removes trajectories that are back at their starts, and writes their gradients. They are the last in the lanes.
    fn finish_trajectories(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>) {
        let (width, rows) = (self.width, self.rows);
        let before = self.trajectories.len();
        while let Some(reverse) = self.trajectories.pop_if(|reverse| reverse.cursor.steps == 0) {
            let (slot, trajectory) = (self.trajectories.len(), reverse.trajectory);
            let row = self.gradient.row(trajectory, rows);
            load_lane(&self.lambda, width, slot, &mut self.gradient.y0[row]);
            let row = self.gradient.row(trajectory, problem.arguments);
            load_lane(&self.argument_sums[0], width, slot, &mut self.gradient.arguments[row]);
            self.gradient.times.add(problem.times.start(trajectory), reverse.time_cotangent);
        }
        let left = self.trajectories.len();
        if left == before || left == 0 {
            return;
        }
        self.width = min_width(problem, left);
        let new = self.width;
        let arguments = problem.arguments;
        let [sums, sums_carry] = &mut self.argument_sums;
        for (array, rows) in [
            (&mut self.lambda, rows),
            (&mut self.carry, rows),
            (&mut self.next_slope, rows),
            (&mut self.arguments, arguments),
            (&mut self.data, problem.data),
            (sums, arguments),
            (sums_carry, arguments),
        ] {
            restride(array, rows, (width, new), left);
        }
        self.set_inputs(problem, evaluators);
    }

    /// Transposes the last step that is left of each trajectory.
    fn transpose_steps(
        &mut self,
        problem: &Problem<T>,
        evaluators: &mut Evaluators<T>,
        record: &LeafRecord<T>,
    ) -> Result<()> {
        let (width, len, rows, active) = (self.width, self.len(), self.rows, self.trajectories.len());
        let (scheme, stages) = (&problem.scheme, problem.scheme.stages);
        let index = width_index(problem, width);
        self.outputs_within.clear();
        for slot in 0..active {
            let reverse = &mut self.trajectories[slot];
            let (step, state) = record.pop_step(&mut reverse.cursor);
            (reverse.step, reverse.record_gradient) = (step, [0.0; 2]);
            let spans = &mut self.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (step.t, step.h, step.to);
            store_lane(&mut self.states, width, slot, record.states.get(state));
            let ReverseTrajectory { cursor, outputs, .. } = self.trajectories[slot];
            let own = record.outputs_within(self.trajectories[slot].leaf_index, outputs, cursor.steps);
            let behind = own.start;
            self.add_outputs_within(problem, slot, step, own, false);
            // The extension of the previous step ends in this one's first slope, unless a change lies between them.
            if let Some(before) = record.last_step(&cursor).filter(|_| !record.has_changes(&cursor)) {
                let outputs = record.outputs_within(self.trajectories[slot].leaf_index, behind, cursor.steps - 1);
                self.add_outputs_within(problem, slot, before, outputs, true);
            }
        }
        // Padding lanes copy the first, with cotangents of zero.
        for slot in active..width {
            let spans = &mut self.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (spans.t[0], spans.h[0], spans.end[0]);
            copy_lane(&mut self.states, rows, width, 0, slot);
            for row in 0..rows {
                self.lambda[row * width + slot] = T::zero();
                self.carry[row * width + slot] = T::zero();
            }
        }
        self.recompute_stages(problem, evaluators, index)?;

        let lanes = &mut *evaluators.lanes[index];
        self.argument_step_gradient.fill(T::zero());
        let timed = len + width;
        let tape = lanes.tape_len();
        for i in (0..stages).rev() {
            // ℓ_i = h (b_i λ + Σ_{j>i} a_ji g_j), and the terms of outputs.
            let weights = |part: &Weights| {
                let (a, b) = (part.a, part.b[i]);
                std::iter::once(b).chain((0..stages).map(move |j| if j > i { a[j][i] } else { 0.0 }))
            };
            self.combiner.combine(
                &mut self.cotangent[..len],
                None,
                &self.spans.h[..width],
                (scheme, weights),
                &self.lambda,
            );
            for output in self.outputs_within.iter().filter(|output| !output.before) {
                let w = &self.cotangents.y[output.place..output.place + rows];
                add_lane(&mut self.cotangent, width, output.slot, output.weights[i], w);
            }
            if self.times {
                let (cotangent, slopes) = (&self.cotangent[..len], &self.slopes[i * len..(i + 1) * len]);
                for (slot, reverse) in self.trajectories.iter_mut().enumerate() {
                    let at = (0..rows).map(|row| row * width + slot);
                    let product: f64 = at.map(|at| cotangent[at].wide() * slopes[at].wide()).sum();
                    reverse.record_gradient[1] += product / reverse.step.h;
                }
            }
            // The terms of the previous step's outputs do not depend on this step's h.
            for output in self.outputs_within.iter().filter(|output| output.before && i == 0) {
                let w = &self.cotangents.y[output.place..output.place + rows];
                add_lane(&mut self.cotangent, width, output.slot, output.weights[stages], w);
            }
            self.spans.stage_times(width, scheme.c[i], &mut self.states[i * timed + len..][..width]);
            let pullback = LanePullback {
                cotangent: &self.cotangent[..len],
                x: &mut self.pulled[..timed],
                parameters: &mut self.step_gradient,
                arguments: &mut self.argument_step_gradient[..problem.arguments * width],
            };
            let kept = self.step_tapes.then(|| &self.tapes[i * tape..(i + 1) * tape]);
            let x = &self.states[i * timed..(i + 1) * timed];
            self.counts.has_time_derivative &= lanes.pullback(active, &self.spans.times, x, kept, pullback)?;
            self.lambda[(i + 1) * len..(i + 2) * len].copy_from_slice(&self.pulled[..len]);
            for (slot, reverse) in self.trajectories.iter_mut().enumerate() {
                let time = self.pulled[len + slot].wide();
                reverse.record_gradient[0] += time;
                reverse.record_gradient[1] += scheme.c[i] * time;
            }
        }
        self.counts.vjps += stages * active;
        // Without a tape the field runs forward again, unless its tapes are empty.
        if !self.step_tapes && tape > 0 {
            self.counts.evaluations += stages * active;
        }
        let [sums, carry] = &mut self.argument_sums;
        let arguments = problem.arguments * width;
        accumulate(
            self.compensated,
            &mut sums[..arguments],
            &mut carry[..arguments],
            &self.argument_step_gradient[..arguments],
        );
        if self.times {
            self.output_times(problem, stages);
        }
        // λ_n = λ_{n+1} + Σ g_i, and the cotangents of outputs within.
        let (lambda, g) = self.lambda.split_at_mut(len);
        let sum = &mut self.cotangent[..len];
        combine_terms(sum, g[..stages * len].chunks_exact(len).map(|g| (1.0, g)));
        for output in self.outputs_within.iter().filter(|output| !output.before) {
            let w = &self.cotangents.y[output.place..output.place + rows];
            add_lane(sum, width, output.slot, 1.0, w);
        }
        accumulate(self.compensated, lambda, &mut self.carry[..len], sum);
        self.flush_step_gradient();
        if self.times {
            for slot in 0..active {
                self.chain_to_times(problem, slot)?;
            }
            self.next_slope[..len].copy_from_slice(&self.slopes[..len]);
        }
        let mut x = vec![T::zero(); rows];
        for slot in 0..active {
            let reverse = &mut self.trajectories[slot];
            reverse.outputs = record.outputs_within(reverse.leaf_index, reverse.outputs, reverse.cursor.steps).start;
            load_lane(&self.states, width, slot, &mut x);
            self.reverse_boundary(problem, evaluators, record, slot, &x, false)?;
        }
        Ok(())
    }

    /// Computes X_2 … X_s again, and what else their transposes need.
    fn recompute_stages(&mut self, problem: &Problem<T>, evaluators: &mut Evaluators<T>, index: usize) -> Result<()> {
        let (width, len, active) = (self.width, self.len(), self.trajectories.len());
        let (scheme, stages, timed) = (&problem.scheme, problem.scheme.stages, len + width);
        let lanes = &mut *evaluators.lanes[index];
        let tape = if self.step_tapes { lanes.tape_len() } else { 0 };
        let Self { states, slopes, tapes, pulled, spans, combiner, .. } = self;
        let (x, others) = states.split_at_mut(timed);
        spans.stage_times(width, scheme.c[0], &mut x[len..]);
        let mut sink = StageStates { states: others, tapes, tape };
        let mut evaluator = LaneEvaluator { lanes, active, width, spans, combiner };
        let scratch = Scratch { slopes, len, first_slope_known: false, state: &mut pulled[..timed] };
        let extent = if self.times { StepExtent::Slopes } else { StepExtent::Stages };
        attempt(scheme, &mut evaluator, x, extent, scratch, &mut sink)?;
        // The last slope may serve no other stage.
        let spared = usize::from(extent == StepExtent::Stages && tape == 0);
        self.counts.evaluations += (stages - spared) * active;
        Ok(())
    }

    /// Adds outputs within a step, with their weights.
    #[inline(never)]
    pub(super) fn add_outputs_within(
        &mut self,
        problem: &Problem<T>,
        slot: usize,
        step: Step,
        outputs: Range<usize>,
        before: bool,
    ) {
        let stages = problem.scheme.stages;
        let trajectory = self.trajectories[slot].trajectory;
        for output in outputs {
            let theta = (problem.times.of(trajectory)[output] - step.t) / step.h;
            let (mut weights, mut rates) = (vec![0.0; stages + 1], vec![0.0; stages + 1]);
            problem.scheme.extension_weights(theta, &mut weights, &mut rates);
            weights.iter_mut().for_each(|weight| *weight *= step.h);
            let place = problem.output_offset(trajectory, output);
            self.outputs_within.push(OutputWithin { slot, output, place, theta, weights, rates, before });
        }
    }

    /// Adds the derivatives with respect to the times of outputs within steps, and those of t_n and h that follow.
    fn output_times(&mut self, problem: &Problem<T>, stages: usize) {
        let (width, rows, len) = (self.width, self.rows, self.len());
        for output in self.outputs_within.iter().filter(|output| !output.before) {
            let w = &self.cotangents.y[output.place..output.place + rows];
            let product = |slope: &[T]| -> f64 {
                w.iter().enumerate().map(|(row, w)| w.wide() * slope[row * width + output.slot].wide()).sum()
            };
            let last = product(&self.next_slope);
            let rate = (0..stages).map(|stage| output.rates[stage] * product(&self.slopes[stage * len..])).sum::<f64>()
                + output.rates[stages] * last;
            let reverse = &mut self.trajectories[output.slot];
            self.gradient.times.add(problem.times.start(reverse.trajectory) + output.output, rate);
            reverse.record_gradient[0] -= rate;
            reverse.record_gradient[1] += output.weights[stages] / reverse.step.h * last - output.theta * rate;
        }
    }

    /// The chain rule from t_n and h of a step to the times that they follow from.
    fn chain_to_times(&mut self, problem: &Problem<T>, slot: usize) -> Result<()> {
        let reverse = &mut self.trajectories[slot];
        let [t, h] = reverse.record_gradient;
        let end = reverse.time_cotangent + h;
        let start = problem.times.start(reverse.trajectory);
        let times = problem.times.of(reverse.trajectory);
        match reverse.step.end {
            StepEnd::Free | StepEnd::Event => {
                reverse.time_cotangent += t;
                return Ok(());
            }
            StepEnd::Output(output) => {
                self.gradient.times.add(start + output, end);
            }
            StepEnd::Jump => {
                if let Some((jump, occurrence)) = reverse.jump.take() {
                    self.gradient.jump_times[jump].add(occurrence, end);
                }
            }
            StepEnd::Grid { from, step } => {
                let to = if problem.options.interpolates(times) { times.len() - 1 } else { from + 1 };
                let fraction = step as f64 / interval_steps(&problem.options, times[from], times[to])? as f64;
                self.gradient.times.add(start + from, end * (1.0 - fraction));
                self.gradient.times.add(start + to, end * fraction);
            }
        }
        reverse.time_cotangent = t - h;
        Ok(())
    }

    #[inline(never)]
    pub(super) fn lambda_of(&self, slot: usize) -> Vec<T> {
        let mut lambda = vec![T::zero(); self.rows];
        load_lane(&self.lambda, self.width, slot, &mut lambda);
        lambda
    }

    /// λ += w for a lane.
    #[inline(never)]
    pub(super) fn add(&mut self, slot: usize, w: &[T]) {
        for (row, w) in w.iter().enumerate() {
            let at = row * self.width + slot;
            accumulate(self.compensated, &mut self.lambda[at..=at], &mut self.carry[at..=at], &[*w]);
        }
    }

    /// Adds to the gradient of a lane's arguments.
    #[inline(never)]
    pub(super) fn add_arguments(&mut self, slot: usize, arguments: &[T]) {
        let [sums, carry] = &mut self.argument_sums;
        for (row, argument) in arguments.iter().enumerate() {
            let at = row * self.width + slot;
            accumulate(self.compensated, &mut sums[at..=at], &mut carry[at..=at], &[*argument]);
        }
    }
}

/// Keeps the stage states of a step, with their times, and their tapes if they are not empty.
struct StageStates<'a, T> {
    /// X_2 … X_s.
    states: &'a mut [T],
    tapes: &'a mut [T],
    tape: usize,
}

impl<T: Real> Sink<T> for StageStates<'_, T> {
    fn stage(&mut self, Stage { index, .. }: Stage, x: &[T]) -> Result<Option<&mut [T]>> {
        if let Some(before) = index.checked_sub(1) {
            self.states[before * x.len()..index * x.len()].copy_from_slice(x);
        }
        let Self { tapes, tape, .. } = self;
        Ok((*tape > 0).then(|| &mut tapes[index * *tape..(index + 1) * *tape]))
    }
}

/// Adds a multiple of a state to a lane.
#[inline(never)]
pub(super) fn add_lane<T: Real>(array: &mut [T], width: usize, slot: usize, weight: f64, w: &[T]) {
    if weight == 0.0 {
        return;
    }
    let weight = T::of(weight);
    for (row, w) in w.iter().enumerate() {
        let at = row * width + slot;
        array[at] = array[at] + weight * *w;
    }
}
