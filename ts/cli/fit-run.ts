// Runs a fit: plain data in and out, so that it can run in a thread.
import { type Curve, equations, type FieldFitResult, type FitProgress, leastSquares, type Profile } from "../index.js";
import { type ClusterProgress, type CommandCluster, connectWorkers } from "./command-cluster.js";
import type { FitCommandOptions } from "./fit-request.js";
import type { FitTask } from "./fit-task.js";
import { byTableTimes, solveTimes, tableTimes } from "./fit-times.js";
import type { ServerRequest } from "./servers.js";
import { infusedText } from "./text-model.js";

/** A fit's result without its functions, at the times of the table. */
export type FitNumbers = Omit<FieldFitResult, "profile" | "curves">;

/** The input of the thread. */
export interface RunRequest {
  readonly task: FitTask;
  readonly options: FitCommandOptions;
  /** The parameters to profile: names, all, or none. */
  readonly profile: readonly string[] | boolean;
  /** Whether to compute curves. */
  readonly curves: boolean;
  /** The servers whose workers solve, if any are given; otherwise this machine does. */
  readonly servers: ServerRequest;
}

/** What a fit reports while it runs. */
export interface Listener extends ClusterProgress {
  /** Called after each iteration; returning false ends the fit. */
  iteration(progress: FitProgress): boolean;
  result(result: FitNumbers): void;
  curves(curves: readonly Curve[]): void;
  /** Before a parameter is profiled, and after it. */
  profiling(name: string): void;
  profile(profile: Profile): void;
  /** Whether to continue with profiles and curves. */
  goesOn(): boolean;
}

/** How often a fit over workers checks whether to end. */
const WATCH_MS = 100;
/** The number of points of a curve. */
const POINTS = 200;
/** The largest number of trajectories whose curves are drawn. */
export const MOST_CURVES = 60;

/** Runs the fit. */
export async function runFit(request: RunRequest, listener: Listener): Promise<void> {
  const { task, options, profile, curves, servers } = request;
  const { text, infused, members, mapping, clock } = task;
  const args = [...Object.keys(mapping.arguments), ...mapping.individual];
  const solved = infusedText(text, infused, mapping.doses?.factors ?? {});
  const rates = infused.map(() => 0);
  const tabular = members.map(tableTimes);
  const field = equations(solved, { arguments: args, dtype: "float64" });
  const cluster = servers.servers === undefined ? undefined : await clusterOf(servers, listener);
  try {
    const { solver, ...settings } = options;
    const result = await leastSquares({
      ...{ field, ...settings, ...task.options },
      ...(solver !== undefined && { method: solver }),
      data: members.map((member) => {
        const { name, y, y0, weights, arguments: given } = member;
        const own = { ...solveTimes(member), name, y, y0: [...y0, ...rates], arguments: given };
        return weights ? { ...own, weights } : own;
      }),
      observe: mapping.observed.map(({ expression }) => expression),
      onIteration: (progress) => {
        cluster?.tell();
        return listener.iteration(progress);
      },
      pool: cluster?.pool,
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
    for (const name of names) {
      if (!listener.goesOn()) break;
      listener.profiling(name);
      listener.profile(await profiled(name));
    }
  } finally {
    cluster?.close();
    field.dispose();
  }
}

/** The workers of a fit. If the fit is to end while there are none, it does not wait for them. */
async function clusterOf(servers: ServerRequest, listener: Listener) {
  const stop = new AbortController();
  let cluster: CommandCluster | undefined;
  const watching = setInterval(() => {
    if (listener.goesOn()) return;
    stop.abort();
    if (cluster?.pool.workers === 0) cluster.pool.close();
  }, WATCH_MS);
  const end = () => {
    clearInterval(watching);
    cluster?.pool.close();
  };
  try {
    cluster = await connectWorkers(servers, listener, stop.signal);
  } catch (error) {
    end();
    throw error;
  }
  return { ...cluster, close: end };
}
