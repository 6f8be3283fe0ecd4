//! Properties of the gradients: bitwise equal to each other whatever is retained, and equal to differences of a naive
//! solver that takes the same steps.

use ndarray::{Array2, Array3};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use symplectic_adjoint::field;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::program::{Builder, concat};
use symplectic_adjoint::tableau::methods::METHODS;
use symplectic_adjoint::{
    Activation, Architecture, Error, GradientMethod, Method, Mlp, Options, Output, Real, Steps, Tableau, Time, odeint,
    vjp,
};

use crate::numbers::numbers;

#[derive(Debug, Clone)]
struct Setting {
    architecture: Architecture,
    method: &'static Tableau,
    steps: Steps,
    output: Output,
    batch: usize,
    times: Vec<f64>,
    seed: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let widths = (1..6_usize, proptest::collection::vec(1..20_usize, 0..3));
    let kind = (0..Activation::ALL.len(), 0..3_usize, any::<bool>());
    let solver = (0..METHODS.len(), 0..3_usize, any::<bool>());
    let batch = prop_oneof![Just(1_usize), Just(3), Just(16), Just(17), Just(100)];
    // Times that are repeated, and one alone.
    let gap = prop_oneof![4 => 0.02..0.6_f64, 1 => Just(0.0)];
    let times = (proptest::collection::vec(gap, 0..6), any::<bool>(), -1.0..1.0_f64);
    (widths, kind, solver, batch, times, any::<u32>()).prop_map(
        |((state, hidden), (activation, time, bias), (method, steps, land), batch, (gaps, reverse, start), seed)| {
            let sign = if reverse { -1.0 } else { 1.0 };
            let mut times = vec![start];
            for gap in gaps {
                times.push(times[times.len() - 1] + sign * gap);
            }
            Setting {
                architecture: Architecture {
                    widths: [&[state], &hidden[..], &[state]].concat(),
                    activation: Activation::ALL[activation],
                    time: Time::ALL[time],
                    bias,
                },
                method: METHODS[method],
                steps: [Steps::Automatic, Steps::PerInterval(3), Steps::AtMost(0.11)][steps],
                output: if land { Output::Land } else { Output::Interpolate },
                batch,
                times,
                seed: seed.into(),
            }
        },
    )
}

impl Setting {
    fn field<T: Real>(&self) -> Mlp<T> {
        let mut field = Mlp::new(self.architecture.clone(), self.seed).unwrap();
        // Biases too, which start at zero.
        let noise = numbers(field.parameters().len(), self.seed);
        for (parameter, noise) in field.parameters_mut().iter_mut().zip(noise) {
            *parameter = *parameter + T::of(0.2 * noise);
        }
        field
    }

    fn y0<T: Real>(&self) -> Array2<T> {
        let state = self.architecture.widths[0];
        let y0 = numbers(self.batch * state, self.seed + 1).into_iter().map(T::of).collect();
        Array2::from_shape_vec((self.batch, state), y0).unwrap()
    }

    fn w<T: Real>(&self) -> Array3<T> {
        let shape = (self.times.len(), self.batch, self.architecture.widths[0]);
        let w = numbers(shape.0 * shape.1 * shape.2, self.seed + 2).into_iter().map(T::of).collect();
        Array3::from_shape_vec(shape, w).unwrap()
    }

    fn options(&self) -> Options {
        let tolerance = if self.method.order < 4 { 1e-3 } else { 1e-5 };
        Options {
            steps: self.steps,
            output: Some(self.output),
            rtol: tolerance,
            atol: tolerance,
            ..Options::new(self.method)
        }
    }
}

fn bits<T: Real>(numbers: impl IntoIterator<Item = T>) -> Vec<u64> {
    numbers.into_iter().map(|number| number.wide().to_bits()).collect()
}

fn exact_methods_agree_bitwise<T: Real>(setting: &Setting) {
    let gradients: Vec<_> =
        [GradientMethod::Symplectic, GradientMethod::Backprop, GradientMethod::Baseline, GradientMethod::Aca]
            .iter()
            .map(|method| {
                let (field, y0) = (setting.field::<T>(), setting.y0::<T>());
                let mut trajectory = vjp(&field, y0.view(), &setting.times, &setting.options(), method).unwrap();
                let first = trajectory.pullback(setting.w().view()).unwrap();
                let again = trajectory.pullback(setting.w().view()).unwrap();
                let all = |gradient: &symplectic_adjoint::Gradient<T>| {
                    let times = gradient.times.clone().unwrap();
                    [bits(gradient.y0().iter().copied()), bits(gradient.parameters().iter().copied()), bits(times)]
                };
                assert_eq!(all(&first), all(&again), "a second pullback");
                let plain = odeint(&field, y0.view(), &setting.times, &setting.options()).unwrap();
                assert_eq!(bits(plain.y().iter().copied()), bits(trajectory.solution.y().iter().copied()));
                (all(&first), bits(trajectory.solution.y().iter().copied()))
            })
            .collect();
    for other in &gradients[1..] {
        assert_eq!(&gradients[0], other);
    }
}

/// Under every budget from the least that does to one for all tapes: the same gradient, and no more memory than that.
fn budgets_change_nothing<T: Real>(setting: &Setting) {
    let (field, y0, options) = (setting.field::<T>(), setting.y0::<T>(), setting.options());
    let run = |method: &GradientMethod| {
        let mut trajectory = vjp(&field, y0.view(), &setting.times, &options, method)?;
        let [(first, _), (again, stats)] = [0, 1].map(|_| {
            let gradient = trajectory.pullback(setting.w().view()).unwrap();
            let times = gradient.times.clone().unwrap();
            let all = [bits(gradient.y0().iter().copied()), bits(gradient.parameters().iter().copied()), bits(times)];
            (all, gradient.stats)
        });
        assert_eq!(first, again, "a second pullback");
        Ok::<_, Error>((first, stats, trajectory.solution.stats.accepted))
    };
    let (expected, backprop, steps) = run(&GradientMethod::Backprop).unwrap();
    let (_, symplectic, _) = run(&GradientMethod::Symplectic).unwrap();
    let Err(Error::Budget { least, given: 1 }) = run(&GradientMethod::Auto { budget: 1 }) else {
        panic!("one byte is enough for nothing")
    };
    assert!(least <= symplectic.peak.total() + 64 * 16 + 2 * setting.y0::<T>().len().next_multiple_of(16) * 8);
    let most = backprop.peak.total().max(least);
    let mut before = usize::MAX;
    for part in 0..12 {
        let budget = least + (most - least) * part * part / 121;
        let (gradients, stats, _) = run(&GradientMethod::Auto { budget }).unwrap();
        assert_eq!(gradients, expected, "budget {budget} of {least} to {most}");
        assert!(stats.peak.total() <= budget, "{} > {budget}: {stats:?}", stats.peak.total());
        let retained = stats.retention;
        let whole = retained.tapes + retained.stages + retained.states;
        assert!(whole == steps || (whole == 0 && (options.adaptive() || retained.checkpoints < steps)));
        // Adaptive solves keep chunks of unknown number, so that more memory may do a little less.
        if !options.adaptive() {
            assert!(stats.evaluations <= before, "more memory does no more work");
            before = stats.evaluations;
        }
    }
    if !options.adaptive() {
        assert_eq!(before, backprop.evaluations, "enough for all tapes");
        assert!(matches!(run(&GradientMethod::Auto { budget: least - 1 }), Err(Error::Budget { .. })));
    }
}

/// Where a naive solver that takes the recorded steps arrives, the steps moving with the times as they would.
struct Naive<'a> {
    setting: &'a Setting,
    records: &'a [(f64, f64)],
    field: &'a Mlp<f64>,
}

impl Naive<'_> {
    fn slope(&self, parameters: &[f64], t: f64, x: &Array2<f64>) -> Array2<f64> {
        let y = field::evaluate(self.field, parameters, t, x.view()).unwrap();
        Array2::from_shape_vec(x.dim(), y.to_vec()).unwrap()
    }

    /// The index of the time that a step of the unperturbed solve ends on, if it lands.
    fn lands(&self, step: usize) -> Option<usize> {
        let end = self.records.get(step + 1).map_or(self.setting.times[self.setting.times.len() - 1], |next| next.0);
        self.setting.times.iter().position(|&time| time == end)
    }

    /// One step, and its slopes.
    fn step(&self, parameters: &[f64], t: f64, h: f64, x: &Array2<f64>) -> (Array2<f64>, Vec<Array2<f64>>) {
        let method = self.setting.method;
        let mut slopes: Vec<Array2<f64>> = Vec::new();
        for stage in 0..method.gradient_stages() {
            let mut state = x.clone();
            for (a, k) in method.a[stage].iter().zip(&slopes) {
                state.scaled_add(h * a, k);
            }
            slopes.push(self.slope(parameters, t + method.c[stage] * h, &state));
        }
        let mut next = x.clone();
        for (b, k) in method.b.iter().zip(&slopes) {
            next.scaled_add(h * b, k);
        }
        (next, slopes)
    }

    fn loss(&self, parameters: &[f64], y0: &Array2<f64>, times: &[f64], w: &Array3<f64>) -> f64 {
        let Setting { method, steps, output, times: original, .. } = self.setting;
        let adaptive = *steps == Steps::Automatic && method.adaptive();
        let interpolate = *output == Output::Interpolate
            && (adaptive || matches!(steps, Steps::AtMost(_)))
            && original.first() != original.last();
        let last = times.len() - 1;
        let weighted = |output: usize, y: &Array2<f64>| (&w.index_axis(ndarray::Axis(0), output) * y).sum();
        let (mut x, mut from_step) = (y0.clone(), 0);
        // The outputs landed on at one time: from each to its repetition, a step of no length. Returns the last of them.
        let land = |first: usize, x: &mut Array2<f64>, loss: &mut f64| {
            let mut at = first;
            *loss += weighted(at, x);
            while !interpolate && original.get(at + 1) == Some(&original[first]) {
                *x = self.step(parameters, times[at], times[at + 1] - times[at], x).0;
                at += 1;
                *loss += weighted(at, x);
            }
            at
        };
        let mut loss = 0.0;
        let mut from = land(0, &mut x, &mut loss);
        for step in 0..self.records.len() {
            // Which time these steps run to, and how many there are.
            let ends = |s: &usize| if interpolate { *s + 1 == self.records.len() } else { self.lands(*s).is_some() };
            let end_step = (step..self.records.len()).find(ends).unwrap();
            let to = if interpolate { last } else { self.lands(end_step).unwrap() };
            let (t, h) = if adaptive {
                let t = self.records[step].0 + (times[from] - original[from]);
                (t, if step == end_step { times[to] - t } else { self.records[step].1 })
            } else {
                let (m, q) = ((end_step + 1 - from_step) as f64, (step - from_step) as f64);
                let h = (times[to] - times[from]) / m;
                (times[from] + q * h, h)
            };
            let (next, mut slopes) = self.step(parameters, t, h, &x);
            if interpolate {
                slopes.push(self.slope(parameters, t + h, &next));
                for output in 1..last {
                    let after = self.records[step].0;
                    let until = self.records.get(step + 1).map_or(original[last], |next| next.0);
                    let sign = (original[last] - original[0]).signum();
                    let begun = (original[output] - after) * sign > 0.0 || (step == 0 && original[output] == after);
                    if begun && (original[output] - until) * sign <= 0.0 {
                        let mut weights = vec![0.0; slopes.len()];
                        let mut rates = weights.clone();
                        method.extension_weights((times[output] - t) / h, &mut weights, &mut rates);
                        let mut y = x.clone();
                        for (b, k) in weights.iter().zip(&slopes) {
                            y.scaled_add(h * b, k);
                        }
                        loss += weighted(output, &y);
                    }
                }
            }
            x = next;
            if step == end_step {
                from = land(to, &mut x, &mut loss);
                from_step = step + 1;
            }
        }
        loss
    }
}

/// The derivative at zero by central differences of sixth order: a step short enough for a wild function leaves more
/// rounding in a tame one, so the step is tried that gives what is closest.
fn difference(close_to: f64, loss: impl Fn(f64) -> f64) -> f64 {
    let tries = [8e-4, 1e-4].map(|step| difference_by(step, &loss));
    if (tries[0] - close_to).abs() < (tries[1] - close_to).abs() { tries[0] } else { tries[1] }
}

fn difference_by(step: f64, loss: impl Fn(f64) -> f64) -> f64 {
    let pair = |n: f64| loss(n * step) - loss(-n * step);
    (45.0 * pair(1.0) - 9.0 * pair(2.0) + pair(3.0)) / (60.0 * step)
}

fn gradients_match_differences(setting: &Setting) {
    let (field, y0, w) = (setting.field::<f64>(), setting.y0::<f64>(), setting.w::<f64>());
    let mut trajectory =
        vjp(&field, y0.view(), &setting.times, &setting.options(), &GradientMethod::Symplectic).unwrap();
    let gradient = trajectory.pullback(w.view()).unwrap();
    let records: Vec<_> = trajectory.steps().collect();
    let naive = Naive { setting, records: &records, field: &field };
    let scale = 1.0 + w.iter().map(|w| w * w).sum::<f64>().sqrt();
    let check = |what: &str, ours: f64, theirs: f64| {
        assert!((ours - theirs).abs() <= 1e-8 * scale.max(theirs.abs()), "{what}: {ours} for {theirs}");
    };

    let direction = Array2::from_shape_vec(y0.dim(), numbers(y0.len(), 5)).unwrap();
    let ours = (&gradient.y0() * &direction).sum();
    let parameters = field.parameters();
    check("y0", ours, difference(ours, |e| naive.loss(parameters, &(&y0 + &(&direction * e)), &setting.times, &w)));

    let direction = numbers(parameters.len(), 6);
    let ours: f64 = gradient.parameters().iter().zip(&direction).map(|(g, d)| g * d).sum();
    let moved = |e: f64| parameters.iter().zip(&direction).map(|(p, d)| p + e * d).collect::<Vec<_>>();
    check("parameters", ours, difference(ours, |e| naive.loss(&moved(e), &y0, &setting.times, &w)));

    for (output, &ours) in gradient.times.as_ref().unwrap().iter().enumerate() {
        let moved = |e: f64| {
            let mut times = setting.times.clone();
            times[output] += e;
            times
        };
        let theirs = difference(ours, |e| naive.loss(parameters, &y0, &moved(e), &w));
        check(&format!("time {output}"), ours, theirs);
    }
}

/// Differences across a kink say nothing.
fn smooth(setting: &Setting) -> bool {
    !matches!(setting.architecture.activation, Activation::Relu | Activation::Elu)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn retention_changes_no_bit(setting in setting()) {
        exact_methods_agree_bitwise::<f64>(&setting);
        exact_methods_agree_bitwise::<f32>(&setting);
    }

    #[test]
    fn budgets_change_no_bit(setting in setting()) {
        budgets_change_nothing::<f64>(&setting);
        budgets_change_nothing::<f32>(&setting);
    }

    #[test]
    fn gradients_are_those_of_the_numbers_computed(setting in setting().prop_filter("smooth", smooth)) {
        gradients_match_differences(&setting);
    }

    #[test]
    fn the_transpose_is_the_transpose(setting in setting().prop_filter("smooth", smooth)) {
        let (field, y, w) = (setting.field::<f64>(), setting.y0::<f64>(), setting.w::<f64>());
        let w = w.index_axis(ndarray::Axis(0), 0);
        let v = Array2::from_shape_vec(y.dim(), numbers(y.len(), 9)).unwrap();
        let p = numbers(field.parameters().len(), 10);
        let product = |e: f64| {
            let parameters: Vec<_> = field.parameters().iter().zip(&p).map(|(a, b)| a + e * b).collect();
            let y = field::evaluate(&field, &parameters, 0.3 + e, (&y + &(&v * e)).view()).unwrap();
            y.iter().zip(w).map(|(y, w)| y * w).sum::<f64>()
        };
        let vjp = field::vjp(&field, field.parameters(), 0.3, y.view(), w).unwrap();
        let ours = vjp.y.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>()
            + vjp.parameters.iter().zip(&p).map(|(a, b)| a * b).sum::<f64>()
            + vjp.t.unwrap();
        let theirs = difference(ours, product);
        prop_assert!((ours - theirs).abs() <= 1e-8 * (1.0 + theirs.abs()), "{ours} for {theirs}");
    }

    #[test]
    fn samples_do_not_see_each_other(setting in setting()) {
        // Fixed steps: adaptive ones are shared by the batch.
        let setting = Setting { steps: Steps::PerInterval(2), ..setting };
        let (field, y0) = (setting.field::<f32>(), setting.y0::<f32>());
        let together = odeint(&field, y0.view(), &setting.times, &setting.options()).unwrap();
        let last = setting.batch - 1;
        let alone = odeint(&field, y0.slice(ndarray::s![last.., ..]), &setting.times, &setting.options()).unwrap();
        let ours = together.y();
        prop_assert_eq!(bits(ours.slice(ndarray::s![.., last.., ..]).iter().copied()), bits(alone.y().iter().copied()));
    }
}

/// λᵀδ is the same before and after every step, for a field linear in x whose tangent the solver itself computes.
#[test]
fn the_bilinear_invariant_is_conserved() {
    for method in METHODS {
        let architecture = Architecture {
            widths: vec![4, 4],
            activation: Activation::Identity,
            time: Time::ConcatSquash,
            bias: false,
        };
        let mut field = Mlp::<f64>::new(architecture, 7).unwrap();
        // Without hyperBias the field is linear.
        let end = field.parameters().len();
        field.parameters_mut()[end - 4..].fill(0.0);
        let times: Vec<f64> = (0..=20).map(|i| f64::from(i) * 0.2).collect();
        let options = Options { steps: Steps::PerInterval(1), output: Some(Output::Land), ..Options::new(method) };
        let at = |seed| Array2::from_shape_vec((3, 4), numbers(12, seed)).unwrap();
        let tangents = odeint(&field, at(1).view(), &times, &options).unwrap();
        let mut products = Vec::new();
        for n in 0..times.len() - 1 {
            let delta = tangents.y().index_axis(ndarray::Axis(0), n).to_owned();
            let mut rest = vjp(&field, delta.view(), &times[n..], &options, &GradientMethod::Symplectic).unwrap();
            let mut w = Array3::zeros((times.len() - n, 3, 4));
            w.index_axis_mut(ndarray::Axis(0), times.len() - n - 1).assign(&at(2));
            let lambda = rest.pullback(w.view()).unwrap();
            products.push((&lambda.y0() * &delta).sum());
        }
        let size = products.iter().fold(0.0_f64, |size, product| size.max(product.abs()));
        for product in &products {
            assert!((product - products[0]).abs() <= 1e-14 * size.max(1.0), "{}: {products:?}", method.name);
        }
    }
}

/// Hénon and Heiles's stars, driven by a wave: q′ = v, v′ = −∇V(q) + a sin t.
fn stars() -> ProgramField<f64> {
    let mut model = Builder::new(4);
    let [x, y, u, v] = [0, 1, 2, 3].map(|row| model.state(row..row + 1));
    let [stiffness, wave] = [(); 2].map(|()| model.parameter(1));
    let force = concat(&[
        -(&stiffness * &x) - &x * &y * 2.0 + wave * model.time().sin(),
        -(&stiffness * &y) - &x * &x + &y * &y,
    ]);
    ProgramField::new(model.finish(&concat(&[u, v, force])).unwrap(), &[1.0, 0.02]).unwrap()
}

fn leapfrog(steps: Steps) -> Options {
    Options { steps, ..Options::new(Method::named("leapfrog").unwrap()) }
}

fn starts(batch: usize) -> Array2<f64> {
    Array2::from_shape_fn((batch, 4), |(i, j)| 0.3 * ((i * 5 + j * 3) as f64 * 0.7).sin())
}

#[test]
fn leapfrog_is_of_second_order_reversible_and_symplectic() {
    let field = stars();
    let y0 = starts(21);
    let solve = |steps: usize, times: &[f64], y0: &Array2<f64>| {
        odeint(&field, y0.view(), times, &leapfrog(Steps::PerInterval(steps))).unwrap().y().to_owned()
    };
    let exact = Options { rtol: 1e-12, atol: 1e-12, ..Options::new(Method::named("dopri8").unwrap()) };
    let exact = odeint(&field, y0.view(), &[0.0, 3.0], &exact).unwrap().y().to_owned();
    let error =
        |steps| (&solve(steps, &[0.0, 3.0], &y0) - &exact).iter().fold(0.0, |worst: f64, error| worst.max(error.abs()));
    let order = (error(100) / error(200)).log2();
    assert!((order - 2.0).abs() < 0.02, "{order}");
    let there = solve(50, &[0.0, 3.0], &y0).index_axis(ndarray::Axis(0), 1).to_owned();
    let back = solve(50, &[3.0, 0.0], &there).index_axis(ndarray::Axis(0), 1).to_owned();
    assert!((&back - &y0).iter().all(|error| error.abs() < 1e-13));
    // Jᵀ Ω J = Ω, with J of the gradients of each of the numbers at the end.
    let mut trajectory =
        vjp(&field, y0.view(), &[0.0, 3.0], &leapfrog(Steps::PerInterval(20)), &GradientMethod::Symplectic).unwrap();
    let rows: Vec<_> = (0..4)
        .map(|feature| {
            let mut w = Array3::zeros((2, 21, 4));
            w.slice_mut(ndarray::s![1, .., feature]).fill(1.0);
            trajectory.pullback(w.view()).unwrap().y0().to_owned()
        })
        .collect();
    for sample in 0..21 {
        for i in 0..4 {
            for j in 0..4 {
                let product: f64 = (0..2)
                    .map(|q| {
                        let at = |row: usize, column: usize| rows[row][[sample, column]];
                        at(q, i) * at(q + 2, j) - at(q + 2, i) * at(q, j)
                    })
                    .sum();
                let omega = f64::from(i8::from(j == i + 2)) - f64::from(i8::from(i == j + 2));
                assert!((product - omega).abs() < 1e-13, "{product} {omega}");
            }
        }
    }
}

#[test]
fn leapfrog_is_differentiated_exactly() {
    let mut field = stars();
    let times = [0.1, 0.4, 0.4, 1.3];
    for batch in [1, 3, 40] {
        let y0 = starts(batch);
        for steps in [Steps::Automatic, Steps::PerInterval(4), Steps::AtMost(0.17)] {
            let options = leapfrog(steps);
            let w = Array3::from_shape_fn((4, batch, 4), |(k, i, j)| ((k * 7 + i * 3 + j) as f64).cos());
            let mut first: Option<symplectic_adjoint::Gradient<f64>> = None;
            for method in [
                GradientMethod::Symplectic,
                GradientMethod::Aca,
                GradientMethod::Baseline,
                GradientMethod::Backprop,
                GradientMethod::Auto { budget: 1 << 30 },
            ] {
                let gradient = vjp(&field, y0.view(), &times, &options, &method).unwrap().pullback(w.view()).unwrap();
                if let Some(first) = &first {
                    assert_eq!(first.y0(), gradient.y0());
                    assert_eq!((first.parameters(), &first.times), (gradient.parameters(), &gradient.times));
                } else {
                    first = Some(gradient);
                }
            }
            let gradient = first.unwrap();
            let loss = |field: &ProgramField<f64>, y0: &Array2<f64>, times: &[f64]| {
                (&odeint(field, y0.view(), times, &options).unwrap().y() * &w).sum()
            };
            let h = 1e-3;
            let check = |ours: f64, at: &mut dyn FnMut(f64) -> f64| {
                let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                assert!((ours - difference).abs() < 1e-9 * (1.0 + difference.abs()), "{ours} {difference}");
            };
            for k in 0..2 {
                let own = gradient.parameters()[k];
                check(own, &mut |step| {
                    field.parameters_mut()[k] += step;
                    let loss = loss(&field, &y0, &times);
                    field.parameters_mut()[k] -= step;
                    loss
                });
            }
            for k in [0, 3] {
                check(gradient.times.as_ref().unwrap()[k], &mut |step| {
                    let mut moved = times;
                    moved[k] += step;
                    loss(&field, &y0, &moved)
                });
            }
            check(gradient.y0()[[batch - 1, 1]], &mut |step| {
                let mut moved = y0.clone();
                moved[[batch - 1, 1]] += step;
                loss(&field, &moved, &times)
            });
        }
    }
    let y0 = starts(2);
    let refused = |options: &Options, method: &GradientMethod| vjp(&field, y0.view(), &times, options, method).is_err();
    let interpolated = Options { output: Some(Output::Interpolate), ..leapfrog(Steps::AtMost(0.1)) };
    assert!(refused(&interpolated, &GradientMethod::Symplectic));
    let adjoint = GradientMethod::Adjoint(Box::new(leapfrog(Steps::AtMost(0.1))));
    assert!(refused(&leapfrog(Steps::AtMost(0.1)), &adjoint));
    let architecture = Architecture { widths: vec![3, 3], activation: Activation::Tanh, time: Time::None, bias: true };
    let odd = Mlp::<f64>::new(architecture, 1).unwrap();
    assert!(odeint(&odd, Array2::zeros((1, 3)).view(), &[0.0, 1.0], &leapfrog(Steps::Automatic)).is_err());
}
