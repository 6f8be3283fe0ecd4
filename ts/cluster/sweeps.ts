// Lists, reads and removes sweeps on the servers.
import type { KV, KvEntry } from "@nats-io/kv";
import { refused } from "../checks/errors.js";
import { argument, fallback, flag, options as readOptions, required, rule, together } from "../checks/rules.js";
import { Board } from "./board.js";
import { type Client, codeOf, connectClient, connectionError, type ServerOptions, serverRules } from "./client.js";
import {
  type Definition,
  forget,
  planOf,
  pointsAt,
  readDefinition,
  readPlace,
  type StoredSweep,
} from "./definitions.js";
import { sizesOf } from "./halving.js";
import { isToken } from "./messages.js";
import { fetchValue } from "./store.js";
import type { SweepResult } from "./sweep-result.js";
import { jobKey, type Report, readReport, stateKey } from "./trials.js";

/** A sweep on the servers, and how far it is. */
export interface SweepSummary {
  /** The name of the sweep. */
  readonly name: string;
  /** The task that its trials run, such as `train`. */
  readonly task: string;
  /** The number of trials. */
  readonly trials: number;
  /** How many runs of trials have ended; a trial has a run for each rung. */
  readonly ended: number;
  /** How many runs of trials there will be; fewer, if many fail. */
  readonly total: number;
  /** How many runs of trials have failed. */
  readonly failed: number;
  /** How many runs of trials wait for a worker, or are under way. */
  readonly waiting: number;
  /** When the sweep was started. */
  readonly begun: Date;
  /** When the last result came; undefined while there is none. */
  readonly last: Date | undefined;
}

/** Options of `removeSweep`: the servers, and whether trials may be lost. */
export interface RemoveSweepOptions extends ServerOptions {
  /** Whether to remove a sweep whose trials wait for a worker or are under way; default false. */
  force?: boolean | undefined;
}

/** What `removeSweep` has deleted. */
export interface RemovedSweep {
  /** The number of results of trials. */
  readonly results: number;
  /** The number of states that trials had left, such as models. */
  readonly states: number;
}

/** A sweep and its definition. */
interface Named {
  readonly name: string;
  readonly place: StoredSweep;
  readonly definition: Definition & { readonly run: string };
  readonly entry: KvEntry;
}

const removeRules = together(serverRules, { force: fallback(flag, false) });
const nameRule = required(rule<string>("the name of a sweep", isToken));

/**
 * Lists the sweeps on the servers, in the order in which they were started. Servers keep a sweep for 30 days.
 *
 * @throws `OPTION`; `CONNECTION` if no server is reached, or it does not allow what is needed; `UNSUPPORTED` without the packages
 * `@nats-io/…`.
 */
export async function listSweeps(options: ServerOptions = {}): Promise<SweepSummary[]> {
  return over(readOptions(options, serverRules), async (client, store) => {
    const all = store ? await namedIn(store) : [];
    const waiting = await waitingIn(client);
    const results = new Map<string, { report: Report; created: Date }[]>();
    for (const { id, ...result } of store ? await resultsIn(store, "*") : []) {
      const own = results.get(id);
      if (own) own.push(result);
      else results.set(id, [result]);
    }
    return all.map(({ name, place, definition, entry }) => {
      const { run, trials, halving } = definition;
      const own = results.get(place.id) ?? [];
      const done = new Set(own.map(({ report }) => jobKey(report)));
      const times = own.map(({ created }) => created.getTime());
      return Object.freeze({
        ...{ name, task: run, trials, ended: own.length },
        total: sizesOf(halving, trials).reduce((sum, size) => sum + size, 0),
        failed: own.filter(({ report }) => report.message !== undefined).length,
        waiting: (waiting.get(place.id) ?? []).filter((job) => !done.has(job)).length,
        begun: entry.created,
        last: times.length > 0 ? new Date(times.reduce((a, b) => Math.max(a, b))) : undefined,
      });
    });
  });
}

/**
 * Reads what has come of a sweep so far, without the options that it was started with; the sweep may still be running, and nothing of it
 * changes. Trials that have not ended are `open`.
 *
 * @param name - The name of a sweep on the servers.
 * @throws `OPTION` if there is no such sweep; `CONNECTION` if no server is reached, or it does not allow what is needed; `UNSUPPORTED`
 * without the packages `@nats-io/…`.
 */
export async function readSweep(name: string, options: ServerOptions = {}): Promise<SweepResult> {
  argument("name", name, nameRule);
  return over(readOptions(options, serverRules), async (client, store) => {
    const { place, definition } = find(name, store ? await namedIn(store) : []);
    const board = new Board(planOf(definition, await pointsAt(client, name, place, definition)));
    for (const { report } of await resultsIn(store as KV, place.id)) board.take(report);
    const report = board.bestReport;
    const state = report?.state && { ...report.state, key: stateKey(place.id, report) };
    const bytes = state && (await fetchValue(client, client.names.sweepBucket, state, 2 ** 31));
    return board.result(name, bytes && new Uint8Array(bytes));
  });
}

/**
 * Removes a sweep from the servers, with its results and its models. Whoever waits for it is told that it was removed.
 *
 * @param name - The name of a sweep on the servers.
 * @throws `OPTION` if there is no such sweep, or it has trials that wait or run, without `force`; `CONNECTION` if no server is reached, or
 * it does not allow what is needed; `UNSUPPORTED` without the packages `@nats-io/…`.
 */
export async function removeSweep(name: string, options: RemoveSweepOptions = {}): Promise<RemovedSweep> {
  argument("name", name, nameRule);
  const { force, ...servers } = readOptions(options, removeRules);
  return over(servers, async (client, store) => {
    const { place, entry } = find(name, store ? await namedIn(store) : []);
    const { id } = place;
    const results = await keysBelow(client, `results.${id}.*`);
    const done = new Set(results.map((key) => key.slice(key.lastIndexOf(".") + 1)));
    const waiting = ((await waitingIn(client)).get(id) ?? []).filter((job) => !done.has(job)).length;
    if (waiting > 0 && !force) {
      throw refused("OPTION", "force", `true, since ${waiting} trials of ${name} wait or run`, "false");
    }
    const states = await keysBelow(client, `states.${id}.>`);
    // The deletion marker tells a running coordinator that the sweep was removed, not lost.
    await (store as KV).delete(entry.key, { previousSeq: entry.revision });
    await forget(client, id);
    const attempts = new Set(states.map((key) => key.slice(0, key.lastIndexOf("."))));
    return Object.freeze({ results: results.length, states: attempts.size });
  });
}

/** Connects and calls `body` with the bucket of sweeps, if it exists. */
async function over<T>(
  servers: ServerOptions,
  body: (client: Client, store: KV | undefined) => Promise<T>,
): Promise<T> {
  const client = await connectClient({ ...servers, name: "symplectic-adjoint sweeps" });
  try {
    const { manager, kv, streams, names } = client;
    const isThere = await orNone(manager.streams.info(names.sweepBucketStream));
    const store =
      isThere && (await new kv.Kvm(streams).open(names.sweepBucket, { bindOnly: true, allow_direct: true }));
    return await client.connected(body(client, store));
  } catch (error) {
    throw connectionError(error);
  } finally {
    await client.connection.close().catch(() => {});
  }
}

/** JetStream's error for a missing stream. */
const NO_STREAM = 10059;
const orNone = <T>(asking: Promise<T>): Promise<T | undefined> =>
  asking.catch((error) => (codeOf(error) === NO_STREAM ? undefined : Promise.reject(error)));

/** All entries below a key. */
async function entriesOf(store: KV, key: string): Promise<KvEntry[]> {
  const entries: KvEntry[] = [];
  for await (const entry of await store.history({ key })) if (entry.operation === "PUT") entries.push(entry);
  return entries;
}

/** All sweeps, the oldest first. */
async function namedIn(store: KV): Promise<Named[]> {
  const entries = await entriesOf(store, "definitions.*");
  return entries.flatMap((entry) => {
    const place = readPlace(entry.value);
    const definition = place && readDefinition(place);
    return definition ? [{ name: entry.key.slice("definitions.".length), place, definition, entry }] : [];
  });
}

/** The results of a sweep; `*` stands for all. */
async function resultsIn(store: KV, sweep: string): Promise<{ id: string; report: Report; created: Date }[]> {
  const entries = await entriesOf(store, `results.${sweep}.*`);
  return entries.flatMap(({ key, value, created }) => {
    const [, id = "", job] = key.split(".");
    const report = readReport(value);
    return report && jobKey(report) === job ? [{ id, report, created }] : [];
  });
}

/** Keys of waiting and running trials, by the id of the sweep. A killed worker may have left some that already have a result. */
async function waitingIn({ manager, names }: Client): Promise<Map<string, string[]>> {
  const info = await orNone(manager.streams.info(names.trialStream, { subjects_filter: names.trialSubjects }));
  const jobs = new Map<string, string[]>();
  for (const subject of Object.keys(info?.state.subjects ?? {})) {
    const [id = "", job = ""] = subject.split(".").slice(-2);
    const own = jobs.get(id);
    if (own) own.push(job);
    else jobs.set(id, [job]);
  }
  return jobs;
}

async function keysBelow({ manager, names }: Client, key: string): Promise<string[]> {
  const { state } = await manager.streams.info(names.sweepBucketStream, { subjects_filter: names.sweepKey(key) });
  return Object.keys(state.subjects ?? {});
}

function find(name: string, all: readonly Named[]): Named {
  const found = all.find((one) => one.name === name);
  if (found) return found;
  const names = all.map((one) => one.name);
  const there = names.length > 20 ? `${names.slice(0, 20).join(", ")} and ${names.length - 20} more` : names.join(", ");
  throw refused(
    "OPTION",
    "name",
    names.length === 0 ? "a sweep, but there is none" : `one of the sweeps ${there}`,
    name,
  );
}
