// Which outputs count if trajectories have their own times or have failed.
import type { SymplecticAdjointError } from "../checks/errors.js";

/**
 * Where trajectories have outputs, `[longest, batch]`, of how many times each has: 1, or 0 after the last. Undefined where all share
 * their times.
 */
export function outputMask(counts: readonly number[] | null): Uint8Array | undefined {
  if (counts === null) return undefined;
  const longest = counts.reduce((most, count) => Math.max(most, count), 0);
  const outputs = new Uint8Array(longest * counts.length);
  for (const [trajectory, count] of counts.entries()) {
    for (let output = 0; output < count; output++) outputs[output * counts.length + trajectory] = 1;
  }
  return outputs;
}

/** Weights of rows, or of the numbers in them, with zeros where there is no output. */
export function maskWeights<W extends ArrayLike<number>>(
  weights: W | undefined,
  outputs: Uint8Array | undefined,
): W | Uint8Array | Float64Array | undefined {
  if (!outputs || !weights) return weights ?? outputs;
  const width = weights.length / outputs.length;
  return Float64Array.from(weights, (weight, i) => (outputs[Math.floor(i / width)] ? weight : 0));
}

/** Refuses weights of a solution that leave nothing, where that is so because trajectories failed: with the error of the first. */
export function checkHasOutputs(
  weights: ArrayLike<number> | undefined,
  failure: SymplecticAdjointError | undefined,
): void {
  if (failure && weights && !Array.from(weights).some((weight) => weight !== 0)) throw failure;
}
