// Vector fields written as functions that are traced.
import { MAX_ROWS } from "../../wasm/constants.js";
import { type Dtype, dtypeRule } from "../checks/arrays.js";
import { checkDistinct } from "../checks/names.js";
import {
  anything,
  argument,
  array,
  callable,
  elements,
  fallback,
  natural,
  number,
  oneOfOr,
  options,
  record,
  required,
  rule,
  size,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { type Parameters, readParameters, type Traceable } from "../trace/parameters.js";
import {
  callTraced,
  named,
  parameterNames,
  piecesIn,
  programOf,
  returned,
  stateIn,
  statesIn,
  timeIn,
} from "../trace/program.js";
import type { Operand, Value, Vector } from "../trace/value.js";
import type { NamesOf } from "./field.js";
import { type ProgramField, programField } from "./program.js";

/** The values from which a slope is computed, while it is traced. */
export interface SlopeInputs<S, P, A> {
  /** The time at which the slope is taken. */
  readonly t: Value;
  /** The state, a row for each feature: destructure it, or use it as a whole. */
  readonly state: S extends readonly unknown[] ? Vector<S> : Value;
  /** The features of the state by their names, if it has any. */
  readonly states: { readonly [Name in NamesIn<S>]: Value };
  /** The parameters by their names: a value for a number or an array, a function for a network. */
  readonly parameters: Traceable<P>;
  /** The trajectory's arguments by their names. */
  readonly arguments: { readonly [Name in keyof A]: Value };
}

/** The names of the features, or `never` if only their number is given. */
export type NamesIn<S> = S extends readonly (infer Name extends string)[] ? Name : never;

/** A slope for each name, or `never` if only the number of features is given. */
export type SlopesByName<S> = [NamesIn<S>] extends [never] ? never : { readonly [Name in NamesIn<S>]: Operand };

/** Sizes of arguments by their names: `"scalar"` for one number per trajectory, or how many numbers. */
export type ArgumentSizes = { readonly [name: string]: "scalar" | number };

/** The names of a field's arguments, taken from their sizes; `string` if it has none. */
export type ArgumentNames<A extends ArgumentSizes> = [keyof A] extends [never] ? string : keyof A & string;

/** The options of `vectorField`. */
export interface VectorFieldOptions<
  S extends readonly string[] | number,
  P extends Parameters,
  A extends ArgumentSizes,
  D extends Dtype,
> {
  /** The names of the state's features, or how many there are. */
  state: S;
  /**
   * The initial parameters by their names: numbers, arrays of numbers (and arrays of those), modules of `nn`, or objects of
   * these. None by default.
   */
  parameters?: P | undefined;
  /** The arguments: values that differ between trajectories, given with a solve; none by default. */
  arguments?: A | undefined;
  /**
   * The time derivative of the state, computed from values that stand for numbers: as many rows as the state has features, as a value, a
   * list, or an object with one for each name. It is called once, now, and recorded: a choice that depends on values is `where`, because
   * an `if` would always take the same branch.
   */
  slope: (inputs: SlopeInputs<S, P, A>) => Value | readonly Operand[] | SlopesByName<S>;
  /** The number type of the parameters and of all arrays; default `float32`. */
  dtype?: D | undefined;
  /** The seed of the networks' parameters, an integer, zero or more; default 0. */
  seed?: number | undefined;
}

/** No names. */
export type EmptyRecord = Readonly<Record<never, never>>;

const rules = {
  state: anything<unknown>(),
  parameters: anything<unknown>(),
  arguments: fallback(record<unknown>(), {}),
  slope: required(callable<(inputs: never) => unknown>()),
  dtype: fallback(dtypeRule, "float32"),
  seed: fallback(natural, 0),
};

/**
 * Makes a vector field dy/dt = f(t, y) from a function `slope` of the time, the state, parameters and arguments. It is called once, with
 * values that stand for numbers, and what it computes is recorded: solves run the record, and all derivatives are worked out from it.
 *
 * @returns A field with the initial parameters; dispose of it when done.
 * @throws `OPTION` for an unknown option, or invalid names or sizes; `CALLBACK` if the function does something that cannot be
 * recorded, or returns anything but values; `SHAPE` if it returns more or fewer slopes than the state has features, or combines values of
 * different lengths; `NON_FINITE` for parameters that are not finite; `OUT_OF_MEMORY`.
 */
export function vectorField<
  const S extends readonly string[] | number,
  const P extends Parameters = EmptyRecord,
  const A extends ArgumentSizes = EmptyRecord,
  D extends Dtype = "float32",
>(given: VectorFieldOptions<S, P, A, D>): ProgramField<D, ArgumentNames<A>, NamesOf<NamesIn<S>, P>> {
  const { traced, dtype } = trace(given);
  return programField(traced, dtype as D) as never;
}

/** The program of a vector field's options. */
export function trace(given: unknown) {
  const { state, slope, dtype, seed, ...read } = options(given, rules);
  const states = typeof state === "number" ? [] : namesOf("state", state);
  const features = states.length || argument("state", state as number, required(featuresRule));
  const widths = Object.fromEntries(
    runUserCode(() => Object.entries(read.arguments)).map(([name, width]) => [
      name,
      widthOf(`arguments.${name}`, width),
    ]),
  );
  const { entries, initial, standIns } = readParameters(read.parameters, seed);
  const sizes = { state: features, parameters: initial.length, arguments: widths };
  const program = programOf(sizes, (graph) => {
    const value = stateIn(graph, 0, features);
    const inputs = {
      t: timeIn(graph),
      state: value,
      states: statesIn(value, states),
      parameters: standIns(graph),
      arguments: named("arguments.", piecesIn(graph, "argument", Object.entries(widths)), "argument"),
    };
    const elsewhere = { states, parameters: parameterNames(entries), arguments: Object.keys(widths) };
    return returned("slope", callTraced("slope", slope, inputs, elsewhere), features, states);
  });
  return { traced: { program, initial, entries, states, arguments: widths, standIns }, dtype };
}

/** Reads names, which differ. */
export function namesOf(where: string, given: unknown): string[] {
  const expected = "an array of names, or a number of features";
  const names = elements(where, given, array<string>(expected, 1), nameRule);
  checkDistinct(where, names);
  return names;
}

const featuresRule = number(
  `an integer from 1 to ${MAX_ROWS}, or names`,
  (value) => Number.isInteger(value) && value >= 1 && value <= MAX_ROWS,
);

const nameRule = rule<string>("a name", (name) => typeof name === "string" && name !== "");

/** Reads how many numbers a name has for a trajectory. */
export function widthOf(where: string, given: unknown): number {
  const read = argument(where, given, required(widthRule));
  return read === "scalar" ? 1 : read;
}

const widthRule = oneOfOr<"scalar" | number>(
  ["scalar"],
  '"scalar", or how many numbers per trajectory, at least one',
  size.valid,
);
