// Vector fields: the multilayer perceptron, and those written in JavaScript.
import type { Field as RustField } from "../wasm/bindings.js";
import { describe, refused, SymplecticAdjointError } from "./errors.js";
import { type ArrayOf, batchOf, checkArray, checkLength, copyOut, type Dtype, view } from "./memory.js";
import { checkNames, numberOption } from "./options.js";
import { call, type Instance, instance } from "./wasm.js";

/** Follows every layer of an mlp but the last; gelu is the exact one, elu has α = 1. */
export type Activation = "tanh" | "softplus" | "silu" | "relu" | "sigmoid" | "gelu" | "sin" | "elu" | "identity";

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
  readonly offset: number;
  readonly shape: readonly number[];
}

/** The arrays of a layer: `weight` is [out, in], with `concat` [out, 1 + in], time first; the others are [out]. */
export interface Layer {
  readonly weight: Entry;
  readonly bias?: Entry;
  readonly gateWeight?: Entry;
  readonly gateBias?: Entry;
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
  set parameters(values: ArrayOf<D>);
  /** Where each layer's arrays lie in `parameters`; empty for a custom field. */
  readonly layers: readonly Layer[];
  /** f(t, y) for y `[batch, state]`, row-major; at other parameters than the field's own if given. */
  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>): ArrayOf<D>;
  /** The transpose of f at (t, y) for a cotangent w shaped as f(t, y). */
  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>): FieldVjp<D>;
  /** Frees its memory; what was recorded with it stays valid. Harmless a second time. */
  dispose(): void;
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
  ): { y: ArrayOf<D>; parameters?: ArrayOf<D>; t?: number };
}

/** The one implementation of both kinds. */
class WasmField<D extends Dtype> implements Field<D> {
  #rust: RustField | undefined;
  readonly #wasm: Instance;

  constructor(
    wasm: Instance,
    rust: RustField,
    readonly dtype: D,
    readonly stateSize: number,
    readonly outputSize: number,
    readonly layers: readonly Layer[],
  ) {
    this.#wasm = wasm;
    this.#rust = rust;
  }

  get parameters(): ArrayOf<D> {
    const { rust, wasm } = this.use();
    return view(wasm, this.dtype, rust.parametersPointer, rust.parametersLength);
  }

  set parameters(values: ArrayOf<D>) {
    const own = this.parameters;
    checkArray("parameters", values, this.dtype);
    checkLength("parameters", values, own.length);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw refused("NON_FINITE", "parameters", "finite numbers", `${values[bad]} at index ${bad}`);
    own.set(values);
  }

  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>): ArrayOf<D> {
    const { rust, wasm } = this.use();
    const batch = this.#check(t, y, parameters);
    const result = call(wasm, () => rust.evaluate(t, y, batch, parameters));
    const slope = copyOut(wasm, this.dtype, result.pointer, result.length);
    result.free();
    return slope;
  }

  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>): FieldVjp<D> {
    const { rust, wasm } = this.use();
    const batch = this.#check(t, y, parameters);
    checkArray("w", w, this.dtype);
    checkLength("w", w, batch * this.outputSize, `[${batch}, ${this.outputSize}]`);
    const result = call(wasm, () => rust.vjp(t, y, w, batch, parameters));
    const pulled = {
      y: copyOut(wasm, this.dtype, result.y, y.length),
      parameters: copyOut(wasm, this.dtype, result.parameters, rust.parametersLength),
      t: result.t,
    };
    result.free();
    return pulled;
  }

  #check(t: unknown, y: ArrayOf<D>, parameters?: ArrayOf<D>): number {
    if (typeof t !== "number") throw refused("OPTION", "t", "a number", describe(t));
    checkArray("y", y, this.dtype);
    if (parameters !== undefined) checkArray("parameters", parameters, this.dtype);
    return batchOf("y", y, this.stateSize);
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
    if (!this.#wasm.lost) this.#rust?.free();
    this.#rust = undefined;
  }

  declare [Symbol.dispose]: () => void;
}

// Where the runtime knows the symbol; not every one does.
if (typeof Symbol.dispose === "symbol") {
  Object.defineProperty(WasmField.prototype, Symbol.dispose, { value: WasmField.prototype.dispose });
}

/** The WebAssembly side of a field. */
export function useField<D extends Dtype>(field: Field<D>): { rust: RustField; wasm: Instance } {
  if (!(field instanceof WasmField)) throw refused("OPTION", "field", "a field, from mlp or custom", describe(field));
  return field.use();
}

function checkDtype(dtype: unknown): void {
  if (dtype !== "float32" && dtype !== "float64") {
    throw refused("OPTION", "dtype", "float32 or float64", describe(dtype));
  }
}

function count(argument: string, value: unknown): number {
  const valid = (value: number) => Number.isInteger(value) && value >= 1 && value <= 0x7fff_ffff;
  return numberOption(argument, value, Number.NaN, "a positive integer", valid);
}

/** A multilayer perceptron. */
export function mlp<D extends Dtype = "float32">(options: MlpOptions<D>): Field<D> {
  checkNames(options, ["widths", "activation", "time", "bias", "dtype", "seed"]);
  const { widths, activation = "tanh", time = "none", bias = true, dtype = "float32" as D } = options;
  checkDtype(dtype);
  if (!Array.isArray(widths) || widths.length < 2) {
    throw refused("OPTION", "widths", "an array of at least two positive integers", describe(widths));
  }
  for (const [index, width] of widths.entries()) {
    if (width === undefined) throw refused("OPTION", `widths[${index}]`, "a positive integer", "undefined");
    count(`widths[${index}]`, width);
  }
  if (typeof bias !== "boolean") throw refused("OPTION", "bias", "true or false", describe(bias));
  const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const seed = numberOption("seed", options.seed, 0, "an integer, zero or more", natural);
  const wasm = instance();
  const sizes = Uint32Array.from(widths);
  const make = () => wasm.bindings.Field.mlp(dtype, sizes, String(activation), String(time), bias, seed);
  const rust = call(wasm, make);
  return new WasmField(wasm, rust, dtype, widths[0], widths[widths.length - 1], rust.layers as Layer[]);
}

/** A vector field written in JavaScript. */
export function custom<D extends Dtype = "float32">(options: CustomOptions<D>): Field<D> {
  checkNames(options, ["stateSize", "dtype", "parameters", "evaluate", "vjp"]);
  const { dtype = "float32" as D, evaluate, vjp } = options;
  checkDtype(dtype);
  const parameters =
    options.parameters ?? ((dtype === "float32" ? new Float32Array() : new Float64Array()) as ArrayOf<D>);
  checkArray("parameters", parameters, dtype);
  if (options.stateSize === undefined) throw refused("OPTION", "stateSize", "a positive integer", "undefined");
  const state = count("stateSize", options.stateSize);
  for (const [name, value] of Object.entries({ evaluate, vjp })) {
    if (typeof value !== "function") throw refused("OPTION", name, "a function", describe(value));
  }
  const wasm = instance();
  const size = parameters.length;
  const callbacks = {
    evaluate(t: number, y: number, batch: number, theta: number, target: number): boolean {
      return guarded(wasm, false, () => {
        const slope = evaluate(t, copyOut(wasm, dtype, y, batch * state), copyOut(wasm, dtype, theta, size));
        write(wasm, dtype, "evaluate's result", slope, target, batch * state);
        return true;
      });
    },
    vjp(t: number, y: number, w: number, batch: number, theta: number, target: number, gradient: number) {
      return guarded(wasm, null, () => {
        const copy = (pointer: number) => copyOut(wasm, dtype, pointer, batch * state);
        const pulled = vjp(t, copy(y), copy(w), copyOut(wasm, dtype, theta, size));
        if (
          pulled === null ||
          typeof pulled !== "object" ||
          typeof (pulled as { then?: unknown }).then === "function"
        ) {
          throw refused("CALLBACK", "vjp's result", "{ y, parameters, t? }, at once", describe(pulled));
        }
        write(wasm, dtype, "vjp's y", pulled.y, target, batch * state);
        if (size > 0 || pulled.parameters !== undefined) {
          write(wasm, dtype, "vjp's parameters", pulled.parameters, gradient, size);
        }
        if (pulled.t !== undefined && typeof pulled.t !== "number") {
          throw refused("CALLBACK", "vjp's t", "a number or nothing", describe(pulled.t));
        }
        return pulled.t;
      });
    },
  };
  const rust = call(wasm, () => wasm.bindings.Field.custom(dtype, state, parameters, callbacks));
  return new WasmField(wasm, rust, dtype, state, state, []);
}

/** Runs a user's function inside a solve: what it throws waits until the solver has returned. */
function guarded<R>(wasm: Instance, failed: R, body: () => R): R {
  wasm.callbacks++;
  try {
    return body();
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
    checkArray(what, result, dtype);
    checkLength(what, result, length);
  } catch (error) {
    const { message, argument, expected, given } = error as SymplecticAdjointError;
    const details = { argument: argument ?? what, expected: expected ?? "", given: given ?? "" };
    throw new SymplecticAdjointError("CALLBACK", message, details);
  }
  view(wasm, dtype, pointer, length).set(result);
}

/** Refuses to go on inside a custom vector field. */
export function refuseInside(wasm: Instance, what: string): void {
  if (wasm.callbacks === 0) return;
  const message = `${what} inside a custom vector field: only evaluate and vjp of fields may be called there`;
  throw new SymplecticAdjointError("REENTRANT", message);
}
