// The queue of a sweep whose trials run in this process.

import type { SweepHead } from "./definitions.js";
import { runTrial } from "./run-trial.js";
import type { QueueListener, TrialQueue } from "./sweep-queue.js";
import { jobKey, type OwnJob, type TrialFunction } from "./trials.js";

/** Runs `parallel` trials at a time. */
export function openLocal(run: TrialFunction, parallel: number, head: SweepHead, listener: QueueListener): TrialQueue {
  const waiting: OwnJob[] = [];
  const states = new Map<string, Uint8Array>();
  /** Controllers of the running trials. */
  const stops = new Set<AbortController>();
  let closed = false;

  async function work(job: OwnJob): Promise<void> {
    const { trial, rung, parameters, budget, seed } = job;
    const { settings, files: shared } = head.shared;
    const files = Object.fromEntries(Object.entries(shared).map(([name, bytes]) => [name, new Uint8Array(bytes)]));
    const state = states.get(jobKey({ trial, rung: rung - 1 }));
    const stop = new AbortController();
    stops.add(stop);
    try {
      const given = { sweep: head.name, trial, parameters, budget, seed, settings, files, state };
      const { stateBytes, ...ended } = await runTrial(run, given, head.timeout, stop);
      stops.delete(stop);
      if (stateBytes) states.set(jobKey(job), new Uint8Array(stateBytes));
      const pieces = stateBytes && { chunks: 1, bytes: stateBytes.length, attempt: "here" };
      listener.report({ ...ended, trial, rung, worker: "here", state: pieces });
    } catch {
      // The sweep has ended.
      return;
    }
    next();
  }

  function next(): void {
    while (!closed && stops.size < parallel && waiting.length > 0) work(waiting.shift() as OwnJob);
    const running = stops.size;
    const queue = { open: waiting.length + running, running, idle: running < parallel };
    if (!closed) listener.state({ ...queue, retried: 0, workers: 1, absence: undefined });
  }

  return {
    async put(jobs) {
      waiting.push(...jobs);
      next();
    },
    stateOf: async (report) => states.get(jobKey(report)),
    dropState: (report) => void states.delete(jobKey(report)),
    dropOtherStates: () => {},
    async close() {
      closed = true;
      for (const stop of stops) stop.abort(new Error("the sweep has ended"));
    },
  };
}
