// What happens to trajectories between steps: jumps at known times, and events.
import { checkFinite, checkSome, timesOf } from "../checks/arrays.js";
import { classOf, describe, isArray, refused } from "../checks/errors.js";
import {
  array,
  count,
  elements,
  fallback,
  hinted,
  isCallable,
  isObject,
  object,
  oneOf,
  options,
  record,
  required,
  rule,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { FieldNames, WasmField } from "../fields/field.js";
import type { WasmProgram } from "../fields/program.js";
import { checkCrossing, definedIn, readAssignments, readCondition } from "../trace/equations.js";
import { activeGraph, type Program } from "../trace/graph.js";
import type { TraceableOf } from "../trace/parameters.js";
import {
  callTraced,
  type Entry,
  named,
  parameterIn,
  parameterNames,
  parametersIn,
  piecesIn,
  programOf,
  returned,
  type StandIns,
  stateIn,
  statesIn,
  timeIn,
} from "../trace/program.js";
import { traceUserCode, withLocation } from "../trace/source-location.js";
import { Condition, concat, type Operand, type Value } from "../trace/value.js";

/** The values from which a jump or an event is computed, while it is traced. */
export interface EventInputs<A extends string = string, N extends FieldNames = FieldNames> {
  /** The time of the jump or event. */
  readonly t: Value;
  /** The state just before, a row for each feature: destructure it, or use it as a whole. */
  readonly state: Value & Iterable<Value> & { readonly [row: number]: Value };
  /** The features of the state just before by their names, if they have any. */
  readonly states: { readonly [Name in N["states"]]: Value };
  /**
   * The field's parameters by name, nested as they were given. Networks are functions, as in `slope`, and hold their arrays, such as
   * `net[0].weight`. For a field from a file, there are only the arrays; for one whose parameters have no names, a single value with all of
   * them.
   */
  readonly parameters: TraceableOf<N["parameters"]>;
  /** The trajectory's arguments by their names. */
  readonly arguments: { readonly [Name in A]: Value };
  /** The amounts of a jump by their names; an event has none. */
  readonly amounts: { readonly [name: string]: Value };
}

/** The state after a jump or an event: all its rows, or the features that change, by name. */
export type NewState<S extends string = string> =
  | Value
  | readonly Operand[]
  | ([S] extends [never] ? { readonly [name: string]: Operand } : { readonly [Name in S]?: Operand });

/** A list of numbers for all trajectories, or one for each. */
export type Lists = ArrayLike<number> | readonly ArrayLike<number>[];

/** A change of the state at known times, such as a dose. */
export interface Jump<A extends string = string, N extends FieldNames = FieldNames> {
  /**
   * When the state changes: times for all trajectories, or a list for each, in the order of the solve's times. Steps end on them. At an
   * output time the solution has the state after the jump. A time after the last output has no effect; one before the first throws.
   */
  times: Lists;
  /**
   * The new state: a function that is called once and recorded, as `slope` of `vectorField` is, and returns as many rows as the state has
   * features, or an object with the features that change; or text with a line `state = expression` for each of those, such as `depot =
   * depot + dose`.
   */
  set: ((inputs: EventInputs<A, N>) => NewState<N["states"]>) | string;
  /** Numbers that belong to each time, by name: lists as `times`, of the same lengths. None by default. */
  amounts?: Readonly<Record<string, Lists>> | undefined;
}

/** Something that happens where a function of the trajectory crosses zero. */
export interface Event<A extends string = string, N extends FieldNames = FieldNames> {
  /** The function whose zeros are the events: called once and recorded; or text, an expression such as `height - floor`. */
  when: ((inputs: EventInputs<A, N>) => Value) | string;
  /** Which crossings count: from negative to positive (`rising`), from positive to negative (`falling`), or `both`, the default. */
  direction?: "both" | "rising" | "falling" | undefined;
  /**
   * Whether an event ends the trajectory, which then stays as it is: true for the first event, or the number of the event that
   * does, from 1; default false.
   */
  terminal?: boolean | number | undefined;
  /** The state after the event, as in `set` of a jump; by default the state does not change. */
  set?: (((inputs: EventInputs<A, N>) => NewState<N["states"]>) | string) | undefined;
}

/** Jumps and events, read: what crosses into the crate, and how the gradient of the jumps is laid out. */
export interface Changes {
  readonly jumps: readonly {
    readonly counts: readonly number[] | null;
    readonly times: number;
    readonly amounts: number;
    readonly set: Program;
    /** The names of the amounts. */
    readonly names: readonly string[];
  }[];
  readonly events: readonly {
    readonly when: Program;
    readonly direction: string;
    readonly terminal: number | null;
    readonly set: Program | null;
  }[];
  /** Of each jump the times, and after them the amounts, those of one time after those of another. */
  readonly numbers: Float64Array;
}

const change = rule<unknown>("a function, or text", (value) => isCallable(value) || typeof value === "string");

/** What to do if a time depends on estimated values. */
const AS_EVENT =
  'a time that depends on parameters, such as that of a dose with a lag, is an event: { when: "t - 12 - lag", direction: "rising", set }';

const isFormula = (given: unknown) => typeof given === "string" || typeof given === "function";

const jumpRules = {
  times: required(
    hinted(rule<object>("an array of numbers, or one for each trajectory", isObject), (given) =>
      isFormula(given) ? AS_EVENT : undefined,
    ),
  ),
  set: required(change),
  amounts: fallback(record<unknown>(), {}),
};

/** The direction that SciPy has a number for. */
function directionHint(given: unknown): string | undefined {
  const meant = new Map<unknown, string>([
    [-1, "falling"],
    [1, "rising"],
    [0, "both"],
  ]).get(given);
  return meant && `did you mean ${meant}?`;
}

const eventRules = {
  when: required(change),
  direction: fallback(hinted(oneOf(["both", "rising", "falling"]), directionHint), "both"),
  terminal: fallback(
    rule<boolean | number>(
      "true, false, or a positive integer",
      (value) => typeof value === "boolean" || count.valid(value),
    ),
    false,
  ),
  set: change,
};

const several = array<object>("an array of objects");

/** Reads the jumps and events of a solve. */
export function readChanges(
  field: WasmField<"float32" | "float64">,
  jumps: unknown,
  events: unknown,
  batch: number,
): Changes {
  const scope = scopeOf(field);
  const numbers: number[] = [];
  const readJumps = elements("jumps", jumps ?? [], several, object).map((given, index) => {
    const where = `jumps[${index}].`;
    const { times: flat, counts, amounts, set: own } = readJump(where, given, batch);
    const names = Object.keys(amounts);
    const columns = Object.values(amounts);
    for (const time of flat) numbers.push(time);
    for (let i = 0; i < flat.length; i++) for (const column of columns) numbers.push(column[i] as number);
    const set = setProgram(scope, `${where}set`, own, names, ", or a name in amounts");
    return { counts, times: flat.length, amounts: flat.length * names.length, set, names };
  });
  const readEvents = elements("events", events ?? [], several, object).map((given, index) => {
    const where = `events[${index}].`;
    const { when, direction, terminal, set } = options(given, eventRules, where);
    return {
      when: whenProgram(scope, `${where}when`, when),
      direction,
      terminal: terminal === false ? null : terminal === true ? 1 : terminal,
      set: set === undefined ? null : setProgram(scope, `${where}set`, set, []),
    };
  });
  return { jumps: readJumps, events: readEvents, numbers: Float64Array.from(numbers) };
}

/** A jump, read: its lists of numbers one after the other. */
export interface ReadJump {
  readonly times: Float64Array;
  /** How many times each trajectory has; null where all share them. */
  readonly counts: readonly number[] | null;
  /** The amounts by name, laid out as the times. */
  readonly amounts: Readonly<Record<string, Float64Array>>;
  readonly set: Jump["set"];
}

/** Reads a jump, except the program of its `set`. */
export function readJump(where: string, given: unknown, batch: number): ReadJump {
  const read = options(given, jumpRules, where);
  const first = runUserCode(() => (read.times as ArrayLike<unknown>)[0]);
  if (isFormula(first)) throw refused("OPTION", `${where}times`, "numbers", describe(first), `; ${AS_EVENT}`);
  const { flat, counts } = listsOf(`${where}times`, read.times, batch);
  const names = runUserCode(() => Object.keys(read.amounts));
  const amounts = names.map((name) => {
    const amountLists = listsOf(
      `${where}amounts.${name}`,
      runUserCode(() => read.amounts[name]),
      batch,
    );
    const same = amountLists.flat.length === flat.length && amountLists.counts?.join() === counts?.join();
    if (same) return [name, amountLists.flat] as const;
    const odd = counts && amountLists.counts ? counts.findIndex((count, i) => count !== amountLists.counts[i]) : -1;
    if (odd >= 0) {
      const expected = `${counts?.[odd]} numbers, as ${where}times[${odd}] has times`;
      throw refused("SHAPE", `${where}amounts.${name}[${odd}]`, expected, String(amountLists.counts?.[odd]));
    }
    throw refused("SHAPE", `${where}amounts.${name}`, "as many numbers as times", shapeOf(amountLists));
  });
  return { times: flat, counts, amounts: Object.fromEntries(amounts), set: read.set as Jump["set"] };
}

/** Reads lists of numbers: one for all trajectories, or one for each. */
export function listsOf(where: string, given: unknown, batch: number) {
  if (!isLists(given)) {
    const flat = timesOf(given as ArrayLike<number>, where);
    return { flat, counts: null, longest: flat.length };
  }
  const expected = `an array of numbers, or one for each of ${batch} trajectories`;
  if (runUserCode(() => classOf(given[0])) === "Date") throw refused("SHAPE", where, "an array of numbers", "dates");
  if (given.length !== batch) throw refused("SHAPE", where, expected, `${given.length} lists`);
  const lists = Array.from({ length: batch }, (_, i) =>
    timesOf(runUserCode(() => given[i]) as ArrayLike<number>, `${where}[${i}]`),
  );
  const flat = new Float64Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    flat.set(list, at);
    at += list.length;
  }
  const counts = lists.map((list) => list.length);
  return { flat, counts, longest: counts.reduce((most, count) => Math.max(most, count), 0) };
}

/** The output times and jumps of trajectories. */
interface TimesAndJumps {
  readonly batch: number;
  readonly times: Float64Array;
  readonly counts: readonly number[] | null;
  readonly changes: Changes;
  /** The name of a trajectory's times in messages; `times[i]` by default. */
  readonly nameOf?: (trajectory: number) => string;
}

/** Refuses invalid times and amounts. Unlike the crate's errors, these name the trajectory and the jump. */
export function checkLists({ batch, times, counts, changes, nameOf = (i) => `times[${i}]` }: TimesAndJumps): void {
  const timeLists = listsByTrajectory("times", times, counts, batch);
  if (counts) for (const { where, list } of timeLists) checkTimes(where, list);
  let at = 0;
  for (const [index, jump] of changes.jumps.entries()) {
    const { counts: jumpCounts, names } = jump;
    const where = `jumps[${index}]`;
    const flat = changes.numbers.subarray(at, at + jump.times);
    const amounts = changes.numbers.subarray(at + jump.times, at + jump.times + jump.amounts);
    at += jump.times + jump.amounts;
    const lists = listsByTrajectory(`${where}.times`, flat, jumpCounts, batch);
    // Shared lists are alike for all trajectories.
    const several = counts !== null || jumpCounts !== null;
    for (let trajectory = 0; trajectory < (several ? batch : 1); trajectory++) {
      const { where: name, list } = lists[jumpCounts ? trajectory : 0] as NamedList;
      checkJumps(
        name,
        list,
        (timeLists[counts ? trajectory : 0] as NamedList).list,
        counts ? nameOf(trajectory) : "times",
      );
    }
    for (const [column, name] of names.entries()) {
      const numbers = flat.map((_, i) => amounts[i * names.length + column] as number);
      for (const { where: place, list } of listsByTrajectory(`${where}.amounts.${name}`, numbers, jumpCounts, batch)) {
        checkFinite(place, list);
      }
    }
  }
}

/** A list of numbers, and what it is called. */
interface NamedList {
  readonly where: string;
  readonly list: Float64Array;
}

function listsByTrajectory(
  where: string,
  flat: Float64Array,
  counts: readonly number[] | null,
  batch: number,
): NamedList[] {
  if (counts === null) return [{ where, list: flat }];
  let end = 0;
  return Array.from({ length: batch }, (_, i) => {
    end += counts[i] as number;
    return { where: `${where}[${i}]`, list: flat.subarray(end - (counts[i] as number), end) };
  });
}

function checkTimes(where: string, list: Float64Array): void {
  checkSome(where, list, "time");
  checkFinite(where, list);
  const forward = (list.at(-1) as number) > (list[0] as number);
  const bad = list.findIndex((t, i) => i > 0 && t !== list[i - 1] && t > (list[i - 1] as number) !== forward);
  if (bad < 0) return;
  const expected = "times in ascending or descending order (a time may be repeated)";
  throw refused("OPTION", where, expected, `${list[bad - 1]} followed by ${list[bad]} at index ${bad - 1}`);
}

function checkJumps(where: string, list: Float64Array, times: Float64Array, whose: string): void {
  checkFinite(where, list);
  const [first, last] = [times[0], times.at(-1)];
  // The crate refuses these. If a trajectory has an empty interval, only jumps at its time act.
  if (first === undefined || last === undefined || !(first < last || first > last)) return;
  const direction = last < first ? -1 : 1;
  const early = list.findIndex((t) => (t - first) * direction < 0);
  if (early >= 0) {
    const given = `${list[early]} at index ${early}`;
    throw refused(
      "OPTION",
      where,
      `times no ${direction < 0 ? "later" : "earlier"} than the first of ${whose}, ${first}`,
      given,
    );
  }
  const bad = list.findIndex((t, i) => i > 0 && (t - (list[i - 1] as number)) * direction < 0);
  if (bad < 0) return;
  const given = `${list[bad - 1]} followed by ${list[bad]} at index ${bad - 1}`;
  throw refused("OPTION", where, `times in the order of ${whose}`, given);
}

/** Whether these are lists, and not numbers. */
export function isLists(given: unknown): given is readonly unknown[] {
  return isArray(given) && runUserCode(() => given.length > 0 && isObject(given[0]));
}

const shapeOf = ({ flat, counts }: { flat: Float64Array; counts: readonly number[] | null }): string =>
  counts === null ? `${flat.length} for all` : `lists of ${counts.slice(0, 8).join(", ")}`;

/** The meaning of a field's names in its jumps and events. */
interface Scope {
  readonly state: number;
  readonly states: readonly string[];
  readonly parameters: number;
  readonly entries: Readonly<Record<string, Entry>>;
  readonly standIns: StandIns | undefined;
  readonly arguments: Readonly<Record<string, number>>;
  readonly equations: string | undefined;
}

function scopeOf(field: WasmField<"float32" | "float64">): Scope {
  const { entries = {}, states = [], standIns, equations } = field as Partial<WasmProgram<"float64">>;
  const parameters = field.parameterCount;
  return { state: field.stateSize, states, parameters, entries, standIns, arguments: field.argumentWidths, equations };
}

/** The program of a new state. */
function setProgram(scope: Scope, where: string, given: unknown, amounts: readonly string[], remedy = ""): Program {
  const widths = { ...scope.arguments, ...Object.fromEntries(amounts.map((name) => [name, 1])) };
  const { states, entries, equations } = scope;
  const known = [...Object.keys(scope.arguments), ...states, ...Object.keys(entries), ...definedIn(equations), "t"];
  const clash = amounts.find((name) => known.includes(name));
  if (clash !== undefined) {
    throw refused(
      "OPTION",
      where.replace(/set$/, "amounts"),
      "names not taken by states, parameters, arguments, t or the lines of the equations",
      clash,
    );
  }
  if (typeof given === "string") return readAssignments(where, given, quantities(where, scope, amounts), remedy);
  return traceChange(scope, widths, amounts, (inputs, elsewhere) =>
    returned(where, callTraced(where, given, inputs, elsewhere), scope.state, scope.states, inputs.state),
  );
}

/** The program of an event's function. */
function whenProgram(scope: Scope, where: string, given: unknown): Program {
  if (typeof given === "string") {
    checkCrossing(where, given);
    return readCondition(where, given, quantities(where, scope, []));
  }
  return traceChange(scope, scope.arguments, [], (inputs, elsewhere) => {
    const result = callTraced(where, given, inputs, elsewhere);
    if (!Condition.is(result)) return returned(where, result, 1);
    const expected = "the function that crosses zero, h for h.less(0), or a.sub(b) for a.less(b)";
    throw withLocation(refused("CALLBACK", `${where}'s result`, expected, "a condition"), activeGraph().unusedAt);
  });
}

/** The program of a norm of errors, which stand where the state does; null for the root mean square. */
export function readNorm(field: WasmField<"float32" | "float64">, norm: unknown): Program | null {
  if (norm === undefined || norm === "rms") return null;
  const scope = scopeOf(field);
  if (typeof norm === "string" && norm !== "max") {
    const names = [...scope.states, ...Object.keys(scope.arguments), ...Object.keys(scope.entries), "t"];
    if (/^\s*[A-Za-z_]\w*\s*$/.test(norm) && !names.includes(norm.trim())) {
      const [first = "x", second = first] = scope.states;
      const of = first === second ? `abs(${first})` : `max(abs(${first}), abs(${second}))`;
      const expected = `rms, max, a function of the errors, or text such as ${of}`;
      throw refused("OPTION", "norm", expected, describe(norm));
    }
    // The definitions of the equations are made of states, not of their errors.
    return readCondition("norm", norm, { ...quantities("norm", scope, []), equations: undefined });
  }
  const take =
    norm === "max"
      ? (errors: Iterable<Value>) => [...errors].map((error) => error.abs()).reduce((most, error) => most.max(error))
      : (norm as (errors: Value) => unknown);
  // Names stand for errors here: of all features at once, as the function takes them.
  return traceChange({ ...scope, states: [] }, scope.arguments, [], ({ state }) =>
    returned(
      "norm",
      traceUserCode(() => take(onlyRows(state, [...scope.states, "state", "parameters", "arguments", "errors"]))),
      1,
    ),
  );
}

/** A vector that refuses to be taken for an object of such names. */
function onlyRows(errors: Value, names: readonly string[]): Value {
  for (const name of names) {
    if (name in errors) continue;
    const get = () => {
      const expected =
        "a function of one vector, the error of each feature in units of its tolerance, as ([a, b]) => a.abs().max(b.abs())";
      throw refused("CALLBACK", "norm", expected, `one that takes ${name}`);
    };
    Object.defineProperty(errors, name, { get });
  }
  return errors;
}

function traceChange(
  { state, states, parameters, entries, standIns, arguments: argumentWidths }: Scope,
  widths: Readonly<Record<string, number>>,
  amounts: readonly string[],
  body: (inputs: EventInputs, elsewhere: Readonly<Record<string, readonly string[]>>) => Value,
): Program {
  const isNamed = parameters === 0 || Object.keys(entries).length > 0;
  return programOf({ state, parameters, arguments: widths }, (graph) => {
    const pieces = piecesIn(graph, "argument", [
      ...Object.entries(argumentWidths),
      ...amounts.map((name) => [name, 1] as const),
    ]);
    const pick = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, pieces[name] as Value]));
    const stateValue = stateIn(graph, 0, state);
    const inputs = {
      t: timeIn(graph),
      state: stateValue,
      states: statesIn(stateValue, states),
      parameters: isNamed ? (standIns?.(graph) ?? parametersIn(graph, entries)) : parameterIn(graph, 0, parameters),
      arguments: named("arguments.", pick(Object.keys(argumentWidths)), "argument"),
      amounts: named("amounts.", pick(amounts), "amount"),
    };
    const elsewhere = {
      states,
      parameters: parameterNames(entries),
      arguments: Object.keys(argumentWidths),
      amounts,
    };
    return concat(body(inputs as unknown as EventInputs, elsewhere));
  });
}

/** The names of a text. */
function quantities(
  where: string,
  { state, states, parameters, entries, arguments: argumentWidths, equations }: Scope,
  amounts: readonly string[],
) {
  if (states.length !== state) {
    throw refused("OPTION", where, "a function, as the states of the field have no names", "text");
  }
  const single = Object.entries(entries).filter(([, { shape }]) => shape.length === 0);
  const names = [...Object.keys(argumentWidths), ...amounts];
  const wide = Object.entries(argumentWidths).find(([, width]) => width !== 1);
  if (wide)
    throw refused(
      "OPTION",
      `arguments.${wide[0]}`,
      "one number per trajectory, for text",
      `${describe(wide[1])} numbers`,
    );
  return {
    states,
    parameters: Object.fromEntries(single.map(([name, { offset }]) => [name, offset])),
    parameterCount: parameters,
    arguments: names,
    equations,
  };
}

/** The gradient of a loss with respect to the times and amounts of a jump, shaped as they were given. */
export interface JumpGradient {
  /**
   * ∂L/∂times, a list for all trajectories or one for each, as given. The derivative with respect to the time of a jump at an output time
   * is that of both moving together; of several jumps at the same time, the first has it. NaN if a custom field does not give its
   * derivative with respect to time.
   */
  readonly times: Float64Array | readonly Float64Array[];
  /** ∂L/∂amounts by name, each a list for all trajectories or one for each, as given. */
  readonly amounts: Readonly<Record<string, Float64Array | readonly Float64Array[]>>;
}

/** Reads them. */
export function jumpGradients(changes: Changes, numbers: Float64Array): JumpGradient[] {
  let at = 0;
  const split = (flat: Float64Array, counts: readonly number[] | null) => {
    if (counts === null) return flat;
    let start = 0;
    return counts.map((count) => {
      start += count;
      return flat.slice(start - count, start);
    });
  };
  return changes.jumps.map(({ counts, times, amounts, names }) => {
    const timeDerivatives = numbers.slice(at, at + times);
    const all = numbers.subarray(at + times, at + times + amounts);
    at += times + amounts;
    const columns = names.map((name, column) => {
      const flat = Float64Array.from({ length: times }, (_, i) => all[i * names.length + column] as number);
      return [name, split(flat, counts)] as const;
    });
    return {
      times: split(timeDerivatives, counts),
      amounts: Object.fromEntries(columns),
    };
  });
}
