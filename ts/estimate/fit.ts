// A fit of any model: from its starts to the result.
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import type { Minimum } from "./levenberg-marquardt.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import { startsOf } from "./multi-start.js";
import type { FitResult, StartResult } from "./results.js";
import { NO_JACOBIAN, Scaled } from "./scaled.js";
import type { ReadSettings } from "./settings.js";
import { resultOf } from "./summary.js";

/**
 * Fits a model.
 *
 * @throws `NON_FINITE` where nothing can be computed at its start; as the model does.
 */
export function fitModel<Name extends string>(model: FitModel, settings: ReadSettings): FitResult<Name> {
  for (const [i, { name }] of model.parameters.entries()) {
    if (model.parameters.findIndex((other) => other.name === name) === i) continue;
    throw refused("OPTION", "parameters", "names that differ", `${name} twice: give one of the two another name`);
  }
  const scaled = new Scaled(model, settings);
  let best: Minimum<ModelEvaluation> | undefined;
  const ends: StartResult[] = [];
  for (const [k, start] of startsOf(scaled.ranges, settings.starts, settings.seed).entries()) {
    const found = scaled.minimize(start, scaled.lower, scaled.upper, k);
    const [values, cost] = [scaled.valuesAt(found?.x ?? start), found?.evaluation.cost ?? Number.POSITIVE_INFINITY];
    const end = found ? { reason: found.reason } : { reason: "failed" as const, failure: reasonOf(scaled.failure) };
    ends.push({ start: scaled.valuesAt(start), values, cost, ...end });
    // If your own fails, you want to know; of the others some may.
    if (!found && k === 0) throw unusable(model, scaled.failure);
    if (found && !(best && best.evaluation.cost <= cost)) best = found;
    if (found?.reason === "callback") break;
  }
  ends.sort((a, b) => a.cost - b.cost);
  return resultOf<Name>(scaled, best as Minimum<ModelEvaluation>, ends);
}

/** Of a solve, what failed, without what it says to try where there is no fit. */
const reasonOf = (failure: string) =>
  failure.replace(/^the solve fails: /, "").replace(/; check the field there, start from .*$|\.$/s, "");

function unusable({ parameters, withoutDerivative }: FitModel, failure: string): SymplecticAdjointError {
  const given = parameters.map(({ name, start }) => `${name} = ${start}`).join(", ");
  const message =
    failure === NO_JACOBIAN && withoutDerivative !== undefined
      ? `parameters: from the starting values ${given}, ${withoutDerivative}`
      : `parameters: the model cannot be solved from the starting values ${given}: ${reasonOf(failure)}. Start from other values, or set bounds.`;
  return new SymplecticAdjointError("NON_FINITE", message, { argument: "parameters", given });
}
