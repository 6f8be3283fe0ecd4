// What runs in a worker: parts of batches are solved here, and their gradients taken.

import type { Dtype } from "../checks/arrays.js";
import { SymplecticAdjointError } from "../checks/errors.js";
import { adoptEngine } from "../engine/instance.js";
import { builtin } from "../engine/node.js";
import type { WasmField } from "../fields/field.js";
import { fieldOf } from "../fields/registry.js";
import { EnsembleSolve } from "../solve/ensemble.js";
import { EnsembleJvp } from "../solve/ensemble-jvp.js";
import { Recording } from "../solve/gradient.js";
import { solve } from "../solve/odeint.js";
import { abort, SharedSums } from "./all-reduce.js";
import type { Answers, EnsembleJob, JvpJob, PoolJob, Reply, Request, WorkerFailure } from "./protocol.js";

/** The message port to the pool, in any runtime. */
interface Port {
  postMessage(reply: Reply, transfer: ArrayBuffer[]): void;
}

const solves = new Map<number, Recording<Dtype>>();
const ensembles = new Map<number, EnsembleSolve<Dtype>>();
/** Fields by their recipes, the one used last at the end. */
const fields = new Map<string, WasmField<Dtype>>();
/** How many fields are kept: enough for the blocks of a multi-block flow. */
const KEPT = 8;

/** The field with these parameters; one is made for each recipe, and freed when as many others have been used since. */
function preparedField({ recipe, parameters, state, firstSample }: PoolJob | EnsembleJob | JvpJob): WasmField<Dtype> {
  const key = JSON.stringify(recipe);
  const field = fields.get(key) ?? fieldOf(recipe);
  fields.delete(key);
  fields.set(key, field);
  for (const [other, unused] of [...fields].slice(0, -KEPT)) {
    // Recorded solves have all that they need themselves.
    unused.dispose();
    fields.delete(other);
  }
  field.parameters = parameters;
  field.restore(state, firstSample);
  return field;
}

/** Solves this part of a batch; a failure here makes the other parts fail too. */
function together<R>(job: PoolJob, body: (field: WasmField<Dtype>, allReduce: SharedSums | undefined) => R): R {
  const { sums } = job.part;
  let allReduce: SharedSums | undefined;
  try {
    const field = preparedField(job);
    allReduce = sums && new SharedSums(field.use().engine, job.part, sums);
    return body(field, allReduce);
  } catch (error) {
    if (sums) abort(sums);
    throw allReduce?.broken ? new OtherPartFailed() : error;
  }
}

/** Only that another part has failed. */
class OtherPartFailed extends Error {}

const answers: {
  [K in Request["kind"]]: (request: Extract<Request, { kind: K }>, id: number) => Answers[K] | Promise<Answers[K]>;
} = {
  async start({ engine }) {
    await adoptEngine(engine);
    return undefined;
  },
  odeint: (job) => together(job, (field, allReduce) => solve(field, job.y0, job.times, job.options, allReduce)),
  vjp: (job, id) =>
    together(job, (field, allReduce) => {
      const recording = new Recording(field, job.y0, job.times, job.options, allReduce);
      solves.set(id, recording);
      return recording.solution();
    }),
  ensemble(job, id) {
    const solve = new EnsembleSolve(preparedField(job), job.problem, job.keep);
    const result = solve.result();
    if (job.keep) ensembles.set(id, solve);
    else solve.dispose();
    return result;
  },
  jvp(job) {
    const solve = new EnsembleJvp(preparedField(job), job, { keep: false, caller: "jvp" });
    try {
      return solve.result();
    } finally {
      solve.dispose();
    }
  },
  transpose: ({ solve, cotangents }) => kept(ensembles.get(solve)).pullback(cotangents),
  pullback: ({ solve, cotangent }) => kept(solves.get(solve)).pullback(cotangent),
  release({ solve }) {
    for (const all of [solves, ensembles]) {
      all.get(solve)?.dispose();
      all.delete(solve);
    }
    return undefined;
  },
};

function kept<S>(solve: S | undefined): S {
  if (!solve) throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
  return solve;
}

function failureOf(error: unknown): WorkerFailure {
  if (error instanceof SymplecticAdjointError) {
    const { code, message, argument, expected, given, t, h, steps, evaluations, trajectory, bytes } = error;
    const all = { argument, expected, given, t, h, steps, evaluations, trajectory, bytes };
    const details = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    return { code, message, details, isSecondary: false };
  }
  return { code: "INTERNAL", message: String(error), details: {}, isSecondary: error instanceof OtherPartFailed };
}

/** The arrays within an answer, to be handed over and not copied. */
function buffersOf(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return [value.buffer as ArrayBuffer];
  if (value === null || typeof value !== "object") return [];
  return Object.values(value).flatMap(buffersOf);
}

async function answer(port: Port, { id, request }: { id: number; request: Request }): Promise<void> {
  try {
    const value = await answers[request.kind](request as never, id);
    port.postMessage({ id, value }, buffersOf(value));
  } catch (error) {
    // Lost with the instance.
    if (error instanceof SymplecticAdjointError && error.code === "INTERNAL") fields.clear();
    port.postMessage({ id, failure: failureOf(error) }, []);
  }
}

const scope = globalThis as unknown as Port & { addEventListener?: (name: string, listener: object) => void };
if (typeof scope.postMessage === "function" && typeof scope.addEventListener === "function") {
  scope.addEventListener("message", ({ data }: { data: { id: number; request: Request } }) => answer(scope, data));
} else {
  type NodePort = Port & { on(name: string, listener: (data: { id: number; request: Request }) => void): void };
  builtin<{ parentPort: NodePort }>("node:worker_threads").then(({ parentPort }) => {
    parentPort.on("message", (data) => answer(parentPort, data));
  });
}
