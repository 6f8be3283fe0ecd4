// What the scripts share: running commands, and installing a folder's packages where they are missing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command with its output shown; ends this process if it fails. */
export function run(command, args, options = {}) {
  const result = attempt(command, args, { stdio: "inherit", ...options });
  if (result.status !== 0) {
    console.error(`\n${command} ${args.join(" ")}\nfailed${result.error ? `: ${result.error.message}` : ""}`);
    process.exit(result.status || 1);
  }
}

/** Runs a command and gives its result, whatever it is. */
export function attempt(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, encoding: "utf8", shell: process.platform === "win32", ...options });
}

/** Sees to it that cargo is there, with the components named. */
export function ensureRust(...components) {
  const bin = join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin");
  process.env.PATH = [process.env.PATH, bin].join(delimiter);
  if (attempt("cargo", ["--version"]).status !== 0) {
    console.log("Installing Rust by rustup …");
    run("sh", ["-c", "curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"]);
  }
  for (const component of components) {
    if (attempt("cargo", [component, "--version"]).status === 0) continue;
    run("rustup", ["component", "add", component === "fmt" ? "rustfmt" : component]);
  }
}

/** Installs the packages of a folder as its lock file has them, unless that has been done. */
export function install(folder) {
  const lock = readFileSync(join(root, folder, "package-lock.json"), "utf8");
  const done = join(root, folder, "node_modules", ".installed");
  if (existsSync(done) && readFileSync(done, "utf8") === lock) return;
  console.log(`Installing the packages of ${folder === "." ? "the project" : folder} …`);
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: join(root, folder) });
  writeFileSync(done, lock);
}
