// What a gradient of the energy model costs by each method: memory, time, and its error.

import { GRADIENTS } from "../../shared/gradients.mjs";
import { median } from "../../shared/table.mjs";
import { gradientOf, relative } from "../common.mjs";

/** The least that float32 allows: see `rtol`. */
const TOLERANCE = 1.2e-5;
/** Intervals that the loss is about. */
const INTERVALS = 10;
const ROUNDS = 5;

export function cost(api, field, { truth, interval, batch, quick, say }) {
  const { samples, points, y } = truth;
  const Numbers = Float32Array;
  const at = (n) =>
    Numbers.from({ length: batch * points }, (_, i) => y[n * samples * points + (i % (samples * points))]);
  const [y0, target] = [at(0), at(INTERVALS)];
  const loss = (end) => {
    const { value, cotangent } = api.meanSquaredError(end.slice(y0.length), target);
    const all = new Numbers(end.length);
    all.set(cotangent, y0.length);
    return { value, cotangent: all };
  };
  const times = [0, INTERVALS * interval];
  const solver = { method: "dopri8", rtol: TOLERANCE, atol: TOLERANCE };
  const run = (gradient) => gradientOf(api, field, y0, times, { ...solver, gradient }, loss);
  const exact = run("backprop");
  /** @type {Record<string, number[]>} */
  const ms = Object.fromEntries(GRADIENTS.map((name) => [name, []]));
  const results = {};
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
    for (const gradient of GRADIENTS) {
      say(`gradient by ${gradient}`);
      const start = performance.now();
      results[gradient] = run(gradient);
      ms[gradient].push(performance.now() - start);
    }
  }
  const rows = GRADIENTS.map((gradient) => {
    const { solution, gradient: found } = results[gradient];
    const { peakBytes, backwardSteps } = found.stats;
    return {
      gradient,
      steps: solution.stats.accepted,
      backwardSteps,
      bytes: peakBytes.total,
      tape: peakBytes.tape,
      ms: median(ms[gradient]),
      spread: [Math.min(...ms[gradient]), Math.max(...ms[gradient])],
      error: relative(found.parameters, exact.gradient.parameters),
    };
  });
  return { batch, intervals: INTERVALS, tolerance: TOLERANCE, rows };
}
