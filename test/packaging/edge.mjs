// The installed package in the edge runtime of Next.js's maker, where there are no workers.
import { EdgeRuntime } from "edge-runtime";
import { build } from "esbuild";

const [project] = process.argv.slice(2);
const contents = `
  import * as api from "symplectic-adjoint";
  import { check, refusal } from "./check.mjs";

  const answer = async () => new Response(\`\${check(api)} | \${await refusal(() => api.parallel())}\`);
  addEventListener("fetch", (event) => event.respondWith(answer()));`;
const stdin = { contents, resolveDir: project };
const { outputFiles } = await build({ stdin, bundle: true, write: false, format: "iife" });
const runtime = new EdgeRuntime({ initialCode: outputFiles[0].text });
const said = await (await runtime.dispatchFetch("http://localhost/")).text();
console.log(`edge runtime: ${said}`);
if (!/^8 golden gradients, \w+ \| UNSUPPORTED: this runtime has no Worker(?!.*Policy)/.test(said)) process.exitCode = 1;
