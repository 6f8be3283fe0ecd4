//! The neural ordinary differential equation: f is the network itself.

use super::{Dots, Dynamics, Layout, Pull, VectorField};
use crate::error::{Error, Result};
use crate::kernel::real::Real;
use crate::kernel::vector::dot;
use crate::memory::Ledger;
use crate::network::Mlp;
use crate::network::pass::{Pass, Wanted};

impl<T: Real> VectorField<T> for Mlp<T> {
    fn state_size(&self) -> usize {
        self.architecture().widths[0]
    }

    fn parameters(&self) -> &[T] {
        self.parameters()
    }

    fn prepare(&self, parameters: &[T], batch: usize, reverse: bool, ledger: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        let widths = &self.architecture().widths;
        if widths.first() != widths.last() {
            return Err(Error::option(
                "widths",
                "as many outputs as inputs, for a vector field",
                format!("{widths:?}"),
            ));
        }
        self.check_parameters(parameters)?;
        let layout = Layout::batch::<T>(batch, self.state_size());
        let pass = Pass::new(self.architecture(), parameters, layout.panels, reverse, ledger)?;
        Ok(Box::new(MlpDynamics { layout, pass, parameters: parameters.len() }))
    }
}

struct MlpDynamics<T> {
    layout: Layout,
    pass: Pass<T>,
    parameters: usize,
}

impl<T: Real> Dynamics<T> for MlpDynamics<T> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn parameters(&self) -> usize {
        self.parameters
    }

    fn tape_len(&self) -> usize {
        self.pass.tape_width() * self.layout.panels.lanes
    }

    fn evaluate(&mut self, t: f64, x: &[T], mut tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.pass.set_time(t);
        let (state, width) = (self.layout.arrays[0], self.pass.tape_width());
        for block in self.pass.blocks() {
            let tape = tape.as_deref_mut().map(|tape| &mut tape[block.start * width..block.end * width]);
            let wanted = if tape.is_some() { Wanted::Both } else { Wanted::Value };
            let states = block.start * state..block.end * state;
            self.pass.forward(block, &x[states.clone()], tape, Some(&mut k[states]), wanted);
        }
        Ok(())
    }

    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        self.pass.set_time(t);
        let (state, width) = (self.layout.arrays[0], self.pass.tape_width());
        let lanes = self.layout.panels.lanes;
        let mut dots = Dots::default();
        for block in self.pass.blocks() {
            let states = block.start * state..block.end * state;
            let x = &x[states.clone()];
            let tape = tape.map(|tape| &tape[block.start * width..block.end * width]);
            if tape.is_none() {
                self.pass.forward(block.clone(), x, None, None, Wanted::Tape);
            }
            if !pull.products.is_empty() {
                let value = self.pass.value(block.clone(), x, tape);
                for (probe, product) in pull.probes.chunks_exact(state * lanes).zip(pull.products.iter_mut()) {
                    *product += dot(value, &probe[states.clone()]);
                }
            }
            let (cotangent, target) = (&pull.cotangent[states.clone()], &mut pull.x[states]);
            let part = self.pass.reverse(block, x, tape, cotangent, target, pull.parameters);
            dots.time += part.time;
            dots.slope += part.slope;
        }
        Ok(dots)
    }
}
