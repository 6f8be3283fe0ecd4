// Measurements at the time of y0, which no estimate changes: where they contradict y0, its time was probably left out.
import type { Coroutine } from "./coroutine.js";
import type { FittedData } from "./event-jumps.js";
import type { CompleteFitResult } from "./results.js";

/** Residuals at the first time are taken for no errors of measurement if they exceed the others, and rounding, by this factor. */
const [FAR_BEYOND, ROUNDING] = [4, 1e-6];

/**
 * A warning where measurements at first times, which are those of y0 as none was given, depend on no estimate, and are far from y0, or y0
 * itself.
 */
export function* initialStateWarning(
  { predictor, data, names, parameters }: FittedData,
  { values, residuals, freeNames }: CompleteFitResult,
): Coroutine<string | undefined> {
  const { y, places, rows, groups, trajectories, weights } = data;
  const rowOf = (i: number) => rows[places[i]?.row as number] as (typeof rows)[number];
  const isFirst = (i: number) => {
    const { trajectory, group, t } = rowOf(i);
    return !trajectories[trajectory]?.isTimed && t === groups[group]?.times[0];
  };
  const all = [...places.keys()];
  const square = (i: number, of = residuals) => (weights?.[i] ?? 1) * (of[i] as number) ** 2;
  const meanOf = (some: readonly number[], of = residuals) =>
    some.reduce((sum, i) => sum + square(i, of), 0) / some.length;
  const others = FAR_BEYOND ** 2 * meanOf(all.filter((i) => !isFirst(i)));
  const far = (some: readonly number[]) => meanOf(some) > Math.max(others, ROUNDING ** 2 * meanOf(some, y));
  const first = all.filter(isFirst);
  const isExact = (i: number) => residuals[i] === 0;
  if (!far(first) && !first.some(isExact)) return undefined;
  const free = freeNames
    .map((name) => parameters.findIndex((parameter) => parameter.name === name))
    .filter((k) => k >= 0);
  const predictions = yield* predictor.predict(values.subarray(0, parameters.length), free);
  const slopes = predictions && (yield* predictions.slopes());
  if (!slopes) return undefined;
  const fixed = first.filter((i) => free.every((_, j) => slopes[i * free.length + j] === 0));
  if (!far(fixed)) {
    const exact = fixed.filter(isExact).length;
    if (exact === 0) return undefined;
    const many =
      exact === 1
        ? "A measurement at the first time is y0 itself, and counts"
        : `${exact} measurements at first times are y0 itself, and count`;
    return `${many} as if it had no error, so standard errors come out too small. Leave such measurements out and pass t0, or estimate the initial state.`;
  }
  const worst = fixed.reduce((a, b) => (square(b) > square(a) ? b : a));
  const { t, trajectory } = rowOf(worst);
  const whose = trajectories.length > 1 ? ` of trajectory ${trajectories[trajectory]?.name}` : "";
  const name = names[places[worst]?.observed as number];
  const by = Math.abs(residuals[worst] as number).toPrecision(3);
  return `The measurement of ${name} at the first time, ${Number(t.toPrecision(6))}${whose}, depends on no estimate and differs from y0 by ${by}, far more than others differ from their predictions. Did you mean t0? It is the time of y0, and by default the first time.`;
}
