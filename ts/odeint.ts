import type { SymplecticAdjointError } from "./errors.js";
import { type Field, refuseInside, useField } from "./fields.js";
import { type ArrayOf, batchOf, checkArray, copyOut, type Dtype, timesOf } from "./memory.js";
import { checkNames, type GradientOptions, gradientNames, solveOptions } from "./options.js";
import { call, fromRust } from "./wasm.js";

/** Bytes by purpose at the moment when their total was greatest, so that they add up to it. */
export interface Bytes {
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
  readonly output: number;
  readonly cotangent: number;
  readonly workspace: number;
}

/** How a solve went. */
export interface SolveStats {
  readonly accepted: number;
  readonly rejected: number;
  /** Evaluations of the vector field. */
  readonly evaluations: number;
  /** Sizes of the first and last accepted steps, signed as the times run. */
  readonly firstStep: number;
  readonly lastStep: number;
  /** The relative tolerance that was used, and whether it was raised to what float32 can hold. */
  readonly rtol: number;
  readonly rtolClamped: boolean;
  readonly peakBytes: Bytes;
}

/** A solution at the output times. */
export interface Solution<D extends Dtype = Dtype> {
  /** Row-major `[times, batch, state]`. */
  readonly y: ArrayOf<D>;
  readonly shape: readonly [times: number, batch: number, state: number];
  readonly stats: SolveStats;
}

/** One object may serve solves and gradients: `gradient` and `adjoint` change nothing here. */
export interface OdeintOptions extends GradientOptions {
  /** Whether the error of a solve that fails on the way has the solution so far as `partial`, a `Solution`. */
  partial?: boolean;
}

/**
 * Solves dx/dt = f(t, x) from `y0` `[batch, state]` at `times[0]`, for two or more finite times, strictly increasing or
 * strictly decreasing.
 *
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE`, `DISPOSED`, `REENTRANT` before anything is computed; `NON_FINITE`,
 * `STEP_UNDERFLOW`, `MAX_STEPS` with the place where the solve stood; `OUT_OF_MEMORY`; what a custom field throws.
 */
export function odeint<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  options: OdeintOptions = {},
): Solution<D> {
  const { rust, wasm } = useField(field);
  refuseInside(wasm, "odeint");
  checkNames(options, [...gradientNames, "partial"]);
  checkArray("y0", y0, field.dtype);
  const batch = batchOf("y0", y0, field.stateSize);
  const ends = timesOf(times);
  const settings = solveOptions(wasm, options);
  const solved = call(wasm, () => {
    try {
      return rust.odeint(y0, batch, ends, settings);
    } finally {
      settings.free();
    }
  });
  const { reached } = solved;
  const error = solved.error === undefined ? undefined : fromRust(solved.error);
  const shape = [reached, batch, field.stateSize] as const;
  const solution = (): Solution<D> => ({
    y: copyOut(wasm, field.dtype, solved.y, reached * batch * field.stateSize),
    shape,
    stats: solved.stats as SolveStats,
  });
  try {
    if (!error) return solution();
    if (options.partial) (error as SymplecticAdjointError).partial = solution();
    throw error;
  } finally {
    solved.free();
  }
}
