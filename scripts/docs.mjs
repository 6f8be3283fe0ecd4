// npm run docs [-- --build]: guides and reference as a static site in docs-site/dist, which any host can serve at any path;
// then serves it here, unless it is only to be built.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { install, root, run } from "./run.mjs";

const { values } = parseArgs({ options: { build: { type: "boolean" } } });
const site = join(root, "docs-site");
const bin = (name) => join(site, "node_modules/.bin", name);

install("docs-site");
run(bin("typedoc"), [], { cwd: site });
if (!values.build) run(bin("sirv"), ["dist", "--dev"], { cwd: site });
