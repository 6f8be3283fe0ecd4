//! The neural ordinary differential equation: f is the network itself.

use super::architecture::Architecture;
use crate::error::Result;
use crate::field::program::ProgramField;
use crate::field::{Dynamics, FieldOptions, LaneSetup, Lanes, VectorField};
use crate::kernel::real::Real;
use crate::memory::Ledger;
use crate::program::graph::{Graph, Input};
use crate::program::{Program, Sizes};

/// A neural ODE: dy/dt = f(y, t), where f is a multilayer perceptron.
#[derive(Debug)]
pub struct Mlp<T: Real> {
    architecture: Architecture,
    field: ProgramField<T>,
}

impl<T: Real> Mlp<T> {
    /// A network with random initial parameters, the same for the same seed. Weights are uniform in ±√(6 / (fan_in + fan_out)) (Glorot
    /// and Bengio 2010), or in ±√(6 / fan_in) (He et al. 2015) before relu, elu, silu and gelu; gateWeight and hyperBias are uniform in
    /// ±1, biases are 0.
    ///
    /// # Errors
    /// `Option` for fewer than two widths or a width of 0, `OutOfMemory`.
    pub fn new(architecture: Architecture, seed: u64) -> Result<Self> {
        architecture.check()?;
        let parameters = architecture.initial(seed)?;
        let mut graph = Graph::default();
        let inputs = architecture.widths[0];
        let x = graph.load(Input::State, 0, inputs);
        let value = architecture.network(&mut graph, x, 1);
        let sizes = Sizes { state: inputs, parameters: parameters.len(), arguments: 0, data: 0 };
        let field = ProgramField::new(Program::of(graph, value, sizes), &parameters)?;
        Ok(Self { architecture, field })
    }

    /// A copy of the network, with its current parameters.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn duplicate(&self) -> Result<Self> {
        let field = ProgramField::new(self.field.program().clone(), self.field.parameters())?;
        Ok(Self { architecture: self.architecture.clone(), field })
    }

    /// The architecture of the network: everything except the values of its parameters.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// All parameters, flat, in the order of [`Architecture::entries`].
    pub fn parameters(&self) -> &[T] {
        self.field.parameters()
    }

    /// All parameters, flat, in the order of [`Architecture::entries`], for you to change. Solves that were recorded before keep the
    /// parameters that they had.
    pub fn parameters_mut(&mut self) -> &mut [T] {
        self.field.parameters_mut()
    }
}

impl<T: Real> VectorField<T> for Mlp<T> {
    fn state_size(&self) -> usize {
        self.field.state_size()
    }

    fn output_size(&self) -> usize {
        self.field.output_size()
    }

    fn parameters(&self) -> &[T] {
        self.field.parameters()
    }

    fn prepare(
        &self,
        parameters: &[T],
        batch: usize,
        options: FieldOptions<'_, T>,
        ledger: &Ledger,
    ) -> Result<Box<dyn Dynamics<T>>> {
        self.field.prepare(parameters, batch, options, ledger)
    }

    fn lanes(&self, setup: &LaneSetup<'_, T>, width: usize, reverse: bool) -> Result<Box<dyn Lanes<T>>> {
        self.field.timed_lanes(setup, width, reverse)
    }

    fn is_parallel(&self) -> bool {
        true
    }

    fn program_field(&self) -> Option<&ProgramField<T>> {
        Some(&self.field)
    }

    fn leaf(&self) -> usize {
        self.field.leaf()
    }
}
