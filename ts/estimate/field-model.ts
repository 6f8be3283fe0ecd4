// A field with its measurements, as what is fitted.
import { DEFAULT_METHOD, INTERPOLATING_METHODS } from "../../wasm/constants.js";
import { type ErrorCode, refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { fallback, options } from "../checks/rules.js";
import type { Recipe } from "../fields/field.js";
import type { ProgramOptions, WasmProgram } from "../fields/program.js";
import type { Pool } from "../parallel/pool-types.js";
import { checkLists, isLists, type Jump, type Lists, readChanges } from "../solve/changes.js";
import { isIndependent } from "../solve/independent.js";
import { isAdaptive, type Method, type SolveOptions } from "../solve/options.js";
import { type Coroutine, run } from "./coroutine.js";
import { curvesOf, pointsRule } from "./curves.js";
import { derivativesAgree } from "./derivative-check.js";
import { ERROR_MODELS, type ErrorModelName } from "./error-models.js";
import { type EstimationChoices, estimatedParameters } from "./estimated.js";
import { eventWarning } from "./event-jumps.js";
import type { Curve, CurveOptions, Residual } from "./field-results.js";
import { initialStateWarning } from "./first-measurements.js";
import { fitModel } from "./fit.js";
import { methodFor } from "./method.js";
import type { FitModel } from "./model.js";
import { observationModel } from "./observations.js";
import { type ObservationFunction, type Observe, observationOf } from "./observe.js";
import type { ModelParameter } from "./parameters.js";
import { type EstimatedInput, type Predictions, Predictor } from "./predictions.js";
import type { CompleteFitResult } from "./results.js";
import type { LossName } from "./robust.js";
import type { ReadSettings } from "./settings.js";
import { type Data, readData } from "./trajectories.js";
import { isOfPoorFit, stuckOf, uselessDerivatives } from "./warnings.js";

/** The least and the greatest relative error that predictions are assumed to have, for any tolerance. */
const [ROUNDING, EXACT] = [4e-15, 1e-10];

/** The most steps of a solve in a profile: this many times as many as at the estimates, but at least the second number. */
const [LONGER, FEW_STEPS] = [50, 2000];

/** What to do where a solution has no derivative. */
const WITHOUT_DERIVATIVE =
  "the model is solved, but its derivatives are not finite: there is none, as of sqrt(y) at y0 = 0, or they overflow. Start y0 elsewhere, estimate it within bounds, or write the equations so that they have a derivative there.";

/** A jump whose lists are its own. */
function copyOfJump(jump: Jump): Jump {
  const copied = (lists: Lists): Lists =>
    isLists(lists) ? lists.map((list) => Float64Array.from(list)) : Float64Array.from(lists as ArrayLike<number>);
  const amounts = Object.entries(jump.amounts ?? {}).map(([name, lists]) => [name, copied(lists)] as const);
  return { ...jump, times: copied(jump.times), ...(jump.amounts && { amounts: Object.fromEntries(amounts) }) };
}

/** The data and parameters of a fit, and how it is solved. */
interface FieldModelOptions extends EstimationChoices {
  readonly data: unknown;
  readonly observe: Observe | undefined;
  readonly error: ErrorModelName;
  readonly loss: LossName;
  readonly lossScale: number;
  readonly solver: SolveOptions;
  /** Who solves, if not this thread. */
  readonly pool?: Pool | undefined;
}

/** A field in use, with what is observed of it. */
interface OpenField {
  readonly field: WasmProgram<"float64">;
  readonly observation: ObservationFunction;
  /** The predictor of the measurements. */
  predictor?: Predictor;
}

/** Whether the program of a field chooses by comparisons, or by a sign. */
function hasBranches(field: WasmProgram<"float64">): boolean {
  const { program } = (field.recipe as Recipe).options as ProgramOptions;
  return program.nodes.some(([operation]) => operation === "select" || operation === "sign");
}

/** The t0 and the last time of each trajectory. */
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

/** The largest of the tolerances of features. */
const largestOf = (given: SolveOptions["rtol"]) =>
  typeof given === "object" ? Math.max(...Array.from(given)) : (given ?? 0);

/** A field, its measurements and an error model, as what is fitted. */
export class FieldModel {
  readonly #made: () => WasmProgram<"float64">;
  readonly #given: FieldModelOptions;
  #used: OpenField | undefined;
  /** How many calls are using it. */
  #users = 0;
  readonly #names: readonly string[];
  readonly #data: Data;
  readonly #parameters: readonly ModelParameter[];
  readonly #places: readonly EstimatedInput[];
  readonly #initial: Float64Array;
  #solver: SolveOptions;
  /** How many steps the longest solve takes at the estimates. */
  #steps = 0;
  /** Whether an event changes a state, or ends a trajectory. */
  readonly #changesAtEvents: boolean;

  constructor(made: () => WasmProgram<"float64">, given: FieldModelOptions) {
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
      const numbers = estimatedParameters(field, this.#data, given);
      this.#names = observation.names;
      this.#initial = field.copyParameters();
      this.#places = numbers.map(({ place }) => place);
      this.#parameters = numbers.map(({ parameter }) => parameter);
      // The caller may change these before curves and profiles are computed.
      const copies = {
        ...(jumps && { jumps: jumps.map(copyOfJump) }),
        ...(events && { events: events.map((event) => ({ ...event })) }),
      };
      const mostTimes = this.#data.groups.reduce((most, { times }) => Math.max(most, times.length), 0);
      this.#solver = { ...given.solver, atol: given.solver.atol ?? atolFor(this.#data), ...copies };
      this.#solver.method ??= methodFor(mostTimes, this.#tolerance().rtol);
      this.#checkPositive();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The data and parameters of the fit. */
  *#observed(): Coroutine<FitModel> {
    const { error, loss, lossScale } = this.#given;
    const { y, weights } = this.#data;
    const free = this.#parameters.flatMap(({ fixed }, k) => (fixed ? [] : [k]));
    let failureCode: ErrorCode | undefined;
    const stuck = () => stuckOf(String(this.#solver.method), this.#isInterpolated());
    const fitted = () => this.#fitted();
    function* predict(values: Float64Array): Coroutine<Predictions | string> {
      failureCode = undefined;
      const predictor = fitted();
      const predictions = yield* predictor.predict(values, free);
      if (!predictions) {
        failureCode = predictor.failure?.code;
        return `the solve fails: ${predictor.failure?.message}`;
      }
      const bad = predictions.f.findIndex((value) => !Number.isFinite(value));
      return bad >= 0 ? `a prediction is ${predictions.f[bad]}` : predictions;
    }
    const measurementModel = {
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
      ...(yield* observationModel(measurementModel)),
      withoutDerivative: WITHOUT_DERIVATIVE,
      switches: hasBranches((this.#used as OpenField).field),
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
  *fit(settings: ReadSettings): Coroutine<CompleteFitResult> {
    const observed = yield* this.#observed();
    const first = yield* this.#tried(observed, settings);
    if (first.isSound && first.result.reason !== "stuck") return yield* this.#withWarnings(first.result);
    const before = this.#solver;
    const method = this.#given.solver.method ?? DEFAULT_METHOD;
    const solver = this.#isInterpolated({ ...before, method })
      ? { ...before, method, output: "land" as const }
      : { ...before, method };
    const isOther = solver.method !== before.method || solver.output !== before.output;
    let { result } = first;
    if (isOther) {
      this.#useSolver(solver);
      const second = yield* this.#tried(observed, settings);
      if (second.isSound && !(first.isSound && second.result.reason === "stuck"))
        return yield* this.#withWarnings(second.result);
      result = second.result;
    }
    if (first.isSound) {
      this.#useSolver(before);
      return yield* this.#withWarnings(first.result);
    }
    const message = uselessDerivatives(
      String(this.#solver.method),
      this.#changesAtEvents,
      hasBranches((this.#used as OpenField).field),
    );
    // Except for the quality of the fit, the other warnings rest on the same derivatives.
    const warnings = [message, ...result.warnings.filter(isOfPoorFit)];
    return { ...result, reason: "derivatives", message, converged: false, warnings };
  }

  /** Fits by what solver there is. */
  *#tried(observed: FitModel, settings: ReadSettings) {
    const result = yield* fitModel(observed, settings);
    const isSound = result.reason === "callback" || (yield* this.#hasUsefulDerivatives(result.values));
    return { result, isSound };
  }

  #hasUsefulDerivatives(values: Float64Array): Coroutine<boolean> {
    const own = values.subarray(0, this.#places.length);
    return derivativesAgree(this.#fitted(), this.#parameters, own, largestOf(this.#solver.rtol));
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
  *#withWarnings(result: CompleteFitResult): Coroutine<CompleteFitResult> {
    if (result.reason === "callback") return result;
    const predictor = this.#fitted();
    const given = { predictor, data: this.#data, names: this.#names, parameters: this.#parameters };
    const isPassed = this.#changesAtEvents && result.converged;
    const warnings = [
      isPassed ? yield* eventWarning(given, result) : undefined,
      yield* initialStateWarning(given, result),
    ];
    return { ...result, warnings: [...result.warnings, ...warnings.filter((warning) => warning !== undefined)] };
  }

  /** The tolerance of steps, 0 where they are fixed. */
  #tolerance() {
    const { rtol, atol } = this.#solver;
    return isAdaptive(this.#solver) ? { rtol: largestOf(rtol), atol: largestOf(atol) } : { rtol: 0, atol: 0 };
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

  /** Makes the field, and what is observed of it; until it is closed, it is there. */
  #open(): OpenField {
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
  *using<R>(body: () => Coroutine<R>): Coroutine<R> {
    // Whoever opened it closes it: what the user gives may call for curves in the middle of a profile.
    const isOpen = this.#used !== undefined && this.#users > 0;
    if (!this.#used) this.#open();
    this.#users++;
    try {
      return yield* body();
    } finally {
      this.#users--;
      if (!isOpen) this.close();
    }
  }

  /**
   * Runs a profile. Far from the estimates, the equations may become arbitrarily stiff. Solves that take many more steps than at the
   * estimates count as failed.
   */
  profiling<R>(body: () => Coroutine<R>): Coroutine<R> {
    const { maxSteps = Number.POSITIVE_INFINITY, ...solver } = this.#solver;
    const own = { ...solver, maxSteps: Math.min(maxSteps, Math.max(FEW_STEPS, LONGER * this.#steps)) };
    return this.using(() => this.#solvingBy(own, body));
  }

  /** Runs with these options of solves. */
  *#solvingBy<R>(solver: SolveOptions, body: () => Coroutine<R>): Coroutine<R> {
    const before = this.#solver;
    this.#useSolver(solver);
    try {
      return yield* body();
    } finally {
      this.#useSolver(before);
    }
  }

  /** The predictor of the measurements, made once. */
  #fitted(): Predictor {
    const used = this.#used as OpenField;
    used.predictor ??= this.#predictor(this.#data, this.#given.pool);
    return used.predictor;
  }

  #predictor(data: Data, pool?: Pool): Predictor {
    const used = this.#used as OpenField;
    return new Predictor(used.field, data, used.observation, this.#places, this.#solver, pool);
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

  /** The part of a result that is about measurements and curves. */
  *measurementsOf(given: CompleteFitResult) {
    // Copies, which do not change.
    const result = { ...given, values: given.values.slice() };
    const values = result.values.subarray(0, this.#places.length);
    const predictor = this.#fitted();
    const { f } = (yield* predictor.predict(values)) as Predictions;
    this.#steps = predictor.steps;
    const measurements = this.#data.places.map(({ row, observed }, i) => {
      const { trajectory, t } = this.#data.rows[row] as Data["rows"][number];
      const { name } = this.#data.trajectories[trajectory] as Data["trajectories"][number];
      const [y, prediction, residual] = [this.#data.y[i], f[i], result.residuals[i]];
      return frozen({ trajectory, name, time: t, observed, y, prediction, residual } as Residual);
    });
    const curves = (given: CurveOptions = {}) => {
      const { points } = options(given, { points: fallback(pointsRule, 100) });
      // They are few, and solved on this thread.
      return run(this.using(() => this.#curves(result, points))) as Curve[];
    };
    return { observed: this.#names, method: this.#solver.method as Method, measurements, curves };
  }

  *#curves(result: CompleteFitResult, points: number): Coroutine<Curve[]> {
    const fit = {
      data: this.#data,
      names: this.#names,
      parameters: this.#parameters,
      predictorOf: (data: Data) => this.#predictor(data),
    };
    const all = this.#data.trajectories.map((_, index) => index);
    // Those that take their own steps are solved and differentiated together; where one cannot be, each is alone.
    const together = isIndependent(this.#solver, undefined)
      ? yield* curvesOf(fit, result, all, points, true)
      : undefined;
    if (together) return together;
    const curves: Curve[] = [];
    for (const index of all) curves.push(...((yield* curvesOf(fit, result, [index], points, false)) as Curve[]));
    return curves;
  }
}
