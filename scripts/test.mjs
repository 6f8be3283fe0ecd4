// npm test: formatting, lint, types, the crate, the WebAssembly build, the package on both builds and in other runtimes.

import { join } from "node:path";
import { buildPackage } from "./build.mjs";
import { fuzz } from "./fuzz.mjs";
import { ensureRust, install, root, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

const bin = (name) => join(root, "test/node_modules/.bin", name);
step("packages", () =>
  [".", "test", "test/platform", "demo", "experiments", "playground", "docs-site"].forEach(install),
);
step("Rust", () => ensureRust("fmt", "clippy"));
// On the machine that decides, a stale build fails; elsewhere it is built anew.
step("WebAssembly build", () => {
  const check = process.env.CI ? ["--check"] : [];
  for (const script of ["build-wasm", "licenses"]) run("node", [`scripts/${script}.mjs`, ...check]);
});
step("format and lint", () => {
  run(bin("biome"), ["ci", "--error-on-warnings"]);
  run("cargo", ["fmt", "--check"]);
  run("cargo", ["clippy", "--all-targets", "--", "-D", "warnings"]);
});
step("crate", () => run("cargo", ["test"]));
step("types", () => {
  buildPackage();
  run("npx", ["tsc", "-p", "."]);
  run("npx", ["tsc", "-p", "ts/cli"]);
  run("npx", ["tsc", "-p", "test"]);
  run("npx", ["tsc", "-p", "playground"]);
});
const vitest = (env) =>
  run(bin("vitest"), ["run", "--config", "vitest.config.mjs"], {
    cwd: join(root, "test"),
    env: { ...process.env, ...env },
  });
for (const build of ["simd128", "relaxed"]) step(`package, ${build}`, () => vitest({ SIMD: build }));
fuzz();
step("Chromium", () => run("node", ["test/platform/browser.mjs"]));
const platform = join(root, "test/platform/node_modules/.bin");
step("Deno", () => {
  run(join(platform, "deno"), ["run", "--no-config", "--allow-read", "--allow-env", "test/platform/terminal.mjs"]);
});
step("Bun", () => run(join(platform, "bun"), ["test/platform/terminal.mjs"]));
step("documentation", () => run("node", ["test/docs.mjs"]));
step("demo", () => run("node", ["test/demo.mjs"]));
step("playground", () => run("node", ["test/playground.mjs"]));
step("command line", () => run("node", ["test/cli.mjs"]));
step("benchmark", () => run("node", ["test/bench.mjs"]));
step("experiments", () => {
  vitest({ SUITE: "experiments" });
  run("node", ["test/experiments.mjs"]);
});
ended();
