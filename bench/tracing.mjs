// npm run tracing: what it takes to make a program of a model, and to plan it, on each engine. Tracing is `equations` or `vectorField`,
// the crate's check of the program included; planning is what the first solve or gradient of a batch takes beyond the next one. These are
// the least of all rounds; what the first time of a process takes, when nothing is compiled yet, is told apart. With --write-docs,
// docs/performance.md gets the table.
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildPackage } from "../scripts/build.mjs";
import { attempt } from "../scripts/run.mjs";
import { pin } from "./shared/child.mjs";
import { fill } from "./shared/pages.mjs";
import { spread, table } from "./shared/table.mjs";

const { values: flags } = parseArgs({
  options: { rounds: { type: "string" }, processes: { type: "string" }, "write-docs": { type: "boolean" } },
});
/** In each of so many fresh processes a model is made so often; the first time is told apart. */
const [rounds, processes] = [flags.rounds ?? "10", Number(flags.processes ?? 5)];
const ENGINES = [
  { name: "WebAssembly", env: "wasm" },
  { name: "addon", env: "native" },
];
const MODELS = ["hundred", "lotka-volterra", "pharmacokinetics", "hybrid", "lorenz-96", "lorenz-96 by rows"];

buildPackage();
const script = fileURLToPath(new URL("contenders/tracing.mjs", import.meta.url));

/** What some processes have found; none where the engine is not there. */
function measured(model, env) {
  const runs = [];
  for (let i = 0; i < processes; i++) {
    const [command, ...rest] = pin([process.execPath, script, model, rounds]);
    const all = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: env };
    const { status, stdout, stderr } = attempt(command, rest, { env: all, shell: false });
    if (status !== 0) {
      if (env === "native") return undefined;
      throw new Error(`${model}: ${stderr}`);
    }
    runs.push(JSON.parse(stdout));
  }
  return runs;
}

const names = [];
const rows = MODELS.flatMap((model) =>
  ENGINES.flatMap(({ name, env }) => {
    const runs = measured(model, env);
    if (!runs) return [];
    const [{ title, operations, engine }] = runs;
    if (!names.includes(engine)) names.push(engine);
    const all = runs.flatMap(({ times }) => times);
    const least = (of) => Math.min(...all.map(of));
    const plan = (task) => least((one) => one[task].first) - least((one) => one[task].again);
    const first = runs.map(({ first: { trace, solve, gradient } }) => trace + solve.first + gradient.first);
    const figures = [least(({ trace }) => trace), plan("solve"), plan("gradient")].map((ms) => ms.toFixed(2));
    return [[title, String(operations), name, ...figures, spread(first)]];
  }),
);
const head = ["model", "operations", "by", "trace (ms)", "plan a solve", "plan a gradient", "all, first time"];
const machine = `${cpus()[0]?.model.trim()}, Node ${process.versions.node}, ${names.join(" and ")}; batch 256, float64`;
const figures = table(head, rows);
console.log(`${machine}\n\n${figures}`);
if (flags["write-docs"]) fill("docs/performance.md", `${figures}\n\n${machine}.`, "tracing");
