// Events and status of clusters and workers.

/** Something that has happened in a cluster. */
export interface ClusterEvent {
  /**
   * What happened. `joined`: a worker takes part from now on; `left`: it has left in good order; `lost`: it gave no sign of life for too
   * long; `different`: a worker gets no shards, because its arithmetic or its version differs. `retry`: a shard is tried again; `rejected`:
   * an answer was wrong. `waiting`: shards have waited for some seconds, because no matching worker is connected, or none takes them; this
   * is reported once, and without `onEvent` as a warning on the console. `disconnected` and `connected`: the connection to the server was
   * lost or restored. `progress`: once a second while shards are in flight.
   */
  readonly kind:
    | ("joined" | "left" | "lost" | "different")
    | ("retry" | "rejected" | "waiting" | "disconnected" | "connected" | "progress");
  /** The name of the worker concerned, if there is one. */
  readonly worker?: string | undefined;
  /** How many shards the worker computes at a time; with `joined`, `left` and `lost`. */
  readonly threads?: number;
  /** The engine that the worker computes with, in words; with `joined`, `left`, `lost` and `different`. */
  readonly engine?: string;
  /** The fingerprint of the worker's arithmetic, which `connect({ arithmetic })` takes; with `different`. */
  readonly fingerprint?: string;
  /**
   * Why a shard is tried again, an answer was rejected, shards wait, or a worker gets none; with `retry`, `rejected`, `waiting`, `different`.
   */
  readonly reason?: string;
  /** The address of the NATS server; with `disconnected` and `connected`. */
  readonly server?: string;
  /** How the cluster is doing; with `progress`. */
  readonly status?: ClusterStatus;
}

/** A worker that takes part in a cluster. */
export interface WorkerStatus {
  /** The name of the worker, as in events. */
  readonly name: string;
  /** How many shards the worker computes at a time. */
  readonly threads: number;
  /** The engine that the worker computes with, in words. */
  readonly engine: string;
  /** How many shards the worker has done since it was started, for this cluster and others. */
  readonly done: number;
}

/** How a cluster is doing. */
export interface ClusterStatus {
  /** The workers that take part. */
  readonly workers: readonly WorkerStatus[];
  /** The number of workers that get no shards, because their arithmetic or their version differs. */
  readonly different: number;
  /** How many shards are queued or in progress. */
  readonly inFlight: number;
  /** How many shards were done since the connection was made. */
  readonly done: number;
  /** Shards done per second, measured over the last 64; 0 if none was done in the last 10 seconds. */
  readonly shardsPerSecond: number;
  /** How often a shard was tried again. */
  readonly retries: number;
  /** How many answers of workers were wrong and rejected. */
  readonly rejected: number;
  /** How many answers came for shards that already had one. */
  readonly duplicates: number;
  /** Bytes sent to the server since the connection was made. */
  readonly bytesSent: number;
  /** Bytes received from the server since the connection was made. */
  readonly bytesReceived: number;
}

/** Something that has happened in a worker. */
export interface WorkerEvent {
  /**
   * What happened. `done`: a shard was solved or transposed; `failed`: a shard could not be solved or transposed; `rejected`: a message was
   * invalid, or an answer was rejected. `trial`: a trial of a sweep has ended, at one rung. `disconnected` and `connected`: the connection
   * to the server was lost or restored.
   */
  readonly kind: "done" | "failed" | "rejected" | "trial" | "disconnected" | "connected";
  /** How long the shard or the trial took, in milliseconds; with `done`, `failed` and `trial`. */
  readonly ms?: number;
  /** The name of the sweep; with `trial`. */
  readonly sweep?: string;
  /** The number of the trial within its sweep, from 0; with `trial`. */
  readonly trial?: number;
  /** Why a shard or a trial failed, or what was rejected; with `failed`, `trial` and `rejected`. */
  readonly message?: string;
  /** The address of the NATS server; with `disconnected` and `connected`. */
  readonly server?: string;
}
