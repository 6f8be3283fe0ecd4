// npm run demo [-- --resume]: installs what it needs, then runs apps/demo/main.mjs.
import { buildPackage } from "./build.mjs";
import { install } from "./run.mjs";

install("apps/demo");
buildPackage();
await import("../apps/demo/main.mjs");
