// Minimisation problems, and their bounds.
import type { Coroutine } from "./coroutine.js";

/** A cost at some values, with residuals r and their Jacobian J such that the gradient is Jᵀ r and the curvature about Jᵀ J. */
export interface Evaluation {
  /** The cost to minimise: ‖r‖²/2, or another number with the same gradient. */
  readonly cost: number;
  /** r, which need not be the differences from the data: of a robust loss, say, they are weighted. */
  readonly residuals: Float64Array;
  /** J, `[residuals, variables]`, row-major; undefined where it cannot be computed. */
  jacobian(): Coroutine<Float64Array | undefined>;
}

/** A cost to minimise. */
export interface Problem<E extends Evaluation = Evaluation> {
  /** Undefined where nothing can be computed: a solve fails, or a number is not finite. */
  evaluate(x: Float64Array): Coroutine<E | undefined>;
}

/** The values that variables may have. */
export interface Bounds {
  /** Least values, `-Infinity` where there are none; a variable whose bounds are equal stays there. */
  readonly lower: Float64Array;
  /** Greatest values, `Infinity` where there are none. */
  readonly upper: Float64Array;
}
