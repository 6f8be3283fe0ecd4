// For bundlers whose bundles run in Node.
import * as api from "symplectic-adjoint";
import { check, checkPool } from "./check.mjs";

(async () => {
  await api.init();
  console.log(`${check(api)}, ${await checkPool(api)}`);
})();
