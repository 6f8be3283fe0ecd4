import { engine, init, simd } from "symplectic-adjoint";

if (process.env.SYMPLECTIC_ADJOINT_ENGINE === "native") {
  await init();
  if (engine().kind !== "native") throw new Error("testing WebAssembly, not the native engine");
} else {
  const wanted = process.env.SIMD === "relaxed" ? "relaxed" : "simd128";
  await init({ simd: wanted });
  if (simd() !== wanted) throw new Error(`testing the ${simd()} build, not ${wanted}`);
}
