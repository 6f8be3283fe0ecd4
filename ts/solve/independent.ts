// Solves of trajectories that each have their own steps, output times, jumps and events.
import { EVENT_NUMBERS, TRAJECTORY_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { refused, type SymplecticAdjointError } from "../checks/errors.js";
import { frozen, withMethods } from "../checks/frozen.js";
import { anything, options as readRules } from "../checks/rules.js";
import { errorFromRust } from "../engine/call.js";
import { solves } from "../engine/live-objects.js";
import { type Field, type WasmField, wasmField } from "../fields/field.js";
import { checkLists, isLists, type JumpGradient, jumpGradients, type Lists } from "./changes.js";
import { DenseOutput, indexOf, type TrajectorySteps } from "./dense.js";
import {
  type EnsembleCotangents,
  type EnsembleGradient,
  type EnsembleProblem,
  type EnsembleResult,
  EnsembleSolve,
  readProblem,
} from "./ensemble.js";
import type { OdeintOptions } from "./options.js";
import { registerOutputs } from "./outputs.js";
import type { Gradient, Solution } from "./results.js";

/** How each trajectory of an independent solve went: a number for each. */
export interface TrajectoryStats {
  /** How many steps each trajectory took. */
  readonly accepted: Uint32Array;
  /** How many steps of each trajectory were too inexact and were retried with a shorter one. */
  readonly rejected: Uint32Array;
  /** How often the vector field was evaluated for each trajectory. */
  readonly evaluations: Uint32Array;
  /** The size of each trajectory's first accepted step; negative where the times run backward. */
  readonly firstStep: Float64Array;
  /** The size of each trajectory's last accepted step; negative where the times run backward. */
  readonly lastStep: Float64Array;
  /** How many of its output times each trajectory reached: all, unless it failed. */
  readonly reached: Uint32Array;
}

/** The events of a solve, trajectory by trajectory in the order of their times; a number or a row for each. */
export interface DetectedEvents<D extends Dtype = Dtype> {
  /** The trajectory of each event, counted from 0. */
  readonly trajectory: Uint32Array;
  /** Which of the option `events` each one is, counted from 0. */
  readonly event: Uint32Array;
  /** The time of each event. */
  readonly t: Float64Array;
  /** The state just before each event changes it, `[events, state]`. */
  readonly y: ArrayOf<D>;
}

/** The steps of one trajectory. */
export interface Steps<D extends Dtype = Dtype> {
  /** The times of the steps' ends, t_0 … t_N; where a jump or an event changes the state, its time appears twice. */
  readonly t: Float64Array;
  /** The states at these times, `[steps + 1, state]`. */
  readonly y: ArrayOf<D>;
}

/**
 * The solution of an independent solve. `postMessage` and `structuredClone` copy its numbers, and leave out `at`, `derivative` and
 * `steps`.
 */
export interface IndependentSolution<D extends Dtype = Dtype> extends Solution<D> {
  /**
   * 1 where `y` has an output that a loss may depend on, `[times, batch]`, and 0 elsewhere. If trajectories have their own times, `times`
   * is the length of the longest list; after the last time of a shorter one, `y` repeats its last state and the mask is 0. With
   * `onFailure: "mask"` it is 0 for all outputs of a trajectory that failed, those that it reached included: `trajectories.reached`
   * counts these. The losses of this package skip masked outputs. Undefined if the times are shared and no trajectory failed.
   */
  readonly mask: Uint8Array | undefined;
  /** How many steps and evaluations each trajectory took; `stats` has their sums. */
  readonly trajectories: TrajectoryStats;
  /** The events that happened, of the option `events`. */
  readonly events: DetectedEvents<D>;
  /** With `onFailure: "mask"` the trajectories that failed, in their order; their outputs from there on are NaN. */
  readonly failures: readonly {
    /** The index of the trajectory, from 0. */
    readonly trajectory: number;
    /** Why it failed, with the time `t` up to which it went well. */
    readonly error: SymplecticAdjointError;
  }[];
  /**
   * The states at a time, `[batch, state]`, or of one trajectory, `[state]`, from the method's continuous extension; with the option
   * `dense`. At the time of a jump or event it is the state after it. For a list of times it is `[times, batch, state]` or `[times,
   * state]`.
   *
   * After a terminal event, up to the last output time, it is the state that the event left.
   *
   * @throws `OPTION` without `dense`, for a time before the first output or after the last, or that a trajectory failed to reach.
   */
  at(t: number | ArrayLike<number>, trajectory?: number): ArrayOf<D>;
  /**
   * The time derivatives of the states at a time or at each of a list, from the derivative of the continuous extension, in the shapes of
   * `at`; with the option `dense`. They are 0 where an event has ended a trajectory and it stays as it is.
   *
   * @throws `OPTION` as `at`, and for a trajectory that took no step.
   */
  derivative(t: number | ArrayLike<number>, trajectory?: number): ArrayOf<D>;
  /** The steps of a trajectory; with the option `saveSteps`. */
  steps(trajectory: number): Steps<D>;
}

/** The gradient of an independent solve. */
export interface IndependentGradient<D extends Dtype = Dtype, A extends string = string> extends Gradient<D, A> {
  /** For each jump of the option `jumps`, the derivatives with respect to its times and amounts, shaped as they were given. */
  readonly jumps: readonly JumpGradient[];
}

/** ∂L/∂events of a loss that depends on them. */
export interface EventCotangents<D extends Dtype = Dtype> {
  /** ∂L/∂t of each event, in the order of `solution.events`; zero by default. */
  times?: ArrayLike<number> | undefined;
  /** ∂L/∂y of each event, `[events, state]`; zero by default. */
  states?: ArrayOf<D> | undefined;
}

/** Whether options ask for independent trajectories. */
export function isIndependent(options: OdeintOptions, times: unknown): boolean {
  const { batching, jumps, events, dense, saveSteps, onFailure, norm } = options;
  const asked = [
    ["jumps", jumps !== undefined && jumps.length > 0],
    ["events", events !== undefined && events.length > 0],
    ["dense", dense === true],
    ["saveSteps", saveSteps === true],
    ['onFailure: "mask"', onFailure === "mask"],
    ["a norm other than rms", norm !== undefined && norm !== "rms"],
    ["times for each trajectory", isLists(times)],
  ].find(([, set]) => set);
  if (batching === "together" && asked) {
    throw refused("OPTION", "batching", `independent, for ${asked[0]}`, "together");
  }
  return batching === "independent" || asked !== undefined;
}

/** A solve of independent trajectories, kept for its gradient. */
export class IndependentSolve<D extends Dtype> {
  readonly #problem: EnsembleProblem<D>;
  readonly #field: WasmField<D>;
  readonly #solved: EnsembleSolve<D>;

  constructor(field: Field<D>, y0: ArrayOf<D>, times: Lists, options: OdeintOptions, keep: boolean) {
    this.#problem = readProblem(field, y0, times, options);
    checkLists(this.#problem);
    this.#field = wasmField(field);
    this.#solved = new EnsembleSolve(this.#field, this.#problem, keep, options.progress);
  }

  /** How many bytes of the engine's memory it holds. */
  get bytes(): number {
    return this.#solved.bytes;
  }

  /** The solution; if there is no room for the copy, the solve is given up. */
  solution(): IndependentSolution<D> {
    return solutionOf(this.#problem, this.#solved.result());
  }

  pullback(cotangent: ArrayOf<D>, of: EventCotangents<D> = {}): IndependentGradient<D> {
    const pulled = this.#solved.pullback(cotangentsOf(this.#problem, cotangent, of));
    return gradientOf(this.#problem, this.#field, pulled);
  }

  dispose(): void {
    solves.remove(this);
    this.#solved.dispose();
  }
}

/** A solution as it is handed out. */
export function solutionOf<D extends Dtype>(
  problem: EnsembleProblem<D>,
  result: EnsembleResult<D>,
): IndependentSolution<D> {
  const { batch, state, dtype } = problem;
  const { paths } = result;
  const failures = result.failures.map(({ trajectory, failure }) => ({ trajectory, error: errorFromRust(failure) }));
  const rows = paddedRows(problem);
  const failed = failures.map(({ trajectory }) => trajectory);
  const { y, mask } = padded(problem, rows, result.y, failed);
  if (mask) registerOutputs(y, { mask, failure: failures[0]?.error });
  const dense = problem.dense ? new DenseOutput(dtype, state, paths, rows.times, failed) : undefined;
  const between = (order: 0 | 1, t: number | ArrayLike<number>, trajectory?: number) => {
    if (!dense) throw refused("OPTION", "dense", "true, to have the solution between its outputs", "false");
    return dense.value(t, trajectory, order);
  };
  const solution = {
    y,
    shape: [rows.longest, batch, state] as const,
    stats: result.stats,
    mask,
    trajectories: statsOf(result.trajectories),
    events: eventsOf(result.events, result.eventStates),
    failures,
  };
  const methods: Pick<IndependentSolution<D>, "at" | "derivative" | "steps"> = {
    at: (t, trajectory) => between(0, t, trajectory),
    derivative: (t, trajectory) => between(1, t, trajectory),
    steps: (trajectory) => {
      if (!problem.steps) throw refused("OPTION", "saveSteps", "true, to have the steps", "false");
      const { t, y } = paths[indexOf(trajectory, batch)] as TrajectorySteps<D>;
      return { t: t.slice(), y: y.slice() as ArrayOf<D> };
    },
  };
  return withMethods(solution, methods) as unknown as IndependentSolution<D>;
}

/** How each trajectory went, from six numbers each. */
export function statsOf(numbers: Float64Array): TrajectoryStats {
  const columns = columnsOf(numbers, TRAJECTORY_NUMBERS);
  const [counts, sizes] = [(at: number) => Uint32Array.from(columns[at] ?? []), (at: number) => columns[at] ?? []];
  return {
    accepted: counts(0),
    rejected: counts(1),
    evaluations: counts(2),
    firstStep: Float64Array.from(sizes(3)),
    lastStep: Float64Array.from(sizes(4)),
    reached: counts(5),
  };
}

/** The events, from three numbers each. */
export function eventsOf<D extends Dtype>(numbers: Float64Array, y: ArrayOf<D>): DetectedEvents<D> {
  const columns = columnsOf(numbers, EVENT_NUMBERS);
  return {
    trajectory: Uint32Array.from(columns[0] ?? []),
    event: Uint32Array.from(columns[1] ?? []),
    t: Float64Array.from(columns[2] ?? []),
    y,
  };
}

/** The outputs of trajectories as rows of the most that one has. */
interface PaddedRows {
  readonly longest: number;
  /** The times of a trajectory. */
  times(trajectory: number): Float64Array;
  /**
   * Calls a function for each trajectory and row, with the row's place in the crate's array, and whether it is an output of the trajectory
   * rather than padding. It does nothing if the times are shared.
   */
  each(visit: (trajectory: number, output: number, index: number, own: boolean) => void): void;
}

export function paddedRows({ times, counts }: EnsembleProblem): PaddedRows {
  if (counts === null) return { longest: times.length, times: () => times, each: () => {} };
  const starts: number[] = [];
  let before = 0;
  for (const count of counts) {
    starts.push(before);
    before += count;
  }
  const longest = counts.reduce((most, count) => Math.max(most, count), 0);
  return {
    longest,
    times: (trajectory) => {
      const start = starts[trajectory] as number;
      return times.subarray(start, start + (counts[trajectory] as number));
    },
    each(visit) {
      for (const [trajectory, count] of counts.entries()) {
        const start = starts[trajectory] as number;
        for (let output = 0; output < longest; output++) {
          visit(trajectory, output, start + Math.min(output, count - 1), output < count);
        }
      }
    },
  };
}

/** Outputs with rows of the most that a trajectory has, and which of them a loss may depend on. */
export function padded<D extends Dtype>(
  { dtype, batch, state, counts }: EnsembleProblem<D>,
  rows: PaddedRows,
  flat: ArrayOf<D>,
  failed: readonly number[] = [],
) {
  if (counts === null && failed.length === 0) return { y: flat, mask: undefined };
  const mask = new Uint8Array(rows.longest * batch).fill(1);
  const y = counts === null ? flat : zeros(dtype, rows.longest * batch * state);
  rows.each((trajectory, output, index, own) => {
    const row = output * batch + trajectory;
    mask[row] = own ? 1 : 0;
    for (let i = 0; i < state; i++) y[row * state + i] = flat[index * state + i] as number;
  });
  for (const trajectory of failed) {
    for (let output = 0; output < rows.longest; output++) mask[output * batch + trajectory] = 0;
  }
  return { y, mask };
}

/** The checked result of a loss, as the crate takes it. */
export function cotangentsOf<D extends Dtype>(
  problem: EnsembleProblem<D>,
  cotangent: ArrayOf<D>,
  of: EventCotangents<D> = {},
): EnsembleCotangents<D> {
  const { dtype, batch, state } = problem;
  const given = arrayOf("cotangent", cotangent, dtype);
  const rows = paddedRows(problem);
  checkLength("cotangent", given, rows.longest * batch * state, `[${rows.longest}, ${batch}, ${state}]`);
  const { times, states } = readRules(of, eventRules, "events.");
  return {
    y: flattened(problem, rows, given),
    eventTimes: times === undefined ? new Float64Array() : numbersOf("events.times", times),
    eventStates: states === undefined ? zeros(dtype, 0) : arrayOf("events.states", states, dtype),
  };
}

/** Cotangents, by their names, without padding. Those of padding rows must be zero. */
export function flattened<D extends Dtype>(
  problem: EnsembleProblem<D>,
  rows: PaddedRows,
  padded: ArrayOf<D>,
  name = "cotangent",
): ArrayOf<D> {
  const { dtype, batch, state, times, counts } = problem;
  if (counts === null) return padded;
  const flat = zeros(dtype, times.length * state);
  rows.each((trajectory, output, index, isOutput) => {
    for (let i = 0; i < state; i++) {
      const number = padded[(output * batch + trajectory) * state + i] as number;
      if (isOutput) flat[index * state + i] = number;
      else if (number !== 0) {
        const given = `${number} at output ${output} of trajectory ${trajectory}`;
        throw refused("OPTION", name, "0 where the mask is 0", given);
      }
    }
  });
  return flat;
}

/** A gradient as it is handed out. */
export function gradientOf<D extends Dtype>(
  problem: EnsembleProblem<D>,
  field: WasmField<D>,
  pulled: EnsembleGradient<D>,
): IndependentGradient<D> {
  const { y0, parameters, times, changes, stats } = pulled;
  return frozen({
    y0,
    parameters,
    arguments: field.nameArguments(pulled.arguments),
    times: times && paddedTimes(problem, times),
    jumps: jumpGradients(problem.changes, changes),
    stats,
  });
}

function paddedTimes(problem: EnsembleProblem, flat: Float64Array): Float64Array {
  if (problem.counts === null) return flat;
  const rows = paddedRows(problem);
  const padded = new Float64Array(rows.longest * problem.batch);
  rows.each((trajectory, output, index, own) => {
    if (own) padded[output * problem.batch + trajectory] = flat[index] as number;
  });
  return padded;
}

/** The columns of rows of `width` numbers. */
function columnsOf(rows: Float64Array, width: number): number[][] {
  const column = (at: number) => Array.from({ length: rows.length / width }, (_, i) => rows[i * width + at] as number);
  return Array.from({ length: width }, (_, at) => column(at));
}

const eventRules = { times: anything<unknown>(), states: anything<unknown>() };

/** An independent solve alone. */
export function solveIndependent<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions,
): IndependentSolution<D> {
  const solved = new IndependentSolve(field, y0, times, options, false);
  try {
    return solved.solution();
  } finally {
    solved.dispose();
  }
}
