// Losses that are traced: written as a formula, differentiated by the package.
import {
  anyNumbersOf,
  arrayOf,
  checkLength,
  type Dtype,
  dtypeOf,
  floatsOf,
  numbersOf,
  shapeOf,
  timesOf,
  weightsOf,
  zeros,
} from "../checks/arrays.js";
import { isArray, isError, refused } from "../checks/errors.js";
import { argument, callable, fallback, isObject, object, options, record, required, size } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { Instance } from "../engine/engine.js";
import { instance } from "../engine/instance.js";
import { programField, type WasmProgram } from "../fields/program.js";
import { type ArgumentSizes, type EmptyRecord, widthOf } from "../fields/vector-field.js";
import { isLists, type Lists, listsOf } from "../solve/changes.js";
import type { IndependentSolution } from "../solve/independent.js";
import { lossesWithData, missingDataError, type Outputs, outputsIn } from "../solve/outputs.js";
import type { Solution } from "../solve/results.js";
import { callTraced, checkSingleObject, programOf, returned, stateIn, type Traced } from "../trace/program.js";
import type { Value } from "../trace/value.js";
import { checkBatchNames, lossesOfData, tracedLosses } from "./batch.js";
import { checkHasOutputs, maskWeights, outputMask } from "./mask.js";

/** The inputs of a traced loss: values of one trajectory at one output time. */
export type LossValues<I extends ArgumentSizes = EmptyRecord> = {
  /** The state of the solution, a row for each feature. */
  readonly y: Value;
  /** The target for the solution: as many rows as the state has, or as the option `target` says. */
  readonly target: Value;
  /**
   * The weight of each feature of the target, as many rows; ones if no mask is given. Where the weight is 0, a target that was NaN is 0. A
   * loss that takes the mask weights its features itself. If its value or derivative may not be finite at a feature that does not count, as
   * that of `y.log()`, put a number in its place first: `where(mask.greater(0), y, 1).log()`.
   */
  readonly mask: Value;
  /** The output time at which the loss is taken. */
  readonly t: Value;
} & { readonly [Name in keyof I]: Value };

/** Options of `loss`: further inputs, and the size of the target. */
export interface LossOptions<I extends ArgumentSizes = EmptyRecord> {
  /**
   * Further inputs by their names: `"scalar"` for one number for each trajectory at each output time, or how many numbers. They are
   * given as `inputs` of a batch.
   */
  inputs?: I | undefined;
  /** How many features the target has; default: as many as the state. */
  target?: number | undefined;
}

/** The data of a loss: a batch of `train` is one. */
export interface LossData {
  /** The target for the solution, `[times, batch, features]`; you may leave it out for a loss that does not use it. */
  readonly target?: ArrayLike<number> | undefined;
  /**
   * Weights, finite and zero or more, `[times, batch]` or `[times, batch, features]`: 1 where a target counts and 0 where not, or
   * anything else; default 1. Where the weight is 0, the target may be NaN. For an independent solve, rows that its `mask` leaves out
   * never count.
   */
  readonly mask?: ArrayLike<number> | undefined;
  /**
   * The output times, for a loss that takes `t`; default those of the solve, where the loss is called by `valueAndGrad`. If they are a
   * list for each trajectory, values after the last time of one do not count.
   */
  readonly times?: Lists | undefined;
  /** The further inputs of the loss, by name: `[times, batch]`, or `[times, batch, length]` for several numbers. */
  readonly inputs?: Readonly<Record<string, ArrayLike<number>>> | undefined;
}

/**
 * A loss with its derivative, from `loss`, `absoluteLoss`, `huberLoss`, `gaussianLoss` or `poissonLoss`: for `train` and `fit` as
 * their option `loss`, for `valueAndGrad` through `of`.
 */
export interface TracedLoss {
  /**
   * The loss of a solution y `[times, batch, state]`, and its cotangent.
   *
   * @throws `SHAPE`, `DTYPE`, `OPTION` for data that do not fit; `NON_FINITE` if the loss is not finite.
   */
  <A extends Float32Array | Float64Array>(
    y: A,
    data: LossData,
    shape: Solution["shape"],
  ): {
    /** The value of the loss. */
    value: number;
    /** ∂value/∂y, shaped as y. */
    cotangent: A;
  };
  /**
   * The loss of these data as a function of the solution alone: what `valueAndGrad` takes, here and in pools, and
   * `hessianVectorProduct`.
   */
  of(data?: LossData): LossOfSolution;
  /** Frees the memory of the loss. Its programs are made again if you use it; a second call does nothing. */
  dispose(): void;
}

/** A loss of given data, as a function of a solution y `[times, batch, state]`. */
export interface LossOfSolution {
  /** The loss and its cotangent ∂L/∂y; a third argument is ignored where it is undefined. */
  <A extends Float32Array | Float64Array>(
    y: A,
    shape: Solution["shape"],
    tangent?: undefined,
  ): {
    /** The value of the loss. */
    value: number;
    /** ∂value/∂y, shaped as y. */
    cotangent: A;
  };
  /** The loss, its cotangent ∂L/∂y, and its `curvature`: the derivative of the cotangent along a tangent ẏ shaped as y, (∂²L/∂y²) ẏ. */
  <A extends Float32Array | Float64Array>(
    y: A,
    shape: Solution["shape"],
    tangent: A,
  ): {
    /** The value of the loss. */
    value: number;
    /** ∂value/∂y, shaped as y. */
    cotangent: A;
    /** (∂²value/∂y²) ẏ, shaped as y. */
    curvature: A;
  };
}

const rules = { inputs: fallback(record<unknown>(), {}), target: size };
const inputsRule = { ...object, expected: "an object of arrays by their names" };
const OWN = ["y", "target", "mask", "t"];

/**
 * Makes a loss from a function of one trajectory at one output time that returns one number: `loss(({ y, target }) =>
 * y.sub(target).abs().min(1).square().mean())`. The loss of a batch is its mean over all output times and trajectories, the first time
 * included, weighted by the mask if there is one. The function is called once for each number of features, when it is first used, and
 * recorded; derivatives are worked out from the record.
 *
 * A mask `[times, batch]` has the weights of the mean. A mask `[times, batch, features]` may leave out some of the features of a trajectory
 * at a time: then the function has to take `mask` and weight the features itself; it is averaged over the times and trajectories of which
 * anything counts.
 *
 * @throws `OPTION` for an invalid option; `CALLBACK` for a function of several arguments. When it is used: `CALLBACK` if the function
 *   does something that cannot be recorded, or returns no value; `SHAPE` if it returns more than one number.
 */
export function loss<const I extends ArgumentSizes = EmptyRecord>(
  apply: (values: LossValues<I>) => Value,
  given: LossOptions<I> = {},
): TracedLoss {
  argument("loss", apply, required(callable()));
  const { inputs, target } = options(given, rules);
  const widths = Object.fromEntries(
    runUserCode(() => Object.entries(inputs)).map(([name, width]) => {
      if (OWN.includes(name))
        throw refused(
          "OPTION",
          `inputs.${name}`,
          `another name than ${OWN.slice(0, -1).join(", ")} or ${OWN.at(-1)}`,
          name,
        );
      return [name, widthOf(`inputs.${name}`, width)];
    }),
  );
  checkSingleObject("loss", apply, [...OWN, ...Object.keys(widths)]);
  return tracedLoss(apply as (values: object) => unknown, false, widths, target);
}

/** The same of a function that returns a number for each feature: all entries of the target count alike, and each has its weight. */
// @__NO_SIDE_EFFECTS__
export function entrywise(apply: (values: Pick<LossValues, "y" | "target">) => Value): TracedLoss {
  return tracedLoss(apply as (values: object) => unknown, true, {}, undefined);
}

/** The sizes of a batch's data. */
interface DataSizes {
  readonly times: number;
  readonly batch: number;
  readonly state: number;
}

/** Weights of a mean. */
interface MeanWeights {
  /** One for each row, or for each entry of an entrywise loss; all 1 where it is undefined. */
  readonly each: Float64Array | undefined;
  readonly sum: number;
}

/** A loss for states of one size. */
interface RecordedLoss {
  readonly program: Traced;
  /** The numbers of each row, side by side: y, and those of the other inputs that the loss uses. */
  readonly widths: ReadonlyMap<string, number>;
}

function tracedLoss(
  apply: (values: object) => unknown,
  isEntrywise: boolean,
  inputs: Readonly<Record<string, number>>,
  targetSize: number | undefined,
): TracedLoss {
  const recorded = new Map<number, RecordedLoss>();
  const fields = new Map<string, { engine: Instance; field: WasmProgram<Dtype> }>();

  /** The program for a number of features. */
  const programFor = (state: number): RecordedLoss => {
    const known = recorded.get(state);
    if (known) return known;
    const target = targetSize ?? state;
    const widths = new Map<string, number>();
    const sizes = { state: 0, parameters: 0, arguments: {} };
    const program = programOf(sizes, (graph) => {
      const values = {};
      const width = (own: number) => {
        const before = sizes.state;
        sizes.state += own;
        return stateIn(graph, before, own);
      };
      for (const [name, rows] of Object.entries({ y: state, target, mask: target, t: 1, ...inputs })) {
        let value: Value | undefined;
        // Only what is taken is a part of the rows.
        const get = () => {
          if (value === undefined) widths.set(name, rows);
          value ??= width(rows);
          return value;
        };
        Object.defineProperty(values, name, { get, enumerable: true, configurable: true });
      }
      const result = returned("loss", callTraced("loss", apply, values));
      if (!isEntrywise && result.length !== 1) {
        throw refused("SHAPE", "loss's result", "one number, such as the mean() of rows", `${result.length} rows`);
      }
      if (isEntrywise && result.length !== state) {
        throw refused("SHAPE", "target", `${state} features, as the state has`, String(target));
      }
      // A program has a state, even if nothing of it is used.
      if (sizes.state === 0) (values as { y: Value }).y;
      return result;
    });
    const made = { program: { program, initial: new Float64Array(), entries: {}, states: [], arguments: {} }, widths };
    recorded.set(state, made);
    return made;
  };

  const fieldFor = (state: number, dtype: Dtype): WasmProgram<Dtype> => {
    const key = `${dtype} ${state}`;
    const engine = instance();
    const known = fields.get(key);
    // After a fault there is a new instance.
    if (known?.engine === engine) return known.field;
    const field = programField(programFor(state).program, dtype) as WasmProgram<Dtype>;
    fields.set(key, { engine, field });
    return field;
  };

  /** The data, checked, and weights. */
  const read = (where: string, all: LossData, { times, batch, state }: DataSizes, solved: Outputs = {}) => {
    const rule = required({ ...object, expected: "{ target }" });
    const data = argument(where.slice(0, -1) || "data", all, rule) as LossData;
    checkBatchNames(where, data);
    const { widths } = programFor(state);
    const rows = times * batch;
    const features = targetSize ?? state;
    const count = rows * features;
    const shape = `[${times}, ${batch}, ${features}]`;
    const target =
      data.target === undefined && !widths.has("target")
        ? new Float64Array(count)
        : listOf(`${where}target`, data.target);
    checkLength(`${where}target`, target, count, shape);
    const weights = data.mask === undefined ? undefined : weightsOf(`${where}mask`, data.mask).weights;
    if (weights && weights.length !== count && weights.length !== rows) {
      throw refused("SHAPE", `${where}mask`, `[${times}, ${batch}] or ${shape} numbers`, String(weights.length));
    }
    const given = data.times ?? solved.times;
    const lists = isLists(given) ? listsOf(`${where}times`, given, batch) : undefined;
    if (lists && lists.longest !== times) {
      throw refused("SHAPE", `${where}times`, `lists of up to ${times} times`, `one of ${lists.longest}`);
    }
    const countedWeights = maskWeights(weights, solved.mask ?? outputMask(lists?.counts ?? null));
    checkHasOutputs(countedWeights, solved.failure);
    const mask = countedWeights && weightsOf(`${where}mask`, countedWeights).weights;
    const isPerFeature = mask?.length === count;
    const weightAt = (row: number, feature: number) =>
      mask ? (mask[isPerFeature ? row * features + feature : row] as number) : 1;
    for (let i = 0; i < count; i++) {
      if (Number.isFinite(target[i])) continue;
      // What does not count may well be missing, that is NaN.
      if (weightAt(Math.floor(i / features), i % features) === 0) target[i] = 0;
      else {
        const expected = "finite numbers where the mask is not 0";
        throw refused("NON_FINITE", `${where}target`, expected, `${target[i]} at index ${i}`);
      }
    }
    const columns: Record<string, ArrayLike<number>> = { target };
    if (widths.has("mask")) {
      columns.mask = Float64Array.from({ length: count }, (_, i) => weightAt(Math.floor(i / features), i % features));
    }
    if (widths.has("t")) {
      if (given === undefined)
        throw refused("SHAPE", `${where}times`, "the output times: the loss takes t", "undefined");
      const ends = lists?.flat ?? timesOf(given as ArrayLike<number>, `${where}times`);
      if (!lists) checkLength(`${where}times`, ends, times);
      columns.t = timesOfRows(ends, lists?.counts ?? null, { times, batch, state });
    }
    const further = argument(`${where}inputs`, data.inputs ?? {}, required(inputsRule));
    for (const [name, width] of Object.entries(inputs)) {
      const values = runUserCode(() => (further as Record<string, unknown>)[name]);
      const wanted = `${where}inputs.${name}`;
      columns[name] = numbersOf(wanted, values);
      const shape = width === 1 ? `[${times}, ${batch}]` : `[${times}, ${batch}, ${width}]`;
      checkLength(wanted, columns[name] as ArrayLike<number>, rows * width, shape);
    }
    return { columns, weights: weightsFor(where, mask, rows, features, widths.has("mask")) };
  };

  /** The weights of the mean. */
  const weightsFor = (
    where: string,
    mask: Float64Array | undefined,
    rows: number,
    features: number,
    takesMask: boolean,
  ): MeanWeights => {
    const all = isEntrywise ? rows * features : rows;
    if (!mask) return { each: undefined, sum: all };
    const each = new Float64Array(all);
    for (let row = 0; row < rows; row++) {
      const rowWeights =
        mask.length === rows ? mask.subarray(row, row + 1) : mask.subarray(row * features).subarray(0, features);
      if (isEntrywise)
        for (let i = 0; i < features; i++)
          each[row * features + i] = rowWeights[rowWeights.length === 1 ? 0 : i] as number;
      else if (takesMask) each[row] = rowWeights.some((weight) => weight > 0) ? 1 : 0;
      else if (rowWeights.some((weight) => weight !== rowWeights[0])) {
        const expected = "one weight for all features of a trajectory at a time, or a loss that takes mask";
        throw refused("OPTION", `${where}mask`, expected, `${rowWeights.join(", ")} from index ${row * features}`);
      } else each[row] = rowWeights[0] as number;
    }
    return { each, sum: each.reduce((sum, weight) => sum + weight, 0) };
  };

  const compute = <A extends Float32Array | Float64Array>(
    y: A,
    data: LossData,
    shape: Solution["shape"],
    tangent?: A,
    solution?: IndependentSolution,
  ) => {
    const dtype = dtypeOf(y);
    const sizes = sizesOf(shape);
    const { times, batch, state } = sizes;
    const rows = times * batch;
    const numbers = () => {
      const own = floatsOf("y", y);
      checkLength("y", own, rows * state, `[${shape.join(", ")}]`);
      return own;
    };
    numbers();
    const solved = { ...outputsIn(y), ...(solution && { mask: solution.mask, failure: solution.failures[0]?.error }) };
    const { columns, weights } = read("", data, sizes, solved);
    // Reading the data may have transferred the memory of y.
    const outputs = numbers();
    // Numbers that are no outputs of the solve may be NaN.
    const infinite = outputs.findIndex(
      (number, i) => !Number.isFinite(number) && solved.mask?.[Math.floor(i / state)] !== 0,
    );
    if (infinite >= 0) throw refused("NON_FINITE", "y", "finite numbers", `${outputs[infinite]} at index ${infinite}`);
    const { widths } = programFor(state);
    const field = fieldFor(state, dtype);
    const span = isEntrywise ? state : 1;
    const weightOf = (row: number, i: number) => (weights.each ? (weights.each[row * span + i] as number) : 1);
    // Rows that do not count have no derivative, even if that of their numbers is not finite.
    const counted: number[] = [];
    for (let row = 0; row < rows; row++) {
      let counts = false;
      for (let i = 0; i < span; i++) counts ||= weightOf(row, i) > 0;
      if (counts) counted.push(row);
    }
    const fail = (what: string, given: string, place: number) => {
      const row = counted[place] as number;
      const where = `at time ${Math.floor(row / batch)} of trajectory ${row % batch}, from 0`;
      return refused("NON_FINITE", `loss's ${what}`, "a finite number", `${given} ${where}`);
    };
    const given = { ...columns, y: outputs };
    const all = packColumns(
      dtype,
      counted,
      widths,
      isEntrywise && weights.each ? replaceMasked(given, counted, weightOf, state) : given,
    );
    const each = field.evaluate(0, all);
    const cotangent = zeros(dtype, each.length);
    let sum = 0;
    for (const [place, row] of counted.entries()) {
      for (let i = 0; i < span; i++) {
        const weight = weightOf(row, i);
        if (weight === 0) continue;
        const number = each[place * span + i] as number;
        if (!Number.isFinite(number)) throw fail("value", String(number), place);
        sum += weight * number;
        cotangent[place * span + i] = weight / weights.sum;
      }
    }
    const total = all.length / counted.length;
    // Of derivatives with respect to everything in the rows, those with respect to y.
    const byState = (derivatives: () => Float32Array | Float64Array) => {
      const result = zeros(dtype, rows * state);
      if (!widths.has("y")) return result as A;
      const pulled = derivatives();
      const before = firstColumn(widths, "y");
      for (const [place, row] of counted.entries()) {
        const from = place * total + before;
        result.set(pulled.subarray(from, from + state), row * state);
      }
      if (isEntrywise) for (let i = 0; i < result.length; i++) if (weights.each?.[i] === 0) result[i] = 0;
      return result as A;
    };
    const failed = (given: string, index: number) => fail("derivative", given, Math.floor(index / total));
    const first = { value: sum / weights.sum, cotangent: byState(() => pull(field, all, cotangent, failed)) };
    if (tangent === undefined) return first;
    const moving = arrayOf("tangent", tangent, dtype, ", as y is");
    checkLength("tangent", moving, rows * state, `[${shape.join(", ")}]`);
    const still = Array.from(widths, ([name, width]) => [name, zeros(dtype, rows * width)]);
    const tangents = packColumns(dtype, counted, widths, { ...Object.fromEntries(still), y: moving });
    const curvature = byState(
      () => field.hessianProduct(0, all as never, { y: tangents as never }, cotangent as never).y,
    );
    return { ...first, curvature };
  };

  // Of an independent solve there is the solution too.
  const last = <A extends Float32Array | Float64Array>(
    y: A,
    data: LossData,
    shape: Solution["shape"],
    other?: A | IndependentSolution,
  ) => {
    // As it would be called for a solution alone.
    if (isArray(data)) throw missingDataError();
    return isSolution(other) ? compute(y, data, shape, undefined, other) : compute(y, data, shape, other);
  };
  const made: TracedLoss = Object.assign(last, {
    of(data: LossData = {}) {
      const own = <A extends Float32Array | Float64Array>(y: A, shape: Solution["shape"], other?: A) =>
        last(y, data, shape, other);
      lossesOfData.add(own);
      return own as LossOfSolution;
    },
    dispose() {
      for (const { field } of fields.values()) field.dispose();
      fields.clear();
    },
  });
  lossesWithData.add(made);
  tracedLosses.set(made, (where, data, sizes) => {
    const { weights } = read(`${where}.`, data, sizes);
    return weights.sum;
  });
  return made;
}

/** A plain copy of numbers of which some may be missing. */
const listOf = (name: string, given: unknown) => anyNumbersOf(name, given, ["DTYPE", "an array of numbers"]);

function sizesOf(shape: unknown): DataSizes {
  const [times, batch, state] = shapeOf("shape", shape);
  return { times, batch, state };
}

const isSolution = (value: unknown): value is IndependentSolution => isObject(value) && "trajectories" in value;

/** The time of each row, `[times, batch]`; after the last of a trajectory it is repeated. */
function timesOfRows(flat: Float64Array, counts: readonly number[] | null, { times, batch }: DataSizes): Float64Array {
  const rows = Float64Array.from({ length: times * batch }, (_, row) => flat[Math.floor(row / batch)] as number);
  let start = 0;
  for (const [trajectory, count] of (counts ?? []).entries()) {
    for (let output = 0; output < times; output++) {
      rows[output * batch + trajectory] = flat[start + Math.min(output, count - 1)] as number;
    }
    start += count;
  }
  return rows;
}

/** The derivative of a loss; `fail` makes the error of one that is not finite. */
function pull(
  field: WasmProgram<Dtype>,
  rows: Float32Array | Float64Array,
  cotangent: Float32Array | Float64Array,
  fail: (given: string, index: number) => Error,
): Float32Array | Float64Array {
  try {
    return field.vjp(0, rows, cotangent).y;
  } catch (error) {
    const [, given, index] = /(NaN|-?Infinity) at index (\d+)/.exec(isError(error) ? error.message : "") ?? [];
    throw given !== undefined && index !== undefined ? fail(given, Number(index)) : error;
  }
}

/**
 * The values of an entrywise loss, with those of an entry that counts in place of those that do not: whose derivative need not be finite,
 * and would not vanish by a weight of 0.
 */
function replaceMasked<C extends Readonly<Record<string, ArrayLike<number>>>>(
  columns: C,
  rows: readonly number[],
  weightOf: (row: number, i: number) => number,
  state: number,
): Record<string, ArrayLike<number>> {
  const entries = Array.from({ length: state }, (_, i) => i);
  const copies = Object.entries(columns).map(([name, values]) => [name, Float64Array.from(values)] as const);
  for (const row of rows) {
    const counts = entries.find((i) => weightOf(row, i) > 0) as number;
    for (const i of entries) {
      if (weightOf(row, i) > 0) continue;
      for (const [, values] of copies) values[row * state + i] = values[row * state + counts] as number;
    }
  }
  return Object.fromEntries(copies);
}

/** Some rows of columns side by side, `[rows, total]`. */
function packColumns(
  dtype: Dtype,
  rows: readonly number[],
  widths: ReadonlyMap<string, number>,
  columns: Readonly<Record<string, ArrayLike<number>>>,
): Float32Array | Float64Array {
  const total = [...widths.values()].reduce((sum, width) => sum + width, 0);
  const all = zeros(dtype, rows.length * total);
  for (const [name, width] of widths) {
    const own = columns[name] as ArrayLike<number>;
    const column = firstColumn(widths, name);
    for (const [place, row] of rows.entries()) {
      for (let i = 0; i < width; i++) all[place * total + column + i] = own[row * width + i] as number;
    }
  }
  return all;
}

/** Where a name's columns begin. */
function firstColumn(widths: ReadonlyMap<string, number>, name: string): number {
  const names = [...widths.keys()];
  return names.slice(0, names.indexOf(name)).reduce((sum, other) => sum + (widths.get(other) as number), 0);
}
