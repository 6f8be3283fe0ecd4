// What a flow's tapes take, by its architecture (crate/src/network/dual.rs, docs/memory.md).

/**
 * Numbers kept for each sample of a batch by one use of a concatsquash network with one direction of noise: of each hidden
 * layer u, a, σ′, σ″ and the tangents ẇ, ȧ; of the last u and ẇ; and the two outputs.
 */
export function tapeNumbers(widths) {
  const hidden = widths.slice(1, -1).reduce((sum, width) => sum + width, 0);
  return 6 * hidden + 4 * widths.at(-1);
}

/**
 * Uses taped at once, beside a block of samples of the one at work: by `aca` those of a step, by `baseline` all, and by
 * `backprop` also the last slope of an adaptive solve, which its gradient does not need. Stages as dopri5 has them.
 */
function tapedUses(gradient, steps, stages = 6) {
  return { symplectic: 0, aca: stages, baseline: stages * steps, backprop: stages * steps + 1, adjoint: 0 }[gradient];
}

/** Bytes of those tapes, in float32. */
export function tapeBytes({ widths, batch }, gradient, steps) {
  return 4 * Math.ceil(batch / 4) * 4 * tapeNumbers(widths) * tapedUses(gradient, steps);
}
