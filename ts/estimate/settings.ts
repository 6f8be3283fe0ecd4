// How to fit, whatever the model.
import { callable, count, fallback, natural, nonNegative, number, type Read, withMethod } from "../checks/rules.js";

/** How far a fit has come. */
export interface FitProgress<Name extends string = string> {
  /** Which start it is, from 0: your own. */
  readonly start: number;
  /** The number of the iteration of that start, from 1. */
  readonly iteration: number;
  /** The parameters after it, by name. */
  readonly parameters: Readonly<Record<Name, number>>;
  /** Their cost. */
  readonly cost: number;
  /** How often this start has computed the residuals so far. */
  readonly evaluations: number;
  /** How far from a minimum it was before: the largest |cosine| of the angles between the residuals and the Jacobian's columns. */
  readonly gradient: number;
}

/** How to fit, whatever the model. */
export interface FitSettings<Name extends string = string> {
  /** From how many starts: your own, and others drawn between the bounds or around it. The best end is taken. Default 1. */
  starts?: number;
  /** The seed of the other starts; default 0. */
  seed?: number;
  /** The confidence level of intervals, between 0 and 1; default 0.95. */
  level?: number;
  /** The greatest number of iterations of each start; default 200. */
  maxIterations?: number;
  /** The fit ends where the linearised model promises a fall of the cost below this part of it; default 1e-12. */
  costTolerance?: number;
  /** The fit ends where no parameter changes by more, relative to itself; default 1e-10. */
  stepTolerance?: number;
  /** The fit ends where `gradient`, as `onIteration` is told it, is below this; default 1e-10. */
  gradientTolerance?: number;
  /** Called after each iteration. The fit ends, with the parameters of that iteration, where it gives false. */
  onIteration?: (progress: FitProgress<Name>) => unknown;
  /** An AbortSignal that ends the fit: it throws the signal's reason. */
  signal?: {
    /** Throws the reason if the signal was aborted, as that of an AbortSignal does. */
    throwIfAborted(): void;
  };
}

/** Of a confidence level. */
export const levelRule = number("a number between 0 and 1", (value) => value > 0 && value < 1);

/** The rules of `FitSettings`. */
export const fitRules = {
  starts: fallback(count, 1),
  seed: fallback(natural, 0),
  level: fallback(levelRule, 0.95),
  maxIterations: fallback(count, 200),
  costTolerance: fallback(nonNegative, 1e-12),
  stepTolerance: fallback(nonNegative, 1e-10),
  gradientTolerance: fallback(nonNegative, 1e-10),
  onIteration: callable<NonNullable<FitSettings["onIteration"]>>("a function of the progress"),
  signal: withMethod<NonNullable<FitSettings["signal"]>>("an AbortSignal", "throwIfAborted"),
};

/** `FitSettings` that were read. */
export type ReadSettings = Read<typeof fitRules>;
