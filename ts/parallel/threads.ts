// Workers as a pool sees them, in any runtime.

import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import { builtin } from "../engine/node.js";

let defaultWorker: () => string | URL = () => "";

/** Hands over the worker that an entry has: the source of one, or the address of its file. */
export function setWorkerSource(worker: () => string | URL): void {
  defaultWorker = worker;
}

/** A worker: what it says goes to `receive`, its end to `die`. */
export interface Thread {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  /** Sets whether the worker keeps the process alive. */
  hold(held: boolean): void;
  end(): void;
}

export interface ThreadListener {
  receive(message: unknown): void;
  die(reason: unknown): void;
}

interface WebWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  terminate(): void;
  addEventListener(
    name: string,
    listener: (event: { data?: unknown; message?: string; error?: unknown }) => void,
  ): void;
  ref?(): void;
  unref?(): void;
}

interface NodeWorker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  terminate(): Promise<unknown>;
  on(name: string, listener: (value: unknown) => void): void;
  ref(): void;
  unref(): void;
}

const globals = globalThis as unknown as {
  Worker?: new (url: string | URL, options: object) => WebWorker;
  process?: { versions?: { node?: string; bun?: string } };
  navigator?: { hardwareConcurrency?: number };
  location?: { href: string };
};

// Node's own worker, except in Bun, which has the web's as well.
const node = globals.process?.versions?.node !== undefined && globals.Worker === undefined;

/** Cores that this machine offers. */
export async function cores(): Promise<number> {
  const known = globals.navigator?.hardwareConcurrency;
  if (known) return known;
  if (!node) return 1;
  return (await builtin<{ availableParallelism(): number }>("node:os")).availableParallelism();
}

/** Starts a worker: from a URL if given, else from a source, that of the pool's worker by default. */
export async function startThread(
  url: string | undefined,
  listener: ThreadListener,
  source: () => string | URL = defaultWorker,
): Promise<Thread> {
  if (!node && !globals.Worker) {
    const message = "this runtime has no Worker, as in service workers and edge functions; solve without a pool";
    throw new SymplecticAdjointError("UNSUPPORTED", message);
  }
  try {
    const worker = url === undefined ? source() : new URL(url, globals.location?.href);
    return node ? await startNode(worker, listener) : startWeb(worker, listener);
  } catch (cause) {
    throw notStarted(cause, url);
  }
}

/** The error of a worker that does not start. */
export function notStarted(cause: unknown, url: string | undefined): SymplecticAdjointError {
  const text = textOf(cause ?? "no reason given");
  const hint =
    url === undefined
      ? "if a Content-Security-Policy forbids workers from blob:, or the bundler left out the slim entry's worker, serve symplectic-adjoint/worker.js and pass its address as workerUrl"
      : `is the package's worker.js at ${url}?`;
  return new SymplecticAdjointError("WORKER", `a worker could not be started: ${text}; ${hint}`, {}, { cause });
}

async function startNode(carried: string | URL, { receive, die }: ThreadListener): Promise<Thread> {
  const { Worker } = await builtin<{ Worker: new (source: string | URL, options: object) => NodeWorker }>(
    "node:worker_threads",
  );
  // Flags as --input-type, which this process may have been started with, are not for files.
  const worker =
    typeof carried === "string" ? new Worker(carried, { eval: true }) : new Worker(carried, { execArgv: [] });
  // Node aborts the process where a worker is terminated while its module fails. One that has not yet said anything may be
  // about to fail: it is terminated with its first word, or ends by itself.
  let [heard, ended] = [false, false];
  worker.on("message", (message) => {
    const isFirst = !heard;
    heard = true;
    if (!ended) receive(message);
    else if (isFirst) void worker.terminate();
  });
  worker.on("error", die);
  worker.on("messageerror", die);
  worker.on("exit", (code) => die(new Error(`it ended with code ${code}`)));
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    end: () => {
      ended = true;
      if (heard) void worker.terminate();
      else worker.unref();
    },
  };
}

function startWeb(carried: string | URL, { receive, die }: ThreadListener): Thread {
  const blob = typeof carried === "string" && URL.createObjectURL(new Blob([carried], { type: "text/javascript" }));
  const address = blob || carried;
  // A classic one: where a page has no origin, as from file: and in a sandboxed frame, modules are not loaded from blob:.
  const Worker = globals.Worker as NonNullable<typeof globals.Worker>;
  const worker = new Worker(address, { type: "Deno" in globals ? "module" : "classic" });
  worker.addEventListener("message", ({ data }) => {
    if (blob) URL.revokeObjectURL(blob);
    receive(data);
  });
  worker.addEventListener("error", (event) => die(event.error ?? new Error(event.message || "it failed to load")));
  worker.addEventListener("messageerror", () => die(new Error("a message could not be read")));
  // Bun emits `close` if a worker ends unexpectedly.
  worker.addEventListener("close", () => die(new Error("it ended")));
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: (held) => (held ? worker.ref?.() : worker.unref?.()),
    end: () => worker.terminate(),
  };
}
