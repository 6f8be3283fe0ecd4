// Warnings: what you should know before you use the estimates, and what to try.
import { type Inference, MIN_DEGREES_OF_FREEDOM, priorOf } from "./inference.js";
import { isConverged, type Minimum, type Reason } from "./levenberg-marquardt.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import type { ModelParameter } from "./parameters.js";
import type { StartResult } from "./results.js";
import type { TransformedModel } from "./transformed-model.js";

/** Why a fit ended, in words. */
const MESSAGES: Readonly<Record<Reason, string>> = {
  gradient: "Converged: the gradient vanishes.",
  cost: "Converged: the relative change of the cost is below costTolerance.",
  step: "Converged: steps no longer change the parameters.",
  residuals: "Converged: the residuals vanish, to the accuracy of the predictions.",
  iterations:
    "Not converged: maxIterations was reached. Raise it, start closer, or give parameters a transform or a scale.",
  callback: "Not converged: onIteration ended the fit.",
  stuck:
    "Not converged: no step along the computed derivatives lowers the cost. If you supply a Jacobian, check it; otherwise compute the residuals more exactly, or check for a parameter that runs off to infinity.",
  derivatives:
    'Not converged: the derivatives of the solution differ from its differences. The equations are probably stiff for the method, and the estimates and their errors are unreliable. Try another method, or output: "interpolate".',
};

/** Why a fit of a model ended, in words. */
export const messageOf = (model: FitModel, reason: Reason): string =>
  reason === "stuck" ? (model.stuck ?? MESSAGES.stuck) : MESSAGES[reason];

/** The same where a field is fitted and gets stuck. */
export const stuckOf = (method: string, isInterpolated: boolean) =>
  `Not converged: no step along the computed derivatives lowers the cost. ${isInterpolated ? 'Try output: "land", so that steps end at the measurements. ' : ""}The equations may be too stiff for ${method}, or choose by comparisons; or a parameter runs off to infinity: bound it. If the estimates seem right, tighten rtol and atol.`;

/** What helps where an event passes a measurement. */
export const AT_EVENTS =
  "Observe something continuous across the event, such as the height of a bouncing ball and not its velocity";

/** What derivatives miss if equations have a choice such as `x < 1 ? a : b`. */
const MISSED_SWITCH =
  "The equations choose by a comparison. If the time of the switch depends on a parameter or a state, the derivatives miss that. Write the switch as an event instead (`events`).";

/** Why derivatives are useless: where events change the state, or equations choose, that is the cause that is likely. */
export function uselessDerivatives(method: string, changesAtEvents: boolean, switches: boolean): string {
  const what =
    "Not converged: the derivatives of the solution differ from its differences, and the estimates and their errors are unreliable.";
  if (switches) {
    return `${what} ${MISSED_SWITCH} If it does not, the equations are stiff for ${method}: try another method.`;
  }
  if (changesAtEvents) {
    return `${what} Probably an event passes a measurement, so that the prediction jumps; or the equations are stiff for ${method}. ${AT_EVENTS}, start nearer, or try another method.`;
  }
  return MESSAGES.derivatives.replace("the method", method);
}

/** A robust loss has its errors from residuals within its scale: fewer than this part of them are too few. */
const FEW_WITHIN = 0.25;

/** The median size of residuals, over the scale of a robust loss, where too few lie within that. */
function tooLargeFor(parameters: number, sizes: Float64Array | undefined): number | undefined {
  if (!sizes) return undefined;
  const within = sizes.reduce((count, size) => count + (size <= 1 ? 1 : 0), 0);
  if (within >= Math.max(2 * parameters, FEW_WITHIN * sizes.length)) return undefined;
  const median = sizes.slice().sort()[sizes.length >> 1] as number;
  return median > 1 ? median : undefined;
}

/** From here on, a warning says so. */
const [ILL_CONDITIONED, CORRELATED] = [1e6, 0.999];
/** The most undetermined combinations that are listed one by one. */
const MANY = 3;
/** A logarithm with a greater standard error than this is hardly determined, and a logit whose interval covers this share of its range. */
const [VAGUE_LOGARITHM, VAGUE_LOGIT] = [1, 0.8];
/** A standard error below this share of the distance between bounds is no reason to warn. */
const SMALL_IN_BOUNDS = 0.1;
/** A χ² this many standard deviations above its mean does not occur by chance. */
const UNLIKELY = 5;
/** If the data contract a prior by less than the first, only the prior is known. They contradict it from the second on, in its standard deviations. */
const [LITTLE, FAR] = [0.05, 3];
/** With fewer starts, it says nothing if only one of them reaches the least cost. */
const FEW_STARTS = 4;
/** A fit whose errors exceed this fraction of those of the mean is hardly better than the mean. With fewer data than the second, that says nothing. */
const [HARDLY_BETTER, FEW_DATA] = [0.8, 3];
/** A fit with errors below this fraction of the data is not poor, even if the data are constant. */
const NEGLIGIBLE = 1e-6;

/** What it means if one of two deviations of an error model is 0. */
const VANISHED = {
  "error.a":
    'the measurements show no errors but those that grow with the prediction. Fit with error: "proportional", if predictions are positive.',
  "error.b": 'the measurements show no errors that grow with the prediction. Fit with error: "additive".',
} as const;

/** Whether it names a deviation of an error model, which is estimated with the parameters. */
export const isDeviation = (name: string): name is keyof typeof VANISHED => Object.keys(VANISHED).includes(name);

export function warningsOf(
  scaled: TransformedModel,
  { x, reason, evaluation }: Minimum<ModelEvaluation>,
  inference: Inference,
  starts: readonly StartResult[],
): string[] {
  const { estimated, model, settings } = scaled;
  const { cost } = evaluation;
  const { free, freeNames, bounds, data, degreesOfFreedom, squares, variance, information, correlation } = inference;
  const warnings: string[] = [];
  const names = (indices: readonly number[]) => listed(indices.map((i) => freeNames[i] as string));
  const { ineffective, confounded, conditionNumber } = information;
  if (!isConverged(reason)) warnings.push(messageOf(model, reason));
  const { noise } = settings;
  const isMeasured = degreesOfFreedom >= MIN_DEGREES_OF_FREEDOM;
  if (!isMeasured && noise === undefined) {
    warnings.push(
      `There ${data === 1 ? "is 1 measurement" : `are ${data} measurements`} for ${free.length} ${free.length === 1 ? "parameter" : "parameters"}, so no standard errors can be computed. Fix some, or measure more.`,
    );
  }
  for (const i of ineffective) {
    warnings.push(`The predictions do not depend on ${names([i])} near this estimate. Fix it, or start elsewhere.`);
  }
  if (model.switches && ineffective.length > 0) {
    warnings.push(MISSED_SWITCH);
  }
  // A network has many combinations that the data cannot distinguish.
  const total = confounded.reduce((sum, { combinations }) => sum + combinations, 0);
  const involved = confounded.flatMap(({ parameters }) => parameters).sort((a, b) => a - b);
  for (const { parameters, combinations } of total > MANY ? [] : confounded) {
    const how = combinations === 1 ? "they can change together" : `${combinations} combinations of them can change`;
    warnings.push(
      `The data cannot distinguish ${names(parameters)}: ${how} without changing the fit. Fix ${combinations === 1 ? "one" : combinations} of them, or measure something else that depends on them.`,
    );
  }
  if (total > MANY) {
    warnings.push(
      `The data cannot distinguish ${total} combinations of ${names(involved)}: those can change without changing the fit, and have no standard errors. Fix those you are not interested in, or measure more.`,
    );
  }
  // The parameters that a stronger warning has named.
  const named = new Set([...ineffective, ...involved]);
  if (named.size === 0) {
    const pairs = free.flatMap((_, i) => free.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
    const correlationOf = ([i, j]: readonly [number, number]) => correlation[i * free.length + j] as number;
    const close = pairs.filter((pair) => Math.abs(correlationOf(pair)) > CORRELATED);
    for (const pair of close) {
      for (const i of pair) named.add(i);
      const value = correlationOf(pair).toFixed(5);
      warnings.push(
        `The estimates of ${names(pair)} are almost perfectly correlated (${value}): only a combination of them is well determined. Look at their profiles, fix one, or measure more.`,
      );
    }
    if (close.length === 0 && conditionNumber > ILL_CONDITIONED) {
      for (const i of free.keys()) named.add(i);
      warnings.push(
        `Some combination of ${names(free.map((_, i) => i))} is poorly determined (condition number ${conditionNumber.toExponential(1)}). Look at their profiles, fix one, or measure more.`,
      );
    }
  }
  if (isConverged(reason)) {
    const uncertain = free.flatMap((_, i) =>
      named.has(i) ? [] : [[i, uncertaintyOf(scaled, x, inference, i)] as const],
    );
    for (const what of ["error", "range"] as const) {
      const own = uncertain.flatMap(([i, found]) => (found === what ? [i] : []));
      if (own.length > 0) warnings.push(uncertaintyWarning(what, names(own), own.length > 1));
    }
  }
  warnings.push(...ofPriors(scaled, x, inference));
  const typical = tooLargeFor(free.length, evaluation.sizes);
  if (typical !== undefined) {
    warnings.push(
      `Hardly any residual lies within lossScale, and their median is ${typical.toPrecision(2)} times as large, so the standard errors rest on a few and are unreliable. Set lossScale to a little more than the standard deviation of a good measurement.`,
    );
  }
  // A χ² has the standard deviation √(2 degrees of freedom).
  const excess = squares / (noise ?? Number.NaN) ** 2 - degreesOfFreedom;
  if (noise !== undefined && isMeasured && excess > UNLIKELY * Math.sqrt(2 * degreesOfFreedom)) {
    warnings.push(
      `Residuals are ${(Math.sqrt(variance) / noise).toPrecision(3)} times as large as noise says, so the standard errors are too small: either the model does not fit the data, or noise is larger.`,
    );
  }
  const poor = poorlyFitted(model, evaluation.differences);
  for (const [i, { name, isBetter, error, errorOfCenter, isRobust }] of poor.entries()) {
    const [center, kind] = isRobust ? ["median", "medians"] : ["mean", "root mean squares"];
    const errors = `its error is ${error.toPrecision(3)}, that of the ${center} ${errorOfCenter.toPrecision(3)} (${kind})`;
    // What helps one helps all.
    const remedy = i === poor.length - 1 ? ` ${remedyFor(starts.length)}` : "";
    warnings.push(`The fit of ${name} is ${isBetter ? "hardly" : "no"} better than its ${center}: ${errors}.${remedy}`);
  }
  // The bounds of an error model are its own.
  const deviations = model.kind === "likelihood" ? estimated.map(({ name }) => name).filter(isDeviation) : [];
  const vanished = deviations.filter((name) => bounds[estimated.findIndex((other) => other.name === name)] === "lower");
  if (vanished.length > 0) {
    warnings.push(
      vanished.length === deviations.length
        ? `${listed(vanished)} vanish${deviations.length > 1 ? "" : "es"}: the predictions match the measurements to rounding, and the likelihood has no maximum. Fit with error: "additive".`
        : `${vanished[0]} vanishes: ${VANISHED[vanished[0] as (typeof vanished)[0]]}`,
    );
  }
  for (const [i, { name }] of estimated.entries()) {
    if (bounds[i] === undefined || vanished.some((other) => other === name)) continue;
    const advice =
      poor.length > 0 && starts.length < FEW_STARTS
        ? "As the fit is poor, try starts: 20 before you widen the bound."
        : "Widen the bound if it was only a guess.";
    warnings.push(
      `${name} ended at its ${bounds[i]} bound; the standard errors of the others treat it as fixed there. ${advice}`,
    );
  }
  const isSame = (end: StartResult) => {
    const isNear = (value: number, i: number) => Math.abs(value - (end.values[i] as number)) <= 1e-4 * Math.abs(value);
    // If residuals are only rounding, their costs differ arbitrarily.
    return end.cost <= cost + 1e-6 * Math.abs(cost) || (starts[0] as StartResult).values.every(isNear);
  };
  const failed = starts.filter((end) => end.reason === "failed");
  if (failed.length > 0) {
    warnings.push(
      `${failed.length} of ${starts.length} starts failed: ${failed[0]?.failure}. Set bounds within which the model can be computed, or a log transform.`,
    );
  }
  const same = starts.filter(isSame).length;
  if (starts.length - failed.length >= FEW_STARTS && same === 1) {
    warnings.push(
      `Only one of ${starts.length} starts ended at the lowest cost, so there may be a lower one. Try more starts, or narrower bounds.`,
    );
  }
  return warnings;
}

/** Where the data add nothing to a prior, or contradict it. */
function ofPriors(scaled: TransformedModel, x: Float64Array, inference: Inference): string[] {
  const comparisons = inference.free.flatMap((index) => {
    const prior = priorOf(scaled, inference, index, x[index] as number);
    return prior ? [{ name: scaled.estimated[index]?.name as string, ...prior }] : [];
  });
  const alone = comparisons.filter(({ contraction }) => contraction < LITTLE).map(({ name }) => name);
  const far = comparisons.filter(({ deviation }) => Math.abs(deviation) > FAR);
  const warnings: string[] = [];
  if (alone.length > 0) {
    const [is, it] = alone.length > 1 ? ["are", "them"] : ["is", "it"];
    warnings.push(
      `${listed(alone)} ${is} known by the prior${alone.length > 1 ? "s" : ""} alone: the data add next to nothing to ${it}. Do not read the estimate${alone.length > 1 ? "s" : ""} as a finding of these data.`,
    );
  }
  if (far.length > 0) {
    const most = Math.max(...far.map(({ deviation }) => Math.abs(deviation)));
    warnings.push(
      `The data contradict the prior${far.length > 1 ? "s" : ""} of ${listed(far.map(({ name }) => name))}: ${far.length > 1 ? "estimates are up to" : "the estimate is"} ${most.toPrecision(2)} standard deviations of the prior from its center. Check the prior, and the units of both.`,
    );
  }
  return warnings;
}

/** Whether a warning says that a quantity is hardly fitted. */
export const isOfPoorFit = (warning: string) => /^The fit of .* better than its (mean|median)/s.test(warning);

/** The quantities that their mean fits as well, or almost so; of a robust loss their median, by what outliers do not move. */
function poorlyFitted({ measured, kind }: FitModel, differences: Float64Array) {
  if (!measured) return [];
  const { names, which, y, weights } = measured;
  return names.flatMap((name, quantity) => {
    const indices = which.flatMap((one, i) => (one === quantity ? [i] : []));
    if (indices.length < FEW_DATA) return [];
    const middle = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] as number;
    const weightOf = (i: number) => weights?.[i] ?? 1;
    const total = indices.reduce((sum, i) => sum + weightOf(i), 0);
    const mean = indices.reduce((sum, i) => sum + weightOf(i) * (y[i] as number), 0) / total;
    const isRobust = kind === "robust";
    const center = isRobust ? middle(indices.map((i) => y[i] as number)) : mean;
    const sizeOf = (value: (i: number) => number) =>
      isRobust
        ? middle(indices.map((i) => Math.abs(value(i))))
        : Math.sqrt(indices.reduce((sum, i) => sum + weightOf(i) * value(i) ** 2, 0) / total);
    const error = sizeOf((i) => differences[i] as number);
    const errorOfCenter = sizeOf((i) => (y[i] as number) - center);
    if (!(error >= HARDLY_BETTER * errorOfCenter && error > NEGLIGIBLE * sizeOf((i) => y[i] as number))) return [];
    return [{ name, isBetter: error < errorOfCenter, error, errorOfCenter, isRobust }];
  });
}

/** What to try if a fit is poor. */
const remedyFor = (starts: number) =>
  starts < FEW_STARTS
    ? 'There may be a better minimum: try starts: 20 with bounds, transform: "log" for positive rates, or another start. If that does not help, the equations do not describe the data.'
    : `None of ${starts} starts found a better minimum: other bounds or other equations may.`;

/**
 * Whether a parameter is poorly determined: by its standard error, or because its interval covers the range between its bounds. The result
 * is undefined if there is no scale to compare with, such as for a value that started from 0.
 */
function uncertaintyOf(
  scaled: TransformedModel,
  x: Float64Array,
  { free, internal }: Inference,
  i: number,
): "error" | "range" | undefined {
  const index = free[i] as number;
  const { start, scale, transform, lower, upper, prior } = scaled.estimated[index] as ModelParameter;
  // With a prior, the uncertainty is known.
  if (prior) return undefined;
  const at = x[index] as number;
  const error = Math.sqrt(internal[i * free.length + i] as number);
  if (!Number.isFinite(error)) return undefined;
  if (transform === "log") return error > VAGUE_LOGARITHM ? "error" : undefined;
  if (transform === "logit") {
    const ends = [at - 2 * error, at + 2 * error].map((end) => scaled.natural(index, end)) as [number, number];
    return ends[1] - ends[0] > VAGUE_LOGIT * (upper - lower) ? "range" : undefined;
  }
  const size = Math.max(Math.abs(start), scale ?? 0);
  const small = upper - lower < Number.POSITIVE_INFINITY ? SMALL_IN_BOUNDS * (upper - lower) : 0;
  return size > 0 && error > Math.max(Math.abs(at), size, small) ? "error" : undefined;
}

function uncertaintyWarning(what: "error" | "range", names: string, several: boolean): string {
  const reason = {
    error: several
      ? "their standard errors are larger than the estimates"
      : "its standard error is larger than the estimate",
    range: `${several ? "their intervals cover" : "its interval covers"} most of the range between ${several ? "their" : "its"} bounds`,
  }[what];
  const advice = several ? "Look at their profiles, fix some" : "Look at its profile, fix it";
  return `The data hardly determine ${names}: ${reason}. ${advice}, or measure more.`;
}

/** Names in a sentence, of very many only the first. */
function listed(all: readonly string[]): string {
  const names = all.length > 8 ? [...all.slice(0, 6), `${all.length - 6} others`] : all;
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
