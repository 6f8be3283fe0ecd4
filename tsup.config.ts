import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { compress, init } from "@bokuweb/zstd-wasm";
import { buildSync } from "esbuild";
import { defineConfig } from "tsup";

// What runs in the workers of a pool: one script, in which no import is left.
const worker = buildSync({
  entryPoints: ["ts/worker.ts"],
  bundle: true,
  minify: true,
  write: false,
  format: "iife",
  target: "es2022",
}).outputFiles[0]?.text as string;

const [relaxed, simd128] = [readFileSync("wasm/relaxed.wasm"), readFileSync("wasm/simd.wasm")] as const;
const both = Buffer.concat([relaxed, simd128]);
const places = { relaxed: [0, relaxed.length], simd128: [relaxed.length, both.length] };

/** Types by themselves: those that two entries share are not to be a file without a module, which Deno would not find. */
const types = (...entries: string[]) => ({
  entry: Object.fromEntries(entries.map((name) => [name, `ts/${name}.ts`])),
  format: "esm" as const,
  // Disposable is newer than the libraries that most projects name.
  dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
});

export default defineConfig(async () => {
  await init();
  const stream = Buffer.from(compress(both, 22)).toString("base64");
  const code = {
    entry: { index: "ts/index.ts", slim: "ts/slim.ts", tfjs: "ts/tfjs.ts" },
    format: "esm" as const,
    target: "es2022" as const,
    platform: "neutral" as const,
    clean: true,
    // The shared part of the entries is one file, so that they share one WASM instance too.
    splitting: true,
    define: {
      WORKER_SOURCE: JSON.stringify(worker),
      BUILDS: JSON.stringify(stream),
      BUILD_PLACES: JSON.stringify(places),
    },
    onSuccess: async () => {
      // For those who have to serve it themselves, and the slim entry.
      writeFileSync("dist/worker.js", worker);
      // Deno takes the types from where the module says they are.
      for (const entry of ["index", "slim", "tfjs"]) {
        const code = readFileSync(`dist/${entry}.js`, "utf8");
        writeFileSync(`dist/${entry}.js`, `/* @ts-self-types="./${entry}.d.ts" */\n${code}`);
      }
      // What is bundled keeps its licence.
      cpSync("node_modules/fzstd/LICENSE", "dist/fzstd.LICENSE");
    },
  };
  return [code, types("index", "slim"), types("tfjs")];
});
