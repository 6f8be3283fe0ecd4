// How well the data determine the parameters: covariances, undetermined combinations, and quantiles for intervals.
import { axpy, type Columns, columnsOf, dot, EPSILON, norm, svd, times, transposeTimes } from "./linear.js";
import {
  columnsOfRows,
  conditionBound,
  conditionOf,
  countOf,
  dividedRows,
  inverseColumns,
  lengthsOf,
  packed,
  qrOfRows,
  type Row,
  rowsOf,
} from "./triangle.js";

/** What the Jacobian at a minimum says about the parameters. */
export interface Information {
  /**
   * The directions of the parameters that the data determine: along each, the residuals change by 1, independently of the others. The sum
   * of their outer products is a pseudo-inverse of JᵀJ, with the variances of all combinations that the data determine.
   */
  readonly determined: Columns;
  /** The parameters that are not identified. */
  readonly unknown: readonly number[];
  /** The largest singular value of the Jacobian over the least, after its columns were scaled to the same length. */
  readonly conditionNumber: number;
  /** How many independent combinations of parameters the data determine: at most the number of parameters. */
  readonly rank: number;
  /** Parameters on which nothing depends. */
  readonly ineffective: readonly number[];
  /** Groups of parameters that the data cannot tell apart, of which they determine only combinations. */
  readonly confounded: readonly Confounded[];
}

/** Parameters that can change together without changing anything. */
interface Confounded {
  readonly parameters: readonly number[];
  /** In how many independent ways they can. */
  readonly combinations: number;
}

/** A parameter is named in a combination if its part is at least this fraction of the largest part. */
const NAMED = 0.1;
/** What errors of Jacobians leave of a determined combination, relative to it. */
const SMALL = 1e-5;

/**
 * The groups that vectors in a null space fall into. Those vectors are any basis of it; the projection onto it is not, and shows which
 * parameters have to do with one another.
 */
function connectedGroups(vectors: readonly Float64Array[], effective: readonly number[]): Confounded[] {
  const projection = effective.map((_, i) =>
    effective.map((_, j) => vectors.reduce((sum, v) => sum + (v[i] as number) * (v[j] as number), 0)),
  );
  const least = NAMED ** 2 * projection.reduce((most, row, i) => Math.max(most, row[i] as number), 0);
  const open = new Set([...effective.keys()].filter((i) => (projection[i]?.[i] as number) > least));
  const groups: Confounded[] = [];
  for (const first of open) {
    const group = [first];
    open.delete(first);
    for (const i of group) {
      for (const j of open) {
        if (!(Math.abs(projection[i]?.[j] as number) > least)) continue;
        group.push(j);
        open.delete(j);
      }
    }
    const combinations = Math.round(group.reduce((sum, i) => sum + (projection[i]?.[i] as number), 0));
    const parameters = group.sort((a, b) => a - b).map((i) => effective[i] as number);
    groups.push({ parameters, combinations: Math.max(1, combinations) });
  }
  return groups;
}

/** Up to this number of parameters, all singular values are computed, which is cheap. */
const SVD_LIMIT = 32;

/**
 * @param jacobian - `[residuals, parameters]`, row-major.
 * @param tolerance - Singular values below this part of the largest are taken for 0: what the Jacobian's own errors leave of them.
 */
export function informationOf(jacobian: Float64Array, parameters: number, tolerance = 1e-10): Information {
  const matrix = rowsOf(jacobian, parameters);
  const lengths = lengthsOf(matrix, parameters);
  const effective = Array.from(lengths.keys()).filter((i) => lengths[i] !== 0);
  const ineffective = Array.from(lengths.keys()).filter((i) => lengths[i] === 0);
  const { rows } = qrOfRows(dividedRows(matrix, lengths), parameters);
  const unscaled = (direction: Float64Array) =>
    direction.map((part, i) => (part === 0 ? 0 : part / (lengths[i] as number)));
  const largestRatio = 1 / Math.max(tolerance, EPSILON * parameters);

  const isFullRank = countOf(rows) === effective.length && conditionBound(rows, parameters) < largestRatio;
  if (effective.length > SVD_LIMIT && isFullRank) {
    const determined = inverseColumns(rows, parameters).map(unscaled);
    const conditionNumber = ineffective.length > 0 ? Number.POSITIVE_INFINITY : conditionOf(rows, parameters);
    return { determined, unknown: ineffective, rank: determined.length, conditionNumber, ineffective, confounded: [] };
  }
  const { singularValues, right } = svd(columnsOfRows(rows, effective));
  const [largest, least] = [singularValues[0] ?? 0, singularValues.at(-1) ?? 0];
  const vanishing = right.filter((_, k) => !((singularValues[k] as number) * largestRatio > largest));
  const determined = right.slice(0, right.length - vanishing.length).map((v, k) => {
    const direction = new Float64Array(parameters);
    for (const [p, i] of effective.entries()) direction[i] = (v[p] as number) / (singularValues[k] as number);
    return unscaled(direction);
  });
  const confounded = connectedGroups(vanishing, effective);
  const unknown = [...confounded.flatMap((group) => group.parameters), ...ineffective];
  const conditionNumber = ineffective.length > 0 ? Number.POSITIVE_INFINITY : parameters === 0 ? 1 : largest / least;
  return { determined, unknown, rank: determined.length, conditionNumber, ineffective, confounded };
}

/** Where a vector is not 0. */
const placesOf = (vector: Float64Array) => Int32Array.from(vector.keys()).filter((i) => vector[i] !== 0);

/** B M Bᵀ for the n rows of B, given by its columns; without M, B Bᵀ. Zeros are skipped. */
export function congruence(columns: Columns, n: number, matrix?: Columns): Float64Array {
  const product = new Float64Array(n * n);
  const places = columns.map(placesOf);
  for (const [k, column] of columns.entries()) {
    const row = matrix ? times(columns, matrix[k] as Float64Array, n) : column;
    for (const i of matrix ? placesOf(row) : (places[k] as Int32Array)) {
      const part = row[i] as number;
      for (const j of places[k] as Int32Array)
        product[i * n + j] = (product[i * n + j] as number) + part * (column[j] as number);
    }
  }
  return product;
}

/** A covariance matrix in which the variances of unknown parameters are infinite, and their covariances NaN. */
export function masked(covariance: Float64Array, unknown: readonly number[]): Float64Array {
  const n = Math.sqrt(covariance.length);
  const copy = covariance.slice();
  for (const i of unknown)
    for (let j = 0; j < n; j++) {
      const value = i === j ? Number.POSITIVE_INFINITY : Number.NaN;
      copy[i * n + j] = value;
      copy[j * n + i] = value;
    }
  return copy;
}

/** Whether the data determine a combination of the parameters, so that it cannot change unless the residuals do. */
export function isDetermined({ determined }: Information, jacobian: Float64Array, combination: Float64Array): boolean {
  const lengths = columnsOf(jacobian, combination.length).map(norm);
  const scaled = combination.map((part, i) => (part === 0 ? 0 : part / (lengths[i] as number)));
  if (!scaled.every(Number.isFinite)) return false;
  const rest = scaled.slice();
  // If the data do not determine everything, each direction, in units of the lengths, is a right singular vector over its singular value.
  for (const direction of determined) {
    const unit = direction.map((part, i) => part * (lengths[i] as number));
    axpy(-dot(unit, scaled) / dot(unit, unit), unit, rest);
  }
  return norm(rest) <= SMALL * norm(scaled);
}

/**
 * The covariance of estimates that minimise a cost which is no likelihood, such as that of a robust loss: H⁻¹ (Σ gᵢgᵢᵀ) H⁻¹ with
 * the gradients gᵢ of the residuals' parts of the cost (Huber 1967; White 1980).
 *
 * @param directions - Vectors whose outer products sum up to H⁻¹, such as `determined` if H = JᵀJ.
 */
export function sandwich(
  directions: Columns,
  jacobian: Float64Array,
  residuals: Float64Array,
  n: number,
): Float64Array {
  const slopes = columnsOf(jacobian, n);
  const scores = directions.map((direction) =>
    times(slopes, direction).map((slope, i) => slope * (residuals[i] as number)),
  );
  const meat = scores.map((column) => transposeTimes(scores, column));
  return congruence(directions, n, meat);
}

/**
 * Directions of which the outer products sum up to the inverse of a cost's curvature, Σ cᵢ jᵢjᵢᵀ over the rows of a Jacobian
 * `[residuals, parameters]` with weights c, within the combinations that the data determine; undefined if it is not positive definite.
 */
export function curvatureDirections(
  jacobian: Float64Array,
  { determined }: Information,
  parts: Float64Array,
): Columns | undefined {
  const slopes = columnsOf(jacobian, determined[0]?.length ?? 0);
  const columns = determined.map((direction) => times(slopes, direction));
  const weighted = columns.map((column) => column.map((slope, i) => slope * (parts[i % parts.length] as number)));
  const rest = weighted.map((column) => transposeTimes(columns, column));
  const diagonal = rest.map((column, k) => Math.abs(column[k] as number));
  // Cholesky's factor L, as the rows of Lᵀ. Zeros are skipped.
  const factor: Row[] = [];
  for (const [k, column] of rest.entries()) {
    const pivot = column[k] as number;
    // Relative to its original entries, the rest of a singular matrix is rounding.
    if (!(pivot > 1e-13 * (diagonal[k] as number))) return undefined;
    const columnPlaces = placesOf(column).filter((i) => i >= k);
    const values = Float64Array.from(columnPlaces, (i) => (column[i] as number) / Math.sqrt(pivot));
    factor.push({ columns: columnPlaces, values });
    for (let a = 1; a < columnPlaces.length; a++) {
      const other = rest[columnPlaces[a] as number] as Float64Array;
      for (let b = a; b < columnPlaces.length; b++) {
        const i = columnPlaces[b] as number;
        other[i] = (other[i] as number) - (values[a] as number) * (values[b] as number);
      }
    }
  }
  return inverseColumns(packed(factor), determined.length).map((column) => times(determined, column));
}

/** Correlations of a covariance matrix; NaN for what has no finite variance. */
export function correlationOf(covariance: Float64Array): Float64Array {
  const n = Math.sqrt(covariance.length);
  const sd = Float64Array.from({ length: n }, (_, i) => Math.sqrt(covariance[i * n + i] as number));
  return covariance.map((value, k) => {
    const [i, j] = [Math.floor(k / n), k % n];
    const sizes = (sd[i] as number) * (sd[j] as number);
    return i === j ? (Number.isFinite(sizes) && sizes > 0 ? 1 : Number.NaN) : value / sizes;
  });
}

/** ln Γ(a), for a > 0: Stirling's series, after a has been raised to where it converges. */
function logGamma(a: number): number {
  let [x, product] = [a, 1];
  for (; x < 15; x++) product *= x;
  const s = 1 / (x * x);
  const series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - (s * 691) / 360360))))) / x;
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product);
}

/** ln Γ(a + ½) − ln Γ(a), also where both are large. */
function logGammaStep(a: number): number {
  if (a < 30) return logGamma(a + 0.5) - logGamma(a);
  const s = 1 / (a * a);
  return 0.5 * Math.log(a) - (1 / 8 - s * (1 / 192 - s * (1 / 640 - (s * 17) / 14336))) / a;
}

/** A continued fraction b₀ + a₁/(b₁ + a₂/(b₂ + …)) by the method of Lentz, until it stands still. */
function continuedFraction(first: number, term: (k: number) => readonly [a: number, b: number]): number {
  const tiny = 1e-300;
  let [value, c, d] = [first || tiny, first || tiny, 0];
  for (let k = 1; k < 10_000; k++) {
    const [a, b] = term(k);
    d = 1 / (b + a * d || tiny);
    c = b + a / c || tiny;
    value *= c * d;
    if (Math.abs(c * d - 1) < EPSILON) break;
  }
  return value;
}

/** The regularised incomplete beta function I_x(a, ½) or I_x(½, a), given x, 1 − x and which of the two comes first. */
function incompleteBeta(x: number, complement: number, a: number, isFirst: boolean): number {
  const [p, q] = isFirst ? [a, 0.5] : [0.5, a];
  // The fraction converges fast on one side of the mean, and the other side is its complement.
  if (x > (p + 1) / (p + q + 2)) return 1 - incompleteBeta(complement, x, a, !isFirst);
  if (x === 0) return 0;
  const logBeta = 0.5 * Math.log(Math.PI) - logGammaStep(a);
  const fraction = continuedFraction(1, (k) => {
    const m = Math.floor(k / 2);
    const numerator =
      k % 2 === 0
        ? (m * (q - m) * x) / ((p + 2 * m - 1) * (p + 2 * m))
        : (-(p + m) * (p + q + m) * x) / ((p + 2 * m) * (p + 2 * m + 1));
    return [numerator, 1];
  });
  // Next to 1, a logarithm has its digits from the complement.
  const log = (value: number, rest: number) => (value > 0.5 ? Math.log1p(-rest) : Math.log(value));
  return Math.exp(p * log(x, complement) + q * log(complement, x) - logBeta) / p / fraction;
}

/**
 * The probability that Student's t with that many degrees of freedom is farther from 0 than t; with infinitely many, that of a
 * standard normal number.
 */
export function twoSided(t: number, degreesOfFreedom: number): number {
  const size = Math.abs(t);
  if (size === Number.POSITIVE_INFINITY) return 0;
  if (degreesOfFreedom >= 1e4 && degreesOfFreedom < Number.POSITIVE_INFINITY) {
    // As a normal number (Hill, CACM Algorithm 395, 1970).
    const a = degreesOfFreedom - 0.5;
    const [w, b] = [a * Math.log1p((size * size) / degreesOfFreedom), 48 * a * a];
    const second = (((0.4 * w + 3.3) * w + 24) * w + 85.5) / (0.8 * w * w + 100 + b);
    return twoSided(Math.sqrt(w) * (1 + (w + 3 - second) / b), Number.POSITIVE_INFINITY);
  }
  if (degreesOfFreedom < Number.POSITIVE_INFINITY) {
    const square = size * size;
    const sum = degreesOfFreedom + square;
    // Accurate on both sides: neither is computed from the other.
    return incompleteBeta(degreesOfFreedom / sum, square / sum, degreesOfFreedom / 2, true);
  }
  const x = (size * size) / 2;
  if (x < 1) {
    // 1 − erf(√x), by its series.
    let [term, sum] = [1, 1];
    for (let k = 1; Math.abs(term) > EPSILON * sum; k++) {
      term *= x / (k + 0.5);
      sum += term;
    }
    return 1 - 2 * Math.sqrt(x / Math.PI) * Math.exp(-x) * sum;
  }
  const fraction = continuedFraction(x + 0.5, (k) => [-k * (k - 0.5), x + 2 * k + 0.5]);
  return (Math.exp(-x) * Math.sqrt(x / Math.PI)) / fraction;
}

/** The density of Student's t at t, or of a standard normal number. */
function density(t: number, degreesOfFreedom: number): number {
  if (degreesOfFreedom === Number.POSITIVE_INFINITY) return Math.exp(-0.5 * t * t) / Math.sqrt(2 * Math.PI);
  const half = degreesOfFreedom / 2;
  const power = -(half + 0.5) * Math.log1p((t * t) / degreesOfFreedom);
  return Math.exp(logGammaStep(half) - 0.5 * Math.log(Math.PI * degreesOfFreedom) + power);
}

/**
 * The t that Student's t stays within with that probability, on both sides of 0; with infinitely many degrees of freedom, the normal
 * one. 1.96 for 0.95 and infinitely many.
 */
export function quantile(level: number, degreesOfFreedom = Number.POSITIVE_INFINITY): number {
  const outside = 1 - level;
  let [low, high] = [0, 1];
  while (twoSided(high, degreesOfFreedom) > outside && high < 1e300) [low, high] = [high, 4 * high];
  // Newton's method for the logarithm of the probability over that of t, where both tails are almost straight.
  let t = Math.sqrt((low || high / 4) * high);
  for (let i = 0; i < 200; i++) {
    const tail = twoSided(t, degreesOfFreedom);
    if (tail > outside) low = t;
    else high = t;
    const slope = (2 * density(t, degreesOfFreedom) * t) / tail;
    let next = t * Math.exp(Math.log(tail / outside) / slope);
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    if (Math.abs(next - t) <= 2 * EPSILON * t) return next;
    t = next;
  }
  return t;
}
