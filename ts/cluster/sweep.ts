// Sweeps: chooses the trials, decides which continue, and collects the results. A queue runs them.
import { classOf, refused } from "../checks/errors.js";
import {
  anything,
  callable,
  checkAbsent,
  count,
  fallback,
  finitePositive,
  natural,
  number,
  oneOf,
  type Rule,
  options as readOptions,
  required,
  rule,
  together,
  withMethod,
} from "../checks/rules.js";
import { Board, type Plan } from "./board.js";
import { connectClient, type ServerOptions, serverRules, stallRule } from "./client.js";
import { type Definition, planOf, type SweepHead } from "./definitions.js";
import { type HalvingOptions, readHalving } from "./halving.js";
import { openLocal } from "./local-queue.js";
import { isToken } from "./messages.js";
import { readPoints, SAMPLERS, type Sampler, type SamplerFunction } from "./sampler.js";
import { type Dimension, gridSize, MOST_TRIALS, readSpace, type SearchSpace } from "./space.js";
import { openQueue, type QueueListener, type TrialQueue } from "./sweep-queue.js";
import type { SweepEvent, SweepResult } from "./sweep-result.js";
import type { Json, TrialFunction } from "./trials.js";

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
   * independently; `grid` takes all combinations. Or a function such as `({ trials, dimensions, seed }) => points`, which returns `trials`
   * rows of `dimensions` numbers from 0 to below 1, and the same ones when the sweep is resumed.
   */
  sampler?: Sampler | SamplerFunction | undefined;
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

const samplerNames = oneOf(SAMPLERS);
const samplerRule: Rule<Sampler | SamplerFunction | undefined> = {
  ...samplerNames,
  expected: `${samplerNames.expected}, or a function`,
  valid: (value) => typeof value === "function" || samplerNames.valid(value),
};

export const sweepRules = together(serverRules, {
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
  sampler: fallback(samplerRule, "quasirandom"),
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
 * @throws `OPTION` for invalid options; `CALLBACK` if a sampler of yours returns the wrong thing, and what it throws; `CONNECTION` if no
 * server is reached, or it does not allow what is needed; `UNSUPPORTED` without the packages `@nats-io/…`; the signal's reason.
 */
export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const given = readOptions(options, sweepRules);
  const { run, seed, sampler, signal, direction } = given;
  checkUsed(options);
  const dimensions = readSpace(given.space, sampler);
  const trials = trialsOf(given, dimensions);
  signal?.throwIfAborted();
  const points =
    typeof sampler === "function" ? readPoints(sampler, { trials, dimensions: dimensions.length, seed }) : undefined;
  const shared = { settings: JSON.parse(JSON.stringify(given.settings)) as Json, files: { ...given.files } };
  const asked: Definition = {
    ...{ run: typeof run === "string" ? run : null, space: dimensions, trials, seed, direction },
    sampler: points ? `points ${await hashOf(points)}` : (sampler as Sampler),
    halving: readHalving(given.halving),
  };
  const definition = JSON.stringify({ ...asked, settings: shared.settings, files: await hashesOf(shared.files) });
  const head: SweepHead = {
    name: given.name ?? `sweep-${randomName()}`,
    task: typeof run === "string" ? run : "here",
    ...{ attempts: given.attempts, timeout: given.timeout && 1000 * given.timeout, existing: given.existing },
    ...{ definition, shared, points, replicas: given.replicas, stallMs: 1000 * given.stallTimeout },
  };
  const plan = planOf(asked, points);
  const common = { name: head.name, signal, onEvent: given.onEvent };
  if (typeof run === "function") {
    return drive(plan, common, async (listener) => openLocal(run, given.parallel, head, listener));
  }
  const { servers, prefix, nats } = given;
  const client = await connectClient({
    ...{ servers, prefix, client: given.client, name: "symplectic-adjoint sweep" },
    ...(nats && { nats }),
  });
  try {
    return await drive(plan, common, (listener) => openQueue(client, head, listener));
  } finally {
    await client.connection.close().catch(() => {});
  }
}

/** Refuses options that would change nothing where the trials run. */
function checkUsed({ run, parallel, ...options }: SweepOptions): void {
  if (typeof run === "function") {
    const { servers, prefix, client, nats, name, replicas, stallTimeout, attempts, existing } = options;
    const ofServers = { servers, prefix, client, nats, name, replicas, stallTimeout, attempts, existing };
    checkAbsent(ofServers, ", as run is a function in this process");
  } else checkAbsent({ parallel }, ", as workers run the trials");
}

function trialsOf(
  { trials, sampler }: { trials: number | undefined; sampler: Sampler | SamplerFunction },
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

const hashOf = async (bytes: BufferSource) => hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));

async function hashesOf(files: Readonly<Record<string, Uint8Array>>): Promise<Record<string, string>> {
  const entries = Object.entries(files).map(
    async ([name, bytes]) => [name, await hashOf(bytes as Uint8Array<ArrayBuffer>)] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

/** Runs all trials, rung by rung. */
function drive(
  plan: Plan,
  { name, signal, onEvent }: { name: string; signal: AbortSignal | undefined; onEvent(event: SweepEvent): void },
  open: (listener: QueueListener) => Promise<TrialQueue>,
): Promise<SweepResult> {
  const board = new Board(plan);
  return new Promise((resolve, reject) => {
    let queue: TrialQueue | undefined;
    let over = false;
    /** How many rungs have their trials in the queue. */
    let begun = 0;
    const end = async (empty: boolean, outcome: () => Promise<SweepResult>) => {
      if (over) return;
      over = true;
      signal?.removeEventListener("abort", onAbort);
      try {
        // Read the best state before the queue is closed.
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
        onEvent(event);
      } catch (error) {
        fail(error);
      }
    };
    /** Queues the trials of rungs that have begun; ends the sweep after the last one. */
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
        const report = board.bestReport;
        end(false, async () => {
          const state = report && (await queue?.stateOf(report));
          queue?.dropOtherStates(() => board.needed);
          return board.result(name, state);
        });
      }
    };
    const listener: QueueListener = {
      report(report) {
        if (over) return;
        const best = report && board.bestOf(report.rung);
        const reason = report ? board.take(report) : "the result cannot be read";
        if (reason !== undefined || !report) return tell({ kind: "rejected", reason: reason ?? "" });
        // While the queue opens, reports are those of an earlier process: not news.
        if (!queue) return;
        tell({ kind: "trial", result: board.resultOf(report.trial), status: board.status() });
        for (const old of board.superseded(report, best)) queue.dropState(old);
        advance();
      },
      state: (state) => void (over || tell({ kind: "queue", ...state })),
      fail,
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    // It may have been aborted while the connection was made.
    if (signal?.aborted) onAbort();
    open(listener).then((opened) => {
      queue = opened;
      if (over) return void opened.close(signal?.aborted ?? false);
      if (board.status().ended > 0) {
        tell({ kind: "resumed", status: board.status() });
        queue.dropOtherStates(() => board.needed);
      }
      advance();
    }, fail);
  });
}
