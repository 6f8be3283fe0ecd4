// How measurements y scatter around predictions f, and the likelihood of the parameters that follows.
import { type Coroutine, mapped } from "./coroutine.js";
import type { Evaluation } from "./levenberg-marquardt.js";

/**
 * How measurements y scatter around predictions f.
 *
 * - `additive`: y = f + e, with the same standard deviation everywhere: least squares.
 * - `proportional`: the standard deviation is b f.
 * - `combined`: the variance is a² + b² f².
 * - `lognormal`: ln y = ln f + e: least squares of logarithms.
 *
 * a and b are estimated along with the other parameters, by maximum likelihood.
 */
export type ErrorModelName = "additive" | "proportional" | "combined" | "lognormal";

/** Measurements with their predictions. */
export interface DataWithPredictions {
  /** y, finite. */
  readonly y: Float64Array;
  /** Positive: variances are divided by them. Default 1. */
  readonly weights?: Float64Array | undefined;
  /** f. */
  readonly f: Float64Array;
  /** ∂f/∂p, `[measurements, parameters]`, row-major. */
  slopes(): Coroutine<Float64Array | undefined>;
}

/** An error model. */
export interface ErrorModel {
  /** The names of its own parameters, whose logarithms follow those of the prediction. */
  readonly names: readonly ("a" | "b")[];
  /** Whether y and f have to be positive. */
  readonly positive: boolean;
  /** The cost whose minimum is the greatest likelihood; undefined where f is not positive but has to be. */
  evaluate(data: DataWithPredictions, logs: ArrayLike<number>): Evaluation | undefined;
  /** The differences that a plot of residuals shows: f − y, or ln f − ln y. */
  differences(data: DataWithPredictions): Float64Array;
  /** ln L at a cost; where it leaves the standard deviation of the noise open, with the one given, or that which maximises it. */
  logLikelihood(data: DataWithPredictions, cost: number, noise?: number): number;
  /** Logarithms to start from, by the residuals of a prediction; minus infinity where it meets the data. */
  start(data: DataWithPredictions): number[];
}

const root = (weights: Float64Array | undefined, i: number) => Math.sqrt(weights?.[i] ?? 1);

/** ln L of n normal residuals whose squares add up to `squares`, with a standard deviation, or with that which maximises it. */
export function logDensity(n: number, squares: number, noise?: number): number {
  if (noise === undefined) return -0.5 * n * (Math.log((2 * Math.PI * squares) / n) + 1);
  return -0.5 * (n * Math.log(2 * Math.PI * noise * noise) + squares / (noise * noise));
}

/** Least squares of some function g of y and f. */
function leastSquares(
  positive: boolean,
  g: (value: number) => number,
  slope: (value: number) => number,
  logSlope: (y: number) => number,
): ErrorModel {
  const differences = ({ y, f }: DataWithPredictions) => f.map((value, i) => g(value) - g(y[i] as number));
  return {
    names: [],
    positive,
    differences,
    evaluate(data) {
      const { f, weights } = data;
      if (positive && f.some((value) => !(value > 0))) return undefined;
      const residuals = differences(data).map((r, i) => r * root(weights, i));
      let cost = 0;
      for (const r of residuals) cost += 0.5 * r * r;
      const factor = (value: number, i: number) => root(weights, i) * slope(value);
      return { cost, residuals, jacobian: () => mapped(data.slopes(), (slopes) => scaled(slopes, f, factor)) };
    },
    logLikelihood({ y, weights }, cost, noise) {
      let sum = logDensity(y.length, 2 * cost, noise);
      for (const [i, value] of y.entries()) sum += 0.5 * Math.log(weights?.[i] ?? 1) + logSlope(value);
      return sum;
    },
    start: () => [],
  };
}

/** Rows of slopes, each multiplied by its own factor. */
function scaled(slopes: Float64Array | undefined, f: Float64Array, factor: (f: number, row: number) => number) {
  const columns = (slopes?.length ?? 0) / f.length;
  const own = slopes?.slice();
  for (const [row, by] of f.map(factor).entries())
    for (let k = row * columns; own && k < (row + 1) * columns; k++) own[k] = (own[k] as number) * by;
  return own;
}

/**
 * Maximum likelihood with a variance V that depends on f and on its own parameters, V = Σ of parts / weight: the cost is
 * Σ (r² + ln V)/2 with r = (y − f)/√V. With rows A = [f_p/√V; V_p/(√2 V)] and residuals ρ = [−r; (1 − r²)/√2], its gradient is Aᵀρ
 * and the Fisher information AᵀA.
 */
function likelihood(
  positive: boolean,
  names: readonly ("a" | "b")[],
  start: (scatter: { absolute: number; relative: number }) => number[],
): ErrorModel {
  /**
   * The parts of V, times the weight, which are the derivatives with respect to the logarithms, halved; and half that with respect to f.
   */
  const parts = (f: number, sds: Readonly<Record<"a" | "b", number>>) => {
    const [constant, factor] = [sds.a ** 2, sds.b ** 2];
    return { a: constant, b: factor * f * f, slope: factor * f };
  };
  return {
    names,
    positive,
    differences: ({ y, f }) => f.map((value, i) => value - (y[i] as number)),
    evaluate({ y, f, weights, slopes }, logs) {
      if (positive && f.some((value) => !(value > 0))) return undefined;
      const n = f.length;
      const sds = { a: 0, b: 0 };
      for (const [k, name] of names.entries()) sds[name] = Math.exp(logs[k] as number);
      const residuals = new Float64Array(2 * n);
      const roots = new Float64Array(n);
      let cost = 0;
      for (const [i, value] of f.entries()) {
        const { a, b } = parts(value, sds);
        const variance = (a + b) / (weights?.[i] ?? 1);
        const r = ((y[i] as number) - value) / Math.sqrt(variance);
        roots[i] = Math.sqrt(variance);
        residuals[i] = -r;
        residuals[n + i] = (1 - r * r) * Math.SQRT1_2;
        cost += 0.5 * (r * r + Math.log(variance));
      }
      const weighted = (given: Float64Array | undefined) => {
        if (!given) return undefined;
        const columns = given.length / n;
        const width = columns + names.length;
        const rows = new Float64Array(2 * n * width);
        for (const [i, value] of f.entries()) {
          const { a, b, slope } = parts(value, sds);
          const total = a + b;
          for (let j = 0; j < columns; j++) {
            const given_ij = given[i * columns + j] as number;
            rows[i * width + j] = given_ij / (roots[i] as number);
            rows[(n + i) * width + j] = (Math.SQRT2 * slope * given_ij) / total;
          }
          for (const [k, name] of names.entries()) {
            rows[(n + i) * width + columns + k] = (Math.SQRT2 * { a, b }[name]) / total;
          }
        }
        return rows;
      };
      return { cost, residuals, jacobian: () => mapped(slopes(), weighted) };
    },
    logLikelihood: ({ y }, cost) => -cost - 0.5 * y.length * Math.log(2 * Math.PI),
    start({ y, f, weights }) {
      let [squares, relative] = [0, 0];
      for (const [i, value] of f.entries()) {
        const difference = (((y[i] as number) - value) * root(weights, i)) ** 2;
        squares += difference;
        relative += difference / Math.max(value ** 2, (y[i] as number) ** 2, Number.MIN_VALUE);
      }
      return start({ absolute: Math.sqrt(squares / f.length), relative: Math.sqrt(relative / f.length) });
    },
  };
}

/** The names of the error models. */
export const ERRORS = [
  "additive",
  "proportional",
  "combined",
  "lognormal",
] as const satisfies readonly ErrorModelName[];

/** The error models by name. */
export const ERROR_MODELS: Readonly<Record<ErrorModelName, ErrorModel>> = {
  additive: /* @__PURE__ */ leastSquares(
    false,
    (value) => value,
    () => 1,
    () => 0,
  ),
  proportional: /* @__PURE__ */ likelihood(true, ["b"], ({ relative }) => [Math.log(relative)]),
  combined: /* @__PURE__ */ likelihood(false, ["a", "b"], ({ absolute, relative }) => [
    Math.log(absolute / 2),
    Math.log(relative / 2),
  ]),
  lognormal: /* @__PURE__ */ leastSquares(
    true,
    Math.log,
    (value) => 1 / value,
    (y) => -Math.log(y),
  ),
};
