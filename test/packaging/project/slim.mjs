import * as api from "symplectic-adjoint/slim";
import { check, checkPool } from "./check.mjs";

await api.init({ module: import.meta.resolve("symplectic-adjoint/simd.wasm"), simd: "simd128" });
console.log(`slim: ${check(api)}, ${await checkPool(api)}`);
