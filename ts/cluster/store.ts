// Values that tasks share, such as parameters: stored once in chunks that fit a message, and cached by the workers.
import type { KV } from "@nats-io/kv";
import { type Client, isFinal, MOST_PARTS, patienceFor } from "./client.js";
import type { StoredValue } from "./messages.js";
import { delay } from "./wait.js";
import { Window } from "./window.js";

/** How long values remain that are not removed, because their coordinator was killed. */
const LIFETIME_MS = 3_600_000;

/** Creates the bucket if it is missing. */
export async function makeStore({ streams, kv, jetstream, names }: Client, replicas: number): Promise<void> {
  await new kv.Kvm(streams).create(names.bucket, {
    storage: jetstream.StorageType.Memory,
    history: 1,
    ttl: LIFETIME_MS,
    replicas,
    allow_direct: true,
  });
}

/** Opens a bucket without asking for its settings: a worker may only read and write keys. */
const openBucket = ({ kv, patient }: Client, bucket: string): Promise<KV> =>
  new kv.Kvm(patient).open(bucket, { bindOnly: true, allow_direct: true });

/** Retries an action on the server. */
type Persist = <T>(action: () => Promise<T>) => Promise<T>;
const aFewTimes: Persist = async (action) => {
  for (let left = 3; ; left--) {
    try {
      return await action();
    } catch (error) {
      if (left === 0 || isFinal(error)) throw error;
      await delay(500);
    }
  }
};

/** Stores a value in chunks, each through `persist`. */
export async function putValue(
  client: Client,
  bucket: string,
  key: string,
  bytes: Uint8Array,
  persist = aFewTimes,
): Promise<StoredValue> {
  const { part, connected } = client;
  const store = await openBucket(client, bucket);
  const window = new Window(() => MOST_PARTS);
  const chunks = Math.max(1, Math.ceil(bytes.length / part));
  const puts = Array.from({ length: chunks }, (_, i) => {
    const chunk = bytes.subarray(i * part, (i + 1) * part);
    return window.run(() =>
      persist(() => connected(store.put(`${key}.${i}`, chunk, { timeout: patienceFor(chunk.length) }))),
    );
  });
  await Promise.all(puts);
  return { key, chunks, bytes: bytes.length };
}

/** Removes a value, or all values of a session. */
export async function dropValues({ manager, names }: Client, key: string): Promise<void> {
  await manager.streams.purge(names.bucketStream, { filter: names.key(`${key}.>`) });
}

/** Removes everything below a key in the bucket of sweeps. */
export async function dropSweepKeys({ manager, names }: Client, key: string): Promise<void> {
  await manager.streams.purge(names.sweepBucketStream, { filter: names.sweepKey(`${key}.>`) });
}

/** A worker's cache of values; the least recently used ones are evicted. */
export class ValueCache {
  readonly #client: Client;
  readonly #most: number;
  /** The most recently used one is last. */
  readonly #known = new Map<string, { readonly value: Promise<Uint8Array | undefined>; size: number }>();
  #bytes = 0;

  constructor(client: Client, most: number) {
    this.#client = client;
    this.#most = most;
  }

  /** The bytes of a value; undefined if the store no longer has it. */
  get(value: StoredValue): Promise<Uint8Array | undefined> {
    // A message that claims another size means another value.
    const name = `${value.key} ${value.chunks} ${value.bytes}`;
    const known = this.#known.get(name);
    if (known) {
      this.#known.delete(name);
      this.#known.set(name, known);
      return known.value;
    }
    const entry = { value: fetchValue(this.#client, this.#client.names.bucket, value, this.#most, shareable), size: 0 };
    this.#known.set(name, entry);
    entry.value.then(
      (bytes) => (bytes ? this.#count(entry, bytes.length) : this.#known.delete(name)),
      () => this.#known.delete(name),
    );
    return entry.value;
  }

  #count(entry: { size: number }, size: number): void {
    entry.size = size;
    this.#bytes += size;
    for (const [name, { size }] of this.#known) {
      if (this.#bytes <= this.#most) break;
      this.#bytes -= size;
      this.#known.delete(name);
    }
  }
}

/** Fetches a value of at most `most` bytes, into memory from `allocate`; undefined if it is missing or has another size. */
export async function fetchValue(
  client: Client,
  bucket: string,
  { key, chunks, bytes }: StoredValue,
  most: number,
  allocate = (length: number): Uint8Array => new Uint8Array(length),
): Promise<Uint8Array | undefined> {
  if (bytes > most || chunks > 1 + bytes) return undefined;
  const store = await openBucket(client, bucket);
  const parts: Uint8Array[] = [];
  let length = 0;
  // A few at a time, since the claimed number of chunks may be wrong.
  for (let first = 0; first < chunks; first += MOST_PARTS) {
    const some = Array.from({ length: Math.min(MOST_PARTS, chunks - first) }, (_, i) =>
      aFewTimes(() => client.connected(store.get(`${key}.${first + i}`))),
    );
    for (const entry of await Promise.all(some)) {
      if (entry === null || entry.operation !== "PUT") return undefined;
      length += entry.value.length;
      if (length > bytes) return undefined;
      parts.push(entry.value);
    }
  }
  return length === bytes ? joined(parts, allocate(bytes)) : undefined;
}

/** Memory that threads share, where that is possible; elsewhere each task gets a copy. */
const shareable = (length: number): Uint8Array =>
  typeof SharedArrayBuffer === "function" ? new Uint8Array(new SharedArrayBuffer(length)) : new Uint8Array(length);

/** Concatenates parts in `all`, which is as long as they are together. */
export function joined(parts: readonly Uint8Array[], all: Uint8Array): Uint8Array {
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
