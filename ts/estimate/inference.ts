// Statistics of the parameters at a minimum.
import type { Minimum } from "./levenberg-marquardt.js";
import type { ModelEvaluation } from "./model.js";
import { deviationOf, deviationSlopeOf } from "./priors.js";
import type { PriorEstimate } from "./results.js";
import {
  congruence,
  correlationOf,
  curvatureDirections,
  type Information,
  informationOf,
  isDetermined,
  masked,
  quantile,
  sandwich,
} from "./statistics.js";
import type { TransformedModel } from "./transformed-model.js";

/** The statistics of the free parameters: those that are neither fixed nor at a bound. */
export interface Inference {
  /** The indices of the free parameters among the estimated ones. */
  readonly free: readonly number[];
  readonly freeNames: readonly string[];
  /** The bound at which each estimated parameter is, if any. */
  readonly bounds: readonly ("lower" | "upper" | undefined)[];
  readonly data: number;
  /** How many parameters the data determine; of a parameter with a prior, the fraction that the data contribute. */
  readonly effective: number;
  readonly degreesOfFreedom: number;
  readonly squares: number;
  /** The variance of a residual, estimated from the residuals; NaN without degrees of freedom. */
  readonly variance: number;
  /** For each free parameter, the share of its variance that comes from its prior alone: 0 without a prior, 1 if the data add nothing. */
  readonly priorShares: Float64Array;
  /** The variance of a residual by which the covariance of least squares is scaled: the known one, or the one that weights priors. */
  readonly unit: number;
  readonly information: Information;
  /** The inverse of the cost's curvature. */
  readonly inverse: Float64Array;
  /** The covariance of the values on the scales of their transforms. */
  readonly internal: Float64Array;
  readonly covariance: Float64Array;
  readonly correlation: Float64Array;
  /**
   * The variance of a prediction, from its derivatives with respect to the free parameters. It is infinite if the prediction depends on
   * combinations of them that the data do not determine.
   */
  varianceOf(slopes: Float64Array): number;
  /** How many standard errors the interval of the free parameter with this index reaches. */
  reach(level: number, index: number): number;
}

/** With fewer degrees of freedom, no variance is estimated. With priors, the number need not be an integer. */
export const MIN_DEGREES_OF_FREEDOM = 1;

/** The statistics of the free parameters at a minimum. */
export function inferenceFrom(
  scaled: TransformedModel,
  { x, jacobian, evaluation }: Pick<Minimum<ModelEvaluation>, "x" | "jacobian" | "evaluation">,
): Inference {
  const { model, estimated, lower, upper, settings } = scaled;
  const { differences, residuals, squares, curvature } = evaluation;
  const bounds = estimated.map((_, i) => (x[i] === lower[i] ? "lower" : x[i] === upper[i] ? "upper" : undefined));
  const free = estimated.flatMap((_, i) => (bounds[i] === undefined ? [i] : []));
  const [data, n, columns] = [differences.length, free.length, estimated.length];
  const freeColumns = new Float64Array(residuals.length * n);
  for (let i = 0; i < residuals.length; i++)
    for (let j = 0; j < n; j++) freeColumns[i * n + j] = jacobian[i * columns + (free[j] as number)] as number;
  const information = informationOf(freeColumns, n, model.jacobianError);
  const directions = (curvature && curvatureDirections(freeColumns, information, curvature)) ?? information.determined;
  const inverseOfFree = congruence(directions, n);
  // The last rows are those of priors, with a number each.
  const first = residuals.length - scaled.known.length;
  const priors = scaled.known.flatMap((index, k) => {
    const at = free.indexOf(index);
    return at < 0 ? [] : [{ at, square: (freeColumns[(first + k) * n + at] as number) ** 2 }];
  });
  const effective = priors.reduce(
    (sum, { at, square }) => sum - square * (inverseOfFree[at * n + at] as number),
    information.rank,
  );
  // A parameter that the data do not determine has not been fitted to them.
  const degreesOfFreedom = data - effective;
  const isMeasured = degreesOfFreedom >= MIN_DEGREES_OF_FREEDOM;
  const variance = isMeasured ? squares / degreesOfFreedom : Number.NaN;
  // The usual correction for the parameters that the residuals were fitted with.
  const corrected = isMeasured ? Math.sqrt(data / degreesOfFreedom) : Number.NaN;
  // Priors are known beside the noise that they were weighed against.
  const isKnown = settings.noise !== undefined;
  const measured = priors.length === 0 ? variance : isMeasured ? scaled.noise : Number.NaN;
  const unit = isKnown ? scaled.noise : measured;
  const covarianceOf = {
    leastSquares: () => inverseOfFree.map((value) => value * unit),
    likelihood: () => inverseOfFree,
    robust: () => {
      // The score of a prior has the prior's own precision as its variance.
      const root = Math.sqrt(scaled.noise);
      const scores = residuals.map((r, i) => (i < first ? r * corrected : root));
      return isMeasured ? sandwich(directions, freeColumns, scores, n) : inverseOfFree.map(() => Number.NaN);
    },
  }[model.kind]();
  const { unknown } = information;
  const [inverse, internal] = [masked(inverseOfFree, unknown), masked(covarianceOf, unknown)];
  const slopes = free.map((i) => scaled.slope(i, x[i] as number));
  const covariance = internal.map(
    (value, k) => value * (slopes[Math.floor(k / n)] as number) * (slopes[k % n] as number),
  );
  const varianceOf = (given: Float64Array) => {
    const combination = given.map((slope, i) => (slope === 0 ? 0 : slope * (slopes[i] as number)));
    if (combination.some(Number.isNaN)) return Number.NaN;
    if (information.rank < n && !isDetermined(information, freeColumns, combination)) return Number.POSITIVE_INFINITY;
    // Of very many, a prediction depends on few.
    const moving = free.flatMap((_, i) => (combination[i] === 0 ? [] : [i]));
    let sum = 0;
    for (const i of moving)
      for (const j of moving)
        sum += (combination[i] as number) * (combination[j] as number) * (covarianceOf[i * n + j] as number);
    return sum;
  };
  const priorShares = Float64Array.from(free, (_, i) => {
    const variance = inverseOfFree[i * n + i] as number;
    const own = priors.reduce((sum, { at, square }) => sum + square * (inverseOfFree[i * n + at] as number) ** 2, 0);
    return own === 0 ? 0 : Math.min(1, own / variance);
  });
  const reach = (level: number, index: number) => {
    if (model.kind === "likelihood" || isKnown) return quantile(level);
    if (!isMeasured) return Number.NaN;
    // The part of a variance that comes from priors is known, not estimated (Satterthwaite 1946).
    const part = 1 - (priorShares[index] ?? 0);
    return quantile(level, part > 1e-6 ? degreesOfFreedom / part ** 2 : undefined);
  };
  const freeNames = free.map((i) => estimated[i]?.name as string);
  const correlation = correlationOf(covariance);
  const counts = { data, effective, degreesOfFreedom, squares, variance, priorShares, unit };
  return {
    free,
    freeNames,
    bounds,
    ...counts,
    information,
    inverse,
    internal,
    covariance,
    correlation,
    varianceOf,
    reach,
  };
}

/** How the estimate with that index among the estimated ones compares with its prior; undefined without one. */
export function priorOf(
  scaled: TransformedModel,
  { free, inverse }: Inference,
  index: number,
  x: number,
): PriorEstimate | undefined {
  const prior = scaled.estimated[index]?.prior;
  if (!prior) return undefined;
  const [at, value] = [free.indexOf(index), scaled.natural(index, x)];
  const variance = at < 0 ? Number.NaN : scaled.noise * (inverse[at * free.length + at] as number);
  const precision = (deviationSlopeOf(prior, value) * scaled.slope(index, x)) ** 2;
  return { ...prior, deviation: deviationOf(prior, value), contraction: Math.max(0, 1 - precision * variance) };
}
