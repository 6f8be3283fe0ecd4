// The public API, with both WebAssembly builds inside: nothing to await, fetch or configure.
import relaxed from "../wasm/relaxed.wasm";
import simd128 from "../wasm/simd.wasm";
import { embed } from "./wasm.js";

embed({ simd128: () => decode(simd128), relaxed: () => decode(relaxed) });

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export * from "./slim.js";
