import type { Optimizer as RustOptimizer } from "../wasm/bindings.js";
import * as alive from "./alive.js";
import { describe, refused, SymplecticAdjointError } from "./errors.js";
import { type Field, refuseInside, useField } from "./fields.js";
import { fix, frozen } from "./frozen.js";
import { type ArrayOf, arrayOf, checkLength, constructors, type Dtype, steady, view } from "./memory.js";
import { checkNames, numberOption } from "./options.js";
import { needStack } from "./stack.js";
import { call, type Instance, release } from "./wasm.js";

interface RateOptions {
  /** Size of a step; may be changed between steps by `optimizer.learningRate`. */
  learningRate?: number;
  /** Decoupled: each step first shrinks the parameters by learningRate · weightDecay. Default 0. */
  weightDecay?: number;
}

/** Adam (Kingma and Ba 2015), with decoupled weight decay (AdamW). Default learning rate 1e-3. */
export interface AdamOptions extends RateOptions {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.999. */
  beta2?: number;
  /** Default 1e-8. */
  epsilon?: number;
}

/** Stochastic gradient descent. Default learning rate 1e-2. */
export interface SgdOptions extends RateOptions {
  /** velocity = momentum · velocity + gradient; default 0. */
  momentum?: number;
}

/** What an optimizer is made of, but for its state and the learning rate of the moment. */
export type OptimizerRecipe =
  | { readonly kind: "adam"; readonly options: Required<AdamOptions> }
  | { readonly kind: "sgd"; readonly options: Required<SgdOptions> };

/** Changes a field's parameters, in place in WebAssembly memory. */
export interface Optimizer<D extends Dtype = Dtype> {
  /** Of the next step; may be set at any time. */
  learningRate: number;
  /** Steps taken; set it with `state` to go on from a checkpoint. */
  steps: number;
  /** Moments or velocity: a live view of WebAssembly memory, to be taken anew after any other call. */
  readonly state: ArrayOf<D>;
  /**
   * Takes a step; nothing changes if the gradient is refused.
   *
   * @throws `SHAPE`, `DTYPE`; `NON_FINITE` for a gradient with NaN; `DISPOSED`.
   */
  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void;
  /** Frees its memory, and not the field's. Harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

class WasmOptimizer<D extends Dtype> implements Optimizer<D> {
  #rust: RustOptimizer | undefined;
  readonly #wasm: Instance;
  readonly #field: Field<D>;

  constructor(
    field: Field<D>,
    readonly recipe: OptimizerRecipe,
    make: (bindings: Instance["bindings"], field: ReturnType<typeof useField>["rust"]) => RustOptimizer,
  ) {
    const { rust, wasm } = useField(field);
    this.#wasm = wasm;
    this.#field = field;
    frozen(recipe);
    fix(this, ["recipe"]);
    this.#rust = call(wasm, () => make(wasm.bindings, rust));
    alive.optimizers.add(this, this.#rust.stateLength * constructors[field.dtype].BYTES_PER_ELEMENT);
  }

  get learningRate(): number {
    return this.#use().learningRate;
  }

  set learningRate(rate: number) {
    this.#use().learningRate = required("learningRate", rate, "a number, zero or more", nonNegative);
  }

  get steps(): number {
    return this.#use().steps;
  }

  set steps(steps: number) {
    const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
    this.#use().steps = required("steps", steps, "an integer, zero or more", natural);
  }

  get state(): ArrayOf<D> {
    const rust = this.#use();
    return view(this.#wasm, this.#field.dtype, rust.statePointer, rust.stateLength);
  }

  step(gradient: { parameters: ArrayOf<D> } | ArrayOf<D>): void {
    const given =
      gradient !== null && typeof gradient === "object" && "parameters" in gradient ? gradient.parameters : gradient;
    const numbers = steady(this.#wasm, arrayOf("gradient", given, this.#field.dtype));
    const { rust: field } = useField(this.#field);
    const rust = this.#use();
    refuseInside(this.#wasm, "an optimizer's step");
    checkLength("gradient", numbers, field.parametersLength);
    call(this.#wasm, () => rust.step(field, numbers));
  }

  #use(): RustOptimizer {
    needStack();
    if (!this.#rust || this.#wasm.lost) throw new SymplecticAdjointError("DISPOSED", "the optimizer has been disposed");
    return this.#rust;
  }

  dispose(): void {
    needStack();
    alive.optimizers.remove(this);
    const rust = this.#rust;
    this.#rust = undefined;
    release(this.#wasm, rust);
  }

  /** Whether it is one of ours, and of that field. */
  static of<D extends Dtype>(optimizer: unknown, field: Field<D>): optimizer is WasmOptimizer<D> {
    return (
      optimizer !== null &&
      typeof optimizer === "object" &&
      #rust in optimizer &&
      optimizer.#field === (field as unknown)
    );
  }

  declare [Symbol.dispose]: () => void;
}

if (typeof Symbol.dispose === "symbol") {
  Object.defineProperty(WasmOptimizer.prototype, Symbol.dispose, { value: WasmOptimizer.prototype.dispose });
}

/** What a file has to keep of an optimizer of a field. */
export function useOptimizer<D extends Dtype>(optimizer: Optimizer<D>, field: Field<D>) {
  if (!WasmOptimizer.of(optimizer, field)) {
    throw refused("OPTION", "optimizer", "an optimizer of the field, from adam or sgd", describe(optimizer));
  }
  const { recipe, learningRate, steps, state } = optimizer;
  return { recipe, learningRate, steps, state };
}

/** An optimizer by its recipe. */
export function makeOptimizer<D extends Dtype>(field: Field<D>, recipe: OptimizerRecipe): Optimizer<D> {
  return recipe.kind === "adam" ? adam(field, recipe.options) : sgd(field, recipe.options);
}

function required(argument: string, value: number, expected: string, valid: (value: number) => boolean): number {
  return numberOption(argument, value ?? Number.NaN, Number.NaN, expected, valid);
}

const nonNegative = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;
const fraction = (value: number) => value >= 0 && value < 1;

function rates(options: RateOptions, fallback: number): Required<RateOptions> {
  return {
    learningRate: numberOption("learningRate", options.learningRate, fallback, "a number, zero or more", nonNegative),
    weightDecay: numberOption("weightDecay", options.weightDecay, 0, "a number, zero or more", nonNegative),
  };
}

/**
 * Adam for a field's parameters.
 *
 * @throws `OPTION`, `DISPOSED`, `OUT_OF_MEMORY`.
 */
export function adam<D extends Dtype>(field: Field<D>, options: AdamOptions = {}): Optimizer<D> {
  checkNames(options, ["learningRate", "weightDecay", "beta1", "beta2", "epsilon"]);
  const shared = rates(options, 1e-3);
  const beta1 = numberOption("beta1", options.beta1, 0.9, "a number from 0 to below 1", fraction);
  const beta2 = numberOption("beta2", options.beta2, 0.999, "a number from 0 to below 1", fraction);
  const epsilon = numberOption("epsilon", options.epsilon, 1e-8, "a number, zero or more", nonNegative);
  const { learningRate, weightDecay } = shared;
  const recipe = { kind: "adam", options: { ...shared, beta1, beta2, epsilon } } as const;
  return new WasmOptimizer(field, recipe, ({ Optimizer }, rust) =>
    Optimizer.adam(rust, learningRate, weightDecay, beta1, beta2, epsilon),
  );
}

/**
 * Gradient descent with momentum for a field's parameters.
 *
 * @throws `OPTION`, `DISPOSED`, `OUT_OF_MEMORY`.
 */
export function sgd<D extends Dtype>(field: Field<D>, options: SgdOptions = {}): Optimizer<D> {
  checkNames(options, ["learningRate", "weightDecay", "momentum"]);
  const shared = rates(options, 1e-2);
  const momentum = numberOption("momentum", options.momentum, 0, "a number from 0 to below 1", fraction);
  const { learningRate, weightDecay } = shared;
  const recipe = { kind: "sgd", options: { ...shared, momentum } } as const;
  return new WasmOptimizer(field, recipe, ({ Optimizer }, rust) =>
    Optimizer.sgd(rust, learningRate, weightDecay, momentum),
  );
}
