// The Hudson Bay record in logarithms of mean 0 and deviation 1, short windows first: over a long one an untrained field
// goes astray, and its gradient with it.
import { mlp } from "symplectic-adjoint/slim";
import text from "../../../../data/lynx-hare.csv?raw";
import type { SeriesValues } from "../messages.js";
import { column, gridOf, type LearningTask, range, solved, squaredError, type TaskBatch, widths } from "../task.js";

const SCHEDULE = [
  { until: 150, length: 3, factor: 1 },
  { until: 350, length: 6, factor: 1 },
  { until: 550, length: 11, factor: 0.5 },
  { until: 750, length: 16, factor: 0.5 },
  { until: 1150, length: 21, factor: 0.3 },
  { until: Number.POSITIVE_INFINITY, length: 21, factor: 0.1 },
];
const [SIDE, FINE] = [20, 8];
const extent = [-2.4, 2.4, -2.4, 2.4] as const;

export const rows = text
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => line.split(",").map(Number) as [year: number, hare: number, lynx: number]);
export const years = rows.map(([year]) => year);
const units = ([1, 2] as const).map((index) => {
  const logs = rows.map((row) => Math.log(row[index]));
  const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
  const deviation = Math.sqrt(logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logs.length);
  return { mean, deviation };
}) as [Unit, Unit];
interface Unit {
  mean: number;
  deviation: number;
}
const states = Float32Array.from(
  rows.flatMap(([, hare, lynx]) => [hare, lynx].map((value, i) => learned(value, units[i as 0 | 1]))),
);

function learned(pelts: number, { mean, deviation }: Unit): number {
  return (Math.log(pelts) - mean) / deviation;
}

export function lynxHare(): LearningTask {
  const grid = gridOf(extent, SIDE);
  const fine = range(FINE * (years.length - 1) + 1).map((i) => i / FINE);
  const pelts = (index: 0 | 1): SeriesValues =>
    fine.map((_, i) => (i % FINE === 0 ? (rows[i / FINE]?.[(index + 1) as 1 | 2] ?? null) : null));
  return {
    scene: {
      extent,
      axes: ["hare, log, standardised", "lynx, log, standardised"],
      data: states,
      morphs: false,
      series: {
        title: "thousands of pelts",
        x: fine.map((t) => (years[0] as number) + t),
        names: ["hare", "lynx"],
        data: [pelts(0), pelts(1)],
      },
      loss: { name: "mean squared error", logarithmic: true },
    },
    makeField: (config) =>
      mlp({ widths: widths(config, 2), activation: config.activation, seed: config.seed, dtype: "float32" }),
    batch(step): TaskBatch {
      const { length, factor } = SCHEDULE.find(({ until }) => step < until) as (typeof SCHEDULE)[0];
      const starts = years.length - length + 1;
      const times = range(length);
      const target = Float32Array.from(times.flatMap((year) => [...states.subarray(2 * year, 2 * (year + starts))]));
      return { y0: states.slice(0, 2 * starts), times, target, factor, note: `windows of ${length} years` };
    },
    gradient: squaredError,
    picture(field, options) {
      const y = solved(field, states.slice(0, 2), fine, options);
      const series = units.map(({ mean, deviation }, i) =>
        column(y, i as 0 | 1).map((value) => Math.exp(value * deviation + mean)),
      );
      return { field: field.evaluate(0, grid), fieldSide: SIDE, paths: [y], series };
    },
  };
}
