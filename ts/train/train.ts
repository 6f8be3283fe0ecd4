// Training: a gradient and a step of the optimizer for each batch.
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import {
  anything,
  callable,
  fallback,
  finitePositive,
  isCallable,
  number,
  object,
  options as readRules,
  rule,
  together,
  withMethod,
} from "../checks/rules.js";
import { type Field, type FieldNames, fieldRule, useField } from "../fields/field.js";
import { poolRule } from "../parallel/pool-rule.js";
import type { Pool } from "../parallel/pool-types.js";
import { valueAndGrad } from "../solve/gradient.js";
import { type GradientOptions, gradientRules, readOptions } from "../solve/options.js";
import type { Gradient, Solution } from "../solve/results.js";
import { type Batch, batches, checkBatch, dataRule, type Loss, lossesOfData, lossFor, optionsFor } from "./batch.js";
import { freeGradient, type Optimizer, useOptimizer } from "./optimizer.js";
import { rateAt, type Schedule } from "./schedules.js";
import { type Best, type Validation, Validator } from "./validation.js";

/** The options of `train`: the field, the optimizer, the data, and how to solve. */
export interface TrainOptions<D extends Dtype = Dtype, A extends string = string, N extends FieldNames = FieldNames>
  extends GradientOptions<A, N> {
  /** The field to train; its parameters change in place. */
  field: Field<D, A, N>;
  /** The optimizer that changes the field's parameters: from `adam` or `sgd`, made for this field. */
  optimizer: Optimizer<D>;
  /**
   * The batches, one per step. An array is repeated until `steps` are done, and `minibatches` go on from epoch to epoch; another iterable
   * is taken once.
   */
  data: readonly Batch<D, A>[] | Iterable<Batch<D, A>> | AsyncIterable<Batch<D, A>>;
  /** The loss of a batch: `mse`, the default, one from `loss`, `huberLoss` and so on, or a function of the solution and the batch. */
  loss?: Loss<D> | undefined;
  /**
   * The number of training steps; default one epoch of `minibatches`, or as many as another iterable has batches. Required for an array,
   * and for an endless iterable. `Infinity` goes on until patience runs out, or you end it.
   */
  steps?: number | undefined;
  /** An AbortSignal that ends the training: the generator throws its reason, between steps. */
  signal?:
    | {
        /** Throws the signal's reason if it was aborted, as the method of an AbortSignal does. */
        throwIfAborted(): void;
      }
    | undefined;
  /** A pool whose workers share each batch. */
  pool?: Pool | undefined;
  /** Fixed steps of the solver in each interval of times, as `steps` of `odeint`. */
  solverSteps?: number | undefined;
  /**
   * The learning rate of each step, as a function of the steps that the optimizer has taken. If parameters have their own rates, it
   * gives the largest of them, and the others stay in proportion.
   */
  schedule?: Schedule | undefined;
  /** The largest norm of the gradient of all parameters: a longer gradient is scaled down to it. */
  clipNorm?: number | undefined;
  /** Data on which the field is evaluated now and then; this may end the training. */
  validation?: Validation<D, A> | undefined;
}

/** A step of the training that has been taken. */
export interface TrainStep<D extends Dtype = Dtype, A extends string = string> {
  /** The number of the step, from 1. */
  readonly step: number;
  /** The loss of the batch, before the step. */
  readonly loss: number;
  /** The gradient of the loss, before clipping. */
  readonly gradient: Gradient<D, A>;
  /** The l2 norm of the gradient of all parameters that are not `fixed`, before clipping; infinite if it overflows. */
  readonly gradientNorm: number;
  /** The learning rate of the step; if parameters have their own rates, the largest of them. */
  readonly learningRate: number;
  /** The solution of the batch, before the step. */
  readonly solution: Solution<D>;
  /** The loss of the validation data after the step, if an evaluation was due; infinite if a solve fails or the loss is not finite. */
  readonly validation?: number;
  /** The parameters that have done best on the validation data so far; undefined while no loss was finite. */
  readonly best?: Best<D>;
  /** Whether this is the last step because patience has run out. */
  readonly stopped: boolean;
}

const { steps: solverSteps, ...solverRules } = gradientRules;
const isSteps = (value: number) => value >= 1 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY);
const rules = together(solverRules, {
  field: fieldRule,
  optimizer: anything<Optimizer>(),
  data: dataRule,
  loss: fallback(
    rule<Loss>("mse or a function", (value) => value === "mse" || isCallable(value)),
    "mse",
  ),
  steps: number("a positive integer", isSteps),
  signal: withMethod<NonNullable<TrainOptions["signal"]>>("an AbortSignal", "throwIfAborted"),
  pool: poolRule,
  solverSteps,
  schedule: callable<Schedule>("a function of the steps taken"),
  clipNorm: finitePositive,
  validation: object,
});

/**
 * Trains a field: for each batch one gradient and one step of the optimizer. Other tasks get their turn between steps, so a page stays
 * responsive and a signal arrives.
 *
 * @returns A generator of the steps, each of which is taken when you ask for it.
 * @throws `OPTION`, `SHAPE`, `DTYPE` and `NON_FINITE` at once, for invalid options and batches of an array. The generator
 * throws `MAX_STEPS`, `STEP_UNDERFLOW`, `MAX_EVENTS`, `NON_FINITE` if a solve fails, with its `t`; `NON_FINITE` for a loss, a gradient or
 * new parameters that are not finite; `CALLBACK` if a loss or a schedule returns the wrong thing; and what these throw.
 */
export function train<D extends Dtype, A extends string, N extends FieldNames = FieldNames>(
  options: TrainOptions<D, A, N>,
): AsyncGenerator<TrainStep<D, A>, void> {
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
  if (lossesOfData.has(loss as object)) {
    throw refused(
      "OPTION",
      "loss",
      "the loss itself, which takes the data of each batch",
      "one with data; leave out .of(…)",
    );
  }
  const { signal, pool, solverSteps, schedule, clipNorm, validation, ...solver } = rest;
  const { timeGradients = false } = solver;
  const settings = readOptions({ ...solver, timeGradients, steps: solverSteps });
  useField(field);
  useOptimizer(optimizer, field);
  const validator = validation && new Validator(field, validation, loss, settings, pool, optimizer.steps);
  const check = (where: string, batch: Batch<D>) => void checkBatch(where, batch, loss, field);
  const { all, steps: last } = batches(data, wanted, check);
  return steps();

  async function* steps(): AsyncGenerator<TrainStep<D>, void> {
    let step = 0;
    let rested = performance.now();
    for await (const batch of all) {
      signal?.throwIfAborted();
      if (!Array.isArray(data)) check("data", batch);
      if (schedule) optimizer.learningRate = rateAt(schedule, optimizer.steps);
      const { learningRate } = optimizer;
      const inputs = [field, batch.y0, batch.times, lossFor(loss, batch), optionsFor(settings, batch)] as const;
      const { value, gradient, solution } = pool ? await pool.valueAndGrad(...inputs) : valueAndGrad(...inputs);
      const free = freeGradient(optimizer, gradient.parameters as ArrayOf<D>);
      const { norm: gradientNorm, scaledTo } = normOf(free as ArrayOf<Dtype>);
      optimizer.step(clipNorm !== undefined && gradientNorm > clipNorm ? (scaledTo(clipNorm) as ArrayOf<D>) : gradient);
      step++;
      const judged = validator?.due(optimizer.steps) ? await validator.judge(optimizer.steps) : undefined;
      const stopped = validator?.exhausted ?? false;
      const known = {
        ...(judged !== undefined && { validation: judged }),
        ...(validator?.best && { best: validator.best }),
      };
      yield Object.freeze({ step, loss: value, gradient, gradientNorm, learningRate, solution, ...known, stopped });
      if (step === last || stopped) break;
      if (performance.now() - rested > 12) {
        await new Promise((resolve) => setTimeout(resolve));
        rested = performance.now();
      }
    }
    validator?.restore();
  }
}

/** The options of `train`, and what to call after each step. */
export interface TrainFitOptions<D extends Dtype = Dtype, A extends string = string, N extends FieldNames = FieldNames>
  extends TrainOptions<D, A, N> {
  /** Called after each step; may be async. Training ends if it returns false. */
  onStep?: ((step: TrainStep<D, A>) => unknown) | undefined;
}

/** How a training went: its losses, and why it ended. */
export interface History<D extends Dtype = Dtype> {
  /** The loss of the batch of each step, before the step. */
  readonly losses: number[];
  /** Each loss of the validation data, in the order of training. */
  readonly validations: {
    /** How many steps the optimizer had taken at this evaluation. */
    readonly step: number;
    /** The loss of the validation data. */
    readonly validation: number;
  }[];
  /** The parameters that did best on the validation data; undefined if no loss was finite or there is no validation. */
  readonly best: Best<D> | undefined;
  /** Why the training ended: all steps or data were used, patience ran out, or `onStep` returned false. */
  readonly ended: "done" | "patience" | "callback";
}

/** Trains a field to the end: a loop over `train`, with its options. */
export async function fit<D extends Dtype, A extends string, N extends FieldNames = FieldNames>(
  options: TrainFitOptions<D, A, N>,
): Promise<History<D>> {
  const { onStep, ...rest } = readRules(options, { ...rules, onStep: callable<TrainFitOptions<D>["onStep"]>() });
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
