// Options of the command line, as numbers and lists.
import { InvalidArgumentError } from "commander";

/** A number in a range. */
function number(expected: string, valid: (value: number) => boolean) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || !valid(value)) {
      throw new InvalidArgumentError(`Expected ${expected}.`);
    }
    return value;
  };
}

export const positive = number("a positive number", (value) => value > 0);
export const nonNegative = number("a number, zero or more", (value) => value >= 0);
export const natural = number("an integer, zero or more", (value) => Number.isSafeInteger(value) && value >= 0);
export const count = number("a positive integer", (value) => Number.isSafeInteger(value) && value >= 1);
export const several = number("an integer, two or more", (value) => Number.isSafeInteger(value) && value >= 2);
export const share = number("a number from 0 to below 1", (value) => value >= 0 && value < 1);

/** Names, by commas. */
export function names(text: string): string[] {
  const list = text.split(",").map((name) => name.trim());
  if (list.includes("")) throw new InvalidArgumentError("Expected names separated by commas.");
  if (new Set(list).size < list.length) throw new InvalidArgumentError("Expected each name once.");
  return list;
}

/** Numbers, by commas. */
export function numbers(text: string): number[] {
  return text.split(",").map(number("numbers separated by commas", () => true));
}

/** Positive integers, by commas. */
export function counts(text: string): number[] {
  return text.split(",").map(count);
}

/** Times that increase: `0:10:0.5`, from, to and step, or a list. */
export function times(text: string): number[] {
  const parts = text.split(":");
  if (parts.length === 1) {
    const list = numbers(text);
    if (list.some((time, i) => i > 0 && !(time > (list[i - 1] as number))))
      throw new InvalidArgumentError("Expected times that increase.");
    return list;
  }
  const [from = Number.NaN, to = Number.NaN, step = Number.NaN] = parts.map(number("numbers", () => true));
  const steps = Math.round((to - from) / step);
  if (parts.length !== 3 || !(step > 0) || !(to > from) || steps > 1e6) {
    throw new InvalidArgumentError("Expected from:to:step, such as 0:10:0.5, of at most a million times.");
  }
  const end = Math.floor((to - from) / step + 1e-9);
  return Array.from({ length: end + 1 }, (_, i) => from + i * step);
}
