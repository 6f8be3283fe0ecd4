// The examples of README and guides: found, run as a reader would run them, each as a program of its own, and type-checked.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const guides = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));

/** README and guides, as paths from the root. */
export const pages = ["README.md", ...guides.map((name) => `docs/${name}`)];

/** @typedef {{ title?: string, language: string, code: string, output?: string }} Groups */

/**
 * All fenced blocks: the page and the nearest heading above, the language, the code, and what it prints where the next block
 * shows that.
 */
export const blocks = pages.flatMap((page) => {
  const text = readFileSync(join(root, page), "utf8");
  const parts =
    /^#+ (?<title>.+)$|^```(?<language>[^\n]*)\n(?<code>[\s\S]*?)^```\n(?:\n```text\n(?<output>[\s\S]*?)^```)?/gm;
  let heading = "";
  const found = [];
  for (const { groups } of text.matchAll(parts)) {
    const { title, ...block } = /** @type {Groups} */ (groups);
    if (title) heading = title;
    else found.push({ page, heading, ...block });
  }
  return found;
});

/** Those that run in Node, named after their page. Some need a framework, which test/packaging has, or a server. */
export const examples = blocks
  .filter(({ language }) => language === "ts")
  .map((block, index, all) => {
    const place = index - all.findIndex(({ page }) => page === block.page) + 1;
    const [, stem = ""] = block.page.match(/(\w[\w-]*)\.md$/) ?? [];
    const framework = /from "@(tensorflow|jax-js)\//.test(block.code);
    // Needs a server: test/cluster/guide.test.ts.
    const cluster = block.page === "docs/cluster.md";
    return { ...block, name: `${stem.toLowerCase()}-${place}`, framework, cluster };
  });

/** A folder for examples to run in, inside one from which they find what they import, with the data of the repository. */
export function exampleFolder(parent) {
  const path = join(root, parent, ".examples");
  mkdirSync(path, { recursive: true });
  rmSync(join(path, "data"), { force: true });
  symlinkSync(join(root, "data"), join(path, "data"), "junction");
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Runs an example; what it prints, and what ends it, if it fails.
 *
 * @returns {Promise<{ output: string, error: string }>}
 */
export function run({ name, code }, folder) {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, transformSync(code, { loader: "ts", target: "es2022" }).code);
  return new Promise((resolve) => {
    execFile(process.execPath, [file], { cwd: folder, timeout: 600_000 }, (failed, output, errors) =>
      resolve({ output, error: failed ? errors || String(failed) : "" }),
    );
  });
}

/** Why a run is not as it should be, if so: an error, no number printed, or other output than the page shows. */
export function complaint(example, { output, error }) {
  if (error) return error;
  if (!/\d/.test(output) || /NaN|undefined/.test(output)) return `printed: ${output}`;
  if (example.output && !shows(example.output, output)) return `printed: ${output}`;
  return "";
}

/** Whether a text is as shown, where `…` stands for anything. */
export function shows(shown, text) {
  const parts = shown.trim().split("…");
  const escaped = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(escaped.join("[\\s\\S]*")).test(text);
}

/** What the compiler has to say of examples, which need not state the types of their parameters. */
export function typeErrors(given, folder) {
  for (const { name, code } of given) writeFileSync(join(folder, `${name}.ts`), `${code}\nexport {};\n`);
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      noImplicitAny: false,
      noUncheckedIndexedAccess: false,
      noUnusedLocals: false,
      types: ["node"],
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: ["*.ts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  return spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" }).stdout;
}
