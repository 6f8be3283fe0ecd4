// The workers that a coordinator knows of, by what they tell of themselves.
import type { ClusterEvent } from "./events.js";
import { type Announcement, PROTOCOL, readAnnouncement } from "./messages.js";

/** A worker, and when it was last heard of. */
interface KnownWorker extends Announcement {
  seen: number;
  /** When it last answered. */
  answered: number;
  /** What it has in hand, those that it has answered since left out. */
  tasks: readonly string[];
  /** Whether it gets tasks. */
  readonly suits: boolean;
}

interface RosterOptions {
  suits(worker: Announcement): boolean;
  onEvent(event: ClusterEvent): void;
  /** Called when a worker has left, or is lost. */
  onGone(worker: string): void;
}

/** Why a worker of another version gets nothing. */
export const versionOf = ({ version, protocol }: Announcement) =>
  `symplectic-adjoint ${version} speaks protocol ${protocol}; install the same version everywhere`;

/** What makes all compute alike. */
const ALIKE = "set SYMPLECTIC_ADJOINT_ENGINE or SYMPLECTIC_ADJOINT_REGISTERS to the same for all, see docs/cluster.md";

/** Workers beyond that are not listened to. */
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

  /** Those that get tasks. */
  get suitable(): KnownWorker[] {
    return [...this.#known.values()].filter(({ suits }) => suits);
  }

  /** Those with a thread that has nothing to do, as far as is known; who answered last first. */
  get idle(): KnownWorker[] {
    return this.suitable.filter(({ tasks, threads }) => tasks.length < threads).sort((a, b) => b.answered - a.answered);
  }

  /** A worker has begun a task. */
  busy(worker: string, task: string): void {
    const known = this.#known.get(worker);
    if (known) known.tasks = [...known.tasks, task];
  }

  /** A worker has answered: a part, or all of a task. */
  answered(worker: string, task?: string): void {
    const known = this.#known.get(worker);
    if (!known) return;
    known.seen = known.answered = performance.now();
    known.tasks = known.tasks.filter((own) => own !== task);
  }

  /** Why there are none, in words. */
  get absence(): string {
    const others = [...this.#known.values()];
    if (others.length === 0) return "no worker is there: start some with npx symplectic-adjoint worker";
    const unlike = others.find(({ protocol }) => protocol !== PROTOCOL);
    const there = others.length === 1 ? "1 worker is there, but not" : `${others.length} workers are there, but none`;
    if (unlike) return `${there} of protocol ${PROTOCOL}, which this version speaks: ${versionOf(unlike)}`;
    const engines = [...new Set(others.map(({ engine }) => engine))].slice(0, 5).join("; ");
    return `${there} with the arithmetic of this process (${engines}): ${ALIKE}`;
  }

  /** How many get none. */
  get different(): number {
    return this.#known.size - this.suitable.length;
  }

  /** Hears an announcement; gives what it says, unless it is none. */
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
    this.#known.set(worker, { ...said, suits, seen: performance.now(), answered: before?.answered ?? 0 });
    if (isNew && suits) this.#options.onEvent({ kind: "joined", worker, threads, engine });
    else if (isNew) {
      const reason = isOfProtocol ? `its arithmetic differs: ${ALIKE}` : versionOf(said);
      this.#options.onEvent({ kind: "different", worker, engine, fingerprint, reason });
    }
    return said;
  }

  /** Gives up workers of which nothing was heard for so long. */
  drop(stallMs: number): void {
    const now = performance.now();
    for (const { worker, seen } of this.#known.values()) if (now - seen > stallMs) this.#remove(worker, "lost");
  }

  /** Takes no silence until now for a sign. */
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
