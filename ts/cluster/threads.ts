// The threads of a worker; each has an engine, and keeps solves for their gradients.
import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import type { EngineSource } from "../engine/engine.js";
import { startThread, type Thread } from "../parallel/threads.js";
import { errorOf } from "./failures.js";
import type { ThreadReply, ThreadRequest } from "./thread.js";
import { solveOf } from "./work.js";

interface Slot {
  thread: Thread | undefined;
  /** Requests without a reply. */
  readonly pending: Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>;
}

/** For how many solves the thread is remembered. */
const MOST_SOLVES = 100_000;

interface ThreadOptions {
  readonly threads: number;
  readonly engine: EngineSource;
  /** Bytes that each thread may keep for later gradients. */
  readonly memory: number;
  readonly source: string | URL;
  readonly url: string | undefined;
}

export class ComputeThreads {
  readonly #options: ThreadOptions;
  readonly #slots: Slot[];
  /** The thread that has each solve. */
  readonly #places = new Map<string, Slot>();
  #ids = 0;
  #ended = false;

  constructor(options: ThreadOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.threads }, () => ({ thread: undefined, pending: new Map() }));
  }

  /** Starts all threads; returns the fingerprint of their engine. */
  async start(): Promise<string> {
    const prints = await Promise.all(this.#slots.map((slot) => this.#open(slot)));
    return prints[0] as string;
  }

  async #open(slot: Slot): Promise<string> {
    const { url, source, engine, memory } = this.#options;
    const receive = (message: unknown) => this.#receive(slot, message as ThreadReply);
    slot.thread = await startThread(url, { receive, die: (reason) => this.#died(slot, reason) }, () => source);
    return (await this.#ask(slot, { kind: "start", engine, memory })) as string;
  }

  #receive(slot: Slot, reply: ThreadReply): void {
    const waiting = slot.pending.get(reply.id);
    slot.pending.delete(reply.id);
    if ("failure" in reply) waiting?.reject(errorOf(reply.failure));
    else waiting?.resolve(reply.value);
  }

  /** Fails the requests of a thread that died. The next task starts a new one. */
  #died(slot: Slot, reason: unknown): void {
    slot.thread = undefined;
    for (const [key, other] of this.#places) if (other === slot) this.#places.delete(key);
    const error = new SymplecticAdjointError("WORKER", `a thread died: ${textOf(reason)}`);
    for (const { reject } of slot.pending.values()) reject(error);
    slot.pending.clear();
  }

  #ask(slot: Slot, request: ThreadRequest, transfer: ArrayBuffer[] = []): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#ids;
      slot.pending.set(id, { resolve, reject });
      slot.thread?.post({ id, request }, transfer);
    });
  }

  /** Runs a task in the thread that has its solve, otherwise in the least busy one. */
  async do(body: Uint8Array, values: readonly Uint8Array[], session: string): Promise<Uint8Array> {
    if (this.#ended) throw new SymplecticAdjointError("DISPOSED", "the worker has been closed");
    const solve = solveOf(body, session);
    const place = solve === undefined ? undefined : this.#places.get(solve);
    const slot =
      place ?? this.#slots.reduce((least, other) => (other.pending.size < least.pending.size ? other : least));
    if (!slot.thread) await this.#open(slot);
    if (solve !== undefined) {
      this.#places.set(solve, slot);
      if (this.#places.size > MOST_SOLVES) this.#places.delete(this.#places.keys().next().value as string);
    }
    return (await this.#ask(slot, { kind: "task", body, values, session })) as Uint8Array;
  }

  end(): void {
    this.#ended = true;
    for (const { thread } of this.#slots) thread?.end();
  }
}
