// Whether derivatives of predictions agree with differences of them.
import { uniforms } from "../trace/random.js";
import type { Coroutine } from "./coroutine.js";
import type { ModelParameter } from "./parameters.js";
import type { Predictor } from "./predictions.js";

/**
 * By which parts values are moved to see whether derivatives agree with differences, and by which part they may disagree. The first may
 * take a measurement over an event, where the second need not; but that is for exact solutions.
 */
const [DIFFERENCES, DISAGREEMENT] = [[1e-4, 1e-6] as const, 0.1];

/**
 * Whether slopes agree with central differences along a direction in which all that is estimated moves. With its step sizes held fixed,
 * the derivative of a solution at the limit of stability may grow without bound, while the solution does not.
 */
export function* derivativesAgree(
  predictor: Predictor,
  parameters: readonly ModelParameter[],
  values: Float64Array,
  rtol: number,
): Coroutine<boolean> {
  const free = parameters.flatMap(({ fixed }, k) => (fixed ? [] : [k]));
  if (free.length === 0) return true;
  const middle = yield* predictor.predict(values, free);
  const slopes = middle && (yield* middle.slopes());
  // Solves that fail are reported elsewhere.
  if (!middle || !slopes) return middle === undefined;
  const length = (all: Float64Array) => Math.sqrt(all.reduce((sum, value) => sum + value * value, 0));
  const level = length(middle.f);
  // A change of a parameter by this size changes the predictions by as much as they are. It is less than the value if that is, say, a date.
  const sizes = free.map((_, j) => level / length(middle.f.map((_, i) => slopes[i * free.length + j] as number)));
  function* agrees(part: number, slopes: Float64Array): Coroutine<boolean | undefined> {
    const step = stepBy(part, values, parameters, free, sizes);
    const at = (side: number) => predictor.predict(values.map((value, k) => value + side * (step[k] as number)));
    const [above, below] = [yield* at(1), yield* at(-1)];
    // It may not be solvable there, which says nothing of the derivatives here.
    if (!above || !below) return undefined;
    const differences = above.f.map((value, i) => (value - (below.f[i] as number)) / 2);
    const apart = differences.map((difference, i) =>
      free.reduce((sum, k, j) => sum - (slopes[i * free.length + j] as number) * (step[k] as number), difference),
    );
    return length(apart) <= DISAGREEMENT * length(differences) + 10 * rtol * level;
  }
  const seen: (boolean | undefined)[] = [];
  for (const part of DIFFERENCES.filter((part, i) => i === 0 || rtol <= 1e-3 * part))
    seen.push(yield* agrees(part, slopes));
  return !seen.includes(false) || seen.includes(true);
}

/** A step of all that is estimated by a part of itself, or of its size, in directions that do not cancel. */
function stepBy(
  part: number,
  values: Float64Array,
  parameters: readonly ModelParameter[],
  free: readonly number[],
  sizes: readonly number[],
): Float64Array {
  const step = new Float64Array(values.length);
  const sign = uniforms(1);
  for (const [j, k] of free.entries()) {
    const { start, lower, upper } = parameters[k] as ModelParameter;
    const value = values[k] as number;
    const own = Math.abs(value) || Math.abs(start);
    // If predictions or slopes are 0, there is no such size.
    const size = (sizes[j] as number) > 0 ? Math.min(own, sizes[j] as number) : own;
    const by = part * size * (sign() < 0.5 ? -1 : 1);
    if (value - Math.abs(by) > lower && value + Math.abs(by) < upper) step[k] = by;
  }
  return step;
}
