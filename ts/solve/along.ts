// Trajectories of their own with their derivatives along directions.
import type { Ensemble } from "../../wasm/bindings.js";
import { type ArrayOf, type Dtype, zeros } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { call, refuseReentry, release, watched } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { type Field, useField, type WasmField, wasmField } from "../fields/field.js";
import { checkLists, type Lists } from "./changes.js";
import { type EnsembleProblem, readProblem, TRAJECTORY_NUMBERS } from "./ensemble.js";
import { flattened, type IndependentSolution, padded, rowsOf, solutionOf } from "./independent.js";
import type { OdeintOptions } from "./options.js";
import { gradientStats, solveStats } from "./stats.js";

/** Directions, flat, as the crate takes them. */
export interface Along<D extends Dtype = Dtype> {
  readonly y0: ArrayOf<D> | undefined;
  readonly parameters: ArrayOf<D> | undefined;
  readonly arguments: ArrayOf<D> | undefined;
  readonly times: undefined;
}

/** What is to be solved; jumps, events and the rest of what a solve may have besides are refused. */
export function readAlong<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions,
  caller: string,
): EnsembleProblem<D> {
  const { partial: _, ...settings } = options;
  const problem = readProblem(field, y0, times, settings);
  const { changes, norm, dense, steps, mask } = problem;
  const given = {
    jumps: changes.jumps.length > 0,
    events: changes.events.length > 0,
    norm: norm !== null,
    dense,
    saveSteps: steps,
    onFailure: mask,
  };
  for (const [name, set] of Object.entries(given)) {
    if (set) throw refused("OPTION", name, `no value: ${caller} does not take it`, "one");
  }
  checkLists(problem);
  return problem;
}

/** A solve with its derivatives in the engine's memory. */
export class EnsembleAlong<D extends Dtype> {
  readonly #engine: Instance;
  readonly #field: WasmField<D>;
  readonly #parameters: number;
  readonly #problem: EnsembleProblem<D>;
  readonly #directions: number;
  readonly #ensemble: Ensemble;

  /** `keep` is for products with second derivatives, along one direction. */
  constructor(
    field: Field<D>,
    problem: EnsembleProblem<D>,
    directions: number,
    along: Along<D>,
    { keep, progress, caller }: { keep: boolean; progress?: OdeintOptions["progress"]; caller: string },
  ) {
    const { engine, rust } = useField(field);
    refuseReentry(engine, caller);
    const { counts, maxEvents, batch, options } = problem;
    const none = { steps: false, dense: false, mask: false, part: null, norm: null, jumps: [], events: [] };
    const plan = JSON.stringify({ counts, maxEvents, ...none });
    const [y0, times] = [engine.steady(problem.y0), engine.steady(problem.times)];
    const solve = () =>
      rust.ensembleAlong(y0, batch, times, plan, directions, along as never, options, problem.arguments, keep);
    this.#engine = engine;
    this.#field = wasmField(field);
    // A loss may dispose of the field.
    this.#parameters = field.parameters.length;
    this.#problem = problem;
    this.#directions = directions;
    this.#ensemble = watched(engine, progress, solve, (ensemble) => release(engine, ensemble));
  }

  /** The solution, and its derivatives `[directions, times, batch, state]`, padded as the solution is. */
  result(): { solution: IndependentSolution<D>; tangents: ArrayOf<D> } {
    this.#engine.needStack();
    const [engine, ensemble, problem] = [this.#engine, this.#ensemble, this.#problem];
    const { dtype, batch, state } = problem;
    const all = engine.read(dtype, ensemble.y, ensemble.yLength);
    const width = state * (1 + this.#directions);
    const count = all.length / width;
    const columns = (first: number): ArrayOf<D> => {
      const own = zeros(dtype, count * state);
      for (let row = 0; row < count; row++)
        own.set(all.subarray(row * width + first, row * width + first + state) as never, row * state);
      return own;
    };
    const solution = solutionOf(problem, {
      y: columns(0),
      trajectories: engine.read("float64", ensemble.trajectories, TRAJECTORY_NUMBERS * batch),
      events: new Float64Array(),
      eventStates: zeros(dtype, 0),
      failures: [],
      paths: [],
      stats: solveStats(ensemble),
    });
    const rows = rowsOf(problem);
    const tangents = zeros(dtype, this.#directions * solution.y.length);
    for (let direction = 0; direction < this.#directions; direction++) {
      const { y } = padded(problem, rows, columns((1 + direction) * state));
      tangents.set(y as never, direction * y.length);
    }
    return { solution, tangents };
  }

  /** The product of a loss's second derivatives with the direction, from its cotangent and curvature, padded as the solution is. */
  pullback(cotangent: ArrayOf<D>, curvature: ArrayOf<D>) {
    const [engine, ensemble, problem] = [this.#engine, this.#ensemble, this.#problem];
    const { dtype, batch, state } = problem;
    const rows = rowsOf(problem);
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
