import { type ArrayOf, constructors, type Dtype } from "../checks/arrays.js";
import type { Instance } from "./instance.js";

/**
 * An array ready to be handed over: one that stays whole while a call makes memory grow, which a view of WebAssembly memory,
 * such as a field's parameters, does not.
 */
export function steady<A extends Float32Array | Float64Array | Uint8Array>(wasm: Instance, array: A): A {
  return array.buffer === wasm.memory.buffer ? (array.slice() as A) : array;
}

/** A view of WebAssembly memory: valid until it grows, so never kept across a call. */
export function view<D extends Dtype>(wasm: Instance, dtype: D, pointer: number, length: number): ArrayOf<D> {
  return new constructors[dtype](wasm.memory.buffer, pointer, length) as ArrayOf<D>;
}

/** The caller's own copy of an array in WebAssembly memory. */
export function copyOut<D extends Dtype>(wasm: Instance, dtype: D, pointer: number, length: number): ArrayOf<D> {
  return view(wasm, dtype, pointer, length).slice() as ArrayOf<D>;
}
