// What a cluster tells of itself.

/** What happens in a cluster. */
export type ClusterEvent =
  /** A worker has come, or has gone: `left` in order, `lost` without a word. */
  | {
      readonly kind: "joined" | "left" | "lost";
      readonly worker: string;
      readonly threads: number;
      readonly engine: string;
    }
  /** A worker is there that computes other bits, and gets no tasks. */
  | { readonly kind: "different"; readonly worker: string; readonly engine: string; readonly fingerprint: string }
  /** A task goes into the queue again. */
  | { readonly kind: "retry"; readonly reason: string; readonly worker: string | undefined }
  /** An answer was wrong. */
  | { readonly kind: "refused"; readonly reason: string; readonly worker: string | undefined }
  /** The connection to the server was lost, or is there again. */
  | { readonly kind: "disconnected" | "connected"; readonly server: string };

/** How a cluster is doing. */
export interface ClusterStatus {
  /** Workers that get tasks, by name. */
  readonly workers: readonly {
    readonly name: string;
    readonly threads: number;
    readonly engine: string;
    readonly done: number;
  }[];
  /** Workers that get none, because their arithmetic differs. */
  readonly different: number;
  /** Shards that are queued or under way. */
  readonly inFlight: number;
  /** Shards done since the connection was made. */
  readonly done: number;
  /** Shards that went into the queue again. */
  readonly retries: number;
  /** Answers that were wrong. */
  readonly refused: number;
  /** Right answers that another one had come before. */
  readonly duplicates: number;
  /** Bytes that were sent to the server and came from it, by this connection. */
  readonly bytes: { readonly sent: number; readonly received: number };
}
