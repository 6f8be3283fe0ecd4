import { describe, refused } from "./errors.js";
import { type Field, useField } from "./fields.js";
import { type Gradient, type LossAndCotangent, meanSquaredError, valueAndGrad } from "./gradient.js";
import type { ArrayOf, Dtype } from "./memory.js";
import type { Solution } from "./odeint.js";
import type { Optimizer } from "./optimizer.js";
import { checked, checkNames, count, type GradientOptions, gradientNames, numberOption } from "./options.js";
import type { Pool } from "./pool.js";

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
}

/** A step of the training that has been taken. */
export interface TrainStep<D extends Dtype = Dtype> {
  /** From 1. */
  readonly step: number;
  /** Before the step. */
  readonly loss: number;
  readonly gradient: Gradient<D>;
  readonly solution: Solution<D>;
}

/**
 * Trains a field: for each batch one gradient and one step of the optimizer. Other tasks get their turn between steps,
 * so that a page stays alive and a signal arrives.
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
    ...gradientNames,
  ]);
  const { field, optimizer, data, loss = "mse", signal, pool, steps: wanted, solverSteps, ...solver } = options;
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
  let step = 0;
  let breath = performance.now();
  for await (const batch of batches(data, wanted)) {
    signal?.throwIfAborted();
    if (batch === null || typeof batch !== "object") {
      throw refused("OPTION", "data", "batches { y0, times, target }", describe(batch));
    }
    const lossOf = (y: ArrayOf<D>, shape: Solution<D>["shape"]) =>
      loss === "mse" ? meanSquaredError(y, batch.target, batch.mask) : loss(y, batch, shape);
    const compute = pool ? pool.valueAndGrad.bind(pool) : valueAndGrad;
    const { value, gradient, solution } = await compute(field, batch.y0, batch.times, lossOf, settings);
    optimizer.step(gradient);
    yield { step: ++step, loss: value, gradient, solution };
    if (step === steps) return;
    if (performance.now() - breath > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    }
  }
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
