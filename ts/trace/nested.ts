// Nested arrays of numbers, such as the rows of a matrix.
import { checkSome, numbersOf } from "../checks/arrays.js";
import { describe, isArray, refused } from "../checks/errors.js";
import { runUserCode } from "../checks/user-code.js";

/** Nested arrays of numbers. */
export type NestedNumbers = readonly number[] | readonly NestedNumbers[];

/** Arrays within arrays, and names within names, end there. */
export const MAX_DEPTH = 32;

const isList = (value: unknown) => isArray(value) || ArrayBuffer.isView(value);
const isNested = (value: unknown): value is readonly unknown[] => isArray(value) && runUserCode(() => isList(value[0]));

/** The numbers of an array of arrays, which are to be as long as each other. */
export function nestedNumbers(where: string, value: unknown, depth: number): { shape: number[]; flat: Float64Array } {
  if (depth > MAX_DEPTH) throw refused("OPTION", where, "less deeply nested arrays", describe(value));
  const list = value as ArrayLike<unknown>;
  checkSome(where, list, "number");
  if (!isNested(value)) {
    const flat = numbersOf(where, value);
    return { shape: [flat.length], flat };
  }
  // A length may be a lie: what is missing is found at once.
  const hole = runUserCode(() => !(value.length - 1 in value));
  if (hole) throw refused("SHAPE", `${where}[${value.length - 1}]`, "an array, like the ones before", "undefined");
  const rows: { shape: number[]; flat: Float64Array }[] = [];
  for (let i = 0; i < value.length; i++) {
    const row = runUserCode(() => value[i]);
    const inner = `${where}[${i}]`;
    if (!isList(row)) throw refused("SHAPE", inner, "an array, like the ones before", describe(row));
    rows.push(nestedNumbers(inner, row, depth + 1));
  }
  const first = rows[0]?.shape as number[];
  const other = rows.findIndex(({ shape }) => shape.join() !== first.join());
  if (other >= 0) {
    throw refused(
      "SHAPE",
      `${where}[${other}]`,
      `[${first.join(", ")}] numbers, like the ones before`,
      `[${rows[other]?.shape.join(", ")}]`,
    );
  }
  const flat = new Float64Array(rows.reduce((sum, row) => sum + row.flat.length, 0));
  for (const [i, row] of rows.entries()) flat.set(row.flat, i * row.flat.length);
  return { shape: [rows.length, ...first], flat };
}

/** The numbers of a matrix, row by row: of one array of them, or of an array of rows, of which there are `rows` then. */
export function matrixNumbers(where: string, value: unknown): { flat: Float64Array; rows?: number } {
  if (!isNested(value)) return { flat: numbersOf(where, value) };
  const { shape, flat } = nestedNumbers(where, value, 0);
  if (shape.length > 2) throw refused("SHAPE", where, "a matrix", `numbers [${shape.join(", ")}]`);
  return { flat, rows: shape[0] as number };
}
