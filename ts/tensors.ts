import { describe, refused } from "./errors.js";
import { call, instance } from "./wasm.js";

/** A named array in a file. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** What a safetensors file holds. */
export interface TensorFile {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Texts by key. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Named arrays as a file in the safetensors format, which Python's `safetensors` reads as well. */
export function saveTensors(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): Uint8Array {
  const wasm = instance();
  const file = new wasm.bindings.TensorFile();
  try {
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      if (!(data instanceof Float32Array || data instanceof Float64Array)) {
        throw refused("DTYPE", name, "a Float32Array or Float64Array", describe(data));
      }
      const dtype = data instanceof Float32Array ? "float32" : "float64";
      call(wasm, () => file.add(name, dtype, Uint32Array.from(shape), data));
    }
    for (const [key, text] of Object.entries(metadata)) file.describe(key, text);
    return call(wasm, () => file.serialize());
  } finally {
    if (!wasm.lost) file.free();
  }
}

/**
 * Reads a file in the safetensors format.
 *
 * @throws `FILE` for what is damaged, or holds other types than float32 and float64.
 */
export function loadTensors(bytes: Uint8Array): TensorFile {
  const wasm = instance();
  const file = call(wasm, () => wasm.bindings.TensorFile.parse(bytes));
  try {
    const tensors = new Map<string, Tensor>();
    for (const name of file.names()) {
      const data = file.dtype(name) === "float32" ? file.single(name) : file.double(name);
      tensors.set(name, { shape: [...file.shape(name)], data });
    }
    const metadata = new Map(file.keys().map((key) => [key, file.metadata(key) ?? ""]));
    return { tensors, metadata };
  } finally {
    if (!wasm.lost) file.free();
  }
}
