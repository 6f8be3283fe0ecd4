import type { Optimizer as RustOptimizer } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, checkLength, constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import { nearest, plainName, unknownName } from "../checks/names.js";
import {
  argument,
  array,
  elements,
  fallback,
  fraction,
  isObject,
  natural,
  nonNegative,
  type Read,
  options as readOptions,
  required,
  rule,
  text,
} from "../checks/rules.js";
import { call, refuseReentry, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { optimizers } from "../engine/live-objects.js";
import { entriesOf, wholesOf } from "../fields/entries.js";
import { type Field, useField } from "../fields/field.js";

interface CommonOptions {
  /** The learning rate; default 1e-3 for `adam` and 1e-2 for `sgd`. Set `optimizer.learningRate` to change it between steps. */
  learningRate?: number | undefined;
  /** Decoupled weight decay: each step first shrinks the parameters by the fraction learningRate · weightDecay. Default 0. */
  weightDecay?: number | undefined;
  /**
   * Parameters that stay as they are, by name: of an array, as `growth` or `0.bias`, or of a network or layer for all its arrays, as `net`
   * or `net.0`. Their part of the gradient is ignored, also by `clipNorm`. None by default.
   */
  fixed?: readonly string[] | undefined;
}

/** Adam (Kingma and Ba 2015), with decoupled weight decay (AdamW). Default learning rate 1e-3. */
export interface AdamOptions extends CommonOptions {
  /** Decay of the mean of the gradients, from 0 to below 1; default 0.9. */
  beta1?: number | undefined;
  /** Decay of the mean of the squared gradients, from 0 to below 1; default 0.999. */
  beta2?: number | undefined;
  /** Added to the root of the mean of the squared gradients, against division by zero; default 1e-8. */
  epsilon?: number | undefined;
}

/** Stochastic gradient descent. Default learning rate 1e-2. */
export interface SgdOptions extends CommonOptions {
  /** The fraction of the velocity that each step keeps, from 0 to below 1: velocity = momentum · velocity + gradient. Default 0. */
  momentum?: number | undefined;
}

/** Options with their defaults; no names where no parameters are fixed. */
type Filled<O extends CommonOptions> = Required<{ [Name in Exclude<keyof O, "fixed">]: NonNullable<O[Name]> }> &
  Pick<CommonOptions, "fixed">;

/** What an optimizer is made of, but for its state and the learning rate of the moment. */
export type OptimizerRecipe =
  | { readonly kind: "adam"; readonly options: Filled<AdamOptions> }
  | { readonly kind: "sgd"; readonly options: Filled<SgdOptions> };

/** Changes a field's parameters, in place in the engine's memory. */
export interface Optimizer<D extends Dtype = Dtype> {
  /** The learning rate of the next step; may be set at any time. */
  learningRate: number;
  /** The number of steps taken; set it, with `state`, to continue from a checkpoint. */
  steps: number;
  /**
   * What the optimizer remembers, the moments of `adam` or the velocity of `sgd`: a live view of the engine's memory: read it again after
   * any other call.
   */
  readonly state: ArrayOf<D>;
  /**
   * Takes a step; nothing changes if the gradient is rejected.
   *
   * @throws `SHAPE`, `DTYPE`; `NON_FINITE` for a gradient with NaN; `DISPOSED`.
   */
  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void;
  /** Frees the optimizer's memory, but not the field's; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

const optimizerRule = required(rule<unknown>("an optimizer, from adam or sgd", (value) => WasmOptimizer.is(value)));

class WasmOptimizer<D extends Dtype> implements Optimizer<D> {
  #rust: RustOptimizer | undefined;
  readonly #engine: Instance;
  readonly #field: Field<D>;
  /** Where the parameters lie that stay as they are. */
  readonly #fixed: readonly Range[];

  constructor(
    field: Field<D>,
    readonly recipe: OptimizerRecipe,
    make: (bindings: Instance["bindings"], field: ReturnType<typeof useField>["rust"]) => RustOptimizer,
  ) {
    disposable(WasmOptimizer.prototype, WasmOptimizer.prototype.dispose);
    const { rust, engine } = useField(field);
    this.#engine = engine;
    this.#field = field;
    this.#fixed = rangesOf(field, recipe.options.fixed ?? []);
    frozen(recipe);
    fix(this, ["recipe"]);
    Object.preventExtensions(this);
    this.#rust = call(engine, () => make(engine.bindings, rust));
    optimizers.add(this, this.#rust.stateLength * constructors[field.dtype].BYTES_PER_ELEMENT);
  }

  get learningRate(): number {
    return this.use().learningRate;
  }

  set learningRate(rate: number) {
    this.use().learningRate = argument("learningRate", rate, required(nonNegative));
  }

  get steps(): number {
    return this.use().steps;
  }

  set steps(steps: number) {
    this.use().steps = argument("steps", steps, required(natural));
  }

  get state(): ArrayOf<D> {
    const rust = this.use();
    return this.#engine.view(this.#field.dtype, rust, rust.statePointer, rust.stateLength);
  }

  /** The state as an array of the caller's own. */
  copyState(): ArrayOf<D> {
    const rust = this.use();
    return this.#engine.read(this.#field.dtype, rust.statePointer, rust.stateLength);
  }

  /** Sets the state, of as many numbers. */
  restoreState(values: ArrayOf<D>): void {
    this.#engine.write(this.#field.dtype, this.use().statePointer, values);
  }

  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void {
    const rust = this.use();
    const given = isObject(gradient) && "parameters" in gradient ? gradient.parameters : gradient;
    const numbers = this.#engine.steady(arrayOf("gradient", given, this.#field.dtype));
    const { rust: field } = useField(this.#field);
    refuseReentry(this.#engine, "an optimizer's step");
    checkLength("gradient", numbers, field.parametersLength);
    const free = this.free(numbers);
    // Weight decay and what moments remember would move them.
    const kept = this.#fixed.map(({ start, end }) => this.#field.parameters.slice(start, end));
    call(this.#engine, () => rust.step(field, free));
    for (const [i, { start }] of this.#fixed.entries()) this.#field.parameters.set(kept[i] as never, start);
  }

  /** A gradient that is zero where parameters stay as they are. */
  free(gradient: ArrayOf<D>): ArrayOf<D> {
    if (this.#fixed.length === 0) return gradient;
    const free = gradient.slice() as ArrayOf<D>;
    for (const { start, end } of this.#fixed) free.fill(0, start, end);
    return free;
  }

  use(): RustOptimizer {
    argument("this", this, optimizerRule);
    this.#engine.needStack();
    if (!this.#rust || this.#engine.lost)
      throw new SymplecticAdjointError("DISPOSED", "the optimizer has been disposed");
    return this.#rust;
  }

  /** What it is, for messages and consoles. */
  toString(): string {
    const kept = #rust in this && !this.#engine.lost ? this.#rust : undefined;
    const about = kept ? `learning rate ${kept.learningRate}, ${kept.steps} steps taken` : "disposed";
    return `${this.recipe.kind} optimizer (${about})`;
  }

  dispose(): void {
    argument("this", this, optimizerRule);
    this.#engine.needStack();
    optimizers.remove(this);
    const rust = this.#rust;
    this.#rust = undefined;
    release(this.#engine, rust);
  }

  /** Whether it is an optimizer itself, and not an object made from one. */
  static is(value: unknown): value is WasmOptimizer<Dtype> {
    return isObject(value) && #rust in value;
  }

  static isOf<D extends Dtype>(value: unknown, field: Field<D>): value is WasmOptimizer<D> {
    return WasmOptimizer.is(value) && value.#field === (field as unknown);
  }

  declare [Symbol.dispose]: () => void;
}

/** Where some of the flat parameters lie. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** Where the parameters of some names lie. */
function rangesOf(field: Field, names: readonly string[]): Range[] {
  const entries = entriesOf(field);
  const known = new Set(entries.flatMap(([name]) => wholesOf(name)));
  for (const [i, name] of names.entries()) {
    if (known.has(name)) continue;
    const all = entries.map(([name]) => name);
    throw unknownName(`fixed[${i}]: `, name, all, "parameter", "OPTION", nearest(name, [...known]));
  }
  const chosen = entries.filter(([name]) => wholesOf(name).some((whole) => names.includes(whole)));
  return chosen.map(([, { offset, shape }]) => {
    return { start: offset, end: offset + shape.reduce((product, side) => product * side, 1) };
  });
}

/** A gradient that is zero where an optimizer leaves parameters as they are. */
export function freeGradient<D extends Dtype>(optimizer: Optimizer<D>, gradient: ArrayOf<D>): ArrayOf<D> {
  return WasmOptimizer.is(optimizer) ? ((optimizer as WasmOptimizer<Dtype>).free(gradient) as ArrayOf<D>) : gradient;
}

/** What a file has to keep of an optimizer of a field. */
export function useOptimizer<D extends Dtype>(optimizer: Optimizer<D>, field: Field<D>) {
  if (!WasmOptimizer.isOf(optimizer, field)) {
    const given = WasmOptimizer.is(optimizer) ? "one made for another field" : describe(optimizer);
    const name: unknown = optimizer;
    const isRmsprop = typeof name === "string" && plainName(name) === "rmsprop";
    const hint = isRmsprop ? "; adam(field, { beta1: 0, beta2: 0.99 }) does what RMSprop does" : "";
    throw refused("OPTION", "optimizer", "an optimizer of the field, from adam or sgd", given, hint);
  }
  const { recipe, learningRate, steps } = optimizer;
  return { recipe, learningRate, steps, state: optimizer.copyState() };
}

/** An optimizer by its recipe. */
export function makeOptimizer<D extends Dtype>(field: Field<D>, recipe: OptimizerRecipe): WasmOptimizer<D> {
  const made = recipe.kind === "adam" ? adam(field, recipe.options) : sgd(field, recipe.options);
  return made as WasmOptimizer<D>;
}

const rateRules = (learningRate: number) => ({
  learningRate: fallback(nonNegative, learningRate),
  weightDecay: fallback(nonNegative, 0),
  fixed: array<string>("an array of names of parameters"),
});
const adamRules = {
  ...rateRules(1e-3),
  beta1: fallback(fraction, 0.9),
  beta2: fallback(fraction, 0.999),
  epsilon: fallback(nonNegative, 1e-8),
};
const sgdRules = { ...rateRules(1e-2), momentum: fallback(fraction, 0) };

/** Reads options, of which the names are a list of the package's own, and absent where there are none. */
function readWithNames<R extends typeof adamRules | typeof sgdRules>(given: unknown, rules: R) {
  const { fixed, ...read } = readOptions(given, rules) as Read<R> & { fixed?: readonly string[] };
  const names = elements("fixed", fixed ?? [], rules.fixed, text);
  return { ...read, ...(names.length > 0 && { fixed: names }) };
}

/**
 * Makes an Adam optimizer (AdamW) for a field's parameters.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION`, `DISPOSED`, `OUT_OF_MEMORY`.
 */
export function adam<D extends Dtype>(field: Field<D>, options: AdamOptions = {}): Optimizer<D> {
  const read = readWithNames(options, adamRules);
  const { learningRate, weightDecay, beta1, beta2, epsilon } = read;
  return new WasmOptimizer(field, { kind: "adam", options: read }, ({ Optimizer }, rust) =>
    Optimizer.adam(rust, learningRate, weightDecay, beta1, beta2, epsilon),
  );
}

/**
 * Makes a gradient-descent optimizer with momentum for a field's parameters.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION`, `DISPOSED`, `OUT_OF_MEMORY`.
 */
export function sgd<D extends Dtype>(field: Field<D>, options: SgdOptions = {}): Optimizer<D> {
  const read = readWithNames(options, sgdRules);
  const { learningRate, weightDecay, momentum } = read;
  return new WasmOptimizer(field, { kind: "sgd", options: read }, ({ Optimizer }, rust) =>
    Optimizer.sgd(rust, learningRate, weightDecay, momentum),
  );
}
