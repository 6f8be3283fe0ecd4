// Sweeps: which trials there are, which go on, what comes of them. Where they run is the queue's.
import { classOf, refused } from "../checks/errors.js";
import {
  anything,
  callable,
  count,
  fallback,
  finitePositive,
  natural,
  number,
  oneOf,
  options as readOptions,
  required,
  rule,
  together,
  withMethod,
} from "../checks/rules.js";
import { connectClient, type ServerOptions, serverRules, stallRule } from "./client.js";
import { type HalvingOptions, membersOf, readHalving, sizesOf } from "./halving.js";
import { isToken } from "./messages.js";
import {
  type Dimension,
  gridSize,
  MOST_TRIALS,
  type Parameters,
  readSpace,
  SAMPLERS,
  type Sampler,
  type SearchSpace,
  samplesOf,
} from "./space.js";
import {
  type OwnJob,
  openLocal,
  openQueue,
  type QueueListener,
  type SweepHead,
  type TrialQueue,
} from "./sweep-queue.js";
import { type Json, jobKey, type Report, type TrialFunction } from "./trials.js";

/** What `sweep` tries, how often, and where; `run` and `space` are required, and `trials` unless the sampler is `grid`. */
export interface SweepOptions extends ServerOptions {
  /**
   * What a trial runs: the name of a task that workers offer (see `tasks` of `join`, and `--module` of the command), with trials sent
   * over NATS; or a function, with trials in this process.
   */
  run: string | TrialFunction;
  /** The parameters, by name: a list of values, or a range such as `{ min: 1e-4, max: 1e-1 }`. */
  space: SearchSpace;
  /** The number of trials, 1 to 100,000. A grid sets its own. */
  trials?: number | undefined;
  /**
   * How parameters are chosen: `quasirandom` (the default) fills the space evenly, with Roberts' sequence; `random` draws each
   * independently; `grid` takes all combinations.
   */
  sampler?: Sampler | undefined;
  /** The seed of the sampler, and of each trial's own seed; default 0. */
  seed?: number | undefined;
  /** Whether small or large values are better; default `minimize`. */
  direction?: "minimize" | "maximize" | undefined;
  /** Early stopping by successive halving; by default every trial runs to its end. */
  halving?: HalvingOptions | undefined;
  /** Settings for all trials, as JSON; default none. */
  settings?: Json | undefined;
  /** Files for all trials, by name; together at most 256 MiB. Default none. */
  files?: Readonly<Record<string, Uint8Array>> | undefined;
  /** Seconds after which a trial counts as failed; default: never. A function that ignores its `signal` keeps running in vain. */
  timeout?: number | undefined;
  /** How many workers may be lost or leave during a trial before it counts as failed; default 5. */
  attempts?: number | undefined;
  /** The name by which the sweep is found again on the servers: 1 to 64 letters, digits, - and _. Default: an unused one. */
  name?: string | undefined;
  /**
   * What to do if there is already a sweep of that name: `error` (the default) throws, `resume` continues it, if it has the same space,
   * trials and so on, and `replace` deletes it.
   */
  existing?: "error" | "resume" | "replace" | undefined;
  /** How many trials run at a time, if `run` is a function; default 1. */
  parallel?: number | undefined;
  /**
   * Seconds without a sign of life after which a worker's trial is given to another, 0.1 to a day; default 30. Of several sweeps that run
   * the same task on the same servers, the value of the last one that began counts for all.
   */
  stallTimeout?: number | undefined;
  /** NATS servers that keep a copy of the sweep, 1 to 5; default 1. */
  replicas?: number | undefined;
  /**
   * An AbortSignal that stops the sweep: `sweep` rejects with the signal's reason. Results stay on the servers, and `existing: "resume"`
   * continues the sweep.
   */
  signal?: AbortSignal | undefined;
  /** Called when a trial ends, a rung begins and so on; see `SweepEvent`. */
  onEvent?: ((event: SweepEvent) => void) | undefined;
}

/** One rung of a trial; without successive halving there is one. */
export interface TrialRung {
  /** The budget that the trial had at this rung; undefined without successive halving. */
  readonly budget: number | undefined;
  /** The value that the trial returned at this rung; NaN if it failed. */
  readonly value: number;
  /** How long the trial ran at this rung, in milliseconds. */
  readonly ms: number;
  /** The name of the worker that ran the trial; `here` if that was this process. */
  readonly worker: string;
}

/** How a trial of a sweep ended, with its number and its parameters. */
export interface TrialResult {
  /** The number of the trial, from 0. */
  readonly trial: number;
  /** The values of the parameters that the trial had, by name. */
  readonly parameters: Parameters;
  /**
   * `done`: it had the whole budget; `stopped`: others were better at a rung; `failed`: see the message; `open`: it has not ended at the
   * rung where it is.
   */
  readonly status: "done" | "stopped" | "failed" | "open";
  /** The value of the trial at the last rung that it has ended; NaN if it failed or has ended none. */
  readonly value: number;
  /** How long the trial ran, over all rungs, in milliseconds. */
  readonly ms: number;
  /** The rungs that the trial has ended, in their order. */
  readonly rungs: readonly TrialRung[];
  /** Why the trial failed; undefined unless it did. */
  readonly message: string | undefined;
  /** The `info` that the trial returned with its value, at the last rung that it has ended. */
  readonly info: Json | undefined;
}

/** The result of a sweep. */
export interface SweepResult {
  /** The name of the sweep. */
  readonly name: string;
  /**
   * The best of the trials that are done; undefined if all trials have failed. If all have failed at the last rungs, it is the best of the
   * highest rung that one has ended with a value: with its `value`, `rungs`, `info` and `state` of that rung, and the status `failed`.
   */
  readonly best: (TrialResult & { readonly state: Uint8Array | undefined }) | undefined;
  /** All trials of the sweep, in the order of their numbers. */
  readonly trials: readonly TrialResult[];
  /** The budgets of the rungs; empty without successive halving. */
  readonly budgets: readonly number[];
}

/** How far a sweep is. */
export interface SweepStatus {
  /** How many runs of trials have ended; a trial has a run for each rung. */
  readonly ended: number;
  /** How many runs of trials there will be. */
  readonly total: number;
  /** How many runs of trials have failed. */
  readonly failed: number;
  /** The best trial at the highest rung that any trial has ended with a value; undefined until one has. */
  readonly best: TrialResult | undefined;
}

/** What happens in a sweep. */
export type SweepEvent =
  | {
      /** There are results of the sweep already. */
      readonly kind: "resumed";
      /** How far the sweep is. */
      readonly status: SweepStatus;
    }
  | {
      /** A run of a trial has ended. */
      readonly kind: "trial";
      /** With kind `trial`: the trial, with what it found. */
      readonly result: TrialResult;
      /** How far the sweep is. */
      readonly status: SweepStatus;
    }
  | {
      /** A rung begins. */
      readonly kind: "rung";
      /** With kind `rung`: the number of the rung, from 0. */
      readonly rung: number;
      /** The budget of its trials; undefined without successive halving. */
      readonly budget: number | undefined;
      /** With kind `rung`: how many trials run at this rung. */
      readonly trials: number;
    }
  | {
      /** The state of the queue, from time to time. */
      readonly kind: "queue";
      /** How many runs of trials wait in the queue. */
      readonly open: number;
      /** How many runs of trials are under way. */
      readonly running: number;
      /** Whether workers wait for trials. */
      readonly idle: boolean;
    }
  | {
      /** A worker returned something that is not a result of a trial; it does not count. */
      readonly kind: "refused";
      /** Why the result was rejected. */
      readonly reason: string;
    };

const MOST_BYTES = 2 ** 28;
const isJson = (value: unknown) => {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
};
const isFiles = (value: unknown) =>
  value !== null &&
  typeof value === "object" &&
  Object.keys(value).length <= 256 &&
  Object.values(value).every((bytes) => classOf(bytes) === "Uint8Array") &&
  Object.values(value).reduce((sum: number, { length }) => sum + length, 0) <= MOST_BYTES;

const rules = together(serverRules, {
  run: required(
    rule<string | TrialFunction>(
      "a function, or the name of a task: 1 to 64 letters, digits, - and _",
      (value) => typeof value === "function" || isToken(value),
    ),
  ),
  space: required(anything<SearchSpace>()),
  trials: number(
    "an integer from 1 to 100,000",
    (value) => Number.isInteger(value) && value >= 1 && value <= MOST_TRIALS,
  ),
  sampler: fallback(oneOf(SAMPLERS), "quasirandom"),
  seed: fallback(natural, 0),
  direction: fallback(oneOf(["minimize", "maximize"]), "minimize"),
  halving: anything<HalvingOptions>(),
  settings: fallback(rule<Json>("JSON", isJson), null),
  files: fallback(rule<Readonly<Record<string, Uint8Array>>>("Uint8Arrays by name, of at most 256 MiB", isFiles), {}),
  timeout: finitePositive,
  attempts: fallback(count, 5),
  name: rule<string>("1 to 64 letters, digits, - and _", isToken),
  existing: fallback(oneOf(["error", "resume", "replace"]), "error"),
  parallel: fallback(count, 1),
  stallTimeout: stallRule(30),
  replicas: fallback(
    number("an integer from 1 to 5", (value) => [1, 2, 3, 4, 5].includes(value)),
    1,
  ),
  signal: withMethod<AbortSignal>("an AbortSignal", "addEventListener"),
  onEvent: fallback(callable<(event: SweepEvent) => void>(), () => {}),
});

/**
 * Tries parameters: many trials of one function, on workers that come and go, or in this process.
 *
 * Over NATS, trials wait in a work queue on the servers' disks, and their results go to a key–value store. However often a worker is lost
 * or a message arrives twice, each trial has one result. Workers need no supervision: the process that started the sweep may go away, and
 * come back with `existing: "resume"`. A trial that throws counts as failed, and the sweep goes on.
 *
 * Which parameters are tried and which trials continue depends on the options and the values alone, not on which worker is fast.
 *
 * @throws `OPTION` for invalid options; `CONNECTION` if no server is reached, or it does not allow what is needed; `UNSUPPORTED` without
 * the packages `@nats-io/…`; the signal's reason.
 */
export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const given = readOptions(options, rules);
  const { run, seed, sampler, signal, direction, servers, prefix, client: own, nats, replicas, stallTimeout } = given;
  const dimensions = readSpace(given.space, sampler);
  const rungs = readHalving(given.halving);
  const trials = trialsOf(given, dimensions);
  if (typeof run === "function") {
    for (const name of ["servers", "nats", "name", "replicas"] as const) {
      if (options[name] !== undefined) {
        throw refused("OPTION", name, "no value, since run is a function in this process", "a value");
      }
    }
  } else if (options.parallel !== undefined) {
    throw refused("OPTION", "parallel", "no value, since workers run the trials", String(options.parallel));
  }
  signal?.throwIfAborted();
  const parameters = samplesOf(dimensions, sampler, seed, trials);
  const shared = { settings: JSON.parse(JSON.stringify(given.settings)) as Json, files: { ...given.files } };
  const definition = JSON.stringify({
    ...{ run: typeof run === "string" ? run : null, space: dimensions, trials, sampler, seed, direction },
    ...{ halving: rungs, settings: shared.settings, files: await hashesOf(shared.files) },
  });
  const head: SweepHead = {
    name: given.name ?? `sweep-${randomName()}`,
    task: typeof run === "string" ? run : "here",
    ...{ attempts: given.attempts, timeout: given.timeout && 1000 * given.timeout, existing: given.existing },
    ...{ definition, shared, replicas, stallMs: 1000 * stallTimeout },
  };
  const plan: Plan = { parameters, rungs, sign: direction === "minimize" ? 1 : -1, seed, onEvent: given.onEvent };
  if (typeof run === "function") {
    return drive(plan, head.name, signal, async (listener) => openLocal(run, given.parallel, head, listener));
  }
  const client = await connectClient({
    servers,
    prefix,
    client: own,
    ...(nats && { nats }),
    name: "symplectic-adjoint sweep",
  });
  try {
    return await drive(plan, head.name, signal, (listener) => openQueue(client, head, listener));
  } finally {
    await client.connection.close().catch(() => {});
  }
}

function trialsOf(
  { trials, sampler }: { trials: number | undefined; sampler: Sampler },
  dimensions: readonly Dimension[],
): number {
  if (sampler !== "grid") {
    if (trials === undefined) throw refused("OPTION", "trials", "an integer from 1 to 100,000", "undefined");
    return trials;
  }
  const size = gridSize(dimensions);
  if (size > MOST_TRIALS) throw refused("OPTION", "space", `a grid of at most ${MOST_TRIALS} trials`, `one of ${size}`);
  if (trials !== undefined && trials !== size) {
    throw refused("OPTION", "trials", `no value with a grid, or its ${size} trials`, String(trials));
  }
  return size;
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const randomName = () => hex(crypto.getRandomValues(new Uint8Array(6)));

async function hashesOf(files: Readonly<Record<string, Uint8Array>>): Promise<Record<string, string>> {
  const entries = Object.entries(files).map(async ([name, bytes]) => {
    const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
    return [name, hex(new Uint8Array(hash))] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

interface Plan {
  readonly parameters: readonly Parameters[];
  readonly rungs: ReturnType<typeof readHalving>;
  /** 1: small values are good. */
  readonly sign: 1 | -1;
  readonly seed: number;
  onEvent(event: SweepEvent): void;
}

/** Has trials run until all have ended, each rung after the one before. */
function drive(
  plan: Plan,
  name: string,
  signal: AbortSignal | undefined,
  open: (listener: QueueListener) => Promise<TrialQueue>,
): Promise<SweepResult> {
  const board = new Board(plan);
  return new Promise((resolve, reject) => {
    let queue: TrialQueue | undefined;
    let over = false;
    /** Rungs whose trials are in the queue. */
    let begun = 0;
    const end = async (empty: boolean, outcome: () => Promise<SweepResult>) => {
      if (over) return;
      over = true;
      signal?.removeEventListener("abort", onAbort);
      try {
        // The state of the best is still there to be read.
        const result = await outcome().finally(() => queue?.close(empty));
        resolve(result);
      } catch (error) {
        reject(error);
      }
    };
    const onAbort = () => end(true, () => Promise.reject(signal?.reason));
    const fail = (error: unknown) => end(false, () => Promise.reject(error));
    const tell = (event: SweepEvent) => {
      try {
        plan.onEvent(event);
      } catch (error) {
        fail(error);
      }
    };
    /** Puts in what has become possible; ends where nothing is left. */
    const advance = () => {
      if (over || !queue) return;
      for (; begun < board.members.length; begun++) {
        const members = board.members[begun] as readonly number[];
        const rung = begun;
        if (plan.rungs.budgets.length > 1) {
          tell({ kind: "rung", rung, budget: plan.rungs.budgets[rung], trials: members.length });
        }
        for (const report of board.leftBehind(rung)) queue.dropState(report);
        const jobs = members.filter((trial) => !board.report(trial, rung)).map((trial) => board.jobOf(trial, rung));
        queue.put(jobs).catch(fail);
      }
      if (board.isOver) {
        const best = board.best();
        const report = board.bestReport;
        end(false, async () => {
          const state = report && (await queue?.stateOf(report));
          return Object.freeze({
            name,
            best: best && Object.freeze({ ...best, state }),
            trials: Object.freeze(plan.parameters.map((_, trial) => board.resultOf(trial))),
            budgets: Object.freeze(plan.rungs.budgets.filter((budget) => budget !== undefined)),
          });
        });
      }
    };
    const listener: QueueListener = {
      report(report) {
        if (over) return;
        const best = report && board.bestOf(report.rung);
        const reason = report ? board.take(report) : "it cannot be read";
        if (reason !== undefined || !report) return tell({ kind: "refused", reason: reason ?? "" });
        // What an earlier coordinator has heard of is no news.
        if (!queue) return;
        tell({ kind: "trial", result: board.resultOf(report.trial), status: board.status() });
        for (const old of board.superseded(report, best)) queue.dropState(old);
        advance();
      },
      state: (state) => void (over || tell({ kind: "queue", ...state })),
      fail,
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    // It may have been while the connection was made.
    if (signal?.aborted) onAbort();
    open(listener).then((opened) => {
      queue = opened;
      if (over) return void opened.close(signal?.aborted ?? false);
      if (board.status().ended > 0) tell({ kind: "resumed", status: board.status() });
      advance();
    }, fail);
  });
}

/** What is known of all trials. */
class Board {
  readonly #plan: Plan;
  /** By trial, the reports of its rungs. */
  readonly #reports: Report[][];
  /** Of each rung that has begun, its trials. */
  #members: (readonly number[])[] = [];
  #sets: ReadonlySet<number>[] = [];
  /** Trials of the highest rung that have not ended it. */
  #left = 0;
  /** Reports of rungs that have not begun here: those of an earlier coordinator may come in any order. */
  readonly #early = new Map<string, Report>();
  /** The best of each rung. */
  readonly #best: Report[] = [];
  #ended = 0;
  #failed = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#reports = plan.parameters.map(() => []);
    this.#begin();
  }

  report(trial: number, rung: number): Report | undefined {
    return this.#reports[trial]?.[rung];
  }

  /** The trials of each rung that has begun. */
  get members(): readonly (readonly number[])[] {
    return this.#members;
  }

  /** Whether the last rung that there can be has ended. */
  get isOver(): boolean {
    return this.#left === 0;
  }

  /** Takes a report; tells why not, if it does not count. */
  take(report: Report): string | undefined {
    const { trial, rung } = report;
    const own = this.#reports[trial];
    if (!own || rung >= this.#plan.rungs.budgets.length) return `there is no rung ${rung} of a trial ${trial}`;
    if (own[rung]) return `trial ${trial} has a result already`;
    if (rung >= this.#members.length) {
      this.#early.set(jobKey(report), report);
      return undefined;
    }
    if (!this.#sets[rung]?.has(trial)) return `trial ${trial} is not in rung ${rung}`;
    this.#count(report);
    if (this.#left === 0) this.#begin();
    return undefined;
  }

  #count(report: Report): void {
    const { trial, rung, value, message } = report;
    (this.#reports[trial] as Report[])[rung] = report;
    this.#ended++;
    this.#left--;
    if (message !== undefined) {
      this.#failed++;
      return;
    }
    const { sign } = this.#plan;
    const best = this.#best[rung];
    if (!best || sign * value < sign * best.value || (value === best.value && trial < best.trial)) {
      this.#best[rung] = report;
    }
  }

  /** Begins the rungs that can begin. */
  #begin(): void {
    const { rungs, parameters, sign } = this.#plan;
    while (this.#left === 0) {
      const all = membersOf(rungs, parameters.length, (trial, rung) => {
        const value = this.report(trial, rung)?.value;
        return value === undefined ? undefined : sign * value;
      });
      const rung = this.#members.length;
      const members = all[rung];
      if (!members) return;
      this.#members = all.slice(0, rung + 1);
      this.#sets.push(new Set(members));
      this.#left = members.length;
      for (const trial of members) {
        const early = this.#early.get(jobKey({ trial, rung }));
        if (early) this.#count(early);
      }
    }
  }

  jobOf(trial: number, rung: number): OwnJob {
    const { parameters, rungs, seed } = this.#plan;
    return {
      ...{ trial, rung, budget: rungs.budgets[rung], parameters: parameters[trial] as Parameters },
      // Multiples of the golden ratio lie far from each other.
      seed: (seed + Math.imul(trial + 1, 0x9e3779b1)) >>> 0,
      state: this.report(trial, rung - 1)?.state,
    };
  }

  /** Reports of the rung before whose trials do not go on. */
  leftBehind(rung: number): Report[] {
    const before = this.#members[rung - 1] ?? [];
    return before.flatMap((trial) => (this.#sets[rung]?.has(trial) ? [] : [this.report(trial, rung - 1) as Report]));
  }

  /** Reports whose state nobody needs any more, now that this one is there. `best` was the best of its rung before. */
  superseded(report: Report, best: Report | undefined): Report[] {
    const { trial, rung, message } = report;
    const before = this.report(trial, rung - 1);
    const last = this.#best[rung - 1];
    // Until a trial ends this rung with a value, the best of the one before is the best of all.
    if (message !== undefined) return before && (best || before !== last) ? [before] : [];
    const old = before ? [before] : [];
    if (!best && last && last !== before && this.report(last.trial, rung)) old.push(last);
    if (rung < this.#plan.rungs.budgets.length - 1) return old;
    if (this.#best[rung] !== report) return [...old, report];
    return best ? [...old, best] : old;
  }

  bestOf(rung: number): Report | undefined {
    return this.#best[rung];
  }

  resultOf(trial: number): TrialResult {
    const { parameters, rungs } = this.#plan;
    const reports = this.#reports[trial] as Report[];
    const last = reports.at(-1);
    return Object.freeze({
      ...{ trial, parameters: parameters[trial] as Parameters, status: this.#statusOf(trial, last) },
      value: last?.value ?? Number.NaN,
      ms: reports.reduce((sum, { ms }) => sum + ms, 0),
      rungs: Object.freeze(
        reports.map(({ rung, value, ms, worker }) => Object.freeze({ budget: rungs.budgets[rung], value, ms, worker })),
      ),
      ...{ message: last?.message, info: last?.info },
    });
  }

  #statusOf(trial: number, last: Report | undefined): TrialResult["status"] {
    if (!last) return "open";
    if (last.message !== undefined) return "failed";
    if (last.rung === this.#plan.rungs.budgets.length - 1) return "done";
    const next = this.#sets[last.rung + 1];
    return next && !next.has(trial) ? "stopped" : "open";
  }

  /** The best report of the highest rung that any trial has ended with a value. */
  get bestReport(): Report | undefined {
    return this.#best.at(-1);
  }

  /** The trial of that report, as it was then: it may have failed since. */
  best(): TrialResult | undefined {
    const report = this.bestReport;
    if (!report) return undefined;
    const { value, info, rung } = report;
    const result = this.resultOf(report.trial);
    return Object.freeze({ ...result, value, info, rungs: Object.freeze(result.rungs.slice(0, rung + 1)) });
  }

  status(): SweepStatus {
    const { rungs, parameters } = this.#plan;
    const total = sizesOf(rungs, parameters.length).reduce((sum, size) => sum + size, 0);
    return { ended: this.#ended, total, failed: this.#failed, best: this.best() };
  }
}
