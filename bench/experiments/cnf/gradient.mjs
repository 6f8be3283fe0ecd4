// One gradient of one block in a process of its own, whose WebAssembly memory nothing else has grown:
// node gradient.mjs '{ widths, batch, gradient, solver, file, seconds }'. Prints what it took.
import { readFileSync } from "node:fs";
import * as api from "../../../dist/index.js";
import { engineOf } from "../../shared/engine.mjs";
import { blockOf } from "./block.mjs";

const { widths, batch, gradient, solver, file, seconds } = JSON.parse(process.argv[2]);
const bytes = readFileSync(file);
const x = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const block = blockOf(api, widths);
const state = widths[0] + 1;
const y0 = new Float32Array(batch * state);
for (let i = 0; i < batch; i++) y0.set(x.subarray(i * widths[0], (i + 1) * widths[0]), i * state);
// FFJORD's objective, −log p of a standard normal distribution at the end.
const cotangentOf = (y) => {
  const cotangent = new Float32Array(y.length);
  for (let i = batch * state; i < y.length; i++) cotangent[i] = (i % state === widths[0] ? 1 : y[i]) / batch;
  return cotangent;
};

/** Solve and gradient; what is held in between is what stays live while other blocks are at work. */
function once() {
  const before = api.memoryUsage();
  const start = process.cpuUsage();
  const { solution, pullback, dispose } = api.vjp(block, y0, [0, 1], { ...solver, gradient });
  const held = api.memoryUsage().liveBytes - before.liveBytes;
  const result = pullback(cotangentOf(solution.y));
  // Of the processor: what else runs on the machine counts little.
  const { user, system } = process.cpuUsage(start);
  const ms = (user + system) / 1000;
  const growth = api.memoryUsage().wasmBytes - before.wasmBytes;
  dispose();
  const { accepted, rejected, evaluations, rtol } = solution.stats;
  const uses = evaluations + result.stats.evaluations + 2 * result.stats.vjps;
  const { peakBytes, backwardSteps } = result.stats;
  return { ms, held, growth, accepted, rejected, rtol, uses, backwardSteps, peakBytes };
}

try {
  const first = once();
  const times = [first.ms];
  // The first one compiles; where it is not long, others are taken.
  for (let spent = first.ms; spent + first.ms < 1000 * seconds && times.length < 8; spent += times.at(-1) ?? 0) {
    times.push(once().ms);
  }
  const rest = times.length > 1 ? times.slice(1) : times;
  const ms = rest.sort((a, b) => a - b)[Math.floor(rest.length / 2)];
  console.log(
    JSON.stringify({ ...first, ms, gradients: times.length, field: block.parameters.length * 4, build: engineOf(api) }),
  );
} catch (error) {
  if (error.code !== "OUT_OF_MEMORY") throw error;
  console.log(JSON.stringify({ error: error.code, message: error.message }));
}
