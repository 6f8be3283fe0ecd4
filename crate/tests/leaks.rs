//! What is allocated for a program's solves and gradients is given back, also where they fail. The count is one of the whole process,
//! so this test is alone in it.

use ndarray::{Array2, Array3};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::field::{evaluate, vjp as field_vjp};
use symplectic_adjoint::memory::live_bytes;
use symplectic_adjoint::program::{Builder, concat};
use symplectic_adjoint::{GradientMethod, Method, Options, VectorField, odeint, vjp};

#[test]
fn nothing_is_kept() {
    let before = live_bytes();
    {
        let mut model = Builder::new(2);
        let (p, x, a) = (model.parameter(4), model.state(0..2), model.argument(1));
        let (computed, zero) = ((&p * model.time()).exp(), model.constant(0.0));
        let slope = computed.dense(&x, 1).tanh() + concat(&[zero.if_less(&a, &a.sqrt(), &a), x.row(0)]);
        let program = model.finish(&slope).unwrap();
        let field = ProgramField::<f32>::new(program, &[0.1, 0.2, 0.3, 0.4]).unwrap();
        let mut kept = None;
        for batch in [1, 33, 4, 33] {
            let arguments = Array2::from_elem((batch, 1), 0.5);
            let with = field.with_arguments(arguments.view()).unwrap();
            let (y0, w) = (Array2::ones((batch, 2)), Array3::ones((2, batch, 2)));
            evaluate(&with, with.parameters(), 0.3, y0.view()).unwrap();
            field_vjp(&with, with.parameters(), 0.3, y0.view(), y0.view()).unwrap();
            let options = Options::new(Method::named("dopri5").unwrap());
            odeint(&with, y0.view(), &[0.0, 1.0], &options).unwrap();
            for gradient in
                [GradientMethod::Symplectic, GradientMethod::Backprop, GradientMethod::Auto { budget: 1 << 20 }]
            {
                let run = || {
                    let mut trajectory = vjp(&with, y0.view(), &[0.0, 1.0], &options, &gradient).unwrap();
                    let peak = trajectory.pullback(w.view()).unwrap().stats.peak;
                    (peak, trajectory.solution.stats.accepted)
                };
                assert_eq!(run(), run(), "equal solves have equal peaks");
            }
            // Too little memory, and too few steps.
            assert!(vjp(&with, y0.view(), &[0.0, 1.0], &options, &GradientMethod::Auto { budget: 1 }).is_err());
            let few = Options { max_steps: 1, ..options };
            assert!(odeint(&with, y0.view(), &[0.0, 9.0], &few).is_err());
            let now = live_bytes();
            assert!(batch != 33 || *kept.get_or_insert(now) == now, "the field keeps what it kept before");
        }
    }
    assert_eq!(live_bytes(), before);
}
