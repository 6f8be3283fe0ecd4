// npm test: formatting, lint, types, the crate, the WebAssembly build, the package on both builds and in other runtimes,
// the fuzzers, the documentation, the applications, the command line, the benchmark and the experiments.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { formatAndLint, types, vitest } from "./checks.mjs";
import { fuzz } from "./fuzz.mjs";
import { bin, EVERYTHING, ensureRust, install, root, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

// Which engine a machine can have makes no difference to what follows.
process.env.SYMPLECTIC_ADJOINT_ENGINE ??= "wasm";
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
step("crate, narrower registers", () => {
  const modules = ["golden", "gradients", "random_programs", "threads"].map((name) => `${name}::`);
  for (const bits of ["128", "256"]) {
    const env = { ...process.env, SYMPLECTIC_ADJOINT_REGISTERS: bits };
    run("cargo", ["test", "--lib"], { env });
    run("cargo", ["test", "--test", "main", "--", ...modules], { env });
  }
});
step("types", types);
for (const build of ["simd128", "relaxed"]) step(`package, ${build}`, () => vitest({ SIMD: build }));
const native = { SYMPLECTIC_ADJOINT_ENGINE: "native" };
const forced = { ...process.env, ...native };
const addon = existsSync(join(root, "native/stamp"));
step("package, native", () => {
  if (addon) vitest(native);
  else console.log("The native addon could not be built here: not tried");
});
fuzz();
for (const name of addon ? ["calls", "programs"] : []) {
  step(`fuzzer of ${name}, native`, () => run("node", [`test/fuzz/${name}.mjs`], { env: forced }));
}
step("cluster", () => vitest({ SIMD: "simd128", SUITE: "cluster" }));
step("Chromium", () => run("node", ["test/platform/browser.mjs"]));
step("Deno", () => {
  const args = ["run", "--no-config", "--allow-read", "--allow-env"];
  run(bin("deno"), [...args, "test/platform/terminal.mjs"]);
  if (addon) run(bin("deno"), [...args, "--allow-ffi", "--allow-sys", "test/platform/terminal.mjs"], { env: forced });
});
step("Bun", () => {
  run(bin("bun"), ["test/platform/terminal.mjs"]);
  if (addon) run(bin("bun"), ["test/platform/terminal.mjs"], { env: forced });
});
step("documentation", () => run("node", ["test/docs.mjs"]));
step("demo", () => run("node", ["test/demo.mjs"]));
step("playground", () => run("node", ["test/playground.mjs"]));
step("command line", () => {
  for (const name of ["cli", "simulate"]) run("node", [`test/${name}.mjs`]);
});
step("benchmark", () => run("node", ["test/bench.mjs"]));
step("experiments", () => {
  vitest({ SUITE: "experiments" });
  run("node", ["test/experiments.mjs"]);
});
ended();
