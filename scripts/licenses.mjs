// The licences of what is compiled into the WebAssembly modules, as they demand of whoever carries it: wasm/LICENSES.txt. Those of
// the addons come with their packages: see packages.mjs.
//
//   node scripts/licenses.mjs            writes it
//   node scripts/licenses.mjs --check    fails if it is not that of Cargo.lock
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { attempt, ensureRust, root } from "./run.mjs";

const OWN = "symplectic-adjoint";
const file = join(root, "wasm/LICENSES.txt");

/**
 * @typedef {{ kind: string[] }} Target
 * @typedef {{ id: string, name: string, version: string, license: string, authors: string[], repository: string | null,
 *   manifest_path: string, targets: Target[] }} Package
 * @typedef {{ id: string, deps: { pkg: string, dep_kinds: { kind: string | null }[] }[] }} Resolved
 */

/**
 * The crates that end up in a module: those that others need at run time, and not what only runs as it is compiled.
 *
 * @param {string} target
 * @param {string[]} features
 */
function crates(target, features) {
  const args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target, ...features];
  const { status, stdout, stderr } = attempt("cargo", args, { maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(stderr);
  /** @type {{ packages: Package[], resolve: { nodes: Resolved[] } }} */
  const { packages, resolve } = JSON.parse(stdout);
  /** @param {string} id */
  const depsOf = (id) => resolve.nodes.find((node) => node.id === id)?.deps ?? [];
  /** @param {string} id */
  const packageOf = (id) => /** @type {Package} */ (packages.find((one) => one.id === id));
  /** @param {Package} crate */
  const runsAtCompileTime = ({ targets }) => targets.some(({ kind }) => kind.includes("proc-macro"));
  const found = new Set(packages.filter(({ name }) => name === OWN).map(({ id }) => id));
  // A set goes on to what is added on the way.
  for (const id of found) {
    for (const { pkg, dep_kinds } of depsOf(id)) {
      const needed = dep_kinds.some(({ kind }) => kind === null);
      if (needed && !runsAtCompileTime(packageOf(pkg))) found.add(pkg);
    }
  }
  return [...found].map((id) => packageOf(id)).filter(({ name }) => name !== OWN);
}

/**
 * What a crate says of its licence, and the files that it has of it; of several to choose from, that of MIT.
 *
 * @param {Package} crate
 */
function licenceOf({ name, version, license, authors, repository, manifest_path }) {
  const folder = dirname(manifest_path);
  const all = readdirSync(folder).filter((entry) => /^(licen[sc]e|copying|copyright|unlicense)/i.test(entry));
  const others = all.some((entry) => /mit/i.test(entry)) ? /apache|unlicense|zlib/i : /^$/;
  const files = all.filter((entry) => !others.test(entry));
  const texts = files.sort().map((entry) => readFileSync(join(folder, entry), "utf8").trim());
  if (texts.length === 0) texts.push([...authors, repository].filter(Boolean).join("\n"));
  return { title: `${name} ${version}: ${license}`, text: texts.join("\n\n") };
}

// Whichever version of it a build has, the notice is the same.
const standardLibrary = {
  title: "The standard library of Rust: MIT OR Apache-2.0",
  text: "Copyright (c) The Rust Project Contributors\nhttps://github.com/rust-lang/rust",
};

/**
 * The notices of what is compiled for a target; `what` contains it.
 *
 * @param {string} what
 * @param {string} target
 * @param {string[]} features
 */
export function licenses(what, target, features = []) {
  const all = crates(target, features).map(licenceOf);
  all.sort((a, b) => (a.title < b.title ? -1 : 1));
  const intro = `${what} these crates. Where a crate has\nseveral licences to choose from, it is used under that of MIT.`;
  const parts = [intro, ...[...all, standardLibrary].map(({ title, text }) => `${title}\n\n${text}`)];
  return `${parts.join(`\n\n${"-".repeat(80)}\n\n`).replaceAll("\r\n", "\n")}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  ensureRust();
  const what = "The modules simd.wasm and relaxed.wasm, and the scripts that have them inside, contain";
  const text = licenses(what, "wasm32-unknown-unknown");
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error("wasm/LICENSES.txt is not that of Cargo.lock: run `node scripts/licenses.mjs` and commit it.");
    process.exit(1);
  }
}
