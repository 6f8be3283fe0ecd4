// What `sweep` varies, as it is written: lists of values, and ranges.
import { InvalidArgumentError, Option } from "commander";
import type { ParameterRange, ParameterValue } from "../cluster.js";
import { count } from "./arguments.js";
import { readNumber } from "./number.js";

/** One value, several, or a range. */
export type Varied = readonly ParameterValue[] | ParameterRange;

export const isRange = (varied: Varied): varied is ParameterRange => "min" in varied;

/** Options of `train` that a sweep may vary: integers, other numbers, words. */
const VARIED: Readonly<Record<string, "integer" | "number" | "word">> = {
  ...{
    steps: "integer",
    batch: "integer",
    window: "integer",
    delays: "integer",
    extra: "integer",
    patience: "integer",
  },
  ...{ "learning-rate": "number", "weight-decay": "number", rtol: "number", lag: "number", period: "number" },
  ...{ model: "word", activation: "word", solver: "word" },
};

/** What stands in `train` for these. */
const NETWORK = [
  new Option("--width <values>", "width of the hidden layers (default: 32)").argParser(variedOf("integer", count)),
  new Option("--depth <values>", "number of hidden layers (default: 2)").argParser(variedOf("integer", count)),
];

/** Options of `train` that `sweep` has no use for, has itself, or has instead of them. */
const OWN = ["hidden", "out", "checkpoint", "resume", "json", "seed"];

/** Options of `sweep` for those of `train`: `varied` may have several values, `fixed` are handed on as they are. */
export function optionsFrom(train: readonly Option[]): { options: Option[]; varied: string[]; fixed: string[] } {
  const names = (options: readonly Option[]) => options.map((option) => option.name());
  const handed = train.filter((option) => !OWN.includes(option.name()));
  const options = handed.map((option) => {
    const { description, defaultValue } = option;
    const { argChoices: choices = [] } = option;
    const isTold =
      description.includes("(default:") || typeof defaultValue === "boolean" || String(defaultValue ?? "") === "";
    const facts = [
      ...(choices.length > 0 ? [`choices: ${choices.join(", ")}`] : []),
      ...(isTold ? [] : [`default: ${String(defaultValue)}`]),
    ];
    const text = [description, facts.length > 0 ? `(${facts.join("; ")})` : ""].join(" ").trim();
    const check = (value: string) => option.parseArg?.(value, undefined as never);
    const kind = VARIED[option.name()];
    const own = new Option(option.flags, text);
    if (option.isBoolean()) return own;
    return kind === undefined ? own.argParser(checked(check)) : own.argParser(variedOf(kind, check));
  });
  const isVaried = (name: string) => Object.hasOwn(VARIED, name);
  return {
    options: [...NETWORK, ...options],
    varied: names([...NETWORK, ...handed.filter((option) => isVaried(option.name()))]),
    fixed: names(handed.filter((option) => !isVaried(option.name()))),
  };
}

/** The text itself, after a look whether `train` would take it. */
function checked(check: (text: string) => unknown) {
  return (text: string): string => {
    check(text);
    return text;
  };
}

/** `16,32,64` are choices, `1e-4:1e-1` is a range, and `1e-4:1e-1:5` one with so many values in a grid. */
function variedOf(kind: "integer" | "number" | "word", check: (text: string) => unknown) {
  return (text: string): Varied => {
    const parts = kind === "word" ? [] : text.split(":");
    if (parts.length > 1) return rangeOf(text, parts, kind === "integer", check);
    return text.split(",").map((part) => {
      check(part.trim());
      return kind === "word" ? part.trim() : readNumber(part.trim());
    });
  };
}

function rangeOf(
  text: string,
  parts: readonly string[],
  integer: boolean,
  check: (text: string) => unknown,
): ParameterRange {
  const [min = Number.NaN, max = Number.NaN, points] = parts.map((part) => readNumber(part.trim()));
  if (!(min < max) || parts.length > 3 || (points !== undefined && !(Number.isInteger(points) && points >= 2))) {
    throw new InvalidArgumentError(`Expected from:to, such as 1e-4:1e-1, or from:to:count for a grid; given ${text}.`);
  }
  for (const part of parts.slice(0, 2)) check(part.trim());
  return { min, max, ...(integer && { integer }), ...(points !== undefined && { points }) };
}
