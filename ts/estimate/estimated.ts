// The estimated numbers: parameters of a field, and initial states and arguments of its trajectories.
import { describe, isArray, refused } from "../checks/errors.js";
import { nearest, unknownName } from "../checks/names.js";
import { argument, fallback, flag, isRecord, required, rule } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { prefixesOf } from "../fields/entries.js";
import type { WasmProgram } from "../fields/program.js";
import type { InitialOptions } from "./field-options.js";
import { statesOf } from "./observe.js";
import { type ModelParameter, type ParameterOptions, readParameters } from "./parameters.js";
import type { EstimatedInput } from "./predictions.js";
import type { Data } from "./trajectories.js";

/** A record's own property with this name. */
const ownOf = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

/** The numbers that the user wants estimated, by names: starts, options, or `true` and `false`. */
export interface EstimationChoices {
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly initial: Readonly<Record<string, unknown>>;
  readonly individual: Readonly<Record<string, unknown>>;
}

/** An estimated number, and where it belongs. */
interface EstimatedParameter {
  readonly parameter: ModelParameter;
  readonly place: EstimatedInput;
}

/** All of it: parameters of the field, initial states and individual arguments, in this order. */
export function estimatedParameters(
  field: WasmProgram<"float64">,
  data: Data,
  given: EstimationChoices,
): EstimatedParameter[] {
  const all = [
    ...fieldParametersOf(field, given.parameters),
    ...initialStatesOf(field, data, given.initial),
    ...individualsOf(field, data, given.individual),
  ];
  if (all.length > 0) return all;
  const expected = "something to estimate: parameters of the field, initial states or individual arguments";
  throw refused("OPTION", "field", expected, "none");
}

/** The parameters of the field: each number of each entry. */
function fieldParametersOf(
  field: WasmProgram<"float64">,
  given: Readonly<Record<string, unknown>>,
): EstimatedParameter[] {
  const current = field.copyParameters();
  const all = Object.entries(field.entries).flatMap(([entry, { offset, shape }]) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return Array.from({ length: size }, (_, i) => ({
      entry,
      name: shape.length === 0 ? entry : `${entry}[${i}]`,
      index: offset + i,
    }));
  });
  const names = all.map(({ name }) => name);
  const once = new Set(names);
  const twice = names.find((name) => !once.delete(name));
  if (twice !== undefined) throw refused("OPTION", "field", "parameters with different names", `${twice} twice`);
  if (names.length === 0 && Object.keys(given).length === 0) return [];
  const entries = Object.keys(field.entries);
  const known = new Set([...entries.flatMap(prefixesOf), ...names]);
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue;
    throw unknownName("parameters.", name, entries, "parameter", "OPTION", nearest(name, [...known]));
  }
  const wanted = all.map(({ entry, name, index }) => {
    const container = [name, ...prefixesOf(entry)].find((one) => ownOf(given, one) !== undefined);
    const own = container === undefined ? undefined : given[container];
    if (isArray(own)) {
      const expected = `a number, or options, for all its numbers; or for each by its name, such as ${entry}[0]`;
      throw refused("OPTION", `parameters.${container}`, expected, describe(own));
    }
    const start = current[index] as number;
    return [name, withStart(own, start)] as const;
  });
  if (wanted.length === 0) return [];
  const read = readParameters(Object.fromEntries(wanted));
  return read.map((parameter, i) => ({ parameter, place: { kind: "parameter", index: all[i]?.index as number } }));
}

/** The options of an estimated number, with a start if they have none. Invalid options are refused when they are read. */
function withStart(wanted: unknown, start: number | undefined): unknown {
  if (wanted === undefined) return { start };
  if (!isRecord(wanted)) return wanted;
  return runUserCode(() => ({ start: start === undefined ? start : within(start, wanted), ...wanted }));
}

/** A value of a field, which may have been rounded to float32 beyond a bound that it was on. */
function within(value: number, { lower, upper }: Partial<ParameterOptions>): number {
  return [lower, upper].find((bound) => typeof bound === "number" && Math.fround(bound) === value) ?? value;
}

const wantedRule = required(
  rule<boolean | number | Partial<InitialOptions>>(
    "true, false, a number, or options",
    (value) => typeof value === "boolean" || typeof value === "number" || isRecord(value),
  ),
);

/** The initial states that are estimated. */
function initialStatesOf(
  field: WasmProgram<"float64">,
  data: Data,
  given: Readonly<Record<string, unknown>>,
): EstimatedParameter[] {
  const states = statesOf(field);
  const estimated = Object.entries(given).flatMap(([key, wanted]): EstimatedParameter[] => {
    // By the name of the state, or as results call its initial value.
    const state = states.includes(key) ? key : key.replace(/\(0\)$/, "");
    const feature = states.indexOf(state);
    if (feature < 0) throw unknownName("initial.", state, states, "state");
    if (wanted === undefined) return [];
    const read = argument(`initial.${state}`, wanted, wantedRule);
    if (read === false) return [];
    const { shared: isShared, ...startAndBounds } = typeof read === "object" ? runUserCode(() => ({ ...read })) : {};
    const alone =
      argument(`initial.${state}.shared`, isShared, fallback(flag, false)) || data.trajectories.length === 1;
    const members = alone ? [undefined] : data.trajectories.map((_, index) => index);
    return members.map((trajectory) => {
      const owner = data.trajectories[trajectory ?? 0] as Data["trajectories"][number];
      const name = trajectory === undefined ? `${state}(0)` : `${state}(0)[${owner.name}]`;
      const measured = owner.y0[feature] as number;
      const start = Number.isNaN(measured) ? undefined : measured;
      const from = typeof read === "number" ? read : { start, ...startAndBounds };
      return estimatedParameter(`initial.${state}`, name, from, { kind: "initial", feature, trajectory });
    });
  });
  for (const [index, { name, y0 }] of data.trajectories.entries()) {
    const open = y0.findIndex((value, feature) => {
      const isEstimated = ({ place }: EstimatedParameter) =>
        place.kind === "initial" && place.feature === feature && (place.trajectory ?? index) === index;
      return Number.isNaN(value) && !estimated.some(isEstimated);
    });
    if (open < 0) continue;
    const state = states[open] ?? `feature ${open}`;
    const expected = `a number for ${state} of trajectory ${name}, or ${state} among the options of initial`;
    throw refused("NON_FINITE", "data.y0", expected, "none, or NaN");
  }
  return estimated;
}

/** The arguments that are estimated, for each trajectory. */
function individualsOf(
  field: WasmProgram<"float64">,
  data: Data,
  given: Readonly<Record<string, unknown>>,
): EstimatedParameter[] {
  const widths = field.argumentWidths;
  return Object.entries(given).flatMap(([name, wanted]) => {
    const width = ownOf(widths, name);
    if (width === undefined && Object.hasOwn(field.entries, name)) {
      const expected = `an argument: list ${name} in the option arguments of the field, instead of in parameters`;
      throw refused("OPTION", `individual.${name}`, expected, "a parameter, which all trajectories share");
    }
    if (width === undefined) throw unknownName("individual.", name, Object.keys(widths), "argument");
    return data.trajectories.flatMap((owner, trajectory) =>
      Array.from({ length: width }, (_, index) => {
        const givenValue = owner.arguments[name]?.[index] as number;
        const start = Number.isNaN(givenValue) ? undefined : givenValue;
        const called = width === 1 ? `${name}[${owner.name}]` : `${name}.${index}[${owner.name}]`;
        return estimatedParameter(`individual.${name}`, called, withStart(wanted, start), {
          kind: "argument",
          name,
          index,
          trajectory,
        });
      }),
    );
  });
}

/** One estimated number, whose options have their own place. */
function estimatedParameter(where: string, name: string, given: unknown, place: EstimatedInput): EstimatedParameter {
  const at = where.lastIndexOf(".");
  const [own] = readParameters({ [where.slice(at + 1)]: given }, where.slice(0, at));
  return { parameter: { ...(own as ModelParameter), name }, place };
}
