// Options with names and values: `birth=0.5, hare(0)=30`.
import { InvalidArgumentError } from "commander";
import { numbers, numbersBetween } from "./arguments.js";
import { Failure } from "./failure.js";
import { counted, readNumber } from "./number.js";
import { columnIn, listOf } from "./table.js";

/** A name, and the text after its equals sign, if there is one. */
export interface Pair {
  readonly name: string;
  readonly value: string | undefined;
}

/** Bounds of a parameter; an end that is left out is infinite. */
export interface ParameterBounds {
  readonly lower: number;
  readonly upper: number;
}

/** The centre of a prior, and its standard deviation. */
export interface Spread {
  readonly center: number;
  readonly spread: number;
}

/** Splits a text at a separator outside quotes and parentheses. */
function split(text: string, isSeparator: (at: number) => boolean): string[] {
  const parts = [""];
  let [depth, quoted] = [0, false];
  for (const [at, character] of [...text].entries()) {
    if (character === '"') quoted = !quoted;
    if (!quoted && "([".includes(character)) depth++;
    if (!quoted && ")]".includes(character)) depth--;
    if (!quoted && depth === 0 && isSeparator(at)) parts.push("");
    else parts[parts.length - 1] += character;
  }
  if (quoted) throw new InvalidArgumentError('Expected a closing " after a quoted name.');
  return parts.map((part) => part.trim());
}

/** A name without its quotes. */
const unquoted = (text: string) => (/^".*"$/s.test(text) ? text.slice(1, -1).replaceAll('""', '"') : text);

/** Names with optional values: `a, b = 2, "c, d" = e`. */
export function pairs(text: string, before: readonly Pair[] = []): Pair[] {
  return onceEach([...before, ...pairsIn(text)]);
}

/** The parts of a list; a name may occur twice. */
function pairsIn(text: string): Pair[] {
  const characters = [...text];
  return split(text, (at) => characters[at] === ",").map((part) => {
    const own = [...part];
    let seen = false;
    // The first equals sign that is not part of a comparison.
    const [name = "", value] = split(part, (at) => {
      const isEqual = own[at] === "=" && own[at + 1] !== "=" && !"=<>!".includes(own[at - 1] ?? " ");
      if (!isEqual || seen) return false;
      seen = true;
      return true;
    });
    if (name === "" || value === "") {
      throw new InvalidArgumentError(
        `Expected names separated by commas, such as: x, y = 2. Given: ${part || "nothing"}.`,
      );
    }
    return { name: unquoted(name), value: value === undefined ? undefined : unquoted(value) };
  });
}

function onceEach<T extends { readonly name: string }>(all: T[]): T[] {
  const twice = all.find(({ name }, i) => all.findIndex((other) => other.name === name) < i);
  if (twice) throw new InvalidArgumentError(`Expected each name once, given ${twice.name} twice.`);
  return all;
}

/** Names without values. */
export function plainNames(text: string, before: readonly string[] = []): string[] {
  const list = pairs(
    text,
    before.map((name) => ({ name, value: undefined })),
  );
  const valued = list.find(({ value }) => value !== undefined);
  if (valued) throw new InvalidArgumentError(`Expected names alone, given ${valued.name}=${valued.value}.`);
  return list.map(({ name }) => name);
}

/** Numbers by name: `birth=0.5, hare(0)=30`. */
export function numbersByName(text: string, before: ReadonlyMap<string, number> = new Map()): Map<string, number> {
  return byName(
    text,
    before,
    (value) => {
      const number = readNumber(value);
      return Number.isNaN(number) ? undefined : number;
    },
    "name=number, such as birth=0.5",
  );
}

/** A state: numbers in order, or by name. */
export type StateOption = readonly number[] | ReadonlyMap<string, number>;

/** Parses a state: `30,4` or `hare=30, lynx=4`. */
export const at = (text: string): StateOption => (text.includes("=") ? numbersByName(text) : numbers(text));

/** The numbers of a state, in the order of its names. */
export function stateAt(given: StateOption, names: readonly string[]): readonly number[] {
  const byNames = `--at "${names.map((name) => `${name}=…`).join(", ")}"`;
  const order = `${names.length === 1 ? `that of ${listOf(names)}` : `those of ${listOf(names)} in this order`}, or ${byNames}`;
  if (!(given instanceof Map)) {
    const all = given as readonly number[];
    if (all.length === names.length) return all;
    throw new Failure(`--at: expected ${counted(names.length, "number")}, ${order}; given ${all.length}`, 2);
  }
  const named = new Map([...given].map(([name, value]) => [stateNamed(name, names), value]));
  return names.map((name) => {
    const value = named.get(name);
    if (value !== undefined) return value;
    throw new Failure(`--at: expected a number for each of ${listOf(names)}; given none for ${name}`, 2);
  });
}

function stateNamed(given: string, names: readonly string[]): string {
  const name = columnIn(names, given.replace(/\(0\)$/, ""));
  if (name !== undefined) return name;
  throw new Failure(`--at: expected numbers for ${listOf(names)}; given one for ${given}`, 2);
}

/** A name with one or more values. */
export interface NamedValues {
  readonly name: string;
  readonly values: readonly number[];
}

/** Lists and ranges of numbers by name: `birth=0.5, hunt=0.02,0.03, feed=0.01:0.03:0.005`. */
export function valuesByName(text: string, before: readonly NamedValues[] = []): NamedValues[] {
  const all: { name: string; values: number[] }[] = [];
  for (const { name, value } of pairsIn(text)) {
    // A number without a name continues the list before it.
    const next = value === undefined ? numbersOf(name) : undefined;
    const last = all.at(-1);
    if (next && last) {
      last.values = [...last.values, ...next];
      continue;
    }
    const values = value === undefined ? undefined : numbersOf(value);
    if (!values) {
      const given = value === undefined ? name : `${name}=${value}`;
      const expected = "name=number, a list such as birth=0.4,0.5 or a range such as birth=0.4:0.6:0.05 (from:to:step)";
      throw new InvalidArgumentError(`Expected ${expected}; given ${given}.`);
    }
    all.push({ name, values });
  }
  return onceEach([...before, ...all]);
}

/** A number, or the numbers of a range; undefined if a text is neither. */
function numbersOf(text: string): number[] | undefined {
  const [from = Number.NaN, to, step, ...others] = text.split(":").map((part) => readNumber(part.trim()));
  if (others.length > 0 || Number.isNaN(from)) return undefined;
  if (to === undefined) return [from];
  return step === undefined ? undefined : numbersBetween(from, to, step);
}

/** Bounds by name: `birth=0:1, V=0:`. */
export function boundsByName(
  text: string,
  before: ReadonlyMap<string, ParameterBounds> = new Map(),
): Map<string, ParameterBounds> {
  return byName(
    text,
    before,
    (value, name) => {
      const [lower = "", upper = "", ...others] = value.split(":").map((part) => part.trim());
      const bounds = {
        lower: lower === "" ? Number.NEGATIVE_INFINITY : readNumber(lower),
        upper: upper === "" ? Number.POSITIVE_INFINITY : readNumber(upper),
      };
      if (others.length === 0 && bounds.lower >= bounds.upper) {
        throw new InvalidArgumentError(`Expected a lower bound below the upper one; given ${name}=${value}.`);
      }
      return value.includes(":") && others.length === 0 && bounds.lower < bounds.upper ? bounds : undefined;
    },
    "name=lower:upper, such as birth=0:1 or birth=0: (no upper bound)",
  );
}

/** Priors by name, each with its spread: `k=0.3±0.1`, or `k=0.3+-0.1`. */
export function spreadsByName(text: string, before: ReadonlyMap<string, Spread> = new Map()): Map<string, Spread> {
  return byName(
    text,
    before,
    (value) => {
      const [center = Number.NaN, spread = Number.NaN, ...others] = value
        .split(/±|\+-/)
        .map((part) => readNumber(part.trim()));
      return others.length === 0 && !Number.isNaN(center) && spread > 0 ? { center, spread } : undefined;
    },
    "name=center±spread with a spread above 0, such as birth=0.5±0.1 or birth=0.5+-0.1",
  );
}

function byName<V>(
  text: string,
  before: ReadonlyMap<string, V>,
  read: (value: string, name: string) => V | undefined,
  expected: string,
) {
  const all = new Map(before);
  for (const { name, value } of pairs(
    text,
    [...before.keys()].map((name) => ({ name, value: undefined })),
  )) {
    if (before.has(name)) continue;
    const given = value === undefined ? undefined : read(value, name);
    if (given === undefined)
      throw new InvalidArgumentError(`Expected ${expected}; given ${name}${value === undefined ? "" : `=${value}`}.`);
    all.set(name, given);
  }
  return all;
}
