// What is measured: columns of the table, and the expressions that predict them.
import { nearest } from "../checks/names.js";
import { equations, SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import type { TaskRequest } from "./fit-request.js";
import { columnIn, listOf } from "./table.js";
import { observingText } from "./text-model.js";

/** What is measured: a column, and the expression that predicts it. */
export interface Observed {
  readonly column: string;
  readonly expression: string;
}

/** What the options say is observed; by default the states that are columns. */
export function observedOf(request: TaskRequest, header: readonly string[], states: readonly string[]): Observed[] {
  if (request.observe) return request.observe.map(({ name, value }) => ({ column: name, expression: value ?? name }));
  // Of columns that have something else to say, none is a state by another spelling of its name.
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

/** An option that says which expressions predict columns, as it is to be written. */
export function observing(...all: readonly Observed[]): string {
  const isQuoted = all.some(({ column }) => /[,="()[\]]/.test(column));
  const parts = all.map(({ column, expression }) => {
    const name = /[,="()[\]]/.test(column) ? `"${column.replaceAll('"', '""')}"` : column;
    return name === expression ? name : `${name} = ${expression}`;
  });
  return isQuoted ? `--observe '${parts.join(", ")}'` : `--observe "${parts.join(", ")}"`;
}

/** A field whose last slopes are what is observed, of states that stand still. */
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

/** Refuses expressions that cannot be read. */
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

/** Refuses expressions that would be more than one line of equations. */
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

/** A column that has a name among its words, in small letters or large ones. */
export function likeName(name: string, columns: readonly string[]): string | undefined {
  const small = name.toLowerCase();
  return columns.find((column) =>
    column
      .toLowerCase()
      .split(/[^\p{L}\p{N}]+/u)
      .includes(small),
  );
}

/** What to write instead of a column that is observed, but is not there. */
export function observeHint(
  observed: readonly Observed[],
  { time, id }: Pick<TaskRequest, "time" | "id">,
  header: readonly string[],
) {
  return (name: string) => {
    const expression = observed.find(({ column }) => column === name)?.expression ?? "expression";
    // What is most probably meant: a column that is spelled like it or begins like it, or else any that is not taken.
    const taken = [time, id, ...observed.map(({ column }) => column)];
    const rest = header.filter((column) => !taken.includes(column));
    const begins = rest.find((column) => column.toLowerCase().startsWith(name.toLowerCase()));
    const close = nearest(name, rest) ?? begins ?? rest[0] ?? "column";
    return `the left side of --observe is a column: ${observing({ column: close, expression })}`;
  };
}
