// Solves.
import type { Solution as SolutionHandle } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, batchOf, type Dtype, timesOf } from "../checks/arrays.js";
import { frozen } from "../checks/frozen.js";
import type { AllReduce } from "../engine/all-reduce.js";
import { callWithProgress, errorFromRust, refuseReentry, release } from "../engine/call.js";
import { type Field, type FieldNames, type NamesOfField, useField, wasmField } from "../fields/field.js";
import type { Lists } from "./changes.js";
import { type IndependentSolution, isIndependent, solveIndependent } from "./independent.js";
import { forCrate, type Independent, type OdeintOptions, readOptions, withoutIndependent } from "./options.js";
import type { Solution } from "./results.js";
import { solveStats } from "./stats.js";

/**
 * Solves dx/dt = f(t, x) from `y0` `[batch, state]` at `times[0]`. The times are finite and in ascending or descending order;
 * where one is repeated, so is the state.
 *
 * @param field - f, with its parameters as they are now.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`; the batch size is that of its length.
 * @param times - Where the solution is wanted, t0 first; or a list for each trajectory.
 *   A float32 field sees them rounded to float32: measure time from a near origin, or use float64.
 * @returns The states at all times, t0 included; with events, steps and statistics of each trajectory if they are solved independently.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, `DISPOSED` if the field was, or `REENTRANT`, before any work starts;
 * `MAX_STEPS`, `STEP_UNDERFLOW`, `MAX_EVENTS`, `NON_FINITE` if the solve fails, with its `t`; `OUT_OF_MEMORY`; what a custom field throws.
 */
export function odeint<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions<A, N> & Independent<A, N>,
): IndependentSolution<D>;
export function odeint<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  options?: OdeintOptions<A, N>,
): IndependentSolution<D>;
export function odeint<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(field: F & Field<D, A>, y0: ArrayOf<D>, times: Lists, options?: OdeintOptions<A, N>): Solution<D>;
export function odeint<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: OdeintOptions = {},
): Solution<D> {
  const read = readOptions(options);
  if (isIndependent(read, times)) return solveIndependent(field, y0, times, read);
  return solve(field, y0, times as ArrayLike<number>, read);
}

/** As `odeint`, by options that were read; for a part of a batch, with the sums that its steps are agreed on by. */
export function solve<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  options: OdeintOptions,
  allReduce?: AllReduce,
): Solution<D> {
  const { partial, arguments: given, progress, ...settings } = withoutIndependent(options, "this solve");
  const ends = timesOf(times);
  const { engine } = useField(field);
  refuseReentry(engine, "odeint");
  const { dtype, stateSize } = field;
  const start = engine.steady(arrayOf("y0", y0, dtype));
  const batch = batchOf("y0", start, stateSize);
  const packed = wasmField(field).packArguments(given, batch);
  // Whoever gives the arguments may have disposed of the field.
  const { rust } = useField(field);
  let solved: SolutionHandle | undefined;
  try {
    const body = () => rust.odeint(start, batch, ends, forCrate(settings), packed, allReduce);
    solved = callWithProgress(engine, progress, body, (result) => release(engine, result));
    const made = solved;
    const solution = (): Solution<D> => {
      const reached = made.reached;
      const y = engine.read(dtype, made.y, reached * batch * stateSize);
      return frozen({ y, shape: [reached, batch, stateSize], stats: solveStats(made) });
    };
    const failure = made.error;
    if (failure === undefined) return solution();
    const error = errorFromRust(failure);
    if (partial) {
      const lastState = engine.read(dtype, solved.lastState, batch * stateSize);
      error.partial = { ...solution(), lastState };
    }
    throw error;
  } finally {
    release(engine, solved);
  }
}
