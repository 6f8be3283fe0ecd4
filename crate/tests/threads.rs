//! Any number of threads gives the same bits, in one solve or in several of one field.

use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use symplectic_adjoint::ensemble::{Advance, Integrator};
use symplectic_adjoint::field::custom::{Custom, RowField};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::memory::Purpose;
use symplectic_adjoint::model::cnf::{Cnf, Trace};
use symplectic_adjoint::model::hamiltonian::Hamiltonian;
use symplectic_adjoint::optimizer::Optimizer;
use symplectic_adjoint::program::{Builder, Program, concat};
use symplectic_adjoint::sensitivity::Tangents;
use symplectic_adjoint::{
    Activation, Architecture, Error, Gradient, GradientMethod, Method, Mlp, Options, Output, Real, Result, Solution,
    Steps, Time, VectorField, Vjp, ensemble, jvp, vjp,
};

fn states<T: Real>(batch: usize, features: usize) -> Array2<T> {
    Array2::from_shape_fn((batch, features), |(i, k)| T::of(((i * 7 + k * 3) as f64).sin() * 0.5 + 0.6))
}

/// All numbers of a solve and its gradient, as bits.
fn bits<T: Real>(field: &dyn VectorField<T>, batch: usize, options: &Options, gradient: &GradientMethod) -> Vec<u64> {
    let y0 = states::<T>(batch, field.state_size());
    let mut trajectory = vjp(field, y0.view(), &[0.0, 0.3, 0.45, 1.0], options, gradient).unwrap();
    let shape = trajectory.solution.y().raw_dim();
    let w = Array3::from_shape_fn(shape, |(t, i, k)| T::of(((t + 2 * i + 5 * k) as f64).cos()));
    let pulled = trajectory.pullback(w.view()).unwrap();
    let mut bits: Vec<u64> = pulled.times.iter().flatten().map(|time| time.to_bits()).collect();
    bits.extend(trajectory.solution.y().iter().map(|number| number.wide().to_bits()));
    bits.extend(pulled.y0().iter().map(|number| number.wide().to_bits()));
    bits.extend(pulled.parameters().iter().map(|number| number.wide().to_bits()));
    bits.extend(pulled.arguments().iter().map(|number| number.wide().to_bits()));
    bits
}

fn network(widths: &[usize]) -> Architecture {
    Architecture { widths: widths.to_vec(), activation: Activation::Tanh, time: Time::Concat, bias: true }
}

fn check<T: Real>(field: &dyn VectorField<T>, batch: usize) {
    let mut options = Options::new(Method::named("dopri5").unwrap());
    for (steps, output) in [(Steps::Automatic, Output::Interpolate), (Steps::PerInterval(3), Output::Land)] {
        (options.steps, options.output) = (steps, Some(output));
        for gradient in [GradientMethod::Symplectic, GradientMethod::Backprop, GradientMethod::Auto { budget: 1 << 22 }]
        {
            options.threads = 1;
            let alone = bits(field, batch, &options, &gradient);
            for threads in [2, 3, 8] {
                options.threads = threads;
                assert!(bits(field, batch, &options, &gradient) == alone, "{threads} threads, {batch} trajectories");
            }
        }
    }
}

#[test]
fn networks_and_flows() {
    for batch in [1, 64, 129, 400] {
        check(&Mlp::<f32>::new(network(&[3, 20, 3]), 1).unwrap(), batch);
        check(&Mlp::<f64>::new(network(&[3, 20, 3]), 1).unwrap(), batch);
    }
    let network = Mlp::<f64>::new(network(&[3, 12, 3]), 2).unwrap();
    check(&Cnf::new(network, Trace::Exact, true, false, 0).unwrap(), 300);
}

/// What is left of a product of a parameter's function and a sum over trajectories, and arguments.
fn program() -> ProgramField<f64> {
    let mut model = Builder::new(2);
    let [hare, lynx] = [model.state(0..1), model.state(1..2)];
    let [birth, hunt] = [(); 2].map(|()| model.parameter(1));
    let dose = model.argument(1);
    let slope = concat(&[&hare * (birth.exp() - hunt.exp() * &lynx), &lynx * (&hare - dose)]);
    ProgramField::new(model.finish(&slope).unwrap(), &[-0.5, -0.4]).unwrap()
}

#[test]
fn programs_with_arguments() {
    let field = program();
    for batch in [7, 1000, 2000] {
        let arguments = Array2::from_shape_fn((batch, 1), |(i, _)| 0.5 + (i as f64).sin() / 4.0);
        check(&field.with_arguments(arguments.view()).unwrap(), batch);
    }
}

#[test]
fn directions() {
    let field = Mlp::<f32>::new(network(&[2, 16, 2]), 3).unwrap();
    let y0 = states::<f32>(400, 2);
    let along = ndarray::Array3::from_shape_fn((3, 400, 2), |(d, i, k)| ((d + i + k) as f32).cos());
    let mut options = Options::new(Method::named("tsit5").unwrap());
    let of = |options: &Options| {
        let tangents = Tangents { y0: Some(along.view()), ..Tangents::new(3) };
        let moved = jvp(&field, y0.view(), &[0.0, 1.0], &tangents, options).unwrap();
        moved.tangents().iter().map(|number| number.to_bits()).collect::<Vec<_>>()
    };
    let alone = of(&options);
    options.threads = 3;
    assert!(of(&options) == alone);
}

#[test]
fn no_threads() {
    let mut options = Options::new(Method::named("rk4").unwrap());
    options.threads = 0;
    let field = Mlp::<f32>::new(network(&[2, 4, 2]), 3).unwrap();
    let failure = vjp(&field, states(1, 2).view(), &[0.0, 1.0], &options, &GradientMethod::Symplectic);
    assert_eq!(failure.err().unwrap().code(), "OPTION");
}

#[test]
fn many_leaves_take_a_few_sums() {
    let field = Mlp::<f32>::new(network(&[3, 40, 40, 3]), 1).unwrap();
    let bytes = size_of_val(field.parameters());
    let mut options = Options { steps: Steps::PerInterval(1), ..Options::new(Method::named("rk4").unwrap()) };
    let batch = 4_300;
    let y0 = states::<f32>(batch, 3);
    let mut alone = None;
    for threads in [1, 2, 3] {
        options.threads = threads;
        let mut recorded = vjp(&field, y0.view(), &[0.0, 0.1], &options, &GradientMethod::Symplectic).unwrap();
        let w = Array3::from_shape_fn((2, batch, 3), |(t, i, k)| ((t + 2 * i + 5 * k) as f32).cos());
        let gradient = recorded.pullback(w.view()).unwrap();
        let bits: Vec<u32> = gradient.parameters().iter().map(|number| number.to_bits()).collect();
        assert!(*alone.get_or_insert_with(|| bits.clone()) == bits, "{threads} threads");
        // ∂L/∂θ with its carry and that of a step; for 34 leaves the first run's, and one for each level. Threads share runs.
        let rows = batch * 3 * size_of::<f32>();
        let sums = if threads == 1 { 6 } else { 16 * threads + 2 * threads };
        let most = (3 + sums) * bytes + rows;
        let taken = gradient.stats.peak.of(Purpose::Gradient);
        assert!(taken <= most, "{taken} bytes and not {most} on {threads} threads");
    }
}

#[test]
fn what_threads_may_share() {
    fn shared<S: Send + Sync>() {}
    shared::<ProgramField<f32>>();
    shared::<Mlp<f64>>();
    shared::<Cnf<f32>>();
    shared::<Hamiltonian<f64>>();
    shared::<Program>();
    shared::<(Options, GradientMethod, Error)>();
    shared::<(Solution<f32>, Gradient<f64>, Optimizer<f64>)>();
    shared::<(ensemble::Solution<f64>, ensemble::Gradient<f64>)>();
    shared::<Custom<f64, Decay>>();
    fn sent<S: Send>() {}
    sent::<(Vjp<f32>, ensemble::Vjp<f64>, Integrator<f64>)>();
}

struct Decay;

impl RowField<f64> for Decay {
    fn evaluate(&self, _: f64, y: ArrayView2<'_, f64>, _: &[f64], mut dy: ArrayViewMut2<'_, f64>) -> Result<()> {
        dy.assign(&y.map(|y| -y));
        Ok(())
    }

    fn vjp(
        &self,
        _: f64,
        _: ArrayView2<'_, f64>,
        w: ArrayView2<'_, f64>,
        _: &[f64],
        mut dy: ArrayViewMut2<'_, f64>,
        _: &mut [f64],
    ) -> Result<Option<f64>> {
        dy.assign(&w.map(|w| -w));
        Ok(Some(0.0))
    }
}

#[test]
fn what_was_solved_goes_on_in_another_thread() {
    let field = Custom::new(1, &[], Decay).unwrap();
    let (y0, options) = (states::<f64>(5, 1), Options::new(Method::named("dopri5").unwrap()));
    let begin = || Integrator::new(&field, y0.view(), 0.0, &options, &ensemble::Changes::default()).unwrap();
    let mut here = begin();
    here.advance(1.0, Advance::ToTime).unwrap();
    let mut there = begin();
    let there = std::thread::spawn(move || {
        there.advance(1.0, Advance::ToTime).unwrap();
        there.y().to_vec()
    });
    assert_eq!(there.join().unwrap(), here.y());
    let mut trajectory = vjp(&field, y0.view(), &[0.0, 1.0], &options, &GradientMethod::Symplectic).unwrap();
    let w = trajectory.solution.y().to_owned();
    let pulled = std::thread::spawn(move || trajectory.pullback(w.view()).unwrap().y0().to_owned()).join().unwrap();
    assert!(pulled.iter().all(|slope| *slope != 0.0));
}

#[test]
fn threads_share_a_field() {
    let field = Mlp::<f64>::new(network(&[3, 20, 3]), 1).unwrap();
    let options = Options::new(Method::named("dopri5").unwrap());
    let batches = [1, 5, 40, 1, 129, 5];
    let alone = batches.map(|batch| bits(&field, batch, &options, &GradientMethod::Symplectic));
    // Another field, whose plans are made while the threads solve.
    let field = Mlp::<f64>::new(network(&[3, 20, 3]), 1).unwrap();
    let solve = &|batch| bits(&field, batch, &options, &GradientMethod::Symplectic);
    let together = std::thread::scope(|scope| {
        let threads = batches.map(|batch| scope.spawn(move || solve(batch)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(alone == together);
}
