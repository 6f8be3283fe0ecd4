//! The parts of fields, by their names in the public API.

use super::numbers::{Source, copied};
use crate::bindings::constants::{NOISES, STRUCTURES, TRACES};
use crate::error::{Error, Result};
use crate::model::cnf::{Noise, Trace};
use crate::model::hamiltonian::{Energy, Structure};
use crate::model::{Activation, Architecture, Time};

/// The architecture of a network, by names.
pub fn architecture(widths: Vec<usize>, activation: &str, time: &str, bias: bool) -> Result<Architecture> {
    let activations = || Activation::ALL.map(Activation::name).join(", ");
    let times = || Time::ALL.map(Time::name).join(", ");
    let architecture = Architecture {
        widths,
        activation: Activation::named(activation)
            .ok_or_else(|| Error::option("activation", activations(), activation))?,
        time: Time::named(time).ok_or_else(|| Error::option("time", times(), time))?,
        bias,
    };
    architecture.check()?;
    Ok(architecture)
}

/// The matrix of a system with an energy: by its name, or where it has none as given.
pub fn structure(name: &str, matrix: &dyn Source) -> Result<Structure> {
    match STRUCTURES.into_iter().find(|(known, _)| *known == name) {
        Some((_, structure)) => Ok(structure),
        None => Ok(Structure::Matrix(copied::<f64>(matrix)?.to_vec())),
    }
}

/// An energy of the whole state, or where `points` is positive a density on a grid.
pub fn energy(points: usize) -> Energy {
    if points > 0 { Energy::Density { points } } else { Energy::Whole }
}

/// How noise is drawn, by name.
pub fn trace(trace: &str, noise: &str) -> Trace {
    let named = NOISES.into_iter().find(|(name, _)| *name == noise);
    let noise = named.map_or(Noise::Rademacher, |(_, noise)| noise);
    if trace == TRACES[0] { Trace::Exact } else { Trace::Hutchinson(noise) }
}
