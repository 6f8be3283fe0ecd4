// The options of the fit of a field.
import type { Dtype } from "../checks/arrays.js";
import { anything, fallback, finitePositive, flag, oneOf, record, required, rule } from "../checks/rules.js";
import type { FieldNames } from "../fields/field.js";
import { type ProgramField, WasmProgram } from "../fields/program.js";
import { poolRule } from "../parallel/pool-rule.js";
import type { Pool } from "../parallel/pool-types.js";
import type { Jump } from "../solve/changes.js";
import { type SolveOptions, solveRules } from "../solve/options.js";
import { ERRORS, type ErrorModelName } from "./error-models.js";
import type { Observe } from "./observe.js";
import type { ParameterOptions } from "./parameters.js";
import { LOSSES, type LossName } from "./robust.js";
import type { FitSettings } from "./settings.js";
import { dataRule, type Measurements } from "./trajectories.js";

/** How to estimate an initial state: the options of a parameter, and whether trajectories share it. */
export interface InitialOptions extends Partial<ParameterOptions> {
  /** Whether all trajectories have the same value; default false: each has its own. */
  shared?: boolean | undefined;
}

/**
 * What to fit to measurements, and how. The default `rtol` is 1e-10, the default `atol` 1e-12, times the largest initial value if that is
 * below 1. The default `method` is `dopri8`, or `dopri5` for more than rtol^(−1/5) times: 100 with the default `rtol`.
 */
export interface FieldFitOptions<
  D extends Dtype = Dtype,
  A extends string = string,
  N extends FieldNames = FieldNames,
  P extends Pool | undefined = undefined,
> extends FitSettings,
    Omit<SolveOptions<A, N>, "arguments" | "onFailure"> {
  /**
   * The model, from `equations` or `vectorField`. The fit runs in float64, and sets the model's parameters to the estimates unless
   * `updateField` is false.
   */
  field: ProgramField<D, A, N>;
  /** Whether to set the field's parameters to the estimates; if false, the field keeps its own. Default true. */
  updateField?: boolean | undefined;
  /** The measurements of a trajectory, or of several. */
  data: Measurements<A, N["states"]> | readonly Measurements<A, N["states"]>[];
  /** The quantities that were measured: names of states, expressions of them, or a function; default all states. */
  observe?: Observe<A, N> | undefined;
  /**
   * Changes of the state at known times, such as doses, as for `odeint`: times and amounts for all trajectories, or a list for each of
   * them, in the order of `data`. With jumps or `events`, each trajectory takes its own steps. None by default.
   */
  jumps?: readonly Jump<A, N>[] | undefined;
  /**
   * Parameters by name, such as `birth`, or `hunt[0]` of an array: the value to start from, or bounds, transform and so on. The name of an
   * array, of a network or of one of its layers, such as `net.0`, stands for all numbers in it, except those with a more specific name.
   * Parameters that you leave out are estimated too, starting from the field's values.
   */
  parameters?:
    | { readonly [Name in GroupName<N["parameters"]>]?: number | Partial<ParameterOptions> | undefined }
    | undefined;
  /**
   * Initial states to estimate, by the names of the states: `true` to start from the value in the data, a number to start from, or options
   * such as bounds. The result names them `hare(0)`, or `hare(0)[name]` if each of several trajectories has its own. None by default.
   */
  initial?: { readonly [Name in InitialName<N["states"]>]?: boolean | number | InitialOptions | undefined } | undefined;
  /**
   * Arguments to estimate for each trajectory separately, by name: a number to start from, or options such as bounds. The result names them
   * `weight[name]`, with the name of the trajectory. None by default.
   */
  individual?: { readonly [Name in A]?: number | Partial<ParameterOptions> | undefined } | undefined;
  /**
   * How measurements scatter around predictions; default `additive`. The standard deviations of `proportional` (b) and `combined` (a, b)
   * are estimated too, as `error.a` and `error.b`.
   */
  error?: ErrorModelName | undefined;
  /**
   * The loss function: `linear`, which is least squares and the default, or one that is robust to outliers. A robust loss cannot be used
   * with the `error` models `proportional` and `combined`.
   */
  loss?: LossName | undefined;
  /** Residuals larger than this are down-weighted by a robust loss (SciPy's `f_scale`); default 1. */
  lossScale?: number | undefined;
  /**
   * A pool or a cluster that solves the trajectories, for data of many of them; the fit then returns a promise. Each takes its own steps,
   * as with `batching: "independent"`. Solves run on the calling thread all the same where derivatives come from the transpose: with
   * `method: "leapfrog"`, or with more than twice as many parameters as measurements. Default: this thread.
   */
  pool?: P;
}

/** What names parameters to be estimated: an array, a network or a layer of it, or single numbers, where the field's type knows them. */
type GroupName<P> = 0 extends 1 & P
  ? string
  : P extends unknown
    ? { [K in keyof P & string]: P[K] extends number ? K : K | `${K}[${string}]` | `${K}.${string}` }[keyof P & string]
    : never;

/** What names the initial value of a state: the state, or the name of that value in results. */
type InitialName<S extends string> = [S] extends [never] ? string : S | `${S}(0)`;

/** The rules of what is beside settings of fits and solves. */
export const fieldFitRules = {
  field: required(
    rule<WasmProgram<Dtype>>("a field from equations or vectorField", (value) => value instanceof WasmProgram),
  ),
  data: required(dataRule),
  updateField: fallback(flag, true),
  observe: anything<Observe>(),
  parameters: fallback(record<unknown>(), {}),
  initial: fallback(record<unknown>(), {}),
  individual: fallback(record<unknown>(), {}),
  error: fallback(oneOf(ERRORS), "additive"),
  loss: fallback(oneOf(LOSSES), "linear"),
  lossScale: fallback(finitePositive, 1),
  pool: poolRule,
};

/** Those of a solve without arguments, which the data have. */
export const solverRules = () => {
  const { arguments: _, ...rest } = solveRules;
  return rest;
};
