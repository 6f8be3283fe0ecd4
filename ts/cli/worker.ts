// symplectic-adjoint worker: a worker of a cluster, until a signal ends it.
import type { JoinOptions, WorkerEvent } from "../cluster.js";
import type { SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { moduleTasks } from "./module-tasks.js";
import { counted } from "./number.js";
import { say } from "./say.js";
import { type ServerRequest, serverOptions } from "./servers.js";
import { SIGNALS, type Signal } from "./signals.js";
import { clearTrialFolders, trainTrial } from "./train-trial.js";

/** The options of the command. */
export interface WorkerCommandRequest extends ServerRequest {
  threads?: number;
  memory?: number;
  trials?: number;
  /** Modules whose functions sweeps may call. */
  module: readonly string[];
  quiet: boolean;
}

/** The throughput is averaged over this time. */
const RECENT_MS = 10_000;

/** Reports a worker on standard error: one line in a terminal, elsewhere a line now and then. */
function reporter(quiet: boolean, threads: () => number) {
  const { isTTY = false } = process.stderr;
  let [done, last, shown, isNew] = [0, 0, false, false];
  const refusals = new Map<string, number>();
  /** When the last shards ended, and how long they took. */
  const recent: { at: number; ms: number }[] = [];
  const start = performance.now();
  const line = () => {
    const now = performance.now();
    while (recent[0] && now - recent[0].at > RECENT_MS) recent.shift();
    const span = Math.min(RECENT_MS, now - start);
    const busy = recent.reduce((sum, { ms }) => sum + ms, 0) / (span * threads());
    const rate = ((1000 * recent.length) / span).toPrecision(3);
    return `${counted(done, "shard")}, ${Number(rate)} a second, busy ${Math.min(100, Math.round(100 * busy))} %`;
  };
  const clear = () => {
    if (!shown) return;
    process.stderr.write("\r\u001b[K");
    [shown, last] = [false, Number.NEGATIVE_INFINITY];
  };
  const show = () => {
    const now = performance.now();
    if (done === 0 || now - last < (isTTY ? 100 : RECENT_MS)) return;
    last = now;
    if (isTTY) process.stderr.write(`\r\u001b[K  ${line()}`);
    else process.stderr.write(`${line()}\n`);
    shown = isTTY;
  };
  // In a terminal the line follows the throughput; elsewhere there is one where shards were done.
  const timer = setInterval(
    () => {
      if (quiet || !(isTTY || isNew)) return;
      isNew = false;
      show();
    },
    isTTY ? 1000 : RECENT_MS,
  );
  timer.unref();
  return (event: WorkerEvent): void => {
    if (event.kind === "done" || event.kind === "failed") {
      done++;
      const at = performance.now();
      recent.push({ at, ms: event.ms ?? 0 });
      isNew = true;
    }
    if (quiet) return;
    if (event.kind !== "done") clear();
    if (event.kind === "failed") say(`a shard failed: ${event.message}`);
    else if (event.kind === "trial") {
      const { sweep, trial, ms = 0, message } = event;
      const told = message === undefined ? `done in ${(ms / 1000).toPrecision(3)} s` : `failed: ${message}`;
      say(`${sweep}: trial ${trial} ${told}`);
    } else if (event.kind === "rejected") {
      // A faulty peer may send nonsense again and again.
      const own = (refusals.get(event.message ?? "") ?? 0) + 1;
      refusals.set(event.message ?? "", own);
      if (Math.log10(own) % 1 === 0) say(`${event.message}${own === 1 ? "" : ` (${own} times)`}`);
    } else if (event.kind === "disconnected") say(`${event.server} is gone; waiting for it`);
    else if (event.kind === "connected") say(`connected to ${event.server}`);
    if (isTTY) show();
  };
}

/** Errors for which retrying is pointless. */
const FINAL = /authori[sz]ation|authentication|certificate|altnames|not offer TLS|max_payload/i;

/** Works until a signal arrives; returns it. */
export async function work(request: WorkerCommandRequest): Promise<Signal | null> {
  const { threads, memory, trials } = request;
  const { join } = await import("../cluster.js");
  const tasks = { train: trainTrial, ...(await moduleTasks(request.module)) };
  const server = await serverOptions(request);
  if (!request.quiet) say(`connecting to ${server.servers.join(", ")} …`);
  // A signal may arrive while the worker waits for its server.
  let caught: Signal | null = null;
  let worker: Awaited<ReturnType<typeof join>> | undefined;
  for (const signal of Object.keys(SIGNALS) as Signal[]) {
    process.on(signal, () => {
      // A second signal exits at once.
      if (caught !== null || !worker) process.exit(SIGNALS[signal]);
      caught = signal;
      if (!request.quiet) say("finishing the shards in progress …");
      worker.close();
    });
  }
  const options: JoinOptions = {
    ...server,
    tasks,
    ...(trials !== undefined && { trials }),
    ...(threads !== undefined && { threads }),
    ...(memory !== undefined && { memoryBudget: memory * 2 ** 20 }),
    onEvent: reporter(request.quiet, () => worker?.threads ?? 1),
  };
  clearTrialFolders();
  const told = new Set<string>();
  while (!worker) {
    try {
      worker = await join(options);
    } catch (error) {
      const { code, message } = error as SymplecticAdjointError;
      if (code === "OPTION") throw new Failure(`--${message}`, 2);
      if (code !== "CONNECTION" || FINAL.test(message)) throw error;
      // A worker may be started before its server.
      if (!told.has(message)) say(`still trying: ${message}`);
      told.add(message);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  if (!request.quiet) {
    say(`worker ${worker.name}: ${counted(worker.threads, "thread")}, arithmetic ${worker.fingerprint}`);
    say(`sweep tasks: ${Object.keys(tasks).join(", ")}`);
  }
  await worker.closed;
  return caught;
}
