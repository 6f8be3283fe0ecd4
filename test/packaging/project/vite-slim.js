// For Vite: the slim entry, whose files it puts into place.

import relaxed from "symplectic-adjoint/relaxed.wasm?url";
import * as api from "symplectic-adjoint/slim";
import { check, checkPool } from "./check.mjs";

window.result = (async () => {
  await api.init({ module: new URL(relaxed, location.href), simd: "relaxed" });
  return `slim: ${check(api)}, ${await checkPool(api)}`;
})();
