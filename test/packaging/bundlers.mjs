// The installed package bundled by webpack, Rspack and Parcel, which must have nothing to warn of: for Node, where the bundles
// are run, and for pages, which browser.mjs opens.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rspack } from "@rspack/core";
import { build as esbuild } from "esbuild";
import webpack from "webpack";

const [project] = process.argv.slice(2);
const bundlers = { webpack, rspack };

/** What a bundler has to say, which is to be nothing. */
async function bundle(name, target, entry) {
  const folder = `${name}${target === "node" ? "-node" : ""}`;
  const stats = await new Promise((resolve, reject) => {
    const options = {
      context: project,
      mode: "production",
      target,
      entry,
      output: { path: join(project, folder), publicPath: target === "web" ? `/${folder}/` : "auto" },
      // That a page should be small is no word about the package.
      performance: { hints: false },
    };
    bundlers[name](options, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  const said = [...errors, ...warnings].map(({ message }) => message);
  console.log(`${name} for ${target}: ${said.length === 0 ? "nothing to warn of" : said.join("\n")}`);
  if (said.length > 0) process.exitCode = 1;
}

for (const name of Object.keys(bundlers)) {
  await bundle(name, "node", { bundled: "./bundled.mjs" });
  const said = execFileSync(process.execPath, [join(project, `${name}-node/bundled.js`)], { encoding: "utf8" }).trim();
  console.log(`${name} in Node: ${said}`);
  if (!/^8 golden gradients, \w+, pool right$/.test(said)) process.exitCode = 1;
  await bundle(name, "web", { main: "./main.js" });
}

// What is imported and not used is left out, builds and all.
const contents = `import { bridge } from "symplectic-adjoint/tfjs";
  import { cosineDecay } from "symplectic-adjoint/slim";
  console.log(cosineDecay(1, { steps: 2 })(1));`;
const unused = await esbuild({ stdin: { contents, resolveDir: project }, bundle: true, write: false, format: "esm" });
const { length } = unused.outputFiles[0].contents;
console.log(`esbuild, without what is not used: ${length} bytes`);
// The reader of options with its hints, and the schedule.
if (length > 31_000) process.exitCode = 1;

const parcel = fileURLToPath(new URL("node_modules/.bin/parcel", import.meta.url));
const args = ["build", "main.js", "parcel-slim.js", "--no-cache", "--dist-dir", "parcel", "--public-url", "/parcel/"];
const said = execFileSync(parcel, args, { cwd: project, encoding: "utf8" });
// Parcel marks files above a mebibyte, as the WebAssembly module is, and the scripts that hold both builds of it.
const marked = said.split("\n").filter((line) => line.includes("⚠") && !/\.wasm|parcel\/(?:main|worker)\b/.test(line));
const wrong = marked.length > 0 ? said : "";
console.log(`Parcel for web: ${wrong || "nothing to warn of"}`);
if (wrong) process.exitCode = 1;
