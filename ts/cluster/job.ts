// The message of a shard: values that all shards of the model share, values of this batch, and the shard's own. The worker validates all of
// it.
import { constructors, type Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import type { FieldState, Recipe, WasmField } from "../fields/field.js";
import { fieldOf, readRecipe, recipeOf } from "../fields/registry.js";
import { product, wantedBy } from "../files/arrays.js";
import { type Cut, partOf, stateOfPart } from "../parallel/ensembles.js";
import type { EnsembleJob } from "../parallel/protocol.js";
import type { EnsembleProblem } from "../solve/ensemble.js";
import type { EnsembleJvpProblem, TangentArrays } from "../solve/ensemble-jvp.js";

type JobProblem = Partial<EnsembleProblem>;

/** The parts that make up a job, each with some of the fields. */
export interface JobPart {
  readonly recipe?: Recipe;
  readonly parameters?: EnsembleJob["parameters"];
  readonly state?: FieldState;
  readonly firstSample?: number;
  readonly problem: JobProblem;
}

/** A batch, ready to be sent in shards. */
export interface SplitJob {
  /** What stays the same through a training. */
  readonly model: JobPart;
  /** What changes with each step. */
  readonly step: JobPart;
  /** The shard's own data. */
  shard(cut: Cut): JobPart;
}

/** Whether a message includes lists for each trajectory, or only those for all. */
const isShared = ({ changes }: EnsembleProblem) => changes.jumps.every(({ counts }) => counts === null);

/** A problem, ready to be sent. */
export function splitJob(field: WasmField<Dtype>, problem: EnsembleProblem): SplitJob {
  const { batch, counts, times, changes, dtype, state, norm, maxEvents, steps, dense, mask, options } = problem;
  const sharedTimes = counts === null ? { times, counts } : {};
  const sharedChanges = isShared(problem) ? { changes } : {};
  return {
    model: {
      recipe: recipeOf(field),
      problem: { dtype, state, norm, maxEvents, steps, dense, mask, options },
    },
    step: { parameters: field.copyParameters(), problem: { ...sharedTimes, ...sharedChanges } },
    shard(cut) {
      const own = partOf(problem, cut);
      return {
        state: stateOfPart(field.state, batch, cut),
        firstSample: cut.from,
        problem: {
          batch: own.batch,
          y0: own.y0,
          arguments: own.arguments,
          part: own.part,
          ...(counts !== null && { times: own.times, counts: own.counts }),
          ...(!isShared(problem) && { changes: own.changes }),
        },
      };
    },
  };
}

const isCount = (value: unknown, least: number, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

function expect(holds: boolean, name: string, expected: string, given: unknown): void {
  if (!holds) throw refused("OPTION", `job.${name}`, expected, describe(given));
}

/** Lists that each trajectory has; `counts` has their lengths if they differ. */
function checkCounts(name: string, counts: unknown, batch: number, total: number): void {
  if (counts === null) return;
  const isList = Array.isArray(counts) && counts.length === batch && counts.every((count) => isCount(count, 0, total));
  expect(
    isList && counts.reduce((sum, count) => sum + count, 0) === total,
    name,
    `${batch} counts, ${total} in all`,
    counts,
  );
}

/** Reads a job from the parts of its message. Sizes that it claims are checked against the data that is there. */
export function readJob(parts: readonly unknown[], mostBytes: number): Omit<EnsembleJob, "keep"> {
  const all: Record<string, unknown> = {};
  const own: Record<string, unknown> = {};
  for (const part of parts) {
    const { problem, ...rest } = (isObject(part) ? part : {}) as JobPart;
    Object.assign(all, rest);
    if (isObject(problem)) Object.assign(own, problem);
  }
  const { parameters, state: fieldState, firstSample } = all as unknown as EnsembleJob;
  const recipe = readRecipe("job.recipe", all.recipe);
  const { dtype, shapes } = wantedBy(recipe);
  const Numbers = constructors[dtype];
  const wanted = shapes.reduce((sum, [, shape]) => sum + product(shape), 0);
  const isOf = (value: unknown, length: number) => value instanceof Numbers && value.length === length;
  expect(isOf(parameters, wanted), "parameters", `${wanted} numbers of ${dtype}`, parameters);
  expect(isCount(firstSample, 0, 2 ** 40), "firstSample", "a count", firstSample);
  checkState(fieldState);

  const problem = { arguments: undefined, ...own } as unknown as EnsembleProblem;
  const { batch, state, times, counts, changes, maxEvents, part, norm, options } = problem;
  expect(problem.dtype === dtype, "dtype", dtype, problem.dtype);
  expect(isCount(batch, 1, 2 ** 31), "batch", "a count", batch);
  expect(isCount(state, 1, 2 ** 31), "state", "a count", state);
  expect(isOf(problem.y0, batch * state), "y0", `[${batch}, ${state}] numbers of ${dtype}`, problem.y0);
  const args = problem.arguments;
  expect(args === undefined || (args instanceof Numbers && args.length % batch === 0), "arguments", "rows", args);
  expect(times instanceof Float64Array && times.length > 0, "times", "numbers of float64", times);
  checkCounts("counts", counts, batch, times.length);
  for (const flag of ["steps", "dense", "mask"] as const) {
    expect(typeof problem[flag] === "boolean", flag, "true or false", problem[flag]);
  }
  expect(isCount(maxEvents, 1, 2 ** 32), "maxEvents", "a count", maxEvents);
  expect(isCount(part, 0, 2 ** 40), "part", "a count", part);
  expect(norm === null || isObject(norm), "norm", "a program", norm);
  expect(isObject(options), "options", "an object", options);
  checkChanges(changes, batch);
  const outputs = outputBytes(problem);
  expect(outputs <= mostBytes, "times", `outputs of at most ${mostBytes} bytes`, `${outputs} bytes`);
  // The worker decides how many threads it uses.
  const { threads: _, ...settings } = options;
  return { recipe, parameters, state: fieldState, firstSample, problem: { ...problem, options: settings } };
}

/** Bytes of the states at the output times. */
function outputBytes({ dtype, batch, state, times, counts }: EnsembleProblem): number {
  return (counts === null ? batch : 1) * times.length * state * constructors[dtype].BYTES_PER_ELEMENT;
}

/** Reads the directions of a job, with the same checks. */
export function readTangents(
  { problem, parameters }: Omit<EnsembleJob, "keep">,
  directions: unknown,
  given: unknown,
  mostBytes: number,
): EnsembleJvpProblem {
  expect(isCount(directions, 1, 2 ** 31), "directions", "a count", directions);
  const count = directions as number;
  const bytes = outputBytes(problem) * (1 + count);
  expect(bytes <= mostBytes, "directions", `outputs of at most ${mostBytes} bytes`, `${bytes} bytes`);
  const { dtype, y0, times } = problem;
  const {
    y0: starts,
    parameters: of,
    arguments: args,
    times: rates,
  } = (isObject(given) ? given : {}) as Partial<TangentArrays>;
  const lists = [
    ["y0", starts, dtype, y0.length],
    ["parameters", of, dtype, parameters.length],
    ["arguments", args, dtype, problem.arguments?.length ?? 0],
    ["times", rates, "float64", times.length],
  ] as const;
  for (const [name, numbers, type, width] of lists) {
    const right = numbers === undefined || (numbers instanceof constructors[type] && numbers.length === count * width);
    expect(right, `tangents.${name}`, `${count * width} numbers of ${type}`, numbers);
  }
  return { problem, directions: count, tangents: { y0: starts, parameters: of, arguments: args, times: rates } };
}

function checkState(state: unknown): asserts state is FieldState {
  const { numbers, arrays } = (isObject(state) ? state : {}) as Partial<FieldState>;
  const right =
    isObject(numbers) &&
    isObject(arrays) &&
    Object.values(numbers).every((number) => typeof number === "number") &&
    Object.values(arrays).every((array) => array instanceof Float32Array || array instanceof Float64Array);
  expect(right, "state", "numbers and arrays by their names", state);
}

function checkChanges(changes: EnsembleProblem["changes"], batch: number): void {
  const { jumps, events, numbers } = (isObject(changes) ? changes : {}) as Partial<EnsembleProblem["changes"]>;
  const isList = (list: unknown) => Array.isArray(list) && list.length <= 1000 && list.every(isObject);
  expect(isList(jumps) && isList(events), "changes", "lists of jumps and events", changes);
  let total = 0;
  for (const jump of jumps ?? []) {
    const { names, times, amounts, counts } = jump;
    const right =
      Array.isArray(names) && isCount(times, 0, 2 ** 31) && amounts === times * names.length && isObject(jump.set);
    expect(right, "changes.jumps", "times, amounts and a program", jump);
    checkCounts("changes.jumps.counts", counts, batch, times);
    total += times + amounts;
  }
  expect(numbers instanceof Float64Array && numbers.length === total, "changes.numbers", `${total} numbers`, numbers);
}

/** Fields by recipe, so that each is made once. */
export class FieldCache {
  readonly #fields = new Map<string, WasmField<Dtype>>();

  /** The field of a job, with its parameters and state. */
  get({ recipe, parameters, state, firstSample, problem }: Omit<EnsembleJob, "keep">): WasmField<Dtype> {
    const key = JSON.stringify(recipe);
    const field = this.#fields.get(key) ?? fieldOf(recipe);
    this.#fields.delete(key);
    this.#fields.set(key, field);
    for (const [other, unused] of [...this.#fields].slice(0, -MOST_FIELDS)) {
      // A kept solve does not need the field any more.
      unused.dispose();
      this.#fields.delete(other);
    }
    const own = (problem.arguments?.length ?? 0) / problem.batch;
    expect(field.stateSize === problem.state, "state", `${field.stateSize} features`, problem.state);
    expect(field.outputSize === problem.state, "recipe", "a vector field", recipe.kind);
    expect(field.argumentSize === own, "arguments", `${field.argumentSize} numbers a trajectory`, own);
    field.parameters = parameters;
    field.restore(state, firstSample);
    return field;
  }

  /** Forgets the fields after their engine was lost. */
  clear(): void {
    this.#fields.clear();
  }
}

/** Enough for the blocks of a multi-block flow. */
const MOST_FIELDS = 8;
