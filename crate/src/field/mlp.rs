//! The neural ordinary differential equation: f is the network itself.

use super::{Dots, Dynamics, Pull, Uses, VectorField};
use crate::error::Result;
use crate::kernel::combine::dot;
use crate::kernel::real::Real;
use crate::layout::Layout;
use crate::memory::Ledger;
use crate::network::Mlp;
use crate::network::pass::Pass;

impl<T: Real> VectorField<T> for Mlp<T> {
    fn state_size(&self) -> usize {
        self.architecture().widths[0]
    }

    fn output_size(&self) -> usize {
        self.architecture().widths[self.architecture().widths.len() - 1]
    }

    fn parameters(&self) -> &[T] {
        self.parameters()
    }

    fn parameters_mut(&mut self) -> &mut [T] {
        self.parameters_mut()
    }

    fn prepare(&self, parameters: &[T], batch: usize, reverse: bool, ledger: &Ledger) -> Result<Box<dyn Dynamics<T>>> {
        self.check_parameters(parameters)?;
        let layout = Layout::batch::<T>(batch, self.state_size());
        let pass = Pass::new(self.architecture(), parameters, layout.panels, reverse, ledger)?;
        Ok(Box::new(MlpDynamics {
            layout,
            outputs: self.output_size(),
            pass,
            parameters: parameters.len(),
            uses: Uses::default(),
        }))
    }
}

struct MlpDynamics<T> {
    layout: Layout,
    outputs: usize,
    pass: Pass<T>,
    parameters: usize,
    uses: Uses,
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

    fn uses(&self) -> Uses {
        self.uses
    }

    fn evaluate(&mut self, t: f64, x: &[T], mut tape: Option<&mut [T]>, k: &mut [T]) -> Result<()> {
        self.uses.evaluations += 1;
        self.pass.set_time(t);
        for block in self.pass.blocks() {
            let of = |features: usize| block.start * features..block.end * features;
            let width = self.pass.tape_width();
            let tape = tape.as_deref_mut().map(|tape| &mut tape[of(width)]);
            let (x, k) = (&x[of(self.layout.arrays[0])], &mut k[of(self.outputs)]);
            self.pass.forward(block, x, tape, Some(k));
        }
        Ok(())
    }

    fn pull(&mut self, t: f64, x: &[T], tape: Option<&[T]>, pull: Pull<'_, T>) -> Result<Dots> {
        self.uses.evaluations += usize::from(tape.is_none());
        self.uses.vjps += 1;
        self.pass.set_time(t);
        let (state, outputs, width) = (self.layout.arrays[0], self.outputs, self.pass.tape_width());
        let mut dots = Dots::default();
        for block in self.pass.blocks() {
            let of = |features: usize| block.start * features..block.end * features;
            let x = &x[of(state)];
            let tape = tape.map(|tape| &tape[of(width)]);
            if tape.is_none() {
                self.pass.forward(block.clone(), x, None, None);
            }
            if !pull.products.is_empty() {
                let value = self.pass.value(block.clone(), x, tape);
                let probes = pull.probes.chunks_exact(outputs * self.layout.panels.lanes);
                for (probe, product) in probes.zip(pull.products.iter_mut()) {
                    *product += dot(value, &probe[of(outputs)]);
                }
            }
            let (cotangent, target) = (&pull.cotangent[of(outputs)], &mut pull.x[of(state)]);
            let part = self.pass.reverse(block, x, tape, cotangent, target, pull.parameters);
            dots.time += part.time;
            dots.slope += part.slope;
        }
        Ok(dots)
    }
}
