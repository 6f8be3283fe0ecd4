// How a batch is cut: into runs of leaves whose sums are subtrees of the batch's own, so that no bit depends on where it is cut.

import type { Cut } from "../parallel/ensembles.js";

/** A shard takes about so long, where the speed is known: many times what a message costs, and short enough to be done again. */
const SHARD_MS = 200;
/** Shards that each thread gets, at least, so that all end at about the same time. */
const PER_THREAD = 3;

const powerBelow = (number: number) => 2 ** Math.floor(Math.log2(Math.max(1, number)));

/** How many leaves a shard should have: a power of two. */
export function leavesPerShard(leaves: number, threads: number, msPerLeaf: number | undefined): number {
  const fair = powerBelow(leaves / (PER_THREAD * Math.max(1, threads)));
  return msPerLeaf === undefined ? fair : Math.min(fair, powerBelow(SHARD_MS / msPerLeaf));
}

/** A batch in shards of so many leaves, each at a multiple of them. */
export function shardsOf(batch: number, leaf: number, leaves: number): Cut[] {
  const size = leaf * leaves;
  return Array.from({ length: Math.ceil(batch / size) }, (_, i) => ({
    from: i * size,
    to: Math.min(batch, (i + 1) * size),
  }));
}
