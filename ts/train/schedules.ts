// Learning rates that change as a training goes on: functions of the steps taken before, which `train` asks anew each step.

import {
  argument,
  count,
  fallback,
  finitePositive,
  inCallback,
  isCallable,
  nonNegative,
  number,
  options as readOptions,
  required,
  rule,
} from "../checks/rules.js";

/** The learning rate of a step, from the number of steps before it: a finite number, zero or more. */
export type Schedule = (steps: number) => number;

/** How fast a rate decays. */
export interface ExponentialDecayOptions {
  /** The factor by which the rate falls over `steps` steps, smoothly. */
  factor: number;
  /** Over how many steps the rate is multiplied by `factor`; default 1. */
  steps?: number | undefined;
  /** The least learning rate; default 0. */
  least?: number | undefined;
}

/** How long a rate decays. */
export interface CosineDecayOptions {
  /** The number of steps after which the rate stays at `least`. */
  steps: number;
  /** The least learning rate, at the end; default 0. */
  least?: number | undefined;
}

const least = fallback(nonNegative, 0);
const exponentialRules = {
  factor: required(number("a number above 0, at most 1", (value) => value > 0 && value <= 1)),
  steps: fallback(finitePositive, 1),
  least,
};
const cosineRules = { steps: required(count), least };
const rateRule = required(nonNegative);
const thenRule = required(
  rule<number | Schedule>(
    `${nonNegative.expected}, or a function`,
    (value) => nonNegative.valid(value) || isCallable(value),
  ),
);

/**
 * A schedule that decays exponentially: rate · factor^(n / steps) after n steps, but never below `least`.
 *
 * @throws `OPTION` for a rate below zero, a `factor` that is not above 0 and at most 1, `steps` that are not positive, or a `least` below
 * zero.
 */
export function exponentialDecay(rate: number, options: ExponentialDecayOptions): Schedule {
  const from = argument("rate", rate, rateRule);
  const { factor, steps, least } = readOptions(options, exponentialRules);
  return (n) => Math.max(least, from * factor ** Math.min(Number.MAX_VALUE, checkSteps(n) / steps));
}

/**
 * A schedule that falls from the rate to `least` along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts).
 *
 * @throws `OPTION` for a rate or a `least` below zero, or `steps` that are not a positive integer.
 */
export function cosineDecay(rate: number, options: CosineDecayOptions): Schedule {
  const from = argument("rate", rate, rateRule);
  const { steps, least } = readOptions(options, cosineRules);
  return (n) => least + 0.5 * (from - least) * (1 + Math.cos((Math.PI * Math.min(checkSteps(n), steps)) / steps));
}

/**
 * A schedule that rises linearly over the first `steps` steps to the initial rate of `then`, and then follows it.
 *
 * @param then - A learning rate, or a schedule of the steps after the first `steps`.
 * @throws `OPTION` for `steps` that are not a positive integer, or a rate below zero.
 */
export function warmUp(steps: number, then: number | Schedule): Schedule {
  const rise = argument("steps", steps, required(count));
  const own = argument("then", then, thenRule);
  const after = typeof own === "function" ? (n: number) => rateAt(own, n) : () => own;
  return (n) => (checkSteps(n) < rise ? (after(0) * (n + 1)) / rise : after(n - rise));
}

/** The checked rate that a schedule returns. */
export function rateAt(schedule: Schedule, steps: number): number {
  return argument("schedule's result", schedule(steps), inCallback(nonNegative));
}

/** Checked steps. */
const checkSteps = (steps: number) => argument("steps", steps, rateRule);
