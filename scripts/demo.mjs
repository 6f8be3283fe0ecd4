// npm run demo [-- --resume]: installs what it needs, then runs demo/main.mjs.
import { buildPackage } from "./build.mjs";
import { install } from "./run.mjs";

buildPackage();
install("demo");
await import("../demo/main.mjs");
