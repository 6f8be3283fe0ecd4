// npm test: formatting, lint, types, the crate, the WebAssembly build, the package on both builds and in other runtimes,
// the fuzzers, the documentation, the applications, the command line, the benchmark and the experiments.
import { formatAndLint, types, vitest } from "./checks.mjs";
import { fuzz } from "./fuzz.mjs";
import { bin, EVERYTHING, ensureRust, install, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

step("packages", () => install(EVERYTHING));
step("Rust", () => ensureRust("fmt", "clippy"));
// On the machine that decides, a stale build fails; elsewhere it is built anew.
step("WebAssembly build", () => {
  const check = process.env.CI ? ["--check"] : [];
  for (const script of ["build-wasm", "licenses"]) run("node", [`scripts/${script}.mjs`, ...check]);
});
step("native addon", () => run("node", ["scripts/build-native.mjs"]));
step("format and lint", formatAndLint);
step("crate", () => run("cargo", ["test"]));
step("types", types);
for (const build of ["simd128", "relaxed"]) step(`package, ${build}`, () => vitest({ SIMD: build }));
fuzz();
step("Chromium", () => run("node", ["test/platform/browser.mjs"]));
step("Deno", () => {
  run(bin("deno"), ["run", "--no-config", "--allow-read", "--allow-env", "test/platform/terminal.mjs"]);
});
step("Bun", () => run(bin("bun"), ["test/platform/terminal.mjs"]));
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
