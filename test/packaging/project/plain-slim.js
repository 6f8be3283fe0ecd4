// Without a bundler: what init says of addresses that are wrong, and then the right one, however the server calls it.
import { check, checkPool, refusal } from "./check.mjs";
import * as api from "./node_modules/symplectic-adjoint/dist/slim.js";

const at = (address) => refusal(() => api.init({ module: address, simd: "simd128" }));
window.result = (async () => {
  const wasm = new URL("./node_modules/symplectic-adjoint/wasm/simd.wasm", import.meta.url);
  const missing = await at(new URL("missing.wasm", import.meta.url));
  const page = await at(new URL("page", import.meta.url));
  const nowhere = await at("http://127.0.0.1:9/simd.wasm");
  await api.init({ module: fetch(`${wasm}?type=text/plain`), simd: "simd128" });
  return `slim: ${check(api)}, ${await checkPool(api)} | ${missing} | ${page} | ${nowhere}`;
})();
