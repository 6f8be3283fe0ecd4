//! Vector fields.

use js_sys::Array;
use wasm_bindgen::prelude::*;

use super::results::{
    EnsembleHandle, FieldVjpHandle, IntegratorHandle, JvpHandle, JvpVjpHandle, NumbersHandle, SolutionHandle, VjpHandle,
};
use super::{Callbacks, JsAllReduce, JsField, JsResult, JsSource, entries, object, optional, shared, thrown};
use crate::bindings::handles::{self, AnyField, Dtype, Point, Start, TangentSources};
use crate::bindings::records;

/// A vector field with its parameters.
#[wasm_bindgen]
pub struct Field {
    pub(super) field: Box<dyn AnyField>,
    layers: Array,
}

#[wasm_bindgen]
impl Field {
    pub fn mlp(dtype: &str, widths: Vec<u32>, activation: &str, time: &str, bias: bool, seed: f64) -> JsResult<Field> {
        let dtype = Dtype::named(dtype).map_err(thrown)?;
        let widths = widths.into_iter().map(|width| width as usize).collect();
        let architecture = handles::architecture(widths, activation, time, bias).map_err(thrown)?;
        let layers = records::layers(&architecture).into_iter().map(|layer| JsValue::from(object(layer))).collect();
        let field = handles::mlp::<JsField>(dtype, architecture, seed as u64).map_err(thrown)?;
        Ok(Field { field, layers })
    }

    /// A field that a program, as JSON, describes.
    pub fn program(dtype: &str, program: &str, parameters: &JsValue) -> JsResult<Field> {
        let dtype = Dtype::named(dtype).map_err(thrown)?;
        let field = handles::program::<JsField>(dtype, program, &JsSource(parameters)).map_err(thrown)?;
        Ok(Field { field, layers: Array::new() })
    }

    /// For the field of a program, the field of its value and directional derivative: parameters [θ, θ̇], arguments [a, ẋ, ȧ, ṫ].
    pub fn tangent(&self) -> JsResult<Field> {
        Ok(Field { field: self.field.tangent().map_err(thrown)?, layers: Array::new() })
    }

    pub fn custom(dtype: &str, state_size: usize, parameters: &JsValue, callbacks: Callbacks) -> JsResult<Field> {
        let dtype = Dtype::named(dtype).map_err(thrown)?;
        let field =
            handles::custom(dtype, state_size, &JsSource(parameters), JsField::new(callbacks)).map_err(thrown)?;
        Ok(Field { field, layers: Array::new() })
    }

    /// A flow with a copy of a network; `noise` is `rademacher` or `gaussian`, heeded where `trace` is `hutchinson`.
    pub fn cnf(network: &Field, trace: &str, noise: &str, kinetic: bool, jacobian: bool, seed: f64) -> JsResult<Field> {
        let trace = handles::trace(trace, noise);
        let field = network.field.cnf(trace, kinetic, jacobian, seed as u64).map_err(thrown)?;
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
        let structure = handles::structure(structure, &JsSource(matrix)).map_err(thrown)?;
        let field = network.field.hamiltonian(handles::energy(points), structure, spacing).map_err(thrown)?;
        Ok(Field { field, layers: network.layers.clone() })
    }

    /// `[{ weight: { offset, shape }, … }]`, empty for a custom field.
    #[wasm_bindgen(getter)]
    pub fn layers(&self) -> Array {
        self.layers.clone()
    }

    #[wasm_bindgen(getter, js_name = stateSize)]
    pub fn state_size(&self) -> usize {
        self.field.state_size()
    }

    #[wasm_bindgen(getter, js_name = parametersPointer)]
    pub fn parameters_pointer(&self) -> usize {
        self.field.parameters().pointer()
    }

    #[wasm_bindgen(getter, js_name = parametersLength)]
    pub fn parameters_length(&self) -> usize {
        self.field.parameters().len()
    }

    /// Trajectories of a leaf of an ensemble.
    #[wasm_bindgen(getter)]
    pub fn leaf(&self) -> usize {
        self.field.leaf()
    }

    /// Features of f(t, y).
    #[wasm_bindgen(getter, js_name = outputSize)]
    pub fn output_size(&self) -> usize {
        self.field.output_size()
    }

    /// Arguments of each trajectory.
    #[wasm_bindgen(getter, js_name = argumentSize)]
    pub fn argument_size(&self) -> usize {
        self.field.argument_size()
    }

    /// f(t, y) at the given parameters, else the field's own.
    pub fn evaluate(
        &self,
        t: f64,
        y: &JsValue,
        batch: usize,
        parameters: &JsValue,
        arguments: &JsValue,
    ) -> JsResult<NumbersHandle> {
        let (y, parameters, arguments) = (JsSource(y), JsSource(parameters), JsSource(arguments));
        let at = Point { t, y: &y, batch, parameters: optional(&parameters), arguments: optional(&arguments) };
        self.field.evaluate(at).map(NumbersHandle).map_err(thrown)
    }

    /// The transpose of f at (t, y).
    pub fn vjp(
        &self,
        t: f64,
        y: &JsValue,
        w: &JsValue,
        batch: usize,
        parameters: &JsValue,
        arguments: &JsValue,
    ) -> JsResult<FieldVjpHandle> {
        let (y, parameters, arguments) = (JsSource(y), JsSource(parameters), JsSource(arguments));
        let at = Point { t, y: &y, batch, parameters: optional(&parameters), arguments: optional(&arguments) };
        self.field.vjp(at, &JsSource(w)).map(FieldVjpHandle).map_err(thrown)
    }

    /// The solution at the times (a Float64Array), and the error if the solve failed on the way. `options` is an object by the
    /// names of the public API, `arguments` is `[batch, arguments]` or undefined; the norms of its steps may be shared with other
    /// parts of a batch.
    pub fn odeint(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        options: &JsValue,
        arguments: &JsValue,
        all_reduce: Option<JsAllReduce>,
    ) -> JsResult<SolutionHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        let (solution, error) = self.field.odeint(start, entries(options), shared(all_reduce)).map_err(thrown)?;
        Ok(SolutionHandle { solution, error })
    }

    /// A solve that keeps what the gradient method needs; otherwise as `odeint`.
    pub fn record(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        options: &JsValue,
        arguments: &JsValue,
        all_reduce: Option<JsAllReduce>,
    ) -> JsResult<VjpHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        self.field.record(start, entries(options), shared(all_reduce)).map(VjpHandle).map_err(thrown)
    }

    /// Solves trajectories that each take their own steps. `plan` is JSON, which `EnsemblePlan::read` in `bindings/handles/ensembles.rs` documents, and
    /// `numbers` a Float64Array. Where `keep` is set, what their gradients need is kept.
    #[allow(clippy::too_many_arguments)]
    pub fn ensemble(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        plan: &str,
        numbers: &JsValue,
        options: &JsValue,
        arguments: &JsValue,
        keep: bool,
    ) -> JsResult<EnsembleHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        let solved = self.field.ensemble(start, (plan, &JsSource(numbers)), entries(options), keep);
        solved.map(EnsembleHandle).map_err(thrown)
    }

    /// An ensemble with its tangents along directions, as `jvp` takes them, in place of a state [x, ẋ_1, …]; kept for
    /// second derivatives where `keep` is set.
    #[wasm_bindgen(js_name = ensembleAlong)]
    #[allow(clippy::too_many_arguments)]
    pub fn ensemble_along(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        plan: &str,
        numbers: &JsValue,
        directions: usize,
        along: &JsAlong,
        options: &JsValue,
        arguments: &JsValue,
        keep: bool,
    ) -> JsResult<EnsembleHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        let solve = |along: TangentSources<'_>| {
            self.field.ensemble_jvp(start, (plan, &JsSource(numbers)), along, entries(options), keep)
        };
        with_along(directions, along, solve).map(EnsembleHandle)
    }

    /// Trajectories that are taken on from call to call, by a plan as those of `ensemble`, without jumps.
    pub fn integrator(
        &self,
        y0: &JsValue,
        batch: usize,
        t: &JsValue,
        plan: &str,
        options: &JsValue,
        arguments: &JsValue,
    ) -> JsResult<IntegratorHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(t), arguments: optional(&arguments) };
        self.field.integrator(start, plan, entries(options)).map(IntegratorHandle).map_err(thrown)
    }

    /// The solution with its tangents along directions: `along` is an object of flat arrays `y0`, `parameters`, `arguments` and
    /// `times` (a Float64Array), each of all directions, or undefined.
    #[allow(clippy::too_many_arguments)]
    pub fn jvp(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        directions: usize,
        along: &JsAlong,
        options: &JsValue,
        arguments: &JsValue,
    ) -> JsResult<JvpHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        with_along(directions, along, |along| self.field.jvp(start, along, entries(options))).map(JvpHandle)
    }

    /// A solve with its derivative along one direction, without `times`, that keeps what second derivatives need.
    #[wasm_bindgen(js_name = recordTangent)]
    pub fn record_tangent(
        &self,
        y0: &JsValue,
        batch: usize,
        times: &JsValue,
        along: &JsAlong,
        options: &JsValue,
        arguments: &JsValue,
    ) -> JsResult<JvpVjpHandle> {
        let arguments = JsSource(arguments);
        let start = Start { y0: &JsSource(y0), batch, times: &JsSource(times), arguments: optional(&arguments) };
        with_along(1, along, |along| self.field.record_tangent(start, along, entries(options))).map(JvpVjpHandle)
    }

    /// What noise a flow draws: of which seed, and for samples from which on.
    #[wasm_bindgen(js_name = seedNoise)]
    pub fn seed_noise(&mut self, seed: f64, first_sample: usize) -> JsResult<()> {
        self.field.seed_noise(seed as u64, first_sample).map_err(thrown)
    }

    /// Sets noise that the caller drew, `[batch, features]`.
    #[wasm_bindgen(js_name = setNoise)]
    pub fn set_noise(&mut self, noise: &JsValue) -> JsResult<()> {
        self.field.set_noise(&JsSource(noise)).map_err(thrown)
    }

    /// H of each sample at the given parameters, else the field's own.
    pub fn energy(&self, t: f64, y: &JsValue, batch: usize, parameters: &JsValue) -> JsResult<NumbersHandle> {
        let parameters = JsSource(parameters);
        let energy = self.field.energy(t, &JsSource(y), batch, optional(&parameters));
        energy.map(NumbersHandle).map_err(thrown)
    }
}

#[wasm_bindgen]
extern "C" {
    /// Flat arrays of all directions, or undefined.
    pub type JsAlong;

    #[wasm_bindgen(method, getter)]
    fn y0(this: &JsAlong) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn parameters(this: &JsAlong) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn arguments(this: &JsAlong) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn times(this: &JsAlong) -> JsValue;
}

fn with_along<R>(
    directions: usize,
    along: &JsAlong,
    body: impl FnOnce(TangentSources<'_>) -> crate::error::Result<R>,
) -> JsResult<R> {
    let all = [along.y0(), along.parameters(), along.arguments(), along.times()];
    let [y0, parameters, arguments, times] = [0, 1, 2, 3].map(|index| JsSource(&all[index]));
    body(TangentSources {
        directions,
        y0: optional(&y0),
        parameters: optional(&parameters),
        arguments: optional(&arguments),
        times: optional(&times),
    })
    .map_err(thrown)
}
