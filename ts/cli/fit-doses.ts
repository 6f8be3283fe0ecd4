// Doses of a fit: the rows of a table that are doses, and what those do to the states.
import type { Jump } from "../index.js";
import { checkAmounts, separated } from "./dosed-table.js";
import {
  ALL_MATCHED,
  type Change,
  changesOf,
  type DoseColumns,
  doseNumbers,
  dosesApart,
  dosesOf,
  labelOf,
  targetOf,
  type Unmatched,
} from "./doses.js";
import type { Source } from "./input.js";
import type { Dose, Format, Further, Series, Table, TableColumns } from "./table.js";
import { ratesOf } from "./text-model.js";

/** What the table of a fit contains beside measurements. */
export interface Dosing {
  readonly doses?: DoseColumns | null;
  /** The column that is not 0 in rows that are not measurements. */
  readonly mdv?: string | null;
}

/** The columns that doses are read from. */
export function dosingColumns({ doses, mdv }: Dosing, header: readonly string[], states: readonly string[]) {
  const inside = doses && !doses.apart ? doses : undefined;
  const numbers: Further[] = [
    ...(inside ? doseNumbers(inside) : []),
    ...(mdv === undefined || mdv === null ? [] : [{ name: mdv, option: "mdv" }]),
  ];
  const label = inside && labelOf(inside, header, states);
  return { numbers, texts: label === undefined ? [] : [{ name: label, option: "dose-state" }] };
}

/** The series of a table with their doses, without rows that have no measurements. `measured` are the columns that are compared. */
export function dosedSeries(
  table: Table,
  columns: Pick<TableColumns, "time" | "id" | "trained">,
  { doses = null, mdv = null }: Dosing,
  states: readonly string[],
  measured: readonly string[],
  { data, dosing, format }: { readonly data: Source; readonly dosing: Source | undefined; readonly format: Format },
): { series: readonly Series[]; unmatched: Unmatched } {
  if (doses === null && mdv === null) return { series: table.series, unmatched: ALL_MATCHED };
  const inside = doses && !doses.apart ? doses : null;
  // By index: all columns have been read.
  const { numbers } = dosingColumns({ doses, mdv }, [], states);
  const label = inside !== null && table.series.some(({ texts }) => texts !== undefined) ? inside.state : null;
  const target = inside ? targetOf(inside, label ?? undefined, states) : undefined;
  if (inside) checkAmounts(data.name, inside, table);
  const apart =
    doses?.apart && dosing ? dosesApart(dosing, columns, format, doses, { ...table, state: states }) : undefined;
  const places = measured.map((column) => table.state.indexOf(column));
  const series = table.series.map((series): Series => {
    const { rows, observations } = separated(series, numbers, inside, mdv);
    const into = inside && target ? dosesOf(data.name, rows, inside, target, table.unit) : undefined;
    const given = into ?? apart?.of(series.id) ?? [];
    const dosed = new Set(given.map(({ time }) => time));
    const seen = new Map(observations.rows.map((row) => [row.line, row]));
    const lines = series.lines ?? [];
    return {
      ...series,
      doses: given,
      rows: series.rows.map((row, i) =>
        seen.has(lines[i] as number) ? row : row.map((value, place) => (places.includes(place) ? Number.NaN : value)),
      ),
      early: earlyRows(series.times, dosed, (i) => seen.get(lines[i] as number)?.isAfter ?? false),
    };
  });
  return { series, unmatched: apart?.unmatched ?? ALL_MATCHED };
}

/** The rows that have the state before a dose at the same time: those above all rows of that dose. */
function earlyRows(times: readonly number[], dosed: ReadonlySet<number>, isAfter: (row: number) => boolean): boolean[] {
  const early: boolean[] = [];
  for (const [i, time] of times.entries()) {
    // After a row with the state after the dose, no row can have the state before it.
    const isLate = times[i - 1] === time && early[i - 1] === false;
    early.push(dosed.has(time) && !isLate && !isAfter(i));
  }
  return early;
}

/** The states that receive infusions, in the order of the equations. */
export const infusedBy = (doses: readonly (readonly Dose[])[], states: readonly string[]): string[] =>
  states.filter((state) => doses.some((own) => own.some((dose) => dose.state === state && dose.duration > 0)));

/** Doses of trajectories as jumps at the times of their solves: of states, or for infusions of the rates that `infusedText` adds. */
export function fitJumps(
  text: string,
  states: readonly string[],
  factors: Readonly<Record<string, string>>,
  doses: readonly (readonly Dose[])[],
): Jump[] {
  let amount = "amount_of_dose";
  while (text.includes(amount)) amount += "_";
  const rates = ratesOf(text, infusedBy(doses, states));
  const jumpOf = (changes: readonly (readonly Change[])[], name: string, factor: string | number): Jump[] => {
    if (changes.every(({ length }) => length === 0)) return [];
    const sorted = changes.map((own) => [...own].sort((a, b) => a.time - b.time));
    return [
      {
        times: sorted.map((own) => own.map(({ time }) => time)),
        set: `${name} = ${name} + (${factor}) * ${amount}`,
        amounts: { [amount]: sorted.map((own) => own.map((change) => change.amount)) },
      },
    ];
  };
  return states.flatMap((state): Jump[] => {
    const own = doses.map((all) => all.filter((dose) => dose.state === state));
    const atOnce = own.map((all) => all.filter(({ duration }) => duration === 0));
    const overTime = own.map((all) => all.filter(({ duration }) => duration > 0).flatMap(changesOf));
    return [...jumpOf(atOnce, state, factors[state] ?? 1), ...jumpOf(overTime, rates.get(state) as string, 1)];
  });
}
