// symplectic-adjoint predict: solutions of a trained model, from the first rows of a table or from a state given.
import { type Field, odeint } from "../index.js";
import type { Times } from "./arguments.js";
import { delayed, fieldOf, stateOf } from "./equation.js";
import { Failure } from "./failure.js";
import { isFit } from "./fit-file.js";
import type { Source } from "./input.js";
import { type Description, layoutOf, readModel } from "./model.js";
import { predictFit } from "./predict-fit.js";
import { csvOf, type Format, listOf, readTable, type Series } from "./table.js";
import { writeTime } from "./time.js";
import { fromUnits } from "./units.js";

export interface PredictRequest {
  readonly model: Source;
  readonly data: Source | undefined;
  readonly format: Format;
  readonly at: readonly number[] | undefined;
  readonly times: Times | undefined;
}

/** What is solved, and what its numbers mean. */
interface Equation {
  readonly description: Description;
  readonly field: Field<"float32">;
}

interface Prediction {
  readonly id: string;
  readonly times: readonly number[];
  readonly rows: readonly (readonly number[])[];
}

export function predict(request: PredictRequest) {
  if (isFit(request.model)) return predictFit(request);
  const file = readModel(request.model);
  const { time, id, state, clock, settings, units } = file.description;
  const model = { description: file.description, field: fieldOf(file.network, settings, units) };
  const { times } = request;
  if (times && times.clock !== clock) {
    throw new Failure(`--times: expected each a ${clock}, as in the table of the training, given a ${times.clock}`, 2);
  }
  const [observed, predictions] = request.data ? fromTable(request, request.data, model) : fromState(request, model);
  const head = id === null ? [time, ...state] : [id, time, ...state];
  const rows = predictions.flatMap((own) =>
    own.rows.map((row, i) => [
      ...(id === null ? [] : [own.id]),
      writeTime(own.times[i] as number, clock),
      ...row.map(rounded),
    ]),
  );
  const csv = csvOf(head, rows);
  const errors = observed && !times ? errorsOf(observed, predictions, state) : null;
  return { csv, rows: rows.length, trajectories: predictions.length, errors };
}

/** Seven digits, as many as float32 has. */
const rounded = (value: number) => Number(value.toPrecision(7));

function fromState({ at, times }: PredictRequest, model: Equation): [undefined, Prediction[]] {
  const { state, settings, units } = model.description;
  if (at === undefined || times === undefined) {
    throw new Failure("predict: expected a table, or --at with --times", 2);
  }
  const lags = Array.from({ length: settings.delays }, (_, i) => `${listOf(state)} ${(i + 1) * units.lag} before`);
  const { observed } = layoutOf(settings, state.length);
  if (at.length !== observed) {
    throw new Failure(
      `--at: expected ${observed} numbers, ${[listOf(state), ...lags].join(", ")}, given ${at.length}`,
      2,
    );
  }
  const { values } = times;
  if (values.length < 2)
    throw new Failure("--times: expected two times or more, of which the first is that of --at", 2);
  return [undefined, [{ id: "", times: values, rows: solved(model, at, values) }]];
}

function fromTable({ format, at, times }: PredictRequest, data: Source, model: Equation): [Series[], Prediction[]] {
  if (at !== undefined) throw new Failure("--at: expected nothing where there is a table", 2);
  const { time, id, state, settings, units, clock } = model.description;
  const table = readTable(data, { time, id: id ?? undefined, state, trained: true }, format);
  if (table.clock !== clock) {
    throw new Failure(
      `${data.name}: column ${time}: expected each a ${clock}, as in the table of the training, given a ${table.clock}`,
    );
  }
  const started = table.series.map((whole) => {
    const own = delayed(whole, settings.delays, units.lag);
    const first = own.rows.findIndex((row) => row.every((value) => !Number.isNaN(value)));
    if (first < 0) {
      const past = settings.delays === 0 ? "" : `, with ${settings.delays} values ${units.lag} before each other,`;
      throw new Failure(
        `${data.name}: the trajectory ${own.id} has no row without missing values${past} to begin from`,
      );
    }
    return { ...own, times: own.times.slice(first), rows: own.rows.slice(first) };
  });
  const predictions = started.map((own) => {
    const [start] = own.times as [number];
    if (times?.values.some((time) => time < start)) {
      const from = writeTime(start, clock);
      throw new Failure(`--times: expected none before ${from}, where the trajectory ${own.id} begins`, 2);
    }
    const wanted = times?.values ?? own.times;
    const grid = wanted[0] === start ? wanted : [start, ...wanted];
    const first = own.rows[0] as number[];
    const rows = grid.length === 1 ? [first.slice(0, state.length)] : solved(model, first, grid);
    return { id: own.id, times: wanted, rows: rows.slice(grid.length - wanted.length) };
  });
  return [started, predictions];
}

/** The columns at some times, from what is observed at the first, in the table's units. */
function solved({ field, description }: Equation, start: readonly number[], times: readonly number[]): number[][] {
  const { units, settings, state } = description;
  const [begin] = times as [number];
  const relative = times.map((time) => (time - begin) / units.timeScale);
  const { rtol, solver } = settings;
  const { y } = odeint(field, stateOf(start, begin, description), relative, { method: solver, rtol, atol: rtol });
  const { size, clocks } = layoutOf(settings, state.length);
  return times.map((_, i) => fromUnits(y.subarray(i * size + clocks, (i + 1) * size), units));
}

/** The root mean square error of each column, the first rows, which are given, left out. */
function errorsOf(observed: readonly Series[], predictions: readonly Prediction[], state: readonly string[]) {
  return Object.fromEntries(
    state.map((name, column) => {
      const squares = observed.flatMap(({ rows }, i) =>
        rows
          .slice(1)
          .map((row, j) => ((row[column] as number) - (predictions[i]?.rows[j + 1]?.[column] as number)) ** 2),
      );
      const present = squares.filter((square) => !Number.isNaN(square));
      return [name, Math.sqrt(present.reduce((sum, square) => sum + square, 0) / present.length)];
    }),
  );
}
