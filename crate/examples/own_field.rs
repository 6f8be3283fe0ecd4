//! A model of your own: Lotka and Volterra's equations, fitted to what they gave with other rates.
//!
//! `cargo run --example own_field`

use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::ndarray::array;
use symplectic_adjoint::optimizer::{Group, Optimizer, Rule};
use symplectic_adjoint::program::{Builder, Program, concat};
use symplectic_adjoint::{GradientMethod, Method, Options, Result, VectorField, odeint, vjp};

/// hare' = hare (birth − hunt lynx), lynx' = lynx (feed hare − death), with θ = [birth, hunt, feed, death].
fn lotka_volterra() -> Result<Program> {
    let mut model = Builder::new(2);
    let [hare, lynx] = [model.state(0..1), model.state(1..2)];
    let [birth, hunt, feed, death] = [(); 4].map(|()| model.parameter(1));
    let slope = concat(&[&hare * (birth - hunt * &lynx), &lynx * (feed * &hare - death)]);
    model.finish(&slope)
}

fn main() -> Result<()> {
    let mut field = ProgramField::new(lotka_volterra()?, &[0.55, 0.28, 0.27, 0.84])?;
    let options = Options::new("dopri5".parse::<Method>()?);
    let (y0, times) = (array![[3.0, 0.4]], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    let seen = odeint(&field, y0.view(), &times, &options)?.y().to_owned();

    field.parameters_mut().copy_from_slice(&[0.5, 0.25, 0.25, 0.8]);
    let adam = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let all = Group { parameters: field.parameters().len(), learning_rate: 0.01, weight_decay: 0.0 };
    let mut optimizer = Optimizer::new(adam, vec![all])?;
    for step in 0..=200 {
        let mut solve = vjp(&field, y0.view(), &times, &options, &GradientMethod::default())?;
        // L = Σ (y − seen)² / 2, so ∂L/∂y = y − seen.
        let error = &solve.solution.y() - &seen;
        let gradient = solve.pullback(error.view())?;
        if step % 50 == 0 {
            println!("{step}: loss {:.3e}, θ = {:.3?}", error.mapv(|e| e * e).sum() / 2.0, field.parameters());
        }
        optimizer.step(field.parameters_mut(), gradient.parameters())?;
    }
    Ok(())
}
