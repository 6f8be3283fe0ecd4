// npm run docs [-- --build]: builds guides and reference as a static site in docs-site/dist, for any host at any path, and
// serves it here unless told to build only.
import { join } from "node:path";
import { buildsOnly } from "./flags.mjs";
import { install, root, run } from "./run.mjs";

const only = buildsOnly("docs");
const site = join(root, "docs-site");
const bin = (name) => join(site, "node_modules/.bin", name);
// The types of the libraries that the sources name.
install(".");
install("docs-site");
run(bin("typedoc"), [], { cwd: site });
if (!only) run(bin("sirv"), ["dist", "--dev"], { cwd: site });
