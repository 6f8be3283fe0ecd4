// The units in which a model learns: states of mean 0 and deviation 1, and a time in which they change by about one.
import type { Trajectory } from "../index.js";
import { Failure } from "./failure.js";
import type { Series, Table } from "./table.js";

export interface Units {
  /** Which columns are learned as logarithms. */
  readonly log: readonly boolean[];
  readonly mean: readonly number[];
  readonly scale: readonly number[];
  readonly timeScale: number;
}

/** The units of a table. `paired`: states are positions and then momenta, each with one scale, which keeps a system canonical. */
export function unitsOf(table: Table, log: readonly string[], paired: boolean): Units {
  const { state, series } = table;
  const unknown = log.find((name) => !state.includes(name));
  if (unknown !== undefined) throw new Failure(`--log: no column ${unknown} in the state: ${state.join(", ")}`, 2);
  const logs = state.map((name) => log.includes(name));
  const columns = state.map((name, i) => {
    const values = series.flatMap(({ rows }) => rows.map((row) => row[i] as number));
    const seen = values.filter((value) => !Number.isNaN(value));
    if (logs[i] && seen.some((value) => value <= 0)) {
      throw new Failure(`--log: the column ${name} has values that are not positive`);
    }
    const present = seen.map((value) => learned(value, logs[i] as boolean));
    if (present.length < 2) throw new Failure(`the column ${name} has fewer than two values`);
    return present;
  });
  const mean = columns.map((values) => average(values));
  const variance = columns.map((values, i) => average(values.map((value) => (value - (mean[i] as number)) ** 2)));
  const half = state.length / 2;
  const shared = [average(variance.slice(0, half)), average(variance.slice(half))];
  // A column that never changes keeps its own unit.
  const scale = variance.map((own, i) => Math.sqrt(paired ? (shared[i < half ? 0 : 1] as number) : own) || 1);
  const units = { log: logs, mean, scale, timeScale: 1 };
  return { ...units, timeScale: timeOfChange(series.map((own) => toUnits(own, units))) };
}

const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function learned(value: number, log: boolean): number {
  if (log && value <= 0) throw new Failure(`${value}: no logarithm, in a column that is learned as one`);
  return log ? Math.log(value) : value;
}

/** How long it takes until states differ by 1, their deviation, on average: from pairs of rows ever further apart. */
function timeOfChange(trajectories: readonly Trajectory[]): number {
  let [most, time] = [0, 0];
  const longest = Math.max(...trajectories.map(({ times }) => times.length));
  for (let lag = 1; lag < longest; lag = Math.ceil(lag * 1.2)) {
    let [square, numbers, elapsed, pairs] = [0, 0, 0, 0];
    for (const { times, values } of trajectories) {
      const state = values.length / times.length;
      for (let row = 0; row + lag < times.length; row++) {
        elapsed += (times[row + lag] as number) - (times[row] as number);
        pairs++;
        for (let i = 0; i < state; i++) {
          const change = (values[(row + lag) * state + i] as number) - (values[row * state + i] as number);
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

/** A series as the model sees it. */
export function toUnits(
  series: Series,
  { log, mean, scale, timeScale }: Units,
): Trajectory & { readonly values: Float32Array } {
  const values = series.rows.flatMap((row) =>
    row.map((value, i) => (learned(value, log[i] as boolean) - (mean[i] as number)) / (scale[i] as number)),
  );
  return { times: series.times.map((time) => time / timeScale), values: Float32Array.from(values) };
}

/** A state of the model in the table's units. */
export function fromUnits(state: ArrayLike<number>, { log, mean, scale }: Units): number[] {
  return Array.from(state, (value, i) => {
    const number = value * (scale[i] as number) + (mean[i] as number);
    return log[i] ? Math.exp(number) : number;
  });
}
