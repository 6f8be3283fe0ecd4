// The worker's side of sweeps: takes trials from the queue, runs them, and stores their results.
import type { Consumer, ConsumerInfo, JsMsg } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import { textOf } from "../checks/errors.js";
import { type Client, isFinal, isForbidden, isFull, listen } from "./client.js";
import type { WorkerEvent } from "./events.js";
import { type Ended, runTrial } from "./run-trial.js";
import { MOST_ALIVE_MS } from "./serve.js";
import { fetchValue, putValue } from "./store.js";
import { nextOf } from "./streams.js";
import {
  encodeReport,
  encodeTrouble,
  jobKey,
  readJob,
  readShared,
  reportOf,
  type Shared,
  type TrialFunction,
  type TrialJob,
} from "./trials.js";
import { delay, Pauses } from "./wait.js";

export interface TrialServeOptions {
  /** The name of the worker. */
  readonly name: string;
  /** The functions that it may run, by task. */
  readonly tasks: ReadonlyMap<string, TrialFunction>;
  /** How many trials run at a time. */
  readonly parallel: number;
  /** The largest size of a sweep's files, and of a state, in bytes. */
  readonly most: number;
  onEvent(event: WorkerEvent): void;
}

/** How many sweeps' files are kept. */
const MOST_SHARED = 4;
const PULL_MS = 5000;
/** The shortest time that the client can wait for a message. */
const LEAST_PULL_MS = 1000;
/** After this time, ask a queue for returned trials even if others have new ones: the server does not count them as pending. */
const OVERDUE_MS = 30_000;
const LEAVING = new Error("the worker leaves");
/** How long to retry storing a result while the server is away. */
const OFFER_MS = 120_000;

/** The queue of a task. */
interface Queue {
  readonly consumer: Consumer;
  readonly info: ConsumerInfo;
}

/** Serves until `close`, which gives unfinished trials back; another worker starts them over. */
export function serveTrials(client: Client, options: TrialServeOptions): { close(): Promise<void> } {
  const { connection, names, core, connected } = client;
  const { tasks, name, parallel, most, onEvent } = options;
  let closing = false;
  /** Controllers of the running trials. */
  const stops = new Set<AbortController>();
  /** Delays of loops that wait for a queue. */
  const pauses = new Pauses();
  const shared = new Map<string, Shared>();
  let opened: Promise<KV> | undefined;

  /** Opens the bucket without asking for its settings: a worker may only read and write keys. */
  const bucket = () => {
    opened ??= new client.kv.Kvm(client.streams).open(names.sweepBucket, { bindOnly: true, allow_direct: true });
    return opened;
  };

  async function sharedOf({ id, shared: pieces }: TrialJob): Promise<Shared | undefined> {
    const known = shared.get(id);
    if (known) return known;
    const bytes = await fetchValue(client, names.sweepBucket, { key: `shared.${id}`, ...pieces }, most);
    const read = bytes && readShared(bytes);
    if (!read) return undefined;
    shared.set(id, read);
    if (shared.size > MOST_SHARED) shared.delete(shared.keys().next().value as string);
    return read;
  }

  async function stateOf({ id, trial, rung, state }: TrialJob): Promise<Uint8Array | undefined> {
    if (!state) return undefined;
    const key = `states.${id}.${jobKey({ trial, rung: rung - 1 })}.${state.attempt}`;
    const place = { key, chunks: state.chunks, bytes: state.bytes };
    const bytes = await fetchValue(client, names.sweepBucket, place, most);
    // A copy: the bytes are a view of the client's buffer.
    return bytes && new Uint8Array(bytes);
  }

  /** Stores the result of a job; the first result counts. */
  async function put(job: TrialJob, { stateBytes, ...ended }: Ended): Promise<void> {
    const store = await bucket();
    const key = `${job.id}.${jobKey(job)}`;
    const attempt = core.nuid.next();
    const state = stateBytes && (await putValue(client, names.sweepBucket, `states.${key}.${attempt}`, stateBytes));
    const written = state && { chunks: state.chunks, bytes: state.bytes, attempt };
    const report = encodeReport({ ...ended, trial: job.trial, rung: job.rung, worker: name, state: written });
    try {
      await store.create(`results.${key}`, report);
    } catch (error) {
      const present = await store.get(`results.${key}`);
      if (present?.operation !== "PUT") throw error;
      if (!reportOf(job, present.value)) await store.update(`results.${key}`, report, present.revision);
    }
  }

  /** Runs a job and acknowledges it, unless it already has a result. */
  async function take(message: JsMsg): Promise<void> {
    const job = readJob(message.data);
    const run = job && tasks.get(job.task);
    if (!job || !run) {
      onEvent({ kind: "rejected", message: "a message in the queue of trials is not a trial" });
      message.term("no trial");
      return;
    }
    const store = await bucket();
    const present = await store.get(`results.${job.id}.${jobKey(job)}`);
    // A deleted or unreadable entry is not a result.
    if (present?.operation === "PUT" && reportOf(job, present.value)) {
      message.ack();
      return;
    }
    const { deliveryCount } = message.info;
    const [all, state] = await Promise.all([sharedOf(job), stateOf(job)]);
    const [isLast, lacksState] = [deliveryCount > job.attempts, job.state !== undefined && !state];
    if (!all || (lacksState && !isLast)) {
      // Not replicated to this server yet, or removed with its sweep.
      if (isLast) message.term("its sweep is gone");
      else message.nak(1000);
      return;
    }
    const failed = lacksState ? failedBy("the state of the rung before is lost") : lostOf(deliveryCount - 1);
    const ended = isLast ? failed : await runOf(job, run, all, state);
    const until = performance.now() + OFFER_MS;
    for (;;) {
      try {
        await put(job, ended);
        break;
      } catch (error) {
        const isOver = closing || performance.now() > until || connection.isClosed();
        // Tell the coordinator, which would otherwise wait forever.
        if (isFull(error)) connection.publish(names.answers(job.id), encodeTrouble(textOf(error)));
        if (isOver || isFinal(error)) throw error;
        await delay(500);
      }
    }
    message.ack();
    const { ms, message: why } = ended;
    onEvent({ kind: "trial", sweep: job.name, trial: job.trial, ms, ...(why !== undefined && { message: why }) });
  }

  async function runOf(job: TrialJob, run: TrialFunction, all: Shared, state: Uint8Array | undefined): Promise<Ended> {
    const { name: sweep, trial, parameters, budget, seed } = job;
    // Copies, so that a trial cannot change what another reads.
    const files = Object.fromEntries(Object.entries(all.files).map(([file, bytes]) => [file, new Uint8Array(bytes)]));
    const given = { sweep, trial, parameters, budget, seed, settings: all.settings, files, state };
    const stop = new AbortController();
    if (closing) stop.abort(LEAVING);
    stops.add(stop);
    try {
      return await runTrial(run, given, job.timeout, stop);
    } finally {
      stops.delete(stop);
    }
  }

  /** Trials in progress. */
  const held = new Set<Promise<void>>();
  function hold(message: JsMsg, ackMs: number): Promise<void> {
    const holding = keep(message, ackMs).finally(() => held.delete(holding));
    held.add(holding);
    return holding;
  }

  async function keep(message: JsMsg, ackMs: number): Promise<void> {
    const alive = setInterval(() => message.working(), Math.min(Math.max(50, ackMs / 4), MOST_ALIVE_MS));
    try {
      await take(message);
    } catch (error) {
      // Give it back for another worker; at once if this one leaves, otherwise after a second.
      message.nak(closing ? undefined : 1000);
      if (!closing) onEvent({ kind: "rejected", message: `a trial was given back: ${textOf(error)}` });
    } finally {
      clearInterval(alive);
    }
  }

  /** Takes one trial at a time, from the queues of all tasks in turn. */
  async function pull(): Promise<void> {
    const consumers = new Map<string, Consumer>();
    /** When each queue was last asked for a trial. */
    const asked = new Map<string, number>();
    /** The queue to wait for next. */
    let turn = 0;

    /** The queue of a task; undefined if it does not exist. */
    async function queueOf(task: string) {
      try {
        const consumer =
          consumers.get(task) ??
          (await connected(client.streams.consumers.get(names.trialStream, names.trialConsumer(task))));
        consumers.set(task, consumer);
        return { consumer, info: await connected(consumer.info()) };
      } catch (error) {
        // A worker without this permission can still compute shards.
        if (isForbidden(error)) throw error;
        consumers.delete(task);
        return undefined;
      }
    }

    /** Waits for a trial and runs it. Returns whether there was one. */
    async function ask(task: string, { consumer, info }: Queue, expires: number): Promise<boolean> {
      asked.set(task, performance.now());
      const message = await nextOf(client, consumer, expires);
      if (message && closing) message.nak();
      else if (message) await hold(message, (info.config.ack_wait ?? 30e9) / 1e6);
      return message !== null;
    }

    /** Runs a trial from each queue that has one; if none has, waits for one. Returns whether there are queues. */
    async function round(): Promise<boolean> {
      const there: [string, Queue][] = [];
      let found = false;
      for (const task of tasks.keys()) {
        if (closing) return true;
        const queue = await queueOf(task);
        if (!queue) continue;
        there.push([task, queue]);
        const { num_pending, num_ack_pending } = queue.info;
        // Returned trials are not counted as pending.
        const isOverdue = num_ack_pending > 0 && performance.now() - (asked.get(task) ?? 0) > OVERDUE_MS;
        if (num_pending > 0 || isOverdue) found = (await ask(task, queue, LEAST_PULL_MS)) || found;
      }
      // Ask one queue only: with several, a trial might have to be given back, which counts as an attempt.
      const next = there[turn++ % there.length];
      if (next && !found && !closing) await ask(...next, tasks.size === 1 ? PULL_MS : LEAST_PULL_MS);
      return next !== undefined;
    }

    while (!closing && !connection.isClosed()) {
      try {
        if (await round()) continue;
      } catch (error) {
        if (isForbidden(error)) throw error;
        consumers.clear();
      }
      // No sweep was started yet, or the server is away.
      if (!closing) await pauses.pause(1000);
    }
  }

  // A coordinator says hello when the queue of its sweep exists.
  const hello = listen(client, names.hello, () => pauses.end());
  Promise.allSettled(Array.from({ length: parallel }, pull)).then((all) => {
    const refused = all.find(({ status }) => status === "rejected") as PromiseRejectedResult | undefined;
    if (refused) onEvent({ kind: "rejected", message: `no trials here: ${textOf(refused.reason)}` });
  });
  return {
    async close() {
      closing = true;
      hello.unsubscribe();
      for (const stop of stops) stop.abort(LEAVING);
      pauses.end();
      // Pulls that still wait end with the connection.
      await Promise.allSettled(held);
    },
  };
}

const failedBy = (message: string): Ended => ({
  value: Number.NaN,
  message,
  ms: 0,
  info: undefined,
  stateBytes: undefined,
});

const lostOf = (workers: number) => failedBy(`${workers} workers were lost or left while running the trial`);
