import * as fc from "fast-check";
import { expect, test } from "vitest";
import { columnsOf, dot, norm, qr, svd, times } from "../../ts/estimate/linear.js";
import {
  columnsOfRows,
  conditionBound,
  conditionOf,
  countOf,
  inverseColumns,
  lengthsOf,
  qrOfRows,
  rowsOf,
  solvedRows,
  timesRows,
  transposeSolvedRows,
  transposeTimesRows,
} from "../../ts/estimate/triangle.js";

/** Matrices of all shapes, some of whose columns depend on others. */
const matrices = fc
  .record({
    rows: fc.integer({ min: 1, max: 9 }),
    columns: fc.integer({ min: 1, max: 6 }),
    numbers: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 54, maxLength: 54 }),
    copied: fc.boolean(),
    zero: fc.boolean(),
  })
  .map(({ rows, columns, numbers, copied, zero }) => {
    const matrix = Array.from({ length: columns }, (_, j) => Float64Array.from(numbers.slice(9 * j, 9 * j + rows)));
    if (copied && columns > 2) matrix[2] = (matrix[0] as Float64Array).map((x) => 3 * x);
    if (zero && columns > 1) matrix[1] = new Float64Array(rows);
    return matrix;
  });

/** U by the projections of the unit vectors, row by row. */
const leftOf = (rows: number, project: (b: Float64Array) => Float64Array) =>
  Array.from({ length: rows }, (_, i) => project(new Float64Array(rows).fill(1, i, i + 1)));

const sizeOf = (matrix: Float64Array[]) => Math.max(...matrix.map(norm));

test("a row-major matrix has columns", () => {
  expect(columnsOf([1, 2, 3, 4, 5, 6], 2)).toEqual([Float64Array.of(1, 3, 5), Float64Array.of(2, 4, 6)]);
  expect(columnsOf([], 0)).toEqual([]);
});

test("lengths neither overflow nor underflow", () => {
  expect(norm(Float64Array.of(3e200, 4e200)) / 5e200).toBeCloseTo(1, 15);
  expect(norm(Float64Array.of(3e-200, 4e-200)) / 5e-200).toBeCloseTo(1, 15);
  expect(norm(Float64Array.of(0, 0))).toBe(0);
  expect(norm(new Float64Array(0))).toBe(0);
});

test("QR decomposes any matrix", () => {
  fc.assert(
    fc.property(matrices, (matrix) => {
      const rows = (matrix[0] as Float64Array).length;
      const { r, order, project } = qr(matrix);
      const q = leftOf(rows, project);
      const bound = 1e-14 * sizeOf(matrix) + 1e-300;
      for (const [j, column] of matrix.entries())
        for (const [i, value] of column.entries())
          expect(Math.abs(dot(q[i] as Float64Array, r[j] as Float64Array) - value)).toBeLessThan(bound);
      for (const [k, j] of order.entries())
        for (const value of (r[j] as Float64Array).slice(k + 1)) expect(value).toBe(0);
    }),
  );
});

test("the SVD decomposes any matrix, with a whole basis on the right", () => {
  fc.assert(
    fc.property(matrices, (matrix) => {
      const [rows, n] = [(matrix[0] as Float64Array).length, matrix.length];
      const { singularValues, right, project } = svd(matrix);
      const u = leftOf(rows, project);
      const size = sizeOf(matrix);
      for (let j = 1; j < n; j++)
        expect(singularValues[j - 1] as number).toBeGreaterThanOrEqual(singularValues[j] as number);
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++)
          expect(dot(right[i] as Float64Array, right[j] as Float64Array)).toBeCloseTo(i === j ? 1 : 0, 13);
      for (let j = 0; j < n; j++) {
        const image = times(matrix, right[j] as Float64Array);
        for (let i = 0; i < rows; i++) {
          const value = (singularValues[j] as number) * ((u[i] as Float64Array)[j] as number);
          expect(Math.abs((image[i] as number) - value)).toBeLessThan(1e-14 * size + 1e-300);
        }
      }
    }),
  );
});

test("singular values of a Hilbert matrix", () => {
  const hilbert = Array.from({ length: 6 }, (_, i) => Float64Array.from({ length: 6 }, (_, j) => 1 / (i + j + 1)));
  // Todd (1954), to the digits that rounding of 1/3 and so on leaves.
  const { singularValues } = svd(hilbert);
  expect(singularValues[0] as number).toBeCloseTo(1.618899858924339, 14);
  expect((singularValues[5] as number) / 1.08279948456555e-7).toBeCloseTo(1, 8);
});

test("small singular values are accurate where only the lengths of the columns differ", () => {
  // Orthogonal columns of lengths 1, 1e-20 and 1e-29, turned from the axes.
  const [c, s] = [Math.cos(0.3), Math.sin(0.3)];
  const matrix = [
    Float64Array.of(c, s, 0, 0),
    Float64Array.of(-s, c, 0, 0).map((x) => 1e-20 * x),
    Float64Array.of(0, 0, c, -s).map((x) => 1e-29 * x),
  ];
  const { singularValues } = svd(matrix);
  for (const [j, value] of [1, 1e-20, 1e-29].entries())
    expect((singularValues[j] as number) / value).toBeCloseTo(1, 13);
});

/** Row-major matrices of which many numbers are 0: each group of rows has columns of its own, and some columns are of all. */
const sparse = fc
  .record({
    groups: fc.integer({ min: 1, max: 5 }),
    own: fc.integer({ min: 1, max: 2 }),
    shared: fc.integer({ min: 0, max: 2 }),
    each: fc.integer({ min: 1, max: 5 }),
    numbers: fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 300, maxLength: 300 }),
    interleaved: fc.boolean(),
    depends: fc.boolean(),
  })
  .map(({ groups, own, shared, each, numbers, interleaved, depends }) => {
    const [rows, n] = [groups * each, groups * own + shared];
    const matrix = new Float64Array(rows * n);
    for (let i = 0; i < rows; i++) {
      const group = interleaved ? i % groups : Math.floor(i / each);
      for (let j = 0; j < own; j++) matrix[i * n + group * own + j] = numbers[(i * n + j) % 300] as number;
      for (let j = n - shared; j < n; j++) matrix[i * n + j] = numbers[(i * n + j) % 300] as number;
      if (depends && shared > 1) matrix[i * n + n - 1] = 2 * (matrix[i * n + n - 2] as number);
    }
    return { matrix, rows, n };
  });

test("QR by rows is one of the same matrix", () => {
  fc.assert(
    fc.property(sparse, ({ matrix, rows, n }) => {
      const columns = columnsOf(matrix, n);
      const given = rowsOf(matrix, n);
      for (const [j, length] of lengthsOf(given, n).entries())
        expect(length).toBeCloseTo(norm(columns[j] as Float64Array), 14);
      const { rows: r, project } = qrOfRows(given, n);
      const q = leftOf(rows, project);
      const all = [...columns.keys()];
      const bound = 1e-14 * sizeOf(columns) + 1e-300;
      for (const [j, column] of columnsOfRows(r, all).entries())
        for (let i = 0; i < rows; i++)
          expect(Math.abs(dot(q[i] as Float64Array, column) - (columns[j]?.[i] as number))).toBeLessThan(bound);
      // An echelon form.
      const pivots = Array.from({ length: countOf(r) }, (_, k) => r.columns[r.starts[k] as number] as number);
      for (const [k, pivot] of pivots.entries())
        for (const [i, value] of (columnsOfRows(r, [pivot])[0] as Float64Array).entries())
          if (i > k) expect(value).toBe(0);
      // Products, and of a triangle solutions.
      const x = Float64Array.from({ length: n }, (_, j) => 1 + j);
      const product = timesRows(r, x);
      for (const [j, value] of transposeTimesRows(r, product, n).entries())
        expect(value).toBeCloseTo(dot(columns[j] as Float64Array, times(columns, x)), 11);
      const { singularValues } = svd(columns);
      const condition = (singularValues[0] as number) / (singularValues.at(-1) as number);
      // What is next to underflow has no inverse.
      if (!(condition < 1e6 && countOf(r) === n && sizeOf(columns) > 1e-100)) return;
      expect(conditionBound(r, n)).toBeGreaterThanOrEqual(condition * (1 - 1e-9));
      expect(conditionOf(r, n) / condition).toBeCloseTo(1, 8);
      for (const [j, value] of solvedRows(r, product, n).entries()) expect(value / (x[j] as number)).toBeCloseTo(1, 8);
      for (const [k, value] of transposeSolvedRows(r, transposeTimesRows(r, product, n)).entries())
        expect(Math.abs(value - (product[k] as number))).toBeLessThan(1e-8 * norm(product));
      for (const [k, column] of inverseColumns(r, n).entries())
        for (const [i, value] of timesRows(r, column).entries()) expect(value).toBeCloseTo(i === k ? 1 : 0, 8);
    }),
  );
});

test("QR by rows fills in nothing between groups", () => {
  // 200 groups of 7 rows, with 2 columns each and 3 of all.
  const [groups, each, own, shared] = [200, 7, 2, 3];
  const n = groups * own + shared;
  const matrix = new Float64Array(groups * each * n);
  for (let i = 0; i < groups * each; i++) {
    // As if each time were measured of all groups, before the next.
    for (let j = 0; j < own; j++) matrix[i * n + (i % groups) * own + j] = Math.cos(i * (j + 1));
    for (let j = n - shared; j < n; j++) matrix[i * n + j] = Math.sin(i + j);
  }
  const { rows } = qrOfRows(rowsOf(matrix, n), n);
  // Two rows of each group: of 5 numbers and of 4; and a triangle.
  expect(rows.values.length).toBe(groups * (5 + 4) + 6);
});
