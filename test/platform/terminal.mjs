// Golden cases and a pool in Deno and Bun: deno run --allow-read --allow-sys terminal.mjs, bun terminal.mjs
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import * as api from "../../dist/index.js";
import { COUNT, runCases } from "./cases.mjs";
import { poolFailures } from "./pool.mjs";

const folder = new URL("../golden/", import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
const cases = names.map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")));
const { count, failures, build } = runCases(api, cases);
const pool = await poolFailures(api, {}, true);
const { deno, bun } = process.versions;
const runtime = deno ? `Deno ${deno}` : `Bun ${bun}`;
console.log(
  `${runtime}, ${build}: ${count - failures.length} of ${count} golden gradients, pool ${pool.length === 0 ? "right" : "wrong"}`,
);
for (const failure of [...failures, ...pool]) console.error(failure);
process.exit(failures.length + pool.length > 0 || count !== COUNT ? 1 : 0);
