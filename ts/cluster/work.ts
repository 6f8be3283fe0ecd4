// Computes tasks: solves a shard, or transposes an earlier solve.
import { DEFAULT_BUDGET } from "../../wasm/constants.js";
import { constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, flag, isObject, required } from "../checks/rules.js";
import { type EnsembleCotangents, EnsembleSolve } from "../solve/ensemble.js";
import { EnsembleJvp, type TangentArrays } from "../solve/ensemble-jvp.js";
import { Forgotten } from "./failures.js";
import { FieldCache, type JobPart, readJob, readTangents } from "./job.js";
import { pack, unpack } from "./pack.js";

/** The body of a task's message. */
export interface ShardTask {
  readonly kind: "solve" | "jvp" | "pull";
  /** The name of the solve, under which it is kept for its transpose. */
  readonly solve: string;
  /** Whether to keep the solve. */
  readonly keep: boolean;
  /** The shard's own data; the rest is in the values. If it is missing, the solve must still be here. */
  readonly part?: JobPart;
  /** For a transpose: the cotangents. */
  readonly cotangents?: EnsembleCotangents;
  /** For a solve with derivatives: the number of directions, and the tangents. */
  readonly directions?: number;
  readonly tangents?: TangentArrays;
}

/** One shard may take this much, however little memory a worker has. */
const LEAST_BYTES = 2 ** 26;

/** The answer: the result, and how long it took. */
export interface ShardAnswer {
  readonly ms: number;
  readonly result: unknown;
}

function readShardTask(body: Uint8Array): ShardTask {
  const task = unpack(body) as ShardTask;
  if (!isObject(task) || !["solve", "jvp", "pull"].includes(task.kind) || typeof task.solve !== "string") {
    throw refused("OPTION", "task", "solve, jvp or pull, with the name of a solve", "something else");
  }
  argument("task.keep", task.keep, required(flag));
  return task;
}

/** The name of a task's solve. */
export function solveOf(body: Uint8Array, session: string): string | undefined {
  try {
    return `${session} ${readShardTask(body).solve}`;
  } catch {
    // Computing the task reports the error.
    return undefined;
  }
}

/** Computes tasks, and keeps solves for later transposes, up to a number of bytes. */
export class Work {
  readonly #memory: number;
  readonly #fields = new FieldCache();
  readonly #solves = new Map<string, EnsembleSolve<Dtype>>();
  #bytes = 0;

  constructor(memory: number) {
    this.#memory = memory;
  }

  do(body: Uint8Array, values: readonly Uint8Array[], session: string): Uint8Array {
    const start = performance.now();
    const task = readShardTask(body);
    const key = `${session} ${task.solve}`;
    const does = { solve: this.#solve, jvp: this.#jvp, pull: this.#pull }[task.kind];
    const result = does.call(this, task, key, values);
    return pack({ ms: performance.now() - start, result });
  }

  /** The memory that one shard may take. */
  get #mostBytes(): number {
    return Math.max(this.#memory, LEAST_BYTES);
  }

  #made({ part }: ShardTask, values: readonly Uint8Array[], keep: boolean): EnsembleSolve<Dtype> {
    if (!part) throw new Forgotten();
    const job = readJob([...values.map(unpack), part], this.#mostBytes);
    const { gradient = "auto", memoryBudget = DEFAULT_BUDGET } = job.problem.options;
    // The budget does not change the gradient.
    const own = { memoryBudget: Math.min(Number(memoryBudget), this.#mostBytes) };
    const options = { ...job.problem.options, ...(gradient === "auto" && own) };
    return new EnsembleSolve(this.#fields.get(job), { ...job.problem, options }, keep);
  }

  #solve(task: ShardTask, key: string, values: readonly Uint8Array[]): unknown {
    this.#drop(key);
    const solve = this.#made(task, values, task.keep);
    const result = solve.result();
    if (task.keep) this.#keep(key, solve);
    else solve.dispose();
    return result;
  }

  #jvp({ part, directions, tangents }: ShardTask, _: string, values: readonly Uint8Array[]): unknown {
    if (!part) throw new Forgotten();
    const job = readJob([...values.map(unpack), part], this.#mostBytes);
    const whole = readTangents(job, directions, tangents, this.#mostBytes);
    const solve = new EnsembleJvp(this.#fields.get(job), whole, { keep: false, caller: "jvp" });
    try {
      return solve.result();
    } finally {
      solve.dispose();
    }
  }

  #pull(task: ShardTask, key: string, values: readonly Uint8Array[]): unknown {
    const { y, eventTimes, eventStates } = (isObject(task.cotangents) ? task.cotangents : {}) as EnsembleCotangents;
    let solve = this.#solves.get(key);
    if (!solve) {
      solve = this.#made(task, values, true);
      this.#keep(key, solve);
    }
    const { dtype } = solve;
    for (const [name, array, type] of [
      ["y", y, dtype],
      ["eventTimes", eventTimes, "float64"],
      ["eventStates", eventStates, dtype],
    ] as const) {
      if (array instanceof constructors[type]) continue;
      throw refused("OPTION", `task.cotangents.${name}`, `numbers of ${type}`, describe(array));
    }
    const result = solve.pullback({ y, eventTimes, eventStates });
    if (!task.keep) this.#drop(key);
    return result;
  }

  #keep(key: string, solve: EnsembleSolve<Dtype>): void {
    this.#solves.set(key, solve);
    this.#bytes += solve.bytes;
    for (const old of this.#solves.keys()) {
      // Keep the latest one whatever its size: its transpose may come next.
      if (this.#bytes <= this.#memory || old === key) break;
      this.#drop(old);
    }
  }

  #drop(key: string): void {
    const solve = this.#solves.get(key);
    if (!solve) return;
    this.#solves.delete(key);
    this.#bytes -= solve.bytes;
    solve.dispose();
  }

  /** Forgets everything after the engine was lost. */
  forget(): void {
    this.#solves.clear();
    this.#fields.clear();
    this.#bytes = 0;
  }
}
