// Batches, and the losses of them.
import { type ArrayOf, arrayOf, checkLength, type Dtype, timesOf, weightsOf } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, isObject, object, required, rule } from "../checks/rules.js";
import type { ArgumentArrays, Field } from "../fields/field.js";
import type { SolveOptions } from "../solve/options.js";
import type { LossAndCotangent, Solution } from "../solve/results.js";
import { meanSquaredError } from "./squared-error.js";

/** Trajectories that share their times. */
export interface Batch<D extends Dtype = Dtype> {
  /** The states at the first time, `[batch, state]`, row-major. */
  y0: ArrayOf<D>;
  /** The times of the target, strictly ascending or descending: two or more. */
  times: ArrayLike<number>;
  /** What the solution should be, `[times, batch, state]`; that at the first time counts as well. */
  target: ArrayOf<D>;
  /**
   * The weight of each entry of target, `[times, batch, state]`, or of each state, `[times, batch]`: 1 where it counts and 0 where
   * not, or any finite number, zero or more; default 1.
   */
  mask?: ArrayLike<number>;
  /** Of a field with arguments, those of these trajectories, as in `odeint`; default those among the options of the training. */
  arguments?: ArgumentArrays;
  /** Of a loss with inputs of its own, those of these trajectories: see `loss`. */
  inputs?: Readonly<Record<string, ArrayLike<number>>>;
}

/**
 * A loss of a batch: `mse`, the mean of the squared differences from the target; one from `loss`, `absoluteLoss`, `huberLoss`,
 * `gaussianLoss` or `poissonLoss`; or a function of the solution `[times, batch, state]`, the batch and the shape of the solution,
 * which gives the loss and its cotangent ∂L/∂y.
 */
export type Loss<D extends Dtype = Dtype> =
  | "mse"
  | ((y: ArrayOf<D>, batch: Batch<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>);

/** A loss as a function of the solution alone. */
export function lossFor<D extends Dtype>(loss: Loss<D>, batch: Batch<D>) {
  return (y: ArrayOf<D>, shape: Solution<D>["shape"]): LossAndCotangent<D> =>
    typeof loss === "function"
      ? loss(y, batch, shape)
      : meanSquaredError(y, batch.target, entryMask(batch.mask, shape));
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

/** The losses that were traced. */
export const tracedLosses = /* @__PURE__ */ new WeakMap<object, CheckData>();

/** Refuses what cannot be a batch, as far as that is known before its solve, and gives how much it counts. */
export function checkBatch<D extends Dtype>(where: string, batch: Batch<D>, loss: Loss<D>, field: Field<D>): number {
  argument(where, batch, required({ ...object, expected: "a batch { y0, times, target }" }));
  const { dtype, stateSize: state } = field;
  const mask = batch.mask === undefined ? undefined : weightsOf(`${where}.mask`, batch.mask);
  const times = timesOf(batch.times, `${where}.times`).length;
  const numbers = arrayOf(`${where}.y0`, batch.y0, dtype).length;
  const length = times * numbers;
  if (loss === "mse") {
    const target = arrayOf(`${where}.target`, batch.target, dtype);
    checkLength(`${where}.target`, target, length, "[times, batch, state]");
    const rows = length / state;
    const isWhole = mask?.weights.length !== rows;
    if (mask && isWhole) checkLength(`${where}.mask`, mask.weights, length, "[times, batch, state]");
    const bad = target.findIndex(
      (number, i) => !Number.isFinite(number) && mask?.weights[isWhole ? i : Math.floor(i / state)] !== 0,
    );
    if (bad >= 0) {
      const expected = "finite numbers where the mask is not 0";
      throw refused("NON_FINITE", `${where}.target`, expected, `${target[bad]} at index ${bad}`);
    }
    return mask ? mask.sum * (length / mask.weights.length) : length;
  }
  const check = tracedLosses.get(loss);
  const samples = numbers / state;
  if (check && Number.isInteger(samples)) return check(where, batch, { times, batch: samples, state });
  return mask?.sum ?? length;
}

/** The options of a solve of a batch. */
export function optionsFor<O extends SolveOptions>(options: O, batch: Batch): O {
  return batch.arguments === undefined ? options : { ...options, arguments: batch.arguments };
}

const isFunction = (value: unknown) => typeof value === "function";
const iterable = rule<object>("an array or an iterable of batches", (value) => {
  if (!isObject(value)) return false;
  const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = value as Partial<
    Iterable<unknown> & AsyncIterable<unknown>
  >;
  return isFunction(later) || isFunction(now);
});

/** The data as an iterable; an array, whose batches are checked at once, again and again for so many steps. */
export function batches<B>(
  data: readonly B[] | Iterable<B> | AsyncIterable<B>,
  steps: number | undefined,
  check: (where: string, batch: B) => void,
) {
  const given = argument("data", data, required(iterable)) as Iterable<B> & AsyncIterable<B>;
  if (!Array.isArray(given)) return given;
  if (given.length === 0) throw refused("OPTION", "data", "at least one batch", describe(given));
  if (steps === undefined) throw refused("OPTION", "steps", "a number, for an array of data", "undefined");
  for (const [index, batch] of given.entries()) check(`data[${index}]`, batch);
  return repeated<B>([...given]);
}

function* repeated<B>(batches: readonly B[]): Generator<B> {
  for (;;) yield* batches;
}
