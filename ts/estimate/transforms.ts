// Scales on which parameters are estimated: between what a user means by a value and what the minimiser changes.

/**
 * The scale on which a parameter is estimated: its `log`, for one that is positive; the `logit` of its place between its bounds, for
 * one that is a part of a whole. Steps, and intervals before they are mapped back, are symmetric on that scale.
 */
export type TransformName = "identity" | "log" | "logit";

export const TRANSFORMS = ["identity", "log", "logit"] as const satisfies readonly TransformName[];

/** A scale and the way back. */
export interface Transform {
  toInternal(natural: number): number;
  toNatural(internal: number): number;
  /** The derivative of `toNatural`. */
  slope(internal: number): number;
}

const identity: Transform = { toInternal: (x) => x, toNatural: (u) => u, slope: () => 1 };
const log: Transform = { toInternal: Math.log, toNatural: Math.exp, slope: Math.exp };

/** A scale by its name; `logit` needs bounds that are finite. */
export function transformOf(name: TransformName, lower: number, upper: number): Transform {
  if (name === "identity") return identity;
  if (name === "log") return log;
  const width = upper - lower;
  // From the nearer bound, so that values next to a bound keep their digits.
  const part = (u: number) => Math.exp(-Math.abs(u)) / (1 + Math.exp(-Math.abs(u)));
  return {
    toInternal: (x) => Math.log((x - lower) / (upper - x)),
    toNatural: (u) => (u < 0 ? lower + width * part(u) : upper - width * part(u)),
    slope: (u) => width * part(u) * (1 - part(u)),
  };
}
