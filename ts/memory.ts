// Typed arrays in and out of WebAssembly memory.
import { describe, refused } from "./errors.js";
import type { Instance } from "./wasm.js";

/** The number type of a field. */
export type Dtype = "float32" | "float64";

/** The typed array of a number type. */
export type ArrayOf<D extends Dtype> = D extends "float32" ? Float32Array : Float64Array;

const constructors = { float32: Float32Array, float64: Float64Array } as const;

// What an array really is, whatever its class, realm or own properties say.
const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
const intrinsic = (key: PropertyKey) => Object.getOwnPropertyDescriptor(typedArray, key)?.get as () => unknown;
const [tagOf, bufferOf, offsetOf, lengthOf] = [Symbol.toStringTag, "buffer", "byteOffset", "length"].map(intrinsic);

/** Which typed array a value is, undefined for anything else. */
export function kindOf(value: unknown): string | undefined {
  return tagOf?.call(value) as string | undefined;
}

/** A new array of a number type. */
export function newArray<D extends Dtype>(dtype: D, length: number): ArrayOf<D> {
  return new constructors[dtype](length) as ArrayOf<D>;
}

/** A plain array over the same memory as any typed array of that number type; anything else is refused. */
export function arrayOf<D extends Dtype>(argument: string, value: unknown, dtype: D): ArrayOf<D> {
  const TypedArray = constructors[dtype];
  if (kindOf(value) !== TypedArray.name) {
    throw refused("DTYPE", argument, `a ${TypedArray.name}, for a ${dtype} field`, describe(value));
  }
  const [buffer, offset, length] = [bufferOf, offsetOf, lengthOf].map((get) => get?.call(value));
  // So is one whose buffer was transferred, which no view can be made of.
  if (length === 0) return new TypedArray() as ArrayOf<D>;
  return new TypedArray(buffer as ArrayBuffer, offset as number, length as number) as ArrayOf<D>;
}

/**
 * An array ready to be handed over: one that stays whole while a call makes memory grow, which a view of WebAssembly memory,
 * such as a field's parameters, does not.
 */
export function steady<A extends Float32Array | Float64Array>(wasm: Instance, array: A): A {
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
  const length = times !== null && typeof times === "object" ? times.length : Number.NaN;
  if (!(Number.isInteger(length) && length >= 0 && length < 2 ** 29)) {
    throw refused("SHAPE", "times", "an array of at least two numbers", describe(times));
  }
  const copy = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    const time = times[i];
    if (typeof time !== "number") throw refused("OPTION", "times", `a number at index ${i}`, describe(time));
    copy[i] = time;
  }
  return copy;
}

/** A plain copy of an array of finite numbers. */
export function numbersOf(argument: string, values: unknown): Float64Array {
  if (values === null || typeof values !== "object" || !Number.isInteger((values as ArrayLike<number>).length)) {
    throw refused("OPTION", argument, "an array of numbers", describe(values));
  }
  const numbers = Float64Array.from(values as ArrayLike<number>, (value) =>
    typeof value === "number" ? value : Number.NaN,
  );
  const bad = numbers.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw refused("NON_FINITE", argument, "finite numbers", `${numbers[bad]} at index ${bad}`);
  return numbers;
}
