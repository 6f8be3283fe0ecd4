// Values that tasks share, such as parameters: stored once, in pieces that fit a message, and kept by whoever has fetched them.
import type { KV } from "@nats-io/kv";
import { type Client, isFinal, MOST_PARTS, patienceFor } from "./client.js";
import type { StoredValue } from "./messages.js";
import { delay } from "./wait.js";
import { Window } from "./window.js";

/** Values without a reader are gone after so long: those of a coordinator that was killed. */
const LIFETIME_MS = 3_600_000;

/** The bucket, made where there is none. */
export async function makeStore({ streams, kv, jetstream, names }: Client, replicas: number): Promise<void> {
  await new kv.Kvm(streams).create(names.bucket, {
    storage: jetstream.StorageType.Memory,
    history: 1,
    ttl: LIFETIME_MS,
    replicas,
    allow_direct: true,
  });
}

/** A bucket, bound without asking for it: a worker may only read and write keys. */
const openBucket = ({ kv, patient }: Client, bucket: string): Promise<KV> =>
  new kv.Kvm(patient).open(bucket, { bindOnly: true, allow_direct: true });

/** Does something on the server; a few times, where a connection or an answer was lost. */
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

/** Puts a value, and tells where it lies; `persist` does so for each chunk. */
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

/** Removes a value, or all of a session. */
export async function dropValues({ manager, names }: Client, key: string): Promise<void> {
  await manager.streams.purge(names.bucketStream, { filter: names.key(`${key}.>`) });
}

/** Removes what lies in the bucket of sweeps below a key. */
export async function dropSweepKeys({ manager, names }: Client, key: string): Promise<void> {
  await manager.streams.purge(names.sweepBucketStream, { filter: names.sweepKey(`${key}.>`) });
}

/** Values as a worker has them: those used last are kept, up to so many bytes. */
export class ValueCache {
  readonly #client: Client;
  readonly #most: number;
  /** The one used last at the end. */
  readonly #known = new Map<string, { readonly value: Promise<Uint8Array | undefined>; size: number }>();
  #bytes = 0;

  constructor(client: Client, most: number) {
    this.#client = client;
    this.#most = most;
  }

  /** The bytes of a value; undefined where the store has it no longer, or has another. */
  get(value: StoredValue): Promise<Uint8Array | undefined> {
    // Whoever claims another length means another value.
    const name = `${value.key} ${value.chunks} ${value.bytes}`;
    const known = this.#known.get(name);
    if (known) {
      this.#known.delete(name);
      this.#known.set(name, known);
      return known.value;
    }
    const entry = { value: fetchValue(this.#client, this.#client.names.bucket, value, this.#most), size: 0 };
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

/** The bytes of a value of at most so many; undefined where it is not there, or another one is. */
export async function fetchValue(
  client: Client,
  bucket: string,
  { key, chunks, bytes }: StoredValue,
  most: number,
): Promise<Uint8Array | undefined> {
  if (bytes > most || chunks > 1 + bytes) return undefined;
  const store = await openBucket(client, bucket);
  const parts: Uint8Array[] = [];
  let length = 0;
  // A few at a time: what was claimed is not yet there.
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
  return length === bytes ? joined(parts, bytes) : undefined;
}

/** Parts as one. */
export function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
