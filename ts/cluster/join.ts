// A worker of a cluster: in Node, Deno and Bun, or in a browser tab.
import {
  address,
  callable,
  finitePositive,
  isObject,
  options as readOptions,
  rule,
  threadCount,
} from "../checks/rules.js";
import { engine, sourceInUse } from "../engine/instance.js";
import { cores } from "../parallel/threads.js";
import { connectClient, type ServerOptions, serverRules } from "./client.js";
import type { WorkerEvent } from "./events.js";
import { isToken } from "./messages.js";
import { serve } from "./serve.js";
import { serveTrials } from "./serve-trials.js";
import { ComputeThreads } from "./threads.js";
import type { TrialFunction } from "./trials.js";

// The version and the source of thread.ts, inserted by the build.
declare const VERSION: string;
declare const CLUSTER_THREAD_SOURCE: string;

/** Options of a worker: threads, memory, and tasks for sweeps. */
export interface JoinOptions extends ServerOptions {
  /** Shards computed at a time, each in its own thread, 1 to 1024; default: the number of cores. */
  threads?: number | undefined;
  /** Bytes that all threads together may keep for solves whose gradients may follow; default 1 GiB. Solves beyond that are repeated. */
  memoryBudget?: number | undefined;
  /**
   * Where the source of the threads is, for pages whose Content-Security-Policy forbids workers from `blob:`; the package has it as
   * `symplectic-adjoint/cluster-worker.js`.
   */
  workerUrl?: string | { readonly href: string } | undefined;
  /**
   * The functions that sweeps may run on this worker, by the names that `sweep` uses: 1 to 64 letters, digits, - and _. Nothing else is
   * ever run for a sweep, and no code comes over the network. Default: none.
   */
  tasks?: Readonly<Record<string, TrialFunction>> | undefined;
  /** Trials of sweeps that run at a time, 1 to 1024; default `threads`. */
  trials?: number | undefined;
  /** Called when a shard or a trial is done, or the connection is lost; see `WorkerEvent`. */
  onEvent?: ((event: WorkerEvent) => void) | undefined;
}

/** A worker of a cluster. */
export interface ClusterWorker {
  /** The name of the worker in the events of the cluster. */
  readonly name: string;
  /** The fingerprint of the worker's arithmetic: workers with the same one compute the same bits. */
  readonly fingerprint: string;
  /** How many shards the worker computes at a time. */
  readonly threads: number;
  /** Settles when the worker has ended; rejects if it did not end by `close`. */
  readonly closed: Promise<void>;
  /** Finishes the shards in progress, and leaves. */
  close(): Promise<void>;
}

const isTasks = (value: unknown) =>
  isObject(value) &&
  Object.entries(value).every(([name, run]) => isToken(name) && typeof run === "function") &&
  Object.keys(value).length <= 64;
const joinRules = {
  ...serverRules,
  threads: threadCount,
  trials: threadCount,
  tasks: rule<Readonly<Record<string, TrialFunction>>>(
    "at most 64 functions by names of 1 to 64 letters, digits, - and _",
    isTasks,
  ),
  memoryBudget: finitePositive,
  workerUrl: address,
  onEvent: callable<(event: WorkerEvent) => void>(),
};

/**
 * Starts a worker for anyone who connects to the same servers: until `close`, it takes shards, solves them, and answers.
 *
 * @throws `OPTION` for invalid options; `CONNECTION` if no server is reached; `WORKER` if a thread cannot be started; `UNSUPPORTED`
 * without the packages `@nats-io/…`.
 */
export async function join(options: JoinOptions = {}): Promise<ClusterWorker> {
  const read = readOptions(options, joinRules);
  const { threads: wanted, memoryBudget = 2 ** 30, workerUrl, tasks, trials, onEvent, ...server } = read;
  const threads = wanted ?? (await cores());
  const source = await sourceInUse();
  const { kind, simd, registerBits } = engine();
  const url = typeof workerUrl === "object" ? workerUrl.href : workerUrl;
  const memory = Math.floor(memoryBudget / threads);
  // Replies use a subject of their own, so that permissions can tell workers from coordinators.
  const own = { inboxPrefix: `_INBOX_${server.prefix}`, ...server.client };
  const client = await connectClient({ ...server, client: own, name: "symplectic-adjoint worker" });
  const computing = new ComputeThreads({ threads, engine: source, memory, source: CLUSTER_THREAD_SOURCE, url });
  try {
    const fingerprint = await computing.start();
    const known = new Map(Object.entries(tasks ?? {}));
    const served = await serve(client, {
      fingerprint,
      trials: [...known.keys()],
      engine: kind === "native" ? `native, ${registerBits} bits` : (simd as string),
      version: VERSION,
      threads,
      valueBytes: Math.max(2 ** 28, memoryBudget / 4),
      compute: (body, values, session) => computing.do(body, values, session),
      ...(onEvent && { onEvent }),
    });
    const most = Math.max(2 ** 28, memoryBudget / 4);
    const trying =
      known.size > 0
        ? serveTrials(client, {
            ...{ name: served.name, tasks: known, parallel: trials ?? threads, most },
            onEvent: onEvent ?? (() => {}),
          })
        : undefined;
    const close = async () => {
      // Give trials back: they may take hours.
      await trying?.close();
      await served.close();
    };
    const closed = served.ended.finally(() => {
      computing.end();
      trying?.close();
    });
    closed.catch(() => {});
    return Object.freeze({ name: served.name, fingerprint, threads, closed, close });
  } catch (error) {
    computing.end();
    await client.connection.close().catch(() => {});
    throw error;
  }
}
