// Tables of observations: CSV files, with the place of whatever is wrong in them.
import { readFileSync } from "node:fs";
import { CsvError, parse } from "csv-parse/sync";
import { Failure } from "./failure.js";

/** Which columns of a table mean what. */
export interface Columns {
  readonly time: string;
  /** Of the trajectory that a row belongs to; without it all rows are of one. */
  readonly id?: string | undefined;
  /** Default: all others. */
  readonly state?: readonly string[] | undefined;
}

/** The observations of one trajectory, in the table's units. */
export interface Series {
  readonly id: string;
  readonly times: readonly number[];
  /** A row for each time; NaN where a value is missing. */
  readonly rows: readonly (readonly number[])[];
}

export interface Table {
  readonly state: readonly string[];
  readonly series: readonly Series[];
}

interface Line {
  readonly record: string[];
  readonly info: { readonly lines: number };
}

const MISSING = new Set(["", "na", "nan", "null"]);

/** Reads a table with a header; empty cells, NA, NaN and null are missing values. */
export function readTable(file: string, columns: Columns): Table {
  const [header, ...lines] = parsed(file);
  if (!header) throw new Failure(`${file}: is empty; expected a header with the names of the columns`);
  const place = (name: string) => {
    const index = header.record.indexOf(name);
    if (index < 0) throw new Failure(`${file}:1: no column ${name}; there are ${header.record.join(", ")}`);
    if (header.record.lastIndexOf(name) > index) throw new Failure(`${file}:1: there are two columns ${name}`);
    return index;
  };
  const [time, id] = [place(columns.time), columns.id === undefined ? -1 : place(columns.id)];
  const state = columns.state ?? header.record.filter((_, index) => index !== time && index !== id);
  const unnamed = state.indexOf("");
  if (unnamed >= 0) throw new Failure(`${file}:1: a column without a name; --state names those that are meant`);
  const taken = state.find((name) => name === columns.time || name === columns.id);
  if (taken !== undefined) {
    throw new Failure(`--state: expected other columns than those of the time and the trajectory, given ${taken}`, 2);
  }
  const places = state.map(place);
  if (places.length === 0) throw new Failure(`${file}:1: no column of the state beside the time`);
  const series = new Map<string, { id: string; times: number[]; rows: number[][] }>();
  for (const { record, info } of lines) {
    const cell = (index: number) =>
      numberOf(record[index] ?? "", `${file}:${info.lines}: column ${header.record[index]}`);
    const name = id < 0 ? "" : (record[id] as string);
    const own = series.get(name) ?? { id: name, times: [], rows: [] };
    series.set(name, own);
    const now = cell(time);
    const before = own.times.at(-1) ?? Number.NEGATIVE_INFINITY;
    if (!(now > before)) {
      const given = Number.isNaN(now) ? "a missing time" : `${now} after ${before}`;
      const hint = id < 0 ? "; --id names the column of the trajectory, where there are several" : "";
      throw new Failure(
        `${file}:${info.lines}: column ${columns.time}: expected times that increase, given ${given}${hint}`,
      );
    }
    own.times.push(now);
    own.rows.push(places.map(cell));
  }
  if (series.size === 0) throw new Failure(`${file}: no rows below the header`);
  return { state, series: [...series.values()] };
}

/** The first row from which a solve can begin and be compared with another; -1 where there is none. */
export function beginOf({ rows }: Series): number {
  return rows.slice(0, -1).findIndex((row) => !row.some(Number.isNaN));
}

function parsed(file: string): Line[] {
  const text = readFileSync(file, "utf8");
  try {
    return parse(text, { bom: true, info: true, skip_empty_lines: true, trim: true }) as unknown as Line[];
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new Failure(`${file}:${error.lines ?? "?"}: ${error.message}`);
  }
}

function numberOf(text: string, where: string): number {
  if (MISSING.has(text.toLowerCase())) return Number.NaN;
  const value = Number(text);
  if (!Number.isFinite(value))
    throw new Failure(`${where}: expected a number, given ${JSON.stringify(text.slice(0, 60))}`);
  return value;
}

/** Rows as a CSV text. */
export function csvOf(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) =>
    /[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value;
  return [header, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}
