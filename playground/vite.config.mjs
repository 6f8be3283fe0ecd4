// One static page that any host can serve, from any path.
import { fileURLToPath } from "node:url";

export default {
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  build: { target: "es2022", emptyOutDir: true },
  // The module worker finds its WebAssembly beside itself.
  worker: { format: "es" },
};
