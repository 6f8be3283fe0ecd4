// Trajectories as batches: windows of them, shuffled, with irregular times, missing values and jumps.
import { DATA_ALIASES, TRAJECTORY_ALTERNATIVES } from "../checks/aliases.js";
import {
  type ArrayOf,
  type Dtype,
  dtypeRule,
  numbersOf,
  numbersOrMissing,
  weightsOf,
  zeros,
} from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import {
  argument,
  array,
  checkNames,
  count,
  elements,
  fallback,
  flag,
  natural,
  number,
  object,
  oneOf,
  options as readOptions,
  record,
  required,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { type Jump, type ReadJump, readJump } from "../solve/changes.js";
import { shuffle, uniforms } from "../trace/random.js";
import type { Batch } from "./batch.js";

/** One observed trajectory. */
export interface ObservedTrajectory {
  /** The times of the observations: two or more, ascending, or all trajectories descending. */
  times: ArrayLike<number>;
  /** The observations, `[times, state]`, row-major; NaN, null or undefined for missing ones. */
  values: ArrayLike<number | null | undefined>;
  /**
   * How much each observation counts, `[times]` or `[times, state]`: finite numbers, zero or more, such as 1 / sigma²; default 1. They
   * become the `mask` of batches.
   */
  weights?: ArrayLike<number> | undefined;
  /**
   * The arguments of this trajectory, for a field with arguments: for each name a number, or a vector. All trajectories have the
   * same names.
   */
  arguments?: Readonly<Record<string, number | ArrayLike<number>>> | undefined;
  /**
   * The state at the first time, before jumps; default the values there, which then have to be complete. With it, the whole state need be
   * known only there: `values` at the first time are compared with the solution like the rest.
   */
  y0?: ArrayLike<number> | undefined;
}

/** How trajectories become batches. */
export interface MinibatchOptions<D extends Dtype = "float32"> {
  /** The observed trajectories, with the same number of features, and all ascending or all descending in time. */
  trajectories: readonly ObservedTrajectory[];
  /**
   * Whether each trajectory of a batch has its own times and steps (`independent`), or all are solved over the times at which any of them
   * was observed, in shared steps (`together`, the default unless there are `jumps`).
   */
  batching?: "together" | "independent" | undefined;
  /**
   * Changes of the state at known times, such as doses, as in `odeint`: lists of times and amounts for all trajectories, or one for
   * each of `trajectories`. A batch gets those of its windows. Times are those of the trajectories, even if windows are `relative`.
   */
  jumps?: readonly Jump[] | undefined;
  /** The number of windows in a batch; default all of those that can be solved together. */
  batch?: number | undefined;
  /** Observations in a window, its first one included; default whole trajectories. A shorter trajectory is one window. */
  window?: number | undefined;
  /** The number of observations between the starts of windows; default 1. */
  stride?: number | undefined;
  /**
   * Whether times count from the start of each window, so that windows with different starts can share a batch, as `independent` ones
   * always can. For fields that do not depend on time; default false.
   */
  relative?: boolean | undefined;
  /** Whether the order is shuffled in each epoch; default true. */
  shuffle?: boolean | undefined;
  /** The seed for the order of batches, an integer, zero or more; default 0. */
  seed?: number | undefined;
  /** The number type of the batches; default `float32`. */
  dtype?: D | undefined;
}

/** Where in the data a training stands. */
export interface MinibatchState {
  /** The number of the epoch, from 0. */
  readonly epoch: number;
  /** The number of batches of this epoch that have been used. */
  readonly position: number;
}

/**
 * Batches, shuffled anew in each epoch: data for `train` and `fit`, which take as many epochs as their steps need, or for validation.
 * `for (const batch of data)` and `[...data]` are one epoch, or what `state` leaves of one that was begun; the next iteration is the next
 * epoch.
 */
export interface Minibatches<D extends Dtype = Dtype> extends Iterable<Batch<D>> {
  /** The number of batches in an epoch. */
  readonly length: number;
  /**
   * The epoch, and how many of its batches were used. Each batch that you or a training take moves it; set it to continue from there. All
   * iterators share it, and end with their epoch.
   */
  state: MinibatchState;
  /** The batches of one epoch, by default the first, without moving `state`. */
  epoch(epoch?: number): Batch<D>[];
}

/** A window: which trajectory, from which observation. */
interface ObservationWindow {
  readonly trajectory: number;
  readonly start: number;
}

const rules = {
  trajectories: required(array<ObservedTrajectory>("an array of { times, values }", 1)),
  batching: oneOf(["together", "independent"]),
  jumps: array<Jump>("an array of jumps"),
  batch: count,
  window: number("an integer, 2 or more", (value) => value >= 2 && count.valid(value)),
  stride: fallback(count, 1),
  relative: fallback(flag, false),
  shuffle: fallback(flag, true),
  seed: fallback(natural, 0),
  dtype: fallback(dtypeRule, "float32"),
};
const stateRules = { epoch: required(natural) };
const upTo = (most: number) =>
  number(`an integer from 0 to ${most}`, (value) => Number.isInteger(value) && value >= 0 && value <= most);

/**
 * Makes trajectories into batches of windows. A window begins where all of the state was observed, and takes the jumps that follow:
 * an observation at the time of a jump is the state after it, except the first one of a trajectory, which is the state before.
 *
 * With `batching: "independent"` a batch has a list of times for each window. Otherwise its windows start at the same time and are solved
 * over all times at which any of them was observed; those at which a window was not are masked.
 *
 * @throws `OPTION`, `SHAPE`, `DTYPE` and `NON_FINITE` for invalid options.
 */
export function minibatches<D extends Dtype = "float32">(options: MinibatchOptions<D>): Minibatches<D> {
  const read = readOptions(options, rules);
  const { trajectories, window, stride, relative, seed } = read;
  const jumps = elements("jumps", read.jumps ?? [], array<object>("an array of objects"), object).map((given, index) =>
    readJump(`jumps[${index}].`, given, trajectories.length),
  );
  if (read.batching === "together" && jumps.length > 0) {
    throw refused("OPTION", "batching", "independent, for jumps", "together");
  }
  const isIndependent = jumps.length > 0 || read.batching === "independent";
  const batch = read.batch ?? Number.MAX_SAFE_INTEGER;
  const dtype = read.dtype as D;
  const observed: CheckedTrajectory[] = [];
  for (const [index, trajectory] of trajectories.entries()) {
    observed.push(readTrajectory(trajectory, `trajectories[${index}]`, relative, dtype));
  }
  const [{ state, sign }] = observed as [CheckedTrajectory];
  for (const [index, one] of observed.entries()) {
    const where = `trajectories[${index}]`;
    if (one.state !== state)
      throw refused("SHAPE", `${where}.values`, `a state of ${state} numbers, as the first`, `${one.state}`);
    if (one.sign !== sign) throw refused("OPTION", `${where}.times`, "the direction of the first", "the other");
    checkAlike(`${where}.arguments`, one.arguments, observed[0] as CheckedTrajectory);
  }
  const changes = jumps.map((jump, index) => jumpsByTrajectory(`jumps[${index}].times`, jump, observed));
  // A first state that is given, or has a jump, need not count itself.
  const counts = (member: ObservationWindow) =>
    member.start > 0 || !windowData(observed, changes, member, window, relative).values.every(Number.isNaN);
  const starts = windowsOf(observed, window, stride, relative)
    .map((group) => group.filter(counts))
    .filter((group) => group.length > 0);
  // Those that share neither times nor steps need no common start.
  const windows = isIndependent ? (starts.length > 0 ? [starts.flat()] : []) : starts;
  const length = windows.reduce((sum, group) => sum + Math.ceil(group.length / batch), 0);
  if (length === 0) {
    const expected = "a window that begins where all of the state is known, with something to compare";
    throw refused("OPTION", "trajectories", expected, "none");
  }
  /** The windows of each batch of an epoch. */
  const order = (epoch: number): ObservationWindow[][] => {
    const uniform = uniforms(seed + epoch * 0x9e3779b9);
    const batches = windows.flatMap((group) => {
      const drawn = read.shuffle ? shuffle([...group], uniform) : group;
      const count = Math.ceil(drawn.length / batch);
      return Array.from({ length: count }, (_, i) => drawn.slice(i * batch, (i + 1) * batch));
    });
    return read.shuffle ? shuffle(batches, uniform) : batches;
  };
  const made = (members: ObservationWindow[]): Batch<D> => {
    const views = members.map((member) => windowData(observed, changes, member, window, relative));
    return isIndependent ? independentBatch(views, jumps, dtype) : sharedTimesBatch(views, sign, dtype);
  };
  let at: MinibatchState = frozen({ epoch: 0, position: 0 });
  return Object.preventExtensions({
    get length() {
      return length;
    },
    get state() {
      return at;
    },
    set state(given) {
      const { epoch, position } = readOptions(given, { ...stateRules, position: required(upTo(length)) }, "state.");
      at = frozen({ epoch, position });
    },
    epoch: (epoch = 0) => order(argument("epoch", epoch, required(natural))).map(made),
    *[Symbol.iterator]() {
      if (at.position === length) at = frozen({ epoch: at.epoch + 1, position: 0 });
      const { epoch } = at;
      const batches = order(epoch);
      while (at.epoch === epoch && at.position < length) {
        const members = batches[at.position] as ObservationWindow[];
        at = frozen({ epoch, position: at.position + 1 });
        yield made(members);
      }
    },
  });
}

/** A trajectory, checked and copied. */
interface CheckedTrajectory {
  readonly times: Float64Array;
  readonly values: Float64Array;
  readonly state: number;
  /** 1 where times ascend. */
  readonly sign: number;
  readonly arguments: Readonly<Record<string, Float64Array>>;
  /** The first state, where it is given. */
  readonly y0: Float64Array | undefined;
  /** One for each value, where they are given. */
  readonly weights: Float64Array | undefined;
}

const trajectoryNames = ["times", "values", "weights", "arguments", "y0"];

function readTrajectory(
  trajectory: ObservedTrajectory,
  where: string,
  relative: boolean,
  dtype: Dtype,
): CheckedTrajectory {
  argument(where, trajectory, required({ ...object, expected: "{ times, values }" }));
  checkNames(`${where}.`, trajectory, trajectoryNames, DATA_ALIASES, TRAJECTORY_ALTERNATIVES);
  const times = numbersOf(`${where}.times`, trajectory.times, "DTYPE");
  if (times.length < 2) throw refused("SHAPE", `${where}.times`, "at least two times", String(times.length));
  const [first, second] = times as unknown as [number, number];
  const sign = Math.sign(second - first);
  const origin = relative ? first : 0;
  for (const [i, time] of times.entries()) {
    const before = times[i - 1];
    // Those that are not the same may be so, by rounding, where they count from another one.
    if (before === undefined || sign * (time - origin - (before - origin)) > 0) continue;
    const expected = "strictly ascending or descending times";
    throw refused("OPTION", `${where}.times`, expected, `${before}, ${time} at index ${i}`);
  }
  const span = (times.at(-1) as number) - first;
  if (!Number.isFinite(span)) throw refused("OPTION", `${where}.times`, "times less than 1.8e308 apart", String(span));
  const values = numbersOrMissing(`${where}.values`, trajectory.values, dtype);
  const state = values.length / times.length;
  if (!Number.isInteger(state) || state === 0) {
    throw refused("SHAPE", `${where}.values`, `a multiple of the ${times.length} times`, `${values.length} numbers`);
  }
  const given = trajectory.y0;
  const y0 = given === undefined ? undefined : numbersOf(`${where}.y0`, given, "DTYPE");
  if (y0 && y0.length !== state) {
    throw refused("SHAPE", `${where}.y0`, `${state} numbers, as the state has`, String(y0.length));
  }
  const own = argumentsOf(`${where}.arguments`, trajectory.arguments);
  const weights = weightsAt(`${where}.weights`, trajectory.weights, times.length, state);
  return { times, values, state, sign, arguments: own, y0, weights };
}

/** The weight of each value. */
function weightsAt(where: string, given: unknown, times: number, state: number): Float64Array | undefined {
  if (given === undefined) return undefined;
  const { weights } = weightsOf(where, given);
  if (weights.length === times * state) return weights;
  if (weights.length === times)
    return Float64Array.from({ length: times * state }, (_, i) => weights[Math.floor(i / state)] as number);
  throw refused("SHAPE", where, `[${times}] or [${times}, ${state}] numbers`, String(weights.length));
}

function argumentsOf(where: string, given: unknown): Record<string, Float64Array> {
  const read = argument(where, given, fallback(record<unknown>(), {}));
  const entries = runUserCode(() => Object.entries(read)).map(([name, value]) => [
    name,
    numbersOf(`${where}.${name}`, typeof value === "number" ? [value] : value),
  ]);
  return Object.fromEntries(entries);
}

/** Refuses arguments of a trajectory that are not, in number and length, those of the first. */
function checkAlike(
  where: string,
  given: CheckedTrajectory["arguments"],
  { arguments: first }: CheckedTrajectory,
): void {
  const shown = (all: CheckedTrajectory["arguments"]) =>
    Object.keys(all).length === 0
      ? "none"
      : Object.entries(all)
          .map(([name, { length }]) => (length === 1 ? name : `${name} [${length}]`))
          .join(", ");
  const same = (name: string) => given[name]?.length === first[name]?.length;
  if (![...Object.keys(first), ...Object.keys(given)].every(same)) {
    throw refused("OPTION", where, `those of the first, ${shown(first)}`, shown(given));
  }
}

/** The windows that can share a batch: those that begin at the same time. */
function windowsOf(
  observed: CheckedTrajectory[],
  window: number | undefined,
  stride: number,
  relative: boolean,
): ObservationWindow[][] {
  const groups = new Map<number, ObservationWindow[]>();
  for (const [trajectory, { times, values, state, y0 }] of observed.entries()) {
    const isComplete = (row: number) =>
      (row === 0 && y0 !== undefined) || !values.subarray(row * state, (row + 1) * state).some(Number.isNaN);
    // One that is shorter, or whose first states are missing, still gives a window: from its first whole state.
    const last = window === undefined ? 0 : Math.max(0, times.length - window);
    let found = 0;
    for (let start = 0; start + 1 < times.length && (start <= last || found === 0); start++) {
      const due = start % stride === 0 || (start >= last && found === 0);
      if (!due || !isComplete(start)) continue;
      found++;
      const time = relative ? 0 : (times[start] as number);
      const group = groups.get(time) ?? [];
      group.push({ trajectory, start });
      groups.set(time, group);
    }
  }
  return [...groups.values()];
}

/** The times and amounts of a jump, of one trajectory; of each time the index among all. */
interface JumpTimes {
  readonly times: Float64Array;
  readonly first: number;
}

/** The times of a jump by trajectories; refuses those that are not in order. */
function jumpsByTrajectory(
  where: string,
  { times, counts }: ReadJump,
  observed: readonly CheckedTrajectory[],
): JumpTimes[] {
  let start = 0;
  return observed.map(({ sign }, index) => {
    const first = counts === null ? 0 : start;
    const own = times.subarray(first, first + (counts === null ? times.length : (counts[index] as number)));
    if (counts !== null) start += own.length;
    const bad = own.findIndex((time, i) => !Number.isFinite(time) || sign * (time - (own[i - 1] ?? time)) < 0);
    if (bad < 0) return { times: own, first };
    const place = counts === null ? where : `${where}[${index}]`;
    const given = bad === 0 ? String(own[0]) : `${own[bad - 1]}, ${own[bad]} at index ${bad}`;
    throw refused("OPTION", place, "finite times in the order of those of the trajectories", given);
  });
}

/** The data of a window: times and values, and for each jump its times, with the places of its amounts. */
interface WindowData {
  readonly y0: Float64Array;
  readonly times: Float64Array;
  /** NaN where nothing counts. */
  readonly values: Float64Array;
  readonly weights: Float64Array | undefined;
  readonly arguments: CheckedTrajectory["arguments"];
  readonly jumps: readonly { readonly times: Float64Array; readonly places: readonly number[] }[];
}

function windowData(
  observed: readonly CheckedTrajectory[],
  changes: readonly (readonly JumpTimes[])[],
  { trajectory, start }: ObservationWindow,
  window: number | undefined,
  relative: boolean,
): WindowData {
  const {
    times,
    values,
    state,
    sign,
    y0,
    arguments: packedArguments,
    weights: all,
  } = observed[trajectory] as CheckedTrajectory;
  const end = window === undefined ? times.length : Math.min(times.length, start + window);
  const [begin, last] = [times[start] as number, times[end - 1] as number];
  const origin = relative ? begin : 0;
  const from = (time: number) => time - origin;
  const jumps = changes.map((all) => {
    const { times: each, first } = all[trajectory] as JumpTimes;
    const within = (time: number) => {
      const elapsed = sign * (time - begin);
      return (start === 0 ? elapsed >= 0 : elapsed > 0) && sign * (last - time) >= 0;
    };
    const chosen = [...each.keys()].filter((i) => within(each[i] as number));
    return {
      times: Float64Array.from(chosen, (i) => from(each[i] as number)),
      places: chosen.map((i) => first + i),
    };
  });
  const given = start === 0 ? y0 : undefined;
  const seen = values.slice(start * state, end * state);
  const first = given ?? seen.slice(0, state);
  // They are the state before the jump, and the solution has the one after it.
  if (!given && jumps.some(({ times: [time] }) => time === from(begin))) seen.fill(Number.NaN, 0, state);
  const weights = all?.subarray(start * state, end * state);
  for (const [i, weight] of weights?.entries() ?? []) if (weight === 0) seen[i] = Number.NaN;
  return {
    y0: first,
    times: times.slice(start, end).map(from),
    values: seen,
    weights,
    arguments: packedArguments,
    jumps,
  };
}

/** Windows that each have their own times and steps. */
function independentBatch<D extends Dtype>(
  views: readonly WindowData[],
  jumps: readonly ReadJump[],
  dtype: D,
): Batch<D> {
  const longest = views.reduce((most, { times }) => Math.max(most, times.length), 0);
  const rows = views.map(({ times }) => Uint32Array.from(times.keys()));
  const unitedJumps = jumps.map(({ set, amounts }, index) => {
    const lists = views.map(({ jumps }) => jumps[index] as WindowData["jumps"][number]);
    const amountsOf = (all: Float64Array) =>
      lists.map(({ places }) => Float64Array.from(places, (place) => all[place] as number));
    return {
      times: lists.map(({ times }) => times),
      set,
      amounts: Object.fromEntries(Object.entries(amounts).map(([name, all]) => [name, amountsOf(all)])),
    };
  });
  const times = views.map(({ times }) => times);
  return { ...stackWindows(views, rows, longest, dtype), times, ...(unitedJumps.length > 0 && { jumps: unitedJumps }) };
}

/** Windows that are solved over the times of all. */
function sharedTimesBatch<D extends Dtype>(views: readonly WindowData[], sign: number, dtype: D): Batch<D> {
  const { all, places } = mergeTimes(
    views.map(({ times }) => times),
    sign,
  );
  return { ...stackWindows(views, places, all.length, dtype), times: Float64Array.from(all) };
}

/** What windows begin with and what was observed, each row of a window at its place among those of the batch. */
function stackWindows<D extends Dtype>(
  views: readonly WindowData[],
  places: readonly Uint32Array[],
  rows: number,
  dtype: D,
): Omit<Batch<D>, "times" | "jumps"> {
  const state = (views[0] as WindowData).y0.length;
  const size = views.length * state;
  const [y0, target]: [ArrayOf<D>, ArrayOf<D>] = [zeros(dtype, size), zeros(dtype, rows * size)];
  const mask = views.some(({ weights }) => weights) ? new Float64Array(rows * size) : new Uint8Array(rows * size);
  for (const [sample, view] of views.entries()) {
    y0.set(view.y0, sample * state);
    for (const [i, place] of (places[sample] as Uint32Array).entries()) {
      const row = place * size + sample * state;
      for (let j = 0; j < state; j++) {
        const value = view.values[i * state + j] as number;
        if (Number.isNaN(value)) continue;
        target[row + j] = value;
        mask[row + j] = view.weights ? (view.weights[i * state + j] as number) : 1;
      }
    }
  }
  const own = argumentsFor(views.map((view) => view.arguments));
  const batch = { y0, stateSize: state, target, ...(own && { arguments: own }) } as unknown as Batch<D>;
  return mask.every((weight) => weight === 1) ? batch : { ...batch, mask };
}

/** The arguments of trajectories together, by name; undefined where there are none. */
function argumentsFor(all: readonly CheckedTrajectory["arguments"][]): Record<string, Float64Array> | undefined {
  const names = Object.keys(all[0] as CheckedTrajectory["arguments"]);
  if (names.length === 0) return undefined;
  return Object.fromEntries(
    names.map((name) => [name, Float64Array.from(all.flatMap((own) => [...(own[name] ?? [])]))]),
  );
}

/**
 * All times of windows in order, and the place of each. Those of different windows that differ by rounding alone are one; two
 * of the same window never are, however near.
 */
function mergeTimes(windows: Float64Array[], sign: number): { all: number[]; places: Uint32Array[] } {
  const seen = new Map<number, { window: number; index: number }[]>();
  for (const [window, times] of windows.entries()) {
    for (const [index, time] of times.entries()) {
      const equal = seen.get(time) ?? [];
      equal.push({ window, index });
      seen.set(time, equal);
    }
  }
  const sorted = [...seen].sort(([a], [b]) => sign * (a - b));
  const same = 1e-9 * Math.abs((sorted.at(-1)?.[0] as number) - (sorted[0]?.[0] as number));
  const all: number[] = [];
  const places = windows.map(({ length }) => new Uint32Array(length));
  const present = new Set<number>();
  for (const [time, equal] of sorted) {
    const isNewTime = all.length === 0 || Math.abs(time - (all.at(-1) as number)) > same;
    if (isNewTime || equal.some(({ window }) => present.has(window))) {
      all.push(time);
      present.clear();
    }
    for (const { window, index } of equal) {
      present.add(window);
      (places[window] as Uint32Array)[index] = all.length - 1;
    }
  }
  return { all, places };
}
