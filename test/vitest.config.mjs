import { defineConfig } from "vitest/config";

// The whole suite runs once for each WebAssembly build: SIMD=simd128, or SIMD=relaxed (Node 22 and later have it; Node 20
// behind a flag). SUITE=fast leaves out what takes long; SUITE=experiments is what the experiments are made of.
const relaxed = process.env.SIMD === "relaxed";
const suite = process.env.SUITE;
/** Those that start processes, fill the memory or try a great many inputs. */
const SLOW = "unit/{alive,docs,entries,faults,files,memory}.test.ts";
const flag = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];

export default defineConfig({
  root: new URL(".", import.meta.url).pathname,
  // Modules of the command line use the package as it is built, as the tests do.
  resolve: { alias: [{ find: /^\.\.\/index\.js$/, replacement: "symplectic-adjoint" }] },
  test: {
    include: [suite === "experiments" ? "experiments/*.test.ts" : "unit/*.test.ts"],
    // Examples are programs of their own, which take the build that they find.
    exclude: [...(relaxed ? ["unit/docs.test.ts"] : []), ...(suite === "fast" ? [SLOW] : [])],
    setupFiles: ["./setup.ts"],
    pool: "forks",
    execArgv: ["--expose-gc", ...(relaxed ? flag : [])],
    testTimeout: 600_000,
    // Memory is measured: one file, one process.
    isolate: true,
  },
});
