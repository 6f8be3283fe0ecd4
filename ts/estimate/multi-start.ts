// Where to start from, if one start may end in a minimum that is not the least.
import { shuffle, uniforms } from "../trace/random.js";
import { quantile } from "./statistics.js";

/** The start and the range of a variable before it is estimated. */
export interface Range {
  readonly start: number;
  readonly lower: number;
  readonly upper: number;
  /** How far from the start a value is likely to be, where a bound is missing. */
  readonly spread: number;
}

/**
 * Starts: the given one, and others by a seed, so spread that each variable takes a value in each of as many equally likely parts of
 * its range (a Latin hypercube; McKay, Beckman and Conover 1979). They are uniform between bounds, and normal around the start where
 * a bound is missing.
 */
export function startsOf(ranges: readonly Range[], count: number, seed: number): Float64Array[] {
  const uniform = uniforms(seed);
  const drawn = count - 1;
  const columns = ranges.map((range) => {
    const parts = shuffle(
      Array.from({ length: drawn }, (_, k) => k),
      uniform,
    );
    return parts.map((part) => valueAt(range, (part + uniform()) / drawn));
  });
  const own = Float64Array.from(ranges, ({ start }) => start);
  return [own, ...Array.from({ length: drawn }, (_, k) => Float64Array.from(columns, (column) => column[k] as number))];
}

/** The value below which a part of all lies. */
function valueAt({ start, lower, upper, spread }: Range, part: number): number {
  if (upper - lower < Number.POSITIVE_INFINITY) return lower + part * (upper - lower);
  const side = Math.abs(2 * part - 1);
  const value = start + Math.sign(part - 0.5) * spread * quantile(side);
  // Beyond the one bound that there may be, it is halfway between that and the start.
  if (value <= lower) return 0.5 * (lower + start);
  return value >= upper ? 0.5 * (upper + start) : value;
}
