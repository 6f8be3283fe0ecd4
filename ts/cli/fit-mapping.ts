// Maps the columns of a table to measurements, arguments and initial states.
import { columnsIn, isExpression } from "./column-expression.js";
import { Failure } from "./failure.js";
import { type Dosing, dosingColumns } from "./fit-doses.js";
import { idleIn, likeName, type Observed, observeHint, observing } from "./fit-observed.js";
import type { TaskRequest } from "./fit-request.js";
import type { Source } from "./input.js";
import { readNumber } from "./number.js";
import { columnIn, type Format, headerOf, listOf, readTable } from "./table.js";

/** Where a number of each trajectory comes from: a constant, a column, or an expression of columns. */
export type Origin = { readonly number: number } | { readonly column: string } | { readonly expression: string };

/** Where an initial state comes from; it may also be the first measurement of its column. */
export type InitialOrigin = Origin | { readonly first: string };

/** How a table is read, for the fit and for later predictions. */
export interface Mapping extends Dosing {
  readonly time: string;
  readonly id: string | null;
  readonly observed: readonly Observed[];
  readonly arguments: Readonly<Record<string, Origin>>;
  /** For all states, except for those that are estimated from a given start. */
  readonly initial: Readonly<Record<string, InitialOrigin>>;
  /** Estimated initial states, and whether each trajectory has its own. */
  readonly estimated: Readonly<Record<string, { readonly shared: boolean }>>;
  readonly individual: readonly string[];
  /** The time of the initial states, if it is not that of the first row. */
  readonly t0?: number;
}

/** Reads the value of an option. A column may have any name, also one that looks like an expression. */
export function originOf(text: string, header: readonly string[]): Origin {
  const number = readNumber(text);
  if (!Number.isNaN(number)) return { number };
  const column = columnIn(header, text);
  if (column !== undefined) return { column };
  return /^\w+$/.test(text) || !isExpression(text) ? { column: text } : { expression: text };
}

/** The columns that an origin needs. */
export const columnsOf = (origin: Origin, header: readonly string[]): readonly string[] => {
  if ("column" in origin) return [origin.column];
  return "expression" in origin ? columnsIn(origin.expression, header) : [];
};

/** The column that is probably the state under another name: an unused one, preferably with the state's name in it. */
function otherName(
  state: string,
  request: TaskRequest,
  observed: readonly Observed[],
  header: readonly string[],
): string | undefined {
  const rest = idleIn(header, request).filter((name) => observed.every(({ column }) => column !== name));
  return likeName(state, rest) ?? (rest.length === 1 ? rest[0] : undefined);
}

/** Works out the mapping from the options and the header. */
export function mappingOf(
  request: TaskRequest,
  observed: readonly Observed[],
  states: readonly string[],
  header: readonly string[],
): Mapping {
  const state = (option: string, name: string) => {
    const [, own = name] = /^(.*)\(0\)$/.exec(name) ?? [];
    if (states.includes(own)) return own;
    throw new Failure(`--${option}: expected states of the equations: ${listOf(states)}; given ${name}`, 2);
  };
  const estimated = Object.fromEntries([
    ...request.estimate.map(({ name }) => [state("estimate", name), { shared: false }] as const),
    ...request.shared.map(({ name }) => [state("shared", name), { shared: true }] as const),
  ]);
  const initial = new Map<string, InitialOrigin>();
  for (const { name, value } of request.initial) {
    initial.set(state("initial", name), originOf(value ?? name, header));
  }
  for (const name of states) {
    if (initial.has(name)) continue;
    const own = observed.find(({ expression }) => expression === name);
    if (own && request.t0 && !Object.hasOwn(estimated, name)) {
      throw new Failure(
        `--t0: expected the initial value of ${name} as well, because the first row is then a measurement; --initial "${name}=0" or "${name}=column" sets it, --estimate "${name}(0)" estimates it`,
        2,
      );
    }
    if (own) initial.set(name, { first: own.column });
    else if (!(Object.hasOwn(estimated, name) && request.start.has(`${name}(0)`))) {
      const sets = `--initial "${name}=0" or "${name}=column" sets it, --estimate "${name}(0)=1" estimates it, starting from 1`;
      const other = request.observe ? undefined : otherName(name, request, observed, header);
      const renamed =
        other === undefined
          ? ""
          : `${observing({ column: other, expression: name }, ...observed)} says that ${listOf([other])} measures it; `;
      throw new Failure(`the state ${name} has no initial value, because no column measures it; ${renamed}${sets}`, 2);
    }
  }
  return {
    time: request.time,
    id: request.id ?? null,
    observed,
    arguments: Object.fromEntries(request.arguments.map(({ name, value }) => [name, originOf(value ?? name, header)])),
    initial: Object.fromEntries(initial),
    estimated,
    individual: request.individual.map(({ name }) => name),
    ...request.regimen,
    ...(request.t0 && { t0: request.t0.value }),
  };
}

/** Reads a table with the columns of a mapping. */
export function readMapped(
  mapping: Mapping,
  data: Source,
  format: Format,
  states: readonly string[],
  others: readonly string[] = [],
  optional = false,
) {
  const { time, id, observed, arguments: args, initial } = mapping;
  const columns = { time, id: id ?? undefined };
  const measured = observed.map(({ column }) => column);
  const all = headerOf(data, columns, format);
  const needed = [
    ...Object.values(args).flatMap((origin) => columnsOf(origin, all)),
    ...Object.values(initial).flatMap((origin) => ("first" in origin ? [origin.first] : columnsOf(origin, all))),
    ...others,
  ];
  const header = optional ? all : measured;
  const state = [...new Set([...measured.filter((column) => columnIn(header, column) !== undefined), ...needed])];
  const hint = (name: string) => {
    if (measured.includes(name)) return observeHint(observed, columns, all)(name);
    if (others.includes(name)) return "--weights, --sd and --individual name columns";
    return "--arguments and --initial name columns, expressions of columns, or numbers";
  };
  const further = dosingColumns(mapping, all, states);
  return readTable(data, { ...columns, state, repeated: true, hint, ...further }, format);
}
