// The noise beside which priors count, where it is estimated along with the parameters.
import type { Coroutine } from "./coroutine.js";
import { inferenceFrom } from "./inference.js";
import { type IterationProgress, isConverged, type Minimum } from "./levenberg-marquardt.js";
import type { ModelEvaluation } from "./model.js";
import type { TransformedModel } from "./transformed-model.js";
import { lengthsOf, rowsOf } from "./triangle.js";

/** The variance of the noise is iterated to this relative change, or for at most this number of fits. */
const [PRECISION, FITS] = [1e-8, 40];
/** The least standard deviation of the noise, beside what priors leave open of predictions: less, and priors drown in rounding. */
const LEAST = 1e-6;
/** A step may be longer than that of the fixed point by this factor. */
const LONGEST = 8;

/** Where a start led, and the noise there. */
export interface NoisyMinimum extends Minimum<ModelEvaluation> {
  readonly noise: number;
}

/**
 * Minimises from a start.
 *
 * With priors, the variance of the residuals decides how much these count. It is s² = ‖r‖²/(n − γ) for γ effective parameters, with the
 * parameters at their minimum beside it: the maximum of the marginal likelihood (MacKay, Neural Computation 4, 1992; REML where the model
 * is linear). That is a fixed point, which secants find on the scale of logarithms.
 */
export function* minimumFrom(
  scaled: TransformedModel,
  start: Float64Array,
  onIteration?: (progress: IterationProgress<ModelEvaluation>) => unknown,
): Coroutine<NoisyMinimum | undefined> {
  const { model, lower, upper, settings } = scaled;
  scaled.noise = (settings.noise ?? 1) ** 2;
  const isKnown = scaled.known.length === 0 || model.kind === "likelihood" || settings.noise !== undefined;
  const first = isKnown ? undefined : yield* scaled.evaluate(start);
  let [evaluations, iterations, jacobians] = [first ? 1 : 0, 0, 0];
  scaled.evaluations += evaluations;
  function* from(x: Float64Array) {
    const before = { evaluations, iterations };
    const report =
      onIteration &&
      ((now: IterationProgress<ModelEvaluation>) =>
        onIteration({
          ...now,
          iteration: before.iterations + now.iteration,
          evaluations: before.evaluations + now.evaluations,
        }));
    const found = yield* scaled.minimize(x, lower, upper, report, settings.maxIterations - iterations);
    evaluations += found?.evaluations ?? 0;
    iterations += found?.iterations ?? 0;
    jacobians += found?.jacobians ?? 0;
    return found;
  }
  if (!first) {
    const found = yield* from(start);
    return found && { ...found, noise: scaled.noise };
  }

  const data = first.differences.length;
  jacobians++;
  scaled.jacobians++;
  const least = yield* leastNoise(scaled, start, first);
  let [logarithm, before]: [number, { logarithm: number; change: number } | undefined] = [
    Math.log(Math.max(varianceOf(first, data), least)),
    undefined,
  ];
  let found: NoisyMinimum | undefined;
  for (let fit = 0; fit < FITS; fit++) {
    scaled.noise = Math.exp(logarithm);
    const next: Minimum<ModelEvaluation> | undefined = yield* from(found?.x ?? start);
    if (!next) break;
    found = { ...next, noise: scaled.noise };
    if (!isConverged(next.reason)) break;
    const { degreesOfFreedom } = inferenceFrom(scaled, next);
    const variance = varianceOf(next.evaluation, Math.max(degreesOfFreedom, Number.EPSILON * data));
    const change = Math.log(Math.max(variance, least)) - logarithm;
    // Without a number for the noise, or beyond its precision, it stays.
    if (!(Math.abs(change) > PRECISION)) break;
    const slope = before ? (change - before.change) / (logarithm - before.logarithm) : -1;
    const factor = slope < 0 ? Math.min(LONGEST, -1 / slope) : LONGEST;
    before = { logarithm, change };
    logarithm = Math.max(Math.log(least), logarithm + factor * change);
    // It would be less than it may be.
    if (logarithm === before.logarithm) break;
  }
  return found && { ...found, evaluations, iterations, jacobians };
}

/** The least variance of the noise. */
function* leastNoise(scaled: TransformedModel, x: Float64Array, evaluation: ModelEvaluation): Coroutine<number> {
  const { residuals, differences } = evaluation;
  const jacobian = (yield* evaluation.jacobian()) ?? new Float64Array();
  const first = residuals.length - scaled.known.length;
  const lengths = lengthsOf(rowsOf(jacobian.subarray(0, first * x.length), x.length), x.length);
  // The effect of a change by the prior's standard deviation or by the value itself: the prior may be wide, and the value may be a date.
  const sizes = scaled.known.map((i, k) => {
    const at = x[i] as number;
    const deviation = 1 / Math.abs(jacobian[(first + k) * x.length + i] as number);
    return (
      (lengths[i] as number) * Math.min(deviation, Math.abs(scaled.natural(i, at) / scaled.slope(i, at)) || deviation)
    );
  });
  const least = sizes.reduce((least, size) => (size > 0 ? Math.min(least, size) : least), Number.POSITIVE_INFINITY);
  return (LEAST * (least < Number.POSITIVE_INFINITY ? least : 1)) ** 2 / differences.length;
}

/** The variance of residuals with these degrees of freedom. */
function varianceOf({ squares, dispersion, differences }: ModelEvaluation, degreesOfFreedom: number): number {
  return dispersion === undefined ? squares / degreesOfFreedom : (dispersion * differences.length) / degreesOfFreedom;
}

/** The cost of a minimum where residuals have another variance than there. */
export const costAtNoise = ({ evaluation, noise: own }: NoisyMinimum, noise: number): number =>
  evaluation.cost + (noise - own) * (evaluation.penalty ?? 0);

/** The number that is least for the most probable of several minima: the cost, or −2 ln of the posterior density if variances are estimated. */
export function selectionCriterion({ evaluation, noise }: NoisyMinimum, scaled: TransformedModel): number {
  const { cost, differences, penalty } = evaluation;
  if (penalty === undefined || scaled.model.kind === "likelihood") return cost;
  return differences.length * Math.log(noise) + (2 * cost) / noise;
}
