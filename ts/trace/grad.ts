// Derivatives within a model: a slope may be made of the gradient of something.
import { isArray, refused } from "../checks/errors.js";
import { activeGraph, isComputedFrom } from "./graph.js";
import { indexOf, lift, Value } from "./value.js";

/** The inputs of a program, whose rows several nodes may read. */
const INPUTS = ["state", "argument"];

/**
 * The gradient of a value of one row with respect to a value that it was computed from: of rows of the state or of arguments, or of
 * anything in between. This is how a system follows from its energy: `const [dHdq, dHdp] = grad(energy, [q, p])`. The result is a value
 * like any other, and may be differentiated again.
 *
 * @returns A value with as many rows as `of`.
 * @throws `SHAPE` for a value of several rows; `CALLBACK` for an `of` that `value` was not computed from, or that is the same for all
 * trajectories, as parameters and the time are; and outside a traced function.
 */
export function grad<V extends Value>(value: Value, of: V): V;
/**
 * The gradients of a value of one row with respect to several values that it was computed from.
 *
 * @returns A list of values, each with as many rows as its element of `of`.
 * @throws `SHAPE` for a value of several rows; `CALLBACK` for an element of `of` that `value` was not computed from, or that is the same
 * for all trajectories, as parameters and the time are; and outside a traced function.
 */
export function grad<const List extends readonly Value[]>(value: Value, of: List): { [Place in keyof List]: Value };
export function grad(value: unknown, of: unknown): Value | Value[] {
  const from = lift("grad's first argument", value);
  const gradient = (argument: string, one: unknown) => {
    const value = lift(argument, one);
    const problem = problemOf(from, value);
    if (problem) throw refused(problem.code, problem.argument, problem.expected, problem.given);
    return gradientOf(from, value);
  };
  if (isArray(of)) return of.map((one, i) => gradient(`grad's second argument [${i}]`, one));
  return gradient("grad's second argument", of);
}

/** The gradient of a value with respect to another one, for which `problemOf` found no problem. */
export function gradientOf(value: Value, of: Value): Value {
  const graph = activeGraph();
  const index = indexOf("grad", of);
  const [name, whole, start] = graph.nodes[index] as [string, number, number];
  // Rows of a value are read from the value itself, too.
  if (name === "slice") return gradientOf(value, new Value(graph, whole)).slice(start, start + of.length);
  return new Value(graph, graph.add(["gradient", indexOf("grad", value), index], of.length, false));
}

/** The reason why there is no such gradient; undefined if there is one. */
export function problemOf(value: Value, of: Value) {
  const graph = activeGraph();
  const index = indexOf("grad", of);
  if (value.length !== 1) {
    const argument = "grad's first argument";
    return { code: "SHAPE", argument, expected: "one row, as sum() gives", given: `${value.length} rows` } as const;
  }
  const argument = "grad's second argument";
  if (graph.uniform[index]) {
    const expected = "a value computed from the state or from arguments";
    return { code: "CALLBACK", argument, expected, given: "one of parameters, numbers and the time alone" } as const;
  }
  const [name, whole] = graph.nodes[index] as [string, number];
  // That an energy does not depend on a coordinate is no mistake.
  const known =
    INPUTS.includes(name) || isComputedFrom(graph.nodes, indexOf("grad", value), name === "slice" ? whole : index);
  if (known) return undefined;
  const expected = "a value that the first argument was computed from; write [q, p] for several";
  return { code: "CALLBACK", argument, expected, given: "another value" } as const;
}
