// This package, as its users call it.
import { writeFileSync } from "node:fs";
import * as api from "../../dist/index.js";
import { engineOf } from "../shared/engine.mjs";
import { median } from "../shared/table.mjs";
import { halfSquares } from "./loss.mjs";
import { growth, numbers, numbers64, serve } from "./serve.mjs";
import { tuned } from "./tune.mjs";

let field;

await serve(async (problem) => {
  const { widths, times, method, steps, rtol, atol, dtype = "float32", variant, files } = problem;
  const { workers, tune, ...choice } = variant;
  if (workers && !api.parallel) throw new Error("this version has no workers");
  const start = performance.now();
  field?.dispose();
  field = api.mlp({ widths, dtype });
  const array = dtype === "float64" ? Float64Array : Float32Array;
  field.parameters = array.from(numbers(files.parameters));
  const y0 = array.from(numbers(files.y0));
  const pool = workers ? await api.parallel({ workers }) : undefined;
  const options = { method, steps, rtol, atol, ...choice };
  const on = /** @type {typeof api} */ (pool ?? api);
  const gradient =
    choice.gradient === "field.vjp"
      ? transpose(y0, times, { method, steps })
      : (changed = options) => on.valueAndGrad(field, y0, times, halfSquares, changed);
  const { wasmBytes } = api.memoryUsage();
  const { result, growthBytes } = await growth(() => gradient());
  const wasmGrowthBytes = api.memoryUsage().wasmBytes - wasmBytes;
  const firstMs = performance.now() - start;
  const aim = tune && { error: tune.error, exact: numbers64(tune.reference) };
  const chosen = aim ? await tuned(gradient, options, dtype, aim) : { options, result };
  writeFileSync(files.gradient, chosen.result.gradient.parameters);
  const { solution, gradient: given } = chosen.result;
  const splits = choice.gradient === "backprop" && dtype === "float32";
  return {
    firstMs,
    growthBytes,
    wasmGrowthBytes,
    countedBytes: given.stats?.peakBytes.total,
    accepted: solution.stats.accepted,
    rejected: solution.stats.rejected,
    uses: given.stats && solution.stats.evaluations + given.stats.evaluations + 2 * given.stats.vjps,
    backwardSteps: given.stats?.backwardSteps || undefined,
    note: chosen.note,
    registerBits: api.engine().registerBits,
    versions: { node: process.versions.node, simd: engineOf(api) },
    gradient: () => gradient(chosen.options),
    beside: () => ({
      peakGflops: api.kernelPeak({ dtype, milliseconds: 60 }),
      pullOverForward: splits ? pullOverForward(y0, times, options) : undefined,
    }),
  };
});

/** One use of the field and its transpose, given the cotangent, that of ½ ‖y + f(y)‖²: what one step of Euler comes to. */
function transpose(y0, times, options) {
  const { y, stats } = api.odeint(field, y0, times, options);
  const cotangent = y.slice(y0.length);
  return () => ({ solution: { stats }, gradient: { parameters: field.vjp(0, y0, cotangent).parameters } });
}

/** ρ: the time of the reverse sweep over that of the solve, where every tape is kept. */
function pullOverForward(y0, times, options) {
  const ratios = [];
  for (let total = 0; ratios.length === 0 || total < 60; ) {
    const start = performance.now();
    const taken = api.vjp(field, y0, times, options);
    const solved = performance.now();
    const { cotangent } = halfSquares(taken.solution.y, taken.solution.shape);
    const given = performance.now();
    taken.pullback(cotangent);
    const end = performance.now();
    taken.dispose();
    ratios.push((end - given) / (solved - start));
    total += end - start;
  }
  return median(ratios);
}
