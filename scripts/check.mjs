// npm run check: what to run before each commit: format, lint, types, and the tests that take little time.
import { formatAndLint, importRule, types, vitest } from "./checks.mjs";
import { EVERYTHING, ensureRust, install, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

step("packages", () => install(EVERYTHING));
step("Rust", () => ensureRust("fmt", "clippy"));
// The package is tested on the committed build, which is to be that of these sources.
step("WebAssembly build", () => run("node", ["scripts/build-wasm.mjs", "--check"]));
step("format and lint", formatAndLint);
step("types", types);
step("crate, import rule", importRule);
step("crate, unit tests", () => run("cargo", ["test", "--quiet", "--lib"]));
step("package, fast tests", () => vitest({ SIMD: "simd128", SUITE: "fast" }));
ended("check");
