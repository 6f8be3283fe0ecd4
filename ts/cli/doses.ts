// Doses: the columns that describe them, and what their rows mean.
import { Failure } from "./failure.js";
import type { Source } from "./input.js";
import {
  columnIn,
  type Dose,
  type Format,
  type Further,
  headerOf,
  listOf,
  readTable,
  type Table,
  type TableColumns,
} from "./table.js";

/** The columns that doses are read from. */
export interface DoseColumns {
  /** Whether the doses are in a separate table. */
  readonly apart: boolean;
  readonly amount: string;
  /** The state that all doses go into, or the column that names it; null if there is one state only, or the column is called `state`. */
  readonly state: string | null;
  /** The column with the duration of an infusion, or the one with its rate. */
  readonly duration: string | null;
  readonly rate: string | null;
  /** The columns with the number of repeated doses, and with the time between them. */
  readonly repeats: string | null;
  readonly interval: string | null;
  /** By state, what a dose of 1 adds to it: an expression of the parameters of the equations; default 1. */
  readonly factors: Readonly<Record<string, string>>;
}

/** Whether a value from a file is a plain object. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a value from a file describes columns of doses. */
export function isDoseColumns(value: unknown): value is DoseColumns {
  if (!isRecord(value)) return false;
  const { apart, amount, state, duration, rate, repeats, interval, factors } = value;
  return (
    typeof apart === "boolean" &&
    typeof amount === "string" &&
    [state, duration, rate, repeats, interval].every((name) => name === null || typeof name === "string") &&
    isRecord(factors) &&
    Object.values(factors).every((factor) => typeof factor === "string")
  );
}

/** A row with a dose. */
export interface DoseRow {
  readonly time: number;
  readonly line: number;
  readonly amount: number;
  /** The cell that names the state, if a column does; otherwise empty. */
  readonly label: string;
  /** Numbers by column. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** The state that a dose goes into: the same for all, or named by a cell. */
type DoseTarget = { readonly state: string } | { readonly states: readonly string[]; readonly column: string };

/** The numeric columns of doses, the amount first. */
export function doseNumbers({ amount, duration, rate, repeats, interval }: DoseColumns): Further[] {
  const further = [
    { name: duration, option: "dose-duration" },
    { name: rate, option: "dose-rate" },
    { name: repeats, option: "dose-repeats" },
    { name: interval, option: "dose-interval" },
  ];
  return [
    { name: amount, option: "dose-amount" },
    ...further.filter((column): column is Further => column.name !== null),
  ];
}

/** The column that names the state of a dose, if there is one. */
export function labelOf(
  { state }: DoseColumns,
  header: readonly string[],
  states: readonly string[] = [],
): string | undefined {
  return state !== null && !states.includes(state) ? columnIn(header, state) : undefined;
}

/** Where doses go: the state of the option, or the column that names it. */
export function targetOf({ state }: DoseColumns, label: string | undefined, states: readonly string[]): DoseTarget {
  if (label !== undefined) return { states, column: label };
  if (state !== null && states.includes(state)) return { state };
  const [first] = states;
  if (state === null && states.length === 1 && first !== undefined) return { state: first };
  const expected = `the state that doses go into, ${listOf(states)}, or a column with their names or numbers`;
  throw new Failure(`--dose-state: expected ${expected}${state === null ? "" : `; given ${state}`}`, 2);
}

/** The doses of rows, in the order of their times. Durations, rates and intervals are in the unit of time. */
export function dosesOf(
  file: string,
  rows: readonly DoseRow[],
  columns: DoseColumns,
  target: DoseTarget,
  unit: number,
): Dose[] {
  return rows.flatMap((row) => dosesOfRow(file, row, columns, target, unit)).sort((a, b) => a.time - b.time);
}

/** More would be a typo. */
const MOST_REPEATS = 10_000;

function dosesOfRow(file: string, row: DoseRow, columns: DoseColumns, target: DoseTarget, unit: number): Dose[] {
  const { time, amount } = row;
  const fail = (column: string, expected: string, given: string | number) =>
    new Failure(`${file}:${row.line}: column ${column}: expected ${expected}, given ${given === "" ? "none" : given}`);
  const cell = (column: string | null, expected: string, valid: (value: number) => boolean): number => {
    // A missing number counts as 0.
    const value = column === null ? 0 : row.numbers[column] || 0;
    if (column !== null && !valid(value)) throw fail(column, expected, value);
    return value;
  };
  const nonNegative = (column: string | null) => cell(column, "a number, zero or more", (value) => value >= 0);
  if (!(amount > 0)) throw fail(columns.amount, "an amount, zero or more", amount);
  const rate = nonNegative(columns.rate);
  const duration = unit * (rate > 0 ? amount / rate : nonNegative(columns.duration));
  const isCount = (value: number) => Number.isInteger(value) && value >= 0 && value <= MOST_REPEATS;
  const repeats = cell(columns.repeats, `an integer from 0 to ${MOST_REPEATS}`, isCount);
  const interval = repeats === 0 ? 0 : cell(columns.interval, "a time between doses, above 0", (value) => value > 0);
  const state = stateOf(row.label, target);
  if (state === undefined) {
    const { states, column } = target as Extract<DoseTarget, { column: string }>;
    throw fail(column, `a state, ${listOf(states)}, or its number from 1`, row.label);
  }
  // Removes the rounding of multiples, so that a row at 2.1 is at the time of a dose every 0.7.
  const at = (i: number) => (i === 0 ? time : Number((time + i * interval * unit).toPrecision(15)));
  return Array.from({ length: 1 + repeats }, (_, i) => ({ time: at(i), amount, state, duration }));
}

function stateOf(label: string, target: DoseTarget): string | undefined {
  if ("state" in target) return target.state;
  const { states } = target;
  if (states.includes(label)) return label;
  return /^\d+$/.test(label) ? states[Number(label) - 1] : undefined;
}

/**
 * Doses from a separate table, by trajectory. If the table has no column that tells trajectories apart, they belong to all, under the key
 * undefined. `table` has the observations.
 */
export function readDoses(
  source: Source,
  { time: timeOfTable, id: idOfTable, trained = false }: TableColumns,
  format: Format,
  columns: DoseColumns,
  table: Pick<Table, "clock" | "state">,
): Map<string | undefined, Dose[]> {
  const { name: file } = source;
  const header = headerOf(source, { time: timeOfTable }, format);
  // Named as in the table of observations, otherwise by the default name.
  const time = columnIn(header, timeOfTable) ?? columnIn(header, "time") ?? timeOfTable;
  const id = idOfTable === undefined ? undefined : (columnIn(header, idOfTable) ?? idOfTable);
  // The column that --dose-state would name.
  const named = columns.state ?? columnIn(header, "state") ?? null;
  const label = labelOf({ ...columns, state: named }, header, table.state);
  const target = targetOf({ ...columns, state: named }, label, table.state);
  const isEach = id !== undefined && header.includes(id);
  const numbers = doseNumbers(columns);
  if (id !== undefined && !isEach) {
    const used = [time, label, ...numbers.map(({ name }) => name)];
    checkShared(
      file,
      id,
      header.filter((name) => !used.includes(name)),
    );
  }
  const read = readTable(
    source,
    {
      ...{ time, id: isEach ? id : undefined, state: [columns.amount], trained, repeated: true, numbers },
      ...(label !== undefined && { texts: [{ name: label, option: "dose-state" }] }),
      hint: () => "--dose-amount names the column of the amounts",
    },
    format,
  );
  if (read.clock !== table.clock) {
    const expected = `a ${table.clock} in each row, as in the table of observations`;
    throw new Failure(`${file}: column ${time}: expected ${expected}, given a ${read.clock}`);
  }
  const all = new Map<string | undefined, Dose[]>();
  for (const series of read.series) {
    const rows = series.times.map((time, i): DoseRow => {
      const values = series.numbers?.[i] ?? [];
      const [amount = Number.NaN] = values;
      const line = series.lines?.[i] as number;
      if (Number.isNaN(amount)) {
        throw new Failure(`${file}:${line}: column ${columns.amount}: expected an amount, given a missing value`);
      }
      return { time, line, amount, label: series.texts?.[i]?.[0] ?? "", numbers: byName(numbers, values) };
    });
    const given = rows.filter(({ amount }) => amount !== 0);
    all.set(isEach ? series.id : undefined, dosesOf(file, given, columns, target, read.unit));
  }
  return all;
}

/** Trajectories that are in only one of the two tables. */
export interface Unmatched {
  /** Trajectories with doses but without observations. */
  readonly unused: readonly string[];
  /** Trajectories without doses, while others have some. */
  readonly undosed: readonly string[];
}

export const ALL_MATCHED: Unmatched = { unused: [], undosed: [] };

/** Notes for the user about these. */
export function notesOn({ unused, undosed }: Unmatched): string[] {
  return [
    ...(unused.length > 0 ? [`not used: doses of ${listOf(unused)} (no rows in the data)`] : []),
    ...(undosed.length > 0 ? [`without doses: ${listOf(undosed)} (no rows in the table of doses)`] : []),
  ];
}

/** Doses from a separate table, and the trajectories that are in only one of the two tables. */
export function dosesApart(
  source: Source,
  columns: TableColumns,
  format: Format,
  doses: DoseColumns,
  table: Table,
): { of(id: string): readonly Dose[] | undefined; unmatched: Unmatched } {
  const own = readDoses(source, columns, format, doses, table);
  const shared = own.get(undefined);
  if (shared) return { of: () => shared, unmatched: ALL_MATCHED };
  const ids = table.series.map(({ id }) => id);
  const given = [...own.keys()].filter((id) => id !== undefined);
  const unused = given.filter((id) => !ids.includes(id));
  if (unused.length === given.length) {
    const expected = `doses of trajectories of the table, ${listOf(ids)}`;
    throw new Failure(`${source.name}: expected ${expected}; given ${listOf(unused)}`);
  }
  return { of: (id) => own.get(id), unmatched: { unused, undosed: ids.filter((id) => !own.has(id)) } };
}

/** Refuses doses without a column for the trajectory if another column could be it: otherwise all trajectories would get all doses. */
function checkShared(file: string, id: string, idle: readonly string[]): void {
  // A comma at the end of each line, or pandas, makes columns without a name.
  const named = idle.filter((name) => !/^(unnamed: \d+)?$/i.test(name));
  if (named.length === 0) return;
  const [what, them] =
    named.length === 1 ? ["a column that nothing uses", "it"] : ["columns that nothing uses", "them"];
  throw new Failure(
    `${file}: no column ${listOf([id])}, which tells trajectories apart, but ${what}: ${listOf(named)}; if one says whose the doses are, call it ${listOf([id])}; if all trajectories have all doses, leave ${them} out`,
  );
}

/** The numbers of a row by column. */
export function byName(columns: readonly Further[], values: readonly number[]): Record<string, number> {
  return Object.fromEntries(columns.map(({ name }, i) => [name, values[i] as number]));
}

/** A change of a state: its time and its amount. */
export interface Change {
  readonly time: number;
  readonly amount: number;
}

/** An infusion as two changes of a rate: on, and off after its duration. */
export function changesOf({ time, amount, duration }: Dose): Change[] {
  const rate = amount / duration;
  return [
    { time, amount: rate },
    { time: time + duration, amount: -rate },
  ];
}
