// The coordinator queues tasks and receives answers. JetStream decides who gets a task, and redelivers it if a worker dies. The coordinator
// handles what JetStream cannot see: wrong answers, and queues that were lost with their server.
import type { Msg, Subscription } from "@nats-io/nats-core";
import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import { UntilEnd } from "../parallel/kept.js";
import { Assembly } from "./assembly.js";
import { type Client, connectionError, listen, patienceFor } from "./client.js";
import type { ClusterEvent, ClusterStatus } from "./events.js";
import {
  type Announcement,
  type AnswerMessage,
  encodeTask,
  type Receipt,
  readAnswer,
  readFailure,
} from "./messages.js";
import { Roster } from "./roster.js";
import { ServerSide, type Stored } from "./server-side.js";
import type { StreamOptions } from "./streams.js";

/** A task for a worker. */
export interface RemoteTask<T> {
  /** Makes the body of the message when it is sent. */
  body(): Uint8Array;
  /** Values that the body refers to, in order. */
  readonly values?: readonly Stored[];
  /** The worker that may still have the result of an earlier task, and a shorter body that relies on it. */
  readonly follows?: { readonly worker: string; body(): Uint8Array };
  /** The largest valid answer, in bytes. */
  readonly most: number;
  /** Reads an answer; throws if it is invalid. */
  read(answer: Uint8Array): T;
}

/** A finished task. */
interface RemoteResult<T> {
  readonly value: T;
  /** The worker that computed it. */
  readonly worker: string;
}

interface CoordinatorOptions extends StreamOptions {
  /** Whether a worker belongs to the group. */
  suits(worker: Announcement): boolean;
  onEvent(event: ClusterEvent): void;
}

interface PendingTask {
  readonly id: string;
  readonly task: RemoteTask<unknown>;
  resolve(done: RemoteResult<unknown>): void;
  reject(error: unknown): void;
  /** How often the task was queued, and whether it is being queued now. */
  attempt: number;
  queuing: boolean;
  /** When the task was submitted, and the last sign that a worker has it. */
  readonly since: number;
  heard: number;
  /** When the last part of a partial answer arrived. */
  arrived: number;
  /** The worker that was handed the task directly, past the queue. */
  holder: string | undefined;
  /** The last failure that another worker may not have. */
  failure: string | undefined;
  /** How many answers were wrong or failed for reasons of the worker. */
  faults: number;
  /** Workers that got the task in addition, because the first was slow. */
  readonly hedges: string[];
  /** Partial answers. */
  readonly assembly: Assembly;
}

/** How many wrong answers and worker failures a task may have. */
const MOST_FAULTS = 6;
/** How often a task may be queued again because no worker has it. */
const MOST_ATTEMPTS = 12;
const TICK_MS = 200;
const PROGRESS_MS = 1000;
/** An idle thread gets a copy of a task that has taken longer than both: this many milliseconds, and this multiple of the usual time. */
const SLOW_MS = 250;
const SLOW_FACTOR = 3;
/** The usual time until one has been measured. */
const UNKNOWN_MS = 500;
const MOST_HEDGES = 3;
/** Warn after waiting this long for a worker. */
const WAITING_MS = 5000;
/** Failures of the worker rather than of the task. */
const ELSEWHERE = ["WORKER", "INTERNAL", "OUT_OF_MEMORY", "DISPOSED", "UNSUPPORTED"];

export class Coordinator {
  readonly #client: Client;
  readonly #options: CoordinatorOptions;
  readonly #session: string;
  readonly #pending = new Map<string, PendingTask>();
  readonly #roster: Roster;
  readonly #server: ServerSide;
  readonly #subscriptions: Subscription[] = [];
  /** The last finished tasks: when each ended, and how long it took. */
  readonly #last: { readonly at: number; readonly ms: number }[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #ids = 0;
  #ended: SymplecticAdjointError | undefined;
  /** Promises of users' losses, rejected when the cluster is closed. */
  readonly losses = new UntilEnd();
  #counts = { done: 0, retries: 0, rejected: 0, duplicates: 0 };
  #looking = false;
  /** Since when tasks have waited for a worker; Infinity after the warning. */
  #waitingSince: number | undefined;
  /** When the last tick ran. */
  #ticked = performance.now();
  #told = 0;

  constructor(client: Client, options: CoordinatorOptions) {
    this.#client = client;
    this.#options = options;
    this.#session = client.core.nuid.next();
    const { suits, onEvent } = options;
    this.#server = new ServerSide(client, {
      ...options,
      session: this.#session,
      onQueueLost: () => {
        for (const pending of this.#pending.values())
          if (pending.attempt > 0) this.#queue(pending, "the queue was lost");
      },
    });
    const { startWorkers } = client;
    this.#roster = new Roster({ startWorkers, suits, onEvent, onGone: (worker) => this.#gone(worker) });
  }

  /** Creates the streams on the server, and asks workers to announce themselves. */
  async start(): Promise<void> {
    const { connection, names } = this.#client;
    await this.#server.start();
    this.#subscriptions.push(
      listen(this.#client, names.answers(this.#session), (message) => this.#answered(message)),
      listen(this.#client, names.announcements, ({ data }) => this.#announced(data)),
    );
    connection.publish(names.hello);
    this.#watch();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    connection.closed().then((error) => {
      const reason = error ? `: ${textOf(error)}` : "";
      this.end(new SymplecticAdjointError("CONNECTION", `the connection to the server has ended${reason}`));
    });
  }

  get status(): ClusterStatus {
    const { inBytes, outBytes } = this.#client.connection.stats();
    const { suitable, different } = this.#roster;
    return {
      workers: suitable.map(({ worker, threads, engine, done }) => ({ name: worker, threads, engine, done })),
      different,
      inFlight: this.#pending.size,
      ...this.#counts,
      shardsPerSecond: this.#rate(),
      bytesSent: outBytes,
      bytesReceived: inBytes,
    };
  }

  #rate(): number {
    const [first, last] = [this.#last[0], this.#last.at(-1)];
    if (!first || !last || last === first || performance.now() - last.at > 10_000) return 0;
    return (1000 * (this.#last.length - 1)) / Math.max(1, last.at - first.at);
  }

  /** Threads of all workers that take part. */
  get threads(): number {
    return this.#roster.suitable.reduce((sum, { threads }) => sum + threads, 0);
  }

  /** How many shards should be in flight so that no worker waits. */
  get window(): number {
    return Math.max(8, 3 * this.threads);
  }

  /** Stores a value for about `uses` tasks. */
  keep(bytes: Uint8Array, uses?: number): Stored {
    return this.#server.keep(bytes, uses);
  }

  /** Removes a value that no task refers to any more. */
  forget(stored: Stored): void {
    this.#server.forget(stored);
  }

  /** Runs a task on a worker. */
  submit<T>(task: RemoteTask<T>): Promise<RemoteResult<T>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const now = performance.now();
      const pending: PendingTask = {
        id: `${this.#session}-${++this.#ids}`,
        task,
        resolve: resolve as (done: RemoteResult<unknown>) => void,
        reject,
        attempt: 0,
        queuing: false,
        since: now,
        heard: now,
        arrived: now,
        holder: undefined,
        failure: undefined,
        faults: 0,
        hedges: [],
        assembly: new Assembly(),
      };
      this.#pending.set(pending.id, pending);
      const { follows } = task;
      if (follows && this.#roster.has(follows.worker)) this.#hand(pending, follows.worker, follows.body);
      else this.#queue(pending);
    });
  }

  /** Rejects everything that is in flight. */
  end(error: SymplecticAdjointError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.losses.end(error);
    clearInterval(this.#timer);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#server.end(error);
  }

  /** Removes the session's data from the server. */
  clear(): Promise<void> {
    return this.#server.clear();
  }

  // Sending tasks.

  async #message(pending: PendingTask, body: Uint8Array): Promise<Uint8Array> {
    const values = await this.#server.refer(pending.task.values ?? []);
    const common = { id: pending.id, session: this.#session };
    const message = encodeTask({ ...common, values, body });
    if (message.length <= this.#client.most) return message;
    // A large body becomes a stored value, removed when the task ends.
    const stored = this.keep(body);
    this.#onEnd(pending, () => this.forget(stored));
    return encodeTask({ ...common, values: [...values, ...(await this.#server.refer([stored]))], body: undefined });
  }

  /** Calls `action` when a task has ended, successfully or not. */
  #onEnd(pending: PendingTask, action: () => void): void {
    const { resolve, reject } = pending;
    pending.resolve = (done) => {
      action();
      resolve(done);
    };
    pending.reject = (error) => {
      action();
      reject(error);
    };
  }

  /** Queues a task; `reason` says why it is queued again. */
  async #queue(pending: PendingTask, reason?: string): Promise<void> {
    const { streams, connected, names } = this.#client;
    pending.holder = undefined;
    if (pending.queuing) return;
    if (pending.attempt === MOST_ATTEMPTS) return this.#giveUp(pending, reason ?? "it was lost");
    if (reason !== undefined) this.#retried(reason, undefined);
    const msgID = `${pending.id}.${pending.attempt + 1}`;
    pending.queuing = true;
    try {
      const message = await this.#message(pending, pending.task.body());
      const timeout = patienceFor(message.length);
      await this.#server.persist(async () => {
        if (!this.#pending.has(pending.id)) return;
        const subject = names.tasksFor(this.#options.group, this.#session);
        await connected(streams.publish(subject, message, { msgID, timeout }));
        // Count it only now: what the server never stored cannot be lost, and `persist` reports why it failed.
        pending.attempt++;
        pending.heard = performance.now();
      });
    } catch (error) {
      this.#fail(pending, error);
    } finally {
      pending.queuing = false;
    }
  }

  /** Hands a task directly to a worker; queues it if the worker does not take it. */
  async #hand(pending: PendingTask, worker: string, body: () => Uint8Array): Promise<void> {
    const { connection, connected, names } = this.#client;
    pending.holder = worker;
    try {
      const message = await this.#message(pending, body());
      pending.heard = performance.now();
      await connected(connection.request(names.follow(worker), message, { timeout: patienceFor(message.length) }));
      pending.heard = performance.now();
    } catch {
      // If the worker has left meanwhile, the task is already queued.
      if (this.#pending.has(pending.id) && pending.holder === worker)
        this.#queue(pending, "the worker did not take it");
    }
  }

  #retried(reason: string, worker: string | undefined): void {
    this.#counts.retries++;
    this.#options.onEvent({ kind: "retry", reason, worker });
  }

  #fail(pending: PendingTask, error: unknown): void {
    if (this.#pending.delete(pending.id)) pending.reject(error);
  }

  #giveUp(pending: PendingTask, reason: string): void {
    const message = `a shard has failed ${pending.attempt + pending.faults} times, the last time because ${pending.failure ?? reason}`;
    this.#fail(pending, new SymplecticAdjointError("WORKER", message));
  }

  // Receiving answers.

  #answered(message: Msg): void {
    const reply = (receipt: Receipt) => void message.respond(receipt);
    const answer = readAnswer(message.data);
    if (!answer) {
      this.#refuse("it is not an answer", undefined);
      reply("refused");
      return;
    }
    const pending = this.#pending.get(answer.id);
    if (!pending) {
      this.#counts.duplicates++;
      reply("unknown");
      return;
    }
    const body = this.#assembled(pending, answer, reply);
    if (!body) return;
    if (answer.kind === "done") this.#done(pending, answer.worker, body, reply);
    else if (answer.kind === "failed") this.#failed(pending, answer.worker, body, reply);
    else this.#missing(pending, reply);
  }

  /** The whole answer, once its last part has arrived. */
  #assembled(pending: PendingTask, answer: AnswerMessage, reply: (receipt: Receipt) => void): Uint8Array | undefined {
    const { worker } = answer;
    const most = pending.task.most + 65_536;
    const whole = pending.assembly.add(worker, answer, most);
    if (typeof whole !== "string") return whole;
    if (whole === "large") this.#wrong(pending, worker, `it has more than ${most} bytes`);
    if (whole === "next") {
      pending.heard = pending.arrived = performance.now();
      this.#roster.answered(worker);
    }
    reply(whole === "large" ? "refused" : whole);
    return undefined;
  }

  #done(pending: PendingTask, worker: string, body: Uint8Array, reply: (receipt: Receipt) => void): void {
    let value: unknown;
    try {
      value = pending.task.read(body);
    } catch (error) {
      this.#wrong(pending, worker, textOf(error));
      reply("refused");
      return;
    }
    this.#pending.delete(pending.id);
    this.#roster.answered(worker, pending.id);
    this.#counts.done++;
    const at = performance.now();
    this.#last.push({ at, ms: at - pending.since });
    if (this.#last.length > 64) this.#last.shift();
    this.#waitingSince = undefined;
    reply("taken");
    pending.resolve({ value, worker });
  }

  #failed(pending: PendingTask, worker: string, body: Uint8Array, reply: (receipt: Receipt) => void): void {
    const failure = readFailure(body);
    if (!failure) {
      this.#wrong(pending, worker, "it is not a failure");
      reply("refused");
      return;
    }
    const { code, message, details } = failure;
    reply("taken");
    if (ELSEWHERE.includes(code)) {
      pending.failure = `${worker} reported: ${message}`;
      this.#elsewhere(pending, worker, `${code}: ${message}`);
    } else this.#fail(pending, new SymplecticAdjointError(code, message, details));
  }

  /** Stores missing values again, unless that was already done after the task was sent. */
  #missing(pending: PendingTask, reply: (receipt: Receipt) => void): void {
    reply("taken");
    this.#server.putAgain(pending.task.values ?? [], pending.heard - 1000);
    // A worker may evict an earlier solve: that is not a fault.
    if (pending.holder !== undefined) {
      this.#queue(pending, "the solve was not kept");
    } else if (++pending.faults > MOST_FAULTS) {
      this.#giveUp(pending, "values were missing");
    } else {
      this.#queue(pending, "values were missing");
    }
  }

  #refuse(reason: string, worker: string | undefined): void {
    this.#counts.rejected++;
    this.#options.onEvent({ kind: "rejected", reason, worker });
  }

  #wrong(pending: PendingTask, worker: string, reason: string): void {
    this.#refuse(reason, worker);
    pending.failure = `the answer of ${worker} was wrong: ${reason}`;
    this.#elsewhere(pending, worker, "an answer was wrong");
  }

  /** Gives a task to another worker: directly if one is idle, otherwise through the queue after a delay. */
  #elsewhere(pending: PendingTask, worker: string, reason: string): void {
    if (++pending.faults > MOST_FAULTS) {
      this.#giveUp(pending, reason);
      return;
    }
    const others = this.#roster.suitable.filter((other) => other.worker !== worker);
    const other = others[Math.floor(Math.random() * others.length)];
    this.#retried(reason, worker);
    if (other) this.#hand(pending, other.worker, pending.task.body);
    else
      setTimeout(() => this.#pending.has(pending.id) && this.#queue(pending), Math.min(1000, 50 * 2 ** pending.faults));
  }

  // Workers.

  #announced(data: Uint8Array): void {
    const { tasks } = this.#roster.hear(data) ?? { tasks: [] };
    const now = performance.now();
    for (const id of tasks) {
      const pending = this.#pending.get(id);
      if (pending) pending.heard = now;
    }
  }

  /** Queues what was handed to a lost worker. JetStream redelivers what the worker took from the queue. */
  #gone(worker: string): void {
    for (const pending of this.#pending.values()) {
      if (pending.holder === worker) this.#queue(pending, "its worker is gone");
    }
  }

  #tick(): void {
    const now = performance.now();
    // This thread was blocked, for example by a loss, and could not receive signs of life.
    if (now - this.#ticked > 2000) this.#forgive();
    this.#ticked = now;
    this.#roster.drop(this.#options.stallMs);
    this.#warn(now);
    if (this.#pending.size === 0) return;
    if (now - this.#told > PROGRESS_MS - TICK_MS / 2) {
      this.#told = now;
      this.#options.onEvent({ kind: "progress", status: this.status });
    }
    // The first entry is the oldest.
    const [{ since } = { since: now }] = this.#pending.values();
    if (now - since > SLOW_MS) this.#look();
  }

  /** Warns if no suitable worker is connected, once until a task is done again. */
  #warn(now: number): void {
    if (this.#waitingSince === Number.POSITIVE_INFINITY) return;
    const waits = this.#pending.size > 0 && this.#roster.suitable.length === 0;
    this.#waitingSince = waits ? (this.#waitingSince ?? now) : undefined;
    if (this.#waitingSince === undefined || now - this.#waitingSince < WAITING_MS) return;
    this.#tellWaiting(this.#roster.absence);
  }

  #tellWaiting(reason: string): void {
    this.#waitingSince = Number.POSITIVE_INFINITY;
    this.#options.onEvent({ kind: "waiting", reason });
  }

  /** Warns once if suitable workers do not take tasks from the queue. */
  #warnIdle(now: number): void {
    if (this.#waitingSince === Number.POSITIVE_INFINITY) return;
    const idle = this.#roster.idle.filter(({ tasks }) => tasks.length === 0);
    const since = Math.max(this.#last.at(-1)?.at ?? 0, ...[...this.#pending.values()].map(({ heard }) => heard));
    // One that has just come has had no time to take anything.
    const joined = Math.max(...idle.map(({ since }) => since));
    if (idle.length === 0 || now - Math.max(since, joined) < WAITING_MS) return;
    const who = idle.length === 1 ? "1 worker is idle and does" : `${idle.length} workers are idle and do`;
    this.#tellWaiting(
      `${who} not take shards from the queue: see docs/cluster.md for the permissions that reading it needs`,
    );
  }

  /** Restarts the silence timers: this process was the one that could not receive. */
  #forgive(): void {
    const now = performance.now();
    this.#roster.forgive();
    for (const pending of this.#pending.values()) pending.heard = now;
  }

  /** Checks the queue: a task that neither the queue nor a worker has is queued again, and a slow one gets a second worker. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { manager, names } = this.#client;
    try {
      const { num_pending } = await manager.consumers.info(names.stream, names.consumer(this.#options.group));
      const now = performance.now();
      if (num_pending > 0) return this.#warnIdle(now);
      const patience = 3 * this.#options.stallMs;
      const times = this.#last.map(({ ms }) => ms).sort((a, b) => a - b);
      const slow = Math.max(SLOW_MS, SLOW_FACTOR * (times[times.length >> 1] ?? UNKNOWN_MS));
      for (const pending of [...this.#pending.values()]) {
        if (pending.queuing || (pending.attempt === 0 && pending.holder === undefined)) continue;
        if (now - pending.heard > patience) {
          this.#queue(pending, "no worker has it any more");
        } else if (now - pending.arrived > slow * (1 + pending.hedges.length)) this.#hedge(pending);
      }
    } catch {
      await this.#server.restore().catch(() => {});
    } finally {
      this.#looking = false;
    }
  }

  /** Also gives the task to an idle worker, if there is one; the first answer counts. */
  #hedge(pending: PendingTask): void {
    const { id, hedges, task } = pending;
    const other = this.#roster.idle.find(({ worker, tasks }) => !tasks.includes(id) && !hedges.includes(worker));
    if (!other || hedges.length === MOST_HEDGES) return;
    hedges.push(other.worker);
    this.#roster.busy(other.worker, id);
    this.#retried("its worker is slow", undefined);
    this.#hand(pending, other.worker, task.body);
  }

  async #watch(): Promise<void> {
    for await (const status of this.#client.connection.status()) {
      if (this.#ended) return;
      const server = "server" in status ? String(status.server) : "";
      if (status.type === "disconnect") this.#options.onEvent({ kind: "disconnected", server });
      if (status.type !== "reconnect") continue;
      this.#options.onEvent({ kind: "connected", server });
      this.#client.connection.publish(this.#client.names.hello);
      this.#forgive();
      this.#server.persist(() => this.#server.restore()).catch((error) => this.end(connectionError(error)));
    }
  }
}
