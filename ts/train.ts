import { describe, type ErrorCode, refused, SymplecticAdjointError } from "./errors.js";
import { type Field, useField } from "./fields.js";
import { frozen } from "./frozen.js";
import { type Gradient, type LossAndCotangent, lossOf, meanSquaredError, valueAndGrad } from "./gradient.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype, numbersOf, timesOf, weightsOf } from "./memory.js";
import { odeint, type Solution } from "./odeint.js";
import { type Optimizer, useOptimizer } from "./optimizer.js";
import {
  checked,
  checkNames,
  count,
  finite,
  type GradientOptions,
  gradientNames,
  numberOption,
  type SolveOptions,
  solveNames,
} from "./options.js";
import { type Pool, usePool } from "./pool.js";
import { rateAt, type Schedule } from "./schedules.js";

/** Trajectories that share their times. */
export interface Batch<D extends Dtype = Dtype> {
  /** `[batch, state]`. */
  y0: ArrayOf<D>;
  /** Two or more, strictly ascending or descending; y0 is at the first. */
  times: ArrayLike<number>;
  /** `[times, batch, state]`; that at the first time counts as well. */
  target: ArrayOf<D>;
  /** As target: 1 where an entry counts and 0 where not, or weights: finite, zero or more. */
  mask?: ArrayLike<number>;
}

/** What to train, by what, and how to solve. */
export interface TrainOptions<D extends Dtype = Dtype> extends GradientOptions {
  /** Its parameters are changed in place. */
  field: Field<D>;
  /** From `adam` or `sgd`, for this field and no other. */
  optimizer: Optimizer<D>;
  /** Batches, one a step; an array is gone through again and again. */
  data: readonly Batch<D>[] | Iterable<Batch<D>> | AsyncIterable<Batch<D>>;
  /** Mean squared error by default, or a function of the solution and the batch. */
  loss?: "mse" | ((y: ArrayOf<D>, batch: Batch<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>);
  /** Default: as many as there are batches; an array needs a number. */
  steps?: number;
  /** An AbortSignal that ends the training: the generator throws its reason, between steps. */
  signal?: {
    /** As an AbortSignal has it. */
    throwIfAborted(): void;
  };
  /** Workers that share each batch. */
  pool?: Pool;
  /** Steps of the solver in each interval; `steps` counts those of the training here. */
  solverSteps?: number;
  /** The learning rate of each step, by the optimizer's count of the steps before it. */
  schedule?: Schedule;
  /** Gradients whose norm, over all parameters, is greater are scaled down to it. */
  clipNorm?: number;
  /** Judges the field by other data now and then, and may end the training. */
  validation?: Validation<D>;
}

/** How a training is judged by data that it does not see. */
export interface Validation<D extends Dtype = Dtype> {
  /** The loss is the mean over these, each counting by its entries. */
  data: readonly Batch<D>[];
  /** Steps of the optimizer between judgements; default 1. */
  every?: number;
  /** Training ends after so many judgements without a better one; default never. */
  patience?: number;
  /** By how much a loss must be less to be better; default 0. */
  leastGain?: number;
  /** Whether the field has the best parameters when training ends by itself; default true. */
  restoreBest?: boolean;
  /** The best so far, of a training that this one goes on from. */
  best?: Best<D> | undefined;
}

/** A step of the training that has been taken. */
export interface TrainStep<D extends Dtype = Dtype> {
  /** From 1. */
  readonly step: number;
  /** Before the step. */
  readonly loss: number;
  /** As it was computed, before clipping. */
  readonly gradient: Gradient<D>;
  /** Its l2 norm over all parameters; infinite where that is beyond what a number holds. */
  readonly gradientNorm: number;
  /** With which the step was taken. */
  readonly learningRate: number;
  /** Of this batch, before the step. */
  readonly solution: Solution<D>;
  /** The loss of the validation data after the step, where it was time for that; infinite where a solve fails or it is not finite. */
  readonly validation?: number;
  /** The best so far; none while no loss of the validation data was finite. */
  readonly best?: Best<D>;
  /** Whether patience has run out: the last step. */
  readonly stopped: boolean;
}

/** Parameters that have done best. */
export interface Best<D extends Dtype = Dtype> {
  /** The optimizer's steps until then. */
  readonly step: number;
  /** The loss of the validation data. */
  readonly validation: number;
  /** A copy of them. */
  readonly parameters: ArrayOf<D>;
}

const names = [
  ...["field", "optimizer", "data", "loss", "steps", "signal", "pool", "solverSteps", "schedule", "clipNorm"],
  ...["validation", ...gradientNames],
];

/**
 * Trains a field: for each batch one gradient and one step of the optimizer. Other tasks get their turn between steps,
 * so that a page stays alive and a signal arrives.
 */
export async function* train<D extends Dtype>(options: TrainOptions<D>): AsyncGenerator<TrainStep<D>, void> {
  checkNames(options, names);
  const { field, optimizer, data, loss = "mse", signal, pool, steps: wanted, solverSteps, ...rest } = options;
  const { schedule, clipNorm, validation, ...solver } = rest;
  const positive = (value: number) => value >= 1 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY);
  const steps = numberOption("steps", wanted, Number.POSITIVE_INFINITY, "a positive integer", positive);
  const settings: GradientOptions = {
    timeGradients: false,
    ...solver,
    steps: checked("solverSteps", solverSteps, count),
  };
  const longest = checked("clipNorm", clipNorm, finite);
  useField(field);
  useOptimizer(optimizer, field);
  if (loss !== "mse" && typeof loss !== "function")
    throw refused("OPTION", "loss", "mse or a function", describe(loss));
  if (pool !== undefined) usePool(pool);
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw refused("OPTION", "signal", "an AbortSignal", describe(signal));
  }
  if (schedule !== undefined && typeof schedule !== "function") {
    throw refused("OPTION", "schedule", "a function of the steps taken", describe(schedule));
  }
  const judge =
    validation === undefined ? undefined : new Judge(field, validation, loss, settings, pool, optimizer.steps);
  let step = 0;
  let breath = performance.now();
  const check = (where: string, batch: Batch<D>) => void checkBatch(where, batch, loss, field.dtype);
  for await (const batch of batches(data, wanted, check)) {
    signal?.throwIfAborted();
    if (!Array.isArray(data)) check("data", batch);
    if (schedule) optimizer.learningRate = rateAt(schedule, optimizer.steps);
    const { learningRate } = optimizer;
    const compute = pool ? pool.valueAndGrad.bind(pool) : valueAndGrad;
    const { value, gradient, solution } = await compute(field, batch.y0, batch.times, lossFor(loss, batch), settings);
    const { norm: gradientNorm, scaledTo } = normOf(gradient.parameters);
    optimizer.step(longest !== undefined && gradientNorm > longest ? scaledTo(longest) : gradient);
    step++;
    const judged = judge?.due(optimizer.steps) ? await judge.judge(optimizer.steps) : undefined;
    const stopped = judge?.exhausted ?? false;
    const known = { ...(judged !== undefined && { validation: judged }), ...(judge?.best && { best: judge.best }) };
    yield Object.freeze({ step, loss: value, gradient, gradientNorm, learningRate, solution, ...known, stopped });
    if (step === steps || stopped) break;
    if (performance.now() - breath > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    }
  }
  judge?.restore();
}

/** As for `train`, and what is called after each step. */
export interface FitOptions<D extends Dtype = Dtype> extends TrainOptions<D> {
  /** Called after each step; may be async. Training ends where it gives false. */
  onStep?: (step: TrainStep<D>) => unknown;
}

/** How a training went. */
export interface History<D extends Dtype = Dtype> {
  /** Of each step, before it. */
  readonly losses: number[];
  /** Every loss of the validation data, with the optimizer's steps until then. */
  readonly validations: {
    /** Steps until then. */
    readonly step: number;
    /** The loss. */
    readonly validation: number;
  }[];
  /** The best of them; undefined where none was finite. */
  readonly best: Best<D> | undefined;
  /** Why it ended: all steps or data were used, patience ran out, or `onStep` gave false. */
  readonly ended: "done" | "patience" | "callback";
}

/** Trains to the end, as `train` does, which it is a loop over. */
export async function fit<D extends Dtype>(options: FitOptions<D>): Promise<History<D>> {
  checkNames(options, [...names, "onStep"]);
  const { onStep, ...rest } = options;
  if (onStep !== undefined && typeof onStep !== "function") {
    throw refused("OPTION", "onStep", "a function", describe(onStep));
  }
  const losses: number[] = [];
  const validations: { step: number; validation: number }[] = [];
  let best: Best<D> | undefined;
  let ended: History["ended"] = "done";
  for await (const step of train(rest as TrainOptions<D>)) {
    losses.push(step.loss);
    if (step.validation !== undefined)
      validations.push(frozen({ step: options.optimizer.steps, validation: step.validation }));
    best = step.best;
    if (step.stopped) ended = "patience";
    if ((await onStep?.(step)) === false) {
      ended = "callback";
      break;
    }
  }
  return Object.freeze({ losses, validations, best, ended });
}

/** A loss of the solution of a batch. */
function lossFor<D extends Dtype>(loss: TrainOptions<D>["loss"], batch: Batch<D>) {
  return (y: ArrayOf<D>, shape: Solution<D>["shape"]): LossAndCotangent<D> =>
    typeof loss === "function" ? loss(y, batch, shape) : meanSquaredError(y, batch.target, batch.mask);
}

/** Refuses what cannot be a batch, as far as that is known before its solve, and gives how much it counts. */
function checkBatch<D extends Dtype>(where: string, batch: Batch<D>, loss: TrainOptions<D>["loss"], dtype: D): number {
  if (batch === null || typeof batch !== "object") {
    throw refused("OPTION", where, "a batch { y0, times, target }", describe(batch));
  }
  const mask = batch.mask === undefined ? undefined : weightsOf(`${where}.mask`, batch.mask);
  const length = timesOf(batch.times, `${where}.times`).length * arrayOf(`${where}.y0`, batch.y0, dtype).length;
  if (loss === "mse") {
    const target = arrayOf(`${where}.target`, batch.target, dtype);
    checkLength(`${where}.target`, target, length, "[times, batch, state]");
    if (mask) checkLength(`${where}.mask`, mask.weights, length, "[times, batch, state]");
    const bad = target.findIndex((number, i) => !Number.isFinite(number) && mask?.weights[i] !== 0);
    if (bad >= 0) {
      const expected = "finite numbers where the mask is not 0";
      throw refused("NON_FINITE", `${where}.target`, expected, `${target[bad]} at index ${bad}`);
    }
  }
  return mask?.sum ?? length;
}

/** The l2 norm, and the same numbers scaled to another one: without overflow, since first to about 1, exactly. */
function normOf<A extends Float32Array | Float64Array>(numbers: A) {
  let largest = 0;
  for (const number of numbers) largest = Math.max(largest, Math.abs(number));
  const power = 2 ** -Math.max(-1022, Math.min(1023, Math.floor(Math.log2(largest))));
  let squares = 0;
  for (const number of numbers) squares += (number * power) ** 2;
  const root = Math.sqrt(squares);
  return { norm: root / power, scaledTo: (norm: number) => numbers.map((n) => n * power * (norm / root)) as A };
}

/** Judges a field by data that its training does not see, and keeps the best parameters. */
class Judge<D extends Dtype> {
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
    readonly loss: TrainOptions<D>["loss"],
    settings: GradientOptions,
    readonly pool: Pool | undefined,
    steps: number,
  ) {
    checkNames(validation, ["data", "every", "patience", "leastGain", "restoreBest", "best"], "validation.");
    const { data, every, patience, leastGain, restoreBest = true, best } = validation;
    if (!Array.isArray(data) || data.length === 0) {
      throw refused("OPTION", "validation.data", "an array of batches", describe(data));
    }
    const weights: { batch: Batch<D>; weight: number }[] = [];
    for (const [index, batch] of data.entries()) {
      weights.push({ batch, weight: checkBatch(`validation.data[${index}]`, batch, loss, field.dtype) });
    }
    const all = weights.reduce((sum, { weight }) => sum + weight, 0);
    if (!Number.isFinite(all)) throw refused("OPTION", "validation.data", "masks with a finite sum", "an infinite one");
    if (typeof restoreBest !== "boolean") {
      throw refused("OPTION", "validation.restoreBest", "true or false", describe(restoreBest));
    }
    const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
    const notNegative = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;
    this.#data = weights.map(({ batch, weight }) => ({ batch, part: weight / all }));
    this.#every = checked("validation.every", every, count) ?? 1;
    this.#patience = checked("validation.patience", patience, count) ?? Number.POSITIVE_INFINITY;
    this.#gain = numberOption("validation.leastGain", leastGain, 0, "a finite number, zero or more", notNegative);
    this.#restores = restoreBest;
    if (best !== undefined) {
      checkNames(best, ["step", "validation", "parameters"], "validation.best.");
      this.best = {
        step: numberOption("validation.best.step", best.step ?? Number.NaN, 0, "an integer, zero or more", natural),
        validation: numberOption(
          "validation.best.validation",
          best.validation ?? Number.NaN,
          0,
          "a finite number",
          Number.isFinite,
        ),
        parameters: arrayOf("validation.best.parameters", best.parameters, field.dtype).slice() as ArrayOf<D>,
      };
      checkLength("validation.best.parameters", this.best.parameters, field.parameters.length);
      numbersOf("validation.best.parameters", this.best.parameters);
      const judgements = (steps: number) => Math.floor(steps / this.#every);
      this.#failures = Math.max(0, judgements(steps) - judgements(this.best.step));
    }
    // A solve has no use for what a gradient is asked for.
    this.#solver = Object.fromEntries(Object.entries(settings).filter(([name]) => solveNames.includes(name)));
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
      this.best = frozen({ step, validation, parameters: this.field.parameters.slice() as ArrayOf<D> });
      this.#failures = 0;
    } else {
      this.#failures++;
    }
    return validation;
  }

  /** The mean over the batches, infinite where a solve does not come to its end or a loss is not finite. */
  async #loss(): Promise<number> {
    let mean = 0;
    const solve = this.pool ? this.pool.odeint.bind(this.pool) : odeint;
    for (const { batch, part } of this.#data) {
      try {
        const { y, shape } = await solve(this.field, batch.y0, batch.times, this.#solver);
        mean += part * lossOf(lossFor(this.loss, batch)(y, shape)).value;
      } catch (error) {
        if (!(error instanceof SymplecticAdjointError) || !ASTRAY.includes(error.code)) throw error;
        return Number.POSITIVE_INFINITY;
      }
    }
    return mean;
  }

  restore(): void {
    if (this.best && this.#restores) this.field.parameters = this.best.parameters;
  }
}

/** How a solve fails whose field has gone astray. */
const ASTRAY: readonly ErrorCode[] = ["MAX_STEPS", "STEP_UNDERFLOW", "NON_FINITE"];

/** The data as an iterable; an array, whose batches are checked at once, again and again for so many steps. */
function batches<B>(
  data: readonly B[] | Iterable<B> | AsyncIterable<B>,
  steps: number | undefined,
  check: (where: string, batch: B) => void,
) {
  if (Array.isArray(data)) {
    if (data.length === 0) throw refused("OPTION", "data", "at least one batch", describe(data));
    if (steps === undefined) throw refused("OPTION", "steps", "a number, for an array of data", "undefined");
    const all: B[] = [];
    for (const [index, batch] of data.entries()) {
      check(`data[${index}]`, batch);
      all.push(batch);
    }
    return repeated(all);
  }
  const iterable = data as Iterable<B> & AsyncIterable<B>;
  if (typeof (iterable?.[Symbol.asyncIterator] ?? iterable?.[Symbol.iterator]) !== "function") {
    throw refused("OPTION", "data", "an array or an iterable of batches", describe(data));
  }
  return iterable;
}

function* repeated<B>(batches: readonly B[]): Generator<B> {
  for (;;) yield* batches;
}
