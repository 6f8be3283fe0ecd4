// Successive halving (Jamieson and Talwalkar, 2016): many trials get a small budget, and the best of them a larger one. A rung begins when
// the one before has ended, so that which trials continue does not depend on which worker is fast.
import { refused } from "../checks/errors.js";
import { fallback, finitePositive, number, options, required } from "../checks/rules.js";

/** Early stopping by successive halving. */
export interface HalvingOptions {
  /**
   * The smallest budget that is informative, such as steps of a training. The first rung has it, or somewhat more. At most `most /
   * factor`.
   */
  least: number;
  /** The budget of the last rung, in the same unit as `least`: what a trial has that is never stopped. No default. */
  most: number;
  /** One in this many trials continues to the next rung, whose budget is this many times as large: 2 or more. Default 3. */
  factor?: number | undefined;
}

/** The rungs of a sweep: increasing budgets, and the share of trials that continue. */
export interface Rungs {
  /** Undefined for a single rung without a budget. */
  readonly budgets: readonly (number | undefined)[];
  readonly factor: number;
}

const rules = {
  least: required(finitePositive),
  most: required(finitePositive),
  factor: fallback(
    number("a number from 2 to 100", (value) => value >= 2 && value <= 100),
    3,
  ),
};

export function readHalving(given: unknown): Rungs {
  if (given === undefined) return { budgets: [undefined], factor: 1 };
  const { least, most, factor } = options(given, rules, "halving.");
  // A smaller `most` would leave a single rung. The tolerance allows for rounding in quotients such as 0.9 / 3 / 3.
  const lowest = least * (1 - 1e-9);
  if (most < factor * lowest)
    throw refused("OPTION", "halving.least", `most / factor, or less: ${most / factor}`, String(least));
  if (most / least > 2 ** 40) throw refused("OPTION", "halving.least", "no less than most / 2^40", String(least));
  const whole = Number.isInteger(least) && Number.isInteger(most);
  const budgets = [most];
  for (let budget = most / factor; budget >= lowest; budget /= factor)
    budgets.unshift(Math.max(least, whole ? Math.round(budget) : budget));
  return { budgets, factor };
}

/** The number of trials of each rung, at most. */
export function sizesOf({ budgets, factor }: Rungs, trials: number): number[] {
  const sizes = [trials];
  while (sizes.length < budgets.length) sizes.push(Math.max(1, Math.floor((sizes.at(-1) as number) / factor)));
  return sizes;
}

/**
 * The trials of each rung that has begun. `scoreOf` returns a trial's score at a rung: smaller is better, NaN if it failed, undefined if it
 * has not ended.
 */
export function membersOf(
  rungs: Rungs,
  trials: number,
  scoreOf: (trial: number, rung: number) => number | undefined,
): (readonly number[])[] {
  const sizes = sizesOf(rungs, trials);
  const members: number[][] = [Array.from({ length: trials }, (_, trial) => trial)];
  for (let rung = 0; rung + 1 < sizes.length; rung++) {
    const ended = (members[rung] as number[]).map((trial) => ({ trial, value: scoreOf(trial, rung) }));
    if (ended.some(({ value }) => value === undefined)) break;
    const good = (ended as { trial: number; value: number }[]).filter(({ value }) => !Number.isNaN(value));
    good.sort((a, b) => a.value - b.value || a.trial - b.trial);
    if (good.length === 0) break;
    members.push(good.slice(0, sizes[rung + 1]).map(({ trial }) => trial));
  }
  return members;
}
