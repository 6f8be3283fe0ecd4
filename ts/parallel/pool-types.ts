// The public types of pools.
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import type { Field, FieldNames, NamesOfField } from "../fields/field.js";
import type { Lists } from "../solve/changes.js";
import type { IndependentLoss, IndependentValueAndGradient } from "../solve/gradient.js";
import type { EventCotangents, IndependentGradient, IndependentSolution } from "../solve/independent.js";
import type { IndependentSolutionJvp } from "../solve/jvp.js";
import type { GradientOptions, Independent, OdeintOptions } from "../solve/options.js";
import type { Gradient, LossAndCotangent, Solution, ValueAndGradient } from "../solve/results.js";
import type { Tangents } from "../solve/tangents.js";

/** Options of `parallel`: how many workers, and where their source is. */
export interface ParallelOptions {
  /** The number of workers, 1 to 1024; default: the number of cores. */
  workers?: number | undefined;
  /**
   * The address of the worker's source, for pages whose Content-Security-Policy forbids workers from `blob:`; the package has it as
   * `symplectic-adjoint/worker.js`.
   */
  workerUrl?: string | { readonly href: string } | undefined;
}

/** The transpose of a solve in a pool. */
export interface PoolPullback<D extends Dtype = Dtype, A extends string = string> {
  /** Returns a promise of the gradient, for ∂L/∂y `[times, batch, state]`, at the parameters that the solve was made with. */
  (cotangent: ArrayOf<D>): Promise<Gradient<D, A>>;
  /** Frees the memory that the gradient would need in the workers; a second call does nothing. */
  dispose(): void;
}

/** The transpose, in a pool, of a solve whose trajectories take their own steps. */
export interface IndependentPoolVjp<D extends Dtype = Dtype, A extends string = string> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`; with events and statistics of each trajectory. */
  readonly solution: IndependentSolution<D>;
  /**
   * Returns a promise of the gradient, given ∂L/∂y `[times, batch, state]`, and the derivatives with respect to events if the loss
   * depends on them.
   */
  readonly pullback: {
    (cotangent: ArrayOf<D>, events?: EventCotangents<D>): Promise<IndependentGradient<D, A>>;
    /** Frees the memory that the gradient would need in the workers; a second call does nothing. */
    dispose(): void;
  };
  /** Frees the memory that the gradient would need in the workers; a second call does nothing. */
  dispose(): void;
}

/** A solve in a pool, with its transpose. */
export interface PoolVjp<D extends Dtype = Dtype, A extends string = string> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: Solution<D>;
  /** Returns a promise of the gradient, given ∂L/∂y `[times, batch, state]`. */
  readonly pullback: PoolPullback<D, A>;
  /** Frees the memory that the gradient would need in the workers; a second call does nothing. */
  dispose(): void;
}

/**
 * Workers that share batches. The methods do the same as the functions of the same names, and return promises; the calling thread neither
 * waits nor computes. The steps are bitwise those of one core. If trajectories take their steps together, gradients are equal up to the
 * order of summation over samples, and the same in every run with the same number of workers; if each takes its own (`batching:
 * "independent"`), they are bitwise the same with any number of workers, or none.
 */
export interface Pool {
  /** The number of workers in the pool. */
  readonly workers: number;
  /**
   * Whether workers can agree on the steps of an adaptive solve. They need SharedArrayBuffer, which a page has if it is
   * cross-origin isolated; without it, only solves with fixed steps are shared, and the others run on one worker.
   */
  readonly shared: boolean;
  /** Solves as the function `odeint` does, without the option `partial`, and returns a promise of the solution. */
  odeint<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions<A, N> & Independent<A, N>,
  ): Promise<IndependentSolution<D>>;
  /** Solves as the function `odeint` does, without the option `partial`, and returns a promise of the solution. */
  odeint<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: readonly ArrayLike<number>[],
    options?: GradientOptions<A, N>,
  ): Promise<IndependentSolution<D>>;
  /** Solves as the function `odeint` does, without the option `partial`, and returns a promise of the solution. */
  odeint<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    options?: GradientOptions<A, N>,
  ): Promise<Solution<D>>;
  /** Solves as the function `vjp` does; the result holds memory in the workers until you dispose of it. */
  vjp<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions<A, N> & Independent<A, N>,
  ): Promise<IndependentPoolVjp<D, A>>;
  /** Solves as the function `vjp` does; the result holds memory in the workers until you dispose of it. */
  vjp<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: readonly ArrayLike<number>[],
    options?: GradientOptions<A, N>,
  ): Promise<IndependentPoolVjp<D, A>>;
  /** Solves as the function `vjp` does; the result holds memory in the workers until you dispose of it. */
  vjp<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    options?: GradientOptions<A, N>,
  ): Promise<PoolVjp<D, A>>;
  /**
   * Computes derivatives along directions as the function `jvp` does, for a batch whose trajectories
   * take their own steps (`batching: "independent"`) or fixed ones. Steps that all trajectories choose together throw `OPTION`.
   */
  jvp<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    tangents: Tangents<D, A>,
    options: OdeintOptions<A, N> & Independent<A, N>,
  ): Promise<IndependentSolutionJvp<D>>;
  /**
   * Computes derivatives along directions as the function `jvp` does, for a batch whose trajectories
   * take their own steps (`batching: "independent"`) or fixed ones. Steps that all trajectories choose together throw `OPTION`.
   */
  jvp<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    tangents: Tangents<D, A>,
    options?: OdeintOptions<A, N>,
  ): Promise<IndependentSolutionJvp<D>>;
  /**
   * Computes a loss and its gradient as the function `valueAndGrad` does; the loss runs on the calling thread and may
   * return a promise.
   */
  valueAndGrad<
    D extends Dtype,
    A extends string,
    F extends Field = Field<D, A>,
    N extends FieldNames = NamesOfField<F>,
  >(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    loss: IndependentPoolLoss<D>,
    options: GradientOptions<A, N> & Independent<A, N>,
  ): Promise<IndependentValueAndGradient<D, A>>;
  /**
   * Computes a loss and its gradient as the function `valueAndGrad` does; the loss runs on the calling thread and may
   * return a promise.
   */
  valueAndGrad<
    D extends Dtype,
    A extends string,
    F extends Field = Field<D, A>,
    N extends FieldNames = NamesOfField<F>,
  >(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: readonly ArrayLike<number>[],
    loss: IndependentPoolLoss<D>,
    options?: GradientOptions<A, N>,
  ): Promise<IndependentValueAndGradient<D, A>>;
  /**
   * Computes a loss and its gradient as the function `valueAndGrad` does; the loss runs on the calling thread and may
   * return a promise.
   */
  valueAndGrad<
    D extends Dtype,
    A extends string,
    F extends Field = Field<D, A>,
    N extends FieldNames = NamesOfField<F>,
  >(
    field: F & Field<D, A>,
    y0: ArrayOf<D>,
    times: Lists,
    loss: (y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D> | Promise<LossAndCotangent<D>>,
    options?: GradientOptions<A, N>,
  ): Promise<ValueAndGradient<D, A>>;
  /** Ends the workers and rejects pending calls with `DISPOSED`; a second call does nothing. */
  close(): void;
  /** The same as `close`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

/** A loss of an independent solve in a pool: it may depend on the events too, and return a promise. */
export type IndependentPoolLoss<D extends Dtype> = (
  ...inputs: Parameters<IndependentLoss<D>>
) => ReturnType<IndependentLoss<D>> | Promise<ReturnType<IndependentLoss<D>>>;
