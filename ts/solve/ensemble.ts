// Independent trajectories as plain data, what is to be solved and what comes of it, so that it can be done on another thread or machine.
import type { Ensemble } from "../../wasm/bindings.js";
import { EVENT_NUMBERS, MAX_EVENTS, TRAJECTORY_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, arrayOf, batchOf, type Dtype } from "../checks/arrays.js";
import { SymplecticAdjointError } from "../checks/errors.js";
import { checkAbsent } from "../checks/rules.js";
import { call, callWithProgress, refuseReentry, release } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { type Field, useField, type WasmField, wasmField } from "../fields/field.js";
import type { Program } from "../trace/graph.js";
import { type Changes, type Lists, listsOf, readChanges, readNorm } from "./changes.js";
import type { TrajectorySteps } from "./dense.js";
import { forCrate, type OdeintOptions } from "./options.js";
import type { GradientStats, SolveStats } from "./results.js";
import { gradientStats, solveStats } from "./stats.js";

/** A checked problem: a batch of trajectories that take their own steps. */
export interface EnsembleProblem<D extends Dtype = Dtype> {
  readonly dtype: D;
  readonly batch: number;
  /** Features of the state. */
  readonly state: number;
  /** `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** `[batch, arguments]`; undefined for a field without. */
  readonly arguments: ArrayOf<D> | undefined;
  /** The times, flat, and how many each trajectory has; null where they are shared. */
  readonly times: Float64Array;
  readonly counts: readonly number[] | null;
  readonly changes: Changes;
  /** The norm of errors; null where it is the root mean square. */
  readonly norm: Program | null;
  readonly maxEvents: number;
  /** Whether steps are returned too. */
  readonly steps: boolean;
  readonly dense: boolean;
  /** Whether the other trajectories continue if one fails. */
  readonly mask: boolean;
  /**
   * For a part of a batch, the index of its first trajectory in the batch; null for a whole batch. The gradient of a part has sums over
   * trajectories for each of the largest aligned subtrees of leaves.
   */
  readonly part: number | null;
  /** The other options, as the crate takes them. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** The result of a solve. */
export interface EnsembleResult<D extends Dtype = Dtype> {
  /** `[times, batch, state]` where the times are shared, else those of one trajectory after those of another. */
  readonly y: ArrayOf<D>;
  /** For each trajectory: steps accepted and rejected, evaluations, the first and the last step, outputs reached. */
  readonly trajectories: Float64Array;
  /** For each event: trajectory, event, time. */
  readonly events: Float64Array;
  /** `[events, state]`. */
  readonly eventStates: ArrayOf<D>;
  /** The trajectories that failed, with their errors as the crate returns them. */
  readonly failures: readonly { readonly trajectory: number; readonly failure: unknown }[];
  /** The steps of each trajectory, if they were wanted. */
  readonly paths: readonly TrajectorySteps<D>[];
  readonly stats: SolveStats;
}

/** ∂L/∂(all of that which a loss may depend on); of events empty where it does not. */
export interface EnsembleCotangents<D extends Dtype = Dtype> {
  /** ∂L/∂y, laid out as the y of a result. */
  readonly y: ArrayOf<D>;
  readonly eventTimes: Float64Array;
  readonly eventStates: ArrayOf<D>;
}

/** The gradient of a solve. */
export interface EnsembleGradient<D extends Dtype = Dtype> {
  readonly y0: ArrayOf<D>;
  readonly parameters: ArrayOf<D>;
  /** ∂L/∂arguments, `[batch, arguments]`. */
  readonly arguments: ArrayOf<D>;
  /** ∂L/∂t of the output times, laid out as they are; undefined if it is off or a custom field does not return it. */
  readonly times: Float64Array | undefined;
  /** For each jump, the derivatives with respect to its times, followed by those with respect to its amounts. */
  readonly changes: Float64Array;
  readonly stats: GradientStats;
}

/** Reads and checks what a solve is given. */
export function readProblem<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions,
): EnsembleProblem<D> {
  const {
    partial,
    arguments: given,
    batching: _,
    jumps,
    events,
    maxEvents = MAX_EVENTS,
    dense = false,
    saveSteps = false,
    onFailure = "throw",
    norm,
    progress: __,
    ...settings
  } = options;
  checkAbsent({ partial }, '; onFailure: "mask" gives what was reached');
  const wasm = wasmField(field);
  const { dtype, stateSize } = wasm;
  const start = arrayOf("y0", y0, dtype);
  const batch = batchOf("y0", start, stateSize);
  const { flat, counts } = listsOf("times", times, batch);
  return {
    dtype,
    batch,
    state: stateSize,
    y0: start,
    arguments: wasm.packArguments(given, batch),
    times: flat,
    counts,
    changes: readChanges(wasm, jumps, events, batch),
    norm: readNorm(wasm, norm),
    maxEvents,
    steps: saveSteps,
    dense,
    mask: onFailure === "mask",
    part: null,
    options: forCrate(settings),
  };
}

/** A solve in the engine's memory. */
export class EnsembleSolve<D extends Dtype> {
  /** How many bytes of the engine's memory it holds. */
  readonly bytes: number;
  #ensemble: Ensemble | undefined;
  readonly #engine: Instance;
  readonly #problem: EnsembleProblem<D>;
  readonly #parameters: number;
  readonly #arguments: number;
  /** Sums over trajectories that a gradient has. */
  readonly #sums: number;

  constructor(field: WasmField<D>, problem: EnsembleProblem<D>, keep: boolean, progress?: (fraction: number) => void) {
    const { engine } = useField(field);
    refuseReentry(engine, keep ? "a gradient" : "odeint");
    const { counts, steps, dense, mask, maxEvents, part, norm, changes, batch } = problem;
    const { jumps, events } = changes;
    const plan = JSON.stringify({ counts, steps, dense, mask, maxEvents, part, norm, jumps, events });
    const [y0, times, numbers] = [problem.y0, problem.times, changes.numbers].map((array) => engine.steady(array));
    const { rust } = useField(field);
    this.#engine = engine;
    this.#problem = problem;
    this.#arguments = field.argumentSize;
    this.#sums = part === null ? 1 : subtrees(part / rust.leaf, Math.ceil(batch / rust.leaf)).length;
    const solve = () => {
      const [parameters, before] = [rust.parametersLength, engine.bindings.liveBytes()];
      const ensemble = rust.ensemble(y0, batch, times, plan, numbers, problem.options, problem.arguments, keep);
      return [parameters, ensemble, engine.bindings.liveBytes() - before] as const;
    };
    const discard = ([, ensemble]: ReturnType<typeof solve>) => release(engine, ensemble);
    [this.#parameters, this.#ensemble, this.bytes] = callWithProgress(engine, progress, solve, discard);
  }

  /** What has come of it; if there is no room for the copy, the solve is given up. */
  result(): EnsembleResult<D> {
    try {
      return this.#copy();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #copy(): EnsembleResult<D> {
    this.#engine.needStack();
    const [engine, ensemble] = [this.#engine, this.#use()];
    const { dtype, batch, state, dense, steps } = this.#problem;
    const events = engine.read("float64", ensemble.events, ensemble.eventsLength);
    return {
      y: engine.read(dtype, ensemble.y, ensemble.yLength),
      trajectories: engine.read("float64", ensemble.trajectories, TRAJECTORY_NUMBERS * batch),
      events,
      eventStates: engine.read(dtype, ensemble.eventStates, (events.length / EVENT_NUMBERS) * state),
      failures: JSON.parse(ensemble.failures),
      paths: dense || steps ? Array.from({ length: batch }, (_, i) => this.#path(ensemble.path(i))) : [],
      stats: solveStats(ensemble),
    };
  }

  #path(places: ArrayLike<number>): TrajectorySteps<D> {
    const part = <E extends Dtype>(dtype: E, index: number) =>
      this.#engine.read(dtype, places[2 * index] as number, places[2 * index + 1] as number);
    const { dtype } = this.#problem;
    return { t: part("float64", 0), y: part(dtype, 1), polynomials: part(dtype, 2) };
  }

  /** The number type of its states. */
  get dtype(): D {
    return this.#problem.dtype;
  }

  pullback(cotangents: EnsembleCotangents<D>): EnsembleGradient<D> {
    const [engine, ensemble] = [this.#engine, this.#use()];
    refuseReentry(engine, "a gradient");
    const { dtype, batch, state, times, counts, changes } = this.#problem;
    const y = engine.steady(cotangents.y);
    const eventStates = engine.steady(cotangents.eventStates);
    const eventTimes = engine.steady(cotangents.eventTimes);
    const sums = this.#sums;
    const pulled = call(engine, () => ensemble.pullback(y, eventTimes, eventStates));
    try {
      const ofTimes = times.length * (counts === null ? sums : 1);
      const ofChanges = changes.jumps.map((jump) => (jump.times + jump.amounts) * (jump.counts === null ? sums : 1));
      return {
        y0: engine.read(dtype, pulled.y0, batch * state),
        parameters: engine.read(dtype, pulled.parameters, sums * this.#parameters),
        arguments: engine.read(dtype, pulled.arguments, batch * this.#arguments),
        times: pulled.times === 0 ? undefined : engine.read("float64", pulled.times, ofTimes),
        changes: engine.read(
          "float64",
          pulled.changes,
          ofChanges.reduce((all, own) => all + own, 0),
        ),
        stats: gradientStats(pulled),
      };
    } finally {
      release(engine, pulled);
    }
  }

  #use(): Ensemble {
    if (!this.#ensemble || this.#engine.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
    }
    return this.#ensemble;
  }

  dispose(): void {
    this.#engine.needStack();
    const ensemble = this.#ensemble;
    this.#ensemble = undefined;
    release(this.#engine, ensemble);
  }
}

/** A subtree of leaves: the first, and how often it is doubled. */
export interface Subtree {
  readonly first: number;
  readonly level: number;
}

/** The largest aligned subtrees among `leaves` leaves from `first` on, in their order. */
export function subtrees(first: number, leaves: number): Subtree[] {
  const all: Subtree[] = [];
  const end = first + leaves;
  for (let next = first; next < end; ) {
    let level = 0;
    while (next % 2 ** (level + 1) === 0 && next + 2 ** (level + 1) <= end) level++;
    all.push({ first: next, level });
    next += 2 ** level;
  }
  return all;
}
