// Vector fields written as text.
import { type Dtype, dtypeRule } from "../checks/arrays.js";
import { anything, fallback, options } from "../checks/rules.js";
import { readEquations, readNames, readNumbers } from "../trace/equations.js";
import type { NumbersOf, ParametersIn, StatesIn } from "./equation-names.js";
import type { NamesOf } from "./field.js";
import { type ProgramField, programField } from "./program.js";
import { namesOf } from "./vector-field.js";

/** The options of `equations`, besides the text. */
export interface EquationsOptions<D extends Dtype = "float32", A extends string = string, P extends string = string> {
  /** The initial parameters by name, in addition to the `param` lines of the text, or overriding their values; none by default. */
  parameters?: Readonly<Record<P, number>> | undefined;
  /** The names of the arguments: values that differ between trajectories, one number each, given with a solve; none by default. */
  arguments?: readonly A[] | Readonly<Record<A, "scalar">> | undefined;
  /** The states in the order in which arrays have them; by default that of their equations. */
  state?: readonly string[] | undefined;
  /** The number type of the parameters and of all arrays; default `float32`. */
  dtype?: D | undefined;
}

const rules = {
  parameters: fallback(anything<unknown>(), {}),
  arguments: fallback(anything<unknown>(), []),
  state: anything<unknown>(),
  dtype: fallback(dtypeRule, "float32"),
};

/**
 * Makes a vector field from equations, one per line: `hare' = hare * (birth - hunt * lynx)`. A line without the apostrophe names an
 * expression for the lines below, and `param birth = 0.5` is a parameter with its initial value. `t` is the time and `pi` the number π,
 * unless you define that name; `#` begins a comment. There are + - * / ^, choices `a < b ? x : y`, and exp, log, log1p, expm1, sqrt, abs,
 * sin, cos, tan, asin, acos, atan, atan2, sinh, cosh, tanh, sigmoid, softplus, relu, min, max, sign and grad.
 *
 * @returns A field with the parameters; its state has a feature for each equation. Dispose of it when done.
 * @throws `OPTION` with `line` and `column` for a text that cannot be read; `OUT_OF_MEMORY`.
 */
export function equations<
  D extends Dtype = "float32",
  A extends string = string,
  const T extends string = string,
  P extends string = never,
>(
  text: T,
  given: EquationsOptions<D, A, P> = {},
): ProgramField<D, A, NamesOf<StatesIn<T>, NumbersOf<P | ParametersIn<T>>>> {
  const { traced, dtype } = readText(text, given);
  return programField(traced, dtype as D, text) as never;
}

/** The program of equations. */
export function readText(text: unknown, given: unknown) {
  const { parameters, arguments: names, state, dtype } = options(given, rules);
  const known = {
    parameters: readNumbers("parameters", parameters),
    arguments: readNames("arguments", names),
    states: state === undefined ? undefined : namesOf("state", state),
  };
  return { traced: readEquations(text, known), dtype };
}
