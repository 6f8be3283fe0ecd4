//! Derivatives of ensembles in forward mode.

use super::*;

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
        let mut recorded = ensemble::vjp_of_jvp(&own, start, &times, &options, &changes, &directions, &method).unwrap();
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
    let refused =
        ensemble::vjp_of_jvp(&own, start, &times, &options, &events, &directions, &GradientMethod::Symplectic);
    assert!(matches!(refused.map(|_| ()), Err(Error::Option { argument: "events", .. })));
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
        let moved =
            ensemble::jvp(&own, y0.view(), &times, &options, &none, Extras::default(), &rates.directions(2)).unwrap();
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
        let moved =
            ensemble::jvp(&own, y0.view(), &times, &options, &none, Extras::default(), &rates.directions(1)).unwrap();
        let threads = Options { threads: 2, ..options.clone() };
        let other =
            ensemble::jvp(&own, y0.view(), &times, &threads, &none, Extras::default(), &rates.directions(1)).unwrap();
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
                        ensemble::vjp_of_jvp(&own, y0.view(), &times, &options, &none, &rates.directions(1), method)
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
            let solo =
                ensemble::jvp(&own, start, &lists, &options, &none, Extras::default(), &alone.directions(1)).unwrap();
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
            let mut together = JvpVjp::record(&own, start, times.of(i), &tangents, &options, &method).unwrap();
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
    let named = |directions: Directions<'_, f64>| match ensemble::jvp(
        &own,
        starts(1).view(),
        &times,
        &options,
        &none,
        Extras::default(),
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
    let extras = Extras { dense: true, ..Extras::default() };
    let refused = ensemble::jvp(&own, starts(1).view(), &times, &options, &none, extras, &good).map(|_| ());
    assert!(matches!(refused, Err(Error::Option { argument: "extras", .. })), "{refused:?}");
}

#[test]
fn a_part_of_a_batch_has_the_bits_of_the_whole_and_counts_as_it_does() {
    let field = lorenz_by_argument::<f64>();
    let leaf = field.leaf();
    let batch = leaf + 3;
    let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 20.0 + 8.0 * i as f64 / batch as f64);
    let options = Options::new(Method::named("dopri5").unwrap());
    let (times, none, y0) = (Lists::shared(&[0.0, 0.5, 1.0]), Changes::default(), starts(batch));
    let rates = Rates::<f64>::new(1, batch);
    let along = |rows: std::ops::Range<usize>, options: &Options, part: Option<usize>| {
        let own = field.with_arguments(arguments.slice(s![rows.clone(), ..])).unwrap();
        let mine = Rates {
            y0: rates.y0[3 * rows.start..3 * rows.end].to_vec(),
            parameters: rates.parameters.clone(),
            arguments: rates.arguments[rows.clone()].to_vec(),
        };
        let (start, extras) = (y0.slice(s![rows, ..]), Extras { part, ..Extras::default() });
        ensemble::jvp(&own, start, &times, options, &none, extras, &mine.directions(1))
    };
    let whole = along(0..batch, &options, None).unwrap();
    let part = along(leaf..batch, &options, Some(leaf)).unwrap();
    let within = along(3..6, &options, Some(3)).unwrap();
    for (of_whole, of_part) in whole.y.chunks_exact(6 * batch).zip(part.y.chunks_exact(6 * 3)) {
        assert_eq!(bits(of_whole[6 * leaf..].iter().copied()), bits(of_part.iter().copied()));
    }
    // Without sums over trajectories, a part may begin anywhere.
    for (of_whole, of_part) in whole.y.chunks_exact(6 * batch).zip(within.y.chunks_exact(6 * 3)) {
        assert_eq!(bits(of_whole[6 * 3..6 * 6].iter().copied()), bits(of_part.iter().copied()));
    }
    let short = Options { max_steps: 2, ..options };
    let failed = along(leaf..batch, &short, Some(leaf)).map(|_| ());
    assert!(matches!(failed, Err(Error::Trajectory { trajectory, .. }) if trajectory == leaf), "{failed:?}");
}

#[test]
fn a_jump_may_take_arguments_and_amounts_as_one_value() {
    let mut model = Builder::new(2);
    let (x, rate) = (model.state(0..2), model.argument(1));
    let field = ProgramField::<f64>::new(model.finish(&-(rate * x)).unwrap(), &[]).unwrap();
    let options = Options { rtol: 1e-10, atol: 1e-10, ..Options::new(Method::named("dopri5").unwrap()) };
    let times = Lists::shared(&[0.0, 1.0]);
    let pulses: [fn(&mut Builder) -> Value; 2] = [
        |model| {
            let (rate, dose) = (model.argument(1), model.argument(1));
            concat(&[rate, dose])
        },
        |model| model.argument(2),
    ];
    let slopes = pulses.map(|pulse| {
        let mut model = Builder::new(2);
        let after = pulse(&mut model);
        let jump = Jump { times: Lists::shared(&[0.5]), set: model.finish(&after).unwrap(), amounts: vec![3.0] };
        let changes = Changes { jumps: vec![jump], ..Changes::default() };
        let arguments = array![[0.7]];
        let own = field.with_arguments(arguments.view()).unwrap();
        let directions = Directions { count: 1, y0: None, parameters: None, arguments: Some(&[1.0]), times: None };
        let start = array![[1.0, 1.0]];
        let along =
            ensemble::jvp(&own, start.view(), &times, &options, &changes, Extras::default(), &directions).unwrap();
        along.y[6..].to_vec()
    });
    // (a, 3) e^{−a/2} at the end, by a.
    let decay = (-0.35_f64).exp();
    for slope in slopes {
        let [first, second] = slope[..] else { panic!("{slope:?}") };
        assert!((first - decay * (1.0 - 0.35)).abs() < 1e-6 && (second + 1.5 * decay).abs() < 1e-6, "{slope:?}");
    }
}
