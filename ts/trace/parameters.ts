// The parameters of a traced function: numbers, arrays and networks by names, nested as the user likes.
import { describe, isArray, refused } from "../checks/errors.js";
import { argument, fallback, finiteValue, isObject, isRecord, record, required } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { Graph } from "./graph.js";
import { MAX_DEPTH, type NestedNumbers, nestedNumbers } from "./nested.js";
import { Module } from "./nn.js";
import { arrayIn, type Entry, named, parameterIn, type StandIns } from "./program.js";
import { uniforms } from "./random.js";
import type { Value, Vector } from "./value.js";

/**
 * What may be given as a parameter: a number; an array of numbers, or of arrays of the same length; a network; or an object of these by
 * name.
 */
export type Parameter =
  | number
  | Float32Array
  | Float64Array
  | readonly number[]
  | readonly NestedNumbers[]
  | Module
  | { readonly [name: string]: Parameter };

/** Parameters by their names. */
export type Parameters = { readonly [name: string]: Parameter };

/** What stands for a network in a traced function: call it with a value. It holds its arrays, such as `net[0].weight`. */
export interface TracedModule extends ModuleParts {
  /** Applies the network to a value. */
  (x: Value): Value;
}

/** The arrays of a network, by the parts of their names. */
export interface ModuleParts {
  /** The part at that place of `nn.sequential`, from 0. */
  readonly [place: number]: ModuleParts;
  /** The weight of a layer, row-major. */
  readonly weight: Value;
  /** The bias of a layer, where it has one. */
  readonly bias: Value;
}

/**
 * What stands for parameters in a traced function: a value for a number or an array, a function of a value for a network, and a
 * record of these for a record. The rows of a matrix lie one after the other in one value.
 */
export type Traceable<P> = P extends number | Float32Array | Float64Array
  ? Value
  : P extends Module
    ? TracedModule
    : P extends readonly number[]
      ? Vector<P>
      : P extends readonly unknown[]
        ? Value
        : { readonly [Name in keyof P]: Traceable<P[Name]> };

/** What stands for the parameters of a field in a traced function; anything where their types are not known. */
// biome-ignore lint/suspicious/noExplicitAny: as nested as the parameters are.
export type TraceableOf<P> = unknown extends P ? any : Traceable<P>;

/** Parameters that were read: their places, their initial numbers, and how to make what stands for them. */
export interface ReadParameters {
  readonly entries: Readonly<Record<string, Entry>>;
  readonly initial: Float64Array;
  readonly standIns: StandIns;
}

/** A function with arrays as properties, nested at the dots of their names, each made when it is read. */
function withArrays<F extends object>(apply: F, names: readonly string[], array: (name: string) => Value): F {
  for (const name of names) {
    const path = name.split(".");
    let part: object = apply;
    for (const key of path.slice(0, -1)) {
      if (!Object.hasOwn(part, key)) Object.defineProperty(part, key, { value: {} });
      part = part[key as never];
    }
    Object.defineProperty(part, path.at(-1) as string, { get: () => array(name) });
  }
  return apply;
}

const recordRule = fallback({ ...record<unknown>(), expected: "an object of parameters by their names" }, {});

/** Reads parameters; networks draw theirs by the seed. */
export function readParameters(given: unknown, seed: number): ReadParameters {
  const entries = new Map<string, Entry>();
  const numbers: number[] = [];
  const random = uniforms(seed);
  const place = (name: string, shape: readonly number[], values: Iterable<number>): number => {
    const offset = numbers.length;
    for (const value of values) numbers.push(value);
    entries.set(name, { offset, shape });
    return offset;
  };
  type Make = (graph: Graph) => unknown;
  const read = (where: string, value: unknown, depth: number): Make => {
    const name = where.slice("parameters.".length);
    if (typeof value === "number") {
      argument(where, value, required(finiteValue));
      const offset = place(name, [], [value]);
      return (graph) => parameterIn(graph, offset, 1);
    }
    if (isObject(value) && value instanceof Module) {
      for (const { name: own, shape, initial } of value.arrays(false)) place(`${name}.${own}`, shape, initial(random));
      const arrays = value.arrays(false).map((array) => array.name);
      return (graph) => {
        const array = (own: string) => arrayIn(graph, entries.get(`${name}.${own}`) as Entry);
        return withArrays((x: Value) => value.apply(x, array), arrays, array);
      };
    }
    if (isArray(value) || ArrayBuffer.isView(value)) {
      const { shape, flat } = nestedNumbers(where, value, depth);
      const offset = place(name, shape, flat);
      return (graph) => parameterIn(graph, offset, flat.length);
    }
    const expected = "a number, an array of numbers, a module of nn, or an object of these";
    if (depth > MAX_DEPTH) throw refused("OPTION", where, "less deeply nested objects", describe(value));
    if (!isRecord(value)) {
      const isField = isObject(value) && "stateSize" in value;
      const hint = "; write a network of nn, as nn.sequential(nn.linear(2, 16), nn.tanh, nn.linear(16, 2))";
      throw refused("OPTION", where, expected, describe(value), isField ? hint : "");
    }
    const parts = runUserCode(() => Object.entries(value)).map(([key, part]): [string, Make] => {
      if (key === "" || key.includes("."))
        throw refused("OPTION", `${where}.${key}`, "a name without a dot", JSON.stringify(key));
      return [key, read(`${where}.${key}`, part, depth + 1)];
    });
    return (graph) => {
      const record = Object.fromEntries(parts.map(([key, make]) => [key, make(graph)]));
      return named(`${where}.`, record, "parameter");
    };
  };
  const make = read("parameters", argument("parameters", given, recordRule), 0);
  return {
    entries: Object.fromEntries(entries),
    initial: Float64Array.from(numbers),
    standIns: (graph) => make(graph) as object,
  };
}
