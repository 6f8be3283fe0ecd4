// Training: a gradient and a step of the optimizer for each batch.
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import { frozen } from "../checks/frozen.js";
import {
  anything,
  callable,
  fallback,
  finitePositive,
  number,
  object,
  options as readRules,
  rule,
  withMethod,
} from "../checks/rules.js";
import { type Field, useField } from "../fields/field.js";
import { type Pool, poolRule } from "../parallel/pool.js";
import { valueAndGrad } from "../solve/gradient.js";
import { type GradientOptions, gradientRules, readOptions } from "../solve/options.js";
import type { Gradient, Solution } from "../solve/results.js";
import { type Batch, batches, checkBatch, type Loss, lossFor } from "./batch.js";
import { type Optimizer, useOptimizer } from "./optimizer.js";
import { rateAt, type Schedule } from "./schedules.js";
import { type Best, type Validation, Validator } from "./validation.js";

/** What to train, by what, and how to solve. */
export interface TrainOptions<D extends Dtype = Dtype> extends GradientOptions {
  /** Its parameters are changed in place. */
  field: Field<D>;
  /** From `adam` or `sgd`, for this field and no other. */
  optimizer: Optimizer<D>;
  /** Batches, one a step; an array is gone through again and again. */
  data: readonly Batch<D>[] | Iterable<Batch<D>> | AsyncIterable<Batch<D>>;
  /** Mean squared error by default, or a function of the solution and the batch. */
  loss?: Loss<D>;
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

const { steps: solverSteps, ...solverRules } = gradientRules;
const isSteps = (value: number) => value >= 1 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY);
const rules = {
  field: anything<Field>(),
  optimizer: anything<Optimizer>(),
  data: anything<TrainOptions["data"]>(),
  loss: fallback(
    rule<Loss>("mse or a function", (value) => value === "mse" || typeof value === "function"),
    "mse",
  ),
  steps: number("a positive integer", isSteps),
  signal: withMethod<NonNullable<TrainOptions["signal"]>>("an AbortSignal", "throwIfAborted"),
  pool: poolRule,
  solverSteps,
  schedule: callable<Schedule>("a function of the steps taken"),
  clipNorm: finitePositive,
  validation: object,
  ...solverRules,
};

/**
 * Trains a field: for each batch one gradient and one step of the optimizer. Other tasks get their turn between steps,
 * so that a page stays alive and a signal arrives.
 *
 * @returns A generator of the steps, each of which is taken when you ask for it.
 * @throws `OPTION`, `SHAPE`, `DTYPE` and `NON_FINITE` for invalid options, before the first step; as `valueAndGrad` on the way.
 */
export async function* train<D extends Dtype>(options: TrainOptions<D>): AsyncGenerator<TrainStep<D>, void> {
  const read = readRules(options, rules);
  const {
    field,
    optimizer,
    data,
    loss,
    steps: wanted,
    ...rest
  } = read as unknown as Omit<TrainOptions<D>, "loss"> & {
    loss: Loss<D>;
  };
  const { signal, pool, solverSteps, schedule, clipNorm, validation, ...solver } = rest;
  const { timeGradients = false } = solver;
  const settings = readOptions({ ...solver, timeGradients, steps: solverSteps });
  useField(field);
  useOptimizer(optimizer, field);
  const validator = validation && new Validator(field, validation, loss, settings, pool, optimizer.steps);
  let step = 0;
  let rested = performance.now();
  const check = (where: string, batch: Batch<D>) => void checkBatch(where, batch, loss, field.dtype);
  for await (const batch of batches(data, wanted, check)) {
    signal?.throwIfAborted();
    if (!Array.isArray(data)) check("data", batch);
    if (schedule) optimizer.learningRate = rateAt(schedule, optimizer.steps);
    const { learningRate } = optimizer;
    const compute = pool ? pool.valueAndGrad.bind(pool) : valueAndGrad;
    const { value, gradient, solution } = await compute(field, batch.y0, batch.times, lossFor(loss, batch), settings);
    const { norm: gradientNorm, scaledTo } = normOf(gradient.parameters as ArrayOf<Dtype>);
    optimizer.step(clipNorm !== undefined && gradientNorm > clipNorm ? (scaledTo(clipNorm) as ArrayOf<D>) : gradient);
    step++;
    const judged = validator?.due(optimizer.steps) ? await validator.judge(optimizer.steps) : undefined;
    const stopped = validator?.exhausted ?? false;
    const known = {
      ...(judged !== undefined && { validation: judged }),
      ...(validator?.best && { best: validator.best }),
    };
    yield Object.freeze({ step, loss: value, gradient, gradientNorm, learningRate, solution, ...known, stopped });
    if (step === wanted || stopped) break;
    if (performance.now() - rested > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      rested = performance.now();
    }
  }
  validator?.restore();
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
  const { onStep, ...rest } = readRules(options, { ...rules, onStep: callable<FitOptions<D>["onStep"]>() });
  const losses: number[] = [];
  const validations: { step: number; validation: number }[] = [];
  let best: Best<D> | undefined;
  let ended: History["ended"] = "done";
  for await (const step of train(rest as unknown as TrainOptions<D>)) {
    losses.push(step.loss);
    if (step.validation !== undefined)
      validations.push(frozen({ step: (rest.optimizer as Optimizer).steps, validation: step.validation }));
    best = step.best;
    if (step.stopped) ended = "patience";
    if ((await onStep?.(step)) === false) {
      ended = "callback";
      break;
    }
  }
  return Object.freeze({ losses, validations, best, ended });
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
