// For a page without a bundler: the package's files as they are.
import { check, checkPool, refusal } from "./check.mjs";
import * as api from "./node_modules/symplectic-adjoint/dist/index.js";

const workerUrl = "./node_modules/symplectic-adjoint/dist/worker.js";
window.result = (async () => {
  const worker = new Worker("./plain-worker.js", { type: "module" });
  const inWorker = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`the worker failed: ${message}`));
  });
  // Where the policy has not 'wasm-unsafe-eval'.
  if (location.search.includes("forbidding")) {
    const [first, init] = [await refusal(() => api.simd()), await refusal(() => api.init())];
    return `${first} | ${init} | ${inWorker}`;
  }
  return `page: ${check(api)}, ${await checkPool(api, { workerUrl })}; worker: ${inWorker}`;
})();
