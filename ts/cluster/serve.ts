// The worker's side of solves: takes tasks from the queue, has them computed, and sends the answers, without knowing their contents.
import type { Consumer, JsMsg } from "@nats-io/jetstream";
import type { Msg, Subscription } from "@nats-io/nats-core";
import {
  type Client,
  connectionError,
  hasNoJetStream,
  isForbidden,
  listen,
  MOST_PARTS,
  patienceFor,
} from "./client.js";
import type { WorkerEvent } from "./events.js";
import { failureOf } from "./failures.js";
import {
  type AnswerMessage,
  encodeAnnouncement,
  encodeAnswer,
  encodeFailure,
  PROTOCOL,
  type Receipt,
  readTask,
  type TaskMessage,
} from "./messages.js";
import { ANY } from "./names.js";
import { ValueCache } from "./store.js";
import { nextOf } from "./streams.js";
import { delay, Pauses } from "./wait.js";

/** Computes a task; an error that it throws is sent as the answer. */
type Compute = (body: Uint8Array, values: readonly Uint8Array[], session: string) => Promise<Uint8Array>;

interface ServeOptions {
  readonly fingerprint: string;
  readonly engine: string;
  readonly version: string;
  /** How many tasks are computed at a time. */
  readonly threads: number;
  /** How many bytes of values are cached. */
  readonly valueBytes: number;
  /** The tasks of sweeps that it announces. */
  readonly trials?: readonly string[];
  readonly compute: Compute;
  onEvent?(event: WorkerEvent): void;
}

/** A running worker. */
interface Served {
  readonly name: string;
  /** Settles when the worker has ended; rejects with the reason unless `close` ended it. */
  readonly ended: Promise<void>;
  /** Finishes the tasks in progress, and ends. */
  close(): Promise<void>;
}

/** How long to retry an answer while the coordinator may be reconnecting. */
const OFFER_MS = 20_000;
/** The same while the worker is leaving. */
const LAST_OFFER_MS = 1500;
/** How many answers may be in flight, beside the tasks that are being computed. */
const MOST_HELD = 64;
const MOST_SILENT = 1000;
const ANNOUNCE_MS = 1000;
/** The longest time between signs of life for a task: another coordinator may have set a short `stallTimeout`. */
export const MOST_ALIVE_MS = 1000;
const PULL_MS = 5000;
const LEAVE_MS = 1000;

/** A semaphore. */
function gate(places: number) {
  const waiting: (() => void)[] = [];
  let free = places;
  return async <T>(body: () => Promise<T>): Promise<T> => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await body();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

export async function serve(client: Client, options: ServeOptions): Promise<Served> {
  const { connection, core, names, connected } = client;
  const { fingerprint, engine, version, threads, compute, trials = [], onEvent = () => {} } = options;
  const name = core.nuid.next();
  const values = new ValueCache(client, options.valueBytes);
  const through = gate(threads);
  /** Tasks in progress, and how often each was taken. */
  const tasks = new Map<string, number>();
  const subscriptions: Subscription[] = [];
  /** Coordinators that did not take an answer: their remaining tasks are skipped. */
  const silent = new Set<string>();
  let done = 0;
  let closing = false;
  /** Whether missing JetStream was already reported. */
  let isWithout = false;
  /** Delays of loops that wait for a queue. */
  const pauses = new Pauses();

  const announce = (leaving = false) => {
    if (connection.isClosed()) return;
    const said = {
      worker: name,
      protocol: PROTOCOL,
      fingerprint,
      engine,
      version,
      threads,
      tasks: [...tasks.keys()].slice(0, 1000),
      done,
      leaving,
      trials,
    };
    connection.publish(names.announcement(name), encodeAnnouncement(said));
  };

  /** Computes a task and sends the answer; `begun` is called when its computation starts. Returns whether the coordinator took it. */
  async function work(task: TaskMessage, begun?: () => void): Promise<boolean> {
    if (silent.has(task.session)) return false;
    tasks.set(task.id, (tasks.get(task.id) ?? 0) + 1);
    try {
      const { kind, body } = await answerTo(task, begun);
      const wanted = await offer({ id: task.id, worker: name, kind }, task.session, body);
      if (silent.size > MOST_SILENT) silent.clear();
      if (!wanted) silent.add(task.session);
      return wanted;
    } finally {
      const others = (tasks.get(task.id) ?? 1) - 1;
      if (others > 0) tasks.set(task.id, others);
      else tasks.delete(task.id);
    }
  }

  async function answerTo(task: TaskMessage, begun?: () => void): Promise<Pick<AnswerMessage, "kind" | "body">> {
    let start = performance.now();
    try {
      const all = await Promise.all(
        task.values.map((value) => (value instanceof Uint8Array ? value : values.get(value))),
      );
      const present = all.filter((bytes) => bytes !== undefined);
      if (present.length < all.length) return { kind: "missing", body: new Uint8Array() };
      const body = task.body ?? (present.pop() as Uint8Array);
      const answer = await through(() => {
        start = performance.now();
        begun?.();
        return compute(body, present, task.session);
      });
      done++;
      onEvent({ kind: "done", ms: performance.now() - start });
      return { kind: "done", body: answer };
    } catch (error) {
      const failure = failureOf(error);
      if (failure === "forgotten") return { kind: "missing", body: new Uint8Array() };
      onEvent({ kind: "failed", ms: performance.now() - start, message: failure.message });
      return { kind: "failed", body: encodeFailure(failure) };
    }
  }

  /** Sends an answer in parts that fit a message. Returns whether the coordinator received it. */
  async function offer(
    head: Pick<AnswerMessage, "id" | "worker" | "kind">,
    session: string,
    body: Uint8Array,
  ): Promise<boolean> {
    const size = client.part;
    const parts = Math.max(1, Math.ceil(body.length / size));
    let heard = performance.now();
    const send = (part: number) => {
      const message = encodeAnswer({ ...head, part, parts, body: body.subarray(part * size, (part + 1) * size) });
      return asked(names.answers(session), message);
    };
    for (let part = 0; part < parts; ) {
      const some = Array.from({ length: Math.min(MOST_PARTS, parts - part) }, (_, i) => send(part + i));
      const receipts = await Promise.all(some);
      const stop = receipts.findIndex((receipt) => receipt !== "next");
      part += stop < 0 ? receipts.length : stop;
      if (stop !== 0) heard = performance.now();
      if (stop < 0) continue;
      const receipt = receipts[stop];
      if (receipt === "again") part = 0;
      else if (receipt === "refused") {
        onEvent({ kind: "rejected", message: "the coordinator rejected an answer" });
        return true;
      } else if (receipt !== undefined) return true;
      else await delay(250);
      const patience = closing ? LAST_OFFER_MS : OFFER_MS;
      if (performance.now() - heard > patience || connection.isClosed()) return false;
    }
    return true;
  }

  async function asked(subject: string, message: Uint8Array): Promise<Receipt | undefined> {
    try {
      const asking = connection.request(subject, message, { timeout: patienceFor(message.length) });
      return (await connected(asking)).string() as Receipt;
    } catch {
      // The coordinator does not answer, perhaps because it is reconnecting.
      return undefined;
    }
  }

  /** Work that must end before the worker leaves. */
  const held = new Set<Promise<unknown>>();
  async function hold<T>(working: Promise<T>): Promise<T> {
    held.add(working);
    try {
      return await working;
    } finally {
      held.delete(working);
    }
  }

  async function take(message: JsMsg, ackMs: number, begun: () => void): Promise<void> {
    const task = readTask(message.data);
    if (!task) {
      onEvent({ kind: "rejected", message: "a message in the queue is not a task" });
      message.term("no task");
      return;
    }
    const alive = setInterval(() => message.working(), Math.min(Math.max(50, ackMs / 4), MOST_ALIVE_MS));
    try {
      if (await work(task, begun)) message.ack();
      else message.term("no coordinator waits for it");
    } finally {
      clearInterval(alive);
    }
  }

  /** Settles when the computation of the task starts, so that the next one is fetched meanwhile. */
  function begin(message: JsMsg, ackMs: number): Promise<void> {
    return new Promise((begun, reject) => {
      hold(take(message, ackMs, begun)).then(begun, reject);
    });
  }

  /** Takes tasks of a group, one at a time. Asking for one at a time lets idle workers get one each. */
  async function pull(group: string): Promise<void> {
    let consumer: Consumer | undefined;
    while (!closing && !connection.isClosed()) {
      try {
        consumer ??= await connected(client.streams.consumers.get(names.stream, names.consumer(group)));
        const { ack_wait } = (await connected(consumer.info(true))).config;
        const message = await nextOf(client, consumer, PULL_MS);
        if (message && closing) message.nak();
        else if (message) await begin(message, (ack_wait ?? 5e9) / 1e6);
        // Do not pile up answers that no coordinator takes.
        while (held.size > MOST_HELD) await Promise.race(held);
      } catch (error) {
        if (isForbidden(error)) throw error;
        if (hasNoJetStream(error) && !isWithout) {
          isWithout = true;
          onEvent({
            kind: "rejected",
            message: "no JetStream on the server, so there is no work: start nats-server -js",
          });
        }
        // No coordinator has connected yet, or the server was restarted; a coordinator will say hello.
        consumer = undefined;
        await pauses.pause(1000);
      }
    }
  }

  function follow(message: Msg): void {
    const task = readTask(message.data);
    if (!task || closing) {
      if (!task) onEvent({ kind: "rejected", message: "a message is not a task" });
      // Without a reply, the coordinator gives the task to another worker.
      return;
    }
    message.respond("taken");
    hold(work(task));
  }

  subscriptions.push(
    listen(client, names.follow(name), follow),
    listen(client, names.hello, () => {
      pauses.end();
      // It may be a coordinator that was disconnected.
      silent.clear();
      announce();
    }),
  );
  await connection.flush().catch((error) => Promise.reject(connectionError(error)));
  announce();
  const timer = setInterval(announce, ANNOUNCE_MS);
  watch(client, onEvent);

  const loops = [fingerprint, ANY].flatMap((group) => Array.from({ length: threads }, () => pull(group)));
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= (async () => {
      closing = true;
      pauses.end();
      announce(true);
      while (held.size > 0) await Promise.allSettled(held);
      clearInterval(timer);
      for (const subscription of subscriptions) subscription.unsubscribe();
      // Pulls that still wait end with the connection. Without a server, draining would never end.
      await Promise.race([connection.drain().catch(() => {}), delay(LEAVE_MS)]);
      await connection.close().catch(() => {});
    })();
    return stopped;
  };
  const failed = Promise.all(loops).then(
    () => undefined,
    (error) => error,
  );
  const ended = Promise.race([failed, connection.closed()]).then(async (error) => {
    await stop();
    if (error) throw connectionError(error);
  });
  ended.catch(() => {});
  return { name, ended, close: stop };
}

async function watch({ connection }: Client, onEvent: (event: WorkerEvent) => void): Promise<void> {
  for await (const status of connection.status()) {
    const server = "server" in status ? String(status.server) : "";
    if (status.type === "disconnect") onEvent({ kind: "disconnected", server });
    if (status.type === "reconnect") onEvent({ kind: "connected", server });
  }
}
