// Batches, and the losses of them.
import { BATCH_ALTERNATIVES, DATA_ALIASES } from "../checks/aliases.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, checkSome, type Dtype, weightsOf } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, checkNames, count, isObject, object, required, rule } from "../checks/rules.js";
import type { ArgumentArrays, Field } from "../fields/field.js";
import { isLists, type Jump, type Lists, listsOf } from "../solve/changes.js";
import type { EventCotangents, IndependentSolution } from "../solve/independent.js";
import type { SolveOptions } from "../solve/options.js";
import type { LossAndCotangent, Solution } from "../solve/results.js";
import { checkHasOutputs, maskWeights, outputMask } from "./mask.js";
import { meanSquaredError } from "./squared-error.js";

/** Trajectories that are solved side by side. */
export interface Batch<D extends Dtype = Dtype, A extends string = string> {
  /** The states at the first time, `[batch, state]`, row-major. */
  y0: ArrayOf<D>;
  /**
   * The number of features of the state, which has to be that of the field: without it, states of 2 features would pass for fewer states of
   * 3. `minibatches` gives it.
   */
  stateSize?: number | undefined;
  /**
   * The times of the target, strictly ascending or descending: two or more for all trajectories, or a list for each. With lists, each
   * trajectory takes its own steps, as with `batching: "independent"`.
   */
  times: Lists;
  /**
   * The target for the solution, `[times, batch, state]`; the first time counts as well. If trajectories have lists of times, `times` is
   * the length of the longest; values after the last time of a shorter one do not count.
   */
  target: ArrayOf<D>;
  /**
   * The weight of each entry of target, `[times, batch, state]`, or of each state, `[times, batch]`: 1 where it counts and 0 where
   * not, or any finite number, zero or more; default 1.
   */
  mask?: ArrayLike<number> | undefined;
  /**
   * The arguments of these trajectories, for a field with arguments, as in `odeint`; by default the option `arguments` of `train` or `fit`.
   */
  arguments?: ArgumentArrays<A> | undefined;
  /** Changes of the state at known times, as in `odeint`; by default the option `jumps` of `train` or `fit`. */
  jumps?: readonly Jump<A>[] | undefined;
  /** The further inputs for these trajectories, for a loss that has some: see `loss`. */
  inputs?: Readonly<Record<string, ArrayLike<number>>> | undefined;
}

/**
 * A loss of a batch: `mse`, the mean of the squared differences from the target; one from `loss`, `absoluteLoss`, `huberLoss`,
 * `gaussianLoss` or `poissonLoss`; or a function of the solution `[times, batch, state]`, the batch and the shape of the solution, which
 * returns the loss and its cotangent ∂L/∂y. If trajectories are solved independently, it gets the whole solution as well, and may return
 * `events`, the derivatives with respect to times and states of events. If they have their own times, or one failed with `onFailure:
 * "mask"`, the batch that it gets has a `mask` that is 0 after the last time of each and for those that failed; there the cotangent must
 * be 0.
 */
export type Loss<D extends Dtype = Dtype> =
  | "mse"
  | ((
      y: ArrayOf<D>,
      batch: Batch<D>,
      shape: Solution<D>["shape"],
      solution?: IndependentSolution<D>,
    ) =>
      | LossAndCotangent<D>
      | (LossAndCotangent<D> & {
          /** ∂L/∂t and ∂L/∂y of the events, `{ times, states }`: a number and a row for each, in the order of `solution.events`. */
          readonly events?: EventCotangents<D>;
        }));

/** A loss as a function of the solution alone. */
export function lossFor<D extends Dtype>(loss: Loss<D>, batch: Batch<D>) {
  const batchMask = outputMask(countsOf(batch.times));
  return (y: ArrayOf<D>, shape: Solution<D>["shape"], solution?: IndependentSolution<D>) => {
    const mask = maskWeights(batch.mask, solution?.mask ?? batchMask);
    checkHasOutputs(mask, solution?.failures[0]?.error);
    return typeof loss === "function"
      ? loss(y, mask === undefined ? batch : { ...batch, mask }, shape, solution)
      : meanSquaredError(y, batch.target, entryMask(mask, shape));
  };
}

/** How many times each trajectory has; null where all share them. */
function countsOf(times: Lists): readonly number[] | null {
  return isLists(times) ? listsOf("times", times, times.length).counts : null;
}

/** A mask with a weight for each entry, of one that may have a weight for each state. */
function entryMask(mask: ArrayLike<number> | undefined, [times, batch, state]: Solution["shape"]) {
  if (mask === undefined || mask.length !== times * batch || state === 1) return mask;
  return Float64Array.from({ length: times * batch * state }, (_, i) => mask[Math.floor(i / state)] as number);
}

/** What checks the data of a traced loss, and gives how much they count. */
type CheckData = (
  where: string,
  data: Batch,
  sizes: { readonly times: number; readonly batch: number; readonly state: number },
) => number;

const names = ["y0", "stateSize", "times", "target", "mask", "arguments", "jumps", "inputs"];

/** Refuses entries that no batch has: one that is misspelled would go unnoticed, and as long as it does, training is wrong. */
export function checkBatchNames(where: string, batch: object): void {
  checkNames(where, batch, names, DATA_ALIASES, BATCH_ALTERNATIVES);
}

/** Losses of given data, as `of` makes them. */
export const lossesOfData = /* @__PURE__ */ new WeakSet<object>();

/** The losses that were traced. */
export const tracedLosses = /* @__PURE__ */ new WeakMap<object, CheckData>();

/** Refuses what cannot be a batch, as far as that is known before its solve, and gives how much it counts. */
export function checkBatch<D extends Dtype>(where: string, batch: Batch<D>, loss: Loss<D>, field: Field<D>): number {
  argument(where, batch, required({ ...object, expected: "a batch { y0, times, target }" }));
  checkBatchNames(`${where}.`, batch);
  const { dtype, stateSize: state } = field;
  if (batch.stateSize !== undefined && batch.stateSize !== state) {
    const given = `states of ${describe(batch.stateSize)}, by its stateSize`;
    throw refused("SHAPE", `${where}.y0`, `states of ${state} features, as the field has`, given);
  }
  const numbers = arrayOf(`${where}.y0`, batch.y0, dtype).length;
  const samples = numbers / state;
  // Without lists, the solve checks y0.
  const count = isLists(batch.times) ? batchOf(`${where}.y0`, batch.y0, state) : samples;
  const { counts, longest: times } = listsOf(`${where}.times`, batch.times, count);
  const length = times * numbers;
  const rows = length / state;
  const given = batch.mask === undefined ? undefined : weightsOf(`${where}.mask`, batch.mask).weights;
  if (given && (loss === "mse" || counts !== null) && given.length !== rows) {
    checkLength(`${where}.mask`, given, length, "[times, batch, state]");
  }
  const outputs = outputMask(counts);
  const weights = maskWeights(given, outputs);
  const mask = weights && weightsOf(`${where}.mask`, weights);
  const isWhole = mask?.weights.length !== rows;
  // A mask of rows weighs each of their numbers.
  const counted = mask ? mask.sum * (length / mask.weights.length) : length;
  if (loss === "mse") {
    const target = arrayOf(`${where}.target`, batch.target, dtype);
    checkLength(`${where}.target`, target, length, "[times, batch, state]");
    const bad = target.findIndex(
      (number, i) => !Number.isFinite(number) && mask?.weights[isWhole ? i : Math.floor(i / state)] !== 0,
    );
    if (bad >= 0) {
      const expected = "finite numbers where the mask is not 0";
      throw refused("NON_FINITE", `${where}.target`, expected, `${target[bad]} at index ${bad}`);
    }
    return counted;
  }
  const check = tracedLosses.get(loss);
  if (check && Number.isInteger(samples)) return check(where, batch, { times, batch: samples, state });
  return counted;
}

/** The options of a solve of a batch. */
export function optionsFor<O extends SolveOptions>(options: O, batch: Batch): O {
  const { arguments: own, jumps } = batch;
  return { ...options, ...(own !== undefined && { arguments: own }), ...(jumps !== undefined && { jumps }) };
}

const isFunction = (value: unknown) => typeof value === "function";
/** Batches, in any iterable. */
export const dataRule = required(
  rule<Iterable<never>>("an array or an iterable of batches", (value) => {
    if (!isObject(value) || ArrayBuffer.isView(value)) return false;
    const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = value as Partial<
      Iterable<unknown> & AsyncIterable<unknown>
    >;
    return isFunction(later) || isFunction(now);
  }),
);

/**
 * The data as an iterable, and how many steps to take; undefined for as many as there are batches. The batches of an array are checked
 * at once. Data that have a length, such as arrays and `minibatches`, are repeated.
 */
export function batches<B>(
  data: readonly B[] | Iterable<B> | AsyncIterable<B>,
  steps: number | undefined,
  check: (where: string, batch: B) => void,
): { readonly all: Iterable<B> | AsyncIterable<B>; readonly steps: number | undefined } {
  if (!Array.isArray(data)) {
    const { length } = data as { readonly length?: unknown };
    return count.valid(length) ? { all: cycle<B>(data), steps: steps ?? (length as number) } : { all: data, steps };
  }
  const given: readonly B[] = data;
  checkSome("data", given, "batch", "OPTION");
  if (steps === undefined) throw refused("OPTION", "steps", "a number, for an array of data", "undefined");
  for (const [index, batch] of given.entries()) check(`data[${index}]`, batch);
  return { all: cycle<B>([...given]), steps };
}

async function* cycle<B>(batches: Iterable<B> | AsyncIterable<B>): AsyncGenerator<B> {
  for (let some = true; some; ) {
    some = false;
    for await (const batch of batches) {
      some = true;
      yield batch;
    }
  }
}
