import type { ArrayOf, Dtype } from "../checks/arrays.js";

/** Bytes by purpose at the moment when their total was greatest, so that they add up to it. */
export interface PeakBytes {
  /** All bytes at the peak: the sum of the other entries. */
  readonly total: number;
  /** Bytes of the field's parameters, and of copies of them packed for the kernels. */
  readonly network: number;
  /** Bytes of the gradient of the parameters, of the rounding errors that it carries along, and of the sum over one step. */
  readonly gradient: number;
  /** Bytes of the states at the beginning of steps, and of stage states, that are kept over the solve. */
  readonly checkpoints: number;
  /** Bytes that say when steps were: the time and size of each, 16 bytes, and the step of every output. */
  readonly records: number;
  /** Bytes of the stage states and slopes of one step. */
  readonly stages: number;
  /** Bytes that evaluations of the field keep for its transpose, such as activations. */
  readonly tape: number;
  /** Bytes of the solution at the output times. */
  readonly output: number;
  /** Bytes of ∂L/∂y at the output times. */
  readonly cotangent: number;
  /** Bytes of running sums with the rounding errors that they carry along, and of scratch for the kernels. */
  readonly workspace: number;
}

/** How a solve went. */
export interface SolveStats {
  /** The number of steps taken. */
  readonly accepted: number;
  /** The number of steps that were too inexact and were retried with a shorter one; 0 with fixed steps. */
  readonly rejected: number;
  /** How often the solve evaluated the vector field. */
  readonly evaluations: number;
  /** The size of the first accepted step, negative where the times run backward. */
  readonly firstStep: number;
  /** The size of the last accepted step, negative where the times run backward. */
  readonly lastStep: number;
  /** The relative tolerance that the solve used. */
  readonly rtol: number;
  /** Whether the solve raised `rtol` to the least that means anything in float32, 2 ε. */
  readonly rtolClamped: boolean;
  /** Bytes by purpose at the peak of the solve. */
  readonly peakBytes: PeakBytes;
  /** The number of workers of a pool that shared the batch; `peakBytes` is the sum over all of them. */
  readonly workers?: number;
}

/** A solution at the output times. */
export interface Solution<D extends Dtype = Dtype> {
  /** The states at the output times, row-major `[times, batch, state]`. */
  readonly y: ArrayOf<D>;
  /** The shape of y: how many times, samples of the batch, and features of the state. */
  readonly shape: readonly [times: number, batch: number, state: number];
  /** How the solve went: its steps, evaluations and memory. */
  readonly stats: SolveStats;
}

/** How much of its steps the solve retained for gradients. */
export interface Retention {
  /** The number of steps whose tapes are all kept. */
  readonly tapes: number;
  /** The number of steps whose stage states are kept. */
  readonly stages: number;
  /** The number of steps of which only the state at their beginning is kept. */
  readonly states: number;
  /** How many states are kept if there was no room for one per step: the others are computed again. 0 otherwise. */
  readonly checkpoints: number;
  /** Whether a step of which only the state is kept is taped as a whole while it is transposed. */
  readonly stepTapes: boolean;
}

/** The work of a gradient, without that of the solve. */
export interface GradientStats {
  /** How often the gradient evaluated the vector field. */
  readonly evaluations: number;
  /** How often the gradient evaluated the transpose of the vector field. */
  readonly vjps: number;
  /** The number of steps of the backward integration; 0 except for the continuous adjoint. */
  readonly backwardSteps: number;
  /** How much of its steps the solve retained for the gradient. */
  readonly retention: Retention;
  /** Bytes by purpose at the peak of the solve and its gradients together. */
  readonly peakBytes: PeakBytes;
  /** The number of workers of a pool that shared the batch; `peakBytes` is the sum over all of them, the other numbers are those of one. */
  readonly workers?: number;
}

/** The gradient of a loss. */
export interface Gradient<D extends Dtype = Dtype, A extends string = string> {
  /** ∂L/∂y0, the derivative with respect to the initial states, `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** ∂L/∂θ, of the length and the layout of `field.parameters`. */
  readonly parameters: ArrayOf<D>;
  /**
   * ∂L/∂a for each argument a of the field, by name, with a number or a vector for each trajectory, as given; empty for a field
   * without arguments.
   */
  readonly arguments: Readonly<Record<A, ArrayOf<D>>>;
  /**
   * ∂L/∂times: how the loss changes as the times move, and the steps with them. Step sizes that were chosen by their error are held fixed.
   * For a time that repeats the one before, it is the limit of a short interval, ⟨∂L/∂y, f⟩. Undefined if a custom field does not give its
   * derivative with respect to time, or `timeGradients` is false. For `adjoint`, it is the formula of the textbooks.
   */
  readonly times: Float64Array | undefined;
  /** The statistics of the gradient: evaluations, steps, memory. */
  readonly stats: GradientStats;
}

/** The transpose of a solve; it may be called again and again, and holds memory until disposed. */
export interface Pullback<D extends Dtype = Dtype, A extends string = string> {
  /** The gradient, for ∂L/∂y `[times, batch, state]`, at the parameters that the solve was made with. */
  (cotangent: ArrayOf<D>): Gradient<D, A>;
  /** Frees the memory that the gradient would need; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/** A solve with its transpose. */
export interface Vjp<D extends Dtype = Dtype, A extends string = string> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: Solution<D>;
  /** Returns the gradient, given ∂L/∂y `[times, batch, state]`. */
  readonly pullback: Pullback<D, A>;
  /** Frees the memory that the gradient would need; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/** What `valueAndGrad` returns: the value of a loss, its gradient, and the solution. */
export interface ValueAndGradient<D extends Dtype = Dtype, A extends string = string> {
  /** The value of the loss. */
  readonly value: number;
  /** The gradient of the loss: ∂L/∂y0, ∂L/∂θ and the derivatives with respect to arguments and times. */
  readonly gradient: Gradient<D, A>;
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: Solution<D>;
}

/** The result of a loss for y `[times, batch, state]`. */
export interface LossAndCotangent<D extends Dtype> {
  /** The value of the loss, a finite number. */
  readonly value: number;
  /** ∂L/∂y, the derivative of the loss, of the length and number type of y. */
  readonly cotangent: ArrayOf<D>;
}
