// Vector fields: the multilayer perceptron, and those written in JavaScript.
import type { Field as RustField } from "../wasm/bindings.js";
import * as alive from "./alive.js";
import { describe, refused, SymplecticAdjointError } from "./errors.js";
import { fix, frozen } from "./frozen.js";
import {
  type ArrayOf,
  arrayOf,
  batchOf,
  checkLength,
  constructors,
  copyOf,
  copyOut,
  type Dtype,
  steady,
  view,
} from "./memory.js";
import { checkNames, numberOption } from "./options.js";
import { needStack } from "./stack.js";
import { call, type Instance, instance, needRoom, outside, release } from "./wasm.js";

/** Follows every layer of an mlp but the last; gelu is the exact one, elu has α = 1. */
export type Activation = "tanh" | "softplus" | "silu" | "relu" | "sigmoid" | "gelu" | "sin" | "elu" | "identity";

/** A multilayer perceptron, to be a vector field or a part of one. */
export interface MlpOptions<D extends Dtype = "float32"> {
  /** Features of the input, of every hidden layer, and of the output: as many as of the input for a vector field. */
  widths: readonly number[];
  /** Default `tanh`. */
  activation?: Activation;
  /**
   * How the time enters. `none` (default); `concat`: before the first column of every layer's input; `concatsquash`: a
   * layer is (W x + b) · sigmoid(gateWeight·t + gateBias) + hyperBias·t.
   */
  time?: "none" | "concat" | "concatsquash";
  /** Whether layers have a bias; default true. */
  bias?: boolean;
  /** Default `float32`. */
  dtype?: D;
  /**
   * Of the initial parameters: weights uniform in ±√(6 / (fan_in + fan_out)) (Glorot), or ±√(6 / fan_in) (He) before
   * relu, elu, silu and gelu; gateWeight and hyperBias uniform in ±1; biases zero. Default 0.
   */
  seed?: number;
}

/** Where an array lies in the flat parameters, and in their gradient. */
export interface Entry {
  /** Index of its first number. */
  readonly offset: number;
  /** Row-major; its product is how many numbers there are. */
  readonly shape: readonly number[];
}

/** The arrays of a layer. */
export interface Layer {
  /** `[out, in]`; with `concat` `[out, 1 + in]`, time first. */
  readonly weight: Entry;
  /** `[out]`, unless the network has no biases. */
  readonly bias?: Entry;
  /** `[out]`, with `concatsquash`: what t is multiplied by inside the gate. */
  readonly gateWeight?: Entry;
  /** `[out]`, with `concatsquash`: what is added to it there. */
  readonly gateBias?: Entry;
  /** `[out]`, with `concatsquash`: what t is multiplied by and added to the output. */
  readonly hyperBias?: Entry;
}

/** What the transpose of a field gives. */
export interface FieldVjp<D extends Dtype> {
  /** (∂f/∂y)ᵀ w, `[batch, state]`. */
  y: ArrayOf<D>;
  /** (∂f/∂θ)ᵀ w. */
  parameters: ArrayOf<D>;
  /** (∂f/∂t)ᵀ w; undefined where a custom field does not tell it. */
  t: number | undefined;
}

/** A vector field f(t, y, θ) with its parameters, which live in WebAssembly memory until it is disposed. */
export interface Field<D extends Dtype = Dtype> {
  /** The number type of its arrays. */
  readonly dtype: D;
  /** Features of the state. */
  readonly stateSize: number;
  /** Features of f(t, y): those of the state, but for a network that is only a part of a vector field. */
  readonly outputSize: number;
  /**
   * All parameters, flat: a live view of WebAssembly memory. Take it anew after any other call, since memory may grow;
   * assign an array to set all of them.
   */
  get parameters(): ArrayOf<D>;
  /** Copies as many finite numbers in. */
  set parameters(values: ArrayOf<D>);
  /** Where each layer's arrays lie in `parameters`; empty for a custom field. */
  readonly layers: readonly Layer[];
  /** f(t, y) for y `[batch, state]`, row-major; at other parameters than the field's own if given. */
  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>): ArrayOf<D>;
  /** The transpose of f at (t, y) for a cotangent w shaped as f(t, y). */
  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>): FieldVjp<D>;
  /** Frees its memory; what was recorded with it stays valid. Harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** What a custom vector field is made of. Its functions get copies of their own, and return typed arrays of `dtype`. */
export interface CustomOptions<D extends Dtype = "float32"> {
  /** Features of the state. */
  stateSize: number;
  /** Default `float32`. */
  dtype?: D;
  /** Initial parameters, flat; none by default. */
  parameters?: ArrayOf<D>;
  /** f(t, y, θ) for the whole batch, `[batch, state]` row-major in and out. */
  evaluate(t: number, y: ArrayOf<D>, parameters: ArrayOf<D>): ArrayOf<D>;
  /**
   * Its transpose, for w shaped as y; `parameters` may be left out where there are none, and without `t` = (∂f/∂t)ᵀ w
   * there are no gradients of times.
   */
  vjp(
    t: number,
    y: ArrayOf<D>,
    w: ArrayOf<D>,
    parameters: ArrayOf<D>,
  ): {
    /** (∂f/∂y)ᵀ w, `[batch, state]`. */
    y: ArrayOf<D>;
    /** (∂f/∂θ)ᵀ w, summed over the batch. */
    parameters?: ArrayOf<D> | undefined;
    /** (∂f/∂t)ᵀ w, summed over the batch. */
    t?: number | undefined;
  };
}

/** What another thread makes the same field of, but for the values of its parameters. */
export type Recipe =
  | { readonly kind: "mlp"; readonly options: MlpOptions<Dtype> }
  | { readonly kind: "cnf"; readonly network: MlpOptions<Dtype>; readonly options: CnfRecipe }
  | { readonly kind: "hamiltonian"; readonly network: MlpOptions<Dtype>; readonly options: HamiltonianRecipe };

/** The noise of a flow, drawn by a seed or given for a batch. */
export type Noise<D extends Dtype> = { readonly seed: number } | { readonly values: ArrayOf<D> };

/** What a flow is beside its network; the noise comes with each solve. */
export interface CnfRecipe {
  readonly trace: "exact" | "hutchinson";
  readonly noise: "rademacher" | "gaussian";
  readonly kinetic: boolean;
  readonly jacobian: boolean;
}

/** What a system is beside its network; `points` is 0 where the energy is of the whole state. */
export interface HamiltonianRecipe {
  readonly structure: string;
  readonly matrix: readonly number[];
  readonly points: number;
  readonly spacing: number;
}

/** A view of a field's parameters keeps the field from being collected. */
const owners = new WeakMap<object, unknown>();

/** The one implementation of both kinds. */
export class WasmField<D extends Dtype> implements Field<D> {
  #rust: RustField | undefined;
  readonly #wasm: Instance;

  constructor(
    wasm: Instance,
    rust: RustField,
    readonly dtype: D,
    readonly stateSize: number,
    readonly outputSize: number,
    readonly layers: readonly Layer[],
    /** None for a field of the user's own functions. */
    readonly recipe?: Recipe,
  ) {
    this.#wasm = wasm;
    this.#rust = rust;
    alive.fields.add(this, rust.parametersLength * constructors[dtype].BYTES_PER_ELEMENT);
    frozen([layers, recipe]);
    fix(this, ["dtype", "stateSize", "outputSize", "layers", "recipe"]);
  }

  get parameters(): ArrayOf<D> {
    const { rust, wasm } = this.use();
    needStack();
    const parameters = view(wasm, this.dtype, rust.parametersPointer, rust.parametersLength);
    owners.set(parameters, this);
    return parameters;
  }

  set parameters(values: ArrayOf<D>) {
    const given = arrayOf("parameters", values, this.dtype);
    const own = this.parameters;
    checkLength("parameters", given, own.length);
    const bad = given.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw refused("NON_FINITE", "parameters", "finite numbers", `${given[bad]} at index ${bad}`);
    own.set(given);
  }

  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>): ArrayOf<D> {
    const { rust, wasm, state, theta, batch } = this.#check(t, y, parameters);
    const result = call(wasm, () => rust.evaluate(t, state, batch, theta));
    try {
      return copyOut(wasm, this.dtype, result.pointer, result.length);
    } finally {
      release(wasm, result);
    }
  }

  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>): FieldVjp<D> {
    const { rust, wasm, state, theta, batch } = this.#check(t, y, parameters);
    const cotangent = steady(wasm, arrayOf("w", w, this.dtype));
    checkLength("w", cotangent, batch * this.outputSize, `[${batch}, ${this.outputSize}]`);
    // Its own functions may dispose of the field.
    const [size, result] = call(wasm, () => [rust.parametersLength, rust.vjp(t, state, cotangent, batch, theta)]);
    try {
      return {
        y: copyOut(wasm, this.dtype, result.y, state.length),
        parameters: copyOut(wasm, this.dtype, result.parameters, size),
        t: result.t,
      };
    } finally {
      release(wasm, result);
    }
  }

  #check(t: unknown, y: unknown, parameters: unknown) {
    const { rust, wasm } = this.use();
    if (typeof t !== "number") throw refused("OPTION", "t", "a number", describe(t));
    const state = steady(wasm, arrayOf("y", y, this.dtype));
    const theta = parameters === undefined ? undefined : steady(wasm, arrayOf("parameters", parameters, this.dtype));
    return { rust, wasm, state, theta, batch: batchOf("y", state, this.stateSize) };
  }

  /** The noise of a flow: the seed that it is drawn by, or the caller's. */
  noise(): Noise<D> | undefined {
    return undefined;
  }

  /** What the other parts of the package need of a field. */
  use(): { rust: RustField; wasm: Instance } {
    if (!this.#rust) throw new SymplecticAdjointError("DISPOSED", "the field has been disposed");
    if (this.#wasm.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the field was lost by a fault inside the package; make a new one");
    }
    return { rust: this.#rust, wasm: this.#wasm };
  }

  dispose(): void {
    needStack();
    const rust = this.#rust;
    this.#rust = undefined;
    alive.fields.remove(this);
    release(this.#wasm, rust);
  }

  /** Whether it is one of ours itself, and not a proxy of one or an object made from one. */
  static is(value: unknown): value is WasmField<Dtype> {
    return value !== null && typeof value === "object" && #rust in value;
  }

  declare [Symbol.dispose]: () => void;
}

// Where the runtime knows the symbol; not every one does.
if (typeof Symbol.dispose === "symbol") {
  Object.defineProperty(WasmField.prototype, Symbol.dispose, { value: WasmField.prototype.dispose });
}

/** The WebAssembly side of a field. */
export function useField<D extends Dtype>(
  field: Field<D>,
): { rust: RustField; wasm: Instance; recipe: Recipe | undefined; noise: Noise<Dtype> | undefined } {
  if (!WasmField.is(field)) throw refused("OPTION", "field", "a field, from mlp or custom", describe(field));
  return { ...field.use(), recipe: field.recipe, noise: field.noise() };
}

/** A positive integer. */
export function size(argument: string, value: unknown): number {
  const valid = (value: number) => Number.isInteger(value) && value >= 1 && value <= 0x7fff_ffff;
  if (value === undefined) throw refused("OPTION", argument, "a positive integer", "undefined");
  return numberOption(argument, value, Number.NaN, "a positive integer", valid);
}

/** One of some names. */
export function choice<T extends string>(argument: string, value: T, names: readonly T[]): T {
  if (!names.includes(value)) throw refused("OPTION", argument, names.join(", "), describe(value));
  return value;
}

/** More than Rust takes for a layer, its parameters not counted. */
const LAYER_BYTES = 2048;

export const DTYPES: readonly Dtype[] = ["float32", "float64"];
const TIMES = ["none", "concat", "concatsquash"] as const;
const ACTIVATIONS: readonly Activation[] = [
  ...(["tanh", "softplus", "silu", "relu", "sigmoid", "gelu", "sin", "elu", "identity"] as const),
];

/**
 * A multilayer perceptron: layers W x + b, each but the last followed by the activation.
 *
 * @throws `OPTION`; `OUT_OF_MEMORY`; `UNSUPPORTED` where WebAssembly cannot be had.
 */
export function mlp<D extends Dtype = "float32">(options: MlpOptions<D>): Field<D> {
  checkNames(options, ["widths", "activation", "time", "bias", "dtype", "seed"]);
  const { widths, activation = "tanh", time = "none", bias = true, dtype = "float32" as D, seed } = options;
  for (const [name, value, names] of [
    ["dtype", dtype, DTYPES],
    ["activation", activation, ACTIVATIONS],
    ["time", time, TIMES],
  ] as const) {
    choice<string>(name, value, names);
  }
  const expected = "an array of at least two positive integers";
  if (!Array.isArray(widths) || widths.length < 2) throw refused("OPTION", "widths", expected, describe(widths));
  const numbers = copyOf("widths", widths, ["OPTION", expected], (width, index) => size(`widths[${index}]`, width));
  const sizes = Uint32Array.from(numbers);
  if (typeof bias !== "boolean") throw refused("OPTION", "bias", "true or false", describe(bias));
  const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const start = numberOption("seed", seed, 0, "an integer, zero or more", natural);
  const wasm = instance();
  needRoom(wasm, LAYER_BYTES * sizes.length, "the layers");
  const rust = call(wasm, () => wasm.bindings.Field.mlp(dtype, sizes, activation, time, bias, start));
  const [inputs = 0, outputs = 0] = [sizes.at(0), sizes.at(-1)];
  const recipe = { kind: "mlp", options: { widths: [...sizes], activation, time, bias, dtype } } as const;
  return new WasmField(wasm, rust, dtype, inputs, outputs, rust.layers as Layer[], recipe);
}

/**
 * A vector field written in JavaScript. Its functions are called during solves, on the calling thread, and may call
 * `evaluate` and `vjp` of other fields.
 *
 * @throws `OPTION`, `DTYPE`, `NON_FINITE`; in a solve `CALLBACK` for what its functions must not return.
 */
export function custom<D extends Dtype = "float32">(options: CustomOptions<D>): Field<D> {
  checkNames(options, ["stateSize", "dtype", "parameters", "evaluate", "vjp"]);
  const { wasm, rust, dtype, stateSize } = customField(options);
  return new WasmField(wasm, rust, dtype, stateSize, stateSize, []);
}

/** The WebAssembly side of a field written in JavaScript. */
export function customField<D extends Dtype>(options: CustomOptions<D>) {
  const { dtype = "float32" as D, evaluate, vjp, stateSize } = options;
  choice<string>("dtype", dtype, DTYPES);
  const { parameters = dtype === "float32" ? new Float32Array() : new Float64Array() } = options;
  const state = size("stateSize", stateSize);
  for (const [name, value] of Object.entries({ evaluate, vjp })) {
    if (typeof value !== "function") throw refused("OPTION", name, "a function", describe(value));
  }
  const wasm = instance();
  const initial = steady(wasm, arrayOf("parameters", parameters, dtype));
  const length = initial.length;
  const callbacks = {
    evaluate(t: number, y: number, batch: number, theta: number, target: number): boolean {
      return guarded(wasm, false, () => {
        const slope = evaluate(t, copyOut(wasm, dtype, y, batch * state), copyOut(wasm, dtype, theta, length));
        write(wasm, dtype, "evaluate's result", slope, target, batch * state);
        return true;
      });
    },
    vjp(t: number, y: number, w: number, batch: number, theta: number, target: number, gradient: number) {
      return guarded(wasm, null, () => {
        const copy = (pointer: number) => copyOut(wasm, dtype, pointer, batch * state);
        const pulled = vjp(t, copy(y), copy(w), copyOut(wasm, dtype, theta, length));
        if (
          pulled === null ||
          typeof pulled !== "object" ||
          typeof (pulled as { then?: unknown }).then === "function"
        ) {
          throw refused("CALLBACK", "vjp's result", "{ y, parameters, t? }, at once", describe(pulled));
        }
        write(wasm, dtype, "vjp's y", pulled.y, target, batch * state);
        if (length > 0 || pulled.parameters !== undefined) {
          write(wasm, dtype, "vjp's parameters", pulled.parameters, gradient, length);
        }
        if (pulled.t !== undefined && typeof pulled.t !== "number") {
          throw refused("CALLBACK", "vjp's t", "a number or nothing", describe(pulled.t));
        }
        return pulled.t;
      });
    },
  };
  const rust = call(wasm, () => wasm.bindings.Field.custom(dtype, state, initial, callbacks));
  return { wasm, rust, dtype, stateSize: state };
}

/** Runs a user's function inside a solve: what it throws waits until the solver has returned. */
function guarded<R>(wasm: Instance, failed: R, body: () => R): R {
  wasm.callbacks++;
  try {
    return outside(body);
  } catch (value) {
    wasm.thrown = { value };
    return failed;
  } finally {
    wasm.callbacks--;
  }
}

function write<D extends Dtype>(
  wasm: Instance,
  dtype: D,
  what: string,
  result: unknown,
  pointer: number,
  length: number,
): void {
  try {
    const numbers = arrayOf(what, result, dtype);
    checkLength(what, numbers, length);
    view(wasm, dtype, pointer, length).set(numbers);
  } catch (error) {
    const { message, argument, expected, given } = error as SymplecticAdjointError;
    const details = { argument: argument ?? what, expected: expected ?? "", given: given ?? "" };
    throw new SymplecticAdjointError("CALLBACK", message, details);
  }
}

/** Refuses to go on inside a custom vector field. */
export function refuseInside(wasm: Instance, what: string): void {
  if (wasm.callbacks === 0) return;
  const message = `${what} inside a custom vector field: only evaluate and vjp of fields may be called there`;
  throw new SymplecticAdjointError("REENTRANT", message);
}
