// The options that `sweep` varies: lists of values, and ranges.

import { InvalidArgumentError, Option } from "commander";
import type { ParameterRange, TrialParameterValue } from "../cluster.js";
import { count } from "./arguments.js";
import { described } from "./help.js";
import { readNumber } from "./number.js";
import { SERVER_OPTIONS } from "./server-options.js";

/** One value, several, or a range. */
export type Varied = readonly TrialParameterValue[] | ParameterRange;

export const isRange = (varied: Varied): varied is ParameterRange => "min" in varied;

/** The kind of an option's values. */
type Kind = "integer" | "number" | "word";

/** Options of `train` that a sweep may vary, by kind. */
const VARIED: Readonly<Record<string, Kind>> = {
  ...{
    steps: "integer",
    batch: "integer",
    window: "integer",
    delays: "integer",
    extra: "integer",
    patience: "integer",
  },
  ...{ "learning-rate": "number", "weight-decay": "number", rtol: "number", lag: "number", period: "number" },
  ...{ model: "word", activation: "word", method: "word" },
};

/** The options of `sweep` in place of `--hidden`. */
const NETWORK = [
  new Option("--width <values>", "width of the hidden layers (default: 32)").argParser(variedOf("integer", count)),
  new Option("--depth <values>", "number of hidden layers (default: 2)").argParser(variedOf("integer", count)),
];

/** The option of `train` that `sweep` refuses: a list of widths would be ambiguous. */
const HIDDEN = new Option("--hidden <widths>").hideHelp().argParser(() => {
  throw new InvalidArgumentError("A sweep takes --width and --depth instead, such as --width 16,32 --depth 1:3.");
});

/** Options of `train` that `sweep` leaves out, replaces, or defines itself. */
const OWN = [
  ...["hidden", "out", "checkpoint", "resume", "json", "seed", "servers"],
  ...SERVER_OPTIONS.map((option) => option.name()),
];

/** The options of `sweep` that come from `train`: `varied` may have several values, `fixed` are passed on as written. */
export function optionsFrom(train: readonly Option[]): { options: Option[]; varied: string[]; fixed: string[] } {
  const names = (options: readonly Option[]) => options.map((option) => option.name());
  const handed = train.filter((option) => !OWN.includes(option.name()));
  const options = handed.map((option) => {
    const check = (value: string) => option.parseArg?.(value, undefined as never);
    const kind = VARIED[option.name()];
    const own = new Option(option.flags, described(option));
    if (option.isBoolean()) return own;
    return kind === undefined ? own.argParser(checked(check)) : own.argParser(variedOf(kind, check));
  });
  const isVaried = (name: string) => Object.hasOwn(VARIED, name);
  return {
    options: [...NETWORK, HIDDEN, ...options],
    varied: names([...NETWORK, ...handed.filter((option) => isVaried(option.name()))]),
    fixed: names(handed.filter((option) => !isVaried(option.name()))),
  };
}

/** Checks a text with the parser of `train`, and keeps it as written. */
function checked(check: (text: string) => unknown) {
  return (text: string): string => {
    check(text);
    return text;
  };
}

/** How to write several values. */
const SEVERAL = {
  integer: "a list such as 16,32,64, or a range such as 16:64",
  number: "a list such as 0.01,0.1, or a range such as 0.01:0.1",
};

/** Parses choices `16,32,64`, ranges `1e-4:1e-1`, and ranges for a grid with a number of values, `1e-4:1e-1:5`. */
function variedOf(kind: Kind, check: (text: string) => unknown) {
  return (text: string): Varied => {
    if (kind !== "word" && text.includes(":")) return rangeOf(text, kind, check);
    return text.split(",").map((part) => {
      if (kind === "word") {
        check(part.trim());
        return part.trim();
      }
      orSeveral(kind, text, () => check(part.trim()));
      return readNumber(part.trim());
    });
  };
}

/** Adds to the errors of `train`'s parsers how several values are written. */
function orSeveral(kind: "integer" | "number", text: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    const [, from, to] = /^(.*[^e])-(.*)$/i.exec(text) ?? [];
    const isRange = [from, to].every((end) => end !== undefined && !Number.isNaN(readNumber(end.trim())));
    const hint = isRange ? `; the range is written ${from?.trim()}:${to?.trim()}` : `, ${SEVERAL[kind]}`;
    throw new InvalidArgumentError(`${error.message.replace(/\.$/, "")}${hint}.`);
  }
}

function rangeOf(text: string, kind: "integer" | "number", check: (text: string) => unknown): ParameterRange {
  const parts = text.split(":");
  const [min = Number.NaN, max = Number.NaN, points] = parts.map((part) => readNumber(part.trim()));
  const isCount = points === undefined || (Number.isInteger(points) && points >= 2);
  if (Number.isNaN(min) || Number.isNaN(max) || parts.length > 3 || !isCount) {
    throw new InvalidArgumentError("Expected from:to, such as 1e-4:1e-1, or from:to:count for a grid.");
  }
  if (!(min < max)) {
    const swapped = [parts[1], parts[0], ...parts.slice(2)].join(":");
    const hint = max < min ? `, such as ${swapped}` : "";
    throw new InvalidArgumentError(`Expected a range from the smaller to the larger number${hint}.`);
  }
  for (const part of parts.slice(0, 2)) orSeveral(kind, text, () => check(part.trim()));
  return { min, max, ...(kind === "integer" && { integer: true }), ...(points !== undefined && { points }) };
}
