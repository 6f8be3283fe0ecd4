// npm run playground [-- --build]: builds playground/dist, a static page for any host, and serves it here unless told to
// build only.
import { parseArgs } from "node:util";
import { buildPackage } from "./build.mjs";
import { install } from "./run.mjs";

let options;
try {
  options = parseArgs({ options: { build: { type: "boolean" } } }).values;
} catch (error) {
  console.error(`${error.message}\nusage: npm run playground [-- --build]`);
  process.exit(2);
}
// npm swallows a flag that stands before its own "--", but says so in the environment.
const only = options.build || process.env.npm_config_build === "true";
buildPackage();
install("playground");
const { playground } = await import("../playground/serve.mjs");
await playground({ only });
