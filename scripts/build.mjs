// Builds dist/ where it is older than what it is made of.
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { removeStale } from "./build-native.mjs";
import { attempt, install, root } from "./run.mjs";

/** Makes the package ready to import from dist/. */
export function buildPackage({ quiet = false } = {}) {
  removeStale();
  const built = join(root, "dist/index.d.ts");
  const sources = ["ts", "wasm"].flatMap((folder) =>
    readdirSync(join(root, folder), { encoding: "utf8", recursive: true }).map((file) => join(folder, file)),
  );
  /** @param {string} file */
  const changed = (file) => statSync(join(root, file)).mtimeMs > statSync(built).mtimeMs;
  if (existsSync(built) && ![...sources, "tsup.config.ts", "package.json"].some(changed)) return;
  install();
  if (!quiet) console.log("Building the package …");
  const result = attempt("npx", ["tsup", "--silent"], { stdio: ["ignore", "pipe", "pipe"] });
  if (result.status !== 0) {
    console.error(result.stdout, result.stderr);
    process.exit(1);
  }
}
