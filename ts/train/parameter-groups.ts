// Parameters by name: which of them share their rates, and which stay as they are.
import { type ArrayOf, type Dtype, isFloats } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { listOf, nearest, unknownName } from "../checks/names.js";
import { entriesOf, prefixesOf } from "../fields/entries.js";
import { type Field, wasmField } from "../fields/field.js";

/**
 * Numbers, zero or more, by the names of parameters: of an array, as `birth` or `0.bias`, or of a network or layer for all its arrays, as
 * `net` or `net.0`, with `"*"` for all others. A parameter has the number of the nearest name: of `net.0.weight`, `net.0`, `net` and `"*"`
 * the first that is there. `Name` is the names that there are, or `string` if they are unknown.
 */
export type NumberByName<Name extends string = string> = string extends Name
  ? Readonly<Record<string, number>>
  : { readonly [Own in Name | "*"]?: number };

/** The numbers that an optimizer changes: a field's parameters, or an array that you own. */
export type OptimizerTarget<D extends Dtype> = Field<D> | ArrayOf<Dtype>;

/** Rates, for all or by name, and the names of what stays as it is. */
interface GroupOptions {
  readonly learningRate: number | NumberByName;
  readonly weightDecay: number | NumberByName;
  readonly fixed?: readonly string[] | undefined;
}

/** Whether the target is an array, not a field. */
export function isFloatArray(target: unknown): target is ArrayOf<Dtype> {
  return isFloats(target, "float32") || isFloats(target, "float64");
}

/** Consecutive parameters that share their rates, as they were given. */
export interface ParameterGroup {
  /** How many parameters it has. */
  readonly length: number;
  /** 0 where parameters are fixed. */
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Whether they stay as they are, and their gradient does not count. */
  readonly fixed: boolean;
}

/** The name of all parameters that have no other. */
const OTHERS = "*";

/** The groups of a field's parameters, or of an array, whose numbers have no names. */
export function groupsOf(target: OptimizerTarget<Dtype>, options: GroupOptions): ParameterGroup[] {
  const entries = isFloatArray(target) ? [] : entriesOf(target);
  checkNamesOf(entries, options);
  const size = isFloatArray(target) ? target.length : wasmField(target).parameterCount;
  const parts = entries.map(([name, { offset, shape }]) => {
    return { names: [...prefixesOf(name), OTHERS], offset, length: shape.reduce((product, side) => product * side, 1) };
  });
  // Where there are no names, there are numbers all the same.
  const all = parts.length > 0 ? parts.sort((a, b) => a.offset - b.offset) : [{ names: [OTHERS], length: size }];
  const { learningRate, weightDecay, fixed = [] } = options;
  const without: string[] = [];
  const groups: ParameterGroup[] = [];
  for (const { names, length } of all) {
    const isFixed = names.some((name) => fixed.includes(name));
    const rate = isFixed ? 0 : numberOf(learningRate, names);
    if (rate === undefined) without.push(names[0] as string);
    const decay = isFixed ? 0 : (numberOf(weightDecay, names) ?? 0);
    const group = { length, learningRate: rate ?? 0, weightDecay: decay, fixed: isFixed };
    const last = groups.at(-1);
    const isSame = last?.learningRate === group.learningRate && last.weightDecay === decay && last.fixed === isFixed;
    if (isSame) groups[groups.length - 1] = { ...last, length: last.length + length };
    else groups.push(group);
  }
  if (without.length > 0 && size > 0) {
    const expected = `a rate for ${listOf(without)} too, or one for all others as "*"`;
    const given = Object.keys(learningRate);
    throw refused("OPTION", "learningRate", expected, given.length > 0 ? `rates for ${listOf(given)}` : "none");
  }
  return groups;
}

/** The number of the nearest of an array's names, or the only one. */
function numberOf(given: number | NumberByName, names: readonly string[]): number | undefined {
  if (typeof given === "number") return given;
  const name = names.find((name) => Object.hasOwn(given, name));
  return name === undefined ? undefined : given[name];
}

/** Refuses names that are none of a field's parameters. */
function checkNamesOf(
  entries: readonly (readonly [name: string, entry: unknown])[],
  { learningRate, weightDecay, fixed = [] }: GroupOptions,
): void {
  const arrayNames = entries.map(([name]) => name);
  const known = new Set(arrayNames.flatMap(prefixesOf));
  const check = (where: string, name: string) => {
    if (!known.has(name)) throw unknownName(where, name, arrayNames, "parameter", "OPTION", nearest(name, [...known]));
  };
  for (const [where, given] of Object.entries({ learningRate, weightDecay })) {
    if (typeof given === "number") continue;
    for (const name of Object.keys(given)) if (name !== OTHERS) check(`${where}.`, name);
  }
  for (const [i, name] of fixed.entries()) check(`fixed[${i}]: `, name);
}

export const lengthOf = (groups: readonly ParameterGroup[]) => groups.reduce((sum, { length }) => sum + length, 0);

export const largestOf = (groups: readonly ParameterGroup[]) =>
  groups.reduce((most, { learningRate }) => Math.max(most, learningRate), 0);

/** Groups as the crate takes them, with their rates in proportion to the largest, which is given. */
export function packGroups(groups: readonly ParameterGroup[], rate: number): Float64Array {
  const largest = largestOf(groups);
  // Rates as they were given come back exactly.
  const now = (own: number) => (rate === largest ? own : own === largest ? rate : rate * (own / largest));
  return Float64Array.from(
    groups.flatMap(({ length, learningRate, weightDecay, fixed }) => [
      length,
      fixed ? 0 : now(learningRate),
      weightDecay,
    ]),
  );
}
