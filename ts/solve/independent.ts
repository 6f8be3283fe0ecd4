// Solves of trajectories that each have their own steps, output times, jumps and events.
import type { Ensemble } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { anyNumber, anything, argument, natural, options as readRules, required } from "../checks/rules.js";
import { call, fromRust, refuseReentry, release } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { solves } from "../engine/live-objects.js";
import { type Field, useField, type WasmField, wasmField } from "../fields/field.js";
import {
  type Changes,
  isLists,
  type JumpGradient,
  jumpGradients,
  type Lists,
  listsOf,
  readChanges,
} from "./changes.js";
import { forCrate, type OdeintOptions } from "./options.js";
import type { Gradient, GradientStats, Solution, SolveStats } from "./results.js";

/** How each trajectory of an independent solve went: a number for each. */
export interface TrajectoryStats {
  /** Steps taken. */
  readonly accepted: Uint32Array;
  /** Steps tried and found too inexact. */
  readonly rejected: Uint32Array;
  /** Uses of the vector field. */
  readonly evaluations: Uint32Array;
  /** The size of the first accepted step, negative where the times run backward. */
  readonly firstStep: Float64Array;
  /** The size of the last accepted step. */
  readonly lastStep: Float64Array;
  /** How many of its output times it reached: all, unless it failed. */
  readonly reached: Uint32Array;
}

/** The events of a solve, trajectory by trajectory in the order of their times; a number or a row for each. */
export interface Events<D extends Dtype = Dtype> {
  /** The trajectory. */
  readonly trajectory: Uint32Array;
  /** Which of the option `events`, counted from 0. */
  readonly event: Uint32Array;
  /** The time. */
  readonly t: Float64Array;
  /** The state just before the event changes it, `[events, state]`. */
  readonly y: ArrayOf<D>;
}

/** The steps of one trajectory. */
export interface Steps<D extends Dtype = Dtype> {
  /** t_0 … t_N; where a jump or an event changes the state, its time stands twice. */
  readonly t: Float64Array;
  /** The states then, `[steps + 1, state]`. */
  readonly y: ArrayOf<D>;
}

/** The solution of an independent solve. */
export interface IndependentSolution<D extends Dtype = Dtype> extends Solution<D> {
  /**
   * 1 where `y` has an output of the trajectory, `[times, batch]`. Where trajectories have their own times, `times` is the most that
   * one has; behind the last of the others `y` repeats it, and the mask is 0. Undefined where the times are shared.
   */
  readonly mask: Uint8Array | undefined;
  /** How each trajectory went; `stats` has their sums. */
  readonly trajectories: TrajectoryStats;
  /** What happened by the option `events`. */
  readonly events: Events<D>;
  /** With `onFailure: "mask"` the trajectories that failed, in their order; their outputs from there on are NaN. */
  readonly failures: readonly { readonly trajectory: number; readonly error: SymplecticAdjointError }[];
  /**
   * The states at a time `[batch, state]`, or of one trajectory `[state]`, by the method's continuous extension; with the option `dense`.
   * At the time of a jump or event it is the state after it.
   *
   * @throws `OPTION` without `dense`, or for a time that a trajectory does not reach.
   */
  at(t: number, trajectory?: number): ArrayOf<D>;
  /** The time derivatives of the same. */
  derivative(t: number, trajectory?: number): ArrayOf<D>;
  /** The steps of a trajectory; with the option `saveSteps`. */
  steps(trajectory: number): Steps<D>;
}

/** The gradient of an independent solve. */
export interface IndependentGradient<D extends Dtype = Dtype> extends Gradient<D> {
  /** Of each of the option `jumps`, the derivatives by its times and amounts, shaped as they were given. */
  readonly jumps: readonly JumpGradient[];
}

/** ∂L/∂events of a loss that depends on them. */
export interface EventCotangents<D extends Dtype = Dtype> {
  /** ∂L/∂t of each event, in the order of `solution.events`; zero by default. */
  times?: ArrayLike<number>;
  /** ∂L/∂y of each event, `[events, state]`; zero by default. */
  states?: ArrayOf<D>;
}

/** The steps of a trajectory with the polynomials between them. */
interface Path<D extends Dtype> {
  readonly t: Float64Array;
  readonly y: ArrayOf<D>;
  readonly polynomials: ArrayOf<D>;
}

/** Whether options ask for trajectories of their own. */
export function isIndependent(options: OdeintOptions, times: unknown): boolean {
  const { batching, jumps, events, dense, saveSteps, onFailure } = options;
  const asked = [
    ["jumps", jumps !== undefined && jumps.length > 0],
    ["events", events !== undefined && events.length > 0],
    ["dense", dense === true],
    ["saveSteps", saveSteps === true],
    ['onFailure: "mask"', onFailure === "mask"],
    ["times of their own", isLists(times)],
  ].find(([, set]) => set);
  if (batching === "together" && asked) {
    throw refused("OPTION", "batching", `independent, for ${asked[0]}`, "together");
  }
  return batching === "independent" || asked !== undefined;
}

/** A solve of trajectories of their own, in the engine's memory. */
export class Trajectories<D extends Dtype> {
  /** What it holds. */
  readonly bytes: number;
  #ensemble: Ensemble | undefined;
  readonly #engine: Instance;
  readonly #dtype: D;
  readonly #field: WasmField<D>;
  readonly #parameters: number;
  readonly #batch: number;
  readonly #state: number;
  readonly #changes: Changes;
  readonly #options: OdeintOptions;
  /** The times, flat, and how many each trajectory has; null where they are shared. */
  readonly #times: Float64Array;
  readonly #counts: readonly number[] | null;
  /** Where the times of each trajectory begin. */
  readonly #starts: readonly number[];

  constructor(field: Field<D>, y0: ArrayOf<D>, times: Lists, options: OdeintOptions, keep: boolean) {
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
      ...settings
    } = options;
    if (partial) throw refused("OPTION", "partial", 'no value; onFailure: "mask" gives what was reached', "true");
    const { engine } = useField(field);
    refuseReentry(engine, keep ? "a gradient" : "odeint");
    const start = engine.steady(arrayOf("y0", y0, field.dtype));
    const batch = batchOf("y0", start, field.stateSize);
    const { flat, counts } = listsOf("times", times, batch);
    const own = wasmField(field);
    const packed = own.packArguments(given, batch);
    this.#changes = readChanges(own, jumps, events, batch);
    const plan = JSON.stringify({
      counts,
      steps: saveSteps,
      dense,
      mask: onFailure === "mask",
      maxEvents,
      jumps: this.#changes.jumps,
      events: this.#changes.events,
    });
    const numbers = engine.steady(this.#changes.numbers);
    const steady = engine.steady(flat);
    // Whoever gives the options may have disposed of the field.
    const { rust } = useField(field);
    this.#engine = engine;
    this.#field = own;
    this.#dtype = field.dtype;
    [this.#batch, this.#state] = [batch, field.stateSize];
    [this.#times, this.#counts, this.#options] = [flat, counts, options];
    let before = 0;
    this.#starts = (counts ?? []).map((count) => {
      before += count;
      return before - count;
    });
    [this.#parameters, this.#ensemble, this.bytes] = call(engine, () => {
      const [parameters, before] = [rust.parametersLength, engine.bindings.liveBytes()];
      const ensemble = rust.ensemble(start, batch, steady, plan, numbers, forCrate(settings), packed, keep);
      return [parameters, ensemble, engine.bindings.liveBytes() - before] as const;
    });
  }

  /** The solution; if there is no room for the copy, the solve is given up. */
  solution(): IndependentSolution<D> {
    try {
      return this.#copy();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The times of a trajectory. */
  #timesOf(trajectory: number): Float64Array {
    const { start, end } = this.#range(trajectory);
    return this.#times.subarray(start, end);
  }

  #range(trajectory: number) {
    if (this.#counts === null) return { start: 0, end: this.#times.length };
    const start = this.#starts[trajectory] as number;
    return { start, end: start + (this.#counts[trajectory] as number) };
  }

  get #longest(): number {
    return this.#counts === null ? this.#times.length : this.#counts.reduce((most, count) => Math.max(most, count), 0);
  }

  #copy(): IndependentSolution<D> {
    this.#engine.needStack();
    const ensemble = this.#use();
    const dtype: D = this.#dtype;
    const [engine, batch, state] = [this.#engine, this.#batch, this.#state];
    const flat = engine.read(dtype, ensemble.y, ensemble.yLength);
    const numbers = engine.read("float64", ensemble.trajectories, 6 * batch);
    const column = <A>(
      make: { from(list: { length: number }, map: (_: unknown, i: number) => number): A },
      at: number,
    ) => make.from({ length: batch }, (_, i) => numbers[6 * i + at] as number);
    const happened = engine.read("float64", ensemble.events, ensemble.eventsLength);
    const count = happened.length / 3;
    const pick = <A>(make: { from(list: { length: number }, map: (_: unknown, i: number) => number): A }, at: number) =>
      make.from({ length: count }, (_, i) => happened[3 * i + at] as number);
    const failures = Array.from(ensemble.failures, (trajectory, i) => ({
      trajectory,
      error: fromRust(ensemble.failure(i)),
    }));
    const wanted = this.#options.dense || this.#options.saveSteps;
    const paths = wanted ? Array.from({ length: batch }, (_, i) => this.#path(ensemble.path(i))) : [];
    const { y, mask } = this.#padded(flat);
    const steps = this.#options.saveSteps ? paths : undefined;
    const dense = this.#options.dense
      ? new Dense(
          dtype,
          state,
          paths,
          (i) => this.#timesOf(i),
          failures.map(({ trajectory }) => trajectory),
        )
      : undefined;
    return frozen({
      y,
      shape: [this.#longest, batch, state] as const,
      stats: ensemble.stats as SolveStats,
      mask,
      trajectories: {
        accepted: column(Uint32Array, 0),
        rejected: column(Uint32Array, 1),
        evaluations: column(Uint32Array, 2),
        firstStep: column(Float64Array, 3),
        lastStep: column(Float64Array, 4),
        reached: column(Uint32Array, 5),
      },
      events: {
        trajectory: pick(Uint32Array, 0),
        event: pick(Uint32Array, 1),
        t: pick(Float64Array, 2),
        y: engine.read(dtype, ensemble.eventStates, count * state),
      },
      failures,
      at: (t: number, trajectory?: number) => denseOf(dense).value(t, trajectory, 0),
      derivative: (t: number, trajectory?: number) => denseOf(dense).value(t, trajectory, 1),
      steps: (trajectory: number) => {
        if (!steps) throw refused("OPTION", "saveSteps", "true, to have the steps", "false");
        const { t, y } = steps[indexOf(trajectory, batch)] as Path<D>;
        return { t: t.slice(), y: y.slice() as ArrayOf<D> };
      },
    });
  }

  #path(places: ArrayLike<number>): Path<D> {
    const part = <E extends Dtype>(dtype: E, index: number) =>
      this.#engine.read(dtype, places[2 * index] as number, places[2 * index + 1] as number);
    return { t: part("float64", 0), y: part(this.#dtype, 1), polynomials: part(this.#dtype, 2) };
  }

  /** Outputs of trajectories with their own times as rows of the most that one has. */
  #padded(flat: ArrayOf<D>): { y: ArrayOf<D>; mask: Uint8Array | undefined } {
    if (this.#counts === null) return { y: flat, mask: undefined };
    const [longest, batch, state] = [this.#longest, this.#batch, this.#state];
    const y = zeros(this.#dtype, longest * batch * state);
    const mask = new Uint8Array(longest * batch);
    this.#each((trajectory, output, place) => {
      const row = output * batch + trajectory;
      mask[row] = place.own ? 1 : 0;
      for (let i = 0; i < state; i++) y[row * state + i] = flat[place.index * state + i] as number;
    });
    return { y, mask };
  }

  /** Of each trajectory and row of the padded outputs, where the crate has it. */
  #each(visit: (trajectory: number, output: number, place: { index: number; own: boolean }) => void): void {
    const longest = this.#longest;
    let start = 0;
    for (const [trajectory, count] of (this.#counts ?? []).entries()) {
      for (let output = 0; output < longest; output++) {
        visit(trajectory, output, { index: start + Math.min(output, count - 1), own: output < count });
      }
      start += count;
    }
  }

  pullback(cotangent: ArrayOf<D>, of: EventCotangents<D> = {}): IndependentGradient<D> {
    const dtype: D = this.#dtype;
    const [engine, batch, state] = [this.#engine, this.#batch, this.#state];
    refuseReentry(engine, "a gradient");
    const given = arrayOf("cotangent", cotangent, dtype);
    const shape = `[${this.#longest}, ${batch}, ${state}]`;
    checkLength("cotangent", given, this.#longest * batch * state, shape);
    const w = engine.steady(this.#counts === null ? given : this.#flattened(given));
    const events = readRules(of, eventRules, "events.");
    const times = engine.steady(
      events.times === undefined ? new Float64Array() : numbersOf("events.times", events.times),
    );
    const { states: stated } = events;
    const states = engine.steady(stated === undefined ? zeros(dtype, 0) : arrayOf("events.states", stated, dtype));
    const ensemble = this.#use();
    const pulled = call(engine, () => ensemble.pullback(w, times, states));
    try {
      const own = pulled.times === 0 ? undefined : engine.read("float64", pulled.times, this.#times.length);
      return frozen({
        y0: engine.read(dtype, pulled.y0, batch * state),
        parameters: engine.read(dtype, pulled.parameters, this.#parameters),
        arguments: this.#field.copyArguments(engine, pulled.arguments, batch),
        times: own && this.#paddedTimes(own),
        jumps: jumpGradients(this.#changes, engine.read("float64", pulled.changes, this.#changes.numbers.length)),
        stats: pulled.stats as GradientStats,
      });
    } finally {
      release(engine, pulled);
    }
  }

  /** The crate's cotangents from padded ones; those of rows that are nobody's must be zero. */
  #flattened(padded: ArrayOf<D>): ArrayOf<D> {
    const [batch, state] = [this.#batch, this.#state];
    const flat = zeros(this.#dtype, this.#times.length * state);
    this.#each((trajectory, output, { index, own }) => {
      for (let i = 0; i < state; i++) {
        const number = padded[(output * batch + trajectory) * state + i] as number;
        if (own) flat[index * state + i] = number;
        else if (number !== 0) {
          throw refused(
            "OPTION",
            "cotangent",
            "0 where the mask is 0",
            `${number} at output ${output} of trajectory ${trajectory}`,
          );
        }
      }
    });
    return flat;
  }

  #paddedTimes(flat: Float64Array): Float64Array {
    if (this.#counts === null) return flat;
    const padded = new Float64Array(this.#longest * this.#batch);
    this.#each((trajectory, output, { index, own }) => {
      if (own) padded[output * this.#batch + trajectory] = flat[index] as number;
    });
    return padded;
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
    solves.remove(this);
    release(this.#engine, ensemble);
  }
}

const eventRules = { times: anything<unknown>(), states: anything<unknown>() };

/** The most events of a trajectory, unless the options say otherwise. */
const MAX_EVENTS = 10_000;

function denseOf<D extends Dtype>(dense: Dense<D> | undefined): Dense<D> {
  if (!dense) throw refused("OPTION", "dense", "true, to have the solution between its outputs", "false");
  return dense;
}

function indexOf(trajectory: unknown, batch: number): number {
  const index = argument("trajectory", trajectory, required(natural));
  if (index < batch) return index;
  throw refused("OPTION", "trajectory", `an index below ${batch}`, describe(trajectory));
}

/** Solutions between steps, by their polynomials. */
class Dense<D extends Dtype> {
  readonly #dtype: D;
  readonly #state: number;
  readonly #paths: readonly Path<D>[];
  readonly #times: (trajectory: number) => Float64Array;
  readonly #failed: ReadonlySet<number>;

  constructor(
    dtype: D,
    state: number,
    paths: readonly Path<D>[],
    times: (trajectory: number) => Float64Array,
    failed: readonly number[],
  ) {
    [this.#dtype, this.#state, this.#paths, this.#times] = [dtype, state, paths, times];
    this.#failed = new Set(failed);
  }

  /** The solution, or its `order`-th derivative, 0 or 1. */
  value(t: unknown, trajectory: unknown, order: 0 | 1): ArrayOf<D> {
    const time = argument("t", t, required(anyNumber));
    const [paths, state] = [this.#paths, this.#state];
    if (trajectory !== undefined) {
      const out = zeros(this.#dtype, state);
      this.#write(time, indexOf(trajectory, paths.length), order, out, 0);
      return out;
    }
    const out = zeros(this.#dtype, paths.length * state);
    for (let i = 0; i < paths.length; i++) this.#write(time, i, order, out, i * state);
    return out;
  }

  #write(time: number, trajectory: number, order: 0 | 1, out: ArrayOf<D>, at: number): void {
    const { t, y, polynomials } = this.#paths[trajectory] as Path<D>;
    const [state, steps] = [this.#state, t.length - 1];
    const times = this.#times(trajectory);
    const end = t[steps] as number;
    const [first, final] = [times[0] as number, times[times.length - 1] as number];
    const direction = final < first ? -1 : 1;
    // One that failed ends there.
    const last = this.#failed.has(trajectory) ? end : final;
    if (!((time - first) * direction >= 0 && (time - last) * direction <= 0)) {
      throw refused("OPTION", "t", `a time from ${first} to ${last}`, String(time));
    }
    if ((time - end) * direction >= 0) {
      // At the end, or held behind an event that has ended the trajectory.
      const held = (time - end) * direction > 0;
      if (order === 0) for (let i = 0; i < state; i++) out[at + i] = y[steps * state + i] as number;
      if (order === 0 || held || steps === 0) return;
    }
    // The last step that begins at the time or before it.
    let [low, high] = [0, Math.max(steps - 1, 0)];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (((t[middle] as number) - time) * direction <= 0) low = middle;
      else high = middle - 1;
    }
    while (low > 0 && t[low] === t[low + 1]) low--;
    const h = (t[low + 1] as number) - (t[low] as number);
    const theta = h === 0 ? 0 : (time - (t[low] as number)) / h;
    const degree = polynomials.length / Math.max(steps, 1) / state;
    for (let i = 0; i < state; i++) {
      let value = 0;
      for (let power = degree - 1; power >= 0; power--) {
        const coefficient = polynomials[(low * degree + power) * state + i] as number;
        value = value * theta + coefficient * (order === 1 ? power + 1 : 1);
      }
      out[at + i] = order === 1 ? (h === 0 ? 0 : value / h) : (y[low * state + i] as number) + value * theta;
    }
  }
}

/** An independent solve alone. */
export function solveIndependent<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions,
): IndependentSolution<D> {
  const solved = new Trajectories(field, y0, times, options, false);
  try {
    return solved.solution();
  } finally {
    solved.dispose();
  }
}
