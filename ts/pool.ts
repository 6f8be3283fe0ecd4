// Several cores: a batch split over workers, each with a WebAssembly instance of its own, that take the same steps.
import * as alive from "./alive.js";
import { abort, allocateSums } from "./all-reduce.js";
import { describe, refused, SymplecticAdjointError, textOf } from "./errors.js";
import { type Field, useField } from "./fields.js";
import { fix, frozen } from "./frozen.js";
import { type Gradient, type LossAndCotangent, lossOf } from "./gradient.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, timesOf, zeros } from "./memory.js";
import type { Bytes, Solution } from "./odeint.js";
import {
  checkNames,
  count,
  DEFAULT_BUDGET,
  type GradientOptions,
  isAdaptive,
  numberOption,
  readOptions,
} from "./options.js";
import type { Answers, Failure, Job, Part, Reply, Request } from "./protocol.js";
import { cores, notStarted, startThread, type Thread } from "./threads.js";
import { moduleInUse, outside } from "./wasm.js";

/** How a pool is made. */
export interface ParallelOptions {
  /** Default: as many as the machine has cores. */
  workers?: number;
  /**
   * Where the worker's source is, for pages whose Content-Security-Policy forbids workers from `blob:`; the package has it as
   * `symplectic-adjoint/worker.js`.
   */
  workerUrl?: string | { readonly href: string };
}

/** The transpose of a solve in a pool. */
export interface PoolPullback<D extends Dtype = Dtype> {
  (cotangent: ArrayOf<D>): Promise<Gradient<D>>;
  /** Frees what the gradient would need in the workers; harmless a second time. */
  dispose(): void;
}

/** A solve in a pool, with its transpose. */
export interface PoolVjp<D extends Dtype = Dtype> {
  /** As `odeint` gives it. */
  readonly solution: Solution<D>;
  /** From ∂L/∂y to the gradient. */
  readonly pullback: PoolPullback<D>;
  /** Frees what the gradient would need in the workers; harmless a second time. */
  dispose(): void;
}

/**
 * Workers that share batches. The methods do what the functions of the same names do, and give promises; the calling thread
 * neither waits nor computes. The steps are bitwise those of one core, gradients equal up to the order of summation over
 * samples, and the same in every run with as many workers.
 */
export interface Pool {
  /** How many there are. */
  readonly workers: number;
  /**
   * Whether workers can agree on the steps of an adaptive solve. They need SharedArrayBuffer, which a page has if it is
   * cross-origin isolated; else only solves with fixed steps are shared, and the others left to one worker.
   */
  readonly shared: boolean;
  /** As the function `odeint`, without `partial`. */
  odeint<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options?: GradientOptions,
  ): Promise<Solution<D>>;
  /** As the function `vjp`; what it gives holds memory in the workers. */
  vjp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options?: GradientOptions,
  ): Promise<PoolVjp<D>>;
  /** As the function `valueAndGrad`; the loss is computed on the calling thread, and may be a promise. */
  valueAndGrad<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    loss: (y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D> | Promise<LossAndCotangent<D>>,
    options?: GradientOptions,
  ): Promise<{ value: number; gradient: Gradient<D>; solution: Solution<D> }>;
  /** Ends the workers; what is under way is rejected. Harmless a second time. */
  close(): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Starts workers that share batches.
 *
 * @throws `OPTION`; `WORKER` where a worker cannot be started; `UNSUPPORTED`.
 */
export async function parallel(options: ParallelOptions = {}): Promise<Pool> {
  checkNames(options, ["workers", "workerUrl"]);
  const { workerUrl } = options;
  const url = typeof workerUrl === "object" ? workerUrl?.href : workerUrl;
  if (workerUrl !== undefined && typeof url !== "string") {
    throw refused("OPTION", "workerUrl", "a URL", describe(workerUrl));
  }
  const valid = (value: number) => count.valid(value) && value <= 1024;
  const workers = numberOption("workers", options.workers, await cores(), "an integer from 1 to 1024", valid);
  const { module, simd } = await moduleInUse();
  const pool = new Workers(url);
  try {
    await pool.start(workers, { kind: "start", module, simd });
  } catch (error) {
    pool.close();
    throw error;
  }
  return pool;
}

/** A request that has not been answered yet. */
interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly sums: SharedArrayBuffer | undefined;
}

/** One error of all that the parts of a job have met: the first that is not only the elsewhere of another. */
class PartError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** A solve kept by the workers. */
interface Kept {
  readonly ids: readonly number[];
  readonly parts: readonly Part[];
}

class Workers implements Pool {
  readonly shared = typeof SharedArrayBuffer === "function";
  readonly #url: string | undefined;
  #threads: Thread[] = [];
  #pending: Map<number, Pending>[] = [];
  #ids = 0;
  /** Why nothing can be asked any more. */
  #ended: SymplecticAdjointError | undefined;
  /** Has the workers forget solves that nobody can pull back any more. */
  readonly #forgotten =
    typeof FinalizationRegistry === "function"
      ? new FinalizationRegistry<readonly number[]>((ids) => this.#release(ids))
      : undefined;

  constructor(url: string | undefined) {
    this.#url = url;
    fix(this, ["shared"]);
  }

  get workers(): number {
    return this.#threads.length;
  }

  async start(workers: number, request: Request): Promise<void> {
    let started = false;
    for (let index = 0; index < workers; index++) {
      const pending = new Map<number, Pending>();
      this.#pending.push(pending);
      const hear = (message: unknown) => this.#hear(pending, message as Reply);
      const die = (reason: unknown) => this.#end(started ? died(reason) : notStarted(reason, this.#url));
      this.#threads.push(await startThread(this.#url, { hear, die }));
    }
    await this.#all(this.#threads.map((_, index) => this.#ask(index, request)));
    started = true;
  }

  #hear(pending: Map<number, Pending>, reply: Reply): void {
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
    this.#end(new SymplecticAdjointError("DISPOSED", "the pool has been closed"));
  }

  declare [Symbol.dispose]: () => void;

  /** Whether it is one of ours. */
  static is(value: unknown): value is Workers {
    return value !== null && typeof value === "object" && #threads in value;
  }

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
    const reason = reasons.find((reason) => !(reason instanceof PartError && reason.failure.elsewhere)) ?? reasons[0];
    if (!(reason instanceof PartError)) throw reason;
    const { code, message, details } = reason.failure;
    throw new SymplecticAdjointError(code, message, details);
  }

  /** Whether, and among whom, a batch is shared. */
  #split(batch: number, dtype: Dtype, settings: GradientOptions): Part[] {
    const panels = Math.ceil(batch / lanes(dtype));
    const adaptive = isAdaptive(settings);
    const workers = adaptive && !this.shared ? 1 : Math.min(this.workers, panels);
    const sums = adaptive && workers > 1 ? allocateSums(panels) : undefined;
    return Array.from({ length: workers }, (_, index) => {
      const first = Math.floor((index * panels) / workers);
      const own = Math.floor(((index + 1) * panels) / workers) - first;
      return { panels, first, own, samples: batch, workers, sums };
    });
  }

  async #solve<D extends Dtype>(
    kind: "odeint" | "vjp",
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions,
  ): Promise<Kept & { solution: Solution<D> }> {
    const settings = readOptions(options);
    const { recipe, noise } = useField(field);
    const { dtype, stateSize } = field;
    if (!recipe) throw refused("OPTION", "field", "a network; functions cannot go to workers", "a custom field");
    if (kind === "vjp" && settings.gradient === "adjoint") {
      throw refused(
        "OPTION",
        "gradient",
        "an exact one in a pool: workers do not share a backward integration",
        "adjoint",
      );
    }
    if (settings.partial) throw refused("OPTION", "partial", "nothing in a pool", "true");
    const ends = timesOf(times);
    const start = arrayOf("y0", y0, dtype);
    const batch = batchOf("y0", start, stateSize);
    const parts = this.#split(batch, dtype, settings);
    if ((settings.gradient ?? "auto") === "auto") {
      settings.memoryBudget = Math.floor((settings.memoryBudget ?? DEFAULT_BUDGET) / parts.length);
    }
    const sent = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const parameters = field.parameters.slice() as ArrayOf<Dtype>;
    if (noise && "values" in noise && !Number.isInteger(noise.values.length / batch)) {
      throw refused("SHAPE", "noise", `numbers for a batch of ${batch}`, String(noise.values.length));
    }
    const ids = parts.map(() => ++this.#ids);
    const asked = parts.map((part, index) => {
      const own = slice(start, part, dtype, stateSize) as ArrayOf<Dtype>;
      const [firstSample] = range(part, dtype);
      const noiseOf = (values: ArrayOf<Dtype>) => ({ values: slice(values, part, dtype, values.length / batch) });
      const drawn = noise && "values" in noise ? noiseOf(noise.values) : noise;
      const common = { recipe, noise: drawn, firstSample, parameters, times: ends, options: sent };
      const job: Job = { ...common, y0: own, part };
      return this.#ask(index, { kind, ...job }, [own.buffer as ArrayBuffer], part.sums, ids[index]);
    });
    try {
      const solved = (await this.#all(asked)) as Solution<D>[];
      return { ids, parts, solution: joined(solved, parts, dtype, [ends.length, batch, stateSize]) };
    } catch (error) {
      if (kind === "vjp") this.#release(ids);
      throw summed(error, parts.length);
    }
  }

  /** Forgets solves, those that have failed included. */
  #release(ids: readonly number[]): void {
    if (this.#ended) return;
    for (const [index, solve] of ids.entries()) this.#ask(index, { kind: "release", solve }).catch(() => {});
  }

  async odeint<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions = {},
  ): Promise<Solution<D>> {
    return (await this.#solve("odeint", field, y0, times, options)).solution;
  }

  async vjp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions = {},
  ): Promise<PoolVjp<D>> {
    const { solution, ...kept } = await this.#solve("vjp", field, y0, times, options);
    const { dtype, stateSize } = field;
    alive.poolSolves.add(kept, solution.stats.peakBytes.total);
    this.#forgotten?.register(kept, kept.ids, kept);
    let disposed = false;
    const dispose = () => {
      if (!disposed) this.#release(kept.ids);
      disposed = true;
      alive.poolSolves.remove(kept);
      this.#forgotten?.unregister(kept);
    };
    const pullback = async (cotangent: ArrayOf<D>): Promise<Gradient<D>> => {
      if (disposed) throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
      const w = arrayOf("cotangent", cotangent, dtype);
      checkLength("cotangent", w, solution.y.length, `[${solution.shape.join(", ")}]`);
      const asked = kept.parts.map((part, index) => {
        const own = slice(w, part, dtype, stateSize) as ArrayOf<Dtype>;
        const request = { kind: "pullback", solve: kept.ids[index] as number, cotangent: own } as const;
        return this.#ask(index, request, [own.buffer as ArrayBuffer]);
      });
      return added((await this.#all(asked)) as Gradient<D>[], kept.parts, dtype, stateSize);
    };
    return frozen({ solution, pullback: Object.assign(pullback, { dispose }), dispose });
  }

  async valueAndGrad<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    loss: (y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D> | Promise<LossAndCotangent<D>>,
    options: GradientOptions = {},
  ): Promise<{ value: number; gradient: Gradient<D>; solution: Solution<D> }> {
    if (typeof loss !== "function") throw refused("OPTION", "loss", "a function", describe(loss));
    const { solution, pullback, dispose } = await this.vjp(field, y0, times, options);
    try {
      const { value, cotangent } = lossOf(
        await outside(() => loss(solution.y.slice() as ArrayOf<D>, [...solution.shape])),
      );
      return { value, gradient: await pullback(cotangent), solution };
    } finally {
      dispose();
    }
  }
}

/** Refuses what is no pool. */
export function usePool(pool: Pool): void {
  if (!Workers.is(pool)) throw refused("OPTION", "pool", "a pool, from parallel", describe(pool));
}

function died(reason: unknown): SymplecticAdjointError {
  return new SymplecticAdjointError(
    "WORKER",
    `a worker has died: ${textOf(reason)}; make a new pool`,
    {},
    { cause: reason },
  );
}

/** The error of a budget that a worker has found too small is about that of all. */
function summed(error: unknown, workers: number): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.argument !== "memoryBudget" || !error.bytes) return error;
  const { message, argument } = error;
  const bytes = error.bytes * workers;
  const details = { argument, expected: `at least ${bytes} bytes`, given: `${Number(error.given) * workers}`, bytes };
  const share = `${message} on each of ${workers} workers`;
  return new SymplecticAdjointError("OPTION", workers === 1 ? message : share, details);
}

/** Samples in a full panel. */
const lanes = (dtype: Dtype) => (dtype === "float32" ? 16 : 8);

/** Where a part's samples begin and end. */
function range({ first, own, samples }: Part, dtype: Dtype): [begin: number, end: number] {
  return [first * lanes(dtype), Math.min(samples, (first + own) * lanes(dtype))];
}

/** A part's copy of `[…, batch, state]` numbers. */
function slice<D extends Dtype>(numbers: ArrayOf<D>, part: Part, dtype: D, state: number): ArrayOf<D> {
  const [begin, end] = range(part, dtype);
  const [row, whole] = [(end - begin) * state, part.samples * state];
  const copy = zeros(dtype, (numbers.length / whole) * row);
  for (let from = 0, to = 0; to < copy.length; from += whole, to += row) {
    copy.set(numbers.subarray(from + begin * state, from + end * state) as never, to);
  }
  return copy;
}

/** Puts the parts of `[…, batch, state]` numbers together. */
function unite<D extends Dtype>(
  pieces: readonly ArrayOf<D>[],
  parts: readonly Part[],
  dtype: D,
  state: number,
): ArrayOf<D> {
  const samples = parts[0]?.samples ?? 0;
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const all = zeros(dtype, length);
  for (const [index, piece] of pieces.entries()) {
    const [begin, end] = range(parts[index] as Part, dtype);
    const row = (end - begin) * state;
    for (let from = 0, to = begin * state; from < piece.length; from += row, to += samples * state) {
      all.set(piece.subarray(from, from + row) as never, to);
    }
  }
  return all;
}

function addBytes(parts: readonly Bytes[]): Bytes {
  const sum: Record<string, number> = {};
  for (const part of parts) for (const [name, bytes] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + bytes;
  return sum as unknown as Bytes;
}

// Nothing of the parts is handed on as it came: in tests that run in a realm of their own, messages are of another one.

/** The solution of the whole batch. */
function joined<D extends Dtype>(
  solved: readonly Solution<D>[],
  parts: readonly Part[],
  dtype: D,
  shape: readonly [number, number, number],
): Solution<D> {
  const [{ stats }] = solved as [Solution<D>];
  const peakBytes = addBytes(solved.map((part) => part.stats.peakBytes));
  return frozen({
    y: unite(
      solved.map((part) => part.y),
      parts,
      dtype,
      shape[2],
    ),
    shape,
    stats: { ...stats, peakBytes, workers: parts.length },
  });
}

/** The gradient of the whole batch: the parts added up in their order. */
function added<D extends Dtype>(
  pulled: readonly Gradient<D>[],
  parts: readonly Part[],
  dtype: D,
  state: number,
): Gradient<D> {
  const [{ parameters, times, stats }] = pulled as [Gradient<D>];
  const sum = (i: number, of: (part: Gradient<D>) => ArrayLike<number> | undefined) =>
    pulled.reduce((sum, part) => sum + ((of(part) as ArrayLike<number>)[i] as number), 0);
  const peakBytes = addBytes(pulled.map((part) => part.stats.peakBytes));
  const sums = {
    parameters: zeros(dtype, parameters.length).map((_, i) => sum(i, (part) => part.parameters)) as ArrayOf<D>,
    times: times && new Float64Array(times.length).map((_, i) => sum(i, (part) => part.times)),
  };
  for (const numbers of [sums.parameters, sums.times ?? []]) {
    const bad = numbers.findIndex((number) => !Number.isFinite(number));
    if (bad >= 0) throw refused("NON_FINITE", "gradient", `a finite ${dtype}`, `${numbers[bad]} at index ${bad}`);
  }
  return frozen({
    y0: unite(
      pulled.map((part) => part.y0),
      parts,
      dtype,
      state,
    ),
    ...sums,
    stats: { ...stats, retention: { ...stats.retention }, peakBytes, workers: parts.length },
  });
}

if (typeof Symbol.dispose === "symbol") {
  Object.defineProperty(Workers.prototype, Symbol.dispose, { value: Workers.prototype.close });
}
