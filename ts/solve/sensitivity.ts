// Forward sensitivities: derivatives of solutions along with them, and second derivatives of losses.
import type { Pulled } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, timesOf, zeros } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import {
  anything,
  argument,
  array,
  callable,
  checkAbsent,
  elements,
  fallback,
  inCallback,
  object,
  oneOf,
  options,
  required,
  size,
} from "../checks/rules.js";
import { outside } from "../checks/user-code.js";
import { call, refuseReentry, release, watched } from "../engine/call.js";
import {
  type ArgumentArrays,
  type Field,
  type FieldNames,
  type NamesOfField,
  useField,
  type WasmField,
  wasmField,
} from "../fields/field.js";
import { EnsembleAlong, type EventTangents, ratesOf, readAlong } from "./along.js";
import type { Lists } from "./changes.js";
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

/**
 * Directions to differentiate along: ẏ0, θ̇, ȧ and ṫ, the rates of change of the inputs. An input that is left out is held constant.
 */
export interface Tangents<D extends Dtype = Dtype, A extends string = string> {
  /** How many directions there are; default 1. */
  directions?: number | undefined;
  /** ẏ0, the directions in the initial states, `[directions, batch, state]`; zero by default. */
  y0?: ArrayOf<D> | undefined;
  /**
   * θ̇, the directions in the parameters, `[directions, parameters]`, each of the layout of `field.parameters`; zero by default.
   */
  parameters?: ArrayOf<D> | undefined;
  /**
   * ȧ, the directions in all arguments, by name: `[directions, batch]`, or `[directions, batch, length]` of a vector; zero by
   * default.
   */
  arguments?: ArgumentArrays<A> | undefined;
  /**
   * ṫ, the directions in the output times, `[directions, times]`; where trajectories have their own, `[directions, times, batch]`, padded
   * as the solution is. Zero by default. The times of jumps are held constant.
   */
  times?: ArrayLike<number> | undefined;
}

/** A solution with its derivatives along directions. */
export interface SolutionJvp<D extends Dtype = Dtype, S extends Solution<D> = Solution<D>> {
  /** The solution, as `odeint` gives it. */
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

/** The derivatives of a solution with respect to the inputs of its solve. */
export interface Sensitivities<
  D extends Dtype = Dtype,
  S extends Solution<D> = Solution<D>,
  A extends string = string,
> {
  /** The solution, as `odeint` gives it. */
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

/** The Hessian of a loss times one direction. */
export interface HessianVectorProduct<
  D extends Dtype = Dtype,
  S extends Solution<D> = Solution<D>,
  A extends string = string,
> {
  /** The value of the loss. */
  readonly value: number;
  /** The solution, as `odeint` gives it. */
  readonly solution: S;
  /** ẏ, the derivative of the solution along the direction, `[times, batch, state]`. */
  readonly tangent: ArrayOf<D>;
  /** The part of the product that belongs to y0, `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** The part of the product that belongs to the parameters, of the layout of `field.parameters`. */
  readonly parameters: ArrayOf<D>;
  /** The part of the product that belongs to the arguments, by name, shaped as the arguments are. */
  readonly arguments: Readonly<Record<A, ArrayOf<D>>>;
  /** What the product took: evaluations of the field, and memory. */
  readonly stats: GradientStats;
}

/** What a loss gives for y and ẏ `[times, batch, state]`. */
export interface LossWithCurvature<D extends Dtype> extends LossAndCotangent<D> {
  /** (∂²L/∂y²) ẏ, the derivative of the cotangent along ẏ, shaped as y; or a function of ẏ that returns it. */
  readonly curvature: ArrayOf<D> | ((tangent: ArrayOf<D>) => ArrayOf<D>);
}

const tangentRules = {
  directions: fallback(size, 1),
  y0: anything<unknown>(),
  parameters: anything<unknown>(),
  arguments: anything<unknown>(),
  times: anything<ArrayLike<number>>(),
};

/** A single direction, without times. */
const directionRules = {
  y0: anything<unknown>(),
  parameters: anything<unknown>(),
  arguments: anything<unknown>(),
};

/** A solve's inputs, checked, with directions along which they move. */
function prepare<D extends Dtype>(
  field: Field<D>,
  y0: unknown,
  times: ArrayLike<number>,
  given: unknown,
  settings: OdeintOptions,
  caller: string,
) {
  const { partial: _, arguments: args, ...rest } = settings;
  const ends = timesOf(times);
  const { engine } = useField(field);
  refuseReentry(engine, caller);
  const own = wasmField(field);
  const { dtype, stateSize } = field;
  const start = engine.steady(arrayOf("y0", y0, dtype));
  const batch = batchOf("y0", start, stateSize);
  const packed = own.packArguments(args, batch);
  const { directions, along, rates } = readTangents(field, given, batch);
  if (rates) checkLength("tangents.times", rates, directions * ends.length, `[${directions}, ${ends.length}]`);
  // Whoever gives these may have disposed of the field.
  const { rust } = useField(field);
  return {
    rust,
    engine,
    own,
    start,
    batch,
    ends,
    packed,
    along: { ...along, times: rates },
    directions,
    settings: rest,
  };
}

/** Directions, checked, flat; those of the times apart, whose length depends on the solve. */
function readTangents<D extends Dtype>(field: Field<D>, given: unknown, batch: number) {
  const { engine } = useField(field);
  const own = wasmField(field);
  const { dtype, stateSize } = field;
  const read = options(given, tangentRules, "tangents.");
  const { directions } = read;
  const list = (name: "y0" | "parameters", length: number, shape: string) => {
    if (read[name] === undefined) return undefined;
    const numbers = engine.steady(arrayOf(`tangents.${name}`, read[name], dtype));
    checkLength(`tangents.${name}`, numbers, directions * length, `[${directions}, ${shape}]`);
    return numbers;
  };
  const along = {
    y0: list("y0", batch * stateSize, `${batch}, ${stateSize}`),
    parameters: list("parameters", field.parameters.length, String(field.parameters.length)),
    arguments:
      read.arguments === undefined
        ? undefined
        : (own.packArguments(read.arguments, directions * batch, "tangents.arguments") as ArrayOf<D>),
  };
  const rates = read.times === undefined ? undefined : timesOf(read.times, "tangents.times");
  return { directions, along, rates };
}

/** A solve of trajectories of their own along directions. */
function solveAlong<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  given: unknown,
  settings: OdeintOptions,
  { keep, caller }: { keep: boolean; caller: string },
) {
  const problem = readAlong(field, y0, times, settings, caller);
  const { directions, along, rates } = readTangents(field, given, problem.batch);
  if (keep) checkAbsent({ events: problem.changes.events }, `, as ${caller} does not take this option`);
  const { progress } = settings;
  const solve = { keep, caller, ...(progress && { progress }) };
  const moved = { ...along, times: rates && ratesOf(problem, directions, rates) };
  const solved = new EnsembleAlong(field, problem, directions, moved, solve);
  return { problem, directions, solved };
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
 * @throws As `odeint`; `SHAPE`, `DTYPE` and `NON_FINITE` for the directions; `OPTION` for a field that is not a program, and for `dense`,
 *   `saveSteps` and `onFailure: "mask"`; `EVENT_GRAZING` where an event ends a trajectory or changes the state, and its function only
 *   touches zero.
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

/** As `jvp`, called by some function. */
function jvpFor<D extends Dtype>(
  caller: string,
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  tangents: Tangents<D>,
  given: OdeintOptions,
): SolutionJvp<D> {
  const read = readOptions(given);
  if (isIndependent(read, times)) {
    const { directions, solved } = solveAlong(field, y0, times, tangents, read, { keep: false, caller });
    try {
      const { solution, tangents: moved, eventTangents: events } = solved.result();
      const result: IndependentSolutionJvp<D> = {
        solution,
        tangents: moved,
        shape: [directions, ...solution.shape] as const,
        events,
      };
      return frozen(result);
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
    along,
    directions,
    settings: solver,
  } = prepare(field, y0, times as ArrayLike<number>, tangents, settings, caller);
  const move = () => rust.jvp(start, batch, ends, directions, along as never, forCrate(solver), packed);
  const moved = watched(engine, solver.progress, move, (result) => release(engine, result));
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

/** Columns that move, one at a time. */
export interface Columns {
  /** Indices of parameters. */
  readonly parameters: readonly number[];
  /** Features of the initial state. */
  readonly y0: readonly number[];
  /** Names of arguments, with the index of a number of each. */
  readonly arguments: readonly (readonly [name: string, index: number])[];
}

/** The derivatives along unit vectors: parameters, then initial states, then arguments, in the order given. */
export function jvpOfColumns<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  columns: Columns,
  settings: OdeintOptions,
): SolutionJvp<D> {
  const { dtype, stateSize } = field;
  const own = wasmField(field);
  const batch = batchOf("y0", arrayOf("y0", y0, dtype), stateSize);
  const widths = own.argumentWidths;
  const directions = columns.parameters.length + columns.y0.length + columns.arguments.length;
  const count = field.parameters.length;
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
  const tangents: Tangents<D> = {
    directions,
    ...(columns.parameters.length > 0 && { parameters }),
    ...(columns.y0.length > 0 && { y0: starts }),
    ...(columns.arguments.length > 0 && { arguments: args as ArgumentArrays }),
  };
  return jvpFor("sensitivities", field, y0, times, tangents, settings);
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
 * @throws As `jvp`.
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
    parameters: wanted.includes("parameters") ? indices(field.parameters.length) : [],
    y0: wanted.includes("y0") ? indices(stateSize) : [],
    arguments: wanted.includes("arguments")
      ? widths.flatMap(([name, width]) => indices(width).map((index) => [name, index] as const))
      : [],
  };
  const none = columns.parameters.length + columns.y0.length + columns.arguments.length === 0;
  if (none)
    throw refused("OPTION", "respectTo", "y0, or parameters or arguments if the field has any", JSON.stringify(wanted));
  const { solution, tangents, shape } = jvpOfColumns(field, y0, times, columns, rest);
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
 * @throws As `jvp` and `valueAndGrad`; `OPTION` for directions that move times, for `events`, whose times move too, and for
 *   `gradient: "adjoint"`, which is not exact.
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
    along,
    settings: solver,
  } = prepare(field, y0, times as ArrayLike<number>, direction, settings, "hessianVectorProduct");
  const { dtype, stateSize } = field;
  const count = field.parameters.length;
  const record = () => rust.recordTangent(start, batch, ends, along as never, forCrate(solver), packed);
  const recorded = watched(engine, solver.progress, record, (result) => release(engine, result));
  let pulled: Pulled | undefined;
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
    const made: Pulled = call(engine, () => recorded.pullback(w, curved));
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

/** What a loss gives for y and ẏ, checked. */
function secondOrder<D extends Dtype>(
  dtype: D,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  solution: Solution<D>,
  tangent: ArrayOf<D>,
  times: Lists,
) {
  const { y, shape } = solution;
  const given = outputsForLoss(solution, times);
  const result = outside(() => loss(given, [...shape], tangent.slice() as ArrayOf<D>));
  const { value, cotangent } = lossOf(result);
  const { curvature: second } = result;
  if (typeof second === "function") argument("loss's curvature", second, curvatureRule);
  const curvature = typeof second === "function" ? outside(() => second(tangent.slice() as ArrayOf<D>)) : second;
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

/** `hessianVectorProduct` of trajectories of their own. */
function independentProduct<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution["shape"], tangent: ArrayOf<D>) => LossWithCurvature<D>,
  direction: Omit<Tangents<D>, "directions" | "times">,
  settings: OdeintOptions,
): HessianVectorProduct<D, IndependentSolution<D>> {
  const { solved } = solveAlong(field, y0, times, direction, settings, { keep: true, caller: "hessianVectorProduct" });
  try {
    const { solution, tangents: tangent } = solved.result();
    const { value, cotangent, curvature } = secondOrder(field.dtype, loss, solution, tangent, times);
    return frozen({ value, solution, tangent, ...solved.pullback(cotangent, curvature) });
  } finally {
    solved.dispose();
  }
}
