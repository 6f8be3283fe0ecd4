// npm run test:long: the fuzzers, and the crate's tests of random programs, for hours instead of seconds.
import { buildPackage } from "./build.mjs";
import { fuzz } from "./fuzz.mjs";
import { EVERYTHING, ensureRust, install, run } from "./run.mjs";
import { ended, step } from "./steps.mjs";

step("packages", () => install(EVERYTHING));
buildPackage();
step("Rust", () => ensureRust());
step("crate", () => run("cargo", ["test", "--tests", "--", "--ignored"]));
fuzz({ long: true });
ended("test:long");
