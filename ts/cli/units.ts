// The units in which a model learns: states with mean 0 and standard deviation 1, and a time in which they change by about 1.
import { Failure } from "./failure.js";
import { listOf, type Series } from "./table.js";

export interface Units {
  /** Which columns are learned as logarithms. */
  readonly log: readonly boolean[];
  readonly mean: readonly number[];
  readonly scale: readonly number[];
  /** The model's unit of time, in the table's. */
  readonly timeScale: number;
  /** The time between delayed values; 0 if there are none. */
  readonly lag: number;
  /** The mean and the standard deviation of the time, if the equation depends on it. */
  readonly origin: number;
  readonly spread: number;
  /** The equations' unit of time, in the table's; default: the same. */
  readonly unit?: number;
}

/** What to scale, and how. */
export interface UnitsRequest {
  readonly state: readonly string[];
  /** The name of the time column. */
  readonly time: string;
  /** Rows that begin with the state; delayed values after it have the same units. */
  readonly series: readonly Series[];
  /** Columns that are learned as logarithms. */
  readonly log: readonly string[];
  /** Whether states are positions followed by momenta, each with one scale, which keeps a system canonical. */
  readonly paired: boolean;
  readonly lag: number;
  /** States without a column. */
  readonly hidden?: readonly string[];
  /** The equations' unit of time, in the table's; default 1. */
  readonly unit?: number;
}

/** The units for a table. */
export function unitsOf({ state, time, series, log, paired, lag, hidden = [], unit = 1 }: UnitsRequest): Units {
  const unknown = log.find((name) => !state.includes(name));
  if (unknown !== undefined) throw new Failure(`--log: no column ${unknown} in the state: ${listOf(state)}`, 2);
  const logs = state.map((name) => log.includes(name));
  const moments = state.map((name, i) => {
    if (hidden.includes(name)) return { mean: 0, variance: sizeOf(series, name, i) ** 2 };
    const values = series.flatMap(({ rows }) => rows.map((row) => row[i] as number));
    const seen = values.filter((value) => !Number.isNaN(value));
    if (logs[i] && seen.some((value) => value <= 0)) {
      throw new Failure(`--log: the column ${name} has values that are not positive`);
    }
    if (seen.length < 2) {
      throw new Failure(`the column ${name} has fewer than two values to learn from; --state names other columns`);
    }
    return momentsOf(
      name,
      seen.map((value) => toModelScale(value, logs[i] as boolean)),
    );
  });
  const half = state.length / 2;
  const shared = [moments.slice(0, half), moments.slice(half)].map((part) =>
    average(part.map(({ variance }) => variance)),
  );
  // A column that never changes keeps its own unit.
  const scale = moments.map(
    ({ variance }, i) => Math.sqrt(paired ? (shared[i < half ? 0 : 1] as number) : variance) || 1,
  );
  const mean = moments.map(({ mean }) => mean);
  const times = momentsOf(
    time,
    series.flatMap(({ times }) => times),
  );
  const units = { log: logs, mean, scale, lag, origin: times.mean, spread: Math.sqrt(times.variance) || 1 };
  const timeScale = timeOfChange(series, units);
  for (const own of series) {
    const { times } = own;
    const scaled = scaledTimes(own, timeScale);
    const close = scaled.findIndex((time, i) => i > 0 && !(time > (scaled[i - 1] as number)));
    if (close > 0)
      throw new Failure(`the column ${time} cannot be scaled: ${times[close]} is too close to the time before`);
  }
  return { ...units, timeScale, ...(unit !== 1 && { unit }) };
}

/** The scale of a state that is not observed: its initial value or its doses; otherwise 1. */
function sizeOf(series: readonly Series[], name: string, index: number): number {
  const amounts = series.flatMap(({ doses = [] }) => doses.flatMap((own) => (own.state === name ? [own.amount] : [])));
  const starts = series.flatMap(({ start }) => (start ? [Math.abs(start[index] as number)] : []));
  const largest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, value), 0);
  return largest(amounts) || largest(starts) || 1;
}

/**
 * How much earlier an observation before a dose at the same time is solved, relative to the time or to 1: hardly more than rounding, but
 * ordered.
 */
const EARLIER = 2 ** -40;

/** The times of a series from the first on, in the model's unit; those before a dose at the same time are slightly earlier. */
export function scaledTimes({ times, early }: Pick<Series, "times" | "early">, timeScale: number): number[] {
  // Subtracting first keeps the digits that matter in a date in seconds.
  const [first = 0] = times;
  return times.map((time, i) => {
    const scaled = (time - first) / timeScale;
    return early?.[i] ? scaled - EARLIER * Math.max(1, scaled) : scaled;
  });
}

const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean and the variance of a column; refuses one whose mean or variance overflows. */
function momentsOf(name: string, values: readonly number[]): { mean: number; variance: number } {
  const [least, most] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ] as [number, number]);
  if (least === most) return { mean: least, variance: 0 };
  const mean = average(values);
  const variance = average(values.map((value) => (value - mean) ** 2));
  const size = Math.max(Math.abs(least), Math.abs(most));
  const cannot = `the column ${name} cannot be scaled:`;
  if (!Number.isFinite(variance)) {
    const remedy = "use another unit, or leave such values empty if they stand for missing ones";
    throw new Failure(`${cannot} its values, as large as ${size}, have squares beyond the largest number; ${remedy}`);
  }
  if (!(variance > (4 * Number.EPSILON * size) ** 2 && variance > Number.MIN_VALUE / Number.EPSILON)) {
    throw new Failure(
      `${cannot} its values, from ${least} to ${most}, differ by too little; use another unit or origin`,
    );
  }
  return { mean, variance };
}

/** A value in the model's units. */
export function toModelScale(value: number, log: boolean): number {
  if (log && value <= 0) throw new Failure(`${value}: no logarithm, in a column that is learned as one`);
  return log ? Math.log(value) : value;
}

/** The time after which states differ by 1, their standard deviation, on average: from pairs of rows further and further apart. */
function timeOfChange(series: readonly Series[], { log, mean, scale }: Omit<Units, "timeScale">): number {
  const scaled = series.map(({ times, rows }) => ({
    times,
    rows: rows.map((row) =>
      mean.map((own, i) => (toModelScale(row[i] as number, log[i] as boolean) - own) / (scale[i] as number)),
    ),
  }));
  let [most, time] = [0, 0];
  const longest = scaled.reduce((length, { times }) => Math.max(length, times.length), 0);
  for (let lag = 1; lag < longest; lag = Math.ceil(lag * 1.2)) {
    let [square, numbers, elapsed, pairs] = [0, 0, 0, 0];
    for (const { times, rows } of scaled) {
      for (let row = 0; row + lag < times.length; row++) {
        elapsed += (times[row + lag] as number) - (times[row] as number);
        pairs++;
        const [now, then] = [rows[row] as number[], rows[row + lag] as number[]];
        for (let i = 0; i < now.length; i++) {
          const change = (then[i] as number) - (now[i] as number);
          if (Number.isNaN(change)) continue;
          square += change ** 2;
          numbers++;
        }
      }
    }
    const change = Math.sqrt(square / numbers);
    if (change > most) [most, time] = [change, elapsed / pairs];
    if (most >= 1) break;
  }
  return time || 1;
}

/** A state of the model in the table's units, for as many columns as those have. */
export function fromUnits(state: ArrayLike<number>, { log, mean, scale }: Units): number[] {
  return mean.map((own, i) => {
    const number = (state[i] as number) * (scale[i] as number) + own;
    return log[i] ? Math.exp(number) : number;
  });
}
