import { describe, refused } from "./errors.js";
import { frozen } from "./frozen.js";
import { arrayOf, copyOf, kindOf, steady } from "./memory.js";
import { call, instance, needRoom, release } from "./wasm.js";

/**
 * A Uint8Array over memory of its own, as a Blob takes it: `Uint8Array<ArrayBuffer>` by another name, as TypeScript before 5.7
 * knows no such parameter.
 */
export type OwnBytes = ReturnType<Uint8Array["slice"]>;

/** A named array in a file. */
export interface Tensor {
  /** Its sides; none for a single number. */
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Float32Array | Float64Array;
}

/** A tensor of a number type that the package does not compute with: integers, booleans, float8 and the like. */
export interface SkippedTensor {
  /** Its sides; none for a single number. */
  readonly shape: readonly number[];
  /** What the format calls its number type: `I64`, `BOOL`, `U8` and so on. */
  readonly dtype: string;
}

/** What a safetensors file holds, in the order of the names. */
export interface TensorFile {
  /** Arrays by name; float16 and bfloat16 as float32, which holds each of them exactly. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The tensors of other number types, whose numbers are not read. */
  readonly skipped: ReadonlyMap<string, SkippedTensor>;
  /** Texts by key. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** More than a character of names and texts takes: in UTF-8, copied, in the file's JSON with all of it escaped, and as it grows. */
const TEXT_BYTES = 24;

/** Bytes of a file's header, in which its texts are: its first eight bytes, as far as the file goes. */
function headerOf(bytes: Uint8Array): number {
  const length = bytes.subarray(0, 8).reduceRight((high, byte) => high * 256 + byte, 0);
  return Math.min(length, bytes.length);
}

/**
 * Named arrays as a file in the safetensors format, which Python's `safetensors` reads as well. The same arrays and texts give
 * the same bytes.
 *
 * @throws `OPTION`, `SHAPE`, `DTYPE`; `OUT_OF_MEMORY`.
 */
export function saveTensors(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): OwnBytes {
  const entries = Object.entries(record("tensors", tensors)).map(([name, tensor]) => {
    const { shape, data } = record(`tensors.${name}`, tensor);
    const dtype = kindOf(data) === "Float64Array" ? "float64" : "float32";
    const argument = `tensors.${name}.shape`;
    if (!Array.isArray(shape)) throw refused("SHAPE", argument, "an array of integers", describe(shape));
    const sides = copyOf(argument, shape, ["SHAPE", "an array of integers"], (side) => {
      if (Number.isInteger(side) && (side as number) >= 0 && (side as number) < 2 ** 32) return side as number;
      throw refused("SHAPE", argument, "integers, zero or more", describe(side));
    });
    return { name, dtype, sides: Uint32Array.from(sides), data: arrayOf(`tensors.${name}.data`, data, dtype) };
  });
  const texts = Object.entries(record("metadata", metadata));
  for (const [key, text] of texts) {
    if (typeof text !== "string") throw refused("OPTION", `metadata.${key}`, "a text", describe(text));
  }
  const wasm = instance();
  const names = entries.reduce((sum, { name, sides }) => sum + name.length + 8 * sides.length, 0);
  needRoom(wasm, TEXT_BYTES * texts.reduce((sum, [key, text]) => sum + key.length + text.length, names), "texts");
  const file = call(wasm, () => new wasm.bindings.TensorFile());
  try {
    return call(wasm, () => {
      for (const { name, dtype, sides, data } of entries) file.add(name, dtype, sides, steady(wasm, data));
      for (const [key, text] of texts) file.describe(key, text);
      return file.serialize() as OwnBytes;
    });
  } finally {
    release(wasm, file);
  }
}

/**
 * Reads a file in the safetensors format: tensors of float32 and float64, and of float16 and bfloat16 as float32. Those of other
 * types, such as integers, are named in `skipped`.
 *
 * @throws `FILE` for a file that is damaged or of another format; `DTYPE`; `OUT_OF_MEMORY`.
 */
export function loadTensors(bytes: Uint8Array): TensorFile {
  if (kindOf(bytes) !== "Uint8Array") throw refused("DTYPE", "bytes", "a Uint8Array", describe(bytes));
  const wasm = instance();
  needRoom(wasm, TEXT_BYTES * headerOf(bytes), "the file's header");
  const file = call(wasm, () => wasm.bindings.TensorFile.parse(new Uint8Array(bytes)));
  try {
    return call(wasm, () => {
      const tensors = new Map<string, Tensor>();
      const skipped = new Map<string, SkippedTensor>();
      for (const name of file.names()) {
        const [dtype, shape] = [file.dtype(name), [...file.shape(name)]];
        if (dtype === "float32") tensors.set(name, frozen({ shape, data: file.single(name) }));
        else if (dtype === "float64") tensors.set(name, frozen({ shape, data: file.double(name) }));
        else skipped.set(name, frozen({ shape, dtype }));
      }
      const metadata = new Map(file.keys().map((key) => [key, file.metadata(key) ?? ""]));
      return Object.freeze({ tensors, skipped, metadata });
    });
  } finally {
    release(wasm, file);
  }
}

/** Refuses what is no plain object: a Map, say, would seem to be empty. */
function record<T extends object>(argument: string, value: T): T {
  const plain = value !== null && typeof value === "object" && !(Symbol.iterator in value);
  if (!plain) throw refused("OPTION", argument, "a plain object", describe(value));
  return value;
}
