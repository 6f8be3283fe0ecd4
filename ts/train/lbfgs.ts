// Training by L-BFGS, for losses that are smooth and of all data at once.
import {
  type ArrayOf,
  arrayOf,
  checkFinite,
  checkLength,
  constructors,
  type Dtype,
  dtypeOf,
  floatsOf,
} from "../checks/arrays.js";
import { describe, isFailedSolve, isRevoked, refused } from "../checks/errors.js";
import {
  anything,
  argument,
  array,
  callable,
  checkAbsent,
  count,
  elements,
  fallback,
  finiteValue,
  isObject,
  nonNegative,
  type Read,
  options as readOptions,
  required,
  text,
  withMethod,
} from "../checks/rules.js";
import { checkNotParameters, type Field, useField, wasmField } from "../fields/field.js";
import { groupsOf } from "./parameter-groups.js";
import { quasiNewton, type ValueWithGradient } from "./quasi-newton.js";

/** A loss at the field's parameters, and its gradient with respect to them, as from `valueAndGrad`. */
export interface LbfgsValue<D extends Dtype = Dtype> {
  /** The value of the loss at the field's current parameters, or the array's current numbers. */
  readonly value: number;
  /**
   * The gradient of the loss with respect to the parameters, of the layout of `field.parameters`, or an object with it as
   * `parameters`; for an `array` an array of the same length, such as `gradient.y0`.
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
  /** The field to train: its parameters change in place. Give it or an `array`. */
  field?: Field<D> | undefined;
  /** An array of your own that changes in place, such as initial states, arguments or amounts of jumps, instead of a `field`. */
  array?: ArrayOf<D> | undefined;
  /**
   * Parameters of the field that stay as they are, by name: of an array, as `growth` or `0.bias`, or of a network or layer for all its
   * arrays, as `net` or `net.0`. Their part of the gradient is ignored. None by default.
   */
  fixed?: readonly string[] | undefined;
  /**
   * Returns `{ value, gradient }`, as from `valueAndGrad`, of all data at the current parameters of the field, or numbers of the array; may
   * be async. If the loss is
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
 * Why `lbfgs` ended: at a minimum (`gradient`, `cost`), because it reached a limit or a callback stopped it (`iterations`, `callback`), or because no step lowers
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
  /** The smallest loss, which is that of the field's final parameters, or of the array's final numbers. */
  readonly value: number;
  /** The number of iterations, each with a step that lowered the loss. */
  readonly iterations: number;
  /** How often the loss was computed. */
  readonly evaluations: number;
  /** Why the training ended. */
  readonly reason: LbfgsReason;
}

const rules = {
  field: anything<Field>(),
  array: anything<ArrayOf<Dtype>>(),
  fixed: fallback(array<string>("an array of names of parameters"), []),
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
 * @returns How it went. The field's parameters, or the array, end up at the smallest loss that was found, even if it throws.
 * @throws `OPTION` for an unknown option or name, or for both a field and an array; `DISPOSED` if the field was; `NON_FINITE` for a loss or gradient that is not finite at the start; `CALLBACK`, `DTYPE` and `SHAPE` if
 *   `value` returns the wrong thing. What `value` throws reaches you unchanged, except for a failed solve after the start.
 */
export async function lbfgs<D extends Dtype>(options: LbfgsOptions<D>): Promise<LbfgsResult> {
  const read = readOptions(options, rules);
  const unknowns = unknownsOf(read) as Unknowns<D>;
  const { value, maxIterations, memory, onIteration, signal } = read;
  const { dtype, assign } = unknowns;
  const { noise, ...precision } = PRECISION[dtype];
  const { gradientTolerance = precision.gradientTolerance, costTolerance = precision.costTolerance } = read;
  const compute = async () => {
    signal?.throwIfAborted();
    const returned = value();
    return readValue(isRevoked(returned) ? (returned as never) : await returned, unknowns);
  };

  const { start } = unknowns;
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
    { x, value, gradient, evaluations }: ValueWithGradient & { x: Float64Array; evaluations: number },
  ) => {
    // The callback sees the field with the parameters of this iteration.
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
    if (dtype === "float32") for (const [i, number] of x.entries()) x[i] = Math.fround(number);
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

/** The numbers that are minimised over: those of a field or an array that are not fixed. */
interface Unknowns<D extends Dtype> {
  readonly dtype: D;
  readonly start: Float64Array;
  readonly assign: (x: Float64Array) => void;
  /** How many there are with those that are fixed. */
  readonly all: number;
  /** The indices of these numbers among all. */
  readonly places: readonly number[];
}

function unknownsOf({ field, array, fixed }: Read<typeof rules>): Unknowns<Dtype> {
  if (array === undefined) return unknownsOfField(field as Field, fixed);
  const numbers = floatsOf("array", array);
  checkNotParameters("array", array as object);
  if (field !== undefined) throw refused("OPTION", "array", "a field or an array", "both");
  checkAbsent({ fixed }, " for an array, whose numbers have no names");
  checkFinite("array", numbers);
  const assign = (x: Float64Array) => numbers.set(x);
  const start = Float64Array.from(numbers);
  return { dtype: dtypeOf(numbers), start, assign, all: numbers.length, places: [...numbers.keys()] };
}

function unknownsOfField(field: Field, fixed: readonly string[]): Unknowns<Dtype> {
  useField(field);
  const names = elements("fixed", fixed, rules.fixed, text);
  const groups = groupsOf(field, { learningRate: 1, weightDecay: 0, fixed: names });
  const isFixed = groups.flatMap(({ length, fixed }) => new Array<boolean>(length).fill(fixed));
  const places = isFixed.flatMap((fixed, place) => (fixed ? [] : [place]));
  const all = Float64Array.from(wasmField(field).copyParameters());
  const assign = (x: Float64Array) => {
    for (const [i, place] of places.entries()) all[place] = x[i] as number;
    field.parameters = new constructors[field.dtype](all);
  };
  const start = Float64Array.from(places, (place) => all[place] as number);
  return { dtype: field.dtype, start, assign, all: all.length, places };
}

/** The result of `value`, checked, though its numbers may not be finite. */
function readValue<D extends Dtype>(returned: LbfgsValue<D>, { dtype, all, places }: Unknowns<D>): ValueWithGradient {
  const { value, gradient } = isObject(returned) ? returned : {};
  if (typeof value !== "number" || gradient === undefined) {
    throw refused("CALLBACK", "value's result", "{ value, gradient }", describe(returned));
  }
  const given = isObject(gradient) && "parameters" in gradient ? gradient.parameters : gradient;
  const numbers = arrayOf("value's gradient", given, dtype);
  checkLength("value's gradient", numbers, all);
  return { value, gradient: Float64Array.from(places, (place) => numbers[place] as number) };
}
