import { describe, refused } from "./errors.js";
import { type Field, useField } from "./fields.js";
import { type Gradient, type LossAndCotangent, meanSquaredError, valueAndGrad } from "./gradient.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype } from "./memory.js";
import { odeint, type Solution } from "./odeint.js";
import type { Optimizer } from "./optimizer.js";
import { checked, checkNames, count, finite, type GradientOptions, gradientNames, numberOption } from "./options.js";
import type { Pool } from "./pool.js";
import type { Schedule } from "./schedules.js";

/** Trajectories that share their times. */
export interface Batch<D extends Dtype = Dtype> {
  /** `[batch, state]`. */
  y0: ArrayOf<D>;
  times: ArrayLike<number>;
  /** `[times, batch, state]`. */
  target: ArrayOf<D>;
  /** As target: 1 where an entry counts and 0 where not, or weights. */
  mask?: ArrayLike<number>;
}

export interface TrainOptions<D extends Dtype = Dtype> extends GradientOptions {
  field: Field<D>;
  optimizer: Optimizer<D>;
  /** Batches, one a step; an array is gone through again and again. */
  data: readonly Batch<D>[] | Iterable<Batch<D>> | AsyncIterable<Batch<D>>;
  /** Mean squared error by default, or a function of the solution and the batch. */
  loss?: "mse" | ((y: ArrayOf<D>, batch: Batch<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>);
  /** Default: as many as there are batches; an array needs a number. */
  steps?: number;
  /** An AbortSignal that ends the training: the generator throws its reason, between steps. */
  signal?: { throwIfAborted(): void };
  /** Workers that share each batch. */
  pool?: Pool;
  /** Steps of the solver in each interval; `steps` counts those of the training here. */
  solverSteps?: number;
  /** The learning rate of each step, by the steps that the optimizer has taken before; default the optimizer's own. */
  schedule?: Schedule;
  /** A gradient whose norm over all parameters is greater is scaled down to it. */
  clipNorm?: number;
  /** What the field is tried on as it learns. */
  validate?: Validation<D>;
}

export interface Validation<D extends Dtype = Dtype> {
  /** Batches, for the same loss. */
  data: readonly Batch<D>[];
  /** Steps of the optimizer from one validation to the next; default 10. */
  every?: number;
  /** So many validations in a row that are no better than the best end the training; default never. */
  patience?: number;
  /** The best so far, of the training that this one goes on from. */
  best?: Best<D> | undefined;
}

/** The parameters that have done best in validation. */
export interface Best<D extends Dtype = Dtype> {
  /** Of the optimizer. */
  readonly step: number;
  readonly loss: number;
  readonly parameters: ArrayOf<D>;
}

/** A step of the training that has been taken. */
export interface TrainStep<D extends Dtype = Dtype> {
  /** From 1. */
  readonly step: number;
  /** Before the step. */
  readonly loss: number;
  readonly gradient: Gradient<D>;
  readonly solution: Solution<D>;
  /** What the step was taken with. */
  readonly learningRate: number;
  /** After the step, where it was time for a validation: the mean over its entries, infinite where a solve fails. */
  readonly validation: number | undefined;
  /** With `validate`, the best so far, once there is one. */
  readonly best: Best<D> | undefined;
}

/**
 * Trains a field: for each batch one gradient and one step of the optimizer. Other tasks get their turn between steps,
 * so that a page stays alive and a signal arrives. With `validate` the field has its best parameters in the end; not where
 * a signal ends the training, or the caller leaves the loop, so that it can go on from there.
 */
export async function* train<D extends Dtype>(options: TrainOptions<D>): AsyncGenerator<TrainStep<D>, void> {
  checkNames(options, [
    "field",
    "optimizer",
    "data",
    "loss",
    "steps",
    "signal",
    "pool",
    "solverSteps",
    "schedule",
    "clipNorm",
    "validate",
    ...gradientNames,
  ]);
  const { field, optimizer, data, loss = "mse", signal, pool, steps: wanted, solverSteps, ...others } = options;
  const { schedule, clipNorm, validate, ...solver } = others;
  const positive = (value: number) => value >= 1 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY);
  const steps = numberOption("steps", wanted, Number.POSITIVE_INFINITY, "a positive integer", positive);
  const settings: GradientOptions = { ...solver, steps: checked("solverSteps", solverSteps, count) };
  useField(field);
  if (typeof optimizer?.step !== "function") {
    throw refused("OPTION", "optimizer", "an optimizer, from adam or sgd", describe(optimizer));
  }
  if (loss !== "mse" && typeof loss !== "function")
    throw refused("OPTION", "loss", "mse or a function", describe(loss));
  if (pool !== undefined && typeof pool?.valueAndGrad !== "function") {
    throw refused("OPTION", "pool", "a pool, from parallel", describe(pool));
  }
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw refused("OPTION", "signal", "an AbortSignal", describe(signal));
  }
  if (schedule !== undefined && typeof schedule !== "function") {
    throw refused("OPTION", "schedule", "a function of the steps taken", describe(schedule));
  }
  const clip = checked("clipNorm", clipNorm, finite);
  const validation = validate && readValidation(validate, field);
  const compute = pool ? pool.valueAndGrad.bind(pool) : valueAndGrad;
  const solve = pool ? pool.odeint.bind(pool) : odeint;
  const lossFor = (batch: Batch<D>) => (y: ArrayOf<D>, shape: Solution<D>["shape"]) =>
    loss === "mse" ? meanSquaredError(y, batch.target, batch.mask) : loss(y, batch, shape);
  const { gradient: _, memoryBudget: __, adjoint: ___, ...forward } = settings;
  const lossAt = async (batch: Batch<D>) => {
    const { y, shape } = await solve(field, batch.y0, batch.times, forward);
    return lossFor(batch)(y, shape).value;
  };
  let best = validation?.best;
  let step = 0;
  let breath = performance.now();
  for await (const batch of batches(data, wanted)) {
    signal?.throwIfAborted();
    if (batch === null || typeof batch !== "object") {
      throw refused("OPTION", "data", "batches { y0, times, target }", describe(batch));
    }
    const { value, gradient, solution } = await compute(field, batch.y0, batch.times, lossFor(batch), settings);
    if (schedule) optimizer.learningRate = schedule(optimizer.steps);
    const { learningRate } = optimizer;
    optimizer.step(clip === undefined ? gradient : clipped(gradient.parameters, clip));
    let validated: number | undefined;
    if (validation && optimizer.steps % validation.every === 0) {
      validated = await meanLoss(validation.data, lossAt);
      if (!best || validated < best.loss) {
        best = { step: optimizer.steps, loss: validated, parameters: field.parameters.slice() as ArrayOf<D> };
      }
    }
    yield { step: ++step, loss: value, gradient, solution, learningRate, validation: validated, best };
    if (step === steps) break;
    if (validation && best && optimizer.steps - best.step >= validation.every * validation.patience) break;
    if (performance.now() - breath > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    }
  }
  if (best) field.parameters = best.parameters;
}

function readValidation<D extends Dtype>(validate: Validation<D>, field: Field<D>) {
  checkNames(validate, ["data", "every", "patience", "best"], "validate.");
  const { data, best } = validate;
  if (!Array.isArray(data) || data.length === 0) {
    throw refused("OPTION", "validate.data", "an array of batches", describe(data));
  }
  const every = checked("validate.every", validate.every, count) ?? 10;
  const patience = checked("validate.patience", validate.patience, count) ?? Number.POSITIVE_INFINITY;
  if (best !== undefined) {
    checkNames(best, ["step", "loss", "parameters"], "validate.best.");
    const parameters = arrayOf("validate.best.parameters", best.parameters, field.dtype);
    checkLength("validate.best.parameters", parameters, field.parameters.length);
  }
  return { data: [...data] as Batch<D>[], every, patience, best };
}

/** The mean loss of batches, each weighted by the entries that count; infinite where a solve does not come to its end. */
async function meanLoss<D extends Dtype>(batches: readonly Batch<D>[], lossAt: (batch: Batch<D>) => Promise<number>) {
  let [sum, weights] = [0, 0];
  for (const batch of batches) {
    let weight = batch.target.length;
    if (batch.mask) weight = Array.from(batch.mask).reduce((total, part) => total + part, 0);
    try {
      sum += weight * (await lossAt(batch));
      weights += weight;
    } catch (error) {
      const failures: unknown[] = ["MAX_STEPS", "STEP_UNDERFLOW", "NON_FINITE"];
      if (!failures.includes((error as { code?: unknown })?.code)) throw error;
      return Number.POSITIVE_INFINITY;
    }
  }
  return sum / weights;
}

/** A gradient no longer than that, in the same direction. */
function clipped<A extends Float32Array | Float64Array>(gradient: A, length: number): A {
  let largest = 0;
  for (const value of gradient) largest = Math.max(largest, Math.abs(value));
  if (!(largest > 0)) return gradient;
  // Relative to the largest, so that squares do not overflow.
  let sum = 0;
  for (const value of gradient) sum += (value / largest) ** 2;
  const norm = largest * Math.sqrt(sum);
  return norm > length ? (gradient.map((value) => (value / norm) * length) as A) : gradient;
}

/** The data as an iterable; an array again and again, for so many steps. */
function batches<B>(data: readonly B[] | Iterable<B> | AsyncIterable<B>, steps: number | undefined) {
  if (Array.isArray(data)) {
    if (data.length === 0) throw refused("OPTION", "data", "at least one batch", describe(data));
    if (steps === undefined) throw refused("OPTION", "steps", "a number, for an array of data", "undefined");
    return repeated<B>([...data]);
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
