// Solves that are taken on from call to call.
import type { Integrator } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import { anyNumber, argument, object, options as readRules, required, rule } from "../checks/rules.js";
import { call, refuseReentry, release } from "../engine/call.js";
import { disposable } from "../engine/disposable.js";
import type { Instance } from "../engine/engine.js";
import { solvers } from "../engine/live-objects.js";
import { type ArgumentArrays, type Field, useField, type WasmField, wasmField } from "../fields/field.js";
import { EVENT_NUMBERS, readProblem, TRAJECTORY_NUMBERS } from "./ensemble.js";
import { type Events, eventsOf, statsOf, type TrajectoryStats } from "./independent.js";
import { type OdeintOptions, readOptions, type SolveOptions } from "./options.js";

/** How a solver takes its steps: as `odeint`, but for what belongs to outputs and to whole solves. */
export type SolverOptions<A extends string = string> = Omit<
  SolveOptions<A>,
  "output" | "batching" | "jumps" | "dense" | "saveSteps" | "onFailure" | "progress"
>;

/** Where a solver stood: plain numbers, which JSON keeps exactly but for the sign of zero. */
export interface SavedSolver {
  /** What the object is: always this text. */
  readonly kind: "symplectic-adjoint solver";
  /** The version of the format of the object: always 1. */
  readonly version: 1;
  /** The number type of the field. */
  readonly dtype: Dtype;
  /** The number of trajectories. */
  readonly batch: number;
  /** The number of features of the state. */
  readonly state: number;
  /** All numbers that the solver needs to go on: the times and states of trajectories, the sizes of their steps, and so on. */
  readonly numbers: readonly number[];
}

/** A solve that is taken on from call to call, each trajectory by its own steps. */
export interface Solver<D extends Dtype = Dtype, A extends string = string> {
  /** The number of trajectories. */
  readonly batch: number;
  /** The time that each trajectory has reached, `[batch]`: after `stepTo` the same for all but those that an event has ended. */
  readonly t: Float64Array;
  /**
   * The states, `[batch, state]`: a new copy each time, so that to change a number of it changes nothing here. Assign other states to go on
   * from there, those that an event has ended included; the sizes of steps stay.
   */
  get y(): ArrayOf<D>;
  /** Moves the trajectories to other states, `[batch, state]`. */
  set y(states: ArrayOf<D>);
  /** How each trajectory has gone since the beginning; `reached` is 1 for one that an event has ended, else 0. */
  readonly trajectories: TrajectoryStats;
  /** The events of the last call of `stepTo` or `step`. */
  readonly events: Events<D>;
  /** Gives the field other arguments from now on, such as the input of a controller. */
  setArguments(values: ArgumentArrays<A>): void;
  /**
   * Takes steps to a time, which all trajectories land on. They are bitwise those of an `odeint` with `output: "land"` that has the times of
   * all calls as its `times`, provided that the first step ends before the first of them: the length of the first step depends on how far
   * the solve is to go. With the option `firstStep` it does not. The time may lie before the present one. Where a trajectory fails, all
   * stay where they were.
   *
   * @param t - A finite time.
   * @throws As `odeint`.
   */
  stepTo(t: number): void;
  /** Takes one step of each trajectory towards a time, and none beyond it; otherwise as `stepTo`. */
  step(towards: number): void;
  /** Another solver that stands at the same place and goes its own way. */
  copy(): Solver<D, A>;
  /**
   * Where the solver stands, as plain data for `restoreSolver`: with the same field and options the steps go on bitwise as they
   * would here.
   */
  save(): SavedSolver;
  /** Frees the memory of the solver; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/**
 * Starts a solve that you take on yourself, as control loops, games and simulations with inputs do: `stepTo(t)` advances it.
 * Gradients are those of `vjp`; a solver has none.
 *
 * @param field - The vector field, with its parameters as they are now: changing them later changes nothing here, nor in copies.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param t - When the trajectories stand there.
 * @throws As `odeint`.
 */
export function solver<D extends Dtype, A extends string>(
  field: Field<D, A>,
  y0: ArrayOf<D>,
  t: number,
  options: SolverOptions<A> = {},
): Solver<D, A> {
  return OwnSolver.start(field, y0, argument("t", t, required(anyNumber)), readOptions(options));
}

/**
 * A solver that stands where another was saved.
 *
 * @param field - The field that the other had, with the same parameters.
 * @param saved - What its `save` gave.
 * @param options - The options that the other had.
 * @throws `OPTION` for what was not saved by a solver of such a field, batch and options.
 */
export function restoreSolver<D extends Dtype, A extends string>(
  field: Field<D, A>,
  saved: SavedSolver,
  options: SolverOptions<A> = {},
): Solver<D, A> {
  const { kind, version, dtype, batch, state, numbers } = readRules(saved, savedRules, "saved.");
  const { stateSize } = wasmField(field);
  for (const [name, given, expected] of [
    ["kind", kind, KIND],
    ["version", version, VERSION],
    ["dtype", dtype, field.dtype],
    ["state", state, stateSize],
  ] as const) {
    if (given !== expected) throw refused("OPTION", `saved.${name}`, String(expected), describe(given));
  }
  const own = numbersOf("saved.numbers", numbers);
  if (own.length < batch * stateSize) {
    throw refused("OPTION", "saved.batch", "as many trajectories as there are numbers for", String(batch));
  }
  return OwnSolver.start(field, zeros(field.dtype, batch * stateSize), 0, readOptions(options), own);
}

const KIND = "symplectic-adjoint solver";
const VERSION = 1;
const anyValue = rule<unknown>("a value", () => true);
const savedRules = {
  kind: required(anyValue),
  version: required(anyValue),
  dtype: required(anyValue),
  batch: required(
    rule<number>("a number of trajectories", (value) => Number.isInteger(value) && (value as number) > 0),
  ),
  state: required(anyValue),
  numbers: required(object),
};

/** A time to go to. */
function timeOf(name: string, given: number): number {
  const time = argument(name, given, required(anyNumber));
  if (!Number.isFinite(time)) throw refused("NON_FINITE", name, "a finite time", String(time));
  return time;
}

class OwnSolver<D extends Dtype> implements Solver<D> {
  #integrator: Integrator | undefined;
  readonly #engine: Instance;
  readonly #field: WasmField<D>;
  readonly #dtype: D;
  readonly #state: number;
  readonly #bytes: number;

  private constructor(
    field: WasmField<D>,
    engine: Instance,
    integrator: Integrator,
    readonly batch: number,
    bytes: number,
  ) {
    disposable(OwnSolver.prototype, OwnSolver.prototype.dispose);
    [this.#field, this.#engine, this.#integrator, this.#bytes] = [field, engine, integrator, bytes];
    [this.#dtype, this.#state] = [field.dtype, field.stateSize];
    fix<OwnSolver<D>>(this, ["batch"]);
    solvers.add(this, bytes);
  }

  static start<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    t: number,
    options: OdeintOptions,
    saved?: Float64Array,
  ): OwnSolver<D> {
    const { jumps, dense, saveSteps, onFailure, partial, output, progress } = options;
    for (const [name, given] of Object.entries({ jumps, dense, saveSteps, onFailure, partial, output, progress })) {
      if (given === undefined || given === false || (name === "output" && given === "land")) continue;
      throw refused("OPTION", name, "no value for a solver", describe(given));
    }
    const own = wasmField(field);
    const { engine } = useField(field);
    refuseReentry(engine, "a solver");
    const problem = readProblem(field, y0, [t], options);
    const { batch, norm, maxEvents, changes } = problem;
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
    const solver = new OwnSolver(own, engine, integrator, batch, bytes);
    if (saved) {
      try {
        call(engine, () => integrator.restore(saved));
      } catch (error) {
        solver.dispose();
        throw error;
      }
    }
    return solver;
  }

  get t(): Float64Array {
    const { engine, integrator } = this.#use();
    return engine.read("float64", integrator.t, this.batch);
  }

  get y(): ArrayOf<D> {
    const { engine, integrator } = this.#use();
    return engine.read(this.#dtype, integrator.y, this.batch * this.#state);
  }

  set y(states: ArrayOf<D>) {
    const { engine, integrator } = this.#use();
    const given = engine.steady(arrayOf("y", states, this.#dtype));
    checkLength("y", given, this.batch * this.#state, `[${this.batch}, ${this.#state}]`);
    call(engine, () => integrator.setY(given));
  }

  get trajectories(): TrajectoryStats {
    const { engine, integrator } = this.#use();
    return frozen(statsOf(engine.read("float64", integrator.trajectories, TRAJECTORY_NUMBERS * this.batch)));
  }

  get events(): Events<D> {
    const { engine, integrator } = this.#use();
    const numbers = engine.read("float64", integrator.events, integrator.eventsLength);
    const count = numbers.length / EVENT_NUMBERS;
    return frozen(eventsOf(numbers, engine.read(this.#dtype, integrator.eventStates, count * this.#state)));
  }

  setArguments(values: ArgumentArrays): void {
    const { engine } = this.#use();
    const packed = this.#field.packArguments(values, this.batch);
    const { integrator } = this.#use();
    if (packed) call(engine, () => integrator.setArguments(packed));
  }

  stepTo(t: number): void {
    this.#advance(timeOf("t", t), false);
  }

  step(towards: number): void {
    this.#advance(timeOf("towards", towards), true);
  }

  #advance(to: number, single: boolean): void {
    const { engine, integrator } = this.#use();
    call(engine, () => integrator.advance(to, single));
  }

  copy(): Solver<D> {
    const { engine, integrator } = this.#use();
    const copy = call(engine, () => integrator.copy());
    return new OwnSolver(this.#field, engine, copy, this.batch, this.#bytes);
  }

  save(): SavedSolver {
    const { engine, integrator } = this.#use();
    const numbers = call(engine, () => integrator.save());
    return frozen({
      kind: KIND,
      version: VERSION,
      dtype: this.#dtype,
      batch: this.batch,
      state: this.#state,
      numbers: Array.from(numbers),
    });
  }

  #use(): { engine: Instance; integrator: Integrator } {
    this.#engine.needStack();
    if (!this.#integrator || this.#engine.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the solver has been disposed");
    }
    refuseReentry(this.#engine, "a solver");
    return { engine: this.#engine, integrator: this.#integrator };
  }

  dispose(): void {
    this.#engine.needStack();
    const integrator = this.#integrator;
    this.#integrator = undefined;
    solvers.remove(this);
    release(this.#engine, integrator);
  }

  declare [Symbol.dispose]: () => void;
}
