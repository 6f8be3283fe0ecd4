// symplectic-adjoint predict: solutions of a trained model, from the first rows of a table or from a state given.
import { writeFileSync } from "node:fs";
import { odeint } from "../index.js";
import { Failure } from "./failure.js";
import { type ModelFile, readModel } from "./model.js";
import { checkOutput } from "./output.js";
import { csvOf, readTable, type Series } from "./table.js";
import { fromUnits, toUnits } from "./units.js";

export interface PredictRequest {
  readonly model: string;
  readonly data: string | undefined;
  readonly at: readonly number[] | undefined;
  readonly times: readonly number[] | undefined;
  readonly out: string | undefined;
}

interface Prediction {
  readonly id: string;
  readonly times: readonly number[];
  readonly rows: readonly (readonly number[])[];
}

export function predict(request: PredictRequest) {
  if (request.out !== undefined) checkOutput(request.out, [request.model, request.data]);
  const model = readModel(request.model);
  const { time, id, state } = model.description;
  const [observed, predictions] = request.data === undefined ? fromState(request, model) : fromTable(request, model);
  const head = id === null ? [time, ...state] : [id, time, ...state];
  const rows = predictions.flatMap((own) =>
    own.rows.map((row, i) => [...(id === null ? [] : [own.id]), own.times[i] as number, ...row.map(rounded)]),
  );
  const csv = csvOf(head, rows);
  if (request.out !== undefined) writeFileSync(request.out, csv);
  const errors = observed && !request.times ? errorsOf(observed, predictions, state) : null;
  return { csv, out: request.out ?? null, rows: rows.length, trajectories: predictions.length, errors };
}

/** Seven digits, as many as float32 has. */
const rounded = (value: number) => Number(value.toPrecision(7));

function fromState({ at, times }: PredictRequest, model: ModelFile): [undefined, Prediction[]] {
  const { state } = model.description;
  if (at === undefined || times === undefined) {
    throw new Failure("predict: expected a table, or --at with --times", 2);
  }
  if (at.length !== state.length) {
    throw new Failure(`--at: expected ${state.length} numbers, ${state.join(", ")}, given ${at.length}`, 2);
  }
  if (times.length < 2) throw new Failure("--times: expected two times or more, of which the first is that of --at", 2);
  return [undefined, [{ id: "", times, rows: solved(model, at, times) }]];
}

function fromTable({ data, at, times }: PredictRequest, model: ModelFile): [Series[], Prediction[]] {
  if (at !== undefined) throw new Failure("--at: expected nothing where there is a table", 2);
  const { time, id, state } = model.description;
  const { series } = readTable(data as string, { time, id: id ?? undefined, state });
  const started = series.map((own) => {
    const first = own.rows.findIndex((row) => row.every((value) => !Number.isNaN(value)));
    if (first < 0)
      throw new Failure(`${data}: the trajectory ${own.id} has no row without missing values to begin from`);
    return { ...own, times: own.times.slice(first), rows: own.rows.slice(first) };
  });
  const predictions = started.map((own) => {
    const [start] = own.times as [number];
    if (times?.some((time) => time < start)) {
      throw new Failure(`--times: expected none before ${start}, where the trajectory ${own.id} begins`, 2);
    }
    const wanted = times ?? own.times;
    const grid = wanted[0] === start ? wanted : [start, ...wanted];
    const rows = grid.length === 1 ? [own.rows[0] as number[]] : solved(model, own.rows[0] as number[], grid);
    return { id: own.id, times: wanted, rows: rows.slice(grid.length - wanted.length) };
  });
  return [started, predictions];
}

/** The states at some times, from a state at the first, in the table's units. */
function solved({ field, description }: ModelFile, start: readonly number[], times: readonly number[]): number[][] {
  const { units, settings } = description;
  const { values } = toUnits({ id: "", times: [times[0] as number], rows: [start] }, units);
  const relative = times.map((time) => (time - (times[0] as number)) / units.timeScale);
  const { rtol, solver } = settings;
  const { y } = odeint(field, values, relative, { method: solver, rtol, atol: rtol });
  const size = field.stateSize;
  return times.map((_, i) => fromUnits(y.subarray(i * size, (i + 1) * size), units));
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
