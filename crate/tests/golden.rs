//! Gradients against an independent implementation: the cases under `test/golden`, whose README describes them.

use ndarray::{Array2, Array3};
use serde::Deserialize;
use symplectic_adjoint::model::cnf::{Cnf, Noise, Trace};
use symplectic_adjoint::model::hamiltonian::{Energy, Hamiltonian, Structure};
use symplectic_adjoint::{
    Activation, Architecture, Controller, GradientMethod, Mlp, Options, Output, Real, Tableau, Time, VectorField, vjp,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    field: Field,
    layers: Vec<Layer>,
    method: String,
    rtol: Option<f64>,
    atol: Option<f64>,
    t: Vec<f64>,
    y0: Vec<Vec<f64>>,
    cotangent: Vec<Vec<Vec<f64>>>,
    y: Vec<Vec<Vec<f64>>>,
    grad_y0: Vec<Vec<f64>>,
    grad_layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Field {
    kind: String,
    dims: Vec<usize>,
    activation: String,
    time: String,
    trace: Option<String>,
    noise: Option<Vec<Vec<f64>>>,
    structure: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
    gate_weight: Option<Vec<f64>>,
    gate_bias: Option<Vec<f64>>,
    hyper_bias: Option<Vec<f64>>,
}

fn flat(layers: &[Layer]) -> Vec<f64> {
    let mut all = Vec::new();
    for layer in layers {
        all.extend(layer.weight.iter().flatten());
        all.extend(&layer.bias);
        for gate in [&layer.gate_weight, &layer.gate_bias, &layer.hyper_bias] {
            all.extend(gate.iter().flatten());
        }
    }
    all
}

fn error<T: Real>(ours: impl IntoIterator<Item = T>, theirs: impl IntoIterator<Item = f64>) -> f64 {
    let (mut difference, mut size, mut count) = (0.0, 0.0, [0, 0]);
    let mut theirs = theirs.into_iter();
    for ours in ours {
        let theirs = theirs.next().expect("as many numbers");
        difference += (ours.wide() - theirs).powi(2);
        size += theirs * theirs;
        count[0] += 1;
    }
    assert!(count[0] > 0 && theirs.next().is_none());
    if size > 0.0 { (difference / size).sqrt() } else { difference.sqrt() }
}

fn check<T: Real>(case: &Case, method: &GradientMethod) -> [f64; 3] {
    let architecture = Architecture {
        widths: case.field.dims.clone(),
        activation: Activation::named(&case.field.activation).unwrap(),
        time: Time::named(&case.field.time).unwrap(),
        bias: true,
    };
    let mut network = Mlp::<T>::new(architecture, 0).unwrap();
    let parameters: Vec<T> = flat(&case.layers).into_iter().map(T::of).collect();
    network.parameters_mut().copy_from_slice(&parameters);
    let field: Box<dyn VectorField<T>> = match &case.field.kind[..] {
        "mlp" => Box::new(network),
        "cnf" => {
            let exact = case.field.trace.as_deref() == Some("exact");
            let trace = if exact { Trace::Exact } else { Trace::Hutchinson(Noise::Rademacher) };
            let mut cnf = Cnf::new(network, trace, false, false, 0).unwrap();
            if let Some(noise) = &case.field.noise {
                let noise: Vec<T> = noise.iter().flatten().map(|&noise| T::of(noise)).collect();
                cnf.set_noise(Some(&noise)).unwrap();
            }
            Box::new(cnf)
        }
        "hnn" => {
            let structure = match case.field.structure.as_deref() {
                Some("canonical") => Structure::Canonical,
                Some("dx") => Structure::Dx,
                _ => Structure::Laplacian,
            };
            Box::new(Hamiltonian::new(network, Energy::Whole, structure, 1.0).unwrap())
        }
        kind => panic!("{kind}: no such field"),
    };
    let (batch, state) = (case.y0.len(), case.y0[0].len());
    let y0: Vec<T> = case.y0.iter().flatten().map(|&y| T::of(y)).collect();
    let w: Vec<T> = case.cotangent.iter().flatten().flatten().map(|&w| T::of(w)).collect();
    let options = Options {
        rtol: case.rtol.unwrap_or(1e-6),
        atol: case.atol.unwrap_or(1e-8),
        output: Some(Output::Land),
        controller: Controller::Torchdiffeq,
        ..Options::new(Tableau::named(&case.method).unwrap())
    };
    let y0 = Array2::from_shape_vec((batch, state), y0).unwrap();
    let w = Array3::from_shape_vec((case.t.len(), batch, state), w).unwrap();
    let mut trajectory = vjp(&*field, y0.view(), &case.t, &options, method).unwrap();
    let gradient = trajectory.pullback(w.view()).unwrap();
    let y = trajectory.solution.y();
    [
        error(y.iter().copied(), case.y.iter().flatten().flatten().copied()),
        error(gradient.y0().iter().copied(), case.grad_y0.iter().flatten().copied()),
        error(gradient.parameters().iter().copied(), flat(&case.grad_layers)),
    ]
}

#[test]
fn every_exact_method_reproduces_the_golden_gradients() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../test/golden");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Case = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let (double, single) = match case.rtol {
            None => (1e-12, 2e-5),
            Some(rtol) => (1e-8, f64::max(2e-5, 100.0 * rtol)),
        };
        for method in [
            GradientMethod::Symplectic,
            GradientMethod::Backprop,
            GradientMethod::Baseline,
            GradientMethod::Aca,
            GradientMethod::default(),
        ] {
            let errors = check::<f64>(&case, &method);
            assert!(errors.iter().all(|&e| e <= double), "{} {method:?} float64: {errors:?}", case.name);
            let errors = check::<f32>(&case, &method);
            assert!(errors.iter().all(|&e| e <= single), "{} {method:?} float32: {errors:?}", case.name);
        }
        count += 1;
    }
    assert_eq!(count, 23);
}
