// A model on the scales of its parameters.
import { firstNotFinite } from "../checks/arrays.js";
import { type Coroutine, mapped } from "./coroutine.js";
import { type IterationProgress, type Minimum, minimize } from "./levenberg-marquardt.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import type { ModelParameter } from "./parameters.js";
import { type Prior, withPriors } from "./priors.js";
import type { ReadSettings } from "./settings.js";
import { type Transform, transformOf } from "./transforms.js";

/** Why nothing can be done where the residuals can be computed. */
export const NO_JACOBIAN = "the Jacobian is not finite";

/** A model as the minimiser sees it: by those of its parameters that are estimated, each on the scale of its transform. */
export class TransformedModel {
  readonly estimated: readonly ModelParameter[];
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  /** Why the last evaluation failed. */
  failure = "";
  evaluations = 0;
  jacobians = 0;
  /** The variance of the cost's residuals, which decides how much priors count. A likelihood includes it. */
  noise = 1;
  /** Those of the estimated parameters that have a prior, by their index. */
  readonly known: readonly number[];
  readonly #scales: Float64Array | undefined;
  readonly #transforms: readonly Transform[];

  constructor(
    readonly model: FitModel,
    readonly settings: ReadSettings,
  ) {
    this.estimated = model.parameters.filter(({ fixed }) => !fixed);
    this.known = this.estimated.flatMap(({ prior }, i) => (prior ? [i] : []));
    this.#transforms = this.estimated.map(({ transform, lower, upper }) => transformOf(transform, lower, upper));
    const bounds = (of: (parameter: ModelParameter) => number) =>
      Float64Array.from(this.estimated, (parameter, i) => {
        // The logarithm of what is not positive is no number, and no bound.
        const value = this.#transform(i).toInternal(of(parameter));
        return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
      });
    this.lower = bounds(({ lower }) => lower);
    this.upper = bounds(({ upper }) => upper);
    if (this.estimated.some(({ scale }) => scale !== undefined)) {
      this.#scales = Float64Array.from(this.ranges, ({ spread }) => spread);
    }
  }

  /** Where starts are drawn from. */
  get ranges() {
    return this.estimated.map(({ start, scale, transform }, i) => {
      const at = this.#transform(i).toInternal(start);
      const slope = this.#transform(i).slope(at);
      // Without a scale, a value may be wrong by itself, a logarithm by 1.
      const spread = scale !== undefined ? scale / slope : transform === "identity" ? Math.abs(start) || 1 : 1;
      return { start: at, lower: this.lower[i] as number, upper: this.upper[i] as number, spread };
    });
  }

  #transform(i: number) {
    return this.#transforms[i] as Transform;
  }

  /** The value of one parameter. */
  natural(i: number, x: number): number {
    const { lower, upper } = this.estimated[i] as ModelParameter;
    // A value at a bound on its scale is at its bound, regardless of rounding.
    if (x === this.lower[i] && lower > Number.NEGATIVE_INFINITY) return lower;
    return x === this.upper[i] && upper < Number.POSITIVE_INFINITY ? upper : this.#transform(i).toNatural(x);
  }

  slope(i: number, x: number): number {
    return this.#transform(i).slope(x);
  }

  /** The values of all parameters, fixed ones too. */
  valuesAt(x: Float64Array): Float64Array {
    let i = 0;
    return Float64Array.from(this.model.parameters, ({ fixed, start }) => {
      if (fixed) return start;
      const value = this.natural(i, x[i] as number);
      i++;
      return value;
    });
  }

  *evaluate(x: Float64Array): Coroutine<ModelEvaluation | undefined> {
    this.settings.signal?.throwIfAborted();
    const values = this.valuesAt(x);
    const evaluation = values.every(Number.isFinite) ? yield* this.#evaluate(x, values) : "a parameter is not finite";
    if (typeof evaluation === "string") {
      this.failure = evaluation;
      return undefined;
    }
    if (!Number.isFinite(evaluation.cost)) this.failure = "the cost is not finite";
    const slopes = x.map((value, i) => this.slope(i, value));
    const scaled = (natural: Float64Array | undefined) => {
      if (!natural || firstNotFinite(natural) >= 0) this.failure = NO_JACOBIAN;
      const own = natural?.slice();
      for (let from = 0; own && from < own.length; from += slopes.length)
        for (let j = 0; j < slopes.length; j++) own[from + j] = (own[from + j] as number) * (slopes[j] as number);
      return own;
    };
    return { ...evaluation, jacobian: () => mapped(evaluation.jacobian(), scaled) };
  }

  *#evaluate(x: Float64Array, values: Float64Array): Coroutine<ModelEvaluation | string> {
    const evaluation = yield* this.model.evaluate(values);
    if (typeof evaluation === "string" || this.known.length === 0) return evaluation;
    const known = this.known.map((index) => {
      const { name, prior } = this.estimated[index] as ModelParameter;
      return { name, prior: prior as Prior, index, value: this.natural(index, x[index] as number) };
    });
    return withPriors(evaluation, known, this.noise);
  }

  /** Minimises within bounds, in at most `most` iterations, and no more than the settings allow. */
  *minimize(
    x: Float64Array,
    lower: Float64Array,
    upper: Float64Array,
    onIteration?: (progress: IterationProgress<ModelEvaluation>) => unknown,
    most = Number.POSITIVE_INFINITY,
  ): Coroutine<Minimum<ModelEvaluation> | undefined> {
    const { maxIterations, costTolerance, stepTolerance, gradientTolerance } = this.settings;
    const found = yield* minimize(this, x, {
      lower,
      upper,
      scale: this.#scales,
      maxIterations: Math.min(maxIterations, most),
      costTolerance,
      stepTolerance,
      gradientTolerance,
      residualError: this.model.residualError,
      residualTolerance: this.model.residualTolerance,
      onIteration,
    });
    this.evaluations += found?.evaluations ?? 1;
    this.jacobians += found?.jacobians ?? 0;
    return found;
  }
}
