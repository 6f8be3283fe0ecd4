//! Vector fields.

use napi::bindgen_prelude::{ArrayBuffer, Env, JsObjectValue, Object, Result, Uint32ArraySlice, Unknown};
use napi_derive::napi;

use super::callbacks::{Callbacks, JsField, shared};
use super::handle::Handle;
use super::memory::{JsSource, address, optional, view};
use super::results::{
    EnsembleHandle, FieldVjpHandle, IntegratorHandle, JvpHandle, JvpVjpHandle, NumbersHandle, SolutionHandle, VjpHandle,
};
use super::{dtype, entries, object, thrown};
use crate::bindings::handles::{self, AnyField, Point, Start, TangentSources};
use crate::bindings::records;
use crate::error;
use crate::model::Architecture;

/// A vector field with its parameters.
#[napi]
pub struct Field(pub(super) Handle<Box<dyn AnyField>>, Option<Architecture>);

impl Field {
    fn new(env: Env, field: error::Result<Box<dyn AnyField>>, network: Option<Architecture>) -> Result<Self> {
        field.map(|field| Self(Handle::new(field), network)).map_err(|error| thrown(env, error))
    }

    /// Runs with the field; throws what goes wrong.
    fn call<R>(&self, env: Env, body: impl FnOnce(&dyn AnyField) -> error::Result<R>) -> Result<R> {
        self.0.read(|field| body(&**field))?.map_err(|error| thrown(env, error))
    }
}

#[napi]
impl Field {
    #[napi(catch_unwind)]
    pub fn mlp(
        env: Env,
        dtype: String,
        widths: Uint32ArraySlice<'_>,
        activation: String,
        time: String,
        bias: bool,
        seed: f64,
    ) -> Result<Field> {
        let dtype = self::dtype(env, &dtype)?;
        let widths = widths.iter().map(|&width| width as usize).collect();
        let architecture = handles::architecture(widths, &activation, &time, bias);
        let architecture = architecture.map_err(|error| thrown(env, error))?;
        Self::new(env, handles::mlp::<JsField>(dtype, architecture.clone(), seed as u64), Some(architecture))
    }

    /// A field that a program, as JSON, describes.
    #[napi(catch_unwind)]
    pub fn program(env: Env, dtype: String, program: String, parameters: Unknown<'_>) -> Result<Field> {
        let dtype = self::dtype(env, &dtype)?;
        Self::new(env, handles::program::<JsField>(dtype, &program, &JsSource(&parameters)), None)
    }

    /// For the field of a program, the field of its value and directional derivative: parameters [θ, θ̇], arguments [a, ẋ, ȧ, ṫ].
    #[napi(catch_unwind)]
    pub fn tangent(&self, env: Env) -> Result<Field> {
        Self::new(env, self.0.read(|field| field.tangent())?, None)
    }

    #[napi(catch_unwind)]
    pub fn custom(
        env: Env,
        dtype: String,
        state_size: u32,
        parameters: Unknown<'_>,
        callbacks: Object<'_>,
    ) -> Result<Field> {
        let (dtype, callbacks) = (self::dtype(env, &dtype)?, Callbacks::new(env, &callbacks)?);
        Self::new(
            env,
            handles::custom(dtype, state_size as usize, &JsSource(&parameters), JsField::new(callbacks)),
            None,
        )
    }

    /// A flow with a copy of a network; `noise` is `rademacher` or `gaussian`, heeded where `trace` is `hutchinson`.
    #[napi(catch_unwind)]
    pub fn cnf(
        env: Env,
        network: &Field,
        trace: String,
        noise: String,
        kinetic: bool,
        jacobian: bool,
        seed: f64,
    ) -> Result<Field> {
        let trace = handles::trace(&trace, &noise);
        let flow = network.0.read(|network| network.cnf(trace, kinetic, jacobian, seed as u64))?;
        Self::new(env, flow, network.1.clone())
    }

    /// A system with a copy of a network as its energy: of the whole state, or where `points` is positive a density on a grid.
    /// `structure` is a name, or empty where `matrix` (a Float64Array) is given.
    #[napi(catch_unwind)]
    pub fn hamiltonian(
        env: Env,
        network: &Field,
        structure: String,
        matrix: Unknown<'_>,
        points: u32,
        spacing: f64,
    ) -> Result<Field> {
        let structure = handles::structure(&structure, &JsSource(&matrix));
        let energy = handles::energy(points as usize);
        let system = network
            .0
            .read(|network| structure.and_then(|structure| network.hamiltonian(energy, structure, spacing)))?;
        Self::new(env, system, network.1.clone())
    }

    /// `[{ weight: { offset, shape }, … }]`, empty for a custom field.
    #[napi(getter, catch_unwind)]
    pub fn layers(&self, env: Env) -> Result<Vec<Object<'static>>> {
        let layers = self.1.as_ref().map(records::layers).unwrap_or_default();
        layers.into_iter().map(|layer| object(env, layer)).collect()
    }

    #[napi(getter, catch_unwind)]
    pub fn state_size(&self) -> Result<u32> {
        self.0.read(|field| field.state_size() as u32)
    }

    #[napi(getter, catch_unwind)]
    pub fn parameters_pointer(&self) -> Result<f64> {
        self.0.read(|field| address(&field.parameters()))
    }

    #[napi(getter, catch_unwind)]
    pub fn parameters_length(&self) -> Result<u32> {
        self.0.read(|field| field.parameters().len() as u32)
    }

    /// Trajectories of a leaf of an ensemble.
    #[napi(getter, catch_unwind)]
    pub fn leaf(&self) -> Result<u32> {
        self.0.read(|field| field.leaf() as u32)
    }

    /// The memory of the parameters, which stays for as long as this is in use, even if the field is freed.
    #[napi(catch_unwind)]
    pub fn memory(&self, env: Env) -> Result<ArrayBuffer<'static>> {
        let owner = self.0.share()?;
        self.0.read(|field| view(env, &field.parameters(), owner))?
    }

    /// Features of f(t, y).
    #[napi(getter, catch_unwind)]
    pub fn output_size(&self) -> Result<u32> {
        self.0.read(|field| field.output_size() as u32)
    }

    /// Arguments of each trajectory.
    #[napi(getter, catch_unwind)]
    pub fn argument_size(&self) -> Result<u32> {
        self.0.read(|field| field.argument_size() as u32)
    }

    /// f(t, y) at the given parameters, else the field's own.
    #[napi(catch_unwind)]
    pub fn evaluate(
        &self,
        env: Env,
        t: f64,
        y: Unknown<'_>,
        batch: u32,
        parameters: Unknown<'_>,
        arguments: Unknown<'_>,
    ) -> Result<NumbersHandle> {
        let (y, parameters, arguments) = (JsSource(&y), JsSource(&parameters), JsSource(&arguments));
        let (parameters, arguments) = (optional(&parameters), optional(&arguments));
        let at = Point { t, y: &y, batch: batch as usize, parameters, arguments };
        self.call(env, |field| field.evaluate(at)).map(NumbersHandle::new)
    }

    /// The transpose of f at (t, y).
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn vjp(
        &self,
        env: Env,
        t: f64,
        y: Unknown<'_>,
        w: Unknown<'_>,
        batch: u32,
        parameters: Unknown<'_>,
        arguments: Unknown<'_>,
    ) -> Result<FieldVjpHandle> {
        let (y, parameters, arguments) = (JsSource(&y), JsSource(&parameters), JsSource(&arguments));
        let (parameters, arguments) = (optional(&parameters), optional(&arguments));
        let at = Point { t, y: &y, batch: batch as usize, parameters, arguments };
        self.call(env, |field| field.vjp(at, &JsSource(&w))).map(FieldVjpHandle::new)
    }

    /// The solution at the times (a Float64Array), and the error if the solve failed on the way. `options` is an object by the
    /// names of the public API, `arguments` is `[batch, arguments]` or undefined; the norms of its steps may be shared with other
    /// parts of a batch.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn odeint(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
        all_reduce: Option<Object<'_>>,
    ) -> Result<SolutionHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, shared) = (entries(&options)?, shared(env, all_reduce)?);
        self.call(env, |field| field.odeint(start, options, shared)).map(SolutionHandle::new)
    }

    /// A solve that keeps what the gradient method needs; otherwise as `odeint`.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn record(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
        all_reduce: Option<Object<'_>>,
    ) -> Result<VjpHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, shared) = (entries(&options)?, shared(env, all_reduce)?);
        self.call(env, |field| field.record(start, options, shared)).map(VjpHandle::new)
    }

    /// Solves trajectories that each take their own steps. `plan` is JSON, which `EnsemblePlan::read` in `bindings/handles/ensembles.rs` documents, and
    /// `numbers` a Float64Array. Where `keep` is set, what their gradients need is kept.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn ensemble(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        plan: String,
        numbers: Unknown<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
        keep: bool,
    ) -> Result<EnsembleHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, numbers) = (entries(&options)?, JsSource(&numbers));
        let solved = self.call(env, |field| field.ensemble(start, (&plan, &numbers), options, keep));
        solved.map(EnsembleHandle::new)
    }

    /// An ensemble with its tangents along directions, as `jvp` takes them, in place of a state [x, ẋ_1, …]; kept for
    /// second derivatives where `keep` is set.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn ensemble_along(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        plan: String,
        numbers: Unknown<'_>,
        directions: u32,
        along: Object<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
        keep: bool,
    ) -> Result<EnsembleHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, along) = (entries(&options)?, Directions::of(&along)?);
        let solved = along.with(directions as usize, |along| {
            self.call(env, |field| field.ensemble_jvp(start, (&plan, &JsSource(&numbers)), along, options, keep))
        });
        solved.map(EnsembleHandle::new)
    }

    /// Trajectories that are taken on from call to call, by a plan as those of `ensemble`, without jumps.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn integrator(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        t: Unknown<'_>,
        plan: String,
        options: Object<'_>,
        arguments: Unknown<'_>,
    ) -> Result<IntegratorHandle> {
        let (y0, t, arguments) = (JsSource(&y0), JsSource(&t), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &t, arguments: optional(&arguments) };
        let options = entries(&options)?;
        self.call(env, |field| field.integrator(start, &plan, options)).map(IntegratorHandle::new)
    }

    /// The solution with its tangents along directions: `along` is an object of flat arrays `y0`, `parameters`, `arguments` and
    /// `times` (a Float64Array), each of all directions, or undefined.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn jvp(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        directions: u32,
        along: Object<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
    ) -> Result<JvpHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, along) = (entries(&options)?, Directions::of(&along)?);
        let jvp = along.with(directions as usize, |along| self.call(env, |field| field.jvp(start, along, options)));
        jvp.map(JvpHandle::new)
    }

    /// A solve with its derivative along one direction, without `times`, that keeps what second derivatives need.
    #[napi(catch_unwind)]
    #[allow(clippy::too_many_arguments)]
    pub fn record_tangent(
        &self,
        env: Env,
        y0: Unknown<'_>,
        batch: u32,
        times: Unknown<'_>,
        along: Object<'_>,
        options: Object<'_>,
        arguments: Unknown<'_>,
    ) -> Result<JvpVjpHandle> {
        let (y0, times, arguments) = (JsSource(&y0), JsSource(&times), JsSource(&arguments));
        let start = Start { y0: &y0, batch: batch as usize, times: &times, arguments: optional(&arguments) };
        let (options, along) = (entries(&options)?, Directions::of(&along)?);
        let recorded = along.with(1, |along| self.call(env, |field| field.record_tangent(start, along, options)));
        recorded.map(JvpVjpHandle::new)
    }

    /// What noise a flow draws: of which seed, and for samples from which on.
    #[napi(catch_unwind)]
    pub fn seed_noise(&self, env: Env, seed: f64, first_sample: u32) -> Result<()> {
        let seeded = self.0.change(|field| field.seed_noise(seed as u64, first_sample as usize))?;
        seeded.map_err(|error| thrown(env, error))
    }

    /// Sets noise that the caller drew, `[batch, features]`.
    #[napi(catch_unwind)]
    pub fn set_noise(&self, env: Env, noise: Unknown<'_>) -> Result<()> {
        self.0.change(|field| field.set_noise(&JsSource(&noise)))?.map_err(|error| thrown(env, error))
    }

    /// H of each sample at the given parameters, else the field's own.
    #[napi(catch_unwind)]
    pub fn energy(
        &self,
        env: Env,
        t: f64,
        y: Unknown<'_>,
        batch: u32,
        parameters: Unknown<'_>,
    ) -> Result<NumbersHandle> {
        let (y, parameters) = (JsSource(&y), JsSource(&parameters));
        self.call(env, |field| field.energy(t, &y, batch as usize, optional(&parameters))).map(NumbersHandle::new)
    }

    #[napi(catch_unwind)]
    pub fn free(&self) {
        self.0.free();
    }
}

/// Flat arrays of all directions, each of which may be undefined.
struct Directions<'a>([Unknown<'a>; 4]);

impl<'a> Directions<'a> {
    fn of(along: &Object<'a>) -> Result<Self> {
        let array = |name| along.get_named_property(name);
        Ok(Self([array("y0")?, array("parameters")?, array("arguments")?, array("times")?]))
    }

    fn with<R>(&self, directions: usize, body: impl FnOnce(TangentSources<'_>) -> R) -> R {
        let [y0, parameters, arguments, times] = [0, 1, 2, 3].map(|index| JsSource(&self.0[index]));
        body(TangentSources {
            directions,
            y0: optional(&y0),
            parameters: optional(&parameters),
            arguments: optional(&arguments),
            times: optional(&times),
        })
    }
}
