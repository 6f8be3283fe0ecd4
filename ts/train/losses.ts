// Losses that people expect, as traced ones: absolute differences, Huber's, likelihoods.
import { isArray, refused } from "../checks/errors.js";
import {
  anything,
  argument,
  array,
  elements,
  fallback,
  finitePositive,
  flag,
  options,
  required,
} from "../checks/rules.js";
import { concat, where } from "../trace/value.js";
import { entrywise, type TracedLoss } from "./loss.js";

/**
 * The mean of the absolute differences from the target, over all entries that count; its derivative is 0 where the difference is 0.
 *
 * @returns A loss for `train`, `fit` and, through `of`, `valueAndGrad`.
 */
export function absoluteLoss(): TracedLoss {
  return entrywise(({ y, target }) => y.sub(target).abs());
}

/** Where `huberLoss` turns from squares to absolute differences; nothing is required. */
export interface HuberOptions {
  /** The difference beyond which the loss is linear, in the units of the state; default 1. */
  delta?: number | undefined;
}

/**
 * The mean over all entries of half the squared difference d, d²/2, or delta (|d| − delta/2) where |d| exceeds delta: the pull of an
 * outlier is bounded by delta (Huber 1964).
 *
 * @returns A loss for `train`, `fit` and, through `of`, `valueAndGrad`.
 * @throws `OPTION` for a `delta` that is not a finite positive number.
 */
export function huberLoss(given: HuberOptions = {}): TracedLoss {
  const { delta } = options(given, { delta: fallback(finitePositive, 1) });
  return entrywise(({ y, target }) => {
    const distance = y.sub(target).abs();
    const near = distance.min(delta);
    return near.mul(distance.sub(near.mul(0.5)));
  });
}

/** The noise of `gaussianLoss`; nothing is required. */
export interface GaussianOptions {
  /** The standard deviation of the observations, or a list of one for each feature, in the units of the state; default 1. */
  scale?: number | readonly number[] | undefined;
}

/**
 * The negative log-likelihood of observations with normal noise around the solution: the mean over all entries of
 * d²/(2 scale²) + log(scale √(2π)), in nats, of the differences d from the target.
 *
 * @returns A loss for `train`, `fit` and, through `of`, `valueAndGrad`.
 * @throws `OPTION` for a scale that is not a finite positive number; `SHAPE` when it is used, if there is not one scale for each feature.
 */
export function gaussianLoss(given: GaussianOptions = {}): TracedLoss {
  const { scale } = options(given, { scale: fallback(anything<number | readonly number[]>(), 1) });
  const scales = isArray(scale)
    ? elements("scale", scale, array("a number or a list of them", 1), finitePositive)
    : [argument("scale", scale as number, required(finitePositive))];
  return entrywise(({ y, target }) => {
    if (scales.length > 1 && scales.length !== y.length) {
      throw refused("SHAPE", "scale", `one number, or ${y.length}, as the state has features`, String(scales.length));
    }
    const deviation = y.sub(target).div(concat(...scales));
    const constants = scales.map((one) => Math.log(one) + 0.5 * Math.log(2 * Math.PI));
    return deviation
      .square()
      .mul(0.5)
      .add(concat(...constants));
  });
}

/** Options of `poissonLoss`: whether the solution is mean counts or their logarithms. Nothing is required. */
export interface PoissonOptions {
  /** Whether the solution is the logarithm of the mean count, and not the mean count itself; default false. */
  log?: boolean | undefined;
}

/**
 * The negative log-likelihood of counts whose mean is the solution: the mean over all entries of y − target log(y), or with `log` of
 * exp(y) − target y, in nats. The term that depends on the counts alone, log(target!), is left out.
 *
 * @returns A loss for `train`, `fit` and, through `of`, `valueAndGrad`. It throws `NON_FINITE` if a mean with observed counts is not
 *   positive.
 * @throws `OPTION` for a `log` that is not true or false.
 */
export function poissonLoss(given: PoissonOptions = {}): TracedLoss {
  const { log } = options(given, { log: fallback(flag, false) });
  return entrywise(({ y, target }) =>
    // Without counts the logarithm does not matter, not even that of 0.
    log ? y.exp().sub(target.mul(y)) : y.sub(where(target.greater(0), target.mul(y.log()), 0)),
  );
}
