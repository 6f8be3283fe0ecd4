import { defineConfig } from "vitest/config";

// The whole suite runs once for each WebAssembly build: SIMD=simd128, or SIMD=relaxed (Node 22 and later have it; Node 20
// behind a flag). SUITE=experiments is what the experiments are made of instead, which needs their packages.
const relaxed = process.env.SIMD === "relaxed";
const flag = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];

export default defineConfig({
  root: new URL(".", import.meta.url).pathname,
  // Modules of the command line use the package as it is built, as the tests do.
  resolve: { alias: [{ find: /^\.\.\/index\.js$/, replacement: "symplectic-adjoint" }] },
  test: {
    include: [process.env.SUITE === "experiments" ? "experiments/*.test.ts" : "unit/*.test.ts"],
    // Examples are programs of their own, which take the build that they find.
    exclude: relaxed ? ["unit/docs.test.ts"] : [],
    setupFiles: ["./setup.ts"],
    pool: "forks",
    execArgv: ["--expose-gc", ...(relaxed ? flag : [])],
    testTimeout: 600_000,
    // Memory is measured: one file, one process.
    isolate: true,
  },
});
