// Several cores: a batch split over workers, each with the engine to itself, that take the same steps.
import { DEFAULT_BUDGET } from "../../wasm/constants.js";
import { type ArrayOf, arrayOf, batchOf, checkFinite, checkLength, type Dtype, timesOf } from "../checks/arrays.js";
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { fix } from "../checks/frozen.js";
import {
  address,
  argument,
  checkAbsent,
  isObject,
  options as readArguments,
  required,
  rule,
  threadCount,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { disposable } from "../engine/disposable.js";
import { sourceInUse } from "../engine/instance.js";
import { type Field, type FieldState, useField, type WasmField, wasmField } from "../fields/field.js";
import { recipeOf } from "../fields/registry.js";
import { checkLists, type Lists } from "../solve/changes.js";
import {
  type EnsembleCotangents,
  type EnsembleGradient,
  type EnsembleProblem,
  type EnsembleResult,
  readProblem,
} from "../solve/ensemble.js";
import { type EnsembleJvpProblem, jvpWidths, type TangentArrays } from "../solve/ensemble-jvp.js";
import type { IndependentValueAndGradient } from "../solve/gradient.js";
import {
  type EventCotangents,
  gradientOf,
  type IndependentGradient,
  type IndependentSolution,
  isIndependent,
  solutionOf,
} from "../solve/independent.js";
import { type IndependentSolutionJvp, jvpOf } from "../solve/jvp.js";
import {
  type GradientOptions,
  isAdaptive,
  type OdeintOptions,
  readOptions,
  withoutIndependent,
} from "../solve/options.js";
import { checkLoss } from "../solve/outputs.js";
import type { Gradient, Solution } from "../solve/results.js";
import { readEnsembleJvp, type Tangents } from "../solve/tangents.js";
import { abort, allocateSums } from "./all-reduce.js";
import {
  type Cut,
  checkFiniteJvp,
  cotangentsOfPart,
  cutBatch,
  joinGradients,
  joinResults,
  LEAST_PART,
  partOf,
  stateOfPart,
  tangentsOfPart,
} from "./ensembles.js";
import { causeOf, PartError, poolBudgetError, workerDied } from "./failures.js";
import { KeptSolves, lossIn, readCotangents, UntilEnd } from "./kept.js";
import { registerPool } from "./pool-rule.js";
import type { IndependentPoolVjp, ParallelOptions, Pool } from "./pool-types.js";
import type { Answers, Part, PoolJob, Reply, Request } from "./protocol.js";
import { addGradients, divide, joinSolutions, range, slice } from "./shards.js";
import { cores, notStarted, startThread, type Thread } from "./threads.js";

const rules = { workers: threadCount, workerUrl: address };

/**
 * Starts a pool of workers that share batches; close it when done.
 *
 * @throws `OPTION` for an unknown option, or a number of workers that is not an integer from 1 to 1024; `WORKER` if a worker cannot be
 * started; `UNSUPPORTED` if the runtime lacks what the package needs.
 */
export async function parallel(options: ParallelOptions = {}): Promise<Pool> {
  const { workers: wanted, workerUrl } = readArguments(options, rules);
  const url = typeof workerUrl === "object" ? workerUrl.href : workerUrl;
  const workers = wanted ?? (await cores());
  const engine = await sourceInUse();
  const pool = new WorkerPool(url);
  try {
    await pool.start(workers, { kind: "start", engine });
  } catch (error) {
    pool.close();
    throw error;
  }
  return pool;
}

/** A request that has not been answered yet. */
interface PendingRequest {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly sums: SharedArrayBuffer | undefined;
}

/** A solve kept by the workers. */
interface KeptSolve {
  readonly ids: readonly number[];
  readonly parts: readonly Part[];
}

/** A solve of independent trajectories that the workers keep. */
interface KeptEnsemble<D extends Dtype> {
  readonly field: WasmField<D>;
  readonly problem: EnsembleProblem<D>;
  readonly leaf: number;
  readonly ids: readonly number[];
  readonly cuts: readonly Cut[];
  readonly results: readonly EnsembleResult<D>[];
  readonly solution: IndependentSolution<D>;
}

class WorkerPool implements Pool {
  readonly shared = typeof SharedArrayBuffer === "function";
  readonly #url: string | undefined;
  #threads: Thread[] = [];
  #pending: Map<number, PendingRequest>[] = [];
  #ids = 0;
  /** Why nothing can be asked any more. */
  #ended: SymplecticAdjointError | undefined;
  readonly #kept = new KeptSolves<readonly number[]>((ids) => this.#release(ids));
  readonly #losses = new UntilEnd();

  constructor(url: string | undefined) {
    disposable(WorkerPool.prototype, WorkerPool.prototype.close);
    this.#url = url;
    fix(this, ["shared"]);
    registerPool(this);
    Object.preventExtensions(this);
  }

  /** The pool itself, and not an object made from one. */
  static #own(pool: WorkerPool): WorkerPool {
    return argument("this", pool, OWN);
  }

  static is(value: unknown): boolean {
    return isObject(value) && #threads in value;
  }

  /** The name of the kind of object, for messages and consoles. */
  toString(): string {
    return `pool (workers: ${this.workers})`;
  }

  get workers(): number {
    return WorkerPool.#own(this).#threads.length;
  }

  async start(workers: number, request: Request): Promise<void> {
    let started = false;
    for (let index = 0; index < workers; index++) {
      const pending = new Map<number, PendingRequest>();
      this.#pending.push(pending);
      const receive = (message: unknown) => this.#receive(pending, message as Reply);
      const die = (reason: unknown) => this.#end(started ? workerDied(reason) : notStarted(reason, this.#url));
      this.#threads.push(await startThread(this.#url, { receive, die }));
    }
    await this.#all(this.#threads.map((_, index) => this.#ask(index, request)));
    started = true;
  }

  #receive(pending: Map<number, PendingRequest>, reply: Reply): void {
    const waiting = pending.get(reply.id);
    pending.delete(reply.id);
    this.#hold();
    if ("failure" in reply) waiting?.reject(new PartError(reply.failure));
    else waiting?.resolve(reply.value);
  }

  /** The process stays alive while something is under way. */
  #hold(): void {
    for (const [index, thread] of this.#threads.entries()) thread.hold((this.#pending[index]?.size ?? 0) > 0);
  }

  #end(error: SymplecticAdjointError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#losses.end(error);
    for (const thread of this.#threads) thread.end();
    for (const pending of this.#pending) {
      for (const { reject, sums } of pending.values()) {
        if (sums) abort(sums);
        reject(error);
      }
      pending.clear();
    }
  }

  close(): void {
    WorkerPool.#own(this).#end(new SymplecticAdjointError("DISPOSED", "the pool has been closed"));
  }

  declare [Symbol.dispose]: () => void;

  #ask<K extends Request["kind"]>(
    index: number,
    request: Extract<Request, { kind: K }>,
    transfer: ArrayBuffer[] = [],
    sums?: SharedArrayBuffer,
    id = ++this.#ids,
  ): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#pending[index]?.set(id, { resolve: resolve as (value: unknown) => void, reject, sums });
      this.#hold();
      this.#threads[index]?.post({ id, request }, transfer);
    });
  }

  /** All answers, or the error that the caller should see. */
  async #all<T>(answers: Promise<T>[]): Promise<T[]> {
    const settled = await Promise.allSettled(answers);
    const reasons = settled.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    if (reasons.length === 0) return settled.map((result) => (result as PromiseFulfilledResult<T>).value);
    throw causeOf(reasons);
  }

  /** Whether, and among whom, a batch is shared. */
  #split(batch: number, dtype: Dtype, settings: GradientOptions): Part[] {
    const adaptive = isAdaptive(settings);
    const parts = divide(batch, dtype, adaptive && !this.shared ? 1 : this.workers);
    const [{ panels }] = parts as [Part];
    const sums = adaptive && parts.length > 1 ? allocateSums(panels) : undefined;
    return parts.map((part) => ({ ...part, sums }));
  }

  async #solve<D extends Dtype>(
    kind: "odeint" | "vjp",
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions,
  ): Promise<KeptSolve & { solution: Solution<D> }> {
    const { arguments: given, progress, ...settings } = withoutIndependent(options, "a pool");
    const wasm = wasmField(field);
    const { dtype, stateSize, state, argumentSize } = wasm;
    const recipe = recipeOf(field);
    if (kind === "vjp" && settings.gradient === "adjoint") {
      const expected = "another gradient in a pool, whose workers cannot share the continuous adjoint's integration";
      throw refused("OPTION", "gradient", expected, "adjoint");
    }
    checkAbsent({ partial: settings.partial }, " in a pool");
    const ends = timesOf(times);
    const start = arrayOf("y0", y0, dtype);
    const batch = batchOf("y0", start, stateSize);
    const packed = wasm.packArguments(given, batch);
    const parts = this.#split(batch, dtype, settings);
    if ((settings.gradient ?? "auto") === "auto") {
      settings.memoryBudget = Math.floor((settings.memoryBudget ?? DEFAULT_BUDGET) / parts.length);
    }
    const parameters = wasm.copyParameters() as ArrayOf<Dtype>;
    const states = parts.map((part) => {
      const [from, to] = range(part, dtype);
      return stateOfPart(state, batch, { from, to });
    });
    const ids = parts.map(() => ++this.#ids);
    const asked = parts.map((part, index) => {
      const rows = slice(start, part, dtype, stateSize) as ArrayOf<Dtype>;
      const [firstSample] = range(part, dtype);
      const common = { recipe, state: states[index] as FieldState, firstSample, parameters, times: ends };
      const args = packed && { arguments: wasm.nameArguments(slice(packed, part, dtype, argumentSize)) };
      const job: PoolJob = { ...common, options: { ...settings, ...args }, y0: rows, part };
      return this.#ask(index, { kind, ...job }, [rows.buffer as ArrayBuffer], part.sums, ids[index]);
    });
    try {
      const solved = (await this.#all(counted(asked, progress))) as Solution<D>[];
      return { ids, parts, solution: joinSolutions(solved, parts, dtype, [ends.length, batch, stateSize]) };
    } catch (error) {
      if (kind === "vjp") this.#release(ids);
      throw poolBudgetError(error, parts.length);
    }
  }

  /** Forgets solves, those that have failed included. */
  #release(ids: readonly number[]): void {
    if (this.#ended) return;
    for (const [index, solve] of ids.entries()) this.#ask(index, { kind: "release", solve }).catch(() => {});
  }

  /** Solves independent trajectories, each worker about the same number of leaves. */
  async #share<D extends Dtype>(
    wasm: WasmField<D>,
    { problem, progress }: { problem: EnsembleProblem<D>; progress: OdeintOptions["progress"] },
    cuts: readonly Cut[],
    request: (cut: Cut, problem: EnsembleProblem) => EnsembleRequest,
    ids: readonly number[] = cuts.map(() => ++this.#ids),
  ): Promise<EnsembleResult<D>[]> {
    const recipe = recipeOf(wasm);
    const parameters = wasm.copyParameters() as ArrayOf<Dtype>;
    const states = cuts.map((cut) => stateOfPart(wasm.state, problem.batch, cut));
    const asked = cuts.map((cut, index) => {
      const part = (cuts.length > 1 ? partOf(problem, cut) : copyOf(problem)) as EnsembleProblem;
      const common = { recipe, state: states[index] as FieldState, firstSample: cut.from, parameters, problem: part };
      const whole = { ...common, ...request(cut, part) };
      return this.#ask(index, whole, [part.y0.buffer as ArrayBuffer], undefined, ids[index]);
    });
    return (await this.#all(counted(asked, progress))) as EnsembleResult<D>[];
  }

  /** Solves independent trajectories. */
  async #solveEnsemble<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: OdeintOptions,
    keep: boolean,
  ): Promise<KeptEnsemble<D>> {
    const wasm = wasmField(field);
    checkAbsent({ partial: options.partial }, " in a pool");
    const given = readProblem(field, y0, times, options);
    // Checked here, so that errors name indices of the whole batch, which workers do not know.
    checkFinite("y0", given.y0);
    checkLists(given);
    const { leaf } = wasm.use().rust;
    const cuts = cutBatch(given.batch, keep ? leaf : LEAST_PART, this.workers);
    const { gradient = "auto", memoryBudget = DEFAULT_BUDGET } = options;
    const budget = gradient === "auto" ? { memoryBudget: Math.floor(memoryBudget / cuts.length) } : {};
    const problem = { ...given, options: { ...given.options, ...budget } };
    const ids = cuts.map(() => ++this.#ids);
    try {
      const job = { problem, progress: options.progress };
      const results = await this.#share(wasm, job, cuts, () => ({ kind: "ensemble", keep }), ids);
      const [only] = results as [EnsembleResult<D>];
      const joined = cuts.length > 1 ? joinResults(problem, cuts, results) : only;
      const result = { ...joined, stats: { ...joined.stats, workers: cuts.length } };
      return { field: wasm, problem, leaf, ids, cuts, results, solution: solutionOf(problem, result) };
    } catch (error) {
      if (keep) this.#release(ids);
      throw poolBudgetError(error, cuts.length);
    }
  }

  /** Solves independent trajectories, with derivatives along directions. */
  async #solveJvp<D extends Dtype>(
    field: Field<D>,
    given: EnsembleJvpProblem<D>,
    progress: OdeintOptions["progress"],
  ): Promise<IndependentSolutionJvp<D>> {
    const wasm = wasmField(field);
    const { problem, directions } = given;
    const cuts = cutBatch(problem.batch, LEAST_PART, this.workers);
    const results = await this.#share(wasm, { problem, progress }, cuts, (cut) => {
      return { kind: "jvp", directions, tangents: tangentsOfPart(given, cut) as TangentArrays };
    });
    const result = joinResults(problem, cuts, results, jvpWidths(problem, directions)[0]);
    return jvpOf(problem, directions, { ...result, stats: { ...result.stats, workers: cuts.length } });
  }

  /** The transpose of such a solve. */
  async #transpose<D extends Dtype>(
    { field, problem, leaf, ids, cuts, results }: KeptEnsemble<D>,
    cotangent: ArrayOf<D>,
    events: EventCotangents<D> | undefined,
  ): Promise<IndependentGradient<D>> {
    const { whole, ranges } = readCotangents(problem, results, cotangent, events);
    const asked = cuts.map((cut, index) => {
      const cotangents = cotangentsOfPart(problem, whole, cut, ranges[index] as [number, number]) as EnsembleCotangents;
      const request = { kind: "transpose", solve: ids[index] as number, cotangents } as const;
      return this.#ask(index, request, [cotangents.y.buffer as ArrayBuffer]);
    });
    const parts = (await this.#all(asked)) as EnsembleGradient<D>[];
    const [only] = parts as [EnsembleGradient<D>];
    const joined = cuts.length > 1 ? joinGradients(problem, leaf, cuts, parts) : only;
    return gradientOf(problem, field, { ...joined, stats: { ...joined.stats, workers: cuts.length } });
  }

  async odeint<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions = {},
  ): Promise<IndependentSolution<D>> {
    const pool = WorkerPool.#own(this);
    const read = readOptions(options);
    if (isIndependent(read, times)) return (await pool.#solveEnsemble(field, y0, times, read, false)).solution;
    const together = await pool.#solve("odeint", field, y0, times as ArrayLike<number>, read);
    return together.solution as IndependentSolution<D>;
  }

  async vjp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions = {},
  ): Promise<IndependentPoolVjp<D>> {
    const pool = WorkerPool.#own(this);
    const read = readOptions(options);
    if (isIndependent(read, times)) {
      const { partial: _, ...settings } = read;
      const kept = await pool.#solveEnsemble(field, y0, times, settings, true);
      const { solution, ids } = kept;
      return pool.#kept.handOut(solution, ids, (cotangent: ArrayOf<D>, events?: EventCotangents<D>) =>
        pool.#transpose(kept, cotangent, events),
      );
    }
    const kept = await pool.#solve("vjp", field, y0, times as ArrayLike<number>, read);
    const { dtype, stateSize } = field;
    const together = pool.#kept.handOut(
      kept.solution,
      kept.ids,
      async (cotangent: ArrayOf<D>): Promise<Gradient<D>> => {
        const w = arrayOf("cotangent", cotangent, dtype);
        checkLength("cotangent", w, kept.solution.y.length, `[${kept.solution.shape.join(", ")}]`);
        const asked = kept.parts.map((part, index) => {
          const own = slice(w, part, dtype, stateSize) as ArrayOf<Dtype>;
          const request = { kind: "pullback", solve: kept.ids[index] as number, cotangent: own } as const;
          return pool.#ask(index, request, [own.buffer as ArrayBuffer]);
        });
        return addGradients((await pool.#all(asked)) as Gradient<D>[], kept.parts, dtype, stateSize);
      },
    );
    return together as IndependentPoolVjp<D>;
  }

  async jvp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    tangents: Tangents<D>,
    options: OdeintOptions = {},
  ): Promise<IndependentSolutionJvp<D>> {
    const pool = WorkerPool.#own(this);
    const read = readOptions(options);
    useField(field);
    checkIndependent(read, times);
    const whole = readEnsembleJvp(field, y0, times, tangents, read, "jvp");
    checkFiniteJvp(whole);
    return pool.#solveJvp(field, whole, read.progress);
  }

  async valueAndGrad<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    loss: (...inputs: never[]) => unknown,
    options: GradientOptions = {},
  ): Promise<IndependentValueAndGradient<D>> {
    checkLoss(loss);
    const independent = isIndependent(readOptions(options), times);
    const { solution, pullback, dispose } = await this.vjp(field, y0, times as never, options);
    try {
      const { value, cotangent, events } = await this.#losses.wait(lossIn<D>(loss, solution, times, independent));
      return { value, gradient: await pullback(cotangent, events), solution };
    } finally {
      dispose();
    }
  }
}

/** The request to a worker, besides the problem. */
type EnsembleRequest =
  | { readonly kind: "ensemble"; readonly keep: boolean }
  | ({ readonly kind: "jvp" } & Pick<EnsembleJvpProblem, "directions" | "tangents">);

/** Refuses adaptive steps that all trajectories take together. */
function checkIndependent(options: OdeintOptions, times: Lists): void {
  if (isIndependent(options, times) || !isAdaptive(options)) return;
  const expected = "independent, or fixed steps: derivatives along directions are not shared otherwise";
  throw refused("OPTION", "batching", expected, options.batching ?? "together, by default");
}

/** A copy whose initial states may be transferred. */
function copyOf<D extends Dtype>(problem: EnsembleProblem<D>): EnsembleProblem<D> {
  return { ...problem, y0: problem.y0.slice() as ArrayOf<D> };
}

/** The same answers, reporting progress as each arrives. */
function counted<T>(asked: readonly Promise<T>[], progress: ((fraction: number) => void) | undefined): Promise<T>[] {
  let done = 0;
  return asked.map(async (answer) => {
    const value = await answer;
    done++;
    if (progress) runUserCode(() => progress(done / asked.length));
    return value;
  });
}

const OWN = required(rule<WorkerPool>("a pool, from parallel", (value) => WorkerPool.is(value)));
