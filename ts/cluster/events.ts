// What clusters and their workers tell of themselves.

/** Something that has happened in a cluster. */
export interface ClusterEvent {
  /**
   * What it is. `joined`: a worker takes part from now on; `left`: it has gone, in order; `lost`: nothing was heard of it for too long;
   * `different`: a worker is there that gets no shards, because its arithmetic is another one. `retry`: a shard is given to somebody again;
   * `refused`: an answer was wrong. `disconnected` and `connected`: the connection to the server was lost, or is there again. `progress`
   * comes once a second while shards are in flight.
   */
  readonly kind:
    | ("joined" | "left" | "lost" | "different")
    | ("retry" | "refused" | "disconnected" | "connected" | "progress");
  /** The name of the worker that it is about, where there is one. */
  readonly worker?: string | undefined;
  /** Of a worker that joins or goes: shards that it computes at a time. */
  readonly threads?: number;
  /** Of a worker that joins, goes or differs: the engine that it computes with, in words. */
  readonly engine?: string;
  /** Of a worker that differs: its arithmetic, which `connect({ arithmetic })` takes. */
  readonly fingerprint?: string;
  /** Of a retry or a refusal: why. */
  readonly reason?: string;
  /** Of a connection: the server. */
  readonly server?: string;
  /** Of progress: how the cluster is doing. */
  readonly status?: ClusterStatus;
}

/** A worker that takes part in a cluster. */
export interface WorkerStatus {
  /** Its name, as in events. */
  readonly name: string;
  /** Shards that it computes at a time. */
  readonly threads: number;
  /** The engine that it computes with, in words. */
  readonly engine: string;
  /** Shards that it has done since it was started, for whomever. */
  readonly done: number;
}

/** How a cluster is doing. */
export interface ClusterStatus {
  /** Workers that take part. */
  readonly workers: readonly WorkerStatus[];
  /** The number of workers that get no shards, because their arithmetic differs. */
  readonly different: number;
  /** Shards that are queued or under way. */
  readonly inFlight: number;
  /** Shards done since the connection was made. */
  readonly done: number;
  /** Shards done in a second, by the last 64; 0 if none was done in the last 10 seconds. */
  readonly shardsPerSecond: number;
  /** How often a shard was given to somebody again. */
  readonly retries: number;
  /** Answers that were wrong. */
  readonly refused: number;
  /** Answers to shards that had been answered already. */
  readonly duplicates: number;
  /** Bytes sent to the server since the connection was made. */
  readonly bytesSent: number;
  /** Bytes received from it. */
  readonly bytesReceived: number;
}

/** Something that has happened in a worker. */
export interface WorkerEvent {
  /**
   * What it is. `done`: a shard was solved or transposed; `failed`: that was not possible; `refused`: a message made no sense, or an answer was not
   * taken. `trial`: a trial of a sweep has ended, at one rung. `disconnected` and `connected`: the connection to the server was lost, or
   * is there again.
   */
  readonly kind: "done" | "failed" | "refused" | "trial" | "disconnected" | "connected";
  /** Of a shard or a trial: how long it took, in milliseconds. */
  readonly ms?: number;
  /** Of a trial: the name of its sweep. */
  readonly sweep?: string;
  /** Of a trial: which one. */
  readonly trial?: number;
  /** Of a failure, a refusal, or a trial that failed: why. */
  readonly message?: string;
  /** Of a connection: the server. */
  readonly server?: string;
}
