// Statistics, which the crate hands out as numbers in the order of their names.
import { BYTES, GRADIENT_STATS, RETENTION, SOLVE_STATS } from "../../wasm/constants.js";
import type { Bytes, GradientStats, Retention, SolveStats } from "./results.js";

/** What writes its statistics into an array. */
interface Measured {
  stats(numbers: Float64Array): void;
}

function named(names: readonly string[], numbers: Float64Array, first: number): Record<string, number> {
  const record: Record<string, number> = {};
  for (let i = 0; i < names.length; i++) record[names[i] as string] = numbers[first + i] as number;
  return record;
}

/** How a solve went. */
export function solveStats(solved: Measured): SolveStats {
  const numbers = new Float64Array(SOLVE_STATS.length + BYTES.length);
  solved.stats(numbers);
  const stats = named(SOLVE_STATS, numbers, 0) as unknown as Omit<SolveStats, "rtolClamped" | "peakBytes">;
  const rtolClamped = numbers[SOLVE_STATS.indexOf("rtolClamped")] === 1;
  const peakBytes = named(BYTES, numbers, SOLVE_STATS.length) as unknown as Bytes;
  return { ...stats, rtolClamped, peakBytes };
}

/** What a gradient took. */
export function gradientStats(pulled: Measured): GradientStats {
  const numbers = new Float64Array(GRADIENT_STATS.length + RETENTION.length + BYTES.length);
  pulled.stats(numbers);
  const stats = named(GRADIENT_STATS, numbers, 0) as unknown as Omit<GradientStats, "retention" | "peakBytes">;
  const kept = named(RETENTION, numbers, GRADIENT_STATS.length) as unknown as Omit<Retention, "stepTapes">;
  const stepTapes = numbers[GRADIENT_STATS.length + RETENTION.indexOf("stepTapes")] === 1;
  const peakBytes = named(BYTES, numbers, GRADIENT_STATS.length + RETENTION.length) as unknown as Bytes;
  return { ...stats, retention: { ...kept, stepTapes }, peakBytes };
}
