import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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

const library = defineConfig({
  entry: { index: "ts/index.ts", slim: "ts/slim.ts" },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  // Disposable is newer than the libraries that most projects name.
  dts: { banner: '/// <reference lib="esnext.disposable" />' },
  // What the command below makes is its own.
  clean: ["!cli/**"],
  // The shared part of both entries is one file, so that they share one WASM instance too.
  splitting: true,
  loader: { ".wasm": "base64" },
  define: { WORKER_SOURCE: JSON.stringify(worker) },
  // For those who have to serve it themselves.
  onSuccess: async () => writeFileSync("dist/worker.js", worker),
});

// The command, with the libraries that it is made with inside: the package itself depends on nothing.
const command = defineConfig({
  entry: { "cli/main": "ts/cli/main.ts" },
  format: "esm",
  target: "node20",
  platform: "node",
  external: [/^\.\.\/index\.js$/],
  // Some of them are older than modules.
  onSuccess: async () => writeFileSync("dist/cli/LICENSES.txt", licenses(["cli-progress", "commander", "csv-parse"])),
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});

/** The licences of packages and of what they depend on, as those demand of whoever carries them. */
function licenses(packages: string[]): string {
  const all = new Set(packages);
  // A set goes on to what is added on the way.
  const texts: string[] = [];
  for (const name of all) {
    const folder = `node_modules/${name}`;
    const { dependencies = {} } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    for (const dependency of Object.keys(dependencies)) all.add(dependency);
    const file = readdirSync(folder).find((file) => /^licen[sc]e/i.test(file));
    if (file) texts.push(`${name}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`);
  }
  return texts.join("\n");
}

export default [library, command];
