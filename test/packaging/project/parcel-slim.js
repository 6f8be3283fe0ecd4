// For Parcel, which looks for files and not for exports.

import module from "url:symplectic-adjoint/wasm/simd.wasm";
import * as api from "symplectic-adjoint/slim";
import { check, checkPool } from "./check.mjs";

window.result = (async () => {
  await api.init({ module: new URL(module, location.href), simd: "simd128" });
  return `slim: ${check(api)}, ${await checkPool(api)}`;
})();
