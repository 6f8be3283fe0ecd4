// Values that tasks share, such as parameters: stored once, in pieces that fit a message, and kept by whoever has fetched them.
import type { KV } from "@nats-io/kv";
import type { Client } from "./client.js";
import type { Value } from "./messages.js";

/** Values without a reader are gone after so long: those of a coordinator that was killed. */
const LIFETIME_MS = 3_600_000;

/** The bucket, made where there is none. */
export async function makeStore({ streams, kv, jetstream, names }: Client, replicas: number): Promise<KV> {
  return new kv.Kvm(streams).create(names.bucket, {
    storage: jetstream.StorageType.Memory,
    history: 1,
    ttl: LIFETIME_MS,
    replicas,
    allow_direct: true,
  });
}

/** Puts a value, and tells where it lies. */
export async function putValue(client: Client, store: KV, key: string, bytes: Uint8Array): Promise<Value> {
  const size = client.most;
  const chunks = Math.max(1, Math.ceil(bytes.length / size));
  const puts = Array.from({ length: chunks }, (_, i) =>
    store.put(`${key}.${i}`, bytes.subarray(i * size, (i + 1) * size)),
  );
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
  #store: Promise<KV> | undefined;

  constructor(client: Client, most: number) {
    this.#client = client;
    this.#most = most;
  }

  /** The bytes of a value; undefined where the store has it no longer, or has another. */
  get(value: Value): Promise<Uint8Array | undefined> {
    // Whoever claims another length means another value.
    const name = `${value.key} ${value.chunks} ${value.bytes}`;
    const known = this.#known.get(name);
    if (known) {
      this.#known.delete(name);
      this.#known.set(name, known);
      return known.value;
    }
    const entry = { value: this.#fetch(value), size: 0 };
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

  async #fetch(value: Value): Promise<Uint8Array | undefined> {
    const { kv, streams, names } = this.#client;
    // Bound without asking for the bucket: a worker may only read from it.
    this.#store ??= new kv.Kvm(streams).open(names.bucket, { bindOnly: true, allow_direct: true });
    return fetchValue(await this.#store, value, this.#most);
  }
}

/** The bytes of a value of at most so many; undefined where it is not there, or another one is. */
export async function fetchValue(
  store: KV,
  { key, chunks, bytes }: Value,
  most: number,
): Promise<Uint8Array | undefined> {
  if (bytes > most || chunks > 1 + bytes) return undefined;
  const parts: Uint8Array[] = [];
  let length = 0;
  // A few at a time: what was claimed is not yet there.
  for (let first = 0; first < chunks; first += 8) {
    const some = Array.from({ length: Math.min(8, chunks - first) }, (_, i) => store.get(`${key}.${first + i}`));
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
