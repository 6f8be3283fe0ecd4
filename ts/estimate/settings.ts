// How to fit: settings for any model.
import {
  callable,
  count,
  fallback,
  finitePositive,
  natural,
  nonNegative,
  number,
  type Read,
  withMethod,
} from "../checks/rules.js";

/** How far a fit has come. */
export interface FitProgress<Name extends string = string> {
  /** The index of the current start; 0 is your own. */
  readonly start: number;
  /** The number of the iteration, from 1; each start counts its own. */
  readonly iteration: number;
  /** The values of all parameters after the iteration, by name. */
  readonly parameters: Readonly<Record<Name, number>>;
  /** The standard errors of the parameters, as in the result if the fit ended here: they settle as the parameters do. */
  readonly standardErrors: Readonly<Record<Name, number>>;
  /** The confidence intervals of the parameters, as in the result if the fit ended here. */
  readonly intervals: Readonly<Record<Name, readonly [lower: number, upper: number]>>;
  /**
   * The cost of the parameters after the iteration. With priors it depends on the noise, which is estimated along the way, so it may rise.
   */
  readonly cost: number;
  /** How often this start has computed the residuals so far. */
  readonly evaluations: number;
  /**
   * How far from a minimum the fit was before the iteration: the largest |cosine| of the angles between the residuals and the
   * Jacobian's columns.
   */
  readonly gradient: number;
}

/**
 * How `leastSquares` searches and what it reports, for any model: starts, noise, confidence level, when to stop. Nothing is required.
 */
export interface FitSettings<Name extends string = string> {
  /**
   * The number of starts: your own, and others drawn between the bounds or around it. The best result is kept. At most 100000; default 1.
   */
  starts?: number | undefined;
  /** The seed for drawing the starts other than your own, an integer, zero or more; default 0. */
  seed?: number | undefined;
  /** The confidence level of intervals, between 0 and 1; default 0.95. */
  level?: number | undefined;
  /**
   * The standard deviation of a measurement of weight 1, in the units of the residuals, if you know it: 1 with weights 1/σ². Standard
   * errors, intervals and the likelihood follow from it (SciPy's `absolute_sigma=True`), and priors are weighed against it; by default it
   * is estimated from the residuals. For least squares only: with a robust `loss`, or an `error` that estimates its own, it throws.
   */
  noise?: number | undefined;
  /** The greatest number of iterations of each start; default 200. */
  maxIterations?: number | undefined;
  /** Stop when the predicted relative decrease of the cost is below this (SciPy's `ftol`); default 1e-12. */
  costTolerance?: number | undefined;
  /** Stop when no parameter changes by more than this, relative to itself (SciPy's `xtol`); default 1e-10. */
  stepTolerance?: number | undefined;
  /** Stop when `gradient`, as `onIteration` receives it, is below this (SciPy's `gtol` of `method="lm"`); default 1e-10. */
  gradientTolerance?: number | undefined;
  /** Called after each iteration; return false to stop the fit, with the parameters of that iteration. */
  onIteration?: ((progress: FitProgress<Name>) => unknown) | undefined;
  /** An AbortSignal that ends the fit: it throws the signal's reason. */
  signal?:
    | {
        /** Throws the signal's reason if it was aborted, as the method of an AbortSignal does. */
        throwIfAborted(): void;
      }
    | undefined;
}

/** The rule of confidence levels. */
export const levelRule = number("a number between 0 and 1", (value) => value > 0 && value < 1);

const isStarts = (value: number) => Number.isInteger(value) && value >= 1 && value <= 100_000;

/** The rules of `FitSettings`. */
export const fitRules = {
  starts: fallback(number("an integer from 1 to 100000", isStarts), 1),
  seed: fallback(natural, 0),
  level: fallback(levelRule, 0.95),
  noise: finitePositive,
  maxIterations: fallback(count, 200),
  costTolerance: fallback(nonNegative, 1e-12),
  stepTolerance: fallback(nonNegative, 1e-10),
  gradientTolerance: fallback(nonNegative, 1e-10),
  onIteration: callable<NonNullable<FitSettings["onIteration"]>>("a function of the progress"),
  signal: withMethod<NonNullable<FitSettings["signal"]>>("an AbortSignal", "throwIfAborted"),
};

/** `FitSettings` that were read. */
export type ReadSettings = Read<typeof fitRules>;
