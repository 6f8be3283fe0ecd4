// npm run golden -- [--dtype float32] [--gradient NAME] FILE…
// Runs golden cases (format: test/golden/README.md) through the public API and prints a line for each; exit code 1 if
// any exceeds its tolerance or is not supported.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildPackage } from "./build.mjs";
import { messageOf } from "./run.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { dtype: { type: "string", default: "float64" }, gradient: { type: "string", default: "symplectic" } },
});
if (positionals.length === 0) {
  console.error("usage: npm run golden -- [--dtype float32|float64] [--gradient NAME] FILE…");
  process.exit(2);
}
buildPackage({ quiet: true });
const api = await import("../dist/index.js");
const { runGolden, tolerance } = await import("../test/golden.mjs");

let failed = 0;
for (const file of positionals) {
  const line = check(file);
  if (!line.ok) failed++;
  console.log(`${line.ok ? "ok  " : "FAIL"} ${line.text}`);
}
process.exitCode = failed > 0 ? 1 : 0;

/** @param {string} file */
function check(file) {
  try {
    const golden = JSON.parse(readFileSync(resolve(process.env.INIT_CWD ?? ".", file), "utf8"));
    const { errors = {}, steps, unsupported } = runGolden(api, golden, values);
    if (unsupported) return { ok: false, text: `${golden.name}: unsupported, ${unsupported}` };
    const bound = tolerance(golden, values.dtype);
    const shown = Object.entries(errors).map(([name, error]) => `${name} ${error.toExponential(2)}`);
    const ok = Object.values(errors).every((error) => error <= bound);
    const text = `${golden.name.padEnd(26)} ${shown.join("  ")}  steps ${steps}  ${golden.method}`;
    return { ok, text: ok ? text : `${text}  (tolerance ${bound})` };
  } catch (error) {
    return { ok: false, text: `${file}: ${messageOf(error)}` };
  }
}
