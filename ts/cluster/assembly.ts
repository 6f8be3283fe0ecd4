// Joins answers that are larger than a message and therefore arrive in parts.
import { joined } from "./store.js";

/** How many workers' partial answers to one task are kept. */
const MOST_WORKERS = 16;

/** The bytes themselves, or a copy if they are the small part of a buffer, which would be kept whole. */
const compact = (bytes: Uint8Array) => (2 * bytes.length < bytes.buffer.byteLength ? new Uint8Array(bytes) : bytes);

/** Partial answers to one task, by worker. */
export class Assembly {
  readonly #begun = new Map<string, { readonly parts: Uint8Array[]; length: number }>();

  /**
   * Adds the next part of a worker's answer. Returns the whole answer after the last part; before that, `next`. `again` means that earlier
   * parts are missing, `large` that the answer exceeds `most` bytes or has an empty part.
   */
  add(
    worker: string,
    { part, parts, body }: { part: number; parts: number; body: Uint8Array },
    most: number,
  ): Uint8Array | "next" | "again" | "large" {
    const so = part === 0 ? { parts: [] as Uint8Array[], length: 0 } : this.#begun.get(worker);
    if (!so || so.parts.length !== part) return "again";
    // Empty parts would never reach the limit.
    if (so.length + body.length > most || (body.length === 0 && parts > 1)) return "large";
    so.length += body.length;
    if (part === parts - 1) {
      this.#begun.delete(worker);
      so.parts.push(body);
      return joined(so.parts, new Uint8Array(so.length));
    }
    if (part === 0 && this.#begun.size >= MOST_WORKERS) this.#begun.clear();
    so.parts.push(compact(body));
    this.#begun.set(worker, so);
    return "next";
  }
}
