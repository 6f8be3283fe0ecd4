// Statistics, which the crate hands out as numbers in the order of their names.
import { BYTES, GRADIENT_STATS, RETENTION, SOLVE_STATS } from "../../wasm/constants.js";
import type { GradientStats, SolveStats } from "./results.js";

/** An object of the engine that writes its statistics into an array. */
interface StatsSource {
  stats(numbers: Float64Array): void;
}

function named(names: readonly string[], numbers: Float64Array, first: number): Record<string, number> {
  const record: Record<string, number> = {};
  for (let i = 0; i < names.length; i++) record[names[i] as string] = numbers[first + i] as number;
  return record;
}

/** Where statistics are written and read at once: arrays of their own would cost small solves a microsecond each. */
const scratch = new Map<number, Float64Array>();

function numbersOf(measured: StatsSource, length: number): Float64Array {
  const numbers = scratch.get(length) ?? new Float64Array(length);
  scratch.set(length, numbers);
  measured.stats(numbers);
  return numbers;
}

/** How a solve went. */
export function solveStats(solved: StatsSource): SolveStats {
  const numbers = numbersOf(solved, SOLVE_STATS.length + BYTES.length);
  const stats: Record<string, unknown> = named(SOLVE_STATS, numbers, 0);
  stats.rtolClamped = stats.rtolClamped === 1;
  stats.peakBytes = named(BYTES, numbers, SOLVE_STATS.length);
  return stats as unknown as SolveStats;
}

/** The statistics of a gradient. */
export function gradientStats(pulled: StatsSource): GradientStats {
  const numbers = numbersOf(pulled, GRADIENT_STATS.length + RETENTION.length + BYTES.length);
  const stats: Record<string, unknown> = named(GRADIENT_STATS, numbers, 0);
  const retention: Record<string, unknown> = named(RETENTION, numbers, GRADIENT_STATS.length);
  retention.stepTapes = retention.stepTapes === 1;
  stats.retention = retention;
  stats.peakBytes = named(BYTES, numbers, GRADIENT_STATS.length + RETENTION.length);
  return stats as unknown as GradientStats;
}
