// A fit of any model: from its starts to the result.
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { listOf } from "../checks/names.js";
import { runUserCode } from "../checks/user-code.js";
import type { Coroutine } from "./coroutine.js";
import { inferenceFrom } from "./inference.js";
import type { IterationProgress } from "./levenberg-marquardt.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import { startsOf } from "./multi-start.js";
import { costAtNoise, minimumFrom, type NoisyMinimum, selectionCriterion } from "./noise.js";
import type { CompleteFitResult, Estimate, StartResult } from "./results.js";
import type { FitProgress, ReadSettings } from "./settings.js";
import { estimatesOf, resultOf } from "./summary.js";
import { NO_JACOBIAN, TransformedModel } from "./transformed-model.js";
import { isDeviation } from "./warnings.js";

/**
 * Fits a model.
 *
 * @throws `NON_FINITE` where nothing can be computed at its start, or the code of a solve that fails there; as the model does.
 */
export function* fitModel<Name extends string>(
  model: FitModel,
  settings: ReadSettings,
): Coroutine<CompleteFitResult<Name>> {
  const names = new Set<string>();
  for (const { name } of model.parameters) {
    if (names.has(name))
      throw refused("OPTION", "parameters", "names that differ", `${name} twice: give one of the two another name`);
    names.add(name);
  }
  if (settings.noise !== undefined && model.kind !== "leastSquares") {
    const expected = 'nothing, unless loss is "linear" and error is "additive" or "lognormal": other fits estimate it';
    throw refused("OPTION", "noise", expected, String(settings.noise));
  }
  const scaled = new TransformedModel(model, settings);
  let best: NoisyMinimum | undefined;
  const ends: { found: NoisyMinimum | undefined; start: Float64Array; failure: string }[] = [];
  for (const [k, start] of startsOf(scaled.ranges, settings.starts, settings.seed).entries()) {
    const { onIteration } = settings;
    const report =
      onIteration &&
      ((now: IterationProgress<ModelEvaluation>) => runUserCode(() => onIteration(progressOf(scaled, k, now))));
    const found = yield* minimumFrom(scaled, start, report);
    ends.push({ found, start, failure: scaled.failure });
    // If your own fails, you want to know; of the others some may.
    if (!found && k === 0) throw unsolvableStart(model, scaled.failure);
    if (found && !(best && selectionCriterion(best, scaled) <= selectionCriterion(found, scaled))) best = found;
    if (found?.reason === "callback") break;
  }
  const minimum = yield* withVanishedDeviations(scaled, best as NoisyMinimum);
  scaled.noise = minimum.noise;
  const starts = ends.map(({ found, start, failure }): StartResult => {
    const [values, cost] = [
      scaled.valuesAt(found?.x ?? start),
      found ? costAtNoise(found, minimum.noise) : Number.POSITIVE_INFINITY,
    ];
    const end = found ? { reason: found.reason } : { reason: "failed" as const, failure: reasonOf(failure) };
    return { start: scaled.valuesAt(start), values, cost, ...end };
  });
  starts.sort((a, b) => a.cost - b.cost);
  return resultOf<Name>(scaled, minimum, starts);
}

/** Differences in log-likelihood below this are ignored. */
const NEGLIGIBLE = 1e-6;

/**
 * Moves a deviation of the error model to its bound if the likelihood no longer depends on it: the likelihood is flat there, and a fit may
 * end before the bound. A deviation that is not at its bound would have a meaningless standard error.
 */
function* withVanishedDeviations(scaled: TransformedModel, minimum: NoisyMinimum): Coroutine<NoisyMinimum> {
  const { model, estimated, lower, upper, settings } = scaled;
  if (model.kind !== "likelihood" || minimum.reason === "callback") return minimum;
  const { x, evaluation, iterations, evaluations, jacobians } = minimum;
  const most = evaluation.cost + NEGLIGIBLE;
  const start = x.slice();
  for (const [i, { name }] of estimated.entries()) {
    if (!isDeviation(name) || x[i] === lower[i]) continue;
    const moved = start.map((value, k) => (k === i ? (lower[i] as number) : value));
    if (((yield* scaled.evaluate(moved))?.cost ?? Number.POSITIVE_INFINITY) <= most) start[i] = lower[i] as number;
  }
  if (start.every((value, i) => value === x[i])) return minimum;
  const fixed = upper.map((bound, i) => (start[i] === x[i] ? bound : (start[i] as number)));
  const left = Math.max(1, settings.maxIterations - iterations);
  const found = yield* scaled.minimize(start, lower, fixed, undefined, left);
  if (!found || found.evaluation.cost > most) return minimum;
  return {
    ...found,
    noise: minimum.noise,
    iterations: iterations + found.iterations,
    evaluations: evaluations + found.evaluations,
    jacobians: jacobians + found.jacobians,
  };
}

/** How far a start has come: the Jacobian is there, so its estimates have errors. */
function progressOf(
  scaled: TransformedModel,
  start: number,
  { x, evaluation, jacobian, ...rest }: IterationProgress<ModelEvaluation>,
): FitProgress {
  const estimates = estimatesOf(scaled, x, inferenceFrom(scaled, { x, evaluation, jacobian }));
  const each = <T>(of: (estimate: Estimate) => T) =>
    Object.fromEntries(Object.entries(estimates).map(([name, estimate]) => [name, of(estimate)]));
  return {
    ...{ start, ...rest, cost: evaluation.cost },
    parameters: each(({ value }) => value),
    standardErrors: each(({ standardError }) => standardError),
    intervals: each(({ interval }) => interval),
  };
}

/** Of a solve, what failed, without what it says to try where there is no fit. */
const reasonOf = (failure: string) =>
  failure.replace(/^the solve fails: /, "").replace(/; check the field there, start from .*$|\.$/s, "");

function unsolvableStart(
  { parameters, withoutDerivative, failureCode }: FitModel,
  failure: string,
): SymplecticAdjointError {
  const given = listOf(parameters.map(({ name, start }) => `${name} = ${start}`));
  const message =
    failure === NO_JACOBIAN && withoutDerivative !== undefined
      ? `parameters: from the starting values ${given}, ${withoutDerivative}`
      : `parameters: the model cannot be solved from the starting values ${given}: ${reasonOf(failure)}. Start from other values, or set bounds.`;
  return new SymplecticAdjointError(failureCode ?? "NON_FINITE", message, { argument: "parameters", given });
}
