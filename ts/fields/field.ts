// The types of vector fields, and their one implementation, on top of the engine.
import type { Field as RustField } from "../../wasm/bindings.js";
import {
  type ArrayOf,
  arrayOf,
  batchOf,
  checkFinite,
  checkLength,
  constructors,
  type Dtype,
} from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import { anyNumber, argument, hinted, isObject, type Rules, required, rule } from "../checks/rules.js";
import { call, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { fields } from "../engine/live-objects.js";
import type { Entry } from "../trace/program.js";
import { totalOf, type Widths } from "./packed.js";

/** Where the arrays of a layer lie in `field.parameters`. */
export interface LayerEntries {
  /** The weight matrix, `[out, in]`, row-major; with `time: "concat"`, `[out, 1 + in]` with the column of the time first. */
  readonly weight: Entry;
  /** The bias, `[out]`; undefined if the network has no biases. */
  readonly bias?: Entry;
  /** The factor of the time inside the gate, `[out]`; for networks with `time: "concatsquash"`. */
  readonly gateWeight?: Entry;
  /** The bias that is added to gateWeight · t inside the gate, `[out]`; for networks with `time: "concatsquash"`. */
  readonly gateBias?: Entry;
  /** The factor of the time in a term that is added to the layer's output, `[out]`; for networks with `time: "concatsquash"`. */
  readonly hyperBias?: Entry;
}

/** What `field.vjp` gives: the derivatives of f(t, y, θ), transposed and multiplied by a cotangent w. */
export interface FieldVjp<D extends Dtype, A extends string = string> {
  /** (∂f/∂y)ᵀ w, the derivative with respect to the state, `[batch, state]`. */
  y: ArrayOf<D>;
  /** (∂f/∂θ)ᵀ w, the derivative with respect to the parameters, summed over the batch; of the layout of `field.parameters`. */
  parameters: ArrayOf<D>;
  /** (∂f/∂a)ᵀ w for each argument a, by name, shaped as the arguments were given; empty for a field without arguments. */
  // Conditional, so that names are not inferred from it: of fields that know theirs and fields that do not, together, none would be left.
  arguments: [A] extends [infer Names extends string] ? { readonly [Name in Names]: ArrayOf<D> } : never;
  /** (∂f/∂t)ᵀ w, the derivative with respect to the time, summed over the batch; undefined if a custom field does not give it. */
  t: number | undefined;
}

/** The values of a field's arguments, by name: a number or a vector for each trajectory, one after the other. */
export type ArgumentArrays<A extends string = string> = Readonly<Record<A, ArrayLike<number>>>;

/** The names of states and parameters in the type of a field. */
export interface FieldNames {
  /** The names of the state's features, or `never` if only their number is given. */
  readonly states: string;
  /** The parameters by their names, as `vectorField` was given them. */
  // biome-ignore lint/suspicious/noExplicitAny: any names.
  readonly parameters: any;
}

/** The names of one field: of its state's features, and its parameters. */
export interface NamesOf<S extends string, P> extends FieldNames {
  /** The names of the state's features, or `never` if only their number is given. */
  readonly states: S;
  /** The parameters by their names, as `vectorField` was given them. */
  readonly parameters: P;
}

/**
 * A vector field f(t, y, θ) with its parameters, which live in the engine's memory until it is disposed. `A` is the names of its arguments,
 * or `string` if they are unknown or there are none. `N` is the names of its states and parameters.
 */
export interface Field<D extends Dtype = Dtype, A extends string = string, N extends FieldNames = FieldNames> {
  /** For TypeScript only: at run time there is no such property. */
  readonly "~names"?: N;
  /** The number type of all arrays that the field takes and returns. */
  readonly dtype: D;
  /** The number of features of the state. */
  readonly stateSize: number;
  /** The number of features of f(t, y): that of the state, except for a network that is only a part of a vector field. */
  readonly outputSize: number;
  /** The names of the arguments, whose values differ between trajectories; empty if the field has none. */
  readonly argumentNames: readonly A[];
  /**
   * All parameters, flat: a live view of the engine's memory. Read it again after any other call, since WebAssembly memory may grow;
   * assign an array to set all of them.
   */
  get parameters(): ArrayOf<D>;
  /** Sets all parameters, to a copy of an array of the same length with finite numbers. */
  set parameters(values: ArrayOf<D>);
  /** Where each layer's arrays lie in `parameters`; empty if the field is not a network. */
  readonly layers: readonly LayerEntries[];
  /**
   * Evaluates f(t, y) for y `[batch, state]`, row-major, with `parameters` instead of the field's own if given. A field with arguments
   * needs `args`, those of each sample.
   */
  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>, args?: ArgumentArrays<A>): ArrayOf<D>;
  /** The derivatives of f at (t, y), transposed and multiplied by a cotangent w shaped as f(t, y); otherwise as `evaluate`. */
  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>, args?: ArgumentArrays<A>): FieldVjp<D, A>;
  /** Frees the field's memory; what was recorded with it stays valid, and a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/** The names in the type of a field; for a union of fields, the names of any of them. */
export type NamesOfField<F> =
  F extends Pick<Field<Dtype, string, infer N extends FieldNames>, "~names"> ? N : FieldNames;

/** A description from which another thread or the reader of a file makes the same field, without its parameters and its state. */
export interface Recipe {
  /** In the registry. */
  readonly kind: string;
  /** Plain data. */
  readonly options: object;
  /** Of a field with a network inside: the options of that network. */
  readonly network?: object;
}

/** The state of a field, which it has besides its parameters: numbers, and arrays with a row for each sample of a batch. */
export interface FieldState {
  readonly numbers: Readonly<Record<string, number>>;
  readonly arrays: Readonly<Record<string, ArrayOf<Dtype>>>;
}

/** The names of a field's state, and how many numbers of an array a sample has. */
export interface StateNames {
  readonly numbers: readonly string[];
  readonly arrays: Readonly<Record<string, number>>;
}

const NO_NAMES: readonly string[] = Object.freeze([]);
const NONE = { numbers: [], arrays: {} };

/** A kind of field in the registry. */
export interface FieldKind {
  /** The rules of a recipe's options. */
  readonly rules: Rules;
  /** The field of a recipe that follows them. */
  make(recipe: Recipe): WasmField<Dtype>;
}

/** A view of a field's parameters keeps the field from being collected. */
const owners = new WeakMap<object, unknown>();

/** Refuses a view of a field's parameters: what changes them has to know the field. */
export function checkNotParameters(name: string, array: object): void {
  if (owners.has(array)) throw refused("OPTION", name, "the field itself", "a view of its parameters");
}

/** A field whose parameters and functions are the engine's. */
export class WasmField<D extends Dtype> implements Field<D> {
  #rust: RustField | undefined;
  readonly #engine: Instance;

  constructor(
    engine: Instance,
    rust: RustField,
    readonly dtype: D,
    readonly stateSize: number,
    readonly outputSize: number,
    readonly layers: readonly LayerEntries[],
    /** None for a field of the user's own functions. */
    readonly recipe?: Recipe,
  ) {
    disposable(WasmField.prototype, WasmField.prototype.dispose);
    this.#engine = engine;
    this.#rust = rust;
    fields.add(this, rust.parametersLength * constructors[dtype].BYTES_PER_ELEMENT);
    frozen([layers, recipe]);
    fix(this, ["dtype", "stateSize", "outputSize", "layers", "recipe"]);
  }

  get parameters(): ArrayOf<D> {
    const { rust, engine } = useField(this, "this");
    engine.needStack();
    const parameters = engine.view(this.dtype, rust, rust.parametersPointer, rust.parametersLength);
    owners.set(parameters, this);
    return parameters;
  }

  set parameters(values: ArrayOf<D>) {
    const { rust, engine } = useField(this, "this");
    engine.needStack();
    const given = arrayOf("parameters", values, this.dtype);
    checkLength("parameters", given, rust.parametersLength);
    checkFinite("parameters", given);
    engine.write(this.dtype, rust.parametersPointer, given);
  }

  /** The number of parameters. */
  get parameterCount(): number {
    const { rust, engine } = useField(this, "this");
    engine.needStack();
    return rust.parametersLength;
  }

  /** A copy of the parameters for the caller: with the native engine, a view would keep their memory until it is collected. */
  copyParameters(): ArrayOf<D> {
    const { rust, engine } = useField(this, "this");
    engine.needStack();
    return engine.read(this.dtype, rust.parametersPointer, rust.parametersLength);
  }

  evaluate(t: number, y: ArrayOf<D>, parameters?: ArrayOf<D>, args?: ArgumentArrays): ArrayOf<D> {
    const { engine, time, state, theta, batch } = argumentsOf(this, t, y, parameters);
    const packedArguments = this.packArguments(args, batch);
    // Whoever gives the arguments may have disposed of the field.
    const { rust } = this.use();
    const result = call(engine, () => rust.evaluate(time, state, batch, theta, packedArguments));
    try {
      return engine.read(this.dtype, result.pointer, result.length);
    } finally {
      release(engine, result);
    }
  }

  vjp(t: number, y: ArrayOf<D>, w: ArrayOf<D>, parameters?: ArrayOf<D>, args?: ArgumentArrays): FieldVjp<D> {
    const { engine, time, state, theta, batch } = argumentsOf(this, t, y, parameters);
    const packedArguments = this.packArguments(args, batch);
    const { rust } = this.use();
    const cotangent = engine.steady(arrayOf("w", w, this.dtype));
    checkLength("w", cotangent, batch * this.outputSize, `[${batch}, ${this.outputSize}]`);
    // Its own functions may dispose of the field.
    const [size, result] = call(engine, () => [
      rust.parametersLength,
      rust.vjp(time, state, cotangent, batch, theta, packedArguments),
    ]);
    try {
      return {
        y: engine.read(this.dtype, result.y, state.length),
        parameters: engine.read(this.dtype, result.parameters, size),
        arguments: this.copyArguments(engine, result.arguments, batch),
        t: result.t,
      };
    } finally {
      release(engine, result);
    }
  }

  /** The arguments of a batch as the crate takes them, checked; none for a field without. */
  packArguments(given: unknown, _batch: number, where = "arguments"): ArrayOf<D> | undefined {
    if (given === undefined) return undefined;
    throw refused("OPTION", where, "no value for a field without arguments", describe(given));
  }

  /** The arguments of a batch by name, from the crate's flat array. */
  nameArguments(_numbers: ArrayOf<D>): Readonly<Record<string, ArrayOf<D>>> {
    return {};
  }

  /** The cotangents of the arguments of a batch, by name, from where they lie. */
  copyArguments(engine: Instance, pointer: number, batch: number): Readonly<Record<string, ArrayOf<D>>> {
    return this.nameArguments(engine.read(this.dtype, pointer, batch * this.argumentSize));
  }

  /** The name of the kind of object, for messages and consoles. */
  toString(): string {
    const kept = #rust in this && !this.#engine.lost ? this.#rust : undefined;
    const count = kept?.parametersLength;
    const size = kept
      ? `${count} parameter${count === 1 ? "" : "s"}`
      : #rust in this
        ? "disposed"
        : "an object made from one";
    return `${this.kind} field (${this.architecture}, ${this.dtype}, ${size})`;
  }

  /** The kind of the field, as in recipes. */
  get kind(): string {
    return this.recipe?.kind ?? "custom";
  }

  /** The widths of its layers, or the size of its state. */
  get architecture(): string {
    const { network, options } = this.recipe ?? {};
    const { widths } = (network ?? options ?? {}) as { readonly widths?: readonly number[] };
    return widths?.join(" → ") ?? `state of ${this.stateSize}`;
  }

  /** Why it has no recipe. */
  get unsavable(): string {
    return "a custom field, whose functions stay here";
  }

  /** Numbers that each trajectory has beside its state. */
  get argumentSize(): number {
    return totalOf(this.argumentWidths);
  }

  get argumentNames(): readonly string[] {
    return NO_NAMES;
  }

  /** How many numbers a trajectory has of each argument. */
  get argumentWidths(): Widths {
    return {};
  }

  /** The names of the field's state in files. */
  get stateNames(): StateNames {
    return NONE;
  }

  /** The state of the field, which it has besides its parameters, such as the noise of a flow. */
  get state(): FieldState {
    return { numbers: {}, arrays: {} };
  }

  /** Sets its state, for samples of a larger batch from `firstSample` on. */
  restore(_state: FieldState, _firstSample = 0): void {}

  /** The parts of a field that the rest of the package uses. */
  use(): { rust: RustField; engine: Instance } {
    argument("this", this, fieldRule);
    if (!this.#rust) throw new SymplecticAdjointError("DISPOSED", "the field has been disposed");
    if (this.#engine.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the field was lost by a fault inside the package; make a new one");
    }
    return { rust: this.#rust, engine: this.#engine };
  }

  dispose(): void {
    argument("this", this, fieldRule);
    this.#engine.needStack();
    const rust = this.#rust;
    this.#rust = undefined;
    fields.remove(this);
    release(this.#engine, rust);
  }

  /** Whether it is one of ours itself, and not a proxy of one or an object made from one. */
  static is(value: unknown): value is WasmField<Dtype> {
    return value !== null && typeof value === "object" && #rust in value;
  }

  declare [Symbol.dispose]: () => void;
}

/** A field of this package itself. */
export const fieldRule = required(
  hinted(
    rule<Field>("a field, from mlp, cnf, hamiltonian, driven, custom, vectorField or equations", (value) =>
      WasmField.is(value),
    ),
    (value) => {
      if (typeof value === "function") return "vectorField({ state, slope }) makes a field of a function";
      return isObject(value) && "field" in value && WasmField.is(value.field) ? "did you mean its field?" : undefined;
    },
  ),
);

/** A field of this package, as the other parts of it know one; anything else is refused. */
export function wasmField<D extends Dtype>(field: Field<D>, name = "field"): WasmField<D> {
  return argument(name, field, fieldRule) as unknown as WasmField<D>;
}

/** The engine's side of a field. */
export function useField<D extends Dtype>(field: Field<D>, argument = "field") {
  return wasmField(field, argument).use();
}

/** The arguments of a field's functions, ready to be handed over. */
export function argumentsOf<D extends Dtype>(field: WasmField<D>, t: unknown, y: unknown, parameters: unknown) {
  const { rust, engine } = useField(field, "this");
  const time = argument("t", t, required(anyNumber));
  const state = engine.steady(arrayOf("y", y, field.dtype));
  const theta = parameters === undefined ? undefined : engine.steady(arrayOf("parameters", parameters, field.dtype));
  return { rust, engine, time, state, theta, batch: batchOf("y", state, field.stateSize) };
}
