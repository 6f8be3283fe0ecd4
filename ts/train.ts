import { describe, refused } from "./errors.js";
import type { Field } from "./fields.js";
import { type Gradient, type LossAndCotangent, meanSquaredError, valueAndGrad } from "./gradient.js";
import type { ArrayOf, Dtype } from "./memory.js";
import type { Solution } from "./odeint.js";
import type { Optimizer } from "./optimizer.js";
import { checkNames, type GradientOptions, gradientNames, numberOption } from "./options.js";

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
  /** Ends the training: the generator throws the signal's reason, between steps. */
  signal?: AbortSignal;
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
  const { field, optimizer, data, loss = "mse", signal, steps: wanted, solverSteps, ...solver } = options;
  const known = gradientNames.filter((name) => name !== "steps");
  checkNames(options, ["field", "optimizer", "data", "loss", "steps", "signal", "solverSteps", ...known]);
  const positive = (value: number) => value >= 1;
  const steps = numberOption("steps", wanted, Number.POSITIVE_INFINITY, "a positive number", positive);
  if (loss !== "mse" && typeof loss !== "function")
    throw refused("OPTION", "loss", "mse or a function", describe(loss));
  if (Array.isArray(data) && (data.length === 0 || wanted === undefined)) {
    const [argument, expected] =
      data.length === 0 ? ["data", "at least one batch"] : ["steps", "a number, for an array of data"];
    throw refused("OPTION", argument as string, expected as string, describe(data.length === 0 ? data : wanted));
  }
  const settings: GradientOptions = solverSteps === undefined ? solver : { ...solver, steps: solverSteps };
  let step = 0;
  let breath = now();
  for await (const batch of Array.isArray(data) ? repeated<Batch<D>>(data) : data) {
    if (step === steps) return;
    signal?.throwIfAborted();
    const lossOf = (y: ArrayOf<D>, shape: Solution<D>["shape"]) =>
      loss === "mse" ? meanSquaredError(y, batch.target, batch.mask) : loss(y, batch, shape);
    const { value, gradient, solution } = valueAndGrad(field, batch.y0, batch.times, lossOf, settings);
    optimizer.step(gradient);
    yield { step: ++step, loss: value, gradient, solution };
    if (now() - breath > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      breath = now();
    }
  }
}

function* repeated<B>(batches: readonly B[]): Generator<B> {
  for (;;) yield* batches;
}

const now = () => performance.now();
