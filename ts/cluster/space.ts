// The search space of a sweep, and the parameters of its trials, which depend on the space, the sampler and the seed alone.
import { isArray, refused } from "../checks/errors.js";
import { argument, array, elements, fallback, flag, number, oneOf, options, required, rule } from "../checks/rules.js";
import { pointsOf, type Sampler, type SamplerFunction } from "./sampler.js";

/** A value that a parameter may have. */
export type TrialParameterValue = number | string | boolean;

/** A parameter between two bounds. */
export interface ParameterRange {
  /** The smallest value, in the units of the parameter: a finite number. No default. */
  min: number;
  /** The largest value, in the units of the parameter: a finite number, above `min`. No default. */
  max: number;
  /**
   * `log`: the logarithm of the value is uniform, and min must be positive; `linear`: the value itself is uniform. Default: `log` if both
   * bounds are positive and max is at least ten times min, else `linear`.
   */
  scale?: "linear" | "log" | undefined;
  /** Whether it is an integer; then both bounds must be. Default false. */
  integer?: boolean | undefined;
  /** The number of values in a grid, both bounds included, 2 to 10,000; required for grids, and only for them. */
  points?: number | undefined;
}

/** Parameters by name: the values that each may have, or a range. */
export type SearchSpace = Readonly<Record<string, readonly TrialParameterValue[] | ParameterRange>>;

/** A parameter with all defaults filled in. */
export type Dimension = { readonly name: string } & (
  | { readonly values: readonly TrialParameterValue[] }
  | {
      readonly min: number;
      readonly max: number;
      readonly scale: "linear" | "log";
      readonly integer: boolean;
      readonly points: number | undefined;
    }
);

/** The largest number of trials of a sweep. */
export const MOST_TRIALS = 100_000;
const MOST_DIMENSIONS = 64;

const isValue = (value: unknown): value is TrialParameterValue =>
  (typeof value === "string" && value.length <= 1000) || typeof value === "boolean" || Number.isFinite(value);

const valueRule = rule<TrialParameterValue>("a finite number, a string or a boolean", isValue);
const finite = required(number("a finite number", Number.isFinite));
const rangeRules = {
  min: finite,
  max: finite,
  scale: oneOf(["linear", "log"]),
  integer: fallback(flag, false),
  points: number("an integer from 2 to 10,000", (value) => Number.isInteger(value) && value >= 2 && value <= 10_000),
};
const spaceRule = required(
  rule<SearchSpace>(
    `an object of 1 to ${MOST_DIMENSIONS} parameters: lists of values, or ranges { min, max }`,
    (value) =>
      value !== null &&
      typeof value === "object" &&
      !(Symbol.iterator in value) &&
      Object.keys(value).length >= 1 &&
      Object.keys(value).length <= MOST_DIMENSIONS,
  ),
);

/** Checks a search space. */
export function readSpace(given: unknown, sampler: Sampler | SamplerFunction): Dimension[] {
  return Object.entries(argument("space", given, spaceRule)).map(([name, one]) => {
    const where = `space.${name}`;
    if (isArray(one)) {
      return { name, values: elements(where, one, array<TrialParameterValue>("at least one value", 1), valueRule) };
    }
    const { min, max, scale, integer, points } = options(one, rangeRules, `${where}.`);
    if (!(max > min)) throw refused("OPTION", `${where}.max`, `a number above min, ${min}`, String(max));
    if (scale === "log" && !(min > 0))
      throw refused("OPTION", `${where}.min`, "a positive number, for a log scale", String(min));
    if (integer && !(Number.isSafeInteger(min) && Number.isSafeInteger(max))) {
      throw refused("OPTION", where, "integer bounds, since integer is true", `${min} and ${max}`);
    }
    if (sampler === "grid" && points === undefined) {
      throw refused("OPTION", `${where}.points`, "a number of values, which a grid needs", "undefined");
    }
    if (sampler !== "grid" && points !== undefined) {
      throw refused("OPTION", `${where}.points`, 'no value without sampler: "grid"', String(points));
    }
    return { name, min, max, scale: scale ?? (min > 0 && max >= 10 * min ? "log" : "linear"), integer, points };
  });
}

/** The value of a parameter at a coordinate from 0 to below 1. */
function valueAt(dimension: Dimension, place: number): TrialParameterValue {
  if ("values" in dimension) {
    const { values } = dimension;
    return values[Math.min(values.length - 1, Math.floor(place * values.length))] as TrialParameterValue;
  }
  const { min, max, scale, integer } = dimension;
  // Each integer gets an interval of the same width.
  const end = integer ? max + 1 : max;
  const value = scale === "log" ? min * (end / min) ** place : min + place * (end - min);
  return Math.min(max, Math.max(min, integer ? Math.floor(value) : value));
}

/** The values of a parameter in a grid. */
function gridOf(dimension: Dimension): readonly TrialParameterValue[] {
  if ("values" in dimension) return dimension.values;
  const { min, max, scale, integer, points = 2 } = dimension;
  const values = Array.from({ length: points }, (_, i) => {
    // The bounds exactly as given.
    if (i === 0 || i === points - 1) return i === 0 ? min : max;
    const place = i / (points - 1);
    const value = scale === "log" ? min * (max / min) ** place : min + place * (max - min);
    return integer ? Math.round(value) : value;
  });
  return [...new Set(values)];
}

/** The number of trials of a grid. */
export const gridSize = (dimensions: readonly Dimension[]) =>
  dimensions.reduce((product, dimension) => product * gridOf(dimension).length, 1);

/** The parameters of a trial. */
export type TrialParameters = Readonly<Record<string, TrialParameterValue>>;

/** The parameters of all trials. */
export function samplesOf(
  dimensions: readonly Dimension[],
  sampler: Sampler,
  seed: number,
  trials: number,
): TrialParameters[] {
  if (sampler !== "grid") {
    return samplesAt(dimensions, pointsOf(sampler, { trials, dimensions: dimensions.length, seed }));
  }
  const all = dimensions.map(gridOf);
  return Array.from({ length: trials }, (_, index) => {
    let rest = index;
    // The last parameter varies fastest.
    const values: TrialParameterValue[] = [];
    for (const choices of [...all].reverse()) {
      values.unshift(choices[rest % choices.length] as TrialParameterValue);
      rest = Math.floor(rest / choices.length);
    }
    return named(dimensions, values);
  });
}

/** The parameters of trials at given points, which are rows of coordinates. */
export function samplesAt(dimensions: readonly Dimension[], points: Float64Array): TrialParameters[] {
  const size = dimensions.length;
  return Array.from({ length: points.length / size }, (_, trial) =>
    named(
      dimensions,
      dimensions.map((dimension, i) => valueAt(dimension, points[trial * size + i] as number)),
    ),
  );
}

const named = (dimensions: readonly Dimension[], values: readonly TrialParameterValue[]): TrialParameters =>
  Object.fromEntries(dimensions.map(({ name }, i) => [name, values[i] as TrialParameterValue]));
