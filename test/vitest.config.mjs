import { defineConfig } from "vitest/config";

// The whole suite runs once for each WebAssembly build: SIMD=simd128, or SIMD=relaxed (Node 22 and later have it; Node 20
// behind a flag); and on the addon with SYMPLECTIC_ADJOINT_ENGINE=native. SUITE=fast leaves out what takes long;
// SUITE=experiments is what the experiments are made of; SUITE=cluster needs a nats-server, which it fetches.
const relaxed = process.env.SIMD === "relaxed";
const suite = process.env.SUITE;
const engine = process.env.SYMPLECTIC_ADJOINT_ENGINE === "native" ? "native" : "wasm";
/** Those that have no use for the addon, such as that of a browser, or start both engines themselves. */
const OF_WASM = "{unit/{docs,engine,entries,equation,imports,table,text},cluster/browser}.test.ts";
/** Those that start processes, fill the memory or try a great many inputs. */
const SLOW = "unit/{alive,docs,engine,entries,faults,files,memory}.test.ts";
const flag = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];

export default defineConfig({
  root: new URL(".", import.meta.url).pathname,
  // Modules of the command line use the package as it is built, as the tests do.
  resolve: { alias: [{ find: /^\.\.\/index\.js$/, replacement: "symplectic-adjoint" }] },
  test: {
    include: [`${suite === "experiments" || suite === "cluster" ? suite : "unit"}/*.test.ts`],
    // Examples are programs of their own, which take the build that they find.
    exclude: [
      ...(relaxed ? ["unit/docs.test.ts"] : []),
      ...(engine === "native" ? [OF_WASM] : []),
      ...(suite === "fast" ? [SLOW] : []),
    ],
    // For the processes that tests start, too.
    env: { SYMPLECTIC_ADJOINT_ENGINE: engine },
    setupFiles: ["./setup.ts"],
    pool: "forks",
    // Those of clusters wait more than they compute.
    ...(suite === "cluster" && { maxWorkers: 3, globalSetup: ["./cluster/fetch.mjs"] }),
    execArgv: ["--expose-gc", ...(relaxed ? flag : [])],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    // Memory is measured: one file, one process.
    isolate: true,
  },
});
