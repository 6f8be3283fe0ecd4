import { check } from "./check.mjs";
import * as api from "./node_modules/symplectic-adjoint/dist/index.js";

console.log(`dist/index.js: ${check(api)}`);
