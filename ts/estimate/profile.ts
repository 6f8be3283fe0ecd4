// Profiles of a cost: how much it rises where one variable is fixed and the others are fitted again.
import { awaited, type Coroutine } from "./coroutine.js";

/** A point of a profile. */
interface ProfilePoint {
  /** All variables. */
  readonly x: Float64Array;
  readonly cost: number;
}

/** The parameter to profile, and the minimum to start from. */
export interface ProfileProblem {
  readonly minimum: ProfilePoint;
  /** The index of the variable to profile, and its bounds. */
  readonly index: number;
  readonly lower: number;
  readonly upper: number;
  /** The cost at which the interval ends. */
  readonly limit: number;
  /** How far it ends from the minimum, about. */
  readonly width: number;
  readonly maxPoints: number;
  /** Where else to look for the others, once the interval seems to end. */
  readonly elsewhere: readonly Float64Array[];
  /** A minimum near `start` with the variable where it is there; undefined where that cannot be computed. */
  minimize(start: Float64Array, maxIterations: number): Coroutine<ProfilePoint | undefined>;
}

/** So many values, about, lie between the minimum and the end of the interval. */
const STEPS = 6;
/** How close the cost comes to the limit at the end of the interval, relative to its rise; on the scale of the root. */
const PRECISION = 1e-7;
/** If the cost rises from one value to the next by more than this many times the expected rise, it may belong to another minimum. */
const JUMP = 2;
/** Costs that are closer than this, on the scale of the root, belong to one minimum. */
const SAME = 1e-6;
/** If values closer than this, relative to themselves, have costs on both sides of the limit, the cost jumps. */
const CLOSE = 1e-12;
/** The most iterations of a fit that follows a minimum, and of one that looks for another. */
const [LONG, BRIEF] = [60, 30];
/** The most values to try that cannot be computed, those of them between two that can, and those until the limit is found. */
const [FAILURES, GAPS, TRIALS] = [8, 3, 60];

/** Points of the profile, ascending, with where it crosses the limit. */
export function* profileOf(problem: ProfileProblem) {
  const { minimum, index } = problem;
  const first = yield* profileSide(problem, -1);
  const up = yield* profileSide(problem, 1, first);
  // Points on the other side may belong to another minimum.
  const down = (yield* first.isLeast(representativesOf(up))) ? first : yield* profileSide(problem, -1, up);
  const points = [...down.points, minimum, ...up.points].sort(
    (a, b) => (a.x[index] as number) - (b.x[index] as number),
  );
  return { points, interval: [down.end, up.end] as const };
}

/** One side of a profile. */
interface ProfileSide {
  /** From the minimum outwards. */
  readonly points: readonly ProfilePoint[];
  readonly end: number | undefined;
  /** Whether no fit from one of these has a lower cost where it ends. */
  isLeast(starts: readonly Float64Array[]): Coroutine<boolean>;
}

/** Some points of one side: in the midst of it, and the last. */
const representativesOf = ({ points }: ProfileSide) =>
  [1, 2, 3].flatMap((part) => points[Math.ceil((part * points.length) / 3) - 1]?.x ?? []);

function* profileSide(problem: ProfileProblem, direction: -1 | 1, other?: ProfileSide): Coroutine<ProfileSide> {
  const { minimum, index, limit, width, maxPoints } = problem;
  const bound = direction < 0 ? problem.lower : problem.upper;
  const of = ({ x }: ProfilePoint) => x[index] as number;
  /** The root of the rise, which is straight where the model is linear, relative to that at the end (Bates and Watts 1988). */
  const height = ({ cost }: ProfilePoint) => {
    const part = (cost - minimum.cost) / (limit - minimum.cost);
    return Math.sign(part) * Math.sqrt(Math.abs(part));
  };
  /** Fits the others, from where they are elsewhere. */
  const at = (value: number, start: Float64Array, iterations = LONG) =>
    problem.minimize(replaced(start, index, value), iterations);
  /** Where the line through two points leads. */
  const ahead = (value: number, from: ProfilePoint, before: ProfilePoint | undefined) => {
    if (!before) return from.x;
    const part = Math.max(-1, Math.min(2, (value - of(from)) / (of(from) - of(before))));
    return from.x.map((x, i) => x + part * (x - (before.x[i] as number)));
  };

  /** A point, or one of a lower cost at the same value that a start leads to. */
  function* leastAt(point: ProfilePoint, starts: readonly Float64Array[]): Coroutine<ProfilePoint> {
    let least = point;
    for (const start of starts) least = lower(least, yield* at(of(point), start, BRIEF)) as ProfilePoint;
    return least;
  }

  const elsewhere = [...problem.elsewhere, ...(other ? representativesOf(other) : [])];
  const points: ProfilePoint[] = [];
  let [last, before]: (ProfilePoint | undefined)[] = [minimum, undefined];
  let [step, failures, flat] = [width / STEPS, 0, 0];
  while (points.length < maxPoints && failures < FAILURES) {
    const from = last as ProfilePoint;
    const target = of(from) + direction * step;
    const isBound = direction * (target - bound) >= 0;
    const value = isBound ? bound : target;
    if (value === of(from) || !Number.isFinite(value)) break;
    let point: ProfilePoint | undefined = yield* at(value, ahead(value, from, before));
    // The line may lead to a minimum that is not the least.
    if (before && !(point && height(point) < Math.min(1, height(from) + JUMP / STEPS)))
      point = lower(point, yield* at(value, from.x));
    if (!point) {
      failures++;
      step /= 4;
      continue;
    }
    if (height(point) >= 1 - PRECISION) {
      const end: ProfilePoint | undefined =
        Math.abs(height(point) - 1) <= PRECISION ? point : yield* crossing(from, before, point);
      if (!end) break;
      const best = yield* leastAt(end, elsewhere);
      points.push(best);
      if (height(best) < 1 - SAME) {
        // It goes on from the lower minimum.
        step = Math.abs(of(end) - of(minimum)) / STEPS;
        [last, before] = [best, undefined];
        continue;
      }
      // Points beyond the end, recomputed from its minimum.
      if (end !== point) points.push(lower(point, yield* at(value, end.x)) as ProfilePoint);
      return {
        points,
        end: of(end),
        *isLeast(starts) {
          return height(yield* leastAt(end, starts)) >= 1 - SAME;
        },
      };
    }
    points.push(point);
    const rise = height(point) - height(from);
    // Far out where the cost rises no more, there is nothing to look for.
    flat = Math.abs(rise) < 1e-3 / STEPS ? flat + 1 : 0;
    if (isBound || flat === 5) break;
    step *= Math.max(0.3, Math.min(3, 1 / STEPS / Math.max(Math.abs(rise), 1e-9)));
    [last, before] = [point, from];
  }
  return {
    points,
    end: undefined,
    isLeast: () => awaited(true),
  };

  /**
   * The point at the limit between one below and one above it, by the false position of Illinois (Dowell and Jarratt 1971). Those two
   * may be of different minima: until they are of one, each value is reached from both. Undefined where the cost jumps over the limit,
   * or what is between cannot be computed.
   */
  function* crossing(
    below: ProfilePoint,
    before: ProfilePoint | undefined,
    above: ProfilePoint,
  ): Coroutine<ProfilePoint | undefined> {
    let [low, high, previous] = [below, above, before];
    let [lowExcess, highExcess, side, failed] = [height(below) - 1, height(above) - 1, 0, 0];
    /** Whether the least cost between them is reached from below, and whether that above is of the same minimum. */
    let [isLow, isOne] = [false, false];
    for (let i = 0; i < TRIALS && failed <= GAPS; i++) {
      const [a, b] = [of(low), of(high)];
      const middle = 0.5 * (a + b);
      // If the ends belong to two minima, their costs say nothing about the cost between them.
      const isSmooth = failed === 0 && (i === 0 || (isOne && i % 3 < 2));
      const value = isSmooth ? (a * highExcess - b * lowExcess) / (highExcess - lowExcess) : middle;
      if (!(Math.abs(b - a) > CLOSE * Math.abs(middle) && (value - a) * (b - value) > 0)) return undefined;
      const first: ProfilePoint | undefined = yield* at(value, ahead(value, low, previous));
      const second: ProfilePoint | undefined = isLow ? undefined : yield* at(value, high.x);
      const isFirst = first !== undefined && !(second && height(second) < height(first) - SAME);
      const point = isFirst ? first : second;
      if (!point) {
        failed++;
        continue;
      }
      const excess = height(point) - 1;
      if (Math.abs(excess) <= PRECISION) return point;
      const isAbove = excess > 0;
      failed = 0;
      isLow ||= isFirst || !isAbove;
      isOne ||= isFirst && isAbove;
      if (isAbove) {
        [high, highExcess] = [point, excess];
        if (side > 0) lowExcess /= 2;
        side = 1;
      } else {
        [previous, low, lowExcess] = [isFirst ? low : undefined, point, excess];
        if (side < 0) highExcess /= 2;
        side = -1;
      }
    }
    return undefined;
  }
}

function lower(a: ProfilePoint | undefined, b: ProfilePoint | undefined): ProfilePoint | undefined {
  return a && b ? (b.cost < a.cost ? b : a) : (a ?? b);
}

function replaced(x: Float64Array, index: number, value: number): Float64Array {
  const copy = x.slice();
  copy[index] = value;
  return copy;
}
