// Engines: the native addon or WebAssembly. Both have the same bindings.
import type { Bindings } from "../../wasm/glue.js";
import type { ArrayOf, Dtype } from "../checks/arrays.js";

/** A WebAssembly build: with SIMD of 128 bits, or with relaxed SIMD as well (fused multiply–add). */
export type Simd = "simd128" | "relaxed";

/** The kind of engine: an addon compiled for the processor, or WebAssembly. */
export type EngineKind = "native" | "wasm";

/** The engine in use, as `engine()` returns it. */
export interface Engine {
  /** `native` if the addon for this platform is installed and the runtime accepts it, else `wasm`. */
  readonly kind: EngineKind;
  /** The WebAssembly build in use, `simd128` or `relaxed`; undefined with the native engine. */
  readonly simd: Simd | undefined;
  /**
   * The width in bits of the processor's registers that the engine uses: 128 with WebAssembly, 128 to 512 with the native
   * engine.
   */
  readonly registerBits: number;
}

/** An object with memory that its caller may view: parameters, or the state of an optimizer. */
type MemoryOwner = object;

/** An engine, ready for calls. */
export interface Instance extends Engine {
  readonly bindings: Bindings;
  /** Where another thread finds the same engine. */
  readonly source: EngineSource;
  /** The caller's own copy of numbers at a pointer. */
  read<D extends Dtype>(dtype: D, pointer: number, length: number): ArrayOf<D>;
  /** Copies numbers to a pointer. */
  write<D extends Dtype>(dtype: D, pointer: number, numbers: ArrayOf<D>): void;
  /** A live view of an owner's numbers; of WebAssembly memory it is valid until that grows, so never kept across a call. */
  view<D extends Dtype>(dtype: D, owner: MemoryOwner, pointer: number, length: number): ArrayOf<D>;
  /** An array ready to be handed over: one that stays whole while a call makes memory grow. */
  steady<A extends Float32Array | Float64Array | Uint8Array>(array: A): A;
  /** Throws the runtime's own error of a recursion without end where the stack has too little room for a call. */
  needStack(): void;
  /** The size of WebAssembly memory. */
  readonly wasmBytes: number;
  /** What becomes of an error that the engine has thrown itself; it may be lost from then on. */
  fault(error: Error): unknown;
  /** Set by a fault: nothing in it can be trusted any more. */
  lost: boolean;
  /** How deep calls into the engine, and of those into custom vector fields, are nested. */
  calls: number;
  callbacks: number;
  /** Objects given up while a call was under way, to be freed after it. */
  readonly abandoned: { free(): void }[];
  /** The error of a custom vector field, on its way through the solver. */
  thrown: { value: unknown } | undefined;
}

/** What another thread makes the same engine of. */
export type EngineSource =
  | { readonly kind: "wasm"; readonly module: WebAssembly.Module; readonly simd: Simd }
  | { readonly kind: "native"; readonly path: string };
