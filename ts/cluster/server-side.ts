// What a coordinator has on its servers: the streams, and the values of its session. A server that was restarted has lost what was in
// its memory; then it is made anew.
import { type Client, connectionError, isFinal } from "./client.js";
import type { StoredValue } from "./messages.js";
import { dropValues, putValue } from "./store.js";
import { makeStreams, type StreamOptions } from "./streams.js";
import { delay } from "./wait.js";

/** A value that tasks refer to: kept here for as long, in case the store loses it. */
export interface Stored {
  readonly bytes: Uint8Array;
  /** Whether it goes with each task, since that costs less than to store it. */
  readonly isSmall: boolean;
}

interface StoreEntry {
  readonly bytes: Uint8Array;
  readonly key: string;
  put: Promise<StoredValue>;
  /** When it was put last. */
  at: number;
}

interface ServerSideOptions extends StreamOptions {
  readonly session: string;
  /** The queue was made anew, without the tasks that were in it. */
  onQueueLost(): void;
}

/** Values of so many bytes, over all tasks, save a round trip more than they cost. */
const SMALL_BYTES = 65_536;
/** Servers of a cluster that have just been started take a while to agree on a leader, and say nothing until then. */
const AGREEING_MS = 30_000;
/** So long something is tried again while the server is away. */
const PERSIST_MS = 120_000;

export class ServerSide {
  readonly #client: Client;
  readonly #options: ServerSideOptions;
  readonly #places = new Map<Stored, StoreEntry>();
  #restoring: Promise<void> | undefined;
  /** When the streams were made, which tells one that was made anew. */
  #created = { tasks: "", values: "" };
  #keys = 0;
  #ended: Error | undefined;

  constructor(client: Client, options: ServerSideOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Makes what is missing. */
  start(): Promise<void> {
    return this.#ensure(AGREEING_MS);
  }

  /** Puts a value where so many tasks can refer to it. */
  keep(bytes: Uint8Array, uses = Number.POSITIVE_INFINITY): Stored {
    const stored = { bytes, isSmall: bytes.length * uses <= SMALL_BYTES };
    if (stored.isSmall) return stored;
    const key = `${this.#options.session}.${++this.#keys}`;
    this.#places.set(stored, { bytes, key, ...this.#put(key, bytes) });
    return stored;
  }

  #put(key: string, bytes: Uint8Array): { put: Promise<StoredValue>; at: number } {
    const client = this.#client;
    const put = putValue(client, client.names.bucket, key, bytes, (action) => this.persist(action));
    // Whoever needs it will see.
    put.catch(() => {});
    return { put, at: performance.now() };
  }

  /** What a task's message has of each value: where it lies, or itself. */
  async refer(values: readonly Stored[]): Promise<(StoredValue | Uint8Array)[]> {
    const references = values.map((stored) => (stored.isSmall ? stored.bytes : this.#places.get(stored)?.put));
    const found = await Promise.all(references);
    if (found.some((value) => value === undefined)) throw new Error("a value has been forgotten");
    return found as (StoredValue | Uint8Array)[];
  }

  /** Puts values again that were put last before that time. */
  putAgain(values: readonly Stored[], before: number): void {
    for (const stored of values) {
      const place = this.#places.get(stored);
      if (place && place.at < before) Object.assign(place, this.#put(place.key, place.bytes));
    }
  }

  /** No task refers to it any more. */
  forget(stored: Stored): void {
    const place = this.#places.get(stored);
    this.#places.delete(stored);
    if (place && !this.#ended) place.put.then(() => dropValues(this.#client, place.key)).catch(() => {});
  }

  /** Does something on the server, again and again while the server is away; what it will never do is an error. */
  async persist<T>(action: () => Promise<T>): Promise<T> {
    const until = performance.now() + PERSIST_MS;
    for (let wait = 100; ; wait = Math.min(2 * wait, 2000)) {
      if (this.#ended) throw this.#ended;
      try {
        return await action();
      } catch (error) {
        if (isFinal(error) || performance.now() > until) throw connectionError(error);
        await delay(wait);
        await this.restore().catch(() => {});
      }
    }
  }

  /** Makes anew what a server has lost, and fills it. */
  restore(): Promise<void> {
    this.#restoring ??= this.#fill().finally(() => {
      this.#restoring = undefined;
    });
    return this.#restoring;
  }

  async #fill(): Promise<void> {
    const before = this.#created;
    await this.#ensure();
    const now = this.#created;
    if (now.values !== before.values) this.putAgain([...this.#places.keys()], Number.POSITIVE_INFINITY);
    if (now.tasks !== before.tasks) this.#options.onQueueLost();
  }

  async #ensure(patience = 0): Promise<void> {
    this.#created = await makeStreams(this.#client, this.#options, patience);
  }

  /** Nothing is tried any more. */
  end(error: Error): void {
    this.#ended = error;
    this.#places.clear();
  }

  /** Takes from the server what is of this session. */
  async clear(): Promise<void> {
    const { manager, names } = this.#client;
    const { group, session } = this.#options;
    await Promise.allSettled([
      manager.streams.purge(names.stream, { filter: names.tasksFor(group, session) }),
      dropValues(this.#client, session),
    ]);
  }
}
