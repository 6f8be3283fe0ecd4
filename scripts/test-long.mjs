// npm run test:long: the fuzzers, random programs, simulated fits and a cluster under fire, for hours instead of seconds.
import { buildPackage } from "./build.mjs";
import { vitest } from "./checks.mjs";
import { fuzz } from "./fuzz.mjs";
import { EVERYTHING, ensureRust, install, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

// The fuzzers hold memory to the byte.
process.env.SYMPLECTIC_ADJOINT_ENGINE ??= "wasm";
step("packages", () => install(EVERYTHING));
buildPackage();
step("Rust", () => ensureRust());
step("crate", () => run("cargo", ["test", "--tests", "--", "--ignored"]));
step("coverage of intervals", () => vitest({ SIMD: "simd128", LONG: "1" }, "estimate-coverage"));
step("cluster, struck at random", () => vitest({ SIMD: "simd128", SUITE: "cluster", LONG: "1" }, "chaos"));
step("cluster, cut off", () => vitest({ SIMD: "simd128", SUITE: "cluster", LONG: "1" }, "partition"));
// 1,000 trials, whose workers are killed at random.
step("sweeps", () => vitest({ SIMD: "simd128", SUITE: "cluster", LONG: "1" }, "cluster/sweep.test"));
fuzz({ long: true });
ended("test:long");
