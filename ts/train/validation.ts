// How a training is evaluated on data that it does not see.
import { type ArrayOf, checkFinite, checkLength, constructors, type Dtype, numbersOf } from "../checks/arrays.js";
import { type ErrorCode, refused, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import {
  anything,
  count,
  fallback,
  finite,
  flag,
  isObject,
  natural,
  nonNegative,
  options,
  required,
  rule,
} from "../checks/rules.js";
import { type Field, wasmField } from "../fields/field.js";
import type { Pool } from "../parallel/pool-types.js";
import { lossOf } from "../solve/gradient.js";
import type { IndependentSolution } from "../solve/independent.js";
import { odeint } from "../solve/odeint.js";
import { type GradientOptions, type SolveOptions, solveRules } from "../solve/options.js";
import { type Batch, checkBatch, type Loss, lossFor, optionsFor } from "./batch.js";
import type { Minibatches } from "./minibatches.js";

/** How a training is evaluated on data that it does not see. */
export interface Validation<D extends Dtype = Dtype, A extends string = string> {
  /**
   * Batches on which the field is evaluated, or `minibatches`, of which each batch of an epoch is taken once: the loss is the mean over all
   * their entries.
   */
  data: readonly Batch<D, A>[] | Minibatches<D>;
  /** The number of the optimizer's steps between evaluations; default 1. */
  every?: number | undefined;
  /** The number of evaluations in a row without a better loss after which training ends; default: never. */
  patience?: number | undefined;
  /** How much less than the best so far a loss must be to count as better; default 0. */
  leastGain?: number | undefined;
  /** Whether to set the field to the best parameters when training ends by itself; default true. */
  restoreBest?: boolean | undefined;
  /**
   * The best parameters so far of the training that this one resumes, as in `best` of its steps or of the history, or what JSON made of
   * it; none by default.
   */
  best?: Best<D> | SavedBest | undefined;
}

/** The parameters that have done best on validation data: `best` of the steps and the history of `train` and `fit`. */
export interface Best<D extends Dtype = Dtype> {
  /** The number of the optimizer's steps when the loss was best. */
  readonly step: number;
  /** The loss of the validation data with these parameters. */
  readonly validation: number;
  /** A copy of the field's parameters when the loss was best. */
  readonly parameters: ArrayOf<D>;
}

/** Parameters that have done best, as a file has them. */
export interface SavedBest {
  /** The number of the optimizer's steps when the loss was best. */
  readonly step: number;
  /** The loss of the validation data with these parameters. */
  readonly validation: number;
  /** The field's parameters when the loss was best: a list of numbers, or what JSON makes of a typed array. */
  readonly parameters: ArrayLike<number> | Readonly<Record<string, number>>;
}

const isFunction = (value: unknown) => typeof value === "function";
const rules = {
  data: required(
    rule<readonly Batch[] | Minibatches>("an array of batches, or minibatches", (value) =>
      Array.isArray(value) ? value.length > 0 : isFunction((value as Partial<Minibatches> | null)?.epoch),
    ),
  ),
  every: fallback(count, 1),
  patience: count,
  leastGain: fallback(nonNegative, 0),
  restoreBest: fallback(flag, true),
  best: anything<Best>(),
};
const bestRules = { step: required(natural), validation: required(finite), parameters: anything<unknown>() };

/** Judges a field by data that its training does not see, and keeps the best parameters. */
export class Validator<D extends Dtype> {
  best: Best<D> | undefined;
  readonly #every: number;
  readonly #patience: number;
  readonly #gain: number;
  readonly #restores: boolean;
  /** Each with the part of all entries that it has. */
  readonly #data: readonly { readonly batch: Batch<D>; readonly part: number }[];
  readonly #solver: SolveOptions;
  #failures = 0;

  constructor(
    readonly field: Field<D>,
    validation: Validation<D>,
    readonly loss: Loss<D>,
    settings: GradientOptions,
    readonly pool: Pool | undefined,
    steps: number,
  ) {
    const read = options(validation, rules, "validation.");
    const { data: given, every, patience, leastGain, restoreBest, best } = read;
    const data = "epoch" in given ? given.epoch() : given;
    const weights: number[] = [];
    for (const [index, batch] of data.entries()) {
      weights.push(checkBatch(`validation.data[${index}]`, batch as Batch<D>, loss, field));
    }
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    if (!Number.isFinite(all)) throw refused("OPTION", "validation.data", "masks with a finite sum", "an infinite one");
    this.#data = data.map((batch, index) => ({ batch: batch as Batch<D>, part: (weights[index] as number) / all }));
    this.#every = every;
    this.#patience = patience ?? Number.POSITIVE_INFINITY;
    this.#gain = leastGain;
    this.#restores = restoreBest;
    if (best !== undefined) {
      const { parameters: given, ...read } = options(best, bestRules, "validation.best.");
      // What JSON makes of a typed array has its numbers by their index.
      const list = isObject(given) && !("length" in given) ? Object.values(given) : given;
      const where = "validation.best.parameters";
      const parameters = new constructors[field.dtype](numbersOf(where, list)) as ArrayOf<D>;
      checkLength(where, parameters, wasmField(field).parameterCount);
      checkFinite(where, parameters);
      this.best = { ...read, parameters };
      const judgements = (steps: number) => Math.floor(steps / this.#every);
      this.#failures = Math.max(0, judgements(steps) - judgements(this.best.step));
    }
    // Options of gradients do not apply to a solve.
    this.#solver = Object.fromEntries(Object.entries(settings).filter(([name]) => Object.hasOwn(solveRules, name)));
  }

  due(step: number): boolean {
    return step % this.#every === 0;
  }

  get exhausted(): boolean {
    return this.#failures >= this.#patience;
  }

  async judge(step: number): Promise<number> {
    const validation = await this.#loss();
    const limit = this.best === undefined ? Number.POSITIVE_INFINITY : this.best.validation - this.#gain;
    if (validation < limit) {
      this.best = frozen({ step, validation, parameters: wasmField(this.field).copyParameters() });
      this.#failures = 0;
    } else {
      this.#failures++;
    }
    return validation;
  }

  /** The mean over the batches, infinite where a solve does not come to its end or a loss is not finite. */
  async #loss(): Promise<number> {
    let mean = 0;
    for (const { batch, part } of this.#data) {
      try {
        const inputs = [this.field, batch.y0, batch.times, optionsFor(this.#solver, batch)] as const;
        const solution = this.pool ? await this.pool.odeint(...inputs) : odeint(...inputs);
        const { y, shape } = solution;
        const own = "trajectories" in solution ? (solution as IndependentSolution<D>) : undefined;
        mean += part * lossOf(lossFor(this.loss, batch)(y, shape, own)).value;
      } catch (error) {
        if (!(error instanceof SymplecticAdjointError) || !DIVERGED.includes(error.code)) throw error;
        return Number.POSITIVE_INFINITY;
      }
    }
    return mean;
  }

  restore(): void {
    if (this.best && this.#restores) this.field.parameters = this.best.parameters;
  }
}

/** The errors of solves whose field has become too wild to solve. */
const DIVERGED: readonly ErrorCode[] = ["MAX_STEPS", "STEP_UNDERFLOW", "NON_FINITE"];
