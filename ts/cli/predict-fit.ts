// Predictions from the estimates of a fit, for fitted trajectories or new ones.
import type { Times } from "./arguments.js";
import { ALL_MATCHED, readDoses, type Unmatched } from "./doses.js";
import { Failure, failureOf } from "./failure.js";
import { dosedSeries } from "./fit-doses.js";
import { type FitDescription, type FitFile, readFit, type SavedTrajectory, solverOf } from "./fit-file.js";
import { type InitialOrigin, readMapped } from "./fit-mapping.js";
import { beginOf, dependsOnTime, dosesFrom, measurementsOf, nameOf, readerOf } from "./fit-members.js";
import { byTableTimes, solveDoses, solveTimes } from "./fit-times.js";
import type { Source } from "./input.js";
import { type StateOption, stateAt } from "./pairs.js";
import { solveObserved } from "./solve-observed.js";
import { csvOf, type Dialect, type Dose, type Format, formatOfModel, unitOf } from "./table.js";
import { writeTime } from "./time.js";

export interface PredictFitRequest {
  readonly model: Source;
  readonly data: Source | undefined;
  /** The separate table of doses, if there is one. */
  readonly doses?: Source | undefined;
  readonly format: Format;
  readonly at: StateOption | undefined;
  readonly times: Times | undefined;
}

/** A trajectory to predict. */
interface TrajectoryRequest {
  readonly id: string;
  readonly begin: number;
  readonly times: readonly number[];
  readonly y0: readonly number[];
  readonly arguments: Readonly<Record<string, number>>;
  /** Measurements to compare with, `[times, observed]`. */
  readonly measured: readonly number[];
  readonly doses: readonly Dose[];
  /** Which times have measurements before a dose. */
  readonly early?: readonly boolean[] | undefined;
}

export function predictFit(request: PredictFitRequest) {
  const file = readFit(request.model);
  try {
    return predicted(request, file);
  } finally {
    file.field.dispose();
  }
}

function predicted({ data, doses, format, at, times }: PredictFitRequest, file: FitFile) {
  const { description } = file;
  if (doses && !description.doses) throw new Failure("--doses: the fit has no doses", 2);
  if (doses && !at && !(data && description.doses?.apart)) {
    throw new Failure("--doses: expected --at, or the doses in the table, as in the fit", 2);
  }
  if (data && description.doses?.apart && !doses) {
    throw new Failure("expected --doses as well: the fit has a table of doses", 2);
  }
  const { clock, observed, time, id } = description;
  if (times && times.clock !== clock) {
    throw new Failure(`--times: expected a ${clock}, as in the table of the fit, given a ${times.clock}`, 2);
  }
  if (data && at) throw new Failure("--at: cannot be combined with a table", 2);
  const { wanted, unmatched, dialect } = data
    ? requestsFromTable(data, doses, format, times, file)
    : {
        wanted: at ? [requestFromState(at, times, doses, format, file)] : requestsFromFit(times, description),
        unmatched: ALL_MATCHED,
        dialect: undefined,
      };
  const rows = wanted.map((one) => solved(one, file));
  const columns = observed.map(({ column }) => column);
  // A given state belongs to no trajectory.
  const isNamed = id !== null && !at;
  const lines = wanted.flatMap(({ id: own, times }, k) =>
    times.map((t, i) => [
      ...(isNamed ? [own] : []),
      writeTime(t, clock),
      ...(rows[k]?.[i] ?? []).map((value) => Number(value.toPrecision(12))),
    ]),
  );
  const errors =
    data && !times
      ? Object.fromEntries(columns.map((column, o) => [column, errorOf(wanted, rows, o, columns.length)]))
      : null;
  const csv = csvOf([...(isNamed ? [id] : []), time, ...columns], lines, dialect);
  return { csv, rows: lines.length, trajectories: wanted.length, errors, ...unmatched };
}

/** The root mean square error of a column; NaN without measurements. */
function errorOf(
  wanted: readonly TrajectoryRequest[],
  rows: readonly (readonly (readonly number[])[])[],
  o: number,
  width: number,
): number {
  const squares = wanted.flatMap(({ times, measured }, k) =>
    times.map((_, i) => ((rows[k]?.[i]?.[o] as number) - (measured[i * width + o] as number)) ** 2),
  );
  const present = squares.filter((square) => !Number.isNaN(square));
  return Math.sqrt(present.reduce((sum, square) => sum + square, 0) / present.length);
}

/** The trajectories of the fit itself. */
function requestsFromFit(times: Times | undefined, { trajectories, clock }: FitDescription): TrajectoryRequest[] {
  if (!times)
    throw new Failure(
      "predict: expected a table, or --times alone for the fitted trajectories, or --at with --times",
      2,
    );
  return trajectories.map(({ name, begin, y0, arguments: args, doses = [] }) => {
    checkTimes(times, begin, name, clock);
    return { id: name, begin, times: times.values, y0, arguments: args, measured: [], doses };
  });
}

function checkTimes(times: Times, begin: number, name: string, clock: FitDescription["clock"]): void {
  if (times.values.every((time) => time >= begin)) return;
  throw new Failure(`--times: expected none before ${writeTime(begin, clock)}, where the trajectory ${name} begins`, 2);
}

function requestFromState(
  at: StateOption,
  times: Times | undefined,
  doses: Source | undefined,
  format: Format,
  { description, field }: FitFile,
): TrajectoryRequest {
  const { states } = field;
  const { time, clock } = description;
  const y0 = stateAt(at, states);
  if (!times || times.values.length < 2) {
    throw new Failure("--times: expected at least two times, starting with that of --at", 2);
  }
  const args = Object.entries(description.arguments).map(([name, origin]) => {
    if ("number" in origin) return [name, origin.number] as const;
    throw new Failure(`--at: the equations take the argument ${name} from a column; expected a table that has it`, 2);
  });
  const [own] = description.individual;
  if (own !== undefined)
    throw new Failure(`--at: ${own} was estimated for each trajectory; expected a table, or --times alone`, 2);
  const { values } = times;
  const columns = description.doses && { ...description.doses, apart: true };
  const known = { clock, state: states };
  const written = { ...formatOfModel(description.format), ...format };
  const given =
    doses && columns ? [...readDoses(doses, { time, trained: true }, written, columns, known).values()] : [];
  return {
    doses: given.flat(),
    id: "",
    begin: values[0] as number,
    times: values,
    y0,
    arguments: Object.fromEntries(args),
    measured: [],
  };
}

/** The trajectories of a table; fitted ones begin with their estimates. */
function requestsFromTable(
  data: Source,
  dosing: Source | undefined,
  format: Format,
  times: Times | undefined,
  { description, field }: FitFile,
): { wanted: TrajectoryRequest[]; unmatched: Unmatched; dialect: Dialect } {
  const { clock, initial, estimated, individual, trajectories, estimates } = description;
  const own = { ...description.format, ...format };
  const table = readMapped(description, data, own, field.states, [], true);
  if (table.clock !== clock) {
    throw new Failure(
      `${data.name}: column ${description.time}: expected a ${clock}, as in the table of the fit, given a ${table.clock}`,
    );
  }
  const measured = description.observed.map(({ column }) => column);
  const columns = { time: description.time, id: description.id ?? undefined, trained: true };
  const { series: read, unmatched } = dosedSeries(table, columns, description, field.states, measured, {
    data,
    dosing,
    format: own,
  });
  const wanted = read.map((series): TrajectoryRequest => {
    const name = nameOf(series, description);
    const begin = beginOf(series, description, clock, data.name);
    const fitted: SavedTrajectory | undefined = trajectories.find((one) => one.name === name && one.begin === begin);
    const cells = readerOf(series, table.state, data.name, description, true);
    const y0 = field.states.map((state, i) => {
      if (!Object.hasOwn(estimated, state)) return cells.initial(state, initial[state] as InitialOrigin, false);
      if (fitted) return fitted.y0[i] as number;
      const shared = estimated[state]?.shared ? estimates[`${state}(0)`] : undefined;
      if (shared) return shared.value;
      const origin = initial[state];
      // With --t0, the first row is a measurement and not the initial state.
      if (origin && !("first" in origin && description.t0 !== undefined)) return cells.initial(state, origin, false);
      throw new Failure(
        `${data.name}: the initial value of ${state} was estimated for each trajectory, and ${name} is not one of them`,
      );
    });
    const args = [
      ...Object.entries(description.arguments).map(([name, origin]) => [name, cells.constant(origin)] as const),
      ...individual.map((argument) => {
        const value = fitted?.arguments[argument];
        if (value !== undefined) return [argument, value] as const;
        throw new Failure(
          `${data.name}: ${argument} was estimated for each trajectory, and ${name} is not one of them`,
        );
      }),
    ];
    if (times) checkTimes(times, begin, name, clock);
    const seen = times ? [] : measurementsOf(series, table.state, description);
    return {
      ...{
        id: name,
        begin,
        times: times?.values ?? series.times,
        y0,
        arguments: Object.fromEntries(args),
        measured: seen,
      },
      doses: series.doses ?? [],
      ...(!times && { early: series.early }),
    };
  });
  return { wanted, unmatched, dialect: table.dialect };
}

/** The predicted observations. */
function solved(
  { id, begin, times, y0, arguments: args, doses, early }: TrajectoryRequest,
  { field, description }: FitFile,
): number[][] {
  const { observed, clock, format } = description;
  // Solved as in the fit: from 0 if the equations do not depend on the time.
  const origin = dependsOnTime(field.equations ?? "", observed) ? 0 : begin;
  const timing = { t0: begin, times, early, origin, unit: unitOf(clock, format, "") };
  const own = solveDoses(dosesFrom({ doses }, begin), timing);
  const values = Object.fromEntries(field.argumentNames.map((name) => [name, [args[name] as number]]));
  try {
    const [rows = []] = solveObserved(
      { field, observed, factors: description.doses?.factors ?? {}, options: solverOf(description) },
      { y0: [y0], arguments: values, doses: [own], ...solveTimes(timing) },
    );
    return rows;
  } catch (error) {
    const failure = failureOf(error);
    if (!(failure instanceof Failure)) throw error;
    const whose = id === "" || description.id === null ? "" : `the trajectory ${id}: `;
    throw new Failure(`${whose}${byTableTimes(failure.message, [timing], clock)}`);
  }
}
