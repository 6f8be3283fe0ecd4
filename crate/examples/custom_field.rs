//! A vector field behind two functions, the second of which is its transpose: for what cannot be a program, such as a call of
//! another library. `own_field.rs` has the same equations as a program, which needs no transpose.
//!
//! `cargo run --example custom_field`

use symplectic_adjoint::field::custom::{Custom, RowField};
use symplectic_adjoint::ndarray::{Array3, ArrayView2, ArrayViewMut2, array, s};
use symplectic_adjoint::{GradientMethod, Method, Options, Result, vjp};

/// hare' = hare (a − b lynx), lynx' = lynx (c hare − d), with θ = [a, b, c, d].
struct LotkaVolterra;

impl RowField<f64> for LotkaVolterra {
    fn evaluate(&self, _t: f64, y: ArrayView2<'_, f64>, theta: &[f64], mut dy: ArrayViewMut2<'_, f64>) -> Result<()> {
        let [a, b, c, d] = *theta else { unreachable!("four parameters") };
        for (y, mut dy) in y.rows().into_iter().zip(dy.rows_mut()) {
            let (hare, lynx) = (y[0], y[1]);
            (dy[0], dy[1]) = (hare * (a - b * lynx), lynx * (c * hare - d));
        }
        Ok(())
    }

    fn vjp(
        &self,
        _t: f64,
        y: ArrayView2<'_, f64>,
        w: ArrayView2<'_, f64>,
        theta: &[f64],
        mut dy: ArrayViewMut2<'_, f64>,
        dtheta: &mut [f64],
    ) -> Result<Option<f64>> {
        let [a, b, c, d] = *theta else { unreachable!("four parameters") };
        for ((y, w), mut dy) in y.rows().into_iter().zip(w.rows()).zip(dy.rows_mut()) {
            let (hare, lynx) = (y[0], y[1]);
            dy[0] = w[0] * (a - b * lynx) + w[1] * c * lynx;
            dy[1] = -w[0] * b * hare + w[1] * (c * hare - d);
            dtheta[0] += w[0] * hare;
            dtheta[1] -= w[0] * hare * lynx;
            dtheta[2] += w[1] * hare * lynx;
            dtheta[3] -= w[1] * lynx;
        }
        // The equations do not contain the time.
        Ok(Some(0.0))
    }
}

fn main() -> Result<()> {
    let field = Custom::new(2, &[0.5, 0.03, 0.02, 0.8], LotkaVolterra)?;
    let options = Options::new("dopri5".parse::<Method>()?);
    let mut solve = vjp(&field, array![[30.0, 4.0]].view(), &[0.0, 10.0], &options, &GradientMethod::default())?;

    // L = the number of hares at the end.
    let mut cotangent = Array3::zeros((2, 1, 2));
    cotangent[[1, 0, 0]] = 1.0;
    let gradient = solve.pullback(cotangent.view())?;
    println!("y(10) = {}", solve.solution.y().slice(s![1, 0, ..]));
    println!("∂hares/∂θ = {:?}", gradient.parameters());
    Ok(())
}
