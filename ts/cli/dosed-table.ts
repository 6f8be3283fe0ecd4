// Tables with doses, rows that are not observations, and initial states that are not in a row.
import {
  ALL_MATCHED,
  byName,
  type DoseColumns,
  type DoseRow,
  doseNumbers,
  dosesApart,
  dosesOf,
  labelOf,
  targetOf,
  type Unmatched,
} from "./doses.js";
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
  type Series,
  type Table,
  type TableColumns,
} from "./table.js";
import { writeTime } from "./time.js";

/** Where initial states come from: a number for all trajectories, or a column, read in the first row. */
export type InitialStates = Readonly<Record<string, { readonly number: number } | { readonly column: string }>>;

/** What a table contains beside observations. */
export interface Regimen {
  readonly doses: DoseColumns | null;
  /** The column that is not 0 in rows that are not observations. */
  readonly mdv: string | null;
  readonly initial: InitialStates;
}

/** A table with its doses. */
export interface DosedTable extends Table {
  readonly unmatched: Unmatched;
}

/**
 * Reads a table whose doses are in its own rows or in a separate table. `states` are those of the model, if known before the table is read;
 * states without a column have no values, and `initial` sets how they begin.
 */
export function readDosed(
  source: Source,
  columns: TableColumns,
  format: Format,
  { doses, mdv, initial }: Regimen,
  apart: Source | undefined,
  states?: readonly string[],
): DosedTable {
  if (doses === null && mdv === null && Object.keys(initial).length === 0) {
    return { ...readTable(source, { ...columns, ...(states && { state: states }) }, format), unmatched: ALL_MATCHED };
  }
  const isInside = doses !== null && !doses.apart;
  if (isInside && !states) {
    throw new Failure(
      "--dose-amount: expected --state as well, to tell the columns of the state from those of doses",
      2,
    );
  }
  const marks = mdv === null ? [] : [{ name: mdv, option: "mdv" }];
  const starts = Object.values(initial).flatMap((origin) =>
    "column" in origin ? [{ name: origin.column, option: "initial" }] : [],
  );
  const numbers = [...(isInside ? doseNumbers(doses) : []), ...marks, ...starts];
  const header = headerOf(source, { time: columns.time, id: columns.id }, format);
  const observed = states?.filter((state) => columnIn(header, state) !== undefined || !Object.hasOwn(initial, state));
  const label = isInside ? labelOf(doses, header, states) : undefined;
  const given: TableColumns = {
    ...columns,
    ...(observed && { state: observed }),
    ...(numbers.length > 0 && { repeated: true, numbers }),
    ...(label !== undefined && { texts: [{ name: label, option: "dose-state" }] }),
  };
  const table = readTable(source, given, format);
  const all = states ?? table.state;
  checkInitial(initial, all);
  const target = isInside ? targetOf(doses, label, all) : undefined;
  if (isInside) checkAmounts(source.name, doses, table);
  const own = doses?.apart && apart ? dosesApart(apart, columns, format, doses, { ...table, state: all }) : undefined;
  const series = table.series.map((whole) => {
    const { rows, observations } = separated(whole, numbers, isInside ? doses : null, mdv);
    const into = isInside && target ? dosesOf(source.name, rows, doses, target, table.unit) : undefined;
    const given = into ?? own?.of(whole.id) ?? [];
    const dosed = withDoses(observations, table.state, all, given);
    checkTimes(source.name, columns.time, dosed, table);
    return Object.keys(initial).length === 0
      ? dosed
      : withInitialState(dosed, { whole, initial, states: all, numbers, file: source.name, columns, table });
  });
  return { ...table, state: all, series, unmatched: own?.unmatched ?? ALL_MATCHED };
}

function checkInitial(initial: InitialStates, states: readonly string[]): void {
  const other = Object.keys(initial).find((name) => !states.includes(name));
  if (other === undefined) return;
  throw new Failure(`--initial: expected states of the equations: ${listOf(states)}; given ${other}`, 2);
}

/** Refuses an amount in every row: such a table repeats a property of the trajectory. */
export function checkAmounts(file: string, { amount }: DoseColumns, { series }: Table): void {
  const rows = series.flatMap((own) => own.numbers ?? []);
  const isRepeated = rows.length > series.length && rows.every(([value]) => !Number.isNaN(value) && value !== 0);
  if (!isRepeated) return;
  const expected = "an amount in rows with a dose, and none, or 0, in the others";
  throw new Failure(
    `${file}: column ${amount}: expected ${expected}; given one in every row; --doses reads doses from a separate table`,
  );
}

/** A row with an observation, and whether a dose at the same time comes before it. */
interface ObservationRow {
  readonly time: number;
  readonly line: number;
  readonly values: readonly number[];
  readonly isAfter: boolean;
}

interface ObservationSeries {
  readonly id: string;
  readonly rows: readonly ObservationRow[];
}

/** Separates the doses of a series from its observations; a row may be both. */
export function separated(
  { id, times, rows, lines, numbers, texts }: Series,
  columns: readonly Further[],
  doses: DoseColumns | null,
  mdv: string | null,
): { rows: DoseRow[]; observations: ObservationSeries } {
  const given: DoseRow[] = [];
  const observations: ObservationRow[] = [];
  for (const [i, time] of times.entries()) {
    const line = lines?.[i] as number;
    const cells = byName(columns, numbers?.[i] ?? []);
    // As in NONMEM, an amount of 0 is no dose.
    const amount = (doses && cells[doses.amount]) || 0;
    const values = rows[i] as readonly number[];
    const isMarked = mdv !== null && (cells[mdv] || 0) !== 0;
    if (!isMarked && (amount === 0 || !values.every(Number.isNaN))) {
      observations.push({ time, line, values, isAfter: given.at(-1)?.time === time });
    }
    if (amount !== 0) given.push({ time, line, amount, label: texts?.[i]?.[0] ?? "", numbers: cells });
  }
  return { rows: given, observations: { id, rows: observations } };
}

/** The observations of all states, with the doses. */
function withDoses(
  { id, rows }: ObservationSeries,
  columns: readonly string[],
  states: readonly string[],
  doses: readonly Dose[],
): Series {
  const places = states.map((state) => columns.indexOf(state));
  const dosed = new Set(doses.map(({ time }) => time));
  return {
    id,
    times: rows.map(({ time }) => time),
    rows: rows.map(({ values }) => places.map((place) => (place < 0 ? Number.NaN : (values[place] as number)))),
    lines: rows.map(({ line }) => line),
    ...(doses.length > 0 && { doses, early: rows.map(({ time, isAfter }) => dosed.has(time) && !isAfter) }),
  };
}

/** Refuses observations at the same time, unless exactly one dose separates them. */
function checkTimes(file: string, column: string, { times, lines, early }: Series, { clock }: Table): void {
  const i = times.findIndex((time, row) => {
    const before = times[row - 1];
    return before !== undefined && !(time > before) && !(early?.[row - 1] && !early[row]);
  });
  if (i < 0) return;
  const [before, now] = [times[i - 1] as number, times[i] as number].map((time) => writeTime(time, clock));
  const expected = "increasing times of observations";
  throw new Failure(`${file}:${lines?.[i]}: column ${column}: expected ${expected}, given ${now} after ${before}`);
}

/** What initial states are read from. */
interface InitialStateSource {
  /** The series with all of its rows. */
  readonly whole: Series;
  readonly initial: InitialStates;
  readonly states: readonly string[];
  readonly numbers: readonly Further[];
  readonly file: string;
  readonly columns: TableColumns;
  readonly table: Table;
}

/** Makes a series begin with its first row or dose, where the state is known. */
function withInitialState(
  series: Series,
  { whole, initial, states, numbers, file, columns, table }: InitialStateSource,
): Series {
  const { doses, early, rows, times } = series;
  const begin = Math.min(whole.times[0] as number, doses?.[0]?.time ?? Number.POSITIVE_INFINITY);
  const isObserved = times[0] === begin;
  // An observation after a dose at the same time is not the state before it.
  const isBefore = isObserved && (early?.[0] || doses?.[0]?.time !== begin);
  const start = states.map((state, i) => {
    const origin = initial[state];
    if (origin && "number" in origin) return origin.number;
    const column = origin?.column ?? state;
    const cells = byName(numbers, whole.numbers?.[0] ?? []);
    const value = origin ? cells[column] : isBefore ? rows[0]?.[i] : undefined;
    if (value !== undefined && !Number.isNaN(value)) return value;
    const hint = origin ? "" : `; --initial "${state}=0" sets it`;
    const trajectory = columns.id === undefined ? "the table" : `the trajectory ${series.id}`;
    const where = `${file}:${whole.lines?.[0]}: column ${column}`;
    const expected = `a number before any dose where ${trajectory} begins, at ${writeTime(begin, table.clock)}`;
    throw new Failure(`${where}: expected ${expected}, given none${hint}`);
  });
  if (isObserved) return { ...series, start };
  return {
    ...series,
    start,
    times: [begin, ...times],
    // This row has the initial state, and nothing to compare.
    rows: [states.map(() => Number.NaN), ...rows],
    lines: [whole.lines?.[0] as number, ...(series.lines ?? [])],
    ...(early && { early: [false, ...early] }),
  };
}
