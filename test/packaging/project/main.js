// For bundlers: the default entry in a page and in a worker of its own.
import * as api from "symplectic-adjoint";
import { check, checkPool } from "./check.mjs";

window.result = (async () => {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const inWorker = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`the worker failed: ${message}`));
  });
  return `page: ${check(api)}, ${await checkPool(api)}; worker: ${inWorker}`;
})();
