//! Properties of random programs of every operation: values as a plain interpreter has them, derivatives as differences have them,
//! to third order, and the same bits whatever is retained and whoever else is in the batch.

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, Axis, concatenate, s};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::field::{evaluate, vjp as field_vjp};
use symplectic_adjoint::program::Program;
use symplectic_adjoint::sensitivity::Tangents;
use symplectic_adjoint::{Error, GradientMethod, Method, Options, Output, Real, Steps, jvp, odeint, vjp};

use crate::numbers::numbers;
use crate::random::interpreter::{Interpreter, Point};
use crate::random::{Genes, array, program};

fn genes(most: usize) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 1..most)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// A program with numbers for all that it takes.
#[derive(Clone)]
struct Case {
    program: Program,
    t: f64,
    y: Array2<f64>,
    arguments: Array2<f64>,
    parameters: Vec<f64>,
}

impl Case {
    fn new(program: Program, batch: usize, seed: u64) -> Self {
        let (y, arguments) = (array(batch, program.state(), seed), array(batch, program.arguments(), seed + 1));
        let parameters = numbers(program.parameters(), seed + 2);
        Self { program, t: 0.37, y, arguments, parameters }
    }

    fn field(&self) -> ProgramField<f64> {
        ProgramField::new(self.program.clone(), &self.parameters).unwrap()
    }

    fn value(&self) -> Array2<f64> {
        let field = self.field();
        let with = field.with_arguments(self.arguments.view()).unwrap();
        let value = evaluate(&with, &self.parameters, self.t, self.y.view()).unwrap();
        Array2::from_shape_vec((self.y.nrows(), self.program.outputs()), value.to_vec()).unwrap()
    }

    fn pull(&self, w: &Array2<f64>) -> Pulled {
        let field = self.field();
        let with = field.with_arguments(self.arguments.view()).unwrap();
        let pulled = field_vjp(&with, &self.parameters, self.t, self.y.view(), w.view()).unwrap();
        Pulled {
            y: pulled.y.to_vec(),
            arguments: pulled.arguments.to_vec(),
            parameters: pulled.parameters.to_vec(),
            t: pulled.t.unwrap(),
        }
    }

    fn w(&self, seed: u64) -> Array2<f64> {
        array(self.y.nrows(), self.program.outputs(), seed)
    }

    fn trajectory(&self, index: usize) -> Self {
        let only = |all: &Array2<f64>| all.slice(s![index..index + 1, ..]).to_owned();
        Self { y: only(&self.y), arguments: only(&self.arguments), ..self.clone() }
    }

    fn point(&self, trajectory: usize) -> Point {
        Point {
            t: self.t,
            state: self.y.row(trajectory).to_vec(),
            arguments: self.arguments.row(trajectory).to_vec(),
            parameters: self.parameters.clone(),
        }
    }

    /// The same with one number changed: of y, arguments, parameters and the time, counted through.
    fn moved(&self, mut index: usize, by: f64) -> Self {
        let mut moved = self.clone();
        for part in 0..2 {
            let numbers = if part == 0 { &mut moved.y } else { &mut moved.arguments };
            if let Some(number) = numbers.as_slice_mut().unwrap().get_mut(index) {
                *number += by;
                return moved;
            }
            index -= numbers.len();
        }
        match moved.parameters.get_mut(index) {
            Some(parameter) => *parameter += by,
            None => moved.t += by,
        }
        moved
    }
}

#[derive(Debug, PartialEq)]
struct Pulled {
    y: Vec<f64>,
    arguments: Vec<f64>,
    parameters: Vec<f64>,
    t: f64,
}

impl Pulled {
    fn all(&self) -> Vec<f64> {
        [&self.y[..], &self.arguments, &self.parameters, &[self.t]].concat()
    }
}

fn bits<T: Real>(numbers: impl IntoIterator<Item = T>) -> Vec<u64> {
    numbers.into_iter().map(|number| number.wide().to_bits()).collect()
}

fn values_are_those_of_the_interpreter(case: &Case, tolerance: f64) {
    let interpreter = Interpreter::new(&case.program);
    let value = case.value();
    for (trajectory, got) in value.outer_iter().enumerate() {
        let (expected, _) = interpreter.run(&case.point(trajectory));
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert!(
                (got - expected).abs() <= tolerance * (1.0 + expected.abs()),
                "{got} and not {expected}: {}",
                case.program.to_json()
            );
        }
    }
}

/// Derivatives of ⟨w, f⟩ by the interpreter: by a stencil of sixth order, none where a kink is near.
struct Differences<'a> {
    case: &'a Case,
    w: &'a Array2<f64>,
    interpreter: Interpreter,
}

impl Differences<'_> {
    fn value(&self, case: &Case) -> (f64, f64, Vec<bool>) {
        let (mut sum, mut scale, mut all) = (0.0, 0.0_f64, vec![]);
        for (trajectory, w) in self.w.outer_iter().enumerate() {
            let (value, sides) = self.interpreter.run(&case.point(trajectory));
            value.iter().zip(w).for_each(|(f, w)| {
                sum += f * w;
                scale = scale.max((f * w).abs());
            });
            all.extend(sides);
        }
        (sum, scale, all)
    }

    /// The derivative by one number, and an estimate of its own error.
    fn by(&self, index: usize) -> Option<(f64, f64)> {
        let (_, scale, sides) = self.value(self.case);
        let sixth = |step: f64| {
            let difference = |n: f64| {
                let (plus, _, after) = self.value(&self.case.moved(index, n * step));
                let (minus, _, before) = self.value(&self.case.moved(index, -n * step));
                (after == sides && before == sides).then_some((plus - minus) / (2.0 * n * step))
            };
            Some(1.5 * difference(1.0)? - 0.6 * difference(2.0)? + 0.1 * difference(3.0)?)
        };
        [1e-3, 1e-4].into_iter().find_map(|step| {
            let (coarse, fine) = (sixth(2.0 * step)?, sixth(step)?);
            Some((fine, (coarse - fine).abs() + 1e-14 * (scale + 1.0) / step))
        })
    }
}

/// The share of derivatives that no kink spoils.
fn transposes_match_differences(case: &Case, seed: u64, counts: &mut (usize, usize)) {
    let w = case.w(seed);
    let pulled = case.pull(&w).all();
    let differences = Differences { case, w: &w, interpreter: Interpreter::new(&case.program) };
    let scale = pulled.iter().fold(1.0_f64, |scale, part| scale.max(part.abs()));
    for (index, &got) in pulled.iter().enumerate() {
        counts.1 += 1;
        let Some((expected, error)) = differences.by(index) else { continue };
        if error > 1e-9 * scale {
            continue;
        }
        counts.0 += 1;
        let (sizes, json) = ([case.y.len(), case.arguments.len(), case.parameters.len()], case.program.to_json());
        assert!(
            (got - expected).abs() <= 1e-8 * scale,
            "{index} of {sizes:?}: {got} and not {expected} ± {error}: {json}"
        );
    }
}

/// ⟨w, J v⟩ = ⟨Jᵀ w, v⟩.
fn transposes_are_those_of_tangents(case: &Case, seed: u64) {
    let Case { program, y, arguments, parameters, .. } = case;
    let (outputs, batch) = (program.outputs(), y.nrows());
    let (dy, da, dt) =
        (array(batch, y.ncols(), seed), array(batch, arguments.ncols(), seed + 1), numbers(batch, seed + 2));
    let dp = numbers(parameters.len(), seed + 3);
    let dt = Array2::from_shape_vec((batch, 1), dt).unwrap();
    let all = concatenate(Axis(1), &[arguments.view(), dy.view(), da.view(), dt.view()]).unwrap();
    let tangent = Case {
        program: program.tangent(),
        arguments: all,
        parameters: [&parameters[..], &dp].concat(),
        ..case.clone()
    };
    let both = tangent.value();
    assert_eq!(both.ncols(), 2 * outputs);
    let close = |a: f64, b: f64, scale: f64| assert!((a - b).abs() <= 1e-12 * scale, "{a} {b}: {}", program.to_json());
    case.value().iter().zip(both.slice(s![.., ..outputs])).for_each(|(a, b)| close(*a, *b, 1.0 + a.abs()));
    let w = case.w(seed + 4);
    // The time's tangent is per trajectory, so the cotangent has to be as well.
    for trajectory in 0..batch {
        let one = case.trajectory(trajectory);
        let w = w.slice(s![trajectory..trajectory + 1, ..]).to_owned();
        let pulled = one.pull(&w);
        let (mut left, mut right, mut scale) = (0.0, 0.0, 1.0);
        let mut add = |to: &mut f64, a: f64, b: f64| {
            *to += a * b;
            scale += (a * b).abs();
        };
        both.slice(s![trajectory, outputs..]).iter().zip(&w).for_each(|(&a, &b)| add(&mut left, a, b));
        pulled.y.iter().zip(dy.row(trajectory)).for_each(|(&a, &b)| add(&mut right, a, b));
        pulled.arguments.iter().zip(da.row(trajectory)).for_each(|(&a, &b)| add(&mut right, a, b));
        pulled.parameters.iter().zip(&dp).for_each(|(&a, &b)| add(&mut right, a, b));
        add(&mut right, pulled.t, dt[[trajectory, 0]]);
        close(left, right, scale);
    }
}

fn alone_is_as_in_a_batch(case: &Case, seed: u64) {
    let (value, w) = (case.value(), case.w(seed));
    let pulled = case.pull(&w);
    let (state, arguments) = (case.program.state(), case.program.arguments());
    let batch = case.y.nrows();
    for trajectory in [0, batch / 3, batch - 1] {
        let one = case.trajectory(trajectory);
        assert_eq!(bits(one.value()), bits(value.row(trajectory).iter().copied()), "{}", case.program.to_json());
        let alone = one.pull(&w.slice(s![trajectory..trajectory + 1, ..]).to_owned());
        let part = |all: &[f64], columns: usize| bits(all[trajectory * columns..][..columns].iter().copied());
        assert_eq!(bits(alone.y), part(&pulled.y, state), "{}", case.program.to_json());
        assert_eq!(bits(alone.arguments), part(&pulled.arguments, arguments), "{}", case.program.to_json());
    }
}

fn json_gives_the_same(case: &Case, seed: u64) {
    let json = case.program.to_json();
    let again = Case { program: Program::from_json(&json).unwrap(), ..case.clone() };
    assert_eq!(again.program.to_json(), json);
    assert_eq!(bits(again.value()), bits(case.value()), "{json}");
    let w = case.w(seed);
    assert_eq!(bits(again.pull(&w).all()), bits(case.pull(&w).all()), "{json}");
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn values(genes in genes(200), batch in 1..20_usize, seed in any::<u16>()) {
        let case = Case::new(program(&mut Genes::new(&genes), false), batch, seed.into());
        values_are_those_of_the_interpreter(&case, 1e-13);
        json_gives_the_same(&case, seed.into());
        transposes_are_those_of_tangents(&case, seed.into());
    }

    #[test]
    fn trajectories_do_not_touch_each_other(genes in genes(120), batch in 0..5_usize, seed in any::<u16>()) {
        let batch = [2, 3, 17, 65, 257][batch];
        alone_is_as_in_a_batch(&Case::new(program(&mut Genes::new(&genes), false), batch, seed.into()), seed.into());
    }
}

/// Cases by number, for tests that count over all of them.
fn cases(count: u64, longest: u64) -> impl Iterator<Item = (u64, Vec<u32>)> {
    (0..count).map(move |seed| {
        let len = 5 + seed * (longest - 5) / count;
        let genes = numbers(len as usize, seed + 1000).into_iter().map(|x| ((x + 1.0) * 2_147_483_647.0) as u32);
        (seed, genes.collect())
    })
}

#[test]
fn every_operation_occurs() {
    let mut counts = BTreeMap::new();
    for (_, genes) in cases(1000, 200) {
        for name in Interpreter::new(&program(&mut Genes::new(&genes), false)).operations() {
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len(), 43, "{counts:?}");
    assert!(counts.values().all(|&count| count > 20), "{counts:?}");
}

fn first_derivatives_of(count: u64) {
    let mut counts = (0, 0);
    for (seed, genes) in cases(count, 150) {
        let case = Case::new(program(&mut Genes::new(&genes), false), [1, 2, 5][seed as usize % 3], seed);
        transposes_match_differences(&case, seed, &mut counts);
    }
    assert!(counts.0 * 10 > counts.1 * 8, "{counts:?}");
}

fn second_derivatives_of(count: u64) {
    let mut counts = (0, 0);
    for (seed, genes) in cases(count, 100) {
        let case = Case::new(program(&mut Genes::new(&genes), false).tangent(), [1, 2][seed as usize % 2], seed);
        // Where a function saturates, its derivative is a difference of numbers near each other.
        values_are_those_of_the_interpreter(&case, 1e-12);
        json_gives_the_same(&case, seed);
        alone_is_as_in_a_batch(&Case::new(case.program.clone(), 9, seed), seed);
        transposes_match_differences(&case, seed, &mut counts);
    }
    assert!(counts.0 * 10 > counts.1 * 7, "{counts:?}");
}

fn third_derivatives_of(count: u64) {
    let mut counts = (0, 0);
    for (seed, genes) in cases(count, 60) {
        let case = Case::new(program(&mut Genes::new(&genes), false).tangent().tangent(), 1, seed);
        // Where a function saturates, its derivative is a difference of numbers near each other.
        values_are_those_of_the_interpreter(&case, 1e-12);
        json_gives_the_same(&case, seed);
        transposes_match_differences(&case, seed, &mut counts);
    }
    assert!(counts.0 * 10 > counts.1 * 7, "{counts:?}");
}

/// Solves and gradients under every policy.
fn retention_changes_no_bit<T: Real>(program: &Program, batch: usize, seed: u64) {
    let cast = |numbers: Vec<f64>| numbers.into_iter().map(T::of).collect::<Vec<T>>();
    let parameters = cast(numbers(program.parameters(), seed));
    let field = ProgramField::<T>::new(program.clone(), &parameters).unwrap();
    let array =
        |columns: usize, seed| Array2::from_shape_vec((batch, columns), cast(numbers(batch * columns, seed))).unwrap();
    let (y0, arguments) = (array(program.state(), seed + 1), array(program.arguments(), seed + 2));
    let with = field.with_arguments(arguments.view()).unwrap();
    let times = [0.1, 0.1, 0.25, 0.5];
    let w = cast(numbers(times.len() * batch * program.state(), seed + 3));
    let w = Array3::from_shape_vec((times.len(), batch, program.state()), w).unwrap();
    let fixed = seed.is_multiple_of(2);
    let method = [["rk4", "midpoint"], ["dopri5", "bosh3"]][usize::from(!fixed)][seed as usize / 2 % 2];
    let mut options = Options::new(Method::named(method).unwrap());
    options.output = Some(if seed.is_multiple_of(3) { Output::Interpolate } else { Output::Land });
    (options.rtol, options.atol) = (1e-3, 1e-3);
    if fixed {
        options.steps = Steps::PerInterval(2);
    }
    // Where a field jumps, adaptive steps may become too short.
    let solution = odeint(&with, y0.view(), &times, &options).or_else(|_| {
        options.steps = Steps::PerInterval(2);
        odeint(&with, y0.view(), &times, &options)
    });
    let solution = solution.unwrap();
    let run = |gradient: &GradientMethod| {
        let mut trajectory = vjp(&with, y0.view(), &times, &options, gradient)?;
        assert_eq!(bits(trajectory.solution.y().iter().copied()), bits(solution.y().iter().copied()));
        let [first, again] = [0, 1].map(|_| {
            let gradient = trajectory.pullback(w.view()).unwrap();
            let all = [
                bits(gradient.y0().iter().copied()),
                bits(gradient.parameters().iter().copied()),
                bits(gradient.arguments().iter().copied()),
                bits(gradient.times.clone().unwrap()),
            ];
            (all, gradient.stats.peak.total())
        });
        assert_eq!(first.0, again.0, "a second pullback");
        Ok::<_, Error>(first)
    };
    let (expected, most) = run(&GradientMethod::Backprop).unwrap();
    for gradient in [GradientMethod::Symplectic, GradientMethod::Baseline, GradientMethod::Aca] {
        let (found, _) = run(&gradient).unwrap();
        assert_eq!(found, expected, "{gradient:?} {method} {batch}: {}", program.to_json());
    }
    let Err(Error::Budget { least, .. }) = run(&GradientMethod::Auto { budget: 1 }) else { panic!("one byte") };
    for part in 0..3 {
        let budget = least + most.saturating_sub(least) * part / 2;
        let (found, peak) = run(&GradientMethod::Auto { budget }).unwrap();
        assert_eq!(found, expected, "budget {budget} of {least} to {most}: {}", program.to_json());
        assert!(peak <= budget, "{peak} > {budget}: {}", program.to_json());
    }
}

fn retention_of(count: u64) {
    for (seed, genes) in cases(count, 150) {
        let program = program(&mut Genes::new(&genes), true);
        let batch = [1, 3, 17, 65, 257][seed as usize % 5];
        retention_changes_no_bit::<f64>(&program, batch, seed);
        retention_changes_no_bit::<f32>(&program, batch, seed);
    }
}

/// ⟨w, ẏ⟩ along directions, few and many, in which some inputs move and some stand still, against the gradient.
fn solutions_along_directions_of(count: u64) {
    for (seed, genes) in cases(count, 120) {
        let program = program(&mut Genes::new(&genes), true);
        let batch = [1, 3, 17, 65][seed as usize % 4];
        let directions = [1, 2, 7, 20][seed as usize / 4 % 4];
        let Case { program, y: y0, arguments, parameters, .. } = Case::new(program, batch, seed);
        let field = ProgramField::new(program.clone(), &parameters).unwrap();
        let with = field.with_arguments(arguments.view()).unwrap();
        let times = [0.1, 0.1, 0.25, 0.5];
        let steps = if seed % 3 == 0 { Steps::AtMost(0.11) } else { Steps::PerInterval(2) };
        let output = if seed % 6 == 0 { Output::Interpolate } else { Output::Land };
        let options = Options { steps, output: Some(output), ..Options::new(Method::named("dopri5").unwrap()) };
        // Of each input, some directions stand still, and some are unit vectors.
        let moving = |columns: usize, seed: u64| {
            let mut all = Array2::from_shape_vec((directions, columns), numbers(directions * columns, seed)).unwrap();
            for (index, mut row) in all.rows_mut().into_iter().enumerate() {
                match (index as u64 + seed) % 4 {
                    0 => row.fill(0.0),
                    1 if columns > 0 => {
                        row.fill(0.0);
                        row[index % columns] = 1.0;
                    }
                    _ => {}
                }
            }
            all
        };
        let shaped = |columns: usize, seed: u64| {
            let all = moving(batch * columns, seed).into_raw_vec_and_offset().0;
            Array3::from_shape_vec((directions, batch, columns), all).unwrap()
        };
        let (dy0, dparameters) = (shaped(program.state(), seed + 10), moving(program.parameters(), seed + 11));
        let (darguments, dtimes) = (shaped(program.arguments(), seed + 12), moving(times.len(), seed + 13));
        let tangents = Tangents {
            directions,
            y0: Some(dy0.view()),
            parameters: Some(dparameters.view()),
            arguments: Some(darguments.view()),
            times: (seed % 2 == 0).then_some(dtimes.view()),
        };
        let moved = jvp(&with, y0.view(), &times, &tangents, &options).unwrap();
        let mut trajectory = vjp(&with, y0.view(), &times, &options, &GradientMethod::Symplectic).unwrap();
        let w = numbers(times.len() * batch * program.state(), seed + 14);
        let w = Array3::from_shape_vec((times.len(), batch, program.state()), w).unwrap();
        let gradient = trajectory.pullback(w.view()).unwrap();
        let by_times = gradient.times.clone().unwrap();
        for index in 0..directions {
            let at = Axis(0);
            let forward: f64 = (&w * &moved.tangents().index_axis(at, index)).sum();
            let pairs = |a: &mut dyn Iterator<Item = f64>, b: &mut dyn Iterator<Item = f64>| -> [f64; 2] {
                a.zip(b).map(|(a, b)| a * b).fold([0.0; 2], |[sum, size], part| [sum + part, size + part.abs()])
            };
            let parts = [
                pairs(&mut gradient.y0().iter().copied(), &mut dy0.index_axis(at, index).iter().copied()),
                pairs(&mut gradient.parameters().iter().copied(), &mut dparameters.row(index).iter().copied()),
                pairs(&mut gradient.arguments().iter().copied(), &mut darguments.index_axis(at, index).iter().copied()),
                if seed % 2 == 0 {
                    pairs(&mut by_times.iter().copied(), &mut dtimes.row(index).iter().copied())
                } else {
                    [0.0; 2]
                },
            ];
            let [reverse, size] = parts.iter().fold([0.0; 2], |[sum, size], part| [sum + part[0], size + part[1]]);
            assert!(
                (forward - reverse).abs() < 1e-11 * (1.0 + size),
                "{seed}, direction {index}: {forward} and not {reverse}: {}",
                program.to_json()
            );
        }
    }
}

#[test]
fn solutions_along_directions() {
    solutions_along_directions_of(400);
}

#[test]
fn first_derivatives() {
    first_derivatives_of(600);
}

#[test]
fn second_derivatives() {
    second_derivatives_of(300);
}

#[test]
fn third_derivatives() {
    third_derivatives_of(150);
}

#[test]
fn retention() {
    retention_of(300);
}

#[test]
#[ignore = "takes long: npm run test:long"]
fn many_more() {
    first_derivatives_of(30_000);
    second_derivatives_of(10_000);
    third_derivatives_of(5000);
    retention_of(10_000);
    solutions_along_directions_of(10_000);
}
