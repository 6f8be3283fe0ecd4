// Options: their types, and their way into WebAssembly.
import type { SolveOptions as RustOptions } from "../wasm/bindings.js";
import { describe, refused } from "./errors.js";
import { call, type Instance } from "./wasm.js";

/** Explicit Runge–Kutta methods. The second row is adaptive unless given fixed steps. */
export type Method =
  | ("euler" | "midpoint" | "heun" | "ralston" | "rk4" | "rk38")
  | ("fehlberg2" | "adaptive_heun" | "bosh3" | "dopri5" | "tsit5" | "dopri8");

/** How to take steps, without the choice of output. */
export interface StepOptions {
  /** Default `dopri5`. */
  method?: Method;
  /** Relative tolerance, default 1e-6; in float32 at least 100 ε, see `stats.rtolClamped`. */
  rtol?: number;
  /** Absolute tolerance, default 1e-8. */
  atol?: number;
  /** Size of the first step tried; chosen by the method's order and tolerances otherwise. */
  firstStep?: number;
  /** Below this a solve gives up with `STEP_UNDERFLOW`; default 0, what the time can resolve. */
  minStep?: number;
  maxStep?: number;
  /** Steps tried, rejected ones included; default 100,000. Fixed steps are not bounded. */
  maxSteps?: number;
  /** Default 0.9: the next step is that part of the one that would just be accepted. */
  safety?: number;
  /** Bounds of the ratio of a step to the one before; default 0.2 and 10. */
  minFactor?: number;
  maxFactor?: number;
  /** Fixed steps, so many in each interval of `times`. */
  steps?: number;
  /** Fixed steps, equal and no longer than this. */
  stepSize?: number;
  /**
   * How steps follow from errors: `standard`, or as `torchdiffeq` does (after an accepted step never shorter; a step cut
   * to land on a time is what the next grows from; the first may be longer than the interval).
   */
  controller?: "standard" | "torchdiffeq";
  /** Whether state, cotangent and parameter gradient carry their rounding errors along; default `compensated`. */
  summation?: "compensated" | "plain";
}

export interface SolveOptions extends StepOptions {
  /**
   * Whether steps end on the output times (`land`), or those are filled in by the method's continuous extension
   * (`interpolate`). Default: interpolate for bosh3, dopri5 and tsit5 without fixed steps, land for the rest.
   */
  output?: "land" | "interpolate";
}

/** How a gradient is computed; all but `adjoint` give bitwise the same. */
export type GradientMethod = "symplectic" | "backprop" | "baseline" | "aca" | "adjoint";

export interface GradientOptions extends SolveOptions {
  /** Default `symplectic`. */
  gradient?: GradientMethod;
  /** How the continuous adjoint integrates backward; what is not given is as in the solve. */
  adjoint?: StepOptions;
}

const positive = ["firstStep", "maxStep", "maxFactor", "minFactor", "safety", "stepSize"];
const nonNegative = ["rtol", "atol", "minStep"];
const counts = ["maxSteps", "steps"];
const choices: Record<string, readonly string[]> = {
  output: ["land", "interpolate"],
  controller: ["standard", "torchdiffeq"],
  summation: ["compensated", "plain"],
};
const stepOptions = ["method", ...positive, ...nonNegative, ...counts, "controller", "summation"];

/** The names that a gradient takes. */
export const gradientNames = [...stepOptions, "output", "gradient", "adjoint"];

const gradients: readonly string[] = ["symplectic", "backprop", "baseline", "aca", "adjoint"];

/** Refuses unknown names. */
export function checkNames(options: object, names: readonly string[], where = ""): void {
  if (options === null || typeof options !== "object")
    throw refused("OPTION", "options", "an object", describe(options));
  for (const name of Object.keys(options)) {
    if (!names.includes(name))
      throw refused("OPTION", `${where}${name}`, `one of ${names.join(", ")}`, "an unknown option");
  }
}

/** A number option in range, or its default. */
export function numberOption(
  argument: string,
  value: unknown,
  fallback: number,
  expected: string,
  valid: (value: number) => boolean,
): number {
  if (value === undefined) return fallback;
  if (typeof value !== "number" || !valid(value)) throw refused("OPTION", argument, expected, describe(value));
  return value;
}

/** Hands the options over; whoever gets them frees them. */
export function solveOptions(wasm: Instance, options: SolveOptions, where = ""): RustOptions {
  const { method = "dopri5" } = options;
  if (typeof method !== "string") throw refused("OPTION", `${where}method`, "the name of a method", describe(method));
  if (options.steps !== undefined && options.stepSize !== undefined) {
    throw refused("OPTION", `${where}stepSize`, "nothing where steps is given", describe(options.stepSize));
  }
  const rust = call(wasm, () => new wasm.bindings.SolveOptions(method));
  try {
    for (const [name, value] of Object.entries(options)) {
      if (value === undefined || name === "method") continue;
      const argument = where + name;
      if (counts.includes(name)) {
        const valid = Number.isInteger(value) && value >= 1 && value <= 0xffff_ffff;
        if (!valid) throw refused("OPTION", argument, "a positive integer", describe(value));
        rust.set(name, value);
      } else if (positive.includes(name) || nonNegative.includes(name)) {
        const zero = nonNegative.includes(name);
        if (typeof value !== "number" || !(zero ? value >= 0 : value > 0)) {
          throw refused("OPTION", argument, zero ? "a number, zero or more" : "a positive number", describe(value));
        }
        rust.set(name, value);
      } else if (name in choices && (typeof value !== "string" || !rust.choose(name, value))) {
        throw refused("OPTION", argument, choices[name]?.join(" or ") ?? "", describe(value));
      }
    }
  } catch (error) {
    rust.free();
    throw error;
  }
  return rust;
}

/** The checked name of the gradient method. */
export function gradientMethod(options: GradientOptions): GradientMethod {
  const { gradient = "symplectic" } = options;
  if (!gradients.includes(gradient)) throw refused("OPTION", "gradient", gradients.join(", "), describe(gradient));
  return gradient;
}

/** The options of the backward integration: the solve's own, but for what `adjoint` says. */
export function adjointOptions(wasm: Instance, options: GradientOptions): RustOptions {
  const { adjoint = {} } = options;
  checkNames(adjoint, stepOptions, "adjoint.");
  const merged: Record<string, unknown> = {};
  for (const name of stepOptions) merged[name] = options[name as keyof GradientOptions];
  if (adjoint.steps !== undefined || adjoint.stepSize !== undefined) {
    merged.steps = undefined;
    merged.stepSize = undefined;
  }
  return solveOptions(wasm, { ...merged, ...adjoint }, "adjoint.");
}
