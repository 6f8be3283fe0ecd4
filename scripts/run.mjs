// What the scripts share: running commands, and installing a folder's packages where they are missing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
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

/** Installs the packages of a folder as its lock file has them, unless that has been done. */
export function install(folder) {
  const lock = readFileSync(join(root, folder, "package-lock.json"), "utf8");
  const done = join(root, folder, "node_modules", ".installed");
  if (existsSync(done) && readFileSync(done, "utf8") === lock) return;
  console.log(`Installing the packages of ${folder === "." ? "the project" : folder} …`);
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: join(root, folder) });
  writeFileSync(done, lock);
}
