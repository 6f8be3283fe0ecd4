// The queue of a sweep on NATS servers, which outlives the process that started it. See local-queue.ts for sweeps within a process.
import type { KV } from "@nats-io/kv";
import { refused, SymplecticAdjointError, textOf } from "../checks/errors.js";
import { type Client, codeOf, connectionError, isFinal, isForbidden, isFull, listen } from "./client.js";
import { encodePlace, placeOf, putParts, readPlace, type StoredSweep, type SweepHead } from "./definitions.js";
import { dropSweepKeys, fetchValue } from "./store.js";
import { makeConsumer, nanos } from "./streams.js";
import { TrialWorkers } from "./trial-workers.js";
import { encodeJob, jobKey, type OwnJob, type Report, readReport, readTrouble, stateKey } from "./trials.js";
import { Pauses } from "./wait.js";

/** The state of the queue and its workers. */
interface QueueState {
  /** Trials of this sweep that wait or run. */
  readonly open: number;
  /** Running trials, including those of other sweeps with the same task. */
  readonly running: number;
  /** Whether a worker waits for trials. */
  readonly idle: boolean;
  /** Running trials that were given back or lost before. */
  readonly retried: number;
  /** The number of workers that run such trials; if it is 0, why the connected ones do not. */
  readonly workers: number;
  readonly absence: string | undefined;
}

export interface QueueListener {
  /** Called with each report; undefined if it is unreadable. */
  report(report: Report | undefined): void;
  state(state: QueueState): void;
  /** Called when the sweep cannot continue. */
  fail(error: unknown): void;
}

export interface TrialQueue {
  /** Queues trials; those already in the queue are skipped. */
  put(jobs: readonly OwnJob[]): Promise<void>;
  /** The state that a trial left; undefined if there is none. */
  stateOf(report: Report): Promise<Uint8Array | undefined>;
  /** Removes the state of a report. */
  dropState(report: Report): void;
  /** Removes the states of finished trials that `needed` does not return when it is called. An earlier coordinator may have left some. */
  dropOtherStates(needed: () => readonly Report[]): void;
  /** Ends; `withTrials` also removes trials that no worker has begun. */
  close(withTrials: boolean): Promise<void>;
}

/** How long servers keep a sweep. */
const LIFETIME_MS = 30 * 86_400_000;
const MOST_LOOK_MS = 2000;

/** Opens a sweep on NATS servers. */
export async function openQueue(client: Client, head: SweepHead, listener: QueueListener): Promise<TrialQueue> {
  const { streams, manager, names } = client;
  let store: KV;
  let place: StoredSweep;
  try {
    store = await ensure(client, head);
    place = await placeOf(client, store, head);
  } catch (error) {
    throw connectionError(error);
  }
  const { id, shared } = place;
  const common = { id, shared, name: head.name, task: head.task, attempts: head.attempts, timeout: head.timeout };
  /** Trials that were queued and have no report yet. */
  const open = new Map<string, OwnJob>();
  /** Keys of reports that were received, and keys without one because it was deleted or is unreadable. */
  const [seen, empty] = [new Set<string>(), new Set<string>()];
  const pauses = new Pauses();
  let ended = false;
  let stop: () => void = () => {};
  /** Called when results have arrived. */
  let heard: () => void = () => {};
  let dropping: Promise<unknown> = Promise.resolve();
  /** Existing results are read before any trial is queued. */
  const ready = hearAll();

  async function hearAll(): Promise<void> {
    for (;;) {
      const present = await persist(resultCount);
      const all = new Promise<void>((resolve) => {
        heard = () => void (seen.size + empty.size >= present && resolve());
        heard();
      });
      // Another process may have removed some meanwhile.
      if (await Promise.race([all.then(() => true), pauses.pause(MOST_LOOK_MS)])) return;
    }
  }

  async function publish(job: OwnJob): Promise<void> {
    const bytes = encodeJob({ ...job, ...common });
    if (bytes.length > client.most)
      throw refused("OPTION", "space", "parameters that fit a message", `${bytes.length} bytes`);
    try {
      await streams.publish(names.trialsFor(head.task, id, jobKey(job)), bytes, { timeout: 5000 });
    } catch (error) {
      // A subject holds one message: the trial is already waiting or running.
      if (!isThere(error)) throw error;
    }
  }

  /** Retries an action while the server is away. */
  async function persist<T>(action: () => Promise<T>): Promise<T> {
    const until = performance.now() + 120_000;
    for (let wait = 100; ; wait = Math.min(2 * wait, 2000)) {
      if (ended) throw new SymplecticAdjointError("DISPOSED", "the sweep has ended");
      try {
        return await action();
      } catch (error) {
        if (isFinal(error) || error instanceof SymplecticAdjointError || performance.now() > until) {
          throw connectionError(error);
        }
        await pauses.pause(wait);
        await ensure(client, head).catch(() => {});
      }
    }
  }

  /** Watches results, starting with the existing ones. */
  async function watch(): Promise<void> {
    while (!ended) {
      try {
        const entries = await store.watch({ key: `results.${id}.*` });
        stop = () => entries.stop();
        if (ended) stop();
        for await (const { key, operation, value, revision } of entries) {
          if (ended) return;
          // A restarted watch begins with all results again.
          if (seen.has(key)) continue;
          const report = operation === "PUT" ? readReport(value) : undefined;
          if (report && key === `results.${id}.${jobKey(report)}`) {
            empty.delete(key);
            seen.add(key);
            open.delete(jobKey(report));
            listener.report(report);
          } else {
            empty.add(key);
            if (operation === "PUT") refuse(key, revision);
          }
          heard();
        }
      } catch (error) {
        if (ended) return;
        if (isForbidden(error)) return listener.fail(connectionError(error));
      }
      await pauses.pause(500);
    }
  }

  /** Removes an unreadable result, but not a newer one, so that the trial runs again. */
  async function refuse(key: string, revision: number): Promise<void> {
    listener.report(undefined);
    const filter = names.sweepKey(key);
    try {
      await ready;
      await persist(() => manager.streams.purge(names.sweepBucketStream, { filter, seq: revision + 1 }));
      empty.delete(key);
    } catch {
      // A worker with the permission overwrites it.
    }
  }

  /** Checks the queue from time to time: a trial that is neither queued nor reported was lost with its server. */
  async function look(): Promise<void> {
    let [missing, results]: [Set<string>, number] = [new Set(), 0];
    let took = 0;
    while (!ended) {
      // With very many trials, a check is slow.
      await pauses.pause(Math.max(Math.min(MOST_LOOK_MS, head.stallMs / 2), 20 * took));
      if (ended) return;
      const start = performance.now();
      try {
        const subjects_filter = names.trialsFor(head.task, id, "*");
        const { state } = await manager.streams.info(names.trialStream, { subjects_filter });
        const { num_ack_pending, num_waiting, num_redelivered } = await manager.consumers.info(
          names.trialStream,
          names.trialConsumer(head.task),
        );
        const there = new Set(Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-1) as string));
        const queue = { open: there.size, running: num_ack_pending, idle: num_waiting > 0, retried: num_redelivered };
        listener.state({ ...queue, ...workers.state });
        const lost = [...open.values()].filter((job) => !there.has(jobKey(job)));
        // Only if it is missing twice in a row: the first time, its result may be on the way.
        const again = lost.filter((job) => missing.has(jobKey(job)));
        missing = new Set(lost.map(jobKey));
        await keepPlace();
        const count = await resultCount();
        // The watch missed a result: restart it.
        if (Math.min(count, results) > seen.size + empty.size) stop();
        results = count;
        for (const job of again) if (open.has(jobKey(job))) await publish(job);
      } catch (error) {
        if (isFinal(error) || error instanceof SymplecticAdjointError) return listener.fail(connectionError(error));
        await ensure(client, head).catch(() => {});
      }
      took = performance.now() - start;
    }
  }

  /** Stores the definition and files again if a server has lost them. Throws if the sweep was removed or replaced. */
  async function keepPlace(): Promise<void> {
    const key = `definitions.${head.name}`;
    const entry = await store.get(key);
    if (entry && entry.operation !== "PUT") {
      throw new SymplecticAdjointError("CONNECTION", `the sweep ${head.name} was removed`);
    }
    const present = entry ? readPlace(entry.value) : undefined;
    if (present && present.id !== id) {
      throw new SymplecticAdjointError("CONNECTION", `the sweep ${head.name} was replaced by another one of its name`);
    }
    if (present) return;
    await putParts(client, id, head);
    await store.put(key, encodePlace(place));
  }

  async function resultCount(): Promise<number> {
    const subjects_filter = names.sweepKey(`results.${id}.*`);
    const { state } = await manager.streams.info(names.sweepBucketStream, { subjects_filter });
    return Object.keys(state.subjects ?? {}).length;
  }

  async function dropOthers(needed: () => readonly Report[]): Promise<void> {
    const subjects_filter = names.sweepKey(`states.${id}.>`);
    const { state } = await manager.streams.info(names.sweepBucketStream, { subjects_filter });
    const keys = Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").slice(-5, -1).join("."));
    // Computed now, since trials continue. States without a report are kept: the report may be on its way.
    const kept = new Set(needed().map((report) => stateKey(id, report)));
    const isLeft = (key: string) => !kept.has(key) && seen.has(`results.${id}.${key.split(".")[2]}`);
    for (const key of [...new Set(keys)].filter(isLeft)) await dropSweepKeys(client, key);
  }

  const takeOut = () => manager.streams.purge(names.trialStream, { filter: names.trialsOf(id) });

  client.connection.closed().then((error) => {
    const reason = error ? `: ${textOf(error)}` : "";
    if (!ended)
      listener.fail(new SymplecticAdjointError("CONNECTION", `the connection to the server has ended${reason}`));
  });
  const trouble = listen(client, names.answers(id), async ({ data }) => {
    const error = new Error(readTrouble(data));
    if (ended || !isFull(error)) return;
    // The next coordinator queues them again, with all their attempts.
    await takeOut().catch(() => {});
    listener.fail(connectionError(error));
  });
  watch();
  await ready;
  const workers = new TrialWorkers(client, head.task);
  look();
  return {
    async put(jobs) {
      for (const job of jobs) open.set(jobKey(job), job);
      // Many at a time but not all, as each waits for the server's disk.
      for (let first = 0; first < jobs.length && !ended; first += 256) {
        const some = jobs.slice(first, first + 256).filter((job) => open.has(jobKey(job)));
        await Promise.all(some.map((job) => persist(() => publish(job))));
      }
    },
    async stateOf(report) {
      const { state } = report;
      if (!state) return undefined;
      const place = { key: stateKey(id, report), chunks: state.chunks, bytes: state.bytes };
      const bytes = await persist(() => fetchValue(client, names.sweepBucket, place, 2 ** 31));
      return bytes && new Uint8Array(bytes);
    },
    dropState(report) {
      // One at a time: there may be thousands.
      if (report.state) dropping = dropping.then(() => dropSweepKeys(client, stateKey(id, report))).catch(() => {});
    },
    dropOtherStates(needed) {
      dropping = dropping.then(() => dropOthers(needed)).catch(() => {});
    },
    async close(withTrials) {
      ended = true;
      stop();
      workers.end();
      trouble.unsubscribe();
      pauses.end();
      await dropping;
      if (withTrials) await takeOut().catch((error) => Promise.reject(connectionError(error)));
    },
  };
}

/** Creates what is missing on the server. */
async function ensure(client: Client, head: SweepHead): Promise<KV> {
  const { manager, streams, jetstream, kv, names } = client;
  const { RetentionPolicy, StorageType, AckPolicy, DiscardPolicy } = jetstream;
  await manager.streams
    .add({
      name: names.trialStream,
      subjects: [names.trialSubjects],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
      num_replicas: head.replicas,
      max_age: nanos(LIFETIME_MS),
      // One message for each subject, so that a trial cannot be queued twice.
      max_msgs_per_subject: 1,
      discard: DiscardPolicy.New,
      discard_new_per_subject: true,
    })
    // Another sweep created it with other settings, which works as well.
    .catch((error) => (codeOf(error) === 10058 ? undefined : Promise.reject(error)));
  await makeConsumer(client, names.trialStream, {
    durable_name: names.trialConsumer(head.task),
    filter_subject: names.trialsFor(head.task, "*", "*"),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(head.stallMs),
    // Workers count deliveries, and end a trial after too many.
    max_deliver: -1,
    max_ack_pending: 100_000,
    // As long as the stream keeps its messages.
    inactive_threshold: nanos(LIFETIME_MS),
  });
  return new kv.Kvm(streams).create(names.sweepBucket, {
    storage: StorageType.File,
    history: 1,
    ttl: LIFETIME_MS,
    replicas: head.replicas,
    allow_direct: true,
  });
}

/** Whether the subject already has a message. JetStream uses the code for everything that a stream rejects. */
const isThere = (error: unknown) => codeOf(error) === 10077 && textOf(error).includes("per subject");
