import { init, simd } from "symplectic-adjoint";

const wanted = process.env.SIMD === "relaxed" ? "relaxed" : "simd128";
await init({ simd: wanted });
if (simd() !== wanted) throw new Error(`testing the ${simd()} build, not ${wanted}`);
