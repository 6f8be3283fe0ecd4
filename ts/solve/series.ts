// What one feature of the state does along one trajectory.
import { type ArrayOf, arrayOf, checkLength, constructors, type Dtype, shapeOf } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { argument, indexIn, isObject, object, required, rule } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { type Field, type NamesOfField, type WasmField, wasmField } from "../fields/field.js";
import type { WasmProgram } from "../fields/program.js";
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
 * @throws `OPTION` for a name or an index that does not exist; `SHAPE` or `DTYPE` for a solution of another field.
 */
export function series<D extends Dtype, F extends Field = Field<D>>(
  field: F & Field<D>,
  solution: Solution<D> | IndependentSolution<D>,
  state: NamesOfField<F>["states"] | number,
  trajectory = 0,
): ArrayOf<D> {
  const wasm = wasmField(field);
  const { y, shape, reached } = read(wasm, solution);
  const [times, batch, width] = shape;
  const feature = featureOf(wasm, state);
  const place = argument("trajectory", trajectory, required(indexIn(batch)));
  const end = reached ? argument("solution.trajectories.reached", reached[place], required(countTo(times))) : times;
  const values = new constructors[wasm.dtype](end) as ArrayOf<D>;
  for (let k = 0; k < end; k++) values[k] = y[(k * batch + place) * width + feature] as number;
  return values;
}

const solutionRule = required(
  rule<object>("a solution, with y and shape", (value) => isObject(value) && "y" in value && "shape" in value),
);
const countTo = (most: number) => ({ ...indexIn(most + 1), expected: `a number of times, at most ${most}` });

/** The parts of a solution that are read here, checked. */
function read<D extends Dtype>(field: WasmField<D>, given: object) {
  const solution = argument("solution", given, solutionRule) as Partial<IndependentSolution<D>>;
  const { y, shape, trajectories } = runUserCode(() => ({
    y: solution.y,
    shape: solution.shape,
    trajectories: solution.trajectories,
  }));
  const sides = shapeOf("solution.shape", shape);
  const [times, batch, width] = sides;
  if (width !== field.stateSize) {
    throw refused("SHAPE", "solution", `one of this field, with ${field.stateSize} features`, `one with ${width}`);
  }
  const numbers = arrayOf("solution.y", y, field.dtype);
  checkLength("solution.y", numbers, times * batch * width, `[${sides.join(", ")}]`);
  if (trajectories === undefined) return { y: numbers, shape: sides, reached: undefined };
  argument("solution.trajectories", trajectories, required(object));
  const reached = runUserCode(() => trajectories.reached);
  argument("solution.trajectories.reached", reached, required(object));
  return { y: numbers, shape: sides, reached };
}

/** A feature by its name or its index. */
function featureOf(field: WasmField<Dtype>, state: unknown): number {
  if (typeof state !== "string") {
    const places = indexIn(field.stateSize);
    return argument("state", state, required({ ...places, expected: `a name or ${places.expected}` })) as number;
  }
  const { states = [] } = field as Partial<WasmProgram<Dtype>>;
  const feature = states.indexOf(state);
  if (feature < 0) throw unknownName("", state, states, "state");
  return feature;
}
