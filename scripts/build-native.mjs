// Builds the native addon of this platform into native/, where Rust is installed; elsewhere the package does without.
//
//   node scripts/build-native.mjs            builds if the sources have changed since the last build
//   node scripts/build-native.mjs --force    builds whatever there is; a build that fails ends this process
//   node scripts/build-native.mjs --force linux-arm64-gnu    the same for another platform: see CONTRIBUTING.md
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PLATFORMS, platformOf } from "./platforms.mjs";
import { attempt, findRust, root } from "./run.mjs";

const folder = join(root, "native");

/** What the addon is made of, as a hash. */
function hashOfSources() {
  const sources = readdirSync(join(root, "crate/src"), { encoding: "utf8", recursive: true })
    .map((file) => join("crate/src", file).replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".rs"));
  const files = [
    ...sources,
    "crate/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
    "scripts/build-native.mjs",
    "scripts/platforms.mjs",
  ].sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\n`).update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

/** @param {string} platform */
const addonOf = (platform) => join(folder, `symplectic-adjoint.${platform}.node`);

/** Removes what was built from other sources: the package would load it. */
export function removeStale() {
  if (existsSync(folder) && !isCurrent()) rmSync(folder, { recursive: true });
}

/** Whether what lies in native/ was built from the sources as they are. */
export function isCurrent() {
  const stamp = join(folder, "stamp");
  return existsSync(stamp) && readFileSync(stamp, "utf8") === hashOfSources();
}

/**
 * Builds the addon of a platform; gives its path, or why there is none.
 *
 * @param {string} platform
 * @returns {{ path: string } | { problem: string }}
 */
function buildNative(platform) {
  const { target, library, flags } = PLATFORMS[platform] ?? {};
  if (!target) return { problem: `there is no addon for ${platform}` };
  if (!findRust()) return { problem: "Rust is not installed" };
  const own = platform === platformOf() ? [] : ["--target", target];
  const what = ["rustc", "-p", "symplectic-adjoint", "--lib", "--crate-type", "cdylib", "--features", "node"];
  const settings = ["--profile", "native", "--locked", "--config", "profile.native.strip=true", ...own];
  // A folder of its own, so that a build of the crate that runs meanwhile does not have to wait.
  const place = ["--target-dir", join(root, "target/addon")];
  const { status, stderr, error } = attempt("cargo", [...what, ...settings, ...place, "--", ...flags]);
  if (status !== 0) return { problem: `cargo failed: ${error?.message ?? stderr}` };
  mkdirSync(folder, { recursive: true });
  const path = addonOf(platform);
  // Removed first: a process that has loaded it keeps what it has.
  rmSync(path, { force: true });
  cpSync(join(root, "target/addon", own.length ? target : "", "native", library), path);
  return { path };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const given = process.argv.slice(2);
  const options = given.filter((argument) => argument.startsWith("-"));
  const platforms = given.filter((argument) => !argument.startsWith("-"));
  if (platforms.length > 1 || options.some((option) => option !== "--force")) {
    console.error("usage: node scripts/build-native.mjs [--force] [PLATFORM]");
    process.exit(2);
  }
  const force = options.length > 0;
  const [platform = platformOf()] = platforms;
  const path = addonOf(platform);
  if (!force && isCurrent() && existsSync(path)) {
    console.log("native/ is built from these sources.");
  } else {
    console.log("Building the native addon …");
    removeStale();
    const built = buildNative(platform);
    if ("path" in built) {
      writeFileSync(join(folder, "stamp"), hashOfSources());
    } else {
      console.log(`No native addon, so WebAssembly computes: ${built.problem}`);
      if (force) process.exit(1);
    }
  }
}
