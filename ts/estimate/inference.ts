// What a minimum tells of the parameters.
import type { Minimum } from "./levenberg-marquardt.js";
import type { ModelEvaluation } from "./model.js";
import type { Scaled } from "./scaled.js";
import {
  along,
  correlationOf,
  curvatureDirections,
  type Information,
  informationOf,
  isTold,
  masked,
  quantile,
  sandwich,
} from "./statistics.js";

/** What is known of the parameters that were neither fixed nor ended at a bound: the free ones. */
export interface Inference {
  /** Their places among those that were estimated. */
  readonly free: readonly number[];
  readonly freeNames: readonly string[];
  /** At which bound each of the estimated ones is. */
  readonly bounds: readonly ("lower" | "upper" | undefined)[];
  readonly data: number;
  readonly degreesOfFreedom: number;
  readonly squares: number;
  /** Of a residual; NaN without degrees of freedom. */
  readonly variance: number;
  readonly information: Information;
  /** The inverse of the cost's curvature. */
  readonly inverse: Float64Array;
  /** Of the values on the scales of the transforms. */
  readonly internal: Float64Array;
  readonly covariance: Float64Array;
  readonly correlation: Float64Array;
  /**
   * The variance of a prediction, by the derivatives that it has by the free ones: infinite, where it depends on what the data do not
   * tell.
   */
  varianceOf(slopes: Float64Array): number;
  /** How many standard errors an interval reaches. */
  reach(level: number): number;
}

/** What a minimum tells of them. */
export function inferenceFrom(
  scaled: Scaled,
  { x, jacobian, evaluation }: Pick<Minimum<ModelEvaluation>, "x" | "jacobian" | "evaluation">,
): Inference {
  const { model, estimated, lower, upper } = scaled;
  const { differences, residuals, squares, curvature } = evaluation;
  const bounds = estimated.map((_, i) => (x[i] === lower[i] ? "lower" : x[i] === upper[i] ? "upper" : undefined));
  const free = estimated.flatMap((_, i) => (bounds[i] === undefined ? [i] : []));
  const [data, n, columns] = [differences.length, free.length, estimated.length];
  const own = new Float64Array(residuals.length * n);
  for (let i = 0; i < residuals.length; i++)
    for (let j = 0; j < n; j++) own[i * n + j] = jacobian[i * columns + (free[j] as number)] as number;
  const information = informationOf(own, n, model.jacobianError);
  // A parameter that the data do not determine has not been fitted to them.
  const degreesOfFreedom = data - information.rank;
  const variance = degreesOfFreedom > 0 ? squares / degreesOfFreedom : Number.NaN;
  const directions = (curvature && curvatureDirections(own, information, curvature)) ?? information.told;
  const whole = along(directions, n);
  const told = {
    leastSquares: () => whole.map((value) => value * variance),
    likelihood: () => whole,
    // With the usual correction for the parameters that the residuals were fitted with.
    robust: () =>
      sandwich(directions, own, residuals, n).map((value) =>
        degreesOfFreedom > 0 ? (value * data) / degreesOfFreedom : Number.NaN,
      ),
  }[model.kind]();
  const { unknown } = information;
  const [inverse, internal] = [masked(whole, unknown), masked(told, unknown)];
  const slopes = free.map((i) => scaled.slope(i, x[i] as number));
  const covariance = internal.map(
    (value, k) => value * (slopes[Math.floor(k / n)] as number) * (slopes[k % n] as number),
  );
  const varianceOf = (given: Float64Array) => {
    const combination = given.map((slope, i) => (slope === 0 ? 0 : slope * (slopes[i] as number)));
    if (combination.some(Number.isNaN)) return Number.NaN;
    if (information.rank < n && !isTold(information, own, combination)) return Number.POSITIVE_INFINITY;
    // Of very many, a prediction depends on few.
    const moving = free.flatMap((_, i) => (combination[i] === 0 ? [] : [i]));
    let sum = 0;
    for (const i of moving)
      for (const j of moving)
        sum += (combination[i] as number) * (combination[j] as number) * (told[i * n + j] as number);
    return sum;
  };
  const reach = (level: number) => {
    if (model.kind === "likelihood") return quantile(level);
    return degreesOfFreedom > 0 ? quantile(level, degreesOfFreedom) : Number.NaN;
  };
  const freeNames = free.map((i) => estimated[i]?.name as string);
  const correlation = correlationOf(covariance);
  const counts = { data, degreesOfFreedom, squares, variance };
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
