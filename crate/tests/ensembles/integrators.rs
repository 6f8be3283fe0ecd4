//! Ensembles that are taken on from call to call.

use super::*;

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
                integrator.advance(t, Advance::ToTime).unwrap();
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
                times[2..].iter().for_each(|&t| other.advance(t, Advance::ToTime).unwrap());
                assert_eq!(place(other), place(&integrator));
            }
            assert!(restored.restore(&numbers[1..]).is_err());
            // Whatever else is put into its place, it panics nowhere.
            for place in 0..numbers.len().min(40) {
                for number in [1e300, -1.0, 0.5, f64::NAN, f64::INFINITY] {
                    let mut changed = numbers.clone();
                    changed[place] = number;
                    let mut other = restored.clone();
                    if other.restore(&changed).is_ok() {
                        let _ = other.advance(times[2], Advance::Step);
                    }
                }
            }
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
    integrator.advance(0.5, Advance::ToTime).unwrap();
    let before = place(&integrator);
    assert!(integrator.advance(2.0, Advance::ToTime).is_err());
    assert_eq!(place(&integrator), before);
    integrator.set_y(&[0.1, 0.2]).unwrap();
    integrator.advance(2.0, Advance::ToTime).unwrap();
    for (y, y0) in integrator.y().into_iter().zip([0.1, 0.2]) {
        assert!((y - y0 / (1.0 - 1.5 * y0)).abs() < 1e-6);
    }
    integrator.advance(0.5, Advance::ToTime).unwrap();
    for (y, y0) in integrator.y().into_iter().zip([0.1, 0.2]) {
        assert!((y - y0).abs() < 1e-6);
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
        itself.advance(2.0, Advance::ToTime).unwrap();
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
        back.advance(0.0, Advance::ToTime).unwrap();
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
