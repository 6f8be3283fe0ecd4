// The packages of the native addons, one for each platform, as npm/PLATFORM/: laid out for a release from what lies in native/.
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isCurrent } from "./build-native.mjs";
import { licenses } from "./licenses.mjs";
import { PLATFORMS } from "./platforms.mjs";
import { root } from "./run.mjs";

/** @typedef {{ version: string, license: string, engines: object, repository?: unknown, homepage?: unknown }} Manifest */

/** @param {string} platform */
const nameOf = (platform) => `@symplectic-adjoint/${platform}`;

/** The platforms whose addon is not in native/, or was built from other sources. */
export function missingAddons() {
  const all = Object.keys(PLATFORMS);
  return isCurrent() ? all.filter((platform) => !existsSync(addonOf(platform))) : all;
}

/** @param {string} platform */
const addonOf = (platform) => join(root, "native", fileOf(platform));
/** @param {string} platform */
const fileOf = (platform) => `symplectic-adjoint.${platform}.node`;

/**
 * Lays out the package of a platform; gives its folder.
 *
 * @param {string} platform
 * @param {Manifest} manifest that of the main package
 */
export function layOut(platform, { version, license, engines, repository, homepage }) {
  const { os, cpu, libc, target } = /** @type {import("./platforms.mjs").Platform} */ (PLATFORMS[platform]);
  const folder = join(root, "npm", platform);
  const file = fileOf(platform);
  const description = `The native engine of symplectic-adjoint for ${platform}`;
  const own = { name: nameOf(platform), version, description, license, main: file };
  const where = { os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) };
  const files = [file, "LICENSES.txt"];
  mkdirSync(folder, { recursive: true });
  const all = { ...own, files, engines, ...where, repository, homepage };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(join(folder, "README.md"), `${description}, which installs it by itself.\n`);
  writeFileSync(join(folder, "LICENSES.txt"), licenses(`${file} contains`, target, ["--features", "node"]));
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  cpSync(addonOf(platform), join(folder, file));
  return folder;
}

/**
 * Runs while package.json depends on the packages of all platforms, in exactly its own version, as the published one does. In the
 * repository it does not: they would have to be published before they are built.
 *
 * @template T
 * @param {() => T} body
 */
export function withAddons(body) {
  const file = join(root, "package.json");
  const text = readFileSync(file, "utf8");
  const manifest = JSON.parse(text);
  const optionalDependencies = Object.fromEntries(
    Object.keys(PLATFORMS).map((platform) => [nameOf(platform), manifest.version]),
  );
  writeFileSync(file, `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`);
  try {
    return body();
  } finally {
    writeFileSync(file, text);
  }
}
