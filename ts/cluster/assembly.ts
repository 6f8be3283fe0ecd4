// Answers that are larger than a message come in parts.
import { joined } from "./store.js";

/** Workers whose answers to one task are put together at a time. */
const MOST_WORKERS = 16;

/** The answers to one task, by worker. */
export class Assembly {
  readonly #begun = new Map<string, { readonly parts: Uint8Array[]; length: number }>();

  /**
   * Takes the next part of a worker's answer: gives the whole after the last one; else `next`, `again` if parts before it are missing,
   * `large` if there are more than so many bytes.
   */
  add(
    worker: string,
    { part, parts, body }: { part: number; parts: number; body: Uint8Array },
    most: number,
  ): Uint8Array | "next" | "again" | "large" {
    const so = part === 0 ? { parts: [] as Uint8Array[], length: 0 } : this.#begun.get(worker);
    if (!so || so.parts.length !== part) return "again";
    if (so.length + body.length > most) return "large";
    so.length += body.length;
    if (part === parts - 1) {
      this.#begun.delete(worker);
      so.parts.push(body);
      return joined(so.parts, so.length);
    }
    if (part === 0 && this.#begun.size >= MOST_WORKERS) this.#begun.clear();
    // The message is the client's, and its buffer may be larger.
    so.parts.push(new Uint8Array(body));
    this.#begun.set(worker, so);
    return "next";
  }
}
