// Dense linear algebra for least squares. Matrices are lists of their columns, which every algorithm here works on.
//
// ml-matrix has the same decompositions in 18 kB, gzipped; this is 1 kB.

/** The numbers with these indices. */
export function gather(all: Float64Array, indices: ArrayLike<number>): Float64Array {
  const found = new Float64Array(indices.length);
  for (let i = 0; i < indices.length; i++) found[i] = all[indices[i] as number] as number;
  return found;
}

/** A matrix by its columns. */
export type Columns = readonly Float64Array[];

/** The distance from 1 to the next number. */
export const EPSILON = 2 ** -52;

/** The columns of a row-major matrix. */
export function columnsOf(matrix: ArrayLike<number>, columns: number): Float64Array[] {
  const rows = columns === 0 ? 0 : matrix.length / columns;
  const list = Array.from({ length: columns }, () => new Float64Array(rows));
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) (list[j] as Float64Array)[i] = matrix[i * columns + j] as number;
  return list;
}

export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** y := y + α x. */
export function axpy(alpha: number, x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) y[i] = (y[i] as number) + alpha * (x[i] as number);
}

/** ‖a‖₂, without overflow or underflow on the way. */
export function norm(a: Float64Array): number {
  const squares = dot(a, a);
  if (squares > 1e-280 && squares < 1e280) return Math.sqrt(squares);
  let largest = 0;
  for (const x of a) largest = Math.max(largest, Math.abs(x));
  if (!(largest > 0 && largest < Number.POSITIVE_INFINITY)) return largest;
  let sum = 0;
  for (const x of a) sum += (x / largest) ** 2;
  return largest * Math.sqrt(sum);
}

/** A x. */
export function times(matrix: Columns, x: ArrayLike<number>, rows = matrix[0]?.length ?? 0): Float64Array {
  const product = new Float64Array(rows);
  for (const [j, column] of matrix.entries()) if (x[j] !== 0) axpy(x[j] as number, column, product);
  return product;
}

/** Aᵀ x, fast where x is mostly 0. */
export function transposeTimes(matrix: Columns, x: Float64Array): Float64Array {
  const places = Int32Array.from(x.keys()).filter((i) => x[i] !== 0);
  if (2 * places.length > x.length) return Float64Array.from(matrix, (column) => dot(column, x));
  return Float64Array.from(matrix, (column) => {
    let sum = 0;
    for (let k = 0; k < places.length; k++) {
      const i = places[k] as number;
      sum += (column[i] as number) * (x[i] as number);
    }
    return sum;
  });
}

/** The QR decomposition A P = Q R of an m×n matrix. */
export interface Qr {
  /** The columns of R, in the order of those of A: as many rows as the smaller of m and n. */
  readonly r: Float64Array[];
  /** Which column was eliminated at which step: the longest of what remained. */
  readonly order: readonly number[];
  /** The first of Qᵀ b, as many as R has rows. */
  project(b: Float64Array): Float64Array;
}

/** Householder's QR, with the pivots of Businger and Golub (1965). */
export function qr(matrix: Columns): Qr {
  const work = matrix.map((column) => column.slice());
  const [m, n] = [work[0]?.length ?? 0, work.length];
  const rank = Math.min(m, n);
  const order = work.map((_, j) => j);
  const reflectors: Float64Array[] = [];
  const at = (j: number) => work[order[j] as number] as Float64Array;
  for (let k = 0; k < rank; k++) {
    let [pivot, longest] = [k, -1];
    for (let j = k; j < n; j++) {
      const length = norm(at(j).subarray(k));
      if (length > longest) [pivot, longest] = [j, length];
    }
    [order[k], order[pivot]] = [order[pivot] as number, order[k] as number];
    if (longest === 0) break;
    const reflector = at(k).slice();
    reflector.fill(0, 0, k);
    const head = reflector[k] as number;
    reflector[k] = head + (head < 0 ? -longest : longest);
    const length = norm(reflector);
    for (let i = k; i < m; i++) reflector[i] = (reflector[i] as number) / length;
    for (let j = k; j < n; j++) reflect(reflector, at(j));
    at(k).fill(0, k + 1);
    reflectors.push(reflector);
  }
  const project = (b: Float64Array) => {
    const rotated = b.slice();
    for (const reflector of reflectors) reflect(reflector, rotated);
    return rotated.slice(0, rank);
  };
  return { r: work.map((column) => column.slice(0, rank)), order, project };
}

/** x := (1 − 2 v vᵀ) x. */
function reflect(v: Float64Array, x: Float64Array): void {
  axpy(-2 * dot(v, x), v, x);
}

/** The singular value decomposition A = U Σ Vᵀ of an m×n matrix. */
export interface Svd {
  /** n of them, in descending order; those beyond m are 0. */
  readonly singularValues: Float64Array;
  /** The columns of V: n orthonormal vectors, also where the singular value is 0. */
  readonly right: Float64Array[];
  /** Uᵀ b: n numbers, 0 where the singular value is. */
  project(b: Float64Array): Float64Array;
}

/** So many sweeps are never needed: convergence is quadratic. */
const SWEEPS = 60;
/** A column that is shorter than this fraction of the longest is rounding. */
const NEGLIGIBLE = 2 ** -100;

/**
 * Hestenes' one-sided Jacobi method, on the R of a QR decomposition with pivots: small singular values are as accurate, relative to
 * themselves, as the lengths of the columns allow (Demmel and Veselić 1992; Drmač 1997).
 */
export function svd(matrix: Columns): Svd {
  const { r, order, project } = qr(matrix);
  const n = matrix.length;
  // A power of two, so that squares neither overflow nor underflow.
  const largest = Math.max(...r.map(norm), 0);
  const scale = largest > 0 && largest < Number.POSITIVE_INFINITY ? 2 ** Math.floor(Math.log2(largest)) : 1;
  const u = order.map((j) => (r[j] as Float64Array).map((x) => x / scale));
  const v = order.map((j) => new Float64Array(n).fill(1, j, j + 1));
  const tolerance = EPSILON * Math.max(4, Math.sqrt(n));
  for (let sweep = 0, rotated = true; rotated && sweep < SWEEPS; sweep++) {
    rotated = false;
    for (let i = 0; i < n; i++)
      for (let j = i + 1; j < n; j++) {
        const [ui, uj] = [u[i] as Float64Array, u[j] as Float64Array];
        const [alpha, beta, gamma] = [dot(ui, ui), dot(uj, uj), dot(ui, uj)];
        if (Math.sqrt(Math.min(alpha, beta)) < NEGLIGIBLE) continue;
        if (!(Math.abs(gamma) > tolerance * Math.sqrt(alpha) * Math.sqrt(beta))) continue;
        rotated = true;
        const zeta = (beta - alpha) / (2 * gamma);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.sqrt(1 + t * t);
        rotate(ui, uj, c, c * t);
        rotate(v[i] as Float64Array, v[j] as Float64Array, c, c * t);
      }
  }
  const lengths = u.map(norm).map((length) => (length < NEGLIGIBLE ? 0 : length));
  const sorted = lengths.map((_, j) => j).sort((i, j) => (lengths[j] as number) - (lengths[i] as number));
  return {
    singularValues: Float64Array.from(sorted, (j) => (lengths[j] as number) * scale),
    right: sorted.map((j) => v[j] as Float64Array),
    project(b) {
      const reduced = project(b);
      return Float64Array.from(sorted, (j) => {
        const length = lengths[j] as number;
        return length === 0 ? 0 : dot(u[j] as Float64Array, reduced) / length;
      });
    },
  };
}

/** (x, y) := (c x − s y, s x + c y). */
function rotate(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i] as number, y[i] as number];
    x[i] = c * a - s * b;
    y[i] = s * a + c * b;
  }
}
