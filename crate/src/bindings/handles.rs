//! Fields, recorded solves, gradients and optimizers with the number type erased, as a binding hands them out.

mod by_name;
mod ensembles;
mod field;
mod kinds;
mod numbers;
mod optimizer;
mod results;
mod tangents;

pub use by_name::{architecture, energy, structure, trace};
pub use ensembles::{AnyEnsemble, AnyIntegrator};
pub use field::{AnyField, Point, Start};
pub use kinds::{custom, mlp, program};
pub use numbers::{AnyBuffer, Dtype, Numbers, Source, copied};
pub use optimizer::{AnyOptimizer, optimizer};
pub use results::{AnyFieldVjp, AnyGradient, AnySolution, AnyTrajectory};
pub use tangents::{AnyJvp, AnyJvpVjp, TangentSources};
