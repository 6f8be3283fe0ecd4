// Serializes plain data with typed arrays, as JSON with the arrays beside it. Jobs and answers use it.
import { decode, encode, type Fields, isTypedArray, type TypedArray } from "./codec.js";

/** In JSON, { [ARRAY]: i } stands for array i, and { [NUMBER]: text } for a number that JSON cannot express. */
const ARRAY = "$array";
const NUMBER = "$number";

/** No job is nested more deeply. */
const DEEPEST = 100;

/** Serializes plain data. Like JSON, it leaves out functions and undefined. */
export function pack(data: unknown): Uint8Array {
  const arrays: TypedArray[] = [];
  const json = JSON.stringify(data, (_, value) => {
    if (isTypedArray(value)) return { [ARRAY]: arrays.push(value) - 1 };
    if (typeof value !== "number") return value;
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { [NUMBER]: Object.is(value, -0) ? "-0" : `${value}` };
  });
  const fields: Record<string, Fields[string]> = { json };
  for (const [i, array] of arrays.entries()) fields[`a${i}`] = array;
  return encode(fields);
}

/** Restores packed data; throws if the bytes are invalid. */
export function unpack(bytes: Uint8Array): unknown {
  const fields = decode(bytes);
  if (typeof fields?.json !== "string") throw new Error("it is no packed data");
  const restored = (value: unknown, depth: number): unknown => {
    if (depth > DEEPEST) throw new Error("packed data is nested too deeply");
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((item) => restored(item, depth + 1));
    if (Object.hasOwn(value, ARRAY)) {
      const array = fields[`a${(value as Record<string, unknown>)[ARRAY]}`];
      if (!isTypedArray(array)) throw new Error("an array of packed data is missing");
      return array;
    }
    if (Object.hasOwn(value, NUMBER)) return Number((value as Record<string, unknown>)[NUMBER]);
    // A later copy of the object would set its prototype.
    const entries = Object.entries(value).filter(([name]) => name !== "__proto__");
    return Object.fromEntries(entries.map(([name, item]) => [name, restored(item, depth + 1)]));
  };
  return restored(JSON.parse(fields.json), 0);
}
