// Solves that you advance from call to call.
import type { Integrator } from "../../wasm/bindings.js";
import { EVENT_NUMBERS, TRAJECTORY_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, arrayOf, checkLength, constructors, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { describe, isArray, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import {
  anyNumber,
  argument,
  array,
  checkAbsent,
  isObject,
  object,
  options as readRules,
  required,
  rule,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { call, refuseReentry, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { solvers } from "../engine/live-objects.js";
import {
  type ArgumentArrays,
  type Field,
  type FieldNames,
  type NamesOfField,
  useField,
  type WasmField,
  wasmField,
} from "../fields/field.js";
import type { Event } from "./changes.js";
import { readProblem } from "./ensemble.js";
import { type DetectedEvents, eventsOf, statsOf, type TrajectoryStats } from "./independent.js";
import { type OdeintOptions, readOptions, type SolveOptions, stepRules } from "./options.js";

/** How a solver takes its steps: the options of `odeint` except those for outputs and whole solves. */
export type SolverOptions<A extends string = string, N extends FieldNames = FieldNames> = Omit<
  SolveOptions<A, N>,
  "output" | "batching" | "jumps" | "dense" | "saveSteps" | "onFailure" | "progress"
>;

/** The state of a solver as plain numbers, which JSON keeps exactly except for the sign of zero. */
export interface SavedSolver {
  /** Marks the object as a saved solver: always this text. */
  readonly kind: "symplectic-adjoint solver";
  /** The version of the format of the object: always 1. */
  readonly version: 1;
  /** The number type of the field. */
  readonly dtype: Dtype;
  /** The number of trajectories. */
  readonly batch: number;
  /** The number of features of the state. */
  readonly state: number;
  /** All numbers that the solver needs to continue: the times and states of trajectories, the sizes of their steps, and so on. */
  readonly numbers: readonly number[];
  /** The options of the solver, as far as they are plain data; those that were not given are left out. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What the solver's events and norm compute: functions must be given to `restoreSolver` again, and must compute the same. */
  readonly programs: {
    /** The events, in their order. */
    readonly events: readonly object[];
    /** The norm of a step's error; null for the root mean square. */
    readonly norm: object | null;
  };
}

/** A solve that is advanced call by call, with separate steps for each trajectory. */
export interface Solver<D extends Dtype = Dtype, A extends string = string> {
  /** The number of trajectories. */
  readonly batch: number;
  /** The time that each trajectory has reached, `[batch]`: after `stepTo` the same for all except those that an event has ended. */
  readonly t: Readonly<Float64Array>;
  /**
   * The states, `[batch, state]`: a new copy each time, so its numbers are read-only. To move the trajectories, those that an event has
   * ended included, assign all states: `const y = solver.y.slice(); y[0] = 1; solver.y = y`. The sizes of steps stay.
   */
  get y(): Readonly<ArrayOf<D>>;
  /** Moves the trajectories to other states, `[batch, state]`, which are copied in. */
  set y(states: Readonly<ArrayOf<D>>);
  /** How each trajectory has gone since the beginning; `reached` is 1 for one that an event has ended, else 0. */
  readonly trajectories: TrajectoryStats;
  /** The events of the last call of `stepTo` or `step`. */
  readonly events: DetectedEvents<D>;
  /** Gives the field other arguments from now on, such as the input of a controller. */
  setArguments(values: ArgumentArrays<A>): void;
  /**
   * Takes steps to a time, on which all trajectories land. They are bitwise those of an `odeint` with `output: "land"` that has the times
   * of all calls as its `times`, provided that the first step ends before the first of them: the length of the first step depends on how
   * far the solve is to go. With the option `firstStep` it does not. The time may lie before the current one. If a trajectory fails, all
   * stay where they were.
   *
   * @param t - A finite time.
   * @throws `NON_FINITE` for a time that is not finite; `MAX_STEPS`, `STEP_UNDERFLOW`, `MAX_EVENTS`, `NON_FINITE` if a trajectory fails,
   * with its `t`; `DISPOSED` if the solver was; `OUT_OF_MEMORY`.
   */
  stepTo(t: number): void;
  /** Takes one step of each trajectory towards a time, and none beyond it; otherwise as `stepTo`. */
  step(towards: number): void;
  /** An independent copy of the solver. */
  copy(): Solver<D, A>;
  /**
   * The state and the options of the solver, as plain data for `restoreSolver`: with the same field the steps go on bitwise as they would
   * here.
   */
  save(): SavedSolver;
  /** Frees the memory of the solver; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/**
 * Starts a solve that you advance yourself with `stepTo(t)`: for control loops, games and simulations with inputs. A solver has no
 * gradient; use `vjp` for that.
 *
 * @param field - The vector field, with its parameters as they are now: changing them later has no effect on the solver or its copies.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param t - The time of `y0`.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input; `DISPOSED` if the field was; `OUT_OF_MEMORY`.
 */
export function solver<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(field: F & Field<D, A>, y0: ArrayOf<D>, t: number, options: SolverOptions<A, N> = {}): Solver<D, A> {
  return EngineSolver.start(field, y0, argument("t", t, required(anyNumber)), readOptions(options));
}

/**
 * Makes a solver that continues where another was saved, with its options and arguments.
 *
 * @param field - The field that the saved solver had, with the same parameters.
 * @param saved - What `save` of that solver returned.
 * @param options - Functions in `events` and `norm`, the same as the saved solver had; `threads`, as you like. Other options may be given
 *   again, unchanged.
 * @throws `OPTION` if `saved` does not come from a solver of such a field and batch, or if an option differs from the saved one.
 */
export function restoreSolver<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(field: F & Field<D, A>, saved: SavedSolver, options: SolverOptions<A, N> = {}): Solver<D, A> {
  const wasm = wasmField(field);
  const { stateSize, argumentSize } = wasm;
  const read = readRules(saved, savedRules(wasm), "saved.");
  const { batch, numbers } = read;
  const all = numbersOf("saved.numbers", numbers);
  if (all.length < batch * (stateSize + argumentSize)) {
    throw refused("OPTION", "saved.batch", "the number of trajectories that its arrays have", String(batch));
  }
  const before = readOptions(read.options);
  const others = Object.entries(before).filter(([name]) => !(COMPARED_OPTIONS as readonly string[]).includes(name));
  checkAbsent(Object.fromEntries(others), " of this name", "saved.options.");
  const merged = readOptions({ ...before, ...readOptions(options) });
  if (argumentSize > 0 && merged.arguments === undefined) {
    // They are the last of all numbers.
    const last = all.subarray(all.length - batch * argumentSize);
    merged.arguments = wasm.nameArguments(new constructors[field.dtype](last) as ArrayOf<D>);
  }
  const programs = readRules(read.programs, programsRules, "saved.programs.");
  return EngineSolver.start(field, zeros(field.dtype, batch * stateSize), 0, merged, {
    numbers: all,
    options: plainOptions(before),
    programs,
  });
}

const COMPARED_OPTIONS = [
  ...(Object.keys(stepRules) as (keyof typeof stepRules)[]),
  "events",
  "maxEvents",
  "norm",
] as const;

/** The options that decide about steps, as far as they are plain data, as JSON keeps them. */
function plainOptions(read: OdeintOptions): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const name of COMPARED_OPTIONS) {
    const value = name === "events" ? textsOf(read.events) : read[name];
    // An infinite limit is no limit.
    if (value === undefined || value === Number.POSITIVE_INFINITY || typeof value === "function") continue;
    plain[name] = ArrayBuffer.isView(value) ? [...(value as Float64Array)] : value;
  }
  return asJson(plain);
}

/** Plain data as JSON keeps it. */
const asJson = <T>(data: T): T => JSON.parse(JSON.stringify(data));

/** Events without functions; undefined where they have some. */
function textsOf(events: SolveOptions["events"] = []): object[] | undefined {
  const texts = runUserCode(() =>
    events.map((event) => {
      const { when, direction, terminal, set } = (isObject(event) ? event : {}) as Partial<Event>;
      return { when, direction, terminal, set };
    }),
  );
  const isText = (part: unknown) => part === undefined || ["string", "number", "boolean"].includes(typeof part);
  return texts.length > 0 && texts.every((event) => Object.values(event).every(isText)) ? texts : undefined;
}

/** Whether a value from elsewhere is like one of ours, which bounds what is read of it. */
function isDeepEqual(own: unknown, given: unknown): boolean {
  if (!isObject(own) || !isObject(given)) return own === given;
  const lengthOf = (value: object) => (isArray(value) ? value.length : Object.keys(value).length);
  const isSame = isArray(own) === isArray(given) && lengthOf(own) === lengthOf(given);
  return (
    isSame && Object.entries(own).every(([name, part]) => isDeepEqual(part, (given as Record<string, unknown>)[name]))
  );
}

/** The checked numbers of a saved solver. */
interface SavedNumbers {
  readonly numbers: Float64Array;
  readonly options: Readonly<Record<string, unknown>>;
  readonly programs: Readonly<Record<string, unknown>>;
}

/** Refuses options that differ from those of a saved solver. */
function checkSame(given: OdeintOptions, how: Pick<SavedSolver, "options" | "programs">, saved: SavedNumbers): void {
  for (const name of COMPARED_OPTIONS) {
    const [current, before] = [how.options[name], saved.options[name]];
    if (name === "events" || name === "norm") {
      // Whether text or functions: what they compute.
      if (runUserCode(() => isDeepEqual(how.programs[name], saved.programs[name]))) continue;
      const expected = "that of the saved solver, given again where it has functions";
      throw refused("OPTION", name, expected, given[name] === undefined ? "none" : "another");
    }
    if (isDeepEqual(current, before)) continue;
    const expected =
      before === undefined
        ? "no value, as the saved solver has none"
        : `${JSON.stringify(before)}, as the saved solver has`;
    throw refused("OPTION", name, expected, JSON.stringify(current));
  }
}

const KIND = "symplectic-adjoint solver";
const VERSION = 1;
const anyValue = rule<unknown>("a value", () => true);
const exactly = (value: unknown) => required(rule(String(value), (given) => given === value));
const savedRules = ({ dtype, stateSize }: WasmField<Dtype>) => ({
  kind: exactly(KIND),
  version: exactly(VERSION),
  dtype: exactly(dtype),
  batch: required(
    rule<number>("a number of trajectories", (value) => Number.isInteger(value) && (value as number) > 0),
  ),
  state: exactly(stateSize),
  numbers: required(object),
  options: required(object),
  programs: required(object),
});
const programsRules = { events: required(array<object>("an array of events")), norm: anyValue };

/** A time to go to. */
function timeOf(name: string, given: number): number {
  const time = argument(name, given, required(anyNumber));
  if (!Number.isFinite(time)) throw refused("NON_FINITE", name, "a finite time", String(time));
  return time;
}

class EngineSolver<D extends Dtype> implements Solver<D> {
  #integrator: Integrator | undefined;
  readonly #engine: Instance;
  readonly #field: WasmField<D>;
  readonly #dtype: D;
  readonly #state: number;
  readonly #bytes: number;
  /** How the solver takes its steps, for `save`. */
  readonly #how: Pick<SavedSolver, "options" | "programs">;

  private constructor(
    field: WasmField<D>,
    engine: Instance,
    integrator: Integrator,
    readonly batch: number,
    bytes: number,
    how: Pick<SavedSolver, "options" | "programs">,
  ) {
    disposable(EngineSolver.prototype, EngineSolver.prototype.dispose);
    [this.#field, this.#engine, this.#integrator, this.#bytes] = [field, engine, integrator, bytes];
    this.#how = how;
    [this.#dtype, this.#state] = [field.dtype, field.stateSize];
    fix<EngineSolver<D>>(this, ["batch"]);
    Object.preventExtensions(this);
    solvers.add(this, bytes);
  }

  static start<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    t: number,
    options: OdeintOptions,
    saved?: SavedNumbers,
  ): EngineSolver<D> {
    const { jumps, dense, saveSteps, onFailure, partial, output, progress } = options;
    const others = { jumps, dense, saveSteps, onFailure, partial, progress };
    checkAbsent({ ...others, output: output === "land" ? undefined : output }, " for a solver");
    const wasm = wasmField(field);
    const { engine } = useField(field);
    refuseReentry(engine, "a solver");
    const problem = readProblem(field, y0, [t], options);
    const { batch, norm, maxEvents, changes } = problem;
    const how = frozen({ options: plainOptions(options), programs: asJson({ events: changes.events, norm }) });
    if (saved) checkSame(options, how, saved);
    const nothing = { counts: null, steps: false, dense: false, mask: false, part: null, jumps: [] };
    const plan = JSON.stringify({ ...nothing, norm, maxEvents, events: changes.events });
    const start = engine.steady(problem.y0);
    // Whoever gives the options may have disposed of the field.
    const { rust } = useField(field);
    const [integrator, bytes] = call(engine, () => {
      const before = engine.bindings.liveBytes();
      const made = rust.integrator(start, batch, problem.times, plan, problem.options, problem.arguments);
      return [made, engine.bindings.liveBytes() - before] as const;
    });
    const solver = new EngineSolver(wasm, engine, integrator, batch, bytes, how);
    if (saved) {
      try {
        call(engine, () => integrator.restore(saved.numbers));
      } catch (error) {
        solver.dispose();
        throw error;
      }
    }
    return solver;
  }

  get t(): Float64Array {
    const { engine, integrator } = EngineSolver.#use(this);
    return engine.read("float64", integrator.t, this.batch);
  }

  get y(): Readonly<ArrayOf<D>> {
    const { engine, integrator } = EngineSolver.#use(this);
    return engine.read(this.#dtype, integrator.y, this.batch * this.#state);
  }

  set y(states: Readonly<ArrayOf<D>>) {
    const { engine, integrator } = EngineSolver.#use(this);
    const given = engine.steady(arrayOf("y", states, this.#dtype));
    checkLength("y", given, this.batch * this.#state, `[${this.batch}, ${this.#state}]`);
    call(engine, () => integrator.setY(given));
  }

  get trajectories(): TrajectoryStats {
    const { engine, integrator } = EngineSolver.#use(this);
    return frozen(statsOf(engine.read("float64", integrator.trajectories, TRAJECTORY_NUMBERS * this.batch)));
  }

  get events(): DetectedEvents<D> {
    const { engine, integrator } = EngineSolver.#use(this);
    const numbers = engine.read("float64", integrator.events, integrator.eventsLength);
    const count = numbers.length / EVENT_NUMBERS;
    return frozen(eventsOf(numbers, engine.read(this.#dtype, integrator.eventStates, count * this.#state)));
  }

  setArguments(values: ArgumentArrays): void {
    const { engine } = EngineSolver.#use(this);
    const packed = this.#field.packArguments(values, this.batch);
    const { integrator } = EngineSolver.#use(this);
    if (packed) call(engine, () => integrator.setArguments(packed));
  }

  stepTo(t: number): void {
    EngineSolver.#advance(this, timeOf("t", t), false);
  }

  step(towards: number): void {
    EngineSolver.#advance(this, timeOf("towards", towards), true);
  }

  static #advance(solver: EngineSolver<Dtype>, to: number, single: boolean): void {
    const { engine, integrator } = EngineSolver.#use(solver);
    call(engine, () => integrator.advance(to, single));
  }

  copy(): Solver<D> {
    const { engine, integrator } = EngineSolver.#use(this);
    const copy = call(engine, () => integrator.copy());
    return new EngineSolver(this.#field, engine, copy, this.batch, this.#bytes, this.#how);
  }

  save(): SavedSolver {
    const { engine, integrator } = EngineSolver.#use(this);
    const numbers = call(engine, () => integrator.save());
    return frozen({
      kind: KIND,
      version: VERSION,
      dtype: this.#dtype,
      batch: this.batch,
      state: this.#state,
      numbers: Array.from(numbers),
      ...this.#how,
    });
  }

  /** A solver itself, and no object that was made from one. */
  static #own(solver: EngineSolver<Dtype>): void {
    if (!isObject(solver) || !(#integrator in solver)) throw refused("OPTION", "this", "a solver", describe(solver));
  }

  static #use(solver: EngineSolver<Dtype>): { engine: Instance; integrator: Integrator } {
    EngineSolver.#own(solver);
    solver.#engine.needStack();
    if (!solver.#integrator || solver.#engine.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the solver has been disposed");
    }
    refuseReentry(solver.#engine, "a solver");
    return { engine: solver.#engine, integrator: solver.#integrator };
  }

  /** The name of the kind of object, for messages and consoles. */
  toString(): string {
    if (!(#integrator in this)) return "solver (an object made from one)";
    return `solver (${this.batch} × ${this.#state}, ${this.#dtype}${this.#integrator ? "" : ", disposed"})`;
  }

  dispose(): void {
    EngineSolver.#own(this);
    this.#engine.needStack();
    const integrator = this.#integrator;
    this.#integrator = undefined;
    solvers.remove(this);
    release(this.#engine, integrator);
  }

  declare [Symbol.dispose]: () => void;
}
