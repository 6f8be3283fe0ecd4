// Validates the answers of workers, which are not trusted.
import { EVENT_NUMBERS, TRAJECTORY_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, constructors, type Dtype, firstNotFinite } from "../checks/arrays.js";
import { describe } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import type { Cut } from "../parallel/ensembles.js";
import { type EnsembleGradient, type EnsembleProblem, type EnsembleResult, subtrees } from "../solve/ensemble.js";

function check(holds: boolean, name: string, given: unknown): void {
  if (!holds) throw new Error(`${name} is ${describe(given)}`);
}

/** Checks the number type and the length of an array; also that all numbers are finite, unless `finite` is false. */
function numbers<D extends Dtype>(name: string, given: unknown, dtype: D, length: number, finite = true): ArrayOf<D> {
  const isOf = given instanceof constructors[dtype] && (given as ArrayOf<D>).length === length;
  if (!isOf) throw new Error(`${name} is ${describe(given)}, not ${length} numbers of ${dtype}`);
  const bad = finite ? firstNotFinite(given as Float64Array) : -1;
  if (bad >= 0) throw new Error(`${name} has ${(given as Float64Array)[bad]} at index ${bad}`);
  return given as ArrayOf<D>;
}

function stats(given: unknown, names: readonly string[]): void {
  const { peakBytes, ...rest } = (isObject(given) ? given : {}) as Record<string, unknown>;
  for (const name of names) check(Number.isFinite(rest[name]), `stats.${name}`, rest[name]);
  check(isObject(peakBytes) && Object.values(peakBytes).every(Number.isFinite), "stats.peakBytes", peakBytes);
}

/** The number of output times of a shard, and of rows in `y`. */
function outputsOf({ counts, times }: EnsembleProblem, { from, to }: Cut): { times: number; rows: number } {
  if (counts === null) return { times: times.length, rows: times.length * (to - from) };
  const own = counts.slice(from, to).reduce((sum, count) => sum + count, 0);
  return { times: own, rows: own };
}

/** Checks the result of a shard; `width` and `eventWidth` are how many numbers it has for each output and each event. */
export function readResult<D extends Dtype>(
  problem: EnsembleProblem<D>,
  cut: Cut,
  given: unknown,
  [width, eventWidth]: readonly [output: number, event: number] = [problem.state, problem.state],
): EnsembleResult<D> {
  const { dtype, state, mask, dense, steps } = problem;
  const batch = cut.to - cut.from;
  const result = (isObject(given) ? given : {}) as EnsembleResult<D>;
  const { failures, events, paths } = result;
  const isTrajectory = (value: unknown) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) < batch;
  check(Array.isArray(failures) && failures.length <= batch, "failures", failures);
  for (const failed of failures) {
    check(mask && isTrajectory(failed?.trajectory) && isObject(failed.failure), "failures", failed);
  }
  numbers("y", result.y, dtype, outputsOf(problem, cut).rows * width, failures.length === 0);
  numbers("trajectories", result.trajectories, "float64", TRAJECTORY_NUMBERS * batch, false);
  check(events instanceof Float64Array && events.length % EVENT_NUMBERS === 0, "events", events);
  let before = 0;
  for (let at = 0; at < events.length; at += EVENT_NUMBERS) {
    const [trajectory, event] = [events[at] as number, events[at + 1] as number];
    check(isTrajectory(trajectory) && trajectory >= before, "the trajectory of an event", trajectory);
    check(Number.isInteger(event) && event >= 0 && event < problem.changes.events.length, "an event", event);
    before = trajectory;
  }
  // The time of an event that only touches zero has no derivative, so derivatives there are not finite.
  const areFinite = failures.length === 0 && eventWidth === state;
  numbers("events' states", result.eventStates, dtype, (events.length / EVENT_NUMBERS) * eventWidth, areFinite);
  check(Array.isArray(paths) && paths.length === (dense || steps ? batch : 0), "paths", paths);
  for (const path of paths) {
    check(path?.t instanceof Float64Array, "a path", path);
    numbers("a path's states", path.y, dtype, path.t.length * state, false);
    check(path.polynomials instanceof constructors[dtype], "a path's polynomials", path.polynomials);
  }
  stats(result.stats, ["accepted", "rejected", "evaluations"]);
  return result;
}

/** Checks the gradient of a shard. */
export function readGradient<D extends Dtype>(
  problem: EnsembleProblem<D>,
  { parameters, leaf }: { readonly parameters: number; readonly leaf: number },
  cut: Cut,
  given: unknown,
): EnsembleGradient<D> {
  const { dtype, state, counts, changes } = problem;
  const batch = cut.to - cut.from;
  const gradient = (isObject(given) ? given : {}) as EnsembleGradient<D>;
  const sums = subtrees(cut.from / leaf, Math.ceil(batch / leaf)).length;
  numbers("∂L/∂y0", gradient.y0, dtype, batch * state);
  numbers("∂L/∂θ", gradient.parameters, dtype, sums * parameters);
  const own = (problem.arguments?.length ?? 0) / problem.batch;
  numbers("∂L/∂arguments", gradient.arguments, dtype, batch * own);
  if (gradient.times !== undefined) {
    numbers("∂L/∂times", gradient.times, "float64", outputsOf(problem, cut).times * (counts === null ? sums : 1));
  }
  const ofChanges = changes.jumps.reduce((sum, { counts, times, amounts, names }) => {
    if (counts === null) return sum + (times + amounts) * sums;
    const mine = counts.slice(cut.from, cut.to).reduce((sum, count) => sum + count, 0);
    return sum + mine * (1 + names.length);
  }, 0);
  numbers("∂L/∂jumps", gradient.changes, "float64", ofChanges);
  stats(gradient.stats, ["evaluations", "vjps"]);
  const { retention } = gradient.stats;
  check(isObject(retention) && Number.isFinite(retention.states), "stats.retention", retention);
  return gradient;
}
