// Parts of problems whose trajectories take their own steps, and putting together what comes of them: bitwise what one solve of all
// gives, as the sums over trajectories are formed in the same binary tree over leaves.
import { EVENT_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, checkFinite, type Dtype, zeros } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import type { FieldState } from "../fields/field.js";
import {
  type EnsembleCotangents,
  type EnsembleGradient,
  type EnsembleProblem,
  type EnsembleResult,
  type Subtree,
  subtrees,
} from "../solve/ensemble.js";
import type { EnsembleJvpProblem, TangentArrays } from "../solve/ensemble-jvp.js";
import { addBytes } from "./shards.js";

/** A run of trajectories. */
export interface Cut {
  readonly from: number;
  readonly to: number;
}

/** The fewest trajectories of a part, which fill the registers. Without a gradient, parts need not begin at leaves. */
export const LEAST_PART = 16;

/** Cuts a batch into as many parts of whole leaves, or other units, at most. */
export function cutBatch(batch: number, unit: number, most: number): Cut[] {
  const units = Math.ceil(batch / unit);
  const parts = Math.min(most, units);
  const at = (part: number) => Math.min(batch, Math.floor((part * units) / parts) * unit);
  return Array.from({ length: parts }, (_, part) => ({ from: at(part), to: at(part + 1) }));
}

/** Where the list of each trajectory begins, by how many numbers each has. */
const starts = new WeakMap<readonly number[], Float64Array>();

function startsOf(counts: readonly number[]): Float64Array {
  let own = starts.get(counts);
  if (!own) {
    own = new Float64Array(counts.length + 1);
    for (const [index, count] of counts.entries()) own[index + 1] = (own[index] as number) + count;
    starts.set(counts, own);
  }
  return own;
}

/** Where the numbers of a run of trajectories lie in lists: all of them, where the lists are for all. */
function rangeOf(counts: readonly number[] | null, total: number, { from, to }: Cut): [begin: number, end: number] {
  if (counts === null) return [0, total];
  const starts = startsOf(counts);
  return [starts[from] as number, starts[to] as number];
}

/** The same problem for a run of its trajectories. */
export function partOf<D extends Dtype>(problem: EnsembleProblem<D>, cut: Cut): EnsembleProblem<D> {
  const { batch, state, counts, times, changes, arguments: packedArguments } = problem;
  const { from, to } = cut;
  const rows = (numbers: ArrayOf<D>, width: number) => numbers.slice(from * width, to * width) as ArrayOf<D>;
  const [begin, end] = rangeOf(counts, times.length, cut);
  const numbers: Float64Array[] = [];
  let at = 0;
  const jumps = changes.jumps.map((jump) => {
    const [first, last] = rangeOf(jump.counts, jump.times, cut);
    const [amounts, each] = [at + jump.times, jump.names.length];
    numbers.push(changes.numbers.subarray(at + first, at + last));
    numbers.push(changes.numbers.subarray(amounts + first * each, amounts + last * each));
    at = amounts + jump.amounts;
    const ownCounts = jump.counts?.slice(from, to) ?? null;
    return { ...jump, counts: ownCounts, times: last - first, amounts: (last - first) * each };
  });
  return {
    ...problem,
    batch: to - from,
    y0: rows(problem.y0, state),
    arguments: packedArguments && rows(packedArguments, packedArguments.length / batch),
    times: times.slice(begin, end),
    counts: counts?.slice(from, to) ?? null,
    changes: { ...changes, jumps, numbers: concat("float64", numbers) },
    part: from,
  };
}

/** Checks numbers by the indices of the whole batch, which whoever solves a part does not know. */
export function checkFiniteJvp<D extends Dtype>({ problem, tangents }: EnsembleJvpProblem<D>): void {
  checkFinite("y0", problem.y0);
  for (const [name, numbers] of Object.entries(tangents)) {
    if (numbers) checkFinite(`tangents.${name}`, numbers as Float64Array);
  }
}

/** The same directions for a run of trajectories. */
export function tangentsOfPart<D extends Dtype>(
  { problem, directions, tangents }: EnsembleJvpProblem<D>,
  cut: Cut,
): TangentArrays<D> {
  const { batch, times, counts } = problem;
  const rows = (all: ArrayOf<D> | undefined) => {
    if (all === undefined) return undefined;
    const width = all.length / (directions * batch);
    return ofEach(all, directions, cut.from * width, cut.to * width);
  };
  const [begin, end] = rangeOf(counts, times.length, cut);
  return {
    y0: rows(tangents.y0),
    // They may be a view of much more, all of which would be sent.
    parameters: tangents.parameters?.slice() as ArrayOf<D> | undefined,
    arguments: rows(tangents.arguments),
    times: tangents.times && ofEach<"float64">(tangents.times, directions, begin, end),
  };
}

/** The numbers from `begin` to `end` of each row. */
function ofEach<D extends Dtype>(all: ArrayOf<D>, rows: number, begin: number, end: number): ArrayOf<D> {
  const width = all.length / rows;
  const own = Array.from({ length: rows }, (_, row) => all.subarray(row * width + begin, row * width + end));
  return concat(all instanceof Float32Array ? "float32" : "float64", own as Float64Array[]) as ArrayOf<D>;
}

/** The same cotangents for a run of trajectories, whose events begin and end at these. */
export function cotangentsOfPart<D extends Dtype>(
  problem: EnsembleProblem<D>,
  all: EnsembleCotangents<D>,
  cut: Cut,
  [firstEvent, endEvent]: readonly [number, number],
): EnsembleCotangents<D> {
  const { state, counts, times, batch } = problem;
  const events = <A extends Float32Array | Float64Array>(numbers: A, width: number) =>
    numbers.slice(firstEvent * width, endEvent * width) as A;
  const [begin, end] = rangeOf(counts, times.length, cut);
  return {
    y: counts === null ? columns(problem, all.y, batch, cut) : (all.y.slice(begin * state, end * state) as ArrayOf<D>),
    eventTimes: events(all.eventTimes, 1),
    eventStates: events(all.eventStates, state),
  };
}

/** The state of a field (what it has besides its parameters), for consecutive trajectories. */
export function stateOfPart({ numbers, arrays }: FieldState, batch: number, { from, to }: Cut): FieldState {
  const slices = Object.entries(arrays).map(([name, values]) => {
    const size = values.length / batch;
    if (!Number.isInteger(size)) {
      throw refused("SHAPE", name, `numbers for a batch of ${batch}`, String(values.length));
    }
    return [name, values.slice(from * size, to * size)];
  });
  return { numbers, arrays: Object.fromEntries(slices) };
}

/** The rows `[times, batch, state]` of a run of trajectories. */
function columns<D extends Dtype>(
  { dtype, state, times }: EnsembleProblem<D>,
  all: ArrayOf<D>,
  batch: number,
  { from, to }: Cut,
): ArrayOf<D> {
  const row = (to - from) * state;
  const own = zeros(dtype, times.length * row);
  for (let k = 0; k < times.length; k++) {
    const start = (k * batch + from) * state;
    own.set(all.subarray(start, start + row) as never, k * row);
  }
  return own;
}

/** Puts the results of parts together, in the order of their trajectories; each output has `width` numbers. */
export function joinResults<D extends Dtype>(
  problem: EnsembleProblem<D>,
  cuts: readonly Cut[],
  results: readonly EnsembleResult<D>[],
  width = problem.state,
): EnsembleResult<D> {
  const { dtype, batch, counts, times } = problem;
  const starts = cuts.map((cut) => cut.from);
  const first = (index: number) => starts[index] as number;
  let y: ArrayOf<D>;
  if (counts === null) {
    y = zeros(dtype, times.length * batch * width);
    for (const [index, part] of results.entries()) {
      const row = part.y.length / times.length;
      for (let k = 0; k < times.length; k++) {
        y.set(part.y.subarray(k * row, (k + 1) * row) as never, (k * batch + first(index)) * width);
      }
    }
  } else y = joined(dtype, results, (part) => part.y);
  const events = joined("float64", results, (part) => part.events);
  let at = 0;
  for (const [index, part] of results.entries()) {
    for (const end = at + part.events.length; at < end; at += EVENT_NUMBERS) {
      events[at] = (events[at] as number) + first(index);
    }
  }
  const [{ stats }] = results as [EnsembleResult<D>];
  const sum = (of: (part: EnsembleResult<D>) => number) => results.reduce((total, part) => total + of(part), 0);
  return {
    y,
    trajectories: joined("float64", results, (part) => part.trajectories),
    events,
    eventStates: joined(dtype, results, (part) => part.eventStates),
    failures: results.flatMap(({ failures }, index) =>
      failures.map(({ trajectory, failure }) => ({ trajectory: first(index) + trajectory, failure })),
    ),
    paths: results.flatMap(({ paths }) => paths),
    stats: {
      ...stats,
      accepted: sum((part) => part.stats.accepted),
      rejected: sum((part) => part.stats.rejected),
      evaluations: sum((part) => part.stats.evaluations),
      peakBytes: addBytes(results.map((part) => part.stats.peakBytes)),
    },
  };
}

/** Puts the gradients of parts together: rows in their order, and sums over trajectories in the tree over their leaves. */
export function joinGradients<D extends Dtype>(
  problem: EnsembleProblem<D>,
  leaf: number,
  cuts: readonly Cut[],
  gradients: readonly EnsembleGradient<D>[],
): EnsembleGradient<D> {
  const { dtype, counts, changes } = problem;
  const nodes = cuts.map(({ from, to }) => subtrees(from / leaf, Math.ceil((to - from) / leaf)));
  const of = <E extends Dtype>(numbers: (part: EnsembleGradient<D>) => ArrayOf<E>) =>
    treeSum(
      nodes,
      gradients.map((part) => numbers(part)),
    );
  const parameters = of<D>((part) => part.parameters);
  const ofTimes = gradients.every((part) => part.times !== undefined)
    ? counts === null
      ? of<"float64">((part) => part.times as Float64Array)
      : joined("float64", gradients, (part) => part.times as Float64Array)
    : undefined;
  // Of each jump the times and the amounts of each part, as that has read past those before.
  const places = gradients.map(() => 0);
  const lists = changes.jumps.flatMap((jump) =>
    [1, jump.names.length].map((each) => {
      const parts = gradients.map((part, index) => {
        const begin = places[index] as number;
        const [from, to] = rangeOf(jump.counts, jump.times, cuts[index] as Cut);
        const sums = jump.counts === null ? (nodes[index] as Subtree[]).length : 1;
        const end = begin + (to - from) * each * sums;
        places[index] = end;
        return part.changes.subarray(begin, end);
      });
      return jump.counts === null ? treeSum<"float64">(nodes, parts) : concat("float64", parts);
    }),
  );
  for (const [name, numbers] of [
    ["parameters", parameters],
    ["times", ofTimes ?? []],
  ] as const) {
    checkFinite(`gradient.${name}`, numbers, "NON_FINITE", `a finite ${dtype}`);
  }
  const [{ stats }] = gradients as [EnsembleGradient<D>];
  const sum = (of: (part: EnsembleGradient<D>) => number) => gradients.reduce((total, part) => total + of(part), 0);
  return {
    y0: joined(dtype, gradients, (part) => part.y0),
    parameters,
    arguments: joined(dtype, gradients, (part) => part.arguments),
    times: ofTimes,
    changes: concat("float64", lists),
    stats: {
      ...stats,
      evaluations: sum((part) => part.stats.evaluations),
      vjps: sum((part) => part.stats.vjps),
      backwardSteps: sum((part) => part.stats.backwardSteps),
      retention: { ...stats.retention, states: sum((part) => part.stats.retention.states) },
      peakBytes: addBytes(gradients.map((part) => part.stats.peakBytes)),
    },
  };
}

/** A sum over a subtree of leaves. */
interface Node<D extends Dtype> extends Subtree {
  readonly numbers: ArrayOf<D>;
}

/** A sum, in the memory of its first operand. */
function added<D extends Dtype>(left: ArrayOf<D>, right: ArrayOf<D>): ArrayOf<D> {
  for (let i = 0; i < left.length; i++) left[i] = (left[i] as number) + (right[i] as number);
  return left;
}

/** The sum over all leaves, of parts that each have one for each of their subtrees, one after the other. The parts are used up. */
function treeSum<D extends Dtype>(
  subtreesOf: readonly (readonly Subtree[])[],
  parts: readonly ArrayOf<D>[],
): ArrayOf<D> {
  const waiting: Node<D>[] = [];
  for (const [index, part] of parts.entries()) {
    const partSubtrees = subtreesOf[index] as readonly Subtree[];
    const length = part.length / partSubtrees.length;
    for (const [place, { first, level }] of partSubtrees.entries()) {
      let node: Node<D> = {
        first,
        level,
        numbers: part.subarray(place * length, (place + 1) * length) as ArrayOf<D>,
      };
      for (let left = waiting.at(-1); left && isPair(left, node); left = waiting.at(-1)) {
        waiting.pop();
        node = { first: left.first, level: node.level + 1, numbers: added(left.numbers, node.numbers) };
      }
      waiting.push(node);
    }
  }
  const sums = waiting.map((node) => node.numbers);
  return sums.reduceRight((right, left) => added(left, right));
}

/** Whether these are the two halves of a subtree. */
function isPair(left: Subtree, right: Subtree): boolean {
  const size = 2 ** left.level;
  return left.level === right.level && left.first % (2 * size) === 0 && right.first === left.first + size;
}

function joined<P, D extends Dtype>(dtype: D, parts: readonly P[], of: (part: P) => ArrayOf<D>): ArrayOf<D> {
  return concat(
    dtype,
    parts.map((part) => of(part)),
  );
}

function concat<D extends Dtype>(dtype: D, parts: readonly ArrayOf<D>[]): ArrayOf<D> {
  const all = zeros(
    dtype,
    parts.reduce((length, part) => length + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    all.set(part as never, at);
    at += part.length;
  }
  return all;
}
