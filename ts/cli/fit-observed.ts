// The observed columns of a fit, and the expressions that predict them.
import { nearest } from "../checks/names.js";
import { equations, SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import type { TaskRequest } from "./fit-request.js";
import { columnIn, listOf } from "./table.js";
import { observingText } from "./text-model.js";

/** An observed column, and the expression that predicts it. */
export interface Observed {
  readonly column: string;
  readonly expression: string;
}

/** The observed columns by the options; by default, the states that are columns. */
export function observedOf(request: TaskRequest, header: readonly string[], states: readonly string[]): Observed[] {
  if (request.observe) return request.observe.map(({ name, value }) => ({ column: name, expression: value ?? name }));
  // Columns with another purpose are not states under a different spelling.
  const idle = idleIn(header, request).filter((column) => !states.includes(column));
  const columns = states.flatMap((expression): Observed[] => {
    const isOwn = header.includes(expression) && expression !== request.time && expression !== request.id;
    const column = isOwn ? expression : columnIn(idle, expression);
    return column === undefined ? [] : [{ column, expression }];
  });
  if (columns.length > 0) return columns;
  const alike = states.flatMap((expression) => {
    const column = likeName(expression, header);
    return column === undefined ? [] : [{ column, expression }];
  });
  const example = alike.length > 0 ? observing(...alike) : '--observe "column = expression"';
  throw new Failure(
    `no column has the name of a state of the equations, ${listOf(states)}; there are ${listOf(header)}; --observe says which column measures what: ${example}`,
    2,
  );
}

/** The columns that no option names. */
export function idleIn(
  header: readonly string[],
  { time, id, arguments: args, initial, individual, weights, sd, regimen }: TaskRequest,
): string[] {
  const named = [...args, ...initial, ...individual].map(({ name, value }) => value ?? name);
  const all = [time, id, weights, sd, regimen?.mdv, ...named, ...Object.values(regimen?.doses ?? {})];
  const used = all.map((name) => (typeof name === "string" ? columnIn(header, name) : undefined));
  return header.filter((column) => !used.includes(column));
}

/** The --observe option to write for these columns. */
export function observing(...all: readonly Observed[]): string {
  const isQuoted = all.some(({ column }) => /[,="()[\]]/.test(column));
  const parts = all.map(({ column, expression }) => {
    const name = /[,="()[\]]/.test(column) ? `"${column.replaceAll('"', '""')}"` : column;
    return name === expression ? name : `${name} = ${expression}`;
  });
  return isQuoted ? `--observe '${parts.join(", ")}'` : `--observe "${parts.join(", ")}"`;
}

/** A field whose last slopes are the observations, while its states stand still. */
export function observingField(
  text: string,
  observed: readonly Observed[],
  states: readonly string[],
  args: readonly string[],
) {
  const taken = new Set(text.match(/\w+/g));
  const named = observed.map(({ expression }, i) => {
    let name = `observed_${i}`;
    while (taken.has(name)) name += "_";
    return { name, expression };
  });
  const all = [...states, ...named.map(({ name }) => name)];
  return equations(observingText(text, named), { state: all, arguments: args, dtype: "float64" });
}

/** Refuses invalid expressions. */
export function checkObserved(
  text: string,
  observed: readonly Observed[],
  states: readonly string[],
  header: readonly string[],
  args: readonly string[],
): void {
  checkLines(observed);
  try {
    observingField(text, observed, states, args).dispose();
  } catch (error) {
    throw observeFailure(error, text, observed, header);
  }
}

/** Refuses expressions that would span several lines of equations. */
export function checkLines(observed: readonly Observed[]): void {
  const broken = observed.find(({ expression }) => /[#\n\r]/.test(expression));
  if (broken) throw new Failure(`--observe ${broken.column}: expected an expression on one line, without #`, 2);
}

/** An error of `observingField`, for the user. */
export function observeFailure(
  error: unknown,
  text: string,
  observed: readonly Observed[],
  header: readonly string[],
): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.line === undefined) return error;
  const own = observed[error.line - 1 - text.split(/\r\n|[\n\r]/).length];
  if (!own) return error;
  const [, expected] = /^(.*?)(?:, or a line param .*)?$/s.exec(error.expected ?? "") ?? [];
  const names = expected?.replace(/(^|, )observed_\d+_*(?=,|$)/g, "");
  const swapped =
    header.includes(own.expression) && !header.includes(own.column)
      ? `; the left side is a column: ${observing({ column: own.expression, expression: own.column })}`
      : "";
  return new Failure(
    `--observe "${own.column} = ${own.expression}": expected ${names}; given ${error.given}${swapped}`,
    2,
  );
}

/** A column that contains a name as a word, in any case. */
export function likeName(name: string, columns: readonly string[]): string | undefined {
  const small = name.toLowerCase();
  return columns.find((column) =>
    column
      .toLowerCase()
      .split(/[^\p{L}\p{N}]+/u)
      .includes(small),
  );
}

/** A hint for an observed column that does not exist. */
export function observeHint(
  observed: readonly Observed[],
  { time, id }: Pick<TaskRequest, "time" | "id">,
  header: readonly string[],
) {
  return (name: string) => {
    const expression = observed.find(({ column }) => column === name)?.expression ?? "expression";
    // The most likely column: one with a similar name, otherwise any unused one.
    const taken = [time, id, ...observed.map(({ column }) => column)];
    const rest = header.filter((column) => !taken.includes(column));
    const begins = rest.find((column) => column.toLowerCase().startsWith(name.toLowerCase()));
    const close = nearest(name, rest) ?? begins ?? rest[0] ?? "column";
    return `the left side of --observe is a column: ${observing({ column: close, expression })}`;
  };
}
