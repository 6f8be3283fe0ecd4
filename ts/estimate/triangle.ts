// QR decompositions that skip zeros. A parameter of one patient moves that patient's measurements alone: J is then a row of small
// blocks beside the columns of what all share, and costs as much as its numbers that are not 0.
import { uniforms } from "../trace/random.js";
import { axpy, dot, norm, svd, times } from "./linear.js";

/** The numbers of a row that may differ from 0, and their columns. */
export interface Row {
  readonly columns: ArrayLike<number>;
  readonly values: Float64Array;
}

/** The QR decomposition A = Q R of a matrix with n columns. */
export interface RowQr {
  /**
   * The rows of R that do not vanish. The first column of each is its pivot, which no later row has. There are n unless columns depend
   * on one another; some may even then, as pivots may be rounding.
   */
  readonly rows: readonly Row[];
  /** The first of Qᵀ b, one for each row of R. */
  project(b: Float64Array): Float64Array;
}

/** The rows of a row-major matrix. */
export function rowsOf(matrix: Float64Array, width: number): Row[] {
  const [all, rows] = [Int32Array.from({ length: width }, (_, j) => j), [] as Row[]];
  const [columns, values] = [new Int32Array(width), new Float64Array(width)];
  for (let from = 0; from < matrix.length; from += width) {
    let count = 0;
    for (let j = 0; j < width; j++) {
      const value = matrix[from + j] as number;
      if (value === 0) continue;
      columns[count] = j;
      values[count++] = value;
    }
    rows.push({ columns: count === width ? all : columns.slice(0, count), values: values.slice(0, count) });
  }
  return rows;
}

/** The lengths of the n columns. */
export function lengthsOf(rows: readonly Row[], n: number): Float64Array {
  const largest = new Float64Array(n);
  for (const { columns, values } of rows)
    for (let i = 0; i < values.length; i++) {
      const j = columns[i] as number;
      largest[j] = Math.max(largest[j] as number, Math.abs(values[i] as number));
    }
  // Relative to the largest, squares neither overflow nor underflow.
  const squares = new Float64Array(n);
  for (const { columns, values } of rows)
    for (let i = 0; i < values.length; i++) {
      const j = columns[i] as number;
      squares[j] = (squares[j] as number) + ((values[i] as number) / (largest[j] as number)) ** 2;
    }
  return largest.map((most, j) => most * Math.sqrt(squares[j] as number));
}

/** A dense part of the matrix, column by column, of which what is right of `column` and below `row` is not yet eliminated. */
interface Block {
  readonly columns: Int32Array;
  /** Which of the matrix's rows its rows came from. */
  readonly sources: Int32Array;
  readonly values: Float64Array;
  row: number;
  column: number;
}

/** Some numbers of b that are reflected, by a unit vector. */
interface Reflector {
  readonly sources: Int32Array;
  readonly v: Float64Array;
}

/**
 * Householder's QR, column by column: from those with few numbers to those with many, and each in the rows that begin with it, and in
 * the columns of these.
 */
export function qrOfRows(matrix: readonly Row[], n: number): RowQr {
  const counts = new Int32Array(n);
  for (const { columns } of matrix)
    for (let i = 0; i < columns.length; i++)
      counts[columns[i] as number] = (counts[columns[i] as number] as number) + 1;
  const order = Array.from(counts.keys()).sort((i, j) => (counts[i] as number) - (counts[j] as number));
  const places = new Int32Array(n);
  for (const [k, j] of order.entries()) places[j] = k;
  const first = (columns: ArrayLike<number>, from = 0) => {
    let least = n;
    for (let i = from; i < columns.length; i++) least = Math.min(least, places[columns[i] as number] as number);
    return least;
  };
  /** What begins with each column: rows of the matrix, and what is left of blocks. */
  const beginning: { sources: number[]; blocks: Block[] }[] = order.map(() => ({ sources: [], blocks: [] }));
  for (const [source, { columns }] of matrix.entries()) beginning[first(columns)]?.sources.push(source);

  /** Gathers them in one block. */
  const columnAt = new Int32Array(n);
  const gathered = (sources: readonly number[], blocks: readonly Block[]): Block => {
    columnAt.fill(-1);
    const union: number[] = [];
    const add = (columns: ArrayLike<number>, from: number) => {
      for (let i = from; i < columns.length; i++) {
        const j = columns[i] as number;
        if (columnAt[j] === 0) continue;
        columnAt[j] = 0;
        union.push(j);
      }
    };
    for (const source of sources) add((matrix[source] as Row).columns, 0);
    for (const { columns, column } of blocks) add(columns, column);
    const columns = Int32Array.from(union).sort((i, j) => (places[i] as number) - (places[j] as number));
    for (let c = 0; c < columns.length; c++) columnAt[columns[c] as number] = c;
    const height = blocks.reduce((sum, block) => sum + block.sources.length - block.row, sources.length);
    const all = new Int32Array(height);
    const values = new Float64Array(height * columns.length);
    let row = 0;
    for (const source of sources) {
      const own = matrix[source] as Row;
      for (let i = 0; i < own.columns.length; i++)
        values[(columnAt[own.columns[i] as number] as number) * height + row] = own.values[i] as number;
      all[row++] = source;
    }
    for (const block of blocks) {
      const own = block.sources.length;
      all.set(block.sources.subarray(block.row), row);
      for (let c = block.column; c < block.columns.length; c++) {
        const part = block.values.subarray(c * own + block.row, (c + 1) * own);
        values.set(part, (columnAt[block.columns[c] as number] as number) * height + row);
      }
      row += own - block.row;
    }
    return { columns, sources: all, values, row: 0, column: 0 };
  };

  const [rows, reflectors]: [Row[], Reflector[]] = [[], []];
  for (const { sources, blocks } of beginning) {
    if (sources.length + blocks.length === 0) continue;
    const block = sources.length === 0 && blocks.length === 1 ? (blocks[0] as Block) : gathered(sources, blocks);
    const row = eliminated(block, reflectors);
    if (row) rows.push(row);
    if (block.row < block.sources.length) beginning[first(block.columns, block.column)]?.blocks.push(block);
  }
  const project = (b: Float64Array) => {
    const rotated = b.slice();
    for (const { sources, v } of reflectors) {
      let product = 0;
      for (let i = 0; i < v.length; i++) product += (v[i] as number) * (rotated[sources[i] as number] as number);
      product *= 2;
      for (let i = 0; i < v.length; i++)
        rotated[sources[i] as number] = (rotated[sources[i] as number] as number) - product * (v[i] as number);
    }
    return Float64Array.from(reflectors, ({ sources }) => rotated[sources[0] as number] as number);
  };
  return { rows, project };
}

/** Eliminates a block's next column, and gives the row of R that this makes, unless the column vanishes. */
function eliminated(block: Block, reflectors: Reflector[]): Row | undefined {
  const { columns, sources, values, row, column } = block;
  const height = sources.length;
  const v = values.subarray(column * height + row, (column + 1) * height);
  const length = norm(v);
  block.column++;
  if (length === 0) return undefined;
  block.row++;
  const head = v[0] as number;
  const pivot = head < 0 ? length : -length;
  v[0] = head - pivot;
  const size = norm(v);
  for (let i = 0; i < v.length; i++) v[i] = (v[i] as number) / size;
  const own = new Float64Array(columns.length - column);
  own[0] = pivot;
  for (let c = column + 1; c < columns.length; c++) {
    const from = c * height + row;
    let product = 0;
    for (let i = 0; i < v.length; i++) product += (v[i] as number) * (values[from + i] as number);
    product *= 2;
    for (let i = 0; i < v.length; i++) values[from + i] = (values[from + i] as number) - product * (v[i] as number);
    own[c - column] = values[from] as number;
  }
  reflectors.push({ sources: sources.subarray(row), v });
  return { columns: columns.subarray(column), values: own };
}

/** R x, for an x with a number for each column. */
export function timesRows(rows: readonly Row[], x: ArrayLike<number>): Float64Array {
  return Float64Array.from(rows, ({ columns, values }) => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += (values[i] as number) * (x[columns[i] as number] as number);
    return sum;
  });
}

/** Rᵀ y, with n columns. */
export function transposeTimesRows(rows: readonly Row[], y: ArrayLike<number>, n: number): Float64Array {
  const product = new Float64Array(n);
  for (const [k, { columns, values }] of rows.entries()) {
    const part = y[k] as number;
    for (let i = 0; i < values.length; i++) {
      const j = columns[i] as number;
      product[j] = (product[j] as number) + part * (values[i] as number);
    }
  }
  return product;
}

/** x of R x = b, 0 in those of its n columns that R has not. */
export function solvedRows(rows: readonly Row[], b: ArrayLike<number>, n: number): Float64Array {
  const x = new Float64Array(n);
  for (let k = rows.length - 1; k >= 0; k--) {
    const { columns, values } = rows[k] as Row;
    let sum = b[k] as number;
    for (let i = 1; i < values.length; i++) sum -= (values[i] as number) * (x[columns[i] as number] as number);
    x[columns[0] as number] = sum / (values[0] as number);
  }
  return x;
}

/** y of Rᵀ y = x, one for each row of R. */
export function transposeSolvedRows(rows: readonly Row[], x: Float64Array): Float64Array {
  const rest = x.slice();
  return Float64Array.from(rows, ({ columns, values }) => {
    const y = (rest[columns[0] as number] as number) / (values[0] as number);
    for (let i = 1; i < values.length; i++) {
      const j = columns[i] as number;
      rest[j] = (rest[j] as number) - y * (values[i] as number);
    }
    return y;
  });
}

/** A bound from above on the condition number of R: the product of its Frobenius norm and that of its inverse. */
export function conditionBound(rows: readonly Row[], n: number): number {
  let [squares, inverse] = [0, 0];
  const rest = new Float64Array(n);
  for (const [first, { columns, values }] of rows.entries()) {
    for (let i = 0; i < values.length; i++) squares += (values[i] as number) ** 2;
    // A row of the inverse, by Rᵀ y = e.
    rest.fill(0);
    rest[columns[0] as number] = 1;
    for (let k = first; k < rows.length; k++) {
      const row = rows[k] as Row;
      const left = rest[row.columns[0] as number] as number;
      if (left === 0) continue;
      const y = left / (row.values[0] as number);
      inverse += y * y;
      for (let i = 1; i < row.values.length; i++) {
        const j = row.columns[i] as number;
        rest[j] = (rest[j] as number) - y * (row.values[i] as number);
      }
    }
  }
  return Math.sqrt(squares) * Math.sqrt(inverse);
}

/** The columns of R with these indices, as dense ones. */
export function columnsOfRows(rows: readonly Row[], indices: readonly number[]): Float64Array[] {
  const dense = new Map(indices.map((j) => [j, new Float64Array(rows.length)]));
  for (const [k, { columns, values }] of rows.entries())
    for (let i = 0; i < values.length; i++) {
      const column = dense.get(columns[i] as number);
      if (column) column[k] = values[i] as number;
    }
  return [...dense.values()];
}

/** Rows without the columns whose divisor is 0, and the others divided by theirs. */
export function dividedRows(rows: readonly Row[], divisors: Float64Array): Row[] {
  return rows.map(({ columns, values }) => {
    const kept = Int32Array.from(values.keys()).filter((i) => divisors[columns[i] as number] !== 0);
    const own = kept.map((i) => columns[i] as number);
    return {
      columns: own,
      values: Float64Array.from(kept, (i, k) => (values[i] as number) / (divisors[own[k] as number] as number)),
    };
  });
}

/** The columns of the inverse of R, one for each of its rows. */
export function inverseColumns(rows: readonly Row[], n: number): Float64Array[] {
  const unit = new Float64Array(rows.length);
  return rows.map((_, k) => {
    unit.fill(0);
    unit[k] = 1;
    return solvedRows(rows.slice(0, k + 1), unit, n);
  });
}

/** The condition number of an R with n rows and columns, but for rounding. */
export function conditionOf(rows: readonly Row[], n: number): number {
  const largest = largestSingularValue(
    n,
    (x) => timesRows(rows, x),
    (y) => transposeTimesRows(rows, y, n),
  );
  const ofInverse = largestSingularValue(
    n,
    (y) => solvedRows(rows, y, n),
    (x) => transposeSolvedRows(rows, x),
  );
  return largest * ofInverse;
}

/** Singular values have converged where their vectors have to this, as their errors are its square; or after so many steps. */
const [CONVERGED, STEPS] = [1e-7, 500];

/** The largest singular value of an A of n columns, by A x and Aᵀ y: locally optimal conjugate gradients (Knyazev 2001). */
function largestSingularValue(
  n: number,
  apply: (x: Float64Array) => Float64Array,
  transpose: (y: Float64Array) => Float64Array,
): number {
  const uniform = uniforms(1);
  let x: Float64Array = new Float64Array(n).map(() => uniform() - 0.5);
  let [before, sigma]: [Float64Array | undefined, number] = [undefined, 0];
  for (let step = 0; step < STEPS; step++) {
    const length = norm(x);
    x = x.map((part) => part / length);
    const image = apply(x);
    sigma = norm(image);
    const rest = transpose(image);
    axpy(-(sigma ** 2), x, rest);
    if (norm(rest) <= CONVERGED * sigma ** 2) break;
    // The best combination of where it is, where it rises most, and where it came from.
    const basis = orthonormal(before ? [x, rest, before] : [x, rest]);
    const [best] = svd(basis.map(apply)).right as [Float64Array];
    const next = times(basis, best, n);
    before = next.slice();
    axpy(-dot(x, next), x, before);
    x = next;
  }
  return sigma;
}

/** An orthonormal basis of what vectors span, without those of them that are almost combinations of others. */
function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const vector of vectors) {
    const before = norm(vector);
    const rest = vector.slice();
    // Twice, as once leaves rounding.
    for (let i = 0; i < 2; i++) for (const unit of basis) axpy(-dot(unit, rest), unit, rest);
    const length = norm(rest);
    if (length > 1e-10 * before) basis.push(rest.map((part) => part / length));
  }
  return basis;
}
