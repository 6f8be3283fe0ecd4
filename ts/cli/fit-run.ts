// A fit itself: plain data in, plain data out, so that it can run in a worker.
import { type Curve, equations, type FieldFitResult, type FitProgress, leastSquares, type Profile } from "../index.js";
import type { FitCommandOptions } from "./fit-request.js";
import type { FitTask } from "./fit-task.js";
import { byTableTimes, solveTimes, tableTimes } from "./fit-times.js";
import { infusedText } from "./text-model.js";

/** What a fit tells, but for what it can compute besides; times are those of the table. */
export type FitNumbers = Omit<FieldFitResult, "profile" | "curves">;

/** What a worker is given. */
export interface RunRequest {
  readonly task: FitTask;
  readonly options: FitCommandOptions;
  /** The names of the parameters to profile; all that are estimated, or none. */
  readonly profile: readonly string[] | boolean;
  /** Whether curves are wanted. */
  readonly curves: boolean;
}

/** What a fit says on its way. */
export interface Listener {
  /** After each iteration; false ends the fit. */
  iteration(progress: FitProgress): boolean;
  result(result: FitNumbers): void;
  curves(curves: readonly Curve[]): void;
  profile(profile: Profile): void;
  /** Whether to go on with what comes after the fit. */
  goesOn(): boolean;
}

/** Points of a curve. */
const POINTS = 200;
/** Trajectories whose curves are drawn, at most. */
export const MOST_CURVES = 60;

/** Fits. */
export function runFit({ task, options, profile, curves }: RunRequest, listener: Listener): void {
  const { text, infused, members, mapping, clock } = task;
  const args = [...Object.keys(mapping.arguments), ...mapping.individual];
  const solved = infusedText(text, infused, mapping.doses?.factors ?? {});
  const rates = infused.map(() => 0);
  const tabular = members.map(tableTimes);
  const field = equations(solved, { arguments: args, dtype: "float64" });
  try {
    const { solver, ...settings } = options;
    const result = leastSquares({
      ...{ field, ...settings, ...task.options },
      ...(solver !== undefined && { method: solver }),
      data: members.map((member) => {
        const { name, y, y0, weights, arguments: given } = member;
        const own = { ...solveTimes(member), name, y, y0: [...y0, ...rates], arguments: given };
        return weights ? { ...own, weights } : own;
      }),
      observe: mapping.observed.map(({ expression }) => expression),
      onIteration: (progress) => listener.iteration(progress),
    });
    const { profile: profiled, curves: curvesOf, ...numbers } = result;
    const measurements = numbers.measurements.map((one) => {
      return { ...one, time: tabular[one.trajectory]?.(one.time) ?? one.time };
    });
    const warnings = numbers.warnings.map((text) => byTableTimes(text, members, clock));
    listener.result({ ...numbers, measurements, warnings });
    if (curves && members.length <= MOST_CURVES) {
      const drawn = curvesOf({ points: POINTS });
      listener.curves(drawn.map((one, k) => ({ ...one, times: one.times.map((t) => tabular[k]?.(t) ?? t) })));
    }
    const estimated = Object.values(result.parameters).filter(({ fixed }) => !fixed);
    const names = profile === true ? estimated.map(({ name }) => name) : profile === false ? [] : profile;
    for (const name of names) if (listener.goesOn()) listener.profile(profiled(name));
  } finally {
    field.dispose();
  }
}
