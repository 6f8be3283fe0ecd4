// This package, as its users call it.
import { writeFileSync } from "node:fs";
import * as api from "../../dist/index.js";
import { engineOf } from "../shared/engine.mjs";
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
  const gradient = (changed = options) => on.valueAndGrad(field, y0, times, halfSquares, changed);
  const { wasmBytes } = api.memoryUsage();
  const { result, growthBytes } = await growth(() => gradient());
  const wasmGrowthBytes = api.memoryUsage().wasmBytes - wasmBytes;
  const firstMs = performance.now() - start;
  const aim = tune && { error: tune.error, exact: numbers64(tune.reference) };
  const chosen = aim ? await tuned(gradient, options, dtype, aim) : { options, result };
  writeFileSync(files.gradient, chosen.result.gradient.parameters);
  const { solution, gradient: given } = chosen.result;
  return {
    firstMs,
    growthBytes,
    wasmGrowthBytes,
    countedBytes: given.stats.peakBytes.total,
    accepted: solution.stats.accepted,
    rejected: solution.stats.rejected,
    uses: solution.stats.evaluations + given.stats.evaluations + 2 * given.stats.vjps,
    backwardSteps: given.stats.backwardSteps || undefined,
    note: chosen.note,
    versions: { node: process.versions.node, simd: engineOf(api) },
    gradient: () => gradient(chosen.options),
    beside: () => ({ peakGflops: api.kernelPeak?.({ dtype, milliseconds: 60 }) }),
  };
});
