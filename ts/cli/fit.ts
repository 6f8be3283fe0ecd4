// symplectic-adjoint fit: estimates the parameters of equations from measurements, with standard errors.

import { Worker } from "node:worker_threads";
import type { Curve, FitProgress, Profile } from "../index.js";
import { Failure } from "./failure.js";
import {
  adviceOnFit,
  adviceOnTolerance,
  isReliable,
  messageOf,
  notesOnColumns,
  notesOnFit,
  notesOnNames,
  qualitiesOf,
} from "./fit-advice.js";
import {
  estimatesOf,
  type FitDescription,
  fitBytes,
  readFit,
  trajectoriesOf,
  unfinished,
  type Values,
} from "./fit-file.js";
import type { FitCommandOptions, Found, TaskRequest } from "./fit-request.js";
import type { FitNumbers, RunRequest } from "./fit-run.js";
import { checkMeasurements, type FitTask, taskOf } from "./fit-task.js";
import { byTableTimes } from "./fit-times.js";
import type { FitWorkerRequest, Message } from "./fit-worker.js";
import { readEquations, readSource } from "./input.js";
import { checkApart, checkOutput, writeSomewhere, writeWhole } from "./output.js";
import { fitProgressOf } from "./progress.js";
import { reportOf } from "./report.js";
import { checkServers } from "./server-options.js";
import type { ServerRequest } from "./servers.js";
import { SIGNALS, type Signal } from "./signals.js";
import { textOf } from "./text-model.js";
import { notesOnDates } from "./time.js";

export interface FitRequest extends TaskRequest {
  readonly data: string;
  /** The file of equations. */
  readonly equations: string;
  /** The separate table of doses, if there is one. */
  readonly doses?: string | undefined;
  readonly out: string;
  /** The file of the report; undefined for none. */
  readonly report: string | undefined;
  readonly options: FitCommandOptions;
  /** The parameters to profile: names, all (true) or none (false). */
  readonly profile: readonly string[] | boolean;
  /** Whether to start from the estimates in `out`. */
  readonly resume: boolean;
  /** The servers whose workers solve, if any are given; otherwise this machine does. */
  readonly servers: ServerRequest;
  readonly progress: boolean;
}

/** The results of the thread so far. */
interface Outcome {
  readonly result: FitNumbers | undefined;
  /** The last iteration of the best start. */
  readonly best: FitProgress | undefined;
  readonly curves: readonly Curve[];
  readonly profiles: readonly Profile[];
  readonly signal: Signal | undefined;
}

export type FitOutput = Awaited<ReturnType<typeof fitEquations>>;

export async function fitEquations(request: FitRequest) {
  const start = performance.now();
  const { out, options } = request;
  checkServers(request.servers);
  const inputs = [request.data, request.equations, ...(request.doses === undefined ? [] : [request.doses])];
  checkOutput(out, inputs);
  if (request.report !== undefined) checkOutput(request.report, inputs, "--report");
  checkApart({ "--out": out, "--report": request.report });
  if ([request.data, request.equations].every((file) => ["-", "/dev/stdin"].includes(file))) {
    throw new Failure("only one of the equations and the table can come from standard input", 2);
  }
  const found: Found = request.resume ? foundIn(await readSource(out)) : new Map();
  const source = await readEquations(request.equations);
  const text = textOf(source);
  const data = await readSource(request.data);
  const dosing = request.doses === undefined ? undefined : await readSource(request.doses);
  const task = taskOf({ ...request, dosing }, source.name, text, data, found);
  checkMeasurements(task, options.error, data.name);
  const names = namesOf(task);
  if (request.resume && !names.some((name) => found.has(name))) {
    throw new Failure(`--resume: ${out} has none of ${names.join(", ")}`, 2);
  }
  const unknown = Array.isArray(request.profile) ? request.profile.find((name) => !names.includes(name)) : undefined;
  if (unknown !== undefined) throw new Failure(`--profile: expected some of ${names.join(", ")}; given ${unknown}`, 2);

  const dated = notesOnDates(task.clock, request.format);
  const progress = fitProgressOf(request.progress, options.starts);
  const outcome = await run(
    { task, options, profile: request.profile, curves: request.report !== undefined, servers: request.servers },
    progress,
  )
    .catch((error: unknown) => {
      // If nothing can be solved, the usual reason is that rates have another unit of time.
      throw error instanceof Failure ? new Failure([error.message, ...dated].join("\n"), error.status) : error;
    })
    .finally(progress.stop);
  const { result, best, profiles, signal } = outcome;
  if (!result && !best)
    throw new Failure("stopped before the first iteration; nothing was written", SIGNALS[signal as Signal]);
  const values: Values = result
    ? Object.fromEntries(Object.values(result.parameters).map(({ name, value }) => [name, value]))
    : { ...valuesOf(task), ...best?.parameters };
  const qualities = result ? qualitiesOf(result, task.mapping.observed) : [];
  const converged = result !== undefined && isReliable(result);
  // The method that was used, also if it was chosen automatically.
  const settings = { ...options, solver: result?.method ?? options.solver ?? "dopri8" } as const;
  const description: FitDescription = {
    ...task.mapping,
    ...{ clock: task.clock, format: request.format, settings },
    estimates: result ? estimatesOf(result) : unfinished(task, values),
    freeNames: result ? result.freeNames : null,
    covariance: result ? Array.from(result.covariance, (value) => (Number.isFinite(value) ? value : null)) : null,
    trajectories: trajectoriesOf(task, values),
    fit: {
      ...{ measurements: result?.measurements.length ?? null, degreesOfFreedom: result?.degreesOfFreedom ?? null },
      ...{ standardDeviation: result?.standardDeviation ?? null, logLikelihood: result?.logLikelihood ?? null },
      ...{ aic: result?.aic ?? null, bic: result?.bic ?? null, cost: result?.cost ?? best?.cost ?? null },
      ...{ converged, reason: result?.reason ?? "stopped" },
    },
  };
  const elsewhere = writeSomewhere(out, fitBytes(task, values, description));
  if (elsewhere) throw new Failure(`${elsewhere.reason}; the estimates are in ${elsewhere.file}`);
  const notes = [
    ...dated,
    ...(request.observe ? [] : notesOnNames(task)),
    ...(result ? notesOnFit(result, task.exact) : []),
    ...notesOnColumns(task),
    ...(signal === undefined ? [] : notesOnProfiles(request.profile, names, profiles)),
  ];
  const tolerance = adviceOnTolerance(task, options.atol);
  const advice = result ? [...tolerance, ...adviceOnFit(result, task.mapping.observed, profiles)] : [];
  if (request.report !== undefined && result) {
    const { curves } = outcome;
    writeWhole(
      request.report,
      reportOf({
        title: source.name,
        data: data.name,
        task,
        options: settings,
        result,
        curves,
        profiles,
        qualities,
        advice,
        notes,
      }),
    );
  }
  if (!result) {
    const told = Object.entries(values).map(([name, value]) => `${name} ${value.toPrecision(6)}`);
    throw new Failure(
      `stopped within iteration ${(best?.iteration as number) + 1}: ${out} has the estimates before it, without errors: ${told.join(", ")}; continue with the same command and --resume`,
      SIGNALS[signal as Signal],
    );
  }
  return {
    model: out,
    report: request.report ?? null,
    task,
    result,
    converged,
    qualities,
    profiles,
    advice,
    notes,
    message: messageOf(result, signal),
    signal: signal ?? null,
    seconds: (performance.now() - start) / 1000,
  };
}

/** The result as JSON, where NaN and infinity are null. */
export function jsonOf({ task, result, profiles, ...rest }: FitOutput) {
  const { parameters, starts, measurements, residuals: _, values: __, ...numbers } = result;
  const plain = (array: ArrayLike<number>) => Array.from(array);
  const named = (array: ArrayLike<number>) =>
    Object.fromEntries(Object.keys(parameters).map((name, i) => [name, array[i]]));
  return {
    ...rest,
    ...numbers,
    ...{ message: rest.message, converged: rest.converged },
    parameters,
    covariance: plain(result.covariance),
    correlation: plain(result.correlation),
    trajectories: task.members.map(({ name }) => name),
    skipped: task.skipped,
    ...task.unmatched,
    observed: task.mapping.observed,
    measurements: measurements.map(({ name, time, observed, y, prediction, residual }) => ({
      ...{ trajectory: name, column: task.mapping.observed[observed]?.column },
      ...{ time, y, prediction, residual },
    })),
    starts: starts.map(({ start, values, cost, reason }) => ({
      start: named(start),
      values: named(values),
      cost,
      reason,
    })),
    profiles: profiles.map(({ values, costs, parameters: others, ...profile }) => {
      const width = Object.keys(parameters).length;
      const rows = Array.from(values, (_, i) => named(others.subarray(i * width, (i + 1) * width)));
      return {
        ...profile,
        improved: profile.improved ? named(profile.improved) : null,
        values: plain(values),
        costs: plain(costs),
        parameters: rows,
      };
    }),
  };
}

/** The values that a fit has found, by name. */
function foundIn(source: Parameters<typeof readFit>[0]): Found {
  const { field, description } = readFit(source);
  field.dispose();
  return new Map(Object.entries(description.estimates).map(([name, { value }]) => [name, value]));
}

/** The names of all estimates, as the result has them. */
function namesOf({ parameters, mapping, members, options }: FitTask): string[] {
  const own = (what: string) => members.map(({ name }) => `${what}[${name}]`);
  const fixed = options.parameters as Record<string, { fixed?: boolean }>;
  return [
    ...parameters.filter((name) => !fixed[name]?.fixed),
    ...Object.entries(mapping.estimated).flatMap(([state, { shared }]) =>
      shared || members.length === 1 ? [`${state}(0)`] : own(`${state}(0)`),
    ),
    ...mapping.individual.flatMap(own),
  ];
}

/** Says which profiles are missing after a signal. */
function notesOnProfiles(
  wanted: FitRequest["profile"],
  names: readonly string[],
  profiles: readonly Profile[],
): string[] {
  const all = wanted === true ? names : wanted === false ? [] : wanted;
  const missing = all.filter((name) => !profiles.some((profile) => profile.name === name));
  return missing.length === 0 ? [] : [`not profiled: ${missing.join(", ")}`];
}

/** Where the parameters start. */
const valuesOf = ({ options }: FitTask): Values =>
  Object.fromEntries(
    Object.entries(options.parameters as Record<string, { start: number }>).map(([name, { start }]) => [name, start]),
  );

/** Fits in a thread, so that signals arrive: the first ends the fit after the current iteration, a second at once. */
async function run(request: RunRequest, told: ReturnType<typeof fitProgressOf>): Promise<Outcome> {
  const stop = new SharedArrayBuffer(4);
  const workerData: FitWorkerRequest = { ...request, stop };
  const worker = new Worker(new URL("./fit-worker.js", import.meta.url), { workerData });
  let signal: Signal | undefined;
  const onSignal = (given: Signal) => {
    if (signal !== undefined) void worker.terminate();
    signal ??= given;
    Atomics.store(new Int32Array(stop), 0, 1);
  };
  for (const name of Object.keys(SIGNALS)) process.on(name, onSignal);
  let [result, best, curves]: [FitNumbers | undefined, FitProgress | undefined, readonly Curve[]] = [
    undefined,
    undefined,
    [],
  ];
  const profiles: Profile[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      worker.on("message", (message: Message) => {
        switch (message.kind) {
          case "iteration": {
            const { progress } = message;
            if (!best || progress.cost <= best.cost) best = progress;
            return told.update(progress);
          }
          case "result":
            result = message.result;
            return;
          case "curves":
            curves = message.curves;
            return;
          case "profiling":
            return told.profiling(message.name);
          case "profile":
            profiles.push(message.profile);
            return;
          case "note":
            return told.note(message.text);
          case "workers":
            return told.workers(message.text);
          case "failure": {
            // A fit that is to end does not wait for missing workers.
            if (signal !== undefined && message.code === "DISPOSED") return;
            const text = withAdvice(byTableTimes(message.message, request.task.members, request.task.clock));
            reject(new Failure(text, message.status));
          }
        }
      });
      worker.on("error", reject);
      worker.on("exit", () => resolve());
    });
  } finally {
    for (const name of Object.keys(SIGNALS)) process.removeListener(name, onSignal);
  }
  return { result, best, curves, profiles, signal };
}

/** A failure of the fit, with options to try. */
function withAdvice(message: string): string {
  const underived = /^parameters: (.*) Start y0 elsewhere, (.*)$/s.exec(message);
  if (underived) return `${underived[1]}\ntry another --initial, or --estimate with --bounds`;
  if (!message.startsWith("parameters: the model cannot be solved")) return message;
  const told = message.replace(/^parameters: /, "").replace(/\. Start from other values, or set bounds\.$/, "");
  return `${told}\ntry --start "name=value" nearer to what you expect (of the right sign and size), or --initial for the states`;
}
