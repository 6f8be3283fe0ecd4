// A coordinator's data on the servers: the streams, and the values of its session. What a restarted server has lost is created again.
import { type Client, connectionError, isFinal } from "./client.js";
import type { StoredValue } from "./messages.js";
import { dropValues, putValue } from "./store.js";
import { makeStreams, type StreamOptions } from "./streams.js";
import { delay } from "./wait.js";

/** A value that tasks refer to. Its bytes are kept here in case the store loses them. */
export interface Stored {
  readonly bytes: Uint8Array;
  /** Whether it travels with each task, which is cheaper than to store it. */
  readonly isSmall: boolean;
}

interface StoreEntry {
  readonly bytes: Uint8Array;
  readonly key: string;
  put: Promise<StoredValue>;
  /** When it was last stored. */
  at: number;
}

interface ServerSideOptions extends StreamOptions {
  readonly session: string;
  /** Called when the queue was created again, without its tasks. */
  onQueueLost(): void;
}

/** Up to this many bytes over all tasks, sending a value each time costs less than the round trip to store it. */
const SMALL_BYTES = 65_536;
/** A new cluster of servers does not answer until it has elected a leader. */
const AGREEING_MS = 30_000;
/** How long an action is retried while the server is away. */
const PERSIST_MS = 120_000;

export class ServerSide {
  readonly #client: Client;
  readonly #options: ServerSideOptions;
  readonly #places = new Map<Stored, StoreEntry>();
  #restoring: Promise<void> | undefined;
  /** When the streams were created, to notice when one was created again. */
  #created = { tasks: "", values: "" };
  #keys = 0;
  #ended: Error | undefined;

  constructor(client: Client, options: ServerSideOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Creates what is missing. */
  start(): Promise<void> {
    return this.#ensure(AGREEING_MS);
  }

  /** Stores a value for about `uses` tasks. */
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
    // Reported to the tasks that need it.
    put.catch(() => {});
    return { put, at: performance.now() };
  }

  /** References to values, for a message: where each is stored, or the bytes of a small one. */
  async refer(values: readonly Stored[]): Promise<(StoredValue | Uint8Array)[]> {
    const references = values.map((stored) => (stored.isSmall ? stored.bytes : this.#places.get(stored)?.put));
    const found = await Promise.all(references);
    if (found.some((value) => value === undefined)) throw new Error("a value has been forgotten");
    return found as (StoredValue | Uint8Array)[];
  }

  /** Stores values again, unless that happened after the given time. */
  putAgain(values: readonly Stored[], before: number): void {
    for (const stored of values) {
      const place = this.#places.get(stored);
      if (place && place.at < before) Object.assign(place, this.#put(place.key, place.bytes));
    }
  }

  /** Removes a value that no task refers to any more. */
  forget(stored: Stored): void {
    const place = this.#places.get(stored);
    this.#places.delete(stored);
    if (place && !this.#ended) place.put.then(() => dropValues(this.#client, place.key)).catch(() => {});
  }

  /** Retries an action while the server is away; throws if retrying is pointless. */
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

  /** Creates again what a server has lost. */
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

  /** Stops all retries. */
  end(error: Error): void {
    this.#ended = error;
    this.#places.clear();
  }

  /** Removes the session's data from the server. */
  async clear(): Promise<void> {
    const { manager, names } = this.#client;
    const { group, session } = this.#options;
    await Promise.allSettled([
      manager.streams.purge(names.stream, { filter: names.tasksFor(group, session) }),
      dropValues(this.#client, session),
    ]);
  }
}
