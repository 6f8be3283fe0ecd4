// A problem at some values, as it is linearised there.
import { firstNotFinite } from "../checks/arrays.js";
import type { Coroutine } from "./coroutine.js";
import { dot, EPSILON, norm, svd, times } from "./linear.js";
import type { Bounds, Evaluation } from "./problem.js";
import {
  aboveDiagonal,
  columnsOfRows,
  conditionBound,
  countOf,
  dividedRows,
  lengthsOf,
  qrOfRows,
  type Rows,
  rowsOf,
  solvedRows,
  timesRows,
  transposeSolvedRows,
  transposeTimesRows,
} from "./triangle.js";

/** Values with all that the linearised problem needs. */
export interface LinearizationPoint<E extends Evaluation = Evaluation> {
  readonly x: Float64Array;
  readonly evaluation: E;
  readonly jacobian: Float64Array;
  readonly gradient: Float64Array;
  /** ‖r‖, and that of each column of J. */
  readonly residual: number;
  readonly lengths: Float64Array;
  /** R and the first of Qᵀ r, of J = Q R: they have all of J and r that matters to steps. */
  readonly rows: Rows;
  readonly projected: Float64Array;
  readonly project: (b: Float64Array) => Float64Array;
}

/** Undefined where the Jacobian cannot be computed. */
export function* pointAt<E extends Evaluation>(
  x: Float64Array,
  evaluation: E,
): Coroutine<LinearizationPoint<E> | undefined> {
  const jacobian = yield* evaluation.jacobian();
  if (!jacobian || firstNotFinite(jacobian) >= 0) return undefined;
  const { residuals } = evaluation;
  const own = rowsOf(jacobian, x.length);
  const [gradient, lengths] = [transposeTimesRows(own, residuals, x.length), lengthsOf(own, x.length)];
  const { rows, project } = qrOfRows(own, x.length);
  const [residual, projected] = [norm(residuals), project(residuals)];
  return { x, evaluation, jacobian, gradient, residual, lengths, rows, projected, project };
}

/** The variables that a small step may change: not those at a bound that the gradient pushes them against. */
export function freeVariables({ x, gradient }: LinearizationPoint, { lower, upper }: Bounds): number[] {
  const isFree = (i: number) => {
    const [value, slope] = [x[i] as number, gradient[i] as number];
    const [least, most] = [lower[i] as number, upper[i] as number];
    return least < most && !(value <= least && slope > 0) && !(value >= most && slope < 0);
  };
  return Array.from(x.keys()).filter(isFree);
}

/** How far the residuals are from orthogonal to the free columns of the Jacobian: the largest |cosine|. */
export function cosineOf({ gradient, lengths, residual }: LinearizationPoint, free: readonly number[]): number {
  const cosines = free.map((i) => {
    const size = (lengths[i] as number) * residual;
    return size === 0 ? 0 : Math.abs(gradient[i] as number) / size;
  });
  return Math.max(0, ...cosines);
}

/** ‖D s‖. */
export function scaledNorm(step: Float64Array, scaling: Float64Array): number {
  return norm(step.map((s, i) => s * (scaling[i] as number)));
}

/** gᵀ s + ‖J s‖²/2. */
export function modelChange({ gradient, rows }: LinearizationPoint, step: Float64Array): number {
  const change = timesRows(rows, step);
  return dot(gradient, step) + 0.5 * dot(change, change);
}

/** x + s, exactly at a bound where s goes there or beyond. */
export function stepWithinBounds(x: Float64Array, step: Float64Array, { lower, upper }: Bounds): Float64Array {
  return x.map((value, i) => {
    const [s, least, most] = [step[i] as number, lower[i] as number, upper[i] as number];
    // By the same difference as the steps that end there: adding it to x may miss the bound by rounding.
    if (s <= least - value) return least;
    return s >= most - value ? most : Math.min(most, Math.max(least, value + s));
  });
}

/** The problem in the free variables as linearised, each in units of its own: A z ≈ b, for a step −z. */
export interface LinearizedProblem {
  readonly free: readonly number[];
  readonly scaling: Float64Array;
  /** The length of what of b a step can make vanish; half its square is the fall that a Gauss–Newton step promises. */
  readonly size: number;
  /** That relative to ‖r‖ (Bates and Watts). */
  readonly offset: number;
  /** z of (AᵀA + λ) z = Aᵀ b, the least one where λ is 0: of all variables, 0 for those that are not free. */
  solve(lambda: number, b?: Float64Array): DampedStep;
}

/** A damped step in reduced variables, for some λ. */
interface DampedStep {
  readonly z: Float64Array;
  /** zᵀ (AᵀA + λ)⁻¹ z. */
  decline(): number;
}

/** If the bound on its condition number exceeds this, a matrix may be rank-deficient, and its singular values are computed. */
const DOUBTFUL = 1e10;

export function linearized(
  point: LinearizationPoint,
  free: readonly number[],
  scaling: Float64Array,
  residuals = point.projected,
): LinearizedProblem {
  const n = point.x.length;
  const divisors = new Float64Array(n);
  for (const i of free) divisors[i] = scaling[i] as number;
  const scaled = dividedRows(point.rows, divisors);
  // Without some columns, it is no triangle.
  const { rows, project } = free.length === n ? { rows: scaled, project: undefined } : qrOfRows(scaled, n);
  const reduced = (b: Float64Array) => project?.(b) ?? b;
  // A variable without influence stays where it is.
  const effective = free.filter((i) => point.lengths[i] !== 0);
  const isFullRank = countOf(rows) === effective.length && conditionBound(rows, n) < DOUBTFUL;
  const { size, solve } = isFullRank ? byTriangle(rows, n) : bySingularValues(rows, free, n);
  const reducedResiduals = reduced(residuals);
  const length = size(reducedResiduals);
  return {
    free,
    scaling,
    size: length,
    offset: point.residual === 0 ? 0 : length / point.residual,
    solve: (lambda, b) => solve(lambda, b ? reduced(b) : reducedResiduals),
  };
}

/** Solves by R, and where λ is positive by that of R above √λ. */
function byTriangle(rows: Rows, n: number) {
  const solve = (lambda: number, b: Float64Array): DampedStep => {
    let [triangle, projected] = [rows, b];
    if (lambda > 0) {
      const both = qrOfRows(aboveDiagonal(rows, Math.sqrt(lambda)), n);
      const whole = new Float64Array(2 * b.length);
      whole.set(b);
      [triangle, projected] = [both.rows, both.project(whole)];
    }
    const z = solvedRows(triangle, projected, n);
    return { z, decline: () => squareOf(transposeSolvedRows(triangle, z)) };
  };
  return { size: norm, solve };
}

/** Solves by singular values, of which those that are rounding count as 0. */
function bySingularValues(rows: Rows, free: readonly number[], n: number) {
  const { singularValues, right, project } = svd(columnsOfRows(rows, free));
  const rounding = EPSILON * Math.max(free.length, countOf(rows)) * (singularValues[0] ?? 0);
  const projected = (b: Float64Array) => project(b).map((p, j) => ((singularValues[j] as number) > rounding ? p : 0));
  const solve = (lambda: number, b: Float64Array): DampedStep => {
    const damped = projected(b).map((p, j) => {
      const sigma = singularValues[j] as number;
      return p === 0 ? 0 : lambda === 0 ? p / sigma : (p * sigma) / (sigma * sigma + lambda);
    });
    const decline = () =>
      damped.reduce((sum, p, j) => (p === 0 ? sum : sum + p ** 2 / ((singularValues[j] as number) ** 2 + lambda)), 0);
    const z = new Float64Array(n);
    for (const [k, value] of times(right, damped).entries()) z[free[k] as number] = value;
    return { z, decline };
  };
  return { size: (b: Float64Array) => norm(projected(b)), solve };
}

const squareOf = (a: Float64Array) => dot(a, a);

/** −z / D, as a step. */
export function stepOf({ scaling }: LinearizedProblem, z: Float64Array): Float64Array {
  return z.map((value, i) => (value === 0 ? 0 : -value / (scaling[i] as number)));
}

/** The least step to the minimum of the linearised problem. */
export const gaussNewton = (linear: LinearizedProblem): Float64Array => stepOf(linear, linear.solve(0).z);
