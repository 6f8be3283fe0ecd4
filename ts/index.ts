/**
 * The public API.
 *
 * @module symplectic-adjoint
 */
// With both WebAssembly builds inside: nothing to await, fetch or configure.
import relaxed from "../wasm/relaxed.wasm";
import simd128 from "../wasm/simd.wasm";
import { embed } from "./wasm.js";

embed({ simd128: () => decode(simd128), relaxed: () => decode(relaxed) });

// A plain loop: a callback for each byte would take most of the time to the first gradient.
function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export * from "./slim.js";
