// What comes of tracing: a program with the names and initial values of its parameters.
import { describe, isArray, refused, type SymplecticAdjointError } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { isRecord } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { activeGraph, type Graph, type Program, reachableNodes, withGraph } from "./graph.js";
import { traceUserCode, withLocation } from "./source-location.js";
import { concat, describeOperand, isPromise, lift, type Operand, recordNames, Value } from "./value.js";

/** Where an array lies in the flat parameters, and in their gradient. */
export interface Entry {
  /** The index of the array's first number in the flat parameters. */
  readonly offset: number;
  /** The length of each axis of the array, row-major; none for a single number. */
  readonly shape: readonly number[];
}

/** A program, and what its numbers are called. */
export interface Traced {
  readonly program: Program;
  /** The initial parameters, flat. */
  readonly initial: Float64Array;
  /** The parameter arrays by their names. */
  readonly entries: Readonly<Record<string, Entry>>;
  /** The names of the state's features; none where it has only a number of them. */
  readonly states: readonly string[];
  /** How many numbers each argument has for a trajectory, by name, in their order. */
  readonly arguments: Readonly<Record<string, number>>;
  /** What stands for its parameters in other functions, where that is more than their arrays. */
  readonly standIns?: StandIns;
}

/** Makes what stands for the parameters of a field in a function that is traced. */
export type StandIns = (graph: Graph) => object;

/** The sizes of a program's inputs. */
interface ProgramSizes {
  readonly state: number;
  readonly parameters: number;
  readonly arguments: Readonly<Record<string, number>>;
}

const sumOf = (sizes: Readonly<Record<string, number>>) => Object.values(sizes).reduce((sum, size) => sum + size, 0);

/** The program of what `body` computes in a new graph. */
export function programOf(sizes: ProgramSizes, body: (graph: Graph) => Value): Program {
  return withGraph((graph) => {
    const value = body(graph);
    if (graph.unused.size > 0) {
      const expected = "a use in where(condition, a, b), which chooses row by row";
      const given = "none: in an if, it would always count as true";
      throw withLocation(refused("CALLBACK", "a comparison", expected, given), graph.unusedAt);
    }
    const nodes = reachableNodes(graph.nodes, Value.indexIn(graph, value) as number);
    const { state, parameters, arguments: all } = sizes;
    return { version: 1, state, parameters, arguments: sumOf(all), nodes, result: nodes.length - 1 };
  });
}

/** The stand-in for the time. */
export const timeIn = (graph: Graph) => new Value(graph, graph.add(["time"], 1, true));

/** The stand-in for rows of the state. */
export const stateIn = (graph: Graph, row: number, rows: number) =>
  new Value(graph, graph.add(["state", row, rows], rows, false));

/** The stand-in for parameters. */
export const parameterIn = (graph: Graph, offset: number, rows: number) =>
  new Value(graph, graph.add(["parameter", offset, rows], rows, true));

/** Stand-ins by their names, for pieces of a state or of a trajectory's arguments. */
export function piecesIn(
  graph: Graph,
  kind: "state" | "argument",
  // Not a record, in which names such as 1 would come first.
  sizes: readonly (readonly [name: string, rows: number])[],
): Record<string, Value> {
  let row = 0;
  const pieces = sizes.map(([name, rows]): [string, Value] => {
    const value = new Value(graph, graph.add([kind, row, rows], rows, false));
    row += rows;
    return [name, value];
  });
  return Object.fromEntries(pieces);
}

/** The value of a parameter array. */
export const arrayIn = (graph: Graph, { offset, shape }: Entry): Value =>
  parameterIn(
    graph,
    offset,
    shape.reduce((product, side) => product * side, 1),
  );

/**
 * What stands for a field's parameters in another function than its own: arrays by their names, nested at their dots. Of a field from a
 * file no more than these are known.
 */
export function parametersIn(graph: Graph, entries: Readonly<Record<string, Entry>>): object {
  // Without a prototype, which a name in a file could reach.
  const root: Record<string, unknown> = Object.create(null);
  for (const [name, place] of Object.entries(entries)) {
    const path = name.split(".");
    let record = root;
    for (const part of path.slice(0, -1)) {
      record[part] ??= Object.create(null);
      record = record[part] as Record<string, unknown>;
    }
    record[path.at(-1) as string] = arrayIn(graph, place);
  }
  return closed("parameters", root);
}

/** Records within records, all of which refuse names that they have not, and those within to be called as networks. */
function closed(where: string, record: Record<string, unknown>): object {
  const parts = Object.entries(record).map(([name, part]): [string, object] => [
    name,
    Value.is(part) ? part : closed(`${where}.${name}`, part as Record<string, unknown>),
  ]);
  if (where === "parameters") return named(`${where}.`, Object.fromEntries(parts), "parameter");
  const uncalled = () => {
    const expected = `its arrays by their names, ${Object.keys(record).join(", ")}: the file of a field has no layers to call`;
    throw refused("CALLBACK", where, expected, "a call");
  };
  // Functions have these names too.
  for (const name of ["name", "length"]) Reflect.deleteProperty(uncalled, name);
  // Assigned, some names would meet those of all functions.
  for (const [name, value] of parts) Object.defineProperty(uncalled, name, { value, enumerable: true });
  return named(`${where}.`, uncalled, "parameter");
}

/** The first parts of the names of parameters: those of the objects in which they were given. */
export const parameterNames = (entries: Readonly<Record<string, unknown>>): string[] =>
  Object.keys(entries).map((name) => name.split(".", 1)[0] as string);

/** The rows of a state by the names of its features, each taken when it is read. */
export function statesIn(state: Value, names: readonly string[]): Readonly<Record<string, Value>> {
  activeGraph().stateRows = state.length;
  const record: Record<string, Value> = {};
  for (const [row, name] of names.entries()) {
    Object.defineProperty(record, name, { enumerable: true, get: () => state.at(row) });
    if (name in state) continue;
    const get = () => {
      throw refused("CALLBACK", `state.${name}`, `states.${name}, or const [${names.join(", ")}] = state`, "a name");
    };
    Object.defineProperty(state, name, { get });
  }
  return named("states.", record, "state");
}

/** Names that belong to other records than the one they may be looked up in, by what to write for those records. */
type NamesElsewhere = Readonly<Record<string, readonly string[]>>;

/**
 * A record that refuses unknown names, with an error that lists its own. `noun` is what the names stand for; `elsewhere` has the names of
 * neighbouring records; `misused` returns the error for a name that shows another mistake.
 */
export function named<T extends object>(
  where: string,
  record: T,
  noun: string,
  elsewhere: NamesElsewhere = {},
  misused: (name: string | symbol) => SymplecticAdjointError | undefined = () => undefined,
): T {
  const names = Object.keys(record);
  const unchanged = (_: T, name: string | symbol): never => {
    const expected = `${noun}s as they are; give another value a name of its own: const ${String(name)}2 = …`;
    throw refused("CALLBACK", where + String(name), expected, "an assignment");
  };
  const proxy = new Proxy(record, {
    set: unchanged,
    defineProperty: unchanged,
    deleteProperty: unchanged,
    get(target, name) {
      if (typeof name === "string" && Object.hasOwn(target, name)) return Reflect.get(target, name);
      const other = Object.keys(elsewhere).find((other) => elsewhere[other]?.includes(name as string));
      const error = other === undefined ? misused(name) : undefined;
      if (error) throw error;
      if (name === Symbol.iterator) {
        const expected = names.length > 0 ? `names, as in { ${names.join(", ")} }` : `no ${noun}`;
        throw refused("CALLBACK", where.slice(0, -1), expected, "a list");
      }
      if (typeof name === "symbol") return Reflect.get(target, name);
      throw unknownName(where, name, names, noun, "CALLBACK", other && `${other}.${name}`);
    },
  });
  recordNames.set(proxy, `an object of ${noun}s; take one by its name: ${names.join(", ")}`);
  return proxy;
}

/** The error of a function that takes something else than one object of inputs. */
function singleObjectError(name: string, inputs: readonly string[], given: string): SymplecticAdjointError {
  const some = inputs.length > 2 ? `${inputs.slice(0, 2).join(", ")}, …` : inputs.join(", ");
  return refused("CALLBACK", name, `a function of one object, ({ ${some} }) => …`, given);
}

/** Refuses a function that takes its inputs one by one. `inputs` are their names. */
export function checkSingleObject(name: string, apply: unknown, inputs: readonly string[]): void {
  const { length } = apply as { readonly length: unknown };
  if (typeof length === "number" && length > 1) throw singleObjectError(name, inputs, `one of ${length} arguments`);
}

/** What a function seems to take its inputs for, if it reads this name; undefined if the name may be misspelled. */
function mistakenFor(name: string | symbol): string | undefined {
  if (name === Symbol.iterator) return "a list";
  if (typeof name === "symbol") return undefined;
  if (/^\d+$/.test(name)) return "a list";
  return Object.hasOwn(Value.prototype, name) ? "a value" : undefined;
}

/** Calls a traced function with its inputs as one object, and returns its result; `elsewhere` as in `named`. */
export function callTraced(name: string, apply: unknown, inputs: object, elsewhere: NamesElsewhere = {}): unknown {
  const names = Object.keys(inputs);
  checkSingleObject(name, apply, names);
  const misused = (other: string | symbol) => {
    const taken = mistakenFor(other);
    return taken === undefined ? undefined : singleObjectError(name, names, `one that takes ${taken}`);
  };
  const one = named(`${name}'s `, inputs, "input", elsewhere, misused);
  return traceUserCode(() => (apply as (inputs: object) => unknown)(one));
}

/**
 * The result of a traced function, as one value with `rows` rows, or with any number if `rows` is undefined. If the rows have names, the
 * result may be an object with one value for each; `unchanged` has the rows that it may leave out.
 */
export function returned(
  name: string,
  result: unknown,
  rows?: number,
  names: readonly string[] = [],
  unchanged?: Value,
): Value {
  const noun = name === "slope" ? "slope" : "row";
  const wanted = rows === undefined ? "a value" : `${rows} ${noun}${rows === 1 ? "" : "s"}${rowNames(names)}`;
  const forms = names.length > 0 ? "a value, a list of values or an object of them" : "a value or a list of values";
  const expected = `${wanted}, as ${forms}`;
  const argument = `${name}'s result`;
  if (names.length > 0 && isNamed(result)) return valuesByName(argument, result, names, unchanged);
  if (result === undefined) throw refused("CALLBACK", argument, expected, "undefined; is a return missing?");
  if (isPromise(result))
    throw refused("CALLBACK", argument, `${expected}, at once`, "a Promise: is it an async function?");
  const list = isArray(result);
  if (!list && !Value.is(result) && typeof result !== "number")
    throw refused("CALLBACK", argument, expected, describeOperand(result));
  // A length may be a lie: what is missing is found at once.
  const holes = list && runUserCode(() => result.length > 0 && !(result.length - 1 in result));
  if (holes) throw refused("CALLBACK", argument, expected, `${describe(result)} with missing elements`);
  if (list && result.length === 0) throw refused("SHAPE", argument, expected, describe(result));
  const values = list ? liftAll(argument, result) : [lift(argument, result)];
  const length = values.reduce((sum, value) => sum + value.length, 0);
  if (rows !== undefined && length !== rows) throw refused("SHAPE", argument, expected, String(length));
  return concat(...(values as Operand[]));
}

/** A plain object, of values by their names. */
function isNamed(result: unknown): result is Readonly<Record<string, unknown>> {
  return !recordNames.has(result as object) && isRecord(result);
}

/** An object of values by the names of rows, as one value. */
function valuesByName(
  argument: string,
  result: Readonly<Record<string, unknown>>,
  names: readonly string[],
  unchanged: Value | undefined,
): Value {
  for (const name of runUserCode(() => Object.keys(result))) {
    if (!names.includes(name)) throw unknownName(`${argument}: `, name, names, "state", "CALLBACK");
  }
  const values = names.map((name, row) => {
    const part = runUserCode(() => result[name]);
    if (part === undefined && unchanged && !Object.hasOwn(result, name)) return unchanged.at(row);
    const value = lift(`${argument}.${name}`, part);
    if (value.length !== 1) throw refused("SHAPE", `${argument}.${name}`, "one row", String(value.length));
    return value;
  });
  return concat(...values);
}

/** The elements of a list as values, one after the other: the first that is missing or none ends it. */
function liftAll(argument: string, list: readonly unknown[]): Value[] {
  const values: Value[] = [];
  for (let i = 0; i < list.length; i++) {
    const part = runUserCode(() => list[i]);
    values.push(lift(`${argument}[${i}]`, part));
  }
  return values;
}

/** For a message: the names that results are for. */
function rowNames(names: readonly string[]): string {
  if (names.length === 0) return "";
  const some = names.length > 8 ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more` : names.join(", ");
  return names.length === 1 ? ` (of ${some})` : ` (one for each of ${some})`;
}
