// The thread that fits, while the main thread handles signals.
import { parentPort, workerData } from "node:worker_threads";
import type { Curve, FitProgress, Profile } from "../index.js";
import { Failure, failureOf } from "./failure.js";
import { type FitNumbers, type RunRequest, runFit } from "./fit-run.js";

/** Messages of the thread. */
export type Message =
  | { readonly kind: "iteration"; readonly progress: FitProgress }
  | { readonly kind: "result"; readonly result: FitNumbers }
  | { readonly kind: "curves"; readonly curves: readonly Curve[] }
  | { readonly kind: "profiling"; readonly name: string }
  | { readonly kind: "profile"; readonly profile: Profile }
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "workers"; readonly text: string }
  | { readonly kind: "failure"; readonly message: string; readonly status: number; readonly code: string | undefined };

/** The input of the thread; `stop` holds a number that is not 0 once the fit is to end. */
export interface FitWorkerRequest extends RunRequest {
  readonly stop: SharedArrayBuffer;
}

const { stop, ...request } = workerData as FitWorkerRequest;
const flag = new Int32Array(stop);
const say = (message: Message) => parentPort?.postMessage(message);
const goesOn = () => Atomics.load(flag, 0) === 0;

try {
  await runFit(request, {
    goesOn,
    iteration(progress) {
      say({ kind: "iteration", progress });
      return goesOn();
    },
    result: (result) => say({ kind: "result", result }),
    curves: (curves) => say({ kind: "curves", curves }),
    profiling: (name) => say({ kind: "profiling", name }),
    profile: (profile) => say({ kind: "profile", profile }),
    note: (text) => say({ kind: "note", text }),
    workers: (text) => say({ kind: "workers", text }),
  });
} catch (error) {
  const failure = failureOf(error);
  // An internal error keeps its stack.
  if (!(failure instanceof Failure)) throw error;
  say({ kind: "failure", message: failure.message, status: failure.status, code: (error as { code?: string }).code });
}
