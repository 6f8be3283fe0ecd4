//! Forward sensitivities: the transpose of gradients, whatever the steps; second derivatives against differences of gradients.

use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn, s};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::model::cnf::{Cnf, Noise, Trace};
use symplectic_adjoint::model::hamiltonian::{Energy, Hamiltonian, Structure};
use symplectic_adjoint::program::{Builder, Program, concat};
use symplectic_adjoint::sensitivity::{JvpVjp, Tangents};
use symplectic_adjoint::{
    Activation, Architecture, Error, GradientMethod, Method, Mlp, Options, Output, Steps, Time, VectorField, jvp,
    odeint, sensitivities, vjp,
};

use crate::numbers::numbers;

fn array(shape: &[usize], seed: u64) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), numbers(shape.iter().product(), seed)).unwrap()
}

fn rows(batch: usize, columns: usize, seed: u64) -> Array2<f64> {
    array(&[batch, columns], seed).into_dimensionality().unwrap()
}

/// A pendulum driven at a rate of its own: state, time, parameters and arguments all enter.
fn driven() -> Program {
    let mut model = Builder::new(2);
    let [x, v] = [model.state(0..1), model.state(1..2)];
    let [damping, weights] = [model.parameter(1), model.parameter(2)];
    let [push, rate] = [model.argument(1), model.argument(1)];
    let force = (rate.exp() * model.time()).sin() * &push - weights.slice(0..1) * x.sin() - damping * &v;
    let slope = concat(&[weights.slice(1..2) * &v + 0.1 * &x * &push, force]);
    model.finish(&slope).unwrap()
}

struct Case {
    name: &'static str,
    times: Vec<f64>,
    options: Options,
}

fn cases() -> Vec<Case> {
    let method = |name| Options::new(Method::named(name).unwrap());
    let plain = vec![0.0, 0.4, 0.9, 2.0];
    let repeated = vec![0.0, 0.0, 0.7, 0.7, 0.7, 1.3, 2.0, 2.0];
    let case = |name, times: &Vec<f64>, options| Case { name, times: times.clone(), options };
    vec![
        case("rk4", &plain, Options { steps: Steps::PerInterval(3), ..method("rk4") }),
        case("rk4, repeated", &repeated, Options { steps: Steps::PerInterval(2), ..method("rk4") }),
        case("heun, at most", &plain, Options { steps: Steps::AtMost(0.13), ..method("heun") }),
        case(
            "dopri5, at most, interpolated",
            &repeated,
            Options { steps: Steps::AtMost(0.31), output: Some(Output::Interpolate), ..method("dopri5") },
        ),
        case("dopri5", &plain, method("dopri5")),
        case("dopri5, repeated", &repeated, method("dopri5")),
        case("dopri5, landing", &repeated, Options { output: Some(Output::Land), ..method("dopri5") }),
        case("bosh3", &plain, Options { rtol: 1e-4, ..method("bosh3") }),
        case("dopri8", &repeated, method("dopri8")),
        case("tsit5, backward", &vec![2.0, 1.1, 0.3, 0.0], method("tsit5")),
        case("adaptive_heun", &plain, Options { rtol: 1e-3, atol: 1e-4, ..method("adaptive_heun") }),
        case("one time", &vec![0.5, 0.5, 0.5], method("dopri5")),
        case("only one", &vec![0.5], method("dopri5")),
    ]
}

/// ⟨w, ẏ⟩ = ⟨∂L/∂y0, ẏ0⟩ + ⟨∂L/∂θ, θ̇⟩ + ⟨∂L/∂a, ȧ⟩ + ⟨∂L/∂t, ṫ⟩ for L = ⟨w, y⟩, along several directions.
fn transposed(name: &str, field: &dyn VectorField<f64>, batch: usize, times: &[f64], options: &Options) {
    let (state, parameters, arguments) = (field.state_size(), field.parameters().len(), field.argument_size());
    let (directions, outputs) = (3, times.len());
    let y0 = rows(batch, state, 1);
    let dy0 = array(&[directions, batch, state], 2).into_dimensionality().unwrap();
    let mut dparameters = rows(directions, parameters, 3);
    let mut darguments: Array3<f64> = array(&[directions, batch, arguments], 4).into_dimensionality().unwrap();
    let mut dtimes = rows(directions, outputs, 5);
    // The last direction is one unit vector of parameters and arguments, and times stand still.
    dparameters.row_mut(2).fill(0.0);
    darguments.slice_mut(s![2, .., ..]).fill(0.0);
    dtimes.row_mut(2).fill(0.0);
    if parameters > 0 {
        dparameters[[2, 0]] = 1.0;
    }
    if arguments > 0 {
        darguments.slice_mut(s![2, .., 0]).fill(1.0);
    }
    let tangents = Tangents {
        directions,
        y0: Some(dy0.view()),
        parameters: Some(dparameters.view()),
        arguments: Some(darguments.view()),
        times: Some(dtimes.view()),
    };
    let moved = jvp(field, y0.view(), times, &tangents, options).unwrap();
    let solution = odeint(field, y0.view(), times, options).unwrap();
    assert_eq!(moved.solution.y(), solution.y(), "{name}");
    let w: Array3<f64> = array(&[outputs, batch, state], 6).into_dimensionality().unwrap();
    let mut trajectory = vjp(field, y0.view(), times, options, &GradientMethod::Symplectic).unwrap();
    let gradient = trajectory.pullback(w.view()).unwrap();
    let time_gradient = Array1::from(gradient.times.clone().unwrap());
    for index in 0..directions {
        let forward = (&w * &moved.tangents().index_axis(ndarray::Axis(0), index)).sum();
        let parts = [
            (&gradient.y0() * &dy0.index_axis(ndarray::Axis(0), index)).sum(),
            (&Array1::from(gradient.parameters().to_vec()) * &dparameters.row(index)).sum(),
            (&gradient.arguments() * &darguments.index_axis(ndarray::Axis(0), index)).sum(),
            (&time_gradient * &dtimes.row(index)).sum(),
        ];
        let (reverse, scale): (f64, f64) = (parts.iter().sum(), parts.iter().map(|part| part.abs()).sum());
        assert!(
            (forward - reverse).abs() < 2e-13 * (1.0 + scale),
            "{name}, direction {index}: {forward} forward, {reverse} in reverse ({parts:?})"
        );
    }
}

#[test]
fn directions_and_cotangents_pair_alike_whatever_the_steps() {
    let program = driven();
    let field = ProgramField::new(program, &[0.3, 0.7, 1.1]).unwrap();
    for batch in [1, 5, 70] {
        let arguments = rows(batch, 2, 7);
        let with = field.with_arguments(arguments.view()).unwrap();
        for Case { name, times, options } in cases() {
            transposed(name, &with, batch, &times, &options);
        }
    }
}

#[test]
fn every_model_has_tangents() {
    let network = |widths: &[usize], time| {
        let architecture = Architecture { widths: widths.to_vec(), activation: Activation::Tanh, time, bias: true };
        Mlp::<f64>::new(architecture, 3).unwrap()
    };
    let options = Options::new(Method::named("dopri5").unwrap());
    let times = [0.0, 0.3, 1.0];
    transposed("mlp", &network(&[2, 7, 2], Time::Concat), 3, &times, &options);
    for trace in [Trace::Exact, Trace::Hutchinson(Noise::Gaussian)] {
        let flow = Cnf::new(network(&[2, 7, 2], Time::ConcatSquash), trace, true, false, 1).unwrap();
        transposed("cnf", &flow, 3, &times, &options);
    }
    let energy = Hamiltonian::new(network(&[4, 6, 1], Time::None), Energy::Whole, Structure::Canonical, 1.0).unwrap();
    transposed("hamiltonian", &energy, 2, &times, &options);
}

#[test]
fn many_directions_are_each_what_they_are_alone() {
    let field = ProgramField::new(driven(), &[0.3, 0.7, 1.1]).unwrap();
    let arguments = rows(2, 2, 7);
    let with = field.with_arguments(arguments.view()).unwrap();
    let (y0, along) = (rows(2, 2, 1), rows(70, 3, 8));
    let options = Options::new(Method::named("dopri5").unwrap());
    let times = [0.0, 1.0];
    let tangents = Tangents { parameters: Some(along.view()), ..Tangents::new(70) };
    let all = jvp(&with, y0.view(), &times, &tangents, &options).unwrap();
    for index in [0, 63, 64, 69] {
        let tangents = Tangents { parameters: Some(along.slice(s![index..=index, ..])), ..Tangents::new(1) };
        let alone = jvp(&with, y0.view(), &times, &tangents, &options).unwrap();
        let difference = &all.tangents().slice(s![index, .., .., ..]) - &alone.tangents().slice(s![0, .., .., ..]);
        assert!(difference.iter().all(|difference| difference.abs() < 1e-13), "{index}");
    }
}

#[test]
fn second_derivatives_are_differences_of_gradients() {
    let arguments = rows(3, 2, 7);
    let parameters = [0.3, 0.7, 1.1];
    let (y0, dy0, dtheta, darguments) = (rows(3, 2, 1), rows(3, 2, 2), rows(1, 3, 3), rows(3, 2, 4));
    for Case { name, times, options } in cases() {
        // L = Σ cos(y + place).
        let places: Array3<f64> = array(&[times.len(), 3, 2], 9).into_dimensionality().unwrap();
        let gradient = |by: f64| {
            let theta: Vec<f64> = parameters.iter().zip(&dtheta).map(|(p, d)| p + by * d).collect();
            let field = ProgramField::new(driven(), &theta).unwrap();
            let arguments = &arguments + &(by * &darguments);
            let with = field.with_arguments(arguments.view()).unwrap();
            let start = &y0 + &(by * &dy0);
            // The steps of the solve in the middle, which are the constants of its derivative.
            let options = Options { steps: Steps::PerInterval(3), ..options.clone() };
            let mut trajectory = vjp(&with, start.view(), &times, &options, &GradientMethod::Symplectic).unwrap();
            let w = (&trajectory.solution.y() + &places).mapv(|y: f64| -y.sin());
            let gradient = trajectory.pullback(w.view()).unwrap();
            [
                gradient.y0().iter().copied().collect(),
                gradient.parameters().to_vec(),
                gradient.arguments().iter().copied().collect(),
            ]
            .concat()
        };
        let field = ProgramField::new(driven(), &parameters).unwrap();
        let with = field.with_arguments(arguments.view()).unwrap();
        let direction = |own: &Array3<f64>, its: &Array3<f64>, options: &Options, method: &GradientMethod| {
            let direction = Tangents {
                y0: Some(own.view()),
                parameters: Some(dtheta.view()),
                arguments: Some(its.view()),
                ..Tangents::new(1)
            };
            let mut recorded = JvpVjp::record(&with, y0.view(), &times, &direction, options, method).unwrap();
            let phase = &recorded.solution.y() + &places;
            let curvature = phase.mapv(|y| -f64::cos(y)) * recorded.tangent();
            let product = recorded.pullback(phase.mapv(|y| -y.sin()).view(), curvature.view()).unwrap();
            assert!(product.times.is_none());
            [
                product.y0().iter().copied().collect(),
                product.parameters().to_vec(),
                product.arguments().iter().copied().collect::<Vec<_>>(),
            ]
            .concat()
        };
        let (own, its) = (dy0.clone().insert_axis(ndarray::Axis(0)), darguments.clone().insert_axis(ndarray::Axis(0)));
        let fixed = Options { steps: Steps::PerInterval(3), ..options.clone() };
        let step = 1e-5;
        let (plus, minus): (Vec<f64>, Vec<f64>) = (gradient(step), gradient(-step));
        let product = direction(&own, &its, &fixed, &GradientMethod::Symplectic);
        for ((got, plus), minus) in product.iter().zip(plus).zip(minus) {
            let expected = (plus - minus) / (2.0 * step);
            assert!((got - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{name}: {got} and not {expected}");
        }
        // All that can be retained, with the steps of the case itself.
        let symplectic = direction(&own, &its, &options, &GradientMethod::Symplectic);
        for method in [
            GradientMethod::Backprop,
            GradientMethod::Baseline,
            GradientMethod::Aca,
            GradientMethod::default(),
            GradientMethod::Auto { budget: 120_000 },
        ] {
            assert_eq!(direction(&own, &its, &options, &method), symplectic, "{name}: {method:?}");
        }
    }
}

#[test]
fn sensitivities_are_the_rows_of_gradients() {
    let field = ProgramField::new(driven(), &[0.3, 0.7, 1.1]).unwrap();
    let arguments = rows(3, 2, 7);
    let with = field.with_arguments(arguments.view()).unwrap();
    let (y0, times) = (rows(3, 2, 1), [0.0, 0.7, 2.0]);
    let options = Options::new(Method::named("tsit5").unwrap());
    let all = sensitivities(&with, y0.view(), &times, &options).unwrap();
    assert_eq!(all.parameters.shape(), [3, 3, 2, 3]);
    let mut trajectory = vjp(&with, y0.view(), &times, &options, &GradientMethod::Symplectic).unwrap();
    for (output, sample, feature) in (0..3).flat_map(|t| (0..3).flat_map(move |b| (0..2).map(move |f| (t, b, f)))) {
        let mut w = Array3::zeros((3, 3, 2));
        w[[output, sample, feature]] = 1.0;
        let gradient = trajectory.pullback(w.view()).unwrap();
        let near = |got: ndarray::ArrayView1<'_, f64>, expected: ndarray::ArrayView1<'_, f64>| {
            assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-13));
        };
        let at = s![output, sample, feature, ..];
        near(all.parameters.slice(at), Array1::from(gradient.parameters().to_vec()).view());
        near(all.y0.slice(at), gradient.y0().row(sample));
        near(all.arguments.slice(at), gradient.arguments().row(sample));
    }
    let wrong = sensitivities(&with, rows(3, 3, 1).view(), &times, &options).unwrap_err();
    assert!(matches!(wrong, Error::Shape { argument: "y0", .. }), "{wrong}");
}

#[test]
fn directions_that_do_not_fit_are_refused() {
    let field = ProgramField::new(driven(), &[0.3, 0.7, 1.1]).unwrap();
    let arguments = rows(2, 2, 7);
    let with = field.with_arguments(arguments.view()).unwrap();
    let y0 = rows(2, 2, 1);
    let options = Options::new(Method::named("dopri5").unwrap());
    let refused = |tangents: &Tangents<'_, f64>| jvp(&with, y0.view(), &[0.0, 1.0], tangents, &options).unwrap_err();
    assert!(matches!(refused(&Tangents::new(0)), Error::Option { argument: "tangents", .. }));
    let wrong = rows(2, 2, 1);
    let tangents = Tangents { parameters: Some(wrong.view()), ..Tangents::new(2) };
    assert!(matches!(refused(&tangents), Error::Shape { argument: "tangents.parameters", .. }));
    let infinite = Array2::from_elem((1, 3), f64::INFINITY);
    let tangents = Tangents { parameters: Some(infinite.view()), ..Tangents::new(1) };
    assert!(matches!(refused(&tangents), Error::NonFiniteInput { argument: "tangents.parameters", .. }));
}
