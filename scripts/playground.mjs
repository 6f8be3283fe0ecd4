// npm run playground [-- --build]: builds apps/playground/dist, a static page for any host, and serves it here unless told to
// build only.
import { buildPackage } from "./build.mjs";
import { buildsOnly } from "./flags.mjs";
import { install } from "./run.mjs";

const only = buildsOnly("playground");
install("apps/playground");
buildPackage();
const { playground } = await import("../apps/playground/serve.mjs");
await playground({ only });
