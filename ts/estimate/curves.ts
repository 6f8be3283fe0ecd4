// Fitted curves, with standard errors.
import { frozen } from "../checks/frozen.js";
import { number } from "../checks/rules.js";
import type { Coroutine } from "./coroutine.js";
import type { Curve } from "./field-results.js";
import type { ModelParameter } from "./parameters.js";
import type { Predictions, Predictor } from "./predictions.js";
import type { CompleteFitResult } from "./results.js";
import type { Data } from "./trajectories.js";

/** How many points a curve may have. */
export const pointsRule = number(
  "an integer, 2 or more",
  (value) => Number.isInteger(value) && value >= 2 && value < 2 ** 24,
);

/** The data, the model and the parameters of a fit. */
interface Fit {
  readonly data: Data;
  /** The names of the observed quantities. */
  readonly names: readonly string[];
  readonly parameters: readonly ModelParameter[];
  readonly predictorOf: (data: Data) => Predictor;
}

/** The curves of trajectories. With `allOrNone`, the result is undefined if one of them has no standard errors. */
export function* curvesOf(
  fit: Fit,
  result: CompleteFitResult,
  indices: readonly number[],
  points: number,
  allOrNone: boolean,
): Coroutine<Curve[] | undefined> {
  const { data: measured, names: observed, parameters } = fit;
  const groups = indices.map((index) => {
    const own = measured.rows.filter(({ trajectory }) => trajectory === index);
    const from = measured.groups.find(({ members }) => members.includes(index))?.times[0] as number;
    const to = own.at(-1)?.t ?? from;
    const times = Float64Array.from({ length: points }, (_, i) => {
      return i + 1 === points ? to : from + ((to - from) * i) / (points - 1);
    });
    return { times, members: [index] };
  });
  const rows = groups.flatMap(({ times, members: [trajectory] }, group) =>
    Array.from(times, (t, time) => ({ trajectory: trajectory as number, t, group, member: 0, time })),
  );
  const width = observed.length;
  const places = rows.flatMap((_, row) => observed.map((_, which) => ({ row, observed: which })));
  const y = new Float64Array(places.length);
  const data = { ...measured, groups, rows, places, y, weights: undefined };
  // The free parameters of the model, with their places among all that are free.
  const names = result.freeNames.map((name) => parameters.findIndex((parameter) => parameter.name === name));
  const kept = names.flatMap((k, i) => (k >= 0 ? [{ k, i }] : []));
  const values = result.values.subarray(0, parameters.length);
  const predictions = yield* fit.predictorOf(data).predict(
    values,
    kept.map(({ k }) => k),
  );
  const slopes = predictions && (yield* predictions.slopes());
  if (allOrNone && !slopes) return undefined;
  const { f } = predictions as Predictions;
  const slopesOf = (row: number) =>
    slopes?.subarray(row * kept.length, (row + 1) * kept.length) ?? new Float64Array(kept.length).fill(Number.NaN);
  const standardErrors = y.map((_, row) => {
    const own = slopesOf(row);
    const all = new Float64Array(names.length);
    for (const [a, { i }] of kept.entries()) all[i] = own[a] as number;
    return Math.sqrt(result.varianceOf(all));
  });
  return groups.map(({ times, members: [index] }, k) => {
    const part = (all: Float64Array) => all.slice(k * points * width, (k + 1) * points * width);
    const { name } = measured.trajectories[index as number] as Data["trajectories"][number];
    return frozen({ name, times, y: part(f), standardErrors: part(standardErrors) });
  });
}
