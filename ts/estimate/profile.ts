// Profiles of a cost: how much it rises where one variable is fixed and the others are fitted again.

/** A point of a profile. */
interface ProfilePoint {
  /** All variables. */
  readonly x: Float64Array;
  readonly cost: number;
}

/** What to profile. */
export interface ProfileProblem {
  readonly minimum: ProfilePoint;
  /** Which variable, and its bounds. */
  readonly index: number;
  readonly lower: number;
  readonly upper: number;
  /** The cost at which the interval ends. */
  readonly limit: number;
  /** How far it ends from the minimum, about. */
  readonly width: number;
  readonly maxPoints: number;
  /** The least cost with the variable where it is in `start`; undefined where that cannot be computed. */
  minimize(start: Float64Array): ProfilePoint | undefined;
}

/** So many values, about, lie between the minimum and the end of the interval. */
const STEPS = 6;
/** How close the cost comes to the limit at the end of the interval, relative to its rise; on the scale of the root. */
const PRECISION = 1e-7;

/** Points of the profile, ascending, with where it crosses the limit. */
export function profileOf(problem: ProfileProblem) {
  const { minimum, index } = problem;
  const [down, up] = [half(problem, -1), half(problem, 1)];
  const points = [...down.points.reverse(), minimum, ...up.points].sort(
    (a, b) => (a.x[index] as number) - (b.x[index] as number),
  );
  return { points, interval: [down.end, up.end] as const };
}

function half(problem: ProfileProblem, direction: -1 | 1) {
  const { minimum, index, limit, width, maxPoints } = problem;
  const bound = direction < 0 ? problem.lower : problem.upper;
  const of = ({ x }: ProfilePoint) => x[index] as number;
  /** The root of the rise, which is straight where the model is linear, relative to that at the end (Bates and Watts 1988). */
  const height = ({ cost }: ProfilePoint) => {
    const part = (cost - minimum.cost) / (limit - minimum.cost);
    return Math.sign(part) * Math.sqrt(Math.abs(part));
  };
  /** Fits the others from where the last two points lead. */
  const at = (value: number, from: ProfilePoint, before?: ProfilePoint) => {
    const ahead = before ? (value - of(from)) / (of(from) - of(before)) : 0;
    const start = from.x.map((x, i) => x + Math.max(-1, Math.min(2, ahead)) * (x - (before?.x[i] ?? x)));
    const guess = problem.minimize(replaced(start, index, value));
    return guess ?? (before ? problem.minimize(replaced(from.x, index, value)) : undefined);
  };

  const points: ProfilePoint[] = [];
  let [last, before]: (ProfilePoint | undefined)[] = [minimum, undefined];
  let [step, failures, flat] = [width / STEPS, 0, 0];
  while (points.length < maxPoints && failures < 8) {
    const from = last as ProfilePoint;
    const target = of(from) + direction * step;
    const isBound = direction * (target - bound) >= 0;
    const value = isBound ? bound : target;
    if (value === of(from) || !Number.isFinite(value)) break;
    const point = at(value, from, before);
    if (!point) {
      failures++;
      step /= 4;
      continue;
    }
    points.push(point);
    if (height(point) >= 1) {
      const end = crossing(from, point);
      if (end !== point) points.push(end);
      return { points, end: of(end) };
    }
    const rise = height(point) - height(from);
    // Far out where the cost rises no more, there is nothing to look for.
    flat = rise < 1e-3 / STEPS ? flat + 1 : 0;
    if (isBound || flat === 5) break;
    step *= Math.max(0.3, Math.min(3, 1 / STEPS / Math.max(rise, 1e-9)));
    [last, before] = [point, from];
  }
  return { points, end: undefined };

  /** The point at the limit between one below and one above it: by the false position of Illinois (Dowell and Jarratt 1971). */
  function crossing(below: ProfilePoint, above: ProfilePoint): ProfilePoint {
    let [low, high] = [
      { value: of(below), excess: height(below) - 1 },
      { value: of(above), excess: height(above) - 1 },
    ];
    let [nearest, side] = [above, 0];
    for (let i = 0; i < 20 && Math.abs(height(nearest) - 1) > PRECISION; i++) {
      const value = (low.value * high.excess - high.value * low.excess) / (high.excess - low.excess);
      const point = at(value, nearest);
      if (!point) break;
      const excess = height(point) - 1;
      if (Math.abs(excess) < Math.abs(height(nearest) - 1)) nearest = point;
      if (excess < 0) {
        low = { value, excess };
        if (side < 0) high = { ...high, excess: high.excess / 2 };
        side = -1;
      } else {
        high = { value, excess };
        if (side > 0) low = { ...low, excess: low.excess / 2 };
        side = 1;
      }
    }
    return nearest;
  }
}

function replaced(x: Float64Array, index: number, value: number): Float64Array {
  const copy = x.slice();
  copy[index] = value;
  return copy;
}
