// Arrays by name that lie side by side in one: `[batch, total]`, in the order of their declaration.
import { type ArrayOf, constructors, copyRows, type Dtype, numbersOf } from "../checks/arrays.js";
import { describe, isArray, refused } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { isObject, isRecord } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";

/** How many numbers each name has for a trajectory. */
export type Widths = Readonly<Record<string, number>>;

/** How many numbers all names have for a trajectory. */
export const totalOf = (widths: Widths) => Object.values(widths).reduce((sum, width) => sum + width, 0);

/** The expected shape of an array: `[batch]` for one number per trajectory, else `[batch, width]`. */
const shapeText = (width: number, batch: number | undefined) => {
  const rows = batch === undefined ? "batch" : String(batch);
  return width === 1 ? `[${rows}]` : `[${rows}, ${width}]`;
};

/**
 * Packs arrays given by name into one `[batch, total]`. `where` is the option that they are given by, such as `arguments`. The
 * batch is that of the first array where it is not given.
 *
 * @throws `OPTION` for a name that is missing or unknown; `SHAPE`; `NON_FINITE`.
 */
export function packed<D extends Dtype>(
  where: string,
  widths: Widths,
  given: unknown,
  dtype: D,
  batch?: number,
): { numbers: ArrayOf<D>; batch: number } {
  const names = Object.keys(widths);
  const noun = where.replace(/^.*\./, "").replace(/s$/, "");
  if (!isRecord(given)) {
    const expected = names.map((name) => `${name}: ${shapeText(widths[name] as number, batch)}`).join(", ");
    throw refused("OPTION", where, names.length > 0 ? `{ ${expected} }` : "{}", describe(given));
  }
  for (const name of runUserCode(() => Object.keys(given))) {
    if (!Object.hasOwn(widths, name)) throw unknownName(`${where}.`, name, names, noun);
  }
  let rows = batch;
  const parts = names.map((name) => {
    const width = widths[name] as number;
    const values = runUserCode(() => given[name]);
    if (values === undefined)
      throw refused("OPTION", `${where}.${name}`, `${shapeText(width, rows)} numbers`, "undefined");
    if (runUserCode(() => isArray(values) && isObject(values[0]))) {
      const expected = `one flat array ${shapeText(width, rows)}, as flat() makes of rows`;
      throw refused("SHAPE", `${where}.${name}`, expected, "an array of arrays");
    }
    const numbers = numbersOf(`${where}.${name}`, values);
    rows ??= numbers.length / width;
    if (!Number.isInteger(rows) || rows === 0 || numbers.length !== rows * width) {
      const expected = `${shapeText(width, Number.isInteger(rows) && rows > 0 ? rows : undefined)} numbers`;
      const isMore = batch === 1 && numbers.length > 0 && numbers.length % width === 0;
      const hint = isMore ? `; the state is that of one trajectory: repeat it ${numbers.length / width} times` : "";
      throw refused("SHAPE", `${where}.${name}`, expected, String(numbers.length), hint);
    }
    return { width, numbers };
  });
  const total = totalOf(widths);
  const all = new constructors[dtype]((rows ?? 0) * total);
  let column = 0;
  for (const { width, numbers } of parts) {
    copyRows(rows as number, width, numbers, width, all.subarray(column), total);
    column += width;
  }
  return { numbers: all as ArrayOf<D>, batch: rows ?? 0 };
}

/** Takes `[batch, total]` apart again: arrays by name, `[batch]` or `[batch, width]`. */
export function unpacked<D extends Dtype>(widths: Widths, numbers: ArrayOf<D>, dtype: D): Record<string, ArrayOf<D>> {
  const total = totalOf(widths);
  const batch = total === 0 ? 0 : numbers.length / total;
  let column = 0;
  const parts = Object.entries(widths).map(([name, width]): [string, ArrayOf<D>] => {
    const part = new constructors[dtype](batch * width);
    for (let row = 0; row < batch; row++) {
      const start = row * total + column;
      part.set(numbers.subarray(start, start + width), row * width);
    }
    column += width;
    return [name, part as ArrayOf<D>];
  });
  return Object.fromEntries(parts);
}
