// The cluster of a command: its workers do the solves, and the command tells how they are doing.
import type { Cluster, ClusterEvent, ClusterStatus } from "../cluster.js";
import { SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { counted } from "./number.js";
import { type ServerRequest, serverOptions, serverOptionsIn } from "./servers.js";

/** Workers that are there answer sooner than that. */
const ANSWER_MS = 1000;

/** What is told of a cluster. */
export interface ClusterProgress {
  /** How its workers are doing. */
  workers(text: string): void;
  /** A line by itself. */
  note(text: string): void;
}

/** A cluster that a command has connected to. */
export interface CommandCluster {
  readonly pool: Cluster;
  /** Tells how the cluster is doing. */
  tell(): void;
}

/** Connects to the servers, and waits for the first worker, or until the signal aborts. */
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
    // Many workers may have the same reason.
    if (text !== undefined && !(event.kind === "different" && told.has(text))) progress.note(text);
    if (text !== undefined) told.add(text);
    // Those of the last look: between two steps nothing is in flight.
    inFlight = event.status?.inFlight ?? inFlight;
    tell();
  };
  try {
    pool = await connect({ ...serverOptions(request), onEvent });
  } catch (error) {
    const isOption = error instanceof SymplecticAdjointError && error.code === "OPTION";
    throw isOption ? new Failure(`--${error.message}`, 2) : error;
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

/** The command that starts a worker; passwords in addresses are not repeated. */
function startingWorkers(request: ServerRequest): string {
  const servers = serverOptions(request).servers.map((address) => address.replace(/\/\/.*@/, "//"));
  const prefix = request.prefix === undefined ? "" : ` --prefix ${request.prefix}`;
  const others = serverOptionsIn(request).some((option) => option !== "--prefix");
  return `npx symplectic-adjoint worker --servers ${servers.join(",")}${prefix}${others ? ", and the credentials of workers" : ""}`;
}

/** Refuses options of servers where no servers are named. */
export function checkServers(request: ServerRequest): void {
  const [unused] = serverOptionsIn(request);
  if (request.servers === undefined && unused !== undefined) {
    throw new Failure(`${unused}: expected --servers as well`, 2);
  }
}
