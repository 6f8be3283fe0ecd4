// Serializes plain data with typed arrays, as JSON with the bytes of the arrays behind it. Jobs and answers use it. Reading makes views of
// the bytes instead of copies: an answer may be many megabytes of gradients.

/** In JSON, { [ARRAY]: [type, offset, length] } stands for an array, and { [NUMBER]: text } for a number that JSON cannot express. */
const ARRAY = "$array";
const NUMBER = "$number";
const TYPES = [Uint8Array, Uint32Array, Float32Array, Float64Array] as const;
type TypedArray = InstanceType<(typeof TYPES)[number]>;

/** No job is nested more deeply. */
const DEEPEST = 100;
/** The bytes before the JSON, which have its length. */
const HEAD_BYTES = 4;
/** The arrays begin at multiples of this many bytes. */
const ALIGNMENT = 8;

const aligned = (at: number) => Math.ceil(at / ALIGNMENT) * ALIGNMENT;

/** Serializes plain data. Like JSON, it leaves out functions and undefined. */
export function pack(data: unknown): Uint8Array {
  const arrays: { readonly at: number; readonly array: TypedArray }[] = [];
  let length = 0;
  const json = JSON.stringify(data, (_, value) => {
    const type = TYPES.findIndex((Type) => value instanceof Type);
    if (type >= 0) {
      const at = length;
      arrays.push({ at, array: value });
      length = aligned(at + value.byteLength);
      return { [ARRAY]: [type, at, value.length] };
    }
    if (typeof value !== "number") return value;
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { [NUMBER]: Object.is(value, -0) ? "-0" : `${value}` };
  });
  const text = new TextEncoder().encode(json);
  const start = aligned(HEAD_BYTES + text.length);
  const bytes = new Uint8Array(start + length);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, HEAD_BYTES);
  for (const { at, array } of arrays) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start + at);
  }
  return bytes;
}

/** Restores packed data; throws if the bytes are invalid. The arrays are views of bytes that fill their buffer, otherwise of a copy. */
export function unpack(bytes: Uint8Array): unknown {
  const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
  const size = own.length < HEAD_BYTES ? -1 : new DataView(own.buffer).getUint32(0, true);
  if (size < 0 || size > own.length - HEAD_BYTES) throw new Error("it is no packed data");
  const start = aligned(HEAD_BYTES + size);
  /** Where the last array ends: they follow each other as they do in the JSON, so that none is part of another. */
  let free = 0;
  const arrayAt = (place: unknown): TypedArray => {
    const numbers: readonly unknown[] = Array.isArray(place) && place.length === 3 ? place : [-1];
    const areCounts = numbers.every((number) => Number.isSafeInteger(number) && (number as number) >= 0);
    const [type, at, length] = numbers as readonly [number, number, number];
    const Type = areCounts ? TYPES[type] : undefined;
    if (!Type || at < free) throw new Error("an array of packed data is missing");
    free = at + length * Type.BYTES_PER_ELEMENT;
    // Throws if it is not aligned, or would end behind the bytes.
    return new Type(own.buffer as ArrayBuffer, start + at, length);
  };
  const restored = (value: unknown, depth: number): unknown => {
    if (depth > DEEPEST) throw new Error("packed data is nested too deeply");
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((item) => restored(item, depth + 1));
    if (Object.hasOwn(value, ARRAY)) return arrayAt((value as Record<string, unknown>)[ARRAY]);
    if (Object.hasOwn(value, NUMBER)) return Number((value as Record<string, unknown>)[NUMBER]);
    // A later copy of the object would set its prototype.
    const entries = Object.entries(value).filter(([name]) => name !== "__proto__");
    return Object.fromEntries(entries.map(([name, item]) => [name, restored(item, depth + 1)]));
  };
  // A copy, as decoders refuse memory that threads share.
  const text = new TextDecoder().decode(own.slice(HEAD_BYTES, HEAD_BYTES + size));
  return restored(JSON.parse(text), 0);
}
