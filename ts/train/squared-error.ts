// The mean of squared differences.
import { arrayOf, checkLength, checkSome, dtypeOf, floatsOf, weightsOf, zeros } from "../checks/arrays.js";
import { refused, type SymplecticAdjointError } from "../checks/errors.js";
import { outputsIn } from "../solve/outputs.js";
import { checkHasOutputs } from "./mask.js";

/**
 * The mean of the squared differences, and its cotangent; with a mask (1 where an entry counts, 0 where not, or weights), the weighted
 * mean. Outputs that the `mask` of an independent solution leaves out never count, if `y` is the very array that the solve or
 * `valueAndGrad` returned.
 *
 * @returns `value` and `cotangent`, shaped as y: as `valueAndGrad` needs them; and for `hessianVectorProduct` `curvature(ẏ)`,
 * the derivative of the cotangent along ẏ.
 * @throws `SHAPE` or `DTYPE` for arrays of different lengths or number types; `OPTION` for a mask with a weight that is negative or not
 * finite, or without any positive one; `NON_FINITE` where a number that counts is not finite, or the mean is too large for one.
 */
export function meanSquaredError<A extends Float32Array | Float64Array>(
  y: A,
  target: A,
  mask?: ArrayLike<number>,
): {
  /** The mean of the squared differences over the entries whose mask is not 0, weighted by it. */
  value: number;
  /** ∂value/∂y, shaped as y. */
  cotangent: A;
  /** The derivative of the cotangent along a change of y, shaped as y: what `hessianVectorProduct` asks of a loss. */
  curvature: (tangent: A) => A;
} {
  const given = floatsOf("y", y);
  const dtype = dtypeOf(y);
  const wanted = arrayOf("target", target, dtype, ", as y is");
  checkLength("target", wanted, given.length);
  checkSome("y", given, "number");
  const { weights, sum } = weightsIn(y, given.length, mask);
  const cotangent = zeros(dtype, given.length);
  let value = 0;
  for (let i = 0; i < given.length; i++) {
    const weight = weights ? (weights[i] as number) : 1;
    // An entry that does not count may well be missing, that is NaN.
    if (weight === 0) continue;
    const part = weight / sum;
    const difference = (given[i] as number) - (wanted[i] as number);
    value += part * difference * difference;
    cotangent[i] = 2 * part * difference;
    if (!Number.isFinite(value) || !Number.isFinite(cotangent[i])) throw notFinite(given, wanted, i);
  }
  const curvature = (tangent: A) => {
    const tangents = arrayOf("tangent", tangent, dtype);
    checkLength("tangent", tangents, given.length);
    return tangents.map((dy, i) => {
      const weight = weights ? (weights[i] as number) : 1;
      return weight === 0 ? 0 : (2 * weight * dy) / sum;
    }) as A;
  };
  const result = { value, cotangent: cotangent as A, curvature };
  // Whoever spreads the result to change it makes another loss, whose curvature this is not.
  return Object.defineProperty(result, "curvature", { enumerable: false });
}

/** The weights of `length` numbers, 0 for those of y that are no outputs of its solve. */
function weightsIn(y: object, length: number, mask: ArrayLike<number> | undefined) {
  const maskWeights = mask === undefined ? undefined : weightsOf("mask", mask).weights;
  if (maskWeights) checkLength("mask", maskWeights, length);
  const { mask: outputs, failure } = outputsIn(y);
  if (!maskWeights && !outputs) return { weights: undefined, sum: length };
  const width = outputs ? length / outputs.length : 1;
  const weights = outputs
    ? Float64Array.from({ length }, (_, i) => (outputs[Math.floor(i / width)] ? (maskWeights?.[i] ?? 1) : 0))
    : maskWeights;
  checkHasOutputs(weights, failure);
  return weightsOf("mask", weights);
}

/** Why a mean of squares is not finite at an index. */
function notFinite(y: ArrayLike<number>, target: ArrayLike<number>, i: number): SymplecticAdjointError {
  for (const [argument, { [i]: number }] of Object.entries({ y, target })) {
    if (!Number.isFinite(number)) {
      return refused("NON_FINITE", argument, "finite numbers where the mask is not 0", `${number} at index ${i}`);
    }
  }
  const given = `${y[i]} and ${target[i]} at index ${i}`;
  return refused("NON_FINITE", "target", "numbers so near y that their mean square is finite", given);
}
