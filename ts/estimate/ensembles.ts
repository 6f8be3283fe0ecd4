// Trajectories that are solved by themselves, in one call; derivatives of each, by what it starts from and by all parameters.
import type { Recipe } from "../fields/field.js";
import { type ProgramOptions, programField, type WasmProgram } from "../fields/program.js";
import type { Changes } from "../solve/changes.js";
import { type EnsembleProblem, EnsembleSolve, readProblem } from "../solve/ensemble.js";
import type { OdeintOptions } from "../solve/options.js";
import { lifted } from "../trace/lift.js";

/** Beyond so many parameters, a trajectory costs more by its copies of them than it gains. */
const MOST_PARAMETERS = 100;

/** What trajectories start from. */
export interface EnsembleStarts {
  readonly parameters: Float64Array;
  /** Of each trajectory: its state, and its arguments in their order. */
  readonly y0: readonly Float64Array[];
  readonly args: readonly Float64Array[];
}

/** Derivatives of a number of each trajectory. */
interface EnsembleSlopes {
  /** `[batch, states]`. */
  readonly y0: Float64Array;
  /** `[batch, arguments, and behind them all parameters]`. */
  readonly arguments: Float64Array;
}

/** The field of a program with its parameters as arguments. Undefined where it cannot be, or should not. */
export function liftedField(field: WasmProgram<"float64">): WasmProgram<"float64"> | undefined {
  if (field.parameterCount > MOST_PARAMETERS) return undefined;
  const { program: own, dtype: _, equations: __, ...made } = (field.recipe as Recipe).options as ProgramOptions;
  const program = lifted(own, field.argumentSize);
  if (!program) return undefined;
  // Of the arguments only the widths matter here: those of all together.
  const widths: Record<string, number> = program.arguments > 0 ? { all: program.arguments } : {};
  return programField({ ...made, program, entries: {}, arguments: widths, initial: new Float64Array() }, "float64");
}

/** Trajectories with their times, jumps and events. */
export class Ensembles {
  readonly #field: WasmProgram<"float64">;
  readonly #problem: EnsembleProblem<"float64">;
  readonly #progress: ((fraction: number) => void) | undefined;
  /** Where each trajectory begins among all outputs. */
  readonly #first: readonly number[];

  private constructor(
    field: WasmProgram<"float64">,
    problem: EnsembleProblem<"float64">,
    times: readonly Float64Array[],
    progress: OdeintOptions["progress"],
  ) {
    this.#field = field;
    this.#problem = problem;
    this.#progress = progress;
    let before = 0;
    this.#first = times.map((own) => {
      before += own.length;
      return before - own.length;
    });
  }

  /** Undefined where a jump, an event or the norm cannot be lifted. */
  static of(
    field: WasmProgram<"float64">,
    lift: WasmProgram<"float64">,
    times: readonly Float64Array[],
    options: OdeintOptions,
  ): Ensembles | undefined {
    const [batch, own] = [times.length, field.argumentSize];
    const names = Object.entries(field.argumentWidths);
    const still = Object.fromEntries(names.map(([name, width]) => [name, new Float64Array(batch * width)]));
    const read = readProblem(field, new Float64Array(batch * field.stateSize), times, {
      ...options,
      timeGradients: false,
      ...(names.length > 0 && { arguments: still }),
    });
    const changes = liftedChanges(read.changes, own);
    const norm = read.norm && lifted(read.norm, own);
    if (!changes || norm === undefined) return undefined;
    return new Ensembles(lift, { ...read, changes, norm }, times, options.progress);
  }

  /** The index of an output of a trajectory. */
  place(trajectory: number, time: number): number {
    return (this.#first[trajectory] as number) + time;
  }

  /** How many outputs there are. */
  get outputs(): number {
    return this.#problem.times.length;
  }

  /** The states `[outputs, states]`. */
  solve(starts: EnsembleStarts): Float64Array {
    const solved = new EnsembleSolve(this.#field, this.#at(starts), false, this.#progress);
    try {
      return solved.result().y;
    } finally {
      solved.dispose();
    }
  }

  /** Solves, and calls with what pulls cotangents `[outputs, states]` back. */
  withPullback<R>(starts: EnsembleStarts, body: (pull: (cotangent: Float64Array) => EnsembleSlopes) => R): R {
    const solved = new EnsembleSolve(this.#field, this.#at(starts), true, this.#progress);
    const none = new Float64Array();
    try {
      return body((y) => solved.pullback({ y, eventTimes: none, eventStates: none }));
    } finally {
      solved.dispose();
    }
  }

  #at({ parameters, y0, args }: EnsembleStarts): EnsembleProblem<"float64"> {
    const { state, batch } = this.#problem;
    const start = new Float64Array(batch * state);
    const width = this.#field.argumentSize;
    const all = new Float64Array(batch * width);
    for (const [i, own] of y0.entries()) {
      start.set(own, i * state);
      all.set(args[i] as Float64Array, i * width);
      all.set(parameters, (i + 1) * width - parameters.length);
    }
    return { ...this.#problem, y0: start, arguments: width > 0 ? all : undefined };
  }
}

function liftedChanges({ jumps, events, numbers }: Changes, own: number): Changes | undefined {
  const liftedJumps = jumps.flatMap((jump) => {
    const set = lifted(jump.set, own);
    return set ? [{ ...jump, set }] : [];
  });
  const liftedEvents = events.flatMap((event) => {
    const [when, set] = [lifted(event.when, own), event.set && lifted(event.set, own)];
    return when && set !== undefined ? [{ ...event, when, set }] : [];
  });
  const all = liftedJumps.length === jumps.length && liftedEvents.length === events.length;
  return all ? { jumps: liftedJumps, events: liftedEvents, numbers } : undefined;
}
