import type { Optimizer as RustOptimizer } from "../../wasm/bindings.js";
import {
  type ArrayOf,
  arrayOf,
  checkFinite,
  checkLength,
  constructors,
  type Dtype,
  dtypeOf,
} from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import { normalizedName } from "../checks/names.js";
import {
  argument,
  array,
  elements,
  fallback,
  fraction,
  isObject,
  isRecord,
  natural,
  nonNegative,
  type Read,
  options as readOptions,
  required,
  rule,
  text,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { call, refuseReentry, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { instance } from "../engine/instance.js";
import { optimizers } from "../engine/live-objects.js";
import { checkNotParameters, type Field, type FieldNames, type NamesOfField, useField } from "../fields/field.js";
import type { PartNames } from "../fields/named-parameters.js";
import {
  groupsOf,
  isFloatArray,
  largestOf,
  lengthOf,
  type NumberByName,
  type OptimizerTarget,
  type ParameterGroup,
  packGroups,
} from "./parameter-groups.js";

interface CommonOptions<N extends FieldNames = FieldNames> {
  /**
   * The learning rate; default 1e-3 for `adam` and 1e-2 for `sgd`. Parameters of a field may have their own rates, by name:
   * `{ net: 1e-3, birth: 0.1 }`, or with `"*"` for all others, `{ "*": 1e-3, birth: 0.1 }`. Set `optimizer.learningRate` to change it
   * between steps.
   */
  learningRate?: number | NumberByName<PartNames<N["parameters"]>> | undefined;
  /**
   * Decoupled weight decay: each step first shrinks the parameters by the fraction learningRate · weightDecay. Default 0. One number, or
   * by name, as for `learningRate`; those left out have 0.
   */
  weightDecay?: number | NumberByName<PartNames<N["parameters"]>> | undefined;
  /**
   * Parameters that stay as they are, by name: of an array, as `growth` or `0.bias`, or of a network or layer for all its arrays, as `net`
   * or `net.0`. Their part of the gradient is ignored, also by `clipNorm`. None by default.
   */
  fixed?: readonly PartNames<N["parameters"]>[] | undefined;
}

/** Adam (Kingma and Ba 2015), with decoupled weight decay (AdamW). Default learning rate 1e-3. */
export interface AdamOptions<N extends FieldNames = FieldNames> extends CommonOptions<N> {
  /** Decay of the mean of the gradients, from 0 to below 1; default 0.9. */
  beta1?: number | undefined;
  /** Decay of the mean of the squared gradients, from 0 to below 1; default 0.999. */
  beta2?: number | undefined;
  /** Added to the root of the mean of the squared gradients, against division by zero; default 1e-8. */
  epsilon?: number | undefined;
}

/** Stochastic gradient descent. Default learning rate 1e-2. */
export interface SgdOptions<N extends FieldNames = FieldNames> extends CommonOptions<N> {
  /** The fraction of the velocity that each step keeps, from 0 to below 1: velocity = momentum · velocity + gradient. Default 0. */
  momentum?: number | undefined;
}

/** Options with their defaults; no names where no parameters are fixed. */
type WithDefaults<O extends CommonOptions> = Required<{ [Name in Exclude<keyof O, "fixed">]: NonNullable<O[Name]> }> &
  Pick<CommonOptions, "fixed">;

/** The learning rate and the weight decay as they are read: one number, or numbers by name. */
type RateOptions = Required<{ [Name in "learningRate" | "weightDecay"]: NonNullable<CommonOptions[Name]> }>;

/** The options of an optimizer, without its state and its current learning rate. */
export type OptimizerRecipe =
  | { readonly kind: "adam"; readonly options: WithDefaults<AdamOptions> }
  | { readonly kind: "sgd"; readonly options: WithDefaults<SgdOptions> };

/** Changes a field's parameters, in place in the engine's memory, or an array of yours. */
export interface Optimizer<D extends Dtype = Dtype> {
  /**
   * The learning rate of the next step; may be set at any time, as `train` does by its `schedule`. If parameters have their own rates,
   * it is the largest of them, and setting it changes all in proportion.
   */
  learningRate: number;
  /** The number of steps taken; set it, with `state`, to continue from a checkpoint. */
  steps: number;
  /**
   * The moments of `adam` or the velocity of `sgd`, as a live view of the engine's memory: read it again after
   * any other call.
   */
  readonly state: ArrayOf<D>;
  /**
   * Takes a step; nothing changes if the gradient is rejected. The gradient of a field's parameters may be that of `valueAndGrad`; that of
   * an array is an array of the same length, such as `gradient.y0`.
   *
   * @throws `SHAPE` or `DTYPE` for a gradient of another length or number type; `NON_FINITE` for one with NaN, or an array with a number
   * that is not finite; `DISPOSED` if the optimizer or its field was.
   */
  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void;
  /** Frees the optimizer's memory, but not the field's; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/** The number type of an array. */
export type DtypeOf<A extends ArrayOf<Dtype>> = A extends Float32Array ? "float32" : "float64";

const optimizerRule = required(rule<unknown>("an optimizer, from adam or sgd", (value) => WasmOptimizer.is(value)));

class WasmOptimizer<D extends Dtype> implements Optimizer<D> {
  #rust: RustOptimizer | undefined;
  readonly #engine: Instance;
  readonly #target: OptimizerTarget<D>;
  readonly #dtype: D;
  /** All parameters, in their order. */
  readonly #groups: readonly ParameterGroup[];
  #learningRate: number;

  constructor(
    target: OptimizerTarget<D>,
    readonly recipe: OptimizerRecipe,
    make: (bindings: Instance["bindings"], dtype: D, groups: Float64Array) => RustOptimizer,
  ) {
    disposable(WasmOptimizer.prototype, WasmOptimizer.prototype.dispose);
    if (isFloatArray(target)) checkNotParameters("array", target);
    this.#engine = isFloatArray(target) ? instance() : useField(target).engine;
    this.#target = target;
    this.#dtype = (isFloatArray(target) ? dtypeOf(target) : target.dtype) as D;
    this.#groups = groupsOf(target, recipe.options);
    const { learningRate } = recipe.options;
    this.#learningRate = typeof learningRate === "number" ? learningRate : largestOf(this.#groups);
    frozen(recipe);
    fix(this, ["recipe"]);
    Object.preventExtensions(this);
    const groups = this.#engine.steady(packGroups(this.#groups, this.#learningRate));
    this.#rust = call(this.#engine, () => make(this.#engine.bindings, this.#dtype, groups));
    optimizers.add(this, this.#rust.stateLength * constructors[this.#dtype].BYTES_PER_ELEMENT);
  }

  get learningRate(): number {
    WasmOptimizer.#use(this);
    return this.#learningRate;
  }

  set learningRate(rate: number) {
    const rust = WasmOptimizer.#use(this);
    const given = argument("learningRate", rate, required(nonNegative));
    const groups = this.#engine.steady(packGroups(this.#groups, given));
    call(this.#engine, () => rust.setGroups(groups));
    this.#learningRate = given;
  }

  get steps(): number {
    return WasmOptimizer.#use(this).steps;
  }

  set steps(steps: number) {
    WasmOptimizer.#use(this).steps = argument("steps", steps, required(natural));
  }

  get state(): ArrayOf<D> {
    const rust = WasmOptimizer.#use(this);
    return this.#engine.view(this.#dtype, rust, rust.statePointer, rust.stateLength);
  }

  /** A copy of the state for the caller. */
  copyState(): ArrayOf<D> {
    const rust = WasmOptimizer.#use(this);
    return this.#engine.read(this.#dtype, rust.statePointer, rust.stateLength);
  }

  /** Sets the state, of as many numbers. */
  restoreState(values: ArrayOf<D>): void {
    this.#engine.write(this.#dtype, WasmOptimizer.#use(this).statePointer, values);
  }

  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void {
    WasmOptimizer.#use(this);
    if (isFloatArray(this.#target)) this.#stepArray(this.#target, gradient);
    else this.#stepField(this.#target, gradient);
  }

  #stepField(target: Field<D>, gradient: unknown): void {
    const given = isObject(gradient) && "parameters" in gradient ? gradient.parameters : gradient;
    const numbers = this.#engine.steady(arrayOf("gradient", given, this.#dtype));
    // Whoever gives the gradient may have disposed of either.
    const [rust, { rust: field }] = [WasmOptimizer.#use(this), useField(target)];
    refuseReentry(this.#engine, "an optimizer's step");
    checkLength("gradient", numbers, field.parametersLength);
    call(this.#engine, () => rust.step(field, this.free(numbers)));
  }

  #stepArray(target: ArrayOf<Dtype>, gradient: unknown): void {
    const numbers = this.#engine.steady(arrayOf("gradient", gradient, this.#dtype, ", as the array that it is for"));
    const array = arrayOf("array", target, this.#dtype, "");
    const rust = WasmOptimizer.#use(this);
    refuseReentry(this.#engine, "an optimizer's step");
    const length = lengthOf(this.#groups);
    checkLength("array", array, length);
    checkLength("gradient", numbers, length);
    checkFinite("array", array);
    const result = call(this.#engine, () => rust.stepFrom(this.#engine.steady(array), numbers));
    try {
      array.set(this.#engine.read(this.#dtype, result.pointer, result.length) as ArrayLike<number>);
    } finally {
      release(this.#engine, result);
    }
  }

  /** A gradient that is zero where parameters stay as they are. */
  free(gradient: ArrayOf<D>): ArrayOf<D> {
    if (this.#groups.every(({ fixed }) => !fixed)) return gradient;
    const free = gradient.slice() as ArrayOf<D>;
    let start = 0;
    for (const { length, fixed } of this.#groups) {
      if (fixed) free.fill(0, start, start + length);
      start += length;
    }
    return free;
  }

  static #use(optimizer: WasmOptimizer<Dtype>): RustOptimizer {
    argument("this", optimizer, optimizerRule);
    optimizer.#engine.needStack();
    if (!optimizer.#rust || optimizer.#engine.lost)
      throw new SymplecticAdjointError("DISPOSED", "the optimizer has been disposed");
    return optimizer.#rust;
  }

  /** The name of the kind of object, for messages and consoles. */
  toString(): string {
    const kept = #rust in this && !this.#engine.lost ? this.#rust : undefined;
    if (!kept) return `${this.recipe.kind} optimizer (disposed)`;
    const rates = typeof this.recipe.options.learningRate === "number" ? "learning rate" : "learning rates up to";
    return `${this.recipe.kind} optimizer (${rates} ${this.#learningRate}, ${kept.steps} steps taken)`;
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
    return WasmOptimizer.is(value) && value.#target === (field as unknown);
  }

  static isOfArray(value: unknown): boolean {
    return WasmOptimizer.is(value) && isFloatArray(value.#target);
  }

  declare [Symbol.dispose]: () => void;
}

/** A gradient that is zero where an optimizer leaves parameters as they are. */
export function freeGradient<D extends Dtype>(optimizer: Optimizer<D>, gradient: ArrayOf<D>): ArrayOf<D> {
  return WasmOptimizer.is(optimizer) ? ((optimizer as WasmOptimizer<Dtype>).free(gradient) as ArrayOf<D>) : gradient;
}

/** What a file stores of an optimizer of a field. */
export function useOptimizer<D extends Dtype>(optimizer: Optimizer<D>, field: Field<D>) {
  if (!WasmOptimizer.isOf(optimizer, field)) {
    const other = WasmOptimizer.isOfArray(optimizer) ? "one for an array" : "one made for another field";
    const given = WasmOptimizer.is(optimizer) ? other : describe(optimizer);
    const name: unknown = optimizer;
    const isRmsprop = typeof name === "string" && normalizedName(name) === "rmsprop";
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

const rates = rule<number | NumberByName>(
  "a finite number, zero or more, or such numbers by the names of parameters",
  (value) => nonNegative.valid(value) || isRecord(value),
);
const rateRules = (learningRate: number) => ({
  learningRate: fallback(rates, learningRate),
  weightDecay: fallback(rates, 0),
  fixed: array<string>("an array of names of parameters"),
});
const adamRules = {
  ...rateRules(1e-3),
  beta1: fallback(fraction, 0.9),
  beta2: fallback(fraction, 0.999),
  epsilon: fallback(nonNegative, 1e-8),
};
const sgdRules = { ...rateRules(1e-2), momentum: fallback(fraction, 0) };

/** Reads options, of which lists and numbers by name become the package's own; names are absent where there are none. */
function readWithNames<R extends typeof adamRules | typeof sgdRules>(given: unknown, rules: R) {
  const { fixed, ...read } = readOptions(given, rules) as Read<R> & RateOptions & { fixed?: readonly string[] };
  const names = elements("fixed", fixed ?? [], rules.fixed, text);
  return {
    ...read,
    learningRate: ownNumbers("learningRate", read.learningRate),
    weightDecay: ownNumbers("weightDecay", read.weightDecay),
    ...(names.length > 0 && { fixed: names }),
  };
}

/** A copy of numbers by name, checked. */
function ownNumbers(where: string, given: number | NumberByName): number | NumberByName {
  if (typeof given === "number") return given;
  const entries = runUserCode(() => Object.entries(given));
  const read = entries.map(([name, number]) => [name, argument(`${where}.${name}`, number, required(nonNegative))]);
  return Object.fromEntries(read);
}

/**
 * Makes an Adam optimizer (AdamW) for a field's parameters.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION` for an unknown name or a rate below zero; `DISPOSED` if the field was; `OUT_OF_MEMORY`.
 */
export function adam<D extends Dtype, F extends Field = Field<D>, N extends FieldNames = NamesOfField<F>>(
  field: F & Field<D>,
  options?: AdamOptions<N>,
): Optimizer<D>;
/**
 * Makes an Adam optimizer (AdamW) for an array of yours, which its steps change in place: initial states with `gradient.y0`, or arguments.
 * Its numbers have no names, so there is one `learningRate` for all.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION` for what is neither a field nor a Float32Array or Float64Array, or a rate below zero; `OUT_OF_MEMORY`.
 */
export function adam<A extends ArrayOf<Dtype>>(array: A, options?: AdamOptions): Optimizer<DtypeOf<A>>;
export function adam<D extends Dtype>(target: OptimizerTarget<D>, options: AdamOptions = {}): Optimizer<D> {
  const read = readWithNames(options, adamRules);
  const { beta1, beta2, epsilon } = read;
  return new WasmOptimizer(target, { kind: "adam", options: read }, ({ Optimizer }, dtype, groups) =>
    Optimizer.adam(dtype, groups, beta1, beta2, epsilon),
  );
}

/**
 * Makes a gradient-descent optimizer with momentum for a field's parameters.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION` for an unknown name or a rate below zero; `DISPOSED` if the field was; `OUT_OF_MEMORY`.
 */
export function sgd<D extends Dtype, F extends Field = Field<D>, N extends FieldNames = NamesOfField<F>>(
  field: F & Field<D>,
  options?: SgdOptions<N>,
): Optimizer<D>;
/**
 * Makes a gradient-descent optimizer with momentum for an array of yours, which its steps change in place: initial states with
 * `gradient.y0`, or arguments. Its numbers have no names, so there is one `learningRate` for all.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION` for what is neither a field nor a Float32Array or Float64Array, or a rate below zero; `OUT_OF_MEMORY`.
 */
export function sgd<A extends ArrayOf<Dtype>>(array: A, options?: SgdOptions): Optimizer<DtypeOf<A>>;
export function sgd<D extends Dtype>(target: OptimizerTarget<D>, options: SgdOptions = {}): Optimizer<D> {
  const read = readWithNames(options, sgdRules);
  const { momentum } = read;
  return new WasmOptimizer(target, { kind: "sgd", options: read }, ({ Optimizer }, dtype, groups) =>
    Optimizer.sgd(dtype, groups, momentum),
  );
}
