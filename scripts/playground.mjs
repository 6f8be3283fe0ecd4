// npm run playground [-- --build]: builds playground/dist, a static page for any host, and serves it here unless told to
// build only.
import { buildPackage } from "./build.mjs";
import { buildsOnly } from "./flags.mjs";
import { install } from "./run.mjs";

const only = buildsOnly("playground");
buildPackage();
install("playground");
const { playground } = await import("../playground/serve.mjs");
await playground({ only });
