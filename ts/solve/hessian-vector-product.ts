// Hessian–vector products: second derivatives of losses, by the reverse of a solve along a direction.
import type { Gradient as GradientHandle } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, checkLength, type Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { anything, argument, callable, inCallback, options } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { call, callWithProgress, release } from "../engine/call.js";
import { type Field, type FieldNames, type NamesOfField, type WasmField, wasmField } from "../fields/field.js";
import type { Lists } from "./changes.js";
import { solvedJvp } from "./ensemble-jvp.js";
import { lossOf } from "./gradient.js";
import { type IndependentSolution, isIndependent } from "./independent.js";
import {
  forCrate,
  type GradientOptions,
  type Independent,
  type OdeintOptions,
  readOptions,
  withoutIndependent,
} from "./options.js";
import { checkLoss, outputsForLoss } from "./outputs.js";
import type { GradientStats, LossAndCotangent, Solution } from "./results.js";
import { gradientStats, solveStats } from "./stats.js";
import { prepareJvp, solveEnsembleJvp, type Tangents } from "./tangents.js";

/** The Hessian of a loss times one direction. */
export interface HessianVectorProduct<
  D extends Dtype = Dtype,
  S extends Solution<D> = Solution<D>,
  A extends string = string,
> {
  /** The value of the loss. */
  readonly value: number;
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`. */
  readonly solution: S;
  /** ẏ, the derivative of the solution along the direction, `[times, batch, state]`. */
  readonly tangent: ArrayOf<D>;
  /** The part of the product that belongs to y0, `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** The part of the product that belongs to the parameters, of the layout of `field.parameters`. */
  readonly parameters: ArrayOf<D>;
  /** The part of the product that belongs to the arguments, by name, shaped as the arguments are. */
  readonly arguments: Readonly<Record<A, ArrayOf<D>>>;
  /** The statistics of the product: evaluations of the field, and memory. */
  readonly stats: GradientStats;
}

/** The result of a loss for y and ẏ `[times, batch, state]`. */
export interface LossWithCurvature<D extends Dtype> extends LossAndCotangent<D> {
  /** (∂²L/∂y²) ẏ, the derivative of the cotangent along ẏ, shaped as y; or a function of ẏ that returns it. */
  readonly curvature: ArrayOf<D> | ((tangent: ArrayOf<D>) => ArrayOf<D>);
}

/** A single direction, without times. */
const directionRules = {
  y0: anything<unknown>(),
  parameters: anything<unknown>(),
  arguments: anything<unknown>(),
};

/**
 * The Hessian of the loss times one direction, without forming the Hessian: with respect to initial states, parameters and arguments (reverse
 * over forward). Exact for the numbers computed, with adaptive step sizes held fixed.
 *
 * @param field - The vector field, at its current parameters. Not a field from `custom` or `driven`.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated.
 *   A float32 field sees them rounded to float32: measure time from a near origin, or use float64.
 * @param loss - Pass `myLoss.of({ … })`, where `myLoss = loss(…)`, or `(y) => meanSquaredError(y, target)`. Or a function of y, their
 *   shape and ẏ, both `[times, batch, state]`, that returns L, ∂L/∂y and (∂²L/∂y²) ẏ as `{ value, cotangent, curvature }`.
 * @param direction - One direction, in y0, parameters and arguments.
 * @param given - Options of the solver and of the gradient, as for `valueAndGrad`.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, before any work starts: `OPTION` also for a field from `custom` or
 *   `driven`, for directions that move times, for `events`, whose times move too, and for `gradient: "adjoint"`, which is not exact;
 *   `MAX_STEPS`, `STEP_UNDERFLOW`, `NON_FINITE` if the solve fails, with its `t`; `CALLBACK` if the loss does not return `{ value,
 *   cotangent, curvature }`, `NON_FINITE` if one of them is not finite; `DISPOSED` if the field was; `OUT_OF_MEMORY`; what the loss throws.
 */
export function hessianVectorProduct<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D, A>, "directions" | "times">,
  given: GradientOptions<A, N> & Independent<A, N>,
): HessianVectorProduct<D, IndependentSolution<D>, A>;
export function hessianVectorProduct<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D, A>, "directions" | "times">,
  given?: GradientOptions<A, N>,
): HessianVectorProduct<D, IndependentSolution<D>, A>;
export function hessianVectorProduct<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D, A>, "directions" | "times">,
  given?: GradientOptions<A, N>,
): HessianVectorProduct<D, Solution<D>, A>;
export function hessianVectorProduct<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D>, "directions" | "times">,
  given: GradientOptions = {},
): HessianVectorProduct<D> {
  checkLoss(loss);
  const read = readOptions(given);
  options(direction, directionRules, "direction.");
  if (isIndependent(read, times)) return independentProduct(field, y0, times, loss, direction, read);
  const settings = withoutIndependent(read, "hessianVectorProduct");
  const {
    rust,
    engine,
    own,
    start,
    batch,
    ends,
    packed,
    tangentArrays,
    settings: solver,
  } = prepareJvp(field, y0, times as ArrayLike<number>, direction, settings, "hessianVectorProduct");
  const { dtype, stateSize } = field;
  const count = wasmField(field).parameterCount;
  const record = () => rust.recordTangent(start, batch, ends, tangentArrays as never, forCrate(solver), packed);
  const recorded = callWithProgress(engine, solver.progress, record, (result) => release(engine, result));
  let pulled: GradientHandle | undefined;
  try {
    const shape = [ends.length, batch, stateSize] as const;
    const numbers = shape[0] * shape[1] * shape[2];
    const solution = frozen({
      y: engine.read(dtype, recorded.y, numbers),
      shape,
      stats: solveStats(recorded),
    });
    const tangent = engine.read(dtype, recorded.tangent, numbers);
    const { value, cotangent, curvature } = secondOrder(dtype, loss, solution, tangent, times);
    const [w, curved] = [engine.steady(cotangent), engine.steady(curvature)];
    const made: GradientHandle = call(engine, () => recorded.pullback(w, curved));
    pulled = made;
    return frozen({
      value,
      solution,
      tangent,
      y0: engine.read(dtype, made.y0, batch * stateSize),
      parameters: engine.read(dtype, made.parameters, count),
      arguments: (own as WasmField<D>).copyArguments(engine, made.arguments, batch),
      stats: gradientStats(made),
    });
  } finally {
    release(engine, pulled);
    release(engine, recorded);
  }
}

const curvatureRule = inCallback(callable());

/** The checked result of a loss for y and ẏ. */
function secondOrder<D extends Dtype>(
  dtype: D,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  solution: Solution<D>,
  tangent: ArrayOf<D>,
  times: Lists,
) {
  const { y, shape } = solution;
  const given = outputsForLoss(solution, times);
  const result = runUserCode(() => loss(given, [...shape], tangent.slice() as ArrayOf<D>));
  const { value, cotangent } = lossOf(result);
  const { curvature: second } = result;
  if (typeof second === "function") argument("loss's curvature", second, curvatureRule);
  const curvature = typeof second === "function" ? runUserCode(() => second(tangent.slice() as ArrayOf<D>)) : second;
  if (curvature === undefined) {
    const expected = "{ value, cotangent, curvature }, the last being (∂²L/∂y²) ẏ";
    throw refused("CALLBACK", "loss's result", expected, describe(result));
  }
  const checked = (name: string, numbers: ArrayOf<D>) => {
    const array = arrayOf(name, numbers, dtype);
    checkLength(name, array, y.length, `[${shape.join(", ")}]`);
    return array;
  };
  return { value, cotangent: checked("cotangent", cotangent), curvature: checked("curvature", curvature) };
}

/** `hessianVectorProduct` of independent trajectories. */
function independentProduct<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D>, "directions" | "times">,
  settings: OdeintOptions,
): HessianVectorProduct<D, IndependentSolution<D>> {
  const { problem, directions, solved } = solveEnsembleJvp(field, y0, times, direction, settings, {
    keep: true,
    caller: "hessianVectorProduct",
  });
  try {
    const { solution, tangents: tangent } = solvedJvp(problem, directions, solved.result());
    const { value, cotangent, curvature } = secondOrder(field.dtype, loss, solution, tangent, times);
    return frozen({ value, solution, tangent, ...solved.pullback(cotangent, curvature) });
  } finally {
    solved.dispose();
  }
}
