// Systems of differential equations as text.
import { checkSome } from "../checks/arrays.js";
import { describe, isArray, refused, SymplecticAdjointError } from "../checks/errors.js";
import { nearest } from "../checks/names.js";
import { argument, array, elements, finite, isRecord, record, required, rule, text } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { arity, checkExponential, constantOf, evaluate, type Lookup, type Refuse } from "./expression.js";
import type { Graph, Program } from "./graph.js";
import { linesOf, positionIn, withoutComment } from "./lines.js";
import { parameterIn, piecesIn, programOf, type Traced, timeIn } from "./program.js";
import { concat, type Operand, type Value } from "./value.js";

/** A line of the text: what it defines, and how. */
interface Statement {
  readonly name: string;
  /** Whether it gives the derivative of a state. */
  readonly derivative: boolean;
  /** The line, from 1, without its comment. */
  readonly line: number;
  /** The name's offset in the line. */
  readonly at: number;
  readonly expression: string;
  /** The expression's offset in the line. */
  readonly start: number;
}

/** The meanings of names in a text, besides those that it defines. */
export interface ExternalNames {
  readonly parameters: Readonly<Record<string, number>>;
  readonly arguments: readonly string[];
  /** The states in their order; that of their equations where it is undefined. */
  readonly states?: readonly string[] | undefined;
}

const NAME = /^[A-Za-z_]\w*$/;

/** The program of a system of equations. */
export function readEquations(given: unknown, names: ExternalNames): Traced {
  const source = argument("equations", given, required(text));
  const lines = linesOf(source);
  const values = lines.flatMap((line, index) => initialValueOf(line, index + 1));
  const valuesInText = Object.fromEntries(values.map(({ name, value }) => [name, value]));
  const parameters: Readonly<Record<string, number>> = { ...valuesInText, ...names.parameters };
  const initial = Float64Array.from(Object.values(parameters));
  const sizes = Object.fromEntries(names.arguments.map((name) => [name, 1]));
  const taken = new Set(values.map(({ line }) => line));
  const statements = lines.flatMap((line, index) => (taken.has(index + 1) ? [] : statementOf(line, index + 1)));
  const states = statesOf(statements, values, names);
  const program = programOf({ state: states.length, parameters: initial.length, arguments: sizes }, (graph) => {
    const features = scalars(states);
    const known = new Map<string, Operand>([
      ["t", timeIn(graph)],
      ...Object.entries(piecesIn(graph, "state", features)),
      ...Object.keys(parameters).map((name, i): [string, Operand] => [name, parameterIn(graph, i, 1)]),
      ...Object.entries(piecesIn(graph, "argument", Object.entries(sizes))),
    ]);
    const slopes = evaluateStatements(statements, known);
    return concat(...states.map((name) => slopes.get(name) as Value));
  });
  const entries = Object.keys(parameters).map((name, offset) => [name, { offset, shape: [] }]);
  return { program, initial, entries: Object.fromEntries(entries), states, arguments: sizes };
}

/** Works out statements: definitions become known, and the slopes are given by the names of their states. */
function evaluateStatements(statements: readonly Statement[], known: Map<string, Operand>): Map<string, Value> {
  const slopes = new Map<string, Value>();
  const defined = new Map(statements.map((statement) => [statement.name, statement]));
  for (const statement of statements) {
    const { name, derivative, expression, line, start } = statement;
    const refuse: Refuse = (at, expected, given) => {
      return equationsError(...positionIn(line, start, expression, at), expected, given);
    };
    const lookup: Lookup = (used, at) => {
      const value = known.get(used) ?? (defined.has(used) ? undefined : constantOf(used));
      if (value !== undefined) return value;
      if (!defined.has(used)) {
        checkExponential(expression, at, (expected, given) => refuse(at, expected, given));
      }
      throw unknownNameError(used, statement, defined, [...known.keys()], (expected, given) =>
        refuse(at, expected, given),
      );
    };
    const value = evaluate(expression, lookup, refuse);
    if (derivative) slopes.set(name, value);
    else known.set(name, value);
  }
  return slopes;
}

/** Names of a number each, in their order. */
const scalars = (names: readonly string[]) => names.map((name) => [name, 1] as const);

/** What expressions of a field's quantities may name. */
export interface Quantities {
  readonly states: readonly string[];
  /** Where each parameter that is one number lies. */
  readonly parameters: Readonly<Record<string, number>>;
  /** How many parameters there are in all. */
  readonly parameterCount: number;
  readonly arguments: readonly string[];
  /** The text of the field, whose definitions may be used; undefined for a traced one. */
  readonly equations?: string | undefined;
}

/** The lines of a field's text that define something. */
function statementsOf({ equations = "" }: Pick<Quantities, "equations">): Statement[] {
  return linesOf(equations).flatMap((line, index) =>
    initialValueOf(line, index + 1).length > 0 ? [] : statementOf(line, index + 1),
  );
}

/** Those of them that name an expression. */
const definitionsOf = (names: Pick<Quantities, "equations">) =>
  statementsOf(names).filter(({ derivative }) => !derivative);

/** The names that a field's text gives to expressions. */
export const definedIn = (equations: string | undefined): string[] =>
  definitionsOf({ equations }).map(({ name }) => name);

/** The time, among the arguments of `readObserved`. */
export const TIME = "t";

/** The program of expressions of state, parameters and arguments, in which the time is the last argument. */
export function readObserved(where: string, expressions: readonly string[], names: Quantities): Traced {
  const sizes = Object.fromEntries([...names.arguments, TIME].map((name) => [name, 1]));
  const { states, parameterCount } = names;
  const program = programOf({ state: states.length, parameters: parameterCount, arguments: sizes }, (graph) => {
    const features = scalars(states);
    const known = new Map<string, Operand>([
      ...Object.entries(piecesIn(graph, "state", features)),
      ...Object.entries(names.parameters).map(([name, i]): [string, Operand] => [name, parameterIn(graph, i, 1)]),
      ...Object.entries(piecesIn(graph, "argument", Object.entries(sizes))),
    ]);
    evaluateStatements(definitionsOf(names), known);
    const values = expressions.map((expression, index) => {
      const expressionName = `${where}[${index}]`;
      const refuse: Refuse = (at, expected, given) => {
        const message = `${expressionName}, column ${at + 1}: expected ${expected}; given ${given}`;
        return new SymplecticAdjointError("OPTION", message, {
          argument: expressionName,
          expected,
          given,
          line: 1,
          column: at + 1,
        });
      };
      const lookup: Lookup = (used, at) => {
        checkMeaning(used, names, (expected, given) => refuse(at, expected, given));
        const value = known.get(used) ?? constantOf(used);
        if (value !== undefined) return value;
        checkExponential(expression, at, (expected, given) => refuse(at, expected, given));
        const meant = nearest(used, [...known.keys()]);
        const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
        throw refuse(at, `one of ${[...known.keys()].join(", ")}`, `${used}${hint}`);
      };
      return evaluate(expression, lookup, refuse);
    });
    return concat(...values);
  });
  return { program, initial: new Float64Array(parameterCount), entries: {}, states, arguments: sizes };
}

/**
 * Refuses a name that stands for several things: a function has a record for each kind, a text has none.
 */
function checkMeaning(name: string, names: Quantities, refuse: (expected: string, given: string) => unknown): void {
  const kinds = [
    ["a state", names.states.includes(name)],
    ["a parameter", Object.hasOwn(names.parameters, name)],
    ["an argument", names.arguments.includes(name)],
    ["the time", name === TIME],
  ] as const;
  const meant = kinds.flatMap(([kind, isMeant]) => (isMeant ? [kind] : []));
  if (meant.length < 2) return;
  throw refuse(
    "a name with one meaning, or a function, which takes states, parameters and arguments apart",
    `${name}, ${meant.join(" and ")}`,
  );
}

/** The values of names in the program of a text beside a field's equations, those that the equations define included. */
function namesIn(graph: Graph, names: Quantities): Map<string, Operand> {
  const features = scalars(names.states);
  const known = new Map<string, Operand>([
    ["t", timeIn(graph)],
    ...Object.entries(piecesIn(graph, "state", features)),
    ...Object.entries(names.parameters).map(([name, i]): [string, Operand] => [name, parameterIn(graph, i, 1)]),
    ...Object.entries(piecesIn(graph, "argument", scalars(names.arguments))),
  ]);
  evaluateStatements(definitionsOf(names), known);
  return known;
}

/** The sizes of such a program. */
const sizesOf = (names: Quantities) => ({
  state: names.states.length,
  parameters: names.parameterCount,
  arguments: Object.fromEntries(names.arguments.map((name) => [name, 1])),
});

/** An expression of a text that an option has, and where in it. */
interface ExpressionPlace {
  readonly where: string;
  readonly line: number;
  readonly start: number;
  /** What else a name could be that is not known. */
  readonly remedy?: string;
}

/** Works out an expression of a text that an option has. */
function evaluateIn(
  { where, line, start, remedy = "" }: ExpressionPlace,
  expression: string,
  known: Map<string, Operand>,
  names: Quantities,
): Value {
  const refuse: Refuse = (at, expected, given) => {
    return optionTextError(where, ...positionIn(line, start, expression, at), expected, given);
  };
  const lookup: Lookup = (used, at) => {
    checkMeaning(used, names, (expected, given) => refuse(at, expected, given));
    const value = known.get(used) ?? constantOf(used);
    if (value !== undefined) return value;
    checkExponential(expression, at, (expected, given) => refuse(at, expected, given));
    const meant = nearest(used, [...known.keys()]);
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    throw refuse(at, `one of ${[...known.keys()].join(", ")}${remedy}`, `${used}${hint}`);
  };
  return evaluate(expression, lookup, refuse);
}

function optionTextError(where: string, line: number, at: number, expected: string, given: string) {
  const column = at + 1;
  const message = `${where}, line ${line}, column ${column}: expected ${expected}; given ${given}`;
  return new SymplecticAdjointError("OPTION", message, { argument: where, expected, given, line, column });
}

const OPERATOR = /^(?:[=!]==?|=|[<>]=?)$/;

/** Refuses an equation or a comparison, unless it is part of a choice, where an expression is to cross zero. */
export function checkCrossing(where: string, expression: string): void {
  const [sign = ""] = /[=<>!?]+/.exec(expression) ?? [];
  const at = expression.indexOf(sign);
  const [left, right] = [expression.slice(0, at).trim(), expression.slice(at + sign.length).trim()];
  if (!OPERATOR.test(sign) || left === "" || !/^[^=<>!?]+$/.test(right)) return;
  const minus = /^[\w.]+$/.test(right) ? right : `(${right})`;
  const crossing = Number(right) === 0 ? left : `${left} - ${minus}`;
  throw optionTextError(where, 1, at, `the function that crosses zero, ${crossing}`, sign);
}

/** The program of an expression. */
export function readCondition(where: string, expression: string, names: Quantities): Program {
  return programOf(sizesOf(names), (graph) =>
    concat(evaluateIn({ where, line: 1, start: 0 }, expression, namesIn(graph, names), names)),
  );
}

/**
 * The program of a new state: lines `state = expression`, all of the state before; states without a line keep their values. `remedy` is
 * what a name that is not known could be.
 */
export function readAssignments(where: string, source: string, names: Quantities, remedy = ""): Program {
  const lines = linesOf(source).flatMap((sourceLine, index) => {
    const text = withoutComment(sourceLine);
    if (text.trim() === "") return [];
    const line = index + 1;
    const match = /^\s*([A-Za-z_]\w*)\s*=(?!=)/.exec(text);
    const [{ length: start } = "", name = ""] = match ?? [];
    const expected = `state = expression, with one of ${names.states.join(", ")}`;
    if (!match || !names.states.includes(name))
      throw optionTextError(where, line, 0, expected, text.trim().slice(0, 40));
    return [{ name, line, start, expression: text.slice(start) }];
  });
  checkSome(where, lines, "line state = expression", "OPTION");
  const twice = lines.find(({ name }, i) => lines.findIndex((other) => other.name === name) < i);
  if (twice) throw optionTextError(where, twice.line, 0, `one line for ${twice.name}`, "another");
  return programOf(sizesOf(names), (graph) => {
    const known = namesIn(graph, names);
    const changed = new Map(
      lines.map(({ name, line, start, expression }) => [
        name,
        evaluateIn({ where, line, start, remedy }, expression, known, names),
      ]),
    );
    const before = piecesIn(graph, "state", scalars(names.states));
    return concat(...names.states.map((name) => changed.get(name) ?? (before[name] as Value)));
  });
}

/** The error of a text, with its line and column from 1. */
function equationsError(line: number, at: number, expected: string, given: string): SymplecticAdjointError {
  const column = at + 1;
  const message = `equations, line ${line}, column ${column}: expected ${expected}; given ${given}`;
  return new SymplecticAdjointError("OPTION", message, { argument: "equations", expected, given, line, column });
}

/** A line with the initial value of a parameter. */
interface InitialValue {
  readonly name: string;
  readonly value: number;
  readonly line: number;
  readonly at: number;
}

const NUMBER = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** The parameter of a line `param name = number`; nothing where it says something else. */
function initialValueOf(sourceLine: string, line: number): InitialValue[] {
  const text = withoutComment(sourceLine);
  const match = /^(\s*param\s+)([^\s=]+)\s*(=?)\s*/.exec(text);
  if (!match) return [];
  const [{ length: start }, { length: at } = "", name = "", equals] = match;
  if (!NAME.test(name)) throw equationsError(line, at, "a name of letters, digits and _ after param", name);
  if (!equals) {
    const given = text.slice(at).trim();
    throw equationsError(line, at, `param ${name} = 1, with the initial value of ${name}`, given);
  }
  const number = text.slice(start).trim();
  const value = Number(number);
  if (!NUMBER.test(number) || !Number.isFinite(value)) {
    const expected = `a number such as 2, -0.5 or 1e-3, the initial value of ${name}`;
    throw equationsError(line, start, expected, number === "" ? "nothing" : number);
  }
  return [{ name, value, line, at }];
}

/** The statement of a line; none if it is empty. */
function statementOf(sourceLine: string, line: number): Statement[] {
  const text = withoutComment(sourceLine);
  const at = text.length - text.trimStart().length;
  if (at === text.length) return [];
  const dollar = text.indexOf("$");
  if (dollar >= 0) throw equationsError(line, dollar, "names of letters, digits and _", "$");
  const expected = "name' = expression, or name = expression";
  const match = /^\s*([A-Za-z_]\w*)\s*(?:('+)\s*)?=(?!=)/.exec(text);
  if (!match) {
    const rest = text.trim();
    const given = rest.length > 40 ? `${rest.slice(0, 40)}…` : rest;
    const rate = /^d\s*([A-Za-z_]\w*)\s*\/\s*dt\s*=/.exec(rest);
    if (rate) throw equationsError(line, at, `${rate[1]}' = expression`, given);
    const prime = /^([A-Za-z_]\w*)\s*[’′´`"]+\s*=/.exec(rest);
    if (prime) throw equationsError(line, at, `${prime[1]}' with a straight apostrophe`, given);
    const other = /^([^=]*[^\s=])\s*=(?!=)/.exec(rest);
    if (other) throw equationsError(line, at, "a name of letters, digits and _ before =, or name'", String(other[1]));
    throw equationsError(line, at, expected, given);
  }
  const [{ length: start }, name = "", primes = ""] = match;
  if (primes.length > 1) {
    const first = `first derivatives: a state for the velocity, as in ${name}' = v and v' = expression`;
    throw equationsError(line, at, first, name + primes);
  }
  return [{ name, derivative: primes !== "", line, at, expression: text.slice(start), start }];
}

/** The names of the states, in their order; refuses names that mean two things. */
function statesOf(statements: readonly Statement[], values: readonly InitialValue[], names: ExternalNames): string[] {
  const inputs = new Map<string, string>([["t", "the time"]]);
  const first = new Map<string, number>();
  for (const { name, line, at } of values) {
    const before = first.get(name);
    if (before !== undefined)
      throw equationsError(line, at, `one value for ${name}; it has one on line ${before}`, "another");
    const other = arity(name) > 0 ? "a function" : name === "t" ? "the time" : undefined;
    if (other !== undefined) throw equationsError(line, at, `another name: ${name} is ${other}`, name);
    first.set(name, line);
    // Values that are given as options replace those in the text.
    if (!Object.hasOwn(names.parameters, name)) inputs.set(name, "a parameter");
  }
  for (const name of Object.keys(names.parameters)) addInput(inputs, "parameters", name, "a parameter");
  for (const name of names.arguments) addInput(inputs, "arguments", name, "an argument");
  const defined = new Map<string, Statement>();
  for (const statement of statements) {
    const { name, line, at } = statement;
    const fail = (expected: string, given: string) => equationsError(line, at, expected, given);
    const input = inputs.get(name);
    if (input !== undefined) throw fail(`another name: ${name} is ${input}`, `an equation for ${name}`);
    if (arity(name) > 0) throw fail("another name", `${name}, which is a function`);
    const before = defined.get(name);
    if (before) throw fail(`one equation for ${name}; it has one on line ${before.line}`, "another");
    defined.set(name, statement);
  }
  const states = statements.filter(({ derivative }) => derivative).map(({ name }) => name);
  if (states.length === 0) {
    const message = "at least one line name' = expression";
    throw refused("OPTION", "equations", message, statements.length === 0 ? "none" : "only names of expressions");
  }
  const ordered = names.states;
  if (ordered === undefined) return states;
  for (const name of ordered) {
    if (states.includes(name)) continue;
    throw refused(
      "OPTION",
      "equations",
      `an equation for each state: a line ${name}' = expression`,
      `none for ${name}`,
    );
  }
  for (const name of states) {
    if (ordered.includes(name)) continue;
    throw refused("OPTION", "state", `all states: ${states.join(", ")}`, ordered.join(", "));
  }
  return [...ordered];
}

/** Takes a name for an input; refuses one that cannot be, or is another's. */
function addInput(inputs: Map<string, string>, option: string, name: string, noun: string): void {
  const where = `${option}.${name}`;
  if (!NAME.test(name)) {
    const expected = "a name of the letters A to Z and a to z, digits and _, beginning with a letter or _";
    throw refused("OPTION", where, expected, name);
  }
  const other = arity(name) > 0 ? "a function" : inputs.get(name);
  if (other !== undefined) throw refused("OPTION", where, `another name: ${name} is ${other}`, name);
  inputs.set(name, noun);
}

/** The error of a name that stands for nothing, or for nothing yet. */
function unknownNameError(
  name: string,
  { name: statementName, derivative }: Statement,
  defined: ReadonlyMap<string, Statement>,
  known: readonly string[],
  refuse: (expected: string, given: string) => SymplecticAdjointError,
): SymplecticAdjointError {
  const later = defined.get(name);
  if (later && name === statementName && !derivative)
    return refuse(`${statementName} without ${statementName} in its own definition`, name);
  if (later && !derivative && needs(later, statementName, defined)) {
    return refuse(
      `definitions without a cycle: ${statementName} needs ${name}, which needs ${statementName} (line ${later.line})`,
      name,
    );
  }
  if (later) return refuse("a name that is defined above", `${name}, which is defined below, on line ${later.line}`);
  const constant = name.toLowerCase();
  const meant = nearest(name, known) ?? (constantOf(constant) === undefined ? undefined : constant);
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  const value = `a line param ${name} = 1 (or parameters.${name}) with its initial value`;
  const remedy = `or ${value}, or a line ${name} = expression above`;
  return refuse(`one of ${known.join(", ")}, ${remedy}`, `${name}${hint}`);
}

/** Whether a definition needs a name, itself or by way of others. */
function needs(definition: Statement, name: string, defined: ReadonlyMap<string, Statement>): boolean {
  const seen = new Set([definition]);
  // A set goes on to what is added on the way.
  for (const { expression } of seen) {
    const used: readonly string[] = expression.match(/[A-Za-z_]\w*/g) ?? [];
    if (used.includes(name)) return true;
    for (const other of used) {
      const statement = defined.get(other);
      if (statement && !statement.derivative) seen.add(statement);
    }
  }
  return false;
}

/** Reads names with numbers. */
export function readNumbers(where: string, given: unknown): Record<string, number> {
  const numbers = argument(where, given, required(record<number>()));
  const read = runUserCode(() => Object.entries(numbers));
  return Object.fromEntries(
    read.map(([name, value]) => [name, argument(`${where}.${name}`, value, required({ ...finite, code: "OPTION" }))]),
  );
}

const scalarRule = rule<"scalar">('"scalar", for one number per trajectory', (value) => value === "scalar");

/** Reads a list of names, or a record of which each says "scalar". */
export function readNames(where: string, given: unknown): string[] {
  const list = isArray(given);
  if (!list && !isRecord(given)) {
    throw refused("OPTION", where, 'names, as in ["weight"] or { weight: "scalar" }', describe(given));
  }
  if (list) return elements(where, given, array<string>("names"), text);
  const entries = runUserCode(() => Object.entries(given).map(([name, size]): [string, unknown] => [`.${name}`, size]));
  return entries.map(([place, value]) => {
    argument(where + place, value, required(scalarRule));
    return place.slice(1);
  });
}
