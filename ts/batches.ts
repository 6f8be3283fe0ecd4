// Minibatches of trajectories: windows of them, in an order that a seed and a position decide.
import { describe, refused } from "./errors.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype, kindOf, timesOf } from "./memory.js";
import { checked, checkNames, count, numberOption } from "./options.js";
import type { Batch } from "./train.js";

/** What was observed of one system; each has times of its own. */
export interface Trajectory<D extends Dtype = Dtype> {
  /** Increasing, at least two. */
  times: ArrayLike<number>;
  /** `[times, state]`; NaN is a missing value. */
  values: ArrayOf<D>;
  /** As values: 1 where an entry counts and 0 where not, or weights. */
  mask?: ArrayLike<number>;
}

/** Trajectories that share their times, in the arrays that a solution has. */
export interface SharedTrajectories<D extends Dtype = Dtype> {
  times: ArrayLike<number>;
  /** `[times, batch, state]`; NaN is a missing value. */
  target: ArrayOf<D>;
  /** As target. */
  mask?: ArrayLike<number>;
}

export interface MinibatchOptions<D extends Dtype = Dtype> {
  trajectories: readonly Trajectory<D>[] | SharedTrajectories<D>;
  /** Features of the state. */
  stateSize: number;
  /** Windows in a batch; default all that there are. */
  batch?: number;
  /** Observations in a window, the initial state included; default whole trajectories. A shorter trajectory is one window. */
  window?: number;
  /** Observations from the beginning of one window to that of the next; default 1. */
  stride?: number;
  /**
   * Whether windows are moved to begin at time 0, so that any of them can share a batch. Right for a field that does not
   * depend on time. Default false: only windows that begin at the same time share one.
   */
  shift?: boolean;
  /** Whether every epoch has an order of its own; default true. */
  shuffle?: boolean;
  /** Of the orders; default 0. */
  seed?: number;
  /** Default: without end. */
  epochs?: number;
}

/** Batches for `train`, one after the other from `position`; with the same seed they are the same. */
export interface Minibatches<D extends Dtype = Dtype> extends Iterable<Batch<D>> {
  /** Batches in an epoch. */
  readonly length: number;
  /**
   * Batches taken so far. All that there is to save: to go on where a training has stopped, set it to the batches taken
   * then, which are the optimizer's steps if every step was of these batches.
   */
  position: number;
}

/** Observations from `start` to before `end` of a trajectory. */
interface Window {
  readonly of: Observed;
  readonly start: number;
  readonly end: number;
}

/** A trajectory, checked and copied; a mask only where something is missing or weighted. */
interface Observed {
  readonly times: Float64Array;
  readonly values: Float32Array | Float64Array;
  readonly mask: Float64Array | undefined;
}

const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;

/**
 * Windows of trajectories as batches. Where their times differ, a batch has all of them, and a mask that is 0 where a window
 * has no observation: so irregular times need no batches of their own. A window begins only where all of the state was
 * observed. Times that lie closer than a billionth of the window are one.
 */
export function minibatches<D extends Dtype>(options: MinibatchOptions<D>): Minibatches<D> {
  checkNames(options, [
    ...(["trajectories", "stateSize", "batch", "window", "stride", "shift", "shuffle", "seed", "epochs"] as const),
  ]);
  const { trajectories, shift = false, shuffle = true } = options;
  for (const [name, value] of Object.entries({ shift, shuffle })) {
    if (typeof value !== "boolean") throw refused("OPTION", name, "true or false", describe(value));
  }
  const state = checked("stateSize", options.stateSize ?? Number.NaN, count) as number;
  const size = checked("batch", options.batch, count) ?? Number.POSITIVE_INFINITY;
  const length = checked("window", options.window, count) ?? Number.POSITIVE_INFINITY;
  if (length < 2) throw refused("OPTION", "window", "at least two observations", describe(length));
  const stride = checked("stride", options.stride, count) ?? 1;
  const seed = numberOption("seed", options.seed, 0, "an integer, zero or more", natural);
  const epochs = checked("epochs", options.epochs, count) ?? Number.POSITIVE_INFINITY;
  const observed = observations(trajectories, state);
  const windows = observed.flatMap((of) => windowsOf(of, state, length, stride));
  if (windows.length === 0) {
    throw refused("OPTION", "trajectories", "a time at which all of the state was observed", "none before the last");
  }
  const groups = shift ? [windows] : groupsOf(windows);
  const dtype = kindOf(observed[0]?.values) === "Float64Array" ? "float64" : "float32";
  const perEpoch = groups.reduce((sum, group) => sum + Math.ceil(group.length / Math.min(size, group.length)), 0);
  const epochOf = (epoch: number): Window[][] => {
    const random = shuffle ? generator(seed, epoch) : undefined;
    const chunks = groups.flatMap((group) => {
      const order = random ? shuffled(group, random) : group;
      const chunk = Math.min(size, group.length);
      return Array.from({ length: Math.ceil(group.length / chunk) }, (_, i) => order.slice(i * chunk, (i + 1) * chunk));
    });
    return random && groups.length > 1 ? shuffled(chunks, random) : chunks;
  };
  let position = 0;
  return {
    length: perEpoch,
    get position() {
      return position;
    },
    set position(value: number) {
      position = numberOption("position", value ?? Number.NaN, 0, "an integer, zero or more", natural);
    },
    *[Symbol.iterator]() {
      let [epoch, chunks] = [-1, [] as Window[][]];
      while (position < epochs * perEpoch) {
        const due = Math.floor(position / perEpoch);
        if (due !== epoch) [epoch, chunks] = [due, epochOf(due)];
        const windows = chunks[position % perEpoch] as Window[];
        position++;
        yield batchOf(windows, state, shift, dtype) as Batch<D>;
      }
    },
  };
}

/** Trajectories of either form, checked and copied. */
function observations<D extends Dtype>(
  given: readonly Trajectory<D>[] | SharedTrajectories<D>,
  state: number,
): Observed[] {
  const expected = "an array of { times, values, mask? }, or { times, target, mask? }";
  if (given === null || typeof given !== "object") throw refused("OPTION", "trajectories", expected, describe(given));
  const all = Array.isArray(given) ? (given as Trajectory<D>[]) : apart(given as SharedTrajectories<D>, state);
  if (all.length === 0) throw refused("OPTION", "trajectories", expected, describe(given));
  const dtype = kindOf(all[0]?.values) === "Float64Array" ? "float64" : "float32";
  return all.map((trajectory, index) => observation(`trajectories[${index}]`, trajectory, state, dtype));
}

function observation(argument: string, trajectory: Trajectory, state: number, dtype: Dtype): Observed {
  checkNames(trajectory, ["times", "values", "mask"], `${argument}.`);
  const times = timesOf(trajectory.times);
  const falls = times.findIndex((time, i) => !(time > (i === 0 ? Number.NEGATIVE_INFINITY : (times[i - 1] as number))));
  if (times.length < 2 || falls >= 0 || !Number.isFinite(times.at(-1))) {
    const given = falls >= 0 ? `${times[falls]} at index ${falls}` : `${times.length} times`;
    throw refused("OPTION", `${argument}.times`, "two or more finite times that increase", given);
  }
  const values = arrayOf(`${argument}.values`, trajectory.values, dtype).slice();
  checkLength(`${argument}.values`, values, times.length * state, `[${times.length}, ${state}]`);
  const { mask } = trajectory;
  if (mask !== undefined) {
    if (mask === null || typeof mask !== "object")
      throw refused("DTYPE", `${argument}.mask`, "an array of numbers", describe(mask));
    checkLength(`${argument}.mask`, mask, values.length);
  }
  const weights = Float64Array.from(values, (value, i) => (Number.isNaN(value) ? 0 : Number(mask?.[i] ?? 1)));
  const wrong = weights.findIndex((weight, i) => !(weight >= 0) || (weight > 0 && !Number.isFinite(values[i])));
  if (wrong >= 0) {
    const given = `${values[wrong]} of weight ${weights[wrong]} at index ${wrong}`;
    throw refused("NON_FINITE", `${argument}.values`, "finite numbers, or NaN, of weights zero or more", given);
  }
  return { times, values, mask: weights.every((weight) => weight === 1) ? undefined : weights };
}

/** Trajectories in the arrays of a solution, one by one. */
function apart<D extends Dtype>(shared: SharedTrajectories<D>, state: number): Trajectory<D>[] {
  checkNames(shared, ["times", "target", "mask"], "trajectories.");
  const { target, mask } = shared;
  const dtype = kindOf(target) === "Float64Array" ? "float64" : "float32";
  const all = arrayOf("trajectories.target", target, dtype);
  const times = timesOf(shared.times);
  const batch = all.length / (times.length * state);
  if (!Number.isInteger(batch) || batch === 0) {
    throw refused("SHAPE", "trajectories.target", `[${times.length}, batch, ${state}] numbers`, String(all.length));
  }
  if (mask !== undefined) checkLength("trajectories.mask", mask, all.length);
  return Array.from({ length: batch }, (_, sample) => {
    const at = (i: number) => (Math.floor(i / state) * batch + sample) * state + (i % state);
    const pick = (array: ArrayLike<number>) =>
      Float64Array.from({ length: times.length * state }, (_, i) => array[at(i)] as number);
    const values = (dtype === "float64" ? pick(all) : Float32Array.from(pick(all))) as ArrayOf<D>;
    return { times, values, ...(mask && { mask: pick(mask) }) };
  });
}

/** The windows of a trajectory: each begins where all of the state was observed. */
function windowsOf(of: Observed, state: number, length: number, stride: number): Window[] {
  const windows: Window[] = [];
  const { times, mask } = of;
  const whole = (row: number) => !mask || mask.subarray(row * state, (row + 1) * state).every((weight) => weight > 0);
  // One that is shorter than a window, or whose first states are missing, still gives one window: from its first whole state.
  const last = Math.max(0, times.length - length);
  for (let start = 0; start + 1 < times.length; start++) {
    if (start > last && windows.length > 0) break;
    const due = start % stride === 0 || (windows.length === 0 && start >= last);
    if (due && whole(start)) windows.push({ of, start, end: Math.min(times.length, start + length) });
  }
  return windows;
}

/** Windows by the time at which they begin. */
function groupsOf(windows: readonly Window[]): Window[][] {
  const groups = new Map<number, Window[]>();
  for (const window of windows) {
    const time = window.of.times[window.start] as number;
    groups.set(time, [...(groups.get(time) ?? []), window]);
  }
  return [...groups.values()];
}

/** Windows as one batch, over all of their times. */
function batchOf(windows: readonly Window[], state: number, shift: boolean, dtype: Dtype): Batch {
  const timesOfEach = windows.map(({ of, start, end }) => {
    const origin = shift ? (of.times[start] as number) : 0;
    return of.times.subarray(start, end).map((time) => time - origin);
  });
  const times = united(timesOfEach);
  const make = (length: number) => (dtype === "float64" ? new Float64Array(length) : new Float32Array(length));
  const [y0, target] = [make(windows.length * state), make(times.length * windows.length * state)];
  const mask = new Float64Array(target.length);
  for (const [sample, { of, start }] of windows.entries()) {
    y0.set(of.values.subarray(start * state, (start + 1) * state), sample * state);
    let place = 0;
    for (const [row, time] of (timesOfEach[sample] as Float64Array).entries()) {
      // The last of the united times that is not after it: itself, or the one that stands for it.
      while (place + 1 < times.length && (times[place + 1] as number) <= time) place++;
      for (let i = 0; i < state; i++) {
        const from = (start + row) * state + i;
        const to = (place * windows.length + sample) * state + i;
        const weight = of.mask ? (of.mask[from] as number) : 1;
        mask[to] = weight;
        if (weight > 0) target[to] = of.values[from] as number;
      }
    }
  }
  const batch = { y0, times, target } as Batch;
  return mask.every((weight) => weight === 1) ? batch : { ...batch, mask };
}

/** All times, increasing; of those that only rounding keeps apart, the first. */
function united(timesOfEach: readonly Float64Array[]): Float64Array {
  const all = Float64Array.from(timesOfEach.flatMap((times) => [...times])).sort();
  const apart = ((all.at(-1) as number) - (all[0] as number)) * 1e-9;
  let last = Number.NEGATIVE_INFINITY;
  return all.filter((time) => {
    if (time - last <= apart) return false;
    last = time;
    return true;
  });
}

/** A copy in random order (Fisher and Yates). */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}

/** Numbers in [0, 1) for an epoch: SplitMix32 (Steele, Lea and Flood 2014), started by seed and epoch. */
function generator(seed: number, epoch: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) ^ Math.imul(Math.floor(seed / 2 ** 32) + 1, 0x85ebca6b);
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  state = next() ^ Math.imul(epoch + 1, 0xc2b2ae35);
  return () => next() / 2 ** 32;
}
