//! Rounding: compensated sums keep the error of a float32 gradient flat in the number of steps.

use ndarray::{Array2, Array3};
use symplectic_adjoint::{
    Activation, Architecture, GradientMethod, Mlp, Options, Real, Steps, Summation, Tableau, Time, vjp,
};

fn gradient<T: Real>(steps: usize, summation: Summation) -> Vec<f64> {
    let architecture =
        Architecture { widths: vec![2, 16, 2], activation: Activation::Tanh, time: Time::None, bias: true };
    // The same numbers in both types.
    let single = Mlp::<f32>::new(architecture.clone(), 3).unwrap();
    let mut field = Mlp::<T>::new(architecture, 3).unwrap();
    for (parameter, &number) in field.parameters_mut().iter_mut().zip(single.parameters()) {
        *parameter = T::of(f64::from(number));
    }
    let y0 = Array2::from_shape_fn((4, 2), |(i, j)| T::of(0.25 * (i as f64 - 1.5) + 0.5 * j as f64));
    let options =
        Options { steps: Steps::PerInterval(steps), summation, ..Options::new(Tableau::named("rk4").unwrap()) };
    let mut trajectory = vjp(&field, y0.view(), &[0.0, 4.0], &options, &GradientMethod::Symplectic).unwrap();
    let mut w = Array3::zeros((2, 4, 2));
    w.index_axis_mut(ndarray::Axis(0), 1).fill(T::one());
    trajectory.pullback(w.view()).unwrap().parameters().iter().map(|g| g.wide()).collect()
}

fn error(steps: usize, summation: Summation) -> f64 {
    let exact = gradient::<f64>(steps, Summation::Compensated);
    let single = gradient::<f32>(steps, summation);
    let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    (square(&mut exact.iter().zip(&single).map(|(a, b)| a - b)) / square(&mut exact.iter().copied())).sqrt()
}

#[test]
fn rounding_does_not_grow_with_the_steps() {
    let errors = [100, 1_000, 10_000].map(|steps| error(steps, Summation::Compensated));
    println!("compensated, N = 100, 1,000, 10,000: {}", errors.map(|error| format!("{error:.1e}")).join(", "));
    assert!(errors.iter().all(|&error| error < 3e-7), "{errors:?}");
    let [partly, plain] = [Summation::Gradient, Summation::Plain].map(|summation| error(10_000, summation));
    println!("of the gradient alone, N = 10,000: {partly:.1e}; plain: {plain:.1e}");
    assert!(plain > 10.0 * errors[2], "plain sums: {plain}");
    assert!(errors[2] < partly && partly < plain, "partly compensated: {partly}");
}
