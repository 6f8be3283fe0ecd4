// Options that several commands share, and JSON output.
import { Option } from "commander";
import { delimiter, encoding, missing, positive, timeUnit as readTimeUnit } from "../arguments.js";
import type { Format } from "../table.js";

/** Prints a result as JSON. */
export const asJson = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
/** The option --json. */
export const json = () => new Option("--json", "the result as JSON, for programs");
/** A tolerance of adaptive steps. */
export const tolerance = (name: "rtol" | "atol", standard: number) =>
  new Option(`--${name} <tolerance>`, `${name === "rtol" ? "relative" : "absolute"} tolerance of the solver`)
    .argParser(positive)
    .default(standard);

/** The format of a table, if it cannot be detected. */
export const FORMAT = [
  new Option("--delimiter <character>", "the character between columns, or tab or space (default: detected)").argParser(
    delimiter,
  ),
  new Option("--decimal <character>", "the decimal point (default: detected)").choices([".", ","]),
  new Option("--comment <character>", 'prefix of comment lines; "" for none (default: #)'),
  new Option("--missing <texts>", 'further texts of missing values, such as "-,<LOQ,ND"').argParser(missing),
  new Option("--encoding <name>", "such as windows-1252 (default: UTF-8, UTF-16 by its byte order mark)").argParser(
    encoding,
  ),
];

/** The unit of t if times are dates. */
export const timeUnit = () =>
  new Option(
    "--time-unit <unit>",
    "if times are dates: the unit of t, of rates and of other times, s, min, h or d (default: s)",
  ).argParser(readTimeUnit);

/** Splits off the options for the format of a table. */
export function parted(options: Record<string, unknown>): { format: Format; rest: Record<string, unknown> } {
  const names = [...FORMAT, timeUnit()].map((option) => option.attributeName());
  const part = (inside: boolean) =>
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name) === inside));
  return { format: part(true), rest: part(false) };
}
