// The trajectories of a fit, with their initial states, arguments and starts.
import { valueOfExpression } from "./column-expression.js";
import type { Unmatched } from "./doses.js";
import { Failure } from "./failure.js";
import { dosedSeries, dosingColumns } from "./fit-doses.js";
import { columnsOf, type InitialOrigin, type Mapping, type Origin, readMapped } from "./fit-mapping.js";
import type { Observed } from "./fit-observed.js";
import type { Found, TaskRequest } from "./fit-request.js";
import type { Timing } from "./fit-times.js";
import type { Source } from "./input.js";
import { columnIn, type Dose, headerOf, listOf, type Series } from "./table.js";
import { usesTime } from "./text-model.js";
import { type Clock, writeTime } from "./time.js";

/** A trajectory, at the times of its table. If the equations do not depend on the time, its solve counts from its beginning. */
interface Member extends Timing {
  readonly name: string;
  /** The line of each time. */
  readonly lines: readonly number[];
  /** The measurements, `[times, observed]`. */
  readonly y: readonly number[];
  readonly weights?: readonly number[];
  readonly y0: readonly number[];
  readonly arguments: Readonly<Record<string, number>>;
  readonly doses: readonly Dose[];
}

/** All trajectories, and notes on the table. */
export interface Members {
  readonly clock: Clock;
  readonly members: readonly Member[];
  /** Initial states that are measurements but count as exact. */
  readonly exact: readonly string[];
  /** Trajectories without measurements to compare. */
  readonly skipped: readonly string[];
  readonly unmatched: Unmatched;
  /** Columns of the table that are not used. */
  readonly unread: readonly string[];
}

/** Where estimates of single trajectories start. */
interface MemberStarts {
  individual(name: string): Origin;
  /** Whether an option sets it. */
  isGiven(name: string): boolean;
  /** Undefined if the table sets it. */
  initial(state: string): number | undefined;
  readonly found: Found;
}

/** Reads the trajectories of a table. */
export function membersOf(
  mapping: Mapping,
  text: string,
  states: readonly string[],
  data: Source,
  { format, t0, weights, sd, dosing }: TaskRequest,
  starts: MemberStarts,
): Members {
  const individual = mapping.individual.map((name) => [name, starts.individual(name)] as const);
  const header = headerOf(data, { time: mapping.time, id: mapping.id ?? undefined }, format);
  const others = individual.flatMap(([, origin]) => columnsOf(origin, header));
  const weighing = weights ?? sd;
  const wanted = [...others, ...(weighing === undefined ? [] : [weighing])];
  const table = readMapped(mapping, data, format, states, wanted);
  const { clock, unit, state: columns } = table;
  const measured = mapping.observed.map(({ column }) => column);
  const known = { time: mapping.time, id: mapping.id ?? undefined };
  const { series, unmatched } = dosedSeries(table, known, mapping, states, measured, { data, dosing, format });
  if (t0 && t0.clock !== clock) {
    throw new Failure(`--t0: expected a ${clock}, as in the table, given a ${t0.clock}`, 2);
  }
  const absolute = dependsOnTime(text, mapping.observed);
  const skipped: string[] = [];
  const members = series.flatMap((own): Member[] => {
    const name = nameOf(own, mapping);
    const begin = beginOf(own, mapping, clock, data.name);
    const foundOf = (what: string) => starts.found.get(`${what}[${name}]`) ?? starts.found.get(what);
    const read = readerOf(own, columns, data.name, mapping);
    const y0 = states.map((state) => {
      const isEstimated = Object.hasOwn(mapping.estimated, state);
      const start = isEstimated ? (starts.initial(state) ?? foundOf(`${state}(0)`)) : undefined;
      return start ?? read.initial(state, mapping.initial[state] as InitialOrigin, isEstimated);
    });
    const pairs = [
      ...Object.entries(mapping.arguments).map(([name, origin]) => [name, read.constant(origin)] as const),
      ...individual.map(
        ([name, origin]) =>
          [name, (starts.isGiven(name) ? undefined : foundOf(name)) ?? read.constant(origin)] as const,
      ),
    ];
    const measurements = measurementsOf(own, columns, mapping);
    if (measurements.every(Number.isNaN)) {
      skipped.push(own.id === "" ? "the table" : own.id);
      return [];
    }
    const origin = absolute ? 0 : begin;
    const weightOf = (value: number) => (sd === undefined ? value : value ** -2);
    return [
      {
        ...{ name, t0: begin, times: own.times, early: own.early, lines: own.lines ?? [], origin, unit },
        ...{ y: measurements, y0, arguments: Object.fromEntries(pairs), doses: dosesFrom(own, begin) },
        ...(weighing !== undefined && { weights: read.weights(weighing, measurements).map(weightOf) }),
      },
    ];
  });
  if (members.length === 0) {
    const measured = listOf(mapping.observed.map(({ column }) => column));
    throw new Failure(
      `${data.name}: nothing to fit to: no measurement of ${measured} after the first rows, which the solves start from`,
    );
  }
  const { numbers, texts } = dosingColumns(mapping, header, states);
  const read = [known.time, known.id, ...columns, ...[...numbers, ...texts].map(({ name }) => name)];
  const named = read.map((name) => (name === undefined ? name : columnIn(header, name)));
  const unread = header.filter((column) => !named.includes(column));
  return { clock, members, exact: exactOf(mapping, states, members), skipped, unmatched, unread };
}

/**
 * Initial states that are read from a column that later rows measure too, so that they have an error like the others. A value that occurs
 * only once may be exact, such as a dose.
 */
function exactOf(
  { observed, initial, estimated }: Mapping,
  states: readonly string[],
  members: readonly Member[],
): string[] {
  const measuredLater = (column: string) => {
    const o = observed.findIndex((own) => own.column === column);
    return (
      o >= 0 &&
      members.some(({ y }) => y.some((v, k) => k >= observed.length && k % observed.length === o && !Number.isNaN(v)))
    );
  };
  return states.filter((state) => {
    const origin = Object.hasOwn(estimated, state) ? undefined : initial[state];
    if (origin === undefined) return false;
    const measured = observed.map(({ column }) => column);
    return ("first" in origin ? [origin.first] : columnsOf(origin, measured)).some(measuredLater);
  });
}

/** The doses of a trajectory from its beginning on. Earlier doses are already in its initial state; of an infusion, the rest remains. */
export function dosesFrom({ doses = [] }: Pick<Series, "doses">, begin: number): Dose[] {
  return doses.flatMap((dose) => {
    const { time, duration, amount } = dose;
    if (time >= begin) return [dose];
    const rest = time + duration - begin;
    return rest > 0 ? [{ ...dose, time: begin, duration: rest, amount: (amount * rest) / duration }] : [];
  });
}

/** Where a trajectory begins: at its first dose, if that comes first and no state is read from the first row. */
export function beginOf(
  { times, lines = [], doses = [] }: Series,
  { t0, time, initial }: Mapping,
  clock: Clock,
  file: string,
): number {
  const isObserved = Object.values(initial).some((origin) => "first" in origin);
  const row = times[0] as number;
  const first = t0 === undefined && !isObserved ? Math.min(row, doses[0]?.time ?? row) : row;
  if (t0 === undefined || first >= t0) return t0 ?? first;
  const given = writeTime(first, clock);
  throw new Failure(
    `${file}:${lines[0] ?? "?"}: column ${time}: expected no time before --t0, ${writeTime(t0, clock)}, given ${given}`,
  );
}

/** The name of a trajectory. */
export const nameOf = ({ id }: Series, mapping: Mapping) => (mapping.id === null ? "1" : id);

/** Whether the equations or the observations depend on the time. */
export const dependsOnTime = (text: string, observed: readonly Observed[]) =>
  usesTime(text) || observed.some(({ expression }) => /\bt\b/.test(expression));

/** The measurements, `[times, observed]`, without first rows that only set initial states. */
export function measurementsOf(
  own: Series,
  columns: readonly string[],
  { observed, initial, estimated, t0 }: Mapping,
): number[] {
  const isStart = observed.map(({ column, expression }) => {
    const origin = Object.hasOwn(initial, expression) ? initial[expression] : undefined;
    return (
      t0 === undefined &&
      origin !== undefined &&
      "first" in origin &&
      origin.first === column &&
      !Object.hasOwn(estimated, expression)
    );
  });
  const places = observed.map(({ column }) => columns.indexOf(column));
  return own.rows.flatMap((row, i) =>
    places.map((place, o) => (place < 0 || (i === 0 && isStart[o]) ? Number.NaN : (row[place] as number))),
  );
}

/** Reads numbers that a trajectory has once. `fitted`: with the mapping of a model file, which no option changes. */
export function readerOf(
  { id, rows, lines = [] }: Series,
  columns: readonly string[],
  file: string,
  { id: idColumn, observed }: Mapping,
  fitted = false,
) {
  // Measured columns may change from row to row.
  const measured = observed.map(({ column }) => column);
  const whose = idColumn === null ? "," : `, of the trajectory ${id},`;
  const hintOf = (text: string) => (fitted ? "" : `; ${text}`);
  const hint = idColumn === null ? hintOf("--id names the column of the trajectory, if there are several") : "";
  const cells = (column: string) => {
    const place = columns.indexOf(column);
    return rows.map((row, i) => ({
      value: row[place] as number,
      where: `${file}:${lines[i] ?? "?"}: column ${column}:`,
    }));
  };
  const present = (column: string) => cells(column).filter(({ value }) => !Number.isNaN(value));
  const computed = (expression: string, of: (column: string) => number) => {
    const value = valueOfExpression(expression, columns, of);
    if (Number.isFinite(value)) return value;
    throw new Failure(`${file}:${lines[0] ?? "?"}: ${expression}: expected a finite number${whose} given ${value}`);
  };
  return {
    /** Positive numbers of all rows with measurements, `[rows, observed]`; 1 in others. */
    weights(column: string, measurements: readonly number[]): number[] {
      const width = measurements.length / rows.length;
      return cells(column).map(({ value, where }, i) => {
        if (measurements.slice(i * width, (i + 1) * width).every(Number.isNaN)) return 1;
        // The weight that follows from a standard deviation must be finite as well.
        if (value > 0 && value ** -2 > 0 && value ** -2 < Number.POSITIVE_INFINITY) return value;
        const given = Number.isNaN(value) ? "a missing value" : value;
        throw new Failure(`${where} expected a positive number in each row with a measurement, given ${given}`);
      });
    },
    /** A number that is the same in all rows that have one. */
    constant(origin: Origin): number {
      if ("number" in origin) return origin.number;
      if ("expression" in origin) return computed(origin.expression, (column) => this.constant({ column }));
      const [first, ...others] = present(origin.column);
      if (!first)
        throw new Failure(`${cells(origin.column)[0]?.where} expected a number in some row${whose} given none`);
      const other = others.find(({ value }) => value !== first.value);
      if (!other) return first.value;
      throw new Failure(
        `${other.where} expected the same number in all rows${whose} given ${other.value} after ${first.value}${hint}`,
      );
    },
    /** The initial value of a state; for an estimated one, its start. */
    initial(state: string, origin: InitialOrigin, isEstimated: boolean): number {
      if ("number" in origin) return origin.number;
      if ("expression" in origin)
        return computed(origin.expression, (column) => this.initial(state, { column }, isEstimated));
      const column = "first" in origin ? origin.first : origin.column;
      const [first] = "first" in origin && !isEstimated ? cells(column) : present(column);
      if (first && !Number.isNaN(first.value)) {
        const other =
          "first" in origin || measured.includes(column)
            ? undefined
            : present(column).find(({ value }) => value !== first.value);
        if (!other) return first.value;
        throw new Failure(
          `${other.where} expected no other number than in the first row${whose} given ${other.value} after ${first.value}; ${fitted ? "" : "--initial takes the first row; "}leave the cell empty if it is missing${hintOf("--dose-amount and --doses read repeated doses")}${hint}`,
        );
      }
      const { where } = first ?? cells(column)[0] ?? { where: `${file}: column ${column}:` };
      throw new Failure(
        `${where} expected the initial value of ${state} in the first row${whose} given a missing value${hintOf(`--initial "${state}=…" sets it, --estimate "${state}(0)" estimates it`)}`,
      );
    },
  };
}
