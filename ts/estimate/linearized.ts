// A problem at some values, as it is linearised there.
import { type Columns, columnsOf, dot, EPSILON, norm, qr, type Svd, svd, times, transposeTimes } from "./linear.js";
import type { Bounds, Evaluation } from "./problem.js";

/** Values with all that the linearised problem needs. */
export interface Point<E extends Evaluation = Evaluation> {
  readonly x: Float64Array;
  readonly evaluation: E;
  readonly jacobian: Float64Array;
  readonly gradient: Float64Array;
  /** ‖r‖, and that of each column of J. */
  readonly residual: number;
  readonly lengths: Float64Array;
  /** R and the first of Qᵀ r, of J = Q R: they have all of J and r that matters to steps. */
  readonly r: Columns;
  readonly projected: Float64Array;
  readonly project: (b: Float64Array) => Float64Array;
}

/** Undefined where the Jacobian cannot be computed. */
export function pointAt<E extends Evaluation>(x: Float64Array, evaluation: E): Point<E> | undefined {
  const jacobian = evaluation.jacobian();
  if (!(jacobian && areFinite(jacobian))) return undefined;
  const columns = columnsOf(jacobian, x.length);
  const { residuals } = evaluation;
  const [gradient, lengths] = [transposeTimes(columns, residuals), Float64Array.from(columns, norm)];
  const { r, project } = qr(columns);
  const [residual, projected] = [norm(residuals), project(residuals)];
  return { x, evaluation, jacobian, gradient, residual, lengths, r, projected, project };
}

export function areFinite(numbers: Float64Array): boolean {
  return numbers.every(Number.isFinite);
}

/** The variables that a small step may change: not those at a bound that the gradient pushes them against. */
export function freeOf({ x, gradient }: Point, { lower, upper }: Bounds): number[] {
  const isFree = (i: number) => {
    const [value, slope] = [x[i] as number, gradient[i] as number];
    const [least, most] = [lower[i] as number, upper[i] as number];
    return least < most && !(value <= least && slope > 0) && !(value >= most && slope < 0);
  };
  return Array.from(x.keys()).filter(isFree);
}

/** How far the residuals are from orthogonal to the free columns of the Jacobian: the largest |cosine|. */
export function cosineOf({ gradient, lengths, residual }: Point, free: readonly number[]): number {
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
export function model({ gradient, r, projected }: Point, step: Float64Array): number {
  const change = times(r, step, projected.length);
  return dot(gradient, step) + 0.5 * dot(change, change);
}

/** x + s, exactly at a bound where s goes there or beyond. */
export function moved(x: Float64Array, step: Float64Array, { lower, upper }: Bounds): Float64Array {
  return x.map((value, i) => {
    const [s, least, most] = [step[i] as number, lower[i] as number, upper[i] as number];
    // By the same difference as the steps that end there: adding it to x may miss the bound by rounding.
    if (s <= least - value) return least;
    return s >= most - value ? most : Math.min(most, Math.max(least, value + s));
  });
}

/** The problem in the free variables as linearised, each in units of its own. */
export interface Linear {
  readonly free: readonly number[];
  readonly scaling: Float64Array;
  readonly decomposed: Svd;
  /** Uᵀ r, 0 where the singular value is rounding. */
  readonly projected: Float64Array;
  /** Its length, of which half the square is the fall that a Gauss–Newton step promises; and relative to ‖r‖ (Bates and Watts). */
  readonly size: number;
  readonly offset: number;
}

export function linearized(
  point: Point,
  free: readonly number[],
  scaling: Float64Array,
  residuals = point.projected,
): Linear {
  const columns = free.map((i) => (point.r[i] as Float64Array).map((value) => value / (scaling[i] as number)));
  const decomposed = svd(columns);
  const { singularValues } = decomposed;
  const rounding = EPSILON * Math.max(free.length, residuals.length) * (singularValues[0] ?? 0);
  const projected = decomposed.project(residuals);
  for (const [j, value] of singularValues.entries()) if (value <= rounding) projected[j] = 0;
  const size = norm(projected);
  return { free, scaling, decomposed, projected, size, offset: point.residual === 0 ? 0 : size / point.residual };
}

/** −V z / D, as a step of all variables. */
export function stepOf({ free, scaling, decomposed }: Linear, z: Float64Array, n: number): Float64Array {
  const scaled = times(decomposed.right, z);
  const step = new Float64Array(n);
  for (const [j, i] of free.entries()) step[i] = -(scaled[j] as number) / (scaling[i] as number);
  return step;
}

/** The least step to the minimum of the linearised problem. */
export function gaussNewton(linear: Linear, n: number): Float64Array {
  const { projected, decomposed } = linear;
  const z = projected.map((p, j) => (p === 0 ? 0 : p / (decomposed.singularValues[j] as number)));
  return stepOf(linear, z, n);
}
