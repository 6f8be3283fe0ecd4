// The side that has work to be done: puts tasks into the queue, and takes answers. Who does a task, and again when a worker dies, is
// JetStream's to decide; here is only what it cannot know: that an answer is wrong, or that a queue has gone with its server.
import type { KV } from "@nats-io/kv";
import type { Msg, Subscription } from "@nats-io/nats-core";
import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import { type Client, connectionError, isForbidden, listen } from "./client.js";
import type { ClusterEvent, ClusterStatus } from "./events.js";
import {
  type Announcement,
  type AnswerMessage,
  encodeTask,
  type Receipt,
  readAnswer,
  readFailure,
  type Value,
} from "./messages.js";
import { Roster } from "./roster.js";
import { dropValues, joined, putValue } from "./store.js";
import { makeStreams, type StreamOptions } from "./streams.js";

/** A value that tasks refer to: kept here for as long, in case the store loses it. */
export interface Stored {
  readonly bytes: Uint8Array;
  /** Whether it goes with each task, since that costs less than to store it. */
  readonly isSmall: boolean;
}

/** What is to be done by somebody else. */
export interface Task<T> {
  /** What a worker gets, made when it is sent. */
  body(): Uint8Array;
  /** Values that the body refers to, in this order. */
  readonly values?: readonly Stored[];
  /** A worker that may have kept something of an earlier task, and the shorter body that is enough for it. */
  readonly follows?: { readonly worker: string; body(): Uint8Array };
  /** The most bytes that an answer can have. */
  readonly most: number;
  /** Reads an answer; throws if it cannot be one. */
  read(answer: Uint8Array): T;
}

/** A task that has been done. */
interface Done<T> {
  readonly value: T;
  /** Who did it. */
  readonly worker: string;
}

interface CoordinatorOptions extends StreamOptions {
  /** Whether a worker is of the group. */
  suits(worker: Announcement): boolean;
  onEvent(event: ClusterEvent): void;
}

interface Pending {
  readonly id: string;
  readonly task: Task<unknown>;
  resolve(done: Done<unknown>): void;
  reject(error: unknown): void;
  /** How often it has been put into the queue. */
  attempt: number;
  /** When it was sent first, and when anything was last heard of it. */
  readonly since: number;
  heard: number;
  /** A worker that has been handed it, beside the queue. */
  holder: string | undefined;
  /** Why it has failed elsewhere, the last time. */
  failure: string | undefined;
  /** Wrong answers and failures that another worker may not have. */
  faults: number;
  /** A second worker has been asked, because the first is slow. */
  hedged: boolean;
  /** Answers that have come in part, by worker. */
  readonly partial: Map<string, { readonly parts: Uint8Array[]; length: number }>;
}

interface Place {
  readonly bytes: Uint8Array;
  readonly key: string;
  put: Promise<Value>;
  /** When it was put last. */
  at: number;
}

/** So often a task is given to others after wrong answers and failures. */
const MOST_FAULTS = 6;
/** So often it is put into the queue because nobody has it. */
const MOST_ATTEMPTS = 12;
/** Values of so many bytes, over all tasks, save a round trip more than they cost. */
const SMALL_BYTES = 65_536;
const TICK_MS = 1000;
/** Servers of a cluster that have just been started take a while to agree on a leader, and say nothing until then. */
const AGREEING_MS = 30_000;
/** Failures that say nothing about the task. */
const ELSEWHERE = ["WORKER", "INTERNAL", "OUT_OF_MEMORY", "DISPOSED", "UNSUPPORTED"];

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class Coordinator {
  readonly #client: Client;
  readonly #options: CoordinatorOptions;
  readonly #session: string;
  readonly #pending = new Map<string, Pending>();
  readonly #places = new Map<Stored, Place>();
  readonly #roster: Roster;
  readonly #subscriptions: Subscription[] = [];
  /** Of the last tasks that were done: when, and how long it took. */
  readonly #last: { readonly at: number; readonly ms: number }[] = [];
  #store: KV | undefined;
  #restoring: Promise<void> | undefined;
  /** When the streams were made, which tells one that was made anew. */
  #created = { tasks: "", values: "" };
  #timer: ReturnType<typeof setInterval> | undefined;
  #ids = 0;
  #ended: SymplecticAdjointError | undefined;
  #counts = { done: 0, retries: 0, refused: 0, duplicates: 0 };
  #looking = false;
  /** When it last looked around. */
  #ticked = performance.now();

  constructor(client: Client, options: CoordinatorOptions) {
    this.#client = client;
    this.#options = options;
    this.#session = client.core.nuid.next();
    const { suits, onEvent } = options;
    this.#roster = new Roster({ suits, onEvent, onGone: (worker) => this.#gone(worker) });
  }

  /** Makes what is missing on the server, and asks workers to tell of themselves. */
  async start(): Promise<void> {
    const { connection, names } = this.#client;
    await this.#ensure(AGREEING_MS);
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

  /** Shards that should be under way at a time, so that nobody waits for work. */
  get window(): number {
    return Math.max(8, 3 * this.threads);
  }

  /** Puts a value where so many tasks can refer to it. */
  keep(bytes: Uint8Array, uses = Number.POSITIVE_INFINITY): Stored {
    const stored = { bytes, isSmall: bytes.length * uses <= SMALL_BYTES };
    if (stored.isSmall) return stored;
    const key = `${this.#session}.${++this.#ids}`;
    this.#places.set(stored, { bytes, key, ...this.#put(key, bytes) });
    return stored;
  }

  #put(key: string, bytes: Uint8Array): { put: Promise<Value>; at: number } {
    const put = this.#persist(() => putValue(this.#client, this.#store as KV, key, bytes));
    // Whoever needs it will see.
    put.catch(() => {});
    return { put, at: performance.now() };
  }

  /** No task refers to it any more. */
  forget(stored: Stored): void {
    const place = this.#places.get(stored);
    this.#places.delete(stored);
    if (place && !this.#ended) place.put.then(() => dropValues(this.#client, place.key)).catch(() => {});
  }

  /** Has a task done. */
  submit<T>(task: Task<T>): Promise<Done<T>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const now = performance.now();
      const pending: Pending = {
        id: `${this.#session}-${++this.#ids}`,
        task,
        resolve: resolve as (done: Done<unknown>) => void,
        reject,
        attempt: 0,
        since: now,
        heard: now,
        holder: undefined,
        failure: undefined,
        faults: 0,
        hedged: false,
        partial: new Map(),
      };
      this.#pending.set(pending.id, pending);
      const { follows } = task;
      if (follows && this.#roster.has(follows.worker)) this.#hand(pending, follows.worker, follows.body);
      else this.#queue(pending);
    });
  }

  /** Ends everything; what is under way is rejected. */
  end(error: SymplecticAdjointError): void {
    if (this.#ended) return;
    this.#ended = error;
    clearInterval(this.#timer);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#places.clear();
  }

  /** Takes from the server what is of this session. */
  async clear(): Promise<void> {
    const { manager, names } = this.#client;
    const tasks = names.tasksFor(this.#options.group, this.#session);
    await Promise.allSettled([
      manager.streams.purge(names.stream, { filter: tasks }),
      dropValues(this.#client, this.#session),
    ]);
  }

  // What is on the server.

  async #ensure(patience = 0): Promise<void> {
    const { store, ...created } = await makeStreams(this.#client, this.#options, patience);
    this.#store = store;
    this.#created = created;
  }

  /** Does something on the server, again and again while the server is away; what it forbids is an error. */
  async #persist<T>(action: () => Promise<T>): Promise<T> {
    const until = performance.now() + 120_000;
    for (let wait = 100; ; wait = Math.min(2 * wait, 2000)) {
      if (this.#ended) throw this.#ended;
      try {
        return await action();
      } catch (error) {
        if (isForbidden(error) || performance.now() > until) throw connectionError(error);
        await delay(wait);
        await this.#restore().catch(() => {});
      }
    }
  }

  /** Makes anew what a server has lost, as memory is when it restarts, and fills it. */
  #restore(): Promise<void> {
    this.#restoring ??= this.#fill().finally(() => {
      this.#restoring = undefined;
    });
    return this.#restoring;
  }

  async #fill(): Promise<void> {
    const before = this.#created;
    await this.#ensure();
    const now = this.#created;
    if (now.values !== before.values) {
      for (const place of this.#places.values()) Object.assign(place, this.#put(place.key, place.bytes));
    }
    if (now.tasks !== before.tasks) {
      for (const pending of this.#pending.values()) if (pending.attempt > 0) this.#queue(pending, "the queue was lost");
    }
  }

  // Tasks on their way out.

  async #message(pending: Pending, body: Uint8Array): Promise<Uint8Array> {
    const given = pending.task.values ?? [];
    const values = await Promise.all(
      given.map((stored) => (stored.isSmall ? stored.bytes : this.#places.get(stored)?.put)),
    );
    if (values.some((value) => value === undefined)) throw new Error("a value has been forgotten");
    const common = { id: pending.id, session: this.#session };
    const message = encodeTask({ ...common, values: values as (Value | Uint8Array)[], body });
    if (message.length <= this.#client.most) return message;
    // Removed with the session; a large one is rare beside its values.
    const stored = this.keep(body);
    const place = this.#places.get(stored) as Place;
    const drop = () => this.forget(stored);
    this.#onEnd(pending, drop);
    return encodeTask({ ...common, values: [...(values as (Value | Uint8Array)[]), await place.put], body: undefined });
  }

  /** Has something done when a task has ended, however. */
  #onEnd(pending: Pending, action: () => void): void {
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

  /** Puts a task into the queue; again with the reason. */
  async #queue(pending: Pending, reason?: string): Promise<void> {
    const { streams, names } = this.#client;
    pending.holder = undefined;
    if (++pending.attempt > MOST_ATTEMPTS) return this.#giveUp(pending, reason ?? "it was lost");
    if (reason !== undefined) this.#retried(reason, undefined);
    const msgID = `${pending.id}.${pending.attempt}`;
    try {
      const message = await this.#message(pending, pending.task.body());
      await this.#persist(async () => {
        if (!this.#pending.has(pending.id)) return;
        await streams.publish(names.tasksFor(this.#options.group, this.#session), message, { msgID, timeout: 5000 });
        pending.heard = performance.now();
      });
    } catch (error) {
      this.#fail(pending, error);
    }
  }

  /** Hands a task to a worker at once; if it does not take it, it goes into the queue. */
  async #hand(pending: Pending, worker: string, body: () => Uint8Array): Promise<void> {
    const { connection, names } = this.#client;
    try {
      const message = await this.#message(pending, body());
      await connection.request(names.follow(worker), message, { timeout: 2000 });
      pending.holder = worker;
      pending.heard = performance.now();
    } catch {
      if (this.#pending.has(pending.id)) this.#queue(pending, "the worker did not take it");
    }
  }

  #retried(reason: string, worker: string | undefined): void {
    this.#counts.retries++;
    this.#options.onEvent({ kind: "retry", reason, worker });
  }

  #fail(pending: Pending, error: unknown): void {
    if (this.#pending.delete(pending.id)) pending.reject(error);
  }

  #giveUp(pending: Pending, reason: string): void {
    const message = `a shard has failed ${pending.attempt - 1 + pending.faults} times, the last time because ${pending.failure ?? reason}`;
    this.#fail(pending, new SymplecticAdjointError("WORKER", message));
  }

  // Answers.

  #answered(message: Msg): void {
    const reply = (receipt: Receipt) => void message.respond(receipt);
    const answer = readAnswer(message.data);
    if (!answer) {
      this.#refuse("it is no answer", undefined);
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

  /** The whole answer, when its last part has come. */
  #assembled(pending: Pending, answer: AnswerMessage, reply: (receipt: Receipt) => void): Uint8Array | undefined {
    const { worker, part, parts, body } = answer;
    const most = pending.task.most + 65_536;
    const so = part === 0 ? { parts: [] as Uint8Array[], length: 0 } : pending.partial.get(worker);
    if (!so || so.parts.length !== part) {
      reply("again");
      return undefined;
    }
    if (so.length + body.length > most) {
      this.#wrong(pending, worker, `it has more than ${most} bytes`);
      reply("refused");
      return undefined;
    }
    so.parts.push(body);
    so.length += body.length;
    pending.heard = performance.now();
    if (part < parts - 1) {
      if (part === 0 && pending.partial.size >= 16) pending.partial.clear();
      // The message is the client's, and its buffer may be larger.
      so.parts[part] = new Uint8Array(body);
      pending.partial.set(worker, so);
      reply("next");
      return undefined;
    }
    pending.partial.delete(worker);
    return joined(so.parts, so.length);
  }

  #done(pending: Pending, worker: string, body: Uint8Array, reply: (receipt: Receipt) => void): void {
    let value: unknown;
    try {
      value = pending.task.read(body);
    } catch (error) {
      this.#wrong(pending, worker, textOf(error));
      reply("refused");
      return;
    }
    this.#pending.delete(pending.id);
    this.#counts.done++;
    const at = performance.now();
    this.#last.push({ at, ms: at - pending.since });
    if (this.#last.length > 64) this.#last.shift();
    reply("taken");
    pending.resolve({ value, worker });
  }

  #failed(pending: Pending, worker: string, body: Uint8Array, reply: (receipt: Receipt) => void): void {
    const failure = readFailure(body);
    if (!failure) {
      this.#wrong(pending, worker, "it is no failure");
      reply("refused");
      return;
    }
    const { code, message, details } = failure;
    reply("taken");
    if (ELSEWHERE.includes(code)) {
      pending.failure = `${worker} said: ${message}`;
      this.#elsewhere(pending, worker, `${code}: ${message}`);
    } else this.#fail(pending, new SymplecticAdjointError(code, message, details));
  }

  /** Values that the store has no longer are put again, unless they have been since the task was sent. */
  #missing(pending: Pending, reply: (receipt: Receipt) => void): void {
    reply("taken");
    for (const stored of pending.task.values ?? []) {
      const place = this.#places.get(stored);
      if (place && place.at < pending.heard - 1000) Object.assign(place, this.#put(place.key, place.bytes));
    }
    // What a worker has forgotten of an earlier task is no fault.
    if (pending.holder !== undefined) {
      this.#queue(pending, "the solve was not kept");
    } else if (++pending.faults > MOST_FAULTS) {
      this.#giveUp(pending, "values were missing");
    } else {
      this.#queue(pending, "values were missing");
    }
  }

  #refuse(reason: string, worker: string | undefined): void {
    this.#counts.refused++;
    this.#options.onEvent({ kind: "refused", reason, worker });
  }

  #wrong(pending: Pending, worker: string, reason: string): void {
    this.#refuse(reason, worker);
    pending.failure = `the answer of ${worker} was wrong: ${reason}`;
    this.#elsewhere(pending, worker, "an answer was wrong");
  }

  /** Gives a task to somebody else: at once if there is somebody, else by the queue, after a while. */
  #elsewhere(pending: Pending, worker: string, reason: string): void {
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

  /** What a worker was handed goes into the queue when it is gone; what it has from the queue, the queue gives to another. */
  #gone(worker: string): void {
    for (const pending of this.#pending.values()) {
      if (pending.holder === worker) this.#queue(pending, "its worker is gone");
    }
  }

  #tick(): void {
    const now = performance.now();
    // While a loss was computed here, say, nobody could be heard.
    if (now - this.#ticked > 2 * TICK_MS) this.#forgive();
    this.#ticked = now;
    this.#roster.drop(this.#options.stallMs);
    if (this.#pending.size === 0) return;
    this.#options.onEvent({ kind: "progress", status: this.status });
    this.#look();
  }

  /** Takes no silence for a sign until now: it was here that nothing could be heard. */
  #forgive(): void {
    const now = performance.now();
    this.#roster.forgive();
    for (const pending of this.#pending.values()) pending.heard = now;
  }

  /** Looks into the queue: what is neither there nor with a worker was lost, and what takes one long another may do. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { manager, names } = this.#client;
    try {
      const { num_pending } = await manager.consumers.info(names.stream, names.consumer(this.#options.group));
      if (num_pending > 0) return;
      const now = performance.now();
      const patience = 3 * this.#options.stallMs;
      const idle = this.#roster.suitable.some(({ threads, tasks }) => tasks.length < threads);
      const usual = this.#last.reduce((sum, { ms }) => sum + ms, 0) / Math.max(1, this.#last.length);
      for (const pending of [...this.#pending.values()]) {
        if (pending.attempt === 0 && pending.holder === undefined) continue;
        if (now - pending.heard > patience) {
          this.#queue(pending, "nobody has it any more");
        } else if (idle && !pending.hedged && now - pending.since > patience + 5 * usual) {
          pending.hedged = true;
          this.#queue(pending, "its worker is slow");
        }
      }
    } catch {
      await this.#restore().catch(() => {});
    } finally {
      this.#looking = false;
    }
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
      this.#persist(() => this.#restore()).catch((error) => this.end(connectionError(error)));
    }
  }
}
