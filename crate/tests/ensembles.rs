//! Trajectories of their own: bitwise what each is alone, with exact gradients through jumps and events.

use std::cell::RefCell;
use std::rc::Rc;

use ndarray::{Array2, Array3, ArrayView2, array, s};
use symplectic_adjoint::ensemble::{
    self, Advance, Changes, Cotangents, Direction, Event, Extras, Integrator, Jump, Lists,
};
use symplectic_adjoint::field::Directions;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::model::hamiltonian::{Energy, Hamiltonian, Structure};
use symplectic_adjoint::program::{Builder, Program, Value, concat};
use symplectic_adjoint::progress::watch;
use symplectic_adjoint::sensitivity::{TangentTrajectory, Tangents};
use symplectic_adjoint::{
    Activation, Architecture, Error, GradientMethod, Method, Mlp, Options, Output, Real, Steps, Time, Tolerances,
    VectorField, odeint, vjp,
};

/// x' = σ (y − x), y' = x (ρ − z) − y + a sin t, z' = x y − β z.
fn lorenz() -> Program {
    let mut model = Builder::new(3);
    let [x, y, z] = [0, 1, 2].map(|row| model.state(row..row + 1));
    let [sigma, rho, beta] = [(); 3].map(|()| model.parameter(1));
    let t = model.time();
    model.finish(&concat(&[sigma * (&y - &x), &x * (rho - &z) - &y + t.sin(), &x * &y - beta * &z])).unwrap()
}

fn starts<T: Real>(batch: usize) -> Array2<T> {
    Array2::from_shape_fn((batch, 3), |(i, j)| {
        T::of(((i * 7 + j * 3) as f64 * 0.37).sin() * (1.0 + (i % 7) as f64 / 5.0))
    })
}

/// Every Runge–Kutta method.
const METHODS: [&str; 13] = [
    "euler",
    "midpoint",
    "heun",
    "ralston",
    "heun3",
    "rk4",
    "rk38",
    "fehlberg2",
    "adaptive_heun",
    "bosh3",
    "dopri5",
    "tsit5",
    "dopri8",
];

fn cases<T: Real>() -> Vec<Options> {
    let mut all = Vec::new();
    for method in METHODS {
        let method = Method::named(method).unwrap();
        for output in [None, Some(Output::Land), Some(Output::Interpolate)] {
            let tolerance = if T::DTYPE == "float32" { 1e-4 } else { 1e-6 };
            let options = Options { output, rtol: tolerance, atol: tolerance, ..Options::new(method) };
            for steps in [Steps::Automatic, Steps::PerInterval(5), Steps::AtMost(0.03)] {
                all.push(Options { steps, ..options.clone() });
            }
        }
    }
    all
}

fn bits<T: Real>(numbers: impl IntoIterator<Item = T>) -> Vec<u64> {
    numbers.into_iter().map(|number| number.wide().to_bits()).collect()
}

fn each_alone<T: Real>(field: &dyn VectorField<T>, batch: usize, tolerance: f64) {
    each_alone_by(&cases::<T>(), field, batch, tolerance);
}

/// Compares an ensemble with solves of each trajectory alone; gives the steps that were rejected.
fn each_alone_by<T: Real>(cases: &[Options], field: &dyn VectorField<T>, batch: usize, tolerance: f64) -> usize {
    let mut rejected = 0;
    let y0 = starts::<T>(batch);
    let times = [0.0, 0.1, 0.25, 0.25, 0.7];
    let w = Array3::from_shape_fn((times.len(), batch, 3), |(k, i, j)| T::of(((k * 5 + i * 3 + j) as f64).cos()));
    for options in cases {
        let mut gradients = Vec::new();
        for method in [
            GradientMethod::Symplectic,
            GradientMethod::Aca,
            GradientMethod::Baseline,
            GradientMethod::Auto { budget: 1 << 30 },
        ] {
            let lists = Lists::shared(&times);
            let none = Changes::default();
            let mut all = ensemble::vjp(field, y0.view(), &lists, options, &none, Extras::default(), &method).unwrap();
            let cotangents = Cotangents { y: w.as_slice().unwrap(), event_times: &[], event_states: &[] };
            let gradient = all.pullback(cotangents).unwrap();
            if let Some((y, y0, parameters, times)) = gradients.first() {
                assert_eq!(y, &bits(all.solution.y.iter().copied()));
                assert_eq!(y0, &bits(gradient.y0.iter().copied()), "{options:?}");
                assert_eq!(parameters, &bits(gradient.parameters.iter().copied()));
                assert_eq!(times, &gradient.times);
                continue;
            }
            gradients.push((
                bits(all.solution.y.iter().copied()),
                bits(gradient.y0.iter().copied()),
                bits(gradient.parameters.iter().copied()),
                gradient.times.clone(),
            ));
            let y = ArrayView2::from_shape((times.len(), batch * 3), &all.solution.y).unwrap();
            let mut parameters = vec![0.0; field.parameters().len()];
            let mut time_gradient = vec![0.0; times.len()];
            for i in 0..batch {
                let own = y0.slice(s![i..i + 1, ..]);
                let mut alone = vjp(field, own, &times, options, &GradientMethod::Symplectic).unwrap();
                let theirs = y.slice(s![.., i * 3..i * 3 + 3]);
                assert_eq!(
                    bits(theirs.iter().copied()),
                    bits(alone.solution.y().iter().copied()),
                    "{} {options:?} {i}",
                    T::DTYPE
                );
                let (ours, solo) = (all.solution.stats[i], alone.solution.stats);
                assert_eq!((ours, ours.last_step), (solo, solo.last_step));
                rejected += ours.rejected;
                let gradient_alone = alone.pullback(w.slice(s![.., i..i + 1, ..])).unwrap();
                assert_eq!(
                    bits(gradient.y0[i * 3..i * 3 + 3].iter().copied()),
                    bits(gradient_alone.y0().iter().copied()),
                    "{options:?} {i}"
                );
                for (sum, part) in parameters.iter_mut().zip(gradient_alone.parameters()) {
                    *sum += part.wide();
                }
                for (sum, part) in time_gradient.iter_mut().zip(gradient_alone.times.unwrap()) {
                    *sum += part;
                }
            }
            let size = parameters.iter().fold(1.0, |size: f64, p| size.max(p.abs()));
            for (ours, sum) in gradient.parameters.iter().zip(&parameters) {
                assert!((ours.wide() - sum).abs() <= tolerance * size, "{ours} {sum} {options:?}");
            }
            let size = time_gradient.iter().fold(1.0, |size: f64, p| size.max(p.abs()));
            for (ours, sum) in gradient.times.as_ref().unwrap().iter().zip(&time_gradient) {
                assert!((ours - sum).abs() <= tolerance * 10.0 * size, "{ours} {sum} {options:?}");
            }
        }
    }
    rejected
}

/// x' = −k x⁹: from 2 a step of a few units overflows, and another trajectory's does not.
fn steep() -> Program {
    let mut model = Builder::new(3);
    let x = model.state(0..3);
    let k = model.parameter(3);
    let square = &x * &x;
    let fourth = &square * &square;
    model.finish(&-(k * x * &fourth * &fourth)).unwrap()
}

#[test]
fn trials_that_overflow_touch_no_neighbour() {
    fn check<T: Real>(batch: usize, tolerance: f64) {
        let field = ProgramField::<T>::new(steep(), &[T::of(1e3), T::of(1.0), T::of(1e-3)]).unwrap();
        let adaptive = cases::<T>().into_iter().filter(Options::adaptive);
        let far: Vec<Options> =
            adaptive.map(|options| Options { first_step: Some(100.0), steps: Steps::Automatic, ..options }).collect();
        let rejected = each_alone_by(&far, &field, batch, tolerance);
        assert!(rejected > batch * far.len(), "{rejected}");
    }
    check::<f64>(23, 1e-12);
    check::<f32>(37, 1e-4);
}

#[test]
fn trajectories_with_jumps_and_events_are_bitwise_what_they_are_alone() {
    // Numbers in ±1, from a seed.
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / 2f64.powi(52) - 1.0
    };
    let mut events = 0;
    for round in 0..3 * METHODS.len() {
        let batch = 2 + round % 9;
        let method = Method::named(METHODS[round % METHODS.len()]).unwrap();
        let mut options = Options {
            output: [None, Some(Output::Land), Some(Output::Interpolate)][round % 3],
            ..Options::new(method)
        };
        (options.rtol, options.atol) = (1e-6, 1e-8);
        options.first_step = options.adaptive().then_some(0.5);
        if !options.adaptive() {
            options.steps = [Steps::PerInterval(9), Steps::AtMost(0.07)][round % 2];
        }
        options.threads = 1 + round % 2;
        let mut jump_times: Vec<Vec<f64>> = (0..batch).map(|i| (0..i % 4).map(|_| 1.0 + random()).collect()).collect();
        jump_times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let case = Bounce {
            y0: Array2::from_shape_fn((batch, 2), |(_, j)| if j == 0 { 0.6 + 0.5 * random() } else { random() }),
            parameters: vec![9.81, 0.1, 0.7, 0.03],
            arguments: Array2::from_shape_fn((batch, 1), |_| random()),
            times: vec![0.0, 0.31, 0.9, 0.9, 1.17, 2.03],
            amounts: (0..jump_times.iter().map(Vec::len).sum()).map(|_| random() / 10.0).collect(),
            jump_times,
            options,
        };
        let (program, changes) = case.changes(Some(3));
        let solve = |rows: std::ops::Range<usize>, method: &GradientMethod| {
            let field = ProgramField::new(program.clone(), &case.parameters).unwrap();
            let arguments = case.arguments.slice(s![rows.clone(), ..]);
            let field = field.with_arguments(arguments).unwrap();
            let before: usize = case.jump_times[..rows.start].iter().map(Vec::len).sum();
            let own: usize = case.jump_times[rows.clone()].iter().map(Vec::len).sum();
            let mut jump = changes.jumps[0].clone();
            jump.times = Lists::own(case.jump_times[rows.clone()].iter().map(|times| &times[..]));
            jump.amounts = case.amounts[before..before + own].to_vec();
            let changes = Changes { jumps: vec![jump], events: changes.events.clone(), ..Changes::default() };
            let y0 = case.y0.slice(s![rows.clone(), ..]);
            let lists = Lists::shared(&case.times);
            let options =
                Options { threads: if rows.len() > 1 { case.options.threads } else { 1 }, ..case.options.clone() };
            let mut solved = ensemble::vjp(&field, y0, &lists, &options, &changes, Extras::default(), method).unwrap();
            // Weights that do not depend on who the neighbours are.
            let count = rows.len();
            let w: Vec<f64> = (0..case.times.len() * count * 2)
                .map(|k| ((k / (2 * count) * 5 + (rows.start + k / 2 % count) * 3 + k % 2) as f64).cos())
                .collect();
            let happened: Vec<_> =
                solved.solution.events.iter().map(|e| (rows.start + e.trajectory, e.event, e.t.to_bits())).collect();
            let times: Vec<f64> = solved.solution.events.iter().map(|e| (e.t * 7.0).sin()).collect();
            let states: Vec<f64> = solved.solution.event_states.iter().map(|x| (x * 5.0).cos()).collect();
            let gradient = solved.pullback(Cotangents { y: &w, event_times: &times, event_states: &states }).unwrap();
            let y = ArrayView2::from_shape((case.times.len(), count * 2), &solved.solution.y).unwrap().to_owned();
            (y, happened, bits(solved.solution.event_states.iter().copied()), gradient, solved.solution.stats.clone())
        };
        let methods = [GradientMethod::Symplectic, GradientMethod::Baseline, GradientMethod::Auto { budget: 1 << 30 }];
        let method = &methods[round % methods.len()];
        let (y, happened, states, gradient, stats) = solve(0..batch, method);
        events += happened.len();
        let (mut own_happened, mut own_states, mut jumps) = (vec![], vec![], vec![]);
        for (i, stats) in stats.iter().enumerate() {
            let (own_y, events, at_events, own, own_stats) = solve(i..i + 1, &GradientMethod::Symplectic);
            assert_eq!(bits(y.slice(s![.., 2 * i..2 * i + 2]).iter().copied()), bits(own_y.iter().copied()));
            assert_eq!(bits(gradient.y0[2 * i..2 * i + 2].iter().copied()), bits(own.y0.iter().copied()));
            assert_eq!(gradient.arguments[i].to_bits(), own.arguments[0].to_bits());
            assert_eq!(*stats, own_stats[0]);
            own_happened.extend(events);
            own_states.extend(at_events);
            jumps.extend(own.jump_times[0].iter().chain(&own.amounts[0]).copied().collect::<Vec<_>>());
        }
        assert_eq!((happened, states), (own_happened, own_states));
        let mut place = 0;
        let mut expected = vec![];
        for times in &case.jump_times {
            let range = place..place + times.len();
            place = range.end;
            expected.extend(gradient.jump_times[0][range.clone()].iter().chain(&gradient.amounts[0][range]).copied());
        }
        assert_eq!(bits(jumps), bits(expected));
    }
    assert!(events > 300, "{events}");
}

#[test]
fn each_trajectory_is_bitwise_what_it_is_alone() {
    let double = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    each_alone::<f64>(&double, 1, 1e-12);
    each_alone::<f64>(&double, 5, 1e-12);
    each_alone::<f64>(&double, 139, 1e-12);
    let single = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    each_alone::<f32>(&single, 21, 1e-4);
}

#[test]
fn leapfrog_takes_times_of_its_own_and_events() {
    // A planet, q'' = −μ q / |q|³, and a drag that is an argument.
    let mut model = Builder::new(4);
    let [x, y, v, w] = [0, 1, 2, 3].map(|row| model.state(row..row + 1));
    let (mass, drag) = (model.parameter(1), model.argument(1));
    let distance = (&x * &x + &y * &y).sqrt();
    let pull = mass / (&distance * &distance * &distance);
    let slope = concat(&[v.clone(), w.clone(), -(&pull * x) - &drag * v, -(pull * y) - drag * w]);
    let field = ProgramField::<f64>::new(model.finish(&slope).unwrap(), &[1.0]).unwrap();
    let batch = field.leaf() + 7;
    let y0 = Array2::from_shape_fn((batch, 4), |(i, j)| [1.0, 0.0, 0.0, 1.0][j] + 1e-3 * (i + j) as f64);
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 0.01 * (i % 3) as f64);
    let own = field.with_arguments(arguments.view()).unwrap();
    let lists: Vec<Vec<f64>> = (0..batch).map(|i| vec![0.0, 0.3, 0.3, 1.0 + 0.01 * i as f64]).collect();
    let times = Lists::own(lists.iter().map(|times| &times[..]));
    let (none, method) = (Changes::default(), GradientMethod::Symplectic);
    for steps in [Steps::PerInterval(4), Steps::AtMost(0.07)] {
        let options = Options { steps, ..Options::new(Method::Leapfrog) };
        let w: Vec<f64> = (0..4 * times.len()).map(|k| (k as f64).cos()).collect();
        let cotangents = Cotangents { y: &w, event_times: &[], event_states: &[] };
        let mut solved = vec![];
        for (threads, method) in [(1, &method), (2, &GradientMethod::Aca), (1, &GradientMethod::Baseline)] {
            let options = Options { threads, ..options.clone() };
            let mut all = ensemble::vjp(&own, y0.view(), &times, &options, &none, Extras::default(), method).unwrap();
            let gradient = all.pullback(cotangents).unwrap();
            solved.push((all.solution.y.to_vec(), gradient));
            assert_eq!(gradient_bits(&solved[0].1), gradient_bits(&solved.last().unwrap().1));
        }
        let (all, gradient) = &solved[0];
        for i in [0, 1, batch - 1] {
            let own = field.with_arguments(arguments.slice(s![i..i + 1, ..])).unwrap();
            let mut alone = vjp(&own, y0.slice(s![i..i + 1, ..]), &lists[i], &options, &method).unwrap();
            let part = 4 * times.start(i)..4 * (times.start(i) + lists[i].len());
            assert_eq!(bits(all[part.clone()].iter().copied()), bits(alone.solution.y().iter().copied()));
            let w = ndarray::ArrayView3::from_shape((lists[i].len(), 1, 4), &w[part]).unwrap();
            let theirs = alone.pullback(w).unwrap();
            assert_eq!(bits(gradient.y0[4 * i..4 * i + 4].to_vec()), bits(theirs.y0().iter().copied()));
        }
    }
    // Between its steps the solution is cubic, and an orbit's return is an event.
    let mut model = Builder::new(4);
    let y = model.state(1..2);
    model.parameter(1);
    model.argument(1);
    let when = model.finish(&y).unwrap();
    let event = Event { when, direction: Direction::Rising, terminal: Some(1), set: None };
    let changes = Changes { events: vec![event], ..Changes::default() };
    let options = Options { steps: Steps::AtMost(0.01), ..Options::new(Method::Leapfrog) };
    let circle = array![[1.0, 0.0, 0.0, 1.0]];
    let free = array![[0.0]];
    let own = field.with_arguments(free.view()).unwrap();
    let extras = Extras { dense: true, ..Extras::default() };
    let times = Lists::shared(&[0.0, 10.0]);
    let solved = ensemble::odeint(&own, circle.view(), &times, &options, &changes, extras).unwrap();
    let period = solved.events[0].t;
    assert!((period - 2.0 * std::f64::consts::PI).abs() < 1e-3, "{period}");
    let (path, t) = (&solved.paths[0], 1.234f64);
    let step = path.t.iter().take_while(|&&begin| begin <= t).count() - 1;
    let theta = (t - path.t[step]) / (path.t[step + 1] - path.t[step]);
    let degree = path.polynomials.len() / (4 * (path.t.len() - 1));
    for (row, circle) in [t.cos(), t.sin(), -t.sin(), t.cos()].into_iter().enumerate() {
        let term = |power: usize| path.polynomials[(step * degree + power) * 4 + row] * theta.powi(power as i32 + 1);
        let ours = path.y[4 * step + row] + (0..degree).map(term).sum::<f64>();
        assert!((ours - circle).abs() < 1e-4, "{ours} {circle}");
    }
    // What needs an extension of higher order, or the derivatives of the stages forward, is refused.
    let rates = [0.0; 4];
    let directions = Directions { count: 1, y0: Some(&rates), parameters: None, arguments: None, times: None };
    let moved = ensemble::odeint_along(&own, circle.view(), &times, &options, &none, &directions);
    assert!(matches!(moved.map(|_| ()), Err(Error::Option { argument: "method", .. })));
    let adjoint = GradientMethod::Adjoint(Box::new(options.clone()));
    let adjoint = ensemble::vjp(&own, circle.view(), &times, &options, &none, Extras::default(), &adjoint);
    assert!(matches!(adjoint.map(|_| ()), Err(Error::Option { argument: "method", .. })));
}

#[test]
fn networks_with_times_of_their_own() {
    for time in Time::ALL {
        for bias in [true, false] {
            let architecture = Architecture { widths: vec![3, 8, 3], activation: Activation::Tanh, time, bias };
            each_alone::<f64>(&Mlp::new(architecture.clone(), 3).unwrap(), 19, 1e-12);
            each_alone::<f32>(&Mlp::new(architecture, 3).unwrap(), 33, 1e-4);
        }
    }
}

/// Some trajectories of an ensemble against solves of each alone: its states, its initial state's gradient, and its derivatives along
/// a direction if it has some.
fn some_alone<T: Real>(field: &dyn VectorField<T>, batch: usize, directions: bool) {
    let state = field.state_size();
    let what = format!("{} states, {batch} trajectories, {}", state, T::DTYPE);
    let start = |i: usize, k: usize| T::of(1.0 + ((i * 5 + k * 3) as f64 * 0.37).sin());
    let y0 = Array2::from_shape_fn((batch, state), |(i, k)| start(i, k));
    let times = Lists::shared(&[0.0, 0.02, 0.05]);
    let tolerance = if T::DTYPE == "float32" { 1e-4 } else { 1e-6 };
    let options = Options { rtol: tolerance, atol: tolerance, ..Options::new(Method::named("bosh3").unwrap()) };
    let gradient = |y0: ArrayView2<'_, T>| {
        let (none, method) = (Changes::default(), GradientMethod::Symplectic);
        let mut all = ensemble::vjp(field, y0, &times, &options, &none, Extras::default(), &method).unwrap();
        let y = all.solution.y.to_vec();
        let gradient = all.pullback(Cotangents { y: &y, event_times: &[], event_states: &[] }).unwrap();
        (y, gradient.y0.to_vec())
    };
    let along = |y0: ArrayView2<'_, T>| {
        let rates = vec![T::of(0.5); y0.len()];
        let directions = Directions { count: 1, y0: Some(&rates), parameters: None, arguments: None, times: None };
        ensemble::odeint_along(field, y0, &times, &options, &Changes::default(), &directions).unwrap().y.to_vec()
    };
    let (y, gradient_all) = gradient(y0.view());
    let moved = directions.then(|| along(y0.view()));
    // The row of a trajectory at each time.
    let rows = |all: &[T], width: usize, i: usize| -> Vec<u64> {
        all.chunks_exact(batch * width).flat_map(|at| bits(at[i * width..][..width].iter().copied())).collect()
    };
    for i in [0, batch / 3, batch / 2, batch - 1] {
        let own = y0.slice(s![i..i + 1, ..]);
        let (y_alone, gradient_alone) = gradient(own);
        assert_eq!(rows(&y, state, i), bits(y_alone.iter().copied()), "{what}: {i}");
        let ours = gradient_all[i * state..][..state].iter().copied();
        assert_eq!(bits(ours), bits(gradient_alone.iter().copied()), "{what}: {i}");
        if let Some(moved) = &moved {
            assert_eq!(rows(moved, 2 * state, i), bits(along(own)), "{what}: {i}");
        }
        // And by steps that would be taken together.
        let together = odeint(field, own, &[0.0, 0.02, 0.05], &options).unwrap();
        assert_eq!(bits(y_alone.iter().copied()), bits(together.y().iter().copied()), "{what}: {i}");
    }
}

#[test]
fn programs_of_many_rows_have_blocks_as_wide_as_others() {
    fn check<T: Real>() {
        for state in [4, 12, 24, 40, 70] {
            let mut model = Builder::new(state);
            let (x, t) = (model.state(0..state), model.time());
            let forcing = model.parameter(1) + t.sin();
            let slope = (x.roll(-1) - x.roll(2)) * x.roll(1) - &x + forcing;
            let field = ProgramField::<T>::new(model.finish(&slope).unwrap(), &[T::of(8.0)]).unwrap();
            for batch in [9, 70, field.leaf() + 3] {
                some_alone(&field, batch, true);
            }
        }
        // One state, and many values on the way.
        let mut model = Builder::new(1);
        let (x, rate) = (model.state(0..1), model.parameter(1));
        let terms: Vec<Value> = (1..90).map(|k| (&x * f64::from(k) / 40.0 + &rate).sin()).collect();
        let product = terms.iter().fold(x.cos(), |sum, term| sum * 0.9 + term * terms[7].exp());
        let field = ProgramField::<T>::new(model.finish(&(product * 0.01)).unwrap(), &[T::of(0.3)]).unwrap();
        some_alone(&field, field.leaf(), true);
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn grids_with_times_of_their_own() {
    fn check<T: Real>() {
        for structure in [Structure::Dx, Structure::Laplacian] {
            let architecture =
                Architecture { widths: vec![3, 8, 1], activation: Activation::Tanh, time: Time::None, bias: true };
            let network = Mlp::<T>::new(architecture, 3).unwrap();
            let energy = Energy::Density { points: 17 };
            let field = Hamiltonian::new(network, energy, structure, 0.5).unwrap();
            for batch in [1, 2, 19] {
                some_alone(&field, batch, false);
            }
        }
    }
    check::<f64>();
    check::<f32>();
}

/// What a program of a state of two and four parameters computes.
type Build = dyn Fn(&Builder, [Value; 2], [Value; 4]) -> Value;

/// An oscillator with drag and a drive, h'' = −g + a sin(ω t) − c h', which bounces off a floor that moves: at h = f t, v⁺ = −e v.
fn bouncer() -> (Program, Event) {
    let mut model = Builder::new(2);
    let (h, v) = (model.state(0..1), model.state(1..2));
    let [g, c, e, f] = [(); 4].map(|()| model.parameter(1));
    let _ = (e, f, h);
    let a = model.argument(1);
    let slope = concat(&[v.clone(), a * (model.time() * 3.0).sin() - g - c * v]);
    let field = model.finish(&slope).unwrap();
    let program = |build: &Build| {
        let mut model = Builder::new(2);
        let state = [model.state(0..1), model.state(1..2)];
        let parameters = [(); 4].map(|()| model.parameter(1));
        model.argument(1);
        let value = build(&model, state, parameters);
        model.finish(&value).unwrap()
    };
    let when = program(&|model, [h, _], [_, _, _, f]| h - f * model.time());
    let set = program(&|model, [h, v], [_, _, e, _]| concat(&[h, -(e * v) + model.time() * 0.01]));
    (field, Event { when, direction: Direction::Falling, terminal: None, set: Some(set) })
}

/// A loss of outputs, event times and event states, and how it depends on everything.
struct Bounce {
    options: Options,
    y0: Array2<f64>,
    parameters: Vec<f64>,
    arguments: Array2<f64>,
    times: Vec<f64>,
    jump_times: Vec<Vec<f64>>,
    amounts: Vec<f64>,
}

/// The derivative at 0, by differences of the sixth order.
fn derivative(at: &mut dyn FnMut(f64) -> f64, h: f64) -> f64 {
    let mut pair = |step: f64| at(step * h) - at(-step * h);
    (45.0 * pair(1.0) - 9.0 * pair(2.0) + pair(3.0)) / (60.0 * h)
}

impl Bounce {
    fn changes(&self, terminal: Option<usize>) -> (Program, Changes) {
        let (field, bounce) = bouncer();
        let mut kick = Builder::new(2);
        let (h, v) = (kick.state(0..1), kick.state(1..2));
        let [g, ..] = [(); 4].map(|()| kick.parameter(1));
        let [_, amount] = [(); 2].map(|()| kick.argument(1));
        let kicked = concat(&[h, v + amount * g * kick.time()]);
        let set = kick.finish(&kicked).unwrap();
        let jump = Jump {
            times: Lists::own(self.jump_times.iter().map(|times| &times[..])),
            set,
            amounts: self.amounts.clone(),
        };
        let mut top = Builder::new(2);
        let v = top.state(1..2);
        let [..] = [(); 4].map(|()| top.parameter(1));
        top.argument(1);
        let when = top.finish(&v).unwrap();
        let events =
            vec![Event { terminal, ..bounce }, Event { when, direction: Direction::Both, terminal: None, set: None }];
        (field, Changes { jumps: vec![jump], events, ..Changes::default() })
    }

    fn weights(&self, count: usize, phase: f64) -> Vec<f64> {
        (0..count).map(|k| (k as f64 * 1.7 + phase).sin()).collect()
    }

    fn solve(
        &self,
        terminal: Option<usize>,
        method: &GradientMethod,
    ) -> (f64, ensemble::Gradient<f64>, Vec<(usize, usize, f64)>) {
        let (program, changes) = self.changes(terminal);
        let field = ProgramField::new(program, &self.parameters).unwrap();
        let field = field.with_arguments(self.arguments.view()).unwrap();
        let lists = Lists::shared(&self.times);
        let mut solved =
            ensemble::vjp(&field, self.y0.view(), &lists, &self.options, &changes, Extras::default(), method).unwrap();
        let solution = &solved.solution;
        let w = self.weights(solution.y.len(), 0.3);
        // Weights by trajectory and number, so that they stay what they are.
        let events = self.weights(solution.events.len(), 1.0);
        let states = self.weights(solution.event_states.len(), 2.0);
        let loss = solution.y.iter().zip(&w).map(|(y, w)| y * w).sum::<f64>()
            + solution.events.iter().zip(&events).map(|(event, w)| event.t * w).sum::<f64>()
            + solution.event_states.iter().zip(&states).map(|(x, w)| x * w).sum::<f64>();
        let happened = solution.events.iter().map(|event| (event.trajectory, event.event, event.t)).collect();
        let gradient = solved.pullback(Cotangents { y: &w, event_times: &events, event_states: &states }).unwrap();
        (loss, gradient, happened)
    }

    /// Derivatives along directions are the transpose of the gradient.
    fn check_along(&self, terminal: Option<usize>) {
        let (program, changes) = self.changes(terminal);
        let field = ProgramField::new(program, &self.parameters).unwrap();
        let field = field.with_arguments(self.arguments.view()).unwrap();
        let lists = Lists::shared(&self.times);
        let (_, gradient, _) = self.solve(terminal, &GradientMethod::Symplectic);
        let count = 2;
        let rates = |len: usize, phase: f64| self.weights(count * len, phase);
        let (y0, parameters) = (rates(self.y0.len(), 0.1), rates(self.parameters.len(), 0.2));
        let (arguments, times) = (rates(self.arguments.len(), 0.3), rates(self.times.len(), 0.4));
        let still = Directions { count, y0: None, parameters: None, arguments: None, times: None };
        for directions in [
            Directions { y0: Some(&y0), parameters: Some(&parameters), arguments: Some(&arguments), ..still },
            Directions { y0: Some(&y0), times: Some(&times), ..still },
            Directions { parameters: Some(&parameters), times: Some(&times), ..still },
            Directions { arguments: Some(&arguments), ..still },
        ] {
            let (start, options) = (self.y0.view(), &self.options);
            let moved = ensemble::odeint_along(&field, start, &lists, options, &changes, &directions).unwrap();
            let w = self.weights(moved.y.len() / (1 + count), 0.3);
            let events = self.weights(moved.events.len(), 1.0);
            let states = self.weights(2 * moved.events.len(), 2.0);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            for index in 0..count {
                let of = |row: &[f64]| row[2 * (1 + index)..2 * (2 + index)].to_vec();
                let y: Vec<f64> = moved.y.chunks_exact(6).flat_map(of).collect();
                let x: Vec<f64> = moved.event_states.chunks_exact(8).flat_map(of).collect();
                let t: Vec<f64> = moved.event_states.chunks_exact(8).map(|row| row[6 + index]).collect();
                let forward = dot(&w, &y) + dot(&states, &x) + dot(&events, &t);
                let sizes: Vec<f64> = [(&w, &y), (&states, &x), (&events, &t)]
                    .iter()
                    .flat_map(|(w, rates)| w.iter().zip(rates.iter()).map(|(w, rate)| (w * rate).abs()))
                    .collect();
                let part = |all: Option<&[f64]>, gradient: &[f64]| {
                    all.map_or(0.0, |all| dot(gradient, &all[index * all.len() / count..]))
                };
                let reverse = part(directions.y0, &gradient.y0)
                    + part(directions.parameters, &gradient.parameters)
                    + part(directions.arguments, &gradient.arguments)
                    + part(directions.times, gradient.times.as_ref().unwrap());
                let size = 1.0 + sizes.iter().sum::<f64>();
                assert!((forward - reverse).abs() < 1e-10 * size, "{options:?} {index}: {forward} {reverse}");
            }
        }
    }

    fn check(mut self, terminal: Option<usize>, tolerance: f64) {
        if self.options.method != Method::Leapfrog {
            self.check_along(terminal);
        }
        let (_, gradient, happened) = self.solve(terminal, &GradientMethod::Symplectic);
        for method in [GradientMethod::Aca, GradientMethod::Baseline, GradientMethod::Auto { budget: 1 << 30 }] {
            let (_, other, _) = self.solve(terminal, &method);
            assert_eq!(&gradient.y0[..], &other.y0[..]);
            assert_eq!(&gradient.parameters[..], &other.parameters[..]);
            assert_eq!(&gradient.arguments[..], &other.arguments[..]);
            assert_eq!((&gradient.times, &gradient.jump_times), (&other.times, &other.jump_times));
        }
        assert!(happened.len() > 6, "{happened:?}");
        // The time of an event is known to rounding, which a smaller step would magnify.
        let h = 1e-5;
        let mut compare = |name: &str, ours: f64, change: &dyn Fn(&mut Bounce, f64)| {
            let mut at = |step: f64| {
                change(&mut self, step);
                let (loss, _, again) = self.solve(terminal, &GradientMethod::Symplectic);
                change(&mut self, -step);
                assert_eq!(again.len(), happened.len());
                loss
            };
            let difference = derivative(&mut at, h);
            assert!((ours - difference).abs() <= tolerance * (1.0 + difference.abs()), "{name}: {ours} {difference}");
        };
        for i in 0..3 {
            for j in 0..2 {
                compare("y0", gradient.y0[i * 2 + j], &|case, step| case.y0[[i, j]] += step);
            }
            compare("arguments", gradient.arguments[i], &|case, step| case.arguments[[i, 0]] += step);
        }
        for k in 0..4 {
            compare("parameters", gradient.parameters[k], &|case, step| case.parameters[k] += step);
        }
        for k in 0..gradient.amounts[0].len() {
            compare("amounts", gradient.amounts[0][k], &|case, step| case.amounts[k] += step);
        }
        let mut place = 0;
        for i in 0..self.jump_times.len() {
            for k in 0..self.jump_times[i].len() {
                let ours = gradient.jump_times[0][place];
                place += 1;
                let mut at = |step: f64| {
                    self.jump_times[i][k] += step;
                    let loss = self.solve(terminal, &GradientMethod::Symplectic).0;
                    self.jump_times[i][k] -= step;
                    loss
                };
                let difference = derivative(&mut at, h);
                assert!(
                    (ours - difference).abs() <= tolerance * (1.0 + difference.abs()),
                    "jump times {i} {k}: {ours} {difference}"
                );
            }
        }
        for k in 0..self.times.len() {
            let ours = gradient.times.as_ref().unwrap()[k];
            let mut at = |step: f64| {
                self.times[k] += step;
                let (loss, _, again) = self.solve(terminal, &GradientMethod::Symplectic);
                self.times[k] -= step;
                assert_eq!(again.len(), happened.len());
                loss
            };
            let difference = derivative(&mut at, h);
            assert!(
                (ours - difference).abs() <= tolerance * (1.0 + difference.abs()),
                "times {k}: {ours} {difference}"
            );
        }
    }
}

#[test]
fn events_and_jumps_are_differentiated_exactly() {
    for (name, steps) in [
        ("rk4", Steps::PerInterval(6)),
        ("rk4", Steps::AtMost(0.1)),
        ("dopri5", Steps::PerInterval(3)),
        ("heun", Steps::AtMost(0.0313)),
        ("leapfrog", Steps::AtMost(0.0313)),
    ] {
        let lands = name == "leapfrog";
        for output in [Output::Land, Output::Interpolate].into_iter().take(if lands { 1 } else { 2 }) {
            for terminal in [None, Some(2)] {
                let options = Options { steps, output: Some(output), ..Options::new(Method::named(name).unwrap()) };
                let case = Bounce {
                    options,
                    y0: array![[1.0, 0.3], [2.0, -1.0], [0.5, 0.1]],
                    parameters: vec![9.81, 0.1, 0.8, 0.05],
                    arguments: array![[1.0], [2.0], [-0.5]],
                    times: vec![0.0, 0.31, 0.9, 1.17, 2.03],
                    jump_times: vec![vec![0.2, 1.03], vec![0.95], vec![]],
                    amounts: vec![0.3, -0.2, 0.15],
                };
                case.check(terminal, 5e-9);
            }
        }
    }
}

#[test]
fn derivatives_along_directions_go_through_jumps_and_events_of_any_steps() {
    for options in cases::<f64>() {
        // Long steps of low order may fall through the floor, or turn back at once on it.
        if options.method.name() == "euler" || options.steps == Steps::PerInterval(5) {
            continue;
        }
        for terminal in [None, Some(2)] {
            let case = Bounce {
                options: options.clone(),
                y0: array![[1.0, 0.3], [2.0, -1.0], [0.5, 0.1]],
                parameters: vec![9.81, 0.1, 0.8, 0.05],
                arguments: array![[1.0], [2.0], [-0.5]],
                times: vec![0.0, 0.31, 0.31, 0.9, 1.17, 1.6],
                jump_times: vec![vec![0.2, 0.9], vec![0.95], vec![]],
                amounts: vec![0.3, -0.2, 0.15],
            };
            case.check_along(terminal);
        }
    }
}

#[test]
fn second_derivatives_go_through_jumps() {
    let (batch, h) = (5, 1e-4);
    let field = lorenz_by_argument::<f64>();
    let y0 = starts::<f64>(batch);
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 20.0 + i as f64);
    let times = Lists::shared(&[0.0, 0.2, 0.5]);
    // x⁺ = x β + amount ρ sin t, of a parameter, an argument and an amount.
    let mut pulse = Builder::new(3);
    let x = pulse.state(0..3);
    let [_, beta] = [(); 2].map(|()| pulse.parameter(1));
    let (rho, amount) = (pulse.argument(1), pulse.argument(1));
    let after = x * beta * 0.3 + amount * rho * pulse.time().sin();
    let set = pulse.finish(&after).unwrap();
    let jump = Jump { times: Lists::shared(&[0.1, 0.2]), set, amounts: vec![0.3, -0.2] };
    let changes = Changes { jumps: vec![jump], ..Changes::default() };
    let options = Options { steps: Steps::AtMost(0.013), ..Options::new(Method::named("rk4").unwrap()) };
    let rates = Rates::<f64>::new(1, batch);
    let gradient = |step: f64| {
        let parameters: Vec<f64> =
            field.parameters().iter().zip(&rates.parameters).map(|(x, rate)| x + step * rate).collect();
        let move_by = |x: &Array2<f64>, rates: &[f64]| {
            let rates = ArrayView2::from_shape(x.dim(), rates).unwrap();
            x + &(&rates * step)
        };
        let mut moved = lorenz_by_argument::<f64>();
        moved.parameters_mut().copy_from_slice(&parameters);
        let arguments = move_by(&arguments, &rates.arguments);
        let own = moved.with_arguments(arguments.view()).unwrap();
        let (start, method) = (move_by(&y0, &rates.y0), GradientMethod::Symplectic);
        let mut all =
            ensemble::vjp(&own, start.view(), &times, &options, &changes, Extras::default(), &method).unwrap();
        let y = all.solution.y.to_vec();
        let gradient = all.pullback(Cotangents { y: &y, event_times: &[], event_states: &[] }).unwrap();
        [gradient.y0.to_vec(), gradient.parameters.to_vec(), gradient.arguments.to_vec()].concat()
    };
    let differences: Vec<f64> =
        (0..gradient(0.0).len()).map(|index| derivative(&mut |step| gradient(step)[index], h)).collect();
    let own = field.with_arguments(arguments.view()).unwrap();
    for method in [GradientMethod::Symplectic, GradientMethod::Baseline, GradientMethod::Aca] {
        let (start, directions) = (y0.view(), rates.directions(1));
        let mut recorded = ensemble::vjp_along(&own, start, &times, &options, &changes, &directions, &method).unwrap();
        // ½ Σ y², of which the cotangent is y and the curvature ẏ.
        let both: Vec<f64> = recorded
            .solution
            .y
            .chunks_exact(6)
            .flat_map(|row| row[3..].iter().chain(&row[..3]).copied().collect::<Vec<_>>())
            .collect();
        let product = recorded.pullback(&both).unwrap();
        let ours = [product.y0.to_vec(), product.parameters.to_vec(), product.arguments.to_vec()].concat();
        for (ours, difference) in ours.iter().zip(&differences) {
            assert!((ours - difference).abs() < 1e-7 * (1.0 + difference.abs()), "{ours} {difference}");
        }
    }
    // The time of an event would move with the state.
    let (_, event) = bouncer();
    let events = Changes { events: vec![event], ..Changes::default() };
    let (start, directions) = (y0.view(), rates.directions(1));
    let refused = ensemble::vjp_along(&own, start, &times, &options, &events, &directions, &GradientMethod::Symplectic);
    assert!(matches!(refused.map(|_| ()), Err(Error::Option { argument: "events", .. })));
}

#[test]
fn events_are_found_where_a_function_crosses_zero_and_comes_back_in_a_step() {
    // A throw, which any method takes in a few steps: h = h0 + v t − g t²/2 is 0 twice.
    let (program, _) = bouncer();
    let field = ProgramField::<f64>::new(program, &[9.81, 0.0, 0.0, 0.0]).unwrap();
    let when = || {
        let mut when = Builder::new(2);
        let height = when.state(0..1);
        let [..] = [(); 4].map(|()| when.parameter(1));
        when.argument(1);
        when.finish(&height).unwrap()
    };
    let throws: Vec<[f64; 2]> =
        (0..300).map(|k| [-0.1 - (k % 20) as f64 * 0.05, 4.5 + 0.01 * k as f64 * (1.0 + (k % 7) as f64)]).collect();
    let y0 = Array2::from_shape_fn((throws.len(), 2), |(i, j)| throws[i][j]);
    let still = Array2::zeros((throws.len(), 1));
    let own = field.with_arguments(still.view()).unwrap();
    for method in METHODS {
        let method = Method::named(method).unwrap();
        for tolerance in [1e-3, 1e-6, 1e-9] {
            let options = Options { rtol: tolerance, atol: tolerance, ..Options::new(method) };
            // Those of low order would take a hundred thousand steps.
            let low = ["fehlberg2", "adaptive_heun"].contains(&method.name());
            if !options.adaptive() || (low && tolerance < 1e-5) {
                continue;
            }
            for direction in [Direction::Both, Direction::Rising, Direction::Falling] {
                let event = Event { when: when(), direction, terminal: None, set: None };
                let changes = Changes { events: vec![event], ..Changes::default() };
                let times = Lists::shared(&[0.0, 7.0]);
                let solved = ensemble::odeint(&own, y0.view(), &times, &options, &changes, Extras::default()).unwrap();
                let mut expected = vec![];
                for (i, [h, v]) in throws.iter().enumerate() {
                    let root = (v * v + 2.0 * 9.81 * h).sqrt();
                    if direction != Direction::Falling {
                        expected.push((i, (v - root) / 9.81));
                    }
                    if direction != Direction::Rising {
                        expected.push((i, (v + root) / 9.81));
                    }
                }
                let found = solved.events.iter();
                let name = method.name();
                assert_eq!(found.len(), expected.len(), "{name} {tolerance} {direction:?}");
                for (event, (i, t)) in found.zip(expected) {
                    assert!(event.trajectory == i && (event.t - t).abs() < 1e-3, "{name}: {event:?} {t}");
                }
            }
        }
    }
}

#[test]
fn a_ball_bounces_as_the_formula_says() {
    // h'' = −g from rest at h_0, v⁺ = −e v: it lands at t_1 = √(2 h_0 / g), and again after 2 e^k t_1.
    let mut model = Builder::new(2);
    let v = model.state(1..2);
    let [g, _] = [(); 2].map(|()| model.parameter(1));
    let fall = model.finish(&concat(&[v.clone(), -(g.spread(1, 1))])).unwrap();
    let program = |build: &dyn Fn([Value; 2], Value) -> Value| {
        let mut model = Builder::new(2);
        let state = [model.state(0..1), model.state(1..2)];
        let [_, e] = [(); 2].map(|()| model.parameter(1));
        let value = build(state, e);
        model.finish(&value).unwrap()
    };
    let when = program(&|[h, _], _| h);
    let set = program(&|[h, v], e| concat(&[h, -(e * v)]));
    let (g, e, h0) = (9.81_f64, 0.7, 2.0);
    for name in ["midpoint", "dopri5", "tsit5", "dopri8"] {
        let field = ProgramField::new(fall.clone(), &[g, e]).unwrap();
        let changes = Changes {
            events: vec![Event {
                when: when.clone(),
                direction: Direction::Falling,
                terminal: None,
                set: Some(set.clone()),
            }],
            ..Changes::default()
        };
        let mut options = Options::new(Method::named(name).unwrap());
        if !options.adaptive() {
            options.steps = Steps::PerInterval(7);
        }
        let y0 = array![[h0, 0.0]];
        let lists = Lists::shared(&[0.0, 2.0]);
        let symplectic = GradientMethod::Symplectic;
        let mut solved =
            ensemble::vjp(&field, y0.view(), &lists, &options, &changes, Extras::default(), &symplectic).unwrap();
        let first = (2.0 * h0 / g).sqrt();
        let times: Vec<f64> = solved.solution.events.iter().map(|event| event.t).collect();
        let mut expected = vec![first];
        while expected.last().unwrap() + 2.0 * e.powi(expected.len() as i32) * first < 2.0 {
            expected.push(expected.last().unwrap() + 2.0 * e.powi(expected.len() as i32) * first);
        }
        assert_eq!(times.len(), expected.len());
        for (time, expected) in times.iter().zip(&expected) {
            assert!((time - expected).abs() < 1e-13, "{name} {time} {expected}");
        }
        // ∂t_2 / ∂(h_0, g, e): t_2 = t_1 (1 + 2 e).
        let mut weights = vec![0.0; times.len()];
        weights[1] = 1.0;
        let y = vec![0.0; 4];
        let gradient = solved.pullback(Cotangents { y: &y, event_times: &weights, event_states: &[] }).unwrap();
        let near =
            |ours: f64, exact: f64| assert!((ours - exact).abs() < 1e-12 * exact.abs().max(1.0), "{ours} {exact}");
        near(gradient.y0[0], first * (1.0 + 2.0 * e) / (2.0 * h0));
        near(gradient.parameters[0], -first * (1.0 + 2.0 * e) / (2.0 * g));
        near(gradient.parameters[1], 2.0 * first);
        near(gradient.times.unwrap()[0], 1.0);
    }
}

/// A pulse for each trajectory, and one for all.
fn pulses(batch: usize) -> Vec<Jump> {
    let program = || {
        let mut pulse = Builder::new(3);
        let x = pulse.state(0..3);
        let [..] = [(); 3].map(|()| pulse.parameter(1));
        let amount = pulse.argument(1);
        let after = x + amount * pulse.time();
        pulse.finish(&after).unwrap()
    };
    let own: Vec<Vec<f64>> =
        (0..batch).map(|i| (0..i % 3).map(|k| 0.1 + 0.2 * k as f64 + 1e-3 * i as f64 / 9.0).collect()).collect();
    let amounts = (0..own.iter().map(Vec::len).sum()).map(|k: usize| 0.1 * (k as f64).sin()).collect();
    let own = Jump { times: Lists::own(own.iter().map(|times| &times[..])), set: program(), amounts };
    vec![own, Jump { times: Lists::shared(&[0.3, 0.45]), set: program(), amounts: vec![0.2, -0.1] }]
}

/// All numbers of a gradient.
fn gradient_bits<T: Real>(gradient: &ensemble::Gradient<T>) -> Vec<Vec<u64>> {
    let jumps = gradient.jump_times.iter().chain(&gradient.amounts);
    let numbers =
        [&gradient.y0, &gradient.parameters, &gradient.arguments].map(|numbers| bits(numbers.iter().copied()));
    let times = gradient.times.iter().chain(jumps).map(|numbers| bits(numbers.iter().copied()));
    numbers.into_iter().chain(times).collect()
}

#[test]
fn neither_threads_nor_parts_change_a_bit() {
    const LEAF: usize = 128;
    let batch = 4 * LEAF + 37;
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let y0 = starts::<f64>(batch);
    let shared = Lists::shared(&[0.0, 0.1, 0.25, 0.5]);
    let lists: Vec<Vec<f64>> = (0..batch)
        .map(|i| [0.0, 0.2, 0.3 + 1e-3 * (i % 100) as f64, 0.5].into_iter().take(2 + i % 3).collect())
        .collect();
    let own = Lists::own(lists.iter().map(|times| &times[..]));
    let changes = Changes { jumps: pulses(batch), ..Changes::default() };
    let weights = |count: usize| (0..count).map(|k| (k as f64 * 0.7).sin()).collect::<Vec<f64>>();
    let pull = |solved: &mut ensemble::Trajectories<f64>, w: &[f64]| {
        solved.pullback(Cotangents { y: w, event_times: &[], event_states: &[] }).unwrap()
    };
    for times in [&shared, &own] {
        let of = |range: std::ops::Range<usize>, threads: usize, method: &GradientMethod| {
            let part = (range.len() < batch).then_some(range.start);
            let of_part = |lists: &Lists| match lists.count() {
                None => lists.clone(),
                Some(_) => Lists::own(range.clone().map(|i| lists.of(i))),
            };
            let jumps = changes.jumps.iter().map(|jump| {
                let amounts = match jump.times.count() {
                    None => jump.amounts.clone(),
                    Some(_) => {
                        let end = jump.times.start(range.end - 1) + jump.times.of(range.end - 1).len();
                        jump.amounts[jump.times.start(range.start)..end].to_vec()
                    }
                };
                Jump { times: of_part(&jump.times), set: jump.set.clone(), amounts }
            });
            let changes = Changes { jumps: jumps.collect(), ..Changes::default() };
            let options = Options { threads, time_gradients: true, ..Options::new(Method::named("dopri5").unwrap()) };
            let y0 = y0.slice(s![range.clone(), ..]);
            ensemble::vjp(&field, y0, &of_part(times), &options, &changes, Extras { part, ..Extras::default() }, method)
                .unwrap()
        };
        let mut one = of(0..batch, 1, &GradientMethod::Symplectic);
        let w = weights(one.solution.y.len());
        let expected = pull(&mut one, &w);
        for threads in [2, 3] {
            for method in
                [GradientMethod::Symplectic, GradientMethod::Auto { budget: 1_000_000 }, GradientMethod::Baseline]
            {
                let mut several = of(0..batch, threads, &method);
                assert_eq!(bits(one.solution.y.iter().copied()), bits(several.solution.y.iter().copied()));
                assert_eq!(one.solution.stats, several.solution.stats);
                let gradient = pull(&mut several, &w);
                assert_eq!(gradient_bits(&expected), gradient_bits(&gradient), "{threads} threads");
                assert_eq!(
                    (gradient.stats.vjps, gradient.stats.retention.states),
                    (expected.stats.vjps, expected.stats.retention.states)
                );
            }
        }
        // Two leaves, and the three behind: (0 + 1), and (2 + 3), 4.
        let mut sums: Vec<Vec<f64>> = vec![];
        for (leaves, subtrees) in [(0..2, 1), (2..5, 2)] {
            let range = leaves.start * LEAF..(leaves.end * LEAF).min(batch);
            let mut part = of(range.clone(), 1, &GradientMethod::Symplectic);
            // The rows of the part, where times are shared.
            let w: Vec<f64> = match times.count() {
                None => {
                    w.chunks_exact(3 * batch).flat_map(|row| &row[3 * range.start..3 * range.end]).copied().collect()
                }
                Some(_) => w[3 * times.start(range.start)..][..part.solution.y.len()].to_vec(),
            };
            let gradient = pull(&mut part, &w);
            assert_eq!(
                bits(expected.y0[3 * range.start..3 * range.end].iter().copied()),
                bits(gradient.y0.iter().copied())
            );
            let lists = [&gradient.parameters[..], &gradient.jump_times[1], &gradient.amounts[1]];
            for index in 0..subtrees {
                sums.push(
                    lists
                        .iter()
                        .flat_map(|list| {
                            let len = list.len() / subtrees;
                            list[index * len..(index + 1) * len].iter().copied()
                        })
                        .collect(),
                );
            }
            if times.count().is_none() {
                assert_eq!(gradient.times.as_ref().unwrap().len(), 4 * subtrees);
            }
        }
        let add = |left: &[f64], right: &[f64]| {
            left.iter().zip(right).map(|(left, right)| left + right).collect::<Vec<f64>>()
        };
        let total = add(&add(&sums[0], &sums[1]), &sums[2]);
        let all = expected.parameters.iter().chain(&expected.jump_times[1]).chain(&expected.amounts[1]);
        assert_eq!(bits(all.copied()), bits(total));
    }
}

/// Where an integrator stands.
fn place<T: Real>(integrator: &Integrator<T>) -> (Vec<u64>, Vec<u64>, Vec<symplectic_adjoint::Stats>) {
    (bits(integrator.t()), bits(integrator.y()), integrator.stats())
}

#[test]
fn an_integrator_takes_the_steps_of_a_solve() {
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let batch = 131;
    let y0 = starts::<f64>(batch);
    let times = [0.0, 0.1, 0.25, 0.25, 0.7];
    let mut plane = Builder::new(3);
    let z = plane.state(2..3);
    let [_, rho, _] = [(); 3].map(|()| plane.parameter(1));
    let when = plane.finish(&(z - rho * 0.1)).unwrap();
    let event = Event { when, direction: Direction::Both, terminal: Some(2), set: None };
    let changes = Changes { events: vec![event], ..Changes::default() };
    let mut compared = 0;
    for options in cases::<f64>().into_iter().filter(|options| options.output == Some(Output::Land)) {
        for changes in [&Changes::default(), &changes] {
            let lists = Lists::shared(&times);
            // Long steps of low order may turn back at once on a plane that they have just crossed.
            let Ok(solved) = ensemble::odeint(&field, y0.view(), &lists, &options, changes, Extras::default()) else {
                continue;
            };
            compared += 1;
            let mut integrator = Integrator::new(&field, y0.view(), times[0], &options, changes).unwrap();
            let mut events = vec![];
            let mut saved = None;
            for (k, &t) in times.iter().enumerate() {
                integrator.advance(t, Advance::Whole).unwrap();
                assert_eq!(bits(integrator.y()), bits(solved.y[3 * batch * k..3 * batch * (k + 1)].iter().copied()));
                events.extend(integrator.events().iter().copied());
                if k == 1 {
                    saved = Some((integrator.clone(), integrator.save()));
                }
            }
            assert_eq!(events.len(), solved.events.len());
            assert!(events.iter().all(|event| solved.events.contains(event)));
            assert_eq!(integrator.stats(), solved.stats, "{options:?}");
            // A copy, and what was saved, go the same way.
            let (mut copy, numbers) = saved.unwrap();
            let mut restored = Integrator::new(&field, y0.view(), 5.0, &options, changes).unwrap();
            restored.restore(&numbers).unwrap();
            for other in [&mut copy, &mut restored] {
                times[2..].iter().for_each(|&t| other.advance(t, Advance::Whole).unwrap());
                assert_eq!(place(other), place(&integrator));
            }
            assert!(restored.restore(&numbers[1..]).is_err());
        }
    }
    assert!(compared > 35, "{compared}");
}

#[test]
fn an_integrator_takes_single_steps_and_loses_nothing_by_a_failure() {
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let y0 = starts::<f64>(9);
    let options = Options { output: Some(Output::Land), ..Options::new(Method::named("dopri5").unwrap()) };
    let none = Changes::default();
    let lists = Lists::shared(&[0.0, 0.5]);
    let solved = ensemble::odeint(&field, y0.view(), &lists, &options, &none, Extras::default()).unwrap();
    let mut integrator = Integrator::new(&field, y0.view(), 0.0, &options, &none).unwrap();
    let mut calls = 0;
    while integrator.t().iter().any(|&t| t < 0.5) {
        let before = integrator.t();
        integrator.advance(0.5, Advance::Step).unwrap();
        calls += 1;
        assert!(integrator.t().iter().zip(&before).all(|(now, before)| now > before || *before == 0.5));
    }
    assert_eq!(calls, solved.stats.iter().map(|stats| stats.accepted).max().unwrap());
    assert_eq!(bits(integrator.y()), bits(solved.y[27..].iter().copied()));
    assert_eq!(integrator.stats(), solved.stats);

    // x' = x²: what starts at 1 is infinite at 1.
    let model = Builder::new(1);
    let x = model.state(0..1);
    let square = model.finish(&(&x * &x)).unwrap();
    let field = ProgramField::<f64>::new(square, &[]).unwrap();
    let starts = Array2::from_shape_vec((2, 1), vec![0.1, 1.0]).unwrap();
    let options = Options { max_steps: 200, ..options };
    let mut integrator = Integrator::new(&field, starts.view(), 0.0, &options, &none).unwrap();
    integrator.advance(0.5, Advance::Whole).unwrap();
    let before = place(&integrator);
    assert!(integrator.advance(2.0, Advance::Whole).is_err());
    assert_eq!(place(&integrator), before);
    integrator.set_y(&[0.1, 0.2]).unwrap();
    integrator.advance(2.0, Advance::Whole).unwrap();
    for (y, y0) in integrator.y().into_iter().zip([0.1, 0.2]) {
        assert!((y - y0 / (1.0 - 1.5 * y0)).abs() < 1e-6);
    }
    integrator.advance(0.5, Advance::Whole).unwrap();
    for (y, y0) in integrator.y().into_iter().zip([0.1, 0.2]) {
        assert!((y - y0).abs() < 1e-6);
    }
}

#[test]
fn solves_tell_how_far_they_have_come_and_may_be_ended() {
    let told = Rc::new(RefCell::new(vec![]));
    let ear = Rc::clone(&told);
    let before = watch(Some(Box::new(move |fraction| {
        ear.borrow_mut().push(fraction);
        Ok(())
    })));
    assert!(before.is_none());
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let options = Options { steps: Steps::PerInterval(64), ..Options::new(Method::named("rk4").unwrap()) };
    let one = starts::<f64>(1);
    odeint(&field, one.view(), &[0.0, 0.5], &options).unwrap();
    assert_eq!(*told.borrow(), [0.25, 0.5, 0.75, 1.0]);
    told.borrow_mut().clear();
    let (lists, none, many) = (Lists::shared(&[0.0, 0.5]), Changes::default(), starts::<f64>(300));
    let solve = || ensemble::odeint(&field, many.view(), &lists, &options, &none, Extras::default());
    solve().unwrap();
    assert!(told.borrow().is_sorted() && told.borrow().len() == 12, "{told:?}");
    watch(Some(Box::new(|_| Err(Error::Callback))));
    assert!(matches!(solve(), Err(Error::Callback)));
    assert!(matches!(odeint(&field, one.view(), &[0.0, 0.5], &options), Err(Error::Callback)));
    watch(None);
    solve().unwrap();
}

#[test]
fn the_norm_of_errors_may_be_a_program() {
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let y0 = starts::<f64>(20);
    let options = Options::new(Method::named("dopri5").unwrap());
    let lists = Lists::shared(&[0.0, 0.4]);
    let norm = |build: &dyn Fn(&Value) -> Value| {
        let mut model = Builder::new(3);
        let errors = model.state(0..3);
        let [..] = [(); 3].map(|()| model.parameter(1));
        Changes { norm: Some(model.finish(&build(&errors)).unwrap()), ..Changes::default() }
    };
    let solve =
        |changes: &Changes| ensemble::odeint(&field, y0.view(), &lists, &options, changes, Extras::default()).unwrap();
    let default = solve(&Changes::default());
    // Twice the same norm asks for twice the accuracy.
    let double = solve(&norm(&|errors| ((errors * errors).sum() / 3.0).sqrt() * 2.0));
    let tight = Options { rtol: options.rtol / 2.0, atol: options.atol / 2.0, ..options.clone() };
    let half = ensemble::odeint(&field, y0.view(), &lists, &tight, &Changes::default(), Extras::default()).unwrap();
    for (double, half) in double.stats.iter().zip(&half.stats) {
        assert!(double.accepted.abs_diff(half.accepted) <= 1, "{double:?} {half:?}");
    }
    let total = |solution: &ensemble::Solution<f64>| solution.stats.iter().map(|stats| stats.accepted).sum::<usize>();
    assert!(total(&double) > total(&default));
    // One that looks at nothing accepts everything, and one that is never content nothing.
    assert!(total(&solve(&norm(&|errors| errors.sum() * 0.0))) < total(&default) / 2);
    let never = norm(&|errors| errors.sum() * 0.0 + 2.0);
    assert!(ensemble::odeint(&field, y0.view(), &lists, &options, &never, Extras::default()).is_err());
    let wide = norm(&|errors| errors.clone());
    assert!(ensemble::odeint(&field, y0.view(), &lists, &options, &wide, Extras::default()).is_err());
}

/// A ball that falls forward in time, or the same backward.
fn ball(direction: f64) -> (ProgramField<f64>, Event) {
    let mut model = Builder::new(2);
    let v = model.state(1..2);
    let g = model.parameter(1);
    let field = model.finish(&concat(&[&v * direction, g * -direction])).unwrap();
    let program = |build: &dyn Fn(Value, Value) -> Value| {
        let mut model = Builder::new(2);
        let (h, v) = (model.state(0..1), model.state(1..2));
        model.parameter(1);
        model.finish(&build(h, v)).unwrap()
    };
    let bounce = Event {
        when: program(&|h, _| h),
        direction: Direction::Both,
        terminal: None,
        set: Some(program(&|h, v| concat(&[h, v * -0.8]))),
    };
    (ProgramField::new(field, &[9.81]).unwrap(), bounce)
}

#[test]
fn events_are_the_same_backward_in_time() {
    let options = Options::new(Method::named("dopri5").unwrap());
    for y0 in [array![[1.0, 0.0]], array![[0.0, 5.0]]] {
        let solve = |direction: f64| {
            let (field, bounce) = ball(direction);
            let changes = Changes { events: vec![bounce], ..Changes::default() };
            let lists = Lists::shared(&[0.0, 1.9 * direction]);
            ensemble::odeint(&field, y0.view(), &lists, &options, &changes, Extras::default()).unwrap()
        };
        let (forward, backward) = (solve(1.0), solve(-1.0));
        assert!(forward.events.len() >= 2);
        let times =
            |solution: &ensemble::Solution<f64>| solution.events.iter().map(|event| event.t.abs()).collect::<Vec<_>>();
        assert_eq!(times(&forward), times(&backward));
        assert_eq!(&forward.y[..], &backward.y[..]);
    }
}

#[test]
fn an_integrator_that_stands_on_an_event_goes_on_from_it() {
    let options = Options { output: Some(Output::Land), ..Options::new(Method::named("dopri5").unwrap()) };
    let (field, bounce) = ball(1.0);
    let by_hand = Event { set: None, ..bounce.clone() };
    let heights = Array2::from_shape_fn((60, 2), |(i, j)| if j == 0 { 0.3 + 0.05 * i as f64 } else { 0.0 });
    for i in 0..60 {
        let own = heights.slice(s![i..=i, ..]);
        let changes = |event: &Event| Changes { events: vec![event.clone()], ..Changes::default() };
        let mut itself = Integrator::new(&field, own, 0.0, &options, &changes(&bounce)).unwrap();
        itself.advance(2.0, Advance::Whole).unwrap();
        // The state assigned anew after each event, as it is or after a bounce of the caller's own.
        for (event, factor) in [(&bounce, 1.0), (&by_hand, -0.8)] {
            let mut integrator = Integrator::new(&field, own, 0.0, &options, &changes(event)).unwrap();
            while integrator.t()[0] < 2.0 {
                integrator.advance(2.0, Advance::Step).unwrap();
                if !integrator.events().is_empty() {
                    let y = integrator.y();
                    integrator.set_y(&[y[0], factor * y[1]]).unwrap();
                }
            }
            for (ours, theirs) in integrator.y().iter().zip(itself.y()) {
                assert!((ours - theirs).abs() < 1e-6, "{i}: {ours} {theirs}");
            }
        }
        // Back from where an event was found, to where it came from.
        let mut back = Integrator::new(&field, own, 0.0, &options, &changes(&by_hand)).unwrap();
        while back.events().is_empty() {
            back.advance(2.0, Advance::Step).unwrap();
        }
        back.advance(0.0, Advance::Whole).unwrap();
        assert!(back.events().is_empty() && (back.y()[0] - own[[0, 0]]).abs() < 1e-6);
    }
}

#[test]
fn single_fixed_steps_are_those_of_a_solve() {
    let field = ProgramField::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let y0 = starts::<f64>(3);
    for steps in [Steps::PerInterval(10), Steps::AtMost(0.033)] {
        let options = Options { steps, output: Some(Output::Land), ..Options::new(Method::named("rk4").unwrap()) };
        let lists = Lists::shared(&[0.0, 1.0]);
        let none = Changes::default();
        let solved = ensemble::odeint(&field, y0.view(), &lists, &options, &none, Extras::default()).unwrap();
        let mut integrator = Integrator::new(&field, y0.view(), 0.0, &options, &none).unwrap();
        while integrator.t()[0] < 1.0 {
            integrator.advance(1.0, Advance::Step).unwrap();
        }
        assert_eq!(bits(integrator.y()), bits(solved.y[9..].iter().copied()));
        assert_eq!(integrator.stats(), solved.stats);
    }
}

/// Lorenz' equations whose ρ is an argument of each trajectory.
fn lorenz_by_argument<T: Real>() -> ProgramField<T> {
    let mut model = Builder::new(3);
    let [x, y, z] = [0, 1, 2].map(|row| model.state(row..row + 1));
    let [sigma, beta] = [(); 2].map(|()| model.parameter(1));
    let rho = model.argument(1);
    let slope = concat(&[sigma * (&y - &x), &x * (rho - &z) - &y + model.time().sin(), &x * &y - beta * &z]);
    ProgramField::new(model.finish(&slope).unwrap(), &[T::of(10.0), T::of(8.0 / 3.0)]).unwrap()
}

/// Times of each trajectory: some go backward, some stand still, one has a single time.
fn ragged(batch: usize) -> Lists {
    let own: Vec<Vec<f64>> = (0..batch)
        .map(|i| match i % 5 {
            0 => vec![0.0, 0.1, 0.1, 0.4],
            1 => vec![0.3, 0.0],
            2 => vec![0.2],
            3 => vec![0.0, 0.0],
            _ => vec![0.1, 0.2 + 1e-3 * i as f64, 0.5],
        })
        .collect();
    Lists::own(own.iter().map(|times| &times[..]))
}

#[test]
fn the_continuous_adjoint_integrates_each_trajectory_by_itself() {
    fn check<T: Real>(rounding: f64) {
        let field = lorenz_by_argument::<T>();
        let batch = field.leaf() + 30;
        let y0 = starts::<T>(batch);
        let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| T::of(20.0 + 0.1 * i as f64));
        let times = ragged(batch);
        let w: Vec<T> = (0..3 * times.len()).map(|k| T::of((k as f64).cos())).collect();
        let cotangents = Cotangents { y: &w, event_times: &[], event_states: &[] };
        let none = Changes::default();
        let tolerance = if T::DTYPE == "float32" { 1e-4 } else { 1e-7 };
        for (name, steps, threads) in
            [("dopri5", Steps::Automatic, 1), ("bosh3", Steps::Automatic, 2), ("rk4", Steps::AtMost(2e-3), 1)]
        {
            let options = Options {
                steps,
                rtol: tolerance,
                atol: tolerance,
                threads,
                ..Options::new(Method::named(name).unwrap())
            };
            let adjoint = GradientMethod::Adjoint(Box::new(Options { seminorm: true, ..options.clone() }));
            let solve = |options: &Options, extras, rows: std::ops::Range<usize>, method: &GradientMethod| {
                let lists = Lists::own(rows.clone().map(|i| times.of(i)));
                let (first, end) =
                    (3 * times.start(rows.start), 3 * (times.start(rows.end - 1) + times.of(rows.end - 1).len()));
                let own = field.with_arguments(arguments.slice(s![rows.clone(), ..])).unwrap();
                let mut all =
                    ensemble::vjp(&own, y0.slice(s![rows, ..]), &lists, options, &none, extras, method).unwrap();
                let gradient = all.pullback(Cotangents { y: &w[first..end], ..cotangents }).unwrap();
                (all, gradient)
            };
            let (all, gradient) = solve(&options, Extras::default(), 0..batch, &adjoint);
            assert!(gradient.stats.backward_steps > 0 && gradient.stats.vjps > gradient.stats.backward_steps);
            let exact = solve(&options, Extras::default(), 0..batch, &GradientMethod::Symplectic).1;
            let mut sums = [0.0; 2];
            for i in 0..batch {
                let own = field.with_arguments(arguments.slice(s![i..i + 1, ..])).unwrap();
                let mut alone = vjp(&own, y0.slice(s![i..i + 1, ..]), times.of(i), &options, &adjoint).unwrap();
                let first = times.start(i);
                let count = times.of(i).len();
                let own_w = &w[3 * first..3 * (first + count)];
                let theirs = alone.pullback(ndarray::ArrayView3::from_shape((count, 1, 3), own_w).unwrap()).unwrap();
                assert_eq!(
                    bits(all.solution.y[3 * first..3 * (first + count)].iter().copied()),
                    bits(alone.solution.y().iter().copied())
                );
                // Bitwise what it is alone; steps of all trajectories together follow a norm that is summed in another order.
                let solo = solve(&options, Extras::default(), i..i + 1, &adjoint).1;
                let own_y0 = &gradient.y0[3 * i..3 * i + 3];
                assert_eq!(bits(own_y0.iter().copied()), bits(solo.y0.iter().copied()), "{name} {i}");
                assert_eq!(gradient.arguments[i].wide().to_bits(), solo.arguments[0].wide().to_bits(), "{name} {i}");
                let close = |ours: f64, theirs: f64, size: f64| {
                    assert!((ours - theirs).abs() <= rounding * (1.0 + size), "{name} {i}: {ours} {theirs}");
                };
                for (ours, theirs) in own_y0.iter().zip(theirs.y0()) {
                    close(ours.wide(), theirs.wide(), theirs.wide().abs());
                }
                for (sum, part) in sums.iter_mut().zip(theirs.parameters()) {
                    *sum += part.wide();
                }
                close(
                    gradient.arguments[i].wide(),
                    theirs.arguments()[[0, 0]].wide(),
                    theirs.arguments()[[0, 0]].wide().abs(),
                );
                let own_times = &gradient.times.as_ref().unwrap()[first..first + count];
                for (ours, theirs) in own_times.iter().zip(theirs.times.unwrap()) {
                    close(*ours, theirs, theirs.abs());
                }
                // Up to the error of the integration backward its gradient is that of the solution; in float32 that error is large.
                if T::DTYPE == "float32" {
                    continue;
                }
                for (ours, exact) in gradient.y0[3 * i..].iter().zip(&exact.y0[3 * i..3 * i + 3]) {
                    assert!(
                        (ours.wide() - exact.wide()).abs() <= 1e4 * tolerance * (1.0 + exact.wide().abs()),
                        "{name} {i}: {ours} {exact}"
                    );
                }
            }
            for (ours, sum) in gradient.parameters.iter().zip(sums) {
                assert!((ours.wide() - sum).abs() <= rounding * (batch as f64 + sum.abs()), "{name}: {ours} {sum}");
            }
            // Neither threads nor parts change a bit.
            let other = Options { threads: 3 - threads, ..options.clone() };
            assert_eq!(
                gradient_bits(&solve(&other, Extras::default(), 0..batch, &adjoint).1),
                gradient_bits(&gradient)
            );
            let leaf = field.leaf();
            let part = |rows: std::ops::Range<usize>| {
                solve(&options, Extras { part: Some(rows.start), ..Extras::default() }, rows, &adjoint).1
            };
            let (left, right) = (part(0..leaf), part(leaf..batch));
            let y0: Vec<T> = left.y0.iter().chain(&*right.y0).copied().collect();
            assert_eq!(bits(y0), bits(gradient.y0.iter().copied()));
        }
    }
    check::<f64>(1e-12);
    check::<f32>(2e-4);
}

#[test]
fn the_continuous_adjoint_adds_nothing_of_steps_that_overflow() {
    // x' = exp(a x): trials overflow, and what they leave in a lane must reach no sum.
    let mut model = Builder::new(1);
    let x = model.state(0..1);
    let (rate, a) = (model.parameter(1), model.argument(1));
    let field = ProgramField::<f64>::new(model.finish(&(rate * (a * x).exp())).unwrap(), &[1.0]).unwrap();
    let arguments = array![[300.0], [0.1], [0.2], [500.0], [0.3]];
    let own = field.with_arguments(arguments.view()).unwrap();
    let y0 = array![[-1.0], [0.0], [0.5], [-0.5], [1.0]];
    let options = Options { first_step: Some(1.0), ..Options::new(Method::named("dopri5").unwrap()) };
    let backward = Options { first_step: Some(1e3), rtol: 1e-9, atol: 1e-12, ..options.clone() };
    let (times, none) = (Lists::shared(&[0.0, 0.2]), Changes::default());
    let w = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let cotangents = Cotangents { y: &w, event_times: &[], event_states: &[] };
    let gradient = |method: &GradientMethod| {
        let mut all = ensemble::vjp(&own, y0.view(), &times, &options, &none, Extras::default(), method).unwrap();
        all.pullback(cotangents).unwrap()
    };
    let (exact, adjoint) =
        (gradient(&GradientMethod::Symplectic), gradient(&GradientMethod::Adjoint(Box::new(backward))));
    assert!(
        (exact.parameters[0] - adjoint.parameters[0]).abs() < 1e-5,
        "{} {}",
        exact.parameters[0],
        adjoint.parameters[0]
    );
}

#[test]
fn the_continuous_adjoint_is_refused_where_something_changes_the_state() {
    let field = ProgramField::<f64>::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let options = Options::new(Method::named("dopri5").unwrap());
    let adjoint = GradientMethod::Adjoint(Box::new(options.clone()));
    let changes = Changes { jumps: pulses(1), ..Changes::default() };
    let times = Lists::shared(&[0.0, 1.0]);
    let outcome = ensemble::vjp(&field, starts(1).view(), &times, &options, &changes, Extras::default(), &adjoint);
    let Err(Error::Option { argument: "gradient", .. }) = outcome.map(|_| ()) else { panic!("refused by its name") };
}

/// Two directions in everything that a solve of [`lorenz_by_argument`] starts from.
struct Rates<T> {
    y0: Vec<T>,
    parameters: Vec<T>,
    arguments: Vec<T>,
}

impl<T: Real> Rates<T> {
    fn new(count: usize, batch: usize) -> Self {
        let numbers = |len: usize, phase: f64| (0..len).map(|k| T::of((k as f64 * 1.3 + phase).sin())).collect();
        Self {
            y0: numbers(count * batch * 3, 0.1),
            parameters: numbers(count * 2, 0.2),
            arguments: numbers(count * batch, 0.3),
        }
    }

    fn directions(&self, count: usize) -> Directions<'_, T> {
        let (y0, parameters, arguments) = (Some(&self.y0[..]), Some(&self.parameters[..]), Some(&self.arguments[..]));
        Directions { count, y0, parameters, arguments, times: None }
    }
}

#[test]
fn derivatives_along_directions_are_the_transpose_of_gradients() {
    let field = lorenz_by_argument::<f64>();
    let batch = field.leaf() + 20;
    let y0 = starts::<f64>(batch);
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 20.0 + 0.1 * i as f64);
    let own = field.with_arguments(arguments.view()).unwrap();
    let times = ragged(batch);
    let rates = Rates::<f64>::new(2, batch);
    let w: Vec<f64> = (0..3 * times.len()).map(|k| (k as f64).cos()).collect();
    let none = Changes::default();
    for options in cases::<f64>() {
        let moved = ensemble::odeint_along(&own, y0.view(), &times, &options, &none, &rates.directions(2)).unwrap();
        let mut all =
            ensemble::vjp(&own, y0.view(), &times, &options, &none, Extras::default(), &GradientMethod::Symplectic)
                .unwrap();
        let gradient = all.pullback(Cotangents { y: &w, event_times: &[], event_states: &[] }).unwrap();
        assert_eq!(moved.stats, all.solution.stats);
        assert!(moved.y.chunks_exact(9).zip(all.solution.y.chunks_exact(3)).all(|(moved, y)| moved[..3] == *y));
        for direction in 0..2 {
            let of = |row: &[f64]| row[3 * (1 + direction)..3 * (2 + direction)].to_vec();
            let tangents: Vec<f64> = moved.y.chunks_exact(9).flat_map(of).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let forward = dot(&w, &tangents);
            let part = |all: &[f64]| all[direction * all.len() / 2..(direction + 1) * all.len() / 2].to_vec();
            let reverse = dot(&gradient.y0, &part(&rates.y0))
                + dot(&gradient.parameters, &part(&rates.parameters))
                + dot(&gradient.arguments, &part(&rates.arguments));
            let size = w.iter().zip(&tangents).map(|(w, tangent)| (w * tangent).abs()).sum::<f64>();
            assert!((forward - reverse).abs() < 1e-12 * size, "{options:?}: {forward} {reverse}");
        }
    }
}

#[test]
fn derivatives_of_a_trajectory_are_bitwise_what_they_are_alone() {
    fn check<T: Real>(rounding: f64) {
        let field = lorenz_by_argument::<T>();
        let batch = field.leaf() + 20;
        let y0 = starts::<T>(batch);
        let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| T::of(20.0 + 0.1 * i as f64));
        let own = field.with_arguments(arguments.view()).unwrap();
        let times = ragged(batch);
        let (rates, none) = (Rates::<T>::new(1, batch), Changes::default());
        let tolerance = if T::DTYPE == "float32" { 1e-4 } else { 1e-7 };
        let options = Options { rtol: tolerance, atol: tolerance, ..Options::new(Method::named("dopri5").unwrap()) };
        let moved = ensemble::odeint_along(&own, y0.view(), &times, &options, &none, &rates.directions(1)).unwrap();
        let threads = Options { threads: 2, ..options.clone() };
        let other = ensemble::odeint_along(&own, y0.view(), &times, &threads, &none, &rates.directions(1)).unwrap();
        assert_eq!(bits(moved.y.iter().copied()), bits(other.y.iter().copied()));

        // ½ Σ y², of which the cotangent is y and the curvature ẏ.
        let both = |y: &[T]| -> Vec<T> {
            y.chunks_exact(6).flat_map(|row| row[3..].iter().chain(&row[..3]).copied().collect::<Vec<_>>()).collect()
        };
        let gradients: Vec<_> =
            [GradientMethod::Symplectic, GradientMethod::Baseline, GradientMethod::Auto { budget: 1 << 28 }]
                .iter()
                .map(|method| {
                    let mut recorded =
                        ensemble::vjp_along(&own, y0.view(), &times, &options, &none, &rates.directions(1), method)
                            .unwrap();
                    assert_eq!(bits(recorded.solution.y.iter().copied()), bits(moved.y.iter().copied()));
                    let w = both(&recorded.solution.y);
                    recorded.pullback(&w).unwrap()
                })
                .collect();
        for gradient in &gradients[1..] {
            assert_eq!(gradient_bits(gradient), gradient_bits(&gradients[0]));
        }
        let mut sums = vec![0.0; 2];
        for i in 0..batch {
            let own = field.with_arguments(arguments.slice(s![i..i + 1, ..])).unwrap();
            let alone = Rates {
                y0: rates.y0[3 * i..3 * i + 3].to_vec(),
                parameters: rates.parameters.clone(),
                arguments: vec![rates.arguments[i]],
            };
            let (first, count) = (times.start(i), times.of(i).len());
            let start = y0.slice(s![i..i + 1, ..]);
            let lists = Lists::shared(times.of(i));
            let solo = ensemble::odeint_along(&own, start, &lists, &options, &none, &alone.directions(1)).unwrap();
            let ours = &moved.y[6 * first..6 * (first + count)];
            assert_eq!(bits(ours.iter().copied()), bits(solo.y.iter().copied()), "{i}");

            // And what a solve of all trajectories together gives for it, up to rounding.
            let tangents = Tangents {
                y0: Some(ndarray::ArrayView3::from_shape((1, 1, 3), &alone.y0).unwrap()),
                parameters: Some(ArrayView2::from_shape((1, 2), &alone.parameters).unwrap()),
                arguments: Some(ndarray::ArrayView3::from_shape((1, 1, 1), &alone.arguments).unwrap()),
                ..Tangents::new(1)
            };
            let method = GradientMethod::Symplectic;
            let mut together =
                TangentTrajectory::record(&own, start, times.of(i), &tangents, &options, &method).unwrap();
            let close = |ours: T, theirs: T, size: f64| {
                assert!((ours.wide() - theirs.wide()).abs() <= rounding * (1.0 + size), "{i}: {ours} {theirs}");
            };
            let size = |numbers: &[T]| numbers.iter().fold(0.0, |most: f64, number| most.max(number.wide().abs()));
            let theirs = together.tangent().to_owned();
            for (row, theirs) in ours.chunks_exact(6).zip(theirs.rows()) {
                (0..3).for_each(|k| close(row[3 + k], theirs[k], size(&row[3..])));
            }
            let y = together.solution.y().to_owned();
            let product = together.pullback(y.view(), theirs.view()).unwrap();
            let ours = &gradients[0].y0[3 * i..3 * i + 3];
            (0..3).for_each(|k| close(ours[k], product.y0()[[0, k]], size(ours)));
            let ours = gradients[0].arguments[i];
            close(ours, product.arguments()[[0, 0]], ours.wide().abs());
            for (sum, part) in sums.iter_mut().zip(product.parameters()) {
                *sum += part.wide();
            }
        }
        assert_eq!(gradients[0].parameters.len(), 2);
        for (ours, sum) in gradients[0].parameters.iter().zip(&sums) {
            assert!((ours.wide() - sum).abs() <= rounding * (batch as f64 + sum.abs()), "{ours} {sum}");
        }
    }
    check::<f64>(1e-10);
    check::<f32>(2e-3);
}

#[test]
fn directions_are_refused_where_they_cannot_be_followed() {
    let field = lorenz_by_argument::<f64>();
    let arguments = array![[28.0]];
    let own = field.with_arguments(arguments.view()).unwrap();
    let options = Options::new(Method::named("dopri5").unwrap());
    let times = Lists::shared(&[0.0, 1.0]);
    let rates = Rates::<f64>::new(1, 1);
    let good = rates.directions(1);
    let none = Changes::default();
    let named = |directions: Directions<'_, f64>| match ensemble::odeint_along(
        &own,
        starts(1).view(),
        &times,
        &options,
        &none,
        &directions,
    )
    .map(|_| ())
    {
        Err(Error::Option { argument, .. } | Error::Shape { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(Directions { times: Some(&[0.0]), ..good }), "tangents.times");
    assert_eq!(named(Directions { y0: Some(&rates.y0[1..]), ..good }), "tangents.y0");
    assert_eq!(named(Directions { count: 0, ..good }), "tangents");
}

#[test]
fn a_bounce_is_no_event_of_the_other_direction() {
    fn check<T: Real>(options: &Options) {
        let model = Builder::new(2);
        let v = model.state(1..2);
        let fall = concat(&[v, model.constant(-9.81)]);
        let field = ProgramField::<T>::new(model.finish(&fall).unwrap(), &[]).unwrap();
        // The height above a floor, as one may write it.
        let height = |floor: f64, scale: f64| {
            let when = Builder::new(2);
            let height = when.state(0..1) - when.constant(floor);
            when.finish(&(scale * height)).unwrap()
        };
        let bounce = || {
            let set = Builder::new(2);
            let state = concat(&[set.state(0..1), -0.8 * set.state(1..2)]);
            set.finish(&state).unwrap()
        };
        let y0 = Array2::from_shape_fn((200, 2), |(i, feature)| {
            T::of(if feature == 0 { 1.0 + 1e-3 * i as f64 } else { 0.0 })
        });
        for floor in [0.0, 0.1, 1.0 / 3.0] {
            for (scale, direction) in [(1.0, Direction::Rising), (-1.0, Direction::Falling), (3.7, Direction::Rising)] {
                let falls = Event {
                    when: height(floor, 1.0),
                    direction: Direction::Falling,
                    terminal: None,
                    set: Some(bounce()),
                };
                let ends = Event { when: height(floor, scale), direction, terminal: Some(1), set: None };
                let changes = Changes { events: vec![falls, ends], ..Changes::default() };
                let times = Lists::shared(&[0.0, 0.7]);
                let extras = Extras::default();
                let solution = ensemble::odeint(&field, y0.view(), &times, options, &changes, extras).unwrap();
                let wrong = solution.events.iter().filter(|event| event.event == 1).count();
                assert_eq!(wrong, 0, "{} {:?} floor {floor}, scale {scale}", T::DTYPE, options.method);
                assert_eq!(solution.events.len(), 200);
            }
        }
    }
    for (method, steps) in [("dopri5", Steps::Automatic), ("rk4", Steps::AtMost(0.05)), ("bosh3", Steps::Automatic)] {
        let options = Options { steps, ..Options::new(Method::named(method).unwrap()) };
        check::<f64>(&options);
        check::<f32>(&options);
    }
}

#[test]
fn tolerances_of_features_are_told_by_the_least() {
    let field = ProgramField::<f32>::new(lorenz(), &[10.0, 28.0, 8.0 / 3.0]).unwrap();
    let told = |relative: Vec<f64>| {
        let method = Method::named("dopri5").unwrap();
        let tolerances = Tolerances { relative, absolute: vec![] };
        let options = Options { atol: 1e-3, tolerances, ..Options::new(method) };
        let alone = odeint(&field, starts::<f32>(1).view(), &[0.0, 0.1], &options).unwrap().stats;
        let times = Lists::shared(&[0.0, 0.1]);
        let (none, extras) = (Changes::default(), Extras::default());
        let own = ensemble::odeint(&field, starts(1).view(), &times, &options, &none, extras).unwrap().stats[0];
        assert_eq!((alone.rtol, alone.rtol_clamped), (own.rtol, own.rtol_clamped));
        (own.rtol, own.rtol_clamped)
    };
    let least = 2.0 * f64::from(f32::EPSILON);
    assert_eq!(told(vec![1e-2, 1e-3, 1e-2]), (1e-3, false));
    assert_eq!(told(vec![1e-2, 1e-9, 1e-2]), (least, true));
    assert_eq!(told(vec![]), (1e-6, false));
}

#[test]
fn budgets_hold_to_the_byte() {
    // x″ = −a x: some thousand trajectories of very different lengths, with jumps and events.
    let mut model = Builder::new(2);
    let (x, v, a) = (model.state(0..1), model.state(1..2), model.argument(1));
    let field = ProgramField::<f64>::new(model.finish(&concat(&[v, -(a * x)])).unwrap(), &[]).unwrap();
    let batch = 5 * field.leaf() + 9;
    let y0 = Array2::from_shape_fn((batch, 2), |(i, k)| ((3 * i + k) as f64).sin());
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 1.0 + i as f64 / batch as f64 * 30.0);
    let own = field.with_arguments(arguments.view()).unwrap();
    let times = Lists::shared(&[0.0, 4.0, 9.0]);
    let options = Options::new(Method::named("dopri5").unwrap());
    let event = |set: bool| {
        let mut when = Builder::new(2);
        when.argument(1);
        let x = when.state(0..1);
        let mut map = Builder::new(2);
        map.argument(1);
        let slower = concat(&[map.state(0..1), 0.95 * map.state(1..2)]);
        let set = set.then(|| map.finish(&slower).unwrap());
        Event { when: when.finish(&x).unwrap(), direction: Direction::Both, terminal: None, set }
    };
    for changes in [
        Changes::default(),
        Changes { events: vec![event(false)], ..Changes::default() },
        Changes { events: vec![event(true)], ..Changes::default() },
    ] {
        let gradient = |budget: usize| {
            let method = GradientMethod::Auto { budget };
            let mut all = ensemble::vjp(&own, y0.view(), &times, &options, &changes, Extras::default(), &method)?;
            let w = all.solution.y.to_vec();
            all.pullback(Cotangents { y: &w, event_times: &[], event_states: &[] })
        };
        let Err(Error::Budget { least, .. }) = gradient(1) else { panic!("one byte is too little") };
        let free = gradient(1 << 30).unwrap();
        for budget in [least, least + least / 5, 3 * least] {
            let bound = gradient(budget).unwrap();
            let peak = bound.stats.peak.total();
            assert!(peak <= budget, "{peak} bytes at the peak, {budget} allowed");
            assert_eq!(gradient_bits(&bound), gradient_bits(&free));
        }
    }
}

#[test]
fn budgets_count_the_outputs_of_leaves() {
    // Few steps between many outputs, which a leaf holds until they are among those of all.
    let architecture =
        Architecture { widths: vec![16, 1, 16], activation: Activation::Tanh, time: Time::None, bias: true };
    let field = Mlp::<f64>::new(architecture, 1).unwrap();
    let batch = 6 * VectorField::leaf(&field) + 5;
    let y0 = Array2::from_shape_fn((batch, 16), |(i, k)| ((3 * i + k) as f64).sin());
    for outputs in [2, 4, 9] {
        let times: Vec<f64> = (0..outputs).map(f64::from).collect();
        for threads in [1, 2] {
            let options =
                Options { steps: Steps::PerInterval(1), threads, ..Options::new(Method::named("heun3").unwrap()) };
            let gradient = |budget: usize| {
                let (method, times) = (GradientMethod::Auto { budget }, Lists::shared(&times));
                let none = Changes::default();
                let mut all = ensemble::vjp(&field, y0.view(), &times, &options, &none, Extras::default(), &method)?;
                let w = all.solution.y.to_vec();
                all.pullback(Cotangents { y: &w, event_times: &[], event_states: &[] })
            };
            let Err(Error::Budget { least, .. }) = gradient(1) else { panic!("one byte is too little") };
            for budget in [least, least + least / 5, 2 * least] {
                let peak = gradient(budget).unwrap().stats.peak.total();
                assert!(peak <= budget, "{outputs} outputs, {threads} threads: {peak} bytes, {budget} allowed");
            }
        }
    }
}
