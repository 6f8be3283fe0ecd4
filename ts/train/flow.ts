// Densities by continuous normalizing flows: blocks one after the other, the FFJORD objective, log densities and samples.
import { type ArrayOf, arrayOf, batchOf, type Dtype, zeros } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import {
  anything,
  argument,
  array,
  elements,
  fallback,
  finitePositive,
  isObject,
  natural,
  nonNegative,
  count as positiveInteger,
  options as readOptions,
  required,
  rule,
} from "../checks/rules.js";
import type { CnfField } from "../fields/cnf.js";
import { WasmField, wasmField } from "../fields/field.js";
import { poolRule } from "../parallel/pool-rule.js";
import type { Pool } from "../parallel/pool-types.js";
import { vjp } from "../solve/gradient.js";
import { odeint } from "../solve/odeint.js";
import { type GradientOptions, gradientRules, readOptions as readSolve } from "../solve/options.js";
import type { Gradient } from "../solve/results.js";
import { normals } from "../trace/random.js";

/** The blocks of a flow, for `flow`, and the time that each takes; `blocks` is required. */
export interface FlowOptions<D extends Dtype = Dtype> {
  /** Flows of the same features and regularisers: data pass the first one first. */
  blocks: readonly CnfField<D>[];
  /** The time that each block takes, from 0; default 1. */
  time?: number | undefined;
}

/** Options of the solve and its gradient, and what the objective adds to −mean log p. */
export interface FlowGradientOptions extends GradientOptions {
  /** Weight of the mean of ∫ ‖f‖² dt, for blocks with `kinetic`; default 0, the only value for other blocks (Finlay et al. 2020). */
  kineticWeight?: number | undefined;
  /** Weight of the mean of ∫ ‖∂f/∂x‖² dt, for blocks with `jacobian`; default 0, the only value for other blocks. */
  jacobianWeight?: number | undefined;
}

/** How to draw samples: how to solve, and which of all samples. */
export interface SampleOptions extends GradientOptions {
  /** An integer, zero or more: the same seed gives the same samples. By default each call draws others. */
  seed?: number | undefined;
}

/** The objective and its gradients, one for each block. */
export interface FlowGradient<D extends Dtype = Dtype> {
  /** The mean negative log density, in nats, including the regularisers. */
  readonly value: number;
  /** The mean negative log density without the regularisers, in nats. */
  readonly negativeLogDensity: number;
  /** The gradient of each block, in the order of the blocks. */
  readonly gradients: readonly Gradient<D>[];
}

/** A probability density, of data that the blocks map to a standard normal distribution. */
export interface Flow<D extends Dtype = Dtype> {
  /** The blocks of the flow: make an optimizer for each. */
  readonly blocks: readonly CnfField<D>[];
  /** The number of features of a sample. */
  readonly features: number;
  /** log p(x) of each sample of x `[batch, features]`, in nats. */
  logDensity(x: ArrayOf<D>, options?: GradientOptions): ArrayOf<D>;
  /**
   * Draws `count` samples, `[count, features]`, row-major. With the same `seed`, each call draws the same samples. Without one, each call
   * continues where the one before stopped, and the first call starts with seed 0.
   */
  sample(count: number, options?: SampleOptions): ArrayOf<D>;
  /** Draws `count` samples, `[count, features]`, row-major; with the same seed, an integer, zero or more, each call draws the same. */
  sample(count: number, seed?: number, options?: GradientOptions): ArrayOf<D>;
  /** The objective of FFJORD (Grathwohl et al. 2019), −mean log p(x), and its gradient. */
  valueAndGrad(x: ArrayOf<D>, options?: FlowGradientOptions): FlowGradient<D>;
  /** Computes the same as `valueAndGrad` on the workers of a pool. */
  valueAndGradIn(pool: Pool, x: ArrayOf<D>, options?: FlowGradientOptions): Promise<FlowGradient<D>>;
}

/** A solve, here or in a pool. */
interface FlowSolve<D extends Dtype> {
  readonly solution: { readonly y: ArrayOf<D> };
  pullback(cotangent: ArrayOf<D>): Gradient<D> | Promise<Gradient<D>>;
  dispose(): void;
}

/** Weights of the regularisers. */
interface RegulariserWeights {
  readonly kinetic: number;
  readonly jacobian: number;
}

const blocksRule = array<CnfField>("an array of flows, from cnf", 1);
const blockRule = rule<CnfField>("a flow, from cnf", (value) => WasmField.is(value) && value.recipe?.kind === "cnf");
const rules = { blocks: anything<unknown>(), time: fallback(finitePositive, 1) };
const weightRules = { kineticWeight: fallback(nonNegative, 0), jacobianWeight: fallback(nonNegative, 0) };

/**
 * Makes a density from flows.
 *
 * @throws `OPTION` without blocks, or for blocks that are not flows of the same features and regularisers. Its methods throw `SHAPE`,
 * `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, and `MAX_STEPS`, `STEP_UNDERFLOW`, `NON_FINITE` if a solve fails, with its `t`.
 */
export function flow<D extends Dtype>(options: FlowOptions<D>): Flow<D> {
  const { blocks: given, time } = readOptions(options, rules);
  const blocks = elements("blocks", given, blocksRule, blockRule) as CnfField<D>[];
  const [first] = blocks as [CnfField<D>];
  for (const [index, block] of blocks.entries()) {
    const name = `blocks[${index}]`;
    const alike =
      block.features === first.features && block.stateSize === first.stateSize && block.dtype === first.dtype;
    if (!alike) throw refused("OPTION", name, "a flow of the same state as the first", describe(block));
    const terms = [first, block].map((flow) => regularisersOf(flow).join(" and ") || "none");
    if (terms[0] !== terms[1]) {
      throw refused("OPTION", name, `the regularisers of the first, ${terms[0]}`, terms[1] as string);
    }
  }
  return new BlockFlow(blocks, time);
}

class BlockFlow<D extends Dtype> implements Flow<D> {
  readonly features: number;
  readonly #times: readonly [number, number];
  /** The generator of samples that are drawn without a seed. */
  #random: (() => number) | undefined;

  constructor(
    readonly blocks: readonly CnfField<D>[],
    time: number,
  ) {
    this.features = (blocks[0] as CnfField<D>).features;
    this.#times = [0, time];
    Object.freeze(blocks);
    fix(this, ["blocks", "features"]);
    Object.preventExtensions(this);
  }

  logDensity(x: ArrayOf<D>, options: GradientOptions = {}): ArrayOf<D> {
    checkFlow(this);
    let state = this.#start(x);
    for (const block of this.blocks) state = end(odeint(block, state, this.#times, options).y);
    return this.#densities(state);
  }

  sample(count: number, given?: number | SampleOptions, more: GradientOptions = {}): ArrayOf<D> {
    checkFlow(this);
    const samples = argument("count", count, required(positiveInteger));
    const { seed, ...options } = isObject(given)
      ? readOptions(given, { seed: natural, ...gradientRules })
      : { seed: argument("seed", given, natural), ...readOptions(more, gradientRules) };
    if (seed === undefined) this.#random ??= normals(0);
    const random = seed === undefined ? (this.#random as () => number) : normals(seed);
    const { dtype } = this.blocks[0] as CnfField<D>;
    const z = zeros(dtype, samples * this.features).map(random) as ArrayOf<D>;
    let state = this.#start(z);
    const [from, to] = this.#times;
    for (const block of [...this.blocks].reverse()) state = end(odeint(block, state, [to, from], options).y);
    return this.#positions(state);
  }

  valueAndGrad(x: ArrayOf<D>, options: FlowGradientOptions = {}): FlowGradient<D> {
    checkFlow(this);
    const { weights, settings } = splitOptions(this.blocks, options);
    const steps = this.#gradient(x, weights, (block, state) => vjp(block, state, this.#times, settings));
    let step = steps.next();
    while (!step.done) step = steps.next(step.value);
    return step.value;
  }

  async valueAndGradIn(pool: Pool, x: ArrayOf<D>, options: FlowGradientOptions = {}): Promise<FlowGradient<D>> {
    checkFlow(this);
    argument("pool", pool, required(poolRule));
    const { weights, settings } = splitOptions(this.blocks, options);
    const steps = this.#gradient(x, weights, (block, state) => pool.vjp(block, state, this.#times, settings));
    let step = steps.next();
    try {
      while (!step.done) step = steps.next(await step.value);
      return step.value;
    } finally {
      // The awaited promise may have failed.
      steps.return(undefined as never);
    }
  }

  /** The name of the kind of object, for messages. */
  toString(): string {
    return `flow (blocks: ${this.blocks.length}, features: ${this.features})`;
  }

  static is(value: unknown): boolean {
    return isObject(value) && #times in value;
  }

  /** The way through the blocks and back; what is yielded comes back when it is there. */
  *#gradient(
    x: ArrayOf<D>,
    weights: RegulariserWeights,
    solve: (block: CnfField<D>, state: ArrayOf<D>) => FlowSolve<D> | Promise<FlowSolve<D>>,
  ): Generator<unknown, FlowGradient<D>, unknown> {
    const solves: FlowSolve<D>[] = [];
    try {
      let state = this.#start(x);
      for (const block of this.blocks) {
        const solved = (yield solve(block, state)) as FlowSolve<D>;
        solves.push(solved);
        state = end(solved.solution.y);
      }
      const { cotangent, ...values } = this.#objective(state, weights);
      const gradients: Gradient<D>[] = [];
      const { dtype } = this.blocks[0] as CnfField<D>;
      let w = cotangent;
      for (const { pullback } of [...solves].reverse()) {
        const gradient = (yield pullback(atEnd(dtype, w))) as Gradient<D>;
        gradients.unshift(gradient);
        w = gradient.y0;
      }
      return frozen({ ...values, gradients });
    } finally {
      for (const { dispose } of solves) dispose();
    }
  }

  /** The states of samples that have not moved. */
  #start(x: ArrayOf<D>): ArrayOf<D> {
    const { dtype, stateSize } = this.blocks[0] as CnfField<D>;
    const given = arrayOf("x", x, dtype);
    const batch = batchOf("x", given, this.features);
    const state = zeros(dtype, batch * stateSize);
    for (let sample = 0; sample < batch; sample++) {
      const row = given.subarray(sample * this.features, (sample + 1) * this.features);
      state.set(row as never, sample * stateSize);
    }
    return state;
  }

  /** x of states. */
  #positions(state: ArrayOf<D>): ArrayOf<D> {
    const { dtype, stateSize } = this.blocks[0] as CnfField<D>;
    const batch = state.length / stateSize;
    const x = zeros(dtype, batch * this.features);
    return x.map(
      (_, i) => state[Math.floor(i / this.features) * stateSize + (i % this.features)] as number,
    ) as ArrayOf<D>;
  }

  /** log p of what has come to a standard normal distribution: that of z there, less what log p has gained on the way. */
  #densities(state: ArrayOf<D>): ArrayOf<D> {
    const { dtype, stateSize } = this.blocks[0] as CnfField<D>;
    const densities = zeros(dtype, state.length / stateSize).map((_, sample) => {
      const row = state.subarray(sample * stateSize, (sample + 1) * stateSize);
      let squares = 0;
      for (let i = 0; i < this.features; i++) squares += (row[i] as number) ** 2;
      return -0.5 * (squares + this.features * Math.log(2 * Math.PI)) - (row[this.features] as number);
    }) as ArrayOf<D>;
    const bad = densities.findIndex((density) => !Number.isFinite(density));
    if (bad >= 0) throw refused("NON_FINITE", "log p", `a finite ${dtype}`, `${densities[bad]} for sample ${bad}`);
    return densities;
  }

  /** The objective at the end, and its cotangent there. */
  #objective(state: ArrayOf<D>, weights: RegulariserWeights) {
    const [first] = this.blocks as [CnfField<D>];
    const { stateSize } = first;
    const extras = regularisersOf(first).map((name) => weights[name]);
    const batch = state.length / stateSize;
    const densities = this.#densities(state);
    let negativeLogDensity = 0;
    for (const density of densities) negativeLogDensity -= density / batch;
    let value = negativeLogDensity;
    const cotangent = state.map((number, i) => {
      const feature = i % stateSize;
      if (feature < this.features) return number / batch;
      if (feature === this.features) return 1 / batch;
      const weight = extras[feature - this.features - 1] as number;
      value += (weight * number) / batch;
      return weight / batch;
    }) as ArrayOf<D>;
    if (!Number.isFinite(value) || cotangent.some((number) => !Number.isFinite(number))) {
      throw refused("NON_FINITE", "the objective", "a finite number with a finite cotangent", String(value));
    }
    return { value, negativeLogDensity, cotangent };
  }
}

const flowRule = required(rule<BlockFlow<Dtype>>("a flow, from flow", (value) => BlockFlow.is(value)));
/** Refuses an object that was made from a flow. */
const checkFlow = (flow: unknown) => argument("this", flow, flowRule);

/** The regularisers that a block integrates, in the order of its state. */
function regularisersOf(block: CnfField<Dtype>) {
  const carried = wasmField(block).recipe?.options as { kinetic: boolean; jacobian: boolean };
  return (["kinetic", "jacobian"] as const).filter((name) => carried[name]);
}

/** The weights of the regularisers that blocks have, and the options of the solve. */
function splitOptions([first]: readonly CnfField<Dtype>[], options: FlowGradientOptions) {
  const { kineticWeight, jacobianWeight, ...given } = readOptions(options, { ...weightRules, ...gradientRules });
  const { timeGradients = false } = given;
  const weights: RegulariserWeights = { kinetic: kineticWeight, jacobian: jacobianWeight };
  const carried = regularisersOf(first as CnfField<Dtype>);
  for (const name of ["kinetic", "jacobian"] as const) {
    if (weights[name] === 0 || carried.includes(name)) continue;
    throw refused("OPTION", `${name}Weight`, `0, as the blocks have no ${name}: true`, String(weights[name]));
  }
  return { weights, settings: readSolve({ ...given, timeGradients }) as GradientOptions };
}

/** The last of two output times. */
const end = <D extends Dtype>(y: ArrayOf<D>) => y.slice(y.length / 2) as ArrayOf<D>;

/** A cotangent of the last of two output times. */
function atEnd<D extends Dtype>(dtype: D, w: ArrayOf<D>): ArrayOf<D> {
  const all = zeros(dtype, 2 * w.length);
  all.set(w as never, w.length);
  return all;
}
