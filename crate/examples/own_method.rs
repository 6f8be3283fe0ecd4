//! A Runge–Kutta method of your own, outside the crate: its tableau is checked while it compiles.
//!
//! `cargo run --example own_method`

use symplectic_adjoint::ndarray::array;
use symplectic_adjoint::tableau::{Extension, Tableau};
use symplectic_adjoint::{Activation, Architecture, Mlp, Options, Result, Steps, Time, odeint};

/// Strong-stability-preserving, of order 3 (Shu and Osher, J. Comput. Phys. 77(2), 1988).
const SSPRK3: Tableau = Tableau {
    name: "ssprk3",
    order: 3,
    embedded_order: 0,
    extension_order: 3,
    c: &[0.0, 1.0, 1.0 / 2.0],
    a: &[&[], &[1.0], &[1.0 / 4.0, 1.0 / 4.0]],
    b: &[1.0 / 6.0, 1.0 / 6.0, 2.0 / 3.0],
    b_hat: &[],
    extension: Extension::Hermite { d: &[] },
}
.checked();

fn main() -> Result<()> {
    let architecture =
        Architecture { widths: vec![2, 16, 2], activation: Activation::Tanh, time: Time::None, bias: true };
    let field = Mlp::<f64>::new(architecture, 0)?;
    let solve = |method: &'static Tableau, steps| {
        let options = Options { steps: Steps::PerInterval(steps), ..Options::new(method) };
        odeint(&field, array![[1.0, 0.5]].view(), &[0.0, 1.0], &options).map(|solution| solution.y()[[1, 0, 0]])
    };
    let exact = solve(&symplectic_adjoint::tableau::methods::DOPRI8, 100)?;
    for steps in [4, 8, 16, 32] {
        println!("{steps:3} steps: error {:.1e}", (solve(&SSPRK3, steps)? - exact).abs());
    }
    Ok(())
}
