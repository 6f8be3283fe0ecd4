// Fits of differential equations to measurements.
import { DEFAULT_METHOD, INTERPOLATING_METHODS } from "../../wasm/constants.js";
import { constructors, type Dtype } from "../checks/arrays.js";
import { describe, type ErrorCode, refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { nearest, unknownName } from "../checks/names.js";
import {
  anything,
  argument,
  fallback,
  finitePositive,
  flag,
  isObject,
  number,
  oneOf,
  options,
  type Read,
  type Rules,
  record,
  required,
  rule,
  together,
} from "../checks/rules.js";
import { wholesOf } from "../fields/entries.js";
import type { Field, FieldNames, Recipe } from "../fields/field.js";
import { type ProgramField, type ProgramOptions, programField, WasmProgram } from "../fields/program.js";
import { checkLists, isLists, type Jump, type Lists, readChanges } from "../solve/changes.js";
import { isIndependent } from "../solve/independent.js";
import { isAdaptive, type Method, readOptions, type SolveOptions, solveRules } from "../solve/options.js";
import { uniforms } from "../trace/random.js";
import { ERROR_MODELS, ERRORS, type ErrorModelName } from "./error-models.js";
import { passedByEvent } from "./event-jumps.js";
import { aboutFirstMeasurements } from "./first-measurements.js";
import { fitModel } from "./fit.js";
import { methodFor } from "./method.js";
import type { FitModel } from "./model.js";
import { observationModel } from "./observations.js";
import { type Observation, type Observe, observationOf, statesOf } from "./observe.js";
import { type ModelParameter, type ParameterOptions, readParameters } from "./parameters.js";
import { type Place, type Predictions, Predictor } from "./predictions.js";
import type { FitResult, Fitted } from "./results.js";
import { LOSSES, type LossName } from "./robust.js";
import { type FitSettings, fitRules, type ReadSettings } from "./settings.js";
import { type Data, type Measurements, readData } from "./trajectories.js";
import { isOfPoorFit, stuckOf, uselessDerivatives } from "./warnings.js";

/** How to estimate an initial state: the options of a parameter, and whether trajectories share it. */
export interface InitialOptions extends Partial<ParameterOptions> {
  /** Whether all trajectories have the same value; default false: each has its own. */
  shared?: boolean | undefined;
}

/**
 * What to fit to measurements, and how. The default `rtol` is 1e-10, the default `atol` 1e-12, times the largest initial value if that is
 * below 1. The default `method` is `dopri8`, or `dopri5` for more than rtol^(−1/5) times: 100 with the default `rtol`.
 */
export interface FieldFitOptions<D extends Dtype = Dtype, A extends string = string, N extends FieldNames = FieldNames>
  extends FitSettings,
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
  /** What was measured: names of states, expressions of them, or a function; default all states. */
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
}

/** A measurement with its prediction. */
export interface Residual {
  /** The index of the trajectory in `data`, from 0. */
  readonly trajectory: number;
  /** The name of the trajectory. */
  readonly name: string;
  /** The time of the measurement. */
  readonly time: number;
  /** Which quantity was measured: an index into `observed` of the result. */
  readonly observed: number;
  /** The measured value. */
  readonly y: number;
  /** The value that the fitted model predicts for the measurement. */
  readonly prediction: number;
  /** Prediction minus measurement; the difference of their logarithms if `error` is lognormal. */
  readonly residual: number;
}

/** The fitted curve of a trajectory. */
export interface Curve {
  /** The name of the trajectory. */
  readonly name: string;
  /** The times of the curve: evenly spaced, from the trajectory's `t0` to its last measurement. */
  readonly times: Float64Array;
  /** The predictions at `times`, `[times, observed]`, row-major. */
  readonly y: Float64Array;
  /** The standard errors of the predictions, from those of the estimates (delta method): `[times, observed]`, row-major;
   * Infinity where a prediction depends on what the data do not determine. */
  readonly standardErrors: Float64Array;
}

/** Options of `curves`: at how many times the fitted curves are computed. */
export interface CurveOptions {
  /** The number of times of each curve, 2 or more; default 100. */
  points?: number | undefined;
}

/** The names of numbers among parameters, those of nested ones with a dot; of what is no record, whatever is in it. */
type NumberName<P> = P extends unknown
  ? {
      [K in keyof P & string]: P[K] extends number
        ? K
        : P[K] extends ArrayLike<unknown> | ((...of: never[]) => unknown)
          ? `${K}.${string}`
          : `${K}.${NumberName<P[K]>}`;
    }[keyof P & string]
  : never;

/**
 * The names of what is estimated of a field: its parameters, where its type knows them; numbers of arrays and arguments, such as `w[0]`;
 * initial states, such as `hare(0)`; deviations of the error model, such as `error.b`.
 */
export type EstimateName<N extends FieldNames = FieldNames> = 0 extends 1 & N["parameters"]
  ? string
  : NumberName<N["parameters"]> | `${string}[${string}]` | `${string}(0)` | `error.${string}`;

/** What names parameters to be estimated: an array, a network or a layer of it, or single numbers, where the field's type knows them. */
type GroupName<P> = 0 extends 1 & P
  ? string
  : P extends unknown
    ? { [K in keyof P & string]: P[K] extends number ? K : K | `${K}[${string}]` | `${K}.${string}` }[keyof P & string]
    : never;

/** What names the initial value of a state: the state, or the name of that value in results. */
type InitialName<S extends string> = [S] extends [never] ? string : S | `${S}(0)`;

/** The result of the fit of a field. */
export interface FieldFitResult<Name extends string = string> extends FitResult<Name> {
  /** The names of the quantities that were measured, as in the option `observe`. */
  readonly observed: readonly string[];
  /** The method that the solves used, such as `dopri8`. */
  readonly method: Method;
  /** Each measurement with its prediction, in the order of the data; missing ones are left out. */
  readonly measurements: readonly Residual[];
  /** The fitted curve of each trajectory from its `t0` to its last measurement, with standard errors. */
  curves(options?: CurveOptions): readonly Curve[];
}

const rules = {
  field: required(rule<Field>("a field, from equations or vectorField", () => true)),
  data: required(rule<unknown>("measurements { times, y, y0 } of a trajectory, or an array of them", () => true)),
  updateField: fallback(flag, true),
  observe: anything<Observe>(),
  parameters: fallback(record<unknown>(), {}),
  initial: fallback(record<unknown>(), {}),
  individual: fallback(record<unknown>(), {}),
  error: fallback(oneOf(ERRORS), "additive"),
  loss: fallback(oneOf(LOSSES), "linear"),
  lossScale: fallback(finitePositive, 1),
};

/** Those of a solve without arguments, which the data have. */
const solverRules = () => {
  const { arguments: _, ...rest } = solveRules;
  return rest;
};

/** Fits a field. */
export function fitField(given: FieldFitOptions): FieldFitResult {
  const solving = solverRules();
  const all = options(given, together(together(rules, fitRules), solving));
  // A fit has no use for what a solution may have besides.
  const { dense: _, saveSteps: __, ...solver } = readOptions(present({ ...all, rtol: all.rtol ?? 1e-10 }, solving));
  if (solver.onFailure === "mask") {
    throw refused("OPTION", "onFailure", "throw: a fit needs a prediction for every measurement", "mask");
  }
  const { field, data, observe, error, loss, lossScale, ...read } = present(all, together(rules, fitRules)) as Read<
    typeof rules & typeof fitRules
  >;
  const { parameters, initial, individual, updateField, ...settings } = read;
  if (loss !== "linear" && ERROR_MODELS[error].names.length > 0) {
    throw refused("OPTION", "loss", `linear, with error: "${error}"`, loss);
  }
  const original: unknown = field;
  if (!(original instanceof WasmProgram)) {
    throw refused("OPTION", "field", "a field from equations or vectorField", describe(field));
  }
  original.use();
  const made = original.recipe?.options as ProgramOptions;
  const initialParameters = Float64Array.from(original.copyParameters() as ArrayLike<number>);
  const standIns = original.standIns && { standIns: original.standIns };
  const twin = () =>
    programField(
      { ...made, ...standIns, initial: initialParameters },
      "float64",
      made.equations,
    ) as WasmProgram<"float64">;
  const own = { data, observe, error, loss, lossScale, solver, parameters, initial, individual };
  const model = new FieldModel(twin, own);
  return model.using(() => {
    const fitted = model.fit(settings);
    const { varianceOf: _, ...result } = fitted;
    if (updateField) {
      original.parameters = new constructors[original.dtype as Dtype](model.fieldParameters(result.values)) as never;
    }
    const told = model.told(fitted);
    const profile: FitResult["profile"] = (name, options) => model.profiling(() => result.profile(name, options));
    return frozen({ ...result, ...told, profile });
  });
}

/**
 * By which parts values are moved to see whether derivatives agree with differences, and by which part they may disagree. The first may
 * take a measurement over an event, where the second need not; but that is for exact solutions.
 */
const [DIFFERENCES, DISAGREEMENT] = [[1e-4, 1e-6] as const, 0.1];

/** Predictions are never more exact than the first, and never taken for less exact than the second, whatever the tolerance. */
const [ROUNDING, EXACT] = [4e-15, 1e-10];

/** A profile solves with so many times the steps that the estimates need, or with so many at least. */
const [LONGER, FEW_STEPS] = [50, 2000];

/** What to do where a solution has no derivative. */
const WITHOUT_DERIVATIVE =
  "the model is solved, but its derivatives are not finite: there is none, as of sqrt(y) at y0 = 0, or they overflow. Start y0 elsewhere, estimate it within bounds, or write the equations so that they have a derivative there.";

/** A jump whose lists are its own. */
function jumpCopied(jump: Jump): Jump {
  const copied = (lists: Lists): Lists =>
    isLists(lists) ? lists.map((list) => Float64Array.from(list)) : Float64Array.from(lists as ArrayLike<number>);
  const amounts = Object.entries(jump.amounts ?? {}).map(([name, lists]) => [name, copied(lists)] as const);
  return { ...jump, times: copied(jump.times), ...(jump.amounts && { amounts: Object.fromEntries(amounts) }) };
}

/** Those with the names of some rules that have a value. */
function present(all: Readonly<Record<string, unknown>>, rules: Rules): object {
  const names = Object.keys(rules).filter((name) => all[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, all[name]]));
}

interface Given {
  readonly data: unknown;
  readonly observe: Observe | undefined;
  readonly error: ErrorModelName;
  readonly loss: LossName;
  readonly lossScale: number;
  readonly solver: SolveOptions;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly initial: Readonly<Record<string, unknown>>;
  readonly individual: Readonly<Record<string, unknown>>;
}

/** A field in use, with what is observed of it. */
interface Used {
  readonly field: WasmProgram<"float64">;
  readonly observation: Observation;
  /** Of the measurements. */
  predictor?: Predictor;
}

/** Whether the program of a field chooses by comparisons. */
function choosesIn(field: WasmProgram<"float64">): boolean {
  const { program } = (field.recipe as Recipe).options as ProgramOptions;
  return program.nodes.some(([operation]) => operation === "select");
}

/** Of each trajectory its t0 and its last time. */
function spansOf({ trajectories, groups, rows }: Data) {
  const spans = trajectories.map((): [number, number] => [0, 0]);
  for (const { members, times } of groups) for (const i of members) spans[i] = [times[0] as number, times[0] as number];
  for (const { trajectory, t } of rows) (spans[trajectory] as [number, number])[1] = t;
  return { batch: trajectories.length, times: Float64Array.from(spans.flat()), counts: spans.map(() => 2) };
}

/** The default: far below what states start from, where that is less than 1. */
function atolFor({ trajectories }: Data): number {
  const starts = trajectories.flatMap(({ y0 }) => Array.from(y0, Math.abs));
  return 1e-12 * Math.min(1, starts.reduce((most, size) => Math.max(most, size), 0) || 1);
}

/** A field, its measurements and an error model, as what is fitted. */
class FieldModel {
  readonly observed: FitModel;
  readonly #made: () => WasmProgram<"float64">;
  readonly #given: Given;
  #used: Used | undefined;
  /** How many calls are using it. */
  #users = 0;
  readonly #names: readonly string[];
  readonly #data: Data;
  readonly #parameters: readonly ModelParameter[];
  readonly #places: readonly Place[];
  readonly #initial: Float64Array;
  #solver: SolveOptions;
  /** How many steps the longest solve takes at the estimates. */
  #steps = 0;
  /** Whether an event changes a state, or ends a trajectory. */
  readonly #changesAtEvents: boolean;

  constructor(made: () => WasmProgram<"float64">, given: Given) {
    this.#made = made;
    this.#given = given;
    const { field, observation } = this.#open();
    try {
      this.#data = readData(given.data, field, observation.names, Object.keys(given.individual));
      // Checked for all trajectories, as each will be solved by itself.
      const { jumps, events } = given.solver;
      const changes = readChanges(field, jumps, events, this.#data.trajectories.length);
      this.#changesAtEvents = changes.events.some(({ set, terminal }) => set !== null || terminal !== null);
      checkLists({ ...spansOf(this.#data), changes, nameOf: (i) => `data[${i}].times` });
      const numbers = [
        ...fieldParametersOf(field, given.parameters),
        ...initialStatesOf(field, this.#data, given.initial),
        ...individualsOf(field, this.#data, given.individual),
      ];
      if (numbers.length === 0) {
        const expected = "something to estimate: parameters of the field, initial states or individual arguments";
        throw refused("OPTION", "field", expected, "none");
      }
      this.#names = observation.names;
      this.#initial = field.copyParameters();
      this.#places = numbers.map(({ place }) => place);
      this.#parameters = numbers.map(({ parameter }) => parameter);
      // What is given may change before curves and profiles are asked for.
      const own = {
        ...(jumps && { jumps: jumps.map(jumpCopied) }),
        ...(events && { events: events.map((event) => ({ ...event })) }),
      };
      const mostTimes = this.#data.groups.reduce((most, { times }) => Math.max(most, times.length), 0);
      this.#solver = { ...given.solver, atol: given.solver.atol ?? atolFor(this.#data), ...own };
      this.#solver.method ??= methodFor(mostTimes, this.#tolerance().rtol);
      this.#checkPositive();
      this.observed = this.#observed();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What is fitted. */
  #observed(): FitModel {
    const { error, loss, lossScale } = this.#given;
    const { y, weights } = this.#data;
    const free = this.#parameters.flatMap(({ fixed }, k) => (fixed ? [] : [k]));
    let failureCode: ErrorCode | undefined;
    const stuck = () => stuckOf(String(this.#solver.method), this.#isInterpolated());
    const predict = (values: Float64Array) => {
      failureCode = undefined;
      const predictor = this.#fitted();
      const predictions = predictor.predict(values, free);
      if (!predictions) {
        failureCode = predictor.failure?.code;
        return `the solve fails: ${predictor.failure?.message}`;
      }
      const bad = predictions.f.findIndex((value) => !Number.isFinite(value));
      return bad >= 0 ? `a prediction is ${predictions.f[bad]}` : predictions;
    };
    const own = {
      parameters: this.#parameters,
      y,
      weights,
      quantities: { names: this.#names, which: this.#data.places.map(({ observed }) => observed) },
      errorModel: error,
      loss,
      lossScale,
      predict,
      predictionError: this.#predictionError(),
      tolerance: this.#tolerance(),
    };
    return {
      ...observationModel(own),
      withoutDerivative: WITHOUT_DERIVATIVE,
      switches: choosesIn((this.#used as Used).field),
      get failureCode() {
        return failureCode;
      },
      get stuck() {
        return stuck();
      },
    };
  }

  /**
   * Fits. Where the derivatives of the solution turn out to be useless, or the fit gets stuck, as may happen with stiff equations, it
   * tries shorter steps that end at the measurements, as far as the choice of that was left to us.
   */
  fit(settings: ReadSettings): Fitted {
    const first = this.#tried(settings);
    if (first.isSound && first.result.reason !== "stuck") return this.#withWarnings(first.result);
    const before = this.#solver;
    const method = this.#given.solver.method ?? DEFAULT_METHOD;
    const solver = this.#isInterpolated({ ...before, method })
      ? { ...before, method, output: "land" as const }
      : { ...before, method };
    const isOther = solver.method !== before.method || solver.output !== before.output;
    let { result } = first;
    if (isOther) {
      this.#useSolver(solver);
      const second = this.#tried(settings);
      if (second.isSound && !(first.isSound && second.result.reason === "stuck"))
        return this.#withWarnings(second.result);
      result = second.result;
    }
    if (first.isSound) {
      this.#useSolver(before);
      return this.#withWarnings(first.result);
    }
    const message = uselessDerivatives(String(this.#solver.method), this.#changesAtEvents);
    // What the others say, but for how well it fits, rests on the same derivatives.
    const warnings = [message, ...result.warnings.filter(isOfPoorFit)];
    return { ...result, reason: "derivatives", message, converged: false, warnings };
  }

  /** Fits by what solver there is. */
  #tried(settings: ReadSettings) {
    const result = fitModel(this.observed, settings);
    return { result, isSound: result.reason === "callback" || this.#derivativesAgree(result.values) };
  }

  /** Whether predictions are interpolated between steps, and not because that was asked for. */
  #isInterpolated(solver = this.#solver): boolean {
    return (
      solver.output === undefined &&
      isAdaptive(solver) &&
      (INTERPOLATING_METHODS as readonly string[]).includes(solver.method as Method)
    );
  }

  /** With warnings where an event passes a measurement, within a standard error of the estimates, or first measurements contradict y0. */
  #withWarnings(result: Fitted): Fitted {
    if (result.reason === "callback") return result;
    const predictor = this.#fitted();
    const given = { predictor, data: this.#data, names: this.#names, parameters: this.#parameters };
    const isPassed = this.#changesAtEvents && result.converged;
    const warnings = [isPassed ? passedByEvent(given, result) : undefined, aboutFirstMeasurements(given, result)];
    return { ...result, warnings: [...result.warnings, ...warnings.filter((warning) => warning !== undefined)] };
  }

  /** The tolerance of steps, 0 where they are fixed. */
  #tolerance() {
    const { rtol, atol } = this.#solver;
    const largest = (given: typeof rtol) => (typeof given === "object" ? Math.max(...Array.from(given)) : (given ?? 0));
    return isAdaptive(this.#solver) ? { rtol: largest(rtol), atol: largest(atol) } : { rtol: 0, atol: 0 };
  }

  /** How exact predictions are at best: by the tolerance of steps, or to rounding. */
  #predictionError(): number {
    const { rtol } = this.#solver;
    const given = isAdaptive(this.#solver) && typeof rtol === "number" ? rtol : 0;
    return Math.min(Math.max(given, ROUNDING), EXACT);
  }

  #useSolver(solver: SolveOptions): void {
    this.#solver = solver;
    if (this.#used) delete this.#used.predictor;
  }

  /**
   * Whether slopes agree with central differences along a direction in which all that is estimated moves. With its step sizes held fixed,
   * the derivative of a solution at the limit of stability may grow without bound, while the solution does not.
   */
  #derivativesAgree(values: Float64Array): boolean {
    const free = this.#parameters.flatMap(({ fixed }, k) => (fixed ? [] : [k]));
    if (free.length === 0) return true;
    const predictor = this.#fitted();
    const own = values.subarray(0, this.#places.length);
    const middle = predictor.predict(own, free);
    const slopes = middle?.slopes();
    // What cannot be solved is told elsewhere.
    if (!middle || !slopes) return middle === undefined;
    const given = this.#solver.rtol ?? 0;
    const rtol = typeof given === "number" ? given : Math.max(...Array.from(given));
    const length = (all: Float64Array) => Math.sqrt(all.reduce((sum, value) => sum + value * value, 0));
    const level = length(middle.f);
    // A change of a parameter by so much is one of the predictions by as much as they are: less than the value, where that is a date, say.
    const sizes = free.map((_, j) => level / length(middle.f.map((_, i) => slopes[i * free.length + j] as number)));
    const agrees = (part: number) => {
      const step = this.#stepBy(part, values, free, sizes);
      const at = (side: number) => predictor.predict(own.map((value, k) => value + side * (step[k] as number)));
      const [above, below] = [at(1), at(-1)];
      // It may not be solvable there, which says nothing of the derivatives here.
      if (!above || !below) return undefined;
      const differences = above.f.map((value, i) => (value - (below.f[i] as number)) / 2);
      const apart = differences.map((difference, i) =>
        free.reduce((sum, k, j) => sum - (slopes[i * free.length + j] as number) * (step[k] as number), difference),
      );
      return length(apart) <= DISAGREEMENT * length(differences) + 10 * rtol * level;
    };
    const seen = DIFFERENCES.filter((part, i) => i === 0 || rtol <= 1e-3 * part).map(agrees);
    return !seen.includes(false) || seen.includes(true);
  }

  /** A step of all that is estimated by a part of itself, or of its size, in directions that do not cancel. */
  #stepBy(part: number, values: Float64Array, free: readonly number[], sizes: readonly number[]): Float64Array {
    const step = new Float64Array(this.#places.length);
    const sign = uniforms(1);
    for (const [j, k] of free.entries()) {
      const { start, lower, upper } = this.#parameters[k] as ModelParameter;
      const value = values[k] as number;
      const own = Math.abs(value) || Math.abs(start);
      // Where predictions or slopes are 0, the size is none.
      const size = (sizes[j] as number) > 0 ? Math.min(own, sizes[j] as number) : own;
      const by = part * size * (sign() < 0.5 ? -1 : 1);
      if (value - Math.abs(by) > lower && value + Math.abs(by) < upper) step[k] = by;
    }
    return step;
  }

  /** Makes the field, and what is observed of it; until it is closed, it is there. */
  #open(): Used {
    const field = this.#made();
    try {
      this.#used = { field, observation: observationOf(field, this.#given.observe) };
      return this.#used;
    } catch (error) {
      field.dispose();
      throw error;
    }
  }

  close(): void {
    this.#used?.observation.dispose();
    this.#used?.field.dispose();
    this.#used = undefined;
  }

  /** Runs with the field, and closes it. */
  using<R>(body: () => R): R {
    // Whoever opened it closes it: what the user gives may call for curves in the middle of a profile.
    const isOpen = this.#used !== undefined && this.#users > 0;
    if (!this.#used) this.#open();
    this.#users++;
    try {
      return body();
    } finally {
      this.#users--;
      if (!isOpen) this.close();
    }
  }

  /**
   * Runs a profile. Far from the estimates equations may become as stiff as they like, and every solve takes as long as it may; what takes
   * so much longer than at the estimates counts as what cannot be solved.
   */
  profiling<R>(body: () => R): R {
    const { maxSteps = Number.POSITIVE_INFINITY, ...solver } = this.#solver;
    const own = { ...solver, maxSteps: Math.min(maxSteps, Math.max(FEW_STEPS, LONGER * this.#steps)) };
    return this.using(() => this.#solvingBy(own, body));
  }

  /** Runs with these options of solves. */
  #solvingBy<R>(solver: SolveOptions, body: () => R): R {
    const before = this.#solver;
    this.#useSolver(solver);
    try {
      return body();
    } finally {
      this.#useSolver(before);
    }
  }

  /** Of what is fitted. */
  #fitted(): Predictor {
    const used = this.#used as Used;
    used.predictor ??= this.#predictor(this.#data);
    return used.predictor;
  }

  #predictor(data: Data): Predictor {
    const used = this.#used as Used;
    return new Predictor(used.field, data, used.observation, this.#places, this.#solver);
  }

  #checkPositive(): void {
    const { error } = this.#given;
    const { y, places, rows } = this.#data;
    const bad = ERROR_MODELS[error].positive ? y.findIndex((value) => !(value > 0)) : -1;
    if (bad < 0) return;
    const { row, observed } = places[bad] as Data["places"][number];
    const where = `${y[bad]} of ${this.#names[observed]} at time ${rows[row]?.t}`;
    throw refused("OPTION", "data", `positive measurements, since error is ${error}`, where);
  }

  /** All parameters of the field, for values of what is fitted. */
  fieldParameters(values: Float64Array): Float64Array {
    const all = this.#initial.slice();
    for (const [k, place] of this.#places.entries()) {
      if (place.kind === "parameter") all[place.index] = values[k] as number;
    }
    return all;
  }

  /** What a result tells of measurements and curves. */
  told(given: Fitted) {
    // Copies, which nobody changes.
    const result = { ...given, values: given.values.slice() };
    const values = result.values.subarray(0, this.#places.length);
    const predictor = this.#fitted();
    const { f } = predictor.predict(values) as Predictions;
    this.#steps = predictor.steps;
    const measurements = this.#data.places.map(({ row, observed }, i) => {
      const { trajectory, t } = this.#data.rows[row] as Data["rows"][number];
      const { name } = this.#data.trajectories[trajectory] as Data["trajectories"][number];
      const [y, prediction, residual] = [this.#data.y[i], f[i], result.residuals[i]];
      return frozen({ trajectory, name, time: t, observed, y, prediction, residual } as Residual);
    });
    const curves = (given: CurveOptions = {}) => {
      const { points } = options(given, { points: fallback(pointsRule, 100) });
      const all = this.#data.trajectories.map((_, index) => index);
      return this.using(() => {
        // Those that take their own steps are solved and differentiated together; where one cannot be, each is alone.
        const together = isIndependent(this.#solver, undefined) ? this.#curves(result, all, points, true) : undefined;
        return together ?? all.flatMap((index) => this.#curves(result, [index], points, false) as Curve[]);
      });
    };
    return { observed: this.#names, method: this.#solver.method as Method, measurements, curves };
  }

  /** The curves of trajectories; if they have to be whole, undefined where one of them has no standard errors. */
  #curves(result: Fitted, indices: readonly number[], points: number, whole: boolean): Curve[] | undefined {
    const groups = indices.map((index) => {
      const own = this.#data.rows.filter(({ trajectory }) => trajectory === index);
      const from = this.#data.groups.find(({ members }) => members.includes(index))?.times[0] as number;
      const to = own.at(-1)?.t ?? from;
      const times = Float64Array.from({ length: points }, (_, i) => {
        return i + 1 === points ? to : from + ((to - from) * i) / (points - 1);
      });
      return { times, members: [index] };
    });
    const rows = groups.flatMap(({ times, members: [trajectory] }, group) =>
      Array.from(times, (t, time) => ({ trajectory: trajectory as number, t, group, member: 0, time })),
    );
    const width = this.#names.length;
    const places = rows.flatMap((_, row) => this.#names.map((_, observed) => ({ row, observed })));
    const y = new Float64Array(places.length);
    const data = { ...this.#data, groups, rows, places, y, weights: undefined };
    // The free parameters of the model, with their places among all that are free.
    const names = result.freeNames.map((name) => this.#parameters.findIndex((parameter) => parameter.name === name));
    const kept = names.flatMap((k, i) => (k >= 0 ? [{ k, i }] : []));
    const values = result.values.subarray(0, this.#places.length);
    const predictions = this.#predictor(data).predict(
      values,
      kept.map(({ k }) => k),
    );
    const slopes = predictions?.slopes();
    if (whole && !slopes) return undefined;
    const { f } = predictions as Predictions;
    const slopesOf = (row: number) =>
      slopes?.subarray(row * kept.length, (row + 1) * kept.length) ?? new Float64Array(kept.length).fill(Number.NaN);
    const standardErrors = y.map((_, row) => {
      const own = slopesOf(row);
      const all = new Float64Array(names.length);
      for (const [a, { i }] of kept.entries()) all[i] = own[a] as number;
      return Math.sqrt(result.varianceOf(all));
    });
    return groups.map(({ times, members: [index] }, k) => {
      const part = (all: Float64Array) => all.slice(k * points * width, (k + 1) * points * width);
      const { name } = this.#data.trajectories[index as number] as Data["trajectories"][number];
      return frozen({ name, times, y: part(f), standardErrors: part(standardErrors) });
    });
  }
}

const pointsRule = number("an integer, 2 or more", (value) => Number.isInteger(value) && value >= 2 && value < 2 ** 24);

/** What a record has itself by that name. */
const ownOf = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

/** What is estimated, and where it belongs. */
interface Estimated {
  readonly parameter: ModelParameter;
  readonly place: Place;
}

/** The parameters of the field: each number of each entry. */
function fieldParametersOf(field: WasmProgram<"float64">, given: Readonly<Record<string, unknown>>): Estimated[] {
  const current = field.copyParameters();
  const all = Object.entries(field.entries).flatMap(([entry, { offset, shape }]) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return Array.from({ length: size }, (_, i) => ({
      entry,
      name: shape.length === 0 ? entry : `${entry}[${i}]`,
      index: offset + i,
    }));
  });
  const names = all.map(({ name }) => name);
  const once = new Set(names);
  const twice = names.find((name) => !once.delete(name));
  if (twice !== undefined) throw refused("OPTION", "field", "parameters with different names", `${twice} twice`);
  if (names.length === 0 && Object.keys(given).length === 0) return [];
  const entries = Object.keys(field.entries);
  const known = new Set([...entries.flatMap(wholesOf), ...names]);
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue;
    throw unknownName("parameters.", name, entries, "parameter", "OPTION", nearest(name, [...known]));
  }
  const wanted = all.map(({ entry, name, index }) => {
    const whole = [name, ...wholesOf(entry)].find((one) => ownOf(given, one) !== undefined);
    const own = whole === undefined ? undefined : given[whole];
    if (Array.isArray(own)) {
      const expected = `a number, or options, for all its numbers; or for each by its name, such as ${entry}[0]`;
      throw refused("OPTION", `parameters.${whole}`, expected, describe(own));
    }
    const start = current[index] as number;
    return [name, isObject(own) ? { start: within(start, own), ...own } : (own ?? start)] as const;
  });
  if (wanted.length === 0) return [];
  const read = readParameters(Object.fromEntries(wanted));
  return read.map((parameter, i) => ({ parameter, place: { kind: "parameter", index: all[i]?.index as number } }));
}

/** A value of a field, which may have been rounded to float32 beyond a bound that it was on. */
function within(value: number, { lower, upper }: Partial<ParameterOptions>): number {
  return [lower, upper].find((bound) => typeof bound === "number" && Math.fround(bound) === value) ?? value;
}

/** The initial states that are estimated. */
function initialStatesOf(
  field: WasmProgram<"float64">,
  data: Data,
  given: Readonly<Record<string, unknown>>,
): Estimated[] {
  const states = statesOf(field);
  const estimated = Object.entries(given).flatMap(([key, wanted]): Estimated[] => {
    // By the name of the state, or as results call its initial value.
    const state = states.includes(key) ? key : key.replace(/\(0\)$/, "");
    const feature = states.indexOf(state);
    if (feature < 0) throw unknownName("initial.", state, states, "state");
    if (wanted === false) return [];
    const { shared: isShared, ...own } = (isObject(wanted) ? wanted : {}) as InitialOptions;
    const alone =
      argument(`initial.${state}.shared`, isShared, fallback(flag, false)) || data.trajectories.length === 1;
    const members = alone ? [undefined] : data.trajectories.map((_, index) => index);
    return members.map((trajectory) => {
      const owner = data.trajectories[trajectory ?? 0] as Data["trajectories"][number];
      const name = trajectory === undefined ? `${state}(0)` : `${state}(0)[${owner.name}]`;
      const measured = owner.y0[feature] as number;
      const start = Number.isNaN(measured) ? undefined : measured;
      const from = isObject(wanted) ? { start, ...own } : typeof wanted === "number" ? wanted : { start };
      return one(`initial.${state}`, name, from, { kind: "initial", feature, trajectory });
    });
  });
  for (const [index, { name, y0 }] of data.trajectories.entries()) {
    const open = y0.findIndex((value, feature) => {
      const isEstimated = ({ place }: Estimated) =>
        place.kind === "initial" && place.feature === feature && (place.trajectory ?? index) === index;
      return Number.isNaN(value) && !estimated.some(isEstimated);
    });
    if (open < 0) continue;
    const state = states[open] ?? `feature ${open}`;
    const expected = `a number for ${state} of trajectory ${name}, or ${state} among the options of initial`;
    throw refused("NON_FINITE", "data.y0", expected, "NaN");
  }
  return estimated;
}

/** The arguments that are estimated, for each trajectory. */
function individualsOf(
  field: WasmProgram<"float64">,
  data: Data,
  given: Readonly<Record<string, unknown>>,
): Estimated[] {
  const widths = field.argumentWidths;
  return Object.entries(given).flatMap(([name, wanted]) => {
    const width = ownOf(widths, name);
    if (width === undefined && Object.hasOwn(field.entries, name)) {
      const expected = `an argument: list ${name} in the option arguments of the field, instead of in parameters`;
      throw refused("OPTION", `individual.${name}`, expected, "a parameter, which all trajectories share");
    }
    if (width === undefined) throw unknownName("individual.", name, Object.keys(widths), "argument");
    return data.trajectories.flatMap((owner, trajectory) =>
      Array.from({ length: width }, (_, index) => {
        const own = owner.arguments[name]?.[index] as number;
        const start = Number.isNaN(own) ? undefined : own;
        const from = isObject(wanted) ? { start, ...wanted } : (wanted ?? { start });
        const called = width === 1 ? `${name}[${owner.name}]` : `${name}.${index}[${owner.name}]`;
        return one(`individual.${name}`, called, from, { kind: "argument", name, index, trajectory });
      }),
    );
  });
}

/** One number, whose options stand at a place of their own. */
function one(where: string, name: string, given: unknown, place: Place): Estimated {
  const at = where.lastIndexOf(".");
  const [own] = readParameters({ [where.slice(at + 1)]: given }, where.slice(0, at));
  return { parameter: { ...(own as ModelParameter), name }, place };
}
