//! Ensembles: each trajectory is bitwise what it is alone, with exact gradients through jumps and events.

mod adjoint;
mod events;
mod forward_mode;
mod integrators;
mod memory;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;

use ndarray::{Array2, Array3, ArrayView2, array, s};
use symplectic_adjoint::ensemble::{
    self, Advance, Changes, Cotangents, Direction, Event, Extras, Integrator, Jump, Lists,
};
use symplectic_adjoint::field::Directions;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::memory::Purpose;
use symplectic_adjoint::model::hamiltonian::{Energy, Hamiltonian, Structure};
use symplectic_adjoint::program::{Builder, Program, Value, concat};
use symplectic_adjoint::progress::watch;
use symplectic_adjoint::sensitivity::{JvpVjp, Tangents};
use symplectic_adjoint::tableau;
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

/// The names of all Runge–Kutta methods.
static METHODS: LazyLock<Vec<&str>> =
    LazyLock::new(|| tableau::methods::METHODS.iter().map(|method| method.name).collect());

fn cases<T: Real>() -> Vec<Options> {
    let mut all = Vec::new();
    for &method in &*METHODS {
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
    let times = Lists::per_trajectory(lists.iter().map(|times| &times[..]));
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
    let t = 1.234f64;
    let ours = solved.paths[0].at(t).unwrap();
    for (ours, circle) in ours.into_iter().zip([t.cos(), t.sin(), -t.sin(), t.cos()]) {
        assert!((ours - circle).abs() < 1e-4, "{ours} {circle}");
    }
    assert!(solved.paths[0].at(-0.1).is_none() && solved.paths[0].at(10.1).is_none());
    // What needs an extension of higher order, or the derivatives of the stages forward, is refused.
    let rates = [0.0; 4];
    let directions = Directions { count: 1, y0: Some(&rates), parameters: None, arguments: None, times: None };
    let moved = ensemble::jvp(&own, circle.view(), &times, &options, &none, Extras::default(), &directions);
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
        ensemble::jvp(field, y0, &times, &options, &Changes::default(), Extras::default(), &directions)
            .unwrap()
            .y
            .to_vec()
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

/// The derivative at 0, by differences of the sixth order.
fn derivative(at: &mut dyn FnMut(f64) -> f64, h: f64) -> f64 {
    let mut pair = |step: f64| at(step * h) - at(-step * h);
    (45.0 * pair(1.0) - 9.0 * pair(2.0) + pair(3.0)) / (60.0 * h)
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
    let own = Jump { times: Lists::per_trajectory(own.iter().map(|times| &times[..])), set: program(), amounts };
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
    let own = Lists::per_trajectory(lists.iter().map(|times| &times[..]));
    let changes = Changes { jumps: pulses(batch), ..Changes::default() };
    let weights = |count: usize| (0..count).map(|k| (k as f64 * 0.7).sin()).collect::<Vec<f64>>();
    let pull = |solved: &mut ensemble::Vjp<f64>, w: &[f64]| {
        solved.pullback(Cotangents { y: w, event_times: &[], event_states: &[] }).unwrap()
    };
    for times in [&shared, &own] {
        let of = |range: std::ops::Range<usize>, threads: usize, method: &GradientMethod| {
            let part = (range.len() < batch).then_some(range.start);
            let of_part = |lists: &Lists| match lists.count() {
                None => lists.clone(),
                Some(_) => Lists::per_trajectory(range.clone().map(|i| lists.of(i))),
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
    let mut integrator = Integrator::new(&field, many.view(), 0.0, &options, &none).unwrap();
    let before = integrator.y().to_vec();
    assert!(matches!(integrator.advance(0.5, Advance::ToTime), Err(Error::Callback)));
    assert_eq!(integrator.y(), before);
    watch(None);
    solve().unwrap();
    integrator.advance(0.5, Advance::ToTime).unwrap();
    // A watcher may end its own watch, and stays where it panics.
    let calls = Rc::new(RefCell::new(0));
    let count = Rc::clone(&calls);
    watch(Some(Box::new(move |_| {
        *count.borrow_mut() += 1;
        watch(None);
        Ok(())
    })));
    solve().unwrap();
    assert_eq!(*calls.borrow(), 1);
    watch(Some(Box::new(|_| panic!("in a watcher"))));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(solve)).is_err());
    assert!(watch(None).is_some());
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
    Lists::per_trajectory(own.iter().map(|times| &times[..]))
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
