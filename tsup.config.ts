import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { compress, init } from "@bokuweb/zstd-wasm";
import { buildSync } from "esbuild";
import { defineConfig, type Options } from "tsup";

/** Of the package; an addon of another one is not taken. */
const VERSION = JSON.stringify(JSON.parse(readFileSync("package.json", "utf8")).version);

/** A script that runs in a thread of its own, in which no import is left. */
const threadOf = (file: string) =>
  buildSync({
    entryPoints: [file],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    define: { VERSION },
  }).outputFiles[0]?.text as string;
// What runs in the workers of a pool, and in those of a cluster.
const worker = threadOf("ts/parallel/worker.ts");
const clusterThread = threadOf("ts/cluster/thread.ts");

// The builds, one after the other, and of each where it is, its file as an entry in dist/ sees it, and its hash.
const [relaxed, simd128] = [readFileSync("wasm/relaxed.wasm"), readFileSync("wasm/simd.wasm")] as const;
const both = Buffer.concat([relaxed, simd128]);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const places = {
  relaxed: { begin: 0, end: relaxed.length, file: "../wasm/relaxed.wasm", sha256: sha256(relaxed) },
  simd128: { begin: relaxed.length, end: both.length, file: "../wasm/simd.wasm", sha256: sha256(simd128) },
};

/** Types by themselves: those that two entries share are not to be a file without a module, which Deno would not find. */
const types = (...entries: string[]) => ({
  entry: Object.fromEntries(entries.map((name) => [name, `ts/${name}.ts`])),
  format: "esm" as const,
  // Disposable is newer than the libraries that most projects name.
  dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
});

/** The libraries of the command. */
const CARRIED = [
  ...["cli-progress", "commander", "csv-parse"],
  ...["jetstream", "kv", "transport-node"].map((name) => `@nats-io/${name}`),
];

// The command, with the libraries that it is made with inside: the package itself depends on nothing.
const command: Options = {
  // The others are threads, that in which it fits and those of trials, and what only some commands load.
  entry: Object.fromEntries(
    ["main", "fit-worker", "trial-thread", "nats"].map((name) => [`cli/${name}`, `ts/cli/${name}.ts`]),
  ),
  // A shared part would lie among the modules of the package.
  splitting: false,
  format: "esm",
  target: "node20",
  platform: "node",
  external: [/^\.\.\/(index|cluster)\.js$/, /^\.\/nats\.js$/],
  // Optional peers of the package, but not of the command.
  noExternal: [/^@nats-io\//],
  // Some of them are older than modules.
  onSuccess: async () => writeFileSync("dist/cli/LICENSES.txt", licenses(CARRIED)),
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
};

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

// esbuild sees within one file only that a call has no effect, and without that knows no rule to be unused.
const pure: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "pure-rules",
  setup({ onLoad, onResolve }) {
    // jsep sets itself up in statements that every bundle would keep: wrapped in one call, it is dropped where it is not used.
    onLoad({ filter: /[\\/]jsep[\\/]dist[\\/]jsep\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      const body = source.replace(/export \{ Jsep, jsep as default \};\s*$/, "");
      if (body === source) throw new Error("jsep exports other names than it did");
      return { contents: `export default /* @__PURE__ */ (() => {\n${body}\nreturn jsep;\n})();`, loader: "js" };
    });
    // Of this one, lowdisc takes a check of its arguments, which reads the environment as it is loaded.
    onResolve({ filter: /^@thi\.ng\/api$/ }, ({ path }) => ({ path, namespace: "unchecked" }));
    onLoad({ filter: /./, namespace: "unchecked" }, () => ({ contents: "export const assert = () => {};" }));
    const rules = readFileSync("ts/checks/rules.ts", "utf8");
    const names = [...rules.matchAll(/@__NO_SIDE_EFFECTS__\nexport function (\w+)/g)].map(([, name]) => name);
    const call = new RegExp(`(?<![\\w.*#])(?<!function )(?=(${names.join("|")})(<[^()]*>)?\\()`, "g");
    onLoad({ filter: /[\\/]ts[\\/].*\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, "utf8");
      if (!/from ".*\/rules\.js"/.test(contents)) return undefined;
      return { contents: contents.replace(call, "/* @__PURE__ */ "), loader: "ts" };
    });
  },
};

export default defineConfig(async () => {
  await init();
  const stream = Buffer.from(compress(both, 22)).toString("base64");
  const code = {
    entry: { index: "ts/index.ts", slim: "ts/slim.ts", tfjs: "ts/tfjs.ts", cluster: "ts/cluster.ts" },
    format: "esm" as const,
    target: "es2022" as const,
    platform: "neutral" as const,
    // What the command below makes is its own.
    clean: ["!cli/**"],
    // That of TensorFlow.js takes the default entry as it is: one module embeds the builds, and can be named in sideEffects.
    external: ["./index.js"],
    sourcemap: true,
    // The shared part of the entries is one file, so that they share one WASM instance too.
    splitting: true,
    esbuildPlugins: [pure],
    define: {
      VERSION,
      WORKER_SOURCE: JSON.stringify(worker),
      CLUSTER_THREAD_SOURCE: JSON.stringify(clusterThread),
      BUILDS: JSON.stringify(stream),
      BUILD_PLACES: JSON.stringify(places),
    },
    onSuccess: async () => {
      // For those who have to serve it themselves, and the slim entry.
      writeFileSync("dist/worker.js", worker);
      writeFileSync("dist/cluster-worker.js", clusterThread);
      // For resolvers that do not know exports.
      for (const entry of ["slim", "tfjs", "cluster"]) {
        mkdirSync(entry, { recursive: true });
        const places = { main: `../dist/${entry}.js`, types: `../dist/${entry}.d.ts` };
        writeFileSync(`${entry}/package.json`, `${JSON.stringify(places, null, 2)}\n`);
      }
      // Deno takes the types from where the module says they are.
      for (const entry of ["index", "slim", "tfjs", "cluster"]) {
        const code = readFileSync(`dist/${entry}.js`, "utf8");
        writeFileSync(`dist/${entry}.js`, `/* @ts-self-types="./${entry}.d.ts" */\n${code}`);
        const map = JSON.parse(readFileSync(`dist/${entry}.js.map`, "utf8"));
        // That is a line more before all others.
        writeFileSync(`dist/${entry}.js.map`, JSON.stringify({ ...map, mappings: `;${map.mappings}` }));
      }
      // What is bundled keeps its licence.
      for (const name of ["fzstd", "jsep"]) cpSync(`node_modules/${name}/LICENSE`, `dist/${name}.LICENSE`);
      cpSync("node_modules/@msgpack/msgpack/LICENSE", "dist/msgpack.LICENSE");
      cpSync("node_modules/@thi.ng/lowdisc/LICENSE", "dist/lowdisc.LICENSE");
    },
  };
  // Of a class there is to be one, or the types of a cluster would not fit those of the default entry.
  const cluster = { ...types("cluster"), external: [/^\.\.\/index\.js$/] };
  return [code, types("index", "slim"), types("tfjs"), cluster, command];
});
