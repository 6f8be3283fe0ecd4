// A worker of a cluster, until a signal ends it.
import type { WorkerEvent } from "../cluster.js";
import type { SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { moduleTasks } from "./module-tasks.js";
import { say } from "./say.js";
import { type ServerRequest, serverOptions } from "./servers.js";
import { SIGNALS, type Signal } from "./signals.js";
import { trainTrial } from "./train-trial.js";

/** What the command was given. */
export interface WorkerRequest extends ServerRequest {
  threads?: number;
  memory?: number;
  trials?: number;
  /** Files of modules whose functions sweeps may call. */
  module: readonly string[];
  quiet: boolean;
}

/** Tells of a worker on standard error: in a terminal in one line, elsewhere once in a while. */
function reporter(quiet: boolean) {
  const { isTTY = false } = process.stderr;
  const start = performance.now();
  let [done, busy, last, shown] = [0, 0, 0, false];
  const line = () => {
    const seconds = (performance.now() - start) / 1000;
    return `${done} shards, ${(done / seconds).toPrecision(3)} a second, busy ${Math.round(busy / seconds / 10)} %`;
  };
  const clear = () => {
    if (shown) process.stderr.write("\r\u001b[K");
    shown = false;
  };
  return (event: WorkerEvent): void => {
    if (event.kind === "done" || event.kind === "failed") {
      done++;
      busy += event.ms ?? 0;
    }
    if (quiet) return;
    clear();
    if (event.kind === "failed") say(`a shard failed: ${event.message}`);
    else if (event.kind === "trial") {
      const { sweep, trial, ms = 0, message } = event;
      const told = message === undefined ? `done in ${(ms / 1000).toPrecision(3)} s` : `failed: ${message}`;
      say(`${sweep}: trial ${trial} ${told}`);
    } else if (event.kind === "refused") say(event.message ?? "");
    else if (event.kind === "disconnected") say(`${event.server} is gone; waiting for it`);
    else if (event.kind === "connected") say(`connected to ${event.server}`);
    const now = performance.now();
    if (event.kind !== "done" || now - last < (isTTY ? 100 : 10_000)) return;
    last = now;
    process.stderr.write(isTTY ? `  ${line()}` : `${line()}\n`);
    shown = isTTY;
  };
}

/** Works until a signal comes; gives the signal. */
export async function work(request: WorkerRequest): Promise<Signal | null> {
  const { threads, memory, trials } = request;
  const { join } = await import("../cluster.js");
  const tasks = { train: trainTrial, ...(await moduleTasks(request.module)) };
  // A worker may be started before its server.
  const server = serverOptions(request, { waitOnFirstConnect: true });
  if (!request.quiet) say(`connecting to ${server.servers.join(", ")} …`);
  // A signal may come while it waits for its server.
  let caught: Signal | null = null;
  let worker: Awaited<ReturnType<typeof join>> | undefined;
  for (const signal of Object.keys(SIGNALS) as Signal[]) {
    process.on(signal, () => {
      // A second one does not wait.
      if (caught !== null || !worker) process.exit(SIGNALS[signal]);
      caught = signal;
      if (!request.quiet) say("finishing the shards in progress …");
      worker.close();
    });
  }
  try {
    worker = await join({
      ...server,
      tasks,
      ...(trials !== undefined && { trials }),
      ...(threads !== undefined && { threads }),
      ...(memory !== undefined && { memoryBudget: memory * 2 ** 20 }),
      onEvent: reporter(request.quiet),
    });
  } catch (error) {
    if ((error as SymplecticAdjointError).code !== "OPTION") throw error;
    throw new Failure(`--${(error as Error).message}`, 2);
  }
  if (!request.quiet) {
    say(`worker ${worker.name}: ${worker.threads} threads, arithmetic ${worker.fingerprint}`);
    say(`sweep tasks: ${Object.keys(tasks).join(", ")}`);
  }
  await worker.closed;
  return caught;
}
