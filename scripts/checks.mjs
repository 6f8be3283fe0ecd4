// What `npm test` and `npm run check` have in common.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPackage } from "./build.mjs";
import { bin, root, run } from "./run.mjs";

/**
 * Every file is in one of them, but for the two in test/packaging/bridges that need the types of TensorFlow.js: `npm run test:packaging`
 * checks those, and all of test/packaging by the types of the packages that are installed there.
 */
const PROJECTS = [
  ...[".", "ts/cli", "scripts", "apps", "apps/playground", "bench"],
  ...["test", "test/tsconfig.programs.json", "test/packaging/tsconfig.check.json"],
];

export function formatAndLint() {
  run(bin("biome"), ["ci", "--error-on-warnings"]);
  run("cargo", ["fmt", "--check"]);
  run("cargo", ["clippy", "--all-targets", "--", "-D", "warnings"]);
  run("cargo", ["clippy", "--features", "node", "--", "-D", "warnings"]);
}

export function types() {
  buildPackage();
  for (const project of PROJECTS) {
    // What has not changed since the last time is not checked again.
    const seen = join(root, "node_modules/.cache/types", `${project.replaceAll("/", "-")}.tsbuildinfo`);
    run(bin("tsc"), ["-p", project, "--incremental", "--tsBuildInfoFile", seen]);
  }
}

/** The test of imports in the crate, by itself: it reads sources alone, and cargo would build the whole crate once more for it. */
export function importRule() {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  const program = join(folder, "modules");
  const env = { ...process.env, CARGO_MANIFEST_DIR: join(root, "crate") };
  run("rustc", ["--edition", "2024", "--test", "crate/tests/modules.rs", "-o", program], { env });
  run(program, ["--quiet"]);
  rmSync(folder, { recursive: true });
}

/**
 * The tests of the package: on a WebAssembly build, `relaxed` or `simd128`, on the addon, or another suite; all files, or those
 * that have this in their name. See test/vitest.config.mjs.
 *
 * @param {{ SIMD?: string, SUITE?: string, LONG?: string, SYMPLECTIC_ADJOINT_ENGINE?: string }} env
 * @param {string[]} names
 */
export function vitest(env, ...names) {
  run(bin("vitest"), ["run", "--config", "vitest.config.mjs", ...names], {
    cwd: join(root, "test"),
    env: { ...process.env, ...env },
  });
}
