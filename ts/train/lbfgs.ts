// Training by L-BFGS, for losses that are smooth and of all data at once.
import { type ArrayOf, arrayOf, checkFinite, checkLength, constructors, type Dtype } from "../checks/arrays.js";
import { describe, isFailedSolve, isRevoked, refused } from "../checks/errors.js";
import {
  argument,
  callable,
  count,
  fallback,
  finiteValue,
  isObject,
  nonNegative,
  options as readOptions,
  required,
  withMethod,
} from "../checks/rules.js";
import { type Field, fieldRule, useField, wasmField } from "../fields/field.js";
import { quasiNewton, type Sloped } from "./quasi-newton.js";

/** A loss at the field's parameters, and its gradient with respect to them, as from `valueAndGrad`. */
export interface LbfgsValue<D extends Dtype = Dtype> {
  /** The value of the loss at the field's current parameters. */
  readonly value: number;
  /**
   * The gradient of the loss with respect to the parameters, of the layout of `field.parameters`, or an object with it as
   * `parameters`.
   */
  readonly gradient: ArrayOf<D> | { readonly parameters: ArrayOf<D> };
}

/** An iteration of `lbfgs`. */
export interface LbfgsProgress {
  /** The number of the iteration, from 1. */
  readonly iteration: number;
  /** The loss after the iteration. */
  readonly value: number;
  /** The l2 norm of the gradient after the iteration. */
  readonly gradientNorm: number;
  /** How often the loss was computed so far, over all iterations. */
  readonly evaluations: number;
}

/** Options of `lbfgs`: what to minimise, and when to stop. */
export interface LbfgsOptions<D extends Dtype = Dtype> {
  /** The field to train; its parameters change in place. */
  field: Field<D>;
  /**
   * Returns `{ value, gradient }`, as from `valueAndGrad`, of all data at the field's current parameters; may be async. If the loss is
   * not finite, or a solve fails with `NON_FINITE`, `STEP_UNDERFLOW` or `MAX_STEPS`, a shorter step is taken.
   */
  value: () => LbfgsValue<D> | Promise<LbfgsValue<D>>;
  /** The greatest number of iterations; default 100. */
  maxIterations?: number | undefined;
  /** Number of previous steps kept to approximate the Hessian; default 10. */
  memory?: number | undefined;
  /**
   * Stop when no derivative is larger than this, relative to the larger of 1 and the loss, or where both the loss and the first derivatives
   * are smaller than 1, to the largest of these; default 1e-8, for float32 fields 1e-6.
   */
  gradientTolerance?: number | undefined;
  /** Stop when an iteration lowers the loss by no more than this, relative to it; default 1e-10, for float32 fields 1e-7. */
  costTolerance?: number | undefined;
  /** Called after each iteration; may be async. Return false to stop the training. */
  onIteration?: ((progress: LbfgsProgress) => unknown) | undefined;
  /** An AbortSignal that ends the training, between evaluations: `lbfgs` throws its reason. */
  signal?:
    | {
        /** Throws the signal's reason if it was aborted, as the method of an AbortSignal does. */
        throwIfAborted(): void;
      }
    | undefined;
}

/**
 * Why `lbfgs` ended: at a minimum (`gradient`, `cost`), because it was told to stop (`iterations`, `callback`), or because no step lowers
 * the loss (`stuck`).
 */
export type LbfgsReason =
  /** The gradient vanishes. */
  | "gradient"
  /** An iteration hardly lowered the loss. */
  | "cost"
  /** `maxIterations` was reached. */
  | "iterations"
  /** `onIteration` returned false. */
  | "callback"
  /** No step lowers the loss: it is down to rounding, or the gradient is wrong. */
  | "stuck";

/** How a training by `lbfgs` went. */
export interface LbfgsResult {
  /** The smallest loss, which is that of the field's final parameters. */
  readonly value: number;
  /** The number of iterations, each with a step that lowered the loss. */
  readonly iterations: number;
  /** How often the loss was computed. */
  readonly evaluations: number;
  /** Why the training ended. */
  readonly reason: LbfgsReason;
}

const rules = {
  field: fieldRule,
  value: required(callable<LbfgsOptions["value"]>("a function without arguments")),
  maxIterations: fallback(count, 100),
  memory: fallback(count, 10),
  gradientTolerance: nonNegative,
  costTolerance: nonNegative,
  onIteration: callable<NonNullable<LbfgsOptions["onIteration"]>>("a function of the progress"),
  signal: withMethod<NonNullable<LbfgsOptions["signal"]>>("an AbortSignal", "throwIfAborted"),
};

/** Tolerances, and the rounding of a loss, by number type. */
const PRECISION = {
  float32: { gradientTolerance: 1e-6, costTolerance: 1e-7, noise: 1e-7 },
  float64: { gradientTolerance: 1e-8, costTolerance: 1e-10, noise: 1e-14 },
};

/**
 * Minimises a smooth loss by L-BFGS (Liu and Nocedal 1989), with a line search that fulfils the strong Wolfe conditions. Uses the
 * full-data gradient, where `adam` and `sgd` take batches; in return it converges in far fewer evaluations, and has no learning rate.
 * Yields to the event loop between iterations.
 *
 * @returns How it went. The field's parameters end up at the smallest loss that was found, even if it throws.
 * @throws `OPTION`, `DISPOSED`; `NON_FINITE` for a loss or gradient that is not finite at the start; `CALLBACK`, `DTYPE` and `SHAPE` if
 *   `value` returns the wrong thing. What `value` throws reaches you unchanged, except for a failed solve after the start.
 */
export async function lbfgs<D extends Dtype>(options: LbfgsOptions<D>): Promise<LbfgsResult> {
  const read = readOptions(options, rules);
  const field = read.field as unknown as Field<D>;
  useField(field);
  const { value, maxIterations, memory, onIteration, signal } = read;
  const { noise, ...precision } = PRECISION[field.dtype];
  const { gradientTolerance = precision.gradientTolerance, costTolerance = precision.costTolerance } = read;
  const assign = (x: Float64Array) => {
    field.parameters = new constructors[field.dtype](x) as ArrayOf<D>;
  };
  const compute = async () => {
    signal?.throwIfAborted();
    const returned = value();
    return slopedOf(isRevoked(returned) ? (returned as never) : await returned, field);
  };

  const start = Float64Array.from(wasmField(field).copyParameters() as ArrayLike<number>);
  const first = await compute();
  argument("value's value", first.value, required(finiteValue));
  checkFinite("value's gradient", first.gradient);
  let best: { x: Float64Array; value: number } = { x: start, value: first.value };
  let rested = performance.now();
  const evaluate = async (x: Float64Array) => {
    if (!x.every(Number.isFinite)) return undefined;
    assign(x);
    try {
      const found = await compute();
      if (!(Number.isFinite(found.value) && found.gradient.every(Number.isFinite))) return undefined;
      if (found.value < best.value) best = { x, value: found.value };
      return found;
    } catch (error) {
      if (isFailedSolve(error)) return undefined;
      throw error;
    }
  };
  const report = async (
    iteration: number,
    { x, value, gradient, evaluations }: Sloped & { x: Float64Array; evaluations: number },
  ) => {
    // What is shown has the parameters that it is about.
    assign(x);
    const gradientNorm = Math.sqrt(gradient.reduce((sum, slope) => sum + slope * slope, 0));
    const ended = (await onIteration?.(Object.freeze({ iteration, value, gradientNorm, evaluations }))) === false;
    if (performance.now() - rested > 12) {
      await new Promise((resolve) => setTimeout(resolve));
      rested = performance.now();
    }
    return !ended;
  };
  const round = (x: Float64Array) => {
    if (field.dtype === "float32") for (const [i, number] of x.entries()) x[i] = Math.fround(number);
  };
  try {
    const tolerances = { maxIterations, memory, gradientTolerance, costTolerance, noise };
    const ended = await quasiNewton(start, first, { evaluate, round, ...tolerances, onIteration: report });
    const { iterations, evaluations, reason } = ended;
    // The last may be worse, by rounding.
    return Object.freeze({ value: best.value, iterations, evaluations, reason });
  } finally {
    assign(best.x);
  }
}

/** What `value` returned, checked but for numbers that are not finite. */
function slopedOf<D extends Dtype>(returned: LbfgsValue<D>, field: Field<D>): Sloped {
  const { value, gradient } = isObject(returned) ? returned : {};
  if (typeof value !== "number" || gradient === undefined) {
    throw refused("CALLBACK", "value's result", "{ value, gradient }", describe(returned));
  }
  const given = isObject(gradient) && "parameters" in gradient ? gradient.parameters : gradient;
  const numbers = arrayOf("value's gradient", given, field.dtype);
  checkLength("value's gradient", numbers, wasmField(field).parameterCount);
  return { value, gradient: Float64Array.from(numbers as ArrayLike<number>) };
}
