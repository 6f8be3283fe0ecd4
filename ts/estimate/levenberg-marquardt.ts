// Levenberg–Marquardt with a trust region and bounds.
//
// Without bounds it is that of Moré (1978), the lmder of MINPACK: a trust region in the norm of the Jacobian's columns, and in it
// the exact minimiser of the linearised problem, from a QR decomposition, or from singular values if that does not show the rank. With
// bounds, variables that a step takes beyond theirs are fixed there one by one, and the step is solved for the others again. The result
// must lower the model by a fraction of what the projected gradient does within the region, so that the method converges for every cost
// whose model is right to first order (Conn, Gould and Toint, SIAM J. Numer. Anal. 25, 1988; Lin and Moré, SIAM J. Optim. 9, 1999).
import { firstNotFinite } from "../checks/arrays.js";
import type { Coroutine } from "./coroutine.js";
import { dot } from "./linear.js";
import {
  cosineOf,
  freeVariables,
  type LinearizationPoint,
  type LinearizedProblem,
  linearized,
  modelChange,
  pointAt,
  scaledNorm,
  stepWithinBounds,
} from "./linearized.js";
import { refined } from "./polish.js";
import type { Bounds, Evaluation, Problem } from "./problem.js";
import { probeStep, type TrialStep, trialStep, withGeodesicAcceleration } from "./trust-region.js";

export type { Evaluation, Problem } from "./problem.js";

/** How far the minimiser has come. */
export interface IterationProgress<E extends Evaluation = Evaluation> {
  /** The number of the iteration, from 1: one Jacobian and a step that lowers the cost. */
  readonly iteration: number;
  /** The variables after it. */
  readonly x: Float64Array;
  /** The evaluation at the point. */
  readonly evaluation: E;
  readonly jacobian: Float64Array;
  /** How often the cost was computed so far. */
  readonly evaluations: number;
  /** The largest |cosine| of the angles between the residuals and the columns of the Jacobian before the step. */
  readonly gradient: number;
}

/** When to stop, and within which region to search. */
export interface MinimizeOptions<E extends Evaluation = Evaluation> extends Bounds {
  /** The sizes of changes that matter; the trust region uses only their ratios. By default they come from the columns of the Jacobian. */
  readonly scale?: Float64Array | undefined;
  readonly maxIterations: number;
  /** Stop where the linearised problem promises a smaller fall, relative to ‖r‖²/2. */
  readonly costTolerance: number;
  /** Stop where no variable changes by more, relative to itself. */
  readonly stepTolerance: number;
  /** Stop where the cosines of `Progress` are smaller. */
  readonly gradientTolerance: number;
  /** Residuals of this length are only what is left of inexact predictions. */
  readonly residualError?: number | undefined;
  /** The length of the errors that residuals may have: what a step gains beside them cannot be seen. */
  readonly residualTolerance?: number | undefined;
  /** Called after each iteration; false ends it. */
  readonly onIteration?: ((progress: IterationProgress<E>) => unknown) | undefined;
}

/** Why a fit ended. It has converged if this is `gradient`, `cost`, `step` or `residuals`. */
export type Reason =
  /** The gradient vanishes: the residuals are orthogonal to all that the parameters can change. */
  | "gradient"
  /** Nothing more is to be gained: the linearised model promises a fall of the cost below the tolerance. */
  | "cost"
  /** Steps no longer change the parameters. */
  | "step"
  /** The residuals vanish: beside the data, they are no more than what the solver's tolerance leaves. */
  | "residuals"
  /** `maxIterations` was reached. */
  | "iterations"
  /** `onIteration` returned false. */
  | "callback"
  /** The cost does not fall where its derivatives say that it does: they are wrong, or the residuals are noisy. */
  | "stuck"
  /** The derivatives of the solution are not those of its values, as they may be of stiff equations: nothing can be relied on. */
  | "derivatives";

/** Whether the reason means that a minimum was found. */
export const isConverged = (reason: Reason) => ["gradient", "cost", "step", "residuals"].includes(reason);

/** The point at which the search stopped. */
export interface Minimum<E extends Evaluation = Evaluation> {
  readonly x: Float64Array;
  /** That of x. */
  readonly evaluation: E;
  /** That of x. */
  readonly jacobian: Float64Array;
  readonly reason: Reason;
  readonly iterations: number;
  readonly evaluations: number;
  readonly jacobians: number;
}

/** The first radius of the trust region, in the scaled length of the start. */
const FIRST_RADIUS = 10;
/** The fraction of the predicted fall from which on a step is taken. */
const ACCEPTED = 1e-4;
/** Where steps no longer succeed, an offset or cosine so small is a minimum: a hundredth of a percent of a standard error. */
const LAST_RESORT = 1e-4;
/** The same where the errors of residuals are known, in standard errors. */
const NEAR = 0.1;
/** Residuals whose squares are no numbers. */
const VANISHING = 1e-150;
/** After this number of iterations, steps may have a second-order correction, which costs an evaluation each. */
const STRAIGHT = 10;

/**
 * Minimises from a start, which is first moved into the bounds.
 *
 * @returns Undefined where the start or its Jacobian cannot be computed.
 */
export function* minimize<E extends Evaluation>(
  problem: Problem<E>,
  start: Float64Array,
  options: MinimizeOptions<E>,
): Coroutine<Minimum<E> | undefined> {
  const {
    maxIterations,
    costTolerance,
    stepTolerance,
    gradientTolerance,
    residualError = 0,
    residualTolerance = 0,
    scale,
    onIteration,
  } = options;
  let [evaluations, jacobians, iterations] = [0, 0, 0];
  function* evaluate(x: Float64Array): Coroutine<E | undefined> {
    evaluations++;
    const evaluation = yield* problem.evaluate(x);
    if (!evaluation || !Number.isFinite(evaluation.cost)) return undefined;
    return firstNotFinite(evaluation.residuals) < 0 ? evaluation : undefined;
  }
  function linearize(x: Float64Array, evaluation: E) {
    jacobians++;
    return pointAt(x, evaluation);
  }

  const first = stepWithinBounds(start, new Float64Array(start.length), options);
  const evaluation = yield* evaluate(first);
  const begin = evaluation && (yield* linearize(first, evaluation));
  if (!begin) return undefined;
  let point = begin;
  let scaling = scale ? scale.map((size) => 1 / size) : begin.lengths.map((length) => length || 1);
  let radius = FIRST_RADIUS * (scaledNorm(first, scaling) || 1);
  const isSmall = (step: Float64Array, x: Float64Array) => {
    // A variable that is 0 is small beside the others.
    const whole = stepTolerance * (scaledNorm(x, scaling) || 1);
    const sizeOf = (i: number) => Math.max(Math.abs(x[i] as number), whole / (scaling[i] as number));
    return step.every((s, i) => Math.abs(s) <= stepTolerance * sizeOf(i));
  };
  let reason: Reason = "iterations";
  while (reason === "iterations") {
    const linear = linearized(point, freeVariables(point, options), scaling);
    const cosine = cosineOf(point, linear.free);
    if (cosine <= gradientTolerance || point.residual < VANISHING) reason = "gradient";
    else if (linear.offset ** 2 <= costTolerance) reason = "cost";
    else if (point.residual <= residualError) reason = "residuals";
    if (reason !== "iterations" || iterations === maxIterations) break;
    const found: { next: LinearizationPoint<E>; isSmall: boolean } | Reason = yield* successfulStep(linear, cosine);
    if (typeof found === "string") {
      reason = found;
      break;
    }
    point = found.next;
    iterations++;
    if (!scale) scaling = scaling.map((d, i) => Math.max(d, found.next.lengths[i] as number));
    const { evaluation, jacobian } = point;
    const progress = { iteration: iterations, x: point.x.slice(), evaluation, jacobian, evaluations, gradient: cosine };
    const goesOn = onIteration?.(progress) !== false;
    if (!goesOn) reason = "callback";
    else if (found.isSmall) reason = "step";
  }
  if (isConverged(reason)) {
    // Far closer than the errors of the residuals, there is nothing to find.
    const unseen = 0.1 * residualTolerance;
    const isLast = (step: Float64Array, x: Float64Array, size: number) => size <= unseen || isSmall(step, x);
    point = yield* refined(point, scaling, options, { evaluate, linearize, isSmall: isLast });
  }
  const { x, evaluation: last, jacobian } = point;
  return { x, evaluation: last, jacobian, reason, iterations, evaluations, jacobians };

  /** Shrinks the region until a step succeeds; or why none does. */
  function* successfulStep(
    linear: LinearizedProblem,
    cosine: number,
  ): Coroutine<{ next: LinearizationPoint<E>; isSmall: boolean } | Reason> {
    for (;;) {
      const trial = trialStep(point, linear, radius, options);
      const { step } = trial;
      const [small, length] = [isSmall(step, point.x), scaledNorm(step, scaling)];
      const [slope, predicted] = [dot(point.gradient, step), -modelChange(point, step)];
      const x = stepWithinBounds(point.x, iterations < STRAIGHT ? step : yield* bend(linear, trial), options);
      const evaluation = predicted > 0 ? yield* evaluate(x) : undefined;
      const fall = evaluation ? point.evaluation.cost - evaluation.cost : Number.NaN;
      const ratio = fall / predicted;
      const next = evaluation && ratio >= ACCEPTED ? yield* linearize(x, evaluation) : undefined;
      if (iterations === 0) radius = Math.min(radius, length);
      if (next) {
        if (ratio < 0.25) radius = 0.5 * Math.min(radius, length);
        else if (ratio > 0.75) radius = Math.max(radius, 2 * length);
        else if (!trial.damped) radius = 2 * length;
        return { next, isSmall: small };
      }
      // The gain of a shorter step would be lost in rounding even more.
      if (fall <= 0 && isUnseen(linear)) return "cost";
      if (small || !(radius > 0)) {
        if (!trial.damped) return "step";
        if (Math.min(linear.offset, cosine) <= LAST_RESORT) return "cost";
        return point.residual <= residualTolerance ? "residuals" : "stuck";
      }
      // To the minimum of the parabola along the step, if the cost rose; of a step that cannot be computed, nothing is known.
      const part = fall <= 0 ? Math.max(0.1, Math.min(0.5, (0.5 * slope) / (slope + fall))) : 0.25;
      radius = part * Math.min(radius, length);
    }
  }

  /** Whether errors of the residuals change the cost by more than any step gains, and what is left to gain does not matter. */
  function isUnseen({ size }: LinearizedProblem): boolean {
    const { residual, x, evaluation } = point;
    const standardDeviation = residual / Math.sqrt(Math.max(1, evaluation.residuals.length - x.length));
    const seen = 0.5 * size ** 2 > residualTolerance * (residual + 0.5 * residualTolerance);
    return !seen && residual > residualTolerance && size <= NEAR * standardDeviation;
  }

  /** A step along the valley that it is in. */
  function* bend(linear: LinearizedProblem, trial: TrialStep): Coroutine<Float64Array> {
    if (!trial.damped || trial.bounded) return trial.step;
    const ahead = yield* evaluate(stepWithinBounds(point.x, probeStep(trial.step), options));
    return ahead ? withGeodesicAcceleration(point, linear, trial, ahead.residuals) : trial.step;
  }
}
