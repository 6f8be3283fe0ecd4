// Predictions of measurements by solves, and their derivatives with respect to what is estimated.
import { isFailedSolve, type SymplecticAdjointError } from "../checks/errors.js";
import type { WasmProgram } from "../fields/program.js";
import type { Pool } from "../parallel/pool-types.js";
import { isLists, type Jump, type Lists } from "../solve/changes.js";
import { vjp } from "../solve/gradient.js";
import { type IndependentSolution, isIndependent } from "../solve/independent.js";
import { jvpFor, type SolutionJvp } from "../solve/jvp.js";
import { odeint } from "../solve/odeint.js";
import type { SolveOptions } from "../solve/options.js";
import type { Solution } from "../solve/results.js";
import { type JacobianColumns, tangentsOfColumns } from "../solve/sensitivities.js";
import { awaited, type Coroutine } from "./coroutine.js";
import { gather } from "./linear.js";
import type { ObservationFunction, Points } from "./observe.js";
import { type Data, splitByTrajectory } from "./trajectories.js";

/** The input of the model that an estimated number is. */
export type EstimatedInput =
  | { readonly kind: "parameter"; readonly index: number }
  /** The initial value of a state; of one trajectory, or of all. */
  | { readonly kind: "initial"; readonly feature: number; readonly trajectory: number | undefined }
  /** A number of an argument of one trajectory. */
  | { readonly kind: "argument"; readonly name: string; readonly index: number; readonly trajectory: number };

/** Predictions at some values. */
export interface Predictions {
  /** The predictions of the measurements, in their order. */
  readonly f: Float64Array;
  /** ∂f/∂values for those with the indices asked for, `[measurements, indices]`; undefined where it cannot be computed. */
  slopes(): Coroutine<Float64Array | undefined>;
}

/** The initial states and arguments of all trajectories. */
interface TrajectoryStarts {
  readonly parameters: Float64Array;
  /** The initial state of each trajectory. */
  readonly y0: readonly Float64Array[];
  readonly args: readonly Readonly<Record<string, Float64Array>>[];
}

/** Trajectories that are solved in one call. */
interface SolveBatch {
  readonly members: readonly number[];
  readonly times: Lists;
}

/** Its rows: their indices among all, and their places `[times, members]` in its solution. */
interface SolveBatchRows extends SolveBatch {
  readonly rows: Int32Array;
  readonly places: Int32Array;
}

/** How some data are solved, and where their numbers lie in arrays. */
interface Layout {
  readonly data: Data;
  readonly batches: readonly SolveBatchRows[];
  /** The place of each measurement among what is observed, `[rows, observed]`. */
  readonly measured: Int32Array;
  /** The trajectory of each measurement. */
  readonly owners: Int32Array;
}

/** All solves, with what is observed of them. */
interface SolvedMeasurements {
  /** As they were solved: by the next time, trajectories may have been separated. */
  readonly layout: Layout;
  readonly at: TrajectoryStarts;
  readonly points: Points;
  readonly f: Float64Array;
  /** Of each batch, its derivatives along the columns, if they were computed at once. */
  readonly tangents: readonly SolutionJvp<"float64">[] | undefined;
  /** They are needed again at the end of a fit. */
  slopes?: Float64Array | undefined;
}

/** Predicts measurements, for values that belong to these places. */
export class Predictor {
  /** Why the last prediction failed. */
  failure: SymplecticAdjointError | undefined;
  /** The most steps, those tried in vain too, that a solve of the last prediction took. */
  steps = 0;
  /**
   * Whether the slopes of the last prediction were asked for, and so those of the next are likely to be. Together they cost little more
   * than slopes alone, as those solve too.
   */
  #slopesExpected = true;
  #knownLayout: Layout | undefined;
  /** The last prediction with derivatives, which is needed again at the end of a fit. */
  #latest: LatestPrediction | undefined;
  /** Whether each trajectory takes its own steps. */
  readonly #apart: boolean;
  /** Whether derivatives are the transpose's. */
  readonly #reverse: boolean;
  private data: Data;
  /** Who solves, if not this thread. */
  readonly #pool: Pool | undefined;

  constructor(
    readonly field: WasmProgram<"float64">,
    data: Data,
    readonly observation: ObservationFunction,
    readonly places: readonly EstimatedInput[],
    readonly options: SolveOptions,
    pool?: Pool,
  ) {
    this.#apart = isIndependent(options, data.groups[0]?.times);
    const several = data.groups.some(({ members }) => members.length > 1);
    this.data = this.#apart && several ? splitByTrajectory(data) : data;
    // A pass along a column costs about two solves, the transpose for a measurement about four. Leapfrog has the transpose only.
    const columns = columnsOf(places);
    const forward = columns.parameters.length + columns.y0.length + columns.arguments.length;
    this.#reverse = options.method === "leapfrog" || forward > 2 * data.places.length;
    // The transpose is of one trajectory after the other, which a pool cannot share.
    this.#pool = this.#reverse ? undefined : pool;
  }

  /** Whether all trajectories, each with its own times, are solved in one call. */
  get #atOnce(): boolean {
    return this.#apart && !this.#reverse;
  }

  get #batches(): readonly SolveBatch[] {
    const { groups } = this.data;
    if (!this.#atOnce) return groups;
    return [{ members: groups.flatMap(({ members }) => members), times: groups.map(({ times }) => times) }];
  }

  /** That of the data as they are solved now. */
  get #layout(): Layout {
    const { data } = this;
    if (this.#knownLayout?.data === data) return this.#knownLayout;
    const batches = this.#batches.map((batch) => ({ ...batch, rows: [] as number[], places: [] as number[] }));
    for (const [row, { group, member, time }] of data.rows.entries()) {
      const { rows, places } = batches[this.#atOnce ? 0 : group] as (typeof batches)[number];
      const [own, width] = this.#atOnce ? [group, data.groups.length] : [member, data.groups[group]?.members.length];
      rows.push(row);
      places.push(time * (width as number) + own);
    }
    const width = this.observation.names.length;
    this.#knownLayout = {
      data,
      batches: batches.map(({ rows, places, ...batch }) => {
        return { ...batch, rows: Int32Array.from(rows), places: Int32Array.from(places) };
      }),
      measured: Int32Array.from(data.places, ({ row, observed }) => row * width + observed),
      owners: Int32Array.from(data.places, ({ row }) => (data.rows[row] as Data["rows"][number]).trajectory),
    };
    return this.#knownLayout;
  }

  /** Undefined where a solve fails. The slopes are those by the values with these indices. */
  *predict(values: Float64Array, indices: readonly number[] = []): Coroutine<Predictions | undefined> {
    if (this.#latest && isLatest(this.#latest, values, indices)) {
      this.steps = this.#latest.steps;
      return this.#latest.predictions;
    }
    const predictions = yield* this.#predicted(values, indices);
    if (predictions && indices.length > 0) {
      this.#latest = { values: values.slice(), indices, predictions, steps: this.steps };
    }
    return predictions;
  }

  *#predicted(values: Float64Array, indices: readonly number[]): Coroutine<Predictions | undefined> {
    const places = indices.map((k) => this.places[k] as EstimatedInput);
    const columns = columnsOf(places);
    const forward = columns.parameters.length + columns.y0.length + columns.arguments.length;
    const together = this.#slopesExpected && forward > 0 && !this.#reverse;
    this.#slopesExpected = false;
    // Where derivatives fail, the solution may be there all the same.
    const attempt = () => this.#attempt(values, together ? columns : undefined);
    let solved = yield* attempt();
    if (!solved && this.data.groups.some(({ members }) => members.length > 1)) {
      // Perhaps one cannot be solved as far as another was measured.
      this.data = splitByTrajectory(this.data);
      solved = yield* attempt();
    }
    if (!solved) return undefined;
    const own = solved;
    return { f: own.f, slopes: () => this.#slopes(own, places, columns) };
  }

  /** Solves, at best along columns too: where derivatives fail, the solution may be there all the same. */
  *#attempt(values: Float64Array, columns: JacobianColumns | undefined): Coroutine<SolvedMeasurements | undefined> {
    const both = columns && (yield* this.#tried(() => this.#solve(values, columns)));
    return both ?? (yield* this.#tried(() => this.#solve(values)));
  }

  *#slopes(
    solved: SolvedMeasurements,
    places: readonly EstimatedInput[],
    columns: JacobianColumns,
  ): Coroutine<Float64Array | undefined> {
    this.#slopesExpected = true;
    if (places.length === 0) return new Float64Array();
    this.field.parameters = solved.at.parameters;
    solved.slopes ??= yield* this.#tried(() => this.#jacobian(solved, places, columns));
    return solved.slopes;
  }

  *#jacobian(
    solved: SolvedMeasurements,
    places: readonly EstimatedInput[],
    columns: JacobianColumns,
  ): Coroutine<Float64Array> {
    if (this.#reverse) return this.#backward(solved, places);
    const tangents = solved.tangents ?? (yield* this.#tangents(solved.layout, solved.at, columns));
    return this.#forward(solved, tangents, places, columns);
  }

  *#tried<R>(body: () => Coroutine<R>): Coroutine<R | undefined> {
    try {
      return yield* body();
    } catch (error) {
      if (!isFailedSolve(error)) throw error;
      this.failure = error;
      return undefined;
    }
  }

  /** The initial state of each trajectory, at some values. */
  #startsAt(values: Float64Array): TrajectoryStarts {
    const { field, data } = this;
    const parameters = field.copyParameters();
    const y0 = data.trajectories.map((trajectory) => trajectory.y0.slice());
    const args = data.trajectories.map((trajectory) =>
      Object.fromEntries(Object.entries(trajectory.arguments).map(([name, numbers]) => [name, numbers.slice()])),
    );
    for (const [k, place] of this.places.entries()) {
      const value = values[k] as number;
      if (place.kind === "parameter") parameters[place.index] = value;
      else if (place.kind === "argument") (args[place.trajectory]?.[place.name] as Float64Array)[place.index] = value;
      else if (place.trajectory === undefined) for (const own of y0) own[place.feature] = value;
      else (y0[place.trajectory] as Float64Array)[place.feature] = value;
    }
    return { parameters, y0, args };
  }

  /** The initial states and options of some trajectories, `[members, …]`. */
  #together({ members }: SolveBatch, { y0, args }: TrajectoryStarts) {
    const { stateSize, argumentWidths } = this.field;
    const start = new Float64Array(members.length * stateSize);
    for (const [i, member] of members.entries()) start.set(y0[member] as Float64Array, i * stateSize);
    const packedArguments = Object.entries(argumentWidths).map(([name, width]) => {
      const all = new Float64Array(members.length * width);
      for (const [i, member] of members.entries()) all.set(args[member]?.[name] as Float64Array, i * width);
      return [name, all];
    });
    const record = Object.fromEntries(packedArguments) as Record<string, Float64Array>;
    const { jumps } = this.options;
    return {
      start,
      settings: {
        ...this.options,
        ...(packedArguments.length > 0 && { arguments: record }),
        ...(jumps && { jumps: jumps.map((jump) => jumpOf(jump, members)) }),
      },
    };
  }

  /** Solves; along columns, with derivatives. */
  *#solve(values: Float64Array, columns?: JacobianColumns): Coroutine<SolvedMeasurements> {
    const layout = this.#layout;
    const at = this.#startsAt(values);
    this.field.parameters = at.parameters;
    const tangents = columns && (yield* this.#tangents(layout, at, columns));
    const solutions = tangents?.map(({ solution }) => solution) ?? (yield* this.#solutions(layout, at));
    return { ...this.#observed(layout, at, solutions), tangents };
  }

  /** The observed quantities of the solutions of all batches. */
  #observed(
    layout: Layout,
    at: TrajectoryStarts,
    solutions: readonly Solution<"float64">[],
  ): Omit<SolvedMeasurements, "tangents"> {
    const { field, observation } = this;
    const { data, batches } = layout;
    const { stateSize, argumentWidths } = field;
    const count = data.rows.length;
    const states = new Float64Array(count * stateSize);
    const args = Object.fromEntries(
      Object.entries(argumentWidths).map(([name, width]) => [name, new Float64Array(count * width)]),
    );
    this.steps = solutions.map(longestOf).reduce((most, steps) => Math.max(most, steps), 0);
    for (const [index, { y }] of solutions.entries())
      putRows(batches[index] as SolveBatchRows, stateSize, y, 0, states);
    for (const [name, width] of Object.entries(argumentWidths)) {
      const all = args[name] as Float64Array;
      for (const [row, { trajectory }] of data.rows.entries()) {
        const own = at.args[trajectory]?.[name] as Float64Array;
        for (let j = 0; j < width; j++) all[row * width + j] = own[j] as number;
      }
    }
    const points: Points = { count, states, times: Float64Array.from(data.rows, ({ t }) => t), arguments: args };
    const f = gather(observation.evaluate(points, at.parameters), layout.measured);
    return { layout, at, points, f };
  }

  /** The solution of each batch. */
  *#solutions({ batches }: Layout, at: TrajectoryStarts): Coroutine<Solution<"float64">[]> {
    const solutions: Solution<"float64">[] = [];
    for (const batch of batches) {
      const { start, settings } = this.#together(batch, at);
      const solved = this.#pool
        ? this.#pool.odeint(this.field, start, batch.times, settings)
        : odeint(this.field, start, batch.times, settings);
      solutions.push(yield* awaited<Solution<"float64">>(solved));
    }
    return solutions;
  }

  /** The solution of each batch with its derivatives. */
  *#tangents({ batches }: Layout, at: TrajectoryStarts, columns: JacobianColumns): Coroutine<SolutionJvp<"float64">[]> {
    const { field } = this;
    const solutions: SolutionJvp<"float64">[] = [];
    for (const batch of batches) {
      const { start, settings } = this.#together(batch, at);
      const tangents = tangentsOfColumns(field, start, columns);
      const solved = this.#pool
        ? this.#pool.jvp(field, start, batch.times, tangents, settings)
        : jvpFor("leastSquares", field, start, batch.times, tangents, settings);
      solutions.push(yield* awaited<SolutionJvp<"float64">>(solved));
    }
    return solutions;
  }

  /** By forward sensitivities: a column moves in all trajectories at once, and each place has its part of one. */
  #forward(
    { layout, at, points }: SolvedMeasurements,
    moved: readonly SolutionJvp<"float64">[],
    places: readonly EstimatedInput[],
    columns: JacobianColumns,
  ): Float64Array {
    const { field, observation } = this;
    const { stateSize, argumentWidths } = field;
    const jacobian = new Float64Array(layout.measured.length * places.length);
    const still = () =>
      Object.fromEntries(
        Object.entries(argumentWidths).map(([name, width]) => [name, new Float64Array(points.count * width)]),
      );
    const moving = new Map<number, number[]>();
    for (const [k, place] of places.entries()) {
      const direction = directionIndex(columns, place);
      const members = moving.get(direction);
      if (members) members.push(k);
      else moving.set(direction, [k]);
    }
    for (const [direction, members] of moving) {
      const place = places[members[0] as number] as EstimatedInput;
      const states = new Float64Array(points.count * stateSize);
      for (const [index, { tangents, shape }] of moved.entries()) {
        const from = direction * shape[1] * shape[2] * stateSize;
        putRows(layout.batches[index] as SolveBatchRows, stateSize, tangents, from, states);
      }
      const args = place.kind === "argument" ? still() : undefined;
      if (place.kind === "argument") {
        const [own, width] = [args?.[place.name] as Float64Array, argumentWidths[place.name] as number];
        for (let row = 0; row < points.count; row++) own[row * width + place.index] = 1;
      }
      const parameters = new Float64Array(at.parameters.length);
      if (place.kind === "parameter") parameters[place.index] = 1;
      const along = { states, arguments: args, ...(place.kind === "parameter" && { parameters }) };
      const column = gather(observation.tangent(points, at.parameters, along), layout.measured);
      for (const k of members) {
        // What belongs to one trajectory moves its measurements alone.
        putColumn(column, jacobian, k, places.length, layout.owners, trajectoryOf(places[k] as EstimatedInput));
      }
    }
    return jacobian;
  }

  /** Which of these places matter to each trajectory. */
  #ownersOf(places: readonly (readonly [number, EstimatedInput])[]): number[][] {
    const owners: number[][] = this.data.trajectories.map(() => []);
    for (const [k, place] of places) {
      const trajectory = trajectoryOf(place);
      for (const own of trajectory === undefined ? owners : [owners[trajectory] as number[]]) own.push(k);
    }
    return owners;
  }

  /** By the transpose, a measurement at a time. */
  #backward({ layout, at, points }: SolvedMeasurements, places: readonly EstimatedInput[]): Float64Array {
    const { field, observation } = this;
    const { data } = layout;
    const { stateSize, argumentWidths } = field;
    const width = observation.names.length;
    const jacobian = new Float64Array(data.places.length * places.length);
    const owners = this.#ownersOf([...places.entries()]);
    for (const [index, group] of data.groups.entries()) {
      const { start, settings } = this.#together(group, at);
      const recorded = vjp(field, start, group.times, { ...settings, timeGradients: false });
      try {
        for (const [i, { row, observed }] of data.places.entries()) {
          const { trajectory, group: rowGroup, member, time } = data.rows[row] as Data["rows"][number];
          if (rowGroup !== index) continue;
          const w = new Float64Array(width);
          w[observed] = 1;
          const point = pointOf(points, row, stateSize, argumentWidths);
          const direct = observation.pull(point, at.parameters, w);
          const cotangent = new Float64Array(group.times.length * group.members.length * stateSize);
          cotangent.set(direct.states, (time * group.members.length + member) * stateSize);
          const gradient = recorded.pullback(cotangent);
          for (const k of owners[trajectory] as number[]) {
            const place = places[k] as EstimatedInput;
            const numberOf = () => {
              if (place.kind === "parameter")
                return (gradient.parameters[place.index] as number) + (direct.parameters[place.index] as number);
              if (place.kind === "initial") return gradient.y0[member * stateSize + place.feature] as number;
              const size = argumentWidths[place.name] as number;
              const solved = gradient.arguments[place.name]?.[member * size + place.index] as number;
              return solved + (direct.arguments[place.name]?.[place.index] ?? 0);
            };
            jacobian[i * places.length + k] = numberOf();
          }
        }
      } finally {
        recorded.dispose();
      }
    }
    return jacobian;
  }
}

// Small functions of flat arrays: V8 compiles them early and cheaply, where within larger ones they would be most of a first fit.

/** Puts rows of a solution, from some number on, where they belong among all rows. */
function putRows(
  { rows, places }: SolveBatchRows,
  width: number,
  solution: Float64Array,
  from: number,
  all: Float64Array,
) {
  for (let i = 0; i < rows.length; i++) {
    const [to, start] = [(rows[i] as number) * width, from + (places[i] as number) * width];
    for (let j = 0; j < width; j++) all[to + j] = solution[start + j] as number;
  }
}

/** Puts a column into a matrix `[rows, width]`: all of it, or what belongs to one owner. */
function putColumn(
  column: Float64Array,
  matrix: Float64Array,
  k: number,
  width: number,
  owners: Int32Array,
  owner: number | undefined,
) {
  for (let i = 0; i < column.length; i++) {
    if (owner === undefined || owners[i] === owner) matrix[i * width + k] = column[i] as number;
  }
}

/** The trajectory that a place belongs to; undefined where it is shared by all. */
const trajectoryOf = (place: EstimatedInput) => (place.kind === "parameter" ? undefined : place.trajectory);

/** The latest predictions. */
interface LatestPrediction {
  readonly values: Float64Array;
  readonly indices: readonly number[];
  readonly predictions: Predictions;
  readonly steps: number;
}

/** Whether a prediction is the requested one: with these derivatives, or without any. */
function isLatest(latest: LatestPrediction, values: Float64Array, indices: readonly number[]): boolean {
  return (
    values.every((value, k) => value === latest.values[k]) &&
    (indices.length === 0 || indices.join() === latest.indices.join())
  );
}

/** The same jump for these trajectories. */
function jumpOf(jump: Jump, members: readonly number[]): Jump {
  const own = (lists: Lists): Lists => {
    return isLists(lists) ? members.map((member) => lists[member] as ArrayLike<number>) : lists;
  };
  const amounts = Object.entries(jump.amounts ?? {}).map(([name, lists]) => [name, own(lists)] as const);
  return { ...jump, times: own(jump.times), amounts: Object.fromEntries(amounts) };
}

/** One of the points. */
function pointOf(points: Points, row: number, states: number, widths: Readonly<Record<string, number>>): Points {
  const part = (all: Float64Array, width: number) => all.subarray(row * width, (row + 1) * width);
  const args = Object.entries(widths).map(([name, width]) => [
    name,
    part(points.arguments[name] as Float64Array, width),
  ]);
  return {
    count: 1,
    states: part(points.states, states),
    times: part(points.times, 1),
    arguments: Object.fromEntries(args),
  };
}

/** The steps of a solve, those tried in vain too; of trajectories that take their own, those of the one with the most. */
function longestOf(solution: Solution<"float64"> | IndependentSolution<"float64">): number {
  if (!("trajectories" in solution)) return solution.stats.accepted + solution.stats.rejected;
  const { accepted, rejected } = solution.trajectories;
  return accepted.reduce((most, steps, i) => Math.max(most, steps + (rejected[i] as number)), 0);
}

/** The columns along which a solve is differentiated: what belongs to single trajectories moves in all at once. */
function columnsOf(places: readonly EstimatedInput[]): JacobianColumns {
  const parameters = places.flatMap((place) => (place.kind === "parameter" ? [place.index] : []));
  const y0 = [...new Set(places.flatMap((place) => (place.kind === "initial" ? [place.feature] : [])))];
  const names = new Map<string, readonly [string, number]>();
  for (const place of places) {
    if (place.kind === "argument") names.set(`${place.name} ${place.index}`, [place.name, place.index]);
  }
  return { parameters, y0, arguments: [...names.values()] };
}

/** The index of the column that moves an input. */
function directionIndex({ parameters, y0, arguments: args }: JacobianColumns, place: EstimatedInput): number {
  if (place.kind === "parameter") return parameters.indexOf(place.index);
  if (place.kind === "initial") return parameters.length + y0.indexOf(place.feature);
  const index = args.findIndex(([name, number]) => name === place.name && number === place.index);
  return parameters.length + y0.length + index;
}
