import { shuffle } from "../../shared/random.mjs";

/**
 * A table of numbers, row by row.
 *
 * @typedef {{ values: Float64Array, rows: number, columns: number }} Table
 */

export function table(values, columns) {
  return { values, rows: values.length / columns, columns };
}

/** Some of the rows, in the order given. */
function takeRows({ values, columns }, indices) {
  const taken = new Float64Array(indices.length * columns);
  indices.forEach((row, i) => {
    taken.set(values.subarray(row * columns, (row + 1) * columns), i * columns);
  });
  return table(taken, columns);
}

/** Rows one behind the other, from the first to before the last. */
export function slice({ values, columns }, from, to) {
  return table(values.slice(from * columns, to * columns), columns);
}

/** Some of the columns, in the order given. */
export function takeColumns({ values, rows, columns }, indices) {
  const taken = new Float64Array(rows * indices.length);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < indices.length; j++) taken[row * indices.length + j] = values[row * columns + indices[j]];
  }
  return table(taken, indices.length);
}

/** The rows that a condition on `(row) => column => value` holds for. */
export function filterRows(data, holds) {
  const kept = [];
  for (let row = 0; row < data.rows; row++) {
    if (holds((column) => data.values[row * data.columns + column])) kept.push(row);
  }
  return takeRows(data, kept);
}

/** One table below the other. */
export function stack(...tables) {
  const { columns } = tables[0];
  const values = new Float64Array(tables.reduce((sum, { values }) => sum + values.length, 0));
  let start = 0;
  for (const part of tables) {
    if (part.columns !== columns) throw new Error(`tables of ${columns} and ${part.columns} columns do not stack`);
    values.set(part.values, start);
    start += part.values.length;
  }
  return table(values, columns);
}

/** A table with its rows in the order of a seeded shuffle. */
export function shuffled(data, uniform) {
  return takeRows(data, shuffle([...Array(data.rows).keys()], uniform));
}

/** Mean and standard deviation of each column. */
export function moments({ values, rows, columns }) {
  const mean = new Float64Array(columns);
  const deviation = new Float64Array(columns);
  for (let i = 0; i < values.length; i++) mean[i % columns] += values[i] / rows;
  for (let i = 0; i < values.length; i++) deviation[i % columns] += (values[i] - mean[i % columns]) ** 2 / rows;
  return { mean, deviation: deviation.map(Math.sqrt) };
}

/** A table with the mean taken off each column, and divided by its deviation. */
export function standardised({ values, columns }, { mean, deviation }) {
  return table(
    values.map((value, i) => (value - mean[i % columns]) / deviation[i % columns]),
    columns,
  );
}
