// Independent trajectories with their derivatives along directions.
import type { Ensemble } from "../../wasm/bindings.js";
import { EVENT_NUMBERS, TRAJECTORY_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, checkLength, type Dtype, zeros } from "../checks/arrays.js";
import { frozen } from "../checks/frozen.js";
import { checkAbsent } from "../checks/rules.js";
import { call, callWithProgress, refuseReentry, release } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { type Field, useField, type WasmField, wasmField } from "../fields/field.js";
import { checkLists, type Lists } from "./changes.js";
import { type EnsembleProblem, type EnsembleResult, readProblem } from "./ensemble.js";
import { flattened, type IndependentSolution, padded, paddedRows, solutionOf } from "./independent.js";
import type { OdeintOptions } from "./options.js";
import { gradientStats, solveStats } from "./stats.js";

/** A solve with directions along which it is differentiated, checked. */
export interface EnsembleJvpProblem<D extends Dtype = Dtype> {
  readonly problem: EnsembleProblem<D>;
  readonly directions: number;
  readonly tangents: TangentArrays<D>;
}

/** Directions along which to differentiate, flat, as the crate takes them. */
export interface TangentArrays<D extends Dtype = Dtype> {
  readonly y0: ArrayOf<D> | undefined;
  readonly parameters: ArrayOf<D> | undefined;
  readonly arguments: ArrayOf<D> | undefined;
  readonly times: Float64Array | undefined;
}

/** The derivatives of events along directions, in the order of the solution's events. */
export interface EventTangents<D extends Dtype = Dtype> {
  /** ṫ, the derivative of the time of each event: `[directions, events]`. */
  readonly t: Float64Array;
  /** The derivative of the state just before each event changes it: `[directions, events, state]`. */
  readonly y: ArrayOf<D>;
}

/** Reads and checks a problem with its directions; options for dense solutions and steps are refused. */
export function readJvpProblem<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions,
  caller: string,
): EnsembleProblem<D> {
  const { partial: _, ...settings } = options;
  const problem = readProblem(field, y0, times, settings);
  const { dense, steps, mask } = problem;
  checkAbsent({ dense, saveSteps: steps, onFailure: mask }, `, as ${caller} does not take this option`);
  checkLists(problem);
  return problem;
}

/** The tangents of output times along the directions, flat; `[directions, times, batch]` if trajectories have their own times. */
export function flatTimeTangents(problem: EnsembleProblem, directions: number, given: Float64Array): Float64Array {
  const { times, counts, batch } = problem;
  const rows = paddedRows(problem);
  const [length, shape] = counts === null ? [times.length, ""] : [rows.longest * batch, `, ${batch}`];
  checkLength("tangents.times", given, directions * length, `[${directions}, ${rows.longest}${shape}]`);
  if (counts === null) return given;
  const flat = new Float64Array(directions * times.length);
  rows.each((trajectory, output, index, own) => {
    if (!own) return;
    for (let k = 0; k < directions; k++) {
      flat[k * times.length + index] = given[k * length + output * batch + trajectory] as number;
    }
  });
  return flat;
}

/** How many numbers a result has for each output, and for each event: the state, its derivatives, and those of the event's time. */
export function jvpWidths({ state }: EnsembleProblem, directions: number): readonly [output: number, event: number] {
  const width = state * (1 + directions);
  return [width, width + directions];
}

/** A solution and its derivatives; those of `y` are `[directions, times, batch, state]`, padded as the solution is. */
export interface SolvedJvp<D extends Dtype> {
  readonly solution: IndependentSolution<D>;
  readonly tangents: ArrayOf<D>;
  readonly eventTangents: EventTangents<D>;
}

/** The solution and its derivatives, from a result. */
export function solvedJvp<D extends Dtype>(
  problem: EnsembleProblem<D>,
  directions: number,
  result: EnsembleResult<D>,
): SolvedJvp<D> {
  const { dtype, state } = problem;
  const [width, eventWidth] = jvpWidths(problem, directions);
  const columns = (all: ArrayOf<D>, width: number, first: number, count = state): ArrayOf<D> => {
    const rows = all.length / width;
    const own = zeros(dtype, rows * count);
    for (let row = 0; row < rows; row++) {
      own.set(all.subarray(row * width + first, row * width + first + count) as never, row * count);
    }
    return own;
  };
  const events = result.events.length / EVENT_NUMBERS;
  const y = columns(result.y, width, 0);
  const solution = solutionOf(problem, { ...result, y, eventStates: columns(result.eventStates, eventWidth, 0) });
  const rows = paddedRows(problem);
  const tangents = zeros(dtype, directions * solution.y.length);
  const eventTangents = { t: new Float64Array(directions * events), y: zeros(dtype, directions * events * state) };
  for (let k = 0; k < directions; k++) {
    const first = (1 + k) * state;
    const { y } = padded(problem, rows, columns(result.y, width, first));
    tangents.set(y as never, k * y.length);
    eventTangents.y.set(columns(result.eventStates, eventWidth, first) as never, k * events * state);
    eventTangents.t.set(columns(result.eventStates, eventWidth, width + k, 1), k * events);
  }
  return { solution, tangents, eventTangents: frozen(eventTangents) };
}

/** A solve with its derivatives in the engine's memory. */
export class EnsembleJvp<D extends Dtype> {
  readonly #engine: Instance;
  readonly #field: WasmField<D>;
  readonly #parameters: number;
  readonly #problem: EnsembleProblem<D>;
  readonly #directions: number;
  readonly #ensemble: Ensemble;

  /** `keep` is for products with second derivatives, along one direction. */
  constructor(
    field: Field<D>,
    { problem, directions, tangents }: EnsembleJvpProblem<D>,
    { keep, progress, caller }: { keep: boolean; progress?: OdeintOptions["progress"]; caller: string },
  ) {
    const { engine, rust } = useField(field);
    refuseReentry(engine, caller);
    const { counts, maxEvents, batch, options, norm, changes, part } = problem;
    const { jumps, events } = changes;
    const none = { steps: false, dense: false, mask: false };
    const plan = JSON.stringify({ counts, maxEvents, norm, jumps, events, part, ...none });
    const [y0, times, numbers] = [problem.y0, problem.times, changes.numbers].map((array) => engine.steady(array));
    const solve = () =>
      rust.ensembleAlong(
        y0,
        batch,
        times,
        plan,
        numbers,
        directions,
        tangents as never,
        options,
        problem.arguments,
        keep,
      );
    this.#engine = engine;
    this.#field = wasmField(field);
    // A loss may dispose of the field.
    this.#parameters = field.parameters.length;
    this.#problem = problem;
    this.#directions = directions;
    this.#ensemble = callWithProgress(engine, progress, solve, (ensemble) => release(engine, ensemble));
  }

  /** The solution and its derivatives, of which each state is followed by its derivatives along all directions. */
  result(): EnsembleResult<D> {
    this.#engine.needStack();
    const [engine, ensemble, { dtype, batch }] = [this.#engine, this.#ensemble, this.#problem];
    const [, eventWidth] = jvpWidths(this.#problem, this.#directions);
    const events = engine.read("float64", ensemble.events, ensemble.eventsLength);
    return {
      y: engine.read(dtype, ensemble.y, ensemble.yLength),
      trajectories: engine.read("float64", ensemble.trajectories, TRAJECTORY_NUMBERS * batch),
      events,
      eventStates: engine.read(dtype, ensemble.eventStates, (events.length / EVENT_NUMBERS) * eventWidth),
      failures: [],
      paths: [],
      stats: solveStats(ensemble),
    };
  }

  /** The product of a loss's second derivatives with the direction, from its cotangent and curvature, padded as the solution is. */
  pullback(cotangent: ArrayOf<D>, curvature: ArrayOf<D>) {
    const [engine, ensemble, problem] = [this.#engine, this.#ensemble, this.#problem];
    const { dtype, batch, state } = problem;
    const rows = paddedRows(problem);
    const [w, curved] = [flattened(problem, rows, cotangent), flattened(problem, rows, curvature, "curvature")];
    const both = zeros(dtype, 2 * w.length);
    for (let row = 0; row < w.length / state; row++) {
      const own = [row * state, (row + 1) * state] as const;
      both.set(curved.subarray(...own) as never, 2 * row * state);
      both.set(w.subarray(...own) as never, (2 * row + 1) * state);
    }
    const [given, none] = [engine.steady(both), engine.steady(zeros(dtype, 0))];
    const pulled = call(engine, () => ensemble.pullback(given, engine.steady(new Float64Array()), none));
    try {
      return {
        y0: engine.read(dtype, pulled.y0, batch * state),
        parameters: engine.read(dtype, pulled.parameters, this.#parameters),
        arguments: this.#field.copyArguments(engine, pulled.arguments, batch) as Readonly<Record<string, ArrayOf<D>>>,
        stats: gradientStats(pulled),
      };
    } finally {
      release(engine, pulled);
    }
  }

  dispose(): void {
    release(this.#engine, this.#ensemble);
  }
}
