// Splits batches into shards. With a gradient, shards are runs of leaves whose sums are subtrees of the sum over the batch, so that the
// bits do not depend on how it is split.

import type { Cut } from "../parallel/ensembles.js";

/** The target time of solving a shard: much longer than a message takes, and short enough to repeat. */
const SHARD_MS = 200;
/** Shards for each thread, so that all threads end at about the same time; fewer if shards would be too short. */
export const PER_THREAD = 3;
/** The least time of solving a shard, and how much longer it must be for each byte of its gradient, which takes time to send. */
export const LEAST_MS = 20;
const LEAST_MS_PER_BYTE = 60e-6;

const powerBelow = (number: number) => 2 ** Math.floor(Math.log2(Math.max(1, number)));

/** The units of a shard, a power of two; `bytes` is the size of its gradient. */
export function unitsPerShard(units: number, threads: number, bytes: number, msPerUnit: number): number {
  const share = units / Math.max(1, threads);
  const least = LEAST_MS + LEAST_MS_PER_BYTE * bytes;
  const each = Math.min(Math.max(1, Math.floor((share * msPerUnit) / least)), PER_THREAD);
  return Math.min(powerBelow(share / each), powerBelow(Math.max(SHARD_MS, 2 * least) / msPerUnit));
}

/** Splits a range into shards of `units` units, aligned to multiples of that size. */
export function shardsOf({ from, to }: Cut, unit: number, units: number): Cut[] {
  const size = unit * units;
  const first = Math.floor(from / size);
  return Array.from({ length: Math.ceil(to / size) - first }, (_, i) => ({
    from: Math.max(from, (first + i) * size),
    to: Math.min(to, (first + i + 1) * size),
  }));
}
