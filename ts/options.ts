// Options: their types, the rules they are read by, and what crosses into Rust.
import { describe, refused, SymplecticAdjointError } from "./errors.js";
import { outside } from "./wasm.js";

/** Explicit Runge–Kutta methods. The second row is adaptive unless given fixed steps. */
export type Method =
  | ("euler" | "midpoint" | "heun" | "ralston" | "rk4" | "rk38")
  | ("fehlberg2" | "adaptive_heun" | "bosh3" | "dopri5" | "tsit5" | "dopri8");

/** How to take steps, without the choice of output. */
export interface StepOptions {
  /** Default `dopri5`. */
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
   * Default 0. A rejected step that would have to be shorter than this ends the solve with `STEP_UNDERFLOW`; with
   * `controller: "torchdiffeq"`, a step of this length is taken whatever its error, as torchdiffeq does.
   */
  minStep?: number;
  /** Longest step; unbounded by default. Bounds what a step may pass over, such as a short pulse of an input. */
  maxStep?: number;
  /** Steps tried, rejected ones included; default 100,000. Fixed steps are not bounded. */
  maxSteps?: number;
  /** Default 0.9: the next step is that part of the one that would just be accepted. */
  safety?: number;
  /** A step is at least this part of the one before; default 0.2. */
  minFactor?: number;
  /** And at most so many times as long; default 10. */
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
  controller?: "standard" | "torchdiffeq";
  /**
   * Which of the sums over steps carry their rounding errors along: those of state, cotangent and parameter gradient
   * (`compensated`, the default), the latter two (`gradient`), or none (`plain`).
   */
  summation?: "compensated" | "gradient" | "plain";
}

/** How to solve. */
export interface SolveOptions extends StepOptions {
  /**
   * Whether steps end on the output times (`land`), or those are filled in by the method's continuous extension
   * (`interpolate`). Default: interpolate for bosh3, dopri5 and tsit5 without fixed steps, land for the rest. Steps that
   * are counted by the interval land in any case.
   */
  output?: "land" | "interpolate";
}

/**
 * How a gradient is computed; all but `adjoint` give bitwise the same. `auto` is the fastest that `memoryBudget` allows; the
 * others retain the x_n (`symplectic`, and `aca`, which recomputes a step's tapes together), x_0 alone (`baseline`), or all
 * tapes (`backprop`).
 */
export type GradientMethod = "auto" | "symplectic" | "backprop" | "baseline" | "aca" | "adjoint";

/** How to solve, and which gradient. */
export interface GradientOptions extends SolveOptions {
  /** Default `auto`. */
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
  norm?: "full" | "seminorm";
}

/** What an option must be. */
interface Rule {
  readonly expected: string;
  readonly valid: (value: unknown) => boolean;
}

const number = (expected: string, valid: (value: number) => boolean): Rule => ({
  expected,
  valid: (value) => typeof value === "number" && valid(value),
});
/** One of these names. */
export const oneOf = (names: readonly string[]): Rule => ({
  expected: names.join(", "),
  valid: (value) => typeof value === "string" && names.includes(value),
});

const positive = number("a positive number", (value) => value > 0);
export const finite = number("a finite positive number", (value) => value > 0 && value < Number.POSITIVE_INFINITY);
const tolerance = number("a finite number, zero or more", (value) => value >= 0 && value < Number.POSITIVE_INFINITY);
/** A number of steps. */
export const count = number("a positive integer", (value) => Number.isInteger(value) && value >= 1 && value < 2 ** 32);

const FIXED: readonly Method[] = ["euler", "midpoint", "heun", "ralston", "rk4", "rk38"];
const METHODS: readonly Method[] = [
  ...FIXED,
  ...(["fehlberg2", "adaptive_heun", "bosh3", "dopri5", "tsit5", "dopri8"] as const),
];
const GRADIENTS: readonly GradientMethod[] = ["auto", "symplectic", "backprop", "baseline", "aca", "adjoint"];

const stepRules: Record<keyof StepOptions, Rule> = {
  method: oneOf(METHODS),
  rtol: tolerance,
  atol: tolerance,
  firstStep: finite,
  minStep: tolerance,
  maxStep: positive,
  maxSteps: count,
  safety: number("a number above 0, at most 1", (value) => value > 0 && value <= 1),
  minFactor: number("a number between 0 and 1", (value) => value > 0 && value < 1),
  maxFactor: number("a finite number above 1", (value) => value > 1 && value < Number.POSITIVE_INFINITY),
  steps: count,
  stepSize: positive,
  controller: oneOf(["standard", "torchdiffeq"]),
  summation: oneOf(["compensated", "gradient", "plain"]),
};
const adjointRules: Record<keyof AdjointOptions, Rule> = { ...stepRules, norm: oneOf(["full", "seminorm"]) };
const flag: Rule = { expected: "true or false", valid: (value) => typeof value === "boolean" };
const object: Rule = { expected: "an object", valid: (value) => value !== null && typeof value === "object" };
const gradientRules: Record<keyof GradientOptions | "partial", Rule> = {
  ...stepRules,
  output: oneOf(["land", "interpolate"]),
  gradient: oneOf(GRADIENTS),
  memoryBudget: positive,
  timeGradients: flag,
  adjoint: object,
  // One object may serve solves and gradients.
  partial: flag,
};

/** What `auto` may use unless told otherwise: 512 MiB. */
export const DEFAULT_BUDGET = 2 ** 29;

/** Whether the steps follow the tolerances. */
export function isAdaptive({ method = "dopri5", steps, stepSize }: SolveOptions): boolean {
  return steps === undefined && stepSize === undefined && !FIXED.includes(method);
}

/** The names that a gradient takes, and those that a solve does. */
export const gradientNames = Object.keys(gradientRules);
export const solveNames = [...Object.keys(stepRules), "output"];

/** Refuses what is no object, and unknown names. */
export function checkNames(options: unknown, names: readonly string[], where = ""): asserts options is object {
  if (!object.valid(options)) throw refused("OPTION", where.slice(0, -1) || "options", "an object", describe(options));
  for (const name of outside(() => Object.keys(options as object))) {
    if (names.includes(name)) continue;
    const meant = names.find((known) => known.toLowerCase() === name.toLowerCase() || known === aliases[name]);
    const hint = meant ? `did you mean ${meant}? The` : "the";
    const expected = names.join(", ");
    const message = `${where}${name}: no option of that name; ${hint} options are ${expected}`;
    throw new SymplecticAdjointError("OPTION", message, { argument: where + name, expected, given: name });
  }
}

/** What options are called elsewhere. */
const aliases: Record<string, string> = {
  lr: "learningRate",
  weight_decay: "weightDecay",
  eps: "epsilon",
  solver: "method",
  step_size: "stepSize",
  dt: "stepSize",
  dt0: "firstStep",
  first_step: "firstStep",
  max_steps: "maxSteps",
  max_num_steps: "maxSteps",
};

/** A checked value, or its default where there is none. */
export function checked<T>(argument: string, value: T | undefined, rule: Rule): T | undefined {
  if (value !== undefined && !rule.valid(value)) throw refused("OPTION", argument, rule.expected, describe(value));
  return value;
}

/** A number option in range, or its default. */
export function numberOption(
  argument: string,
  value: unknown,
  fallback: number,
  expected: string,
  valid: (value: number) => boolean,
): number {
  return checked(argument, value as number | undefined, number(expected, valid)) ?? fallback;
}

/** Checked options, each read once. */
function snapshot<T>(options: unknown, rules: Record<string, Rule>, where = ""): T {
  checkNames(options, Object.keys(rules), where);
  const read: Record<string, unknown> = {};
  outside(() => {
    for (const name of Object.keys(rules)) read[name] = (options as Record<string, unknown>)[name];
  });
  for (const [name, rule] of Object.entries(rules)) checked(where + name, read[name], rule);
  const { rtol, atol, minStep, maxStep, steps, stepSize } = read as StepOptions;
  if (steps !== undefined && stepSize !== undefined) {
    throw refused("OPTION", `${where}stepSize`, "nothing where steps is given", describe(stepSize));
  }
  if (rtol === 0 && atol === 0) throw refused("OPTION", `${where}atol`, "a positive number where rtol is zero", "0");
  if (minStep !== undefined && maxStep !== undefined && minStep > maxStep) {
    throw refused("OPTION", `${where}minStep`, `at most maxStep, ${maxStep}`, describe(minStep));
  }
  return read as T;
}

/** The options of a solve or a gradient, checked and read once. */
export function readOptions(options: unknown): GradientOptions & { partial?: boolean } {
  const read = snapshot<GradientOptions>(options, gradientRules);
  const { memoryBudget, gradient = "auto" } = read;
  if (memoryBudget !== undefined && gradient !== "auto") {
    throw refused("OPTION", "memoryBudget", `nothing where gradient is ${gradient}`, describe(memoryBudget));
  }
  if (read.adjoint !== undefined) read.adjoint = snapshot<AdjointOptions>(read.adjoint, adjointRules, "adjoint.");
  return read;
}

/** What crosses into Rust of checked options: all that is given, by the names of the public API. */
export function passedOptions({ partial: _, ...options }: GradientOptions & { partial?: boolean }): object {
  const given = (record: object) =>
    Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
  const { adjoint, ...rest } = options;
  return { ...given(rest), ...(adjoint && { adjoint: given(adjoint) }) };
}
