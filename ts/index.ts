/**
 * The public API. The entry `symplectic-adjoint/slim` has the same, without a WebAssembly module inside: there `init({ module })`
 * comes before the first use.
 *
 * @module symplectic-adjoint
 */

import { bytesOfBuild } from "./engine/builds.js";
import { carryNative } from "./engine/instance.js";
import { loadNative } from "./engine/native.js";
import { embed } from "./engine/wasm.js";
import { carryWorker } from "./parallel/threads.js";

// The source of worker.ts, put in when the package is built.
declare const WORKER_SOURCE: string;

embed((simd) => bytesOfBuild(simd, import.meta.url));
carryNative(() => loadNative(import.meta.url));
carryWorker(() => WORKER_SOURCE);

export * from "./api.js";
