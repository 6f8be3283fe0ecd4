// One static page that any host can serve, from any path.
import { fileURLToPath } from "node:url";

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default {
  root: here("."),
  base: "./",
  // The package as it is built here.
  resolve: {
    alias: [
      { find: "symplectic-adjoint/slim", replacement: here("../../dist/slim.js") },
      { find: /^symplectic-adjoint\/(\w+\.wasm)/, replacement: `${here("../../wasm/")}$1` },
    ],
  },
  build: { target: "es2022", emptyOutDir: true },
  // The module worker finds its WebAssembly beside itself.
  worker: { format: "es" },
};
