// For old browsers, which compile a module of this size on the main thread only when that can be awaited. The result is posted:
// they understand no current protocol of debuggers.
import { check, checkPool, refusal } from "./check.mjs";
import * as api from "./node_modules/symplectic-adjoint/dist/index.js";

/** A fault inside, after which the instance is lost. */
async function fault() {
  const { subarray } = Float32Array.prototype;
  Float32Array.prototype.subarray = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  const said = await refusal(() => check(api));
  Float32Array.prototype.subarray = subarray;
  return said.slice(0, 8);
}

(async () => {
  const said = [await refusal(() => check(api)), await refusal(() => api.init())];
  if (said[1] === "nothing thrown") {
    said.push(`${check(api)}, ${await checkPool(api)}`, await fault(), await refusal(() => check(api)));
    await api.init();
    said.push(check(api));
  }
  return said;
})()
  .catch((error) => [String(error)])
  .then((said) => fetch("/said", { method: "POST", body: JSON.stringify(said) }));
