//! Input that is refused before anything is computed, with an error that names the argument.

use ndarray::array;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::optimizer::{Group, Optimizer, Rule};
use symplectic_adjoint::program::{Builder, Value};
use symplectic_adjoint::sensitivity::Tangents;
use symplectic_adjoint::tableau::Extension;
use symplectic_adjoint::tableau::methods::{DOPRI5, RK4};
use symplectic_adjoint::{
    Activation, Architecture, Controller, Error, GradientMethod, Method, Mlp, Options, Output, Result, Tableau, Time,
    Tolerances, jvp, odeint, sensitivities, vjp,
};

fn argument<R>(result: Result<R>) -> &'static str {
    match result.err().expect("an error") {
        Error::Shape { argument, .. } | Error::Option { argument, .. } | Error::NonFiniteInput { argument, .. } => {
            argument
        }
        other => panic!("{other}"),
    }
}

fn decay() -> ProgramField<f64> {
    let model = Builder::new(2);
    let x = model.state(0..2);
    ProgramField::new(model.finish(&-x).unwrap(), &[]).unwrap()
}

#[test]
fn methods_that_contradict_themselves() {
    let solve = |tableau: Tableau| {
        let tableau: &'static Tableau = Box::leak(Box::new(tableau));
        odeint(&decay(), array![[1.0, 2.0]].view(), &[0.0, 1.0], &Options::new(tableau))
    };
    for tableau in [
        Tableau { b: &[0.5, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0], ..RK4 },
        Tableau { c: &[0.0], ..RK4 },
        Tableau { order: 0, ..RK4 },
        Tableau { order: 5, ..RK4 },
        Tableau { b_hat: RK4.b, ..RK4 },
        Tableau { extension: Extension::Hermite { d: &[f64::NAN, 0.0, 0.0, 0.0, 0.0] }, ..RK4 },
    ] {
        assert_eq!(argument(solve(tableau)), "method");
    }
    solve(RK4).unwrap();
    let rows: Vec<Vec<f64>> = DOPRI5.a.iter().map(|row| row.to_vec()).collect();
    let own = |b_hat, order| Tableau::custom(DOPRI5.c, &rows, DOPRI5.b, b_hat, order);
    assert_eq!(argument(own(DOPRI5.b, 5)), "method");
    assert_eq!(argument(own(DOPRI5.b_hat, 8)), "method");
    assert!(!Tableau { c: &[], ..DOPRI5 }.fsal() && !Tableau { b: &[], ..DOPRI5 }.fsal());
    assert!(Tableau { order: 3, ..RK4 } != RK4);
}

#[test]
fn more_than_memory_holds() {
    let (field, options) = (decay(), Options::new(&DOPRI5));
    let nan = array![1.0, f64::NAN];
    assert_eq!(argument(odeint(&field, nan.broadcast((3, 2)).unwrap(), &[0.0, 1.0], &options)), "y0");
    // A direction for each of a million parameters.
    let network =
        Architecture { widths: vec![2, 1000, 1000, 2], activation: Activation::Tanh, time: Time::None, bias: true };
    let network = Mlp::<f64>::new(network, 0).unwrap();
    let all = sensitivities(&network, array![[1.0, 2.0]].view(), &[0.0, 1.0], &options);
    assert!(matches!(all, Err(Error::OutOfMemory { .. })));
}

#[test]
fn times_that_turn_are_named() {
    let turned =
        |times: &[f64]| odeint(&decay(), array![[1.0, 2.0]].view(), times, &Options::new(&DOPRI5)).unwrap_err();
    assert!(turned(&[0.0, 1.0, 2.0, -1.0]).to_string().contains("2 followed by -1 at index 2"));
    assert!(turned(&[0.0, 0.0, 1.0, 0.0]).to_string().contains("1 followed by 0 at index 2"));
}

#[test]
fn methods_by_name() {
    assert_eq!("dopri5".parse::<Method>().unwrap(), Method::from(&DOPRI5));
    assert_eq!(argument("dopri6".parse::<Method>()), "method");
}

#[test]
fn outputs_of_a_plain_cubic_are_landed_on() {
    let rows: Vec<Vec<f64>> = DOPRI5.a.iter().map(|row| row.to_vec()).collect();
    let own = Tableau::custom(DOPRI5.c, &rows, DOPRI5.b, DOPRI5.b_hat, 5).unwrap();
    let times: Vec<f64> = (0..=20).map(|i| f64::from(i) / 20.0).collect();
    let solve = |output| {
        odeint(&decay(), array![[1.0, 2.0]].view(), &times, &Options { output, ..Options::new(own) })
            .unwrap()
            .y()
            .to_owned()
    };
    assert_eq!(solve(None), solve(Some(Output::Land)));
}

#[test]
fn options_that_are_no_numbers() {
    let solve = |options: Options| odeint(&decay(), array![[1.0, 2.0]].view(), &[0.0, 1.0], &options);
    for (p, i, d) in [(f64::NAN, 0.1, 0.0), (0.1, f64::INFINITY, 0.0), (0.0, 0.1, f64::NEG_INFINITY)] {
        let options = Options { controller: Controller::Pid { p, i, d }, ..Options::new(&DOPRI5) };
        assert_eq!(argument(solve(options)), "controller");
    }
    for safety in [0.0, 1.0 + f64::EPSILON, f64::NAN] {
        assert_eq!(argument(solve(Options { safety, ..Options::new(&DOPRI5) })), "safety");
    }
}

#[test]
fn tolerances_of_the_adjoint_fit_the_state() {
    let options = Options::new(&DOPRI5);
    for count in [1, 3, 4] {
        let tolerances = Tolerances { relative: vec![1e-3; count], ..Tolerances::default() };
        let method = GradientMethod::Adjoint(Box::new(Options { tolerances, ..options.clone() }));
        let refused = vjp(&decay(), array![[1.0, 2.0]].view(), &[0.0, 1.0], &options, &method);
        assert_eq!(argument(refused.map(|_| ())), "rtol");
    }
}

#[test]
fn steps_of_optimizers() {
    let groups = vec![Group { parameters: 2, learning_rate: 0.1, weight_decay: 0.0 }];
    let mut optimizer = Optimizer::<f64>::new(Rule::Sgd { momentum: 0.0 }, groups.clone()).unwrap();
    assert_eq!(argument(optimizer.step(&mut [1.0], &[1.0; 2])), "parameters");
    assert_eq!(argument(optimizer.step(&mut [1.0; 2], &[1.0])), "gradient");
    optimizer.groups[0].learning_rate = -1.0;
    assert_eq!(argument(optimizer.step(&mut [1.0; 2], &[1.0; 2])), "learning_rate");
    optimizer.groups = groups;
    optimizer.groups[0].weight_decay = f64::NAN;
    assert_eq!(argument(optimizer.step(&mut [1.0; 2], &[1.0; 2])), "weight_decay");
    optimizer.groups.clear();
    assert_eq!(argument(optimizer.step(&mut [1.0; 2], &[1.0; 2])), "groups");
}

#[test]
fn more_than_can_be_counted() {
    let (field, options) = (decay(), Options::new(&DOPRI5));
    for count in [usize::MAX, 1 << (usize::BITS - 1)] {
        let tangents = Tangents::new(count);
        let refused = jvp(&field, array![[1.0, 2.0]].view(), &[0.0, 1.0], &tangents, &options);
        assert_eq!(argument(refused.map(|_| ())), "tangents");
    }
    let huge: [fn(&mut Builder, &Value) -> Value; 8] = [
        |model, _| model.parameter(usize::MAX),
        |model, _| model.argument(usize::MAX),
        |_, x| x.row(usize::MAX),
        |_, x| x.spread(usize::MAX / 2, 1),
        |_, x| x.spread(1 << 20, 1).outer(&x.spread(1 << 20, 1)),
        |_, x| x * f64::NAN,
        |model, _| model.constant(f64::INFINITY),
        |_, x| (0..10).fold(x.spread(1 << 26, 1), |all, _| symplectic_adjoint::program::concat(&[all.clone(), all])),
    ];
    for make in huge {
        let mut model = Builder::new(2);
        let x = model.state(0..2);
        let value = make(&mut model, &x);
        assert_eq!(argument(model.finish(&value)), "program");
    }
    let model = Builder::new(1 << 30);
    let x = model.state(0..1 << 30);
    assert_eq!(argument(model.finish(&x)), "program");
    let model = Builder::new(3);
    let x = model.state(0..3);
    let program = model.finish(&(x.roll(isize::MIN) - x.roll(isize::MAX))).unwrap();
    assert_eq!(program.state(), 3);
}
