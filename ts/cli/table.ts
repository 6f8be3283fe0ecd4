// Tables of observations from CSV files; errors give the line and the column.
import { CsvError, type Options, parse } from "csv-parse/sync";
import { nearest } from "../checks/names.js";
import { names } from "./arguments.js";
import { Failure } from "./failure.js";
import type { Source } from "./input.js";
import { counted, readNumber } from "./number.js";
import { type Clock, readTime, secondsIn, TIMES } from "./time.js";

/** The columns of a table, by purpose. */
export interface TableColumns {
  readonly time: string;
  /** The column of the trajectory; without it, all rows belong to one. */
  readonly id?: string | undefined;
  /** Default: all other columns. */
  readonly state?: readonly string[] | undefined;
  /** Whether a trained model sets the columns, so that no option changes them. */
  readonly trained?: boolean;
  /** Whether equations name the columns. */
  readonly equations?: boolean;
  /** Whether several rows of a trajectory may have the same time. */
  readonly repeated?: boolean;
  /** The hint for a missing column; default: that --state names the columns of the state. */
  readonly hint?: (name: string) => string;
  /** Further numeric and text columns, with the options that name them. */
  readonly numbers?: readonly Further[];
  readonly texts?: readonly Further[];
}

/** A further column, and the option that names it. */
export interface Further {
  readonly name: string;
  readonly option: string;
}

/** The format of a table, as far as options give it; the rest is detected. */
export interface Format {
  readonly delimiter?: string | undefined;
  readonly decimal?: string | undefined;
  /** The prefix of comment lines; empty for none. */
  readonly comment?: string | undefined;
  readonly encoding?: string | undefined;
  /** Additional texts of missing values, separated by commas. */
  readonly missing?: string | undefined;
  /** With dates and times of day: the unit of t, rates and other times; default: seconds. */
  readonly timeUnit?: string | undefined;
}

/** The part of the format that a model stores, whatever its tables look like. */
export const formatOfModel = ({ timeUnit, missing }: Format): Format => ({ timeUnit, missing });

/** The observations of one trajectory, in the table's units. */
export interface Series {
  readonly id: string;
  readonly times: readonly number[];
  /** A row for each time; NaN where a value is missing. */
  readonly rows: readonly (readonly number[])[];
  /** The line of each row, if the series was read from a table. */
  readonly lines?: readonly number[];
  /** The further numbers of each row, NaN where one is missing, and the further texts. */
  readonly numbers?: readonly (readonly number[])[];
  readonly texts?: readonly (readonly string[])[];
  /** The doses of the trajectory. */
  readonly doses?: readonly Dose[];
  /** Whether a row at the time of a dose has the state before it; default: after it. */
  readonly early?: readonly boolean[];
  /** The state at the first time, before doses, if the first row does not have it. */
  readonly start?: readonly number[];
}

/** An amount that is added to a state at a time. */
export interface Dose {
  readonly time: number;
  readonly amount: number;
  readonly state: string;
  /** The duration of an infusion at a constant rate; 0 if the dose acts at once. */
  readonly duration: number;
}

/** The delimiter and the decimal point of a table. */
export interface Dialect {
  readonly delimiter: string;
  readonly decimal: string;
}

export interface Table {
  readonly state: readonly string[];
  readonly dialect: Dialect;
  /** The format of the times. */
  readonly clock: Clock;
  /** The length of the unit of time, in the unit of the times. */
  readonly unit: number;
  readonly series: readonly Series[];
}

/** A row, and the line on which it ends. */
interface TableRow {
  readonly record: readonly string[];
  readonly line: number;
}

const MISSING = new Set(["", ".", "na", "n/a", "#n/a", "nan", "null", "none"]);
const isMissing = (cell: string) => MISSING.has(cell.toLowerCase());

/** The cells of a table, as texts. */
function cellsOfTable(source: Source, columns: TableColumns, format: Format) {
  const whole = textOf(source, format.encoding);
  // Excel may write this line before the header.
  const [first = "", named] = /^sep=(.)[ \t]*(?=[\r\n])/i.exec(whole) ?? [];
  const text = whole.slice(first.length);
  const delimiter = format.delimiter ?? named ?? delimiterOf(text, format, columns);
  return { text, delimiter, ...rowsOf(source.name, text, { ...format, delimiter }) };
}

/** A column's name without a unit: `conc [mg/L]`, `conc (mg/L)`; `x(0)` has none. */
const withoutUnit = (column: string) => column.replace(/\s*(?:\[[^[\]]+\]|\((?!\d+\))[^()]+\))$/, "");

/** The column with a name; otherwise the only one that matches it without its unit, or without regard to case. */
export function columnIn(header: readonly string[], name: string): string | undefined {
  if (header.includes(name)) return name;
  const exact = header.filter((column) => withoutUnit(column) === name);
  const small = name.toLowerCase();
  const alike = header.filter((column) => [column, withoutUnit(column)].some((own) => own.toLowerCase() === small));
  const [only, ...others] = exact.length > 0 ? exact : alike;
  return others.length > 0 ? undefined : only;
}

/** The names of a table's columns. */
export function headerOf(source: Source, columns: TableColumns, format: Format = {}): readonly string[] {
  return cellsOfTable(source, columns, format).header.record;
}

/** Refuses columns of the state that the table does not have. */
export function checkColumns(source: Source, columns: TableColumns, format: Format = {}): void {
  const { header } = cellsOfTable(source, columns, format);
  for (const name of columns.state ?? []) placeOf(source.name, header, name, "state", columns);
}

/** Reads a table with a header. Empty cells, `NA`, `NaN`, `null`, `None`, `N/A` and a lone point are missing values. */
export function readTable(source: Source, columns: TableColumns, format: Format = {}): Table {
  const { name: file } = source;
  const { text, delimiter, header, rows } = cellsOfTable(source, columns, format);
  const find = (name: string, option: string) => placeOf(file, header, name, option, columns);
  const time = find(columns.time, "time");
  const id = columns.id === undefined ? -1 : find(columns.id, "id");
  const further = [...(columns.numbers ?? []), ...(columns.texts ?? [])].map(({ name, option }) => find(name, option));
  const state = columns.state ?? statesOf(file, header, rows, [time, id, ...further]);
  const places = state.map((name) => find(name, "state"));
  const taken = state.find((_, i) => places[i] === time || places[i] === id);
  if (taken !== undefined) {
    throw new Failure(`--state: expected columns other than those of the time and the trajectory, given ${taken}`, 2);
  }
  const twice = places.findIndex((place, i) => places.indexOf(place) < i);
  if (twice >= 0) {
    const others = header.record.filter((_, place) => place !== places[twice]);
    throw new Failure(`${file}:${header.line}: ${missingColumn(state[twice] as string, "state", others, columns)}`);
  }
  if (places.length === 0) throw new Failure(`${file}:${header.line}: no column of the state besides the time`);
  if (format.comment === undefined) checkComments(file, text, header, delimiter, id === 0);
  const numeric = further.slice(0, columns.numbers?.length ?? 0);
  const textual = further.slice(numeric.length);
  const numbers = numberReader(file, header, rows, [time, ...places, ...numeric], format, columns);
  let clock: Clock | undefined;
  const series = new Map<string, PartialSeries>();
  for (const row of rows) {
    const name = id < 0 ? "" : (row.record[id] as string);
    const own: PartialSeries = series.get(name) ?? {
      ...{ id: name, times: [], rows: [], lines: [], last: [] },
      ...(numeric.length > 0 && { numbers: [] }),
      ...(textual.length > 0 && { texts: [] }),
    };
    series.set(name, own);
    const now = numbers.time(row, time);
    const given = (row.record[time] as string).slice(0, 60);
    clock ??= now.clock;
    const where = `${file}:${row.line}: column ${columns.time}:`;
    if (now.clock !== clock) {
      throw new Failure(`${where} expected a ${clock}, as above, given ${given}, a ${now.clock}`);
    }
    const before = own.times.at(-1);
    if (before !== undefined && now.value === before && !columns.repeated) {
      // A duplicate row adds nothing.
      if ([...places, ...further].every((index) => row.record[index] === own.last[index])) continue;
      throw new Failure(`${where} ${repeated(given, own.lines.at(-1) as number, id < 0 && !columns.trained)}`);
    }
    if (before !== undefined && now.value < before) {
      const goesBack = `expected increasing times, given ${given} after ${own.last[time]?.slice(0, 60)}`;
      const isNew = id < 0 && !columns.trained && now.value <= (own.times[0] as number);
      const isMidnight = clock === "time of day" && before - now.value > HALF_A_DAY;
      const hint = isMidnight ? MIDNIGHT : orderHint(id >= 0, columns.trained ?? false, isNew);
      throw new Failure(`${where} ${goesBack}; ${hint}`);
    }
    own.last = row.record;
    own.times.push(now.value);
    own.rows.push(places.map((place) => numbers.value(row, place)));
    own.lines.push(row.line);
    own.numbers?.push(numeric.map((place) => numbers.value(row, place)));
    own.texts?.push(textual.map((place) => row.record[place] as string));
  }
  if (clock === undefined) throw new Failure(`${file}: no rows below the header`);
  const dialect = { delimiter, decimal: numbers.decimal };
  const unit = unitOf(clock, format, `in the column ${listOf([columns.time])}`);
  return { state, dialect, clock, unit, series: [...series.values()].map(({ last, ...own }) => own) };
}

/** The length of the unit of time, in the unit of the times; plain numbers have their own unit. */
export function unitOf(clock: Clock, { timeUnit }: Format, where: string): number {
  if (clock === "number" && timeUnit !== undefined)
    throw new Failure(
      `--time-unit: expected dates or times of day ${where}, given numbers, which have their own unit`,
      2,
    );
  return clock === "number" ? 1 : secondsIn(timeUnit);
}

/** A series while it is read. */
interface PartialSeries {
  readonly id: string;
  readonly times: number[];
  readonly rows: number[][];
  readonly lines: number[];
  readonly numbers?: number[][];
  readonly texts?: string[][];
  /** The cells of the last row, as written. */
  last: readonly string[];
}

/** The error for a repeated time, and what to do. */
function repeated(given: string, line: number, mayBeSeveral: boolean): string {
  const hint = mayBeSeveral ? "; if they belong to several trajectories, --id names the column that tells which" : "";
  return `expected each time in only one row, given ${given} again after line ${line}, with other values; keep one of the two, or their mean${hint}`;
}

/** A larger step back between times of day is probably midnight. */
const HALF_A_DAY = 43_200;
const MIDNIGHT =
  "times of day that pass midnight need dates, such as 2024-01-31T12:00, or hours that go on, as in 24:00";

/** What to do if times decrease: name the column of the trajectory, or sort the rows. */
function orderHint(hasId: boolean, isTrained: boolean, isNew: boolean): string {
  if (hasId) return "sort the rows of each trajectory by time";
  if (isTrained) return "sort the rows by time";
  const several = "--id names the column of the trajectory, if there are several";
  return isNew ? `${several}; if there is one, sort the rows by time` : `sort the rows by time; ${several}`;
}

/** The first row from which a solve can begin; -1 if no row follows a complete one. */
export function beginOf({ rows, start }: Series): number {
  if (start) return rows.length > 1 ? 0 : -1;
  return rows.slice(0, -1).findIndex((row) => !row.some(Number.isNaN));
}

/** Consecutive rows of a series. */
export function partOf({ start, ...own }: Series, begin: number, end?: number): Series {
  return {
    ...own,
    times: own.times.slice(begin, end),
    rows: own.rows.slice(begin, end),
    ...(own.lines && { lines: own.lines.slice(begin, end) }),
    ...(own.early && { early: own.early.slice(begin, end) }),
    // `start` is the state at the first row only.
    ...(start && begin === 0 && { start }),
  };
}

/** Names for a message, quoted as in a table; of many, the first. */
export function listOf(names: readonly string[]): string {
  const some = names.slice(0, 20).map((name) => quoted(name, /[",\s]|^$/.test(name)));
  return names.length > some.length ? `${some.join(", ")} and ${names.length - some.length} more` : some.join(", ");
}

/** The text of a table: UTF-8, UTF-16 with a byte order mark, or the given encoding. */
function textOf({ name, bytes }: Source, encoding: string | undefined): string {
  const [first, second] = bytes;
  if (first === 0x1f && second === 0x8b)
    throw new Failure(`${name}: is compressed; gunzip it first, or: gunzip -c … | … -`);
  const mark =
    first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  let text: string;
  try {
    text = new TextDecoder(encoding ?? mark, { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(
      `${name}: is not text in ${encoding ?? mark}; --encoding names its encoding, such as windows-1252`,
    );
  }
  if (text.includes("\0")) {
    throw new Failure(
      `${name}: contains zero bytes, which text does not; --encoding utf-16le reads UTF-16 without a byte order mark`,
    );
  }
  return text;
}

/**
 * Detects the delimiter: the one that gives the first rows the same number of columns, including the requested ones, and the most columns.
 * Spaces come last because names and dates contain them: they would split a header such as `time (h),conc (mg/L)`.
 */
function delimiterOf(text: string, format: Format, { time, id, state = [] }: TableColumns): string {
  // Complete lines of the beginning.
  const sample = text.length > 65_536 ? text.slice(0, Math.max(text.lastIndexOf("\n", 65_536), 1)) : text;
  const asked = [time, ...(id === undefined ? [] : [id]), ...state];
  const candidates = [",", ";", "\t", "|", " "].filter((delimiter) => sample.includes(delimiter));
  const merits = candidates.map((delimiter) => {
    const rank = Number(delimiter !== " ");
    try {
      const rows = recordsOf(sample, { ...format, delimiter }, { to: 20, relax_quotes: true });
      const [first = [], ...others] = rows.map(({ record }) => record);
      const alike = first.length > 1 && others.every(({ length }) => length === first.length);
      const there = asked.every((name) => columnIn(first, name) !== undefined);
      const size = first.length > 1 ? first.length : 0;
      return { delimiter, merit: [Number(alike && there), Number(alike), rank, Number(there), size] };
    } catch {
      return { delimiter, merit: [0, 0, rank, 0, 0] };
    }
  });
  const better = (a: readonly number[], b: readonly number[]) => {
    const place = a.findIndex((value, i) => value !== b[i]);
    return place >= 0 && (a[place] as number) > (b[place] as number);
  };
  const plain = { delimiter: ",", merit: [0, 0, 1, 0, 0] };
  return merits.reduce((best, one) => (better(one.merit, best.merit) ? one : best), plain).delimiter;
}

/** The rows of a text, without comments and empty lines. */
function recordsOf(text: string, { delimiter = ",", comment = "#" }: Format, options: Options = {}): TableRow[] {
  // Aligned columns are separated by any number of spaces.
  const aligned = delimiter === " " ? text.replace(/ +/g, " ").replace(/^ | (?=\r?$)/gm, "") : text;
  // Excel's #N/A does not begin a comment.
  const given = aligned.replace(/^([ \t]*)#(?=n\/a[ \t]*(?:[,;|\t ]|\r?$))/gim, "$1");
  const records = parse(given, {
    ...{ delimiter, info: true, trim: true, skip_empty_lines: true, skip_records_with_empty_values: true },
    ...{ relax_column_count: true, ...(comment !== "" && { comment, comment_no_infix: true }) },
    ...options,
  }) as unknown as { record: string[]; info: { lines: number } }[];
  return records.map(({ record, info }) => ({ record, line: info.lines }));
}

/** The header and its rows, all of the same length. */
function rowsOf(file: string, text: string, format: Format): { header: TableRow; rows: readonly TableRow[] } {
  let rows: TableRow[];
  try {
    rows = recordsOf(text, format);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new Failure(`${file}:${error.lines ?? "?"}: ${error.message}`);
  }
  const [first] = rows;
  if (!first) throw new Failure(`${file}: is empty; expected a header with the names of the columns`);
  const numeric = first.record.every((cell) => isMissing(cell) || readTime(cell) !== undefined);
  const header = numeric ? commented(text, first, format) : first;
  if (!header) {
    throw new Failure(`${file}:${first.line}: expected a header with the names of the columns, given numbers alone`);
  }
  const below = numeric ? rows : rows.slice(1);
  const { length } = header.record;
  for (const [i, { record, line }] of below.entries()) {
    if (record.length === length || (record.length > length && record.slice(length).every((cell) => cell === "")))
      continue;
    const expected = `expected ${counted(length, "cell")}, as in the header, given ${record.length}`;
    throw new Failure(`${file}:${line}: ${expected}${i === 0 || length === 1 ? titleHint(text, header, format) : ""}`);
  }
  return { header, rows: below };
}

/** A hint if no row has as many cells as the header: that may be a title. */
function titleHint(text: string, { line }: TableRow, { comment = "#" }: Format): string {
  const given = (text.split(/\r?\n|\r/, line)[line - 1] as string).trim().slice(0, 60);
  const hint = comment === "" ? "delete lines above it" : `lines above it may begin with ${comment}`;
  return `; the header is line ${line}: ${JSON.stringify(given)}; if that is no header, ${hint}`;
}

/** A header in a comment, as NumPy writes it: the last line before the first row, if it has as many cells. */
function commented(text: string, first: TableRow, { comment = "#", ...format }: Format): TableRow | undefined {
  if (comment === "") return undefined;
  const lines = text.split(/\r?\n|\r/, first.line);
  const line = lines.map((line) => line.trim().startsWith(comment)).lastIndexOf(true);
  if (line < 0) return undefined;
  const record = cellsOf((lines[line] as string).trim().slice(comment.length), format.delimiter);
  return record?.length === first.record.length ? { record, line: line + 1 } : undefined;
}

/** The cells of a comment, if it has any. */
function cellsOf(line: string, delimiter: string | undefined): readonly string[] | undefined {
  try {
    return recordsOf(line, { delimiter, comment: "" })[0]?.record;
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}

/** Refuses lines that could be comments or rows: with as many cells, if the first is a name or all others are numbers. */
function checkComments(file: string, text: string, header: TableRow, delimiter: string, isNamed: boolean): void {
  if (!/^[ \t]*#/m.test(text)) return;
  for (const [index, line] of text.split(/\r?\n|\r/).entries()) {
    if (index < header.line || !line.trim().startsWith("#")) continue;
    const cells = cellsOf(line, delimiter);
    if (cells?.length !== header.record.length || isMissing(cells[0] as string)) continue;
    const isNumber = (cell: string) => isMissing(cell) || readTime(cell) !== undefined;
    if (!isNamed && !(cells.length > 1 && cells.slice(1).every(isNumber))) continue;
    const message = `${line.trim().slice(0, 60)}: may be a row or a comment; --comment "" reads it as a row, --comment "#" as a comment`;
    throw new Failure(`${file}:${index + 1}: ${message}`);
  }
}

/** All columns except for those with another purpose, and those without a name and information. */
function statesOf(file: string, header: TableRow, rows: readonly TableRow[], others: readonly number[]): string[] {
  return header.record.filter((name, index) => {
    if (others.includes(index)) return false;
    if (!/^(unnamed: \d+)?$/i.test(name)) return true;
    const cells = rows.map(({ record }) => record[index] as string);
    // From a comma at the end of each line, or the index that pandas writes first.
    if (cells.every((cell) => cell === "") || (index === 0 && cells.every((cell) => /^\d+$/.test(cell)))) return false;
    throw new Failure(`${file}:${header.line}: a column without a name; --state names the columns to use`);
  });
}

/** The index of a column that an option names. */
function placeOf(
  file: string,
  { record, line }: TableRow,
  name: string,
  option: string,
  columns: TableColumns,
): number {
  const column = columnIn(record, name);
  if (column === undefined) throw new Failure(`${file}:${line}: ${missingColumn(name, option, record, columns)}`);
  const index = record.indexOf(column);
  if (record.lastIndexOf(column) > index) {
    throw new Failure(`${file}:${line}: there are two columns ${listOf([column])}`);
  }
  return index;
}

function missingColumn(
  name: string,
  option: string,
  header: readonly string[],
  { trained, equations, hint }: TableColumns,
): string {
  const known = `no column ${listOf([name])}; there are ${listOf(header)}`;
  if (trained) return `${known}; the model was trained on a table that has it`;
  if (equations && option === "state") {
    const rule = "the equations have a state of that name, and each is a column";
    return `${known}; ${rule}; --initial "${name}=0" starts a state that is not a column`;
  }
  if (header.length === 1)
    return `${known}; --delimiter sets the character between columns; a line above the header may begin with #`;
  // The column that was probably meant.
  const close = header.find((other) => /^(time|t|date|datetime|timestamp)\b|^(time|date)/i.test(other));
  const meant = option === "time" && close !== undefined ? undefined : nearest(name, header);
  const more = option === "state" ? hint?.(name) : undefined;
  if (meant !== undefined) {
    const rest = more === undefined ? "" : ` ${more.charAt(0).toUpperCase()}${more.slice(1)}`;
    return `${known}; did you mean ${listOf([meant])}?${rest}`;
  }
  if (more !== undefined) return `${known}; ${more}`;
  if (option === "state")
    return `${known}; --state names the columns of the state; quote a name that has a comma: --state '"a, b",c'`;
  if (option !== "time" && option !== "id") return `${known}; --${option} names a column`;
  const example =
    option === "time" && close !== undefined
      ? `, such as --time ${/^\w+$/.test(close) ? close : JSON.stringify(close)}`
      : "";
  return `${known}; --${option} names the column of the ${option === "time" ? "time" : "trajectory"}${example}`;
}

/** Reads cells as numbers and times, with the decimal point of the table. */
function numberReader(
  file: string,
  header: TableRow,
  rows: readonly TableRow[],
  places: readonly number[],
  format: Format,
  columns: TableColumns,
) {
  const place = ({ line }: TableRow, index: number) => `${file}:${line}: column ${header.record[index]}:`;
  const decimal = format.decimal ?? decimalOf(rows, places, place);
  const other = decimal === "," ? "." : ",";
  const further = new Set(format.missing === undefined ? [] : names(format.missing));
  const isAbsent = (cell: string) => isMissing(cell) || further.has(cell);
  const refused = (row: TableRow, index: number, expected: string) => {
    const cell = row.record[index] as string;
    const comma = Number.isFinite(numberBy(other, cell))
      ? `; --decimal "${other}" reads ${other} as the decimal point`
      : "";
    const state = columns.state || columns.trained ? "" : "; --state names the columns of the state";
    const hint = comma || unitsHint(row, rows[0]) || dateHint(cell) || missingHint(cell) || state;
    throw new Failure(`${place(row, index)} expected ${expected}, given ${JSON.stringify(cell.slice(0, 60))}${hint}`);
  };
  return {
    decimal,
    value(row: TableRow, index: number): number {
      const cell = row.record[index] as string;
      if (isAbsent(cell)) return Number.NaN;
      const value = numberBy(decimal, cell);
      return Number.isNaN(value) ? refused(row, index, "a number") : value;
    },
    time(row: TableRow, index: number) {
      const cell = row.record[index] as string;
      if (isAbsent(cell)) throw new Failure(`${place(row, index)} expected increasing times, given a missing time`);
      const value = numberBy(decimal, cell);
      if (!Number.isNaN(value)) return { clock: "number" as const, value };
      const time = readTime(cell);
      return time && time.clock !== "number" ? time : refused(row, index, TIMES);
    },
  };
}

/** A hint for a row without numbers right below the header. */
function unitsHint(row: TableRow, first: TableRow | undefined): string {
  const isText = (cell: string) => isMissing(cell) || readTime(cell) === undefined;
  if (row !== first || row.record.length < 2 || !row.record.every(isText)) return "";
  return "; if this is a row of units, begin it with #, or write them into the header, as in conc [mg/L]";
}

/** What to write instead of a date that is not in the order of ISO 8601. */
function dateHint(cell: string): string {
  const [whole, a = "", , b = "", c = "", rest = ""] = /^(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(.*)$/.exec(cell) ?? [];
  if (whole === undefined) return "";
  if (a.length < 4 && c.length < 4) return "; write dates as year-month-day, as in 2024-01-31";
  const orders =
    a.length === 4
      ? [[a, b, c]]
      : [
          [c, b, a],
          [c, a, b],
        ];
  const dates = orders.map((parts) => `${parts.map((part) => part.padStart(2, "0")).join("-")}${rest}`);
  const [one, two] = [...new Set(dates)].filter((date) => readTime(date) !== undefined);
  if (one === undefined) return "";
  return two === undefined ? `; write it as ${one}` : `; it may be ${one} or ${two}: write dates in this order`;
}

/** The option that reads a text that often stands for a missing value. */
const missingHint = (cell: string): string =>
  /^(?:[-?*]+|[<>].*|n\.?d\.?|b[ld]q|[bl]loq|loq|lod|bdl|missing)$/i.test(cell)
    ? `; --missing ${JSON.stringify(cell.slice(0, 60))} reads it as a missing value`
    : "";

/** The number in a cell, or NaN. */
const numberBy = (decimal: string, cell: string): number =>
  decimal === "." ? readNumber(cell) : cell.includes(".") ? Number.NaN : readNumber(cell.replace(decimal, "."));

/** The decimal point: a comma if numbers have one and none has a point. */
function decimalOf(
  rows: readonly TableRow[],
  places: readonly number[],
  place: (row: TableRow, index: number) => string,
): string {
  let comma: string | undefined;
  let grouped: string | undefined;
  for (const row of rows) {
    for (const index of places) {
      const cell = row.record[index] as string;
      if (cell.includes(".") && !Number.isNaN(readNumber(cell))) return ".";
      if (!cell.includes(",") || Number.isNaN(numberBy(",", cell))) continue;
      if (/^[+-]?[1-9]\d{0,2},\d{3}$/.test(cell)) grouped ??= `${place(row, index)} ${cell}`;
      else comma ??= cell;
    }
  }
  if (comma !== undefined) return ",";
  if (grouped === undefined) return ".";
  throw new Failure(
    `${grouped}: may have a decimal comma or a thousands separator; --decimal "," says that it is decimal`,
  );
}

/** Rows as CSV, in the format of a table, for example with a decimal comma. */
export function csvOf(
  header: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  { delimiter, decimal }: Dialect = { delimiter: ",", decimal: "." },
): string {
  // Names contain spaces, and a comma cannot be both.
  const isUsable = delimiter !== " " && delimiter !== decimal;
  const between = isUsable ? delimiter : decimal === "," ? ";" : ",";
  const textOf = (cell: string | number) =>
    typeof cell === "number"
      ? String(cell).replace(".", decimal)
      : quoted(cell, /["\n\r]/.test(cell) || cell.includes(between));
  return [header, ...rows].map((row) => `${row.map(textOf).join(between)}\n`).join("");
}

const quoted = (text: string, isSpecial: boolean) => (isSpecial ? `"${text.replaceAll('"', '""')}"` : text);
