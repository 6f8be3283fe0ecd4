import type { Optimizer as RustOptimizer } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, checkLength, constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import { plainName } from "../checks/names.js";
import {
  argument,
  fallback,
  fraction,
  isObject,
  natural,
  nonNegative,
  options as readOptions,
  required,
  rule,
} from "../checks/rules.js";
import { call, refuseReentry, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { optimizers } from "../engine/live-objects.js";
import { type Field, useField } from "../fields/field.js";

interface RateOptions {
  /** The learning rate; default 1e-3 for `adam` and 1e-2 for `sgd`. Set `optimizer.learningRate` to change it between steps. */
  learningRate?: number | undefined;
  /** Decoupled weight decay: each step first shrinks the parameters by the fraction learningRate · weightDecay. Default 0. */
  weightDecay?: number | undefined;
}

/** Adam (Kingma and Ba 2015), with decoupled weight decay (AdamW). Default learning rate 1e-3. */
export interface AdamOptions extends RateOptions {
  /** Decay of the mean of the gradients, from 0 to below 1; default 0.9. */
  beta1?: number | undefined;
  /** Decay of the mean of the squared gradients, from 0 to below 1; default 0.999. */
  beta2?: number | undefined;
  /** Added to the root of the mean of the squared gradients, against division by zero; default 1e-8. */
  epsilon?: number | undefined;
}

/** Stochastic gradient descent. Default learning rate 1e-2. */
export interface SgdOptions extends RateOptions {
  /** The fraction of the velocity that each step keeps, from 0 to below 1: velocity = momentum · velocity + gradient. Default 0. */
  momentum?: number | undefined;
}

/** What an optimizer is made of, but for its state and the learning rate of the moment. */
export type OptimizerRecipe =
  | { readonly kind: "adam"; readonly options: Required<AdamOptions> }
  | { readonly kind: "sgd"; readonly options: Required<SgdOptions> };

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

  constructor(
    field: Field<D>,
    readonly recipe: OptimizerRecipe,
    make: (bindings: Instance["bindings"], field: ReturnType<typeof useField>["rust"]) => RustOptimizer,
  ) {
    disposable(WasmOptimizer.prototype, WasmOptimizer.prototype.dispose);
    const { rust, engine } = useField(field);
    this.#engine = engine;
    this.#field = field;
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
    call(this.#engine, () => rust.step(field, numbers));
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
});
const adamRules = {
  ...rateRules(1e-3),
  beta1: fallback(fraction, 0.9),
  beta2: fallback(fraction, 0.999),
  epsilon: fallback(nonNegative, 1e-8),
};
const sgdRules = { ...rateRules(1e-2), momentum: fallback(fraction, 0) };

/**
 * Makes an Adam optimizer (AdamW) for a field's parameters.
 *
 * @returns The optimizer; dispose of it when done.
 * @throws `OPTION`, `DISPOSED`, `OUT_OF_MEMORY`.
 */
export function adam<D extends Dtype>(field: Field<D>, options: AdamOptions = {}): Optimizer<D> {
  const read = readOptions(options, adamRules);
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
  const read = readOptions(options, sgdRules);
  const { learningRate, weightDecay, momentum } = read;
  return new WasmOptimizer(field, { kind: "sgd", options: read }, ({ Optimizer }, rust) =>
    Optimizer.sgd(rust, learningRate, weightDecay, momentum),
  );
}
