import { finite, finitePositive, object, options as readOptions, required } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { mapped } from "./coroutine.js";
import type { RobustEvaluation } from "./robust.js";

/** A normal prior: before the measurements, a parameter is `mean` ± `sd`, on its own scale. */
export interface NormalPrior {
  /** The mean of the prior, in the units of the parameter; between its bounds. */
  mean: number;
  /** The standard deviation of the prior, in the units of the parameter; positive. */
  sd: number;
}

/** A lognormal prior, of a positive parameter that is known to within a factor: its natural logarithm is ln `median` ± `logSd`. */
export interface LognormalPrior {
  /** The median of the prior, in the units of the parameter; positive, and between its bounds. */
  median: number;
  /** The standard deviation of the parameter's natural logarithm; positive. If small, it is about the relative standard deviation. */
  logSd: number;
}

/**
 * What you know about a parameter before it is estimated: normal by `{ mean, sd }`, or lognormal by `{ median, logSd }`. Either works with any
 * `transform`: a prior has its own scale.
 */
export type Prior = NormalPrior | LognormalPrior;

const normalRules = { mean: required(finite), sd: required(finitePositive) };
const lognormalRules = { median: required(finitePositive), logSd: required(finitePositive) };

export const priorRule = { ...object, expected: "{ mean, sd }, or { median, logSd } of a lognormal one" };

/** Reads a prior. */
export function readPrior(given: object, where: string): Prior {
  const isLognormal = runUserCode(() => "median" in given || "logSd" in given);
  return readOptions(given, isLognormal ? lognormalRules : normalRules, `${where}.`) as Prior;
}

/** Where most of it is. */
export const centerOf = (prior: Prior): number => ("mean" in prior ? prior.mean : prior.median);

/** How many of its standard deviations a value lies from its center; not finite where it allows no such value. */
export function deviationOf(prior: Prior, value: number): number {
  return "mean" in prior ? (value - prior.mean) / prior.sd : Math.log(value / prior.median) / prior.logSd;
}

/** The derivative of that. */
export const deviationSlopeOf = (prior: Prior, value: number): number =>
  "mean" in prior ? 1 / prior.sd : 1 / (prior.logSd * value);

/** The logarithm of its density, of the value or of its logarithm. */
export function logDensityOf(prior: Prior, value: number): number {
  const sd = "mean" in prior ? prior.sd : prior.logSd;
  return -0.5 * deviationOf(prior, value) ** 2 - Math.log(sd * Math.sqrt(2 * Math.PI));
}

/** An estimated parameter that has a prior: its name, its place among the estimated ones, and its value. */
export interface ParameterWithPrior {
  readonly name: string;
  readonly prior: Prior;
  readonly index: number;
  readonly value: number;
}

/**
 * An evaluation with one more row for each prior, and what they add to the cost where `noise` is 1; a text where a prior does not allow a
 * value.
 *
 * @param noise - The variance that residuals of the cost have. Those of priors have 1, and so count as much as a residual times its root.
 */
export function withPriors<E extends RobustEvaluation>(
  evaluation: E,
  known: readonly ParameterWithPrior[],
  noise: number,
): (E & { readonly penalty: number }) | string {
  const impossible = known.find(({ prior, value }) => !Number.isFinite(deviationOf(prior, value)));
  if (impossible) return `${impossible.name} is ${impossible.value}, and has a lognormal prior`;
  const { residuals, curvature } = evaluation;
  const root = Math.sqrt(noise);
  const deviations = known.map(({ prior, value }) => deviationOf(prior, value));
  const penalty = deviations.reduce((sum, deviation) => sum + 0.5 * deviation ** 2, 0);
  const extended = (matrix: Float64Array | undefined) => {
    if (!matrix) return undefined;
    const columns = matrix.length / residuals.length;
    const all = new Float64Array(matrix.length + known.length * columns);
    all.set(matrix);
    for (const [k, { prior, index, value }] of known.entries())
      all[matrix.length + k * columns + index] = root * deviationSlopeOf(prior, value);
    return all;
  };
  return {
    ...evaluation,
    cost: evaluation.cost + noise * penalty,
    penalty,
    residuals: followedBy(
      residuals,
      deviations.map((deviation) => root * deviation),
    ),
    ...(curvature && {
      curvature: followedBy(
        curvature,
        known.map(() => 1),
      ),
    }),
    jacobian: () => mapped(evaluation.jacobian(), extended),
  };
}

function followedBy(first: Float64Array, rest: readonly number[]): Float64Array {
  const all = new Float64Array(first.length + rest.length);
  all.set(first);
  all.set(rest, first.length);
  return all;
}
