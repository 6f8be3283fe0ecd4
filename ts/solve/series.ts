// What one feature of the state does along one trajectory.
import { type ArrayOf, constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { isObject } from "../checks/rules.js";
import type { Field, NamesOfField } from "../fields/field.js";
import type { ProgramField } from "../fields/program.js";
import type { IndependentSolution } from "./independent.js";
import type { Solution } from "./results.js";

/**
 * Picks one feature of one trajectory out of a solution: its value at each output time.
 *
 * @param field - The field that was solved. It has the names of the state.
 * @param solution - The result of `odeint`, or the `solution` of `vjp`, `valueAndGrad` or `jvp`, also from a pool.
 * @param state - The name of the feature, such as `hare`, or its index from 0.
 * @param trajectory - The index of the trajectory in the batch, from 0; default 0.
 * @returns A new array with a number for each output time. If trajectories have their own times, it has as many as this one; of one that
 *   failed, it has what was reached.
 * @throws `OPTION` for a name or an index that does not exist; `SHAPE` for a solution of another number of features.
 */
export function series<D extends Dtype, F extends Field = Field<D>>(
  field: F & Field<D>,
  solution: Solution<D> | IndependentSolution<D>,
  state: NamesOfField<F>["states"] | number,
  trajectory = 0,
): ArrayOf<D> {
  if (!isObject(solution) || !isObject(solution.shape) || !isObject(solution.y)) {
    throw refused("OPTION", "solution", "a solution, with y and shape", describe(solution));
  }
  const { y, shape } = solution;
  const [times, batch, width] = shape;
  if (width !== field.stateSize) {
    throw refused("SHAPE", "solution", `one of this field, with ${field.stateSize} features`, `one with ${width}`);
  }
  const feature = featureOf(field, state);
  checkIndex("trajectory", trajectory, batch);
  const end = "trajectories" in solution ? (solution.trajectories.reached[trajectory] as number) : times;
  const values = new constructors[field.dtype](end) as ArrayOf<D>;
  for (let k = 0; k < end; k++) values[k] = y[(k * batch + trajectory) * width + feature] as number;
  return values;
}

function featureOf(field: Field, state: unknown): number {
  if (typeof state !== "string") return checkIndex("state", state, field.stateSize);
  const { states = [] } = field as Partial<ProgramField>;
  const feature = states.indexOf(state);
  if (feature < 0) throw unknownName("", state, states, "state");
  return feature;
}

function checkIndex(name: string, index: unknown, count: number): number {
  if (Number.isInteger(index) && (index as number) >= 0 && (index as number) < count) return index as number;
  const expected = count === 1 ? "0, the only index" : `an index from 0 to ${count - 1}`;
  throw refused("OPTION", name, name === "state" ? `a name or ${expected}` : expected, describe(index));
}
