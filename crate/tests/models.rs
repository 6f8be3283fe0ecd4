//! Flows and energies: their transposes against differences, their gradients bitwise the same whatever is retained, samples
//! independent of each other, and the identities that they are made for.

use ndarray::{Array2, Array3, s};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use symplectic_adjoint::field;
use symplectic_adjoint::model::cnf::{Cnf, Noise, Trace};
use symplectic_adjoint::model::hamiltonian::{Energy, Hamiltonian, Structure};
use symplectic_adjoint::{
    Activation, Architecture, Error, GradientMethod, Mlp, Options, Output, Real, Steps, Tableau, Time, VectorField,
    odeint, vjp,
};

use crate::numbers::numbers;

#[derive(Debug, Clone)]
enum Kind {
    Cnf { trace: Trace, kinetic: bool, jacobian: bool },
    Whole(Structure),
    Density { structure: Structure, points: usize },
}

#[derive(Debug, Clone)]
struct Setting {
    kind: Kind,
    size: usize,
    hidden: Vec<usize>,
    activation: Activation,
    time: Time,
    bias: bool,
    batch: usize,
    seed: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let structure = prop_oneof![
        Just(Structure::Canonical),
        Just(Structure::Dx),
        Just(Structure::Laplacian),
        Just(Structure::Matrix(Vec::new())),
    ];
    let trace = prop_oneof![
        Just(Trace::Exact),
        Just(Trace::Hutchinson(Noise::Rademacher)),
        Just(Trace::Hutchinson(Noise::Gaussian))
    ];
    let kind = prop_oneof![
        (trace, any::<bool>(), any::<bool>()).prop_map(|(trace, kinetic, jacobian)| Kind::Cnf {
            trace,
            kinetic,
            jacobian
        }),
        structure.clone().prop_map(Kind::Whole),
        (structure, 2..6_usize).prop_map(|(structure, half)| Kind::Density { structure, points: 2 * half }),
    ];
    let network = (1..4_usize, proptest::collection::vec(1..20_usize, 0..3), 0..Activation::ALL.len(), 0..3_usize);
    let batch = prop_oneof![Just(1_usize), Just(3), Just(16), Just(17), Just(100)];
    (kind, network, any::<bool>(), batch, any::<u32>()).prop_map(
        |(kind, (half, hidden, activation, time), bias, batch, seed)| Setting {
            kind,
            size: 2 * half,
            hidden,
            activation: Activation::ALL[activation],
            time: Time::ALL[time],
            bias,
            batch,
            seed: seed.into(),
        },
    )
}

impl Setting {
    fn field<T: Real>(&self) -> Box<dyn VectorField<T>> {
        let network = |inputs: usize, outputs: usize| {
            let widths = [&[inputs], &self.hidden[..], &[outputs]].concat();
            let architecture = Architecture { widths, activation: self.activation, time: self.time, bias: self.bias };
            let mut network = Mlp::<T>::new(architecture, self.seed).unwrap();
            let noise = numbers(network.parameters().len(), self.seed);
            for (parameter, noise) in network.parameters_mut().iter_mut().zip(noise) {
                *parameter = *parameter + T::of(0.2 * noise);
            }
            network
        };
        let structure = |structure: &Structure, state: usize| match structure {
            Structure::Matrix(_) => Structure::Matrix(numbers(state * state, self.seed + 5)),
            Structure::Canonical => Structure::Canonical,
            // Grids of three points at least.
            _ if state < 3 => Structure::Canonical,
            other => other.clone(),
        };
        match &self.kind {
            Kind::Cnf { trace, kinetic, jacobian } => {
                let network = network(self.size, self.size);
                Box::new(Cnf::new(network, *trace, *kinetic, *jacobian, self.seed).unwrap())
            }
            Kind::Whole(given) => {
                let structure = structure(given, self.size);
                Box::new(Hamiltonian::new(network(self.size, 1), Energy::Whole, structure, 0.7).unwrap())
            }
            Kind::Density { structure: given, points } => {
                let structure = structure(given, *points);
                let energy = Energy::Density { points: *points };
                Box::new(Hamiltonian::new(network(3, 1), energy, structure, 0.7).unwrap())
            }
        }
    }

    fn array<T: Real>(&self, state: usize, seed: u64) -> Array2<T> {
        let all = numbers(self.batch * state, self.seed + seed).into_iter().map(T::of).collect();
        Array2::from_shape_vec((self.batch, state), all).unwrap()
    }
}

fn bits<T: Real>(numbers: impl IntoIterator<Item = T>) -> Vec<u64> {
    numbers.into_iter().map(|number| number.wide().to_bits()).collect()
}

/// The derivative at 0 by central differences of fourth order.
fn derivative(f: impl Fn(f64) -> f64) -> f64 {
    let h = 1e-3;
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

fn smooth(setting: &Setting) -> bool {
    !matches!(setting.activation, Activation::Relu | Activation::Elu)
}

fn retention_changes_nothing<T: Real>(setting: &Setting, options: &Options) {
    let field = setting.field::<T>();
    let state = field.state_size();
    let y0 = setting.array::<T>(state, 1);
    let times = [0.1, 0.3, 0.6];
    let w = numbers(3 * y0.len(), setting.seed + 2).into_iter().map(T::of).collect();
    let w = Array3::from_shape_vec((3, setting.batch, state), w).unwrap();
    let run = |method: &GradientMethod| {
        let mut trajectory = vjp(&*field, y0.view(), &times, options, method)?;
        let gradient = trajectory.pullback(w.view())?;
        let times = gradient.times.clone().unwrap();
        let all = [bits(gradient.y0().iter().copied()), bits(gradient.parameters().iter().copied()), bits(times)];
        Ok::<_, Error>((all, gradient.stats.peak.total()))
    };
    let (expected, most) = run(&GradientMethod::Backprop).unwrap();
    for method in [GradientMethod::Symplectic, GradientMethod::Aca, GradientMethod::Baseline] {
        assert_eq!(run(&method).unwrap().0, expected, "{method:?}");
    }
    let Err(Error::Budget { least, .. }) = run(&GradientMethod::Auto { budget: 1 }) else {
        panic!("nothing fits one byte")
    };
    for budget in [least, (least + most) / 2, most.max(least)] {
        let (gradient, peak) = run(&GradientMethod::Auto { budget }).unwrap();
        assert_eq!(gradient, expected);
        assert!(peak <= budget);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn transposes_match_differences(setting in setting().prop_filter("smooth", smooth)) {
        let field = setting.field::<f64>();
        let state = field.state_size();
        let [y, w, v] = [1, 2, 3].map(|seed| setting.array::<f64>(state, seed));
        let p = numbers(field.parameters().len(), setting.seed + 4);
        let theirs = derivative(|e| {
            let parameters: Vec<_> = field.parameters().iter().zip(&p).map(|(a, b)| a + e * b).collect();
            let slope = field::evaluate(&*field, &parameters, 0.3 + e, (&y + &(&v * e)).view()).unwrap();
            slope.iter().zip(&w).map(|(y, w)| y * w).sum::<f64>()
        });
        let vjp = field::vjp(&*field, field.parameters(), 0.3, y.view(), w.view()).unwrap();
        let ours = vjp.y.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>()
            + vjp.parameters.iter().zip(&p).map(|(a, b)| a * b).sum::<f64>()
            + vjp.t.unwrap();
        let size = w.iter().map(|w| w.abs()).sum::<f64>();
        prop_assert!((ours - theirs).abs() <= 1e-7 * (size + theirs.abs()), "{ours} for {theirs}");
    }

    #[test]
    fn retention_and_budgets_change_no_bit(setting in setting(), interpolate: bool) {
        let steps = if interpolate { Steps::AtMost(0.2) } else { Steps::Automatic };
        let output = Some(if interpolate { Output::Interpolate } else { Output::Land });
        let dopri5 = Options::new(Tableau::named("dopri5").unwrap());
        let options = Options { steps, output, rtol: 1e-3, atol: 1e-3, ..dopri5 };
        retention_changes_nothing::<f64>(&setting, &options);
        retention_changes_nothing::<f32>(&setting, &options);
    }

    #[test]
    fn times_count(setting in setting().prop_filter("smooth", smooth), interpolate: bool) {
        let field = setting.field::<f64>();
        let state = field.state_size();
        let y0 = setting.array::<f64>(state, 1) * 0.5;
        let options = Options {
            steps: if interpolate { Steps::AtMost(0.3) } else { Steps::PerInterval(2) },
            output: Some(if interpolate { Output::Interpolate } else { Output::Land }),
            ..Options::new(Tableau::named("rk4").unwrap())
        };
        let w = Array3::from_shape_vec((3, setting.batch, state), numbers(3 * y0.len(), setting.seed + 2)).unwrap();
        let at = |e: f64| [0.1 + e, 0.3 - 2.0 * e, 0.6 + 0.5 * e];
        let mut trajectory = vjp(&*field, y0.view(), &at(0.0), &options, &GradientMethod::Symplectic).unwrap();
        let times = trajectory.pullback(w.view()).unwrap().times.unwrap();
        let ours = times[0] - 2.0 * times[1] + 0.5 * times[2];
        let theirs = derivative(|e| (&odeint(&*field, y0.view(), &at(e), &options).unwrap().y() * &w).sum());
        let size = w.iter().map(|w| w.abs()).sum::<f64>();
        prop_assert!((ours - theirs).abs() <= 1e-6 * (size + theirs.abs()), "{ours} for {theirs}");
    }

    #[test]
    fn samples_do_not_see_each_other(setting in setting()) {
        // Noise is drawn for each sample; the last one of a batch is not the first of another.
        prop_assume!(!matches!(setting.kind, Kind::Cnf { trace: Trace::Hutchinson(_), .. }));
        let field = setting.field::<f32>();
        let y = setting.array::<f32>(field.state_size(), 1);
        let last = setting.batch - 1;
        let together = field::evaluate(&*field, field.parameters(), 0.2, y.view()).unwrap();
        let alone = field::evaluate(&*field, field.parameters(), 0.2, y.slice(s![last.., ..])).unwrap();
        prop_assert_eq!(bits(together[last * field.state_size()..].iter().copied()), bits(alone.iter().copied()));
    }
}

/// A network of which derivatives are known: y = sin(W x + b), one layer of it.
#[test]
fn the_trace_is_that_of_the_jacobian() {
    let architecture =
        Architecture { widths: vec![3, 7, 3], activation: Activation::Tanh, time: Time::Concat, bias: true };
    let network = || Mlp::<f64>::new(architecture.clone(), 5).unwrap();
    let y = Array2::from_shape_vec((20, 3), numbers(60, 1)).unwrap();
    let state = |extra: usize| {
        Array2::from_shape_fn((20, 4 + extra), |(sample, feature)| if feature < 3 { y[[sample, feature]] } else { 9.0 })
    };
    // ∂f_j/∂x_i by the network's own transpose.
    let mut jacobian = vec![[[0.0; 3]; 3]; 20];
    let mlp = network();
    for j in 0..3 {
        let w = Array2::from_shape_fn((20, 3), |(_, feature)| f64::from(u8::from(feature == j)));
        let row = field::vjp(&mlp, mlp.parameters(), 0.4, y.view(), w.view()).unwrap();
        for (jacobian, row) in jacobian.iter_mut().zip(row.y.chunks_exact(3)) {
            jacobian[j].copy_from_slice(row);
        }
    }
    let exact = Cnf::new(network(), Trace::Exact, true, true, 0).unwrap();
    let slope = field::evaluate(&exact, mlp.parameters(), 0.4, state(2).view()).unwrap();
    let values = field::evaluate(&mlp, mlp.parameters(), 0.4, y.view()).unwrap();
    for (sample, slope) in slope.chunks_exact(6).enumerate() {
        let j = &jacobian[sample];
        let squares = |numbers: &[f64]| numbers.iter().map(|x| x * x).sum::<f64>();
        let expected = [-(j[0][0] + j[1][1] + j[2][2]), squares(&values[3 * sample..][..3]), squares(j.as_flattened())];
        for (ours, theirs) in slope[3..].iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-13 * (1.0 + theirs.abs()), "{ours} for {theirs}");
        }
    }

    // Hutchinson's estimate is right on average, for both kinds of noise.
    for noise in [Noise::Rademacher, Noise::Gaussian] {
        let mut mean = [0.0; 20];
        for seed in 0..4000 {
            let estimate = Cnf::new(network(), Trace::Hutchinson(noise), false, false, seed).unwrap();
            let slope = field::evaluate(&estimate, mlp.parameters(), 0.4, state(0).view()).unwrap();
            mean.iter_mut().zip(slope.chunks_exact(4)).for_each(|(mean, slope)| *mean += slope[3] / 4000.0);
        }
        for (mean, j) in mean.iter().zip(&jacobian) {
            assert!((mean + j[0][0] + j[1][1] + j[2][2]).abs() < 0.1, "{noise:?}: {mean}");
        }
    }
}

/// Energy is conserved where G is antisymmetric, and falls for the second difference.
#[test]
fn energies_do_what_the_structure_says() {
    let solve = |structure: Structure, energy: Energy, widths: Vec<usize>| {
        let architecture = Architecture { widths, activation: Activation::Tanh, time: Time::None, bias: true };
        let field = Hamiltonian::new(Mlp::<f64>::new(architecture, 3).unwrap(), energy, structure, 0.5).unwrap();
        let y0 = Array2::from_shape_vec((5, 8), numbers(40, 2)).unwrap();
        let options = Options { rtol: 1e-10, atol: 1e-10, ..Options::new(Tableau::named("dopri5").unwrap()) };
        let solution = odeint(&field, y0.view(), &[0.0, 1.0], &options).unwrap();
        let energy = |index: usize| {
            let y = solution.y();
            field.energy(field.parameters(), 0.0, y.index_axis(ndarray::Axis(0), index)).unwrap().to_vec()
        };
        (energy(0), energy(1))
    };
    for structure in [Structure::Canonical, Structure::Dx, Structure::Laplacian] {
        for (energy, widths) in [(Energy::Whole, vec![8, 20, 1]), (Energy::Density { points: 8 }, vec![3, 20, 1])] {
            let (before, after) = solve(structure.clone(), energy, widths);
            for (before, after) in before.iter().zip(&after) {
                match structure {
                    Structure::Laplacian => assert!(after < before, "{energy:?}: {before} to {after}"),
                    _ => assert!((after - before).abs() < 1e-8, "{structure:?} {energy:?}: {before} to {after}"),
                }
            }
        }
    }
}

/// H = Δ Σ h, on a grid of one point too.
#[test]
fn an_energy_density_counts_by_the_spacing() {
    let architecture =
        Architecture { widths: vec![1, 4, 1], activation: Activation::Tanh, time: Time::None, bias: true };
    let network = Mlp::<f64>::new(architecture, 3).unwrap();
    let y = Array2::from_elem((1, 1), 0.3);
    let h = field::evaluate(&network, network.parameters(), 0.0, y.view()).unwrap()[0];
    let structure = Structure::Matrix(vec![1.0]);
    let system = Hamiltonian::new(network, Energy::Density { points: 1 }, structure, 0.5).unwrap();
    assert_eq!(system.energy(system.parameters(), 0.0, y.view()).unwrap()[0], 0.5 * h);
}
