// Steps within a trust region and bounds.
import { axpy, dot, norm } from "./linear.js";
import {
  type LinearizationPoint,
  type LinearizedProblem,
  linearized,
  modelChange,
  scaledNorm,
  stepOf,
  stepWithinBounds,
} from "./linearized.js";
import type { Bounds } from "./problem.js";
import { timesRows } from "./triangle.js";

/** The fraction that a step has to lower the model by of what the Cauchy step does. */
const CAUCHY = 0.1;
/** How far ahead to look for how a step bends, and how much of its length it may. */
const [AHEAD, STRAIGHTEST] = [0.1, 0.75];

/** A step, whether the region shortened it and by which λ, and whether a bound did. */
export interface TrialStep {
  readonly step: Float64Array;
  readonly damped: boolean;
  readonly lambda: number;
  readonly bounded: boolean;
}

/** The minimiser of the linearised problem within the region, and whether the region shortened it. */
function dampedStep(linear: LinearizedProblem, radius: number): TrialStep {
  let found = linear.solve(0);
  if (!(norm(found.z) > radius)) return { step: stepOf(linear, found.z), damped: false, lambda: 0, bounded: false };
  // Newton's method for 1/‖z(λ)‖ = 1/radius, which is almost linear in λ: it comes from below (Reinsch 1971, Hebden 1973).
  let lambda = 0;
  for (let i = 0; i < 100; i++) {
    const length = norm(found.z);
    if (length <= 1.001 * radius) break;
    lambda += ((length / radius - 1) * length ** 2) / found.decline();
    found = linear.solve(lambda);
  }
  return { step: stepOf(linear, found.z), damped: true, lambda, bounded: false };
}

/** A step within the region and the bounds that lowers the model by at least a fraction of what the Cauchy step does. */
export function trialStep(
  point: LinearizationPoint,
  problem: LinearizedProblem,
  radius: number,
  bounds: Bounds,
): TrialStep {
  const { x } = point;
  const { lower, upper } = bounds;
  const { free, scaling } = problem;
  const n = x.length;
  /** Which part of the step a variable can go before it meets a bound. */
  const room = (i: number, s: number) => {
    const value = x[i] as number;
    if (s === 0) return Number.POSITIVE_INFINITY;
    return ((s < 0 ? (lower[i] as number) : (upper[i] as number)) - value) / s;
  };
  let trial = dampedStep(problem, radius);
  const fixed = new Float64Array(n);
  let remaining = free;
  let [bounded, isDamped] = [false, trial.damped];
  for (;;) {
    const { step } = trial;
    let [nearest, least] = [-1, 1];
    for (const i of remaining) {
      const part = room(i, step[i] as number);
      if (part < least) [nearest, least] = [i, part];
    }
    if (nearest < 0) break;
    bounded = true;
    const value = x[nearest] as number;
    fixed[nearest] = ((step[nearest] as number) < 0 ? (lower[nearest] as number) : (upper[nearest] as number)) - value;
    remaining = remaining.filter((i) => i !== nearest);
    const used = scaledNorm(fixed, scaling);
    const residuals = timesRows(point.rows, fixed);
    axpy(1, point.projected, residuals);
    const linear = linearized(point, remaining, scaling, residuals);
    trial = dampedStep(linear, Math.sqrt(Math.max(0, radius ** 2 - used ** 2)));
    isDamped ||= trial.damped;
    axpy(1, fixed, trial.step);
  }
  const { step } = trial;
  if (!bounded) return trial;
  const cauchy = cauchyStep(point, problem, radius, bounds);
  if (modelChange(point, step) <= CAUCHY * modelChange(point, cauchy))
    return { step, damped: isDamped, lambda: 0, bounded };
  return { step: cauchy, damped: true, lambda: 0, bounded };
}

/** A step along the projected gradient that lowers the model enough, and is not much too short. */
function cauchyStep(
  point: LinearizationPoint,
  { free, scaling }: LinearizedProblem,
  radius: number,
  bounds: Bounds,
): Float64Array {
  const { x, gradient } = point;
  const direction = new Float64Array(x.length);
  for (const i of free) direction[i] = -(gradient[i] as number) / (scaling[i] as number) ** 2;
  const at = (t: number) => {
    const target = stepWithinBounds(
      x,
      direction.map((d) => t * d),
      bounds,
    );
    return target.map((value, i) => value - (x[i] as number));
  };
  const isGood = (step: Float64Array) =>
    scaledNorm(step, scaling) <= radius && modelChange(point, step) <= 0.01 * dot(gradient, step);
  let t = radius / scaledNorm(direction, scaling);
  let step = at(t);
  if (isGood(step)) {
    for (let i = 0; i < 50; i++) {
      t *= 2;
      const longer = at(t);
      if (!isGood(longer) || longer.every((s, i) => s === step[i])) break;
      step = longer;
    }
    return step;
  }
  for (let i = 0; i < 1000 && !isGood(step); i++) {
    t /= 2;
    step = at(t);
  }
  return step;
}

/** Where to look for how a step bends. */
export const probeStep = (step: Float64Array) => step.map((s) => AHEAD * s);

/**
 * A step with the geodesic acceleration of Transtrum and Sethna (arXiv:1201.5885), from the second derivative of the residuals along
 * it: it follows valleys that turn.
 */
export function withGeodesicAcceleration(
  point: LinearizationPoint,
  linear: LinearizedProblem,
  { step, lambda }: TrialStep,
  ahead: Float64Array,
): Float64Array {
  const along = point.project(ahead.map((value, i) => value - (point.evaluation.residuals[i] as number)));
  axpy(-AHEAD, timesRows(point.rows, step), along);
  const { z } = linear.solve(
    lambda,
    along.map((value) => value / AHEAD ** 2),
  );
  // Half of the acceleration, which is twice this divided by the square of AHEAD.
  const half = stepOf(linear, z);
  if (!(2 * scaledNorm(half, linear.scaling) <= STRAIGHTEST * scaledNorm(step, linear.scaling))) return step;
  return step.map((s, i) => s + (half[i] as number));
}
