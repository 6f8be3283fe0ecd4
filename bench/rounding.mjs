// npm run rounding: the relative error of a float32 gradient against float64 as the steps grow, with compensated sums and
// with plain ones, and what compensation costs. Batch 32, network 2-16-2 (tanh), rk4 from 0 to 4.
import { print, setUp, spread } from "./shared/table.mjs";

const api = await setUp();
const single = api.mlp({ widths: [2, 16, 2], seed: 3 });
const double = api.mlp({ widths: [2, 16, 2], dtype: "float64" });
double.parameters = Float64Array.from(single.parameters);
const y0 = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
const w = new Float32Array(128).fill(1, 64);

function gradient(field, start, cotangent, steps, summation) {
  const solve = api.vjp(field, start, [0, 4], { method: "rk4", steps, summation });
  const { parameters } = solve.pullback(cotangent);
  solve.dispose();
  return parameters;
}

const rows = [100, 1_000, 10_000].map((steps) => {
  const exact = gradient(double, Float64Array.from(y0), Float64Array.from(w), steps, "compensated");
  const norm = (values) => Math.hypot(...values);
  const error = (summation) => {
    const ours = gradient(single, y0, w, steps, summation);
    return (norm(exact.map((value, i) => value - ours[i])) / norm(exact)).toExponential(1);
  };
  const repeats = Math.ceil(10_000 / steps);
  const ratios = Array.from({ length: 8 }, () => {
    const [compensated, plain] = ["compensated", "plain"].map((summation) => {
      const start = performance.now();
      for (let i = 0; i < repeats; i++) gradient(single, y0, w, steps, summation);
      return performance.now() - start;
    });
    return compensated / plain;
  });
  // The first pair warms up.
  ratios.shift();
  return [String(steps), error("compensated"), error("plain"), spread(ratios)];
});
print(["steps", "compensated", "plain", "time, compensated / plain"], rows);
