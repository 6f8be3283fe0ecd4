//! Fields that are programs: values, gradients, and what never reaches a gradient.

use ndarray::{Array2, Array3, s};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::field::{evaluate, vjp as field_vjp};
use symplectic_adjoint::program::{Builder, Program, Value, concat};
use symplectic_adjoint::{GradientMethod, Method, Options, Real, VectorField, odeint, vjp};

use crate::numbers::numbers;

pub fn rows(batch: usize, columns: usize, seed: u64) -> Array2<f64> {
    Array2::from_shape_vec((batch, columns), numbers(batch * columns, seed)).unwrap()
}

pub fn field(program: Program, seed: u64) -> ProgramField<f64> {
    let parameters = numbers(program.parameters(), seed);
    ProgramField::new(program, &parameters).unwrap()
}

fn lotka_volterra() -> Program {
    let mut model = Builder::new(2);
    let [x, y] = [model.state(0..1), model.state(1..2)];
    let [alpha, beta, delta, gamma] = [0; 4].map(|_| model.parameter(1));
    let slope = concat(&[&alpha * &x - &beta * &x * &y, &delta * &x * &y - &gamma * &y]);
    model.finish(&slope).unwrap()
}

fn network(widths: &[usize], time: bool) -> Program {
    let mut model = Builder::new(widths[0]);
    let mut h = model.state(0..widths[0]);
    for (layer, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let (weight, bias) = (model.parameter(inputs * outputs), model.parameter(outputs));
        h = weight.dense(&h, 1) + bias;
        if time {
            let rate = model.parameter(outputs);
            h = h + rate * model.time();
        }
        if layer + 2 < widths.len() {
            h = h.tanh();
        }
    }
    model.finish(&h).unwrap()
}

/// (∂f/∂(y, θ, arguments, t))ᵀ w against central differences.
pub fn check_field(program: &Program, batch: usize, seed: u64, tolerance: f64) {
    let field = field(program.clone(), seed);
    let (y, arguments) = (rows(batch, program.state(), seed + 1), rows(batch, program.arguments(), seed + 2));
    let w = rows(batch, program.outputs(), seed + 3);
    let (t, parameters) = (0.37, field.parameters().to_vec());
    let value = |t: f64, y: &Array2<f64>, arguments: &Array2<f64>, parameters: &[f64]| -> f64 {
        let with = field.with_arguments(arguments.view()).unwrap();
        let f = evaluate(&with, parameters, t, y.view()).unwrap();
        f.iter().zip(&w).map(|(f, w)| f * w).sum()
    };
    let with = field.with_arguments(arguments.view()).unwrap();
    let pulled = field_vjp(&with, &parameters, t, y.view(), w.view()).unwrap();
    let step = 1e-5;
    let close = |name: &str, got: f64, plus: f64, minus: f64| {
        let expected = (plus - minus) / (2.0 * step);
        assert!((got - expected).abs() < tolerance * (1.0 + expected.abs()), "{name}: {got} and not {expected}");
    };
    for i in 0..y.len() {
        let at = |by: f64| {
            let mut y = y.clone();
            y.as_slice_mut().unwrap()[i] += by;
            value(t, &y, &arguments, &parameters)
        };
        close(&format!("y[{i}]"), pulled.y[i], at(step), at(-step));
    }
    for i in 0..arguments.len() {
        let at = |by: f64| {
            let mut arguments = arguments.clone();
            arguments.as_slice_mut().unwrap()[i] += by;
            value(t, &y, &arguments, &parameters)
        };
        close(&format!("arguments[{i}]"), pulled.arguments[i], at(step), at(-step));
    }
    for i in 0..parameters.len() {
        let at = |by: f64| {
            let mut parameters = parameters.clone();
            parameters[i] += by;
            value(t, &y, &arguments, &parameters)
        };
        close(&format!("parameters[{i}]"), pulled.parameters[i], at(step), at(-step));
    }
    let at = |by: f64| value(t + by, &y, &arguments, &parameters);
    close("t", pulled.t.unwrap(), at(step), at(-step));
}

#[test]
fn a_formula_gives_its_value() {
    let field = ProgramField::new(lotka_volterra(), &[0.5, 0.03, 0.02, 0.8]).unwrap();
    for batch in [1, 3, 4, 5, 16, 17, 300] {
        let y = rows(batch, 2, 7);
        let f = evaluate(&field, field.parameters(), 0.0, y.view()).unwrap();
        for (f, y) in f.chunks(2).zip(y.rows()) {
            let (x, y) = (y[0], y[1]);
            assert!((f[0] - (0.5 * x - 0.03 * x * y)).abs() < 1e-15);
            assert!((f[1] - (0.02 * x * y - 0.8 * y)).abs() < 1e-15);
        }
    }
}

#[test]
fn transposes_match_differences() {
    for batch in [1, 2, 5, 18] {
        check_field(&lotka_volterra(), batch, 3, 1e-8);
        check_field(&network(&[3, 7, 5, 3], false), batch, 4, 1e-8);
        check_field(&network(&[2, 9, 2], true), batch, 5, 1e-8);
    }
}

fn every_operation() -> Program {
    let mut model = Builder::new(4);
    let x = model.state(0..4);
    let (a, b) = (model.argument(1), model.argument(2));
    let (p, q, matrix) = (model.parameter(1), model.parameter(4), model.parameter(12));
    let t = model.time();
    let (half, third) = (&x * 0.5, x.tanh() * 0.3);
    let positive = x.abs() + 1.5;
    let sums: Vec<Value> = vec![
        half.exp() + half.expm1() + positive.log() + positive.log1p() + positive.sqrt(),
        x.sin() * x.cos() + third.tan() + third.asin() - third.acos() + x.atan(),
        third.sinh() - third.cosh() + x.tanh() * x.sigmoid() + x.softplus() - x.relu() + x.normal_cdf(),
        positive.pow(&q) + positive.powf(1.7) + positive.powf(3.0) / positive.powf(-2.0) + x.sign() * &p,
        (x.row(0)).atan2(&(x.row(1) + 3.0)) + x.min(&q) * x.max(&(&q * &t)) + b.row(1) * &a,
        x.if_less(&q, &(&x * &x), &(&x * &p)) + x.if_less_equal(&(&q * 0.5), &p, &half),
        x.roll(1) * x.roll(-1) - x.roll(2) * t.exp() + (&x / (&positive + &q)) * x.dot(&q),
        matrix.slice(0..12).dense(&x, 1).sum() + matrix.slice(0..8).dense(&x, 2).sum() * b.sum(),
        x.outer(&b).mat_vec(&(b.sin())) + x.outer(&b).mat_vec_transposed(&x).sum() + x.spread(2, 3).sum_over(3, 2),
    ];
    let total = sums.into_iter().reduce(|sum, value| sum + value).unwrap().atan();
    model.finish(&concat(&[total.slice(0..2), total.slice(2..4) * &p])).unwrap()
}

#[test]
fn every_operation_is_differentiated() {
    for (batch, seed) in [(1, 11), (3, 12), (18, 13)] {
        check_field(&every_operation(), batch, seed, 1e-7);
    }
}

#[test]
fn tangents_are_differentiated_again() {
    for (batch, seed) in [(1, 21), (5, 22)] {
        check_field(&lotka_volterra().tangent(), batch, seed, 1e-8);
        check_field(&network(&[2, 5, 2], true).tangent().tangent(), batch, seed, 1e-8);
        check_field(&every_operation().tangent(), batch, seed, 1e-6);
    }
}

#[test]
fn json_gives_the_same_program() {
    for program in [lotka_volterra(), network(&[3, 7, 3], true), every_operation()] {
        let again = Program::from_json(&program.to_json()).unwrap();
        assert_eq!(again.to_json(), program.to_json());
        let (one, two) = (field(program, 5), field(again, 5));
        let (y, arguments) = (rows(5, one.state_size(), 1), rows(5, one.argument_size(), 2));
        let value = |field: &ProgramField<f64>| {
            let with = field.with_arguments(arguments.view()).unwrap();
            evaluate(&with, field.parameters(), 0.3, y.view()).unwrap().to_vec()
        };
        assert_eq!(value(&one), value(&two));
    }
}

/// ∂L/∂y0, ∂L/∂θ, ∂L/∂arguments and ∂L/∂times.
type Found<T> = (Vec<T>, Vec<T>, Vec<T>, Option<Vec<f64>>);

fn gradients_of<T: Real>(program: &Program, batch: usize, method: &str, options: impl Fn(&mut Options)) {
    let cast = |numbers: Vec<f64>| numbers.into_iter().map(T::of).collect::<Vec<T>>();
    let parameters = cast(numbers(program.parameters(), 5));
    let field = ProgramField::<T>::new(program.clone(), &parameters).unwrap();
    let array =
        |columns: usize, seed| Array2::from_shape_vec((batch, columns), cast(numbers(batch * columns, seed))).unwrap();
    let (y0, arguments) = (array(program.state(), 6), array(program.arguments(), 7));
    let with = field.with_arguments(arguments.view()).unwrap();
    let times = [0.0, 0.2, 0.7];
    let mut settings = Options::new(Method::named(method).unwrap());
    options(&mut settings);
    let solution = odeint(&with, y0.view(), &times, &settings).unwrap();
    let mut before: Option<Found<T>> = None;
    let methods = [
        GradientMethod::Symplectic,
        GradientMethod::Backprop,
        GradientMethod::Baseline,
        GradientMethod::Aca,
        GradientMethod::Auto { budget: 1 << 26 },
    ];
    for gradient in methods {
        let mut trajectory = vjp(&with, y0.view(), &times, &settings, &gradient).unwrap();
        assert_eq!(trajectory.solution.y(), solution.y(), "a tape changes no bit");
        let mut cotangent = Array3::zeros((3, batch, program.state()));
        cotangent.slice_mut(s![1.., .., ..]).assign(&trajectory.solution.y().slice(s![1.., .., ..]));
        let found = trajectory.pullback(cotangent.view()).unwrap();
        let found = (
            found.y0().iter().copied().collect(),
            found.parameters().to_vec(),
            found.arguments().iter().copied().collect(),
            found.times.clone(),
        );
        if let Some(before) = &before {
            assert_eq!(before, &found, "{gradient:?}");
        }
        before = Some(found);
    }
}

#[test]
fn all_retentions_are_bitwise_equal() {
    for program in [lotka_volterra(), network(&[2, 20, 2], true), every_operation()] {
        for batch in [1, 5, 40] {
            for method in ["rk4", "dopri5"] {
                let steps = |options: &mut Options| {
                    if method == "rk4" {
                        options.steps = symplectic_adjoint::Steps::PerInterval(3);
                    }
                };
                gradients_of::<f64>(&program, batch, method, steps);
                gradients_of::<f32>(&program, batch, method, steps);
            }
        }
    }
}
