// The last digits: a converged fit is close enough for statistics, and a few more steps give all digits that rounding allows.
import type { Coroutine } from "./coroutine.js";
import { axpy, svd, times } from "./linear.js";
import { freeVariables, gaussNewton, type LinearizationPoint, linearized, stepWithinBounds } from "./linearized.js";
import type { Bounds, Evaluation } from "./problem.js";

/** The most Gauss–Newton steps, and the most that are mixed. */
const [STEPS, MIXED] = [10, 6];

/** Computes linearization points. */
export interface Linearizer<E extends Evaluation> {
  evaluate(x: Float64Array): Coroutine<E | undefined>;
  linearize(x: Float64Array, evaluation: E): Coroutine<LinearizationPoint<E> | undefined>;
  /** Whether a step no longer matters that changes the residuals, as a vector, by this length. */
  isSmall(step: Float64Array, x: Float64Array, size: number): boolean;
}

/** Gauss–Newton steps from a minimum, as long as each brings it closer. */
export function* refined<E extends Evaluation>(
  minimum: LinearizationPoint<E>,
  scaling: Float64Array,
  bounds: Bounds,
  of: Linearizer<E>,
): Coroutine<LinearizationPoint<E>> {
  let point = minimum;
  for (let i = 0, history: Iterate[] = []; i < STEPS; i++) {
    const linear = linearized(point, freeVariables(point, bounds), scaling);
    const step = gaussNewton(linear);
    if (of.isSmall(step, point.x, linear.size)) break;
    const { x: old } = point;
    history = [
      ...history,
      {
        x: old.map((value, j) => value * (scaling[j] as number)),
        step: step.map((s, j) => s * (scaling[j] as number)),
      },
    ].slice(-MIXED);
    const mixed = andersonStep(history).map((s, j) => s / (scaling[j] as number));
    const x = stepWithinBounds(old, mixed, bounds);
    if (!x.every((value, j) => value === (old[j] as number) + (mixed[j] as number))) break;
    const evaluation = yield* of.evaluate(x);
    // A rise of the cost may be rounding, or the effect of curvature on so small a step: the gradient decides.
    const rise = linear.size ** 2 + 1e-10 * (Math.abs(point.evaluation.cost) + point.residual ** 2);
    if (!evaluation || evaluation.cost > point.evaluation.cost + rise) break;
    const next: LinearizationPoint<E> | undefined = yield* of.linearize(x, evaluation);
    if (!next || !(linearized(next, freeVariables(next, bounds), scaling).size < linear.size)) break;
    point = next;
  }
  return point;
}

/** Values and the Gauss–Newton step from there, scaled. */
interface Iterate {
  readonly x: Float64Array;
  readonly step: Float64Array;
}

/**
 * Anderson's (1965) acceleration of Gauss–Newton steps: where residuals are large, those converge linearly, and this supplies the
 * curvature that they leave out.
 */
function andersonStep(history: readonly Iterate[]): Float64Array {
  const { x, step } = history.at(-1) as Iterate;
  const changes = history.slice(0, -1).map((before) => ({
    x: x.map((value, i) => value - (before.x[i] as number)),
    step: step.map((value, i) => value - (before.step[i] as number)),
  }));
  const columns = changes.map((change) => change.step);
  const { singularValues, right, project } = svd(columns);
  const projected = project(step).map((p, j) => {
    const sigma = singularValues[j] as number;
    return sigma > 1e-10 * (singularValues[0] as number) ? p / sigma : 0;
  });
  const weights = times(right, projected, columns.length);
  const mixed = step.slice();
  for (const [j, change] of changes.entries()) {
    axpy(-(weights[j] as number), change.x, mixed);
    axpy(-(weights[j] as number), change.step, mixed);
  }
  return mixed;
}
