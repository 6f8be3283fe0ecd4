// deno run --allow-read test/platform/deno.mjs
import * as api from "../../dist/index.js";
import { runCases } from "./cases.mjs";

const folder = new URL("../golden/", import.meta.url);
const cases = [];
for (const { name } of Deno.readDirSync(folder)) {
  if (name.startsWith("mlp-")) cases.push(JSON.parse(Deno.readTextFileSync(new URL(name, folder))));
}
const { count, failures, simd } = runCases(api, cases);
console.log(`Deno ${Deno.version.deno}, ${simd}: ${count - failures.length} of ${count} golden gradients`);
for (const failure of failures) console.error(failure);
Deno.exit(failures.length > 0 || count !== 17 * 8 ? 1 : 0);
