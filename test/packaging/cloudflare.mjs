// The slim entry in workerd, Cloudflare's runtime, bundled as its tools do: modules of WebAssembly stay files.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";

const [project] = process.argv.slice(2);
const { outputFiles } = await build({
  absWorkingDir: project,
  entryPoints: ["cloudflare.mjs"],
  bundle: true,
  write: false,
  format: "esm",
  conditions: ["workerd"],
  external: ["*.wasm"],
});
const miniflare = new Miniflare({
  compatibilityDate: "2026-01-01",
  modules: [
    { type: "ESModule", path: "worker.mjs", contents: outputFiles[0].text },
    {
      type: "CompiledWasm",
      path: "symplectic-adjoint/simd.wasm",
      contents: readFileSync(join(project, "node_modules/symplectic-adjoint/wasm/simd.wasm")),
    },
  ],
});
try {
  const report = await (await miniflare.dispatchFetch("http://localhost/")).text();
  console.log(report);
  if (!/^slim: 8 golden gradients, simd128 \| UNSUPPORTED: .*imported module/.test(report)) process.exitCode = 1;
} finally {
  await miniflare.dispose();
}
