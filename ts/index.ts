/**
 * The public API. The entry `symplectic-adjoint/slim` has the same, without a WebAssembly module inside: there `init({ module })`
 * comes before the first use.
 *
 * @module symplectic-adjoint
 */

import { bytesOfBuild } from "./engine/builds.js";
import { setNativeLoader } from "./engine/instance.js";
import { loadNative } from "./engine/native.js";
import { setEmbeddedBuilds } from "./engine/wasm.js";
import { setWorkerSource } from "./parallel/threads.js";

// The source of worker.ts, put in when the package is built.
declare const WORKER_SOURCE: string;

setEmbeddedBuilds((simd) => bytesOfBuild(simd, import.meta.url));
setNativeLoader(() => loadNative(import.meta.url));
setWorkerSource(() => WORKER_SOURCE);

export * from "./api.js";
