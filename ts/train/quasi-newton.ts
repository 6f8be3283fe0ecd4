// L-BFGS on arrays: Nocedal and Wright, Numerical Optimization (2006), algorithms 7.5, 3.5 and 3.6.

/** A value at some x, and its gradient. */
export interface ValueWithGradient {
  readonly value: number;
  readonly gradient: Float64Array;
}

/** How to minimise. */
export interface QuasiNewtonOptions {
  /** Undefined where it cannot be computed or is not finite. */
  evaluate(x: Float64Array): Promise<ValueWithGradient | undefined>;
  /** Makes numbers those that x can have, in place. */
  round(x: Float64Array): void;
  readonly maxIterations: number;
  /** How many steps the curvature is taken from. */
  readonly memory: number;
  /** It stops where no derivative is larger, relative to the larger of 1 and the value. */
  readonly gradientTolerance: number;
  /** It stops where an iteration lowers the value by less, relative to itself. */
  readonly costTolerance: number;
  /** Values closer than this, relative to themselves, may differ by rounding alone: then slopes decide. */
  readonly noise: number;
  /** Called after each iteration; false ends it. */
  onIteration(iteration: number, state: QuasiNewtonState): Promise<unknown>;
}

/** How far it is. */
interface QuasiNewtonState extends ValueWithGradient {
  readonly x: Float64Array;
  readonly evaluations: number;
}

/** Why it ended. */
type QuasiNewtonReason = "gradient" | "cost" | "iterations" | "callback" | "stuck";

/** The conditions of Wolfe: how much of the first slope a step has to lower the value by, and may have left. */
const [ARMIJO, CURVATURE] = [1e-4, 0.9];
/** Trials of a line search. */
const TRIALS = 30;

/** A point of a line search: the length of its step, and what was evaluated there. */
interface LineSearchPoint extends ValueWithGradient {
  readonly alpha: number;
  readonly x: Float64Array;
  readonly slope: number;
}

/** A step and the change of the gradient over it. */
interface CurvaturePair {
  readonly s: Float64Array;
  readonly y: Float64Array;
  /** sᵀ y. */
  readonly sy: number;
}

/** Minimises from a start whose value is known. */
export async function quasiNewton(start: Float64Array, first: ValueWithGradient, options: QuasiNewtonOptions) {
  const { maxIterations, gradientTolerance, costTolerance } = options;
  let evaluations = 1;
  let current = { x: start, ...first };
  let pairs: CurvaturePair[] = [];
  let [iterations, reason]: [number, QuasiNewtonReason] = [0, "iterations"];
  const evaluate = (x: Float64Array) => {
    evaluations++;
    return options.evaluate(x);
  };
  const largestOf = (gradient: Float64Array) => gradient.reduce((most, slope) => Math.max(most, Math.abs(slope)), 0);
  const firstLargest = largestOf(first.gradient);
  for (;;) {
    const size = Math.abs(current.value);
    // A value far below 1 has small gradients everywhere.
    const scale = Math.min(Math.max(1, size), Math.max(size, firstLargest));
    if (largestOf(current.gradient) <= gradientTolerance * scale) reason = "gradient";
    if (reason !== "iterations" || iterations === maxIterations) break;
    let direction = newtonDirection(current.gradient, pairs);
    if (!(dot(direction, current.gradient) < 0)) {
      pairs = [];
      direction = newtonDirection(current.gradient, pairs);
    }
    const length = Math.sqrt(dot(direction, direction));
    // Without curvature, the gradient alone says little about how far to go.
    const next = await lineSearch(
      current,
      direction,
      pairs.length > 0 ? 1 : Math.min(1, 1 / length),
      evaluate,
      options,
    );
    if (!next) {
      if (pairs.length === 0) {
        reason = "stuck";
        break;
      }
      // The curvature may be wrong: once more, by the gradient.
      pairs = [];
      continue;
    }
    const before = current;
    current = { x: next.x, value: next.value, gradient: next.gradient };
    const s = current.x.map((value, i) => value - (before.x[i] as number));
    const y = current.gradient.map((value, i) => value - (before.gradient[i] as number));
    const sy = dot(s, y);
    if (sy > 1e-14 * Math.sqrt(dot(s, s) * dot(y, y))) pairs = [...pairs, { s, y, sy }].slice(-options.memory);
    iterations++;
    if ((await options.onIteration(iterations, { ...current, evaluations })) === false) reason = "callback";
    else if (before.value - current.value <= costTolerance * Math.abs(before.value)) reason = "cost";
    if (reason !== "iterations") break;
  }
  return { ...current, iterations, evaluations, reason };
}

/** −H g, with H by the recursion over the last steps. */
function newtonDirection(gradient: Float64Array, pairs: readonly CurvaturePair[]): Float64Array {
  const direction = gradient.map((value) => -value);
  const weights = pairs.map(() => 0);
  for (const [k, { s, y, sy }] of [...pairs.entries()].reverse()) {
    weights[k] = dot(s, direction) / sy;
    axpy(-(weights[k] as number), y, direction);
  }
  const last = pairs.at(-1);
  if (last) {
    const scale = last.sy / dot(last.y, last.y);
    for (const [i, value] of direction.entries()) direction[i] = scale * value;
  }
  for (const [k, { s, y, sy }] of pairs.entries()) axpy((weights[k] as number) - dot(y, direction) / sy, s, direction);
  return direction;
}

/** A step that fulfils the strong conditions of Wolfe, or else one that lowers the value enough; undefined if none does. */
async function lineSearch(
  current: ValueWithGradient & { readonly x: Float64Array },
  direction: Float64Array,
  firstAlpha: number,
  evaluate: (x: Float64Array) => Promise<ValueWithGradient | undefined>,
  { round, noise }: QuasiNewtonOptions,
): Promise<LineSearchPoint | undefined> {
  const { x, value, gradient } = current;
  const slope = dot(gradient, direction);
  const rounding = noise * Math.abs(value);
  const start: LineSearchPoint = { alpha: 0, x, value, gradient, slope };
  /** The step with the least value of those that lower it enough, and one on whose side of it a minimum lies. */
  let low = start;
  let high: Pick<LineSearchPoint, "alpha"> & Partial<LineSearchPoint> = { alpha: Number.POSITIVE_INFINITY };
  let alpha = firstAlpha;
  for (let i = 0; i < TRIALS; i++) {
    const at = x.map((number, i) => number + alpha * (direction[i] as number));
    round(at);
    if (at.every((number, i) => number === low.x[i])) break;
    const found = await evaluate(at);
    const trial = found && { alpha, x: at, ...found, slope: dot(found.gradient, direction) };
    if (trial && isNoisy(trial)) return trial;
    if (!trial || trial.value > value + ARMIJO * alpha * slope || trial.value >= low.value) {
      high = trial ?? { alpha };
    } else {
      if (Math.abs(trial.slope) <= -CURVATURE * slope) return trial;
      if (trial.slope * (high.alpha - low.alpha) >= 0) high = low;
      low = trial;
    }
    alpha = nextAlpha(low, high);
  }
  return low === start ? undefined : low;

  /** The conditions of Hager and Zhang (2005), by slopes: for where values differ by rounding alone. */
  function isNoisy(trial: LineSearchPoint): boolean {
    const isSame = Math.abs(trial.value - value) <= rounding;
    return isSame && trial.slope >= CURVATURE * slope && trial.slope <= (2 * ARMIJO - 1) * slope;
  }
}

/** Where to try next: where a cubic through both has its minimum, well inside; beyond, if nothing bounds it yet. */
function nextAlpha(low: LineSearchPoint, high: Pick<LineSearchPoint, "alpha"> & Partial<LineSearchPoint>): number {
  if (high.alpha === Number.POSITIVE_INFINITY) return 4 * low.alpha;
  const width = high.alpha - low.alpha;
  // Nothing is known of what could not be computed, but that it is too far.
  if (high.value === undefined || high.slope === undefined) return low.alpha + 0.25 * width;
  const d1 = low.slope + high.slope - (3 * (high.value - low.value)) / width;
  const square = d1 * d1 - low.slope * high.slope;
  const d2 = Math.sign(width) * Math.sqrt(square);
  const part = 1 - (high.slope + d2 - d1) / (high.slope - low.slope + 2 * d2);
  return low.alpha + width * (part > 0.1 && part < 0.9 ? part : 0.5);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** y := y + α x. */
function axpy(alpha: number, x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) y[i] = (y[i] as number) + alpha * (x[i] as number);
}
