// QR decompositions that skip zeros. A parameter of one patient moves that patient's measurements alone: J is then a row of small
// blocks beside the columns of what all share, and costs as much as its numbers that are not 0.
import { uniforms } from "../trace/random.js";
import { axpy, dot, norm, svd, times } from "./linear.js";

/** The rows of a matrix, by those of their numbers that may differ from 0: compressed sparse rows. */
export interface Rows {
  /** Where the numbers of each row start, and where those of the last end. */
  readonly starts: Int32Array;
  /** The columns of the numbers, and the numbers. */
  readonly columns: Int32Array;
  readonly values: Float64Array;
}

/** How many there are. */
export const countOf = ({ starts }: Rows): number => starts.length - 1;

/** The QR decomposition A = Q R of a matrix with n columns. */
export interface RowQr {
  /**
   * The rows of R that do not vanish. The first column of each is its pivot, which no later row has. There are n unless columns depend
   * on one another; there may be n even then, as a pivot may be rounding.
   */
  readonly rows: Rows;
  /** The first of Qᵀ b, one for each row of R. */
  project(b: Float64Array): Float64Array;
}

/** The rows of a row-major matrix. */
export function rowsOf(matrix: Float64Array, width: number): Rows {
  let count = 0;
  for (let k = 0; k < matrix.length; k++) if (matrix[k] !== 0) count++;
  const [columns, values] = [new Int32Array(count), new Float64Array(count)];
  const starts = new Int32Array(width === 0 ? 1 : matrix.length / width + 1);
  for (let i = 0, at = 0; i + 1 < starts.length; i++) {
    for (let j = 0; j < width; j++) {
      const value = matrix[i * width + j] as number;
      if (value === 0) continue;
      columns[at] = j;
      values[at++] = value;
    }
    starts[i + 1] = at;
  }
  return { starts, columns, values };
}

/** A row by itself. */
export interface Row {
  readonly columns: Int32Array;
  readonly values: Float64Array;
}

/** Rows that were found one by one. */
export function packed(list: readonly Row[]): Rows {
  const starts = new Int32Array(list.length + 1);
  for (const [i, { values }] of list.entries()) starts[i + 1] = (starts[i] as number) + values.length;
  const count = starts[list.length] as number;
  const [columns, values] = [new Int32Array(count), new Float64Array(count)];
  for (const [i, row] of list.entries()) {
    columns.set(row.columns, starts[i]);
    values.set(row.values, starts[i]);
  }
  return { starts, columns, values };
}

/** R, and below it a multiple of the unit matrix, in the columns that R has. */
export function aboveDiagonal(r: Rows, multiple: number): Rows {
  const [count, entries] = [countOf(r), r.values.length];
  const starts = new Int32Array(2 * count + 1);
  const columns = new Int32Array(entries + count);
  const values = new Float64Array(entries + count).fill(multiple, entries);
  starts.set(r.starts);
  columns.set(r.columns);
  values.set(r.values);
  for (let k = 0; k < count; k++) {
    starts[count + k + 1] = entries + k + 1;
    columns[entries + k] = r.columns[r.starts[k] as number] as number;
  }
  return { starts, columns, values };
}

/** The lengths of the n columns. */
export function lengthsOf({ columns, values }: Rows, n: number): Float64Array {
  const largest = new Float64Array(n);
  for (let i = 0; i < values.length; i++) {
    const [j, size] = [columns[i] as number, Math.abs(values[i] as number)];
    if (size > (largest[j] as number)) largest[j] = size;
  }
  // Relative to the largest, squares neither overflow nor underflow.
  const squares = new Float64Array(n);
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
export function qrOfRows(matrix: Rows, n: number): RowQr {
  const counts = new Int32Array(n);
  for (let i = 0; i < matrix.columns.length; i++) {
    const j = matrix.columns[i] as number;
    counts[j] = (counts[j] as number) + 1;
  }
  const order = Array.from(counts.keys()).sort((i, j) => (counts[i] as number) - (counts[j] as number));
  const places = new Int32Array(n);
  for (const [k, j] of order.entries()) places[j] = k;
  /** The place of the first of some columns to be eliminated. */
  const first = (columns: Int32Array, from: number, to: number) => {
    let least = n;
    for (let i = from; i < to; i++) least = Math.min(least, places[columns[i] as number] as number);
    return least;
  };
  /** What begins with each column: rows of the matrix, and what is left of blocks. */
  const beginning: { sources: number[]; blocks: Block[] }[] = order.map(() => ({ sources: [], blocks: [] }));
  for (let source = 0; source < countOf(matrix); source++) {
    const [from, to] = [matrix.starts[source] as number, matrix.starts[source + 1] as number];
    beginning[first(matrix.columns, from, to)]?.sources.push(source);
  }

  /** Gathers them in one block. */
  const columnAt = new Int32Array(n);
  const gathered = (sources: readonly number[], blocks: readonly Block[]): Block => {
    columnAt.fill(-1);
    const union: number[] = [];
    const add = (columns: Int32Array, from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const j = columns[i] as number;
        if (columnAt[j] === 0) continue;
        columnAt[j] = 0;
        union.push(j);
      }
    };
    for (const source of sources)
      add(matrix.columns, matrix.starts[source] as number, matrix.starts[source + 1] as number);
    for (const { columns, column } of blocks) add(columns, column, columns.length);
    const columns = Int32Array.from(union).sort((i, j) => (places[i] as number) - (places[j] as number));
    for (let c = 0; c < columns.length; c++) columnAt[columns[c] as number] = c;
    const height = blocks.reduce((sum, block) => sum + block.sources.length - block.row, sources.length);
    const all = new Int32Array(height);
    const values = new Float64Array(height * columns.length);
    let row = 0;
    for (const source of sources) {
      for (let i = matrix.starts[source] as number; i < (matrix.starts[source + 1] as number); i++) {
        const c = columnAt[matrix.columns[i] as number] as number;
        values[c * height + row] = matrix.values[i] as number;
      }
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
    if (block.row < block.sources.length)
      beginning[first(block.columns, block.column, block.columns.length)]?.blocks.push(block);
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
  return { rows: packed(rows), project };
}

/** Eliminates a block's next column, and gives the row of R that this makes, unless the column vanishes. */
function eliminated(block: Block, reflectors: Reflector[]): Row | undefined {
  const { columns, sources, values, row, column } = block;
  const height = sources.length;
  const v = values.subarray(column * height + row, (column + 1) * height);
  // Numbers near underflow have few digits, and quotients of them fewer.
  const raised = norm(v) < 2 ** -500 ? 2 ** 500 : 1;
  if (raised !== 1) for (let i = 0; i < v.length; i++) v[i] = (v[i] as number) * raised;
  const length = norm(v);
  block.column++;
  if (length === 0) return undefined;
  block.row++;
  const head = v[0] as number;
  const pivot = head < 0 ? length : -length;
  v[0] = head - pivot;
  const size = norm(v);
  for (let i = 0; i < v.length; i++) v[i] = (v[i] as number) / size;
  const pivotRow = new Float64Array(columns.length - column);
  pivotRow[0] = pivot / raised;
  for (let c = column + 1; c < columns.length; c++) {
    const from = c * height + row;
    let product = 0;
    for (let i = 0; i < v.length; i++) product += (v[i] as number) * (values[from + i] as number);
    product *= 2;
    for (let i = 0; i < v.length; i++) values[from + i] = (values[from + i] as number) - product * (v[i] as number);
    pivotRow[c - column] = values[from] as number;
  }
  reflectors.push({ sources: sources.subarray(row), v });
  return { columns: columns.subarray(column), values: pivotRow };
}

/** R x, for an x with a number for each column. */
export function timesRows({ starts, columns, values }: Rows, x: ArrayLike<number>): Float64Array {
  const product = new Float64Array(starts.length - 1);
  for (let k = 0; k < product.length; k++) {
    let sum = 0;
    for (let i = starts[k] as number; i < (starts[k + 1] as number); i++)
      sum += (values[i] as number) * (x[columns[i] as number] as number);
    product[k] = sum;
  }
  return product;
}

/** Rᵀ y, with n columns. */
export function transposeTimesRows({ starts, columns, values }: Rows, y: Float64Array, n: number): Float64Array {
  const product = new Float64Array(n);
  for (let k = 0; k + 1 < starts.length; k++) {
    const part = y[k] as number;
    for (let i = starts[k] as number; i < (starts[k + 1] as number); i++) {
      const j = columns[i] as number;
      product[j] = (product[j] as number) + part * (values[i] as number);
    }
  }
  return product;
}

/** x of R x = b, 0 in those of its n columns that R has not; of the first rows of R, if b has no more. */
export function solvedRows({ starts, columns, values }: Rows, b: Float64Array, n: number): Float64Array {
  const x = new Float64Array(n);
  for (let k = b.length - 1; k >= 0; k--) {
    const from = starts[k] as number;
    let sum = b[k] as number;
    for (let i = from + 1; i < (starts[k + 1] as number); i++)
      sum -= (values[i] as number) * (x[columns[i] as number] as number);
    x[columns[from] as number] = sum / (values[from] as number);
  }
  return x;
}

/** y of Rᵀ y = x, one for each row of R. */
export function transposeSolvedRows(rows: Rows, x: Float64Array): Float64Array {
  const y = new Float64Array(countOf(rows));
  forward(rows, x.slice(), 0, (k, part) => {
    y[k] = part;
  });
  return y;
}

/** Those y of Rᵀ y = x that are not 0, from one of the rows on; x is overwritten. */
function forward(
  { starts, columns, values }: Rows,
  x: Float64Array,
  first: number,
  found: (k: number, y: number) => void,
) {
  for (let k = first; k + 1 < starts.length; k++) {
    const from = starts[k] as number;
    const left = x[columns[from] as number] as number;
    if (left === 0) continue;
    const y = left / (values[from] as number);
    found(k, y);
    for (let i = from + 1; i < (starts[k + 1] as number); i++) {
      const j = columns[i] as number;
      x[j] = (x[j] as number) - y * (values[i] as number);
    }
  }
}

/** A bound from above on the condition number of R: the product of its Frobenius norm and that of its inverse. */
export function conditionBound(rows: Rows, n: number): number {
  const { starts, columns, values } = rows;
  let inverse = 0;
  const rest = new Float64Array(n);
  for (let k = 0; k + 1 < starts.length; k++) {
    // A row of the inverse, by Rᵀ y = e.
    rest.fill(0);
    rest[columns[starts[k] as number] as number] = 1;
    forward(rows, rest, k, (_, y) => {
      inverse += y * y;
    });
  }
  return Math.sqrt(dot(values, values)) * Math.sqrt(inverse);
}

/** The columns of R with these indices, as dense ones. */
export function columnsOfRows({ starts, columns, values }: Rows, indices: readonly number[]): Float64Array[] {
  const dense = new Map(indices.map((j) => [j, new Float64Array(starts.length - 1)]));
  for (let k = 0; k + 1 < starts.length; k++)
    for (let i = starts[k] as number; i < (starts[k + 1] as number); i++) {
      const column = dense.get(columns[i] as number);
      if (column) column[k] = values[i] as number;
    }
  return [...dense.values()];
}

/** Rows without the columns whose divisor is 0, and the others divided by theirs. */
export function dividedRows(rows: Rows, divisors: Float64Array): Rows {
  let kept = 0;
  const starts = new Int32Array(rows.starts.length);
  const columns = new Int32Array(rows.columns.length);
  const values = new Float64Array(rows.values.length);
  for (let k = 0; k + 1 < starts.length; k++) {
    for (let i = rows.starts[k] as number; i < (rows.starts[k + 1] as number); i++) {
      const divisor = divisors[rows.columns[i] as number] as number;
      if (divisor === 0) continue;
      columns[kept] = rows.columns[i] as number;
      values[kept++] = (rows.values[i] as number) / divisor;
    }
    starts[k + 1] = kept;
  }
  return { starts, columns: columns.subarray(0, kept), values: values.subarray(0, kept) };
}

/** The columns of the inverse of R, one for each of its rows. */
export function inverseColumns(rows: Rows, n: number): Float64Array[] {
  return Array.from({ length: countOf(rows) }, (_, k) => solvedRows(rows, new Float64Array(k + 1).fill(1, k), n));
}

/** The condition number of an R with n rows and columns, up to rounding. */
export function conditionOf(rows: Rows, n: number): number {
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

/** Singular values have converged once their vectors have to this accuracy, since their errors are its square; at most this number of steps. */
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
