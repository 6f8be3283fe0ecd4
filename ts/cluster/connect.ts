// A cluster as a pool: splits solves and gradients into shards for the workers that are connected.
import { checkFinite, constructors } from "../checks/arrays.js";
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import {
  argument,
  callable,
  checkAbsent,
  count,
  fallback,
  isObject,
  options as readArguments,
  required,
  rule,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { disposable } from "../engine/disposable.js";
import { type FieldNames, type NamesOfField, type WasmField, wasmField } from "../fields/field.js";
// Types shared with the main entry are imported from there, so that they are the same types.
import type { ArrayOf, Dtype, Field, GradientOptions, IndependentSolution, Pool } from "../index.js";
import {
  type Cut,
  checkFiniteJvp,
  cotangentsOfPart,
  joinGradients,
  joinResults,
  LEAST_PART,
  tangentsOfPart,
} from "../parallel/ensembles.js";
import { KeptSolves, lossIn, readCotangents } from "../parallel/kept.js";
import { registerPool } from "../parallel/pool-rule.js";
import type { IndependentPoolVjp } from "../parallel/pool-types.js";
import { checkLists, type Lists } from "../solve/changes.js";
import {
  type EnsembleCotangents,
  type EnsembleGradient,
  type EnsembleProblem,
  type EnsembleResult,
  readProblem,
} from "../solve/ensemble.js";
import { jvpWidths, type TangentArrays } from "../solve/ensemble-jvp.js";
import { type EventCotangents, gradientOf, type IndependentGradient, solutionOf } from "../solve/independent.js";
import { type IndependentSolutionJvp, jvpOf } from "../solve/jvp.js";
import { type OdeintOptions, readOptions } from "../solve/options.js";
import { checkLoss } from "../solve/outputs.js";
import { readEnsembleJvp, type Tangents } from "../solve/tangents.js";
import { readGradient, readResult } from "./answers.js";
import { type Client, connectClient, type ServerOptions, serverRules, stallRule } from "./client.js";
import { Coordinator, type RemoteTask } from "./coordinator.js";
import type { ClusterEvent, ClusterStatus } from "./events.js";
import { type SplitJob, splitJob } from "./job.js";
import { ANY } from "./names.js";
import { pack, unpack } from "./pack.js";
import { fingerprintOf } from "./probe.js";
import type { Stored } from "./server-side.js";
import { LEAST_MS, PER_THREAD, shardsOf, unitsPerShard } from "./shards.js";
import { Window } from "./window.js";
import type { ShardAnswer, ShardTask } from "./work.js";

/** Options of `connect`: which workers take part, and what happens when some fail. */
export interface ConnectOptions extends ServerOptions {
  /**
   * Which workers take part. `same`, the default: those whose engine computes the same bits as the one in use here, so that results do
   * not depend on which workers there are. `any`: all of them; results may then differ in the last digits from run to run. Or a
   * fingerprint, as workers report it: only those with that one.
   */
  arithmetic?: "same" | "any" | (string & {}) | undefined;
  /**
   * Seconds without a sign of life after which a worker's shards are given to others, 0.1 to a day; default 5. Where several processes
   * share the workers of a server, the value of the last one that connected counts for all.
   */
  stallTimeout?: number | undefined;
  /** NATS servers that keep a copy of the queue, 1 to 5; default 1. With more than one, the queue outlives a server. */
  replicas?: number | undefined;
  /** Called when workers come and go, shards are retried or answers are rejected; see `ClusterEvent`. */
  onEvent?: ((event: ClusterEvent) => void) | undefined;
}

/** A cluster of workers, used as a pool. */
export interface Cluster extends Pool {
  /** The current number of threads of all workers that take part; 0 while there are none, and then solves wait for one. */
  readonly workers: number;
  /** How the cluster is doing: its workers, what is under way, and how much has been done. */
  readonly status: ClusterStatus;
  /** The arithmetic of the workers that take part; `any` if all do. */
  readonly fingerprint: string;
  /**
   * Solves batch after batch, for ensembles that are larger than memory: the solutions come in the same order, and only a few batches are
   * in progress at a time.
   *
   * @param batches - Initial states `[batch, state]`, as many and as large as you like.
   */
  stream<D extends Dtype, A extends string, F extends Field = Field<D, A>, N extends FieldNames = NamesOfField<F>>(
    field: F & Field<D, A>,
    batches: Iterable<ArrayOf<D>> | AsyncIterable<ArrayOf<D>>,
    times: ArrayLike<number>,
    options?: GradientOptions<A, N>,
  ): AsyncGenerator<IndependentSolution<D>, void>;
  /** Closes the connection and rejects pending calls with `DISPOSED`; workers stay. A second call does nothing. */
  close(): void;
}

const batchesRule = rule<object>(
  "an iterable of arrays",
  (value) => isObject(value) && (Symbol.iterator in value || Symbol.asyncIterator in value),
);
const isArithmetic = (value: unknown) => value === "same" || value === ANY || /^[0-9a-f]{16}$/.test(String(value));
const connectRules = {
  ...serverRules,
  arithmetic: fallback(rule<string>("same, any or a fingerprint of 16 hexadecimal digits", isArithmetic), "same"),
  stallTimeout: stallRule(5),
  replicas: fallback(
    rule<number>("an integer from 1 to 5", (value) => count.valid(value) && (value as number) <= 5),
    1,
  ),
  onEvent: callable<(event: ClusterEvent) => void>(),
};

/**
 * Connects to the NATS servers of a cluster. The result is a pool with `odeint`, `vjp`, `jvp` and `valueAndGrad`; `train`, `fit`,
 * `leastSquares` and flows take it as `pool`. Trajectories take their own steps (`batching: "independent"`), and results are bitwise the
 * same whichever worker computes them.
 *
 * @throws `OPTION` for invalid options; `CONNECTION` if no server is reached, or it has no JetStream; `UNSUPPORTED` without the packages
 * `@nats-io/…`.
 */
export async function connect(options: ConnectOptions = {}): Promise<Cluster> {
  const {
    arithmetic,
    stallTimeout,
    replicas,
    onEvent = warnOfWaiting,
    ...server
  } = readArguments(options, connectRules);
  const group = arithmetic === "same" ? fingerprintOf() : arithmetic;
  const client = await connectClient({ ...server, name: "symplectic-adjoint coordinator" });
  const cluster = new ClusterPool(client, { group, stallMs: stallTimeout * 1000, replicas, onEvent });
  try {
    await cluster.start();
  } catch (error) {
    cluster.close();
    throw error;
  }
  return cluster;
}

/** A batch in progress. */
interface RunningBatch<D extends Dtype> {
  readonly field: WasmField<D>;
  readonly problem: EnsembleProblem<D>;
  readonly job: SplitJob;
  /** The shards so far. While the speed is unknown, they are cut one after the other. */
  readonly cuts: Cut[];
  /** Every shard has a multiple of this many trajectories, except for the last; with a gradient, it is a leaf. */
  readonly unit: number;
  /** The number of the field's parameters. */
  readonly parameters: number;
  /** Values that all shards refer to. */
  readonly values: readonly Stored[];
  /** The key under which the speed is remembered. */
  readonly kind: string;
  /** Whether the speed was known when the batch began. */
  readonly wasKnown: boolean;
  readonly name: string;
  /** The worker that solved each shard. */
  readonly owners: string[];
  forget(): void;
}

/** A solved batch, whose solves the workers keep. */
interface SolvedBatch<D extends Dtype> {
  readonly running: RunningBatch<D>;
  readonly results: readonly EnsembleResult<D>[];
  readonly solution: IndependentSolution<D>;
}

/** How many models' recipes stay in the store; the least recently used one is removed first. */
const MOST_MODELS = 8;
/** Until the speed is known, each shard is up to this many times as large as all before it together. */
const GROWTH = 8;
/** How many batches of a stream are in progress at most. */
const MOST_AHEAD = 64;
/** The largest answer in bytes; its exact size is checked when it is read. */
const MOST_ANSWER = 2 ** 31;

class ClusterPool implements Cluster {
  readonly shared = true;
  readonly fingerprint: string;
  readonly #client: Client;
  readonly #coordinator: Coordinator;
  readonly #window: Window;
  readonly #models = new Map<string, Stored>();
  /** Milliseconds per unit of trajectories, by kind of work. */
  readonly #speeds = new Map<string, number>();
  #solves = 0;
  #closed = false;
  /** The values that kept solves have in the store. */
  readonly #kept = new KeptSolves<() => void>((forget) => {
    if (this.#closed) return;
    forget();
    this.#tidy();
  });

  constructor(
    client: Client,
    {
      group,
      onEvent,
      ...rest
    }: { group: string; stallMs: number; replicas: number; onEvent(event: ClusterEvent): void },
  ) {
    disposable(ClusterPool.prototype, ClusterPool.prototype.close);
    this.fingerprint = group;
    this.#client = client;
    this.#coordinator = new Coordinator(client, {
      ...rest,
      group,
      suits: ({ fingerprint }) => group === ANY || fingerprint === group,
      onEvent: (event) => {
        if (event.kind === "joined") this.#window.grown();
        runUserCode(() => onEvent(event));
      },
    });
    this.#window = new Window(() => this.#coordinator.window);
    registerPool(this);
    Object.preventExtensions(this);
  }

  /** The cluster itself, and not an object made from one. */
  static #own(cluster: ClusterPool): ClusterPool {
    return argument("this", cluster, OWN);
  }

  static is(value: unknown): boolean {
    return isObject(value) && #models in value;
  }

  /** Text for messages and consoles. */
  toString(): string {
    return "pool of a cluster";
  }

  start(): Promise<void> {
    return this.#coordinator.start();
  }

  get workers(): number {
    return this.#coordinator.threads;
  }

  get status(): ClusterStatus {
    return this.#coordinator.status;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const coordinator = this.#coordinator;
    coordinator.end(new SymplecticAdjointError("DISPOSED", "the cluster has been closed"));
    coordinator.clear().finally(() => this.#client.connection.close());
  }

  declare [Symbol.dispose]: () => void;

  /** Starts a batch: stores the values that its shards share. */
  #begin<D extends Dtype>(
    given: Field<D>,
    problem: EnsembleProblem<D>,
    { keep, directions = 0 }: { keep: boolean; directions?: number },
  ): RunningBatch<D> {
    const field = wasmField(given);
    const job = splitJob(field as unknown as WasmField<Dtype>, problem as unknown as EnsembleProblem);
    const { leaf, parametersLength } = field.use().rust;
    const unit = keep ? leaf : LEAST_PART;
    const model = pack(job.model);
    const key = new TextDecoder("latin1").decode(model);
    const kind = `${unit} ${directions} ${key}`;
    const units = Math.ceil(problem.batch / unit);
    // Each shard uses it twice: for the solve and for its transpose.
    const step = this.#coordinator.keep(pack(job.step), 2 * Math.min(units, PER_THREAD * Math.max(1, this.workers)));
    return {
      field,
      problem,
      job,
      cuts: [],
      unit,
      parameters: parametersLength,
      values: [this.#model(key, model), step],
      kind,
      wasKnown: this.#speeds.has(kind),
      name: String(++this.#solves),
      owners: [],
      forget: () => this.#coordinator.forget(step),
    };
  }

  /**
   * Cuts the next shards. If the speed is known, they cover the rest of the batch; otherwise it is one shard, larger than those before it,
   * until one takes long enough to measure.
   */
  #cut<D extends Dtype>({ cuts, problem, unit, parameters, kind, wasKnown }: RunningBatch<D>): readonly Cut[] {
    const { batch, dtype } = problem;
    const { from: first, to: from } = cuts.at(-1) ?? { from: 0, to: 0 };
    const ms = this.#speeds.get(kind);
    const isKnown = ms !== undefined && (wasKnown || (ms * (from - first)) / unit >= LEAST_MS);
    const bytes = parameters * constructors[dtype].BYTES_PER_ELEMENT;
    const next = isKnown
      ? shardsOf({ from, to: batch }, unit, unitsPerShard(Math.ceil(batch / unit), this.workers, bytes, ms))
      : [{ from, to: Math.min(batch, Math.max(unit, GROWTH * from)) }];
    cuts.push(...next);
    return next;
  }

  /** The part of the model that stays the same from step to step is stored once. */
  #model(kind: string, model: Uint8Array): Stored {
    const stored = this.#models.get(kind) ?? this.#coordinator.keep(model);
    this.#models.delete(kind);
    this.#models.set(kind, stored);
    return stored;
  }

  /** Removes models that have not been used for a while, unless a task may still need them. */
  #tidy(): void {
    if (this.#coordinator.status.inFlight > 0) return;
    for (const [kind, stored] of [...this.#models].slice(0, -MOST_MODELS)) {
      this.#models.delete(kind);
      this.#coordinator.forget(stored);
    }
  }

  /** Runs one shard on a worker. */
  #shard<D extends Dtype, T>(
    running: RunningBatch<D>,
    index: number,
    task: () => Omit<ShardTask, "part">,
    read: (result: unknown) => T,
  ): Promise<T> {
    const { job, cuts, values, owners, unit } = running;
    const cut = cuts[index] as Cut;
    return this.#window.run(async () => {
      const own = task();
      const owner = own.kind === "pull" ? owners[index] : undefined;
      const whole: RemoteTask<T> = {
        body: () => pack({ ...own, part: job.shard(cut) }),
        values,
        ...(owner !== undefined && { follows: { worker: owner, body: () => pack(own) } }),
        most: MOST_ANSWER,
        read: (bytes) => {
          const { ms, result } = unpack(bytes) as ShardAnswer;
          const value = read(result);
          if (own.kind !== "pull") this.#measured(running, ms / Math.ceil((cut.to - cut.from) / unit));
          return value;
        },
      };
      const { value, worker } = await this.#coordinator.submit(whole);
      if (own.kind !== "pull") owners[index] = worker;
      return value;
    });
  }

  /** Records how long a unit took. A worker may report nonsense. */
  #measured({ kind, wasKnown }: Pick<RunningBatch<Dtype>, "kind" | "wasKnown">, ms: number): void {
    if (!(ms > 0 && ms < 1e7)) return;
    // The first measurements include one-time work such as compiling the field.
    const before = wasKnown ? this.#speeds.get(kind) : undefined;
    this.#speeds.set(kind, before === undefined ? ms : 0.8 * before + 0.2 * ms);
    if (this.#speeds.size > 64) this.#speeds.delete(this.#speeds.keys().next().value as string);
  }

  async #solve<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: OdeintOptions,
    keep: boolean,
  ): Promise<SolvedBatch<D>> {
    checkIndependent(options);
    const given = readProblem(field, y0, times, options);
    checkFinite("y0", given.y0);
    checkLists(given);
    const problem = ownProblem(given);
    const running = this.#begin(field, problem, { keep });
    const { cuts, name } = running;
    try {
      const task = (index: number) => ({ kind: "solve", solve: `${name}.${index}`, keep }) as const;
      const results = await this.#shards(running, options.progress, task, (cut, result) =>
        readResult(problem, cut, result),
      );
      const result = withWorkers(joinResults(problem, cuts, results), running);
      return { running, results, solution: solutionOf(problem, result) };
    } catch (error) {
      running.forget();
      throw error;
    }
  }

  /** Runs all shards of a batch. */
  async #shards<D extends Dtype>(
    running: RunningBatch<D>,
    progress: OdeintOptions["progress"],
    task: (index: number, cut: Cut) => Omit<ShardTask, "part">,
    read: (cut: Cut, result: unknown) => EnsembleResult<D>,
  ): Promise<EnsembleResult<D>[]> {
    const { cuts, problem } = running;
    const results: EnsembleResult<D>[] = [];
    let done = 0;
    const solved = async (cut: Cut, index: number) => {
      const result = await this.#shard(
        running,
        index,
        () => task(index, cut),
        (result) => read(cut, result),
      );
      done += cut.to - cut.from;
      if (progress) runUserCode(() => progress(done / problem.batch));
      return result;
    };
    while ((cuts.at(-1)?.to ?? 0) < problem.batch) {
      const before = cuts.length;
      const next = this.#cut(running);
      results.push(...(await all(next.map((cut, i) => solved(cut, before + i)))));
    }
    return results;
  }

  /** Transposes a solve; with `keep`, the workers keep it for another call. */
  async #transpose<D extends Dtype>(
    { running, results }: SolvedBatch<D>,
    cotangent: ArrayOf<D>,
    events: EventCotangents<D> | undefined,
    keep: boolean,
  ): Promise<IndependentGradient<D>> {
    const { problem, cuts, name, field, unit: leaf, parameters } = running;
    const { whole, ranges } = readCotangents(problem, results, cotangent, events);
    const used = new Set<string>();
    const parts = cuts.map((cut, index): Promise<EnsembleGradient<D>> => {
      used.add(running.owners[index] as string);
      return this.#shard(
        running,
        index,
        () => {
          const cotangents = cotangentsOfPart(
            problem,
            whole,
            cut,
            ranges[index] as [number, number],
          ) as EnsembleCotangents;
          return { kind: "pull", solve: `${name}.${index}`, keep, cotangents };
        },
        (result) => readGradient(problem, { parameters, leaf }, cut, result),
      );
    });
    const joined = joinGradients(problem, leaf, cuts, await all(parts));
    return gradientOf(problem, field, { ...joined, stats: { ...joined.stats, workers: used.size } });
  }

  async odeint<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions = {},
  ): Promise<IndependentSolution<D>> {
    const cluster = ClusterPool.#own(this);
    const { running, solution } = await cluster.#solve(field, y0, times, readOptions(options), false);
    running.forget();
    cluster.#tidy();
    return solution;
  }

  async vjp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    options: GradientOptions = {},
  ): Promise<IndependentPoolVjp<D>> {
    const cluster = ClusterPool.#own(this);
    const solved = await cluster.#solve(field, y0, times, readOptions(options), true);
    const { solution, running } = solved;
    return cluster.#kept.handOut(solution, running.forget, (cotangent: ArrayOf<D>, events?: EventCotangents<D>) =>
      cluster.#transpose(solved, cotangent, events, true),
    );
  }

  async jvp<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    tangents: Tangents<D>,
    options: OdeintOptions = {},
  ): Promise<IndependentSolutionJvp<D>> {
    const cluster = ClusterPool.#own(this);
    const read = readOptions(options);
    checkIndependent(read);
    const given = readEnsembleJvp(field, y0, times, tangents, read, "jvp");
    checkFiniteJvp(given);
    const whole = { ...given, problem: ownProblem(given.problem), tangents: ownTangents(given.tangents) };
    const { problem, directions } = whole;
    const running = cluster.#begin(field, problem, { keep: false, directions });
    const widths = jvpWidths(problem, directions);
    try {
      const task = (index: number, cut: Cut): Omit<ShardTask, "part"> => {
        const tangents = tangentsOfPart(whole, cut) as TangentArrays;
        return { kind: "jvp", solve: `${running.name}.${index}`, keep: false, directions, tangents };
      };
      const read = (cut: Cut, result: unknown) => readResult(problem, cut, result, widths);
      const results = await cluster.#shards(running, options.progress, task, read);
      return jvpOf(problem, directions, withWorkers(joinResults(problem, running.cuts, results, widths[0]), running));
    } finally {
      running.forget();
      cluster.#tidy();
    }
  }

  async valueAndGrad<D extends Dtype>(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: Lists,
    loss: (...inputs: never[]) => unknown,
    options: GradientOptions = {},
  ): Promise<{ value: number; gradient: IndependentGradient<D>; solution: IndependentSolution<D> }> {
    const cluster = ClusterPool.#own(this);
    checkLoss(loss);
    const solved = await cluster.#solve(field, y0, times, readOptions(options), true);
    const { running, solution } = solved;
    try {
      const { value, cotangent, events } = await cluster.#coordinator.losses.wait(
        lossIn<D>(loss, solution, times, true),
      );
      return { value, gradient: await cluster.#transpose(solved, cotangent, events, false), solution };
    } finally {
      running.forget();
      cluster.#tidy();
    }
  }

  async *stream<
    D extends Dtype,
    A extends string,
    F extends Field = Field<D, A>,
    N extends FieldNames = NamesOfField<F>,
  >(
    field: F & Field<D, A>,
    batches: Iterable<ArrayOf<D>> | AsyncIterable<ArrayOf<D>>,
    times: ArrayLike<number>,
    options: GradientOptions<A, N> = {},
  ): AsyncGenerator<IndependentSolution<D>, void> {
    argument("batches", batches, required(batchesRule));
    const ahead: Promise<IndependentSolution<D>>[] = [];
    for await (const y0 of batches) {
      const next = this.odeint(field, y0, times, options as never);
      // Its error is thrown when its turn comes.
      next.catch(() => {});
      ahead.push(next);
      // Keep the workers busy while one result is joined: large batches fill them, small ones need many in progress.
      while (ahead.length > (this.#window.isFull ? 1 : MOST_AHEAD))
        yield (await ahead.shift()) as IndependentSolution<D>;
    }
    for (const next of ahead) yield await next;
  }
}

/** The default listener: without it, a solve without workers would wait in silence. */
function warnOfWaiting({ kind, reason }: ClusterEvent): void {
  if (kind === "waiting") console.warn(`symplectic-adjoint: ${reason}`);
}

/** Refuses options that a cluster does not support. */
function checkIndependent({ batching, partial }: OdeintOptions): void {
  if (batching === "together") throw refused("OPTION", "batching", "independent, in a cluster", "together");
  checkAbsent({ partial }, " in a cluster");
}

/** A problem whose states stay as they are: shards are made of them later, and some once more. */
function ownProblem<D extends Dtype>(problem: EnsembleProblem<D>): EnsembleProblem<D> {
  if (problem.times.length === 0) throw refused("SHAPE", "times", "at least one time", "0");
  return { ...problem, y0: problem.y0.slice() as ArrayOf<D> };
}

/** Likewise directions. */
function ownTangents<D extends Dtype>({ y0, parameters, arguments: args, times }: TangentArrays<D>): TangentArrays<D> {
  const copy = (numbers: ArrayOf<D> | undefined) => numbers?.slice() as ArrayOf<D> | undefined;
  return { y0: copy(y0), parameters: copy(parameters), arguments: copy(args), times };
}

/** Adds the number of workers that took part to a result. */
function withWorkers<D extends Dtype>(result: EnsembleResult<D>, { owners }: RunningBatch<D>): EnsembleResult<D> {
  return { ...result, stats: { ...result.stats, workers: new Set(owners).size } };
}

/** Waits until all have settled. Returns the results, or throws the first error. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises);
  const failed = settled.find((result) => result.status === "rejected");
  if (failed) throw (failed as PromiseRejectedResult).reason;
  return settled.map((result) => (result as PromiseFulfilledResult<T>).value);
}

const OWN = required(rule<ClusterPool>("a cluster, from connect", (value) => ClusterPool.is(value)));
