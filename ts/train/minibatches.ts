// Trajectories as batches: windows of them, shuffled, with irregular times and missing values.
import { constructors, copyOf, type Dtype, dtypeRule, numbersOf } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import {
  argument,
  array,
  count,
  fallback,
  flag,
  natural,
  number,
  object,
  options as readOptions,
  record,
  required,
} from "../checks/rules.js";
import { outside } from "../checks/user-code.js";
import { shuffle, uniforms } from "../trace/random.js";
import type { Batch } from "./batch.js";

/** One observed trajectory. */
export interface Trajectory {
  /** The times of the observations: two or more, ascending, or all trajectories descending. */
  times: ArrayLike<number>;
  /** The observations, `[times, state]`, row-major; NaN, null or undefined where there is none. */
  values: ArrayLike<number | null | undefined>;
  /** Of a field with arguments, those of this trajectory: for each name a number, or a vector. All trajectories have the same. */
  arguments?: Readonly<Record<string, number | ArrayLike<number>>>;
}

/** How trajectories become batches. */
export interface MinibatchOptions<D extends Dtype = "float32"> {
  /** The observed trajectories, of one number of features, and all ascending or all descending in time. */
  trajectories: readonly Trajectory[];
  /** The number of windows in a batch; default all of those that can be solved together. */
  batch?: number;
  /** Observations in a window, its first one included; default whole trajectories. A shorter trajectory is one window. */
  window?: number;
  /** The number of observations between the starts of windows; default 1. */
  stride?: number;
  /**
   * Whether times count from the start of each window, so that windows with other starts share a batch. For fields that
   * do not depend on time; default false.
   */
  relative?: boolean;
  /** Whether the order is drawn anew in each epoch; default true. */
  shuffle?: boolean;
  /** The seed of the order; default 0. */
  seed?: number;
  /** The number type of the batches; default `float32`. */
  dtype?: D;
}

/** Where in the data a training stands. */
export interface MinibatchState {
  /** The number of the epoch, from 0. */
  readonly epoch: number;
  /** The number of batches of this epoch that have been given. */
  readonly position: number;
}

/** Batches without end, epoch by epoch: data for `train`. */
export interface Minibatches<D extends Dtype = Dtype> extends Iterable<Batch<D>> {
  /** The number of batches in an epoch. */
  readonly length: number;
  /** What is given next; set it to go on from there. Iterators that follow share it. */
  state: MinibatchState;
  /** The batches of one epoch, as `state` does not count them: for validation, say. */
  epoch(epoch?: number): Batch<D>[];
}

/** A window: which trajectory, from which observation. */
interface Window {
  readonly trajectory: number;
  readonly start: number;
}

const rules = {
  trajectories: required(array<Trajectory>("an array of { times, values }", 1)),
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
 * Makes trajectories into batches. A batch is solved from one time on, over all times at which any of its windows was observed;
 * those at which a window was not are masked. A window begins where all of the state was observed.
 */
export function minibatches<D extends Dtype = "float32">(options: MinibatchOptions<D>): Minibatches<D> {
  const read = readOptions(options, rules);
  const { trajectories, window, stride, relative, seed } = read;
  const batch = read.batch ?? Number.MAX_SAFE_INTEGER;
  const dtype = read.dtype as D;
  const observed: Observed[] = [];
  for (const [index, trajectory] of trajectories.entries()) {
    observed.push(observe(trajectory, `trajectories[${index}]`, relative, dtype));
  }
  const [{ state, sign }] = observed as [Observed];
  for (const [index, one] of observed.entries()) {
    const where = `trajectories[${index}]`;
    if (one.state !== state)
      throw refused("SHAPE", `${where}.values`, `a state of ${state} numbers, as the first`, `${one.state}`);
    if (one.sign !== sign) throw refused("OPTION", `${where}.times`, "the direction of the first", "the other");
    checkAlike(`${where}.arguments`, one.arguments, observed[0] as Observed);
  }
  const windows = windowsOf(observed, window, stride, relative);
  const length = windows.reduce((sum, group) => sum + Math.ceil(group.length / batch), 0);
  if (length === 0) {
    const expected = "a window that begins where all of the state was observed";
    throw refused("OPTION", "trajectories", expected, "none");
  }
  /** The windows of each batch of an epoch. */
  const order = (epoch: number): Window[][] => {
    const uniform = uniforms(seed + epoch * 0x9e3779b9);
    const batches = windows.flatMap((group) => {
      const drawn = read.shuffle ? shuffle([...group], uniform) : group;
      const count = Math.ceil(drawn.length / batch);
      return Array.from({ length: count }, (_, i) => drawn.slice(i * batch, (i + 1) * batch));
    });
    return read.shuffle ? shuffle(batches, uniform) : batches;
  };
  const made = (members: Window[]) => batchOf(observed, members, window, relative, dtype);
  let at: MinibatchState = frozen({ epoch: 0, position: 0 });
  return {
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
      for (;;) {
        const { epoch } = at;
        const batches = order(epoch);
        while (at.epoch === epoch && at.position < batches.length) {
          const members = batches[at.position] as Window[];
          at = frozen({ epoch, position: at.position + 1 });
          yield made(members);
        }
        if (at.epoch === epoch) at = frozen({ epoch: epoch + 1, position: 0 });
      }
    },
  };
}

/** A trajectory, checked and copied. */
interface Observed {
  readonly times: Float64Array;
  readonly values: Float64Array;
  readonly state: number;
  /** 1 where times ascend. */
  readonly sign: number;
  readonly arguments: Readonly<Record<string, Float64Array>>;
}

function observe(trajectory: Trajectory, where: string, relative: boolean, dtype: Dtype): Observed {
  argument(where, trajectory, required({ ...object, expected: "{ times, values }" }));
  const times = numbersOf(`${where}.times`, trajectory.times, "DTYPE");
  if (times.length < 2) throw refused("SHAPE", `${where}.times`, "two times or more", String(times.length));
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
  const held = new constructors[dtype](1);
  const values = copyOf(`${where}.values`, trajectory.values, ["DTYPE", "an array of numbers"], (value, i) => {
    if (value === null || value === undefined || Number.isNaN(value)) return Number.NaN;
    if (typeof value !== "number") {
      const expected = "numbers, or NaN, null or undefined where nothing was observed";
      throw refused("OPTION", `${where}.values`, expected, `${describe(value)} at index ${i}`);
    }
    held[0] = value;
    if (Number.isFinite(held[0])) return value;
    throw refused(
      "NON_FINITE",
      `${where}.values`,
      `numbers that are finite in ${dtype}, or NaN`,
      `${value} at index ${i}`,
    );
  });
  const state = values.length / times.length;
  if (!Number.isInteger(state) || state === 0) {
    throw refused("SHAPE", `${where}.values`, `a multiple of the ${times.length} times`, `${values.length} numbers`);
  }
  return { times, values, state, sign, arguments: argumentsOf(`${where}.arguments`, trajectory.arguments) };
}

function argumentsOf(where: string, given: unknown): Record<string, Float64Array> {
  const read = argument(where, given, fallback(record<unknown>(), {}));
  const entries = outside(() => Object.entries(read)).map(([name, value]) => [
    name,
    numbersOf(`${where}.${name}`, typeof value === "number" ? [value] : value),
  ]);
  return Object.fromEntries(entries);
}

/** Refuses arguments of a trajectory that are not, in number and length, those of the first. */
function checkAlike(where: string, given: Observed["arguments"], { arguments: first }: Observed): void {
  const shown = (all: Observed["arguments"]) =>
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
function windowsOf(observed: Observed[], window: number | undefined, stride: number, relative: boolean): Window[][] {
  const groups = new Map<number, Window[]>();
  for (const [trajectory, { times, values, state }] of observed.entries()) {
    const whole = (row: number) => !values.subarray(row * state, (row + 1) * state).some(Number.isNaN);
    // One that is shorter, or whose first states are missing, still gives a window: from its first whole state.
    const last = window === undefined ? 0 : Math.max(0, times.length - window);
    let found = 0;
    for (let start = 0; start + 1 < times.length && (start <= last || found === 0); start++) {
      const due = start % stride === 0 || (start >= last && found === 0);
      if (!due || !whole(start)) continue;
      found++;
      const time = relative ? 0 : (times[start] as number);
      const group = groups.get(time) ?? [];
      group.push({ trajectory, start });
      groups.set(time, group);
    }
  }
  return [...groups.values()];
}

function batchOf<D extends Dtype>(
  observed: Observed[],
  members: Window[],
  window: number | undefined,
  relative: boolean,
  dtype: D,
): Batch<D> {
  const [{ state, sign }] = observed as [Observed];
  const views = members.map(({ trajectory, start }) => {
    const { times, values } = observed[trajectory] as Observed;
    const end = window === undefined ? times.length : Math.min(times.length, start + window);
    const origin = relative ? (times[start] as number) : 0;
    return { times: times.slice(start, end).map((time) => time - origin), values: values.subarray(start * state) };
  });
  const { all, places } = united(
    views.map(({ times }) => times),
    sign,
  );
  const size = views.length * state;
  const array = dtype === "float32" ? Float32Array : Float64Array;
  const [y0, target] = [new array(size), new array(all.length * size)];
  const mask = new Uint8Array(all.length * size);
  for (const [sample, { times, values }] of views.entries()) {
    y0.set(values.subarray(0, state), sample * state);
    for (let i = 0; i < times.length; i++) {
      const row = (places[sample]?.[i] as number) * size + sample * state;
      for (let j = 0; j < state; j++) {
        const value = values[i * state + j] as number;
        if (Number.isNaN(value)) continue;
        target[row + j] = value;
        mask[row + j] = 1;
      }
    }
  }
  const own = argumentsFor(members.map(({ trajectory }) => (observed[trajectory] as Observed).arguments));
  const batch = { y0, times: Float64Array.from(all), target, ...(own && { arguments: own }) } as unknown as Batch<D>;
  return mask.every((weight) => weight === 1) ? batch : { ...batch, mask };
}

/** The arguments of trajectories together, by name; undefined where there are none. */
function argumentsFor(all: readonly Observed["arguments"][]): Record<string, Float64Array> | undefined {
  const names = Object.keys(all[0] as Observed["arguments"]);
  if (names.length === 0) return undefined;
  return Object.fromEntries(
    names.map((name) => [name, Float64Array.from(all.flatMap((own) => [...(own[name] ?? [])]))]),
  );
}

/**
 * All times of windows in order, and the place of each. Those of different windows that differ by rounding alone are one; two
 * of the same window never are, however near.
 */
function united(windows: Float64Array[], sign: number): { all: number[]; places: Uint32Array[] } {
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
    const apart = all.length === 0 || Math.abs(time - (all.at(-1) as number)) > same;
    if (apart || equal.some(({ window }) => present.has(window))) {
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
