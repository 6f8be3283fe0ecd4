// npm run playground [-- --build]: builds playground/dist, a static page for any host, and serves it here unless told to
// build only.
import { parseArgs } from "node:util";
import { buildPackage } from "./build.mjs";
import { install, root } from "./run.mjs";

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
const { build, preview } = await import("../playground/node_modules/vite/dist/node/index.js");
const configFile = `${root}/playground/vite.config.mjs`;
await build({ configFile, logLevel: only ? "info" : "warn" });
if (!only) {
  const open = process.stdout.isTTY && !process.env.CI;
  const server = await preview({ configFile, preview: { open } });
  server.printUrls();
}
