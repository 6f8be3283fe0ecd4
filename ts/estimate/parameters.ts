// The parameters of a fit, as they are given.
import { checkSome } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import {
  anything,
  argument,
  fallback,
  finite,
  finitePositive,
  flag,
  isObject,
  number,
  oneOf,
  options as readOptions,
  record,
  required,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { centerOf, type Prior, priorRule, readPrior } from "./priors.js";
import { TRANSFORMS, type TransformName } from "./transforms.js";

/** A parameter to be estimated: where to start, and within which bounds. */
export interface ParameterOptions {
  /** The value to start from, in the units of the parameter. */
  start: number;
  /** The lower bound of the parameter, in its units; none by default. */
  lower?: number | undefined;
  /** The upper bound of the parameter, in its units; none by default. */
  upper?: number | undefined;
  /**
   * The scale on which the parameter is estimated: `log` for a positive one, `logit` for one between two bounds; default
   * `identity`. Steps and intervals are symmetric there, so it helps if a value may be wrong by a factor.
   */
  transform?: TransformName | undefined;
  /**
   * The size of a change of the parameter that matters, in its units, as SciPy's `x_scale`. Steps are looked for in a region that is as
   * wide along each parameter as its scale: only the ratios of scales matter there. If one parameter has a scale, those without take the
   * size of their `start` (with `log`, a factor e). If none has, the columns of the Jacobian set the widths, as in MINPACK. Where a
   * bound is missing, several `starts` spread around `start` by this much. Finite differences step by a small part of it, or else of the
   * value: set it where a value is large beside its effect, such as a date.
   */
  scale?: number | undefined;
  /** Whether the parameter is held at `start` and not estimated; default false. */
  fixed?: boolean | undefined;
  /**
   * What you know about the parameter before it is estimated: `{ mean, sd }` of a normal distribution, or `{ median, logSd }` of a lognormal
   * one. It counts as one more measurement, of the parameter itself, so the estimates maximise the posterior density (MAP). Given for an
   * array or a network, it is the prior of each of its numbers. None by default; not allowed with `fixed`.
   */
  prior?: Prior | undefined;
}

/** A parameter of a model that is fitted. */
export interface ModelParameter {
  readonly name: string;
  readonly start: number;
  readonly lower: number;
  readonly upper: number;
  readonly transform: TransformName;
  readonly scale: number | undefined;
  readonly fixed: boolean;
  readonly prior?: Prior | undefined;
}

const bound = number("a number", (value) => !Number.isNaN(value));
const rules = {
  start: required(finite),
  lower: fallback(bound, Number.NEGATIVE_INFINITY),
  upper: fallback(bound, Number.POSITIVE_INFINITY),
  transform: fallback(oneOf(TRANSFORMS), "identity"),
  scale: finitePositive,
  fixed: fallback(flag, false),
  prior: priorRule,
};

/** Reads parameters by their names: a number is one without bounds that starts there. */
export function readParameters(given: unknown, where = "parameters"): ModelParameter[] {
  const all = argument(where, given, required(record<unknown>()));
  const entries = runUserCode(() => Object.entries(all));
  checkSome(where, entries, "parameter", "OPTION");
  return entries.map(([name, value]) => readParameter(name, value, `${where}.${name}`));
}

function readParameter(name: string, given: unknown, where: string): ModelParameter {
  if (!isObject(given)) {
    argument(
      where,
      given,
      required({ ...anything(), valid: Number.isFinite, expected: "a finite number, or { start }" }),
    );
  }
  const read = readOptions(isObject(given) ? given : { start: given }, rules, `${where}.`);
  const { start, lower, upper, transform } = read;
  const refuse = (option: string, expected: string, value: number) => {
    throw refused("OPTION", `${where}.${option}`, expected, describe(value));
  };
  if (!(lower < upper)) refuse("lower", `a number below upper, ${upper}`, lower);
  if (start < lower || start > upper) refuse("start", `a number between the bounds, ${lower} and ${upper}`, start);
  if (transform === "log" && !(start > 0)) refuse("start", "a positive number, since transform is log", start);
  if (transform === "log" && upper <= 0) refuse("upper", "a positive number, since transform is log", upper);
  if (transform === "logit") {
    if (lower === Number.NEGATIVE_INFINITY) refuse("lower", "a finite number, since transform is logit", lower);
    if (upper === Number.POSITIVE_INFINITY) refuse("upper", "a finite number, since transform is logit", upper);
    if (start === lower || start === upper) {
      refuse("start", `a number inside the bounds, ${lower} and ${upper}, since transform is logit`, start);
    }
  }
  const prior = read.prior === undefined ? undefined : readPrior(read.prior, `${where}.prior`);
  if (prior) checkPrior(prior, read, `${where}.prior`);
  return { name, ...read, scale: read.scale, prior };
}

/** Refuses a prior of what is not estimated, or that contradicts the bounds or the start. */
function checkPrior(
  prior: Prior,
  { start, lower, upper, fixed }: Omit<ModelParameter, "name" | "prior">,
  where: string,
) {
  if (fixed) throw refused("OPTION", where, "no prior, since the parameter is fixed", describe(prior));
  const center = centerOf(prior);
  const name = "mean" in prior ? "mean" : "median";
  if (center < lower || center > upper) {
    throw refused("OPTION", `${where}.${name}`, `a number between the bounds, ${lower} and ${upper}`, describe(center));
  }
  if (name === "median" && !(start > 0)) {
    const expected = "a positive number, since the prior is lognormal";
    throw refused("OPTION", where.replace(/prior$/, "start"), expected, describe(start));
  }
}
