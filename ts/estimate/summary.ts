// From a minimum to the result of a fit.
import { frozen } from "../checks/frozen.js";
import { argument, choiceOf, count, fallback, oneOf, options as readOptions, required } from "../checks/rules.js";
import type { Coroutine } from "./coroutine.js";
import { type Inference, inferenceFrom, priorOf } from "./inference.js";
import { isConverged, type Minimum } from "./levenberg-marquardt.js";
import type { ModelEvaluation } from "./model.js";
import { startsOf } from "./multi-start.js";
import { logDensityOf } from "./priors.js";
import { profileOf } from "./profile.js";
import type { CompleteFitResult, Estimate, Profile, ProfileOptions, StartResult } from "./results.js";
import { levelRule } from "./settings.js";
import type { TransformedModel } from "./transformed-model.js";
import { messageOf, warningsOf } from "./warnings.js";

/** The estimates, with what is known of them. */
export function estimatesOf(scaled: TransformedModel, x: Float64Array, inference: Inference): Record<string, Estimate> {
  const { free, bounds, internal, covariance, reach } = inference;
  const { level } = scaled.settings;
  const estimates = scaled.model.parameters.map(({ name, start, fixed }): Estimate => {
    if (fixed) return { name, value: start, standardError: 0, interval: [start, start], start, fixed };
    const i = scaled.estimated.findIndex((parameter) => parameter.name === name);
    const { lower, upper } = scaled.estimated[i] as { lower: number; upper: number };
    const value = scaled.natural(i, x[i] as number);
    const at = free.indexOf(i);
    const variance = (of: Float64Array) => (at < 0 ? Number.NaN : (of[at * free.length + at] as number));
    const width = Math.sqrt(variance(internal)) * reach(level, at);
    const [below, above] = [scaled.natural(i, (x[i] as number) - width), scaled.natural(i, (x[i] as number) + width)];
    const interval = [Math.max(lower, below), Math.min(upper, above)] as const;
    const atBound = bounds[i];
    const standardError = Math.sqrt(variance(covariance));
    const prior = priorOf(scaled, inference, i, x[i] as number);
    return { name, value, standardError, interval, start, fixed, ...(atBound && { atBound }), ...(prior && { prior }) };
  });
  // Not by assignment: a parameter may be called __proto__.
  return Object.fromEntries(estimates.map((estimate) => [estimate.name, estimate]));
}

/** The number of places from which a profile looks for a lower cost before it ends an interval. */
const ELSEWHERE = 5;
const profileRules = { level: levelRule, maxPoints: fallback(count, 30) };

function* profile(
  scaled: TransformedModel,
  { x, evaluation: { cost } }: Minimum<ModelEvaluation>,
  { free, internal, inverse, variance, unit: noise, reach }: Inference,
  name: string,
  given: ProfileOptions,
): Coroutine<Profile> {
  const { level = scaled.settings.level, maxPoints } = readOptions(given, profileRules);
  const { model, estimated, lower, upper } = scaled;
  const names = estimated.map((parameter) => parameter.name);
  const known = required({ ...oneOf(names), expected: `an estimated parameter, ${choiceOf(names)}` });
  const index = names.indexOf(argument("name", name, known));
  const at = free.indexOf(index);
  const varianceIn = (of: Float64Array) => (at < 0 ? Number.NaN : (of[at * free.length + at] as number));
  const internalVariance = varianceIn(internal);
  // A rise of the cost by half of this is one standard error. A loss that is no likelihood takes it from the sandwich.
  const ratio = internalVariance / varianceIn(inverse);
  const unit = { likelihood: 1, leastSquares: noise, robust: Number.isFinite(ratio) ? ratio : variance }[model.kind];
  const limit = cost + 0.5 * unit * reach(level, at) ** 2;
  const [least, most, value] = [lower[index] as number, upper[index] as number, x[index] as number];
  const width = reach(level, at) * Math.sqrt(internalVariance);
  const somewhat = 0.1 * (most - least < Number.POSITIVE_INFINITY ? most - least : Math.abs(value) || 1);
  const around = scaled.ranges.map((range, i) => ({ ...range, start: x[i] as number }));
  const fixedAt = (bounds: Float64Array, start: Float64Array) =>
    bounds.map((bound, i) => (i === index ? (start[i] as number) : bound));
  const { points, interval } = yield* profileOf({
    minimum: { x, cost },
    index,
    lower: least,
    upper: most,
    limit,
    width: width > 0 && width < Number.POSITIVE_INFINITY ? width : somewhat,
    maxPoints,
    // From the estimates themselves, and from around them.
    elsewhere: estimated.length > 1 ? startsOf(around, ELSEWHERE, scaled.settings.seed) : [],
    *minimize(start, iterations) {
      const found = yield* scaled.minimize(start, fixedAt(lower, start), fixedAt(upper, start), undefined, iterations);
      return found && { x: found.x, cost: found.evaluation.cost };
    },
  });
  const natural = (end: number | undefined) => (end === undefined ? undefined : scaled.natural(index, end));
  const best = points.reduce((a, b) => (b.cost < a.cost ? b : a));
  // By more than what the tolerances leave.
  const isBetter = best.cost < cost - 1e-6 * (limit - cost);
  return frozen({
    name,
    level,
    values: Float64Array.from(points, (point) => scaled.natural(index, point.x[index] as number)),
    costs: Float64Array.from(points, (point) => point.cost),
    parameters: Float64Array.from(points.flatMap((point) => [...scaled.valuesAt(point.x)])),
    limit,
    interval: [natural(interval[0]), natural(interval[1])] as const,
    ...(isBetter && { improved: scaled.valuesAt(best.x) }),
  });
}

/** The result of a fit that ended at this minimum. */
export function resultOf<Name extends string>(
  scaled: TransformedModel,
  minimum: Minimum<ModelEvaluation>,
  starts: readonly StartResult[],
): CompleteFitResult<Name> {
  const { x, evaluation, reason, iterations } = minimum;
  const { cost, differences } = evaluation;
  const inference = inferenceFrom(scaled, minimum);
  const { freeNames, covariance, correlation, degreesOfFreedom, squares, variance, information, data, varianceOf } =
    inference;
  const { noise } = scaled.settings;
  const isEstimated = scaled.model.kind === "leastSquares" && noise === undefined;
  const counted = inference.effective + (isEstimated ? 1 : 0);
  const logLikelihood = evaluation.logLikelihood(noise);
  return frozen({
    parameters: estimatesOf(scaled, x, inference) as Record<Name, Estimate<Name>>,
    values: scaled.valuesAt(x),
    freeNames: freeNames as Name[],
    covariance,
    correlation,
    varianceOf,
    residuals: differences,
    residualSumOfSquares: squares,
    degreesOfFreedom,
    standardDeviation: Math.sqrt(variance),
    logLikelihood,
    logPrior: scaled.estimated.reduce(
      (sum, { prior }, i) => sum + (prior ? logDensityOf(prior, scaled.natural(i, x[i] as number)) : 0),
      0,
    ),
    aic: 2 * counted - 2 * logLikelihood,
    bic: counted * Math.log(data) - 2 * logLikelihood,
    cost,
    conditionNumber: information.conditionNumber,
    warnings: warningsOf(scaled, minimum, inference, starts),
    reason,
    message: messageOf(scaled.model, reason),
    converged: isConverged(reason),
    iterations,
    evaluations: scaled.evaluations,
    jacobians: scaled.jacobians,
    starts,
    profile: (name: string, options: ProfileOptions = {}) => profile(scaled, minimum, inference, name, options),
  });
}
