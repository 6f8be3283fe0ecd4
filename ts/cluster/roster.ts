// The workers that a coordinator knows from their announcements.
import type { ClusterEvent } from "./events.js";
import { type Announcement, PROTOCOL, readAnnouncement } from "./messages.js";

/** A worker, and when it last gave a sign of life. */
interface KnownWorker extends Announcement {
  seen: number;
  /** When it was first heard of. */
  readonly since: number;
  /** When its last answer arrived. */
  answered: number;
  /** The tasks that it has announced, without those that it has answered since. */
  tasks: readonly string[];
  /** Whether it gets tasks. */
  readonly suits: boolean;
}

interface RosterOptions {
  /** The command that starts workers. */
  readonly startWorkers: string;
  suits(worker: Announcement): boolean;
  onEvent(event: ClusterEvent): void;
  /** Called when a worker has left or was lost. */
  onGone(worker: string): void;
}

/** Why a worker of another version gets no tasks. */
export const versionOf = ({ version, protocol }: Announcement) =>
  `symplectic-adjoint ${version} speaks protocol ${protocol}; install the same version everywhere`;

/** How to make all workers compute with the same arithmetic. */
const ALIKE =
  "set SYMPLECTIC_ADJOINT_ENGINE or SYMPLECTIC_ADJOINT_REGISTERS to the same value for all; see docs/cluster.md";

/** Announcements of further workers are ignored. */
const MOST_WORKERS = 10_000;

export class Roster {
  readonly #options: RosterOptions;
  readonly #known = new Map<string, KnownWorker>();

  constructor(options: RosterOptions) {
    this.#options = options;
  }

  has(worker: string): boolean {
    return this.#known.has(worker);
  }

  /** The workers that get tasks. */
  get suitable(): KnownWorker[] {
    return [...this.#known.values()].filter(({ suits }) => suits);
  }

  /** Workers with a free thread, as far as is known; the one that answered last comes first. */
  get idle(): KnownWorker[] {
    return this.suitable.filter(({ tasks, threads }) => tasks.length < threads).sort((a, b) => b.answered - a.answered);
  }

  /** Notes that a worker has begun a task. */
  busy(worker: string, task: string): void {
    const known = this.#known.get(worker);
    if (known) known.tasks = [...known.tasks, task];
  }

  /** Notes that a worker has answered a part, or all of `task`. */
  answered(worker: string, task?: string): void {
    const known = this.#known.get(worker);
    if (!known) return;
    known.seen = known.answered = performance.now();
    known.tasks = known.tasks.filter((own) => own !== task);
  }

  /** Why no worker gets tasks, for messages. */
  get absence(): string {
    const others = [...this.#known.values()];
    if (others.length === 0) return `no worker is connected; start some with: ${this.#options.startWorkers}`;
    const unlike = others.find(({ protocol }) => protocol !== PROTOCOL);
    const connected =
      others.length === 1 ? "1 worker is connected, but not" : `${others.length} workers are connected, but none`;
    if (unlike) return `${connected} with protocol ${PROTOCOL} of this version: ${versionOf(unlike)}`;
    const engines = [...new Set(others.map(({ engine }) => engine))].slice(0, 5).join("; ");
    return `${connected} with the same arithmetic as this process; theirs: ${engines}. To agree, ${ALIKE}`;
  }

  /** How many workers get no tasks. */
  get different(): number {
    return this.#known.size - this.suitable.length;
  }

  /** Reads an announcement; returns undefined if it is invalid. */
  hear(data: Uint8Array): Announcement | undefined {
    const said = readAnnouncement(data);
    if (!said || (!this.#known.has(said.worker) && this.#known.size >= MOST_WORKERS)) return undefined;
    const { worker, threads, engine, fingerprint } = said;
    if (said.leaving) {
      this.#remove(worker, "left");
      return said;
    }
    const isOfProtocol = said.protocol === PROTOCOL;
    const suits = isOfProtocol && this.#options.suits(said);
    const before = this.#known.get(worker);
    const isNew = !before;
    const now = performance.now();
    this.#known.set(worker, {
      ...said,
      suits,
      seen: now,
      since: before?.since ?? now,
      answered: before?.answered ?? 0,
    });
    if (isNew && suits) this.#options.onEvent({ kind: "joined", worker, threads, engine });
    else if (isNew) {
      const reason = isOfProtocol ? `its arithmetic differs: ${ALIKE}` : versionOf(said);
      this.#options.onEvent({ kind: "different", worker, engine, fingerprint, reason });
    }
    return said;
  }

  /** Removes workers that have been silent for this long. */
  drop(stallMs: number): void {
    const now = performance.now();
    for (const { worker, seen } of this.#known.values()) if (now - seen > stallMs) this.#remove(worker, "lost");
  }

  /** Restarts the silence timers. */
  forgive(): void {
    const now = performance.now();
    for (const known of this.#known.values()) known.seen = now;
  }

  #remove(worker: string, kind: "left" | "lost"): void {
    const known = this.#known.get(worker);
    if (!known) return;
    this.#known.delete(worker);
    if (known.suits) this.#options.onEvent({ kind, worker, threads: known.threads, engine: known.engine });
    this.#options.onGone(worker);
  }
}
