// Solves of trajectories that each have their own steps, output times, jumps and events.
import type { Ensemble } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { anything, options as readRules } from "../checks/rules.js";
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
import { Dense, indexOf, type Path } from "./dense.js";
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
  /** Where the times of each trajectory begin, and the most that one has. */
  readonly #starts: readonly number[];
  readonly #longest: number;

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
    this.#longest = counts === null ? flat.length : counts.reduce((most, count) => Math.max(most, count), 0);
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
    if (this.#counts === null) return this.#times;
    const start = this.#starts[trajectory] as number;
    return this.#times.subarray(start, start + (this.#counts[trajectory] as number));
  }

  #copy(): IndependentSolution<D> {
    this.#engine.needStack();
    const ensemble = this.#use();
    const dtype: D = this.#dtype;
    const [engine, batch, state] = [this.#engine, this.#batch, this.#state];
    const flat = engine.read(dtype, ensemble.y, ensemble.yLength);
    const numbers = columnsOf(engine.read("float64", ensemble.trajectories, 6 * batch), 6);
    const happened = columnsOf(engine.read("float64", ensemble.events, ensemble.eventsLength), 3);
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
    const between = (order: 0 | 1, t: number, trajectory?: number) => {
      if (!dense) throw refused("OPTION", "dense", "true, to have the solution between its outputs", "false");
      return dense.value(t, trajectory, order);
    };
    return frozen({
      y,
      shape: [this.#longest, batch, state] as const,
      stats: ensemble.stats as SolveStats,
      mask,
      trajectories: {
        accepted: Uint32Array.from(numbers[0] as number[]),
        rejected: Uint32Array.from(numbers[1] as number[]),
        evaluations: Uint32Array.from(numbers[2] as number[]),
        firstStep: Float64Array.from(numbers[3] as number[]),
        lastStep: Float64Array.from(numbers[4] as number[]),
        reached: Uint32Array.from(numbers[5] as number[]),
      },
      events: {
        trajectory: Uint32Array.from(happened[0] as number[]),
        event: Uint32Array.from(happened[1] as number[]),
        t: Float64Array.from(happened[2] as number[]),
        y: engine.read(dtype, ensemble.eventStates, (happened[0] as number[]).length * state),
      },
      failures,
      at: (t: number, trajectory?: number) => between(0, t, trajectory),
      derivative: (t: number, trajectory?: number) => between(1, t, trajectory),
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
    for (const [trajectory, count] of (this.#counts ?? []).entries()) {
      const start = this.#starts[trajectory] as number;
      for (let output = 0; output < this.#longest; output++) {
        visit(trajectory, output, { index: start + Math.min(output, count - 1), own: output < count });
      }
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

/** The columns of rows of so many numbers. */
function columnsOf(rows: Float64Array, width: number): number[][] {
  const column = (at: number) => Array.from({ length: rows.length / width }, (_, i) => rows[i * width + at] as number);
  return Array.from({ length: width }, (_, at) => column(at));
}

const eventRules = { times: anything<unknown>(), states: anything<unknown>() };

/** The most events of a trajectory, unless the options say otherwise. */
const MAX_EVENTS = 10_000;

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
