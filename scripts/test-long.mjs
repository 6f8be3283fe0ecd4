// npm run test:long: the fuzzers for hours instead of seconds.
import { buildPackage } from "./build.mjs";
import { fuzz } from "./fuzz.mjs";
import { EVERYTHING, install } from "./run.mjs";
import { ended, step } from "./steps.mjs";

step("packages", () => install(EVERYTHING));
buildPackage();
fuzz({ long: true });
ended("test:long");
