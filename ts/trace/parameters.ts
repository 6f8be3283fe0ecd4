// The parameters of a traced function: numbers, arrays and networks by names, nested as the user likes.
import { checkSome, numbersOf } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, finiteValue, isObject, required } from "../checks/rules.js";
import { outside } from "../checks/user-code.js";
import type { Graph } from "./graph.js";
import { Module } from "./nn.js";
import { named, type Place, parameterIn } from "./program.js";
import { uniforms } from "./random.js";
import type { Value, Vector } from "./value.js";

/** What a parameter may be given as: a number; an array of numbers, or of arrays of the same length; a network; or more of these by name. */
export type Parameter =
  | number
  | Float32Array
  | Float64Array
  | readonly number[]
  | readonly NestedNumbers[]
  | Module
  | { readonly [name: string]: Parameter };

/** Arrays of numbers within arrays. */
export type NestedNumbers = readonly number[] | readonly NestedNumbers[];

/** Parameters by their names. */
export type Parameters = { readonly [name: string]: Parameter };

/**
 * What stands for parameters in a traced function: a value for a number or an array, a function of a value for a network, and a
 * record of these for a record. The rows of a matrix lie one after the other in one value.
 */
export type Traceable<P> = P extends number | Float32Array | Float64Array
  ? Value
  : P extends Module
    ? (x: Value) => Value
    : P extends readonly number[]
      ? Vector<P>
      : P extends readonly unknown[]
        ? Value
        : { readonly [Name in keyof P]: Traceable<P[Name]> };

/** Parameters that were read: their places, their initial numbers, and how to make what stands for them. */
export interface ReadParameters {
  readonly entries: Readonly<Record<string, Place>>;
  readonly initial: Float64Array;
  standIns(graph: Graph): object;
}

/** Names within names end there. */
const MAX_DEPTH = 32;

/** Reads parameters; networks draw theirs by the seed. */
export function readParameters(given: unknown, seed: number): ReadParameters {
  const entries = new Map<string, Place>();
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
    if (value instanceof Module) {
      for (const { name: own, shape, initial } of value.arrays(false)) place(`${name}.${own}`, shape, initial(random));
      return (graph) => (x: Value) =>
        value.apply(x, (own) => {
          const { offset, shape } = entries.get(`${name}.${own}`) as Place;
          return parameterIn(
            graph,
            offset,
            shape.reduce((product, side) => product * side, 1),
          );
        });
    }
    if (Array.isArray(value) || ArrayBuffer.isView(value)) {
      const { shape, flat } = arrayOf(where, value, depth);
      const offset = place(name, shape, flat);
      return (graph) => parameterIn(graph, offset, flat.length);
    }
    const expected = "a number, an array of numbers, a module of nn, or an object of these";
    if (!isObject(value) || Symbol.iterator in value || depth > MAX_DEPTH) {
      throw refused(
        "OPTION",
        where,
        depth > MAX_DEPTH ? "objects that are nested less deeply" : expected,
        describe(value),
      );
    }
    const parts = outside(() => Object.entries(value)).map(([key, part]): [string, Make] => {
      if (key === "" || key.includes("."))
        throw refused("OPTION", `${where}.${key}`, "a name without a dot", JSON.stringify(key));
      return [key, read(`${where}.${key}`, part, depth + 1)];
    });
    return (graph) => {
      const record = Object.fromEntries(parts.map(([key, make]) => [key, make(graph)]));
      return named(`${where}.`, record, "parameter");
    };
  };
  const record = given ?? {};
  if (!isObject(record) || Symbol.iterator in record || record instanceof Module) {
    throw refused("OPTION", "parameters", "an object of parameters by their names", describe(given));
  }
  const make = read("parameters", record, 0);
  return {
    entries: Object.fromEntries(entries),
    initial: Float64Array.from(numbers),
    standIns: (graph) => make(graph) as object,
  };
}

/** The numbers of an array of arrays, which are to be as long as each other. */
export function arrayOf(where: string, value: unknown, depth: number): { shape: number[]; flat: Float64Array } {
  if (depth > MAX_DEPTH) throw refused("OPTION", where, "arrays that are nested less deeply", describe(value));
  const list = value as ArrayLike<unknown>;
  checkSome(where, list, "number");
  if (!Array.isArray(value) || !outside(() => Array.isArray(value[0]) || ArrayBuffer.isView(value[0]))) {
    const flat = numbersOf(where, value);
    return { shape: [flat.length], flat };
  }
  // A length may be a lie: what is missing is found at once.
  const hole = outside(() => !(value.length - 1 in value));
  if (hole) throw refused("SHAPE", `${where}[${value.length - 1}]`, "an array, as before it", "undefined");
  const rows: { shape: number[]; flat: Float64Array }[] = [];
  for (let i = 0; i < value.length; i++) {
    const row = outside(() => value[i]);
    const inner = `${where}[${i}]`;
    if (!Array.isArray(row) && !ArrayBuffer.isView(row))
      throw refused("SHAPE", inner, "an array, as before it", describe(row));
    rows.push(arrayOf(inner, row, depth + 1));
  }
  const first = rows[0]?.shape as number[];
  const other = rows.findIndex(({ shape }) => shape.join() !== first.join());
  if (other >= 0) {
    throw refused(
      "SHAPE",
      `${where}[${other}]`,
      `[${first.join(", ")}] numbers, as before it`,
      `[${rows[other]?.shape.join(", ")}]`,
    );
  }
  const flat = new Float64Array(rows.reduce((sum, row) => sum + row.flat.length, 0));
  for (const [i, row] of rows.entries()) flat.set(row.flat, i * row.flat.length);
  return { shape: [rows.length, ...first], flat };
}
