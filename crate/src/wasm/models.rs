//! The kinds of vector field, and what some have beyond being one.

use std::ops::{Deref, DerefMut};

use wasm_bindgen::prelude::*;

use super::results::Numbers;
use super::{Callbacks, Either, Field, Given, JsReal, JsResult, read, rows, thrown, try_either};
use crate::error::{Error, Result};
use crate::field::VectorField;
use crate::field::cnf::{Cnf, Noise, Trace};
use crate::field::custom::Custom;
use crate::field::hamiltonian::{Energy, Hamiltonian, Structure};
use crate::kernel::real::Real;
use crate::memory::Buffer;
use crate::network::Mlp;

/// A vector field of some kind.
pub(super) enum Model<T: Real> {
    Mlp(Mlp<T>),
    Cnf(Cnf<T>),
    Hamiltonian(Hamiltonian<T>),
    Custom(Custom<T, Callbacks>),
}

impl<T: Real> Deref for Model<T> {
    type Target = dyn VectorField<T>;
    fn deref(&self) -> &Self::Target {
        match self {
            Model::Mlp(field) => field,
            Model::Cnf(field) => field,
            Model::Hamiltonian(field) => field,
            Model::Custom(field) => field,
        }
    }
}

impl<T: Real> DerefMut for Model<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Model::Mlp(field) => field,
            Model::Cnf(field) => field,
            Model::Hamiltonian(field) => field,
            Model::Custom(field) => field,
        }
    }
}

impl<T: Real> Model<T> {
    /// A copy of a network.
    fn network(&self, argument: &'static str) -> Result<Mlp<T>> {
        match self {
            Model::Mlp(mlp) => mlp.duplicate(),
            _ => Err(Error::option(argument, "a network, from mlp", "another field")),
        }
    }

    fn flow(&mut self) -> Result<&mut Cnf<T>> {
        match self {
            Model::Cnf(cnf) => Ok(cnf),
            _ => Err(Error::option("field", "a flow, from cnf", "another field")),
        }
    }
}

#[wasm_bindgen]
impl Field {
    /// A flow with a copy of a network; `noise` is `rademacher` or `gaussian`, heeded where `trace` is `hutchinson`.
    pub fn cnf(network: &Field, trace: &str, noise: &str, kinetic: bool, jacobian: bool, seed: f64) -> JsResult<Field> {
        let noise = if noise == "gaussian" { Noise::Gaussian } else { Noise::Rademacher };
        let trace = if trace == "exact" { Trace::Exact } else { Trace::Hutchinson(noise) };
        let field = try_either!(&network.field, network => network
            .network("network")
            .and_then(|network| Cnf::new(network, trace, kinetic, jacobian, seed as u64).map(Model::Cnf)))?;
        Ok(Field { field, layers: network.layers.clone() })
    }

    /// A system with a copy of a network as its energy: of the whole state, or where `points` is positive a density on a grid.
    /// `structure` is a name, or empty where `matrix` (a Float64Array) is given.
    pub fn hamiltonian(
        network: &Field,
        structure: &str,
        matrix: &JsValue,
        points: usize,
        spacing: f64,
    ) -> JsResult<Field> {
        let structure = match structure {
            "canonical" => Structure::Canonical,
            "dx" => Structure::Dx,
            "laplacian" => Structure::Laplacian,
            _ => Structure::Matrix(read::<f64>(matrix).map_err(thrown)?.to_vec()),
        };
        let energy = if points > 0 { Energy::Density { points } } else { Energy::Whole };
        let field = try_either!(&network.field, network => network
            .network("energy")
            .and_then(|network| Hamiltonian::new(network, energy, structure, spacing).map(Model::Hamiltonian)))?;
        Ok(Field { field, layers: network.layers.clone() })
    }

    #[wasm_bindgen(getter, js_name = stateSize)]
    pub fn state_size(&self) -> usize {
        super::either!(&self.field, field => field.state_size())
    }

    /// What noise a flow draws: of which seed, and for samples from which on.
    #[wasm_bindgen(js_name = seedNoise)]
    pub fn seed_noise(&mut self, seed: f64, first_sample: usize) -> JsResult<()> {
        fn run<T: Real>(model: &mut Model<T>, seed: f64, first_sample: usize) -> Result<()> {
            let flow = model.flow()?;
            (flow.seed, flow.first_sample) = (seed as u64, first_sample);
            flow.set_noise(None)
        }
        super::either!(&mut self.field, model => run(model, seed, first_sample)).map_err(thrown)
    }

    /// Noise of the caller's, `[batch, features]`.
    #[wasm_bindgen(js_name = setNoise)]
    pub fn set_noise(&mut self, noise: &JsValue) -> JsResult<()> {
        fn run<T: JsReal>(model: &mut Model<T>, noise: &JsValue) -> Result<()> {
            model.flow()?.set_noise(Some(&read::<T>(noise)?))
        }
        super::either!(&mut self.field, model => run(model, noise)).map_err(thrown)
    }

    /// H of each sample at the given parameters, else the field's own.
    pub fn energy(&self, t: f64, y: &JsValue, batch: usize, parameters: &JsValue) -> JsResult<Numbers> {
        fn run<T: JsReal>(
            model: &Model<T>,
            t: f64,
            y: &JsValue,
            batch: usize,
            parameters: &JsValue,
        ) -> Result<Buffer<T>> {
            let Model::Hamiltonian(system) = model else {
                return Err(Error::option("field", "a system with an energy, from hamiltonian", "another field"));
            };
            let given = Given::new(model, parameters)?;
            system.energy(given.parameters(model), t, rows(&read::<T>(y)?, batch)?)
        }
        try_either!(&self.field, model => run(model, t, y, batch, parameters)).map(Numbers)
    }
}
