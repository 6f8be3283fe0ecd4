import type { ArrayOf, Dtype } from "../checks/arrays.js";

/** Bytes by purpose at the moment when their total was greatest, so that they add up to it. */
export interface Bytes {
  /** The sum of the others. */
  readonly total: number;
  /** Parameters, and copies of them packed for the kernels. */
  readonly network: number;
  /** The gradient of the parameters, its carry, and the sum over one step. */
  readonly gradient: number;
  /** Step states kept over the solve. */
  readonly checkpoints: number;
  /** (t, h) of every step, 16 bytes each, and the step of every output. */
  readonly records: number;
  /** Stage states and slopes of one step. */
  readonly stages: number;
  /** Activations kept for the reverse of the network. */
  readonly tape: number;
  /** The solution at the output times. */
  readonly output: number;
  /** ∂L/∂y at the output times. */
  readonly cotangent: number;
  /** Running sums with their carries, and scratch of the kernels. */
  readonly workspace: number;
}

/** How a solve went. */
export interface SolveStats {
  /** Steps taken. */
  readonly accepted: number;
  /** Steps tried, found too inexact, and tried again shorter; 0 with fixed steps. */
  readonly rejected: number;
  /** Evaluations of the vector field. */
  readonly evaluations: number;
  /** Size of the first accepted step, signed as the times run. */
  readonly firstStep: number;
  /** Size of the last one. */
  readonly lastStep: number;
  /** The relative tolerance that was used. */
  readonly rtol: number;
  /** Whether it was raised to the least that means anything in float32, 2 ε. */
  readonly rtolClamped: boolean;
  /** Memory at its peak, by purpose. */
  readonly peakBytes: Bytes;
  /** In a pool: how many workers have shared the batch; `peakBytes` is their sum. */
  readonly workers?: number;
}

/** A solution at the output times. */
export interface Solution<D extends Dtype = Dtype> {
  /** Row-major `[times, batch, state]`. */
  readonly y: ArrayOf<D>;
  /** Of y. */
  readonly shape: readonly [times: number, batch: number, state: number];
  /** How the solve went. */
  readonly stats: SolveStats;
}

/** What the solve has retained for its gradients. */
export interface Retention {
  /** Steps with all their tapes. */
  readonly tapes: number;
  /** Steps with their stage states. */
  readonly stages: number;
  /** Steps with x_n alone. */
  readonly states: number;
  /** Or room for so many states and carries, where there was none for a state a step: the others are computed again. */
  readonly checkpoints: number;
  /** Whether a step of which only x_n is retained is taped as a whole while it is transposed. */
  readonly stepTapes: boolean;
}

/** What a gradient took, the solve not included. */
export interface GradientStats {
  /** Evaluations of the vector field on the way back. */
  readonly evaluations: number;
  /** Evaluations of its transpose. */
  readonly vjps: number;
  /** Steps of the backward integration; only the continuous adjoint has any. */
  readonly backwardSteps: number;
  /** What was kept for it. */
  readonly retention: Retention;
  /** Peak of the solve and its gradients together. */
  readonly peakBytes: Bytes;
  /** In a pool: how many workers have shared the batch; `peakBytes` is their sum, the rest that of one. */
  readonly workers?: number;
}

/** The gradient of a loss. */
export interface Gradient<D extends Dtype = Dtype> {
  /** ∂L/∂y0, `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** ∂L/∂θ, laid out as the field's parameters. */
  readonly parameters: ArrayOf<D>;
  /**
   * ∂L/∂times: how the loss changes as the times move and the steps with them, sizes that an error has chosen staying as
   * they are. That of a time that repeats the one before is the limit of a short interval, ⟨∂L/∂y, f⟩. Undefined where a custom
   * field does not tell its derivative with respect to time, or `timeGradients` is false. For `adjoint`, the textbook's.
   */
  readonly times: Float64Array | undefined;
  /** What it took. */
  readonly stats: GradientStats;
}

/** The transpose of a solve; it may be called again and again, and holds memory until disposed. */
export interface Pullback<D extends Dtype = Dtype> {
  /** The gradient, for ∂L/∂y `[times, batch, state]`, at the parameters that the solve was made with. */
  (cotangent: ArrayOf<D>): Gradient<D>;
  /** Frees what the gradient would need; harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** A solve with its transpose. */
export interface Vjp<D extends Dtype = Dtype> {
  /** As `odeint` gives it. */
  readonly solution: Solution<D>;
  /** From ∂L/∂y to the gradient. */
  readonly pullback: Pullback<D>;
  /** Frees what the gradient would need; harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** What a loss gives for y `[times, batch, state]`. */
export interface LossAndCotangent<D extends Dtype> {
  /** L. */
  readonly value: number;
  /** ∂L/∂y, shaped as y. */
  readonly cotangent: ArrayOf<D>;
}
