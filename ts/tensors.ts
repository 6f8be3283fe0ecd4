import { describe, refused } from "./errors.js";
import { frozen } from "./frozen.js";
import { arrayOf, kindOf, steady } from "./memory.js";
import { call, instance, release } from "./wasm.js";

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

/** What a safetensors file holds. */
export interface TensorFile {
  /** Arrays by name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Texts by key. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Named arrays as a file in the safetensors format, which Python's `safetensors` reads as well. */
export function saveTensors(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): OwnBytes {
  const entries = Object.entries(record("tensors", tensors)).map(([name, tensor]) => {
    const { shape, data } = record(`tensors.${name}`, tensor);
    const dtype = kindOf(data) === "Float64Array" ? "float64" : "float32";
    if (!Array.isArray(shape)) throw refused("SHAPE", `tensors.${name}.shape`, "an array of integers", describe(shape));
    const sides = Uint32Array.from(shape, (side) => {
      if (Number.isInteger(side) && side >= 0 && side < 2 ** 32) return side;
      throw refused("SHAPE", `tensors.${name}.shape`, "integers, zero or more", describe(side));
    });
    return { name, dtype, sides, data: arrayOf(`tensors.${name}.data`, data, dtype) };
  });
  const texts = Object.entries(record("metadata", metadata));
  for (const [key, text] of texts) {
    if (typeof text !== "string") throw refused("OPTION", `metadata.${key}`, "a text", describe(text));
  }
  const wasm = instance();
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
 * Reads a file in the safetensors format.
 *
 * @throws `FILE` for what is damaged, or holds other types than float32 and float64.
 */
export function loadTensors(bytes: Uint8Array): TensorFile {
  if (kindOf(bytes) !== "Uint8Array") throw refused("DTYPE", "bytes", "a Uint8Array", describe(bytes));
  const wasm = instance();
  const file = call(wasm, () => wasm.bindings.TensorFile.parse(new Uint8Array(bytes)));
  try {
    return call(wasm, () => {
      const tensors = new Map<string, Tensor>();
      for (let index = 0; index < file.count; index++) {
        const data = file.dtype(index) === "float32" ? file.single(index) : file.double(index);
        tensors.set(file.name(index), frozen({ shape: [...file.shape(index)], data }));
      }
      const metadata = new Map(file.keys().map((key) => [key, file.metadata(key) ?? ""]));
      return Object.freeze({ tensors, metadata });
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
