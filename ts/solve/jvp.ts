// Jacobian–vector products: derivatives of a solution along directions, in one solve with it.
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import { frozen } from "../checks/frozen.js";
import { callWithProgress, release } from "../engine/call.js";
import type { Field, FieldNames, NamesOfField } from "../fields/field.js";
import type { Lists } from "./changes.js";
import type { EnsembleProblem, EnsembleResult } from "./ensemble.js";
import { type EventTangents, solvedJvp } from "./ensemble-jvp.js";
import { type IndependentSolution, isIndependent } from "./independent.js";
import { forCrate, type Independent, type OdeintOptions, readOptions, withoutIndependent } from "./options.js";
import type { Solution } from "./results.js";
import { solveStats } from "./stats.js";
import { prepareJvp, solveEnsembleJvp, type Tangents } from "./tangents.js";

/** A solution with its derivatives along directions. */
export interface SolutionJvp<D extends Dtype = Dtype, S extends Solution<D> = Solution<D>> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: S;
  /**
   * ẏ, the derivative of the solution along each direction: `[directions, times, batch, state]`, row-major. Where trajectories have
   * their own times, rows after the last time of one repeat its last row, as in the solution.
   */
  readonly tangents: ArrayOf<D>;
  /** The shape of `tangents`. */
  readonly shape: readonly [directions: number, times: number, batch: number, state: number];
}

/** A solution of independent trajectories with its derivatives along directions. */
export interface IndependentSolutionJvp<D extends Dtype = Dtype> extends SolutionJvp<D, IndependentSolution<D>> {
  /**
   * The derivatives of the events along each direction, in the order of `solution.events`. That of the time is NaN if an event changes
   * nothing and its function only touches zero.
   */
  readonly events: EventTangents<D>;
}

/**
 * The Jacobian–vector product: derivatives of the solution along directions that you choose (forward mode), with adaptive step sizes held
 * fixed. Agrees with `vjp` up to rounding. Directions may be in initial states, parameters, arguments and times, and all are computed
 * in one solve. For few parameters and many outputs this is faster than gradients.
 *
 * @param field - The vector field, at its current parameters. Not a field from `custom` or `driven`.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated. Or a list of times for each trajectory.
 *   A float32 field sees them rounded to float32: measure time from a near origin, or use float64.
 * @param tangents - The directions.
 * @param given - Options of the solver, as for `odeint`; with `batching: "independent"` each trajectory takes its own steps.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, before any work starts: `OPTION` also for a field from `custom` or
 *   `driven`, and for `dense`, `saveSteps` and `onFailure: "mask"`; `MAX_STEPS`, `STEP_UNDERFLOW`, `MAX_EVENTS`, `NON_FINITE` if the solve
 *   fails, with its `t`; `EVENT_GRAZING` where an event ends a trajectory or changes the state, and its function only touches zero;
 *   `DISPOSED` if the field was; `OUT_OF_MEMORY`.
 */
export function jvp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  tangents: Tangents<D, A>,
  given: OdeintOptions<A, N> & Independent<A, N>,
): IndependentSolutionJvp<D>;
export function jvp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  tangents: Tangents<D, A>,
  given?: OdeintOptions<A, N>,
): IndependentSolutionJvp<D>;
export function jvp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  tangents: Tangents<D, A>,
  given?: OdeintOptions<A, N>,
): SolutionJvp<D>;
export function jvp<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  tangents: Tangents<D>,
  given: OdeintOptions = {},
): SolutionJvp<D> {
  return jvpFor("jvp", field, y0, times, tangents, given);
}

/** The solution and its derivatives, from a result, as the caller gets them. */
export function jvpOf<D extends Dtype>(
  problem: EnsembleProblem<D>,
  directions: number,
  result: EnsembleResult<D>,
): IndependentSolutionJvp<D> {
  const { solution, tangents, eventTangents: events } = solvedJvp(problem, directions, result);
  return frozen({ solution, tangents, shape: [directions, ...solution.shape] as const, events });
}

/** Does what `jvp` does, for another function that calls it. */
export function jvpFor<D extends Dtype>(
  caller: string,
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  tangents: Tangents<D>,
  given: OdeintOptions,
): SolutionJvp<D> {
  const read = readOptions(given);
  if (isIndependent(read, times)) {
    const { problem, directions, solved } = solveEnsembleJvp(field, y0, times, tangents, read, { keep: false, caller });
    try {
      return jvpOf(problem, directions, solved.result());
    } finally {
      solved.dispose();
    }
  }
  const settings = withoutIndependent(read, caller);
  const {
    rust,
    engine,
    start,
    batch,
    ends,
    packed,
    tangentArrays,
    directions,
    settings: solver,
  } = prepareJvp(field, y0, times as ArrayLike<number>, tangents, settings, caller);
  const move = () => rust.jvp(start, batch, ends, directions, tangentArrays as never, forCrate(solver), packed);
  const moved = callWithProgress(engine, solver.progress, move, (result) => release(engine, result));
  try {
    const shape = [ends.length, batch, field.stateSize] as const;
    const numbers = shape[0] * shape[1] * shape[2];
    return frozen({
      solution: frozen({
        y: engine.read(field.dtype, moved.y, numbers),
        shape,
        stats: solveStats(moved),
      }),
      tangents: engine.read(field.dtype, moved.tangents, directions * numbers),
      shape: [directions, ...shape] as const,
    });
  } finally {
    release(engine, moved);
  }
}
