// Where the prediction of a measurement jumps, because an event passes it.
import type { Coroutine } from "./coroutine.js";
import { columnsOf, svd } from "./linear.js";
import type { ModelParameter } from "./parameters.js";
import type { Predictor } from "./predictions.js";
import type { CompleteFitResult } from "./results.js";
import type { Data } from "./trajectories.js";
import { AT_EVENTS } from "./warnings.js";

/** The model, the data and the parameters of the fit. */
export interface FittedData {
  readonly predictor: Predictor;
  readonly data: Data;
  /** The names of the observed quantities. */
  readonly names: readonly string[];
  /** The parameters of the predictor, in its order. */
  readonly parameters: readonly ModelParameter[];
}

/** A change is a jump if it exceeds what derivatives and residuals explain by this factor, plus the rounding of predictions. */
const [FAR_BEYOND, ROUNDING] = [3, 1e-6];

/**
 * A warning where measurements have predictions that jump within a standard error of the estimates: along one of its principal axes
 * they change by far more than their derivatives and the residuals say.
 */
export function* eventWarning(
  { predictor, data, names, parameters }: FittedData,
  { values, covariance, freeNames }: CompleteFitResult,
): Coroutine<string | undefined> {
  const { y, places, rows, trajectories } = data;
  if (freeNames.length === 0 || !covariance.every(Number.isFinite)) return undefined;
  const parameterValues = values.subarray(0, parameters.length);
  const free = freeNames.map((name) => parameters.findIndex((parameter) => parameter.name === name));
  // Those of an error model move no prediction.
  const kept = free.flatMap((k, i) => (k < 0 ? [] : [{ k, i }]));
  const middle = yield* predictor.predict(
    parameterValues,
    kept.map(({ k }) => k),
  );
  const slopes = middle && (yield* middle.slopes());
  if (!middle || !slopes) return undefined;
  const { f } = middle;
  const errors = names.map((_, o) => {
    const squares = places.flatMap(({ observed }, i) =>
      observed === o ? [((f[i] as number) - (y[i] as number)) ** 2] : [],
    );
    return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
  });

  /** By how much predictions change beyond their derivatives, where that is far. */
  function* beyond(moved: Float64Array, slopes: Float64Array): Coroutine<readonly (readonly [number, number])[]> {
    const by = kept.map(({ k }) => (moved[k] as number) - (parameterValues[k] as number));
    const there = (yield* predictor.predict(moved))?.f ?? new Float64Array();
    return Array.from(there).flatMap((value, i) => {
      const explained = by.reduce((sum, change, j) => sum + (slopes[i * by.length + j] as number) * change, 0);
      const unexplained = value - (f[i] as number) - explained;
      const scatter = errors[places[i]?.observed as number] as number;
      const most = FAR_BEYOND * Math.max(scatter, Math.abs(explained)) + ROUNDING * Math.abs(f[i] as number);
      return Math.abs(unexplained) > most ? [[i, unexplained] as const] : [];
    });
  }

  const { right, singularValues } = svd(columnsOf(covariance, freeNames.length));
  const jumps = new Map<number, number>();
  for (const [axis, direction] of right.entries()) {
    for (const size of [1, -1].map((side) => side * Math.sqrt(singularValues[axis] as number))) {
      const moved = parameterValues.slice();
      for (const { k, i } of kept) {
        const { lower, upper } = parameters[k] as ModelParameter;
        moved[k] = Math.min(upper, Math.max(lower, (parameterValues[k] as number) + size * (direction[i] as number)));
      }
      for (const [i, jump] of yield* beyond(moved, slopes)) jumps.set(i, jump);
    }
  }
  const [largest] = [...jumps].sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  if (!largest) return undefined;
  const [at, jump] = largest;
  const { row, observed } = places[at] as Data["places"][number];
  const { trajectory, t } = rows[row] as Data["rows"][number];
  const whose = trajectories.length > 1 ? ` of trajectory ${trajectories[trajectory]?.name}` : "";
  const others = jumps.size > 1 ? `, and ${jumps.size - 1} more,` : "";
  const size = Math.abs(jump).toPrecision(2);
  return `An event passes the measurement of ${names[observed]} at t = ${Number(t.toPrecision(6))}${whose}${others} if the estimates change by a standard error: the prediction jumps there, by about ${size}. Neither derivatives nor standard errors account for that, and the fit may have ended at the jump. ${AT_EVENTS}, or leave the measurement out (NaN).`;
}
