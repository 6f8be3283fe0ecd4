// npm run docs [-- --build]: builds guides and reference as a static site in apps/site/dist, for any host at any path, and
// serves it here unless told to build only.
import { join } from "node:path";
import { buildsOnly } from "./flags.mjs";
import { bin, install, root, run } from "./run.mjs";

const only = buildsOnly("docs");
const site = join(root, "apps/site");
install("apps/site");
run(bin("typedoc"), [], { cwd: site });
if (!only) run(bin("sirv"), ["dist", "--dev"], { cwd: site });
