// A thread of a worker: it has its own engine, and computes one task at a time.
import { SymplecticAdjointError } from "../checks/errors.js";
import type { EngineSource } from "../engine/engine.js";
import { adoptEngine } from "../engine/instance.js";
import { builtin } from "../engine/node.js";
import { failureOf } from "./failures.js";
import type { TaskFailure } from "./messages.js";
import { fingerprintOf } from "./probe.js";
import { Work } from "./work.js";

export type ThreadRequest =
  | { readonly kind: "start"; readonly engine: EngineSource; readonly memory: number }
  | {
      readonly kind: "task";
      readonly body: Uint8Array;
      readonly values: readonly Uint8Array[];
      readonly session: string;
    };

export type ThreadReply = { readonly id: number } & (
  | { readonly value: unknown }
  /** `forgotten`: the earlier solve was evicted. */
  | { readonly failure: TaskFailure | "forgotten" }
);

/** The message port to the worker, in any runtime. */
interface ParentPort {
  postMessage(reply: ThreadReply, transfer: ArrayBuffer[]): void;
}

let work = new Work(0);

async function answerTo(request: ThreadRequest): Promise<unknown> {
  if (request.kind === "task") return work.do(request.body, request.values, request.session);
  await adoptEngine(request.engine);
  work = new Work(request.memory);
  return fingerprintOf();
}

async function answer(port: ParentPort, { id, request }: { id: number; request: ThreadRequest }): Promise<void> {
  try {
    const value = await answerTo(request);
    port.postMessage({ id, value }, value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : []);
  } catch (error) {
    const lost = error instanceof SymplecticAdjointError && error.code === "INTERNAL";
    if (lost) work.forget();
    port.postMessage({ id, failure: failureOf(error) }, []);
  }
}

const scope = globalThis as unknown as ParentPort & { addEventListener?: (name: string, listener: object) => void };
if (typeof scope.postMessage === "function" && typeof scope.addEventListener === "function") {
  scope.addEventListener("message", ({ data }: { data: { id: number; request: ThreadRequest } }) =>
    answer(scope, data),
  );
} else {
  type NodePort = ParentPort & {
    on(name: string, listener: (data: { id: number; request: ThreadRequest }) => void): void;
  };
  builtin<{ parentPort: NodePort }>("node:worker_threads").then(({ parentPort }) => {
    parentPort.on("message", (data) => answer(parentPort, data));
  });
}
