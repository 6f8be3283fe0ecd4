// Predictions of measurements by solves, and their derivatives with respect to what is estimated.
import { isFailedSolve, type SymplecticAdjointError } from "../checks/errors.js";
import type { WasmProgram } from "../fields/program.js";
import { isLists, type Jump, type Lists } from "../solve/changes.js";
import { vjp } from "../solve/gradient.js";
import { isIndependent } from "../solve/independent.js";
import { odeint } from "../solve/odeint.js";
import type { SolveOptions } from "../solve/options.js";
import { type Columns, jvpOfColumns, type SolutionJvp } from "../solve/sensitivity.js";
import { type EnsembleStarts, Ensembles } from "./ensembles.js";
import type { Observation, Points } from "./observe.js";
import { type Data, type Group, separated } from "./trajectories.js";

/** What an estimated number is in the model. */
export type Place =
  | { readonly kind: "parameter"; readonly index: number }
  /** The initial value of a state; of one trajectory, or of all. */
  | { readonly kind: "initial"; readonly feature: number; readonly trajectory: number | undefined }
  /** A number of an argument of one trajectory. */
  | { readonly kind: "argument"; readonly name: string; readonly index: number; readonly trajectory: number };

/** Predictions at some values. */
export interface Predictions {
  /** Of the measurements, in their order. */
  readonly f: Float64Array;
  /** ∂f/∂values for those with the indices asked for, `[measurements, indices]`; undefined where it cannot be computed. */
  slopes(): Float64Array | undefined;
}

/** What all trajectories start from. */
interface Starts {
  readonly parameters: Float64Array;
  /** Of each trajectory. */
  readonly y0: readonly Float64Array[];
  readonly args: readonly Readonly<Record<string, Float64Array>>[];
}

/** Solves of all groups, with what is observed of them. */
interface Solved {
  readonly at: Starts;
  readonly points: Points;
  readonly f: Float64Array;
  /** Of each group, its derivatives along the columns, if they were computed at once. */
  readonly tangents: readonly SolutionJvp<"float64">[] | undefined;
}

/** Predicts measurements, for values that belong to these places. */
export class Predictor {
  /** Why the last prediction failed. */
  failure: SymplecticAdjointError | undefined;
  /**
   * Whether the slopes of the last prediction were asked for, and so those of the next are likely to be. Together they cost little more
   * than slopes alone, as those solve too.
   */
  #slopesExpected = true;
  /** Whether each trajectory is solved by itself. */
  readonly #apart: boolean;
  /** All of them as one, if they are. */
  readonly #ensembles: Ensembles | undefined;
  private data: Data;

  constructor(
    readonly field: WasmProgram<"float64">,
    data: Data,
    readonly observation: Observation,
    readonly places: readonly Place[],
    readonly options: SolveOptions,
    /** The field with its parameters as arguments, if that can be. */
    lift: () => WasmProgram<"float64"> | undefined,
  ) {
    this.#apart = isIndependent(options, data.groups[0]?.times);
    const several = data.groups.some(({ members }) => members.length > 1);
    this.data = this.#apart && several ? separated(data) : data;
    this.#ensembles = this.#apart ? this.#ensemblesOf(lift()) : undefined;
  }

  #ensemblesOf(lift: WasmProgram<"float64"> | undefined): Ensembles | undefined {
    const { groups } = this.data;
    const members = groups.flatMap((group) => group.members);
    const { jumps } = this.options;
    const settings = { ...this.options, ...(jumps && { jumps: jumps.map((jump) => jumpOf(jump, members)) }) };
    const times = groups.map((group) => group.times);
    return lift && Ensembles.of(this.field, lift, times, settings);
  }

  /** Undefined where a solve fails. The slopes are those by the values with these indices. */
  predict(values: Float64Array, indices: readonly number[] = []): Predictions | undefined {
    const places = indices.map((k) => this.places[k] as Place);
    const columns = columnsOf(places);
    const forward = columns.parameters.length + columns.y0.length + columns.arguments.length;
    // A pass along a column costs about two solves, the transpose for a measurement about four. Trajectories with jumps, events or steps
    // of their own, and leapfrog, have the transpose only.
    const reverse = this.#apart || this.options.method === "leapfrog" || forward > 2 * this.data.places.length;
    const together = this.#slopesExpected && forward > 0 && !reverse;
    this.#slopesExpected = false;
    // Where derivatives fail, the solution may be there all the same.
    const attempt = () =>
      (together ? this.#tried(() => this.#solve(values, columns)) : undefined) ??
      this.#tried(() => this.#solve(values));
    let solved = attempt();
    if (!solved && this.data.groups.some(({ members }) => members.length > 1)) {
      // Perhaps one cannot be solved as far as another was measured.
      this.data = separated(this.data);
      solved = attempt();
    }
    if (!solved) return undefined;
    const slopes = () => {
      this.#slopesExpected = true;
      if (forward === 0) return new Float64Array();
      this.field.parameters = solved.at.parameters;
      return this.#tried(() => {
        if (this.#ensembles) return this.#transposed(solved, places, this.#ensembles);
        return reverse ? this.#reverse(solved, places) : this.#forward(solved, places, columns);
      });
    };
    return { f: solved.f, slopes };
  }

  #tried<R>(body: () => R): R | undefined {
    try {
      return body();
    } catch (error) {
      if (!isFailedSolve(error)) throw error;
      this.failure = error;
      return undefined;
    }
  }

  /** What each trajectory starts from, at some values. */
  #startsAt(values: Float64Array): Starts {
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

  /** A group's initial states and arguments, `[members, …]`. */
  #together({ members }: Group, { y0, args }: Starts) {
    const { stateSize, argumentWidths } = this.field;
    const start = new Float64Array(members.length * stateSize);
    for (const [i, member] of members.entries()) start.set(y0[member] as Float64Array, i * stateSize);
    const own = Object.entries(argumentWidths).map(([name, width]) => {
      const all = new Float64Array(members.length * width);
      for (const [i, member] of members.entries()) all.set(args[member]?.[name] as Float64Array, i * width);
      return [name, all];
    });
    const record = Object.fromEntries(own) as Record<string, Float64Array>;
    const { jumps } = this.options;
    return {
      start,
      settings: {
        ...this.options,
        ...(own.length > 0 && { arguments: record }),
        ...(jumps && { jumps: jumps.map((jump) => jumpOf(jump, members)) }),
      },
    };
  }

  /** Solves; along columns, with derivatives. */
  #solve(values: Float64Array, columns?: Columns): Solved {
    const { field, data, observation } = this;
    const at = this.#startsAt(values);
    field.parameters = at.parameters;
    const { stateSize, argumentWidths } = field;
    const count = data.rows.length;
    const states = new Float64Array(count * stateSize);
    const args = Object.fromEntries(
      Object.entries(argumentWidths).map(([name, width]) => [name, new Float64Array(count * width)]),
    );
    const tangents = columns && this.#tangents(at, columns);
    const ensembles = this.#ensembles;
    const all = ensembles?.solve(this.#ensembleStarts(at));
    const solutions = data.groups.map((group, index) => {
      if (ensembles && all) return all.subarray(ensembles.place(index, 0) * stateSize);
      if (tangents) return (tangents[index] as SolutionJvp<"float64">).solution.y;
      const { start, settings } = this.#together(group, at);
      return odeint(field, start, group.times, settings).y;
    });
    for (const [row, { trajectory, group, member, time }] of data.rows.entries()) {
      const members = (data.groups[group] as Group).members.length;
      const from = (time * members + member) * stateSize;
      const solution = solutions[group] as Float64Array;
      for (let i = 0; i < stateSize; i++) states[row * stateSize + i] = solution[from + i] as number;
      for (const [name, width] of Object.entries(argumentWidths)) {
        (args[name] as Float64Array).set(at.args[trajectory]?.[name] as Float64Array, row * width);
      }
    }
    const points: Points = { count, states, times: Float64Array.from(data.rows, ({ t }) => t), arguments: args };
    return { at, points, f: this.#gathered(observation.evaluate(points, at.parameters)), tangents };
  }

  /** The solution of each group with its derivatives. */
  #tangents(at: Starts, columns: Columns): SolutionJvp<"float64">[] {
    return this.data.groups.map((group) => {
      const { start, settings } = this.#together(group, at);
      return jvpOfColumns(this.field, start, group.times, columns, settings);
    });
  }

  /** The measured ones of `[rows, observed]`. */
  #gathered(all: Float64Array): Float64Array {
    const width = this.observation.names.length;
    return Float64Array.from(this.data.places, ({ row, observed }) => all[row * width + observed] as number);
  }

  /** By forward sensitivities. */
  #forward({ at, points, tangents }: Solved, places: readonly Place[], columns: Columns): Float64Array {
    const { field, data, observation } = this;
    const { stateSize, argumentWidths } = field;
    const moved = tangents ?? this.#tangents(at, columns);
    const jacobian = new Float64Array(data.places.length * places.length);
    const still = () =>
      Object.fromEntries(
        Object.entries(argumentWidths).map(([name, width]) => [name, new Float64Array(points.count * width)]),
      );
    for (const [k, place] of places.entries()) {
      const direction = directionOf(columns, place);
      const states = new Float64Array(points.count * stateSize);
      const args = place.kind === "argument" ? still() : undefined;
      for (const [row, { trajectory, group, member, time }] of data.rows.entries()) {
        if (!belongs(place, trajectory)) continue;
        const { tangents, shape } = moved[group] as (typeof moved)[number];
        const [, times, members] = shape;
        const from = ((direction * times + time) * members + member) * stateSize;
        for (let i = 0; i < stateSize; i++) states[row * stateSize + i] = tangents[from + i] as number;
        if (place.kind === "argument") {
          const width = argumentWidths[place.name] as number;
          (args?.[place.name] as Float64Array)[row * width + place.index] = 1;
        }
      }
      const parameters = new Float64Array(at.parameters.length);
      if (place.kind === "parameter") parameters[place.index] = 1;
      const along = { states, arguments: args, ...(place.kind === "parameter" && { parameters }) };
      const column = this.#gathered(observation.tangent(points, at.parameters, along));
      for (const [i, slope] of column.entries()) jacobian[i * places.length + k] = slope;
    }
    return jacobian;
  }

  /** What the trajectories of the ensemble start from. */
  #ensembleStarts({ parameters, y0, args }: Starts): EnsembleStarts {
    const members = this.data.groups.map((group) => group.members[0] as number);
    const names = Object.keys(this.field.argumentWidths);
    return {
      parameters,
      y0: members.map((member) => y0[member] as Float64Array),
      args: members.map((member) => Float64Array.from(names.flatMap((name) => [...(args[member]?.[name] ?? [])]))),
    };
  }

  /** By the transpose, a measurement of each trajectory at a time: their derivatives are apart, as no parameter is shared. */
  #transposed(solved: Solved, places: readonly Place[], ensembles: Ensembles): Float64Array {
    const { field, data, observation } = this;
    const { at, points } = solved;
    const { stateSize, argumentSize, argumentWidths } = field;
    const observed = observation.names.length;
    const jacobian = this.#direct(solved, places);
    const offsets = offsetsOf(argumentWidths);
    const width = argumentSize + at.parameters.length;
    const columns = places.map((place) => {
      if (place.kind === "initial") return place.feature;
      return place.kind === "parameter" ? argumentSize + place.index : (offsets[place.name] as number) + place.index;
    });
    const indices = new Map(data.places.map((place, i) => [place.row * observed + place.observed, i]));
    const rounds = roundsOf(data);
    ensembles.withPullback(this.#ensembleStarts(at), (pull) => {
      for (let o = 0; o < observed; o++) {
        const w = new Float64Array(points.count * observed);
        for (let row = 0; row < points.count; row++) if (indices.has(row * observed + o)) w[row * observed + o] = 1;
        const { states } = observation.pull(points, at.parameters, w);
        for (const round of rounds) {
          const rows = round.filter((row) => indices.has(row * observed + o));
          if (rows.length === 0) continue;
          const cotangent = new Float64Array(ensembles.outputs * stateSize);
          for (const row of rows) {
            const { group, time } = data.rows[row] as Data["rows"][number];
            const own = states.subarray(row * stateSize, (row + 1) * stateSize);
            cotangent.set(own, ensembles.place(group, time) * stateSize);
          }
          const slopes = pull(cotangent);
          for (const row of rows) {
            const { group, trajectory } = data.rows[row] as Data["rows"][number];
            const first = (indices.get(row * observed + o) as number) * places.length;
            for (const [k, place] of places.entries()) {
              if (!belongs(place, trajectory)) continue;
              const [from, size] = place.kind === "initial" ? [slopes.y0, stateSize] : [slopes.arguments, width];
              jacobian[first + k] =
                (jacobian[first + k] as number) + (from[group * size + (columns[k] as number)] as number);
            }
          }
        }
      }
    });
    return jacobian;
  }

  /** What observed functions depend on parameters and arguments themselves. */
  #direct({ at, points }: Solved, places: readonly Place[]): Float64Array {
    const { field, data, observation } = this;
    const jacobian = new Float64Array(data.places.length * places.length);
    const states = new Float64Array(points.count * field.stateSize);
    // Arguments of the same name move in all trajectories at once.
    const known = new Map<string, Float64Array>();
    for (const [k, place] of places.entries()) {
      if (place.kind === "initial") continue;
      const key = `${place.kind === "argument" ? place.name : ""} ${place.index}`;
      let column = known.get(key);
      if (!column) {
        const parameters = new Float64Array(at.parameters.length);
        const moved = Object.fromEntries(
          Object.entries(field.argumentWidths).map(([name, width]) => [name, new Float64Array(points.count * width)]),
        );
        if (place.kind === "parameter") parameters[place.index] = 1;
        else {
          const own = moved[place.name] as Float64Array;
          const width = own.length / points.count;
          for (let row = 0; row < points.count; row++) own[row * width + place.index] = 1;
        }
        const along = { states, arguments: moved, parameters };
        column = this.#gathered(observation.tangent(points, at.parameters, along));
        known.set(key, column);
      }
      for (const [i, { row }] of data.places.entries()) {
        if (!belongs(place, data.rows[row]?.trajectory as number)) continue;
        jacobian[i * places.length + k] = column[i] as number;
      }
    }
    return jacobian;
  }

  /** By the transpose, a measurement at a time. */
  #reverse({ at, points }: Solved, places: readonly Place[]): Float64Array {
    const { field, data, observation } = this;
    const { stateSize, argumentWidths } = field;
    const width = observation.names.length;
    const jacobian = new Float64Array(data.places.length * places.length);
    for (const [index, group] of data.groups.entries()) {
      const { start, settings } = this.#together(group, at);
      const recorded = vjp(field, start, group.times, { ...settings, timeGradients: false });
      try {
        for (const [i, { row, observed }] of data.places.entries()) {
          const { trajectory, group: own, member, time } = data.rows[row] as Data["rows"][number];
          if (own !== index) continue;
          const w = new Float64Array(width);
          w[observed] = 1;
          const point = pointOf(points, row, stateSize, argumentWidths);
          const direct = observation.pull(point, at.parameters, w);
          const cotangent = new Float64Array(group.times.length * group.members.length * stateSize);
          cotangent.set(direct.states, (time * group.members.length + member) * stateSize);
          const gradient = recorded.pullback(cotangent);
          for (const [k, place] of places.entries()) {
            if (!belongs(place, trajectory)) continue;
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

/** Whether what is estimated matters to a trajectory. */
const belongs = (place: Place, trajectory: number) =>
  place.kind === "parameter" || place.trajectory === undefined || place.trajectory === trajectory;

/** Where each argument begins among all. */
function offsetsOf(widths: Readonly<Record<string, number>>): Record<string, number> {
  let before = 0;
  const offsets = Object.entries(widths).map(([name, width]) => {
    before += width;
    return [name, before - width] as const;
  });
  return Object.fromEntries(offsets);
}

/** The first rows of all trajectories, the second ones, and so on. */
function roundsOf({ rows, groups }: Data): number[][] {
  const rounds: number[][] = [];
  const counts = new Uint32Array(groups.length);
  for (const [row, { group }] of rows.entries()) {
    const round = counts[group] as number;
    rounds[round] ??= [];
    rounds[round].push(row);
    counts[group] = round + 1;
  }
  return rounds;
}

/** The same jump, of these trajectories. */
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

/** The columns along which a solve is differentiated: what belongs to single trajectories moves in all at once. */
function columnsOf(places: readonly Place[]): Columns {
  const parameters = places.flatMap((place) => (place.kind === "parameter" ? [place.index] : []));
  const y0 = [...new Set(places.flatMap((place) => (place.kind === "initial" ? [place.feature] : [])))];
  const names = new Map<string, readonly [string, number]>();
  for (const place of places) {
    if (place.kind === "argument") names.set(`${place.name} ${place.index}`, [place.name, place.index]);
  }
  return { parameters, y0, arguments: [...names.values()] };
}

/** Which of the columns a place is moved by. */
function directionOf({ parameters, y0, arguments: args }: Columns, place: Place): number {
  if (place.kind === "parameter") return parameters.indexOf(place.index);
  if (place.kind === "initial") return parameters.length + y0.indexOf(place.feature);
  const index = args.findIndex(([name, number]) => name === place.name && number === place.index);
  return parameters.length + y0.length + index;
}
