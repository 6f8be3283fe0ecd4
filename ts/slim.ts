// The public API with nothing inside: call init({ module }) first; a pool's workers are loaded from the file beside this one.
import { setWorkerSource } from "./parallel/threads.js";

// Bundlers that see to files know this form, and put the worker beside what they make.
setWorkerSource(() => new URL("./worker.js", import.meta.url));

export * from "./api.js";
