import * as fc from "fast-check";
import { expect, test } from "vitest";
import { columnsOf, dot, norm, qr, svd, times } from "../../ts/estimate/linear.js";

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
