// How a batch is cut: for a gradient into runs of leaves whose sums are subtrees of the batch's own, so that no bit depends on where it
// is cut.

import type { Cut } from "../parallel/ensembles.js";

/** A shard takes about so long, where the speed is known: many times what a message costs, and short enough to be done again. */
const SHARD_MS = 200;
/** Shards that each thread gets, so that all end at about the same time: unless they would take too little beside their messages. */
export const PER_THREAD = 3;
/** So long a shard should take at least, and so long for each byte of its gradient. */
export const LEAST_MS = 20;
const LEAST_MS_PER_BYTE = 30e-6;

const powerBelow = (number: number) => 2 ** Math.floor(Math.log2(Math.max(1, number)));

/** How many units a shard should have, a power of two: for a gradient of so many bytes, and so many milliseconds of a unit. */
export function unitsPerShard(units: number, threads: number, bytes: number, msPerUnit: number): number {
  const share = units / Math.max(1, threads);
  const each = Math.min(
    Math.max(1, Math.floor((share * msPerUnit) / (LEAST_MS + LEAST_MS_PER_BYTE * bytes))),
    PER_THREAD,
  );
  return Math.min(powerBelow(share / each), powerBelow(SHARD_MS / msPerUnit));
}

/** A part of a batch in shards of so many units, each at a multiple of them but for the first. */
export function shardsOf({ from, to }: Cut, unit: number, units: number): Cut[] {
  const size = unit * units;
  const first = Math.floor(from / size);
  return Array.from({ length: Math.ceil(to / size) - first }, (_, i) => ({
    from: Math.max(from, (first + i) * size),
    to: Math.min(to, (first + i + 1) * size),
  }));
}
