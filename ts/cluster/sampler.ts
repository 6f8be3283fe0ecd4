// The points of a sweep: one for each trial, with a coordinate from 0 to below 1 for each parameter.
import { kronecker, lowDiscrepancy, phi } from "@thi.ng/lowdisc";
import { describe, isArray, refused } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { uniforms } from "../trace/random.js";

/**
 * How the parameters of trials are chosen: `quasirandom` fills the space evenly, `random` draws each independently, `grid` takes all
 * combinations.
 */
export type Sampler = "quasirandom" | "random" | "grid";

export const SAMPLERS = ["quasirandom", "random", "grid"] as const satisfies readonly Sampler[];

/** What a sweep asks of a sampler of yours. */
export interface SamplerRequest {
  /** The number of trials, which is the number of points. */
  readonly trials: number;
  /** The number of parameters, which is the number of coordinates of a point, in the order of `space`. */
  readonly dimensions: number;
  /** The seed of the sweep: another one should give other points, and the same one the same. */
  readonly seed: number;
}

/**
 * A sampler of your own, or from a library: returns the points of all trials at once, `trials` rows of `dimensions` numbers from 0 to below
 * 1. A coordinate is the place of a parameter in its range, on the scale of the range; or in its list of values, each of which has an
 * equal share.
 */
export type SamplerFunction = (request: SamplerRequest) => ArrayLike<ArrayLike<number>>;

/** The points of a built-in sampler, row by row. */
export function pointsOf(
  sampler: "quasirandom" | "random",
  { trials, dimensions, seed }: SamplerRequest,
): Float64Array<ArrayBuffer> {
  const uniform = uniforms(seed);
  const points = new Float64Array(trials * dimensions);
  if (sampler === "random") return points.map(uniform);
  // Roberts' sequence ("The unreasonable effectiveness of quasirandom sequences", 2018), from a random point. phi's default of 18
  // iterations gets only the first digits right.
  const root = phi(dimensions, 64);
  const sequence = lowDiscrepancy(Array.from({ length: dimensions }, (_, i) => kronecker(root ** -(i + 1), uniform())));
  for (let trial = 0; trial < trials; trial++) points.set(sequence.next().value as number[], trial * dimensions);
  return points;
}

const isPlace = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 1;
const isList = (value: unknown): value is ArrayLike<unknown> =>
  isArray(value) || (ArrayBuffer.isView(value) && "length" in value);

/** Calls a user's sampler and checks its points. */
export function readPoints(sampler: SamplerFunction, request: SamplerRequest): Float64Array<ArrayBuffer> {
  const { trials, dimensions } = request;
  const numbers = `${dimensions} ${dimensions === 1 ? "number" : "numbers"} from 0 to below 1`;
  const expected = `${trials} rows of ${numbers}`;
  const points = new Float64Array(trials * dimensions);
  runUserCode(() => {
    const rows: unknown = sampler(Object.freeze({ ...request }));
    if (isObject(rows) && "then" in rows) {
      throw refused("CALLBACK", "sampler's result", `${expected}, at once`, "a Promise: is it an async function?");
    }
    if (!isList(rows) || rows.length !== trials) {
      throw refused("CALLBACK", "sampler's result", expected, describe(rows));
    }
    for (let trial = 0; trial < trials; trial++) {
      const row = rows[trial];
      if (!isList(row) || row.length !== dimensions) {
        throw refused("CALLBACK", `sampler's result[${trial}]`, numbers, describe(row));
      }
      for (let i = 0; i < dimensions; i++) {
        const place = row[i];
        if (!isPlace(place)) {
          throw refused("CALLBACK", `sampler's result[${trial}][${i}]`, "a number from 0 to below 1", describe(place));
        }
        // Adding 0 turns -0 into 0.
        points[trial * dimensions + i] = place + 0;
      }
    }
  });
  return points;
}

/** Reads stored points; undefined if they are invalid. */
export function pointsFrom(bytes: Uint8Array, count: number): Float64Array | undefined {
  if (bytes.length !== count * Float64Array.BYTES_PER_ELEMENT) return undefined;
  const points = new Float64Array(new Uint8Array(bytes).buffer);
  return points.every(isPlace) ? points : undefined;
}
