//! The continuous adjoint of ensembles.

use super::*;

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
                let lists = Lists::per_trajectory(rows.clone().map(|i| times.of(i)));
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
