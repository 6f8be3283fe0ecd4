// npm run docs [-- --build]: builds guides and reference as a static site in docs-site/dist, for any host at any path, and
// serves it here unless told to build only.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { install, root, run } from "./run.mjs";

let options;
try {
  options = parseArgs({ options: { build: { type: "boolean" } } }).values;
} catch (error) {
  console.error(`${error.message}\nusage: npm run docs [-- --build]`);
  process.exit(2);
}
// npm swallows a flag that stands before its own "--", but says so in the environment.
const only = options.build || process.env.npm_config_build === "true";
const site = join(root, "docs-site");
const bin = (name) => join(site, "node_modules/.bin", name);
// The types of the libraries that the sources name.
install(".");
install("docs-site");
run(bin("typedoc"), [], { cwd: site });
if (!only) run(bin("sirv"), ["dist", "--dev"], { cwd: site });
