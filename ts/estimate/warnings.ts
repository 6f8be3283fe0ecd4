// What a user should know before using the estimates, and what to try.
import type { Inference } from "./inference.js";
import { isConverged, type Minimum, type Reason } from "./levenberg-marquardt.js";
import type { StartResult } from "./results.js";
import type { Scaled } from "./scaled.js";

/** Why a fit ended, in words. */
export const MESSAGES: Readonly<Record<Reason, string>> = {
  gradient: "Converged: the gradient vanishes.",
  cost: "Converged: the cost cannot be lowered further.",
  step: "Converged: steps no longer change the parameters.",
  iterations:
    "Not converged: maxIterations was reached. Raise it, start closer, or give parameters a transform or a scale.",
  callback: "Not converged: onIteration ended the fit.",
  stuck:
    "Not converged: the cost does not fall where its derivatives say that it does. Check a Jacobian of your own; lower the tolerances of a solver.",
};

/** From here on, a warning says so. */
const [ILL_CONDITIONED, CORRELATED] = [1e6, 0.999];
/** So many combinations that are not told are listed one by one. */
const MANY = 3;
/** Of fewer starts, one alone at the least cost says nothing. */
const FEW_STARTS = 4;

export function warningsOf(
  { estimated }: Scaled,
  { reason, evaluation: { cost } }: Minimum,
  { free, freeNames, bounds, data, degreesOfFreedom, information, correlation }: Inference,
  starts: readonly StartResult[],
): string[] {
  const warnings: string[] = [];
  const names = (indices: readonly number[]) => listed(indices.map((i) => freeNames[i] as string));
  const { ineffective, confounded, conditionNumber } = information;
  if (!isConverged(reason)) warnings.push(MESSAGES[reason]);
  if (degreesOfFreedom <= 0) {
    warnings.push(
      `There are ${data} data for ${free.length} parameters, so that nothing is known of their errors. Fix some, or measure more.`,
    );
  }
  for (const i of ineffective) {
    warnings.push(`Nothing depends on ${names([i])} here. Fix it, or start elsewhere.`);
  }
  // A network has many combinations that are not told.
  for (const group of confounded.length > MANY ? [] : confounded) {
    warnings.push(
      `The data do not tell ${names(group)} apart: together they can change without any change of the fit. Fix one of them, or measure something else that depends on them.`,
    );
  }
  if (confounded.length > MANY) {
    const involved = [...new Set(confounded.flat())].sort((a, b) => a - b);
    warnings.push(
      `The data do not tell ${confounded.length} combinations of ${names(involved)}: those can change without any change of the fit, and have no errors of their own. Fix what you do not ask for, or measure more.`,
    );
  }
  if (ineffective.length + confounded.length === 0) {
    const pairs = free.flatMap((_, i) => free.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
    const correlationOf = ([i, j]: readonly [number, number]) => correlation[i * free.length + j] as number;
    const close = pairs.filter((pair) => Math.abs(correlationOf(pair)) > CORRELATED);
    for (const pair of close) {
      const value = correlationOf(pair).toFixed(5);
      warnings.push(
        `The estimates of ${names(pair)} are almost inseparable (correlation ${value}): only a combination of them is well known. Look at their profiles, fix one, or measure more.`,
      );
    }
    if (close.length === 0 && conditionNumber > ILL_CONDITIONED) {
      warnings.push(
        `Some combination of ${names(free.map((_, i) => i))} is hardly known (condition number ${conditionNumber.toExponential(1)}). Look at their profiles, fix one, or measure more.`,
      );
    }
  }
  for (const [i, { name }] of estimated.entries()) {
    if (bounds[i] === undefined) continue;
    warnings.push(
      `${name} ended at its ${bounds[i]} bound; the errors of the others are as if it were fixed there. Move the bound if it was only a guess.`,
    );
  }
  const isSame = (end: StartResult) => {
    const isNear = (value: number, i: number) => Math.abs(value - (end.values[i] as number)) <= 1e-4 * Math.abs(value);
    // Of residuals that are only rounding, the costs differ as they like.
    return end.cost <= cost + 1e-6 * Math.abs(cost) || (starts[0] as StartResult).values.every(isNear);
  };
  const same = starts.filter(isSame).length;
  if (starts.length >= FEW_STARTS && same === 1) {
    warnings.push(
      `Only one of ${starts.length} starts ended at the least cost, so that there may be a lower one. Try more starts, or narrower bounds.`,
    );
  }
  return warnings;
}

/** a, b and c. */
/** Names in a sentence, of very many only the first. */
function listed(all: readonly string[]): string {
  const names = all.length > 8 ? [...all.slice(0, 6), `${all.length - 6} others`] : all;
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
