// Sensitivities: derivatives of a solution with respect to all inputs of its solve, one direction each.
import { type ArrayOf, arrayOf, batchOf, type Dtype, zeros } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { argument, array, elements, object, oneOf, required } from "../checks/rules.js";
import {
  type ArgumentArrays,
  type Field,
  type FieldNames,
  type NamesOfField,
  useField,
  wasmField,
} from "../fields/field.js";
import type { Lists } from "./changes.js";
import type { IndependentSolution } from "./independent.js";
import { jvpFor } from "./jvp.js";
import type { Independent, OdeintOptions } from "./options.js";
import type { Solution } from "./results.js";
import type { Tangents } from "./tangents.js";

/** The derivatives of a solution with respect to the inputs of its solve. */
export interface Sensitivities<
  D extends Dtype = Dtype,
  S extends Solution<D> = Solution<D>,
  A extends string = string,
> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: S;
  /**
   * ∂y/∂y0, each trajectory's with respect to its own initial state, `[times, batch, state, state]`: `[times, batch, i, j]` is
   * ∂y_i/∂y0_j.
   */
  readonly y0: ArrayOf<D>;
  /** ∂y/∂θ, `[times, batch, state, parameters]`. */
  readonly parameters: ArrayOf<D>;
  /** ∂y/∂a for each argument a by name, each trajectory's with respect to its own: `[times, batch, state, length]`. */
  readonly arguments: Readonly<Record<A, ArrayOf<D>>>;
}

/** How to solve, and what the derivatives are with respect to. */
export interface SensitivityOptions<A extends string = string, N extends FieldNames = FieldNames>
  extends OdeintOptions<A, N> {
  /** What to differentiate with respect to; all by default. Anything left out is an empty array in the result. */
  respectTo?: readonly ("y0" | "parameters" | "arguments")[] | undefined;
}

/** Columns that move, one at a time. */
export interface JacobianColumns {
  /** Indices of parameters. */
  readonly parameters: readonly number[];
  /** Features of the initial state. */
  readonly y0: readonly number[];
  /** Names of arguments, with the index of a number of each. */
  readonly arguments: readonly (readonly [name: string, index: number])[];
}

/** Unit vectors as directions: parameters, then initial states, then arguments, in the order given. */
export function tangentsOfColumns<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  columns: JacobianColumns,
): Tangents<D> {
  const { dtype, stateSize } = field;
  const wasm = wasmField(field);
  const batch = batchOf("y0", arrayOf("y0", y0, dtype), stateSize);
  const widths = wasm.argumentWidths;
  const directions = columns.parameters.length + columns.y0.length + columns.arguments.length;
  const count = wasm.parameterCount;
  const [parameters, starts] = [zeros(dtype, directions * count), zeros(dtype, directions * batch * stateSize)];
  const args = Object.fromEntries(
    Object.entries(widths).map(([name, width]) => [name, zeros(dtype, directions * batch * width)]),
  );
  let direction = 0;
  for (const index of columns.parameters) parameters[direction++ * count + index] = 1;
  for (const feature of columns.y0) {
    for (let i = 0; i < batch; i++) starts[(direction * batch + i) * stateSize + feature] = 1;
    direction++;
  }
  for (const [name, index] of columns.arguments) {
    const width = widths[name] as number;
    for (let i = 0; i < batch; i++) (args[name] as Float64Array)[(direction * batch + i) * width + index] = 1;
    direction++;
  }
  return {
    directions,
    ...(columns.parameters.length > 0 && { parameters }),
    ...(columns.y0.length > 0 && { y0: starts }),
    ...(columns.arguments.length > 0 && { arguments: args as ArgumentArrays }),
  };
}

const RESPECTS = ["y0", "parameters", "arguments"] as const;

/**
 * Derivatives of the solution with respect to all initial states, parameters and arguments, by `jvp` along each, with adaptive step
 * sizes held fixed.
 *
 * @param field - The vector field, at its current parameters. Not a field from `custom` or `driven`.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated. Or a list of times for each trajectory.
 *   A float32 field sees them rounded to float32: measure time from a near origin, or use float64.
 * @param given - Options of the solver, as for `jvp`, and `respectTo`.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, before any work starts: `OPTION` also for a field from `custom` or
 *   `driven`, for `dense`, `saveSteps` and `onFailure: "mask"`, and if nothing is left to differentiate with respect to; `MAX_STEPS`,
 *   `STEP_UNDERFLOW`, `MAX_EVENTS`, `NON_FINITE` if the solve fails, with its `t`; `EVENT_GRAZING` where an event ends a trajectory or
 *   changes the state, and its function only touches zero; `DISPOSED` if the field was; `OUT_OF_MEMORY`.
 */
export function sensitivities<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  given: SensitivityOptions<A, N> & Independent<A, N>,
): Sensitivities<D, IndependentSolution<D>, A>;
export function sensitivities<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  given?: SensitivityOptions<A, N>,
): Sensitivities<D, IndependentSolution<D>, A>;
export function sensitivities<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  given?: SensitivityOptions<A, N>,
): Sensitivities<D, Solution<D>, A>;
export function sensitivities<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  given: SensitivityOptions = {},
): Sensitivities<D> {
  argument("options", given, required(object));
  useField(field);
  const { respectTo = RESPECTS, ...rest } = given;
  const wanted = elements("respectTo", respectTo, array("an array of names"), required(oneOf(RESPECTS)));
  const { dtype, stateSize } = field;
  const widths = Object.entries(wasmField(field).argumentWidths);
  const indices = (count: number) => Array.from({ length: count }, (_, index) => index);
  const columns = {
    parameters: wanted.includes("parameters") ? indices(wasmField(field).parameterCount) : [],
    y0: wanted.includes("y0") ? indices(stateSize) : [],
    arguments: wanted.includes("arguments")
      ? widths.flatMap(([name, width]) => indices(width).map((index) => [name, index] as const))
      : [],
  };
  const none = columns.parameters.length + columns.y0.length + columns.arguments.length === 0;
  if (none)
    throw refused("OPTION", "respectTo", "y0, or parameters or arguments if the field has any", JSON.stringify(wanted));
  const along = tangentsOfColumns(field, y0, columns);
  const { solution, tangents, shape } = jvpFor("sensitivities", field, y0, times, along, rest);
  const [directions, outputs, batch] = shape;
  const rows = outputs * batch * stateSize;
  let direction = 0;
  // From a direction after the other to a row of derivatives for each number of the solution.
  const matrix = (width: number) => {
    const all = zeros(dtype, rows * width);
    for (let column = 0; column < width; column++) {
      const from = direction++ * rows;
      for (let row = 0; row < rows; row++) all[row * width + column] = tangents[from + row] as number;
    }
    return all;
  };
  const parameters = matrix(columns.parameters.length);
  const starts = matrix(columns.y0.length);
  const args = widths.map(([name, width]) => [name, matrix(direction < directions ? width : 0)]);
  return frozen({ solution, y0: starts, parameters, arguments: Object.fromEntries(args) });
}
