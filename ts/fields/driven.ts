// Fields with an input beside them: a force, a voltage, a control.

import type { Field as RustField } from "../../wasm/bindings.js";
import { type ArrayOf, type Dtype, numbersOf } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { anything, argument, callable, object, options, required } from "../checks/rules.js";
import type { Instance } from "../engine/engine.js";
import { matrixNumbers } from "../trace/nested.js";
import { customField } from "./custom.js";
import { type Field, WasmField, wasmField } from "./field.js";
import type { HamiltonianField } from "./hamiltonian.js";

/** An input, and where it acts. */
export interface DrivenOptions {
  /** The matrix B through which the input acts on the state, `[state, inputs]`, row-major or as an array of rows. */
  B: ArrayLike<number> | readonly ArrayLike<number>[];
  /** The input u(t): returns `inputs` numbers for the whole batch, or `[batch, inputs]`. */
  u: (t: number) => ArrayLike<number>;
  /** The derivative du/dt of the input, shaped as `u`; without it there are no gradients with respect to times. */
  du?: ((t: number) => ArrayLike<number>) | undefined;
}

const rules = {
  B: anything<unknown>(),
  u: required(callable<DrivenOptions["u"]>("a function of t")),
  du: callable<NonNullable<DrivenOptions["du"]>>("a function of t"),
};

/** A field with an input. */
class Driven<D extends Dtype> extends WasmField<D> {
  override get kind(): string {
    return "driven";
  }

  override get unsavable(): string {
    return "a driven field, whose input is a function that stays here";
  }
}

/** A field with an input that also has the energy of its system, with its own copy of the parameters. */
class DrivenHamiltonian<D extends Dtype> extends Driven<D> implements HamiltonianField<D> {
  readonly #field: HamiltonianField<D>;

  constructor(engine: Instance, rust: RustField, field: HamiltonianField<D>) {
    super(engine, rust, field.dtype, field.stateSize, field.outputSize, field.layers);
    this.#field = field;
  }

  energy(y: ArrayOf<D>, t = 0, parameters: ArrayOf<D> = this.copyParameters()): ArrayOf<D> {
    return this.#field.energy(y, t, parameters);
  }
}

/**
 * A field with an input: f(t, y, θ) + B u(t). With a Hamiltonian field, it is the port-Hamiltonian system (J − R) ∇H + B u. The parameters
 * of `field` are copied once. Keep `field` as long as the result, and dispose of it afterwards.
 */
export function driven<D extends Dtype>(field: HamiltonianField<D>, input: DrivenOptions): HamiltonianField<D>;
export function driven<D extends Dtype>(field: Field<D>, input: DrivenOptions): Field<D>;
export function driven<D extends Dtype>(field: Field<D>, input: DrivenOptions): Field<D> {
  const wasm = wasmField(field);
  const { stateSize, outputSize, dtype } = wasm;
  if (outputSize !== stateSize) {
    throw refused("OPTION", "field", `as many outputs as inputs, ${stateSize}`, String(outputSize));
  }
  if (wasm.argumentSize > 0) throw refused("OPTION", "field", "a field without arguments", "one with arguments");
  const { u, du, B: matrix } = options(input, rules);
  const { flat: B, rows } = matrixNumbers("B", matrix);
  if (B.length === 0 || B.length % stateSize !== 0 || (rows ?? stateSize) !== stateSize) {
    const shape = rows === undefined ? String(B.length) : `[${rows}, ${B.length / rows}]`;
    throw refused("SHAPE", "B", `[${stateSize}, inputs] numbers, a multiple of ${stateSize}`, shape);
  }
  const { engine, rust } = customField<D>({
    stateSize,
    dtype,
    parameters: wasm.copyParameters(),
    evaluate(t, y, parameters, first) {
      checkNoise(wasm, first);
      const slope = field.evaluate(t, y, parameters);
      const force = forceOf("u", u(t), B, slope.length / stateSize, stateSize, first);
      for (let i = 0; i < slope.length; i++) (slope[i] as number) += force[i] as number;
      return slope;
    },
    vjp(t, y, w, parameters, first) {
      checkNoise(wasm, first);
      const pulled = field.vjp(t, y, w, parameters);
      if (du === undefined || pulled.t === undefined) return { y: pulled.y, parameters: pulled.parameters };
      const rate = forceOf("du", du(t), B, w.length / stateSize, stateSize, first);
      let time = pulled.t;
      for (let i = 0; i < w.length; i++) time += (w[i] as number) * (rate[i] as number);
      return { y: pulled.y, parameters: pulled.parameters, t: time };
    },
  });
  const made =
    "energy" in field
      ? new DrivenHamiltonian(engine, rust, field as HamiltonianField<D>)
      : new Driven(engine, rust, dtype, stateSize, stateSize, field.layers);
  return Object.preventExtensions(made);
}

/** Refuses a flow with noise of each sample's own, which the flow itself would take for its first sample. */
function checkNoise(field: WasmField<Dtype>, first: number): void {
  const { kind, options } = field.recipe ?? { kind: "custom", options: {} };
  if (first === 0 || kind !== "cnf" || (options as { trace?: string }).trace !== "hutchinson") return;
  const expected = "together, for a driven flow with Hutchinson's trace";
  throw refused("OPTION", "batching", expected, "independent");
}

/** B u of trajectories from `first` on, `[batch, state]`. */
function forceOf(
  name: string,
  result: unknown,
  B: Float64Array,
  batch: number,
  stateSize: number,
  first: number,
): Float64Array {
  const inputs = B.length / stateSize;
  const expected = `an array of ${inputs} number${inputs === 1 ? "" : "s"}, for the whole batch, or of [batch, ${inputs}]`;
  const u = numbersOf(
    `${name}'s result`,
    argument(`${name}'s result`, result, required({ ...object, expected, code: "CALLBACK" })),
  );
  // Of one trajectory by itself, u may be that of the whole batch.
  const fits = batch > 1 ? u.length === batch * inputs : u.length % inputs === 0 && u.length >= (first + 1) * inputs;
  if (u.length !== inputs && !fits) throw refused("CALLBACK", `${name}'s result`, expected, String(u.length));
  const force = new Float64Array(batch * stateSize);
  for (let sample = 0; sample < batch; sample++) {
    const at = u.length === inputs ? 0 : (first + sample) * inputs;
    for (let row = 0; row < stateSize; row++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += (B[row * inputs + i] as number) * (u[at + i] as number);
      force[sample * stateSize + row] = sum;
    }
  }
  return force;
}
