// Levenberg–Marquardt with a trust region and bounds.
//
// Without bounds it is that of Moré (1978), the lmder of MINPACK: a trust region in the norm of the Jacobian's columns, and in it
// the exact minimiser of the linearised problem, here from a singular value decomposition. With bounds, variables that a step
// takes beyond theirs are fixed there one by one, and the others solved for again. Whatever that gives has to lower the model by a
// fraction of what the projected gradient does within the region, so that the method converges for every cost that the model is
// to first order right about (Conn, Gould and Toint, SIAM J. Numer. Anal. 25, 1988; Lin and Moré, SIAM J. Optim. 9, 1999).
import {
  axpy,
  type Columns,
  columnsOf,
  dot,
  EPSILON,
  norm,
  qr,
  type Svd,
  svd,
  times,
  transposeTimes,
} from "./linear.js";

/** A cost at some values, with residuals r and their Jacobian J such that the gradient is Jᵀ r and the curvature about Jᵀ J. */
export interface Evaluation {
  /** What is minimised: ‖r‖²/2, or another number with that gradient. */
  readonly cost: number;
  /** r, which need not be the differences from the data: of a robust loss, say, they are weighted. */
  readonly residuals: Float64Array;
  /** J, `[residuals, variables]`, row-major; undefined where it cannot be computed. */
  jacobian(): Float64Array | undefined;
}

/** What is minimised. */
export interface Problem<E extends Evaluation = Evaluation> {
  /** Undefined where nothing can be computed: a solve fails, or a number is not finite. */
  evaluate(x: Float64Array): E | undefined;
}

/** How far the minimiser has come. */
export interface Progress {
  /** The number of the iteration, from 1: one Jacobian and a step that lowers the cost. */
  readonly iteration: number;
  /** The variables after it. */
  readonly x: Float64Array;
  /** Their cost. */
  readonly cost: number;
  /** How often the cost was computed so far. */
  readonly evaluations: number;
  /** The largest |cosine| of the angles between the residuals and the columns of the Jacobian before the step. */
  readonly gradient: number;
}

/** When to stop, and where to look. */
export interface MinimizeOptions {
  /** Least values, `-Infinity` where there are none; a variable whose bounds are equal stays there. */
  readonly lower: Float64Array;
  /** Greatest values, `Infinity` where there are none. */
  readonly upper: Float64Array;
  /** How far each variable is to be moved at once, about; the columns of the Jacobian tell otherwise. */
  readonly scale?: Float64Array | undefined;
  readonly maxIterations: number;
  /** Stop where the linearised problem promises a smaller fall, relative to ‖r‖²/2. */
  readonly costTolerance: number;
  /** Stop where no variable changes by more, relative to itself. */
  readonly stepTolerance: number;
  /** Stop where the cosines of `Progress` are smaller. */
  readonly gradientTolerance: number;
  /** Called after each iteration; false ends it. */
  readonly onIteration?: ((progress: Progress) => unknown) | undefined;
}

/** Why a fit ended; after the first three it has converged. */
export type Reason =
  /** The gradient vanishes: the residuals are orthogonal to all that the parameters can change. */
  | "gradient"
  /** Nothing more is to be gained: the linearised model promises a fall of the cost below the tolerance. */
  | "cost"
  /** Steps no longer change the parameters. */
  | "step"
  /** `maxIterations` was reached. */
  | "iterations"
  /** `onIteration` gave false. */
  | "callback"
  /** The cost does not fall where its derivatives say that it does: they are wrong, or the residuals are noisy. */
  | "stuck";

/** Whether it means that a minimum was found. */
export const isConverged = (reason: Reason) => reason === "gradient" || reason === "cost" || reason === "step";

/** Where it stopped. */
export interface Minimum<E extends Evaluation = Evaluation> {
  readonly x: Float64Array;
  /** That of x. */
  readonly evaluation: E;
  /** That of x. */
  readonly jacobian: Float64Array;
  readonly reason: Reason;
  readonly iterations: number;
  readonly evaluations: number;
  readonly jacobians: number;
}

/** The first radius of the trust region, in the scaled length of the start. */
const FIRST_RADIUS = 10;
/** The fraction of the predicted fall from which on a step is taken, and of the Cauchy step's that a prediction must have. */
const [ACCEPTED, CAUCHY] = [1e-4, 0.1];
/** Where steps no longer succeed, an offset or cosine so small is a minimum: a hundredth of a percent of a standard error. */
const LAST_RESORT = 1e-4;
/** Residuals whose squares are no numbers. */
const VANISHING = 1e-150;
/** After so many iterations, steps may bend: how far ahead to look for that, and how much they may. */
const [STRAIGHT, AHEAD, STRAIGHTEST] = [10, 0.1, 0.75];
/** So many Gauss–Newton steps at most follow convergence, and so many of them are mixed. */
const [POLISH, MIXED] = [10, 6];

/** Values with all that the linearised problem needs. */
interface Point<E extends Evaluation = Evaluation> {
  readonly x: Float64Array;
  readonly evaluation: E;
  readonly jacobian: Float64Array;
  readonly gradient: Float64Array;
  /** ‖r‖, and that of each column of J. */
  readonly residual: number;
  readonly lengths: Float64Array;
  /** R and the first of Qᵀ r, of J = Q R: they have all of J and r that matters to steps. */
  readonly r: Columns;
  readonly projected: Float64Array;
  readonly project: (b: Float64Array) => Float64Array;
}

/**
 * Minimises from a start, which is first moved into the bounds.
 *
 * @returns Undefined where the start or its Jacobian cannot be computed.
 */
export function minimize<E extends Evaluation>(
  problem: Problem<E>,
  start: Float64Array,
  options: MinimizeOptions,
): Minimum<E> | undefined {
  const { lower, upper, maxIterations } = options;
  let [evaluations, jacobians, iterations] = [0, 0, 0];
  const evaluate = (x: Float64Array) => {
    evaluations++;
    const evaluation = problem.evaluate(x);
    return evaluation && Number.isFinite(evaluation.cost) && areFinite(evaluation.residuals) ? evaluation : undefined;
  };
  const linearize = (x: Float64Array, evaluation: E | undefined): Point<E> | undefined => {
    if (!evaluation) return undefined;
    jacobians++;
    const jacobian = evaluation.jacobian();
    if (!(jacobian && areFinite(jacobian))) return undefined;
    const columns = columnsOf(jacobian, x.length);
    const { residuals } = evaluation;
    const [gradient, lengths] = [transposeTimes(columns, residuals), Float64Array.from(columns, norm)];
    const { r, project } = qr(columns);
    return {
      x,
      evaluation,
      jacobian,
      gradient,
      residual: norm(residuals),
      lengths,
      r,
      projected: project(residuals),
      project,
    };
  };

  const first = start.map((value, i) => Math.min(upper[i] as number, Math.max(lower[i] as number, value)));
  const begin = linearize(first, evaluate(first));
  if (!begin) return undefined;
  let point = begin;
  let scaling = options.scale ? options.scale.map((scale) => 1 / scale) : begin.lengths.map((length) => length || 1);
  let radius = FIRST_RADIUS * (scaledNorm(first, scaling) || 1);
  const { stepTolerance } = options;
  const isSmall = (step: Float64Array, x: Float64Array) => {
    const whole = stepTolerance * (scaledNorm(x, scaling) || 1);
    return step.every((s, i) => {
      return Math.abs(s) <= stepTolerance * Math.max(Math.abs(x[i] as number), whole / (scaling[i] as number));
    });
  };
  let reason: Reason = "iterations";
  search: for (;;) {
    const free = freeOf(point, lower, upper);
    const linear = linearized(point, free, scaling);
    const cosine = cosineOf(point, free);
    if (cosine <= options.gradientTolerance || point.residual < VANISHING) reason = "gradient";
    else if (linear.offset ** 2 <= options.costTolerance) reason = "cost";
    if (reason !== "iterations" || iterations === maxIterations) break;
    for (;;) {
      const { step: straight, damped, bounded, lambda } = trialStep(point, linear, free, scaling, radius, lower, upper);
      const small = isSmall(straight, point.x);
      const length = scaledNorm(straight, scaling);
      const [slope, predicted] = [dot(point.gradient, straight), -model(point, straight)];
      let step = straight;
      if (damped && !bounded && iterations >= STRAIGHT) {
        const ahead = evaluate(
          moved(
            point.x,
            straight.map((s) => AHEAD * s),
            lower,
            upper,
          ),
        );
        if (ahead) step = bent(point, linear, straight, lambda, ahead.residuals);
      }
      const x = moved(point.x, step, lower, upper);
      const evaluation = predicted > 0 ? evaluate(x) : undefined;
      const fall = evaluation ? point.evaluation.cost - evaluation.cost : Number.NaN;
      const ratio = fall / predicted;
      const next = ratio >= ACCEPTED ? linearize(x, evaluation) : undefined;
      if (iterations === 0) radius = Math.min(radius, length);
      if (!next) {
        if (small || !(radius > 0)) {
          reason = !damped ? "step" : Math.min(linear.offset, cosine) <= LAST_RESORT ? "cost" : "stuck";
          break search;
        }
        const shrink =
          Number.isFinite(fall) && fall < 0 ? Math.max(0.1, Math.min(0.5, (0.5 * slope) / (slope + fall))) : 0.25;
        radius = shrink * Math.min(radius, length);
        continue;
      }
      if (ratio < 0.25) radius = 0.5 * Math.min(radius, length);
      else if (ratio > 0.75 || !damped) radius = Math.max(2 * length, ratio > 0.75 ? radius : 0);
      point = next;
      iterations++;
      if (!options.scale) scaling = scaling.map((d, i) => Math.max(d, next.lengths[i] as number));
      const { cost } = point.evaluation;
      const ended = options.onIteration?.({ iteration: iterations, x: x.slice(), cost, evaluations, gradient: cosine });
      if (ended === false) reason = "callback";
      else if (small) reason = "step";
      if (reason !== "iterations") break search;
      break;
    }
  }

  // What has converged is close enough for statistics, and a few steps from all the digits that there are.
  for (let i = 0, history: Mixed[] = []; isConverged(reason) && i < POLISH; i++) {
    const linear = linearized(point, freeOf(point, lower, upper), scaling);
    const step = gaussNewton(linear, point.x.length);
    if (isSmall(step, point.x)) break;
    const { x: old } = point;
    history = [
      ...history,
      {
        x: old.map((value, j) => value * (scaling[j] as number)),
        step: step.map((s, j) => s * (scaling[j] as number)),
      },
    ].slice(-MIXED);
    const mixed = mixedStep(history).map((s, j) => s / (scaling[j] as number));
    const x = moved(old, mixed, lower, upper);
    if (!x.every((value, j) => value === (old[j] as number) + (mixed[j] as number))) break;
    const evaluation = evaluate(x);
    // A rise of the cost may be rounding, or what the curvature does to so small a step: the gradient tells.
    const rise = linear.size ** 2 + 1e-10 * (Math.abs(point.evaluation.cost) + point.residual ** 2);
    if (!evaluation || evaluation.cost > point.evaluation.cost + rise) break;
    const next = linearize(x, evaluation);
    if (!next || !(linearized(next, freeOf(next, lower, upper), scaling).size < linear.size)) break;
    point = next;
  }
  const { x, evaluation, jacobian } = point;
  return { x, evaluation, jacobian, reason, iterations, evaluations, jacobians };
}

/** Values and the Gauss–Newton step from there, scaled. */
interface Mixed {
  readonly x: Float64Array;
  readonly step: Float64Array;
}

/**
 * Anderson's (1965) acceleration of Gauss–Newton steps: where residuals are large, those converge linearly, and this supplies the
 * curvature that they leave out.
 */
function mixedStep(history: readonly Mixed[]): Float64Array {
  const { x, step } = history.at(-1) as Mixed;
  const changes = history.slice(0, -1).map((before) => ({
    x: x.map((value, i) => value - (before.x[i] as number)),
    step: step.map((value, i) => value - (before.step[i] as number)),
  }));
  const columns = changes.map((change) => change.step);
  const { singularValues, right, project } = svd(columns);
  const projected = project(step).map((p, j) => {
    const sigma = singularValues[j] as number;
    return sigma > 1e-10 * (singularValues[0] as number) ? p / sigma : 0;
  });
  const weights = times(right, projected, columns.length);
  const mixed = step.slice();
  for (const [j, change] of changes.entries()) {
    axpy(-(weights[j] as number), change.x, mixed);
    axpy(-(weights[j] as number), change.step, mixed);
  }
  return mixed;
}

function areFinite(numbers: Float64Array): boolean {
  return numbers.every(Number.isFinite);
}

/** The variables that a small step may change: not those at a bound that the gradient pushes them against. */
function freeOf({ x, gradient }: Point, lower: Float64Array, upper: Float64Array): number[] {
  const isFree = (i: number) => {
    const [value, slope] = [x[i] as number, gradient[i] as number];
    const [least, most] = [lower[i] as number, upper[i] as number];
    return least < most && !(value <= least && slope > 0) && !(value >= most && slope < 0);
  };
  return Array.from(x.keys()).filter(isFree);
}

/** How far the residuals are from orthogonal to the free columns of the Jacobian: the largest |cosine|. */
function cosineOf({ gradient, lengths, residual }: Point, free: number[]): number {
  const cosines = free.map((i) => {
    const size = (lengths[i] as number) * residual;
    return size === 0 ? 0 : Math.abs(gradient[i] as number) / size;
  });
  return Math.max(0, ...cosines);
}

/** The problem in the free variables as linearised, each in units of its own. */
interface Linear {
  readonly free: readonly number[];
  readonly scaling: Float64Array;
  readonly decomposed: Svd;
  /** Uᵀ r, 0 where the singular value is rounding. */
  readonly projected: Float64Array;
  /** Its length: √2 times the fall that a Gauss–Newton step promises is its square. Relative to ‖r‖, the offset of Bates and Watts. */
  readonly size: number;
  readonly offset: number;
}

function linearized(point: Point, free: readonly number[], scaling: Float64Array, residuals = point.projected): Linear {
  const columns = free.map((i) => (point.r[i] as Float64Array).map((value) => value / (scaling[i] as number)));
  const decomposed = svd(columns);
  const { singularValues } = decomposed;
  const rounding = EPSILON * Math.max(free.length, residuals.length) * (singularValues[0] ?? 0);
  const projected = decomposed.project(residuals);
  for (const [j, value] of singularValues.entries()) if (value <= rounding) projected[j] = 0;
  const size = norm(projected);
  return { free, scaling, decomposed, projected, size, offset: point.residual === 0 ? 0 : size / point.residual };
}

/** −V z / D, as a step of all variables. */
function stepOf({ free, scaling, decomposed }: Linear, z: Float64Array, n: number): Float64Array {
  const scaled = times(decomposed.right, z);
  const step = new Float64Array(n);
  for (const [j, i] of free.entries()) step[i] = -(scaled[j] as number) / (scaling[i] as number);
  return step;
}

/** The least step to the minimum of the linearised problem. */
function gaussNewton(linear: Linear, n: number): Float64Array {
  const { projected, decomposed } = linear;
  const z = projected.map((p, j) => (p === 0 ? 0 : p / (decomposed.singularValues[j] as number)));
  return stepOf(linear, z, n);
}

/** A step, whether the region shortened it and by which λ, and whether a bound did. */
interface Trial {
  readonly step: Float64Array;
  readonly damped: boolean;
  readonly lambda: number;
  readonly bounded: boolean;
}

/** The minimiser of the linearised problem within the region, and whether the region shortened it. */
function damped(linear: Linear, radius: number, n: number): Trial {
  const { projected, decomposed } = linear;
  const { singularValues } = decomposed;
  const at = (lambda: number) =>
    projected.map((p, j) => {
      const sigma = singularValues[j] as number;
      return p === 0 ? 0 : (p * sigma) / (sigma * sigma + lambda);
    });
  let z = projected.map((p, j) => (p === 0 ? 0 : p / (singularValues[j] as number)));
  if (!(norm(z) > radius)) return { step: stepOf(linear, z, n), damped: false, lambda: 0, bounded: false };
  // Newton's method for 1/‖z(λ)‖ = 1/radius, which is almost linear in λ: it comes from below (Reinsch 1971, Hebden 1973).
  let lambda = 0;
  for (let i = 0; i < 100; i++) {
    const length = norm(z);
    if (length <= 1.001 * radius) break;
    let slope = 0;
    for (const [j, value] of z.entries()) {
      if (value !== 0) slope += (value / length) ** 2 / ((singularValues[j] as number) ** 2 + lambda);
    }
    lambda += (length / radius - 1) / slope;
    z = at(lambda);
  }
  return { step: stepOf(linear, z, n), damped: true, lambda, bounded: false };
}

/** ‖D s‖. */
function scaledNorm(step: Float64Array, scaling: Float64Array): number {
  return norm(step.map((s, i) => s * (scaling[i] as number)));
}

/**
 * A step with the geodesic acceleration of Transtrum and Sethna (arXiv:1201.5885), from the second derivative of the residuals along
 * it: it follows valleys that turn.
 */
function bent(point: Point, linear: Linear, step: Float64Array, lambda: number, ahead: Float64Array): Float64Array {
  const along = point.project(ahead.map((value, i) => value - (point.evaluation.residuals[i] as number)));
  axpy(-AHEAD, times(point.r, step, along.length), along);
  const { singularValues, project } = linear.decomposed;
  const z = project(along.map((value) => value / AHEAD ** 2)).map((p, j) => {
    const sigma = singularValues[j] as number;
    return (p * sigma) / (sigma * sigma + lambda);
  });
  // Half of the acceleration, which is twice this divided by the square of AHEAD.
  const half = stepOf(linear, z, step.length);
  if (!(2 * scaledNorm(half, linear.scaling) <= STRAIGHTEST * scaledNorm(step, linear.scaling))) return step;
  return step.map((s, i) => s + (half[i] as number));
}

/** gᵀ s + ‖J s‖²/2. */
function model({ gradient, r, projected }: Point, step: Float64Array): number {
  const change = times(r, step, projected.length);
  return dot(gradient, step) + 0.5 * dot(change, change);
}

/** x + s, exactly at a bound where s goes there or beyond. */
function moved(x: Float64Array, step: Float64Array, lower: Float64Array, upper: Float64Array): Float64Array {
  return x.map((value, i) => {
    const [s, least, most] = [step[i] as number, lower[i] as number, upper[i] as number];
    // By the same difference as the steps that end there: adding it to x may miss the bound by rounding.
    if (s <= least - value) return least;
    return s >= most - value ? most : Math.min(most, Math.max(least, value + s));
  });
}

/** A step within the region and the bounds that lowers the model by at least a fraction of what the Cauchy step does. */
function trialStep(
  point: Point,
  whole: Linear,
  free: readonly number[],
  scaling: Float64Array,
  radius: number,
  lower: Float64Array,
  upper: Float64Array,
): Trial {
  const { x } = point;
  const n = x.length;
  /** Which part of the step a variable can go before it meets a bound. */
  const room = (i: number, s: number) => {
    const value = x[i] as number;
    if (s === 0) return Number.POSITIVE_INFINITY;
    return ((s < 0 ? (lower[i] as number) : (upper[i] as number)) - value) / s;
  };
  let trial = damped(whole, radius, n);
  const fixed = new Float64Array(n);
  let remaining = free;
  let [bounded, isDamped] = [false, trial.damped];
  for (;;) {
    const { step } = trial;
    let [nearest, least] = [-1, 1];
    for (const i of remaining) {
      const part = room(i, step[i] as number);
      if (part < least) [nearest, least] = [i, part];
    }
    if (nearest < 0) break;
    bounded = true;
    const value = x[nearest] as number;
    fixed[nearest] = ((step[nearest] as number) < 0 ? (lower[nearest] as number) : (upper[nearest] as number)) - value;
    remaining = remaining.filter((i) => i !== nearest);
    const used = scaledNorm(fixed, scaling);
    const residuals = point.projected.slice();
    for (const [i, s] of fixed.entries()) if (s !== 0) axpy(s, point.r[i] as Float64Array, residuals);
    const linear = linearized(point, remaining, scaling, residuals);
    trial = damped(linear, Math.sqrt(Math.max(0, radius ** 2 - used ** 2)), n);
    isDamped ||= trial.damped;
    axpy(1, fixed, trial.step);
  }
  const { step } = trial;
  if (!bounded) return trial;
  const cauchy = cauchyStep(point, free, scaling, radius, lower, upper);
  if (model(point, step) <= CAUCHY * model(point, cauchy)) return { step, damped: isDamped, lambda: 0, bounded };
  return { step: cauchy, damped: true, lambda: 0, bounded };
}

/** A step along the projected gradient that lowers the model enough, and is not much too short. */
function cauchyStep(
  point: Point,
  free: readonly number[],
  scaling: Float64Array,
  radius: number,
  lower: Float64Array,
  upper: Float64Array,
): Float64Array {
  const { x, gradient } = point;
  const direction = new Float64Array(x.length);
  for (const i of free) direction[i] = -(gradient[i] as number) / (scaling[i] as number) ** 2;
  const at = (t: number) => {
    const target = moved(
      x,
      direction.map((d) => t * d),
      lower,
      upper,
    );
    return target.map((value, i) => value - (x[i] as number));
  };
  const isGood = (step: Float64Array) =>
    scaledNorm(step, scaling) <= radius && model(point, step) <= 0.01 * dot(gradient, step);
  let t = radius / scaledNorm(direction, scaling);
  let step = at(t);
  if (isGood(step)) {
    for (let i = 0; i < 50; i++) {
      t *= 2;
      const longer = at(t);
      if (!isGood(longer) || longer.every((s, i) => s === step[i])) break;
      step = longer;
    }
    return step;
  }
  for (let i = 0; i < 1000 && !isGood(step); i++) {
    t /= 2;
    step = at(t);
  }
  return step;
}
