// A fit by this package, as its users call it; see ../shared/fits.mjs.
import { engine, equations, leastSquares } from "../../dist/index.js";
import { engineOf } from "../shared/engine.mjs";
import { processorTime, serve } from "./serve.mjs";

await serve(async (problem) => {
  const { parameters, initial, observe, trajectories: data, rtol, atol } = problem;
  const start = processorTime();
  const field = equations(problem.equations, { parameters, dtype: "float64" });
  const fit = () => leastSquares({ field, data, observe, parameters, initial, rtol, atol });
  const found = fit();
  const firstMs = processorTime() - start;
  return {
    firstMs,
    estimates: [...found.values],
    cost: found.cost,
    iterations: found.iterations,
    // Each with its derivatives, but for steps after one that failed.
    solves: found.evaluations,
    versions: { node: process.versions.node, simd: engineOf({ engine }) },
    gradient: fit,
  };
}, processorTime);
