// Fits a neural ODE to the Hudson Bay lynx–hare record by dopri5 and the symplectic adjoint method, compares the gradient
// methods on that same problem, and writes a report. Ctrl-C leaves a checkpoint, from which --resume goes on.
import { renameSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import cliProgress from "cli-progress";
import { adam, mlp, odeint, train } from "../../dist/index.js";
import { messageOf } from "../../scripts/run.mjs";
import { restore, stepsOf, write } from "./checkpoint.mjs";
import { compare, lines } from "./compare.mjs";
import { states, windows, years } from "./data.mjs";
import { writeReport } from "./report.mjs";

const checkpoint = fileURLToPath(new URL("../../report/lynx-hare.safetensors", import.meta.url));
const report = fileURLToPath(new URL("../../report/lynx-hare.html", import.meta.url));
/** @param {string} file */
const shown = (file) => relative(process.env.INIT_CWD ?? process.cwd(), file);

/** @type {import("../../dist/index.js").MlpOptions<"float32">} */
const architecture = { widths: [2, 32, 32, 2], activation: "tanh", seed: 1 };
/** @type {import("../../dist/index.js").GradientOptions & { method: string, rtol: number }} */
const solver = { method: "dopri5", rtol: 1e-4, atol: 1e-4, gradient: "symplectic" };
// Short windows first: over a long one an untrained field goes astray, and its gradient with it.
const schedule = [
  { length: 3, steps: 150, learningRate: 1e-2 },
  { length: 6, steps: 200, learningRate: 1e-2 },
  { length: 11, steps: 200, learningRate: 5e-3 },
  { length: 16, steps: 200, learningRate: 5e-3 },
  { length: 21, steps: 400, learningRate: 3e-3 },
  { length: 21, steps: 400, learningRate: 1e-3 },
];
const total = schedule.reduce((sum, { steps }) => sum + steps, 0);

// npm swallows a flag that stands before its own "--", but says so in the environment.
const resuming = process.argv.includes("--resume") || process.env.npm_config_resume === "true";
const unknown = process.argv.slice(2).filter((argument) => argument !== "--resume");
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(" ")}\nusage: npm run demo [-- --resume]`);
  process.exit(2);
}

const { field, optimizer, losses } = resuming ? resumed() : begun();
if (resuming) console.log(`Continuing from step ${losses.length} of ${total}.`);

if (!resuming) keepUnfinished();

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

console.log(
  `A network ${architecture.widths.join("-")} learns dx/dt of log hare and log lynx, ${years[0]}–${years.at(-1)}.`,
);
const format = "  {bar} {percentage} %   step {value} of {total}   {window} years   loss {loss}";
const bar = new cliProgress.SingleBar(
  { format, hideCursor: true, noTTYOutput: true, notTTYSchedule: 500 },
  cliProgress.Presets.rect,
);
bar.start(total, losses.length, { window: "–", loss: "–" });
try {
  await fit();
} catch (error) {
  if (!interrupt.signal.aborted) throw error;
  bar.stop();
  write(checkpoint, { field, optimizer, losses });
  console.log(`\nStopped at step ${losses.length}. Continue with: npm run demo -- --resume`);
  process.exit(130);
}
bar.stop();
write(checkpoint, { field, optimizer, losses });

const whole = windows(states.length);
// Where training begins: at its end the gradient is nearly zero, and so says nothing of relative errors.
const table = compare(mlp(architecture), architecture, whole, solver);
console.log("\nThe first gradient of the mean squared error over all 21 years, with each method:\n");
for (const line of lines(table)) console.log(`  ${line}`);
console.log("\n  error: relative, against backpropagation in float64; memory, ms, evaluations: float32");
console.log(
  "  The problem is small: the memory of the methods drifts apart with more steps, stages and samples (npm run methods).",
);

const fine = Array.from({ length: 401 }, (_, i) => i / 20);
const { y } = odeint(field, whole.y0, fine, solver);
const fitted = fine.map((t, i) => ({ t, state: [...y.subarray(2 * i, 2 * i + 2)] }));
/** @param {number[]} state */
const evaluate = (state) => [...field.evaluate(0, Float32Array.from(state))];
writeReport(report, { fitted, losses, schedule, table, evaluate, architecture, solver });
console.log(`\nReport: ${shown(report)}\nModel:  ${shown(checkpoint)}`);

/** @returns {import("./checkpoint.mjs").Progress} */
function begun() {
  const field = mlp(architecture);
  return { field, optimizer: adam(field), losses: [] };
}

function resumed() {
  try {
    return restore(checkpoint);
  } catch (error) {
    console.error(messageOf(error));
    process.exit(1);
  }
}

async function fit() {
  let before = 0;
  for (const { length, steps, learningRate } of schedule) {
    const left = before + steps - losses.length;
    before += steps;
    if (left <= 0) continue;
    optimizer.learningRate = learningRate;
    const options = { field, optimizer, data: [windows(length)], steps: left, signal: interrupt.signal, ...solver };
    for await (const { loss } of train(options)) {
      losses.push(loss);
      bar.update(losses.length, { window: length, loss: loss.toFixed(4) });
    }
  }
}

// A training that was interrupted is not thrown away by starting another.
function keepUnfinished() {
  const steps = stepsOf(checkpoint);
  if (steps === undefined || steps >= total) return;
  const kept = checkpoint.replace(/(\.\w+)$/, `-step-${steps}$1`);
  renameSync(checkpoint, kept);
  console.log(`Starting over. The unfinished model is kept as ${shown(kept)}.`);
}
