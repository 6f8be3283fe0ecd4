// The state of a model's equation: the observed columns now and at earlier times, the time, and hidden dimensions.
import {
  adam,
  type Batch,
  custom,
  type Dtype,
  type Field,
  hamiltonian,
  type Minibatches,
  mlp,
  type Optimizer,
  type ProgramField,
} from "../index.js";
import { type Description, layoutOf, type Settings, type StateLayout } from "./model.js";
import type { Series } from "./table.js";
import { equationsField, scaledField, scalesOf } from "./text-model.js";
import { scaledTimes, toModelScale, type Units } from "./units.js";

/** Adds earlier values to the rows of a series: one lag ago, two lags ago and so on, interpolated between rows. */
export function withDelays(series: Series, delays: number, lag: number): Series {
  if (delays === 0) return series;
  const { id, times, rows } = series;
  const [begin = 0, end = 0] = [times[0], times.at(-1)];
  const same = 1e-9 * (end - begin);
  const later = times.map((_, row) => row).filter((row) => (times[row] as number) >= begin + delays * lag - same);
  if (later.length === 0) return { id, times: [], rows: [] };
  /** For each lag, the last row at or before that time. */
  const places = Array.from({ length: delays }, () => 0);
  const before = (time: number, delay: number): readonly number[] => {
    let place = places[delay - 1] as number;
    while (place + 1 < times.length && (times[place + 1] as number) <= time + same) place++;
    places[delay - 1] = place;
    const [row, start] = [rows[place] as readonly number[], times[place] as number];
    if (time - start <= same) return row;
    const [next, stop] = [rows[place + 1] as readonly number[], times[place + 1] as number];
    return row.map((value, i) => value + (((next[i] as number) - value) * (time - start)) / (stop - start));
  };
  return {
    id,
    times: later.map((row) => times[row] as number),
    rows: later.map((row) => [
      ...(rows[row] as readonly number[]),
      ...places.flatMap((_, i) => before((times[row] as number) - (i + 1) * lag, i + 1)),
    ]),
  };
}

/** The observed values of a row, scaled; delayed columns repeat the same units. */
function scaled(row: readonly number[], { log, mean, scale }: Units): number[] {
  return row.map((value, i) => {
    const column = i % mean.length;
    return (toModelScale(value, log[column] as boolean) - (mean[column] as number)) / (scale[column] as number);
  });
}

/** The phases of the clocks at a time of the table. */
function clocksAt(time: number, { withTime, period }: Settings, { origin, spread }: Units): number[] {
  const angle = (2 * Math.PI * time) / (period ?? 1);
  return [
    ...(withTime ? [(time - origin) / spread] : []),
    ...(period === null ? [] : [Math.cos(angle), Math.sin(angle)]),
  ];
}

/** A series, with delays, in the model's units: clocks and observed values, NaN where one is missing. */
export function trajectoryOf(series: Series, { settings, units }: Pick<Description, "settings" | "units">) {
  const values = series.rows.flatMap((row, i) => [
    ...clocksAt(series.times[i] as number, settings, units),
    ...scaled(row, units),
  ]);
  const times = scaledTimes(series, units.timeScale);
  if (!series.start) return { times, values };
  return {
    times,
    values,
    y0: [...clocksAt(series.times[0] as number, settings, units), ...scaled(series.start, units)],
  };
}

/** The model's initial state at a row of the table, with delays. */
export function stateOf(
  row: readonly number[],
  time: number,
  { settings, units }: Pick<Description, "settings" | "units">,
) {
  const { extra } = layoutOf(settings, units.mean.length);
  return Float32Array.from([
    ...clocksAt(time, settings, units),
    ...scaled(row, units),
    ...Array<number>(extra).fill(0),
  ]);
}

/** Extends a batch to the whole state; the mask leaves only observed values. */
export function completed<B extends Pick<Batch, "y0" | "stateSize" | "target" | "mask">>(
  batch: B,
  { clocks, observed, extra, size }: StateLayout,
): B {
  if (clocks + extra === 0) return batch;
  const { y0, target } = batch;
  const given = clocks + observed;
  const wide = (from: ArrayLike<number>) => {
    const rows = from.length / given;
    const to = y0 instanceof Float32Array ? new Float32Array(rows * size) : new Float64Array(rows * size);
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < given; i++) to[row * size + i] = from[row * given + i] as number;
    return to;
  };
  const rows = target.length / given;
  const mask = new Uint8Array(rows * size);
  for (let row = 0; row < rows; row++) {
    for (let i = clocks; i < given; i++) mask[row * size + i] = batch.mask?.[row * given + i] ?? 1;
  }
  return { ...batch, y0: wide(y0), stateSize: size, target: wide(target), mask };
}

/** Endless completed batches, epoch by epoch. */
export function* completedAll<D extends Dtype>(data: Minibatches<D>, layout: StateLayout): Generator<Batch<D>> {
  for (;;) for (const batch of data) yield completed(batch, layout);
}

/** The network of a model; the Hamiltonian system of an energy; or the equations. */
export function networkOf<D extends Dtype>(settings: Settings, columns: number, dtype: D): Field<D> {
  const { hidden, activation, seed, equations } = settings;
  if (equations !== null && equations !== undefined) return equationsField("equations", equations, dtype);
  const { clocks, size } = layoutOf(settings, columns);
  if (settings.model === "mlp") {
    return mlp({ widths: [size, ...hidden, size - clocks], activation, seed, dtype });
  }
  return hamiltonian({ energy: { widths: [size, ...hidden, 1], activation, seed, dtype }, structure: "canonical" });
}

/**
 * The field of a model: its network; with clocks, a field around it with a copy of its parameters, where the network gives all slopes
 * except those of the clocks; or the equations in the model's units.
 */
export function fieldOf<D extends Dtype>(network: Field<D>, settings: Settings, units: Units): Field<D> {
  if (settings.model === "equations")
    return scaledField(network as ProgramField<D>, units, settings.infused, settings.doses?.factors);
  const { timeScale, spread } = units;
  const { stateSize: size, outputSize, dtype } = network;
  const clocks = size - outputSize;
  if (clocks === 0) return network;
  const linear = settings.withTime ? 1 : 0;
  const [rate, turn] = [timeScale / spread, settings.period === null ? 0 : (2 * Math.PI * timeScale) / settings.period];
  const array = (length: number) =>
    (dtype === "float32" ? new Float32Array(length) : new Float64Array(length)) as typeof network.parameters;
  return custom<D>({
    stateSize: size,
    dtype,
    parameters: network.parameters,
    evaluate(t, y, parameters) {
      const slopes = network.evaluate(t, y, parameters);
      const all = array(y.length);
      for (let sample = 0; sample * size < y.length; sample++) {
        const at = sample * size;
        if (linear) all[at] = rate;
        if (turn !== 0) {
          all[at + linear] = -turn * (y[at + linear + 1] as number);
          all[at + linear + 1] = turn * (y[at + linear] as number);
        }
        all.set(slopes.subarray(sample * outputSize, (sample + 1) * outputSize), at + clocks);
      }
      return all;
    },
    vjp(t, y, w, parameters) {
      const own = array((y.length / size) * outputSize);
      for (let sample = 0; sample * size < y.length; sample++) {
        own.set(w.subarray(sample * size + clocks, (sample + 1) * size), sample * outputSize);
      }
      const pulled = network.vjp(t, y, own, parameters);
      for (let at = linear; turn !== 0 && at < y.length; at += size) {
        (pulled.y[at] as number) += turn * (w[at + 1] as number);
        (pulled.y[at + 1] as number) -= turn * (w[at] as number);
      }
      return { y: pulled.y, parameters: pulled.parameters, t: 0 };
    },
  });
}

/** An optimizer for the field around a network, in the state of the network's own. */
export function optimizerOf<D extends Dtype>(
  field: Field<D>,
  network: Field<D>,
  optimizer: Optimizer<D>,
  { learningRate, weightDecay }: Settings,
): Optimizer<D> {
  if (field === network) return optimizer;
  const own = adam(field, { learningRate, weightDecay });
  moveOptimizer(optimizer, own);
  return own;
}

/** Copies the parameters and the optimizer's state from the field around a network back to the network. */
export function settle<D extends Dtype>(
  [field, own]: readonly [Field<D>, Optimizer<D>],
  [network, optimizer]: readonly [Field<D>, Optimizer<D>],
  { equations }: Settings,
): void {
  if (field === network) return;
  const scales = typeof equations === "string" ? scalesOf(equations) : undefined;
  const unscaled = (value: number, i: number) => (scales ? value * (scales[i] as number) : value);
  network.parameters = field.parameters.map(unscaled) as typeof field.parameters;
  moveOptimizer(own, optimizer);
}

function moveOptimizer<D extends Dtype>(from: Optimizer<D>, to: Optimizer<D>): void {
  to.learningRate = from.learningRate;
  to.steps = from.steps;
  to.state.set(from.state as never);
}
