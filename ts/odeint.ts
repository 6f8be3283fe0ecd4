import type { Solved } from "../wasm/bindings.js";
import type { AllReduce } from "./all-reduce.js";
import { type Field, refuseInside, useField } from "./fields.js";
import { frozen } from "./frozen.js";
import { type ArrayOf, arrayOf, batchOf, copyOut, type Dtype, steady, timesOf } from "./memory.js";
import { type GradientOptions, passedOptions, readOptions } from "./options.js";
import { call, fromRust, release } from "./wasm.js";

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

/** One object may serve solves and gradients: `gradient` and `adjoint` change nothing in a solve, nor `partial` in a gradient. */
export interface OdeintOptions extends GradientOptions {
  /**
   * Whether the error of a solve that fails on the way has the solution so far as `partial`: a `Solution` of the times that
   * were reached, and `lastState`, the last good state `[batch, state]` at the error's `t`.
   */
  partial?: boolean;
}

/**
 * Solves dx/dt = f(t, x) from `y0` `[batch, state]` at `times[0]`. The times are finite and in ascending or descending order;
 * where one is repeated, so is the state.
 *
 * @param field - f, with its parameters as they are now.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`; the batch size is that of its length.
 * @param times - Where the solution is wanted, t0 first.
 * @returns The states at all times, t0 included.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE`, `DISPOSED`, `REENTRANT` before anything is computed; `NON_FINITE`,
 * `STEP_UNDERFLOW`, `MAX_STEPS` with the place where the solve stood; `OUT_OF_MEMORY`; what a custom field throws.
 */
export function odeint<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  options: OdeintOptions = {},
): Solution<D> {
  return solve(field, y0, times, options);
}

/** As `odeint`; for a part of a batch, with the sums that its steps are agreed on by. */
export function solve<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  options: OdeintOptions,
  allReduce?: AllReduce,
): Solution<D> {
  const { partial, ...settings } = readOptions(options);
  const ends = timesOf(times);
  const { rust, wasm } = useField(field);
  refuseInside(wasm, "odeint");
  const { dtype, stateSize } = field;
  const start = steady(wasm, arrayOf("y0", y0, dtype));
  const batch = batchOf("y0", start, stateSize);
  let solved: Solved | undefined;
  try {
    solved = call(wasm, () => rust.odeint(start, batch, ends, passedOptions(settings), allReduce));
    const { y, reached, stats } = solved;
    const solution = (): Solution<D> =>
      frozen({
        y: copyOut(wasm, dtype, y, reached * batch * stateSize),
        shape: [reached, batch, stateSize],
        stats: stats as SolveStats,
      });
    if (solved.error === undefined) return solution();
    const error = fromRust(solved.error);
    if (partial) {
      const lastState = copyOut(wasm, dtype, solved.lastState, batch * stateSize);
      error.partial = { ...solution(), lastState };
    }
    throw error;
  } finally {
    release(wasm, solved);
  }
}
