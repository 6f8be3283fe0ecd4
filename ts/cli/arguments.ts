// Parsers for options with numbers, lists, times and units.
import { InvalidArgumentError } from "commander";
import { CsvError, parse } from "csv-parse/sync";
import { readNumber } from "./number.js";
import { type Clock, readSeconds, readTime, readUnit, TIMES, type Time, type TimeUnit } from "./time.js";

/** A number in a range. */
function number(expected: string, valid: (value: number) => boolean) {
  return (text: string): number => {
    const value = readNumber(text.trim());
    if (Number.isNaN(value) || !valid(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
    return value;
  };
}

export const positive = number("a positive number", (value) => value > 0);
export const nonNegative = number("a number, zero or more", (value) => value >= 0);
export const natural = number("an integer, zero or more", (value) => Number.isSafeInteger(value) && value >= 0);
export const count = number("a positive integer", (value) => Number.isSafeInteger(value) && value >= 1);
export const several = number("an integer, two or more", (value) => Number.isSafeInteger(value) && value >= 2);
export const factor = number("a number from 2 to 100", (value) => value >= 2 && value <= 100);
export const level = number("a number between 0 and 1", (value) => value > 0 && value < 1);
export const share = number("a number, zero or more and below 1", (value) => value >= 0 && value < 1);

/** Names, separated by commas; a name with a comma is quoted. */
export function names(text: string): string[] {
  const list = cellsOf(text);
  if (list.includes("")) throw new InvalidArgumentError("Expected names separated by commas.");
  if (new Set(list).size < list.length) throw new InvalidArgumentError("Expected each name once.");
  return list;
}

/** Texts of missing values. They are kept as written, for the model file. */
export function missing(text: string): string {
  names(text);
  return text;
}

function cellsOf(text: string): string[] {
  try {
    const [cells = [""], ...others] = parse(text, { trim: true }) as unknown as string[][];
    if (others.length === 0) return cells;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
  }
  throw new InvalidArgumentError(`Expected names separated by commas, such as: x,"a, b".`);
}

/** The delimiter of a table. */
export function delimiter(text: string): string {
  const words: Record<string, string> = { tab: "\t", "\\t": "\t", space: " ", comma: ",", semicolon: ";" };
  const value = words[text] ?? text;
  if (value === "") throw new InvalidArgumentError("Expected a character such as ; or tab.");
  return value;
}

/** The name of an encoding that the runtime supports. */
export function encoding(text: string): string {
  try {
    return new TextDecoder(text).encoding;
  } catch {
    throw new InvalidArgumentError("Expected the name of an encoding, such as windows-1252.");
  }
}

/** Numbers, separated by commas. */
export function numbers(text: string): number[] {
  return text.split(",").map(number("numbers separated by commas", () => true));
}

/** Positive integers, separated by commas. */
export function counts(text: string): number[] {
  return text.split(",").map(count);
}

/** A span of time: a number in the unit of time, or seconds. */
export type Span = number | { readonly seconds: number };

/** A positive span of time: a number, or for tables with dates also one with a unit, such as 6h. */
export function span(text: string): Span {
  const seconds = readSeconds(text.trim());
  if (seconds !== undefined && seconds > 0) return { seconds };
  return number("a positive number, or with dates also one with a unit, such as 6h or 1d", (value) => value > 0)(text);
}

/** A unit of time. */
export function timeUnit(text: string): TimeUnit {
  const unit = readUnit(text.trim());
  if (unit === undefined) throw new InvalidArgumentError("Expected s, min, h or d.");
  return unit;
}

/** Times, with the format in which they were written. */
export interface Times {
  readonly clock: Clock;
  readonly values: readonly number[];
}

/**
 * Increasing times: a range `0:10:0.5` (from, to, step), or a list. Steps between dates or times of day are in seconds unless they have a
 * unit.
 */
export function times(text: string): Times {
  return rangeOf(text) ?? listOf(text);
}

function listOf(text: string): Times {
  const list = text.split(",").map((part) => readTime(part.trim()));
  const [first] = list;
  const values = list.map((time) => (time?.clock === first?.clock ? time?.value : undefined) ?? Number.NaN);
  if (!first || values.some(Number.isNaN)) {
    const example = /^[^:,]+:[^:,]+$/.test(text) ? `${text}:STEP with a number for STEP` : "0:10:0.5";
    throw new InvalidArgumentError(`Expected from:to:step, such as ${example}, or a list of numbers or dates.`);
  }
  if (values.some((time, i) => i > 0 && !(time > (values[i - 1] as number))))
    throw new InvalidArgumentError("Expected increasing times.");
  return { clock: first.clock, values };
}

function rangeOf(text: string): Times | undefined {
  const parts = text.split(":");
  const last = (parts.at(-1) as string).trim();
  const seconds = readSeconds(last);
  const step = seconds ?? readNumber(last);
  // Times of day contain colons too: split where both ends are times of the same format.
  for (let middle = 1; middle < parts.length - 1; middle++) {
    const [from, to] = [parts.slice(0, middle), parts.slice(middle, -1)].map((some) => readTime(some.join(":").trim()));
    if (!from || !to || from.clock !== to.clock || Number.isNaN(step)) continue;
    const isNumber = from.clock === "number";
    if (isNumber && seconds !== undefined)
      throw new InvalidArgumentError(`Expected a number as the step between numbers, given ${last}.`);
    const values = numbersBetween(from.value, to.value, step);
    if (values) return { clock: from.clock, values };
    const example = isNumber ? "0:10:0.5" : "2024-01-31:2024-02-20:6h with a step in s, min, h or d";
    throw new InvalidArgumentError(`Expected from:to:step, such as ${example}, of at most a million times.`);
  }
  return undefined;
}

/** The numbers of a range, rounded as one would write them; undefined if it is empty or has more than a million. */
export function numbersBetween(from: number, to: number, step: number): number[] | undefined {
  const steps = (to - from) / step;
  if (!(step > 0) || !(to > from) || Math.round(steps) > 1e6) return undefined;
  // Removes the rounding of multiples: 0.3 rather than 0.30000000000000004.
  return Array.from({ length: Math.floor(steps + 1e-9) + 1 }, (_, i) => Number((from + i * step).toPrecision(15)));
}

/** A time, with the format in which it was written. */
export function time(text: string): Time {
  const read = readTime(text.trim());
  if (!read) throw new InvalidArgumentError(`Expected ${TIMES}.`);
  return read;
}
