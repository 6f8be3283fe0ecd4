// What the scripts share: running commands, and installing packages where they are missing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const QUIET = ["--no-audit", "--no-fund", "--loglevel=error"];

/** @typedef {Partial<import("node:child_process").SpawnSyncOptionsWithStringEncoding>} RunOptions */

/**
 * Runs a command with its output shown; ends this process if it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} options
 */
export function run(command, args, options = {}) {
  const result = attempt(command, args, { stdio: "inherit", ...options });
  if (result.status !== 0) {
    console.error(`\n${command} ${args.join(" ")}\nfailed${result.error ? `: ${result.error.message}` : ""}`);
    process.exit(result.status || 1);
  }
}

/**
 * Runs a command and gives its result, whatever it is.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} options
 */
export function attempt(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8", shell: process.platform === "win32", ...options });
}

/** Whether cargo is there, by PATH or where rustup puts it. */
export function findRust() {
  const bin = join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin");
  const path = (process.env.PATH ?? "").split(delimiter);
  if (!path.includes(bin)) process.env.PATH = [...path, bin].join(delimiter);
  return attempt("cargo", ["--version"]).status === 0;
}

/**
 * Sees to it that cargo is there, with the components named.
 *
 * @param {string[]} components
 */
export function ensureRust(...components) {
  if (!findRust()) {
    console.log("Installing Rust by rustup …");
    run("sh", ["-c", "curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"]);
  }
  for (const component of components) {
    if (attempt("cargo", [component, "--version"]).status === 0) continue;
    run("rustup", ["component", "add", component === "fmt" ? "rustfmt" : component]);
  }
}

/**
 * The path of an installed command, of the project or of a folder with a lock file of its own.
 *
 * @param {string} name
 */
export const bin = (name, folder = ".") => join(root, folder, "node_modules/.bin", name);

/** What `install` takes for all workspaces. */
export const EVERYTHING = "*";

/**
 * Installs the root's packages and those of the workspaces named, as the lock file has them, unless that has been done.
 * The demo does not wait for the tools of the tests that way. Those of `test` are all: it links the package itself.
 *
 * @param {string[]} workspaces
 */
export function install(...workspaces) {
  const note = join(root, "node_modules/.installed");
  const lock = readFileSync(join(root, "package-lock.json"), "utf8");
  const noted = existsSync(note) ? JSON.parse(readFileSync(note, "utf8")) : {};
  const done = noted.lock === lock ? noted.done : [];
  const wanted = [".", ...workspaces];
  if (done.includes(EVERYTHING) || wanted.every((one) => done.includes(one))) return;
  const all = workspaces.includes(EVERYTHING);
  console.log(`Installing the packages of ${all ? "all workspaces" : ["the project", ...workspaces].join(" and ")} …`);
  const some =
    workspaces.length > 0
      ? ["--include-workspace-root", ...workspaces.flatMap((one) => ["-w", one])]
      : ["--no-workspaces"];
  // `npm ci` begins anew; `npm install` adds to what is there.
  const command = done.length > 0 ? ["install", "--no-save"] : ["ci"];
  run("npm", [...command, ...QUIET, ...(all ? [] : some)]);
  writeFileSync(note, JSON.stringify({ lock, done: [...new Set([...done, ...wanted])] }));
}

/**
 * The same for a folder with a lock file of its own: test/packaging, whose thousand packages would make every other
 * installation read a lock file three times as long, and whose TensorFlow.js the root would take for its optional peer.
 *
 * @param {string} folder
 */
export function installApart(folder) {
  const lock = readFileSync(join(root, folder, "package-lock.json"), "utf8");
  const done = join(root, folder, "node_modules/.installed");
  if (existsSync(done) && readFileSync(done, "utf8") === lock) return;
  console.log(`Installing the packages of ${folder} …`);
  run("npm", ["ci", ...QUIET], { cwd: join(root, folder) });
  writeFileSync(done, lock);
}

/**
 * What a caught value says.
 *
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));
