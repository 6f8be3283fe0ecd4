/**
 * The public API. The entry `symplectic-adjoint/slim` has the same, without a WebAssembly module inside: there `init({ module })`
 * comes before the first use.
 *
 * @module symplectic-adjoint
 */
// With both WebAssembly builds and the worker inside: nothing to await, fetch or configure.
import { unpack } from "./builds.js";
import { carryWorker } from "./threads.js";
import { embed } from "./wasm.js";

// The source of worker.ts, put in when the package is built.
declare const WORKER_SOURCE: string;

embed({ simd128: () => unpack("simd128"), relaxed: () => unpack("relaxed") });
carryWorker(() => WORKER_SOURCE);

export * from "./api.js";
