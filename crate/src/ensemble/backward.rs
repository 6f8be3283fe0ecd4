//! The transpose of a leaf's solve: all its trajectories from their last steps to their first, side by side.

use std::ops::Range;

use super::Cotangents;
use super::block::{LaneStepping, Mixer, Spans, lane, lanes_index, set_lane, width_for};
use super::clock::{End, Step};
use super::lists::order;
use super::part::LeafGradient;
use super::problem::{Problem, Tools};
use super::record::{Cursor, LeafRecord};
use super::single::Single;
use crate::error::Result;
use crate::field::LanePullback;
use crate::kernel::combine::{accumulate, combine_terms};
use crate::kernel::lanes::{copy_lane, restride};
use crate::kernel::real::Real;
use crate::memory::{Buffer, Purpose};
use crate::solve::interval_steps;
use crate::stepper::{Goal, Scratch, Sink, Stage, Weights, attempt};

/// What transposes leaves, one after the other.
pub(super) struct Backward<'w, T> {
    pub(super) cotangents: Cotangents<'w, T>,
    pub(super) step_tapes: bool,
    /// Whether cotangents of times are wanted.
    pub(super) times: bool,
    pub(super) compensated: bool,
    pub(super) single: Single<T>,
    pub(super) width: usize,
    pub(super) rows: usize,
    /// λ, and behind it g_1 … g_s of a step; the carry of λ.
    pub(super) lambda: Buffer<T>,
    pub(super) carry: Buffer<T>,
    /// X_1 … X_s with their times, their slopes, their tapes.
    pub(super) states: Buffer<T>,
    pub(super) slopes: Buffer<T>,
    pub(super) tapes: Buffer<T>,
    pub(super) cotangent: Buffer<T>,
    pub(super) pulled: Buffer<T>,
    /// f(x_{n+1}), which the extension of a step ends in.
    pub(super) next_slope: Buffer<T>,
    /// Of the lanes: arguments and data, the gradient of the arguments with its carry, and of one step.
    pub(super) arguments: Buffer<T>,
    pub(super) data: Buffer<T>,
    pub(super) argument_sums: [Buffer<T>; 2],
    pub(super) argument_step: Buffer<T>,
    /// ∂L/∂θ of the leaf with its carry, and of one step.
    pub(super) sums: [Buffer<T>; 2],
    pub(super) step: Buffer<T>,
    pub(super) spans: Spans,
    pub(super) mixer: Mixer<T>,
    pub(super) trajectories: Vec<Reverse>,
    pub(super) inside: Vec<OutputWithin>,
    pub(super) uses: Uses,
    pub(super) gradient: LeafGradient<T>,
}

/// How the field has been used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uses {
    pub evaluations: usize,
    pub vjps: usize,
    /// Whether it tells its derivative with respect to time.
    pub has_time_derivative: bool,
    /// Whether there was an event whose time counts.
    pub crossed: bool,
}

impl Default for Uses {
    fn default() -> Self {
        Self { evaluations: 0, vjps: 0, has_time_derivative: true, crossed: false }
    }
}

impl Uses {
    pub fn add(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.vjps += other.vjps;
        self.has_time_derivative &= other.has_time_derivative;
        self.crossed |= other.crossed;
    }
}

/// A trajectory whose steps are being transposed.
#[derive(Debug, Clone)]
pub(super) struct Reverse {
    pub trajectory: usize,
    /// As one counts in the leaf.
    pub own: usize,
    /// What is left of it.
    pub cursor: Cursor,
    /// ∂L/∂t of the time that it has reached.
    pub time: f64,
    /// The outputs and events that are left.
    pub outputs: usize,
    pub events: usize,
    /// The jump whose time a step ends on.
    pub jump: Option<(usize, usize)>,
    pub step: Step,
    /// The derivatives with respect to t_n and h of the step.
    pub record_gradient: [f64; 2],
}

/// An output within a step of a lane, or within the step before.
pub(super) struct OutputWithin {
    pub slot: usize,
    pub output: usize,
    /// Where its cotangent is.
    pub place: usize,
    pub theta: f64,
    /// h b_i(θ) and b_i′(θ), the last of f(x_{n+1}).
    pub weights: Vec<f64>,
    pub rates: Vec<f64>,
    /// Whether it lies within the step before.
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
            single: Single::new(problem)?,
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
            argument_step: array(Purpose::Gradient, arguments)?,
            sums: [whole(parameters)?, whole(parameters)?],
            step: whole(parameters)?,
            spans: Spans::new(width),
            mixer: Mixer::new(ledger, stages + 1, width)?,
            trajectories: vec![],
            inside: vec![],
            uses: Uses::default(),
            gradient: LeafGradient::new(problem, 0..0)?,
        })
    }

    /// Bytes that so many of it take with what they hand out.
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
        (threads * own + tree + results) * size_of::<T>() + threads * Single::<T>::bytes(problem)
    }

    /// Transposes a leaf: its gradient, and ∂L/∂θ. Its events begin at `first_event`; trajectories that failed are left out.
    pub fn run(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
        leaf: Range<usize>,
        record: &LeafRecord<T>,
        first_event: usize,
        failed: &[usize],
    ) -> Result<(LeafGradient<T>, Buffer<T>)> {
        self.gradient = LeafGradient::new(problem, leaf.clone())?;
        self.begin(problem, tools, leaf, record, first_event, failed)?;
        loop {
            self.finish_trajectories(problem, tools);
            if self.trajectories.is_empty() {
                break;
            }
            self.step_back(problem, tools, record)?;
        }
        self.end_step();
        let sums = Buffer::copied(&problem.ledger, Purpose::Gradient, &self.sums[0])?;
        self.sums.iter_mut().for_each(|sums| sums.fill(T::zero()));
        Ok((std::mem::replace(&mut self.gradient, LeafGradient::new(problem, 0..0)?), sums))
    }

    /// Counts evaluations of a leaf that was solved again.
    pub fn solved_again(&mut self, evaluations: usize) {
        self.uses.evaluations += evaluations;
    }

    /// How it has used the field.
    pub fn uses(&self) -> Uses {
        let mut uses = self.uses;
        uses.evaluations += self.single.evaluations;
        uses.vjps += self.single.vjps;
        uses
    }

    fn len(&self) -> usize {
        self.rows * self.width
    }

    /// Puts the trajectories into lanes, those with the most steps in front.
    fn begin(
        &mut self,
        problem: &Problem<T>,
        tools: &mut Tools<T>,
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
                self.trajectories.push(Reverse {
                    trajectory,
                    own,
                    cursor: record.cursor(own),
                    time: 0.0,
                    outputs: record.places[own].len(),
                    events,
                    jump: None,
                    step: Step { t: 0.0, h: 0.0, to: 0.0, end: End::Free },
                    record_gradient: [0.0; 2],
                });
            }
        }
        let keys: Vec<f64> = self.trajectories.iter().map(|reverse| -(reverse.cursor.steps as f64)).collect();
        self.trajectories = order(&keys).into_iter().map(|index| self.trajectories[index].clone()).collect();
        if self.trajectories.is_empty() {
            return Ok(());
        }
        self.width = width_for(problem, self.trajectories.len());
        let (width, len) = (self.width, self.len());
        self.lambda[..len].fill(T::zero());
        self.carry[..len].fill(T::zero());
        self.next_slope[..len].fill(T::zero());
        self.argument_sums.iter_mut().for_each(|sums| sums.fill(T::zero()));
        for (slot, reverse) in self.trajectories.iter().enumerate() {
            let (arguments, data) = problem.inputs.of(reverse.trajectory);
            set_lane(&mut self.arguments, width, slot, arguments);
            set_lane(&mut self.data, width, slot, data);
        }
        for slot in 0..self.trajectories.len() {
            let own = self.trajectories[slot].own;
            let end = record.ends[own * self.rows..(own + 1) * self.rows].to_vec();
            self.reverse_boundary(problem, tools, record, slot, &end, true)?;
        }
        self.set_inputs(problem, tools);
        Ok(())
    }

    /// Gives the field what the lanes have beside their states; padding lanes have what the first has.
    #[inline(never)]
    fn set_inputs(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) {
        let width = self.width;
        for slot in self.trajectories.len()..width {
            copy_lane(&mut self.arguments, problem.arguments, width, 0, slot);
            copy_lane(&mut self.data, problem.data, width, 0, slot);
        }
        let (arguments, data) = (problem.arguments * width, problem.data * width);
        let index = lanes_index(problem, width);
        tools.lanes[index].set_inputs(&self.arguments[..arguments], &self.data[..data]);
    }

    /// Readies field, jumps and events for one trajectory.
    #[inline(never)]
    pub(super) fn set_single_inputs(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, trajectory: usize) {
        self.single.set_inputs(problem.inputs.of(trajectory), tools);
    }

    /// Adds what steps, jumps and events have added to ∂L/∂θ.
    fn end_step(&mut self) {
        let [sums, carry] = &mut self.sums;
        accumulate(self.compensated, sums, carry, &self.step);
        self.step.fill(T::zero());
    }

    /// Trajectories that are at their beginnings hand out their gradients. They are the last in the lanes.
    fn finish_trajectories(&mut self, problem: &Problem<T>, tools: &mut Tools<T>) {
        let (width, rows) = (self.width, self.rows);
        let before = self.trajectories.len();
        while let Some(reverse) = self.trajectories.pop_if(|reverse| reverse.cursor.steps == 0) {
            let (slot, trajectory) = (self.trajectories.len(), reverse.trajectory);
            let row = self.gradient.row(trajectory, rows);
            lane(&self.lambda, width, slot, &mut self.gradient.y0[row]);
            let row = self.gradient.row(trajectory, problem.arguments);
            lane(&self.argument_sums[0], width, slot, &mut self.gradient.arguments[row]);
            self.gradient.times.add(problem.times.start(trajectory), reverse.time);
        }
        let left = self.trajectories.len();
        if left == before || left == 0 {
            return;
        }
        self.width = width_for(problem, left);
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
        self.set_inputs(problem, tools);
    }

    /// Transposes the last step that is left of each trajectory.
    fn step_back(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, record: &LeafRecord<T>) -> Result<()> {
        let (width, len, rows, active) = (self.width, self.len(), self.rows, self.trajectories.len());
        let (scheme, stages) = (&problem.scheme, problem.scheme.stages);
        let index = lanes_index(problem, width);
        self.inside.clear();
        for slot in 0..active {
            let reverse = &mut self.trajectories[slot];
            let (step, state) = record.pop_step(&mut reverse.cursor);
            (reverse.step, reverse.record_gradient) = (step, [0.0; 2]);
            let spans = &mut self.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (step.t, step.h, step.to);
            set_lane(&mut self.states, width, slot, record.states.get(state));
            let Reverse { cursor, outputs, .. } = self.trajectories[slot];
            let own = record.within(self.trajectories[slot].own, outputs, cursor.steps);
            let behind = own.start;
            self.add_outputs_within(problem, slot, step, own, false);
            // Those of the step before end in this one's first slope, unless something happens between them.
            if let Some(before) = record.last_step(&cursor).filter(|_| !record.changes(&cursor)) {
                let outputs = record.within(self.trajectories[slot].own, behind, cursor.steps - 1);
                self.add_outputs_within(problem, slot, before, outputs, true);
            }
        }
        // Padding lanes go with the first, without a cotangent.
        for slot in active..width {
            let spans = &mut self.spans;
            (spans.t[slot], spans.h[slot], spans.end[slot]) = (spans.t[0], spans.h[0], spans.end[0]);
            copy_lane(&mut self.states, rows, width, 0, slot);
            for row in 0..rows {
                self.lambda[row * width + slot] = T::zero();
                self.carry[row * width + slot] = T::zero();
            }
        }
        self.stages_again(problem, tools, index)?;

        let lanes = &mut *tools.lanes[index];
        self.argument_step.fill(T::zero());
        let timed = len + width;
        let tape = lanes.tape_len();
        for i in (0..stages).rev() {
            // ℓ_i = h (b_i λ + Σ_{j>i} a_ji g_j), and what outputs add.
            let weights = |part: &Weights| {
                let (a, b) = (part.a, part.b[i]);
                std::iter::once(b).chain((0..stages).map(move |j| if j > i { a[j][i] } else { 0.0 }))
            };
            self.mixer.mix(&mut self.cotangent[..len], None, &self.spans.h[..width], (scheme, weights), &self.lambda);
            for inside in self.inside.iter().filter(|inside| !inside.before) {
                let w = &self.cotangents.y[inside.place..inside.place + rows];
                add_lane(&mut self.cotangent, width, inside.slot, inside.weights[i], w);
            }
            if self.times {
                let (cotangent, slopes) = (&self.cotangent[..len], &self.slopes[i * len..(i + 1) * len]);
                for (slot, reverse) in self.trajectories.iter_mut().enumerate() {
                    let at = (0..rows).map(|row| row * width + slot);
                    let product: f64 = at.map(|at| cotangent[at].wide() * slopes[at].wide()).sum();
                    reverse.record_gradient[1] += product / reverse.step.h;
                }
            }
            // What the step before hands over does not depend on this step's length.
            for inside in self.inside.iter().filter(|inside| inside.before && i == 0) {
                let w = &self.cotangents.y[inside.place..inside.place + rows];
                add_lane(&mut self.cotangent, width, inside.slot, inside.weights[stages], w);
            }
            self.spans.stage_times(width, scheme.c[i], &mut self.states[i * timed + len..][..width]);
            let pullback = LanePullback {
                cotangent: &self.cotangent[..len],
                x: &mut self.pulled[..timed],
                parameters: &mut self.step,
                arguments: &mut self.argument_step[..problem.arguments * width],
            };
            let kept = self.step_tapes.then(|| &self.tapes[i * tape..(i + 1) * tape]);
            let x = &self.states[i * timed..(i + 1) * timed];
            self.uses.has_time_derivative &= lanes.pullback(active, &self.spans.times, x, kept, pullback)?;
            self.lambda[(i + 1) * len..(i + 2) * len].copy_from_slice(&self.pulled[..len]);
            for (slot, reverse) in self.trajectories.iter_mut().enumerate() {
                let time = self.pulled[len + slot].wide();
                reverse.record_gradient[0] += time;
                reverse.record_gradient[1] += scheme.c[i] * time;
            }
        }
        self.uses.vjps += stages * active;
        // Without a tape it runs forward again; what has none at all does not.
        if !self.step_tapes && tape > 0 {
            self.uses.evaluations += stages * active;
        }
        let [sums, carry] = &mut self.argument_sums;
        let arguments = problem.arguments * width;
        accumulate(self.compensated, &mut sums[..arguments], &mut carry[..arguments], &self.argument_step[..arguments]);
        if self.times {
            self.output_times(problem, stages);
        }
        // λ_n = λ_{n+1} + Σ g_i, and the cotangents of outputs within.
        let (lambda, g) = self.lambda.split_at_mut(len);
        let sum = &mut self.cotangent[..len];
        combine_terms(sum, g[..stages * len].chunks_exact(len).map(|g| (1.0, g)));
        for inside in self.inside.iter().filter(|inside| !inside.before) {
            let w = &self.cotangents.y[inside.place..inside.place + rows];
            add_lane(sum, width, inside.slot, 1.0, w);
        }
        accumulate(self.compensated, lambda, &mut self.carry[..len], sum);
        self.end_step();
        if self.times {
            for slot in 0..active {
                self.chain(problem, slot)?;
            }
            self.next_slope[..len].copy_from_slice(&self.slopes[..len]);
        }
        let mut x = vec![T::zero(); rows];
        for slot in 0..active {
            let reverse = &mut self.trajectories[slot];
            reverse.outputs = record.within(reverse.own, reverse.outputs, reverse.cursor.steps).start;
            lane(&self.states, width, slot, &mut x);
            self.reverse_boundary(problem, tools, record, slot, &x, false)?;
        }
        Ok(())
    }

    /// X_2 … X_s and what else their transposes need.
    fn stages_again(&mut self, problem: &Problem<T>, tools: &mut Tools<T>, index: usize) -> Result<()> {
        let (width, len, active) = (self.width, self.len(), self.trajectories.len());
        let (scheme, stages, timed) = (&problem.scheme, problem.scheme.stages, len + width);
        let lanes = &mut *tools.lanes[index];
        let tape = if self.step_tapes { lanes.tape_len() } else { 0 };
        let Self { states, slopes, tapes, pulled, spans, mixer, .. } = self;
        let (x, others) = states.split_at_mut(timed);
        spans.stage_times(width, scheme.c[0], &mut x[len..]);
        let mut sink = StageStates { states: others, tapes, tape };
        let mut stepping = LaneStepping { lanes, active, width, spans, mixer };
        let scratch = Scratch { slopes, len, first_slope_known: false, state: &mut pulled[..timed] };
        let goal = if self.times { Goal::Slopes } else { Goal::Stages };
        attempt(scheme, &mut stepping, x, goal, scratch, &mut sink)?;
        // The last slope may serve no other stage.
        let spared = usize::from(goal == Goal::Stages && tape == 0);
        self.uses.evaluations += (stages - spared) * active;
        Ok(())
    }

    /// The weights of outputs within a step.
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
            let place = problem.place(trajectory, output);
            self.inside.push(OutputWithin { slot, output, place, theta, weights, rates, before });
        }
    }

    /// The derivatives with respect to the times of outputs within the steps, and what follows for the steps.
    fn output_times(&mut self, problem: &Problem<T>, stages: usize) {
        let (width, rows, len) = (self.width, self.rows, self.len());
        for inside in self.inside.iter().filter(|inside| !inside.before) {
            let w = &self.cotangents.y[inside.place..inside.place + rows];
            let product = |slope: &[T]| -> f64 {
                w.iter().enumerate().map(|(row, w)| w.wide() * slope[row * width + inside.slot].wide()).sum()
            };
            let last = product(&self.next_slope);
            let rate = (0..stages).map(|stage| inside.rates[stage] * product(&self.slopes[stage * len..])).sum::<f64>()
                + inside.rates[stages] * last;
            let reverse = &mut self.trajectories[inside.slot];
            self.gradient.times.add(problem.times.start(reverse.trajectory) + inside.output, rate);
            reverse.record_gradient[0] -= rate;
            reverse.record_gradient[1] += inside.weights[stages] / reverse.step.h * last - inside.theta * rate;
        }
    }

    /// The chain rule from a step's t_n and h to the times that they follow.
    fn chain(&mut self, problem: &Problem<T>, slot: usize) -> Result<()> {
        let reverse = &mut self.trajectories[slot];
        let [t, h] = reverse.record_gradient;
        let end = reverse.time + h;
        let start = problem.times.start(reverse.trajectory);
        let times = problem.times.of(reverse.trajectory);
        match reverse.step.end {
            End::Free | End::Event => {
                reverse.time += t;
                return Ok(());
            }
            End::Output(output) => {
                self.gradient.times.add(start + output, end);
            }
            End::Jump => {
                if let Some((jump, occurrence)) = reverse.jump.take() {
                    self.gradient.jump_times[jump].add(occurrence, end);
                }
            }
            End::Grid { from, step } => {
                let to = if problem.options.interpolates(times) { times.len() - 1 } else { from + 1 };
                let fraction = step as f64 / interval_steps(&problem.options, times[from], times[to])? as f64;
                self.gradient.times.add(start + from, end * (1.0 - fraction));
                self.gradient.times.add(start + to, end * fraction);
            }
        }
        reverse.time = t - h;
        Ok(())
    }

    #[inline(never)]
    pub(super) fn lambda_of(&self, slot: usize) -> Vec<T> {
        let mut lambda = vec![T::zero(); self.rows];
        lane(&self.lambda, self.width, slot, &mut lambda);
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

/// Keeps the states of the stages of a step, with their times, and tapes if they have numbers.
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
