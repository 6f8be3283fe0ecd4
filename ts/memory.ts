// Typed arrays in and out of WebAssembly memory.
import { describe, refused } from "./errors.js";
import type { Instance } from "./wasm.js";

/** The number type of a field. */
export type Dtype = "float32" | "float64";

/** The typed array of a number type. */
export type ArrayOf<D extends Dtype> = D extends "float32" ? Float32Array : Float64Array;

const constructors = { float32: Float32Array, float64: Float64Array } as const;

/** A view of WebAssembly memory: valid until it grows, so never kept across a call. */
export function view<D extends Dtype>(wasm: Instance, dtype: D, pointer: number, length: number): ArrayOf<D> {
  return new constructors[dtype](wasm.memory.buffer, pointer, length) as ArrayOf<D>;
}

/** The caller's own copy of an array in WebAssembly memory. */
export function copyOut<D extends Dtype>(wasm: Instance, dtype: D, pointer: number, length: number): ArrayOf<D> {
  return view(wasm, dtype, pointer, length).slice() as ArrayOf<D>;
}

/** Refuses what is not a typed array of the number type. */
export function checkArray<D extends Dtype>(argument: string, value: unknown, dtype: D): asserts value is ArrayOf<D> {
  // Not instanceof: an array of another realm, such as a frame's, is as good.
  if (Object.prototype.toString.call(value) !== `[object ${constructors[dtype].name}]`) {
    throw refused("DTYPE", argument, `a ${constructors[dtype].name}, for a ${dtype} field`, describe(value));
  }
}

/** Refuses a typed array of another length. */
export function checkLength(argument: string, array: ArrayLike<number>, length: number, shape?: string): void {
  if (array.length !== length) {
    throw refused("SHAPE", argument, `${length} numbers${shape ? ` ${shape}` : ""}`, String(array.length));
  }
}

/** The batch size of `[batch, state]` numbers. */
export function batchOf(argument: string, array: ArrayLike<number>, stateSize: number): number {
  const batch = array.length / stateSize;
  if (!Number.isInteger(batch) || batch === 0) {
    throw refused("SHAPE", argument, `[batch, ${stateSize}] numbers, a multiple of ${stateSize}`, String(array.length));
  }
  return batch;
}

/** A plain copy of the times, for any array of numbers. */
export function timesOf(times: ArrayLike<number>): Float64Array {
  if (times === null || typeof times !== "object" || typeof times.length !== "number") {
    throw refused("SHAPE", "times", "an array of at least two numbers", describe(times));
  }
  const copy = new Float64Array(times.length);
  for (let i = 0; i < copy.length; i++) {
    const time = times[i];
    if (typeof time !== "number") throw refused("OPTION", "times", `a number at index ${i}`, describe(time));
    copy[i] = time;
  }
  return copy;
}
