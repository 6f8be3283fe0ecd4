// Measurements of trajectories: what was given, checked, and gathered by the times at which a solve has to stop.
import {
  checkFinite,
  checkLength,
  checkSome,
  numbersOf,
  numbersOrMissing,
  timesOf,
  weightsOf,
} from "../checks/arrays.js";
import { isArray, refused } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { anything, array, elements, finite, isObject, object, options, required, rule, text } from "../checks/rules.js";
import type { WasmProgram } from "../fields/program.js";

/** Measurements of one trajectory. */
export interface Measurements<A extends string = string, S extends string = string> {
  /** The times of the measurements, in ascending order from `t0` on. */
  readonly times: ArrayLike<number>;
  /** The measurements, `[times, observed]`; NaN where a value is missing. */
  readonly y: ArrayLike<number>;
  /**
   * The state at `t0`, in the order of `field.states`, or by their names. For a state whose initial value is estimated, it is the start;
   * NaN leaves that to the option `initial`, and may be left out where that has all of them. If `y0` is the first measurement, leave that
   * out of `y`, or estimate it.
   */
  readonly y0?: ArrayLike<number> | { readonly [State in [S] extends [never] ? string : S]?: number } | undefined;
  /** The time of `y0`; default the first of `times`. Set it if the state is known earlier, for instance a dose at time 0. */
  readonly t0?: number;
  /** The trajectory's arguments by name: a number, or an array of numbers; none if they are all `individual`. */
  readonly arguments?: { readonly [Name in A]?: number | ArrayLike<number> | undefined } | undefined;
  /**
   * How much measurements count, `[times]` or `[times, observed]`; finite and zero or more, default 1. Variance = s²/weight, so use
   * 1/σ². Weight 0 leaves a measurement out.
   */
  readonly weights?: ArrayLike<number> | undefined;
  /** The name of the trajectory in results, such as that of a patient; default its number, from 1. */
  readonly name?: string | undefined;
}

/** One trajectory, checked. */
interface Trajectory {
  readonly name: string;
  /** Whether the time of y0 was given; it is the first time otherwise. */
  readonly isTimed: boolean;
  readonly y0: Float64Array;
  readonly arguments: Readonly<Record<string, Float64Array>>;
}

/** Trajectories that begin at the same time, and are solved together. */
interface Group {
  /** t0, and all times at which any of them was measured. */
  readonly times: Float64Array;
  /** Indices of its trajectories. */
  readonly members: readonly number[];
}

/** A time at which a trajectory was measured. */
interface DataRow {
  readonly trajectory: number;
  readonly t: number;
  /** Its group, its place in that, and that of its time. */
  readonly group: number;
  readonly member: number;
  readonly time: number;
}

/** All measurements. */
export interface Data {
  readonly trajectories: readonly Trajectory[];
  readonly groups: readonly Group[];
  readonly rows: readonly DataRow[];
  /** Each measurement: the row that it belongs to, and which of the observed numbers it is. */
  readonly places: readonly { readonly row: number; readonly observed: number }[];
  /** The measurements. */
  readonly y: Float64Array;
  /** The weights of the measurements; undefined if all are 1. */
  readonly weights: Float64Array | undefined;
}

const rules = {
  times: required(rule<ArrayLike<number>>("the times of the measurements", () => true)),
  y: required(rule<ArrayLike<number>>("the measurements, [times, observed]", () => true)),
  y0: anything<unknown>(),
  t0: finite,
  arguments: anything<unknown>(),
  weights: anything<unknown>(),
  name: text,
};

const trajectoryRule = { ...object, expected: "measurements { times, y, y0 } of a trajectory" };
export const dataRule = { ...object, expected: `${trajectoryRule.expected}, or an array of them` };

/** Reads measurements of one trajectory or of several. `free` are the arguments that are estimated. */
export function readData(
  given: unknown,
  field: WasmProgram<"float64">,
  observed: readonly string[],
  free: readonly string[],
): Data {
  const several = isArray(given);
  const list = several ? elements("data", given, array(dataRule.expected, 1), trajectoryRule) : [given];
  const [trajectories, y, weights]: [Trajectory[], number[], number[]] = [[], [], []];
  const found: { trajectory: number; t: number; values: [observed: number, y: number, weight: number][] }[] = [];
  const starts: number[] = [];
  const names = new Set<string>();
  const width = observed.length;
  for (const [index, one] of list.entries()) {
    const where = several ? `data[${index}].` : "data.";
    const read = options(one, rules, where);
    const times = timesOf(read.times, `${where}times`);
    checkSome(`${where}times`, times, "time");
    checkFinite(`${where}times`, times, "NON_FINITE", "finite times");
    const t0 = read.t0 ?? (times[0] as number);
    for (const [i, t] of times.entries()) {
      const least = i === 0 ? t0 : (times[i - 1] as number);
      if (t >= least) continue;
      const given = `${t} at index ${i}`;
      if (i === 0) throw refused("OPTION", `${where}times`, `times no earlier than t0, ${t0}`, given);
      throw refused("OPTION", `${where}times`, "times in ascending order", `${least} followed by ${given}`);
    }
    const shape = `[${times.length}, ${width}], of ${observed.join(", ")} at each time`;
    const values = numbersOrMissing(`${where}y`, read.y, "float64");
    checkLength(`${where}y`, values, times.length * width, shape);
    const givenWeights = read.weights === undefined ? undefined : weightsOf(`${where}weights`, read.weights).weights;
    if (givenWeights && givenWeights.length !== times.length && givenWeights.length !== values.length) {
      throw refused("SHAPE", `${where}weights`, `[${times.length}] or ${shape} numbers`, String(givenWeights.length));
    }
    for (const [i, t] of times.entries()) {
      const at: [number, number, number][] = [];
      for (let o = 0; o < width; o++) {
        const value = values[i * width + o] as number;
        const weight = givenWeights
          ? (givenWeights[givenWeights.length === times.length ? i : i * width + o] as number)
          : 1;
        if (!Number.isNaN(value) && weight > 0) at.push([o, value, weight]);
      }
      if (at.length > 0) found.push({ trajectory: index, t, values: at });
    }
    starts.push(t0);
    const name = read.name ?? String(index + 1);
    if (names.has(name)) {
      throw refused("OPTION", `${where}name`, "a name that no other trajectory has", name);
    }
    names.add(name);
    trajectories.push({
      name,
      isTimed: read.t0 !== undefined,
      y0: startOf(`${where}y0`, read.y0, field),
      arguments: argumentsOf(`${where}arguments`, read.arguments, field.argumentWidths, free),
    });
  }
  if (found.length === 0) throw refused("OPTION", "data", "at least one measurement", "only missing values");
  const { groups, groupOf, memberOf } = groupsOf(starts, found);
  const timeOf = groups.map(({ times }) => new Map(Array.from(times, (t, index) => [t, index])));
  const places: { row: number; observed: number }[] = [];
  const rows = found.map(({ trajectory, t, values }, row) => {
    const group = groupOf[trajectory] as number;
    for (const [o, value, weight] of values) {
      places.push({ row, observed: o });
      y.push(value);
      weights.push(weight);
    }
    const time = timeOf[group]?.get(t) as number;
    return { trajectory, t, group, member: memberOf[trajectory] as number, time };
  });
  const weighted = weights.some((weight) => weight !== 1);
  return {
    trajectories,
    groups,
    rows,
    places,
    y: Float64Array.from(y),
    weights: weighted ? Float64Array.from(weights) : undefined,
  };
}

/** The trajectories that begin at the same time, with all of their times; and of each, its group and its place there. */
function groupsOf(starts: readonly number[], measured: readonly { readonly trajectory: number; readonly t: number }[]) {
  const members = new Map<number, number[]>();
  for (const [trajectory, t0] of starts.entries()) {
    const others = members.get(t0);
    if (others) others.push(trajectory);
    else members.set(t0, [trajectory]);
  }
  const [groupOf, memberOf] = [new Array<number>(starts.length), new Array<number>(starts.length)];
  const times = [...members].map(([t0, own], group) => {
    for (const [member, trajectory] of own.entries()) [groupOf[trajectory], memberOf[trajectory]] = [group, member];
    return new Set([t0]);
  });
  for (const { trajectory, t } of measured) times[groupOf[trajectory] as number]?.add(t);
  const groups: Group[] = [...members.values()].map((own, group) => {
    return { members: own, times: Float64Array.from(times[group] as Set<number>).sort() };
  });
  return { groups, groupOf, memberOf };
}

/**
 * The same with each trajectory by itself, up to its own last measurement: where one of them cannot be solved as far as another was
 * measured.
 */
export function splitByTrajectory(data: Data): Data {
  const times = data.trajectories.map(() => new Map<number, number>());
  for (const { members, times: all } of data.groups) for (const i of members) times[i]?.set(all[0] as number, 0);
  const rows = data.rows.map((row) => {
    const own = times[row.trajectory] as Map<number, number>;
    const time = own.get(row.t) ?? own.size;
    own.set(row.t, time);
    return { ...row, group: row.trajectory, member: 0, time };
  });
  const groups = times.map((own, index) => ({ members: [index], times: Float64Array.from(own.keys()) }));
  return { ...data, groups, rows };
}

/** The initial state, of which some may be left to be estimated. */
function startOf(where: string, given: unknown, { states, stateSize }: WasmProgram<"float64">): Float64Array {
  if (given === undefined) return new Float64Array(stateSize).fill(Number.NaN);
  const byName = isObject(given) && !isArray(given) && !ArrayBuffer.isView(given);
  if (!byName) {
    const list = numbersOrMissing(where, given, "float64");
    if (list.length === stateSize) return list;
    const names = states.length > 0 ? `, of ${states.join(", ")}` : "";
    throw refused("SHAPE", where, `${stateSize} numbers${names}`, String(list.length));
  }
  const record = given as Record<string, unknown>;
  for (const name of Object.keys(record)) {
    if (!states.includes(name)) throw unknownName(`${where}.`, name, states, "state");
  }
  const values = states.map((name) => (Object.hasOwn(record, name) ? record[name] : undefined));
  return numbersOrMissing(where, values, "float64");
}

/** A trajectory's arguments; those that are estimated may be left out. */
function argumentsOf(
  where: string,
  given: unknown,
  widths: Readonly<Record<string, number>>,
  free: readonly string[],
): Record<string, Float64Array> {
  const record = (isObject(given) ? given : {}) as Record<string, unknown>;
  for (const name of Object.keys(record)) {
    if (!Object.hasOwn(widths, name)) {
      throw unknownName(`${where}.`, name, Object.keys(widths), "argument");
    }
  }
  const read = Object.entries(widths).map(([name, width]): [string, Float64Array] => {
    const value = Object.hasOwn(record, name) ? record[name] : undefined;
    if (value === undefined && free.includes(name)) return [name, new Float64Array(width).fill(Number.NaN)];
    const list = typeof value === "number" ? [value] : value;
    if (list === undefined)
      throw refused("OPTION", `${where}.${name}`, `${width === 1 ? "a number" : `${width} numbers`}`, "undefined");
    const numbers = numbersOf(`${where}.${name}`, list);
    checkLength(`${where}.${name}`, numbers, width);
    return [name, numbers];
  });
  return Object.fromEntries(read);
}
