// Losses that grow more slowly than squares, so that outliers pull less.
import { mapped } from "./coroutine.js";
import type { Evaluation } from "./levenberg-marquardt.js";

/**
 * How much a residual r counts, by z = (r/C)² with the scale C: `linear` z, which is least squares; `softL1` 2(√(1 + z) − 1), a
 * smooth absolute value; `huber` z up to 1 and 2√z − 1 beyond; `cauchy` ln(1 + z), which all but ignores outliers.
 */
export type LossName = "linear" | "softL1" | "huber" | "cauchy";

export const LOSSES = ["linear", "softL1", "huber", "cauchy"] as const satisfies readonly LossName[];

/** ρ(z) and its first two derivatives, for ρ(0) = 0 and ρ′(0) = 1. */
type Rho = (z: number) => readonly [rho: number, first: number, second: number];

const RHO: Readonly<Record<Exclude<LossName, "linear">, Rho>> = {
  softL1(z) {
    const root = Math.sqrt(1 + z);
    // Without cancellation where z is small.
    return [(2 * z) / (root + 1), 1 / root, -0.5 / root ** 3];
  },
  huber(z) {
    if (z <= 1) return [z, 1, 0];
    const root = Math.sqrt(z);
    return [2 * root - 1, 1 / root, -0.5 / root ** 3];
  },
  cauchy(z) {
    return [Math.log1p(z), 1 / (1 + z), -1 / (1 + z) ** 2];
  },
};

/**
 * The curvature ρ′ + 2zρ″ is at least this part of ρ′. SciPy takes 2e-16 of 1; then the working residuals of outliers are so large
 * that the others drown in their rounding. What this adds to the curvature costs a ten-thousandth of the rate of convergence.
 */
const LEAST_CURVATURE = 1e-4;

/** Far from the data, ψ′ may be negative for all residuals. Its mean counts as this part of that of the weights ψ/r at least. */
const LEAST_SLOPE = 0.1;

/** An evaluation whose Jacobian may have been given more curvature than the cost has. */
export interface RobustEvaluation extends Evaluation {
  /**
   * By which part each row of JᵀJ counts in the curvature of the cost itself; negative for outliers. Steps need JᵀJ, which is never
   * negative, the errors of estimates what the cost has.
   */
  readonly curvature?: Float64Array;
  /** The absolute values of the plain residuals over the scale of the loss. */
  readonly sizes?: Float64Array;
  /**
   * The variance of normal residuals that least squares would take for as informative: the mean of ψ² over that of ψ′, for the cost's
   * derivative ψ (Huber 1981).
   */
  readonly dispersion?: number;
}

/**
 * Plain residuals as working ones of the cost C²/2 Σ ρ((r/C)²), as SciPy's `least_squares` has it: their Jᵀ r is its gradient, their
 * Jᵀ J its curvature without the negative part (Triggs et al. 2000).
 */
export function robust(plain: Evaluation, loss: LossName, scale: number): RobustEvaluation {
  if (loss === "linear") return plain;
  const n = plain.residuals.length;
  const [residuals, roots, curvature, sizes] = [0, 1, 2, 3].map(() => new Float64Array(n)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  let [cost, squares, slopes, weights] = [0, 0, 0, 0];
  for (const [i, r] of plain.residuals.entries()) {
    const z = (r / scale) ** 2;
    const [rho, first, second] = RHO[loss](z);
    const exact = first + 2 * z * second;
    const root = Math.sqrt(Math.max(exact, LEAST_CURVATURE * first));
    curvature[i] = root === 0 ? 1 : exact / root ** 2;
    cost += 0.5 * scale * scale * rho;
    residuals[i] = (r * first) / root;
    roots[i] = root;
    sizes[i] = Math.abs(r) / scale;
    squares += (r * first) ** 2;
    slopes += exact;
    weights += first;
  }
  const scaled = (rows: Float64Array | undefined) => {
    const columns = (rows?.length ?? 0) / n;
    return rows?.map((slope, k) => slope * (roots[Math.floor(k / columns)] as number));
  };
  const jacobian = () => mapped(plain.jacobian(), scaled);
  return { cost, residuals, jacobian, curvature, sizes, dispersion: squares / Math.max(slopes, LEAST_SLOPE * weights) };
}
