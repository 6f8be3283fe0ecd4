// Connects a command to a cluster and reports on its workers.
import type { Cluster, ClusterEvent, ClusterStatus } from "../cluster.js";
import { SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { counted } from "./number.js";
import { type ServerRequest, serverOptions, serversOf } from "./servers.js";

/** How long connected workers may take to answer. */
const ANSWER_MS = 1000;

/** Where reports go. */
export interface ClusterProgress {
  /** Shows the state of the workers in the progress line. */
  workers(text: string): void;
  /** Prints a line. */
  note(text: string): void;
}

/** The cluster of a command. */
export interface CommandCluster {
  readonly pool: Cluster;
  /** Updates the state of the workers. */
  tell(): void;
}

/** Connects, and waits for the first worker or for the signal. */
export async function connectWorkers(
  request: ServerRequest,
  progress: ClusterProgress,
  signal: AbortSignal,
): Promise<CommandCluster> {
  const { connect } = await import("../cluster.js");
  const told = new Set<string>();
  let pool: Cluster | undefined;
  let inFlight = 0;
  let joined = () => {};
  const first = new Promise<void>((resolve) => {
    joined = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const tell = () => pool && progress.workers(lineOf({ ...pool.status, inFlight }));
  const onEvent = (event: ClusterEvent): void => {
    if (event.kind === "joined") joined();
    const text = noteOf(event);
    // Many workers may have the same reason: print it once.
    if (text !== undefined && !(event.kind === "different" && told.has(text))) progress.note(text);
    if (text !== undefined) told.add(text);
    // The last status with shards in flight: between two steps there are none.
    inFlight = event.status?.inFlight ?? inFlight;
    tell();
  };
  try {
    pool = await connect({ ...(await serverOptions(request)), onEvent });
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError) || error.argument === undefined) throw error;
    throw new Failure(`--${error.message}`, error.code === "OPTION" ? 2 : 1);
  }
  const late = () => progress.note(`no worker takes part yet; start some with: ${startingWorkers(request)}`);
  const timer = setTimeout(late, ANSWER_MS);
  if (!signal.aborted) await first;
  clearTimeout(timer);
  return { pool, tell };
}

function noteOf({ kind, worker, engine, reason, server }: ClusterEvent): string | undefined {
  if (kind === "waiting") return reason;
  if (kind === "lost") return `worker ${worker} is lost; others do its shards`;
  if (kind === "different") return `a worker gets no shards (${engine}): ${reason}`;
  if (kind === "rejected") return `rejected an answer of ${worker ?? "a worker"}: ${reason}`;
  if (kind === "disconnected") return `${server} is gone; waiting for it`;
  return kind === "connected" ? `connected to ${server}` : undefined;
}

function lineOf({ workers, shardsPerSecond, inFlight, retries }: ClusterStatus): string {
  const again = retries === 0 ? "" : `, ${retries} retried`;
  return `${counted(workers.length, "worker")}, ${Number(shardsPerSecond.toPrecision(2))} shards/s, ${inFlight} in flight${again}`;
}

/** The command that starts a worker, without passwords from addresses. */
export function startingWorkers(request: ServerRequest): string {
  const servers = serversOf(request).map((address) => address.replace(/\/\/.*@/, "//"));
  const prefix = request.prefix === undefined ? "" : ` --prefix ${request.prefix}`;
  const { servers: _, prefix: __, ...others } = request;
  const isLimited = Object.values(others).some((value) => value !== undefined);
  return `npx symplectic-adjoint worker --servers ${servers.join(",")}${prefix}${isLimited ? ", and the credentials of workers" : ""}`;
}
