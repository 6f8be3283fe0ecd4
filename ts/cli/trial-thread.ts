// The thread of a trial: calls a function of a worker's own module.
import { parentPort, workerData } from "node:worker_threads";
import type { Trial, TrialFunction, TrialOutcome } from "../cluster.js";

export type TrialReply = { readonly outcome: TrialOutcome } | { readonly message: string };

const exported = import(workerData as string) as Promise<Record<string, TrialFunction>>;
// The first trial reports the error.
exported.catch(() => {});

parentPort?.on("message", async ({ name, trial }: { name: string; trial: Omit<Trial, "signal"> }) => {
  let reply: TrialReply;
  try {
    const run = (await exported)[name] as TrialFunction;
    // Threads that are no longer needed are terminated.
    const outcome = await run({ ...trial, signal: new AbortController().signal });
    reply = { outcome: typeof outcome === "object" ? outcome : { value: outcome } };
  } catch (error) {
    reply = { message: error instanceof Error ? error.message : String(error) };
  }
  try {
    parentPort?.postMessage(reply);
  } catch (error) {
    parentPort?.postMessage({ message: `its result cannot leave the thread: ${(error as Error).message}` });
  }
});
