// npm run methods: what each gradient method keeps, how often it uses the network, and what it costs, on one problem.
// Batch 256, network 2-64-64-64-2 (tanh), rk4 with 40 steps from 0 to 1, float32, gradient of ½ Σ y(1)².
import { EVERY_GRADIENT } from "./shared/gradients.mjs";
import { print, setUp, spread } from "./shared/table.mjs";

const api = await setUp();
const [batch, steps, stages] = [256, 40, 4];
const field = api.mlp({ widths: [2, 64, 64, 64, 2], seed: 1 });
const y0 = Float32Array.from({ length: 2 * batch }, (_, i) => Math.sin(i));

function gradient(method) {
  const solve = api.vjp(field, y0, [0, 1], {
    method: "rk4",
    steps,
    gradient: method,
    adjoint: { method: "rk4", steps },
  });
  const cotangent = solve.solution.y.slice().fill(0, 0, y0.length);
  const pulled = solve.pullback(cotangent);
  solve.dispose();
  return { forward: solve.solution.stats.evaluations, ...pulled };
}

/** @type {Record<string, number[]>} */
const times = Object.fromEntries(EVERY_GRADIENT.map((method) => [method, []]));
for (let round = 0; round < 10; round++) {
  for (const method of EVERY_GRADIENT) {
    const start = performance.now();
    gradient(method);
    // The first rounds warm up: functions are compiled better once they have run a while.
    if (round > 2) times[method].push(performance.now() - start);
  }
}

const exact = gradient("backprop");
const rows = EVERY_GRADIENT.map((method) => {
  const { forward, parameters, stats } = gradient(method);
  const uses = (forward + stats.evaluations + 2 * stats.vjps) / (steps * stages);
  const error = Math.hypot(...parameters.map((g, i) => g - exact.parameters[i])) / Math.hypot(...exact.parameters);
  return [
    method,
    uses.toFixed(2),
    `${(stats.peakBytes.total / 2 ** 20).toFixed(2)} MiB`,
    `${(stats.peakBytes.tape / 2 ** 20).toFixed(2)} MiB`,
    spread(times[method].map((time, i) => time / times.backprop[i])),
    `${spread(times[method])} ms`,
    error === 0 ? "bitwise" : error.toExponential(1),
  ];
});
print(["gradient", "uses a stage", "peak memory", "of it tapes", "time / backprop", "time", "against backprop"], rows);
