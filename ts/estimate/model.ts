// A model to be fitted, as every fit sees it: models differ in how the residuals at some values come about.
import type { ErrorCode } from "../checks/errors.js";
import type { Coroutine } from "./coroutine.js";
import type { Evaluation } from "./levenberg-marquardt.js";
import type { ModelParameter } from "./parameters.js";

/** Working residuals at some values of the parameters, and what they were made of. */
export interface ModelEvaluation extends Evaluation {
  /** `[residuals, estimated parameters]`: derivatives with respect to those that are not fixed, and not on the scale of a transform. */
  jacobian(): Coroutine<Float64Array | undefined>;
  /** One for each datum, as a plot of them shows. */
  readonly differences: Float64Array;
  /** The sum of their squares, each times its weight. */
  readonly squares: number;
  /** The curvature of a robust loss: see `RobustEvaluation`. */
  readonly curvature?: Float64Array;
  readonly sizes?: Float64Array;
  /** Of a robust loss, the variance that residuals seem to have for it: see `RobustEvaluation`. Default: the mean of their squares. */
  readonly dispersion?: number;
  /** What priors add to the cost, for residuals of variance 1: half the sum of their squares. */
  readonly penalty?: number;
  /**
   * ln L; where the cost leaves the standard deviation of the noise open, with the one given, or that which maximises it. NaN where the
   * cost is no likelihood.
   */
  logLikelihood(noise?: number): number;
}

/** The measurements, one by one, with which a fit is compared. */
interface Measured {
  /** The names of the quantities. */
  readonly names: readonly string[];
  /** Of each datum, which of the quantities it is of. */
  readonly which: readonly number[];
  /** The data, on the scale of `differences`. */
  readonly y: Float64Array;
  /** How much each counts; default 1. */
  readonly weights?: Float64Array | undefined;
}

/** A model to fit: its parameters, and its cost as a function of them. */
export interface FitModel {
  readonly parameters: readonly ModelParameter[];
  /**
   * The kind of the cost: the sum of squares, whose variance is estimated from it; another loss, whose minimum has the covariance of a
   * sandwich; or the negative logarithm of a likelihood, with the Fisher information JᵀJ.
   */
  readonly kind: "leastSquares" | "robust" | "likelihood";
  /** At the values of all parameters; a text says why nothing can be computed there. */
  evaluate(values: Float64Array): Coroutine<ModelEvaluation | string>;
  /** The code of the error that the last evaluation failed by, if it was one. */
  readonly failureCode?: ErrorCode | undefined;
  /** How exact Jacobians are: singular values below this part of the largest are noise. Default 1e-10. */
  readonly jacobianError?: number;
  /** The length of residuals that are no more than the errors of predictions; default 0. */
  readonly residualError?: number;
  /** The length of the errors that the tolerance of predictions leaves in residuals; default 0. */
  readonly residualTolerance?: number;
  /** What to say if the fit gets stuck. */
  readonly stuck?: string;
  /** What to say if the residuals of the start can be computed, but not their Jacobian. */
  readonly withoutDerivative?: string;
  /** Whether the model chooses by comparisons, so that it may switch where its parameters say. */
  readonly switches?: boolean;
  /** The data, in the order of `differences`; undefined where only residuals are known. */
  readonly measured?: Measured | undefined;
}
