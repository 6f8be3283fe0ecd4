// npm run golden -- [--dtype float32] [--gradient NAME]… FILE…
// Runs golden cases (formats: test/golden/README.md, test/golden-models/README.md) through the public API and prints a line for
// each; exit code 1 if any exceeds its tolerance. Cases that need what the package does not have are skipped.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildPackage } from "./build.mjs";
import { messageOf } from "./run.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dtype: { type: "string", default: "float64" },
    gradient: { type: "string", multiple: true, default: ["symplectic"] },
  },
});
if (positionals.length === 0) {
  console.error("usage: npm run golden -- [--dtype float32|float64] [--gradient NAME]… FILE…");
  process.exit(2);
}
buildPackage({ quiet: true });
const api = await import("../dist/index.js");
const { runGolden, tolerance } = await import("../test/golden.mjs");

let failed = 0;
for (const gradient of values.gradient) {
  if (values.gradient.length > 1) console.log(`${gradient}:`);
  for (const file of positionals) {
    const { verdict, text } = check(file, gradient);
    if (verdict === "FAIL") failed++;
    console.log(`${verdict} ${text}`);
  }
}
process.exitCode = failed > 0 ? 1 : 0;

/**
 * @param {string} file
 * @param {string} gradient
 */
function check(file, gradient) {
  try {
    const golden = JSON.parse(readFileSync(resolve(process.env.INIT_CWD ?? ".", file), "utf8"));
    const { errors = {}, steps, unsupported } = runGolden(api, golden, { dtype: values.dtype, gradient });
    if (unsupported) return { verdict: "skip", text: `${golden.name}: the package has no ${unsupported}` };
    const bound = tolerance(golden, values.dtype);
    const shown = Object.entries(errors).map(([name, error]) => `${name} ${error.toExponential(2)}`);
    const ok = Object.values(errors).every((error) => error <= bound);
    const text = `${golden.name.padEnd(26)} ${shown.join("  ")}  steps ${steps}  ${golden.method}`;
    return { verdict: ok ? "ok  " : "FAIL", text: ok ? text : `${text}  (tolerance ${bound})` };
  } catch (error) {
    return { verdict: "FAIL", text: `${file}: ${messageOf(error)}` };
  }
}
