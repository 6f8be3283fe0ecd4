// Options of solves and gradients: their types, the rules they are read by, and what crosses into the crate.
import {
  CONTROLLERS,
  DEFAULT_GRADIENT,
  DEFAULT_METHOD,
  FIXED_METHODS,
  GRADIENTS,
  METHODS,
  NORMS,
  OUTPUTS,
  SUMMATIONS,
} from "../../wasm/constants.js";
import { refused } from "../checks/errors.js";
import {
  anything,
  count,
  finitePositive,
  flag,
  nonNegative,
  number,
  oneOf,
  options,
  positive,
  type Read,
  type Rules,
  record,
} from "../checks/rules.js";
import type { ArgumentArrays } from "../fields/field.js";

/**
 * An explicit Runge–Kutta method. `euler` to `rk38` take fixed steps; `fehlberg2` to `dopri8` adapt theirs to the tolerances,
 * unless `steps` or `stepSize` fixes them.
 */
export type Method = (typeof METHODS)[number];

/** How to take steps, without the choice of output. */
export interface StepOptions {
  /** The Runge–Kutta method; default `dopri5`. */
  method?: Method;
  /**
   * Relative tolerance, default 1e-6, in float32 1.2e-5 (100 ε). In float32 one below 2 ε, 2.4e-7, is raised to that unless
   * it is 0: see `stats.rtolClamped`.
   */
  rtol?: number;
  /**
   * Absolute tolerance, default 1e-8. The error of a step is held below atol + rtol · |x|, in the root mean square over all
   * numbers of the batch.
   */
  atol?: number;
  /** Size of the first step tried; chosen by the method's order and tolerances otherwise. */
  firstStep?: number;
  /**
   * The shortest step, in units of time; default 0. A rejected step that would have to be shorter ends the solve with
   * `STEP_UNDERFLOW`; with
   * `controller: "torchdiffeq"`, a step of this length is taken whatever its error, as torchdiffeq does.
   */
  minStep?: number;
  /** The longest step, in units of time; unbounded by default. Bounds what a step may pass over, such as a short pulse. */
  maxStep?: number;
  /** The most steps tried, rejected ones included, before the solve throws `MAX_STEPS`; default 100,000. Fixed steps are not bounded. */
  maxSteps?: number;
  /** The next step as a part of the longest that should just be accepted; default 0.9. */
  safety?: number;
  /** The least that a step may be, as a part of the one before; default 0.2. */
  minFactor?: number;
  /** The most that a step may be, as a multiple of the one before; default 10. */
  maxFactor?: number;
  /**
   * Fixed steps, so many in each interval of `times`. A method that is not adaptive takes one in each, however long,
   * unless `steps` or `stepSize` says otherwise.
   */
  steps?: number;
  /** Fixed steps, equal and no longer than this: in each interval, or over all of it where outputs are interpolated. */
  stepSize?: number;
  /**
   * How steps follow from errors: `standard`, or as `torchdiffeq` does (after an accepted step never shorter; a step cut
   * to land on a time is what the next grows from; the first may be longer than the interval).
   */
  controller?: (typeof CONTROLLERS)[number];
  /**
   * Which of the sums over steps carry their rounding errors along: those of state, cotangent and parameter gradient
   * (`compensated`, the default), the latter two (`gradient`), or none (`plain`).
   */
  summation?: (typeof SUMMATIONS)[number];
}

/** How to solve. */
export interface SolveOptions extends StepOptions {
  /**
   * Whether steps end on the output times (`land`), or those are filled in by the method's continuous extension
   * (`interpolate`). Default: interpolate for bosh3, dopri5 and tsit5 without fixed steps, land for the rest. Steps that
   * are counted by the interval land in any case.
   */
  output?: (typeof OUTPUTS)[number];
  /**
   * Of a field with arguments, the values: for each name a number for each trajectory, or a vector, `[batch, length]`. Gradients
   * give their derivatives as `gradient.arguments`.
   */
  arguments?: ArgumentArrays;
  /**
   * On how many threads the native engine computes; default 1. Blocks of the batch are spread over them, so a batch needs 129
   * trajectories of a network or more (65 in float64). No bit of a solution or gradient depends on the number. WebAssembly computes
   * on one: see `parallel`.
   */
  threads?: number;
}

/**
 * How a gradient is computed; all but `adjoint` give bitwise the same. `auto` is the fastest that `memoryBudget` allows; the
 * others retain the x_n (`symplectic`, and `aca`, which recomputes a step's tapes together), x_0 alone (`baseline`), or all
 * tapes (`backprop`).
 */
export type GradientMethod = (typeof GRADIENTS)[number];

/** How to solve, and which gradient. */
export interface GradientOptions extends SolveOptions {
  /** How the gradient is computed; default `auto`. */
  gradient?: GradientMethod;
  /**
   * Bytes that a solve and its gradients may take together, as `stats.peakBytes.total` counts them; for `auto`. Default
   * 512 MiB. One that cannot do is refused with the least that would, as the error's `bytes`.
   */
  memoryBudget?: number;
  /**
   * Whether the gradient includes `times`; default true, in `train`, `fit` and flows false. Without it a gradient takes
   * fewer products, and a custom field whose `vjp` gives `t` is not evaluated once more for each vjp.
   */
  timeGradients?: boolean;
  /** How the continuous adjoint integrates backward; what is not given is as in the solve. */
  adjoint?: AdjointOptions;
}

/** How the continuous adjoint integrates backward. */
export interface AdjointOptions extends StepOptions {
  /**
   * Which errors choose its steps: those of the state, its adjoint and ∂L/∂θ (`full`, the default), or all but that of ∂L/∂θ
   * (`seminorm`; Kidger, Chen and Lyons, ICML 2021), on which nothing else depends: fewer steps, and no bound on its error.
   */
  norm?: (typeof NORMS)[number];
}

const stepRules = {
  method: oneOf(METHODS),
  rtol: nonNegative,
  atol: nonNegative,
  firstStep: finitePositive,
  minStep: nonNegative,
  maxStep: positive,
  maxSteps: count,
  safety: number("a number above 0, at most 1", (value) => value > 0 && value <= 1),
  minFactor: number("a number between 0 and 1", (value) => value > 0 && value < 1),
  maxFactor: number("a finite number above 1", (value) => value > 1 && value < Number.POSITIVE_INFINITY),
  steps: count,
  stepSize: positive,
  controller: oneOf(CONTROLLERS),
  summation: oneOf(SUMMATIONS),
} satisfies Record<keyof StepOptions, unknown>;

const adjointRules = { ...stepRules, norm: oneOf(NORMS) } satisfies Record<keyof AdjointOptions, unknown>;

/** The rules of a solve, and those of a gradient. */
export const solveRules = {
  ...stepRules,
  output: oneOf(OUTPUTS),
  arguments: record<ArrayLike<number>>(),
  threads: count,
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
  return steps === undefined && stepSize === undefined && !(FIXED_METHODS as readonly string[]).includes(method);
}

/** Options of steps, checked one by one and against each other. */
function readSteps<R extends typeof stepRules & Rules>(given: unknown, rules: R, where = ""): Read<R> {
  const read = options(given, rules, where);
  const { rtol, atol, minStep, maxStep, steps, stepSize } = read as StepOptions;
  if (steps !== undefined && stepSize !== undefined) {
    throw refused("OPTION", `${where}stepSize`, "no value where steps has one", String(stepSize));
  }
  if (rtol === 0 && atol === 0) throw refused("OPTION", `${where}atol`, "a positive number where rtol is zero", "0");
  if (minStep !== undefined && maxStep !== undefined && minStep > maxStep) {
    throw refused("OPTION", `${where}minStep`, `at most maxStep, ${maxStep}`, String(minStep));
  }
  return read;
}

/** The options of a solve or a gradient, checked and read once; those that are not given are left out. */
export function readOptions(given: unknown): OdeintOptions {
  const read = readSteps(given, gradientRules);
  const { memoryBudget, gradient = DEFAULT_GRADIENT } = read;
  if (memoryBudget !== undefined && gradient !== "auto") {
    throw refused("OPTION", "memoryBudget", `no value where gradient is ${gradient}`, String(memoryBudget));
  }
  const adjoint = read.adjoint === undefined ? undefined : present(readSteps(read.adjoint, adjointRules, "adjoint."));
  return present({ ...read, adjoint }) as OdeintOptions;
}

/** Without the names whose value is undefined. */
function present<T extends object>(record: T): Partial<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** One object may serve solves and gradients: `gradient` and `adjoint` change nothing in a solve, nor `partial` in a gradient. */
export interface OdeintOptions extends GradientOptions {
  /**
   * Whether the error of a solve that fails on the way has the solution so far as `partial`: a `Solution` of the times that
   * were reached, and `lastState`, the last good state `[batch, state]` at the error's `t`.
   */
  partial?: boolean;
}
