// The workers that a sweep knows from their announcements.
import type { Subscription } from "@nats-io/nats-core";
import { type Client, listen } from "./client.js";
import { type Announcement, PROTOCOL, readAnnouncement } from "./messages.js";
import { versionOf } from "./roster.js";

/** A worker that is silent for this long is not counted. */
const SILENCE_MS = 5000;
/** Further workers are not counted. */
const MOST_WORKERS = 10_000;

export class TrialWorkers {
  readonly #task: string;
  readonly #known = new Map<string, Announcement & { readonly seen: number }>();
  readonly #subscription: Subscription;

  constructor(client: Client, task: string) {
    this.#task = task;
    const { connection, names } = client;
    this.#subscription = listen(client, names.announcements, ({ data }) => this.#hear(data));
    // Workers reply with an announcement, and look for new queues.
    connection.publish(names.hello);
  }

  #hear(data: Uint8Array): void {
    const said = readAnnouncement(data);
    if (!said) return;
    this.#known.delete(said.worker);
    if (!said.leaving && this.#known.size < MOST_WORKERS) {
      this.#known.set(said.worker, { ...said, seen: performance.now() });
    }
  }

  /** How many workers run the sweep's trials; if none does, why not. */
  get state(): { workers: number; absence: string | undefined } {
    for (const { worker, seen } of this.#known.values()) {
      if (performance.now() - seen > SILENCE_MS) this.#known.delete(worker);
    }
    const all = [...this.#known.values()];
    const workers = all.filter(({ protocol, trials }) => protocol === PROTOCOL && trials.includes(this.#task)).length;
    if (workers > 0 || all.length === 0) return { workers, absence: undefined };
    const unlike = all.find(({ protocol }) => protocol !== PROTOCOL);
    if (unlike) return { workers, absence: `this version speaks protocol ${PROTOCOL}, and ${versionOf(unlike)}` };
    const tasks = [...new Set(all.flatMap(({ trials }) => trials))].slice(0, 10).join(", ");
    return {
      workers,
      absence: `the connected workers run ${tasks === "" ? "no trials" : `${tasks}, not ${this.#task}`}`,
    };
  }

  end(): void {
    this.#subscription.unsubscribe();
  }
}
