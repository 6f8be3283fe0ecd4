// What a flow's tapes take, by its architecture (docs/memory.md).

/**
 * Numbers that one use of a concatsquash network with one direction of noise tapes for each sample of a batch: of each hidden
 * layer its output and a tangent, of the last layer its product and that of the tangent.
 */
export function tapeNumbers(widths) {
  const hidden = widths.slice(1, -1).reduce((sum, width) => sum + width, 0);
  return 2 * hidden + 2 * widths.at(-1);
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
