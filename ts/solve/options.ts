// Options of solves and gradients: their types, the rules they are read by, and what crosses into the crate.
import {
  CONTROLLERS,
  DEFAULT_GRADIENT,
  DEFAULT_METHOD,
  FIXED_METHODS,
  GRADIENTS,
  MAX_STAGES,
  METHODS,
  NORMS,
  OUTPUTS,
  SUMMATIONS,
} from "../../wasm/constants.js";
import { IMPLICIT_METHODS } from "../checks/aliases.js";
import { checkSome, numbersOf } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { normalizedName } from "../checks/names.js";
import {
  anything,
  argument,
  array,
  callable,
  checkAbsent,
  choiceOf,
  count,
  elements,
  fallback,
  finite,
  finitePositive,
  flag,
  hinted,
  isCallable,
  isObject,
  nonNegative,
  number,
  oneOf,
  oneOfOr,
  options,
  positive,
  type Read,
  type Rules,
  record,
  required,
  rule,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { ArgumentArrays, FieldNames } from "../fields/field.js";
import type { Value } from "../trace/value.js";
import type { Event, Jump } from "./changes.js";

/**
 * A method, by its name. All are explicit Runge–Kutta methods except `leapfrog`, the method of Störmer and Verlet for equations of motion:
 * the first half of a state's features are positions, the second half their velocities. `fehlberg2`, `adaptive_heun`, `bosh3`, `dopri5`,
 * `tsit5` and `dopri8` adapt their steps to the tolerances, unless `steps` or `stepSize` fixes them; the others take fixed steps.
 */
export type Method = (typeof METHODS)[number];

/**
 * An explicit Runge–Kutta method of your own, by its Butcher tableau. With `bHat` it is adaptive. Between steps it has the cubic Hermite
 * extension. A last stage whose weight in b is 0 must be f at the end of the step, as for dopri5.
 */
export interface Tableau {
  /** The times of the stages, in units of the step; the first is 0. */
  c: readonly number[];
  /** The weights of the stages: row i has i entries, which sum to c[i]. */
  a: readonly (readonly number[])[];
  /** The weights of the solution, which sum to 1. */
  b: readonly number[];
  /** The weights of an embedded solution, from which the error is estimated; none by default. */
  bHat?: readonly number[] | undefined;
  /** The order of the solution, which decides how step sizes follow from errors. */
  order: number;
}

/**
 * The coefficients of a controller of steps (Söderlind, ACM TOMS 29(1), 2003): the next step is
 * safety · e_n^−(p + i + d) · e_{n−1}^(p + 2d) · e_{n−2}^−d times the one before, all exponents divided by the order of the method;
 * e are the errors of the last accepted steps. By default i is 1 and the others are 0, which is `standard`.
 */
export interface ControllerCoefficients {
  /** The proportional coefficient: how much the next step responds to the change of the error from one step to the next; default 0. */
  p?: number | undefined;
  /** The integral coefficient, above 0: how much the next step responds to the error of the last one; default 1. */
  i?: number | undefined;
  /** The derivative coefficient: how much the next step responds to the change of that change, over three steps; default 0. */
  d?: number | undefined;
}

/** Options of steps: the method, tolerances, the sizes of steps, and their controller. */
export interface StepOptions {
  /** The method: its name, or the tableau of a Runge–Kutta method of your own; default `dopri5`. `leapfrog` is for positions and velocities. */
  method?: Method | Tableau | undefined;
  /**
   * Relative tolerance, default 1e-6, in float32 1.2e-5 (100 ε). In float32, anything below 2 ε, 2.4e-7, is raised to that unless it is
   * 0: see `stats.rtolClamped`. An array has one for each feature of the state.
   */
  rtol?: number | ArrayLike<number> | undefined;
  /**
   * Absolute tolerance, default 1e-8. The error of a step is held below atol + rtol · |x|, in the root mean square over all
   * numbers of the batch. An array has one for each feature of the state.
   */
  atol?: number | ArrayLike<number> | undefined;
  /** The size of the first step tried, in units of time; by default it follows from the method's order and the tolerances. */
  firstStep?: number | undefined;
  /**
   * The shortest step, in units of time; default 0. A rejected step that would have to be shorter ends the solve with
   * `STEP_UNDERFLOW`; with
   * `controller: "torchdiffeq"`, a step of this length is accepted with any error, as torchdiffeq does.
   */
  minStep?: number | undefined;
  /**
   * The longest step, in units of time; unbounded by default. Keeps a step from passing over something short, such as a pulse. A method
   * with fixed steps takes equal ones no longer than this, unless `steps` or `stepSize` says how many.
   */
  maxStep?: number | undefined;
  /** The most steps tried, rejected ones included, before the solve throws `MAX_STEPS`; default 100,000. Fixed steps are not bounded. */
  maxSteps?: number | undefined;
  /** The safety factor: the next step as a fraction of the longest that should just be accepted, above 0 and at most 1; default 0.9. */
  safety?: number | undefined;
  /** The smallest allowed ratio of a step to the one before, between 0 and 1; default 0.2. */
  minFactor?: number | undefined;
  /** The largest allowed ratio of a step to the one before, above 1; default 10. */
  maxFactor?: number | undefined;
  /**
   * Fixed steps, this many in each interval of `times`. A method that is not adaptive takes one in each, however long,
   * unless `steps`, `stepSize` or `maxStep` says otherwise.
   */
  steps?: number | undefined;
  /** Fixed steps, equal and no longer than this: in each interval, or over all of it where outputs are interpolated. */
  stepSize?: number | undefined;
  /**
   * How steps follow from errors: `standard`, or as `torchdiffeq` does (after an accepted step never shorter; a step cut
   * to land on a time is what the next grows from; the first may be longer than the interval). `pi` is that of Hairer and Wanner's
   * DOPRI5, `pid` Söderlind's H312PID, both otherwise as `standard`; or give coefficients of your own.
   */
  controller?: (typeof CONTROLLERS)[number] | ControllerCoefficients | undefined;
  /**
   * Which of the sums over steps carry their rounding errors along: those of state, cotangent and parameter gradient (`compensated`, the
   * default), those of cotangent and parameter gradient (`gradient`), or none (`plain`).
   */
  summation?: (typeof SUMMATIONS)[number] | undefined;
}

/**
 * A norm of a step's error: one number from the errors of the features, each in units of its tolerance. The step is accepted if it is at
 * most 1.
 */
export type ErrorNorm = (errors: Value & Iterable<Value> & { readonly [row: number]: Value }) => Value;

/** Options of a solve: how to take steps, and what the solution is to have. */
export interface SolveOptions<A extends string = string, N extends FieldNames = FieldNames> extends StepOptions {
  /**
   * Whether steps end on the output times (`land`), or those are filled in by the method's continuous extension (`interpolate`). Default:
   * interpolate for bosh3, dopri5 and tsit5 without fixed steps, land for the rest. With `steps`, which counts them in each interval,
   * they always land.
   */
  output?: (typeof OUTPUTS)[number] | undefined;
  /**
   * The arguments of the trajectories, for a field with arguments: for each name a number for each trajectory, or a vector,
   * `[batch, length]`. Gradients give their derivatives as `gradient.arguments`.
   */
  arguments?: ArgumentArrays<A> | undefined;
  /**
   * The number of threads on which the native engine computes, 1 to 1024; default 1. Blocks of the batch are spread over them, so using more than
   * one takes at least 129 trajectories of a network (65 in float64); where each takes its own steps, more than 128 (256 in float32; of a
   * network 32 or 64). No bit of a solution or gradient depends on the number. WebAssembly computes on one: see `parallel`.
   */
  threads?: number | undefined;
  /**
   * Whether all trajectories take the same steps (`together`, the default), or each its own (`independent`). Together they are one
   * system: the error is the root mean square over the whole batch, so a hard trajectory among n easy ones is solved with an error up to
   * about √n times as large. Use `independent` if trajectories differ a lot, as in ensembles and with `arguments`: the tolerances hold
   * for each, each is bitwise what it is when solved alone, it may have its own times, and jumps and events are possible. It is the
   * default if one of the options below asks for it (jumps, events, dense, saveSteps, onFailure: "mask", or another norm than rms), or
   * times are a list for each trajectory.
   */
  batching?: "together" | "independent" | undefined;
  /**
   * Changes of the state at known times, such as doses; of changes at the same time the first in the list acts first. None by default.
   */
  jumps?: readonly Jump<A, N>[] | undefined;
  /**
   * What happens where functions of a trajectory cross zero; of events at the same time the first in the list acts first. None by
   * default.
   */
  events?: readonly Event<A, N>[] | undefined;
  /** The most events of one trajectory before the solve throws `MAX_EVENTS`; default 10,000. */
  maxEvents?: number | undefined;
  /** Whether the solution is kept between its outputs, for `solution.at(t)` and `solution.derivative(t)`; default false. */
  dense?: boolean | undefined;
  /** Whether the steps are kept, for `solution.steps(trajectory)`; default false. */
  saveSteps?: boolean | undefined;
  /**
   * What happens if a trajectory of an independent solve fails: the solve throws (`throw`, the default), for the one with the lowest
   * index if several fail; or the others go on (`mask`), and `solution.failures` lists those that failed.
   */
  onFailure?: "throw" | "mask" | undefined;
  /**
   * The norm of a step's error; the step is accepted if it is at most 1. It takes the errors of the features, each divided by
   * its tolerance `atol + rtol * max(|y before|, |y after|)`: `rms`, the root mean square and the default, `max`, a function that is
   * called once and recorded, or text such as `max(abs(hare), abs(lynx))`, in which the names of states stand for their errors. All but
   * `rms` ask for `independent`. A function gets one value with a row for each feature, as in
   * `([hare, lynx]) => max(hare.abs(), lynx.abs())`, and returns one number.
   */
  norm?: "rms" | "max" | ErrorNorm | (string & {}) | undefined;
  /**
   * Called now and then, at most every 50 ms, with the fraction of the times that is solved, and with 1 at the end. Whatever it throws
   * ends the solve and reaches the caller. It may not solve anything itself (`REENTRANT`): only `evaluate` and `vjp` of fields may be
   * called in it. In a pool it is called as workers finish.
   */
  progress?: ((fraction: number) => void) | undefined;
}

/** Options that make each trajectory take its own steps: at least one of these. */
export type Independent<A extends string = string, N extends FieldNames = FieldNames> =
  | {
      /** Each trajectory takes its own steps; default `together`. */
      batching: "independent";
    }
  | {
      /** Changes of the states at known times; none by default. */
      jumps: readonly Jump<A, N>[];
    }
  | {
      /** What may happen to trajectories at times that depend on their states; none by default. */
      events: readonly Event<A, N>[];
    }
  | {
      /** Keeps the solution between the output times, for `solution.at` and `solution.derivative`; default false. */
      dense: true;
    }
  | {
      /** Keeps the times and states of all steps, for `solution.steps`; default false. */
      saveSteps: true;
    }
  | {
      /** A trajectory that fails does not stop the others: its outputs are masked. Default `throw`. */
      onFailure: "mask";
    }
  | {
      /** How the errors of features make the error of a step: `max`, or a function or expression of yours; default `rms`. */
      // Of texts only those that are no name: rms is one too.
      norm: "max" | ErrorNorm | `${string}(${string}`;
    };

/**
 * How a gradient is computed; all but `adjoint` give bitwise the same result. `auto` is the fastest that `memoryBudget` allows; the others
 * keep the state x_n of each step (`symplectic`, and `aca`, which recomputes a step's tapes together), only x_0 (`baseline`), or all tapes
 * (`backprop`).
 */
export type GradientMethod = (typeof GRADIENTS)[number];

/** Options of a solve and its gradient. */
export interface GradientOptions<A extends string = string, N extends FieldNames = FieldNames>
  extends SolveOptions<A, N> {
  /** How the gradient is computed; default `auto`. */
  gradient?: GradientMethod | undefined;
  /**
   * Bytes that a solve and its gradients may take together, as `stats.peakBytes.total` counts them; for `auto`. Default
   * 512 MiB. A budget that is too small throws, with the smallest that would do as the error's `bytes`.
   */
  memoryBudget?: number | undefined;
  /**
   * Whether the gradient includes `times`; default true, in `train`, `fit` and flows false. Without it a gradient takes
   * fewer products, and a custom field whose `vjp` gives `t` is not evaluated once more for each vjp.
   */
  timeGradients?: boolean | undefined;
  /** How the continuous adjoint integrates backward; options left out are as in the solve. */
  adjoint?: AdjointOptions | undefined;
}

/** Options of the continuous adjoint: how it integrates backward. Options left out are as in the solve. */
export interface AdjointOptions extends StepOptions {
  /**
   * Which errors choose the steps of the continuous adjoint: those of the state, its adjoint and ∂L/∂θ (`full`, the default), or
   * all but that of ∂L/∂θ (`seminorm`; Kidger, Chen and Lyons, ICML 2021), on which nothing else depends: fewer steps, and no
   * bound on its error. With `batching: "independent"` it is always the seminorm: ∂L/∂θ is one sum for all trajectories.
   */
  norm?: (typeof NORMS)[number] | undefined;
}

const tolerance = rule<number | ArrayLike<number>>(
  `${nonNegative.expected}, or an array of them`,
  (value) => nonNegative.valid(value) || isObject(value),
);

/** What to use instead of a method for stiff problems. */
function implicitHint(method: unknown): string | undefined {
  if (typeof method !== "string" || !IMPLICIT_METHODS.some((name) => normalizedName(method).startsWith(name)))
    return undefined;
  return "all methods here are explicit: take dopri5, the default, if the problem is not very stiff";
}

export const stepRules = {
  method: hinted(oneOfOr<Method | Tableau>(METHODS, `${choiceOf(METHODS)}, or a tableau`, isObject), implicitHint),
  rtol: tolerance,
  atol: tolerance,
  firstStep: finitePositive,
  minStep: nonNegative,
  maxStep: positive,
  maxSteps: count,
  safety: number("a number above 0, at most 1", (value) => value > 0 && value <= 1),
  minFactor: number("a number between 0 and 1", (value) => value > 0 && value < 1),
  maxFactor: number("a finite number above 1", (value) => value > 1 && value < Number.POSITIVE_INFINITY),
  steps: count,
  stepSize: positive,
  controller: oneOfOr<(typeof CONTROLLERS)[number] | ControllerCoefficients>(
    CONTROLLERS,
    `${choiceOf(CONTROLLERS)}, or coefficients p, i and d`,
    isObject,
  ),
  summation: oneOf(SUMMATIONS),
} satisfies Record<keyof StepOptions, unknown>;

const adjointRules = { ...stepRules, norm: oneOf(NORMS) } satisfies Record<keyof AdjointOptions, unknown>;

/** The rules of a solve, and those of a gradient. */
export const solveRules = {
  ...stepRules,
  output: oneOf(OUTPUTS),
  arguments: record<ArrayLike<number>>(),
  threads: count,
  batching: oneOf(["together", "independent"]),
  jumps: array<Jump>("an array of jumps"),
  events: array<Event>("an array of events"),
  maxEvents: count,
  dense: flag,
  saveSteps: flag,
  onFailure: oneOf(["throw", "mask"]),
  norm: rule<NonNullable<SolveOptions["norm"]>>(
    "rms, max, a function, or text",
    (value) => isCallable(value) || typeof value === "string",
  ),
  progress: callable<(fraction: number) => void>(),
} satisfies Record<keyof SolveOptions, unknown>;
export const gradientRules = {
  ...solveRules,
  gradient: oneOf(GRADIENTS),
  memoryBudget: positive,
  timeGradients: flag,
  adjoint: anything<AdjointOptions>(),
  // One object may serve solves and gradients.
  partial: flag,
} satisfies Record<keyof OdeintOptions, unknown>;

/** Whether the steps follow the tolerances. */
export function isAdaptive({ method = DEFAULT_METHOD, steps, stepSize }: SolveOptions): boolean {
  const estimates =
    typeof method === "object"
      ? method.bHat !== undefined && method.bHat.length > 0
      : !(FIXED_METHODS as readonly string[]).includes(method);
  return steps === undefined && stepSize === undefined && estimates;
}

const rowRule = rule<ArrayLike<number>>("an array of numbers", isObject);
const tableauRules = {
  c: required(rowRule),
  a: required(array<ArrayLike<number>>("an array of arrays of numbers")),
  b: required(rowRule),
  bHat: fallback(rowRule, []),
  order: required(count),
};

/** A plain copy of a tableau. Arrays that are too long are refused before they are read. */
function readTableau(given: object, where: string): Tableau {
  const { c, a, b, bHat, order } = options(given, tableauRules, where);
  const bounded = <L extends ArrayLike<unknown>>(name: string, values: L, of: string): L => {
    const length = runUserCode(() => values.length);
    if (typeof length !== "number" || !(length > MAX_STAGES)) return values;
    throw refused("OPTION", where + name, `at most ${MAX_STAGES} ${of}, one for each stage`, String(length));
  };
  const list = (name: string, values: ArrayLike<number>) => [
    ...numbersOf(where + name, bounded(name, values, "numbers")),
  ];
  const rows = elements(`${where}a`, bounded("a", a, "rows"), tableauRules.a, rowRule);
  const weights = rows.map((row, i) => list(`a[${i}]`, row));
  return { c: list("c", c), a: weights, b: list("b", b), bHat: list("bHat", bHat), order };
}

/** A plain copy of tolerances. */
function readTolerance(given: ArrayLike<number>, where: string): Float64Array {
  const list = numbersOf(where, given);
  for (const [i, value] of list.entries()) argument(`${where}[${i}]`, value, nonNegative);
  checkSome(where, list, "number");
  return list;
}

/** Options that were read, as the crate takes them: lists and tableaus as text, and without functions. */
export function forCrate<T extends object>(options: T): T {
  const converted: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === "function") continue;
    if (name === "adjoint" && isObject(value)) converted[name] = forCrate(value);
    else if (name === "method" && isObject(value)) converted[name] = JSON.stringify(value);
    else if ((name === "rtol" || name === "atol") && isObject(value)) {
      converted[name] = JSON.stringify([...(value as Float64Array)]);
    } else converted[name] = value;
  }
  return converted as T;
}

const controllerRules = {
  p: fallback(finite, 0),
  i: fallback(
    number(
      "a positive number, since without it steps never return to the size that their errors call for",
      (value) => value > 0 && value < Number.POSITIVE_INFINITY,
    ),
    1,
  ),
  d: fallback(finite, 0),
};

/** Options of steps, checked one by one and against each other. */
function readSteps<R extends typeof stepRules & Rules>(given: unknown, rules: R, where = ""): Read<R> {
  const read = options(given, rules, where);
  const { method, controller, rtol, atol, minStep, maxStep, steps, stepSize } = read as StepOptions;
  const stepOptions = read as StepOptions;
  if (typeof method === "object") stepOptions.method = readTableau(method, `${where}method.`);
  if (typeof controller === "object")
    stepOptions.controller = options(controller, controllerRules, `${where}controller.`);
  if (typeof rtol === "object") stepOptions.rtol = readTolerance(rtol, `${where}rtol`);
  if (typeof atol === "object") stepOptions.atol = readTolerance(atol, `${where}atol`);
  if (steps !== undefined) checkAbsent({ stepSize }, " where steps has one", where);
  if (rtol === 0 && atol === 0) throw refused("OPTION", `${where}atol`, "a positive number where rtol is zero", "0");
  if (minStep !== undefined && maxStep !== undefined && minStep > maxStep) {
    throw refused("OPTION", `${where}minStep`, `at most maxStep, ${maxStep}`, String(minStep));
  }
  return read;
}

/** The options of a solve or a gradient, checked and read once; those that are not given are left out. */
export function readOptions(given: unknown): OdeintOptions {
  const read = readSteps(given, gradientRules) as OdeintOptions;
  const { memoryBudget, gradient = DEFAULT_GRADIENT } = read;
  if (gradient !== "auto") checkAbsent({ memoryBudget }, ` where gradient is ${gradient}`);
  if (read.adjoint !== undefined) read.adjoint = readSteps(read.adjoint, adjointRules, "adjoint.");
  return read;
}

/** Those, read before, that a solve has whose trajectories take their steps together; refuses the others. */
export function withoutIndependent(read: OdeintOptions, what: string): OdeintOptions {
  const { batching, maxEvents: _, onFailure: __, jumps, events, dense, saveSteps, norm, ...rest } = read;
  const own = { jumps, events, dense, saveSteps, norm: norm === "rms" ? undefined : norm };
  checkAbsent(own, `, as ${what} solves trajectories together`);
  if (batching === "independent") throw refused("OPTION", "batching", `together, for ${what}`, batching);
  return rest;
}

/**
 * Options of `odeint`. The same object may serve solves and gradients: `gradient` and `adjoint` change nothing in a solve, and `partial`
 * changes nothing in a gradient.
 */
export interface OdeintOptions<A extends string = string, N extends FieldNames = FieldNames>
  extends GradientOptions<A, N> {
  /**
   * Whether the error of a solve that fails on the way has the solution so far as `partial`: a `Solution` of the times that
   * were reached, and `lastState`, the last good state `[batch, state]` at the error's `t`.
   */
  partial?: boolean | undefined;
}
