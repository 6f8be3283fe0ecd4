//! Events and jumps: where they are found, and gradients through them.

use super::*;

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
            jump.times = Lists::per_trajectory(case.jump_times[rows.clone()].iter().map(|times| &times[..]));
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
            times: Lists::per_trajectory(self.jump_times.iter().map(|times| &times[..])),
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
            let moved =
                ensemble::jvp(&field, start, &lists, options, &changes, Extras::default(), &directions).unwrap();
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
    for &method in &*METHODS {
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

/// Balls thrown from the ground: their heights, speeds, the greatest heights and when they reach them. A function of the height may touch
/// zero at the top, where rounding decides whether it crosses it never or twice.
fn thrown<T: Real>(g: f64, speeds: impl Fn(usize) -> f64) -> (ProgramField<T>, Array2<T>) {
    let model = Builder::new(4);
    let v = model.state(1..2);
    let slope = concat(&[v, model.constant(-g), model.constant(0.0), model.constant(0.0)]);
    let field = ProgramField::<T>::new(model.finish(&slope).unwrap(), &[]).unwrap();
    let y0 = Array2::from_shape_fn((500, 4), |(i, feature)| {
        let v = speeds(i);
        T::of([0.0, v, v * v / (2.0 * g), v / g][feature])
    });
    (field, y0)
}

#[test]
fn a_function_that_touches_zero_ends_no_solve() {
    fn check<T: Real>(options: &Options, g: f64) {
        let (field, y0) = thrown::<T>(g, |i| 1.0 + 0.013 * i as f64);
        let event = |bent: bool| {
            let when = Builder::new(4);
            let height = when.state(0..1);
            let below_top = &height - when.state(2..3);
            let value = if bent { below_top * (1.0 + height) } else { below_top };
            Event { when: when.finish(&value).unwrap(), direction: Direction::Both, terminal: None, set: None }
        };
        let accuracy = if T::DTYPE == "float32" { 3e-2 } else { 1e-6 };
        for bent in [false, true] {
            let changes = Changes { events: vec![event(bent)], ..Changes::default() };
            let times = Lists::shared(&[0.0, 2.0 / g]);
            let solution = ensemble::odeint(&field, y0.view(), &times, options, &changes, Extras::default()).unwrap();
            let times = Lists::shared(&[0.0, 20.0 / g]);
            let longer = ensemble::odeint(&field, y0.view(), &times, options, &changes, Extras::default()).unwrap();
            for event in solution.events.iter().chain(longer.events.iter()) {
                let top = y0[(event.trajectory, 3)].wide();
                // The bent function is zero below the ground too.
                if event.t < 1.5 * top {
                    assert!((event.t - top).abs() < accuracy * top, "{} {:?}", T::DTYPE, options.method);
                }
            }
            let most = (0..500).map(|i| solution.events.iter().filter(|event| event.trajectory == i).count()).max();
            assert!(most <= Some(4), "{} {:?}: {most:?}", T::DTYPE, options.method);
        }
    }
    for g in [1.0, 1.37, 9.81] {
        for (method, steps) in [
            ("dopri5", Steps::Automatic),
            ("tsit5", Steps::Automatic),
            ("rk4", Steps::AtMost(0.07)),
            ("bosh3", Steps::Automatic),
        ] {
            let options = Options { steps, ..Options::new(Method::named(method).unwrap()) };
            check::<f64>(&options, g);
            check::<f32>(&options, g);
        }
    }
}

#[test]
fn a_touch_hides_no_crossing_in_the_same_step() {
    // Zero at the top, and 15 and 22 later, for speeds of which one touches by rounding in float64.
    let (field, y0) = thrown::<f64>(1.0, |i| 1.0 + 0.00017 * (20_631 + i) as f64);
    let when = Builder::new(4);
    let (since_top, below_top) = (when.time() - when.state(3..4), when.state(0..1) - when.state(2..3));
    let value = below_top * (&since_top - when.constant(15.0)) * (since_top - when.constant(22.0));
    let event = Event { when: when.finish(&value).unwrap(), direction: Direction::Both, terminal: None, set: None };
    let changes = Changes { events: vec![event], ..Changes::default() };
    for method in ["dopri5", "bosh3", "tsit5"] {
        let options = Options::new(Method::named(method).unwrap());
        let times = Lists::shared(&[0.0, 30.0]);
        let solution = ensemble::odeint(&field, y0.view(), &times, &options, &changes, Extras::default()).unwrap();
        for i in 0..500 {
            let top = y0[(i, 3)];
            let mine = solution.events.iter().filter(|event| event.trajectory == i && event.t > top + 1.0);
            let after: Vec<f64> = mine.map(|event| event.t - top).collect();
            assert!(
                matches!(after[..], [a, b] if (a - 15.0).abs() < 1e-9 && (b - 22.0).abs() < 1e-9),
                "{method}, trajectory {i}: {after:?}"
            );
        }
    }
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
