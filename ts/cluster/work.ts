// What a task is, where it is done: a part of a batch to be solved, or the transpose of one.
import { DEFAULT_BUDGET } from "../../wasm/constants.js";
import { constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, flag, isObject, required } from "../checks/rules.js";
import { type EnsembleCotangents, EnsembleSolve } from "../solve/ensemble.js";
import { EnsembleJvp, type TangentArrays } from "../solve/ensemble-jvp.js";
import { Forgotten } from "./failures.js";
import { FieldCache, type JobPart, readJob, readTangents } from "./job.js";
import { pack, unpack } from "./pack.js";

/** A task, as the body of its message. */
export interface ShardTask {
  readonly kind: "solve" | "jvp" | "pull";
  /** The name of the solve, which is kept under it until it is pulled back. */
  readonly solve: string;
  /** Whether it is to be kept. */
  readonly keep: boolean;
  /** What the shard has for itself of its job; the rest lies in the values. Without it, the solve is to be here. */
  readonly part?: JobPart;
  /** Of a transpose: what the loss gives. */
  readonly cotangents?: EnsembleCotangents;
  /** Of a solve with derivatives: along how many directions, and which. */
  readonly directions?: number;
  readonly tangents?: TangentArrays;
}

/** However little a worker is to keep, one shard may take so much. */
const LEAST_BYTES = 2 ** 26;

/** An answer: what was computed, and how long it took. */
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

/** The name of the solve that a task is about. */
export function solveOf(body: Uint8Array, session: string): string | undefined {
  try {
    return `${session} ${readShardTask(body).solve}`;
  } catch {
    // Whoever does it says so.
    return undefined;
  }
}

/** Does tasks, with the solves that earlier ones have left: those of the last, up to so many bytes. */
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

  /** How many bytes what is asked for may take. */
  get #mostBytes(): number {
    return Math.max(this.#memory, LEAST_BYTES);
  }

  #made({ part }: ShardTask, values: readonly Uint8Array[], keep: boolean): EnsembleSolve<Dtype> {
    if (!part) throw new Forgotten();
    const job = readJob([...values.map(unpack), part], this.#mostBytes);
    const { gradient = "auto", memoryBudget = DEFAULT_BUDGET } = job.problem.options;
    // What is kept makes no difference to the gradient.
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
      // The last one stays, whatever it takes: it may be pulled back at once.
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

  /** Lets everything go: the engine has lost it. */
  forget(): void {
    this.#solves.clear();
    this.#fields.clear();
    this.#bytes = 0;
  }
}
