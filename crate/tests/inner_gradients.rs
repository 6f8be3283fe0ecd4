//! Gradients within a program: slopes that are made of the gradient of something.

use ndarray::Array2;
use symplectic_adjoint::field::{evaluate, vjp as field_vjp};
use symplectic_adjoint::program::{Builder, Program, Value, concat};
use symplectic_adjoint::{GradientMethod, Method, Options, VectorField, odeint, vjp};

use crate::programs::{check_field, field, rows};

/// f at some states.
fn values(program: &Program, y: &Array2<f64>) -> Vec<f64> {
    let field = field(program.clone(), 1);
    evaluate(&field, field.parameters(), 0.3, y.view()).unwrap().to_vec()
}

fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{got} and not {expected}");
    }
}

/// A layer with an activation, the same for the same numbers of parameters before it.
fn layer(model: &mut Builder, x: &Value, outputs: usize) -> Value {
    let weight = model.parameter(outputs * x.rows());
    let bias = model.parameter(outputs);
    (weight.dense(x, 1) + bias).tanh()
}

/// A network as an energy of so many features.
fn energy(model: &mut Builder, x: &Value) -> Value {
    let hidden = layer(model, x, 7);
    let last = layer(model, &hidden, 5);
    let weight = model.parameter(5);
    (weight * last).sum() + x.powf(2.0).sum() / 2.0
}

fn by_energy() -> Program {
    let mut model = Builder::new(4);
    let x = model.state(0..4).variable();
    let h = energy(&mut model, &x);
    let slope = h.gradient(&x);
    let slope = concat(&[slope.slice(2..4), -slope.slice(0..2)]);
    model.finish(&slope).unwrap()
}

#[test]
fn a_slope_may_be_the_gradient_of_an_energy() {
    let mut model = Builder::new(4);
    let x = model.state(0..4);
    let h = energy(&mut model, &x);
    let h = field(model.finish(&h).unwrap(), 1);
    let y = rows(5, 4, 3);
    let pulled = field_vjp(&h, h.parameters(), 0.3, y.view(), Array2::ones((5, 1)).view()).unwrap();
    let expected: Vec<f64> = pulled.y.chunks(4).flat_map(|g| [g[2], g[3], -g[0], -g[1]]).collect();
    close(&values(&by_energy(), &y), &expected, 1e-14);
}

#[test]
fn it_is_differentiated_like_any_other() {
    for batch in [1, 3, 19] {
        check_field(&by_energy(), batch, 5, 1e-8);
    }
    let field = field(by_energy(), 2);
    let y0 = rows(6, 4, 7);
    let options = Options::new(Method::named("rk4").unwrap());
    let y = odeint(&field, y0.view(), &[0.0, 1.0], &options).unwrap();
    let w = y.y().to_owned();
    let gradients: Vec<_> = [GradientMethod::Symplectic, GradientMethod::Backprop]
        .map(|gradient| {
            let mut recorded = vjp(&field, y0.view(), &[0.0, 1.0], &options, &gradient).unwrap();
            recorded.pullback(w.view()).unwrap().parameters().to_vec()
        })
        .into();
    assert_eq!(gradients[0], gradients[1]);
}

#[test]
fn nothing_is_simplified_past_a_variable() {
    // Rows of joined values, copies of a row, and a variable of another variable.
    let model = Builder::new(2);
    let [a, b] = [model.state(0..1), model.state(1..2)];
    let joined = concat(&[a.sin(), b.clone(), &a * &b]).variable();
    let of_rows = (joined.row(0) * joined.row(2) + joined.row(1).exp()).gradient(&joined);
    let copies = a.spread(3, 1).variable();
    let of_copies = (&copies * &copies * concat(&[a.clone(), b.clone(), a.clone()])).sum().gradient(&copies);
    let x = a.variable();
    let inner = (&x * &x).variable();
    let outer = inner.sin() * &x;
    let slope = concat(&[of_rows, of_copies, outer.gradient(&x), outer.gradient(&inner)]);
    let y = rows(3, 2, 4);
    let expected: Vec<f64> = y
        .outer_iter()
        .flat_map(|row| {
            let (a, b) = (row[0], row[1]);
            let of_copies = [2.0 * a * a, 2.0 * a * b, 2.0 * a * a];
            let square = a * a;
            let of_x = 2.0 * a * square.cos() * a + square.sin();
            [&[a * b, b.exp(), a.sin()][..], &of_copies, &[of_x, square.cos() * a]].concat()
        })
        .collect();
    let program = model.finish(&slope).unwrap();
    let field = field(program, 1);
    close(&evaluate(&field, &[], 0.0, y.view()).unwrap(), &expected, 1e-14);
}

#[test]
fn gradients_of_gradients() {
    // xᵀ(∇²h)x of h = Σ x⁴: 12 Σ x⁴; and the third derivative along x.
    let model = Builder::new(3);
    let x = model.state(0..3).variable();
    let first = x.powf(4.0).sum().gradient(&x);
    let second = (&first * &x).sum().gradient(&x);
    let third = second.row(0).gradient(&x);
    let program = model.finish(&concat(&[first, second, third])).unwrap();
    let y = rows(4, 3, 9);
    let expected: Vec<f64> = y
        .outer_iter()
        .flat_map(|x| {
            let power = |factor: f64, power: i32| x.iter().map(move |x| factor * x.powi(power)).collect::<Vec<_>>();
            // ∂/∂x (4x³·x) = 16 x³, and its first row again.
            [power(4.0, 3), power(16.0, 3), vec![48.0 * x[0] * x[0], 0.0, 0.0]].concat()
        })
        .collect();
    close(&values(&program, &y), &expected, 1e-12);
    check_field(&program, 2, 3, 1e-7);
}

#[test]
fn branches_that_nobody_takes_reach_no_gradient() {
    let model = Builder::new(1);
    let x = model.state(0..1).variable();
    let zero = model.constant(0.0);
    let h = zero.if_less(&x, &x.log(), &(&x * &x));
    let program = model.finish(&h.gradient(&x)).unwrap();
    close(&values(&program, &ndarray::array![[-3.0], [0.0], [2.0]]), &[-6.0, 0.0, 0.5], 1e-15);
    let field = field(program, 1);
    let y = ndarray::array![[-3.0], [0.0], [2.0]];
    let pulled = field_vjp(&field, &[], 0.0, y.view(), Array2::ones((3, 1)).view()).unwrap();
    close(&pulled.y, &[2.0, 2.0, -0.25], 1e-15);
}

const PENDULUM: &str = r#"{"version":1,"state":2,"parameters":0,"arguments":0,"nodes":[["state",0,2],["slice",0,1,1],
    ["mul",1,1],["constant",0.5],["mul",2,3],["slice",0,0,1],["cos",5],["sub",4,6],["gradient",7,0],["slice",8,1,1],
    ["slice",8,0,1],["neg",10],["concat",9,11]],"result":12}"#;

#[test]
fn programs_in_json_have_gradients_too() {
    let program = Program::from_json(PENDULUM).unwrap();
    let y = rows(3, 2, 8);
    let expected: Vec<f64> = y.outer_iter().flat_map(|x| [x[1], -x[0].sin()]).collect();
    close(&values(&program, &y), &expected, 1e-15);
    // Rows of the state are the same rows whichever node reads them.
    let rows_read =
        PENDULUM.replace(r#"["slice",0,1,1]"#, r#"["state",1,1]"#).replace(r#"["slice",0,0,1]"#, r#"["state",0,1]"#);
    assert_eq!(values(&Program::from_json(&rows_read).unwrap(), &y), values(&program, &y));
    let of_one = r#"{"version":1,"state":2,"parameters":0,"arguments":1,"nodes":[["state",0,2],["argument",0,1],["sum",0,1,2],
        ["mul",2,2],["mul",3,1],["state",1,1],["gradient",4,5],["gradient",4,1],["concat",6,7]],"result":8}"#;
    let of_one = field(Program::from_json(of_one).unwrap(), 1);
    let argument = rows(3, 1, 6);
    let got = evaluate(&of_one.with_arguments(argument.view()).unwrap(), &[], 0.0, y.view()).unwrap();
    let sums = y.outer_iter().map(|x| x[0] + x[1]).zip(&argument);
    close(&got, &sums.flat_map(|(sum, a)| [2.0 * sum * a, sum * sum]).collect::<Vec<_>>(), 1e-15);
    // Written again, it has the operations of the gradient, and the same bits.
    let again = Program::from_json(&program.to_json()).unwrap();
    assert_eq!(values(&again, &y), values(&program, &y));
    for (from, to, expected) in [
        (r#"["gradient",7,0]"#, r#"["gradient",0,0]"#, "one row"),
        (r#"["gradient",7,0]"#, r#"["gradient",7,3]"#, "of the state or of arguments"),
        (r#"["gradient",7,0]"#, r#"["gradient",7]"#, "2 nodes"),
        (r#"["gradient",7,0]"#, r#"["gradient",7,9]"#, "nodes before it"),
    ] {
        let refused = Program::from_json(&PENDULUM.replace(from, to)).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn gradients_that_grow_too_large_are_refused() {
    // Each is of the one before: the derivatives of a product double.
    let mut nodes = vec![r#"["state",0,1]"#.to_string(), r#"["sin",0]"#.into(), r#"["mul",1,0]"#.into()];
    for _ in 0..60 {
        let last = nodes.len() - 1;
        nodes.push(format!(r#"["gradient",{last},0]"#));
        nodes.push(format!(r#"["mul",{},{}]"#, last + 1, last));
    }
    let text = format!(
        r#"{{"version":1,"state":1,"parameters":0,"arguments":0,"nodes":[{}],"result":{}}}"#,
        nodes.join(","),
        nodes.len() - 1
    );
    let refused = Program::from_json(&text).unwrap_err();
    assert!(refused.to_string().contains("16384 nodes at most"), "{refused}");
}

#[test]
fn gradients_are_counted() {
    let gradients = (0..1_100).map(|_| r#",["gradient",1,0]"#).collect::<String>();
    let text = format!(
        r#"{{"version":1,"state":3,"parameters":0,"arguments":0,"nodes":[["state",0,3],["sum",0,1,3]{gradients}],"result":2}}"#
    );
    let refused = Program::from_json(&text).unwrap_err();
    assert!(refused.to_string().contains("1024 gradients at most"), "{refused}");
}
