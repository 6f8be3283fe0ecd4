//! The names, defaults, limits and widths that bindings use, as JSON, so that each is written down once.

use serde_json::{Value, json};

use super::options::{CONTROLLERS, DEFAULT_GRADIENT, DEFAULT_METHOD, GRADIENTS, NORMS, OUTPUTS, SUMMATIONS};
use crate::ensemble::Changes;
use crate::gradient::DEFAULT_BUDGET;
use crate::kernel::real::Real;
use crate::memory::Purpose;
use crate::model::cnf::Noise;
use crate::model::hamiltonian::Structure;
use crate::model::{Activation, Time};
use crate::program::json::{MAX_NODES, MAX_ROWS};
use crate::solve::MAX_THREADS;
use crate::stepper::Method;
use crate::tableau::MAX_STAGES;

/// How a flow computes the trace of its Jacobian; `hutchinson` estimates it with noise.
pub const TRACES: [&str; 2] = ["exact", "hutchinson"];
pub const NOISES: [(&str, Noise); 2] = [("rademacher", Noise::Rademacher), ("gaussian", Noise::Gaussian)];

/// The names of the matrices G of dx/dt = G ∇H.
pub const STRUCTURES: [(&str, Structure); 3] =
    [("canonical", Structure::Canonical), ("dx", Structure::Dx), ("laplacian", Structure::Laplacian)];

/// How many numbers bindings read for each trajectory of an ensemble: see `AnyEnsemble::trajectories`.
pub const TRAJECTORY_NUMBERS: usize = 6;

/// How many numbers bindings read for each event: see `AnyEnsemble::events`.
pub const EVENT_NUMBERS: usize = 3;

/// The statistics of a solve, in the order in which a binding hands them out; bytes follow.
pub const SOLVE_STATS: [&str; 7] =
    ["accepted", "rejected", "evaluations", "firstStep", "lastStep", "rtol", "rtolClamped"];

/// The statistics of a gradient; those of [`RETENTION`] follow, and bytes.
pub const GRADIENT_STATS: [&str; 3] = ["evaluations", "vjps", "backwardSteps"];

/// The statistics of what a gradient retains of a solve.
pub const RETENTION: [&str; 5] = ["tapes", "stages", "states", "checkpoints", "stepTapes"];

/// The names of the statistics of bytes: the total, and each purpose.
fn byte_names() -> Vec<&'static str> {
    std::iter::once("total").chain(Purpose::ALL.map(Purpose::name)).collect()
}

fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// All constants as one JSON object, by the names that JavaScript gives them.
pub fn constants() -> Value {
    let methods = |adaptive| -> Vec<&str> {
        Method::all().filter(|method| method.adaptive() == adaptive).map(|method| method.name()).collect()
    };
    let all = [methods(false), methods(true)].concat();
    let interpolating: Vec<&str> = Method::all().filter(Method::interpolates).map(|method| method.name()).collect();
    json!({
        "DTYPES": [f32::DTYPE, f64::DTYPE],
        "LANES": { f32::DTYPE: f32::LANES, f64::DTYPE: f64::LANES },
        "METHODS": all,
        "FIXED_METHODS": methods(false),
        "ADAPTIVE_METHODS": methods(true),
        "INTERPOLATING_METHODS": interpolating,
        "DEFAULT_METHOD": DEFAULT_METHOD,
        "GRADIENTS": GRADIENTS,
        "DEFAULT_GRADIENT": DEFAULT_GRADIENT,
        "DEFAULT_BUDGET": DEFAULT_BUDGET,
        "MAX_EVENTS": Changes::default().max_events,
        "MAX_NODES": MAX_NODES,
        "MAX_ROWS": MAX_ROWS,
        "MAX_STAGES": MAX_STAGES,
        "MAX_THREADS": MAX_THREADS,
        "OUTPUTS": names(&OUTPUTS),
        "CONTROLLERS": names(&CONTROLLERS),
        "SUMMATIONS": names(&SUMMATIONS),
        "NORMS": names(&NORMS),
        "ACTIVATIONS": Activation::ALL.map(Activation::name),
        "TIMES": Time::ALL.map(Time::name),
        "TRACES": TRACES,
        "NOISES": names(&NOISES),
        "STRUCTURES": names(&STRUCTURES),
        "SOLVE_STATS": SOLVE_STATS,
        "GRADIENT_STATS": GRADIENT_STATS,
        "RETENTION": RETENTION,
        "TRAJECTORY_NUMBERS": TRAJECTORY_NUMBERS,
        "EVENT_NUMBERS": EVENT_NUMBERS,
        "BYTES": byte_names(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::options::{self, OptionValue};

    /// The texts of a list.
    fn texts(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    }

    #[test]
    fn every_name_is_one_that_options_take() {
        let constants = constants();
        let lists = [
            ("method", "METHODS"),
            ("gradient", "GRADIENTS"),
            ("output", "OUTPUTS"),
            ("controller", "CONTROLLERS"),
            ("summation", "SUMMATIONS"),
            ("norm", "NORMS"),
        ];
        for (option, list) in lists {
            for name in texts(&constants[list]) {
                options::read::<f64>(vec![(option.into(), OptionValue::Text(name.into()))]).unwrap();
            }
        }
        assert!(texts(&constants["ACTIVATIONS"]).into_iter().all(|name| Activation::named(name).is_some()));
        assert!(texts(&constants["TIMES"]).into_iter().all(|name| Time::named(name).is_some()));
    }

    #[test]
    fn methods_are_fixed_or_adaptive() {
        let constants = constants();
        let [fixed, adaptive] = ["FIXED_METHODS", "ADAPTIVE_METHODS"].map(|list| texts(&constants[list]));
        assert!(fixed.iter().all(|name| !Method::named(name).unwrap().adaptive()));
        assert!(adaptive.iter().all(|name| Method::named(name).unwrap().adaptive()));
        assert_eq!([fixed, adaptive].concat(), texts(&constants["METHODS"]));
        assert!(texts(&constants["METHODS"]).contains(&DEFAULT_METHOD));
    }

    #[test]
    fn a_panel_is_64_bytes_wide() {
        assert_eq!(constants()["LANES"], json!({ "float32": 16, "float64": 8 }));
    }
}
