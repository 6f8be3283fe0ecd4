//! Programs of kinds that are rare, each by itself: uniform results, matrices used in more than one way, results that are inputs,
//! choices over vectors, and what nobody uses.

use ndarray::{Array2, Array3, array};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::field::{evaluate, vjp as field_vjp};
use symplectic_adjoint::program::{Builder, Program, Value, concat};
use symplectic_adjoint::{GradientMethod, Method, Options, Steps, VectorField, odeint, vjp};

struct Pulled {
    y: Vec<f64>,
    arguments: Vec<f64>,
    parameters: Vec<f64>,
    t: f64,
}

/// f and its transpose.
fn both(
    program: &Program,
    parameters: &[f64],
    y: &Array2<f64>,
    arguments: &Array2<f64>,
    w: &Array2<f64>,
) -> (Vec<f64>, Pulled) {
    let field = ProgramField::new(program.clone(), parameters).unwrap();
    let with = field.with_arguments(arguments.view()).unwrap();
    let value = evaluate(&with, parameters, 0.4, y.view()).unwrap().to_vec();
    let pulled = field_vjp(&with, parameters, 0.4, y.view(), w.view()).unwrap();
    let pulled = Pulled {
        y: pulled.y.to_vec(),
        arguments: pulled.arguments.to_vec(),
        parameters: pulled.parameters.to_vec(),
        t: pulled.t.unwrap(),
    };
    (value, pulled)
}

fn none(batch: usize) -> Array2<f64> {
    Array2::zeros((batch, 0))
}

fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{got:?} and not {expected:?}");
    let fits = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() <= 1e-14 * (1.0 + expected.abs()));
    assert!(fits, "{got:?} and not {expected:?}");
}

/// The times' gradients by each policy are those of backpropagation, and those of differences.
fn times_gradients(program: &Program, parameters: &[f64], y0: &Array2<f64>) {
    let field = ProgramField::new(program.clone(), parameters).unwrap();
    let mut options = Options::new(Method::named("rk4").unwrap());
    options.steps = Steps::PerInterval(2);
    let times = [0.1, 0.4, 0.9];
    let w = Array3::from_shape_fn((3, y0.nrows(), y0.ncols()), |(i, j, k)| 1.0 + (i + 2 * j + 3 * k) as f64 * 0.25);
    let loss = |times: &[f64]| -> f64 {
        odeint(&field, y0.view(), times, &options).unwrap().y().iter().zip(&w).map(|(y, w)| y * w).sum()
    };
    let mut before: Option<Vec<f64>> = None;
    for gradient in
        [GradientMethod::Backprop, GradientMethod::Symplectic, GradientMethod::Aca, GradientMethod::Baseline]
    {
        let mut trajectory = vjp(&field, y0.view(), &times, &options, &gradient).unwrap();
        let found = trajectory.pullback(w.view()).unwrap().times.clone().unwrap();
        for (index, found) in found.iter().enumerate() {
            let at = |by: f64| {
                let mut times = times;
                times[index] += by;
                loss(&times)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (found - expected).abs() < 1e-8 * (1.0 + expected.abs()),
                "{gradient:?} {index}: {found} {expected}"
            );
        }
        if let Some(before) = &before {
            assert_eq!(before, &found, "{gradient:?}");
        }
        before = Some(found);
    }
}

#[test]
fn a_constant_field() {
    for batch in [1, 3, 70] {
        let mut model = Builder::new(2);
        let (p, t) = (model.parameter(2), model.time());
        let program = model.finish(&(p.exp() * t)).unwrap();
        let (y, w) = (Array2::ones((batch, 2)), Array2::ones((batch, 2)));
        let (value, pulled) = both(&program, &[0.5, -1.0], &y, &none(batch), &w);
        let (a, b) = (0.5_f64.exp(), (-1.0_f64).exp());
        close(&value[..2], &[0.4 * a, 0.4 * b]);
        let samples = batch as f64;
        close(&pulled.parameters, &[samples * 0.4 * a, samples * 0.4 * b]);
        close(&[pulled.t], &[samples * (a + b)]);
        close(&pulled.y, &vec![0.0; 2 * batch]);
        times_gradients(&program, &[0.5, -1.0], &y);
    }
}

#[test]
fn results_that_are_inputs() {
    for batch in [1, 5, 70] {
        let y = Array2::from_shape_fn((batch, 2), |(i, j)| 0.1 * i as f64 - 0.3 * j as f64 + 0.2);
        let ones = Array2::ones((batch, 2));
        // The state.
        let model = Builder::new(2);
        let state = model.state(0..2);
        let program = model.finish(&state).unwrap();
        let (value, pulled) = both(&program, &[], &y, &none(batch), &ones);
        close(&value, y.as_slice().unwrap());
        close(&pulled.y, ones.as_slice().unwrap());
        times_gradients(&program, &[], &y);
        // A part of it, twice.
        let model = Builder::new(2);
        let part = model.state(1..2);
        let program = model.finish(&concat(&[part.clone(), part])).unwrap();
        let (_, pulled) = both(&program, &[], &y, &none(batch), &ones);
        close(&pulled.y, &[0.0, 2.0].repeat(batch));
        times_gradients(&program, &[], &y);
        // The parameters, the time, an argument.
        let mut model = Builder::new(2);
        let p = model.parameter(2);
        let program = model.finish(&p).unwrap();
        let (value, pulled) = both(&program, &[0.25, -3.0], &y, &none(batch), &ones);
        close(&value, &[0.25, -3.0].repeat(batch));
        close(&pulled.parameters, &[batch as f64; 2]);
        times_gradients(&program, &[0.25, -3.0], &y);
        let model = Builder::new(1);
        let t = model.time();
        let program = model.finish(&t).unwrap();
        let one = Array2::ones((batch, 1));
        let (value, pulled) = both(&program, &[], &one, &none(batch), &one);
        close(&value, &vec![0.4; batch]);
        close(&[pulled.t], &[batch as f64]);
        times_gradients(&program, &[], &one);
        let mut model = Builder::new(2);
        let a = model.argument(2);
        let program = model.finish(&a).unwrap();
        let (value, pulled) = both(&program, &[], &ones, &y, &ones);
        close(&value, y.as_slice().unwrap());
        close(&pulled.arguments, ones.as_slice().unwrap());
        close(&pulled.y, &vec![0.0; 2 * batch]);
    }
}

#[test]
fn results_on_the_tape() {
    let y = array![[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]];
    let mut model = Builder::new(2);
    let (p, x) = (model.parameter(4), model.state(0..2));
    let program = model.finish(&p.dense(&x, 1).tanh()).unwrap();
    times_gradients(&program, &[0.1, 0.2, -0.3, 0.4], &y);
    let model = Builder::new(2);
    let slope = (-model.state(0..2)).exp();
    let program = model.finish(&slope).unwrap();
    times_gradients(&program, &[], &y);
}

#[test]
fn one_matrix_in_several_shapes() {
    // 12 numbers as 3 × 4, as 4 × 3, as 2 × 6, and row by row.
    let mut model = Builder::new(12);
    let (p, x) = (model.parameter(12), model.state(0..12));
    let parts = [p.dense(&x.slice(0..4), 1), p.dense(&x.slice(4..7), 1), p.dense(&x.slice(0..6), 1), &p * &x];
    let program = model.finish(&concat(&parts)).unwrap();
    let parameters: Vec<f64> = (0..12).map(|k| 0.25 * f64::from(k) - 1.0).collect();
    for batch in [1, 7] {
        let y = Array2::from_shape_fn((batch, 12), |(i, k)| 0.5 * i as f64 + 0.125 * k as f64);
        let w = Array2::from_shape_fn((batch, 21), |(i, k)| 1.0 + 0.25 * i as f64 - 0.5 * k as f64);
        let (value, pulled) = both(&program, &parameters, &y, &none(batch), &w);
        let mut gradient = vec![0.0; 12];
        let mut expected = vec![];
        for i in 0..batch {
            let mut at = 0;
            for (from, columns) in [(0, 4), (4, 3), (0, 6)] {
                for row in 0..12 / columns {
                    let mut sum = 0.0;
                    for k in 0..columns {
                        sum += parameters[row * columns + k] * y[[i, from + k]];
                        gradient[row * columns + k] += w[[i, at]] * y[[i, from + k]];
                    }
                    expected.push(sum);
                    at += 1;
                }
            }
            for k in 0..12 {
                expected.push(parameters[k] * y[[i, k]]);
                gradient[k] += w[[i, at + k]] * y[[i, k]];
            }
        }
        close(&value, &expected);
        close(&pulled.parameters, &gradient);
    }
}

#[test]
fn dense_of_uniform_operands() {
    // exp(P) q and exp(t P) q, of which one is known once and one with the time.
    let mut model = Builder::new(2);
    let (p, q, t) = (model.parameter(4), model.parameter(2), model.time());
    let slope = p.exp().dense(&q, 1) + (&p * &t).exp().dense(&q, 1) + p.dense(&q, 1) + model.state(0..2);
    let program = model.finish(&slope).unwrap();
    let parameters = [0.1, 0.2, -0.3, 0.4, 2.0, -1.0];
    let (value, pulled) =
        both(&program, &parameters, &Array2::zeros((3, 2)), &none(3), &array![[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]);
    let each = |k: usize| f64::exp(parameters[k]) + f64::exp(0.4 * parameters[k]) + parameters[k];
    let slope = |k: usize| f64::exp(parameters[k]) + 0.4 * f64::exp(0.4 * parameters[k]) + 1.0;
    let row = [2.0 * each(0) - each(1), 2.0 * each(2) - each(3)];
    close(&value, &row.repeat(3));
    close(&pulled.parameters, &[2.0 * slope(0), -slope(1), 0.0, 0.0, each(0), each(1)]);
    times_gradients(&program, &parameters, &array![[0.5, 1.0]]);
}

#[test]
fn computed_matrices() {
    // A matrix that depends on the time, also in the tangent, where its derivative differs by trajectory.
    let mut model = Builder::new(4);
    let (p, t) = (model.parameter(4), model.time());
    let slope = (&p * t.sin()).dense(&model.state(0..4), 2);
    let program = model.finish(&slope).unwrap();
    let y = array![[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.25, 2.0]];
    times_gradients(&program, &[0.1, 0.2, -0.3, 0.4], &y);
    let tangent = program.tangent();
    let arguments = array![[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, -2.0]];
    let parameters = [0.1, 0.2, -0.3, 0.4, 0.0, 0.0, 0.0, 0.0];
    let (value, _) = both(&tangent, &parameters, &y, &arguments, &Array2::ones((2, 8)));
    let cos = 0.4_f64.cos();
    for (i, rate) in [1.0, -2.0].into_iter().enumerate() {
        let y = y.row(i);
        let expected =
            [0.1 * y[0] + 0.2 * y[2], 0.1 * y[1] + 0.2 * y[3], -0.3 * y[0] + 0.4 * y[2], -0.3 * y[1] + 0.4 * y[3]];
        close(&value[8 * i + 4..8 * i + 8], &expected.map(|number| rate * cos * number));
    }
    let again = Program::from_json(&tangent.to_json()).unwrap();
    let (same, _) = both(&again, &parameters, &y, &arguments, &Array2::ones((2, 8)));
    assert_eq!(value, same);
}

#[test]
fn transposes_of_parameters_travel() {
    let mut model = Builder::new(2);
    let p = model.parameter(6);
    let slope = p.mat_vec_transposed(&model.state(0..2));
    let program = model.finish(&slope).unwrap();
    let again = Program::from_json(&program.to_json()).unwrap();
    assert_eq!(again.to_json(), program.to_json());
    let (y, w, parameters) = (array![[1.0, 2.0]], array![[1.0, 10.0, 100.0]], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let (value, pulled) = both(&again, &parameters, &y, &none(1), &w);
    close(&value, &[9.0, 12.0, 15.0]);
    close(&pulled.y, &[321.0, 654.0]);
    close(&pulled.parameters, &[1.0, 10.0, 100.0, 2.0, 20.0, 200.0]);
}

#[test]
fn constants_that_overflow_travel() {
    let model = Builder::new(1);
    let huge = model.constant(1e308) * model.constant(1e308);
    let slope = model.state(0..1) / huge;
    let program = model.finish(&slope).unwrap();
    let again = Program::from_json(&program.to_json()).unwrap();
    let (value, _) = both(&again, &[], &array![[1.0]], &none(1), &array![[1.0]]);
    assert_eq!(value, [0.0]);
}

#[test]
fn values_loaded_again_are_the_same_after_a_journey() {
    // The first row, all rows, the first row again: one value, whose product is used twice.
    let model = Builder::new(2);
    let (first, all, again) = (model.state(0..1), model.state(0..2), model.state(0..1));
    let other = all.sum();
    let slope = concat(&[&first * &other + 1.0, &again * &other - 0.3]);
    let program = model.finish(&slope).unwrap();
    let read = Program::from_json(&program.to_json()).unwrap();
    assert_eq!(read.to_json(), program.to_json());
    let y = array![[0.1, 0.3], [0.7, -0.9], [1.0 / 3.0, 1e-3]];
    let w = Array2::ones((3, 2));
    assert_eq!(both(&read, &[], &y, &none(3), &w).0, both(&program, &[], &y, &none(3), &w).0);
}

#[test]
fn choices_over_vectors() {
    // Row by row the product of a square matrix or not: each row of the matrix has a gradient by all of x.
    let mut model = Builder::new(2);
    let (p, x) = (model.parameter(4), model.state(0..2));
    let zero = model.constant(0.0);
    let program = model.finish(&x.if_less(&zero, &p.dense(&x, 1), &x)).unwrap();
    let (y, w) = (array![[-1.0, 2.0]], array![[1.0, 1.0]]);
    let (value, pulled) = both(&program, &[1.0, 2.0, 3.0, 4.0], &y, &none(1), &w);
    close(&value, &[3.0, 2.0]);
    close(&pulled.parameters, &[-1.0, 2.0, 0.0, 0.0]);
    close(&pulled.y, &[1.0, 2.0 + 1.0]);
    // The same with a matrix of each trajectory.
    let mut model = Builder::new(2);
    let (a, x) = (model.argument(4), model.state(0..2));
    let zero = model.constant(0.0);
    let program = model.finish(&x.if_less(&zero, &a.mat_vec(&x), &x)).unwrap();
    let (_, pulled) = both(&program, &[], &y, &array![[1.0, 2.0, 3.0, 4.0]], &w);
    close(&pulled.arguments, &[-1.0, 2.0, 0.0, 0.0]);
    let mut model = Builder::new(2);
    let (a, x) = (model.argument(4), model.state(0..2));
    let zero = model.constant(0.0);
    let program = model.finish(&x.if_less(&zero, &a.mat_vec_transposed(&x), &x)).unwrap();
    let (_, pulled) = both(&program, &[], &y, &array![[1.0, 2.0, 3.0, 4.0]], &w);
    close(&pulled.arguments, &[-1.0, 0.0, 2.0, 0.0]);
}

/// A program of one state is finite with all derivatives, to third order, at some points, and has this slope there.
fn finite_at(program: &Program, parameters: &[f64], points: &[(f64, f64)]) {
    let y = Array2::from_shape_fn((points.len(), 1), |(i, _)| points[i].0);
    let w = Array2::ones((points.len(), program.outputs()));
    let (value, pulled) = both(program, parameters, &y, &none(points.len()), &w);
    assert!(value.iter().chain(&pulled.parameters).all(|number| number.is_finite()), "{value:?}");
    close(&pulled.y, &points.iter().map(|point| point.1).collect::<Vec<_>>());
    assert!(pulled.t.is_finite());
    // Each alone, where what spare lanes hold is a copy of it.
    for &(x, slope) in points {
        let (_, pulled) = both(program, parameters, &array![[x]], &none(1), &Array2::ones((1, program.outputs())));
        close(&pulled.y, &[slope]);
    }
    let mut higher = program.clone();
    let mut parameters = parameters.to_vec();
    for _ in 0..2 {
        higher = higher.tangent();
        let more: Vec<f64> = parameters.iter().map(|p| 0.5 + p * 0.25).collect();
        parameters.extend(more);
        let arguments = Array2::from_elem((points.len(), higher.arguments()), 0.75);
        let (value, pulled) =
            both(&higher, &parameters, &y, &arguments, &Array2::ones((points.len(), higher.outputs())));
        let all = value.iter().chain(&pulled.parameters).chain(&pulled.y).chain(&pulled.arguments);
        assert!(all.into_iter().all(|number| number.is_finite()), "{value:?} {:?}", pulled.y);
    }
}

#[test]
fn untaken_branches() {
    type Make = fn(&symplectic_adjoint::program::Value) -> symplectic_adjoint::program::Value;
    let cases: [Make; 12] = [
        |x| x.sqrt(),
        |x| x.log(),
        |x| 1.0 / x,
        |x| x.powf(-1.5),
        |x| x.powf(0.3),
        |x| x.log().sqrt().exp(),
        |x| (x.sqrt() * 3.0).sin() + x.log(),
        |x| x.sqrt().max(&x.log()),
        |x| x.log1p().atan2(&x.sqrt()),
        |x| concat(&[x.sqrt(), x.log()]).sum(),
        |x| concat(&[x.sqrt(), x.log()]).outer(x).dot(&x.sqrt()),
        |x| concat(&[x.sqrt(), x.log(), x.sqrt(), 1.0 / x]).mat_vec(&concat(&[x.log(), x.sqrt()])).sum(),
    ];
    for make in cases {
        let model = Builder::new(1);
        let (x, zero) = (model.state(0..1), model.constant(0.0));
        let program = model.finish(&zero.if_less(&x, &make(&x), &zero)).unwrap();
        finite_at(&program, &[], &[(-1.0, 0.0), (0.0, 0.0), (-0.0, 0.0)]);
        // The other way round.
        let model = Builder::new(1);
        let (x, zero) = (model.state(0..1), model.constant(0.0));
        let program = model.finish(&x.if_less_equal(&zero, &(&x * 2.0), &make(&x))).unwrap();
        finite_at(&program, &[], &[(-1.0, 2.0), (0.0, 2.0)]);
        // Beside others where the branch is taken, as one of many rows.
        let model = Builder::new(3);
        let (x, zero) = (model.state(0..3), model.constant(0.0));
        let all = concat(&[make(&x.row(0)), make(&x.row(1)), make(&x.row(2))]);
        let program = model.finish(&zero.if_less(&x, &all, &zero)).unwrap();
        let y = array![[-1.0, 2.0, 0.0], [0.0, -1.0, -3.0]];
        let (_, pulled) = both(&program, &[], &y, &none(2), &Array2::ones((2, 3)));
        assert!(pulled.y[1] != 0.0, "the branch that is taken counts");
        close(&[pulled.y[0], pulled.y[2], pulled.y[3], pulled.y[4], pulled.y[5]], &[0.0; 5]);
    }
}

#[test]
fn nested_choices() {
    let model = Builder::new(1);
    let (x, zero, one) = (model.state(0..1), model.constant(0.0), model.constant(1.0));
    // 0 below 0; √x up to 1; √(x − 1) + 1 beyond.
    let upper = (&x - 1.0).sqrt() + 1.0;
    let inner = one.if_less(&x, &upper, &x.sqrt());
    let program = model.finish(&zero.if_less(&x, &inner, &zero)).unwrap();
    finite_at(&program, &[], &[(-1.0, 0.0), (0.25, 1.0), (2.0, 0.5), (0.0, 0.0)]);
    // The same value guarded twice, by different conditions.
    let model = Builder::new(1);
    let (x, zero, one) = (model.state(0..1), model.constant(0.0), model.constant(1.0));
    let root = x.sqrt();
    let sum = zero.if_less(&x, &root, &zero) + one.if_less(&x, &root, &zero);
    let program = model.finish(&sum).unwrap();
    finite_at(&program, &[], &[(-1.0, 0.0), (0.25, 1.0), (4.0, 0.5)]);
}

#[test]
fn parameters_of_untaken_branches() {
    for batch in [1, 2, 37] {
        // log p where x > 0: p is negative, x too.
        let mut model = Builder::new(1);
        let p = model.parameter(1);
        let (x, zero) = (model.state(0..1), model.constant(0.0));
        let program = model.finish(&zero.if_less(&x, &(p.log() * &x), &x)).unwrap();
        let y = Array2::from_elem((batch, 1), -1.0);
        let (_, pulled) = both(&program, &[-1.0], &y, &none(batch), &Array2::ones((batch, 1)));
        close(&pulled.parameters, &[0.0]);
        close(&pulled.y, &vec![1.0; batch]);
        // By a uniform condition.
        let mut model = Builder::new(1);
        let p = model.parameter(1);
        let (x, zero) = (model.state(0..1), model.constant(0.0));
        let program = model.finish(&(zero.if_less(&p, &p.sqrt(), &(&p * 3.0)) * &x)).unwrap();
        let (_, pulled) = both(&program, &[-1.0], &y, &none(batch), &Array2::ones((batch, 1)));
        close(&pulled.parameters, &[-3.0 * batch as f64]);
        // A matrix of 1/p, infinite at 0.
        let mut model = Builder::new(2);
        let p = model.parameter(4);
        let (x, zero) = (model.state(0..2), model.constant(0.0));
        let chosen = zero.if_less(&x.sum(), &(1.0 / &p).dense(&x, 1), &x);
        let program = model.finish(&chosen).unwrap();
        let y = Array2::from_elem((batch, 2), -1.0);
        let (_, pulled) = both(&program, &[0.0; 4], &y, &none(batch), &Array2::ones((batch, 2)));
        close(&pulled.parameters, &[0.0; 4]);
        close(&pulled.y, &vec![1.0; 2 * batch]);
        let chosen_row_by_row = {
            let mut model = Builder::new(2);
            let p = model.parameter(4);
            let (x, zero) = (model.state(0..2), model.constant(0.0));
            model.finish(&zero.if_less(&x, &(1.0 / &p).dense(&x.log(), 1), &x)).unwrap()
        };
        let (_, pulled) = both(&chosen_row_by_row, &[0.0; 4], &y, &none(batch), &Array2::ones((batch, 2)));
        close(&pulled.parameters, &[0.0; 4]);
        close(&pulled.y, &vec![1.0; 2 * batch]);
    }
}

#[test]
fn one_trajectory_takes_the_branch_and_another_does_not() {
    // A dense layer of √x, beside trajectories where that is no number.
    let mut model = Builder::new(2);
    let p = model.parameter(4);
    let (x, zero) = (model.state(0..2), model.constant(0.0));
    let program = model.finish(&zero.if_less(&x.row(0), &p.dense(&x.sqrt(), 1), &x)).unwrap();
    let (y, w) = (array![[-1.0, -1.0], [4.0, 9.0]], Array2::ones((2, 2)));
    let (_, pulled) = both(&program, &[1.0; 4], &y, &none(2), &w);
    close(&pulled.parameters, &[2.0, 3.0, 2.0, 3.0]);
    close(&pulled.y, &[1.0, 1.0, 0.5, 1.0 / 3.0]);
    // By a condition for each row: a trajectory of which no row is taken has no part in the gradient.
    let mut model = Builder::new(2);
    let p = model.parameter(4);
    let (x, zero) = (model.state(0..2), model.constant(0.0));
    let program = model.finish(&zero.if_less(&x, &p.dense(&x.sqrt(), 1), &x)).unwrap();
    let (_, pulled) = both(&program, &[1.0; 4], &y, &none(2), &w);
    close(&pulled.parameters, &[2.0, 3.0, 2.0, 3.0]);
    close(&pulled.y, &[1.0, 1.0, 0.5, 1.0 / 3.0]);
}

#[test]
fn the_side_not_taken_of_extremes() {
    let model = Builder::new(1);
    let x = model.state(0..1);
    // √x has an infinite derivative at 0, where 1 is greater.
    let program = model.finish(&x.sqrt().max(&(&x + 1.0))).unwrap();
    finite_at(&program, &[], &[(0.0, 1.0)]);
    let model = Builder::new(1);
    let x = model.state(0..1);
    let program = model.finish(&(1.0 / x.abs()).min(&(&x * 2.0))).unwrap();
    finite_at(&program, &[], &[(0.0, 2.0)]);
    // The logarithm of 0 is −∞, where relu is 0.
    let model = Builder::new(1);
    let x = model.state(0..1);
    let program = model.finish(&x.log().relu()).unwrap();
    finite_at(&program, &[], &[(0.0, 0.0), (2.0, 0.5)]);
}

#[test]
fn extremes_of_nan_are_nan() {
    let cap = 0.5;
    let functions: [fn(&Value, &Value) -> Value; 2] = [|a, b| a.min(b), |a, b| a.max(b)];
    for function in functions {
        for swapped in [false, true] {
            let mut model = Builder::new(1);
            let (limit, root) = (model.parameter(1), model.state(0..1).sqrt());
            let value = if swapped { function(&root, &limit) } else { function(&limit, &root) };
            let field = ProgramField::<f64>::new(model.finish(&value).unwrap(), &[cap]).unwrap();
            let y = array![[-1.0], [4.0]];
            let value = evaluate(&field, &[cap], 0.0, y.view()).unwrap();
            assert!(value[0].is_nan() && value[1].is_finite(), "{value:?}");
        }
    }
}

#[test]
fn powers_at_zero() {
    // x^p, and a Hill function, by x and by p.
    for (p, slope) in [(2.0, 0.0), (1.0, 1.0), (3.0, 0.0), (2.5, 0.0)] {
        let mut model = Builder::new(1);
        let power = model.parameter(1);
        let x = model.state(0..1);
        let program = model.finish(&x.pow(&power)).unwrap();
        let (_, pulled) = both(&program, &[p], &array![[0.0]], &none(1), &array![[1.0]]);
        close(&pulled.y, &[slope]);
        close(&pulled.parameters, &[0.0]);
        let mut model = Builder::new(1);
        let (k, n) = (model.parameter(1), model.parameter(1));
        let x = model.state(0..1);
        let program = model.finish(&(x.pow(&n) / (k.pow(&n) + x.pow(&n)))).unwrap();
        let (_, pulled) = both(&program, &[2.0, p], &array![[0.0]], &none(1), &array![[1.0]]);
        close(&pulled.parameters, &[0.0, 0.0]);
        close(&pulled.y, &[slope / 2.0_f64.powf(p)]);
    }
    // x^0 is 1 everywhere.
    let mut model = Builder::new(1);
    let power = model.parameter(1);
    let x = model.state(0..1);
    let program = model.finish(&x.pow(&power)).unwrap();
    let (value, pulled) = both(&program, &[0.0], &array![[0.0]], &none(1), &array![[1.0]]);
    close(&value, &[1.0]);
    close(&pulled.y, &[0.0]);
    // The second derivative of x¹ and the third of x² are zero at 0.
    for (p, times) in [(1.0, 1), (2.0, 2), (2.0, 1), (3.0, 2)] {
        let (mut higher, mut parameters) = (program.clone(), vec![p]);
        for _ in 0..times {
            higher = higher.tangent();
            parameters.extend(vec![0.0; parameters.len()]);
        }
        let arguments = Array2::ones((1, higher.arguments()));
        let w = Array2::ones((1, higher.outputs()));
        let (value, pulled) = both(&higher, &parameters, &array![[0.0]], &arguments, &w);
        assert!(value.iter().chain(&pulled.y).all(|number| number.is_finite()), "{p} {times} {value:?} {:?}", pulled.y);
    }
}

#[test]
fn nothing_leaks() {
    let mut model = Builder::new(2);
    let (p, x) = (model.parameter(4), model.state(0..2));
    let program = model.finish(&p.dense(&x, 1).tanh()).unwrap();
    let field = ProgramField::<f64>::new(program, &[0.1, 0.2, 0.3, 0.4]).unwrap();
    let y0 = Array2::ones((33, 2));
    let options = Options::new(Method::named("dopri5").unwrap());
    let mut peaks = vec![];
    for _ in 0..4 {
        let mut trajectory = vjp(&field, y0.view(), &[0.0, 1.0], &options, &GradientMethod::Symplectic).unwrap();
        let w = Array3::ones((2, 33, 2));
        let gradient = trajectory.pullback(w.view()).unwrap();
        peaks.push(gradient.stats.peak);
    }
    assert!(peaks.iter().all(|peak| *peak == peaks[0]), "{peaks:?}");
    assert_eq!(field.parameters().len(), 4);
}

#[test]
fn a_builder_refuses_values_of_another() {
    let (one, two) = (Builder::new(2), Builder::new(40));
    let mut last = two.state(0..40);
    for _ in 0..10 {
        last = last.sin();
    }
    let product = one.state(0..2).outer(&last);
    assert!(one.finish(&product).is_err());
}

#[test]
fn the_time_as_a_matrix() {
    // ∂f/∂t is a product of vectors over the trajectories.
    let model = Builder::new(1);
    let slope = model.time().dense(&model.state(0..1), 1).tanh();
    let program = model.finish(&slope).unwrap();
    let (y, w) = (array![[0.5], [2.0]], array![[1.0], [1.0]]);
    let (_, pulled) = both(&program, &[], &y, &none(2), &w);
    let slope = |x: f64| x * (1.0 - (0.4 * x).tanh().powi(2));
    close(&[pulled.t], &[slope(0.5) + slope(2.0)]);
}

#[test]
fn a_row_of_what_is_overwritten() {
    // The product may take the place of its second operand, of which the first is a row.
    let model = Builder::new(3);
    let x = model.state(0..1).exp();
    let joined = concat(&[x.clone(), model.state(1..3)]);
    let program = model.finish(&(&joined * &x).sin()).unwrap();
    let (value, _) = both(&program, &[], &array![[0.5, 2.0, 3.0]], &none(1), &Array2::ones((1, 3)));
    let e = 0.5_f64.exp();
    close(&value, &[(e * e).sin(), (2.0 * e).sin(), (3.0 * e).sin()]);
}

#[test]
fn sines_of_large_arguments() {
    // Beyond the kernel's range, also where the sine takes its argument's place.
    for batch in [1, 5, 40] {
        let model = Builder::new(2);
        let slope = concat(&[(model.state(0..1) * 1e5).sin(), (model.state(1..2) * 1e6).cos()]);
        let program = model.finish(&(slope * 2.0)).unwrap();
        let y = Array2::from_shape_fn((batch, 2), |(i, j)| if (i + j) % 3 == 0 { 1e-6 } else { 0.7 + i as f64 });
        let (value, _) = both(&program, &[], &y, &none(batch), &Array2::ones((batch, 2)));
        let expected: Vec<f64> =
            y.rows().into_iter().flat_map(|y| [2.0 * (y[0] * 1e5).sin(), 2.0 * (y[1] * 1e6).cos()]).collect();
        close(&value, &expected);
    }
}
