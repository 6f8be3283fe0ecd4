import * as api from "symplectic-adjoint";
import { check, checkPool } from "./check.mjs";

console.log(`import: ${check(api)}, ${await checkPool(api)}`);
