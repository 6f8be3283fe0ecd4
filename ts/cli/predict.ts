// symplectic-adjoint predict: solves a trained model from the first rows of a table, or from a given state.
import { type Field, odeint } from "../index.js";
import type { Times } from "./arguments.js";
import { readDosed } from "./dosed-table.js";
import { ALL_MATCHED, readDoses, type Unmatched } from "./doses.js";
import { fieldOf, stateOf, withDelays } from "./equation.js";
import { Failure } from "./failure.js";
import { isFit } from "./fit-file.js";
import type { Source } from "./input.js";
import { infusedOf, jumpsOf } from "./jumps.js";
import { checkDoses, type Description, layoutOf, type ModelFile, readModel } from "./model.js";
import { type StateOption, stateAt } from "./pairs.js";
import { predictFit } from "./predict-fit.js";
import { columnIn, csvOf, type Dialect, type Format, formatOfModel, headerOf, partOf, type Series } from "./table.js";
import { writeTime } from "./time.js";
import { fromUnits, scaledTimes } from "./units.js";

export interface PredictRequest {
  readonly model: Source;
  readonly data: Source | undefined;
  /** The separate table of doses, if there is one. */
  readonly doses?: Source | undefined;
  readonly format: Format;
  readonly at: StateOption | undefined;
  readonly times: Times | undefined;
}

/** What to solve, and how to label the result. */
interface Equation {
  readonly description: Description;
  readonly field: Field<"float32">;
}

interface PredictedSeries {
  readonly id: string;
  readonly times: readonly number[];
  readonly rows: readonly (readonly number[])[];
}

/** Predictions, with measurements to compare. */
interface PredictionResult {
  readonly observed: readonly Series[] | undefined;
  readonly predictions: readonly PredictedSeries[];
  readonly unmatched: Unmatched;
  /** The format of the table, in which predictions are written. */
  readonly dialect?: Dialect;
}

export function predict(request: PredictRequest) {
  const { times, data, doses } = request;
  if (isFit(request.model)) return predictFit(request);
  const file = readModel(request.model);
  const format = { ...formatOfModel(file.description.format), ...request.format };
  checkDoses(file.description, doses, data !== undefined);
  const { time, id, state, clock, units } = file.description;
  // The names that the table uses.
  const header = data ? headerOf(data, { time, id: id ?? undefined, state }, format) : [];
  const own = (name: string) => columnIn(header, name) ?? name;
  if (times && times.clock !== clock) {
    throw new Failure(`--times: expected a ${clock}, as in the table of the training, given a ${times.clock}`, 2);
  }
  const { observed, predictions, unmatched, dialect } = data
    ? fromTable({ ...request, format }, data, file)
    : fromState({ ...request, format }, file);
  // A given state belongs to no trajectory.
  const isNamed = id !== null && data !== undefined;
  const head = (isNamed ? [id, time, ...state] : [time, ...state]).map(own);
  const rows = predictions.flatMap((own) =>
    own.rows.map((row, i) => [
      ...(isNamed ? [own.id] : []),
      writeTime(own.times[i] as number, clock),
      ...row.map((value, column) => rounded(value, units.log[column] ? 0 : (units.scale[column] as number))),
    ]),
  );
  const csv = csvOf(head, rows, dialect);
  const errors = observed && !times ? errorsOf(observed, predictions, state) : null;
  return { csv, rows: rows.length, trajectories: predictions.length, errors, ...unmatched };
}

/** Seven digits, like float32; more for a column that varies little compared with its size, since the scaled numbers have seven. */
function rounded(value: number, scale: number): number {
  const offset = scale > 0 ? Math.ceil(Math.log10(Math.abs(value) / scale)) : 0;
  return Number(value.toPrecision(Math.min(15, 7 + Math.max(0, offset))));
}

/** The model with the states that doses need: the rates of infusions. */
function equationOf({ network, description: told }: ModelFile, series: readonly Series[]): Equation {
  const settings = { ...told.settings, infused: infusedOf(series, told.state) };
  return { description: { ...told, settings }, field: fieldOf(network, settings, told.units) };
}

function fromState({ at, times, doses, format }: PredictRequest, file: ModelFile): PredictionResult {
  const { state, settings, units, clock, time } = file.description;
  if (at === undefined || times === undefined) {
    throw new Failure("predict: expected a table, or --at with --times", 2);
  }
  const lags = Array.from({ length: settings.delays }, (_, i) =>
    state.map((name) => `${name} ${(i + 1) * units.lag} earlier`),
  );
  const start = stateAt(at, [...state, ...lags.flat()]);
  const { values } = times;
  if (values.length < 2) throw new Failure("--times: expected at least two times, starting with that of --at", 2);
  const columns = settings.doses && { ...settings.doses, apart: true };
  const given =
    doses && columns ? [...readDoses(doses, { time, trained: true }, format, columns, { clock, state }).values()] : [];
  const series = { id: "", times: values, rows: [], start, doses: given.flat() };
  const rows = solved(equationOf(file, [series]), series, values);
  return { observed: undefined, predictions: [{ id: "", times: values, rows }], unmatched: ALL_MATCHED };
}

function fromTable({ format, at, times, doses }: PredictRequest, data: Source, file: ModelFile): PredictionResult {
  if (at !== undefined) throw new Failure("--at: cannot be combined with a table", 2);
  const { time, id, state, settings, units, clock } = file.description;
  const columns = { time, id: id ?? undefined, state, trained: true };
  const table = readDosed(data, columns, format, settings, doses, state);
  if (table.clock !== clock) {
    throw new Failure(
      `${data.name}: column ${time}: expected a ${clock}, as in the table of the training, given a ${table.clock}`,
    );
  }
  const model = equationOf(file, table.series);
  const started = table.series.map((whole) => {
    const own = withDelays(whole, settings.delays, units.lag);
    const first = own.start ? 0 : own.rows.findIndex((row) => row.every((value) => !Number.isNaN(value)));
    if (first < 0) {
      const past = settings.delays === 0 ? "" : `, and ${settings.delays} earlier values ${units.lag} apart,`;
      throw new Failure(
        `${data.name}: the trajectory ${own.id} has no row without missing values${past} to begin from`,
      );
    }
    return partOf(own, first);
  });
  const predictions = started.map((own) => {
    const [start] = own.times as [number];
    if (times?.values.some((time) => time < start)) {
      const from = writeTime(start, clock);
      throw new Failure(`--times: expected none before ${from}, where the trajectory ${own.id} begins`, 2);
    }
    const wanted = times?.values ?? own.times;
    const grid = wanted[0] === start ? wanted : [start, ...wanted];
    const rows = solved(model, own, grid);
    return { id: own.id, times: wanted, rows: rows.slice(grid.length - wanted.length) };
  });
  return { observed: started, predictions, unmatched: table.unmatched, dialect: table.dialect };
}

/** The columns at some times, solved from the first row of a series, in the table's units. */
function solved({ field, description }: Equation, series: Series, times: readonly number[]): number[][] {
  const { units, settings, state } = description;
  const start = series.start ?? (series.rows[0] as readonly number[]);
  const [begin] = times as [number];
  const jumps = jumpsOf([series], description);
  if (times.length === 1 && jumps.length === 0) return [start.slice(0, state.length)];
  const { rtol, solver } = settings;
  const own = times === series.times ? series : { times };
  const y0 = stateOf(start, begin, description);
  const options = { method: solver, rtol, atol: rtol, jumps };
  const { y } = odeint(field, y0, scaledTimes(own, units.timeScale), options);
  const { size, clocks } = layoutOf(settings, state.length);
  // A given state must not be rounded, unless a dose changes it at once.
  const isGiven = !series.doses?.some(({ time }) => time <= begin);
  return times.map((_, i) =>
    i === 0 && isGiven ? start.slice(0, state.length) : fromUnits(y.subarray(i * size + clocks, (i + 1) * size), units),
  );
}

/** The root mean square error of each column, without the first rows, which are given. */
function errorsOf(observed: readonly Series[], predictions: readonly PredictedSeries[], state: readonly string[]) {
  return Object.fromEntries(
    state.flatMap((name, column) => {
      const squares = observed.flatMap(({ rows }, i) =>
        rows
          .slice(1)
          .map((row, j) => ((row[column] as number) - (predictions[i]?.rows[j + 1]?.[column] as number)) ** 2),
      );
      const present = squares.filter((square) => !Number.isNaN(square));
      // A state without a column has no error.
      const isHidden = observed.every(({ rows }) => rows.every((row) => Number.isNaN(row[column])));
      return isHidden
        ? []
        : [[name, Math.sqrt(present.reduce((sum, square) => sum + square, 0) / present.length)] as const];
    }),
  );
}
