// The measured quantities of a solution: states, or functions of state, parameters, arguments and time.
import { describe, refused } from "../checks/errors.js";
import { checkDistinct } from "../checks/names.js";
import { array, elements, rule } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { FieldNames } from "../fields/field.js";
import { programField, type WasmProgram } from "../fields/program.js";
import { readObserved, TIME } from "../trace/equations.js";
import type { TraceableOf } from "../trace/parameters.js";
import {
  callTraced,
  named,
  parametersIn,
  piecesIn,
  programOf,
  returned,
  stateIn,
  type Traced,
} from "../trace/program.js";
import type { Operand, Value, Vector } from "../trace/value.js";

/** What an observed function is computed from, while it is traced. */
export interface ObservedInputs<A extends string = string, N extends FieldNames = FieldNames> {
  /** The time of the measurement. */
  readonly t: Value;
  /** The state, a row for each feature: destructure it, or use it as a whole. */
  readonly state: Vector<readonly string[]>;
  /**
   * The field's parameters by name, nested as they were given. Networks are functions, as in `slope`, and hold their arrays, such as
   * `net[0].weight`. For a field from a file, there are only the arrays.
   */
  readonly parameters: TraceableOf<N["parameters"]>;
  /** The trajectory's arguments by their names. */
  readonly arguments: Readonly<Record<A, Value>>;
}

/**
 * The quantities that are measured: names of states or expressions of states, parameters, arguments, `t` and names that the field's equations define,
 * such as `["hare", "log(lynx)"]`; or a function, traced as the slope of `vectorField`, which returns values by their names.
 */
export type Observe<A extends string = string, N extends FieldNames = FieldNames> =
  | string
  | readonly string[]
  | ((inputs: ObservedInputs<A, N>) => Readonly<Record<string, Operand>>);

/** Points at which something is observed. */
export interface Points {
  /** How many. */
  readonly count: number;
  /** `[points, states]`. */
  readonly states: Float64Array;
  readonly times: Float64Array;
  /** By name, `[points]` or `[points, length]`. */
  readonly arguments: Readonly<Record<string, Float64Array>>;
}

/** The function that computes the measured quantities, with its derivatives. */
export interface ObservationFunction {
  readonly names: readonly string[];
  /** `[points, observed]`. */
  evaluate(at: Points, parameters: Float64Array): Float64Array;
  /** Its derivative along directions of states, parameters and arguments, of which the last two may stand still. */
  tangent(
    at: Points,
    parameters: Float64Array,
    along: {
      readonly states: Float64Array;
      readonly parameters?: Float64Array | undefined;
      readonly arguments?: Readonly<Record<string, Float64Array>> | undefined;
    },
  ): Float64Array;
  /** The transpose of its derivative at one point. */
  pull(
    at: Points,
    parameters: Float64Array,
    w: Float64Array,
  ): {
    readonly states: Float64Array;
    readonly parameters: Float64Array;
    readonly arguments: Readonly<Record<string, Float64Array>>;
  };
  dispose(): void;
}

/** The names of the features of a state. */
export const statesOf = ({ states, stateSize }: WasmProgram<"float64">): readonly string[] =>
  states.length > 0 ? states : Array.from({ length: stateSize }, (_, i) => `y[${i}]`);

const expected = "names of states, expressions of them, or a function";
const listRule = array<string>(expected, 1);
const nameRule = rule<string>(expected, (value) => typeof value === "string" && value.trim() !== "");

/** Reads what is observed of a field; all states by default. */
export function observationOf(field: WasmProgram<"float64">, observe: Observe | undefined): ObservationFunction {
  const states = statesOf(field);
  if (typeof observe === "function") return observed(field, ...tracedOf(field, observe));
  const list = observe ?? states;
  const names = elements("observe", typeof list === "string" ? split(list) : list, listRule, nameRule);
  const features = names.map((name) => states.indexOf(name.trim()));
  if (features.every((feature) => feature >= 0)) return selection(names, features, field.stateSize);
  const parameters = Object.fromEntries(
    Object.entries(field.entries)
      .filter(([, { shape }]) => shape.length === 0)
      .map(([name, { offset }]) => [name, offset]),
  );
  // `name = expression` says what an expression is to be called.
  const parts = names.map((text) => {
    const [, name, rest] = /^\s*([A-Za-z_]\w*)\s*=(?!=)(.*)$/s.exec(text) ?? [];
    return { name: name ?? text.trim(), expression: rest ?? text };
  });
  const called = parts.map(({ name }) => name);
  checkDistinct("observe", called);
  const quantities = {
    states: field.states,
    parameters,
    parameterCount: field.parameterCount,
    // Text has names for numbers alone.
    arguments: field.argumentNames.filter((name) => field.argumentWidths[name] === 1),
    equations: field.equations,
  };
  const expressions = parts.map(({ expression }) => expression);
  const traced = readObserved("observe", expressions, quantities);
  return observed(field, called, traced);
}

/** The parts of a list, at its commas outside parentheses. */
function split(text: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const character of text) {
    if (character === "(") depth++;
    if (character === ")") depth--;
    if (character === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}

/** The program of a function. */
function tracedOf(
  field: WasmProgram<"float64">,
  observe: (inputs: ObservedInputs) => Readonly<Record<string, Operand>>,
): [names: string[], traced: Traced] {
  const sizes = { ...field.argumentWidths, [TIME]: 1 };
  const count = field.parameterCount;
  let names: string[] = [];
  const program = programOf({ state: field.stateSize, parameters: count, arguments: sizes }, (graph) => {
    const { [TIME]: t, ...args } = piecesIn(graph, "argument", Object.entries(sizes));
    const inputs = {
      t: t as Value,
      state: stateIn(graph, 0, field.stateSize),
      parameters: field.standIns?.(graph) ?? parametersIn(graph, field.entries),
      arguments: named("arguments.", args, "argument"),
    };
    const result = callTraced("observe", observe, inputs);
    if (result === null || typeof result !== "object" || Symbol.iterator in result) {
      const expected = "values by their names, as in { concentration: central.div(volume) }";
      throw refused("CALLBACK", "observe's result", expected, describe(result));
    }
    names = runUserCode(() => Object.keys(result));
    if (names.length === 0) throw refused("CALLBACK", "observe's result", "at least one value by its name", "{}");
    return returned("observe", Object.values(result), names.length);
  });
  const traced = { program, initial: new Float64Array(count), entries: {}, states: [], arguments: sizes };
  return [names, traced];
}

/** States as they are. */
function selection(names: readonly string[], features: readonly number[], states: number): ObservationFunction {
  const take = (count: number, all: Float64Array) => {
    const width = features.length;
    const own = new Float64Array(count * width);
    for (let row = 0; row < count; row++) {
      for (let o = 0; o < width; o++) own[row * width + o] = all[row * states + (features[o] as number)] as number;
    }
    return own;
  };
  return {
    names: names.map((name) => name.trim()),
    evaluate: (at) => take(at.count, at.states),
    tangent: (at, _, along) => take(at.count, along.states),
    pull(at, parameters, w) {
      const all = new Float64Array(at.count * states);
      for (let row = 0; row < at.count; row++) {
        for (const [o, feature] of features.entries()) {
          all[row * states + feature] =
            (all[row * states + feature] as number) + (w[row * features.length + o] as number);
        }
      }
      return { states: all, parameters: new Float64Array(parameters.length), arguments: {} };
    },
    dispose() {},
  };
}

/** A program of state, parameters and arguments, the last of which is the time. */
function observed(field: WasmProgram<"float64">, names: readonly string[], traced: Traced): ObservationFunction {
  const program = programField(traced, "float64");
  const width = names.length;
  if (program.outputSize !== width) {
    const given = `${program.outputSize} numbers for ${width} names`;
    program.dispose();
    throw refused("SHAPE", "observe's result", "one number for each name", given);
  }
  const usedArguments = Object.entries(field.argumentWidths).filter(([name]) => Object.hasOwn(traced.arguments, name));
  const argumentsAt = (at: Points) => {
    const given = usedArguments.map(([name]) => [name, at.arguments[name] as Float64Array]);
    return { ...Object.fromEntries(given), [TIME]: at.times };
  };
  return {
    names,
    evaluate: (at, parameters) => program.evaluate(0, at.states, parameters, argumentsAt(at)),
    tangent(at, parameters, along) {
      const moving = usedArguments.map(([name, size]) => [
        name,
        along.arguments?.[name] ?? new Float64Array(at.count * size),
      ]);
      const args = { ...Object.fromEntries(moving), [TIME]: new Float64Array(at.count) };
      const { states: y, parameters: rates } = along;
      const tangents = { y, arguments: args, ...(rates && { parameters: rates }) };
      return program.jvp(0, at.states, tangents, parameters, argumentsAt(at)).tangent;
    },
    pull(at, parameters, w) {
      const pulled = program.vjp(0, at.states, w, parameters, argumentsAt(at));
      return { states: pulled.y, parameters: pulled.parameters, arguments: pulled.arguments };
    },
    dispose: () => program.dispose(),
  };
}
