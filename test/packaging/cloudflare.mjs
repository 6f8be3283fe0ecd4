// The slim entry in workerd, Cloudflare's runtime, bundled as its tools do: modules of WebAssembly stay files. Then the worker
// that docs/getting-started.md shows.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { blocks } from "../examples.mjs";

const [project] = process.argv.slice(2);

/** What a worker answers. */
async function answer(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: project },
    bundle: true,
    write: false,
    format: "esm",
    conditions: ["workerd"],
    external: ["*.wasm"],
  });
  const wasm = ["simd", "relaxed"].map((name) => ({
    type: "CompiledWasm",
    path: `symplectic-adjoint/${name}.wasm`,
    contents: readFileSync(join(project, `node_modules/symplectic-adjoint/wasm/${name}.wasm`)),
  }));
  const miniflare = new Miniflare({
    compatibilityDate: "2026-01-01",
    modules: [{ type: "ESModule", path: "worker.mjs", contents: outputFiles[0].text }, ...wasm],
  });
  try {
    return await (await miniflare.dispatchFetch("http://localhost/")).text();
  } finally {
    await miniflare.dispose();
  }
}

const report = await answer(readFileSync(join(project, "cloudflare.mjs"), "utf8"));
console.log(report);
if (
  !/^slim: 8 golden gradients, simd128 \| UNSUPPORTED: .*imported module.*\| UNSUPPORTED: this runtime has no Worker/.test(
    report,
  )
)
  process.exitCode = 1;

const guides = blocks.filter(({ language }) => language === "js cloudflare");
if (guides.length === 0) process.exitCode = 1;
for (const { page, code } of guides) {
  const y = await answer(code);
  console.log(`${page}: ${y}`);
  const numbers = JSON.parse(y);
  if (numbers.length !== 4 || !numbers.every(Number.isFinite)) process.exitCode = 1;
}
