// The result of a fit.
import type { Coroutine } from "./coroutine.js";
import type { Reason } from "./levenberg-marquardt.js";
import type { Prior } from "./priors.js";

export type { Reason as FitReason } from "./levenberg-marquardt.js";

/** How the estimate of a parameter compares with its prior, which is given beside it: `mean` and `sd`, or `median` and `logSd`. */
export type PriorEstimate = Readonly<Prior> & {
  /**
   * How far the estimate lies from the prior's mean, or for a lognormal prior its logarithm from that of the median, in standard deviations
   * of the prior.
   */
  readonly deviation: number;
  /**
   * The posterior contraction: 1 minus the variance of the posterior density over that of the prior. 0 if the data add nothing to the
   * prior, near 1 if the prior hardly matters; NaN for an estimate at a bound.
   */
  readonly contraction: number;
};

/** The estimate of one parameter. */
export interface Estimate<Name extends string = string> {
  /** The name of the parameter. */
  readonly name: Name;
  /** The estimated value of the parameter, in its own units. */
  readonly value: number;
  /**
   * The standard error, in the units of the parameter: 0 for a parameter that was fixed, Infinity for one that the data do not determine,
   * NaN for one at a bound, and if there are no more data than parameters.
   */
  readonly standardError: number;
  /**
   * The confidence interval, symmetric on the scale of the parameter's `transform`. It is valid if the model is almost linear over its
   * width; `profile` does not assume that.
   */
  readonly interval: readonly [lower: number, upper: number];
  /** The value of the parameter that the fit started from; with several starts, your own. */
  readonly start: number;
  /** Whether the parameter was held at its start and not estimated. */
  readonly fixed: boolean;
  /** The bound at which the estimate lies; undefined if it lies between its bounds. */
  readonly atBound?: "lower" | "upper";
  /** How the estimate compares with its prior, if the parameter has one. */
  readonly prior?: PriorEstimate;
}

/** Where one of several starts led: an element of `starts` of the result of `leastSquares`. */
export interface StartResult {
  /** The values of all parameters that the fit started from, in their order. */
  readonly start: Float64Array;
  /** The values of all parameters where the fit from this start ended, in their order; those it started from if it failed. */
  readonly values: Float64Array;
  /** The cost where the fit from this start ended; infinite if it failed. */
  readonly cost: number;
  /** Why the fit from this start ended; `failed` if the residuals could not be computed at the start. */
  readonly reason: Reason | "failed";
  /** Why the fit from this start failed; left out if it did not. */
  readonly failure?: string;
}

/** How far `profile` of a fit's result looks from the estimate, and for which confidence level. Nothing is required. */
export interface ProfileOptions {
  /** The confidence level of the interval, between 0 and 1; default: that of the fit. */
  level?: number | undefined;
  /** The greatest number of values on each side of the estimate; default 30. */
  maxPoints?: number | undefined;
}

/** A profile of the cost: a parameter is fixed at values around its estimate, and the others are fitted again. */
export interface Profile {
  /** The name of the parameter that is profiled. */
  readonly name: string;
  /** The confidence level of the interval. */
  readonly level: number;
  /** The values at which the parameter was fixed, ascending; the estimate is among them. */
  readonly values: Float64Array;
  /**
   * The least cost that was found with the parameter fixed at each of `values`. The fit of the other parameters starts from where it ended
   * at the previous value; where the cost is at the limit or jumps, from elsewhere too.
   */
  readonly costs: Float64Array;
  /** The values of all parameters with the parameter fixed at each of `values`: `[values, parameters]`, row-major. */
  readonly parameters: Float64Array;
  /** The cost at which the confidence interval ends. */
  readonly limit: number;
  /**
   * The confidence interval: where the least cost is below the limit, at which it ends. An end is undefined if the cost stays below the
   * limit as far as the profile looked: up to a bound, as far as `maxPoints` reach, until the cost rises no more, or as far as it can be
   * computed. It is undefined too if the cost jumps over the limit.
   */
  readonly interval: readonly [lower: number | undefined, upper: number | undefined];
  /** Values of all parameters with a lower cost than that of the fit, if any were found: fit again from there. */
  readonly improved?: Float64Array;
}

/** The result of a fit: estimates, their uncertainties, and diagnostics. */
export interface FitResult<Name extends string = string> {
  /** The estimate of each parameter, by name, in order. */
  readonly parameters: Readonly<Record<Name, Estimate<Name>>>;
  /** The estimates of all parameters, fixed ones too, in order. */
  readonly values: Float64Array;
  /** The names of the parameters that were neither fixed nor ended at a bound: rows and columns of `covariance`. */
  readonly freeNames: readonly Name[];
  /**
   * The covariance of the estimates, `[free, free]`, row-major, in the order of `freeNames`: for least squares s² (JᵀJ)⁻¹, with the
   * square of `noise` for s² if you gave it; for likelihoods the inverse of the expected information; for robust losses the sandwich of
   * Huber and White. With priors of precision P, it is that of the posterior density: for least squares (JᵀJ/s² + P)⁻¹.
   */
  readonly covariance: Float64Array;
  /** The correlation of the estimates, `[free, free]`, row-major, in the order of `freeNames`. */
  readonly correlation: Float64Array;
  /**
   * Prediction minus measurement (of logarithms if `error` is lognormal), or what your function returned; not multiplied by weights.
   */
  readonly residuals: Float64Array;
  /** The sum of the squares of the residuals, each times its weight. */
  readonly residualSumOfSquares: number;
  /**
   * The number of residuals minus that of the free parameters that the data determine: where they determine only combinations of
   * parameters, the number of these. A parameter with a prior counts only in the part that the data determine, so the number need not be an
   * integer.
   */
  readonly degreesOfFreedom: number;
  /**
   * s, the residual standard error: √(residualSumOfSquares / degreesOfFreedom). If you gave `noise`, it should come out near it:
   * (standardDeviation / noise)² is the reduced χ².
   */
  readonly standardDeviation: number;
  /** The log-likelihood, maximised over the variance too unless `noise` gives that; NaN for a robust loss, which has no likelihood. */
  readonly logLikelihood: number;
  /**
   * The logarithm of the priors' density at the estimates, each on the scale on which it is normal; 0 without priors. `logLikelihood` is of
   * the measurements alone; the sum of both is the logarithm of the posterior density, up to a constant.
   */
  readonly logPrior: number;
  /**
   * Akaike's information criterion, 2k − 2 ln L; k counts the free parameters, as `degreesOfFreedom` does, and, for least squares, the
   * variance if it is estimated.
   */
  readonly aic: number;
  /** The Bayesian information criterion, k ln n − 2 ln L, with n residuals and k as for `aic`. */
  readonly bic: number;
  /**
   * The cost of the estimates, the least that was found: half the weighted sum of squared residuals, or the cost that the loss or the
   * error model defines. Priors add half the squares of their deviations, times s² where that is estimated.
   */
  readonly cost: number;
  /**
   * The condition number of the Jacobian, its columns scaled to the same length: how much better some combinations of parameters are
   * determined than others. Above about 1e6, some are poorly determined. It cannot show that a single parameter is undetermined: look
   * at the standard errors for that.
   */
  readonly conditionNumber: number;
  /** What you should know before you use the estimates, and what to try; a sentence or two each. */
  readonly warnings: readonly string[];
  /** Why the fit ended, as a name for programs. */
  readonly reason: Reason;
  /** Why the fit ended, in words. */
  readonly message: string;
  /** Whether the fit ended at a minimum, according to one of its tolerances. */
  readonly converged: boolean;
  /** The number of iterations of the best start: Jacobians that led to a step. */
  readonly iterations: number;
  /** How often the residuals were computed, over all starts, differences for Jacobians not counted. */
  readonly evaluations: number;
  /** How often the Jacobian was computed, over all starts. */
  readonly jacobians: number;
  /** Where each of the starts led, from the least cost up. */
  readonly starts: readonly StartResult[];
  /**
   * Profiles a parameter: fixes it at values around its estimate, and fits the others again. The interval does not assume that the model is
   * linear, as those of `parameters` do. In a fit of differential equations, a solve that takes more than 2,000 steps and more than 50
   * times as many as at the estimates counts as failed: far from the estimates, equations may become stiff.
   *
   * @throws `OPTION` for an unknown name, or that of a fixed parameter; otherwise as the fit.
   */
  // A name that is known only when it runs may be any.
  profile<S extends string>(name: string extends S ? S : Name, options?: ProfileOptions): Profile;
}

/** The result of a fit that had to wait for promises, as one in a pool has: as `FitResult`, with profiles as promises. */
export interface AsyncFitResult<Name extends string = string> extends Omit<FitResult<Name>, "profile"> {
  /**
   * Profiles a parameter: fixes it at values around its estimate, and fits the others again. The interval does not assume that the model is
   * linear, as those of `parameters` do. In a fit of differential equations, a solve that takes more than 2,000 steps and more than 50
   * times as many as at the estimates counts as failed: far from the estimates, equations may become stiff. Several profiles of a fit run
   * one after the other.
   *
   * @throws `OPTION` for an unknown name, or that of a fixed parameter; otherwise as the fit.
   */
  profile<S extends string>(name: string extends S ? S : Name, options?: ProfileOptions): Promise<Profile>;
}

/** A result with what its profiles and curves need. */
export interface CompleteFitResult<Name extends string = string> extends Omit<FitResult<Name>, "profile"> {
  profile(name: string, options?: ProfileOptions): Coroutine<Profile>;
  /** See `Inference`. */
  varianceOf(slopes: Float64Array): number;
}
