// Options and arguments by rules: what a value must be, as data, and the two functions that read by them.
// Functions that make rules are marked as without side effects, so that bundlers can drop rules: see tsup.config.ts.
import { MAX_THREADS } from "../../wasm/constants.js";
import { ALIASES, ALTERNATIVES, VALUE_ALIASES } from "./aliases.js";
import {
  classOf,
  describe,
  type ErrorCode,
  isArray,
  isClass,
  isRevoked,
  refused,
  SymplecticAdjointError,
} from "./errors.js";
import { listOf, nearest, normalizedName, resolveAlias, shortened } from "./names.js";
import { runUserCode } from "./user-code.js";

/** A rule for a value; reading it returns a `T`. */
export interface Rule<T> {
  /** What is expected, in words, for the message. */
  readonly expected: string;
  readonly valid: (value: unknown) => boolean;
  /** The code of the error; `OPTION` by default. */
  readonly code?: ErrorCode;
  /** The strings among the valid values, to suggest the nearest one. */
  readonly names?: readonly string[];
  /** What an invalid value may mean, or what to use instead. */
  readonly hint?: (value: unknown) => string | undefined;
  /** Whether undefined is an error. */
  readonly required?: boolean;
  /** The value that replaces undefined. */
  readonly fallback?: T;
}

/** Rules by the names of options. */
export type Rules = Readonly<Record<string, Rule<unknown>>>;

/** What reading by rules gives. */
export type Read<R extends Rules> = { -readonly [K in keyof R]: R[K] extends Rule<infer T> ? T : never };

/** The type of a value that is there. */
type Defined<T> = Exclude<T, undefined>;

// @__NO_SIDE_EFFECTS__
export function rule<T>(expected: string, valid: (value: unknown) => boolean, code?: ErrorCode): Rule<T | undefined> {
  return code === undefined ? { expected, valid } : { expected, valid, code };
}

/** The same, for a value that must be there. */
// @__NO_SIDE_EFFECTS__
export function required<T>(rule: Rule<T>): Rule<Defined<T>> {
  return { ...(rule as Rule<Defined<T>>), required: true };
}

/** The same, for what a function of the user's is called with or returns. */
// @__NO_SIDE_EFFECTS__
export function inCallback<T>(rule: Rule<T>): Rule<Defined<T>> {
  return { ...required(rule), code: "CALLBACK" };
}

/** The same, with hints for values that others may take for valid. */
// @__NO_SIDE_EFFECTS__
export function hinted<T>(rule: Rule<T>, hint: (value: unknown) => string | undefined): Rule<T> {
  return { ...rule, hint };
}

/** The same, with a default. */
// @__NO_SIDE_EFFECTS__
export function fallback<T>(rule: Rule<T>, value: NoInfer<Defined<T>>): Rule<Defined<T>> {
  return { ...(rule as Rule<Defined<T>>), fallback: value };
}

/** Two sets of rules as one. A spread would do, but a bundler keeps what a spread names, even if it is unused. */
// @__NO_SIDE_EFFECTS__
export function together<A extends Rules, B extends Rules>(first: A, second: B): A & B {
  return { ...first, ...second };
}

const INFINITE = Number.POSITIVE_INFINITY;

// @__NO_SIDE_EFFECTS__
export function number(expected: string, valid: (value: number) => boolean) {
  return rule<number>(expected, (value) => typeof value === "number" && valid(value));
}

/** A number, NaN and infinities included. */
export const anyNumber = number("a number", () => true);
export const finite = number("a finite number", Number.isFinite);
/** The same of what was computed, or has been given as data. */
export const finiteValue: Rule<number | undefined> = { ...finite, code: "NON_FINITE" };
export const positive = number("a positive number", (value) => value > 0);
export const finitePositive = number("a finite positive number", (value) => value > 0 && value < INFINITE);
export const nonNegative = number("a finite number, zero or more", (value) => value >= 0 && value < INFINITE);
export const fraction = number("a number, zero or more and below 1", (value) => value >= 0 && value < 1);
/** For counts of steps. */
export const count = number("a positive integer", (value) => Number.isInteger(value) && value >= 1 && value < 2 ** 32);
/** For counts of features: lengths that WebAssembly stores with a sign. */
export const size = number("a positive integer", (value) => Number.isInteger(value) && value >= 1 && value < 2 ** 31);
/** For counts of threads. */
export const threadCount = number(
  `an integer from 1 to ${MAX_THREADS}`,
  (value) => Number.isInteger(value) && value >= 1 && value <= MAX_THREADS,
);
/** A seed, or a number of steps taken. */
export const natural = number("an integer, zero or more", (value) => Number.isSafeInteger(value) && value >= 0);

export const flag = rule<boolean>("true or false", (value) => typeof value === "boolean");
export const text = rule<string>("a string", (value) => typeof value === "string");

/** The address of a script, as text or as a `URL`. */
export const address = rule<string | { readonly href: string }>("a URL", (value) => {
  const text = isObject(value) ? (value as { href?: unknown }).href : value;
  return typeof text === "string" && isUrl(text);
});

/** Whether it is the address of something, in a page also from where that is. */
function isUrl(text: string): boolean {
  try {
    new URL(text, (globalThis as { readonly location?: { readonly href: string } }).location?.href);
    return true;
  } catch {
    return false;
  }
}

/** Whether properties of it can be read. */
export const isObject = (value: unknown): value is object =>
  value !== null && typeof value === "object" && !isRevoked(value);
export const object = rule<object>("an object", isObject);
const requiredObject = required(object);
/** An object with names and values, and no Map, date or array, which would seem to be empty. */
// @__NO_SIDE_EFFECTS__
export function record<T>() {
  return rule<Readonly<Record<string, T>>>("a plain object", isRecord);
}

/** Whatever it is: what reads it next checks it. */
// @__NO_SIDE_EFFECTS__
export function anything<T>() {
  return rule<T>("a value", () => true);
}

/** Names to choose from, for a message. */
export function choiceOf(names: readonly string[]): string {
  return names.length < 3 ? names.join(" or ") : `one of ${listOf(names)}`;
}

/** One of these strings. */
// @__NO_SIDE_EFFECTS__
export function oneOf<const T extends string>(names: readonly T[]): Rule<T | undefined> {
  return oneOfOr<T>(names, choiceOf(names), () => false);
}

/** One of these strings, or another value that is valid. */
// @__NO_SIDE_EFFECTS__
export function oneOfOr<T>(
  names: readonly (T & string)[],
  expected: string,
  valid: (value: unknown) => boolean,
): Rule<T | undefined> {
  const isName = (value: unknown) => typeof value === "string" && (names as readonly string[]).includes(value);
  return { expected, names, valid: (value) => isName(value) || valid(value) };
}

/** Whether it can be called: a class cannot. */
export const isCallable = (value: unknown): boolean =>
  typeof value === "function" && !isRevoked(value) && !isClass(value);

/** A function; `expected` says of what. */
// @__NO_SIDE_EFFECTS__
export function callable<F>(expected = "a function") {
  return rule<F>(expected, isCallable);
}

/** An index into a list of this length, from 0. */
// @__NO_SIDE_EFFECTS__
export function indexIn(count: number) {
  const expected = count === 1 ? "0, the only index" : `an index from 0 to ${count - 1}`;
  return number(expected, (value) => Number.isInteger(value) && value >= 0 && value < count);
}

/** An object with a method of that name: one of a class that may have come from elsewhere, such as an AbortSignal. */
// @__NO_SIDE_EFFECTS__
export function withMethod<T extends object>(expected: string, name: keyof T & string) {
  return rule<T>(
    expected,
    (value) => isObject(value) && typeof (value as Record<string, unknown>)[name] === "function",
  );
}

/** Reads an argument: checks it, or gives its default. */
export function argument<T>(name: string, value: unknown, rule: Rule<T>): T {
  if (value === undefined && !rule.required) return rule.fallback as T;
  if (value !== undefined && !isRevoked(value) && rule.valid(value)) return value as T;
  const meant = typeof value === "string" && rule.names ? resolveValueAlias(value, rule.names) : undefined;
  const hint = meant === undefined ? rule.hint?.(value) : `did you mean ${meant}?`;
  throw refused(rule.code ?? "OPTION", name, rule.expected, describe(value), hint && `; ${hint}`);
}

/** The value that another one stands for; names with other numbers, as float16 beside float32, are meant to differ. */
function resolveValueAlias(value: string, names: readonly string[]): string | undefined {
  const digits = (text: string) => text.replaceAll(/\D/g, "");
  const near = nearest(value, names);
  const differ = near !== undefined && digits(value) !== "" && digits(value) !== digits(near);
  return resolveAlias(value, names, VALUE_ALIASES) ?? (differ ? undefined : near);
}

/** Names of rules: all, and those that are required or have a default. */
interface RuleNames {
  readonly all: ReadonlySet<string>;
  readonly toFill: readonly string[];
}

const known = new WeakMap<Rules, RuleNames>();

function namesOf(rules: Rules): RuleNames {
  const names = known.get(rules);
  if (names) return names;
  const all = Object.keys(rules);
  const toFill = all.filter((name) => rules[name]?.required || rules[name]?.fallback !== undefined);
  const made = { all: new Set(all), toFill };
  known.set(rules, made);
  return made;
}

/**
 * Reads a plain object of options: refuses unknown names, and reads and checks each property once. What is not given, and has no
 * default, is left out. `where` stands before the names.
 */
export function options<R extends Rules>(given: unknown, rules: R, where = ""): Read<R> {
  const names = namesIn(given, rules, where);
  const values = runUserCode(() => names.map((name) => (given as Record<string, unknown>)[name]));
  const read: Record<string, unknown> = {};
  for (const [index, name] of names.entries()) {
    const value = argument(where + name, values[index], rules[name] as Rule<unknown>);
    if (value !== undefined) read[name] = value;
  }
  for (const name of namesOf(rules).toFill) {
    if (read[name] === undefined) read[name] = argument(where + name, undefined, rules[name] as Rule<unknown>);
  }
  return read as Read<R>;
}

/** Refuses options that are set, to more than false or an empty list; `reason` says why they must not be. */
export function checkAbsent(given: Readonly<Record<string, unknown>>, reason: string, where = ""): void {
  for (const [name, value] of Object.entries(given)) {
    const isSet = value !== undefined && value !== false && !(isArray(value) && value.length === 0);
    if (isSet) throw refused("OPTION", where + name, `no value${reason}`, describe(value));
  }
}

/** Whether it is a plain object of any realm, or one without a prototype; another might hide names among those that it inherits. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

/** Whether it is a plain object, of whose properties none can hide. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) && runUserCode(() => isPlain(value));

/** The names that a plain object has; refuses anything else, and unknown names. */
function namesIn(given: unknown, rules: Rules, where: string): string[] {
  const recordName = where.slice(0, -1) || "options";
  const record = argument(recordName, given, requiredObject) as object;
  if (!runUserCode(() => isPlain(record))) {
    const kind = classOf(record) === "Object" ? "an object with its own prototype" : describe(record);
    throw refused("OPTION", recordName, "a plain object", kind);
  }
  const names = runUserCode(() => Object.keys(record));
  for (const name of names) {
    if (!namesOf(rules).all.has(name))
      throw noSuchName(where, name, "option", Object.keys(rules), ALIASES, ALTERNATIVES);
  }
  return names;
}

/** Refuses unknown names of data, an object of any kind, with what others call them. */
export function checkNames(
  where: string,
  data: object,
  known: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
  instead: Readonly<Record<string, string>> = {},
): void {
  for (const name of runUserCode(() => Object.keys(data))) {
    if (!known.includes(name)) throw noSuchName(where, name, "entry", known, aliases, instead);
  }
}

function noSuchName(
  where: string,
  name: string,
  noun: "option" | "entry",
  known: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
  instead: Readonly<Record<string, string>>,
): SymplecticAdjointError {
  const given = shortened(name);
  const expected = known.join(", ");
  const nouns = noun === "option" ? "options" : "entries";
  const message = `${where}${given}: there is no ${noun} of that name; ${hintAt(name, known, aliases, instead)} ${nouns} are ${expected}`;
  return new SymplecticAdjointError("OPTION", message, { argument: where + given, expected, given });
}

/** What may be meant by a name that is not known, or does instead of it. */
function hintAt(
  name: string,
  names: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
  instead: Readonly<Record<string, string>>,
): string {
  const plain = normalizedName(name);
  const meant = resolveAlias(name, names, aliases);
  if (meant === undefined && Object.hasOwn(instead, plain)) return `${instead[plain]}. The`;
  const near = meant ?? nearest(name, names);
  return near === undefined ? "the" : `did you mean ${near}? The`;
}

/** An array with at least this number of elements. */
// @__NO_SIDE_EFFECTS__
export function array<T>(expected: string, least = 0, code?: ErrorCode) {
  return rule<readonly T[]>(expected, (value) => Array.isArray(value) && value.length >= least, code);
}

/** Reads an array whose elements follow a rule, one after the other, so that a length alone costs nothing. */
export function elements<T>(name: string, values: unknown, arrayRule: Rule<unknown>, element: Rule<T>): Defined<T>[] {
  const list = argument(name, values, required(arrayRule)) as readonly unknown[];
  const read: Defined<T>[] = [];
  for (let index = 0; index < list.length; index++) {
    const value = runUserCode(() => list[index]);
    read.push(argument(`${name}[${index}]`, value, required(element)));
  }
  return read;
}
